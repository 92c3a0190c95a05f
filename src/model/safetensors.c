/* SPDX-License-Identifier: Apache-2.0
 * safetensors.c - the header of one shard, checked
 */
#include "model/safetensors.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/scan.h"

const char *sy_dims_show(const int64_t *dims, int n_dims, char *out, size_t out_bytes)
{
    size_t at = 0;

    at += (size_t)snprintf(out, out_bytes, "[");
    for (int i = 0; i < n_dims && at < out_bytes; i++)
        at += (size_t)snprintf(out + at, out_bytes - at, "%s%" PRId64, i ? ", " : "", dims[i]);
    if (at < out_bytes)
        snprintf(out + at, out_bytes - at, "]");
    return out;
}

enum sy_status sy_safetensors_head_bytes(const char *file, const uint8_t *prefix, size_t prefix_bytes,
                                         uint64_t file_bytes, size_t *head_bytes, struct sy_error *err)
{
    uint64_t n = 0;

    if (prefix_bytes < SY_SHARD_PREFIX_BYTES || file_bytes < SY_SHARD_PREFIX_BYTES)
        return sy_error_set(err, SY_ERR_DATA,
                            "%s: the file has %" PRIu64 " bytes, too short for a safetensors header; is it truncated?",
                            file, file_bytes);
    if (!memcmp(prefix, "version ", SY_SHARD_PREFIX_BYTES))
        return sy_error_set(err, SY_ERR_DATA,
                            "%s: the file is text, probably a git-lfs pointer; fetch the real one with "
                            "\"git lfs pull\"",
                            file);
    for (int i = SY_SHARD_PREFIX_BYTES - 1; i >= 0; i--)
        n = n << 8 | prefix[i];
    if (n > SY_HEADER_BYTES_MAX)
        return sy_error_set(err, SY_ERR_DATA,
                            "%s: header length is %" PRIu64 " bytes, the limit is %zu; is it a safetensors file?", file,
                            n, SY_HEADER_BYTES_MAX);
    if (n > file_bytes - SY_SHARD_PREFIX_BYTES)
        return sy_error_set(err, SY_ERR_DATA,
                            "%s: header length is %" PRIu64 " bytes, but the file has only %" PRIu64
                            " bytes; is it truncated?", file, n, file_bytes);
    *head_bytes = SY_SHARD_PREFIX_BYTES + (size_t)n;
    return SY_OK;
}

