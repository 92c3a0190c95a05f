/* SPDX-License-Identifier: Apache-2.0
 * attention.c - attention of every backend over the paged KV cache, against softmax in double
 */
#include "cache.h"

#define PAGES_EACH 9

/* Rows of all sequences: the last of each, then runs of consecutive positions and single ones from anywhere. */
static void call_rows(struct call *call, const struct cache *c)
{
    int t = 0;

    for (int s = 0; s < SEQUENCES; s++)
        t += call_run(call, c, t, s, c->length[s] - 1, 1);
    for (int i = 0; t < call->n_rows; i++) {
        int s = random_int(0, SEQUENCES - 1);
        t += call_run(call, c, t, s, random_int(0, c->length[s] - 1), i % 3 ? random_int(1, 70) : 1);
    }
}

static void check_shape(const struct sy_kernels *backend, const struct shape *shape, double *ratio, bool *outside)
{
    struct cache c;
    cache_begin(&c, backend, shape, PAGES_EACH);
    cache_write(backend, queues[1], &c);
    /* The reference is slow where heads are wide. */
    struct call call = call_begin(&c, shape, backend == sy_kernels_ref() ? fewer(14, 7) : fewer(60, 12));
    call_rows(&call, &c);
    backend->attention(queues[2], &call.a);
    for (int t = 0; t < call.n_rows; t++)
        check_row(&c, &call, t, ratio);
    *outside = *outside || !fences_hold(call.a.out, call.out_bytes);
    call.a.n_rows = 0;
    backend->attention(queues[2], &call.a);
    call_end(&call);
    cache_end(&c);
}

/* Every step-th of many shapes. */
static void test_values(const struct sy_kernels *backend, enum sy_dtype kv, enum sy_dtype out, int step)
{
    const struct shape shapes[] = {
        PLAIN(kv, out, 8, 2, 64, 0),
        PLAIN(kv, out, 4, 4, 128, 0),
        PLAIN(kv, out, 6, 3, 20, 0),
        PLAIN(kv, out, 20, 1, 16, 0),
        PLAIN(kv, out, 40, 2, 33, 70),
        PLAIN(kv, out, 8, 1, 80, 0),
        PLAIN(kv, out, 2, 1, 256, 0),
        PLAIN(kv, out, 2, 2, 1, 0),
        PLAIN(kv, out, 2, 1, 36, 1),
        PLAIN(kv, out, 4, 2, 32, random_int(2, 15)),
        PLAIN(kv, out, 4, 2, 33, 16),
        PLAIN(kv, out, 2, 2, 80, 17),
        PLAIN(kv, out, 4, 2, 32, 500),
        PLAIN(kv, out, 3, 1, random_int(1, 100), random_int(18, 60)),
        {.kv = kv, .out = out, .n_heads = 8, .n_kv_heads = 2, .k_dim = 64, .sinks = true},
        {.kv = kv, .out = out, .n_heads = 5, .n_kv_heads = 1, .k_dim = 33, .window = 7, .sinks = true},
        {.kv = kv, .out = out, .n_heads = 4, .n_kv_heads = 2, .k_dim = 40, .v_dim = 24},
        {.kv = kv, .out = out, .n_heads = 3, .n_kv_heads = 3, .k_dim = 15, .v_dim = 50, .window = 40},
        {.kv = kv, .out = out, .n_heads = 16, .n_kv_heads = 1, .k_dim = 48, .v_dim = 32, .v_in_k = true},
        {.kv = kv, .out = out, .n_heads = 70, .n_kv_heads = 1, .k_dim = 37, .v_dim = 33, .v_in_k = true},
        {.kv = kv, .out = out, .n_heads = 4, .n_kv_heads = 2, .k_dim = 25, .v_dim = 25, .v_in_k = true, .sinks = true},
        {.kv = kv, .out = out, .n_heads = 3, .n_kv_heads = 1, .k_dim = 21, .v_dim = 9, .window = 45, .v_in_k = true},
        {.kv = kv, .out = out, .n_heads = 2, .n_kv_heads = 1, .k_dim = 320, .v_dim = 256, .v_in_k = true},
    };
    int n = sizeof shapes / sizeof *shapes;
    double ratio = 0.0;
    bool outside = false;
    char what[80];

    for (int i = 0; i < n; i += step * fewer(1, 3))
        check_shape(backend, &shapes[i], &ratio, &outside);
    snprintf(what, sizeof what, "attention over a %s cache to %s", sy_dtype_name(kv), sy_dtype_name(out));
    ok_worst(ratio, backend->name, what);
    ok(!outside, "%s: %s to %s: nothing is written outside the output", backend->name, sy_dtype_name(kv),
       sy_dtype_name(out));
}

