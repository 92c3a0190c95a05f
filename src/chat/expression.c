/* SPDX-License-Identifier: Apache-2.0
 * expression.c - expressions of a template, from the loosest binding to the tightest
 *
 * Source: the grammar of jinja2/parser.py; filters and tests bind tighter than every operator.
 */
#include <string.h>

#include "chat/builtin.h"
#include "chat/parser.h"

static struct sy_node *pair(struct sy_parser *p, enum sy_node_kind kind, const struct sy_token *token,
                            struct sy_node *a, struct sy_node *b)
{
    struct sy_node *node = sy_parser_node(p, kind, token);

    if (!node)
        return NULL;
    node->a = a;
    node->b = b;
    node->op = token->kind;
    return node;
}

static struct sy_node *constant(struct sy_parser *p, const struct sy_token *token, struct sy_value value)
{
    struct sy_node *node = sy_parser_node(p, SY_NODE_CONST, token);

    if (node)
        node->value = value;
    return node;
}

/* Strings beside each other are one. */
static struct sy_node *parse_strings(struct sy_parser *p)
{
    const struct sy_token *first = p->at;
    struct sy_text *text = sy_region_take(p->region, sizeof *text);
    size_t len = 0;

    while (p->at->kind == SY_TOKEN_TEXT)
        len += p->at++->len;
    char *bytes = sy_region_take(p->region, len + 1);
    if (!text || !bytes)
        return sy_parser_fail(p, first, "the template is too large");
    text->bytes = bytes;
    for (const struct sy_token *token = first; token < p->at; token++) {
        if (token->len)
            memcpy(bytes + text->len, token->bytes, token->len);
        text->len += token->len;
    }
    return constant(p, first, (struct sy_value){.kind = SY_VALUE_TEXT, .as.text = text});
}

static struct sy_node *parse_name(struct sy_parser *p)
{
    static const char *const hidden[] = {"caller", "varargs", "kwargs"};
    const struct sy_token *token = p->at;
    struct sy_node *node;
    char found[48];

    if (sy_parser_skip_word(p, "true") || sy_parser_skip_word(p, "True"))
        return constant(p, token, sy_value_bool(true));
    if (sy_parser_skip_word(p, "false") || sy_parser_skip_word(p, "False"))
        return constant(p, token, sy_value_bool(false));
    if (sy_parser_skip_word(p, "none") || sy_parser_skip_word(p, "None"))
        return constant(p, token, sy_value_none());
    for (int i = 0; i < 3 && p->in_macro; i++)
        if (sy_parser_is_word(p, hidden[i]))
            return sy_parser_fail(p, token, "%s in a macro is not supported", sy_parser_show(token, found));
    node = sy_parser_node(p, SY_NODE_NAME, token);
    if (node)
        node->name = sy_parser_name(p, p->at++);
    return node;
}

/* Elements up to a bracket; a comma may stand behind the last. */
static struct sy_node *parse_elements(struct sy_parser *p, enum sy_node_kind kind, enum sy_token_kind close)
{
    struct sy_node *node = sy_parser_node(p, kind, p->at++), **tail = node ? &node->list : NULL;

    while (!p->st && p->at->kind != close) {
        const struct sy_token *token = p->at;
        struct sy_node *element = sy_parser_expression(p, true);
        if (kind == SY_NODE_DICT && sy_parser_expect(p, SY_TOKEN_COLON))
            element = pair(p, SY_NODE_PAIR, token, element, sy_parser_expression(p, true));
        if (p->st)
            return NULL;
        *tail = element;
        tail = &element->next;
        if (!sy_parser_skip(p, SY_TOKEN_COMMA))
            break;
    }
    return sy_parser_expect(p, close) ? node : NULL;
}

static struct sy_node *parse_primary(struct sy_parser *p)
{
    const struct sy_token *token = p->at;
    struct sy_node *node;
    char found[48];

