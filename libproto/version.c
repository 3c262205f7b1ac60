/* SPDX-License-Identifier: BSD-3-Clause */
#include "version.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "vfio_user.h"

#define MAX_BITMAP_SIZE_DEFAULT (256u * 1024 * 1024)

/* The capabilities that are numbers, outside and inside "migration". */
struct number {
    const char *name;
    enum version_cap cap;
    size_t field; /* offset in struct version_caps, a uint64_t */
};

#define NUMBER(json, member, bit)                        \
    {                                                    \
        json, bit, offsetof(struct version_caps, member) \
    }

static const struct number common_numbers[] = {
    NUMBER("max_msg_fds", max_msg_fds, VERSION_MAX_MSG_FDS),
    NUMBER("max_data_xfer_size", max_data_xfer_size, VERSION_MAX_DATA_XFER_SIZE),
    NUMBER("max_dma_maps", max_dma_maps, VERSION_MAX_DMA_MAPS),
    NUMBER("pgsizes", pgsizes, VERSION_PGSIZES),
    { NULL, 0, 0 },
};

static const struct number migration_numbers[] = {
    NUMBER("pgsize", migration_pgsize, VERSION_MIGRATION_PGSIZE),
    NUMBER("max_bitmap_size", migration_max_bitmap_size, VERSION_MIGRATION_MAX_BITMAP_SIZE),
    { NULL, 0, 0 },
};

/* Those that are true or false. */
struct flag {
    const char *name;
    enum version_cap cap;
    size_t field; /* offset in struct version_caps, a bool */
};

static const struct flag flags[] = {
    { "write_multiple", VERSION_WRITE_MULTIPLE, offsetof(struct version_caps, write_multiple) },
    { "vm_interrupt", VERSION_VM_INTERRUPT, offsetof(struct version_caps, vm_interrupt) },
};

#define N_FLAGS (sizeof(flags) / sizeof(flags[0]))

static bool *flag_in(struct version_caps *caps, const struct flag *flag)
{
    return (bool *)((char *)caps + flag->field);
}

static bool flag_of(const struct version_caps *caps, const struct flag *flag)
{
    return *(const bool *)((const char *)caps + flag->field);
}

static uint64_t *number_in(struct version_caps *caps, const struct number *number)
{
    return (uint64_t *)((char *)caps + number->field);
}

static uint64_t number_of(const struct version_caps *caps, const struct number *number)
{
    return *(const uint64_t *)((const char *)caps + number->field);
}

void version_defaults(struct version_caps *out)
{
    *out = (struct version_caps) {
        .major = VFIO_USER_MAJOR,
        .minor = VFIO_USER_MINOR,
        .max_msg_fds = VFIO_USER_DEFAULT_MAX_MSG_FDS,
        .max_data_xfer_size = VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE,
        .max_dma_maps = VFIO_USER_DEFAULT_MAX_DMA_MAPS,
        .pgsizes = VFIO_USER_DEFAULT_PGSIZES,
        .twin_socket_fd_index = -1,
        .migration_pgsize = VFIO_USER_DEFAULT_PGSIZES,
        .migration_max_bitmap_size = MAX_BITMAP_SIZE_DEFAULT,
    };
}

/* 1: known and read; 0: not one of these; -EINVAL: known, but not a number that can be. */
static int parse_number(const struct number *numbers, const char *key, struct json_object *value,
                        struct version_caps *caps, const char **field)
{
    for (const struct number *n = numbers; n->name != NULL; n++) {
        if (strcmp(n->name, key) != 0)
            continue;
        *field = n->name;
        if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
            return -EINVAL;
        *number_in(caps, n) = json_object_get_uint64(value);
        caps->present |= n->cap;
        return 1;
    }
    return 0;
}

/* The same. */
static int parse_flag(const char *key, struct json_object *value, struct version_caps *caps,
                      const char **field)
{
    for (size_t i = 0; i < N_FLAGS; i++) {
        if (strcmp(flags[i].name, key) != 0)
            continue;
        *field = flags[i].name;
        if (!json_object_is_type(value, json_type_boolean))
            return -EINVAL;
        *flag_in(caps, &flags[i]) = json_object_get_boolean(value);
        caps->present |= flags[i].cap;
        return 1;
    }
    return 0;
}

static int parse_migration(struct json_object *object, struct version_caps *caps,
                           const char **field)
{
    *field = "migration";
    if (!json_object_is_type(object, json_type_object))
        return -EINVAL;
    caps->present |= VERSION_MIGRATION;
    json_object_object_foreach (object, key, value) {
        int found = parse_number(migration_numbers, key, value, caps, field);

        if (found < 0)
            return found;
        caps->unknown += found == 0;
    }
    return 0;
}

static int parse_twin_socket(struct json_object *object, struct version_caps *caps,
                             const char **field)
{
    struct json_object *value;

    *field = "twin_socket";
    if (!json_object_is_type(object, json_type_object))
        return -EINVAL;
    caps->present |= VERSION_TWIN_SOCKET;
    if (json_object_object_get_ex(object, "supported", &value)) {
        *field = "twin_socket.supported";
        if (!json_object_is_type(value, json_type_boolean))
            return -EINVAL;
        caps->twin_socket = json_object_get_boolean(value);
    }
    if (json_object_object_get_ex(object, "fd_index", &value)) {
        *field = "twin_socket.fd_index";
        if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0 ||
            json_object_get_int64(value) > INT32_MAX)
            return -EINVAL;
        caps->twin_socket_fd_index = json_object_get_int(value);
    }
    return 0;
}

