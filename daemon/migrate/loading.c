/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "loading.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/memory.h"
#include "staging.h"
#include "state_stream.h"

#define PAGE 4096u

/* The longest record. */
#define RECORD_MAX (STATE_HEADER_SIZE + STATE_MAX_RECORD)

struct loading {
    struct device *dev;
    struct memory kept;         /* what is staged lies in it; at NULL: in memory of ours */
    uint8_t *bar1;              /* staged, and behind it the two others */
    struct device_state *state; /* staged */
    uint8_t *buffers[2];        /* the record that has not come whole, in turns */
    uint64_t bar1_size;
    bool begun;
    bool has_state;
    bool complete;
    bool different; /* difference tells in what */
    uint32_t config_at;
    size_t config_size;
    uint32_t msix_at;
    size_t msix_size; /* 0: the device has no MSI-X */
    struct state_sum sum;
    uint32_t records; /* since the start; the one at hand included */
    uint64_t bytes;
    unsigned turn; /* of the buffers */
    size_t have;
    size_t need; /* bytes of the record in the buffer, as far as is known */
    int error;   /* it has failed; 0 */
    struct content_difference difference;
    char reason[192];
};

static int fail(struct loading *l, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct loading *l, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(l->reason, sizeof(l->reason), format, args);
    va_end(args);
    l->error = error;
    l->complete = false;
    return error;
}

/* The same for the record at hand. */
static int fail_record(struct loading *l, uint32_t type, const char *what)
{
    return fail(l, -EINVAL, "record %u (%s): %s", l->records, state_record_name(type), what);
}

static int fail_field(struct loading *l, uint32_t type, const char *field, const char *what)
{
    return fail(l, -EINVAL, "record %u (%s): %s: %s", l->records, state_record_name(type), field,
                what);
}

/*
 * Records
 */

static int take_begin(struct loading *l, const uint8_t *payload, size_t len)
{
    struct content_difference *d = &l->difference;
    int err = content_check_begin(l->dev, payload, len, d);

    if (err == -EPERM) {
        l->different = true;
        return fail(l, err, "it is of another device: %s is %s there, %s here", d->field, d->theirs,
                    d->ours);
    }
    if (err != 0)
        return fail_field(l, STATE_BEGIN, d->field, "malformed or missing");
    if (l->begun && l->kept.at != NULL)
        staging_clear_shared(l->bar1, l->bar1_size);
    else if (l->begun)
        staging_clear(l->bar1, l->bar1_size);
    memset(l->state, 0, sizeof(*l->state));
    msix_reset(&l->state->msix);
    l->begun = true;
    l->has_state = false;
    l->config_at = 0;
    l->msix_at = 0;
    return 0;
}

static int take_state(struct loading *l, const uint8_t *payload, size_t len)
{
    const char *field;

    if (l->has_state)
        return fail_record(l, STATE_STATE, "a second one");
    if (content_read_state(payload, len, l->state, &field) != 0)
        return fail_field(l, STATE_STATE, field, "malformed or missing");
    l->has_state = true;
    return 0;
}

/* The bytes of a CONFIG or MEMORY, which lie inside of size. NULL: they do not. */
static const uint8_t *piece(const uint8_t *payload, size_t *len, uint64_t size, uint64_t *offset)
{
    if (*len < STATE_PIECE_SIZE)
        return NULL;
    *offset = state_get(payload, STATE_PIECE_SIZE);
    *len -= STATE_PIECE_SIZE;
    if (*offset > size || *len > size - *offset)
        return NULL;
    return payload + STATE_PIECE_SIZE;
}

struct image {
    uint8_t *bytes;
    size_t size;
    uint32_t *at; /* how much of it has come */
};

/* The next bytes of something that comes from its start to its end; what: its name. */
static int take_image(struct loading *l, uint32_t type, const uint8_t *payload, size_t len,
                      const struct image *to, const char *what)
{
    uint64_t offset;
    const uint8_t *bytes = piece(payload, &len, to->size, &offset);

    if (bytes == NULL || offset != *to->at)
        return fail_record(l, type, what);
    memcpy(to->bytes + offset, bytes, len);
    *to->at += (uint32_t)len;
    return 0;
}

