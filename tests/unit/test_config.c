/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/fakes.h"

#define FILE_NAME "d.json"

static void parse(const char *text, struct device_description *d)
{
    struct config_error error = { "" };
    int err = config_parse(FILE_NAME, text, d, &error);

    ck_assert_msg(err == 0, "%s: %s", text, error.text);
}

static void expect_default(const struct device_description *d)
{
    ck_assert_uint_eq(d->pci.vendor, 0xdead);
    ck_assert_uint_eq(d->pci.device, 0xbeef);
    ck_assert_uint_eq(d->pci.subsystem_vendor, 0xcafe);
    ck_assert_uint_eq(d->pci.subsystem_device, 0xbabe);
    ck_assert_uint_eq(d->pci.class_code, 0x088000);
    ck_assert_uint_eq(d->pci.revision, 1);
    ck_assert_uint_eq(d->pci.n_caps, 1);
    ck_assert_int_eq(d->pci.caps[0].kind, PCI_CAP_KIND_PM);
    ck_assert(d->pci.caps[0].no_soft_reset);
    ck_assert_uint_eq(d->bar1.size, 16384);
    ck_assert_uint_eq(d->bar1.n_areas, 2);
    ck_assert_uint_eq(d->bar1.areas[0].offset, 0);
    ck_assert_uint_eq(d->bar1.areas[0].size, 4096);
    ck_assert_uint_eq(d->bar1.areas[1].offset, 8192);
    ck_assert_uint_eq(d->bar1.areas[1].size, 4096);
    ck_assert(!d->bar1.clear_on_reset);
    ck_assert_uint_eq(d->limits.max_dma_maps, 65535);
    ck_assert_uint_eq(d->limits.max_msg_fds, 8);
    ck_assert_uint_eq(d->limits.max_data_xfer_size, 1 << 20);
    ck_assert_uint_eq(d->limits.client_timeout_ms, 5000);
    ck_assert_int_eq(d->doorbell, DOORBELL_SHADOW);
    ck_assert_int_eq(d->irq_message, IRQ_MESSAGE_FALLBACK);
    ck_assert(!d->dma_on_irq);
    ck_assert_int_eq(d->profile, PROFILE_AUTO);
    ck_assert_int_eq(d->log_level, 0);
    ck_assert(d->control.group_may_write);
}

START_TEST(nothing_said_is_the_default)
{
    static const char *const texts[] = { "{}", " { } ", "{\"model\": \"timer\"}",
                                         "{\"pci\": {}, \"bar1\": {}, \"limits\": {}}" };
    struct device_description d;

    description_default(&d);
    expect_default(&d);
    description_fini(&d);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        parse(texts[i], &d);
        expect_default(&d);
        ck_assert_ptr_null(config_warning(&d));
        description_fini(&d);
    }
}
END_TEST

static const char example[] =
    "{ \"model\": \"timer\",\n"
    "  \"pci\": { \"vendor\": \"0x0000\", \"device\": \"0x0000\", \"class\": \"0x000000\",\n"
    "    \"capabilities\": [ {\"kind\": \"pm\", \"offset\": \"0x40\", \"no_soft_reset\": true},\n"
    "      {\"kind\": \"vendor\", \"offset\": \"0x48\", \"data\": \"6162636465666768\"},\n"
    "      {\"kind\": \"express\", \"offset\": \"0x58\", \"flr\": true},\n"
    "      {\"kind\": \"dsn\", \"serial\": \"0xcafebabedeadbeef\"},\n"
    "      {\"kind\": \"vendor-ext\", \"id\": 1, \"revision\": 1, \"length\": 21},\n"
    "      {\"kind\": \"vendor-ext\", \"offset\": \"0x400\", \"id\": 2, \"revision\": 2,\n"
    "       \"length\": 21} ] },\n"
    "  \"bar1\": { \"size\": \"16K\", \"mmap\": [[\"0\", \"4K\"], [\"8K\", \"4K\"]] },\n"
    "  \"limits\": { \"max_dma_maps\": 65535, \"max_msg_fds\": 8,\n"
    "              \"max_data_xfer_size\": \"1M\" } }\n";

