/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static enum log_level current_level = LOG_LEVEL_INFO;
static bool with_prefixes;

int log_level_parse(const char *word, enum log_level *out)
{
    static const struct {
        const char *word;
        enum log_level level;
    } words[] = {
        { "err", LOG_LEVEL_ERR },
        { "warning", LOG_LEVEL_WARNING },
        { "info", LOG_LEVEL_INFO },
        { "debug", LOG_LEVEL_DEBUG },
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(word, words[i].word) == 0) {
            *out = words[i].level;
            return 0;
        }
    }
    return -EINVAL;
}

void log_set_level(enum log_level level)
{
    current_level = level;
}

bool log_enabled(enum log_level level)
{
    return level <= current_level;
}

void log_set_prefixes(bool on)
{
    with_prefixes = on;
}

/* Copies text to out, each control character as \xNN; what does not fit is cut. */
static size_t escape(const char *text, char *out, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;

    for (; *text != '\0' && n + 5 < size; text++) {
        unsigned char c = (unsigned char)*text;

        if (c >= 0x20 && c != 0x7f) {
            out[n++] = (char)c;
        } else {
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        }
    }
    return n;
}

void log_line(enum log_level level, const char *module, const char *format, ...)
{
    char text[LINE_MAX_BYTES];
    char line[LINE_MAX_BYTES + 64];
    struct pollfd log = { .fd = STDERR_FILENO, .events = POLLOUT };
    size_t len = 0;
    va_list args;

    if (!log_enabled(level))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (with_prefixes)
        len += (size_t)snprintf(line, 8, "<%d>", level);
    len += (size_t)snprintf(line + len, 40, "%s: ", module);
    len += escape(text, line + len, sizeof(line) - len - 1);
    line[len++] = '\n';
    /* A log that takes no line now (a pipe that nobody reads) must not stop the daemon. */
    if (poll(&log, 1, 0) == 1 && (log.revents & POLLOUT) != 0 &&
        write(STDERR_FILENO, line, len) < 0)
        return;
}

bool log_limit_pass(struct log_limit *limit, const char *module)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (limit->lines == 0 || now.tv_sec - limit->since >= LOG_LIMIT_SECONDS) {
        if (limit->dropped > 0)
            log_warning(module, "%u more lines like this were not written", limit->dropped);
        *limit = (struct log_limit) { .since = now.tv_sec };
    }
    if (limit->lines >= LOG_LIMIT_BURST) {
        limit->dropped++;
        return false;
    }
    limit->lines++;
    return true;
}
