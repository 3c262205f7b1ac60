/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "handover.h"

#include <errno.h>
#include <json-c/json.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bar1.h"
#include "peer.h"
#include "stats.h"
#include "table.h"
#include "target.h"
#include "varlink.h"

#define HANDOVERS  200u
#define WARM_UP    10u
#define MAPS       64u
#define MAP_SIZE   65536ull
#define REPLY_MS   10000
#define P99_AIM_US 2000
#define FLAT_AIM   1.5

/* The device that moves, and where it is. */
struct mover {
    struct target targets[2];
    unsigned n_targets; /* that run */
    unsigned at;        /* the one that has the device */
    struct client *client;
    uint8_t *bar1;
    uint64_t size;
    int files[MAPS];
    struct samples *blackouts;
};

/* A client that is never idle, in a thread on any CPU. */
struct load {
    struct client *client;
    pthread_t thread;
    atomic_bool stop;
    int err;
    uint64_t trips;
    int64_t longest; /* ns */
};

/*
 * One handover
 */

static int send_call(struct varlink *v, const char *to)
{
    char text[256];
    int err;

    snprintf(text, sizeof(text),
             "{\"method\":\"io.vfiouserd.Device.Migrate\",\"more\":true,"
             "\"parameters\":{\"to\":\"%s\",\"keep\":true}}",
             to);
    err = varlink_send_text(v, text, strlen(text));
    return err != 0 ? err : varlink_flush(v);
}

static int next_reply(struct varlink *v, int64_t deadline, struct json_object **out)
{
    int n;

    while ((n = varlink_next(v, out)) == 0) {
        int err = peer_wait(varlink_fd(v), POLLIN, -1, deadline);

        if (err == 0)
            err = varlink_fill(v);
        if (err < 0)
            return err;
    }
    return n < 0 ? n : 0;
}

/* 1 with *ns set by the last reply, 0 after one that says how far it is, or -errno. */
static int read_reply(struct json_object *reply, int64_t *ns)
{
    struct json_object *value = NULL;

    if (json_object_object_get_ex(reply, "error", &value)) {
        fprintf(stderr, "bench: %s\n", json_object_get_string(reply));
        return -EIO;
    }
    if (!json_object_object_get_ex(reply, "parameters", &value) ||
        !json_object_object_get_ex(value, "blackout", &value))
        return 0;
    *ns = json_object_get_int64(value);
    return 1;
}

static int hand_over(struct mover *m, int64_t *ns)
{
    unsigned to = m->at ^ 1;
    int64_t deadline = peer_deadline(REPLY_MS);
    struct varlink *v;
    int err = varlink_connect(m->targets[m->at].control, &v);

    if (err != 0)
        return err;
    err = send_call(v, m->targets[to].control);
    while (err == 0) {
        struct json_object *reply = NULL;

        err = next_reply(v, deadline, &reply);
        if (err == 0)
            err = read_reply(reply, ns);
        json_object_put(reply);
    }
    varlink_free(v);
    if (err < 0)
        return err;
    m->at = to;
    return 0;
}

static int hand_over_many(struct mover *m, unsigned n)
{
    int err = 0;

    m->blackouts->n = 0;
    for (unsigned i = 0; err == 0 && i < n; i++) {
        int64_t ns = 0;

        err = hand_over(m, &ns);
        samples_add(m->blackouts, ns);
    }
    return err;
}

/*
 * The device
 */

/* Each map has a file of its own, which is more than a VMM has. */
static int map_memory(struct mover *m)
{
    for (unsigned i = 0; i < MAPS; i++) {
        int err;

        m->files[i] = memfd_create("bench", MFD_CLOEXEC);
        if (m->files[i] < 0 || ftruncate(m->files[i], (off_t)MAP_SIZE) != 0)
            return -errno;
        err = client_dma_map(m->client, i * MAP_SIZE, MAP_SIZE,
                             VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, m->files[i], 0);
        if (err != 0)
            return err;
    }
    return 0;
}

static int mover_start(const char *program, uint64_t size, struct mover *m)
{
    char description[128];
    int err = 0;

    snprintf(description, sizeof(description),
             "{ \"bar1\": { \"size\": %llu, \"mmap\": [[\"0\", %llu]] } }",
             (unsigned long long)size, (unsigned long long)size);
    m->size = size;
    for (unsigned i = 0; i < MAPS; i++)
        m->files[i] = -1;
    while (err == 0 && m->n_targets < 2) {
        err = target_start(program, description, &m->targets[m->n_targets]);
        m->n_targets += err == 0;
    }
    if (err == 0)
        err = target_connect(&m->targets[0], &m->client);
    if (err == 0)
        err = bar1_map(m->client, size, &m->bar1);
    if (err != 0)
        return err;
    bar1_touch(m->bar1, size);
    return map_memory(m);
}

