/* SPDX-License-Identifier: BSD-3-Clause */
#include "speed.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "doorbell.h"
#include "registers.h"
#include "steps.h"

#define BAR0      VFIO_PCI_BAR0_REGION_INDEX
#define NS_PER_S  1000000000ll
#define LIMIT_NS  (20 * NS_PER_S)
#define SEEN_NS   (5 * NS_PER_S) /* until the last ring is seen */
#define LOOK_MASK 0xffu          /* rings between two looks at the clock */

struct speed {
    struct walk *w;
    struct doorbell doorbell;
    uint32_t n;
    uint64_t rings; /* in all ways */
    double eventfd; /* rings a second */
    double message;
    double posted;
};

typedef int (*ring_fn)(struct speed *s, uint32_t value);

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static int ring_eventfd(struct speed *s, uint32_t value)
{
    return doorbell_ring(&s->doorbell, value);
}

static int ring_message(struct speed *s, uint32_t value)
{
    value = htole32(value);
    return client_region_write(s->w->client, BAR0, REG_DOORBELL_TRAPPED, &value, sizeof(value));
}

static int ring_posted(struct speed *s, uint32_t value)
{
    value = htole32(value);
    return client_region_post(s->w->client, BAR0, REG_DOORBELL_TRAPPED, &value, sizeof(value));
}

/* Until the device has seen them all, or SEEN_NS have passed. */
static void wait_until_seen(struct walk *w, uint32_t expected)
{
    int64_t until = now() + SEEN_NS;
    uint32_t seen = walk_get32(w, REG_DOORBELL_COUNT);

    while (!walk_failed(w) && (int32_t)(seen - expected) < 0 && now() < until)
        seen = walk_get32(w, REG_DOORBELL_COUNT);
    if (!walk_failed(w) && seen != expected)
        walk_fail(w, "DOORBELL_COUNT", "each ring counted once", "%d %s",
                  (int)(seen - expected) < 0 ? (int)(expected - seen) : (int)(seen - expected),
                  (int)(seen - expected) < 0 ? "lost" : "too many");
}

/*
 * Rings n times, with the values from first on, until the device has seen them. Returns rings a
 * second, and in *last the last value.
 */
static double ring_all(struct speed *s, ring_fn ring, uint32_t first, uint32_t *last)
{
    struct walk *w = s->w;
    uint32_t before = walk_get32(w, REG_DOORBELL_COUNT);
    int64_t start = now();
    uint32_t done = 0;
    int64_t ns;

    while (!walk_failed(w) && done < s->n) {
        walk_expect_err(w, "a ring", 0, ring(s, first + done));
        done++;
        if ((done & LOOK_MASK) == 0 && done < s->n && now() - start > LIMIT_NS)
            walk_fail(w, "time", "all rings within 20 s", "%u of %u", done, s->n);
    }
    if (walk_failed(w))
        return 0;
    wait_until_seen(w, before + done);
    ns = now() - start;
    *last = first + done - 1;
    s->rings += done;
    walk_say(w, "%u rings in %.3f s: %.0f thousand a second", done, (double)ns / 1e9,
             done * 1e6 / (double)ns);
    return done * 1e9 / (double)ns;
}

/*
 * The steps
 */

static void step_open(struct speed *s)
{
    struct walk *w = s->w;

    walk_expect_err(w, "GET_REGION_IO_FDS", 0, doorbell_open(w->client, &s->doorbell));
    if (!walk_failed(w) && s->doorbell.kind == DOORBELL_NONE)
        walk_fail(w, "GET_REGION_IO_FDS", "an eventfd",
                  "none: the device serves it by message only (\"doorbell\": \"none\"?)");
    walk_say(w, "BAR0 + 0x%x is %s", REG_DOORBELL, doorbell_kind_name(s->doorbell.kind));
}

static void step_eventfd(struct speed *s)
{
    uint32_t last = 0;

    s->eventfd = ring_all(s, ring_eventfd, 0x10000000, &last);
    if (s->doorbell.kind == DOORBELL_SHADOW)
        walk_expect(s->w, "DOORBELL", last, walk_get32(s->w, REG_DOORBELL));
}

static void step_message(struct speed *s)
{
    uint32_t last = 0;

    s->message = ring_all(s, ring_message, 0x20000000, &last);
    walk_expect(s->w, "DOORBELL_TRAPPED", last, walk_get32(s->w, REG_DOORBELL_TRAPPED));
}

static void step_posted_message(struct speed *s)
{
    uint32_t last = 0;

    s->posted = ring_all(s, ring_posted, 0x30000000, &last);
    walk_expect(s->w, "DOORBELL_TRAPPED", last, walk_get32(s->w, REG_DOORBELL_TRAPPED));
}

static const struct {
    const char *name;
    void (*run)(struct speed *s);
} steps[] = {
    { "doorbell", step_open },
    { "by eventfd", step_eventfd },
    { "by message", step_message },
    { "posted, no reply", step_posted_message },
};

static int run_steps(struct speed *s)
{
    struct walk *w = s->w;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        walk_begin(w, (unsigned)i + 1, steps[i].name);
        steps[i].run(s);
        fflush(stdout);
        if (walk_failed(w)) {
            fprintf(stderr, "vfu-client: %s: %s\n", w->name, w->failure);
            return -1;
        }
    }
    return 0;
}

int speed_run(struct walk *w, uint32_t n)
{
    struct speed s = { .w = w, .doorbell = { .fd = -1 }, .n = n };
    struct version_caps ours;
    int err = client_connect(w->socket_path, &w->client);

    setup_caps(w, &ours);
    if (err == 0)
        err = client_negotiate(w->client, &ours, &w->server);
    if (err != 0) {
        fprintf(stderr, "vfu-client: %s: %s\n", w->socket_path,
                err == -ENOTCONN
                    ? "the connection was closed without a reply: is this a control socket?"
                    : strerror(-err));
        return -1;
    }
    err = run_steps(&s);
    doorbell_close(&s.doorbell);
    if (err != 0)
        return err;
    printf("vfu-client: %llu rings, none lost; the eventfd is %.1f times as fast as a message\n",
           (unsigned long long)s.rings, s.eventfd / s.message);
    return 0;
}
