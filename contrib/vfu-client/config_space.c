/* SPDX-License-Identifier: BSD-3-Clause */
/* The steps in configuration space: identity, capabilities, BAR sizing, power management. */
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>

#include "registers.h"
#include "steps.h"

#define MAX_CAPS      48   /* more do not fit between 0x40 and 0xff */
#define MAX_EXT_CAPS  1024 /* the same from 0x100 to 0xfff */
#define NS_PER_MS     1000000ll
#define POWER_WAIT_MS 100

static const struct {
    uint16_t id;
    const char *name;
} cap_names[] = {
    { PCI_CAP_ID_PM, "Power Management" },
    { PCI_CAP_ID_MSI, "MSI" },
    { PCI_CAP_ID_VNDR, "Vendor Specific" },
    { PCI_CAP_ID_EXP, "Express" },
    { PCI_CAP_ID_MSIX, "MSI-X" },
}, ext_cap_names[] = {
    { PCI_EXT_CAP_ID_DSN, "Device Serial Number" },
    { PCI_EXT_CAP_ID_VNDR, "Vendor Specific" },
};

static const char *cap_name(uint16_t id, bool extended)
{
    size_t n = extended ? sizeof(ext_cap_names) / sizeof(ext_cap_names[0])
                        : sizeof(cap_names) / sizeof(cap_names[0]);

    for (size_t i = 0; i < n; i++) {
        if ((extended ? ext_cap_names[i].id : cap_names[i].id) == id)
            return extended ? ext_cap_names[i].name : cap_names[i].name;
    }
    return "another capability";
}

static uint32_t config_get32(struct walk *w, uint64_t offset)
{
    return (uint32_t)walk_get(w, VFIO_PCI_CONFIG_REGION_INDEX, offset, 4);
}

static void config_put32(struct walk *w, uint64_t offset, uint32_t value)
{
    walk_put(w, VFIO_PCI_CONFIG_REGION_INDEX, offset, 4, value);
}

/*
 * Identity
 */

/* Some VMMs read byte by byte: they must see what one read of all shows. */
static void expect_bytes_alike(struct walk *w)
{
    uint8_t whole[PCI_STD_HEADER_SIZEOF];
    uint8_t single[PCI_STD_HEADER_SIZEOF];

    if (walk_failed(w))
        return;
    walk_expect_err(
        w, "a read of the whole header", 0,
        client_region_read(w->client, VFIO_PCI_CONFIG_REGION_INDEX, 0, whole, sizeof(whole)));
    for (unsigned i = 0; i < sizeof(single); i++)
        single[i] = (uint8_t)walk_get(w, VFIO_PCI_CONFIG_REGION_INDEX, i, 1);
    walk_expect_bytes(w, "the header read byte by byte", whole, single, sizeof(single));
}

void step_identity(struct walk *w)
{
    uint32_t id = config_get32(w, PCI_VENDOR_ID);
    uint32_t subsystem = config_get32(w, PCI_SUBSYSTEM_VENDOR_ID);
    uint32_t class = config_get32(w, PCI_CLASS_REVISION);

    expect_bytes_alike(w);
    config_put32(w, PCI_VENDOR_ID, ~id);
    walk_expect(w, "vendor and device, which are read-only", id, config_get32(w, PCI_VENDOR_ID));
    walk_expect(w, "header type", PCI_HEADER_TYPE_NORMAL,
                walk_get(w, VFIO_PCI_CONFIG_REGION_INDEX, PCI_HEADER_TYPE, 1));
    walk_expect(w, "interrupt pin, which is INTA", 1,
                walk_get(w, VFIO_PCI_CONFIG_REGION_INDEX, PCI_INTERRUPT_PIN, 1));
    walk_say(w, "vendor %04x, device %04x, subsystem %04x:%04x, class %06x, revision %02x",
             id & 0xffff, id >> 16, subsystem & 0xffff, subsystem >> 16, class >> 8, class & 0xff);
}

/*
 * Capabilities
 */

static unsigned walk_caps(struct walk *w)
{
    uint16_t status = walk_config_get16(w, PCI_STATUS);
    uint32_t at = (uint32_t)walk_get(w, VFIO_PCI_CONFIG_REGION_INDEX, PCI_CAPABILITY_LIST, 1);
    unsigned n = 0;

    walk_expect(w, "Capabilities List in PCI Status", at != 0, (status & PCI_STATUS_CAP_LIST) != 0);
    for (; at != 0 && !walk_failed(w); n++) {
        uint16_t header = walk_config_get16(w, at);
        uint8_t id = header & 0xff;

        if (at < PCI_STD_HEADER_SIZEOF || at % 4 != 0 || n == MAX_CAPS) {
            walk_fail(w, "the list of capabilities", "an end, and offsets from 0x40 on", "0x%x",
                      at);
            break;
        }
        walk_say(w, "at  %02x: %s", at, cap_name(id, false));
        if (id == PCI_CAP_ID_PM)
            w->pm = (uint16_t)at;
        if (id == PCI_CAP_ID_MSI)
            w->msi = (uint16_t)at;
        if (id == PCI_CAP_ID_MSIX)
            w->msix = (uint16_t)at;
        at = header >> 8;
    }
    return n;
}

