/* SPDX-License-Identifier: Apache-2.0
 * bind.c - names and shapes of tensors to sources
 *
 * Layouts are told apart by names: the module of the router and experts (block_sparse_moe or mlp), the names of an expert's
 * three matrices (w1 w3 w2 or gate_proj up_proj down_proj), and whether the experts are fused into 3-D tensors. A tensor
 * of a layer that nothing asked for is refused, because leaving it out would change the result.
 */
#include "model/bind.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/safetensors.h"

#define NAME_MAX_BYTES 192

/* Sources of all experts together may not need more than about 100 MiB, whatever a checkpoint claims. */
#define EXPERTS_TOTAL_MAX (1 << 20)

/* A dimension that a tensor decides, and its limit, with which products of two stay countable. */
#define ANY     (-1)
#define ANY_MAX (1 << 24)

struct binder {
    struct sy_model *model;
    const struct sy_config *config;
    const struct sy_checkpoint *ckpt;
    const struct sy_tensor *tensors;
    size_t n_tensors;
    bool *used; /* [n_tensors] */
    int64_t n_experts_total;
    char prefix[40]; /* "model.layers.3." or "" */
    char name[NAME_MAX_BYTES];
    struct sy_error *err;
};

/* The tensor prefix + name, marked as used; NULL when there is none. b->name is then the full name. */
static const struct sy_tensor *look(struct binder *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static const struct sy_tensor *look(struct binder *b, const char *fmt, ...)
{
    char rest[NAME_MAX_BYTES - sizeof b->prefix];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(rest, sizeof rest, fmt, ap);
    va_end(ap);
    snprintf(b->name, sizeof b->name, "%s%s", b->prefix, rest);
    const struct sy_tensor *t = sy_checkpoint_find(b->ckpt, b->name);
    if (t)
        b->used[t - b->tensors] = true;
    return t;
}

static enum sy_status missing(const struct binder *b, const char *name, const char *why)
{
    return sy_error_set(b->err, SY_ERR_DATA, "%s: tensor %s is missing%s%s", sy_checkpoint_dir(b->ckpt), name,
                        *why ? ", " : "", why);
}

static bool is_float(const struct sy_tensor *t)
{
    return t->dtype == SY_F32 || t->dtype == SY_F16 || t->dtype == SY_BF16;
}

/* t is there, is of a float type (or, if codes, of one with scales) and has these dims; ANY in dims stands for any positive
 * number. what says where the expected numbers come from. */
static enum sy_status check_tensor(const struct binder *b, const struct sy_tensor *t, bool codes, int n_dims,
                                   const int64_t *dims, const char *what)
{
    char found[128], expected[128] = "[";

    for (int i = 0; i < n_dims; i++) {
        size_t at = strlen(expected);
        if (dims[i] == ANY)
            snprintf(expected + at, sizeof expected - at, "%s*", i ? ", " : "");
        else
            snprintf(expected + at, sizeof expected - at, "%s%" PRId64, i ? ", " : "", dims[i]);
    }
    snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "] = %s", what);
    if (!t) {
        char why[160];
        snprintf(why, sizeof why, "expected shape %s", expected);
        return missing(b, b->name, why);
    }
    const char *path = sy_checkpoint_shard_path(b->ckpt, t->shard);
    if (!is_float(t) && !(codes && sy_dtype_quantised(t->dtype)))
        return sy_error_set(b->err, SY_ERR_DATA, "%s: tensor %s is %s, expected F32, F16%s", path, t->name,
                            sy_dtype_name(t->dtype), codes ? ", BF16, F8_E4M3 or I8" : " or BF16");
    bool same = t->n_dims == n_dims;
    for (int i = 0; same && i < n_dims; i++)
        same = dims[i] == ANY ? t->dims[i] > 0 && t->dims[i] <= ANY_MAX : t->dims[i] == dims[i];
    if (!same)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: tensor %s has shape %s, expected %s", path, t->name,
                            sy_dims_show(t->dims, t->n_dims, found, sizeof found), expected);
    return SY_OK;
}

