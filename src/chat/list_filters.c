/* SPDX-License-Identifier: Apache-2.0
 * list_filters.c - filters over lists and mappings
 *
 * Source: jinja.palletsprojects.com/en/3.1.x/templates/#builtin-filters.
 */
#include <stdlib.h>
#include <string.h>

#include "chat/methods.h"
#include "chat/render.h"

#define FILTER(name) \
    static bool name(struct sy_render *r, struct sy_value self, const struct sy_args *args, struct sy_value *out)

/* value.a.b for "a.b", and items by number where a part is one; absent: the value itself. */
static bool member(struct sy_render *r, struct sy_value value, struct sy_value path, struct sy_value *out)
{
    struct sy_value part;

    *out = value;
    if (path.kind == SY_VALUE_ABSENT || path.kind == SY_VALUE_NONE)
        return true;
    if (path.kind != SY_VALUE_TEXT)
        return sy_item(r, value, path, out);
    const char *at = path.as.text->bytes, *end = at + path.as.text->len;
    for (;;) {
        const char *dot = at < end ? memchr(at, '.', (size_t)(end - at)) : NULL, *stop = dot ? dot : end;
        if (!sy_text_copy(r, at, (size_t)(stop - at), &part))
            return false;
        size_t n_digits = strspn(part.as.text->bytes, "0123456789");
        if (n_digits && n_digits == part.as.text->len && n_digits < 10)
            part = sy_value_int(atoi(part.as.text->bytes));
        if (!sy_item(r, *out, part, out))
            return false;
        if (!dot)
            return true;
        at = dot + 1;
    }
}

/* What elements are sorted and told apart by: strings in lower case, unless case counts. */
static bool sort_key(struct sy_render *r, struct sy_value value, struct sy_value path, bool case_counts,
                     struct sy_value *key)
{
    if (!member(r, value, path, key))
        return false;
    return case_counts || key->kind != SY_VALUE_TEXT || sy_text_case(r, *key, SY_CASE_LOWER, key);
}

struct keyed {
    struct sy_value key, value;
};

/* A stable merge sort, upwards or downwards; temp has room for n. */
static bool merge_sort(struct sy_render *r, struct keyed *items, struct keyed *temp, size_t n, bool down)
{
    size_t half = n / 2, i = 0, j = half, k = 0;
    int order;

    if (n < 2)
        return true;
    if (!merge_sort(r, items, temp, half, down) || !merge_sort(r, items + half, temp, n - half, down))
        return false;
    while (i < half && j < n) {
        if (!sy_value_order(r, items[i].key, items[j].key, &order))
            return false;
        temp[k++] = (down ? order >= 0 : order <= 0) ? items[i++] : items[j++];
    }
    while (i < half)
        temp[k++] = items[i++];
    memcpy(items, temp, k * sizeof *items);
    return true;
}

static bool sort_items(struct sy_render *r, const struct sy_list *items, struct sy_value path, bool case_counts,
                       bool down, struct sy_value *out)
{
    struct keyed *keyed = sy_take(r, (items->n + 1) * sizeof *keyed), *temp = sy_take(r, (items->n + 1) * sizeof *temp);
    struct sy_list *list;

    if (!keyed || !temp || !sy_list_new(r, SY_LIST_LIST, items->n, &list, out))
        return false;
    for (size_t i = 0; i < items->n; i++) {
        keyed[i].value = items->at[i];
        if (!sort_key(r, items->at[i], path, case_counts, &keyed[i].key))
            return false;
    }
    if (!merge_sort(r, keyed, temp, items->n, down))
        return false;
    for (size_t i = 0; i < items->n; i++)
        list->at[i] = keyed[i].value;
    return true;
}

FILTER(sort)
{
    const struct sy_list *items;

    return sy_value_items(r, self, &items) &&
           sort_items(r, items, args->at[2], sy_arg_bool(args, 1, false), sy_arg_bool(args, 0, false), out);
}

FILTER(items_of)
{
    struct sy_args none = {0};
    struct sy_value pairs;

    (void)args;
    if (self.kind == SY_VALUE_UNDEFINED)
        return sy_list_new(r, SY_LIST_LIST, 0, &(struct sy_list *){NULL}, &pairs) &&
               sy_iterator_new(r, pairs.as.list, out);
    if (self.kind != SY_VALUE_DICT)
        return sy_fail(r, "items of %s, expected a mapping", sy_value_type(self));
    return sy_builtin_call(r, sy_builtin_in(sy_dict_methods, "items", 5), self, &none, &pairs) &&
           sy_iterator_new(r, pairs.as.list, out);
}