static int mover_stop(struct mover *m)
{
    int err = 0;

    bar1_unmap(m->bar1, m->size);
    client_free(m->client);
    for (unsigned i = 0; i < MAPS; i++) {
        if (m->files[i] >= 0)
            close(m->files[i]);
    }
    for (unsigned i = 0; i < m->n_targets; i++) {
        int stopped = target_stop(&m->targets[i]);

        err = err != 0 ? err : stopped;
    }
    return err;
}

/*
 * The busy client
 */

static void *exchange(void *arg)
{
    struct load *l = arg;
    uint64_t value = 0;

    while (l->err == 0 && !atomic_load(&l->stop)) {
        uint64_t got = 0;
        int64_t began = stats_now();
        int64_t took;

        value++;
        l->err = client_region_write(l->client, VFIO_PCI_BAR1_REGION_INDEX, 64, &value, 8);
        if (l->err == 0)
            l->err = client_region_read(l->client, VFIO_PCI_BAR1_REGION_INDEX, 64, &got, 8);
        if (l->err == 0 && got != value)
            l->err = -EPROTO;
        took = stats_now() - began;
        if (took > l->longest)
            l->longest = took;
        l->trips += 2;
    }
    return NULL;
}

/* Beside the daemons, where there is another CPU. */
static void leave_cpu(pthread_t thread)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t busy;
    cpu_set_t set;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(busy), &busy) != 0)
        return;
    for (int i = 0; i < n; i++) {
        if (!CPU_ISSET(i, &busy))
            CPU_SET(i, &set);
    }
    pthread_setaffinity_np(thread, sizeof(set), &set); /* where there is no other, it stays */
}

static int busy_handovers(struct mover *m, struct load *l)
{
    int err;

    l->client = m->client;
    err = pthread_create(&l->thread, NULL, exchange, l);
    if (err != 0)
        return -err;
    leave_cpu(l->thread);
    err = hand_over_many(m, HANDOVERS);
    atomic_store(&l->stop, true);
    pthread_join(l->thread, NULL);
    return err != 0 ? err : l->err;
}

/*
 * Rows
 */

static void print_blackouts(struct mover *m, const char *name, double *smallest_p99)
{
    double median = samples_percentile(m->blackouts, 0.5);
    double p99 = samples_percentile(m->blackouts, 0.99);
    bool first = *smallest_p99 == 0;

    table_print(&(struct result) { name, UNIT_US, median, NAN, NAN, AIM_NONE, 0 });
    table_print(
        &(struct result) { "   the same, 99 %", UNIT_US, p99, NAN, NAN, AIM_AT_MOST, P99_AIM_US });
    if (first)
        *smallest_p99 = p99;
    else
        table_print(&(struct result) { "   against that of 16 KiB", UNIT_US, p99, *smallest_p99,
                                       p99 / *smallest_p99, AIM_AT_MOST, FLAT_AIM });
}

static int bench_busy(struct mover *m)
{
    struct load load = { 0 };
    double none = 0;
    int err = busy_handovers(m, &load);

    if (err != 0)
        return err;
    print_blackouts(m, "   the same with a busy client, 16 KiB, median", &none);
    table_print(&(struct result) { "   longest write and read of that client", UNIT_US,
                                   (double)load.longest, NAN, NAN, AIM_NONE, 0 });
    return 0;
}

static int bench_size(const char *program, const char *name, uint64_t size, bool busy,
                      double *smallest_p99)
{
    static struct samples blackouts;
    struct mover m = { .blackouts = &blackouts };
    int err = mover_start(program, size, &m);
    int stopped;

    if (err == 0)
        err = hand_over_many(&m, WARM_UP);
    if (err == 0)
        err = hand_over_many(&m, HANDOVERS);
    if (err == 0)
        print_blackouts(&m, name, smallest_p99);
    if (err == 0 && busy)
        err = bench_busy(&m);
    stopped = mover_stop(&m);
    return err != 0 ? err : stopped;
}

int handover_bench(const char *program)
{
    static const struct {
        const char *name;
        uint64_t size;
        bool busy;
    } sizes[] = {
        { "i  handover, BAR1 16 KiB, 64 maps: blackout, median", 16ull << 10, true },
        { "   BAR1 16 MiB, median", 16ull << 20, false },
        { "   BAR1 1 GiB, median", 1ull << 30, false },
    };
    double smallest_p99 = 0;
    int err = 0;

    for (size_t i = 0; err == 0 && i < sizeof(sizes) / sizeof(sizes[0]); i++)
        err = bench_size(program, sizes[i].name, sizes[i].size, sizes[i].busy, &smallest_p99);
    return err;
}
