/* SPDX-License-Identifier: Apache-2.0
 * scan.c - a front-to-back JSON reader (RFC 8259)
 */
#include "model/scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

enum sy_status sy_scan_fail(const struct sy_scan *s, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!s->by_line)
        return sy_error_set(s->err, SY_ERR_DATA, "%s: byte %zu: %s", s->file, s->byte_base + s->at, text);
    size_t line = 1, begin = 0;
    for (size_t i = 0; i < s->at && i < s->len; i++) {
        if (s->text[i] == '\n') {
            line++;
            begin = i + 1;
        }
    }
    return sy_error_set(s->err, SY_ERR_DATA, "%s:%zu:%zu: %s", s->file, line, s->at - begin + 1, text);
}

/* The next character that is not white space, -1 at the end. */
static int peek(struct sy_scan *s)
{
    while (s->at < s->len && strchr(" \t\r\n", s->text[s->at]) && s->text[s->at])
        s->at++;
    return s->at < s->len ? (unsigned char)s->text[s->at] : -1;
}

/* "expected X, found Y" for whatever is next. */
static enum sy_status unexpected(struct sy_scan *s, const char *expected)
{
    int c = peek(s);

    if (c < 0)
        return sy_scan_fail(s, "not valid JSON: expected %s, but the text ends", expected);
    if (c > 0x20 && c < 0x7f)
        return sy_scan_fail(s, "not valid JSON: expected %s, found '%c'", expected, c);
    return sy_scan_fail(s, "not valid JSON: expected %s, found byte 0x%02x", expected, c);
}

enum sy_status sy_scan_open(struct sy_scan *s, char bracket)
{
    if (peek(s) != bracket)
        return unexpected(s, bracket == '{' ? "an object" : "an array");
    s->at++;
    return SY_OK;
}

/* Between elements: SY_AGAIN at `close`, SY_OK where an element must follow. */
static enum sy_status between(struct sy_scan *s, bool *first, char close)
{
    int c = peek(s);

    if (c == close) {
        s->at++;
        return SY_AGAIN;
    }
    if (!*first) {
        if (c != ',')
            return unexpected(s, close == '}' ? "',' or '}'" : "',' or ']'");
        s->at++;
    }
    *first = false;
    return SY_OK;
}

enum sy_status sy_scan_key(struct sy_scan *s, bool *first, const char **key)
{
    enum sy_status st = between(s, first, '}');

    if (!st)
        st = sy_scan_string(s, key);
    if (st)
        return st;
    if (peek(s) != ':')
        return unexpected(s, "':'");
    s->at++;
    return SY_OK;
}

enum sy_status sy_scan_item(struct sy_scan *s, bool *first)
{
    return between(s, first, ']');
}

/* Four hexadecimal digits at the reading position; -1 when they are not there. */
static int32_t hex4(struct sy_scan *s)
{
    int32_t value = 0;

    for (int i = 0; i < 4; i++, s->at++) {
        int c = s->at < s->len ? (unsigned char)s->text[s->at] : 0;
        if (c >= '0' && c <= '9')
            value = value * 16 + c - '0';
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            value = value * 16 + (c | 32) - 'a' + 10;
        else
            return -1;
    }
    return value;
}

/* What follows a backslash, as a code point; -1 when it is no escape. */
static int32_t escape(struct sy_scan *s)
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    int c = s->at < s->len ? (unsigned char)s->text[s->at++] : 0;
    const char *found = c ? strchr(letters, c) : NULL;

    if (found)
        return values[found - letters];
    if (c != 'u')
        return -1;
    int32_t high = hex4(s);
    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high > 0xdbff || s->len - s->at < 6 || s->text[s->at] != '\\' || s->text[s->at + 1] != 'u')
        return -1;
    s->at += 2;
    int32_t low = hex4(s);
    return low < 0xdc00 || low > 0xdfff ? -1 : 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

enum sy_status sy_scan_string(struct sy_scan *s, const char **out)
{
    char *end = s->pool;

