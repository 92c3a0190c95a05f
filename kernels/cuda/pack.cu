/* SPDX-License-Identifier: Apache-2.0
 * pack.cu - published rows into the GPU's panels, on the host while a checkpoint is read
 */
#include <string.h>

#include "cuda/cuda.h"

size_t sy_cuda_panel_bytes(enum sy_dtype dtype, int k)
{
    return sy_cuda_panel_size(dtype, k);
}

/* A row's pieces, whose inputs lie together. */
static void pack_row(enum sy_dtype dtype, int k, int k_begin, int k_end, int n, const uint8_t *row, uint8_t *panel)
{
    int piece = sy_cuda_piece(dtype);

    for (int i = k_begin; i < k_end;) {
        int within = i % piece, count = piece - within < k_end - i ? piece - within : k_end - i;
        memcpy(panel + sy_cuda_piece_at(dtype, k, n, i) + sy_dtype_array_bytes(dtype, (size_t)within), row,
               sy_dtype_array_bytes(dtype, (size_t)count));
        row += sy_dtype_array_bytes(dtype, (size_t)count);
        i += count;
    }
}

void sy_cuda_pack_panel(enum sy_dtype dtype, int k, int k_begin, int k_end, int n_rows, const void *rows,
                        size_t row_stride, size_t k_stride, void *dst)
{
    /* Elements, or bytes of two of SY_MXFP4. */
    size_t element = dtype == SY_MXFP4 ? 1 : sy_dtype_bytes(dtype);
    int unit = dtype == SY_MXFP4 ? 2 : 1, padded = sy_cuda_blocks(k) * SY_CUDA_BLOCK;
    uint8_t *panel = (uint8_t *)dst;

    /* What is missing becomes zero: rows, and the inputs behind the last. */
    for (int n = 0; n < SY_PANEL; n++) {
        int from = n < n_rows ? (k_end == k ? k_end : padded) : k_begin, to = k_end == k ? padded : k_end;
        for (int i = from; i < to; i++) {
            uint8_t *at = panel + sy_cuda_piece_at(dtype, k, n, i);
            size_t within = sy_dtype_array_bytes(dtype, (size_t)(i % sy_cuda_piece(dtype)));
            if (dtype != SY_MXFP4 || i % 2 == 0)
                memset(at + within, 0, element);
        }
    }
    for (int n = 0; n < n_rows; n++) {
        const uint8_t *row = (const uint8_t *)rows + (size_t)n * row_stride;
        if (k_stride == element) {
            pack_row(dtype, k, k_begin, k_end, n, row, panel);
            continue;
        }
        for (int i = k_begin; i < k_end; i += unit, row += k_stride)
            pack_row(dtype, k, i, i + unit < k_end ? i + unit : k_end, n, row, panel);
    }
}
