/* SPDX-License-Identifier: Apache-2.0
 * pick.cu - the few logits of a row that the host wants to see
 *
 * A block of threads takes a pick. What it lists goes straight to the host's memory, with the scan's figures that the host
 * needs; blocks of logits whose largest one is too low are not read.
 */
#include <math_constants.h>

#include "cuda/cuda.h"
#include "cuda/weight.cuh"

#define THREADS 512
#define WARPS   (THREADS / 32)
#define EACH    (SY_LOGIT_BLOCK / 32) /* logits of a block for each lane */

/* A row, and the largest logit of each of its blocks. */
struct row {
    const float *x, *most;
    int V, n_blocks;
};

/* Which of a block's logits reach floor; bit `lane` of here[j] for logit 32 j + lane. Of a warp. */
static __device__ __forceinline__ int reaching(const struct row &row, int block, float floor, unsigned here[EACH])
{
    int begin = block * SY_LOGIT_BLOCK + (int)threadIdx.x % 32, n = 0;
    float x[EACH];

#pragma unroll
    for (int j = 0; j < EACH; j++)
        x[j] = begin + 32 * j < row.V ? row.x[begin + 32 * j] : CUDART_NAN_F;
#pragma unroll
    for (int j = 0; j < EACH; j++) {
        here[j] = __ballot_sync(0xffffffffu, x[j] >= floor);
        n += __popc(here[j]);
    }
    return n;
}

/* The blocks of this warp, 32 from `first` on, that have a logit that reaches floor. */
static __device__ __forceinline__ unsigned blocks_reaching(const struct row &row, int first, float floor)
{
    int b = first + (int)threadIdx.x % 32;

    return __ballot_sync(0xffffffffu, b < row.n_blocks && row.most[b] >= floor);
}

/* List all logits that reach floor. Each round takes 32 blocks for each warp: first they are counted, then written behind
 * those of the warps before. */
static __device__ void list(const struct row &row, float floor, struct sy_logit_pick *pick)
{
    __shared__ int counts[WARPS];
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, n_before = 0;
    unsigned here[EACH];

    for (int round = 0; round < row.n_blocks; round += 32 * WARPS) {
        int first = round + 32 * warp, n = 0, at = n_before;
        unsigned all = blocks_reaching(row, first, floor);
        for (unsigned left = all; left; left &= left - 1)
            n += reaching(row, first + __ffs((int)left) - 1, floor, here);
        if (!lane)
            counts[warp] = n;
        __syncthreads();
        for (int w = 0; w < WARPS; w++) {
            at += w < warp ? counts[w] : 0;
            n_before += counts[w];
        }
        __syncthreads();
        for (unsigned left = all; left && at < pick->room; left &= left - 1) {
            int block = first + __ffs((int)left) - 1;
            reaching(row, block, floor, here);
            for (int j = 0; j < EACH; j++) {
                int to = at + __popc(here[j] & ((1u << lane) - 1)), i = block * SY_LOGIT_BLOCK + 32 * j + lane;
                if ((here[j] >> lane & 1) && to < pick->room) {
                    pick->ids[to] = i;
                    pick->logits[to] = row.x[i];
                }
                at += __popc(here[j]);
            }
        }
    }
    if (!threadIdx.x) {
        pick->floor = floor;
        pick->n_found = n_before;
    }
}

