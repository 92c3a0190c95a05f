/* SPDX-License-Identifier: Apache-2.0
 * heads.cu - queries, keys and values between their projection and attention
 *
 * A warp takes a head of a row. It adds up and rounds as the norm, the rotation and the cache's kernels do one by one.
 */
#include "cuda/launch.cuh"
#include "cuda/warp.cuh"
#include "cuda/widen.cuh"

#define WARPS 4

/* Where a row's keys and values go. */
struct slot {
    int position, turn, at; /* at: of its page */
    uint8_t *page;
};

static __device__ __forceinline__ struct slot find_slot(const struct sy_heads &h, int t)
{
    const struct sy_attention_row *row = &h.turn.rows[t];
    int position = row->position;

    return {position, row->turn, position % SY_KV_PAGE,
            h.kv.base + (size_t)row->pages[position / SY_KV_PAGE] * h.kv.page_stride};
}

/* weight: the lane's. */
template <int OWN>
static __device__ __forceinline__ void normalise(const struct sy_heads &h, const float (&weight)[OWN],
                                                 float (&own)[OWN])
{
    int lane = (int)threadIdx.x % 32, width = h.turn.width;
    float sum = 0.0f;

#pragma unroll
    for (int i = 0; i < OWN; i++)
        if (lane + i * 32 < width)
            sum = __fmaf_rn(own[i], own[i], sum);
    float mean = __fdiv_rn(sy_warp_sum(sum), (float)width);
    float scale = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, h.eps)));
#pragma unroll
    for (int i = 0; i < OWN; i++)
        own[i] = __fmul_rn(__fmul_rn(own[i], scale), weight[i]);
}

/* A query or key, in shared memory, to where it goes. */
static __device__ __forceinline__ void turn(const struct sy_heads &h, const struct slot &slot, const float *x, int t,
                                            int head, int n_queries)
{
    const struct sy_rotation *r = &h.turn;
    int half = r->rotary_dim / 2, n_units = half + (r->width - 2 * half);
    const float *cosine = r->cos_sin + (size_t)(slot.turn + slot.position) * (size_t)r->rotary_dim,
                *sine = cosine + half;
    float *y = r->y + (size_t)t * r->y_stride + (size_t)head * r->y_head;
    size_t key = head < n_queries ? 0 : sy_cuda_kv_key(&h.kv, head - n_queries, slot.at);

    for (int unit = (int)threadIdx.x % 32; unit < n_units; unit += 32) {
        bool turns = unit < half;
        int first = !turns ? half + unit : r->interleaved ? 2 * unit : unit;
        int second = !turns ? first : r->interleaved ? 2 * unit + 1 : half + unit;
        float c = turns ? cosine[unit] : 1.0f, s = turns ? sine[unit] : 0.0f, a = x[first], b = x[second];
        float turned = __fsub_rn(__fmul_rn(a, c), __fmul_rn(b, s));
        a = sy_round_to(turns ? turned : a, r->round);
        b = sy_round_to(__fadd_rn(__fmul_rn(b, c), __fmul_rn(x[first], s)), r->round);
        if (head < n_queries) {
            y[first] = a;
            if (turns)
                y[second] = b;
        } else {
            sy_narrow(h.kv.dtype, slot.page, key + (size_t)first, a);
            if (turns)
                sy_narrow(h.kv.dtype, slot.page, key + (size_t)second, b);
        }
    }
}

static __device__ __forceinline__ void keep_value(const struct sy_heads &h, const struct slot &slot, int t, int head)
{
    size_t at = sy_cuda_kv_value(&h.kv, head, slot.at);
    const float *value = h.values + (size_t)t * h.turn.x_stride + (size_t)head * (size_t)h.kv.v_dim;

    for (int i = (int)threadIdx.x % 32; i < h.kv.v_dim; i += 32)
        sy_narrow(h.kv.dtype, slot.page, at + (size_t)i, value[i]);
}

/* Heads of at most 32 OWN dims. */
template <int OWN> static __global__ void __launch_bounds__(WARPS * 32) heads_kernel(const struct sy_heads h)
{
    __shared__ float turning[WARPS][32 * OWN];
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, t = (int)blockIdx.x;
    int head = (int)blockIdx.y * WARPS + warp, n_turned = h.turn.n_heads, n_queries = n_turned - h.kv.n_kv_heads;
    const float *norm = head < n_queries ? h.q_norm : h.k_norm;
    struct slot slot = find_slot(h, t);
    float weight[OWN], own[OWN];

#pragma unroll
    for (int i = 0; i < OWN; i++)
        weight[i] = norm && lane + i * 32 < h.turn.width ? norm[lane + i * 32] : 1.0f;
    sy_begin();
    if (head >= n_turned) {
        if (head < n_turned + h.kv.n_kv_heads)
            keep_value(h, slot, t, head - n_turned);
        return;
    }
    const float *x = h.turn.x + (size_t)t * h.turn.x_stride + (size_t)head * h.turn.x_head;
#pragma unroll
    for (int i = 0; i < OWN; i++)
        own[i] = lane + i * 32 < h.turn.width ? x[lane + i * 32] : 0.0f;
    if (norm)
        normalise<OWN>(h, weight, own);
#pragma unroll
    for (int i = 0; i < OWN; i++)
        turning[warp][lane + i * 32] = own[i];
    __syncwarp();
    turn(h, slot, turning[warp], t, head, n_queries);
}

static void run_apart(struct sy_queue *q, const struct sy_heads *h)
{
    const struct sy_rotation *r = &h->turn;
    int n_queries = r->n_heads - h->kv.n_kv_heads;
    float *keys = r->y + (size_t)n_queries * r->y_head;

    if (h->q_norm)
        sy_cuda_rmsnorm(q, r->y, r->y_stride, r->n_rows, n_queries, r->width, h->q_norm, h->eps, r->y, SY_F32,
                        r->y_stride);
    if (h->k_norm)
        sy_cuda_rmsnorm(q, keys, r->y_stride, r->n_rows, h->kv.n_kv_heads, r->width, h->k_norm, h->eps, keys, SY_F32,
                        r->y_stride);
    sy_cuda_rope(q, r);
    sy_cuda_kv_write(q, &h->kv, r->rows, r->n_rows, keys, h->values, r->y_stride);
}

void sy_cuda_heads(struct sy_queue *q, const struct sy_heads *h)
{
    int n_heads = h->turn.n_heads + (h->kv.v_in_k ? 0 : h->kv.n_kv_heads);

    if (!sy_cuda_works(q) || h->turn.n_rows < 1)
        return;
    dim3 grid((unsigned)h->turn.n_rows, (unsigned)(n_heads + WARPS - 1) / WARPS);
    if (h->turn.width <= 64)
        sy_launch(q, "heads", heads_kernel<2>, grid, WARPS * 32, 0, *h);
    else if (h->turn.width <= 128)
        sy_launch(q, "heads", heads_kernel<4>, grid, WARPS * 32, 0, *h);
    else if (h->turn.width <= 256)
        sy_launch(q, "heads", heads_kernel<8>, grid, WARPS * 32, 0, *h);
    else
        run_apart(q, h);
}
