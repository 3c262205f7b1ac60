/* SPDX-License-Identifier: BSD-3-Clause */
/* The doorbell's eventfd and shadow: daemon/device/doorbell.c, and what the device makes of rings.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device/device.h"
#include "session/io_fds.h"
#include "unit/fakes.h"
#include "unit/migrate_kit.h"
#include "vfio_user.h"

#define BAR0    VFIO_PCI_BAR0_REGION_INDEX
#define CONFIG  VFIO_PCI_CONFIG_REGION_INDEX
#define BELL    0x800
#define COUNT   0x804
#define TRAPPED 0x808
#define PMCSR   0x44

/* A device, and what a client has of its doorbell. */
struct machine {
    struct device_description d;
    struct fake_host host;
    struct device *dev;
    struct device_io_fd fds;
    uint32_t *shadow;
    int event; /* the client's own descriptor */
};

static void get_fds(struct machine *m)
{
    struct device_io_fd list[DEVICE_IO_FDS_MAX];
    unsigned n;

    ck_assert_int_eq(device_io_fds(m->dev, BAR0, list, &n), 0);
    ck_assert_uint_eq(n, 1);
    m->fds = list[0];
    m->event = dup(m->fds.fd);
    if (m->fds.shadow_fd < 0)
        return;
    m->shadow = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, m->fds.shadow_fd, 0);
    ck_assert_ptr_ne(m->shadow, MAP_FAILED);
}

static void machine_init(struct machine *m, enum doorbell_kind kind)
{
    memset(m, 0, sizeof(*m));
    description_default(&m->d);
    m->d.doorbell = kind;
    fake_host_init(&m->host);
    m->dev = fake_device(&m->host, &m->d);
    m->event = -1;
    if (kind != DOORBELL_NONE)
        get_fds(m);
}

static void machine_fini(struct machine *m)
{
    device_free(m->dev);
    if (m->shadow != NULL)
        munmap(m->shadow, 4096);
    if (m->event >= 0)
        close(m->event);
    fake_host_fini(&m->host);
}

/* As KVM does it. */
static void ring(struct machine *m, uint32_t value)
{
    if (m->shadow != NULL)
        __atomic_store_n(m->shadow, value, __ATOMIC_RELEASE);
    ck_assert_int_eq(eventfd_write(m->event, 1), 0);
}

static void expect(struct machine *m, uint32_t count, uint32_t value)
{
    ck_assert_uint_eq(fake_get(m->dev, BAR0, COUNT, 4), count);
    ck_assert_uint_eq(fake_get(m->dev, BAR0, BELL, 4), value);
}

static uint64_t left(const struct machine *m)
{
    return fake_signals(m->event);
}

START_TEST(what_is_told)
{
    struct device_io_fd list[DEVICE_IO_FDS_MAX];
    struct machine m;
    unsigned n = 7;

    machine_init(&m, DOORBELL_SHADOW);
    ck_assert_uint_eq(m.fds.type, VFIO_USER_IO_FD_IOEVENTFD_SHADOW);
    ck_assert_uint_eq(m.fds.offset, BELL);
    ck_assert_uint_eq(m.fds.size, 4);
    ck_assert_int_eq(device_doorbell_fd(m.dev), m.fds.fd);
    ck_assert_int_ne(ftruncate(m.fds.shadow_fd, 0), 0); /* sealed */
    ck_assert_int_eq(device_io_fds(m.dev, BAR0, list, &n), 0);
    ck_assert_int_eq(list[0].fd, m.fds.fd); /* the same again */
    for (uint32_t region = 1; region < DEVICE_NUM_REGIONS; region++) {
        ck_assert_int_eq(device_io_fds(m.dev, region, list, &n), 0);
        ck_assert_uint_eq(n, 0);
    }
    ck_assert_int_eq(device_io_fds(m.dev, DEVICE_NUM_REGIONS, list, &n), -EINVAL);
    ck_assert_int_eq(device_io_fds(m.dev, UINT32_MAX, list, &n), -EINVAL);
    machine_fini(&m);
    machine_init(&m, DOORBELL_IOEVENTFD);
    ck_assert_uint_eq(m.fds.type, VFIO_USER_IO_FD_IOEVENTFD);
    ck_assert_int_eq(m.fds.shadow_fd, -1);
    machine_fini(&m);
    machine_init(&m, DOORBELL_NONE);
    ck_assert_int_eq(device_io_fds(m.dev, BAR0, list, &n), 0);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(device_doorbell_fd(m.dev), -1);
    machine_fini(&m);
}
END_TEST

