/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "integration/keep_kit.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAME_BYTES    KEEP_NAME_BYTES
#define FIRST_FD      3
#define READY_MS      10000
#define LOG_BYTES     (256u << 10)
#define MESSAGE_BYTES 4096
#define MAX_FDS       (KEEP_STORE_MAX + 2)

extern char **environ;

struct held {
    char name[NAME_BYTES];
    int fd;
};

struct keep {
    char dir[48];
    char socket[96];
    char control[96];
    char notify[96];
    char log[96];
    char config[96]; /* "": it has no description */
    int sockets[2];
    int manager;
    const char *program;
    const char *const *options;
    unsigned store;
    pid_t pid;
    pthread_t reader; /* takes what is told */
    pthread_t killer;
    pthread_mutex_t lock;
    pthread_cond_t change;
    struct held held[KEEP_STORE_MAX];
    unsigned n_held;
    char status[1024];
    bool ready;
    bool ends;
    bool deaf;
    bool kills;
    unsigned drained; /* how often there was nothing to be read */
    bool early;       /* not only when it is ready */
    int signum;
    unsigned times;
    unsigned max_us;
    unsigned seed;
    char text[LOG_BYTES];
};

/* Out of the way of those that are passed. */
static int high(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD + MAX_FDS);

    ck_assert_int_ge(copy, 0);
    close(fd);
    return copy;
}

/*
 * What it is told
 */

static void drop_held(struct keep *k, const char *name)
{
    for (unsigned i = 0; i < k->n_held; i++) {
        if (strcmp(k->held[i].name, name) != 0)
            continue;
        close(k->held[i].fd);
        k->held[i--] = k->held[--k->n_held];
    }
}

static void hold(struct keep *k, const char *name, int fd)
{
    if (k->n_held < k->store) {
        snprintf(k->held[k->n_held].name, NAME_BYTES, "%s", name);
        k->held[k->n_held++].fd = fd;
    } else {
        close(fd);
    }
}

/* One datagram: lines of NAME=VALUE, and an fd. */
static void take(struct keep *k, char *text, int fd)
{
    char name[NAME_BYTES] = "stored";
    bool store = false;
    bool removes = false;
    char *rest = NULL;

    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strcmp(line, "FDSTORE=1") == 0)
            store = true;
        else if (strcmp(line, "FDSTOREREMOVE=1") == 0)
            removes = true;
        else if (strncmp(line, "FDNAME=", 7) == 0)
            snprintf(name, sizeof(name), "%s", line + 7);
        else if (strncmp(line, "STATUS=", 7) == 0)
            snprintf(k->status, sizeof(k->status), "%s", line + 7);
        else if (strcmp(line, "READY=1") == 0)
            k->ready = true;
    }
    if (removes)
        drop_held(k, name);
    if (store && fd >= 0)
        hold(k, name, high(fd));
    else if (fd >= 0)
        close(fd);
}

static void receive(struct keep *k)
{
    char text[MESSAGE_BYTES];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.space,
                          .msg_controllen = sizeof(control.space) };
    ssize_t n = recvmsg(k->manager, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    int fd = -1;

    pthread_mutex_lock(&k->lock);
    if (n < 0) {
        k->drained++;
    } else {
        text[n] = '\0';
        if (CMSG_FIRSTHDR(&msg) != NULL)
            memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
        take(k, text, fd);
    }
    pthread_cond_broadcast(&k->change);
    pthread_mutex_unlock(&k->lock);
}

static void *read_on(void *arg)
{
    struct keep *k = arg;

    while (!__atomic_load_n(&k->ends, __ATOMIC_ACQUIRE)) {
        struct pollfd p = { .fd = k->manager, .events = POLLIN };

        if (__atomic_load_n(&k->deaf, __ATOMIC_ACQUIRE)) {
            usleep(1000);
            continue;
        }
        poll(&p, 1, 1);
        receive(k);
    }
    return NULL;
}

