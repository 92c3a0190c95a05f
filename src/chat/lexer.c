/* SPDX-License-Identifier: Apache-2.0
 * lexer.c - a template's text to tokens
 *
 * Source: the rules of jinja2/lexer.py with trim_blocks and lstrip_blocks on, and keep_trailing_newline off.
 */
#include "chat/lexer.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "chat/chars.h"
#include "chat/literal.h"

struct lexer {
    const char *name;
    char *text; /* line ends are \n, and one at the end is gone */
    size_t len, at;
    int line; /* of seen */
    size_t seen, line_begin;
    bool line_starting; /* the last tag took the newline behind it along */
    int brackets;
    struct sy_region *region;
    struct sy_tokens *tokens;
    struct sy_error *err;
};

/* Line and column of a place that is not before earlier ones. */
static void locate(struct lexer *x, size_t place, int *line, int *column)
{
    for (; x->seen < place; x->seen++)
        if (x->text[x->seen] == '\n') {
            x->line++;
            x->line_begin = x->seen + 1;
        }
    *line = x->line;
    *column = (int)(place - x->line_begin) + 1;
}

static enum sy_status refuse(struct lexer *x, size_t place, const char *what)
{
    int line, column;

    locate(x, place, &line, &column);
    return sy_error_set(x->err, SY_ERR_DATA, "%s:%d:%d: %s", x->name, line, column, what);
}

static enum sy_status no_memory(struct lexer *x)
{
    return sy_error_set(x->err, SY_ERR_SYSTEM, "%s: no memory for the template", x->name);
}

static struct sy_token *add(struct lexer *x, enum sy_token_kind kind, size_t place)
{
    struct sy_tokens *tokens = x->tokens;

    if (tokens->n == tokens->cap) {
        size_t cap = tokens->cap ? 2 * tokens->cap : 256;
        struct sy_token *grown = realloc(tokens->at, cap * sizeof *grown);
        if (!grown)
            return NULL;
        tokens->at = grown;
        tokens->cap = cap;
    }
    struct sy_token *token = &tokens->at[tokens->n++];
    *token = (struct sy_token){.kind = kind};
    locate(x, place, &token->line, &token->column);
    return token;
}

static enum sy_status add_bytes(struct lexer *x, enum sy_token_kind kind, size_t begin, size_t end)
{
    struct sy_token *token = add(x, kind, begin);

    if (!token)
        return no_memory(x);
    token->bytes = x->text + begin;
    token->len = end - begin;
    return SY_OK;
}

static bool looks_at(const struct lexer *x, size_t place, const char *what)
{
    size_t n = strlen(what);

    return n <= x->len - place && !memcmp(x->text + place, what, n);
}

static size_t skip_space(const struct lexer *x, size_t place)
{
    return place + sy_chars_leading_space(x->text + place, x->len - place);
}

/* What a tag with this sign leaves of the data before it. */
static size_t trimmed(const struct lexer *x, size_t begin, size_t end, char sign, bool is_block)
{
    size_t from = end;

    if (sign == '-')
        return end - sy_chars_trailing_space(x->text + begin, end - begin);
    if (sign == '+' || !is_block)
        return end;
    while (from > begin && x->text[from - 1] != '\n')
        from--;
    if (from == begin && !x->line_starting)
        return end;
    return sy_chars_leading_space(x->text + from, end - from) == end - from ? from : end;
}

/* The end of a block at place, with what it takes along; 0 when there is none. */
static size_t block_end(const struct lexer *x, size_t place, const char *close)
{
    size_t n = strlen(close);
    char sign = place < x->len ? x->text[place] : '\0';

    if (sign == '-' && looks_at(x, place + 1, close))
        return skip_space(x, place + 1 + n);
    if (!strcmp(close, "}}"))
        return looks_at(x, place, close) ? place + n : 0;
    if (sign == '+' && looks_at(x, place + 1, close))
        return place + 1 + n;
    if (!looks_at(x, place, close))
        return 0;
    return place + n < x->len && x->text[place + n] == '\n' ? place + n + 1 : place + n;
}

