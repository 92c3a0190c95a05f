/* SPDX-License-Identifier: Apache-2.0
 * pack.c - published rows into panels, and sizes of what is packed
 */
#include "cpu/queue.h"

#include <string.h>

#include "layout.h"

size_t sy_cpu_panel_bytes(enum sy_dtype dtype, int k)
{
    return sy_dtype_array_bytes(dtype, sy_panel_elements(dtype, k));
}

size_t sy_cpu_kv_page_bytes(const struct sy_kv_layer *kv)
{
    return (size_t)kv->n_kv_heads * sy_kv_head_elements(kv) * sy_dtype_bytes(kv->dtype);
}

/* Transpose [n_rows][k] elements of `bytes` bytes, `group` of them side by side, to [k / group][SY_PANEL][group]; the
 * compiler knows both. Rows come from a file's buffer and need no alignment. One cache line of each row at a time. */
static inline __attribute__((always_inline)) void transpose(size_t bytes, int group, int k, int n_rows,
                                                            const uint8_t *rows, size_t row_stride, uint8_t *dst)
{
    const size_t unit = bytes * (size_t)group;
    const int step = (int)(64 / unit);
    int n_units = k / group;

    for (int u0 = 0; u0 < n_units; u0 += step) {
        int u1 = n_units - u0 < step ? n_units : u0 + step;
        for (int n = 0; n < n_rows; n++) {
            const uint8_t *row = rows + (size_t)n * row_stride;
            for (int u = u0; u < u1; u++)
                memcpy(dst + ((size_t)u * SY_PANEL + (size_t)n) * unit, row + (size_t)u * unit, unit);
        }
    }
    /* The last group, where inputs are missing. */
    for (int n = 0; n < n_rows && k % group; n++)
        memcpy(dst + ((size_t)n_units * SY_PANEL + (size_t)n) * unit,
               rows + (size_t)n * row_stride + (size_t)n_units * unit, (size_t)(k % group) * bytes);
}

/* The same from inputs k_stride bytes apart: of a transposed matrix, where the rows' elements of one input lie together. */
static inline __attribute__((always_inline)) void gather(size_t bytes, int group, int k, int n_rows,
                                                         const uint8_t *rows, size_t row_stride, size_t k_stride,
                                                         uint8_t *dst)
{
    for (int i = 0; i < k; i++) {
        const uint8_t *from = rows + (size_t)i * k_stride;
        uint8_t *to = dst + ((size_t)(i / group * group) * SY_PANEL + (size_t)(i % group)) * bytes;
        for (int n = 0; n < n_rows; n++)
            memcpy(to + (size_t)(n * group) * bytes, from + (size_t)n * row_stride, bytes);
    }
}

static inline __attribute__((always_inline)) void pack(size_t bytes, int group, int k, int n_rows, const uint8_t *rows,
                                                       size_t row_stride, size_t k_stride, uint8_t *dst)
{
    if (k_stride == bytes)
        transpose(bytes, group, k, n_rows, rows, row_stride, dst);
    else
        gather(bytes, group, k, n_rows, rows, row_stride, k_stride, dst);
}

void sy_cpu_pack_panel(enum sy_dtype dtype, int k, int k_begin, int k_end, int n_rows, const void *rows,
                       size_t row_stride, size_t k_stride, void *dst)
{
    /* A panel begins with the panel of its first inputs. */
    uint8_t *to = (uint8_t *)dst + (k_begin ? sy_cpu_panel_bytes(dtype, k_begin) : 0);
    int n = k_end - k_begin;

    (void)k;
    if (n_rows < SY_PANEL || n % sy_panel_group(dtype))
        memset(to, 0, sy_cpu_panel_bytes(dtype, n));
    switch (sy_dtype_bytes(dtype)) {
    case 0: /* SY_MXFP4: bytes of two inputs */
        pack(1, 1, (n + 1) / 2, n_rows, rows, row_stride, k_stride, to);
        break;
    case 1:
        pack(1, 1, n, n_rows, rows, row_stride, k_stride, to);
        break;
    case 2:
        if (sy_panel_group(dtype) == 2)
            pack(2, 2, n, n_rows, rows, row_stride, k_stride, to);
        else
            pack(2, 1, n, n_rows, rows, row_stride, k_stride, to);
        break;
    case 4:
        pack(4, 1, n, n_rows, rows, row_stride, k_stride, to);
        break;
    case 8:
        pack(8, 1, n, n_rows, rows, row_stride, k_stride, to);
        break;
    }
}
