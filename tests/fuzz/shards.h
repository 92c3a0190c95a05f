/* SPDX-License-Identifier: Apache-2.0
 * shards.h - metadata of a checkpoint from short text, for fuzz harnesses
 *
 * A list of tensors has one line each, "NAME DTYPE DIM DIM ... [@BEGIN [END]]", and becomes a well-formed header, so that a
 * fuzzer need not get JSON and offsets right. {0-7} in a name makes a tensor of each number; at most SHARDS_TENSORS_MAX
 * tensors are made. Without @ a tensor's data follows that of the line before, and without END it has the length that its
 * type and dims ask for.
 */
#ifndef SY_TESTS_FUZZ_SHARDS_H
#define SY_TESTS_FUZZ_SHARDS_H

#include "base/buf.h"
#include "model/meta.h"

#define SHARDS_TENSORS_MAX 4096

/* Ends the process where what must hold does not. */
void promise(bool kept);

/* Head of a shard (appended to the caller's buffer) from a list of n bytes; returns the size of the file. */
uint64_t shards_head(const char *list, size_t n, struct sy_buf *head);

/* Append one file to a block of metadata. */
void shards_append(struct sy_buf *meta, enum sy_meta_kind kind, const char *name, const void *bytes, size_t n,
                   uint64_t file_bytes);

/* The next part of an input, up to "\n--\n" or the end; moves *at behind that and returns the part's length. */
size_t shards_part(const uint8_t *data, size_t size, size_t *at);

#endif
