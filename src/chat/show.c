/* SPDX-License-Identifier: Apache-2.0
 * show.c - values as text: Python's str(), repr() and json.dumps()
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "chat/render.h"

void sy_show_real(double real, char out[40])
{
    char digits[32];
    int precision = 1;

    if (!isfinite(real)) {
        strcpy(out, isnan(real) ? "nan" : real < 0 ? "-inf" : "inf");
        return;
    }
    do
        snprintf(digits, sizeof digits, "%.*e", precision - 1, real);
    while (strtod(digits, NULL) != real && ++precision <= 17);
    int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent >= -4 && exponent < 16) {
        int decimals = precision - 1 - exponent;
        snprintf(out, 40, "%.*f", decimals > 0 ? decimals : 1, real);
    } else {
        *strchr(digits, 'e') = '\0';
        snprintf(out, 40, "%.30se%c%02d", digits, exponent < 0 ? '-' : '+', abs(exponent) % 1000);
    }
}

static bool put(struct sy_render *r, struct sy_buf *buf, const char *text)
{
    return sy_build(r, buf, text, strlen(text));
}

static bool is_printable(uint32_t cp)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)cp);

    return cp == ' ' || (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_SO);
}

static bool repr_text(struct sy_render *r, const struct sy_text *text, struct sy_buf *buf)
{
    bool single = memchr(text->bytes, '\'', text->len) && !memchr(text->bytes, '"', text->len);
    char quote = single ? '"' : '\'', code[16];
    bool good = sy_build(r, buf, &quote, 1);
    uint32_t cp;

    for (size_t i = 0, n; i < text->len && good; i += n) {
        n = (size_t)sy_utf8_get((const uint8_t *)text->bytes + i, &cp);
        if (cp == (uint32_t)quote || cp == '\\')
            snprintf(code, sizeof code, "\\%c", (char)cp);
        else if (cp == '\n' || cp == '\r' || cp == '\t')
            snprintf(code, sizeof code, "\\%c", cp == '\n' ? 'n' : cp == '\r' ? 'r' : 't');
        else if (is_printable(cp))
            code[0] = '\0';
        else
            snprintf(code, sizeof code, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)cp);
        good = *code ? put(r, buf, code) : sy_build(r, buf, text->bytes + i, n);
    }
    return good && sy_build(r, buf, &quote, 1);
}

static bool repr(struct sy_render *r, struct sy_value value, struct sy_buf *buf);

static bool repr_list(struct sy_render *r, const struct sy_list *list, struct sy_buf *buf)
{
    bool is_tuple = list->form == SY_LIST_TUPLE, good = put(r, buf, is_tuple ? "(" : "[");

    for (size_t i = 0; i < list->n && good; i++)
        good = (!i || put(r, buf, ", ")) && repr(r, list->at[i], buf);
    return good && put(r, buf, !is_tuple ? "]" : list->n == 1 ? ",)" : ")");
}

static bool repr_dict(struct sy_render *r, const struct sy_dict *dict, struct sy_buf *buf)
{
    bool good = put(r, buf, "{");

    for (size_t i = 0; i < dict->n && good; i++)
        good = (!i || put(r, buf, ", ")) && repr(r, dict->at[i].key, buf) && put(r, buf, ": ") &&
               repr(r, dict->at[i].value, buf);
    return good && put(r, buf, "}");
}

bool sy_show_into(struct sy_render *r, struct sy_value value, struct sy_buf *buf)
{
    char number[40];

    switch (value.kind) {
    case SY_VALUE_TEXT:
        return sy_build(r, buf, value.as.text->bytes, value.as.text->len);
    case SY_VALUE_UNDEFINED:
        return true;
    case SY_VALUE_NONE:
        return put(r, buf, "None");
    case SY_VALUE_BOOL:
        return put(r, buf, value.as.truth ? "True" : "False");
    case SY_VALUE_INT:
        snprintf(number, sizeof number, "%" PRId64, value.as.integer);
        return put(r, buf, number);
    case SY_VALUE_REAL:
        sy_show_real(value.as.real, number);
        return put(r, buf, number);
    case SY_VALUE_LIST:
        if (value.as.list->form <= SY_LIST_TUPLE)
            return repr_list(r, value.as.list, buf);
        return sy_fail(r, "a range or a view cannot be shown; use |list");
    case SY_VALUE_DICT:
        return repr_dict(r, value.as.dict, buf);
    default:
        return sy_fail(r, "%s cannot be shown", sy_value_type(value));
    }
}

static bool repr(struct sy_render *r, struct sy_value value, struct sy_buf *buf)
{
    if (!sy_enter(r))
        return false;
    bool good = value.kind == SY_VALUE_TEXT && value.is_safe
                    ? put(r, buf, "Markup(") && repr_text(r, value.as.text, buf) && put(r, buf, ")")
                : value.kind == SY_VALUE_TEXT      ? repr_text(r, value.as.text, buf)
                : value.kind == SY_VALUE_UNDEFINED ? put(r, buf, "Undefined")
                                                   : sy_show_into(r, value, buf);
    sy_leave(r);
    return good;
}

bool sy_show(struct sy_render *r, struct sy_value value, struct sy_value *out)
{
    struct sy_buf buf = SY_BUF_INIT;

    *out = value;
    return value.kind == SY_VALUE_TEXT || sy_built(r, sy_show_into(r, value, &buf), &buf, out);
}

/* ---- JSON ---- */

