/* SPDX-License-Identifier: Apache-2.0
 * bpe.c - merging
 */
#include "model/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define NO_RANK INT32_MAX
#define NO_PAIR UINT64_MAX

/* Up to this many symbols, searching the row for the lowest rank beats a heap. */
#define SEARCH_MAX 48

/* The cache maps a hash of a piece to one entry of a cache line, the last piece with that hash. */
#define CACHE_LINE     64
#define CACHE_BITS     16
#define CACHE_TEXT_MAX 30
#define CACHE_IDS_MAX  8

#define TRIM_BYTES ((size_t)8 << 20)

struct cached {
    uint8_t len, n_ids; /* len 0: empty */
    uint8_t text[CACHE_TEXT_MAX];
    int32_t ids[CACHE_IDS_MAX];
};
_Static_assert(sizeof(struct cached) == CACHE_LINE, "an entry is read with one miss");

struct sy_bpe_scratch {
    struct cached *cache; /* in cache_memory, at the begin of a cache line */
    void *cache_memory;
    int32_t *ids, *rank, *prev, *next; /* [cap] the row of symbols; rank[i] is that of the pair i, next[i] */
    uint64_t *heap;                    /* [2 cap] rank << 32 | place */
    size_t cap, n_heap;
};

/* ---- the table of merges ---- */

enum sy_status sy_bpe_init(struct sy_bpe *bpe, size_t n_merges, size_t n_ranks, struct sy_error *err)
{
    int bits = 4;

    while (((size_t)1 << bits) < 2 * n_merges)
        bits++;
    bpe->merge_shift = 64 - bits;
    bpe->merge_odd = sy_hash_seed() | 1;
    bpe->merges = malloc(sizeof *bpe->merges << bits);
    bpe->id_of_rank = malloc(sizeof *bpe->id_of_rank * (n_ranks + 1));
    if (!bpe->merges || !bpe->id_of_rank)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %zu merges", n_merges);
    for (size_t i = 0; i < (size_t)1 << bits; i++)
        bpe->merges[i] = (struct sy_merge){.pair = NO_PAIR, .rank = NO_RANK};
    return SY_OK;
}

void sy_bpe_fini(struct sy_bpe *bpe)
{
    free(bpe->merges);
    free(bpe->id_of_rank);
    sy_words_fini(&bpe->words);
}

static inline struct sy_merge *find_merge(const struct sy_bpe *bpe, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t mask = SIZE_MAX >> bpe->merge_shift, i = (pair * bpe->merge_odd) >> bpe->merge_shift;

    while (bpe->merges[i].pair != pair && bpe->merges[i].pair != NO_PAIR)
        i = (i + 1) & mask;
    return &bpe->merges[i];
}

/* NO_RANK for a pair that is not joined. */
static inline int32_t rank_of(const struct sy_bpe *bpe, int32_t left, int32_t right)
{
    return find_merge(bpe, left, right)->rank;
}

void sy_bpe_add_merge(struct sy_bpe *bpe, int32_t left, int32_t right, int32_t rank, int32_t joined)
{
    struct sy_merge *merge = find_merge(bpe, left, right);

    *merge = (struct sy_merge){.pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right, .rank = rank, .id = joined};
    bpe->id_of_rank[rank] = joined;
}

/* ---- scratch ---- */

struct sy_bpe_scratch *sy_bpe_scratch_create(void)
{
    struct sy_bpe_scratch *scratch = calloc(1, sizeof *scratch);

    if (!scratch)
        return NULL;
    /* Zeroed memory that calloc() has fresh from the system costs only where it is used. */
    scratch->cache_memory = calloc(((size_t)1 << CACHE_BITS) + 1, sizeof *scratch->cache);
    if (!scratch->cache_memory) {
        free(scratch);
        return NULL;
    }
    size_t past = (uintptr_t)scratch->cache_memory % CACHE_LINE;
    scratch->cache = (struct cached *)(void *)((uint8_t *)scratch->cache_memory + (CACHE_LINE - past) % CACHE_LINE);
    return scratch;
}

static void free_row(struct sy_bpe_scratch *scratch)
{
    free(scratch->ids);
    free(scratch->rank);
    free(scratch->prev);
    free(scratch->next);
    free(scratch->heap);
    scratch->ids = scratch->rank = scratch->prev = scratch->next = NULL;
    scratch->heap = NULL;
    scratch->cap = 0;
}

void sy_bpe_scratch_destroy(struct sy_bpe_scratch *scratch)
{
    if (!scratch)
        return;
    free_row(scratch);
    free(scratch->cache_memory);
    free(scratch);
}

void sy_bpe_scratch_trim(struct sy_bpe_scratch *scratch)
{
    if (scratch->cap > TRIM_BYTES / (4 * sizeof(int32_t) + 2 * sizeof(uint64_t)))
        free_row(scratch);
}

