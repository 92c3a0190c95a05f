/* SPDX-License-Identifier: Apache-2.0
 * attention.cu - attention over the paged cache, for heads of any size
 *
 * A warp takes a row and a head. It goes through the keys in steps of 32 that begin at multiples of 32 of the sequence: a
 * lane has a key's score, then dims of the weighted sum of values; the softmax is online (Milakov and Gimelshein, 2018).
 * Rows of prompts go through all of their keys so. Of rows of generated tokens, which are few and long, the keys are cut into
 * parts of a length that follows from the row's position alone; parts run side by side, and a second kernel puts them
 * together in order.
 */
#include "cuda/attention.cuh"

#define WARPS 4
#define STEP  32 /* keys */

/* What a warp has of the softmax: the largest score, the sum of exponentials below it, and dims lane, lane + 32, .. of the
 * sum of values. */
template <int NV> struct state {
    float largest, sum, out[NV];
};

/* q . k for the lane's key, both from element 0. */
static __device__ __forceinline__ float dot(enum sy_dtype dtype, const float *q, const uint8_t *key, int n)
{
    float sum = 0.0f;
    int i = 0;

    if (dtype == SY_BF16) {
        for (; i + 8 <= n; i += 8) {
            const uint4 piece = *(const uint4 *)(key + (size_t)i * 2);
            const uint32_t words[4] = {piece.x, piece.y, piece.z, piece.w};
#pragma unroll
            for (int j = 0; j < 4; j++) {
                sum = __fmaf_rn(q[i + 2 * j], __uint_as_float(words[j] << 16), sum);
                sum = __fmaf_rn(q[i + 2 * j + 1], __uint_as_float(words[j] & 0xffff0000u), sum);
            }
        }
    }
    for (; i < n; i++)
        sum = __fmaf_rn(q[i], sy_widen(dtype, key, (size_t)i), sum);
    return sum;
}

template <int NV>
static __device__ void attend(const struct sy_attention &a, const struct sy_attention_row &row, int kv_head,
                              const float *q, int begin, int end, struct state<NV> *s)
{
    const size_t element = a.kv.dtype == SY_F32 ? 4 : 2;
    bool round = a.kv.dtype == SY_BF16 && a.out_dtype != SY_F32;
    int lane = (int)threadIdx.x % 32;

    for (int first = begin / STEP * STEP; first < end; first += STEP) {
        int position = first + lane, lo = begin > first ? begin - first : 0;
        int hi = end - first < STEP ? end - first : STEP;
        bool seen = lane >= lo && lane < hi;
        float score = -CUDART_INF_F;
        if (seen) {
            const uint8_t *page = a.kv.base + (size_t)row.pages[position / SY_KV_PAGE] * a.kv.page_stride;
            score = __fmul_rn(
                dot(a.kv.dtype, q, page + sy_cuda_kv_key(&a.kv, kv_head, position % SY_KV_PAGE) * element, a.kv.k_dim),
                a.scale);
        }
        float largest = score;
        for (int i = 16; i; i /= 2)
            largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, i));
        largest = fmaxf(largest, s->largest);
        float keep = s->largest == largest ? 1.0f : expf(__fsub_rn(s->largest, largest));
        float weight = seen ? expf(__fsub_rn(score, largest)) : 0.0f, sum = weight;
        for (int i = 16; i; i /= 2)
            sum = __fadd_rn(sum, __shfl_xor_sync(0xffffffffu, sum, i));
        s->sum = __fmaf_rn(s->sum, keep, sum);
        s->largest = largest;
        if (round)
            weight = sy_round_to(weight, SY_ROUND_BF16);
#pragma unroll
        for (int j = 0; j < NV; j++)
            s->out[j] = __fmul_rn(s->out[j], keep);
        for (int i = lo; i < hi; i++) {
            int at = first + i;
            float w = __shfl_sync(0xffffffffu, weight, i);
            const uint8_t *page = a.kv.base + (size_t)row.pages[at / SY_KV_PAGE] * a.kv.page_stride;
            size_t value = sy_cuda_kv_value(&a.kv, kv_head, at % SY_KV_PAGE);
#pragma unroll
            for (int j = 0; j < NV; j++)
                if (lane + 32 * j < a.kv.v_dim)
                    s->out[j] = __fmaf_rn(w, sy_widen(a.kv.dtype, page, value + (size_t)(lane + 32 * j)), s->out[j]);
        }
    }
}

