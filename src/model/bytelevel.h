/* SPDX-License-Identifier: Apache-2.0
 * bytelevel.h - the alphabet in which byte-level vocabularies write bytes as printable characters
 *
 * GPT-2's scheme: the printable Latin-1 characters stand for themselves; the other 68 bytes, in order, are U+0100, U+0101
 * and so on (a space is U+0120).
 */
#ifndef SY_MODEL_BYTELEVEL_H
#define SY_MODEL_BYTELEVEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point that stands for a byte, below U+0144. */
uint32_t sy_bytelevel_char(uint8_t byte);

/* The byte that a code point stands for, or -1. */
int sy_bytelevel_byte(uint32_t cp);

/* Turn a token, len bytes of valid UTF-8 in the alphabet, into its bytes (at most len). Returns false, with out
 * undefined, when a character is not in the alphabet; such a token stands for its own text. */
bool sy_bytelevel_decode(const char *token, size_t len, uint8_t *out, size_t *out_len);

#endif
