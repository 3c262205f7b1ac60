/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A migration as a client does it that was not written for this server: it has its own idea of how
 * many replies the state takes, throws away what PRE_COPY gives, looks at BAR1 before the device
 * runs, and gives the destination memory and interrupts only afterwards.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <linux/magic.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "integration/harness.h"
#include "integration/sample_client.h"
#include "suite.h"

#define STATE_STOP      1u
#define STATE_RUNNING   2u
#define STATE_STOP_COPY 3u
#define STATE_RESUMING  4u
#define STATE_PRE_COPY  6u

#define BAR1_MAX     (12u * 1024)
#define REPLIES_MAX  (BAR1_MAX / SAMPLE_MAX_XFER + 1)
#define DMA_MESSAGES (SAMPLE_PAGE / SAMPLE_MAX_XFER)

/* Long enough to migrate in on a busy machine: the interrupt has to find all memory mapped. */
#define DEADLINE_S 5

/* Such clients know of this size of BAR1 only; their memory is of one kind or the other. */
static const struct scenario {
    const char *description;
    const char *directory; /* of the file that is the client's memory */
    uint32_t bar1;
} scenarios[] = {
    { "{ \"bar1\": { \"size\": \"12K\" }, \"dma_on_irq\": true }", "/tmp", 12 * 1024 },
    { "{ \"bar1\": { \"size\": \"12K\" }, \"dma_on_irq\": true }", "/dev/shm", 12 * 1024 },
};

/* What was read, a reply each. */
struct replies {
    uint8_t data[REPLIES_MAX][SAMPLE_MAX_XFER];
    uint32_t len[REPLIES_MAX];
    unsigned n;
};

/*
 * The guest's processor
 */

struct fake_guest {
    struct sample_client *client;
    uint32_t bar1;
    atomic_bool done;
    unsigned writes;
    uint32_t checksum; /* of what was written last */
};

static void *write_bar1(void *arg)
{
    struct fake_guest *g = arg;
    static uint8_t bytes[BAR1_MAX];

    do {
        ck_assert_int_eq(getrandom(bytes, g->bar1, 0), (ssize_t)g->bar1);
        while (atomic_load(&g->client->waiting) > 0)
            sched_yield();
        ck_assert_int_eq(sample_access(g->client, 1, true, 0, bytes, g->bar1), 0);
        g->writes++;
    } while (!atomic_load(&g->done));
    g->checksum = (uint32_t)crc32(crc32(0, NULL, 0), bytes, g->bar1);
    return NULL;
}

/*
 * The source
 */

static void look_around(struct sample_client *c)
{
    uint32_t data = 0;
    uint8_t config[64];

    ck_assert_int_eq(sample_access(c, 0xdeadbeef, false, 0, &data, sizeof(data)), EINVAL);
    ck_assert_int_eq(sample_access(c, 7, false, 0, config, sizeof(config)), 0);
    ck_assert_int_eq(memcmp(config, "\xad\xde\xef\xbe", 4), 0);
    ck_assert_int_eq(memcmp(config + 0x2c, "\xfe\xca\xbe\xba", 4), 0);
}

static void arm(struct sample_client *c, int seconds)
{
    int64_t at = time(NULL) + seconds;

    ck_assert_int_eq(sample_access(c, 0, true, 0, &at, sizeof(at)), 0);
    ck_assert_int_eq(sample_access(c, 0, false, 0, &at, sizeof(at)), 0);
    ck_assert_int_le(at, 0);
}

static void wait_for_irq(int fd)
{
    ck_assert_uint_eq(eventfd_wait(fd, (DEADLINE_S + 10) * 1000), 1);
}

/*
 * Logged while the self-test writes the first region by message and the second one directly; of the
 * latter nothing comes when the file is on a disk, which could make the server wait.
 */
static void exercise(struct sample_client *c, int irq)
{
    struct statfs fs;
    unsigned dirty_regions;

    ck_assert_int_eq(fstatfs(c->file, &fs), 0);
    dirty_regions = fs.f_type == TMPFS_MAGIC ? 2 : 1;
    sample_start_log(c);
    arm(c, 1);
    wait_for_irq(irq);
    ck_assert_uint_eq(sample_serve_dma(c, DMA_MESSAGES), c->regions[0].address);
    for (unsigned i = 0; i < c->n_regions; i++) {
        bool dirty = sample_log_of(c, &c->regions[i]);

        ck_assert_msg((dirty || c->regions[i].written) == (i < dirty_regions),
                      "region %u: %d by the server, %d by the client", i, dirty,
                      c->regions[i].written);
    }
    sample_stop_log(c);
    sample_unmap(c, 0, c->max_fds);
}

