// SPDX-License-Identifier: BSD-3-Clause
// The header alone, in strict C++17; its functions have the linkage of C.
#include <pcluster.h>

static_assert(__cplusplus == 201703L, "this is to be compiled as C++17");

int main()
{
    pc_connect how{};
    pc_request request{};
    pc_listener listener{};
    pc_cluster_options options{};
    pc_err err{};
    how.timeout_ms = 1;
    request.kind = PC_KIND_EXECUTE;
    request.is_balanced = true;
    listener.ended = [](pc_call *, void *) {};
    options.engines = 1;
    pc_call *call = nullptr;
    bool is_refused = pc_submit(nullptr, &request, &call, &err) == -1 && err.code == PC_E_INVALID &&
                      pc_client_listen(nullptr, &listener, &err) == -1;
    return is_refused && how.timeout_ms == 1 && options.engines == 1 ? 0 : 1;
}
