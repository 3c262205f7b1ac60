/* SPDX-License-Identifier: BSD-3-Clause */
#include "moves.h"

#include "control/control.h"
#include "daemon_private.h"
#include "migrate/transfers.h"

static bool has_client(void *opaque)
{
    return daemon_client(opaque) != NULL;
}

static void on_loaded(void *opaque)
{
    (void)opaque;
}

int moves_init(struct daemon *d)
{
    const struct transfers_host host = {
        .opaque = d, .has_client = has_client, .loaded = on_loaded, .idle_ms = TRANSFERS_IDLE_MS
    };

    return transfers_new(&d->loop, d->dev, &host, &d->transfers);
}

static const char *refuse_save(void *opaque)
{
    const struct daemon *d = opaque;

    return transfers_refuse_save(d->transfers);
}

static const char *refuse_load(void *opaque)
{
    const struct daemon *d = opaque;

    return transfers_refuse_load(d->transfers);
}

static int save(void *opaque, int fd, uint32_t unused)
{
    struct daemon *d = opaque;

    (void)unused;
    return transfers_save(d->transfers, fd);
}

static int load(void *opaque, int fd, uint32_t unused)
{
    struct daemon *d = opaque;

    (void)unused;
    return transfers_load(d->transfers, fd);
}

void moves_fini(struct daemon *d)
{
    transfers_free(d->transfers);
    d->transfers = NULL;
}

void moves_fill(struct daemon *d, struct control_host *host)
{
    (void)d;
    host->refuse_save = refuse_save;
    host->save = save;
    host->refuse_load = refuse_load;
    host->load = load;
}