static int parse_capability(const char *key, struct json_object *value, struct version_caps *caps,
                            const char **field)
{
    int found = parse_number(common_numbers, key, value, caps, field);

    if (found != 0)
        return found < 0 ? found : 0;
    if (strcmp(key, "migration") == 0)
        return parse_migration(value, caps, field);
    if (strcmp(key, "twin_socket") == 0)
        return parse_twin_socket(value, caps, field);
    found = parse_flag(key, value, caps, field);
    if (found != 0)
        return found < 0 ? found : 0;
    caps->unknown++;
    return 0;
}

static int parse_root(struct json_object *root, struct version_caps *caps, const char **field)
{
    struct json_object *capabilities;

    *field = "version data";
    if (!json_object_is_type(root, json_type_object))
        return -EINVAL;
    if (!json_object_object_get_ex(root, "capabilities", &capabilities))
        return 0;
    *field = "capabilities";
    if (!json_object_is_type(capabilities, json_type_object))
        return -EINVAL;
    json_object_object_foreach (capabilities, key, value) {
        int err = parse_capability(key, value, caps, field);

        if (err != 0)
            return err;
    }
    return 0;
}

int version_parse(uint16_t major, uint16_t minor, const char *json, size_t len,
                  struct version_caps *out, const char **field)
{
    struct version_caps caps;
    int err = 0;

    version_defaults(&caps);
    caps.major = major;
    caps.minor = minor;
    if (json != NULL) {
        struct json_tokener *tokener = json_tokener_new();
        struct json_object *root;

        if (tokener == NULL)
            return -ENOMEM;
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        /* The length counts the NUL, which is how the tokener knows that a number is over. */
        root = len < INT32_MAX && memchr(json, '\0', len) == NULL
                   ? json_tokener_parse_ex(tokener, json, (int)len + 1)
                   : NULL;
        err = parse_root(root, &caps, field);
        json_object_put(root);
        json_tokener_free(tokener);
    }
    if (err == 0)
        *out = caps;
    return err;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void negotiate_numbers(const struct number *numbers, const struct version_caps *client,
                              const struct version_caps *ours, struct version_caps *caps)
{
    struct version_caps defaults;

    version_defaults(&defaults);
    for (const struct number *n = numbers; n->name != NULL; n++) {
        uint64_t mine = number_of(ours, n);

        if ((ours->present & n->cap) == 0)
            continue;
        if ((client->present & n->cap) != 0) {
            *number_in(caps, n) = lesser(mine, number_of(client, n));
            caps->present |= n->cap;
        } else if (mine < number_of(&defaults, n)) {
            *number_in(caps, n) = mine;
            caps->present |= n->cap;
        }
    }
}

int version_negotiate(const struct version_caps *client, const struct version_caps *ours,
                      struct version_caps *out)
{
    uint32_t both = client->present & ours->present;
    struct version_caps caps;

    if (client->major != ours->major)
        return -ENOTSUP;
    version_defaults(&caps);
    caps.major = ours->major;
    caps.minor = (uint16_t)lesser(client->minor, ours->minor);
    negotiate_numbers(common_numbers, client, ours, &caps);
    /* Page sizes are a set, not a limit. */
    if ((both & VERSION_PGSIZES) != 0)
        caps.pgsizes = client->pgsizes & ours->pgsizes;
    if ((both & VERSION_MIGRATION) != 0) {
        caps.present |= VERSION_MIGRATION;
        negotiate_numbers(migration_numbers, client, ours, &caps);
    }
    for (size_t i = 0; i < N_FLAGS; i++) {
        if ((both & flags[i].cap) == 0)
            continue;
        *flag_in(&caps, &flags[i]) = flag_of(client, &flags[i]) && flag_of(ours, &flags[i]);
        caps.present |= flags[i].cap;
    }
    if ((both & VERSION_TWIN_SOCKET) != 0 && client->twin_socket && ours->twin_socket) {
        caps.twin_socket = true;
        caps.present |= VERSION_TWIN_SOCKET;
    }
    *out = caps;
    return 0;
}

static void format_numbers(struct json_object *object, const struct number *numbers,
                           const struct version_caps *caps)
{
    for (const struct number *n = numbers; n->name != NULL; n++) {
        if ((caps->present & n->cap) != 0)
            json_object_object_add(object, n->name, json_object_new_uint64(number_of(caps, n)));
    }
}

static struct json_object *format_twin_socket(const struct version_caps *caps)
{
    struct json_object *twin = json_object_new_object();

    json_object_object_add(twin, "supported", json_object_new_boolean(caps->twin_socket));
    if (caps->twin_socket_fd_index >= 0)
        json_object_object_add(twin, "fd_index", json_object_new_int(caps->twin_socket_fd_index));
    return twin;
}

char *version_format(const struct version_caps *caps)
{
    struct json_object *root = json_object_new_object();
    struct json_object *capabilities = json_object_new_object();
    char *text = NULL;

    if (root == NULL || capabilities == NULL)
        goto out;
    json_object_object_add(root, "capabilities", json_object_get(capabilities));
    format_numbers(capabilities, common_numbers, caps);
    if ((caps->present & VERSION_TWIN_SOCKET) != 0)
        json_object_object_add(capabilities, "twin_socket", format_twin_socket(caps));
    for (size_t i = 0; i < N_FLAGS; i++) {
        if ((caps->present & flags[i].cap) != 0)
            json_object_object_add(capabilities, flags[i].name,
                                   json_object_new_boolean(flag_of(caps, &flags[i])));
    }
    if ((caps->present & VERSION_MIGRATION) != 0) {
        struct json_object *migration = json_object_new_object();

        format_numbers(migration, migration_numbers, caps);
        json_object_object_add(capabilities, "migration", migration);
    }
    text = strdup(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN));
out:
    json_object_put(capabilities);
    json_object_put(root);
    return text;
}
