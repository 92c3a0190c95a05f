/* SPDX-License-Identifier: Apache-2.0
 * experts_hopper.cuh - the producing side of experts_hopper.cu: items of work, and the ring of stages that warps fill
 */
#ifndef SY_KERNELS_CUDA_EXPERTS_HOPPER_CUH
#define SY_KERNELS_CUDA_EXPERTS_HOPPER_CUH

#include "cuda/experts.cuh"
#include "cuda/hopper.cuh"

#define WEIGHT_BYTES  (SY_CUDA_STEP_MAX * 2048) /* of a stage */
#define STAGES_MAX    12
#define THREADS       384
#define COPY_WARPS    3
#define COPIES_MAX    ((SY_CUDA_TILE_ROWS / 8 + COPY_WARPS - 1) / COPY_WARPS) /* of 8 rows, by a warp for a stage */
#define STAGING_ROWS  32
#define STAGING_PITCH 144 /* 64 outputs of BF16, and 16 bytes against bank conflicts */
#define STAGING_BYTES (STAGING_ROWS * STAGING_PITCH)

/* What is multiplied, found by the warp that brings the weights and left beside an item's first stage. */
struct item {
    int expert, row, n_rows, panel, n_panels;
};

/* Behind the stages in shared memory. */
struct shared_tail {
    uint8_t staging[2][STAGING_BYTES];
    uint8_t *y[2][SY_CUDA_TILE_ROWS];
    struct item items[STAGES_MAX];
    uint64_t full[STAGES_MAX], empty[STAGES_MAX];
};

#if SY_HAVE_WGMMA

/* ---- items ---- */

/* The tables may have been written by the kernel before the last one, and then be old in this multiprocessor's own cache. */
template <class T> static __device__ __forceinline__ T load_table(const T *at)
{
    T value;

    static_assert(sizeof(T) % 4 == 0, "words");
#pragma unroll
    for (int i = 0; i < (int)(sizeof(T) / 4); i++)
        ((int *)&value)[i] = __ldcg((const int *)at + i);
    return value;
}

/* A launch's part of the schedule. */
struct schedule {
    int panels, step, n_chunks, n_items;
};

static __device__ __forceinline__ struct schedule load_schedule(const struct sy_cuda_group &g)
{
    struct sy_cuda_schedule s = load_table(g.schedule);
    bool down = g.half == SY_DOWN;
    int n_chunks = down ? s.n_chunks[SY_DOWN] : s.n_chunks[SY_GATE_UP];

    return {sy_cuda_group_panels(&g), down ? s.step[SY_DOWN] : s.step[SY_GATE_UP], n_chunks, s.n_tiles * n_chunks};
}

/* Chunks of panels one after the other, and for each of them the tiles that go together. */
static __device__ __forceinline__ struct item find_item(const struct sy_cuda_group &g, const struct schedule &s, int i)
{
    int number = i / s.n_chunks, chunk = i - number * s.n_chunks;
    struct sy_cuda_tile tile = load_table(g.tiles + number);

    if (tile.n_together > 1) {
        int local = i - tile.first * s.n_chunks;
        chunk = local / tile.n_together;
        tile = load_table(g.tiles + tile.first + local % tile.n_together);
    }
    int panel = chunk * s.step, n_panels = s.panels - panel < s.step ? s.panels - panel : s.step;
    return {tile.expert, tile.row, tile.n_rows, panel, n_panels};
}

/* A place in the ring of stages. */
struct place {
    int stage;
    uint32_t parity;
};

static __device__ __forceinline__ void go_on(struct place *at, int n_stages)
{
    if (++at->stage == n_stages) {
        at->stage = 0;
        at->parity ^= 1;
    }
}

/* ---- producers ---- */

/* A panel's block is 2048 bytes, for 8 outputs each 1024. Gate and up come in turn of 8 outputs, so that a warp multiplies
 * both of the same outputs. */
