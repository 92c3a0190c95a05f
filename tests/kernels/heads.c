/* SPDX-License-Identifier: Apache-2.0
 * heads.c - norms, rotation and the cache in one kernel against the same one by one
 */
#include "cache.h"

struct heads_shape {
    int n_queries, n_kv, width, v_dim, rotary_dim;
    bool interleaved, norm;
    enum sy_dtype kv;
    enum sy_round round;
};

#define POSITIONS 400
#define SHAPES    8
#define CHECKS    (2 * 3 * SHAPES)

/* Rows of some sequences: one or more neighbours of each, in pages anywhere. Returns their number. */
static int make_rows(const struct cache *c, struct sy_attention_row *rows)
{
    int T = 0;

    for (int s = 0; s < SEQUENCES; s++) {
        int n = random_int(0, 2) ? random_int(1, c->length[s]) : 1, first = random_int(0, c->length[s] - n);
        for (int i = 0; i < n; i++)
            rows[T++] = (struct sy_attention_row){c->pages[s], first + i, s % 2 * POSITIONS};
    }
    return T;
}

static void one_by_one(const struct sy_kernels *backend, struct sy_queue *q, const struct sy_heads *h)
{
    const struct sy_rotation *r = &h->turn;
    int n_queries = r->n_heads - h->kv.n_kv_heads;
    float *keys = r->y + (size_t)(n_queries * r->width);

    if (h->q_norm) {
        backend->rmsnorm(q, r->y, r->y_stride, r->n_rows, n_queries, r->width, h->q_norm, h->eps, r->y, SY_F32,
                         r->y_stride);
        backend->rmsnorm(q, keys, r->y_stride, r->n_rows, h->kv.n_kv_heads, r->width, h->k_norm, h->eps, keys, SY_F32,
                         r->y_stride);
    }
    backend->rope(q, r);
    backend->kv_write(q, &h->kv, r->rows, r->n_rows, keys, h->values, r->y_stride);
}

static void test_shape(const struct sy_kernels *backend, const struct heads_shape *s)
{
    struct shape shape = PLAIN(s->kv, SY_F32, s->n_queries, s->n_kv, s->width, 0);
    struct cache apart, together;
    struct sy_queue *q = queues[random_int(0, THREADS_MAX - 1)];
    int width = (s->n_queries + s->n_kv) * s->width;
    size_t stride = (size_t)(width + s->n_kv * s->v_dim + random_int(0, 3));

    shape.v_dim = s->v_dim;
    cache_begin(&apart, backend, &shape, 6);
    cache_begin(&together, backend, &shape, 6);
    struct sy_attention_row *rows = new_bytes(sizeof *rows * SEQUENCES * 6 * SY_KV_PAGE);
    int T = make_rows(&apart, rows);
    float *angles = random_rows(SY_F32, 2 * POSITIONS, s->rotary_dim, (size_t)s->rotary_dim);
    float *norms = random_rows(SY_F32, 2, s->width, (size_t)s->width);
    size_t bytes = (size_t)T * stride * sizeof(float);
    float *x = new_output(bytes), *y = new_output(bytes);
    for (size_t i = 0; i < (size_t)T * stride; i++)
        x[i] = y[i] = 3 * random_float();
    struct sy_heads h = {.turn = {.n_rows = T,
                                  .n_heads = s->n_queries + s->n_kv,
                                  .width = s->width,
                                  .rotary_dim = s->rotary_dim,
                                  .interleaved = s->interleaved,
                                  .rows = rows,
                                  .cos_sin = angles,
                                  .round = s->round,
                                  .x = x,
                                  .y = x,
                                  .x_stride = stride,
                                  .x_head = (size_t)s->width,
                                  .y_stride = stride,
                                  .y_head = (size_t)s->width},
                         .q_norm = s->norm ? norms : NULL,
                         .k_norm = s->norm ? norms + s->width : NULL,
                         .eps = 1e-5f,
                         .kv = apart.kv,
                         .values = x + width};
    one_by_one(backend, q, &h);
    h.turn.x = h.turn.y = y;
    h.values = y + width;
    h.kv = together.kv;
    backend->heads(q, &h);
    bool same = fences_hold(y, bytes), rest = true;
    for (int t = 0; t < T; t++) {
        const float *a = x + (size_t)t * stride, *b = y + (size_t)t * stride;
        same = same && memcmp(a, b, (size_t)(s->n_queries * s->width) * sizeof *a) == 0;
        rest = rest && memcmp(a + width, b + width, (stride - (size_t)width) * sizeof *a) == 0;
    }
    size_t all = apart.kv.page_stride * (size_t)apart.n_pages;
    ok(same && rest, "%s: heads of %d of %d dims%s: queries as one by one, nothing else written", backend->name,
       s->width, s->rotary_dim, s->norm ? ", with norms" : "");
    ok(memcmp(apart.kv.base, together.kv.base, all) == 0, "%s: heads of %d of %d dims: the cache (%s) as one by one",
       backend->name, s->width, s->rotary_dim, sy_dtype_name(s->kv));
    free_bytes(rows);
    free_output(angles);
    free_output(norms);
    free_output(x);
    free_output(y);
    cache_end(&apart);
    cache_end(&together);
}

static void test_heads(const struct sy_kernels *backend)
{
    static const struct heads_shape shapes[SHAPES] = {
        {8, 1, 128, 128, 128, false, true, SY_BF16, SY_ROUND_BF16},
        {5, 5, 128, 128, 64, false, false, SY_BF16, SY_ROUND_BF16},
        {4, 2, 64, 64, 64, true, true, SY_BF16, SY_ROUND_BF16},
        {6, 3, 80, 80, 32, false, true, SY_F16, SY_ROUND_NONE},
        {4, 4, 16, 48, 16, true, false, SY_F32, SY_ROUND_NONE},
        {3, 1, 36, 20, 12, true, true, SY_F32, SY_ROUND_NONE},
        {2, 2, 256, 256, 64, false, true, SY_BF16, SY_ROUND_BF16},
        {2, 1, 320, 320, 320, false, true, SY_BF16, SY_ROUND_BF16},
    };

    if (!backend->heads) {
        skip("%s: makes heads one by one", backend->name);
        return;
    }
    for (int i = 0; i < CHECKS / 2; i++)
        test_shape(backend, &shapes[i / 3]);
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends), n_checks = 0;

    for (int b = 0; b < n; b++)
        n_checks += backends[b]->heads ? CHECKS : 1;
    plan_backends(n_checks);
    random_begin();
    for (int b = 0; b < n; b++) {
        queues_begin(backends[b]);
        test_heads(backends[b]);
        queues_end(backends[b]);
    }
    return tap_exit();
}
