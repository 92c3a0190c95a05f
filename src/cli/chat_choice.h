/* SPDX-License-Identifier: Apache-2.0
 * chat_choice.h - an answer in the form of /v1/chat/completions
 */
#ifndef SY_CLI_CHAT_CHOICE_H
#define SY_CLI_CHAT_CHOICE_H

#include "cli/completion.h"

/* Append the element of logprobs.content that this token gets to c->tokens. False: no memory. */
bool sy_chat_choice_note(struct sy_completion *c, const struct sy_token_event *event);

/* Append the choice object: {"index", "message", "logprobs", "finish_reason", "token_ids"}. False: no memory. */
bool sy_chat_choice_render(const struct sy_completion *c, struct sy_buf *out);

#endif
