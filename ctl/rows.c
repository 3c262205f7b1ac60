/* SPDX-License-Identifier: BSD-3-Clause */
#include "rows.h"

#include <stdio.h>

#include "ctl.h"
#include "format.h"

void rows_print_dma(struct json_object *dma)
{
    long long shared = ctl_int(dma, "shared");
    char buf[2][FORMAT_BYTES];

    format_label("DMA");
    fputs(format_count(ctl_int(dma, "maps"), "map", buf[0]), stdout);
    if (shared != 0)
        printf(", %lld of them shared through %s", shared,
               format_count(ctl_int(dma, "files"), "file", buf[0]));
    putchar('\n');
    format_label("");
    printf("%s moved directly, %s by message\n", format_size(ctl_int(dma, "bytes_direct"), buf[0]),
           format_size(ctl_int(dma, "bytes_message"), buf[1]));
}
