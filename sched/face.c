/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network face: accepts, and lets nobody in who has not proved who he is.
 *
 * A connection starts as a `knock`: one small struct that collects exactly the bytes of the next
 * step (preamble, Noise message 1, the first record or frame) and nothing more. Only when the
 * first record decrypts, or on the Unix socket the kernel names the same user, does it become a
 * peer. A knock lives 5 s; of those over TCP 256 are kept and the oldest is dropped for a new one.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utlist.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/preamble.h"
#include "sched/state.h"

#define KNOCK_LIMIT_MS   5000
#define KNOCKS_MAX       256
#define ACCEPTS_PER_TURN 16
#define BUSY_LOG_MS      10000

enum knock_stage {
    KNOCK_PREAMBLE,
    KNOCK_MSG1,       /* encrypted: Noise message 1 */
    KNOCK_FIRST_HEAD, /* length of the first record, or header of the first frame */
    KNOCK_FIRST_REST,
    KNOCK_CLOSING,
};

struct knock {
    uv_poll_t poll;
    struct sched *sched;
    struct knock *next, *prev;
    int64_t deadline_ms;
    int fd;
    uint16_t have, want; /* bytes of this stage */
    uint8_t stage;
    bool is_tcp, is_encrypted;
    uint32_t peer_pid; /* Unix */
    struct pc_handshake noise;
    uint8_t bytes[512];
};

/* What a peer may cost before it is authenticated. */
static_assert(sizeof(struct knock) <= 1024, "a knock is larger than 1 KiB");
static_assert(PC_NOISE_MSG1_SIZE <= sizeof(((struct knock *)0)->bytes), "no room for message 1");

/* ---- life of a knock -------------------------------------------------------------------- */

static void knock_unlink(struct knock *k)
{
    struct sched *s = k->sched;
    if (k->stage == KNOCK_CLOSING)
        return;
    k->stage = KNOCK_CLOSING;
    DL_DELETE(s->knocks, k);
    s->knock_count -= k->is_tcp;
}

static void on_closed(uv_handle_t *handle)
{
    struct knock *k = handle->data;
    if (k->fd >= 0)
        close(k->fd);
    pc_wipe(&k->noise, sizeof(k->noise));
    free(k);
}

static void knock_close(struct knock *k)
{
    if (k->stage == KNOCK_CLOSING)
        return;
    knock_unlink(k);
    uv_close((uv_handle_t *)&k->poll, on_closed);
}

static void knock_name(const struct knock *k, char *name, size_t size)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    char host[INET6_ADDRSTRLEN] = "?";
    unsigned port = 0;
    if (!k->is_tcp) {
        snprintf(name, size, "unix pid %u", k->peer_pid);
        return;
    }
    if (getpeername(k->fd, (struct sockaddr *)&address, &length) == 0) {
        if (address.ss_family == AF_INET) {
            const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
            inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
            port = ntohs(v4->sin_port);
        } else {
            const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
            inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
            port = ntohs(v6->sin6_port);
        }
    }
    snprintf(name, size, "%s port %u", host, port);
}

/* Logs once, answers nothing more, closes. */
static void knock_drop(struct knock *k, const char *why)
{
    char name[64];
    knock_name(k, name, sizeof(name));
    pc_warn_limited(&k->sched->stranger_limit, "dropped '%s': %s", name, why);
    knock_close(k);
}

static void on_knock_timer(uv_timer_t *timer)
{
    struct sched *s = timer->data;
    int64_t now = pc_clock_ms();
    while (s->knocks && s->knocks->deadline_ms <= now)
        knock_drop(s->knocks, "said nothing valid for 5 s");
    if (s->knocks)
        uv_timer_start(timer, on_knock_timer, (uint64_t)(s->knocks->deadline_ms - now), 0);
}

/* ---- answering -------------------------------------------------------------------------- */

static void knock_expect(struct knock *k, enum knock_stage stage, size_t want)
{
    k->stage = (uint8_t)stage;
    k->have = 0;
    k->want = (uint16_t)want;
}

