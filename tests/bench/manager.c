/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "manager.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"
#include "stats.h"

#define STORE_MAX     256u
#define NAME_BYTES    64
#define MESSAGE_BYTES 4096
#define FIRST_FD      3
#define SOCKETS       2
#define READY_MS      5000

struct kept {
    char name[NAME_BYTES];
    int fd;
};

struct manager {
    struct target target;
    const char *program;
    char notify[64];
    unsigned store;
    int sockets[SOCKETS];
    int messages;
    int wake[2]; /* a byte ends the thread */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    struct kept kept[STORE_MAX];
    unsigned n_kept;
    bool ready;
};

/*
 * What the daemon says
 */

static void drop(struct manager *m, const char *name)
{
    for (unsigned i = 0; i < m->n_kept; i++) {
        if (strcmp(m->kept[i].name, name) != 0)
            continue;
        close(m->kept[i].fd);
        m->kept[i--] = m->kept[--m->n_kept];
    }
}

static void keep(struct manager *m, const char *name, int fd)
{
    if (m->n_kept == m->store) {
        close(fd);
        return;
    }
    snprintf(m->kept[m->n_kept].name, NAME_BYTES, "%s", name);
    m->kept[m->n_kept++].fd = fd;
}

static void take(struct manager *m, char *text, int fd)
{
    char name[NAME_BYTES] = "stored";
    bool removes = false;
    char *rest = NULL;

    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "FDNAME=", 7) == 0)
            snprintf(name, sizeof(name), "%s", line + 7);
        removes = removes || strcmp(line, "FDSTOREREMOVE=1") == 0;
        m->ready = m->ready || strcmp(line, "READY=1") == 0;
    }
    if (removes)
        drop(m, name);
    if (fd >= 0)
        keep(m, name, fd);
}

/* Takes one message; returns whether there was one. */
static bool receive(struct manager *m)
{
    char text[MESSAGE_BYTES];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.space,
                          .msg_controllen = sizeof(control.space) };
    ssize_t n = recvmsg(m->messages, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    int fd = -1;

    if (n < 0)
        return false;
    text[n] = '\0';
    if (CMSG_FIRSTHDR(&msg) != NULL)
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
    take(m, text, fd);
    return true;
}

static void *listen_on(void *arg)
{
    struct manager *m = arg;

    for (;;) {
        struct pollfd p[] = { { .fd = m->messages, .events = POLLIN },
                              { .fd = m->wake[0], .events = POLLIN } };

        poll(p, 2, -1);
        if (p[1].revents != 0)
            return NULL;
        pthread_mutex_lock(&m->lock);
        receive(m);
        pthread_cond_broadcast(&m->change);
        pthread_mutex_unlock(&m->lock);
    }
}

/*
 * Starting
 */

static int number(const char *name, unsigned value)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", value);
    return setenv(name, text, 1);
}

static void pass(int from, int to)
{
    if (dup2(from, to) != to)
        _exit(EXIT_FAILURE);
}

static void run(const struct manager *m)
{
    static char names[STORE_MAX * NAME_BYTES] = "device:control";
    size_t len = strlen(names);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < SOCKETS; i++)
        pass(m->sockets[i], FIRST_FD + i);
    for (unsigned i = 0; i < m->n_kept; i++) {
        pass(m->kept[i].fd, FIRST_FD + SOCKETS + (int)i);
        len += (size_t)snprintf(names + len, sizeof(names) - len, ":%s", m->kept[i].name);
    }
    setenv("NOTIFY_SOCKET", m->notify, 1);
    setenv("LISTEN_FDNAMES", names, 1);
    number("LISTEN_FDS", SOCKETS + m->n_kept);
    number("LISTEN_PID", (unsigned)getpid());
    if (m->store > 0)
        number("FDSTORE", m->store);
    else
        unsetenv("FDSTORE");
    execl(m->program, m->program, "--log-level", "warning", (char *)NULL);
    _exit(EXIT_FAILURE);
}

