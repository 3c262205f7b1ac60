/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "service.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "datagram.h"
#include "journal.h"
#include "library.h"
#include "log.h"

#define FIRST_PASSED_FD 3

/* Sockets that may be passed: one of each name. */
static const char *const fd_names[] = { SERVICE_FD_DEVICE, SERVICE_FD_CONTROL };

#define N_FDS (sizeof(fd_names) / sizeof(fd_names[0]))

/* A descriptor that the manager has kept since a process before this one. */
struct stored {
    char name[SERVICE_NAME_BYTES];
    int fd; /* -1: taken */
};

struct service {
    struct journal *journal; /* NULL: the log goes to stderr */
    const char *manager;     /* where it takes messages; of the environment */
    int socket;              /* to send them from; -1 */
    int fds[N_FDS];          /* -1: not passed, or taken */
    struct stored *stored;
    unsigned n_stored;
    unsigned store_max;
    bool told;
    uint64_t watchdog_usec;
};

bool service_available(void)
{
    return library_available();
}

/*
 * Passed sockets
 */

static int socket_option(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

static bool takes_connections(int fd)
{
    return socket_option(fd, SO_DOMAIN) == AF_UNIX && socket_option(fd, SO_TYPE) == SOCK_STREAM &&
           socket_option(fd, SO_ACCEPTCONN) == 1;
}

/* Says why passed sockets are refused; returns -EINVAL. */
static int refuse(struct service *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct service *s, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_err("service", "%s", text);
    service_failed(s, text, EINVAL);
    return -EINVAL;
}

/* Whether name is one of ours: lowercase letters, a minus, digits. */
static bool is_stored_name(const char *name)
{
    size_t letters = strspn(name, "abcdefghijklmnopqrstuvwxyz");
    size_t digits;

    if (letters == 0 || name[letters] != '-')
        return false;
    digits = strspn(name + letters + 1, "0123456789");
    return digits > 0 && name[letters + 1 + digits] == '\0' &&
           letters + 1 + digits < SERVICE_NAME_BYTES;
}

/* fd is taken over, also on failure. */
static int keep_fd(struct service *s, int fd, const char *name)
{
    for (size_t i = 0; i < N_FDS; i++) {
        if (strcmp(name, fd_names[i]) != 0 || s->fds[i] >= 0)
            continue;
        s->fds[i] = fd;
        if (takes_connections(fd))
            return 0;
        return refuse(s, "the \"%s\" socket that was passed is no listening UNIX stream socket",
                      name);
    }
    close(fd);
    return refuse(s,
                  "the service manager passed socket %d as \"%s\": one \"%s\" and one \"%s\" are "
                  "taken (FileDescriptorName=)",
                  fd, name, SERVICE_FD_DEVICE, SERVICE_FD_CONTROL);
}

static void keep_stored(struct service *s, int fd, const char *name)
{
    struct stored *stored = &s->stored[s->n_stored++];

    snprintf(stored->name, sizeof(stored->name), "%s", name);
    stored->fd = fd;
}

static int take_passed_fds(struct service *s, const struct library *library)
{
    char **names = NULL;
    int n = library->listen_fds_with_names(1, &names);
    int err = n < 0 ? refuse(s, "the passed sockets cannot be taken: %s", strerror(-n)) : 0;

    if (n > 0) {
        s->stored = calloc((size_t)n, sizeof(*s->stored));
        err = s->stored != NULL ? 0 : -ENOMEM;
    }
    for (int i = 0; i < n; i++) {
        if (is_stored_name(names[i]) && s->stored != NULL)
            keep_stored(s, FIRST_PASSED_FD + i, names[i]);
        else if (keep_fd(s, FIRST_PASSED_FD + i, names[i]) != 0)
            err = -EINVAL;
        free(names[i]);
    }
    free(names);
    return err;
}

int service_take_fd(struct service *s, const char *name)
{
    int fd = -1;

    for (size_t i = 0; i < N_FDS; i++) {
        if (strcmp(name, fd_names[i]) == 0) {
            fd = s->fds[i];
            s->fds[i] = -1;
        }
    }
    return fd;
}

/*
 * What the manager keeps
 */

unsigned service_stored(const struct service *s)
{
    return s->n_stored;
}

bool service_has_stored(const struct service *s, const char *role)
{
    size_t len = strlen(role);

    for (unsigned i = 0; i < s->n_stored; i++) {
        if (strncmp(s->stored[i].name, role, len) == 0 && s->stored[i].name[len] == '-')
            return true;
    }
    return false;
}

int service_take_stored(struct service *s, unsigned i, char name[SERVICE_NAME_BYTES])
{
    int fd;

    if (i >= s->n_stored)
        return -1;
    fd = s->stored[i].fd;
    s->stored[i].fd = -1;
    memcpy(name, s->stored[i].name, SERVICE_NAME_BYTES);
    return fd;
}

unsigned service_store_max(const struct service *s)
{
    return s->store_max;
}

static int tell_store(struct service *s, int fd, const char *command, const char *name)
{
    char text[64 + SERVICE_NAME_BYTES];
    int len;

    if (s->store_max == 0)
        return -ENOTSUP;
    if (!is_stored_name(name))
        return -EINVAL;
    len = snprintf(text, sizeof(text), "%s\nFDNAME=%s", command, name);
    return datagram_send_fd(s->socket, s->manager, text, (size_t)len, fd, SERVICE_STORE_LIMIT_MS);
}

/* It is not to watch them: a socket whose peer is gone is ours to find out. */
int service_store(struct service *s, int fd, const char *name)
{
    return fd >= 0 ? tell_store(s, fd, "FDSTORE=1\nFDPOLL=0", name) : -EBADF;
}

int service_unstore(struct service *s, const char *name)
{
    return tell_store(s, -1, "FDSTOREREMOVE=1", name);
}

/*
 * Life
 */

static void log_to_journal(struct service *s, const char *instance)
{
    log_set_prefixes(true);
    if (journal_new(instance, JOURNAL_SOCKET, &s->journal) == 0)
        log_set_writer(journal_write, s->journal);
}

/* 0: it is none. */
static unsigned number_of(const char *text)
{
    char *end;
    unsigned long value;

    if (text == NULL || text[0] < '0' || text[0] > '9')
        return 0;
    errno = 0;
    value = strtoul(text, &end, 10);
    return errno == 0 && *end == '\0' && value <= UINT_MAX ? (unsigned)value : 0;
}

static void prepare_to_tell(struct service *s)
{
    s->manager = getenv("NOTIFY_SOCKET");
    if (s->manager == NULL)
        return;
    s->socket = datagram_open();
    s->told = s->socket >= 0;
    if (s->told)
        s->store_max = number_of(getenv("FDSTORE"));
}

/* What libsystemd is needed for. */
static int ask_environment(struct service *s)
{
    bool passed = getenv("LISTEN_FDS") != NULL;
    struct library library;
    int err;

    if (!passed && getenv("WATCHDOG_USEC") == NULL)
        return 0;
    err = library_load(&library);
    if (err != 0 && passed)
        return refuse(s, "sockets were passed, and cannot be taken without libsystemd");
    if (err != 0)
        return 0;
    if (library.watchdog_enabled(1, &s->watchdog_usec) <= 0 || !s->told)
        s->watchdog_usec = 0;
    err = take_passed_fds(s, &library);
    library_unload(&library);
    return err;
}

int service_new(const char *instance, struct service **out)
{
    struct service *s = calloc(1, sizeof(*s));
    int err;

    if (s == NULL)
        return -ENOMEM;
    s->socket = -1;
    for (size_t i = 0; i < N_FDS; i++)
        s->fds[i] = -1;
    if (journal_is_stderr())
        log_to_journal(s, instance);
    prepare_to_tell(s);
    err = ask_environment(s);
    if (err != 0) {
        service_free(s);
        return err;
    }
    *out = s;
    return 0;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void service_free(struct service *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < N_FDS; i++)
        close_fd(s->fds[i]);
    for (unsigned i = 0; i < s->n_stored; i++)
        close_fd(s->stored[i].fd);
    free(s->stored);
    close_fd(s->socket);
    if (s->journal != NULL)
        log_set_writer(NULL, NULL);
    journal_free(s->journal);
    free(s);
}

/*
 * What it is told
 */

bool service_is_told(const struct service *s)
{
    return s->told;
}

uint64_t service_watchdog_usec(const struct service *s)
{
    return s->watchdog_usec;
}

static int notify(const struct service *s, const char *state)
{
    return s->told ? datagram_send(s->socket, s->manager, state, strlen(state)) : 0;
}

/* With a status, which must be one line. */
static int notify_status(const struct service *s, const char *state, const char *status)
{
    char line[768];
    char text[1024];

    log_escape(status, line, sizeof(line));
    snprintf(text, sizeof(text), "%sSTATUS=%s", state, line);
    return notify(s, text);
}

int service_ready(struct service *s, const char *status)
{
    return notify_status(s, "READY=1\n", status);
}

int service_status(struct service *s, const char *status)
{
    return notify_status(s, "", status);
}

void service_reloading(struct service *s)
{
    struct timespec now;
    char text[64];

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    notify(s, text);
}

void service_stopping(struct service *s, const char *status)
{
    notify_status(s, "STOPPING=1\n", status);
}

void service_alive(struct service *s)
{
    notify(s, "WATCHDOG=1");
}

void service_failed(struct service *s, const char *status, int error)
{
    char state[32];

    snprintf(state, sizeof(state), "ERRNO=%d\n", error);
    notify_status(s, state, status);
}
