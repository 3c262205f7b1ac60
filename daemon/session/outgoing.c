/* SPDX-License-Identifier: BSD-3-Clause */
/* Our own commands to the client. */
#include <errno.h>

#include "server_commands.h"
#include "session_private.h"
#include "twin.h"

uint32_t session_max_data(const struct session *s)
{
    uint64_t max = s->info.caps.max_data_xfer_size;

    if (!s->attached)
        return 0;
    return max < s->limits.max_data_xfer_size ? (uint32_t)max : s->limits.max_data_xfer_size;
}

/*
 * Out of a turn (a timer fired, say) nobody else would send it. A dead socket is noticed by the
 * next read: the caller is in the middle of something and must not lose its session.
 */
static int sent(struct session *s, int err)
{
    keeper_touch(s->host.keeper);
    if (err == 0 && !s->in_turn) {
        session_flush(s);
        twin_flush(s);
        session_wait(s);
    }
    return err;
}

int session_send_dma(struct session *s, uint32_t tag, uint64_t iova, const void *data, uint32_t len)
{
    if (s->closing)
        return -ENOTCONN;
    return sent(s, server_commands_dma(&s->commands, session_now_ms(), tag, iova, data, len));
}

int session_send_interrupt(struct session *s, uint32_t index, uint32_t vector)
{
    if (s->closing || !s->attached || !s->info.caps.vm_interrupt)
        return -ENOTSUP;
    return sent(s, server_commands_interrupt(&s->commands, session_now_ms(), index, vector));
}
