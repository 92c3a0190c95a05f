/* SPDX-License-Identifier: Apache-2.0
 * anatomy.c - parameters and bytes by part
 */
#include "model/anatomy.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/bind.h"

const char *sy_part_name(enum sy_part part)
{
    static const char *const names[] = {
        [SY_PART_EMBEDDING] = "embedding", [SY_PART_ATTENTION] = "attention",   [SY_PART_ROUTER] = "router",
        [SY_PART_EXPERTS] = "experts",     [SY_PART_SHARED] = "shared experts", [SY_PART_DENSE] = "dense MLP",
        [SY_PART_NORMS] = "norms",         [SY_PART_LM_HEAD] = "lm_head",
    };

    return names[part];
}

/* ---- every source of a model, once ---- */

typedef void (*source_fn)(void *ctx, enum sy_part part, const struct sy_matrix *source, bool active);

struct visit {
    source_fn fn;
    void *ctx;
};

static void visit_source(const struct visit *v, enum sy_part part, const struct sy_matrix *source, bool active)
{
    if (source->tensor)
        v->fn(v->ctx, part, source, active);
}

static void visit_vector(const struct visit *v, enum sy_part part, const struct sy_tensor *tensor)
{
    struct sy_matrix vector = sy_matrix_vector(tensor);

    visit_source(v, part, &vector, true);
}

static void visit_mlp(const struct visit *v, enum sy_part part, const struct sy_expert_sources *x, bool active)
{
    const struct sy_matrix *sources[] = {&x->gate, &x->up, &x->down, &x->gate_bias, &x->up_bias, &x->down_bias};

    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        visit_source(v, part, sources[i], active);
}

static void visit_layer(const struct visit *v, const struct sy_model *model, const struct sy_layer_sources *l)
{
    const struct sy_tensor *norms[] = {
        l->attention_norm, l->attention_norm_bias, l->mlp_norm, l->mlp_norm_bias, l->q_norm, l->k_norm, l->q_a_norm,
        l->kv_a_norm};
    const struct sy_matrix *attention[] = {&l->q, &l->k, &l->v, &l->o, &l->q_a, &l->q_b, &l->kv_a, &l->kv_b};
    const struct sy_tensor *biases[] = {l->q_bias, l->k_bias, l->v_bias, l->o_bias, l->sinks};

    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++)
        visit_vector(v, SY_PART_NORMS, norms[i]);
    for (size_t i = 0; i < sizeof attention / sizeof *attention; i++)
        visit_source(v, SY_PART_ATTENTION, attention[i], true);
    for (size_t i = 0; i < sizeof biases / sizeof *biases; i++)
        visit_vector(v, SY_PART_ATTENTION, biases[i]);
    visit_source(v, SY_PART_ROUTER, &l->router, true);
    visit_vector(v, SY_PART_ROUTER, l->router_bias);
    visit_vector(v, SY_PART_ROUTER, l->correction);
    visit_mlp(v, SY_PART_SHARED, &l->shared, true);
    visit_source(v, SY_PART_SHARED, &l->shared_gate, true);
    visit_mlp(v, SY_PART_DENSE, &l->dense, true);
    /* All experts have one size, so it does not matter which of them a token goes to. */
    for (int e = 0; l->moe && e < model->n_experts; e++)
        visit_mlp(v, SY_PART_EXPERTS, &l->experts[e], e < model->top_k);
}

static void visit_model(const struct visit *v, const struct sy_model *model)
{
    visit_source(v, SY_PART_EMBEDDING, &model->embed, true);
    for (int i = 0; i < model->n_layers; i++)
        visit_layer(v, model, &model->layers[i]);
    visit_vector(v, SY_PART_NORMS, model->final_norm);
    visit_vector(v, SY_PART_NORMS, model->final_norm_bias);
    if (!model->tied)
        visit_source(v, SY_PART_LM_HEAD, &model->lm_head, true);
    visit_vector(v, SY_PART_LM_HEAD, model->lm_head_bias);
}

/* ---- parameters ---- */

static void add_parameters(void *ctx, enum sy_part part, const struct sy_matrix *source, bool active)
{
    struct sy_part_count *count = (struct sy_part_count *)ctx + part;
    int64_t n = (int64_t)source->n * source->k;

    count->parameters += n;
    count->active += active ? n : 0;
}

void sy_model_parameters(const struct sy_model *model, int64_t *total, int64_t *active)
{
    struct sy_part_count parts[SY_N_PARTS] = {0};

    visit_model(&(struct visit){add_parameters, parts}, model);
    *total = *active = 0;
    for (int part = 0; part < SY_N_PARTS; part++) {
        *total += parts[part].parameters;
        *active += parts[part].active;
    }
}

