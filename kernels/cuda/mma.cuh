/* SPDX-License-Identifier: Apache-2.0
 * mma.cuh - a tile of a product on tensor cores, for every GPU from sm_80 on
 *
 * A block of threads computes BM rows by BN outputs. Rows are BF16, or two BF16 parts (SY_BF16X2: n_parts 2);
 * weights are panels (layout.h) of BF16, or codes that become BF16 with their scales on the way. Both go through shared
 * memory in STAGES stages of KB blocks of 64 inputs, filled by cp.async, as atoms that ldmatrix reads without conflicts.
 *
 * Exactness: an element of the result is one chain of m16n8k16 instructions in order of inputs, first with the first parts
 * of a row, then with the second ones. Tiles of other sizes, and wgmma with operands either way round, give the same bits.
 */
#ifndef SY_KERNELS_CUDA_MMA_CUH
#define SY_KERNELS_CUDA_MMA_CUH

#include "cuda/widen.cuh"

/* ---- instructions ---- */

static __device__ __forceinline__ uint32_t sy_shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* Copy n <= 16 bytes of 16, the rest becomes zero. */
static __device__ __forceinline__ void sy_copy_piece(void *to, const void *from, int n)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sy_shared_address(to)), "l"(from), "r"(n)
                 : "memory");
}

/* One number, or zero. */
static __device__ __forceinline__ void sy_copy_word(float *to, const float *from, bool there)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(sy_shared_address(to)), "l"(from),
                 "r"(there ? 4 : 0)
                 : "memory");
}

static __device__ __forceinline__ void sy_copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int N> static __device__ __forceinline__ void sy_copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* Four 8 by 8 matrices, whose rows are at the addresses of lanes 0-7, 8-15, 16-23 and 24-31. */
static __device__ __forceinline__ void sy_load_matrices(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(sy_shared_address(row)));
}

static __device__ __forceinline__ void sy_mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* ---- shapes ---- */

/* Warps stand WM by WN, each with a part of the tile; a stage has KB blocks of inputs. */
template <int BM_, int BN_, int WM_, int WN_, int STAGES_, int KB_> struct sy_mma_shape {
    static constexpr int BM = BM_, BN = BN_, WM = WM_, WN = WN_, STAGES = STAGES_, KB = KB_;
    static constexpr int THREADS = WM * WN * 32;
    static constexpr int MT = BM / WM / 16, NT = BN / WN / 8; /* instructions of a warp along rows and outputs */
    static constexpr int X_BYTES = BM * 128 * KB;             /* of a stage */
    static constexpr int W_BYTES = BN * 128 * KB;
    static_assert(BM % (WM * 16) == 0 && BN % (WN * 16) == 0, "whole instructions");
};

static constexpr __host__ __device__ size_t sy_mma_raw_bytes(enum sy_dtype dtype)
{
    return dtype == SY_BF16 ? 128 : dtype == SY_MXFP4 ? 32 : 64; /* 64 inputs of one output */
}

/* Shared memory of a block: stages of rows and of raw weights, and decoded weights where those are codes. */
template <class S> static constexpr __host__ __device__ size_t sy_mma_shared(enum sy_dtype dtype)
{
    return (size_t)S::STAGES * ((size_t)S::X_BYTES + (size_t)(S::BN * S::KB) * sy_mma_raw_bytes(dtype)) +
           (dtype == SY_BF16 ? 0 : (size_t)S::W_BYTES);
}

/* What a block multiplies. Row i of the tile is row rows[i] of x, or with NULL row i; behind n_rows are zeros. */
struct sy_mma_operands {
    struct sy_weight w;        /* panels */
    int first_panel, n_panels; /* of the tile, in order of data's; at most BN / SY_PANEL */
    const uint16_t *x;
    const uint32_t *rows;
    size_t x_stride, part_stride; /* elements from row to row, and from a row's first part to its second */
    int n_rows, n_parts;
    bool aligned; /* rows begin at, and go on by, multiples of 16 bytes */
};

/* ---- stages ---- */

