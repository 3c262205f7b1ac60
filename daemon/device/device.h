/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The emulated PCI function as a client sees it: regions, interrupts, DMA, reset; and the state
 * block that holds everything of it that a guest can see, but for BAR1's bytes. Puts pci, irq, dma
 * and timer together and carries what happens in one to the others.
 *
 * Knows nothing of sockets, JSON, libuv or systemd. The world outside is struct device_host.
 */
#ifndef VFIO_USERD_DEVICE_H
#define VFIO_USERD_DEVICE_H

#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "description.h"
#include "dma.h"
#include "evidence.h"
#include "irq.h"
#include "msix.h"
#include "pci.h"
#include "timer.h"

#define DEVICE_STATE_MAGIC   0x64756676u /* "vfud" */
#define DEVICE_STATE_VERSION 3u

/*
 * The state block: fixed-width fields, no pointers; laid out in a memfd of its own. What is not in
 * here or in BAR1 is not guest-visible: saving and loading these two is all that it takes to move
 * the device.
 */
struct device_state {
    uint32_t magic;
    uint32_t version;
    uint32_t size; /* of this structure */
    uint32_t reserved;
    struct timer_state timer;
    struct irq_state irq;
    struct pci_state pci;
    struct msix_state msix;
};

/*
 * Bytes of the state that only accesses to configuration space or to MSI-X's table change, and
 * what goes with them (a reset, a load), begin here: an access to another BAR, a deadline, a ring
 * or an UNMASK changes what is before.
 */
#define DEVICE_STATE_NARROW offsetof(struct device_state, pci)

/* Guest-visible too, while the device is stopped: rings that count when it runs again. */
struct device_held {
    uint64_t rings;
    uint32_t value; /* of the last of them */
    uint32_t known; /* 1: that is known */
};

/* Memory that outlives the process, for a device that another process may go on with. */
struct device_memory {
    struct device_state *state;     /* zeros; the device powers on there */
    struct evidence_place evidence; /* of the step under way */
    struct dma_keeper dma;
};

enum device_event_kind {
    DEVICE_EVENT_INTERRUPT, /* index, vector, how, anew */
    DEVICE_EVENT_RESET,     /* by */
    DEVICE_EVENT_DMA_MAP,   /* iova, size, shared */
    DEVICE_EVENT_DMA_UNMAP, /* iova, size; size 0: all maps */
};

enum device_reset_by {
    DEVICE_RESET_BY_CLIENT, /* a DEVICE_RESET */
    DEVICE_RESET_BY_GUEST,  /* by configuration space: FLR, or D3hot to D0 */
    DEVICE_RESET_BY_OPERATOR,
};

/* Something that has happened to the device. What its kind does not have is 0. */
struct device_event {
    enum device_event_kind kind;
    uint32_t index; /* VFIO_PCI_INTX_IRQ_INDEX, … */
    uint32_t vector;
    enum irq_delivery how;
    bool anew; /* false: it was raised and pending before, and is delivered now */
    enum device_reset_by by;
    uint64_t iova;
    uint64_t size;
    bool shared;
};

/* The world outside; every function is called with opaque. */
struct device_host {
    void *opaque;
    int64_t (*now)(void *opaque);                    /* CLOCK_REALTIME, ns */
    void (*wake_at)(void *opaque, int64_t deadline); /* call device_wake then; 0: not at all */
    /* Called in the middle of what happens: must not call the device. NULL: nobody cares. */
    void (*event)(void *opaque, const struct device_event *event);
    struct dma_messenger messenger;
    /*
     * Sends the client an interrupt as a message. Returns 0, or -errno: it takes none, or none now.
     * Must not call the device. NULL: never.
     */
    int (*interrupt)(void *opaque, uint32_t index, uint32_t vector);
    uint32_t max_files; /* of guest memory that may be open; 0: as many as there are maps */
    /*
     * Where the device is, and what is done to it noted; outlives the device, whose end leaves it
     * as it is. NULL: the state is in memory of the device's own.
     */
    const struct device_memory *memory;
};

/* What GET_REGION_INFO tells. */
struct device_region {
    uint64_t size;                 /* bytes; 0: the region does not exist */
    uint32_t flags;                /* VFIO_REGION_INFO_FLAG_READ, _WRITE, _MMAP */
    int fd;                        /* to map, the device's; -1 */
    const struct mmap_area *areas; /* what of it may be mapped */
    unsigned n_areas;
};

#define DEVICE_NUM_REGIONS VFIO_PCI_NUM_REGIONS
#define DEVICE_NUM_IRQS    VFIO_PCI_NUM_IRQS

struct device;