static int start(struct manager *m)
{
    int err = 0;

    pthread_mutex_lock(&m->lock);
    m->ready = false;
    m->target.pid = fork();
    if (m->target.pid == 0)
        run(m);
    if (m->target.pid < 0)
        err = -errno;
    pthread_mutex_unlock(&m->lock);
    return err;
}

static int wait_ready(struct manager *m)
{
    struct timespec until;
    int err = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += READY_MS / 1000;
    pthread_mutex_lock(&m->lock);
    while (!m->ready && err == 0)
        err = pthread_cond_timedwait(&m->change, &m->lock, &until);
    pthread_mutex_unlock(&m->lock);
    return -err;
}

/* Out of the way of those that are passed. */
static int bound(const char *path, int type, int *out)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    *out = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD + SOCKETS + (int)STORE_MAX);
    close(fd);
    if (*out < 0 || bind(*out, (const struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        (type == SOCK_STREAM && listen(*out, 16) != 0))
        return -errno;
    return 0;
}

static int make_sockets(struct manager *m)
{
    int err = bound(m->target.socket, SOCK_STREAM, &m->sockets[0]);

    if (err == 0)
        err = bound(m->target.control, SOCK_STREAM, &m->sockets[1]);
    if (err == 0)
        err = bound(m->notify, SOCK_DGRAM, &m->messages);
    return err;
}

static void free_manager(struct manager *m)
{
    for (unsigned i = 0; i < m->n_kept; i++)
        close(m->kept[i].fd);
    peer_close_fd(m->sockets[0]);
    peer_close_fd(m->sockets[1]);
    peer_close_fd(m->messages);
    peer_close_fd(m->wake[0]);
    peer_close_fd(m->wake[1]);
    unlink(m->target.socket);
    unlink(m->target.control);
    unlink(m->notify);
    rmdir(m->target.dir);
    free(m);
}

int manager_start(const char *program, unsigned store, struct manager **out)
{
    struct manager *m = calloc(1, sizeof(*m));
    int err;

    if (m == NULL)
        return -ENOMEM;
    m->program = program;
    m->store = store < STORE_MAX ? store : STORE_MAX;
    m->sockets[0] = m->sockets[1] = m->messages = m->wake[0] = m->wake[1] = -1;
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->change, NULL);
    strcpy(m->target.dir, "/tmp/vfio-userd-bench-XXXXXX");
    if (mkdtemp(m->target.dir) == NULL) {
        free(m);
        return -errno;
    }
    snprintf(m->target.socket, sizeof(m->target.socket), "%s/device.sock", m->target.dir);
    snprintf(m->target.control, sizeof(m->target.control), "%s/control.sock", m->target.dir);
    snprintf(m->notify, sizeof(m->notify), "%s/notify", m->target.dir);
    err = make_sockets(m);
    if (err == 0 && pipe2(m->wake, O_CLOEXEC) != 0)
        err = -errno;
    if (err == 0)
        err = -pthread_create(&m->thread, NULL, listen_on, m);
    if (err != 0) {
        free_manager(m);
        return err;
    }
    err = start(m);
    if (err == 0)
        err = wait_ready(m);
    if (err != 0) {
        manager_stop(m);
        return err;
    }
    *out = m;
    return 0;
}

const struct target *manager_target(const struct manager *m)
{
    return &m->target;
}

int manager_kill(struct manager *m, struct manager_restart *out)
{
    out->killed = stats_now();
    if (kill(m->target.pid, SIGKILL) != 0 || waitpid(m->target.pid, NULL, 0) != m->target.pid)
        return -errno;
    out->gone = stats_now();
    pthread_mutex_lock(&m->lock);
    while (receive(m))
        ;
    pthread_mutex_unlock(&m->lock);
    return start(m);
}

int manager_stop(struct manager *m)
{
    int status = 0;
    ssize_t n;

    if (m->target.pid > 0) {
        kill(m->target.pid, SIGTERM);
        waitpid(m->target.pid, &status, 0);
    }
    n = write(m->wake[1], "", 1);
    if (n == 1)
        pthread_join(m->thread, NULL);
    free_manager(m);
    return n == 1 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}