/* ---- bytes: a tensor counts once, however many sources lie in it ---- */

#define NO_PART 0xff
#define SCALES  0x80 /* beside the part of the matrix that they belong to */

struct owners {
    const struct sy_tensor *tensors;
    uint8_t *part; /* [n_tensors] */
};

static void mark_owner(void *ctx, enum sy_part part, const struct sy_matrix *source, bool active)
{
    struct owners *owners = ctx;

    (void)active;
    owners->part[source->tensor - owners->tensors] = (uint8_t)part;
    if (source->scales.tensor)
        owners->part[source->scales.tensor - owners->tensors] = (uint8_t)part | SCALES;
}

static void add_bytes(struct sy_part_count *count, const struct sy_tensor *tensor, bool scales)
{
    if (scales)
        count->scale_bytes += tensor->bytes;
    else
        count->bytes[tensor->dtype == SY_U8 ? SY_MXFP4 : tensor->dtype] += tensor->bytes;
}

/* Tensors that are left out for one reason are named together: by their layer or module, or, where each layer has them, by
 * the name with stars for its numbers. */
static void name_aside(const struct sy_model *model, const char *name, char *out, size_t out_bytes)
{
    static const char layers[] = "model.layers.";
    bool layer = !strncmp(name, layers, strlen(layers));
    bool inside = layer && strtoull(name + strlen(layers), NULL, 10) < (unsigned long long)model->n_layers;
    int n_dots = inside ? INT_MAX : layer ? 3 : !strncmp(name, "model.", 6) ? 2 : 1;
    size_t n = 0;

    for (const char *at = name; *at && n + 1 < out_bytes; at++) {
        if (*at == '.' && !--n_dots)
            break;
        bool number = inside && isdigit((unsigned char)*at) && at > name && (at[-1] == '.' || out[n - 1] == '*');
        if (!number)
            out[n++] = *at > 0x20 && *at < 0x7f ? *at : '?';
        else if (out[n - 1] != '*')
            out[n++] = '*';
    }
    out[n] = '\0';
}

static void set_aside(const struct sy_model *model, const struct sy_tensor *tensor, struct sy_anatomy *anatomy)
{
    const char *why = sy_bind_aside(model, tensor->name);
    struct sy_aside *aside = anatomy->aside;
    char name[sizeof aside->name];
    int i = 0;

    name_aside(model, tensor->name, name, sizeof name);
    while (i < anatomy->n_aside && strcmp(aside[i].name, name))
        i++;
    if (i == SY_ASIDE_MAX) {
        i--;
        snprintf(aside[i].name, sizeof aside[i].name, "others");
        aside[i].why = "of several kinds";
    } else if (i == anatomy->n_aside) {
        memcpy(aside[i].name, name, sizeof name);
        /* Of what matters, nothing is left out but a matrix that the embedding stands for. */
        aside[i].why = why ? why : "the embedding is used";
        anatomy->n_aside++;
    }
    aside[i].n_tensors++;
    aside[i].bytes += tensor->bytes;
}

enum sy_status sy_anatomy_count(const struct sy_model *model, const struct sy_checkpoint *ckpt,
                                struct sy_anatomy *anatomy, struct sy_error *err)
{
    size_t n_tensors;
    struct owners owners = {.tensors = sy_checkpoint_tensors(ckpt, &n_tensors)};

    *anatomy = (struct sy_anatomy){.bytes = 0};
    owners.part = malloc(n_tensors + 1);
    if (!owners.part)
        return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory to count tensors", sy_checkpoint_dir(ckpt));
    memset(owners.part, NO_PART, n_tensors + 1);
    visit_model(&(struct visit){add_parameters, anatomy->parts}, model);
    visit_model(&(struct visit){mark_owner, &owners}, model);
    for (size_t i = 0; i < n_tensors; i++) {
        const struct sy_tensor *tensor = &owners.tensors[i];
        if (owners.part[i] == NO_PART) {
            set_aside(model, tensor, anatomy);
            continue;
        }
        add_bytes(&anatomy->parts[owners.part[i] & ~SCALES], tensor, owners.part[i] & SCALES);
        add_bytes(&anatomy->all, tensor, owners.part[i] & SCALES);
        anatomy->bytes += tensor->bytes;
    }
    for (int part = 0; part < SY_N_PARTS; part++) {
        anatomy->all.parameters += anatomy->parts[part].parameters;
        anatomy->all.active += anatomy->parts[part].active;
    }
    free(owners.part);
    return SY_OK;
}
