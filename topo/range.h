/* SPDX-License-Identifier: Apache-2.0
 * range.h - names in short: gpu[0-3,7], t[00-17].gpu[0-3]
 *
 * Brackets hold numbers and spans in the order in which they are meant, repeated where that is meant; leading zeros are kept, as
 * in Slurm's host lists. Several brackets give every combination, the last one fastest.
 */
#ifndef SY_TOPO_RANGE_H
#define SY_TOPO_RANGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define SY_RANGE_NAMES_MAX (1 << 20)
#define SY_RANGE_BYTES_MAX 256 /* of one name */

struct sy_range {
    char **names; /* [n] into bytes */
    char *bytes;
    int n;
};

/* Expand text. False: why says what is wrong and *at (bytes from the begin of text) where; or there is no memory. */
bool sy_range_expand(const char *text, struct sy_range *range, char *why, size_t why_bytes, size_t *at);
void sy_range_fini(struct sy_range *range);

/* The way back: each() gets, one after the other, texts that expand to names[n] in their order; neighbours which differ in one
 * number are one text. The names may be ranges themselves, of which the brackets stay as they are. False: each() was false, or
 * there is no memory. */
bool sy_range_fold(const char *const *names, int n, bool (*each)(void *arg, const char *text), void *arg);

#endif
