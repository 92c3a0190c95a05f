/* SPDX-License-Identifier: Apache-2.0
 * normalizer.h - what happens to text before it is cut into pieces
 *
 * Kinds: NFC, Prepend, Replace (of a string), Sequence of these; a new kind is a row of KINDS in normalizer.c. Read-only
 * once made.
 */
#ifndef SY_MODEL_NORMALIZER_H
#define SY_MODEL_NORMALIZER_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

struct sy_normalizer;

/* Read the value of "normalizer" (NULL and null are no steps). Errors: SY_ERR_DATA with the JSON path. */
enum sy_status sy_normalizer_create(const char *name, const json_t *json, struct sy_normalizer **normalizer,
                                    struct sy_error *err);
void sy_normalizer_destroy(struct sy_normalizer *normalizer);

/* Normalise *text (valid UTF-8). On return *text and *len are the result: the same text when nothing had to change, else
 * in one of the two buffers, whose contents are the caller's scratch. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_normalizer_apply(const struct sy_normalizer *normalizer, struct sy_buf scratch[2],
                                   const uint8_t **text, size_t *len, struct sy_error *err);

#endif