static unsigned walk_ext_caps(struct walk *w)
{
    uint32_t at = PCI_CFG_SPACE_SIZE;
    unsigned n = 0;

    while (w->region_size[VFIO_PCI_CONFIG_REGION_INDEX] > PCI_CFG_SPACE_SIZE && at != 0 &&
           !walk_failed(w)) {
        uint32_t header = config_get32(w, at);

        if (header == 0)
            break;
        if (at < PCI_CFG_SPACE_SIZE || at % 4 != 0 || n == MAX_EXT_CAPS) {
            walk_fail(w, "the list of extended capabilities", "an end, and offsets from 0x100 on",
                      "0x%x", at);
            break;
        }
        walk_say(w, "at %03x: %s, version %u", at, cap_name(PCI_EXT_CAP_ID(header), true),
                 PCI_EXT_CAP_VER(header));
        at = PCI_EXT_CAP_NEXT(header);
        n++;
    }
    return n;
}

void step_capabilities(struct walk *w)
{
    unsigned n = walk_caps(w);
    unsigned n_ext = walk_ext_caps(w);

    walk_expect(w, "an MSI capability when there are MSI vectors",
                w->irq_vectors[VFIO_PCI_MSI_IRQ_INDEX] > 0, w->msi != 0);
    walk_expect(w, "an MSI-X capability when there are MSI-X vectors",
                w->irq_vectors[VFIO_PCI_MSIX_IRQ_INDEX] > 0, w->msix != 0);
    walk_say(w, "%u capabilities, %u extended ones", n, n_ext);
}

/*
 * BARs
 */

/* What sizing must show for a region: an empty one has no bits that can be written. */
static uint64_t decoded_size(uint64_t region_size)
{
    uint64_t size = 16;

    while (region_size > 0 && size < region_size)
        size *= 2;
    return region_size > 0 ? size : 0;
}

static uint64_t size_bar(struct walk *w, unsigned bar)
{
    uint64_t at = PCI_BASE_ADDRESS_0 + 4 * bar;
    uint32_t before = config_get32(w, at);
    uint32_t ones;

    config_put32(w, at, UINT32_MAX);
    ones = config_get32(w, at) & ~0xfu;
    config_put32(w, at, before);
    walk_expect(w, "a BAR that is written back", before, config_get32(w, at));
    return ones == 0 ? 0 : (uint64_t)(uint32_t)~ones + 1;
}

void step_bar_sizing(struct walk *w)
{
    for (unsigned bar = 0; bar < 6; bar++) {
        uint64_t size = size_bar(w, bar);
        char what[48];

        snprintf(what, sizeof(what), "the size that BAR%u decodes", bar);
        walk_expect(w, what, decoded_size(w->region_size[bar]), size);
        if (size > 0)
            walk_say(w, "BAR%u decodes 0x%llx bytes, its region has 0x%llx", bar,
                     (unsigned long long)size, (unsigned long long)w->region_size[bar]);
    }
}

/*
 * Power
 */

static void set_power(struct walk *w, uint16_t state)
{
    uint16_t control = walk_config_get16(w, w->pm + PCI_PM_CTRL);

    walk_config_put16(w, w->pm + PCI_PM_CTRL,
                      (uint16_t)((control & ~PCI_PM_CTRL_STATE_MASK) | state));
}

static uint16_t get_power(struct walk *w)
{
    return walk_config_get16(w, w->pm + PCI_PM_CTRL) & PCI_PM_CTRL_STATE_MASK;
}

/* In D3hot: BARs read as all ones, writes are dropped, and the timer's interrupt waits. */
static void check_asleep(struct walk *w)
{
    uint32_t data = 0;

    walk_expect(w, "the power state, D3hot", 3, get_power(w));
    walk_expect(w, "TIMER_SEC in D3hot", UINT64_MAX, walk_get64(w, REG_TIMER_SEC));
    walk_bar1_read(w, 0, &data, sizeof(data));
    walk_expect(w, "BAR1 in D3hot", UINT32_MAX, data);
    walk_put32(w, REG_DOORBELL, 0x5678);
    walk_pause(w, POWER_WAIT_MS);
    walk_expect_quiet(w, "the timer in D3hot", w->intx);
}

void step_power(struct walk *w)
{
    bool keeps;

    if (w->pm == 0) {
        walk_say(w, "left out: the device has no Power Management capability");
        return;
    }
    walk_ready_intx(w);
    keeps = (walk_config_get16(w, w->pm + PCI_PM_CTRL) & PCI_PM_CTRL_NO_SOFT_RESET) != 0;
    set_power(w, 1);
    walk_expect(w, "the power state after D1, which does not exist", 0, get_power(w));
    walk_put32(w, REG_DOORBELL, 0x1234);
    walk_put64(w, REG_TIMER_NSEC, (uint64_t)(walk_now() + POWER_WAIT_MS / 2 * NS_PER_MS));
    set_power(w, 3);
    check_asleep(w);
    set_power(w, 0);
    if (keeps)
        walk_expect_irq(w, "the waiting interrupt, back in D0", w->intx);
    else
        walk_expect_quiet(w, "back in D0, which resets", w->intx);
    walk_expect(w, "DOORBELL back in D0", keeps ? 0x1234 : 0, walk_get32(w, REG_DOORBELL));
    walk_acknowledge(w);
    walk_say(w, "D3hot: BARs read as ones, writes are dropped, the timer's interrupt waits");
    walk_say(w, "D0: %s",
             keeps ? "registers are as before, the interrupt came" : "registers are reset");
}
