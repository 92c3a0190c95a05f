/* SPDX-License-Identifier: Apache-2.0
 * attention.c - the paged KV cache: writing it, and attention over it
 *
 * Online softmax (Milakov and Gimelshein 2018): keys come in blocks of SY_KV_PAGE; the running maximum, sum and
 * weighted values of a head are rescaled when a block has a larger score. Blocks start at multiples of SY_KV_PAGE of the
 * position, keys that a row does not see take no part, and values are added key by key, so a row's bits depend on its
 * own sequence alone.
 */
#include <math.h>

#include "cpu/cpu.h"
#include "cpu/vec.h"

/* Query heads of one KV head that go through the keys together. */
#define HEADS_MAX 16

struct write_job {
    const struct sy_kv_layer *kv;
    const struct sy_attention_row *rows;
    const float *k, *v;
    size_t kv_stride;
    int n_rows, row_step;
};

/* One head's vector to its slot: element `at` of the page on. */
static void write_head(const struct sy_kv_layer *kv, const float *from, uint8_t *page, size_t at)
{
    for (int i = 0; i < kv->head_dim; i += VEC_N) {
        int lanes = vec_lanes(kv->head_dim, i);
        vec_store_type_upto(kv->dtype, page, at + (size_t)i, lanes, vec_load_upto(from + i, lanes));
    }
}

static void write_item(void *arg, int item, int thread)
{
    const struct write_job *job = arg;
    const struct sy_kv_layer *kv = job->kv;
    size_t dim = (size_t)kv->head_dim, v_begin = (size_t)kv->n_kv_heads * SY_KV_PAGE * dim;

    (void)thread;
    for (int t = item * job->row_step; t < job->n_rows && t < (item + 1) * job->row_step; t++) {
        const struct sy_attention_row *row = &job->rows[t];
        uint8_t *page = kv->base + (size_t)row->pages[row->position / SY_KV_PAGE] * kv->page_stride;
        for (int h = 0; h < kv->n_kv_heads; h++) {
            size_t at = ((size_t)h * SY_KV_PAGE + (size_t)(row->position % SY_KV_PAGE)) * dim;
            size_t from = (size_t)t * job->kv_stride + (size_t)h * dim;
            write_head(kv, job->k + from, page, at);
            write_head(kv, job->v + from, page, v_begin + at);
        }
    }
}

void SY_CPU(kv_write)(struct sy_queue *q, const struct sy_kv_layer *kv, const struct sy_attention_row *rows, int T,
                      const float *k, const float *v, size_t kv_stride)
{
    int width = 2 * kv->n_kv_heads * kv->head_dim, step = sy_row_step(width);
    struct write_job job = {kv, rows, k, v, kv_stride, T, step};

    sy_queue_run(q, (T + step - 1) / step, (double)T * width, write_item, &job);
}

/* Running softmax of one query head: largest score so far, and the sum of exp(score - largest). The weighted values are
 * in the output row. */
struct head {
    const float *q;
    float *out;
    float largest, sum;
};

/* Scores of keys 0 .. 7 at k. A key's sum is over dims i % 8 first, then over the eight. */
VEC_INLINE vf scores8(enum sy_dtype dtype, const float *q, const uint8_t *k, int head_dim)
{
    vf sum[8];
    int i = 0;

    VEC_UNROLL
    for (int j = 0; j < 8; j++)
        sum[j] = vec_zero();
    for (; i + VEC_N <= head_dim; i += VEC_N) {
        vf qi = vec_load(q + i);
        VEC_UNROLL
        for (int j = 0; j < 8; j++)
            sum[j] = vec_fma(qi, vec_load_type(dtype, k, (size_t)(j * head_dim + i)), sum[j]);
    }
    if (i < head_dim) {
        vf qi = vec_load_n(q + i, head_dim - i);
        for (int j = 0; j < 8; j++)
            sum[j] = vec_fma(qi, vec_load_type_n(dtype, k, (size_t)(j * head_dim + i), head_dim - i), sum[j]);
    }
    return vec_sum8(sum);
}

/* out = out * rescale + sum of p[j] * v[j], j = begin .. end - 1, for `count` vectors from dim i on */
VEC_INLINE void add_values(enum sy_dtype dtype, int count, const float *p, const uint8_t *v, int head_dim, int i,
                           int lanes, int begin, int end, float rescale, float *out)
{
    vf acc[4];

    VEC_UNROLL
    for (int c = 0; c < count; c++)
        acc[c] = vec_mul(vec_load_upto(out + i + c * VEC_N, lanes), vec_set(rescale));
    for (int j = begin; j < end; j++) {
        vf pj = vec_set(p[j]);
        VEC_UNROLL
        for (int c = 0; c < count; c++)
            acc[c] = vec_fma(pj, vec_load_type_upto(dtype, v, (size_t)(j * head_dim + i + c * VEC_N), lanes), acc[c]);
    }
    VEC_UNROLL
    for (int c = 0; c < count; c++)
        vec_store_upto(out + i + c * VEC_N, lanes, acc[c]);
}

/* One block of keys for one head; the row sees keys begin .. end - 1 of it. k and v: [SY_KV_PAGE][head_dim]. What the
 * other keys hold is never used: they may not have been written. */
