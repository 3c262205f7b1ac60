/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Input: records of a device's state without their checksums, {u8 type, u8 flags, u16 length} and
 * payload each, so that a change of one byte is not the end. They get right checksums, an END with
 * flag 0x80 also the right sums, and are loaded twice, cut in two ways. What is complete is given
 * to a device, which then runs.
 */
#include <errno.h>
#include <string.h>

#include "device/device.h"
#include "fuzz.h"
#include "migrate/loading.h"
#include "state_stream.h"

#define STREAM_MAX (1u << 20)
#define RIGHT_SUM  0x80u

static int64_t now(void *opaque)
{
    (void)opaque;
    return 1700000000000000000;
}

static void wake_at(void *opaque, int64_t deadline)
{
    (void)opaque;
    (void)deadline;
}

static int send_nothing(void *opaque, uint32_t tag, uint64_t iova, const void *data, uint32_t len)
{
    (void)opaque;
    (void)tag;
    (void)iova;
    (void)data;
    (void)len;
    return -ENOTCONN;
}

static uint32_t max_nothing(void *opaque)
{
    (void)opaque;
    return 0;
}

static struct device *the_device(void)
{
    static const struct device_host host = {
        .now = now,
        .wake_at = wake_at,
        .messenger = { .send = send_nothing, .max_len = max_nothing },
    };
    static struct device_description d;
    static struct device *dev;
    struct pci_error error;

    if (dev == NULL) {
        description_default(&d);
        d.pci.caps[1] = (struct pci_cap_description) {
            .kind = PCI_CAP_KIND_MSI, .vectors = 4, .address64 = true, .maskable = true
        };
        d.pci.n_caps = 2;
        FUZZ_REQUIRE(device_new(&d, &host, &dev, &error) == 0);
    }
    return dev;
}

/* Makes the stream of the input; returns its length. */
static size_t make_stream(const uint8_t *data, size_t size, uint8_t *out)
{
    struct state_sum sum = { 0 };
    size_t used = 0;

    while (size >= 4) {
        size_t len = (size_t)(data[2] | data[3] << 8);
        uint8_t *wire = out + used;

        len = len < size - 4 ? len : size - 4;
        if (used + STATE_HEADER_SIZE + len + STATE_END_SIZE > STREAM_MAX)
            break;
        if (data[0] == STATE_END && (data[1] & RIGHT_SUM) != 0) {
            state_record_end(wire, &sum);
            used += STATE_HEADER_SIZE + STATE_END_SIZE;
        } else {
            memcpy(wire + STATE_HEADER_SIZE, data + 4, len);
            state_record_seal(wire, data[0], data[1] & STATE_FLAG_OPTIONAL, (uint32_t)len, 0, &sum);
            used += STATE_HEADER_SIZE + len;
        }
        data += 4 + len;
        size -= 4 + len;
    }
    return used;
}

/* Loads the stream in pieces; returns whether it is complete. */
static struct loading *load(const uint8_t *stream, size_t len, size_t piece)
{
    struct loading *l;
    int err = 0;

    FUZZ_REQUIRE(loading_new(the_device(), &l) == 0);
    for (size_t at = 0; at < len && err == 0; at += piece)
        err = loading_write(l, stream + at, len - at < piece ? len - at : piece);
    FUZZ_REQUIRE((err != 0) == (loading_reason(l)[0] != '\0'));
    return l;
}

static void run_device(struct loading *l)
{
    struct device *dev = the_device();
    static uint8_t bytes[16384];
    char field[DEVICE_FIELD_BYTES];

    device_stop(dev);
    FUZZ_REQUIRE(loading_apply(l) == 0);
    device_start(dev);
    FUZZ_REQUIRE(device_read(dev, VFIO_PCI_BAR1_REGION_INDEX, 0, bytes, sizeof(bytes)) == 0);
    FUZZ_REQUIRE(device_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, 0, bytes,
                             (uint32_t)device_config_size(dev)) == 0);
    for (uint64_t offset = 0; offset < 0x810; offset += 4)
        device_read(dev, VFIO_PCI_BAR0_REGION_INDEX, offset, bytes, 4);
    FUZZ_REQUIRE(device_check_state(dev, device_state(dev), field) == 0);
    device_reset(dev, DEVICE_RESET_BY_CLIENT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t stream[STREAM_MAX];
    size_t len = make_stream(data, size, stream);
    struct loading *whole = load(stream, len, len + 1);
    struct loading *cut = load(stream, len, 13);

    FUZZ_REQUIRE(loading_complete(whole) == loading_complete(cut));
    FUZZ_REQUIRE(strcmp(loading_reason(whole), loading_reason(cut)) == 0);
    if (loading_complete(whole))
        run_device(whole);
    loading_free(whole);
    loading_free(cut);
    return 0;
}
