/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon/device/description.c: every key that the parser knows is compared. */
#include "device/description.h"

#include <stdio.h>
#include <string.h>

#include "config.h"
#include "unit/fakes.h"

#define CAPS(...)  "{\"pci\": {\"capabilities\": [" __VA_ARGS__ "]}}"
#define PCI(...)   "{\"pci\": {" __VA_ARGS__ "}}"
#define BAR(...)   "{\"bar1\": {" __VA_ARGS__ "}}"
#define LIMIT(...) "{\"limits\": {" __VA_ARGS__ "}}"

static void parse(const char *text, struct device_description *d)
{
    struct config_error error = { "" };
    int err = config_parse("d.json", text, d, &error);

    ck_assert_msg(err == 0, "%s: %s", text, error.text);
}

/* A capability behind another one, without and with a key that is not the default's. */
#define SECOND(kind, keys) CAPS("{\"kind\": \"vendor\"}, {\"kind\": \"" kind "\"" keys "}")
#define CAP(kind, key, before, after)                                                 \
    {                                                                                 \
        "pci.capabilities[" kind "]." key, SECOND(kind, before), SECOND(kind, after), \
            "pci.capabilities[1]." key                                                \
    }
#define KIND(kind, keys, other)                                                   \
    {                                                                             \
        "pci.capabilities[" kind "].kind", SECOND(kind, keys), SECOND(other, ""), \
            "pci.capabilities[1].kind"                                            \
    }

static const struct changed_key {
    const char *path; /* as config_each_key says it */
    const char *before;
    const char *after;
    const char *difference; /* NULL: it can have one value only */
} keys[] = {
    { "model", "{}", "{\"model\": \"timer\"}", NULL },
    { "pci.vendor", "{}", PCI("\"vendor\": 1"), "pci.vendor" },
    { "pci.device", "{}", PCI("\"device\": 1"), "pci.device" },
    { "pci.subsystem_vendor", "{}", PCI("\"subsystem_vendor\": 1"), "pci.subsystem_vendor" },
    { "pci.subsystem_device", "{}", PCI("\"subsystem_device\": 1"), "pci.subsystem_device" },
    { "pci.class", "{}", PCI("\"class\": \"0x088001\""), "pci.class" },
    { "pci.revision", "{}", PCI("\"revision\": 2"), "pci.revision" },
    { "pci.capabilities", "{}", CAPS(""), "pci.capabilities" },
    KIND("pm", "", "msi"),
    KIND("msi", "", "pm"),
    KIND("msix", "", "pm"),
    KIND("express", "", "pm"),
    KIND("vendor", "", "pm"),
    KIND("raw", ", \"id\": 1", "pm"),
    KIND("dsn", "", "pm"),
    KIND("vendor-ext", "", "dsn"),
    KIND("raw-ext", "", "dsn"),
    CAP("pm", "offset", "", ", \"offset\": \"0x80\""),
    CAP("pm", "no_soft_reset", "", ", \"no_soft_reset\": false"),
    CAP("msi", "offset", "", ", \"offset\": \"0x80\""),
    CAP("msi", "vectors", "", ", \"vectors\": 2"),
    CAP("msi", "maskable", "", ", \"maskable\": true"),
    CAP("msi", "address64", "", ", \"address64\": false"),
    CAP("msix", "offset", "", ", \"offset\": \"0x80\""),
    CAP("msix", "vectors", "", ", \"vectors\": 32"),
    CAP("msix", "bar", "", ", \"bar\": 4"),
    CAP("express", "offset", "", ", \"offset\": \"0x80\""),
    CAP("express", "flr", "", ", \"flr\": true"),
    CAP("vendor", "offset", "", ", \"offset\": \"0x80\""),
    CAP("vendor", "data", "", ", \"data\": \"00\""),
    CAP("vendor", "data", ", \"data\": \"0001\"", ", \"data\": \"0002\""),
    CAP("dsn", "offset", "", ", \"offset\": \"0x100\""),
    CAP("dsn", "serial", "", ", \"serial\": 18446744073709551615"),
    CAP("vendor-ext", "offset", "", ", \"offset\": \"0x100\""),
    CAP("vendor-ext", "id", "", ", \"id\": 1"),
    CAP("vendor-ext", "revision", "", ", \"revision\": 2"),
    CAP("vendor-ext", "length", "", ", \"length\": 12"),
    CAP("vendor-ext", "data", ", \"length\": 9", ", \"length\": 9, \"data\": \"00\""),
    CAP("raw", "offset", ", \"id\": 1", ", \"id\": 1, \"offset\": \"0x80\""),
    CAP("raw", "id", ", \"id\": 1", ", \"id\": 2"),
    CAP("raw", "data", ", \"id\": 1, \"data\": \"00\"", ", \"id\": 1, \"data\": \"01\""),
    CAP("raw", "mask", ", \"id\": 1, \"data\": \"00\"",
        ", \"id\": 1, \"data\": \"00\", \"mask\": \"ff\""),
    CAP("raw", "mask", ", \"id\": 1, \"data\": \"00\", \"mask\": \"fe\"",
        ", \"id\": 1, \"data\": \"00\", \"mask\": \"ff\""),
    CAP("raw-ext", "offset", "", ", \"offset\": \"0x100\""),
    CAP("raw-ext", "id", "", ", \"id\": 256"),
    CAP("raw-ext", "revision", "", ", \"revision\": 2"),
    CAP("raw-ext", "data", "", ", \"data\": \"01\""),
    CAP("raw-ext", "mask", ", \"data\": \"00\"", ", \"data\": \"00\", \"mask\": \"ff\""),
    { "bar1.size", BAR("\"mmap\": []"), BAR("\"mmap\": [], \"size\": \"8K\""), "bar1.size" },
    { "bar1.mmap", "{}", BAR("\"mmap\": []"), "bar1.mmap" },
    { "bar1.mmap", "{}", BAR("\"mmap\": [[0, \"4K\"], [\"12K\", \"4K\"]]"), "bar1.mmap" },
    { "bar1.clear_on_reset", "{}", BAR("\"clear_on_reset\": true"), "bar1.clear_on_reset" },
    { "limits.max_dma_maps", "{}", LIMIT("\"max_dma_maps\": 1"), "limits.max_dma_maps" },
    { "limits.max_msg_fds", "{}", LIMIT("\"max_msg_fds\": 1"), "limits.max_msg_fds" },
    { "limits.max_data_xfer_size", "{}", LIMIT("\"max_data_xfer_size\": 4096"),
      "limits.max_data_xfer_size" },
    { "limits.client_timeout", "{}", LIMIT("\"client_timeout\": 0.5"), "limits.client_timeout" },
    { "doorbell", "{}", "{\"doorbell\": \"ioeventfd\"}", "doorbell" },
    { "doorbell", "{}", "{\"doorbell\": \"none\"}", "doorbell" },
    { "irq_message", "{}", "{\"irq_message\": \"both\"}", "irq_message" },
    { "dma_on_irq", "{}", "{\"dma_on_irq\": true}", "dma_on_irq" },
    { "profile", "{}", "{\"profile\": \"qemu\"}", "profile" },
    { "log_level", "{}", "{\"log_level\": \"info\"}", "log_level" },
    { "log_level", "{\"log_level\": \"err\"}", "{\"log_level\": \"debug\"}", "log_level" },
    { "control.group_may_write", "{}", "{\"control\": {\"group_may_write\": false}}",
      "control.group_may_write" },
};

