/* SPDX-License-Identifier: Apache-2.0
 * functions.c - functions that every template can call
 */
#include <string.h>

#include "base/utf8.h"
#include "chat/render.h"

/* What Jinja2's sandbox allows. */
#define RANGE_MAX 100000

#define FUNCTION(name) \
    static bool name(struct sy_render *r, struct sy_value self, const struct sy_args *args, struct sy_value *out)

FUNCTION(range)
{
    int64_t first = 0, end = 0, step = 1, n = 0;
    struct sy_list *list;

    (void)self;
    if (!sy_arg_int(r, args, 0, &end) || !sy_arg_int(r, args, 1, &end) || !sy_arg_int(r, args, 2, &step))
        return false;
    if (args->at[1].kind != SY_VALUE_ABSENT && !sy_arg_int(r, args, 0, &first))
        return false;
    if (!step)
        return sy_fail(r, "range with step 0");
    int64_t limit = INT64_MAX / 4;
    if (first > limit || first < -limit || end > limit || end < -limit || step > limit || step < -limit)
        return sy_fail(r, "range of numbers that are too large");
    if (step > 0 ? end > first : end < first)
        n = (step > 0 ? end - first - 1 : first - end - 1) / (step > 0 ? step : -step) + 1;
    if (n > RANGE_MAX)
        return sy_fail(r, "range of more than %d numbers", RANGE_MAX);
    if (!sy_list_new(r, SY_LIST_RANGE, (size_t)n, &list, out))
        return false;
    for (int64_t i = 0; i < n; i++)
        list->at[i] = sy_value_int(first + i * step);
    return true;
}

/* A copy of the mapping that may be the one argument, with the named arguments over it. */
static bool make_mapping(struct sy_render *r, enum sy_value_kind kind, const struct sy_args *args, struct sy_value *out)
{
    struct sy_value key;

    if (args->n > 1 || (args->n && args->at[0].kind != SY_VALUE_DICT))
        return sy_fail(r, "dict and namespace take one mapping and named arguments");
    if (!sy_dict_new(r, kind, 0, out))
        return false;
    for (size_t i = 0; args->n && i < args->at[0].as.dict->n; i++)
        if (!sy_dict_put(r, out->as.dict, args->at[0].as.dict->at[i].key, args->at[0].as.dict->at[i].value))
            return false;
    for (size_t i = 0; i < args->n_named; i++)
        if (!sy_text_copy(r, args->named[i].name, strlen(args->named[i].name), &key) ||
            !sy_dict_put(r, out->as.dict, key, args->named[i].value))
            return false;
    return true;
}

FUNCTION(dict)
{
    (void)self;
    return make_mapping(r, SY_VALUE_DICT, args, out);
}

FUNCTION(space)
{
    (void)self;
    return make_mapping(r, SY_VALUE_NAMESPACE, args, out);
}

FUNCTION(raise_exception)
{
    struct sy_value text;

    (void)self;
    (void)out;
    return sy_show(r, args->at[0], &text) &&
           sy_fail(r, "the template refuses: %.*s", text.as.text->len < 200 ? (int)text.as.text->len : 200,
                   text.as.text->bytes);
}

FUNCTION(strftime_now)
{
    struct sy_value format;
    char text[512];
    struct tm tm;

    (void)self;
    if (!sy_arg_text(r, args, 0, &format))
        return false;
    if (!format.as.text->len)
        return sy_text_copy(r, "", 0, out);
    /* The copy ends with a NUL; one inside would cut the format. */
    if (memchr(format.as.text->bytes, '\0', format.as.text->len) ||
        !sy_text_copy(r, format.as.text->bytes, format.as.text->len, &format) || !localtime_r(&r->now, &tm))
        return sy_fail(r, "a time that cannot be shown");
    size_t n = strftime(text, sizeof text, format.as.text->bytes, &tm);
    if (!n || sy_utf8_valid(text, n) < n)
        return sy_fail(r, "a format of time that gives no text, or too much");
    return sy_text_copy(r, text, n, out);
}

const struct sy_builtin sy_functions[] = {
    {"range", "first second step", 1, range},
    {"dict", NULL, 0, dict},
    {"namespace", NULL, 0, space},
    {"raise_exception", "message", 1, raise_exception},
    {"strftime_now", "format", 1, strftime_now},
    {"cycler", NULL, 0, NULL},
    {"joiner", NULL, 0, NULL},
    {"lipsum", NULL, 0, NULL},
    {.name = NULL},
};
