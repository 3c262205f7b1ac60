/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "lspci.h"

#define CONFIG_MAX 4096

/* What becomes of the bytes; one entry a --format. */
struct format {
    const char *name;
    void (*print)(struct json_object *reply, const uint8_t *config, size_t size);
};

static void print_lspci(struct json_object *reply, const uint8_t *config, size_t size)
{
    (void)reply;
    lspci_print(stdout, "vfio-userd", config, size);
}

static void print_hex(struct json_object *reply, const uint8_t *config, size_t size)
{
    (void)config;
    (void)size;
    puts(ctl_string(reply, "config"));
}

static void print_json(struct json_object *reply, const uint8_t *config, size_t size)
{
    (void)config;
    (void)size;
    ctl_print_json(reply);
}

static void print_raw(struct json_object *reply, const uint8_t *config, size_t size)
{
    (void)reply;
    fwrite(config, 1, size, stdout);
}

static const struct format formats[] = {
    { "lspci", print_lspci },
    { "hex", print_hex },
    { "json", print_json },
    { "raw", print_raw },
};

static const struct format *find_format(const char *name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strcmp(name, formats[i].name) == 0)
            return &formats[i];
    }
    return NULL;
}

/* Returns the number of bytes, 0 when the text is not what a daemon sends. */
static size_t parse_hex(const char *text, uint8_t *out)
{
    size_t len = strlen(text);

    if (len % 32 != 0 || len / 2 > CONFIG_MAX)
        return 0;
    for (size_t i = 0; i < len / 2; i++) {
        unsigned byte;

        if (sscanf(text + 2 * i, "%2x", &byte) != 1)
            return 0;
        out[i] = (uint8_t)byte;
    }
    return len / 2;
}

static const struct option options[] = {
    { "format", required_argument, NULL, 'f' },
    { NULL, 0, NULL, 0 },
};

static int run(const struct ctl *ctl, int argc, char **argv)
{
    const struct format *format = find_format(ctl->json ? "json" : "lspci");
    uint8_t config[CONFIG_MAX];
    struct json_object *reply;
    size_t size;
    int status;
    int code;

    while ((code = getopt_long(argc, argv, "f:", options, NULL)) != -1) {
        if (code != 'f')
            return ctl_bad_usage(&ctl_dump_config, "unknown or incomplete option");
        format = find_format(optarg);
        if (format == NULL)
            return ctl_bad_usage(&ctl_dump_config, "--format takes lspci, hex, json or raw, not %s",
                                 optarg);
    }
    if (optind < argc)
        return ctl_bad_usage(&ctl_dump_config, "takes options only, not %s", argv[optind]);
    status = ctl_call(ctl, "DumpConfig", NULL, &reply);
    if (status != CTL_DONE)
        return status;
    size = parse_hex(ctl_string(reply, "config"), config);
    if (size == 0) {
        fprintf(stderr, "vfuctl: the daemon's reply is not a configuration space\n");
        status = CTL_REFUSED;
    } else if (!ctl->quiet) {
        format->print(reply, config, size);
    }
    json_object_put(reply);
    return status;
}

const struct ctl_command ctl_dump_config = {
    .name = "dump-config",
    .synopsis = "[--format lspci|hex|json|raw]",
    .summary = "print the configuration space as the guest would read it now",
    .help = "  --format FORM  lspci (the default), for lspci: vfuctl dump-config | lspci -vv -F "
            "/dev/stdin\n"
            "                 hex: digits on one line; json: the daemon's reply; raw: the bytes\n",
    .run = run,
};
