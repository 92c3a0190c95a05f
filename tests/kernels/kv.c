/* SPDX-License-Identifier: Apache-2.0
 * kv.c - pages of the KV cache: their layout, and what every backend writes to them
 */
#include "cache.h"

/* Where layout.h's first words say that an element is. */
static size_t place(const struct sy_kv_layer *kv, size_t head, bool is_v, int h, int slot, int dim)
{
    int group = kv->dtype == SY_BF16 ? 2 : 1, k_all = (kv->k_dim + group - 1) / group * group;

    if (!is_v || kv->v_in_k)
        return (size_t)h * head + (size_t)((dim / group * SY_PANEL + slot) * group + dim % group);
    return (size_t)h * head + (size_t)(k_all * SY_KV_PAGE + dim / SY_PANEL * SY_PANEL * SY_KV_PAGE +
                                       (slot / group * SY_PANEL + dim % SY_PANEL) * group + slot % group);
}

/* Elements of a page have places of their own inside it; only where values are in the keys they share them. */
static void test_layout(enum sy_dtype dtype)
{
    static const int dims[] = {1, 2, 16, 20, 33, 64, 80, 128, 256};
    int group = dtype == SY_BF16 ? 2 : 1;
    bool distinct = true, panels = true, size = true;

    for (size_t d = 0; d < 3 * sizeof dims / sizeof *dims; d++) {
        struct sy_kv_layer kv = {.dtype = dtype, .n_kv_heads = 3, .k_dim = dims[d / 3], .v_in_k = d % 3 == 2};
        kv.v_dim = d % 3 == 0 ? kv.k_dim : d % 3 == 1 ? 300 - kv.k_dim : (kv.k_dim + 1) / 2;
        int k_all = (kv.k_dim + group - 1) / group * group;
        int v_panels = kv.v_in_k ? 0 : (kv.v_dim + SY_PANEL - 1) / SY_PANEL;
        size_t head = (size_t)((k_all + v_panels * SY_PANEL) * SY_KV_PAGE), n = head * (size_t)kv.n_kv_heads;
        bool *taken = new_bytes(n);
        size = size && sy_kernels_ref()->kv_page_bytes(&kv) == n * sy_dtype_bytes(dtype);
        for (int i = 0; i < kv.n_kv_heads * SY_KV_PAGE * (kv.k_dim + kv.v_dim); i++) {
            int dim = i % (kv.k_dim + kv.v_dim), slot = i / (kv.k_dim + kv.v_dim) % SY_KV_PAGE;
            int h = i / (kv.k_dim + kv.v_dim) / SY_KV_PAGE;
            bool is_v = dim >= kv.k_dim;
            dim -= is_v ? kv.k_dim : 0;
            size_t at = is_v ? sy_kv_v_index(&kv, h, slot, dim) : sy_kv_k_index(&kv, h, slot, dim);
            panels = panels && at == place(&kv, head, is_v, h, slot, dim);
            distinct = distinct && at < n && taken[at] == (is_v && kv.v_in_k);
            if (distinct)
                taken[at] = true;
        }
        free_bytes(taken);
    }
    ok(size, "%s: a page has place for all heads' K and V, or K alone", sy_dtype_name(dtype));
    ok(panels, "%s: K is a panel of keys, V panels of dims", sy_dtype_name(dtype));
    ok(distinct, "%s: no two elements of a page share a place", sy_dtype_name(dtype));
}

/* Let an expected cache have what is found at a place that may be cleared, and was. */
static void allow_zero(const struct cache *c, uint8_t *expected, const uint8_t *place)
{
    static const uint8_t zero[4];
    size_t bytes = sy_dtype_bytes(c->kv.dtype);

    if (memcmp(place, zero, bytes) == 0)
        memcpy(expected + (place - c->kv.base), place, bytes);
}

/* What else kv_write may touch, in pages that it writes to: V behind the last position and behind the last dim, where its
 * panels go on, and the pair of an odd last dim of K. */
