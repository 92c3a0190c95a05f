/* SPDX-License-Identifier: Apache-2.0
 * gemm.cuh - dense matrices: what their kernels are given, and in what order they add up
 *
 * Exactness: the blocks of inputs (layout.h) are cut into SY_GEMM_SLICES equal slices, fewer where there are few blocks. A
 * slice of a row of two parts is two chains of tensor core instructions in order of inputs, one with the first parts and one
 * with the second; they are added, and the slices' sums are, in order. So few rows may have their slices summed up side by
 * side, and many rows one after the other: the bits are the same.
 */
#ifndef SY_KERNELS_CUDA_GEMM_CUH
#define SY_KERNELS_CUDA_GEMM_CUH

#include "cuda/widen.cuh"

#define SY_GEMM_SLICES 4

/* A product of T rows with one matrix of each of some heads; a dense one has one head. */
struct sy_gemm {
    struct sy_weight w; /* of head 0 */
    size_t w_head;      /* bytes */
    const void *x;
    enum sy_dtype x_dtype, y_dtype;            /* x_dtype: of one part */
    size_t x_stride, x_head, y_stride, y_head; /* elements; of a part */
    int T, n_begin, n_end, head_begin, n_heads, n_parts;
    bool add, aligned; /* rows begin at, and go on by, multiples of 16 bytes */
    enum sy_round round;
    void *y;
};

/* Blocks of a slice. */
static __host__ __device__ __forceinline__ int sy_gemm_slice(int n_blocks)
{
    return (n_blocks + SY_GEMM_SLICES - 1) / SY_GEMM_SLICES;
}

static __device__ __forceinline__ void sy_gemm_store(const struct sy_gemm &g, int head, int t, int n, float sum)
{
    size_t i = (size_t)head * g.y_head + (size_t)(n - g.n_begin);

    if (t >= g.T || n >= g.n_end)
        return;
    if (g.add)
        sum = __fadd_rn(((const float *)g.y)[(size_t)t * g.y_stride + i], sum);
    if (g.w.bias)
        sum = __fadd_rn(sum, g.w.bias[n]);
    sy_store_row(g.y_dtype, g.y, g.y_stride, (size_t)t, i, sy_round_to(sum, g.round));
}

/* gemm_mma.cu: rows of BF16 parts, panels of BF16 or of codes. */
void sy_cuda_gemm_mma(struct sy_queue *q, const struct sy_gemm *g);

/* gemm_hopper.cu: the same for BF16 weights, where sy_cuda_gemm_hopper_fits(). */
bool sy_cuda_gemm_hopper_fits(const struct sy_queue *q, const struct sy_gemm *g);
void sy_cuda_gemm_hopper(struct sy_queue *q, const struct sy_gemm *g);

#endif
