/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "migration.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bar1.h"
#include "copier.h"
#include "message.h"
#include "stats.h"
#include "table.h"
#include "target.h"
#include "traffic.h"

#define STATE_SIZE  (256ull << 20)
#define DESCRIPTION "{ \"bar1\": { \"size\": \"256M\", \"mmap\": [[\"0\", \"256M\"]] } }"
#define DATA        (1u << 20) /* in each message, which is what the daemon allows */
#define HEAD        (VFIO_USER_HEADER_SIZE + (unsigned)sizeof(struct vfio_user_mig_data))
#define MESSAGE     (HEAD + DATA)
#define MESSAGES    (STATE_SIZE / DATA + 2) /* there is more to a state than BAR1 */
#define ROUNDS_MAX  31
#define PAGE        4096u

/* A state as messages: what was read becomes what is written. */
struct messages {
    uint8_t *at; /* MESSAGE bytes each */
    size_t n;
};

struct run {
    struct target target;
    struct client *client;
    uint8_t *bar1; /* mapped */
    int fd;        /* the client's socket, blocking */
    struct copier copier;
    struct messages messages;
};

static uint8_t *message_at(const struct messages *m, size_t i)
{
    return m->at + i * MESSAGE;
}

static uint32_t size_of(const uint8_t *message)
{
    struct vfio_user_header header;

    memcpy(&header, message, sizeof(header));
    return header.size;
}

/* MIG_DATA_READ and MIG_DATA_WRITE up to the data. */
static void encode(uint8_t *at, uint16_t command, uint32_t size, uint32_t flags, uint32_t data)
{
    const struct vfio_user_mig_data mig = { .argsz = (uint32_t)sizeof(mig) + data, .size = data };

    message_encode_header(at, 1, command, size, flags, 0);
    memcpy(at + VFIO_USER_HEADER_SIZE, &mig, sizeof(mig));
}

/*
 * The two ways
 */

/* Reads most messages, or until one is empty; *bytes is all of their data. */
static int read_messages(int fd, struct messages *m, size_t most, uint64_t *bytes)
{
    uint8_t request[HEAD];
    int err = 0;

    encode(request, VFIO_USER_MIG_DATA_READ, HEAD, VFIO_USER_TYPE_COMMAND, DATA);
    *bytes = 0;
    for (m->n = 0; err == 0 && m->n < most;) {
        uint8_t *message = message_at(m, m->n);

        err = traffic_send(fd, request, sizeof(request));
        if (err == 0)
            err = traffic_receive(fd, message, VFIO_USER_HEADER_SIZE);
        if (err != 0)
            break;
        if (size_of(message) < HEAD || size_of(message) > MESSAGE)
            return -EPROTO;
        err = traffic_receive(fd, message + VFIO_USER_HEADER_SIZE,
                              size_of(message) - VFIO_USER_HEADER_SIZE);
        if (size_of(message) == HEAD)
            break;
        *bytes += size_of(message) - HEAD;
        m->n++;
    }
    return err;
}

static int write_messages(int fd, struct messages *m)
{
    uint8_t reply[VFIO_USER_HEADER_SIZE];
    int err = 0;

    for (size_t i = 0; err == 0 && i < m->n; i++) {
        uint8_t *message = message_at(m, i);
        uint32_t size = size_of(message);

        encode(message, VFIO_USER_MIG_DATA_WRITE, size, VFIO_USER_TYPE_COMMAND, size - HEAD);
        err = traffic_send(fd, message, size);
        if (err == 0)
            err = traffic_receive(fd, reply, sizeof(reply));
        if (err == 0 && reply[8] != VFIO_USER_TYPE_REPLY)
            err = -EPROTO;
    }
    return err;
}

/* Bytes a second of one way, with the states it takes; the floor has none. */
static int read_ours(struct run *r, double *rate)
{
    int64_t began = stats_now();
    uint64_t bytes = 0;
    int err = client_mig_set_state(r->client, VFIO_DEVICE_STATE_STOP_COPY);

    if (err == 0)
        err = read_messages(r->fd, &r->messages, MESSAGES, &bytes);
    *rate = (double)bytes * 1e9 / (double)(stats_now() - began);
    if (err == 0)
        err = client_mig_set_state(r->client, VFIO_DEVICE_STATE_RUNNING);
    return err == 0 && bytes < STATE_SIZE ? -EPROTO : err;
}

static int read_floor(struct run *r, double *rate)
{
    struct messages scratch = { .at = r->messages.at };
    int64_t began = stats_now();
    uint64_t bytes = 0;
    int err = read_messages(r->copier.fd, &scratch, STATE_SIZE / DATA, &bytes);

    *rate = (double)bytes * 1e9 / (double)(stats_now() - began);
    return err;
}

/* From RESUMING on until the device has the state. */
static int write_ours(struct run *r, double *rate)
{
    int64_t began = stats_now();
    int err = client_mig_set_state(r->client, VFIO_DEVICE_STATE_RESUMING);

    if (err == 0)
        err = write_messages(r->fd, &r->messages);
    if (err == 0)
        err = client_mig_set_state(r->client, VFIO_DEVICE_STATE_STOP);
    *rate = (double)STATE_SIZE * 1e9 / (double)(stats_now() - began);
    return err != 0 ? err : client_mig_set_state(r->client, VFIO_DEVICE_STATE_RUNNING);
}

