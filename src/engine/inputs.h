/* SPDX-License-Identifier: Apache-2.0
 * inputs.h - what kernels read of a batch: token ids, and where each row stands in its sequence
 *
 * On a CPU that is the scheduler's own memory. A GPU gets a copy of it in one piece at the start of a step, with the page
 * numbers of each sequence behind it.
 * Rows are told apart by how attention takes them: those of prompts, and those of generated tokens, which come one by one
 * and, after a preemption, several at once (DESIGN 3.2).
 */
#ifndef SY_ENGINE_INPUTS_H
#define SY_ENGINE_INPUTS_H

#include "engine/kvcache.h"
#include "engine/scheduler.h"
#include "kernels.h"

struct sy_inputs_config {
    const struct sy_kernels *kernels;
    struct sy_queue *queue;
    const struct sy_kv_cache *cache;
    int max_tokens, max_sequences; /* of a step */
    int n_positions;               /* that a sequence can reach */
};

/* Rows of one kind that stand together. */
struct sy_row_run {
    int first, n_rows;
    bool decode;
    int n_keys; /* that the row with most of them sees, without a window */
};

struct sy_inputs {
    struct sy_inputs_config config;
    uint8_t *host, *device; /* the copy, and where it goes; NULL on a CPU */
    int T;
    const int32_t *ids;                                 /* [T] */
    const struct sy_attention_row *rows[SY_N_KV_KINDS]; /* [T] */
    struct sy_row_run *runs;                            /* [2 max_sequences] in order of rows */
    int n_runs;
};

/* Errors: SY_ERR_SYSTEM. */
enum sy_status sy_inputs_init(struct sy_inputs *inputs, const struct sy_inputs_config *config, struct sy_error *err);
void sy_inputs_fini(struct sy_inputs *inputs);

/* Take a batch over. Errors: as the backend's queue_sync(). */
enum sy_status sy_inputs_set(struct sy_inputs *inputs, const struct sy_batch *batch, struct sy_error *err);

#endif
