/* SPDX-License-Identifier: Apache-2.0
 * checkpoint.c - the table of tensors, and reading their data
 */
#include "model/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "model/meta.h"
#include "model/safetensors.h"
#include "model/shard_index.h"

#define CONFIG_DEPTH_MAX 32

/* Linux shortens a hint to the device's readahead, which is often 128 KiB, and drops the rest. */
#define PREFETCH_STEP ((size_t)128 << 10)

/* All shards together; with it no sum of bytes or elements overflows. */
#define DATA_BYTES_MAX ((uint64_t)1 << 50)

struct shard {
    char *path;
    const char *name; /* end of path: as the index writes it */
    char *names;      /* of its tensors */
    const uint8_t *head;
    size_t head_bytes;
    uint64_t file_bytes;
    int fd; /* -1 until first used; guarded by the checkpoint's lock */
};

struct sy_checkpoint {
    char *dir;
    uint8_t *meta; /* a copy; heads and texts point into it */
    json_t *config, *generation;
    struct shard *shards;
    int n_shards;
    struct sy_tensor *tensors; /* in order of name */
    size_t n_tensors;
    pthread_mutex_t lock;
    atomic_ullong bytes_read;
    sy_source_fn source; /* NULL: data comes from the shards' files */
    uint64_t seed;
};

static enum sy_status no_memory(const char *dir, struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory for the checkpoint's tensor table", dir);
}

/* config.json or generation_config.json. */
static enum sy_status parse_json(const struct sy_checkpoint *ckpt, const char *name,
                                 const struct sy_meta_record *record, json_t **root, struct sy_error *err)
{
    char path[512], shown[80];
    enum sy_status st;

    snprintf(path, sizeof path, "%.400s/%s", ckpt->dir, name);
    if (*root)
        return sy_error_set(err, SY_ERR_DATA, "%s is in the checkpoint's metadata twice", path);
    if (record->n_bytes > SY_CONFIG_BYTES_MAX)
        return sy_error_set(err, SY_ERR_DATA, "%s: larger than the limit of %zu bytes", path, SY_CONFIG_BYTES_MAX);
    st = sy_json_parse(path, (const char *)record->bytes, record->n_bytes, CONFIG_DEPTH_MAX, root, err);
    if (!st && !json_is_object(*root))
        st = sy_error_set(err, SY_ERR_DATA, "%s: expected an object, found %s", path,
                          sy_json_show(*root, shown, sizeof shown));
    return st;
}

/* Note a shard's record; its head is parsed when all records are known. */
static enum sy_status add_shard(struct sy_checkpoint *ckpt, const struct sy_meta_record *record, struct sy_error *err)
{
    if (ckpt->n_shards == SY_SHARDS_MAX)
        return sy_error_set(err, SY_ERR_DATA, "%s: over %d shards", ckpt->dir, SY_SHARDS_MAX);
    if ((ckpt->n_shards & (ckpt->n_shards - 1)) == 0) {
        size_t cap = ckpt->n_shards ? (size_t)ckpt->n_shards * 2 : 1;
        struct shard *more = realloc(ckpt->shards, cap * sizeof *more);
        if (!more)
            return no_memory(ckpt->dir, err);
        ckpt->shards = more;
    }
    struct shard *shard = &ckpt->shards[ckpt->n_shards];
    *shard = (struct shard){.head = record->bytes,
                            .head_bytes = record->n_bytes,
                            .file_bytes = record->file_bytes,
                            .fd = -1};
    if (asprintf(&shard->path, "%s/%.*s", ckpt->dir, (int)record->name_bytes, record->name) < 0) {
        shard->path = NULL;
        return no_memory(ckpt->dir, err);
    }
    shard->name = shard->path + strlen(ckpt->dir) + 1;
    ckpt->n_shards++;
    const char *fault = sy_shard_name_fault(shard->name);
    if (fault)
        return sy_error_set(err, SY_ERR_DATA, "%s: shard name \"%.200s\" %s", ckpt->dir, shard->name, fault);
    if (ckpt->n_shards > 1 && strcmp(shard[-1].name, shard->name) >= 0)
        return sy_error_set(err, SY_ERR_DATA, "%s: shards of the metadata are not in order of name", ckpt->dir);
    return SY_OK;
}

/* Walk through the block. *index is the index's record, its bytes NULL when there is none. */
static enum sy_status parse_records(struct sy_checkpoint *ckpt, size_t meta_bytes, struct sy_meta_record *index,
                                    struct sy_error *err)
{
    struct sy_cursor cursor = {ckpt->meta, meta_bytes, 0};
    struct sy_meta_record record;
    enum sy_status st = SY_OK;

