/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_file.h"
#include "config_json.h"
#include "device/pci.h"
#include "device/timer.h"
#include "log.h"

#define PAGE_BYTES 4096u
#define BAR1_MAX   (2ull << 30) /* what a 32-bit BAR can decode */

/* A parser for one number that goes to one member of a structure. */
#define NUMBER_PARSER(function, structure, member, min, max, is_size)                   \
    static int function(struct place *p, struct json_object *value, void *into)         \
    {                                                                                   \
        uint64_t number;                                                                \
        int err = json_get_number(p, value, is_size, min, max, &number);                \
                                                                                        \
        if (err == 0)                                                                   \
            ((structure *)into)->member = (__typeof__(((structure *)0)->member))number; \
        return err;                                                                     \
    }

#define BOOL_PARSER(function, structure, member)                                \
    static int function(struct place *p, struct json_object *value, void *into) \
    {                                                                           \
        return json_get_bool(p, value, &((structure *)into)->member);           \
    }

/*
 * pci.capabilities[]
 */

NUMBER_PARSER(cap_offset, struct pci_cap_description, offset, 0x40, 0xffc, false)
NUMBER_PARSER(cap_vectors, struct pci_cap_description, vectors, 1, 32, false)
NUMBER_PARSER(cap_bar, struct pci_cap_description, bar, 2, 5, false)
NUMBER_PARSER(cap_serial, struct pci_cap_description, serial, 0, UINT64_MAX, false)
NUMBER_PARSER(cap_id8, struct pci_cap_description, id, 1, 0xff, false)
NUMBER_PARSER(cap_id16, struct pci_cap_description, id, 0, 0xffff, false)
NUMBER_PARSER(cap_revision, struct pci_cap_description, revision, 0, 15, false)
NUMBER_PARSER(cap_length, struct pci_cap_description, length, 8, 0xfff, false)
BOOL_PARSER(cap_no_soft_reset, struct pci_cap_description, no_soft_reset)
BOOL_PARSER(cap_flr, struct pci_cap_description, flr)
BOOL_PARSER(cap_maskable, struct pci_cap_description, maskable)
BOOL_PARSER(cap_address64, struct pci_cap_description, address64)

static int cap_data(struct place *p, struct json_object *value, void *into)
{
    struct pci_cap_description *cap = into;

    return json_get_bytes(p, value, PCI_SPACE_EXP_SIZE, &cap->data, &cap->data_len);
}

static int cap_mask(struct place *p, struct json_object *value, void *into)
{
    struct pci_cap_description *cap = into;
    size_t len;
    int err = json_get_bytes(p, value, PCI_SPACE_EXP_SIZE, &cap->mask, &len);

    if (err == 0 && len != cap->data_len)
        return place_refuse(p, "must have as many bytes as \"data\", which must stand before it");
    return err;
}

/* "kind" has been looked at before the others. */
static int cap_kind(struct place *p, struct json_object *value, void *into)
{
    (void)p;
    (void)value;
    (void)into;
    return 0;
}

#define COMMON_KEYS          \
    { "kind", cap_kind },    \
    {                        \
        "offset", cap_offset \
    }

static const struct key pm_keys[] = { COMMON_KEYS,
                                      { "no_soft_reset", cap_no_soft_reset },
                                      { NULL, NULL } };
static const struct key msi_keys[] = { COMMON_KEYS,
                                       { "vectors", cap_vectors },
                                       { "maskable", cap_maskable },
                                       { "address64", cap_address64 },
                                       { NULL, NULL } };
static const struct key msix_keys[] = {
    COMMON_KEYS, { "vectors", cap_vectors }, { "bar", cap_bar }, { NULL, NULL }
};
static const struct key express_keys[] = { COMMON_KEYS, { "flr", cap_flr }, { NULL, NULL } };
static const struct key vendor_keys[] = { COMMON_KEYS, { "data", cap_data }, { NULL, NULL } };
static const struct key dsn_keys[] = { COMMON_KEYS, { "serial", cap_serial }, { NULL, NULL } };
static const struct key vendor_ext_keys[] = { COMMON_KEYS,
                                              { "id", cap_id16 },
                                              { "revision", cap_revision },
                                              { "length", cap_length },
                                              { "data", cap_data },
                                              { NULL, NULL } };
