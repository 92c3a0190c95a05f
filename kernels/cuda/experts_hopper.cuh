/* SPDX-License-Identifier: Apache-2.0
 * experts_hopper.cuh - the producing side of experts_hopper.cu: items of work, and the ring of stages that warps fill
 */
#ifndef SY_KERNELS_CUDA_EXPERTS_HOPPER_CUH
#define SY_KERNELS_CUDA_EXPERTS_HOPPER_CUH

#include "cuda/experts.cuh"
#include "cuda/hopper.cuh"

#define WEIGHT_BYTES  (SY_CUDA_STEP_MAX * 2048) /* of a block of inputs */
#define STAGES_MAX    8
#define THREADS       384 /* warps 0 .. 3 bring weights and rows, the others multiply */
#define COPY_WARPS    4
#define COPIES_MAX    ((SY_CUDA_TILE_ROWS / 8 + COPY_WARPS - 1) / COPY_WARPS) /* of 8 rows, by a warp for a block */
#define STAGING_ROWS  32
#define STAGING_PITCH 144 /* 64 outputs of BF16, and 16 bytes against bank conflicts */
#define STAGING_BYTES (STAGING_ROWS * STAGING_PITCH)

/* A stage has 1 or 2 blocks of 64 inputs: of up to 8 panels [panel][block][2 atoms], then of the rows [block][row][64]. */
struct ring {
    int n_stages, n_blocks, bytes;
};

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

/* Tables are read once: past the multiprocessor's own cache. */
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

static __device__ __forceinline__ uint32_t source_row(const struct sy_cuda_group &g, const struct item &item, int r)
{
    return g.x_rows ? g.x_rows[item.row + r] : (uint32_t)(item.row + r);
}

/* Where the rows of a lane are, and which of its copies there are. */
struct copies {
    uint32_t from[2 * COPIES_MAX]; /* pieces of 16 bytes from x on */
    uint32_t there;                /* bits */
};

static __device__ __forceinline__ void find_rows(const struct sy_cuda_group &g, const struct item &item, int warp,
                                                 struct copies *copies)
{
    copies->there = 0;
#pragma unroll
    for (int c = 0; c < 2 * COPIES_MAX; c++) {
        int r = copied_row(c, warp, (int)threadIdx.x % 32);
        bool there = r < item.n_rows;
        copies->from[c] = there ? source_row(g, item, r) * (uint32_t)(g.k / 8) : 0;
        copies->there |= (uint32_t)there << c;
    }
}

/* The lane's pieces of one block of inputs. */
static __device__ __forceinline__ void copy_block(const struct sy_cuda_group &g, const struct copies &copies, int block,
                                                  int warp, uint8_t *dst)
{
    int lane = (int)threadIdx.x % 32, piece = lane % 8, k = block * SY_CUDA_BLOCK + piece * 8;
    uint32_t bytes = k < g.k ? 16 : 0;
    const uint8_t *x = g.x + (bytes ? (size_t)k * 2 : 0);
    /* Rows of one lane are 4 apart: two places of its piece in turn. */
    uint32_t even = sy_shared(dst) + (uint32_t)((warp * 8 + lane / 8) * 128 + (piece ^ lane / 8) * 16);
    uint32_t odd = sy_shared(dst) + (uint32_t)((warp * 8 + lane / 8 + 4) * 128 + (piece ^ (lane / 8 + 4)) * 16);

#pragma unroll
    for (int c = 0; c < 2 * COPIES_MAX; c++) {
        if (copies.there >> c & 1)
            sy_copy_16((c % 2 ? odd : even) + (uint32_t)(c / 2 * COPY_WARPS * 1024), x + (size_t)copies.from[c] * 16,
                       bytes);
    }
}

/* The same where rows begin anywhere. */
static __device__ __noinline__ void copy_unaligned(const struct sy_cuda_group &g, const struct item &item, int block,
                                                   int warp, uint8_t *dst)
{
    int lane = (int)threadIdx.x % 32, piece = lane % 8;

    for (int c = 0, r = 0; (r = copied_row(c, warp, lane)) < item.n_rows; c++)
        *(uint4 *)(dst + r * 128 + (piece ^ r % 8) * 16) = load_piece(g.x + source_row(g, item, r) * (size_t)g.k * 2,
                                                                      block * SY_CUDA_BLOCK + piece * 8, g.k);
    sy_fence_proxy();
}

/* Every warp takes every fourth panel, whose blocks of a stage are together in memory, and every fourth 8 rows. It must be
 * all of them: what one warp asks for by bulk copies comes one after the other, at some 10 bytes a cycle. */
static __device__ void bring(const struct sy_cuda_group &g, const struct ring &ring, uint8_t *stages,
                             struct shared_tail *tail)
{
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, n_blocks = sy_cuda_blocks(g.k);
    int p = lane * COPY_WARPS + warp;
    size_t panel_bytes = sy_cuda_panel_size(SY_BF16, g.k);
    bool aligned = g.k % 8 == 0 && (uintptr_t)g.x % 16 == 0;
    struct schedule s = load_schedule(g);
    struct place at = {0, 1};

    for (int i = (int)blockIdx.x; i < s.n_items; i += (int)gridDim.x) {
        struct item item = find_item(g, s, i);
        uint32_t n_panels = (uint32_t)(item.n_panels - warp + COPY_WARPS - 1) / COPY_WARPS;
        const uint8_t *panel = load_table(&g.experts[item.expert].data[g.half]) +
                               (size_t)(item.panel + p) * panel_bytes;
        struct copies copies;
        find_rows(g, item, warp, &copies);
        for (int b = 0; b < n_blocks; b += ring.n_blocks, panel += ring.n_blocks * 2048) {
            uint8_t *weights = stages + at.stage * ring.bytes, *rows = weights + ring.n_blocks * WEIGHT_BYTES;
            uint32_t bytes = (uint32_t)(n_blocks - b < ring.n_blocks ? n_blocks - b : ring.n_blocks) * 2048;
            sy_barrier_wait(&tail->empty[at.stage], at.parity);
            if (lane == 0) {
                if (b == 0 && warp == 0)
                    tail->items[at.stage] = item;
                sy_barrier_expect(&tail->full[at.stage], n_panels * bytes);
            }
            __syncwarp();
            if (p < item.n_panels)
                sy_bulk_load(sy_shared(weights + p * ring.n_blocks * 2048), panel, bytes, &tail->full[at.stage]);
            for (int j = b; j < b + ring.n_blocks && j < n_blocks; j++, rows += g.tile_rows * 128) {
                if (aligned)
                    copy_block(g, copies, j, warp, rows);
                else
                    copy_unaligned(g, item, j, warp, rows);
            }
            if (aligned)
                sy_barrier_arrive_copies(&tail->full[at.stage]);
            else
                sy_barrier_arrive(&tail->full[at.stage]);
            go_on(&at, ring.n_stages);
        }
    }
}

#endif
#endif
