/* SPDX-License-Identifier: Apache-2.0
 * router.cu - which experts get a token, and with what weight
 *
 * A logit is summed in slices of SLICE inputs, each a chain of multiply-adds, and the slices one after the other. Few logits
 * have a thread for each slice, many go through tiles of 64 or 32 tokens by 64 experts; all add in that order.
 */
#include "cuda/launch.cuh"
#include "cuda/mma.cuh"
#include "cuda/router.cuh"

#define SLICE        32
#define MANY         81920 /* logits: from there on tiles are faster (measured on an H200) */
#define TOGETHER     4     /* tokens of a block that reads its weights once, where there are enough blocks */
#define FEW_THREADS  512
#define THREADS      256
#define TILE         64
#define DEPTH        16 /* inputs in shared memory */
#define HALF         32 /* tokens */
#define HALF_THREADS 128
#define STAGES       4 /* slices in shared memory */
#define SHARE_MOST   3 /* blocks of a multiprocessor */

#define CHOOSE_EARLY 4 /* tokens for each multiprocessor */

/* ---- logits of few tokens: a block for 8 experts (an atom) and some tokens, a thread for a slice of one expert ---- */

struct slice {
    float4 w[SLICE / 4];
};

/* Slices lie within blocks of the layout, which are filled up with zeros. */
static __device__ __forceinline__ struct slice load_slice(const struct sy_weight &w, int expert, int number)
{
    struct slice s;

#pragma unroll
    for (int i = 0; i < SLICE / 4; i++)
        s.w[i] = *(const float4 *)((const uint8_t *)w.data +
                                   sy_cuda_piece_at(SY_F32, w.k, expert, number * SLICE + i * 4));
    return s;
}

static __device__ __forceinline__ float slice_sum(const struct slice &s, const float *x, int n, bool aligned)
{
    float sum = 0.0f;
    float4 f[SLICE / 4];

#pragma unroll
    for (int i = 0; i < SLICE / 4; i++) {
        if (aligned)
            f[i] = i * 4 < n ? *(const float4 *)(x + i * 4) : make_float4(0, 0, 0, 0);
        else
            f[i] = make_float4(i * 4 < n ? x[i * 4] : 0, i * 4 + 1 < n ? x[i * 4 + 1] : 0,
                               i * 4 + 2 < n ? x[i * 4 + 2] : 0, i * 4 + 3 < n ? x[i * 4 + 3] : 0);
    }
#pragma unroll
    for (int i = 0; i < SLICE / 4; i++) {
        sum = __fmaf_rn(f[i].x, s.w[i].x, sum);
        sum = __fmaf_rn(f[i].y, s.w[i].y, sum);
        sum = __fmaf_rn(f[i].z, s.w[i].z, sum);
        sum = __fmaf_rn(f[i].w, s.w[i].w, sum);
    }
    return sum;
}

static __global__ void __launch_bounds__(FEW_THREADS)
    few_kernel(const struct sy_weight w, const float *x, int T, int together, float *logits)
{
    extern __shared__ float sums[]; /* [together][slices][8] */
    int n_slices = (w.k + SLICE - 1) / SLICE, row = (int)threadIdx.x % 8, expert = (int)blockIdx.x * 8 + row;
    int first = (int)threadIdx.x / 8, t0 = (int)blockIdx.y * together, n = T - t0 < together ? T - t0 : together;
    bool aligned = w.k % 4 == 0 && (uintptr_t)x % 16 == 0;
    struct slice slice = {};
    float sum = 0.0f;

    if (first < n_slices)
        slice = load_slice(w, expert, first);
    sy_begin();
    for (int s = first; s < n_slices; s += (int)blockDim.x / 8) {
        if (s != first)
            slice = load_slice(w, expert, s);
        for (int i = 0; i < n; i++)
            sums[(i * n_slices + s) * 8 + row] = slice_sum(
                slice, x + (size_t)(t0 + i) * (size_t)w.k + (size_t)(s * SLICE), w.k - s * SLICE, aligned);
    }
    __syncthreads();
    if (first >= n || expert >= w.n)
        return;
#pragma unroll 8
    for (int s = 0; s < n_slices; s++)
        sum = __fadd_rn(sum, sums[(first * n_slices + s) * 8 + row]);
    logits[(size_t)(t0 + first) * (size_t)w.n + (size_t)expert] = w.bias ? __fadd_rn(sum, w.bias[expert]) : sum;
}

