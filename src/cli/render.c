/* SPDX-License-Identifier: Apache-2.0
 * render.c - JSON text, written straight into a buffer
 */
#include "cli/render.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static bool put(struct sy_buf *out, const char *text)
{
    return sy_buf_append(out, text, strlen(text));
}

bool sy_render_string(struct sy_buf *out, const char *text, size_t len)
{
    static const char escapes[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const uint8_t *bytes = (const uint8_t *)text;
    bool good = sy_buf_reserve(out, len + 2) && put(out, "\"");

    for (size_t i = 0; i < len && good;) {
        int step = sy_utf8_step(bytes + i, len - i);
        size_t n = step > 0 ? (size_t)step : step < 0 ? (size_t)-step : len - i;
        const char *escape = n == 1 && bytes[i] ? strchr(escapes, bytes[i]) : NULL;
        if (step <= 0)
            good = put(out, SY_UTF8_REPLACEMENT);
        else if (escape)
            good = sy_buf_printf(out, "\\%c", letters[escape - escapes]);
        else if (n == 1 && bytes[i] < 0x20)
            good = sy_buf_printf(out, "\\u%04x", bytes[i]);
        else
            good = sy_buf_append(out, bytes + i, n);
        i += n;
    }
    return good && put(out, "\"");
}

bool sy_render_text(struct sy_buf *out, const char *text)
{
    return text ? sy_render_string(out, text, strlen(text)) : put(out, "null");
}

bool sy_render_real(struct sy_buf *out, double number, int digits)
{
    char text[48];

    if (!isfinite(number))
        return put(out, "null");
    snprintf(text, sizeof text, "%.*g", digits, number);
    /* A library may have set a locale with a decimal comma. */
    for (char *at = text; *at; at++)
        if (*at == ',')
            *at = '.';
    return put(out, text);
}

bool sy_render_ids(struct sy_buf *out, const int32_t *ids, size_t n)
{
    bool good = put(out, "[");

    for (size_t i = 0; i < n && good; i++)
        good = sy_buf_printf(out, "%s%" PRId32, i ? "," : "", ids[i]);
    return good && put(out, "]");
}
