/* SPDX-License-Identifier: Apache-2.0
 * kvcache.h - paged memory for keys and values of a rank's sequences
 *
 * A page holds SY_KV_PAGE consecutive positions of one sequence in every layer. Pages are handed out and taken back by
 * number; which page a sequence gets never shows in its results.
 */
#ifndef SY_ENGINE_KVCACHE_H
#define SY_ENGINE_KVCACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "kernels.h"

struct sy_kv_cache {
    const struct sy_kernels *kernels;
    uint8_t *base;
    size_t bytes, page_bytes; /* of a page in one layer */
    int n_layers, n_pages, n_free;
    struct sy_kv_layer shape; /* base unset */
    int32_t *free_pages;      /* stack of n_free page numbers */
};

/* Bytes of one page in all layers. */
size_t sy_kv_page_bytes(const struct sy_kernels *kernels, int n_layers, const struct sy_kv_layer *shape);

/* As many pages as bytes_max holds. Fewer than one is SY_ERR_USAGE and says how much is needed. */
enum sy_status sy_kv_cache_init(struct sy_kv_cache *cache, const struct sy_kernels *kernels, int n_layers,
                                const struct sy_kv_layer *shape, size_t bytes_max, struct sy_error *err);
void sy_kv_cache_fini(struct sy_kv_cache *cache);

/* A free page's number, -1 when there is none. */
int32_t sy_kv_cache_take(struct sy_kv_cache *cache);
void sy_kv_cache_give(struct sy_kv_cache *cache, int32_t page);

struct sy_kv_layer sy_kv_cache_layer(const struct sy_kv_cache *cache, int layer);

/* Pages for n positions. */
int sy_kv_pages(int n_positions);

#endif
