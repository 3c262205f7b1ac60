/* SPDX-License-Identifier: BSD-3-Clause */
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

/* name is one of the option's choices. */
static const struct format *find_format(const char *name)
{
    size_t i = 0;

    while (strcmp(name, formats[i].name) != 0)
        i++;
    return &formats[i];
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

enum { FORMAT };

static const struct ctl_option options[] = {
    [FORMAT] = { .name = "format",
                 .letter = 'f',
                 .value = "FORM",
                 .choices = "lspci|hex|json|raw",
                 .help = "in which form; lspci when not given\n"
                         "lspci: as lspci -F reads it; hex: digits on one line;\n"
                         "json: the daemon's reply; raw: the bytes" },
    { 0 },
};

static int run(const struct ctl *ctl, const struct ctl_args *args)
{
    const char *name = args->options[FORMAT];
    uint8_t config[CONFIG_MAX];
    struct json_object *reply;
    size_t size;
    int status = ctl_call(ctl, "DumpConfig", NULL, &reply);

    if (status != CTL_DONE)
        return status;
    if (name == NULL)
        name = ctl->json ? "json" : "lspci";
    size = parse_hex(ctl_string(reply, "config"), config);
    if (size == 0) {
        fprintf(stderr, "vfuctl: the daemon's reply is not a configuration space\n");
        status = CTL_REFUSED;
    } else if (!ctl->quiet) {
        find_format(name)->print(reply, config, size);
    }
    json_object_put(reply);
    return status;
}

const struct ctl_command ctl_dump_config = {
    .name = "dump-config",
    .summary = "print the configuration space as the guest would read it now",
    .help = "To read it: vfuctl dump-config | lspci -vv -F /dev/stdin\n",
    .options = options,
    .run = run,
};
