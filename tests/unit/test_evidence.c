/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel notes of a step holds whenever the process is killed: children signal and take
 * without pause, their parent kills them at any instant, and the sums must be right. And a step
 * that is executed again does what was not done, and nothing twice.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "device/evidence.h"
#include "device/notifier.h"
#include "unit/fakes.h"

#define OFFSET 1024 /* of the evidence in its memory */
#define LIVES  8    /* children at a time */
#define KILLS  8    /* of each, in one test */
#define ROUNDS 4    /* of a test */

/* Steps as a keeper of the device makes them: one is ended by one store. */
struct steps {
    uint64_t started; /* 1: the child is at work */
    uint64_t open;    /* the step that was begun last */
    uint64_t ended;
    uint64_t signals[2]; /* of all steps that have ended; that of the last one counts */
    uint64_t taken[2];
    uint64_t limit; /* no step behind this one */
};

struct world {
    struct evidence_place place;
    struct steps *steps;
    int line; /* what is signalled */
    int bell; /* what is taken from */
    uint64_t rung;
};

static void world_init(struct world *w)
{
    uint8_t *at;
    int fd = memfd_create("evidence", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(at, MAP_FAILED);
    *w = (struct world) { .place = { (struct evidence *)(void *)(at + OFFSET), fd, OFFSET },
                          .steps = (struct steps *)(void *)at,
                          .line = fake_eventfd(),
                          .bell = fake_eventfd() };
    w->steps->limit = UINT64_MAX;
}

static void world_fini(struct world *w)
{
    munmap(w->steps, 4096);
    close(w->place.fd);
    close(w->line);
    close(w->bell);
}

static void worlds_init(struct world *w)
{
    for (unsigned i = 0; i < LIVES; i++)
        world_init(&w[i]);
}

static void worlds_fini(struct world *w)
{
    for (unsigned i = 0; i < LIVES; i++)
        world_fini(&w[i]);
}

static struct notifier *make_notifier(struct world *w)
{
    struct notifier *n;

    ck_assert_int_eq(notifier_new(&n), 0);
    notifier_set_evidence(n, &w->place);
    return n;
}

/*
 * The child
 */

static unsigned signals_of(uint64_t step)
{
    return 1 + step % 4;
}

/* More than there is room to note, sometimes: what is not taken is taken later. */
static unsigned takes_of(uint64_t step)
{
    return step % (EVIDENCE_TAKES + 3);
}

static uint64_t execute(struct world *w, struct notifier *n, uint64_t step)
{
    unsigned signals = signals_of(step);
    unsigned takes = takes_of(step);
    uint64_t taken = 0;
    uint64_t count;

    for (unsigned i = 0; i < signals || i < takes; i++) {
        if (i < takes && notifier_take(n, w->bell, &count))
            taken += count;
        if (i < signals && notifier_signal(n, w->line) != 0)
            _exit(1);
    }
    return taken + notifier_replayed(n);
}

static void end_step(struct steps *s, uint64_t step, uint64_t taken)
{
    s->signals[step & 1] = s->signals[(step - 1) & 1] + signals_of(step);
    s->taken[step & 1] = s->taken[(step - 1) & 1] + taken;
    __atomic_store_n(&s->ended, step, __ATOMIC_RELEASE);
}

/* Steps until it is killed, first the one that another child was killed in. */
static void work(struct world *w, bool replays)
{
    struct notifier *n = make_notifier(w);
    struct steps *s = w->steps;
    const struct evidence before = *w->place.at;

    if (replays && s->open == s->ended + 1)
        notifier_replay(n, &before);
    else
        evidence_reset(w->place.at);
    __atomic_store_n(&s->started, 1, __ATOMIC_RELEASE);
    while (s->ended < s->limit) {
        uint64_t step = s->ended + 1;

        if (s->open != step) {
            evidence_reset(w->place.at);
            __atomic_store_n(&s->open, step, __ATOMIC_RELEASE);
        }
        end_step(s, step, execute(w, n, step));
    }
    _exit(0);
}

/*
 * The parent
 */

static void ring(struct world *w)
{
    uint64_t n = 1 + w->rung % 3;

    ck_assert_int_eq(eventfd_write(w->bell, n), 0);
    w->rung += n;
}

/* Rings all of them until so much time has passed. */
static void ring_for(struct world *w, long ns)
{
    struct timespec begin;
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        for (unsigned i = 0; i < LIVES; i++)
            ring(&w[i]);
        clock_gettime(CLOCK_MONOTONIC, &t);
    } while ((t.tv_sec - begin.tv_sec) * 1000000000l + (t.tv_nsec - begin.tv_nsec) < ns);
}