/*
 * Makes the device. *d must outlive it. Returns 0; -EINVAL with *error written when capabilities
 * do not fit; another -errno.
 */
int device_new(const struct device_description *d, const struct device_host *host,
               struct device **out, struct pci_error *error);
void device_free(struct device *dev);

/* -EINVAL: no such index. */
int device_region(const struct device *dev, uint32_t index, struct device_region *out);

/* Most sub-regions of a region. */
#define DEVICE_IO_FDS_MAX 4

/* What GET_REGION_IO_FDS tells: a sub-region, and what signals that it was written. */
struct device_io_fd {
    uint64_t offset;
    uint64_t size;          /* of the access, bytes */
    uint32_t type;          /* VFIO_USER_IO_FD_… */
    int fd;                 /* an eventfd, the device's */
    int shadow_fd;          /* where the value is stored, the device's; -1 */
    uint64_t shadow_offset; /* in it */
};

/*
 * The *n sub-regions of a region that are served by file descriptors, which are made with the first
 * call. Returns 0; -EINVAL: no such region; another -errno.
 */
int device_io_fds(struct device *dev, uint32_t region, struct device_io_fd out[DEVICE_IO_FDS_MAX],
                  unsigned *n);

/*
 * The doorbell's eventfd, or -1: whoever has a loop watches it and calls device_take_rings when
 * it is readable. It is another one for each client.
 * Rings become the register's; those of a stopped device wait until it runs.
 */
int device_doorbell_fd(const struct device *dev);
void device_take_rings(struct device *dev);

/*
 * Reads or writes count bytes of a region. Returns 0; -EINVAL for a region that does not exist, a
 * range that is not inside it, or an access that the register does not take; -EBUSY: see
 * timer_write, or a BAR of a stopped device is written. Nothing has changed on failure.
 */
int device_read(struct device *dev, uint32_t region, uint64_t offset, void *data, uint32_t count);
int device_write(struct device *dev, uint32_t region, uint64_t offset, const void *data,
                 uint32_t count);

/* As a bus reset: registers and configuration space as after power-on. BAR1 and maps stay. */
void device_reset(struct device *dev, enum device_reset_by by);

/* dma_map, dma_unmap, dma_unmap_within and dma_unmap_all for the client, which are told as events.
 */
int device_dma_map(struct device *dev, uint64_t iova, uint64_t size, uint32_t flags, int *fd,
                   uint64_t offset);
int device_dma_unmap(struct device *dev, uint64_t iova, uint64_t size);
int device_dma_unmap_within(struct device *dev, uint64_t iova, uint64_t size);
void device_dma_unmap_all(struct device *dev);

/* The time asked for with wake_at has come, or the clock was set. */
void device_wake(struct device *dev);

/*
 * The limits that the next client is told. Those of the description, until they are set; a client
 * that is there keeps its own.
 */
void device_set_limits(struct device *dev, const struct device_limits *limits);
const struct device_limits *device_limits(const struct device *dev);

/* A client is there, and was told these limits: they are its until it is dropped. */
void device_take_client(struct device *dev, const struct device_limits *limits);

/* The client takes messages (again): what waited for a way to go out goes out. */
void device_retry_interrupts(struct device *dev);

/* The client is gone: its maps and eventfds are dropped, the state stays. */
void device_drop_client(struct device *dev);

/*
 * The operator's interrupt: INTx sets SOFTWARE in IRQ_STATUS, the others raise vector of index.
 * -EINVAL: no such index or vector. -EBUSY: the device is stopped.
 */
int device_trigger_irq(struct device *dev, uint32_t index, uint32_t vector, enum irq_delivery *how);

/*
 * Stopped means stopped: no deadline fires, no DMA runs (a message without an answer is forgotten
 * and sent anew later), no interrupt goes out, and BAR writes are -EBUSY. Reads work, and so do
 * writes of configuration space, which VMMs restore on a stopped device. device_start lets
 * everything go on: what has become due meanwhile fires, what is pending goes out. Both do nothing
 * when it is so already.
 */
void device_stop(struct device *dev);
void device_start(struct device *dev);
bool device_running(const struct device *dev);

/*
 * For a process that goes on where another one died, with a step of that to execute again. After
 * device_load, and the rest that the device had:
 * device_unfreeze, if it ran: it runs, but what device_start lets go on is left for that.
 * device_replay, the step, device_replayed: *before is what was done of the step. Interrupts that
 * were signalled are not signalled again, rings that were taken count again, direct DMA that was
 * told of is not made again. device_replayed makes good what was taken or told of and not come
 * across now: it belongs to the step, whose evidence builds on *before.
 * device_start, if device_running then: the step may have stopped it.
 */
