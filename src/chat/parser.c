/* SPDX-License-Identifier: Apache-2.0
 * parser.c - statements of a template
 *
 * Source: the grammar of jinja2/parser.py.
 */
#include "chat/parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void *sy_parser_fail(struct sy_parser *p, const struct sy_token *token, const char *fmt, ...)
{
    char text[300];
    va_list ap;

    if (p->st)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    p->st = sy_error_set(p->err, SY_ERR_DATA, "%s:%d:%d: %s", p->name, token->line, token->column, text);
    return NULL;
}

struct sy_node *sy_parser_node(struct sy_parser *p, enum sy_node_kind kind, const struct sy_token *token)
{
    struct sy_node *node = p->st ? NULL : sy_region_take(p->region, sizeof *node);

    if (!node)
        return sy_parser_fail(p, token, "the template is too large");
    node->kind = kind;
    node->line = token->line;
    node->column = token->column;
    return node;
}

const char *sy_parser_name(struct sy_parser *p, const struct sy_token *token)
{
    char *name = sy_region_take(p->region, token->len + 1);

    if (!name)
        return sy_parser_fail(p, token, "the template is too large");
    memcpy(name, token->bytes, token->len);
    return name;
}

bool sy_parser_is_word(const struct sy_parser *p, const char *word)
{
    return p->at->kind == SY_TOKEN_NAME && p->at->len == strlen(word) && !memcmp(p->at->bytes, word, p->at->len);
}

bool sy_parser_skip_word(struct sy_parser *p, const char *word)
{
    bool there = sy_parser_is_word(p, word);

    p->at += there;
    return there;
}

bool sy_parser_skip(struct sy_parser *p, enum sy_token_kind kind)
{
    bool there = p->at->kind == kind && kind != SY_TOKEN_END;

    p->at += there;
    return there;
}

const char *sy_parser_show(const struct sy_token *token, char out[48])
{
    static const char *const signs[] = {
        [SY_TOKEN_ADD] = "+",          [SY_TOKEN_SUB] = "-",          [SY_TOKEN_MUL] = "*",
        [SY_TOKEN_DIV] = "/",          [SY_TOKEN_FLOORDIV] = "//",    [SY_TOKEN_MOD] = "%",
        [SY_TOKEN_POW] = "**",         [SY_TOKEN_TILDE] = "~",        [SY_TOKEN_EQ] = "==",
        [SY_TOKEN_NE] = "!=",          [SY_TOKEN_LT] = "<",           [SY_TOKEN_LE] = "<=",
        [SY_TOKEN_GT] = ">",           [SY_TOKEN_GE] = ">=",          [SY_TOKEN_ASSIGN] = "=",
        [SY_TOKEN_DOT] = ".",          [SY_TOKEN_COLON] = ":",        [SY_TOKEN_COMMA] = ",",
        [SY_TOKEN_PIPE] = "|",         [SY_TOKEN_LPAREN] = "(",       [SY_TOKEN_RPAREN] = ")",
        [SY_TOKEN_LBRACKET] = "[",     [SY_TOKEN_RBRACKET] = "]",     [SY_TOKEN_LBRACE] = "{",
        [SY_TOKEN_RBRACE] = "}",       [SY_TOKEN_BLOCK_END] = "%}",   [SY_TOKEN_PRINT_END] = "}}",
        [SY_TOKEN_BLOCK_BEGIN] = "{%", [SY_TOKEN_PRINT_BEGIN] = "{{",
    };
    size_t n_signs = sizeof signs / sizeof *signs;

    if (token->kind == SY_TOKEN_NAME)
        snprintf(out, 48, "\"%.*s\"", token->len < 40 ? (int)token->len : 40, token->bytes);
    else if (token->kind < n_signs && signs[token->kind])
        snprintf(out, 48, "\"%s\"", signs[token->kind]);
    else
        snprintf(out, 48, "%s",
                 token->kind == SY_TOKEN_END    ? "the end of the template"
                 : token->kind == SY_TOKEN_DATA ? "text"
                 : token->kind == SY_TOKEN_TEXT ? "a string"
                                                : "a number");
    return out;
}

bool sy_parser_expect(struct sy_parser *p, enum sy_token_kind kind)
{
    char found[48], wanted[48];

    if (p->st || sy_parser_skip(p, kind))
        return !p->st;
    sy_parser_fail(p, p->at, "expected %s, found %s",
                   kind == SY_TOKEN_NAME ? "a name" : sy_parser_show(&(struct sy_token){.kind = kind}, wanted),
                   sy_parser_show(p->at, found));
    return false;
}

bool sy_parser_enter(struct sy_parser *p)
{
    if (++p->depth > SY_TREE_DEPTH_MAX)
        sy_parser_fail(p, p->at, "nested deeper than %d levels", SY_TREE_DEPTH_MAX);
    return !p->st;
}

