/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "wake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "watch.h"

#define NS_PER_S 1000000000ll

struct wake {
    int fd;
    int64_t deadline;
    void (*fn)(void *arg);
    void *arg;
    struct watch *watch;
};

int64_t wake_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

void wake_at(struct wake *w, int64_t deadline)
{
    struct itimerspec when = { .it_value = { .tv_sec = deadline / NS_PER_S,
                                             .tv_nsec = deadline % NS_PER_S } };

    if (deadline == w->deadline)
        return;
    w->deadline = deadline;
    if (deadline < 0) /* before the Epoch; 0 would disarm */
        when.it_value = (struct timespec) { .tv_nsec = 1 };
    if (timerfd_settime(w->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL) != 0 &&
        errno != ECANCELED)
        log_err("timer", "the deadline cannot be set: %s", strerror(errno));
}

static void on_readable(void *arg, int events)
{
    struct wake *w = arg;
    uint64_t expirations;
    int64_t deadline = w->deadline;

    (void)events;
    if (read(w->fd, &expirations, sizeof(expirations)) < 0 && errno == ECANCELED) {
        /* The clock was set; the timer runs on, but its cancellation has to be armed anew. */
        w->deadline = 0;
        wake_at(w, deadline);
    } else {
        w->deadline = 0;
    }
    w->fn(w->arg);
}

int wake_new(uv_loop_t *loop, void (*fn)(void *arg), void *arg, struct wake **out)
{
    struct wake *w = calloc(1, sizeof(*w));
    int err;

    if (w == NULL)
        return -ENOMEM;
    w->fn = fn;
    w->arg = arg;
    w->fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (w->fd < 0) {
        err = -errno;
        free(w);
        return err;
    }
    err = watch_new(loop, w->fd, on_readable, w, &w->watch);
    if (err != 0) {
        close(w->fd);
        free(w);
        return err;
    }
    *out = w;
    return 0;
}

void wake_free(struct wake *w)
{
    if (w == NULL)
        return;
    watch_free(w->watch);
    close(w->fd);
    free(w);
}
