/* SPDX-License-Identifier: Apache-2.0
 * text_edit.c - changing texts: case, white space, replacing, lines, joining
 */
#include <string.h>

#include "base/utf8.h"
#include "chat/chars.h"
#include "chat/methods.h"
#include "chat/render.h"

static uint32_t change(uint32_t cp, enum sy_case how, bool is_first, uint32_t before)
{
    bool upper = false;

    switch (how) {
    case SY_CASE_UPPER:
        return sy_chars_to_upper(cp);
    case SY_CASE_LOWER:
        return sy_chars_to_lower(cp);
    case SY_CASE_TITLE:
        upper = !sy_chars_is_cased(before);
        break;
    case SY_CASE_TITLE_WORDS:
        upper = is_first || sy_chars_is_space(before) || (before < 0x80 && before && strchr("-({[<", (int)before));
        break;
    case SY_CASE_CAPITALIZE:
        upper = is_first;
        break;
    case SY_CASE_SWAP:
        upper = sy_chars_is_lower(cp);
        break;
    }
    return upper ? sy_chars_to_upper(cp) : sy_chars_to_lower(cp);
}

bool sy_text_case(struct sy_render *r, struct sy_value text, enum sy_case how, struct sy_value *out)
{
    const struct sy_text *t = text.as.text;
    bool good = true, is_safe = text.is_safe;
    struct sy_buf buf = SY_BUF_INIT;
    uint32_t cp, before = 0;
    uint8_t bytes[4];

    for (size_t i = 0; i < t->len && good;) {
        size_t n = (size_t)sy_utf8_get((const uint8_t *)t->bytes + i, &cp);
        good = sy_build(r, &buf, (const char *)bytes, (size_t)sy_utf8_put(change(cp, how, !i, before), bytes));
        before = cp;
        i += n;
    }
    good = sy_built(r, good, &buf, out);
    out->is_safe = is_safe;
    return good;
}

/* Whether the character of n bytes is to be taken off. */
static bool goes(const char *at, size_t n, struct sy_value chars)
{
    uint32_t cp;

    if (chars.kind != SY_VALUE_TEXT) {
        sy_utf8_get((const uint8_t *)at, &cp);
        return sy_chars_is_space(cp);
    }
    return memmem(chars.as.text->bytes, chars.as.text->len, at, n) != NULL;
}

bool sy_text_strip(struct sy_render *r, struct sy_value text, struct sy_value chars, bool left, bool right,
                   struct sy_value *out)
{
    const struct sy_text *t = text.as.text;
    size_t begin = 0, end = t->len;

    if (chars.kind != SY_VALUE_ABSENT && chars.kind != SY_VALUE_NONE && chars.kind != SY_VALUE_TEXT)
        return sy_fail(r, "strip of %s, expected a string", sy_value_type(chars));
    while (left && begin < end) {
        size_t n = sy_chars_offset(t->bytes + begin, end - begin, 1);
        if (!goes(t->bytes + begin, n, chars))
            break;
        begin += n;
    }
    while (right && end > begin) {
        size_t before = sy_chars_before(t->bytes, end);
        if (!goes(t->bytes + before, end - before, chars))
            break;
        end = before;
    }
    return sy_charge(r, (t->len - (end - begin)) * (chars.kind == SY_VALUE_TEXT ? chars.as.text->len + 1 : 1)) &&
           sy_text_part(r, text, begin, end, out);
}

bool sy_text_replace(struct sy_render *r, struct sy_value text, struct sy_value old, struct sy_value new, int64_t times,
                     struct sy_value *out)
{
    const struct sy_text *t = text.as.text, *o = old.as.text, *n = new.as.text;
    struct sy_buf buf = SY_BUF_INIT;
    bool good = sy_charge(r, t->len), is_safe = text.is_safe;
    size_t at = 0;

    if (is_safe && !sy_text_escape(r, new, &new))
        return false;
    n = new.as.text;
    while (good && times) {
        const char *found = memmem(t->bytes + at, t->len - at, o->bytes, o->len);
        if (!found)
            break;
        /* Nothing is found before each character, and at the end. */
        size_t to = (size_t)(found - t->bytes), step = o->len ? 0 : sy_chars_offset(found, t->len - to, 1);
        good = sy_build(r, &buf, t->bytes + at, to - at) && sy_build(r, &buf, n->bytes, n->len) &&
               sy_build(r, &buf, found, step);
        at = to + (o->len ? o->len : step);
        times -= times > 0;
        if (!o->len && !step)
            break;
    }
    good = sy_built(r, good && sy_build(r, &buf, t->bytes + at, t->len - at), &buf, out);
    out->is_safe = is_safe;
    return good;
}

static bool is_line_end(uint32_t cp)
{
    return (cp >= 0x0a && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

bool sy_text_line(const struct sy_text *text, size_t *at, bool keep_ends, size_t *begin, size_t *end)
{
    uint32_t cp;

    *begin = *at;
    while (*at < text->len) {
        size_t stop = *at;
        *at += (size_t)sy_utf8_get((const uint8_t *)text->bytes + stop, &cp);
        if (!is_line_end(cp))
            continue;
        if (cp == '\r' && *at < text->len && text->bytes[*at] == '\n')
            ++*at;
        *end = keep_ends ? *at : stop;
        return true;
    }
    *end = *at;
    return *at > *begin;
}

bool sy_text_join(struct sy_render *r, struct sy_value separator, const struct sy_list *items, struct sy_value *out)
{
    struct sy_buf buf = SY_BUF_INIT;
    const struct sy_text *between = separator.as.text;
    bool good = true;

    for (size_t i = 0; i < items->n && good; i++)
        good = (!i || sy_build(r, &buf, between->bytes, between->len)) && sy_show_into(r, items->at[i], &buf);
    return sy_built(r, good, &buf, out);
}
