/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libproto/client.c and client_serve.c: the twin socket, and interrupts by message, against a
 * server that follows a script.
 */
#define _GNU_SOURCE
#include "client.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_server.h"
#include "suite.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define JSON(inside) \
    "\0\0\1\0{\"capabilities\":{" inside "}}", sizeof("\0\0\1\0{\"capabilities\":{" inside "}}")

#define TWIN "\"twin_socket\":{\"supported\":true,\"fd_index\":0}"

struct interrupts {
    unsigned n;
    uint32_t index;
    uint32_t subindex;
};

static void on_interrupt(void *opaque, uint32_t index, uint32_t subindex)
{
    struct interrupts *i = opaque;

    i->n++;
    i->index = index;
    i->subindex = subindex;
}

static int negotiate(struct client *c, uint32_t present, struct version_caps *theirs)
{
    struct version_caps ours;

    version_defaults(&ours);
    ours.present = present;
    ours.twin_socket = (present & VERSION_TWIN_SOCKET) != 0;
    ours.vm_interrupt = (present & VERSION_VM_INTERRUPT) != 0;
    return client_negotiate(c, &ours, theirs);
}

/* What a server may answer to VERSION, and what it may not. */
static const struct row {
    const char *payload;
    size_t len;
    uint32_t offered;
    unsigned change;
    int err;
    bool twin;
} rows[] = {
    { JSON(TWIN), VERSION_TWIN_SOCKET, WITH_TWIN, 0, true },
    { JSON("\"twin_socket\":{\"supported\":false}"), VERSION_TWIN_SOCKET, 0, 0, false },
    { JSON(""), VERSION_TWIN_SOCKET, 0, 0, false },
    { JSON(TWIN), VERSION_TWIN_SOCKET, 0, -EPROTO, false },       /* no fd */
    { JSON(TWIN), VERSION_TWIN_SOCKET, WITH_FD, -EPROTO, false }, /* an eventfd */
    { JSON(TWIN), 0, WITH_TWIN, -EPROTO, false },                 /* nobody wants one */
    { JSON("\"twin_socket\":{\"supported\":true}"), VERSION_TWIN_SOCKET, WITH_TWIN, -EPROTO,
      false },
    { JSON("\"twin_socket\":{\"supported\":true,\"fd_index\":1}"), VERSION_TWIN_SOCKET, WITH_TWIN,
      -EPROTO, false },
    { JSON(""), 0, WITH_FD, 0, false }, /* for nothing: closed */
    { JSON("\"vm_interrupt\":true"), VERSION_VM_INTERRUPT, 0, 0, false },
    { JSON("\"vm_interrupt\":false"), VERSION_VM_INTERRUPT, 0, 0, false },
    { JSON("\"vm_interrupt\":true"), 0, 0, -EPROTO, false },
    { JSON("\"vm_interrupt\":1"), VERSION_VM_INTERRUPT, 0, -EPROTO, false },
};

START_TEST(answers_to_version)
{
    const struct row *row = &rows[_i];
    const struct step steps[] = {
        { .what = REQUEST, .command = VFIO_USER_VERSION },
        { .what = REPLY, .len = row->len, .payload = row->payload, .change = row->change },
        { .what = END },
    };
    struct version_caps theirs;
    struct server server;

    server_start(&server, steps);
    ck_assert_int_eq(negotiate(server.client, row->offered, &theirs), row->err);
    ck_assert_int_eq(client_twin(server.client) != NULL, row->twin);
    server_finish(&server);
}
END_TEST

static int read_memory(void *opaque, uint64_t address, void *data, uint64_t count)
{
    (void)opaque;
    memset(data, (int)address, count);
    return 0;
}

static const struct vfio_user_region_access empty = { .region = 1, .count = 0 };
static const struct vfio_user_vm_interrupt vector = { .index = 1, .subindex = 5 };
static const struct vfio_user_dma_access dma = { .address = 0x11, .count = 4 };
static const uint8_t dma_reply[] = { 0x11, 0, 0, 0, 0, 0, 0,    0,    4,    0,
                                     0,    0, 0, 0, 0, 0, 0x11, 0x11, 0x11, 0x11 };

