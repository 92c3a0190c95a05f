/* SPDX-License-Identifier: Apache-2.0
 * status.c - error text and exit codes
 */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum sy_status sy_error_set(struct sy_error *err, enum sy_status status, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return status;
    err->status = status;
    err->lines = NULL;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return status;
}

enum sy_status sy_error_errno(struct sy_error *err, enum sy_status status, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;

    if (!err)
        return status;
    err->status = status;
    err->lines = NULL;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    size_t len = strlen(err->text);
    snprintf(err->text + len, sizeof err->text - len, ": %s", strerror(saved));
    errno = saved;
    return status;
}

enum sy_status sy_error_prefix(struct sy_error *err, const char *fmt, ...)
{
    char rest[SY_ERROR_TEXT_MAX];
    va_list ap;

    if (!err)
        return SY_ERR_INTERNAL;
    memcpy(rest, err->text, sizeof rest);
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    size_t len = strlen(err->text);
    snprintf(err->text + len, sizeof err->text - len, ": %s", rest);
    return err->status;
}

int sy_status_exit_code(enum sy_status status)
{
    switch (status) {
    case SY_OK:
    case SY_AGAIN:
        return 0;
    case SY_ERR_USAGE:
        return 64;
    case SY_ERR_DATA:
        return 65;
    case SY_ERR_PEER:
        return 69;
    case SY_ERR_INTERNAL:
        return 70;
    case SY_ERR_SYSTEM:
        return 71;
    case SY_ERR_IO:
        return 74;
    }
    return 70;
}