    while (!st && !(st = sy_meta_next(&cursor, &record, err))) {
        switch (record.kind) {
        case SY_META_CONFIG:
            st = parse_json(ckpt, "config.json", &record, &ckpt->config, err);
            break;
        case SY_META_GENERATION:
            st = parse_json(ckpt, "generation_config.json", &record, &ckpt->generation, err);
            break;
        case SY_META_INDEX:
            if (index->bytes || record.n_bytes > SY_INDEX_BYTES_MAX)
                st = sy_error_set(err, SY_ERR_DATA, "%s: a second or too large index in the metadata", ckpt->dir);
            *index = record;
            break;
        case SY_META_SHARD:
            st = add_shard(ckpt, &record, err);
            break;
        }
    }
    if (st != SY_AGAIN)
        return st;
    if (!ckpt->config || !ckpt->n_shards || (!index->bytes && ckpt->n_shards > 1))
        return sy_error_set(err, SY_ERR_DATA, "%s: the checkpoint's metadata is incomplete", ckpt->dir);
    return SY_OK;
}

static int by_name(const void *left, const void *right)
{
    const struct sy_tensor *a = left, *b = right;
    int order = strcmp(a->name, b->name);

    return order ? order : (a->shard > b->shard) - (a->shard < b->shard);
}

/* Every shard's tensors into one table in order of name. */
static enum sy_status parse_shards(struct sy_checkpoint *ckpt, struct sy_error *err)
{
    size_t cap = 0;
    uint64_t data_bytes = 0;

    for (int i = 0; i < ckpt->n_shards; i++) {
        struct shard *shard = &ckpt->shards[i];
        struct sy_safetensors head;
        if (shard->file_bytes > DATA_BYTES_MAX - data_bytes)
            return sy_error_set(err, SY_ERR_DATA, "%s: the shards up to here have over %" PRIu64 " bytes", shard->path,
                                DATA_BYTES_MAX);
        data_bytes += shard->file_bytes;
        enum sy_status st =
            sy_safetensors_parse(shard->path, shard->head, shard->head_bytes, shard->file_bytes, i, &head, err);
        if (st)
            return st;
        size_t need = ckpt->n_tensors + head.n_tensors;
        if (need > cap) {
            cap = need > cap * 2 ? need : cap * 2;
            struct sy_tensor *more = realloc(ckpt->tensors, cap * sizeof *more);
            if (!more) {
                sy_safetensors_fini(&head);
                return no_memory(ckpt->dir, err);
            }
            ckpt->tensors = more;
        }
        if (head.n_tensors)
            memcpy(ckpt->tensors + ckpt->n_tensors, head.tensors, head.n_tensors * sizeof *head.tensors);
        ckpt->n_tensors = need;
        shard->names = head.names;
        head.names = NULL;
        sy_safetensors_fini(&head);
    }
    if (!ckpt->n_tensors)
        return sy_error_set(err, SY_ERR_DATA, "%s: the checkpoint has no tensors", ckpt->dir);
    qsort(ckpt->tensors, ckpt->n_tensors, sizeof *ckpt->tensors, by_name);
    for (size_t i = 1; i < ckpt->n_tensors; i++) {
        const struct sy_tensor *a = &ckpt->tensors[i - 1], *b = &ckpt->tensors[i];
        if (strcmp(a->name, b->name))
            continue;
        if (a->shard == b->shard)
            return sy_error_set(err, SY_ERR_DATA, "%s: tensor %.200s is there twice", ckpt->shards[a->shard].path,
                                a->name);
        return sy_error_set(err, SY_ERR_DATA, "%s: tensor %.200s is there twice, in %s and in %s", ckpt->dir, a->name,
                            ckpt->shards[a->shard].name, ckpt->shards[b->shard].name);
    }
    return SY_OK;
}

/* The index and the shards tell the same story. */
static enum sy_status check_index(const struct sy_checkpoint *ckpt, const struct sy_meta_record *record,
                                  struct sy_error *err)
{
    struct sy_shard_index index;
    char path[512];
    enum sy_status st;

