/* SPDX-License-Identifier: Apache-2.0
 * experts_hopper.cuh - the producing side of experts_hopper.cu: items of work, and the ring of stages that a warp fills
 */
#ifndef SY_KERNELS_CUDA_EXPERTS_HOPPER_CUH
#define SY_KERNELS_CUDA_EXPERTS_HOPPER_CUH

#include "cuda/experts.cuh"
#include "cuda/hopper.cuh"
#include "cuda/map.cuh"

#define STAGES_MAX    8
#define STAGING_ROWS  32
#define STAGING_PITCH 144 /* 64 outputs of BF16, and 16 bytes against bank conflicts */
#define STAGING_BYTES (STAGING_ROWS * STAGING_PITCH)

/* What is multiplied, found by the warp that brings it and left beside an item's first stage. */
struct item {
    int expert, row, n_rows, panel, n_panels;
};

/* Few rows to an expert are bound by memory: small blocks of threads, three to a multiprocessor, whose one warpgroup
 * multiplies 4 panels. Many are bound by tensor cores: 8 panels, of which one warpgroup takes the first 8 outputs and one the
 * last. A stage is one block of inputs: of the panels, first atoms and then last ones, and then of the rows [row][64]. */
template <bool MANY> struct kind {
    static constexpr int GROUPS = MANY ? 2 : 1, PANELS = MANY ? 8 : 4, BLOCKS = MANY ? 1 : 3;
    static constexpr int ROWS_MAX = MANY ? SY_CUDA_TILE_ROWS : SY_CUDA_FEW_ROWS;
    static constexpr int BRINGING = MANY ? 128 : 32, THREADS = BRINGING + 128 * GROUPS;
    static constexpr int WEIGHTS = PANELS * 2048, BOX_ROWS = MANY ? 64 : 8, BYTES = (226 / BLOCKS) * 1024;
};

/* Behind the stages in shared memory. */
template <bool MANY> struct shared_tail {
    uint8_t staging[kind<MANY>::GROUPS][STAGING_BYTES];
    uint8_t *y[kind<MANY>::GROUPS][kind<MANY>::ROWS_MAX];
    struct item items[STAGES_MAX];
    uint64_t full[STAGES_MAX], empty[STAGES_MAX];
};

struct ring {
    int n_stages, bytes;
};

#if SY_HAVE_WGMMA

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
struct plan {
    int panels, each, n_chunks, n_items; /* each: panels of an item at most */
};

/* Where gate and up have not an item for every block, half ones keep multiprocessors equally busy: what is multiplied beside
 * their panels is whatever lies there, and goes nowhere. Down's blocks rather begin while those are at work. */
template <bool MANY> static __device__ __forceinline__ struct plan load_plan(const struct sy_cuda_group &g)
{
    int panels = sy_cuda_group_panels(&g), n_tiles = __ldcg(g.n_tiles), each = kind<MANY>::PANELS;

    if (!MANY && g.half == SY_GATE_UP && n_tiles * ((panels + each - 1) / each) < (int)gridDim.x)
        each /= 2;
    int n_chunks = (panels + each - 1) / each;
    return {panels, each, n_chunks, n_tiles * n_chunks};
}

