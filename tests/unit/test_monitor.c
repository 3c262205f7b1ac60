/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon/control/monitor.c: each event as a reply to Monitor, of the interface's type. */
#include "control/monitor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/interface_text.h"
#include "unit/methods_kit.h"

static const struct client_info client = { .pid = 42, .uid_known = true, .profile = PROFILE_QEMU };
static const struct client_info left_alone = {
    .pid = 42, .uid_known = true, .profile = PROFILE_QEMU, .twin = TWIN_LOST
};
static const struct client_info with_twin = {
    .pid = 42, .uid_known = true, .profile = PROFILE_QEMU, .twin = TWIN_OPEN
};

#define DEVICE_EVENT(...)                                      \
    {                                                          \
        .kind = EVENT_DEVICE, .device = &(struct device_event) \
        {                                                      \
            __VA_ARGS__                                        \
        }                                                      \
    }

static const struct {
    struct event event;
    const char *text; /* of the event, from its kind on */
} events[] = {
    { { .kind = EVENT_CLIENT_ATTACHED, .client = &with_twin },
      "\"kind\":\"client-attached\",\"client\":{\"pid\":42,\"uid\":0,\"since\":0,"
      "\"profile\":\"qemu\",\"protocol\":\"0.0\",\"max_data_xfer_size\":0,"
      "\"twin_socket\":\"open\",\"vm_interrupt\":false,\"requests\":0,"
      "\"errors\":0}}" },
    { { .kind = EVENT_CLIENT_DETACHED, .client = &client, .reason = "it \"left\"" },
      "\"kind\":\"client-detached\",\"client\":{\"pid\":42,\"uid\":0,\"since\":0,"
      "\"profile\":\"qemu\",\"protocol\":\"0.0\",\"max_data_xfer_size\":0,"
      "\"twin_socket\":\"none\",\"vm_interrupt\":false,\"requests\":0,"
      "\"errors\":0},\"reason\":\"it \\\"left\\\"\"}" },
    { { .kind = EVENT_CLIENT_DETACHED, .client = &left_alone, .reason = "so" },
      "\"kind\":\"client-detached\",\"client\":{\"pid\":42,\"uid\":0,\"since\":0,"
      "\"profile\":\"qemu\",\"protocol\":\"0.0\",\"max_data_xfer_size\":0,"
      "\"twin_socket\":\"closed\",\"vm_interrupt\":false,\"requests\":0,"
      "\"errors\":0},\"reason\":\"so\"}" },
    { { .kind = EVENT_CLIENT_REFUSED, .pid = 43, .reason = "busy" },
      "\"kind\":\"client-refused\",\"pid\":43,\"reason\":\"busy\"}" },
    { DEVICE_EVENT(.kind = DEVICE_EVENT_INTERRUPT, .index = VFIO_PCI_MSI_IRQ_INDEX, .vector = 3,
                   .how = IRQ_DELIVERED_EVENTFD, .anew = true),
      "\"kind\":\"interrupt\",\"index\":\"msi\",\"vector\":3,\"delivered\":\"eventfd\"}" },
    { DEVICE_EVENT(.kind = DEVICE_EVENT_INTERRUPT, .index = VFIO_PCI_REQ_IRQ_INDEX,
                   .how = IRQ_PENDING_POWER),
      "\"kind\":\"interrupt\",\"index\":\"req\",\"vector\":0,\"delivered\":\"pending\","
      "\"reason\":\"the device is in D3hot\"}" },
    { DEVICE_EVENT(.kind = DEVICE_EVENT_RESET, .by = DEVICE_RESET_BY_CLIENT),
      "\"kind\":\"reset\",\"by\":\"client\"}" },
    { DEVICE_EVENT(.kind = DEVICE_EVENT_RESET, .by = DEVICE_RESET_BY_GUEST),
      "\"kind\":\"reset\",\"by\":\"guest\"}" },
    { DEVICE_EVENT(.kind = DEVICE_EVENT_RESET, .by = DEVICE_RESET_BY_OPERATOR),
      "\"kind\":\"reset\",\"by\":\"operator\"}" },
    { DEVICE_EVENT(.kind = DEVICE_EVENT_DMA_MAP, .iova = 1ull << 40, .size = 4096, .shared = true),
      "\"kind\":\"dma-map\",\"iova\":1099511627776,\"size\":4096,\"shared\":true}" },
    { DEVICE_EVENT(.kind = DEVICE_EVENT_DMA_UNMAP, .iova = 0, .size = 4096),
      "\"kind\":\"dma-unmap\",\"iova\":0,\"size\":4096}" },
    { DEVICE_EVENT(.kind = DEVICE_EVENT_DMA_UNMAP), "\"kind\":\"dma-unmap\"}" },
    { { .kind = EVENT_MIGRATION, .phase = "pre-copy" },
      "\"kind\":\"migration\",\"phase\":\"pre-copy\"}" },
};

