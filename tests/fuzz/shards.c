/* SPDX-License-Identifier: Apache-2.0
 * shards.c - headers from lists of tensors
 */
#include "shards.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/safetensors.h"

#define NAME_MAX_BYTES 256
#define DIM_MAX        0xffffff
#define BYTES_MAX      ((uint64_t)1 << 40)

void promise(bool kept)
{
    if (!kept)
        abort();
}

/* A header in the making. */
struct header {
    struct sy_buf text;
    int n_tensors;
    uint64_t at, end; /* of the data: where the last tensor ends, and the last byte of all */
};

/* What the words behind a name say. */
struct line {
    const char *dtype;
    int n_dims;
    uint64_t dims[SY_TENSOR_DIMS_MAX], bytes;
    const char *begin,
        *end; /* of the data, as they are written; NULL: where the last one ended, as long as it must be */
};

static void add_tensor(struct header *h, const char *name, const struct line *line)
{
    uint64_t begin = line->begin ? strtoull(line->begin, NULL, 10) : h->at;
    uint64_t end = line->end ? strtoull(line->end, NULL, 10) : begin + line->bytes;

    sy_buf_printf(&h->text, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", h->n_tensors++ ? "," : "", name, line->dtype);
    for (int d = 0; d < line->n_dims; d++)
        sy_buf_printf(&h->text, "%s%" PRIu64, d ? "," : "", line->dims[d]);
    sy_buf_printf(&h->text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, end);
    h->at = end;
    h->end = end > h->end && end < BYTES_MAX * SHARDS_TENSORS_MAX ? end : h->end;
}

/* Tensors of a name whose first {a-b} stands for numbers. */
static void expand(struct header *h, const char *name, const struct line *line)
{
    const char *open = strchr(name, '{');
    char full[NAME_MAX_BYTES];
    unsigned first, last;
    int n = 0;

    if (!open || sscanf(open, "{%5u-%5u}%n", &first, &last, &n) != 2 || !n) {
        if (h->n_tensors < SHARDS_TENSORS_MAX)
            add_tensor(h, name, line);
        return;
    }
    for (; first <= last && h->n_tensors < SHARDS_TENSORS_MAX; first++) {
        snprintf(full, sizeof full, "%.*s%u%s", (int)(open - name), name, first, open + n);
        expand(h, full, line);
    }
}

/* Names are kept to characters that need no escape. */
static void add_line(struct header *h, char *text)
{
    char *save = NULL, *name = strtok_r(text, " ", &save), *dtype = strtok_r(NULL, " ", &save), *word = NULL;
    struct line line = {.dtype = dtype};

    if (!name || !dtype || strlen(name) >= NAME_MAX_BYTES - 32)
        return;
    for (char *c = name; *c; c++)
        if (*c < 0x20 || *c == '"' || *c == '\\' || *c == 0x7f)
            *c = '_';
    for (int d = 0; d < SY_N_DTYPES; d++)
        if (!strcmp(dtype, sy_dtype_name((enum sy_dtype)d)))
            line.bytes = sy_dtype_bytes((enum sy_dtype)d);
    if (!line.bytes)
        return;
    while ((word = strtok_r(NULL, " ", &save)) && *word != '@' && line.n_dims < SY_TENSOR_DIMS_MAX) {
        uint64_t dim = line.dims[line.n_dims++] = strtoull(word, NULL, 10) & DIM_MAX;
        if (__builtin_mul_overflow(line.bytes, dim, &line.bytes) || line.bytes > BYTES_MAX)
            line.bytes = BYTES_MAX; /* the parser refuses this one */
    }
    if (word && *word == '@') {
        line.begin = word + 1;
        line.end = strtok_r(NULL, " ", &save);
    }
    expand(h, name, &line);
}

uint64_t shards_head(const char *list, size_t n, struct sy_buf *head)
{
    struct header h = {.text = SY_BUF_INIT};
    char *copy = strndup(list, n), *save = NULL;
    uint8_t prefix[SY_SHARD_PREFIX_BYTES];

    promise(copy && sy_buf_printf(&h.text, "{"));
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        add_line(&h, line);
    sy_buf_printf(&h.text, "}");
    for (int i = 0; i < SY_SHARD_PREFIX_BYTES; i++)
        prefix[i] = (uint8_t)((uint64_t)h.text.len >> (8 * i));
    promise(sy_buf_append(head, prefix, sizeof prefix) && sy_buf_append(head, h.text.data, h.text.len));
    uint64_t file_bytes = h.text.len + sizeof prefix + h.end;
    free(copy);
    sy_buf_fini(&h.text);
    return file_bytes;
}

void shards_append(struct sy_buf *meta, enum sy_meta_kind kind, const char *name, const void *bytes, size_t n,
                   uint64_t file_bytes)
{
    struct sy_meta_record record = {kind, name, strlen(name), bytes, n, file_bytes};

    promise(sy_meta_append(meta, &record));
}

size_t shards_part(const uint8_t *data, size_t size, size_t *at)
{
    size_t begin = *at;
    const uint8_t *end = size > begin ? memmem(data + begin, size - begin, "\n--\n", 4) : NULL;
    size_t n = end ? (size_t)(end - data) - begin : size - begin;

    *at = end ? begin + n + 4 : size;
    return n;
}
