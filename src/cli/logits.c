/* SPDX-License-Identifier: Apache-2.0
 * logits.c - dump of every position's logits
 */
#include "cli/logits.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_BYTES 256 /* room for the header, a multiple of 8, padded with blanks as the format allows */
#define FILE_NAME_MAX 255
#define POSITION_BITS 24

struct part {
    uint64_t request_id;
    int fd;
};

struct sy_logits {
    char *dir;
    struct part *parts; /* [n_parts] files being written by this rank */
    int n_parts, max_parts;
};

uint64_t sy_logits_request_id(uint64_t number, int n_positions)
{
    return number << POSITION_BITS | (uint64_t)n_positions;
}

static int positions_of(uint64_t request_id)
{
    return (int)(request_id & ((UINT64_C(1) << POSITION_BITS) - 1));
}

static void part_path(const struct sy_logits *logits, uint64_t request_id, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s/.%016" PRIx64 ".part", logits->dir, request_id);
}

enum sy_status sy_logits_open(const char *dir, struct sy_logits **out, struct sy_error *err)
{
    struct stat info;

    if (strlen(dir) + FILE_NAME_MAX + 2 > PATH_MAX)
        return sy_error_set(err, SY_ERR_USAGE, "--logits: the name of the directory is too long");
    if (mkdir(dir, 0777) && errno != EEXIST)
        return sy_error_errno(err, SY_ERR_IO, "--logits: cannot make %s", dir);
    if (stat(dir, &info))
        return sy_error_errno(err, SY_ERR_IO, "--logits: %s", dir);
    if (!S_ISDIR(info.st_mode))
        return sy_error_set(err, SY_ERR_USAGE, "--logits: %s is not a directory", dir);
    struct sy_logits *logits = calloc(1, sizeof *logits);
    if (!logits || !(logits->dir = strdup(dir))) {
        free(logits);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory");
    }
    *out = logits;
    return SY_OK;
}

static enum sy_status put_bytes(const struct sy_logits *logits, int fd, const void *bytes, size_t n, off_t offset,
                                struct sy_error *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(fd, (const char *)bytes + done, n - done, offset + (off_t)done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return sy_error_errno(err, SY_ERR_IO, "--logits: cannot write to %s", logits->dir);
        done += (size_t)put;
    }
    return SY_OK;
}

static enum sy_status put_header(const struct sy_logits *logits, int fd, int n, int vocab, struct sy_error *err)
{
    char header[HEADER_BYTES + 1];
    uint64_t len = HEADER_BYTES - 8, bytes = (uint64_t)n * (uint64_t)vocab * sizeof(float);

    memset(header, ' ', sizeof header);
    for (int i = 0; i < 8; i++)
        header[i] = (char)(len >> 8 * i & 0xff);
    int end = 8 + snprintf(header + 8, HEADER_BYTES - 8,
                           "{\"logits\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[0,%" PRIu64 "]}}", n,
                           vocab, bytes);
    header[end] = ' ';
    return put_bytes(logits, fd, header, HEADER_BYTES, 0, err);
}

/* The open file of a request, made when it is not there. */
static enum sy_status find_part(struct sy_logits *logits, uint64_t request_id, int vocab, struct part **part,
                                struct sy_error *err)
{
    char path[PATH_MAX];

    for (int i = 0; i < logits->n_parts; i++)
        if (logits->parts[i].request_id == request_id) {
            *part = &logits->parts[i];
            return SY_OK;
        }
    if (logits->n_parts == logits->max_parts) {
        int max = logits->max_parts ? 2 * logits->max_parts : 16;
        struct part *parts = realloc(logits->parts, (size_t)max * sizeof *parts);
        if (!parts)
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %d files of logits", max);
        logits->parts = parts;
        logits->max_parts = max;
    }
    part_path(logits, request_id, path, sizeof path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return sy_error_errno(err, SY_ERR_IO, "--logits: cannot make a file in %s", logits->dir);
    *part = &logits->parts[logits->n_parts++];
    **part = (struct part){request_id, fd};
    return put_header(logits, fd, positions_of(request_id), vocab, err);
}

enum sy_status sy_logits_put(struct sy_logits *logits, uint64_t request_id, int position, const float *row, int vocab,
                             struct sy_error *err)
{
    size_t row_bytes = (size_t)vocab * sizeof *row;
    struct part *part;
    enum sy_status st = find_part(logits, request_id, vocab, &part, err);

    if (!st)
        st = put_bytes(logits, part->fd, row, row_bytes, (off_t)(HEADER_BYTES + (size_t)position * row_bytes), err);
    if (st || position + 1 < positions_of(request_id))
        return st;
    if (close(part->fd) && errno != EINTR)
        st = sy_error_errno(err, SY_ERR_IO, "--logits: cannot write to %s", logits->dir);
    *part = logits->parts[--logits->n_parts];
    return st;
}

enum sy_status sy_logits_file_name(const char *custom_id, char *out, size_t out_bytes, struct sy_error *err)
{
    static const char suffix[] = ".safetensors";
    size_t n = 0, max = (out_bytes < FILE_NAME_MAX + 1 ? out_bytes - 1 : FILE_NAME_MAX) - (sizeof suffix - 1);

    for (const char *at = custom_id; *at && n <= max; at++) {
        bool plain = (*at & 0x80) == 0 && (isalnum((unsigned char)*at) || strchr("-_", *at));
        if (plain || (*at == '.' && at > custom_id))
            out[n++] = *at;
        else
            n += (size_t)(n + 3 <= max ? sprintf(out + n, "%%%02X", (uint8_t)*at) : (int)(max + 1 - n));
    }
    if (n > max || !n)
        return sy_error_set(err, SY_ERR_DATA, "custom_id \"%.60s...\" is too long for the name of a file", custom_id);
    memcpy(out + n, suffix, sizeof suffix);
    return SY_OK;
}

enum sy_status sy_logits_name(struct sy_logits *logits, uint64_t request_id, const char *custom_id,
                              struct sy_error *err)
{
    char part[PATH_MAX], path[PATH_MAX], name[FILE_NAME_MAX + 1];
    enum sy_status st = sy_logits_file_name(custom_id, name, sizeof name, err);

    part_path(logits, request_id, part, sizeof part);
    if (st) {
        unlink(part);
        return st;
    }
    snprintf(path, sizeof path, "%s/%s", logits->dir, name);
    if (!rename(part, path))
        return SY_OK;
    if (errno == ENOENT)
        return sy_error_set(err, SY_ERR_IO,
                            "--logits: %s is not on a file system that all ranks share: what a rank wrote there is not "
                            "seen by rank 0",
                            logits->dir);
    return sy_error_errno(err, SY_ERR_IO, "--logits: cannot write %s", path);
}

void sy_logits_close(struct sy_logits *logits)
{
    char path[PATH_MAX];

    if (!logits)
        return;
    for (int i = 0; i < logits->n_parts; i++) {
        close(logits->parts[i].fd);
        part_path(logits, logits->parts[i].request_id, path, sizeof path);
        unlink(path);
    }
    free(logits->parts);
    free(logits->dir);
    free(logits);
}
