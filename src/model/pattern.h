/* SPDX-License-Identifier: Apache-2.0
 * pattern.h - regular expressions as published tokenizers write them, for PCRE2
 *
 * tokenizer.json holds patterns for Oniguruma with its Ruby syntax. Where the two engines read the same text differently,
 * the pattern is rewritten so that PCRE2 finds what Oniguruma would; where that cannot be done it is refused.
 */
#ifndef SY_MODEL_PATTERN_H
#define SY_MODEL_PATTERN_H

#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"

#define SY_PATTERN_BYTES_MAX 16384

/* Append the PCRE2 form of a pattern (valid UTF-8) to out; to be compiled with PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE
 * and newline LF. where is the JSON path for messages. Errors: SY_ERR_DATA with the byte offset in the pattern. */
enum sy_status sy_pattern_translate(const char *where, const char *pattern, size_t len, struct sy_buf *out,
                                    struct sy_error *err);

#endif
