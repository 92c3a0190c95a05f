/* SPDX-License-Identifier: Apache-2.0
 * shard_index.h - model.safetensors.index.json: which tensor lies in which shard
 *
 * A pure function of the text. Only "weight_map" is used; "metadata" and other keys are skipped.
 */
#ifndef SY_MODEL_SHARD_INDEX_H
#define SY_MODEL_SHARD_INDEX_H

#include <stddef.h>

#include "base/status.h"

struct sy_shard_entry {
    const char *tensor;
    const char *shard;
};

struct sy_shard_index {
    struct sy_shard_entry *entries; /* [n_entries], in order of tensor name, no name twice */
    const char **shards;            /* [n_shards], distinct, in order of name */
    size_t n_entries, n_shards;
    char *pool;
};

/* Errors: SY_ERR_DATA (bad JSON with line and column, a tensor that comes twice, a shard name that leaves the folder, no
 * tensors, over SY_SHARDS_MAX shards), SY_ERR_SYSTEM. On success the caller calls sy_shard_index_fini(). */
enum sy_status sy_shard_index_parse(const char *file, const char *text, size_t len, struct sy_shard_index *out,
                                    struct sy_error *err);

void sy_shard_index_fini(struct sy_shard_index *index);

/* What is wrong with a shard's name ("is absolute", ...), NULL when it stays inside the checkpoint's folder. */
const char *sy_shard_name_fault(const char *name);

#endif
