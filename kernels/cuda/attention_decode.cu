/* SPDX-License-Identifier: Apache-2.0
 * attention_decode.cu - attention of generated tokens on tensor cores
 *
 * What counts is how fast the cache is read. A row's keys are cut into parts of a length that follows from its position
 * alone. A block takes a row and up to HEADS query heads of a KV head, which are the rows of one tile, and goes through some
 * of the parts; each of its warps takes every WARPS-th page of a part, with copies of its own on the way. Warps' results are
 * put together in order of warps, and parts' in order of parts by whichever block is done last.
 */
#include "cuda/attention_tasks.cuh"

#define WARPS       8
#define HEADS       16
#define STAGES      3 /* pages on the way to each warp */
#define N           (SY_KV_PAGE / 8)
#define BLOCKS_EACH 4 /* of an SM, so that it always has some to run */

/* Pages of a warp; later the values that it found. */
template <int D> static constexpr __host__ __device__ size_t warp_bytes(void)
{
    return (size_t)STAGES * SY_KV_PAGE * 2 * D * 2;
}

/* Page `page` of the sequence, which is number `number` of the cache. */
template <int D>
static __device__ __forceinline__ void load_page(const struct sy_decode &d, const struct sy_task &task, int page,
                                                 int number, uint8_t *to)
{
    constexpr int PIECES = D / 8;
    const struct sy_kv_layer *kv = &d.a.kv;
    int lane = (int)threadIdx.x % 32;
    const uint16_t *from = (const uint16_t *)(kv->base + (size_t)number * kv->page_stride);
    const uint16_t *keys = from + sy_cuda_kv_key(kv, task.run.kv_head, 0);
    const uint16_t *values = from + sy_cuda_kv_value(kv, task.run.kv_head, 0);
    size_t k_row = sy_cuda_kv_row(SY_BF16, kv->k_dim), v_row = kv->v_in_k ? k_row : sy_cuda_kv_row(SY_BF16, kv->v_dim);

#pragma unroll
    for (int i = 0; i < SY_KV_PAGE * PIECES / 32; i++) {
        int slot = (lane + i * 32) / PIECES, piece = (lane + i * 32) % PIECES, at = page * SY_KV_PAGE + slot;
        bool there = at >= task.first && at <= task.run.position;
        sy_load_piece<D>(to, slot, piece, keys + (size_t)slot * k_row, kv->k_dim, there);
        sy_load_piece<D>(to + SY_KV_PAGE * D * 2, slot, piece, values + (size_t)slot * v_row, kv->v_dim, there);
    }
}

/* A warp's way through its pages of a part: page begin + WARPS i of the sequence for each i, up to `end`. */
struct walk {
    int begin, end, first, last; /* first, last: keys */
    int numbers;                 /* of 32 pages, one in each lane */
};

/* Put page i on its way, or nothing in its place. */
template <int D>
static __device__ __forceinline__ void bring(const struct sy_decode &d, const struct sy_task &task, struct walk *walk,
                                             int i, uint8_t *stages)
{
    int lane = (int)threadIdx.x % 32, page = walk->begin + i * WARPS;

    if (i && i % 32 == 0 && page + lane * WARPS < walk->end)
        walk->numbers = task.run.pages[page + lane * WARPS];
    int number = __shfl_sync(0xffffffffu, walk->numbers, i % 32);
    if (page < walk->end)
        load_page<D>(d, task, page, number, stages + i % STAGES * (SY_KV_PAGE * D * 4));
    sy_copy_commit();
}

/* The way through a part. */
static __device__ __forceinline__ struct walk plan_walk(const struct sy_task &task, int part)
{
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int first = max(part * task.part_keys, task.first), begin = first / SY_KV_PAGE;
    int last = min((part + 1) * task.part_keys - 1, task.run.position);
    struct walk walk = {begin + (warp - begin % WARPS + WARPS) % WARPS, last / SY_KV_PAGE + 1, first, last, 0};

    if (walk.begin + lane * WARPS < walk.end)
        walk.numbers = task.run.pages[walk.begin + lane * WARPS];
    return walk;
}

/* Its first pages. */
template <int D>
static __device__ __forceinline__ void set_out(const struct sy_decode &d, const struct sy_task &task, struct walk *walk,
                                               uint8_t *stages)
{
    for (int i = 0; i < STAGES - 1; i++)
        bring<D>(d, task, walk, i, stages);
}

template <int D>
static __device__ __forceinline__ void attend(const struct sy_decode &d, const struct sy_task &task, struct walk *walk,
                                              const uint32_t (&query)[D / 16][1][4], uint8_t *stages,
                                              struct sy_softmax<1, D> *s)
{
    int lane = (int)threadIdx.x % 32;
    float scale = __fmul_rn(d.a.scale, SY_LOG2E);

