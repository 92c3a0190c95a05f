/* SPDX-License-Identifier: Apache-2.0
 * quantization.c - quantization_config, and the scales that belong to a tensor of codes
 *
 * Source: config.json of published checkpoints (DeepSeek-V3, Qwen3 FP8, gpt-oss), and the compressed-tensors format as
 * llm-compressor writes it.
 */
#include "model/quantization.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "model/safetensors.h"

#define BLOCK_MAX (1 << 20)

#define MXFP4_BLOCK 32

static enum sy_status unsupported(const char *path, const char *key, const json_t *value, const char *supported,
                                  struct sy_error *err)
{
    char shown[80];

    return sy_error_set(err, SY_ERR_DATA, "%s: \"quantization_config\" has %s %s; supported: %s", path, key,
                        value ? sy_json_show(value, shown, sizeof shown) : "not given", supported);
}

/* Whether a value is one of some words. */
static bool is_word(const json_t *value, const char *const *words)
{
    for (; json_is_string(value) && *words; words++)
        if (!strcmp(json_string_value(value), *words))
            return true;
    return false;
}

/* [outputs, inputs] of a block; absent or null leaves it as it is. */
static enum sy_status read_block(const char *path, const char *key, const json_t *value, struct sy_quantization *out,
                                 struct sy_error *err)
{
    int64_t n = json_integer_value(json_array_get(value, 0)), k = json_integer_value(json_array_get(value, 1));

    if (!value || json_is_null(value))
        return SY_OK;
    if (json_array_size(value) != 2 || n < 1 || n > BLOCK_MAX || k < 1 || k > BLOCK_MAX || k % SY_SCALE_UNIT)
        return unsupported(path, key, value, "two numbers of outputs and inputs, the second a multiple of 32", err);
    if (out->block_n && (out->block_n != n || out->block_k != k))
        return sy_error_set(err, SY_ERR_DATA,
                            "%s: \"quantization_config\" has blocks of %d x %d and of %" PRId64 " x %" PRId64
                            "; supported: one size",
                            path, out->block_n, out->block_k, n, k);
    out->block_n = (int)n;
    out->block_k = (int)k;
    return SY_OK;
}

static enum sy_status read_fp8(const char *path, const json_t *q, struct sy_quantization *out, struct sy_error *err)
{
    const json_t *fmt = sy_json_get(q, "fmt");

    if (fmt && !json_is_null(fmt) && !is_word(fmt, (const char *const[]){"e4m3", "float8_e4m3fn", NULL}))
        return unsupported(path, "fmt", fmt, "\"e4m3\"", err);
    return read_block(path, "weight_block_size", sy_json_get(q, "weight_block_size"), out, err);
}

/* What one of "config_groups" says of weights. */
static enum sy_status read_group(const char *path, const json_t *weights, struct sy_quantization *out,
                                 struct sy_error *err)
{
    static const char *const types[] = {"int", "float", NULL};
    static const char *const strategies[] = {"channel", "tensor", "block", NULL};
    const json_t *bits = sy_json_get(weights, "num_bits"), *type = sy_json_get(weights, "type");
    const json_t *strategy = sy_json_get(weights, "strategy"), *symmetric = sy_json_get(weights, "symmetric");

    if (!weights || json_is_null(weights))
        return SY_OK;
    if (!json_is_integer(bits) || json_integer_value(bits) != 8)
        return unsupported(path, "num_bits", bits, "8", err);
    if (!is_word(type, types))
        return unsupported(path, "type", type, "\"int\", \"float\"", err);
    if (!is_word(strategy, strategies))
        return unsupported(path, "strategy", strategy, "\"channel\", \"tensor\", \"block\"", err);
    if (json_is_false(symmetric))
        return unsupported(path, "symmetric", symmetric, "true", err);
    return read_block(path, "block_structure", sy_json_get(weights, "block_structure"), out, err);
}

static enum sy_status read_compressed(const char *path, const json_t *q, struct sy_quantization *out,
                                      struct sy_error *err)
{
    static const char *const formats[] = {"int-quantized", "float-quantized", "naive-quantized", NULL};
    const json_t *format = sy_json_get(q, "format"), *groups = sy_json_get(q, "config_groups"), *group;
    const json_t *sparse = sy_json_get(sy_json_get(q, "sparsity_config"), "format");
    enum sy_status st = SY_OK;
    const char *name;

