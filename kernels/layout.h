/* SPDX-License-Identifier: Apache-2.0
 * layout.h - where an element of a packed matrix or of a page of the CPU's KV cache lies
 *
 * BF16 panels hold inputs in pairs, because the dot products of AVX-512 and the tiles of AMX take two inputs of one output
 * at a time; one whole line of a cache then holds two inputs of SY_PANEL outputs. SY_MXFP4 has two inputs in a byte as
 * published. The other types hold one input after the other.
 *
 * A page of the KV cache is made of such panels, so that attention is made of the same products as the matrices: for each
 * KV head, K as a matrix of SY_KV_PAGE outputs (keys) and k_dim inputs, then, unless values are in the keys, V as one of
 * v_dim outputs and SY_KV_PAGE inputs (keys).
 */
#ifndef SY_KERNELS_LAYOUT_H
#define SY_KERNELS_LAYOUT_H

#include "kernels.h"

/* Where element i of a row of activations is, counted in numbers: of SY_BF16X2 its hi part, whose lo part is `stride`
 * numbers on. */
static inline size_t sy_row_index(enum sy_dtype dtype, size_t stride, size_t row, size_t i)
{
    return (dtype == SY_BF16X2 ? 2 : 1) * row * stride + i;
}

/* Inputs that lie together. */
static inline int sy_panel_group(enum sy_dtype dtype)
{
    return dtype == SY_BF16 || dtype == SY_MXFP4 ? 2 : 1;
}

/* Elements of a panel of k inputs, missing ones of the last group included. */
static inline size_t sy_panel_elements(enum sy_dtype dtype, int k)
{
    int group = sy_panel_group(dtype);

    return (size_t)((k + group - 1) / group * group) * SY_PANEL;
}

/* Index of output n, input k in a matrix of k_all inputs. */
static inline size_t sy_panel_index(enum sy_dtype dtype, int k_all, int n, int k)
{
    size_t group = (size_t)sy_panel_group(dtype), row = (size_t)n % SY_PANEL;

    return (size_t)(n / SY_PANEL) * sy_panel_elements(dtype, k_all) + ((size_t)k / group * SY_PANEL + row) * group +
           (size_t)k % group;
}

/* Scales that an output of k inputs has, and where that of output n, input k is. */
static inline int sy_scale_blocks(int k_all, int scale_block)
{
    return (k_all - 1) / scale_block + 1;
}

static inline size_t sy_scale_index(const struct sy_weight *w, int n, int k)
{
    size_t n_blocks = (size_t)sy_scale_blocks(w->k, w->scale_block), block = (size_t)(k / w->scale_block);

    if (w->layout == SY_LAYOUT_ROWS)
        return (size_t)n * n_blocks + block;
    return ((size_t)(n / SY_PANEL) * n_blocks + block) * SY_PANEL + (size_t)n % SY_PANEL;
}

/* Elements of a KV head's K, and of all that a page has of the head. */
static inline size_t sy_kv_k_elements(const struct sy_kv_layer *kv)
{
    return sy_panel_elements(kv->dtype, kv->k_dim);
}

static inline size_t sy_kv_head_elements(const struct sy_kv_layer *kv)
{
    size_t v_panels = kv->v_in_k ? 0 : (size_t)(kv->v_dim + SY_PANEL - 1) / SY_PANEL;

    return sy_kv_k_elements(kv) + v_panels * sy_panel_elements(kv->dtype, SY_KV_PAGE);
}

/* Index in a page of dim i of K, or of V, of a head at slot = position % SY_KV_PAGE. */
static inline size_t sy_kv_k_index(const struct sy_kv_layer *kv, int head, int slot, int i)
{
    return (size_t)head * sy_kv_head_elements(kv) + sy_panel_index(kv->dtype, kv->k_dim, slot, i);
}

static inline size_t sy_kv_v_index(const struct sy_kv_layer *kv, int head, int slot, int i)
{
    if (kv->v_in_k)
        return sy_kv_k_index(kv, head, slot, i);
    return (size_t)head * sy_kv_head_elements(kv) + sy_kv_k_elements(kv) +
           sy_panel_index(kv->dtype, SY_KV_PAGE, i, slot);
}

_Static_assert(SY_KV_PAGE == SY_PANEL, "a page's keys are the outputs of one panel");

#endif
