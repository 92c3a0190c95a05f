/* SPDX-License-Identifier: Apache-2.0
 * matrix.h - where a weight lies in the checkpoint
 *
 * Made by whoever knows a layout's names and shapes (bind.c), used by the loader. A matrix says nothing of what the numbers
 * mean; every element that it names lies within its tensor, which its maker has checked.
 */
#ifndef SY_MODEL_MATRIX_H
#define SY_MODEL_MATRIX_H

#include <stdbool.h>
#include <stdint.h>

#include "model/checkpoint.h"

/* The scales of a matrix of codes: that of row r, input i is element offset + (row + r * row_step) / block_n * row_stride +
 * i / block_k of the tensor's data. */
struct sy_scales {
    const struct sy_tensor *tensor; /* NULL: the matrix has none */
    int64_t offset, row_stride;
    int64_t row; /* the source's first row among those of its tensor */
    int row_step, block_n, block_k;
};

/* A matrix [n, k] in the checkpoint: input i of row r is element offset + r * row_stride + i * k_stride of the tensor's
 * data, so that a slice of a 3-D tensor, every second row of one and a transposed slice are all sources. A vector is a
 * matrix of one input. k_stride is 1 where rows lie as they are computed with; strides are positive. A tensor of U8 holds
 * MXFP4: offset and row_stride then count bytes, and k_stride is 1. */
struct sy_matrix {
    const struct sy_tensor *tensor; /* NULL: not there */
    int64_t offset, row_stride, k_stride;
    int n, k;
    struct sy_scales scales;
};

/* The type of a source's elements. */
enum sy_dtype sy_matrix_dtype(const struct sy_matrix *source);

/* Rows row .. row + n - 1 of slice `slice` of a tensor whose last two dims are [rows, inputs] (slice counts the dims before
 * them; 0 for a 2-D tensor). */
struct sy_matrix sy_matrix_rows(const struct sy_tensor *tensor, int64_t slice, int64_t row, int n);

/* A whole 1-D tensor as a vector; NULL makes a source that is not there. */
struct sy_matrix sy_matrix_vector(const struct sy_tensor *tensor);

/* Bytes [begin, end) of the tensor's data from the first to the last element of some rows and inputs, with whatever lies
 * between them. */
struct sy_stretch {
    uint64_t begin, end;
};

struct sy_stretch sy_matrix_stretch(const struct sy_matrix *source, int row, int row_end, int k, int k_end);

/* Where the scale of a row's input is, in elements of the scales' tensor. A source with a k_stride is a transposed matrix:
 * its inputs are the rows that were published. */
int64_t sy_scale_at(const struct sy_matrix *source, int row, int input);

/* The same of the scales of some rows, and how many each row has. */
struct sy_stretch sy_scales_stretch(const struct sy_matrix *source, int row, int row_end);
int sy_scales_blocks(const struct sy_matrix *source);

/* Whether rows (or, transposed, inputs) of b lie between those of a, as gate's and up's do where they are fused. */
bool sy_matrix_interleaved(const struct sy_matrix *a, const struct sy_matrix *b);

#endif
