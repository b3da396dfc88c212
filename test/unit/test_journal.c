/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/journal.c: what a journal gets, and when it is asked to take it. */
#include "unit.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/journal.h"
#include "lib/proto.h"

struct journal {
    struct sockaddr_un address;
    int fd;
};

static struct journal listening(void)
{
    struct journal journal = {.address = {.sun_family = AF_UNIX}};
    snprintf(journal.address.sun_path, sizeof(journal.address.sun_path), "/tmp/pc-journal-%d",
             (int)getpid());
    journal.fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(
        bind(journal.fd, (const struct sockaddr *)&journal.address, sizeof(journal.address)), 0);
    return journal;
}

static void assert_received(struct journal *journal, const char *expected)
{
    char text[4096];
    ssize_t size = recv(journal->fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    assert_true(size > 0);
    text[size] = '\0';
    assert_string_equal(text, expected);
}

static void test_fields(void **state)
{
    struct journal journal = listening();
    int fd = pc_journal_open(journal.address.sun_path);
    assert_true(fd >= 0);
    assert_int_equal(pc_journal_send(fd, 6, "hub", NULL, "all is well"), 0);
    assert_received(&journal, "PRIORITY=6\nSYSLOG_IDENTIFIER=pcluster\nPCLUSTER_ROLE=hub\n"
                              "MESSAGE=all is well\n");
    assert_int_equal(pc_journal_send(fd, 4, "engine 12", NULL, "a\nPRIORITY=0"), 0);
    assert_received(&journal, "PRIORITY=4\nSYSLOG_IDENTIFIER=pcluster\nPCLUSTER_ROLE=engine 12\n"
                              "PCLUSTER_ENGINE=12\nMESSAGE=a PRIORITY=0\n");
    struct pc_log_subject subject = {.engine_id = 3, .session = 0x5c1e, .sequence = 7};
    assert_int_equal(pc_journal_send(fd, 4, "scheduler", &subject, "lost engine 3"), 0);
    assert_received(&journal, "PRIORITY=4\nSYSLOG_IDENTIFIER=pcluster\nPCLUSTER_ROLE=scheduler\n"
                              "PCLUSTER_ENGINE=3\nPCLUSTER_TASK=0000000000005c1e_7\n"
                              "MESSAGE=lost engine 3\n");
    subject = (struct pc_log_subject){.engine_id = PC_NO_ENGINE};
    assert_int_equal(pc_journal_send(fd, 7, "hub", &subject, "nothing"), 0);
    assert_received(&journal, "PRIORITY=7\nSYSLOG_IDENTIFIER=pcluster\nPCLUSTER_ROLE=hub\n"
                              "MESSAGE=nothing\n");
    close(fd);
    close(journal.fd);
    unlink(journal.address.sun_path);
}

static void test_long_messages_are_cut(void **state)
{
    char message[8192], text[8192];
    struct journal journal = listening();
    int fd = pc_journal_open(journal.address.sun_path);
    memset(message, 'x', sizeof(message) - 1);
    message[sizeof(message) - 1] = '\0';
    assert_int_equal(pc_journal_send(fd, 6, "engine x", NULL, message), 0);
    ssize_t size = recv(journal.fd, text, sizeof(text), MSG_DONTWAIT);
    assert_true(size > 2048 && size <= 3072);
    assert_int_equal(text[size - 1], '\n');
    close(fd);
    close(journal.fd);
    unlink(journal.address.sun_path);
}

static void test_nobody_listens(void **state)
{
    assert_int_equal(pc_journal_open("/tmp/no-such-journal"), -1);
}

static void test_stream(void **state)
{
    struct stat status;
    int fds[2];
    char text[64], more[70];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fstat(fds[1], &status), 0);
    snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    snprintf(more, sizeof(more), "%s ", text);
    assert_true(pc_journal_is_stream(fds[1], text));
    assert_false(pc_journal_is_stream(fds[1], more));
    assert_false(pc_journal_is_stream(fds[1], "1:"));
    assert_false(pc_journal_is_stream(fds[1], NULL));
    close(fds[0]);
    close(fds[1]);
    assert_false(pc_journal_is_stream(fds[1], text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_long_messages_are_cut),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
