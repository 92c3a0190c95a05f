/* SPDX-License-Identifier: Apache-2.0
 * reader.c - lines of files and of slow pipes, long lines, last lines
 */
#include "cli/reader.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "model/folder.h"
#include "tap.h"
#include "testrand.h"

#define LINE_MAX_BYTES 100

static const char *folder;
static char path[4096];

static struct testrand numbers;

static size_t below(size_t n)
{
    return testrand_next(&numbers) % n;
}

static void put(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        bail("cannot write");
}

static void make_file(const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    if (fd < 0 || write(fd, bytes, len) != (ssize_t)len || close(fd))
        bail("cannot write %s", path);
}

static struct sy_reader *open_path(void)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_reader *reader = NULL;

    if (sy_reader_open(path, LINE_MAX_BYTES, &reader, &err))
        bail("%s", err.text);
    return reader;
}

/* "NUMBER:LINE" of the next line, "again" or "end". */
static const char *next(struct sy_reader *reader)
{
    static char shown[256];
    static struct sy_error err;
    const char *line;
    size_t len, line_no;
    enum sy_status st = sy_reader_next(reader, 0, &line, &len, &line_no, &err);

    if (st == SY_AGAIN)
        return sy_reader_at_end(reader) ? "end" : "again";
    if (st)
        return err.text;
    snprintf(shown, sizeof shown, "%zu:%.*s", line_no, (int)len, line);
    return shown;
}

static void check_file(void)
{
    static const char text[] = "one\n\n  \t\r\nfour\r\nfi\0ve\nlast";
    struct sy_error err = SY_ERROR_INIT;
    const char *line;
    size_t len, line_no;

    make_file(text, sizeof text - 1);
    struct sy_reader *reader = open_path();
    ok(sy_reader_is_file(reader), "a file is a file");
    is_str(next(reader), "1:one", "its first line");
    is_str(next(reader), "4:four\r", "blank lines are counted and passed over");
    ok(!sy_reader_next(reader, 0, &line, &len, &line_no, &err) && len == 5 && !memcmp(line, "fi\0ve", 5),
       "a zero byte is a byte of its line");
    ok(!sy_reader_at_end(reader), "before the last line it is not over");
    is_str(next(reader), "6:last", "the last line needs no newline");
    is_str(next(reader), "end", "then it is over");
    is_str(next(reader), "end", "and stays so");
    sy_reader_close(reader);
    make_file("", 0);
    reader = open_path();
    is_str(next(reader), "end", "an empty file has no line");
    sy_reader_close(reader);
}

/* Around the limit, with and without a newline, in front of another line. */
static void check_long(void)
{
    struct sy_error err = SY_ERROR_INIT;
    char *text = malloc(400000);
    const char *line;
    size_t len, line_no;
    int n_bad = 0;

    for (size_t n = LINE_MAX_BYTES - 1; n < 400000 - 10; n = n < LINE_MAX_BYTES + 2 ? n + 1 : n * 3) {
        memset(text, 'x', n);
        memcpy(text + n, "\nnext", 5);
        make_file(text, n + 5);
        struct sy_reader *reader = open_path();
        n_bad += sy_reader_next(reader, 0, &line, &len, &line_no, &err) != SY_OK || line_no != 1 ||
                 len != (n <= LINE_MAX_BYTES ? n : LINE_MAX_BYTES + 1);
        n_bad += strcmp(next(reader), "2:next") || strcmp(next(reader), "end");
        sy_reader_close(reader);
        make_file(text, n);
        reader = open_path();
        n_bad += sy_reader_next(reader, 0, &line, &len, &line_no, &err) != SY_OK ||
                 len != (n <= LINE_MAX_BYTES ? n : LINE_MAX_BYTES + 1) || strcmp(next(reader), "end");
        sy_reader_close(reader);
    }
    free(text);
    ok(!n_bad, "a line over the limit is cut one byte after it, once, and the next one is whole");
}

/* Any cut of a stream into pieces gives the same lines. */
static void check_slow_pipe(void)
{
    static const char text[] =
        "{\"a\":1}\n\n{\"b\":2}\n{\"long\":\"0123456789012345678901234567890123456789\"}\n{\"c\":3}";
    int n_bad = 0;

    unlink(path);
    if (mkfifo(path, 0666))
        bail("cannot make %s", path);
    for (int round = 0; round < 200; round++) {
        struct sy_reader *reader = open_path();
        char found[256] = "";
        if (!round) {
            ok(!sy_reader_is_file(reader), "a pipe is no file");
            is_str(next(reader), "again", "a pipe that nobody has opened for writing is not over");
        }
        int fd = open(path, O_WRONLY);
        for (size_t at = 0; at < sizeof text - 1;) {
            size_t n = 1 + below(round % 2 ? 3 : 40);
            n = n < sizeof text - 1 - at ? n : sizeof text - 1 - at;
            n_bad += write(fd, text + at, n) != (ssize_t)n;
            at += n;
            for (const char *line; strcmp(line = next(reader), "again");) {
                n_bad += !strcmp(line, "end") || strlen(found) > 200;
                strcat(strcat(found, line), "|");
                if (n_bad)
                    bail("a pipe gave \"%s\"", found);
            }
        }
        close(fd);
        strcat(found, next(reader));
        n_bad += strcmp(next(reader), "end") != 0;
        n_bad += strcmp(
                     found,
                     "1:{\"a\":1}|3:{\"b\":2}|4:{\"long\":\"0123456789012345678901234567890123456789\"}|5:{\"c\":3}") !=
                 0;
        sy_reader_close(reader);
    }
    ok(!n_bad, "lines that come in pieces are put together; half a line waits for the rest or the end");
}

static void check_endless(void)
{
    struct sy_error err = SY_ERROR_INIT;
    const char *line;
    size_t len, line_no;
    char piece[1025] = "";

    memset(piece, 'x', 1024);
    struct sy_reader *reader = open_path();
    int fd = open(path, O_WRONLY);
    put(fd, piece);
    ok(!sy_reader_next(reader, 0, &line, &len, &line_no, &err) && len == LINE_MAX_BYTES + 1,
       "a line that grows too long is given out before it ends");
    for (int i = 0; i < 200; i++) {
        put(fd, piece);
        if (strcmp(next(reader), "again"))
            bail("the rest of a long line came out");
    }
    put(fd, "\nnext\n");
    is_str(next(reader), "2:next", "and the rest of it is passed over");
    int64_t begin_ns = sy_clock_ns();
    ok(sy_reader_next(reader, 50, &line, &len, &line_no, &err) == SY_AGAIN && sy_clock_ns() - begin_ns >= 40000000,
       "with a time limit it waits so long for a line");
    close(fd);
    is_str(next(reader), "end", "a pipe is over when its writer has closed it");
    sy_reader_close(reader);
}

static void check_errors(void)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_reader *reader = NULL;

    is_int(sy_reader_open("reader-no-such-file", 10, &reader, &err), SY_ERR_IO, "no such file");
    has_str(err.text, "reader-no-such-file: cannot open", "is said");
    is_int(sy_reader_open(folder, 10, &reader, &err), SY_ERR_IO, "a folder");
    has_str(err.text, "is a directory", "is said");
}

int main(void)
{
    numbers = testrand_begin();
    folder = folder_make();
    snprintf(path, sizeof path, "%s/in", folder);
    check_file();
    check_long();
    check_slow_pipe();
    check_endless();
    check_errors();
    folder_remove(folder);
    done();
    return tap_exit();
}
