/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts of the running device, with clients of each habit: one that never unmasks, one that
 * unmasks at the end of interrupt, one that leaves this to KVM, one that enables MSI.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config-build.h"
#include "integration/harness.h"
#include "integration/live_kit.h"
#include "message.h"
#include "suite.h"

static const char msi_device[] = "{ \"pci\": { \"capabilities\": [ {\"kind\": \"pm\"}, {\"kind\": "
                                 "\"msi\", \"vectors\": 4} ] } }";

/*
 * Interrupts
 */

/* libvfio-user's client: seconds, one interrupt a deadline, no acknowledge, no unmask. */
START_TEST(test_client_that_never_unmasks)
{
    struct server s;
    struct client *c;
    int fd;

    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd), 0);
    for (int i = 0; i < 3; i++) {
        int64_t seconds = now_ns() / 1000000000 + 1;

        write_reg(c, REG_TIMER_SEC, (uint64_t)seconds, 8);
        ck_assert_int_le((int64_t)read_reg(c, REG_TIMER_SEC, 8), 0);
        ck_assert_uint_eq(eventfd_wait(fd, 2500), 1);
        ck_assert_int_ge(now_ns(), seconds * 1000000000);
        ck_assert_int_ge((int64_t)read_reg(c, REG_FIRED_NSEC, 8), seconds * 1000000000);
    }
    ck_assert_uint_eq(eventfd_wait(fd, 50), 0);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 3);
    close(fd);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* QEMU: acknowledges in the device, then unmasks at end of interrupt. */
START_TEST(test_client_that_unmasks)
{
    struct server s;
    struct client *c;
    int fd;

    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd), 0);
    for (int i = 0; i < 20; i++) {
        write_reg(c, REG_TIMER_NSEC, (uint64_t)(now_ns() + 5 * MS), 8);
        ck_assert_uint_eq(eventfd_wait(fd, 1000), 1);
        /* Unmasked while the level is high: once more. */
        ck_assert_int_eq(client_set_irqs(c, UNMASK, 0, 0, 1, NULL, NULL, 0), 0);
        ck_assert_uint_eq(eventfd_wait(fd, 1000), 1);
        write_reg(c, REG_IRQ_STATUS, 1, 4);
        ck_assert_int_eq(client_set_irqs(c, UNMASK, 0, 0, 1, NULL, NULL, 0), 0);
        ck_assert_uint_eq(eventfd_wait(fd, 5), 0);
    }
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 20);
    close(fd);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* KVM: an eventfd that the guest's end of interrupt signals. */
START_TEST(test_unmask_eventfd)
{
    struct server s;
    struct client *c;
    unsigned fds;
    int fd;
    int unmask = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    server_start(&s, NULL);
    c = server_connect(&s);
    fds = server_fds(&s);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd), 0);
    ck_assert_int_eq(client_set_irqs(c, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, 0,
                                     0, 1, NULL, &unmask, 1),
                     0);
    write_reg(c, REG_TIMER_NSEC, 1, 8);
    ck_assert_uint_eq(eventfd_wait(fd, 1000), 1);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(eventfd_write(unmask, 1), 0);
        ck_assert_uint_eq(eventfd_wait(fd, 1000), 1); /* not acknowledged: high again */
    }
    write_reg(c, REG_IRQ_STATUS, 1, 4);
    ck_assert_int_eq(eventfd_write(unmask, 1), 0);
    ck_assert_uint_eq(eventfd_wait(fd, 20), 0);
    /* Everything of the index away: nothing is watched any more. */
    ck_assert_int_eq(client_set_irqs(c, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0,
                                     0, NULL, NULL, 0),
                     0);
    server_wait_fds(&s, fds);
    close(fd);
    close(unmask);
    client_free(c);
    server_stop(&s);
}
END_TEST

