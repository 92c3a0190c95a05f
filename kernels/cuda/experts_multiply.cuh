/* SPDX-License-Identifier: Apache-2.0
 * experts_multiply.cuh - the multiplying side of experts_hopper.cu and experts_both.cu: a warpgroup's part of an item
 */
#ifndef SY_KERNELS_CUDA_EXPERTS_MULTIPLY_CUH
#define SY_KERNELS_CUDA_EXPERTS_MULTIPLY_CUH

#include <cuda_bf16.h>

#include "cuda/experts_hopper.cuh"

#if SY_HAVE_WGMMA

/* A warpgroup's view: which of them it is, and its thread's place. */
template <bool MANY> struct consumer {
    int group, thread, warp, lane;
    struct ring ring;
    uint8_t *stages;
    struct shared_tail<MANY> *tail;
    struct place at;
};

template <bool MANY> static __device__ __forceinline__ void release(struct consumer<MANY> *c, int stage)
{
    if (kind<MANY>::CLUSTER > 1) {
        if (c->lane < kind<MANY>::CLUSTER)
            sy_barrier_arrive_at(&c->tail->empty[stage], c->lane);
    } else if (c->lane == 0) {
        sy_barrier_arrive(&c->tail->empty[stage]);
    }
}

/* sums = the warpgroup's 64 outputs of an item, by N rows. */
template <int N, bool MANY>
static __device__ __forceinline__ void sum_up(struct consumer<MANY> *c, int n_blocks,
                                              float (&sums)[kind<MANY>::ROWS_MAX / 2])
{
    int before = 0;

    /* The first product overwrites them, which the compiler does not know. */
#pragma unroll
    for (int i = 0; i < N / 2; i++)
        sums[i] = 0.0f;
#pragma unroll 1
    for (int b = 0; b < n_blocks; b++) {
        uint32_t at = sy_shared(c->stages + c->at.stage * c->ring.bytes);
        uint64_t weights = sy_operand_atoms(at + (uint32_t)c->group * 8192, 1024);
        uint64_t rows = sy_operand_swizzled(at + kind<MANY>::WEIGHTS);
        sy_barrier_wait(&c->tail->full[c->at.stage], c->at.parity);
        sy_wgmma_begin();
#pragma unroll
        for (int step = 0; step < 4; step++)
            sy_wgmma<N>::run(sums, weights + (uint64_t)(step * 16), rows + (uint64_t)(step * 2), b + step);
        sy_wgmma_commit();
        if (b) {
            sy_wgmma_wait<1>();
            release(c, before);
        }
        before = c->at.stage;
        go_on(&c->at, c->ring.n_stages);
    }
    sy_wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < N / 2; i++)
        asm volatile("" : "+f"(sums[i])::"memory");
    release(c, before);
}

/* By the least N that has place for n_rows. */
template <int N, bool MANY>
static __device__ __forceinline__ void sum_rows(struct consumer<MANY> *c, int n_rows, int n_blocks,
                                                float (&sums)[kind<MANY>::ROWS_MAX / 2])
{
    if constexpr (N < kind<MANY>::ROWS_MAX) {
        if (n_rows > N) {
            sum_rows<MANY ? N + 16 : N * 2, MANY>(c, n_rows, n_blocks, sums);
            return;
        }
    }
    sum_up<N, MANY>(c, n_blocks, sums);
}

/* part = the sums of a batch of rows; of rows beyond N whatever is there, for nothing of them is stored. What becomes of
 * them is the same code for all batches, whatever N was: an item's instructions, all of which run once, have to stay in the
 * multiprocessor's cache. */
template <int I, int N_PART, int N_SUMS>
static __device__ __forceinline__ void take_part(const float (&sums)[N_SUMS], int batch, float (&part)[N_PART])
{
    if constexpr ((I + 1) * N_PART < N_SUMS) {
        if (batch != I) {
            take_part<I + 1, N_PART>(sums, batch, part);
            return;
        }
    }
#pragma unroll
    for (int i = 0; i < N_PART; i++)
        part[i] = sums[I * N_PART + i];
}

/* Where the 8 outputs of piece i of a warpgroup are among those of its item; of gate and up a piece is made of both. */
static __device__ __forceinline__ int piece_output(bool down, int group, int i)
{
    return group * (down ? 64 : 32) + i * 8;
}

static __device__ __forceinline__ uint32_t bf16_pair(float a, float b)
{
    __nv_bfloat162 both = __floats2bfloat162_rn(a, b);

    return *(uint32_t *)&both;
}

/* Four 8x8 matrices of BF16, transposed: lane l says where row l % 8 of matrix l / 8 goes. */
static __device__ __forceinline__ void store_transposed(uint8_t *at, const uint32_t (&m)[4])
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(sy_shared(at)),
                 "r"(m[0]), "r"(m[1]), "r"(m[2]), "r"(m[3])
                 : "memory");
}