/* Until all that was sent by now is taken. */
static void drain(struct keep *k)
{
    unsigned before;

    pthread_mutex_lock(&k->lock);
    before = k->drained;
    while (k->drained < before + 2)
        pthread_cond_wait(&k->change, &k->lock);
    pthread_mutex_unlock(&k->lock);
}

/*
 * Starting
 */

/* NAME=VALUE, to be freed. */
static char *variable(const char *name, const char *value)
{
    char *text = NULL;

    ck_assert_int_ge(asprintf(&text, "%s=%s", name, value), 0);
    return text;
}

static void add_names(const struct keep *k, char *names, size_t size)
{
    size_t len = (size_t)snprintf(names, size, "device:control");

    for (unsigned i = 0; i < k->n_held; i++)
        len += (size_t)snprintf(names + len, size - len, ":%s", k->held[i].name);
}

void keep_launch(struct keep *k)
{
    static char names[KEEP_STORE_MAX * NAME_BYTES];
    static char sh[] = "sh";
    static char c[] = "-c";
    static char script[] = "LISTEN_PID=$$; export LISTEN_PID; exec \"$0\" \"$@\"";
    char *argv[24] = { sh, c, script };
    posix_spawn_file_actions_t actions;
    char *env[256];
    char number[16];
    unsigned n = 0;
    unsigned n_env = 0;

    argv[3] = getenv(k->program);
    ck_assert_ptr_nonnull(argv[3]);
    for (n = 4; k->options != NULL && k->options[n - 4] != NULL; n++)
        argv[n] = strdup(k->options[n - 4]);
    if (k->config[0] != '\0') {
        argv[n++] = strdup("--config");
        argv[n++] = strdup(k->config);
    }
    for (unsigned i = 0; environ[i] != NULL && n_env < 240; i++)
        env[n_env++] = strdup(environ[i]);
    pthread_mutex_lock(&k->lock);
    snprintf(number, sizeof(number), "%u", 2 + k->n_held);
    env[n_env++] = variable("LISTEN_FDS", number);
    add_names(k, names, sizeof(names));
    env[n_env++] = variable("LISTEN_FDNAMES", names);
    env[n_env++] = variable("NOTIFY_SOCKET", k->notify);
    snprintf(number, sizeof(number), "%u", k->store);
    if (k->store > 0)
        env[n_env++] = variable("FDSTORE", number);
    env[n_env] = NULL;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, k->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    for (unsigned i = 0; i < 2 + k->n_held; i++)
        posix_spawn_file_actions_adddup2(&actions, i < 2 ? k->sockets[i] : k->held[i - 2].fd,
                                         FIRST_FD + (int)i);
    k->ready = false;
    ck_assert_int_eq(posix_spawn(&k->pid, "/bin/sh", &actions, NULL, argv, env), 0);
    pthread_mutex_unlock(&k->lock);
    posix_spawn_file_actions_destroy(&actions);
    for (unsigned i = 0; i < n_env; i++)
        free(env[i]);
    while (n > 4)
        free(argv[--n]);
}

/* False: it has ended, or is not ready in time. */
static bool wait_ready(struct keep *k)
{
    struct timespec until;
    bool ready;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += READY_MS / 1000;
    pthread_mutex_lock(&k->lock);
    while (!k->ready && waitpid(k->pid, NULL, WNOHANG) == 0) {
        if (pthread_cond_timedwait(&k->change, &k->lock, &until) != 0)
            break;
    }
    ready = k->ready;
    pthread_mutex_unlock(&k->lock);
    return ready;
}

static int bound(const char *path, int type)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    if (type == SOCK_STREAM)
        ck_assert_int_eq(listen(fd, 16), 0);
    return high(fd);
}

static struct keep *keep_new(unsigned store)
{
    struct keep *k = calloc(1, sizeof(*k));

