/* SPDX-License-Identifier: Apache-2.0
 * router.cu - which experts get a token, and with what weight
 *
 * A logit is summed in slices of SLICE inputs, each a chain of multiply-adds, and the slices one after the other. Few logits
 * have a thread for each slice; many go through tiles of 32 or 16 tokens by 64 experts, which have a warp for each. All add in
 * that order.
 */
#include "cuda/launch.cuh"
#include "cuda/mma.cuh"
#include "cuda/router.cuh"

#define SLICE        32
#define MANY         29000 /* logits for each tile of SMALL tokens that a multiprocessor gets: from there on tiles are faster */
#define TOGETHER     4     /* tokens of a block that reads its weights once, where there are enough blocks */
#define FEW_THREADS  512
#define TILE         64 /* experts */
#define LARGE        32 /* tokens */
#define SMALL        16
#define SMALL_COST   1.26 /* what a token takes in a small tile, of what it takes in a large one */
#define WARPS_MOST   8
#define WARPS_LEAST  2 /* of a large tile where multiprocessors get several at once: */
#define AT_ONCE      4 /* as many as fit there; their registers leave room for a block of another stream */

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

/* ---- of many: a block for a tile, a warp for a slice of it, a thread for 8 or 4 tokens by 8 experts ---- */

/* Where a thread's tokens and experts are: every 4th and every 8th of the tile. */
#define TOKEN_STEP  4
#define EXPERT_STEP SY_CUDA_ATOM_ROWS

/* A slice: rows so long that threads which read one behind the other do not meet in a bank; weights as they are packed:
 * a slice of an atom is 1 KiB in one place. */
#define ATOM_BYTES (SLICE * SY_CUDA_ATOM_ROWS * (int)sizeof(float))

template <int TOKENS> struct stage {
    float x[TOKENS][SLICE + 4];
    uint8_t w[TILE / SY_CUDA_ATOM_ROWS][ATOM_BYTES];
};

/* A block's work. */
struct tile {
    const struct sy_weight &w;
    const float *x;
    int T, t0, e0;
    bool aligned;
};

/* Inputs [k, k + 4) of token t; what is not there becomes zero. */
static __device__ __forceinline__ void load_inputs(const struct tile &tile, float *to, int t, int k)
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

/* A slice on its way to shared memory; by a warp. */
template <int TOKENS>
static __device__ __forceinline__ void load_stage(const struct tile &tile, struct stage<TOKENS> *to, int slice)
{
    const int pieces = SLICE / 4, n_atoms = TILE / SY_CUDA_ATOM_ROWS;
    int lane = (int)threadIdx.x % 32;
    const uint8_t *w = (const uint8_t *)tile.w.data + sy_cuda_piece_at(SY_F32, tile.w.k, tile.e0, slice * SLICE) +
                       lane * 16;
    size_t panel = sy_cuda_panel_size(SY_F32, tile.w.k);

#pragma unroll
    for (int i = 0; i < TOKENS / (32 / pieces); i++) {
        int t = lane / pieces + i * (32 / pieces), k = lane % pieces * 4;
        load_inputs(tile, &to->x[t][k], tile.t0 + t, slice * SLICE + k);
    }
#pragma unroll
    for (int atom = 0; atom < n_atoms; atom++) {
        bool there = tile.e0 + atom * SY_CUDA_ATOM_ROWS < tile.w.n;
        const uint8_t *from = w + (there ? (size_t)(atom / 2) * panel + (size_t)(atom % 2) * sy_cuda_atom_bytes(SY_F32)
                                         : 0);
#pragma unroll
        for (int i = 0; i < ATOM_BYTES; i += 32 * 16)
            sy_copy_piece(&to->w[atom][i + lane * 16], from + i, there ? 16 : 0);
    }
}

/* Two inputs of a thread's tokens and experts. */
template <int N_TOKENS> struct inputs {
    float2 x[N_TOKENS], w[TILE / EXPERT_STEP];
};

