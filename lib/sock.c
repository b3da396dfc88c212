/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/preamble.h"
#include "lib/proto.h"

#define VECTORS_MAX 32

void pc_sock_init(struct pc_sock *sock, int fd, uint32_t senders)
{
    sock->fd = fd;
    pc_wire_init(&sock->wire, senders);
}

void pc_sock_close(struct pc_sock *sock)
{
    int fd = sock->fd;
    sock->fd = -1; /* first: a child forked in between must not close what gets the number next */
    if (fd >= 0)
        close(fd);
    pc_wire_fini(&sock->wire);
}

/* ---- moving bytes ----------------------------------------------------------------------- */

static int lost(struct pc_err *err, const char *doing)
{
    if (errno == EINTR)
        return pc_err_set(err, PC_E_INTERRUPTED, "interrupted by a signal");
    return pc_err_set(err, PC_E_LOST, "connection lost while %s: %s", doing, strerror(errno));
}

int pc_sock_fill(struct pc_sock *sock, int flags, struct pc_err *err)
{
    size_t size;
    uint8_t *place = pc_wire_space(&sock->wire, &size);
    if (!place)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    ssize_t got = recv(sock->fd, place, size, flags);
    if (got > 0) {
        pc_wire_received(&sock->wire, (size_t)got);
        return 1;
    }
    if (got == 0)
        return pc_err_set(err, PC_E_LOST, "the other side closed the connection");
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return 0;
    return lost(err, "receiving");
}

int pc_sock_flush(struct pc_sock *sock, int flags, struct pc_err *err)
{
    for (;;) {
        struct iovec vectors[VECTORS_MAX];
        int count = pc_wire_gather(&sock->wire, vectors, VECTORS_MAX);
        if (count < 0)
            return pc_err_set(err, PC_E_MEMORY, "out of memory while sending");
        if (count == 0)
            return 1;
        struct msghdr header = {.msg_iov = vectors, .msg_iovlen = (size_t)count};
        ssize_t sent = sendmsg(sock->fd, &header, flags | MSG_NOSIGNAL);
        if (sent >= 0)
            pc_wire_sent(&sock->wire, (size_t)sent);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        else
            return lost(err, "sending");
    }
}

int pc_sock_send(struct pc_sock *sock, struct pc_msg *msg, struct pc_err *err)
{
    if (pc_wire_send(&sock->wire, msg))
        return pc_err_set(err, PC_E_MEMORY, "out of memory while sending");
    return pc_sock_flush(sock, 0, err) < 0 ? -1 : 0;
}

/* Waits for `events`. 0, or -1: PC_E_TIMEOUT, PC_E_INTERRUPTED. */
static int wait_for(int fd, short events, int64_t deadline_ms, struct pc_err *err)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = deadline_ms < 0 ? -1 : deadline_ms - pc_clock_ms();
    if (deadline_ms >= 0 && left < 0)
        left = 0;
    int n = poll(&p, 1, (int)left);
    if (n > 0)
        return 0;
    if (n < 0 && errno == EINTR)
        return pc_err_set(err, PC_E_INTERRUPTED, "interrupted by a signal");
    if (n < 0)
        return pc_err_sys(err, "can't wait for a connection");
    return pc_err_set(err, PC_E_TIMEOUT, "no answer in time");
}

struct pc_msg *pc_sock_receive(struct pc_sock *sock, int timeout_ms, struct pc_err *err)
{
    struct pc_err local;
    int64_t deadline = timeout_ms < 0 ? -1 : pc_clock_ms() + timeout_ms;
    if (!err)
        err = &local;
    for (;;) {
        struct pc_msg *msg = pc_wire_next(&sock->wire, err);
        if (msg || err->code != PC_OK)
            return msg;
        if (deadline >= 0 && wait_for(sock->fd, POLLIN, deadline, err))
            return NULL;
        if (pc_sock_fill(sock, 0, err) < 0)
            return NULL;
    }
}

/* ---- connecting ------------------------------------------------------------------------- */

/* What one attempt to connect knows. */
struct attempt {
    const struct pc_connfile *file;
    char name[600]; /* the address, for texts */
    int64_t deadline_ms;
    int timeout_ms;
    bool is_interruptible; /* a signal ends it: somebody may have pressed Ctrl-C */
};

static const char *file_name(const struct attempt *a)
{
    return a->file->path[0] ? a->file->path : "the connection file";
}

static int set_blocking(int fd, bool is_blocking)
{
    int flags = fcntl(fd, F_GETFL);
    int wanted = is_blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, wanted);
}