    if (format && !json_is_null(format) && !is_word(format, formats))
        return unsupported(path, "format", format, "\"int-quantized\", \"float-quantized\", \"naive-quantized\"", err);
    if (sparse && !json_is_null(sparse) && !is_word(sparse, (const char *const[]){"dense", NULL}))
        return unsupported(path, "sparsity_config.format", sparse, "\"dense\"", err);
    if (!json_is_object(groups) || !json_object_size(groups))
        return unsupported(path, "config_groups", groups, "an object of groups", err);
    json_object_foreach ((json_t *)groups, name, group) {
        group = sy_json_get(groups, name); /* so that it counts as asked for */
        if ((st = read_group(path, sy_json_get(group, "weights"), out, err)))
            return st;
    }
    return st;
}

enum sy_status sy_quantization_read(const char *path, const json_t *q, struct sy_quantization *out,
                                    struct sy_error *err)
{
    const json_t *method = sy_json_get(q, "quant_method");

    *out = (struct sy_quantization){SY_QUANTIZATION_NONE, 0, 0};
    if (!q || json_is_null(q))
        return SY_OK;
    if (is_word(method, (const char *const[]){"fp8", NULL})) {
        out->method = SY_QUANTIZATION_FP8;
        return read_fp8(path, q, out, err);
    }
    if (is_word(method, (const char *const[]){"compressed-tensors", NULL})) {
        out->method = SY_QUANTIZATION_COMPRESSED;
        return read_compressed(path, q, out, err);
    }
    if (!is_word(method, (const char *const[]){"mxfp4", NULL}))
        return unsupported(path, "quant_method", method, "\"fp8\", \"compressed-tensors\", \"mxfp4\"", err);
    out->method = SY_QUANTIZATION_MXFP4;
    return SY_OK;
}

const char *sy_quantization_show(const struct sy_quantization *q, char *out, size_t out_bytes)
{
    static const char *const names[] = {"not quantised", "fp8", "compressed-tensors", "mxfp4"};

    if (q->block_n)
        snprintf(out, out_bytes, "%s in blocks of %d x %d", names[q->method], q->block_n, q->block_k);
    else
        snprintf(out, out_bytes, "%s", names[q->method]);
    return out;
}

/* ---- scales ---- */

static bool has_dims(const struct sy_tensor *t, int n_leading, int64_t leading, int n_dims, const int64_t *dims)
{
    if (t->n_dims != n_leading + n_dims || (n_leading && t->dims[0] != leading))
        return false;
    for (int i = 0; i < n_dims; i++)
        if (t->dims[n_leading + i] != dims[i])
            return false;
    return true;
}

/* W's scales: of blocks, of each output, or one. A stack has a leading dim for its slices. */
static bool fit(const struct sy_quantization *q, const struct sy_tensor *weight, const struct sy_tensor *t,
                int64_t slice, struct sy_scales *out)
{
    int n_leading = weight->n_dims - 2;
    int64_t n = weight->dims[n_leading], k = weight->dims[n_leading + 1], slices = n_leading ? weight->dims[0] : 1;

    if (q->block_n) {
        int64_t blocks[2] = {(n - 1) / q->block_n + 1, (k - 1) / q->block_k + 1};
        if (has_dims(t, n_leading, slices, 2, blocks)) {
            *out = (struct sy_scales){.tensor = t,
                                      .offset = slice * blocks[0] * blocks[1],
                                      .row_stride = blocks[1],
                                      .block_n = q->block_n,
                                      .block_k = q->block_k};
            return true;
        }
    }
    bool each = has_dims(t, n_leading, slices, 2, (const int64_t[]){n, 1}) ||
                has_dims(t, n_leading, slices, 1, (const int64_t[]){n});
    bool one = has_dims(t, n_leading, slices, 2, (const int64_t[]){1, 1}) ||
               has_dims(t, n_leading, slices, 1, (const int64_t[]){1}) || has_dims(t, n_leading, slices, 0, NULL);
    *out = (struct sy_scales){.tensor = t,
                              .offset = each ? slice * n : slice,
                              .row_stride = 1,
                              .block_n = each ? 1 : INT_MAX,
                              .block_k = k > SY_SCALE_UNIT ? (int)k : SY_SCALE_UNIT};
    return each || one;
}