/* A message about one tensor: "file: tensor name: ...". */
static enum sy_status tensor_fail(const struct sy_scan *s, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static enum sy_status tensor_fail(const struct sy_scan *s, const char *name, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return sy_error_set(s->err, SY_ERR_DATA, "%s: tensor %.200s: %s", s->file, name, text);
}

static enum sy_status parse_dtype(struct sy_scan *s, struct sy_tensor *t)
{
    char *pool = s->pool;
    const char *text;
    enum sy_status st = sy_scan_string(s, &text);
    char known[128] = "";

    if (st)
        return st;
    for (int d = 0; d < SY_N_DTYPES; d++) {
        const char *name = sy_dtype_name((enum sy_dtype)d);
        if (!sy_dtype_bytes((enum sy_dtype)d))
            continue;
        if (!strcmp(text, name)) {
            t->dtype = (enum sy_dtype)d;
            s->pool = pool;
            return SY_OK;
        }
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", d ? ", " : "", name);
    }
    return tensor_fail(s, t->name, "dtype \"%.40s\" is not supported, supported: %s", text, known);
}

static enum sy_status parse_dims(struct sy_scan *s, struct sy_tensor *t)
{
    bool first = true;
    enum sy_status st = sy_scan_open(s, '[');

    t->n_dims = 0;
    while (!st && !(st = sy_scan_item(s, &first))) {
        int64_t dim = 0;
        if (t->n_dims == SY_TENSOR_DIMS_MAX)
            return tensor_fail(s, t->name, "shape has more than %d dimensions", SY_TENSOR_DIMS_MAX);
        st = sy_scan_int(s, &dim);
        if (!st && dim < 0)
            return tensor_fail(s, t->name, "shape has the negative dimension %" PRId64, dim);
        t->dims[t->n_dims++] = dim;
    }
    return st == SY_AGAIN ? SY_OK : st;
}

static enum sy_status parse_offsets(struct sy_scan *s, struct sy_tensor *t, uint64_t *end)
{
    int64_t pair[2] = {0, 0};
    int n = 0;
    bool first = true;
    enum sy_status st = sy_scan_open(s, '[');

    while (!st && !(st = sy_scan_item(s, &first))) {
        if (n == 2)
            return tensor_fail(s, t->name, "data_offsets has more than two numbers");
        st = sy_scan_int(s, &pair[n++]);
    }
    if (st != SY_AGAIN)
        return st;
    if (n != 2)
        return tensor_fail(s, t->name, "data_offsets has %d numbers, expected two", n);
    if (pair[0] < 0 || pair[1] < pair[0])
        return tensor_fail(s, t->name, "data_offsets are [%" PRId64 ", %" PRId64 "], expected 0 <= begin <= end",
                           pair[0], pair[1]);
    t->offset = (uint64_t)pair[0];
    *end = (uint64_t)pair[1];
    return SY_OK;
}

/* Bytes that follow from dtype and dims; false when the product overflows. */
static bool tensor_bytes(const struct sy_tensor *t, uint64_t *bytes)
{
    *bytes = sy_dtype_bytes(t->dtype);
    for (int i = 0; i < t->n_dims; i++)
        if (__builtin_mul_overflow(*bytes, (uint64_t)t->dims[i], bytes))
            return false;
    return *bytes <= INT64_MAX;
}

/* Offsets of the header count from the end of the header (data_begin); those of a sy_tensor from the start of the file. */
static enum sy_status check_tensor(const struct sy_scan *s, struct sy_tensor *t, uint64_t end, uint64_t data_begin,
                                   uint64_t file_bytes)
{
    char shape[128];

    sy_dims_show(t->dims, t->n_dims, shape, sizeof shape);
    if (!tensor_bytes(t, &t->bytes))
        return tensor_fail(s, t->name, "shape %s has more bytes than 64 bits can count", shape);
    if (end - t->offset != t->bytes)
        return tensor_fail(s, t->name, "shape %s of %s is %" PRIu64 " bytes, but data_offsets span %" PRIu64, shape,
                           sy_dtype_name(t->dtype), t->bytes, end - t->offset);
    if (end > file_bytes - data_begin)
        return tensor_fail(s, t->name,
                           "data ends at byte %" PRIu64 " of the file, but the file has %" PRIu64
                           " bytes; is it truncated?", data_begin + end, file_bytes);
    t->offset += data_begin;
    return SY_OK;
}

/* One member of the header: {"dtype": ..., "shape": ..., "data_offsets": ...}. */
static enum sy_status parse_tensor(struct sy_scan *s, struct sy_tensor *t, uint64_t data_begin, uint64_t file_bytes)
{
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    bool first = true, seen[3] = {false, false, false};
    const char *key;
    uint64_t end = 0;
    enum sy_status st = sy_scan_open(s, '{');

    while (!st) {
        char *pool = s->pool;
        int k = 0;
        if ((st = sy_scan_key(s, &first, &key)))
            break;
        while (k < 3 && strcmp(key, keys[k]))
            k++;
        if (k == 3)
            return tensor_fail(s, t->name, "unknown key \"%.60s\", expected dtype, shape and data_offsets", key);
        if (seen[k])
            return tensor_fail(s, t->name, "key \"%s\" is there twice", keys[k]);
        seen[k] = true;
        s->pool = pool;
        st = k == 0 ? parse_dtype(s, t) : k == 1 ? parse_dims(s, t) : parse_offsets(s, t, &end);
    }
    if (st != SY_AGAIN)
        return st;
    for (int k = 0; k < 3; k++)
        if (!seen[k])
            return tensor_fail(s, t->name, "\"%s\" is missing", keys[k]);
    return check_tensor(s, t, end, data_begin, file_bytes);
}

/* "__metadata__": an object of strings, of no use here. */
static enum sy_status parse_metadata(struct sy_scan *s)
{
    char *pool = s->pool;
    const char *unused;
    bool first = true;
    enum sy_status st = sy_scan_open(s, '{');

    while (!st && !(st = sy_scan_key(s, &first, &unused))) {
        st = sy_scan_string(s, &unused);
        s->pool = pool;
    }
    s->pool = pool;
    return st == SY_AGAIN ? SY_OK : st;
}

/* Every member of the header into out->tensors. */
static enum sy_status parse_members(struct sy_scan *s, uint64_t data_begin, uint64_t file_bytes, int shard,
                                    struct sy_safetensors *out)
{
    bool first = true, metadata = false;
    size_t cap = 0;
    const char *key;
    enum sy_status st = sy_scan_open(s, '{');

    while (!st && !(st = sy_scan_key(s, &first, &key))) {
        if (!strcmp(key, "__metadata__")) {
            if (metadata)
                return sy_scan_fail(s, "\"__metadata__\" is there twice");
            metadata = true;
            st = parse_metadata(s);
            continue;
        }
        if (out->n_tensors == cap) {
            cap = cap ? cap * 2 : 64;
            struct sy_tensor *more = realloc(out->tensors, cap * sizeof *more);
            if (!more)
                return sy_error_set(s->err, SY_ERR_SYSTEM, "%s: no memory for the header", s->file);
            out->tensors = more;
        }
        struct sy_tensor *t = &out->tensors[out->n_tensors++];
        *t = (struct sy_tensor){.name = key, .shard = shard};
        st = parse_tensor(s, t, data_begin, file_bytes);
    }
    return st == SY_AGAIN ? sy_scan_end(s) : st;
}

static int by_offset(const void *left, const void *right)
{
    const struct sy_tensor *a = left, *b = right;

    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

/* The data of the tensors, in order, fills the rest of the file exactly. */
static enum sy_status check_cover(const struct sy_scan *s, const struct sy_safetensors *st, uint64_t data_begin,
                                  uint64_t file_bytes)
{
    uint64_t at = data_begin;

    for (size_t i = 0; i < st->n_tensors; i++) {
        const struct sy_tensor *t = &st->tensors[i];
        if (t->offset < at)
            return tensor_fail(s, t->name,
                               "data begins at byte %" PRIu64 " and overlaps tensor %.200s, which ends at %" PRIu64,
                               t->offset, st->tensors[i - 1].name, at);
        if (t->offset > at)
            return tensor_fail(s, t->name,
                               "data begins at byte %" PRIu64 ", but the bytes from %" PRIu64 " belong to no tensor",
                               t->offset, at);
        at += t->bytes;
    }
    if (at != file_bytes)
        return sy_error_set(s->err, SY_ERR_DATA,
                            "%s: the file has %" PRIu64 " bytes, but the data of its tensors ends at byte %" PRIu64,
                            s->file, file_bytes, at);
    return SY_OK;
}

enum sy_status sy_safetensors_parse(const char *file, const uint8_t *head, size_t head_bytes, uint64_t file_bytes,
                                    int shard, struct sy_safetensors *out, struct sy_error *err)
{
    size_t expected = 0;
    enum sy_status st = sy_safetensors_head_bytes(file, head, head_bytes, file_bytes, &expected, err);

    *out = (struct sy_safetensors){NULL, 0, NULL};
    if (st)
        return st;
    if (expected != head_bytes)
        return sy_error_set(err, SY_ERR_DATA, "%s: header is %zu bytes, but %zu bytes of it are here", file, expected,
                            head_bytes);
    struct sy_scan s = {.file = file,
                        .text = (const char *)head + SY_SHARD_PREFIX_BYTES,
                        .len = head_bytes - SY_SHARD_PREFIX_BYTES,
                        .byte_base = SY_SHARD_PREFIX_BYTES,
                        .err = err};
    out->names = malloc(s.len + 1);
    if (!out->names)
        return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory for a header of %zu bytes", file, head_bytes);
    s.pool = out->names;
    st = parse_members(&s, head_bytes, file_bytes, shard, out);
    if (!st) {
        if (out->n_tensors)
            qsort(out->tensors, out->n_tensors, sizeof *out->tensors, by_offset);
        st = check_cover(&s, out, head_bytes, file_bytes);
    }
    if (st)
        sy_safetensors_fini(out);
    return st;
}

void sy_safetensors_fini(struct sy_safetensors *st)
{
    free(st->tensors);
    free(st->names);
    *st = (struct sy_safetensors){NULL, 0, NULL};
}
