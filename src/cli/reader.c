/* SPDX-License-Identifier: Apache-2.0
 * reader.c - input lines without blocking
 */
#include "cli/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

#define PIECE ((size_t)64 << 10)

struct sy_reader {
    int fd;
    bool own_fd, is_file, eof, skipping; /* skipping: the rest of a line that was too long */
    char *name;
    size_t line_max, line_no, scanned;   /* scanned: bytes of buf from begin on without a newline */
    struct sy_buf buf;
    size_t begin;                        /* of what has not been given out */
};

enum sy_status sy_reader_open(const char *path, size_t line_max, struct sy_reader **reader, struct sy_error *err)
{
    struct sy_reader *r = calloc(1, sizeof *r);
    struct stat info;

    if (!r || !(r->name = strdup(strcmp(path, "-") ? path : "standard input"))) {
        free(r);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory");
    }
    r->line_max = line_max;
    r->own_fd = strcmp(path, "-");
    /* Without O_NONBLOCK the open of a FIFO would wait for its writer while the other ranks wait for us. */
    r->fd = r->own_fd ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : STDIN_FILENO;
    if (r->fd < 0 || fstat(r->fd, &info)) {
        sy_error_errno(err, SY_ERR_IO, "%s: cannot open", r->name);
    } else if (S_ISDIR(info.st_mode)) {
        sy_error_set(err, SY_ERR_IO, "%s: is a directory, expected a file of JSON lines", r->name);
    } else {
        r->is_file = S_ISREG(info.st_mode);
        *reader = r;
        return SY_OK;
    }
    sy_reader_close(r);
    return SY_ERR_IO;
}

void sy_reader_close(struct sy_reader *r)
{
    if (!r)
        return;
    if (r->own_fd && r->fd >= 0)
        close(r->fd);
    sy_buf_fini(&r->buf);
    free(r->name);
    free(r);
}

/* Read one piece if something is there. SY_AGAIN: nothing is. */
static enum sy_status fill(struct sy_reader *r, int timeout_ms, struct sy_error *err)
{
    struct pollfd wait = {.fd = r->fd, .events = POLLIN};

    if (!r->is_file && poll(&wait, 1, timeout_ms) <= 0)
        return SY_AGAIN;
    if (r->begin) {
        memmove(r->buf.data, r->buf.data + r->begin, r->buf.len - r->begin);
        r->buf.len -= r->begin;
        r->begin = 0;
    }
    if (!sy_buf_reserve(&r->buf, PIECE))
        return sy_error_set(err, SY_ERR_SYSTEM, "%s:%zu: no memory for the line", r->name, r->line_no + 1);
    ssize_t n = read(r->fd, r->buf.data + r->buf.len, PIECE);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return SY_AGAIN;
    if (n < 0)
        return sy_error_errno(err, SY_ERR_IO, "%s: cannot read", r->name);
    r->eof = n == 0;
    r->buf.len += (size_t)n;
    return SY_OK;
}

/* Take one line out of the buffer. Returns false when there is no whole one. */
static bool take(struct sy_reader *r, const char **line, size_t *len)
{
    const char *from = (const char *)r->buf.data + r->begin;
    size_t have = r->buf.len - r->begin;
    const char *newline = have > r->scanned ? memchr(from + r->scanned, '\n', have - r->scanned) : NULL;
    bool too_long = (newline ? (size_t)(newline - from) : have) > r->line_max;

    if (r->skipping) {
        /* The line was given out when it grew too long. */
        r->begin += newline ? (size_t)(newline - from) + 1 : have;
        r->skipping = !newline;
        r->scanned = 0;
        return newline ? take(r, line, len) : false;
    }
    if (!newline && !too_long && !(r->eof && have)) {
        r->scanned = have;
        return false;
    }
    *line = from;
    *len = newline ? (size_t)(newline - from) : have;
    r->begin += newline ? *len + 1 : have;
    r->skipping = !newline && !r->eof;
    r->scanned = 0;
    r->line_no++;
    if (*len > r->line_max)
        *len = r->line_max + 1;
    return true;
}

static bool is_blank(const char *line, size_t len)
{
    while (len && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r'))
        len--;
    return !len;
}

enum sy_status sy_reader_next(struct sy_reader *r, int timeout_ms, const char **line, size_t *len, size_t *line_no,
                              struct sy_error *err)
{
    for (;;) {
        while (r->buf.data && take(r, line, len))
            if (!is_blank(*line, *len)) {
                *line_no = r->line_no;
                return SY_OK;
            }
        if (r->eof)
            return SY_AGAIN;
        enum sy_status st = fill(r, timeout_ms, err);
        if (st)
            return st;
    }
}

bool sy_reader_at_end(const struct sy_reader *r)
{
    return r->eof && r->begin == r->buf.len;
}

bool sy_reader_is_file(const struct sy_reader *r)
{
    return r->is_file;
}

int sy_reader_fd(const struct sy_reader *r)
{
    return r->fd;
}

const char *sy_reader_name(const struct sy_reader *r)
{
    return r->name;
}