template <enum sy_half HALF>
static __device__ void bring_weights(const struct sy_cuda_group &g, uint8_t *stages, struct shared_tail *tail,
                                     int n_stages)
{
    int lane = (int)threadIdx.x % 32, n_blocks = sy_cuda_blocks(g.k);
    int bytes_of_stage = WEIGHT_BYTES + g.tile_rows * 128;
    size_t panel_bytes = sy_cuda_panel_size(SY_BF16, g.k);
    struct schedule s = load_schedule(g);
    struct place at = {0, 1};

    for (int i = (int)blockIdx.x; i < s.n_items; i += (int)gridDim.x) {
        struct item item = find_item(g, s, i);
        int n_copies = HALF == SY_GATE_UP ? 2 * item.n_panels : item.n_panels;
        int bytes = HALF == SY_GATE_UP ? 1024 : 2048;
        int panel = item.panel + (HALF == SY_GATE_UP ? lane / 4 * 2 + lane % 2 : lane);
        const uint8_t *src = load_table(&g.experts[item.expert].data[HALF]) + (size_t)panel * panel_bytes +
                             (HALF == SY_GATE_UP ? lane / 2 % 2 * 1024 : 0);
        for (int b = 0; b < n_blocks; b++, src += 2048) {
            sy_barrier_wait(&tail->empty[at.stage], at.parity);
            if (lane == 0) {
                if (b == 0)
                    tail->items[at.stage] = item;
                sy_barrier_expect(&tail->full[at.stage], (uint32_t)(item.n_panels * 2048));
            }
            __syncwarp();
            if (lane < n_copies)
                sy_bulk_load(sy_shared(stages + at.stage * bytes_of_stage + lane * bytes), src, (uint32_t)bytes,
                             &tail->full[at.stage]);
            go_on(&at, n_stages);
        }
    }
}

/* 8 inputs from k on of a row whose address is not a multiple of 16, or whose end is near. */
static __device__ uint4 load_piece(const uint8_t *row, int k, int k_end)
{
    union {
        uint4 piece;
        uint16_t numbers[8];
    } u;

    for (int i = 0; i < 8; i++)
        u.numbers[i] = k + i < k_end ? ((const uint16_t *)row)[k + i] : (uint16_t)0;
    return u.piece;
}

/* Row of a tile that a lane copies: of 8 rows a warp takes 4 at once, 128 bytes of each. */
static __device__ __forceinline__ int copied_row(int copy, int warp, int lane)
{
    return (copy / 2 * COPY_WARPS + warp) * 8 + copy % 2 * 4 + lane / 8;
}

static __device__ void bring_rows(const struct sy_cuda_group &g, uint8_t *stages, struct shared_tail *tail,
                                  int n_stages)
{
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32 - 1, piece = lane % 8;
    int bytes_of_stage = WEIGHT_BYTES + g.tile_rows * 128;
    size_t row_bytes = (size_t)g.k * 2;
    bool aligned = g.k % 8 == 0 && (uintptr_t)g.x % 16 == 0;
    struct schedule s = load_schedule(g);
    struct place at = {0, 1};

    for (int i = (int)blockIdx.x; i < s.n_items; i += (int)gridDim.x) {
        struct item item = find_item(g, s, i);
        uint32_t rows[2 * COPIES_MAX];
#pragma unroll
        for (int c = 0; c < 2 * COPIES_MAX; c++) {
            int r = copied_row(c, warp, lane);
            rows[c] = r < item.n_rows ? (uint32_t)(item.row + r) : 0;
            if (r < item.n_rows && g.x_rows)
                rows[c] = g.x_rows[rows[c]];
        }
        for (int b = 0; b * SY_CUDA_BLOCK < g.k; b++) {
            int k = b * SY_CUDA_BLOCK + piece * 8, left = (g.k - k) * 2;
            uint32_t bytes = left >= 16 ? 16u : left > 0 ? (uint32_t)left : 0u;
            const uint8_t *x = g.x + (bytes ? (size_t)k * 2 : 0);
            uint8_t *dst = stages + at.stage * bytes_of_stage + WEIGHT_BYTES;
            sy_barrier_wait(&tail->empty[at.stage], at.parity);
#pragma unroll
            for (int c = 0; c < 2 * COPIES_MAX; c++) {
                int r = copied_row(c, warp, lane);
                if (r >= item.n_rows)
                    continue;
                uint8_t *to = dst + r * 128 + (piece ^ r % 8) * 16;
                asm volatile("" : "+r"(rows[c])); /* numbers stay in registers, addresses would not fit */
                if (aligned)
                    sy_copy_16(sy_shared(to), x + rows[c] * row_bytes, bytes);
                else
                    *(uint4 *)to = load_piece(g.x + rows[c] * row_bytes, k, g.k);
            }
            if (aligned) {
                sy_barrier_arrive_copies(&tail->full[at.stage]);
            } else {
                sy_fence_proxy();
                sy_barrier_arrive(&tail->full[at.stage]);
            }
            go_on(&at, n_stages);
        }
    }
}

#endif
#endif
