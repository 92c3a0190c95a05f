/* SPDX-License-Identifier: Apache-2.0
 * sampler.h - from logits to a token, and log-probabilities
 *
 * Token i of a request is drawn with a random number made from (seed, i) alone, so the same request gives the same text in
 * any batch on any number of ranks. Pure functions of one row; scratch belongs to the caller, one for each thread.
 */
#ifndef SY_ENGINE_SAMPLER_H
#define SY_ENGINE_SAMPLER_H

#include <stdint.h>

#include "engine/session.h"

struct sy_candidate {
    float logit;
    int32_t id;
};

/* [V] candidates of one thread. */
struct sy_sampler_scratch {
    struct sy_candidate *candidates;
};

/* The largest logit's id; ties go to the lowest id. NaN is never chosen unless all are NaN (then id 0). */
int32_t sy_sample_greedy(const float *logits, int vocab);

/* Draw generated token number `index` of a request: temperature, then top-k, then top-p, as the OpenAI API and Hugging Face
 * do it. */
int32_t sy_sample(const struct sy_request *request, int index, const float *logits, int vocab,
                  struct sy_sampler_scratch *scratch);

/* Uniform in [0, 1) from (seed, index): two rounds of the SplitMix64 finaliser over a counter. */
double sy_sample_uniform(uint64_t seed, uint64_t index);

/* Natural logarithm of the sum of exp(logits): subtract it from a logit to get a log-probability. In double, in order of
 * id. */
double sy_log_sum_exp(const float *logits, int vocab);

/* The n most likely tokens, most likely first, ties by id. n <= SY_TOP_LOGPROBS_MAX. */
void sy_top_tokens(const float *logits, int vocab, int n, int32_t *ids);

#endif
