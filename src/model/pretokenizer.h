/* SPDX-License-Identifier: Apache-2.0
 * pretokenizer.h - text into the pieces that merges stay inside
 *
 * A pre-tokenizer is a sequence of stages; each cuts every piece of the one before, by a pattern. Kinds: Split, Digits,
 * ByteLevel (last), Sequence of these, Metaspace (alone); a new kind is a row of KINDS in pretokenizer_read.c. A piece is
 * handed on as soon as it is found, so memory does not grow with the text, but for Metaspace, which rewrites the text first.
 * Read-only once made; what changes is in the caller's scratch.
 */
#ifndef SY_MODEL_PRETOKENIZER_H
#define SY_MODEL_PRETOKENIZER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct sy_pretokenizer;
struct sy_pretokenizer_scratch;

/* Compile the value of "pre_tokenizer" (NULL and null are no stages: the text is one piece). name stands before every
 * message. Errors: SY_ERR_DATA with the JSON path. */
enum sy_status sy_pretokenizer_create(const char *name, const json_t *json, struct sy_pretokenizer **pt,
                                      struct sy_error *err);
void sy_pretokenizer_destroy(struct sy_pretokenizer *pt);

/* True when the last stage is ByteLevel: the vocabulary writes bytes in the alphabet of bytelevel.h. */
bool sy_pretokenizer_is_byte_level(const struct sy_pretokenizer *pt);

/* Match state of one thread. NULL when there is no memory. */
struct sy_pretokenizer_scratch *sy_pretokenizer_scratch_create(void);
void sy_pretokenizer_scratch_destroy(struct sy_pretokenizer_scratch *scratch);

typedef enum sy_status (*sy_piece_fn)(void *arg, const uint8_t *text, size_t len, struct sy_error *err);

/* Call fn for each piece of text (valid UTF-8), in order; none is empty. A piece is valid during the call only. at_begin:
 * nothing is before this text, not even an added token.
 * Errors: SY_ERR_DATA when a pattern needs too many steps on this text; what fn returned. */
enum sy_status sy_pretokenizer_split(const struct sy_pretokenizer *pt, struct sy_pretokenizer_scratch *scratch,
                                     const uint8_t *text, size_t len, bool at_begin, sy_piece_fn fn, void *arg,
                                     struct sy_error *err);

#endif
