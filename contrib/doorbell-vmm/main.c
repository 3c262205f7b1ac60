/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings the doorbell of a vfio-user device from a real vCPU: n times through KVM_IOEVENTFD, with
 * the eventfd that the server gives for it, and n times trapped, as a message each, and compares.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "machine.h"

#define DOORBELL         0x800u
#define DOORBELL_COUNT   0x804u
#define DOORBELL_TRAPPED 0x808u

#define EXIT_SKIP     77
#define RINGS         100000u
#define RINGS_MAX     10000000u
#define TRIAL_MS      3000u  /* for one write: a vCPU that runs needs microseconds */
#define RUN_MS        15000u /* for all, and a millisecond more for each */
#define COUNT_MS      5000u  /* for the device to have seen them */
#define ALARM_SECONDS 60u    /* for everything beside these: nothing here may hang a build */

static const char usage[] =
    "Usage: doorbell-vmm SOCKET [RINGS]\n"
    "Makes a virtual machine of a few bytes on /dev/kvm, whose one vCPU rings the doorbell of the\n"
    "vfio-user device at SOCKET: 100000 times, or RINGS, through KVM_IOEVENTFD, then as often "
    "with\n"
    "a message each. Prints both rates and whether the device has counted all. The device must\n"
    "offer a plain ioeventfd: describe it with \"doorbell\": \"ioeventfd\".\n"
    "\n"
    "Exit status: 0 all rings counted, 1 not, 2 usage, 77 no virtual machine can be run here.\n";

struct program {
    const char *path;
    uint32_t rings;
    struct client *client;
    struct machine *machine;
    struct vfio_user_io_fd doorbell; /* as the server described it */
    int fd;                          /* its eventfd */
};

/* Says what went wrong; returns the exit status. */
static int failed(const char *what, int error)
{
    fprintf(stderr, "doorbell-vmm: %s: %s\n", what, strerror(-error));
    return EXIT_FAILURE;
}

static int skipped(const char *what, const char *reason)
{
    printf("doorbell-vmm: skipped: no virtual machine can be run here: %s: %s\n", what, reason);
    return EXIT_SKIP;
}

/*
 * The device
 */

static int attach(struct program *p)
{
    struct version_caps ours;
    struct version_caps theirs;
    int rc = client_connect(p->path, &p->client);

    if (rc < 0)
        return failed(p->path, rc);
    version_defaults(&ours);
    ours.major = VFIO_USER_MAJOR;
    ours.minor = VFIO_USER_MINOR;
    ours.present = VERSION_MAX_MSG_FDS;
    ours.max_msg_fds = 8;
    rc = client_negotiate(p->client, &ours, &theirs);
    if (rc != -ENOTCONN)
        return rc < 0 ? failed("VERSION", rc) : 0;
    fprintf(stderr,
            "doorbell-vmm: %s: the connection was closed without a reply: is this a control "
            "socket?\n",
            p->path);
    return EXIT_FAILURE;
}

/* Of BAR0, the plain ioeventfd at the doorbell's place. */
static int get_doorbell(struct program *p)
{
    struct vfio_user_io_fd entries[8];
    int fds[8];
    unsigned n = 0;
    unsigned nfds = 8;
    int rc =
        client_get_region_io_fds(p->client, VFIO_PCI_BAR0_REGION_INDEX, entries, 8, &n, fds, &nfds);

    if (rc < 0)
        return failed("GET_REGION_IO_FDS", rc);
    for (unsigned i = 0; i < n && p->fd < 0; i++) {
        const struct vfio_user_io_fd *entry = &entries[i];

        if (entry->offset == DOORBELL && entry->type == VFIO_USER_IO_FD_IOEVENTFD &&
            entry->size <= 8 && entry->flags == 0) {
            p->doorbell = *entry;
            p->fd = fds[entry->fd_index];
        }
    }
    for (unsigned i = 0; i < nfds; i++) {
        if (fds[i] != p->fd)
            (void)close(fds[i]);
    }
    if (p->fd >= 0)
        return 0;
    fprintf(stderr,
            "doorbell-vmm: %s: the server offers no plain ioeventfd for the doorbell: describe the "
            "device with \"doorbell\": \"ioeventfd\"\n",
            p->path);
    return EXIT_FAILURE;
}

static int read_count(struct program *p, uint32_t *count)
{
    return client_region_read(p->client, VFIO_PCI_BAR0_REGION_INDEX, DOORBELL_COUNT, count,
                              sizeof(*count));
}