static int connect_failed(const struct attempt *a, int reason, struct pc_err *err)
{
    switch (reason) {
    case ENOENT:
    case ECONNREFUSED:
        return pc_err_set(err, PC_E_STALE,
                          "nobody listens at %s: the cluster that wrote %s is gone; start it again "
                          "with 'pcluster start'",
                          a->name, file_name(a));
    case EACCES:
    case EPERM:
        return pc_err_set(err, PC_E_REFUSED, "%s may not be used by this user (%s)", a->name,
                          strerror(reason));
    case ETIMEDOUT:
        return pc_err_set(
            err, PC_E_UNREACHABLE,
            "no answer from %s within %d ms; check the address in %s and the firewall "
            "between here and there",
            a->name, a->timeout_ms, file_name(a));
    default:
        return pc_err_set(err, PC_E_UNREACHABLE, "can't reach %s: %s; check the address in %s",
                          a->name, strerror(reason), file_name(a));
    }
}

/* Connects a non-blocking socket. Keeps trying while a Unix socket's backlog is full. */
static int connect_socket(const struct attempt *a, int fd, const struct sockaddr *address,
                          socklen_t size, struct pc_err *err)
{
    while (connect(fd, address, size)) {
        if (errno == EAGAIN) { /* Unix: the backlog is full */
            struct timespec moment = {.tv_nsec = 2000000};
            if (pc_clock_ms() >= a->deadline_ms)
                return connect_failed(a, ETIMEDOUT, err);
            nanosleep(&moment, NULL);
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EINPROGRESS && errno != EALREADY)
            return errno == EISCONN ? 0 : connect_failed(a, errno, err);
        if (wait_for(fd, POLLOUT, a->deadline_ms, err)) {
            if (err->code == PC_E_INTERRUPTED && !a->is_interruptible)
                continue;
            return err->code == PC_E_TIMEOUT ? connect_failed(a, ETIMEDOUT, err) : -1;
        }
        int reason = 0;
        socklen_t reason_size = sizeof(reason);
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &reason_size);
        return reason ? connect_failed(a, reason, err) : 0;
    }
    return 0;
}

static int open_unix(struct attempt *a, struct pc_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(a->file->unix_path);
    snprintf(a->name, sizeof(a->name), "unix:%s", a->file->unix_path);
    if (length >= sizeof(address.sun_path))
        return pc_err_set(err, PC_E_BAD_FILE,
                          "the path of the Unix socket in %s has %zu bytes; "
                          "at most 107 are possible",
                          file_name(a), length);
    memcpy(address.sun_path, a->file->unix_path, length + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return pc_err_sys(err, "can't make a socket");
    if (connect_socket(a, fd, (struct sockaddr *)&address, sizeof(address), err)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A peer that vanishes without a word is noticed within about 10 s, also while idle. */
static void tune_tcp(int fd)
{
    int on = 1, idle = 5, interval = 2, count = 3;
    unsigned int limit_ms = 10000;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof(limit_ms));
}

static int open_tcp(struct attempt *a, struct pc_err *err)
{
    char port[8];
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG};
    snprintf(port, sizeof(port), "%u", a->file->port);
    const char *bracket = strchr(a->file->host, ':') ? "[" : "";
    snprintf(a->name, sizeof(a->name), "tcp://%s%s%s:%s", bracket, a->file->host,
             *bracket ? "]" : "", port);
    int why = getaddrinfo(a->file->host, port, &hints, &found);
    if (why)
        return pc_err_set(err, PC_E_UNREACHABLE,
                          "can't find the host of %s: %s; check the address "
                          "in %s",
                          a->name, gai_strerror(why), file_name(a));
    int fd = -1;
    for (struct addrinfo *ai = found; ai && fd < 0; ai = ai->ai_next) {
        fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            pc_err_sys(err, "can't make a socket");
        } else if (connect_socket(a, fd, ai->ai_addr, ai->ai_addrlen, err)) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    if (fd >= 0)
        tune_tcp(fd);
    return fd;
}

/* Reads or writes exactly `size` bytes before the deadline, on a non-blocking descriptor. */
static int move_exactly(const struct attempt *a, int fd, uint8_t *bytes, size_t size, bool is_write,
                        struct pc_err *err)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = is_write ? send(fd, bytes + done, size - done, MSG_NOSIGNAL)
                             : recv(fd, bytes + done, size - done, 0);
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0) {
            return pc_err_set(err, PC_E_PROTOCOL,
                              "%s closed the connection during the handshake: it is no pcluster "
                              "controller, or it has no place left",
                              a->name);
        } else if (errno == EAGAIN) {
            if (wait_for(fd, is_write ? POLLOUT : POLLIN, a->deadline_ms, err)) {
                if (err->code == PC_E_TIMEOUT)
                    return pc_err_set(err, PC_E_TIMEOUT,
                                      "%s accepted the connection but did not answer within %d ms",
                                      a->name, a->timeout_ms);
                if (err->code != PC_E_INTERRUPTED || a->is_interruptible)
                    return -1;
            }
        } else if (is_write && (errno == EPIPE || errno == ECONNRESET)) {
            return 0; /* it has closed already: what it answered before says why, so read that */
        } else if (errno != EINTR) {
            return pc_err_set(err, PC_E_LOST, "%s dropped the connection during the handshake: %s",
                              a->name, strerror(errno));
        }
    }
    return 0;
}

