/* SPDX-License-Identifier: Apache-2.0
 * across.cu - one layer of experts that are spread over ranks, without a look from the host
 *
 *   ids ──> send ──┐ choices, rows ┌──> sort ──> in order ──> gate and up ──> down ──┐ results ┌──> combine
 *          ahead ──┴─── (waits) ───┴─────────────┘                                └ (waits) ┘
 *
 * send: a block for each token stores its row once at each rank that has an expert of it, and says at every rank which; down
 * stores each result where the token's rank wants it, over the link while others are multiplied. What is there is said at all
 * ranks in words (across.cuh) that a kernel waits for, which takes some 2 us where a driver's wait of the stream takes 8; but
 * that one comes first where ranks share a device, to let them take turns.
 * Where nearly all tokens go to all ranks anyway, ahead brings them there while the router is at work and choices are sorted,
 * and send only says what they are for. Many are brought by copy engines, to one rank after the other, and put in order so.
 */
#include <string.h>

#include "cuda/across.cuh"

#define SORT_THREADS 512
#define ORDER_PART   128 /* uint4 of a row that a warp takes */

/* ---- the workspace ---- */

static int chunks_most(const struct sy_moe_across *a)
{
    return (a->n_ranks * a->most + SY_SORT_CHUNK - 1) / SY_SORT_CHUNK;
}

static size_t lay_out(const struct sy_moe_across *given, struct sy_across *a)
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
    struct sy_across a;

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

