/* SPDX-License-Identifier: Apache-2.0
 * operator.c - operators of expressions, on Python's terms
 */
#include <math.h>
#include <string.h>

#include "chat/chars.h"
#include "chat/render.h"

static bool wrong(struct sy_render *r, const char *op, struct sy_value a, struct sy_value b)
{
    if (a.kind == SY_VALUE_UNDEFINED || b.kind == SY_VALUE_UNDEFINED)
        return sy_fail(r, "\"%.100s\" is undefined", a.kind == SY_VALUE_UNDEFINED ? a.as.name : b.as.name);
    return sy_fail(r, "%s %s %s is not supported", sy_value_type(a), op, sy_value_type(b));
}

static bool too_large(struct sy_render *r)
{
    return sy_fail(r, "the integer is too large");
}

/* When one of two texts is marked as safe, the other is escaped. */
static bool join_texts(struct sy_render *r, struct sy_value a, struct sy_value b, struct sy_value *out)
{
    struct sy_buf buf = SY_BUF_INIT;
    bool is_safe = a.is_safe || b.is_safe;

    if (is_safe && (!sy_text_escape(r, a, &a) || !sy_text_escape(r, b, &b)))
        return false;
    bool good = sy_build(r, &buf, a.as.text->bytes, a.as.text->len) &&
                sy_build(r, &buf, b.as.text->bytes, b.as.text->len);
    good = sy_built(r, good, &buf, out);
    out->is_safe = is_safe;
    return good;
}

/* a ~ b, which escapes nothing. */
static bool concatenate(struct sy_render *r, struct sy_value a, struct sy_value b, struct sy_value *out)
{
    struct sy_buf buf = SY_BUF_INIT;

    return sy_built(r, sy_show_into(r, a, &buf) && sy_show_into(r, b, &buf), &buf, out);
}

static bool join_lists(struct sy_render *r, const struct sy_list *a, const struct sy_list *b, struct sy_value *out)
{
    struct sy_list *list;

    if (!sy_list_new(r, a->form, a->n + b->n, &list, out))
        return false;
    for (size_t i = 0; i < list->n; i++)
        list->at[i] = i < a->n ? a->at[i] : b->at[i - a->n];
    return true;
}

static bool repeat(struct sy_render *r, struct sy_value value, int64_t times, struct sy_value *out)
{
    bool is_safe = value.is_safe, good = true;
    struct sy_buf buf = SY_BUF_INIT;
    struct sy_list *list;
    size_t n = times < 0 ? 0 : (size_t)times;

    if (value.kind == SY_VALUE_TEXT) {
        for (size_t i = 0; i < n && good && value.as.text->len; i++)
            good = sy_build(r, &buf, value.as.text->bytes, value.as.text->len);
        good = sy_built(r, good, &buf, out);
        out->is_safe = is_safe;
        return good;
    }
    const struct sy_list *from = value.as.list;
    if (n && from->n > SIZE_MAX / 64 / n)
        return sy_fail(r, "the list is too long");
    if (!sy_list_new(r, from->form, from->n * n, &list, out))
        return false;
    for (size_t i = 0; i < list->n; i++)
        list->at[i] = from->at[i % from->n];
    return true;
}

static bool power(struct sy_render *r, struct sy_value a, struct sy_value b, struct sy_value *out)
{
    int64_t base, exponent, result = 1;

    if (!sy_value_is_integral(a) || !sy_value_is_integral(b) || sy_value_integer(b) < 0) {
        *out = sy_value_real(pow(sy_value_number(a), sy_value_number(b)));
        return isfinite(out->as.real) || sy_fail(r, "the power is not a finite number");
    }
    base = sy_value_integer(a);
    for (exponent = sy_value_integer(b); exponent > 0; exponent >>= 1) {
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result))
            return too_large(r);
        if (exponent > 1 && __builtin_mul_overflow(base, base, &base))
            return too_large(r);
    }
    *out = sy_value_int(result);
    return true;
}

