/* SPDX-License-Identifier: Apache-2.0
 * across.cu - one layer of experts that are spread over ranks, without a look from the host
 *
 *   logits ──> choose ──> send ──┐ rows of all ranks ┌──> sort ──> gate and up ──> down ──┐ results ┌──> combine
 *                                └─── (the stream waits) ────┘                                └─ (waits) ─┘
 *
 * send: a block for each token stores its row once at each rank that has an expert of it, and says at every rank which; down
 * stores each result where the token's rank wants it, over the link while others are multiplied. The last block of each says
 * at all ranks that this one's are there, in a word that the rank's stream waits for (a driver's wait, which lets ranks on
 * one device take turns) and clears.
 *
 * A word is not set again before it is cleared: rows of the next layer are sent when all results of this one are here, which
 * a rank sends after it has seen this rank's rows; and results of the next one after its rows, which are sent after this
 * rank has seen the results.
 */
#include <cuda.h>
#include <string.h>

#include "cuda/launch.cuh"
#include "cuda/moe.cuh"
#include "cuda/sort.cuh"

#define THREADS      256
#define SORT_THREADS 512

struct across {
    int T, D, E, K, R, rank, most, rows_each;
    const struct sy_moe_window *windows;
    const int32_t *homes, *ids;
    const float *h;
    const uint16_t *rows;       /* what is sent if not h */
    uint32_t *counter;          /* of blocks that are done; zero before and after */
    unsigned long long *counts; /* [4] experts and pairs here, rows and results elsewhere; or NULL */
    struct sy_sort sort;
    uint32_t *x_rows; /* [pairs] */
    void **y_rows;    /* [pairs] */
    uint16_t *act;    /* [pairs][F] */
};

/* ---- the workspace ---- */

static int chunks_most(const struct sy_moe_across *a)
{
    return (a->n_ranks * a->most + SY_SORT_CHUNK - 1) / SY_SORT_CHUNK;
}

static size_t lay_out(const struct sy_moe_across *given, struct across *a)
{
    const struct sy_moe_shape *shape = &given->run.shape;
    size_t used = 0, K = (size_t)(shape->K < given->n_slots ? shape->K : given->n_slots);
    size_t pairs = (size_t)given->n_ranks * (size_t)given->most * K, slots = (size_t)given->n_slots;
    uint8_t *base = (uint8_t *)given->run.workspace;

    memset(a, 0, sizeof *a);
    a->counter = (uint32_t *)sy_moe_take(base, &used, sizeof *a->counter);
    a->sort.n_tiles = (int *)sy_moe_take(base, &used, sizeof(int));
    a->sort.counts = (int *)sy_moe_take(base, &used, sizeof(int) * (size_t)chunks_most(given) * slots);
    a->sort.tiles = (struct sy_cuda_tile *)sy_moe_take(base, &used, sizeof *a->sort.tiles * (slots + pairs / 8));
    a->x_rows = (uint32_t *)sy_moe_take(base, &used, sizeof *a->x_rows * pairs);
    a->y_rows = (void **)sy_moe_take(base, &used, sizeof *a->y_rows * pairs);
    a->act = (uint16_t *)sy_moe_take(base, &used, 2 * pairs * (size_t)shape->F);
    return used;
}

size_t sy_cuda_across_bytes(const struct sy_moe_across *given)
{
    struct sy_moe_across sized = *given;
    struct across a;

    sized.run.workspace = NULL;
    return lay_out(&sized, &a);
}

static struct across describe(const struct sy_moe_across *given)
{
    const struct sy_moe_run *run = &given->run;
    struct across a;

    lay_out(given, &a);
    a.T = run->shape.T;
    a.D = run->shape.D;
    a.E = run->shape.E;
    a.K = run->shape.K;
    a.R = given->n_ranks;
    a.rank = given->rank;
    a.most = given->most;
    a.rows_each = given->rows_each;
    a.windows = given->windows;
    a.homes = given->homes;
    a.ids = run->ids;
    a.h = run->h;
    a.rows = (const uint16_t *)given->rows;
    a.counts = (unsigned long long *)run->n_active;
    a.sort.K = a.K;
    a.sort.E = given->n_slots;
    a.sort.n_active = a.counts;
    a.sort.n_rows = a.counts ? a.counts + 1 : NULL;
    /* Other ranks may have more tokens or fewer; tiles beyond these go through weights again, from the L2. */
    int rows = sy_moe_tile_rows((double)(a.T ? a.T : 1) * a.R * a.K / a.E);
    a.sort.tile_rows = sy_cuda_tile_rows(rows < SY_CUDA_FEW_ROWS ? rows : SY_CUDA_FEW_ROWS);
    return a;
}