    switch (token->kind) {
    case SY_TOKEN_NAME:
        return parse_name(p);
    case SY_TOKEN_TEXT:
        return parse_strings(p);
    case SY_TOKEN_INT:
        p->at++;
        return constant(p, token, sy_value_int(token->integer));
    case SY_TOKEN_REAL:
        p->at++;
        return constant(p, token, sy_value_real(token->real));
    case SY_TOKEN_LPAREN:
        p->at++;
        if (sy_parser_skip(p, SY_TOKEN_RPAREN))
            return sy_parser_node(p, SY_NODE_TUPLE, token);
        node = sy_parser_tuple(p, true);
        return sy_parser_expect(p, SY_TOKEN_RPAREN) ? node : NULL;
    case SY_TOKEN_LBRACKET:
        return parse_elements(p, SY_NODE_LIST, SY_TOKEN_RBRACKET);
    case SY_TOKEN_LBRACE:
        return parse_elements(p, SY_NODE_DICT, SY_TOKEN_RBRACE);
    default:
        return sy_parser_fail(p, token, "expected an expression, found %s", sy_parser_show(token, found));
    }
}

/* Arguments behind "(", which has been passed. */
static struct sy_node *parse_arguments(struct sy_parser *p)
{
    struct sy_node *first = NULL, **tail = &first;
    bool named = false;

    while (!p->st && p->at->kind != SY_TOKEN_RPAREN) {
        const struct sy_token *token = p->at;
        struct sy_node *argument;
        if (token->kind == SY_TOKEN_MUL || token->kind == SY_TOKEN_POW)
            return sy_parser_fail(p, token, "arguments with * are not supported");
        if (token->kind == SY_TOKEN_NAME && token[1].kind == SY_TOKEN_ASSIGN) {
            p->at += 2;
            argument = pair(p, SY_NODE_KEYWORD, token, sy_parser_expression(p, true), NULL);
            if (argument)
                argument->name = sy_parser_name(p, token);
            named = true;
        } else if (named) {
            return sy_parser_fail(p, token, "an argument without name follows one with a name");
        } else {
            argument = sy_parser_expression(p, true);
        }
        if (p->st)
            return NULL;
        *tail = argument;
        tail = &argument->next;
        if (!sy_parser_skip(p, SY_TOKEN_COMMA))
            break;
    }
    sy_parser_expect(p, SY_TOKEN_RPAREN);
    return first;
}

/* What stands in [ ]: an index or a slice. */
static struct sy_node *parse_item(struct sy_parser *p, struct sy_node *value)
{
    const struct sy_token *token = p->at++;
    struct sy_node *parts[3] = {NULL};
    int n_colons = 0;

    while (!p->st && p->at->kind != SY_TOKEN_RBRACKET) {
        if (sy_parser_skip(p, SY_TOKEN_COLON)) {
            if (++n_colons > 2)
                return sy_parser_fail(p, token, "a slice with more than two colons");
        } else if (parts[n_colons]) {
            return sy_parser_fail(p, p->at, "an index of several parts is not supported");
        } else {
            parts[n_colons] = sy_parser_expression(p, true);
        }
    }
    if (!sy_parser_expect(p, SY_TOKEN_RBRACKET))
        return NULL;
    if (!n_colons && !parts[0])
        return sy_parser_fail(p, token, "expected an index in []");
    struct sy_node *node = pair(p, n_colons ? SY_NODE_SLICE : SY_NODE_ITEM, token, value, parts[0]);
    if (!node || !n_colons)
        return node;
    for (int i = 2; i >= 0; i--) {
        struct sy_node *part = parts[i] ? parts[i] : constant(p, token, sy_value_none());
        if (!part)
            return NULL;
        part->next = node->list;
        node->list = part;
    }
    return node;
}

static struct sy_node *parse_attribute(struct sy_parser *p, struct sy_node *value)
{
    const struct sy_token *dot = p->at++, *token = p->at;
    struct sy_node *node;

