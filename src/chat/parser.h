/* SPDX-License-Identifier: Apache-2.0
 * parser.h - what the two halves of the parser share: statements (parser.c) and expressions (expression.c)
 *
 * Functions that parse return NULL once something went wrong; the first error stays.
 */
#ifndef SY_CHAT_PARSER_H
#define SY_CHAT_PARSER_H

#include "chat/tree.h"

struct sy_parser {
    const char *name;
    const struct sy_token *at; /* the next token; the last is SY_TOKEN_END */
    struct sy_region *region;
    int depth;   /* of expressions and statements */
    int n_loops; /* around the place, in this macro */
    bool in_macro;
    enum sy_status st;
    struct sy_error *err;
};

void *sy_parser_fail(struct sy_parser *p, const struct sy_token *token, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
struct sy_node *sy_parser_node(struct sy_parser *p, enum sy_node_kind kind, const struct sy_token *token);

/* The bytes of a token as a C string in the region. */
const char *sy_parser_name(struct sy_parser *p, const struct sy_token *token);

bool sy_parser_is_word(const struct sy_parser *p, const char *word);
bool sy_parser_skip_word(struct sy_parser *p, const char *word);
bool sy_parser_skip(struct sy_parser *p, enum sy_token_kind kind);
bool sy_parser_expect(struct sy_parser *p, enum sy_token_kind kind);

/* How messages call what stands at the place. */
const char *sy_parser_show(const struct sy_token *token, char out[48]);

/* Recursion is bounded: enter says false, with an error, when it goes too deep. */
bool sy_parser_enter(struct sy_parser *p);
void sy_parser_leave(struct sy_parser *p);

/* An expression; with_choice: `a if b else c` may stand there. */
struct sy_node *sy_parser_expression(struct sy_parser *p, bool with_choice);

/* One expression, or several with commas between them, which make a tuple. */
struct sy_node *sy_parser_tuple(struct sy_parser *p, bool with_choice);

/* Something that can be assigned to. */
struct sy_node *sy_parser_target(struct sy_parser *p, bool with_member);

/* Filters and tests behind value, which is NULL for the first filter of a block. */
struct sy_node *sy_parser_filter(struct sy_parser *p, struct sy_node *value);
struct sy_node *sy_parser_filters(struct sy_parser *p, struct sy_node *value);

#endif
