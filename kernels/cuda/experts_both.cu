/* SPDX-License-Identifier: Apache-2.0
 * experts_both.cu - both halves of experts in one launch: results leave while gate and up are still multiplied
 *
 *   plan ──> bring ──> multiply ──> report ──> done[tile] ──> plan down's items
 *
 * Rounds of items of one half each take turns as the halves' sizes have it, down's so far behind that what they multiply has
 * likely been made. A cluster takes an item's number when it soon has place, from a count in memory: so one that waits for a
 * tile waits for clusters that have begun, however few fit on the GPU beside others' kernels, and those that multiply the same
 * weights do so at about the same time. Rounds are of a part of the clusters: small ones share less in the L2 (of 8 items they
 * took 4 to 7 % longer than of 66), and in large ones all clusters' results want to leave at once.
 */
#include "cuda/experts_multiply.cuh"

#define ROUNDS 3 /* to give all clusters an item */
#define AHEAD  6 /* stages: in their time an item is found */

/* What a launch works on. */
struct both {
    struct sy_cuda_group halves[SY_N_HALVES];
    CUtensorMap x[SY_N_HALVES];
    struct sy_cuda_both_counts counts;
    struct ring ring;
};

struct both_tail {
    struct shared_tail<true> shared;
    struct item post;       /* the next one */
    uint64_t posted, taken; /* taken: of the cluster's first block */
    uint64_t stored, reported;
    int stored_tile;
};

#if SY_HAVE_WGMMA

/* ---- the order of items ---- */

/* One thread's way through it. */
struct walk {
    const struct sy_cuda_group *halves;
    struct plan plans[SY_N_HALVES];
    int n_clusters, each, n_rounds[SY_N_HALVES], begun[SY_N_HALVES];
    int half;  /* of the round begun last */
    int needs; /* rounds of gate and up before down's next one */
};

static __device__ __forceinline__ int n_rounds(const struct walk &w)
{
    return w.n_rounds[SY_GATE_UP] + w.n_rounds[SY_DOWN];
}

/* What down's next round multiplies is made by the items of gate and up before its tiles, and by those that go together: as
 * many from its own place on, so that results leave at an even pace. One more item of each cluster gives them time. */
static __device__ __forceinline__ void find_needs(struct walk *w)
{
    const struct plan &gate_up = w->plans[SY_GATE_UP], &down = w->plans[SY_DOWN];
    int end = (w->begun[SY_DOWN] + 1) * w->each;

    if (w->begun[SY_DOWN] == w->n_rounds[SY_DOWN])
        return;
    end = end < down.n_items ? end : down.n_items;
    struct sy_cuda_tile tile = load_table(w->halves[SY_DOWN].tiles + (end - 1) / down.n_chunks);
    int before = (int)((long long)end * gate_up.n_chunks / down.n_chunks);
    int items = before + tile.n_together * gate_up.n_chunks + w->n_clusters;
    int needs = (items + w->each - 1) / w->each;
    w->needs = needs < w->n_rounds[SY_GATE_UP] ? needs : w->n_rounds[SY_GATE_UP];
}

static __device__ __forceinline__ struct walk begin_walk(const struct both &b)
{
    struct walk w = {};

    w.halves = b.halves;
    w.n_clusters = (int)gridDim.x / kind<true>::CLUSTER;
    w.each = (w.n_clusters + ROUNDS - 1) / ROUNDS;
    for (int half = 0; half < SY_N_HALVES; half++) {
        w.plans[half] = load_plan<true>(b.halves[half]);
        w.n_rounds[half] = (w.plans[half].n_items + w.each - 1) / w.each;
    }
    find_needs(&w);
    return w;
}

static __device__ __forceinline__ void begin_round(struct walk *w)
{
    bool down = w->begun[SY_DOWN] < w->n_rounds[SY_DOWN] && w->begun[SY_GATE_UP] >= w->needs;

    w->half = down ? SY_DOWN : SY_GATE_UP;
    w->begun[w->half]++;
    if (down)
        find_needs(w);
}

/* The item of a number; of no rows where it is the last round's and nobody's. Returns whether there may be more. */
static __device__ __forceinline__ bool find_number(struct walk *w, int number, struct item *item)
{
    int round = number / w->each, i = number - round * w->each;

    item->n_rows = 0;
    if (round >= n_rounds(*w))
        return false;
    while (w->begun[SY_GATE_UP] + w->begun[SY_DOWN] <= round)
        begin_round(w);
    i += (w->begun[w->half] - 1) * w->each;
    if (i < w->plans[w->half].n_items)
        *item = find_item<true>(w->halves[w->half], w->plans[w->half], i, 0);
    return true;
}

