/* SPDX-License-Identifier: Apache-2.0
 * forward.c - a batch through the layers
 */
#include "engine/forward.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/range.h"
#include "engine/attention.h"

/* Outputs of a layer's first projections. */
static int qkv_width(const struct sy_model *model)
{
    const struct sy_mla *mla = &model->mla;
    int nq = model->n_heads * model->head_dim;

    if (mla->kv_lora_rank)
        return (mla->q_lora_rank ? mla->q_lora_rank : nq) + mla->kv_lora_rank + mla->qk_rope_head_dim;
    return nq + 2 * model->n_kv_heads * model->head_dim;
}

/* Give every buffer its place; without arenas only add the sizes up. */
static void lay_out(struct sy_forward *forward, struct sy_arena *arenas, size_t total[SY_N_PLACES])
{
    const struct sy_model *model = forward->config.model;
    size_t T = (size_t)forward->config.max_tokens, D = (size_t)model->hidden;
    size_t element = sy_dtype_bytes(forward->config.rows), n_blocks = (size_t)sy_logit_blocks(model->vocab);
    const struct sy_mla *mla = &model->mla;
    size_t nq = (size_t)model->n_heads * (size_t)model->head_dim, V = (size_t)model->vocab;
    size_t v_dim = (size_t)(mla->kv_lora_rank ? mla->v_head_dim : model->head_dim);
    size_t M = !mla->kv_lora_rank ? 0 : T < SY_MLA_ROWS ? T : SY_MLA_ROWS;
    bool apart = forward->config.kernels->on_device;
    size_t n_picks = sy_forward_picks(forward) ? 2 * SY_LOGIT_ROWS : 0;
    enum sy_place found = n_picks ? SY_PLACE_DEVICE : SY_PLACE_HOST;

    total[SY_PLACE_DEVICE] = total[SY_PLACE_HOST] = 0;
#define TAKE_AT(place, field, bytes) \
    (total[place] += sy_arena_round((bytes)), (field) = arenas ? sy_arena_take(&arenas[place], (bytes)) : NULL)
#define TAKE_BYTES(field, bytes) TAKE_AT(SY_PLACE_DEVICE, field, bytes)
#define TAKE(field, n)           TAKE_BYTES(field, (n) * sizeof *(field))
#define TAKE_HOST(field, n)      TAKE_AT(SY_PLACE_HOST, field, (n) * sizeof *(field))
    TAKE(forward->x, T * D);
    TAKE(forward->h, T * D);
    TAKE(forward->qkv, T * (size_t)qkv_width(model));
    TAKE_BYTES(forward->h_rows, T * D * element);
    TAKE_BYTES(forward->context, T * (size_t)model->n_heads * v_dim * element);
    TAKE_BYTES(forward->mla.q_a, T * (size_t)mla->q_lora_rank * element);
    TAKE(forward->mla.q, mla->q_lora_rank ? T * nq : 0);
    TAKE_BYTES(forward->mla.q_rows, M * (mla->q_lora_rank ? nq : (size_t)qkv_width(model)) * element);
    TAKE(forward->mla.q_latent, M * (size_t)(model->n_heads * (mla->kv_lora_rank + mla->qk_rope_head_dim)));
    TAKE_BYTES(forward->mla.latent, M * (size_t)(model->n_heads * mla->kv_lora_rank) * element);
    TAKE(forward->delta, model->dense_width || model->residual_scale != 1 ? T * D : 0);
    TAKE_BYTES(forward->act, T * (size_t)model->dense_width * element);
    TAKE(forward->cos_sin, sy_rope_rows(&model->rope, forward->config.n_positions) * (size_t)model->rope.rotary_dim);
    TAKE(forward->logit_rows, SY_LOGIT_ROWS * D);
    TAKE_BYTES(forward->logit_h, SY_LOGIT_ROWS * D * sy_dtype_bytes(forward->config.logit_rows));
    TAKE(forward->device_logits, SY_LOGIT_ROWS * V);
    TAKE_HOST(forward->logits, apart ? SY_LOGIT_ROWS * V : 0);
    TAKE_HOST(forward->shown, apart && forward->config.on_hidden ? T * D : 0);
    TAKE_HOST(forward->logit_index, SY_LOGIT_ROWS);
    TAKE_HOST(forward->scans, SY_LOGIT_ROWS);
    TAKE_AT(found, forward->block_max, SY_LOGIT_ROWS * n_blocks * sizeof *forward->block_max);
    TAKE_AT(found, forward->block_sums, 2 * SY_LOGIT_ROWS * n_blocks * sizeof *forward->block_sums);
    TAKE_HOST(forward->picks, n_picks);
    TAKE_HOST(forward->pick_ids, n_picks * SY_PICK_ROOM);
    TAKE_HOST(forward->pick_logits, n_picks * SY_PICK_ROOM);
    TAKE_HOST(forward->row_max, n_picks ? n_blocks : 0);
    TAKE_HOST(forward->row_sums, n_picks ? 2 * n_blocks : 0);
#undef TAKE_HOST
#undef TAKE
#undef TAKE_BYTES
#undef TAKE_AT
    if (!apart)
        forward->logits = forward->device_logits;
    if (!apart || !forward->config.on_hidden)
        forward->shown = NULL;
}