static void leave(struct lexer *x, size_t end)
{
    x->line_starting = x->text[end - 1] == '\n';
    x->at = end;
}

static enum sy_status lex_comment(struct lexer *x, size_t begin)
{
    for (size_t place = begin + 2; place < x->len; place++) {
        size_t end = block_end(x, place, "#}");
        if (end) {
            leave(x, end);
            return SY_OK;
        }
    }
    return refuse(x, begin, "the comment has no end, expected #}");
}

/* Where the word of a tag such as {%- raw %} ends when it is this word, else 0. */
static size_t tag_word(const struct lexer *x, size_t begin, const char *word, char *sign)
{
    size_t place = begin + 2;

    if (!looks_at(x, begin, "{%"))
        return 0;
    *sign = place < x->len && (x->text[place] == '-' || x->text[place] == '+') ? x->text[place++] : '\0';
    place = skip_space(x, place);
    return looks_at(x, place, word) ? skip_space(x, place + strlen(word)) : 0;
}

/* {% raw %} text {% endraw %}: *is_raw tells whether the tag at begin is one. */
static enum sy_status lex_raw(struct lexer *x, size_t begin, bool *is_raw)
{
    char sign;
    size_t inside = tag_word(x, begin, "raw", &sign);

    *is_raw = false;
    if (!inside)
        return SY_OK;
    if (looks_at(x, inside, "-%}"))
        inside = skip_space(x, inside + 3);
    else if (looks_at(x, inside, "%}"))
        inside += 2;
    else
        return SY_OK;
    *is_raw = true;
    x->line_starting = x->text[inside - 1] == '\n';
    for (size_t place = inside; place < x->len; place++) {
        size_t word_end = tag_word(x, place, "endraw", &sign), end = word_end ? block_end(x, word_end, "%}") : 0;
        if (!end)
            continue;
        size_t stop = trimmed(x, inside, place, sign, true);
        enum sy_status st = stop > inside ? add_bytes(x, SY_TOKEN_DATA, inside, stop) : SY_OK;
        leave(x, end);
        return st;
    }
    return refuse(x, begin, "the raw block has no end, expected {% endraw %}");
}

static enum sy_status lex_name(struct lexer *x)
{
    size_t begin = x->at;

    while (x->at < x->len && sy_chars_is_word(x->text[x->at]))
        x->at++;
    return add_bytes(x, SY_TOKEN_NAME, begin, x->at);
}

static enum sy_status lex_literal(struct lexer *x)
{
    struct sy_token *token = add(x, SY_TOKEN_INT, x->at);
    const char *what = NULL;

    if (!token)
        return no_memory(x);
    size_t used = sy_literal_read(x->text + x->at, x->len - x->at, x->region, token, &what);
    if (!used)
        return refuse(x, x->at, what);
    x->at += used;
    return SY_OK;
}

/* Longest first. */
static const struct {
    const char *text;
    enum sy_token_kind kind;
    int brackets;
} operators[] = {
    {"//", SY_TOKEN_FLOORDIV, 0}, {"**", SY_TOKEN_POW, 0},     {"==", SY_TOKEN_EQ, 0},       {"!=", SY_TOKEN_NE, 0},
    {"<=", SY_TOKEN_LE, 0},       {">=", SY_TOKEN_GE, 0},      {"+", SY_TOKEN_ADD, 0},       {"-", SY_TOKEN_SUB, 0},
    {"*", SY_TOKEN_MUL, 0},       {"/", SY_TOKEN_DIV, 0},      {"%", SY_TOKEN_MOD, 0},       {"~", SY_TOKEN_TILDE, 0},
    {"<", SY_TOKEN_LT, 0},        {">", SY_TOKEN_GT, 0},       {"=", SY_TOKEN_ASSIGN, 0},    {".", SY_TOKEN_DOT, 0},
    {":", SY_TOKEN_COLON, 0},     {",", SY_TOKEN_COMMA, 0},    {"|", SY_TOKEN_PIPE, 0},      {"(", SY_TOKEN_LPAREN, 1},
    {")", SY_TOKEN_RPAREN, -1},   {"[", SY_TOKEN_LBRACKET, 1}, {"]", SY_TOKEN_RBRACKET, -1}, {"{", SY_TOKEN_LBRACE, 1},
    {"}", SY_TOKEN_RBRACE, -1},
};

