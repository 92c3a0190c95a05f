/* SPDX-License-Identifier: Apache-2.0
 * scan.h - reading large JSON without building it
 *
 * The header of a shard and the index of a sharded checkpoint may be a hundred megabytes of text that a stranger wrote. A
 * tree of such a text takes tens of times its size, so these two are read front to back: the caller asks for what must
 * come next. Nothing is allocated here; strings are decoded into a pool that the caller makes as large as the text, which
 * is always enough because a decoded string with its NUL is never longer than the quoted one.
 *
 * Every function returns SY_OK, SY_AGAIN (the object or array ended) or SY_ERR_DATA with a sentence that begins with the
 * file and the place.
 */
#ifndef SY_MODEL_SCAN_H
#define SY_MODEL_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct sy_scan {
    const char *file, *text;
    size_t len, at;
    size_t byte_base; /* what text[0] is in the file, for messages */
    bool by_line;     /* messages give line and column instead of the byte */
    char *pool;       /* where the next string goes; goes back when the caller sets it back */
    struct sy_error *err;
};

/* SY_ERR_DATA with "file: byte N: " or "file:line:column: " before the sentence. */
enum sy_status sy_scan_fail(const struct sy_scan *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The next thing is this bracket, '{' or '['. */
enum sy_status sy_scan_open(struct sy_scan *s, char bracket);

/* The next member's key and its colon; SY_AGAIN at the object's end. *first is true before the first call for an object. */
enum sy_status sy_scan_key(struct sy_scan *s, bool *first, const char **key);

/* Whether another element follows (SY_OK) or the array ends (SY_AGAIN). */
enum sy_status sy_scan_item(struct sy_scan *s, bool *first);

/* A string in valid UTF-8 without control characters, in the pool. */
enum sy_status sy_scan_string(struct sy_scan *s, const char **out);

/* An integer that fits an int64_t, without fraction or exponent. */
enum sy_status sy_scan_int(struct sy_scan *s, int64_t *out);

/* Any value, checked and left out; at most max_depth levels deep. */
enum sy_status sy_scan_skip(struct sy_scan *s, int max_depth);

/* Nothing but white space is left. */
enum sy_status sy_scan_end(struct sy_scan *s);

#endif
