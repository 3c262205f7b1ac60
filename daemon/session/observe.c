/* SPDX-License-Identifier: BSD-3-Clause */
#include "observe.h"

#include <uv.h>

#include "event.h"
#include "stats.h"

static void tell(const struct session_host *host, const struct event *event)
{
    host->event(host->opaque, event);
}

void observe_attached(const struct session_host *host, const struct client_info *client)
{
    const struct event event = { .kind = EVENT_CLIENT_ATTACHED, .client = client };

    host->stats->clients++;
    tell(host, &event);
}

void observe_detached(const struct session_host *host, const struct client_info *client,
                      const char *reason)
{
    const struct event event = { .kind = EVENT_CLIENT_DETACHED,
                                 .client = client,
                                 .reason = reason };

    tell(host, &event);
}

void observe_refused(const struct session_host *host, pid_t pid, const char *reason)
{
    const struct event event = { .kind = EVENT_CLIENT_REFUSED, .pid = pid, .reason = reason };

    host->stats->refused++;
    tell(host, &event);
}

void observe_request(const struct session_host *host, const struct vfio_user_header *request,
                     int err, uint64_t began)
{
    struct stats_command *counters = stats_command(host->stats, request->command);

    counters->requests++;
    counters->errors += err != 0;
    if ((request->flags & VFIO_USER_NO_REPLY) == 0)
        stats_add_latency(counters, uv_hrtime() - began);
}