/* ---- send ---- */

/* All that this block stored is there for whoever sees that it is counted. Whether it is the last of the grid. */
static __device__ bool comes_last(uint32_t *counter)
{
    __shared__ bool last;

    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence_system();
        last = atomicAdd(counter, 1) == gridDim.x - 1;
        if (last)
            *counter = 0;
        __threadfence_system();
    }
    __syncthreads();
    return last;
}

/* Tell rank p that this rank's rows (which: 0) or results (1) are there. */
static __device__ void tell(const struct across &a, int p, int which)
{
    uint32_t *word = a.windows[p].arrived + which * a.R + a.rank;

    __threadfence_system();
    asm volatile("st.release.sys.global.u32 [%0], 1;" ::"l"(word) : "memory");
}

/* Eight numbers of this rank's rows. */
static __device__ __forceinline__ uint4 piece(const struct across &a, size_t at)
{
    if (a.rows)
        return *(const uint4 *)(a.rows + at);
    const float4 *h = (const float4 *)(a.h + at);
    float4 f = h[0], g = h[1];
    return make_uint4(sy_narrow_bf16(f.x) | (uint32_t)sy_narrow_bf16(f.y) << 16,
                      sy_narrow_bf16(f.z) | (uint32_t)sy_narrow_bf16(f.w) << 16,
                      sy_narrow_bf16(g.x) | (uint32_t)sy_narrow_bf16(g.y) << 16,
                      sy_narrow_bf16(g.z) | (uint32_t)sy_narrow_bf16(g.w) << 16);
}

static __device__ void send_token(const struct across &a, int t)
{
    __shared__ unsigned long long targets;
    __shared__ int home[SY_ACROSS_CHOICES_MAX], slot[SY_ACROSS_CHOICES_MAX];
    int i = (int)threadIdx.x;

    if (i == 0)
        targets = 0;
    __syncthreads();
    if (i < a.K) {
        const int32_t *at = a.homes + 2 * a.ids[t * a.K + i];
        home[i] = at[0];
        slot[i] = at[1];
        atomicOr(&targets, 1ull << at[0]);
    }
    __syncthreads();
    for (int j = i; j < a.R * a.K; j += THREADS) {
        int p = j / a.K, k = j % a.K;
        a.windows[p].slots[(size_t)(a.rank * a.most + t) * (size_t)a.K + (size_t)k] = home[k] == p ? slot[k] : -1;
    }
    if (i == 0 && a.counts) {
        int n_results = 0;
        for (int k = 0; k < a.K; k++)
            n_results += home[k] != a.rank;
        atomicAdd(&a.counts[2], (unsigned long long)__popcll(targets & ~(1ull << a.rank)));
        atomicAdd(&a.counts[3], (unsigned long long)n_results);
    }
    size_t row = (size_t)(a.rank * a.rows_each + t) * (size_t)a.D;
    for (int d = i * 8; d < a.D; d += THREADS * 8) {
        uint4 narrow = piece(a, (size_t)t * (size_t)a.D + (size_t)d);
        for (unsigned long long left = targets; left; left &= left - 1)
            *(uint4 *)((uint16_t *)a.windows[__ffsll((long long)left) - 1].rows + row + (size_t)d) = narrow;
    }
}

static __global__ void __launch_bounds__(THREADS) send_kernel(const struct across a)
{
    sy_begin();
    if ((int)blockIdx.x < a.T)
        send_token(a, (int)blockIdx.x);
    if (!comes_last(a.counter) || (int)threadIdx.x >= a.R)
        return;
    a.windows[threadIdx.x].n_tokens[a.rank] = a.T;
    tell(a, (int)threadIdx.x, 0);
}

