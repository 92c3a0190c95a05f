/* SPDX-License-Identifier: Apache-2.0
 * shard_index.c - reading model.safetensors.index.json
 */
#include "model/shard_index.h"

#include <stdlib.h>
#include <string.h>

#include "model/checkpoint.h"
#include "model/scan.h"

#define SHARD_NAME_MAX 255
#define INDEX_DEPTH_MAX 8

const char *sy_shard_name_fault(const char *name)
{
    size_t len = strlen(name);

    if (!len)
        return "is empty";
    if (len > SHARD_NAME_MAX)
        return "is longer than 255 bytes";
    if (name[0] == '/')
        return "is absolute";
    for (const char *at = name; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (!strncmp(at, "..", 2) && (at[2] == '/' || !at[2]))
            return "has a \"..\" component";
    }
    if (len < 12 || strcmp(name + len - 12, ".safetensors"))
        return "does not end in .safetensors";
    return NULL;
}

/* The members of weight_map, in the order of the text. */
static enum sy_status parse_map(struct sy_scan *s, struct sy_shard_index *out)
{
    bool first = true;
    size_t cap = 0;
    const char *tensor, *shard, *last = NULL;
    enum sy_status st = sy_scan_open(s, '{');

    while (!st && !(st = sy_scan_key(s, &first, &tensor))) {
        char *pool = s->pool;
        if ((st = sy_scan_string(s, &shard)))
            return st;
        if (last && !strcmp(last, shard)) {
            s->pool = pool;
            shard = last;
        }
        last = shard;
        const char *fault = sy_shard_name_fault(shard);
        if (fault)
            return sy_scan_fail(s, "tensor %.200s: shard name \"%.200s\" %s", tensor, shard, fault);
        if (out->n_entries == cap) {
            cap = cap ? cap * 2 : 64;
            struct sy_shard_entry *more = realloc(out->entries, cap * sizeof *more);
            if (!more)
                return sy_error_set(s->err, SY_ERR_SYSTEM, "%s: no memory for the index", s->file);
            out->entries = more;
        }
        out->entries[out->n_entries++] = (struct sy_shard_entry){tensor, shard};
    }
    return st == SY_AGAIN ? SY_OK : st;
}

static int by_tensor(const void *left, const void *right)
{
    const struct sy_shard_entry *a = left, *b = right;

    return strcmp(a->tensor, b->tensor);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Sort, refuse doubles, and list the distinct shards. */
static enum sy_status finish(const char *file, struct sy_shard_index *out, struct sy_error *err)
{
    size_t n = 0;

    if (!out->n_entries)
        return sy_error_set(err, SY_ERR_DATA, "%s: \"weight_map\" names no tensors", file);
    out->shards = malloc(out->n_entries * sizeof *out->shards);
    if (!out->shards)
        return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory for the index", file);
    for (size_t i = 0; i < out->n_entries; i++)
        out->shards[i] = out->entries[i].shard;
    qsort(out->shards, out->n_entries, sizeof *out->shards, by_name);
    for (size_t i = 0; i < out->n_entries; i++)
        if (!n || strcmp(out->shards[n - 1], out->shards[i]))
            out->shards[n++] = out->shards[i];
    out->n_shards = n;
    if (n > SY_SHARDS_MAX)
        return sy_error_set(err, SY_ERR_DATA, "%s: %zu shards, the limit is %d", file, n, SY_SHARDS_MAX);
    qsort(out->entries, out->n_entries, sizeof *out->entries, by_tensor);
    for (size_t i = 1; i < out->n_entries; i++)
        if (!strcmp(out->entries[i - 1].tensor, out->entries[i].tensor))
            return sy_error_set(err, SY_ERR_DATA, "%s: tensor %.200s is there twice, in %.200s and %.200s", file,
                                out->entries[i].tensor, out->entries[i - 1].shard, out->entries[i].shard);
    return SY_OK;
}

enum sy_status sy_shard_index_parse(const char *file, const char *text, size_t len, struct sy_shard_index *out,
                                    struct sy_error *err)
{
    struct sy_scan s = {.file = file, .text = text, .len = len, .by_line = true, .err = err};
    bool first = true, found = false;
    const char *key;
    enum sy_status st;

    *out = (struct sy_shard_index){NULL, NULL, 0, 0, NULL};
    s.pool = out->pool = malloc(len + 1);
    if (!s.pool)
        return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory for an index of %zu bytes", file, len);
    st = sy_scan_open(&s, '{');
    while (!st && !(st = sy_scan_key(&s, &first, &key))) {
        if (strcmp(key, "weight_map")) {
            st = sy_scan_skip(&s, INDEX_DEPTH_MAX);
            continue;
        }
        if (found)
            st = sy_scan_fail(&s, "\"weight_map\" is there twice");
        else
            st = parse_map(&s, out);
        found = true;
    }
    st = st == SY_AGAIN ? sy_scan_end(&s) : st;
    if (!st && !found)
        st = sy_error_set(err, SY_ERR_DATA, "%s: \"weight_map\" is missing", file);
    if (!st)
        st = finish(file, out, err);
    if (st)
        sy_shard_index_fini(out);
    return st;
}

void sy_shard_index_fini(struct sy_shard_index *index)
{
    free(index->entries);
    free(index->shards);
    free(index->pool);
    *index = (struct sy_shard_index){NULL, NULL, 0, 0, NULL};
}
