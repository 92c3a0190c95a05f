/* SPDX-License-Identifier: Apache-2.0
 * bind_mlp.c - names and shapes of routers, shared experts and dense MLPs
 */
#include "model/bind_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What publishers call a router, its module and what comes with it: a bias of its logits, and a correction of its scores
 * that counts for the choice alone. */
struct router_names {
    const char *module, *router, *bias, *correction;
};

static const struct router_names router_names[] = {
    {"mlp", "mlp.gate.weight", "mlp.gate.bias", "mlp.gate.e_score_correction_bias"},
    {"block_sparse_moe", "block_sparse_moe.gate.weight", "block_sparse_moe.gate.bias",
     "block_sparse_moe.gate.e_score_correction_bias"},
    {"block_sparse_moe", "block_sparse_moe.router.layer.weight", "block_sparse_moe.router.layer.bias", NULL},
    {"block_sparse_moe", "block_sparse_moe.router.weight", "block_sparse_moe.router.bias", NULL},
    {"mlp", "mlp.router.weight", "mlp.router.bias", NULL},
};

#define N_ROUTER_NAMES ((int)(sizeof router_names / sizeof router_names[0]))

static enum sy_status router_vectors(struct binder *b, const struct router_names *names, struct sy_layer_sources *l)
{
    const struct sy_tensor *bias = sy_bind_look(b, "%s", names->bias);
    const struct sy_tensor *correction = names->correction ? sy_bind_look(b, "%s", names->correction) : NULL;
    enum sy_status st = SY_OK;

    if (bias)
        st = sy_bind_vector(b, bias, b->model->n_experts, "experts", &l->router_bias);
    if (!st && correction)
        st = sy_bind_vector(b, correction, b->model->n_experts, "experts", &l->correction);
    return st;
}

/* The width of the expert that every token goes to, from the first one seen, whose gate and up have so many outputs. */
static int shared_width(struct binder *b, const struct sy_tensor *gate, int n_outputs)
{
    struct sy_model *m = b->model;

    if (!m->shared_width && b->config->shared_width)
        m->shared_width = b->config->shared_width;
    if (!m->shared_width && gate->n_dims == 2 && gate->dims[0] > 0 && gate->dims[0] <= SY_BIND_ANY_MAX)
        m->shared_width = (int)gate->dims[0] / n_outputs;
    return m->shared_width;
}

/* Granite's: gate's rows and then up's in one matrix. */
static enum sy_status bind_shared_mlp(struct binder *b, const struct sy_tensor *gate_up, struct sy_layer_sources *l)
{
    int width = shared_width(b, gate_up, 2), D = b->model->hidden;
    int64_t dims[2] = {2 * (int64_t)width, D};
    enum sy_status st;

    if ((st = sy_bind_check(b, gate_up, true, 2, dims, "[2 * width of the shared expert, hidden_size]")) ||
        (st = sy_bind_rows(b, gate_up, 0, 0, width, &l->shared.gate)) ||
        (st = sy_bind_rows(b, gate_up, 0, width, width, &l->shared.up)))
        return st;
    return sy_bind_matrix(b, sy_bind_look(b, "shared_mlp.output_linear.weight"), D, width,
                          "[hidden_size, width of the shared expert]", &l->shared.down);
}

/* The sigmoid that weighs the shared expert of Qwen2-MoE. */
static enum sy_status bind_shared_gate(struct binder *b, const char *module, struct sy_layer_sources *l)
{
    const struct sy_tensor *t = sy_bind_look(b, "%s.shared_expert_gate.weight", module);
    int64_t dims[2] = {1, b->model->hidden};
    enum sy_status st = sy_bind_check(b, t, false, 2, dims, "[1, hidden_size]");

    if (!st)
        l->shared_gate = sy_matrix_rows(t, 0, 0, 1);
    return st;
}

/* An expert that every token goes to, by presence: of Qwen2-MoE, weighed by a sigmoid, of DeepSeek, which may stand for
 * several of the experts' width, or of Granite-MoE, beside the module of the experts. */
static enum sy_status bind_shared(struct binder *b, const char *module, struct sy_layer_sources *l)
{
    static const char *const names[] = {"shared_expert", "shared_experts"};
    const struct sy_tensor *gate_up = sy_bind_look(b, "shared_mlp.input_linear.weight"), *gate = NULL;
    struct sy_model *m = b->model;
    enum sy_status st;
    int i = 0;

    if (gate_up)
        return bind_shared_mlp(b, gate_up, l);
    while (i < 2 && !(gate = sy_bind_look(b, "%s.%s.gate_proj.weight", module, names[i])))
        i++;
    if (!gate) {
        if (b->config->n_shared || b->config->shared_width)
            return sy_bind_missing(b, b->name,
                                   b->config->n_shared ? "but config.json has n_shared_experts"
                                                       : "but config.json gives the shared expert a width");
        return SY_OK;
    }
    int width = shared_width(b, gate, 1) ? m->shared_width : SY_BIND_ANY;
    if ((st = sy_bind_matrix(b, gate, width, m->hidden, "[width of the shared expert, hidden_size]",
                             &l->shared.gate)) ||
        (st = sy_bind_matrix(b, sy_bind_look(b, "%s.%s.up_proj.weight", module, names[i]), width, m->hidden,
                             "[width of the shared expert, hidden_size]", &l->shared.up)) ||
        (st = sy_bind_matrix(b, sy_bind_look(b, "%s.%s.down_proj.weight", module, names[i]), m->hidden, width,
                             "[hidden_size, width of the shared expert]", &l->shared.down)))
        return st;
    return i ? SY_OK : bind_shared_gate(b, module, l);
}

