/* SPDX-License-Identifier: Apache-2.0
 * shard.c - lay out a rank's weights; loading is in load.c
 */
#include "model/shard.h"

#include <assert.h>
#include <stdlib.h>

#include "model/shard_job.h"

#define ALIGN 64

/* Jobs at most: without the layers; of a layer without its experts. */
#define DENSE_JOBS 6
#define LAYER_JOBS 20

static size_t panels_bytes(const struct sy_shard *shard, enum sy_dtype dtype, int n, int k, int n_streams)
{
    size_t panels = (size_t)(n + SY_PANEL - 1) / SY_PANEL * (size_t)n_streams;

    return panels * shard->kernels->panel_bytes(dtype, k);
}

static struct sy_shard_job *new_job(struct sy_shard *shard, bool expert, size_t bytes)
{
    struct sy_shard_job *job = &shard->jobs[shard->n_jobs++];
    size_t *used = expert ? &shard->expert_bytes : &shard->dense_bytes;

    *job = (struct sy_shard_job){.expert = expert, .offset = *used, .bytes = bytes};
    *used += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return job;
}

static void count_read(struct sy_shard *shard, bool expert, uint64_t bytes)
{
    *(expert ? &shard->expert_read_bytes : &shard->dense_read_bytes) += bytes;
}

/* The scales of a matrix of codes. */
static struct sy_shard_job *add_scales(struct sy_shard *shard, const struct sy_shard_job *codes)
{
    enum sy_dtype dtype = codes->dtype == SY_MXFP4 ? SY_U8 : SY_F32;
    size_t panels = (size_t)(codes->n + SY_PANEL - 1) / SY_PANEL * (size_t)codes->n_streams;
    size_t panel = (size_t)sy_scales_blocks(&codes->segments[0]) * SY_PANEL * sy_dtype_bytes(dtype);
    struct sy_shard_job *job = new_job(shard, codes->expert, panels * panel), placed = *job;

    *job = *codes;
    job->kind = SY_JOB_SCALES;
    job->dtype = dtype;
    job->offset = placed.offset;
    job->bytes = placed.bytes;
    for (int i = 0; i < job->n_streams * job->n_segments; i++) {
        struct sy_stretch stretch = sy_scales_stretch(&job->segments[i], 0, job->segments[i].n);
        count_read(shard, job->expert, (stretch.end - stretch.begin) / (uint64_t)job->segments[i].scales.row_step);
    }
    return job;
}

/* A matrix of panels made of n_streams streams (gate and up: 2) of stacked segments. Those of several segments lie in the
 * checkpoint as they are computed with. */
static struct sy_weight add_matrix(struct sy_shard *shard, bool expert, enum sy_dtype dtype, int n_streams,
                                   int n_segments, const struct sy_matrix *const *segments)
{
    int n = 0, k = segments[0]->k;

    for (int i = 0; i < n_segments / n_streams; i++)
        n += segments[i]->n;
    struct sy_shard_job *job = new_job(shard, expert, panels_bytes(shard, dtype, n, k, n_streams));
    job->kind = SY_JOB_PANELS;
    job->dtype = dtype;
    job->n = n;
    job->k = k;
    job->n_streams = n_streams;
    job->n_segments = n_segments / n_streams;
    for (int i = 0; i < n_segments; i++) {
        assert(n_segments == n_streams || (segments[i]->k_stride == 1 && segments[i]->row_stride == k));
        job->segments[i] = *segments[i];
        count_read(shard, expert,
                   (uint64_t)segments[i]->n * sy_dtype_array_bytes(sy_matrix_dtype(segments[i]), (size_t)k));
    }
    struct sy_weight weight = {
        .dtype = dtype, .layout = SY_LAYOUT_PANELS, .n = n, .k = k, .data = (const void *)(uintptr_t)job->offset};
    if (sy_dtype_quantised(dtype)) {
        weight.scale_block = segments[0]->scales.block_k;
        weight.scales = (const void *)(uintptr_t)add_scales(shard, job)->offset;
    }
    return weight;
}

