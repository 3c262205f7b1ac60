/* SPDX-License-Identifier: BSD-3-Clause */
#include "token.h"

#include <stdatomic.h>
#include <stddef.h>

int token_new(struct token *out)
{
    return memory_new("vfio-userd-token", TOKEN_BYTES, &out->memory);
}

int token_adopt(int *fd, struct token *out)
{
    int err = memory_adopt(*fd, TOKEN_BYTES, &out->memory);

    if (err == 0)
        *fd = -1;
    return err;
}

int token_fd(const struct token *t)
{
    return t->memory.at != NULL ? t->memory.fd : -1;
}

static _Atomic uint32_t *word(const struct token *t)
{
    return (_Atomic uint32_t *)(void *)t->memory.at;
}

bool token_claim(struct token *t, enum token_owner who)
{
    uint32_t owner = TOKEN_NOBODY;

    return atomic_compare_exchange_strong(word(t), &owner, (uint32_t)who) || owner == (uint32_t)who;
}

enum token_owner token_owner(const struct token *t)
{
    return (enum token_owner)atomic_load(word(t));
}

void token_fini(struct token *t)
{
    memory_free(&t->memory);
}
