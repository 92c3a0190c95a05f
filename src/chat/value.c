/* SPDX-License-Identifier: Apache-2.0
 * value.c - lists, dictionaries, equality and order
 */
#include "chat/value.h"

#include <string.h>

#include "chat/chars.h"
#include "chat/render.h"

const char *sy_value_type(struct sy_value value)
{
    static const char *const names[] = {
        [SY_VALUE_ABSENT] = "nothing",        [SY_VALUE_UNDEFINED] = "undefined",  [SY_VALUE_NONE] = "None",
        [SY_VALUE_BOOL] = "a boolean",        [SY_VALUE_INT] = "an integer",       [SY_VALUE_REAL] = "a float",
        [SY_VALUE_TEXT] = "a string",         [SY_VALUE_LIST] = "a list",          [SY_VALUE_DICT] = "a mapping",
        [SY_VALUE_NAMESPACE] = "a namespace", [SY_VALUE_ITERATOR] = "a generator", [SY_VALUE_LOOP] = "a loop",
        [SY_VALUE_MACRO] = "a macro",         [SY_VALUE_METHOD] = "a function",
    };

    return names[value.kind];
}

bool sy_value_truth(struct sy_value value)
{
    switch (value.kind) {
    case SY_VALUE_ABSENT:
    case SY_VALUE_UNDEFINED:
    case SY_VALUE_NONE:
        return false;
    case SY_VALUE_BOOL:
        return value.as.truth;
    case SY_VALUE_INT:
        return value.as.integer != 0;
    case SY_VALUE_REAL:
        return value.as.real != 0;
    case SY_VALUE_TEXT:
        return value.as.text->len > 0;
    case SY_VALUE_LIST:
        return value.as.list->n > 0;
    case SY_VALUE_DICT:
        return value.as.dict->n > 0;
    default:
        return true;
    }
}

bool sy_list_new(struct sy_render *r, enum sy_list_form form, size_t n, struct sy_list **list, struct sy_value *out)
{
    *list = sy_charge(r, n) ? sy_take(r, sizeof **list) : NULL;
    if (!*list)
        return false;
    (*list)->at = n < SIZE_MAX / sizeof *(*list)->at ? sy_take(r, n * sizeof *(*list)->at) : NULL;
    (*list)->form = form;
    (*list)->n = n;
    *out = (struct sy_value){.kind = SY_VALUE_LIST, .as.list = *list};
    return (*list)->at != NULL;
}

bool sy_iterator_new(struct sy_render *r, const struct sy_list *list, struct sy_value *out)
{
    struct sy_iterator *iterator = sy_take(r, sizeof *iterator);

    if (!iterator)
        return false;
    iterator->list = list;
    *out = (struct sy_value){.kind = SY_VALUE_ITERATOR, .as.iterator = iterator};
    return true;
}

bool sy_dict_new(struct sy_render *r, enum sy_value_kind kind, size_t cap, struct sy_value *out)
{
    struct sy_dict *dict = sy_take(r, sizeof *dict);

    if (!dict)
        return false;
    dict->cap = cap;
    dict->at = cap < SIZE_MAX / sizeof *dict->at ? sy_take(r, cap * sizeof *dict->at) : NULL;
    *out = (struct sy_value){.kind = kind, .as.dict = dict};
    return dict->at != NULL;
}

static bool find(struct sy_render *r, const struct sy_dict *dict, struct sy_value key, size_t *at)
{
    bool equal = false;

    if (key.kind == SY_VALUE_DICT || (key.kind == SY_VALUE_LIST && key.as.list->form == SY_LIST_LIST))
        return sy_fail(r, "%s cannot be a key", sy_value_type(key));
    for (*at = 0; *at < dict->n; ++*at) {
        if (!sy_value_equal(r, dict->at[*at].key, key, &equal))
            return false;
        if (equal)
            break;
    }
    return true;
}