static int answer_error(const struct attempt *a, const struct pc_preamble *answer,
                        struct pc_err *err)
{
    switch (answer->suite_or_answer) {
    case PC_ANSWER_VERSION:
        return pc_err_set(err, PC_E_VERSION,
                          "%s speaks protocol version %u, this program version %u; use the same "
                          "version of pcluster on both sides",
                          a->name, answer->version, PC_PROTOCOL_VERSION);
    case PC_ANSWER_CLUSTER:
        return pc_err_set(err, PC_E_CLUSTER,
                          "another cluster answers at %s: %s is from an earlier start; get the new "
                          "connection file",
                          a->name, file_name(a));
    case PC_ANSWER_SUITE:
        return pc_err_set(err, PC_E_PROTOCOL, "%s can't use the cipher that was offered", a->name);
    case PC_ANSWER_KEY:
        return pc_err_set(err, PC_E_KEY,
                          "%s refused the key in %s: it is wrong or was revoked; get a new "
                          "connection file from the controller",
                          a->name, file_name(a));
    case PC_ANSWER_BUSY:
        return pc_err_set(err, PC_E_REFUSED,
                          "%s has no place for another connection; try again "
                          "later or raise its limit of open files",
                          a->name);
    default:
        return pc_err_set(err, PC_E_PROTOCOL, "%s gave an unknown answer (%u)", a->name,
                          answer->suite_or_answer);
    }
}

static int read_answer(const struct attempt *a, int fd, struct pc_err *err, uint8_t *answer_code)
{
    uint8_t bytes[PC_PREAMBLE_SIZE];
    struct pc_preamble answer;
    if (move_exactly(a, fd, bytes, sizeof(bytes), false, err))
        return -1;
    if (pc_preamble_decode(bytes, &answer))
        return pc_err_set(err, PC_E_PROTOCOL, "what answers at %s is no pcluster controller",
                          a->name);
    *answer_code = answer.suite_or_answer;
    return answer.suite_or_answer == PC_ANSWER_OK ? 0 : answer_error(a, &answer, err);
}

static void make_preamble(const struct attempt *a, enum pc_suite suite,
                          uint8_t out[PC_PREAMBLE_SIZE])
{
    struct pc_preamble mine = {.version = PC_PROTOCOL_VERSION, .suite_or_answer = (uint8_t)suite};
    memcpy(mine.instance, a->file->instance, PC_INSTANCE_SIZE);
    pc_preamble_encode(&mine, out);
}

/* Preamble and Noise message 1 in one write; answer and message 2 come back. */
static int handshake_noise(const struct attempt *a, int fd, enum pc_suite suite,
                           struct pc_sock *sock, uint8_t *answer, struct pc_err *err)
{
    uint8_t first[PC_PREAMBLE_SIZE + PC_NOISE_MSG1_SIZE], second[PC_NOISE_MSG2_SIZE], empty[1];
    struct pc_handshake noise;
    struct pc_cipher send_cipher, receive_cipher;
    int result = -1;
    make_preamble(a, suite, first);
    pc_handshake_init(&noise, suite, true, first, PC_PREAMBLE_SIZE, a->file->exec_key,
                      a->file->controller_key);
    if (pc_handshake_write(&noise, NULL, 0, first + PC_PREAMBLE_SIZE) < 0) {
        pc_err_set(err, PC_E_KEY, "the controller's key in %s is not valid", file_name(a));
        goto out;
    }
    if (move_exactly(a, fd, first, sizeof(first), true, err) || read_answer(a, fd, err, answer) ||
        move_exactly(a, fd, second, sizeof(second), false, err))
        goto out;
    if (pc_handshake_read(&noise, second, sizeof(second), empty) < 0) {
        pc_err_set(err, PC_E_KEY, "%s could not prove that it is the controller named in %s",
                   a->name, file_name(a));
        goto out;
    }
    pc_handshake_split(&noise, &send_cipher, &receive_cipher);
    if (pc_wire_encrypt(&sock->wire, &send_cipher, &receive_cipher))
        pc_err_set(err, PC_E_MEMORY, "out of memory");
    else
        result = 0;
out:
    pc_handshake_wipe(&noise);
    return result;
}

static int handshake_plain(const struct attempt *a, int fd, uint8_t *answer, struct pc_err *err)
{
    uint8_t first[PC_PREAMBLE_SIZE];
    make_preamble(a, PC_SUITE_PLAIN, first);
    if (move_exactly(a, fd, first, sizeof(first), true, err))
        return -1;
    return read_answer(a, fd, err, answer);
}

