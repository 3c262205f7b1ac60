/* SPDX-License-Identifier: BSD-3-Clause */
#include "integration/guest_latency.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *run(void *arg)
{
    struct guest *g = arg;

    do {
        uint8_t data[8];
        uint64_t begin = clock_now();
        int err = client_region_read(g->client, 1, 4096, data, sizeof(data));
        uint64_t ns = clock_now() - begin;

        if (err != 0) {
            atomic_store(&g->error, err);
            break;
        }
        if (g->count < GUEST_SAMPLES)
            g->ns[g->count] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
        g->count++;
        g->max_ns = ns > g->max_ns ? ns : g->max_ns;
    } while (!atomic_load(&g->stop));
    return NULL;
}

void guest_start(struct guest *g, const struct server *s)
{
    *g = (struct guest) { .client = server_connect(s) };
    g->ns = malloc(GUEST_SAMPLES * sizeof(*g->ns));
    ck_assert_ptr_nonnull(g->ns);
    ck_assert_int_eq(pthread_create(&g->thread, NULL, run, g), 0);
}

static int compare(const void *a, const void *b)
{
    const uint32_t *x = a;
    const uint32_t *y = b;

    return (*x > *y) - (*x < *y);
}

void guest_stop(struct guest *g, const char *what, unsigned max_ms)
{
    uint64_t n;

    atomic_store(&g->stop, true);
    ck_assert_int_eq(pthread_join(g->thread, NULL), 0);
    n = g->count < GUEST_SAMPLES ? g->count : GUEST_SAMPLES;
    ck_assert_int_eq(atomic_load(&g->error), 0);
    ck_assert_uint_gt(n, 0);
    qsort(g->ns, n, sizeof(*g->ns), compare);
    printf("%-44s guest: %7llu reads, median %7.1f us, 99 %% %7.1f us, longest %8.1f us\n", what,
           (unsigned long long)g->count, g->ns[n / 2] / 1e3, g->ns[n * 99 / 100] / 1e3,
           (double)g->max_ns / 1e3);
    fflush(stdout);
    ck_assert_msg(g->max_ns < max_ms * 1000000ull, "%s: a read took %llu ms", what,
                  (unsigned long long)g->max_ns / 1000000);
    client_free(g->client);
    free(g->ns);
}