static enum sy_status reserve_row(struct sy_bpe_scratch *scratch, size_t n, struct sy_error *err)
{
    if (n <= scratch->cap)
        return SY_OK;
    if (n > INT32_MAX)
        return sy_error_set(err, SY_ERR_DATA, "%zu bytes of text without a place to cut them, at most %d", n,
                            INT32_MAX);
    free_row(scratch);
    n = n < 1024 ? 1024 : n;
    scratch->ids = malloc(n * sizeof *scratch->ids);
    scratch->rank = malloc(n * sizeof *scratch->rank);
    scratch->prev = malloc(n * sizeof *scratch->prev);
    scratch->next = malloc(n * sizeof *scratch->next);
    scratch->heap = malloc(2 * n * sizeof *scratch->heap);
    if (!scratch->ids || !scratch->rank || !scratch->prev || !scratch->next || !scratch->heap) {
        free_row(scratch);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %zu bytes of text without a place to cut them", n);
    }
    scratch->cap = n;
    return SY_OK;
}

/* ---- merging ---- */

/* Join until nothing joins, by searching. Returns the number of symbols left in ids. */
static size_t merge_short(const struct sy_bpe *bpe, int32_t *ids, int32_t *rank, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++)
        rank[i] = rank_of(bpe, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            best = rank[i] < rank[best] ? i : best;
        if (rank[best] == NO_RANK)
            break;
        ids[best] = bpe->id_of_rank[rank[best]];
        memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof *ids);
        if (best + 2 < n)
            memmove(rank + best, rank + best + 1, (n - best - 2) * sizeof *rank);
        n--;
        if (best + 1 < n)
            rank[best] = rank_of(bpe, ids[best], ids[best + 1]);
        if (best)
            rank[best - 1] = rank_of(bpe, ids[best - 1], ids[best]);
    }
    return n;
}

static void heap_down(uint64_t *heap, size_t n, size_t i)
{
    uint64_t moved = heap[i];

    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= moved)
            break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

static void heap_push(struct sy_bpe_scratch *scratch, int32_t rank, int32_t place)
{
    size_t i = scratch->n_heap++;
    uint64_t moved = (uint64_t)(uint32_t)rank << 32 | (uint32_t)place;

    for (size_t parent; i && scratch->heap[parent = (i - 1) / 2] > moved; i = parent)
        scratch->heap[i] = scratch->heap[parent];
    scratch->heap[i] = moved;
}

/* The pair that begins at place has changed. A heap entry whose rank is not rank[place] any more is stale; the same pair
 * never comes back to a place, since symbols only grow. */
static void rank_pair(const struct sy_bpe *bpe, struct sy_bpe_scratch *s, int32_t place)
{
    int32_t next = s->next[place];

    s->rank[place] = next < 0 ? NO_RANK : rank_of(bpe, s->ids[place], s->ids[next]);
    if (s->rank[place] != NO_RANK)
        heap_push(s, s->rank[place], place);
}

/* The same by a heap. An entry goes for each join and at most two come, so 2 n places are enough. */
static size_t merge_long(const struct sy_bpe *bpe, struct sy_bpe_scratch *s, size_t n)
{
    size_t left = 0;

    s->n_heap = 0;
    for (size_t i = 0; i < n; i++) {
        s->prev[i] = (int32_t)i - 1;
        s->next[i] = i + 1 < n ? (int32_t)i + 1 : -1;
        s->rank[i] = i + 1 < n ? rank_of(bpe, s->ids[i], s->ids[i + 1]) : NO_RANK;
        if (s->rank[i] != NO_RANK)
            s->heap[s->n_heap++] = (uint64_t)(uint32_t)s->rank[i] << 32 | i;
    }
    for (size_t i = s->n_heap / 2; i-- > 0;)
        heap_down(s->heap, s->n_heap, i);
    while (s->n_heap) {
        uint64_t top = s->heap[0];
        int32_t place = (int32_t)(uint32_t)top, rank = (int32_t)(top >> 32);
        s->heap[0] = s->heap[--s->n_heap];
        if (s->n_heap)
            heap_down(s->heap, s->n_heap, 0);
        if (s->rank[place] != rank)
            continue;
        int32_t gone = s->next[place];
        s->ids[place] = bpe->id_of_rank[rank];
        s->rank[gone] = NO_RANK;
        s->next[place] = s->next[gone];
        if (s->next[place] >= 0)
            s->prev[s->next[place]] = place;
        rank_pair(bpe, s, place);
        if (s->prev[place] >= 0)
            rank_pair(bpe, s, s->prev[place]);
    }
    for (int32_t i = 0; i >= 0; i = s->next[i])
        s->ids[left++] = s->ids[i];
    return left;
}

/* ---- first symbols ---- */

/* Symbols of one character that words does not have: its bytes, if there is a token for each; else 0. */
static size_t fall_back(const struct sy_bpe *bpe, const uint8_t *text, size_t len, int32_t *ids)
{
    for (size_t i = 0; i < len; i++) {
        ids[i] = bpe->byte_id[text[i]];
        if (ids[i] < 0)
            return 0;
    }
    return len;
}

