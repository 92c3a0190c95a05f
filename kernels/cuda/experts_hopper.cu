/* SPDX-License-Identifier: Apache-2.0
 * experts_hopper.cu - grouped expert matrices by wgmma: BF16 weights, BF16 rows
 *
 * Blocks of threads go through items: a tile of rows times a few panels of its expert. Some bring weights and rows by tensor
 * copies, far ahead through a ring of stages of 64 inputs; one or two warpgroups multiply all rows of the tile.
 * Weights are the operand of 64 for any number of rows, so few rows cost little and a row's sums are the same chain of
 * instructions in every tile.
 */
#include "cuda/experts_multiply.cuh"

#if SY_HAVE_WGMMA || !defined(__CUDA_ARCH__)
#define PROBE_THREADS 128
#else
#define PROBE_THREADS 64
#endif

/* Its bound tells which code the driver took. */
static __global__ void __launch_bounds__(PROBE_THREADS) probe(void)
{
}

bool sy_cuda_find_wgmma(const struct sy_queue *q)
{
    cudaFuncAttributes attributes;

    return q->major == 9 && cudaFuncGetAttributes(&attributes, probe) == cudaSuccess &&
           attributes.maxThreadsPerBlock == 128 && sy_cuda_can_map();
}

#if SY_HAVE_WGMMA

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
        struct item item = find_item<false>(g, plan, i, 0);
        struct weights weights = find_weights(g, item);
        int boxes = n_boxes<false>(g, item), box_rows = g.x_rows ? 1 : K::BOX_ROWS;
        uint32_t bytes = (uint32_t)(weight_bytes(item) + row_bytes<false>(g, item));
        int from = item.row + lane * box_rows;
        if (g.x_rows && lane < item.n_rows)
            from = (int)g.x_rows[from];
        if (g.new_tables)
            sy_fence_map(weights.map);
        for (; i == (int)blockIdx.x && early < room && lane == 0; early++) {
            if (early == 0)
                tail->items[0] = item;
            sy_barrier_expect(&tail->full[early], bytes);
            load_weights<false>(weights, item.n_panels, early, sy_shared(stages + early * ring.bytes),
                                &tail->full[early]);
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
                    load_weights<false>(weights, item.n_panels, b, sy_shared(stage), full);
                }
                __syncwarp();
            }
            if (lane < boxes)
                sy_load_box(sy_shared(stage + K::WEIGHTS + lane * box_rows * 128), x, full, b * SY_CUDA_BLOCK, from);
            go_on(&at, ring.n_stages);
        }
    }
}

/* Many rows: a thread for weights, and one for rows. Down's weights do not wait for the rows either. */
template <bool WEIGHTS>
static __device__ void bring_many(const struct sy_cuda_group &g, const struct ring &ring, const CUtensorMap *x,
                                  uint8_t *stages, struct shared_tail<true> *tail)
{
    typedef kind<true> K;
    struct place at = {0, 1};

    if (!WEIGHTS || g.half == SY_GATE_UP)
        sy_wait_for_previous();
    struct plan plan = load_plan<true>(g);
    for (int i = (int)blockIdx.x / K::CLUSTER; i < plan.n_items; i += (int)gridDim.x / K::CLUSTER) {
        struct item item = find_item<true>(g, plan, i, sy_cluster_rank());
        if (WEIGHTS)
            bring_weights(g, ring, item, stages, tail, &at, [](int) {});
        else
            bring_rows(g, ring, x, item, stages, tail, &at, [](int) {});
    }
}

#endif

template <enum sy_half HALF, bool MANY>
static __global__ void __launch_bounds__(kind<MANY>::THREADS, kind<MANY>::BLOCKS)
    group_kernel(const __grid_constant__ struct sy_cuda_group g, const __grid_constant__ CUtensorMap x,
                 const struct ring ring)
{
#if SY_HAVE_WGMMA
    typedef kind<MANY> K;
    extern __shared__ __align__(1024) uint8_t stages[];
    struct shared_tail<MANY> *tail = (struct shared_tail<MANY> *)(stages + ring.n_stages * ring.bytes);

    begin_ring(tail, ring.n_stages);
    int thread = (int)threadIdx.x;
    if (thread >= K::GROUPS * 128) {
        if (MANY)
            asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        int warp = thread / 32 - K::GROUPS * 4;
        if constexpr (!MANY)
            bring_few(g, ring, &x, stages, tail);
        else if (thread % 32 == 0 && warp == 0)
            bring_many<true>(g, ring, &x, stages, tail);
        else if (thread % 32 == 0 && warp == 1)
            bring_many<false>(g, ring, &x, stages, tail);
        __syncwarp();
    } else {
        if (MANY)
            asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        /* A kernel that comes early may read what was made before this one. */
        sy_wait_for_previous();
        sy_let_next_start();
        struct place begin = {0, 0};
        struct consumer<MANY> c = {
            thread / 128, thread % 128, thread % 128 / 32, thread % 32, ring, stages, tail, begin
        };
        struct plan plan = load_plan<MANY>(g);
        for (int i = (int)blockIdx.x / K::CLUSTER; i < plan.n_items; i += (int)gridDim.x / K::CLUSTER) {
            sy_barrier_wait(&tail->full[c.at.stage], c.at.parity);
            struct item item = tail->items[c.at.stage]; /* the next one may come there before this is done */
            multiply<HALF>(g, &c, item);
        }
    }
    if (K::CLUSTER > 1)
        sy_cluster_sync();
#endif
}

template <enum sy_half HALF, bool MANY> static void launch(struct sy_queue *q, const struct sy_cuda_group *g)
{
    const size_t tail = sizeof(struct shared_tail<MANY>);
    struct ring ring = make_ring<MANY>(g, tail);
    CUtensorMap x;
    void *arguments[] = {(void *)g, &x, &ring};

    if (map_rows<MANY>(q, g, &x))
        launch_experts<MANY>(q, (const void *)group_kernel<HALF, MANY>, arguments, ring, tail);
}

bool sy_cuda_group_hopper_fits(const struct sy_queue *q, const struct sy_cuda_group *g)
{
    return g->w_dtype == SY_BF16 && g->x_dtype == SY_BF16 && g->k % 8 == 0 && (uintptr_t)g->x % 16 == 0 &&
           sy_cuda_has_wgmma(q) && !(g->x_rows && g->tile_rows > SY_CUDA_FEW_ROWS);
}

void sy_cuda_group_hopper(struct sy_queue *q, const struct sy_cuda_group *g)
{
    bool many = g->tile_rows > SY_CUDA_FEW_ROWS;

    if (g->half == SY_GATE_UP && many)
        launch<SY_GATE_UP, true>(q, g);
    else if (g->half == SY_GATE_UP)
        launch<SY_GATE_UP, false>(q, g);
    else if (many)
        launch<SY_DOWN, true>(q, g);
    else
        launch<SY_DOWN, false>(q, g);
}
