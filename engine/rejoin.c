/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/py.h"

#include "engine/rejoin.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/control.h"
#include "lib/clock.h"
#include "lib/key.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proto.h"

#define CONNECT_LIMIT_MS 30000
#define REJOIN_LIMIT_MS  2500 /* one attempt at a lane */
#define RETRY_FIRST_MS   10
#define RETRY_MAX_MS     500

/* ---- HELLO ------------------------------------------------------------------------------ */

static pc_json *hello_of(const struct eng_setup *setup, bool is_control)
{
    struct pc_keypair pair;
    char key[2 * PC_KEY_SIZE + 1];
    pc_keypair_from_private(&pair, setup->config->file.exec_key);
    pc_hex_encode(pair.public_key, PC_KEY_SIZE, key);
    pc_wipe(&pair, sizeof(pair));
    pc_json *hello = pc_json_object();
    pc_json_put_str(hello, "role", "engine");
    pc_json_put_str(hello, "lane", is_control ? "control" : "work");
    pc_json_put_str(hello, "public_key", key);
    pc_json_put_str(hello, "uuid", setup->uuid);
    return hello;
}

static char *print(pc_json *hello)
{
    char *text = pc_json_print(hello);
    pc_json_free(hello);
    if (!text)
        pc_fatal(ENG_EXIT_FAILED, "out of memory");
    return text;
}

/* The first time; `token` NULL: the control lane. */
static char *first_hello(const struct eng_setup *setup, uint32_t engine_id, const char *token)
{
    char host[256] = "", python[16];
    pc_json *hello = hello_of(setup, !token);
    gethostname(host, sizeof(host) - 1);
    snprintf(python, sizeof(python), "%d.%d", PY_MAJOR_VERSION, PY_MINOR_VERSION);
    pc_json_put_i64(hello, "pid", getpid());
    pc_json_put_str(hello, "host", host);
    pc_json_put_str(hello, "python", python);
    if (!token && setup->config->tags[0])
        pc_json_put_str(hello, "tags", setup->config->tags);
    if (token) {
        pc_json_put_i64(hello, "engine_id", engine_id);
        pc_json_put_str(hello, "token", token);
    } else if (setup->config->home[0]) {
        pc_json_put_str(hello, "home", setup->config->home);
    }
    return print(hello);
}

static char *next_hello(const struct eng_membership *membership, bool is_control)
{
    pc_json *hello = hello_of(membership->setup, is_control);
    const struct pc_lifeline *lifeline = is_control ? &membership->control : &membership->work;
    pc_json_put_str(hello, "token", membership->token);
    pc_json_put_u64(hello, "received", lifeline->received);
    if (is_control && membership->setup->config->home[0])
        pc_json_put_str(hello, "home", membership->setup->config->home);
    return print(hello);
}

/* ---- one lane --------------------------------------------------------------------------- */

/* One attempt: the answer to HELLO, or NULL. */
static struct pc_msg *try_lane(struct pc_sock *sock, const struct eng_config *config,
                               const char *hello, int limit_ms, bool *has_connected,
                               struct pc_err *err)
{
    *has_connected = false;
    if (pc_sock_connect(sock, &config->file, config->transport, limit_ms, NULL, 0, err))
        return NULL;
    *has_connected = true;
    struct pc_msg *welcome = pc_sock_hello(sock, hello, limit_ms, err);
    if (!welcome)
        pc_sock_close(sock);
    return welcome;
}

static void pause_ms(unsigned *pause)
{
    uint8_t random;
    pc_random(&random, sizeof(random));
    usleep(1000 * (*pause / 2 + *pause * random / 256));
    *pause = 2 * *pause < RETRY_MAX_MS ? 2 * *pause : RETRY_MAX_MS;
}

/* ---- the first time --------------------------------------------------------------------- */

/* Many engines that start at once may find no place for a moment. */
static bool is_worth_retrying(enum pc_errc code)
{
    return code == PC_E_REFUSED || code == PC_E_LOST || code == PC_E_PROTOCOL;
}

