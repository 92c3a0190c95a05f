/* SPDX-License-Identifier: Apache-2.0
 * utf8.h - checking, reading and writing UTF-8
 *
 * Valid means: shortest form, no surrogates, nothing over U+10FFFF.
 */
#ifndef SY_BASE_UTF8_H
#define SY_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* What an undecodable byte is shown as: U+FFFD. */
#define SY_UTF8_REPLACEMENT "\xef\xbf\xbd"

/* What begins at s, of which n >= 1 bytes are there.
 *   k > 0   a whole valid character of k bytes
 *   0       the begin of a character, more bytes are needed
 *   -k      k bytes that no valid character begins with: the longest run that one U+FFFD stands for (Unicode 3.9,
 *           "maximal subpart") */
int sy_utf8_step(const uint8_t *s, size_t n);

/* Length of the longest valid prefix; equal to len when all of it is valid. */
size_t sy_utf8_valid(const void *text, size_t len);

/* Write cp (a valid code point) to out; returns the number of bytes, 1 to 4. */
int sy_utf8_put(uint32_t cp, uint8_t out[4]);

/* Read the character at s, which must be valid; returns the number of bytes. */
static inline int sy_utf8_get(const uint8_t *s, uint32_t *cp)
{
    if (s[0] < 0x80) {
        *cp = s[0];
        return 1;
    }
    if (s[0] < 0xe0) {
        *cp = (uint32_t)(s[0] & 0x1f) << 6 | (s[1] & 0x3f);
        return 2;
    }
    if (s[0] < 0xf0) {
        *cp = (uint32_t)(s[0] & 0x0f) << 12 | (uint32_t)(s[1] & 0x3f) << 6 | (s[2] & 0x3f);
        return 3;
    }
    *cp = (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3f) << 12 | (uint32_t)(s[2] & 0x3f) << 6 | (s[3] & 0x3f);
    return 4;
}

#endif