size_t sy_forward_bytes(const struct sy_forward_config *config)
{
    struct sy_forward forward = {.config = *config};
    size_t total[SY_N_PLACES];

    lay_out(&forward, NULL, total);
    return total[SY_PLACE_DEVICE] + total[SY_PLACE_HOST];
}

/* The table of angles is made by the host. */
static enum sy_status make_angles(struct sy_forward *forward, struct sy_error *err)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_rope *rope = &config->model->rope;
    size_t bytes = sy_rope_rows(rope, config->n_positions) * (size_t)rope->rotary_dim * sizeof(float);

    if (!config->kernels->on_device) {
        sy_rope_table(rope, config->n_positions, forward->cos_sin);
        return SY_OK;
    }
    float *table = malloc(bytes + 1);
    if (!table)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %zu bytes of angles", bytes);
    sy_rope_table(rope, config->n_positions, table);
    config->kernels->copy(config->queue, forward->cos_sin, table, bytes);
    enum sy_status st = config->kernels->queue_sync(config->queue, err);
    free(table);
    return st;
}

/* Where scans and picks put what they find. */
static void place_found(struct sy_forward *forward)
{
    size_t n_blocks = (size_t)sy_logit_blocks(forward->config.model->vocab);

    for (size_t i = 0; i < SY_LOGIT_ROWS; i++) {
        forward->scans[i].block_max = forward->block_max + i * n_blocks;
        forward->scans[i].block_weight = forward->block_sums + 2 * i * n_blocks;
        forward->scans[i].block_exp = forward->scans[i].block_weight + n_blocks;
    }
    for (size_t i = 0; i < 2 * SY_LOGIT_ROWS && sy_forward_picks(forward); i++) {
        forward->picks[i].room = SY_PICK_ROOM;
        forward->picks[i].ids = forward->pick_ids + i * SY_PICK_ROOM;
        forward->picks[i].logits = forward->pick_logits + i * SY_PICK_ROOM;
    }
}

enum sy_status sy_forward_init(struct sy_forward *forward, const struct sy_forward_config *config, struct sy_error *err)
{
    size_t total[SY_N_PLACES];

    *forward = (struct sy_forward){.config = *config};
    struct sy_inputs_config inputs = {.kernels = config->kernels,
                                      .queue = config->queue,
                                      .cache = config->cache,
                                      .max_tokens = config->max_tokens,
                                      .max_sequences = config->max_sequences,
                                      .n_positions = config->n_positions};
    lay_out(forward, NULL, total);
    enum sy_status st = sy_arenas_init(forward->arenas, config->kernels, total, err);
    if (!st)
        st = sy_inputs_init(&forward->inputs, &inputs, err);
    if (!st && config->kernels->record)
        st = sy_replay_init(&forward->replay, config->model->n_layers, err);
    if (st)
        return st;
    lay_out(forward, forward->arenas, total);
    place_found(forward);
    return make_angles(forward, err);
}

void sy_forward_fini(struct sy_forward *forward)
{
    sy_inputs_fini(&forward->inputs);
    if (forward->config.kernels)
        sy_replay_fini(&forward->replay, forward->config.kernels);
    if (forward->config.kernels)
        sy_arenas_fini(forward->arenas, forward->config.kernels);
    *forward = (struct sy_forward){0};
}

void sy_forward_add_scaled(struct sy_forward *forward, int T)
{
    const struct sy_forward_config *config = &forward->config;
    int D = config->model->hidden;

    if (config->model->residual_scale != 1)
        config->kernels->scale(config->queue, forward->delta, (size_t)D, T, D, config->model->residual_scale);
    config->kernels->add(config->queue, forward->x, forward->delta, T, D);
}