/* Opens a lane and says HELLO. The answer, for the caller to free. */
static pc_json *join_lane(struct pc_sock *sock, const struct eng_setup *setup, uint32_t engine_id,
                          const char *token)
{
    char *hello = first_hello(setup, engine_id, token);
    int64_t deadline_ms = pc_clock_ms() + CONNECT_LIMIT_MS;
    unsigned pause = RETRY_FIRST_MS;
    struct pc_err err;
    struct pc_msg *welcome;
    bool has_connected;
    while (
        !(welcome = try_lane(sock, setup->config, hello, CONNECT_LIMIT_MS, &has_connected, &err))) {
        bool may_retry = has_connected ? err.code == PC_E_LOST : is_worth_retrying(err.code);
        if (!may_retry || pc_clock_ms() > deadline_ms) /* the answer to HELLO is final */
            pc_fatal(ENG_EXIT_FAILED, "can't join the cluster: %s", err.text);
        pause_ms(&pause);
    }
    pc_json *json = pc_json_of_msg(welcome, &err);
    if (!json)
        pc_fatal(ENG_EXIT_FAILED, "can't join the cluster: %s", err.text);
    pc_wipe(hello, strlen(hello)); /* has the token */
    free(hello);
    pc_msg_unref(welcome);
    return json;
}

void eng_join(struct eng_membership *membership, const struct eng_setup *setup,
              struct pc_sock *control, struct pc_sock *work)
{
    struct pc_err err;
    const char *token;
    pc_json *welcome = join_lane(control, setup, 0, NULL);
    if (pc_json_get_u32(welcome, "engine_id", &membership->id, &err) ||
        pc_json_get_str(welcome, "token", &token, &err))
        pc_fatal(ENG_EXIT_FAILED, "can't join the cluster: %s", err.text);
    membership->setup = setup;
    snprintf(membership->token, sizeof(membership->token), "%s", token);
    membership->grace_ms = pc_json_i64_or(welcome, "grace_ms", 0);
    pc_json_free(join_lane(work, setup, membership->id, token));
    pc_json_free(welcome);
    membership->work.hears_apart = true;
    if (membership->grace_ms <= 0)
        return;
    control->wire.lifeline = &membership->control;
    work->wire.lifeline = &membership->work;
}

/* ---- again ------------------------------------------------------------------------------ */

/* Whether what went wrong may be better at the next attempt. */
static bool is_passing(enum pc_errc code)
{
    return code == PC_E_TIMEOUT || code == PC_E_UNREACHABLE || code == PC_E_SYSTEM ||
           is_worth_retrying(code);
}

static int rejoin_lane(const struct eng_membership *membership, bool is_control, int limit_ms,
                       struct pc_sock *sock, uint64_t *arrived, bool *is_new, struct pc_err *err)
{
    char *hello = next_hello(membership, is_control);
    bool has_connected;
    struct pc_msg *welcome =
        try_lane(sock, membership->setup->config, hello, limit_ms, &has_connected, err);
    pc_json *json = welcome ? pc_json_of_msg(welcome, err) : NULL;
    *is_new = pc_json_bool_or(json, "new", false);
    int failed = !json || (!*is_new && pc_json_get_u64(json, "received", arrived, err));
    pc_wipe(hello, strlen(hello));
    free(hello);
    pc_json_free(json);
    if (welcome && failed)
        pc_sock_close(sock);
    pc_msg_unref(welcome);
    return failed ? -1 : 0;
}

/* One attempt at both. */
static int rejoin_once(const struct eng_membership *membership, int limit_ms,
                       struct eng_return *back, struct pc_err *err)
{
    bool is_work_new;
    if (rejoin_lane(membership, true, limit_ms, &back->control, &back->control_arrived,
                    &back->is_new, err))
        return -1;
    if (rejoin_lane(membership, false, limit_ms, &back->work, &back->work_arrived, &is_work_new,
                    err) == 0) {
        if (is_work_new == back->is_new)
            return 0;
        pc_sock_close(&back->work); /* it was started again between the two */
        pc_err_set(err, PC_E_LOST, "the lanes lead to two schedulers");
    }
    pc_sock_close(&back->control);
    return -1;
}

int eng_rejoin(const struct eng_membership *membership, struct eng_return *back, struct pc_err *err)
{
    int64_t end_ms = pc_clock_ms() + membership->grace_ms;
    unsigned pause = RETRY_FIRST_MS;
    for (;;) {
        int64_t left_ms = end_ms - pc_clock_ms();
        if (left_ms <= 0)
            return pc_err_set(err, PC_E_LOST, "the controller did not come back within %.3g s",
                              (double)membership->grace_ms / 1e3);
        int limit_ms = left_ms < REJOIN_LIMIT_MS ? (int)left_ms : REJOIN_LIMIT_MS;
        if (rejoin_once(membership, limit_ms, back, err) == 0)
            return 0;
        if (!is_passing(err->code))
            return -1;
        pause_ms(&pause);
    }
}
