/* SPDX-License-Identifier: Apache-2.0
 * attention.cuh - what the kernels of attention share, and attention on tensor cores in pieces
 *
 * The fast kernels take a cache of BF16 and queries that are BF16 numbers. Keys and values of some positions lie in shared
 * memory as rows of D dims, a multiple of 64, filled up with zeros; piece p of row r, 16 bytes, is at p ^ r % 8, which
 * ldmatrix reads without conflicts. Scores are products of queries (rows of a tensor core's tile) and keys, and stay in
 * registers, where they become the weights that multiply the values (Dao, FlashAttention-2, 2023).
 *
 * A row of a tile is one head of one row of the batch. What it gets comes from its own row of each instruction and from keys
 * in blocks that begin at fixed positions of the sequence, so it is the same bits in any tile: a key that it does not see
 * has weight 0, and a block of such keys changes nothing.
 */
#ifndef SY_KERNELS_CUDA_ATTENTION_CUH
#define SY_KERNELS_CUDA_ATTENTION_CUH

#include <math_constants.h>

#include "cuda/mma.cuh"

#define SY_LOG2E 1.4426950408889634f

/* Launch a fast kernel: of generated tokens; of prompts; of prompts by wgmma, which gives the same bits. False: it does not
 * take such heads, or this GPU has no wgmma. */
bool sy_cuda_attention_decode(struct sy_queue *q, const struct sy_attention *a);
bool sy_cuda_attention_prompt(struct sy_queue *q, const struct sy_attention *a);
bool sy_cuda_attention_hopper(struct sy_queue *q, const struct sy_attention *a);

/* ---- keys ---- */

#define SY_PART_KEYS 256 /* of a part of a generated token's keys, at least */
#define SY_PARTS_MAX 64

/* Keys of a part of a row at this position: so many that it has at most SY_PARTS_MAX. */
static __host__ __device__ __forceinline__ int sy_part_keys(int position)
{
    int n = SY_PART_KEYS;

    while (position / n >= SY_PARTS_MAX)
        n *= 2;
    return n;
}

static __device__ __forceinline__ int sy_first_key(const struct sy_attention &a, int last)
{
    return a.window > 0 && last >= a.window ? last - a.window + 1 : 0;
}

/* ---- shared memory ---- */

template <int D> static __device__ __forceinline__ uint8_t *sy_row_piece(uint8_t *rows, int row, int piece)
{
    return rows + row * (D * 2) + (piece ^ (row & 7)) * 16;
}

/* Copy one piece of a key or value of `dim` dims; what is not `there` becomes zero. */
template <int D>
static __device__ __forceinline__ void sy_load_piece(uint8_t *rows, int row, int piece, const uint16_t *from, int dim,
                                                     bool there)
{
    int n = there ? dim - piece * 8 : 0;

    n = n < 0 ? 0 : n > 8 ? 8 : n;
    sy_copy_piece(sy_row_piece<D>(rows, row, piece), n ? from + piece * 8 : from, n * 2);
}

/* To nearest; a NaN stays one. */
static __device__ __forceinline__ uint32_t sy_pack_bf16(float low, float high)
{
    uint32_t both;

    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

/* Eight queries, of which those behind dim become zero, as one piece. */
static __device__ __forceinline__ uint4 sy_query_piece(const float *q, int piece, int dim)
{
    float x[8];

    q += piece * 8;
    if (piece * 8 + 8 <= dim && (uintptr_t)q % 16 == 0) {
        *(float4 *)x = *(const float4 *)q;
        *(float4 *)(x + 4) = *(const float4 *)(q + 4);
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++)
            x[i] = piece * 8 + i < dim ? q[i] : 0.0f;
    }
    return make_uint4(sy_pack_bf16(x[0], x[1]), sy_pack_bf16(x[2], x[3]), sy_pack_bf16(x[4], x[5]),
                      sy_pack_bf16(x[6], x[7]));
}

/* ---- instructions ---- */

/* Four 8 by 8 matrices as sy_load_matrices(), each transposed. */
static __device__ __forceinline__ void sy_load_transposed(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(sy_shared_address(row)));
}

