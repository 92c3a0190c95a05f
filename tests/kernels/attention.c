/* SPDX-License-Identifier: Apache-2.0
 * attention.c - the paged KV cache and attention of every backend, against softmax in double
 */
#include "common.h"

#define SEQUENCES  5
#define PAGES_EACH 9

/* Heads, lengths and the cache of some sequences whose pages lie anywhere. */
struct cache {
    struct sy_kv_layer kv;
    int n_pages, length[SEQUENCES];
    int32_t pages[SEQUENCES][PAGES_EACH];
    float *k[SEQUENCES], *v[SEQUENCES]; /* [length][n_kv_heads * head_dim], as they were before they were written */
};

static size_t page_bytes(const struct sy_kv_layer *kv)
{
    return 2 * (size_t)kv->n_kv_heads * SY_KV_PAGE * (size_t)kv->head_dim * sy_dtype_bytes(kv->dtype);
}

/* Every slot that is not written holds NaN. */
static void cache_begin(struct cache *c, enum sy_dtype dtype, int n_kv_heads, int head_dim)
{
    *c = (struct cache){.kv = {.dtype = dtype, .n_kv_heads = n_kv_heads, .head_dim = head_dim}};
    c->n_pages = SEQUENCES * PAGES_EACH + 3;
    c->kv.page_stride = page_bytes(&c->kv) + 64;
    c->kv.base = new_output(c->kv.page_stride * (size_t)c->n_pages);
    memset(c->kv.base, 0xff, c->kv.page_stride * (size_t)c->n_pages);
    for (int s = 0; s < SEQUENCES; s++) {
        c->length[s] = s == 0 ? 1 : s == 1 ? 16 : s == 2 ? 17 : random_int(20, PAGES_EACH * SY_KV_PAGE);
        size_t n = (size_t)c->length[s] * (size_t)(n_kv_heads * head_dim);
        c->k[s] = random_floats(n);
        c->v[s] = random_floats(n);
        for (int p = 0; p < PAGES_EACH; p++)
            c->pages[s][p] = (int32_t)((s + p * SEQUENCES) * 29 % c->n_pages);
    }
}

static void cache_end(struct cache *c)
{
    free_output(c->kv.base);
    for (int s = 0; s < SEQUENCES; s++) {
        free(c->k[s]);
        free(c->v[s]);
    }
}

static void cache_write(const struct sy_kernels *backend, struct sy_queue *q, struct cache *c, int s)
{
    struct sy_attention_row *rows = new_bytes(sizeof *rows * (size_t)c->length[s]);

    for (int i = 0; i < c->length[s]; i++)
        rows[i] = (struct sy_attention_row){c->pages[s], i};
    backend->kv_write(q, &c->kv, rows, c->length[s], c->k[s], c->v[s], (size_t)(c->kv.n_kv_heads * c->kv.head_dim));
    free(rows);
}

/* What the cache should hold: element i of head h at a position, rounded to the cache's type. */
static double cached(const struct cache *c, const float *const *values, int s, int position, int h, int i)
{
    float f = values[s][(size_t)(position * c->kv.n_kv_heads + h) * (size_t)c->kv.head_dim + (size_t)i];
    return (double)(c->kv.dtype == SY_BF16 ? sy_bf16_widen(sy_bf16_round(f)) : f);
}