static enum sy_status check(const struct binder *b, const struct sy_tensor *t, int n_dims, const int64_t *dims,
                            const char *what)
{
    return check_tensor(b, t, false, n_dims, dims, what);
}

/* Rows of a slice of a tensor that may hold codes, and then has scales. */
static enum sy_status rows(struct binder *b, const struct sy_tensor *t, int64_t slice, int64_t row, int n,
                           struct sy_source *out)
{
    *out = sy_source_rows(t, slice, row, n);
    enum sy_status st = sy_quantization_scales(&b->model->quantization, b->ckpt, slice, row, out, b->err);

    if (!st && out->scales.tensor)
        b->used[out->scales.tensor - b->tensors] = true;
    return st;
}

/* The 1-D tensor of n elements that look() found (t). */
static enum sy_status vector(struct binder *b, const struct sy_tensor *t, int n, const char *what,
                             const struct sy_tensor **out)
{
    int64_t dims[1] = {n};
    enum sy_status st = check(b, t, 1, dims, what);

    *out = t;
    return st;
}

static enum sy_status matrix(struct binder *b, const struct sy_tensor *t, int n, int k, const char *what,
                             struct sy_source *out)
{
    int64_t dims[2] = {n, k};
    enum sy_status st = check_tensor(b, t, true, 2, dims, what);

    return st ? st : rows(b, t, 0, 0, (int)t->dims[0], out);
}

/* A bias is used when it is there. */
static enum sy_status bias(struct binder *b, const char *proj, int n, const struct sy_tensor **out)
{
    const struct sy_tensor *t = look(b, "self_attn.%s_proj.bias", proj);
    enum sy_said said = b->config->attention_bias;

    *out = NULL;
    if (!t && said == SY_SAID_YES && *proj == 'q')
        return missing(b, b->name, "but config.json has attention_bias true");
    if (t && said == SY_SAID_NO)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: tensor %s is there, but config.json has attention_bias false",
                            sy_checkpoint_shard_path(b->ckpt, t->shard), t->name);
    return t ? vector(b, t, n, "outputs of the projection", out) : SY_OK;
}

/* qk-norm by presence and width: [dh] is per head, [heads * dh] over the whole projection. */
static enum sy_status qk_norm(struct binder *b, int layer, struct sy_layer_sources *l)
{
    struct sy_model *m = b->model;
    const struct sy_tensor *q = look(b, "self_attn.q_norm.weight");
    const struct sy_tensor *k = look(b, "self_attn.k_norm.weight");
    enum sy_qk_norm kind = SY_QK_NORM_NONE;
    enum sy_status st;

    if (q || k) {
        if (!q || !k)
            return sy_error_set(b->err, SY_ERR_DATA,
                                "%s: tensor %sself_attn.%s_norm.weight is missing, but that of %s is there",
                                sy_checkpoint_dir(b->ckpt), b->prefix, q ? "k" : "q", q ? "q" : "k");
        bool full = q->n_dims == 1 && q->dims[0] != m->head_dim;
        kind = full ? SY_QK_NORM_FULL : SY_QK_NORM_HEAD;
        if ((st = vector(b, q, full ? m->n_heads * m->head_dim : m->head_dim,
                         full ? "num_attention_heads * head_dim" : "head_dim", &l->q_norm)) ||
            (st = vector(b, k, full ? m->n_kv_heads * m->head_dim : m->head_dim,
                         full ? "num_key_value_heads * head_dim" : "head_dim", &l->k_norm)))
            return st;
    }
    if (b->config->qk_norm != SY_NOT_SAID && (kind != SY_QK_NORM_NONE) != (b->config->qk_norm == SY_SAID_YES))
        return sy_error_set(b->err, SY_ERR_DATA, "%s: \"use_qk_norm\" is %s, but layer %d has %s q_norm",
                            b->config->path, b->config->qk_norm ? "true" : "false", layer, kind ? "a" : "no");
    if (layer && kind != m->qk_norm)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: q_norm of layer %d is of another kind than that of layer 0",
                            sy_checkpoint_dir(b->ckpt), layer);
    m->qk_norm = kind;
    return SY_OK;
}

