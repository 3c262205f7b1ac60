/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit/methods_kit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migrate/content.h"
#include "migrate/migration.h"
#include "reload.h"
#include "session/listener.h"
#include "unit/interface_text.h"

static bool get_client(void *opaque, struct client_info *out)
{
    const struct daemon_parts *p = opaque;

    *out = p->client;
    return p->attached;
}

static int fake_reload(void *opaque, struct reload_outcome *out)
{
    static const char *const keys[] = { "limits.max_dma_maps", "log_level" };
    const struct daemon_parts *p = opaque;

    *out = (struct reload_outcome) { .n_changed = p->n_changed };
    for (unsigned i = 0; i < p->n_changed; i++)
        strcpy(out->changed[i].key, keys[i]);
    if (p->reload_refused == NULL)
        return 0;
    strcpy(out->reason, p->reload_refused);
    return -EINVAL;
}

static bool fake_capturing(void *opaque)
{
    return ((struct daemon_parts *)opaque)->capturing;
}

/* Methods only say who is to have the connection. */
static int fake_take(void *opaque, int fd, uint32_t argument)
{
    (void)opaque;
    (void)argument;
    close(fd);
    ck_abort_msg("a method has handed a connection over");
    return -EINVAL;
}

static const char *fake_refuse(void *opaque)
{
    return ((struct daemon_parts *)opaque)->busy;
}

static int fake_receive(void *opaque, int fd, uint32_t ms)
{
    (void)ms;
    return fake_take(opaque, fd, 0);
}

static void on_listener(void *opaque)
{
    (void)opaque;
}

static void on_event(void *opaque, const struct event *event)
{
    (void)opaque;
    (void)event;
}

static void on_progress(void *opaque, const struct moving_progress *progress)
{
    (void)opaque;
    (void)progress;
}

static void on_moved(void *opaque, const struct moving_outcome *outcome)
{
    (void)opaque;
    (void)outcome;
}

