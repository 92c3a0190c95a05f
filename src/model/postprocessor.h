/* SPDX-License-Identifier: Apache-2.0
 * postprocessor.h - the ids put before and after a text
 *
 * Kinds: TemplateProcessing (its "single" form, at most once), ByteLevel (which moves offsets only), Sequence of these.
 */
#ifndef SY_MODEL_POSTPROCESSOR_H
#define SY_MODEL_POSTPROCESSOR_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "model/vocab.h"

struct sy_postprocessor {
    struct sy_buf before, after; /* int32_t each */
};

/* Read the value of "post_processor" (NULL and null add nothing). Errors: SY_ERR_DATA with the JSON path, for an id that
 * is not in the vocabulary too. */
enum sy_status sy_postprocessor_init(struct sy_postprocessor *post, const char *name, const json_t *json,
                                     const struct sy_vocab *vocab, struct sy_error *err);
void sy_postprocessor_fini(struct sy_postprocessor *post);

#endif
