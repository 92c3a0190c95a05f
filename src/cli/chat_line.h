/* SPDX-License-Identifier: Apache-2.0
 * chat_line.h - the fields of a chat in a line of a batch file
 */
#ifndef SY_CLI_CHAT_LINE_H
#define SY_CLI_CHAT_LINE_H

#include <jansson.h>

#include "base/status.h"
#include "cli/batch.h"

/* What a chat was made of; freed by sy_batch_line_fini(). */
struct sy_chat_line {
    json_t *messages;       /* contents are strings or null, arguments of tool calls objects */
    json_t *messages_plain; /* the same with arguments as strings; NULL: no message has any */
    json_t *tools;          /* NULL: none */
    json_t *variables;      /* chat_template_kwargs; NULL: none */
};

/* Whether a chat may have this field, beside those that prompts have too. */
bool sy_chat_line_knows(const char *key);

/* Take messages, tools, chat_template_kwargs and tool_choice of a body. Lists of text parts become one text, with newlines
 * between them. line->chat is made. Errors: SY_ERR_DATA with line->error_code, SY_ERR_SYSTEM. */
enum sy_status sy_chat_line_take(const char *name, const json_t *body, struct sy_batch_line *line,
                                 struct sy_error *err);

/* A chat of one message of the user. Errors: SY_ERR_DATA (not UTF-8), SY_ERR_SYSTEM. */
enum sy_status sy_chat_line_from_text(const char *text, struct sy_batch_line *line, struct sy_error *err);

void sy_chat_line_destroy(struct sy_chat_line *chat);

#endif
