/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/migrate/parcel.c, unpack.c and handover_wire.c: what is packed comes out again, and
 * whatever else comes is refused or can be, without harm.
 */
#define _GNU_SOURCE
#include "migrate/parcel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "message.h"
#include "migrate/content.h"
#include "migrate/handover_wire.h"
#include "migrate/unpack.h"
#include "unit/fakes.h"

#define CONFIG       VFIO_PCI_CONFIG_REGION_INDEX
#define MAX_MESSAGES 64

/* A device with much set up, what it is packed into, and the messages as they are on the wire. */
struct world {
    struct fake_host host;
    struct device_description d;
    struct device *dev;
    struct parcel_client client;
    uint8_t unread[300];
    int token;
    int sock[2];
    struct stream *from;
    struct stream *to;
    uint8_t *messages[MAX_MESSAGES];
    unsigned n_messages;
};

static void set_up(struct device *dev)
{
    struct device_io_fd doorbell[DEVICE_IO_FDS_MAX];
    unsigned n;

    ck_assert_int_eq(device_io_fds(dev, VFIO_PCI_BAR0_REGION_INDEX, doorbell, &n), 0);
    fake_put(dev, VFIO_PCI_BAR2_REGION_INDEX, 4, 4, 0x2468);
    for (uint64_t i = 0; i < 40; i++) {
        int fd = i % 4 == 3 ? -1 : fake_memfd(8192, (unsigned)i);

        ck_assert_int_eq(dma_map(device_dma(dev), i * 0x10000, 4096, 3, &fd, 4096), 0);
    }
    for (uint32_t i = 0; i < 2; i++) {
        int fd = fake_eventfd();

        fake_give_eventfd(device_irq(dev), VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSI_IRQ_INDEX, i,
                          fd);
        close(fd);
    }
    fake_put(dev, CONFIG, 4, 2, 6);
    fake_put(dev, VFIO_PCI_BAR0_REGION_INDEX, 8, 8, FAKE_START_TIME + 9999);
}

static void make_client(struct world *w)
{
    struct session_snapshot *s = &w->client.snapshot;

    version_defaults(&s->info.caps);
    s->info.since = 12345;
    s->info.profile = PROFILE_QEMU;
    s->info.requests = 99;
    s->info.caps.write_multiple = true;
    s->limits = (struct device_limits) { 1000, 8, 1 << 20, 5000 };
    s->dma_shape = 2;
    s->dma_next_id = 777;
    s->shared_seen = true;
    message_encode_header(w->unread, 1, VFIO_USER_DMA_MAP, 200, 0, 0);
    message_encode_header(w->unread + 200, 2, VFIO_USER_DMA_MAP, 200, 0, 0);
    w->client.sockets.rest.bytes = w->unread;
    w->client.sockets.rest.len = sizeof(w->unread);
    w->client.sockets.rest.nfds = 3;
    w->client.sockets.rest.fds[0] = (struct stream_rest_fd) { .owner = 0, .fd = fake_eventfd() };
    w->client.sockets.rest.fds[1] = (struct stream_rest_fd) { .owner = 0, .fd = -1 };
    w->client.sockets.rest.fds[2] = (struct stream_rest_fd) { .owner = 200, .fd = fake_eventfd() };
    w->client.sockets.socket = fake_eventfd();
    s->info.twin = TWIN_OPEN;
    s->client_fds = 3;
    s->info.caps.vm_interrupt = true;
    w->client.sockets.twin = fake_eventfd();
    w->client.sockets.twin_rest.bytes = w->unread + 3;
    w->client.sockets.twin_rest.len = 9;
}

static void world_init(struct world *w)
{
    uint64_t page = 4096;
    const struct vfio_device_feature_dma_logging_range range = { .iova = 0, .length = 1 << 20 };

    memset(w, 0, sizeof(*w));
    fake_host_init(&w->host);
    description_default(&w->d);
    w->d.pci.caps[1] = (struct pci_cap_description) { .kind = PCI_CAP_KIND_MSI, .vectors = 2 };
    w->d.pci.caps[2] =
        (struct pci_cap_description) { .kind = PCI_CAP_KIND_MSIX, .vectors = 3, .bar = 2 };
    w->d.pci.n_caps = 3;
    w->dev = fake_device(&w->host, &w->d);
    set_up(w->dev);
    ck_assert_int_eq(device_log_start(w->dev, &page, &range, 1), 0);
    make_client(w);
    w->token = fake_eventfd();
    device_stop(w->dev);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->sock), 0);
    ck_assert_int_eq(stream_new(w->sock[0], HANDOVER_MAX_MESSAGE, &w->from), 0);
    ck_assert_int_eq(stream_new(w->sock[1], HANDOVER_MAX_MESSAGE, &w->to), 0);
}

