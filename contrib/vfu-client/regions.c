/* SPDX-License-Identifier: BSD-3-Clause */
/* The steps that try all ways to read and write BARs. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "registers.h"
#include "steps.h"

#define BAR0        VFIO_PCI_BAR0_REGION_INDEX
#define BAR1        VFIO_PCI_BAR1_REGION_INDEX
#define PAGE        4096u
#define MAX_PAGES   64u /* of BAR1, for the steps that go page by page */
#define POSTED      100u
#define IN_FLIGHT   8u
#define NO_REGISTER 0x100

/*
 * Registers
 */

static void expect_refused(struct walk *w, const char *what, uint64_t offset, uint32_t size)
{
    uint64_t data = 0;

    if (!walk_failed(w))
        walk_expect_err(w, what, -EINVAL, client_region_read(w->client, BAR0, offset, &data, size));
    if (!walk_failed(w))
        walk_expect_err(w, what, -EINVAL,
                        client_region_write(w->client, BAR0, offset, &data, size));
}

void step_registers(struct walk *w)
{
    walk_put32(w, REG_IRQ_ENABLE, 0x11223344);
    walk_expect(w, "a byte of IRQ_ENABLE", 0x22, walk_get(w, BAR0, REG_IRQ_ENABLE + 2, 1));
    walk_expect(w, "a half of IRQ_ENABLE", 0x1122, walk_get(w, BAR0, REG_IRQ_ENABLE + 2, 2));
    walk_put32(w, REG_IRQ_ENABLE, UINT32_MAX);
    walk_put64(w, REG_DMA_IOVA, 0x1111111122222222);
    walk_put32(w, REG_DMA_IOVA, 0x33333333);
    walk_expect(w, "DMA_IOVA with its low half written", 0x1111111122222222,
                walk_get64(w, REG_DMA_IOVA));
    walk_put32(w, REG_DMA_IOVA + 4, 0x44444444);
    walk_expect(w, "DMA_IOVA with both halves written", 0x4444444433333333,
                walk_get64(w, REG_DMA_IOVA));
    walk_say(w, "1, 2, 4 and 8 bytes; a 64-bit register takes effect with its high half");
    expect_refused(w, "4 bytes not aligned", REG_IRQ_STATUS + 2, 4);
    expect_refused(w, "3 bytes", REG_IRQ_STATUS, 3);
    expect_refused(w, "8 bytes over two registers", REG_IRQ_STATUS, 8);
    expect_refused(w, "4 bytes where no register is", NO_REGISTER, 4);
    expect_refused(w, "4 bytes beyond the end", 4096, 4);
    walk_put64(w, REG_DMA_IOVA, 0);
    walk_say(w, "odd sizes, bad alignment, two registers at once, no register: EINVAL");
}

/*
 * BAR1
 */

/* Where the mapping shows this offset, NULL outside of all areas. */
static uint8_t *mapped_at(const struct walk *w, uint64_t offset)
{
    for (unsigned i = 0; i < w->n_areas; i++) {
        const struct walk_area *area = &w->areas[i];

        if (offset >= area->offset && offset - area->offset < area->size)
            return area->at + (offset - area->offset);
    }
    return NULL;
}

/* One page: written by message and read both ways, then written through the mapping. */
static void try_page(struct walk *w, uint64_t offset, uint32_t seed)
{
    uint8_t *at = mapped_at(w, offset);
    uint8_t sent[PAGE];
    uint8_t got[PAGE];

    walk_pattern(sent, PAGE, seed);
    walk_bar1_write(w, offset, sent, PAGE);
    walk_bar1_read(w, offset, got, PAGE);
    walk_expect_bytes(w, "a page of BAR1 as written by message", sent, got, PAGE);
    if (at == NULL || walk_failed(w))
        return;
    walk_expect_bytes(w, "that page through the mapping", sent, at, PAGE);
    walk_pattern(at, PAGE, ~seed);
    walk_bar1_read(w, offset, got, PAGE);
    walk_expect_bytes(w, "a page of BAR1 as written through the mapping", at, got, PAGE);
}

void step_bar1_shared(struct walk *w)
{
    uint64_t pages = w->region_size[BAR1] / PAGE;
    unsigned inside = 0;
    unsigned tried = 0;

    for (uint64_t i = 0; i < pages && !walk_failed(w); i++) {
        if (i >= MAX_PAGES && i != pages - 1)
            continue;
        try_page(w, i * PAGE, (uint32_t)i + 1);
        inside += mapped_at(w, i * PAGE) != NULL;
        tried++;
    }
    walk_say(w, "%u pages by message and mapping, %u by message only: all see the same", inside,
             tried - inside);
}

static void try_large(struct walk *w, uint8_t *sent, uint8_t *got, uint64_t offset, uint32_t len)
{
    walk_pattern(sent, len, len);
    walk_bar1_write(w, offset, sent, len);
    walk_bar1_read(w, offset, got, len);
    walk_expect_bytes(w, "BAR1 written and read in one go", sent, got, len);
}

static void try_too_large(struct walk *w, uint8_t *data)
{
    uint64_t size = w->region_size[BAR1];

    if (walk_failed(w))
        return;
    walk_expect_err(w, "a read over the end of BAR1", -EINVAL,
                    client_region_read(w->client, BAR1, size - 4, data, 8));
    if (walk_failed(w))
        return;
    walk_expect_err(
        w, "a read of more than max_data_xfer_size", -EINVAL,
        client_region_read(w->client, BAR1, 0, data, (uint32_t)w->server.max_data_xfer_size + 1));
}

