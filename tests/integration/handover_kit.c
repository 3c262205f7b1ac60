/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "integration/handover_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"
#include "integration/live_kit.h"
#include "log.h"
#include "peer.h"
#include "service/service.h"

#define REG_IRQ_ENABLE 0x14
#define DMA_BUSY       1
#define MEMORY_BYTES   (1u << 20)
#define PAGE           4096u
#define CLIENT_MS      30000
#define WAIT_MS        15000

/* Places in BAR1. */
#define BY_MESSAGE 0u
#define BY_MAPPING PAGE
#define BY_DMA     (2 * PAGE)

/*
 * The client
 */

static bool note(struct load *l, const char *what, long long is, long long wanted)
{
    if (!atomic_load(&l->failed))
        snprintf(l->failure, sizeof(l->failure), "round %u: %s: %lld, not %lld",
                 atomic_load(&l->rounds), what, is, wanted);
    atomic_store(&l->failed, true);
    return false;
}

static bool is(struct load *l, const char *what, long long value, long long wanted)
{
    return value == wanted || note(l, what, value, wanted);
}

static bool put(struct load *l, uint32_t region, uint64_t offset, uint64_t value, uint32_t size)
{
    return is(l, "a write", client_region_write(l->c, region, offset, &value, size), 0);
}

static bool get(struct load *l, uint32_t region, uint64_t offset, uint64_t *value, uint32_t size)
{
    *value = 0;
    return is(l, "a read", client_region_read(l->c, region, offset, value, size), 0);
}

/* What one way has written, the other reads; also what was written a round ago. */
static bool use_memory(struct load *l, uint64_t n)
{
    uint64_t at = n % 64 * 8;
    uint64_t before = (n + 63) % 64 * 8;
    uint64_t value;

    if (!put(l, 1, BY_MESSAGE + at, n, 8))
        return false;
    memcpy(&value, l->bar1 + BY_MESSAGE + at, 8);
    if (!is(l, "the mapping's bytes", (long long)value, (long long)n))
        return false;
    memcpy(l->bar1 + BY_MAPPING + at, &n, 8);
    if (!get(l, 1, BY_MAPPING + at, &value, 8) ||
        !is(l, "the bytes over the socket", (long long)value, (long long)n))
        return false;
    return n == 0 || (get(l, 1, BY_MESSAGE + before, &value, 8) &&
                      is(l, "the last round's bytes", (long long)value, (long long)n - 1));
}

static bool use_dma(struct load *l, uint64_t n)
{
    int64_t end = now_ms() + CLIENT_MS;
    uint64_t offset = n % 200 * 8;
    uint64_t value = 0;

    memcpy(l->memory + offset, &n, 8);
    if (!put(l, 0, REG_DMA_IOVA, offset, 8) || !put(l, 0, REG_DMA_OFFSET, BY_DMA, 8) ||
        !put(l, 0, REG_DMA_LENGTH, 8, 4) || !put(l, 0, REG_DMA_CONTROL, 1, 4))
        return false;
    do {
        if (!get(l, 0, REG_DMA_CONTROL, &value, 4))
            return false;
    } while (value == DMA_BUSY && now_ms() < end);
    if (!is(l, "DMA_CONTROL", (long long)value, 0))
        return false;
    memcpy(&value, l->bar1 + BY_DMA, 8);
    return is(l, "the bytes that DMA brought", (long long)value, (long long)n);
}

static bool use_timer(struct load *l, uint64_t n)
{
    struct pollfd p[] = { { .fd = l->line, .events = POLLIN },
                          { .fd = stream_fd(client_stream(l->c)), .events = POLLRDHUP } };
    uint64_t count = 0;

    if (!put(l, 0, REG_TIMER_NSEC, (uint64_t)now_ns() + 100000, 8))
        return false;
    if (poll(p, 2, CLIENT_MS) < 1 || p[0].revents == 0 ||
        read(l->line, &count, sizeof(count)) != sizeof(count) ||
        !is(l, "interrupts", (long long)count, 1))
        return note(l, "the interrupt", (long long)count, 1);
    return get(l, 0, REG_IRQ_COUNT, &count, 8) &&
           is(l, "IRQ_COUNT", (long long)count, (long long)n + 1) &&
           put(l, 0, REG_IRQ_STATUS, 1, 4) && is(l, "another interrupt", poll(p, 1, 0), 0);
}