static void test_kv_write(const struct sy_kernels *backend, enum sy_dtype dtype)
{
    struct cache c;
    bool held = true, outside = true;

    cache_begin(&c, dtype, 3, random_int(1, 40));
    size_t bytes = sy_dtype_bytes(dtype), all = c.kv.page_stride * (size_t)c.n_pages;
    uint8_t *expected = new_bytes(all);
    memcpy(expected, c.kv.base, all);
    for (int s = 0; s < SEQUENCES; s++)
        cache_write(backend, queues[s % THREADS_MAX], &c, s);
    for (int s = 0; s < SEQUENCES; s++) {
        for (int p = 0; p < c.length[s]; p++) {
            size_t page = (size_t)c.pages[s][p / SY_KV_PAGE] * c.kv.page_stride;
            for (int i = 0; i < 2 * 3 * c.kv.head_dim; i++) {
                int v = i / (3 * c.kv.head_dim), h = i / c.kv.head_dim % 3, d = i % c.kv.head_dim;
                size_t slot = (size_t)((v * 3 + h) * SY_KV_PAGE + p % SY_KV_PAGE) * (size_t)c.kv.head_dim + (size_t)d;
                double want = cached(&c, (const float *const *)(v ? c.v : c.k), s, p, h, d);
                held = held && (double)sy_float_at(dtype, c.kv.base + page, slot) == want;
                memcpy(expected + page + slot * bytes, c.kv.base + page + slot * bytes, bytes);
            }
        }
    }
    outside = memcmp(expected, c.kv.base, all) == 0 && fences_hold(c.kv.base, all);
    ok(held, "%s: K and V are where the layout says, as %s", backend->name, sy_dtype_name(dtype));
    ok(outside, "%s: %s: kv_write writes nothing else", backend->name, sy_dtype_name(dtype));
    free(expected);
    cache_end(&c);
}

/* Rows of all sequences at random positions, first and last included. */
static struct sy_attention_row *random_rows(const struct cache *c, int n, int *sequence)
{
    struct sy_attention_row *rows = new_bytes(sizeof *rows * (size_t)n);

    for (int t = 0; t < n; t++) {
        int s = sequence[t] = t % SEQUENCES, last = c->length[s] - 1;
        rows[t] = (struct sy_attention_row){c->pages[s], t < SEQUENCES ? last : random_int(0, last)};
    }
    return rows;
}

/* One head of one row in double, and a bound on FP32's error: of a score, hence of each weight, and of the two sums. */
static void exact_head(const struct cache *c, const struct sy_attention *a, int s, int last, const float *q,
                       int kv_head, double *out, double *bound)
{
    int first = a->window > 0 && last >= a->window ? last - a->window + 1 : 0, D = a->head_dim;
    double *score = new_bytes(sizeof *score * (size_t)(last + 1)), largest = -INFINITY, sum = 0.0, error = 0.0;

    for (int p = first; p <= last; p++) {
        double magnitude = 0.0;
        score[p] = 0.0;
        for (int i = 0; i < D; i++) {
            double term = (double)a->scale * (double)q[i] * cached(c, (const float *const *)c->k, s, p, kv_head, i);
            score[p] += term;
            magnitude += fabs(term);
        }
        error = fmax(error, (D + 3) * EPS * magnitude);
        largest = fmax(largest, score[p]);
    }
    for (int p = first; p <= last; p++)
        sum += score[p] = exp(score[p] - largest);
    for (int i = 0; i < D; i++) {
        double magnitude = 0.0;
        out[i] = 0.0;
        for (int p = first; p <= last; p++) {
            double term = score[p] / sum * cached(c, (const float *const *)c->v, s, p, kv_head, i);
            out[i] += term;
            magnitude += fabs(term);
        }
        bound[i] = (2 * error + 6e-7 + 2 * (last - first + 20) * EPS) * magnitude + 1e-30;
        if (a->round == SY_ROUND_BF16)
            bound[i] += (fabs(out[i]) + bound[i]) / 256;
    }
    free(score);
}

struct shape {
    enum sy_dtype dtype;
    int n_heads, n_kv_heads, head_dim, window;
};

