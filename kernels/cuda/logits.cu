/* SPDX-License-Identifier: Apache-2.0
 * logits.cu - largest logits and sums of exponentials over the vocabulary
 *
 * Two launches: a warp for each block of SY_LOGIT_BLOCK logits finds its largest, then a block for each row finds the row's,
 * and a second pair does the same with sums of exponentials, which need the largest first.
 */
#include <math_constants.h>

#include "cuda/widen.cuh"

#define THREADS 256
#define WARPS   (THREADS / 32)

/* exp((x - max) / temperature) in FP32; of NaN zero. */
static __device__ __forceinline__ float weight_of(float x, float max, float temperature)
{
    /* Where 1 / temperature is infinite, 0 times it must be 0 still. */
    float f = __fsub_rn(x, max) * fminf(__fdiv_rn(1.0f, temperature), 3.402823466e38f);

    return f > -104.0f ? expf(f) : 0.0f;
}

static __global__ void largest_kernel(const float *logits, int T, int V, int n_blocks, struct sy_logit_scan *scans)
{
    int at = (int)blockIdx.x * WARPS + (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int t = at / n_blocks, b = at % n_blocks;
    float most = -CUDART_INF_F;

    if (t >= T)
        return;
    const float *x = logits + (size_t)t * (size_t)V;
    for (int i = b * SY_LOGIT_BLOCK + lane; i < V && i < (b + 1) * SY_LOGIT_BLOCK; i += 32)
        most = fmaxf(most, x[i]);
    for (int i = 16; i; i /= 2)
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, i));
    if (!lane)
        scans[t].block_max[b] = most;
}

/* The lowest token of the row's largest logit, by a block of threads. */
static __global__ void argmax_kernel(const float *logits, int V, int n_blocks, struct sy_logit_scan *scans)
{
    __shared__ float most_of[WARPS];
    __shared__ int first;
    struct sy_logit_scan *scan = &scans[blockIdx.x];
    const float *x = logits + (size_t)blockIdx.x * (size_t)V;
    float most = -CUDART_INF_F;

    for (int b = (int)threadIdx.x; b < n_blocks; b += THREADS)
        most = fmaxf(most, scan->block_max[b]);
    for (int i = 16; i; i /= 2)
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, i));
    if (threadIdx.x % 32 == 0)
        most_of[threadIdx.x / 32] = most;
    if (!threadIdx.x)
        first = V;
    __syncthreads();
    for (int i = 0; i < WARPS; i++)
        most = fmaxf(most, most_of[i]);
    for (int b = (int)threadIdx.x; b < n_blocks; b += THREADS) {
        if (scan->block_max[b] != most || b * SY_LOGIT_BLOCK > first)
            continue;
        for (int i = b * SY_LOGIT_BLOCK; i < V && i < (b + 1) * SY_LOGIT_BLOCK; i++)
            if (x[i] == most) {
                atomicMin(&first, i);
                break;
            }
    }
    __syncthreads();
    if (threadIdx.x)
        return;
    scan->argmax = first < V ? first : 0;
    scan->max = most;
}

/* A block's sums of exponentials: at the scan's temperature, and at 1 for the logarithm. In FP32 relative to the block's
 * largest logit. */
static __global__ void sums_kernel(const float *logits, int T, int V, int n_blocks, struct sy_logit_scan *scans)
{
    int at = (int)blockIdx.x * WARPS + (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int t = at / n_blocks, b = at % n_blocks;

    if (t >= T)
        return;
    const struct sy_logit_scan *scan = &scans[t];
    bool finite = isfinite(scan->max);
    float most = scan->block_max[b];
    const float *x = logits + (size_t)t * (size_t)V;
    float weight = 0.0f, sum = 0.0f;
    for (int i = b * SY_LOGIT_BLOCK + lane; i < V && i < (b + 1) * SY_LOGIT_BLOCK && finite; i += 32) {
        if (scan->temperature > 0)
            weight = __fadd_rn(weight, weight_of(x[i], most, scan->temperature));
        if (scan->want_log_sum)
            sum = __fadd_rn(sum, weight_of(x[i], most, 1.0f));
    }
    for (int i = 16; i; i /= 2) {
        weight = __fadd_rn(weight, __shfl_xor_sync(0xffffffffu, weight, i));
        sum = __fadd_rn(sum, __shfl_xor_sync(0xffffffffu, sum, i));
    }
    if (lane || !finite)
        return;
    /* Relative to the row's largest, for which FP32 has not enough digits or room. */
    double below = isfinite(most) ? (double)most - (double)scan->max : -1e300;
    if (scan->temperature > 0)
        scan->block_weight[b] = (double)weight * exp(below / (double)scan->temperature);
    if (scan->want_log_sum)
        scan->block_exp[b] = (double)sum * exp(below);
}

static __device__ double sum_blocks(const double *blocks, int n)
{
    double sum = 0.0;

    for (int b = (int)threadIdx.x; b < n; b += 32)
        sum += blocks[b];
    for (int i = 16; i; i /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, i);
    return sum;
}

static __global__ void total_kernel(int n_blocks, struct sy_logit_scan *scans)
{
    struct sy_logit_scan *scan = &scans[blockIdx.x];
    bool finite = isfinite(scan->max);
    double weight = finite && scan->temperature > 0 ? sum_blocks(scan->block_weight, n_blocks) : 0.0;
    double sum = finite && scan->want_log_sum ? sum_blocks(scan->block_exp, n_blocks) : 1.0;

    if (threadIdx.x)
        return;
    if (scan->temperature > 0)
        scan->weight = weight;
    if (scan->want_log_sum)
        scan->log_sum = (double)scan->max + log(sum);
}

void sy_cuda_scan_logits(struct sy_queue *q, const float *logits, int T, int V, struct sy_logit_scan *scans)
{
    int n_blocks = sy_logit_blocks(V);
    unsigned n_warps = (unsigned)((T * n_blocks + WARPS - 1) / WARPS);

    if (!sy_cuda_works(q) || T < 1)
        return;
    largest_kernel<<<n_warps, THREADS, 0, q->stream>>>(logits, T, V, n_blocks, scans);
    argmax_kernel<<<(unsigned)T, THREADS, 0, q->stream>>>(logits, V, n_blocks, scans);
    sums_kernel<<<n_warps, THREADS, 0, q->stream>>>(logits, T, V, n_blocks, scans);
    total_kernel<<<(unsigned)T, 32, 0, q->stream>>>(n_blocks, scans);
    sy_cuda_launched(q, "scan_logits");
}
