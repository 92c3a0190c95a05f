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
 * multiplies 4 panels. Many are bound by tensor cores and by the L2: two warpgroups multiply 4 panels each, and the two blocks
 * of a cluster, which have the same rows and panels side by side, bring half of the rows each, for both. A stage is one block
 * of inputs: of the panels, in the order of the map's boxes, and then of the rows [row][64]. */
template <bool MANY> struct kind {
    static constexpr int GROUPS = MANY ? 2 : 1, PANELS = MANY ? 8 : 4, BLOCKS = MANY ? 1 : 3;
    static constexpr int ROWS_MAX = MANY ? SY_CUDA_TILE_ROWS : SY_CUDA_FEW_ROWS;
    static constexpr int CLUSTER = MANY ? 2 : 1, BATCH = MANY ? 64 : 32, STAGINGS = MANY ? 2 : 1;
    static constexpr int BRINGING = MANY ? 128 : 32, THREADS = BRINGING + 128 * GROUPS;
    static constexpr int BRINGERS = MANY ? 2 : 1; /* warps that a stage is full after */
    static constexpr int WEIGHTS = PANELS * 2048, BOX_ROWS = MANY ? 32 : 8, BYTES = (226 / BLOCKS) * 1024;
};

/* Behind the stages in shared memory. */
template <bool MANY> struct shared_tail {
    __align__(16) uint8_t staging[kind<MANY>::GROUPS][kind<MANY>::STAGINGS * STAGING_BYTES];
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
    int n_chunks = (panels + each * kind<MANY>::CLUSTER - 1) / (each * kind<MANY>::CLUSTER);
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
    if (kind<MANY>::CLUSTER > 1)
        chunk = chunk * kind<MANY>::CLUSTER + sy_cluster_rank();
    int panel = chunk * p.each, left = p.panels - panel;
    left = left > 0 ? left : 0;
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

/* Bytes of rows of a stage. */
template <bool MANY>
static __device__ __forceinline__ int row_bytes(const struct sy_cuda_group &g, const struct item &item)
{
    return n_boxes<MANY>(g, item) * (g.x_rows ? 1 : kind<MANY>::BOX_ROWS) * 128;
}

template <bool MANY>
static __device__ __forceinline__ void load_weights(const struct sy_cuda_group &g, const struct item &item, int block,
                                                    uint8_t *stage, uint64_t *full)
{
#pragma unroll
    for (int p = 0; p < kind<MANY>::PANELS; p += SY_CUDA_MAP_PANELS)
        if (p < item.n_panels)
            sy_load_box(sy_shared(stage + p * 2048), &g.experts[item.expert].maps[g.half], full, 0,
                        g.half == SY_GATE_UP ? item.panel + p : 0, g.half == SY_GATE_UP ? 0 : item.panel + p, block);
}

/* Few rows: one warp. What is multiplied is known before the rows are: so many weights as there is room for go first. */
static __device__ void bring_few(const struct sy_cuda_group &g, const struct ring &ring, const CUtensorMap *x,
                                 uint8_t *stages, struct shared_tail<false> *tail)
{
    typedef kind<false> K;
    int lane = (int)threadIdx.x % 32, n_blocks = sy_cuda_blocks(g.k), early = 0;
    int room = n_blocks < ring.n_stages ? n_blocks : ring.n_stages;
    struct place at = {0, 1};

    if (g.half == SY_GATE_UP)
        sy_wait_for_previous();
    struct plan plan = load_plan<false>(g);
    for (int i = (int)blockIdx.x; i < plan.n_items; i += (int)gridDim.x) {
        struct item item = find_item<false>(g, plan, i);
        int boxes = n_boxes<false>(g, item), box_rows = g.x_rows ? 1 : K::BOX_ROWS;
        uint32_t bytes = (uint32_t)(weight_bytes(item) + row_bytes<false>(g, item));
        int from = item.row + lane * box_rows;
        if (g.x_rows && lane < item.n_rows)
            from = (int)g.x_rows[from];
        if (g.new_tables)
            sy_fence_map(&g.experts[item.expert].maps[g.half]);
        for (; i == (int)blockIdx.x && early < room && lane == 0; early++) {
            if (early == 0)
                tail->items[0] = item;
            sy_barrier_expect(&tail->full[early], bytes);
            load_weights<false>(g, item, early, stages + early * ring.bytes, &tail->full[early]);
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
                    load_weights<false>(g, item, b, stage, full);
                }
                __syncwarp();
            }
            if (lane < boxes)
                sy_load_box(sy_shared(stage + K::WEIGHTS + lane * box_rows * 128), x, full, b * SY_CUDA_BLOCK, from);
            go_on(&at, ring.n_stages);
        }
    }
}

