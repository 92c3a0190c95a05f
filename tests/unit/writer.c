/* SPDX-License-Identifier: Apache-2.0
 * writer.c - whole lines: resuming, a full disk, a second writer
 */
#include "cli/writer.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "model/folder.h"
#include "tap.h"

static const char *folder;
static char path[4096];

static void make_file(const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    if (fd < 0 || write(fd, bytes, len) != (ssize_t)len || close(fd))
        bail("cannot write %s", path);
}

static bool has(const void *bytes, size_t len)
{
    struct sy_buf buf = SY_BUF_INIT;
    struct sy_error err = SY_ERROR_INIT;
    bool same = !sy_file_read(path, 64 << 20, &buf, &err) && buf.len == len && !memcmp(buf.data, bytes, len);

    if (!same)
        diag("%s has %zu bytes: %.60s", path, buf.len, buf.data ? (char *)buf.data : "");
    sy_buf_fini(&buf);
    return same;
}

struct seen {
    char text[256];
    size_t bytes, refuse_at;
};

static enum sy_status on_line(void *ctx, const char *line, size_t len, size_t line_no, struct sy_error *err)
{
    struct seen *seen = ctx;

    if (line_no == seen->refuse_at)
        return sy_error_set(err, SY_ERR_DATA, "refused");
    size_t at = strlen(seen->text);
    snprintf(seen->text + at, sizeof seen->text - at, "%zu:%.*s|", line_no, (int)(len < 40 ? len : 40), line);
    seen->bytes += len;
    return SY_OK;
}

static void check_resume(void)
{
    static const char three[] = "one\n\nthree\nhalf";
    struct seen seen = {0};
    struct sy_error err = SY_ERROR_INIT;
    struct sy_writer *w = NULL;

    make_file(three, sizeof three - 1);
    is_int(sy_writer_open(path, false, on_line, &seen, &w, &err), SY_ERR_USAGE, "a file that is not empty");
    has_str(err.text, "give --resume", "is refused");
    ok(has(three, sizeof three - 1), "and left as it is");

    seen.refuse_at = 2;
    is_int(sy_writer_open(path, true, on_line, &seen, &w, &err), SY_ERR_DATA, "a line that is refused");
    ok(has(three, sizeof three - 1), "leaves the file as it is, half a line too");

    seen = (struct seen){0};
    is_int(sy_writer_open(path, true, on_line, &seen, &w, &err), SY_OK, "resume");
    is_str(seen.text, "1:one|2:|3:three|", "whole lines are shown");
    ok(has("one\n\nthree\n", 11), "half a line is cut off");
    is_int(sy_writer_append(w, "four\n", 5, &err), SY_OK, "append");
    int fd = open(path, O_RDONLY);
    ok(sy_writer_is_same(w, fd), "the file is known again");
    ok(!sy_writer_is_same(w, STDERR_FILENO), "and others are not");
    close(fd);
    struct sy_writer *second = NULL;
    is_int(sy_writer_open(path, true, on_line, &seen, &second, &err), SY_ERR_IO, "a second writer");
    has_str(err.text, "another process is writing it", "is refused");
    is_int(sy_writer_close(w, &err), SY_OK, "close");
    ok(has("one\n\nthree\nfour\n", 16), "the line follows the others");

    make_file("half", 4);
    seen = (struct seen){0};
    ok(!sy_writer_open(path, true, on_line, &seen, &w, &err) && !seen.text[0] && has("", 0),
       "a file of half a line becomes empty");
    sy_writer_close(w, &err);
    unlink(path);
    ok(!sy_writer_open(path, true, on_line, &seen, &w, &err), "resume without a file begins one");
    sy_writer_close(w, &err);
}

/* Lines longer than a piece of reading, and lines across its ends. */
static void check_long_lines(void)
{
    size_t lens[] = {(1 << 20) - 1, 1 << 20, 5 << 20, 3}, at = 0;
    char *text = malloc(8 << 20);
    struct seen seen = {0};
    struct sy_error err = SY_ERROR_INIT;
    struct sy_writer *w = NULL;

    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        memset(text + at, 'a' + (int)i, lens[i]);
        text[at + lens[i]] = '\n';
        at += lens[i] + 1;
    }
    memset(text + at, 'z', 1000);
    make_file(text, at + 1000);
    is_int(sy_writer_open(path, true, on_line, &seen, &w, &err), SY_OK, "long lines");
    is_int((int64_t)seen.bytes, (1 << 20) - 1 + (1 << 20) + (5 << 20) + 3, "are shown whole");
    has_str(seen.text, "|4:ddd|", "the last one too");
    ok(has(text, at), "and kept");
    sy_writer_close(w, &err);
    free(text);
}