static const struct key raw_keys[] = {
    COMMON_KEYS, { "id", cap_id8 }, { "data", cap_data }, { "mask", cap_mask }, { NULL, NULL }
};
static const struct key raw_ext_keys[] = {
    COMMON_KEYS,          { "id", cap_id16 },   { "revision", cap_revision },
    { "data", cap_data }, { "mask", cap_mask }, { NULL, NULL }
};

static const struct cap_kind_name {
    const char *name;
    enum pci_cap_kind kind;
    const struct key *keys;
} cap_kinds[] = {
    { "pm", PCI_CAP_KIND_PM, pm_keys },
    { "msi", PCI_CAP_KIND_MSI, msi_keys },
    { "msix", PCI_CAP_KIND_MSIX, msix_keys },
    { "express", PCI_CAP_KIND_EXPRESS, express_keys },
    { "vendor", PCI_CAP_KIND_VENDOR, vendor_keys },
    { "dsn", PCI_CAP_KIND_DSN, dsn_keys },
    { "vendor-ext", PCI_CAP_KIND_VENDOR_EXT, vendor_ext_keys },
    { "raw", PCI_CAP_KIND_RAW, raw_keys },
    { "raw-ext", PCI_CAP_KIND_RAW_EXT, raw_ext_keys },
};

