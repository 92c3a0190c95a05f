/* SPDX-License-Identifier: Apache-2.0
 * pattern.c - Oniguruma's Ruby syntax into PCRE2's
 *
 * Differences that are rewritten (syntax: Oniguruma doc/RE; pcre2pattern(3)):
 *   \s \S     White_Space; PCRE2 counts U+180E too, which left that class in Unicode 6.3
 *   \w \W \b  letters, marks, decimal digits and connectors; PCRE2 before 10.43 leaves marks out. Outside a set the
 *             superscripts and fractions of Latin-1 too, which Oniguruma has in a table of its own
 *   \p{Han}   the script; PCRE2 since 10.40 means Script_Extensions
 *   \h \H \v  a hexadecimal digit, not one, and U+000B; PCRE2 means kinds of white space
 *   \uXXXX    a code point
 *   (?m:      a dot matches newlines, which PCRE2 writes (?s:
 *   {,n}      {0,n}
 * (?i) is refused where it would make one character match two (check_caseless()).
 */
#include "model/pattern.h"

#include <ctype.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SPACE "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NOT_SPACE                                                                                                \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}!-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}" \
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
#define WORD         "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define WORD_OUTSIDE WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define HEX          "0-9a-fA-F"

struct translation {
    const char *where;
    const char *s;
    size_t len, at;
    struct sy_buf *out;
    struct sy_error *err;
};

static enum sy_status refuse(struct translation *t, const char *what)
{
    return sy_error_set(t->err, SY_ERR_DATA, "%s: %s at byte %zu of the pattern is not supported", t->where, what,
                        t->at);
}

static enum sy_status put(struct translation *t, const char *text, size_t len)
{
    if (!sy_buf_append(t->out, text, len))
        return sy_error_set(t->err, SY_ERR_SYSTEM, "%s: no memory for a pattern", t->where);
    return SY_OK;
}

static bool looking_at(const struct translation *t, const char *text)
{
    size_t n = strlen(text);

    return t->len - t->at >= n && !memcmp(t->s + t->at, text, n);
}

struct escape {
    char letter;
    const char *outside, *inside; /* of a character set; NULL: refused */
};

static const struct escape ESCAPES[] = {
    {'s', "[" SPACE "]", SPACE},
    {'S', "[^" SPACE "]", NOT_SPACE},
    {'w', "[" WORD_OUTSIDE "]", WORD},
    {'W', "[^" WORD_OUTSIDE "]", NULL},
    {'b', "(?:(?<=[" WORD_OUTSIDE "])(?![" WORD_OUTSIDE "])|(?<![" WORD_OUTSIDE "])(?=[" WORD_OUTSIDE "]))", "\\b"},
    {'B', "(?:(?<=[" WORD_OUTSIDE "])(?=[" WORD_OUTSIDE "])|(?<![" WORD_OUTSIDE "])(?![" WORD_OUTSIDE "]))", NULL},
    {'h', "[" HEX "]", HEX},
    {'H', "[^" HEX "]", NULL},
    {'v', "\\x{b}", "\\x{b}"},
    /* Quoting, callouts, single code units, resetting the begin of a match and subroutine calls have another meaning
     * there, or none. */
    {'Q', NULL, NULL},
    {'E', NULL, NULL},
    {'C', NULL, NULL},
    {'K', NULL, NULL},
    {'N', NULL, NULL},
    {'O', NULL, NULL},
    {'V', NULL, NULL},
    {'g', NULL, NULL},
    {'G', NULL, NULL},
    {'R', NULL, NULL},
    {'X', NULL, NULL},
};

static bool is_script(const char *name, size_t len)
{
    char pattern[64];
    int n = snprintf(pattern, sizeof pattern, "\\p{sc:%.*s}", (int)len, name), code;
    size_t at;

    if (len < 3 || n < 0 || (size_t)n >= sizeof pattern)
        return false;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, (size_t)n, PCRE2_UTF, &code, &at, NULL);
    pcre2_code_free(compiled);
    return compiled;
}

/* What follows \p, \P or \x: braces that are no interval. PCRE2 reads \p{Han} as the extended script, which has
 * punctuation too. */
