/* SPDX-License-Identifier: Apache-2.0
 * families.h - one row for each architecture: what its config.json leaves out
 *
 * A row holds defaults and nothing else. Everything that a checkpoint states, by a key or by the name or shape of a tensor,
 * is obeyed for every row, so a new family is a new row unless it brings a new piece of arithmetic.
 */
#ifndef SY_MODEL_FAMILIES_H
#define SY_MODEL_FAMILIES_H

#include <jansson.h>
#include <stdbool.h>

#include "base/status.h"
#include "kernels.h"

struct sy_family {
    const char *architecture; /* as in "architectures" */
    const char *model_type;   /* decides where "architectures" is absent */
    const char *other_type;   /* a second model_type of the same */
    enum sy_router_kind router; /* scoring_func */
    bool normalise;             /* norm_topk_prob */
    bool scale_or_normalise;    /* routed_scaling_factor only counts without norm_topk_prob */
    int group_best;             /* of a group's experts, those whose scores add up to its own */
    struct sy_glu glu;          /* swiglu_alpha, swiglu_limit */
    bool windowed;            /* sliding_window counts when use_sliding_window is absent */
    int alternating;          /* without layer_types, even layers before max_window_layers, or this where the key
                               * is absent, have the window; 0: all have it */
    int window;               /* sliding_window where the key is absent, 0: none */
    double attention_scale;   /* attention_multiplier, 0: head_dim^-0.5 */
    int top_k;                /* num_experts_per_tok */
    int max_context;          /* max_position_embeddings */
    double norm_eps;          /* rms_norm_eps */
    double rope_theta;
    double partial;           /* partial_rotary_factor, 0: 1 */
    bool rope_needed;         /* the class has angles of its own where nothing is said of them */
    int eos, bos; /* -1: none */
};

/* The row that a parsed config.json asks for by architectures[0], or by model_type where that is absent. path is for
 * messages. SY_ERR_DATA names the key that decided, its value and the supported architectures. */
enum sy_status sy_family_find(const char *path, const json_t *config, const struct sy_family **family,
                              struct sy_error *err);

#endif
