/* SPDX-License-Identifier: BSD-3-Clause */
/* The header alone, in strict C11: it needs nothing before it, and no GNU extension. */
#include <pcluster.h>

#if __STDC_VERSION__ != 201112L
#error "this is to be compiled as C11"
#endif

int main(void)
{
    struct pc_connect how = {0};
    struct pc_request request = {0};
    struct pc_listener listener = {0};
    struct pc_cluster_options options = {0};
    (void)how;
    (void)request;
    (void)listener;
    (void)options;
    return pc_version()[0] == '\0';
}