enum sy_status sy_quantization_scales(const struct sy_quantization *q, const struct sy_checkpoint *ckpt, int64_t slice,
                                      int64_t row, struct sy_matrix *source, struct sy_error *err)
{
    static const char *const endings[] = {"_scale_inv", "_scale"};
    const struct sy_tensor *weight = source->tensor, *t = NULL;
    const char *path = sy_checkpoint_shard_path(ckpt, weight->shard);
    char name[256], found[128];

    if (!sy_dtype_quantised(weight->dtype))
        return SY_OK;
    if (q->method != SY_QUANTIZATION_COMPRESSED && (q->method != SY_QUANTIZATION_FP8 || weight->dtype == SY_I8))
        return sy_error_set(err, SY_ERR_DATA, "%s: tensor %s is %s, of which \"quantization_config\" says nothing",
                            path, weight->name, sy_dtype_name(weight->dtype));
    for (int i = 0; i < 2 && !t; i++) {
        snprintf(name, sizeof name, "%s%s", weight->name, endings[i]);
        t = sy_checkpoint_find(ckpt, name);
    }
    if (!t)
        return sy_error_set(err, SY_ERR_DATA,
                            "%s: tensor %s is %s, but it has no scales: %s_inv is missing, and so is %s", path,
                            weight->name, sy_dtype_name(weight->dtype), name, name);
    path = sy_checkpoint_shard_path(ckpt, t->shard);
    if (t->dtype != SY_F32 && t->dtype != SY_BF16 && t->dtype != SY_F16)
        return sy_error_set(err, SY_ERR_DATA, "%s: tensor %s is %s, expected F32, F16 or BF16", path, t->name,
                            sy_dtype_name(t->dtype));
    if (!fit(q, weight, t, slice, &source->scales))
        return sy_error_set(
            err, SY_ERR_DATA,
            "%s: tensor %s has shape %s, expected one scale, one for each of the %" PRId64 " outputs%s of %s", path,
            t->name, sy_dims_show(t->dims, t->n_dims, found, sizeof found), weight->dims[weight->n_dims - 2],
            q->block_n ? ", or one for each block" : "", weight->name);
    source->scales.row = row;
    source->scales.row_step = 1;
    return SY_OK;
}

enum sy_status sy_quantization_mxfp4(const struct sy_quantization *q, const struct sy_checkpoint *ckpt,
                                     const struct sy_tensor *blocks, int64_t slice, int64_t row, int row_step, int n,
                                     int k, struct sy_matrix *source, struct sy_error *err)
{
    const char *path = sy_checkpoint_shard_path(ckpt, blocks->shard);
    int64_t n_blocks = k / MXFP4_BLOCK, rows = row + (int64_t)(n - 1) * row_step + 1;
    int stem = (int)strlen(blocks->name) - (int)strlen("_blocks");
    char name[256], found[128];

    if (q->method != SY_QUANTIZATION_MXFP4)
        return sy_error_set(err, SY_ERR_DATA, "%s: tensor %s is there, but \"quantization_config\" is not of mxfp4",
                            path, blocks->name);
    if (blocks->dtype != SY_U8 || blocks->n_dims != 4 || blocks->dims[0] <= slice || blocks->dims[1] < rows ||
        blocks->dims[2] != n_blocks || k % MXFP4_BLOCK || blocks->dims[3] != MXFP4_BLOCK / 2)
        return sy_error_set(err, SY_ERR_DATA,
                            "%s: tensor %s is %s %s, expected U8 [%" PRId64 ", %" PRId64
                            ", %d / 32, 16] or more slices and rows",
                            path, blocks->name, sy_dtype_name(blocks->dtype),
                            sy_dims_show(blocks->dims, blocks->n_dims, found, sizeof found), slice + 1, rows, k);
    snprintf(name, sizeof name, "%.*s_scales", stem > 0 ? stem : 0, blocks->name);
    const struct sy_tensor *t = sy_checkpoint_find(ckpt, name);
    if (!t)
        return sy_error_set(err, SY_ERR_DATA, "%s: tensor %s is there, but %s is missing", path, blocks->name, name);
    if (t->dtype != SY_U8 || t->n_dims != 3 || memcmp(t->dims, blocks->dims, 3 * sizeof t->dims[0]) != 0)
        return sy_error_set(
            err, SY_ERR_DATA, "%s: tensor %s is %s %s, expected U8 [%" PRId64 ", %" PRId64 ", %" PRId64 "]",
            sy_checkpoint_shard_path(ckpt, t->shard), t->name, sy_dtype_name(t->dtype),
            sy_dims_show(t->dims, t->n_dims, found, sizeof found), blocks->dims[0], blocks->dims[1], blocks->dims[2]);
    int64_t row_bytes = n_blocks * (MXFP4_BLOCK / 2);
    *source = (struct sy_matrix){.tensor = blocks,
                                 .offset = (slice * blocks->dims[1] + row) * row_bytes,
                                 .row_stride = row_step * row_bytes,
                                 .k_stride = 1,
                                 .n = n,
                                 .k = k,
                                 .scales = {.tensor = t,
                                            .offset = slice * t->dims[1] * n_blocks,
                                            .row_stride = n_blocks,
                                            .row = row,
                                            .row_step = row_step,
                                            .block_n = 1,
                                            .block_k = MXFP4_BLOCK}};
    return SY_OK;
}
