/* SPDX-License-Identifier: Apache-2.0
 * across.cu - one layer of experts that are spread over ranks, without a look from the host
 *
 *   ids ──> send ──┐ choices, rows ┌──> sort ──> in order ──> gate and up ──> down ──┐ results ┌──> combine
 *          ahead ──┴─── (waits) ───┴─────────────┘                                └ (waits) ┘
 *
 * send: a block for each token stores its row once at each rank that has an expert of it, and says at every rank which; down
 * stores each result where the token's rank wants it, over the link while others are multiplied. What is there is said at all
 * ranks in words that a kernel waits for, which takes some 2 us where a driver's wait of the stream takes 8; but that one comes
 * first where ranks share a device, to let them take turns.
 * Where nearly all tokens go to all ranks anyway, ahead brings them there while the router is at work and choices are sorted,
 * and send only says what they are for. Many are brought by copy engines, to one rank after the other, and put in order so.
 *
 * Every piece has its own words. One is not set again before it is cleared: rows and choices of the next layer are sent when all
 * results of this one are here, and a rank clears its words of them before it says that results are; and results of the next one
 * after its rows, which are sent after this rank has seen the results and cleared their words.
 */
#include <cuda.h>
#include <string.h>

#include "cuda/launch.cuh"
#include "cuda/moe.cuh"
#include "cuda/sort.cuh"

#define THREADS      256
#define SORT_THREADS 512
#define WAIT_NS      50 /* between two looks at what another rank says */
#define ORDER_EACH   4  /* blocks of a multiprocessor that put rows in order */
#define ORDER_PART   128 /* uint4 of a row that a warp takes */

struct across {
    int T, D, E, K, R, rank, rows_each, most, first, piece, pieces_most;
    const struct sy_moe_window *windows;
    const int32_t *homes, *ids;
    const float *h;
    const uint16_t *rows;              /* what is sent if not h */
    uint32_t *counter, *counter_ahead; /* of blocks that are done; zero before and after */
    unsigned long long *counts;        /* [4] experts and pairs here, rows and results elsewhere; or NULL */
    struct sy_sort sort;
    struct sy_cuda_both_counts both; /* of many */
    uint32_t *x_rows;                /* [pairs] */
    void **y_rows;                   /* [pairs] */
    int *places;                     /* [R][most][K] where rows are in order, of those whose expert is here; of many */
    uint16_t *act;                   /* [pairs][F] */
    bool in_order;                   /* rows of experts are put together first, as wide tiles want them */
    bool apart, ahead, copied;
    uint16_t *sorted; /* [pairs][D] these, or results that are apart */
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
    /* Counters are where they are for few and for many: nothing else ever writes there. */
    a->counter = (uint32_t *)sy_moe_take(base, &used, sizeof *a->counter);
    a->counter_ahead = (uint32_t *)sy_moe_take(base, &used, sizeof *a->counter_ahead);
    a->sort.n_tiles = (int *)sy_moe_take(base, &used, sizeof(int));
    a->sort.counts = (int *)sy_moe_take(base, &used, sizeof(int) * (size_t)chunks_most(given) * slots);
    a->sort.tiles = (struct sy_cuda_tile *)sy_moe_take(base, &used, sizeof *a->sort.tiles * (slots + pairs / 8));
    a->x_rows = (uint32_t *)sy_moe_take(base, &used, sizeof *a->x_rows * pairs);
    a->y_rows = (void **)sy_moe_take(base, &used, sizeof *a->y_rows * pairs);
    a->act = (uint16_t *)sy_moe_take(base, &used, 2 * pairs * (size_t)shape->F);
    if (given->many) {
        a->sort.had = (bool *)sy_moe_take(base, &used, sizeof(bool) * slots);
        a->both.next = (uint32_t *)sy_moe_take(base, &used, sizeof *a->both.next);
        a->both.done = (uint32_t *)sy_moe_take(base, &used, sizeof *a->both.done * (slots + pairs / 8));
        a->places = (int *)sy_moe_take(base, &used,
                                       sizeof(int) * (size_t)given->n_ranks * (size_t)given->most * (size_t)shape->K);
    }
    if (given->many || given->apart)
        a->sorted = (uint16_t *)sy_moe_take(base, &used, 2 * pairs * (size_t)shape->D);
    return used;
}

