/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The service manager: the sockets that it passes, what it is told of us, and the log's way to the
 * journal. When no service manager has started us, all of it does nothing. Knows neither the device
 * nor the loop.
 */
#ifndef VFIO_USERD_SERVICE_H
#define VFIO_USERD_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

struct service;

/* Names that passed sockets go by (FileDescriptorName=). */
#define SERVICE_FD_DEVICE  "device"
#define SERVICE_FD_CONTROL "control"

/* Whether this build has libsystemd, which passed sockets and the watchdog need. */
bool service_available(void);

/*
 * Looks in the environment at what started us, takes the sockets that were passed, and sends the
 * log to the journal when standard error is connected to it; instance is the name that lines there
 * bear. Returns 0; -EINVAL, with the reason logged and told, for passed sockets that have other
 * names than the above, or the same one, or are no listening UNIX stream sockets; -ENOMEM.
 */
int service_new(const char *instance, struct service **out);

/* Closes passed sockets that nobody took; the log goes to stderr again. NULL is allowed. */
void service_free(struct service *s);

/* The passed socket of that name, the caller's from now on; -1: there is none (any more). */
int service_take_fd(struct service *s, const char *name);

/* Whether anybody is told: false means that the functions below do nothing. */
bool service_is_told(const struct service *s);

/*
 * status: what the service manager shows, one line; see sd_notify(3) for each. None waits: what the
 * service manager does not take now is lost, and those that return something return 0 or -errno.
 */
int service_ready(struct service *s, const char *status);
int service_status(struct service *s, const char *status);
void service_reloading(struct service *s);
void service_stopping(struct service *s, const char *status);
void service_alive(struct service *s);

/* The start has failed for the reason in status; error as errno has it. */
void service_failed(struct service *s, const char *status, int error);

/* Microseconds in which service_alive must be called or we are restarted; 0: nobody waits for it.
 */
uint64_t service_watchdog_usec(const struct service *s);

#endif