/* A fresh socket always has room for these few bytes; when not, the peer is not worth waiting. */
static int answer(struct knock *k, enum pc_answer code, const uint8_t *more, size_t more_size)
{
    uint8_t bytes[PC_PREAMBLE_SIZE + PC_NOISE_MSG2_SIZE];
    struct pc_preamble preamble = {.version = PC_PROTOCOL_VERSION,
                                   .suite_or_answer = (uint8_t)code};
    memcpy(preamble.instance, k->sched->instance, PC_INSTANCE_SIZE);
    pc_preamble_encode(&preamble, bytes);
    if (more_size)
        memcpy(bytes + PC_PREAMBLE_SIZE, more, more_size);
    size_t size = PC_PREAMBLE_SIZE + more_size;
    return send(k->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size ? 0 : -1;
}

static void refuse(struct knock *k, enum pc_answer code, const char *why)
{
    answer(k, code, NULL, 0);
    knock_drop(k, why);
}

static size_t head_size(const struct knock *k)
{
    return k->is_encrypted ? 2 : PC_FRAME_SIZE;
}

/* ---- the steps -------------------------------------------------------------------------- */

static void on_preamble(struct knock *k)
{
    struct pc_preamble preamble;
    enum pc_suite suite;
    if (pc_preamble_decode(k->bytes, &preamble)) {
        knock_drop(k, "does not speak this protocol");
        return;
    }
    suite = (enum pc_suite)preamble.suite_or_answer;
    k->is_encrypted = suite == PC_SUITE_AESGCM || suite == PC_SUITE_CHACHAPOLY;
    if (preamble.version != PC_PROTOCOL_VERSION) {
        refuse(k, PC_ANSWER_VERSION, "speaks another protocol version");
    } else if (memcmp(preamble.instance, k->sched->instance, PC_INSTANCE_SIZE) != 0) {
        refuse(k, PC_ANSWER_CLUSTER, "asked for another cluster");
    } else if (!k->is_encrypted && (k->is_tcp || suite != PC_SUITE_PLAIN)) {
        refuse(k, PC_ANSWER_SUITE, "asked for a cipher that can't be used here");
    } else if (k->is_encrypted && !pc_suite_available(suite)) {
        answer(k, PC_ANSWER_SUITE, NULL, 0); /* it will try again with the other one */
        knock_close(k);
    } else if (k->is_encrypted) {
        pc_handshake_init(&k->noise, suite, false, k->bytes, PC_PREAMBLE_SIZE,
                          k->sched->private_key, NULL);
        knock_expect(k, KNOCK_MSG1, PC_NOISE_MSG1_SIZE);
    } else if (answer(k, PC_ANSWER_OK, NULL, 0)) {
        knock_close(k);
    } else {
        knock_expect(k, KNOCK_FIRST_HEAD, head_size(k));
    }
}

static void on_message_1(struct knock *k)
{
    const struct sched *s = k->sched;
    uint8_t payload[1], reply[PC_NOISE_MSG2_SIZE];
    if (pc_handshake_read(&k->noise, k->bytes, k->have, payload) < 0) {
        refuse(k, PC_ANSWER_KEY, "its first message does not decrypt: wrong controller key");
        return;
    }
    if (!keys_find(s, k->noise.remote_static)) {
        refuse(k, PC_ANSWER_KEY, "its key is not authorised");
        return;
    }
    if (pc_handshake_write(&k->noise, NULL, 0, reply) < 0 ||
        answer(k, PC_ANSWER_OK, reply, sizeof(reply)))
        knock_close(k);
    else
        knock_expect(k, KNOCK_FIRST_HEAD, head_size(k));
}

/* The length of the first record or frame is known: collect it behind its head. */
static void on_first_head(struct knock *k)
{
    struct pc_frame frame;
    struct pc_err err;
    size_t rest;
    if (k->is_encrypted) {
        rest = pc_load_u16(k->bytes);
    } else if (pc_frame_decode(k->bytes, PC_FROM_NEW, &frame, &err)) {
        knock_drop(k, err.text);
        return;
    } else {
        rest = frame.body_size;
    }
    if (rest == 0 || k->have + rest > sizeof(k->bytes)) {
        knock_drop(k, "its HELLO is too large");
        return;
    }
    k->stage = KNOCK_FIRST_REST;
    k->want = (uint16_t)(k->have + rest);
}

/* Opens the first record on the stack, to see that the peer has the keys: a replayed message 1
 * gets this far, but no further. */
static int prove(struct knock *k, struct pc_cipher *send_cipher, struct pc_cipher *receive_cipher)
{
    struct pc_cipher trial;
    uint8_t plain[sizeof(k->bytes)];
    pc_handshake_split(&k->noise, send_cipher, receive_cipher);
    trial = *receive_cipher;
    int failed = pc_cipher_open(&trial, k->bytes + 2, k->have - 2u, plain) < 0;
    pc_cipher_wipe(&trial);
    return failed;
}

/* Everything needed was read and is right: the descriptor moves on into a peer. */
static void on_first(struct knock *k)
{
    struct pc_sock sock;
    struct pc_cipher send_cipher, receive_cipher;
    uint8_t static_key[PC_KEY_SIZE];
    char name[64];
    size_t size;
    if (k->is_encrypted && prove(k, &send_cipher, &receive_cipher)) {
        pc_cipher_wipe(&send_cipher);
        pc_cipher_wipe(&receive_cipher);
        knock_drop(k, "its first record does not decrypt");
        return;
    }
    knock_name(k, name, sizeof(name));
    memcpy(static_key, k->noise.remote_static, PC_KEY_SIZE);
    pc_sock_init(&sock, k->fd, PC_FROM_NEW);
    if (k->is_encrypted && pc_wire_encrypt(&sock.wire, &send_cipher, &receive_cipher))
        pc_fatal(1, "out of memory");
    uint8_t *place = pc_wire_space(&sock.wire, &size);
    if (!place)
        pc_fatal(1, "out of memory");
    assert(size >= k->have);
    memcpy(place, k->bytes, k->have);
    pc_wire_received(&sock.wire, k->have);

    /* libuv must let go of the descriptor before another handle takes it. */
    uv_poll_stop(&k->poll);
    k->fd = -1;
    struct sched *s = k->sched;
    bool is_encrypted = k->is_encrypted;
    knock_close(k);
    hello_accept(s, &sock, is_encrypted ? static_key : NULL, name);
}

static void step(struct knock *k)
{
    switch (k->stage) {
    case KNOCK_PREAMBLE:
        on_preamble(k);
        break;
    case KNOCK_MSG1:
        on_message_1(k);
        break;
    case KNOCK_FIRST_HEAD:
        on_first_head(k);
        break;
    case KNOCK_FIRST_REST:
        on_first(k);
        break;
    default:
        break;
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct knock *k = poll->data;
    while (k->stage != KNOCK_CLOSING) {
        ssize_t n = recv(k->fd, k->bytes + k->have, (size_t)(k->want - k->have), MSG_DONTWAIT);
        if (n > 0) {
            k->have = (uint16_t)(k->have + n);
            if (k->have == k->want)
                step(k);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && errno == EAGAIN && status == 0) {
            return;
        } else {
            knock_close(k); /* went away: a port scanner, or `pcluster` asking if we live */
            return;
        }
    }
}

/* ---- accepting -------------------------------------------------------------------------- */

static bool is_same_user(int fd, uint32_t *pid)
{
    struct ucred who;
    socklen_t size = sizeof(who);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size))
        return false;
    *pid = (uint32_t)who.pid;
    return who.uid == geteuid();
}

