/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every step works with: the connection, what the server has told of its device so far, and
 * functions that do one thing and say so when the outcome is not the expected one.
 *
 * The first surprise sticks: from then on these functions do nothing and return 0, so that a step
 * is written as if all went well. Loops that end by what the device says must ask walk_failed.
 */
#ifndef VFU_CLIENT_WALK_H
#define VFU_CLIENT_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "guest.h"
#include "version.h"

#define WALK_MAX_AREAS   64
#define WALK_MAX_VECTORS 32

/* Interrupts come within microseconds; this is for machines that have other things to do. */
#define WALK_IRQ_TIMEOUT_MS 5000

/* A part of BAR1 that is mapped. */
struct walk_area {
    uint64_t offset;
    uint64_t size;
    uint8_t *at;
};

struct walk {
    const char *socket_path;
    bool quiet;
    bool no_fds;   /* no fd is passed, and none may come: interrupts are messages */
    bool twin;     /* a twin socket is offered */
    bool messages; /* interrupts by message are offered */
    struct client *client;
    struct guest *guest;
    struct version_caps server; /* as negotiated */

    /* Told by the server. */
    uint64_t region_size[VFIO_PCI_NUM_REGIONS];
    uint32_t irq_vectors[VFIO_PCI_NUM_IRQS];
    uint16_t pm; /* offsets in configuration space, 0 without */
    uint16_t msi;
    uint16_t msix;
    struct walk_area areas[WALK_MAX_AREAS];
    unsigned n_areas;
    int bar1_fd; /* -1 */

    int intx; /* the eventfd that is assigned, -1 */

    /* Eventfds that messages of a vector signal, here and not at the server; -1: none. */
    int routes[VFIO_PCI_NUM_IRQS][WALK_MAX_VECTORS];
    uint64_t irq_messages; /* that have come */

    /* The step under way. */
    unsigned step;
    const char *name;
    unsigned lines;    /* printed */
    char failure[512]; /* the surprise, "" while there was none */
};

/* Nothing is open, and nothing known. */
void walk_init(struct walk *w);

/* Unmaps and closes all that the steps have opened. */
void walk_fini(struct walk *w);

/* Has w->client serve what the server asks: guest memory, interrupts. */
void walk_attach(struct walk *w);

bool walk_failed(const struct walk *w);

/* The step with this number and name begins. */
void walk_begin(struct walk *w, unsigned step, const char *name);

/* Whether the server has confirmed migration. */
bool walk_offers_migration(const struct walk *w);

/* With no_fds: none may have been sent, and none have come. */
void walk_expect_no_fds(struct walk *w);

/* Prints a line of the step, indented; the step's number and name come before the first. */
void walk_say(struct walk *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Records a surprise: what was looked at, and in words what was expected and what came. */
void walk_fail(struct walk *w, const char *what, const char *expected, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A number must be the expected one. */
void walk_expect(struct walk *w, const char *what, uint64_t expected, uint64_t got);

/* A call must have returned this: 0 or -errno. */
void walk_expect_err(struct walk *w, const char *what, int expected, int got);

/* count bytes must be alike. */
void walk_expect_bytes(struct walk *w, const char *what, const void *expected, const void *got,
                       uint64_t count);

/* CLOCK_REALTIME in ns. */
int64_t walk_now(void);

/* Reads or writes a little-endian number of size bytes, 1 to 8. */
uint64_t walk_get(struct walk *w, uint32_t region, uint64_t offset, uint32_t size);
void walk_put(struct walk *w, uint32_t region, uint64_t offset, uint32_t size, uint64_t value);

/* The same for a register of BAR0, and for configuration space. */
uint32_t walk_get32(struct walk *w, uint64_t offset);
uint64_t walk_get64(struct walk *w, uint64_t offset);
void walk_put32(struct walk *w, uint64_t offset, uint32_t value);
void walk_put64(struct walk *w, uint64_t offset, uint64_t value);
uint16_t walk_config_get16(struct walk *w, uint64_t offset);
void walk_config_put16(struct walk *w, uint64_t offset, uint16_t value);

/* Reads or writes BAR1 by message. */
void walk_bar1_read(struct walk *w, uint64_t offset, void *data, uint32_t count);
void walk_bar1_write(struct walk *w, uint64_t offset, const void *data, uint32_t count);

/* zlib's crc32 of all of BAR1, read by message. */
uint32_t walk_bar1_checksum(struct walk *w);

/* Sets and clears bits of the PCI Command register. */
void walk_command(struct walk *w, uint16_t set, uint16_t clear);

/* Fills count bytes with a pattern that depends on seed and repeats nowhere near. */
void walk_pattern(uint8_t *at, uint64_t count, uint32_t seed);

/*
 * A new eventfd for an interrupt, -1 on failure. It is the caller's, who closes it with
 * walk_close_eventfd when it has been given to walk_assign or walk_route.
 */
int walk_eventfd(struct walk *w);
void walk_close_eventfd(struct walk *w, int fd);

/* SET_IRQS of one vector of an index, DATA_NONE or, with value not NULL, DATA_BOOL. */
void walk_set_irq(struct walk *w, const char *what, uint32_t action, uint32_t index,
                  const uint8_t *value);

/* From now on a message for one of these vectors signals its eventfd. */
void walk_route(struct walk *w, uint32_t index, uint32_t start, uint32_t count, const int *fds);

/*
 * Gives eventfds to count vectors from start on, in as many messages as the server needs. With
 * no_fds they are routes: what comes there, comes by message.
 */
void walk_assign(struct walk *w, const char *what, uint32_t index, uint32_t start, uint32_t count,
                 const int *fds);

/* Takes all eventfds of an index away. Routes stay. */
void walk_disable(struct walk *w, const char *what, uint32_t index);

/* Makes sure that w->intx is assigned to INTx, and that no interrupt is pending. */
void walk_ready_intx(struct walk *w);

/*
 * Waits until fd has been signalled, exactly once, and takes the signal; serves the server's
 * messages meanwhile.
 */
void walk_expect_irq(struct walk *w, const char *what, int fd);

/* The same with another patience. */
void walk_expect_irq_within(struct walk *w, const char *what, int fd, int ms);

/* fd must not have been signalled, nor may a message be on its way that does. */
void walk_expect_quiet(struct walk *w, const char *what, int fd);

/* Takes a signal that may be there or not. */
void walk_ignore_irq(struct walk *w, int fd);

/* Arms the timer with a time in the past: it fires before this returns. */
void walk_fire_timer(struct walk *w);

/* Clears all bits of IRQ_STATUS. */
void walk_acknowledge(struct walk *w);

/* Sets the state of migration, which must succeed. */
void walk_set_state(struct walk *w, uint32_t state);

/* Lets ms pass, serving the server's DMA messages. */
void walk_pause(struct walk *w, int ms);

#endif