static void *run(void *arg)
{
    struct load *l = arg;

    while (!atomic_load(&l->stop) && !atomic_load(&l->failed)) {
        uint64_t n = atomic_load(&l->rounds);

        if (!use_memory(l, n) || !use_dma(l, n) || !use_timer(l, n))
            break;
        atomic_fetch_add(&l->rounds, 1);
    }
    atomic_store(&l->ended, true);
    return NULL;
}

void load_start(struct load *l, const struct server *s)
{
    struct vfio_region_info *info;
    int fd;

    *l = (struct load) { .c = server_connect(s), .memory_fd = make_memory(MEMORY_BYTES) };
    client_set_timeout(l->c, CLIENT_MS);
    ck_assert_int_eq(client_get_region_info(l->c, 1, &info, &fd), 0);
    l->bar1 = mmap(NULL, info->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    l->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, l->memory_fd, 0);
    ck_assert(l->bar1 != MAP_FAILED && l->memory != MAP_FAILED);
    close(fd);
    free(info);
    ck_assert_int_eq(client_dma_map(l->c, 0, MEMORY_BYTES, 3, l->memory_fd, 0), 0);
    ck_assert_int_eq(set_eventfds(l->c, 0, 0, 1, &l->line), 0);
    set_bus_master(l->c);
    write_reg(l->c, REG_IRQ_ENABLE, 1, 4);
    ck_assert_int_eq(pthread_create(&l->thread, NULL, run, l), 0);
}

void load_wait(struct load *l, unsigned n)
{
    unsigned until = atomic_load(&l->rounds) + n;
    int64_t end = now_ms() + WAIT_MS;

    while (atomic_load(&l->rounds) < until && now_ms() < end && !atomic_load(&l->ended))
        poll(NULL, 0, 1);
    ck_assert_msg(atomic_load(&l->rounds) >= until, "the client is not served: %s", l->failure);
}

void load_wait_end(struct load *l)
{
    int64_t end = now_ms() + WAIT_MS;

    while (!atomic_load(&l->ended) && now_ms() < end)
        poll(NULL, 0, 1);
    ck_assert_msg(atomic_load(&l->ended), "the client is still served");
}

unsigned load_stop(struct load *l)
{
    atomic_store(&l->stop, true);
    ck_assert_int_eq(pthread_join(l->thread, NULL), 0);
    ck_assert_msg(l->may_end || !atomic_load(&l->failed), "%s", l->failure);
    munmap(l->memory, MEMORY_BYTES);
    close(l->memory_fd);
    close(l->line);
    client_free(l->c);
    return atomic_load(&l->rounds);
}

/*
 * Migrate
 */

struct varlink *handover_begin(const struct server *from, const struct server *to,
                               const struct wish *wish)
{
    struct json_object *parameters = json_object_new_object();
    struct json_object *call = json_object_new_object();
    int fd = wish->no_fd ? -1 : peer_connect(to->control, 0);
    struct varlink *v;

    json_object_object_add(parameters, "to", json_object_new_string(to->control));
    json_object_object_add(parameters, "keep", json_object_new_boolean(wish->keep));
    if (!wish->no_fd)
        json_object_object_add(parameters, "connection", json_object_new_int(0));
    if (wish->timeout_ms > 0)
        json_object_object_add(parameters, "timeout", json_object_new_int(wish->timeout_ms));
    json_object_object_add(call, "method", json_object_new_string("io.vfiouserd.Device.Migrate"));
    json_object_object_add(call, "parameters", parameters);
    json_object_object_add(call, "more", json_object_new_boolean(true));
    ck_assert(wish->no_fd || fd >= 0);
    ck_assert_int_eq(varlink_connect(from->control, &v), 0);
    ck_assert_int_eq(varlink_send_fds(v, call, &fd, wish->no_fd ? 0 : 1), 0);
    ck_assert_int_eq(varlink_flush(v), 0);
    json_object_put(call);
    if (fd >= 0)
        close(fd);
    return v;
}

/* Takes one reply; returns whether it is the last. */
static bool take_reply(struct json_object *reply, struct outcome *out)
{
    struct json_object *parameters = json_object_object_get(reply, "parameters");
    const char *error = json_object_get_string(json_object_object_get(reply, "error"));
    const char *phase = json_object_get_string(json_object_object_get(parameters, "phase"));

    out->replies++;
    snprintf(out->error, sizeof(out->error), "%s", error != NULL ? strrchr(error, '.') + 1 : "");
    snprintf(out->phase, sizeof(out->phase), "%s", phase != NULL ? phase : "");
    snprintf(out->text, sizeof(out->text), "%s", json_object_get_string(parameters));
    out->blackout = json_object_get_int64(json_object_object_get(parameters, "blackout"));
    return !json_object_get_boolean(json_object_object_get(reply, "continues"));
}

