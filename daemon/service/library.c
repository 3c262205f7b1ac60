/* SPDX-License-Identifier: BSD-3-Clause */
#include "library.h"

#include <errno.h>
#include <stddef.h>

#include "config-build.h"

#ifdef HAVE_LIBSYSTEMD
#include <dlfcn.h>
#include <systemd/sd-daemon.h>

#include "log.h"

#define LIBRARY "libsystemd.so.0"

/* What the headers say of a function must be what library.h says. */
#define SAME_TYPE(member, function)                                                        \
    _Static_assert(__builtin_types_compatible_p(__typeof__(((struct library *)0)->member), \
                                                __typeof__(&function)),                    \
                   #function " has another type")

SAME_TYPE(watchdog_enabled, sd_watchdog_enabled);
SAME_TYPE(listen_fds_with_names, sd_listen_fds_with_names);

bool library_available(void)
{
    return true;
}

int library_load(struct library *out)
{
    struct library found = { .handle = dlopen(LIBRARY, RTLD_LAZY) };

    if (found.handle == NULL) {
        log_err("service", "the service manager cannot be talked to: %s", dlerror());
        return -ENOENT;
    }
    found.watchdog_enabled = dlsym(found.handle, "sd_watchdog_enabled");
    found.listen_fds_with_names = dlsym(found.handle, "sd_listen_fds_with_names");
    if (found.watchdog_enabled == NULL || found.listen_fds_with_names == NULL) {
        log_err("service", "%s lacks a function: %s", LIBRARY, dlerror());
        dlclose(found.handle);
        return -ENOENT;
    }
    *out = found;
    return 0;
}

void library_unload(struct library *l)
{
    dlclose(l->handle);
}
#else
bool library_available(void)
{
    return false;
}

int library_load(struct library *out)
{
    (void)out;
    return -ENOSYS;
}

void library_unload(struct library *l)
{
    (void)l;
}
#endif