template <class S>
static __device__ __forceinline__ void sy_mma_stage_rows(const struct sy_mma_operands &o, int block, uint8_t *to)
{
    int n_blocks = sy_cuda_blocks(o.w.k);

    for (int i = (int)threadIdx.x; i < S::BM * 8 * S::KB; i += S::THREADS) {
        /* Neighbours take pieces of one row, which are together in memory. */
        int piece = i % 8, row = i / 8 % S::BM, kb = i / 8 / S::BM, b = block + kb;
        int part = b / n_blocks, k = b % n_blocks * SY_CUDA_BLOCK + piece * 8;
        uint8_t *at = to + kb * (S::BM * 128) + (row / 8 * 8 + piece) * 128 + row % 8 * 16;
        int n = row < o.n_rows && part < o.n_parts ? o.w.k - k : 0;
        size_t from_row = o.rows && n > 0 ? o.rows[row] : (size_t)row;
        const uint16_t *from = o.x + (n > 0 ? from_row * o.x_stride + (size_t)part * o.part_stride + (size_t)k : 0);
        n = n < 0 ? 0 : n > 8 ? 8 : n;
        if (o.aligned) {
            sy_copy_piece(at, from, n * 2);
            continue;
        }
        for (int e = 0; e < 8; e++)
            ((uint16_t *)at)[e] = e < n ? from[e] : 0;
    }
}

template <class S, enum sy_dtype W>
static __device__ __forceinline__ void sy_mma_stage_weights(const struct sy_mma_operands &o, int block, uint8_t *to)
{
    /* A block of a panel: 16 outputs of 64 inputs, one run of memory. */
    constexpr int RUN = (int)sy_mma_raw_bytes(W) * SY_PANEL;
    size_t panel = sy_cuda_panel_size(W, o.w.k);
    int n_blocks = sy_cuda_blocks(o.w.k);

    for (int i = (int)threadIdx.x; i < S::BN / SY_PANEL * S::KB * (RUN / 16); i += S::THREADS) {
        int at = i % (RUN / 16), kb = i / (RUN / 16) % S::KB, p = i / (RUN / 16) / S::KB, b = block + kb;
        bool there = p < o.n_panels && b < n_blocks * o.n_parts;
        const uint8_t *from = (const uint8_t *)o.w.data;
        if (there)
            from += (size_t)(o.first_panel + p) * panel + (size_t)(b % n_blocks) * RUN + (size_t)at * 16;
        sy_copy_piece(to + (kb * (S::BN / SY_PANEL) + p) * RUN + at * 16, from, there ? 16 : 0);
    }
}

/* Inputs of the 16 bytes of codes that are made BF16 at once. */
static constexpr __host__ __device__ int sy_mma_codes(enum sy_dtype dtype)
{
    return dtype == SY_MXFP4 ? 32 : 16;
}

/* A piece of codes to BF16, each times its scale in FP32, then rounded once: of output n of a panel, inputs k .., of which
 * those of a block are one atom, [pieces][8][16 bytes]. `there`: not all of it is padding. */
template <enum sy_dtype W>
static __device__ __forceinline__ void sy_mma_decode_piece(const struct sy_weight &w, int panel, int n, int k,
                                                           bool there, const uint8_t *raw, uint8_t *atom)
{
    int n_scales = (w.k - 1) / w.scale_block + 1;
    size_t at = (size_t)(panel * n_scales + k / w.scale_block) * SY_PANEL + (size_t)n;
    const uint4 codes = *(const uint4 *)raw;
    const uint8_t *code = (const uint8_t *)&codes;
    float scale = 0.0f;

    if (there)
        scale = W == SY_MXFP4 ? sy_widen_e8m0(((const uint8_t *)w.scales)[at]) : ((const float *)w.scales)[at];
#pragma unroll
    for (int half = 0; half < sy_mma_codes(W) / 8; half++) {
        uint16_t wide[8];
#pragma unroll
        for (int e = 0; e < 8; e++)
            wide[e] = sy_narrow_bf16(__fmul_rn(sy_widen(W, code, (size_t)(half * 8 + e)), scale));
        *(uint4 *)(atom + (k % SY_CUDA_BLOCK / 8 + half) * 128 + n % 8 * 16) = *(const uint4 *)wide;
    }
}

