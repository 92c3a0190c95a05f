/* SPDX-License-Identifier: Apache-2.0
 * fuzz_safetensors.c - fuzz harness of everything that is read before a tensor: shard headers, index, metadata block
 *
 * The first byte of an input says what the rest is:
 *   h  four bytes (size of the data), then a header's JSON; the length before it is made here
 *   r  eight bytes (size of the file), then a shard's first bytes as they are
 *   i  the text of an index
 *   m  a metadata block as it is
 *   t  parts separated by "\n--\n": config.json, index (empty: none), then shards "NAME SIZE-OF-DATA\nHEADER"
 *   l  the same parts, but shards are "NAME\nLIST" with lists as shards.h has them. "{}" as the index makes one that fits.
 *      What can be bound is loaded; the first byte is the seed of its data.
 * What is accepted is checked again here in another way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bound.h"
#include "model/checkpoint.h"
#include "model/safetensors.h"
#include "model/shard_index.h"
#include "shards.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A failure has its status and a sentence. */
static void check_error(enum sy_status st, const struct sy_error *err)
{
    promise(st == SY_ERR_DATA && err->status == st && err->text[0] && strlen(err->text) < sizeof err->text);
}

static void check_tensor(const struct sy_tensor *t, uint64_t head_bytes, uint64_t file_bytes)
{
    uint64_t n = sy_dtype_bytes(t->dtype);

    promise(t->n_dims >= 0 && t->n_dims <= SY_TENSOR_DIMS_MAX && t->name[strlen(t->name)] == 0);
    for (int i = 0; i < t->n_dims; i++) {
        promise(t->dims[i] >= 0);
        promise(!t->dims[i] || n <= UINT64_MAX / (uint64_t)t->dims[i]);
        n *= (uint64_t)t->dims[i];
    }
    promise(n == t->bytes && t->offset >= head_bytes && t->offset <= file_bytes && t->bytes <= file_bytes - t->offset);
}