static bool dump_text(struct sy_render *r, const struct sy_text *text, bool ascii, struct sy_buf *buf)
{
    static const char specials[] = "\"\\\n\r\t\f\b", letters[] = "\"\\nrtfb";
    bool good = put(r, buf, "\"");
    char code[16];
    uint32_t cp;

    for (size_t i = 0, n; i < text->len && good; i += n) {
        n = (size_t)sy_utf8_get((const uint8_t *)text->bytes + i, &cp);
        const char *at = cp && cp < 0x80 ? strchr(specials, (int)cp) : NULL;
        code[0] = '\0';
        if (at)
            snprintf(code, sizeof code, "\\%c", letters[at - specials]);
        else if (cp < 0x20 || (ascii && cp >= 0x7f && cp < 0x10000))
            snprintf(code, sizeof code, "\\u%04x", (unsigned)cp);
        else if (ascii && cp >= 0x10000)
            snprintf(code, sizeof code, "\\u%04x\\u%04x", (unsigned)(0xd7c0 + (cp >> 10)),
                     (unsigned)(0xdc00 | (cp & 0x3ff)));
        good = *code ? put(r, buf, code) : sy_build(r, buf, text->bytes + i, n);
    }
    return good && put(r, buf, "\"");
}

static bool dump(struct sy_render *r, struct sy_value value, const struct sy_json_style *style, int level,
                 struct sy_buf *buf);

static bool new_line(struct sy_render *r, const struct sy_json_style *style, int level, struct sy_buf *buf)
{
    bool good = !style->indent || put(r, buf, "\n");

    for (int i = 0; i < level && good && style->indent; i++)
        good = put(r, buf, style->indent);
    return good;
}

static bool between(struct sy_render *r, const struct sy_json_style *style, size_t i, int level, struct sy_buf *buf)
{
    const struct sy_text *comma = style->item_separator.as.text;

    return (!i || sy_build(r, buf, comma->bytes, comma->len)) && new_line(r, style, level, buf);
}

static bool dump_list(struct sy_render *r, const struct sy_list *list, const struct sy_json_style *style, int level,
                      struct sy_buf *buf)
{
    bool good = put(r, buf, "[");

    for (size_t i = 0; i < list->n && good; i++)
        good = between(r, style, i, level + 1, buf) && dump(r, list->at[i], style, level + 1, buf);
    return good && (!list->n || new_line(r, style, level, buf)) && put(r, buf, "]");
}

/* The pairs in the order in which they are written. */
static bool in_order(struct sy_render *r, const struct sy_dict *dict, bool sort, const struct sy_pair **pairs)
{
    struct sy_pair *sorted = sort ? sy_take(r, (dict->n + 1) * sizeof *sorted) : NULL;
    int order;

    *pairs = dict->at;
    if (!sort)
        return true;
    for (size_t i = 0; sorted && i < dict->n; i++) {
        size_t at = i;
        for (; at > 0; at--) {
            if (!sy_value_order(r, sorted[at - 1].key, dict->at[i].key, &order))
                return false;
            if (order <= 0)
                break;
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = dict->at[i];
    }
    *pairs = sorted;
    return sorted != NULL;
}

static bool dump_dict(struct sy_render *r, const struct sy_dict *dict, const struct sy_json_style *style, int level,
                      struct sy_buf *buf)
{
    const struct sy_text *colon = style->key_separator.as.text;
    const struct sy_pair *pairs;
    bool good = in_order(r, dict, style->sort, &pairs) && put(r, buf, "{");

    for (size_t i = 0; i < dict->n && good; i++) {
        struct sy_value key = pairs[i].key;
        bool quote = key.kind != SY_VALUE_TEXT;
        if (key.kind > SY_VALUE_TEXT)
            return sy_fail(r, "%s cannot be a key in JSON", sy_value_type(key));
        good = between(r, style, i, level + 1, buf) && (!quote || put(r, buf, "\"")) &&
               dump(r, key, style, level + 1, buf) && (!quote || put(r, buf, "\"")) &&
               sy_build(r, buf, colon->bytes, colon->len) && dump(r, pairs[i].value, style, level + 1, buf);
    }
    return good && (!dict->n || new_line(r, style, level, buf)) && put(r, buf, "}");
}

static bool dump(struct sy_render *r, struct sy_value value, const struct sy_json_style *style, int level,
                 struct sy_buf *buf)
{
    bool good;

    if (!sy_enter(r))
        return false;
    if (value.kind == SY_VALUE_TEXT)
        good = dump_text(r, value.as.text, style->ascii, buf);
    else if (value.kind == SY_VALUE_LIST && value.as.list->form <= SY_LIST_TUPLE)
        good = dump_list(r, value.as.list, style, level, buf);
    else if (value.kind == SY_VALUE_DICT)
        good = dump_dict(r, value.as.dict, style, level, buf);
    else if (value.kind == SY_VALUE_NONE)
        good = put(r, buf, "null");
    else if (value.kind == SY_VALUE_BOOL)
        good = put(r, buf, value.as.truth ? "true" : "false");
    else if (value.kind == SY_VALUE_REAL && !isfinite(value.as.real))
        good = put(r, buf, isnan(value.as.real) ? "NaN" : value.as.real < 0 ? "-Infinity" : "Infinity");
    else if (sy_value_is_number(value))
        good = sy_show_into(r, value, buf);
    else
        good = sy_fail(r, "%s cannot be written as JSON", sy_value_type(value));
    sy_leave(r);
    return good;
}

bool sy_dump(struct sy_render *r, struct sy_value value, const struct sy_json_style *style, struct sy_value *out)
{
    struct sy_buf buf = SY_BUF_INIT;

    return sy_built(r, dump(r, value, style, 0, &buf), &buf, out);
}
