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

#define LINE_MAX_BYTES    2048
#define ESCAPED_MAX_BYTES 2080

static enum log_level current_level = LOG_LEVEL_INFO;
static bool with_prefixes;
static log_writer current_writer;
static void *writer_opaque;

static const char *const level_names[] = {
    [LOG_LEVEL_ERR] = "err",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

int log_level_parse(const char *word, enum log_level *out)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (level_names[i] != NULL && strcmp(word, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

void log_set_level(enum log_level level)
{
    current_level = level;
}

enum log_level log_current_level(void)
{
    return current_level;
}

bool log_enabled(enum log_level level)
{
    return level <= current_level;
}

void log_set_prefixes(bool on)
{
    with_prefixes = on;
}

void log_set_writer(log_writer writer, void *opaque)
{
    current_writer = writer;
    writer_opaque = opaque;
}

/* Made once, at random; never to be changed, since people's searches and scripts have them. */
const char *log_event_id(enum log_event event)
{
    static const char *const ids[LOG_EVENT_COUNT] = {
        [LOG_EVENT_READY] = "55183d30642242d38950a4107d7f9463",
        [LOG_EVENT_STOPPING] = "80a018ef7b91444e885b4c57f9eb7d4b",
        [LOG_EVENT_CLIENT_ATTACHED] = "e7686d4d21464751b219fca14fb6bc8c",
        [LOG_EVENT_CLIENT_DETACHED] = "7eccb7f388f040149e6e6a94308a8a03",
        [LOG_EVENT_CLIENT_REFUSED] = "954d467edfa444d2b03d506c65dd7e56",
        [LOG_EVENT_CLIENT_OUT_OF_STEP] = "10cd0914f86a4276bec5ebc3ca503826",
        [LOG_EVENT_MEMORY_NOT_SHARED] = "fb0f341d014e4753b5b87e1aa90e08e1",
        [LOG_EVENT_DESCRIPTION_REFUSED] = "08ac9cd81fe849e2ab54c6950fc2217a",
        [LOG_EVENT_RELOADED] = "cb9b53e5ac34422fbfd42e2de2c0f4b9",
        [LOG_EVENT_RELOAD_REFUSED] = "a1bb0dcae9624657941d5bc3da53b390",
        [LOG_EVENT_OUT_OF_FDS] = "c70706f6c2334ffbac235eeb5f603896",
        [LOG_EVENT_CONTROL_REFUSED] = "a537db4ba593433788378130ef3e284e",
        [LOG_EVENT_MOVED] = "5a13695ac2eb43c48a6211827a7eafcc",
        [LOG_EVENT_RECEIVED] = "ad135fa9d3ed45dd99f795991650fecc",
        [LOG_EVENT_MOVE_FAILED] = "2c1b4c4ce5a5412c8f4baf836fed5b5e",
        [LOG_EVENT_RECOVERED] = "9f3b559fbdec47c59b97dba8dc94664f",
        [LOG_EVENT_STATE_HELD] = "9cad29394b504f9a930fc76b82613563",
    };

    return ids[event];
}

void log_escape(const char *text, char *out, size_t size)
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
    out[n] = '\0';
}

static void write_stderr(const struct log_record *record)
{
    char line[ESCAPED_MAX_BYTES + 64];
    struct pollfd log = { .fd = STDERR_FILENO, .events = POLLOUT };
    int len = 0;

    if (with_prefixes)
        len += snprintf(line, 8, "<%d>", record->level);
    len += snprintf(line + len, sizeof(line) - (size_t)len, "%.40s: %s\n", record->module,
                    record->text);
    /* A log that takes no line now (a pipe that nobody reads) must not stop the daemon. */
    if (poll(&log, 1, 0) == 1 && (log.revents & POLLOUT) != 0 &&
        write(STDERR_FILENO, line, (size_t)len) < 0)
        return;
}

static void write_record(struct log_record *record, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void write_record(struct log_record *record, const char *format, va_list args)
{
    char text[LINE_MAX_BYTES];
    char escaped[ESCAPED_MAX_BYTES];

    if (!log_enabled(record->level))
        return;
    vsnprintf(text, sizeof(text), format, args);
    log_escape(text, escaped, sizeof(escaped));
    record->text = escaped;
    if (current_writer == NULL || !current_writer(writer_opaque, record))
        write_stderr(record);
}

void log_line(enum log_level level, const char *module, const char *format, ...)
{
    struct log_record record = { .level = level, .module = module };
    va_list args;

    va_start(args, format);
    write_record(&record, format, args);
    va_end(args);
}

void log_event(enum log_event event, const struct log_field *fields, enum log_level level,
               const char *module, const char *format, ...)
{
    struct log_record record = {
        .level = level, .module = module, .event = event, .fields = fields
    };
    va_list args;

    va_start(args, format);
    write_record(&record, format, args);
    va_end(args);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *module,
                 const char *format, ...)
{
    struct log_record record = { .level = level, .module = module };
    va_list args;

    if (!log_limit_pass(limit, module))
        return;
    va_start(args, format);
    write_record(&record, format, args);
    va_end(args);
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
