/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: the payload of VERSION: major, minor, JSON. Parsed, negotiated, formatted, parsed again.
 */
#include "version.h"

#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "vfio_user.h"

static void offer(struct version_caps *caps)
{
    version_defaults(caps);
    caps->present = 0x1ff;
    caps->max_msg_fds = 16;
    caps->write_multiple = true;
    caps->twin_socket = true;
}

static void answer(const struct version_caps *client)
{
    struct version_caps ours, out, again;
    const char *field;
    char *json;

    offer(&ours);
    if (version_negotiate(client, &ours, &out) != 0)
        return;
    FUZZ_REQUIRE(out.minor <= client->minor && out.minor <= ours.minor);
    FUZZ_REQUIRE(out.max_msg_fds <= 16);
    FUZZ_REQUIRE((out.pgsizes & ~client->pgsizes) == 0);
    FUZZ_REQUIRE((out.present & ~client->present) == 0);
    json = version_format(&out);
    if (json == NULL)
        return;
    FUZZ_REQUIRE(version_parse(out.major, out.minor, json, strlen(json), &again, &field) == 0);
    FUZZ_REQUIRE(again.present == out.present && again.unknown == 0);
    FUZZ_REQUIRE(again.max_data_xfer_size == out.max_data_xfer_size);
    FUZZ_REQUIRE(again.migration_max_bitmap_size == out.migration_max_bitmap_size);
    free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vfio_user_version version = { 0 };
    struct version_caps caps;
    const char *field = NULL;
    size_t len;
    char *json;

    if (size < sizeof(version))
        return 0;
    memcpy(&version, data, sizeof(version));
    len = size - sizeof(version);
    json = malloc(len + 1);
    if (json == NULL)
        return 0;
    memcpy(json, data + sizeof(version), len);
    json[len] = '\0';
    if (version_parse(version.major, version.minor, json, len, &caps, &field) == 0)
        answer(&caps);
    else
        FUZZ_REQUIRE(field != NULL);
    free(json);
    return 0;
}
