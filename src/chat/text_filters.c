/* SPDX-License-Identifier: Apache-2.0
 * text_filters.c - filters that make text or numbers
 *
 * Source: jinja.palletsprojects.com/en/3.1.x/templates/#builtin-filters; tojson is Hugging Face's.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/chars.h"
#include "chat/methods.h"
#include "chat/render.h"

#define FILTER(name) \
    static bool name(struct sy_render *r, struct sy_value self, const struct sy_args *args, struct sy_value *out)

#define INDENT_MAX 1000

FILTER(upper)
{
    (void)args;
    return sy_show(r, self, &self) && sy_text_case(r, self, SY_CASE_UPPER, out);
}

FILTER(lower)
{
    (void)args;
    return sy_show(r, self, &self) && sy_text_case(r, self, SY_CASE_LOWER, out);
}

FILTER(title)
{
    (void)args;
    return sy_show(r, self, &self) && sy_text_case(r, self, SY_CASE_TITLE_WORDS, out);
}

FILTER(capitalize)
{
    (void)args;
    return sy_show(r, self, &self) && sy_text_case(r, self, SY_CASE_CAPITALIZE, out);
}

FILTER(trim)
{
    return sy_show(r, self, &self) && sy_text_strip(r, self, args->at[0], true, true, out);
}

FILTER(replace)
{
    struct sy_value old, new;
    int64_t times = -1;

    if (!sy_show(r, self, &self) || !sy_show(r, args->at[0], &old) || !sy_show(r, args->at[1], &new) ||
        (args->at[2].kind != SY_VALUE_NONE && !sy_arg_int(r, args, 2, &times)))
        return false;
    self.is_safe = false;
    return sy_text_replace(r, self, old, new, times, out);
}

FILTER(string)
{
    (void)args;
    return sy_show(r, self, out);
}

FILTER(safe)
{
    (void)args;
    if (!sy_show(r, self, out))
        return false;
    out->is_safe = true;
    return true;
}

FILTER(escape)
{
    (void)args;
    return sy_show(r, self, &self) && sy_text_escape(r, self, out);
}

FILTER(otherwise)
{
    bool falsy = sy_arg_bool(args, 1, false) && !sy_value_truth(self);

    *out = self;
    if (self.kind != SY_VALUE_UNDEFINED && !falsy)
        return true;
    *out = args->at[0];
    return args->at[0].kind != SY_VALUE_ABSENT || sy_text_copy(r, "", 0, out);
}

/* A number that is written as Python's int() or float() reads it; NULL when it has other characters. */
static char *numeral(struct sy_render *r, struct sy_value text, const char *allowed)
{
    const struct sy_text *t = text.as.text;
    size_t begin = sy_chars_leading_space(t->bytes, t->len);
    size_t end = t->len - sy_chars_trailing_space(t->bytes + begin, t->len - begin), n = 0;
    char *copy = sy_take(r, t->len + 1);

    for (size_t i = begin; copy && i < end; i++) {
        char c = t->bytes[i];
        bool between = c == '_' && i > begin && i + 1 < end && isdigit((unsigned char)t->bytes[i - 1]) &&
                       isdigit((unsigned char)t->bytes[i + 1]);
        if (!between && (!c || !strchr(allowed, c)))
            return NULL;
        if (!between)
            copy[n++] = c;
    }
    return n ? copy : NULL;
}

static bool read_real(struct sy_render *r, struct sy_value text, double *out)
{
    char *copy = numeral(r, text, "+-.0123456789eEinfatyINFATY"), *end;

    if (!copy)
        return false;
    *out = strtod(copy, &end);
    return !*end;
}