static enum sy_status lex_operator(struct lexer *x)
{
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (looks_at(x, x->at, operators[i].text)) {
            x->brackets += operators[i].brackets;
            if (x->brackets < 0)
                return refuse(x, x->at, "a bracket is closed that was not opened");
            if (!add(x, operators[i].kind, x->at))
                return no_memory(x);
            x->at += strlen(operators[i].text);
            return SY_OK;
        }
    return refuse(x, x->at, "a character that has no meaning here");
}

/* Inside {{ }} or {% %}, up to and with its end. */
static enum sy_status lex_tag(struct lexer *x, size_t begin, bool is_block)
{
    enum sy_status st = SY_OK;

    x->brackets = 0;
    while (!st) {
        x->at = skip_space(x, x->at);
        if (x->at >= x->len)
            return refuse(x, begin, is_block ? "the tag has no end, expected %}" : "the tag has no end, expected }}");
        size_t end = x->brackets ? 0 : block_end(x, x->at, is_block ? "%}" : "}}");
        char c = x->text[x->at];
        if (end) {
            if (!add(x, is_block ? SY_TOKEN_BLOCK_END : SY_TOKEN_PRINT_END, x->at))
                return no_memory(x);
            leave(x, end);
            return SY_OK;
        }
        if (c == '\'' || c == '"' || (c >= '0' && c <= '9'))
            st = lex_literal(x);
        else
            st = sy_chars_is_word(c) ? lex_name(x) : lex_operator(x);
    }
    return st;
}

/* The next data and the tag behind it. */
static enum sy_status lex_root(struct lexer *x)
{
    size_t begin = x->at, place = begin;

    while (place < x->len && !looks_at(x, place, "{{") && !looks_at(x, place, "{%") && !looks_at(x, place, "{#"))
        place++;
    if (place == x->len) {
        x->at = place;
        return place > begin ? add_bytes(x, SY_TOKEN_DATA, begin, place) : SY_OK;
    }
    char kind = x->text[place + 1], sign = place + 2 < x->len ? x->text[place + 2] : '\0';
    bool is_raw = false, is_block = kind != '{';
    size_t stop = trimmed(x, begin, place, sign, is_block);
    enum sy_status st = stop > begin ? add_bytes(x, SY_TOKEN_DATA, begin, stop) : SY_OK;
    if (st || kind == '#')
        return st ? st : lex_comment(x, place);
    if (kind == '%')
        st = lex_raw(x, place, &is_raw);
    if (st || is_raw)
        return st;
    if (!add(x, is_block ? SY_TOKEN_BLOCK_BEGIN : SY_TOKEN_PRINT_BEGIN, place))
        return no_memory(x);
    x->at = place + 2 + (sign == '-' || sign == '+');
    return lex_tag(x, place, is_block);
}

enum sy_status sy_lex(const char *name, const char *text, size_t len, struct sy_region *region,
                      struct sy_tokens *tokens, struct sy_error *err)
{
    struct lexer x = {.name = name, .line = 1, .line_starting = true, .region = region, .tokens = tokens, .err = err};
    size_t valid = sy_utf8_valid(text, len);
    enum sy_status st = SY_OK;

    if (valid < len)
        return sy_error_set(err, SY_ERR_DATA, "%s: not valid UTF-8 at byte %zu", name, valid);
    x.text = sy_region_take(region, len + 1);
    if (!x.text)
        return no_memory(&x);
    for (size_t i = 0; i < len; i++) {
        x.text[x.len++] = text[i] == '\r' ? '\n' : text[i];
        if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n')
            i++;
    }
    if (x.len && x.text[x.len - 1] == '\n')
        x.len--;
    while (!st && x.at < x.len)
        st = lex_root(&x);
    if (!st && !add(&x, SY_TOKEN_END, x.len))
        st = no_memory(&x);
    return st;
}
