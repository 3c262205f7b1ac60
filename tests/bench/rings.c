/* SPDX-License-Identifier: BSD-3-Clause */
#include "rings.h"

#include <errno.h>

#include "doorbell.h"
#include "measure.h"
#include "registers.h"
#include "table.h"
#include "target.h"

#define BAR0    VFIO_PCI_BAR0_REGION_INDEX
#define SEEN_NS 5000000000ll

enum way { EVENTFD, MESSAGE, POSTED, WAYS };

/* In one turn: about as long for each. */
static const uint32_t rings[WAYS] = { 10000, 1000, 5000 };

struct run {
    struct client *client;
    struct doorbell doorbell;
    uint32_t value; /* of the ring before */
    double rates[WAYS][MEASURE_ROUNDS_MAX];
};

static int ring(struct run *r, enum way way)
{
    uint32_t value = ++r->value;

    switch (way) {
    case EVENTFD:
        return doorbell_ring(&r->doorbell, value);
    case MESSAGE:
        return client_region_write(r->client, BAR0, REG_DOORBELL, &value, sizeof(value));
    default:
        return client_region_post(r->client, BAR0, REG_DOORBELL, &value, sizeof(value));
    }
}

static int read_register(struct run *r, uint64_t offset, uint32_t *value)
{
    return client_region_read(r->client, BAR0, offset, value, sizeof(*value));
}

/* -EPROTO: a ring was lost. */
static int wait_until_seen(struct run *r, uint32_t expected)
{
    int64_t until = stats_now() + SEEN_NS;
    uint32_t seen = 0;
    int err;

    do {
        err = read_register(r, REG_DOORBELL_COUNT, &seen);
    } while (err == 0 && seen != expected && stats_now() < until);
    return err == 0 && seen != expected ? -EPROTO : err;
}

static int turn(struct run *r, enum way way, double *rate)
{
    uint32_t before = 0;
    uint32_t last = 0;
    int err = read_register(r, REG_DOORBELL_COUNT, &before);
    int64_t start = stats_now();

    for (uint32_t i = 0; err == 0 && i < rings[way]; i++)
        err = ring(r, way);
    if (err == 0)
        err = wait_until_seen(r, before + rings[way]);
    *rate = rings[way] * 1e9 / (double)(stats_now() - start);
    if (err == 0)
        err = read_register(r, REG_DOORBELL, &last);
    return err == 0 && last != r->value ? -EPROTO : err;
}

static void print(struct run *r, const char *name, enum way against, unsigned rounds,
                  enum table_aim aim)
{
    double ours[MEASURE_ROUNDS_MAX];
    double ratios[MEASURE_ROUNDS_MAX];
    double floor[MEASURE_ROUNDS_MAX];

    for (unsigned i = 0; i < rounds; i++) {
        ours[i] = r->rates[EVENTFD][i];
        floor[i] = r->rates[against][i];
        ratios[i] = ours[i] / floor[i];
    }
    table_print(&(struct result) { name, UNIT_RATE, stats_median(ours, rounds),
                                   stats_median(floor, rounds), stats_median(ratios, rounds), aim,
                                   5 });
}

static int measure(struct run *r, unsigned rounds)
{
    int err = doorbell_open(r->client, &r->doorbell);

    if (err == 0 && r->doorbell.kind != DOORBELL_SHADOW)
        err = -EPROTO;
    for (unsigned i = 0; err == 0 && i <= rounds; i++) {
        unsigned at = i > 0 ? i - 1 : 0; /* the first is overwritten: it does not count */

        for (unsigned way = 0; err == 0 && way < WAYS; way++)
            err = turn(r, way, &r->rates[way][at]);
    }
    if (err != 0)
        return err;
    print(r, "j  doorbell by eventfd; floor: by message", MESSAGE, rounds, AIM_AT_LEAST);
    print(r, "   the same; floor: by posted message", POSTED, rounds, AIM_NONE);
    return 0;
}

int rings_bench(const char *program, unsigned rounds)
{
    struct run r = { .doorbell = { .fd = -1 } };
    struct target target;
    int stopped;
    int err = target_start(program, NULL, &target);

    if (err != 0)
        return err;
    err = target_connect(&target, &r.client);
    if (err == 0)
        err = measure(&r, rounds);
    doorbell_close(&r.doorbell);
    client_free(r.client);
    stopped = target_stop(&target);
    return err != 0 ? err : stopped;
}
