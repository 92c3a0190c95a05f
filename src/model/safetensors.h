/* SPDX-License-Identifier: Apache-2.0
 * safetensors.h - the header of one shard
 *
 * A shard is eight bytes (little-endian length n), n bytes of JSON, then the data of all tensors back to back. Reading the
 * header is a pure function of those first bytes and the size of the file: no file is touched here.
 * Source: the format section of the safetensors README.
 */
#ifndef SY_MODEL_SAFETENSORS_H
#define SY_MODEL_SAFETENSORS_H

#include "model/checkpoint.h"

#define SY_SHARD_PREFIX_BYTES 8

struct sy_safetensors {
    struct sy_tensor *tensors; /* [n_tensors], in the order of their data; offsets count from the start of the file */
    size_t n_tensors;
    char *names; /* what the names point into */
};

/* Bytes of prefix and JSON together, from the first eight bytes of a file of file_bytes (shorter: give what there is).
 * SY_ERR_DATA when the file is too short for them or the header is over SY_HEADER_BYTES_MAX. */
enum sy_status sy_safetensors_head_bytes(const char *file, const uint8_t *prefix, size_t prefix_bytes,
                                         uint64_t file_bytes, size_t *head_bytes, struct sy_error *err);

/* Parse the head (prefix and JSON) of a file. Checked: JSON, dtype names, dims (count, sign, overflow), that each tensor's
 * bytes follow from dtype and dims and lie inside the file, that data has no overlap and no hole. A name that comes twice
 * is left for the caller, who has to look across shards anyway. shard goes into each tensor.
 * Errors: SY_ERR_DATA with file and tensor, SY_ERR_SYSTEM without memory. On success the caller calls
 * sy_safetensors_fini(). */
enum sy_status sy_safetensors_parse(const char *file, const uint8_t *head, size_t head_bytes, uint64_t file_bytes,
                                    int shard, struct sy_safetensors *out, struct sy_error *err);

void sy_safetensors_fini(struct sy_safetensors *st);

/* "[3, 4]" in the caller's buffer, for messages; returns it. */
const char *sy_dims_show(const int64_t *dims, int n_dims, char *out, size_t out_bytes);

#endif
