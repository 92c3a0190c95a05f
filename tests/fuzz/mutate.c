/* SPDX-License-Identifier: Apache-2.0
 * mutate.c - libFuzzer's hooks: change one part of an input, or take something of another input
 *
 * Parts are separated by a NUL byte or "\n--\n". What comes before the first brace of a part, up to five bytes, is kept, as
 * it is a mode or a length. A part that is JSON is changed as JSON, other text by lines or tags, and sometimes either by
 * bytes.
 */
#include <stdint.h>
#include <string.h>

#include "mutate.h"

#define PARTS_MAX  8
#define HEAD_BYTES 5
#define CHANGES    3 /* at most, one after the other */

/* libFuzzer calls these, and gives the first. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2, size_t size2, uint8_t *out,
                                 size_t max_out, unsigned seed);

struct part {
    size_t begin, end;
};

static int cut(const uint8_t *data, size_t size, struct part *parts)
{
    int n = 0;
    size_t at = 0;

    while (n < PARTS_MAX) {
        const uint8_t *nul = memchr(data + at, 0, size - at), *line = memmem(data + at, size - at, "\n--\n", 4);
        const uint8_t *end = !nul || (line && line < nul) ? line : nul;
        /* A length has NUL bytes too. */
        if (end == nul && nul && (size_t)(nul - data) < HEAD_BYTES)
            end = line;
        size_t stop = end && n + 1 < PARTS_MAX ? (size_t)(end - data) : size;
        parts[n++] = (struct part){at, stop};
        if (stop == size)
            break;
        at = stop + (end == line ? 4 : 1);
    }
    return n;
}

/* The JSON of a part and where it begins; NULL when there is none. */
static json_t *read_json(const uint8_t *data, const struct part *part, size_t *begin)
{
    const uint8_t *from = data + part->begin;
    size_t n = part->end - part->begin;
    const uint8_t *brace = n ? memchr(from, '{', n < HEAD_BYTES + 1 ? n : HEAD_BYTES + 1) : NULL;

    *begin = part->begin + (brace ? (size_t)(brace - from) : 0);
    return brace ? json_loadb((const char *)brace, part->end - *begin, 0, NULL) : NULL;
}

/* data with [begin, end) replaced; the old size where that is too large. */
static size_t splice(uint8_t *data, size_t size, size_t max_size, size_t begin, size_t end, const void *with, size_t n)
{
    if (size - (end - begin) + n > max_size)
        return size;
    memmove(data + begin + n, data + end, size - end);
    if (n)
        memcpy(data + begin, with, n);
    return size - (end - begin) + n;
}

static size_t splice_json(uint8_t *data, size_t size, size_t max_size, size_t begin, size_t end, json_t *root)
{
    char *text = json_dumps(root, JSON_COMPACT | JSON_ENCODE_ANY | (begin % 2 ? JSON_ENSURE_ASCII : 0));

    if (text)
        size = splice(data, size, max_size, begin, end, text, strlen(text));
    free(text);
    json_decref(root);
    return size;
}

static size_t change(uint8_t *data, size_t size, size_t max_size, struct testrand *rand)
{
    struct part parts[PARTS_MAX], part = parts[mutate_pick(rand, (size_t)cut(data, size, parts))];
    size_t begin;
    json_t *root = read_json(data, &part, &begin);
    struct sy_buf text = SY_BUF_INIT;

    if (root)
        return splice_json(data, size, max_size, begin, part.end, mutate_json(root, rand));
    mutate_text((const char *)data + part.begin, part.end - part.begin, rand, &text);
    size = splice(data, size, max_size, part.begin, part.end, text.data, text.len);
    sy_buf_fini(&text);
    return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    struct testrand rand = {seed};

    if (!size || !mutate_pick(&rand, 5))
        return LLVMFuzzerMutate(data, size, max_size);
    for (size_t n = 1 + mutate_pick(&rand, CHANGES); n > 0; n--)
        size = change(data, size, max_size, &rand);
    return size;
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2, size_t size2, uint8_t *out,
                                 size_t max_out, unsigned seed)
{
    struct testrand rand = {seed};
    struct part parts1[PARTS_MAX], parts2[PARTS_MAX];
    int n1 = cut(data1, size1, parts1), n2 = cut(data2, size2, parts2);
    size_t i = mutate_pick(&rand, (size_t)(n1 < n2 ? n1 : n2)), begin, begin2;

    if (size1 > max_out)
        return 0;
    if (size1)
        memcpy(out, data1, size1);
    json_t *root = read_json(out, &parts1[i], &begin), *from = read_json(data2, &parts2[i], &begin2);
    if (root && from && mutate_pick(&rand, 4)) {
        mutate_json_cross(root, from, &rand);
        size1 = splice_json(out, size1, max_out, begin, parts1[i].end, root);
        root = NULL;
    } else if (root || i) { /* the whole part, but a text's mode */
        size1 = splice(out, size1, max_out, parts1[i].begin, parts1[i].end, data2 + parts2[i].begin,
                       parts2[i].end - parts2[i].begin);
    }
    json_decref(root);
    json_decref(from);
    return size1;
}
