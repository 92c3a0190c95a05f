/* SPDX-License-Identifier: Apache-2.0
 * writer.h - appends whole lines to the output file, one write each
 *
 * After a crash the file ends in whole lines, but perhaps one; with resume that one is cut off and the lines that are
 * there are shown to the caller first. A write that fails in the middle (disk full) is taken back.
 * Thread: the caller's. On a regular file an advisory lock keeps a second job away.
 */
#ifndef SY_CLI_WRITER_H
#define SY_CLI_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct sy_writer;

/* One whole line that is there already, without its newline; line_no counts from 1. */
typedef enum sy_status (*sy_writer_line_fn)(void *ctx, const char *line, size_t len, size_t line_no,
                                            struct sy_error *err);

/* Open path for appending; "-" is standard output. Without resume a file that is not empty is refused (SY_ERR_USAGE: says
 * --resume). With resume on_line sees every whole line first, in order. Errors: SY_ERR_IO, and what on_line returns. */
enum sy_status sy_writer_open(const char *path, bool resume, sy_writer_line_fn on_line, void *ctx,
                              struct sy_writer **writer, struct sy_error *err);

/* Append len bytes, which end in a newline, with one write. On SY_ERR_IO the file ends where it ended before. */
enum sy_status sy_writer_append(struct sy_writer *writer, const void *line, size_t len, struct sy_error *err);

/* True if fd is the file that is written. */
bool sy_writer_is_same(const struct sy_writer *writer, int fd);

/* Close; errors that the system kept until now (network file systems) are SY_ERR_IO. NULL is fine. */
enum sy_status sy_writer_close(struct sy_writer *writer, struct sy_error *err);

#endif
