/* SPDX-License-Identifier: Apache-2.0
 * kvcache.h - paged memory for keys and values of a rank's sequences
 *
 * A page holds SY_KV_PAGE consecutive positions of one sequence, in every layer of one kind: layers that see all positions,
 * or layers with a sliding window, whose pages a sequence gives back once no later position sees them. Pages of both kinds
 * have one size and come from one stock, so nobody decides beforehand how much of the memory each kind gets; where a model
 * has fewer layers of one kind, the rest of its pages is unused. Pages are handed out and taken back by number; which page
 * a sequence gets never shows in its results.
 */
#ifndef SY_ENGINE_KVCACHE_H
#define SY_ENGINE_KVCACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "kernels.h"
#include "model/model.h"

enum sy_kv_kind { SY_KV_FULL, SY_KV_WINDOW, SY_N_KV_KINDS };

/* What a model wants of its cache. */
struct sy_kv_plan {
    struct sy_kv_layer shape; /* base and stride unset */
    int n_layers[SY_N_KV_KINDS];
    int window; /* the longest of all layers, 0 without */
};

struct sy_kv_cache {
    const struct sy_kernels *kernels;
    uint8_t *base;
    size_t bytes, page_bytes; /* of a page in one layer */
    struct sy_kv_plan plan;
    int n_pages, n_free;
    int32_t *free_pages; /* stack of n_free page numbers */
};

/* compute: SY_F32 or SY_BF16. The cache has that type too, but for BF16 and latents: all heads' keys and values are made of
 * them, and FP16, as large, keeps 3 bits more of numbers that a norm keeps in its range, where the backend has pages of it. */
struct sy_kv_plan sy_kv_plan(const struct sy_model *model, const struct sy_kernels *kernels, enum sy_dtype compute);

/* Bytes of one page in all layers of a kind. */
size_t sy_kv_page_bytes(const struct sy_kernels *kernels, const struct sy_kv_plan *plan);

/* Bytes that one position takes in all layers of a kind, with what pages are padded with. */
size_t sy_kv_token_bytes(const struct sy_kernels *kernels, const struct sy_kv_plan *plan, enum sy_kv_kind kind);

/* Pages for n positions. */
int sy_kv_pages(int n_positions);

/* Pages of a kind that a sequence of n positions holds at most, when a step computes at most `chunk` of them; and of all
 * kinds together. */
int sy_kv_held(const struct sy_kv_plan *plan, enum sy_kv_kind kind, int n_positions, int chunk);
int sy_kv_held_all(const struct sy_kv_plan *plan, int n_positions, int chunk);

/* The first page of a kind that positions from `position` on still see. */
int sy_kv_first_page(const struct sy_kv_plan *plan, enum sy_kv_kind kind, int position);

/* Positions that a sequence can reach with so many pages: INT_MAX where it gives pages back. */
int sy_kv_reach(const struct sy_kv_plan *plan, int n_pages);

/* As many pages as bytes_max holds. Fewer than one is SY_ERR_USAGE and says how much is needed. */
enum sy_status sy_kv_cache_init(struct sy_kv_cache *cache, const struct sy_kernels *kernels,
                                const struct sy_kv_plan *plan, size_t bytes_max, struct sy_error *err);
void sy_kv_cache_fini(struct sy_kv_cache *cache);

/* A free page's number, -1 when there is none. */
int32_t sy_kv_cache_take(struct sy_kv_cache *cache);
void sy_kv_cache_give(struct sy_kv_cache *cache, int32_t page);

/* A layer's part of every page; index: its number among the layers of its kind (kv_index in model.h). */
struct sy_kv_layer sy_kv_cache_layer(const struct sy_kv_cache *cache, int index);

static inline enum sy_kv_kind sy_kv_kind(const struct sy_layer_sources *layer)
{
    return layer->window ? SY_KV_WINDOW : SY_KV_FULL;
}

#endif