template <int TOKENS>
static __device__ __forceinline__ inputs<TOKENS / TOKEN_STEP> read_inputs(const struct stage<TOKENS> &stage, int k)
{
    int lane = (int)threadIdx.x % 32, t = lane / EXPERT_STEP, e = lane % EXPERT_STEP;
    inputs<TOKENS / TOKEN_STEP> in;

#pragma unroll
    for (int i = 0; i < TOKENS / TOKEN_STEP; i++)
        in.x[i] = *(const float2 *)&stage.x[t + i * TOKEN_STEP][k];
#pragma unroll
    for (int j = 0; j < TILE / EXPERT_STEP; j++)
        in.w[j] = *(const float2 *)&stage.w[j][k / 4 * 128 + e * 16 + k % 4 * (int)sizeof(float)];
    return in;
}

/* The slice's sums take its place, [TOKENS * TILE / 128][32] float4: a lane's in order of its tokens, then experts. By a warp. */
template <int TOKENS>
static __device__ __forceinline__ void sum_stage(struct stage<TOKENS> *stage)
{
    const int n_tokens = TOKENS / TOKEN_STEP, n_experts = TILE / EXPERT_STEP;
    int lane = (int)threadIdx.x % 32;
    float sum[n_tokens][n_experts] = {};

#pragma unroll 2
    for (int k = 0; k < SLICE; k += 2) {
        struct inputs<n_tokens> in = read_inputs(*stage, k);
        /* There and back through the tokens, so that a multiply-add shares a register with the one before. */
#pragma unroll
        for (int at = 0; at < 2 * n_tokens * n_experts; at++) {
            int j = at / n_tokens % n_experts, i = j % 2 ? n_tokens - 1 - at % n_tokens : at % n_tokens;
            sum[i][j] = at < n_tokens * n_experts ? __fmaf_rn(in.x[i].x, in.w[j].x, sum[i][j])
                                                  : __fmaf_rn(in.x[i].y, in.w[j].y, sum[i][j]);
        }
    }
    __syncwarp();
    float4 *to = (float4 *)stage;
#pragma unroll
    for (int i = 0; i < n_tokens * n_experts / 4; i++) {
        const float *of = &sum[i * 4 / n_experts][i * 4 % n_experts];
        to[i * 32 + lane] = make_float4(of[0], of[1], of[2], of[3]);
    }
}

static __device__ __forceinline__ float part_of(const float4 &f, int i)
{
    return i == 0 ? f.x : i == 1 ? f.y : i == 2 ? f.z : f.w;
}

/* The block's warps take a slice each, and then each adds up all their sums of its part of the tile. */
template <int TOKENS, int WARPS>
static __global__ void __launch_bounds__(32 * WARPS, WARPS == WARPS_LEAST ? AT_ONCE + 1 : 1)
    tile_kernel(const struct sy_weight w, const float *x, int T, float *logits)
{
    const int n_own = TOKENS * TILE / 32 / WARPS, n_experts = TILE / EXPERT_STEP;
    extern __shared__ __align__(16) uint8_t slices[];
    struct stage<TOKENS> *stages = (struct stage<TOKENS> *)slices; /* [2][WARPS] */
    int n_slices = (w.k + SLICE - 1) / SLICE, warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    bool aligned = w.k % 4 == 0 && (uintptr_t)x % 16 == 0;
    struct tile tile = {w, x, T, (int)blockIdx.y * TOKENS, (int)blockIdx.x * TILE, aligned};
    float total[n_own] = {};

    sy_begin();
    for (int round = 0; round < 2; round++) {
        if (round * WARPS + warp < n_slices)
            load_stage(tile, &stages[round * WARPS + warp], round * WARPS + warp);
        sy_copy_commit();
    }
    for (int first = 0; first < n_slices; first += WARPS) {
        struct stage<TOKENS> *now = stages + first / WARPS % 2 * WARPS;
        sy_copy_wait<1>();
        __syncwarp();
        if (first + warp < n_slices)
            sum_stage(&now[warp]);
        __syncthreads();
#pragma unroll
        for (int s = 0; s < WARPS; s++) {
            const float4 *sums = (const float4 *)&now[s] + warp * (n_own / 4) * 32 + lane;
            if (first + s >= n_slices)
                break;
#pragma unroll
            for (int i = 0; i < n_own; i++)
                total[i] = __fadd_rn(total[i], part_of(sums[i / 4 * 32], i % 4));
        }
        __syncthreads();
        if (first + 2 * WARPS + warp < n_slices)
            load_stage(tile, &now[warp], first + 2 * WARPS + warp);
        sy_copy_commit();
    }
#pragma unroll
    for (int i = 0; i < n_own; i++) {
        int at = warp * n_own + i, token = tile.t0 + lane / EXPERT_STEP + at / n_experts * TOKEN_STEP;
        int expert = tile.e0 + lane % EXPERT_STEP + at % n_experts * EXPERT_STEP;
        if (token < T && expert < w.n)
            logits[(size_t)token * (size_t)w.n + (size_t)expert] = w.bias ? __fadd_rn(total[i], w.bias[expert])
                                                                          : total[i];
    }
}

