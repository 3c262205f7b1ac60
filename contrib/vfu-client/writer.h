/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread that is a guest's processor: it writes BAR1 as fast as it can, through the mapping and,
 * where a page cannot be mapped, by message, and remembers what it has written last to each place.
 * The connection is shared by turns: whoever else uses it meanwhile asks with writer_lock.
 */
#ifndef VFU_CLIENT_WRITER_H
#define VFU_CLIENT_WRITER_H

#include <stdint.h>

#include "walk.h"

struct writer;

/* Starts it on w's BAR1. w stays the caller's, and must not be changed while it runs. */
int writer_start(struct walk *w, struct writer **out);

/* The connection is the caller's until writer_unlock; the thread goes on with the mapping. */
void writer_lock(struct writer *writer);
void writer_unlock(struct writer *writer);

/* Lets it end what it is at. 0, or the -errno of a write by message that failed. */
int writer_stop(struct writer *writer);

/* After writer_stop: writes through the mapping and by message. */
uint64_t writer_mapped(const struct writer *writer);
uint64_t writer_messages(const struct writer *writer);

/* After writer_stop: reads every place from w's BAR1 by message; it must hold what was written. */
void writer_check(const struct writer *writer, struct walk *w);

/* Stops it if it runs. */
void writer_free(struct writer *writer);

#endif
