/* SPDX-License-Identifier: Apache-2.0
 * bind.c - names and shapes of tensors to sources
 *
 * Layouts are told apart by names and shapes, never by the name of a model: bind_attention.c, bind_mla.c, bind_mlp.c and
 * bind_experts.c, which find tensors with bind_tensor.c. A tensor of a layer that nothing asked for is refused, because
 * leaving it out would change the result.
 */
#include "model/bind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/bind_private.h"

/* Where the language model's tensors are: as they are named where it is published alone, or as part of a multimodal model. */
static void find_root(struct binder *b)
{
    static const char *const roots[][2] = {{"model.", ""},
                                           {"model.language_model.", ""},
                                           {"language_model.model.", "language_model."},
                                           {"language.model.", "language."}};
    char name[64];

    b->model->root = roots[0][0];
    b->model->outer = roots[0][1];
    for (int i = 3; i > 0; i--) {
        snprintf(name, sizeof name, "%sembed_tokens.weight", roots[i][0]);
        if (sy_checkpoint_find(b->ckpt, name)) {
            b->model->root = roots[i][0];
            b->model->outer = roots[i][1];
        }
    }
    snprintf(b->prefix, sizeof b->prefix, "%s", b->model->root);
}

static enum sy_status bind_ends(struct binder *b)
{
    struct sy_model *m = b->model;
    int64_t dims[2] = {b->config->vocab ? b->config->vocab : SY_BIND_ANY, m->hidden};
    find_root(b);
    const struct sy_tensor *embed = sy_bind_look(b, "embed_tokens.weight");
    enum sy_status st = sy_bind_check(b, embed, false, 2, dims, "[vocab_size, hidden_size]");

    if (st)
        return st;
    m->vocab = (int)embed->dims[0];
    m->dtype = embed->dtype;
    m->embed = sy_matrix_rows(embed, 0, 0, m->vocab);
    m->norm = sy_bind_look(b, "norm.bias") ? SY_NORM_LAYER : SY_NORM_RMS;
    if ((st = sy_bind_norm(b, "norm", &m->final_norm, &m->final_norm_bias)))
        return st;
    snprintf(b->prefix, sizeof b->prefix, "%s", b->model->outer);
    const struct sy_tensor *head_bias = sy_bind_look(b, "lm_head.bias");
    if (!head_bias && b->config->lm_head_bias == SY_SAID_YES)
        return sy_bind_missing(b, b->name, "but config.json has lm_head_bias true");
    if (head_bias && b->config->lm_head_bias == SY_SAID_NO)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: tensor %s is there, but config.json has lm_head_bias false",
                            sy_checkpoint_shard_path(b->ckpt, head_bias->shard), head_bias->name);
    if (head_bias && (st = sy_bind_vector(b, head_bias, m->vocab, "vocab_size", &m->lm_head_bias)))
        return st;
    const struct sy_tensor *head = sy_bind_look(b, "lm_head.weight");
    m->tied = b->config->tied == SY_NOT_SAID ? !head : b->config->tied == SY_SAID_YES;
    m->lm_head = m->embed;
    return m->tied ? SY_OK : sy_bind_matrix(b, head, m->vocab, m->hidden, "[vocab_size, hidden_size]", &m->lm_head);
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), s = strlen(suffix);

    return n >= s && !strcmp(name + n - s, suffix);
}

/* What follows a beginning in a name, NULL where it begins otherwise. */
static const char *past(const char *name, const char *beginning)
{
    size_t n = strlen(beginning);

    return strncmp(name, beginning, n) ? NULL : name + n;
}

/* All of the decoder's own modules matter; layers after the last and other modules (vision) are extras. */
const char *sy_bind_aside(const struct sy_model *model, const char *name)
{
    const char *inner = past(name, model->root), *outer = past(name, model->outer);
    const char *layer = inner ? past(inner, "layers.") : NULL;

    if ((outer && past(outer, "lm_head.")) || (inner && (past(inner, "embed_tokens.") || past(inner, "norm."))))
        return NULL;
    if (!layer)
        return "not of the text decoder";
    if (strtoull(layer, NULL, 10) >= (unsigned long long)model->n_layers)
        return "multi-token prediction, after the last layer";
    if (has_suffix(name, ".rotary_emb.inv_freq"))
        return "made here"; /* old versions saved it */
    if (model->quantization.method && (has_suffix(name, ".input_scale") || has_suffix(name, ".k_scale") ||
                                       has_suffix(name, ".v_scale")))
        return "scales of activations and KV caches, which are not quantised";
    return NULL;
}

/* Matrices that become one must have one type, and their scales serve the same numbers of inputs. */
static enum sy_status check_same(const struct binder *b, const struct sy_matrix *x, const struct sy_matrix *y)
{
    if (!x->tensor || !y->tensor)
        return SY_OK;
    enum sy_dtype type = sy_matrix_dtype(x), other = sy_matrix_dtype(y);
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
        if (!b->used[i] && !sy_bind_aside(b->model, t->name))
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
        snprintf(b->prefix, sizeof b->prefix, "%slayers.%d.", b->model->root, i);
        m->layers[i].window = sy_config_window(b->config, i);
        st = sy_bind_attention(b, i, &m->layers[i]);
        if (!st)
            st = sy_bind_mlp(b, i, &m->layers[i]);
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