static char *read_interface(void)
{
    static char text[65536];
    struct daemon_parts p;
    struct json_object *reply;

    parts_init(&p);
    reply = parts_call(&p, SERVICE ".GetInterfaceDescription", "{\"interface\": \"" DEVICE "\"}");
    snprintf(text, sizeof(text), "%s", json_object_get_string(reply_at(reply, "description")));
    json_object_put(reply);
    parts_fini(&p);
    return text;
}

static void expect_event(struct json_object *reply, const char *expected)
{
    struct interface_text interface;
    const char *text;

    interface_read(read_interface(), &interface);
    interface_check_reply(&interface, "Monitor", reply);
    interface_free(&interface);
    ck_assert(json_object_get_boolean(json_object_object_get(reply, "continues")));
    ck_assert_ptr_null(reply_error(reply));
    ck_assert_int_gt(json_object_get_int64(reply_at(reply, "event.time")), FAKE_START_TIME);
    text = json_object_to_json_string_ext(reply_at(reply, "event"), JSON_C_TO_STRING_PLAIN);
    ck_assert_str_eq(strchr(text, ',') + 1, expected);
}

START_TEST(events_as_they_are_sent)
{
    struct json_object *reply = monitor_event(&events[_i].event);

    expect_event(reply, events[_i].text);
    json_object_put(reply);
}
END_TEST

START_TEST(those_that_were_lost)
{
    struct json_object *reply = monitor_lost(12345678901);

    expect_event(reply, "\"kind\":\"lost\",\"count\":12345678901}");
    json_object_put(reply);
}
END_TEST

START_TEST(the_first_one_says_who_is_there)
{
    struct methods_answer answer;
    struct daemon_parts p;

    parts_init(&p);
    answer = parts_ask(&p, false, "{\"method\": \"" DEVICE ".Monitor\", \"more\": true}");
    ck_assert_int_eq(answer.then, METHOD_THEN_MONITOR);
    expect_event(answer.reply, "\"kind\":\"monitoring\",\"client\":null}");
    json_object_put(answer.reply);
    parts_use(&p);
    answer = parts_ask(&p, false, "{\"method\": \"" DEVICE ".Monitor\", \"more\": true}");
    expect_int(answer.reply, "event.client.pid", 4321);
    json_object_put(answer.reply);
    parts_fini(&p);
}
END_TEST

/* Every field that the interface has is some event's. */
START_TEST(nothing_is_described_that_is_never_sent)
{
    struct interface_text interface;

    interface_read(read_interface(), &interface);
    json_object_object_foreach (
        json_object_object_get(json_object_object_get(interface.types, "Event"), "fields"), name,
        type) {
        char key[64];
        bool found = strcmp(name, "time") == 0 || strcmp(name, "count") == 0;

        (void)type;
        snprintf(key, sizeof(key), "\"%s\":", name);
        for (size_t i = 0; i < ARRAY_SIZE(events); i++)
            found = found || strstr(events[i].text, key) != NULL;
        ck_assert_msg(found, "no event has %s", name);
    }
    interface_free(&interface);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        those_that_were_lost,
        the_first_one_says_who_is_there,
        nothing_is_described_that_is_never_sent,
    };
    const struct fake_loop_test loops[] = { { events_as_they_are_sent, ARRAY_SIZE(events) } };

    return fake_run("monitor", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