/* Commands on the twin are served while a reply is waited for on the other socket. */
START_TEST(commands_on_the_twin)
{
    static const char json[] = "\0\0\1\0{\"capabilities\":{" TWIN ",\"vm_interrupt\":true}}";
    const struct step steps[] = {
        { .what = REQUEST, .command = VFIO_USER_VERSION },
        { .what = REPLY, .len = sizeof(json), .payload = json, .change = WITH_TWIN },
        { .what = REQUEST, .command = VFIO_USER_REGION_READ },
        { .what = COMMAND,
          .command = VFIO_USER_VM_INTERRUPT,
          .len = sizeof(vector),
          .payload = &vector,
          .change = ON_TWIN },
        { .what = EXPECT, .command = VFIO_USER_VM_INTERRUPT, .change = ON_TWIN },
        { .what = COMMAND,
          .command = VFIO_USER_DMA_READ,
          .len = sizeof(dma),
          .payload = &dma,
          .change = ON_TWIN },
        { .what = EXPECT,
          .command = VFIO_USER_DMA_READ,
          .len = sizeof(dma_reply),
          .payload = dma_reply,
          .change = ON_TWIN },
        { .what = COMMAND,
          .command = VFIO_USER_VM_INTERRUPT,
          .len = 7,
          .payload = &vector,
          .change = ON_TWIN },
        { .what = EXPECT, .command = VFIO_USER_VM_INTERRUPT, .error = EINVAL, .change = ON_TWIN },
        { .what = COMMAND, .command = VFIO_USER_DEVICE_RESET, .change = ON_TWIN },
        { .what = EXPECT, .command = VFIO_USER_DEVICE_RESET, .error = EINVAL, .change = ON_TWIN },
        { .what = REPLY, .len = sizeof(empty), .payload = &empty },
        { .what = CLOSE_TWIN },
        { .what = REQUEST, .command = VFIO_USER_REGION_READ },
        { .what = REPLY, .len = sizeof(empty), .payload = &empty },
        { .what = END },
    };
    const struct client_memory memory = { .read = read_memory };
    struct interrupts interrupts = { 0 };
    struct version_caps theirs;
    struct server server;
    char nothing;

    server_start(&server, steps);
    client_set_memory(server.client, &memory);
    client_set_interrupt(server.client, on_interrupt, &interrupts);
    ck_assert_int_eq(negotiate(server.client, VERSION_TWIN_SOCKET | VERSION_VM_INTERRUPT, &theirs),
                     0);
    ck_assert(theirs.vm_interrupt && theirs.twin_socket);
    ck_assert_int_eq(client_region_read(server.client, 1, 0, &nothing, 0), 0);
    ck_assert_uint_eq(interrupts.n, 1);
    ck_assert_uint_eq(interrupts.index, 1);
    ck_assert_uint_eq(interrupts.subindex, 5);
    /* The server closes the twin: the other socket goes on. */
    ck_assert_int_eq(client_region_read(server.client, 1, 0, &nothing, 0), 0);
    server_finish(&server);
}
END_TEST

/* Row 0: a command on the first socket although there is a twin; 1: a reply on the twin. */
START_TEST(what_is_on_the_wrong_socket)
{
    static const char json[] = "\0\0\1\0{\"capabilities\":{" TWIN "}}";
    const struct step steps[] = {
        { .what = REQUEST, .command = VFIO_USER_VERSION },
        { .what = REPLY, .len = sizeof(json), .payload = json, .change = WITH_TWIN },
        { .what = REQUEST, .command = VFIO_USER_DEVICE_RESET },
        { .what = _i == 0 ? COMMAND : REPLY,
          .command = VFIO_USER_DMA_READ,
          .len = _i == 0 ? sizeof(dma) : 0,
          .payload = &dma,
          .change = _i == 0 ? 0 : ON_TWIN },
        { .what = END },
    };
    struct version_caps theirs;
    struct server server;

    server_start(&server, steps);
    ck_assert_int_eq(negotiate(server.client, VERSION_TWIN_SOCKET, &theirs), 0);
    ck_assert_int_eq(client_reset(server.client), -EPROTO);
    server_finish(&server);
}
END_TEST

/* Without a twin they come among the replies; and to nobody who listens, they are refused. */
START_TEST(interrupts_on_the_one_socket)
{
    const struct step steps[] = {
        { .what = REQUEST, .command = VFIO_USER_DEVICE_RESET },
        { .what = COMMAND,
          .command = VFIO_USER_VM_INTERRUPT,
          .len = sizeof(vector),
          .payload = &vector },
        { .what = EXPECT, .command = VFIO_USER_VM_INTERRUPT, .error = _i == 0 ? 0 : ENOTSUP },
        { .what = REPLY },
        { .what = END },
    };
    struct interrupts interrupts = { 0 };
    struct server server;

    server_start(&server, steps);
    if (_i == 0)
        client_set_interrupt(server.client, on_interrupt, &interrupts);
    ck_assert_int_eq(client_reset(server.client), 0);
    ck_assert_uint_eq(interrupts.n, _i == 0 ? 1 : 0);
    server_finish(&server);
}
END_TEST

/* One that comes while nothing else is waited for. */
START_TEST(a_twin_is_served)
{
    static const char json[] = "\0\0\1\0{\"capabilities\":{" TWIN ",\"vm_interrupt\":true}}";
    const struct step steps[] = {
        { .what = REQUEST, .command = VFIO_USER_VERSION },
        { .what = REPLY, .len = sizeof(json), .payload = json, .change = WITH_TWIN },
        { .what = COMMAND,
          .command = VFIO_USER_VM_INTERRUPT,
          .len = sizeof(vector),
          .payload = &vector,
          .change = ON_TWIN },
        { .what = EXPECT, .command = VFIO_USER_VM_INTERRUPT, .change = ON_TWIN },
        { .what = END },
    };
    struct interrupts interrupts = { 0 };
    struct version_caps theirs;
    struct server server;

    server_start(&server, steps);
    client_set_interrupt(server.client, on_interrupt, &interrupts);
    ck_assert_int_eq(negotiate(server.client, VERSION_TWIN_SOCKET | VERSION_VM_INTERRUPT, &theirs),
                     0);
    ck_assert_int_eq(client_serve(server.client, -1, 1000), -ENOTCONN); /* the script's end */
    ck_assert_uint_eq(interrupts.n, 1);
    server_finish(&server);
}
END_TEST

