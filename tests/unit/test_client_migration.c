/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/client_migration.c against a server that follows a script. */
#define _GNU_SOURCE
#include "client.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "fake_server.h"
#include "suite.h"

#define COUNT(a)     (sizeof(a) / sizeof((a)[0]))
#define WORDS(...)   ((const uint32_t[]) { __VA_ARGS__ })
#define PAYLOAD(...) .len = sizeof(WORDS(__VA_ARGS__)), .payload = WORDS(__VA_ARGS__)
#define ASKS(n, ...)                                        \
    {                                                       \
        .what = REQUEST, .command = n, PAYLOAD(__VA_ARGS__) \
    }
#define ANSWERS(...)                        \
    {                                       \
        .what = REPLY, PAYLOAD(__VA_ARGS__) \
    }
#define FAILS(number)                  \
    {                                  \
        .what = ERROR, .error = number \
    }

enum { FEATURE = VFIO_USER_DEVICE_FEATURE };
enum { READ = VFIO_USER_MIG_DATA_READ, WRITE = VFIO_USER_MIG_DATA_WRITE };

static int probe(struct client *c)
{
    return client_feature_probe(c, VFIO_DEVICE_FEATURE_MIGRATION | VFIO_DEVICE_FEATURE_GET);
}

static int get_state(struct client *c)
{
    uint32_t state = 77;
    int err = client_mig_get_state(c, &state);

    return err != 0 ? err : (int)state;
}

static int set_state(struct client *c)
{
    return client_mig_set_state(c, 3);
}

static int get_report(struct client *c)
{
    uint32_t ask[2] = { 5, 6 };
    uint32_t data[4] = { 0 };
    size_t got = 0;
    int err = client_feature_get(c, 8, ask, sizeof(ask), data, sizeof(data), &got);

    return err != 0 ? err : (int)(got * 100 + data[2]);
}

static int set_feature(struct client *c)
{
    uint32_t data[2] = { 5, 6 };
    int err = client_feature_set(c, 6, data, sizeof(data));

    return err != 0 ? err : (int)(data[0] * 100 + data[1]);
}

static int read_data(struct client *c)
{
    uint32_t data[2] = { 0, 9 };
    int n = client_mig_read(c, data, sizeof(data));

    return n < 0 ? n : (int)(n * 10000 + (int)data[0] * 100 + (int)data[1]);
}

static int write_data(struct client *c)
{
    return client_mig_write(c, "abcd", 4);
}

static const struct {
    const char *what;
    int (*call)(struct client *c);
    int result;
    struct step steps[4];
} cases[] = {
    { "probe", probe, 0, { ASKS(FEATURE, 8, 0x50001), ANSWERS(8, 0x50001) } },
    { "probe of what is not", probe, -ENOTTY, { ASKS(FEATURE, 8, 0x50001), FAILS(ENOTTY) } },
    { "probe with data", probe, -EPROTO, { ASKS(FEATURE, 8, 0x50001), ANSWERS(12, 0x50001, 0) } },
    { "get state", get_state, 6, { ASKS(FEATURE, 16, 0x10002), ANSWERS(16, 0x10002, 6, ~0u) } },
    { "get state short",
      get_state,
      -EPROTO,
      { ASKS(FEATURE, 16, 0x10002), ANSWERS(12, 0x10002, 6) } },
    { "get state long",
      get_state,
      -EPROTO,
      { ASKS(FEATURE, 16, 0x10002), ANSWERS(20, 0x10002, 6, 0, 0) } },
    { "get state of another",
      get_state,
      -EPROTO,
      { ASKS(FEATURE, 16, 0x10002), ANSWERS(16, 0x10001, 6, ~0u) } },
    { "get state cut", get_state, -EPROTO, { ASKS(FEATURE, 16, 0x10002), ANSWERS(16) } },
    { "set state",
      set_state,
      0,
      { ASKS(FEATURE, 16, 0x20002, 3, ~0u), ANSWERS(16, 0x20002, 3, ~0u) } },
    { "set state refused",
      set_state,
      -EINVAL,
      { ASKS(FEATURE, 16, 0x20002, 3, ~0u), FAILS(EINVAL) } },
    { "set state short",
      set_state,
      -EPROTO,
      { ASKS(FEATURE, 16, 0x20002, 3, ~0u), ANSWERS(16, 0x20002) } },
    { "get with data",
      get_report,
      1207,
      { ASKS(FEATURE, 24, 0x10008, 5, 6), ANSWERS(20, 0x10008, 5, 6, 7) } },
    { "set that is changed",
      set_feature,
      906,
      { ASKS(FEATURE, 16, 0x20006, 5, 6), ANSWERS(16, 0x20006, 9, 6) } },
    { "read all", read_data, 80506, { ASKS(READ, 16, 8), ANSWERS(16, 8, 5, 6) } },
    { "read some", read_data, 40509, { ASKS(READ, 16, 8), ANSWERS(12, 4, 5) } },
    { "read none", read_data, 9, { ASKS(READ, 16, 8), ANSWERS(8, 0) } },
    { "read too much", read_data, -EPROTO, { ASKS(READ, 16, 8), ANSWERS(20, 12, 5, 6, 7) } },
    { "read less than said", read_data, -EPROTO, { ASKS(READ, 16, 8), ANSWERS(16, 8, 5) } },
    { "read half a header", read_data, -EPROTO, { ASKS(READ, 16, 8), ANSWERS(16) } },
    { "read refused", read_data, -EINVAL, { ASKS(READ, 16, 8), FAILS(EINVAL) } },
    { "write", write_data, 0, { ASKS(WRITE, 12, 4, 0x64636261), { .what = REPLY } } },
    { "write, with an answer", write_data, 0, { ASKS(WRITE, 12, 4, 0x64636261), ANSWERS(12, 4) } },
    { "write refused", write_data, -EINVAL, { ASKS(WRITE, 12, 4, 0x64636261), FAILS(EINVAL) } },
};

START_TEST(test_calls)
{
    struct server server;
    int result;

    server_start(&server, cases[_i].steps);
    result = cases[_i].call(server.client);
    ck_assert_msg(result == cases[_i].result, "%s: %d", cases[_i].what, result);
    server_finish(&server);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client_migration");
    TCase *tcase = tcase_create("client_migration");

    tcase_add_loop_test(tcase, test_calls, 0, COUNT(cases));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