static struct sy_across describe(const struct sy_queue *q, const struct sy_moe_across *given)
{
    const struct sy_moe_run *run = &given->run;
    struct sy_across a;

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

/* ---- sort ---- */

/* Tokens of all ranks in order of ranks. */
struct arrivals {
    const struct sy_across &a;
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
static __device__ void find_first(const struct sy_across &a, const struct sy_moe_window &own, int *first)
{
    first[0] = 0;
    for (int r = 0; r < a.R; r++)
        first[r + 1] = first[r] + __ldcg(own.n_tokens + a.piece * a.R + r);
}

/* One chunk is placed at once; several are counted (place: false) and then placed. */
template <bool PLACE> static __global__ void __launch_bounds__(SORT_THREADS) sort_kernel(const struct sy_across a)
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

static void run_sort(struct sy_queue *q, const struct sy_moe_across *given, const struct sy_across *a)
{
    size_t bytes = sy_sort_bytes(given->n_slots);
    unsigned n_chunks = (unsigned)chunks_most(given);

    sy_launch(q, "rows in order of experts", sort_kernel<false>, n_chunks, SORT_THREADS, bytes, *a);
    if (n_chunks > 1)
        sy_launch(q, "rows in order of experts", sort_kernel<true>, n_chunks, SORT_THREADS, bytes, *a);
}

/* ---- experts ---- */

static struct sy_cuda_group half_of(const struct sy_moe_across *given, const struct sy_across *a, enum sy_half half)
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
static __device__ __forceinline__ void order_part(const struct sy_across &a, const struct sy_moe_window &own, int r,
                                                  int t, int d)
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
static __global__ void __launch_bounds__(SY_ACROSS_THREADS, SY_ORDER_EACH + 1) order_kernel(const struct sy_across a)
{
    int at = (int)(blockIdx.x * SY_ACROSS_THREADS + threadIdx.x), n_warps = (int)gridDim.x * (SY_ACROSS_THREADS / 32);
    int n_parts = (a.D / 8 + ORDER_PART - 1) / ORDER_PART;

    sy_begin();
    const struct sy_moe_window &own = a.windows[a.rank];
    if (at == 0)
        *a.both.next = 0;
    for (int i = at; i < *a.sort.n_tiles; i += (int)gridDim.x * SY_ACROSS_THREADS)
        a.both.done[i] = 0;
    /* Parts of all ranks' rows are numbered, and a warp takes every n_warps-th. A block stays until all are here, even of a rank
     * that has none: see below. */
    for (int i = 0, part = at / 32; i < a.R; i++) {
        int r = (a.rank + a.R - i) % a.R, n = __ldcg(own.n_tokens + a.piece * a.R + r) * n_parts;
        if (a.ahead && (part < n || threadIdx.x < 32)) {
            if (threadIdx.x % 32 == 0)
                sy_await(a, SY_NEWS_ROWS, r);
            __syncwarp();
        }
        for (; part < n; part += n_warps)
            order_part(a, own, r, part / n_parts, part % n_parts * ORDER_PART);
        part -= n;
    }
}

/* Wait for rows that went ahead, and put them in order. What waits here, or begins early behind it, must leave room for kernels
 * beside that bring this rank's rows to others, which may wait for them. So blocks of order_kernel have so much memory that
 * SY_ORDER_EACH fit on a multiprocessor: with them kernels of experts do not, and those beside, which need no memory and
 * registers of one more block at most, do. Where rows are not put in order the stream waits, and nothing begins before. */
static void run_order(struct sy_queue *q, const struct sy_moe_across *given, const struct sy_across *a)
{
    size_t shared = q->shared_bytes / (SY_ORDER_EACH + 1) + 1024;

    if (a->ahead && !(given->alone && a->in_order))
        sy_cuda_stream_wait(q, given, SY_NEWS_ROWS, a->piece);
    if (a->in_order)
        sy_launch(q, "rows in order of experts", order_kernel, (unsigned)(SY_ORDER_EACH * q->n_sms), SY_ACROSS_THREADS,
                  shared, *a);
}

/* These, or the rows as they came, to where results are wanted. */
static __global__ void __launch_bounds__(SY_ACROSS_THREADS) return_kernel(const struct sy_across a)
{
    sy_begin();
    const struct sy_cuda_tile &last = a.sort.tiles[*a.sort.n_tiles - 1];
    const uint16_t *rows = (const uint16_t *)a.windows[a.rank].rows;
    int n = *a.sort.n_tiles ? last.row + last.n_rows : 0;

    for (int row = (int)blockIdx.x; row < n; row += (int)gridDim.x) {
        const uint16_t *came = rows + (size_t)a.x_rows[row] * (size_t)a.D;
        const uint4 *from = (const uint4 *)(a.apart ? a.sorted + (size_t)row * (size_t)a.D : came);
        uint4 *to = (uint4 *)a.y_rows[row];
        for (int i = (int)threadIdx.x; i < a.D / 8; i += SY_ACROSS_THREADS)
            to[i] = __ldcg(from + i);
    }
}

static void run_experts(struct sy_queue *q, const struct sy_moe_across *given, const struct sy_across *a)
{
    struct sy_cuda_group halves[] = {half_of(given, a, SY_GATE_UP), half_of(given, a, SY_DOWN)};

    SY_RANGE("experts");
    run_order(q, given, a);
    if (!a->in_order || !sy_cuda_group_both(q, halves, &a->both)) {
        sy_cuda_group_run(q, &halves[SY_GATE_UP]);
        sy_cuda_group_run(q, &halves[SY_DOWN]);
    }
    if (!a->apart)
        sy_cuda_tell_results(q, a);
}

static void run_return(struct sy_queue *q, const struct sy_across *a)
{
    SY_RANGE("combine");
    sy_launch(q, "rows back", return_kernel, (unsigned)(4 * q->n_sms), SY_ACROSS_THREADS, 0, *a);
    sy_cuda_tell_results(q, a);
}

static void run_finish(struct sy_queue *q, const struct sy_moe_across *given, const struct sy_across *a)
{
    const struct sy_moe_run *run = &given->run;
    struct sy_cuda_combination c = {a->T,         a->D,        a->K,  (const uint16_t *)given->own.results,
                                    run->weights, run->shared, run->x};

    SY_RANGE("combine");
    /* Then rows that went ahead are gone: all ranks have seen them. */
    for (int i = 0; i < given->n_pieces; i++) {
        struct sy_across piece = *a;
        piece.piece = i;
        sy_cuda_wait_for(q, given, &piece, SY_NEWS_RESULTS);
    }
    if (a->T && run->x)
        sy_cuda_moe_combine(q, &c);
}

void sy_cuda_across(struct sy_queue *q, const struct sy_moe_across *given, enum sy_across_part part)
{
    struct sy_across a = describe(q, given);

    if (!sy_cuda_works(q))
        return;
    switch (part) {
    case SY_ACROSS_AHEAD:
        sy_cuda_rows_ahead(q, given, &a);
        break;
    case SY_ACROSS_SEND:
        sy_cuda_rows_send(q, &a);
        break;
    case SY_ACROSS_RECEIVE: {
        SY_RANGE("dispatch wait");
        sy_cuda_wait_for(q, given, &a, a.ahead ? SY_NEWS_CHOICES : SY_NEWS_ROWS);
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