    if (peek(s) != '"')
        return unexpected(s, "a string");
    s->at++;
    while (s->at < s->len && s->text[s->at] != '"') {
        utf8proc_int32_t point;
        if (s->text[s->at] == '\\') {
            s->at++;
            point = escape(s);
            if (point < 0)
                return sy_scan_fail(s, "not valid JSON: bad escape in a string");
        } else {
            utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s->text + s->at,
                                                  (utf8proc_ssize_t)(s->len - s->at), &point);
            if (n < 0)
                return sy_scan_fail(s, "not valid JSON: a string is not UTF-8");
            s->at += (size_t)n;
        }
        /* Names go into messages and on to a terminal. */
        if (point < 0x20 || (point >= 0x7f && point < 0xa0))
            return sy_scan_fail(s, "a string holds the control character U+%04X", (unsigned)point);
        end += utf8proc_encode_char(point, (utf8proc_uint8_t *)end);
    }
    if (s->at >= s->len)
        return sy_scan_fail(s, "not valid JSON: a string does not end");
    s->at++;
    *end++ = 0;
    *out = s->pool;
    s->pool = end;
    return SY_OK;
}

static bool is_digit(const struct sy_scan *s, size_t at)
{
    return at < s->len && s->text[at] >= '0' && s->text[at] <= '9';
}

enum sy_status sy_scan_int(struct sy_scan *s, int64_t *out)
{
    bool negative = peek(s) == '-';
    int64_t value = 0;
    size_t begin = s->at;

    s->at += negative;
    if (!is_digit(s, s->at)) {
        s->at = begin;
        return unexpected(s, "an integer");
    }
    if (s->text[s->at] == '0' && is_digit(s, s->at + 1))
        return sy_scan_fail(s, "not valid JSON: a number begins with 0");
    for (; is_digit(s, s->at); s->at++) {
        int digit = s->text[s->at] - '0';
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_sub_overflow(value, digit, &value))
            return sy_scan_fail(s, "the integer is too large");
    }
    if (s->at < s->len && strchr(".eE", s->text[s->at]) && s->text[s->at])
        return sy_scan_fail(s, "expected an integer, found a number with a fraction or an exponent");
    /* Summed below zero, which has one value more. */
    if (!negative && value == INT64_MIN)
        return sy_scan_fail(s, "the integer is too large");
    *out = negative ? value : -value;
    return SY_OK;
}

static enum sy_status skip_number(struct sy_scan *s)
{
    size_t at = s->at + (s->text[s->at] == '-');

    if (!is_digit(s, at) || (s->text[at] == '0' && is_digit(s, at + 1)))
        return sy_scan_fail(s, "not valid JSON: bad number");
    while (is_digit(s, at))
        at++;
    if (at < s->len && s->text[at] == '.') {
        if (!is_digit(s, ++at))
            return sy_scan_fail(s, "not valid JSON: bad number");
        while (is_digit(s, at))
            at++;
    }
    if (at < s->len && (s->text[at] == 'e' || s->text[at] == 'E')) {
        at++;
        if (at < s->len && (s->text[at] == '+' || s->text[at] == '-'))
            at++;
        if (!is_digit(s, at))
            return sy_scan_fail(s, "not valid JSON: bad number");
        while (is_digit(s, at))
            at++;
    }
    s->at = at;
    return SY_OK;
}

static enum sy_status skip_word(struct sy_scan *s)
{
    static const char *const words[] = {"true", "false", "null"};

    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if (s->len - s->at >= n && !memcmp(s->text + s->at, words[i], n)) {
            s->at += n;
            return SY_OK;
        }
    }
    return unexpected(s, "a value");
}

enum sy_status sy_scan_skip(struct sy_scan *s, int max_depth)
{
    char *pool = s->pool;
    const char *unused;
    enum sy_status st;
    bool first = true;
    int c = peek(s);

    if (c == '"')
        st = sy_scan_string(s, &unused);
    else if (c == '-' || (c >= '0' && c <= '9'))
        st = skip_number(s);
    else if (c != '{' && c != '[')
        st = c < 0 ? unexpected(s, "a value") : skip_word(s);
    else if (max_depth <= 0)
        st = sy_scan_fail(s, "nested too deeply");
    else {
        s->at++;
        do {
            st = c == '{' ? sy_scan_key(s, &first, &unused) : sy_scan_item(s, &first);
            if (!st)
                st = sy_scan_skip(s, max_depth - 1);
            s->pool = pool;
        } while (!st);
        st = st == SY_AGAIN ? SY_OK : st;
    }
    s->pool = pool;
    return st;
}

enum sy_status sy_scan_end(struct sy_scan *s)
{
    return peek(s) < 0 ? SY_OK : unexpected(s, "the end of the text");
}