/* Some of the heads alone have the bits that all together have in whole, and the other heads' outputs stay as they are. */
static bool head_ranges_hold(const struct sy_kernels *backend, const struct call *call, const uint8_t *whole)
{
    struct sy_attention a = call->a;
    size_t head = (size_t)a.kv.v_dim * part_bytes(a.out_dtype);
    int n_parts = a.out_dtype == SY_BF16X2 ? 2 : 1;
    bool held = true;

    for (a.head_begin = 0; a.head_begin < a.n_heads; a.head_begin++) {
        poison(a.out, call->out_bytes);
        a.head_end = random_int(a.head_begin + 1, a.n_heads);
        backend->attention(queues[2], &a);
        /* A row's parts, each with all heads. */
        for (int i = 0; i < a.n_rows * n_parts * a.n_heads; i++) {
            size_t at = (size_t)i * head;
            bool in = i % a.n_heads >= a.head_begin && i % a.n_heads < a.head_end;
            held = held && (in ? memcmp((const uint8_t *)a.out + at, whole + at, head) == 0
                               : is_untouched(a.out, at, at + head));
        }
    }
    return held;
}

/* Bits of a row must depend on its own sequence alone: not on other rows, threads, pages' places, or head ranges. */
static void test_exact(const struct sy_kernels *backend, const struct shape *shape)
{
    struct cache c;
    bool rows = true, threads = true, heads, places;

    cache_begin(&c, backend, shape, PAGES_EACH);
    cache_write(backend, queues[0], &c);
    struct call call = call_begin(&c, shape, fewer(60, 10));
    call_rows(&call, &c);
    uint8_t *whole = new_bytes(call.out_bytes), *out = new_bytes(call.out_bytes);
    backend->attention(queues[0], &call.a);
    memcpy(whole, call.a.out, call.out_bytes);
    for (int i = 1; i < THREADS_MAX; i++) {
        poison(call.a.out, call.out_bytes);
        backend->attention(queues[i], &call.a);
        threads = threads && memcmp(call.a.out, whole, call.out_bytes) == 0;
    }
    for (int t = 0, n; t < call.n_rows; t += n) {
        n = random_int(1, call.n_rows - t < 6 ? call.n_rows - t : 6);
        call_some(backend, queues[1], &call, t, n, out);
        rows = rows && memcmp(out, whole + (size_t)t * call.row_bytes, (size_t)n * call.row_bytes) == 0;
    }
    heads = head_ranges_hold(backend, &call, whole);
    /* Move every page, with other rubbish in the slots that no row may see. */
    memset(c.kv.base, 0x7f, c.kv.page_stride * (size_t)c.n_pages);
    for (int i = 0; i < SEQUENCES * PAGES_EACH; i++)
        c.pages[i / PAGES_EACH][i % PAGES_EACH] = c.n_pages - 1 - c.pages[i / PAGES_EACH][i % PAGES_EACH];
    cache_write(backend, queues[2], &c);
    backend->attention(queues[0], &call.a);
    places = memcmp(call.a.out, whole, call.out_bytes) == 0;
    const char *kv = sy_dtype_name(shape->kv), *to = sy_dtype_name(shape->out);
    ok(threads, "%s: %s to %s, window %d: the same bits with 1, 2 and 3 threads", backend->name, kv, to, shape->window);
    ok(rows, "%s: %s to %s, window %d: the same bits with any other rows", backend->name, kv, to, shape->window);
    ok(heads, "%s: %s to %s, window %d: a range of heads alone", backend->name, kv, to, shape->window);
    ok(places, "%s: %s to %s, window %d: the same bits wherever pages lie", backend->name, kv, to, shape->window);
    free_bytes(whole);
    free_bytes(out);
    call_end(&call);
    cache_end(&c);
}

/* Where NaN is, and what it may reach. */
struct nan_place {
    enum { IN_Q, IN_K, IN_V } in;
    int row, s, position, head, dim; /* head is a query head for IN_Q, a KV head for the others */
};

/* Whether NaN must be (1), must not be (0) or may be (-1) in dim i of head h of row t. A value's weight is zero where a row
 * does not see it, and zero times NaN is NaN: it may be in that dim of the rows of its sequence that come before. */
static int nan_reaches(const struct call *call, const struct nan_place *at, int t, int h, int i)
{
    const struct sy_attention *a = &call->a;
    int last = call->rows[t].position;

    if (at->in == IN_Q)
        return t == at->row && h == at->head;
    if (call->sequence[t] != at->s || h / (a->n_heads / a->kv.n_kv_heads) != at->head)
        return 0;
    bool seen = at->position <= last && at->position >= first_key(a, last);
    if (at->in == IN_K)
        return seen;
    return at->dim != i ? 0 : seen ? 1 : -1;
}