/* ---- of many: a thread for 4 tokens by 4 experts ---- */

struct tile {
    float x[DEPTH][TILE + 4], w[DEPTH][TILE + 4];
};

/* A thread's part of a tile on its way from memory: 4 inputs of a token and of an expert. */
struct part {
    float4 x, w;
};

static __device__ __forceinline__ struct part load_part(const struct sy_weight &w, const float *x, int T, int t0,
                                                        int e0, int k0, bool aligned)
{
    int i = (int)threadIdx.x, t = t0 + i / 4, k = k0 + i % 4 * 4, e = e0 + i % 64, ke = k0 + i / 64 * 4;
    const float *from = x + (size_t)t * (size_t)w.k + (size_t)k;
    struct part part = {};

    if (t < T && aligned && k < w.k)
        part.x = *(const float4 *)from;
    else if (t < T)
        part.x = make_float4(k < w.k ? from[0] : 0, k + 1 < w.k ? from[1] : 0, k + 2 < w.k ? from[2] : 0,
                             k + 3 < w.k ? from[3] : 0);
    if (e < w.n && ke < w.k)
        part.w = *(const float4 *)((const uint8_t *)w.data + sy_cuda_piece_at(SY_F32, w.k, e, ke));
    return part;
}

static __device__ __forceinline__ void store_part(struct tile *tile, const struct part &part)
{
    int i = (int)threadIdx.x;
    float x[4] = {part.x.x, part.x.y, part.x.z, part.x.w}, w[4] = {part.w.x, part.w.y, part.w.z, part.w.w};

#pragma unroll
    for (int k = 0; k < 4; k++) {
        tile->x[i % 4 * 4 + k][i / 4] = x[k];
        tile->w[i / 64 * 4 + k][i % 64] = w[k];
    }
}

static __global__ void __launch_bounds__(THREADS)
    many_kernel(const struct sy_weight w, const float *x, int T, float *logits)
{
    __shared__ struct tile tiles[2];
    int t0 = (int)blockIdx.y * TILE, e0 = (int)blockIdx.x * TILE, n_steps = (w.k + DEPTH - 1) / DEPTH;
    int ty = (int)threadIdx.x / 16 * 4, tx = (int)threadIdx.x % 16 * 4;
    bool aligned = w.k % 4 == 0 && (uintptr_t)x % 16 == 0;
    float total[4][4] = {}, sum[4][4] = {};

    sy_begin();
    store_part(&tiles[0], load_part(w, x, T, t0, e0, 0, aligned));
    for (int step = 0; step < n_steps; step++) {
        const struct tile *tile = &tiles[step % 2];
        bool more = step + 1 < n_steps;
        struct part next = {};
        __syncthreads();
        if (more)
            next = load_part(w, x, T, t0, e0, (step + 1) * DEPTH, aligned);
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float4 a = *(const float4 *)&tile->x[k][ty], b = *(const float4 *)&tile->w[k][tx];
            float as[4] = {a.x, a.y, a.z, a.w}, bs[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
            for (int i = 0; i < 16; i++)
                sum[i / 4][i % 4] = __fmaf_rn(as[i / 4], bs[i % 4], sum[i / 4][i % 4]);
        }
        if (more)
            store_part(&tiles[(step + 1) % 2], next);
        if (more && (step + 1) * DEPTH % SLICE)
            continue;
#pragma unroll
        for (int i = 0; i < 16; i++) {
            total[i / 4][i % 4] = __fadd_rn(total[i / 4][i % 4], sum[i / 4][i % 4]);
            sum[i / 4][i % 4] = 0.0f;
        }
    }
    for (int i = 0; i < 16; i++) {
        int t = t0 + ty + i / 4, e = e0 + tx + i % 4;
        if (t < T && e < w.n)
            logits[(size_t)t * (size_t)w.n + (size_t)e] = w.bias ? __fadd_rn(total[i / 4][i % 4], w.bias[e])
                                                                 : total[i / 4][i % 4];
    }
}

/* ---- of not so many: the same for tiles of half as many tokens, whose slices are on their way several ahead ---- */

/* Rows are so long that threads which read one behind the other do not meet in a bank. */
struct half_stage {
    float x[HALF][SLICE + 4], w[TILE][SLICE + 4];
};

