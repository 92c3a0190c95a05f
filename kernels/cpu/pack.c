/* SPDX-License-Identifier: Apache-2.0
 * pack.c - published rows into panels
 */
#include "cpu/queue.h"

#include <string.h>

size_t sy_cpu_panel_bytes(enum sy_dtype dtype, int k)
{
    return (size_t)k * SY_PANEL * sy_dtype_bytes(dtype);
}

/* Transpose [n_rows][k] elements of `bytes` bytes, which the compiler knows, to [k][SY_PANEL]. Rows come from a mapped
 * file and need no alignment. Eight inputs of each row at a time: a cache line of a row is read at once. */
static inline __attribute__((always_inline)) void transpose(size_t bytes, int k, int n_rows, const uint8_t *rows,
                                                            size_t row_stride, uint8_t *dst)
{
    if (n_rows < SY_PANEL)
        memset(dst, 0, (size_t)k * SY_PANEL * bytes);
    for (int k0 = 0; k0 < k; k0 += 8) {
        int k1 = k - k0 < 8 ? k : k0 + 8;
        for (int n = 0; n < n_rows; n++) {
            const uint8_t *row = rows + (size_t)n * row_stride;
            for (int i = k0; i < k1; i++)
                memcpy(dst + ((size_t)i * SY_PANEL + (size_t)n) * bytes, row + (size_t)i * bytes, bytes);
        }
    }
}

void sy_cpu_pack_panel(enum sy_dtype dtype, int k, int n_rows, const void *rows, size_t row_stride, void *dst)
{
    switch (sy_dtype_bytes(dtype)) {
    case 1:
        transpose(1, k, n_rows, rows, row_stride, dst);
        break;
    case 2:
        transpose(2, k, n_rows, rows, row_stride, dst);
        break;
    case 4:
        transpose(4, k, n_rows, rows, row_stride, dst);
        break;
    case 8:
        transpose(8, k, n_rows, rows, row_stride, dst);
        break;
    }
}