size_t sy_cuda_across_bytes(const struct sy_moe_across *given)
{
    struct sy_moe_across sized = *given;
    struct across a;

    sized.run.workspace = NULL;
    return lay_out(&sized, &a);
}

/* Rows of a tile: for this rank's tokens on each, or for many. Tiles beyond go through weights again, from the L2. */
static int tile_rows_for(const struct sy_moe_across *given)
{
    const struct sy_moe_shape *shape = &given->run.shape;
    int own = shape->T ? shape->T : 1, most = given->many ? SY_CUDA_TILE_ROWS : SY_CUDA_FEW_ROWS;
    double pairs = (double)(given->many ? given->most : own) * given->n_ranks * shape->K;
    int rows = sy_moe_tile_rows(pairs / shape->E);

    return sy_cuda_tile_rows(rows < most ? rows : most);
}

static struct across describe(const struct sy_queue *q, const struct sy_moe_across *given)
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
    a.rows_each = given->rows_each;
    a.most = given->most;
    a.first = given->first;
    a.piece = given->piece;
    a.pieces_most = given->pieces_most;
    a.apart = given->apart;
    a.ahead = given->ahead;
    a.copied = given->ahead && given->copied;
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
    a.sort.anew = !given->piece;
    a.sort.tile_rows = tile_rows_for(given);
    a.in_order = given->many && a.sort.tile_rows > SY_CUDA_FEW_ROWS && run->shape.w_dtype == SY_BF16 &&
                 sy_cuda_has_wgmma(q);
    return a;
}

/* ---- words ---- */

typedef CUresult (*memory_ops)(CUstream, unsigned, CUstreamBatchMemOpParams *, unsigned);

static memory_ops find_memory_ops(void)
{
    static memory_ops found;

    if (!found)
        found = (memory_ops)sy_cuda_driver("cuStreamBatchMemOp");
    return found;
}

static void run_ops(struct sy_queue *q, cudaStream_t stream, CUstreamBatchMemOpParams *ops, int n)
{
    memory_ops run = find_memory_ops();

    if (sy_cuda_works(q) && (!run || run((CUstream)stream, (unsigned)n, ops, 0) != CUDA_SUCCESS))
        sy_error_set(&q->error, SY_ERR_SYSTEM, "GPU %d: its stream cannot wait for other ranks", q->device);
}

/* A rank's words of a piece, [R], as the host has their addresses. */
static uint32_t *words_of(const struct sy_moe_across *given, const struct sy_moe_window *window, enum sy_moe_news news,
                          int piece)
{
    return window->arrived + (news * given->pieces_most + piece) * given->n_ranks;
}

/* The stream goes on when all ranks have said so: where kernels must not wait for them. */
static void stream_wait(struct sy_queue *q, const struct sy_moe_across *given, enum sy_moe_news news, int piece)
{
    CUstreamBatchMemOpParams ops[SY_ACROSS_RANKS_MAX];

    memset(ops, 0, sizeof ops);
    for (int i = 0; i < given->n_ranks; i++) {
        ops[i].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
        ops[i].waitValue.address = (CUdeviceptr)(words_of(given, &given->own, news, piece) + i);
        ops[i].waitValue.value = 1;
        ops[i].waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
    }
    run_ops(q, q->stream, ops, given->n_ranks);
}

/* Rank p has this rank's rows, when the stream beside comes there. */
static void tell_beside(struct sy_queue *q, const struct sy_moe_across *given, int p)
{
    CUstreamBatchMemOpParams op;

    memset(&op, 0, sizeof op);
    op.writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    op.writeValue.address = (CUdeviceptr)(words_of(given, &given->peers[p], SY_NEWS_ROWS, given->piece) + given->rank);
    op.writeValue.value = 1;
    run_ops(q, q->beside, &op, 1);
}

