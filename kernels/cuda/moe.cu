/* SPDX-License-Identifier: Apache-2.0
 * moe.cu - one layer of experts that are all here, without a look from the host
 *
 *   logits ──> choose ──> place ──> (scatter) ──> gate and up ──> down ──> combine
 *
 * choose: a block for a chunk of tokens picks their experts and counts the rows of each; more blocks round the hidden states.
 * place: tokens in order of their experts (sort.cuh), and the table of tiles. One chunk is placed by the block that chose.
 * scatter: where experts have many rows, hidden states are rounded into that order, for copies of whole boxes.
 */
#include "cuda/launch.cuh"
#include "cuda/moe.cuh"
#include "cuda/router.cuh"
#include "cuda/sort.cuh"
#include "cuda/widen.cuh"

#define THREADS     1024
#define ONE_THREADS 256
#define FEW         8 /* tokens that a smaller block chooses for */
#define TOGETHER    8 /* loads that a thread has on the way at once */
#define OWN_BYTES   1024 /* of shared memory, at most, beside what blocks ask for */

/* Where things are in the workspace. */
struct moe {
    int T, D, F, E, K, n_sms;
    struct sy_sort sort;
    enum sy_moe_from from;
    const float *h;
    float *logits, *weights;
    int32_t *ids;
    uint32_t *x_rows, *y_index; /* [T * K] of a row in order of experts: its token, and its place among the results */
    uint32_t *row_of;           /* [T * K] the place in order of experts, if scattered */
    bool scattered;             /* rows are in order of experts: [T * K, D] */
    uint16_t *rows, *act, *results; /* BF16: [T, D], [T * K, F], [T * K, D] */
    const float *shared;
    float *x;
};

static int tile_rows_for(const struct sy_moe_shape *s)
{
    int most = sy_moe_tile_rows((double)s->T * s->K / s->E);

    return sy_cuda_tile_rows(most < s->T ? most : s->T);
}

static int tiles_most(const struct sy_moe_shape *s, int tile_rows)
{
    int pairs = s->T * s->K, experts = s->E < pairs ? s->E : pairs;

    return experts + pairs / tile_rows;
}

static size_t lay_out(const struct sy_moe_shape *s, void *workspace, struct moe *m)
{
    size_t used = 0, pairs = (size_t)s->T * (size_t)s->K;
    uint8_t *base = (uint8_t *)workspace;

    m->T = s->T;
    m->D = s->D;
    m->F = s->F;
    m->E = s->E;
    m->K = s->K;
    m->sort = {s->T, s->K, s->E, (s->T + SY_SORT_CHUNK - 1) / SY_SORT_CHUNK, tile_rows_for(s)};
    m->sort.n_tiles = (int *)sy_moe_take(base, &used, sizeof *m->sort.n_tiles);
    m->sort.counts = (int *)sy_moe_take(base, &used, sizeof *m->sort.counts * (size_t)m->sort.n_chunks * (size_t)s->E);
    m->sort.tiles = (struct sy_cuda_tile *)sy_moe_take(base, &used,
                                                       sizeof *m->sort.tiles * (size_t)(s->E + s->T * s->K / 8));
    m->x_rows = (uint32_t *)sy_moe_take(base, &used, sizeof *m->x_rows * pairs);
    m->y_index = (uint32_t *)sy_moe_take(base, &used, sizeof *m->y_index * pairs);
    m->row_of = (uint32_t *)sy_moe_take(base, &used, sizeof *m->row_of * pairs);
    m->rows = (uint16_t *)sy_moe_take(base, &used,
                                      2 * (m->sort.tile_rows > SY_CUDA_FEW_ROWS ? pairs : (size_t)s->T) * (size_t)s->D);
    m->act = (uint16_t *)sy_moe_take(base, &used, 2 * pairs * (size_t)s->F);
    m->results = (uint16_t *)sy_moe_take(base, &used, 2 * pairs * (size_t)s->D);
    return used;
}

size_t sy_cuda_moe_bytes(const struct sy_moe_shape *shape)
{
    struct moe m;

    return lay_out(shape, NULL, &m);
}

/* ---- place ---- */

