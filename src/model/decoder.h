/* SPDX-License-Identifier: Apache-2.0
 * decoder.h - what a token of the vocabulary stands for in text
 *
 * Kinds: ByteLevel; or a Sequence of Replace (of a string), ByteFallback, Fuse and Strip (at the begin), in this order,
 * each at most once. A new kind is a row of KINDS in decoder.c. All of it but Strip is worked out for each token when a
 * tokenizer is opened; Strip is left to the detokenizer.
 */
#ifndef SY_MODEL_DECODER_H
#define SY_MODEL_DECODER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

struct sy_decoder {
    bool byte_level;      /* tokens are in the alphabet of bytelevel.h */
    bool byte_fallback;   /* <0xNN> is a byte */
    int n_strip;          /* spaces taken off the begin of the whole text */
    char *find, *content; /* owned; NULL: nothing is replaced */
    size_t find_len, content_len;
};

/* Read the value of "decoder". Errors: SY_ERR_DATA with the JSON path. */
enum sy_status sy_decoder_init(struct sy_decoder *decoder, const char *name, const json_t *json, struct sy_error *err);
void sy_decoder_fini(struct sy_decoder *decoder);

/* Append what a token (valid UTF-8) stands for to out, and set *is_byte for one byte of an unknown character.
 * Errors: SY_ERR_SYSTEM. */
enum sy_status sy_decoder_token(const struct sy_decoder *decoder, const char *token, size_t len, struct sy_buf *out,
                                bool *is_byte, struct sy_error *err);

#endif