/* The word of rank p that says what rank `from` has brought there. */
static __device__ __forceinline__ uint32_t *word_of(const struct across &a, int p, enum sy_moe_news news, int from)
{
    return a.windows[p].arrived + (news * a.pieces_most + a.piece) * a.R + from;
}

/* Tell rank p: it sees then what this thread has stored, or knows to be stored, as the last of a grid knows it of all blocks. */
static __device__ void tell(const struct across &a, int p, enum sy_moe_news news)
{
    asm volatile("st.release.sys.global.u32 [%0], 1;" ::"l"(word_of(a, p, news, a.rank)) : "memory");
}

/* Until rank `from` has told this one. */
static __device__ __forceinline__ void await(const struct across &a, enum sy_moe_news news, int from)
{
    const uint32_t *word = word_of(a, a.rank, news, from);
    uint32_t told;

    for (;;) {
        asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(told) : "l"(word) : "memory");
        if (told)
            return;
        __nanosleep(WAIT_NS);
    }
}

/* Until all have; of results their words are free again. A thread for each rank. */
static __global__ void wait_kernel(const struct across a, enum sy_moe_news news)
{
    int r = (int)threadIdx.x;

    sy_begin();
    if (r < a.R)
        await(a, news, r);
    /* Whoever looks for a rank that is missing finds this one's own word set. */
    __syncthreads();
    if (r < a.R && news == SY_NEWS_RESULTS)
        *word_of(a, a.rank, news, r) = 0;
}

static void wait_for(struct sy_queue *q, const struct sy_moe_across *given, const struct across *a,
                     enum sy_moe_news news)
{
    if (!given->alone)
        stream_wait(q, given, news, a->piece);
    sy_launch(q, "waiting for other ranks", wait_kernel, 1, SY_ACROSS_RANKS_MAX, 0, *a, news);
}

/* ---- send ---- */

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

/* Where the experts of token t are. Returns the ranks as bits. */
static __device__ unsigned long long find_homes(const struct across &a, int t, int *home, int *slot)
{
    __shared__ unsigned long long targets;
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
    return targets;
}

/* Of token t, which `n_rows` other ranks get; by one thread. */
static __device__ void count_sent(const struct across &a, const int *home, int n_rows)
{
    int n_results = 0;

    if (!a.counts)
        return;
    for (int k = 0; k < a.K; k++)
        n_results += home[k] != a.rank;
    atomicAdd(&a.counts[2], (unsigned long long)n_rows);
    atomicAdd(&a.counts[3], (unsigned long long)n_results);
}

static __device__ __forceinline__ size_t row_of(const struct across &a, int t)
{
    return (size_t)(a.rank * a.rows_each + a.first + t);
}

static __device__ void send_token(const struct across &a, int t)
{
    __shared__ int home[SY_ACROSS_CHOICES_MAX], slot[SY_ACROSS_CHOICES_MAX];
    unsigned long long targets = find_homes(a, t, home, slot);

    for (int j = (int)threadIdx.x; j < a.R * a.K; j += THREADS) {
        int p = j / a.K, k = j % a.K;
        a.windows[p].slots[row_of(a, t) * (size_t)a.K + (size_t)k] = home[k] == p ? slot[k] : -1;
    }
    if (threadIdx.x == 0)
        count_sent(a, home, __popcll(targets & ~(1ull << a.rank)));
    size_t row = row_of(a, t) * (size_t)a.D;
    for (int d = (int)threadIdx.x * 8; d < a.D; d += THREADS * 8) {
        uint4 narrow = piece(a, (size_t)t * (size_t)a.D + (size_t)d);
        for (unsigned long long left = targets; left; left &= left - 1)
            *(uint4 *)((uint16_t *)a.windows[__ffsll((long long)left) - 1].rows + row + (size_t)d) = narrow;
    }
}

/* The last block says at all ranks what is there. */
static __device__ void say_sent(const struct across &a, enum sy_moe_news news)
{
    if (!sy_comes_last(a.counter, gridDim.x) || (int)threadIdx.x >= a.R)
        return;
    a.windows[threadIdx.x].n_tokens[a.piece * a.R + a.rank] = a.T;
    tell(a, (int)threadIdx.x, news);
}

