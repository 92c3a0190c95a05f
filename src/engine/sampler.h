/* SPDX-License-Identifier: Apache-2.0
 * sampler.h - from logits to a token, and log-probabilities
 *
 * Token i of a request is drawn with a random number made from (seed, i) alone, so the same request gives the same text in
 * any batch on any number of ranks. Pure functions of one row and of what the backend's scan_logits() found in it, which
 * says in which blocks of the vocabulary to look; scratch belongs to the caller, one for each thread.
 * A row's logits may be on a device. Then pick_logits() brings the few that are looked at, the token drawn is the same, and
 * where those few are not enough, which is rare, all of them have to be brought.
 */
#ifndef SY_ENGINE_SAMPLER_H
#define SY_ENGINE_SAMPLER_H

#include <stdint.h>

#include "engine/session.h"

struct sy_candidate {
    float logit;
    int32_t id;
};

/* A row of logits as far as it is known. */
struct sy_logit_row {
    int vocab;
    const struct sy_logit_scan *scan; /* without block_max and block_weight where logits is NULL */
    const float *logits;              /* [vocab]; NULL: on a device, of which these were picked: */
    const struct sy_logit_pick *draw; /* as sy_sample_pick() asks; NULL where it asks nothing */
    const struct sy_logit_pick *top;  /* SY_PICK_TOP, of as many as are asked of sy_top_tokens() */
};

/* More of the row is needed than was picked. */
#define SY_LOGITS_MISSING (-1)

/* [V] candidates of one thread. */
struct sy_sampler_scratch {
    struct sy_candidate *candidates;
};

/* The temperature that sy_sample() wants a row to be scanned with: 0 where it needs no weights of the whole vocabulary,
 * because the request is greedy or has a top-k. */
float sy_sample_scan_temperature(const struct sy_request *request, int vocab);

/* What to pick of a row for drawing generated token number `index`: kind, n and share. False where the scan is enough. */
bool sy_sample_pick(const struct sy_request *request, int index, int vocab, struct sy_logit_pick *pick);

/* Draw generated token number `index` of a request: temperature, then top-k, then top-p, as the OpenAI API and Hugging Face
 * do it; the scan's argmax where the temperature is 0 or the largest logit is not finite. NaN is never drawn unless all are
 * NaN (then id 0). May be SY_LOGITS_MISSING. */
int32_t sy_sample(const struct sy_request *request, int index, const struct sy_logit_row *row,
                  struct sy_sampler_scratch *scratch);

/* Uniform in [0, 1) from (seed, index): two rounds of the SplitMix64 finaliser over a counter. */
double sy_sample_uniform(uint64_t seed, uint64_t index);

/* The n most likely tokens, most likely first, ties by id, NaN last, and their logits (NULL: not wanted). n <=
 * SY_TOP_LOGPROBS_MAX, n <= vocab. The scan may have any temperature. False: more of the row is needed than was picked. */
bool sy_top_tokens(const struct sy_logit_row *row, int n, int32_t *ids, float *logits);

/* The logit of a token that was drawn from the row. */
float sy_drawn_logit(const struct sy_logit_row *row, int32_t token);

#endif
