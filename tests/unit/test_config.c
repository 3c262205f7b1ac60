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

#define NUMBER     "must be a number, or a string with one such as \"0x40\""
#define BOOLEAN    "must be true or false"
#define HEX        "must be a string of hexadecimal digits, two for each byte"
#define CAPS(...)  "{\"pci\": {\"capabilities\": [" __VA_ARGS__ "]}}"
#define PCI(...)   "{\"pci\": {" __VA_ARGS__ "}}"
#define BAR(...)   "{\"bar1\": {" __VA_ARGS__ "}}"
#define LIMIT(...) "{\"limits\": {" __VA_ARGS__ "}}"
#define C0         "pci.capabilities[0]"
#define C1         "pci.capabilities[1]"

static const struct {
    const char *text;
    const char *error; /* behind "d.json: " */
} refused[] = {
    { "{\"models\": 1}", "models: unknown key" },
    { "{\"model\": \"uart\"}", "model: the only model is \"timer\"" },
    { "{\"model\": 1}", "model: the only model is \"timer\"" },
    { "[]", "must be an object" },
    { "5", "must be an object" },
    { "\"x\"", "must be an object" },
    { "{\"pci\": 1}", "pci: must be an object" },
    { "{\"bar1\": null}", "bar1: must be an object" },
    { "{\"limits\": []}", "limits: must be an object" },
    { "{\"control\": true}", "control: must be an object" },
    { "{\"control\": {\"group_may_write\": 1}}", "control.group_may_write: " BOOLEAN },
    { "{\"control\": {\"group\": 1}}", "control.group: unknown key" },
    { "{\"log_level\": \"loud\"}", "log_level: must be one of err, warning, info, debug" },
    { "{\"log_level\": 7}", "log_level: must be one of err, warning, info, debug" },
    { "{\"dma_on_irq\": 1}", "dma_on_irq: " BOOLEAN },
    { "{\"profile\": \"xen\"}", "profile: must be one of auto, strict, qemu, cloud-hypervisor" },
    { "{\"profile\": null}", "profile: must be one of auto, strict, qemu, cloud-hypervisor" },
    { PCI("\"vendor\": 65536"), "pci.vendor: 65536 (0x10000) is not between 0 and 65535 (0xffff)" },
    { PCI("\"device\": 65536"), "pci.device: 65536 (0x10000) is not between 0 and 65535 (0xffff)" },
    { PCI("\"subsystem_vendor\": 65536"),
      "pci.subsystem_vendor: 65536 (0x10000) is not between 0 and 65535 (0xffff)" },
    { PCI("\"subsystem_device\": 65536"),
      "pci.subsystem_device: 65536 (0x10000) is not between 0 and 65535 (0xffff)" },
    { PCI("\"class\": 16777216"),
      "pci.class: 16777216 (0x1000000) is not between 0 and 16777215 (0xffffff)" },
    { PCI("\"revision\": 256"), "pci.revision: 256 (0x100) is not between 0 and 255 (0xff)" },
    { PCI("\"vendor\": -1"), "pci.vendor: must not be negative" },
    { PCI("\"vendor\": 1.5"), "pci.vendor: " NUMBER },
    { PCI("\"vendor\": true"), "pci.vendor: " NUMBER },
    { PCI("\"vendor\": null"), "pci.vendor: " NUMBER },
    { PCI("\"vendor\": []"), "pci.vendor: " NUMBER },
    { PCI("\"vendor\": \"\""), "pci.vendor: \"\" is not a number" },
    { PCI("\"vendor\": \"x\""), "pci.vendor: \"x\" is not a number" },
    { PCI("\"vendor\": \"0x\""), "pci.vendor: \"0x\" is not a number" },
    { PCI("\"vendor\": \"-1\""), "pci.vendor: \"-1\" is not a number" },
    { PCI("\"vendor\": \" 1\""), "pci.vendor: \" 1\" is not a number" },
    { PCI("\"vendor\": \"1 \""), "pci.vendor: \"1 \" is not a number" },
    { PCI("\"vendor\": \"1K\""), "pci.vendor: \"1K\" is not a number" },
    { PCI("\"vendor\": \"0x1g\""), "pci.vendor: \"0x1g\" is not a number" },
    { PCI("\"vendor\": \"+1\""), "pci.vendor: \"+1\" is not a number" },
    { PCI("\"vendor\": \"1e3\""), "pci.vendor: \"1e3\" is not a number" },
    { PCI("\"vendor\": \"18446744073709551616\""),
      "pci.vendor: 18446744073709551616 is too large" },
    { PCI("\"vendors\": 1"), "pci.vendors: unknown key" },
    { PCI("\"capabilities\": {}"), "pci.capabilities: must be an array" },
    { CAPS("{}"),
      C0 ".kind: must be one of pm, msi, msix, express, vendor, dsn, vendor-ext, raw, raw-ext" },
    { CAPS("5"),
      C0 ".kind: must be one of pm, msi, msix, express, vendor, dsn, vendor-ext, raw, raw-ext" },
    { CAPS("{\"kind\": \"x\"}"),
      C0 ".kind: must be one of pm, msi, msix, express, vendor, dsn, vendor-ext, raw, raw-ext" },
    { CAPS("{\"kind\": 1}"),
      C0 ".kind: must be one of pm, msi, msix, express, vendor, dsn, vendor-ext, raw, raw-ext" },
    { CAPS("{\"offset\": 64}"),
      C0 ".kind: must be one of pm, msi, msix, express, vendor, dsn, vendor-ext, raw, raw-ext" },
    { CAPS("{\"kind\": \"pm\", \"flr\": true}"), C0 ".flr: unknown key" },
    { CAPS("{\"kind\": \"msi\", \"no_soft_reset\": true}"), C0 ".no_soft_reset: unknown key" },
    { CAPS("{\"kind\": \"pm\", \"no_soft_reset\": 1}"), C0 ".no_soft_reset: " BOOLEAN },
    { CAPS("{\"kind\": \"express\", \"flr\": \"yes\"}"), C0 ".flr: " BOOLEAN },
    { CAPS("{\"kind\": \"msi\", \"maskable\": 0}"), C0 ".maskable: " BOOLEAN },
    { CAPS("{\"kind\": \"msi\", \"address64\": 0}"), C0 ".address64: " BOOLEAN },
    { CAPS("{\"kind\": \"msi\", \"vectors\": 3}"), C0 ".vectors: must be 1, 2, 4, 8, 16 or 32" },
    { CAPS("{\"kind\": \"msi\", \"vectors\": 0}"),
      C0 ".vectors: 0 (0x0) is not between 1 and 32 (0x20)" },
    { CAPS("{\"kind\": \"msi\", \"vectors\": 64}"),
      C0 ".vectors: 64 (0x40) is not between 1 and 32 (0x20)" },
    { CAPS("{\"kind\": \"dsn\", \"serial\": \"0x1ffffffffffffffff\"}"),
      C0 ".serial: 0x1ffffffffffffffff is too large" },
    { CAPS("{\"kind\": \"raw\", \"id\": 1, \"data\": \"0011\", \"mask\": \"00\"}"),
      C0 ".mask: must have as many bytes as \"data\", which must stand before it" },
    { CAPS("{\"kind\": \"raw-ext\", \"id\": 1, \"data\": \"0011\", \"mask\": \"00\"}"),
      C0 ".mask: must have as many bytes as \"data\", which must stand before it" },
    { CAPS("{\"kind\": \"raw\", \"id\": 1, \"mask\": \"00\", \"data\": \"00\"}"),
      C0 ".mask: must have as many bytes as \"data\", which must stand before it" },
    { CAPS("{\"kind\": \"raw\", \"data\": \"00\"}"), C0 ".id: is missing" },
    { CAPS("{\"kind\": \"raw\", \"id\": 256}"),
      C0 ".id: 256 (0x100) is not between 1 and 255 (0xff)" },
    { CAPS("{\"kind\": \"raw-ext\", \"id\": 65536}"),
      C0 ".id: 65536 (0x10000) is not between 0 and 65535 (0xffff)" },
    { CAPS("{\"kind\": \"raw-ext\", \"revision\": 16}"),
      C0 ".revision: 16 (0x10) is not between 0 and 15 (0xf)" },
    { CAPS("{\"kind\": \"vendor-ext\", \"length\": 7}"),
      C0 ".length: 7 (0x7) is not between 8 and 4095 (0xfff)" },
    { CAPS("{\"kind\": \"vendor-ext\", \"length\": 9, \"data\": \"0011\"}"),
      C0 ".length: must cover the 8 bytes of header and the data" },
    { CAPS("{\"kind\": \"vendor\", \"data\": \"0\"}"), C0 ".data: " HEX },
    { CAPS("{\"kind\": \"vendor\", \"data\": \"0g\"}"), C0 ".data: " HEX },
    { CAPS("{\"kind\": \"vendor\", \"data\": \"xx\"}"), C0 ".data: " HEX },
    { CAPS("{\"kind\": \"vendor\", \"data\": 5}"), C0 ".data: " HEX },
    { CAPS("{\"kind\": \"vendor\", \"data\": null}"), C0 ".data: " HEX },
    { CAPS("{\"kind\": \"vendor\", \"data\": [\"00\"]}"), C0 ".data: " HEX },
    { CAPS("{\"kind\": \"vendor\", \"mask\": \"00\"}"), C0 ".mask: unknown key" },
    { CAPS("{\"kind\": \"pm\", \"offset\": 60}"),
      C0 ".offset: 60 (0x3c) is not between 64 and 4092 (0xffc)" },
    { CAPS("{\"kind\": \"pm\", \"offset\": 0}"),
      C0 ".offset: 0 (0x0) is not between 64 and 4092 (0xffc)" },
    { CAPS("{\"kind\": \"pm\", \"offset\": \"0x1000\"}"),
      C0 ".offset: 4096 (0x1000) is not between 64 and 4092 (0xffc)" },
    { CAPS("{\"kind\": \"pm\", \"offset\": \"0x41\"}"),
      C0 ".offset: must be a multiple of 4, from 0x40 on" },
    { CAPS("{\"kind\": \"pm\", \"offset\": \"0xfc\"}"),
      C0 ".offset: the capability does not fit below 0x100" },
    { CAPS("{\"kind\": \"dsn\", \"offset\": \"0x40\"}"),
      C0 ".offset: must be a multiple of 4, from 0x100 on" },
    { CAPS("{\"kind\": \"dsn\", \"offset\": \"0xffc\"}"),
      C0 ".offset: the capability does not fit below 0x1000" },
    { CAPS("{\"kind\": \"dsn\", \"offset\": \"0x200\"}"),
      C0 ".offset: an extended capability must be at 0x100" },
    { CAPS("{\"kind\": \"pm\"}, {\"kind\": \"pm\"}"),
      C1 ".kind: only one capability of this kind is possible" },
    { CAPS("{\"kind\": \"msi\"}, {\"kind\": \"msi\"}"),
      C1 ".kind: only one capability of this kind is possible" },
    { CAPS("{\"kind\": \"express\"}, {\"kind\": \"express\"}"),
      C1 ".kind: only one capability of this kind is possible" },
    { CAPS("{\"kind\": \"pm\", \"offset\": 64}, {\"kind\": \"vendor\", \"offset\": 68}"),
      C1 ".offset: overlaps another capability" },
    { CAPS("{\"kind\": \"pm\"}, {\"kind\": \"vendor\", \"offset\": \"0x42\"}"),
      C1 ".offset: must be a multiple of 4, from 0x40 on" },
    { BAR("\"sizes\": 1"), "bar1.sizes: unknown key" },
    { BAR("\"size\": 0"), "bar1.size: 0 (0x0) is not between 4096 and 2147483648 (0x80000000)" },
    { BAR("\"size\": 1"), "bar1.size: 1 (0x1) is not between 4096 and 2147483648 (0x80000000)" },
    { BAR("\"size\": 2147487744"),
      "bar1.size: 2147487744 (0x80001000) is not between 4096 and 2147483648 (0x80000000)" },
    { BAR("\"size\": 4097"), "bar1.size: must be a multiple of 4K" },
    { BAR("\"size\": \"16k\""), "bar1.size: \"16k\" is not a number" },
    { BAR("\"size\": \"16KB\""), "bar1.size: \"16KB\" is not a number" },
    { BAR("\"size\": \"K\""), "bar1.size: \"K\" is not a number" },
    { BAR("\"size\": \"4T\""), "bar1.size: \"4T\" is not a number" },
    { BAR("\"size\": \"17179869184G\""), "bar1.size: 17179869184G is too large" },
    { BAR("\"clear_on_reset\": \"no\""), "bar1.clear_on_reset: " BOOLEAN },
    { BAR("\"mmap\": 5"), "bar1.mmap: must be an array" },
    { BAR("\"mmap\": [5]"), "bar1.mmap[0]: must be an array of an offset and a size" },
    { BAR("\"mmap\": [[]]"), "bar1.mmap[0]: must be an array of an offset and a size" },
    { BAR("\"mmap\": [[0]]"), "bar1.mmap[0]: must be an array of an offset and a size" },
    { BAR("\"mmap\": [[0, 4096, 1]]"), "bar1.mmap[0]: must be an array of an offset and a size" },
    { BAR("\"mmap\": [[0, 0]]"),
      "bar1.mmap[0][1]: 0 (0x0) is not between 4096 and 2147483648 (0x80000000)" },
    { BAR("\"mmap\": [[1, 4096]]"), "bar1.mmap[0][0]: must be a multiple of 4K" },
    { BAR("\"mmap\": [[0, 4096], [4096, 5000]]"), "bar1.mmap[1][1]: must be a multiple of 4K" },
    { BAR("\"mmap\": [[0, \"20K\"]]"), "bar1.mmap[0]: ends beyond bar1.size, which is 16384" },
    { BAR("\"mmap\": [[\"0\", \"4K\"], [\"16K\", \"4K\"]]"),
      "bar1.mmap[1]: ends beyond bar1.size, which is 16384" },
    { BAR("\"mmap\": [[0, \"8K\"]], \"size\": \"4K\""),
      "bar1.mmap[0]: ends beyond bar1.size, which is 4096" },
    { BAR("\"mmap\": [[\"4K\", \"8K\"], [0, \"4K\"], [\"8K\", \"4K\"]]"),
      "bar1.mmap[2]: overlaps element 0" },
    { BAR("\"mmap\": [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"),
      "bar1.mmap: has 17 elements, at most 16 are possible" },
    { LIMIT("\"max\": 1"), "limits.max: unknown key" },
    { LIMIT("\"max_dma_maps\": 0"),
      "limits.max_dma_maps: 0 (0x0) is not between 1 and 65535 (0xffff)" },
    { LIMIT("\"max_dma_maps\": 65536"),
      "limits.max_dma_maps: 65536 (0x10000) is not between 1 and 65535 (0xffff)" },
    { LIMIT("\"max_msg_fds\": 0"), "limits.max_msg_fds: 0 (0x0) is not between 1 and 16 (0x10)" },
    { LIMIT("\"max_msg_fds\": 17"),
      "limits.max_msg_fds: 17 (0x11) is not between 1 and 16 (0x10)" },
    { LIMIT("\"max_data_xfer_size\": 4095"),
      "limits.max_data_xfer_size: 4095 (0xfff) is not between 4096 and 16777216 (0x1000000)" },
    { LIMIT("\"max_data_xfer_size\": 16777217"), "limits.max_data_xfer_size: 16777217 (0x1000001) "
                                                 "is not between 4096 and 16777216 (0x1000000)" },
};

START_TEST(what_is_wrong_is_named)
{
    struct device_description d;
    struct device_description untouched;
    struct config_error error = { "" };
    char expected[600];

    memset(&d, 0x5a, sizeof(d));
    memset(&untouched, 0x5a, sizeof(untouched));
    ck_assert_int_eq(config_parse(FILE_NAME, refused[_i].text, &d, &error), -EINVAL);
    snprintf(expected, sizeof(expected), "%s: %s", FILE_NAME, refused[_i].error);
    ck_assert_msg(strcmp(error.text, expected) == 0, "%s:\n  %s\n  instead of\n  %s",
                  refused[_i].text, error.text, expected);
    ck_assert_mem_eq(&d, &untouched, sizeof(d));
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
        a_nul_does_not_end_a_file,
    };
    const struct fake_loop_test loops[] = {
        { what_is_wrong_is_named, ARRAY_SIZE(refused) },
        { broken_json_is_located, ARRAY_SIZE(broken) },
    };

    return fake_run("config", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
