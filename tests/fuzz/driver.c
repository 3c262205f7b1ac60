/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a fuzz target without libFuzzer: DIRECTORY [COUNT]. Every file of the directory first, in
 * the order of their names, then COUNT inputs made of them, the same ones in every run.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define INPUT_MAX     65536u
#define FILES_MAX     256
#define DEFAULT_COUNT 3000
#define SEED          1u

struct input {
    uint8_t data[INPUT_MAX];
    size_t size;
};

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static int read_input(const char *dir, const char *name, struct input *input)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "rb");
    if (file == NULL)
        return -errno;
    input->size = fread(input->data, 1, sizeof(input->data), file);
    fclose(file);
    return 0;
}

/* An allocation of the exact size, so that a read past it is seen. */
static void run(const struct input *input)
{
    uint8_t *copy = malloc(input->size > 0 ? input->size : 1);

    if (copy == NULL)
        abort();
    memcpy(copy, input->data, input->size);
    LLVMFuzzerTestOneInput(copy, input->size);
    free(copy);
}

static void insert(struct input *input, size_t at, const uint8_t *bytes, size_t len)
{
    if (len > INPUT_MAX - input->size)
        return;
    memmove(input->data + at + len, input->data + at, input->size - at);
    memcpy(input->data + at, bytes, len);
    input->size += len;
}

static void cut_out(struct input *input, size_t at, size_t len)
{
    if (len > input->size - at)
        len = input->size - at;
    memmove(input->data + at, input->data + at + len, input->size - at - len);
    input->size -= len;
}

/* Overwrites four bytes with a number that tends to be an edge. */
static void put_edge(struct input *input, size_t at, uint32_t r)
{
    static const uint32_t edges[] = { 0,          1,          15,         16,        17,
                                      0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff0 };
    uint32_t edge = edges[r % (sizeof(edges) / sizeof(edges[0]))];
    size_t len = input->size - at < sizeof(edge) ? input->size - at : sizeof(edge);

    memcpy(input->data + at, &edge, len);
}

static void mutate(struct input *input, uint32_t *random)
{
    uint32_t r = next_random(random);
    size_t at = input->size > 0 ? next_random(random) % input->size : 0;
    uint8_t bytes[8];

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)next_random(random);
    if (input->size == 0) {
        insert(input, 0, bytes, 1 + r % sizeof(bytes));
        return;
    }
    switch (r % 8) {
    case 0:
        input->data[at] ^= (uint8_t)(1u << (r >> 8) % 8);
        break;
    case 1:
        input->data[at] = bytes[0];
        break;
    case 2:
        input->data[at] += (uint8_t)(r >> 8 & 1 ? 1 : -1);
        break;
    case 3:
        insert(input, at, bytes, 1 + (r >> 8) % sizeof(bytes));
        break;
    case 4:
        cut_out(input, at, 1 + (r >> 8) % 16);
        break;
    case 5:
        cut_out(input, at, input->size);
        break;
    case 6: /* say something again */
        memcpy(bytes, input->data + at, input->size - at < 8 ? input->size - at : 8);
        insert(input, at, bytes, 8);
        break;
    default:
        put_edge(input, at, r >> 8);
    }
}

static int is_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    static struct input files[FILES_MAX], input;
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : DEFAULT_COUNT;
    struct dirent **names = NULL;
    uint32_t random = SEED;
    int n = argc > 1 ? scandir(argv[1], &names, is_file, alphasort) : 0;

    if (n <= 0 || n > FILES_MAX) {
        fprintf(stderr, "usage: %s DIRECTORY [COUNT], with 1 to %d files in it\n", argv[0],
                FILES_MAX);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < n; i++) {
        int err = read_input(argv[1], names[i]->d_name, &files[i]);

        if (err != 0) {
            fprintf(stderr, "%s/%s: %s\n", argv[1], names[i]->d_name, strerror(-err));
            return EXIT_FAILURE;
        }
        free(names[i]);
        run(&files[i]);
    }
    free(names);
    for (long i = 0; i < count; i++) {
        const struct input *from = &files[i % n];

        memcpy(input.data, from->data, from->size);
        input.size = from->size;
        for (uint32_t times = 1 + next_random(&random) % 4; times > 0; times--)
            mutate(&input, &random);
        run(&input);
    }
    printf("%s: %d files, %ld mutations, seed %u\n", argv[0], n, count, SEED);
    return EXIT_SUCCESS;
}
