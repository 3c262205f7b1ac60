/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/migrate/token.c, and what handover.c and receive.c make of it: whoever claims first has
 * the device, the other one yields, and those who keep it are told in the right order.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "unit/handover_sides.h"

/*
 * The word
 */

START_TEST(first_claim_counts)
{
    static const enum token_owner owners[] = { TOKEN_SOURCE, TOKEN_DESTINATION };
    enum token_owner first = owners[_i / 2];
    enum token_owner second = owners[_i % 2];
    struct token ours;
    struct token theirs;
    int fd;

    ck_assert_int_eq(token_new(&ours), 0);
    fd = dup(token_fd(&ours));
    ck_assert_int_eq(token_adopt(&fd, &theirs), 0);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(token_owner(&theirs), TOKEN_NOBODY);
    ck_assert(token_claim(&ours, first));
    ck_assert_int_eq(token_owner(&theirs), first);
    ck_assert(token_claim(&theirs, second) == (first == second));
    ck_assert(token_claim(&ours, first));
    ck_assert_int_eq(token_owner(&ours), first);
    token_fini(&ours);
    ck_assert_int_eq(token_fd(&ours), -1);
    ck_assert_int_eq(token_owner(&theirs), first);
    token_fini(&theirs);
    token_fini(&theirs);
}
END_TEST

/* What a stranger wrote there is neither. */
START_TEST(strange_owner)
{
    struct token t;

    ck_assert_int_eq(token_new(&t), 0);
    *(uint32_t *)(void *)t.memory.at = 77;
    ck_assert(!token_claim(&t, TOKEN_SOURCE) && !token_claim(&t, TOKEN_DESTINATION));
    token_fini(&t);
}
END_TEST

static void *claim(void *arg)
{
    return token_claim(arg, TOKEN_DESTINATION) ? arg : NULL;
}

START_TEST(only_one_of_two_at_once)
{
    unsigned won[2] = { 0, 0 };

    for (int i = 0; i < 200; i++) {
        struct token t;
        pthread_t thread;
        void *theirs;
        bool ours;

        ck_assert_int_eq(token_new(&t), 0);
        ck_assert_int_eq(pthread_create(&thread, NULL, claim, &t), 0);
        if (i % 2 == 0)
            poll(NULL, 0, 0);
        ours = token_claim(&t, TOKEN_SOURCE);
        ck_assert_int_eq(pthread_join(thread, &theirs), 0);
        ck_assert(ours != (theirs != NULL));
        won[ours]++;
        token_fini(&t);
    }
    ck_assert_uint_eq(won[0] + won[1], 200);
}
END_TEST