static bool is_live(const char *key)
{
    return strncmp(key, "limits.", 7) == 0 || strncmp(key, "control.", 8) == 0 ||
           strcmp(key, "log_level") == 0;
}

static unsigned compare(const struct device_description *a, const struct device_description *b,
                        struct description_difference *out)
{
    unsigned n;

    memset(out, 0x5a, DESCRIPTION_MAX_DIFFERENCES * sizeof(*out));
    n = description_compare(a, b, out);
    ck_assert_uint_le(n, DESCRIPTION_MAX_DIFFERENCES);
    return n;
}

static void is_in_the_table(void *opaque, const char *path)
{
    unsigned *n = opaque;

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (strcmp(keys[i].path, path) == 0) {
            *n += 1;
            return;
        }
    }
    ck_abort_msg("%s: the parser knows this key, and this test does not change it", path);
}

/* So that a new key is not forgotten where descriptions are compared. */
START_TEST(every_key_is_changed_here)
{
    unsigned n = 0;

    config_each_key(is_in_the_table, &n);
    ck_assert_uint_ge(n, 45);
}
END_TEST

START_TEST(a_changed_key_is_the_only_difference)
{
    const struct changed_key *key = &keys[_i];
    struct description_difference out[DESCRIPTION_MAX_DIFFERENCES];
    struct device_description before;
    struct device_description after;
    struct device_description again;
    unsigned n;

    parse(key->before, &before);
    parse(key->after, &after);
    parse(key->after, &again);
    ck_assert_uint_eq(compare(&before, &before, out), 0);
    ck_assert_uint_eq(compare(&after, &again, out), 0);
    for (unsigned i = 0; i < 2; i++) {
        n = i == 0 ? compare(&before, &after, out) : compare(&after, &before, out);
        ck_assert_uint_eq(n, key->difference != NULL ? 1 : 0);
        if (n == 1) {
            ck_assert_str_eq(out[0].key, key->difference);
            ck_assert_int_eq(out[0].live, is_live(key->difference));
        }
    }
    description_fini(&before);
    description_fini(&after);
    description_fini(&again);
}
END_TEST

