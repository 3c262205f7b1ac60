/* SPDX-License-Identifier: BSD-3-Clause */
/* The steps with DEVICE_FEATURE, the states of migration, its data, and the dirty log. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "feature.h"
#include "registers.h"
#include "steps.h"

#define BAR1      VFIO_PCI_BAR1_REGION_INDEX
#define GET       VFIO_DEVICE_FEATURE_GET
#define SET       VFIO_DEVICE_FEATURE_SET
#define PROBE     VFIO_DEVICE_FEATURE_PROBE
#define MIGRATION VFIO_DEVICE_FEATURE_MIGRATION
#define STATE     VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE
#define LOG_START VFIO_DEVICE_FEATURE_DMA_LOGGING_START
#define LOG_STOP  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP
#define REPORT    VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT

#define STOP         VFIO_DEVICE_STATE_STOP
#define RUNNING      VFIO_DEVICE_STATE_RUNNING
#define STOP_COPY    VFIO_DEVICE_STATE_STOP_COPY
#define RESUMING     VFIO_DEVICE_STATE_RESUMING
#define PRE_COPY_P2P 7u /* this header has no name for it */
#define PRE_COPY     VFIO_USER_DEVICE_STATE_PRE_COPY

#define PAGE           4096u
#define UNKNOWN        99u
#define NS_PER_MS      1000000ll
#define DEADLINE_MS    50
#define STREAM_MAX     (64u << 20) /* of BAR1, for the step that keeps a whole stream */
#define STREAM_EXTRA   (1u << 20)
#define DOORBELL_SAVED 0x5a5ed

static bool left_out(struct walk *w)
{
    if (walk_offers_migration(w))
        return false;
    walk_say(w, "left out: not negotiated");
    return true;
}

/*
 * DEVICE_FEATURE
 */

/* With flags and room that no function of client.h would send. */
static void expect_refused(struct walk *w, const char *what, uint32_t flags, uint32_t argsz,
                           const void *data, size_t len, int expected)
{
    const struct vfio_device_feature feature = { .argsz = argsz, .flags = flags };
    struct client_call call = { .command = VFIO_USER_DEVICE_FEATURE,
                                .fixed = &feature,
                                .fixed_len = sizeof(feature),
                                .data = data,
                                .data_len = len };

    if (!walk_failed(w))
        walk_expect_err(w, what, expected, client_call(w->client, &call));
}

static void expect_probe(struct walk *w, const char *what, uint32_t flags, int expected)
{
    if (!walk_failed(w))
        walk_expect_err(w, what, expected, client_feature_probe(w->client, flags));
}

static void probe_all(struct walk *w)
{
    expect_probe(w, "PROBE of MIGRATION", MIGRATION | GET, 0);
    expect_probe(w, "PROBE of MIG_DEVICE_STATE", STATE | GET | SET, 0);
    expect_probe(w, "PROBE of DMA_LOGGING_START", LOG_START | SET, 0);
    expect_probe(w, "PROBE of DMA_LOGGING_STOP", LOG_STOP | SET, 0);
    expect_probe(w, "PROBE of DMA_LOGGING_REPORT", REPORT | GET, 0);
    expect_probe(w, "PROBE of MIGRATION without a method", MIGRATION, 0);
    expect_probe(w, "PROBE of SET of MIGRATION", MIGRATION | SET, -EINVAL);
    expect_probe(w, "PROBE of an unknown feature", UNKNOWN | GET, -ENOTTY);
}

static void refuse_features(struct walk *w)
{
    const uint32_t head = sizeof(struct vfio_device_feature);
    const uint64_t flags = 0;

    expect_refused(w, "GET of an unknown feature", UNKNOWN | GET, head + 8, NULL, 0, -ENOTTY);
    expect_refused(w, "GET and SET in one", STATE | GET | SET, head + 8, NULL, 0, -EINVAL);
    expect_refused(w, "a feature without a method", STATE, head + 8, NULL, 0, -EINVAL);
    expect_refused(w, "SET of MIGRATION", MIGRATION | SET, head + 8, &flags, 8, -EINVAL);
    expect_refused(w, "GET of MIGRATION without room", MIGRATION | GET, head, NULL, 0, -EINVAL);
    expect_refused(w, "SET of MIG_DEVICE_STATE without one", STATE | SET, head, NULL, 0, -EINVAL);
}