START_TEST(the_example_is_understood)
{
    static const enum pci_cap_kind kinds[] = { PCI_CAP_KIND_PM,         PCI_CAP_KIND_VENDOR,
                                               PCI_CAP_KIND_EXPRESS,    PCI_CAP_KIND_DSN,
                                               PCI_CAP_KIND_VENDOR_EXT, PCI_CAP_KIND_VENDOR_EXT };
    static const uint16_t offsets[] = { 0x40, 0x48, 0x58, 0, 0, 0x400 };
    struct device_description d;

    parse(example, &d);
    ck_assert_uint_eq(d.pci.vendor, 0);
    ck_assert_uint_eq(d.pci.class_code, 0);
    ck_assert_uint_eq(d.pci.n_caps, 6);
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_int_eq(d.pci.caps[i].kind, kinds[i]);
        ck_assert_uint_eq(d.pci.caps[i].offset, offsets[i]);
    }
    ck_assert_uint_eq(d.pci.caps[1].data_len, 8);
    ck_assert_mem_eq(d.pci.caps[1].data, "abcdefgh", 8);
    ck_assert(d.pci.caps[2].flr);
    ck_assert_uint_eq(d.pci.caps[3].serial, 0xcafebabedeadbeef);
    ck_assert_uint_eq(d.pci.caps[5].id, 2);
    ck_assert_uint_eq(d.pci.caps[5].revision, 2);
    ck_assert_uint_eq(d.pci.caps[5].length, 21);
    ck_assert_uint_eq(d.bar1.size, 16384);
    ck_assert_uint_eq(d.bar1.n_areas, 2);
    description_fini(&d);
}
END_TEST

START_TEST(every_key_has_its_place)
{
    static const char text[] =
        "{\"pci\": {\"vendor\": 1, \"device\": \"2\", \"subsystem_vendor\": \"0x3\","
        " \"subsystem_device\": 65535, \"class\": \"0xffffff\", \"revision\": 255,"
        " \"capabilities\": [{\"kind\": \"msi\", \"vectors\": 16, \"maskable\": true,"
        " \"address64\": false}, {\"kind\": \"pm\", \"no_soft_reset\": false},"
        " {\"kind\": \"raw\", \"id\": 255, \"data\": \"00fFA5\", \"mask\": \"ff0001\"},"
        " {\"kind\": \"dsn\", \"serial\": 18446744073709551615},"
        " {\"kind\": \"raw-ext\", \"offset\": \"0xff8\", \"id\": \"0xffff\", \"revision\": 15,"
        " \"data\": \"01\"}]},"
        " \"bar1\": {\"size\": \"2G\", \"mmap\": [], \"clear_on_reset\": true},"
        " \"limits\": {\"max_dma_maps\": 1, \"max_msg_fds\": 16, \"max_data_xfer_size\": \"16M\"},"
        " \"dma_on_irq\": true, \"profile\": \"cloud-hypervisor\", \"log_level\": \"warning\","
        " \"control\": {\"group_may_write\": false}}";
    struct device_description d;

    parse(text, &d);
    ck_assert_uint_eq(d.pci.vendor, 1);
    ck_assert_uint_eq(d.pci.device, 2);
    ck_assert_uint_eq(d.pci.subsystem_vendor, 3);
    ck_assert_uint_eq(d.pci.subsystem_device, 0xffff);
    ck_assert_uint_eq(d.pci.class_code, 0xffffff);
    ck_assert_uint_eq(d.pci.revision, 255);
    ck_assert_uint_eq(d.pci.caps[0].vectors, 16);
    ck_assert(d.pci.caps[0].maskable && !d.pci.caps[0].address64);
    ck_assert(!d.pci.caps[1].no_soft_reset);
    ck_assert_uint_eq(d.pci.caps[2].id, 255);
    ck_assert_uint_eq(d.pci.caps[2].data_len, 3);
    ck_assert_mem_eq(d.pci.caps[2].data, "\x00\xff\xa5", 3);
    ck_assert_mem_eq(d.pci.caps[2].mask, "\xff\x00\x01", 3);
    ck_assert_uint_eq(d.pci.caps[3].serial, UINT64_MAX);
    ck_assert_uint_eq(d.pci.caps[4].offset, 0xff8);
    ck_assert_uint_eq(d.pci.caps[4].revision, 15);
    ck_assert_uint_eq(d.bar1.size, 2ull << 30);
    ck_assert_uint_eq(d.bar1.n_areas, 0);
    ck_assert(d.bar1.clear_on_reset);
    ck_assert_uint_eq(d.limits.max_dma_maps, 1);
    ck_assert_uint_eq(d.limits.max_msg_fds, 16);
    ck_assert_uint_eq(d.limits.max_data_xfer_size, 16 << 20);
    ck_assert(d.dma_on_irq);
    ck_assert_int_eq(d.profile, PROFILE_CLOUD_HYPERVISOR);
    ck_assert_int_eq(d.log_level, 4);
    ck_assert(!d.control.group_may_write);
    description_fini(&d);
}
END_TEST

