/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One line a event to stderr: `module: subject: reason`. The level is the process's one setting
 * that is not reached from struct daemon: every module logs, none should have to be handed a
 * logger.
 */
#ifndef VFIO_USERD_LOG_H
#define VFIO_USERD_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The numbers are syslog's. */
enum log_level {
    LOG_LEVEL_ERR = 3,     /* an operator must act */
    LOG_LEVEL_WARNING = 4, /* a peer misbehaved */
    LOG_LEVEL_INFO = 6,    /* connect, disconnect, state change */
    LOG_LEVEL_DEBUG = 7,   /* per message */
};

/* "err", "warning", "info" or "debug". Returns 0, or -EINVAL for another word. */
int log_level_parse(const char *word, enum log_level *out);

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/*
 * With prefixes, each line begins with <N>, its level, as a service manager that reads stderr
 * understands it; for a terminal, without.
 */
void log_set_prefixes(bool on);

/* Control characters in the outcome are escaped, so a peer's text cannot forge a line. */
void log_line(enum log_level level, const char *module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_err(...)     log_line(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                              \
    do {                                            \
        if (log_enabled(LOG_LEVEL_DEBUG))           \
            log_line(LOG_LEVEL_DEBUG, __VA_ARGS__); \
    } while (0)

/* For lines that a peer can cause: at most LOG_LIMIT_BURST of them every LOG_LIMIT_SECONDS. */
#define LOG_LIMIT_BURST   10u
#define LOG_LIMIT_SECONDS 10

struct log_limit {
    int64_t since; /* monotonic seconds */
    unsigned lines;
    unsigned dropped;
};

/* True when a line may be written now; says so itself when some were dropped before. */
bool log_limit_pass(struct log_limit *limit, const char *module);

#endif
