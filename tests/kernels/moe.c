/* SPDX-License-Identifier: Apache-2.0
 * moe.c - a whole layer of experts in one call: the bits of its parts, one after the other
 */
#include "layer.h"

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