/*
 * A child in each world, killed after so much time. At once, since the end of a process with AIO
 * takes the kernel some hundredths of a second.
 */
static void let_live(struct world *w, bool replays, long ns)
{
    pid_t children[LIVES];
    int status;

    for (unsigned i = 0; i < LIVES; i++) {
        w[i].steps->started = 0;
        children[i] = fork();
        ck_assert_int_ge(children[i], 0);
        if (children[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            work(&w[i], replays);
        }
    }
    for (unsigned i = 0; i < LIVES; i++) {
        while (__atomic_load_n(&w[i].steps->started, __ATOMIC_ACQUIRE) == 0)
            usleep(10);
    }
    ring_for(w, ns);
    for (unsigned i = 0; i < LIVES; i++)
        ck_assert_int_eq(kill(children[i], SIGKILL), 0);
    for (unsigned i = 0; i < LIVES; i++) {
        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert_msg(WIFSIGNALED(status), "it has ended by itself: %x", (unsigned)status);
    }
}

static uint64_t sum_taken(const struct evidence *e)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < e->takes; i++)
        sum += e->taken[i];
    return sum;
}

/* Whether its last step had not ended. */
static bool expect_noted(struct world *w)
{
    const struct evidence *e = w->place.at;
    struct steps *s = w->steps;
    bool open = s->open == s->ended + 1;

    ck_assert_uint_eq(fake_signals(w->line), s->signals[s->ended & 1] + (open ? e->signalled : 0));
    ck_assert_uint_eq(w->rung - fake_signals(w->bell),
                      s->taken[s->ended & 1] + (open ? sum_taken(e) : 0));
    *s = (struct steps) { .limit = UINT64_MAX };
    w->rung = 0;
    return open;
}

/* Each life by itself: what is noted is what happened. */
START_TEST(a_kill_at_any_instant)
{
    struct world worlds[LIVES];
    unsigned in_step = 0;

    srand(7 + (unsigned)_i);
    worlds_init(worlds);
    for (int i = 0; i < KILLS; i++) {
        let_live(worlds, false, rand() % 150000);
        for (unsigned j = 0; j < LIVES; j++)
            in_step += expect_noted(&worlds[j]);
    }
    ck_assert_uint_gt(in_step, LIVES * KILLS / 4);
    worlds_fini(worlds);
}
END_TEST

static void expect_sums(struct world *w, uint64_t *seen)
{
    const struct steps *s = w->steps;
    bool open = s->open == s->ended + 1;

    *seen += fake_signals(w->line);
    ck_assert_uint_eq(*seen, s->signals[s->ended & 1] + (open ? w->place.at->signalled : 0));
}