static bool nan_stays(const struct call *call, const struct nan_place *at, void *clean)
{
    const struct sy_attention *a = &call->a;
    struct call before = *call;

    before.a.out = clean;
    for (int j = 0; j < call->n_rows * a->n_heads * a->kv.v_dim; j++) {
        int D = a->kv.v_dim, t = j / D / a->n_heads, h = j / D % a->n_heads;
        int reaches = nan_reaches(call, at, t, h, j % D);
        float found = call_out(call, t, h * D + j % D), was = call_out(&before, t, h * D + j % D);
        if ((reaches == 1 && !isnan(found)) || (reaches == 0 && memcmp(&found, &was, sizeof found) != 0))
            return false;
    }
    return true;
}

static void test_nan(const struct sy_kernels *backend, const struct shape *shape)
{
    static const uint8_t nan[4] = {0xff, 0xff, 0xff, 0x7f};
    struct cache c;
    bool held[3] = {true, true, true};

    cache_begin(&c, backend, shape, PAGES_EACH);
    cache_write(backend, queues[0], &c);
    struct call call = call_begin(&c, shape, fewer(50, 9));
    call_rows(&call, &c);
    backend->attention(queues[0], &call.a);
    uint8_t *clean = new_bytes(call.out_bytes);
    memcpy(clean, call.a.out, call.out_bytes);
    for (int i = 0; i < fewer(12, 6); i++) {
        struct nan_place at = {i % 3, random_int(0, call.n_rows - 1), random_int(0, SEQUENCES - 1), 0, 0, 0};
        size_t bytes = at.in == IN_Q ? sizeof(float) : sy_dtype_bytes(shape->kv);
        at.position = random_int(0, c.length[at.s] - 1);
        at.head = random_int(0, (at.in == IN_Q ? shape->n_heads : shape->n_kv_heads) - 1);
        at.dim = random_int(0, shape->k_dim - 1);
        uint8_t kept[4], *place = at.in == IN_Q ? (uint8_t *)(call.a.q + (size_t)at.row * call.a.q_stride +
                                                              (size_t)(at.head * shape->k_dim + at.dim))
                                                : cache_place(&c, at.in == IN_V, at.s, at.position, at.head, at.dim);
        memcpy(kept, place, bytes);
        memcpy(place, nan + 4 - bytes, bytes);
        backend->attention(queues[i % THREADS_MAX], &call.a);
        held[at.in] = held[at.in] && nan_stays(&call, &at, clean);
        memcpy(place, kept, bytes);
    }
    const char *kv = sy_dtype_name(shape->kv), *to = sy_dtype_name(shape->out);
    ok(held[IN_Q], "%s: %s to %s: NaN in q stays in its row and head", backend->name, kv, to);
    ok(held[IN_K], "%s: %s to %s: NaN in a key reaches the rows that see it", backend->name, kv, to);
    ok(held[IN_V], "%s: %s to %s: NaN in a value stays in its sequence and dim", backend->name, kv, to);
    free_bytes(clean);
    call_end(&call);
    cache_end(&c);
}

static const struct {
    enum sy_dtype kv, out;
} types[] = {{SY_F32, SY_F32},   {SY_F32, SY_BF16},    {SY_BF16, SY_F32},
             {SY_BF16, SY_BF16}, {SY_BF16, SY_BF16X2}, {SY_F16, SY_BF16X2}};

#define N_TYPES 6
#define X2      4 /* for backends with rows of two parts */
#define F16     5 /* and with FP16 pages besides */

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends);

    plan_backends(count_tests(backends, n, X2 * 21, 21, 21));
    random_begin();
    for (int b = 0; b < n; b++) {
        queues_begin(backends[b]);
        for (int i = 0; i < N_TYPES; i++) {
            if ((i == X2 && !takes_x2(backends[b])) || (i == F16 && !takes_f16(backends[b])))
                continue;
            enum sy_dtype kv = types[i].kv, out = types[i].out;
            test_values(backends[b], kv, out, i < X2 ? 1 : 3);
            test_exact(backends[b], &(struct shape)PLAIN(kv, out, 6, 3, 40, 0));
            test_exact(backends[b], &(struct shape)PLAIN(kv, out, 8, 1, 33, 21));
            test_exact(backends[b], &(struct shape){.kv = kv,
                                                    .out = out,
                                                    .n_heads = 6,
                                                    .n_kv_heads = 2,
                                                    .k_dim = 24,
                                                    .window = 30,
                                                    .v_dim = 20,
                                                    .sinks = true});
            test_exact(backends[b], &(struct shape){.kv = kv,
                                                    .out = out,
                                                    .n_heads = 12,
                                                    .n_kv_heads = 1,
                                                    .k_dim = 40,
                                                    .window = i % 2 ? 37 : 0,
                                                    .v_dim = 24,
                                                    .v_in_k = true});
            test_nan(backends[b], &(struct shape)PLAIN(kv, out, 8, 2, 35, i % 2 ? 25 : 0));
        }
        queues_end(backends[b]);
    }
    return tap_exit();
}
