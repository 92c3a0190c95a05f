/* SPDX-License-Identifier: Apache-2.0
 * bind_experts.c - names and shapes of the experts of a layer
 *
 * Layouts are told apart by names and shapes: the names of an expert's three matrices (w1 w3 w2 or gate_proj up_proj
 * down_proj), and whether the experts are stacked into 3-D tensors, how these lie, and whether they are MXFP4 blocks.
 */
#include "model/bind_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* F, from the first expert seen; the key that names it must agree. */
static enum sy_status expert_width(struct binder *b, const struct sy_tensor *t, int64_t width)
{
    int said = b->config->moe_width ? b->config->moe_width : b->config->width;

    if (!b->model->expert_width && said && width != said)
        return sy_error_set(b->err, SY_ERR_DATA,
                            "%s: tensor %s has experts of width %" PRId64 ", but config.json has %s %d",
                            sy_checkpoint_shard_path(b->ckpt, t->shard), t->name, width,
                            b->config->moe_width ? "moe_intermediate_size" : "intermediate_size", said);
    if (!b->model->expert_width)
        b->model->expert_width = (int)width;
    return SY_OK;
}

static struct sy_matrix strided(const struct sy_tensor *tensor, int64_t offset, int64_t row_stride, int64_t k_stride,
                                int n, int k)
{
    return (struct sy_matrix){
        .tensor = tensor, .offset = offset, .row_stride = row_stride, .k_stride = k_stride, .n = n, .k = k};
}

/* What publishers call experts stacked along dim 0. */
struct fused_names {
    const char *module, *gate_up, *down, *gate_up_bias, *down_bias;
};

static const struct fused_names fused_names[] = {
    {"mlp", "mlp.experts.gate_up_proj", "mlp.experts.down_proj", "mlp.experts.gate_up_proj_bias",
     "mlp.experts.down_proj_bias"},
    {"block_sparse_moe", "block_sparse_moe.experts.gate_up_proj", "block_sparse_moe.experts.down_proj", NULL, NULL},
    {"block_sparse_moe", "block_sparse_moe.input_linear.weight", "block_sparse_moe.output_linear.weight", NULL, NULL},
};

/* How they lie. With a bias, gate and up take turns (gpt-oss); without, gate's half comes first. Transposed, outputs are
 * the last dim; where gate and up together are as wide as the model, the shape of down tells. */
struct fused {
    const struct sy_tensor *gate_up, *down;
    bool transposed, in_turn;
};

static enum sy_status look_fused(struct binder *b, const struct fused_names *names, struct fused *f)
{
    struct sy_model *m = b->model;
    int64_t any[3] = {m->n_experts, SY_BIND_ANY, SY_BIND_ANY};
    enum sy_status st;

    f->in_turn = names->gate_up_bias && sy_bind_look(b, "%s", names->gate_up_bias);
    f->down = sy_bind_look(b, "%s", names->down);
    if ((st = sy_bind_check(b, f->down, true, 3, any, "[experts, hidden_size, expert width] or its transpose")) ||
        (st = sy_bind_check(b, f->gate_up, true, 3, any, "[experts, 2 * expert width, hidden_size] or its transpose")))
        return st;
    const int64_t *gate_up = f->gate_up->dims, *down = f->down->dims;
    f->transposed = f->in_turn || gate_up[2] != m->hidden || (gate_up[1] == m->hidden && down[1] != m->hidden);
    if ((st = expert_width(b, f->gate_up, gate_up[f->transposed ? 2 : 1] / 2)))
        return st;
    int64_t D = m->hidden, F = m->expert_width;
    int64_t dims[2][3] = {{m->n_experts, 2 * F, D}, {m->n_experts, D, 2 * F}};
    int64_t down_dims[2][3] = {{m->n_experts, D, F}, {m->n_experts, F, D}};
    /* Scales of codes have no transposed form. */
    st = sy_bind_check(b, f->gate_up, !f->transposed, 3, dims[f->transposed],
                       f->transposed ? "[experts, hidden_size, 2 * expert width]"
                                     : "[experts, 2 * expert width, hidden_size]");
    return st ? st
              : sy_bind_check(b, f->down, !f->transposed, 3, down_dims[f->transposed],
                              f->transposed ? "[experts, expert width, hidden_size]"
                                            : "[experts, hidden_size, expert width]");
}