/* A limit on the size of files is a full disk without root: the write comes back short, then fails. In a process of its
 * own. prefix: bytes that are there before. */
static void check_full(const char *name, bool to_stdout, int flags, const char *prefix)
{
    char expected[128];

    make_file(prefix, strlen(prefix));
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {strlen(prefix) + 25, strlen(prefix) + 25};
        struct sy_error err = SY_ERROR_INIT;
        struct seen seen = {0};
        struct sy_writer *w = NULL;
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        if (to_stdout && dup2(open(path, O_WRONLY | flags), STDOUT_FILENO) < 0)
            _exit(10);
        if (sy_writer_open(to_stdout ? "-" : path, !to_stdout, on_line, &seen, &w, &err))
            _exit(11);
        if (sy_writer_append(w, "0123456789\n", 11, &err) || sy_writer_append(w, "abcdefghij\n", 11, &err))
            _exit(12);
        if (sy_writer_append(w, "ABCDEFGHIJ\n", 11, &err) != SY_ERR_IO ||
            !strstr(err.text, "cannot write: File too large"))
            _exit(13);
        _exit(sy_writer_close(w, &err) ? 14 : 0);
    }
    int status = -1;
    ok(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status),
       "%s: the line that does not fit is an error (%d)", name, status >> 8);
    snprintf(expected, sizeof expected, "%s0123456789\nabcdefghij\n", prefix);
    ok(has(expected, strlen(expected)), "%s: what was there and the whole lines are kept, the half one is taken back",
       name);
}

static void check_odd_outputs(void)
{
    struct seen seen = {0};
    struct sy_error err = SY_ERROR_INIT;
    struct sy_writer *w = NULL;

    is_int(sy_writer_open(folder, false, on_line, &seen, &w, &err), SY_ERR_IO, "a folder");
    has_str(err.text, "cannot open for writing: Is a directory", "is said");
    is_int(sy_writer_open("/dev/full", false, on_line, &seen, &w, &err), SY_OK, "a device");
    is_int(sy_writer_append(w, "a\n", 2, &err), SY_ERR_IO, "that is full");
    has_str(err.text, "/dev/full: cannot write: No space left on device", "is said");
    sy_writer_close(w, NULL);
    is_int(sy_writer_open("/dev/null", true, on_line, &seen, &w, &err), SY_ERR_USAGE, "resume of a device");
    has_str(err.text, "not a regular file", "is said");
    is_int(sy_writer_close(NULL, &err), SY_OK, "closing nothing");
}

/* A pipe that does not block and is full: the writer waits for room. */
static void check_full_pipe(void)
{
    static char line[200001];
    int ends[2];

    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    if (pipe(ends))
        bail("cannot make a pipe");
    pid_t child = fork();
    if (child == 0) {
        struct sy_error err = SY_ERROR_INIT;
        struct sy_writer *w = NULL;
        close(ends[0]);
        fcntl(ends[1], F_SETFL, O_NONBLOCK);
        dup2(ends[1], STDOUT_FILENO);
        if (sy_writer_open("-", false, on_line, NULL, &w, &err))
            _exit(10);
        if (sy_writer_append(w, line, sizeof line, &err))
            _exit(11);
        _exit(sy_writer_close(w, &err) ? 12 : 0);
    }
    close(ends[1]);
    usleep(50000);
    size_t n_read = 0;
    char piece[4096];
    for (ssize_t n; (n = read(ends[0], piece, sizeof piece)) > 0;)
        n_read += (size_t)n;
    close(ends[0]);
    int status = -1;
    ok(waitpid(child, &status, 0) == child && !status, "a full pipe that does not block is waited for (%d)", status);
    is_int((int64_t)n_read, sizeof line, "and gets the whole line");
}

int main(void)
{
    folder = folder_make();
    snprintf(path, sizeof path, "%s/out", folder);
    check_resume();
    check_long_lines();
    check_full("a file", false, 0, "before\n");
    check_full("standard output appended to a file", true, O_APPEND, "before, without newline");
    check_full("standard output", true, O_TRUNC, "");
    check_odd_outputs();
    check_full_pipe();
    folder_remove(folder);
    done();
    return tap_exit();
}