void sy_forward_norm(const struct sy_forward *forward, const float *x, int n_rows, const float *weight,
                     const float *bias, void *y, enum sy_dtype y_dtype)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_model *model = config->model;
    size_t D = (size_t)model->hidden;

    if (model->norm == SY_NORM_LAYER)
        config->kernels->layernorm(config->queue, x, D, n_rows, model->hidden, weight, bias, model->norm_eps, y,
                                   y_dtype, D);
    else
        config->kernels->rmsnorm(config->queue, x, D, n_rows, 1, model->hidden, weight, model->norm_eps, y, y_dtype, D);
}

/* x += experts of the rows, for which the layer was asked */
static enum sy_status run_moe(struct sy_forward *forward, int l, int T, struct sy_error *err)
{
    const struct sy_forward_config *config = &forward->config;
    bool direct = config->model->residual_scale == 1;
    float *to = direct ? forward->x : forward->delta;

    if (!direct)
        config->kernels->clear(config->queue, to, (size_t)T * (size_t)config->model->hidden * sizeof *to);
    enum sy_status st = sy_moe_answer(config->moe, l, &config->shard->layers[l], forward->h, T, to, err);
    if (!st && !direct)
        sy_forward_add_scaled(forward, T);
    return st;
}

/* x += dense MLP of the rows: an expert that every row goes to. */
static void run_dense(struct sy_forward *forward, int T, const struct sy_layer_weights *weights)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_kernels *k = config->kernels;
    struct sy_tile tile = {&weights->dense_gate_up, &weights->dense_down, 0, T};

    SY_RANGE("dense MLP");
    k->expert_gate_up(config->queue, &tile, 1, forward->h_rows, config->rows, &config->model->glu, forward->act);
    k->expert_down(config->queue, &tile, 1, forward->act, config->rows, forward->delta, NULL, SY_F32);
    sy_forward_add_scaled(forward, T);
}

static void count(struct sy_forward_work *work, const struct sy_batch *batch)
{
    work->n_rows += (uint64_t)batch->T;
    for (int i = 0; i < batch->n_spans; i++) {
        uint64_t first = (uint64_t)batch->spans[i].first_position, n = (uint64_t)batch->spans[i].n_rows;
        work->n_keys += n * first + n * (n + 1) / 2;
        work->n_cached += first + n;
    }
}

/* Show rows [T, D] of requests that are looked into. */
static enum sy_status show_hidden(const struct sy_forward *forward, const struct sy_batch *batch, int layer,
                                  const float *rows, struct sy_error *err)
{
    const struct sy_forward_config *config = &forward->config;
    int D = config->model->hidden;

    if (forward->shown) {
        config->kernels->copy(config->queue, forward->shown, rows, (size_t)batch->T * (size_t)D * sizeof *rows);
        rows = forward->shown;
    }
    enum sy_status st = sy_moe_wait(config->moe, err);
    if (!st)
        st = config->kernels->queue_sync(config->queue, err);
    for (int s = 0; s < batch->n_spans && !st; s++) {
        const struct sy_span *span = &batch->spans[s];
        const struct sy_request *request = &span->sequence->request;
        int shown = span->sequence->n_reported - span->first_position;
        for (int i = shown > 0 ? shown : 0; i < span->n_rows && request->keep_logits && !st; i++)
            st = config->on_hidden(config->ctx, request->id, span->first_position + i, layer,
                                   rows + (size_t)(span->first_row + i) * (size_t)D, D, err);
    }
    return st;
}

/* The final norm is taken here for all rows and in FP32, since sy_forward_logits() takes it for few, in config.logit_rows. */
static enum sy_status show_final(struct sy_forward *forward, const struct sy_batch *batch, struct sy_error *err)
{
    const struct sy_forward_config *config = &forward->config;

    sy_forward_norm(forward, forward->x, batch->T, config->shard->final_norm, config->shard->final_norm_bias,
                    forward->h, SY_F32);
    return show_hidden(forward, batch, config->model->n_layers, forward->h, err);
}

/* x += attention of the rows; the rows for the MLP. */
static void run_attention(struct sy_forward *forward, int l, int T)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_model *model = config->model;
    const struct sy_layer_weights *weights = &config->shard->layers[l];
    bool moe = model->layers[l].moe;

    sy_forward_norm(forward, forward->x, T, weights->attention_norm, weights->attention_norm_bias, forward->h_rows,
                    config->rows);
    if (model->mla.kv_lora_rank)
        sy_mla_run(forward, l, 0, model->n_heads);
    else
        sy_attention_run(forward, l, 0, model->n_heads);
    sy_forward_norm(forward, forward->x, T, weights->mlp_norm, weights->mlp_norm_bias,
                    moe ? forward->h : forward->h_rows, moe ? SY_F32 : config->rows);
}