static uint64_t little(const uint8_t *bytes, int n)
{
    uint64_t value = 0;

    for (int i = n - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static void parse_head(const uint8_t *head, size_t n, uint64_t file_bytes)
{
    struct sy_safetensors st;
    struct sy_error err = SY_ERROR_INIT;
    enum sy_status found = sy_safetensors_parse("f", head, n, file_bytes, 0, &st, &err);
    uint64_t at = n;

    if (found) {
        check_error(found, &err);
        return;
    }
    for (size_t i = 0; i < st.n_tensors; i++) {
        check_tensor(&st.tensors[i], n, file_bytes);
        promise(st.tensors[i].offset == at);
        at += st.tensors[i].bytes;
    }
    promise(at == file_bytes);
    sy_safetensors_fini(&st);
}

/* Put the length before a header. The caller frees the result of n + 8 bytes. */
static uint8_t *make_head(const uint8_t *json, size_t n)
{
    uint8_t *head = malloc(n + 8);

    promise(head != NULL);
    for (int i = 0; i < 8; i++)
        head[i] = (uint8_t)((uint64_t)n >> (8 * i));
    if (n)
        memcpy(head + 8, json, n);
    return head;
}

static void parse_index(const char *text, size_t n)
{
    struct sy_shard_index index;
    struct sy_error err = SY_ERROR_INIT;
    enum sy_status st = sy_shard_index_parse("f", text, n, &index, &err);

    if (st) {
        check_error(st, &err);
        return;
    }
    promise(index.n_entries > 0 && index.n_shards > 0 && index.n_shards <= index.n_entries);
    for (size_t i = 1; i < index.n_entries; i++)
        promise(strcmp(index.entries[i - 1].tensor, index.entries[i].tensor) < 0);
    for (size_t i = 0; i < index.n_shards; i++) {
        const char *name = index.shards[i];
        promise(name[0] && name[0] != '/' && strcmp(name, "..") && strncmp(name, "../", 3) && !strstr(name, "/../"));
        promise(!i || strcmp(index.shards[i - 1], name) < 0);
    }
    sy_shard_index_fini(&index);
}

/* NULL when it is refused. */
static struct sy_checkpoint *parse_meta(const uint8_t *meta, size_t n)
{
    struct sy_checkpoint *ckpt;
    struct sy_error err = SY_ERROR_INIT;
    enum sy_status st = sy_checkpoint_parse("d", meta, n, &ckpt, &err);
    size_t n_tensors;

    if (st) {
        check_error(st, &err);
        promise(!ckpt);
        return NULL;
    }
    const struct sy_tensor *tensors = sy_checkpoint_tensors(ckpt, &n_tensors);
    for (size_t i = 0; i < n_tensors; i++) {
        promise(!i || strcmp(tensors[i - 1].name, tensors[i].name) < 0);
        promise(tensors[i].shard >= 0 && tensors[i].shard < sy_checkpoint_n_shards(ckpt));
        promise(sy_checkpoint_find(ckpt, tensors[i].name) == &tensors[i]);
        promise(!strncmp(sy_checkpoint_shard_path(ckpt, tensors[i].shard), "d/", 2));
    }
    return ckpt;
}

/* A shard of mode t. */
static void append_shard(struct sy_buf *meta, const uint8_t *part, size_t n)
{
    const uint8_t *line = memchr(part, '\n', n);
    char first[64] = "", name[32] = "s.safetensors";
    unsigned data_bytes = 0;
    size_t at = line ? (size_t)(line - part) + 1 : 0;

    if (at && at < sizeof first) {
        memcpy(first, part, at - 1);
        sscanf(first, "%31s %u", name, &data_bytes);
    }
    uint8_t *head = make_head(part + at, n - at);
    shards_append(meta, SY_META_SHARD, name, head, n - at + 8, n - at + 8 + data_bytes);
    free(head);
}

/* A shard of mode l; its tensors go into the index too. */
static void append_list(struct sy_buf *meta, struct sy_buf *index, const uint8_t *part, size_t n)
{
    const uint8_t *line = memchr(part, '\n', n);
    size_t at = line ? (size_t)(line - part) : n;
    char name[64];
    struct sy_buf head = SY_BUF_INIT;
    struct sy_safetensors st;

    snprintf(name, sizeof name, "%.*s", at < 60 ? (int)at : 60, (const char *)part);
    uint64_t file_bytes = shards_head((const char *)part + at, n - at, &head);
    shards_append(meta, SY_META_SHARD, name, head.data, head.len, file_bytes);
    if (!sy_safetensors_parse(name, head.data, head.len, file_bytes, 0, &st, NULL)) {
        for (size_t i = 0; i < st.n_tensors; i++)
            sy_buf_printf(index, "%s\"%s\":\"%s\"", index->len ? "," : "", st.tensors[i].name, name);
        sy_safetensors_fini(&st);
    }
    sy_buf_fini(&head);
}

static void bind(struct sy_checkpoint *ckpt, uint64_t seed)
{
    struct sy_model *model = NULL;
    struct sy_error err = SY_ERROR_INIT;
    enum sy_status st = sy_model_create(ckpt, &model, &err);

    if (st) {
        check_error(st, &err);
        promise(!model);
        return;
    }
    bound_check(model);
    bound_load(ckpt, model, seed);
    sy_model_destroy(model);
}

/* Modes t and l. */
static void parse_parts(const uint8_t *data, size_t size, bool lists, uint64_t seed)
{
    struct sy_buf meta = SY_BUF_INIT, shards = SY_BUF_INIT, index = SY_BUF_INIT, all = SY_BUF_INIT;
    size_t at = 0, begin = 0, n = shards_part(data, size, &at);

    shards_append(&meta, SY_META_CONFIG, "config.json", data, n, n);
    begin = at;
    n = shards_part(data, size, &at);
    const uint8_t *given = data + begin;
    size_t n_given = n;
    while (at < size) {
        begin = at;
        n = shards_part(data, size, &at);
        if (lists)
            append_list(&shards, &index, data + begin, n);
        else
            append_shard(&shards, data + begin, n);
    }
    if (lists && n_given == 2 && !memcmp(given, "{}", 2)) {
        sy_buf_printf(&all, "{\"weight_map\":{%.*s}}", (int)index.len, index.len ? (char *)index.data : "");
        given = all.data;
        n_given = all.len;
    }
    if (n_given)
        shards_append(&meta, SY_META_INDEX, "model.safetensors.index.json", given, n_given, n_given);
    promise(sy_buf_append(&meta, shards.data, shards.len));
    struct sy_checkpoint *ckpt = parse_meta(meta.data, meta.len);
    if (ckpt && lists)
        bind(ckpt, seed);
    sy_checkpoint_close(ckpt);
    sy_buf_fini(&meta);
    sy_buf_fini(&shards);
    sy_buf_fini(&index);
    sy_buf_fini(&all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    char mode = (char)data[0];
    data++;
    size--;
    if (mode == 'h' && size >= 4) {
        uint8_t *head = make_head(data + 4, size - 4);
        parse_head(head, size + 4, size + 4 + little(data, 4));
        free(head);
    } else if (mode == 'r' && size >= 8) {
        parse_head(data + 8, size - 8, little(data, 8));
    } else if (mode == 'i') {
        parse_index((const char *)data, size);
    } else if (mode == 'm') {
        sy_checkpoint_close(parse_meta(data, size));
    } else if (mode == 't') {
        parse_parts(data, size, false, 0);
    } else if (mode == 'l' && size) {
        parse_parts(data + 1, size - 1, true, data[0]);
    }
    return 0;
}