static void world_fini(struct world *w)
{
    for (unsigned i = 0; i < w->n_messages; i++)
        free(w->messages[i]);
    stream_free(w->from);
    stream_free(w->to);
    close(w->client.sockets.rest.fds[0].fd);
    close(w->client.sockets.rest.fds[2].fd);
    close(w->client.sockets.socket);
    close(w->client.sockets.twin);
    close(w->token);
    device_free(w->dev);
    description_fini(&w->d);
    fake_host_fini(&w->host);
}

/* Keeps a message's bytes, for tests that change them. */
static void record(struct world *w, const struct stream_message *m)
{
    uint8_t *copy = malloc(m->hdr.size);

    ck_assert_uint_lt(w->n_messages, MAX_MESSAGES);
    memcpy(copy, &m->hdr, sizeof(m->hdr));
    memcpy(copy + sizeof(m->hdr), m->payload, m->hdr.size - sizeof(m->hdr));
    w->messages[w->n_messages++] = copy;
}

/* Packs, sends, and unpacks; returns what the last message brought. */
static int carry(struct world *w, const struct parcel_client *client, struct unpack *u,
                 char *reason)
{
    const struct unpack_sizes sizes = { .config = device_config_size(w->dev),
                                        .msix = device_msix_table_size(w->dev) };
    struct stream_message m;
    struct parcel *p;
    int more = 1;
    int got = 0;

    ck_assert_int_eq(parcel_new(w->dev, client, w->token, 4711, &p), 0);
    while (got == 0) {
        int n;

        if (more > 0)
            more = parcel_queue(p, w->from);
        ck_assert_int_ge(more, 0);
        n = stream_flush(w->from);
        ck_assert(n == 0 || n == -EAGAIN);
        ck_assert_int_ge(stream_fill(w->to), 0);
        while (got == 0 && stream_next(w->to, &m) == 1) {
            record(w, &m);
            got = unpack_take(u, &m, &sizes, reason);
            stream_message_fini(w->to, &m);
        }
    }
    ck_assert(parcel_is_queued(p));
    ck_assert_uint_eq(parcel_queued(p), parcel_bytes(p));
    ck_assert_uint_eq(unpack_bytes(u), parcel_bytes(p));
    ck_assert_uint_eq(unpack_fds(u), parcel_fds(p) + 1); /* the token */
    parcel_free(p);
    return got;
}

START_TEST(what_is_packed_comes_out)
{
    char reason[UNPACK_REASON_BYTES] = "";
    const struct unpacked *c;
    struct unpack *u;
    struct world w;

    world_init(&w);
    ck_assert_int_eq(unpack_new(&u), 0);
    ck_assert_msg(carry(&w, &w.client, u, reason) == 1, "%s", reason);
    c = unpack_content(u);
    ck_assert_int_eq(c->plan.frozen_at, 4711);
    ck_assert_uint_eq(c->plan.ranges, 40);
    ck_assert_uint_eq(c->plan.files, 30);
    ck_assert_uint_eq(c->plan.irq_fds, 2);
    ck_assert_uint_eq(c->ranges[2].iova, 0x20000);
    ck_assert_uint_eq(c->ranges[2].offset, 4096);
    ck_assert_int_eq(c->ranges[3].file, -1);
    ck_assert_int_eq(c->state.timer.deadline, FAKE_START_TIME + 9999);
    ck_assert_mem_eq(c->state.pci.config, device_state(w.dev)->pci.config, 256);
    ck_assert(c->session.info.caps.write_multiple);
    ck_assert_uint_eq(c->session.info.requests, 99);
    ck_assert_uint_eq(c->session.limits.max_dma_maps, 1000);
    ck_assert_uint_eq(c->session.dma_next_id, 777);
    ck_assert_uint_eq(c->session.limits.client_timeout_ms, w.d.limits.client_timeout_ms);
    ck_assert_uint_eq(c->session.info.twin, TWIN_OPEN);
    ck_assert_uint_eq(c->session.client_fds, 3);
    ck_assert(c->session.info.caps.vm_interrupt && c->session.info.caps.twin_socket);
    ck_assert(c->sockets.twin >= 0);
    ck_assert_uint_eq(c->sockets.twin_rest.len, 9);
    ck_assert_mem_eq(c->sockets.twin_rest.bytes, w.unread + 3, 9);
    ck_assert(c->session.shared_seen && !c->session.by_message_said);
    ck_assert_uint_eq(c->sockets.rest.len, sizeof(w.unread));
    ck_assert_mem_eq(c->sockets.rest.bytes, w.unread, sizeof(w.unread));
    ck_assert_uint_eq(c->sockets.rest.nfds, 3);
    ck_assert(c->sockets.rest.fds[0].fd >= 0 && c->sockets.rest.fds[1].fd == -1 &&
              c->sockets.rest.fds[2].fd >= 0);
    ck_assert_uint_eq(c->sockets.rest.fds[2].owner, 200);
    ck_assert(c->bar1 >= 0 && c->token >= 0 && c->sockets.socket >= 0 && c->irq.msi[0] >= 0 &&
              c->irq.msi[1] >= 0);
    ck_assert(c->irq.intx == -1 && c->plan.log > 0);
    ck_assert_uint_eq(c->plan.doorbell, 2);
    ck_assert(c->doorbell[0] >= 0 && c->doorbell[1] >= 0);
    ck_assert_uint_eq(c->state.msix.table[4], 0x68);
    ck_assert_mem_eq(c->state.msix.table, device_state(w.dev)->msix.table, 3 * MSIX_ENTRY_SIZE);
    unpack_free(u);
    world_fini(&w);
}
END_TEST

