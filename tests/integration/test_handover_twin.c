/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client with a twin socket and interrupts by message, whose device moves to another daemon: both
 * sockets go along, with what has come on them, and so does the time that it has for its answers.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "integration/handover_kit.h"
#include "integration/live_kit.h"
#include "integration/raw_peer.h"
#include "suite.h"

#define FAILED 0x80000000u
#define PIECE  4096u

static const char quick[] = "{ \"limits\": { \"client_timeout\": 0.2 } }";

static struct raw_peer peer;

static struct raw_command next_of(uint16_t command)
{
    struct raw_command c = raw_next(&peer);

    ck_assert_uint_eq(c.hdr.command, command);
    return c;
}

/* A transfer from the guest, answered on the socket where the command came. */
static void expect_dma(uint64_t iova)
{
    struct raw_command c;

    raw_start_dma(&peer, 1, iova, PIECE);
    c = next_of(VFIO_USER_DMA_READ);
    raw_answer(&peer, raw_commands_socket(&peer), &c, 0);
    ck_assert_uint_eq(raw_dma_outcome(&peer), 0);
    raw_send_read(&peer, 1, 0, PIECE);
    raw_settle(&peer);
    ck_assert_mem_eq(peer.payload + 16, peer.guest + iova, PIECE);
}

/* Rows: with the twin, and without. */
START_TEST(the_sockets_move)
{
    struct raw_command late;
    struct raw_command c;
    struct server a;
    struct server b;
    uint8_t wire[16];

    server_start(&a, quick);
    server_start(&b, NULL);
    raw_connect(&peer, &a, _i == 0 ? RAW_TWIN : RAW_ONE);
    raw_map(&peer);
    raw_put(&peer, REG_IRQ_ENABLE, 0, 4);
    expect_dma(0x1000);
    raw_start_dma(&peer, 1, 0, PIECE);
    late = next_of(VFIO_USER_DMA_READ);
    ck_assert_uint_eq(raw_dma_outcome(&peer), FAILED + ETIMEDOUT);
    /* Half of its late answer is here when it moves: nothing is waited for, nothing is lost. */
    memcpy(wire, &late.hdr, sizeof(wire));
    wire[8] = VFIO_USER_TYPE_REPLY;
    memcpy(wire + 4, &(uint32_t) { 16 }, 4);
    ck_assert_int_eq(send(raw_commands_socket(&peer), wire, 7, MSG_NOSIGNAL), 7);
    handover_succeeds(&a, &b, true);
    ck_assert(server_has_client(&b) && !server_has_client(&a));
    ck_assert_int_eq(send(raw_commands_socket(&peer), wire + 7, 9, MSG_NOSIGNAL), 9);
    expect_dma(0x2000);
    ck_assert_int_eq(server_log_has(&b, "the twin socket"), 0);
    /* Interrupts by message go on, and so does its time, which is not the other daemon's. */
    raw_put(&peer, REG_IRQ_ENABLE, 1, 4);
    raw_put(&peer, REG_TIMER_SEC, 1, 8);
    c = next_of(VFIO_USER_VM_INTERRUPT);
    raw_answer(&peer, raw_commands_socket(&peer), &c, 0);
    raw_start_dma(&peer, 1, 0, PIECE);
    next_of(VFIO_USER_DMA_READ);
    ck_assert_uint_eq(raw_dma_outcome(&peer), FAILED + ETIMEDOUT);
    server_wait_log(&b, "no reply within 200 ms");
    handover_succeeds(&b, &a, true);
    expect_dma(0x3000);
    raw_close(&peer);
    server_stop(&a);
    server_stop(&b);
}
END_TEST

/* It is lost here, or there: the device goes on without it either way. */
START_TEST(a_twin_is_lost)
{
    struct server a;
    struct server b;

    server_start(&a, NULL);
    server_start(&b, NULL);
    raw_connect(&peer, &a, RAW_TWIN);
    raw_map(&peer);
    if (_i == 0) {
        close(peer.twin);
        server_wait_log(&a, "the twin socket is closed: by the client");
    }
    handover_succeeds(&a, &b, true);
    if (_i == 1) {
        close(peer.twin);
        server_wait_log(&b, "the twin socket is closed: by the client");
    }
    peer.twin = -1;
    raw_start_dma(&peer, 1, 0, PIECE);
    ck_assert_uint_eq(raw_dma_outcome(&peer), FAILED + ENOTCONN);
    ck_assert_uint_eq(peer.n_commands, 0);
    raw_close(&peer);
    server_stop(&a);
    server_stop(&b);
}
END_TEST

/* A handover that fails leaves both sockets where they are. */
START_TEST(it_stays)
{
    const struct fault fault = { .phase = "ready", .signal = SIGKILL };
    const struct wish wish = { .keep = true };
    struct outcome outcome;
    struct server a;
    struct server b;

    server_start(&a, NULL);
    server_start_faulty(&b, &fault);
    raw_connect(&peer, &a, RAW_TWIN);
    raw_map(&peer);
    raw_put(&peer, REG_IRQ_ENABLE, 0, 4);
    handover_do(&a, &b, &wish, &outcome);
    ck_assert_str_eq(outcome.error, "MigrationFailed");
    expect_dma(0x1000);
    server_wait_fault(&b, &fault);
    server_clean(&b);
    raw_close(&peer);
    server_stop(&a);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("handover_twin");
    TCase *tcase = tcase_create("twin");

    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, the_sockets_move, 0, 2);
    tcase_add_loop_test(tcase, a_twin_is_lost, 0, 2);
    tcase_add_test(tcase, it_stays);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