FILTER(dictsort)
{
    bool by_value = sy_text_is(args->at[1], "value");
    struct sy_args none = {0};
    struct sy_value pairs;

    if (self.kind != SY_VALUE_DICT)
        return sy_fail(r, "dictsort of %s, expected a mapping", sy_value_type(self));
    if (args->at[1].kind != SY_VALUE_ABSENT && !by_value && !sy_text_is(args->at[1], "key"))
        return sy_fail(r, "dictsort by something other than \"key\" or \"value\"");
    return sy_builtin_call(r, sy_builtin_in(sy_dict_methods, "items", 5), self, &none, &pairs) &&
           sort_items(r, pairs.as.list, sy_value_int(by_value), sy_arg_bool(args, 0, false),
                      sy_arg_bool(args, 2, false), out);
}

FILTER(unique)
{
    const struct sy_list *items;
    struct sy_list *kept;
    struct sy_value *keys, unused;
    bool seen;

    if (!sy_value_items(r, self, &items) || !sy_list_new(r, SY_LIST_LIST, items->n, &kept, &unused))
        return false;
    keys = sy_take(r, (items->n + 1) * sizeof *keys);
    if (!keys)
        return false;
    kept->n = 0;
    for (size_t i = 0; i < items->n; i++) {
        struct sy_value *key = &keys[kept->n];
        if (!sort_key(r, items->at[i], args->at[1], sy_arg_bool(args, 0, false), key))
            return false;
        if (key->kind == SY_VALUE_DICT || (key->kind == SY_VALUE_LIST && key->as.list->form == SY_LIST_LIST))
            return sy_fail(r, "unique of %s", sy_value_type(*key));
        seen = false;
        for (size_t k = 0; k < kept->n && !seen; k++)
            if (!sy_value_equal(r, keys[k], *key, &seen))
                return false;
        if (!seen)
            kept->at[kept->n++] = items->at[i];
    }
    return sy_iterator_new(r, kept, out);
}

/* The smallest or the largest; the first of several. */
static bool extreme(struct sy_render *r, struct sy_value self, const struct sy_args *args, bool largest,
                    struct sy_value *out)
{
    struct sy_value best = {.kind = SY_VALUE_ABSENT}, key;
    const struct sy_list *items;
    int order = 0;

    if (!sy_value_items(r, self, &items))
        return false;
    *out = sy_value_undefined("the extreme of nothing");
    for (size_t i = 0; i < items->n; i++) {
        if (!sort_key(r, items->at[i], args->at[1], sy_arg_bool(args, 0, false), &key) ||
            (i && !sy_value_order(r, key, best, &order)))
            return false;
        if (!i || (largest ? order > 0 : order < 0)) {
            best = key;
            *out = items->at[i];
        }
    }
    return true;
}

FILTER(minimum)
{
    return extreme(r, self, args, false, out);
}

FILTER(maximum)
{
    return extreme(r, self, args, true, out);
}

FILTER(sum)
{
    struct sy_value total = args->at[1].kind == SY_VALUE_ABSENT ? sy_value_int(0) : args->at[1], term;
    const struct sy_list *items;

    if (!sy_value_items(r, self, &items))
        return false;
    for (size_t i = 0; i < items->n; i++)
        if (!member(r, items->at[i], args->at[0], &term) || !sy_binary(r, SY_TOKEN_ADD, total, term, &total))
            return false;
    *out = total;
    return true;
}

FILTER(join)
{
    struct sy_value separator = args->at[0], unused;
    const struct sy_list *items;
    struct sy_list *shown;

    if (separator.kind == SY_VALUE_ABSENT ? !sy_text_copy(r, "", 0, &separator) : !sy_show(r, separator, &separator))
        return false;
    if (!sy_value_items(r, self, &items) || !sy_list_new(r, SY_LIST_LIST, items->n, &shown, &unused))
        return false;
    for (size_t i = 0; i < items->n; i++)
        if (!member(r, items->at[i], args->at[1], &shown->at[i]))
            return false;
    return sy_text_join(r, separator, shown, out);
}