/* Stack up to three vectors, widened to FP32; those that are missing (no tensor) are zeros. Returns NULL when all are. */
static const float *add_vectors(struct sy_shard *shard, bool expert, int n_vectors, const struct sy_matrix *vectors,
                                const int *lengths)
{
    int n = 0;
    bool any = false;

    for (int i = 0; i < n_vectors; i++) {
        n += lengths[i];
        any |= vectors[i].tensor != NULL;
    }
    if (!any)
        return NULL;
    struct sy_shard_job *job = new_job(shard, expert, (size_t)n * sizeof(float));
    job->kind = SY_JOB_VECTORS;
    job->n = n;
    job->n_segments = n_vectors;
    for (int i = 0; i < n_vectors; i++) {
        job->segments[i] = vectors[i];
        job->segments[i].n = lengths[i];
        if (!vectors[i].tensor)
            continue;
        struct sy_stretch stretch = sy_matrix_stretch(&job->segments[i], 0, lengths[i], 0, 1);
        count_read(shard, expert, stretch.end - stretch.begin);
    }
    /* Offset 0 would read as "not there": pointers carry offset + 1 until sy_shard_place(). */
    return (const float *)(uintptr_t)(job->offset + 1);
}

static const float *add_vector(struct sy_shard *shard, const struct sy_tensor *tensor, int length)
{
    struct sy_matrix vector = sy_matrix_vector(tensor);

    return add_vectors(shard, false, 1, &vector, &length);
}

/* A matrix for each head, `step` published rows from one to the next. Codes are widened: their scales would not do for a
 * transposed matrix, whose blocks may begin anywhere. */
static struct sy_weight add_heads(struct sy_shard *shard, struct sy_matrix head, int step, size_t *head_bytes)
{
    enum sy_dtype dtype = sy_dtype_quantised(sy_matrix_dtype(&head)) ? SY_F32 : shard->model->dtype;
    int64_t row_stride = head.k_stride == 1 ? head.row_stride : head.k_stride;
    struct sy_weight first = {0};

    *head_bytes = 0;
    for (int h = 0; h < shard->model->n_heads; h++, head.offset += step * row_stride, head.scales.row += step) {
        struct sy_weight w = add_matrix(shard, false, dtype, 1, 1, (const struct sy_matrix *[]){&head});
        if (h == 0)
            first = w;
        if (h == 1)
            *head_bytes = (size_t)((uintptr_t)w.data - (uintptr_t)first.data);
    }
    return first;
}

/* kv_b has for each head the rows that make its keys, then those that make its values, from the latent. The keys' are read
 * transposed: queries go through them, and meet the latent itself. */
static void lay_out_mla(struct sy_shard *shard, const struct sy_layer_sources *from, struct sy_layer_weights *to)
{
    const struct sy_mla *mla = &shard->model->mla;
    const struct sy_matrix *q = from->q_a.tensor ? &from->q_a : &from->q;
    struct sy_matrix k = from->kv_b, v = from->kv_b;
    int step = mla->qk_nope_head_dim + mla->v_head_dim;

    to->qkv = add_matrix(shard, false, sy_matrix_dtype(q), 1, 2, (const struct sy_matrix *[]){q, &from->kv_a});
    to->q_a_norm = add_vector(shard, from->q_a_norm, mla->q_lora_rank);
    to->kv_a_norm = add_vector(shard, from->kv_a_norm, mla->kv_lora_rank);
    if (mla->q_lora_rank)
        to->q_b = add_matrix(shard, false, sy_matrix_dtype(&from->q_b), 1, 1, (const struct sy_matrix *[]){&from->q_b});
    k.row_stride = from->kv_b.k_stride;
    k.k_stride = from->kv_b.row_stride;
    k.n = mla->kv_lora_rank;
    k.k = mla->qk_nope_head_dim;
    to->k_up = add_heads(shard, k, step, &to->k_up_head);
    v.offset += mla->qk_nope_head_dim * from->kv_b.row_stride;
    v.scales.row += mla->qk_nope_head_dim;
    v.n = mla->v_head_dim;
    to->v_up = add_heads(shard, v, step, &to->v_up_head);
}