/* Handovers are asked about their state only; nothing comes in by the listener. */
static void make_moving(struct daemon_parts *p)
{
    const struct listener_host host = {
        .opaque = p, .done = on_listener, .event = on_event, .stats = &p->stats
    };
    struct moving_host moving = { .loop = &p->loop,
                                  .dev = p->control.dev,
                                  .name = "dev0",
                                  .opaque = p,
                                  .event = on_event,
                                  .progress = on_progress,
                                  .moved = on_moved };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(uv_loop_init(&p->loop), 0);
    ck_assert_int_eq(bind(fd, &(const struct sockaddr) { .sa_family = AF_UNIX }, 2), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(listener_new(&p->loop, fd, p->control.dev, &host, &p->listener), 0);
    moving.listener = p->listener;
    ck_assert_int_eq(moving_new(&moving, &p->moving), 0);
    p->control.moving = p->moving;
    p->control.receive = fake_receive;
}

static void free_moving(struct daemon_parts *p)
{
    moving_free(p->moving);
    listener_free(p->listener);
    uv_run(&p->loop, UV_RUN_DEFAULT); /* the close callbacks */
    ck_assert_int_eq(uv_loop_close(&p->loop), 0);
}

void parts_receive_call(struct daemon_parts *p, bool larger, char *out, size_t size)
{
    uint64_t bar1 = p->d.bar1.size;
    uint8_t begin[CONTENT_BEGIN_MAX];
    size_t len;
    int n;

    if (larger)
        p->d.bar1.size *= 2;
    n = content_begin(p->control.dev, begin, sizeof(begin));
    p->d.bar1.size = bar1;
    ck_assert_int_gt(n, 0);
    len = (size_t)snprintf(out, size,
                           "{\"method\": \"" DEVICE ".Receive\", \"upgrade\": true, "
                           "\"parameters\": {\"offer\": \"");
    for (int i = 0; i < n; i++)
        len += (size_t)snprintf(out + len, size - len, "%02x", begin[i]);
    snprintf(out + len, size - len, "\"}}");
}

void parts_init(struct daemon_parts *p)
{
    const struct migration_host nobody = { .changed = NULL };

    *p = (struct daemon_parts) { .line = fake_eventfd() };
    fake_host_init(&p->host);
    description_default(&p->d);
    p->d.pci.caps[1] = (struct pci_cap_description) { .kind = PCI_CAP_KIND_MSI, .vectors = 2 };
    p->d.pci.n_caps = 2;
    p->control = (struct control_host) { .opaque = p,
                                         .dev = fake_device(&p->host, &p->d),
                                         .name = "dev0",
                                         .client = get_client,
                                         .reload = fake_reload,
                                         .capture = fake_take,
                                         .refuse_save = fake_refuse,
                                         .save = fake_take,
                                         .refuse_load = fake_refuse,
                                         .load = fake_take,
                                         .capturing = fake_capturing,
                                         .stats = &p->stats };
    make_moving(p);
    ck_assert_int_eq(migration_new(p->control.dev, &nobody, &p->migration), 0);
    p->control.migration = p->migration;
}

void parts_fini(struct daemon_parts *p)
{
    migration_free(p->migration);
    free_moving(p);
    device_free(p->control.dev);
    description_fini(&p->d);
    fake_host_fini(&p->host);
    close(p->line);
}

void parts_use(struct daemon_parts *p)
{
    struct device *dev = p->control.dev;
    enum irq_delivery how;
    int none = -1;

    p->attached = true;
    p->client = (struct client_info) { .pid = 4321,
                                       .uid = 107,
                                       .uid_known = true,
                                       .since = FAKE_START_TIME,
                                       .profile = PROFILE_QEMU,
                                       .caps = { .minor = 1, .max_data_xfer_size = 1 << 20 },
                                       .requests = 99,
                                       .errors = 3 };
    fake_put(dev, CONFIG, 4, 2, 4);
    fake_put(dev, VFIO_PCI_BAR0_REGION_INDEX, 8, 8, FAKE_START_TIME + 1);
    fake_set_time(&p->host, dev, FAKE_START_TIME + 2);
    fake_put(dev, VFIO_PCI_BAR0_REGION_INDEX, 8, 8, FAKE_START_TIME + 9);
    ck_assert_int_eq(device_trigger_irq(dev, VFIO_PCI_INTX_IRQ_INDEX, 0, &how), 0);
    ck_assert_int_eq(dma_map(device_dma(dev), 0, 4096, 3, &none, 0), 0);
}

/* Checks a reply against the interface that the service itself describes. */
static void check_reply(struct daemon_parts *p, const char *method, struct json_object *reply)
{
    const char *dot = method != NULL ? strrchr(method, '.') : NULL;
    struct json_object *parameters = json_object_new_object();
    struct json_object *call = json_object_new_object();
    struct interface_text interface;
    struct methods_answer answer;

    json_object_object_add(parameters, "interface",
                           json_object_new_string_len(dot != NULL ? method : "",
                                                      dot != NULL ? (int)(dot - method) : 0));
    json_object_object_add(call, "parameters", parameters);
    json_object_object_add(call, "method",
                           json_object_new_string(SERVICE ".GetInterfaceDescription"));
    methods_call(&p->control, true, call, &answer);
    if (!answer.failed) {
        interface_read(json_object_get_string(reply_at(answer.reply, "description")), &interface);
        interface_check_reply(&interface, dot + 1, reply);
        interface_free(&interface);
    }
    json_object_put(answer.reply);
    json_object_put(call);
}

struct methods_answer parts_ask(struct daemon_parts *p, bool owner, const char *text)
{
    struct json_object *message = json_tokener_parse(text);
    struct methods_answer answer;
    struct json_object *method = NULL;

    ck_assert_msg(message != NULL, "the test's JSON is none: %s", text);
    json_object_object_get_ex(message, "method", &method);
    methods_call(&p->control, owner, message, &answer);
    ck_assert_ptr_nonnull(answer.reply);
    ck_assert_int_eq(answer.failed, reply_error(answer.reply) != NULL);
    check_reply(p, json_object_get_string(method), answer.reply);
    if (answer.failed) /* the error may be the other interface's */
        check_reply(p, reply_error(answer.reply), answer.reply);
    json_object_put(message);
    return answer;
}

struct json_object *parts_call(struct daemon_parts *p, const char *method, const char *parameters)
{
    char text[512];

    snprintf(text, sizeof(text), "{\"method\": \"%s\", \"parameters\": %s}", method,
             parameters != NULL ? parameters : "null");
    return parts_ask(p, true, text).reply;
}

struct json_object *reply_at(struct json_object *reply, const char *path)
{
    struct json_object *o = reply;
    char names[128];
    char *rest;

    snprintf(names, sizeof(names), "parameters.%s", path);
    for (char *name = strtok_r(names, ".", &rest); name != NULL; name = strtok_r(NULL, ".", &rest))
        ck_assert_msg(json_object_object_get_ex(o, name, &o), "%s is missing", path);
    return o;
}

void expect_int(struct json_object *reply, const char *path, int64_t value)
{
    ck_assert_msg(json_object_is_type(reply_at(reply, path), json_type_int), "%s is no int", path);
    ck_assert_int_eq(json_object_get_int64(reply_at(reply, path)), value);
}

void expect_string(struct json_object *reply, const char *path, const char *value)
{
    ck_assert_msg(json_object_is_type(reply_at(reply, path), json_type_string), "%s", path);
    ck_assert_str_eq(json_object_get_string(reply_at(reply, path)), value);
}

void expect_bool(struct json_object *reply, const char *path, bool value)
{
    ck_assert_msg(json_object_is_type(reply_at(reply, path), json_type_boolean), "%s", path);
    ck_assert_int_eq(json_object_get_boolean(reply_at(reply, path)), value);
}

const char *reply_error(struct json_object *reply)
{
    struct json_object *error = NULL;

    return json_object_object_get_ex(reply, "error", &error) ? json_object_get_string(error) : NULL;
}
