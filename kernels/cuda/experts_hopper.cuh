/* SPDX-License-Identifier: Apache-2.0
 * experts_hopper.cuh - what experts_hopper.cu and experts_both.cu share but the products: items of work, the ring of stages that
 * threads fill for those who multiply, and launches
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

/* What is multiplied, left beside an item's first stage by the thread that brings it. */
struct item {
    int half, tile, expert, row, n_rows, panel, n_panels;
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
    static constexpr int BRINGERS = MANY ? 2 : 1; /* threads that a stage is full after */
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

/* By all threads, before anything else: the barriers of a block's ring, for both sides. */
template <bool MANY> static __device__ __forceinline__ void begin_ring(struct shared_tail<MANY> *tail, int n_stages)
{
    typedef kind<MANY> K;

    if (threadIdx.x == 0) {
        for (int i = 0; i < n_stages; i++) {
            sy_barrier_init(&tail->full[i], K::BRINGERS);
            sy_barrier_init(&tail->empty[i], K::GROUPS * 4 * K::CLUSTER);
        }
        sy_fence_barriers();
        sy_fence_proxy();
    }
    __syncthreads();
    if (K::CLUSTER > 1)
        sy_cluster_sync();
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

/* The panels of one block of the cluster, of an item whose first panel is that of the first. */
static __device__ __forceinline__ struct item of_block(const struct plan &p, struct item item, int block)
{
    item.panel += block * p.each;
    int left = p.panels - item.panel;
    left = left > 0 ? left : 0;
    item.n_panels = left < p.each ? left : p.each;
    return item;
}

/* Chunks of panels one after the other, and for each of them the tiles that go together. block: of the cluster. */
template <bool MANY>
static __device__ __forceinline__ struct item find_item(const struct sy_cuda_group &g, const struct plan &p, int i,
                                                        int block)
{
    int number = i / p.n_chunks, chunk = i - number * p.n_chunks;
    struct sy_cuda_tile tile = load_table(g.tiles + number);

    if (tile.n_together > 1) {
        int local = i - tile.first * p.n_chunks;
        chunk = local / tile.n_together;
        number = tile.first + local % tile.n_together;
        tile = load_table(g.tiles + number);
    }
    struct item item = {g.half, number, tile.expert, tile.row, tile.n_rows, chunk * kind<MANY>::CLUSTER * p.each, 0};
    return of_block(p, item, block);
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

/* Where an item's weights come from: the map, and the coordinates of its first panel and of another one. */
struct weights {
    const void *map;
    int panel[2], next[2];
};

static __device__ __forceinline__ struct weights find_weights(const struct sy_cuda_group &g, const struct item &item)
{
    bool alternate = g.half == SY_GATE_UP; /* map.cuh */

    return {&g.experts[item.expert].maps[g.half],
            {alternate ? item.panel : 0, alternate ? 0 : item.panel},
            {alternate ? SY_CUDA_MAP_PANELS : 0, alternate ? 0 : SY_CUDA_MAP_PANELS}};
}

template <bool MANY>
static __device__ __forceinline__ void load_weights(const struct weights &w, int n_panels, int block, uint32_t stage,
                                                    uint64_t *full)
{
#pragma unroll
    for (int i = 0; i < kind<MANY>::PANELS / SY_CUDA_MAP_PANELS; i++)
        if (i * SY_CUDA_MAP_PANELS < n_panels)
            sy_load_box(stage + (uint32_t)(i * SY_CUDA_MAP_PANELS * 2048), w.map, full, 0, w.panel[0] + i * w.next[0],
                        w.panel[1] + i * w.next[1], block);
}

/* An item's weights, a stage after the other. By one thread, whose time between two stages is what a block's tensor cores
 * would wait for: so what it needs is worked out before. each(n): before each stage, n of which are left. */
template <class Each>
static __device__ __forceinline__ void bring_weights(const struct sy_cuda_group &g, const struct ring &ring,
                                                     const struct item &item, uint8_t *stages,
                                                     struct shared_tail<true> *tail, struct place *at, const Each &each)
{
    const struct weights weights = find_weights(g, item);
    const uint32_t bytes = (uint32_t)weight_bytes(item), base = sy_shared(stages), of_stage = (uint32_t)ring.bytes;
    const int n_blocks = sy_cuda_blocks(g.k), n_stages = ring.n_stages;

    if (g.new_tables)
        sy_fence_map(weights.map);
#pragma unroll 1
    for (int b = 0; b < n_blocks; b++) {
        uint64_t *full = &tail->full[at->stage];
        each(n_blocks - b);
        sy_barrier_wait(&tail->empty[at->stage], at->parity);
        if (b == 0)
            tail->items[at->stage] = item;
        sy_barrier_expect(full, bytes);
        load_weights<true>(weights, item.n_panels, b, base + (uint32_t)at->stage * of_stage, full);
        go_on(at, n_stages);
    }
}

/* Its rows, by another thread. The blocks of a cluster bring boxes in turn, each for all of them: a stage is empty when it is
 * so in all. It is full only after this thread was there too, even with no box of its own to bring: else the ring could go
 * around without it, and a parity that it waits for might never come. */
template <class Each>
static __device__ __forceinline__ void bring_rows(const struct sy_cuda_group &g, const struct ring &ring,
                                                  const CUtensorMap *x, const struct item &item, uint8_t *stages,
                                                  struct shared_tail<true> *tail, struct place *at, const Each &each)
{
    typedef kind<true> K;
    const uint32_t bytes = (uint32_t)row_bytes<true>(g, item), of_stage = (uint32_t)ring.bytes;
    const int n_blocks = sy_cuda_blocks(g.k), n_stages = ring.n_stages;
    const int first = sy_cluster_rank(), boxes = n_boxes<true>(g, item) - first;
    const int row = item.row + first * K::BOX_ROWS;
    const uint32_t base = sy_shared(stages) + (uint32_t)(K::WEIGHTS + first * K::BOX_ROWS * 128);

#pragma unroll 1
    for (int b = 0; b < n_blocks; b++) {
        uint64_t *full = &tail->full[at->stage];
        uint32_t to = base + (uint32_t)at->stage * of_stage;
        each(n_blocks - b);
        sy_barrier_wait(&tail->empty[at->stage], at->parity);
        sy_barrier_expect(full, bytes);
#pragma unroll
        for (int i = 0; i < K::ROWS_MAX / K::BOX_ROWS; i += K::CLUSTER)
            if (i < boxes)
                sy_load_box_to_all(to + (uint32_t)(i * K::BOX_ROWS * 128), x, full, b * SY_CUDA_BLOCK,
                                   row + i * K::BOX_ROWS, (1 << K::CLUSTER) - 1);
        go_on(at, n_stages);
    }
}

#endif

/* ---- launches ---- */

/* The rows of g as boxes. */
template <bool MANY> static bool map_rows(struct sy_queue *q, const struct sy_cuda_group *g, CUtensorMap *x)
{
    struct sy_cuda_tensor of_x = {.n_dims = 2,
                                  .sizes = {(uint64_t)g->k, (uint64_t)g->n_rows},
                                  .strides = {(uint64_t)g->k * 2},
                                  .box = {SY_CUDA_BLOCK, g->x_rows ? 1u : kind<MANY>::BOX_ROWS},
                                  .swizzled = true};

    return sy_cuda_make_map(q, x, g->x, &of_x);
}

/* As many stages of tiles of g as there is room for before `tail` bytes. */
template <bool MANY> static struct ring make_ring(const struct sy_cuda_group *g, size_t tail)
{
    typedef kind<MANY> K;
    int rows = (g->tile_rows + K::BOX_ROWS - 1) / K::BOX_ROWS * K::BOX_ROWS;
    struct ring ring = {0, (K::WEIGHTS + rows * 128 + 1023) / 1024 * 1024};

    ring.n_stages = (K::BYTES - (int)tail) / ring.bytes;
    ring.n_stages = ring.n_stages < STAGES_MAX ? ring.n_stages : STAGES_MAX;
    return ring;
}

/* A kernel of blocks for all multiprocessors, whose shared memory ends with `tail` bytes. */
template <bool MANY>
static void launch_experts(struct sy_queue *q, const void *kernel, void **arguments, const struct ring &ring,
                           size_t tail)
{
    typedef kind<MANY> K;
    cudaLaunchAttribute attributes[2] = {};
    cudaLaunchConfig_t config = {};

    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = 1;
    attributes[1].id = cudaLaunchAttributeClusterDimension;
    attributes[1].val.clusterDim = {K::CLUSTER, 1, 1};
    config.gridDim = dim3((unsigned)(q->n_sms * K::BLOCKS / K::CLUSTER * K::CLUSTER));
    config.blockDim = dim3(K::THREADS);
    config.dynamicSmemBytes = (size_t)(ring.n_stages * ring.bytes) + tail;
    config.stream = q->stream;
    config.attrs = attributes;
    config.numAttrs = K::CLUSTER > 1 ? 2 : 1;
    if (sy_cuda_check(q, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, K::BYTES),
                      "preparing experts"))
        sy_cuda_check(q, cudaLaunchKernelExC(&config, kernel, arguments), "expert matrices");
}

#endif
