/* SPDX-License-Identifier: Apache-2.0
 * attention.c - the paged KV cache: writing it, and attention over it
 */
#include "ref/ref.h"

/* Element i of K (v = 0) or V (v = 1) of a KV head at a position: its page, and its index inside the page. */
static uint8_t *page_of(const struct sy_kv_layer *kv, const struct sy_attention_row *row, int position)
{
    return kv->base + (size_t)row->pages[position / SY_KV_PAGE] * kv->page_stride;
}

static size_t index_of(const struct sy_kv_layer *kv, int v, int head, int position, int i)
{
    int slot = position % SY_KV_PAGE;

    return v ? sy_kv_v_index(kv, head, slot, i) : sy_kv_k_index(kv, head, slot, i);
}

void sy_ref_kv_write(struct sy_queue *q, const struct sy_kv_layer *kv, const struct sy_attention_row *rows, int T,
                     const float *k, const float *v, size_t kv_stride)
{
    (void)q;
    for (int t = 0; t < T; t++, k += kv_stride, v += kv->v_in_k ? 0 : kv_stride) {
        int position = rows[t].position;
        uint8_t *page = page_of(kv, &rows[t], position);
        for (int h = 0; h < kv->n_kv_heads; h++) {
            for (int i = 0; i < kv->k_dim; i++)
                sy_ref_store(kv->dtype, page, index_of(kv, 0, h, position, i), k[h * kv->k_dim + i]);
            for (int i = 0; i < kv->v_dim && !kv->v_in_k; i++)
                sy_ref_store(kv->dtype, page, index_of(kv, 1, h, position, i), v[h * kv->v_dim + i]);
        }
    }
}

static float score(const struct sy_attention *a, const struct sy_attention_row *row, const float *q, int kv_head,
                   int position)
{
    const uint8_t *page = page_of(&a->kv, row, position);
    float sum = 0.0f;

    for (int i = 0; i < a->kv.k_dim; i++)
        sum += q[i] * sy_float_at(a->kv.dtype, page, index_of(&a->kv, 0, kv_head, position, i));
    return sum * a->scale;
}

/* A weight of the softmax as its consumer takes it. */
static float weight(const struct sy_attention *a, float e)
{
    return a->kv.dtype == SY_BF16 && a->out_dtype != SY_F32 ? sy_bf16_widen(sy_bf16_round(e)) : e;
}

/* Softmax in passes: the largest score, the sum of exponentials, then for each dim the weighted values. A sink is one
 * more score, which has no value. */
static void attend(const struct sy_attention *a, int t, int head)
{
    const struct sy_attention_row *row = &a->rows[t];
    const float *q = a->q + (size_t)t * a->q_stride + (size_t)head * (size_t)a->kv.k_dim;
    int last = row->position, first = a->window > 0 && last >= a->window ? last - a->window + 1 : 0;
    int kv_head = head / (a->n_heads / a->kv.n_kv_heads);
    float sink = a->sinks ? a->sinks[head] : -INFINITY, largest = sink, sum;

    for (int p = first; p <= last; p++)
        largest = fmaxf(largest, score(a, row, q, kv_head, p));
    sum = expf(sink - largest);
    for (int p = first; p <= last; p++)
        sum += expf(score(a, row, q, kv_head, p) - largest);
    for (int i = 0; i < a->kv.v_dim; i++) {
        float out = 0.0f;
        for (int p = first; p <= last; p++)
            out += weight(a, expf(score(a, row, q, kv_head, p) - largest)) *
                   sy_float_at(a->kv.dtype, page_of(&a->kv, row, p), index_of(&a->kv, 1, kv_head, p, i));
        sy_ref_store_row(a->out_dtype, a->out, (size_t)(a->n_heads * a->kv.v_dim), (size_t)t,
                         (size_t)(head * a->kv.v_dim + i), out / sum);
    }
}

void sy_ref_attention(struct sy_queue *q, const struct sy_attention *a)
{
    (void)q;
    for (int t = 0; t < a->n_rows; t++)
        for (int h = a->head_begin; h < a->head_end; h++)
            attend(a, t, h);
}