static int write_floor(struct run *r, double *rate)
{
    int64_t began = stats_now();
    int err = write_messages(r->copier.fd, &r->messages);

    *rate = (double)STATE_SIZE * 1e9 / (double)(stats_now() - began);
    return err;
}

typedef int (*way_fn)(struct run *r, double *rate);

static int compare(struct run *r, unsigned rounds, const char *name, way_fn ours, way_fn theirs)
{
    double rates[2][ROUNDS_MAX];
    double ratios[ROUNDS_MAX];
    int err = 0;

    for (unsigned i = 0; err == 0 && i < rounds; i++) {
        err = ours(r, &rates[0][i]);
        if (err == 0)
            err = theirs(r, &rates[1][i]);
        ratios[i] = rates[0][i] / rates[1][i];
    }
    if (err == 0)
        table_print(&(struct result) { name, UNIT_MIB_RATE, stats_median(rates[0], rounds),
                                       stats_median(rates[1], rounds), stats_median(ratios, rounds),
                                       AIM_AT_LEAST, 0.5 });
    return err;
}

/* Leaves the messages as they were read from the device. */
static int compare_streams(struct run *r, unsigned rounds)
{
    int err = compare(r, rounds, "h  read 256 MiB of state, STOP_COPY", read_ours, read_floor);
    double rate;

    if (err == 0)
        err = read_ours(r, &rate);
    return err != 0 ? err
                    : compare(r, rounds, "   write it, RESUMING to STOP", write_ours, write_floor);
}

/*
 * After PRE_COPY
 */

/* Spread over BAR1. */
static void change_pages(struct run *r, unsigned pages)
{
    uint64_t stride = pages > 0 ? STATE_SIZE / PAGE / pages : 0;

    for (unsigned i = 0; i < pages; i++)
        r->bar1[i * stride * PAGE + 123] ^= 0xff;
}

static int bytes_after(struct run *r, const char *name, unsigned pages)
{
    double changed = pages * (double)PAGE / 1024;
    uint64_t bytes = 0;
    int64_t began = 0;
    int err = client_mig_set_state(r->client, VFIO_USER_DEVICE_STATE_PRE_COPY);

    if (err == 0)
        err = read_messages(r->fd, &r->messages, MESSAGES, &bytes);
    change_pages(r, pages);
    began = stats_now();
    if (err == 0)
        err = client_mig_set_state(r->client, VFIO_DEVICE_STATE_STOP_COPY);
    if (err == 0)
        err = read_messages(r->fd, &r->messages, MESSAGES, &bytes);
    began = stats_now() - began;
    if (err == 0)
        err = client_mig_set_state(r->client, VFIO_DEVICE_STATE_RUNNING);
    if (err != 0)
        return err;
    table_print(&(struct result) { name, UNIT_KIB, (double)bytes / 1024, pages > 0 ? changed : NAN,
                                   pages > 0 ? (double)bytes / 1024 / changed : NAN,
                                   pages > 0 ? AIM_AT_MOST : AIM_NONE, 1.05 });
    table_print(&(struct result) { "   time for that, from STOP_COPY on", UNIT_US, (double)began,
                                   NAN, NAN, AIM_NONE, 0 });
    return 0;
}

static int measure_rest(struct run *r)
{
    int err = bytes_after(r, "   left after PRE_COPY, nothing changed", 0);

    if (err == 0)
        err = bytes_after(r, "   100 of 65536 pages changed; floor: these pages", 100);
    if (err == 0)
        err = bytes_after(r, "   1000 pages", 1000);
    return err;
}

/*
 * The run
 */

static int attach(struct run *r)
{
    int err = target_connect(&r->target, &r->client);
    int flags;

    if (err == 0)
        err = bar1_map(r->client, STATE_SIZE, &r->bar1);
    if (err != 0)
        return err;
    bar1_touch(r->bar1, STATE_SIZE);
    r->fd = stream_fd(client_stream(r->client));
    flags = fcntl(r->fd, F_GETFL);
    if (flags < 0 || fcntl(r->fd, F_SETFL, flags & ~O_NONBLOCK) != 0)
        return -errno;
    client_set_timeout(r->client, 60000);
    return 0;
}

static int measure(struct run *r, unsigned rounds)
{
    int err = attach(r);

    if (err == 0)
        err = copier_start(STATE_SIZE, &r->copier);
    if (err != 0)
        return err;
    err = compare_streams(r, rounds);
    copier_stop(&r->copier);
    return err != 0 ? err : measure_rest(r);
}

int migration_bench(const char *program, unsigned rounds)
{
    struct run r = { .fd = -1 };
    int stopped;
    int err;

    r.messages.at = malloc(MESSAGES * MESSAGE);
    if (r.messages.at == NULL)
        return -ENOMEM;
    memset(r.messages.at, 0xff, MESSAGES * MESSAGE); /* with 0 it could be left to calloc */
    err = target_start(program, DESCRIPTION, &r.target);
    if (err == 0) {
        err = measure(&r, rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX);
        bar1_unmap(r.bar1, STATE_SIZE);
        client_free(r.client);
        stopped = target_stop(&r.target);
        err = err != 0 ? err : stopped;
    }
    free(r.messages.at);
    return err;
}
