/* SPDX-License-Identifier: Apache-2.0
 * kv.c - pages of the KV cache: their layout, and what every backend writes to them
 */
#include "cache.h"

/* Elements of a page have places of their own inside it, where layout.h's first words say. */
static void test_layout(enum sy_dtype dtype)
{
    static const int dims[] = {1, 2, 16, 20, 33, 64, 80, 128, 256};
    int group = dtype == SY_BF16 ? 2 : 1;
    bool distinct = true, panels = true, size = true;

    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        int D = dims[d], n_heads = 3, k_all = (D + group - 1) / group * group, v_panels = (D + SY_PANEL - 1) / SY_PANEL;
        size_t head = (size_t)((k_all + v_panels * SY_PANEL) * SY_KV_PAGE), n = head * (size_t)n_heads;
        bool *taken = new_bytes(n);
        size = size && sy_kernels_ref()->kv_page_bytes(dtype, n_heads, D) == n * sy_dtype_bytes(dtype);
        for (int i = 0; i < n_heads * SY_KV_PAGE * D; i++) {
            int h = i / (SY_KV_PAGE * D), slot = i / D % SY_KV_PAGE, dim = i % D;
            size_t k = sy_kv_k_index(dtype, D, h, slot, dim), v = sy_kv_v_index(dtype, D, h, slot, dim);
            panels = panels &&
                     k == (size_t)h * head + (size_t)((dim / group * SY_PANEL + slot) * group + dim % group) &&
                     v ==
                         (size_t)h * head + (size_t)(k_all * SY_KV_PAGE + dim / SY_PANEL * SY_PANEL * SY_KV_PAGE +
                                                     (slot / group * SY_PANEL + dim % SY_PANEL) * group + slot % group);
            distinct = distinct && k < n && v < n && !taken[k] && !taken[v] && k != v;
            if (distinct)
                taken[k] = taken[v] = true;
        }
        free(taken);
    }
    ok(size, "%s: a page has place for all heads' K and V", sy_dtype_name(dtype));
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
    int D = c->kv.head_dim, n_heads = c->kv.n_kv_heads, v_dims = (D + SY_PANEL - 1) / SY_PANEL * SY_PANEL;

    for (int s = 0; s < SEQUENCES; s++) {
        int end = (c->length[s] + SY_KV_PAGE - 1) / SY_KV_PAGE * SY_KV_PAGE;
        for (int i = 0; i < end * n_heads * v_dims; i++) {
            int p = i / v_dims / n_heads, dim = i % v_dims;
            if (p >= c->length[s] || dim >= D)
                allow_zero(c, expected, cache_place(c, 1, s, p, i / v_dims % n_heads, dim));
        }
        for (int i = 0; c->kv.dtype == SY_BF16 && D % 2 && i < c->length[s] * n_heads; i++)
            allow_zero(c, expected, cache_place(c, 0, s, i / n_heads, i % n_heads, D));
    }
}

static void test_write(const struct sy_kernels *backend, enum sy_dtype dtype)
{
    static const uint32_t words[] = {0x7fffffff, 0xff800001, 0x7f800000, 0x7f7fffff, 0x00000001, 0x80000000};
    bool held = true, outside = true;

    for (int round = 0; round < 6; round++) {
        struct cache c;
        cache_begin(&c, backend, dtype, random_int(1, 4), round == 0 ? 1 : round == 1 ? 64 : random_int(2, 40), 9);
        size_t bytes = sy_dtype_bytes(dtype), all = c.kv.page_stride * (size_t)c.n_pages;
        int each = c.kv.n_kv_heads * c.kv.head_dim;
        uint8_t *expected = new_bytes(all);
        /* Values that rounding must not spoil. */
        for (int i = 0; i < 6; i++) {
            memcpy(&c.k[4][random_int(0, c.length[4] * each - 1)], &words[i], sizeof words[i]);
            memcpy(&c.v[4][random_int(0, c.length[4] * each - 1)], &words[i], sizeof words[i]);
        }
        memcpy(expected, c.kv.base, all);
        cache_write(backend, queues[round % THREADS_MAX], &c);
        for (int s = 0; s < SEQUENCES; s++) {
            for (int i = 0; i < 2 * c.length[s] * each; i++) {
                int v = i / (c.length[s] * each), p = i / each % c.length[s], h = i % each / c.kv.head_dim;
                const uint8_t *place = cache_place(&c, v, s, p, h, i % c.kv.head_dim);
                float f = cache_input(&c, v, s, p, h, i % c.kv.head_dim);
                uint16_t half = sy_bf16_round(f);
                const void *want = dtype == SY_BF16 ? (const void *)&half : &f;
                held = held && memcmp(place, want, bytes) == 0;
                memcpy(expected + (place - c.kv.base), place, bytes);
            }
        }
        allow_cleared(&c, expected);
        outside = outside && memcmp(expected, c.kv.base, all) == 0 && fences_hold(c.kv.base, all);
        free(expected);
        cache_end(&c);
    }
    ok(held, "%s: K and V are where the layout says, as %s", backend->name, sy_dtype_name(dtype));
    ok(outside, "%s: %s: kv_write writes nothing else", backend->name, sy_dtype_name(dtype));
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends);

    plan(2 * 3 + n * 2 * 2);
    random_begin();
    test_layout(SY_F32);
    test_layout(SY_BF16);
    for (int b = 0; b < n; b++) {
        queues_begin(backends[b]);
        test_write(backends[b], SY_F32);
        test_write(backends[b], SY_BF16);
        queues_end(backends[b]);
    }
    return tap_exit();
}
