/* SPDX-License-Identifier: Apache-2.0
 * reader.h - input lines, taken as they come and never waited for
 *
 * A pipe may stay open for hours while the step loop runs: the reader only reads what poll() says is there. It reads
 * ahead by one piece at most, so a slow job does not swallow a large input. Thread: the caller's.
 */
#ifndef SY_CLI_READER_H
#define SY_CLI_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct sy_reader;

/* Open a file, a FIFO (nobody needs to write it yet) or "-" for standard input. Longer lines than line_max bytes are cut
 * to line_max + 1 bytes and the rest is passed over, so that the caller sees that they are too long. */
enum sy_status sy_reader_open(const char *path, size_t line_max, struct sy_reader **reader, struct sy_error *err);

/* The next line that is not blank, without its newline, valid until the next call; line_no counts all lines from 1. A
 * last line without newline counts. SY_AGAIN: nothing is there yet, or (sy_reader_at_end) nothing more will come.
 * Waits at most timeout_ms for input. Errors: SY_ERR_IO. */
enum sy_status sy_reader_next(struct sy_reader *reader, int timeout_ms, const char **line, size_t *len, size_t *line_no,
                              struct sy_error *err);

bool sy_reader_at_end(const struct sy_reader *reader);
/* True for a regular file: all of it is there now. */
bool sy_reader_is_file(const struct sy_reader *reader);
int sy_reader_fd(const struct sy_reader *reader);
const char *sy_reader_name(const struct sy_reader *reader);

void sy_reader_close(struct sy_reader *reader);

#endif