/* A block's work. */
struct half_tile {
    const struct sy_weight &w;
    const float *x;
    int T, t0, e0;
    bool aligned;
};

/* Inputs [k, k + 4) of token t; what is not there becomes zero. */
static __device__ __forceinline__ void load_inputs(const struct half_tile &tile, float *to, int t, int k)
{
    int k_all = tile.w.k, n = t < tile.T && k < k_all ? (k_all - k < 4 ? k_all - k : 4) : 0;
    const float *from = n ? tile.x + (size_t)t * (size_t)k_all + (size_t)k : tile.x;

    if (tile.aligned) {
        sy_copy_piece(to, from, n * (int)sizeof(float));
        return;
    }
    for (int i = 0; i < 4; i++)
        sy_copy_word(to + i, i < n ? from + i : from, i < n);
}

static __device__ __forceinline__ void load_half(const struct half_tile &tile, struct half_stage *to, int slice)
{
    const int pieces = SLICE / 4;
    int thread = (int)threadIdx.x, k0 = slice * SLICE;

#pragma unroll
    for (int i = 0; i < HALF * pieces / HALF_THREADS; i++) {
        int at = i * HALF_THREADS + thread, t = at / pieces, k = at % pieces * 4;
        load_inputs(tile, &to->x[t][k], tile.t0 + t, k0 + k);
    }
#pragma unroll
    for (int i = 0; i < TILE * pieces / HALF_THREADS; i++) {
        int at = i * HALF_THREADS + thread, e = at / (8 * pieces) * 8 + at % 8, k = at / 8 % pieces * 4;
        bool there = tile.e0 + e < tile.w.n;
        size_t from = sy_cuda_piece_at(SY_F32, tile.w.k, there ? tile.e0 + e : 0, k0 + k);
        sy_copy_piece(&to->w[e][k], (const uint8_t *)tile.w.data + from, there ? 16 : 0);
    }
}

static __device__ __forceinline__ float part_of(const float4 &f, int i)
{
    return i == 0 ? f.x : i == 1 ? f.y : i == 2 ? f.z : f.w;
}

/* total += a slice's sums: of tokens t + i by experts e + 16 j. */
static __device__ __forceinline__ void add_slice(const struct half_stage &stage, int t, int e, float (&total)[4][4])
{
    float sum[4][4] = {};

#pragma unroll 4
    for (int k = 0; k < SLICE; k += 4) {
        float4 a[4], b[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            a[i] = *(const float4 *)&stage.x[t + i][k];
            b[i] = *(const float4 *)&stage.w[e + i * 16][k];
        }
#pragma unroll
        for (int at = 0; at < 64; at++) {
            int i = at / 4 % 4, j = at % 4, part = at / 16;
            sum[i][j] = __fmaf_rn(part_of(a[i], part), part_of(b[j], part), sum[i][j]);
        }
    }
#pragma unroll
    for (int at = 0; at < 16; at++)
        total[at / 4][at % 4] = __fadd_rn(total[at / 4][at % 4], sum[at / 4][at % 4]);
}

static __global__ void __launch_bounds__(HALF_THREADS)
    half_kernel(const struct sy_weight w, const float *x, int T, float *logits)
{
    extern __shared__ __align__(16) uint8_t slices[];
    struct half_stage *stages = (struct half_stage *)slices;
    int n_slices = (w.k + SLICE - 1) / SLICE, t = (int)threadIdx.x / 16 * 4, e = (int)threadIdx.x % 16;
    bool aligned = w.k % 4 == 0 && (uintptr_t)x % 16 == 0;
    struct half_tile tile = {w, x, T, (int)blockIdx.y * HALF, (int)blockIdx.x * TILE, aligned};
    float total[4][4] = {};

    sy_begin();
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < n_slices)
            load_half(tile, &stages[s], s);
        sy_copy_commit();
    }
    for (int s = 0; s < n_slices; s++) {
        int next = s + STAGES - 1;
        sy_copy_wait<STAGES - 2>();
        __syncthreads();
        if (next < n_slices)
            load_half(tile, &stages[next % STAGES], next);
        sy_copy_commit();
        add_slice(stages[s % STAGES], t, e, total);
    }