/* Pair t * K + k of the layer's tokens: where it is read, and what is written once its row is known. */
struct pairs {
    const struct moe &m;

    __device__ __forceinline__ int expert(int pair) const
    {
        return m.ids[pair];
    }

    __device__ __forceinline__ void put(int pair, int row) const
    {
        m.x_rows[row] = (uint32_t)(pair / m.K);
        m.y_index[row] = (uint32_t)pair;
        if (m.scattered)
            m.row_of[pair] = (uint32_t)row;
    }
};

static __global__ void __launch_bounds__(THREADS) place_kernel(const struct moe m)
{
    extern __shared__ unsigned long long masks[];

    sy_begin();
    int own = sy_sort_mark(m.sort, pairs{m}, (int)blockIdx.x, masks);
    sy_sort_place(m.sort, pairs{m}, (int)blockIdx.x, masks, own, (int *)(masks + m.E));
}

/* ---- choose ---- */

/* Hidden states to BF16, by blocks `block` of n_blocks. */
static __device__ void round_rows(const struct moe &m, int block, int n_blocks)
{
    size_t n = (size_t)m.T * (size_t)m.D, step = (size_t)n_blocks * blockDim.x;
    bool whole = n % 4 == 0 && (uintptr_t)m.h % 16 == 0;

    for (size_t i = (size_t)block * blockDim.x + threadIdx.x; i < (whole ? n / 4 : n); i += step) {
        if (!whole) {
            m.rows[i] = sy_narrow_bf16(m.h[i]);
            continue;
        }
        float4 f = ((const float4 *)m.h)[i];
        ((ushort4 *)m.rows)[i] = make_ushort4(sy_narrow_bf16(f.x), sy_narrow_bf16(f.y), sy_narrow_bf16(f.z),
                                              sy_narrow_bf16(f.w));
    }
}

/* Shared memory of a warp that chooses: the router's, then ids and weights. */
static __host__ __device__ __forceinline__ size_t choice_bytes(const struct sy_router_rule &rule)
{
    return sizeof(float) * (size_t)(sy_router_floats(rule) + 2 * rule.top_k);
}

static __device__ void choose_chunk(const struct moe &m, const struct sy_router_rule &rule, int chunk, uint8_t *shared,
                                    int n_warps)
{
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int end = (chunk + 1) * SY_SORT_CHUNK < m.T ? (chunk + 1) * SY_SORT_CHUNK : m.T;
    float *scratch = (float *)(shared + (size_t)warp * choice_bytes(rule));
    float *weights = scratch + sy_router_floats(rule);
    int32_t *ids = (int32_t *)(weights + m.K);

    for (int t = chunk * SY_SORT_CHUNK + warp; t < end && warp < n_warps; t += n_warps) {
        size_t row = (size_t)t;
        sy_router_choose(rule, m.logits + row * (size_t)m.E, scratch, ids, weights);
        __syncwarp();
        for (int k = lane; k < m.K; k += 32) {
            m.ids[row * (size_t)m.K + (size_t)k] = ids[k];
            m.weights[row * (size_t)m.K + (size_t)k] = weights[k];
        }
        __syncwarp();
    }
    __syncthreads();
}

static __global__ void __launch_bounds__(THREADS)
    choose_kernel(const struct moe m, const struct sy_router_rule rule, int n_warps)
{
    extern __shared__ unsigned long long masks[];
    int chunk = (int)blockIdx.x;

    sy_begin();
    if (chunk >= m.sort.n_chunks) {
        round_rows(m, chunk - m.sort.n_chunks, (int)gridDim.x - m.sort.n_chunks);
        return;
    }
    if (m.from != SY_MOE_FROM_CHOSEN)
        choose_chunk(m, rule, chunk, (uint8_t *)masks, n_warps);
    int own = sy_sort_mark(m.sort, pairs{m}, chunk, masks);
    if (m.sort.n_chunks == 1) {
        sy_sort_place(m.sort, pairs{m}, 0, masks, own, (int *)(masks + m.E));
        return;
    }
    sy_sort_count(m.sort, chunk, masks);
}

/* ---- choose and place for one token: little code, by one warp ---- */

