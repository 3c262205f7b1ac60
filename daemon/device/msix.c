/* SPDX-License-Identifier: BSD-3-Clause */
#include "msix.h"

#include <endian.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

/* What of each entry's four words can be written; PCI_MSIX_ENTRY_LOWER_ADDR, …_VECTOR_CTRL. */
static const uint32_t writable[MSIX_ENTRY_SIZE / sizeof(uint32_t)] = {
    0xfffffffcu, 0xffffffffu, 0xffffffffu, PCI_MSIX_ENTRY_CTRL_MASKBIT
};

static uint32_t get_word(const struct msix_state *s, size_t offset)
{
    uint32_t word;

    memcpy(&word, s->table + offset, sizeof(word));
    return le32toh(word);
}

static void put_word(struct msix_state *s, size_t offset, uint32_t word)
{
    word = htole32(word);
    memcpy(s->table + offset, &word, sizeof(word));
}

void msix_reset(struct msix_state *s)
{
    memset(s, 0, sizeof(*s));
    for (size_t i = 0; i < IRQ_MSI_MAX; i++)
        put_word(s, i * MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL, PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

/* Copies what of src, size bytes that stand at base, is inside of the count bytes at offset. */
static void overlay(uint64_t offset, uint8_t *data, uint32_t count, uint64_t base,
                    const uint8_t *src, size_t size)
{
    uint64_t begin = offset > base ? offset : base;
    uint64_t end = offset + count < base + size ? offset + count : base + size;

    if (begin < end)
        memcpy(data + (begin - offset), src + (begin - base), end - begin);
}

void msix_read(const struct msix_state *s, unsigned n, uint32_t pending, uint64_t offset,
               void *data, uint32_t count)
{
    const uint64_t pba = htole64(pending);

    memset(data, 0, count);
    overlay(offset, data, count, MSIX_TABLE_OFFSET, s->table, (size_t)n * MSIX_ENTRY_SIZE);
    overlay(offset, data, count, MSIX_PBA_OFFSET, (const uint8_t *)&pba, sizeof(pba));
}

int msix_write(struct msix_state *s, unsigned n, uint64_t offset, const void *data, uint32_t count)
{
    if ((count != 4 && count != 8) || offset % count != 0)
        return -EINVAL;
    if (offset + count > (uint64_t)n * MSIX_ENTRY_SIZE)
        return 0; /* the pending bits are read-only, the rest is reserved */
    for (uint32_t i = 0; i < count; i += sizeof(uint32_t)) {
        size_t in_entry = (offset + i) % MSIX_ENTRY_SIZE;
        uint32_t word;

        memcpy(&word, (const uint8_t *)data + i, sizeof(word));
        put_word(s, offset + i, le32toh(word) & writable[in_entry / sizeof(uint32_t)]);
        if (in_entry == PCI_MSIX_ENTRY_VECTOR_CTRL)
            s->written |= 1u << (offset / MSIX_ENTRY_SIZE);
    }
    return 0;
}

uint32_t msix_masked(const struct msix_state *s, unsigned n)
{
    uint32_t masked = 0;

    for (unsigned i = 0; i < n; i++)
        masked |= (get_word(s, i * MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL) &
                   PCI_MSIX_ENTRY_CTRL_MASKBIT)
                  << i;
    return masked & s->written;
}

bool msix_could_be(const struct msix_state *s, unsigned n)
{
    struct msix_state initial;

    msix_reset(&initial);
    if ((uint64_t)s->written >> n != 0)
        return false;
    for (size_t at = 0; at < sizeof(s->table); at += sizeof(uint32_t)) {
        size_t in_entry = at % MSIX_ENTRY_SIZE;
        unsigned vector = (unsigned)(at / MSIX_ENTRY_SIZE);
        uint32_t may_differ = vector < n ? writable[in_entry / sizeof(uint32_t)] : 0;

        if (in_entry == PCI_MSIX_ENTRY_VECTOR_CTRL && vector < n &&
            (s->written & (1u << vector)) == 0)
            may_differ = 0;
        if (((get_word(s, at) ^ get_word(&initial, at)) & ~may_differ) != 0)
            return false;
    }
    return true;
}
