/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "saving.h"

#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "content.h"
#include "staging.h"
#include "state_stream.h"

#define PAGE 4096u

/* A record that holds a piece of configuration space or BAR1 has these, and one byte at least. */
#define PIECE_HEAD (STATE_HEADER_SIZE + STATE_PIECE_SIZE)
#define PIECE_MIN  (PIECE_HEAD + 1)
#define PIECE_MAX  (1u << 20)

#define FLAGS (SAVING_KEPT_BEGIN | SAVING_KEPT_STATE | SAVING_KEPT_DONE)

struct saving {
    struct device *dev;
    bool live;      /* the device runs */
    bool from_copy; /* BAR1 has been copied as a whole: it is not looked at any more */
    bool whole;     /* all of BAR1 is due, not only what is not alike on the other side */
    bool done;
    uint8_t *copy;     /* of BAR1: what the other side has, when it has read all that was latched */
    uint64_t size;     /* of BAR1 */
    uint8_t *touched;  /* a byte for each page: whether copy has ever held anything of it */
    uint64_t at;       /* where the round over BAR1 is */
    uint64_t data;     /* what of the file was found last that is no hole: from here */
    uint64_t data_end; /* to here */
    uint64_t run;      /* latched and not yet sent */
    uint64_t run_end;
    bool begin_due;
    bool state_due;
    uint32_t config_at; /* sent up to here */
    size_t config_size;
    uint32_t msix_at; /* the same of MSI-X's table */
    size_t msix_size;
    struct device_state state; /* when it was stopped */
    uint32_t image;            /* the checksum of what is sent then */
    struct state_sum sum;
    uint64_t bytes;
};

/*
 * What of BAR1 is due
 */

static uint64_t page_end(const struct saving *s, uint64_t page)
{
    return page + PAGE < s->size ? page + PAGE : s->size;
}

/* Finds the next data of the file. Holes are not looked into: that would fill them. */
static void find_data(struct saving *s, uint64_t at)
{
    int fd = device_bar1_fd(s->dev);
    off_t data = lseek(fd, (off_t)at, SEEK_DATA);
    off_t hole = data >= 0 ? lseek(fd, data, SEEK_HOLE) : -1;

    if (data < 0) /* there is none; or, which should not be, it cannot be said where */
        s->data = errno == ENXIO ? s->size : at;
    else
        s->data = (uint64_t)data < s->size ? (uint64_t)data / PAGE * PAGE : s->size;
    s->data_end = hole > data && (uint64_t)hole < s->size ? (uint64_t)hole : s->size;
}

/* The first page from at on that can be due. A page that was sent may be in a hole now. */
static uint64_t next_candidate(struct saving *s, uint64_t at)
{
    if (s->whole || s->from_copy || at >= s->size)
        return at;
    if (at >= s->data_end)
        find_data(s, at);
    while (at < s->data && !s->touched[at / PAGE])
        at += PAGE;
    return at;
}

/* Where what is sent comes from; while the device runs, that must be what is compared later. */
static const uint8_t *source(const struct saving *s)
{
    return s->live || s->from_copy ? s->copy : device_bar1(s->dev);
}

static bool is_due(const struct saving *s, uint64_t page)
{
    static const uint8_t zeros[PAGE];
    const uint8_t *there = s->touched[page / PAGE] ? s->copy + page : zeros;
    size_t len = page_end(s, page) - page;

    if (s->whole)
        return true;
    if (s->from_copy)
        return memcmp(s->copy + page, zeros, len) != 0;
    return memcmp(device_bar1(s->dev) + page, there, len) != 0;
}

/* Copies the page, so that what is sent is what is compared later. */
static void latch(struct saving *s, uint64_t page)
{
    if (!s->live)
        return;
    memcpy(s->copy + page, device_bar1(s->dev) + page, page_end(s, page) - page);
    s->touched[page / PAGE] = 1;
}

/* Finds the first page that is due from where the round is. */
static bool find_due(struct saving *s)
{
    for (;;) {
        s->at = next_candidate(s, s->at);
        if (s->at >= s->size)
            return false;
        if (is_due(s, s->at))
            return true;
        s->at = page_end(s, s->at);
    }
}

/*
 * Whether there is something of BAR1 to send: a run of bytes, which is as long as wanted, or a
 * little longer, where that many that follow each other are due.
 */
static bool find_run(struct saving *s, uint64_t wanted)
{
    if (s->run == s->run_end) {
        if (!find_due(s))
            return false;
        s->run = s->run_end = s->at;
    }
    while (s->at == s->run_end && s->run_end - s->run < wanted &&
           next_candidate(s, s->at) == s->at && s->at < s->size && is_due(s, s->at)) {
        latch(s, s->at);
        s->run_end = page_end(s, s->at);
        s->at = s->run_end;
    }
    return true;
}

/* A round begins; it leaves out what has not changed since it was sent. */
static void begin_round(struct saving *s)
{
    s->at = 0;
    s->data_end = 0;
    s->whole = false;
}

/*
 * Records
 */