bool sy_dict_put(struct sy_render *r, struct sy_dict *dict, struct sy_value key, struct sy_value value)
{
    size_t at = 0;

    if (!find(r, dict, key, &at))
        return false;
    if (at == dict->n) {
        if (dict->n == dict->cap) {
            size_t cap = 2 * dict->cap + 4;
            struct sy_pair *grown = sy_take(r, cap * sizeof *grown);
            if (!grown)
                return false;
            if (dict->n)
                memcpy(grown, dict->at, dict->n * sizeof *grown);
            dict->at = grown;
            dict->cap = cap;
        }
        dict->at[dict->n++].key = key;
    }
    dict->at[at].value = value;
    return true;
}

bool sy_dict_get(struct sy_render *r, const struct sy_dict *dict, struct sy_value key, bool *found,
                 struct sy_value *out)
{
    size_t at = 0;

    if (!find(r, dict, key, &at))
        return false;
    *found = at < dict->n;
    if (*found)
        *out = dict->at[at].value;
    return true;
}

const struct sy_value *sy_dict_find(const struct sy_dict *dict, const char *name)
{
    for (size_t i = 0; i < dict->n; i++)
        if (sy_text_is(dict->at[i].key, name))
            return &dict->at[i].value;
    return NULL;
}

static bool text_items(struct sy_render *r, struct sy_value text, const struct sy_list **items)
{
    struct sy_value unused;
    struct sy_list *list;
    size_t n = sy_text_chars(text), begin = 0;

    if (!sy_list_new(r, SY_LIST_LIST, n, &list, &unused))
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *bytes = text.as.text->bytes + begin;
        size_t end = begin + sy_chars_offset(bytes, text.as.text->len - begin, 1);
        if (!sy_text_part(r, text, begin, end, &list->at[i]))
            return false;
        list->at[i].is_safe = false;
        begin = end;
    }
    *items = list;
    return true;
}

bool sy_value_items(struct sy_render *r, struct sy_value value, const struct sy_list **items)
{
    struct sy_value unused;
    struct sy_list *list;

    switch (value.kind) {
    case SY_VALUE_LIST:
        *items = value.as.list;
        return true;
    case SY_VALUE_TEXT:
        return text_items(r, value, items);
    case SY_VALUE_UNDEFINED:
        *items = list = sy_take(r, sizeof *list);
        return list != NULL;
    case SY_VALUE_DICT:
        if (!sy_list_new(r, SY_LIST_LIST, value.as.dict->n, &list, &unused))
            return false;
        for (size_t i = 0; i < list->n; i++)
            list->at[i] = value.as.dict->at[i].key;
        *items = list;
        return true;
    case SY_VALUE_ITERATOR:
        list = sy_take(r, sizeof *list);
        if (!list)
            return false;
        list->at = value.as.iterator->list->at + value.as.iterator->next;
        list->n = value.as.iterator->list->n - value.as.iterator->next;
        value.as.iterator->next += list->n;
        *items = list;
        return true;
    default:
        return sy_fail(r, "%s cannot be gone through", sy_value_type(value));
    }
}

bool sy_value_length(struct sy_render *r, struct sy_value value, size_t *n)
{
    switch (value.kind) {
    case SY_VALUE_TEXT:
        *n = sy_text_chars(value);
        return sy_charge(r, value.as.text->len);
    case SY_VALUE_LIST:
        *n = value.as.list->n;
        return true;
    case SY_VALUE_DICT:
        *n = value.as.dict->n;
        return true;
    case SY_VALUE_UNDEFINED:
        *n = 0;
        return true;
    default:
        return sy_fail(r, "%s has no length", sy_value_type(value));
    }
}

static bool lists_equal(struct sy_render *r, const struct sy_list *a, const struct sy_list *b, bool *equal)
{
    *equal = a->form == b->form && a->n == b->n;
    for (size_t i = 0; i < a->n && *equal; i++)
        if (!sy_value_equal(r, a->at[i], b->at[i], equal))
            return false;
    return true;
}