/* Python's // and % round towards minus infinity. */
static bool divide(struct sy_render *r, enum sy_token_kind op, struct sy_value a, struct sy_value b,
                   struct sy_value *out)
{
    if (sy_value_number(b) == 0)
        return sy_fail(r, "division by zero");
    if (op == SY_TOKEN_DIV) {
        *out = sy_value_real(sy_value_number(a) / sy_value_number(b));
        return true;
    }
    if (!sy_value_is_integral(a) || !sy_value_is_integral(b)) {
        double x = sy_value_number(a), y = sy_value_number(b), rest = fmod(x, y);
        if (rest != 0 && (rest < 0) != (y < 0))
            rest += y;
        *out = sy_value_real(op == SY_TOKEN_MOD ? rest : floor(x / y));
        return true;
    }
    int64_t x = sy_value_integer(a), y = sy_value_integer(b);
    if (y == -1) {
        *out = sy_value_int(0);
        return op == SY_TOKEN_MOD || !__builtin_sub_overflow((int64_t)0, x, &out->as.integer) || too_large(r);
    }
    int64_t quotient = x / y, rest = x % y;
    bool down = rest && (rest < 0) != (y < 0);
    *out = sy_value_int(op == SY_TOKEN_MOD ? rest + (down ? y : 0) : quotient - down);
    return true;
}

static bool arithmetic(struct sy_render *r, enum sy_token_kind op, struct sy_value a, struct sy_value b,
                       struct sy_value *out)
{
    bool whole = sy_value_is_integral(a) && sy_value_is_integral(b);
    double x = sy_value_number(a), y = sy_value_number(b);
    int64_t i = 0, j = 0, result = 0;

    if (op == SY_TOKEN_POW)
        return power(r, a, b, out);
    if (op == SY_TOKEN_DIV || op == SY_TOKEN_FLOORDIV || op == SY_TOKEN_MOD)
        return divide(r, op, a, b, out);
    if (whole) {
        i = sy_value_integer(a);
        j = sy_value_integer(b);
        bool over = op == SY_TOKEN_ADD   ? __builtin_add_overflow(i, j, &result)
                    : op == SY_TOKEN_SUB ? __builtin_sub_overflow(i, j, &result)
                                         : __builtin_mul_overflow(i, j, &result);
        *out = sy_value_int(result);
        return !over || too_large(r);
    }
    *out = sy_value_real(op == SY_TOKEN_ADD ? x + y : op == SY_TOKEN_SUB ? x - y : x * y);
    return true;
}

static bool is_sequence(struct sy_value value)
{
    return value.kind == SY_VALUE_TEXT || (value.kind == SY_VALUE_LIST && value.as.list->form <= SY_LIST_TUPLE);
}

bool sy_binary(struct sy_render *r, enum sy_token_kind op, struct sy_value a, struct sy_value b, struct sy_value *out)
{
    static const char *const signs[] = {
        [SY_TOKEN_ADD] = "+",       [SY_TOKEN_SUB] = "-", [SY_TOKEN_MUL] = "*",  [SY_TOKEN_DIV] = "/",
        [SY_TOKEN_FLOORDIV] = "//", [SY_TOKEN_MOD] = "%", [SY_TOKEN_POW] = "**",
    };

    if (op == SY_TOKEN_TILDE)
        return concatenate(r, a, b, out);
    if (sy_value_is_number(a) && sy_value_is_number(b))
        return arithmetic(r, op, a, b, out);
    if (op == SY_TOKEN_ADD && a.kind == SY_VALUE_TEXT && b.kind == SY_VALUE_TEXT)
        return join_texts(r, a, b, out);
    if (op == SY_TOKEN_ADD && is_sequence(a) && is_sequence(b) && a.kind == SY_VALUE_LIST && b.kind == SY_VALUE_LIST &&
        a.as.list->form == b.as.list->form)
        return join_lists(r, a.as.list, b.as.list, out);
    if (op == SY_TOKEN_MUL && is_sequence(a) && sy_value_is_integral(b))
        return repeat(r, a, sy_value_integer(b), out);
    if (op == SY_TOKEN_MUL && is_sequence(b) && sy_value_is_integral(a))
        return repeat(r, b, sy_value_integer(a), out);
    return wrong(r, signs[op], a, b);
}

bool sy_contains(struct sy_render *r, struct sy_value element, struct sy_value in, bool *out)
{
    const struct sy_list *items;
    struct sy_value unused;

    *out = false;
    if (in.kind == SY_VALUE_DICT)
        return sy_dict_get(r, in.as.dict, element, out, &unused);
    if (in.kind == SY_VALUE_TEXT) {
        if (element.kind != SY_VALUE_TEXT)
            return wrong(r, "in", element, in);
        const struct sy_text *inner = element.as.text, *outer = in.as.text;
        *out = !inner->len || memmem(outer->bytes, outer->len, inner->bytes, inner->len);
        return sy_charge(r, outer->len);
    }
    if (!sy_value_items(r, in, &items))
        return false;
    for (size_t i = 0; i < items->n && !*out; i++)
        if (!sy_value_equal(r, items->at[i], element, out))
            return false;
    return true;
}

