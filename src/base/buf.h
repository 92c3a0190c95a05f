/* SPDX-License-Identifier: Apache-2.0
 * buf.h - a growable run of bytes that keeps its capacity
 *
 * Used for control messages, file contents and text. The owner calls sy_buf_fini(). Appending past the capacity
 * reallocates, so pointers into the data do not survive an append.
 */
#ifndef SY_BASE_BUF_H
#define SY_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sy_buf {
    uint8_t *data;
    size_t len, cap;
};

#define SY_BUF_INIT {NULL, 0, 0}

/* Make room for extra more bytes. Returns false when there is no memory (the buffer is unchanged). */
bool sy_buf_reserve(struct sy_buf *buf, size_t extra);

/* Append n bytes. Returns false when there is no memory. */
bool sy_buf_append(struct sy_buf *buf, const void *bytes, size_t n);

/* Append formatted text (no NUL is counted, but one always follows the data). */
bool sy_buf_printf(struct sy_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Free the memory; the buffer may be used again. */
void sy_buf_fini(struct sy_buf *buf);

/* A read position in bytes that somebody else wrote. */
struct sy_cursor {
    const uint8_t *data;
    size_t len, at;
};

/* Copy the next n bytes to out, or return false when fewer are left (nothing is copied, the position stays). */
bool sy_cursor_take(struct sy_cursor *cursor, void *out, size_t n);

#endif
