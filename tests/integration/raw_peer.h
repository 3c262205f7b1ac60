/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client with framing of its own, which sends and reads when a test says so and in no other
 * order: requests ahead of replies, answers late or not at all. Replies must come in the order of
 * the requests; the server's commands are kept until they are asked for.
 */
#ifndef VFIO_USERD_TEST_RAW_PEER_H
#define VFIO_USERD_TEST_RAW_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "integration/harness.h"

/* A command of the server. */
struct raw_command {
    struct vfio_user_header hdr;
    uint64_t address; /* of DMA */
    uint64_t count;
    uint32_t index; /* of VM_INTERRUPT */
    uint32_t subindex;
};

#define RAW_COMMANDS 64

struct raw_peer {
    int main;
    int twin; /* -1 */
    char version[512];
    uint16_t next_id;
    uint16_t next_reply;
    struct vfio_user_header reply; /* the last one, and the begin of its payload */
    uint8_t payload[8192];
    struct raw_command commands[RAW_COMMANDS];
    unsigned n_commands;
    uint8_t guest[65536];
};

/* Connects and says VERSION with these capabilities: the inside of a JSON object. */
void raw_connect(struct raw_peer *p, const struct server *s, const char *capabilities);
void raw_close(struct raw_peer *p);

/* With a twin socket or without, and with interrupts by message. */
#define RAW_TWIN "\"twin_socket\":{\"supported\":true},\"vm_interrupt\":true"
#define RAW_ONE  "\"vm_interrupt\":true"

/* Sends a request, without a look at what comes. */
void raw_send(struct raw_peer *p, uint16_t command, const void *payload, size_t len);
void raw_send_read(struct raw_peer *p, uint32_t region, uint64_t offset, uint32_t count);
void raw_send_write(struct raw_peer *p, uint32_t region, uint64_t offset, uint64_t value,
                    uint32_t count);

/* Reads replies until all requests have theirs, the last of which is in reply and payload. */
void raw_settle(struct raw_peer *p);

/* Reads replies until that with this id is the next. */
void raw_settle_until(struct raw_peer *p, uint16_t id);

/* The same, and none of them may be an error; returns the value of a register. */
uint64_t raw_get(struct raw_peer *p, uint64_t offset, uint32_t count);
void raw_put(struct raw_peer *p, uint64_t offset, uint64_t value, uint32_t count);

/* The oldest command of the server that has not been asked for; waits for it. */
struct raw_command raw_next(struct raw_peer *p);

/* Answers a command on sock: right, or with an error. Data of a DMA_READ is guest's. */
void raw_answer(struct raw_peer *p, int sock, const struct raw_command *c, uint32_t error);

/* Sends len bytes of payload as the reply to a command. */
void raw_reply(int sock, const struct vfio_user_header *hdr, uint32_t error, const void *payload,
               size_t len);

/* Where the server's commands come from. */
int raw_commands_socket(const struct raw_peer *p);

/* Guest memory without an fd, Bus Master on. */
void raw_map(struct raw_peer *p);

/* Begins a transfer of the DMA engine. command: 1 from the guest, 2 to it. */
void raw_start_dma(struct raw_peer *p, uint32_t command, uint64_t iova, uint32_t length);

/* Waits until DMA_CONTROL is not busy any more, and returns it. */
uint32_t raw_dma_outcome(struct raw_peer *p);

#endif
