/* SPDX-License-Identifier: BSD-3-Clause */
/* Records for a journald that is this test: what is in them, and that nobody waits for it. */
#define _GNU_SOURCE
#include "service/journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit/fakes.h"

static char sent[16384];   /* the last record: NAME=VALUE, a line each */
static char before[16384]; /* the one before it */
static unsigned records;

static int fake_sendv(const struct iovec *iov, int n)
{
    size_t len = 0;

    strcpy(before, sent);
    for (int i = 0; i < n; i++) {
        memcpy(sent + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
        sent[len++] = '\n';
    }
    sent[len] = '\0';
    records++;
    return 0;
}

static const struct library library = { .journal_sendv = fake_sendv };
static struct sockaddr_un addr = { .sun_family = AF_UNIX };
static int journald;

static struct journal *begin(void)
{
    struct journal *j;

    snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/vfio-userd-journal.%d", (int)getpid());
    journald = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(journald, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    ck_assert_int_eq(journal_new(&library, "dev0", addr.sun_path, &j), 0);
    log_set_writer(journal_write, j);
    return j;
}

static void end(struct journal *j)
{
    log_set_writer(NULL, NULL);
    journal_free(j);
    close(journald);
    unlink(addr.sun_path);
}

START_TEST(records_have_fields)
{
    struct journal *j = begin();

    log_warning("session", "a %s", "reason");
    ck_assert_str_eq(sent, "MESSAGE=session: a reason\nPRIORITY=4\nSYSLOG_IDENTIFIER=vfio-userd\n"
                           "VFIO_USERD_INSTANCE=dev0\nVFIO_USERD_MODULE=session\n");
    log_event(LOG_EVENT_CLIENT_REFUSED,
              LOG_FIELDS(LOG_NUMBER("CLIENT_PID", -1), LOG_TEXT("REASON", "why")), LOG_LEVEL_INFO,
              "control", "text");
    ck_assert_str_eq(sent, "MESSAGE=control: text\nPRIORITY=6\nSYSLOG_IDENTIFIER=vfio-userd\n"
                           "VFIO_USERD_INSTANCE=dev0\nVFIO_USERD_MODULE=control\n"
                           "MESSAGE_ID=954d467edfa444d2b03d506c65dd7e56\n"
                           "VFIO_USERD_CLIENT_PID=-1\nVFIO_USERD_REASON=why\n");
    end(j);
}
END_TEST

/* Whatever is too long, the message and what it is for are there. */
START_TEST(long_records_are_cut_by_field)
{
    static char longest[10000];
    struct journal *j = begin();

    memset(longest, 'x', sizeof(longest) - 1);
    log_event(LOG_EVENT_CLIENT_REFUSED, LOG_FIELDS(LOG_TEXT("REASON", longest)), LOG_LEVEL_INFO,
              "m", "%s", longest);
    ck_assert_int_eq(strncmp(sent, "MESSAGE=m: xxx", 14), 0);
    ck_assert_ptr_nonnull(strstr(sent, "\nPRIORITY=6\n"));
    ck_assert_ptr_nonnull(strstr(sent, "\nMESSAGE_ID="));
    ck_assert_ptr_null(strstr(sent, "REASON"));
    end(j);
}
END_TEST

static unsigned fill(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unsigned n = 0;

    while (sendto(fd, "x", 1, 0, (const struct sockaddr *)&addr, sizeof(addr)) == 1)
        n++;
    close(fd);
    return n;
}

START_TEST(a_full_journal_is_not_waited_for)
{
    struct journal *j = begin();
    unsigned n = fill();
    char byte;

    ck_assert_uint_gt(n, 0);
    for (int i = 0; i < 7; i++)
        log_info("m", "line");
    ck_assert_uint_eq(records, 0);
    while (n-- > 0)
        ck_assert_int_eq(recv(journald, &byte, 1, 0), 1);
    log_info("m", "after it");
    ck_assert_uint_eq(records, 2);
    ck_assert_ptr_nonnull(strstr(before, "MESSAGE=log: 7 lines were lost"));
    ck_assert_ptr_nonnull(strstr(before, "\nPRIORITY=4\n"));
    ck_assert_ptr_nonnull(strstr(sent, "MESSAGE=m: after it\n"));
    log_info("m", "another");
    ck_assert_uint_eq(records, 3);
    end(j);
}
END_TEST

START_TEST(without_a_journal)
{
    struct journal *j;

    ck_assert_int_eq(journal_new(&library, "dev0", "/tmp/vfio-userd-none/socket", &j), -ENOENT);
    journal_free(NULL);
    setenv("JOURNAL_STREAM", "0:0", 1);
    ck_assert(!journal_is_stderr());
    setenv("JOURNAL_STREAM", "nonsense", 1);
    ck_assert(!journal_is_stderr());
    unsetenv("JOURNAL_STREAM");
    ck_assert(!journal_is_stderr());
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        records_have_fields,
        long_records_are_cut_by_field,
        a_full_journal_is_not_waited_for,
        without_a_journal,
    };

    return fake_run("journal", tests, ARRAY_SIZE(tests), NULL, 0);
}
