/* SPDX-License-Identifier: BSD-3-Clause */
#include "self_test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define BYTES 4096u

enum step {
    STEP_IDLE,
    STEP_DIRECT_WRITE,
    STEP_DIRECT_READ,
    STEP_MESSAGE_WRITE,
    STEP_MESSAGE_READ,
};

struct self_test {
    struct dma_transfer transfer; /* first: done functions get at the test through it */
    struct dma *dma;
    enum step step;
    uint8_t *runs; /* NULL: nobody asks */
    struct log_limit limit;
    uint8_t written[BYTES];
    uint8_t read_back[BYTES];
};

static void next(struct self_test *test);

static bool by_message(const struct self_test *test)
{
    return test->step >= STEP_MESSAGE_WRITE;
}

static void tell(struct self_test *test, const char *outcome, int err)
{
    const char *way = by_message(test) ? "by message" : "direct";

    if (!log_limit_pass(&test->limit, "dma"))
        return;
    if (err == 0)
        log_info("dma", "self-test: %s: %s", way, outcome);
    else
        log_warning("dma", "self-test: %s: %s: %s", way, outcome, strerror(-err));
}

static void set_step(struct self_test *test, enum step step)
{
    test->step = step;
    if (test->runs != NULL)
        *test->runs = step != STEP_IDLE;
}

/* On to the other way, or to the end. */
static void end_way(struct self_test *test)
{
    set_step(test, by_message(test) ? STEP_IDLE : STEP_MESSAGE_WRITE);
    next(test);
}

static void on_written(struct self_test *test, int err)
{
    if (err == 0) {
        test->step++;
        next(test);
        return;
    }
    tell(test, "write failed", err);
    end_way(test);
}

static void on_read(struct self_test *test, int err)
{
    if (err != 0)
        tell(test, "read failed", err);
    else if (memcmp(test->written, test->read_back, BYTES) != 0)
        tell(test, "read back other bytes than were written", -EIO);
    else
        tell(test, "4096 bytes written and read back alike", 0);
    end_way(test);
}

static void on_done(struct dma_transfer *transfer, int err)
{
    struct self_test *test = (struct self_test *)transfer;

    if (err == -ECANCELED)
        set_step(test, STEP_IDLE);
    else if (transfer->direction == DMA_TO_GUEST)
        on_written(test, err);
    else
        on_read(test, err);
}

/* Starts the transfer of the present step. */
static void next(struct self_test *test)
{
    bool writes = test->step == STEP_DIRECT_WRITE || test->step == STEP_MESSAGE_WRITE;
    uint64_t iova;
    uint64_t size;
    bool shared;

    if (test->step == STEP_IDLE)
        return;
    if (dma_nth_range(test->dma, by_message(test) ? 0 : 1, &iova, &size, &shared) != 0 ||
        size < BYTES || (!by_message(test) && !shared)) {
        tell(test, "no such region is mapped", 0);
        end_way(test);
        return;
    }
    test->transfer = (struct dma_transfer) {
        .direction = writes ? DMA_TO_GUEST : DMA_FROM_GUEST,
        .way = by_message(test) ? DMA_MESSAGE : DMA_DIRECT,
        .iova = iova,
        .buffer = writes ? test->written : test->read_back,
        .length = BYTES,
        .done = on_done,
    };
    dma_start(test->dma, &test->transfer);
}

int self_test_new(struct dma *dma, uint8_t *runs, struct self_test **out)
{
    struct self_test *test = calloc(1, sizeof(*test));

    if (test == NULL)
        return -ENOMEM;
    test->dma = dma;
    test->runs = runs;
    *out = test;
    return 0;
}

void self_test_free(struct self_test *test)
{
    free(test);
}

void self_test_detach(struct self_test *test)
{
    test->runs = NULL;
}

bool self_test_runs(const struct self_test *test)
{
    return test->step != STEP_IDLE;
}

void self_test_run(struct self_test *test, uint32_t seed)
{
    if (test->step != STEP_IDLE)
        return; /* the last one still waits for the client */
    for (size_t i = 0; i < BYTES; i++)
        test->written[i] = (uint8_t)(seed + i * 7);
    memset(test->read_back, 0, BYTES);
    set_step(test, STEP_DIRECT_WRITE);
    next(test);
}