/* Chunks of panels one after the other, and for each of them the tiles that go together. */
template <bool MANY>
static __device__ __forceinline__ struct item find_item(const struct sy_cuda_group &g, const struct plan &p, int i)
{
    int number = i / p.n_chunks, chunk = i - number * p.n_chunks;
    struct sy_cuda_tile tile = load_table(g.tiles + number);

    if (tile.n_together > 1) {
        int local = i - tile.first * p.n_chunks;
        chunk = local / tile.n_together;
        tile = load_table(g.tiles + tile.first + local % tile.n_together);
    }
    int panel = chunk * p.each, left = p.panels - panel;
    return {tile.expert, tile.row, tile.n_rows, panel, left < p.each ? left : p.each};
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

/* What comes to a stage: rows one by one where they are anywhere, else boxes of them, which may end with others' rows. */
template <bool MANY>
static __device__ __forceinline__ int n_boxes(const struct sy_cuda_group &g, const struct item &item)
{
    return g.x_rows ? item.n_rows : (item.n_rows + kind<MANY>::BOX_ROWS - 1) / kind<MANY>::BOX_ROWS;
}

/* Bytes of weights of a stage: whole boxes. */
static __device__ __forceinline__ int weight_bytes(const struct item &item)
{
    return (item.n_panels + SY_CUDA_MAP_PANELS - 1) / SY_CUDA_MAP_PANELS * (SY_CUDA_MAP_PANELS * 2048);
}

template <bool MANY>
static __device__ __forceinline__ void load_weights(const struct sy_cuda_group &g, const struct item &item, int block,
                                                    uint8_t *stage, uint64_t *full)
{
#pragma unroll
    for (int atom = 0; atom < 2; atom++)
#pragma unroll
        for (int p = 0; p < kind<MANY>::PANELS; p += SY_CUDA_MAP_PANELS)
            if (p < item.n_panels)
                sy_load_box(sy_shared(stage + (atom * kind<MANY>::PANELS + p) * 1024),
                            &g.experts[item.expert].maps[g.half], full, 0, 0, atom, block, item.panel + p);
}

/* One warp. What is multiplied is known before the rows are: so many weights as there is room for go first. */
template <bool MANY>
static __device__ void bring(const struct sy_cuda_group &g, const struct ring &ring, const CUtensorMap *x,
                             uint8_t *stages, struct shared_tail<MANY> *tail)
{
    typedef kind<MANY> K;
    int lane = (int)threadIdx.x % 32, n_blocks = sy_cuda_blocks(g.k), early = 0;
    int room = n_blocks < ring.n_stages ? n_blocks : ring.n_stages;
    struct place at = {0, 1};

    if (g.half == SY_GATE_UP)
        sy_wait_for_previous();
    struct plan plan = load_plan<MANY>(g);
    for (int i = (int)blockIdx.x; i < plan.n_items; i += (int)gridDim.x) {
        struct item item = find_item<MANY>(g, plan, i);
        int boxes = n_boxes<MANY>(g, item), box_rows = g.x_rows ? 1 : K::BOX_ROWS;
        uint32_t bytes = (uint32_t)(weight_bytes(item) + boxes * box_rows * 128);
        int from = item.row + lane * box_rows;
        if (g.x_rows && lane < item.n_rows)
            from = (int)g.x_rows[from];
        if (g.new_tables)
            sy_fence_map(&g.experts[item.expert].maps[g.half]);
        for (; i == (int)blockIdx.x && early < room && lane == 0; early++) {
            if (early == 0)
                tail->items[0] = item;
            sy_barrier_expect(&tail->full[early], bytes);
            load_weights<MANY>(g, item, early, stages + early * ring.bytes, &tail->full[early]);
        }
        if (i == (int)blockIdx.x && g.half == SY_DOWN)
            sy_wait_for_previous();
        __syncwarp();
        for (int b = 0; b < n_blocks; b++) {
            uint8_t *stage = stages + at.stage * ring.bytes;
            uint64_t *full = &tail->full[at.stage];
            if (i != (int)blockIdx.x || b >= room) {
                sy_barrier_wait(&tail->empty[at.stage], at.parity);
                if (lane == 0) {
                    if (b == 0)
                        tail->items[at.stage] = item;
                    sy_barrier_expect(full, bytes);
                    load_weights<MANY>(g, item, b, stage, full);
                }
                __syncwarp();
            }
            if (lane < boxes)
                sy_load_box(sy_shared(stage + K::WEIGHTS + lane * box_rows * 128), x, full, b * SY_CUDA_BLOCK, from);
            go_on(&at, ring.n_stages);
        }
    }
}

#endif
#endif
