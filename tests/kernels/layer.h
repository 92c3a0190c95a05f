/* SPDX-License-Identifier: Apache-2.0
 * layer.h - random layers of experts, and what they make by their parts, one after the other
 */
#ifndef SY_TESTS_KERNELS_LAYER_H
#define SY_TESTS_KERNELS_LAYER_H

#include "common.h"

/* A layer, what goes in, and room for what comes out. */
struct layer {
    struct sy_moe_shape shape;
    struct sy_router_rule rule;
    struct sy_glu glu;
    struct matrix router, *gate, *up, *down; /* experts: [E] */
    struct sy_weight *gate_up;               /* [E] */
    struct sy_expert *experts;               /* [E] */
    void *table;
    float *h, *shared; /* [T, D] */
    float *begin;      /* [T, D] what x is before */
};

/* What a run chose and made. */
struct result {
    float *logits, *weights, *x;
    int32_t *ids;
};

static inline struct result new_result(const struct layer *l)
{
    size_t T = (size_t)l->shape.T, x_bytes = T * (size_t)l->shape.D * sizeof(float);
    struct result r = {new_output(T * (size_t)l->shape.E * sizeof(float)),
                       new_output(T * (size_t)l->shape.K * sizeof(float)), new_output(x_bytes),
                       new_output(T * (size_t)l->shape.K * sizeof(int32_t))};

    memcpy(r.x, l->begin, x_bytes);
    return r;
}

static inline void free_result(struct result *r)
{
    free_output(r->logits);
    free_output(r->weights);
    free_output(r->x);
    free_output(r->ids);
}

/* Alternating panels of two matrices, and of their scales where they have some. */
static inline void *in_turn(const void *a, const void *b, size_t bytes, size_t n)
{
    uint8_t *both = new_input(2 * n * bytes);

    for (size_t p = 0; p < n; p++) {
        memcpy(both + 2 * p * bytes, (const uint8_t *)a + p * bytes, bytes);
        memcpy(both + (2 * p + 1) * bytes, (const uint8_t *)b + p * bytes, bytes);
    }
    return both;
}

static inline void make_expert(struct layer *l, const struct sy_kernels *backend, int e)
{
    int D = l->shape.D, F = l->shape.F;
    enum sy_dtype dtype = l->shape.w_dtype;

    l->gate[e] = new_matrix(backend, dtype, F, D);
    do
        l->up[e] = new_matrix(backend, dtype, F, D);
    while (l->up[e].rows.scale_block != l->gate[e].rows.scale_block && (free_matrix(&l->up[e]), true));
    l->down[e] = new_matrix(backend, dtype, D, F);
    struct sy_weight w = l->gate[e].panels;
    size_t n_panels = (size_t)(F + SY_PANEL - 1) / SY_PANEL;
    w.data = in_turn(l->gate[e].packed, l->up[e].packed, backend->panel_bytes(dtype, D), n_panels);
    if (w.scales)
        w.scales = in_turn(l->gate[e].packed_scales, l->up[e].packed_scales,
                           (size_t)((D - 1) / w.scale_block + 1) * SY_PANEL * (dtype == SY_MXFP4 ? 1 : sizeof(float)),
                           n_panels);
    w.bias = e % 2 ? random_rows(SY_F32, 1, 2 * F, (size_t)(2 * F)) : NULL;
    l->down[e].panels.bias = e % 3 ? random_rows(SY_F32, 1, D, (size_t)D) : NULL;
    l->gate_up[e] = w;
    l->experts[e] = (struct sy_expert){&l->gate_up[e], &l->down[e].panels};
}

