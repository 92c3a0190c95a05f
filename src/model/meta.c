/* SPDX-License-Identifier: Apache-2.0
 * meta.c - making the metadata block from a folder, and walking through it
 */
#include "model/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "model/checkpoint.h"
#include "model/safetensors.h"
#include "model/shard_index.h"

/* All heads together; the largest published checkpoint has a fiftieth of this. */
#define META_BYTES_MAX ((size_t)1 << 30)

struct record_head {
    uint32_t kind, name_bytes;
    uint64_t n_bytes, file_bytes;
};

bool sy_meta_append(struct sy_buf *meta, const struct sy_meta_record *record)
{
    struct record_head head = {(uint32_t)record->kind, (uint32_t)record->name_bytes, record->n_bytes,
                               record->file_bytes};

    return sy_buf_append(meta, &head, sizeof head) && sy_buf_append(meta, record->name, record->name_bytes) &&
           sy_buf_append(meta, record->bytes, record->n_bytes);
}

enum sy_status sy_meta_next(struct sy_cursor *cursor, struct sy_meta_record *record, struct sy_error *err)
{
    struct record_head head;

    if (cursor->at == cursor->len)
        return SY_AGAIN;
    if (!sy_cursor_take(cursor, &head, sizeof head) || head.kind < SY_META_CONFIG || head.kind > SY_META_SHARD ||
        head.name_bytes > PATH_MAX || head.name_bytes > cursor->len - cursor->at ||
        head.n_bytes > cursor->len - cursor->at - head.name_bytes)
        return sy_error_set(err, SY_ERR_DATA, "checkpoint metadata is damaged near byte %zu of %zu", cursor->at,
                            cursor->len);
    record->kind = (enum sy_meta_kind)head.kind;
    record->name = (const char *)cursor->data + cursor->at;
    record->name_bytes = head.name_bytes;
    record->bytes = cursor->data + cursor->at + head.name_bytes;
    record->n_bytes = (size_t)head.n_bytes;
    record->file_bytes = head.file_bytes;
    cursor->at += head.name_bytes + record->n_bytes;
    return SY_OK;
}

/* Anything that is not a plain file would be read for ever or hang at open. */
static enum sy_status check_plain(const char *path, const char *why, struct sy_error *err)
{
    struct stat info;

    if (stat(path, &info))
        return sy_error_errno(err, SY_ERR_IO, "%s: cannot open%s", path, why);
    if (!S_ISREG(info.st_mode))
        return sy_error_set(err, SY_ERR_DATA, "%s: not a regular file", path);
    return SY_OK;
}

static enum sy_status no_memory(const char *path, struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory for the checkpoint's metadata", path);
}

/* One JSON file, whole. */
static enum sy_status read_text(const char *dir, const char *name, enum sy_meta_kind kind, size_t max_bytes,
                                struct sy_buf *meta, struct sy_error *err)
{
    struct sy_buf text = SY_BUF_INIT;
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    enum sy_status st = check_plain(path, "", err);
    if (!st)
        st = sy_file_read(path, max_bytes, &text, err);
    struct sy_meta_record record = {kind, name, strlen(name), text.data, text.len, text.len};
    if (!st && !sy_meta_append(meta, &record))
        st = no_memory(path, err);
    sy_buf_fini(&text);
    return st;
}

static enum sy_status read_head(int fd, const char *path, const char *name, struct sy_buf *meta, struct sy_error *err)
{
    uint8_t prefix[SY_SHARD_PREFIX_BYTES];
    struct stat info;
    size_t n = 0;
    enum sy_status st;

    if (fstat(fd, &info))
        return sy_error_errno(err, SY_ERR_IO, "%s: cannot stat", path);
    size_t n_prefix = info.st_size < (off_t)sizeof prefix ? (size_t)info.st_size : sizeof prefix;
    if ((st = sy_file_pread(fd, path, prefix, n_prefix, 0, err)) ||
        (st = sy_safetensors_head_bytes(path, prefix, n_prefix, (uint64_t)info.st_size, &n, err)))
        return st;
    if (n > META_BYTES_MAX - meta->len)
        return sy_error_set(err, SY_ERR_DATA, "%s: the headers up to here are over the limit of %zu bytes", path,
                            META_BYTES_MAX);
    /* The head is read straight into its place behind the record's own fields. */
    struct sy_meta_record record = {SY_META_SHARD, name, strlen(name), NULL, n, (uint64_t)info.st_size};
    struct record_head head = {SY_META_SHARD, (uint32_t)record.name_bytes, n, record.file_bytes};
    if (!sy_buf_append(meta, &head, sizeof head) || !sy_buf_append(meta, name, record.name_bytes) ||
        !sy_buf_reserve(meta, n))
        return no_memory(path, err);
    st = sy_file_pread(fd, path, meta->data + meta->len, n, 0, err);
    meta->len += n;
    return st;
}

static enum sy_status read_shard(const char *dir, const char *name, bool indexed, struct sy_buf *meta,
                                 struct sy_error *err)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    enum sy_status st = check_plain(path, indexed ? " the shard that model.safetensors.index.json names" : "", err);
    if (st)
        return st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return sy_error_errno(err, SY_ERR_IO, "%s: cannot open", path);
    st = read_head(fd, path, name, meta, err);
    close(fd);
    return st;
}

static enum sy_status read_indexed(const char *dir, struct sy_buf *meta, struct sy_error *err)
{
    static const char name[] = "model.safetensors.index.json";
    struct sy_shard_index index;
    char path[PATH_MAX];
    size_t begin = meta->len + sizeof(struct record_head) + strlen(name);
    enum sy_status st = read_text(dir, name, SY_META_INDEX, SY_INDEX_BYTES_MAX, meta, err);

    if (st)
        return st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    st = sy_shard_index_parse(path, (const char *)meta->data + begin, meta->len - begin, &index, err);
    if (st)
        return st;
    for (size_t i = 0; !st && i < index.n_shards; i++)
        st = read_shard(dir, index.shards[i], true, meta, err);
    sy_shard_index_fini(&index);
    return st;
}

static int exists_in(const char *dir, const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return sy_file_exists(path);
}

enum sy_status sy_checkpoint_read(const char *dir, struct sy_buf *meta, struct sy_error *err)
{
    struct stat info;
    enum sy_status st;

    if (strlen(dir) > PATH_MAX - 512)
        return sy_error_set(err, SY_ERR_IO, "%.100s...: the name of the folder is too long", dir);
    if (stat(dir, &info))
        return sy_error_errno(err, SY_ERR_IO, "%s: cannot open the checkpoint folder", dir);
    if (!S_ISDIR(info.st_mode))
        return sy_error_set(err, SY_ERR_IO, "%s: not a folder; give the folder that holds config.json", dir);
    st = read_text(dir, "config.json", SY_META_CONFIG, SY_CONFIG_BYTES_MAX, meta, err);
    if (!st && exists_in(dir, "generation_config.json"))
        st = read_text(dir, "generation_config.json", SY_META_GENERATION, SY_CONFIG_BYTES_MAX, meta, err);
    if (st)
        return st;
    if (exists_in(dir, "model.safetensors"))
        return read_shard(dir, "model.safetensors", false, meta, err);
    if (exists_in(dir, "model.safetensors.index.json"))
        return read_indexed(dir, meta, err);
    return sy_error_set(err, SY_ERR_IO, "%s: no model.safetensors and no model.safetensors.index.json%s", dir,
                        exists_in(dir, "pytorch_model.bin") || exists_in(dir, "pytorch_model.bin.index.json")
                            ? "; pytorch_model.bin is not read, save the model as safetensors"
                            : "");
}