    sy_softmax_begin(s);
    for (int i = 0; walk->begin + i * WARPS < walk->end; i++) {
        uint8_t *keys = stages + i % STAGES * (SY_KV_PAGE * D * 4);
        int key = (walk->begin + i * WARPS) * SY_KV_PAGE + lane % 4 * 2;
        /* All lanes are done with the stage that is filled next. */
        __syncwarp();
        bring<D>(d, task, walk, i + STAGES - 1, stages);
        sy_copy_wait<STAGES - 1>();
        __syncwarp();
        float score[1][N][4] = {};
#pragma unroll
        for (int k = 0; k < D / 16; k++)
            sy_score_step<1, D, N>(score, query[k], keys, k);
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                if (key + n * 8 + j % 2 < walk->first || key + n * 8 + j % 2 > walk->last)
                    score[0][n][j] = -CUDART_INF_F;
        sy_softmax_weights<1, D, N>(s, score, scale);
        sy_value_steps<1, D, N>(s, score, keys + SY_KV_PAGE * D * 2);
    }
    sy_copy_wait<0>();
    sy_softmax_sum(s);
}

/* What all warps found in a part, in order of warps: to memory, or where the row has no other part, the result. */
template <int D>
static __device__ void put_warps(const struct sy_decode &d, const struct sy_task &task,
                                 const struct sy_softmax<1, D> *s, uint8_t *shared, float *part)
{
    __shared__ float largest[WARPS][HEADS], sum[WARPS][HEADS];
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    float *values = (float *)(shared + warp * warp_bytes<D>());

    /* Pairs of dims go to other places than their numbers, so that a warp's stores meet no bank twice. */
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int head = lane / 4 + i * 8;
#pragma unroll
        for (int n = 0; n < D / 8; n++)
            *(float2 *)(values + head * D + ((n ^ (head & 3)) * 8 + lane % 4 * 2)) = make_float2(
                s->out[0][n][2 * i], s->out[0][n][2 * i + 1]);
        if (lane % 4 == 0) {
            largest[warp][head] = s->largest[0][i];
            sum[warp][head] = s->sum[0][i];
        }
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < task.run.n_heads * D; i += WARPS * 32) {
        int head = i / D, dim = i % D, at = head * D + ((dim / 8 ^ (head & 3)) * 8 + dim % 8);
        float most = largest[0][head], total = 0.0f, out = 0.0f;
#pragma unroll
        for (int w = 1; w < WARPS; w++)
            most = fmaxf(most, largest[w][head]);
#pragma unroll
        for (int w = 0; w < WARPS; w++) {
            float f = sy_share(largest[w][head], most);
            total = __fmaf_rn(f, sum[w][head], total);
            out = __fmaf_rn(f, ((const float *)(shared + w * warp_bytes<D>()))[at], out);
        }
        if (part) {
            part[d.heads * 2 + i] = out;
            if (dim == 0) {
                part[head] = most;
                part[d.heads + head] = total;
            }
        } else if (dim < d.a.kv.v_dim) {
            sy_put(d.a, sy_out_row(d.a, task.run, head) + dim,
                   __fmul_rn(out, sy_finish(d.a, task.run.head + head, most, total)));
        }
    }
}

template <int D> static __global__ void __launch_bounds__(WARPS * 32, 128 / D) decode_kernel(struct sy_decode d)
{
    extern __shared__ __align__(128) uint8_t shared[];
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    uint32_t query[D / 16][1][4];
    struct sy_softmax<1, D> s;
    struct sy_task task = {};

    /* Positions and pages come from the host, so that no kernel before this one writes them. */
    bool works = sy_find_task<HEADS, D>(d, &task);
    int n = task.part_end - task.part_begin, p = (int)blockIdx.z;
    struct walk walk = {};
    if (works)
        walk = plan_walk(task, task.part_begin + p);
    sy_begin();
    if (!works)
        return;
    /* Queries come through the last stage of the last warp, which set_out() leaves alone. */
    uint8_t *queries = shared + WARPS * warp_bytes<D>() - SY_KV_PAGE * D * 4, *stages = shared + warp * warp_bytes<D>();
    /* Keys are on their way while queries come. */
    set_out<D>(d, task, &walk, stages);
    sy_load_queries<D, HEADS, WARPS * 32>(d.a, task.run, queries);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < D / 16; k++)
        sy_load_matrices(query[k][0], sy_row_piece<D>(queries, lane % 16, k * 2 + lane / 16));
    __syncthreads();
    for (;;) {
        attend<D>(d, task, &walk, query, stages, &s);
        put_warps<D>(d, task, &s, shared, n > 1 ? task.parts + (size_t)p * sy_part_floats<D>(d.heads) : NULL);
        p += (int)gridDim.z;
        if (p >= n)
            break;
        __syncthreads();
        walk = plan_walk(task, task.part_begin + p);
        set_out<D>(d, task, &walk, stages);
    }
    if (n > 1 && sy_comes_last(task.counter, (uint32_t)min(n, (int)gridDim.z)))
        sy_put_parts<HEADS, D, WARPS * 32>(d, task, (float *)shared);
}

template <int D> static void launch(struct sy_queue *q, const struct sy_attention *a)
{
    static bool allowed;
    size_t bytes = warp_bytes<D>() * WARPS;

    allowed = allowed || sy_allow_shared(q, decode_kernel<D>, bytes);
    sy_launch_decode<HEADS, D>(q, a, decode_kernel<D>, WARPS * 32, bytes, BLOCKS_EACH);
}

bool sy_cuda_attention_decode(struct sy_queue *q, const struct sy_attention *a)
{
    if (a->kv.k_dim > 128 || a->kv.v_dim > 128)
        return false;
    if (a->kv.k_dim <= 64 && a->kv.v_dim <= 64)
        launch<64>(q, a);
    else
        launch<128>(q, a);
    return true;
}