    if (token->kind == SY_TOKEN_INT) {
        p->at++;
        return pair(p, SY_NODE_ITEM, dot, value, constant(p, token, sy_value_int(token->integer)));
    }
    if (!sy_parser_expect(p, SY_TOKEN_NAME))
        return NULL;
    node = pair(p, SY_NODE_ATTRIBUTE, dot, value, NULL);
    if (node)
        node->name = sy_parser_name(p, token);
    return node;
}

static struct sy_node *parse_call(struct sy_parser *p, struct sy_node *value)
{
    struct sy_node *node = pair(p, SY_NODE_CALL, p->at++, value, NULL);

    if (!node)
        return NULL;
    /* Errors of a call are where its name stands. */
    node->line = value->line;
    node->column = value->column;
    node->list = parse_arguments(p);
    return node;
}

static struct sy_node *parse_postfix(struct sy_parser *p, struct sy_node *node)
{
    while (!p->st) {
        if (p->at->kind == SY_TOKEN_DOT)
            node = parse_attribute(p, node);
        else if (p->at->kind == SY_TOKEN_LBRACKET)
            node = parse_item(p, node);
        else if (p->at->kind == SY_TOKEN_LPAREN)
            node = parse_call(p, node);
        else
            break;
    }
    return node;
}

static struct sy_node *parse_test(struct sy_parser *p, struct sy_node *value)
{
    const struct sy_token *token = p->at - 1;
    bool is_not = sy_parser_skip_word(p, "not");
    const struct sy_token *word = p->at;
    char found[48];

    if (!sy_parser_expect(p, SY_TOKEN_NAME))
        return NULL;
    struct sy_node *node = pair(p, SY_NODE_TEST, token, value, NULL);
    if (!node)
        return NULL;
    node->builtin = sy_builtin_test(word->bytes, word->len);
    if (!node->builtin)
        return sy_parser_fail(p, word, "the test %s is not supported", sy_parser_show(word, found));
    enum sy_token_kind kind = p->at->kind;
    if (sy_parser_skip(p, SY_TOKEN_LPAREN)) {
        node->list = parse_arguments(p);
    } else if ((kind == SY_TOKEN_NAME && !sy_parser_is_word(p, "else") && !sy_parser_is_word(p, "or") &&
                !sy_parser_is_word(p, "and") && !sy_parser_is_word(p, "if") && !sy_parser_is_word(p, "is") &&
                !sy_parser_is_word(p, "in") && !sy_parser_is_word(p, "not") && !sy_parser_is_word(p, "recursive")) ||
               kind == SY_TOKEN_TEXT || kind == SY_TOKEN_INT || kind == SY_TOKEN_REAL || kind == SY_TOKEN_LBRACKET ||
               kind == SY_TOKEN_LBRACE) {
        node->list = parse_postfix(p, parse_primary(p));
    }
    return is_not ? pair(p, SY_NODE_NOT, token, node, NULL) : node;
}

struct sy_node *sy_parser_filter(struct sy_parser *p, struct sy_node *value)
{
    const struct sy_token *word = p->at;
    char found[48];

    if (!sy_parser_expect(p, SY_TOKEN_NAME))
        return NULL;
    struct sy_node *node = pair(p, SY_NODE_FILTER, word, value, NULL);
    if (!node)
        return NULL;
    node->builtin = sy_builtin_filter(word->bytes, word->len);
    if (!node->builtin)
        return sy_parser_fail(p, word, "the filter %s is not supported", sy_parser_show(word, found));
    if (sy_parser_skip(p, SY_TOKEN_LPAREN))
        node->list = parse_arguments(p);
    return node;
}

struct sy_node *sy_parser_filters(struct sy_parser *p, struct sy_node *value)
{
    while (!p->st) {
        if (sy_parser_skip(p, SY_TOKEN_PIPE))
            value = sy_parser_filter(p, value);
        else if (value && sy_parser_skip_word(p, "is"))
            value = parse_test(p, value);
        else if (value && p->at->kind == SY_TOKEN_LPAREN)
            value = parse_call(p, value);
        else
            break;
    }
    return p->st ? NULL : value;
}