bool sy_compare(struct sy_render *r, enum sy_token_kind op, struct sy_value a, struct sy_value b, bool *out)
{
    int order;

    if (op == SY_TOKEN_IN || op == SY_TOKEN_NOT_IN) {
        if (!sy_contains(r, a, b, out))
            return false;
        *out = *out == (op == SY_TOKEN_IN);
        return true;
    }
    if (op == SY_TOKEN_EQ || op == SY_TOKEN_NE) {
        if (!sy_value_equal(r, a, b, out))
            return false;
        *out = *out == (op == SY_TOKEN_EQ);
        return true;
    }
    if (!sy_value_order(r, a, b, &order))
        return false;
    *out = op == SY_TOKEN_LT ? order < 0 : op == SY_TOKEN_LE ? order <= 0 : op == SY_TOKEN_GT ? order > 0 : order >= 0;
    /* NaN is neither less nor more nor equal. */
    if (sy_value_is_number(a) && (isnan(sy_value_number(a)) || isnan(sy_value_number(b))))
        *out = false;
    return true;
}

/* ---- parts of values ---- */

static bool method_of(struct sy_render *r, struct sy_value self, const char *name, bool *found, struct sy_value *out)
{
    const struct sy_builtin *table = self.kind == SY_VALUE_TEXT   ? sy_text_methods
                                     : self.kind == SY_VALUE_DICT ? sy_dict_methods
                                     : self.kind == SY_VALUE_LOOP ? sy_loop_methods
                                                                  : sy_list_methods;
    const struct sy_builtin *builtin = sy_builtin_in(table, name, strlen(name));
    struct sy_method *method;

    *found = builtin != NULL;
    if (!builtin)
        return true;
    method = sy_take(r, sizeof *method);
    if (!method)
        return false;
    *method = (struct sy_method){.builtin = builtin, .self = self};
    *out = (struct sy_value){.kind = SY_VALUE_METHOD, .as.method = method};
    return true;
}

bool sy_attribute(struct sy_render *r, struct sy_value value, const char *name, struct sy_value *out)
{
    const struct sy_value *member;
    bool found = false;

    *out = sy_value_undefined(name);
    switch (value.kind) {
    case SY_VALUE_UNDEFINED:
        return sy_fail(r, "\"%.100s\" is undefined, so it has no \"%.100s\"", value.as.name, name);
    case SY_VALUE_LOOP:
        if (!sy_loop_attribute(r, value.as.loop, name, &found, out) || found)
            return !r->st;
        return method_of(r, value, name, &found, out);
    case SY_VALUE_TEXT:
    case SY_VALUE_LIST:
    case SY_VALUE_DICT:
        if (!method_of(r, value, name, &found, out) || found)
            return !r->st;
        break;
    case SY_VALUE_MACRO:
        return sy_fail(r, "attributes of a macro are not supported");
    default:
        break;
    }
    if (value.kind != SY_VALUE_DICT && value.kind != SY_VALUE_NAMESPACE)
        return true;
    member = sy_dict_find(value.as.dict, name);
    if (member)
        *out = *member;
    return sy_charge(r, value.as.dict->n);
}

/* Element number i of n, counted from the end when it is negative; false when there is none. */
static bool element(int64_t i, size_t n, size_t *at)
{
    if (i < 0)
        i += (int64_t)n;
    *at = (size_t)i;
    return i >= 0 && (uint64_t)i < n;
}

static bool character(struct sy_render *r, struct sy_value text, int64_t i, struct sy_value *out)
{
    size_t at;

    if (!element(i, sy_text_chars(text), &at))
        return true;
    size_t begin = sy_text_offset(text, at), left = text.as.text->len - begin;
    size_t end = begin + sy_chars_offset(text.as.text->bytes + begin, left, 1);
    return sy_charge(r, sy_text_chars(text) == text.as.text->len ? 1 : begin) && sy_text_part(r, text, begin, end, out);
}