/* As many replies as there must be, none of them empty. */
static void read_replies(struct sample_client *c, struct replies *r, unsigned n)
{
    r->n = 0;
    while (r->n < n) {
        r->len[r->n] = sample_read_data(c, r->data[r->n]);
        ck_assert_msg(r->len[r->n] > 0, "%u replies instead of %u", r->n, n);
        r->n++;
    }
}

static uint32_t migrate_from(struct sample_client *c, const struct scenario *what,
                             struct replies *r)
{
    struct fake_guest g = { .client = c, .bar1 = what->bar1 };
    uint8_t more[SAMPLE_MAX_XFER];
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, write_bar1, &g), 0);
    sample_set_state(c, STATE_PRE_COPY);
    read_replies(c, r, what->bar1 / SAMPLE_MAX_XFER);
    atomic_store(&g.done, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_gt(g.writes, 0);
    sample_set_state(c, STATE_STOP_COPY);
    read_replies(c, r, what->bar1 / SAMPLE_MAX_XFER + 1);
    ck_assert_uint_eq(sample_read_data(c, more), 0);
    sample_set_state(c, STATE_STOP);
    return g.checksum;
}

/*
 * The destination
 */

static void migrate_to(struct sample_client *c, const struct scenario *what,
                       const struct replies *r, uint32_t checksum)
{
    static uint8_t bytes[BAR1_MAX];

    sample_set_state(c, STATE_RESUMING);
    for (unsigned i = 0; i < r->n; i++)
        sample_write_data(c, r->data[i], r->len[i]);
    sample_set_state(c, STATE_STOP);
    ck_assert_int_eq(sample_access(c, 1, false, 0, bytes, what->bar1), 0);
    ck_assert_uint_eq(crc32(crc32(0, NULL, 0), bytes, what->bar1), checksum);
    sample_set_state(c, STATE_RUNNING);
}

/* The same memory as before, of which the first half was unmapped on the source. */
static void take_regions(struct sample_client *from, struct sample_client *to)
{
    memcpy(to->regions, from->regions, sizeof(to->regions));
    to->n_regions = from->n_regions;
    to->file = from->file;
    from->file = -1;
}

START_TEST(test_migration)
{
    const struct scenario *what = &scenarios[_i];
    static struct replies replies;
    struct sample_client from;
    struct sample_client to;
    struct server source;
    struct server destination;
    uint32_t checksum;
    int irq[2];

    server_start(&source, what->description);
    sample_open(&from, source.socket);
    look_around(&from);
    sample_make_regions(&from, what->directory, 2 * from.max_fds);
    sample_map(&from, 0, from.n_regions);
    irq[0] = sample_configure_irqs(&from);
    exercise(&from, irq[0]);
    arm(&from, DEADLINE_S);
    checksum = migrate_from(&from, what, &replies);

    server_start(&destination, what->description);
    sample_open(&to, destination.socket);
    take_regions(&from, &to);
    migrate_to(&to, what, &replies, checksum);
    sample_map(&to, to.max_fds, to.n_regions - to.max_fds);
    irq[1] = sample_configure_irqs(&to);
    ck_assert_uint_eq(eventfd_wait(irq[1], 0), 0);
    wait_for_irq(irq[1]);
    ck_assert_uint_eq(sample_serve_dma(&to, DMA_MESSAGES), to.regions[to.max_fds].address);
    ck_assert_uint_eq(eventfd_wait(irq[1], 100), 0);
    ck_assert_uint_eq(eventfd_wait(irq[0], 0), 0);
    sample_unmap_all(&to);

    close(irq[0]);
    close(irq[1]);
    sample_close(&from);
    sample_close(&to);
    server_stop(&source);
    server_stop(&destination);
}
END_TEST

int main(void)
{
    TCase *test = tcase_create("interop");
    Suite *suite = suite_create("interop");

    tcase_set_timeout(test, 60);
    tcase_add_loop_test(test, test_migration, 0, sizeof(scenarios) / sizeof(scenarios[0]));
    suite_add_tcase(suite, test);
    return run_suite(suite);
}