static void lay_out_layer(struct sy_shard *shard, int l)
{
    const struct sy_model *model = shard->model;
    const struct sy_layer_sources *from = &model->layers[l];
    struct sy_layer_weights *to = &shard->layers[l];
    const struct sy_mla *mla = &model->mla;
    int nq = model->n_heads * model->head_dim, nkv = model->n_kv_heads * model->head_dim;
    int n_first[] = {nq, nkv, nkv}, n_latent[] = {mla->q_lora_rank ? mla->q_lora_rank : nq,
                                                 mla->kv_lora_rank + mla->qk_rope_head_dim};
    bool full = model->qk_norm == SY_QK_NORM_FULL;
    const struct sy_expert_sources *dense = from->moe ? &from->shared : &from->dense;

    to->attention_norm = add_vector(shard, from->attention_norm, model->hidden);
    to->attention_norm_bias = add_vector(shard, from->attention_norm_bias, model->hidden);
    if (mla->kv_lora_rank)
        lay_out_mla(shard, from, to);
    else
        to->qkv = add_matrix(shard, false, sy_matrix_dtype(&from->q), 1, 3,
                             (const struct sy_matrix *[]){&from->q, &from->k, &from->v});
    struct sy_matrix biases[] = {sy_matrix_vector(from->q_bias), sy_matrix_vector(from->k_bias),
                                 sy_matrix_vector(from->v_bias)};
    to->qkv.bias = mla->kv_lora_rank ? add_vectors(shard, false, 2, biases, n_latent)
                                     : add_vectors(shard, false, 3, biases, n_first);
    to->q_norm = add_vector(shard, from->q_norm, full ? nq : model->head_dim);
    to->k_norm = add_vector(shard, from->k_norm, full ? nkv : model->head_dim);
    to->o = add_matrix(shard, false, sy_matrix_dtype(&from->o), 1, 1, (const struct sy_matrix *[]){&from->o});
    to->o.bias = add_vector(shard, from->o_bias, model->hidden);
    to->sinks = add_vector(shard, from->sinks, model->n_heads);
    to->mlp_norm = add_vector(shard, from->mlp_norm, model->hidden);
    to->mlp_norm_bias = add_vector(shard, from->mlp_norm_bias, model->hidden);
    if (from->moe) {
        to->router = add_matrix(shard, false, SY_F32, 1, 1, (const struct sy_matrix *[]){&from->router});
        to->router.bias = add_vector(shard, from->router_bias, model->n_experts);
        to->correction = add_vector(shard, from->correction, model->n_experts);
    }
    if (dense->gate.tensor) {
        to->dense_gate_up = add_matrix(shard, false, sy_matrix_dtype(&dense->gate), 2, 2,
                                       (const struct sy_matrix *[]){&dense->gate, &dense->up});
        to->dense_down = add_matrix(shard, false, sy_matrix_dtype(&dense->down), 1, 1,
                                    (const struct sy_matrix *[]){&dense->down});
    }
    if (from->shared_gate.tensor)
        to->shared_gate = add_matrix(shard, false, SY_F32, 1, 1, (const struct sy_matrix *[]){&from->shared_gate});
}

static void lay_out_experts(struct sy_shard *shard, const struct sy_shard_experts *experts, int l)
{
    const struct sy_layer_sources *from = &shard->model->layers[l];

    for (int slot = 0; from->moe && slot < experts->n_slots(experts->ctx, l); slot++) {
        const struct sy_expert_sources *expert = &from->experts[experts->expert_at(experts->ctx, l, slot)];
        struct sy_expert_weights *to = &shard->experts[l * shard->max_slots + slot];
        to->gate_up = add_matrix(shard, true, sy_matrix_dtype(&expert->gate), 2, 2,
                                 (const struct sy_matrix *[]){&expert->gate, &expert->up});
        to->gate_up.bias = add_vectors(shard, true, 2, (struct sy_matrix[]){expert->gate_bias, expert->up_bias},
                                       (int[]){shard->model->expert_width, shard->model->expert_width});
        to->down = add_matrix(shard, true, sy_matrix_dtype(&expert->down), 1, 1,
                              (const struct sy_matrix *[]){&expert->down});
        to->down.bias = add_vectors(shard, true, 1, &expert->down_bias, (int[]){shard->model->hidden});
    }
}