static __global__ void __launch_bounds__(THREADS) send_kernel(const struct across a)
{
    sy_begin();
    if ((int)blockIdx.x < a.T)
        send_token(a, (int)blockIdx.x);
    say_sent(a, SY_NEWS_ROWS);
}

/* Rows to this rank's own window, or to all, which the last block says. */
template <bool ALL>
static __global__ void __launch_bounds__(THREADS, ORDER_EACH + 1) ahead_kernel(const struct across a)
{
    size_t n = (size_t)a.T * (size_t)a.D, row = row_of(a, 0) * (size_t)a.D, step = (size_t)gridDim.x * THREADS * 8;
    int begin = ALL ? 0 : a.rank, end = ALL ? a.R : a.rank + 1;
    /* Several at once, for blocks are few; where they go to others the links are what takes time. */
    constexpr int AT_ONCE = ALL ? 1 : 4;

    for (size_t i = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 8; i < n; i += AT_ONCE * step) {
        uint4 narrow[AT_ONCE];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++)
            if (i + (size_t)j * step < n)
                narrow[j] = piece(a, i + (size_t)j * step);
        for (int p = begin; p < end; p++) {
            uint16_t *rows = (uint16_t *)a.windows[p].rows + row + i;
#pragma unroll
            for (int j = 0; j < AT_ONCE; j++)
                if (i + (size_t)j * step < n)
                    __stcg((uint4 *)(rows + (size_t)j * step), narrow[j]); /* an assignment becomes four stores */
        }
    }
    if (ALL && sy_comes_last(a.counter_ahead, gridDim.x) && (int)threadIdx.x < a.R)
        tell(a, (int)threadIdx.x, SY_NEWS_ROWS);
}

/* What they are for. */
static __global__ void __launch_bounds__(THREADS) choices_kernel(const struct across a)
{
    int i = (int)(blockIdx.x * THREADS + threadIdx.x);
    bool mine = i < a.T * a.K;

    sy_begin();
    const int32_t *home = a.homes + 2 * (mine ? a.ids[i] : 0);
    for (int p = 0; p < a.R && mine; p++)
        a.windows[p].slots[row_of(a, 0) * (size_t)a.K + (size_t)i] = home[0] == p ? home[1] : -1;
    int elsewhere = __syncthreads_count(mine && home[0] != a.rank);
    if (threadIdx.x == 0 && a.counts) {
        atomicAdd(&a.counts[3], (unsigned long long)elsewhere);
        if (blockIdx.x == 0)
            atomicAdd(&a.counts[2], (unsigned long long)a.T * (unsigned long long)(a.R - 1));
    }
    say_sent(a, SY_NEWS_CHOICES);
}

/* From this rank's own window; in step i every rank sends to the i-th after it, so that none gets from two at once. */
static void copy_ahead(struct sy_queue *q, const struct sy_moe_across *given, const struct across *a)
{
    size_t bytes = (size_t)a->D * sizeof(uint16_t), at = (size_t)(a->rank * a->rows_each + a->first) * bytes;

    for (int i = 0; i < a->R; i++) {
        int p = (a->rank + i) % a->R;
        if (i && a->T &&
            !sy_cuda_check(q,
                           cudaMemcpyAsync((uint8_t *)given->peers[p].rows + at, (uint8_t *)given->own.rows + at,
                                           (size_t)a->T * bytes, cudaMemcpyDefault, q->beside),
                           "rows to other ranks"))
            return;
        tell_beside(q, given, p);
    }
}

static void run_ahead(struct sy_queue *q, const struct sy_moe_across *given, const struct across *a)
{
    const void *kernels[] = {(const void *)ahead_kernel<false>, (const void *)ahead_kernel<true>};

    SY_RANGE("dispatch");
    /* A multiprocessor divides its memory anew only when it is idle, and the router's kernels want much of it shared. */
    for (const void *kernel : kernels)
        if (!sy_cuda_check(q,
                           cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                                cudaSharedmemCarveoutMaxShared),
                           "rows to other ranks"))
            return;
    if (!sy_cuda_check(q, cudaEventRecord(q->fork, q->stream), "rows to other ranks") ||
        !sy_cuda_check(q, cudaStreamWaitEvent(q->beside, q->fork, 0), "rows to other ranks"))
        return;
    if (a->copied) {
        ahead_kernel<false><<<(unsigned)q->n_sms, THREADS, 0, q->beside>>>(*a);
        copy_ahead(q, given, a);
    } else {
        ahead_kernel<true><<<(unsigned)q->n_sms, THREADS, 0, q->beside>>>(*a);
    }
    sy_cuda_launched(q, "rows to other ranks");
}

