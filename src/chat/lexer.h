/* SPDX-License-Identifier: Apache-2.0
 * lexer.h - a template's text to tokens
 *
 * White space around tags is taken off here (trim_blocks, lstrip_blocks, and the signs - and + of a tag), so data tokens
 * are what is printed.
 */
#ifndef SY_CHAT_LEXER_H
#define SY_CHAT_LEXER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "chat/region.h"

enum sy_token_kind {
    SY_TOKEN_END,
    SY_TOKEN_DATA,
    SY_TOKEN_BLOCK_BEGIN,
    SY_TOKEN_BLOCK_END,
    SY_TOKEN_PRINT_BEGIN,
    SY_TOKEN_PRINT_END,
    SY_TOKEN_NAME,
    SY_TOKEN_TEXT,
    SY_TOKEN_INT,
    SY_TOKEN_REAL,
    SY_TOKEN_ADD,
    SY_TOKEN_SUB,
    SY_TOKEN_MUL,
    SY_TOKEN_DIV,
    SY_TOKEN_FLOORDIV,
    SY_TOKEN_MOD,
    SY_TOKEN_POW,
    SY_TOKEN_TILDE,
    SY_TOKEN_EQ,
    SY_TOKEN_NE,
    SY_TOKEN_LT,
    SY_TOKEN_LE,
    SY_TOKEN_GT,
    SY_TOKEN_GE,
    SY_TOKEN_IN, /* not tokens of the text: the words in and not in, as operators of a comparison */
    SY_TOKEN_NOT_IN,
    SY_TOKEN_ASSIGN,
    SY_TOKEN_DOT,
    SY_TOKEN_COLON,
    SY_TOKEN_COMMA,
    SY_TOKEN_PIPE,
    SY_TOKEN_LPAREN,
    SY_TOKEN_RPAREN,
    SY_TOKEN_LBRACKET,
    SY_TOKEN_RBRACKET,
    SY_TOKEN_LBRACE,
    SY_TOKEN_RBRACE,
};

struct sy_token {
    enum sy_token_kind kind;
    int line, column;  /* from 1; columns are bytes */
    const char *bytes; /* data, names, and strings without quotes and escapes */
    size_t len;
    int64_t integer;
    double real;
};

struct sy_tokens {
    struct sy_token *at; /* malloc; the caller frees it */
    size_t n, cap;
};

/* Tokens of len bytes of text, the last of them SY_TOKEN_END. Their bytes are in region. Errors: SY_ERR_DATA, SY_ERR_SYSTEM. */
enum sy_status sy_lex(const char *name, const char *text, size_t len, struct sy_region *region,
                      struct sy_tokens *tokens, struct sy_error *err);

#endif
