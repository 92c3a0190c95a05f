/* SPDX-License-Identifier: Apache-2.0
 * attention_tasks.cuh - how attention is divided among blocks of threads, and how results are put together
 *
 * Prompts: a block takes a tile of pairs of a row of the batch and a query head of one KV head. Consecutive positions of a
 * sequence in its tile are a run, whose rows go through all keys that any of them sees together.
 *
 * Generated tokens: a block takes a row and some query heads of a KV head. The row's keys are cut into parts of a length
 * that follows from its position alone, over which blocks run side by side; the one that is done last puts the parts
 * together, in their order.
 */
#ifndef SY_KERNELS_CUDA_ATTENTION_TASKS_CUH
#define SY_KERNELS_CUDA_ATTENTION_TASKS_CUH

#include "cuda/attention.cuh"
#include "cuda/launch.cuh"

/* ---- prompts ---- */

/* Rows of the batch first .. first + n - 1, neighbours in a sequence, with some heads. Row i of the tile is head
 * head + i % n_heads of row first + i / n_heads. */
struct sy_run {
    const int32_t *pages;
    int first, n, position; /* of the first */
    int head, n_heads, kv_head;
};

/* Rows of the batch in a tile of ROWS, and blocks for the heads of each tile. */
static inline int sy_tile_rows(const struct sy_attention *a, int rows)
{
    int group = a->n_heads / a->kv.n_kv_heads;

    return group < rows ? rows / group : 1;
}

static __host__ __device__ __forceinline__ int sy_head_blocks(const struct sy_attention &a, int rows)
{
    int group = a.n_heads / a.kv.n_kv_heads;

    return a.kv.n_kv_heads * ((group + rows - 1) / rows);
}

/* Heads of block `at` of sy_head_blocks(); false: none of them is to be computed. */
static __device__ __forceinline__ bool sy_find_heads(const struct sy_attention &a, int rows, int at, struct sy_run *run)
{
    int group = a.n_heads / a.kv.n_kv_heads, n_chunks = (group + rows - 1) / rows, head_end;

    run->kv_head = at / n_chunks;
    run->head = run->kv_head * group + at % n_chunks * rows;
    head_end = min(min(run->head + rows, (run->kv_head + 1) * group), a.head_end);
    run->head = max(run->head, a.head_begin);
    run->n_heads = head_end - run->head;
    return run->n_heads > 0;
}

/* The run that begins at row `first` of the batch and ends before `end`. */
static __device__ __forceinline__ void sy_find_run(const struct sy_attention &a, int first, int end, struct sy_run *run)
{
    run->first = first;
    run->pages = a.rows[first].pages;
    run->position = a.rows[first].position;
    run->n = 1;
    while (first + run->n < end && a.rows[first + run->n].pages == run->pages &&
           a.rows[first + run->n].position == run->position + run->n)
        run->n++;
}

/* Queries of a run to shared memory as BF16, ROWS rows of D dims; missing ones become zero. */
template <int D, int ROWS, int THREADS>
static __device__ __forceinline__ void sy_load_queries(const struct sy_attention &a, const struct sy_run &run,
                                                       uint8_t *queries)
{
    for (int i = (int)threadIdx.x; i < ROWS * (D / 8); i += THREADS) {
        int row = i / (D / 8), piece = i % (D / 8), r = row / run.n_heads, h = run.head + row % run.n_heads;
        uint4 narrow = make_uint4(0, 0, 0, 0);
        if (r < run.n)
            narrow = sy_query_piece(a.q + (size_t)(run.first + r) * a.q_stride + (size_t)(h * a.kv.k_dim), piece,
                                    a.kv.k_dim);
        *(uint4 *)sy_row_piece<D>(queries, row, piece) = narrow;
    }
}

/* Where the values of a row of the tile go: first parts, if there are two. */
static __device__ __forceinline__ uint16_t *sy_out_row(const struct sy_attention &a, const struct sy_run &run, int row)
{
    size_t r = (size_t)(run.first + row / run.n_heads), h = (size_t)(run.head + row % run.n_heads);
    size_t n_parts = a.out_dtype == SY_BF16X2 ? 2 : 1;

    return (uint16_t *)a.out + (r * n_parts * (size_t)a.n_heads + h) * (size_t)a.kv.v_dim;
}

/* One of them, and two, the first of which is at an even place of aligned memory. */
static __device__ __forceinline__ void sy_put(const struct sy_attention &a, uint16_t *to, float x)
{
    uint16_t hi = sy_narrow_bf16(x);

    *to = hi;
    if (a.out_dtype == SY_BF16X2)
        to[(size_t)a.n_heads * (size_t)a.kv.v_dim] = sy_narrow_bf16(__fsub_rn(x, sy_widen_bf16(hi)));
}

