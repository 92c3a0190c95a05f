/* SPDX-License-Identifier: Apache-2.0
 * methods.h - methods of strings that filters use too
 *
 * All have the form of a builtin: self is a text, and arguments are in order.
 */
#ifndef SY_CHAT_METHODS_H
#define SY_CHAT_METHODS_H

#include "chat/builtin.h"

/* How letters are changed: title_words is Jinja2's filter, title is Python's method. */
enum sy_case { SY_CASE_UPPER, SY_CASE_LOWER, SY_CASE_TITLE, SY_CASE_TITLE_WORDS, SY_CASE_CAPITALIZE, SY_CASE_SWAP };

bool sy_text_case(struct sy_render *r, struct sy_value text, enum sy_case how, struct sy_value *out);

/* chars: the characters to take off, or absent for white space. */
bool sy_text_strip(struct sy_render *r, struct sy_value text, struct sy_value chars, bool left, bool right,
                   struct sy_value *out);

/* times < 0: everywhere. */
bool sy_text_replace(struct sy_render *r, struct sy_value text, struct sy_value old, struct sy_value new, int64_t times,
                     struct sy_value *out);

/* The next line of text from *at on, without its end unless keep_ends; false when there is none. */
bool sy_text_line(const struct sy_text *text, size_t *at, bool keep_ends, size_t *begin, size_t *end);

/* Elements as they are shown, with separator between them. */
bool sy_text_join(struct sy_render *r, struct sy_value separator, const struct sy_list *items, struct sy_value *out);

#endif
