/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "target.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEP_MS 10
#define STEPS   500

#define MAX_MSG_FDS 16

static void sleep_ms(long ms)
{
    const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

    nanosleep(&t, NULL);
}

int target_pin(int *cpu)
{
    cpu_set_t set;
    int last = -1;

    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return -errno;
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &set))
            last = i;
    }
    CPU_ZERO(&set);
    CPU_SET(last, &set);
    *cpu = last;
    return sched_setaffinity(0, sizeof(set), &set) == 0 ? 0 : -errno;
}

bool target_on_cpu(const struct target *t, int cpu)
{
    cpu_set_t set;

    return sched_getaffinity(t->pid, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1 &&
           CPU_ISSET(cpu, &set);
}

static void run(const char *program, const char *description, const struct target *t)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execl(program, program, "--socket-path", t->socket, "--control-path", t->control, "--log-level",
          "warning", description != NULL ? "--config" : NULL, t->config, (char *)NULL);
    fprintf(stderr, "bench: %s: %s\n", program, strerror(errno));
    _exit(EXIT_FAILURE);
}

static int wait_ready(const struct target *t)
{
    for (int i = 0; i < STEPS; i++) {
        struct stat st;

        if (waitpid(t->pid, NULL, WNOHANG) == t->pid)
            return -ECHILD;
        if (stat(t->control, &st) == 0 && S_ISSOCK(st.st_mode)) /* the last that it makes */
            return 0;
        sleep_ms(STEP_MS);
    }
    return -ETIMEDOUT;
}

static void remove_directory(const struct target *t)
{
    unlink(t->socket);
    unlink(t->control);
    unlink(t->config);
    rmdir(t->dir);
}

static int describe(const struct target *t, const char *description)
{
    FILE *f = description != NULL ? fopen(t->config, "we") : NULL;
    int err = 0;

    if (description == NULL)
        return 0;
    if (f == NULL)
        return -errno;
    if (fputs(description, f) < 0)
        err = -EIO;
    return fclose(f) == 0 ? err : -EIO;
}

int target_start(const char *program, const char *description, struct target *out)
{
    int err;

    strcpy(out->dir, "/tmp/vfio-userd-bench-XXXXXX");
    if (mkdtemp(out->dir) == NULL)
        return -errno;
    snprintf(out->socket, sizeof(out->socket), "%s/device.sock", out->dir);
    snprintf(out->control, sizeof(out->control), "%s/control.sock", out->dir);
    snprintf(out->config, sizeof(out->config), "%s/config.json", out->dir);
    err = describe(out, description);
    if (err != 0) {
        remove_directory(out);
        return err;
    }
    out->pid = fork();
    if (out->pid == 0)
        run(program, description, out);
    err = out->pid < 0 ? -errno : wait_ready(out);
    if (err == -ETIMEDOUT)
        target_stop(out);
    else if (err != 0)
        remove_directory(out);
    return err;
}

int target_stop(struct target *t)
{
    int status = -1;

    kill(t->pid, SIGTERM);
    for (int i = 0; i <= STEPS; i++) {
        if (i == STEPS)
            kill(t->pid, SIGKILL);
        if (waitpid(t->pid, &status, i == STEPS ? 0 : WNOHANG) == t->pid)
            break;
        sleep_ms(STEP_MS);
    }
    remove_directory(t);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

int target_connect(const struct target *t, struct client **out)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct client *c;
    int err = client_connect(t->socket, &c);

    if (err != 0)
        return err;
    version_defaults(&ours);
    ours.minor = VFIO_USER_MINOR;
    ours.write_multiple = true;
    ours.max_msg_fds = MAX_MSG_FDS;
    ours.present |= VERSION_WRITE_MULTIPLE | VERSION_MAX_MSG_FDS;
    err = client_negotiate(c, &ours, &theirs);
    if (err == 0 && !theirs.write_multiple)
        err = -EPROTO;
    if (err != 0) {
        client_free(c);
        return err;
    }
    *out = c;
    return 0;
}

/* Adds the number behind "name" in a file of "name value" lines. -ENOENT without such a line. */
static int add_field(const char *path, const char *name, uint64_t *sum)
{
    FILE *f = fopen(path, "re");
    size_t len = strlen(name);
    char line[256];
    int err = -ENOENT;

    if (f == NULL)
        return -errno;
    while (fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, name, len) == 0) {
            *sum += strtoull(line + len, NULL, 10);
            err = 0;
        }
    }
    fclose(f);
    return err;
}

int target_memory(const struct target *t, struct target_memory *out)
{
    char path[64];
    int err;

    *out = (struct target_memory) { 0 };
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)t->pid);
    err = add_field(path, "Pss:", &out->pss);
    if (err == 0)
        err = add_field(path, "Private_Dirty:", &out->private_dirty);
    if (err == 0)
        err = add_field(path, "Private_Clean:", &out->private_clean);
    return err;
}

int target_switches(const struct target *t, uint64_t *out)
{
    char tasks[64];
    struct dirent *entry;
    DIR *dir;
    int err = 0;

    snprintf(tasks, sizeof(tasks), "/proc/%d/task", (int)t->pid);
    dir = opendir(tasks);
    if (dir == NULL)
        return -errno;
    *out = 0;
    while (err == 0 && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s/status", tasks, entry->d_name);
        err = add_field(path, "voluntary_ctxt_switches:", out);
    }
    closedir(dir);
    return err;
}