    snprintf(path, sizeof path, "%.400s/model.safetensors.index.json", ckpt->dir);
    st = sy_shard_index_parse(path, (const char *)record->bytes, record->n_bytes, &index, err);
    if (st)
        return st;
    bool same = index.n_shards == (size_t)ckpt->n_shards;
    for (int i = 0; same && i < ckpt->n_shards; i++)
        same = !strcmp(index.shards[i], ckpt->shards[i].name);
    if (!same)
        st = sy_error_set(err, SY_ERR_DATA, "%s: names other shards than the metadata has", path);
    for (size_t i = 0; !st && i < index.n_entries; i++) {
        const struct sy_shard_entry *entry = &index.entries[i];
        const struct sy_tensor *t = sy_checkpoint_find(ckpt, entry->tensor);
        if (!t)
            st = sy_error_set(err, SY_ERR_DATA, "%s/%s: tensor %.200s is not in this shard, but the index says so",
                              ckpt->dir, entry->shard, entry->tensor);
        else if (strcmp(ckpt->shards[t->shard].name, entry->shard))
            st = sy_error_set(err, SY_ERR_DATA, "%s: tensor %.200s is in shard %s, but the index says %s", path,
                              entry->tensor, ckpt->shards[t->shard].name, entry->shard);
    }
    sy_shard_index_fini(&index);
    return st;
}

enum sy_status sy_checkpoint_parse(const char *dir, const uint8_t *meta, size_t meta_bytes, struct sy_checkpoint **out,
                                   struct sy_error *err)
{
    struct sy_meta_record index = {.bytes = NULL};
    struct sy_checkpoint *ckpt = calloc(1, sizeof *ckpt);
    enum sy_status st = SY_OK;

    *out = NULL;
    if (!ckpt)
        return no_memory(dir, err);
    pthread_mutex_init(&ckpt->lock, NULL);
    ckpt->dir = strdup(dir);
    ckpt->meta = malloc(meta_bytes + 1);
    if (!ckpt->dir || !ckpt->meta) {
        st = no_memory(dir, err);
        goto err_close;
    }
    if (meta_bytes)
        memcpy(ckpt->meta, meta, meta_bytes);
    if ((st = parse_records(ckpt, meta_bytes, &index, err)) || (st = parse_shards(ckpt, err)))
        goto err_close;
    if (index.bytes && (st = check_index(ckpt, &index, err)))
        goto err_close;
    *out = ckpt;
    return SY_OK;

err_close:
    sy_checkpoint_close(ckpt);
    return st;
}

static enum sy_status size_fail(const struct shard *shard, uint64_t found, struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_DATA,
                        "%s: the file has %" PRIu64 " bytes here, but %" PRIu64
                        " where the metadata was read; are the copies the same?",
                        shard->path, found, shard->file_bytes);
}

enum sy_status sy_checkpoint_verify(const struct sy_checkpoint *ckpt, struct sy_error *err)
{
    struct stat info;

    for (int i = 0; i < ckpt->n_shards; i++) {
        const struct shard *shard = &ckpt->shards[i];
        if (stat(shard->path, &info))
            return sy_error_errno(err, SY_ERR_IO, "%s: cannot open", shard->path);
        if (!S_ISREG(info.st_mode))
            return sy_error_set(err, SY_ERR_DATA, "%s: not a regular file", shard->path);
        if ((uint64_t)info.st_size != shard->file_bytes)
            return size_fail(shard, (uint64_t)info.st_size, err);
    }
    return SY_OK;
}

/* Open a shard that must have the size of the metadata. */
static enum sy_status open_shard(const struct shard *shard, int *fd, struct sy_error *err)
{
    struct stat info;

    *fd = open(shard->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0)
        return sy_error_errno(err, SY_ERR_IO, "%s: cannot open", shard->path);
    enum sy_status st = SY_OK;
    if (fstat(*fd, &info))
        st = sy_error_errno(err, SY_ERR_IO, "%s: cannot stat", shard->path);
    else if ((uint64_t)info.st_size != shard->file_bytes)
        st = size_fail(shard, (uint64_t)info.st_size, err);
    if (st)
        close(*fd);
    return st;
}

enum sy_status sy_checkpoint_verify_headers(const struct sy_checkpoint *ckpt, struct sy_error *err)
{
    enum sy_status st = SY_OK;

    for (int i = 0; !st && i < ckpt->n_shards; i++) {
        const struct shard *shard = &ckpt->shards[i];
        uint8_t *head = malloc(shard->head_bytes);
        int fd;
        if (!head)
            return no_memory(ckpt->dir, err);
        if (!(st = open_shard(shard, &fd, err))) {
            st = sy_file_pread(fd, shard->path, head, shard->head_bytes, 0, err);
            close(fd);
        }
        if (!st && memcmp(head, shard->head, shard->head_bytes)) {
            size_t at = 0;
            while (head[at] == shard->head[at])
                at++;
            st = sy_error_set(err, SY_ERR_DATA,
                              "%s: the header here differs from the metadata at byte %zu; are the copies "
                              "the same?",
                              shard->path, at);
        }
        free(head);
    }
    return st;
}

