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

#include "model/bind_private.h"
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

/* Norms with a bias are LayerNorms; all of a model are of one kind, that of the final one, which is bound first. */
static enum sy_status norm(struct binder *b, const char *name, const struct sy_tensor **weight,
                           const struct sy_tensor **bias)
{
    enum sy_status st = vector(b, look(b, "%s.weight", name), b->model->hidden, "hidden_size", weight);
    const struct sy_tensor *t = look(b, "%s.bias", name);

    *bias = NULL;
    if (st || (!t && b->model->norm == SY_NORM_RMS))
        return st;
    if (b->model->norm == SY_NORM_RMS)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: tensor %s is there, but the final norm has no bias",
                            sy_checkpoint_shard_path(b->ckpt, t->shard), t->name);
    return vector(b, t, b->model->hidden, "hidden_size, as the final norm has a bias", bias);
}

enum sy_status sy_bind_vector(struct binder *b, const char *name, int n, const char *what, const struct sy_tensor **out)
{
    return vector(b, look(b, "%s", name), n, what, out);
}

enum sy_status sy_bind_matrix(struct binder *b, const char *name, int n, int k, const char *what, struct sy_source *out)
{
    return matrix(b, look(b, "%s", name), n, k, what, out);
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

    if ((st = norm(b, "input_layernorm", &l->attention_norm, &l->attention_norm_bias)) ||
        (st = norm(b, "post_attention_layernorm", &l->mlp_norm, &l->mlp_norm_bias)))
        return st;
    if (m->mla.kv_lora_rank)
        return sy_bind_mla(b, m, l);
    if ((st = matrix(b, look(b, "self_attn.q_proj.weight"), q, m->hidden,
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
    const struct sy_tensor *sinks = look(b, "self_attn.sinks");
    if (sinks && (st = vector(b, sinks, m->n_heads, "num_attention_heads", &l->sinks)))
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

static struct sy_source strided(const struct sy_tensor *tensor, int64_t offset, int64_t row_stride, int64_t k_stride,
                                int n, int k)
{
    return (struct sy_source){
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
    int64_t any[3] = {m->n_experts, ANY, ANY};
    enum sy_status st;

    f->in_turn = names->gate_up_bias && look(b, "%s", names->gate_up_bias);
    f->down = look(b, "%s", names->down);
    if ((st = check_tensor(b, f->down, true, 3, any, "[experts, hidden_size, expert width] or its transpose")) ||
        (st = check_tensor(b, f->gate_up, true, 3, any, "[experts, 2 * expert width, hidden_size] or its transpose")))
        return st;
    const int64_t *gate_up = f->gate_up->dims, *down = f->down->dims;
    f->transposed = f->in_turn || gate_up[2] != m->hidden || (gate_up[1] == m->hidden && down[1] != m->hidden);
    if ((st = expert_width(b, f->gate_up, gate_up[f->transposed ? 2 : 1] / 2)))
        return st;
    int64_t D = m->hidden, F = m->expert_width;
    int64_t dims[2][3] = {{m->n_experts, 2 * F, D}, {m->n_experts, D, 2 * F}};
    int64_t down_dims[2][3] = {{m->n_experts, D, F}, {m->n_experts, F, D}};
    /* Scales of codes have no transposed form. */
    st = check_tensor(b, f->gate_up, !f->transposed, 3, dims[f->transposed],
                      f->transposed ? "[experts, hidden_size, 2 * expert width]"
                                    : "[experts, 2 * expert width, hidden_size]");
    return st ? st
              : check_tensor(b, f->down, !f->transposed, 3, down_dims[f->transposed],
                             f->transposed ? "[experts, expert width, hidden_size]"
                                           : "[experts, hidden_size, expert width]");
}

/* Biases of stacked experts, where they are there: gate's and up's take turns. */
static enum sy_status fused_biases(struct binder *b, const struct fused_names *names, struct sy_layer_sources *l)
{
    struct sy_model *m = b->model;
    int F = m->expert_width, D = m->hidden;
    int64_t gate_up_dims[2] = {m->n_experts, 2 * (int64_t)F}, down_dims[2] = {m->n_experts, D};
    const struct sy_tensor *gate_up = names->gate_up_bias ? look(b, "%s", names->gate_up_bias) : NULL;
    enum sy_status st = gate_up ? check(b, gate_up, 2, gate_up_dims, "[experts, 2 * expert width]") : SY_OK;
    const struct sy_tensor *down = names->down_bias ? look(b, "%s", names->down_bias) : NULL;

    if (!st && down)
        st = check(b, down, 2, down_dims, "[experts, hidden_size]");
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
        } else if (!(st = rows(b, gate_up, e, 0, F, &x->gate)) && !(st = rows(b, gate_up, e, F, F, &x->up))) {
            st = rows(b, f.down, e, 0, D, &x->down);
        }
    }
    return st ? st : fused_biases(b, names, l);
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
    return st ? st : fused_biases(b, &fused_names[0], l);
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
    {"mlp", "mlp.router.weight", "mlp.router.bias", NULL},
};

#define N_ROUTER_NAMES ((int)(sizeof router_names / sizeof router_names[0]))

static enum sy_status router_vectors(struct binder *b, const struct router_names *names, struct sy_layer_sources *l)
{
    const struct sy_tensor *bias = look(b, "%s", names->bias);
    const struct sy_tensor *correction = names->correction ? look(b, "%s", names->correction) : NULL;
    enum sy_status st = SY_OK;

    if (bias)
        st = vector(b, bias, b->model->n_experts, "experts", &l->router_bias);
    if (!st && correction)
        st = vector(b, correction, b->model->n_experts, "experts", &l->correction);
    return st;
}

/* An expert that every token goes to, by presence: of Qwen2-MoE, weighed by a sigmoid, or of DeepSeek, which may stand for
 * several of the experts' width. */
static enum sy_status bind_shared(struct binder *b, const char *module, struct sy_layer_sources *l)
{
    static const char *const names[] = {"shared_expert", "shared_experts"};
    struct sy_model *m = b->model;
    const struct sy_tensor *gate = NULL;
    enum sy_status st;
    int i = 0;

    while (i < 2 && !(gate = look(b, "%s.%s.gate_proj.weight", module, names[i])))
        i++;
    if (!gate) {
        if (b->config->n_shared || b->config->shared_width)
            return missing(b, b->name, b->config->n_shared ? "but config.json has n_shared_experts"
                                                           : "but config.json has shared_expert_intermediate_size");
        return SY_OK;
    }
    if (!m->shared_width && b->config->shared_width)
        m->shared_width = b->config->shared_width;
    if (!m->shared_width && gate->n_dims == 2 && gate->dims[0] > 0 && gate->dims[0] <= ANY_MAX)
        m->shared_width = (int)gate->dims[0];
    int width = m->shared_width ? m->shared_width : ANY;
    if ((st = matrix(b, gate, width, m->hidden, "[width of the shared expert, hidden_size]", &l->shared.gate)) ||
        (st = matrix(b, look(b, "%s.%s.up_proj.weight", module, names[i]), width, m->hidden,
                     "[width of the shared expert, hidden_size]", &l->shared.up)) ||
        (st = matrix(b, look(b, "%s.%s.down_proj.weight", module, names[i]), m->hidden, width,
                     "[hidden_size, width of the shared expert]", &l->shared.down)))
        return st;
    const struct sy_tensor *weigh = look(b, "%s.shared_expert_gate.weight", module);
    int64_t dims[2] = {1, m->hidden};
    if (!weigh)
        return SY_OK;
    if ((st = check(b, weigh, 2, dims, "[1, hidden_size]")))
        return st;
    l->shared_gate = sy_source_rows(weigh, 0, 0, 1);
    return SY_OK;
}

static enum sy_status bind_moe(struct binder *b, const struct router_names *names, const struct sy_tensor *router,
                               struct sy_layer_sources *l)
{
    const char *module = names->module;
    struct sy_model *m = b->model;
    int64_t dims[2] = {m->n_experts ? m->n_experts : ANY, m->hidden};
    enum sy_status st = check(b, router, 2, dims, "[experts, hidden_size]");

    if (st)
        return st;
    if (!m->n_experts)
        m->n_experts = (int)router->dims[0];
    if (m->n_experts > SY_EXPERTS_MAX)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: tensor %s has %d experts, the limit is %d",
                            sy_checkpoint_shard_path(b->ckpt, router->shard), router->name, m->n_experts,
                            SY_EXPERTS_MAX);
    b->n_experts_total += m->n_experts;
    if (m->router.top_k > m->n_experts)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: \"num_experts_per_tok\" is %d, but there are %d experts",
                            b->config->path, m->router.top_k, m->n_experts);
    if (m->n_experts % m->router.n_groups || m->n_experts / m->router.n_groups < m->router.group_best ||
        m->n_experts / m->router.n_groups * m->router.n_kept < m->router.top_k)
        return sy_error_set(b->err, SY_ERR_DATA,
                            "%s: %d experts in \"n_group\" %d groups, of which \"topk_group\" %d are kept, do not "
                            "make \"num_experts_per_tok\" %d choices",
                            b->config->path, m->n_experts, m->router.n_groups, m->router.n_kept, m->router.top_k);
    if (b->n_experts_total > EXPERTS_TOTAL_MAX)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: over %d experts in all layers", sy_checkpoint_dir(b->ckpt),
                            EXPERTS_TOTAL_MAX);
    /* The router is computed in FP32, so it may have a type of its own. */
    l->router = sy_source_rows(router, 0, 0, m->n_experts);
    if ((st = router_vectors(b, names, l)) || (st = bind_shared(b, module, l)))
        return st;
    l->experts = calloc((size_t)m->n_experts, sizeof *l->experts);
    if (!l->experts)
        return sy_error_set(b->err, SY_ERR_SYSTEM, "%s: no memory for the table of experts",
                            sy_checkpoint_dir(b->ckpt));
    const struct sy_tensor *blocks = look(b, "%s.experts.gate_up_proj_blocks", module);
    if (blocks)
        return bind_mxfp4(b, module, blocks, l);
    for (size_t i = 0; i < sizeof fused_names / sizeof fused_names[0]; i++) {
        const struct fused_names *fused = &fused_names[i];
        const struct sy_tensor *gate_up = strcmp(fused->module, module) ? NULL : look(b, "%s", fused->gate_up);
        if (gate_up)
            return bind_fused(b, fused, gate_up, l);
    }
    return bind_experts(b, module, l);
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
    const struct sy_tensor *router;
    const char *key;
    enum sy_said said = sy_config_moe(b->config, layer, &key);
    int i = 0;