static enum sy_status property(struct translation *t, char letter)
{
    const char *name = t->s + t->at + 1, *end = memchr(t->s + t->at, '}', t->len - t->at);

    if (!end)
        return refuse(t, "a brace without its end");
    t->at = (size_t)(end - t->s) + 1;
    bool negated = name < end && *name == '^';
    name += negated;
    char head[] = {'\\', letter, '{', '^'};
    enum sy_status st = put(t, head, negated ? 4 : 3);
    if (!st && letter != 'x' && is_script(name, (size_t)(end - name)))
        st = put(t, "sc:", 3);
    return st ? st : put(t, name, (size_t)(end - name) + 1);
}

/* A backslash and what belongs to it. */
static enum sy_status escape(struct translation *t, bool in_set)
{
    if (t->at + 1 >= t->len)
        return refuse(t, "a backslash with nothing after it");
    char c = t->s[t->at + 1];
    for (size_t i = 0; i < sizeof ESCAPES / sizeof *ESCAPES; i++) {
        if (ESCAPES[i].letter != c)
            continue;
        const char *text = in_set ? ESCAPES[i].inside : ESCAPES[i].outside;
        if (!text) {
            char what[] = "\\? in this place";
            what[1] = c;
            return refuse(t, what);
        }
        t->at += 2;
        return put(t, text, strlen(text));
    }
    if (c == 'u') {
        size_t n = 0;
        while (n < 4 && t->at + 2 + n < t->len && isxdigit((unsigned char)t->s[t->at + 2 + n]))
            n++;
        if (n < 4)
            return refuse(t, "\\u without four hexadecimal digits");
        char point[9] = {'\\', 'x', '{', 0, 0, 0, 0, '}', 0};
        memcpy(point + 3, t->s + t->at + 2, 4);
        t->at += 6;
        return put(t, point, 8);
    }
    size_t begin = t->at;
    if (c == 'x' && !(begin + 2 < t->len && (t->s[begin + 2] == '{' || isxdigit((unsigned char)t->s[begin + 2]))))
        return refuse(t, "\\x without hexadecimal digits");
    t->at += 2;
    if (strchr("pPx", c) && c && t->at < t->len && t->s[t->at] == '{')
        return property(t, c);
    return put(t, t->s + begin, t->at - begin);
}

/* [...]: a set inside a set and && are set operations there and plain characters here. */
static enum sy_status set(struct translation *t)
{
    size_t begin = t->at++;

    if (t->at < t->len && t->s[t->at] == '^')
        t->at++;
    if (t->at < t->len && t->s[t->at] == ']')
        return refuse(t, "an empty character set");
    enum sy_status st = put(t, t->s + begin, t->at - begin);
    while (!st && t->at < t->len) {
        char c = t->s[t->at];
        if (c == '\\') {
            st = escape(t, true);
        } else if (c == '[') {
            return refuse(t, "a character set inside a character set");
        } else if (looking_at(t, "&&")) {
            return refuse(t, "an intersection of character sets");
        } else {
            t->at++;
            st = put(t, &c, 1);
            if (c == ']')
                return st;
        }
    }
    if (st)
        return st;
    t->at = begin;
    return refuse(t, "a character set without its end");
}

/* Without regard to case one character may match two there (U+00DF and "ss", U+FB01 and "fi"), in a set too, and never here.
 * So from at on, up to the end of the group or of the pattern, there may be no such pair, nothing outside ASCII, and no
 * class that has letters outside it. */
static enum sy_status check_caseless(struct translation *t, size_t at, bool to_end)
{
    static const char PAIRS[] = "ss st ff fi fl";
    bool in_set = false;
    char before = ' ';

    for (int depth = 0; at < t->len && depth >= 0; at++) {
        char c = t->s[at], lower = (char)tolower((unsigned char)c);
        const char pair[] = {before, lower, 0};
        before = in_set ? ' ' : lower;
        t->at = at;
        if (c & 0x80)
            return refuse(t, "a character outside ASCII where case does not count");
        if (c == '\\' && at + 1 < t->len && strchr("pPwWSDuxXk0123456789", t->s[at + 1]) && t->s[at + 1])
            return refuse(t, "this escape where case does not count");
        if (before != ' ' && isalpha((unsigned char)lower) && isalpha((unsigned char)pair[0]) && strstr(PAIRS, pair))
            return refuse(t, "two letters that are one character where case does not count");
        at += c == '\\';
        if (c == '[' || c == ']')
            in_set = c == '[';
        else if (!in_set && !to_end)
            depth += (c == '(') - (c == ')');
    }
    return SY_OK;
}

