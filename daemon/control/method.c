/* SPDX-License-Identifier: BSD-3-Clause */
#include "method.h"

#include <stdio.h>

void method_add(struct json_object *object, const char *key, struct json_object *value)
{
    if (object != NULL) /* else there is no memory */
        json_object_object_add(object, key, value);
    else
        json_object_put(value);
}

void method_append(struct json_object *array, struct json_object *value)
{
    if (array == NULL || json_object_array_add(array, value) != 0)
        json_object_put(value);
}

void method_add_int(struct json_object *object, const char *key, int64_t value)
{
    method_add(object, key, json_object_new_int64(value));
}

void method_add_bool(struct json_object *object, const char *key, bool value)
{
    method_add(object, key, json_object_new_boolean(value));
}

void method_add_string(struct json_object *object, const char *key, const char *value)
{
    method_add(object, key, json_object_new_string(value));
}

void method_invalid_parameter(struct method_outcome *out, const char *parameter)
{
    out->error = METHOD_SERVICE ".InvalidParameter";
    method_add_string(out->parameters, "parameter", parameter);
}

void method_busy(struct method_outcome *out, const char *reason)
{
    out->error = METHOD_INTERFACE ".Busy";
    method_add_string(out->parameters, "reason", reason);
}

struct json_object *method_parameter(struct json_object *parameters, const char *name)
{
    struct json_object *value = NULL;

    json_object_object_get_ex(parameters, name, &value);
    return value;
}

static const char *twin_name(enum twin_state twin)
{
    static const char *const names[] = {
        [TWIN_NONE] = "none", [TWIN_OPEN] = "open", [TWIN_LOST] = "closed"
    };

    return names[twin];
}

struct json_object *method_client(const struct client_info *client)
{
    struct json_object *o = json_object_new_object();
    char protocol[16];

    snprintf(protocol, sizeof(protocol), "%u.%u", client->caps.major, client->caps.minor);
    method_add_int(o, "pid", client->pid);
    method_add(o, "uid", client->uid_known ? json_object_new_int64(client->uid) : NULL);
    method_add_int(o, "since", client->since);
    method_add_string(o, "profile", client_profile_name(client->profile));
    method_add_string(o, "protocol", protocol);
    method_add_int(o, "max_data_xfer_size", (int64_t)client->caps.max_data_xfer_size);
    method_add_string(o, "twin_socket", twin_name(client->twin));
    method_add_bool(o, "vm_interrupt", client->caps.vm_interrupt);
    method_add_int(o, "requests", (int64_t)client->requests);
    method_add_int(o, "errors", (int64_t)client->errors);
    return o;
}

struct json_object *method_dma(struct device *dev)
{
    struct json_object *o = json_object_new_object();
    struct dma_info info;

    dma_get_info(device_dma(dev), &info);
    method_add_int(o, "maps", info.maps);
    method_add_int(o, "shared", info.shared);
    method_add_int(o, "files", info.files);
    method_add_int(o, "bytes_direct", (int64_t)info.bytes_direct);
    method_add_int(o, "bytes_message", (int64_t)info.bytes_message);
    return o;
}

const char *method_irq_name(uint32_t index)
{
    static const char *const names[DEVICE_NUM_IRQS] = {
        [VFIO_PCI_INTX_IRQ_INDEX] = "intx", [VFIO_PCI_MSI_IRQ_INDEX] = "msi",
        [VFIO_PCI_MSIX_IRQ_INDEX] = "msix", [VFIO_PCI_ERR_IRQ_INDEX] = "err",
        [VFIO_PCI_REQ_IRQ_INDEX] = "req",
    };

    return index < DEVICE_NUM_IRQS ? names[index] : NULL;
}

static const char *pending_reason(enum irq_delivery how)
{
    switch (how) {
    case IRQ_PENDING_NO_EVENTFD:
        return "no client has set an eventfd for it";
    case IRQ_PENDING_NOT_ENABLED:
        return "no client has set an eventfd for it, and the guest has not enabled it";
    case IRQ_PENDING_UNANSWERED:
        return "the client has not answered the interrupts before it, which are messages";
    case IRQ_PENDING_NO_WAY:
        return "the client has closed its twin socket: messages cannot reach it";
    case IRQ_PENDING_MASKED:
        return "the client has masked it";
    case IRQ_PENDING_DISABLED:
        return "the guest has disabled it: IRQ_ENABLE, INTx Disable or a mask bit";
    case IRQ_PENDING_POWER:
        return "the device is in D3hot";
    case IRQ_PENDING_STOPPED:
        return "the device is stopped";
    case IRQ_ALREADY_ASSERTED:
        return "the line is asserted already and the guest has not acknowledged it";
    case IRQ_DELIVERED_EVENTFD:
    case IRQ_DELIVERED_MESSAGE:
    case IRQ_DELIVERED_BOTH:
        break;
    }
    return NULL;
}

static const char *delivery_name(enum irq_delivery how)
{
    switch (how) {
    case IRQ_DELIVERED_EVENTFD:
        return "eventfd";
    case IRQ_DELIVERED_MESSAGE:
        return "message";
    case IRQ_DELIVERED_BOTH:
        return "both";
    default:
        return "pending";
    }
}

void method_add_delivery(struct json_object *object, enum irq_delivery how)
{
    const char *reason = pending_reason(how);

    method_add_string(object, "delivered", delivery_name(how));
    if (reason != NULL)
        method_add_string(object, "reason", reason);
}