/* Outputs n .. n + 7 of a row from shared memory, those there are. */
static __device__ __forceinline__ void store_piece(uint8_t *row, int n, int n_end, const uint8_t *from)
{
    uint8_t *to = row + (size_t)n * 2;

    if (n + 8 <= n_end && (uintptr_t)to % 16 == 0) {
        *(uint4 *)to = *(const uint4 *)from;
        return;
    }
    for (int i = 0; i < 8 && n + i < n_end; i++)
        ((uint16_t *)to)[i] = ((const uint16_t *)from)[i];
}

/* Bias of the thread's two rows of outputs: gate's and up's of one, or two outputs of down. */
struct biases {
    float low, high;
};

template <bool MANY>
static __device__ __forceinline__ struct biases
load_biases(const struct sy_cuda_group &g, const struct consumer<MANY> *c, const float *bias, bool down, int n)
{
    struct biases b = {0.0f, 0.0f};
    int low = n + piece_output(down, c->group, c->warp * (down ? 2 : 1)) + c->lane / 4;
    int high = low + (down ? 8 : g.n);

    if (bias && low < g.n) {
        b.low = bias[low];
        if (!down || high < g.n)
            b.high = bias[high];
    }
    return b;
}

/* A warp's 8 outputs of gate and up for N rows as BF16: [row][8]. What is done to a number does not wait for another one, so
 * that many are on the way at once. */
template <int N>
static __device__ __forceinline__ void stage_gated(const struct sy_glu &glu, uint8_t *staging, float (&sums)[N / 2],
                                                   struct biases bias)
{
    float alpha = glu.limit > 0.0f ? glu.alpha : 1.0f;

#pragma unroll
    for (int i = 0; i < N / 2; i++)
        sums[i] += i % 4 < 2 ? bias.low : bias.high;
    if (glu.limit > 0.0f) {
#pragma unroll
        for (int i = 0; i < N / 2; i += 4) {
            sy_cuda_limit(glu, &sums[i], &sums[i + 2]);
            sy_cuda_limit(glu, &sums[i + 1], &sums[i + 3]);
        }
    }
#pragma unroll
    for (int i = 0; i < N / 8; i += 4) {
        uint32_t m[4];
#pragma unroll
        for (int j = i; j < i + 4; j++)
            m[j - i] = bf16_pair(sy_cuda_swish<true>(alpha, sums[4 * j], sums[4 * j + 2]),
                                 sy_cuda_swish<true>(alpha, sums[4 * j + 1], sums[4 * j + 3]));
        store_transposed(staging + i * 128, m);
    }
}

/* Outputs n .. of gate and up for the tile's rows as BF16: a warp turns its own over in shared memory. whole: rows' addresses
 * are multiples of 16. */
template <bool MANY>
static __device__ __forceinline__ void
store_gated(const struct sy_cuda_group &g, const struct consumer<MANY> *c, int n_rows, int n, int n_end,
            const float (&sums)[kind<MANY>::ROWS_MAX / 2], struct biases bias, bool whole)
{
    typedef kind<MANY> K;
    uint8_t *own = c->tail->staging[c->group] + c->warp * (K::BATCH * 16) + c->lane * 16;
    uint8_t *const *y = c->tail->y[c->group] + c->lane;
    int at = n + piece_output(false, c->group, c->warp), left = at < n_end ? n_rows - c->lane : 0;

    whole = whole && at + 8 <= n_end;
#pragma unroll 1
    for (int first = 0; first < n_rows; first += K::BATCH) {
        float part[K::BATCH / 2];
        take_part<0>(sums, first / K::BATCH, part);
        stage_gated<K::BATCH>(g.glu, own, part, bias);
        __syncwarp();
        if (whole) {
#pragma unroll
            for (int i = 0; i < K::BATCH; i += 32)
                if (first + i < left)
                    *(uint4 *)(y[first + i] + (size_t)at * 2) = *(const uint4 *)(own + i * 16);
        } else {
#pragma unroll 1
            for (int i = 0; i < K::BATCH && first + i < left; i += 32)
                store_piece(y[first + i], at, n_end, own + i * 16);
        }
        __syncwarp();
    }
}

/* Down's outputs n .. of the tile's rows as BF16: a warpgroup's 64 outputs meet in shared memory, so that a row gets 128 bytes
 * at once, which matters most where it is another GPU's. whole: rows' addresses are multiples of 16. */
