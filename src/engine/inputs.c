/* SPDX-License-Identifier: Apache-2.0
 * inputs.c - a batch's ids, positions and pages, where kernels can read them
 */
#include "engine/inputs.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"

#define ALIGN 16

static size_t round_up(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* Where ids, the rows of each kind and the pages begin in the copy. The first two stay where they are from step to step. */
static size_t rows_at(const struct sy_inputs_config *config, int kind)
{
    return round_up((size_t)config->max_tokens * sizeof(int32_t)) +
           (size_t)kind * (size_t)config->max_tokens * sizeof(struct sy_attention_row);
}

static size_t pages_at(const struct sy_inputs_config *config)
{
    return round_up(rows_at(config, SY_N_KV_KINDS));
}

/* Pages of all sequences of a step at most: those of layers that see everything are all the cache has; of layers with a
 * window a sequence's list goes on from its start. */
static size_t n_pages_most(const struct sy_inputs_config *config)
{
    const struct sy_kv_plan *plan = &config->cache->plan;
    size_t all = (size_t)config->max_sequences * (size_t)sy_kv_pages(config->n_positions), n = 0;

    if (plan->n_layers[SY_KV_FULL])
        n += all < (size_t)config->cache->n_pages ? all : (size_t)config->cache->n_pages;
    return plan->n_layers[SY_KV_WINDOW] ? n + all : n;
}

enum sy_status sy_inputs_init(struct sy_inputs *inputs, const struct sy_inputs_config *config, struct sy_error *err)
{
    size_t bytes = pages_at(config) + n_pages_most(config) * sizeof(int32_t);

    *inputs = (struct sy_inputs){.config = *config};
    inputs->runs = calloc(2 * (size_t)config->max_sequences, sizeof *inputs->runs);
    if (config->kernels->on_device) {
        inputs->host = config->kernels->alloc_host(bytes);
        inputs->device = config->kernels->alloc(bytes);
    }
    if (inputs->runs && (!config->kernels->on_device || (inputs->host && inputs->device)))
        return SY_OK;
    sy_inputs_fini(inputs);
    return sy_no_memory(config->kernels, bytes, "a step's positions and pages", err);
}

void sy_inputs_fini(struct sy_inputs *inputs)
{
    const struct sy_inputs_config *config = &inputs->config;
    size_t bytes = config->cache ? pages_at(config) + n_pages_most(config) * sizeof(int32_t) : 0;

    free(inputs->runs);
    if (inputs->host)
        config->kernels->free_host(inputs->host, bytes);
    if (inputs->device)
        config->kernels->free(inputs->device, bytes);
    *inputs = (struct sy_inputs){0};
}

static void add_run(struct sy_inputs *inputs, int first, int n_rows, bool decode, int n_keys)
{
    struct sy_row_run *last = inputs->n_runs ? &inputs->runs[inputs->n_runs - 1] : NULL;

    if (!n_rows)
        return;
    if (last && last->decode == decode) {
        last->n_rows += n_rows;
        last->n_keys = last->n_keys < n_keys ? n_keys : last->n_keys;
    } else {
        inputs->runs[inputs->n_runs++] = (struct sy_row_run){first, n_rows, decode, n_keys};
    }
}

static void find_runs(struct sy_inputs *inputs, const struct sy_batch *batch)
{
    inputs->n_runs = 0;
    for (int i = 0; i < batch->n_spans; i++) {
        const struct sy_span *span = &batch->spans[i];
        int n_prompt = span->sequence->request.n_prompt - span->first_position;
        int n = n_prompt < 0 ? 0 : n_prompt < span->n_rows ? n_prompt : span->n_rows;
        add_run(inputs, span->first_row, n, false, span->first_position + n);
        add_run(inputs, span->first_row + n, span->n_rows - n, true, span->first_position + span->n_rows);
    }
}

/* The rows of one kind, with the pages of their sequences behind what is there. Returns where those end. */
static size_t copy_rows(struct sy_inputs *inputs, const struct sy_batch *batch, int kind, size_t end)
{
    struct sy_attention_row *to = (struct sy_attention_row *)(inputs->host + rows_at(&inputs->config, kind));

    for (int i = 0; i < batch->n_spans; i++) {
        const struct sy_span *span = &batch->spans[i];
        size_t n = (size_t)sy_kv_pages(span->first_position + span->n_rows) * sizeof(int32_t);
        memcpy(inputs->host + end, span->sequence->kv[kind].pages, n);
        for (int row = span->first_row; row < span->first_row + span->n_rows; row++) {
            to[row] = batch->rows[kind][row];
            to[row].pages = (const int32_t *)(inputs->device + end);
        }
        end += n;
    }
    return end;
}

enum sy_status sy_inputs_set(struct sy_inputs *inputs, const struct sy_batch *batch, struct sy_error *err)
{
    const struct sy_inputs_config *config = &inputs->config;
    const struct sy_kernels *k = config->kernels;

    inputs->T = batch->T;
    find_runs(inputs, batch);
    inputs->ids = batch->ids;
    for (int kind = 0; kind < SY_N_KV_KINDS; kind++)
        inputs->rows[kind] = batch->rows[kind];
    if (!k->on_device)
        return SY_OK;
    /* Until the last step is done its inputs are being read. */
    enum sy_status st = k->queue_sync(config->queue, err);
    if (st)
        return st;
    size_t end = pages_at(config);
    memcpy(inputs->host, batch->ids, (size_t)batch->T * sizeof *batch->ids);
    inputs->ids = (const int32_t *)inputs->device;
    for (int kind = 0; kind < SY_N_KV_KINDS; kind++) {
        inputs->rows[kind] = (const struct sy_attention_row *)(inputs->device + rows_at(config, kind));
        if (config->cache->plan.n_layers[kind])
            end = copy_rows(inputs, batch, kind, end);
    }
    k->copy(config->queue, inputs->device, inputs->host, end);
    return SY_OK;
}
