/* SPDX-License-Identifier: Apache-2.0
 * sort.cuh - tokens in order of their experts, and the table of tiles
 *
 * A stable counting sort: a chunk's tokens of one expert are bits of a word, and a row's place is how many come before it. A
 * block takes a chunk. Where there are several, one kernel counts their rows and the next one places them.
 */
#ifndef SY_KERNELS_CUDA_SORT_CUH
#define SY_KERNELS_CUDA_SORT_CUH

#include "cuda/experts.cuh"

#define SY_SORT_CHUNK 64 /* tokens; bits of a word */

struct sy_sort {
    int T, K, E, n_chunks, tile_rows;
    int *counts; /* [n_chunks][E] rows */
    struct sy_cuda_tile *tiles;
    int *n_tiles;
    unsigned long long *n_active, *n_rows; /* += experts that have rows; += rows; or NULL */
    bool *had; /* [E] whether an expert had rows in an earlier piece of the same tokens; NULL: no pieces */
    bool anew; /* this is the first piece */
};

/* Bytes of shared memory. */
static inline size_t sy_sort_bytes(int E)
{
    return (size_t)E * (sizeof(unsigned long long) + 2 * sizeof(int));
}

/* Sum of what the block's threads before this one have; *all: of all of them. */
static __device__ uint64_t sy_sum_before(uint64_t mine, uint64_t *all)
{
    __shared__ uint64_t of_warp[32];
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    uint64_t sum = mine;

    for (int i = 1; i < 32; i *= 2) {
        uint64_t other = __shfl_up_sync(0xffffffffu, sum, (unsigned)i);
        sum += lane >= i ? other : 0;
    }
    if (lane == 31)
        of_warp[warp] = sum;
    __syncthreads();
    uint64_t before = 0, total = 0;
    for (int i = 0; i < (int)blockDim.x / 32; i++) {
        before += i < warp ? of_warp[i] : 0;
        total += of_warp[i];
    }
    __syncthreads();
    *all = total;
    return before + sum - mine;
}

/* Even tiles of an expert's n rows, from number `tile` on. */
static __device__ void sy_make_tiles(const struct sy_sort &s, int expert, int row, int n, int tile, int n_tiles)
{
    int each = n_tiles ? ((n + n_tiles - 1) / n_tiles + 7) / 8 * 8 : 0;

    for (int i = 0; i < n_tiles; i++) {
        int first = i / SY_CUDA_TOGETHER * SY_CUDA_TOGETHER, left = n - i * each;
        s.tiles[tile + i] = {expert, row + i * each, left < each ? left : each, tile + first,
                             n_tiles - first < SY_CUDA_TOGETHER ? n_tiles - first : SY_CUDA_TOGETHER};
    }
}

/* total[e] = rows of expert e, and before[e] = how many of them are in chunks before this one. Several threads take an expert's
 * chunks in turn. */
static __device__ void sy_count_rows(const struct sy_sort &s, int chunk, const unsigned long long *masks, int *before,
                                     int *total)
{
    int n_each = s.E && s.E < (int)blockDim.x ? (int)blockDim.x / s.E : 1;

    for (int e = (int)threadIdx.x; e < s.E; e += (int)blockDim.x) {
        before[e] = 0;
        total[e] = s.n_chunks > 1 ? 0 : __popcll(masks[e]);
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < s.E * n_each && s.n_chunks > 1; i += (int)blockDim.x) {
        int e = i % s.E, sum = 0, sum_before = 0;
#pragma unroll 8
        for (int c = i / s.E; c < s.n_chunks; c += n_each) {
            int n = s.counts[(size_t)c * (size_t)s.E + (size_t)e];
            sum += n;
            sum_before += c < chunk ? n : 0;
        }
        atomicAdd(&total[e], sum);
        atomicAdd(&before[e], sum_before);
    }
    __syncthreads();
}