FILTER(length)
{
    size_t n;

    (void)args;
    if (!sy_value_length(r, self, &n))
        return false;
    *out = sy_value_int((int64_t)n);
    return true;
}

FILTER(first)
{
    const struct sy_list *items;

    (void)args;
    *out = sy_value_undefined("the first of nothing");
    if (self.kind == SY_VALUE_ITERATOR) {
        struct sy_iterator *iterator = self.as.iterator;
        if (iterator->next < iterator->list->n)
            *out = iterator->list->at[iterator->next++];
        return true;
    }
    if (!sy_value_items(r, self, &items))
        return false;
    if (items->n)
        *out = items->at[0];
    return true;
}

FILTER(last)
{
    const struct sy_list *items;

    (void)args;
    if (self.kind == SY_VALUE_ITERATOR)
        return sy_fail(r, "the last of a generator; use |list before it");
    *out = sy_value_undefined("the last of nothing");
    if (!sy_value_items(r, self, &items))
        return false;
    if (items->n)
        *out = items->at[items->n - 1];
    return true;
}

FILTER(list)
{
    const struct sy_list *items;
    struct sy_list *copy;

    (void)args;
    if (!sy_value_items(r, self, &items) || !sy_list_new(r, SY_LIST_LIST, items->n, &copy, out))
        return false;
    if (items->n)
        memcpy(copy->at, items->at, items->n * sizeof *copy->at);
    return true;
}

FILTER(reverse)
{
    const struct sy_value backwards[3] = {sy_value_none(), sy_value_none(), sy_value_int(-1)};
    const struct sy_list *items;
    struct sy_list *copy;

    (void)args;
    if (self.kind == SY_VALUE_TEXT)
        return sy_slice(r, self, backwards, out);
    if (!sy_value_items(r, self, &items) || !sy_list_new(r, SY_LIST_LIST, items->n, &copy, out))
        return false;
    for (size_t i = 0; i < items->n; i++)
        copy->at[i] = items->at[items->n - 1 - i];
    /* What is a generator becomes a list here, everything else a generator. */
    return self.kind == SY_VALUE_ITERATOR || sy_iterator_new(r, copy, out);
}

FILTER(attr)
{
    struct sy_value name;

    if (!sy_arg_text(r, args, 0, &name) || !sy_text_copy(r, name.as.text->bytes, name.as.text->len, &name))
        return false;
    /* Members of a mapping are items, not attributes. */
    if (self.kind == SY_VALUE_DICT && !sy_builtin_in(sy_dict_methods, name.as.text->bytes, name.as.text->len)) {
        *out = sy_value_undefined(name.as.text->bytes);
        return true;
    }
    return sy_attribute(r, self, name.as.text->bytes, out);
}

FILTER(batch)
{
    const struct sy_list *items;
    struct sy_list *rows, *row;
    struct sy_value unused;
    int64_t size = 0;

    if (!sy_arg_int(r, args, 0, &size) || !sy_value_items(r, self, &items))
        return false;
    if (size < 1 || size > (1 << 20))
        return sy_fail(r, "batch of a size that is out of range");
    size_t width = (size_t)size, n = (items->n + width - 1) / width;
    bool fill = args->at[1].kind > SY_VALUE_NONE;
    if (!sy_list_new(r, SY_LIST_LIST, n, &rows, &unused))
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t left = items->n - i * width, here = left < width ? left : width;
        if (!sy_list_new(r, SY_LIST_LIST, fill ? width : here, &row, &rows->at[i]))
            return false;
        for (size_t k = 0; k < row->n; k++)
            row->at[k] = k < here ? items->at[i * width + k] : args->at[1];
    }
    return sy_iterator_new(r, rows, out);
}

/* The filter or test that map, select and their like are given by name. */
static const struct sy_builtin *named(struct sy_render *r, struct sy_value name, bool is_test)
{
    const struct sy_builtin *found = NULL;

    if (name.kind == SY_VALUE_TEXT)
        found = is_test ? sy_builtin_test(name.as.text->bytes, name.as.text->len)
                        : sy_builtin_filter(name.as.text->bytes, name.as.text->len);
    if (!found)
        sy_fail(r, "no such %s is supported", is_test ? "test" : "filter");
    return found;
}

