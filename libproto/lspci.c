/* SPDX-License-Identifier: BSD-3-Clause */
#include "lspci.h"

#define PER_LINE 16

void lspci_print(FILE *out, const char *title, const uint8_t *config, size_t size)
{
    fprintf(out, "00:00.0 %s\n", title);
    for (size_t i = 0; i < size; i += PER_LINE) {
        fprintf(out, "%02zx:", i);
        for (size_t j = i; j < i + PER_LINE; j++)
            fprintf(out, " %02x", config[j]);
        fputc('\n', out);
    }
    fputc('\n', out);
}