void sy_parser_leave(struct sy_parser *p)
{
    p->depth--;
}

static struct sy_node *statements(struct sy_parser *p, const char *const *ends);

/* The end of a tag, statements, and the word of the tag that ends them, which is passed. */
static struct sy_node *body(struct sy_parser *p, const char *end)
{
    const char *const ends[] = {end, NULL};

    if (!sy_parser_expect(p, SY_TOKEN_BLOCK_END))
        return NULL;
    struct sy_node *list = statements(p, ends);
    if (!p->st)
        p->at++;
    return list;
}

static struct sy_node *parse_if(struct sy_parser *p, const struct sy_token *token)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct sy_node *node = sy_parser_node(p, SY_NODE_IF, token), **tail = node ? &node->list : NULL;
    bool is_else = false;

    while (!p->st) {
        struct sy_node *branch = sy_parser_node(p, SY_NODE_BRANCH, p->at);
        if (!branch)
            return NULL;
        if (!is_else)
            branch->a = sy_parser_tuple(p, false);
        sy_parser_expect(p, SY_TOKEN_BLOCK_END);
        branch->body = statements(p, is_else ? ends + 2 : ends);
        *tail = branch;
        tail = &branch->next;
        if (p->st || sy_parser_skip_word(p, "endif"))
            break;
        is_else = sy_parser_skip_word(p, "else");
        p->at += !is_else;
    }
    return node;
}

static struct sy_node *parse_for(struct sy_parser *p, const struct sy_token *token)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    struct sy_node *node = sy_parser_node(p, SY_NODE_FOR, token);

    if (!node)
        return NULL;
    node->a = sy_parser_target(p, false);
    if (!p->st && !sy_parser_skip_word(p, "in"))
        return sy_parser_fail(p, p->at, "expected \"in\" after the target of for");
    node->b = sy_parser_tuple(p, false);
    if (sy_parser_skip_word(p, "if"))
        node->c = sy_parser_expression(p, true);
    if (sy_parser_is_word(p, "recursive"))
        return sy_parser_fail(p, p->at, "recursive loops are not supported");
    if (!sy_parser_expect(p, SY_TOKEN_BLOCK_END))
        return NULL;
    p->n_loops++;
    node->body = statements(p, ends);
    p->n_loops--;
    if (p->st)
        return NULL;
    if (sy_parser_skip_word(p, "else"))
        node->list = body(p, "endfor");
    else
        p->at++;
    return node;
}

static struct sy_node *parse_set(struct sy_parser *p, const struct sy_token *token)
{
    struct sy_node *node = sy_parser_node(p, SY_NODE_SET, token);

    if (!node)
        return NULL;
    node->a = sy_parser_target(p, true);
    if (sy_parser_skip(p, SY_TOKEN_ASSIGN)) {
        node->b = sy_parser_tuple(p, true);
        return node;
    }
    node->kind = SY_NODE_SET_BLOCK;
    if (!p->st && p->at->kind == SY_TOKEN_PIPE)
        node->b = sy_parser_filters(p, NULL);
    node->body = body(p, "endset");
    return node;
}

static struct sy_node *parse_macro(struct sy_parser *p, const struct sy_token *token)
{
    struct sy_node *node = sy_parser_node(p, SY_NODE_MACRO, token), **tail = node ? &node->list : NULL;
    bool was_in_macro = p->in_macro, defaults = false;
    int n_loops = p->n_loops;

    if (!node || !sy_parser_expect(p, SY_TOKEN_NAME))
        return NULL;
    node->name = sy_parser_name(p, p->at - 1);
    sy_parser_expect(p, SY_TOKEN_LPAREN);
    while (!p->st && p->at->kind != SY_TOKEN_RPAREN) {
        struct sy_node *parameter = sy_parser_node(p, SY_NODE_PARAMETER, p->at);
        if (!parameter || !sy_parser_expect(p, SY_TOKEN_NAME))
            return NULL;
        parameter->name = sy_parser_name(p, p->at - 1);
        if (sy_parser_skip(p, SY_TOKEN_ASSIGN)) {
            parameter->a = sy_parser_expression(p, true);
            defaults = true;
        } else if (defaults) {
            return sy_parser_fail(p, p->at, "a parameter without default follows one with default");
        }
        *tail = parameter;
        tail = &parameter->next;
        if (!sy_parser_skip(p, SY_TOKEN_COMMA))
            break;
    }
    sy_parser_expect(p, SY_TOKEN_RPAREN);
    p->in_macro = true;
    p->n_loops = 0;
    node->body = body(p, "endmacro");
    p->in_macro = was_in_macro;
    p->n_loops = n_loops;
    return node;
}