static enum sy_status bind_attention(struct binder *b, int layer, struct sy_layer_sources *l)
{
    const struct sy_model *m = b->model;
    int q = m->n_heads * m->head_dim, kv = m->n_kv_heads * m->head_dim;
    enum sy_status st;

    if ((st = vector(b, look(b, "input_layernorm.weight"), m->hidden, "hidden_size", &l->attention_norm)) ||
        (st = vector(b, look(b, "post_attention_layernorm.weight"), m->hidden, "hidden_size", &l->mlp_norm)) ||
        (st = matrix(b, look(b, "self_attn.q_proj.weight"), q, m->hidden,
                     "[num_attention_heads * head_dim, hidden_size]", &l->q)) ||
        (st = matrix(b, look(b, "self_attn.k_proj.weight"), kv, m->hidden,
                     "[num_key_value_heads * head_dim, hidden_size]", &l->k)) ||
        (st = matrix(b, look(b, "self_attn.v_proj.weight"), kv, m->hidden,
                     "[num_key_value_heads * head_dim, hidden_size]", &l->v)) ||
        (st = matrix(b, look(b, "self_attn.o_proj.weight"), m->hidden, q,
                     "[hidden_size, num_attention_heads * head_dim]", &l->o)) ||
        (st = bias(b, "q", q, &l->q_bias)) || (st = bias(b, "k", kv, &l->k_bias)) ||
        (st = bias(b, "v", kv, &l->v_bias)) || (st = bias(b, "o", m->hidden, &l->o_bias)))
        return st;
    return qk_norm(b, layer, l);
}

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

/* Experts stacked along dim 0: gate_up_proj [E, 2F, D] (gate rows first) and down_proj [E, D, F]. */
static enum sy_status bind_fused(struct binder *b, const char *module, const struct sy_tensor *gate_up,
                                 struct sy_layer_sources *l)
{
    struct sy_model *m = b->model;
    int64_t any[3] = {m->n_experts, ANY, m->hidden};
    enum sy_status st;

    if ((st = check_tensor(b, gate_up, true, 3, any, "[experts, 2 * expert width, hidden_size]")) ||
        (st = expert_width(b, gate_up, gate_up->dims[1] / 2)))
        return st;
    int64_t dims[3] = {m->n_experts, 2 * (int64_t)m->expert_width, m->hidden};
    int64_t down_dims[3] = {m->n_experts, m->hidden, m->expert_width};
    if ((st = check_tensor(b, gate_up, true, 3, dims, "[experts, 2 * expert width, hidden_size]")))
        return st;
    const struct sy_tensor *down = look(b, "%s.experts.down_proj", module);
    st = check_tensor(b, down, true, 3, down_dims, "[experts, hidden_size, expert width]");
    for (int e = 0; e < m->n_experts && !st; e++) {
        if (!(st = rows(b, gate_up, e, 0, m->expert_width, &l->experts[e].gate)) &&
            !(st = rows(b, gate_up, e, m->expert_width, m->expert_width, &l->experts[e].up)))
            st = rows(b, down, e, 0, m->hidden, &l->experts[e].down);
    }
    return st;
}

/* Rows row, row + row_step, .. of a slice of MXFP4 blocks. */
static enum sy_status mxfp4(struct binder *b, const struct sy_tensor *blocks, int slice, int row, int row_step, int n,
                            int k, struct sy_source *out)
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

    if (!m->expert_width && gate_up->n_dims == 4 && gate_up->dims[1] > 1 && gate_up->dims[1] <= ANY_MAX)
        st = expert_width(b, gate_up, gate_up->dims[1] / 2);
    const struct sy_tensor *down = look(b, "%s.experts.down_proj_blocks", module);
    if (!st && !down)
        st = missing(b, b->name, "but gate_up_proj_blocks is there");
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
    return st;
}

