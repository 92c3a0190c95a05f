/* SPDX-License-Identifier: Apache-2.0
 * predicates.c - the tests behind `is`
 */
#include <string.h>

#include "chat/chars.h"
#include "chat/methods.h"
#include "chat/render.h"

#define TEST(name) \
    static bool name(struct sy_render *r, struct sy_value self, const struct sy_args *args, struct sy_value *out)

static bool say(struct sy_value *out, bool truth)
{
    *out = sy_value_bool(truth);
    return true;
}

/* Tests of the kind alone. */
#define KIND_TEST(name, expression)  \
    TEST(name)                       \
    {                                \
        (void)r;                     \
        (void)args;                  \
        return say(out, expression); \
    }

KIND_TEST(is_defined, self.kind != SY_VALUE_UNDEFINED)
KIND_TEST(is_undefined, self.kind == SY_VALUE_UNDEFINED)
KIND_TEST(is_none, self.kind == SY_VALUE_NONE)
KIND_TEST(is_boolean, self.kind == SY_VALUE_BOOL)
KIND_TEST(is_true, self.kind == SY_VALUE_BOOL && self.as.truth)
KIND_TEST(is_false, self.kind == SY_VALUE_BOOL && !self.as.truth)
KIND_TEST(is_integer, self.kind == SY_VALUE_INT)
KIND_TEST(is_float, self.kind == SY_VALUE_REAL)
KIND_TEST(is_number, sy_value_is_number(self))
KIND_TEST(is_string, self.kind == SY_VALUE_TEXT)
KIND_TEST(is_mapping, self.kind == SY_VALUE_DICT)
/* What is undefined looks as if it could be called, has a length and can be gone through, so Jinja2 says yes to it too. */
KIND_TEST(is_callable, self.kind == SY_VALUE_MACRO || self.kind == SY_VALUE_METHOD || self.kind == SY_VALUE_UNDEFINED)
KIND_TEST(is_sequence, self.kind == SY_VALUE_UNDEFINED || self.kind == SY_VALUE_TEXT || self.kind == SY_VALUE_DICT ||
                           (self.kind == SY_VALUE_LIST && self.as.list->form != SY_LIST_VIEW))
KIND_TEST(is_iterable, self.kind == SY_VALUE_UNDEFINED || self.kind == SY_VALUE_TEXT || self.kind == SY_VALUE_DICT ||
                           self.kind == SY_VALUE_LIST || self.kind == SY_VALUE_ITERATOR || self.kind == SY_VALUE_LOOP)

static bool integer(struct sy_render *r, struct sy_value value, int64_t *out)
{
    if (!sy_value_is_integral(value))
        return sy_fail(r, "%s, expected an integer", sy_value_type(value));
    *out = sy_value_integer(value);
    return true;
}

TEST(is_odd)
{
    int64_t i = 0;

    (void)args;
    return integer(r, self, &i) && say(out, i % 2 != 0);
}

TEST(is_even)
{
    int64_t i = 0;

    (void)args;
    return integer(r, self, &i) && say(out, i % 2 == 0);
}

TEST(is_divisible)
{
    int64_t i = 0, by = 0;

    if (!integer(r, self, &i) || !integer(r, args->at[0], &by))
        return false;
    return by ? say(out, by == -1 || i % by == 0) : sy_fail(r, "division by zero");
}

static bool compare(struct sy_render *r, enum sy_token_kind op, struct sy_value a, struct sy_value b,
                    struct sy_value *out)
{
    bool truth;

    return sy_compare(r, op, a, b, &truth) && say(out, truth);
}

#define COMPARE_TEST(name, op)                         \
    TEST(name)                                         \
    {                                                  \
        return compare(r, op, self, args->at[0], out); \
    }

COMPARE_TEST(is_eq, SY_TOKEN_EQ)
COMPARE_TEST(is_ne, SY_TOKEN_NE)
COMPARE_TEST(is_lt, SY_TOKEN_LT)
COMPARE_TEST(is_le, SY_TOKEN_LE)
COMPARE_TEST(is_gt, SY_TOKEN_GT)
COMPARE_TEST(is_ge, SY_TOKEN_GE)
COMPARE_TEST(is_in, SY_TOKEN_IN)

/* Identity: constants and booleans are the same object when they are equal; other values when they share memory. */
TEST(is_same)
{
    struct sy_value other = args->at[0];
    bool same = self.kind == other.kind;

    (void)r;
    if (same && self.kind == SY_VALUE_BOOL)
        same = self.as.truth == other.as.truth;
    else if (same && (self.kind == SY_VALUE_INT || self.kind == SY_VALUE_REAL || self.kind == SY_VALUE_TEXT))
        return sy_fail(r, "sameas of %s is not supported", sy_value_type(self));
    else if (same && self.kind > SY_VALUE_NONE)
        same = self.as.dict == other.as.dict;
    return say(out, same);
}

static bool is_case(struct sy_render *r, struct sy_value self, const char *method, struct sy_value *out)
{
    struct sy_args none = {0};

    return sy_show(r, self, &self) &&
           sy_builtin_call(r, sy_builtin_in(sy_text_methods, method, strlen(method)), self, &none, out);
}

TEST(is_lower)
{
    (void)args;
    return is_case(r, self, "islower", out);
}

TEST(is_upper)
{
    (void)args;
    return is_case(r, self, "isupper", out);
}

const struct sy_builtin sy_tests[] = {
    {"defined", "", 0, is_defined},
    {"undefined", "", 0, is_undefined},
    {"none", "", 0, is_none},
    {"boolean", "", 0, is_boolean},
    {"true", "", 0, is_true},
    {"false", "", 0, is_false},
    {"integer", "", 0, is_integer},
    {"float", "", 0, is_float},
    {"number", "", 0, is_number},
    {"string", "", 0, is_string},
    {"mapping", "", 0, is_mapping},
    {"callable", "", 0, is_callable},
    {"sequence", "", 0, is_sequence},
    {"iterable", "", 0, is_iterable},
    {"odd", "", 0, is_odd},
    {"even", "", 0, is_even},
    {"divisibleby", "num", 1, is_divisible},
    {"eq", "other", 1, is_eq},
    {"equalto", "other", 1, is_eq},
    {"==", "other", 1, is_eq},
    {"ne", "other", 1, is_ne},
    {"!=", "other", 1, is_ne},
    {"lt", "other", 1, is_lt},
    {"lessthan", "other", 1, is_lt},
    {"<", "other", 1, is_lt},
    {"le", "other", 1, is_le},
    {"<=", "other", 1, is_le},
    {"gt", "other", 1, is_gt},
    {"greaterthan", "other", 1, is_gt},
    {">", "other", 1, is_gt},
    {"ge", "other", 1, is_ge},
    {">=", "other", 1, is_ge},
    {"in", "seq", 1, is_in},
    {"sameas", "other", 1, is_same},
    {"lower", "", 0, is_lower},
    {"upper", "", 0, is_upper},
    {.name = NULL},
};