static void check_shape(const struct sy_kernels *backend, const struct shape *shape, enum sy_round round, double *ratio,
                        bool *outside)
{
    struct cache c;
    int n_rows = 12, sequence[12], width = shape->n_heads * shape->head_dim;
    double *want = new_bytes(sizeof *want * (size_t)shape->head_dim * 2), *bound = want + shape->head_dim;

    cache_begin(&c, shape->dtype, shape->n_kv_heads, shape->head_dim);
    for (int s = 0; s < SEQUENCES; s++)
        cache_write(backend, queues[1], &c, s);
    size_t q_stride = (size_t)width + 5, n_out = (size_t)n_rows * (size_t)width;
    float *q = random_floats((size_t)n_rows * q_stride), *out = new_output(n_out * sizeof *out);
    struct sy_attention_row *rows = random_rows(&c, n_rows, sequence);
    struct sy_attention a = {.n_rows = n_rows,
                             .n_heads = shape->n_heads,
                             .n_kv_heads = shape->n_kv_heads,
                             .head_dim = shape->head_dim,
                             .head_begin = 0,
                             .head_end = shape->n_heads,
                             .window = shape->window,
                             .scale = 4.0f / sqrtf((float)shape->head_dim),
                             .rows = rows,
                             .kv = c.kv,
                             .q = q,
                             .q_stride = q_stride,
                             .round = round,
                             .out = out};
    backend->attention(queues[2], &a);
    for (int t = 0; t < n_rows; t++) {
        for (int h = 0; h < shape->n_heads; h++) {
            size_t at = (size_t)(h * shape->head_dim);
            exact_head(&c, &a, sequence[t], rows[t].position, q + (size_t)t * q_stride + at,
                       h / (shape->n_heads / shape->n_kv_heads), want, bound);
            for (int i = 0; i < shape->head_dim; i++)
                worst(ratio, (double)out[(size_t)(t * width) + at + (size_t)i], want[i], bound[i]);
        }
    }
    *outside = *outside || !fences_hold(out, n_out * sizeof *out);
    free(want);
    free(q);
    free(rows);
    free_output(out);
    cache_end(&c);
}

static void test_values(const struct sy_kernels *backend, enum sy_dtype dtype)
{
    const struct shape shapes[] = {
        {dtype, 8, 2, 64, 0},
        {dtype, 4, 4, 128, 0},
        {dtype, 6, 1, 20, 0},
        {dtype, 20, 1, 16, 0},
        {dtype, 2, 2, 1, 0},
        {dtype, 2, 1, 36, 1},
        {dtype, 4, 2, 32, random_int(2, 15)},
        {dtype, 4, 2, 33, 16},
        {dtype, 2, 2, 80, 17},
        {dtype, 4, 2, 32, 500},
        {dtype, 3, 1, random_int(1, 100), random_int(18, 60)},
    };
    int n = sizeof shapes / sizeof *shapes;
    double ratio = 0.0;
    bool outside = false;

    for (int i = 0; i < n; i++)
        check_shape(backend, &shapes[i], i % 3 == 2 ? SY_ROUND_BF16 : SY_ROUND_NONE, &ratio, &outside);
    ok_worst(ratio, backend->name, dtype == SY_BF16 ? "attention over a BF16 cache" : "attention over an F32 cache");
    ok(!outside, "%s: %s: nothing is written outside the output", backend->name, sy_dtype_name(dtype));
}

/* Some of the heads alone have the bits that all together have in whole, and the other heads' outputs stay as they are. */
static bool head_ranges_hold(const struct sy_kernels *backend, struct sy_attention a, const float *whole)
{
    size_t head = (size_t)a.head_dim, bytes = (size_t)(a.n_rows * a.n_heads) * head * sizeof(float);
    bool held = true;

    for (a.head_begin = 0; a.head_begin < a.n_heads; a.head_begin++) {
        poison(a.out, bytes);
        a.head_end = random_int(a.head_begin + 1, a.n_heads);
        backend->attention(queues[2], &a);
        for (int i = 0; i < a.n_rows * a.n_heads; i++) {
            const float *out = a.out + (size_t)i * head;
            bool in = i % a.n_heads >= a.head_begin && i % a.n_heads < a.head_end;
            held = held && (in ? memcmp(out, whole + (size_t)i * head, head * sizeof *out) == 0
                               : is_poisoned(out, head * sizeof *out));
        }
    }
    return held;
}

