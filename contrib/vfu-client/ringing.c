/* SPDX-License-Identifier: BSD-3-Clause */
/* The steps with GET_REGION_IO_FDS and the doorbell. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "doorbell.h"
#include "registers.h"
#include "steps.h"

#define BAR0           VFIO_PCI_BAR0_REGION_INDEX
#define HEAD           ((uint32_t)sizeof(struct vfio_user_region_io_fds))
#define UNKNOWN_REGION 0xdeadbeefu
#define RINGS          100u
#define SEEN_MS        5000
#define NS_PER_MS      1000000ll

/*
 * GET_REGION_IO_FDS
 */

/* The request's first len bytes are sent. Returns the result; fds that come are a surprise. */
static int ask(struct walk *w, const struct vfio_user_region_io_fds *request, size_t len,
               struct vfio_user_region_io_fds *reply, size_t *reply_len)
{
    int fds[2] = { -1, -1 };
    struct client_call call = { .command = VFIO_USER_DEVICE_GET_REGION_IO_FDS,
                                .fixed = request,
                                .fixed_len = len,
                                .reply = reply,
                                .reply_max = sizeof(*reply),
                                .reply_fds = fds,
                                .reply_nfds = 2 };
    int err = client_call(w->client, &call);

    if (err != 0)
        return err;
    for (unsigned i = 0; i < call.reply_nfds; i++)
        close(fds[i]);
    *reply_len = call.reply_len;
    walk_expect(w, "fds sent along with a size only", 0, call.reply_nfds);
    return 0;
}

/* A client that leaves no room is told how much it takes. Returns the number of entries. */
static uint32_t ask_count(struct walk *w, uint32_t index)
{
    const struct vfio_user_region_io_fds request = { .argsz = HEAD, .index = index };
    struct vfio_user_region_io_fds reply = { 0 };
    size_t len = 0;

    if (walk_failed(w))
        return 0;
    walk_expect_err(w, "GET_REGION_IO_FDS with argsz 16", 0,
                    ask(w, &request, sizeof(request), &reply, &len));
    walk_expect(w, "payload of its reply", HEAD, len);
    walk_expect(w, "index of the reply", index, reply.index);
    walk_expect(w, "flags of the reply", 0, reply.flags);
    walk_expect(w, "argsz of the reply",
                HEAD + (uint64_t)reply.count * sizeof(struct vfio_user_io_fd), reply.argsz);
    return reply.count;
}

static void refuse(struct walk *w, const char *what, struct vfio_user_region_io_fds request,
                   size_t len)
{
    struct vfio_user_region_io_fds reply;
    size_t reply_len;

    if (!walk_failed(w))
        walk_expect_err(w, what, -EINVAL, ask(w, &request, len, &reply, &reply_len));
}

static void refuse_all(struct walk *w)
{
    const struct vfio_user_region_io_fds good = { .argsz = HEAD, .index = BAR0 };
    struct vfio_user_region_io_fds bad = good;

    refuse(w, "GET_REGION_IO_FDS of 12 bytes", good, 12);
    bad.argsz = HEAD - 1;
    refuse(w, "argsz 15", bad, HEAD);
    bad = good;
    bad.flags = 1;
    refuse(w, "flags 1 in a request", bad, HEAD);
    bad = good;
    bad.count = 1;
    refuse(w, "count 1 in a request", bad, HEAD);
    bad.count = UINT32_MAX;
    refuse(w, "count 0xffffffff in a request", bad, HEAD);
    bad = good;
    bad.index = VFIO_PCI_NUM_REGIONS;
    refuse(w, "GET_REGION_IO_FDS of region 9", bad, HEAD);
    bad.index = UNKNOWN_REGION;
    refuse(w, "GET_REGION_IO_FDS of region 0xdeadbeef", bad, HEAD);
}

