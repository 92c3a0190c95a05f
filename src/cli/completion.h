/* SPDX-License-Identifier: Apache-2.0
 * completion.h - one request's answer, put together from token events
 *
 * Takes events in order, gives text: detokenized, cut at the first stop string, with log-probabilities and token ids
 * beside it. Text that could still turn out to be the beginning of a stop string, or half a character, is held back, so
 * what sy_completion_sure() has given out never changes. Owns its buffers (sy_completion_fini()).
 * Thread: the caller's.
 */
#ifndef SY_CLI_COMPLETION_H
#define SY_CLI_COMPLETION_H

#include "base/buf.h"
#include "cli/batch.h"
#include "engine/session.h"
#include "model/tokenizer.h"

struct sy_completion {
    const struct sy_tokenizer *tok;   /* NULL: ids only, no text */
    const struct sy_batch_line *line; /* stops, logprobs, echo, ids */
    struct sy_detokenizer detok;
    struct sy_buf text;
    size_t prompt_bytes;   /* of text: the echoed prompt; no stop string is looked for in it */
    size_t sure_bytes;     /* of text: cannot change any more */
    size_t n_chars;        /* characters of text */
    bool values_only;      /* log-probabilities as numbers only, no text (score) */
    int n_lead;            /* prompt tokens that the tokenizer put in front: they have no text */
    int n_prompt_seen, n_generated;
    struct sy_buf ids;     /* int32_t of each generated token */
    struct sy_buf values;  /* double of each reported token, NaN where there is no log-probability */
    struct sy_buf tokens, tops, offsets; /* JSON array elements with commas between them */
    bool done, stopped_by_text;
    enum sy_finish finish; /* once done */
};

/* line and tok must outlive the completion. */
void sy_completion_init(struct sy_completion *c, const struct sy_tokenizer *tok, const struct sy_batch_line *line);

/* Take the next event. When c->done turns true with c->stopped_by_text, a stop string was found: the caller cancels the
 * request, and events that still come are ignored here. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_completion_push(struct sy_completion *c, const struct sy_token_event *event, struct sy_error *err);

/* Text that is certain: grows only. */
const char *sy_completion_sure(const struct sy_completion *c, size_t *len);

/* Append the choice object of the API: {"index", "text", "logprobs", "finish_reason", "token_ids"}, for a chat with a
 * "message" in place of "text". prompt_ids [n_prompt] are named when the line asks for ids. */
enum sy_status sy_completion_render(const struct sy_completion *c, const int32_t *prompt_ids, int n_prompt,
                                    struct sy_buf *out, struct sy_error *err);

void sy_completion_fini(struct sy_completion *c);

#endif
