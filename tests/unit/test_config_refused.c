/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon/config.c: descriptions that are refused, and what is said of each. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "unit/fakes.h"

#define FILE_NAME "d.json"

#define NUMBER     "must be a number, or a string with one such as \"0x40\""
#define BOOLEAN    "must be true or false"
#define HEX        "must be a string of hexadecimal digits, two for each byte"
#define CAPS(...)  "{\"pci\": {\"capabilities\": [" __VA_ARGS__ "]}}"
#define PCI(...)   "{\"pci\": {" __VA_ARGS__ "}}"
#define BAR(...)   "{\"bar1\": {" __VA_ARGS__ "}}"
#define TIMEOUT    "limits.client_timeout: must be a number of seconds from 0.01 to 3600"
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
    { LIMIT("\"client_timeout\": \"5 s\""), TIMEOUT },
    { LIMIT("\"client_timeout\": \"\""), TIMEOUT },
    { LIMIT("\"client_timeout\": true"), TIMEOUT },
    { LIMIT("\"client_timeout\": [5]"), TIMEOUT },
    { LIMIT("\"client_timeout\": \"nan\""), TIMEOUT },
    { LIMIT("\"client_timeout\": 0"), TIMEOUT },
    { LIMIT("\"client_timeout\": 0.009"), TIMEOUT },
    { LIMIT("\"client_timeout\": 3601"), TIMEOUT },
    { LIMIT("\"client_timeout\": -1"), TIMEOUT },
    { LIMIT("\"client_timeout\": null"), TIMEOUT },
    { LIMIT("\"client_timeout\": NaN"), TIMEOUT },
    { "{\"doorbell\": \"bell\"}", "doorbell: must be one of shadow, ioeventfd, none" },
    { "{\"doorbell\": 0}", "doorbell: must be one of shadow, ioeventfd, none" },
    { "{\"irq_message\": \"always\"}", "irq_message: must be one of fallback, both" },
    { "{\"irq_message\": true}", "irq_message: must be one of fallback, both" },
    { CAPS("{\"kind\": \"msix\", \"vectors\": 0}"),
      C0 ".vectors: 0 (0x0) is not between 1 and 32 (0x20)" },
    { CAPS("{\"kind\": \"msix\", \"vectors\": 33}"),
      C0 ".vectors: 33 (0x21) is not between 1 and 32 (0x20)" },
    { CAPS("{\"kind\": \"msix\", \"bar\": 1}"), C0 ".bar: 1 (0x1) is not between 2 and 5 (0x5)" },
    { CAPS("{\"kind\": \"msix\", \"bar\": 6}"), C0 ".bar: 6 (0x6) is not between 2 and 5 (0x5)" },
    { CAPS("{\"kind\": \"msix\", \"maskable\": true}"), C0 ".maskable: unknown key" },
    { CAPS("{\"kind\": \"msi\", \"bar\": 2}"), C0 ".bar: unknown key" },
    { CAPS("{\"kind\": \"msix\"}, {\"kind\": \"msix\", \"bar\": 3}"),
      C1 ".kind: only one capability of this kind is possible" },
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

int main(void)
{
    const struct fake_loop_test loops[] = {
        { what_is_wrong_is_named, ARRAY_SIZE(refused) },
    };

    return fake_run("config-refused", NULL, 0, loops, ARRAY_SIZE(loops));
}
