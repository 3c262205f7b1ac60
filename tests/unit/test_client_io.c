/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/client_io.c against a server that follows a script. */
#define _GNU_SOURCE
#include "client.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fake_server.h"
#include "suite.h"

#define COUNT(a)     (sizeof(a) / sizeof((a)[0]))
#define WORDS(...)   ((const uint32_t[]) { __VA_ARGS__ })
#define PAYLOAD(...) .len = sizeof(WORDS(__VA_ARGS__)), .payload = WORDS(__VA_ARGS__)

/* A request's argsz; flags and count must be 0, and the region is 2. */
#define ASKS(argsz)                                                                              \
    {                                                                                            \
        .what = REQUEST, .command = VFIO_USER_DEVICE_GET_REGION_IO_FDS, PAYLOAD(argsz, 0, 2, 0), \
    }

/* A reply's argsz, flags, region, count and entries. */
#define ANSWERS(...)                        \
    {                                       \
        .what = REPLY, PAYLOAD(__VA_ARGS__) \
    }
#define ANSWERS_WITH(change_, ...)                             \
    {                                                          \
        .what = REPLY, .change = change_, PAYLOAD(__VA_ARGS__) \
    }

/* An entry: at 0x800, 4 bytes. */
#define ENTRY(fd, type, flags, shadow) 0x800, 0, 4, 0, fd, type, flags, shadow, 8, 0, 0, 0
#define EVENTFD(fd)                    ENTRY(fd, 0, 0, 0)
#define SHADOW(fd, shadow)             ENTRY(fd, 2, 0, shadow)

/* Room for this many entries and fds. */
#define MAX 2u

/* n * 100 + nfds, or -errno. */
static int ask(struct client *c)
{
    struct vfio_user_io_fd entries[MAX] = { 0 };
    int fds[MAX] = { -1, -1 };
    unsigned nfds = MAX;
    unsigned n = 77;
    int err = client_get_region_io_fds(c, 2, entries, MAX, &n, fds, &nfds);

    if (err != 0) {
        ck_assert_uint_eq(n, 0);
        ck_assert_uint_eq(nfds, 0);
        return err;
    }
    for (unsigned i = 0; i < n; i++) {
        ck_assert_uint_eq(entries[i].offset, 0x800);
        ck_assert_uint_eq(entries[i].size, 4);
        ck_assert_uint_lt(entries[i].fd_index, nfds);
        ck_assert_uint_eq(entries[i].shadow_offset, 8);
    }
    for (unsigned i = 0; i < nfds; i++)
        ck_assert_int_eq(close(fds[i]), 0);
    return (int)(n * 100 + nfds);
}

#define FAILS_FIRST(what_, ...)   \
    {                             \
        what_, -EPROTO,           \
        {                         \
            ASKS(16), __VA_ARGS__ \
        }                         \
    }
#define FAILS_SECOND(what_, ...)                                  \
    {                                                             \
        what_, -EPROTO,                                           \
        {                                                         \
            ASKS(16), ANSWERS(64, 0, 2, 1), ASKS(64), __VA_ARGS__ \
        }                                                         \
    }