static const struct cap_kind_name *find_cap_kind(struct json_object *object)
{
    struct json_object *value;

    if (!json_object_is_type(object, json_type_object) ||
        !json_object_object_get_ex(object, "kind", &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    for (size_t i = 0; i < sizeof(cap_kinds) / sizeof(cap_kinds[0]); i++) {
        if (strcmp(json_object_get_string(value), cap_kinds[i].name) == 0)
            return &cap_kinds[i];
    }
    return NULL;
}

static int check_cap(struct place *p, const struct pci_cap_description *cap)
{
    place_enter(p, cap->kind == PCI_CAP_KIND_MSI ? "vectors" : "id", 0);
    if (cap->kind == PCI_CAP_KIND_MSI && (cap->vectors & (cap->vectors - 1)) != 0)
        return place_refuse(p, "must be 1, 2, 4, 8, 16 or 32");
    if (cap->kind == PCI_CAP_KIND_RAW && cap->id == 0)
        return place_refuse(p, "is missing");
    return 0;
}

static int parse_cap(struct place *p, struct json_object *object, void *into)
{
    struct pci_description *pci = into;
    const struct cap_kind_name *kind = find_cap_kind(object);
    struct pci_cap_description *cap = &pci->caps[pci->n_caps];
    size_t here = strlen(p->path);
    int err;

    if (kind == NULL) {
        place_enter(p, "kind", 0);
        return place_refuse(
            p, "must be one of pm, msi, msix, express, vendor, dsn, vendor-ext, raw, raw-ext");
    }
    *cap = (struct pci_cap_description) { .kind = kind->kind,
                                          .no_soft_reset = true,
                                          .address64 = true,
                                          .vectors = kind->kind == PCI_CAP_KIND_MSIX ? 3 : 1,
                                          .bar = 2,
                                          .revision = 1,
                                          .length = 8 };
    pci->n_caps++; /* from here on, description_fini frees what it owns */
    err = json_parse_object(p, object, kind->keys, cap);
    if (err == 0)
        err = check_cap(p, cap);
    if (err == 0)
        place_leave(p, here);
    return err;
}

static int pci_capabilities(struct place *p, struct json_object *value, void *into)
{
    struct device_description *d = p->root;

    description_fini(d); /* the default's make room for these */
    return json_parse_array(p, value, DESCRIPTION_MAX_CAPS, parse_cap, into);
}

/*
 * pci
 */

NUMBER_PARSER(pci_vendor, struct pci_description, vendor, 0, 0xffff, false)
NUMBER_PARSER(pci_device, struct pci_description, device, 0, 0xffff, false)
NUMBER_PARSER(pci_subsystem_vendor, struct pci_description, subsystem_vendor, 0, 0xffff, false)
NUMBER_PARSER(pci_subsystem_device, struct pci_description, subsystem_device, 0, 0xffff, false)
NUMBER_PARSER(pci_class, struct pci_description, class_code, 0, 0xffffff, false)
NUMBER_PARSER(pci_revision, struct pci_description, revision, 0, 0xff, false)

static const struct key pci_keys[] = {
    { "vendor", pci_vendor },
    { "device", pci_device },
    { "subsystem_vendor", pci_subsystem_vendor },
    { "subsystem_device", pci_subsystem_device },
    { "class", pci_class },
    { "revision", pci_revision },
    { "capabilities", pci_capabilities },
    { NULL, NULL },
};

/*
 * bar1
 */

static int bar1_size(struct place *p, struct json_object *value, void *into)
{
    struct device_description *d = into;
    uint64_t size;
    int err = json_get_number(p, value, true, PAGE_BYTES, BAR1_MAX, &size);

    if (err != 0)
        return err;
    if (size % PAGE_BYTES != 0)
        return place_refuse(p, "must be a multiple of 4K");
    d->bar1.size = size;
    return 0;
}

static int bar1_area(struct place *p, struct json_object *value, void *into)
{
    struct device_description *d = into;
    uint64_t numbers[2];

    if (!json_object_is_type(value, json_type_array) || json_object_array_length(value) != 2)
        return place_refuse(p, "must be an array of an offset and a size");
    for (size_t i = 0; i < 2; i++) {
        size_t up = place_enter(p, NULL, i);
        int err = json_get_number(p, json_object_array_get_idx(value, i), true,
                                  i == 0 ? 0 : PAGE_BYTES, BAR1_MAX, &numbers[i]);

        if (err == 0 && numbers[i] % PAGE_BYTES != 0)
            err = place_refuse(p, "must be a multiple of 4K");
        if (err != 0)
            return err;
        place_leave(p, up);
    }
    d->bar1.areas[d->bar1.n_areas++] = (struct mmap_area) { numbers[0], numbers[1] };
    return 0;
}

static int bar1_mmap(struct place *p, struct json_object *value, void *into)
{
    struct device_description *d = into;

    d->bar1.n_areas = 0;
    return json_parse_array(p, value, DESCRIPTION_MAX_AREAS, bar1_area, d);
}

static int bar1_clear_on_reset(struct place *p, struct json_object *value, void *into)
{
    return json_get_bool(p, value, &((struct device_description *)into)->bar1.clear_on_reset);
}

static const struct key bar1_keys[] = {
    { "size", bar1_size },
    { "mmap", bar1_mmap },
    { "clear_on_reset", bar1_clear_on_reset },
    { NULL, NULL },
};

/* Once size and areas are both known. */
static int check_areas(struct place *p)
{
    const struct device_description *d = p->root;

    place_enter(p, "bar1.mmap", 0);
    for (unsigned i = 0; i < d->bar1.n_areas; i++) {
        const struct mmap_area *area = &d->bar1.areas[i];
        size_t up = place_enter(p, NULL, i);

        if (area->size > d->bar1.size || area->offset > d->bar1.size - area->size)
            return place_refuse(p, "ends beyond bar1.size, which is %llu",
                                (unsigned long long)d->bar1.size);
        for (unsigned j = 0; j < i; j++) {
            const struct mmap_area *other = &d->bar1.areas[j];

            if (area->offset < other->offset + other->size &&
                other->offset < area->offset + area->size)
                return place_refuse(p, "overlaps element %u", j);
        }
        place_leave(p, up);
    }
    place_leave(p, 0);
    return 0;
}

/*
 * limits, and the root
 */

NUMBER_PARSER(limit_maps, struct device_description, limits.max_dma_maps, 1, 65535, false)
NUMBER_PARSER(limit_fds, struct device_description, limits.max_msg_fds, 1, 16, false)
NUMBER_PARSER(limit_data, struct device_description, limits.max_data_xfer_size, PAGE_BYTES,
              16u << 20, true)

static int limit_timeout(struct place *p, struct json_object *value, void *into)
{
    double seconds = 0;
    char *end = NULL;

    if (json_object_is_type(value, json_type_string))
        seconds = strtod(json_object_get_string(value), &end);
    else if (!json_object_is_type(value, json_type_boolean))
        seconds = json_object_get_double(value);
    if ((end != NULL && *end != '\0') || !(seconds >= 0.01 && seconds <= 3600))
        return place_refuse(p, "must be a number of seconds from 0.01 to 3600");
    ((struct device_description *)into)->limits.client_timeout_ms =
        (uint32_t)(seconds * 1000 + 0.5);
    return 0;
}

static const struct key limit_keys[] = {
    { "max_dma_maps", limit_maps },
    { "max_msg_fds", limit_fds },
    { "max_data_xfer_size", limit_data },
    { "client_timeout", limit_timeout },
    { NULL, NULL },
};

BOOL_PARSER(control_group, struct device_description, control.group_may_write)

static const struct key control_keys[] = {
    { "group_may_write", control_group },
    { NULL, NULL },
};

static int root_model(struct place *p, struct json_object *value, void *into)
{
    (void)into;
    if (!json_object_is_type(value, json_type_string) ||
        strcmp(json_object_get_string(value), "timer") != 0)
        return place_refuse(p, "the only model is \"timer\"");
    return 0;
}

static int root_pci(struct place *p, struct json_object *value, void *into)
{
    return json_parse_object(p, value, pci_keys, &((struct device_description *)into)->pci);
}

/* Areas are given, or with a smaller BAR1 the default ones are left out where they do not fit. */
static void fit_default_areas(struct device_description *d, struct json_object *bar1)
{
    unsigned kept = 0;

    if (!json_object_is_type(bar1, json_type_object) ||
        json_object_object_get_ex(bar1, "mmap", NULL))
        return;
    for (unsigned i = 0; i < d->bar1.n_areas; i++) {
        if (d->bar1.areas[i].offset + d->bar1.areas[i].size <= d->bar1.size)
            d->bar1.areas[kept++] = d->bar1.areas[i];
    }
    d->bar1.n_areas = kept;
}

static int root_bar1(struct place *p, struct json_object *value, void *into)
{
    int err = json_parse_object(p, value, bar1_keys, into);

    fit_default_areas(into, value);
    return err;
}

static int root_limits(struct place *p, struct json_object *value, void *into)
{
    return json_parse_object(p, value, limit_keys, into);
}

static int root_control(struct place *p, struct json_object *value, void *into)
{
    return json_parse_object(p, value, control_keys, into);
}

BOOL_PARSER(root_dma_on_irq, struct device_description, dma_on_irq)

/* The number whose name value is, of n; or -1. */
static int find_name(struct json_object *value, const char *(*name_of)(int), int n)
{
    for (int i = 0; json_object_is_type(value, json_type_string) && i < n; i++) {
        if (strcmp(json_object_get_string(value), name_of(i)) == 0)
            return i;
    }
    return -1;
}

static const char *profile_name(int i)
{
    return client_profile_name((enum client_profile)i);
}

static int root_profile(struct place *p, struct json_object *value, void *into)
{
    int i = find_name(value, profile_name, PROFILE_COUNT);

    if (i < 0)
        return place_refuse(p, "must be one of auto, strict, qemu, cloud-hypervisor");
    ((struct device_description *)into)->profile = (enum client_profile)i;
    return 0;
}

static const char *doorbell_name(int i)
{
    return doorbell_kind_name((enum doorbell_kind)i);
}

static int root_doorbell(struct place *p, struct json_object *value, void *into)
{
    int i = find_name(value, doorbell_name, DOORBELL_KINDS);

    if (i < 0)
        return place_refuse(p, "must be one of shadow, ioeventfd, none");
    ((struct device_description *)into)->doorbell = (enum doorbell_kind)i;
    return 0;
}

static const char *message_name(int i)
{
    return irq_message_name((enum irq_message)i);
}

static int root_irq_message(struct place *p, struct json_object *value, void *into)
{
    int i = find_name(value, message_name, IRQ_MESSAGE_WAYS);

    if (i < 0)
        return place_refuse(p, "must be one of fallback, both");
    ((struct device_description *)into)->irq_message = (enum irq_message)i;
    return 0;
}

static int root_log_level(struct place *p, struct json_object *value, void *into)
{
    enum log_level level;

    if (!json_object_is_type(value, json_type_string) ||
        log_level_parse(json_object_get_string(value), &level) != 0)
        return place_refuse(p, "must be one of err, warning, info, debug");
    ((struct device_description *)into)->log_level = level;
    return 0;
}

static const struct key root_keys[] = {
    { "model", root_model },
    { "pci", root_pci },
    { "bar1", root_bar1 },
    { "limits", root_limits },
    { "control", root_control },
    { "doorbell", root_doorbell },
    { "irq_message", root_irq_message },
    { "dma_on_irq", root_dma_on_irq },
    { "profile", root_profile },
    { "log_level", root_log_level },
    { NULL, NULL },
};

/* Lays configuration space out once, to see that it can be. */
static int check_layout(struct place *p)
{
    const struct device_description *d = p->root;
    const uint64_t bar_size[6] = { TIMER_BAR0_SIZE, d->bar1.size };
    struct pci_state *state = malloc(sizeof(*state));
    struct pci_error error;
    struct pci *pci = NULL;
    int err = -ENOMEM;

    if (state != NULL)
        err = pci_new(&d->pci, bar_size, state, &pci, &error);
    if (err == -EINVAL) {
        place_enter(p, "pci.capabilities", 0);
        place_enter(p, NULL, error.cap);
        place_enter(p, error.key, 0);
        place_refuse(p, "%s", error.reason);
    } else if (err != 0) {
        place_refuse(p, "no memory");
    }
    pci_free(pci);
    free(state);
    return err;
}

int config_parse(const char *file, const char *text, struct device_description *out,
                 struct config_error *error)
{
    struct device_description d;
    struct place place = {
        .file = file, .error = error->text, .error_size = sizeof(error->text), .root = &d
    };
    struct json_object *root = json_parse_text(&place, text);
    int err;

    if (root == NULL)
        return -EINVAL;
    description_default(&d);
    err = json_parse_object(&place, root, root_keys, &d);
    json_object_put(root);
    if (err == 0)
        err = check_areas(&place);
    if (err == 0)
        err = check_layout(&place);
    if (err != 0)
        description_fini(&d);
    else
        *out = d;
    return err;
}

int config_load(const char *file, unsigned flags, struct device_description *out,
                struct config_error *error)
{
    char *text = NULL;
    size_t len = 0;
    int err =
        file != NULL ? config_file_read(file, (flags & CONFIG_REGULAR) != 0, &text, &len) : -ENOENT;

    if (err == -ENOENT && (file == NULL || (flags & CONFIG_OPTIONAL) != 0)) {
        description_default(out);
        return 1;
    }
    if (err != 0) {
        snprintf(error->text, sizeof(error->text), "%s: %s", file, config_file_error(err));
        return err;
    }
    if (strlen(text) != len) {
        snprintf(error->text, sizeof(error->text), "%s: holds a NUL byte", file);
        err = -EINVAL;
    } else {
        err = config_parse(file, text, out, error);
    }
    free(text);
    return err;
}

/* The objects in the root, and what their keys are looked up in. */
static const struct object {
    const char *name;
    const struct key *keys;
} objects[] = {
    { "pci", pci_keys },
    { "bar1", bar1_keys },
    { "limits", limit_keys },
    { "control", control_keys },
};

static bool is_object(const char *name)
{
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        if (strcmp(name, objects[i].name) == 0)
            return true;
    }
    return false;
}

static void visit_keys(const char *above, const struct key *keys, config_key_fn visit, void *opaque)
{
    char path[PLACE_PATH_BYTES];

    for (; keys->name != NULL; keys++) {
        snprintf(path, sizeof(path), "%s.%s", above, keys->name);
        visit(opaque, path);
    }
}

void config_each_key(config_key_fn visit, void *opaque)
{
    char above[64];

    for (const struct key *key = root_keys; key->name != NULL; key++) {
        if (!is_object(key->name))
            visit(opaque, key->name);
    }
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++)
        visit_keys(objects[i].name, objects[i].keys, visit, opaque);
    for (size_t i = 0; i < sizeof(cap_kinds) / sizeof(cap_kinds[0]); i++) {
        snprintf(above, sizeof(above), "pci.capabilities[%s]", cap_kinds[i].name);
        visit_keys(above, cap_kinds[i].keys, visit, opaque);
    }
}

const char *config_warning(const struct device_description *d)
{
    if ((d->bar1.size & (d->bar1.size - 1)) != 0)
        return "bar1.size is not a power of two: QEMU refuses such a device";
    return NULL;
}
