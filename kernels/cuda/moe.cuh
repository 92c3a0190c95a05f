/* SPDX-License-Identifier: Apache-2.0
 * moe.cuh - what layers of experts on one rank and across ranks share
 */
#ifndef SY_KERNELS_CUDA_MOE_CUH
#define SY_KERNELS_CUDA_MOE_CUH

#include <math.h>

#include "base/range.h"
#include "cuda/experts.cuh"

/* Rows of a tile for experts with so many rows on average and some more, so that most have one tile. */
static inline int sy_moe_tile_rows(double mean)
{
    return mean < 128 ? (int)(mean + 4 * sqrt(mean)) : SY_CUDA_TILE_ROWS;
}

/* The next `bytes` of a workspace; with NULL only their count. */
static inline void *sy_moe_take(uint8_t *base, size_t *used, size_t bytes)
{
    size_t at = *used;

    *used += (bytes + 255) / 256 * 256;
    return base ? base + at : NULL;
}

/* As combine(): x [T, D] += the sum over K of weights [T, K] times results [T * K, D] (BF16), and shared, if not NULL. */
struct sy_cuda_combination {
    int T, D, K;
    const uint16_t *results;
    const float *weights, *shared;
    float *x;
};

void sy_cuda_moe_combine(struct sy_queue *q, const struct sy_cuda_combination *c);

#endif
