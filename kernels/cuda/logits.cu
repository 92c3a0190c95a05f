/* SPDX-License-Identifier: Apache-2.0
 * logits.cu - largest logits and sums of exponentials over the vocabulary
 *
 * A warp takes a block of SY_LOGIT_BLOCK logits, then a block of threads a row: first for the largest, then for sums of
 * exponentials, which need it. What one launch finds for the next stays in the device's memory; the scans, which are the
 * host's, are read and written once for each row.
 */
#include <math_constants.h>

#include "cuda/cuda.h"
#include "cuda/weight.cuh"

#define THREADS 256
#define WARPS   (THREADS / 32)

/* What is found of each block of a row, and of the row. */
struct found {
    int n_blocks;
    float *most;          /* [T][n_blocks] */
    int *first;           /* [T][n_blocks] the lowest token that has it; V: NaN alone */
    double *weight, *sum; /* [T][n_blocks] */
    struct row {
        float most, temperature;
        bool want_log_sum;
    } * rows; /* [T] */
};

static size_t found_bytes(int n_blocks)
{
    return (size_t)n_blocks * (2 * sizeof(double) + sizeof(float) + sizeof(int)) + sizeof(struct found::row);
}

static struct found place_found(uint8_t *at, int T, int n_blocks)
{
    size_t n = (size_t)T * (size_t)n_blocks;
    struct found found = {};

    found.n_blocks = n_blocks;
    found.weight = (double *)at;
    found.sum = found.weight + n;
    found.most = (float *)(found.sum + n);
    found.first = (int *)(found.most + n);
    found.rows = (struct found::row *)(found.first + n);
    return found;
}

/* The larger of two logits, of equal ones that of the lower token. */
static __device__ __forceinline__ void take_larger(float *most, int *first, float other, int other_first)
{
    if (other > *most || (other == *most && other_first < *first)) {
        *most = other;
        *first = other_first;
    }
}

static __device__ __forceinline__ void largest_of_warp(float *most, int *first)
{
    for (int i = 16; i; i /= 2)
        take_larger(most, first, __shfl_xor_sync(0xffffffffu, *most, i), __shfl_xor_sync(0xffffffffu, *first, i));
}