/* The layer from `first` on before whose end the host must see what its router chose; n_layers: none. */
static int part_end(const struct sy_forward *forward, int first)
{
    const struct sy_model *model = forward->config.model;
    int l = first;

    if (sy_moe_records(forward->config.moe))
        return model->n_layers;
    while (l < model->n_layers && !model->layers[l].moe)
        l++;
    return l;
}

/* Layers from `first` on, the first with the embedding, and of layer `end`, if there is one, all before the exchange. */
static enum sy_status run_part(struct sy_forward *forward, const struct sy_batch *batch, int first, int end,
                               struct sy_error *err)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_model *model = config->model;
    const struct sy_kernels *k = config->kernels;
    int T = batch->T;

    if (!first)
        k->embed(config->queue, &config->shard->embed, forward->inputs.ids, T, forward->x);
    if (!first && model->embedding_scale != 1)
        k->scale(config->queue, forward->x, (size_t)model->hidden, T, model->hidden, model->embedding_scale);
    for (int l = first; l <= end && l < model->n_layers; l++) {
        enum sy_status st = config->on_hidden ? show_hidden(forward, batch, l, forward->x, err) : SY_OK;
        if (st)
            return st;
        int64_t begin_ns = sy_clock_ns();
        run_attention(forward, l, T);
        int64_t mlp_ns = sy_clock_ns();
        forward->attention_ns += mlp_ns - begin_ns;
        if (model->layers[l].moe) {
            sy_moe_ask(config->moe, &config->shard->layers[l], forward->h, T);
            if (l < end && (st = run_moe(forward, l, T, err)))
                return st;
        } else {
            run_dense(forward, T, &config->shard->layers[l]);
            forward->dense_ns += sy_clock_ns() - mlp_ns;
        }
    }
    return SY_OK;
}

/* The step is of generated tokens alone, and nobody looks into it. */
static bool may_replay(const struct sy_forward *forward)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_inputs *inputs = &forward->inputs;

    return config->kernels->record && !config->on_hidden && inputs->n_runs == 1 && inputs->runs[0].decode &&
           inputs->T <= SY_REPLAY_ROWS_MAX;
}

/* run_part(), recorded unless it has been, and replayed. */
static enum sy_status replay_part(struct sy_forward *forward, const struct sy_batch *batch, int first, int end,
                                  struct sy_replay_part *part, struct sy_error *err)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_kernels *k = config->kernels;
    uint64_t pairs = config->moe->work.n_pairs;

    if (!part->recording && k->record(config->queue)) {
        enum sy_status st = run_part(forward, batch, first, end, err);
        part->recording = k->record_end(config->queue);
        part->n_pairs = config->moe->work.n_pairs - pairs;
        config->moe->work.n_pairs = pairs;
        if (st)
            return st;
    }
    if (!part->recording)
        return run_part(forward, batch, first, end, err);
    SY_RANGE("replay");
    int64_t begin_ns = sy_clock_ns();
    k->replay(config->queue, part->recording);
    config->moe->work.n_pairs += part->n_pairs;
    forward->attention_ns += sy_clock_ns() - begin_ns;
    return SY_OK;
}

/* From ids to the final residual stream. */
enum sy_status sy_forward_run(struct sy_forward *forward, const struct sy_batch *batch, struct sy_error *err)
{
    const struct sy_forward_config *config = &forward->config;
    int n_layers = config->model->n_layers;
    struct sy_replay_step *step = NULL;
    enum sy_status st = sy_inputs_set(&forward->inputs, batch, err);

    if (!st)
        st = sy_moe_begin_step(forward->config.moe, batch->T, err);
    if (st)
        return st;
    count(&forward->work, batch);
    if (may_replay(forward)) {
        struct sy_row_run *run = &forward->inputs.runs[0];
        run->n_keys = sy_replay_keys(run->n_keys);
        step = sy_replay_step(&forward->replay, config->kernels, batch->T, run->n_keys, sy_moe_records(config->moe));
    }
    for (int first = 0, end; first < n_layers; first = end + 1) {
        end = part_end(forward, first);
        st = step ? replay_part(forward, batch, first, end, &step->parts[first], err)
                  : run_part(forward, batch, first, end, err);
        if (!st && end < n_layers)
            st = run_moe(forward, end, batch->T, err);
        if (st)
            return st;
    }
    st = sy_moe_wait(config->moe, err);
    return !st && config->on_hidden ? show_final(forward, batch, err) : st;
}
