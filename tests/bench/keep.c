/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "manager.h"
#include "measure.h"
#include "message.h"
#include "table.h"

#define STORE      256u
#define SMALL      8u
#define PAGE_SIZE  4096u
#define OFFSET     4096u /* BAR1's second page: only reached by message */
#define ACCESS_LEN (VFIO_USER_HEADER_SIZE + sizeof(struct vfio_user_region_access))
#define WRITE_LEN  (ACCESS_LEN + SMALL)
#define POSTED     4000u
#define BUNDLE     200u
#define PAIRS      9u
#define COST_AIM   1.03
#define KILLS      200u
#define GAP_AIM_US 250000
#define MAPS       65535u
#define MAP_SIZE   4096ull

/* A daemon and its client, whose socket blocks. */
struct side {
    struct manager *manager;
    struct client *client;
    int fd;
};

static int side_start(const char *program, unsigned store, struct side *s)
{
    int err = manager_start(program, store, &s->manager);
    int flags;

    if (err == 0)
        err = target_connect(manager_target(s->manager), &s->client);
    if (err != 0)
        return err;
    s->fd = stream_fd(client_stream(s->client));
    flags = fcntl(s->fd, F_GETFL);
    return flags < 0 || fcntl(s->fd, F_SETFL, flags & ~O_NONBLOCK) != 0 ? -errno : 0;
}

static int side_stop(struct side *s, int err)
{
    int stopped = s->manager != NULL ? manager_stop(s->manager) : 0;

    client_free(s->client);
    return err != 0 ? err : stopped;
}

/*
 * Messages
 */

struct access {
    const char *name;
    uint16_t command;
    uint32_t count;
};

/* An access of BAR1 and its reply. */
struct trip {
    uint8_t request[ACCESS_LEN + SMALL];
    uint8_t reply[ACCESS_LEN + PAGE_SIZE];
    uint8_t received[ACCESS_LEN + PAGE_SIZE];
    struct exchange x;
};

static void encode(const struct access *a, struct trip *t)
{
    const struct vfio_user_region_access access = { .offset = OFFSET,
                                                    .region = VFIO_PCI_BAR1_REGION_INDEX,
                                                    .count = a->count };
    bool reads = a->command == VFIO_USER_REGION_READ;
    size_t request_len = ACCESS_LEN + (reads ? 0 : a->count);
    size_t reply_len = ACCESS_LEN + (reads ? a->count : 0);

    *t = (struct trip) { 0 };
    message_encode_header(t->request, 7, a->command, (uint32_t)request_len, VFIO_USER_TYPE_COMMAND,
                          0);
    memcpy(t->request + VFIO_USER_HEADER_SIZE, &access, sizeof(access));
    message_encode_header(t->reply, 7, a->command, (uint32_t)reply_len, VFIO_USER_TYPE_REPLY, 0);
    memcpy(t->reply + VFIO_USER_HEADER_SIZE, &access, sizeof(access));
    t->x = (struct exchange) { t->request, request_len, t->reply, reply_len, t->received };
}

/* Posted, many in each system call: what is left is what each message costs. */
static void encode_posted(uint8_t bytes[POSTED * WRITE_LEN], struct trip *last)
{
    const uint32_t no_reply = VFIO_USER_NO_REPLY;

    encode(&(struct access) { "", VFIO_USER_REGION_WRITE, SMALL }, last);
    for (unsigned n = 0; n < POSTED; n++) {
        memcpy(bytes + n * WRITE_LEN, last->request, WRITE_LEN);
        if (n < POSTED - 1)
            memcpy(bytes + n * WRITE_LEN + offsetof(struct vfio_user_header, flags), &no_reply,
                   sizeof(no_reply));
    }
}

/* Figures of all pairs of daemons. */
struct cost {
    double ours[PAIRS];
    double floor[PAIRS];
    double ratio[PAIRS];
};

static const struct access accesses[] = {
    { "k  read 8 bytes, kept; floor: by a daemon without a store", VFIO_USER_REGION_READ, SMALL },
    { "   write 8 bytes", VFIO_USER_REGION_WRITE, SMALL },
    { "   read 4 KiB", VFIO_USER_REGION_READ, PAGE_SIZE },
};

#define ACCESSES (sizeof(accesses) / sizeof(accesses[0]))

static void note(struct cost *cost, unsigned pair, const struct comparison *c)
{
    cost->ours[pair] = c->ours;
    cost->floor[pair] = c->floor;
    cost->ratio[pair] = c->ratio;
}

static int measure_pair(const struct side *kept, const struct side *plain, unsigned pair,
                        unsigned rounds, struct cost costs[ACCESSES + 1])
{
    static struct trip trip;
    static uint8_t bytes[POSTED * WRITE_LEN];
    const struct stream_of_writes w = { bytes, sizeof(bytes), BUNDLE * WRITE_LEN, trip.reply,
                                        ACCESS_LEN };
    struct comparison c;
    int err = 0;

    for (size_t i = 0; err == 0 && i < ACCESSES; i++) {
        encode(&accesses[i], &trip);
        err = measure_round_trips_of_two(kept->fd, plain->fd, &trip.x, rounds, &c);
        note(&costs[i], pair, &c);
    }
    if (err != 0)
        return err;
    encode_posted(bytes, &trip);
    err = measure_writes_of_two(kept->fd, plain->fd, &w, POSTED, rounds, &c);
    note(&costs[ACCESSES], pair, &c);
    return err;
}