template <class S, enum sy_dtype W>
static __device__ __forceinline__ void sy_mma_decode(const struct sy_mma_operands &o, int block, const uint8_t *raw,
                                                     uint8_t *to)
{
    constexpr int PIECES = SY_CUDA_BLOCK / sy_mma_codes(W);
    int n_blocks = sy_cuda_blocks(o.w.k);

    for (int i = (int)threadIdx.x; i < S::BN * S::KB * PIECES; i += S::THREADS) {
        int row = i % 8, piece = i / 8 % PIECES, atom = i / 8 / PIECES, p = atom / 2 % (S::BN / SY_PANEL);
        int kb = atom / 2 / (S::BN / SY_PANEL);
        int k = (block + kb) % n_blocks * SY_CUDA_BLOCK + piece * sy_mma_codes(W);
        sy_mma_decode_piece<W>(o.w, o.first_panel + p, atom % 2 * 8 + row, k, p < o.n_panels && k < o.w.k,
                               raw + (atom * PIECES + piece) * 128 + row * 16, to + atom * 1024);
    }
}

/* ---- the product ---- */

/* acc[m][n] are the four results of a thread in rows m * 16 + lane / 4 (0, 1) and + 8 (2, 3) of its warp's part, outputs
 * n * 8 + lane % 4 * 2 and the next one. shared: sy_mma_shared() bytes. All threads of the block call it. */
template <class S, enum sy_dtype W>
static __device__ __forceinline__ void sy_mma_tile(const struct sy_mma_operands &o, uint8_t *shared,
                                                   float (&acc)[S::MT][S::NT][4])
{
    constexpr int RAW = S::BN * S::KB * (int)sy_mma_raw_bytes(W), STAGE = S::X_BYTES + RAW;
    uint8_t *decoded = shared + S::STAGES * STAGE;
    int n_steps = (sy_cuda_blocks(o.w.k) * o.n_parts + S::KB - 1) / S::KB;
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, wm = warp % S::WM, wn = warp / S::WM;

    for (int m = 0; m < S::MT; m++)
        for (int n = 0; n < S::NT; n++)
            for (int i = 0; i < 4; i++)
                acc[m][n][i] = 0.0f;
    for (int s = 0; s < S::STAGES - 1; s++) {
        if (s < n_steps) {
            sy_mma_stage_rows<S>(o, s * S::KB, shared + s * STAGE);
            sy_mma_stage_weights<S, W>(o, s * S::KB, shared + s * STAGE + S::X_BYTES);
        }
        sy_copy_commit();
    }
    for (int step = 0; step < n_steps; step++) {
        const uint8_t *stage = shared + step % S::STAGES * STAGE, *weights = stage + S::X_BYTES;
        sy_copy_wait<S::STAGES - 2>();
        __syncthreads();
        int next = step + S::STAGES - 1;
        if (next < n_steps) {
            uint8_t *to = shared + next % S::STAGES * STAGE;
            sy_mma_stage_rows<S>(o, next * S::KB, to);
            sy_mma_stage_weights<S, W>(o, next * S::KB, to + S::X_BYTES);
        }
        sy_copy_commit();
        if (W != SY_BF16) {
            sy_mma_decode<S, W>(o, step * S::KB, weights, decoded);
            weights = decoded;
            __syncthreads();
        }
#pragma unroll
        for (int k = 0; k < 4 * S::KB; k++) {
            const uint8_t *xs = stage + k / 4 * (S::BM * 128), *ws = weights + k / 4 * (S::BN * 128);
            int piece = k % 4 * 2;
            uint32_t a[S::MT][4], b[S::NT / 2][4];
            /* Matrices: rows 0-7 and 8-15 of the first eight inputs, then of the others. */
#pragma unroll
            for (int m = 0; m < S::MT; m++) {
                int group = (wm * S::MT + m) * 2 + lane / 8 % 2;
                sy_load_matrices(a[m], xs + (group * 8 + piece + lane / 16) * 128 + lane % 8 * 16);
            }
            /* Outputs 0-7 of both halves of the inputs, then outputs 8-15. */
#pragma unroll
            for (int n = 0; n < S::NT / 2; n++) {
                int group = (wn * S::NT / 2 + n) * 2 + lane / 16;
                sy_load_matrices(b[n], ws + (group * 8 + piece + lane / 8 % 2) * 128 + lane % 8 * 16);
            }
#pragma unroll
            for (int m = 0; m < S::MT; m++)
#pragma unroll
                for (int n = 0; n < S::NT; n++)
                    sy_mma(acc[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
        }
        /* Decoded weights are overwritten next. */
        if (W != SY_BF16)
            __syncthreads();
    }
    sy_copy_wait<0>();
}

#endif
