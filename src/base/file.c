/* SPDX-License-Identifier: Apache-2.0
 * file.c - whole reads and whole writes
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_PIECE ((size_t)1 << 20)

enum sy_status sy_file_read(const char *path, size_t max_bytes, struct sy_buf *buf, struct sy_error *err)
{
    enum sy_status st = SY_OK;
    size_t begin = buf->len;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return sy_error_errno(err, SY_ERR_IO, "%s: cannot open", path);
    for (;;) {
        struct stat info;
        size_t piece = READ_PIECE;
        if (buf->len == begin && !fstat(fd, &info) && S_ISREG(info.st_mode) && info.st_size >= 0 &&
            (size_t)info.st_size < max_bytes)
            piece = (size_t)info.st_size + 1;
        if (!sy_buf_reserve(buf, piece)) {
            st = sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory for %zu bytes", path, buf->len + piece);
            break;
        }
        ssize_t n = read(fd, buf->data + buf->len, piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            st = sy_error_errno(err, SY_ERR_IO, "%s: cannot read", path);
            break;
        }
        buf->len += (size_t)n;
        if (buf->len - begin > max_bytes) {
            st = sy_error_set(err, SY_ERR_DATA, "%s: larger than the limit of %zu bytes", path, max_bytes);
            break;
        }
        if (n == 0)
            break;
    }
    if (buf->data)
        buf->data[buf->len] = 0;
    close(fd);
    return st;
}

enum sy_status sy_file_pread(int fd, const char *path, void *out, size_t n, off_t offset, struct sy_error *err)
{
    size_t done = 0;

    while (done < n) {
        ssize_t got = pread(fd, (char *)out + done, n - done, offset + (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return sy_error_errno(err, SY_ERR_IO, "%s: cannot read %zu bytes at offset %lld", path, n,
                                  (long long)offset);
        if (got == 0)
            return sy_error_set(err, SY_ERR_DATA,
                                "%s: the file ends at byte %lld, but %zu bytes at offset %lld are needed", path,
                                (long long)offset + (long long)done, n, (long long)offset);
        done += (size_t)got;
    }
    return SY_OK;
}

enum sy_status sy_file_write(int fd, const char *path, const void *bytes, size_t n, struct sy_error *err)
{
    size_t done = 0;

    while (done < n) {
        ssize_t put = write(fd, (const char *)bytes + done, n - done);
        if (put < 0 && errno == EINTR)
            continue;
        /* Standard output may be somebody's pipe that does not block. */
        if (put < 0 && errno == EAGAIN && poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1) >= 0)
            continue;
        if (put < 0)
            return sy_error_errno(err, SY_ERR_IO, "%s: cannot write", path);
        done += (size_t)put;
    }
    return SY_OK;
}

int sy_file_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0;
}
