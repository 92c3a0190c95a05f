/* SPDX-License-Identifier: Apache-2.0
 * text.c - texts of a rendering: making them, parts of them, characters
 */
#include <string.h>

#include "chat/chars.h"
#include "chat/render.h"

bool sy_build(struct sy_render *r, struct sy_buf *buf, const char *bytes, size_t len)
{
    if (!sy_charge(r, len))
        return false;
    if (len > r->bytes_left)
        return sy_fail(r, "the text that the template makes is too long");
    r->bytes_left -= len;
    if (sy_buf_append(buf, bytes, len))
        return true;
    r->st = sy_error_set(r->err, SY_ERR_SYSTEM, "%s: no memory for the text of a chat", r->name);
    return false;
}

bool sy_built(struct sy_render *r, bool good, struct sy_buf *buf, struct sy_value *out)
{
    good = good && sy_text_copy(r, (const char *)buf->data, buf->len, out);
    sy_buf_fini(buf);
    return good;
}

static bool make(struct sy_render *r, const char *bytes, size_t len, struct sy_value *out)
{
    struct sy_text *text = sy_take(r, sizeof *text);

    if (!text)
        return false;
    text->bytes = bytes;
    text->len = len;
    *out = (struct sy_value){.kind = SY_VALUE_TEXT, .as.text = text};
    return true;
}

bool sy_text_copy(struct sy_render *r, const char *bytes, size_t len, struct sy_value *out)
{
    char *copy = sy_charge(r, len) ? sy_take(r, len + 1) : NULL;

    if (!copy)
        return false;
    if (len)
        memcpy(copy, bytes, len);
    return make(r, copy, len, out);
}

bool sy_text_part(struct sy_render *r, struct sy_value text, size_t begin, size_t end, struct sy_value *out)
{
    bool is_safe = text.is_safe;

    if (!make(r, text.as.text->bytes + begin, end - begin, out))
        return false;
    out->is_safe = is_safe;
    return true;
}

size_t sy_text_chars(struct sy_value text)
{
    struct sy_text *t = text.as.text;

    if (!t->n_chars)
        t->n_chars = sy_chars_count(t->bytes, t->len);
    return t->n_chars;
}

size_t sy_text_offset(struct sy_value text, size_t n)
{
    const struct sy_text *t = text.as.text;

    if (sy_text_chars(text) == t->len)
        return n < t->len ? n : t->len;
    return sy_chars_offset(t->bytes, t->len, n);
}

bool sy_text_escape(struct sy_render *r, struct sy_value text, struct sy_value *out)
{
    static const char specials[] = "&<>'\"";
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    struct sy_buf buf = SY_BUF_INIT;
    bool good = true;

    *out = text;
    if (text.is_safe)
        return true;
    for (size_t i = 0; i < text.as.text->len && good; i++) {
        const char *c = text.as.text->bytes + i, *at = *c ? strchr(specials, *c) : NULL;
        good = at ? sy_build(r, &buf, names[at - specials], strlen(names[at - specials])) : sy_build(r, &buf, c, 1);
    }
    good = sy_built(r, good, &buf, out);
    out->is_safe = true;
    return good;
}

bool sy_text_is(struct sy_value value, const char *what)
{
    return value.kind == SY_VALUE_TEXT && value.as.text->len == strlen(what) &&
           !memcmp(value.as.text->bytes, what, value.as.text->len);
}