/* ---- planning ---- */

/* An item for the bringers of a block of the cluster. */
static __device__ __forceinline__ void post(struct both_tail *tail, const struct item &item, int block)
{
    static_assert(sizeof item % sizeof(int) == 0, "words");
#pragma unroll
    for (int i = 0; i < (int)(sizeof item / sizeof(int)); i++)
        sy_store_at((int *)&tail->post + i, ((const int *)&item)[i], block);
    sy_barrier_release_at(&tail->posted, block);
}

/* Until all blocks have stored what down multiplies of a tile. */
static __device__ __forceinline__ void wait_for_tile(const struct both &b, const struct walk &w, int tile)
{
    uint32_t all = (uint32_t)(w.plans[SY_GATE_UP].n_chunks * kind<true>::CLUSTER);

    while (sy_load_acquire(b.counts.done + tile) < all)
        ;
}

/* One thread of a cluster finds items for both of its blocks, ahead of those who bring them. */
static __device__ __forceinline__ void plan_items(const struct both &b, struct both_tail *tail)
{
    struct walk w = begin_walk(b);
    struct item item = {};
    bool more;

    for (uint32_t parity = 1;; parity ^= 1) {
        sy_barrier_wait_cluster(&tail->taken, parity);
        do
            more = find_number(&w, (int)atomicAdd(b.counts.next, 1u), &item);
        while (more && item.n_rows == 0);
        if (more && item.half == SY_DOWN)
            wait_for_tile(b, w, item.tile);
        for (int block = 0; block < kind<true>::CLUSTER; block++)
            post(tail, more ? of_block(w.plans[w.half], item, block) : item, block);
        if (!more)
            return;
    }
}

/* ---- bringing ---- */

/* Returns whether there is an item. */
static __device__ __forceinline__ bool next_item(struct both_tail *tail, uint32_t *parity, struct item *item)
{
    sy_barrier_wait_cluster(&tail->posted, *parity);
    *parity ^= 1;
    *item = tail->post;
    return item->n_rows > 0;
}

/* Let the next item be found by the time that this one is brought, and not sooner: neighbours in the order are to be
 * multiplied at the same time, while what they share is in the L2. */
struct near_end {
    struct both_tail *tail;
    int n; /* stages before the end */

    __device__ __forceinline__ void operator()(int left) const
    {
        if (left == n)
            sy_barrier_release_at(&tail->taken, 0);
    }
};

static __device__ __forceinline__ struct near_end near_end_of(struct both_tail *tail, const struct sy_cuda_group &g)
{
    int n_blocks = sy_cuda_blocks(g.k);

    return {tail, n_blocks < AHEAD ? n_blocks : AHEAD};
}

/* An item of no rows is the last. */
static __device__ __forceinline__ void bring_end(struct both_tail *tail, const struct place &at, bool weights)
{
    sy_barrier_wait(&tail->shared.empty[at.stage], at.parity);
    if (weights)
        tail->shared.items[at.stage].n_rows = 0;
    sy_barrier_arrive(&tail->shared.full[at.stage]);
}

static __device__ __forceinline__ void bring_all_weights(const struct both &b, uint8_t *stages, struct both_tail *tail)
{
    struct place at = {0, 1};
    uint32_t parity = 0;
    struct item item;

    while (next_item(tail, &parity, &item))
        bring_weights(b.halves[item.half], b.ring, item, stages, &tail->shared, &at,
                      near_end_of(tail, b.halves[item.half]));
    bring_end(tail, at, true);
}

static __device__ __forceinline__ void bring_all_rows(const struct both &b, uint8_t *stages, struct both_tail *tail)
{
    struct place at = {0, 1};
    uint32_t parity = 0;
    struct item item;

    while (next_item(tail, &parity, &item)) {
        /* The planner has seen that down's are there. */
        if (item.half == SY_DOWN)
            sy_fence_proxy_all();
        bring_rows(b.halves[item.half], b.ring, &b.x[item.half], item, stages, &tail->shared, &at,
                   near_end_of(tail, b.halves[item.half]));
    }
    bring_end(tail, at, false);
}

