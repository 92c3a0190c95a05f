/* SPDX-License-Identifier: Apache-2.0
 * tokenizer.h - text to ids and back, from a published tokenizer.json or tiktoken.model
 *
 * BPE over bytes or characters. Text goes through: added tokens cut out (added.h), normalizer, pre-tokenizer (PCRE2
 * patterns), merges with a heap or a search so that time is linear (times a logarithm) in the text (bpe.h), ids around
 * (postprocessor.h). Each of these files has a table of the kinds it knows. Thread: any; what an encode changes is taken
 * from a list in the tokenizer under a lock, so calls of several threads run at the same time.
 */
#ifndef SY_MODEL_TOKENIZER_H
#define SY_MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define SY_TOKENIZER_BYTES_MAX ((size_t)64 << 20)

struct sy_tokenizer;

/* A file in memory; the name is for messages. */
struct sy_named_text {
    const char *name, *text;
    size_t len;
};

/* Read DIR/tokenizer.json, or without it DIR/tiktoken.model with DIR/tokenizer_config.json (tiktoken.h). Neither: SY_OK
 * and *tok = NULL (the model then takes and returns ids). What is not supported is refused with the JSON path of the
 * construct ("tokenizer.json: pre_tokenizer.type is X, supported: ..."). */
enum sy_status sy_tokenizer_open(const char *dir, struct sy_tokenizer **tok, struct sy_error *err);

/* The same from text in memory (tests, fuzzing); name is for messages. */
enum sy_status sy_tokenizer_parse(const char *name, const char *text, size_t len, struct sy_tokenizer **tok,
                                  struct sy_error *err);

enum sy_status sy_tokenizer_parse_tiktoken(const struct sy_named_text *model, const struct sy_named_text *config,
                                           struct sy_tokenizer **tok, struct sy_error *err);

void sy_tokenizer_close(struct sy_tokenizer *tok);

/* Ids in the vocabulary: largest id + 1. */
int sy_tokenizer_n_ids(const struct sy_tokenizer *tok);

/* Append ids (int32_t each) of len bytes of UTF-8 to out. add_special: whether the post-processor adds its tokens
 * (BOS and the like). Special tokens written in the text are recognised. Invalid UTF-8 is SY_ERR_DATA with its byte
 * offset. */
enum sy_status sy_tokenizer_encode(const struct sy_tokenizer *tok, const char *text, size_t len, bool add_special,
                                   struct sy_buf *out, struct sy_error *err);

/* Append the text of ids to out; skip_special leaves special tokens out. Bytes that are not UTF-8 become U+FFFD, as
 * the reference does. Ids out of range are left out. */
enum sy_status sy_tokenizer_decode(const struct sy_tokenizer *tok, const int32_t *ids, size_t n, bool skip_special,
                                   struct sy_buf *out, struct sy_error *err);

/* The raw bytes of one token (for logprobs); NULL for an id that is not there. Not NUL-terminated. */
const char *sy_tokenizer_token(const struct sy_tokenizer *tok, int32_t id, size_t *len);
bool sy_tokenizer_is_special(const struct sy_tokenizer *tok, int32_t id);

/* Streaming decode of one sequence. Text comes out as soon as it is certain: an incomplete UTF-8 character is held back
 * until its last byte is there, and what has come out is always a prefix of sy_tokenizer_decode() of the whole. */
struct sy_detokenizer {
    const struct sy_tokenizer *tok;
    bool skip_special;
    uint8_t pending[8]; /* bytes of an unfinished character */
    int n_pending;
    int n_strip; /* spaces still to be taken off the begin of the text */
};

void sy_detokenizer_init(struct sy_detokenizer *d, const struct sy_tokenizer *tok, bool skip_special);

/* Append what id makes certain to out. */
enum sy_status sy_detokenizer_push(struct sy_detokenizer *d, int32_t id, struct sy_buf *out, struct sy_error *err);

/* The end: an unfinished character becomes U+FFFD. */
enum sy_status sy_detokenizer_finish(struct sy_detokenizer *d, struct sy_buf *out, struct sy_error *err);

#endif
