/* SPDX-License-Identifier: Apache-2.0
 * tiktoken.h - the tokenizer of a checkpoint that publishes tiktoken's ranks instead of tokenizer.json (Kimi-K2)
 *
 * "tiktoken.model" has a line for each token: its bytes in base64, a space, its rank, which is its id. The pattern is in
 * Python code that comes with the checkpoint; tokenizer_config.json names that code, and the names known here have their
 * pattern in a table of tiktoken.c. The 256 ids after the ranks are special tokens, spelt in "added_tokens_decoder" or
 * <|reserved_token_ID|>.
 */
#ifndef SY_MODEL_TIKTOKEN_H
#define SY_MODEL_TIKTOKEN_H

#include <jansson.h>
#include <stddef.h>

#include "base/status.h"
#include "model/tokenizer.h"

#define SY_TIKTOKEN_BYTES_MAX ((size_t)16 << 20)

/* Fill a zeroed tokenizer from the text of tiktoken.model and the root of tokenizer_config.json (names are for messages).
 * On an error the caller closes it. Errors: SY_ERR_DATA with the line or the JSON path. */
enum sy_status sy_tiktoken_read(const struct sy_named_text *model, const char *config_name, const json_t *config,
                                struct sy_tokenizer *tok, struct sy_error *err);

#endif
