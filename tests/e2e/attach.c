/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * attach SOCKET: a client that attaches to the vfio-user socket, says "attached", and then does
 * what each line of its standard input says, with a line in answer:
 *
 *   arm SECONDS   arms the timer, so long from now: "armed"
 *   post COUNT    sends COUNT requests and does not wait: "posted"
 *   collect       waits for their replies: "collected COUNT"
 *   err           sends a request that is wrong and reads the answer: "refused"
 *   irq           sets an eventfd for INTx: "set"
 *   map KIB       maps so much shared memory at 1 MiB: "mapped"
 *   unmap KIB     unmaps it: "unmapped"
 *   reset         resets the device: "reset"
 *   config AT=VALUE  writes 16 bits of configuration space: "written"
 *   end           waits until the server closes the connection: "ended"
 *   offer         tells of memory without sharing it: "offered"
 *   garbage       sends what is no message: "sent"
 *   babble PATH   connects to PATH, sends what is no JSON and waits for its end: "hung up PID"
 *   kill PID      kills the server, which has this PID, and reads a register of the next:
 *                 "served after MICROSECONDS us"
 *
 * The end of the input detaches. At the first surprise it says what is wrong and exits with 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "peer.h"
#include "stream.h"

#define BAR0      0
#define TIMER_SEC 0x000
#define IRQ_COUNT 0x018

#define MAP_AT 0x100000u

#define MAX_POSTED 64
#define LIMIT_MS   5000

struct attached {
    const char *path;
    struct client *client;
    struct version_caps server;
    uint16_t ids[MAX_POSTED];
    unsigned posted;
};

static int attach(struct attached *a)
{
    struct version_caps ours;
    int err = client_connect(a->path, &a->client);

    if (err != 0)
        return err;
    client_set_timeout(a->client, LIMIT_MS);
    version_defaults(&ours);
    return client_negotiate(a->client, &ours, &a->server);
}

static int64_t now_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int arm(struct attached *a, const char *word)
{
    long seconds = strtol(word, NULL, 10);
    uint64_t deadline = (uint64_t)(now_ns(CLOCK_REALTIME) / 1000000000ll + seconds);
    int err =
        client_region_write(a->client, BAR0, TIMER_SEC, &deadline, (uint32_t)sizeof(deadline));

    if (err == 0)
        puts("armed");
    return err;
}

static struct client_call read_call(const struct vfio_user_region_access *access, void *reply,
                                    size_t size)
{
    return (struct client_call) { .command = VFIO_USER_REGION_READ,
                                  .fixed = access,
                                  .fixed_len = sizeof(*access),
                                  .reply = reply,
                                  .reply_max = size };
}

static const struct vfio_user_region_access access_count = { .offset = IRQ_COUNT,
                                                             .region = BAR0,
                                                             .count = 8 };

static int post(struct attached *a, const char *word)
{
    long count = strtol(word, NULL, 10);
    if (count < 1 || count > MAX_POSTED - (long)a->posted)
        return -EINVAL;
    while (count-- > 0) {
        struct client_call call = read_call(&access_count, NULL, 0);
        int id = client_send(a->client, &call);

        if (id < 0)
            return id;
        a->ids[a->posted++] = (uint16_t)id;
    }
    puts("posted");
    return 0;
}

static int collect(struct attached *a, const char *word)
{
    (void)word;
    for (unsigned i = 0; i < a->posted; i++) {
        uint8_t reply[sizeof(access_count) + 8];
        struct client_call call = read_call(&access_count, reply, sizeof(reply));
        int err = client_wait(a->client, a->ids[i], &call);

        if (err != 0)
            return err;
    }
    printf("collected %u\n", a->posted);
    a->posted = 0;
    return 0;
}

/* More than the register has. */
static int err_request(struct attached *a, const char *word)
{
    uint8_t bytes[3];
    int err = client_region_read(a->client, BAR0, IRQ_COUNT, bytes, (uint32_t)sizeof(bytes));

    (void)word;
    if (err == -EINVAL)
        puts("refused");
    return err == -EINVAL ? 0 : err == 0 ? -EPROTO : err;
}

static int offer(struct attached *a, const char *word)
{
    int err = client_dma_map(a->client, 0, 4096, VFIO_DMA_MAP_FLAG_READ, -1, 0);

    (void)word;
    if (err == 0)
        puts("offered");
    return err;
}

static int garbage(struct attached *a, const char *word)
{
    const char bytes[16] = "no message at a";

    (void)word;
    if (send(stream_fd(client_stream(a->client)), bytes, sizeof(bytes), MSG_NOSIGNAL) !=
        (ssize_t)sizeof(bytes))
        return -errno;
    puts("sent");
    return 0;
}