static int take_config(struct loading *l, const uint8_t *payload, size_t len)
{
    const struct image to = { l->state->pci.config, l->config_size, &l->config_at };

    return take_image(l, STATE_CONFIG, payload, len, &to,
                      "not the next bytes of configuration space");
}

static int take_msix(struct loading *l, const uint8_t *payload, size_t len)
{
    const struct image to = { l->state->msix.table, l->msix_size, &l->msix_at };

    return take_image(l, STATE_MSIX, payload, len, &to, "not the next bytes of MSI-X's table");
}

static int take_memory(struct loading *l, const uint8_t *payload, size_t len)
{
    uint64_t offset;
    const uint8_t *bytes = piece(payload, &len, l->bar1_size, &offset);

    if (bytes == NULL)
        return fail_record(l, STATE_MEMORY, "not inside BAR1");
    memcpy(l->bar1 + offset, bytes, len);
    return 0;
}

static int take_end(struct loading *l, const uint8_t *payload, size_t len,
                    const struct state_sum *before)
{
    char field[DEVICE_FIELD_BYTES];

    if (len != STATE_END_SIZE || !state_end_matches(payload, before))
        return fail_record(l, STATE_END, "records are missing");
    if (!l->has_state || l->config_at != l->config_size)
        return fail_record(l, STATE_END, l->has_state ? "CONFIG is missing" : "STATE is missing");
    if (l->msix_at != l->msix_size)
        return fail_record(l, STATE_END, "MSIX is missing");
    if (device_check_state(l->dev, l->state, field) != 0)
        return fail_field(l, STATE_END, field, "a value that this device cannot have");
    l->complete = true;
    return 0;
}

/* Checks the whole record at wire, and stages it. */
static int take_record(struct loading *l, const uint8_t *wire, const struct state_record *record)
{
    const struct state_sum before = l->sum;
    const char *wrong = state_record_check(wire, record, &l->sum);
    const uint8_t *payload = wire + STATE_HEADER_SIZE;
    size_t len = record->length - record->padding;

    if (wrong != NULL)
        return fail_record(l, record->type, wrong);
    if (!l->begun && record->type != STATE_BEGIN)
        return fail_record(l, record->type, "before any BEGIN");
    switch (record->type) {
    case STATE_BEGIN:
        return take_begin(l, payload, len);
    case STATE_STATE:
        return take_state(l, payload, len);
    case STATE_CONFIG:
        return take_config(l, payload, len);
    case STATE_MSIX:
        return take_msix(l, payload, len);
    case STATE_MEMORY:
        return take_memory(l, payload, len);
    case STATE_END:
        return take_end(l, payload, len, &before);
    default:
        return 0; /* optional */
    }
}

/* Decodes the header of the next record. */
static int take_header(struct loading *l, const uint8_t *wire, struct state_record *record)
{
    const char *wrong = state_record_decode(wire, record);

    if (wrong == NULL)
        return 0;
    l->records++;
    if (!l->begun)
        return fail(l, -EINVAL, "it is not the state of a device: %s in its first record", wrong);
    return fail_record(l, (uint32_t)state_get(wire, 4), wrong);
}

/*
 * Bytes
 */

/* Takes the record at data, if it is there as a whole. Returns its size, 0 when it is not. */
static int take_whole(struct loading *l, const uint8_t *data, size_t len)
{
    struct state_record record;
    int err;

    if (len < STATE_HEADER_SIZE)
        return 0;
    err = take_header(l, data, &record);
    if (err != 0)
        return err;
    if (len - STATE_HEADER_SIZE < record.length)
        return 0;
    l->records++;
    err = take_record(l, data, &record);
    return err != 0 ? err : (int)(STATE_HEADER_SIZE + record.length);
}

/*
 * Adds bytes to the record that has not come whole, up to its end. Returns how many, or -errno. The
 * next one begins in the other buffer, so that what was there before a piece of the stream came is
 * there still when the same piece comes again.
 */
