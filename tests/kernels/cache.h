/* SPDX-License-Identifier: Apache-2.0
 * cache.h - sequences in a paged KV cache, and attention over them in double
 */
#ifndef SY_TESTS_KERNELS_CACHE_H
#define SY_TESTS_KERNELS_CACHE_H

#include "common.h"
#include "cuda/layout.h"
#include "layout.h"

#define SEQUENCES 5
#define BLOCK     128 /* keys of one block of the CPU's online softmax */

/* What is attended to, and as what: the cache's type, the output's, and so on. */
struct shape {
    enum sy_dtype kv, out;
    int n_heads, n_kv_heads, k_dim, window;
    int v_dim; /* 0: k_dim */
    bool v_in_k, sinks;
};

/* One with values as wide as keys and of their own. */
#define PLAIN(kv_type, out_type, q_heads, kv_heads, dim, keys)                                                   \
    {                                                                                                            \
        .kv = kv_type, .out = out_type, .n_heads = q_heads, .n_kv_heads = kv_heads, .k_dim = dim, .window = keys \
    }

/* What it wants of a cache. */
static inline struct sy_kv_layer shape_kv(const struct shape *shape)
{
    return (struct sy_kv_layer){.dtype = shape->kv,
                                .n_kv_heads = shape->n_kv_heads,
                                .k_dim = shape->k_dim,
                                .v_dim = shape->v_dim ? shape->v_dim : shape->k_dim,
                                .v_in_k = shape->v_in_k};
}

/* Whether q and the softmax's weights are BF16 values. */
static inline bool shape_bf16(const struct shape *shape)
{
    return shape->kv == SY_BF16 && shape->out != SY_F32;
}

/* Heads, lengths and the cache of some sequences whose pages lie anywhere. */
struct cache {
    struct sy_kv_layer kv;
    bool on_device; /* the pages' layout is that of kernels/cuda */
    int n_pages, pages_each, length[SEQUENCES];
    int32_t *pages[SEQUENCES];
    float *k[SEQUENCES],
        *v[SEQUENCES]; /* [length][n_kv_heads * k_dim or v_dim], as they were before they were written */
};

/* Every byte that is not written is 0xff, which makes NaN of every type. */
static inline void cache_begin(struct cache *c, const struct sy_kernels *backend, const struct shape *shape,
                               int pages_each)
{
    struct sy_kv_layer kv = shape_kv(shape);
    int k_width = kv.n_kv_heads * kv.k_dim, v_width = kv.n_kv_heads * kv.v_dim;

    *c = (struct cache){.kv = kv,
                        .on_device = backend->on_device,
                        .n_pages = SEQUENCES * pages_each + 3,
                        .pages_each = pages_each};
    c->kv.page_stride = backend->kv_page_bytes(&kv) + 64;
    c->kv.base = new_output(c->kv.page_stride * (size_t)c->n_pages);
    memset(c->kv.base, 0xff, c->kv.page_stride * (size_t)c->n_pages);
    for (int s = 0; s < SEQUENCES; s++) {
        c->length[s] = s == 0 ? 1 : s == 1 ? 16 : s == 2 ? 17 : random_int(pages_each * 8, pages_each * SY_KV_PAGE);
        c->k[s] = random_rows(SY_F32, c->length[s], k_width, (size_t)k_width);
        c->v[s] = random_rows(SY_F32, c->length[s], v_width, (size_t)v_width);
        c->pages[s] = new_bytes((size_t)pages_each * sizeof *c->pages[s]);
        /* 211 is prime and larger than the number of pages. */
        for (int p = 0; p < pages_each; p++)
            c->pages[s][p] = (int32_t)((s + p * SEQUENCES) * 211 % c->n_pages);
    }
}

static inline void cache_end(struct cache *c)
{
    free_output(c->kv.base);
    for (int s = 0; s < SEQUENCES; s++) {
        free_output(c->k[s]);
        free_output(c->v[s]);
        free_bytes(c->pages[s]);
    }
}

