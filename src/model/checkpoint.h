/* SPDX-License-Identifier: Apache-2.0
 * checkpoint.h - a directory as published on the hub: config.json, generation_config.json, *.safetensors
 *
 * Everything in it is hostile. Reading has two halves, so that on a cluster one rank touches the metadata and the others
 * get it as a message, and so that the second half can be fuzzed:
 *   sy_checkpoint_read()   reads the JSON texts and every shard's header from disk into one block of bytes (the meta)
 *   sy_checkpoint_parse()  checks that block and builds the table of tensors; touches no file
 * Tensor data is read later, piece by piece, by sy_checkpoint_fetch().
 */
#ifndef SY_MODEL_CHECKPOINT_H
#define SY_MODEL_CHECKPOINT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "kernels.h"

#define SY_TENSOR_DIMS_MAX 8 /* vision towers have convolutions of 5 */

/* Limits on hostile input. */
#define SY_CONFIG_BYTES_MAX ((size_t)4 << 20)
#define SY_INDEX_BYTES_MAX ((size_t)64 << 20)
#define SY_HEADER_BYTES_MAX ((size_t)100 << 20) /* the safetensors library's own limit */
#define SY_SHARDS_MAX 10000

struct sy_tensor {
    const char *name;
    enum sy_dtype dtype;
    int n_dims;
    int64_t dims[SY_TENSOR_DIMS_MAX];
    int shard;
    uint64_t offset, bytes; /* of the data, from the start of the shard file */
};

struct sy_checkpoint;

/* Read the metadata of dir into meta (appended; the caller's buffer). Single file (model.safetensors) or sharded
 * (model.safetensors.index.json). A shard name in the index that is absolute, empty, or has a ".." component is refused;
 * symbolic links are followed. Errors: SY_ERR_IO (missing directory or file, named), SY_ERR_DATA. */
enum sy_status sy_checkpoint_read(const char *dir, struct sy_buf *meta, struct sy_error *err);

/* Parse a block made by sy_checkpoint_read(). dir is kept to open shards later. Checks: JSON depth and size, dtype
 * names, dims (count, sign, overflow of the product), data_offsets (order, inside the file, bytes == product * dtype size,
 * no overlap, no hole), tensors of the index missing in their shard or in another one, the same name in two shards.
 * Every error names the file and the tensor, what was expected and what was found. */
enum sy_status sy_checkpoint_parse(const char *dir, const uint8_t *meta, size_t meta_bytes, struct sy_checkpoint **ckpt,
                                   struct sy_error *err);

/* Check on this machine that each shard is there with the size that the metadata says (fstat only; reads nothing). */
enum sy_status sy_checkpoint_verify(const struct sy_checkpoint *ckpt, struct sy_error *err);

/* Read every shard's header on this machine again and compare it with the metadata, byte for byte. */
enum sy_status sy_checkpoint_verify_headers(const struct sy_checkpoint *ckpt, struct sy_error *err);

/* Read a few bytes of up to 512 tensors, and append them to sample; compare such a sample, which another machine took with the
 * same metadata, with the data here. Weights of another training differ nearly everywhere. SY_ERR_DATA names file and tensor. */
enum sy_status sy_checkpoint_sample(struct sy_checkpoint *ckpt, struct sy_buf *sample, struct sy_error *err);
enum sy_status sy_checkpoint_compare(struct sy_checkpoint *ckpt, const struct sy_buf *sample, struct sy_error *err);

/* Parsed config.json (an object) and generation_config.json (an object, or NULL when absent); owned by ckpt. */
const json_t *sy_checkpoint_config(const struct sy_checkpoint *ckpt);
const json_t *sy_checkpoint_generation_config(const struct sy_checkpoint *ckpt);
const char *sy_checkpoint_dir(const struct sy_checkpoint *ckpt);

/* Tensor by name, NULL when there is none; all tensors in order of name. */
const struct sy_tensor *sy_checkpoint_find(const struct sy_checkpoint *ckpt, const char *name);
const struct sy_tensor *sy_checkpoint_tensors(const struct sy_checkpoint *ckpt, size_t *n_tensors);
int sy_checkpoint_n_shards(const struct sy_checkpoint *ckpt);
const char *sy_checkpoint_shard_path(const struct sy_checkpoint *ckpt, int shard);

/* Read bytes [begin, begin + n) of a tensor's data to out with one or few large pread calls. Thread-safe. Shards are
 * opened on first use and stay open. */
enum sy_status sy_checkpoint_fetch(struct sy_checkpoint *ckpt, const struct sy_tensor *tensor, uint64_t begin, size_t n,
                                   void *out, struct sy_error *err);

/* Take tensor data from a function of (seed, tensor, place) instead of files, for checkpoints that are not on disk
 * (synthetic.h). It must be thread-safe. To be called before the first fetch. */
typedef void (*sy_source_fn)(uint64_t seed, const struct sy_tensor *tensor, uint64_t begin, size_t n, void *out);
void sy_checkpoint_set_source(struct sy_checkpoint *ckpt, sy_source_fn source, uint64_t seed);

/* Ask the system to read these bytes in the background, for a sy_checkpoint_fetch() that will come soon. A hint: whatever
 * goes wrong is found by that call. Thread-safe. */
void sy_checkpoint_prefetch(struct sy_checkpoint *ckpt, const struct sy_tensor *tensor, uint64_t begin, size_t n);

/* Bytes that sy_checkpoint_fetch() has read so far in this process. */
uint64_t sy_checkpoint_bytes_read(const struct sy_checkpoint *ckpt);

void sy_checkpoint_close(struct sy_checkpoint *ckpt);

#endif
