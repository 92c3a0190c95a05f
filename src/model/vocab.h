/* SPDX-License-Identifier: Apache-2.0
 * vocab.h - id to bytes, and text to id
 *
 * Two small tables: sy_vocab holds what each id stands for when it is decoded; sy_words finds an id by its spelling in the
 * vocabulary. Both are filled while a tokenizer is opened and read-only afterwards.
 */
#ifndef SY_MODEL_VOCAB_H
#define SY_MODEL_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

/* Largest id that is accepted; the largest published vocabularies end near 2^18. */
#define SY_VOCAB_ID_MAX ((1 << 22) - 1)

enum {
    SY_TOKEN_PRESENT = 1, /* the id is there: ids may have gaps */
    SY_TOKEN_SPECIAL = 2, /* left out of decoded text on request */
    SY_TOKEN_BYTE = 4,    /* <0xNN>: one byte of a character that has no token */
};

struct sy_vocab {
    struct sy_vocab_token {
        size_t begin; /* in bytes.data */
        uint32_t len;
        uint32_t flags;
    } * tokens; /* [n_ids] */
    int n_ids;
    struct sy_buf bytes;
};

/* Make room for ids 0 to n_ids - 1, all absent. */
enum sy_status sy_vocab_init(struct sy_vocab *vocab, int n_ids, struct sy_error *err);
void sy_vocab_fini(struct sy_vocab *vocab);

/* Set what id stands for; id must be in range. */
enum sy_status sy_vocab_set(struct sy_vocab *vocab, int32_t id, const void *bytes, size_t len, uint32_t flags,
                            struct sy_error *err);

static inline bool sy_vocab_has(const struct sy_vocab *vocab, int32_t id)
{
    return id >= 0 && id < vocab->n_ids && (vocab->tokens[id].flags & SY_TOKEN_PRESENT);
}

struct sy_words {
    struct sy_word {
        size_t begin; /* in bytes.data */
        uint32_t len;
        int32_t id; /* -1: an empty slot */
    } * slots;      /* open addressing, a power of two */
    size_t n_slots, n_words;
    uint64_t seed;
    struct sy_buf bytes;
};

/* Make room for n_words. */
enum sy_status sy_words_init(struct sy_words *words, size_t n_words, struct sy_error *err);
void sy_words_fini(struct sy_words *words);

/* Add a spelling that is not there yet; at most n_words. */
enum sy_status sy_words_add(struct sy_words *words, const void *text, size_t len, int32_t id, struct sy_error *err);

/* The id of a spelling, -1 when there is none. */
int32_t sy_words_find(const struct sy_words *words, const void *text, size_t len);

/* A number that no file can know, from the system's random source. */
uint64_t sy_hash_seed(void);

static inline uint64_t sy_text_load8(const uint8_t *text)
{
    uint64_t word;

    __builtin_memcpy(&word, text, sizeof word);
    return word;
}

/* The bytes of a text of at most 8 as a number, which with the length tells texts apart. The reads overlap, so that there
 * is no loop. */
static inline uint64_t sy_text_load(const uint8_t *text, size_t len)
{
    uint32_t low, high;

    if (len == 8)
        return sy_text_load8(text);
    if (len < 4)
        return len ? text[0] | (uint64_t)text[len / 2] << 8 | (uint64_t)text[len - 1] << 16 : 0;
    __builtin_memcpy(&low, text, sizeof low);
    __builtin_memcpy(&high, text + len - sizeof high, sizeof high);
    return low | (uint64_t)high << 32;
}

/* A hash of a short text. */
static inline uint64_t sy_text_hash(uint64_t seed, const uint8_t *text, size_t len)
{
    uint64_t h = seed + len * 0x9e3779b97f4a7c15u;

    for (; len > 8; text += 8, len -= 8) {
        h = (h ^ sy_text_load8(text)) * 0xd6e8feb86659fd93u;
        h ^= h >> 32;
    }
    h = (h ^ sy_text_load(text, len)) * 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

/* Are two texts of one length equal? For short ones, where a call of memcmp costs more than the comparison. */
static inline bool sy_text_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    for (; len > 8; a += 8, b += 8, len -= 8) {
        if (sy_text_load8(a) != sy_text_load8(b))
            return false;
    }
    return sy_text_load(a, len) == sy_text_load(b, len);
}

#endif
