/* SPDX-License-Identifier: Apache-2.0
 * bpe.h - byte-pair encoding of a piece of text
 *
 * A piece becomes a row of first symbols (one per byte, or per character), then the pair of neighbours with the lowest
 * rank is joined, the leftmost first, until no pair is in the table. Short pieces are searched, long ones use a heap: the
 * time is at most n log n. Read-only once made; what changes is in the caller's scratch.
 */
#ifndef SY_MODEL_BPE_H
#define SY_MODEL_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "model/vocab.h"

struct sy_bpe {
    struct sy_merge {
        uint64_t pair; /* left id, right id; all ones: an empty slot */
        int32_t rank, id;
    } * merges;         /* open addressing */
    int merge_shift;    /* 64 - log2(slots) */
    uint64_t merge_odd; /* multiplier of the hash, a new one in each run so that no file can choose collisions */
    int32_t *id_of_rank;
    bool by_char;          /* first symbols are characters, found in words; else bytes, found in byte_id */
    bool ignore_merges;    /* a piece that is a word as a whole is that word */
    bool fuse_unk;         /* neighbouring unknown symbols become one */
    bool byte_fallback;    /* by_char: an unknown character is written as bytes, if byte_id has them all */
    bool can_cut;          /* by_char: a piece may be cut where no merge joins, see joins */
    int32_t unk_id;        /* -1: unknown symbols are left out */
    int32_t byte_id[256];  /* -1: none */
    struct sy_words words; /* spellings: of single characters, and of all tokens for ignore_merges */
    uint64_t joins[256]
                  [4]; /* bit b of row a: some merge joins a symbol that ends in byte a to one that begins with b */
};

/* Make room for n_merges with ranks from 0 to n_ranks - 1; the other fields are the caller's and keep their values. */
enum sy_status sy_bpe_init(struct sy_bpe *bpe, size_t n_merges, size_t n_ranks, struct sy_error *err);
void sy_bpe_fini(struct sy_bpe *bpe);

/* Add a merge. Merges of one rank must have the same result. A pair that is there already gets the new rank and result. */
void sy_bpe_add_merge(struct sy_bpe *bpe, int32_t left, int32_t right, int32_t rank, int32_t joined);

struct sy_bpe_scratch;

/* Scratch of one thread, with a cache of the ids of pieces seen before (4 MiB). NULL when there is no memory. */
struct sy_bpe_scratch *sy_bpe_scratch_create(void);
void sy_bpe_scratch_destroy(struct sy_bpe_scratch *scratch);

/* Give back memory that one very long piece needed. */
void sy_bpe_scratch_trim(struct sy_bpe_scratch *scratch);

/* Append the ids (int32_t each) of a piece (valid UTF-8 when by_char) to out. Errors: SY_ERR_SYSTEM; SY_ERR_DATA for a
 * piece of more than INT32_MAX symbols. */
enum sy_status sy_bpe_encode(const struct sy_bpe *bpe, struct sy_bpe_scratch *scratch, const uint8_t *text, size_t len,
                             struct sy_buf *out, struct sy_error *err);

#endif
