/* SPDX-License-Identifier: BSD-3-Clause */
#include "writer.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BAR1         VFIO_PCI_BAR1_REGION_INDEX
#define PAGE         4096u
#define MAX_MAPPED   256u /* pages written: a working set, so that copying can get ahead of it */
#define MAX_MESSAGES 16u
#define PASSES       64u /* through the mapping for each one by message */

/* The last 8 bytes of a page. */
struct place {
    uint64_t offset;
    volatile uint64_t *at; /* NULL: by message */
    uint64_t value;        /* written last */
};

struct writer {
    struct walk *walk;
    struct place places[MAX_MAPPED + MAX_MESSAGES];
    unsigned n_mapped; /* those come first */
    unsigned n;
    uint64_t mapped;
    uint64_t messages;
    int err;
    pthread_t thread;
    pthread_mutex_t turn;
    atomic_int waiting; /* for the turn: the thread, which would take it again at once, lets them */
    atomic_bool stop;
    bool running;
};

static uint8_t *mapped_at(const struct walk *w, uint64_t offset)
{
    for (unsigned i = 0; i < w->n_areas; i++) {
        const struct walk_area *area = &w->areas[i];

        if (offset >= area->offset && offset - area->offset + sizeof(uint64_t) <= area->size)
            return area->at + (offset - area->offset);
    }
    return NULL;
}

static void choose_places(struct writer *x, bool mapped, unsigned most)
{
    uint64_t size = x->walk->region_size[BAR1];
    unsigned begin = x->n;

    for (uint64_t page = 0; page + PAGE <= size && x->n - begin < most; page += PAGE) {
        uint64_t offset = page + PAGE - sizeof(uint64_t);
        uint8_t *at = mapped_at(x->walk, offset);

        if ((at != NULL) == mapped)
            x->places[x->n++] =
                (struct place) { .offset = offset, .at = (volatile uint64_t *)(void *)at };
    }
}

static void write_mapped(struct writer *x, uint64_t value)
{
    for (unsigned i = 0; i < x->n_mapped; i++) {
        x->places[i].value = value;
        *x->places[i].at = htole64(value);
    }
    x->mapped += x->n_mapped;
}

static void write_message(struct writer *x, struct place *place, uint64_t value)
{
    const uint64_t data = htole64(value);

    while (atomic_load(&x->waiting) > 0)
        sched_yield();
    pthread_mutex_lock(&x->turn);
    x->err = client_region_write(x->walk->client, BAR1, place->offset, &data, sizeof(data));
    pthread_mutex_unlock(&x->turn);
    if (x->err == 0)
        place->value = value;
    x->messages++;
}

static void *run(void *arg)
{
    struct writer *x = arg;
    uint64_t value = 1;

    while (!atomic_load(&x->stop) && x->err == 0) {
        for (unsigned i = 0; i < PASSES; i++)
            write_mapped(x, value++);
        for (unsigned i = x->n_mapped; i < x->n && x->err == 0 && !atomic_load(&x->stop); i++)
            write_message(x, &x->places[i], value++);
    }
    return NULL;
}

int writer_start(struct walk *w, struct writer **out)
{
    struct writer *x = calloc(1, sizeof(*x));
    int err;

    if (x == NULL)
        return -ENOMEM;
    x->walk = w;
    choose_places(x, true, MAX_MAPPED);
    x->n_mapped = x->n;
    choose_places(x, false, MAX_MESSAGES);
    pthread_mutex_init(&x->turn, NULL);
    err = pthread_create(&x->thread, NULL, run, x);
    x->running = err == 0;
    if (err != 0) {
        writer_free(x);
        return -err;
    }
    *out = x;
    return 0;
}

void writer_lock(struct writer *x)
{
    atomic_fetch_add(&x->waiting, 1);
    pthread_mutex_lock(&x->turn);
    atomic_fetch_sub(&x->waiting, 1);
}

void writer_unlock(struct writer *x)
{
    pthread_mutex_unlock(&x->turn);
}

int writer_stop(struct writer *x)
{
    if (x->running) {
        atomic_store(&x->stop, true);
        pthread_join(x->thread, NULL);
        x->running = false;
    }
    return x->err;
}

uint64_t writer_mapped(const struct writer *x)
{
    return x->mapped;
}

uint64_t writer_messages(const struct writer *x)
{
    return x->messages;
}

void writer_check(const struct writer *x, struct walk *w)
{
    for (unsigned i = 0; i < x->n && !walk_failed(w); i++) {
        const struct place *place = &x->places[i];

        if (place->value != 0) /* 0: it never came to that */
            walk_expect(w,
                        place->at != NULL ? "BAR1 where it was written through the mapping last"
                                          : "BAR1 where it was written by message last",
                        place->value, walk_get(w, BAR1, place->offset, sizeof(uint64_t)));
    }
}

void writer_free(struct writer *x)
{
    if (x == NULL)
        return;
    writer_stop(x);
    pthread_mutex_destroy(&x->turn);
    free(x);
}
