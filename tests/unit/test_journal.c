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

static struct sockaddr_un addr = { .sun_family = AF_UNIX };
static int journald;

static void open_journald(void)
{
    journald = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(journald, (const struct sockaddr *)&addr, sizeof(addr)), 0);
}

static void close_journald(void)
{
    close(journald);
    unlink(addr.sun_path);
}

static struct journal *begin(void)
{
    struct journal *j;

    snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/vfio-userd-journal.%d", (int)getpid());
    open_journald();
    ck_assert_int_eq(journal_new("dev0", addr.sun_path, &j), 0);
    log_set_writer(journal_write, j);
    return j;
}

static void end(struct journal *j)
{
    log_set_writer(NULL, NULL);
    journal_free(j);
    close_journald();
}

/* The next record, "" for none. */
static const char *sent(void)
{
    static char text[16384];
    ssize_t n = recv(journald, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

START_TEST(records_have_fields)
{
    struct journal *j = begin();

    log_warning("session", "a %s", "reason");
    ck_assert_str_eq(sent(), "MESSAGE=session: a reason\nPRIORITY=4\nSYSLOG_IDENTIFIER=vfio-userd\n"
                             "VFIO_USERD_INSTANCE=dev0\nVFIO_USERD_MODULE=session\n");
    log_event(LOG_EVENT_CLIENT_REFUSED,
              LOG_FIELDS(LOG_NUMBER("CLIENT_PID", -1), LOG_TEXT("REASON", "why")), LOG_LEVEL_INFO,
              "control", "text");
    ck_assert_str_eq(sent(), "MESSAGE=control: text\nPRIORITY=6\nSYSLOG_IDENTIFIER=vfio-userd\n"
                             "VFIO_USERD_INSTANCE=dev0\nVFIO_USERD_MODULE=control\n"
                             "MESSAGE_ID=954d467edfa444d2b03d506c65dd7e56\n"
                             "VFIO_USERD_CLIENT_PID=-1\nVFIO_USERD_REASON=why\n");
    end(j);
}
END_TEST

/* Whatever is too long, the message and what it is for are there; and no value brings a line. */
START_TEST(values_are_cut_and_escaped)
{
    static char longest[10000];
    struct journal *j = begin();
    const char *text;

    memset(longest, 'x', sizeof(longest) - 1);
    log_event(LOG_EVENT_CLIENT_REFUSED, LOG_FIELDS(LOG_TEXT("REASON", longest)), LOG_LEVEL_INFO,
              "m", "%s", longest);
    text = sent();
    ck_assert_int_eq(strncmp(text, "MESSAGE=m: xxx", 14), 0);
    ck_assert_ptr_nonnull(strstr(text, "\nPRIORITY=6\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nMESSAGE_ID="));
    ck_assert_ptr_nonnull(strstr(text, "\nVFIO_USERD_REASON=xxx"));
    ck_assert_uint_lt(strlen(text), 8192);
    log_event(LOG_EVENT_CLIENT_REFUSED, LOG_FIELDS(LOG_TEXT("REASON", "a\nPRIORITY=0\n")),
              LOG_LEVEL_INFO, "m", "b\nPRIORITY=1");
    text = sent();
    ck_assert_ptr_nonnull(strstr(text, "MESSAGE=m: b\\x0aPRIORITY=1\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nVFIO_USERD_REASON=a\\x0aPRIORITY=0\\x0a\n"));
    end(j);
}
END_TEST

/* Neither journald's queue nor our own buffer is waited for. */
START_TEST(a_full_journal_is_not_waited_for)
{
    struct journal *j = begin();
    unsigned n = 0;
    unsigned lost = 0;

    for (unsigned i = 0; i < 10000; i++)
        log_info("m", "line %u", i);
    while (sent()[0] != '\0')
        n++;
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_lt(n, 10000);
    log_info("m", "after it");
    ck_assert_int_eq(sscanf(sent(), "MESSAGE=log: %u lines were lost", &lost), 1);
    ck_assert_uint_eq(n + lost, 10000);
    ck_assert_ptr_nonnull(strstr(sent(), "MESSAGE=m: after it\n"));
    log_info("m", "another");
    ck_assert_ptr_nonnull(strstr(sent(), "MESSAGE=m: another\n"));
    ck_assert_str_eq(sent(), "");
    end(j);
}
END_TEST

START_TEST(a_journal_may_come_back)
{
    struct journal *j = begin();

    log_info("m", "one");
    ck_assert_ptr_nonnull(strstr(sent(), "MESSAGE=m: one\n"));
    close_journald();
    ck_assert(!journal_write(j, &(const struct log_record) { .module = "m", .text = "two" }));
    open_journald();
    log_info("m", "three");
    ck_assert_ptr_nonnull(strstr(sent(), "MESSAGE=m: three\n"));
    end(j);
}
END_TEST

START_TEST(what_is_no_journal)
{
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
        records_have_fields,     values_are_cut_and_escaped, a_full_journal_is_not_waited_for,
        a_journal_may_come_back, what_is_no_journal,
    };

    return fake_run("journal", tests, ARRAY_SIZE(tests), NULL, 0);
}
