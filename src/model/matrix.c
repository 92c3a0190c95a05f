/* SPDX-License-Identifier: Apache-2.0
 * matrix.c - arithmetic of places in a tensor
 */
#include "model/matrix.h"

enum sy_dtype sy_matrix_dtype(const struct sy_matrix *source)
{
    return source->tensor->dtype == SY_U8 ? SY_MXFP4 : source->tensor->dtype;
}

struct sy_matrix sy_matrix_rows(const struct sy_tensor *tensor, int64_t slice, int64_t row, int n)
{
    int64_t k = tensor->dims[tensor->n_dims - 1];

    return (struct sy_matrix){.tensor = tensor,
                              .offset = (slice * tensor->dims[tensor->n_dims - 2] + row) * k,
                              .row_stride = k,
                              .k_stride = 1,
                              .n = n,
                              .k = (int)k};
}

struct sy_matrix sy_matrix_vector(const struct sy_tensor *tensor)
{
    if (!tensor)
        return (struct sy_matrix){.tensor = NULL};
    return (struct sy_matrix){.tensor = tensor, .row_stride = 1, .k_stride = 1, .n = (int)tensor->dims[0], .k = 1};
}

struct sy_stretch sy_matrix_stretch(const struct sy_matrix *source, int row, int row_end, int k, int k_end)
{
    uint64_t element = sy_dtype_bytes(source->tensor->dtype);
    int per_unit = sy_matrix_dtype(source) == SY_MXFP4 ? 2 : 1;
    int64_t first = source->offset + row * source->row_stride + k / per_unit * source->k_stride;
    int64_t last = source->offset + (row_end - 1) * source->row_stride + (k_end - 1) / per_unit * source->k_stride;

    return (struct sy_stretch){(uint64_t)first * element, (uint64_t)(last + 1) * element};
}

int64_t sy_scale_at(const struct sy_matrix *source, int row, int input)
{
    const struct sy_scales *s = &source->scales;
    int published = source->k_stride == 1 ? row : input, column = source->k_stride == 1 ? input : row;

    return s->offset + (s->row + (int64_t)published * s->row_step) / s->block_n * s->row_stride + column / s->block_k;
}

int sy_scales_blocks(const struct sy_matrix *source)
{
    return (source->k - 1) / source->scales.block_k + 1;
}

struct sy_stretch sy_scales_stretch(const struct sy_matrix *source, int row, int row_end)
{
    const struct sy_scales *s = &source->scales;
    uint64_t element = sy_dtype_bytes(s->tensor->dtype);
    int64_t first = s->offset + (s->row + (int64_t)row * s->row_step) / s->block_n * s->row_stride;
    int64_t last = s->offset + (s->row + (int64_t)(row_end - 1) * s->row_step) / s->block_n * s->row_stride;

    return (struct sy_stretch){(uint64_t)first * element, (uint64_t)(last + sy_scales_blocks(source)) * element};
}

bool sy_matrix_interleaved(const struct sy_matrix *a, const struct sy_matrix *b)
{
    int64_t apart = b->offset - a->offset;

    return a->tensor == b->tensor && a->row_stride == b->row_stride && a->k_stride == b->k_stride && apart > 0 &&
           (apart < a->row_stride || apart < a->k_stride);
}
