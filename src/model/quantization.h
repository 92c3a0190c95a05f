/* SPDX-License-Identifier: Apache-2.0
 * quantization.h - weights that are published as codes and scales
 *
 * "quantization_config" says how; which matrices are quantised, their tensors' types say, so that lists of modules left as
 * they were need not be followed. Codes stay as they are in memory. Activations are not quantised here, whatever the config
 * says of them.
 */
#ifndef SY_MODEL_QUANTIZATION_H
#define SY_MODEL_QUANTIZATION_H

#include <jansson.h>

#include "base/status.h"
#include "model/matrix.h"

enum sy_quantization_method {
    SY_QUANTIZATION_NONE,
    SY_QUANTIZATION_FP8,        /* F8_E4M3, scales by blocks of block_n x block_k, or for each output or tensor */
    SY_QUANTIZATION_COMPRESSED, /* compressed-tensors: F8_E4M3 or I8, symmetric */
    SY_QUANTIZATION_MXFP4,
};

struct sy_quantization {
    enum sy_quantization_method method;
    int block_n, block_k; /* 0: no blocks are named */
};

/* config: the quantization_config of a config.json, or NULL. path is for messages. SY_ERR_DATA with the key, what it is and
 * what is supported. */
enum sy_status sy_quantization_read(const char *path, const json_t *config, struct sy_quantization *quantization,
                                    struct sy_error *err);

/* In words ("fp8 in blocks of 128 x 128"), in a buffer of the caller; returns it. */
const char *sy_quantization_show(const struct sy_quantization *quantization, char *out, size_t out_bytes);

/* Find the scales of a source whose tensor W (.weight, or a stack of experts) holds codes: W_scale_inv or W_scale. rows are
 * the tensor's (of slice `slice`), of which the source's first is number `row`. Sources of floats have none, which is fine.
 * SY_ERR_DATA: a type that the config does not speak of, or scales that are missing or of another shape or type. */
enum sy_status sy_quantization_scales(const struct sy_quantization *quantization, const struct sy_checkpoint *ckpt,
                                      int64_t slice, int64_t row, struct sy_matrix *source, struct sy_error *err);

/* MXFP4: rows row, row + row_step, .. (n of them) of slice `slice` of NAME_blocks U8 [slices, rows, k / 32, 16], with
 * NAME_scales U8 [slices, rows, k / 32]. blocks is NAME_blocks; any shapes are checked. */
enum sy_status sy_quantization_mxfp4(const struct sy_quantization *quantization, const struct sy_checkpoint *ckpt,
                                     const struct sy_tensor *blocks, int64_t slice, int64_t row, int row_step, int n,
                                     int k, struct sy_matrix *source, struct sy_error *err);

#endif