/* Write all sequences as steps do: in each call the next positions of some sequences, one or many. */
static inline void cache_write(const struct sy_kernels *backend, struct sy_queue *q, const struct cache *c)
{
    size_t k_width = (size_t)(c->kv.n_kv_heads * c->kv.k_dim), v_width = (size_t)(c->kv.n_kv_heads * c->kv.v_dim);
    size_t stride = (k_width > v_width ? k_width : v_width) + (size_t)random_int(0, 5);
    int written[SEQUENCES] = {0}, n_max = SEQUENCES * c->pages_each * SY_KV_PAGE, T;
    struct sy_attention_row *rows = new_bytes(sizeof *rows * (size_t)n_max);
    float *k = new_input((size_t)n_max * stride * sizeof *k), *v = new_input((size_t)n_max * stride * sizeof *v);

    do {
        T = 0;
        for (int s = 0; s < SEQUENCES; s++) {
            int left = c->length[s] - written[s], n = random_int(0, 2) ? random_int(0, 70) : 1;
            for (n = n < left ? n : left; n > 0; n--, T++) {
                size_t from = (size_t)written[s], to = (size_t)T * stride;
                rows[T] = (struct sy_attention_row){c->pages[s], written[s]++, 0};
                memcpy(k + to, c->k[s] + from * k_width, k_width * sizeof *k);
                memcpy(v + to, c->v[s] + from * v_width, v_width * sizeof *v);
            }
        }
        backend->kv_write(q, &c->kv, rows, T, k, c->kv.v_in_k ? NULL : v, stride);
        for (int s = T = 0; s < SEQUENCES; s++)
            T += c->length[s] - written[s];
    } while (T);
    free_bytes(rows);
    free_output(k);
    free_output(v);
}

/* Element i of head h at a position as it was before it was written: K (v = 0) or V (v = 1). */
static inline float cache_input(const struct cache *c, int v, int s, int position, int h, int i)
{
    bool from_v = v && !c->kv.v_in_k;
    int dim = from_v ? c->kv.v_dim : c->kv.k_dim;

    return (from_v ? c->v : c->k)[s][(size_t)(position * c->kv.n_kv_heads + h) * (size_t)dim + (size_t)i];
}

/* And as the cache's type holds it. */
static inline double cache_value(const struct cache *c, int v, int s, int position, int h, int i)
{
    float f = cache_input(c, v, s, position, h, i);

    if (c->kv.dtype == SY_F16)
        return (double)sy_f16_widen(sy_f16_round(f));
    return (double)sy_round_float(f, c->kv.dtype == SY_BF16 ? SY_ROUND_BF16 : SY_ROUND_NONE);
}

/* The byte where it lies. */
static inline uint8_t *cache_place(const struct cache *c, int v, int s, int position, int h, int i)
{
    uint8_t *page = c->kv.base + (size_t)c->pages[s][position / SY_KV_PAGE] * c->kv.page_stride;
    int slot = position % SY_KV_PAGE;
    size_t at;

    if (c->on_device)
        at = (v ? sy_cuda_kv_value(&c->kv, h, slot) : sy_cuda_kv_key(&c->kv, h, slot)) + (size_t)i;
    else
        at = v ? sy_kv_v_index(&c->kv, h, slot, i) : sy_kv_k_index(&c->kv, h, slot, i);
    return page + sy_dtype_bytes(c->kv.dtype) * at;
}

/* ---- calls ---- */

struct call {
    struct sy_attention a;
    int n_rows, *sequence; /* of each row */
    struct sy_attention_row *rows;
    size_t row_bytes, out_bytes;
};

static inline struct call call_begin(const struct cache *c, const struct shape *shape, int n_rows)
{
    int width = shape->n_heads * c->kv.k_dim, out_width = shape->n_heads * c->kv.v_dim;
    size_t q_stride = (size_t)(width + random_int(0, 1) * random_int(1, 9));
    struct call call = {.n_rows = n_rows, .row_bytes = (size_t)out_width * sy_dtype_bytes(shape->out)};
    float *q = random_rows(SY_F32, n_rows, width, q_stride);

    /* The kernel that made q has rounded it. */
    for (size_t i = 0; shape_bf16(shape) && i < (size_t)n_rows * q_stride; i++)
        q[i] = sy_round_float(q[i], SY_ROUND_BF16);
    call.sequence = new_bytes(sizeof *call.sequence * (size_t)n_rows);
    call.rows = new_bytes(sizeof *call.rows * (size_t)n_rows);
    call.out_bytes = (size_t)n_rows * call.row_bytes;
    call.a = (struct sy_attention){
        .n_rows = n_rows,
        .n_heads = shape->n_heads,
        .head_end = shape->n_heads,
        .window = shape->window,
        .decode = random_int(0, 1),
        .scale = 4.0f / sqrtf((float)c->kv.k_dim),
        .rows = call.rows,
        .kv = c->kv,
        .q = q,
        .q_stride = q_stride,
        .sinks = shape->sinks ? random_rows(SY_F32, 1, shape->n_heads, (size_t)shape->n_heads) : NULL,
        .out_dtype = shape->out,
        .out = new_output(call.out_bytes)};
    return call;
}

static inline void call_end(struct call *call)
{
    free_bytes(call->sequence);
    free_bytes(call->rows);
    free_output((void *)call->a.q);
    free_output((void *)call->a.sinks);
    free_output(call->a.out);
}

