/* SPDX-License-Identifier: Apache-2.0
 * sequence.c - attention over sequences of several blocks of keys, in whole and in pieces
 *
 * A backend may take consecutive rows of a sequence together. They see different keys, and different numbers of blocks;
 * each must get what it gets alone.
 */
#include "cache.h"

#define PAGES_EACH 40

/* Rows before and behind each border of blocks in the two long sequences. */
static int border_rows(struct call *call, const struct cache *c, int n_each)
{
    int t = 0;

    for (int s = SEQUENCES - 2; s < SEQUENCES; s++) {
        for (int border = BLOCK; border < c->length[s]; border += BLOCK)
            t += call_run(call, c, t, s, border - random_int(1, n_each), n_each + random_int(0, n_each));
        t += call_run(call, c, t, s, c->length[s] - 2, 2);
    }
    return t;
}

/* All rows of a call together, each alone, and some against double. */
static void check_borders(const struct sy_kernels *backend, const struct shape *shape, double *ratio, bool *alone)
{
    bool slow = backend == sy_kernels_ref();
    struct cache c;

    cache_begin(&c, backend, shape, PAGES_EACH);
    cache_write(backend, queues[1], &c);
    struct call call = call_begin(&c, shape, 600);
    call.a.n_rows = call.n_rows = border_rows(&call, &c, slow ? 1 : 24);
    backend->attention(queues[2], &call.a);
    void *out = new_bytes(call.row_bytes);
    for (int t = 0; t < call.n_rows; t++) {
        if (slow || t % 7 == 0)
            check_row(&c, &call, t, ratio);
        call_some(backend, queues[0], &call, t, 1, out);
        *alone = *alone && memcmp(out, (uint8_t *)call.a.out + (size_t)t * call.row_bytes, call.row_bytes) == 0;
    }
    free_bytes(out);
    call_end(&call);
    cache_end(&c);
}

static void test_borders(const struct sy_kernels *backend, enum sy_dtype kv, enum sy_dtype out)
{
    const struct shape shapes[] = {
        PLAIN(kv, out, 2, 2, 33, 0),
        PLAIN(kv, out, 4, 2, 20, 300),
        PLAIN(kv, out, 8, 1, 17, 0),
        PLAIN(kv, out, 20, 1, 4, 130),
        PLAIN(kv, out, 2, 1, 16, 40),
        PLAIN(kv, out, 1, 1, 32, random_int(1, 600)),
        {.kv = kv, .out = out, .n_heads = 4, .n_kv_heads = 1, .k_dim = 24, .v_dim = 16, .v_in_k = true, .sinks = true},
        {.kv = kv, .out = out, .n_heads = 5, .n_kv_heads = 1, .k_dim = 35, .v_dim = 27, .window = 150, .v_in_k = true},
        {.kv = kv, .out = out, .n_heads = 4, .n_kv_heads = 2, .k_dim = 20, .window = 200, .sinks = true},
    };
    double ratio = 0.0;
    bool alone = true;
    char what[80];

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_borders(backend, &shapes[i], &ratio, &alone);
    snprintf(what, sizeof what, "%s to %s: rows at borders of blocks", sy_dtype_name(kv), sy_dtype_name(out));
    ok_worst(ratio, backend->name, what);
    ok(alone, "%s: %s to %s: consecutive rows have the bits of each row alone", backend->name, sy_dtype_name(kv),
       sy_dtype_name(out));
}

/* A prompt in one piece and in pieces, each written to the cache before it is attended to, as a step does. */
static void test_prefill(const struct sy_kernels *backend, const struct shape *shape)
{
    struct sy_kv_layer kv = shape_kv(shape);
    int s = SEQUENCES - 1, k_width = kv.n_kv_heads * kv.k_dim, v_width = kv.n_kv_heads * kv.v_dim;
    bool same = true;
    struct cache c;

    cache_begin(&c, backend, shape, PAGES_EACH);
    cache_write(backend, queues[0], &c);
    struct call call = call_begin(&c, shape, backend == sy_kernels_ref() ? 50 : c.length[s]);
    call_run(&call, &c, 0, s, 0, call.n_rows);
    backend->attention(queues[0], &call.a);
    uint8_t *out = new_bytes(call.out_bytes);
    for (int step = 0; step < 4; step++) {
        memset(c.kv.base, 0xff, c.kv.page_stride * (size_t)c.n_pages);
        for (int t = 0, n; t < call.n_rows; t += n) {
            n = step == 0 ? random_int(1, 3) : step == 1 ? 128 : random_int(1, 90);
            n = n < call.n_rows - t ? n : call.n_rows - t;
            /* Keys and values lie side by side, as a projection makes them. */
            size_t stride = (size_t)(k_width + v_width);
            float *both = new_input((size_t)n * stride * sizeof *both);
            for (int r = 0; r < n; r++) {
                memcpy(both + (size_t)r * stride, c.k[s] + (t + r) * k_width, (size_t)k_width * sizeof *both);
                memcpy(both + (size_t)r * stride + k_width, c.v[s] + (t + r) * v_width, (size_t)v_width * sizeof *both);
            }
            backend->kv_write(queues[step % THREADS_MAX], &c.kv, call.rows + t, n, both, both + k_width, stride);
            free_output(both);
            call_some(backend, queues[step % THREADS_MAX], &call, t, n, out + (size_t)t * call.row_bytes);
        }
        same = same && memcmp(out, call.a.out, call.out_bytes) == 0;
    }
    ok(same, "%s: %s to %s, window %d: a prompt in any pieces has the same bits", backend->name,
       sy_dtype_name(shape->kv), sy_dtype_name(shape->out), shape->window);
    free_bytes(out);
    call_end(&call);
    cache_end(&c);
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends);

    plan_backends(n * 4 * 5);
    random_begin();
    for (int b = 0; b < n; b++) {
        queues_begin(backends[b]);
        for (int i = 0; i < 4; i++) {
            enum sy_dtype kv = i / 2 ? SY_BF16 : SY_F32, out = i % 2 ? SY_BF16 : SY_F32;
            test_borders(backends[b], kv, out);
            test_prefill(backends[b], &(struct shape)PLAIN(kv, out, 4, 2, 33, 0));
            test_prefill(backends[b], &(struct shape)PLAIN(kv, out, 8, 1, 16, random_int(100, 300)));
            test_prefill(backends[b], &(struct shape){.kv = kv,
                                                      .out = out,
                                                      .n_heads = 6,
                                                      .n_kv_heads = 1,
                                                      .k_dim = 40,
                                                      .v_dim = 24,
                                                      .v_in_k = true,
                                                      .sinks = true});
        }
        queues_end(backends[b]);
    }
    return tap_exit();
}
