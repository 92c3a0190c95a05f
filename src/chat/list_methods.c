/* SPDX-License-Identifier: Apache-2.0
 * list_methods.c - methods of dictionaries and lists; those that would change them are refused, as the sandbox does
 */
#include "chat/render.h"

#define METHOD(name) \
    static bool name(struct sy_render *r, struct sy_value self, const struct sy_args *args, struct sy_value *out)

METHOD(items)
{
    const struct sy_dict *dict = self.as.dict;
    struct sy_list *list, *pair;

    (void)args;
    if (!sy_list_new(r, SY_LIST_VIEW, dict->n, &list, out))
        return false;
    for (size_t i = 0; i < dict->n; i++) {
        if (!sy_list_new(r, SY_LIST_TUPLE, 2, &pair, &list->at[i]))
            return false;
        pair->at[0] = dict->at[i].key;
        pair->at[1] = dict->at[i].value;
    }
    return true;
}

static bool members(struct sy_render *r, const struct sy_dict *dict, bool keys, struct sy_value *out)
{
    struct sy_list *list;

    if (!sy_list_new(r, SY_LIST_VIEW, dict->n, &list, out))
        return false;
    for (size_t i = 0; i < dict->n; i++)
        list->at[i] = keys ? dict->at[i].key : dict->at[i].value;
    return true;
}

METHOD(keys)
{
    (void)args;
    return members(r, self.as.dict, true, out);
}

METHOD(values)
{
    (void)args;
    return members(r, self.as.dict, false, out);
}

METHOD(get)
{
    bool found;

    *out = args->at[1].kind == SY_VALUE_ABSENT ? sy_value_none() : args->at[1];
    return sy_dict_get(r, self.as.dict, args->at[0], &found, out);
}

METHOD(list_index)
{
    const struct sy_list *list = self.as.list;
    bool equal = false;

    for (size_t i = 0; i < list->n; i++) {
        if (!sy_value_equal(r, list->at[i], args->at[0], &equal))
            return false;
        *out = sy_value_int((int64_t)i);
        if (equal)
            return true;
    }
    return sy_fail(r, "the value is not in the list");
}

METHOD(list_count)
{
    const struct sy_list *list = self.as.list;
    int64_t n = 0;
    bool equal;

    for (size_t i = 0; i < list->n; i++) {
        if (!sy_value_equal(r, list->at[i], args->at[0], &equal))
            return false;
        n += equal;
    }
    *out = sy_value_int(n);
    return true;
}

const struct sy_builtin sy_dict_methods[] = {
    {"items", "", 0, items},        {"keys", "", 0, keys},     {"values", "", 0, values},
    {"get", "key default", 1, get}, {"clear", NULL, 0, NULL},  {"copy", NULL, 0, NULL},
    {"fromkeys", NULL, 0, NULL},    {"pop", NULL, 0, NULL},    {"popitem", NULL, 0, NULL},
    {"setdefault", NULL, 0, NULL},  {"update", NULL, 0, NULL}, {.name = NULL},
};

const struct sy_builtin sy_list_methods[] = {
    {"index", "value", 1, list_index}, {"count", "value", 1, list_count},
    {"append", NULL, 0, NULL},         {"clear", NULL, 0, NULL},
    {"copy", NULL, 0, NULL},           {"extend", NULL, 0, NULL},
    {"insert", NULL, 0, NULL},         {"pop", NULL, 0, NULL},
    {"remove", NULL, 0, NULL},         {"reverse", NULL, 0, NULL},
    {"sort", NULL, 0, NULL},           {.name = NULL},
};