static int connect_once(struct pc_sock *sock, struct attempt *a, bool is_unix, enum pc_suite suite,
                        uint8_t *answer, struct pc_err *err)
{
    int fd = is_unix ? open_unix(a, err) : open_tcp(a, err);
    if (fd < 0)
        return -1;
    pc_sock_init(sock, fd, PC_FROM_SCHED);
    int failed = suite == PC_SUITE_PLAIN ? handshake_plain(a, fd, answer, err)
                                         : handshake_noise(a, fd, suite, sock, answer, err);
    if (!failed && set_blocking(fd, true))
        failed = pc_err_sys(err, "can't set up the connection to %s", a->name);
    if (failed)
        pc_sock_close(sock);
    return failed;
}

/* The Unix socket is of use where it exists: that is the controller's machine (or container). */
static bool unix_is_here(const struct pc_connfile *file)
{
    return file->unix_path[0] && access(file->unix_path, F_OK) == 0;
}

int pc_sock_connect(struct pc_sock *sock, const struct pc_connfile *file,
                    enum pc_transport transport, int timeout_ms, char *address, size_t address_size,
                    struct pc_err *err)
{
    struct pc_err local;
    struct attempt a = {.file = file,
                        .timeout_ms = timeout_ms,
                        .deadline_ms = pc_clock_ms() + timeout_ms,
                        .is_interruptible = strcmp(file->role, "client") == 0};
    uint8_t answer = PC_ANSWER_OK;
    bool is_unix = transport == PC_TRANSPORT_UNIX || transport == PC_TRANSPORT_UNIX_ENCRYPTED;
    int failed;
    if (!err)
        err = &local;
    if (pc_noise_init())
        return pc_err_set(err, PC_E_SYSTEM, "no source of random numbers");
    if (is_unix && !file->unix_path[0])
        return pc_err_set(err, PC_E_INVALID, "%s names no Unix socket", file_name(&a));
    if (transport == PC_TRANSPORT_ANY)
        is_unix = unix_is_here(file);
    if (is_unix && transport != PC_TRANSPORT_UNIX_ENCRYPTED) {
        failed = connect_once(sock, &a, true, PC_SUITE_PLAIN, &answer, err);
    } else {
        enum pc_suite suite =
            pc_suite_available(PC_SUITE_AESGCM) ? PC_SUITE_AESGCM : PC_SUITE_CHACHAPOLY;
        failed = connect_once(sock, &a, is_unix, suite, &answer, err);
        if (failed && answer == PC_ANSWER_SUITE && suite == PC_SUITE_AESGCM)
            failed = connect_once(sock, &a, is_unix, PC_SUITE_CHACHAPOLY, &answer, err);
    }
    if (!failed && address)
        snprintf(address, address_size, "%s", a.name);
    return failed ? -1 : 0;
}

/* ---- HELLO ------------------------------------------------------------------------------ */

static enum pc_errc refusal_code(const char *name)
{
    static const struct {
        const char *name;
        enum pc_errc code;
    } codes[] = {{"role", PC_E_ROLE},
                 {"key", PC_E_KEY},
                 {"version", PC_E_VERSION},
                 {"protocol", PC_E_PROTOCOL},
                 {"busy", PC_E_REFUSED}};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (strcmp(codes[i].name, name) == 0)
            return codes[i].code;
    return PC_E_REMOTE;
}

static void refusal_error(const struct pc_msg *msg, struct pc_err *err)
{
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return;
    pc_err_set(err, refusal_code(pc_json_str_or(body, "code", "")), "%s",
               pc_json_str_or(body, "text", "the controller refused the connection"));
    pc_json_free(body);
}

struct pc_msg *pc_sock_hello(struct pc_sock *sock, const char *hello_json, int timeout_ms,
                             struct pc_err *err)
{
    struct pc_err local;
    if (!err)
        err = &local;
    struct pc_msg *hello = pc_msg_with_body(PC_MSG_HELLO, hello_json, strlen(hello_json));
    if (!hello) {
        pc_err_set(err, PC_E_MEMORY, "out of memory");
        return NULL;
    }
    int failed = pc_sock_send(sock, hello, err);
    pc_msg_unref(hello);
    if (failed)
        return NULL;
    struct pc_msg *answer = pc_sock_receive(sock, timeout_ms, err);
    if (answer && answer->head.type == PC_MSG_WELCOME)
        return answer;
    if (answer && answer->head.type == PC_MSG_REFUSED)
        refusal_error(answer, err);
    else if (answer)
        pc_err_set(err, PC_E_PROTOCOL, "the controller answered HELLO with %s",
                   pc_msg_name(answer->head.type));
    pc_msg_unref(answer);
    return NULL;
}