/* ---- reporting ---- */

/* A warpgroup has stored its part of gate and up of a tile, and goes on; tile -1 is the last. By one thread. */
static __device__ __forceinline__ void say_stored(struct both_tail *tail, int group, int tile, uint32_t parity)
{
    sy_barrier_wait(&tail->reported, parity);
    if (group == 0)
        *(volatile int *)&tail->stored_tile = tile;
    sy_barrier_arrive(&tail->stored);
}

/* One thread makes what this block's warpgroups have stored seen by all, which takes as long as stores before it need. */
static __device__ __forceinline__ void report_stored(const struct both &b, struct both_tail *tail)
{
    for (uint32_t parity = 0;; parity ^= 1) {
        sy_barrier_wait(&tail->stored, parity);
        int tile = *(volatile int *)&tail->stored_tile;
        sy_barrier_arrive(&tail->reported);
        if (tile < 0)
            return;
        sy_fence_proxy_all();
        sy_add_release(b.counts.done + tile, 1);
    }
}

static __device__ __forceinline__ void multiply_all(const struct both &b, uint8_t *stages, struct both_tail *tail)
{
    int thread = (int)threadIdx.x;
    struct place begin = {0, 0};
    struct consumer<true> c = {
        thread / 128, thread % 128, thread % 128 / 32, thread % 32, b.ring, stages, &tail->shared, begin
    };
    uint32_t parity = 1;

    for (;;) {
        sy_barrier_wait(&c.tail->full[c.at.stage], c.at.parity);
        struct item item = c.tail->items[c.at.stage]; /* the next one may come there before this is done */
        if (item.n_rows == 0)
            break;
        multiply<SY_N_HALVES>(b.halves[item.half], &c, item);
        if (item.half == SY_DOWN)
            continue;
        if (c.thread == 0)
            say_stored(tail, c.group, item.tile, parity);
        parity ^= 1;
    }
    if (c.thread == 0)
        say_stored(tail, c.group, -1, parity);
}

#endif

static __global__ void __launch_bounds__(kind<true>::THREADS, 1) both_kernel(const __grid_constant__ struct both b)
{
#if SY_HAVE_WGMMA
    typedef kind<true> K;
    extern __shared__ __align__(1024) uint8_t stages[];
    struct both_tail *tail = (struct both_tail *)(stages + b.ring.n_stages * b.ring.bytes);

    if (threadIdx.x == 0) {
        sy_barrier_init(&tail->posted, 1);
        sy_barrier_init(&tail->taken, K::BRINGERS * K::CLUSTER);
        sy_barrier_init(&tail->stored, K::GROUPS);
        sy_barrier_init(&tail->reported, 1);
    }
    begin_ring(&tail->shared, b.ring.n_stages);
    if ((int)threadIdx.x >= K::GROUPS * 128) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        int warp = (int)threadIdx.x / 32 - K::GROUPS * 4;
        sy_wait_for_previous();
        if (threadIdx.x % 32 == 0) {
            if (warp == 0)
                bring_all_weights(b, stages, tail);
            else if (warp == 1)
                bring_all_rows(b, stages, tail);
            else if (warp == 2 && sy_cluster_rank() == 0)
                plan_items(b, tail);
            else if (warp == 3)
                report_stored(b, tail);
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        /* A kernel that comes early may read what was made before this one. */
        sy_wait_for_previous();
        sy_let_next_start();
        multiply_all(b, stages, tail);
    }
    __syncwarp();
    sy_cluster_sync();
#endif
}

bool sy_cuda_group_both(struct sy_queue *q, const struct sy_cuda_group halves[SY_N_HALVES],
                        const struct sy_cuda_both_counts *counts)
{
    const size_t tail = sizeof(struct both_tail);
    struct both b = {};
    void *arguments[] = {&b};

    for (int half = 0; half < SY_N_HALVES; half++) {
        b.halves[half] = halves[half];
        if (halves[half].tile_rows <= SY_CUDA_FEW_ROWS || !sy_cuda_group_hopper_fits(q, &halves[half]))
            return false;
        if (!map_rows<true>(q, &halves[half], &b.x[half]))
            return true;
    }
    b.counts = *counts;
    b.ring = make_ring<true>(&halves[SY_GATE_UP], tail);
    launch_experts<true>(q, (const void *)both_kernel, arguments, b.ring, tail);
    return true;
}
