/* SPDX-License-Identifier: Apache-2.0
 * text_methods.c - methods of strings: splitting, searching, and those that text_edit.c does
 *
 * Source: docs.python.org/3/library/stdtypes.html#string-methods.
 */
#include <string.h>

#include "base/utf8.h"
#include "chat/chars.h"
#include "chat/methods.h"
#include "chat/render.h"

#define METHOD(name) \
    static bool name(struct sy_render *r, struct sy_value self, const struct sy_args *args, struct sy_value *out)

METHOD(upper)
{
    (void)args;
    return sy_text_case(r, self, SY_CASE_UPPER, out);
}

METHOD(lower)
{
    (void)args;
    return sy_text_case(r, self, SY_CASE_LOWER, out);
}

METHOD(title)
{
    (void)args;
    return sy_text_case(r, self, SY_CASE_TITLE, out);
}

METHOD(capitalize)
{
    (void)args;
    return sy_text_case(r, self, SY_CASE_CAPITALIZE, out);
}

METHOD(swapcase)
{
    (void)args;
    return sy_text_case(r, self, SY_CASE_SWAP, out);
}

METHOD(strip)
{
    return sy_text_strip(r, self, args->at[0], true, true, out);
}

METHOD(lstrip)
{
    return sy_text_strip(r, self, args->at[0], true, false, out);
}

METHOD(rstrip)
{
    return sy_text_strip(r, self, args->at[0], false, true, out);
}

METHOD(replace)
{
    struct sy_value old, new;
    int64_t times = -1;

    return sy_arg_text(r, args, 0, &old) && sy_arg_text(r, args, 1, &new) && sy_arg_int(r, args, 2, &times) &&
           sy_text_replace(r, self, old, new, times, out);
}

METHOD(join)
{
    const struct sy_list *items;

    if (!sy_value_items(r, args->at[0], &items))
        return false;
    for (size_t i = 0; i < items->n; i++)
        if (items->at[i].kind != SY_VALUE_TEXT)
            return sy_fail(r, "join of %s, expected strings", sy_value_type(items->at[i]));
    return sy_text_join(r, self, items, out);
}

METHOD(splitlines)
{
    bool keep_ends = sy_arg_bool(args, 0, false);
    size_t at = 0, begin, end, n = 0;
    struct sy_list *list;

    while (sy_text_line(self.as.text, &at, keep_ends, &begin, &end))
        n++;
    if (!sy_charge(r, 2 * self.as.text->len) || !sy_list_new(r, SY_LIST_LIST, n, &list, out))
        return false;
    at = n = 0;
    while (sy_text_line(self.as.text, &at, keep_ends, &begin, &end))
        if (!sy_text_part(r, self, begin, end, &list->at[n++]))
            return false;
    return true;
}

/* Parts of [begin, end) of a text at separators from one end, at most `left` cuts; white space when there is no separator.
 * Each call gives the next part and moves begin or end; false: that was the last. */
static bool next_part(const struct sy_text *t, const struct sy_text *separator, bool from_right, int64_t left,
                      size_t *begin, size_t *end, size_t part[2])
{
    size_t n = separator ? separator->len : 1;

    for (size_t i = 0; left && i < *end - *begin; i++) {
        size_t at = from_right ? *end - 1 - i : *begin + i;
        size_t width = separator ? n
                                 : sy_chars_leading_space(t->bytes + at,
                                                          ((uint8_t)t->bytes[at] & 0xc0) == 0x80 ? 0 : *end - at);
        if (separator ? n > *end - at || memcmp(t->bytes + at, separator->bytes, n) : !width)
            continue;
        if (!separator && from_right)
            at = *begin + (at - *begin) - sy_chars_trailing_space(t->bytes + *begin, at - *begin);
        if (!separator && from_right)
            width = sy_chars_leading_space(t->bytes + at, *end - at);
        part[0] = from_right ? at + width : *begin;
        part[1] = from_right ? *end : at;
        *begin = from_right ? *begin : at + width;
        *end = from_right ? at : *end;
        return true;
    }
    part[0] = *begin;
    part[1] = *end;
    return false;
}

static bool split_from(struct sy_render *r, struct sy_value self, const struct sy_args *args, bool from_right,
                       struct sy_value *out)
{
    const struct sy_text *t = self.as.text;
    struct sy_value separator = args->at[0];
    bool has_separator = separator.kind != SY_VALUE_ABSENT && separator.kind != SY_VALUE_NONE, more = true;
    int64_t max = -1;
    struct sy_list *list;