static void run_send(struct sy_queue *q, const struct across *a)
{
    SY_RANGE("dispatch");
    if (!a->ahead) {
        sy_launch(q, "rows to other ranks", send_kernel, (unsigned)(a->T ? a->T : 1), THREADS, 0, *a);
        return;
    }
    unsigned n_blocks = (unsigned)(a->T * a->K) / THREADS + 1;
    if (!q->recording) {
        sy_launch(q, "choices of rows", choices_kernel, n_blocks, THREADS, 0, *a);
        return;
    }
    /* Branches of a graph need not run beside each other: there nothing waits for words before this rank's rows are gone. */
    if (!sy_cuda_check(q, cudaEventRecord(q->join, q->beside), "rows to other ranks") ||
        !sy_cuda_check(q, cudaStreamWaitEvent(q->stream, q->join, 0), "rows to other ranks"))
        return;
    choices_kernel<<<n_blocks, THREADS, 0, q->stream>>>(*a);
    sy_cuda_launched(q, "choices of rows");
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
        int row = r * a.rows_each + a.first + token - first[r];
        return __ldcg(own.slots + (size_t)row * (size_t)a.K + (size_t)(pair % a.K));
    }

    __device__ __forceinline__ void put(int pair, int row) const
    {
        int token = pair / a.K, r = rank_of(token), t = a.first + token - first[r];
        if (a.in_order)
            a.places[(r * a.most + token - first[r]) * a.K + pair % a.K] = row;
        a.x_rows[row] = (uint32_t)(r * a.rows_each + t);
        a.y_rows[row] = (uint16_t *)a.windows[r].results + (size_t)(t * a.K + pair % a.K) * (size_t)a.D;
    }
};

