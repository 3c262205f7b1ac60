/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "service.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "journal.h"
#include "library.h"
#include "log.h"

#define FIRST_PASSED_FD 3

/* Sockets that may be passed: one of each name. */
static const char *const fd_names[] = { SERVICE_FD_DEVICE, SERVICE_FD_CONTROL };

#define N_FDS (sizeof(fd_names) / sizeof(fd_names[0]))

struct service {
    struct library library;
    struct journal *journal; /* NULL: the log goes to stderr */
    int fds[N_FDS];          /* -1: not passed, or taken */
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

static int keep_fd(struct service *s, int fd, const char *name)
{
    for (size_t i = 0; i < N_FDS; i++) {
        if (strcmp(name, fd_names[i]) != 0)
            continue;
        if (s->fds[i] >= 0)
            break;
        s->fds[i] = fd;
        if (takes_connections(fd))
            return 0;
        log_err("service", "the \"%s\" socket that was passed is no listening UNIX stream socket",
                name);
        return -EINVAL;
    }
    log_err("service",
            "the service manager passed socket %d as \"%s\": one \"%s\" and one \"%s\" are taken "
            "(FileDescriptorName=)",
            fd, name, SERVICE_FD_DEVICE, SERVICE_FD_CONTROL);
    close(fd);
    return -EINVAL;
}

static int take_passed_fds(struct service *s)
{
    char **names = NULL;
    int n = s->library.listen_fds_with_names(1, &names);
    int err = n < 0 ? n : 0;

    if (err < 0)
        log_err("service", "the passed sockets cannot be taken: %s", strerror(-err));
    for (int i = 0; i < n; i++) {
        if (keep_fd(s, FIRST_PASSED_FD + i, names[i]) != 0)
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
 * Life
 */

static void log_to_journal(struct service *s, const char *instance)
{
    int err = journal_new(&s->library, instance, JOURNAL_SOCKET, &s->journal);

    if (err != 0) {
        log_warning("service", "the journal is not to be reached, lines have no fields: %s",
                    strerror(-err));
        return;
    }
    log_set_writer(journal_write, s->journal);
}

int service_new(const char *instance, struct service **out)
{
    struct service *s = calloc(1, sizeof(*s));
    bool in_journal = journal_is_stderr();
    int err = 0;

    if (s == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < N_FDS; i++)
        s->fds[i] = -1;
    log_set_prefixes(in_journal);
    if ((in_journal || getenv("NOTIFY_SOCKET") != NULL || getenv("LISTEN_FDS") != NULL) &&
        library_load(&s->library) == 0) {
        s->told = getenv("NOTIFY_SOCKET") != NULL;
        if (s->library.watchdog_enabled(1, &s->watchdog_usec) <= 0 || !s->told)
            s->watchdog_usec = 0;
        if (in_journal)
            log_to_journal(s, instance);
        err = take_passed_fds(s);
    }
    if (err != 0) {
        service_free(s);
        return -EINVAL;
    }
    *out = s;
    return 0;
}

void service_free(struct service *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < N_FDS; i++) {
        if (s->fds[i] >= 0)
            close(s->fds[i]);
    }
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

static void notify(struct service *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void notify(struct service *s, const char *format, ...)
{
    char state[1024];
    va_list args;

    if (!s->told)
        return;
    va_start(args, format);
    vsnprintf(state, sizeof(state), format, args);
    va_end(args);
    s->library.notify(0, state);
}

void service_ready(struct service *s, const char *status)
{
    notify(s, "READY=1\nSTATUS=%s", status);
}

void service_status(struct service *s, const char *status)
{
    notify(s, "STATUS=%s", status);
}

void service_reloading(struct service *s)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    notify(s, "RELOADING=1\nMONOTONIC_USEC=%lld",
           (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void service_stopping(struct service *s, const char *status)
{
    notify(s, "STOPPING=1\nSTATUS=%s", status);
}

void service_alive(struct service *s)
{
    notify(s, "WATCHDOG=1");
}

void service_failed(struct service *s, const char *status, int error)
{
    notify(s, "STATUS=%s\nERRNO=%d", status, error);
}