    if (!sy_arg_int(r, args, 1, &max) || (has_separator && !sy_arg_text(r, args, 0, &separator)))
        return false;
    if (has_separator && !separator.as.text->len)
        return sy_fail(r, "an empty separator");
    /* White space at both ends is no separator: the last part keeps it at its far end. */
    for (int pass = 0; pass < 2; pass++) {
        size_t begin = 0, end = t->len, n = 0, part[2];
        int64_t left = max;
        if (!has_separator) {
            begin = from_right && max >= 0 ? 0 : sy_chars_leading_space(t->bytes, end);
            end -= from_right || max < 0 ? sy_chars_trailing_space(t->bytes + begin, end - begin) : 0;
        }
        for (more = has_separator || begin < end; more; n++) {
            more = next_part(t, has_separator ? separator.as.text : NULL, from_right, left, &begin, &end, part);
            left -= left > 0;
            if (!has_separator && begin >= end)
                more = false;
            if (pass && !sy_text_part(r, self, part[0], part[1], &list->at[n]))
                return false;
        }
        if (!pass && (!sy_charge(r, 2 * t->len) || !sy_list_new(r, SY_LIST_LIST, n, &list, out)))
            return false;
    }
    for (size_t i = 0; from_right && i < list->n / 2; i++) {
        struct sy_value swapped = list->at[i];
        list->at[i] = list->at[list->n - 1 - i];
        list->at[list->n - 1 - i] = swapped;
    }
    return true;
}

METHOD(split)
{
    return split_from(r, self, args, false, out);
}

METHOD(rsplit)
{
    return split_from(r, self, args, true, out);
}

/* Where the first or the last occurrence begins; false when there is none. */
static bool locate(const struct sy_text *t, const struct sy_text *what, bool last, size_t *at)
{
    const char *found = memmem(t->bytes, t->len, what->bytes, what->len);

    if (!found)
        return false;
    *at = (size_t)(found - t->bytes);
    if (last)
        for (*at = t->len - what->len; memcmp(t->bytes + *at, what->bytes, what->len);)
            --*at;
    return true;
}

static bool partition_at(struct sy_render *r, struct sy_value self, const struct sy_args *args, bool last,
                         struct sy_value *out)
{
    const struct sy_text *t = self.as.text;
    struct sy_value what;
    struct sy_list *list;
    size_t at = last ? 0 : t->len, end = at;

    if (!sy_arg_text(r, args, 0, &what) || !sy_charge(r, t->len))
        return false;
    if (!what.as.text->len)
        return sy_fail(r, "an empty separator");
    if (locate(t, what.as.text, last, &at))
        end = at + what.as.text->len;
    return sy_list_new(r, SY_LIST_TUPLE, 3, &list, out) && sy_text_part(r, self, 0, at, &list->at[0]) &&
           sy_text_part(r, self, at, end, &list->at[1]) && sy_text_part(r, self, end, t->len, &list->at[2]);
}

METHOD(partition)
{
    return partition_at(r, self, args, false, out);
}

METHOD(rpartition)
{
    return partition_at(r, self, args, true, out);
}

static bool find_from(struct sy_render *r, struct sy_value self, const struct sy_args *args, bool last,
                      struct sy_value *out)
{
    const struct sy_text *t = self.as.text;
    struct sy_value what;
    size_t at;

    if (!sy_arg_text(r, args, 0, &what) || !sy_charge(r, t->len))
        return false;
    *out = sy_value_int(locate(t, what.as.text, last, &at) ? (int64_t)sy_chars_count(t->bytes, at) : -1);
    return true;
}

METHOD(find)
{
    return find_from(r, self, args, false, out);
}

METHOD(rfind)
{
    return find_from(r, self, args, true, out);
}

METHOD(index_of)
{
    return find_from(r, self, args, false, out) && (out->as.integer >= 0 || sy_fail(r, "the string is not there"));
}

METHOD(count)
{
    const struct sy_text *t = self.as.text;
    struct sy_value what;
    int64_t n = 0;

    if (!sy_arg_text(r, args, 0, &what) || !sy_charge(r, t->len))
        return false;
    size_t len = what.as.text->len;
    for (const char *at = t->bytes, *end = at + t->len;
         len && (at = memmem(at, (size_t)(end - at), what.as.text->bytes, len)); at += len)
        n++;
    *out = sy_value_int(len ? n : (int64_t)sy_text_chars(self) + 1);
    return true;
}

static bool is_at(const struct sy_text *t, const struct sy_text *what, bool at_end)
{
    return what->len <= t->len && !memcmp(t->bytes + (at_end ? t->len - what->len : 0), what->bytes, what->len);
}

/* One string, or a tuple of them. */
static bool is_one_at(struct sy_render *r, struct sy_value self, struct sy_value what, bool at_end, bool *found)
{
    if (what.kind == SY_VALUE_TEXT) {
        *found = is_at(self.as.text, what.as.text, at_end);
        return sy_charge(r, what.as.text->len);
    }
    if (what.kind != SY_VALUE_LIST || what.as.list->form != SY_LIST_TUPLE)
        return sy_fail(r, "begin or end with %s, expected a string", sy_value_type(what));
    for (size_t i = 0; i < what.as.list->n && !*found; i++)
        if (what.as.list->at[i].kind != SY_VALUE_TEXT || !is_one_at(r, self, what.as.list->at[i], at_end, found))
            return sy_fail(r, "begin or end with %s, expected a string", sy_value_type(what.as.list->at[i]));
    return true;
}