template <bool MANY>
static __device__ __forceinline__ void
store_bf16(const struct sy_cuda_group &g, const struct consumer<MANY> *c, int n_rows, int n, int n_end,
           const float (&sums)[kind<MANY>::ROWS_MAX / 2], struct biases bias, bool whole)
{
    typedef kind<MANY> K;
    const int at = n + piece_output(true, c->group, 0);
    uint8_t *const *y = c->tail->y[c->group];
    int to = (c->lane / 16 * 8 + c->lane % 8) * STAGING_PITCH + c->warp * 32 + c->lane / 8 % 2 * 16;

    whole = whole && at + 64 <= n_end;
#pragma unroll 1
    for (int first = 0; first < n_rows; first += STAGING_ROWS) {
        uint8_t *buffer = c->tail->staging[c->group] + first / STAGING_ROWS % K::STAGINGS * STAGING_BYTES;
        float part[STAGING_ROWS / 2];
        take_part<0>(sums, first / STAGING_ROWS, part);
#pragma unroll
        for (int i = 0; i < STAGING_ROWS / 8; i += 2) {
            uint32_t m[4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                int from = 4 * (i + j / 2) + j % 2 * 2;
                float b = j % 2 ? bias.high : bias.low;
                m[j] = bf16_pair(part[from] + b, part[from + 1] + b);
            }
            store_transposed(buffer + i * 8 * STAGING_PITCH + to, m);
        }
        sy_sync_some(1 + c->group, 128);
        if (whole) {
#pragma unroll
            for (int i = 0; i < STAGING_ROWS; i += 16) {
                int row = c->thread / 8 + i, piece = c->thread % 8 * 16;
                const uint4 *from = (const uint4 *)(buffer + row * STAGING_PITCH + piece);
                if (first + row < n_rows)
                    *(uint4 *)(y[first + row] + (size_t)at * 2 + piece) = *from;
            }
        } else {
#pragma unroll 1
            for (int i = c->thread; i < STAGING_ROWS * 8; i += 128)
                if (first + i / 8 < n_rows && at + i % 8 * 8 < n_end)
                    store_piece(y[first + i / 8], at + i % 8 * 8, n_end, buffer + i / 8 * STAGING_PITCH + i % 8 * 16);
        }
        __syncwarp();
    }
}

/* Outputs n .. of the tile's rows as floats (down alone). */
template <bool MANY>
static __device__ __forceinline__ void store_f32(const struct sy_cuda_group &g, const struct consumer<MANY> *c,
                                                 int n_rows, int n, int n_end,
                                                 const float (&sums)[kind<MANY>::ROWS_MAX / 2], struct biases bias)
{
    int low = n + piece_output(true, c->group, c->warp * 2) + c->lane / 4;
    int high = n + piece_output(true, c->group, c->warp * 2 + 1) + c->lane / 4;

#pragma unroll 1
    for (int first = 0; first < n_rows; first += STAGING_ROWS) {
        float part[STAGING_ROWS / 2];
        take_part<0>(sums, first / STAGING_ROWS, part);
#pragma unroll
        for (int i = 0; i < STAGING_ROWS / 2; i++) {
            int row = first + i / 4 * 8 + c->lane % 4 * 2 + i % 2, output = i % 4 / 2 ? high : low;
            if (row < n_rows && output < n_end)
                ((float *)c->tail->y[c->group][row])[output] = part[i] + (i % 4 / 2 ? bias.high : bias.low);
        }
    }
}

/* A warpgroup's part of an item. HALF: SY_N_HALVES where the item knows. */
template <int HALF, bool MANY>
static __device__ __forceinline__ void multiply(const struct sy_cuda_group &g, struct consumer<MANY> *c,
                                                const struct item &item)
{
    typedef kind<MANY> K;
    const int EACH = (K::ROWS_MAX + 127) / 128;
    const bool down = (HALF == SY_N_HALVES ? item.half : HALF) == SY_DOWN;
    int of_panel = down ? SY_PANEL : SY_PANEL / 2, n = item.panel * of_panel, n_end = n + item.n_panels * of_panel;
    float sums[K::ROWS_MAX / 2];
    struct biases bias = load_biases(g, c, g.experts[item.expert].bias[down ? SY_DOWN : SY_GATE_UP], down, n);
    uint8_t *y[EACH];
    bool whole = n % 8 == 0;

    n_end = n_end < g.n ? n_end : g.n;
    /* Where the rows go is known by the time that the sums are. */
#pragma unroll
    for (int i = 0; i < EACH; i++)
        y[i] = c->thread + i * 128 < item.n_rows ? sy_cuda_group_row(g, item.row + c->thread + i * 128) : NULL;
    sum_rows<MANY ? 16 : 8, MANY>(c, item.n_rows, sy_cuda_blocks(g.k), sums);
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        if (c->thread + i * 128 < item.n_rows) {
            c->tail->y[c->group][c->thread + i * 128] = y[i];
            whole = whole && (uintptr_t)y[i] % 16 == 0;
        }
    }
    whole = sy_sync_all(1 + c->group, 128, whole);
    if (!down)
        store_gated(g, c, item.n_rows, n, n_end, sums, bias, whole);
    else if (g.y_dtype == SY_F32)
        store_f32(g, c, item.n_rows, n, n_end, sums, bias);
    else
        store_bf16(g, c, item.n_rows, n, n_end, sums, bias, whole);
    sy_sync_some(1 + c->group, 128);
}

#endif
#endif