    ck_assert_ptr_nonnull(k);
    k->program = "VFIO_USERD";
    k->store = store;
    strcpy(k->dir, "/tmp/vfio-userd-kept.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(k->dir));
    snprintf(k->socket, sizeof(k->socket), "%s/device.sock", k->dir);
    snprintf(k->control, sizeof(k->control), "%s/control.sock", k->dir);
    snprintf(k->notify, sizeof(k->notify), "%s/notify", k->dir);
    snprintf(k->log, sizeof(k->log), "%s/log", k->dir);
    k->sockets[0] = bound(k->socket, SOCK_STREAM);
    k->sockets[1] = bound(k->control, SOCK_STREAM);
    k->manager = bound(k->notify, SOCK_DGRAM);
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->change, NULL);
    ck_assert_int_eq(pthread_create(&k->reader, NULL, read_on, k), 0);
    return k;
}

static struct keep *keep_begin(struct keep *k)
{
    keep_launch(k);
    ck_assert_msg(wait_ready(k), "it does not start: %s", keep_log(k));
    return k;
}

struct keep *keep_start(const char *program, const char *const *options, unsigned store)
{
    struct keep *k = keep_new(store);

    if (program != NULL)
        k->program = program;
    k->options = options;
    return keep_begin(k);
}

void keep_describe(struct keep *k, const char *json)
{
    int fd;

    snprintf(k->config, sizeof(k->config), "%s/device.json", k->dir);
    fd = open(k->config, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, json, strlen(json)), (ssize_t)strlen(json));
    close(fd);
}

struct keep *keep_start_described(const char *json, unsigned store)
{
    struct keep *k = keep_new(store);

    keep_describe(k, json);
    return keep_begin(k);
}

struct client *keep_connect(struct keep *k)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct client *c;

    ck_assert_int_eq(client_connect(k->socket, &c), 0);
    version_defaults(&ours);
    ours.max_msg_fds = 16;
    ours.present |= VERSION_MAX_MSG_FDS;
    ck_assert_int_eq(client_negotiate(c, &ours, &theirs), 0);
    client_set_timeout(c, READY_MS);
    return c;
}

const char *keep_socket(const struct keep *k)
{
    return k->socket;
}

const char *keep_control(const struct keep *k)
{
    return k->control;
}

pid_t keep_pid(const struct keep *k)
{
    return k->pid;
}

/*
 * Again
 */

void keep_kill(struct keep *k, int signum)
{
    kill(k->pid, signum);
    ck_assert_int_eq(waitpid(k->pid, NULL, 0), k->pid);
    if (!k->deaf)
        drain(k);
}

bool keep_go_on(struct keep *k)
{
    keep_launch(k);
    return wait_ready(k);
}

void keep_set(struct keep *k, const char *const *options, unsigned store)
{
    k->options = options;
    k->store = store;
}

void keep_deafen(struct keep *k, bool deaf)
{
    if (deaf)
        drain(k);
    __atomic_store_n(&k->deaf, deaf, __ATOMIC_RELEASE);
}

bool keep_restart(struct keep *k, int signum)
{
    keep_kill(k, signum);
    return keep_go_on(k);
}

static void *kill_on(void *arg)
{
    struct keep *k = arg;

    for (unsigned i = 0; i < k->times; i++) {
        const struct timespec pause = { .tv_nsec = 1000 * (rand_r(&k->seed) % k->max_us) };

        nanosleep(&pause, NULL);
        keep_kill(k, k->signum);
        keep_launch(k);
        if (!k->early && !wait_ready(k))
            break;
    }
    wait_ready(k);
    __atomic_store_n(&k->kills, false, __ATOMIC_RELEASE);
    return NULL;
}

void keep_kill_early(struct keep *k, unsigned times, unsigned max_us, unsigned seed)
{
    k->early = true;
    keep_restart_often(k, SIGKILL, times, max_us, seed);
}

void keep_follow(struct keep *k, unsigned times)
{
    k->early = true;
    keep_restart_often(k, 0, times, 1, 1);
}

void keep_restart_often(struct keep *k, int signum, unsigned times, unsigned max_us, unsigned seed)
{
    k->signum = signum;
    k->times = times;
    k->max_us = max_us;
    k->seed = seed;
    k->kills = true;
    ck_assert_int_eq(pthread_create(&k->killer, NULL, kill_on, k), 0);
}

bool keep_restarting(struct keep *k)
{
    return __atomic_load_n(&k->kills, __ATOMIC_ACQUIRE);
}