static bool test_end(struct sy_render *r, struct sy_value self, const struct sy_args *args, bool at_end,
                     struct sy_value *out)
{
    bool found = false;

    if (!is_one_at(r, self, args->at[0], at_end, &found))
        return false;
    *out = sy_value_bool(found);
    return true;
}

METHOD(startswith)
{
    return test_end(r, self, args, false, out);
}

METHOD(endswith)
{
    return test_end(r, self, args, true, out);
}

METHOD(removeprefix)
{
    struct sy_value what;

    if (!sy_arg_text(r, args, 0, &what))
        return false;
    return sy_text_part(r, self, is_at(self.as.text, what.as.text, false) ? what.as.text->len : 0, self.as.text->len,
                        out);
}

METHOD(removesuffix)
{
    struct sy_value what;

    if (!sy_arg_text(r, args, 0, &what))
        return false;
    size_t len = self.as.text->len;
    return sy_text_part(r, self, 0, is_at(self.as.text, what.as.text, true) ? len - what.as.text->len : len, out);
}

/* Whether there are characters and all are of a kind; of cased characters, at least one and all of them. */
static bool all_are(struct sy_render *r, struct sy_value self, bool (*is)(uint32_t), bool cased, struct sy_value *out)
{
    const struct sy_text *t = self.as.text;
    bool holds = true, any = false;
    uint32_t cp;

    for (size_t i = 0; i < t->len && holds;) {
        i += (size_t)sy_utf8_get((const uint8_t *)t->bytes + i, &cp);
        bool counts = !cased || sy_chars_is_cased(cp);
        any = any || counts;
        holds = !counts || is(cp);
    }
    *out = sy_value_bool(holds && any);
    return sy_charge(r, t->len);
}

static bool is_alnum(uint32_t cp)
{
    return sy_chars_is_alpha(cp) || sy_chars_is_digit(cp);
}

METHOD(isupper_all)
{
    (void)args;
    return all_are(r, self, sy_chars_is_upper, true, out);
}

METHOD(islower_all)
{
    (void)args;
    return all_are(r, self, sy_chars_is_lower, true, out);
}

METHOD(isspace_all)
{
    (void)args;
    return all_are(r, self, sy_chars_is_space, false, out);
}

METHOD(isdigit_all)
{
    (void)args;
    return all_are(r, self, sy_chars_is_digit, false, out);
}

METHOD(isalpha_all)
{
    (void)args;
    return all_are(r, self, sy_chars_is_alpha, false, out);
}

METHOD(isalnum_all)
{
    (void)args;
    return all_are(r, self, is_alnum, false, out);
}

const struct sy_builtin sy_text_methods[] = {
    {"upper", "", 0, upper},
    {"lower", "", 0, lower},
    {"title", "", 0, title},
    {"capitalize", "", 0, capitalize},
    {"swapcase", "", 0, swapcase},
    {"strip", "chars", 0, strip},
    {"lstrip", "chars", 0, lstrip},
    {"rstrip", "chars", 0, rstrip},
    {"replace", "old new count", 2, replace},
    {"join", "iterable", 1, join},
    {"split", "sep maxsplit", 0, split},
    {"rsplit", "sep maxsplit", 0, rsplit},
    {"splitlines", "keepends", 0, splitlines},
    {"partition", "sep", 1, partition},
    {"rpartition", "sep", 1, rpartition},
    {"find", "sub", 1, find},
    {"rfind", "sub", 1, rfind},
    {"index", "sub", 1, index_of},
    {"count", "sub", 1, count},
    {"startswith", "prefix", 1, startswith},
    {"endswith", "suffix", 1, endswith},
    {"removeprefix", "prefix", 1, removeprefix},
    {"removesuffix", "suffix", 1, removesuffix},
    {"isupper", "", 0, isupper_all},
    {"islower", "", 0, islower_all},
    {"isspace", "", 0, isspace_all},
    {"isdigit", "", 0, isdigit_all},
    {"isalpha", "", 0, isalpha_all},
    {"isalnum", "", 0, isalnum_all},
    {"format", NULL, 0, NULL},
    {"format_map", NULL, 0, NULL},
    {"encode", NULL, 0, NULL},
    {"translate", NULL, 0, NULL},
    {"maketrans", NULL, 0, NULL},
    {"expandtabs", NULL, 0, NULL},
    {"casefold", NULL, 0, NULL},
    {"center", NULL, 0, NULL},
    {"ljust", NULL, 0, NULL},
    {"rjust", NULL, 0, NULL},
    {"zfill", NULL, 0, NULL},
    {"rindex", NULL, 0, NULL},
    {"isascii", NULL, 0, NULL},
    {"isdecimal", NULL, 0, NULL},
    {"isnumeric", NULL, 0, NULL},
    {"isidentifier", NULL, 0, NULL},
    {"isprintable", NULL, 0, NULL},
    {"istitle", NULL, 0, NULL},
    {.name = NULL},
};