START_TEST(sizes_have_units)
{
    static const struct {
        const char *size;
        uint64_t bytes;
    } sizes[] = {
        { "\"16K\"", 16384 },  { "\"0x10K\"", 16384 }, { "16384", 16384 }, { "\"16384\"", 16384 },
        { "\"1M\"", 1 << 20 }, { "\"1G\"", 1 << 30 },  { "4096", 4096 },
    };
    char text[128];
    struct device_description d;

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        snprintf(text, sizeof(text), "{\"bar1\": {\"size\": %s}}", sizes[i].size);
        parse(text, &d);
        ck_assert_uint_eq(d.bar1.size, sizes[i].bytes);
        /* The default areas stay where they fit. */
        ck_assert_uint_eq(d.bar1.n_areas, sizes[i].bytes >= 12288 ? 2 : 1);
        description_fini(&d);
    }
}
END_TEST

START_TEST(an_odd_size_is_warned_of)
{
    struct device_description d;

    parse("{\"bar1\": {\"size\": \"12K\"}}", &d);
    ck_assert_ptr_nonnull(config_warning(&d));
    ck_assert_ptr_nonnull(strstr(config_warning(&d), "bar1.size is not a power of two"));
    description_fini(&d);
}
END_TEST

START_TEST(how_the_client_is_reached)
{
    struct device_description d;

    parse("{\"doorbell\": \"ioeventfd\", \"irq_message\": \"both\","
          " \"limits\": {\"client_timeout\": 0.25},"
          " \"pci\": {\"capabilities\": [{\"kind\": \"msix\", \"vectors\": 32, \"bar\": 5},"
          "                               {\"kind\": \"pm\"}]}}",
          &d);
    ck_assert_int_eq(d.doorbell, DOORBELL_IOEVENTFD);
    ck_assert_int_eq(d.irq_message, IRQ_MESSAGE_BOTH);
    ck_assert_uint_eq(d.limits.client_timeout_ms, 250);
    ck_assert_int_eq(d.pci.caps[0].kind, PCI_CAP_KIND_MSIX);
    ck_assert_uint_eq(d.pci.caps[0].vectors, 32);
    ck_assert_uint_eq(d.pci.caps[0].bar, 5);
    description_fini(&d);
    parse("{\"doorbell\": \"none\", \"irq_message\": \"fallback\","
          " \"limits\": {\"client_timeout\": \"3600\"},"
          " \"pci\": {\"capabilities\": [{\"kind\": \"msix\"}]}}",
          &d);
    ck_assert_int_eq(d.doorbell, DOORBELL_NONE);
    ck_assert_int_eq(d.irq_message, IRQ_MESSAGE_FALLBACK);
    ck_assert_uint_eq(d.limits.client_timeout_ms, 3600000);
    ck_assert_uint_eq(d.pci.caps[0].vectors, 3);
    ck_assert_uint_eq(d.pci.caps[0].bar, 2);
    description_fini(&d);
}
END_TEST

/* Texts that are no JSON object; where is the line and column that is named. */
static const struct {
    const char *text;
    const char *where;
} broken[] = {
    { "{\n  \"model\": timer\n}", "line 2, column 13: " },
    { "{\"model\" \"timer\"}", "line 1, column 10: " },
    { "{\n\n  \"bar1\": {,\n", "line 3, column 12: " },
    { "{} x", "line 1, column 4: " },
    { "{\"pci\": {}", "line 1, column 11: " },
    { "{'model': 'timer'}", "line 1, column 11: " },
    { "{\"dma_on_irq\": True}", "line 1, column 16: " },
    { "{\"pci\": {\"vendor\": 0x1}}", "line 1, column 21: " },
    { "{\"model\": \"tim\xff\x65r\"}", "line 1, column 1" },
    { "", "line 1, column 1: " },
};

START_TEST(broken_json_is_located)
{
    struct device_description d;
    struct config_error error = { "" };
    char expected[64];

    ck_assert_int_eq(config_parse(FILE_NAME, broken[_i].text, &d, &error), -EINVAL);
    snprintf(expected, sizeof(expected), "%s: %s", FILE_NAME, broken[_i].where);
    ck_assert_msg(strncmp(error.text, expected, strlen(expected)) == 0, "%s:\n  %s\n  not %s",
                  broken[_i].text, error.text, expected);
    ck_assert_ptr_null(strstr(error.text, "success"));
    ck_assert_uint_gt(strlen(error.text), strlen(expected));
}
END_TEST

START_TEST(null_is_no_object)
{
    struct device_description d;
    struct config_error error = { "" };

    ck_assert_int_eq(config_parse(FILE_NAME, "null", &d, &error), -EINVAL);
    ck_assert_str_eq(error.text, FILE_NAME ": must be an object");
}
END_TEST