/* "(": the options letter m means s, and an option without a colon reaches over "|" here but not there. */
static enum sy_status group(struct translation *t)
{
    if (looking_at(t, "(*") || looking_at(t, "(?C") || looking_at(t, "(?R") || looking_at(t, "(?P") ||
        looking_at(t, "(?|") || looking_at(t, "(?&") || looking_at(t, "(?~") || looking_at(t, "(?^"))
        return refuse(t, "this kind of group");
    if (!looking_at(t, "(?"))
        return t->at++, put(t, "(", 1);
    size_t end = t->at + 2;
    while (end < t->len && strchr("imx-", t->s[end]) && t->s[end])
        end++;
    if (end == t->at + 2) { /* a look-around, an atomic or a named group, a plain (?: */
        char next = end < t->len ? t->s[end] : 0;
        if (!next || !strchr(":=!><#", next))
            return refuse(t, "this kind of group");
        t->at = end;
        return put(t, "(?", 2);
    }
    if (end >= t->len || (t->s[end] != ':' && t->s[end] != ')'))
        return refuse(t, "this kind of group");
    if (t->s[end] == ')' && t->at)
        return refuse(t, "an option in the middle of a pattern");
    size_t begin = t->at;
    enum sy_status st = memchr(t->s + begin, 'i', end - begin) ? check_caseless(t, end + 1, t->s[end] == ')') : SY_OK;
    if (st)
        return st;
    t->at = begin;
    for (; t->at <= end; t->at++) {
        char c = t->s[t->at] == 'm' ? 's' : t->s[t->at];
        st = put(t, &c, 1);
        if (st)
            return st;
    }
    return SY_OK;
}

/* "{": an interval, or a plain character when it is none. */
static enum sy_status brace(struct translation *t)
{
    size_t i = t->at + 1, digits_low, digits_high = 0;

    while (i < t->len && isdigit((unsigned char)t->s[i]))
        i++;
    digits_low = i - t->at - 1;
    bool comma = i < t->len && t->s[i] == ',';
    if (comma) {
        size_t begin = ++i;
        while (i < t->len && isdigit((unsigned char)t->s[i]))
            i++;
        digits_high = i - begin;
    }
    if (i >= t->len || t->s[i] != '}' || !(digits_low || digits_high)) {
        t->at++;
        return put(t, "\\{", 2);
    }
    /* {n,m}+ repeats the whole there and is possessive here; {n}? is "none or n" there and lazy here. */
    if (i + 1 < t->len && (t->s[i + 1] == '+' || (t->s[i + 1] == '?' && !comma)))
        return refuse(t, "a second quantifier after an interval");
    enum sy_status st = put(t, digits_low ? "{" : "{0", digits_low ? 1 : 2);
    if (!st)
        st = put(t, t->s + t->at + 1, i - t->at);
    t->at = i + 1;
    return st;
}

enum sy_status sy_pattern_translate(const char *where, const char *pattern, size_t len, struct sy_buf *out,
                                    struct sy_error *err)
{
    struct translation t = {.where = where, .s = pattern, .len = len, .out = out, .err = err};
    enum sy_status st = SY_OK;

    if (len > SY_PATTERN_BYTES_MAX)
        return sy_error_set(err, SY_ERR_DATA, "%s: a pattern of %zu bytes, at most %d are supported", where, len,
                            SY_PATTERN_BYTES_MAX);
    while (!st && t.at < len) {
        char c = pattern[t.at];
        if (c == '\\') {
            st = escape(&t, false);
        } else if (c == '[') {
            st = set(&t);
        } else if (c == '(') {
            st = group(&t);
        } else if (c == '{') {
            st = brace(&t);
        } else {
            t.at++;
            st = put(&t, &c, 1);
        }
    }
    return st;
}
