/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handovers between real daemons, for tests: one with a client that never rests, and daemons that
 * die or stand still where a test wants them to.
 */
#ifndef VFIO_USERD_TEST_HANDOVER_KIT_H
#define VFIO_USERD_TEST_HANDOVER_KIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "integration/harness.h"
#include "varlink.h"

/*
 * A client in a thread of its own: writes BAR1 by message and through its mapping and reads each
 * the other way, copies guest memory to BAR1 by DMA, arms a deadline and waits for its interrupt;
 * again and again. Whatever is not as it must be is kept for load_stop to fail with.
 */
struct load {
    struct client *c;
    pthread_t thread;
    atomic_bool stop;
    atomic_uint rounds;
    atomic_bool failed;
    char failure[256];
    uint8_t *bar1;   /* mapped */
    uint8_t *memory; /* the guest's, mapped */
    int memory_fd;
    int line;     /* the INTx eventfd */
    bool may_end; /* the server's end is no failure */
    atomic_bool ended;
};

void load_start(struct load *l, const struct server *s);

/* Waits until n more rounds are done: somebody serves the client. */
void load_wait(struct load *l, unsigned n);

/* Waits until the client's connection has ended. may_end was set before. */
void load_wait_end(struct load *l);

/* Ends it; fails the test when anything was wrong. Returns the rounds it has done. */
unsigned load_stop(struct load *l);

/* What came of a Migrate. */
struct outcome {
    char error[64]; /* without the interface; "": it has moved */
    char phase[16];
    char text[256]; /* the error's parameters */
    int64_t blackout;
    unsigned replies;
};

struct wish {
    bool keep;
    int timeout_ms; /* 0: the default */
    bool no_fd;     /* the source is to connect itself */
};

/* Calls Migrate; the replies are to be waited for, or the connection freed. */
struct varlink *handover_begin(const struct server *from, const struct server *to,
                               const struct wish *wish);
void handover_wait(struct varlink *v, struct outcome *out);
void handover_do(const struct server *from, const struct server *to, const struct wish *wish,
                 struct outcome *out);

/* The same, which must succeed. */
void handover_succeeds(const struct server *from, const struct server *to, bool keep);

/*
 * A daemon that lives in a child of the test program and gets a signal when a phase of a handover
 * begins.
 */
struct fault {
    const char *phase; /* NULL: none */
    int signal;
};

void server_start_faulty(struct server *s, const struct fault *fault);

/* Waits until it was killed, or has stopped, by the fault's signal. */
void server_wait_fault(const struct server *s, const struct fault *fault);

/* Removes what a server left that was killed. */
void server_clean(const struct server *s);

/* Waits until the log has the text. */
void server_wait_log(const struct server *s, const char *text);

/* Whether a client is attached, by GetStatus. */
bool server_has_client(const struct server *s);

#endif
