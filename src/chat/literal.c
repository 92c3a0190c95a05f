/* SPDX-License-Identifier: Apache-2.0
 * literal.c - numbers and strings as a template writes them
 *
 * Source: jinja2/lexer.py; the escapes of a string are Python's (unicode-escape).
 */
#include "chat/literal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define NUMBER_BYTES_MAX 64

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Copy digits and single underscores between them, without the underscores; returns the bytes read. */
static size_t take_digits(const char *text, size_t len, char *digits, size_t *n_digits)
{
    size_t i = 0;

    while (i < len && (is_digit(text[i]) || (text[i] == '_' && i && i + 1 < len && is_digit(text[i + 1])))) {
        if (text[i] != '_' && *n_digits < NUMBER_BYTES_MAX)
            digits[(*n_digits)++] = text[i];
        i++;
    }
    return i;
}

static size_t read_number(const char *text, size_t len, struct sy_token *token, const char **what)
{
    char digits[NUMBER_BYTES_MAX + 4];
    size_t n = 0, i = take_digits(text, len, digits, &n);
    bool is_real = false;

    digits[n] = '\0';
    if (n > 1 && digits[0] == '0' && strspn(digits, "0") < n)
        *what = "a number that begins with 0";
    if (i + 1 < len && text[i] == '.' && is_digit(text[i + 1])) {
        is_real = true;
        digits[n++] = '.';
        i++;
        i += take_digits(text + i, len - i, digits, &n);
    }
    size_t sign = i + 1 < len && (text[i + 1] == '+' || text[i + 1] == '-');
    if (i + 1 + sign < len && (text[i] == 'e' || text[i] == 'E') && is_digit(text[i + 1 + sign])) {
        is_real = true;
        if (n < NUMBER_BYTES_MAX)
            digits[n++] = 'e';
        if (sign && n < NUMBER_BYTES_MAX)
            digits[n++] = text[i + 1];
        i += 1 + sign;
        i += take_digits(text + i, len - i, digits, &n);
    }
    digits[n] = '\0';
    errno = 0;
    if (n >= NUMBER_BYTES_MAX)
        *what = "a number with too many digits";
    else if (is_real)
        token->real = strtod(digits, NULL);
    else
        token->integer = strtoll(digits, NULL, 10);
    if (!*what && !is_real && errno)
        *what = "an integer of more than 63 bits";
    if (!*what && i < len && ((text[i] | 0x20) >= 'a' && (text[i] | 0x20) <= 'z'))
        *what = "letters behind a number";
    token->kind = is_real ? SY_TOKEN_REAL : SY_TOKEN_INT;
    return *what ? 0 : i;
}

/* Value of n hexadecimal digits, or -1. */
static int64_t hex(const char *text, size_t len, size_t n)
{
    int64_t value = 0;

    for (size_t i = 0; i < n; i++) {
        char c = i < len ? text[i] : '\0';
        int digit = is_digit(c) ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The escape behind a backslash at text: append what it means, return its bytes, 0 when it is wrong. */
static size_t read_escape(const char *text, size_t len, char *out, size_t *n_out)
{
    static const char letters[] = "\\'\"abfnrtv", meanings[] = "\\'\"\a\b\f\n\r\t\v";
    const char *at = *text ? strchr(letters, *text) : NULL;
    int64_t code = -1;
    size_t used = 1;

    if (at) {
        out[(*n_out)++] = meanings[at - letters];
        return 1;
    }
    if (*text == '\n')
        return 1;
    if (*text == 'x' || *text == 'u' || *text == 'U') {
        size_t n = *text == 'x' ? 2 : *text == 'u' ? 4 : 8;
        code = hex(text + 1, len - 1, n);
        used = n + 1;
    } else if (*text >= '0' && *text <= '7') {
        for (code = 0, used = 0; used < 3 && used < len && text[used] >= '0' && text[used] <= '7'; used++)
            code = code * 8 + (text[used] - '0');
    } else if (*text != 'N') {
        /* An escape without meaning stays as it is. */
        out[(*n_out)++] = '\\';
        out[(*n_out)++] = *text;
        return 1;
    }
    if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return 0;
    *n_out += (size_t)sy_utf8_put((uint32_t)code, (uint8_t *)out + *n_out);
    return used;
}

static size_t read_string(const char *text, size_t len, struct sy_region *region, struct sy_token *token,
                          const char **what)
{
    size_t end = 1, n = 0;

    while (end < len && text[end] != text[0])
        end += text[end] == '\\' ? 2 : 1;
    if (end >= len) {
        *what = "the string has no end";
        return 0;
    }
    /* No escape means more bytes than it has. */
    char *out = sy_region_take(region, end);
    if (!out) {
        *what = "the template is too large";
        return 0;
    }
    for (size_t i = 1; i < end;) {
        if (text[i] != '\\') {
            out[n++] = text[i++];
            continue;
        }
        size_t used = read_escape(text + i + 1, end - i - 1, out, &n);
        if (!used) {
            *what = "an escape that is wrong or not supported in a string";
            return 0;
        }
        i += 1 + used;
    }
    token->kind = SY_TOKEN_TEXT;
    token->bytes = out;
    token->len = n;
    return end + 1;
}

size_t sy_literal_read(const char *text, size_t len, struct sy_region *region, struct sy_token *token,
                       const char **what)
{
    *what = NULL;
    return is_digit(*text) ? read_number(text, len, token, what) : read_string(text, len, region, token, what);
}