static __device__ __forceinline__ void store(const struct sy_attention &a, int t, int h, int i, float f)
{
    sy_store_row(a.out_dtype, a.out, (size_t)a.n_heads * (size_t)a.kv.v_dim, (size_t)t,
                 (size_t)h * (size_t)a.kv.v_dim + (size_t)i, f);
}

/* Numbers that a part leaves in scratch: the largest score, the sum, and the values. */
static __host__ __device__ __forceinline__ size_t part_floats(const struct sy_attention &a)
{
    return 2 + (size_t)a.kv.v_dim;
}

static __device__ __forceinline__ float *part_at(const struct sy_attention &a, float *scratch, int n_parts, int t,
                                                 int h, int part)
{
    size_t head = (size_t)t * (size_t)(a.head_end - a.head_begin) + (size_t)(h - a.head_begin);

    return scratch + (head * (size_t)n_parts + (size_t)part) * part_floats(a);
}

/* Warps of a block take neighbouring heads, which share a KV head. scratch NULL: all keys, and the result. */
template <int NV>
static __global__ void __launch_bounds__(WARPS * 32)
    attention_kernel(struct sy_attention a, float *scratch, int n_parts)
{
    extern __shared__ float queries[];
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, h = a.head_begin + (int)blockIdx.y * WARPS + warp;
    int t = (int)blockIdx.x, part = (int)blockIdx.z;
    struct sy_attention_row row = a.rows[t];
    float *q = queries + warp * a.kv.k_dim;
    int begin = sy_first_key(a, row.position), end = row.position + 1;
    struct state<NV> s;

    if (h >= a.head_end)
        return;
    if (scratch) {
        int n = sy_part_keys(row.position);
        begin = begin > part * n ? begin : part * n;
        end = end < (part + 1) * n ? end : (part + 1) * n;
    }
    for (int i = lane; i < a.kv.k_dim; i += 32)
        q[i] = a.q[(size_t)t * a.q_stride + (size_t)(h * a.kv.k_dim + i)];
    __syncwarp();
    bool sink = a.sinks && !scratch;
    s.largest = sink ? a.sinks[h] : -CUDART_INF_F;
    s.sum = sink ? 1.0f : 0.0f;
#pragma unroll
    for (int j = 0; j < NV; j++)
        s.out[j] = 0.0f;
    attend<NV>(a, row, h / (a.n_heads / a.kv.n_kv_heads), q, begin, end, &s);
    float *to = scratch ? part_at(a, scratch, n_parts, t, h, part) : NULL;
    if (scratch && lane == 0) {
        to[0] = s.largest;
        to[1] = s.sum;
    }
#pragma unroll
    for (int j = 0; j < NV; j++) {
        int i = lane + 32 * j;
        if (i >= a.kv.v_dim)
            break;
        if (scratch)
            to[2 + i] = s.out[j];
        else
            store(a, t, h, i, __fdiv_rn(s.out[j], s.sum));
    }
}

