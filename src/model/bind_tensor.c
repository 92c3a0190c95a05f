/* SPDX-License-Identifier: Apache-2.0
 * bind_tensor.c - finding a tensor by its name and holding it against the type and shape that it must have
 */
#include "model/bind_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct sy_tensor *sy_bind_look(struct binder *b, const char *fmt, ...)
{
    char rest[SY_BIND_NAME_MAX - sizeof b->prefix];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(rest, sizeof rest, fmt, ap);
    va_end(ap);
    snprintf(b->name, sizeof b->name, "%s%s", b->prefix, rest);
    const struct sy_tensor *t = sy_checkpoint_find(b->ckpt, b->name);
    if (t)
        b->used[t - b->tensors] = true;
    return t;
}

enum sy_status sy_bind_missing(const struct binder *b, const char *name, const char *why)
{
    return sy_error_set(b->err, SY_ERR_DATA, "%s: tensor %s is missing%s%s", sy_checkpoint_dir(b->ckpt), name,
                        *why ? ", " : "", why);
}

static bool is_float(const struct sy_tensor *t)
{
    return t->dtype == SY_F32 || t->dtype == SY_F16 || t->dtype == SY_BF16;
}

enum sy_status sy_bind_check(const struct binder *b, const struct sy_tensor *t, bool codes, int n_dims,
                             const int64_t *dims, const char *what)
{
    char found[128], expected[128] = "[";

    for (int i = 0; i < n_dims; i++) {
        size_t at = strlen(expected);
        if (dims[i] == SY_BIND_ANY)
            snprintf(expected + at, sizeof expected - at, "%s*", i ? ", " : "");
        else
            snprintf(expected + at, sizeof expected - at, "%s%" PRId64, i ? ", " : "", dims[i]);
    }
    snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "] = %s", what);
    if (!t) {
        char why[160];
        snprintf(why, sizeof why, "expected shape %s", expected);
        return sy_bind_missing(b, b->name, why);
    }
    const char *path = sy_checkpoint_shard_path(b->ckpt, t->shard);
    if (!is_float(t) && !(codes && sy_dtype_quantised(t->dtype)))
        return sy_error_set(b->err, SY_ERR_DATA, "%s: tensor %s is %s, expected F32, F16%s", path, t->name,
                            sy_dtype_name(t->dtype), codes ? ", BF16, F8_E4M3 or I8" : " or BF16");
    bool same = t->n_dims == n_dims;
    for (int i = 0; same && i < n_dims; i++)
        same = dims[i] == SY_BIND_ANY ? t->dims[i] > 0 && t->dims[i] <= SY_BIND_ANY_MAX : t->dims[i] == dims[i];
    if (!same)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: tensor %s has shape %s, expected %s", path, t->name,
                            sy_dims_show(t->dims, t->n_dims, found, sizeof found), expected);
    return SY_OK;
}

enum sy_status sy_bind_rows(struct binder *b, const struct sy_tensor *t, int64_t slice, int64_t row, int n,
                            struct sy_matrix *out)
{
    *out = sy_matrix_rows(t, slice, row, n);
    enum sy_status st = sy_quantization_scales(&b->model->quantization, b->ckpt, slice, row, out, b->err);

    if (!st && out->scales.tensor)
        b->used[out->scales.tensor - b->tensors] = true;
    return st;
}

enum sy_status sy_bind_vector(struct binder *b, const struct sy_tensor *t, int n, const char *what,
                              const struct sy_tensor **out)
{
    int64_t dims[1] = {n};
    enum sy_status st = sy_bind_check(b, t, false, 1, dims, what);

    *out = t;
    return st;
}

enum sy_status sy_bind_matrix(struct binder *b, const struct sy_tensor *t, int n, int k, const char *what,
                              struct sy_matrix *out)
{
    int64_t dims[2] = {n, k};
    enum sy_status st = sy_bind_check(b, t, true, 2, dims, what);

    return st ? st : sy_bind_rows(b, t, 0, 0, (int)t->dims[0], out);
}
