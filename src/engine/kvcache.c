/* SPDX-License-Identifier: Apache-2.0
 * kvcache.c - pages of keys and values
 */
#include "engine/kvcache.h"

#include <limits.h>
#include <stdlib.h>

size_t sy_kv_page_bytes(const struct sy_kernels *kernels, int n_layers, const struct sy_kv_layer *shape)
{
    return (size_t)n_layers * kernels->kv_page_bytes(shape);
}

enum sy_status sy_kv_cache_init(struct sy_kv_cache *cache, const struct sy_kernels *kernels, int n_layers,
                                const struct sy_kv_layer *shape, size_t bytes_max, struct sy_error *err)
{
    size_t page = sy_kv_page_bytes(kernels, n_layers, shape), n_pages = bytes_max / page;

    *cache = (struct sy_kv_cache){.kernels = kernels, .n_layers = n_layers, .page_bytes = page / (size_t)n_layers};
    if (!n_pages)
        return sy_error_set(
            err, SY_ERR_USAGE,
            "the KV cache of %zu bytes holds no page: one page of %d tokens needs %zu bytes; give more with "
            "--kv-bytes",
            bytes_max, SY_KV_PAGE, page);
    cache->n_pages = cache->n_free = n_pages > INT_MAX / SY_KV_PAGE ? INT_MAX / SY_KV_PAGE : (int)n_pages;
    cache->bytes = (size_t)cache->n_pages * page;
    cache->shape = *shape;
    cache->shape.page_stride = cache->page_bytes;
    cache->base = kernels->alloc(cache->bytes);
    cache->free_pages = malloc((size_t)cache->n_pages * sizeof *cache->free_pages);
    if (!cache->base || !cache->free_pages) {
        size_t bytes = cache->bytes;
        sy_kv_cache_fini(cache);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a KV cache of %zu bytes; give less with --kv-bytes",
                            bytes);
    }
    /* The lowest page comes first, so that a short run touches little memory. */
    for (int i = 0; i < cache->n_pages; i++)
        cache->free_pages[i] = cache->n_pages - 1 - i;
    return SY_OK;
}

void sy_kv_cache_fini(struct sy_kv_cache *cache)
{
    if (cache->base)
        cache->kernels->free(cache->base, cache->bytes);
    free(cache->free_pages);
    *cache = (struct sy_kv_cache){0};
}

int32_t sy_kv_cache_take(struct sy_kv_cache *cache)
{
    return cache->n_free ? cache->free_pages[--cache->n_free] : -1;
}

void sy_kv_cache_give(struct sy_kv_cache *cache, int32_t page)
{
    cache->free_pages[cache->n_free++] = page;
}

struct sy_kv_layer sy_kv_cache_layer(const struct sy_kv_cache *cache, int layer)
{
    struct sy_kv_layer kv = cache->shape;

    kv.base = cache->base + (size_t)layer * (size_t)cache->n_pages * cache->page_bytes;
    return kv;
}

int sy_kv_pages(int n_positions)
{
    return (n_positions + SY_KV_PAGE - 1) / SY_KV_PAGE;
}
