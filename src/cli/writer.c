/* SPDX-License-Identifier: Apache-2.0
 * writer.c - whole lines, one write each
 */
#include "cli/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

#define SCAN_PIECE ((size_t)1 << 20)
#define SCAN_LINE_MAX ((size_t)1 << 30)

struct sy_writer {
    int fd;
    char *path;
    bool regular; /* can be cut and locked */
    off_t end;    /* of the last whole line */
};

/* Show whole lines from the front of buf to on_line and keep the rest; the first `scanned` bytes have no newline. */
static enum sy_status give_lines(struct sy_buf *buf, size_t scanned, size_t *line_no, off_t *end,
                                 sy_writer_line_fn on_line, void *ctx, struct sy_error *err)
{
    size_t begin = 0;
    const char *newline;

    while ((newline = memchr(buf->data + begin + scanned, '\n', buf->len - begin - scanned))) {
        scanned = 0;
        size_t len = (size_t)(newline - (const char *)buf->data) - begin;
        enum sy_status st = on_line(ctx, (const char *)buf->data + begin, len, ++*line_no, err);
        if (st)
            return st;
        begin += len + 1;
        *end += (off_t)len + 1;
    }
    if (begin)
        memmove(buf->data, buf->data + begin, buf->len - begin);
    buf->len -= begin;
    return SY_OK;
}

static enum sy_status scan(struct sy_writer *w, sy_writer_line_fn on_line, void *ctx, struct sy_error *err)
{
    struct sy_buf buf = SY_BUF_INIT;
    enum sy_status st = SY_OK;
    size_t line_no = 0;
    off_t at = 0;

    while (!st) {
        size_t scanned = buf.len;
        if (!sy_buf_reserve(&buf, SCAN_PIECE)) {
            st = sy_error_set(err, SY_ERR_SYSTEM, "%s:%zu: no memory for the line", w->path, line_no + 1);
            break;
        }
        if (buf.len > SCAN_LINE_MAX) {
            st = sy_error_set(err, SY_ERR_DATA, "%s:%zu: a line of more than %zu bytes is no output of this program",
                              w->path, line_no + 1, buf.len);
            break;
        }
        ssize_t n = pread(w->fd, buf.data + buf.len, SCAN_PIECE, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            st = sy_error_errno(err, SY_ERR_IO, "%s: cannot read", w->path);
        if (n <= 0)
            break;
        buf.len += (size_t)n;
        at += n;
        st = give_lines(&buf, scanned, &line_no, &w->end, on_line, ctx, err);
    }
    if (!st && buf.len && ftruncate(w->fd, w->end))
        st = sy_error_errno(err, SY_ERR_IO, "%s: cannot cut off the unfinished last line", w->path);
    sy_buf_fini(&buf);
    return st;
}

static enum sy_status prepare(struct sy_writer *w, bool is_stdout, bool resume, sy_writer_line_fn on_line, void *ctx,
                              struct sy_error *err)
{
    struct stat info;

    if (fstat(w->fd, &info))
        return sy_error_errno(err, SY_ERR_IO, "%s: cannot look at it", w->path);
    w->regular = S_ISREG(info.st_mode);
    /* Where standard output begins is the shell's business: with >> it goes to the end, wherever the position is. */
    if (is_stdout && w->regular)
        w->end = fcntl(w->fd, F_GETFL) & O_APPEND ? info.st_size : lseek(w->fd, 0, SEEK_CUR);
    if (!w->regular || is_stdout)
        return resume ? sy_error_set(err, SY_ERR_USAGE, "--resume: %s is not a regular file", w->path) : SY_OK;
    if (flock(w->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return sy_error_set(err, SY_ERR_IO, "%s: another process is writing it", w->path);
    if (!resume && info.st_size)
        return sy_error_set(err, SY_ERR_USAGE,
                            "--out: %s is there and not empty; give --resume to go on with it, or another name",
                            w->path);
    return resume ? scan(w, on_line, ctx, err) : SY_OK;
}

enum sy_status sy_writer_open(const char *path, bool resume, sy_writer_line_fn on_line, void *ctx,
                              struct sy_writer **writer, struct sy_error *err)
{
    struct sy_writer *w = calloc(1, sizeof *w);
    bool is_stdout = !strcmp(path, "-");
    enum sy_status st;

    if (!w || !(w->path = strdup(is_stdout ? "standard output" : path))) {
        free(w);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory");
    }
    if (is_stdout) {
        w->fd = dup(STDOUT_FILENO);
    } else {
        /* Reading is for resume only; a pipe or device may not allow it. */
        w->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (w->fd < 0 && (errno == EACCES || errno == EPERM))
            w->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    }
    if (w->fd < 0)
        st = sy_error_errno(err, SY_ERR_IO, "%s: cannot open for writing", w->path);
    else
        st = prepare(w, is_stdout, resume, on_line, ctx, err);
    if (st) {
        if (w->fd >= 0)
            close(w->fd);
        free(w->path);
        free(w);
        return st;
    }
    *writer = w;
    return SY_OK;
}

enum sy_status sy_writer_append(struct sy_writer *w, const void *line, size_t len, struct sy_error *err)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = write(w->fd, (const char *)line + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        /* Standard output may be somebody's pipe that does not block. */
        if (n < 0 && errno == EAGAIN && poll(&(struct pollfd){.fd = w->fd, .events = POLLOUT}, 1, -1) >= 0)
            continue;
        if (n <= 0) {
            sy_error_errno(err, SY_ERR_IO, "%s: cannot write", w->path);
            if (done && w->regular && ftruncate(w->fd, w->end))
                sy_error_errno(err, SY_ERR_IO, "%s: cannot write, and half a line could not be taken back", w->path);
            return SY_ERR_IO;
        }
        done += (size_t)n;
    }
    w->end += (off_t)len;
    return SY_OK;
}

bool sy_writer_is_same(const struct sy_writer *w, int fd)
{
    struct stat a, b;

    return w->regular && !fstat(w->fd, &a) && !fstat(fd, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

enum sy_status sy_writer_close(struct sy_writer *w, struct sy_error *err)
{
    enum sy_status st = SY_OK;

    if (!w)
        return SY_OK;
    if (close(w->fd) && errno != EINTR)
        st = sy_error_errno(err, SY_ERR_IO, "%s: cannot close", w->path);
    free(w->path);
    free(w);
    return st;
}
