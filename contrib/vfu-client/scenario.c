/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "scenario.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feature.h"
#include "registers.h"
#include "steps.h"
#include "writer.h"

#define BAR0      VFIO_PCI_BAR0_REGION_INDEX
#define BAR1      VFIO_PCI_BAR1_REGION_INDEX
#define NS_PER_MS 1000000ll
#define QUIET_MS  200
#define LATE_MS   20
#define DOORBELL  0xd00b

/* A round of PRE_COPY ends when the server says so, or when that much more than BAR1 has come. */
#define ROUND_EXTRA (1u << 20)

struct scenario {
    const struct scenario_options *options;
    struct walk *w; /* the source, and what is said and goes wrong */
    struct walk to; /* the destination; it has the source's guest memory */
    struct server *source;
    struct server server; /* the destination */
    struct writer *writer;
    uint8_t *data; /* of one reply */
    uint32_t data_size;
    int64_t deadline; /* CLOCK_REALTIME, ns */
    uint64_t irq_count;
    uint32_t rings; /* of the doorbell */
    uint32_t checksum;
    uint64_t before; /* bytes read until the guest stopped, and after */
    uint64_t after;
    unsigned rounds;
    int64_t stopped_at; /* the guest's processor */
    int64_t comparing;  /* ns in which nothing was done but compare */
    int64_t blackout;
};

/*
 * Both ends
 */

/* What went wrong at the destination is the scenario's failure. */
static void share_failure(struct scenario *s)
{
    if (walk_failed(&s->to) && !walk_failed(s->w))
        snprintf(s->w->failure, sizeof(s->w->failure), "the destination: %.480s", s->to.failure);
    if (walk_failed(s->w) && !walk_failed(&s->to))
        memcpy(s->to.failure, s->w->failure, sizeof(s->to.failure));
}

/* All of guest memory, Bus Master and INTx, as a VMM gives them to a device. */
static void give_resources(struct walk *w)
{
    for (unsigned i = 0; i < GUEST_PARTS && !walk_failed(w); i++) {
        const struct guest_part *part = guest_part(w->guest, i);

        walk_expect_err(w, "DMA_MAP", 0,
                        client_dma_map(w->client, part->iova, GUEST_PART_SIZE, part->flags,
                                       part->fd, part->offset));
    }
    if (w->intx < 0)
        w->intx = walk_eventfd(w);
    walk_assign(w, "INTx: assigning an eventfd", VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &w->intx);
}

/*
 * The steps
 */

static void fill_bar1(struct walk *w, uint8_t *data, uint32_t size)
{
    uint64_t end = w->region_size[BAR1];

    for (uint64_t at = 0; at < end && !walk_failed(w); at += size) {
        uint32_t n = end - at < size ? (uint32_t)(end - at) : size;

        walk_pattern(data, n, (uint32_t)(at >> 12) + 77);
        walk_bar1_write(w, at, data, n);
    }
}