void step_feature(struct walk *w)
{
    uint64_t flags = 0;

    if (left_out(w))
        return;
    probe_all(w);
    refuse_features(w);
    if (!walk_failed(w))
        walk_expect_err(w, "GET of MIGRATION", 0, feature_get_migration(w->client, &flags));
    walk_expect(w, "STOP_COPY among the flags of MIGRATION", VFIO_MIGRATION_STOP_COPY,
                flags & VFIO_MIGRATION_STOP_COPY);
    walk_say(w, "MIGRATION (STOP_COPY%s), MIG_DEVICE_STATE, DMA_LOGGING are there",
             (flags & VFIO_USER_MIGRATION_PRE_COPY) != 0 ? ", PRE_COPY" : "");
    walk_say(w, "unknown: ENOTTY; no method, or a wrong one, or no room: EINVAL");
}

/*
 * States
 */

static void expect_state(struct walk *w, uint32_t expected)
{
    uint32_t state = UINT32_MAX;

    if (walk_failed(w))
        return;
    walk_expect_err(w, "GET of MIG_DEVICE_STATE", 0, client_mig_get_state(w->client, &state));
    if (!walk_failed(w) && state != expected)
        walk_fail(w, "MIG_DEVICE_STATE", feature_state_name(expected), "%s (%u)",
                  feature_state_name(state), state);
}

static void set_state(struct walk *w, uint32_t state)
{
    walk_set_state(w, state);
    expect_state(w, state);
}

/* It must be refused, and nothing change. */
static void refuse_state(struct walk *w, uint32_t from, uint32_t state)
{
    char what[96];

    if (walk_failed(w))
        return;
    snprintf(what, sizeof(what), "SET of MIG_DEVICE_STATE to %s (%u) from %s",
             feature_state_name(state), state, feature_state_name(from));
    walk_expect_err(w, what, -EINVAL, client_mig_set_state(w->client, state));
    expect_state(w, from);
}

static void expect_no_data(struct walk *w)
{
    uint8_t data[PAGE] = { 0 };

    if (!walk_failed(w))
        walk_expect_err(w, "MIG_DATA_READ in a state without data", -EINVAL,
                        client_mig_read(w->client, data, sizeof(data)));
    if (!walk_failed(w))
        walk_expect_err(w, "MIG_DATA_WRITE in a state without data", -EINVAL,
                        client_mig_write(w->client, data, sizeof(data)));
}

