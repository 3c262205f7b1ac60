/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The steps with guest memory and the DMA engine. They leave the first pages of the first two parts
 * alone: a device with the self-test DMA writes there after each timer interrupt.
 */
#include <endian.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>

#include "registers.h"
#include "steps.h"

#define LENGTH        3000u  /* fits the smallest BAR1, and is not aligned */
#define INSIDE        0x2004 /* where in a part transfers go */
#define UNMAPPED_IOVA 0x7fff0000ull

/*
 * DMA_MAP
 */

static void map_part(struct walk *w, const struct guest_part *part, int expected)
{
    char what[64];

    if (walk_failed(w))
        return;
    snprintf(what, sizeof(what), "DMA_MAP of part \"%s\"", part->name);
    walk_expect_err(w, what, expected,
                    client_dma_map(w->client, part->iova, GUEST_PART_SIZE, part->flags, part->fd,
                                   part->offset));
}

void step_dma_map(struct walk *w)
{
    const struct guest_part *low = guest_part(w->guest, GUEST_LOW);
    struct guest_part over = *low;

    for (unsigned i = 0; i < GUEST_PARTS; i++) {
        const struct guest_part *part = guest_part(w->guest, i);

        map_part(w, part, 0);
        walk_say(w, "0x%09llx: 64 KiB, %s", (unsigned long long)part->iova,
                 part->fd < 0                                   ? "by message"
                 : (part->flags & VFIO_DMA_MAP_FLAG_WRITE) == 0 ? "shared, read-only"
                                                                : "shared");
    }
    map_part(w, low, -EEXIST);
    over.iova -= GUEST_PART_SIZE / 2;
    map_part(w, &over, -EEXIST);
    walk_say(w, "mapping over one of them: EEXIST");
}

/*
 * The engine
 */

/* Writes the engine's registers but the last, with a level that is low. */
static void prepare(struct walk *w, uint64_t iova, uint64_t offset, uint32_t length)
{
    walk_ready_intx(w);
    walk_put64(w, REG_DMA_IOVA, iova);
    walk_put64(w, REG_DMA_OFFSET, offset);
    walk_put32(w, REG_DMA_LENGTH, length);
}

/* Waits for the transfer's end, serving messages, and checks its outcome, 0 or -errno. */
static void finish(struct walk *w, const char *what, int err)
{
    walk_expect_irq(w, what, w->intx);
    walk_expect(w, what, err == 0 ? 0 : DMA_FAILED + (uint32_t)-err,
                walk_get32(w, REG_DMA_CONTROL));
    walk_expect(w, "IRQ_STATUS after a transfer", IRQ_DMA, walk_get32(w, REG_IRQ_STATUS));
    walk_acknowledge(w);
}

static void transfer(struct walk *w, const char *what, uint32_t command, uint64_t iova, int err)
{
    prepare(w, iova, 0, LENGTH);
    walk_put32(w, REG_DMA_CONTROL, command);
    finish(w, what, err);
}

void transfers_to_guest(struct walk *w, uint64_t iova, uint32_t length)
{
    prepare(w, iova, 0, length);
    walk_put32(w, REG_DMA_CONTROL, DMA_BAR1_TO_GUEST);
    finish(w, "a transfer from BAR1 to guest memory", 0);
}

/* Guest memory to BAR1 and, with other bytes, back. */
static void both_ways(struct walk *w, uint64_t iova)
{
    uint8_t *guest = guest_at(w->guest, iova, LENGTH);
    uint8_t bar1[LENGTH];

    if (walk_failed(w))
        return;
    walk_pattern(guest, LENGTH, (uint32_t)iova);
    transfer(w, "a transfer from guest memory to BAR1", DMA_GUEST_TO_BAR1, iova, 0);
    walk_bar1_read(w, 0, bar1, LENGTH);
    walk_expect_bytes(w, "BAR1 after a transfer from guest memory", guest, bar1, LENGTH);
    walk_pattern(bar1, LENGTH, (uint32_t)~iova);
    walk_bar1_write(w, 0, bar1, LENGTH);
    transfer(w, "a transfer from BAR1 to guest memory", DMA_BAR1_TO_GUEST, iova, 0);
    walk_expect_bytes(w, "guest memory after a transfer from BAR1", bar1, guest, LENGTH);
}

static uint64_t iova_in(const struct walk *w, enum guest_part_index i)
{
    return guest_part(w->guest, i)->iova + INSIDE;
}

void step_bus_master(struct walk *w)
{
    walk_command(w, PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER);
    transfer(w, "a transfer without Bus Master", DMA_GUEST_TO_BAR1, iova_in(w, GUEST_LOW), -ENODEV);
    walk_command(w, PCI_COMMAND_MASTER, 0);
    walk_say(w, "DMA_CONTROL reads 0x80000000 + ENODEV; Bus Master is on from here");
}

void step_dma_shared(struct walk *w)
{
    uint64_t messages = guest_messages(w->guest);

    both_ways(w, iova_in(w, GUEST_LOW));
    both_ways(w, iova_in(w, GUEST_SECOND));
    both_ways(w, iova_in(w, GUEST_HIGH));
    walk_say(w, "%u bytes there and back in three %s, %llu messages", LENGTH,
             w->no_fds ? "parts, none shared" : "shared parts",
             (unsigned long long)(guest_messages(w->guest) - messages));
}

