/* SPDX-License-Identifier: BSD-3-Clause */
#include "measure.h"

#include "floor.h"

#define MS 1000000ll

/* Of each side in each round: short turns, so that what disturbs one disturbs the other. */
#define WARM_UP_NS (3 * MS)
#define COUNTED_NS (17 * MS)

enum side { OURS, FLOOR, SIDES };

/* One side's turn in a round: the median, and the 99th percentile where there is one. */
typedef int (*turn_fn)(int fd, const void *what, double *median, double *p99);

struct rounds {
    double median[SIDES][MEASURE_ROUNDS_MAX];
    double p99[SIDES][MEASURE_ROUNDS_MAX];
    double ratio[MEASURE_ROUNDS_MAX];
};

static int alternate(const int fds[SIDES], unsigned n, turn_fn turn, const void *what,
                     struct comparison *out)
{
    struct rounds r;

    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; k < SIDES; k++) {
            unsigned side = (i + k) % SIDES; /* nobody is always the first */
            int err = turn(fds[side], what, &r.median[side][i], &r.p99[side][i]);

            if (err != 0)
                return err;
        }
        r.ratio[i] = r.median[OURS][i] / r.median[FLOOR][i];
    }
    *out = (struct comparison) { .ours = stats_median(r.median[OURS], n),
                                 .floor = stats_median(r.median[FLOOR], n),
                                 .ratio = stats_median(r.ratio, n),
                                 .ours_p99 = stats_median(r.p99[OURS], n),
                                 .floor_p99 = stats_median(r.p99[FLOOR], n) };
    return 0;
}

static int round_trips_turn(int fd, const void *what, double *median, double *p99)
{
    static struct samples samples;
    int err;

    samples.n = 0;
    err = traffic_round_trips(fd, what, WARM_UP_NS, &samples);
    samples.n = 0;
    if (err == 0)
        err = traffic_round_trips(fd, what, COUNTED_NS, &samples);
    *median = samples_percentile(&samples, 0.5);
    *p99 = samples_percentile(&samples, 0.99);
    return err;
}

int measure_round_trips_of_two(int fd, int other_fd, const struct exchange *x, unsigned rounds,
                               struct comparison *out)
{
    return alternate((const int[SIDES]) { fd, other_fd }, rounds, round_trips_turn, x, out);
}

int measure_round_trips(int fd, const struct exchange *x, unsigned rounds, struct comparison *out)
{
    struct floor_process floor;
    int err = floor_start(x->request_len, x->reply, x->reply_len, &floor);

    if (err != 0)
        return err;
    err = measure_round_trips_of_two(fd, floor.fd, x, rounds, out);
    floor_stop(&floor);
    return err;
}

static int writes_turn(int fd, const void *what, double *median, double *p99)
{
    static struct samples samples;
    int64_t start = stats_now();
    int64_t ns = 0;
    int err = 0;

    samples.n = 0;
    while (err == 0 && stats_now() - start < WARM_UP_NS)
        err = traffic_write(fd, what, &ns);
    start = stats_now();
    while (err == 0 && stats_now() - start < COUNTED_NS) {
        err = traffic_write(fd, what, &ns);
        samples_add(&samples, ns);
    }
    *median = samples_percentile(&samples, 0.5);
    *p99 = samples_percentile(&samples, 0.99);
    return err;
}

int measure_writes_of_two(int fd, int other_fd, const struct stream_of_writes *w, unsigned count,
                          unsigned rounds, struct comparison *out)
{
    int err = alternate((const int[SIDES]) { fd, other_fd }, rounds, writes_turn, w, out);

    if (err != 0)
        return err;
    /* Durations so far. */
    *out = (struct comparison) { .ours = count * 1e9 / out->ours,
                                 .floor = count * 1e9 / out->floor,
                                 .ratio = 1 / out->ratio };
    return 0;
}

int measure_writes(int fd, const struct stream_of_writes *w, unsigned count, unsigned rounds,
                   struct comparison *out)
{
    struct floor_process floor;
    int err = floor_start(w->len, w->reply, w->reply_len, &floor);

    if (err != 0)
        return err;
    err = measure_writes_of_two(fd, floor.fd, w, count, rounds, out);
    floor_stop(&floor);
    return err;
}