static __device__ __forceinline__ void sy_put_pair(const struct sy_attention &a, uint16_t *to, float x, float y)
{
    uint32_t hi = sy_pack_bf16(x, y);

    *(uint32_t *)to = hi;
    if (a.out_dtype == SY_BF16X2)
        *(uint32_t *)(to + (size_t)a.n_heads * (size_t)a.kv.v_dim) = sy_pack_bf16(
            __fsub_rn(x, __uint_as_float(hi << 16)), __fsub_rn(y, __uint_as_float(hi & 0xffff0000u)));
}

/* Take a sink of the head into account; returns what values must be multiplied by. */
static __device__ __forceinline__ float sy_finish(const struct sy_attention &a, int h, float largest, float sum)
{
    float keep = 1.0f;

    if (a.sinks) {
        float sink = __fmul_rn(a.sinks[h], SY_LOG2E), most = fmaxf(largest, sink);
        keep = sy_exp2(__fsub_rn(largest, most));
        sum = __fmaf_rn(sum, keep, sy_exp2(__fsub_rn(sink, most)));
    }
    return __fdiv_rn(keep, sum);
}

/* Results of a thread in row i (0: lane / 4, 1: 8 on) of a tile of 16, which begins at row `row` of the block's tile: N
 * tiles of 8 dims from `dim` on. */
template <int N>
static __device__ __forceinline__ void sy_store_rows(const struct sy_attention &a, const struct sy_run &run, int row,
                                                     int dim, const float (&out)[N][4], int i, float largest, float sum)
{
    int lane = (int)threadIdx.x % 32;
    bool pairs = a.kv.v_dim % 2 == 0 && (uintptr_t)a.out % 4 == 0;

    row += i * 8 + lane / 4;
    if (row / run.n_heads >= run.n)
        return;
    float factor = sy_finish(a, run.head + row % run.n_heads, largest, sum);
    uint16_t *to = sy_out_row(a, run, row);
#pragma unroll
    for (int n = 0; n < N; n++) {
        int at = dim + n * 8 + lane % 4 * 2;
        float x = __fmul_rn(out[n][2 * i], factor), y = __fmul_rn(out[n][2 * i + 1], factor);
        if (pairs && at < a.kv.v_dim) {
            sy_put_pair(a, to + at, x, y);
            continue;
        }
        if (at < a.kv.v_dim)
            sy_put(a, to + at, x);
        if (at + 1 < a.kv.v_dim)
            sy_put(a, to + at + 1, y);
    }
}

/* ---- generated tokens ---- */

struct sy_decode {
    struct sy_attention a;
    float *parts;       /* [rows][blocks of heads][n_parts][sy_part_floats()] */
    uint32_t *counters; /* of each row and block of heads: who is done; zero before and after */
    int n_parts;        /* of a row at most */
    int heads;          /* that a part has room for */
};

/* Of a part: largest scores, sums of weights, and D values of each head. Values begin at a multiple of 4 for an even number
 * of heads. */
template <int D> static __host__ __device__ __forceinline__ size_t sy_part_floats(int heads)
{
    return (size_t)heads * (2 + D);
}

/* What a block of threads does: some parts of a run of one row. */
struct sy_task {
    struct sy_run run;
    int part_keys, part_begin, part_end; /* of the row */
    int first;                           /* key of the row; its last is its position */
    float *parts;
    uint32_t *counter;
};

/* False: there is nothing to do. */
template <int HEADS, int D>
static __device__ __forceinline__ bool sy_find_task(const struct sy_decode &d, struct sy_task *task)
{
    size_t pair = (size_t)blockIdx.x * gridDim.y + blockIdx.y;

    if (!sy_find_heads(d.a, HEADS, (int)blockIdx.y, &task->run))
        return false;
    sy_find_run(d.a, (int)blockIdx.x, (int)blockIdx.x + 1, &task->run);
    int last = task->run.position;
    task->first = sy_first_key(d.a, last);
    task->part_keys = sy_part_keys(last);
    task->part_begin = task->first / task->part_keys;
    task->part_end = last / task->part_keys + 1;
    task->parts = d.parts + pair * (size_t)d.n_parts * sy_part_floats<D>(d.heads);
    task->counter = d.counters + pair;
    return task->part_begin + (int)blockIdx.z < task->part_end;
}

/* Weight of a result whose largest score is `largest` among those whose largest is `most`. */
static __device__ __forceinline__ float sy_share(float largest, float most)
{
    return sy_exp2(__fsub_rn(largest, most == -CUDART_INF_F ? 0.0f : most));
}

