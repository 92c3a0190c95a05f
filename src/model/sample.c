/* SPDX-License-Identifier: Apache-2.0
 * sample.c - a few bytes here and there of a checkpoint's data, to tell copies of different models apart
 */
#include "model/checkpoint.h"

#include <string.h>

#define SAMPLES_MAX 512 /* tensors looked at, evenly spread over the table */
#define PIECE_BYTES 64  /* from the middle of each */

/* Sample number i of a table of n tensors, and where its bytes begin. */
static const struct sy_tensor *pick(const struct sy_tensor *tensors, size_t n, size_t i, uint64_t *begin, size_t *bytes)
{
    const struct sy_tensor *t = &tensors[n <= SAMPLES_MAX ? i : i * n / SAMPLES_MAX];

    *bytes = t->bytes < PIECE_BYTES ? (size_t)t->bytes : PIECE_BYTES;
    *begin = (t->bytes - *bytes) / 2;
    return t;
}

enum sy_status sy_checkpoint_sample(struct sy_checkpoint *ckpt, struct sy_buf *sample, struct sy_error *err)
{
    size_t n;
    const struct sy_tensor *tensors = sy_checkpoint_tensors(ckpt, &n);

    for (size_t i = 0; i < n && i < SAMPLES_MAX; i++) {
        uint8_t piece[PIECE_BYTES] = {0};
        uint64_t begin;
        size_t bytes;
        const struct sy_tensor *t = pick(tensors, n, i, &begin, &bytes);
        enum sy_status st = sy_checkpoint_fetch(ckpt, t, begin, bytes, piece, err);
        if (st)
            return st;
        if (!sy_buf_append(sample, piece, sizeof piece))
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a sample of the checkpoint");
    }
    return SY_OK;
}

enum sy_status sy_checkpoint_compare(struct sy_checkpoint *ckpt, const struct sy_buf *sample, struct sy_error *err)
{
    struct sy_buf mine = SY_BUF_INIT;
    size_t n;
    const struct sy_tensor *tensors = sy_checkpoint_tensors(ckpt, &n);
    enum sy_status st = sy_checkpoint_sample(ckpt, &mine, err);

    if (!st && mine.len != sample->len)
        st = sy_error_set(err, SY_ERR_INTERNAL, "a sample of the checkpoint has %zu bytes, expected %zu", sample->len,
                          mine.len);
    for (size_t i = 0; !st && i < mine.len / PIECE_BYTES; i++) {
        uint64_t begin;
        size_t bytes;
        const struct sy_tensor *t = pick(tensors, n, i, &begin, &bytes);
        if (memcmp(mine.data + i * PIECE_BYTES, sample->data + i * PIECE_BYTES, PIECE_BYTES))
            st = sy_error_set(err, SY_ERR_DATA,
                              "%s: tensor %.200s has other values here than where the metadata was read; are the "
                              "copies the same?",
                              sy_checkpoint_shard_path(ckpt, t->shard), t->name);
    }
    sy_buf_fini(&mine);
    return st;
}