START_TEST(what_is_said_is_the_same_as_what_is_not)
{
    static const char text[] =
        "{\"model\": \"timer\", \"pci\": {\"vendor\": \"0xdead\", \"capabilities\":"
        " [{\"kind\": \"pm\", \"no_soft_reset\": true}]}, \"bar1\": {\"size\": \"16K\","
        " \"mmap\": [[\"0\", \"4K\"], [\"8K\", \"4K\"]], \"clear_on_reset\": false},"
        " \"limits\": {\"max_dma_maps\": 65535}, \"dma_on_irq\": false, \"profile\": \"auto\"}";
    struct description_difference out[DESCRIPTION_MAX_DIFFERENCES];
    struct device_description defaults;
    struct device_description said;

    description_default(&defaults);
    parse(text, &said);
    ck_assert_uint_eq(compare(&defaults, &said, out), 0);
    description_fini(&defaults);
    description_fini(&said);
}
END_TEST

/* 48 capabilities, and every other key but their number. */
static void parse_full(unsigned seed, const char *rest, struct device_description *d)
{
    char text[8192];
    size_t len = 0;

    len += (size_t)snprintf(text, sizeof(text),
                            "{\"pci\": {\"vendor\": %u, \"device\": %u, \"subsystem_vendor\": %u,"
                            " \"subsystem_device\": %u, \"class\": %u, \"revision\": %u,"
                            " \"capabilities\": [",
                            seed, seed, seed, seed, seed, seed);
    for (unsigned i = 0; i < DESCRIPTION_MAX_CAPS; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len,
                                "%s{\"kind\": \"vendor\", \"data\": \"%02x\"}", i > 0 ? ", " : "",
                                seed);
    snprintf(text + len, sizeof(text) - len, "]}%s}", rest);
    parse(text, d);
}

static void parse_two(struct device_description *a, struct device_description *b)
{
    parse_full(1, "", a);
    parse_full(2,
               ", \"bar1\": {\"size\": \"64K\", \"mmap\": [], \"clear_on_reset\": true},"
               " \"limits\": {\"max_dma_maps\": 7, \"max_msg_fds\": 7,"
               " \"max_data_xfer_size\": 7777}, \"dma_on_irq\": true, \"profile\": \"strict\","
               " \"log_level\": \"err\", \"control\": {\"group_may_write\": false}",
               b);
}

START_TEST(all_differences_fit)
{
    struct description_difference out[DESCRIPTION_MAX_DIFFERENCES];
    struct device_description a;
    struct device_description b;
    unsigned live = 0;
    unsigned n;

    parse_two(&a, &b);
    n = compare(&a, &b, out);
    ck_assert_uint_eq(n, 16 + DESCRIPTION_MAX_CAPS);
    ck_assert_str_eq(out[0].key, "pci.vendor");
    ck_assert_str_eq(out[n - 1].key, "pci.capabilities[47].data");
    for (unsigned i = 0; i < n; i++) {
        ck_assert_int_eq(out[i].live, is_live(out[i].key));
        live += out[i].live;
    }
    ck_assert_uint_eq(live, 5);
    description_fini(&a);
    description_fini(&b);
}
END_TEST

START_TEST(what_is_live_is_adopted)
{
    struct description_difference out[DESCRIPTION_MAX_DIFFERENCES];
    struct device_description a;
    struct device_description b;
    unsigned n;

    parse_two(&a, &b);
    description_adopt(&a, &b);
    ck_assert_uint_eq(a.limits.max_dma_maps, 7);
    ck_assert_uint_eq(a.limits.max_msg_fds, 7);
    ck_assert_uint_eq(a.limits.max_data_xfer_size, 7777);
    ck_assert_int_eq(a.log_level, 3);
    ck_assert(!a.control.group_may_write);
    n = compare(&a, &b, out);
    ck_assert_uint_eq(n, 11 + DESCRIPTION_MAX_CAPS);
    for (unsigned i = 0; i < n; i++)
        ck_assert(!out[i].live);
    description_fini(&a);
    description_fini(&b);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_key_is_changed_here,
        what_is_said_is_the_same_as_what_is_not,
        all_differences_fit,
        what_is_live_is_adopted,
    };
    const struct fake_loop_test loops[] = {
        { a_changed_key_is_the_only_difference, ARRAY_SIZE(keys) },
    };

    return fake_run("description", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