#pragma unroll
    for (int at = 0; at < 16; at++) {
        int token = tile.t0 + t + at / 4, expert = tile.e0 + e + at % 4 * 16;
        float sum = total[at / 4][at % 4];
        if (token < T && expert < w.n)
            logits[(size_t)token * (size_t)w.n + (size_t)expert] = w.bias ? __fadd_rn(sum, w.bias[expert]) : sum;
    }
}

/* ---- which of these ---- */

typedef void (*tiles_kernel)(const struct sy_weight, const float *, int, float *);

/* Tiles of so many tokens, whose blocks have `fixed` bytes of shared memory and ask for `asked` more. Where a multiprocessor gets
 * few blocks, each asks for so much that none gets more than its share: two on one take twice as long as one, while another
 * multiprocessor idles. */
static void run_tiles(struct sy_queue *q, tiles_kernel kernel, int tokens, size_t fixed, size_t asked,
                      const struct sy_weight *w, const float *x, int T, float *logits)
{
    dim3 grid((unsigned)(w->n + TILE - 1) / TILE, (unsigned)((T + tokens - 1) / tokens));
    size_t share = (size_t)(grid.x * grid.y - 1) / (size_t)q->n_sms + 1, most = q->shared_bytes - fixed;
    size_t more = q->shared_bytes / (share + 1) + 1024;

    more = share > SHARE_MOST || more < fixed + asked ? asked : more - fixed < most ? more - fixed : most;
    if (sy_cuda_check(
            q, cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)most),
            "router logits"))
        sy_launch(q, "router logits", kernel, grid, (unsigned)(tokens * TILE / 16), more, *w, x, T, logits);
}

/* What a multiprocessor has to do, in tokens by TILE experts, with tiles of so many tokens. */
static int longest(const struct sy_queue *q, const struct sy_weight *w, int T, int tokens)
{
    int n_blocks = (w->n + TILE - 1) / TILE * ((T + tokens - 1) / tokens);

    return (n_blocks + q->n_sms - 1) / q->n_sms * tokens;
}

void sy_cuda_router_logits(struct sy_queue *q, const struct sy_weight *w, const float *x, int T, float *logits)
{
    int n_slices = (w->k + SLICE - 1) / SLICE;

    if (!sy_cuda_works(q) || T < 1)
        return;
    int atoms = (w->n + 7) / 8, threads = n_slices * 8 < FEW_THREADS ? n_slices * 8 : FEW_THREADS;
    int together = T * atoms < 4 * q->n_sms || threads < 8 * TOGETHER ? 1 : TOGETHER;
    size_t shared = (size_t)together * (size_t)n_slices * 8 * sizeof(float);
    if (T < 65536 && T * w->n < MANY && shared <= 48 * 1024)
        sy_launch(q, "router logits", few_kernel, dim3((unsigned)atoms, (unsigned)((T + together - 1) / together)),
                  (unsigned)threads, shared, *w, x, T, together, logits);
    else if (longest(q, w, T, HALF) < longest(q, w, T, TILE))
        run_tiles(q, half_kernel, HALF, 0, STAGES * sizeof(struct half_stage), w, x, T, logits);
    else
        run_tiles(q, many_kernel, TILE, 2 * sizeof(struct tile), 0, w, x, T, logits);
}

/* ---- the choice: a block of one warp for each token ---- */

static __global__ void choose_kernel(struct sy_router_rule rule, const float *logits, int32_t *ids, float *weights)
{
    extern __shared__ float shared[];
    size_t t = blockIdx.x, E = (size_t)rule.n_experts, K = (size_t)rule.top_k;

    sy_begin();
    sy_router_choose(rule, logits + t * E, shared, ids + t * K, weights + t * K);
}

void sy_cuda_router(struct sy_queue *q, const struct sy_router_rule *rule, const struct sy_weight *w, const float *x,
                    int T, float *logits, int32_t *ids, float *weights)
{
    size_t bytes = (size_t)sy_router_floats(*rule) * sizeof(float);

    sy_cuda_router_logits(q, w, x, T, logits);
    if (!sy_cuda_works(q) || T < 1)
        return;
    /* Many blocks that wait would take the places of another stream's. */
    if (T <= CHOOSE_EARLY * q->n_sms) {
        sy_launch(q, "router", choose_kernel, (unsigned)T, 32, bytes, *rule, logits, ids, weights);
        return;
    }
    choose_kernel<<<(unsigned)T, 32, bytes, q->stream>>>(*rule, logits, ids, weights);
    sy_cuda_launched(q, "router");
}