void device_unfreeze(struct device *dev);
void device_replay(struct device *dev, const struct evidence *before);
void device_replayed(struct device *dev);

/* Rings that wait for the device to run; device_load, a reset and a client's end forget them. */
void device_get_held(const struct device *dev, struct device_held *out);
void device_put_held(struct device *dev, const struct device_held *held);

/*
 * Lets no further DMA begin, while the rest goes on; the message under way may be answered, for
 * which device_dma_awaits asks. device_start lets DMA go on too.
 */
void device_stop_dma(struct device *dev);
void device_resume_dma(struct device *dev);
bool device_dma_awaits(const struct device *dev);

/* BAR1's bytes, as many as the description says, and the memfd that they are in: the device's. */
uint8_t *device_bar1(struct device *dev);
int device_bar1_fd(const struct device *dev);

/*
 * The doorbell's eventfd and shadow, the device's, -1 where there is none; and those that another
 * process has made for the client, which are set to -1 when they are taken. -EINVAL: they are not
 * what this device's doorbell has; -errno.
 */
void device_get_doorbell(const struct device *dev, int *event, int *shadow);
int device_adopt_doorbell(struct device *dev, int *event, int *shadow);

/* The name of a field of the state, "timer.dma_control" say, with its NUL. */
#define DEVICE_FIELD_BYTES 32

/*
 * Whether *state could have come about in a device of this description. Returns 0, or -EINVAL with
 * the name of the first field that could not in field.
 */
int device_check_state(const struct device *dev, const struct device_state *state,
                       char field[DEVICE_FIELD_BYTES]);

/*
 * Puts *state in the place of ours and, when bar1 is not NULL, its bytes in the place of BAR1's, as
 * many as that has; both are copied, and zeros into holes of BAR1 are not. The client's maps,
 * eventfds and mask stay. Returns 0; what device_check_state returns; -EBUSY when the device is not
 * stopped. Nothing has changed on failure.
 */
int device_load(struct device *dev, const struct device_state *state, const uint8_t *bar1,
                char field[DEVICE_FIELD_BYTES]);

/*
 * Takes *fd, a memfd, for BAR1 in place of our own, and sets it to -1 on success. -EINVAL when it
 * has another size than BAR1 or may be resized; -EBUSY when the device is not stopped; or -errno.
 */
int device_adopt_bar1(struct device *dev, int *fd);

/*
 * The device as it was made: registers, configuration space, an empty BAR1 in new memory; no maps,
 * no eventfds, no dirty log. Its client has gone elsewhere. It runs after this. Returns 0, or
 * -errno: it is stopped, and as it was.
 */
int device_renew(struct device *dev);

/*
 * The log of guest memory that the device writes; see dirty_log.h, whose errors these have too.
 * Starting sets *page_size to what the log is kept in. -EBUSY: there is a log already. Stopping,
 * and a report, -EINVAL: there is none. The log ends with its client.
 */
int device_log_start(struct device *dev, uint64_t *page_size,
                     const struct vfio_device_feature_dma_logging_range *ranges, uint32_t n);
int device_log_stop(struct device *dev);
int device_log_report(struct device *dev, uint64_t iova, uint64_t length, uint64_t page_size,
                      uint64_t *bitmap);

/* The log for another process; *bytes is to be freed. *len 0: there is none. */
int device_log_export(const struct device *dev, uint8_t **bytes, size_t *len);
int device_log_import(struct device *dev, const uint8_t *bytes, size_t len);

/*
 * What the log was started with: *page_size, and its ranges, of which there is room for *n; *n is
 * set to their number, and to 0, all, when they are more. -EINVAL: there is no log.
 * Restoring starts one, with the errors of device_log_start, in which everything counts as written
 * until it is reported.
 */
int device_log_ranges(const struct device *dev, uint64_t *page_size,
                      struct vfio_device_feature_dma_logging_range *ranges, uint32_t *n);
int device_log_restore(struct device *dev, uint64_t page_size,
                       const struct vfio_device_feature_dma_logging_range *ranges, uint32_t n);

struct irq *device_irq(struct device *dev);
struct dma *device_dma(struct device *dev);
const struct device_state *device_state(const struct device *dev);
const struct device_description *device_description(const struct device *dev);

/* Bytes of configuration space, as device_read would give them. */
size_t device_config_size(const struct device *dev);

/* Bytes of MSI-X's table; 0 without MSI-X. */
size_t device_msix_table_size(const struct device *dev);

/* See pci_cap_image. */
size_t device_cap_image(const struct device *dev, unsigned i, uint8_t image[PCI_CAP_IMAGE_MAX],
                        uint16_t *offset);

bool device_in_d0(const struct device *dev);
bool device_bus_master(const struct device *dev);

#endif