START_TEST(long_names_do_not_overflow)
{
    static char text[8192];
    static char name[4096];
    struct device_description d;
    struct config_error error;

    memset(name, 'x', sizeof(name) - 1);
    snprintf(text, sizeof(text), "{\"pci\": {\"%s\": 1}}", name);
    ck_assert_int_eq(config_parse(name, text, &d, &error), -EINVAL);
    ck_assert_uint_lt(strlen(error.text), sizeof(error.text));
    ck_assert_int_eq(config_parse(FILE_NAME, text, &d, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, FILE_NAME ": pci.xxx"));
}
END_TEST

/*
 * Files
 */

static char directory[] = "/tmp/test_config.XXXXXX";
static char path[64];

static void write_file(const void *bytes, size_t len)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

static void expect_load_as(unsigned flags, int expected, const char *file, const char *reason)
{
    struct device_description d;
    struct config_error error = { "" };
    char text[128];

    ck_assert_int_eq(config_load(file, flags, &d, &error), expected);
    if (expected >= 0) {
        description_fini(&d);
        return;
    }
    snprintf(text, sizeof(text), "%s: %s", file, reason);
    ck_assert_str_eq(error.text, text);
}

static void expect_load(int expected, const char *file, const char *reason)
{
    expect_load_as(0, expected, file, reason);
}

START_TEST(files_are_read)
{
    char *big = malloc(2 << 20);
    unsigned before = fake_open_fds();

    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/d.json", directory);
    expect_load(-ENOENT, path, "No such file or directory");
    expect_load(-EISDIR, directory, "Is a directory");
    write_file(example, sizeof(example) - 1);
    expect_load(0, path, NULL);
    write_file("{\"bar1\": {\"size\": 1}}", 21);
    expect_load(-EINVAL, path,
                "bar1.size: 1 (0x1) is not between 4096 and 2147483648 (0x80000000)");
    memset(big, ' ', 2 << 20);
    memcpy(big, "{}", 2);
    write_file(big, 131071);
    expect_load(0, path, NULL);
    write_file(big, 131072);
    expect_load(-EFBIG, path, "it has more than 128 KiB");
    write_file(big, 2 << 20);
    expect_load(-EFBIG, path, "it has more than 128 KiB");
    ck_assert_uint_eq(fake_open_fds(), before);
    unlink(path);
    rmdir(directory);
    free(big);
}
END_TEST

START_TEST(a_file_may_be_optional)
{
    static const char nowhere[] =
        "it is a link to what is not there, or hidden from a service: see "
        "\"The sandbox\" in vfio-userd(8)";
    struct device_description d;
    struct config_error error;

    ck_assert_int_eq(config_load(NULL, 0, &d, &error), 1);
    ck_assert_uint_eq(d.pci.vendor, 0xdead);
    description_fini(&d);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/d.json", directory);
    expect_load_as(CONFIG_OPTIONAL, 1, path, NULL);
    expect_load_as(CONFIG_REGULAR, -ENOENT, path, "No such file or directory");
    ck_assert_int_eq(symlink("nowhere", path), 0);
    expect_load_as(CONFIG_OPTIONAL, -ENOLINK, path, nowhere);
    expect_load_as(0, -ENOLINK, path, nowhere);
    unlink(path);
    write_file("{", 1);
    expect_load_as(CONFIG_OPTIONAL | CONFIG_REGULAR, -EINVAL, path,
                   "line 1, column 2: unexpected end of data");
    unlink(path);
    rmdir(directory);
}
END_TEST

/* A FIFO that nobody writes to is not waited for. */
START_TEST(a_file_may_have_to_be_regular)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/d.json", directory);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    expect_load_as(CONFIG_REGULAR, -ENOTSUP, path, "it is no regular file");
    expect_load_as(CONFIG_OPTIONAL | CONFIG_REGULAR, -ENOTSUP, path, "it is no regular file");
    expect_load_as(CONFIG_REGULAR, -ENOTSUP, "/dev/null", "it is no regular file");
    unlink(path);
    rmdir(directory);
}
END_TEST

START_TEST(a_nul_does_not_end_a_file)
{
    static const char text[] = "{}\0 and what nobody reads";
    struct device_description d;
    struct config_error error;
    int err;

    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/d.json", directory);
    write_file(text, sizeof(text) - 1);
    err = config_load(path, 0, &d, &error);
    unlink(path);
    rmdir(directory);
    ck_assert_int_eq(err, -EINVAL);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        nothing_said_is_the_default, the_example_is_understood,
        every_key_has_its_place,     sizes_have_units,
        an_odd_size_is_warned_of,    null_is_no_object,
        long_names_do_not_overflow,  files_are_read,
        a_file_may_be_optional,      a_file_may_have_to_be_regular,
        a_nul_does_not_end_a_file,   how_the_client_is_reached,
    };
    const struct fake_loop_test loops[] = {
        { broken_json_is_located, ARRAY_SIZE(broken) },
    };

    return fake_run("config", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