/* Bits of a row must depend on its own sequence alone: not on other rows, threads, pages' places, or head ranges. */
static void test_exact(const struct sy_kernels *backend, enum sy_dtype dtype, int window)
{
    struct cache c;
    int n_rows = 40, sequence[40], n_heads = 6, D = 40, width = n_heads * D;
    bool rows_held = true, threads = true, heads, places;

    cache_begin(&c, dtype, 3, D);
    for (int s = 0; s < SEQUENCES; s++)
        cache_write(backend, queues[0], &c, s);
    size_t n_out = (size_t)(n_rows * width), bytes = n_out * sizeof(float);
    float *q = random_floats(n_out), *whole = new_floats(n_out), *out = new_floats(n_out);
    struct sy_attention_row *rows = random_rows(&c, n_rows, sequence);
    struct sy_attention a = {.n_rows = n_rows,
                             .n_heads = n_heads,
                             .n_kv_heads = 3,
                             .head_dim = D,
                             .head_end = n_heads,
                             .window = window,
                             .scale = 0.5f,
                             .rows = rows,
                             .kv = c.kv,
                             .q = q,
                             .q_stride = (size_t)width,
                             .out = whole};
    backend->attention(queues[0], &a);
    a.out = out;
    for (int i = 1; i < THREADS_MAX; i++) {
        poison(out, bytes);
        backend->attention(queues[i], &a);
        threads = threads && memcmp(out, whole, bytes) == 0;
    }
    for (int t = 0; t < n_rows; t += a.n_rows) {
        a.n_rows = random_int(1, n_rows - t < 4 ? n_rows - t : 4);
        a.rows = rows + t;
        a.q = q + t * width;
        backend->attention(queues[1], &a);
        rows_held = rows_held && memcmp(out, whole + t * width, (size_t)(a.n_rows * width) * sizeof *out) == 0;
    }
    a.n_rows = n_rows;
    a.rows = rows;
    a.q = q;
    heads = head_ranges_hold(backend, a, whole);
    /* Move every page, with other rubbish in the slots that no row may see. */
    memset(c.kv.base, 0x7f, c.kv.page_stride * (size_t)c.n_pages);
    for (int s = 0; s < SEQUENCES; s++) {
        for (int p = 0; p < PAGES_EACH; p++)
            c.pages[s][p] = c.n_pages - 1 - c.pages[s][p];
        cache_write(backend, queues[2], &c, s);
    }
    backend->attention(queues[0], &a);
    places = memcmp(out, whole, bytes) == 0;
    ok(threads, "%s: %s, window %d: the same bits with 1, 2 and 3 threads", backend->name, sy_dtype_name(dtype),
       window);
    ok(rows_held, "%s: %s, window %d: the same bits with any other rows", backend->name, sy_dtype_name(dtype), window);
    ok(heads, "%s: %s, window %d: a range of heads alone", backend->name, sy_dtype_name(dtype), window);
    ok(places, "%s: %s, window %d: the same bits wherever pages lie", backend->name, sy_dtype_name(dtype), window);
    free(q);
    free(whole);
    free(out);
    free(rows);
    cache_end(&c);
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends);

    plan(n * 2 * 12);
    random_begin();
    for (int b = 0; b < n; b++) {
        queues_begin(backends[b]);
        for (int i = 0; i < 2; i++) {
            enum sy_dtype dtype = i ? SY_BF16 : SY_F32;
            test_kv_write(backends[b], dtype);
            test_values(backends[b], dtype);
            test_exact(backends[b], dtype, 0);
            test_exact(backends[b], dtype, 21);
        }
        queues_end(backends[b]);
    }
    return tap_exit();
}
