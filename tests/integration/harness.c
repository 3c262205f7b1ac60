/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "integration/harness.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "varlink.h"

#define START_MS 10000
#define STOP_MS  2000
#define LOG_MAX  (1u << 20)

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

int64_t now_ms(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t now_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

static void sleep_ms(int ms)
{
    poll(NULL, 0, ms);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

void server_exec(const struct server *s, const char *const *argv)
{
    const char *program = getenv("VFIO_USERD");
    int log = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (s->log_fd >= 0)
        log = s->log_fd;
    if (program == NULL || log < 0 || dup2(log, STDERR_FILENO) < 0)
        _exit(126);
    execv(program, (char **)(uintptr_t)argv);
    _exit(127);
}

/* arg: the description's path, or NULL. */
static void run_usual(const struct server *s, void *arg)
{
    const char *config = arg;
    const char *const argv[] = { "vfio-userd", "--socket-path",
                                 s->socket,    "--control-path",
                                 s->control,   "--log-level",
                                 "debug",      config != NULL ? "--config" : NULL,
                                 config,       NULL };

    server_exec(s, argv);
}

static bool answers(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected;

    strcpy(addr.sun_path, path);
    connected = connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0;
    close(fd);
    return connected;
}

static void make_dir(struct server *s)
{
    s->log_fd = -1;
    strcpy(s->dir, "/tmp/vfio-userd-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(s->dir));
    snprintf(s->socket, sizeof(s->socket), "%s/device.sock", s->dir);
    snprintf(s->control, sizeof(s->control), "%s/control.sock", s->dir);
    snprintf(s->log, sizeof(s->log), "%s/log", s->dir);
    snprintf(s->config, sizeof(s->config), "%s/config.json", s->dir);
}

void server_describe(const struct server *s, const char *description)
{
    write_file(s->config, description);
}

static void fork_server(struct server *s, void (*run)(const struct server *s, void *arg), void *arg)
{
    s->pid = fork();
    ck_assert_int_ge(s->pid, 0);
    if (s->pid == 0) {
        run(s, arg);
        _exit(126);
    }
}

void server_fork(struct server *s, void (*run)(const struct server *s, void *arg), void *arg)
{
    make_dir(s);
    fork_server(s, run, arg);
}

static void start(struct server *s, const char *description)
{
    int64_t until = now_ms() + START_MS;

    if (description != NULL)
        server_describe(s, description);
    fork_server(s, run_usual, description != NULL ? s->config : NULL);
    while (!answers(s->control)) {
        ck_assert_msg(now_ms() < until, "the server did not start; see %s", s->log);
        ck_assert_msg(waitpid(s->pid, NULL, WNOHANG) == 0, "the server ended; see %s", s->log);
        sleep_ms(5);
    }
    /* It listens, and may not have opened all that it keeps: it has when it answers. */
    server_status_call(s);
}

void server_start_logging(struct server *s, const char *description, int log_fd)
{
    make_dir(s);
    s->log_fd = log_fd;
    start(s, description);
}

void server_start(struct server *s, const char *description)
{
    make_dir(s);
    start(s, description);
}

static char *read_log(const struct server *s)
{
    char *text = calloc(1, LOG_MAX + 1);
    FILE *f = fopen(s->log, "r");

    ck_assert_ptr_nonnull(text);
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, LOG_MAX, f)] = '\0';
    fclose(f);
    return text;
}

bool server_log_has(const struct server *s, const char *text)
{
    char *log = read_log(s);
    bool found = strstr(log, text) != NULL;

    free(log);
    return found;
}

void server_remove(const struct server *s)
{
    static const char *const files[] = { "device.sock", "control.sock", "log", "config.json" };
    char path[128];

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", s->dir, files[i]);
        unlink(path);
    }
    ck_assert_msg(rmdir(s->dir) == 0, "%s is not empty", s->dir);
}

int server_wait(const struct server *s)
{
    int64_t until = now_ms() + STOP_MS;
    int status = 0;
    char *log;

    while (waitpid(s->pid, &status, WNOHANG) == 0) {
        if (now_ms() > until) {
            kill(s->pid, SIGKILL);
            waitpid(s->pid, &status, 0);
            ck_abort_msg("the server does not end; see %s", s->log);
        }
        sleep_ms(2);
    }
    log = read_log(s);
    ck_assert_msg(strstr(log, "Sanitizer") == NULL && strstr(log, "runtime error") == NULL,
                  "a sanitizer spoke:\n%s", log);
    ck_assert_msg(WIFEXITED(status), "the server ended with status 0x%x:\n%s", status, log);
    free(log);
    return WEXITSTATUS(status);
}

void server_stop(struct server *s)
{
    struct stat st;

    ck_assert_int_eq(kill(s->pid, SIGTERM), 0);
    ck_assert_int_eq(server_wait(s), 0);
    ck_assert_msg(stat(s->socket, &st) != 0 && stat(s->control, &st) != 0,
                  "the server left a socket behind");
    server_remove(s);
}

unsigned server_fds(const struct server *s)
{
    char path[64];
    unsigned n = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)s->pid);
    dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n - 2;
}

void server_wait_fds(const struct server *s, unsigned n)
{
    int64_t until = now_ms() + 2000;

    while (server_fds(s) > n && now_ms() < until)
        sleep_ms(2);
    ck_assert_uint_le(server_fds(s), n);
}

long server_status_value(const struct server *s, const char *key)
{
    char path[64];
    char line[256];
    long value = -1;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)s->pid);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
            value = strtol(line + strlen(key) + 1, NULL, 10);
    }
    fclose(f);
    return value;
}

int server_connect_raw(const struct server *s)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(addr.sun_path, s->socket);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

struct client *server_connect(const struct server *s)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct client *c;

    version_defaults(&ours);
    ours.present = VERSION_MAX_MSG_FDS | VERSION_MAX_DATA_XFER_SIZE | VERSION_WRITE_MULTIPLE;
    ours.max_msg_fds = 16;
    ours.write_multiple = true;
    ck_assert_int_eq(client_connect(s->socket, &c), 0);
    ck_assert_int_eq(client_negotiate(c, &ours, &theirs), 0);
    return c;
}

struct json_object *server_call(const struct server *s, const char *method)
{
    struct json_object *reply;
    struct varlink *v;
    char name[64];

    snprintf(name, sizeof(name), "io.vfiouserd.Device.%s", method);
    ck_assert_int_eq(varlink_connect(s->control, &v), 0);
    ck_assert_int_eq(varlink_call(v, name, NULL, 5000, &reply), 0);
    varlink_free(v);
    return reply;
}

struct json_object *server_status(const struct server *s)
{
    struct json_object *reply = server_call(s, "GetStatus");
    struct json_object *parameters;

    ck_assert(json_object_object_get_ex(reply, "parameters", &parameters));
    ck_assert(!json_object_object_get_ex(reply, "error", NULL));
    json_object_get(parameters);
    json_object_put(reply);
    return parameters;
}

int64_t server_status_call(const struct server *s)
{
    int64_t begin = now_ms();

    json_object_put(server_status(s));
    return now_ms() - begin;
}

int make_memory(size_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
    return fd;
}

uint64_t eventfd_wait(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint64_t count = 0;

    if (poll(&p, 1, ms) == 1 && read(fd, &count, sizeof(count)) != sizeof(count))
        ck_abort_msg("eventfd: %s", strerror(errno));
    return count;
}
