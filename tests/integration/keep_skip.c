/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that plays the service manager is skipped in a build without libsystemd, whose daemon
 * takes nothing from one.
 */
#include <stdio.h>
#include <stdlib.h>

#include "service/service.h"

/* What automake calls skipped. */
#define SKIPPED 77

__attribute__((constructor)) static void skip_without_libsystemd(void)
{
    if (service_available())
        return;
    puts("skipped: this build has no libsystemd, and takes nothing from a service manager");
    exit(SKIPPED);
}