/* What publishers call the three matrices of one expert. */
static const struct {
    const char *gate, *up, *down;
} expert_names[] = {
    {"gate_proj", "up_proj", "down_proj"},
    {"w1", "w3", "w2"},
};

static enum sy_status bind_experts(struct binder *b, const char *module, struct sy_layer_sources *l)
{
    struct sy_model *m = b->model;
    enum sy_status st = SY_OK;
    int names = 0;

    if (look(b, "%s.experts.0.%s.weight", module, expert_names[1].gate))
        names = 1;
    for (int e = 0; !st && e < m->n_experts; e++) {
        struct sy_expert_sources *x = &l->experts[e];
        const struct sy_tensor *gate = look(b, "%s.experts.%d.%s.weight", module, e, expert_names[names].gate);
        if (!m->expert_width && gate && gate->n_dims == 2 && gate->dims[0] > 0 && gate->dims[0] <= ANY_MAX &&
            (st = expert_width(b, gate, gate->dims[0])))
            return st;
        int width = m->expert_width ? m->expert_width : ANY;
        if ((st = matrix(b, gate, width, m->hidden, "[expert width, hidden_size]", &x->gate)) ||
            (st = matrix(b, look(b, "%s.experts.%d.%s.weight", module, e, expert_names[names].up), width, m->hidden,
                         "[expert width, hidden_size]", &x->up)))
            return st;
        st = matrix(b, look(b, "%s.experts.%d.%s.weight", module, e, expert_names[names].down), m->hidden, width,
                    "[hidden_size, expert width]", &x->down);
    }
    return st;
}

static enum sy_status bind_moe(struct binder *b, const char *module, const struct sy_tensor *router,
                               struct sy_layer_sources *l)
{
    struct sy_model *m = b->model;
    int64_t dims[2] = {m->n_experts ? m->n_experts : ANY, m->hidden};
    enum sy_status st = check(b, router, 2, dims, "[experts, hidden_size]");

    if (st)
        return st;
    if (!m->n_experts)
        m->n_experts = (int)router->dims[0];
    b->n_experts_total += m->n_experts;
    if (m->router.top_k > m->n_experts)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: \"num_experts_per_tok\" is %d, but there are %d experts",
                            b->config->path, m->router.top_k, m->n_experts);
    if (b->n_experts_total > EXPERTS_TOTAL_MAX)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: over %d experts in all layers", sy_checkpoint_dir(b->ckpt),
                            EXPERTS_TOTAL_MAX);
    /* The router is computed in FP32, so it may have a type of its own. */
    l->router = sy_source_rows(router, 0, 0, m->n_experts);
    l->experts = calloc((size_t)m->n_experts, sizeof *l->experts);
    if (!l->experts)
        return sy_error_set(b->err, SY_ERR_SYSTEM, "%s: no memory for the table of experts",
                            sy_checkpoint_dir(b->ckpt));
    const struct sy_tensor *blocks = look(b, "%s.experts.gate_up_proj_blocks", module);
    if (blocks)
        return bind_mxfp4(b, module, blocks, l);
    const struct sy_tensor *fused = look(b, "%s.experts.gate_up_proj", module);
    return fused ? bind_fused(b, module, fused, l) : bind_experts(b, module, l);
}

static enum sy_status bind_dense(struct binder *b, const struct sy_tensor *gate, struct sy_layer_sources *l)
{
    struct sy_model *m = b->model;
    enum sy_status st;

