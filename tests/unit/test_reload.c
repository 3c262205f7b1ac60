/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "reload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "unit/fakes.h"

static char directory[] = "/tmp/test_reload.XXXXXX";
static char path[64];

/* A running device that was made from text; NULL: the default one. */
static void begin(const char *text, struct device_description *current)
{
    struct config_error error = { "" };

    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/dev0.json", directory);
    if (text == NULL)
        description_default(current);
    else
        ck_assert_int_eq(config_parse(path, text, current, &error), 0);
}

static void end(struct device_description *current)
{
    description_fini(current);
    unlink(path);
    ck_assert_int_eq(rmdir(directory), 0);
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

/* The keys that have changed, each with a blank behind it; current is what was read from then on.
 */
static void expect_changed(struct device_description *current, const char *file, bool optional,
                           const char *keys)
{
    struct device_description d;
    struct reload_outcome outcome;
    char text[256] = "";

    memset(&outcome, 0x5a, sizeof(outcome));
    ck_assert_int_eq(reload_read(file, optional, current, &d, &outcome), 0);
    for (unsigned i = 0; i < outcome.n_changed; i++) {
        ck_assert(outcome.changed[i].live);
        strcat(strcat(text, outcome.changed[i].key), " ");
    }
    ck_assert_str_eq(text, keys);
    ck_assert_str_eq(outcome.reason, "");
    description_adopt(current, &d);
    description_fini(&d);
    ck_assert_int_eq(reload_read(file, optional, current, &d, &outcome), 0);
    ck_assert_uint_eq(outcome.n_changed, 0);
    description_fini(&d);
}

static void expect_refused(const struct device_description *current, const char *file,
                           bool optional, int err, const char *reason)
{
    struct device_description d;
    struct device_description untouched;
    struct reload_outcome outcome;

    memset(&d, 0x5a, sizeof(d));
    memset(&untouched, 0x5a, sizeof(untouched));
    memset(&outcome, 0x5a, sizeof(outcome));
    ck_assert_int_eq(reload_read(file, optional, current, &d, &outcome), err);
    ck_assert_str_eq(outcome.reason, reason);
    ck_assert_uint_eq(outcome.n_changed, 0);
    ck_assert_mem_eq(&d, &untouched, sizeof(d));
}

static const char *refusal(const char *reason)
{
    static char text[256];

    snprintf(text, sizeof(text), "%s: %s", path, reason);
    return text;
}

START_TEST(live_keys_change)
{
    struct device_description current;

    begin("{\"bar1\": {\"size\": \"64K\"}}", &current);
    write_file("{\"bar1\": {\"size\": 65536}}");
    expect_changed(&current, path, false, "");
    write_file("{\"bar1\": {\"size\": 65536}, \"log_level\": \"debug\"}");
    expect_changed(&current, path, false, "log_level ");
    ck_assert_int_eq(current.log_level, 7);
    write_file("{\"bar1\": {\"size\": 65536}, \"limits\": {\"max_dma_maps\": 9,"
               " \"max_data_xfer_size\": \"16M\", \"max_msg_fds\": 1}}");
    expect_changed(&current, path, false,
                   "limits.max_dma_maps limits.max_msg_fds limits.max_data_xfer_size log_level ");
    ck_assert_uint_eq(current.limits.max_data_xfer_size, 16 << 20);
    ck_assert_int_eq(current.log_level, 0);
    end(&current);
}
END_TEST

START_TEST(the_first_fixed_key_refuses_all)
{
    struct device_description current;

    begin(NULL, &current);
    write_file("{\"log_level\": \"debug\", \"bar1\": {\"size\": \"64K\"}}");
    expect_refused(&current, path, false, -EINVAL,
                   refusal("bar1.size: changes only with a stop and a start"));
    write_file("{\"profile\": \"qemu\", \"pci\": {\"capabilities\": [{\"kind\": \"pm\","
               " \"no_soft_reset\": false}]}}");
    expect_refused(&current, path, false, -EINVAL, refusal("profile: changes only with a restart"));
    write_file("{\"pci\": {\"capabilities\": [{\"kind\": \"pm\", \"no_soft_reset\": false}]}}");
    expect_refused(
        &current, path, true, -EINVAL,
        refusal("pci.capabilities[0].no_soft_reset: changes only with a stop and a start"));
    end(&current);
}
END_TEST

START_TEST(what_is_not_valid_is_refused)
{
    struct device_description current;

    begin(NULL, &current);
    write_file("{\"log_level\": \"loud\"}");
    expect_refused(&current, path, true, -EINVAL,
                   refusal("log_level: must be one of err, warning, info, debug"));
    write_file("{");
    expect_refused(&current, path, true, -EINVAL,
                   refusal("line 1, column 2: unexpected end of data"));
    end(&current);
}
END_TEST

START_TEST(a_file_that_is_gone)
{
    struct device_description current;

    begin("{\"limits\": {\"max_dma_maps\": 9}}", &current);
    expect_refused(&current, path, false, -ENOENT, refusal("No such file or directory"));
    expect_changed(&current, path, true, "limits.max_dma_maps ");
    expect_changed(&current, NULL, false, "");
    write_file("{\"limits\": {\"max_dma_maps\": 9}}"); /* and is there again */
    expect_changed(&current, path, true, "limits.max_dma_maps ");
    end(&current);
}
END_TEST

START_TEST(the_default_device_may_be_another)
{
    struct device_description current;

    begin("{\"dma_on_irq\": true}", &current);
    expect_refused(&current, path, true, -EINVAL,
                   refusal("dma_on_irq: changes only with a stop and a start"));
    expect_refused(&current, NULL, true, -EINVAL,
                   "the default device: dma_on_irq: changes only with a stop and a start");
    end(&current);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        live_keys_change,    the_first_fixed_key_refuses_all,   what_is_not_valid_is_refused,
        a_file_that_is_gone, the_default_device_may_be_another,
    };

    return fake_run("reload", tests, ARRAY_SIZE(tests), NULL, 0);
}