/* There are as many experts, in all groups and in those that are kept, as the router chooses. */
static enum sy_status check_choices(const struct binder *b)
{
    const struct sy_model *m = b->model;

    if (m->router.top_k > m->n_experts)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: \"num_experts_per_tok\" is %d, but there are %d experts",
                            b->config->path, m->router.top_k, m->n_experts);
    if (m->n_experts % m->router.n_groups || m->n_experts / m->router.n_groups < m->router.group_best ||
        m->n_experts / m->router.n_groups * m->router.n_kept < m->router.top_k)
        return sy_error_set(b->err, SY_ERR_DATA,
                            "%s: %d experts in \"n_group\" %d groups, of which \"topk_group\" %d are kept, do not "
                            "make \"num_experts_per_tok\" %d choices",
                            b->config->path, m->n_experts, m->router.n_groups, m->router.n_kept, m->router.top_k);
    return SY_OK;
}

/* Sources of all experts together may not need more than about 100 MiB, whatever a checkpoint claims; a few kilobytes of
 * header can claim a lot. The largest public models have some 25 000. */
#define EXPERTS_TOTAL_MAX (1 << 17)
_Static_assert(EXPERTS_TOTAL_MAX * sizeof(struct sy_expert_sources) <= 128 << 20, "a source has grown");

static enum sy_status bind_moe(struct binder *b, const struct router_names *names, const struct sy_tensor *router,
                               struct sy_layer_sources *l)
{
    struct sy_model *m = b->model;
    int64_t dims[2] = {m->n_experts ? m->n_experts : SY_BIND_ANY, m->hidden};
    enum sy_status st = sy_bind_check(b, router, false, 2, dims, "[experts, hidden_size]");

    if (st)
        return st;
    if (!m->n_experts)
        m->n_experts = (int)router->dims[0];
    if (m->n_experts > SY_EXPERTS_MAX)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: tensor %s has %d experts, the limit is %d",
                            sy_checkpoint_shard_path(b->ckpt, router->shard), router->name, m->n_experts,
                            SY_EXPERTS_MAX);
    b->n_experts_total += m->n_experts;
    if (b->n_experts_total > EXPERTS_TOTAL_MAX)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: over %d experts in all layers", sy_checkpoint_dir(b->ckpt),
                            EXPERTS_TOTAL_MAX);
    if ((st = check_choices(b)))
        return st;
    /* The router is computed in FP32, so it may have a type of its own. */
    l->router = sy_matrix_rows(router, 0, 0, m->n_experts);
    if ((st = router_vectors(b, names, l)) || (st = bind_shared(b, names->module, l)))
        return st;
    return sy_bind_experts(b, names->module, l);
}

static enum sy_status bind_dense(struct binder *b, const struct sy_tensor *gate, struct sy_layer_sources *l)
{
    struct sy_model *m = b->model;
    enum sy_status st;

    /* Without a width of its own for experts, intermediate_size is theirs and says nothing here. */
    if (!m->dense_width && b->config->moe_width)
        m->dense_width = b->config->width;
    if (!m->dense_width && gate->n_dims == 2 && gate->dims[0] > 0 && gate->dims[0] <= SY_BIND_ANY_MAX)
        m->dense_width = (int)gate->dims[0];
    int width = m->dense_width ? m->dense_width : SY_BIND_ANY;
    if ((st = sy_bind_matrix(b, gate, width, m->hidden, "[intermediate_size, hidden_size]", &l->dense.gate)) ||
        (st = sy_bind_matrix(b, sy_bind_look(b, "mlp.up_proj.weight"), width, m->hidden,
                             "[intermediate_size, hidden_size]", &l->dense.up)))
        return st;
    return sy_bind_matrix(b, sy_bind_look(b, "mlp.down_proj.weight"), m->hidden, width,
                          "[hidden_size, intermediate_size]", &l->dense.down);
}

enum sy_status sy_bind_mlp(struct binder *b, int layer, struct sy_layer_sources *l)
{
    const struct sy_tensor *dense = sy_bind_look(b, "mlp.gate_proj.weight");
    const struct sy_tensor *router;
    const char *key;
    enum sy_said said = sy_config_moe(b->config, layer, &key);
    int i = 0;

    while (!(router = sy_bind_look(b, "%s", router_names[i].router)) && ++i < N_ROUTER_NAMES)
        ;
    if (router && dense)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: layer %d has both a router (%s) and a dense MLP (%s)",
                            sy_checkpoint_shard_path(b->ckpt, router->shard), layer, router->name, dense->name);
    if (!router && !dense) {
        snprintf(b->name, sizeof b->name, "%smlp.gate.weight", b->prefix);
        return sy_bind_missing(b, b->name,
                               "and so are the routers of other layouts and mlp.gate_proj.weight; a layer needs one");
    }
    const struct sy_tensor *found = router ? router : dense;
    if (said != SY_NOT_SAID && (said == SY_SAID_YES) != (router != NULL))
        return sy_error_set(b->err, SY_ERR_DATA, "%s: \"%s\" makes layer %d %s, but the checkpoint has tensor %s",
                            b->config->path, key, layer, said ? "a layer with experts" : "a dense layer", found->name);
    l->moe = router != NULL;
    b->model->n_moe_layers += l->moe;
    return router ? bind_moe(b, &router_names[i], router, l) : bind_dense(b, dense, l);
}
