/* SPDX-License-Identifier: Apache-2.0
 * tree.h - a parsed template
 */
#ifndef SY_CHAT_TREE_H
#define SY_CHAT_TREE_H

#include "base/status.h"
#include "chat/lexer.h"
#include "chat/region.h"
#include "chat/value.h"

/* Nesting of a template's text. */
#define SY_TREE_DEPTH_MAX 150

struct sy_builtin;

/* What the members of a node mean for each kind; "name: ..." is the text in name, lists go through next. */
enum sy_node_kind {
    /* Statements */
    SY_NODE_DATA,         /* value */
    SY_NODE_PRINT,        /* a */
    SY_NODE_IF,           /* list: branches */
    SY_NODE_BRANCH,       /* a: condition, NULL for else; body */
    SY_NODE_FOR,          /* a: target, b: sequence, c: filter or NULL; body; list: else */
    SY_NODE_SET,          /* a: target, b: value */
    SY_NODE_SET_BLOCK,    /* a: target, b: filters or NULL; body */
    SY_NODE_MACRO,        /* name; list: parameters; body */
    SY_NODE_PARAMETER,    /* name; a: default or NULL */
    SY_NODE_WITH,         /* list: SY_NODE_SET; body */
    SY_NODE_FILTER_BLOCK, /* b: filters; body */
    SY_NODE_GENERATION,   /* body */
    SY_NODE_BREAK,
    SY_NODE_CONTINUE,
    /* Expressions */
    SY_NODE_CONST,     /* value */
    SY_NODE_NAME,      /* name */
    SY_NODE_MEMBER,    /* name: of the namespace, member; target of set only */
    SY_NODE_LIST,      /* list */
    SY_NODE_TUPLE,     /* list */
    SY_NODE_DICT,      /* list: SY_NODE_PAIR */
    SY_NODE_PAIR,      /* a, b */
    SY_NODE_ATTRIBUTE, /* a, name */
    SY_NODE_ITEM,      /* a, b */
    SY_NODE_SLICE,     /* a; list: begin, end, step as SY_NODE_CONST none where left out */
    SY_NODE_CALL,      /* a; list: arguments */
    SY_NODE_KEYWORD,   /* name, a: an argument with a name */
    SY_NODE_FILTER,    /* a: value, NULL for the text of a block; builtin; list: arguments */
    SY_NODE_TEST,      /* a; builtin; list: arguments */
    SY_NODE_NEGATE,    /* a */
    SY_NODE_PLUS,      /* a */
    SY_NODE_NOT,       /* a */
    SY_NODE_AND,       /* a, b */
    SY_NODE_OR,        /* a, b */
    SY_NODE_BINARY,    /* op, a, b */
    SY_NODE_COMPARE,   /* a; list: SY_NODE_OPERAND */
    SY_NODE_OPERAND,   /* op, a */
    SY_NODE_CHOICE,    /* a: condition, b: then, c: else or NULL */
};

struct sy_node {
    enum sy_node_kind kind;
    enum sy_token_kind op;
    int line, column;
    const char *name, *member;
    struct sy_value value;
    const struct sy_builtin *builtin;
    struct sy_node *a, *b, *c, *list, *body, *next;
};

/* Tokens to statements in region; *root is the first of a list and may be NULL.
 * Errors: SY_ERR_DATA "name:line:column: ...", SY_ERR_SYSTEM. */
enum sy_status sy_tree_parse(const char *name, const struct sy_tokens *tokens, struct sy_region *region,
                             struct sy_node **root, struct sy_error *err);

#endif