/* Many rows: a warp for weights, and one for rows. Down's weights do not wait for the rows either. */
static __device__ void bring_weights(const struct sy_cuda_group &g, const struct ring &ring, uint8_t *stages,
                                     struct shared_tail<true> *tail)
{
    typedef kind<true> K;
    int lane = (int)threadIdx.x % 32, n_blocks = sy_cuda_blocks(g.k);
    struct place at = {0, 1};

    if (g.half == SY_GATE_UP)
        sy_wait_for_previous();
    struct plan plan = load_plan<true>(g);
    for (int i = (int)blockIdx.x / K::CLUSTER; i < plan.n_items; i += (int)gridDim.x / K::CLUSTER) {
        struct item item = find_item<true>(g, plan, i);
        uint32_t bytes = (uint32_t)weight_bytes(item);
        if (g.new_tables)
            sy_fence_map(&g.experts[item.expert].maps[g.half]);
        for (int b = 0; b < n_blocks; b++) {
            sy_barrier_wait(&tail->empty[at.stage], at.parity);
            if (lane == 0) {
                if (b == 0)
                    tail->items[at.stage] = item;
                sy_barrier_expect(&tail->full[at.stage], bytes);
                load_weights<true>(g, item, b, stages + at.stage * ring.bytes, &tail->full[at.stage]);
            }
            __syncwarp();
            go_on(&at, ring.n_stages);
        }
    }
}

/* The blocks of a cluster bring boxes in turn, each for all of them: a stage is empty when it is so in all. It is full only
 * after this warp was there too, even with no box of its own to bring: else the ring could go around without it, and a
 * parity that it waits for might never come. */
static __device__ void bring_rows(const struct sy_cuda_group &g, const struct ring &ring, const CUtensorMap *x,
                                  uint8_t *stages, struct shared_tail<true> *tail)
{
    typedef kind<true> K;
    int lane = (int)threadIdx.x % 32, n_blocks = sy_cuda_blocks(g.k);
    bool mine = lane % K::CLUSTER == sy_cluster_rank();
    struct place at = {0, 1};

    sy_wait_for_previous();
    struct plan plan = load_plan<true>(g);
    for (int i = (int)blockIdx.x / K::CLUSTER; i < plan.n_items; i += (int)gridDim.x / K::CLUSTER) {
        struct item item = find_item<true>(g, plan, i);
        int boxes = n_boxes<true>(g, item);
        uint32_t bytes = (uint32_t)row_bytes<true>(g, item);
        for (int b = 0; b < n_blocks; b++) {
            uint8_t *to = stages + at.stage * ring.bytes + K::WEIGHTS + lane * K::BOX_ROWS * 128;
            sy_barrier_wait(&tail->empty[at.stage], at.parity);
            if (lane == 0)
                sy_barrier_expect(&tail->full[at.stage], bytes);
            if (lane < boxes && mine)
                sy_load_box_to_all(sy_shared(to), x, &tail->full[at.stage], b * SY_CUDA_BLOCK,
                                   item.row + lane * K::BOX_ROWS, (1 << K::CLUSTER) - 1);
            __syncwarp();
            go_on(&at, ring.n_stages);
        }
    }
}

#endif
#endif