/* The server closes the twin with a reply unread, which is another end, and no error either. */
START_TEST(a_twin_that_is_reset)
{
    static const char json[] = "\0\0\1\0{\"capabilities\":{" TWIN ",\"vm_interrupt\":true}}";
    const struct step steps[] = {
        { .what = REQUEST, .command = VFIO_USER_VERSION },
        { .what = REPLY, .len = sizeof(json), .payload = json, .change = WITH_TWIN },
        { .what = REQUEST, .command = VFIO_USER_REGION_READ },
        { .what = COMMAND,
          .command = VFIO_USER_VM_INTERRUPT,
          .len = sizeof(vector),
          .payload = &vector,
          .change = ON_TWIN },
        { .what = UNREAD, .change = ON_TWIN },
        { .what = CLOSE_TWIN },
        { .what = REPLY, .len = sizeof(empty), .payload = &empty },
        { .what = REQUEST, .command = VFIO_USER_REGION_READ },
        { .what = REPLY, .len = sizeof(empty), .payload = &empty },
        { .what = END },
    };
    struct interrupts interrupts = { 0 };
    struct version_caps theirs;
    struct server server;
    char nothing;

    server_start(&server, steps);
    client_set_interrupt(server.client, on_interrupt, &interrupts);
    ck_assert_int_eq(negotiate(server.client, VERSION_TWIN_SOCKET | VERSION_VM_INTERRUPT, &theirs),
                     0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(client_region_read(server.client, 1, 0, &nothing, 0), 0);
    ck_assert_uint_eq(interrupts.n, 1);
    ck_assert_ptr_null(client_twin(server.client));
    server_finish(&server);
}
END_TEST

/* Commands of a length that does not fit what they say are refused, and reach no memory. */
static const struct bad_dma {
    uint16_t command;
    uint64_t count;
    size_t len;
} bad_dmas[] = {
    { VFIO_USER_DMA_WRITE, 4, sizeof(dma) + 3 },
    { VFIO_USER_DMA_WRITE, 4, sizeof(dma) + 5 },
    { VFIO_USER_DMA_WRITE, 1ull << 32, sizeof(dma) },
    { VFIO_USER_DMA_WRITE, 0, sizeof(dma) - 1 },
    { VFIO_USER_DMA_READ, 4, sizeof(dma) + 1 },
    { VFIO_USER_DMA_READ, 4, sizeof(dma) + 4 },
    { VFIO_USER_DMA_READ, 4, sizeof(dma) - 1 },
    { VFIO_USER_DMA_READ, UINT64_MAX, sizeof(dma) },
};

static int refuse_to_read(void *opaque, uint64_t address, void *data, uint64_t count)
{
    (void)opaque;
    ck_abort_msg("%llu bytes at 0x%llx are read to %p", (unsigned long long)count,
                 (unsigned long long)address, data);
    return 0;
}

static int refuse_to_write(void *opaque, uint64_t address, const void *data, uint64_t count)
{
    (void)opaque;
    ck_abort_msg("%llu bytes at 0x%llx are written from %p", (unsigned long long)count,
                 (unsigned long long)address, data);
    return 0;
}

START_TEST(dma_of_a_wrong_length)
{
    const struct bad_dma *bad = &bad_dmas[_i];
    const struct client_memory memory = { .read = refuse_to_read, .write = refuse_to_write };
    struct vfio_user_dma_access payload[2] = { { .address = 0x11, .count = bad->count } };
    const struct step steps[] = {
        { .what = REQUEST, .command = VFIO_USER_DEVICE_RESET },
        { .what = COMMAND, .command = bad->command, .len = bad->len, .payload = payload },
        { .what = EXPECT, .command = bad->command, .error = EINVAL },
        { .what = REPLY },
        { .what = END },
    };
    struct server server;

    server_start(&server, steps);
    client_set_memory(server.client, &memory);
    ck_assert_int_eq(client_reset(server.client), 0);
    server_finish(&server);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client_twin");
    TCase *tc = tcase_create("client");

    tcase_set_timeout(tc, 5);
    tcase_add_loop_test(tc, answers_to_version, 0, COUNT(rows));
    tcase_add_test(tc, commands_on_the_twin);
    tcase_add_loop_test(tc, what_is_on_the_wrong_socket, 0, 2);
    tcase_add_loop_test(tc, interrupts_on_the_one_socket, 0, 2);
    tcase_add_test(tc, a_twin_is_served);
    tcase_add_test(tc, a_twin_that_is_reset);
    tcase_add_loop_test(tc, dma_of_a_wrong_length, 0, COUNT(bad_dmas));
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