/* By one thread. */
static __device__ void find_first(const struct across &a, const struct sy_moe_window &own, int *first)
{
    first[0] = 0;
    for (int r = 0; r < a.R; r++)
        first[r + 1] = first[r] + __ldcg(own.n_tokens + a.piece * a.R + r);
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
    if (!PLACE && chunk == 0 && !sort.T) {
        for (int e = (int)threadIdx.x; e < sort.E && sort.had && sort.anew; e += SORT_THREADS)
            sort.had[e] = false;
        if (threadIdx.x == 0)
            *sort.n_tiles = 0;
    }
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

static struct sy_cuda_group half_of(const struct sy_moe_across *given, const struct across *a, enum sy_half half)
{
    const struct sy_moe_run *run = &given->run;
    struct sy_cuda_group g = {};
    bool down = half == SY_DOWN;
    int K = a->K < given->n_slots ? a->K : given->n_slots, pairs = a->R * given->most * K;

    g.half = half;
    g.experts = (const struct sy_cuda_expert *)run->table;
    g.tiles = a->sort.tiles;
    g.n_tiles = a->sort.n_tiles;
    g.n_tiles_most = given->n_slots + pairs / a->sort.tile_rows;
    g.tile_rows = a->sort.tile_rows;
    g.w_dtype = run->shape.w_dtype;
    g.x_dtype = g.y_dtype = SY_BF16;
    g.n = down ? run->shape.D : run->shape.F;
    g.k = down ? run->shape.F : run->shape.D;
    /* Results that are apart take the place of rows in order: those of a tile when gate and up are done with it. */
    g.x = (const uint8_t *)(down ? (const void *)a->act : a->in_order ? a->sorted : given->own.rows);
    g.x_rows = down || a->in_order ? NULL : a->x_rows;
    g.n_rows = g.x_rows ? a->R * a->rows_each : pairs;
    g.y = (uint8_t *)(!down ? a->act : a->apart ? a->sorted : NULL);
    g.y_rows = down && !a->apart ? a->y_rows : NULL;
    g.glu = run->glu;
    return g;
}

/* A part of the row of rank r's token t, from the d-th uint4 on, to where experts want it. By a warp. */
static __device__ __forceinline__ void order_part(const struct across &a, const struct sy_moe_window &own, int r, int t,
                                                  int d)
{
    int lane = (int)threadIdx.x % 32, n_left = a.D / 8 - d - lane;
    size_t row = (size_t)(r * a.rows_each + a.first + t);
    const uint4 *from = (const uint4 *)((const uint16_t *)own.rows + row * (size_t)a.D) + d + lane;
    bool here = lane < a.K && __ldcg(own.slots + row * (size_t)a.K + (size_t)lane) >= 0;
    int place = here ? a.places[(r * a.most + t) * a.K + lane] : 0;
    unsigned targets = __ballot_sync(0xffffffffu, here);
    uint4 piece[ORDER_PART / 32];

#pragma unroll
    for (int i = 0; i < ORDER_PART / 32 && targets; i++)
        if (i * 32 < n_left)
            piece[i] = __ldcg(from + i * 32);
    for (unsigned left = targets; left; left &= left - 1) {
        int to = __shfl_sync(0xffffffffu, place, __ffs((int)left) - 1);
        uint4 *sorted = (uint4 *)(a.sorted + (size_t)to * (size_t)a.D) + d + lane;
#pragma unroll
        for (int i = 0; i < ORDER_PART / 32; i++)
            if (i * 32 < n_left)
                sorted[i * 32] = piece[i];
    }
}

/* Rows of all ranks in the order in which those that went ahead come; and nothing of them is done yet. */
static __global__ void __launch_bounds__(THREADS, ORDER_EACH + 1) order_kernel(const struct across a)
{
    int at = (int)(blockIdx.x * THREADS + threadIdx.x), n_warps = (int)gridDim.x * (THREADS / 32);
    int n_parts = (a.D / 8 + ORDER_PART - 1) / ORDER_PART;

    sy_begin();
    const struct sy_moe_window &own = a.windows[a.rank];
    if (at == 0)
        *a.both.next = 0;
    for (int i = at; i < *a.sort.n_tiles; i += (int)gridDim.x * THREADS)
        a.both.done[i] = 0;
    /* Parts of all ranks' rows are numbered, and a warp takes every n_warps-th. A block stays until all are here, even of a rank
     * that has none: see below. */
    for (int i = 0, part = at / 32; i < a.R; i++) {
        int r = (a.rank + a.R - i) % a.R, n = __ldcg(own.n_tokens + a.piece * a.R + r) * n_parts;
        if (a.ahead && (part < n || threadIdx.x < 32)) {
            if (threadIdx.x % 32 == 0)
                await(a, SY_NEWS_ROWS, r);
            __syncwarp();
        }
        for (; part < n; part += n_warps)
            order_part(a, own, r, part / n_parts, part % n_parts * ORDER_PART);
        part -= n;
    }
}

/* Wait for rows that went ahead, and put them in order. What waits here, or begins early behind it, must leave room for kernels
 * beside that bring this rank's rows to others, which may wait for them. So blocks of order_kernel have so much memory that
 * ORDER_EACH fit on a multiprocessor: with them kernels of experts do not, and those beside, which need no memory and registers
 * of one more block at most, do. Where rows are not put in order the stream waits, and nothing begins before. */
static void run_order(struct sy_queue *q, const struct sy_moe_across *given, const struct across *a)
{
    size_t shared = q->shared_bytes / (ORDER_EACH + 1) + 1024;

    if (a->ahead && !(given->alone && a->in_order))
        stream_wait(q, given, SY_NEWS_ROWS, a->piece);
    if (a->in_order)
        sy_launch(q, "rows in order of experts", order_kernel, (unsigned)(ORDER_EACH * q->n_sms), THREADS, shared, *a);
}

/* These, or the rows as they came, to where results are wanted. */
static __global__ void __launch_bounds__(THREADS) return_kernel(const struct across a)
{
    sy_begin();
    const struct sy_cuda_tile &last = a.sort.tiles[*a.sort.n_tiles - 1];
    const uint16_t *rows = (const uint16_t *)a.windows[a.rank].rows;
    int n = *a.sort.n_tiles ? last.row + last.n_rows : 0;

    for (int row = (int)blockIdx.x; row < n; row += (int)gridDim.x) {
        const uint16_t *came = rows + (size_t)a.x_rows[row] * (size_t)a.D;
        const uint4 *from = (const uint4 *)(a.apart ? a.sorted + (size_t)row * (size_t)a.D : came);
        uint4 *to = (uint4 *)a.y_rows[row];
        for (int i = (int)threadIdx.x; i < a.D / 8; i += THREADS)
            to[i] = __ldcg(from + i);
    }
}

/* Results are stored by the kernel before, and nothing here asks any more for what a rank sent, which it may send anew when it
 * has been told. */
static __global__ void tell_kernel(const struct across a)
{
    int r = (int)threadIdx.x;

    sy_begin();
    if (r >= a.R)
        return;
    *word_of(a, a.rank, SY_NEWS_ROWS, r) = 0;
    *word_of(a, a.rank, SY_NEWS_CHOICES, r) = 0;
    tell(a, r, SY_NEWS_RESULTS);
}

static void run_tell(struct sy_queue *q, const struct across *a)
{
    sy_launch(q, "results of other ranks", tell_kernel, 1, SY_ACROSS_RANKS_MAX, 0, *a);
}

static void run_experts(struct sy_queue *q, const struct sy_moe_across *given, const struct across *a)
{
    struct sy_cuda_group halves[] = {half_of(given, a, SY_GATE_UP), half_of(given, a, SY_DOWN)};

    SY_RANGE("experts");
    run_order(q, given, a);
    if (!a->in_order || !sy_cuda_group_both(q, halves, &a->both)) {
        sy_cuda_group_run(q, &halves[SY_GATE_UP]);
        sy_cuda_group_run(q, &halves[SY_DOWN]);
    }
    if (!a->apart)
        run_tell(q, a);
}

static void run_return(struct sy_queue *q, const struct across *a)
{
    SY_RANGE("combine");
    sy_launch(q, "rows back", return_kernel, (unsigned)(4 * q->n_sms), THREADS, 0, *a);
    run_tell(q, a);
}

static void run_finish(struct sy_queue *q, const struct sy_moe_across *given, const struct across *a)
{
    const struct sy_moe_run *run = &given->run;
    struct sy_cuda_combination c = {a->T,         a->D,        a->K,  (const uint16_t *)given->own.results,
                                    run->weights, run->shared, run->x};

    SY_RANGE("combine");
    /* Then rows that went ahead are gone: all ranks have seen them. */
    for (int i = 0; i < given->n_pieces; i++) {
        struct across piece = *a;
        piece.piece = i;
        wait_for(q, given, &piece, SY_NEWS_RESULTS);
    }
    if (a->T && run->x)
        sy_cuda_moe_combine(q, &c);
}

void sy_cuda_across(struct sy_queue *q, const struct sy_moe_across *given, enum sy_across_part part)
{
    struct across a = describe(q, given);

    if (!sy_cuda_works(q))
        return;
    switch (part) {
    case SY_ACROSS_AHEAD:
        run_ahead(q, given, &a);
        break;
    case SY_ACROSS_SEND:
        run_send(q, &a);
        break;
    case SY_ACROSS_RECEIVE: {
        SY_RANGE("dispatch wait");
        wait_for(q, given, &a, a.ahead ? SY_NEWS_CHOICES : SY_NEWS_ROWS);
        break;
    }
    case SY_ACROSS_SORT:
        run_sort(q, given, &a);
        break;
    case SY_ACROSS_EXPERTS:
        run_experts(q, given, &a);
        break;
    case SY_ACROSS_RETURN:
        run_return(q, &a);
        break;
    case SY_ACROSS_FINISH:
        run_finish(q, given, &a);
        break;
    }
}