static void step_arm(struct scenario *s)
{
    struct walk *w = s->w;

    give_resources(w);
    walk_command(w, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
    fill_bar1(w, s->data, s->data_size);
    walk_put32(w, REG_DOORBELL, DOORBELL);
    walk_put64(w, REG_DMA_IOVA, 0x123456789a);
    s->rings = walk_get32(w, REG_DOORBELL_COUNT);
    s->irq_count = walk_get64(w, REG_IRQ_COUNT);
    s->deadline = walk_now() + s->options->deadline_ms * NS_PER_MS;
    walk_put64(w, REG_TIMER_NSEC, (uint64_t)s->deadline);
    walk_say(w, "BAR1 filled, memory mapped, an interrupt armed %u ms ahead",
             s->options->deadline_ms);
}

static void connect_destination(struct scenario *s)
{
    char *path = NULL;
    int err = asprintf(&path, "%s.destination", s->w->socket_path) < 0 ? -ENOMEM : 0;

    if (err == 0)
        err = server_start(s->options->command, path, &s->server);
    if (err != 0) {
        walk_fail(s->w, path, "a server to start there", "%s", strerror(-err));
    } else {
        err = server_connect(&s->server, &s->to.client);
        if (err != 0)
            walk_fail(s->w, path, "a server to listen there", "%s",
                      err == -ECHILD ? "its end" : strerror(-err));
        else
            walk_attach(&s->to);
    }
    free(path);
}

/* The same device, as far as a client can tell. */
static void compare_devices(struct walk *w, struct walk *to)
{
    for (uint64_t at = 0; at < 64 && !walk_failed(to); at += 2) {
        if (at != PCI_COMMAND && at != PCI_STATUS && (at < 0x10 || at >= 0x28))
            walk_expect(to, "its configuration space", walk_config_get16(w, at),
                        walk_config_get16(to, at));
    }
    for (unsigned i = 0; i < VFIO_PCI_NUM_REGIONS; i++)
        walk_expect(to, "size of a region", w->region_size[i], to->region_size[i]);
    for (unsigned i = 0; i < VFIO_PCI_NUM_IRQS; i++)
        walk_expect(to, "vectors of a kind", w->irq_vectors[i], to->irq_vectors[i]);
}

static void step_destination(struct scenario *s)
{
    struct walk *to = &s->to;

    connect_destination(s);
    share_failure(s);
    if (walk_failed(to))
        return;
    step_version(to);
    if (!walk_failed(to) && !walk_offers_migration(to))
        walk_fail(to, "VERSION", "migration", "none");
    step_info(to);
    step_regions(to);
    step_irq_info(to);
    compare_devices(s->w, to);
    if (to->server.max_data_xfer_size < s->data_size)
        s->data_size = (uint32_t)to->server.max_data_xfer_size;
    walk_set_state(to, VFIO_DEVICE_STATE_RESUMING);
    if (s->server.pid > 0)
        walk_say(s->w, "started as process %d, the same device; RESUMING", (int)s->server.pid);
}

/* Copies one reply to the destination. Returns its length, 0 for none. */
static uint32_t copy_once(struct scenario *s, bool drop)
{
    int n;
    int err;

    if (walk_failed(s->w))
        return 0;
    if (s->writer != NULL)
        writer_lock(s->writer);
    n = client_mig_read(s->w->client, s->data, s->data_size);
    if (s->writer != NULL)
        writer_unlock(s->writer);
    if (n < 0)
        walk_expect_err(s->w, "MIG_DATA_READ", 0, n);
    if (n <= 0 || drop)
        return n > 0 ? (uint32_t)n : 0;
    err = client_mig_write(s->to.client, s->data, (uint32_t)n);
    if (err != 0)
        walk_expect_err(&s->to, "MIG_DATA_WRITE", 0, err);
    return (uint32_t)n;
}

/* A reply that is not full says that there is no more for now. */
static uint64_t copy_round(struct scenario *s, bool drop)
{
    uint64_t most = s->w->region_size[BAR1] + ROUND_EXTRA;
    uint64_t sum = 0;
    uint32_t n;

    do {
        n = copy_once(s, drop);
        sum += n;
    } while (n == s->data_size && sum < most && !walk_failed(&s->to));
    return sum;
}

static void copy_rounds(struct scenario *s)
{
    while (s->rounds < s->options->rounds && !walk_failed(s->w)) {
        uint64_t n = copy_round(s, s->options->drop_pre_copy);

        s->before += n;
        s->rounds++;
        if (n == 0)
            break;
    }
}

static void step_pre_copy(struct scenario *s)
{
    uint64_t flags = 0;
    int err;

    walk_expect_err(s->w, "GET of MIGRATION", 0, feature_get_migration(s->w->client, &flags));
    if (!walk_failed(s->w) && s->options->rounds > 0 && (flags & VFIO_USER_MIGRATION_PRE_COPY) != 0)
        walk_set_state(s->w, VFIO_USER_DEVICE_STATE_PRE_COPY);
    else
        flags = 0;
    err = walk_failed(s->w) ? 0 : writer_start(s->w, &s->writer);
    walk_expect_err(s->w, "starting a thread", 0, err);
    if (walk_failed(s->w))
        return;
    if (flags != 0) {
        copy_rounds(s);
        walk_say(s->w, "%llu bytes in %u rounds%s, a thread writing BAR1 all the time",
                 (unsigned long long)s->before, s->rounds,
                 s->options->drop_pre_copy ? " thrown away" : "");
    } else {
        walk_pause(&s->to, 50); /* something to be written */
        walk_say(s->w, "left out: %s", s->options->rounds == 0 ? "not wanted" : "not offered");
    }
}

static void step_stop_copy(struct scenario *s)
{
    struct walk *w = s->w;
    int64_t began;
    uint32_t n;

    s->stopped_at = walk_now();
    walk_expect_err(w, "writing BAR1 by message", 0, writer_stop(s->writer));
    if (s->deadline <= s->stopped_at)
        walk_fail(w, "the deadline when the guest stops", "one ahead (see --deadline)",
                  "one %lld ms ago", (long long)((s->stopped_at - s->deadline) / NS_PER_MS));
    walk_set_state(w, VFIO_DEVICE_STATE_STOP_COPY);
    do {
        n = copy_once(s, false);
        s->after += n;
    } while (n > 0 && !walk_failed(&s->to));
    began = walk_now();
    s->checksum = walk_bar1_checksum(w);
    s->comparing += walk_now() - began;
    walk_set_state(w, VFIO_DEVICE_STATE_STOP);
    walk_say(w, "BAR1 written %llu times through the mapping and %llu times by message; %llu bytes",
             (unsigned long long)writer_mapped(s->writer),
             (unsigned long long)writer_messages(s->writer), (unsigned long long)s->after);
}

/* The source is stopped, and the destination does not run yet. */
static void wait_until_late(struct scenario *s)
{
    while (!walk_failed(&s->to) && walk_now() < s->deadline + LATE_MS * NS_PER_MS)
        walk_pause(&s->to, LATE_MS);
    walk_say(s->w, "the deadline has passed meanwhile");
}

static void step_compare(struct scenario *s)
{
    struct walk *to = &s->to;
    int64_t began;

    walk_set_state(to, VFIO_DEVICE_STATE_STOP);
    began = walk_now();
    walk_expect(to, "crc32 of BAR1", s->checksum, walk_bar1_checksum(to));
    writer_check(s->writer, to);
    walk_expect(to, "DOORBELL", DOORBELL, walk_get32(to, REG_DOORBELL));
    walk_expect(to, "DOORBELL_COUNT", s->rings, walk_get32(to, REG_DOORBELL_COUNT));
    walk_expect(to, "DMA_IOVA", 0x123456789a, walk_get64(to, REG_DMA_IOVA));
    walk_expect(to, "Bus Master", PCI_COMMAND_MASTER,
                walk_config_get16(to, PCI_COMMAND) & PCI_COMMAND_MASTER);
    walk_say(s->w, "BAR1 is the same at the destination, crc32 %08x, and registers are",
             s->checksum);
    if (s->options->late)
        wait_until_late(s);
    s->comparing += walk_now() - began;
}

static void step_switch(struct scenario *s)
{
    give_resources(&s->to);
    walk_expect_quiet(&s->to, "INTx of a device that is stopped", s->to.intx);
    walk_set_state(&s->to, VFIO_DEVICE_STATE_RUNNING);
    s->blackout = walk_now() - s->stopped_at - s->comparing;
    walk_say(s->w, "memory mapped, interrupt assigned, RUNNING: %lld us after the guest stopped",
             (long long)(s->blackout / 1000));
}

static void step_end_source(struct scenario *s)
{
    struct walk *w = s->w;
    int status;

    walk_expect_quiet(w, "the source's interrupt", w->intx);
    if (walk_failed(w))
        return;
    client_free(w->client);
    w->client = NULL;
    if (s->source->pid == 0) {
        walk_say(w, "its connection is closed; it was not started here, and goes on");
        return;
    }
    status = server_end(s->source);
    if (status < 0)
        walk_fail(w, "the source after SIGTERM", "its end with status 0", "%s", strerror(-status));
    else
        walk_expect(w, "exit status of the source after SIGTERM", 0, (uint64_t)status);
    walk_say(w, "its connection is closed; it ended with status 0 after SIGTERM");
}

/* Without a connection to the source from here on. */
static void step_interrupt(struct scenario *s)
{
    struct walk *to = &s->to;
    int64_t left = s->deadline - walk_now();
    int64_t fired;

    if (left > 0)
        walk_pause(to, (int)(left / NS_PER_MS / 2)); /* not before its time either */
    if (left > 0 && walk_now() < s->deadline)
        walk_expect_quiet(to, "the interrupt before its deadline", to->intx);
    walk_expect_irq_within(to, "the interrupt that was armed on the source", to->intx,
                           (int)(left > 0 ? left / NS_PER_MS : 0) + WALK_IRQ_TIMEOUT_MS);
    fired = (int64_t)walk_get64(to, REG_FIRED_NSEC);
    walk_expect(to, "IRQ_STATUS", IRQ_TIMER, walk_get32(to, REG_IRQ_STATUS));
    walk_pause(to, QUIET_MS);
    walk_expect_quiet(to, "the interrupt a second time", to->intx);
    walk_expect_quiet(s->w, "the source's interrupt", s->w->intx);
    walk_expect(to, "IRQ_COUNT", s->irq_count + 1, walk_get64(to, REG_IRQ_COUNT));
    if (!walk_failed(to) && fired < s->deadline)
        walk_fail(to, "FIRED_NSEC", "a time behind the deadline", "%lld ns before it",
                  (long long)(s->deadline - fired));
    walk_acknowledge(to);
    walk_say(s->w, "it came from the destination, once, %lld us after its deadline",
             (long long)((fired - s->deadline) / 1000));
}

static void step_end_destination(struct scenario *s)
{
    int status;

    if (!walk_failed(&s->to))
        walk_expect_err(&s->to, "DEVICE_RESET", 0, client_reset(s->to.client));
    if (walk_failed(&s->to))
        return;
    client_free(s->to.client);
    s->to.client = NULL;
    status = server_end(&s->server);
    if (status < 0)
        walk_fail(s->w, "the destination after SIGTERM", "its end with status 0", "%s",
                  strerror(-status));
    else
        walk_expect(s->w, "exit status of the destination after SIGTERM", 0, (uint64_t)status);
    walk_say(s->w, "still serves; it ended with status 0 after SIGTERM");
}

/*
 * The run
 */

static const struct {
    const char *name;
    void (*run)(struct scenario *s);
} steps[] = {
    { "source", step_arm },
    { "destination", step_destination },
    { "PRE_COPY", step_pre_copy },
    { "STOP_COPY", step_stop_copy },
    { "comparing", step_compare },
    { "switching over", step_switch },
    { "source's end", step_end_source },
    { "the interrupt", step_interrupt },
    { "destination's end", step_end_destination },
};

static int run_steps(struct scenario *s)
{
    const unsigned n = sizeof(steps) / sizeof(steps[0]);
    struct walk *w = s->w;

    for (unsigned i = 0; i < n; i++) {
        walk_begin(w, w->step + 1, steps[i].name);
        steps[i].run(s);
        walk_expect_no_fds(w);
        walk_expect_no_fds(&s->to);
        share_failure(s);
        fflush(stdout);
        if (walk_failed(w)) {
            fprintf(stderr, "vfu-client: step %u, %s: %s\n", w->step, w->name, w->failure);
            return -1;
        }
    }
    printf("vfu-client: migrated: %llu bytes before the stop in %u rounds, %llu after it, "
           "blackout %.3f ms\n",
           (unsigned long long)s->before, s->rounds, (unsigned long long)s->after,
           (double)s->blackout / 1e6);
    return (int)n;
}

int scenario_run(struct walk *w, struct server *source, const struct scenario_options *options)
{
    struct scenario s = { .options = options, .w = w, .source = source };
    int n = -1;

    walk_init(&s.to);
    s.to.quiet = true;
    s.to.no_fds = w->no_fds;
    s.to.twin = w->twin;
    s.to.messages = w->no_fds;
    s.to.guest = w->guest;
    s.data_size = (uint32_t)w->server.max_data_xfer_size;
    s.data = malloc(s.data_size);
    if (s.data == NULL)
        fprintf(stderr, "vfu-client: %s\n", strerror(ENOMEM));
    else if (!walk_offers_migration(w))
        fprintf(stderr, "vfu-client: %s: the server does not offer migration\n", w->socket_path);
    else
        n = run_steps(&s);
    writer_free(s.writer);
    s.to.guest = NULL; /* stays w's */
    walk_fini(&s.to);
    server_fini(&s.server);
    free(s.data);
    return n;
}