FILTER(to_int)
{
    struct sy_value otherwise_value = args->at[0].kind == SY_VALUE_ABSENT ? sy_value_int(0) : args->at[0];
    double real = 0;
    int64_t base = 10;
    char *copy, *end;

    *out = otherwise_value;
    if (self.kind == SY_VALUE_UNDEFINED)
        return sy_fail(r, "\"%.100s\" is undefined", self.as.name);
    if (!sy_arg_int(r, args, 1, &base) || base != 10)
        return sy_fail(r, "int with a base other than 10 is not supported");
    if (sy_value_is_integral(self)) {
        *out = sy_value_int(sy_value_integer(self));
        return true;
    }
    if (self.kind == SY_VALUE_TEXT) {
        copy = numeral(r, self, "+-0123456789");
        errno = 0;
        if (copy) {
            *out = sy_value_int(strtoll(copy, &end, 10));
            if (errno)
                return sy_fail(r, "the integer is too large");
            if (!*end)
                return true;
            *out = otherwise_value;
        }
        if (r->st || !read_real(r, self, &real))
            return !r->st;
    } else if (self.kind == SY_VALUE_REAL) {
        real = self.as.real;
    } else {
        return true;
    }
    if (!isfinite(real) || fabs(real) >= 9e18)
        return isnan(real) || sy_fail(r, "the integer is too large");
    *out = sy_value_int((int64_t)real);
    return true;
}

FILTER(to_real)
{
    double real;

    if (self.kind == SY_VALUE_UNDEFINED)
        return sy_fail(r, "\"%.100s\" is undefined", self.as.name);
    if (sy_value_is_number(self))
        *out = sy_value_real(sy_value_number(self));
    else if (self.kind == SY_VALUE_TEXT && read_real(r, self, &real))
        *out = sy_value_real(real);
    else
        *out = args->at[0].kind == SY_VALUE_ABSENT ? sy_value_real(0) : args->at[0];
    return !r->st;
}

FILTER(absolute)
{
    (void)args;
    if (!sy_value_is_number(self))
        return sy_fail(r, "abs of %s", sy_value_type(self));
    if (self.kind == SY_VALUE_REAL) {
        *out = sy_value_real(fabs(self.as.real));
        return true;
    }
    *out = self.kind == SY_VALUE_BOOL ? sy_value_int(self.as.truth) : self;
    return out->as.integer >= 0 || sy_binary(r, SY_TOKEN_SUB, sy_value_int(0), self, out);
}

FILTER(round_to)
{
    bool up = args->n > 1 && sy_text_is(args->at[1], "ceil"), down = sy_text_is(args->at[1], "floor");
    int64_t digits = 0;
    char text[400];

    if (!sy_value_is_number(self) || !sy_arg_int(r, args, 0, &digits))
        return sy_fail(r, "round of %s", sy_value_type(self));
    if (digits < 0 || digits > 15 ||
        (args->at[1].kind != SY_VALUE_ABSENT && !up && !down && !sy_text_is(args->at[1], "common")))
        return sy_fail(r, "round with these arguments is not supported");
    double real = sy_value_number(self), scale = pow(10, (double)digits);
    if (up || down) {
        *out = sy_value_real((up ? ceil(real * scale) : floor(real * scale)) / scale);
        return true;
    }
    if (sy_value_is_integral(self)) {
        *out = sy_value_int(sy_value_integer(self));
        return true;
    }
    /* Like Python, printf rounds the exact value. */
    snprintf(text, sizeof text, "%.*f", (int)digits, real);
    *out = sy_value_real(strtod(text, NULL));
    return true;
}

/* What stands in front of each line: a text, or so many spaces. */
static bool margin(struct sy_render *r, struct sy_value width, const char *otherwise_text, struct sy_value *out)
{
    struct sy_value space;

    if (width.kind == SY_VALUE_ABSENT)
        return sy_text_copy(r, otherwise_text, strlen(otherwise_text), out);
    *out = width;
    if (width.kind == SY_VALUE_TEXT)
        return true;
    if (!sy_value_is_integral(width) || sy_value_integer(width) > INDENT_MAX)
        return sy_fail(r, "an indent by %s, expected up to %d spaces", sy_value_type(width), INDENT_MAX);
    return sy_text_copy(r, " ", 1, &space) && sy_binary(r, SY_TOKEN_MUL, space, width, out);
}