static void live_to_the_end(struct world *w)
{
    pid_t child;
    int status;

    w->steps->limit = w->steps->ended + 2;
    child = fork();
    if (child == 0)
        work(w, true);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

/* One life after the other, each going on where the one before was killed, be it in a replay. */
START_TEST(steps_are_executed_again)
{
    struct world worlds[LIVES];
    uint64_t seen[LIVES] = { 0 };

    srand(8 + (unsigned)_i);
    worlds_init(worlds);
    for (int i = 0; i < KILLS; i++) {
        let_live(worlds, true, i % 2 == 0 ? rand() % 100000 : rand() % 4000);
        for (unsigned j = 0; j < LIVES; j++)
            expect_sums(&worlds[j], &seen[j]);
    }
    for (unsigned j = 0; j < LIVES; j++) {
        const struct steps *s = worlds[j].steps;

        live_to_the_end(&worlds[j]);
        expect_sums(&worlds[j], &seen[j]);
        ck_assert_uint_eq(s->open, s->ended);
        ck_assert_uint_eq(s->taken[s->ended & 1] + fake_signals(worlds[j].bell), worlds[j].rung);
    }
    worlds_fini(worlds);
}
END_TEST

/* The order of what is given again, and what becomes of the rest. */
START_TEST(what_was_done_is_answered)
{
    const struct evidence before = { .signalled = 2, .takes = 3, .taken = { 5, 6, 0 } };
    struct notifier *n;
    struct world w;
    uint64_t count;

    world_init(&w);
    n = make_notifier(&w);
    notifier_replay(n, &before);
    ring(&w);
    ck_assert(notifier_passed(n));
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(notifier_signal(n, w.line), 0);
    ck_assert(!notifier_passed(n));
    ck_assert_uint_eq(fake_signals(w.line), 0);
    ck_assert(notifier_take(n, w.bell, &count) && count == 5);
    ck_assert(notifier_take(n, w.bell, &count) && count == 6);
    ck_assert_uint_eq(w.place.at->signalled, 2);
    ck_assert_int_eq(notifier_signal(n, w.line), 0); /* the third is new */
    ck_assert_uint_eq(fake_signals(w.line), 1);
    ck_assert_uint_eq(w.place.at->signalled, 3);
    ck_assert(notifier_take(n, w.bell, &count) && count == w.rung);
    ck_assert(!notifier_take(n, w.bell, &count));
    ck_assert_uint_eq(sum_taken(w.place.at), 5 + 6 + w.rung);
    ck_assert_uint_eq(notifier_replayed(n), 0);
    notifier_free(n);
    world_fini(&w);
}
END_TEST

START_TEST(what_is_not_asked_for_is_returned)
{
    const struct evidence before = { .signalled = 1, .takes = 3, .taken = { 5, 6, 7 } };
    struct notifier *n;
    struct world w;
    uint64_t count;

    world_init(&w);
    n = make_notifier(&w);
    notifier_replay(n, &before);
    ck_assert(notifier_take(n, w.bell, &count) && count == 5);
    ck_assert_uint_eq(notifier_replayed(n), 13);
    ck_assert(!notifier_passed(n));
    ck_assert_uint_eq(notifier_replayed(n), 0);
    ck_assert(!notifier_take(n, w.bell, &count));
    ck_assert_int_eq(notifier_signal(n, w.line), 0); /* that of a later step */
    ck_assert_uint_eq(fake_signals(w.line), 1);
    notifier_free(n);
    world_fini(&w);
}
END_TEST

/* What cannot be noted is left, and there for the next step. */
START_TEST(more_takes_than_can_be_noted)
{
    struct notifier *n;
    struct world w;
    uint64_t count;

    world_init(&w);
    n = make_notifier(&w);
    for (int i = 0; i < EVIDENCE_TAKES; i++) {
        for (int empty = 0; empty < 3; empty++)
            ck_assert(!notifier_take(n, w.bell, &count));
        ring(&w);
        ck_assert(notifier_take(n, w.bell, &count));
    }
    ring(&w);
    ck_assert(!notifier_take(n, w.bell, &count));
    evidence_reset(w.place.at);
    ck_assert(notifier_take(n, w.bell, &count));
    ck_assert_uint_eq(sum_taken(w.place.at), count);
    notifier_free(n);
    world_fini(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_kill_at_any_instant,        steps_are_executed_again,
        what_was_done_is_answered,    what_is_not_asked_for_is_returned,
        more_takes_than_can_be_noted,
    };

    const struct fake_loop_test loops[] = {
        { a_kill_at_any_instant, ROUNDS },
        { steps_are_executed_again, ROUNDS },
    };

    return fake_run("evidence", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
