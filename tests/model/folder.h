/* SPDX-License-Identifier: Apache-2.0
 * folder.h - checkpoints made on the spot, in a folder of the test's own
 */
#ifndef SY_TESTS_MODEL_FOLDER_H
#define SY_TESTS_MODEL_FOLDER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "model/checkpoint.h"

/* A new empty folder under $TMPDIR; the name stays valid until folder_remove(). */
const char *folder_make(void);

/* Write a file into it. */
void folder_write(const char *dir, const char *name, const void *bytes, size_t n);
void folder_text(const char *dir, const char *name, const char *text);

/* Write a shard: length, header, then n_data bytes that count up. */
void folder_shard(const char *dir, const char *name, const char *header, size_t n_data);

/* Remove every file in it and the folder itself (no folders inside). */
void folder_remove(const char *dir);

/* A list of tensors that becomes a header. */
struct tensor_spec {
    char name[160];
    const char *dtype;
    int n_dims;
    int64_t dims[4];
};

struct tensor_list {
    struct tensor_spec items[512];
    int n;
};

/* Append a tensor; 0 dims end the shape. */
void list_add(struct tensor_list *list, const char *dtype, int64_t d0, int64_t d1, int64_t d2, const char *name, ...)
    __attribute__((format(printf, 6, 7)));

/* The item of this name; ends the test when there is none. */
struct tensor_spec *list_find(struct tensor_list *list, const char *name);
void list_drop(struct tensor_list *list, const char *name);

/* The header's JSON into text, and the bytes of data it speaks of. */
size_t list_header(const struct tensor_list *list, struct sy_buf *text);

/* Write the list as DIR/name. */
void list_write(const struct tensor_list *list, const char *dir, const char *name);

/* sy_checkpoint_read() and sy_checkpoint_parse(). */
enum sy_status folder_open(const char *dir, struct sy_checkpoint **ckpt, struct sy_error *err);

#endif