static struct sy_node *parse_unary(struct sy_parser *p, bool with_filter)
{
    const struct sy_token *token = p->at;
    struct sy_node *node = NULL;

    if (!sy_parser_enter(p))
        return NULL;
    if (sy_parser_skip(p, SY_TOKEN_SUB))
        node = pair(p, SY_NODE_NEGATE, token, parse_unary(p, false), NULL);
    else if (sy_parser_skip(p, SY_TOKEN_ADD))
        node = pair(p, SY_NODE_PLUS, token, parse_unary(p, false), NULL);
    else
        node = parse_primary(p);
    node = parse_postfix(p, node);
    if (with_filter)
        node = sy_parser_filters(p, node);
    sy_parser_leave(p);
    return p->st ? NULL : node;
}

/* Operators of arithmetic, all of which group to the left, by level: each binds tighter than the one before. */
static const enum sy_token_kind levels[][5] = {
    {SY_TOKEN_ADD, SY_TOKEN_SUB},
    {SY_TOKEN_TILDE},
    {SY_TOKEN_MUL, SY_TOKEN_DIV, SY_TOKEN_FLOORDIV, SY_TOKEN_MOD},
    {SY_TOKEN_POW},
};

static struct sy_node *parse_arithmetic(struct sy_parser *p, size_t level)
{
    if (level == sizeof levels / sizeof *levels)
        return parse_unary(p, true);
    struct sy_node *node = parse_arithmetic(p, level + 1);
    for (;;) {
        const struct sy_token *token = p->at;
        bool there = false;
        for (int i = 0; levels[level][i] && !there; i++)
            there = token->kind == levels[level][i];
        if (p->st || !there)
            return p->st ? NULL : node;
        p->at++;
        node = pair(p, SY_NODE_BINARY, token, node, parse_arithmetic(p, level + 1));
    }
}

/* The operator of a comparison at the place, which is passed; SY_TOKEN_END when there is none. */
static enum sy_token_kind comparison(struct sy_parser *p)
{
    enum sy_token_kind kind = p->at->kind;

    if (kind >= SY_TOKEN_EQ && kind <= SY_TOKEN_GE) {
        p->at++;
        return kind;
    }
    if (sy_parser_skip_word(p, "in"))
        return SY_TOKEN_IN;
    if (sy_parser_is_word(p, "not") && p->at[1].kind == SY_TOKEN_NAME && p->at[1].len == 2 &&
        !memcmp(p->at[1].bytes, "in", 2)) {
        p->at += 2;
        return SY_TOKEN_NOT_IN;
    }
    return SY_TOKEN_END;
}

static struct sy_node *parse_compare(struct sy_parser *p)
{
    struct sy_node *first = parse_arithmetic(p, 0), *node = NULL, **tail = NULL;

    while (!p->st) {
        const struct sy_token *token = p->at;
        enum sy_token_kind op = comparison(p);
        if (op == SY_TOKEN_END)
            break;
        if (!node) {
            node = pair(p, SY_NODE_COMPARE, token, first, NULL);
            tail = node ? &node->list : NULL;
        }
        struct sy_node *operand = pair(p, SY_NODE_OPERAND, token, parse_arithmetic(p, 0), NULL);
        if (p->st)
            return NULL;
        operand->op = op;
        *tail = operand;
        tail = &operand->next;
    }
    return p->st ? NULL : node ? node : first;
}

static struct sy_node *parse_not(struct sy_parser *p)
{
    const struct sy_token *token = p->at;

    if (!sy_parser_skip_word(p, "not"))
        return parse_compare(p);
    if (!sy_parser_enter(p))
        return NULL;
    struct sy_node *node = pair(p, SY_NODE_NOT, token, parse_not(p), NULL);
    sy_parser_leave(p);
    return node;
}

static struct sy_node *parse_and(struct sy_parser *p)
{
    struct sy_node *node = parse_not(p);

    for (const struct sy_token *token = p->at; !p->st && sy_parser_skip_word(p, "and"); token = p->at)
        node = pair(p, SY_NODE_AND, token, node, parse_not(p));
    return node;
}

