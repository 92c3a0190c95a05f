/* SPDX-License-Identifier: Apache-2.0
 * rope.cu - rotary position embedding, and rows of the table of embeddings
 */
#include "cuda/widen.cuh"

#define THREADS 128

/* A block for each row. A thread turns pairs, or moves dims that stay, of all heads in turn. */
static __global__ void rope_kernel(struct sy_rotation r)
{
    int t = (int)blockIdx.x, half = r.rotary_dim / 2, units = half + (r.width - 2 * half);
    const struct sy_attention_row *row = &r.rows[t];
    const float *cosine = r.cos_sin + (size_t)(row->turn + row->position) * (size_t)r.rotary_dim, *sine = cosine + half;

    for (int i = (int)threadIdx.x; i < r.n_heads * units; i += THREADS) {
        int unit = i % units;
        const float *x = r.x + (size_t)t * r.x_stride + (size_t)(i / units) * r.x_head;
        float *y = r.y + (size_t)t * r.y_stride + (size_t)(i / units) * r.y_head;
        if (unit >= half) {
            int at = half + unit;
            y[at] = sy_round_to(x[at], r.round);
            continue;
        }
        int first = r.interleaved ? 2 * unit : unit, second = r.interleaved ? 2 * unit + 1 : half + unit;
        float a = x[first], b = x[second], c = cosine[unit], s = sine[unit];
        y[first] = sy_round_to(__fsub_rn(__fmul_rn(a, c), __fmul_rn(b, s)), r.round);
        y[second] = sy_round_to(__fadd_rn(__fmul_rn(b, c), __fmul_rn(a, s)), r.round);
    }
}

void sy_cuda_rope(struct sy_queue *q, const struct sy_rotation *r)
{
    if (!sy_cuda_works(q) || r->n_rows < 1 || r->n_heads < 1 || r->width < 1)
        return;
    rope_kernel<<<(unsigned)r->n_rows, THREADS, 0, q->stream>>>(*r);
    sy_cuda_launched(q, "rope");
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