/* Lane k has choice k. */
static __device__ __forceinline__ void place_one(const struct moe &m, int id)
{
    int lane = (int)threadIdx.x, row = 0;

    for (int k = 0; k < m.K; k++) {
        int other = __shfl_sync(0xffffffffu, id, k);
        row += other < id || (other == id && k < lane);
    }
    if (lane < m.K) {
        m.sort.tiles[row] = {id, row, 1, row, 1};
        m.x_rows[row] = 0;
        m.y_index[row] = (uint32_t)lane;
    }
    if (lane == 0) {
        *m.sort.n_tiles = m.K;
        if (m.sort.n_active)
            atomicAdd(m.sort.n_active, (unsigned long long)m.K);
    }
}

template <int N>
static __global__ void __launch_bounds__(ONE_THREADS)
    choose_one_kernel(const struct moe m, const struct sy_router_rule rule)
{
    extern __shared__ float groups[];
    int lane = (int)threadIdx.x, id = 0;

    sy_begin();
    if (blockIdx.x) {
        round_rows(m, (int)blockIdx.x - 1, (int)gridDim.x - 1);
        return;
    }
    if (lane >= 32)
        return;
    if (m.from == SY_MOE_FROM_CHOSEN) {
        id = lane < m.K ? m.ids[lane] : 0;
    } else {
        float weight = sy_choose_here<N>(rule, m.logits, groups, &id);
        if (lane < m.K) {
            m.ids[lane] = id;
            m.weights[lane] = weight;
        }
    }
    place_one(m, id);
}

static void run_choose_one(struct sy_queue *q, const struct moe *m, const struct sy_router_rule &rule)
{
    unsigned n_round = (unsigned)((m->D + ONE_THREADS * 4 - 1) / (ONE_THREADS * 4));
    size_t shared = rule.n_groups > 1 ? (size_t)(m->E + rule.n_groups) * sizeof(float) : 0;

    sy_launch(q, "choice of experts", m->E <= 128 ? choose_one_kernel<4> : choose_one_kernel<8>, 1 + n_round,
              ONE_THREADS, shared, *m, rule);
}

/* ---- scatter ---- */

/* A block for each token. */
static __global__ void __launch_bounds__(256) scatter_kernel(const struct moe m)
{
    size_t t = blockIdx.x, D = (size_t)m.D, K = (size_t)m.K;

    sy_begin();
    for (size_t i = threadIdx.x; i < D / 4; i += blockDim.x) {
        float4 f = ((const float4 *)(m.h + t * D))[i];
        ushort4 four = make_ushort4(sy_narrow_bf16(f.x), sy_narrow_bf16(f.y), sy_narrow_bf16(f.z), sy_narrow_bf16(f.w));
        for (size_t k = 0; k < K; k++)
            ((ushort4 *)(m.rows + m.row_of[t * K + k] * D))[i] = four;
    }
}

/* ---- the layer ---- */

size_t sy_cuda_moe_table_bytes(int n_experts)
{
    return sizeof(struct sy_cuda_expert) * (size_t)n_experts;
}

void sy_cuda_moe_table(struct sy_queue *q, const struct sy_expert *experts, int n_experts, void *table)
{
    struct sy_cuda_expert entries[64];

    for (int e = 0, n = 0; e < n_experts; e += n) {
        for (n = 0; n < 64 && e + n < n_experts; n++)
            entries[n] = sy_cuda_expert_of(q, experts[e + n].gate_up, experts[e + n].down);
        sy_cuda_copy(q, (struct sy_cuda_expert *)table + e, entries, (size_t)n * sizeof *entries);
    }
}

