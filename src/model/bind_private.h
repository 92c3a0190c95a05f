/* SPDX-License-Identifier: Apache-2.0
 * bind_private.h - what the files of binding share (private to bind.c and bind_mla.c)
 */
#ifndef SY_MODEL_BIND_PRIVATE_H
#define SY_MODEL_BIND_PRIVATE_H

#include "model/model.h"

struct binder;

/* The vector of n, or the matrix [n, k], that a layer has under a name such as "self_attn.kv_b_proj.weight". `what` says
 * where the expected numbers come from. Errors: as sy_model_bind(). */
enum sy_status sy_bind_vector(struct binder *b, const char *name, int n, const char *what,
                              const struct sy_tensor **out);
enum sy_status sy_bind_matrix(struct binder *b, const char *name, int n, int k, const char *what,
                              struct sy_source *out);

/* The projections of a layer with multi-head latent attention. bind_mla.c */
enum sy_status sy_bind_mla(struct binder *b, const struct sy_model *model, struct sy_layer_sources *layer);

#endif