/* A warp for each row and head: its parts in order, a sink before them. */
static __global__ void combine_kernel(struct sy_attention a, float *scratch, int n_parts)
{
    int h = a.head_begin + (int)blockIdx.y * WARPS + (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int t = (int)blockIdx.x;

    if (h >= a.head_end)
        return;
    int position = a.rows[t].position, n = sy_part_keys(position), end = position / n + 1;
    int begin = sy_first_key(a, position) / n;
    float largest = a.sinks ? a.sinks[h] : -CUDART_INF_F, sum = 0.0f;
    for (int p = begin; p < end; p++)
        largest = fmaxf(largest, part_at(a, scratch, n_parts, t, h, p)[0]);
    if (a.sinks)
        sum = expf(__fsub_rn(a.sinks[h], largest));
    for (int p = begin; p < end; p++) {
        const float *part = part_at(a, scratch, n_parts, t, h, p);
        sum = __fmaf_rn(expf(__fsub_rn(part[0], largest)), part[1], sum);
    }
    for (int i = lane; i < a.kv.v_dim; i += 32) {
        float out = 0.0f;
        for (int p = begin; p < end; p++) {
            const float *part = part_at(a, scratch, n_parts, t, h, p);
            out = __fmaf_rn(expf(__fsub_rn(part[0], largest)), part[2 + i], out);
        }
        store(a, t, h, i, __fdiv_rn(out, sum));
    }
}

static void launch(struct sy_queue *q, const struct sy_attention *a, float *scratch, int n_parts)
{
    unsigned heads = (unsigned)((a->head_end - a->head_begin + WARPS - 1) / WARPS);
    dim3 grid((unsigned)a->n_rows, heads, (unsigned)n_parts);
    size_t bytes = (size_t)(WARPS * a->kv.k_dim) * sizeof(float);

    if (a->kv.v_dim <= 64)
        attention_kernel<2><<<grid, WARPS * 32, bytes, q->stream>>>(*a, scratch, n_parts);
    else if (a->kv.v_dim <= 128)
        attention_kernel<4><<<grid, WARPS * 32, bytes, q->stream>>>(*a, scratch, n_parts);
    else if (a->kv.v_dim <= 256)
        attention_kernel<8><<<grid, WARPS * 32, bytes, q->stream>>>(*a, scratch, n_parts);
    else
        attention_kernel<16><<<grid, WARPS * 32, bytes, q->stream>>>(*a, scratch, n_parts);
    sy_cuda_launched(q, "attention");
    if (!scratch)
        return;
    combine_kernel<<<dim3((unsigned)a->n_rows, heads), WARPS * 32, 0, q->stream>>>(*a, scratch, n_parts);
    sy_cuda_launched(q, "attention's parts");
}

/* As many rows at a time as scratch has room for. */
static void decode(struct sy_queue *q, const struct sy_attention *a)
{
    bool few = a->n_keys > 0 && a->n_keys <= SY_PART_KEYS * SY_PARTS_MAX;
    int n_parts = few ? (a->n_keys - 1) / SY_PART_KEYS + 1 : SY_PARTS_MAX;
    size_t row_bytes = (size_t)(a->head_end - a->head_begin) * (size_t)n_parts * part_floats(*a) * sizeof(float);
    size_t out_row = (size_t)(a->n_heads * a->kv.v_dim) * sy_dtype_bytes(a->out_dtype);
    struct sy_attention some = *a;

    int n = (int)(SY_CUDA_SCRATCH_BYTES / row_bytes);
    for (int t = 0; t < a->n_rows; t += n) {
        some.rows = a->rows + t;
        some.q = a->q + (size_t)t * a->q_stride;
        some.out = (uint8_t *)a->out + (size_t)t * out_row;
        some.n_rows = a->n_rows - t < n ? a->n_rows - t : n;
        launch(q, &some, (float *)q->scratch, n_parts);
    }
}

/* On tensor cores, if there is a kernel for it. */
static bool fast(struct sy_queue *q, const struct sy_attention *a)
{
    if (a->kv.dtype != SY_BF16 || a->out_dtype == SY_F32 || ((uintptr_t)a->kv.base | a->kv.page_stride) % 16)
        return false;
    if (a->decode)
        return sy_cuda_attention_decode(q, a);
    return sy_cuda_attention_hopper(q, a) || sy_cuda_attention_prompt(q, a);
}

void sy_cuda_attention(struct sy_queue *q, const struct sy_attention *a)
{
    if (!sy_cuda_works(q) || a->n_rows < 1 || a->head_end <= a->head_begin || fast(q, a))
        return;
    if (a->kv.v_dim > 512 || (size_t)(WARPS * a->kv.k_dim) * sizeof(float) > 48 << 10) {
        sy_error_set(&q->error, SY_ERR_USAGE, "GPU %d: attention has no kernel for heads of %d and %d dims", q->device,
                     a->kv.k_dim, a->kv.v_dim);
        return;
    }
    if (a->decode)
        decode(q, a);
    else
        launch(q, a, NULL, 1);
}