static int add_bytes(struct loading *l, const uint8_t *data, size_t len)
{
    uint8_t *buffer = l->buffers[l->turn];
    size_t take;
    int done;

    if (l->have == 0)
        l->need = STATE_HEADER_SIZE;
    take = l->need - l->have < len ? l->need - l->have : len;
    memcpy(buffer + l->have, data, take);
    l->have += take;
    if (l->have < l->need)
        return (int)take;
    if (l->need == STATE_HEADER_SIZE) {
        struct state_record record;

        if (take_header(l, buffer, &record) != 0)
            return l->error;
        l->need = STATE_HEADER_SIZE + record.length;
    }
    if (l->have < l->need)
        return (int)take;
    done = take_whole(l, buffer, l->have);
    l->have = 0;
    l->turn ^= 1;
    return done < 0 ? done : (int)take;
}

int loading_write(struct loading *l, const uint8_t *data, size_t len)
{
    l->bytes += len;
    while (len > 0) {
        int taken = 0;

        if (l->error != 0)
            return l->error;
        if (l->complete)
            return fail(l, -EINVAL, "bytes behind the END");
        if (l->have == 0)
            taken = take_whole(l, data, len);
        if (taken == 0)
            taken = add_bytes(l, data, len);
        if (taken < 0)
            return taken;
        data += taken;
        len -= (size_t)taken;
    }
    return l->error;
}

bool loading_complete(const struct loading *l)
{
    return l->complete;
}

static int load(const struct loading *l, char field[DEVICE_FIELD_BYTES])
{
    uint8_t *view = NULL;
    int err;

    if (l->kept.at != NULL) {
        view = staging_view(l->kept.fd, l->bar1_size);
        if (view == NULL)
            return -ENOMEM;
    }
    err = device_load(l->dev, l->state, view != NULL ? view : l->bar1, field);
    staging_unmap(view, l->bar1_size);
    return err;
}

int loading_apply(struct loading *l)
{
    char field[DEVICE_FIELD_BYTES];
    int err;

    if (l->error != 0)
        return l->error;
    if (!l->complete)
        return fail(l, -EINVAL, "the END is missing: %llu bytes came",
                    (unsigned long long)l->bytes);
    device_take_rings(l->dev); /* those were rung on the state that goes */
    err = load(l, field);
    if (err == -EINVAL)
        return fail_field(l, STATE_END, field, "a value that this device cannot have");
    return err != 0 ? fail(l, err, "%s", strerror(-err)) : 0;
}

const char *loading_reason(const struct loading *l)
{
    return l->reason;
}

const struct content_difference *loading_difference(const struct loading *l)
{
    return l->different ? &l->difference : NULL;
}

uint64_t loading_bytes(const struct loading *l)
{
    return l->bytes;
}

/*
 * Life
 */

static uint64_t whole_pages(uint64_t size)
{
    return (size + PAGE - 1) / PAGE * PAGE;
}

static uint64_t staged_size(const struct loading *l)
{
    return whole_pages(l->bar1_size) + whole_pages(sizeof(*l->state)) + 2 * whole_pages(RECORD_MAX);
}

static struct loading *make(struct device *dev)
{
    struct loading *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return NULL;
    l->dev = dev;
    l->config_size = device_config_size(dev);
    l->msix_size = device_msix_table_size(dev);
    l->bar1_size = device_description(dev)->bar1.size;
    return l;
}

static void place(struct loading *l, uint8_t *at)
{
    l->bar1 = at;
    at += whole_pages(l->bar1_size);
    l->state = (struct device_state *)(void *)at;
    at += whole_pages(sizeof(*l->state));
    l->buffers[0] = at;
    l->buffers[1] = at + whole_pages(RECORD_MAX);
}

int loading_new(struct device *dev, struct loading **out)
{
    struct loading *l = make(dev);
    uint8_t *at = l != NULL ? staging_map(staged_size(l)) : NULL;

    if (at == NULL) {
        free(l);
        return -ENOMEM;
    }
    place(l, at);
    *out = l;
    return 0;
}

int loading_new_kept(struct device *dev, struct loading **out)
{
    struct loading *l = make(dev);
    int err = l != NULL ? memory_new("vfio-userd-resume", staged_size(l), &l->kept) : -ENOMEM;

    if (err != 0) {
        free(l);
        return err;
    }
    place(l, l->kept.at);
    *out = l;
    return 0;
}

void loading_free(struct loading *l)
{
    if (l == NULL)
        return;
    if (l->kept.at == NULL)
        staging_unmap(l->bar1, staged_size(l));
    memory_free(&l->kept);
    free(l);
}

/*
 * What is kept
 */