static __global__ void largest_kernel(const float *logits, int T, int V, struct found found)
{
    int at = (int)blockIdx.x * WARPS + (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int t = at / found.n_blocks, begin = at % found.n_blocks * SY_LOGIT_BLOCK;
    float most = -CUDART_INF_F, x[SY_LOGIT_BLOCK / 32];
    int first = V;

    if (t >= T)
        return;
    logits += (size_t)t * (size_t)V;
#pragma unroll
    for (int i = 0; i < SY_LOGIT_BLOCK / 32; i++)
        x[i] = begin + lane + i * 32 < V ? logits[begin + lane + i * 32] : CUDART_NAN_F;
#pragma unroll
    for (int i = 0; i < SY_LOGIT_BLOCK / 32; i++)
        take_larger(&most, &first, x[i], begin + lane + i * 32);
    largest_of_warp(&most, &first);
    if (!lane) {
        found.most[at] = most;
        found.first[at] = first;
    }
}

/* A row's largest logit; blocks' largest ones to the host. */
static __global__ void row_kernel(int V, struct found found, struct sy_logit_scan *scans)
{
    __shared__ float most_of[WARPS];
    __shared__ int first_of[WARPS];
    struct sy_logit_scan *scan = &scans[blockIdx.x];
    size_t at = (size_t)blockIdx.x * (size_t)found.n_blocks;
    float most = -CUDART_INF_F, *block_max = scan->block_max;
    int first = V;

    for (int b = (int)threadIdx.x; b < found.n_blocks; b += THREADS) {
        block_max[b] = found.most[at + (size_t)b];
        take_larger(&most, &first, found.most[at + (size_t)b], found.first[at + (size_t)b]);
    }
    largest_of_warp(&most, &first);
    if (threadIdx.x % 32 == 0) {
        most_of[threadIdx.x / 32] = most;
        first_of[threadIdx.x / 32] = first;
    }
    __syncthreads();
    if (threadIdx.x)
        return;
    for (int i = 1; i < WARPS; i++)
        take_larger(&most, &first, most_of[i], first_of[i]);
    found.rows[blockIdx.x].most = scan->max = most;
    found.rows[blockIdx.x].temperature = scan->temperature;
    found.rows[blockIdx.x].want_log_sum = scan->want_log_sum;
    scan->argmax = first < V ? first : 0;
}

/* A block's sums of exponentials: at the scan's temperature, and at 1 for the logarithm. In FP32 relative to the block's
 * largest logit. */
static __global__ void sums_kernel(const float *logits, int T, int V, struct found found)
{
    int at = (int)blockIdx.x * WARPS + (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int t = at / found.n_blocks, b = at % found.n_blocks;

    if (t >= T)
        return;
    const struct found::row row = found.rows[t];
    if (!isfinite(row.most) || !(row.temperature > 0 || row.want_log_sum))
        return;
    float most = found.most[at];
    const float *x = logits + (size_t)t * (size_t)V;
    float weight = 0.0f, sum = 0.0f;
    for (int i = b * SY_LOGIT_BLOCK + lane; i < V && i < (b + 1) * SY_LOGIT_BLOCK; i += 32) {
        if (row.temperature > 0)
            weight = __fadd_rn(weight, sy_cuda_weight(x[i], most, row.temperature));
        if (row.want_log_sum)
            sum = __fadd_rn(sum, sy_cuda_weight(x[i], most, 1.0f));
    }
    for (int i = 16; i; i /= 2) {
        weight = __fadd_rn(weight, __shfl_xor_sync(0xffffffffu, weight, i));
        sum = __fadd_rn(sum, __shfl_xor_sync(0xffffffffu, sum, i));
    }
    if (lane)
        return;
    /* Relative to the row's largest, for which FP32 has not enough digits or room. */
    double below = isfinite(most) ? (double)most - (double)row.most : -1e300;
    if (row.temperature > 0)
        found.weight[at] = (double)weight * exp(below / (double)row.temperature);
    if (row.want_log_sum)
        found.sum[at] = (double)sum * exp(below);
}

/* A warp's sum of the blocks' sums, which go to the host too. */
static __device__ double sum_blocks(const double *blocks, int n, double *copy)
{
    double sum = 0.0;

    for (int b = (int)threadIdx.x % 32; b < n; b += 32) {
        sum += blocks[b];
        if (copy)
            copy[b] = blocks[b];
    }
    for (int i = 16; i; i /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, i);
    return sum;
}

/* Weights by the first warp, their logarithm by the second. */
static __global__ void total_kernel(struct found found, struct sy_logit_scan *scans)
{
    struct sy_logit_scan *scan = &scans[blockIdx.x];
    const struct found::row row = found.rows[blockIdx.x];
    size_t at = (size_t)blockIdx.x * (size_t)found.n_blocks;
    bool finite = isfinite(row.most);

    if (threadIdx.x < 32 && row.temperature > 0) {
        double weight = finite ? sum_blocks(found.weight + at, found.n_blocks, scan->block_weight) : 0.0;
        if (threadIdx.x == 0)
            scan->weight = weight;
    } else if (threadIdx.x >= 32 && row.want_log_sum) {
        double sum = finite ? sum_blocks(found.sum + at, found.n_blocks, NULL) : 1.0;
        if (threadIdx.x == 32)
            scan->log_sum = (double)row.most + log(sum);
    }
}

void sy_cuda_scan_logits(struct sy_queue *q, const float *logits, int T, int V, struct sy_logit_scan *scans)
{
    int n_blocks = sy_logit_blocks(V), most = (int)(SY_CUDA_SCRATCH_BYTES / found_bytes(n_blocks));

    if (!sy_cuda_works(q))
        return;
    for (int t = 0; t < T; t += most) {
        int n = T - t < most ? T - t : most;
        unsigned n_warps = (unsigned)((n * n_blocks + WARPS - 1) / WARPS);
        const float *x = logits + (size_t)t * (size_t)V;
        struct found found = place_found((uint8_t *)q->scratch, n, n_blocks);
        largest_kernel<<<n_warps, THREADS, 0, q->stream>>>(x, n, V, found);
        row_kernel<<<(unsigned)n, THREADS, 0, q->stream>>>(V, found, scans + t);
        sums_kernel<<<n_warps, THREADS, 0, q->stream>>>(x, n, V, found);
        total_kernel<<<(unsigned)n, 64, 0, q->stream>>>(found, scans + t);
    }
    sy_cuda_launched(q, "scan_logits");
}
