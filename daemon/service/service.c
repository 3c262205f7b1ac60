/* SPDX-License-Identifier: BSD-3-Clause */
#include "service.h"

#include "config-build.h"

#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>

static void notify(const char *state)
{
    sd_notify(0, state);
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
