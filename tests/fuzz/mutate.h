/* SPDX-License-Identifier: Apache-2.0
 * mutate.h - changes to inputs of fuzz harnesses that keep their form
 *
 * libFuzzer's own changes of bytes seldom leave a config.json that is still JSON, so it would test little but the JSON
 * parser. mutate.c hooks these in (LLVMFuzzerCustomMutator), one part of an input at a time.
 */
#ifndef SY_TESTS_FUZZ_MUTATE_H
#define SY_TESTS_FUZZ_MUTATE_H

#include <jansson.h>

#include "base/buf.h"
#include "testrand.h"

/* One of n things; n > 0. */
static inline size_t mutate_pick(struct testrand *rand, size_t n)
{
    return (size_t)(testrand_next(rand) % n);
}

/* Change one value, key or list in a tree; returns the tree, which may be another one. mutate_json.c */
json_t *mutate_json(json_t *root, struct testrand *rand);

/* Take a member (or element) of `from` into `root`, over the one of that name or anywhere. mutate_json.c */
void mutate_json_cross(json_t *root, const json_t *from, struct testrand *rand);

/* Change text made of pieces, which are lines, or tags and what stands between them if the text is a template: leave out,
 * repeat or exchange pieces, and words or numbers in them. out is emptied first. mutate_text.c */
void mutate_text(const char *text, size_t n, struct testrand *rand, struct sy_buf *out);

#endif
