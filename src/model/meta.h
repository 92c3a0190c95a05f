/* SPDX-License-Identifier: Apache-2.0
 * meta.h - a checkpoint's metadata as one block of bytes
 *
 * What one rank reads from disk and the others get as a message: records {kind, length of the name, length of the bytes,
 * size of the file}, each followed by the name and the bytes. Order: config, generation config (optional), index
 * (optional), then every shard's head in order of name. Numbers are in the machine's own byte order, because the block
 * lives no longer than the job.
 */
#ifndef SY_MODEL_META_H
#define SY_MODEL_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

enum sy_meta_kind { SY_META_CONFIG = 1, SY_META_GENERATION, SY_META_INDEX, SY_META_SHARD };

struct sy_meta_record {
    enum sy_meta_kind kind;
    const char *name; /* name_bytes long, not NUL-terminated */
    size_t name_bytes;
    const uint8_t *bytes; /* config, index: the text; shard: prefix and JSON */
    size_t n_bytes;
    uint64_t file_bytes; /* size of the whole file */
};

/* Append a record whose bytes are already known. Returns false when there is no memory. */
bool sy_meta_append(struct sy_buf *meta, const struct sy_meta_record *record);

/* The next record; SY_AGAIN at the end. SY_ERR_DATA when the block is damaged. Pointers go into the block. */
enum sy_status sy_meta_next(struct sy_cursor *cursor, struct sy_meta_record *record, struct sy_error *err);

#endif