static bool dicts_equal(struct sy_render *r, const struct sy_dict *a, const struct sy_dict *b, bool *equal)
{
    struct sy_value other;

    *equal = a->n == b->n;
    for (size_t i = 0; i < a->n && *equal; i++)
        if (!sy_dict_get(r, b, a->at[i].key, equal, &other) ||
            (*equal && !sy_value_equal(r, a->at[i].value, other, equal)))
            return false;
    return true;
}

static int text_order(struct sy_value a, struct sy_value b)
{
    size_t la = a.as.text->len, lb = b.as.text->len, n = la < lb ? la : lb;
    int order = n ? memcmp(a.as.text->bytes, b.as.text->bytes, n) : 0;

    return order ? order : la < lb ? -1 : la > lb;
}

static int number_order(struct sy_value a, struct sy_value b)
{
    if (sy_value_is_integral(a) && sy_value_is_integral(b))
        return sy_value_integer(a) < sy_value_integer(b) ? -1 : sy_value_integer(a) > sy_value_integer(b);
    return sy_value_number(a) < sy_value_number(b) ? -1 : sy_value_number(a) > sy_value_number(b);
}

bool sy_value_equal(struct sy_render *r, struct sy_value a, struct sy_value b, bool *equal)
{
    bool good = true;

    *equal = false;
    if (!sy_charge(r, 1) || !sy_enter(r))
        return false;
    if (sy_value_is_number(a) && sy_value_is_number(b)) {
        /* Not the order, in which NaN is equal to all. */
        *equal = sy_value_is_integral(a) && sy_value_is_integral(b) ? sy_value_integer(a) == sy_value_integer(b)
                                                                    : sy_value_number(a) == sy_value_number(b);
    } else if (a.kind == b.kind) {
        switch (a.kind) {
        case SY_VALUE_NONE:
        case SY_VALUE_UNDEFINED:
            *equal = true;
            break;
        case SY_VALUE_TEXT:
            *equal = a.as.text->len == b.as.text->len && !text_order(a, b);
            good = sy_charge(r, a.as.text->len);
            break;
        case SY_VALUE_LIST:
            good = lists_equal(r, a.as.list, b.as.list, equal);
            break;
        case SY_VALUE_DICT:
            good = dicts_equal(r, a.as.dict, b.as.dict, equal);
            break;
        default:
            *equal = a.as.dict == b.as.dict;
            break;
        }
    }
    sy_leave(r);
    return good;
}

bool sy_value_order(struct sy_render *r, struct sy_value a, struct sy_value b, int *order)
{
    bool good = sy_charge(r, 1) && sy_enter(r), equal = true;

    if (!good)
        return false;
    if (sy_value_is_number(a) && sy_value_is_number(b)) {
        *order = number_order(a, b);
    } else if (a.kind == SY_VALUE_TEXT && b.kind == SY_VALUE_TEXT) {
        *order = text_order(a, b);
        good = sy_charge(r, a.as.text->len);
    } else if (a.kind == SY_VALUE_LIST && b.kind == SY_VALUE_LIST && a.as.list->form == b.as.list->form &&
               a.as.list->form <= SY_LIST_TUPLE) {
        const struct sy_list *la = a.as.list, *lb = b.as.list;
        size_t i = 0;
        for (; i < la->n && i < lb->n && equal && good; i += equal)
            good = sy_value_equal(r, la->at[i], lb->at[i], &equal);
        *order = la->n < lb->n ? -1 : la->n > lb->n;
        if (good && !equal)
            good = sy_value_order(r, la->at[i], lb->at[i], order);
    } else if (a.kind == SY_VALUE_UNDEFINED || b.kind == SY_VALUE_UNDEFINED) {
        good = sy_fail(r, "\"%.100s\" is undefined", a.kind == SY_VALUE_UNDEFINED ? a.as.name : b.as.name);
    } else {
        good = sy_fail(r, "%s and %s have no order", sy_value_type(a), sy_value_type(b));
    }
    sy_leave(r);
    return good;
}