/* A piece of the stream in the making. */
struct reply {
    uint8_t *out;
    uint32_t size;
    uint32_t used;
    uint8_t *open; /* the last record, whose header is not written yet; NULL */
    uint32_t type; /* of it */
    uint32_t length;
};

static uint32_t room_in(const struct reply *r)
{
    return r->size - r->used;
}

static void close_record(struct saving *s, struct reply *r, uint32_t padding)
{
    if (r->open == NULL)
        return;
    memset(r->open + STATE_HEADER_SIZE + r->length, 0, padding);
    state_record_seal(r->open, r->type, 0, r->length + padding, padding, &s->sum);
    r->used += padding;
    r->open = NULL;
}

/* Where the payload of a record goes that has room. */
static uint8_t *open_record(struct saving *s, struct reply *r, uint32_t type, uint32_t length)
{
    close_record(s, r, 0);
    r->open = r->out + r->used;
    r->type = type;
    r->length = length;
    r->used += STATE_HEADER_SIZE + length;
    return r->open + STATE_HEADER_SIZE;
}

/* The rest of the piece is too small for what comes next. */
static bool pad(struct saving *s, struct reply *r)
{
    close_record(s, r, room_in(r) < STATE_MAX_PADDING ? room_in(r) : STATE_MAX_PADDING);
    return false;
}

/* Adds as many of the bytes from offset on, up to end, as there is room for; returns the number. */
static uint32_t put_piece(struct saving *s, struct reply *r, uint32_t type, const uint8_t *bytes,
                          uint64_t offset, uint64_t end)
{
    uint64_t len = end - offset;
    uint8_t *payload;

    len = len < PIECE_MAX ? len : PIECE_MAX;
    len = len < room_in(r) - PIECE_HEAD ? len : room_in(r) - PIECE_HEAD;
    payload = open_record(s, r, type, (uint32_t)(STATE_PIECE_SIZE + len));
    state_put(payload, offset, STATE_PIECE_SIZE);
    memcpy(payload + STATE_PIECE_SIZE, bytes + offset, len);
    return (uint32_t)len;
}

static bool put_begin(struct saving *s, struct reply *r)
{
    uint8_t payload[CONTENT_BEGIN_MAX];
    int len = content_begin(s->dev, payload, sizeof(payload));

    memcpy(open_record(s, r, STATE_BEGIN, (uint32_t)len), payload, (size_t)len);
    s->begin_due = false;
    return true;
}

/* Adds STATE, if it fits. */
static bool put_state(struct saving *s, struct reply *r)
{
    uint8_t payload[CONTENT_STATE_MAX];
    int len = content_state(&s->state, payload, sizeof(payload));

    if (room_in(r) < STATE_HEADER_SIZE + (uint32_t)len)
        return false;
    memcpy(open_record(s, r, STATE_STATE, (uint32_t)len), payload, (size_t)len);
    s->state_due = false;
    return true;
}

/* Whether configuration space and MSI-X's table have not been sent whole. */
static bool images_due(const struct saving *s)
{
    return !s->live && (s->config_at < s->config_size || s->msix_at < s->msix_size);
}

static bool put_image(struct saving *s, struct reply *r)
{
    if (s->config_at < s->config_size)
        s->config_at +=
            put_piece(s, r, STATE_CONFIG, s->state.pci.config, s->config_at, s->config_size);
    else
        s->msix_at += put_piece(s, r, STATE_MSIX, s->state.msix.table, s->msix_at, s->msix_size);
    return true;
}

static bool put_memory(struct saving *s, struct reply *r)
{
    if (room_in(r) < PIECE_MIN)
        return pad(s, r);
    s->run += put_piece(s, r, STATE_MEMORY, source(s), s->run, s->run_end);
    return true;
}

static bool put_end(struct saving *s, struct reply *r)
{
    if (room_in(r) < STATE_HEADER_SIZE + STATE_END_SIZE)
        return pad(s, r);
    close_record(s, r, 0);
    state_record_end(r->out + r->used, &s->sum);
    r->used += STATE_HEADER_SIZE + STATE_END_SIZE;
    s->done = true;
    return false;
}

/* Adds the next record. Returns false when the piece is complete. */
static bool put_next(struct saving *s, struct reply *r)
{
    if (s->begin_due)
        return put_begin(s, r);
    /* What does not fit here goes behind what can be cut to fit. */
    if (s->state_due && put_state(s, r))
        return true;
    if (images_due(s) && room_in(r) >= PIECE_MIN)
        return put_image(s, r);
    if (find_run(s, room_in(r)))
        return put_memory(s, r);
    if (!s->live)
        return s->state_due || images_due(s) ? pad(s, r) : put_end(s, r);
    if (r->used > 0)
        return false; /* the round is over */
    begin_round(s);
    return find_run(s, room_in(r)) && put_memory(s, r);
}

int saving_read(struct saving *s, uint8_t *out, uint32_t size)
{
    struct reply r = { .out = out, .size = size };

    if (size == 0 || s->done)
        return 0;
    if (size < SAVING_MIN_READ)
        return -EINVAL;
    if (size > INT32_MAX)
        r.size = INT32_MAX;
    while (room_in(&r) > 0 && put_next(s, &r))
        ;
    close_record(s, &r, 0);
    s->bytes += r.used;
    return (int)r.used;
}