    while (!(router = look(b, "%s", router_names[i].router)) && ++i < N_ROUTER_NAMES)
        ;
    if (router && dense)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: layer %d has both a router (%s) and a dense MLP (%s)",
                            sy_checkpoint_shard_path(b->ckpt, router->shard), layer, router->name, dense->name);
    if (!router && !dense) {
        snprintf(b->name, sizeof b->name, "%smlp.gate.weight", b->prefix);
        return missing(b, b->name,
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
    m->norm = look(b, "model.norm.bias") ? SY_NORM_LAYER : SY_NORM_RMS;
    if ((st = norm(b, "model.norm", &m->final_norm, &m->final_norm_bias)))
        return st;
    const struct sy_tensor *head_bias = look(b, "lm_head.bias");
    if (!head_bias && b->config->lm_head_bias == SY_SAID_YES)
        return missing(b, b->name, "but config.json has lm_head_bias true");
    if (head_bias && (st = vector(b, head_bias, m->vocab, "vocab_size", &m->lm_head_bias)))
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
    if (!x->tensor || !y->tensor)
        return SY_OK;
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
    if (!st)
        st = check_same(b, l->q_a.tensor ? &l->q_a : &l->q, &l->kv_a);
    if (!st)
        st = check_same(b, &l->shared.gate, &l->shared.up);
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
