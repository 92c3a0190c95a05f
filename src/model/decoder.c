/* SPDX-License-Identifier: Apache-2.0
 * decoder.c - tokens into text
 */
#include "model/decoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/bytelevel.h"

#define CONTENT_BYTES_MAX 16
#define STRIP_MAX         16

/* Place of a kind in a Sequence. */
enum { REPLACE = 1, BYTE_FALLBACK, FUSE, STRIP, BYTE_LEVEL };

struct reading {
    struct sy_decoder *decoder;
    int place; /* of the last one read, 0: none yet */
    struct sy_error *err;
};

static enum sy_status copy_string(const struct reading *r, const char *where, const char *key, const json_t *value,
                                  size_t min, char **out, size_t *len)
{
    if (!json_is_string(value) || json_string_length(value) < min || json_string_length(value) > CONTENT_BYTES_MAX)
        return sy_error_set(r->err, SY_ERR_DATA, "%s.%s: expected a string of %zu to %d bytes", where, key, min,
                            CONTENT_BYTES_MAX);
    *len = json_string_length(value);
    *out = malloc(*len + 1);
    if (!*out)
        return sy_error_set(r->err, SY_ERR_SYSTEM, "%s.%s: no memory", where, key);
    memcpy(*out, json_string_value(value), *len + 1);
    return SY_OK;
}

static enum sy_status read_replace(struct reading *r, const char *where, const json_t *json)
{
    struct sy_decoder *d = r->decoder;
    enum sy_status st = copy_string(r, where, "pattern.String",
                                    json_object_get(json_object_get(json, "pattern"), "String"), 1, &d->find,
                                    &d->find_len);

    if (!st)
        st = copy_string(r, where, "content", json_object_get(json, "content"), 0, &d->content, &d->content_len);
    return st;
}

static enum sy_status read_byte_fallback(struct reading *r, const char *where, const json_t *json)
{
    (void)where, (void)json;
    r->decoder->byte_fallback = true;
    return SY_OK;
}

/* What comes after it sees one text; pieces are always put together here. */
static enum sy_status read_fuse(struct reading *r, const char *where, const json_t *json)
{
    (void)r, (void)where, (void)json;
    return SY_OK;
}

static enum sy_status read_strip(struct reading *r, const char *where, const json_t *json)
{
    const char *content = json_string_value(json_object_get(json, "content"));
    int64_t start = 0, stop = 0;

    if (r->place != FUSE)
        return sy_error_set(r->err, SY_ERR_DATA, "%s: Strip without Fuse before it is not supported", where);
    if (!content || strcmp(content, " "))
        return sy_error_set(r->err, SY_ERR_DATA, "%s.content: expected \" \"", where);
    enum sy_status st = sy_json_int(where, json, "start", 0, STRIP_MAX, &start, r->err);
    if (!st)
        st = sy_json_int(where, json, "stop", 0, 0, &stop, r->err);
    r->decoder->n_strip = (int)start;
    return st;
}

static enum sy_status read_byte_level(struct reading *r, const char *where, const json_t *json)
{
    (void)json;
    if (r->place)
        return sy_error_set(r->err, SY_ERR_DATA, "%s: ByteLevel together with another decoder is not supported", where);
    r->decoder->byte_level = true;
    return SY_OK;
}

static enum sy_status read_sequence(struct reading *r, const char *where, const json_t *json);

static const struct kind {
    const char *type;
    int place; /* 0: any */
    enum sy_status (*read)(struct reading *r, const char *where, const json_t *json);
} KINDS[] = {
    {"ByteLevel", BYTE_LEVEL, read_byte_level},
    {"Replace", REPLACE, read_replace},
    {"ByteFallback", BYTE_FALLBACK, read_byte_fallback},
    {"Fuse", FUSE, read_fuse},
    {"Strip", STRIP, read_strip},
    {"Sequence", 0, read_sequence},
};

static enum sy_status read_any(struct reading *r, const char *where, const json_t *json)
{
    const json_t *type = json_object_get(json, "type");
    char shown[80];

    for (size_t i = 0; type && json_is_string(type) && i < sizeof KINDS / sizeof *KINDS; i++) {
        const struct kind *kind = &KINDS[i];
        if (strcmp(json_string_value(type), kind->type))
            continue;
        if (kind->place && kind->place <= r->place)
            return sy_error_set(r->err, SY_ERR_DATA,
                                "%s: %s in this place is not supported, expected the order Replace, ByteFallback, "
                                "Fuse, Strip, or ByteLevel alone",
                                where, kind->type);
        enum sy_status st = kind->read(r, where, json);
        if (kind->place)
            r->place = kind->place;
        return st;
    }
    return sy_error_set(r->err, SY_ERR_DATA,
                        "%s.type is %s, supported: ByteLevel, Replace, ByteFallback, Fuse, Strip, Sequence", where,
                        type ? sy_json_show(type, shown, sizeof shown) : "missing");
}

static enum sy_status read_sequence(struct reading *r, const char *where, const json_t *json)
{
    const json_t *list = json_object_get(json, "decoders");
    enum sy_status st = SY_OK;

    if (!json_is_array(list))
        return sy_error_set(r->err, SY_ERR_DATA, "%s.decoders: expected an array", where);
    for (size_t i = 0; i < json_array_size(list) && !st; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s.decoders[%zu]", where, i);
        st = read_any(r, path, json_array_get(list, i));
    }
    return st;
}

enum sy_status sy_decoder_init(struct sy_decoder *decoder, const char *name, const json_t *json, struct sy_error *err)
{
    struct reading r = {.decoder = decoder, .err = err};

    *decoder = (struct sy_decoder){0};
    enum sy_status st = read_any(&r, "decoder", json);
    if (st) {
        sy_error_prefix(err, "%s", name);
        sy_decoder_fini(decoder);
    }
    return st;
}

void sy_decoder_fini(struct sy_decoder *decoder)
{
    free(decoder->find);
    free(decoder->content);
    *decoder = (struct sy_decoder){0};
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* The byte that "<0xNN>" names, or -1. */
static int named_byte(const char *token, size_t len)
{
    if (len != 6 || memcmp(token, "<0x", 3) || token[5] != '>')
        return -1;
    int high = hex_digit(token[3]), low = hex_digit(token[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static enum sy_status no_memory(struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the text of a token");
}

enum sy_status sy_decoder_token(const struct sy_decoder *decoder, const char *token, size_t len, struct sy_buf *out,
                                bool *is_byte, struct sy_error *err)
{
    *is_byte = false;
    if (!sy_buf_reserve(out, len))
        return no_memory(err);
    if (decoder->byte_level) {
        size_t n;
        if (sy_bytelevel_decode(token, len, out->data + out->len, &n)) {
            out->len += n;
            return SY_OK;
        }
    }
    int byte = decoder->byte_fallback ? named_byte(token, len) : -1;
    if (byte >= 0) {
        out->data[out->len++] = (uint8_t)byte;
        *is_byte = true;
        return SY_OK;
    }
    for (const char *hit, *end = token + len; decoder->find && token < end; token = hit + decoder->find_len) {
        hit = memmem(token, (size_t)(end - token), decoder->find, decoder->find_len);
        if (!hit)
            break;
        if (!sy_buf_append(out, token, (size_t)(hit - token)) ||
            !sy_buf_append(out, decoder->content, decoder->content_len))
            return no_memory(err);
        len = (size_t)(end - hit) - decoder->find_len;
    }
    return sy_buf_append(out, token, len) ? SY_OK : no_memory(err);
}