static const struct {
    const char *what;
    int result;
    struct step steps[5];
} cases[] = {
    { "none", 0, { ASKS(16), ANSWERS(16, 0, 2, 0) } },
    { "an eventfd",
      101,
      { ASKS(16), ANSWERS(64, 0, 2, 1), ASKS(64),
        ANSWERS_WITH(WITH_FD, 64, 0, 2, 1, EVENTFD(0)) } },
    { "an eventfd and memory",
      102,
      { ASKS(16), ANSWERS(64, 0, 2, 1), ASKS(64),
        ANSWERS_WITH(WITH_TWO_FDS, 64, 0, 2, 1, SHADOW(0, 1)) } },
    { "two of one fd",
      201,
      { ASKS(16), ANSWERS(112, 0, 2, 2), ASKS(112),
        ANSWERS_WITH(WITH_FD, 112, 0, 2, 2, EVENTFD(0), EVENTFD(0)) } },
    { "more than there is room for", -E2BIG, { ASKS(16), ANSWERS(160, 0, 2, 3) } },
    { "refused", -EINVAL, { ASKS(16), { .what = ERROR, .error = EINVAL } } },
    { "refused the second time",
      -EINVAL,
      { ASKS(16), ANSWERS(64, 0, 2, 1), ASKS(64), { .what = ERROR, .error = EINVAL } } },
    FAILS_FIRST("12 bytes", ANSWERS(16, 0, 2)),
    FAILS_FIRST("no bytes", { .what = REPLY }),
    FAILS_FIRST("20 bytes", ANSWERS(16, 0, 2, 0, 0)),
    FAILS_FIRST("entries that were not asked for", ANSWERS(64, 0, 2, 1, EVENTFD(0))),
    FAILS_FIRST("another region", ANSWERS(16, 0, 3, 0)),
    FAILS_FIRST("flags", ANSWERS(16, 1, 2, 0)),
    FAILS_FIRST("argsz without a count", ANSWERS(64, 0, 2, 0)),
    FAILS_FIRST("a count without argsz", ANSWERS(16, 0, 2, 1)),
    FAILS_FIRST("argsz under the head", ANSWERS(0, 0, 2, 0)),
    FAILS_FIRST("a count that overflows to 0", ANSWERS(16, 0, 2, 0x10000000)),
    FAILS_FIRST("a count that overflows to 1", ANSWERS(64, 0, 2, 0x10000001)),
    FAILS_FIRST("the largest count", ANSWERS(16 - 48, 0, 2, UINT32_MAX)),
    FAILS_SECOND("another count then", ANSWERS_WITH(WITH_FD, 112, 0, 2, 2, EVENTFD(0), EVENTFD(0))),
    FAILS_SECOND("none then", ANSWERS(16, 0, 2, 0)),
    FAILS_SECOND("half an entry", ANSWERS_WITH(WITH_FD, 64, 0, 2, 1, 0x800, 0, 4, 0)),
    FAILS_SECOND("a count alone", ANSWERS_WITH(WITH_FD, 64, 0, 2, 1)),
    FAILS_SECOND("another region then", ANSWERS_WITH(WITH_FD, 64, 0, 1, 1, EVENTFD(0))),
    FAILS_SECOND("no fd", ANSWERS(64, 0, 2, 1, EVENTFD(0))),
    FAILS_SECOND("an index behind the fds", ANSWERS_WITH(WITH_FD, 64, 0, 2, 1, EVENTFD(1))),
    FAILS_SECOND("an index of -1", ANSWERS_WITH(WITH_FD, 64, 0, 2, 1, EVENTFD(UINT32_MAX))),
    FAILS_SECOND("memory behind the fds", ANSWERS_WITH(WITH_FD, 64, 0, 2, 1, SHADOW(0, 1))),
    FAILS_SECOND("an unknown type", ANSWERS_WITH(WITH_FD, 64, 0, 2, 1, ENTRY(0, 3, 0, 0))),
};

static unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

/* Whatever comes, no fd stays open. */
START_TEST(test_answers)
{
    unsigned before = count_fds();
    struct server server;
    int result;

    server_start(&server, cases[_i].steps);
    result = ask(server.client);
    ck_assert_msg(result == cases[_i].result, "%s: %d", cases[_i].what, result);
    server_finish(&server);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

/* fds are counted, also where nobody wants them. */
START_TEST(test_count_fds)
{
    static const struct step steps[] = {
        { .what = REQUEST }, { .what = REPLY, .change = WITH_TWO_FDS },
        { .what = REQUEST }, { .what = ERROR, .error = EINVAL, .change = WITH_FD },
        { .what = REQUEST }, { .what = REPLY },
        { .what = END },
    };
    struct server server;
    uint64_t sent = 77;
    uint64_t received = 77;

    server_start(&server, steps);
    client_count_fds(server.client, &sent, &received);
    ck_assert_uint_eq(sent + received, 0);
    ck_assert_int_eq(client_reset(server.client), 0);
    client_count_fds(server.client, &sent, &received);
    ck_assert_uint_eq(received, 2);
    ck_assert_int_eq(client_reset(server.client), -EINVAL);
    ck_assert_int_eq(client_dma_map(server.client, 0x1000, 0x1000, 3, STDIN_FILENO, 0), 0);
    client_count_fds(server.client, &sent, &received);
    ck_assert_uint_eq(sent, 1);
    ck_assert_uint_eq(received, 3);
    server_finish(&server);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client_io");
    TCase *tcase = tcase_create("client_io");

    tcase_add_loop_test(tcase, test_answers, 0, COUNT(cases));
    tcase_add_test(tcase, test_count_fds);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
