/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration space in the form that lspci -F reads (and lspci -xxxx writes). Decoding it is
 * lspci's business.
 */
#ifndef VFIO_USERD_LSPCI_H
#define VFIO_USERD_LSPCI_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Prints size bytes (256 or 4096) as function 00:00.0; title goes behind the address. */
void lspci_print(FILE *out, const char *title, const uint8_t *config, size_t size);

#endif