/* Rows t .. are as many positions of sequence s from one on, as far as there are; how many. */
static inline int call_run(struct call *call, const struct cache *c, int t, int s, int position, int n)
{
    n = n < c->length[s] - position ? n : c->length[s] - position;
    n = n < call->n_rows - t ? n : call->n_rows - t;
    for (int i = 0; i < n; i++) {
        call->sequence[t + i] = s;
        call->rows[t + i] = (struct sy_attention_row){c->pages[s], position + i, 0};
    }
    return n;
}

/* Rows first .. first + n - 1 alone, to out. */
static inline void call_some(const struct sy_kernels *backend, struct sy_queue *q, const struct call *call, int first,
                             int n, void *out)
{
    struct sy_attention a = call->a;

    a.n_rows = n;
    a.rows += first;
    a.q += (size_t)first * a.q_stride;
    a.out = out;
    backend->attention(q, &a);
}

/* Element i of a row of the output. */
static inline float call_out(const struct call *call, int t, int i)
{
    const struct sy_attention *a = &call->a;

    return sy_row_float(a->out_dtype, (const uint8_t *)a->out + (size_t)t * call->row_bytes,
                        (size_t)(a->n_heads * a->kv.v_dim), (size_t)i);
}

/* ---- in double ---- */

/* Keys that a row sees: first .. last. */
static inline int first_key(const struct sy_attention *a, int last)
{
    return a->window > 0 && last >= a->window ? last - a->window + 1 : 0;
}

/* One head of one row, and a bound on what FP32 may make of it. Of a score: a rounding for each term, for the scale and in
 * what is subtracted from it before the exponential, once for its block and once for each later block, whose largest score
 * the sums are rescaled to. An exponential is right to 2e-7. A score's error counts in a weight and in their sum. Both
 * sums add roundings for each key and block, and BF16 weights half a unit in their last place. */
static inline void exact_head(const struct cache *c, const struct call *call, int t, int head, double *out,
                              double *bound)
{
    const struct sy_attention *a = &call->a;
    int s = call->sequence[t], last = call->rows[t].position, first = first_key(a, last), D = a->kv.k_dim;
    int kv_head = head / (a->n_heads / a->kv.n_kv_heads),
        n_blocks = last / BLOCK - first / BLOCK + 1 + (a->sinks != NULL);
    const float *q = a->q + (size_t)t * a->q_stride + (size_t)(head * D);
    double *weight = new_bytes(sizeof *weight * (size_t)(last + 1)), most = 0.0;
    double sink = a->sinks ? (double)a->sinks[head] : -INFINITY, largest = sink;

    for (int p = first; p <= last; p++) {
        double magnitude = 0.0;
        weight[p] = 0.0;
        for (int i = 0; i < D; i++) {
            double term = (double)a->scale * (double)q[i] * cache_value(c, 0, s, p, kv_head, i);
            weight[p] += term;
            magnitude += fabs(term);
        }
        most = fmax(most, magnitude);
        largest = fmax(largest, weight[p]);
    }
    double sum = exp(sink - largest);
    for (int p = first; p <= last; p++)
        sum += weight[p] = exp(weight[p] - largest);
    double error = (D + 1 + 2 * (1 + n_blocks)) * EPS * most + (1 + n_blocks) * 2.5e-7;
    double relative = 2 * error + 2 * (last - first + 4 + 2 * n_blocks) * EPS;
    if (a->kv.dtype == SY_BF16 && a->out_dtype != SY_F32)
        relative += 1.0 / 256;
    for (int i = 0; i < a->kv.v_dim; i++) {
        double magnitude = 0.0;
        out[i] = 0.0;
        for (int p = first; p <= last; p++) {
            double term = weight[p] / sum * cache_value(c, 1, s, p, kv_head, i);
            out[i] += term;
            magnitude += fabs(term);
        }
        bound[i] = stored_bound(a->out_dtype, out[i], relative * magnitude + 4 * (last - first + 1) * (double)FLT_MIN);
    }
    free_bytes(weight);
}

/* All heads of a row of the call's output against double. */
static inline void check_row(const struct cache *c, const struct call *call, int t, double *ratio)
{
    const struct sy_attention *a = &call->a;
    int D = a->kv.v_dim;
    double *want = new_bytes(sizeof *want * (size_t)D * 2), *bound = want + D;

    for (int h = 0; h < a->n_heads; h++) {
        exact_head(c, call, t, h, want, bound);
        for (int i = 0; i < D; i++)
            worst(ratio, (double)call_out(call, t, h * D + i), want[i], bound[i]);
    }
    free_bytes(want);
}

#endif
