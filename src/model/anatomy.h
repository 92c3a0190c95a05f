/* SPDX-License-Identifier: Apache-2.0
 * anatomy.h - what a checkpoint consists of: parameters and bytes by part of the model and by type
 *
 * Counted from the table of tensors alone. An anatomy is plain data and owns nothing; names and reasons are copies or
 * constants.
 */
#ifndef SY_MODEL_ANATOMY_H
#define SY_MODEL_ANATOMY_H

#include <stdint.h>

#include "model/model.h"

enum sy_part {
    SY_PART_EMBEDDING, /* and the output projection, where it is the same matrix */
    SY_PART_ATTENTION,
    SY_PART_ROUTER,
    SY_PART_EXPERTS,
    SY_PART_SHARED, /* experts that every token goes to, and what weighs them */
    SY_PART_DENSE,  /* MLPs of layers without experts */
    SY_PART_NORMS,
    SY_PART_LM_HEAD,
    SY_N_PARTS,
};

const char *sy_part_name(enum sy_part part);

struct sy_part_count {
    int64_t parameters,
        active; /* elements; of codes too, which may lie two in a byte. active: those that a token uses */
    uint64_t bytes[SY_N_DTYPES]; /* in the files, of elements of a type; MXFP4 counts as that */
    uint64_t scale_bytes;        /* of the scales of codes */
};

/* Tensors that are there and not loaded. */
struct sy_aside {
    char name[96];   /* what they have in common: "model.layers.61", "model.layers.*.self_attn.rotary_emb.inv_freq" */
    const char *why; /* a constant */
    int n_tensors;
    uint64_t bytes;
};

#define SY_ASIDE_MAX 8

struct sy_anatomy {
    struct sy_part_count parts[SY_N_PARTS];
    struct sy_part_count all;
    uint64_t bytes; /* of every tensor that is loaded: all's bytes and scale_bytes together */
    int n_aside;    /* the last of SY_ASIDE_MAX stands for all that come after it */
    struct sy_aside aside[SY_ASIDE_MAX];
};

/* ckpt is the model's. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_anatomy_count(const struct sy_model *model, const struct sy_checkpoint *ckpt,
                                struct sy_anatomy *anatomy, struct sy_error *err);

#endif