static void tune_tcp(int fd)
{
    int on = 1, idle = 5, interval = 2, count = 3;
    unsigned limit_ms = 10000;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof(limit_ms));
}

static void knock_new(struct sched *s, int fd, bool is_tcp)
{
    uint32_t pid = 0;
    if (is_tcp) {
        tune_tcp(fd);
    } else if (!is_same_user(fd, &pid)) {
        pc_warn_limited(&s->stranger_limit, "dropped 'unix pid %u': it belongs to another user",
                        pid);
        close(fd);
        return;
    }
    struct knock *k = pc_xcalloc(1, sizeof(*k));
    *k = (struct knock){.sched = s,
                        .fd = fd,
                        .is_tcp = is_tcp,
                        .peer_pid = pid,
                        .deadline_ms = pc_clock_ms() + KNOCK_LIMIT_MS};
    if (uv_poll_init(&s->loop, &k->poll, fd)) {
        close(fd);
        free(k);
        return;
    }
    k->poll.data = k;
    if (is_tcp && s->knock_count >= KNOCKS_MAX) {
        struct knock *oldest = s->knocks;
        while (oldest && !oldest->is_tcp)
            oldest = oldest->next;
        if (oldest)
            knock_drop(oldest, "too many connections wait to be authenticated");
    }
    DL_APPEND(s->knocks, k);
    s->knock_count += is_tcp;
    knock_expect(k, KNOCK_PREAMBLE, PC_PREAMBLE_SIZE);
    uv_poll_start(&k->poll, UV_READABLE, on_readable);
    if (!uv_is_active((uv_handle_t *)&s->knock_timer))
        uv_timer_start(&s->knock_timer, on_knock_timer, KNOCK_LIMIT_MS, 0);
    on_readable(&k->poll, 0, UV_READABLE); /* mostly its first bytes are there already */
}

