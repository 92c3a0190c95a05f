/* SPDX-License-Identifier: Apache-2.0
 * kvcache.c - pages of keys and values
 */
#include "engine/kvcache.h"

#include <limits.h>
#include <stdlib.h>

#include "arena.h"

struct sy_kv_plan sy_kv_plan(const struct sy_model *model, const struct sy_kernels *kernels, enum sy_dtype compute)
{
    bool latents = model->mla.kv_lora_rank > 0;
    enum sy_dtype dtype = latents && compute == SY_BF16 && kernels->pages_f16 ? SY_F16 : compute;
    struct sy_kv_plan plan = {.shape = sy_model_kv_shape(model, dtype)};

    for (int l = 0; l < model->n_layers; l++) {
        plan.n_layers[sy_kv_kind(&model->layers[l])]++;
        if (plan.window < model->layers[l].window)
            plan.window = model->layers[l].window;
    }
    return plan;
}

/* Layers that a page has room for. */
static int layers_most(const struct sy_kv_plan *plan)
{
    int full = plan->n_layers[SY_KV_FULL], windowed = plan->n_layers[SY_KV_WINDOW];

    return full > windowed ? full : windowed;
}

size_t sy_kv_page_bytes(const struct sy_kernels *kernels, const struct sy_kv_plan *plan)
{
    return (size_t)layers_most(plan) * kernels->kv_page_bytes(&plan->shape);
}

size_t sy_kv_token_bytes(const struct sy_kernels *kernels, const struct sy_kv_plan *plan, enum sy_kv_kind kind)
{
    return (size_t)plan->n_layers[kind] * kernels->kv_page_bytes(&plan->shape) / SY_KV_PAGE;
}

int sy_kv_pages(int n_positions)
{
    return (n_positions + SY_KV_PAGE - 1) / SY_KV_PAGE;
}

/* A step's first position sees window - 1 before it, and they may begin at any slot of a page. */
int sy_kv_held(const struct sy_kv_plan *plan, enum sy_kv_kind kind, int n_positions, int chunk)
{
    int all = sy_kv_pages(n_positions);
    int64_t most = ((int64_t)plan->window - 1 + chunk + SY_KV_PAGE - 2) / SY_KV_PAGE + 1;

    if (!plan->n_layers[kind])
        return 0;
    return kind == SY_KV_WINDOW && most < all ? (int)most : all;
}

int sy_kv_held_all(const struct sy_kv_plan *plan, int n_positions, int chunk)
{
    return sy_kv_held(plan, SY_KV_FULL, n_positions, chunk) + sy_kv_held(plan, SY_KV_WINDOW, n_positions, chunk);
}

int sy_kv_first_page(const struct sy_kv_plan *plan, enum sy_kv_kind kind, int position)
{
    return kind == SY_KV_WINDOW && position >= plan->window ? (position - plan->window + 1) / SY_KV_PAGE : 0;
}

int sy_kv_reach(const struct sy_kv_plan *plan, int n_pages)
{
    return plan->n_layers[SY_KV_FULL] && n_pages <= INT_MAX / SY_KV_PAGE ? n_pages * SY_KV_PAGE : INT_MAX;
}

enum sy_status sy_kv_cache_init(struct sy_kv_cache *cache, const struct sy_kernels *kernels,
                                const struct sy_kv_plan *plan, size_t bytes_max, struct sy_error *err)
{
    size_t page = sy_kv_page_bytes(kernels, plan), n_pages = bytes_max / page;

    *cache = (struct sy_kv_cache){
        .kernels = kernels, .plan = *plan, .page_bytes = kernels->kv_page_bytes(&plan->shape)};
    if (!n_pages)
        return sy_error_set(
            err, SY_ERR_USAGE,
            "the KV cache of %zu bytes holds no page: one page of %d tokens needs %zu bytes; give more with "
            "--kv-bytes",
            bytes_max, SY_KV_PAGE, page);
    cache->n_pages = cache->n_free = n_pages > INT_MAX / SY_KV_PAGE ? INT_MAX / SY_KV_PAGE : (int)n_pages;
    cache->bytes = (size_t)cache->n_pages * page;
    cache->plan.shape.page_stride = cache->page_bytes;
    cache->base = kernels->alloc(cache->bytes);
    cache->free_pages = malloc((size_t)cache->n_pages * sizeof *cache->free_pages);
    if (!cache->base || !cache->free_pages) {
        size_t bytes = cache->bytes;
        sy_kv_cache_fini(cache);
        return sy_no_memory(kernels, bytes, "KV cache (give it less with --kv-bytes)", err);
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

struct sy_kv_layer sy_kv_cache_layer(const struct sy_kv_cache *cache, int index)
{
    struct sy_kv_layer kv = cache->plan.shape;

    kv.base = cache->base + (size_t)index * (size_t)cache->n_pages * cache->page_bytes;
    return kv;
}
