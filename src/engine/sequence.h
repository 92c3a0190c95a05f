/* SPDX-License-Identifier: Apache-2.0
 * sequence.h - one request on the rank that serves it: tokens known, positions computed, pages held
 */
#ifndef SY_ENGINE_SEQUENCE_H
#define SY_ENGINE_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/kvcache.h"
#include "engine/session.h"

/* Pages of one kind. Those before `begin` have been given back. */
struct sy_kv_pages {
    int32_t *pages; /* [pages for max_tokens], of which begin .. end - 1 are held */
    int begin, end;
};

struct sy_sequence {
    struct sy_request request; /* prompt is NULL: the tokens are in `tokens` */
    int32_t *tokens;           /* [max_tokens] prompt, then what was generated */
    int n_tokens, max_tokens;
    int n_computed;  /* positions whose keys and values are in the cache */
    int n_reported;  /* positions whose logits have been used; a preempted sequence does not report them twice */
    int n_echoed;    /* prompt tokens reported without log-probabilities */
    struct sy_kv_pages kv[SY_N_KV_KINDS];
    uint64_t arrival; /* order of admission; the youngest is preempted first */
    struct sy_sequence *next;
};

/* A sequence for a request (its prompt is copied). max_tokens: prompt and generated tokens, at most the model's context.
 * Returns NULL when there is no memory. */
struct sy_sequence *sy_sequence_create(const struct sy_request *request, int max_context);
void sy_sequence_destroy(struct sy_sequence *sequence);

#endif
