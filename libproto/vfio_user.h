/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vfio-user wire format: message header, command numbers and the payload structures that
 * <linux/vfio.h> does not have. Structures that the kernel header has (vfio_region_info,
 * vfio_irq_info, vfio_irq_set, vfio_device_feature, the region capabilities) are used from there.
 *
 * All fields are in the byte order of the host, sizes are bytes, offsets count from the end of the
 * 16-byte header. Section names in this project's comments are those of the "vfio-user Protocol
 * Specification". Nothing here knows of sockets or of the device.
 */
#ifndef VFIO_USERD_VFIO_USER_H
#define VFIO_USERD_VFIO_USER_H

#include <linux/vfio.h>
#include <stddef.h>
#include <stdint.h>

#define VFIO_USER_MAJOR 0
#define VFIO_USER_MINOR 1

/* Section "Commands". */
enum vfio_user_command {
    VFIO_USER_VERSION = 1,
    VFIO_USER_DMA_MAP = 2,
    VFIO_USER_DMA_UNMAP = 3,
    VFIO_USER_DEVICE_GET_INFO = 4,
    VFIO_USER_DEVICE_GET_REGION_INFO = 5,
    VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6,
    VFIO_USER_DEVICE_GET_IRQ_INFO = 7,
    VFIO_USER_DEVICE_SET_IRQS = 8,
    VFIO_USER_REGION_READ = 9,
    VFIO_USER_REGION_WRITE = 10,
    VFIO_USER_DMA_READ = 11,  /* server -> client */
    VFIO_USER_DMA_WRITE = 12, /* server -> client */
    VFIO_USER_DEVICE_RESET = 13,
    VFIO_USER_REGION_WRITE_MULTI = 15,
    VFIO_USER_DEVICE_FEATURE = 16,
    VFIO_USER_MIG_DATA_READ = 17,
    VFIO_USER_MIG_DATA_WRITE = 18,
    VFIO_USER_COMMAND_COUNT /* one past the last, for tables */
};

/*
 * An interrupt as a message, server -> client. It was in the public protocol until 2021 and is an
 * extension now: sent only to a client that has offered the capability "vm_interrupt". The reply is
 * a bare header.
 */
#define VFIO_USER_VM_INTERRUPT 0x4000u

struct vfio_user_vm_interrupt {
    uint32_t index; /* VFIO_PCI_INTX_IRQ_INDEX, … */
    uint32_t subindex;
};

/* Section "Header": flags. */
#define VFIO_USER_TYPE_MASK    0xfu
#define VFIO_USER_TYPE_COMMAND 0x0u
#define VFIO_USER_TYPE_REPLY   0x1u
#define VFIO_USER_NO_REPLY     (1u << 4)
#define VFIO_USER_ERROR        (1u << 5)

struct vfio_user_header {
    uint16_t id;
    uint16_t command;
    uint32_t size; /* of the whole message, this header included */
    uint32_t flags;
    uint32_t error; /* errno of an error reply */
};

#define VFIO_USER_HEADER_SIZE 16u

/* Section "VFIO_USER_VERSION": followed by JSON with its NUL, or by nothing. */
struct vfio_user_version {
    uint16_t major;
    uint16_t minor;
};

/* Section "VFIO_USER_DMA_MAP"; flags are VFIO_DMA_MAP_FLAG_READ and _WRITE. */
struct vfio_user_dma_map {
    uint32_t argsz;
    uint32_t flags;
    uint64_t offset;
    uint64_t address;
    uint64_t size;
};

/* Section "VFIO_USER_DMA_UNMAP". */
struct vfio_user_dma_unmap {
    uint32_t argsz;
    uint32_t flags;
    uint64_t address;
    uint64_t size;
};

/* What the rust vfio-user crate calls UNMAP_ALL; everybody else uses VFIO_DMA_UNMAP_FLAG_ALL. */
#define VFIO_USER_DMA_UNMAP_FLAG_ALL_RUST (1u << 2)

/* Section "VFIO_USER_DEVICE_GET_INFO". The kernel's structure has grown, this one has not. */
struct vfio_user_device_info {
    uint32_t argsz;
    uint32_t flags;
    uint32_t num_regions;
    uint32_t num_irqs;
};

/*
 * Section "VFIO_USER_DEVICE_GET_REGION_IO_FDS": in a reply followed by count times
 * struct vfio_user_io_fd.
 */
struct vfio_user_region_io_fds {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t count;
};

/*
 * A sub-region. The specification's has 40 bytes and nothing for a shadow; this is the one that
 * libvfio-user and the rust crate use, for all types. A client finds entry i by the reply's argsz.
 */
