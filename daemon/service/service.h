/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The service manager: the sockets that it passes, the descriptors that it keeps for the next
 * process, what it is told of us, and the log's way to the journal. When no service manager has
 * started us, all of it does nothing. Knows neither the device nor the loop.
 */
#ifndef VFIO_USERD_SERVICE_H
#define VFIO_USERD_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

struct service;

/* Names that passed sockets go by (FileDescriptorName=). */
#define SERVICE_FD_DEVICE  "device"
#define SERVICE_FD_CONTROL "control"

/* Longest name of a stored descriptor, with its end. */
#define SERVICE_NAME_BYTES 32

/* How long the manager may leave us waiting for it to store something. */
#define SERVICE_STORE_LIMIT_MS 200

/* Whether this build has libsystemd, which passed sockets and the watchdog need. */
bool service_available(void);

/*
 * Looks in the environment at what started us, takes the sockets that were passed and what was
 * stored, and sends the log to the journal when standard error is connected to it; instance is the
 * name that lines there bear. What is stored has names like "client-3": lowercase letters, a minus
 * and a number. Returns 0; -EINVAL, with the reason logged and told, for passed sockets that have
 * other names, or the same one of the two above, or are no listening UNIX stream sockets; -ENOMEM.
 */
int service_new(const char *instance, struct service **out);

/* Closes what was passed or stored and nobody took (the manager has its own copy of what is
 * stored); the log goes to stderr again. NULL is allowed. */
void service_free(struct service *s);

/* The passed socket of that name, the caller's from now on; -1: there is none (any more). */
int service_take_fd(struct service *s, const char *name);

/* How many stored descriptors were passed; and whether one of them is called ROLE-number. */
unsigned service_stored(const struct service *s);
bool service_has_stored(const struct service *s, const char *role);

/* Stored descriptor i, the caller's from now on, with its name; -1: it was taken already. */
int service_take_stored(struct service *s, unsigned i, char name[SERVICE_NAME_BYTES]);

/* Most descriptors that may be stored at a time ($FDSTORE); 0: the manager stores none. */
unsigned service_store_max(const struct service *s);

/*
 * Has the manager keep a copy of fd, under a name as above, for the process that follows this one.
 * It takes the same open file once only, and those over the limit it drops without a word. Waits up
 * to SERVICE_STORE_LIMIT_MS for a manager that is busy. Returns 0; -ENOTSUP without a store;
 * -EAGAIN when that was not long enough; another -errno.
 */
int service_store(struct service *s, int fd, const char *name);

/* Has it drop what it keeps under that name. Waits and returns as service_store does. */
int service_unstore(struct service *s, const char *name);

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
