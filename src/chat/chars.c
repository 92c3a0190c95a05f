/* SPDX-License-Identifier: Apache-2.0
 * chars.c - characters of valid UTF-8 text
 */
#include "chat/chars.h"

#include <utf8proc.h>

#include "base/utf8.h"

bool sy_chars_is_space(uint32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x20) || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f ||
           cp == 0x3000;
}

size_t sy_chars_leading_space(const char *text, size_t len)
{
    uint32_t cp;
    size_t at = 0;

    while (at < len) {
        int n = sy_utf8_get((const uint8_t *)text + at, &cp);
        if (!sy_chars_is_space(cp))
            break;
        at += (size_t)n;
    }
    return at;
}

size_t sy_chars_before(const char *text, size_t end)
{
    do
        end--;
    while (((uint8_t)text[end] & 0xc0) == 0x80);
    return end;
}

size_t sy_chars_trailing_space(const char *text, size_t len)
{
    uint32_t cp;
    size_t end = len;

    while (end > 0) {
        size_t before = sy_chars_before(text, end);
        sy_utf8_get((const uint8_t *)text + before, &cp);
        if (!sy_chars_is_space(cp))
            break;
        end = before;
    }
    return len - end;
}

size_t sy_chars_count(const char *text, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += ((uint8_t)text[i] & 0xc0) != 0x80;
    return n;
}

size_t sy_chars_offset(const char *text, size_t len, size_t n)
{
    size_t at = 0;

    for (; at < len; at++)
        if (((uint8_t)text[at] & 0xc0) != 0x80 && !n--)
            break;
    return at;
}

bool sy_chars_is_upper(uint32_t cp)
{
    return utf8proc_isupper((utf8proc_int32_t)cp);
}

bool sy_chars_is_lower(uint32_t cp)
{
    return utf8proc_islower((utf8proc_int32_t)cp);
}

bool sy_chars_is_alpha(uint32_t cp)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)cp);

    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool sy_chars_is_digit(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_ND;
}

uint32_t sy_chars_to_upper(uint32_t cp)
{
    return (uint32_t)utf8proc_toupper((utf8proc_int32_t)cp);
}

uint32_t sy_chars_to_lower(uint32_t cp)
{
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
}