bool sy_item(struct sy_render *r, struct sy_value value, struct sy_value key, struct sy_value *out)
{
    bool found = false, is_index = sy_value_is_integral(key);
    struct sy_value name;
    size_t at;

    *out = sy_value_undefined("item");
    if (value.kind == SY_VALUE_UNDEFINED)
        return sy_fail(r, "\"%.100s\" is undefined", value.as.name);
    if (value.kind == SY_VALUE_DICT) {
        if (!sy_dict_get(r, value.as.dict, key, &found, out) || found)
            return !r->st;
    } else if (is_index && value.kind == SY_VALUE_LIST && value.as.list->form != SY_LIST_VIEW) {
        if (element(sy_value_integer(key), value.as.list->n, &at))
            *out = value.as.list->at[at];
        return true;
    } else if (is_index && value.kind == SY_VALUE_TEXT) {
        return character(r, value, sy_value_integer(key), out);
    }
    if (key.kind != SY_VALUE_TEXT)
        return true;
    /* What is no item may be an attribute; the copy ends with a NUL. */
    if (!sy_text_copy(r, key.as.text->bytes, key.as.text->len, &name))
        return false;
    if (value.kind == SY_VALUE_DICT)
        return method_of(r, value, name.as.text->bytes, &found, out) &&
               (found || (*out = sy_value_undefined(name.as.text->bytes), true));
    return sy_attribute(r, value, name.as.text->bytes, out);
}

static bool slice_bound(struct sy_render *r, struct sy_value part, int64_t n, int64_t low, int64_t high, int64_t *bound)
{
    if (part.kind == SY_VALUE_NONE)
        return true;
    if (!sy_value_is_integral(part))
        return sy_fail(r, "a slice from or to %s, expected an integer", sy_value_type(part));
    int64_t i = sy_value_integer(part);
    if (i < 0)
        i += n;
    *bound = i < low ? low : i > high ? high : i;
    return true;
}

static bool slice_text(struct sy_render *r, struct sy_value text, int64_t begin, int64_t n, int64_t step,
                       struct sy_value *out)
{
    struct sy_buf buf = SY_BUF_INIT;
    bool good = true, is_safe = text.is_safe;

    if (!sy_charge(r, text.as.text->len))
        return false;
    if (step == 1 || !n)
        return sy_text_part(r, text, n ? sy_text_offset(text, (size_t)begin) : 0,
                            n ? sy_text_offset(text, (size_t)(begin + n)) : 0, out);
    for (int64_t i = 0; i < n && good; i++) {
        struct sy_value one;
        good = character(r, text, begin + i * step, &one) && sy_build(r, &buf, one.as.text->bytes, one.as.text->len);
    }
    good = sy_built(r, good, &buf, out);
    out->is_safe = is_safe;
    return good;
}

/* Source: PySlice_AdjustIndices. */
bool sy_slice(struct sy_render *r, struct sy_value value, const struct sy_value parts[3], struct sy_value *out)
{
    struct sy_list *list;
    int64_t step = 1;
    size_t length;

    if (value.kind == SY_VALUE_UNDEFINED)
        return sy_fail(r, "\"%.100s\" is undefined", value.as.name);
    if (value.kind != SY_VALUE_TEXT && (value.kind != SY_VALUE_LIST || value.as.list->form == SY_LIST_VIEW))
        return sy_fail(r, "a slice of %s", sy_value_type(value));
    if (!sy_value_length(r, value, &length))
        return false;
    int64_t n = (int64_t)length;
    if (!slice_bound(r, parts[2], 0, INT64_MIN / 2, INT64_MAX / 2, &step))
        return false;
    if (!step)
        return sy_fail(r, "a slice with step 0");
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n, begin = step < 0 ? high : low,
            end = step < 0 ? -1 : n;
    if (!slice_bound(r, parts[0], n, low, high, &begin) || !slice_bound(r, parts[1], n, low, high, &end))
        return false;
    int64_t span = step > 0 ? end - begin : begin - end, stride = step > 0 ? step : -step;
    int64_t count = span > 0 ? (span - 1) / stride + 1 : 0;
    if (value.kind == SY_VALUE_TEXT)
        return slice_text(r, value, begin, count, step, out);
    if (!sy_list_new(r, value.as.list->form, (size_t)count, &list, out))
        return false;
    for (int64_t i = 0; i < count; i++)
        list->at[i] = value.as.list->at[begin + i * step];
    return true;
}