static struct sy_node *parse_with(struct sy_parser *p, const struct sy_token *token)
{
    struct sy_node *node = sy_parser_node(p, SY_NODE_WITH, token), **tail = node ? &node->list : NULL;

    while (!p->st && p->at->kind != SY_TOKEN_BLOCK_END) {
        struct sy_node *set = sy_parser_node(p, SY_NODE_SET, p->at);
        if (!set)
            return NULL;
        set->a = sy_parser_target(p, false);
        sy_parser_expect(p, SY_TOKEN_ASSIGN);
        set->b = sy_parser_expression(p, true);
        *tail = set;
        tail = &set->next;
        if (!sy_parser_skip(p, SY_TOKEN_COMMA))
            break;
    }
    if (node)
        node->body = body(p, "endwith");
    return node;
}

static struct sy_node *parse_statement(struct sy_parser *p)
{
    const struct sy_token *token = p->at;
    struct sy_node *node;
    char found[48];

    if (sy_parser_skip_word(p, "if"))
        return parse_if(p, token);
    if (sy_parser_skip_word(p, "for"))
        return parse_for(p, token);
    if (sy_parser_skip_word(p, "set"))
        return parse_set(p, token);
    if (sy_parser_skip_word(p, "macro"))
        return parse_macro(p, token);
    if (sy_parser_skip_word(p, "with"))
        return parse_with(p, token);
    if (sy_parser_skip_word(p, "generation")) {
        node = sy_parser_node(p, SY_NODE_GENERATION, token);
        if (node)
            node->body = body(p, "endgeneration");
        return node;
    }
    if (sy_parser_skip_word(p, "filter")) {
        node = sy_parser_node(p, SY_NODE_FILTER_BLOCK, token);
        struct sy_node *first = sy_parser_filter(p, NULL);
        if (node && first) {
            node->b = sy_parser_filters(p, first);
            node->body = body(p, "endfilter");
        }
        return node;
    }
    if (sy_parser_is_word(p, "break") || sy_parser_is_word(p, "continue")) {
        if (!p->n_loops)
            return sy_parser_fail(p, token, "%s outside of a loop", sy_parser_show(token, found));
        node = sy_parser_node(p, sy_parser_is_word(p, "break") ? SY_NODE_BREAK : SY_NODE_CONTINUE, token);
        p->at++;
        return node;
    }
    return sy_parser_fail(p, token, "the tag %s is not supported here", sy_parser_show(token, found));
}

static bool is_end(const struct sy_parser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (sy_parser_is_word(p, *ends))
            return true;
    return false;
}

static struct sy_node *statement(struct sy_parser *p)
{
    const struct sy_token *token = p->at++;
    struct sy_node *node = NULL;

    if (token->kind == SY_TOKEN_BLOCK_BEGIN) {
        node = parse_statement(p);
        sy_parser_expect(p, SY_TOKEN_BLOCK_END);
    } else if (token->kind == SY_TOKEN_PRINT_BEGIN) {
        node = sy_parser_node(p, SY_NODE_PRINT, token);
        if (node)
            node->a = sy_parser_tuple(p, true);
        sy_parser_expect(p, SY_TOKEN_PRINT_END);
    } else {
        node = sy_parser_node(p, SY_NODE_DATA, token);
        struct sy_text *text = sy_region_take(p->region, sizeof *text);
        if (!node || !text)
            return sy_parser_fail(p, token, "the template is too large");
        *text = (struct sy_text){.len = token->len, .bytes = token->bytes};
        node->value = (struct sy_value){.kind = SY_VALUE_TEXT, .as.text = text};
    }
    return p->st ? NULL : node;
}

/* Statements up to a tag with one of these words, at which the parser then stands; NULL: to the end of the template. */
static struct sy_node *statements(struct sy_parser *p, const char *const *ends)
{
    struct sy_node *first = NULL, **tail = &first;

    if (!sy_parser_enter(p))
        return NULL;
    while (!p->st && p->at->kind != SY_TOKEN_END) {
        if (p->at->kind == SY_TOKEN_BLOCK_BEGIN) {
            p->at++;
            if (is_end(p, ends))
                goto out;
            p->at--;
        }
        *tail = statement(p);
        if (*tail)
            tail = &(*tail)->next;
    }
    if (ends) {
        while (ends[1])
            ends++;
        sy_parser_fail(p, p->at, "the template ends where a tag \"%s\" is expected", *ends);
    }
out:
    sy_parser_leave(p);
    return first;
}

enum sy_status sy_tree_parse(const char *name, const struct sy_tokens *tokens, struct sy_region *region,
                             struct sy_node **root, struct sy_error *err)
{
    struct sy_parser p = {.name = name, .at = tokens->at, .region = region, .err = err};

    *root = statements(&p, NULL);
    return p.st;
}
