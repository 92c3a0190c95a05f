/* SPDX-License-Identifier: Apache-2.0
 * bind_private.h - what the files of binding share (private to bind.c and bind_*.c)
 */
#ifndef SY_MODEL_BIND_PRIVATE_H
#define SY_MODEL_BIND_PRIVATE_H

#include "model/bind.h"
#include "model/safetensors.h"

#define SY_BIND_NAME_MAX 192

/* A dimension that a tensor decides, and its limit, with which products of two stay countable. */
#define SY_BIND_ANY     (-1)
#define SY_BIND_ANY_MAX (1 << 24)

struct binder {
    struct sy_model *model;
    const struct sy_config *config;
    const struct sy_checkpoint *ckpt;
    const struct sy_tensor *tensors;
    size_t n_tensors;
    bool *used; /* [n_tensors] */
    int64_t n_experts_total;
    char prefix[48];          /* root, outer, or root + "layers.3." */
    char name[SY_BIND_NAME_MAX];
    struct sy_error *err;
};

/* The functions below return SY_ERR_DATA with file, tensor, expected and found shape or type, as sy_model_bind() does. In
 * all of them `what` says where the expected numbers come from, and t is what sy_bind_look() found last. */

/* The tensor prefix + name, marked as used; NULL when there is none. b->name is then the full name. */
const struct sy_tensor *sy_bind_look(struct binder *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The error for a tensor that is not there; why: "" or what asked for it. */
enum sy_status sy_bind_missing(const struct binder *b, const char *name, const char *why);

/* t is there, is of a float type (or, if codes, of one with scales) and has these dims; SY_BIND_ANY in dims stands for any
 * positive number. */
enum sy_status sy_bind_check(const struct binder *b, const struct sy_tensor *t, bool codes, int n_dims,
                             const int64_t *dims, const char *what);

/* n rows from `row` of a slice of a tensor that may hold codes, and then has scales. */
enum sy_status sy_bind_rows(struct binder *b, const struct sy_tensor *t, int64_t slice, int64_t row, int n,
                            struct sy_matrix *out);

/* The 1-D tensor of n elements. */
enum sy_status sy_bind_vector(struct binder *b, const struct sy_tensor *t, int n, const char *what,
                              const struct sy_tensor **out);

/* The matrix [n, k]; n may be SY_BIND_ANY. */
enum sy_status sy_bind_matrix(struct binder *b, const struct sy_tensor *t, int n, int k, const char *what,
                              struct sy_matrix *out);

/* name.weight and name.bias. Norms with a bias are LayerNorms; all of a model are of one kind, that of the final one, which
 * is bound first. bind_attention.c */
enum sy_status sy_bind_norm(struct binder *b, const char *name, const struct sy_tensor **weight,
                            const struct sy_tensor **bias);

/* self_attn.MODULE.bias of n, used when it is there; needed: it must be, where attention_bias is true. bind_attention.c */
enum sy_status sy_bind_bias(struct binder *b, const char *module, bool needed, int n, const struct sy_tensor **out);

/* The norms and projections of a layer. bind_attention.c */
enum sy_status sy_bind_attention(struct binder *b, int layer, struct sy_layer_sources *l);

/* The projections of a layer with multi-head latent attention. bind_mla.c */
enum sy_status sy_bind_mla(struct binder *b, const struct sy_model *model, struct sy_layer_sources *layer);

/* Experts or a dense MLP, by which tensors are there; what config.json says of the layer must agree. bind_mlp.c */
enum sy_status sy_bind_mlp(struct binder *b, int layer, struct sy_layer_sources *l);

/* The experts below `module` ("mlp", "block_sparse_moe"); l->experts is made here. bind_experts.c */
enum sy_status sy_bind_experts(struct binder *b, const char *module, struct sy_layer_sources *l);

#endif