/*
 * Life
 */

static void keep_state(struct saving *s)
{
    s->state = *device_state(s->dev);
    s->config_size = device_config_size(s->dev);
    s->msix_size = device_msix_table_size(s->dev);
    s->state_due = true;
}

static void copy_bar1(struct saving *s)
{
    for (find_data(s, 0); s->data < s->size; find_data(s, s->data_end))
        memcpy(s->copy + s->data, device_bar1(s->dev) + s->data, s->data_end - s->data);
    s->from_copy = true;
}

int saving_new(struct device *dev, bool live, struct saving **out)
{
    struct saving *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return -ENOMEM;
    s->dev = dev;
    s->live = live;
    s->size = device_description(dev)->bar1.size;
    s->begin_due = true;
    s->copy = staging_map(s->size);
    s->touched = staging_map(s->size / PAGE + 1);
    if (s->copy == NULL || s->touched == NULL) {
        saving_free(s);
        return -ENOMEM;
    }
    if (!live) {
        keep_state(s);
        copy_bar1(s);
    }
    begin_round(s);
    s->whole = s->size <= SAVING_SMALL_BAR1;
    *out = s;
    return 0;
}

/* Of all that is sent: where it differs, one cannot go on in the middle. */
static uint32_t sum_image(const struct saving *s)
{
    uint8_t payload[CONTENT_STATE_MAX];
    int len = content_state(&s->state, payload, sizeof(payload));
    uint32_t sum = libdeflate_crc32(0, payload, len > 0 ? (size_t)len : 0);

    sum = libdeflate_crc32(sum, s->state.pci.config, s->config_size);
    sum = libdeflate_crc32(sum, s->state.msix.table, s->msix_size);
    return libdeflate_crc32(sum, s->copy, s->size);
}

/* A small BAR1 is sent as it is now, and all of it. */
static void send_copy(struct saving *s)
{
    memcpy(s->copy, device_bar1(s->dev), s->size);
    s->image = sum_image(s);
    s->from_copy = true;
    s->whole = true;
    s->begin_due = true;
    s->run = s->run_end = 0;
}

int saving_stop(struct saving *s)
{
    if (!s->live)
        return -EINVAL;
    s->live = false;
    keep_state(s);
    begin_round(s);
    if (s->size > SAVING_SMALL_BAR1)
        return 0; /* and what was latched is still sent */
    send_copy(s);
    return 0;
}

bool saving_done(const struct saving *s)
{
    return s->done;
}

uint64_t saving_bytes(const struct saving *s)
{
    return s->bytes;
}

void saving_free(struct saving *s)
{
    if (s == NULL)
        return;
    staging_unmap(s->copy, s->size);
    staging_unmap(s->touched, s->size / PAGE + 1);
    free(s);
}

/*
 * Going on
 */

void saving_get_kept(const struct saving *s, struct saving_kept *out)
{
    *out = (struct saving_kept) {
        .bytes = s->bytes,
        .flags = (s->begin_due ? SAVING_KEPT_BEGIN : 0) | (s->state_due ? SAVING_KEPT_STATE : 0) |
                 (s->done ? SAVING_KEPT_DONE : 0),
        .bar1_at = s->run,
        .config_at = s->config_at,
        .msix_at = s->msix_at,
        .sum = s->sum,
        .image = s->image,
    };
}

static bool is_plausible(const struct saving *s, const struct saving_kept *kept)
{
    bool done = (kept->flags & SAVING_KEPT_DONE) != 0;

    if ((kept->flags & ~FLAGS) != 0 || kept->bar1_at > s->size)
        return false;
    if (s->live)
        return kept->config_at + kept->msix_at == 0 && !done;
    if (kept->config_at > s->config_size || kept->msix_at > s->msix_size)
        return false;
    return !done || ((kept->flags & ~SAVING_KEPT_DONE) == 0 && kept->config_at == s->config_size &&
                     kept->msix_at == s->msix_size);
}

/* In the middle of what is sent of a device that has not changed. */
static void go_on(struct saving *s, const struct saving_kept *kept)
{
    s->begin_due = (kept->flags & SAVING_KEPT_BEGIN) != 0;
    s->state_due = (kept->flags & SAVING_KEPT_STATE) != 0;
    s->config_at = kept->config_at;
    s->msix_at = kept->msix_at;
    s->sum = kept->sum;
    s->run = s->run_end = s->at = kept->bar1_at;
}

int saving_restore(struct device *dev, bool live, const struct saving_kept *kept,
                   struct saving **out)
{
    struct saving *s;
    int err = saving_new(dev, true, &s);

    if (err == 0 && !live)
        saving_stop(s);
    if (err == 0 && !is_plausible(s, kept)) {
        saving_free(s);
        err = -EINVAL;
    }
    if (err != 0)
        return err;
    if (s->from_copy && s->image == kept->image)
        go_on(s, kept);
    s->done = (kept->flags & SAVING_KEPT_DONE) != 0;
    s->bytes = kept->bytes;
    *out = s;
    return 0;
}
