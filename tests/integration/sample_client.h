/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of this device as other people write it: its own framing with blocking calls, fixed
 * message ids, at most 1 KiB of data a message that it receives, one connection without a twin.
 * Nothing here uses the project's own client. Failures are ck_assert failures.
 */
#ifndef VFIO_USERD_TEST_SAMPLE_CLIENT_H
#define VFIO_USERD_TEST_SAMPLE_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SAMPLE_MAX_XFER    1024u
#define SAMPLE_PAGE        4096u
#define SAMPLE_REGIONS_MAX 32u

/* One page of the client's memory, all of them in one file. */
struct sample_region {
    uint64_t address;
    uint64_t offset; /* in the file */
    bool mapped;
    bool written; /* by message, which only the client sees */
};

struct sample_client {
    int sock;
    unsigned max_fds; /* of the server */
    int file;
    struct sample_region regions[SAMPLE_REGIONS_MAX];
    unsigned n_regions;
    pthread_mutex_t lock; /* around a request and its reply */
    atomic_int waiting;   /* for the lock, which the thread that writes BAR1 would take for ever */
};

/* Connects and says VERSION. */
void sample_open(struct sample_client *c, const char *path);

/* Makes n_regions in a file of its own in a directory, none mapped. */
void sample_make_regions(struct sample_client *c, const char *directory, unsigned n_regions);

void sample_close(struct sample_client *c);

/*
 * One request with its reply: room for *reply_len bytes, and then how many came. Returns 0 or the
 * reply's errno.
 */
int sample_call(struct sample_client *c, uint16_t id, uint16_t command, const void *payload,
                size_t len, int fd, void *reply, size_t *reply_len);

/* REGION_READ or REGION_WRITE, as much as there is in one message. Returns 0 or an errno. */
int sample_access(struct sample_client *c, uint32_t region, bool write, uint64_t offset, void *data,
                  uint32_t count);

/* DEVICE_FEATURE: MIG_DEVICE_STATE. */
void sample_set_state(struct sample_client *c, uint32_t state);

/* MIG_DATA_READ of 1 KiB: how much came. MIG_DATA_WRITE. */
uint32_t sample_read_data(struct sample_client *c, uint8_t data[SAMPLE_MAX_XFER]);
void sample_write_data(struct sample_client *c, const uint8_t *data, uint32_t len);

/* DMA logging of everything, by pages. */
void sample_start_log(struct sample_client *c);
void sample_stop_log(struct sample_client *c);

/* Whether the server says that the region was written since it was asked last. */
bool sample_log_of(struct sample_client *c, const struct sample_region *region);

/* DMA_MAP and DMA_UNMAP of count regions from first on. */
void sample_map(struct sample_client *c, unsigned first, unsigned count);
void sample_unmap(struct sample_client *c, unsigned first, unsigned count);
void sample_unmap_all(struct sample_client *c);

/* GET_IRQ_INFO of all and an eventfd for INTx, blocking, the caller's. */
int sample_configure_irqs(struct sample_client *c);

/*
 * The self-test's traffic: takes count DMA_WRITEs and then as many DMA_READs, each of 1 KiB in a
 * region that is mapped, and answers as the specification says. Returns the lowest address.
 */
uint64_t sample_serve_dma(struct sample_client *c, unsigned count);

#endif
