/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One line an event: `module: subject: reason`, to stderr or to a writer that keeps fields (the
 * journal). Level and writer are the process's only settings that are not reached from struct
 * daemon: every module logs, none should have to be handed a logger.
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

/*
 * What an operator searches for. Each has an id, journald's MESSAGE_ID, and its explanation in
 * units/vfio-userd.catalog.
 */
enum log_event {
    LOG_EVENT_NONE,
    LOG_EVENT_READY,               /* DEVICE_ID, SOCKET, DESCRIPTION */
    LOG_EVENT_STOPPING,            /* REASON */
    LOG_EVENT_CLIENT_ATTACHED,     /* CLIENT_PID, CLIENT_UID, PROTOCOL, PROFILE */
    LOG_EVENT_CLIENT_DETACHED,     /* CLIENT_PID, REASON, REQUESTS, ERRORS */
    LOG_EVENT_CLIENT_REFUSED,      /* CLIENT_PID, REASON */
    LOG_EVENT_CLIENT_OUT_OF_STEP,  /* CLIENT_PID */
    LOG_EVENT_MEMORY_NOT_SHARED,   /* REASON */
    LOG_EVENT_DESCRIPTION_REFUSED, /* REASON */
    LOG_EVENT_RELOADED,            /* CHANGED */
    LOG_EVENT_RELOAD_REFUSED,      /* REASON */
    LOG_EVENT_OUT_OF_FDS,
    LOG_EVENT_CONTROL_REFUSED, /* PEER_PID, REASON */
    LOG_EVENT_MOVED,           /* DESTINATION, BYTES, FDS, BLACKOUT */
    LOG_EVENT_RECEIVED,        /* SOURCE, BLACKOUT */
    LOG_EVENT_MOVE_FAILED,     /* DESTINATION, PHASE, REASON */
    LOG_EVENT_RECOVERED,       /* CLEAN, CLIENT_PID */
    LOG_EVENT_STATE_HELD,      /* REASON */
    LOG_EVENT_COUNT            /* not an event */
};

/* 32 hexadecimal digits; NULL for LOG_EVENT_NONE. */
const char *log_event_id(enum log_event event);

/* A field of an event; the journal's name of it is VFIO_USERD_ and this one. */
struct log_field {
    const char *name; /* NULL ends an array of fields */
    const char *text; /* NULL: number is the value */
    int64_t number;
};

#define LOG_TEXT(NAME, value)   ((struct log_field) { .name = NAME, .text = (value) })
#define LOG_NUMBER(NAME, value) ((struct log_field) { .name = NAME, .number = (value) })
#define LOG_END                 ((struct log_field) { .name = NULL })
#define LOG_FIELDS(...)         ((const struct log_field[]) { __VA_ARGS__, LOG_END })

/* A line as a writer gets it. */
struct log_record {
    enum log_level level;
    const char *module;
    const char *text; /* escaped, without the module */
    enum log_event event;
    const struct log_field *fields; /* NULL: none */
};

/* "err", "warning", "info" or "debug". Returns 0, or -EINVAL for another word. */
int log_level_parse(const char *word, enum log_level *out);

/* The reverse. */
const char *log_level_name(enum log_level level);

void log_set_level(enum log_level level);
enum log_level log_current_level(void);
bool log_enabled(enum log_level level);

/*
 * With prefixes, each line begins with <N>, its level, as a service manager that reads stderr
 * understands it; for a terminal, without.
 */
void log_set_prefixes(bool on);

/*
 * Lines go to the writer instead of stderr from now on; NULL: back to stderr. A writer must not
 * wait: what cannot be written now is lost. It returns false when the line is to go to stderr.
 */
typedef bool (*log_writer)(void *opaque, const struct log_record *record);
void log_set_writer(log_writer writer, void *opaque);

/* Copies text to out, each control character as \xNN; what does not fit is cut. */
void log_escape(const char *text, char *out, size_t size);

/* Control characters in the outcome are escaped, so a peer's text cannot forge a line. */
void log_line(enum log_level level, const char *module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with an event and its fields, LOG_FIELDS(…) or NULL. */
void log_event(enum log_event event, const struct log_field *fields, enum log_level level,
               const char *module, const char *format, ...) __attribute__((format(printf, 5, 6)));

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

/* A line under a limit. */
void log_limited(struct log_limit *limit, enum log_level level, const char *module,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* True when a line may be written now; says so itself when some were dropped before. */
bool log_limit_pass(struct log_limit *limit, const char *module);

#endif