START_TEST(both_ways_count_alike)
{
    struct machine m;

    machine_init(&m, DOORBELL_SHADOW);
    ring(&m, 0x11);
    device_take_rings(m.dev); /* the loop */
    ck_assert_uint_eq(left(&m), 0);
    expect(&m, 1, 0x11);
    fake_put(m.dev, BAR0, BELL, 4, 0x22);
    expect(&m, 2, 0x22);
    ring(&m, 0x33);
    ring(&m, 0x44);
    expect(&m, 4, 0x44); /* a read takes in what was rung before, though the loop has not come */
    ring(&m, 0x55);
    fake_put(m.dev, BAR0, BELL, 4, 0x66); /* a write too: it was later */
    expect(&m, 6, 0x66);
    fake_put(m.dev, BAR0, TRAPPED, 4, 0x77);
    expect(&m, 7, 0x66);
    machine_fini(&m);
    machine_init(&m, DOORBELL_IOEVENTFD);
    fake_put(m.dev, BAR0, BELL, 4, 0x22);
    ring(&m, 0);
    expect(&m, 2, 0x22); /* the value is lost */
    machine_fini(&m);
}
END_TEST

START_TEST(rings_of_a_stopped_device_wait)
{
    struct machine m;
    struct device_state state;

    machine_init(&m, DOORBELL_SHADOW);
    ring(&m, 1);
    device_stop(m.dev); /* what was rung before is state */
    state = *device_state(m.dev);
    ck_assert_uint_eq(state.timer.doorbell_count, 1);
    ck_assert_uint_eq(state.timer.doorbell, 1);
    ring(&m, 2);
    device_take_rings(m.dev); /* the loop does not spin */
    ck_assert_uint_eq(left(&m), 0);
    ck_assert_uint_eq(device_state(m.dev)->timer.doorbell_count, 1);
    ring(&m, 3); /* nobody has looked */
    device_start(m.dev);
    expect(&m, 3, 3);
    device_stop(m.dev); /* and they count once */
    device_start(m.dev);
    expect(&m, 3, 3);
    device_stop(m.dev);
    for (uint32_t i = 4; i <= 6; i++) {
        ring(&m, i);
        device_take_rings(m.dev); /* each is looked at by itself */
    }
    device_start(m.dev);
    expect(&m, 6, 6);
    machine_fini(&m);
}
END_TEST

/* A device that is stopped has its power state, and its configuration space may be written. */
START_TEST(power_of_a_stopped_device)
{
    struct machine m;

    machine_init(&m, DOORBELL_SHADOW);
    device_stop(m.dev);
    ring(&m, 1);
    fake_put(m.dev, CONFIG, PMCSR, 2, 3);
    ring(&m, 2); /* dropped */
    fake_put(m.dev, CONFIG, PMCSR, 2, 0);
    ring(&m, 3);
    device_start(m.dev);
    expect(&m, 2, 3);
    machine_fini(&m);
}
END_TEST

/* What else ends while the device is stopped takes the rings that wait along. */
START_TEST(rings_that_wait_are_forgotten)
{
    struct device_state state;
    char field[DEVICE_FIELD_BYTES];
    struct machine m;

    machine_init(&m, DOORBELL_SHADOW);
    state = *device_state(m.dev);
    for (unsigned how = 0; how < 3; how++) {
        device_stop(m.dev);
        ring(&m, 7);
        if (how != 0)
            device_take_rings(m.dev);
        if (how == 0)
            device_reset(m.dev, DEVICE_RESET_BY_CLIENT);
        else if (how == 1)
            ck_assert_int_eq(device_load(m.dev, &state, NULL, field), 0);
        else
            device_drop_client(m.dev);
        device_start(m.dev);
        expect(&m, 0, 0);
    }
    machine_fini(&m);
}
END_TEST

