/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/migrate/handover.c and receive.c: what keeps a device from having two owners, or none.
 * Each is on a loop by itself here; the other end of its connection is played by the test.
 */
#define _GNU_SOURCE
#include "unit/handover_sides.h"

/* The other one is told why. */
static void expect_abort(struct source *s, const char *text)
{
    uint32_t command;

    do {
        command = hear_next(&s->loop, &s->peer);
    } while (command < HANDOVER_ABORT && command != HUNG_UP && command != HANDOVER_COMMIT);
    ck_assert_msg(command == HANDOVER_ABORT, "%s, not ABORT", handover_command_name(command));
    ck_assert_msg(strstr(s->peer.text, text) != NULL, "%s", s->peer.text);
    ck_assert_uint_eq(hear_next(&s->loop, &s->peer), HUNG_UP);
}

START_TEST(abort_while_the_client_is_not_quiet)
{
    struct source s;
    int fds[2];

    source_init(&s, 100, PATIENT_MS, fds);
    s.busy = true;
    accept_offer(&s, fds[1], false);
    handover_cancel(s.h, "because");
    expect_kept(&s, 0);
    expect_abort(&s, "because");
    source_fini(&s);
}
END_TEST

enum way { CANCELLED, TOO_LATE, REFUSED, N_WAYS };

static const char *const texts[] = { "because", "has not answered within", "the destination: why" };

/* All has been sent, so that the other one may become ready at any time. */
START_TEST(abort_when_all_is_sent)
{
    struct source s;
    int fds[2];

    source_init(&s, 100, _i == TOO_LATE ? SHORT_MS : PATIENT_MS, fds);
    accept_offer(&s, fds[1], false);
    hear_all(&s);
    ck_assert(!device_running(s.k.dev));
    if (_i == CANCELLED)
        handover_cancel(s.h, texts[_i]);
    else if (_i == REFUSED)
        ck_assert_int_eq(say(&s.peer, HANDOVER_FAILED), 0);
    wait_until(&s.loop, &s.ended);
    expect_kept(&s, 1);
    ck_assert(strstr(s.reason, texts[_i]) != NULL);
    /* The device was claimed before the client went on, and the other one told. */
    ck_assert_int_eq(s.owner_at_thaw, TOKEN_SOURCE);
    ck_assert_uint_eq(s.heard_at_thaw, HANDOVER_ABORT);
    ck_assert(strstr(s.peer.text, texts[_i]) != NULL);
    ck_assert_uint_eq(hear_next(&s.loop, &s.peer), HUNG_UP);
    source_fini(&s);
}
END_TEST

/* READY before the other one can have all of it. */
static const struct {
    bool busy;     /* nothing is sent yet */
    size_t unread; /* bytes to be sent */
    int buffer;    /* the socket's; 0: the default */
} early[] = {
    { true, 100, 0 },
    { false, 8u << 20, 0 },      /* more than is queued at once */
    { false, 200u << 10, 4096 }, /* all is queued, and not all is sent */
};

START_TEST(ready_too_early)
{
    struct source s;
    uint32_t command;
    int fds[2];

    source_init(&s, early[_i].unread, PATIENT_MS, fds);
    s.busy = early[_i].busy;
    if (early[_i].buffer > 0)
        ck_assert_int_eq(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &early[_i].buffer, sizeof(int)),
                         0);
    accept_offer(&s, fds[1], _i == 0);
    if (_i > 0) {
        ck_assert(!device_running(s.k.dev) && !s.ended);
        ck_assert_int_eq(say(&s.peer, HANDOVER_READY), 0);
    }
    wait_until(&s.loop, &s.ended);
    expect_kept(&s, s.busy ? 0 : 1);
    ck_assert_str_eq(s.reason, "the destination said READY");
    ck_assert(s.heard_at_thaw < HANDOVER_END); /* 0 in row 0 */
    while ((command = hear_next(&s.loop, &s.peer)) != HUNG_UP)
        ck_assert(command != HANDOVER_COMMIT && command != HANDOVER_END);
    source_fini(&s);
}
END_TEST