    /* Without a width of its own for experts, intermediate_size is theirs and says nothing here. */
    if (!m->dense_width && b->config->moe_width)
        m->dense_width = b->config->width;
    if (!m->dense_width && gate->n_dims == 2 && gate->dims[0] > 0 && gate->dims[0] <= ANY_MAX)
        m->dense_width = (int)gate->dims[0];
    int width = m->dense_width ? m->dense_width : ANY;
    if ((st = matrix(b, gate, width, m->hidden, "[intermediate_size, hidden_size]", &l->dense.gate)) ||
        (st = matrix(b, look(b, "mlp.up_proj.weight"), width, m->hidden, "[intermediate_size, hidden_size]",
                     &l->dense.up)))
        return st;
    return matrix(b, look(b, "mlp.down_proj.weight"), m->hidden, width, "[hidden_size, intermediate_size]",
                  &l->dense.down);
}

/* Experts or a dense MLP, by which tensors are there; what config.json says of the layer must agree. */
static enum sy_status bind_mlp(struct binder *b, int layer, struct sy_layer_sources *l)
{
    const struct sy_tensor *dense = look(b, "mlp.gate_proj.weight");
    const struct sy_tensor *router = look(b, "mlp.gate.weight");
    const char *module = "mlp", *key;
    enum sy_said said = sy_config_moe(b->config, layer, &key);

    if (!router && (router = look(b, "block_sparse_moe.gate.weight")))
        module = "block_sparse_moe";
    if (router && dense)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: layer %d has both a router (%s) and a dense MLP (%s)",
                            sy_checkpoint_shard_path(b->ckpt, router->shard), layer, router->name, dense->name);
    if (!router && !dense) {
        snprintf(b->name, sizeof b->name, "%smlp.gate.weight", b->prefix);
        return missing(b, b->name,
                       "and so are block_sparse_moe.gate.weight and mlp.gate_proj.weight; a layer needs one");
    }
    const struct sy_tensor *found = router ? router : dense;
    if (said != SY_NOT_SAID && (said == SY_SAID_YES) != (router != NULL))
        return sy_error_set(b->err, SY_ERR_DATA, "%s: \"%s\" makes layer %d %s, but the checkpoint has tensor %s",
                            b->config->path, key, layer, said ? "a layer with experts" : "a dense layer", found->name);
    l->moe = router != NULL;
    b->model->n_moe_layers += l->moe;
    return router ? bind_moe(b, module, router, l) : bind_dense(b, dense, l);
}

static enum sy_status bind_ends(struct binder *b)
{
    struct sy_model *m = b->model;
    int64_t dims[2] = {b->config->vocab ? b->config->vocab : ANY, m->hidden};
    const struct sy_tensor *embed = look(b, "model.embed_tokens.weight");
    enum sy_status st = check(b, embed, 2, dims, "[vocab_size, hidden_size]");

    if (st)
        return st;
    m->vocab = (int)embed->dims[0];
    m->dtype = embed->dtype;
    m->embed = sy_source_rows(embed, 0, 0, m->vocab);
    if ((st = vector(b, look(b, "model.norm.weight"), m->hidden, "hidden_size", &m->final_norm)))
        return st;
    const struct sy_tensor *head = look(b, "lm_head.weight");
    m->tied = b->config->tied == SY_NOT_SAID ? !head : b->config->tied == SY_SAID_YES;
    m->lm_head = m->embed;
    return m->tied ? SY_OK : matrix(b, head, m->vocab, m->hidden, "[vocab_size, hidden_size]", &m->lm_head);
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), s = strlen(suffix);

    return n >= s && !strcmp(name + n - s, suffix);
}

/* Whether leaving a tensor out would change what the model computes: all of the decoder's own modules would; layers after
 * the last (multi-token prediction) and other modules (vision) are extras. */