void sy_cuda_across_send(struct sy_queue *q, const struct sy_moe_across *given)
{
    const struct sy_moe_run *run = &given->run;
    struct across a = describe(given);

    SY_RANGE("dispatch");
    if (!sy_cuda_works(q))
        return;
    if (a.T && !a.rows)
        sy_cuda_router(q, run->rule, run->router, run->h, a.T, run->logits, run->ids, run->weights);
    sy_launch(q, "rows to other ranks", send_kernel, (unsigned)(a.T ? a.T : 1), THREADS, 0, a);
}

/* ---- waiting ---- */

typedef CUresult (*memory_ops)(CUstream, unsigned, CUstreamBatchMemOpParams *, unsigned);

static memory_ops find_memory_ops(void)
{
    static memory_ops found;
    cudaDriverEntryPointQueryResult result;
    void *function = NULL;

    if (!found && cudaGetDriverEntryPointByVersion("cuStreamBatchMemOp", &function, 12000, cudaEnableDefault,
                                                   &result) == cudaSuccess)
        found = (memory_ops)function;
    return found;
}

/* The stream goes on when all n words are 1, which become 0. */
static void wait_for(struct sy_queue *q, uint32_t *words, int n)
{
    CUstreamBatchMemOpParams ops[2 * SY_ACROSS_RANKS_MAX];
    memory_ops run = find_memory_ops();

    memset(ops, 0, sizeof ops);
    for (int i = 0; i < n; i++) {
        ops[i].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
        ops[i].waitValue.address = (CUdeviceptr)(words + i);
        ops[i].waitValue.value = 1;
        ops[i].waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
        ops[n + i].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
        ops[n + i].writeValue.address = (CUdeviceptr)(words + i);
    }
    if (sy_cuda_works(q) && (!run || run((CUstream)q->stream, 2 * (unsigned)n, ops, 0) != CUDA_SUCCESS))
        sy_error_set(&q->error, SY_ERR_SYSTEM, "GPU %d: its stream cannot wait for other ranks", q->device);
}

/* ---- sort ---- */

/* Tokens of all ranks in order of ranks. */
struct arrivals {
    const struct across &a;
    const struct sy_moe_window &own;
    const int *first; /* [R + 1] of each rank's tokens */

    __device__ __forceinline__ int rank_of(int token) const
    {
        int r = 0;
        while (token >= first[r + 1])
            r++;
        return r;
    }

    __device__ __forceinline__ int expert(int pair) const
    {
        int token = pair / a.K, r = rank_of(token);
        return __ldcg(own.slots + (size_t)(r * a.most + token - first[r]) * (size_t)a.K + (size_t)(pair % a.K));
    }

    __device__ __forceinline__ void put(int pair, int row) const
    {
        int token = pair / a.K, r = rank_of(token), t = token - first[r];
        a.x_rows[row] = (uint32_t)(r * a.rows_each + t);
        a.y_rows[row] = (uint16_t *)a.windows[r].results + (size_t)(t * a.K + pair % a.K) * (size_t)a.D;
    }
};

/* By one thread. */
static __device__ void find_first(const struct across &a, const struct sy_moe_window &own, int *first)
{
    first[0] = 0;
    for (int r = 0; r < a.R; r++)
        first[r + 1] = first[r] + __ldcg(own.n_tokens + r);
}

/* One chunk is placed at once; several are counted (place: false) and then placed. */
template <bool PLACE> static __global__ void __launch_bounds__(SORT_THREADS) sort_kernel(const struct across a)
{
    extern __shared__ unsigned long long masks[];
    __shared__ int first[SY_ACROSS_RANKS_MAX + 1];
    int chunk = (int)blockIdx.x;

    sy_begin();
    const struct sy_moe_window &own = a.windows[a.rank];
    if (threadIdx.x == 0)
        find_first(a, own, first);
    __syncthreads();
    struct sy_sort sort = a.sort;
    sort.T = first[a.R];
    sort.n_chunks = (sort.T + SY_SORT_CHUNK - 1) / SY_SORT_CHUNK;
    if (!PLACE && chunk == 0 && threadIdx.x == 0 && !sort.T)
        *sort.n_tiles = 0;
    if (chunk >= sort.n_chunks || (PLACE && sort.n_chunks == 1))
        return;
    struct arrivals pairs = {a, own, first};
    int mine = sy_sort_mark(sort, pairs, chunk, masks);
    if (PLACE || sort.n_chunks == 1)
        sy_sort_place(sort, pairs, chunk, masks, mine, (int *)(masks + sort.E));
    else
        sy_sort_count(sort, chunk, masks);
}