/* Whether expert e has rows, n now, for the first time; by one thread. */
static __device__ bool sy_is_new(const struct sy_sort &s, int e, int n)
{
    bool had = s.had && !s.anew && s.had[e];

    if (s.had)
        s.had[e] = had || n > 0;
    return n > 0 && !had;
}

/* start[e] = place of the chunk's first row of expert e; the first chunk's block makes the tiles. start: [2E], whose second
 * half is for sums. */
static __device__ void sy_sort_starts(const struct sy_sort &s, int chunk, const unsigned long long *masks, int *start)
{
    int n_active = 0, *total = start + s.E;
    int each = (s.E + (int)blockDim.x - 1) / (int)blockDim.x, e_begin = (int)threadIdx.x * each;
    int e_end = e_begin + each < s.E ? e_begin + each : s.E;
    uint64_t rows = 0, tiles = 0, all;

    sy_count_rows(s, chunk, masks, start, total);
    for (int e = e_begin; e < e_end; e++) {
        rows += (uint64_t)total[e];
        tiles += (uint64_t)((total[e] + s.tile_rows - 1) / s.tile_rows);
    }
    uint64_t at = sy_sum_before(rows << 32 | tiles, &all);
    int row = (int)(at >> 32), tile = (int)(at & 0xffffffffu);
    for (int e = e_begin; e < e_end; e++) {
        int n_tiles = (total[e] + s.tile_rows - 1) / s.tile_rows;
        if (chunk == 0) {
            sy_make_tiles(s, e, row, total[e], tile, n_tiles);
            n_active += sy_is_new(s, e, total[e]);
        }
        start[e] += row;
        row += total[e];
        tile += n_tiles;
    }
    if (chunk == 0 && s.n_active && n_active)
        atomicAdd(s.n_active, (unsigned long long)n_active);
    if (chunk == 0 && threadIdx.x == 0) {
        *s.n_tiles = (int)(all & 0xffffffffu);
        if (s.n_rows)
            atomicAdd(s.n_rows, (unsigned long long)(all >> 32));
    }
    __syncthreads();
}

/* masks[e]: which of the chunk's tokens go to expert e. own: the thread's first choice of the chunk. start: [2E] */
template <class Pairs>
static __device__ void sy_sort_place(const struct sy_sort &s, const Pairs &pairs, int chunk,
                                     const unsigned long long *masks, int own, int *start)
{
    int first = chunk * SY_SORT_CHUNK, n = (s.T - first < SY_SORT_CHUNK ? s.T - first : SY_SORT_CHUNK) * s.K;

    sy_sort_starts(s, chunk, masks, start);
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) {
        int t = i / s.K, pair = first * s.K + i, e = i < (int)blockDim.x ? own : pairs.expert(pair);
        if (e >= 0)
            pairs.put(pair, start[e] + __popcll(masks[e] & ((1ull << t) - 1)));
    }
}

/* Returns the thread's first choice. */
template <class Pairs>
static __device__ int sy_sort_mark(const struct sy_sort &s, const Pairs &pairs, int chunk, unsigned long long *masks)
{
    int own = (int)threadIdx.x, first = chunk * SY_SORT_CHUNK;
    int n = (s.T - first < SY_SORT_CHUNK ? s.T - first : SY_SORT_CHUNK) * s.K;

    own = own < n ? pairs.expert(first * s.K + own) : -1;
    for (int e = (int)threadIdx.x; e < s.E; e += (int)blockDim.x)
        masks[e] = 0;
    __syncthreads();
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) {
        int e = i < (int)blockDim.x ? own : pairs.expert(first * s.K + i);
        if (e >= 0)
            atomicOr(&masks[e], 1ull << i / s.K);
    }
    __syncthreads();
    return own;
}

/* Rows of a chunk's experts, where another kernel will place them. */
static __device__ void sy_sort_count(const struct sy_sort &s, int chunk, const unsigned long long *masks)
{
    for (int e = (int)threadIdx.x; e < s.E; e += (int)blockDim.x)
        s.counts[(size_t)chunk * (size_t)s.E + (size_t)e] = __popcll(masks[e]);
}

#endif
