/* SPDX-License-Identifier: Apache-2.0
 * vocab.c - the two tables of a vocabulary
 */
#include "model/vocab.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

uint64_t sy_hash_seed(void)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
        seed = (uint64_t)sy_clock_ns() * 0x9e3779b97f4a7c15u;
    return seed;
}

enum sy_status sy_vocab_init(struct sy_vocab *vocab, int n_ids, struct sy_error *err)
{
    *vocab = (struct sy_vocab){.n_ids = n_ids};
    vocab->tokens = calloc((size_t)n_ids + 1, sizeof *vocab->tokens);
    if (!vocab->tokens)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a vocabulary of %d tokens", n_ids);
    return SY_OK;
}

void sy_vocab_fini(struct sy_vocab *vocab)
{
    free(vocab->tokens);
    sy_buf_fini(&vocab->bytes);
    *vocab = (struct sy_vocab){0};
}

enum sy_status sy_vocab_set(struct sy_vocab *vocab, int32_t id, const void *bytes, size_t len, uint32_t flags,
                            struct sy_error *err)
{
    vocab->tokens[id].begin = vocab->bytes.len;
    vocab->tokens[id].len = (uint32_t)len;
    vocab->tokens[id].flags = flags | SY_TOKEN_PRESENT;
    if (!sy_buf_append(&vocab->bytes, bytes, len))
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a vocabulary of %d tokens", vocab->n_ids);
    return SY_OK;
}

enum sy_status sy_words_init(struct sy_words *words, size_t n_words, struct sy_error *err)
{
    size_t n = 16;

    while (n < 2 * n_words)
        n *= 2;
    *words = (struct sy_words){.n_slots = n, .seed = sy_hash_seed()};
    words->slots = malloc(n * sizeof *words->slots);
    if (!words->slots)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %zu words", n_words);
    for (size_t i = 0; i < n; i++)
        words->slots[i] = (struct sy_word){.id = -1};
    return SY_OK;
}

void sy_words_fini(struct sy_words *words)
{
    free(words->slots);
    sy_buf_fini(&words->bytes);
    *words = (struct sy_words){0};
}

/* The slot of a spelling, or the empty one where it would go. */
static struct sy_word *slot(const struct sy_words *words, const void *text, size_t len)
{
    size_t i = sy_text_hash(words->seed, text, len) & (words->n_slots - 1);

    while (words->slots[i].id >= 0 &&
           (words->slots[i].len != len || memcmp(words->bytes.data + words->slots[i].begin, text, len)))
        i = (i + 1) & (words->n_slots - 1);
    return &words->slots[i];
}

enum sy_status sy_words_add(struct sy_words *words, const void *text, size_t len, int32_t id, struct sy_error *err)
{
    struct sy_word *at = slot(words, text, len);

    if (at->id >= 0)
        return SY_OK;
    *at = (struct sy_word){.begin = words->bytes.len, .len = (uint32_t)len, .id = id};
    words->n_words++;
    if (!sy_buf_append(&words->bytes, text, len))
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %zu words", words->n_words);
    return SY_OK;
}

int32_t sy_words_find(const struct sy_words *words, const void *text, size_t len)
{
    return words->n_slots ? slot(words, text, len)->id : -1;
}