struct vfio_user_io_fd {
    uint64_t offset; /* in the region */
    uint64_t size;   /* of the access that signals */
    uint32_t fd_index;
    uint32_t type;
    uint32_t flags; /* KVM_IOEVENTFD_FLAG_… */
    uint32_t shadow_fd_index;
    uint64_t shadow_offset; /* where the value is stored in the shadow's file */
    uint64_t datamatch;
};

#define VFIO_USER_IO_FD_IOEVENTFD  0u
#define VFIO_USER_IO_FD_IOREGIONFD 1u
#define VFIO_USER_IO_FD_IOEVENTFD_SHADOW \
    2u /* the value is stored before the eventfd is signalled */

/* Sections "VFIO_USER_REGION_READ" and "VFIO_USER_REGION_WRITE": followed by the data. */
struct vfio_user_region_access {
    uint64_t offset;
    uint32_t region;
    uint32_t count;
};

/* Sections "VFIO_USER_DMA_READ" and "VFIO_USER_DMA_WRITE": followed by the data. */
struct vfio_user_dma_access {
    uint64_t address;
    uint64_t count;
};

/* Section "VFIO_USER_REGION_WRITE_MULTI": a u64 count, followed by this many of these. */
struct vfio_user_write_single {
    uint64_t offset;
    uint32_t region;
    uint32_t count; /* at most 8 */
    uint8_t data[8];
};

/* Sections "VFIO_USER_MIG_DATA_READ" and "VFIO_USER_MIG_DATA_WRITE": followed by the data. */
struct vfio_user_mig_data {
    uint32_t argsz;
    uint32_t size;
};

/*
 * Sections "VFIO_DEVICE_FEATURE_MIGRATION" and "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE": what older
 * kernel headers lack.
 */
#define VFIO_USER_MIGRATION_PRE_COPY    (1u << 2)
#define VFIO_USER_DEVICE_STATE_PRE_COPY 6u

/*
 * Section "VFIO_DEVICE_FEATURE_DMA_LOGGING_START": followed by num_ranges times
 * struct vfio_device_feature_dma_logging_range. The kernel's structure has a pointer to these.
 */
struct vfio_user_dma_logging_control {
    uint64_t page_size;
    uint32_t num_ranges;
    uint32_t reserved;
};

/* Section "VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT": followed, in the reply, by the bitmap. */
struct vfio_user_dma_logging_report {
    uint64_t iova;
    uint64_t length;
    uint64_t page_size;
};

/* Section "VFIO_USER_VERSION": what holds where a peer does not say otherwise. */
#define VFIO_USER_DEFAULT_MAX_MSG_FDS        1u
#define VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE 1048576u
#define VFIO_USER_DEFAULT_MAX_DMA_MAPS       65535u
#define VFIO_USER_DEFAULT_PGSIZES            4096u

_Static_assert(sizeof(struct vfio_user_header) == VFIO_USER_HEADER_SIZE, "header");
_Static_assert(sizeof(struct vfio_user_dma_map) == 32, "DMA_MAP");
_Static_assert(sizeof(struct vfio_user_dma_unmap) == 24, "DMA_UNMAP");
_Static_assert(sizeof(struct vfio_user_device_info) == 16, "DEVICE_GET_INFO");
_Static_assert(sizeof(struct vfio_region_info) == 32, "DEVICE_GET_REGION_INFO");
_Static_assert(sizeof(struct vfio_irq_info) == 16, "DEVICE_GET_IRQ_INFO");
_Static_assert(sizeof(struct vfio_irq_set) == 20, "DEVICE_SET_IRQS");
_Static_assert(sizeof(struct vfio_user_region_access) == 16, "REGION_READ");
_Static_assert(sizeof(struct vfio_user_dma_access) == 16, "DMA_READ");
_Static_assert(sizeof(struct vfio_device_feature) == 8, "DEVICE_FEATURE");
_Static_assert(sizeof(struct vfio_device_feature_mig_state) == 8, "MIG_DEVICE_STATE");
_Static_assert(sizeof(struct vfio_user_dma_logging_control) == 16, "DMA_LOGGING_START");
_Static_assert(sizeof(struct vfio_user_dma_logging_report) == 24, "DMA_LOGGING_REPORT");
_Static_assert(sizeof(struct vfio_user_mig_data) == 8, "MIG_DATA_READ");
_Static_assert(sizeof(struct vfio_user_write_single) == 24, "REGION_WRITE_MULTI");
_Static_assert(sizeof(struct vfio_user_region_io_fds) == 16, "DEVICE_GET_REGION_IO_FDS");
_Static_assert(sizeof(struct vfio_user_io_fd) == 48, "DEVICE_GET_REGION_IO_FDS");
_Static_assert(sizeof(struct vfio_user_vm_interrupt) == 8, "VM_INTERRUPT");

#endif