/* A second command while the first waits for our answer, which is not given before. */
static void try_busy(struct walk *w)
{
    const struct vfio_user_region_access access = { .offset = REG_DMA_CONTROL,
                                                    .region = VFIO_PCI_BAR0_REGION_INDEX,
                                                    .count = 4 };
    const uint32_t command = htole32(DMA_GUEST_TO_BAR1);
    struct client_call call = { .command = VFIO_USER_REGION_WRITE,
                                .fixed = &access,
                                .fixed_len = sizeof(access),
                                .data = &command,
                                .data_len = sizeof(command) };
    int first;
    int second;

    prepare(w, iova_in(w, GUEST_UNSHARED), 0, LENGTH);
    if (walk_failed(w))
        return;
    first = client_send(w->client, &call);
    second = client_send(w->client, &call);
    walk_expect_err(w, "sending", 0, first < 0 ? first : second < 0 ? second : 0);
    if (walk_failed(w))
        return;
    walk_expect_err(w, "a transfer by message", 0, client_wait(w->client, (uint16_t)first, &call));
    if (!walk_failed(w))
        walk_expect_err(w, "a transfer started while another runs", -EBUSY,
                        client_wait(w->client, (uint16_t)second, &call));
    finish(w, "the transfer that ran", 0);
}

void step_dma_message(struct walk *w)
{
    uint64_t messages = guest_messages(w->guest);

    both_ways(w, iova_in(w, GUEST_UNSHARED));
    messages = guest_messages(w->guest) - messages;
    if (messages < 2)
        walk_fail(w, "DMA_READ and DMA_WRITE messages", "two at least", "%llu",
                  (unsigned long long)messages);
    walk_say(w, "%u bytes there and back, %llu messages served", LENGTH,
             (unsigned long long)messages);
    try_busy(w);
    walk_say(w, "a second transfer while one runs: EBUSY, and the first completes");
}

void step_dma_across(struct walk *w)
{
    both_ways(w, guest_part(w->guest, GUEST_SECOND)->iova - LENGTH / 2);
    both_ways(w, guest_part(w->guest, GUEST_UNSHARED)->iova - LENGTH / 2);
    walk_say(w, "over the border of two %s",
             w->no_fds ? "parts, twice" : "shared parts, and from shared to unshared");
}

void step_dma_errors(struct walk *w)
{
    const struct guest_part *high = guest_part(w->guest, GUEST_HIGH);

    transfer(w, "a transfer from an address that is not mapped", DMA_GUEST_TO_BAR1, UNMAPPED_IOVA,
             -EFAULT);
    transfer(w, "a transfer that runs out of a mapping", DMA_BAR1_TO_GUEST,
             high->iova + GUEST_PART_SIZE - LENGTH / 2, -EFAULT);
    transfer(w, "a transfer to read-only memory", DMA_BAR1_TO_GUEST, iova_in(w, GUEST_READONLY),
             -EACCES);
    transfer(w, "a transfer from read-only memory", DMA_GUEST_TO_BAR1, iova_in(w, GUEST_READONLY),
             0);
    transfer(w, "an unknown DMA command", 3, iova_in(w, GUEST_LOW), -EINVAL);
    prepare(w, iova_in(w, GUEST_LOW), w->region_size[VFIO_PCI_BAR1_REGION_INDEX] - 8, 16);
    walk_put32(w, REG_DMA_CONTROL, DMA_GUEST_TO_BAR1);
    finish(w, "a transfer over the end of BAR1", -ERANGE);
    walk_say(w,
             "not mapped: EFAULT, read-only: EACCES, over BAR1's end: ERANGE, no command: EINVAL");
}

/*
 * DMA_UNMAP
 */

static void unmap(struct walk *w, const char *what, uint64_t iova, uint64_t size, uint32_t flags,
                  int expected)
{
    if (!walk_failed(w))
        walk_expect_err(w, what, expected, client_dma_unmap(w->client, iova, size, flags));
}

void step_dma_unmap(struct walk *w)
{
    const struct guest_part *low = guest_part(w->guest, GUEST_LOW);

    unmap(w, "DMA_UNMAP of a half", low->iova, GUEST_PART_SIZE / 2, 0, -ENOENT);
    unmap(w, "DMA_UNMAP", low->iova, GUEST_PART_SIZE, 0, 0);
    transfer(w, "a transfer from what was unmapped", DMA_GUEST_TO_BAR1, iova_in(w, GUEST_LOW),
             -EFAULT);
    unmap(w, "DMA_UNMAP a second time", low->iova, GUEST_PART_SIZE, 0, -ENOENT);
    walk_say(w, "one part: gone, and DMA there is EFAULT; a half, or again: ENOENT");
    unmap(w, "DMA_UNMAP of all", 0, 0, VFIO_DMA_UNMAP_FLAG_ALL, 0);
    transfer(w, "a transfer with nothing mapped", DMA_GUEST_TO_BAR1, iova_in(w, GUEST_HIGH),
             -EFAULT);
    walk_say(w, "all: gone");
}