void step_io_fds(struct walk *w)
{
    struct doorbell doorbell = { .fd = -1 };
    uint32_t count = ask_count(w, BAR0);

    for (uint32_t i = BAR0 + 1; i < VFIO_PCI_NUM_REGIONS; i++)
        walk_expect(w, "eventfds of a region other than BAR0", 0, ask_count(w, i));
    if (w->no_fds)
        walk_expect(w, "eventfds for a client that takes none", 0, count);
    else if (count > 1)
        walk_fail(w, "eventfds of BAR0", "one at most", "%u", count);
    if (walk_failed(w))
        return;
    walk_expect_err(w, "GET_REGION_IO_FDS", 0, doorbell_open(w->client, &doorbell));
    walk_expect(w, "the doorbell as an eventfd", count, doorbell.kind != DOORBELL_NONE);
    walk_say(w, "the doorbell, BAR0 + 0x%x: %s; the other regions: none", REG_DOORBELL,
             doorbell_kind_name(doorbell.kind));
    doorbell_close(&doorbell);
    refuse_all(w);
    walk_say(w, "argsz 16: told the size; under 16, or flags, a count, unknown regions: EINVAL");
}

/*
 * Rings
 */

/* The device reads the eventfd when it gets to it. */
static void expect_rings(struct walk *w, const char *what, uint32_t expected)
{
    int64_t until = walk_now() + SEEN_MS * NS_PER_MS;
    uint32_t seen = walk_get32(w, REG_DOORBELL_COUNT);

    while (!walk_failed(w) && seen != expected && walk_now() < until)
        seen = walk_get32(w, REG_DOORBELL_COUNT);
    walk_expect(w, what, expected, seen);
}

static void by_eventfd(struct walk *w, const struct doorbell *doorbell)
{
    uint32_t before = walk_get32(w, REG_DOORBELL_COUNT);
    bool shadow = doorbell->kind == DOORBELL_SHADOW;

    for (uint32_t i = 1; i <= RINGS && !walk_failed(w); i++)
        walk_expect_err(w, "ringing by eventfd", 0, doorbell_ring(doorbell, 0x10000 + i));
    expect_rings(w, "DOORBELL_COUNT after rings by eventfd", before + RINGS);
    if (shadow)
        walk_expect(w, "DOORBELL, from shadow memory", 0x10000 + RINGS,
                    walk_get32(w, REG_DOORBELL));
    walk_put32(w, REG_DOORBELL, 0x20000);
    walk_expect(w, "DOORBELL as written by message", 0x20000, walk_get32(w, REG_DOORBELL));
    if (!walk_failed(w))
        walk_expect_err(w, "ringing by eventfd", 0, doorbell_ring(doorbell, 0x20001));
    walk_put32(w, REG_DOORBELL_TRAPPED, 0x20002);
    expect_rings(w, "DOORBELL_COUNT after rings of all kinds", before + RINGS + 3);
    walk_say(w, "%u rings by %s, 2 by message:", RINGS + 1, doorbell_kind_name(doorbell->kind));
    walk_say(w, "all counted%s", shadow ? ", and the value is that in memory" : "");
}

void step_doorbell(struct walk *w)
{
    struct doorbell doorbell = { .fd = -1 };
    uint32_t before = walk_get32(w, REG_DOORBELL_COUNT);

    walk_put32(w, REG_DOORBELL, 0x1111);
    walk_put32(w, REG_DOORBELL_TRAPPED, 0x2222);
    walk_expect(w, "DOORBELL_TRAPPED", 0x2222, walk_get32(w, REG_DOORBELL_TRAPPED));
    walk_expect(w, "DOORBELL_COUNT", before + 2, walk_get32(w, REG_DOORBELL_COUNT));
    walk_put32(w, REG_DOORBELL_COUNT, 7);
    walk_expect(w, "DOORBELL_COUNT, which is read-only", before + 2,
                walk_get32(w, REG_DOORBELL_COUNT));
    if (!walk_failed(w))
        walk_expect_err(w, "GET_REGION_IO_FDS", 0, doorbell_open(w->client, &doorbell));
    if (!walk_failed(w) && doorbell.kind != DOORBELL_NONE)
        by_eventfd(w, &doorbell);
    else
        walk_say(w, "by message only: both registers ring, and are counted");
    doorbell_close(&doorbell);
}