START_TEST(power_and_reset)
{
    struct machine m;

    machine_init(&m, DOORBELL_SHADOW);
    ring(&m, 1);
    fake_put(m.dev, CONFIG, PMCSR, 2, 3); /* D3hot: what was rung in D0 counts */
    ring(&m, 2);                          /* as a write in D3hot: dropped */
    device_take_rings(m.dev);
    fake_put(m.dev, CONFIG, PMCSR, 2, 0);
    expect(&m, 1, 1);
    ring(&m, 3);
    device_reset(m.dev, DEVICE_RESET_BY_CLIENT);
    expect(&m, 0, 0);
    ring(&m, 4); /* the eventfd is the client's still */
    expect(&m, 1, 4);
    machine_fini(&m);
}
END_TEST

START_TEST(the_next_client_has_another_one)
{
    struct machine m;
    unsigned before = fake_open_fds();
    int old;

    machine_init(&m, DOORBELL_SHADOW);
    old = m.event;
    ring(&m, 5);
    device_drop_client(m.dev);
    ck_assert_int_eq(device_doorbell_fd(m.dev), -1);
    expect(&m, 1, 5); /* it had rung */
    eventfd_write(old, 1);
    munmap(m.shadow, 4096);
    get_fds(&m);
    ring(&m, 6);
    expect(&m, 2, 6); /* and the dead one's rings are nobody's */
    close(old);
    machine_fini(&m);
    ck_assert_uint_eq(fake_open_fds(), before);
}
END_TEST

/* The client may do with the file what it likes. */
START_TEST(a_hostile_client)
{
    struct machine m;

    machine_init(&m, DOORBELL_SHADOW);
    ck_assert_int_eq(fcntl(m.event, F_SETFL, 0), 0); /* reads would block now */
    expect(&m, 0, 0);
    device_take_rings(m.dev);
    ck_assert_int_eq(eventfd_write(m.event, UINT64_MAX - 1), 0);
    expect(&m, (uint32_t)(UINT64_MAX - 1), 0);
    machine_fini(&m);
}
END_TEST

/* Another process goes on with the client's own eventfd; this one must not touch it any more. */
START_TEST(it_moves)
{
    struct machine from;
    struct device_description d;
    struct device *to;
    char field[DEVICE_FIELD_BYTES];
    int event;
    int shadow;

    machine_init(&from, DOORBELL_SHADOW);
    description_default(&d);
    to = fake_device(&from.host, &d);
    ring(&from, 1);
    device_stop(from.dev);
    device_stop(to);
    device_get_doorbell(from.dev, &event, &shadow);
    event = dup(event);
    shadow = dup(shadow);
    ck_assert_int_eq(device_adopt_doorbell(to, &event, &shadow), 0);
    ck_assert_int_eq(event, -1);
    ck_assert_int_eq(shadow, -1);
    ring(&from, 2);
    ck_assert_int_eq(device_renew(from.dev), 0);
    ck_assert_int_eq(device_load(to, device_state(from.dev), NULL, field), 0);
    device_start(to);
    ck_assert_uint_eq(fake_get(to, BAR0, COUNT, 4), 1); /* the second, which nobody else took */
    ck_assert_uint_eq(fake_get(to, BAR0, BELL, 4), 2);
    device_free(to);
    machine_fini(&from);
}
END_TEST

START_TEST(what_is_no_doorbell_is_refused)
{
    struct machine m;
    int event = fake_eventfd();
    int file = fake_memfd(4096, 0); /* not sealed */
    int none = -1;
    int shadow;
    int unused;

    machine_init(&m, DOORBELL_SHADOW);
    device_get_doorbell(m.dev, &unused, &shadow);
    shadow = dup(shadow);
    ck_assert_int_eq(device_adopt_doorbell(m.dev, &event, &none), -EINVAL);
    ck_assert_int_eq(device_adopt_doorbell(m.dev, &event, &file), -EINVAL);
    ck_assert_int_eq(device_adopt_doorbell(m.dev, &file, &shadow), -EINVAL);
    ck_assert_int_ge(event, 0);
    ring(&m, 1);
    expect(&m, 1, 1); /* the old one is as it was */
    machine_fini(&m);
    machine_init(&m, DOORBELL_IOEVENTFD);
    ck_assert_int_eq(device_adopt_doorbell(m.dev, &event, &shadow), -EINVAL);
    machine_fini(&m);
    machine_init(&m, DOORBELL_NONE);
    ck_assert_int_eq(device_adopt_doorbell(m.dev, &event, &none), -EINVAL);
    machine_fini(&m);
    close(event);
    close(file);
    close(shadow);
}
END_TEST

