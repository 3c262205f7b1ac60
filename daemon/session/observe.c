/* SPDX-License-Identifier: BSD-3-Clause */
#include "observe.h"

#include <stdio.h>
#include <uv.h>

#include "event.h"
#include "log.h"
#include "stats.h"

static void tell(const struct session_host *host, const struct event *event)
{
    host->event(host->opaque, event);
}

static void log_attached(const struct session_host *host, const struct client_info *client)
{
    const char *profile = client_profile_name(client->profile);
    char protocol[16];
    char uid[16] = "unknown";
    const struct log_field fields[] = {
        LOG_NUMBER("CLIENT_PID", client->pid),
        LOG_TEXT("PROTOCOL", protocol),
        LOG_TEXT("PROFILE", profile),
        /* The last one: without a name it ends them. */
        LOG_NUMBER(client->uid_known ? "CLIENT_UID" : NULL, client->uid),
        LOG_END,
    };

    if (!log_limit_pass(host->limit, "session"))
        return;
    snprintf(protocol, sizeof(protocol), "%u.%u", client->caps.major, client->caps.minor);
    if (client->uid_known)
        snprintf(uid, sizeof(uid), "%u", client->uid);
    log_event(LOG_EVENT_CLIENT_ATTACHED, fields, LOG_LEVEL_INFO, "session",
              "client pid %d uid %s attached: protocol %s, profile %s", (int)client->pid, uid,
              protocol, profile);
}

void observe_attached(const struct session_host *host, const struct client_info *client)
{
    const struct event event = { .kind = EVENT_CLIENT_ATTACHED, .client = client };

    log_attached(host, client);
    host->stats->clients++;
    tell(host, &event);
}

void observe_left(const struct session_host *host, const struct client_info *client,
                  const char *reason)
{
    const struct event event = { .kind = EVENT_CLIENT_DETACHED,
                                 .client = client,
                                 .reason = reason };

    tell(host, &event);
}

void observe_detached(const struct session_host *host, const struct client_info *client,
                      const char *reason)
{
    const struct event event = { .kind = EVENT_CLIENT_DETACHED,
                                 .client = client,
                                 .reason = reason };

    if (log_limit_pass(host->limit, "session"))
        log_event(LOG_EVENT_CLIENT_DETACHED,
                  LOG_FIELDS(LOG_NUMBER("CLIENT_PID", client->pid), LOG_TEXT("REASON", reason),
                             LOG_NUMBER("REQUESTS", (int64_t)client->requests),
                             LOG_NUMBER("ERRORS", (int64_t)client->errors)),
                  LOG_LEVEL_INFO, "session",
                  "client pid %d detached: %s; %llu requests, %llu errors", (int)client->pid,
                  reason, (unsigned long long)client->requests, (unsigned long long)client->errors);
    tell(host, &event);
}

void observe_refused(const struct session_host *host, pid_t pid, const char *reason)
{
    const struct event event = { .kind = EVENT_CLIENT_REFUSED, .pid = pid, .reason = reason };

    if (log_limit_pass(host->limit, "session"))
        log_event(LOG_EVENT_CLIENT_REFUSED,
                  LOG_FIELDS(LOG_NUMBER("CLIENT_PID", pid), LOG_TEXT("REASON", reason)),
                  LOG_LEVEL_WARNING, "session", "pid %d turned away: %s", (int)pid, reason);
    host->stats->refused++;
    tell(host, &event);
}

void observe_out_of_step(const struct session_host *host, pid_t pid)
{
    if (log_limit_pass(host->limit, "session"))
        log_event(LOG_EVENT_CLIENT_OUT_OF_STEP, LOG_FIELDS(LOG_NUMBER("CLIENT_PID", pid)),
                  LOG_LEVEL_WARNING, "session",
                  "pid %d: the stream is out of step: bad size or type in a header", (int)pid);
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
