/* SPDX-License-Identifier: Apache-2.0
 * buf.c - growable bytes
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool sy_buf_reserve(struct sy_buf *buf, size_t extra)
{
    if (extra > SIZE_MAX / 4 || buf->len > SIZE_MAX / 4)
        return false;
    size_t need = buf->len + extra + 1; /* one for the NUL of sy_buf_printf() */
    if (need <= buf->cap)
        return true;
    size_t cap = buf->cap ? buf->cap : 256;
    while (cap < need)
        cap *= 2;
    uint8_t *data = realloc(buf->data, cap);
    if (!data)
        return false;
    buf->data = data;
    buf->cap = cap;
    return true;
}

bool sy_buf_append(struct sy_buf *buf, const void *bytes, size_t n)
{
    if (!sy_buf_reserve(buf, n))
        return false;
    if (n)
        memcpy(buf->data + buf->len, bytes, n);
    buf->len += n;
    buf->data[buf->len] = 0;
    return true;
}

bool sy_buf_printf(struct sy_buf *buf, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !sy_buf_reserve(buf, (size_t)n))
        return false;
    va_start(ap, fmt);
    vsnprintf((char *)buf->data + buf->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    buf->len += (size_t)n;
    return true;
}

void sy_buf_fini(struct sy_buf *buf)
{
    free(buf->data);
    *buf = (struct sy_buf)SY_BUF_INIT;
}

bool sy_cursor_take(struct sy_cursor *cursor, void *out, size_t n)
{
    if (n > cursor->len - cursor->at)
        return false;
    if (n)
        memcpy(out, cursor->data + cursor->at, n);
    cursor->at += n;
    return true;
}
