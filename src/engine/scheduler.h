/* SPDX-License-Identifier: Apache-2.0
 * scheduler.h - which tokens of which sequences run in this rank's next step
 *
 * Continuous batching: every running sequence that has one token to go decodes it; the rest of the step's budget takes
 * prompt chunks, cut at multiples of prefill_chunk of their own sequence. Pages that no window reaches any more go back.
 * When pages run out the youngest sequence gives all of its own back and starts over later, with the tokens that it has
 * made (preemption by recomputation).
 *
 * LongRoPE turns all positions of a sequence that is longer than the original context by other angles. A sequence that grows
 * past it starts over in the same way, once, so that its keys are what they would be had it come with all its tokens: as
 * transformers does it (prepare_inputs_for_generation in modeling_phimoe.py), and the choice hangs on the sequence alone.
 */
#ifndef SY_ENGINE_SCHEDULER_H
#define SY_ENGINE_SCHEDULER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/kvcache.h"
#include "engine/sequence.h"
#include "kernels.h"

/* A run of consecutive positions of one sequence in this step. */
struct sy_span {
    struct sy_sequence *sequence;
    int first_row, n_rows; /* rows of the batch */
    int first_position;
    bool score_only;       /* its request generates nothing: it ends with its prompt */
};

struct sy_batch {
    int T, n_spans;
    int n_prefill, n_decode;       /* tokens of each kind, n_prefill + n_decode == T */
    int32_t *ids;                  /* [max_tokens] */
    struct sy_attention_row *rows[SY_N_KV_KINDS]; /* [max_tokens] with the pages of each kind of layer */
    struct sy_span *spans;         /* [max_sequences] */
};

struct sy_scheduler {
    struct sy_kv_cache *cache;
    int max_tokens, max_sequences, prefill_chunk;
    int short_context;            /* sy_rope_short_context() */
    struct sy_sequence **running; /* [max_sequences] in order of admission */
    int n_running;
    struct sy_sequence *waiting, *waiting_tail; /* new and preempted sequences, oldest first */
    uint64_t n_arrivals, n_preemptions;
    struct sy_batch batch;
};

enum sy_status sy_scheduler_init(struct sy_scheduler *scheduler, struct sy_kv_cache *cache, int max_tokens,
                                 int max_sequences, int prefill_chunk, int short_context, struct sy_error *err);
void sy_scheduler_fini(struct sy_scheduler *scheduler);

/* Take a sequence over. */
void sy_scheduler_add(struct sy_scheduler *scheduler, struct sy_sequence *sequence);

/* Fill scheduler->batch for the next step (T may be 0). Pages for its positions are taken. */
void sy_scheduler_plan(struct sy_scheduler *scheduler);

/* A running sequence's next token. */
void sy_scheduler_append(struct sy_scheduler *scheduler, struct sy_sequence *sequence, int32_t token);

/* A sequence by its request's id, NULL when it is not here. */
struct sy_sequence *sy_scheduler_find(const struct sy_scheduler *scheduler, uint64_t request_id);

/* Forget a sequence and free it and its pages. */
void sy_scheduler_remove(struct sy_scheduler *scheduler, struct sy_sequence *sequence);

#endif