/* The way out of where no other leads out. */
static void reset_to_running(struct walk *w)
{
    if (!walk_failed(w))
        walk_expect_err(w, "DEVICE_RESET", 0, client_reset(w->client));
    expect_state(w, RUNNING);
    walk_command(w, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
}

/* BARs can be read and not written; configuration space can be both. */
static void expect_stopped(struct walk *w)
{
    uint32_t doorbells = walk_get32(w, REG_DOORBELL_COUNT);
    uint32_t value = 0;

    if (!walk_failed(w))
        walk_expect_err(
            w, "a write of BAR0 of a stopped device", -EBUSY,
            client_region_write(w->client, VFIO_PCI_BAR0_REGION_INDEX, REG_DOORBELL, &value, 4));
    if (!walk_failed(w))
        walk_expect_err(w, "a write of BAR1 of a stopped device", -EBUSY,
                        client_region_write(w->client, BAR1, 0, &value, 4));
    walk_expect(w, "DOORBELL_COUNT of a stopped device", doorbells,
                walk_get32(w, REG_DOORBELL_COUNT));
    walk_command(w, 0, PCI_COMMAND_INTX_DISABLE);
}

/* The deadline passes while the device is stopped. */
static void try_stop(struct walk *w)
{
    walk_ready_intx(w);
    walk_put64(w, REG_TIMER_NSEC, (uint64_t)(walk_now() + DEADLINE_MS * NS_PER_MS));
    set_state(w, STOP);
    set_state(w, STOP);
    expect_no_data(w);
    expect_stopped(w);
    walk_pause(w, 2 * DEADLINE_MS);
    walk_expect_quiet(w, "the timer of a stopped device", w->intx);
    set_state(w, RUNNING);
    walk_expect_irq(w, "the deadline that passed while the device was stopped", w->intx);
    walk_expect(w, "IRQ_STATUS when it runs again", IRQ_TIMER, walk_get32(w, REG_IRQ_STATUS));
    walk_acknowledge(w);
}

void step_migration_states(struct walk *w)
{
    static const uint32_t never[] = { VFIO_DEVICE_STATE_ERROR, VFIO_DEVICE_STATE_RUNNING_P2P,
                                      PRE_COPY_P2P, UNKNOWN };
    /* Each by the shortest way from that before. */
    static const uint32_t tour[] = { STOP_COPY, RUNNING, STOP, STOP_COPY, RESUMING };
    uint64_t flags = 0;

    if (left_out(w))
        return;
    walk_expect_err(w, "GET of MIGRATION", 0, feature_get_migration(w->client, &flags));
    expect_state(w, RUNNING);
    expect_no_data(w);
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        refuse_state(w, RUNNING, never[i]);
    try_stop(w);
    walk_say(w, "STOP: BARs are read-only (EBUSY), the timer waits and fires in RUNNING, once");
    for (size_t i = 0; i < sizeof(tour) / sizeof(tour[0]); i++)
        set_state(w, tour[i]);
    reset_to_running(w);
    if ((flags & VFIO_USER_MIGRATION_PRE_COPY) != 0) {
        set_state(w, PRE_COPY);
        walk_put32(w, REG_DOORBELL, 1);
        set_state(w, STOP_COPY);
        refuse_state(w, STOP_COPY, PRE_COPY);
        set_state(w, RUNNING);
    }
    walk_say(w,
             "the others by the shortest way; P2P, ERROR, unknown, STOP_COPY to PRE_COPY: EINVAL");
}

/*
 * Data
 */

struct kept {
    uint8_t *data;
    size_t len;
    size_t size;
};

static void read_all(struct walk *w, struct kept *kept)
{
    uint32_t most = (uint32_t)w->server.max_data_xfer_size;
    int n = 1;

    while (!walk_failed(w) && n > 0) {
        size_t left = kept->size - kept->len;

        n = client_mig_read(w->client, kept->data + kept->len, left < most ? (uint32_t)left : most);
        if (n < 0)
            walk_expect_err(w, "MIG_DATA_READ", 0, n);
        else
            kept->len += (size_t)n;
        if (kept->len == kept->size)
            walk_fail(w, "the device's state", "an end", "%zu bytes and more", kept->len);
    }
}

/* In pieces that have nothing to do with how it was read. */
static int write_all(struct walk *w, const struct kept *kept)
{
    uint32_t most = (uint32_t)w->server.max_data_xfer_size;
    uint32_t piece = 777;
    int err = 0;

    for (size_t at = 0; err == 0 && at < kept->len; at += piece) {
        piece = piece * 2 < most ? piece * 2 + 1 : most;
        if (piece > kept->len - at)
            piece = (uint32_t)(kept->len - at);
        err = client_mig_write(w->client, kept->data + at, piece);
    }
    return err;
}

static void save(struct walk *w, struct kept *kept)
{
    walk_put32(w, REG_DOORBELL, DOORBELL_SAVED);
    set_state(w, STOP_COPY);
    read_all(w, kept);
    set_state(w, RUNNING);
}

static void load(struct walk *w, const struct kept *kept)
{
    uint32_t before = walk_bar1_checksum(w);
    uint8_t other[64];

    walk_pattern(other, sizeof(other), 4711);
    walk_bar1_write(w, 1000, other, sizeof(other));
    walk_put32(w, REG_DOORBELL, 1);
    set_state(w, RESUMING);
    if (!walk_failed(w))
        walk_expect_err(w, "MIG_DATA_WRITE", 0, write_all(w, kept));
    set_state(w, STOP);
    walk_expect(w, "DOORBELL as saved", DOORBELL_SAVED, walk_get32(w, REG_DOORBELL));
    walk_expect(w, "crc32 of BAR1 as saved", before, walk_bar1_checksum(w));
    set_state(w, RUNNING);
}

/* One bit is enough; whether at once or at the end, the server must say so, and keep what it has.
 */
static void load_damaged(struct walk *w, struct kept *kept)
{
    uint32_t before = walk_bar1_checksum(w);
    int err;

    set_state(w, RESUMING);
    if (walk_failed(w))
        return;
    kept->data[kept->len / 2] ^= 0x10;
    err = write_all(w, kept);
    if (err != 0)
        walk_expect_err(w, "MIG_DATA_WRITE of damaged data", -EINVAL, err);
    if (!walk_failed(w))
        walk_expect_err(w, "STOP after damaged data", -EINVAL,
                        client_mig_set_state(w->client, STOP));
    expect_state(w, VFIO_DEVICE_STATE_ERROR);
    refuse_state(w, VFIO_DEVICE_STATE_ERROR, RUNNING);
    walk_expect(w, "crc32 of BAR1 after damaged data", before, walk_bar1_checksum(w));
    reset_to_running(w);
}

void step_migration_data(struct walk *w)
{
    struct kept kept = { .size = w->region_size[BAR1] + STREAM_EXTRA };

    if (left_out(w))
        return;
    if (kept.size > STREAM_MAX) {
        walk_say(w, "left out: BAR1 is large, and all of it would be kept here");
        return;
    }
    kept.data = malloc(kept.size);
    if (kept.data == NULL) {
        walk_expect_err(w, "memory", 0, -ENOMEM);
        return;
    }
    save(w, &kept);
    load(w, &kept);
    walk_say(w, "%zu bytes read in STOP_COPY; written in RESUMING: BAR1 and doorbell as then",
             kept.len);
    load_damaged(w, &kept);
    walk_say(w, "with one bit flipped: EINVAL, ERROR, nothing changed; RUNNING after a reset");
    free(kept.data);
}

/*
 * The dirty log
 */

static void expect_report(struct walk *w, const char *what, uint64_t page_size, uint64_t expected)
{
    const struct guest_part *low = guest_part(w->guest, GUEST_LOW);
    uint64_t bitmap = 0;

    if (!walk_failed(w))
        walk_expect_err(
            w, what, 0,
            feature_log_report(w->client, low->iova, GUEST_PART_SIZE, page_size, &bitmap));
    walk_expect(w, what, expected, bitmap);
}

static void refuse_log(struct walk *w, bool on)
{
    uint64_t page_size = PAGE;
    uint64_t bitmap[1];

    if (on) {
        walk_expect_err(w, "starting the dirty log again", -EBUSY,
                        feature_log_start(w->client, &page_size, 0, 0));
        return;
    }
    walk_expect_err(w, "stopping the dirty log, which is off", -EINVAL,
                    feature_log_stop(w->client));
    if (!walk_failed(w))
        walk_expect_err(w, "a report of the dirty log, which is off", -EINVAL,
                        feature_log_report(w->client, 0, PAGE, PAGE, bitmap));
}

static void start_log(struct walk *w, uint64_t iova, uint64_t length)
{
    uint64_t page_size = PAGE;

    if (!walk_failed(w))
        walk_expect_err(w, "starting the dirty log", 0,
                        feature_log_start(w->client, &page_size, iova, length));
    walk_expect(w, "page size of the dirty log", PAGE, page_size);
}

static void stop_log(struct walk *w)
{
    if (!walk_failed(w))
        walk_expect_err(w, "stopping the dirty log", 0, feature_log_stop(w->client));
}

void step_dirty_log(struct walk *w)
{
    const struct guest_part *low = guest_part(w->guest, GUEST_LOW);
    const struct guest_part *unshared = guest_part(w->guest, GUEST_UNSHARED);

    if (left_out(w))
        return;
    refuse_log(w, false);
    start_log(w, low->iova, GUEST_PART_SIZE);
    refuse_log(w, true);
    transfers_to_guest(w, low->iova + 3 * PAGE - 8, 16);
    transfers_to_guest(w, unshared->iova, 16);
    expect_report(w, "two pages written", PAGE, 0xc);
    expect_report(w, "what is reported a second time", PAGE, 0);
    transfers_to_guest(w, low->iova + 9 * PAGE, 16);
    expect_report(w, "a page written, by 16 KiB", 4 * PAGE, 0x4);
    stop_log(w);
    walk_say(w, "of one range: pages written by the engine are reported, once, by 4 or 16 KiB");
    start_log(w, 0, 0);
    transfers_to_guest(w, low->iova + 5 * PAGE, 16);
    expect_report(w, "a page written, all logged", PAGE, 0x20);
    stop_log(w);
    refuse_log(w, false);
    walk_say(w, "of everything; starting twice: EBUSY; off, stopping and reporting: EINVAL");
}