FILTER(indent)
{
    bool is_first = true, on_blank = sy_arg_bool(args, 2, false), good = true, first = sy_arg_bool(args, 1, false);
    struct sy_buf buf = SY_BUF_INIT;
    struct sy_value in_front;
    size_t at = 0, begin, end, last_end = 0;

    if (self.kind != SY_VALUE_TEXT)
        return sy_fail(r, "indent of %s, expected a string", sy_value_type(self));
    if (!margin(r, args->at[0], "    ", &in_front))
        return false;
    const struct sy_text *t = self.as.text, *space = in_front.as.text;
    bool is_safe = self.is_safe;
    while (good && sy_text_line(t, &at, false, &begin, &end)) {
        bool put = is_first ? first : end > begin || on_blank;
        good = (is_first || sy_build(r, &buf, "\n", 1)) && (!put || sy_build(r, &buf, space->bytes, space->len)) &&
               sy_build(r, &buf, t->bytes + begin, end - begin);
        is_first = false;
        last_end = end;
    }
    /* The filter adds a newline before it splits, so that one at the end of the text makes an empty line. */
    if (good && is_first && first)
        good = sy_build(r, &buf, space->bytes, space->len);
    if (good && last_end < t->len)
        good = sy_build(r, &buf, "\n", 1) && (!on_blank || sy_build(r, &buf, space->bytes, space->len));
    good = sy_built(r, good, &buf, out);
    out->is_safe = is_safe;
    return good;
}

FILTER(tojson)
{
    struct sy_value indent = args->at[1], separators = args->at[2];
    struct sy_json_style style = {.ascii = sy_arg_bool(args, 0, false), .sort = sy_arg_bool(args, 3, false)};
    bool lines = indent.kind != SY_VALUE_ABSENT && indent.kind != SY_VALUE_NONE;

    if (lines && sy_value_is_integral(indent) && sy_value_integer(indent) < 0)
        indent = sy_value_int(0);
    if (lines) {
        if (!margin(r, indent, "", &indent) || !sy_text_copy(r, indent.as.text->bytes, indent.as.text->len, &indent))
            return false;
        style.indent = indent.as.text->bytes;
    }
    if (!sy_text_copy(r, lines ? "," : ", ", lines ? 1 : 2, &style.item_separator) ||
        !sy_text_copy(r, ": ", 2, &style.key_separator))
        return false;
    if (separators.kind != SY_VALUE_ABSENT && separators.kind != SY_VALUE_NONE) {
        if (separators.kind != SY_VALUE_LIST || separators.as.list->n != 2 ||
            separators.as.list->at[0].kind != SY_VALUE_TEXT || separators.as.list->at[1].kind != SY_VALUE_TEXT)
            return sy_fail(r, "separators of tojson, expected two strings");
        style.item_separator = separators.as.list->at[0];
        style.key_separator = separators.as.list->at[1];
    }
    return sy_dump(r, self, &style, out);
}

const struct sy_builtin sy_text_filters[] = {
    {"upper", "", 0, upper},
    {"lower", "", 0, lower},
    {"title", "", 0, title},
    {"capitalize", "", 0, capitalize},
    {"trim", "chars", 0, trim},
    {"replace", "old new count", 2, replace},
    {"string", "", 0, string},
    {"safe", "", 0, safe},
    {"escape", "", 0, escape},
    {"e", "", 0, escape},
    {"default", "default_value boolean", 0, otherwise},
    {"d", "default_value boolean", 0, otherwise},
    {"int", "default base", 0, to_int},
    {"float", "default", 0, to_real},
    {"abs", "", 0, absolute},
    {"round", "precision method", 0, round_to},
    {"indent", "width first blank", 0, indent},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, tojson},
    {.name = NULL},
};