void handover_wait(struct varlink *v, struct outcome *out)
{
    int64_t deadline = peer_deadline(WAIT_MS);
    struct json_object *reply;
    bool last = false;
    int n;

    *out = (struct outcome) { .replies = 0 };
    while (!last) {
        while ((n = varlink_next(v, &reply)) == 0) {
            ck_assert_msg(peer_wait(varlink_fd(v), POLLIN, -1, deadline) == 0,
                          "no last reply to Migrate; phase %s", out->phase);
            n = varlink_fill(v);
            ck_assert_msg(n >= 0, "Migrate: %s; phase %s", strerror(-n), out->phase);
        }
        ck_assert_int_eq(n, 1);
        last = take_reply(reply, out);
        json_object_put(reply);
    }
    varlink_free(v);
}

void handover_do(const struct server *from, const struct server *to, const struct wish *wish,
                 struct outcome *out)
{
    handover_wait(handover_begin(from, to, wish), out);
}

void handover_succeeds(const struct server *from, const struct server *to, bool keep)
{
    const struct wish wish = { .keep = keep };
    struct outcome o;

    handover_do(from, to, &wish, &o);
    ck_assert_msg(o.error[0] == '\0', "%s %s", o.error, o.text);
    ck_assert_str_eq(o.phase, "running");
    ck_assert_int_gt(o.blackout, 0);
}

/*
 * Servers
 */

/* The child's own. */
static struct fault my_fault;

static void on_phase(const char *phase)
{
    if (my_fault.phase != NULL && strcmp(phase, my_fault.phase) == 0)
        kill(getpid(), my_fault.signal);
}

static void run_faulty(const struct server *s, void *arg)
{
    const struct fault *fault = arg;
    struct device_description description;
    struct daemon_options options = { .name = "faulty",
                                      .socket_path = s->socket,
                                      .fd = -1,
                                      .control_path = s->control,
                                      .control_fd = -1,
                                      .description = &description,
                                      .on_phase = on_phase };
    int log = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    struct daemon *d;

    if (log < 0 || dup2(log, STDERR_FILENO) < 0)
        _exit(126);
    my_fault = *fault;
    description_default(&description);
    if (service_new(options.name, &options.service) != 0 || daemon_new(&options, &d) != 0)
        _exit(126);
    daemon_run(d);
    daemon_free(d);
    service_free(options.service);
    description_fini(&description);
    _exit(0);
}

void server_start_faulty(struct server *s, const struct fault *fault)
{
    int64_t until = now_ms() + WAIT_MS;
    int fd;

    server_fork(s, run_faulty, (void *)(uintptr_t)fault);
    while ((fd = peer_connect(s->control, 0)) < 0) {
        ck_assert_msg(now_ms() < until, "the server did not start; see %s", s->log);
        ck_assert_msg(waitpid(s->pid, NULL, WNOHANG) == 0, "the server ended; see %s", s->log);
        poll(NULL, 0, 2);
    }
    close(fd);
    server_status_call(s);
}

void server_wait_fault(const struct server *s, const struct fault *fault)
{
    int64_t until = now_ms() + WAIT_MS;
    int status = 0;

    while (waitpid(s->pid, &status, WNOHANG | WUNTRACED) == 0) {
        ck_assert_msg(now_ms() < until, "no fault in phase %s", fault->phase);
        poll(NULL, 0, 1);
    }
    if (fault->signal == SIGSTOP)
        ck_assert_msg(WIFSTOPPED(status), "status 0x%x", status);
    else
        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == fault->signal, "status 0x%x",
                      status);
}

void server_clean(const struct server *s)
{
    unlink(s->socket);
    unlink(s->control);
    server_remove(s);
}

void server_wait_log(const struct server *s, const char *text)
{
    int64_t until = now_ms() + WAIT_MS;

    while (!server_log_has(s, text) && now_ms() < until)
        poll(NULL, 0, 2);
    ck_assert_msg(server_log_has(s, text), "'%s' is not in the log", text);
}

bool server_has_client(const struct server *s)
{
    struct json_object *status = server_status(s);
    bool has = json_object_object_get(status, "client") != NULL;

    json_object_put(status);
    return has;
}
