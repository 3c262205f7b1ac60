/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What makes vfio-userd-fault of the daemon: between the session and its commands stands a function
 * that dies by SIGSEGV when BAR1 says so. The linker puts it there (--wrap=commands_execute).
 */
#include "load/fault.h"

#include "session/commands.h"

int __real_commands_execute(struct command_context *c, const struct message_request *request,
                            struct stream_message *m, struct reply *reply);
int __wrap_commands_execute(struct command_context *c, const struct message_request *request,
                            struct stream_message *m, struct reply *reply);

static volatile struct fault *find_fault(struct device *dev)
{
    struct device_region bar1;

    if (device_region(dev, VFIO_PCI_BAR1_REGION_INDEX, &bar1) != 0 || bar1.size < FAULT_FROM_END)
        return NULL;
    return (volatile struct fault *)(void *)(device_bar1(dev) + bar1.size - FAULT_FROM_END);
}

/* Whether this command is to kill. Counted before it does: who comes after must see it. */
static bool is_due(volatile struct fault *fault)
{
    if (fault == NULL || fault->magic != FAULT_MAGIC || fault->deaths == 0)
        return false;
    if (fault->countdown > 0) {
        fault->countdown--;
        return false;
    }
    fault->deaths--;
    return true;
}

static void die(void)
{
    volatile int *volatile nowhere = NULL;

    *nowhere = 0;
}

int __wrap_commands_execute(struct command_context *c, const struct message_request *request,
                            struct stream_message *m, struct reply *reply)
{
    volatile struct fault *fault = find_fault(c->dev);
    bool due = is_due(fault);
    int err;

    if (due && fault->after == 0)
        die();
    err = __real_commands_execute(c, request, m, reply);
    if (due)
        die();
    return err;
}