/* No descriptor is left: use the spare one to tell the peer, so that it doesn't wait in vain. */
static void tell_busy(struct sched *s, int listener)
{
    int64_t now = pc_clock_ms();
    close(s->spare_fd);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        struct knock k = {.sched = s, .fd = fd};
        answer(&k, PC_ANSWER_BUSY, NULL, 0);
        close(fd);
    }
    s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (!s->busy_logged_ms || now - s->busy_logged_ms > BUSY_LOG_MS) {
        s->busy_logged_ms = now;
        pc_error("no file descriptor is free for another connection; raise the limit of open "
                 "files (ulimit -n)");
    }
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    struct sched *s = poll->data;
    bool is_tcp = poll == &s->tcp_poll;
    int listener = is_tcp ? s->tcp_fd : s->unix_fd;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            knock_new(s, fd, is_tcp);
        else if (errno == EMFILE || errno == ENFILE)
            tell_busy(s, listener);
        else if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

static int watch(struct sched *s, uv_poll_t *poll, int fd, const char *what, struct pc_err *err)
{
    if (fcntl(fd, F_SETFL, O_NONBLOCK) || uv_poll_init(&s->loop, poll, fd))
        return pc_err_sys(err, "can't use the %s listener on descriptor %d", what, fd);
    poll->data = s;
    uv_poll_start(poll, UV_READABLE, on_listener);
    return 0;
}

int face_listen(struct sched *s, struct pc_err *err)
{
    s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    uv_timer_init(&s->loop, &s->knock_timer);
    s->knock_timer.data = s;
    if (s->unix_fd >= 0 && watch(s, &s->unix_poll, s->unix_fd, "Unix", err))
        return -1;
    if (s->tcp_fd >= 0 && watch(s, &s->tcp_poll, s->tcp_fd, "TCP", err))
        return -1;
    s->is_listening = true;
    return 0;
}

void face_close(struct sched *s)
{
    if (!s->is_listening)
        return;
    s->is_listening = false;
    if (s->unix_fd >= 0)
        uv_close((uv_handle_t *)&s->unix_poll, NULL);
    if (s->tcp_fd >= 0)
        uv_close((uv_handle_t *)&s->tcp_poll, NULL);
    uv_close((uv_handle_t *)&s->knock_timer, NULL);
    close(s->spare_fd);
    while (s->knocks)
        knock_close(s->knocks);
}