#define FLAGS (LOADING_KEPT_BEGUN | LOADING_KEPT_STATE | LOADING_KEPT_COMPLETE | LOADING_KEPT_TURN)

int loading_fd(const struct loading *l)
{
    return l->kept.at != NULL ? l->kept.fd : -1;
}

void loading_get_kept(const struct loading *l, struct loading_kept *out)
{
    *out = (struct loading_kept) {
        .bytes = l->bytes,
        .flags = (l->begun ? LOADING_KEPT_BEGUN : 0) | (l->has_state ? LOADING_KEPT_STATE : 0) |
                 (l->complete ? LOADING_KEPT_COMPLETE : 0) | (l->turn != 0 ? LOADING_KEPT_TURN : 0),
        .config_at = l->config_at,
        .msix_at = l->msix_at,
        .sum = l->sum,
        .records = l->records,
        .have = (uint32_t)l->have,
        .need = (uint32_t)l->need,
        .error = l->error,
        .state_version = DEVICE_STATE_VERSION,
        .state_size = sizeof(struct device_state),
    };
}

/* What has come of the record in the buffer, and what is said to be needed of it. */
static bool is_half(const struct loading *l)
{
    struct state_record record;

    if (l->have == 0)
        return true;
    if (l->have >= l->need || l->need > RECORD_MAX)
        return false;
    if (l->have < STATE_HEADER_SIZE)
        return l->need == STATE_HEADER_SIZE;
    return state_record_decode(l->buffers[l->turn], &record) == NULL &&
           l->need == STATE_HEADER_SIZE + record.length;
}

static bool is_plausible(const struct loading *l, const struct loading_kept *kept)
{
    if ((kept->flags & ~FLAGS) != 0 || kept->reserved != 0)
        return false;
    if (l->error != 0)
        return (l->error == -EINVAL || l->error == -EPERM) && !l->complete;
    if (l->config_at > l->config_size || l->msix_at > l->msix_size || !is_half(l))
        return false;
    if (!l->begun)
        return !l->has_state && !l->complete && l->config_at + l->msix_at == 0;
    if (l->bytes < l->have || l->sum.records > l->records || l->sum.records == 0)
        return false;
    return !l->complete || (l->has_state && l->config_at == l->config_size &&
                            l->msix_at == l->msix_size && l->have == 0);
}

static void put_kept(struct loading *l, const struct loading_kept *kept)
{
    l->begun = (kept->flags & LOADING_KEPT_BEGUN) != 0;
    l->has_state = (kept->flags & LOADING_KEPT_STATE) != 0;
    l->complete = (kept->flags & LOADING_KEPT_COMPLETE) != 0;
    l->turn = (kept->flags & LOADING_KEPT_TURN) != 0;
    l->config_at = kept->config_at;
    l->msix_at = kept->msix_at;
    l->sum = kept->sum;
    l->records = kept->records;
    l->bytes = kept->bytes;
    l->have = kept->have;
    l->need = kept->need;
    l->error = kept->error;
    if (l->error != 0)
        snprintf(l->reason, sizeof(l->reason), "it was refused before");
}

static int go_on(struct device *dev, const struct loading_kept *kept, int *fd, struct loading **out)
{
    struct loading *l = make(dev);
    int err = l != NULL ? memory_adopt(*fd, staged_size(l), &l->kept) : -ENOMEM;

    if (err != 0) {
        free(l);
        return err;
    }
    *fd = -1;
    place(l, l->kept.at);
    put_kept(l, kept);
    if (!is_plausible(l, kept)) {
        loading_free(l);
        return -EINVAL;
    }
    *out = l;
    return 0;
}

/* One that refuses everything. */
static int make_lost(struct device *dev, struct loading **out)
{
    int err = loading_new(dev, out);

    if (err == 0)
        fail(*out, -EINVAL, "what had come of it is lost");
    return err;
}

int loading_restore(struct device *dev, const struct loading_kept *kept, int fd,
                    struct loading **out)
{
    int err = -EINVAL;

    if (fd < 0)
        return make_lost(dev, out);
    if (kept->state_version == DEVICE_STATE_VERSION &&
        kept->state_size == sizeof(struct device_state))
        err = go_on(dev, kept, &fd, out);
    if (fd >= 0)
        close(fd);
    return err;
}