/* Numbers in the order of floats. */
static __device__ __forceinline__ unsigned key_of(float x)
{
    unsigned bits = __float_as_uint(x);

    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/* The n-th largest of the blocks' largest logits, bit by bit: the largest number that n of them reach. */
static __device__ float nth_largest(const struct row &row, int n)
{
    unsigned found = 0;

    for (unsigned bit = 0x80000000u; bit; bit >>= 1) {
        int n_reach = 0;
        for (int b = 0; b < row.n_blocks; b += THREADS) {
            int at = b + (int)threadIdx.x;
            n_reach += __syncthreads_count(at < row.n_blocks && key_of(row.most[at]) >= (found | bit));
        }
        if (n_reach >= n)
            found |= bit;
    }
    return __uint_as_float(found >> 31 ? found & 0x7fffffffu : ~found);
}

/* Weight of all logits that reach floor, for every thread. */
static __device__ float mass_of(const struct row &row, const struct sy_logit_scan *scan, float floor)
{
    __shared__ float sums[WARPS];
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    float sum = 0.0f;

    for (int first = 32 * warp; first < row.n_blocks; first += THREADS) {
        for (unsigned left = blocks_reaching(row, first, floor); left; left &= left - 1) {
            int begin = (first + __ffs((int)left) - 1) * SY_LOGIT_BLOCK + lane;
            for (int j = 0; j < EACH; j++) {
                float x = begin + 32 * j < row.V ? row.x[begin + 32 * j] : CUDART_NAN_F;
                sum += x >= floor ? sy_cuda_weight(x, scan->max, scan->temperature) : 0.0f;
            }
        }
    }
    for (int i = 16; i; i /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, i);
    __syncthreads();
    if (!lane)
        sums[warp] = sum;
    __syncthreads();
    sum = 0.0f;
    for (int w = 0; w < WARPS; w++)
        sum += sums[w];
    return sum;
}

static __device__ float near_floor(const struct row &row, const struct sy_logit_scan *scan, double enough)
{
    for (int depth = SY_PICK_STEP; depth <= SY_PICK_DEPTH; depth += SY_PICK_STEP) {
        float floor = __fsub_rn(scan->max, __fmul_rn((float)depth, scan->temperature));
        if ((double)mass_of(row, scan, floor) >= enough)
            return floor;
    }
    return -CUDART_INF_F;
}

/* The same subtractions, one after the other, as the host's. */
static __device__ void pick_block(const struct row &row, const struct sy_logit_scan *scan, struct sy_logit_pick *pick)
{
    __shared__ double weights[THREADS], left;
    __shared__ int block;
    int lane = (int)threadIdx.x;

    if (!threadIdx.x) {
        left = __dmul_rn(pick->share, scan->weight);
        block = -1;
    }
    __syncthreads();
    for (int first = 0; first < row.n_blocks && block < 0; first += THREADS) {
        int n = row.n_blocks - first < THREADS ? row.n_blocks - first : THREADS;
        if (lane < n)
            weights[lane] = scan->block_weight[first + lane];
        __syncthreads();
        if (!threadIdx.x) {
            int b = 0;
            double rest = left;
#pragma unroll 8
            for (; b < n && rest >= weights[b]; b++)
                rest = __dsub_rn(rest, weights[b]);
            left = rest;
            block = b < n ? first + b : -1;
            if (b < n)
                pick->block_weight = weights[b];
        }
        __syncthreads();
    }
    int b = block < 0 ? row.n_blocks : block, begin = b * SY_LOGIT_BLOCK;
    if (!threadIdx.x) {
        pick->block = b;
        pick->left = left;
        pick->n_found = row.V - begin < SY_LOGIT_BLOCK ? (row.V - begin > 0 ? row.V - begin : 0) : SY_LOGIT_BLOCK;
        if (b < row.n_blocks)
            pick->block_max = row.most[b];
    }
    for (int i = lane; i < SY_LOGIT_BLOCK && begin + i < row.V && i < pick->room; i += THREADS) {
        pick->ids[i] = begin + i;
        pick->logits[i] = row.x[begin + i];
    }
}

static __global__ void __launch_bounds__(THREADS) pick_kernel(const float *logits, int V, int n_blocks,
                                                              const struct sy_logit_scan *scans,
                                                              struct sy_logit_pick *picks)
{
    __shared__ struct sy_logit_pick pick;
    __shared__ struct sy_logit_scan scan;

    if (!threadIdx.x) {
        pick = picks[blockIdx.x];
        scan = scans[pick.row];
        pick.n_found = 0;
    }
    __syncthreads();
    struct row row = {logits + (size_t)pick.row * (size_t)V, scan.block_max, V, n_blocks};
    if (pick.kind == SY_PICK_TOKEN) {
        if (!threadIdx.x) {
            pick.n_found = 1;
            pick.ids[0] = pick.n;
            pick.logits[0] = row.x[pick.n];
        }
    } else if (pick.kind == SY_PICK_TOP) {
        list(row, pick.n <= n_blocks ? nth_largest(row, pick.n) : -CUDART_INF_F, &pick);
    } else if (isfinite(scan.max) && pick.kind == SY_PICK_NEAR) {
        list(row, near_floor(row, &scan, pick.share * scan.weight), &pick);
    } else if (isfinite(scan.max)) {
        pick_block(row, &scan, &pick);
    }
    __syncthreads();
    if (!threadIdx.x)
        picks[blockIdx.x] = pick;
}

void sy_cuda_pick_logits(struct sy_queue *q, const float *logits, int V, const struct sy_logit_scan *scans,
                         struct sy_logit_pick *picks, int n_picks)
{
    if (!sy_cuda_works(q) || n_picks < 1)
        return;
    pick_kernel<<<(unsigned)n_picks, THREADS, 0, q->stream>>>(logits, V, sy_logit_blocks(V), scans, picks);
    sy_cuda_launched(q, "pick_logits");
}
