/* SPDX-License-Identifier: Apache-2.0
 * rope.cu - rotary position embedding, and rows of the table of embeddings
 */
#include "cuda/launch.cuh"
#include "cuda/widen.cuh"

#define THREADS      128
#define TURN_THREADS 64
#define TOGETHER     4 /* heads whose numbers a thread has on the way at once */

/* Blocks of a row take every gridDim.y-th head; a thread turns pairs, or moves dims that stay, of them all. */
static __global__ void rope_kernel(struct sy_rotation r)
{
    int t = (int)blockIdx.x, half = r.rotary_dim / 2, n_units = half + (r.width - 2 * half), step = (int)gridDim.y;
    const struct sy_attention_row *row = &r.rows[t];

    sy_begin();
    const float *cosine = r.cos_sin + (size_t)(row->turn + row->position) * (size_t)r.rotary_dim, *sine = cosine + half;
    const float *x = r.x + (size_t)t * r.x_stride;
    float *y = r.y + (size_t)t * r.y_stride;

    for (int unit = (int)threadIdx.x; unit < n_units; unit += TURN_THREADS) {
        bool turns = unit < half;
        int first = !turns ? half + unit : r.interleaved ? 2 * unit : unit;
        int second = !turns ? first : r.interleaved ? 2 * unit + 1 : half + unit;
        float c = turns ? cosine[unit] : 1.0f, s = turns ? sine[unit] : 0.0f;
        for (int head = (int)blockIdx.y; head < r.n_heads; head += step * TOGETHER) {
            float a[TOGETHER], b[TOGETHER];
#pragma unroll
            for (int i = 0; i < TOGETHER; i++)
                if (head + i * step < r.n_heads) {
                    a[i] = x[(size_t)(head + i * step) * r.x_head + (size_t)first];
                    b[i] = x[(size_t)(head + i * step) * r.x_head + (size_t)second];
                }
#pragma unroll
            for (int i = 0; i < TOGETHER; i++) {
                if (head + i * step >= r.n_heads)
                    break;
                float *to = y + (size_t)(head + i * step) * r.y_head;
                float turned = __fsub_rn(__fmul_rn(a[i], c), __fmul_rn(b[i], s));
                to[first] = sy_round_to(turns ? turned : a[i], r.round);
                if (turns)
                    to[second] = sy_round_to(__fadd_rn(__fmul_rn(b[i], c), __fmul_rn(a[i], s)), r.round);
            }
        }
    }
}

void sy_cuda_rope(struct sy_queue *q, const struct sy_rotation *r)
{
    if (!sy_cuda_works(q) || r->n_rows < 1 || r->n_heads < 1 || r->width < 1)
        return;
    /* A head for each block while there are few, then TOGETHER. */
    int few = 8 * q->n_sms / r->n_rows, n_blocks = few > r->n_heads ? r->n_heads : few;
    int least = (r->n_heads + TOGETHER - 1) / TOGETHER;
    if (n_blocks < least)
        n_blocks = least;
    sy_launch(q, "rope", rope_kernel, dim3((unsigned)r->n_rows, (unsigned)n_blocks), TURN_THREADS, 0, *r);
}

static __global__ void embed_kernel(struct sy_weight w, const int32_t *ids, float *x)
{
    int n = ids[blockIdx.x];

    for (int k = (int)(blockIdx.y * THREADS + threadIdx.x); k < w.k; k += (int)gridDim.y * THREADS)
        x[(size_t)blockIdx.x * (size_t)w.k + (size_t)k] = sy_weight_at(w, n, k);
}

void sy_cuda_embed(struct sy_queue *q, const struct sy_weight *w, const int32_t *ids, int T, float *x)
{
    if (!sy_cuda_works(q) || T < 1)
        return;
    embed_kernel<<<dim3((unsigned)T, 4), THREADS, 0, q->stream>>>(*w, ids, x);
    sy_cuda_launched(q, "embed");
}
