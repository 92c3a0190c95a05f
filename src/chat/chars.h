/* SPDX-License-Identifier: Apache-2.0
 * chars.h - characters of valid UTF-8 text: white space, counting, case
 *
 * White space is what Python's str.isspace() says. Case is mapped one character to one (Unicode's simple mapping), which
 * differs from Python's for the few characters whose other case is longer.
 */
#ifndef SY_CHAT_CHARS_H
#define SY_CHAT_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool sy_chars_is_word(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_';
}

bool sy_chars_is_space(uint32_t cp);

/* Bytes of white space that text begins and ends with. */
size_t sy_chars_leading_space(const char *text, size_t len);
size_t sy_chars_trailing_space(const char *text, size_t len);

/* Characters in text; and where the character before end begins. */
size_t sy_chars_count(const char *text, size_t len);
size_t sy_chars_before(const char *text, size_t end);

/* Where character number n (0 ...) begins; len when there are fewer. */
size_t sy_chars_offset(const char *text, size_t len, size_t n);

bool sy_chars_is_upper(uint32_t cp);
bool sy_chars_is_lower(uint32_t cp);
bool sy_chars_is_alpha(uint32_t cp);
bool sy_chars_is_digit(uint32_t cp);

static inline bool sy_chars_is_cased(uint32_t cp)
{
    return sy_chars_is_upper(cp) || sy_chars_is_lower(cp);
}

uint32_t sy_chars_to_upper(uint32_t cp);
uint32_t sy_chars_to_lower(uint32_t cp);

#endif