START_TEST(a_device_without_a_client)
{
    char reason[UNPACK_REASON_BYTES] = "";
    struct unpack *u;
    struct world w;

    world_init(&w);
    ck_assert_int_eq(unpack_new(&u), 0);
    ck_assert_msg(carry(&w, NULL, u, reason) == 1, "%s", reason);
    ck_assert_uint_eq(w.n_messages, 6);
    ck_assert_uint_eq(unpack_fds(u), 2);
    ck_assert_int_eq(unpack_content(u)->sockets.socket, -1);
    ck_assert_uint_eq(unpack_content(u)->plan.doorbell, 0);
    unpack_free(u);
    world_fini(&w);
}
END_TEST

/* Many ranges, and so many pieces. */
START_TEST(five_thousand_ranges)
{
    char reason[UNPACK_REASON_BYTES] = "";
    struct unpack *u;
    struct world w;

    world_init(&w);
    for (uint64_t i = 0; i < 5000; i++) {
        int none = -1;

        ck_assert_int_eq(dma_map(device_dma(w.dev), (1ull << 40) + i * 4096, 4096, 3, &none, 0), 0);
    }
    ck_assert_int_eq(unpack_new(&u), 0);
    ck_assert_msg(carry(&w, &w.client, u, reason) == 1, "%s", reason);
    ck_assert_uint_eq(unpack_content(u)->plan.ranges, 5040);
    ck_assert_uint_eq(unpack_content(u)->ranges[5039].iova, (1ull << 40) + 4999 * 4096);
    unpack_free(u);
    world_fini(&w);
}
END_TEST

/* Gives a recorded message to u, with as many fds as an FDS message names. */
static int give(struct unpack *u, const uint8_t *wire, char *reason)
{
    const struct unpack_sizes sizes = { .config = 256, .msix = 3 * MSIX_ENTRY_SIZE };
    struct stream_message m = { .payload = wire + VFIO_USER_HEADER_SIZE };
    struct handover_fd what;
    unsigned named = 0;
    int n;

    memcpy(&m.hdr, wire, sizeof(m.hdr));
    if (m.hdr.command == HANDOVER_FDS)
        named = (m.hdr.size - VFIO_USER_HEADER_SIZE) / (unsigned)sizeof(what);
    for (unsigned i = 0; i < named && m.nfds < STREAM_MAX_FDS; i++) {
        memcpy(&what, m.payload + i * sizeof(what), sizeof(what));
        if (what.lost == 0)
            m.fds[m.nfds++] = dup(STDERR_FILENO); /* any file will do here */
    }
    n = unpack_take(u, &m, &sizes, reason);
    stream_message_fini(NULL, &m);
    return n;
}

/* All messages with one changed, left out, or given twice. Returns the first refusal, or 1. */
static int replay(const struct world *w, int missing, int twice, char *reason)
{
    struct unpack *u;
    int n = 0;

    ck_assert_int_eq(unpack_new(&u), 0);
    for (unsigned i = 0; i < w->n_messages && n == 0; i++) {
        if ((int)i != missing)
            n = give(u, w->messages[i], reason);
        if ((int)i == twice && n == 0)
            n = give(u, w->messages[i], reason);
    }
    unpack_free(u);
    return n;
}

