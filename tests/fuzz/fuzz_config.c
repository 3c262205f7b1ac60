/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a device description. */
#include "config.h"

#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_error error = { .text = "" };
    struct device_description description;
    char *text = malloc(size + 1);

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (config_parse("input", text, &description, &error) == 0) {
        struct description_difference differences[DESCRIPTION_MAX_DIFFERENCES];
        const char *warning = config_warning(&description);

        if (warning != NULL)
            fuzz_read(warning, strlen(warning));
        FUZZ_REQUIRE(description_compare(&description, &description, differences) == 0);
        FUZZ_REQUIRE(description.pci.n_caps <= DESCRIPTION_MAX_CAPS);
        description_fini(&description);
    } else {
        FUZZ_REQUIRE(strncmp(error.text, "input: ", 7) == 0);
        FUZZ_REQUIRE(memchr(error.text, '\0', sizeof(error.text)) != NULL);
    }
    free(text);
    return 0;
}