/* ---- which of these ---- */

template <int TOKENS, int WARPS> static size_t tile_bytes(void)
{
    return 2 * WARPS * sizeof(struct stage<TOKENS>);
}

template <int TOKENS, int WARPS>
static void run_tiles(struct sy_queue *q, const struct sy_weight *w, const float *x, int T, float *logits)
{
    dim3 grid((unsigned)(w->n + TILE - 1) / TILE, (unsigned)((T + TOKENS - 1) / TOKENS));
    size_t bytes = tile_bytes<TOKENS, WARPS>();

    if (sy_cuda_check(q,
                      cudaFuncSetAttribute((const void *)tile_kernel<TOKENS, WARPS>,
                                           cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                      "router logits"))
        sy_launch(q, "router logits", tile_kernel<TOKENS, WARPS>, grid, 32 * WARPS, bytes, *w, x, T, logits);
}

/* Tiles of so many tokens that a multiprocessor gets. */
static int share_of(const struct sy_queue *q, const struct sy_weight *w, int T, int tokens)
{
    int n_tiles = (w->n + TILE - 1) / TILE * ((T + tokens - 1) / tokens);

    return (n_tiles + q->n_sms - 1) / q->n_sms;
}

/* Figures that this goes by were measured on an H200. */
void sy_cuda_router_logits(struct sy_queue *q, const struct sy_weight *w, const float *x, int T, float *logits)
{
    int n_slices = (w->k + SLICE - 1) / SLICE;

    if (!sy_cuda_works(q) || T < 1)
        return;
    int atoms = (w->n + 7) / 8, threads = n_slices * 8 < FEW_THREADS ? n_slices * 8 : FEW_THREADS;
    int together = T * atoms < 4 * q->n_sms || threads < 8 * TOGETHER ? 1 : TOGETHER;
    int small = share_of(q, w, T, SMALL), large = share_of(q, w, T, LARGE);
    size_t shared = (size_t)together * (size_t)n_slices * 8 * sizeof(float);
    if (T < 65536 && (long long)T * w->n < (long long)MANY * small && shared <= 48 * 1024)
        sy_launch(q, "router logits", few_kernel, dim3((unsigned)atoms, (unsigned)((T + together - 1) / together)),
                  (unsigned)threads, shared, *w, x, T, together, logits);
    else if (large >= AT_ONCE)
        run_tiles<LARGE, WARPS_LEAST>(q, w, x, T, logits);
    else if (q->shared_bytes < tile_bytes<LARGE, WARPS_MOST>())
        run_tiles<SMALL, WARPS_MOST / 2>(q, w, x, T, logits);
    else if (SMALL_COST * SMALL * small < LARGE * large)
        run_tiles<SMALL, WARPS_MOST>(q, w, x, T, logits);
    else
        run_tiles<LARGE, WARPS_MOST>(q, w, x, T, logits);
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