static void allow_cleared(const struct cache *c, uint8_t *expected)
{
    int D = c->kv.v_dim, n_heads = c->kv.n_kv_heads, v_dims = (D + SY_PANEL - 1) / SY_PANEL * SY_PANEL;
    int k_dim = c->kv.k_dim;

    /* What stands for V there is all of K. */
    if (c->kv.v_in_k)
        D = v_dims = k_dim;

    for (int s = 0; s < SEQUENCES; s++) {
        int end = (c->length[s] + SY_KV_PAGE - 1) / SY_KV_PAGE * SY_KV_PAGE;
        for (int i = 0; i < end * n_heads * v_dims; i++) {
            int p = i / v_dims / n_heads, dim = i % v_dims;
            if (p >= c->length[s] || dim >= D)
                allow_zero(c, expected, cache_place(c, 1, s, p, i / v_dims % n_heads, dim));
        }
        for (int i = 0; c->kv.dtype == SY_BF16 && k_dim % 2 && i < (c->kv.v_in_k ? end : c->length[s]) * n_heads; i++)
            allow_zero(c, expected, cache_place(c, 0, s, i / n_heads, i % n_heads, k_dim));
    }
}

static void test_write(const struct sy_kernels *backend, enum sy_dtype dtype)
{
    static const uint32_t words[] = {0x7fffffff, 0xff800001, 0x7f800000, 0x7f7fffff, 0x00000001, 0x80000000};
    bool held = true, outside = true;

    for (int round = 0; round < 9; round++) {
        struct cache c;
        struct shape shape = {.kv = dtype, .n_kv_heads = random_int(1, 4), .v_in_k = round >= 6};
        shape.k_dim = round == 0 ? 1 : round == 1 ? 64 : random_int(2, 40);
        shape.v_dim = round < 3 ? shape.k_dim : random_int(1, shape.v_in_k ? shape.k_dim : 40);
        cache_begin(&c, backend, &shape, 9);
        size_t bytes = sy_dtype_bytes(dtype), all = c.kv.page_stride * (size_t)c.n_pages;
        int k_each = c.kv.n_kv_heads * c.kv.k_dim, v_each = c.kv.n_kv_heads * c.kv.v_dim;
        uint8_t *expected = new_bytes(all);
        /* Values that rounding must not spoil. */
        for (int i = 0; i < 6; i++) {
            memcpy(&c.k[4][random_int(0, c.length[4] * k_each - 1)], &words[i], sizeof words[i]);
            memcpy(&c.v[4][random_int(0, c.length[4] * v_each - 1)], &words[i], sizeof words[i]);
        }
        memcpy(expected, c.kv.base, all);
        cache_write(backend, queues[round % THREADS_MAX], &c);
        for (int s = 0; s < SEQUENCES; s++) {
            for (int i = 0; i < c.length[s] * (k_each + v_each); i++) {
                int p = i / (k_each + v_each), at = i % (k_each + v_each), v = at >= k_each;
                int dims = v ? c.kv.v_dim : c.kv.k_dim, h = (at - v * k_each) / dims, dim = (at - v * k_each) % dims;
                const uint8_t *there = cache_place(&c, v, s, p, h, dim);
                float f = cache_input(&c, v, s, p, h, dim);
                uint16_t half = dtype == SY_F16 ? sy_f16_round(f) : sy_bf16_round(f);
                const void *want = dtype == SY_F32 ? (const void *)&f : &half;
                held = held && memcmp(there, want, bytes) == 0;
                memcpy(expected + (there - c.kv.base), there, bytes);
            }
        }
        if (!backend->on_device)
            allow_cleared(&c, expected);
        outside = outside && memcmp(expected, c.kv.base, all) == 0 && fences_hold(c.kv.base, all);
        free_bytes(expected);
        cache_end(&c);
    }
    ok(held, "%s: K and V are where the layout says, as %s", backend->name, sy_dtype_name(dtype));
    ok(outside, "%s: %s: kv_write writes nothing else", backend->name, sy_dtype_name(dtype));
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends);

    plan_backends(count_tests(backends, n, 2 * 2, 0, 2) + 3 * 3);
    random_begin();
    test_layout(SY_F32);
    test_layout(SY_BF16);
    test_layout(SY_F16);
    for (int b = 0; b < n; b++) {
        queues_begin(backends[b]);
        test_write(backends[b], SY_F32);
        test_write(backends[b], SY_BF16);
        if (takes_f16(backends[b]))
            test_write(backends[b], SY_F16);
        queues_end(backends[b]);
    }
    return tap_exit();
}
