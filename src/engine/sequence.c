/* SPDX-License-Identifier: Apache-2.0
 * sequence.c - one request on the rank that serves it
 */
#include "engine/sequence.h"

#include <stdlib.h>
#include <string.h>

struct sy_sequence *sy_sequence_create(const struct sy_request *request, int max_context)
{
    struct sy_sequence *sequence = calloc(1, sizeof *sequence);

    if (!sequence)
        return NULL;
    sequence->request = *request;
    sequence->request.prompt = NULL;
    int64_t max_tokens = (int64_t)request->n_prompt + request->max_tokens;
    sequence->max_tokens = max_tokens < max_context ? (int)max_tokens : max_context;
    sequence->tokens = malloc((size_t)sequence->max_tokens * sizeof *sequence->tokens);
    bool enough = sequence->tokens != NULL;
    for (int kind = 0; kind < SY_N_KV_KINDS; kind++) {
        struct sy_kv_pages *kv = &sequence->kv[kind];
        kv->pages = malloc((size_t)sy_kv_pages(sequence->max_tokens) * sizeof *kv->pages);
        enough = enough && kv->pages;
    }
    if (!enough) {
        sy_sequence_destroy(sequence);
        return NULL;
    }
    memcpy(sequence->tokens, request->prompt, (size_t)request->n_prompt * sizeof *sequence->tokens);
    sequence->n_tokens = request->n_prompt;
    return sequence;
}

void sy_sequence_destroy(struct sy_sequence *sequence)
{
    if (!sequence)
        return;
    free(sequence->tokens);
    for (int kind = 0; kind < SY_N_KV_KINDS; kind++)
        free(sequence->kv[kind].pages);
    free(sequence);
}
