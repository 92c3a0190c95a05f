/* SPDX-License-Identifier: Apache-2.0
 * source.c - arithmetic of places in a tensor
 */
#include "model/source.h"

struct sy_source sy_source_rows(const struct sy_tensor *tensor, int64_t slice, int64_t row, int n)
{
    int64_t k = tensor->dims[tensor->n_dims - 1];

    return (struct sy_source){.tensor = tensor,
                              .offset = (slice * tensor->dims[tensor->n_dims - 2] + row) * k,
                              .row_stride = k,
                              .k_stride = 1,
                              .n = n,
                              .k = (int)k};
}

struct sy_source sy_source_vector(const struct sy_tensor *tensor)
{
    if (!tensor)
        return (struct sy_source){.tensor = NULL};
    return (struct sy_source){.tensor = tensor, .row_stride = 1, .k_stride = 1, .n = (int)tensor->dims[0], .k = 1};
}

struct sy_stretch sy_source_stretch(const struct sy_source *source, int row, int row_end, int k, int k_end)
{
    uint64_t element = sy_dtype_bytes(source->tensor->dtype);
    int64_t first = source->offset + row * source->row_stride + k * source->k_stride;
    int64_t last = source->offset + (row_end - 1) * source->row_stride + (k_end - 1) * source->k_stride;

    return (struct sy_stretch){(uint64_t)first * element, (uint64_t)(last + 1) * element};
}

bool sy_source_interleaved(const struct sy_source *a, const struct sy_source *b)
{
    int64_t apart = b->offset - a->offset;

    return a->tensor == b->tensor && a->row_stride == b->row_stride && a->k_stride == b->k_stride && apart > 0 &&
           (apart < a->row_stride || apart < a->k_stride);
}
