/* SPDX-License-Identifier: Apache-2.0
 * tokenizer_impl.h - the parts of a tokenizer, for tokenizer*.c and detokenizer.c only
 */
#ifndef SY_MODEL_TOKENIZER_IMPL_H
#define SY_MODEL_TOKENIZER_IMPL_H

#include <jansson.h>
#include <pthread.h>

#include "model/added.h"
#include "model/bpe.h"
#include "model/decoder.h"
#include "model/normalizer.h"
#include "model/postprocessor.h"
#include "model/pretokenizer.h"
#include "model/tokenizer.h"
#include "model/vocab.h"

struct encoder; /* what one running encode changes; tokenizer.c */

/* In the order that text goes through them. */
struct sy_tokenizer {
    struct sy_added added_raw; /* looked for in the text as given */
    struct sy_normalizer *normalizer;
    struct sy_added added_normalized; /* looked for in the normalised text */
    struct sy_pretokenizer *pretokenizer;
    struct sy_bpe bpe;
    struct sy_postprocessor post;
    struct sy_vocab vocab;
    struct sy_decoder decoder;
    pthread_mutex_t lock;
    struct encoder *idle; /* kept for the next encode, with their caches; under lock */
};

/* Fill a zeroed tokenizer from the root of a tokenizer.json. On an error the caller closes it. */
enum sy_status sy_tokenizer_read(const char *name, const json_t *root, struct sy_tokenizer *tok, struct sy_error *err);

#endif