static void make_recording(struct world *w)
{
    char reason[UNPACK_REASON_BYTES] = "";
    struct unpack *u;

    world_init(w);
    w->client.sockets.rest.nfds = 1; /* one that is lost could not be given again */
    ck_assert_int_eq(unpack_new(&u), 0);
    ck_assert_msg(carry(w, &w->client, u, reason) == 1, "%s", reason);
    unpack_free(u);
}

START_TEST(messages_that_are_missing_or_twice)
{
    char reason[UNPACK_REASON_BYTES];
    unsigned before = fake_open_fds();
    struct world w;

    make_recording(&w);
    ck_assert_msg(replay(&w, -1, -1, reason) == 1, "%s", reason);
    for (int i = 0; i < (int)w.n_messages; i++) {
        bool last = i == (int)w.n_messages - 1;

        ck_assert_int_eq(replay(&w, i, -1, reason), last ? 0 : -EINVAL);
        if (!last)
            ck_assert_msg(replay(&w, -1, i, reason) == -EINVAL, "message %d twice", i);
    }
    world_fini(&w);
    ck_assert_uint_eq(fake_open_fds(), before);
}
END_TEST

/* Takes the entry of an fd out of the FDS message that has it. Whether there was one. */
static bool drop_fd(struct world *w, uint32_t role, uint32_t index)
{
    struct vfio_user_header hdr;
    struct handover_fd what;

    for (unsigned i = 0; i < w->n_messages; i++) {
        uint8_t *wire = w->messages[i];

        memcpy(&hdr, wire, sizeof(hdr));
        for (size_t at = sizeof(hdr); hdr.command == HANDOVER_FDS && at < hdr.size;
             at += sizeof(what)) {
            memcpy(&what, wire + at, sizeof(what));
            if (what.role != role || what.index != index)
                continue;
            memmove(wire + at, wire + at + sizeof(what), hdr.size - at - sizeof(what));
            hdr.size -= (uint32_t)sizeof(what);
            memcpy(wire, &hdr, sizeof(hdr));
            return true;
        }
    }
    return false;
}

START_TEST(a_planned_fd_is_missing)
{
    static const struct {
        uint32_t role;
        uint32_t index;
    } rows[] = { { HANDOVER_FD_BAR1, 0 }, { HANDOVER_FD_CLIENT, 0 },   { HANDOVER_FD_TWIN, 0 },
                 { HANDOVER_FD_FILE, 7 }, { HANDOVER_FD_DOORBELL, 0 }, { HANDOVER_FD_DOORBELL, 1 },
                 { HANDOVER_FD_TOKEN, 0 } };
    unsigned before = fake_open_fds();

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char reason[UNPACK_REASON_BYTES] = "";
        struct world w;

        make_recording(&w);
        ck_assert(drop_fd(&w, rows[i].role, rows[i].index));
        ck_assert_msg(replay(&w, -1, -1, reason) == -EINVAL, "row %zu", i);
        ck_assert_msg(strstr(reason, "END: ") == reason, "row %zu: %s", i, reason);
        world_fini(&w);
    }
    ck_assert_uint_eq(fake_open_fds(), before);
}
END_TEST

/* Each bit of each message: it is refused, or is another value; nothing is lost or left. */
START_TEST(every_bit_flipped)
{
    char reason[UNPACK_REASON_BYTES];
    unsigned refused = 0;
    unsigned before;
    struct world w;

    make_recording(&w);
    before = fake_open_fds();
    for (unsigned i = 0; i < w.n_messages; i++) {
        uint32_t size;

        memcpy(&size, w.messages[i] + 4, sizeof(size));
        for (uint32_t bit = 0; bit < size * 8; bit++) {
            uint32_t at = bit / 8;

            if (at >= 4 && at < 8)
                continue; /* the size is the stream's to check */
            if (size > 512 && bit % 8 != 0)
                continue;
            w.messages[i][at] ^= (uint8_t)(1u << bit % 8);
            refused += replay(&w, -1, -1, reason) < 0;
            w.messages[i][at] ^= (uint8_t)(1u << bit % 8);
        }
    }
    ck_assert_uint_gt(refused, 1000);
    ck_assert_uint_eq(fake_open_fds(), before);
    world_fini(&w);
}
END_TEST

/* Each message cut at each length. */
START_TEST(every_length_cut)
{
    char reason[UNPACK_REASON_BYTES];
    struct world w;

    make_recording(&w);
    for (unsigned i = 0; i < w.n_messages; i++) {
        uint32_t size;

        memcpy(&size, w.messages[i] + 4, sizeof(size));
        for (uint32_t len = VFIO_USER_HEADER_SIZE; len < size; len++) {
            memcpy(w.messages[i] + 4, &len, sizeof(len));
            ck_assert_msg(replay(&w, -1, -1, reason) < 0, "message %u, %u bytes", i, len);
        }
        memcpy(w.messages[i] + 4, &size, sizeof(size));
    }
    world_fini(&w);
}
END_TEST