/* A state that is loaded takes the place of the one that they were rung on, seen or not. */
START_TEST(rings_before_a_load)
{
    struct device_io_fd fds[DEVICE_IO_FDS_MAX];
    struct kit_device from;
    struct kit_device to;
    struct kit_stream s;
    unsigned n;

    kit_init(&from, 0);
    kit_use(&from);
    kit_save(&from, 4096, &s);
    for (int seen = 0; seen < 2; seen++) {
        kit_init(&to, 0);
        ck_assert_int_eq(device_io_fds(to.dev, BAR0, fds, &n), 0);
        device_stop(to.dev);
        ck_assert_int_eq(eventfd_write(fds[0].fd, 5), 0);
        if (seen == 1)
            device_take_rings(to.dev);
        ck_assert_int_eq(kit_load(&to, &s), 0);
        device_start(to.dev);
        ck_assert_uint_eq(fake_get(to.dev, BAR0, COUNT, 4), 2);
        ck_assert_uint_eq(fake_get(to.dev, BAR0, BELL, 4), 0xaaaa);
        kit_fini(&to);
    }
    kit_free(&s);
    kit_fini(&from);
}
END_TEST

/* Each fd goes once, whoever shares it. */
START_TEST(fds_are_sent_once)
{
    const struct device_io_fd list[DEVICE_IO_FDS_MAX] = {
        { .offset = 1,
          .size = 4,
          .type = VFIO_USER_IO_FD_IOEVENTFD_SHADOW,
          .fd = 10,
          .shadow_fd = 20,
          .shadow_offset = 8 },
        { .offset = 2, .size = 8, .type = VFIO_USER_IO_FD_IOEVENTFD, .fd = 11, .shadow_fd = 20 },
        { .offset = 3, .type = VFIO_USER_IO_FD_IOEVENTFD_SHADOW, .fd = 10, .shadow_fd = 21 },
        { .offset = 4, .type = VFIO_USER_IO_FD_IOEVENTFD_SHADOW, .fd = 20, .shadow_fd = 11 },
    };
    struct vfio_user_io_fd e[DEVICE_IO_FDS_MAX];
    int fds[2 * DEVICE_IO_FDS_MAX];

    ck_assert_uint_eq(io_fds_write(list, 4, e, fds), 4);
    ck_assert_mem_eq(fds, ((const int[]) { 10, 20, 11, 21 }), 4 * sizeof(int));
    ck_assert_uint_eq(e[0].fd_index, 0);
    ck_assert_uint_eq(e[0].shadow_fd_index, 1);
    ck_assert_uint_eq(e[0].shadow_offset, 8);
    ck_assert_uint_eq(e[1].fd_index, 2);
    ck_assert_uint_eq(e[1].shadow_fd_index, 0); /* none: it is not looked at */
    ck_assert_uint_eq(e[1].size, 8);
    ck_assert_uint_eq(e[2].fd_index, 0);
    ck_assert_uint_eq(e[2].shadow_fd_index, 3);
    ck_assert_uint_eq(e[3].fd_index, 1);
    ck_assert_uint_eq(e[3].shadow_fd_index, 2);
    ck_assert_uint_eq(e[3].offset, 4);
    ck_assert_uint_eq(io_fds_write(list, 0, e, fds), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        what_is_told,
        both_ways_count_alike,
        rings_of_a_stopped_device_wait,
        power_of_a_stopped_device,
        rings_that_wait_are_forgotten,
        power_and_reset,
        the_next_client_has_another_one,
        a_hostile_client,
        it_moves,
        what_is_no_doorbell_is_refused,
        fds_are_sent_once,
        rings_before_a_load,
    };

    return fake_run("doorbell", tests, ARRAY_SIZE(tests), NULL, 0);
}