VEC_INLINE void head_block(enum sy_dtype dtype, const struct sy_attention *a, struct head *head, const uint8_t *k,
                           const uint8_t *v, int begin, int end)
{
    const vf none = vec_set(-INFINITY), scale = vec_set(a->scale);
    size_t half_bytes = (size_t)(VEC_N * a->head_dim) * (dtype == SY_F32 ? 4 : 2);
    float p[SY_KV_PAGE], rescale, largest;
    vf s[2], sum = vec_zero();
    int i = 0;

    for (int h = 0; h < 2; h++) {
        vf all = vec_mul(scores8(dtype, head->q, k + (size_t)h * half_bytes, a->head_dim), scale);
        s[h] = vec_select_range(all, none, begin - h * VEC_N, end - h * VEC_N);
    }
    largest = vec_largest(vec_max(vec_max(s[0], s[1]), vec_set(head->largest)));
    vec_store(p, vec_exp(vec_set(head->largest - largest)));
    rescale = p[0];
    head->largest = largest;
    for (int h = 0; h < 2; h++) {
        vf e = vec_exp(vec_sub(s[h], vec_set(largest)));
        vec_store(p + h * VEC_N, e);
        sum = vec_add(sum, e);
    }
    head->sum = head->sum * rescale + vec_sum(sum);
    for (; i + 4 * VEC_N <= a->head_dim; i += 4 * VEC_N)
        add_values(dtype, 4, p, v, a->head_dim, i, VEC_N, begin, end, rescale, head->out);
    for (; i < a->head_dim; i += VEC_N)
        add_values(dtype, 1, p, v, a->head_dim, i, vec_lanes(a->head_dim, i), begin, end, rescale, head->out);
}

/* Heads of one row that share KV head kv_head, through all keys that the row sees. */
VEC_INLINE void heads_run(enum sy_dtype dtype, const struct sy_attention *a, const struct sy_attention_row *row,
                          int kv_head, struct head *heads, int n_heads)
{
    int last = row->position, first = a->window > 0 && last >= a->window ? last - a->window + 1 : 0;
    size_t head_bytes = (size_t)SY_KV_PAGE * (size_t)a->head_dim * (dtype == SY_F32 ? 4 : 2);

    for (int block = first / SY_KV_PAGE; block <= last / SY_KV_PAGE; block++) {
        const uint8_t *page = a->kv.base + (size_t)row->pages[block] * a->kv.page_stride;
        const uint8_t *k = page + (size_t)kv_head * head_bytes, *v = k + (size_t)a->kv.n_kv_heads * head_bytes;
        int begin = first - block * SY_KV_PAGE, end = last - block * SY_KV_PAGE + 1;
        begin = begin > 0 ? begin : 0;
        end = end < SY_KV_PAGE ? end : SY_KV_PAGE;
        for (int h = 0; h < n_heads; h++)
            head_block(dtype, a, &heads[h], k, v, begin, end);
    }
}

static void head_finish(const struct sy_attention *a, const struct head *head)
{
    vf sum = vec_set(head->sum);

    for (int i = 0; i < a->head_dim; i += VEC_N) {
        int lanes = vec_lanes(a->head_dim, i);
        vf v = vec_div(vec_load_upto(head->out + i, lanes), sum);
        vec_store_upto(head->out + i, lanes, vec_round(v, a->round));
    }
}

/* Item: one KV head of one row. Rows run fastest, so that rows of one sequence find its keys in the cache. */
static void attention_item(void *arg, int item, int thread)
{
    const struct sy_attention *a = arg;
    int group = a->n_heads / a->n_kv_heads, t = item % a->n_rows, kv_head = a->head_begin / group + item / a->n_rows;
    int begin = kv_head * group, end = begin + group;
    struct head heads[HEADS_MAX];

    (void)thread;
    begin = begin > a->head_begin ? begin : a->head_begin;
    end = end < a->head_end ? end : a->head_end;
    while (begin < end) {
        int n = end - begin < HEADS_MAX ? end - begin : HEADS_MAX;
        for (int h = 0; h < n; h++) {
            size_t at = (size_t)(begin + h) * (size_t)a->head_dim;
            float *out = a->out + (size_t)t * (size_t)(a->n_heads * a->head_dim) + at;
            memset(out, 0, (size_t)a->head_dim * sizeof *out);
            heads[h] = (struct head){a->q + (size_t)t * a->q_stride + at, out, -INFINITY, 0.0f};
        }
        if (a->kv.dtype == SY_BF16)
            heads_run(SY_BF16, a, &a->rows[t], kv_head, heads, n);
        else
            heads_run(SY_F32, a, &a->rows[t], kv_head, heads, n);
        for (int h = 0; h < n; h++)
            head_finish(a, &heads[h]);
        begin += n;
    }
}

void SY_CPU(attention)(struct sy_queue *q, const struct sy_attention *a)
{
    int group = a->n_heads / a->n_kv_heads;
    double cost = 0.0;

    if (a->n_rows <= 0 || a->head_end <= a->head_begin)
        return;
    for (int t = 0; t < a->n_rows; t++)
        cost += 2.0 * (a->rows[t].position + 1) * (a->head_end - a->head_begin) * a->head_dim;
    int n_kv_heads = (a->head_end - 1) / group - a->head_begin / group + 1;
    sy_queue_run(q, a->n_rows * n_kv_heads, cost, attention_item, (void *)a);
}
