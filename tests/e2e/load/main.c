/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keep-load SOCKET [--twin] [--seed N] [--faults N | --poison N]: attaches, says "attached", keeps
 * the device busy until its standard input ends, and says what came of it:
 *
 *   OPERATIONS operations, N lost, N repeated, N errors; N gaps, median US us, p99 US us, worst US
 * us
 *
 * A gap is a call that took 20 ms and more, or an interrupt that was so late. What goes wrong is
 * said on standard error. With
 * --faults it ends by itself, after N deaths of a daemon that is vfio-userd-fault, each in a
 * command of its load; with --poison after N commands that kill twice, which must be answered with
 * EIO.
 *
 * Exit status: 0, also when operations were lost; 1: the load was not run to its end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load/fault.h"
#include "load/load.h"

#define COMMANDS 200u /* of a round, less than that */

struct options {
    const char *path;
    bool twin;
    uint64_t seed;
    unsigned faults;
    unsigned poison;
};

static bool input_has_ended(void)
{
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
    char byte;

    return poll(&p, 1, 0) == 1 && read(STDIN_FILENO, &byte, 1) <= 0;
}

static void run(struct load *l)
{
    while (!l->over && !input_has_ended())
        load_round(l);
}

/*
 * Faults
 */

static int set_fault(struct load *l, uint32_t countdown, uint32_t deaths, uint32_t after)
{
    const struct fault fault = {
        .magic = FAULT_MAGIC, .countdown = countdown, .deaths = deaths, .after = after
    };

    return load_poke(l, l->bar1_size - FAULT_FROM_END, &fault, sizeof(fault));
}

static void run_faults(struct load *l, unsigned n)
{
    for (unsigned i = 0; i < n && !l->over; i++) {
        struct fault left = { .deaths = 1 };

        set_fault(l, (uint32_t)load_random(l, COMMANDS), 1, (uint32_t)load_random(l, 2));
        while (!l->over && left.deaths != 0) {
            load_round(l);
            load_peek(l, l->bar1_size - FAULT_FROM_END, &left, sizeof(left));
        }
    }
}

/* What is refused has not been done, however far the command got. */
static void run_poison(struct load *l, unsigned n)
{
    for (unsigned i = 0; i < n && !l->over; i++) {
        int err;

        set_fault(l, 0, 2, i % 2);
        err = load_ring(l);
        if (err != -EIO) {
            l->totals.errors++;
            load_complain(l, "a command that kills twice: %s, not EIO", strerror(-err));
        }
        load_count_rings(l);
        load_round(l);
    }
}

/*
 * The end
 */

static int compare(const void *a, const void *b)
{
    int64_t first = *(const int64_t *)a;
    int64_t second = *(const int64_t *)b;

    return first < second ? -1 : first > second;
}

/* n of 100, in microseconds. */
static long long gap(const struct load *l, unsigned n)
{
    return l->n_gaps > 0 ? (long long)l->gaps[(l->n_gaps - 1) * n / 100] / 1000 : 0;
}

static void report(struct load *l)
{
    const struct load_totals *t = &l->totals;

    qsort(l->gaps, l->n_gaps, sizeof(l->gaps[0]), compare);
    printf("%llu operations, %llu lost, %llu repeated, %llu errors; "
           "%u gaps, median %lld us, p99 %lld us, worst %lld us\n",
           (unsigned long long)t->operations, (unsigned long long)t->lost,
           (unsigned long long)t->repeated, (unsigned long long)t->errors, l->n_gaps, gap(l, 50),
           gap(l, 99), gap(l, 100));
}

static bool parse(int argc, char **argv, struct options *out)
{
    *out = (struct options) { .seed = (uint64_t)load_now(CLOCK_REALTIME) };
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;

        if (strcmp(argv[i], "--twin") == 0)
            out->twin = true;
        else if (strcmp(argv[i], "--seed") == 0 && more)
            out->seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--faults") == 0 && more)
            out->faults = (unsigned)strtoul(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--poison") == 0 && more)
            out->poison = (unsigned)strtoul(argv[++i], NULL, 0);
        else
            out->path = argv[i];
    }
    return out->path != NULL && out->seed != 0;
}

int main(int argc, char **argv)
{
    static struct load load; /* for its size */
    struct options o;
    int err;

    if (!parse(argc, argv, &o)) {
        fputs("usage: keep-load SOCKET [--twin] [--seed N] [--faults N | --poison N]\n", stderr);
        return EXIT_FAILURE;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    fprintf(stderr, "keep-load: seed %llu\n", (unsigned long long)o.seed);
    err = load_open(&load, o.path, o.twin, o.seed);
    if (err == 0) {
        puts("attached");
        if (o.faults > 0)
            run_faults(&load, o.faults);
        else if (o.poison > 0)
            run_poison(&load, o.poison);
        else
            run(&load);
        load_settle(&load);
        report(&load);
    } else {
        fprintf(stderr, "keep-load: attaching: %s\n", strerror(-err));
    }
    err = err != 0 || load.over;
    load_close(&load);
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
