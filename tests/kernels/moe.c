/* SPDX-License-Identifier: Apache-2.0
 * moe.c - a whole layer of experts in one call: the bits of its parts, one after the other
 */
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

static struct result new_result(const struct layer *l)
{
    size_t T = (size_t)l->shape.T, x_bytes = T * (size_t)l->shape.D * sizeof(float);
    struct result r = {new_output(T * (size_t)l->shape.E * sizeof(float)),
                       new_output(T * (size_t)l->shape.K * sizeof(float)), new_output(x_bytes),
                       new_output(T * (size_t)l->shape.K * sizeof(int32_t))};

    memcpy(r.x, l->begin, x_bytes);
    return r;
}

static void free_result(struct result *r)
{
    free_output(r->logits);
    free_output(r->weights);
    free_output(r->x);
    free_output(r->ids);
}

/* Alternating panels of two matrices, and of their scales where they have some. */
static void *in_turn(const void *a, const void *b, size_t bytes, size_t n)
{
    uint8_t *both = new_input(2 * n * bytes);

    for (size_t p = 0; p < n; p++) {
        memcpy(both + 2 * p * bytes, (const uint8_t *)a + p * bytes, bytes);
        memcpy(both + (2 * p + 1) * bytes, (const uint8_t *)b + p * bytes, bytes);
    }
    return both;
}

static void make_expert(struct layer *l, const struct sy_kernels *backend, int e)
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

static void layer_begin(struct layer *l, const struct sy_kernels *backend, struct sy_moe_shape shape)
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
}

static void layer_end(struct layer *l, const struct sy_kernels *backend)
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
static struct result by_parts(const struct layer *l, const struct sy_kernels *backend)
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
    free_bytes(rows);
    free_bytes(sorted);
    free_bytes(act);
    free_bytes(y);
    free_bytes(from);
    free_bytes(to);
    free_bytes(tiles);
    return r;
}

/* In one call; what `from` asks for is taken from `given`. */
static struct result at_once(const struct layer *l, const struct sy_kernels *backend, enum sy_moe_from from,
                             const struct result *given)
{
    size_t pairs = (size_t)(l->shape.T * l->shape.K), bytes = backend->moe_bytes(&l->shape);
    struct result r = new_result(l);
    void *workspace = backend->alloc(bytes);
    struct sy_error err = SY_ERROR_INIT;

    if (from == SY_MOE_FROM_LOGITS)
        memcpy(r.logits, given->logits, (size_t)(l->shape.T * l->shape.E) * sizeof(float));
    if (from == SY_MOE_FROM_CHOSEN) {
        memcpy(r.ids, given->ids, pairs * sizeof *r.ids);
        memcpy(r.weights, given->weights, pairs * sizeof *r.weights);
    }
    struct sy_moe_run run = {.shape = l->shape,
                             .from = from,
                             .rule = from == SY_MOE_FROM_CHOSEN ? NULL : &l->rule,
                             .router = from == SY_MOE_FROM_HIDDEN ? &l->router.panels : NULL,
                             .h = l->h,
                             .logits = r.logits,
                             .ids = r.ids,
                             .weights = r.weights,
                             .table = l->table,
                             .glu = l->glu,
                             .shared = l->shared,
                             .x = r.x,
                             .workspace = workspace};
    backend->moe_run(queues[0], &run);
    if (backend->queue_sync(queues[0], &err))
        bail("%s", err.text);
    backend->free(workspace, bytes);
    return r;
}

static bool same(const struct layer *l, const struct result *a, const struct result *b)
{
    size_t x_bytes = (size_t)(l->shape.T * l->shape.D) * sizeof(float), pairs = (size_t)(l->shape.T * l->shape.K);

    return !memcmp(a->x, b->x, x_bytes) && !memcmp(a->ids, b->ids, pairs * sizeof *a->ids) &&
           !memcmp(a->weights, b->weights, pairs * sizeof *a->weights) && fences_hold(b->x, x_bytes);
}

static void test_layer(const struct sy_kernels *backend, struct sy_moe_shape shape)
{
    static const char *const names[] = {"hidden states", "logits", "chosen experts"};
    struct layer l;

    layer_begin(&l, backend, shape);
    struct result parts = by_parts(&l, backend);
    for (int from = SY_MOE_FROM_HIDDEN; from <= SY_MOE_FROM_CHOSEN; from++) {
        struct result whole = at_once(&l, backend, (enum sy_moe_from)from, &parts);
        ok(same(&l, &parts, &whole), "%s: %d tokens, %d to %d, %d of %d experts of %s: from %s as by parts",
           backend->name, shape.T, shape.D, shape.F, shape.K, shape.E, sy_dtype_name(shape.w_dtype), names[from]);
        free_result(&whole);
    }
    free_result(&parts);
    layer_end(&l, backend);
}

static const struct sy_moe_shape shapes[] = {
    {1, 128, 64, 8, 2, SY_BF16},  {7, 264, 104, 8, 2, SY_BF16},  {63, 130, 67, 16, 4, SY_BF16},
    {65, 72, 33, 4, 3, SY_BF16},  {1000, 64, 48, 3, 1, SY_BF16}, {257, 96, 64, 70, 8, SY_BF16},
    {33, 96, 80, 6, 2, SY_MXFP4}, {130, 66, 64, 5, 2, SY_I8},    {16, 128, 96, 9, 3, SY_F8_E4M3},
    {5, 40, 33, 4, 2, SY_F16},
};

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX], *with[BACKENDS_MAX];
    int n = all_backends(backends), n_with = 0, n_shapes = sizeof shapes / sizeof *shapes;

    for (int b = 0; b < n; b++) {
        if (backends[b]->moe_run)
            with[n_with++] = backends[b];
    }
    plan_backends(n_with * n_shapes * 3);
    random_begin();
    for (int b = 0; b < n_with; b++) {
        queues_begin(with[b]);
        for (int i = 0; i < n_shapes; i++)
            test_layer(with[b], shapes[i]);
        queues_end(with[b]);
    }
    return tap_exit();
}