static int babble(struct attached *a, const char *path)
{
    char byte;
    int fd = peer_connect(path, 0);
    ssize_t n;

    (void)a;
    if (fd < 0)
        return fd;
    n = send(fd, "babble", sizeof("babble"), MSG_NOSIGNAL); /* and the NUL at its end */
    if (n > 0)
        n = recv(fd, &byte, 1, 0);
    close(fd);
    if (n == 0)
        printf("hung up %d\n", (int)getpid());
    return n == 0 ? 0 : -EPROTO;
}

static int serve_to_end(struct attached *a)
{
    int err = client_serve(a->client, -1, LIMIT_MS);

    return err == -ENOTCONN ? 0 : err == 0 ? -ETIMEDOUT : err;
}

static int wait_for_end(struct attached *a, const char *word)
{
    int err = serve_to_end(a);

    (void)word;
    if (err == 0)
        puts("ended");
    return err;
}

/* The connection stays: the next process answers on it. */
static int kill_server(struct attached *a, const char *word)
{
    long pid = strtol(word, NULL, 10);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    uint64_t value;
    int err = kill((pid_t)pid, SIGKILL) != 0 ? -errno : 0;

    if (err == 0)
        err = client_region_read(a->client, BAR0, IRQ_COUNT, &value, (uint32_t)sizeof(value));
    if (err == 0)
        printf("served after %lld us\n", (long long)((now_ns(CLOCK_MONOTONIC) - began) / 1000));
    return err;
}

static int set_irq(struct attached *a, const char *word)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    int err = client_set_irqs(a->client, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                              VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL, &fd, 1);

    (void)word;
    close(fd);
    if (err == 0)
        puts("set");
    return err;
}

static int map(struct attached *a, const char *word)
{
    long kib = strtol(word, NULL, 10);
    int fd = memfd_create("attach", MFD_CLOEXEC);
    int err = fd < 0 || ftruncate(fd, kib * 1024) != 0 ? -errno : 0;

    if (err == 0)
        err = client_dma_map(a->client, MAP_AT, (uint64_t)kib * 1024,
                             VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, fd, 0);
    if (fd >= 0)
        close(fd);
    if (err == 0)
        puts("mapped");
    return err;
}

static int unmap(struct attached *a, const char *word)
{
    long kib = strtol(word, NULL, 10);
    int err = client_dma_unmap(a->client, MAP_AT, (uint64_t)kib * 1024, 0);

    if (err == 0)
        puts("unmapped");
    return err;
}

static int write_config(struct attached *a, const char *word)
{
    unsigned at = 0;
    unsigned value = 0;
    uint16_t bits;
    int err;

    if (sscanf(word, "%x=%x", &at, &value) != 2)
        return -EINVAL;
    bits = (uint16_t)value;
    err = client_region_write(a->client, VFIO_PCI_CONFIG_REGION_INDEX, at, &bits, sizeof(bits));
    if (err == 0)
        puts("written");
    return err;
}

static int reset(struct attached *a, const char *word)
{
    int err = client_reset(a->client);

    (void)word;
    if (err == 0)
        puts("reset");
    return err;
}

static const struct command {
    const char *name;
    int (*run)(struct attached *a, const char *word);
} commands[] = {
    { "arm", arm },          { "babble", babble },
    { "collect", collect },  { "config", write_config },
    { "end", wait_for_end }, { "err", err_request },
    { "garbage", garbage },  { "irq", set_irq },
    { "kill", kill_server }, { "map", map },
    { "offer", offer },      { "post", post },
    { "reset", reset },      { "unmap", unmap },
};

static int obey(struct attached *a, const char *line)
{
    char name[16] = "";
    char word[128] = "";

    sscanf(line, "%15s %127s", name, word);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(a, word);
    }
    return -EINVAL;
}

int main(int argc, char **argv)
{
    struct attached a = { .path = argc == 2 ? argv[1] : "" };
    char line[160] = "attaching\n";
    int err;

    setvbuf(stdout, NULL, _IOLBF, 0);
    err = attach(&a);
    if (err == 0)
        printf("attached %d %llu\n", (int)getpid(), (unsigned long long)a.server.max_dma_maps);
    while (err == 0 && fgets(line, sizeof(line), stdin) != NULL)
        err = obey(&a, line);
    if (err != 0)
        printf("%.*s: %s\n", (int)strcspn(line, "\n"), line, strerror(-err));
    client_free(a.client);
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