FILTER(map)
{
    struct sy_args rest = *args;
    struct sy_value path = {.kind = SY_VALUE_ABSENT}, otherwise = path, unused;
    const struct sy_builtin *filter = NULL;
    const struct sy_list *items;
    struct sy_list *mapped;

    for (size_t i = 0; i < args->n_named && !args->n; i++) {
        if (!strcmp(args->named[i].name, "attribute"))
            path = args->named[i].value;
        else if (!strcmp(args->named[i].name, "default"))
            otherwise = args->named[i].value;
        else
            return sy_fail(r, "map has no argument \"%.60s\"", args->named[i].name);
    }
    if (path.kind == SY_VALUE_ABSENT) {
        filter = args->n ? named(r, args->at[0], false) : NULL;
        if (!filter)
            return sy_fail(r, "map needs a filter or an attribute");
        rest.at++;
        rest.n--;
    }
    if (!sy_value_items(r, self, &items) || !sy_list_new(r, SY_LIST_LIST, items->n, &mapped, &unused))
        return false;
    for (size_t i = 0; i < items->n; i++) {
        struct sy_value *at = &mapped->at[i];
        if (filter ? !sy_builtin_call(r, filter, items->at[i], &rest, at) : !member(r, items->at[i], path, at))
            return false;
        if (!filter && at->kind == SY_VALUE_UNDEFINED && otherwise.kind != SY_VALUE_ABSENT)
            *at = otherwise;
    }
    return sy_iterator_new(r, mapped, out);
}

/* Keep the elements for which a test, by name, says what is wanted; without one, their truth. */
static bool select_items(struct sy_render *r, struct sy_value self, const struct sy_args *args, bool by_member,
                         bool wanted, struct sy_value *out)
{
    struct sy_args rest = *args;
    struct sy_value path = {.kind = SY_VALUE_ABSENT}, value, unused;
    const struct sy_builtin *test = NULL;
    const struct sy_list *items;
    struct sy_list *kept;

    if (by_member) {
        if (!rest.n)
            return sy_fail(r, "selectattr and rejectattr need an attribute");
        path = *rest.at++;
        rest.n--;
    }
    if (rest.n) {
        test = named(r, *rest.at++, true);
        rest.n--;
        if (!test)
            return false;
    }
    if (!sy_value_items(r, self, &items) || !sy_list_new(r, SY_LIST_LIST, items->n, &kept, &unused))
        return false;
    kept->n = 0;
    for (size_t i = 0; i < items->n; i++) {
        if (!member(r, items->at[i], path, &value) || (test && !sy_builtin_call(r, test, value, &rest, &value)))
            return false;
        if (sy_value_truth(value) == wanted)
            kept->at[kept->n++] = items->at[i];
    }
    return sy_iterator_new(r, kept, out);
}

FILTER(select_by)
{
    return select_items(r, self, args, false, true, out);
}

FILTER(reject_by)
{
    return select_items(r, self, args, false, false, out);
}

FILTER(selectattr)
{
    return select_items(r, self, args, true, true, out);
}

FILTER(rejectattr)
{
    return select_items(r, self, args, true, false, out);
}

const struct sy_builtin sy_list_filters[] = {
    {"sort", "reverse case_sensitive attribute", 0, sort},
    {"items", "", 0, items_of},
    {"dictsort", "case_sensitive by reverse", 0, dictsort},
    {"unique", "case_sensitive attribute", 0, unique},
    {"min", "case_sensitive attribute", 0, minimum},
    {"max", "case_sensitive attribute", 0, maximum},
    {"sum", "attribute start", 0, sum},
    {"join", "d attribute", 0, join},
    {"length", "", 0, length},
    {"count", "", 0, length},
    {"first", "", 0, first},
    {"last", "", 0, last},
    {"list", "", 0, list},
    {"reverse", "", 0, reverse},
    {"attr", "name", 1, attr},
    {"batch", "linecount fill_with", 1, batch},
    {"map", NULL, 0, map},
    {"select", NULL, 0, select_by},
    {"reject", NULL, 0, reject_by},
    {"selectattr", NULL, 0, selectattr},
    {"rejectattr", NULL, 0, rejectattr},
    {.name = NULL},
};