static void run_sort(struct sy_queue *q, const struct sy_moe_across *given, const struct across *a)
{
    size_t bytes = sy_sort_bytes(given->n_slots);
    unsigned n_chunks = (unsigned)chunks_most(given);

    sy_launch(q, "rows in order of experts", sort_kernel<false>, n_chunks, SORT_THREADS, bytes, *a);
    if (n_chunks > 1)
        sy_launch(q, "rows in order of experts", sort_kernel<true>, n_chunks, SORT_THREADS, bytes, *a);
}

/* ---- experts ---- */

static void run_half(struct sy_queue *q, const struct sy_moe_across *given, const struct across *a, enum sy_half half)
{
    const struct sy_moe_run *run = &given->run;
    struct sy_cuda_group g = {};
    bool down = half == SY_DOWN;
    int K = a->K < given->n_slots ? a->K : given->n_slots, pairs = a->R * a->most * K;

    g.half = half;
    g.experts = (const struct sy_cuda_expert *)run->table;
    g.tiles = a->sort.tiles;
    g.n_tiles = a->sort.n_tiles;
    g.n_tiles_most = given->n_slots + pairs / 8;
    g.tile_rows = a->sort.tile_rows;
    g.w_dtype = run->shape.w_dtype;
    g.x_dtype = g.y_dtype = SY_BF16;
    g.n = down ? run->shape.D : run->shape.F;
    g.k = down ? run->shape.F : run->shape.D;
    g.x = (const uint8_t *)(down ? (const void *)a->act : given->own.rows);
    g.x_rows = down ? NULL : a->x_rows;
    g.n_rows = down ? pairs : a->R * a->rows_each;
    g.y = (uint8_t *)(down ? NULL : a->act);
    g.y_rows = down ? a->y_rows : NULL;
    g.glu = run->glu;
    sy_cuda_group_run(q, &g);
}

/* Experts that return the rows that they get. */
static __global__ void __launch_bounds__(THREADS) return_kernel(const struct across a)
{
    sy_begin();
    const struct sy_cuda_tile &last = a.sort.tiles[*a.sort.n_tiles - 1];
    const uint16_t *rows = (const uint16_t *)a.windows[a.rank].rows;
    int n = *a.sort.n_tiles ? last.row + last.n_rows : 0;

    for (int row = (int)blockIdx.x; row < n; row += (int)gridDim.x) {
        const uint4 *from = (const uint4 *)(rows + (size_t)a.x_rows[row] * (size_t)a.D);
        uint4 *to = (uint4 *)a.y_rows[row];
        for (int i = (int)threadIdx.x; i < a.D / 8; i += THREADS)
            to[i] = __ldcg(from + i);
    }
}

/* ---- receive and finish ---- */

/* Results are stored by the kernel before. */
static __global__ void tell_kernel(const struct across a)
{
    sy_begin();
    if ((int)threadIdx.x < a.R)
        tell(a, (int)threadIdx.x, 1);
}

void sy_cuda_across_receive(struct sy_queue *q, const struct sy_moe_across *given)
{
    struct across a = describe(given);

    SY_RANGE("dispatch wait");
    if (!sy_cuda_works(q))
        return;
    wait_for(q, given->own.arrived, a.R);
    run_sort(q, given, &a);
}

void sy_cuda_across_finish(struct sy_queue *q, const struct sy_moe_across *given)
{
    const struct sy_moe_run *run = &given->run;
    struct across a = describe(given);

    if (!sy_cuda_works(q))
        return;
    if (a.rows) {
        sy_launch(q, "rows back", return_kernel, (unsigned)(4 * q->n_sms), THREADS, 0, a);
    } else {
        SY_RANGE("experts");
        run_half(q, given, &a, SY_GATE_UP);
        run_half(q, given, &a, SY_DOWN);
    }
    sy_launch(q, "results of other ranks", tell_kernel, 1, SY_ACROSS_RANKS_MAX, 0, a);
    wait_for(q, given->own.arrived + a.R, a.R);
    const uint16_t *results = (const uint16_t *)given->own.results;
    struct sy_cuda_combination c = {a.T, a.D, a.K, results, run->weights, run->shared, run->x};
    if (a.T && !a.rows)
        sy_cuda_moe_combine(q, &c);
}
