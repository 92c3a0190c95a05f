/* SPDX-License-Identifier: Apache-2.0
 * router.cu - which experts get a token, and with what weight
 *
 * A logit is summed in slices of SLICE inputs, each a chain of multiply-adds, and the slices one after the other. Few tokens
 * have a thread for each slice, many go through tiles of 64 tokens by 64 experts; both add in that order.
 */
#include "cuda/launch.cuh"
#include "cuda/router.cuh"

#define SLICE       32
#define FEW         2048 /* tokens */
#define TOGETHER    4    /* tokens of a block that reads its weights once, where there are enough blocks */
#define FEW_THREADS 512
#define THREADS     256
#define TILE        64
#define DEPTH       16 /* inputs in shared memory */

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

static __device__ void load_tile(const struct sy_weight &w, const float *x, int T, int t0, int e0, int k0,
                                 struct tile *tile)
{
    int i = (int)threadIdx.x;
    int t = t0 + i / 4, k = k0 + i % 4 * 4, e = e0 + i % 64, ke = k0 + i / 64 * 4;
    float4 f = make_float4(0, 0, 0, 0);

    for (int j = 0; j < 4; j++)
        tile->x[i % 4 * 4 + j][i / 4] = t < T && k + j < w.k ? x[(size_t)t * (size_t)w.k + (size_t)(k + j)] : 0.0f;
    if (e < w.n && ke < w.k)
        f = *(const float4 *)((const uint8_t *)w.data + sy_cuda_piece_at(SY_F32, w.k, e, ke));
    tile->w[i / 64 * 4][i % 64] = f.x;
    tile->w[i / 64 * 4 + 1][i % 64] = f.y;
    tile->w[i / 64 * 4 + 2][i % 64] = f.z;
    tile->w[i / 64 * 4 + 3][i % 64] = f.w;
}

static __global__ void __launch_bounds__(THREADS)
    many_kernel(const struct sy_weight w, const float *x, int T, float *logits)
{
    __shared__ struct tile tiles[2];
    int t0 = (int)blockIdx.y * TILE, e0 = (int)blockIdx.x * TILE, n_steps = (w.k + DEPTH - 1) / DEPTH;
    int ty = (int)threadIdx.x / 16 * 4, tx = (int)threadIdx.x % 16 * 4;
    float total[4][4] = {}, sum[4][4] = {};

    sy_begin();
    load_tile(w, x, T, t0, e0, 0, &tiles[0]);
    for (int step = 0; step < n_steps; step++) {
        const struct tile *tile = &tiles[step % 2];
        __syncthreads();
        if (step + 1 < n_steps)
            load_tile(w, x, T, t0, e0, (step + 1) * DEPTH, &tiles[(step + 1) % 2]);
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float4 a = *(const float4 *)&tile->x[k][ty], b = *(const float4 *)&tile->w[k][tx];
            float as[4] = {a.x, a.y, a.z, a.w}, bs[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
            for (int i = 0; i < 16; i++)
                sum[i / 4][i % 4] = __fmaf_rn(as[i / 4], bs[i % 4], sum[i / 4][i % 4]);
        }
        if ((step + 1) * DEPTH % SLICE && step + 1 < n_steps)
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

void sy_cuda_router_logits(struct sy_queue *q, const struct sy_weight *w, const float *x, int T, float *logits)
{
    int n_slices = (w->k + SLICE - 1) / SLICE;

    if (!sy_cuda_works(q) || T < 1)
        return;
    int atoms = (w->n + 7) / 8, threads = n_slices * 8 < FEW_THREADS ? n_slices * 8 : FEW_THREADS;
    int together = T * atoms < 4 * q->n_sms || threads < 8 * TOGETHER ? 1 : TOGETHER;
    size_t shared = (size_t)together * (size_t)n_slices * 8 * sizeof(float);
    if (T <= FEW && shared <= 48 * 1024)
        sy_launch(q, "router logits", few_kernel, dim3((unsigned)atoms, (unsigned)((T + together - 1) / together)),
                  (unsigned)threads, shared, *w, x, T, together, logits);
    else
        sy_launch(q, "router logits", many_kernel,
                  dim3((unsigned)(w->n + TILE - 1) / TILE, (unsigned)(T + TILE - 1) / TILE), THREADS, 0, *w, x, T,
                  logits);
}

/* ---- the choice: a block of one warp for each token ---- */

static __global__ void choose_kernel(struct sy_router_rule rule, const float *logits, int32_t *ids, float *weights)
{
    extern __shared__ float shared[];
    size_t t = blockIdx.x, E = (size_t)rule.n_experts, K = (size_t)rule.top_k;

    sy_router_choose(rule, logits + t * E, shared, ids + t * K, weights + t * K);
}

void sy_cuda_router(struct sy_queue *q, const struct sy_router_rule *rule, const struct sy_weight *w, const float *x,
                    int T, float *logits, int32_t *ids, float *weights)
{
    size_t bytes = (size_t)sy_router_floats(*rule) * sizeof(float);

    sy_cuda_router_logits(q, w, x, T, logits);
    if (!sy_cuda_works(q) || T < 1)
        return;
    choose_kernel<<<(unsigned)T, 32, bytes, q->stream>>>(*rule, logits, ids, weights);
    sy_cuda_launched(q, "router");
}