/* All parts of a row to the result. shared: 2 * SY_PARTS_MAX * HEADS floats. */
template <int HEADS, int D, int THREADS>
static __device__ void sy_put_parts(const struct sy_decode &d, const struct sy_task &task, float *shared)
{
    const size_t PART = sy_part_floats<D>(d.heads);
    float *share = shared, *sum_of = shared + SY_PARTS_MAX * HEADS; /* [parts][HEADS] */
    __shared__ float factor[HEADS];
    int n = task.part_end - task.part_begin, head = (int)threadIdx.x;

    for (int i = (int)threadIdx.x; i < n * HEADS; i += THREADS) {
        if (i % HEADS >= task.run.n_heads)
            continue;
        share[i] = __ldcg(task.parts + (size_t)(i / HEADS) * PART + i % HEADS);
        sum_of[i] = __ldcg(task.parts + (size_t)(i / HEADS) * PART + d.heads + i % HEADS);
    }
    __syncthreads();
    if (head < task.run.n_heads) {
        float most = -CUDART_INF_F, sum = 0.0f;
        for (int p = 0; p < n; p++)
            most = fmaxf(most, share[p * HEADS + head]);
        for (int p = 0; p < n; p++) {
            share[p * HEADS + head] = sy_share(share[p * HEADS + head], most);
            sum = __fmaf_rn(share[p * HEADS + head], sum_of[p * HEADS + head], sum);
        }
        factor[head] = sy_finish(d.a, task.run.head + head, most, sum);
    }
    __syncthreads();
    for (int i = (int)threadIdx.x * 4; i < task.run.n_heads * D; i += THREADS * 4) {
        int h = i / D, dim = i % D;
        float out[4] = {0, 0, 0, 0};
#pragma unroll 8
        for (int p = 0; p < n; p++) {
            float4 value = __ldcg((const float4 *)(task.parts + (size_t)p * PART + d.heads * 2 + i));
            out[0] = __fmaf_rn(share[p * HEADS + h], value.x, out[0]);
            out[1] = __fmaf_rn(share[p * HEADS + h], value.y, out[1]);
            out[2] = __fmaf_rn(share[p * HEADS + h], value.z, out[2]);
            out[3] = __fmaf_rn(share[p * HEADS + h], value.w, out[3]);
        }
        uint16_t *to = sy_out_row(d.a, task.run, h);
        for (int j = 0; j < 4 && dim + j < d.a.kv.v_dim; j++)
            sy_put(d.a, to + dim + j, __fmul_rn(out[j], factor[h]));
    }
}

/* Launch a kernel over as many rows at a time as scratch has room for. blocks_each: of a multiprocessor, so that it always
 * has some to run. */
template <int HEADS, int D>
static void sy_launch_decode(struct sy_queue *q, const struct sy_attention *a, void (*kernel)(struct sy_decode),
                             int n_threads, size_t shared, int blocks_each)
{
    bool few = a->n_keys > 0 && a->n_keys <= SY_PART_KEYS * SY_PARTS_MAX;
    int n_heads = sy_head_blocks(*a, HEADS), group = a->n_heads / a->kv.n_kv_heads;
    struct sy_decode d = {*a, (float *)q->scratch, q->counters, few ? (a->n_keys - 1) / SY_PART_KEYS + 1 : SY_PARTS_MAX,
                          ((group < HEADS ? group : HEADS) + 1) / 2 * 2};
    size_t row_bytes = (size_t)n_heads * (size_t)d.n_parts * sy_part_floats<D>(d.heads) * sizeof(float);
    size_t room = SY_CUDA_SCRATCH_BYTES / row_bytes;
    int most = room < SY_CUDA_COUNTERS / (size_t)n_heads ? (int)room : SY_CUDA_COUNTERS / n_heads;

    if (most < 1) {
        sy_error_set(&q->error, SY_ERR_USAGE, "GPU %d: attention has no room for %d heads", q->device, a->n_heads);
        return;
    }
    for (int t = 0; t < a->n_rows; t += most) {
        int n = a->n_rows - t < most ? a->n_rows - t : most;
        int n_blocks = (blocks_each * q->n_sms + n * n_heads - 1) / (n * n_heads);
        d.a.rows = a->rows + t;
        d.a.q = a->q + (size_t)t * a->q_stride;
        d.a.out = (uint8_t *)a->out + (size_t)t * (size_t)(a->n_heads * a->kv.v_dim) * sy_dtype_bytes(a->out_dtype);
        d.a.n_rows = n;
        dim3 grid((unsigned)n, (unsigned)n_heads, (unsigned)(n_blocks < d.n_parts ? n_blocks : d.n_parts));
        sy_launch(q, "attention of generated tokens", kernel, grid, (unsigned)n_threads, shared, d);
    }
}

/* Let a kernel use this much shared memory. */
template <class K> static bool sy_allow_shared(struct sy_queue *q, K *kernel, size_t bytes)
{
    return sy_cuda_check(q, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                         "shared memory for attention");
}

#endif
