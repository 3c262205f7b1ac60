/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines that more than one command prints. */
#ifndef VFIO_USERD_CTL_ROWS_H
#define VFIO_USERD_CTL_ROWS_H

#include <json-c/json.h>

/* Guest memory and what was moved to and from it: the interface's type Dma. */
void rows_print_dma(struct json_object *dma);

#endif
