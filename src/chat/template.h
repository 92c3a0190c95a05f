/* SPDX-License-Identifier: Apache-2.0
 * template.h - a chat template: Jinja2 text in, rendered text out
 *
 *   text ─> lexer ─> parser ─> tree (once)      tree + variables ─> values ─> text (each time)
 *
 * The language is Jinja2 3.1 as Hugging Face sets it up for chat templates: immutable sandbox, trim_blocks,
 * lstrip_blocks, loop controls, `generation` blocks, and the functions raise_exception and strftime_now. What is not
 * supported (inheritance, includes, call blocks, recursive loops, some filters) is refused with line and column.
 * Templates and variables are hostile: steps, depth, memory and output have limits. A template does not change after
 * it was parsed, so threads may share it.
 * Source: jinja.palletsprojects.com/en/3.1.x/templates, and transformers/utils/chat_template_utils.py.
 */
#ifndef SY_CHAT_TEMPLATE_H
#define SY_CHAT_TEMPLATE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/buf.h"
#include "base/status.h"

#define SY_TEMPLATE_BYTES_MAX ((size_t)1 << 20)

struct sy_template;

/* Limits of one rendering. A step is one node of the tree, or some bytes of text that are looked at or moved. */
struct sy_template_limits {
    uint64_t steps;
    size_t memory_bytes, out_bytes;
};

extern const struct sy_template_limits sy_template_limits;

/* Parse len bytes; name stands before messages. Errors: SY_ERR_DATA "name:line:column: ...", SY_ERR_SYSTEM. */
enum sy_status sy_template_parse(const char *name, const char *text, size_t len, struct sy_template **tmpl,
                                 struct sy_error *err);

/* Append the template rendered with the members of variables (an object; not changed) to out. now is the time that
 * strftime_now shows. Errors: as above, with the message of raise_exception where the template calls it; out is as it
 * was then. */
enum sy_status sy_template_render(const struct sy_template *tmpl, const json_t *variables,
                                  const struct sy_template_limits *limits, time_t now, struct sy_buf *out,
                                  struct sy_error *err);

void sy_template_destroy(struct sy_template *tmpl);

#endif