void step_bar1_large(struct walk *w)
{
    uint64_t max = w->server.max_data_xfer_size;
    uint64_t size = w->region_size[BAR1];
    uint32_t len = (uint32_t)(size < max ? size : max);
    uint8_t *sent = malloc(max + 1);
    uint8_t *got = malloc(max + 1);

    if (sent == NULL || got == NULL) {
        walk_expect_err(w, "memory", 0, -ENOMEM);
    } else {
        try_large(w, sent, got, 0, len);
        try_large(w, sent, got, 3, len - 8);
        try_too_large(w, got);
    }
    walk_say(w, "%u bytes from 0 on and %u from 3 on; over the end or max_data_xfer_size: EINVAL",
             len, len - 8);
    free(sent);
    free(got);
}

/*
 * Posted, bundled, pipelined
 */

void step_posted(struct walk *w)
{
    uint32_t before = walk_get32(w, REG_DOORBELL_COUNT);

    for (uint32_t i = 1; i <= POSTED && !walk_failed(w); i++) {
        uint32_t value = htole32(i);

        walk_expect_err(w, "a posted write", 0,
                        client_region_post(w->client, BAR0, REG_DOORBELL, &value, sizeof(value)));
    }
    if (!walk_failed(w))
        walk_expect_err(w, "a posted write where no register is", 0,
                        client_region_post(w->client, BAR0, NO_REGISTER, &before, sizeof(before)));
    walk_put32(w, REG_DOORBELL, 0x4321);
    walk_expect(w, "DOORBELL_COUNT", before + POSTED + 1, walk_get32(w, REG_DOORBELL_COUNT));
    walk_expect(w, "DOORBELL", 0x4321, walk_get32(w, REG_DOORBELL));
    walk_say(w, "%u doorbells without a reply and one with: %u rings counted", POSTED, POSTED + 1);
    walk_say(w, "one that fails gets no reply either");
}

static void bundle(struct walk *w, const char *what, const struct vfio_user_write_single *writes,
                   uint64_t count, int err, uint64_t done)
{
    uint64_t got = 0;

    if (walk_failed(w))
        return;
    walk_expect_err(w, what, err, client_write_multi(w->client, writes, count, &got));
    walk_expect(w, what, done, got);
}

void step_write_multi(struct walk *w)
{
    const struct vfio_user_write_single writes[] = {
        { .region = BAR0, .offset = REG_DOORBELL, .count = 4, .data = { 1 } },
        { .region = BAR1, .offset = 16, .count = 8, .data = { 1, 2, 3, 4, 5, 6, 7, 8 } },
        { .region = BAR0, .offset = REG_DOORBELL, .count = 4, .data = { 2 } },
        { .region = UINT32_MAX, .offset = 0, .count = 4 },
        { .region = BAR0, .offset = REG_DOORBELL, .count = 4, .data = { 3 } },
    };
    uint8_t got[8];

    if (!w->server.write_multiple) {
        walk_say(w, "left out: not negotiated");
        return;
    }
    bundle(w, "three writes in one message", writes, 3, 0, 3);
    walk_expect(w, "DOORBELL", 2, walk_get32(w, REG_DOORBELL));
    walk_bar1_read(w, 16, got, sizeof(got));
    walk_expect_bytes(w, "BAR1", writes[1].data, got, sizeof(got));
    bundle(w, "five writes of which the fourth fails", writes, 5, 0, 3);
    walk_expect(w, "DOORBELL, which the fifth would have changed", 2, walk_get32(w, REG_DOORBELL));
    bundle(w, "two writes of which the first fails", writes + 3, 2, -EINVAL, 0);
    walk_say(w, "3 of 3 done; 3 of 5 done when the fourth fails; EINVAL when the first does");
}

static void check_clock(struct walk *w, const uint64_t *answer, uint64_t *last)
{
    uint64_t clock = le64toh(*answer);

    if (!walk_failed(w) && clock < *last)
        walk_fail(w, "CLOCK_NSEC, read later", "a later time", "%llu ns earlier",
                  (unsigned long long)(*last - clock));
    *last = clock;
}

void step_pipelining(struct walk *w)
{
    const struct vfio_user_region_access access = { .offset = REG_CLOCK_NSEC,
                                                    .region = BAR0,
                                                    .count = 8 };
    struct {
        struct vfio_user_region_access access;
        uint64_t clock;
    } answer = { 0 };
    struct client_call call = { .command = VFIO_USER_REGION_READ,
                                .fixed = &access,
                                .fixed_len = sizeof(access),
                                .reply = &answer,
                                .reply_max = sizeof(answer) };
    int ids[IN_FLIGHT];
    uint64_t last = 0;

    for (unsigned i = 0; i < IN_FLIGHT && !walk_failed(w); i++) {
        ids[i] = client_send(w->client, &call);
        if (ids[i] < 0)
            walk_expect_err(w, "sending", 0, ids[i]);
    }
    for (unsigned i = 0; i < IN_FLIGHT && !walk_failed(w); i++) {
        walk_expect_err(w, "the replies, in order", 0,
                        client_wait(w->client, (uint16_t)ids[i], &call));
        walk_expect(w, "length of a reply", sizeof(answer), call.reply_len);
        check_clock(w, &answer.clock, &last);
    }
    walk_say(w, "%u reads of the clock sent before the first reply: answered in order", IN_FLIGHT);
}