static struct sy_node *parse_or(struct sy_parser *p)
{
    struct sy_node *node = parse_and(p);

    for (const struct sy_token *token = p->at; !p->st && sy_parser_skip_word(p, "or"); token = p->at)
        node = pair(p, SY_NODE_OR, token, node, parse_and(p));
    return node;
}

struct sy_node *sy_parser_expression(struct sy_parser *p, bool with_choice)
{
    if (!sy_parser_enter(p))
        return NULL;
    struct sy_node *node = parse_or(p);
    for (const struct sy_token *token = p->at; !p->st && with_choice && sy_parser_skip_word(p, "if"); token = p->at) {
        node = pair(p, SY_NODE_CHOICE, token, parse_or(p), node);
        if (node && sy_parser_skip_word(p, "else"))
            node->c = sy_parser_expression(p, true);
    }
    sy_parser_leave(p);
    return p->st ? NULL : node;
}

struct sy_node *sy_parser_tuple(struct sy_parser *p, bool with_choice)
{
    const struct sy_token *token = p->at;
    struct sy_node *node = sy_parser_expression(p, with_choice), *tuple, **tail;

    if (p->st || p->at->kind != SY_TOKEN_COMMA)
        return node;
    tuple = sy_parser_node(p, SY_NODE_TUPLE, token);
    if (!tuple)
        return NULL;
    tuple->list = node;
    tail = &node->next;
    while (!p->st && sy_parser_skip(p, SY_TOKEN_COMMA)) {
        enum sy_token_kind kind = p->at->kind;
        if (kind == SY_TOKEN_RPAREN || kind == SY_TOKEN_PRINT_END || kind == SY_TOKEN_BLOCK_END)
            break;
        *tail = sy_parser_expression(p, with_choice);
        if (*tail)
            tail = &(*tail)->next;
    }
    return tuple;
}

static struct sy_node *parse_one_target(struct sy_parser *p, bool with_member)
{
    static const char *const constants[] = {"true", "false", "none", "True", "False", "None"};
    const struct sy_token *token = p->at;

    if (sy_parser_skip(p, SY_TOKEN_LPAREN)) {
        if (!sy_parser_enter(p))
            return NULL;
        struct sy_node *inner = sy_parser_target(p, with_member);
        sy_parser_leave(p);
        return sy_parser_expect(p, SY_TOKEN_RPAREN) ? inner : NULL;
    }
    for (int i = 0; i < 6; i++)
        if (sy_parser_is_word(p, constants[i]))
            return sy_parser_fail(p, token, "cannot assign to \"%s\"", constants[i]);
    if (!sy_parser_expect(p, SY_TOKEN_NAME))
        return NULL;
    struct sy_node *node = sy_parser_node(p, SY_NODE_NAME, token);
    if (!node)
        return NULL;
    node->name = sy_parser_name(p, token);
    if (with_member && sy_parser_skip(p, SY_TOKEN_DOT) && sy_parser_expect(p, SY_TOKEN_NAME)) {
        node->kind = SY_NODE_MEMBER;
        node->member = sy_parser_name(p, p->at - 1);
    }
    return node;
}

struct sy_node *sy_parser_target(struct sy_parser *p, bool with_member)
{
    const struct sy_token *token = p->at;
    struct sy_node *node = parse_one_target(p, with_member), *tuple, **tail;

    if (p->st || p->at->kind != SY_TOKEN_COMMA)
        return node;
    tuple = sy_parser_node(p, SY_NODE_TUPLE, token);
    if (!tuple)
        return NULL;
    tuple->list = node;
    tail = &node->next;
    while (!p->st && sy_parser_skip(p, SY_TOKEN_COMMA) &&
           (p->at->kind == SY_TOKEN_NAME || p->at->kind == SY_TOKEN_LPAREN)) {
        *tail = parse_one_target(p, with_member);
        if (*tail)
            tail = &(*tail)->next;
    }
    return tuple;
}
