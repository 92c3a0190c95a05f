/* SPDX-License-Identifier: Apache-2.0
 * render.h - one rendering of a template: its state, and what the files that compute share
 *
 * Functions that return bool say false after an error, which they have put into the rendering; the first error stays.
 * Every result that has memory is in the region of the rendering.
 */
#ifndef SY_CHAT_RENDER_H
#define SY_CHAT_RENDER_H

#include <time.h>

#include "base/buf.h"
#include "chat/builtin.h"
#include "chat/tree.h"
#include "chat/value.h"

/* Nesting of calls and expressions while rendering, and of values that are shown or compared. */
#define SY_RENDER_DEPTH_MAX 500
#define SY_VALUE_DEPTH_MAX  100

struct sy_binding {
    const char *name;
    struct sy_value value;
    struct sy_binding *next;
};

struct sy_scope {
    struct sy_scope *parent;
    struct sy_binding *first;
};

struct sy_macro {
    const struct sy_node *node;
    struct sy_scope *scope; /* where it was defined */
};

struct sy_method {
    const struct sy_builtin *builtin;
    struct sy_value self;
};

/* What a for loop calls loop. */
struct sy_loop {
    const struct sy_list *items;
    size_t at;
    struct sy_value changed; /* arguments of the last loop.changed() */
};

struct sy_render {
    const char *name;
    struct sy_region region;
    const struct sy_dict *variables;
    struct sy_scope *scope;
    const struct sy_node *at; /* where errors are */
    struct sy_buf *out;
    uint64_t steps_left;
    size_t bytes_left; /* of text that may still be built or printed */
    int depth, value_depth;
    time_t now;
    enum sy_status st;
    struct sy_error *err;
};

bool sy_fail(struct sy_render *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Use up steps for looking at n bytes or elements. */
bool sy_charge(struct sy_render *r, size_t n);
void *sy_take(struct sy_render *r, size_t n);

/* Nested work on values: depth grows, or an error. */
bool sy_enter(struct sy_render *r);
void sy_leave(struct sy_render *r);

/* ---- text (text.c) ---- */

/* Append to a text that is being built. */
bool sy_build(struct sy_render *r, struct sy_buf *buf, const char *bytes, size_t len);
/* A value from a finished buffer, which is freed; good false: only free it. */
bool sy_built(struct sy_render *r, bool good, struct sy_buf *buf, struct sy_value *out);
bool sy_text_copy(struct sy_render *r, const char *bytes, size_t len, struct sy_value *out);
/* Part of a text, which shares its bytes. */
bool sy_text_part(struct sy_render *r, struct sy_value text, size_t begin, size_t end, struct sy_value *out);
size_t sy_text_chars(struct sy_value text);
bool sy_text_escape(struct sy_render *r, struct sy_value text, struct sy_value *out);
bool sy_text_is(struct sy_value value, const char *what);
/* What text[begin:end] of characters would be in bytes. */
size_t sy_text_offset(struct sy_value text, size_t n);

/* ---- showing (show.c) ---- */

/* str(value); a text is itself. */
bool sy_show(struct sy_render *r, struct sy_value value, struct sy_value *out);
bool sy_show_into(struct sy_render *r, struct sy_value value, struct sy_buf *buf);
/* The shortest decimal that brings the number back, as Python prints it. */
void sy_show_real(double real, char out[40]);
/* json.dumps */
struct sy_json_style {
    bool ascii, sort;
    const char *indent;                            /* NULL: one line */
    struct sy_value item_separator, key_separator; /* texts */
};
bool sy_dump(struct sy_render *r, struct sy_value value, const struct sy_json_style *style, struct sy_value *out);

/* ---- values (value.c) ---- */

bool sy_list_new(struct sy_render *r, enum sy_list_form form, size_t n, struct sy_list **list, struct sy_value *out);
bool sy_iterator_new(struct sy_render *r, const struct sy_list *list, struct sy_value *out);
bool sy_dict_new(struct sy_render *r, enum sy_value_kind kind, size_t cap, struct sy_value *out);
bool sy_dict_put(struct sy_render *r, struct sy_dict *dict, struct sy_value key, struct sy_value value);
bool sy_dict_get(struct sy_render *r, const struct sy_dict *dict, struct sy_value key, bool *found,
                 struct sy_value *out);
/* By a name; NULL when there is none. */
const struct sy_value *sy_dict_find(const struct sy_dict *dict, const char *name);
/* What a loop over the value goes through; an iterator is used up. */
bool sy_value_items(struct sy_render *r, struct sy_value value, const struct sy_list **items);
bool sy_value_length(struct sy_render *r, struct sy_value value, size_t *n);
bool sy_value_equal(struct sy_render *r, struct sy_value a, struct sy_value b, bool *equal);
/* *order < 0, 0, > 0; values that Python does not order are an error. */
bool sy_value_order(struct sy_render *r, struct sy_value a, struct sy_value b, int *order);

/* ---- operators (operator.c) ---- */

bool sy_binary(struct sy_render *r, enum sy_token_kind op, struct sy_value a, struct sy_value b, struct sy_value *out);
bool sy_compare(struct sy_render *r, enum sy_token_kind op, struct sy_value a, struct sy_value b, bool *out);
bool sy_contains(struct sy_render *r, struct sy_value element, struct sy_value in, bool *out);
bool sy_item(struct sy_render *r, struct sy_value value, struct sy_value key, struct sy_value *out);
bool sy_attribute(struct sy_render *r, struct sy_value value, const char *name, struct sy_value *out);
bool sy_slice(struct sy_render *r, struct sy_value value, const struct sy_value parts[3], struct sy_value *out);

/* ---- running (eval.c, run.c) ---- */

bool sy_eval(struct sy_render *r, const struct sy_node *node, struct sy_value *out);
bool sy_call(struct sy_render *r, struct sy_value what, const struct sy_args *args, struct sy_value *out);
/* Statements into a text of their own, in a scope of their own below parent. */
bool sy_run_captured(struct sy_render *r, const struct sy_node *body, struct sy_scope *scope, struct sy_value *out);
bool sy_run(struct sy_render *r, const struct sy_node *root);
struct sy_scope *sy_scope_new(struct sy_render *r, struct sy_scope *parent);
bool sy_scope_define(struct sy_render *r, struct sy_scope *scope, const char *name, struct sy_value value);

/* One of loop's attributes; *found false when there is none of the name. */
bool sy_loop_attribute(struct sy_render *r, struct sy_loop *loop, const char *name, bool *found, struct sy_value *out);

#endif