/* Fill ids (room for len) with the first symbols of a piece. An unknown symbol is held back until the next known one,
 * because neighbours may fuse; what falls back to bytes does not end the wait (as in the reference). */
static size_t first_symbols(const struct sy_bpe *bpe, const uint8_t *text, size_t len, int32_t *ids)
{
    bool waiting = false;
    size_t n = 0;

    for (size_t i = 0, k; i < len; i += k) {
        uint32_t c;
        k = bpe->by_char ? (size_t)sy_utf8_get(text + i, &c) : 1;
        int32_t id = bpe->by_char ? sy_words_find(&bpe->words, text + i, k) : bpe->byte_id[text[i]];
        if (id >= 0) {
            if (waiting)
                ids[n++] = bpe->unk_id;
            waiting = false;
            ids[n++] = id;
            continue;
        }
        size_t bytes = bpe->by_char && bpe->byte_fallback ? fall_back(bpe, text + i, k, ids + n) : 0;
        n += bytes;
        if (bytes || bpe->unk_id < 0)
            continue;
        if (waiting && !bpe->fuse_unk)
            ids[n++] = bpe->unk_id;
        waiting = true;
    }
    if (waiting)
        ids[n++] = bpe->unk_id;
    return n;
}

/* ---- pieces ---- */

static enum sy_status emit(struct sy_buf *out, const int32_t *ids, size_t n, struct sy_error *err)
{
    if (!sy_buf_append(out, ids, n * sizeof *ids))
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the ids of a text");
    return SY_OK;
}

/* Work out the ids of a piece, and remember them in cached unless it is NULL. */
static enum sy_status merge_piece(const struct sy_bpe *bpe, struct sy_bpe_scratch *scratch, const uint8_t *text,
                                  size_t len, struct cached *cached, struct sy_buf *out, struct sy_error *err)
{
    int32_t short_ids[SEARCH_MAX], short_rank[SEARCH_MAX], *ids = short_ids;
    size_t n;
    int32_t whole = bpe->ignore_merges ? sy_words_find(&bpe->words, text, len) : -1;

    if (whole >= 0) {
        ids[0] = whole;
        n = 1;
    } else if (len <= SEARCH_MAX) {
        n = first_symbols(bpe, text, len, ids);
        n = merge_short(bpe, ids, short_rank, n);
    } else {
        enum sy_status st = reserve_row(scratch, len, err);
        if (st)
            return st;
        ids = scratch->ids;
        n = first_symbols(bpe, text, len, ids);
        if (n > 1)
            n = merge_long(bpe, scratch, n);
    }
    if (cached && n <= CACHE_IDS_MAX) {
        cached->len = (uint8_t)len;
        cached->n_ids = (uint8_t)n;
        memcpy(cached->text, text, len);
        memcpy(cached->ids, ids, n * sizeof *ids);
    }
    return emit(out, ids, n, err);
}

static inline enum sy_status encode_piece(const struct sy_bpe *bpe, struct sy_bpe_scratch *scratch, const uint8_t *text,
                                          size_t len, struct sy_buf *out, struct sy_error *err)
{
    if (len > CACHE_TEXT_MAX)
        return merge_piece(bpe, scratch, text, len, NULL, out, err);
    struct cached *cached = &scratch->cache[sy_text_hash(0, text, len) >> (64 - CACHE_BITS)];
    if (cached->len != len || !sy_text_equal(cached->text, text, len))
        return merge_piece(bpe, scratch, text, len, cached, out, err);
    /* All places of the entry, used or not: a copy of fixed length is a move or two. */
    if (out->cap - out->len <= sizeof cached->ids && !sy_buf_reserve(out, sizeof cached->ids))
        return emit(out, cached->ids, cached->n_ids, err);
    memcpy(out->data + out->len, cached->ids, sizeof cached->ids);
    out->len += cached->n_ids * sizeof *cached->ids;
    return SY_OK;
}

enum sy_status sy_bpe_encode(const struct sy_bpe *bpe, struct sy_bpe_scratch *scratch, const uint8_t *text, size_t len,
                             struct sy_buf *out, struct sy_error *err)
{
    enum sy_status st = SY_OK;
    size_t begin = 0;

    if (!len)
        return SY_OK;
    /* Without a pre-tokenizer the piece is a whole text. Where no merge has a symbol ending in this byte on its left and
     * one beginning with the next on its right, nothing can ever be joined, so the two sides are pieces of their own. */
    for (size_t i = 1; bpe->can_cut && i < len && !st; i++) {
        if ((text[i] & 0xc0) == 0x80 || bpe->joins[text[i - 1]][text[i] / 64] >> (text[i] % 64) & 1)
            continue;
        st = encode_piece(bpe, scratch, text + begin, i - begin, out, err);
        begin = i;
    }
    return st ? st : encode_piece(bpe, scratch, text + begin, len - begin, out, err);
}