START_TEST(ready_in_time)
{
    struct source s;
    int fds[2];

    source_init(&s, 200u << 10, PATIENT_MS, fds);
    accept_offer(&s, fds[1], false);
    hear_all(&s);
    ck_assert_int_eq(say(&s.peer, HANDOVER_READY), 0);
    ck_assert_uint_eq(hear_next(&s.loop, &s.peer), HANDOVER_COMMIT);
    ck_assert(!s.ended && !device_running(s.k.dev));
    ck_assert_int_eq(token_owner(&s.peer.token), TOKEN_NOBODY);
    ck_assert(token_claim(&s.peer.token, TOKEN_DESTINATION));
    ck_assert_int_eq(say(&s.peer, HANDOVER_RUNNING), 0);
    wait_until(&s.loop, &s.ended);
    ck_assert_int_eq(s.outcome, HANDOVER_MOVED);
    ck_assert(!device_running(s.k.dev) && s.thawed == 0);
    source_fini(&s);
}
END_TEST

enum end { ABORTED, OUT_OF_PLACE, STOPPED, NO_COMMIT, N_ENDS };

/* Nothing comes of it behind READY, when all but the registers is theirs already. */
START_TEST(all_is_put_back_behind_ready)
{
    struct destination d;
    struct device_state state;
    struct dma_info info;
    uint8_t *bytes;
    ino_t file;

    destination_init(&d, _i == NO_COMMIT ? SHORT_MS : PATIENT_MS);
    state = kit_visible(&d.ours);
    bytes = malloc(d.ours.d.bar1.size);
    memcpy(bytes, device_bar1(d.ours.dev), d.ours.d.bar1.size);
    file = file_of(d.ours.dev);
    send_device(&d);
    ck_assert_uint_eq(d.adopted, 1);
    ck_assert(file_of(d.ours.dev) == file_of(d.theirs.dev));
    if (_i == ABORTED)
        ck_assert_int_eq(say(&d.peer, HANDOVER_ABORT), 0);
    else if (_i == OUT_OF_PLACE)
        ck_assert_int_eq(say(&d.peer, HANDOVER_END), 0);
    else if (_i == STOPPED)
        receive_cancel(d.r, "because");
    wait_until(&d.loop, &d.ended);
    ck_assert(!d.received && d.abandoned == 1 && d.run == 0);
    ck_assert(device_running(d.ours.dev));
    ck_assert(file_of(d.ours.dev) == file);
    ck_assert_mem_eq(device_bar1(d.ours.dev), bytes, d.ours.d.bar1.size);
    ck_assert_uint_eq(fake_get(d.ours.dev, VFIO_PCI_BAR1_REGION_INDEX, 0, 1), bytes[0]);
    ck_assert_uint_ne(device_bar1(d.theirs.dev)[0], bytes[0]);
    {
        const struct device_state now = kit_visible(&d.ours);

        ck_assert_mem_eq(&now, &state, sizeof(now));
    }
    dma_get_info(device_dma(d.ours.dev), &info);
    ck_assert_uint_eq(info.maps, 0);
    free(bytes);
    destination_fini(&d);
}
END_TEST

/* With COMMIT, or when the source ends without ABORT, it is theirs that runs. */
START_TEST(theirs_runs_here)
{
    struct destination d;

    destination_init(&d, PATIENT_MS);
    send_device(&d);
    if (_i == 0)
        ck_assert_int_eq(say(&d.peer, HANDOVER_COMMIT), 0);
    else
        shutdown(stream_fd(d.peer.stream), SHUT_RDWR);
    wait_until(&d.loop, &d.ended);
    ck_assert(d.received && d.run == 1 && d.abandoned == 0);
    ck_assert(device_running(d.ours.dev));
    kit_expect_same(&d.ours, &d.theirs);
    ck_assert(file_of(d.ours.dev) == file_of(d.theirs.dev));
    destination_fini(&d);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { abort_while_the_client_is_not_quiet, ready_in_time };
    const struct fake_loop_test loops[] = {
        { abort_when_all_is_sent, N_WAYS },
        { ready_too_early, ARRAY_SIZE(early) },
        { all_is_put_back_behind_ready, N_ENDS },
        { theirs_runs_here, 2 },
    };

    return fake_run("handover_rules", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
