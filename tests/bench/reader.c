/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "reader.h"

#include <errno.h>
#include <json-c/json.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* It says nothing when it has begun; this long is enough. */
#define BEGIN_MS 300

static void leave_cpu(int busy)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t set;

    CPU_ZERO(&set);
    for (int i = 0; i < n; i++) {
        if (i != busy)
            CPU_SET(i, &set);
    }
    sched_setaffinity(0, sizeof(set), &set); /* where there is no other, it stays */
}

static void run(const char *vfuctl, const char *control, int busy_cpu, int out)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    leave_cpu(busy_cpu);
    dup2(out, STDOUT_FILENO);
    execl(vfuctl, vfuctl, "-S", control, "--json", "capture", "/dev/null", (char *)NULL);
    _exit(EXIT_FAILURE);
}

int reader_start(const char *vfuctl, const char *control, int busy_cpu, struct reader *out)
{
    const struct timespec begin = { .tv_nsec = BEGIN_MS * 1000000l };
    int fds[2];

    if (pipe(fds) != 0)
        return -errno;
    out->out = fds[0];
    out->pid = fork();
    if (out->pid == 0)
        run(vfuctl, control, busy_cpu, fds[1]);
    close(fds[1]);
    if (out->pid < 0) {
        int err = -errno;

        close(fds[0]);
        return err;
    }
    nanosleep(&begin, NULL);
    return 0;
}

static uint64_t number(struct json_object *o, const char *key)
{
    struct json_object *value = NULL;

    json_object_object_get_ex(o, key, &value);
    return (uint64_t)json_object_get_int64(value);
}

int reader_stop(struct reader *r, struct reader_counts *out)
{
    char text[1024] = "";
    struct json_object *o;
    int status = -1;
    ssize_t n;

    kill(r->pid, SIGINT);
    n = read(r->out, text, sizeof(text) - 1);
    close(r->out);
    while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR) {
    }
    o = json_tokener_parse(text);
    *out =
        (struct reader_counts) { .packets = number(o, "packets"), .dropped = number(o, "dropped") };
    json_object_put(o);
    return n > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}