enum sy_status sy_shard_create(const struct sy_model *model, const struct sy_kernels *kernels,
                               const struct sy_shard_experts *experts, struct sy_shard **out, struct sy_error *err)
{
    struct sy_shard *shard = calloc(1, sizeof *shard);
    size_t L = (size_t)model->n_layers;

    if (!shard)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the table of weights");
    shard->model = model;
    shard->kernels = kernels;
    shard->max_slots = experts->max_slots;
    int mla_jobs = model->mla.kv_lora_rank ? 6 + 2 * model->n_heads : 0;
    /* A matrix has two jobs where it has scales. */
    shard->max_jobs = DENSE_JOBS + model->n_layers * (LAYER_JOBS + mla_jobs + 6 * experts->max_slots);
    shard->layers = calloc(L, sizeof *shard->layers);
    shard->experts = calloc(L * (size_t)experts->max_slots + 1, sizeof *shard->experts);
    shard->jobs = calloc((size_t)shard->max_jobs, sizeof *shard->jobs);
    if (!shard->layers || !shard->experts || !shard->jobs) {
        sy_shard_destroy(shard);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the table of weights");
    }
    shard->embed = add_matrix(shard, false, sy_matrix_dtype(&model->embed), 1, 1,
                              (const struct sy_matrix *[]){&model->embed});
    for (int l = 0; l < model->n_layers; l++)
        lay_out_layer(shard, l);
    shard->final_norm = add_vector(shard, model->final_norm, model->hidden);
    shard->final_norm_bias = add_vector(shard, model->final_norm_bias, model->hidden);
    shard->lm_head = model->tied ? shard->embed
                                 : add_matrix(shard, false, sy_matrix_dtype(&model->lm_head), 1, 1,
                                              (const struct sy_matrix *[]){&model->lm_head});
    shard->lm_head.bias = add_vector(shard, model->lm_head_bias, model->vocab);
    for (int l = 0; l < model->n_layers; l++)
        lay_out_experts(shard, experts, l);
    *out = shard;
    return SY_OK;
}

static void place_vector(const float **vector, void *block)
{
    if (*vector)
        *vector = (const float *)((const char *)block + ((uintptr_t)*vector - 1));
}

static void place_weight(struct sy_weight *weight, void *block)
{
    if (weight->n)
        weight->data = (const char *)block + (uintptr_t)weight->data;
    if (weight->scale_block)
        weight->scales = (const char *)block + (uintptr_t)weight->scales;
    place_vector(&weight->bias, block);
}

void sy_shard_place(struct sy_shard *shard, void *dense, void *experts)
{
    place_weight(&shard->embed, dense);
    place_weight(&shard->lm_head, dense);
    place_vector(&shard->final_norm, dense);
    place_vector(&shard->final_norm_bias, dense);
    for (int l = 0; l < shard->model->n_layers; l++) {
        struct sy_layer_weights *layer = &shard->layers[l];
        struct sy_weight *weights[] = {&layer->qkv,  &layer->o,             &layer->q_b,
                                       &layer->k_up, &layer->v_up,          &layer->router,
                                       &layer->dense_gate_up, &layer->dense_down, &layer->shared_gate};
        const float **vectors[] = {&layer->attention_norm, &layer->attention_norm_bias, &layer->mlp_norm,
                                   &layer->mlp_norm_bias,  &layer->q_norm,              &layer->k_norm,
                                   &layer->q_a_norm,       &layer->kv_a_norm,           &layer->sinks,
                                   &layer->correction};
        for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
            place_weight(weights[i], dense);
        for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
            place_vector(vectors[i], dense);
    }
    for (int i = 0; i < shard->model->n_layers * shard->max_slots; i++) {
        place_weight(&shard->experts[i].gate_up, experts);
        place_weight(&shard->experts[i].down, experts);
    }
    for (int i = 0; i < shard->n_jobs; i++)
        shard->jobs[i].dst = (uint8_t *)(shard->jobs[i].expert ? experts : dense) + shard->jobs[i].offset;
}

void sy_shard_destroy(struct sy_shard *shard)
{
    if (!shard)
        return;
    free(shard->layers);
    free(shard->experts);
    free(shard->jobs);
    free(shard);
}
