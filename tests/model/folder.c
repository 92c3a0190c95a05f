/* SPDX-License-Identifier: Apache-2.0
 * folder.c - checkpoints made on the spot
 */
#include "folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "tap.h"

const char *folder_make(void)
{
    const char *base = getenv("TMPDIR");
    char *dir = NULL;

    if (asprintf(&dir, "%s/switchyard-test-XXXXXX", base ? base : "/tmp") < 0 || !mkdtemp(dir))
        bail("cannot make a folder");
    return dir;
}

void folder_write(const char *dir, const char *name, const void *bytes, size_t n)
{
    char path[PATH_MAX];
    struct sy_error err = SY_ERROR_INIT;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || sy_file_write(fd, path, bytes, n, &err))
        bail("cannot write %s: %s", path, err.text);
    close(fd);
}

void folder_text(const char *dir, const char *name, const char *text)
{
    folder_write(dir, name, text, strlen(text));
}

void folder_shard(const char *dir, const char *name, const char *header, size_t n_data)
{
    struct sy_buf file = SY_BUF_INIT;
    uint64_t n = strlen(header);
    uint8_t prefix[8];

    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)(n >> (8 * i));
    sy_buf_append(&file, prefix, sizeof prefix);
    sy_buf_append(&file, header, n);
    for (size_t i = 0; i < n_data; i++) {
        uint8_t byte = (uint8_t)i;
        sy_buf_append(&file, &byte, 1);
    }
    folder_write(dir, name, file.data, file.len);
    sy_buf_fini(&file);
}

void folder_remove(const char *dir)
{
    DIR *d = opendir(dir);
    char path[PATH_MAX];

    for (struct dirent *entry; d && (entry = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
    free((char *)dir);
}

void list_add(struct tensor_list *list, const char *dtype, int64_t d0, int64_t d1, int64_t d2, const char *name, ...)
{
    struct tensor_spec *t = &list->items[list->n++];
    va_list ap;

    if (list->n > 512)
        bail("too many tensors in the test's list");
    *t = (struct tensor_spec){.dtype = dtype, .n_dims = d2 ? 3 : d1 ? 2 : 1, .dims = {d0, d1, d2}};
    va_start(ap, name);
    vsnprintf(t->name, sizeof t->name, name, ap);
    va_end(ap);
}

struct tensor_spec *list_find(struct tensor_list *list, const char *name)
{
    for (int i = 0; i < list->n; i++)
        if (!strcmp(list->items[i].name, name))
            return &list->items[i];
    bail("no tensor %s in the test's list", name);
}

void list_drop(struct tensor_list *list, const char *name)
{
    *list_find(list, name) = list->items[list->n - 1];
    list->n--;
}

size_t list_header(const struct tensor_list *list, struct sy_buf *text)
{
    size_t at = 0;

    sy_buf_printf(text, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int i = 0; i < list->n; i++) {
        const struct tensor_spec *t = &list->items[i];
        size_t bytes = strstr(t->dtype, "32") ? 4 : strstr(t->dtype, "64") ? 8 : strstr(t->dtype, "16") ? 2 : 1;
        sy_buf_printf(text, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name, t->dtype);
        for (int d = 0; d < t->n_dims; d++) {
            sy_buf_printf(text, "%s%" PRId64, d ? "," : "", t->dims[d]);
            bytes *= (size_t)t->dims[d];
        }
        sy_buf_printf(text, "],\"data_offsets\":[%zu,%zu]}", at, at + bytes);
        at += bytes;
    }
    sy_buf_printf(text, "}");
    return at;
}

void list_write(const struct tensor_list *list, const char *dir, const char *name)
{
    struct sy_buf text = SY_BUF_INIT;
    size_t n_data = list_header(list, &text);

    folder_shard(dir, name, (const char *)text.data, n_data);
    sy_buf_fini(&text);
}

enum sy_status folder_open(const char *dir, struct sy_checkpoint **ckpt, struct sy_error *err)
{
    struct sy_buf meta = SY_BUF_INIT;
    enum sy_status st = sy_checkpoint_read(dir, &meta, err);

    *ckpt = NULL;
    if (!st)
        st = sy_checkpoint_parse(dir, meta.data, meta.len, ckpt, err);
    sy_buf_fini(&meta);
    return st;
}