/* 2^x, to 2^-22 of itself. */
static __device__ __forceinline__ float sy_exp2(float x)
{
    float y;

    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* ---- softmax ---- */

/* What a thread has of MT tiles of 16 rows, of which it has rows lane / 4 and that plus 8: largest scores times `scale`,
 * its own share of the sums of weights, and dims 8 n + 2 (lane % 4) and the next of the weighted values. */
template <int MT, int D> struct sy_softmax {
    float largest[MT][2], sum[MT][2], out[MT][D / 8][4];
};

template <int MT, int D> static __device__ __forceinline__ void sy_softmax_begin(struct sy_softmax<MT, D> *s)
{
#pragma unroll
    for (int m = 0; m < MT; m++) {
        s->largest[m][0] = s->largest[m][1] = -CUDART_INF_F;
        s->sum[m][0] = s->sum[m][1] = 0.0f;
#pragma unroll
        for (int n = 0; n < D / 8; n++)
            s->out[m][n][0] = s->out[m][n][1] = s->out[m][n][2] = s->out[m][n][3] = 0.0f;
    }
}

/* What a row does not see, or is not first .. last, gets the score -inf. position: of the thread's rows, -1 where
 * there is none; key: the first of the thread's. */
template <int MT, int N>
static __device__ __forceinline__ void sy_hide(const struct sy_attention &a, const int (&position)[MT][2], int first,
                                               int last, int key, float (&score)[MT][N][4])
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int from = max(first, sy_first_key(a, position[m][i])), to = min(last, position[m][i]);
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    int at = key + n * 8 + j;
                    if (at < from || at > to)
                        score[m][n][2 * i + j] = -CUDART_INF_F;
                }
        }
}

/* score of N tiles of 8 keys (-inf: not seen) become weights; what is there is taken to the new largest score. */
template <int MT, int D, int N>
static __device__ __forceinline__ void sy_softmax_weights(struct sy_softmax<MT, D> *s, float (&score)[MT][N][4],
                                                          float scale)
{
#pragma unroll
    for (int m = 0; m < MT; m++) {
        float keep[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float most = fmaxf(score[m][0][2 * i], score[m][0][2 * i + 1]);
#pragma unroll
            for (int n = 1; n < N; n++)
                most = fmaxf(most, fmaxf(score[m][n][2 * i], score[m][n][2 * i + 1]));
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
            most = fmaxf(__fmul_rn(most, scale), s->largest[m][i]);
            /* While nothing is seen, weights must be 0, not NaN. */
            float from = most == -CUDART_INF_F ? 0.0f : most, sum = 0.0f;
            keep[i] = sy_exp2(__fsub_rn(s->largest[m][i], from));
            s->largest[m][i] = most;
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int j = 2 * i; j < 2 * i + 2; j++) {
                    score[m][n][j] = sy_exp2(__fmaf_rn(score[m][n][j], scale, -from));
                    sum = __fadd_rn(sum, score[m][n][j]);
                }
            s->sum[m][i] = __fmaf_rn(s->sum[m][i], keep[i], sum);
        }
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                s->out[m][n][j] = __fmul_rn(s->out[m][n][j], keep[j / 2]);
    }
}

/* The sums of the four threads that share a row. */
template <int MT, int D> static __device__ __forceinline__ void sy_softmax_sum(struct sy_softmax<MT, D> *s)
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            s->sum[m][i] = __fadd_rn(s->sum[m][i], __shfl_xor_sync(0xffffffffu, s->sum[m][i], 1));
            s->sum[m][i] = __fadd_rn(s->sum[m][i], __shfl_xor_sync(0xffffffffu, s->sum[m][i], 2));
        }
}

/* ---- products: of a warp, with all of its lanes ---- */

/* scores += 16 dims of the queries (a, dims 16 k ..) times those of 8 N keys, rows of shared memory. */
template <int MT, int D, int N>
static __device__ __forceinline__ void sy_score_step(float (&score)[MT][N][4], const uint32_t (&a)[MT][4],
                                                     uint8_t *keys, int k)
{
    int lane = (int)threadIdx.x % 32;

#pragma unroll
    for (int n = 0; n < N / 2; n++) {
        uint32_t b[4];
        /* Keys 0-7 with both halves of the dims, then keys 8-15. */
        sy_load_matrices(b, sy_row_piece<D>(keys, n * 16 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
#pragma unroll
        for (int m = 0; m < MT; m++) {
            sy_mma(score[m][2 * n], a[m], b[0], b[1]);
            sy_mma(score[m][2 * n + 1], a[m], b[2], b[3]);
        }
    }
}

/* out += weights, rounded to BF16, times the values of 8 N keys. */
template <int MT, int D, int N>
static __device__ __forceinline__ void sy_value_steps(struct sy_softmax<MT, D> *s, const float (&weight)[MT][N][4],
                                                      uint8_t *values)
{
    int lane = (int)threadIdx.x % 32;

#pragma unroll
    for (int k = 0; k < N / 2; k++) {
        uint32_t a[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[m][i] = sy_pack_bf16(weight[m][2 * k + i / 2][i % 2 * 2], weight[m][2 * k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int n = 0; n < D / 16; n++) {
            uint32_t b[4];
            /* Keys 0-7 and 8-15 of eight dims, then of the next eight. */
            sy_load_transposed(b, sy_row_piece<D>(values, k * 16 + lane % 16, n * 2 + lane / 16));
#pragma unroll
            for (int m = 0; m < MT; m++) {
                sy_mma(s->out[m][2 * n], a[m], b[0], b[1]);
                sy_mma(s->out[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

#endif
