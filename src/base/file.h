/* SPDX-License-Identifier: Apache-2.0
 * file.h - whole reads and whole writes
 */
#ifndef SY_BASE_FILE_H
#define SY_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/status.h"

/* Append a whole file to buf. Larger than max_bytes is SY_ERR_DATA; a file that cannot be opened or read is SY_ERR_IO. */
enum sy_status sy_file_read(const char *path, size_t max_bytes, struct sy_buf *buf, struct sy_error *err);

/* Read exactly n bytes at offset; a short file is SY_ERR_DATA and names path. */
enum sy_status sy_file_pread(int fd, const char *path, void *out, size_t n, off_t offset, struct sy_error *err);

/* Write all n bytes to fd, going on after short writes and signals. */
enum sy_status sy_file_write(int fd, const char *path, const void *bytes, size_t n, struct sy_error *err);

/* True when there is something at path (after following links). */
int sy_file_exists(const char *path);

#endif