const json_t *sy_checkpoint_config(const struct sy_checkpoint *ckpt)
{
    return ckpt->config;
}

const json_t *sy_checkpoint_generation_config(const struct sy_checkpoint *ckpt)
{
    return ckpt->generation;
}

const char *sy_checkpoint_dir(const struct sy_checkpoint *ckpt)
{
    return ckpt->dir;
}

const struct sy_tensor *sy_checkpoint_find(const struct sy_checkpoint *ckpt, const char *name)
{
    size_t low = 0, high = ckpt->n_tensors;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(name, ckpt->tensors[mid].name);
        if (!order)
            return &ckpt->tensors[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

const struct sy_tensor *sy_checkpoint_tensors(const struct sy_checkpoint *ckpt, size_t *n_tensors)
{
    *n_tensors = ckpt->n_tensors;
    return ckpt->tensors;
}

int sy_checkpoint_n_shards(const struct sy_checkpoint *ckpt)
{
    return ckpt->n_shards;
}

const char *sy_checkpoint_shard_path(const struct sy_checkpoint *ckpt, int shard)
{
    return ckpt->shards[shard].path;
}

/* The open file of a tensor's shard; n bytes from begin must lie inside the tensor. */
static enum sy_status shard_fd(struct sy_checkpoint *ckpt, const struct sy_tensor *tensor, uint64_t begin, size_t n,
                               int *fd, struct sy_error *err)
{
    struct shard *shard = &ckpt->shards[tensor->shard];
    enum sy_status st = SY_OK;

    if (begin > tensor->bytes || n > tensor->bytes - begin)
        return sy_error_set(err, SY_ERR_INTERNAL,
                            "%s: tensor %.200s: bytes %" PRIu64 " to %" PRIu64 " asked for, it has %" PRIu64,
                            shard->path, tensor->name, begin, begin + n, tensor->bytes);
    *fd = -1;
    if (ckpt->source) /* there are no files */
        return SY_OK;
    pthread_mutex_lock(&ckpt->lock);
    if (shard->fd < 0) {
        st = open_shard(shard, fd, err);
        if (!st)
            shard->fd = *fd;
    }
    *fd = shard->fd;
    pthread_mutex_unlock(&ckpt->lock);
    return st;
}

enum sy_status sy_checkpoint_fetch(struct sy_checkpoint *ckpt, const struct sy_tensor *tensor, uint64_t begin, size_t n,
                                   void *out, struct sy_error *err)
{
    const struct shard *shard = &ckpt->shards[tensor->shard];
    int fd;
    enum sy_status st = shard_fd(ckpt, tensor, begin, n, &fd, err);

    if (!st && ckpt->source)
        ckpt->source(ckpt->seed, tensor, begin, n, out);
    else if (!st)
        st = sy_file_pread(fd, shard->path, out, n, (off_t)(tensor->offset + begin), err);
    if (st) {
        sy_error_prefix(err, "tensor %.200s", tensor->name);
        return st;
    }
    atomic_fetch_add(&ckpt->bytes_read, n);
    return SY_OK;
}

void sy_checkpoint_set_source(struct sy_checkpoint *ckpt, sy_source_fn source, uint64_t seed)
{
    ckpt->source = source;
    ckpt->seed = seed;
}

void sy_checkpoint_prefetch(struct sy_checkpoint *ckpt, const struct sy_tensor *tensor, uint64_t begin, size_t n)
{
    int fd;

    if (shard_fd(ckpt, tensor, begin, n, &fd, NULL) || fd < 0)
        return;
    for (size_t done = 0; done < n; done += PREFETCH_STEP)
        (void)posix_fadvise(fd, (off_t)(tensor->offset + begin + done),
                            (off_t)(n - done < PREFETCH_STEP ? n - done : PREFETCH_STEP), POSIX_FADV_WILLNEED);
}

uint64_t sy_checkpoint_bytes_read(const struct sy_checkpoint *ckpt)
{
    return atomic_load(&ckpt->bytes_read);
}

void sy_checkpoint_close(struct sy_checkpoint *ckpt)
{
    if (!ckpt)
        return;
    for (int i = 0; i < ckpt->n_shards; i++) {
        if (ckpt->shards[i].fd >= 0)
            close(ckpt->shards[i].fd);
        free(ckpt->shards[i].path);
        free(ckpt->shards[i].names);
    }
    free(ckpt->shards);
    free(ckpt->tensors);
    json_decref(ckpt->config);
    json_decref(ckpt->generation);
    free(ckpt->meta);
    free(ckpt->dir);
    pthread_mutex_destroy(&ckpt->lock);
    free(ckpt);
}
