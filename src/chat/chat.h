/* SPDX-License-Identifier: Apache-2.0
 * chat.h - a checkpoint's own chat template: messages in, the text that the model was trained to answer out
 *
 * Reads DIR/chat_template.jinja, or "chat_template" of DIR/tokenizer_config.json: one template, or a list of which "default"
 * is taken, and "tool_use" when tools are given (DIR/additional_chat_templates/tool_use.jinja does the same). Special
 * tokens come from tokenizer_config.json. Thread: any; an opened chat does not change.
 */
#ifndef SY_CHAT_CHAT_H
#define SY_CHAT_CHAT_H

#include <jansson.h>
#include <time.h>

#include "base/buf.h"
#include "base/status.h"

struct sy_chat;

struct sy_chat_request {
    const json_t *messages; /* array of objects */
    /* The same with the arguments of tool calls as strings, for templates that can only add them to text; NULL: none has
     * any. */
    const json_t *messages_plain;
    const json_t *tools;     /* NULL: none */
    const json_t *variables; /* more variables of the template, an object; NULL: none */
};

/* A checkpoint without a template, or with one that is not understood, opens all the same: what is wrong is told by each
 * sy_chat_render(), so that requests without a chat go on. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_chat_open(const char *dir, struct sy_chat **chat, struct sy_error *err);

/* Append the text of a conversation, with the begin of an answer, to out. It has its special tokens already. Errors:
 * SY_ERR_DATA (no template; what the template refuses, with its line and column), SY_ERR_SYSTEM. */
enum sy_status sy_chat_render(const struct sy_chat *chat, const struct sy_chat_request *request, time_t now,
                              struct sy_buf *out, struct sy_error *err);

void sy_chat_close(struct sy_chat *chat);

#endif
