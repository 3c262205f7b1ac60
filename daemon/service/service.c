/* SPDX-License-Identifier: BSD-3-Clause */
#include "service.h"

#include "config-build.h"

#ifdef HAVE_LIBSYSTEMD
#include <dlfcn.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "log.h"

#define LIBRARY "libsystemd.so.0"

static void notify(const char *state)
{
    void *library;
    __typeof__(sd_notify) *send;

    if (getenv("NOTIFY_SOCKET") == NULL)
        return;
    library = dlopen(LIBRARY, RTLD_LAZY);
    send = library != NULL ? dlsym(library, "sd_notify") : NULL;
    if (send == NULL)
        log_err("service", "the service manager cannot be told %s: %s", state, dlerror());
    else
        send(0, state);
    if (library != NULL)
        dlclose(library);
}
#else
static void notify(const char *state)
{
    (void)state;
}
#endif

bool service_available(void)
{
#ifdef HAVE_LIBSYSTEMD
    return true;
#else
    return false;
#endif
}

void service_ready(void)
{
    notify("READY=1");
}

void service_stopping(void)
{
    notify("STOPPING=1");
}
