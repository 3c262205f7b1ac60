/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a fuzz target has in common with the program that runs it: libFuzzer, or driver.c. A target
 * that sees a broken promise calls abort.
 */
#ifndef VFIO_USERD_FUZZ_H
#define VFIO_USERD_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_REQUIRE(condition)                                                     \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

/* Reads every byte, for the sanitizers to see. */
static inline unsigned fuzz_read(const void *data, size_t len)
{
    const volatile uint8_t *bytes = data;
    unsigned sum = 0;

    for (size_t i = 0; i < len; i++)
        sum += bytes[i];
    return sum;
}

#endif