static void run_choose(struct sy_queue *q, struct moe *m, const struct sy_router_rule *given)
{
    const size_t most = q->shared_bytes - OWN_BYTES;
    struct sy_router_rule rule = {};
    if (given)
        rule = *given;
    if (m->T == 1 && m->K <= 32 && m->E <= SY_IN_REGISTERS && (!given || sy_router_in_registers(rule))) {
        run_choose_one(q, m, rule);
        return;
    }
    size_t masks = sy_sort_bytes(m->E), each = choice_bytes(rule), shared = 0;
    int n_warps = 0, n_threads = m->T <= FEW ? 256 : THREADS;
    int n_round = m->scattered ? 0 : (int)((size_t)m->T * (size_t)m->D / (size_t)(n_threads * 8)) + 1;

    if (m->from != SY_MOE_FROM_CHOSEN) {
        n_warps = (int)(most / each) < n_threads / 32 ? (int)(most / each) : n_threads / 32;
        shared = each * (size_t)n_warps;
    }
    shared = shared > masks ? shared : masks;
    n_round = n_round < q->n_sms ? n_round : q->n_sms;
    sy_cuda_check(q, cudaFuncSetAttribute(choose_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)most),
                  "preparing the choice of experts");
    sy_launch(q, "choice of experts", choose_kernel, dim3((unsigned)(m->sort.n_chunks + n_round)), (unsigned)n_threads,
              shared, *m, rule, n_warps);
    if (m->sort.n_chunks > 1) {
        sy_cuda_check(q, cudaFuncSetAttribute(place_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)most),
                      "preparing rows in order of experts");
        sy_launch(q, "rows in order of experts", place_kernel, dim3((unsigned)m->sort.n_chunks), THREADS, masks, *m);
    }
    if (m->scattered)
        sy_launch(q, "rows in order of experts", scatter_kernel, dim3((unsigned)m->T), 256, 0, *m);
}

static void run_half(struct sy_queue *q, const struct moe *m, const struct sy_moe_run *run, enum sy_half half)
{
    struct sy_cuda_group g = {};
    bool down = half == SY_DOWN;

    g.half = half;
    g.experts = (const struct sy_cuda_expert *)run->table;
    g.tiles = m->sort.tiles;
    g.n_tiles = m->sort.n_tiles;
    g.n_tiles_most = tiles_most(&run->shape, m->sort.tile_rows);
    g.tile_rows = m->sort.tile_rows;
    g.w_dtype = run->shape.w_dtype;
    g.x_dtype = g.y_dtype = SY_BF16;
    g.n = down ? m->D : m->F;
    g.k = down ? m->F : m->D;
    g.x = (const uint8_t *)(down ? m->act : m->rows);
    g.x_rows = down || m->scattered ? NULL : m->x_rows;
    g.n_rows = g.x_rows ? m->T : m->T * m->K;
    g.y = (uint8_t *)(down ? m->results : m->act);
    g.y_index = down ? m->y_index : NULL;
    g.glu = run->glu;
    sy_cuda_group_run(q, &g);
}

static void run_router(struct sy_queue *q, struct moe *m, const struct sy_moe_run *run)
{
    SY_RANGE("router");
    if (run->from == SY_MOE_FROM_HIDDEN)
        sy_cuda_router_logits(q, run->router, run->h, m->T, run->logits);
    run_choose(q, m, run->rule);
}

static void run_experts(struct sy_queue *q, const struct moe *m, const struct sy_moe_run *run)
{
    SY_RANGE("experts");
    run_half(q, m, run, SY_GATE_UP);
    run_half(q, m, run, SY_DOWN);
}

void sy_cuda_moe_run(struct sy_queue *q, const struct sy_moe_run *run)
{
    struct moe m;

    if (!sy_cuda_works(q) || run->shape.T < 1)
        return;
    lay_out(&run->shape, run->workspace, &m);
    m.from = run->from;
    m.n_sms = q->n_sms;
    m.h = run->h;
    m.logits = run->logits;
    m.ids = run->ids;
    m.weights = run->weights;
    m.shared = run->shared;
    m.x = run->x;
    m.sort.n_active = (unsigned long long *)run->n_active;
    m.scattered = m.sort.tile_rows > SY_CUDA_FEW_ROWS && run->shape.w_dtype == SY_BF16 && sy_cuda_has_wgmma(q) &&
                  m.D % 8 == 0 && (uintptr_t)m.h % 16 == 0;
    run_router(q, &m, run);
    run_experts(q, &m, run);
    struct sy_cuda_combination c = {m.T, m.D, m.K, m.results, m.weights, m.shared, m.x};
    sy_cuda_moe_combine(q, &c);
}