/* The device hears of an ioeventfd when it gets round to it. */
static int await_count(struct program *p, uint32_t from, uint32_t done, uint32_t *seen)
{
    uint32_t count = from;
    int rc = read_count(p, &count);

    for (unsigned ms = 0; rc == 0 && count - from < done && ms < COUNT_MS; ms++) {
        (void)client_serve(p->client, -1, 1);
        rc = read_count(p, &count);
    }
    *seen = count - from;
    return rc;
}

static int write_message(void *opaque, uint64_t offset, const void *data, uint32_t len)
{
    struct program *p = opaque;

    return client_region_write(p->client, VFIO_PCI_BAR0_REGION_INDEX, offset, data, len);
}

/*
 * The virtual machine
 */

/* One write, to a place where no ioeventfd is: does the vCPU run at all? */
static int try_machine(struct program *p)
{
    struct machine_end end;
    const char *step;
    int rc = machine_new(&p->machine, &step);

    if (rc < 0)
        return skipped(step, strerror(-rc));
    rc = machine_run(p->machine, 0, 1, TRIAL_MS, NULL, NULL, &end);
    if (rc < 0)
        return skipped("KVM_RUN", strerror(-rc));
    if (end.reason == KVM_EXIT_INTR)
        return skipped("the vCPU does not get past its first instructions", strerror(ETIMEDOUT));
    if (end.reason != KVM_EXIT_HLT || end.left > 0 || end.exits != 1)
        return skipped("the vCPU does not do as it is told", strerror(EIO));
    return 0;
}

/* *rate: rings a second. */
static int ring(struct program *p, const char *way, uint16_t offset, uint32_t exits, double *rate)
{
    struct machine_end end;
    uint32_t before = 0;
    uint32_t done = 0;
    uint32_t seen = 0;
    int rc = read_count(p, &before);

    if (rc == 0)
        rc = machine_run(p->machine, offset, p->rings, RUN_MS + p->rings, write_message, p, &end);
    if (rc == 0) {
        done = p->rings - end.left;
        rc = await_count(p, before, done, &seen);
    }
    if (rc < 0)
        return failed(way, rc);
    *rate = done / end.seconds;
    printf("doorbell-vmm: %s: %u rings in %.3f s, %.0f a second; the device counted %u\n", way,
           done, end.seconds, *rate, seen);
    if (end.left == 0 && end.exits == exits && seen == done)
        return 0;
    /* A vCPU that stands still: the last write may be done, and not counted by the guest yet. */
    if (end.reason == KVM_EXIT_INTR && (seen == done || seen == done + 1))
        return skipped("the vCPU has stopped or is too slow", strerror(ETIMEDOUT));
    fprintf(stderr,
            "doorbell-vmm: %s: expected %u rings and %u exits; there were %u, KVM exit %u\n", way,
            p->rings, exits, end.exits, end.reason);
    return EXIT_FAILURE;
}

static int compare(struct program *p)
{
    double fast = 0;
    double slow = 1;
    int status = ring(p, "KVM_IOEVENTFD", DOORBELL, 0, &fast);

    if (status == 0)
        status = ring(p, "REGION_WRITE", DOORBELL_TRAPPED, p->rings, &slow);
    if (status == 0)
        printf("doorbell-vmm: ratio %.1f, no ring lost\n", fast / slow);
    return status;
}

static int run(struct program *p)
{
    int status = attach(p);
    int rc = 0;

    if (status == 0)
        status = get_doorbell(p);
    if (status == 0)
        status = try_machine(p);
    if (status == 0)
        rc = machine_add_ioeventfd(p->machine, p->doorbell.offset, (uint32_t)p->doorbell.size,
                                   p->fd);
    if (rc < 0)
        status = failed("KVM_IOEVENTFD", rc);
    if (status == 0)
        status = compare(p);
    machine_free(p->machine);
    if (p->fd >= 0)
        (void)close(p->fd);
    client_free(p->client);
    return status;
}

static int bad_usage(const char *what)
{
    fprintf(stderr, "doorbell-vmm: %s\nTry 'doorbell-vmm --help'.\n", what);
    return 2;
}

static bool parse_rings(const char *text, uint32_t *rings)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (end == text || *end != '\0' || value < 1 || value > RINGS_MAX)
        return false;
    *rings = (uint32_t)value;
    return true;
}

int main(int argc, char **argv)
{
    struct program p = { .rings = RINGS, .fd = -1 };

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (argc < 2 || argc > 3 || argv[1][0] == '-')
        return bad_usage("expected the server's socket and, at most, a number");
    if (argc == 3 && !parse_rings(argv[2], &p.rings))
        return bad_usage("expected a number of rings from 1 to 10000000");
    p.path = argv[1];
    (void)alarm(ALARM_SECONDS + 2 * (RUN_MS + p.rings) / 1000);
    setvbuf(stdout, NULL, _IOLBF, 0);
    return run(&p);
}