/* Biases of stacked experts, where they are there: gate's and up's take turns. */
static enum sy_status fused_biases(struct binder *b, const struct fused_names *names, struct sy_layer_sources *l)
{
    struct sy_model *m = b->model;
    int F = m->expert_width, D = m->hidden;
    int64_t gate_up_dims[2] = {m->n_experts, 2 * (int64_t)F}, down_dims[2] = {m->n_experts, D};
    const struct sy_tensor *gate_up = names->gate_up_bias ? sy_bind_look(b, "%s", names->gate_up_bias) : NULL;
    enum sy_status st = gate_up ? sy_bind_check(b, gate_up, false, 2, gate_up_dims, "[experts, 2 * expert width]")
                                : SY_OK;
    const struct sy_tensor *down = names->down_bias ? sy_bind_look(b, "%s", names->down_bias) : NULL;

    if (!st && down)
        st = sy_bind_check(b, down, false, 2, down_dims, "[experts, hidden_size]");
    for (int64_t e = 0; !st && e < m->n_experts; e++) {
        struct sy_expert_sources *x = &l->experts[e];
        if (gate_up) {
            x->gate_bias = strided(gate_up, e * 2 * F, 2, 1, F, 1);
            x->up_bias = strided(gate_up, e * 2 * F + 1, 2, 1, F, 1);
        }
        if (down)
            x->down_bias = strided(down, e * D, 1, 1, D, 1);
    }
    return st;
}

static enum sy_status bind_fused(struct binder *b, const struct fused_names *names, const struct sy_tensor *gate_up,
                                 struct sy_layer_sources *l)
{
    struct sy_model *m = b->model;
    struct fused f = {.gate_up = gate_up};
    enum sy_status st = look_fused(b, names, &f);
    int F = m->expert_width, D = m->hidden;

    for (int64_t e = 0; !st && e < m->n_experts; e++) {
        struct sy_expert_sources *x = &l->experts[e];
        int64_t begin = e * 2 * F * D, turns = f.in_turn ? 2 : 1, up = f.in_turn ? 1 : F;
        if (f.transposed) {
            x->gate = strided(gate_up, begin, turns, 2 * (int64_t)F, F, D);
            x->up = strided(gate_up, begin + up, turns, 2 * (int64_t)F, F, D);
            x->down = strided(f.down, e * F * D, 1, D, D, F);
        } else if (!(st = sy_bind_rows(b, gate_up, e, 0, F, &x->gate)) &&
                   !(st = sy_bind_rows(b, gate_up, e, F, F, &x->up))) {
            st = sy_bind_rows(b, f.down, e, 0, D, &x->down);
        }
    }
    return st ? st : fused_biases(b, names, l);
}

/* Rows row, row + row_step, .. of a slice of MXFP4 blocks. */
static enum sy_status mxfp4(struct binder *b, const struct sy_tensor *blocks, int slice, int row, int row_step, int n,
                            int k, struct sy_matrix *out)
{
    enum sy_status st = sy_quantization_mxfp4(&b->model->quantization, b->ckpt, blocks, slice, row, row_step, n, k, out,
                                              b->err);
    if (!st)
        b->used[out->scales.tensor - b->tensors] = true;
    return st;
}

/* Experts of gpt-oss in MXFP4: gate_up_proj_blocks [E, 2F, D / 32, 16], gate and up rows in turn, and down_proj_blocks
 * [E, D, F / 32, 16]. */
static enum sy_status bind_mxfp4(struct binder *b, const char *module, const struct sy_tensor *gate_up,
                                 struct sy_layer_sources *l)
{
    struct sy_model *m = b->model;
    enum sy_status st = SY_OK;