static inline void layer_begin(struct layer *l, const struct sy_kernels *backend, struct sy_moe_shape shape)
{
    size_t E = (size_t)shape.E, n = (size_t)shape.T * (size_t)shape.D;

    *l = (struct layer){.shape = shape};
    l->rule = (struct sy_router_rule){.kind = (enum sy_router_kind)random_int(0, 2),
                                      .n_experts = shape.E,
                                      .top_k = shape.K,
                                      .normalise = random_int(0, 1) != 0,
                                      .scale = 1.5f};
    if (random_int(0, 1))
        l->glu = (struct sy_glu){1.702f, 0.25f + fabsf(random_float())};
    l->router = new_matrix(backend, SY_F32, shape.E, shape.D);
    l->gate = new_bytes(E * sizeof *l->gate);
    l->up = new_bytes(E * sizeof *l->up);
    l->down = new_bytes(E * sizeof *l->down);
    l->gate_up = new_bytes(E * sizeof *l->gate_up);
    l->experts = new_bytes(E * sizeof *l->experts);
    for (int e = 0; e < shape.E; e++)
        make_expert(l, backend, e);
    l->table = backend->alloc(backend->moe_table_bytes(shape.E));
    backend->moe_table(queues[0], l->experts, shape.E, l->table);
    l->h = random_floats(n);
    l->shared = random_int(0, 1) ? random_floats(n) : NULL;
    l->begin = random_floats(n);
    queues_sync(backend);
}

static inline void layer_end(struct layer *l, const struct sy_kernels *backend)
{
    for (int e = 0; e < l->shape.E; e++) {
        free_output((void *)l->gate_up[e].bias);
        free_output((void *)l->down[e].panels.bias);
        free_output((void *)l->gate_up[e].data);
        free_output((void *)l->gate_up[e].scales);
        free_matrix(&l->gate[e]);
        free_matrix(&l->up[e]);
        free_matrix(&l->down[e]);
    }
    free_matrix(&l->router);
    free_bytes(l->gate);
    free_bytes(l->up);
    free_bytes(l->down);
    free_bytes(l->gate_up);
    free_bytes(l->experts);
    backend->free(l->table, backend->moe_table_bytes(l->shape.E));
    free_bytes(l->h);
    free_bytes(l->shared);
    free_bytes(l->begin);
}

/* By the parts: an expert's rows are put together by hand. */
static inline struct result by_parts(const struct layer *l, const struct sy_kernels *backend)
{
    const struct sy_moe_shape *s = &l->shape;
    struct sy_queue *q = queues[1];
    struct result r = new_result(l);
    size_t n = (size_t)(s->T * s->K), D = (size_t)s->D, F = (size_t)s->F;
    uint16_t *rows = new_bytes((size_t)s->T * D * 2), *sorted = new_bytes(n * D * 2), *act = new_bytes(n * F * 2);
    uint16_t *y = new_bytes(n * D * 2);
    uint32_t *from = new_bytes(n * sizeof *from);
    void **to = new_bytes(n * sizeof *to);
    struct sy_tile *tiles = new_bytes((size_t)s->E * sizeof *tiles);
    int at = 0;

    backend->router(q, &l->rule, &l->router.panels, l->h, s->T, r.logits, r.ids, r.weights);
    queues_sync(backend);
    for (int e = s->E - 1; e >= 0; e--) {
        tiles[e] = (struct sy_tile){l->experts[e].gate_up, l->experts[e].down, at, 0};
        for (int i = (int)n - 1; i >= 0; i--) {
            if (r.ids[i] != e)
                continue;
            from[at] = (uint32_t)(i / s->K);
            to[at++] = y + (size_t)i * D;
            tiles[e].n_rows++;
        }
    }
    backend->convert(q, rows, SY_BF16, l->h, SY_F32, (size_t)s->T * D);
    backend->copy_rows(q, sorted, NULL, rows, from, (int)n, D * 2);
    backend->expert_gate_up(q, tiles, s->E, sorted, SY_BF16, &l->glu, act);
    backend->expert_down(q, tiles, s->E, act, SY_BF16, NULL, to, SY_BF16);
    backend->combine(q, y, SY_BF16, r.weights, s->T, s->K, s->D, l->shared, false, r.x);
    queues_sync(backend);
    free_bytes(rows);
    free_bytes(sorted);
    free_bytes(act);
    free_bytes(y);
    free_bytes(from);
    free_bytes(to);
    free_bytes(tiles);
    return r;
}

#endif