/* Another version of all this: both numbers are told, whatever else the plan has. */
START_TEST(plan_of_version_2)
{
    char reason[UNPACK_REASON_BYTES] = "";
    struct world w;
    uint32_t size;

    make_recording(&w);
    ck_assert_uint_eq(w.messages[0][VFIO_USER_HEADER_SIZE + 4], HANDOVER_VERSION);
    w.messages[0][VFIO_USER_HEADER_SIZE + 4] = 2;
    ck_assert_int_eq(replay(&w, -1, -1, reason), -EINVAL);
    ck_assert_str_eq(reason, "the source speaks version 2 of the handover, this daemon version 3");
    memcpy(&size, w.messages[0] + 4, sizeof(size));
    size -= 8;
    memcpy(w.messages[0] + 4, &size, sizeof(size));
    reason[0] = '\0';
    ck_assert_int_eq(replay(&w, -1, -1, reason), -EINVAL);
    ck_assert_str_eq(reason, "the source speaks version 2 of the handover, this daemon version 3");
    world_fini(&w);
}
END_TEST

/* Numbers in the plan that nobody can mean. */
START_TEST(plans_that_cannot_be)
{
    static const struct {
        struct handover_plan plan;
        const char *field; /* NULL: it is good */
    } rows[] = {
        { { .version = HANDOVER_VERSION }, NULL },
        { { .version = HANDOVER_VERSION, .client = 1, .ranges = 5, .files = 5 }, NULL },
        { { .version = HANDOVER_VERSION + 1 }, "version" },
        { { .version = HANDOVER_VERSION, .client = 2 }, "client" },
        { { .version = HANDOVER_VERSION, .ranges = 1 }, "client" },
        { { .version = HANDOVER_VERSION, .client = 1, .ranges = UINT32_MAX }, "ranges" },
        { { .version = HANDOVER_VERSION, .client = 1, .ranges = 1, .files = 2 }, "files" },
        { { .version = HANDOVER_VERSION, .client = 1, .unread = UINT32_MAX }, "unread" },
        { { .version = HANDOVER_VERSION, .client = 1, .unread_fds = 255 }, "unread_fds" },
        { { .version = HANDOVER_VERSION, .client = 1, .twin_unread = UINT32_MAX }, "twin_unread" },
        { { .version = HANDOVER_VERSION, .twin_unread = 1 }, "client" },
        { { .version = HANDOVER_VERSION, .client = 1, .log = UINT32_MAX }, "log" },
        { { .version = HANDOVER_VERSION, .client = 1, .irq_fds = 70 }, "irq_fds" },
        { { .version = HANDOVER_VERSION, .client = 1, .doorbell = 2 }, NULL },
        { { .version = HANDOVER_VERSION, .client = 1, .doorbell = 3 }, "doorbell" },
        { { .version = HANDOVER_VERSION, .doorbell = 1 }, "client" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t fields[HANDOVER_FIELDS_MAX];
        struct handover_plan out;
        const char *field = NULL;
        size_t len = handover_write_plan(&rows[i].plan, fields);
        int err = handover_read_plan(fields, len, &out, &field);

        ck_assert_int_eq(err, rows[i].field != NULL ? -EINVAL : 0);
        if (rows[i].field != NULL)
            ck_assert_str_eq(field, rows[i].field);
        else
            ck_assert_mem_eq(&out, &rows[i].plan, sizeof(out));
    }
}
END_TEST

START_TEST(every_eventfd_has_a_slot)
{
    struct irq_fds fds;
    int *seen[80];
    uint32_t n = 0;

    while (n < ARRAY_SIZE(seen) && (seen[n] = handover_irq_slot(&fds, n)) != NULL) {
        ck_assert(seen[n] >= (int *)&fds && seen[n] < (int *)(&fds + 1));
        for (uint32_t i = 0; i < n; i++)
            ck_assert_ptr_ne(seen[i], seen[n]);
        n++;
    }
    ck_assert_uint_eq(n, sizeof(fds) / sizeof(int));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        what_is_packed_comes_out,
        a_device_without_a_client,
        five_thousand_ranges,
        a_planned_fd_is_missing,
        messages_that_are_missing_or_twice,
        every_bit_flipped,
        every_length_cut,
        plan_of_version_2,
        plans_that_cannot_be,
        every_eventfd_has_a_slot,
    };

    return fake_run("parcel", tests, ARRAY_SIZE(tests), NULL, 0);
}