START_TEST(test_msi)
{
    struct vfio_irq_info info;
    struct server s;
    struct client *c;
    int fds[4];
    int intx;

    server_start(&s, msi_device);
    c = server_connect(&s);
    ck_assert_int_eq(client_get_irq_info(c, VFIO_PCI_MSI_IRQ_INDEX, &info), 0);
    ck_assert_uint_eq(info.count, 4);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &intx), 0);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_MSI_IRQ_INDEX, 0, 4, fds), 0);
    for (int i = 0; i < 10; i++) {
        write_reg(c, REG_TIMER_NSEC, (uint64_t)(now_ns() + 5 * MS), 8);
        ck_assert_uint_eq(eventfd_wait(fds[0], 1000), 1);
    }
    set_bus_master(c);
    write_reg(c, REG_DMA_LENGTH, 0, 4);
    write_reg(c, REG_DMA_CONTROL, 1, 4);
    ck_assert_uint_eq(eventfd_wait(fds[2], 1000), 1);
    ck_assert_uint_eq(eventfd_wait(fds[1], 20), 0);
    ck_assert_uint_eq(eventfd_wait(intx, 0), 0);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 11);
    /* A vector without eventfd waits for one. */
    ck_assert_int_eq(
        client_set_irqs(c, TRIGGER_EVENTFD, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, NULL, NULL, 0), 0);
    write_reg(c, REG_TIMER_NSEC, 1, 8);
    close(fds[0]);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, fds), 0);
    ck_assert_uint_eq(eventfd_wait(fds[0], 1000), 1);
    /* Without MSI the line, which is high, has its turn. */
    ck_assert_int_eq(client_set_irqs(c, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
                                     VFIO_PCI_MSI_IRQ_INDEX, 0, 0, NULL, NULL, 0),
                     0);
    ck_assert_uint_eq(eventfd_wait(intx, 1000), 1);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    close(intx);
    client_free(c);
    server_stop(&s);
}
END_TEST

static void count_interrupt(void *opaque, uint32_t index, uint32_t subindex)
{
    unsigned *counts = opaque;

    ck_assert_uint_eq(subindex, 0);
    ck_assert_uint_lt(index, VFIO_PCI_NUM_IRQS);
    counts[index]++;
}

/* What was pending before there was anybody to send it to comes with the client, once. */
START_TEST(test_messages_that_waited)
{
    unsigned counts[VFIO_PCI_NUM_IRQS] = { 0 };
    struct version_caps ours;
    struct version_caps theirs;
    struct server s;
    struct client *c;
    int64_t end = now_ms() + 5000;

    server_start(&s, NULL);
    json_object_put(server_call(&s, "TriggerIrq"));
    version_defaults(&ours);
    ours.present = VERSION_VM_INTERRUPT;
    ours.vm_interrupt = true;
    ck_assert_int_eq(client_connect(s.socket, &c), 0);
    client_set_interrupt(c, count_interrupt, counts);
    ck_assert_int_eq(client_negotiate(c, &ours, &theirs), 0);
    ck_assert(theirs.vm_interrupt);
    while (counts[VFIO_PCI_INTX_IRQ_INDEX] == 0 && now_ms() < end)
        client_serve(c, -1, 10);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_STATUS, 4), 2);
    ck_assert_uint_eq(counts[VFIO_PCI_INTX_IRQ_INDEX], 1);
    json_object_put(server_call(&s, "TriggerIrq")); /* the line is high: no news */
    write_reg(c, REG_IRQ_STATUS, 2, 4);
    json_object_put(server_call(&s, "TriggerIrq"));
    ck_assert_uint_eq(read_reg(c, REG_IRQ_STATUS, 4), 2);
    ck_assert_uint_eq(counts[VFIO_PCI_INTX_IRQ_INDEX], 2);
    client_free(c);
    server_stop(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("interrupts");
    TCase *tcase = tcase_create("device");

    tcase_set_timeout(tcase, 20);
    tcase_add_test(tcase, test_client_that_never_unmasks);
    tcase_add_test(tcase, test_client_that_unmasks);
    tcase_add_test(tcase, test_unmask_eventfd);
    tcase_add_test(tcase, test_msi);
    tcase_add_test(tcase, test_messages_that_waited);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