static int bench_pair(const char *program, unsigned pair, unsigned rounds,
                      struct cost costs[ACCESSES + 1])
{
    struct side kept = { 0 };
    struct side plain = { 0 };
    int err = side_start(program, STORE, &kept);

    if (err == 0)
        err = side_start(program, 0, &plain);
    if (err == 0)
        err = measure_pair(&kept, &plain, pair, rounds, costs);
    err = side_stop(&plain, err);
    return side_stop(&kept, err);
}

static void print_cost(const char *name, enum table_unit unit, struct cost *c, enum table_aim aim)
{
    table_print(&(struct result) { name, unit, stats_median(c->ours, PAIRS),
                                   stats_median(c->floor, PAIRS), stats_median(c->ratio, PAIRS),
                                   aim, COST_AIM });
}

/* Several pairs, since where a process has its pages makes as much of a difference. */
static int bench_cost(const char *program, unsigned rounds)
{
    static struct cost costs[ACCESSES + 1];
    int err = 0;

    for (unsigned pair = 0; err == 0 && pair < PAIRS; pair++)
        err = bench_pair(program, pair, rounds / PAIRS + 1, costs);
    if (err != 0)
        return err;
    for (size_t i = 0; i < ACCESSES; i++)
        print_cost(accesses[i].name, UNIT_US, &costs[i], AIM_AT_MOST);
    print_cost("   posted 8-byte writes, 200 in a send()", UNIT_RATE, &costs[ACCESSES], AIM_NONE);
    return 0;
}

/*
 * The gap
 */

struct gaps {
    struct samples all;   /* from the signal to the next reply */
    struct samples end;   /* until the kernel has taken the process apart */
    struct samples start; /* from there on */
};

/* A request is sent while there is nobody; its reply is that of the next daemon. */
static int one_gap(const struct side *s, const struct exchange *x, struct gaps *g)
{
    struct manager_restart at = { 0 };
    int err = manager_kill(s->manager, &at);

    if (err == 0)
        err = traffic_exchange(s->fd, x);
    samples_add(&g->all, stats_now() - at.killed);
    samples_add(&g->end, at.gone - at.killed);
    samples_add(&g->start, stats_now() - at.gone);
    return err;
}

static void print_gap(const char *name, struct samples *samples, double share, enum table_aim aim)
{
    table_print(&(struct result) { name, UNIT_US, samples_percentile(samples, share), NAN, NAN, aim,
                                   GAP_AIM_US });
}

static int bench_gaps(const struct side *s, const char *name)
{
    static const struct access read = { "", VFIO_USER_REGION_READ, SMALL };
    static struct gaps g;
    static struct trip trip;
    int err = 0;

    encode(&read, &trip);
    g.all.n = g.end.n = g.start.n = 0;
    for (unsigned i = 0; err == 0 && i < KILLS; i++)
        err = one_gap(s, &trip.x, &g);
    if (err != 0)
        return err;
    print_gap(name, &g.all, 0.5, AIM_NONE);
    print_gap("   the same, 99 %", &g.all, 0.99, AIM_AT_MOST);
    print_gap("   of it until the process is gone, median", &g.end, 0.5, AIM_NONE);
    print_gap("   from there to the reply, median", &g.start, 0.5, AIM_NONE);
    print_gap("   the same, 99 %", &g.start, 0.99, AIM_NONE);
    return 0;
}

/* As many maps as a client may have, of one file. */
static int map_much(const struct side *s, int file)
{
    int err = ftruncate(file, (off_t)(MAPS * MAP_SIZE)) == 0 ? 0 : -errno;

    for (unsigned i = 0; err == 0 && i < MAPS; i++)
        err = client_dma_map(s->client, i * MAP_SIZE, MAP_SIZE,
                             VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, file, i * MAP_SIZE);
    return err;
}

static int bench_gap(const char *program)
{
    struct side kept = { 0 };
    int file = memfd_create("bench", MFD_CLOEXEC);
    int err = file >= 0 ? side_start(program, STORE, &kept) : -errno;

    if (err == 0)
        err = bench_gaps(&kept, "k  kill -9 to the next reply, restarted at once, median");
    if (err == 0)
        err = map_much(&kept, file);
    if (err == 0)
        err = bench_gaps(&kept, "   the same with 65535 maps, median");
    if (file >= 0)
        close(file);
    return side_stop(&kept, err);
}

int keep_bench(const char *program, unsigned rounds)
{
    int err = bench_cost(program, rounds);

    return err == 0 ? bench_gap(program) : err;
}