static bool matters(const struct binder *b, const char *name)
{
    static const char *const modules[] = {"model.embed_tokens.", "model.norm.", "lm_head."};
    static const char layers[] = "model.layers.";

    for (int i = 0; i < 3; i++)
        if (!strncmp(name, modules[i], strlen(modules[i])))
            return true;
    if (strncmp(name, layers, strlen(layers)))
        return false;
    return strtoull(name + strlen(layers), NULL, 10) < (unsigned long long)b->model->n_layers &&
           !has_suffix(name, ".rotary_emb.inv_freq") && /* recomputed; old versions saved it */
           !(b->model->quantization.method && (has_suffix(name, ".input_scale") || has_suffix(name, ".k_scale") ||
                                               has_suffix(name, ".v_scale"))); /* of activations and KV caches */
}

/* Matrices that become one must have one type, and their scales serve the same numbers of inputs. */
static enum sy_status check_same(const struct binder *b, const struct sy_source *x, const struct sy_source *y)
{
    enum sy_dtype type = sy_source_dtype(x), other = sy_source_dtype(y);

    if (type == other && (!x->scales.tensor || x->scales.block_k == y->scales.block_k))
        return SY_OK;
    return sy_error_set(b->err, SY_ERR_DATA,
                        "%s: tensor %s is %s and tensor %s is %s%s; matrices that are multiplied together must have "
                        "one type",
                        sy_checkpoint_dir(b->ckpt), x->tensor->name, sy_dtype_name(type), y->tensor->name,
                        sy_dtype_name(other), type == other ? " with scales of other blocks" : "");
}

static enum sy_status check_types(const struct binder *b, const struct sy_layer_sources *l)
{
    enum sy_status st = check_same(b, &l->q, &l->k);

    if (!st)
        st = check_same(b, &l->q, &l->v);
    for (int e = 0; l->moe && e < b->model->n_experts && !st; e++)
        st = check_same(b, &l->experts[e].gate, &l->experts[e].up);
    return st || l->moe ? st : check_same(b, &l->dense.gate, &l->dense.up);
}

static enum sy_status check_unused(const struct binder *b)
{
    for (size_t i = 0; i < b->n_tensors; i++) {
        const struct sy_tensor *t = &b->tensors[i];
        if (!b->used[i] && matters(b, t->name))
            return sy_error_set(b->err, SY_ERR_DATA,
                                "%s: tensor %.200s has no place in %s as supported; leaving it out would "
                                "change the result",
                                sy_checkpoint_shard_path(b->ckpt, t->shard), t->name, b->model->architecture);
    }
    return SY_OK;
}

static enum sy_status bind_all(struct binder *b)
{
    struct sy_model *m = b->model;
    enum sy_status st = bind_ends(b);

    m->layers = calloc((size_t)m->n_layers, sizeof *m->layers);
    if (!m->layers)
        return sy_error_set(b->err, SY_ERR_SYSTEM, "%s: no memory for the table of layers", sy_checkpoint_dir(b->ckpt));
    for (int i = 0; !st && i < m->n_layers; i++) {
        snprintf(b->prefix, sizeof b->prefix, "model.layers.%d.", i);
        m->layers[i].window = sy_config_window(b->config, i);
        st = bind_attention(b, i, &m->layers[i]);
        if (!st)
            st = bind_mlp(b, i, &m->layers[i]);
        if (!st)
            st = check_types(b, &m->layers[i]);
    }
    if (!st && !m->n_moe_layers)
        st = sy_error_set(b->err, SY_ERR_DATA, "%s: no layer has experts; only mixture-of-experts models are run",
                          sy_checkpoint_dir(b->ckpt));
    return st ? st : check_unused(b);
}

enum sy_status sy_model_bind(struct sy_model *model, const struct sy_config *config, const struct sy_checkpoint *ckpt,
                             struct sy_error *err)
{
    struct binder b = {.model = model, .config = config, .ckpt = ckpt, .err = err};

    b.tensors = sy_checkpoint_tensors(ckpt, &b.n_tensors);
    b.used = calloc(b.n_tensors + 1, sizeof *b.used);
    if (!b.used)
        return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory to bind tensors", sy_checkpoint_dir(ckpt));
    enum sy_status st = bind_all(&b);
    free(b.used);
    return st;
}