void keep_restarted(struct keep *k)
{
    pthread_join(k->killer, NULL);
}

/*
 * What is held and said
 */

unsigned keep_held(struct keep *k)
{
    unsigned n;

    drain(k);
    pthread_mutex_lock(&k->lock);
    n = k->n_held;
    pthread_mutex_unlock(&k->lock);
    return n;
}

bool keep_ready(struct keep *k)
{
    drain(k);
    return k->ready;
}

static bool has_role(const struct held *h, const char *role)
{
    size_t len = strlen(role);

    return strncmp(h->name, role, len) == 0 && (h->name[len] == '-' || h->name[len] == '\0');
}

unsigned keep_held_role(struct keep *k, const char *role)
{
    unsigned n = 0;

    drain(k);
    pthread_mutex_lock(&k->lock);
    for (unsigned i = 0; i < k->n_held; i++)
        n += has_role(&k->held[i], role);
    pthread_mutex_unlock(&k->lock);
    return n;
}

int keep_get(struct keep *k, const char *role)
{
    int fd = -1;

    drain(k);
    pthread_mutex_lock(&k->lock);
    for (unsigned i = 0; fd < 0 && i < k->n_held; i++) {
        if (has_role(&k->held[i], role))
            fd = fcntl(k->held[i].fd, F_DUPFD_CLOEXEC, 0);
    }
    pthread_mutex_unlock(&k->lock);
    return fd;
}

void keep_put(struct keep *k, const char *name, int fd)
{
    pthread_mutex_lock(&k->lock);
    hold(k, name, high(fd));
    pthread_mutex_unlock(&k->lock);
}

int keep_nth(struct keep *k, unsigned i, char name[KEEP_NAME_BYTES])
{
    int fd = -1;

    pthread_mutex_lock(&k->lock);
    if (i < k->n_held) {
        snprintf(name, KEEP_NAME_BYTES, "%s", k->held[i].name);
        fd = fcntl(k->held[i].fd, F_DUPFD_CLOEXEC, 0);
    }
    pthread_mutex_unlock(&k->lock);
    return fd;
}

void keep_drop(struct keep *k, const char *name)
{
    pthread_mutex_lock(&k->lock);
    drop_held(k, name);
    pthread_mutex_unlock(&k->lock);
}

void keep_forget(struct keep *k)
{
    drain(k);
    pthread_mutex_lock(&k->lock);
    while (k->n_held > 0)
        close(k->held[--k->n_held].fd);
    pthread_mutex_unlock(&k->lock);
}

const char *keep_log(struct keep *k)
{
    int fd = open(k->log, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, k->text, LOG_BYTES - 1) : 0;

    k->text[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
    return k->text;
}

bool keep_log_has(struct keep *k, const char *text)
{
    return strstr(keep_log(k), text) != NULL;
}

bool keep_status_has(struct keep *k, const char *text)
{
    bool has;

    drain(k);
    pthread_mutex_lock(&k->lock);
    has = strstr(k->status, text) != NULL;
    pthread_mutex_unlock(&k->lock);
    return has;
}

void keep_stop(struct keep *k)
{
    const char *const paths[] = { k->socket, k->control, k->notify, k->log, k->config };
    int status = -1;

    kill(k->pid, SIGTERM);
    ck_assert_int_eq(waitpid(k->pid, &status, 0), k->pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it ended with 0x%x: %s",
                  (unsigned)status, keep_log(k));
    ck_assert_msg(!keep_log_has(k, "ERROR: ") && !keep_log_has(k, "runtime error"), "%s",
                  keep_log(k));
    __atomic_store_n(&k->ends, true, __ATOMIC_RELEASE);
    pthread_join(k->reader, NULL);
    for (unsigned i = 0; i < k->n_held; i++)
        close(k->held[i].fd);
    for (unsigned i = 0; i < 3; i++)
        close(i < 2 ? k->sockets[i] : k->manager);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        unlink(paths[i]);
    ck_assert_int_eq(rmdir(k->dir), 0);
    free(k);
}