    if (!m->expert_width && gate_up->n_dims == 4 && gate_up->dims[1] > 1 && gate_up->dims[1] <= SY_BIND_ANY_MAX)
        st = expert_width(b, gate_up, gate_up->dims[1] / 2);
    const struct sy_tensor *down = sy_bind_look(b, "%s.experts.down_proj_blocks", module);
    if (!st && !down)
        st = sy_bind_missing(b, b->name, "but gate_up_proj_blocks is there");
    for (int e = 0; e < m->n_experts && !st; e++) {
        struct sy_expert_sources *x = &l->experts[e];
        int F = m->expert_width ? m->expert_width : 1;
        if (!(st = mxfp4(b, gate_up, e, 0, 2, F, m->hidden, &x->gate)) &&
            !(st = mxfp4(b, gate_up, e, 1, 2, F, m->hidden, &x->up)))
            st = mxfp4(b, down, e, 0, 1, m->hidden, F, &x->down);
    }
    /* More slices or rows than there are experts and outputs would be left out. */
    if (!st && (gate_up->dims[0] != m->n_experts || gate_up->dims[1] != 2 * m->expert_width ||
                down->dims[0] != m->n_experts || down->dims[1] != m->hidden))
        st = sy_error_set(b->err, SY_ERR_DATA, "%s: tensors %s and %s do not have %d experts of width %d",
                          sy_checkpoint_shard_path(b->ckpt, gate_up->shard), gate_up->name, down->name, m->n_experts,
                          m->expert_width);
    return st ? st : fused_biases(b, &fused_names[0], l);
}

/* What publishers call the three matrices of one expert. */
static const struct {
    const char *gate, *up, *down;
} expert_names[] = {
    {"gate_proj", "up_proj", "down_proj"},
    {"w1", "w3", "w2"},
};

static enum sy_status bind_separate(struct binder *b, const char *module, struct sy_layer_sources *l)
{
    struct sy_model *m = b->model;
    enum sy_status st = SY_OK;
    int names = 0;

    if (sy_bind_look(b, "%s.experts.0.%s.weight", module, expert_names[1].gate))
        names = 1;
    for (int e = 0; !st && e < m->n_experts; e++) {
        struct sy_expert_sources *x = &l->experts[e];
        const struct sy_tensor *gate = sy_bind_look(b, "%s.experts.%d.%s.weight", module, e, expert_names[names].gate);
        if (!m->expert_width && gate && gate->n_dims == 2 && gate->dims[0] > 0 && gate->dims[0] <= SY_BIND_ANY_MAX &&
            (st = expert_width(b, gate, gate->dims[0])))
            return st;
        int width = m->expert_width ? m->expert_width : SY_BIND_ANY;
        if ((st = sy_bind_matrix(b, gate, width, m->hidden, "[expert width, hidden_size]", &x->gate)) ||
            (st = sy_bind_matrix(b, sy_bind_look(b, "%s.experts.%d.%s.weight", module, e, expert_names[names].up),
                                 width, m->hidden, "[expert width, hidden_size]", &x->up)))
            return st;
        st = sy_bind_matrix(b, sy_bind_look(b, "%s.experts.%d.%s.weight", module, e, expert_names[names].down),
                            m->hidden, width, "[hidden_size, expert width]", &x->down);
    }
    return st;
}

enum sy_status sy_bind_experts(struct binder *b, const char *module, struct sy_layer_sources *l)
{
    l->experts = calloc((size_t)b->model->n_experts, sizeof *l->experts);
    if (!l->experts)
        return sy_error_set(b->err, SY_ERR_SYSTEM, "%s: no memory for the table of experts",
                            sy_checkpoint_dir(b->ckpt));
    const struct sy_tensor *blocks = sy_bind_look(b, "%s.experts.gate_up_proj_blocks", module);
    if (blocks)
        return bind_mxfp4(b, module, blocks, l);
    for (size_t i = 0; i < sizeof fused_names / sizeof fused_names[0]; i++) {
        const struct fused_names *fused = &fused_names[i];
        const struct sy_tensor *gate_up = strcmp(fused->module, module) ? NULL : sy_bind_look(b, "%s", fused->gate_up);
        if (gate_up)
            return bind_fused(b, fused, gate_up, l);
    }
    return bind_separate(b, module, l);
}
