/* SPDX-License-Identifier: Apache-2.0
 * sampler.h - from logits to a token, and log-probabilities
 *
 * Token i of a request is drawn with a random number made from (seed, i) alone, so the same request gives the same text in
 * any batch on any number of ranks. Pure functions of one row and of what the backend's scan_logits() found in it, which
 * says in which blocks of the vocabulary to look; scratch belongs to the caller, one for each thread.
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

/* The temperature that sy_sample() wants a row to be scanned with: 0 where it needs no weights of the whole vocabulary,
 * because the request is greedy or has a top-k. */
float sy_sample_scan_temperature(const struct sy_request *request, int vocab);

/* Draw generated token number `index` of a request: temperature, then top-k, then top-p, as the OpenAI API and Hugging Face
 * do it; the scan's argmax where the temperature is 0 or the largest logit is not finite. NaN is never drawn unless all are
 * NaN (then id 0). */
int32_t sy_sample(const struct sy_request *request, int index, const float *logits, int vocab,
                  const struct sy_logit_scan *scan, struct sy_sampler_scratch *scratch);

/* Uniform in [0, 1) from (seed, index): two rounds of the SplitMix64 finaliser over a counter. */
double sy_sample_uniform(uint64_t seed, uint64_t index);

/* The n most likely tokens, most likely first, ties by id, NaN last. n <= SY_TOP_LOGPROBS_MAX, n <= vocab. The scan may
 * have any temperature. */
void sy_top_tokens(const float *logits, int vocab, const struct sy_logit_scan *scan, int n, int32_t *ids);

#endif