START_TEST(what_is_no_token)
{
    int fd = memfd_create("token", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct token t;

    ck_assert_int_eq(ftruncate(fd, TOKEN_BYTES), 0);
    ck_assert_int_eq(token_adopt(&fd, &t), -EINVAL); /* could be cut from under us */
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    ck_assert_int_eq(token_adopt(&fd, &t), 0);
    token_fini(&t);
    fd = memfd_create("token", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    ck_assert_int_eq(token_adopt(&fd, &t), -EINVAL);
    close(fd);
    fd = fake_eventfd();
    ck_assert_int_eq(token_adopt(&fd, &t), -EINVAL);
    close(fd);
}
END_TEST

/*
 * The source
 */

static void expect_calls(const struct kept *k, const char *calls, bool ran)
{
    ck_assert_str_eq(k->calls, calls);
    ck_assert(k->ran == ran);
}

static void expect_moved_away(const struct source *s, enum handover_outcome outcome)
{
    ck_assert(s->ended);
    ck_assert_int_eq(s->outcome, outcome);
    ck_assert_str_eq(s->phase, outcome == HANDOVER_MOVED ? "running" : "commit");
    ck_assert(!device_running(s->k.dev));
    ck_assert_uint_eq(s->thawed, 0);
    ck_assert_int_eq(token_owner(&s->peer.token), TOKEN_DESTINATION);
    expect_calls(&s->kept, "T()o", false);
}

static void expect_taken_back(const struct source *s, const char *reason)
{
    expect_kept(s, 1);
    ck_assert_msg(strstr(s->reason, reason) != NULL, "%s", s->reason);
    ck_assert_str_eq(s->phase, "ready");
    ck_assert_int_eq(s->owner_at_thaw, TOKEN_SOURCE);
    ck_assert_int_eq(token_owner(&s->peer.token), TOKEN_SOURCE);
    expect_calls(&s->kept, "T()()O", true);
}

static void commit(struct source *s, int timeout_ms)
{
    int fds[2];

    source_init(s, 100, timeout_ms, fds);
    accept_offer(s, fds[1], false);
    hear_all(s);
    expect_calls(&s->kept, "T()", false);
    ck_assert(s->kept.token == file_number(token_fd(&s->peer.token)));
    ck_assert_int_eq(token_owner(&s->peer.token), TOKEN_NOBODY);
    ck_assert_int_eq(say(&s->peer, HANDOVER_READY), 0);
    ck_assert_uint_eq(hear_next(&s->loop, &s->peer), HANDOVER_COMMIT);
    ck_assert(!s->ended);
}

static void hang_up(struct peer *p)
{
    shutdown(stream_fd(p->stream), SHUT_RDWR);
}

static void take(struct source *s)
{
    ck_assert(token_claim(&s->peer.token, TOKEN_DESTINATION));
}

enum after_commit {
    ENDS,        /* without having claimed */
    FAILS,       /* says so, and ends */
    SILENT,      /* nothing comes until the time is over */
    ENDS_UNREAD, /* and we are told to end at the same moment */
    N_AFTER_COMMIT,
};

static const char *const kept_reasons[] = {
    "has ended before it took the device",
    "the destination: why",
    "has not answered within",
    "has ended before it took the device",
};

START_TEST(taken_back_behind_commit)
{
    struct source s;

    commit(&s, _i == SILENT ? SHORT_MS : PATIENT_MS);
    if (_i == FAILS)
        ck_assert_int_eq(say(&s.peer, HANDOVER_FAILED), 0);
    else if (_i != SILENT)
        hang_up(&s.peer);
    if (_i == ENDS_UNREAD)
        handover_cancel(s.h, "because");
    else
        wait_until(&s.loop, &s.ended);
    expect_taken_back(&s, kept_reasons[_i]);
    ck_assert(!s.unsure);
    ck_assert(!token_claim(&s.peer.token, TOKEN_DESTINATION)); /* too late */
    source_fini(&s);
}
END_TEST

/* Killed with COMMIT unread. */
START_TEST(end_with_commit_unread)
{
    struct source s;
    int fds[2];

    source_init(&s, 100, PATIENT_MS, fds);
    accept_offer(&s, fds[1], false);
    hear_all(&s);
    ck_assert_int_eq(say(&s.peer, HANDOVER_READY), 0);
    for (int i = 0; i < 10; i++)
        uv_run(&s.loop, UV_RUN_NOWAIT);
    ck_assert(!s.ended && s.thawed == 0);
    s.peer.text[0] = '\0';
    hang_up(&s.peer);
    wait_until(&s.loop, &s.ended);
    expect_taken_back(&s, "has ended before it took the device");
    source_fini(&s);
}
END_TEST

enum after_claim {
    TAKEN_RUNS,
    TAKEN_ENDS,
    TAKEN_FAILS,
    TAKEN_CANCELLED,
    TAKEN_RUNS_CANCELLED,
    N_AFTER_CLAIM
};

START_TEST(not_taken_back_when_claimed)
{
    bool runs = _i == TAKEN_RUNS || _i == TAKEN_RUNS_CANCELLED;
    struct source s;

    commit(&s, PATIENT_MS);
    take(&s);
    if (runs)
        ck_assert_int_eq(say(&s.peer, HANDOVER_RUNNING), 0);
    else if (_i == TAKEN_ENDS)
        hang_up(&s.peer);
    else if (_i == TAKEN_FAILS)
        ck_assert_int_eq(say(&s.peer, HANDOVER_FAILED), 0);
    if (_i == TAKEN_CANCELLED || _i == TAKEN_RUNS_CANCELLED)
        handover_cancel(s.h, "because");
    else
        wait_until(&s.loop, &s.ended);
    expect_moved_away(&s, runs ? HANDOVER_MOVED : HANDOVER_LOST);
    ck_assert(strstr(s.reason, "started again") == NULL);
    source_fini(&s);
}
END_TEST

/* It has ended and will be there again: nobody here may take the device meanwhile. */
START_TEST(destination_that_outlives_itself)
{
    static const uint8_t outlives = 1;
    struct source s;
    int fds[2];

    source_init(&s, 100, PATIENT_MS, fds);
    accept_offer(&s, fds[1], false);
    hear_all(&s);
    ck_assert_int_eq(handover_send(s.peer.stream, HANDOVER_READY, &outlives, 1, NULL, 0), 0);
    ck_assert_int_eq(stream_flush(s.peer.stream), 0);
    ck_assert_uint_eq(hear_next(&s.loop, &s.peer), HANDOVER_COMMIT);
    take(&s);
    hang_up(&s.peer);
    wait_until(&s.loop, &s.ended);
    expect_moved_away(&s, HANDOVER_LOST);
    ck_assert_msg(strstr(s.reason, "when it is started again") != NULL, "%s", s.reason);
    source_fini(&s);
}
END_TEST

START_TEST(destination_of_version_2)
{
    struct source s;
    int fds[2];

    source_init(&s, 100, PATIENT_MS, fds);
    accept_offer(&s, fds[1], false);
    ck_assert_int_eq(handover_send(s.peer.stream, HANDOVER_FAILED, "PLAN: version", 13, NULL, 0),
                     0);
    ck_assert_int_eq(stream_flush(s.peer.stream), 0);
    wait_until(&s.loop, &s.ended);
    expect_kept(&s, 1);
    ck_assert_str_eq(s.reason, "the destination does not speak version 3 of the handover");
    source_fini(&s);
}
END_TEST

/* Who asked is told that it is not known; then it is. */
START_TEST(claimed_and_silent)
{
    struct source s;

    commit(&s, SHORT_MS);
    take(&s);
    wait_until(&s.loop, &s.unsure);
    ck_assert(!s.ended && s.thawed == 0 && !device_running(s.k.dev));
    expect_calls(&s.kept, "T()", false); /* somebody may still ask the token */
    if (_i == 0)
        ck_assert_int_eq(say(&s.peer, HANDOVER_RUNNING), 0);
    else
        hang_up(&s.peer);
    wait_until(&s.loop, &s.ended);
    expect_moved_away(&s, _i == 0 ? HANDOVER_MOVED : HANDOVER_LOST);
    source_fini(&s);
}
END_TEST

/* We end, and the other one is alive: what was committed is given to it. */
START_TEST(committed_is_given_away_at_our_end)
{
    struct source s;

    commit(&s, PATIENT_MS);
    handover_cancel(s.h, "because");
    expect_moved_away(&s, HANDOVER_LOST);
    ck_assert(token_claim(&s.peer.token, TOKEN_DESTINATION));
    source_fini(&s);
}
END_TEST

/* It says RUNNING and has not claimed: so that nobody does later. */
START_TEST(running_settles_it)
{
    struct source s;

    commit(&s, PATIENT_MS);
    ck_assert_int_eq(say(&s.peer, HANDOVER_RUNNING), 0);
    wait_until(&s.loop, &s.ended);
    expect_moved_away(&s, HANDOVER_MOVED);
    source_fini(&s);
}
END_TEST

/* It took our end for a death, or lies: whatever it says, the device is its own. */
START_TEST(claimed_before_commit)
{
    struct source s;
    int fds[2];

    source_init(&s, 100, _i == 1 ? SHORT_MS : PATIENT_MS, fds);
    accept_offer(&s, fds[1], false);
    hear_all(&s);
    take(&s);
    if (_i == 0)
        hang_up(&s.peer);
    else if (_i == 2)
        ck_assert_int_eq(say(&s.peer, HANDOVER_FAILED), 0);
    if (_i == 1)
        wait_until(&s.loop, &s.unsure);
    if (_i == 3 || _i == 1)
        handover_cancel(s.h, "because");
    else
        wait_until(&s.loop, &s.ended);
    expect_moved_away(&s, HANDOVER_LOST);
    source_fini(&s);
}
END_TEST

/* The token cannot be kept: nothing begins, and nobody is told that it is over. */
START_TEST(token_that_is_not_kept)
{
    struct source s;
    int fds[2];

    source_init(&s, 100, PATIENT_MS, fds);
    s.kept.error = -ENOSPC;
    accept_offer(&s, fds[1], false);
    wait_until(&s.loop, &s.ended);
    expect_kept(&s, 0);
    ck_assert_msg(strstr(s.reason, strerror(ENOSPC)) != NULL, "%s", s.reason);
    expect_calls(&s.kept, "T()", true);
    ck_assert_uint_eq(hear_next(&s.loop, &s.peer), HANDOVER_ABORT);
    ck_assert_uint_eq(hear_next(&s.loop, &s.peer), HUNG_UP);
    source_fini(&s);
}
END_TEST

/*
 * The destination
 */

/* Theirs is here, and stands still; ours may be had back. */
static void expect_under_token(const struct destination *d)
{
    const struct device_state state = kit_visible(&d->ours);
    const struct device_state theirs = kit_visible(&d->theirs);

    expect_calls(&d->kept, "()(R)", false);
    ck_assert(d->kept.token == file_number(token_fd(&d->peer.token)));
    ck_assert_uint_eq(d->kept.maps, 1);
    ck_assert_mem_eq(&d->kept.received, device_state(d->ours.dev), sizeof(d->kept.received));
    ck_assert_mem_eq(&state, &theirs, sizeof(state));
    ck_assert(file_of(d->ours.dev) == file_of(d->theirs.dev));
    ck_assert_int_eq(token_owner(&d->peer.token), TOKEN_NOBODY);
}

START_TEST(claims_and_runs)
{
    struct destination d;

    destination_init(&d, PATIENT_MS);
    send_device(&d);
    expect_under_token(&d);
    if (_i == 0)
        ck_assert_int_eq(say(&d.peer, HANDOVER_COMMIT), 0);
    else
        hang_up(&d.peer);
    wait_until(&d.loop, &d.ended);
    ck_assert(d.received && d.run == 1 && d.abandoned == 0);
    ck_assert_int_eq(token_owner(&d.peer.token), TOKEN_DESTINATION);
    expect_calls(&d.kept, "()(R)()O", true);
    ck_assert_int_eq(d.kept.owner, TOKEN_DESTINATION);
    destination_fini(&d);
}
END_TEST

enum yield { AT_COMMIT, AT_END, AT_ABORT, AT_CANCEL, AT_TIMEOUT, N_YIELDS };

/* The source has claimed first, or the destination gives up: ours is here again. */
START_TEST(yields)
{
    struct destination d;
    struct device_state state;
    ino_t file;

    destination_init(&d, _i == AT_TIMEOUT ? SHORT_MS : PATIENT_MS);
    state = kit_visible(&d.ours);
    file = file_of(d.ours.dev);
    send_device(&d);
    expect_under_token(&d);
    if (_i == AT_COMMIT || _i == AT_END)
        ck_assert(token_claim(&d.peer.token, TOKEN_SOURCE));
    if (_i == AT_COMMIT)
        ck_assert_int_eq(say(&d.peer, HANDOVER_COMMIT), 0);
    else if (_i == AT_END)
        hang_up(&d.peer);
    else if (_i == AT_ABORT)
        ck_assert_int_eq(say(&d.peer, HANDOVER_ABORT), 0);
    else if (_i == AT_CANCEL)
        receive_cancel(d.r, "because");
    wait_until(&d.loop, &d.ended);
    ck_assert(!d.received && d.run == 0 && d.abandoned == 1);
    ck_assert_int_eq(token_owner(&d.peer.token), TOKEN_SOURCE);
    expect_calls(&d.kept, "()(R)()o", true);
    ck_assert(file_of(d.ours.dev) == file);
    {
        const struct device_state now = kit_visible(&d.ours);

        ck_assert_mem_eq(&now, &state, sizeof(now));
    }
    if (_i == AT_COMMIT) {
        ck_assert_uint_eq(hear_next(&d.loop, &d.peer), HANDOVER_FAILED);
        ck_assert_msg(strstr(d.peer.text, "the source keeps it") != NULL, "%s", d.peer.text);
    }
    destination_fini(&d);
}
END_TEST

/* A deadline of ours that came while theirs was here. */
START_TEST(our_own_deadline_is_not_lost)
{
    const struct timer_state *timer;
    struct destination d;
    int64_t fired;

    destination_init(&d, PATIENT_MS);
    timer = &device_state(d.ours.dev)->timer;
    fired = timer->fired;
    ck_assert_int_ne(timer->deadline, 0);
    send_device(&d);
    ck_assert_int_eq(timer->deadline, 0); /* theirs */
    fake_set_time(&d.ours.host, d.ours.dev, FAKE_START_TIME + 40 * FAKE_NS_PER_S);
    receive_cancel(d.r, "because");
    ck_assert(device_running(d.ours.dev));
    ck_assert_int_eq(timer->deadline, 0);
    ck_assert_int_gt(timer->fired, fired);
    destination_fini(&d);
}
END_TEST

START_TEST(what_came_is_not_kept)
{
    struct destination d;
    struct device_state state;

    destination_init(&d, PATIENT_MS);
    state = kit_visible(&d.ours);
    d.kept.error = -ENOSPC;
    send_parcel(&d);
    ck_assert_uint_eq(hear_next(&d.loop, &d.peer), HANDOVER_FAILED);
    ck_assert_msg(strstr(d.peer.text, strerror(ENOSPC)) != NULL, "%s", d.peer.text);
    wait_until(&d.loop, &d.ended);
    ck_assert(!d.received && d.run == 0 && d.abandoned == 1);
    ck_assert_int_eq(token_owner(&d.peer.token), TOKEN_SOURCE);
    expect_calls(&d.kept, "()(R)()", true);
    {
        const struct device_state now = kit_visible(&d.ours);

        ck_assert_mem_eq(&now, &state, sizeof(now));
    }
    destination_fini(&d);
}
END_TEST

START_TEST(token_that_is_none)
{
    struct destination d;

    destination_init(&d, PATIENT_MS);
    token_fini(&d.peer.token);
    d.peer.token.memory =
        (struct memory) { .fd = fake_eventfd(), .at = (uint8_t *)&d }; /* looks like one */
    send_parcel(&d);
    close(d.peer.token.memory.fd);
    d.peer.token.memory.at = NULL;
    ck_assert_uint_eq(hear_next(&d.loop, &d.peer), HANDOVER_FAILED);
    ck_assert_msg(strstr(d.peer.text, "the token") != NULL, "%s", d.peer.text);
    wait_until(&d.loop, &d.ended);
    ck_assert(!d.received && d.adopted == 0);
    expect_calls(&d.kept, "()()", true);
    destination_fini(&d);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        strange_owner,
        only_one_of_two_at_once,
        what_is_no_token,
        end_with_commit_unread,
        committed_is_given_away_at_our_end,
        running_settles_it,
        token_that_is_not_kept,
        destination_that_outlives_itself,
        destination_of_version_2,
        our_own_deadline_is_not_lost,
        what_came_is_not_kept,
        token_that_is_none,
    };
    const struct fake_loop_test loops[] = {
        { first_claim_counts, 4 },
        { taken_back_behind_commit, N_AFTER_COMMIT },
        { not_taken_back_when_claimed, N_AFTER_CLAIM },
        { claimed_and_silent, 2 },
        { claimed_before_commit, 4 },
        { claims_and_runs, 2 },
        { yields, N_YIELDS },
    };

    return fake_run("handover_token", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
