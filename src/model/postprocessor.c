/* SPDX-License-Identifier: Apache-2.0
 * postprocessor.c - templates around a text
 */
#include "model/postprocessor.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

#define ADDED_IDS_MAX 1024 /* around one text */

struct reading {
    struct sy_postprocessor *post;
    const struct sy_vocab *vocab;
    bool has_template;
    struct sy_error *err;
};

/* Append the ids that special_tokens[name].ids has. */
static enum sy_status append_special(const struct reading *r, const char *where, const json_t *json, const json_t *name,
                                     struct sy_buf *out)
{
    const json_t *special = json_is_string(name)
                                ? json_object_get(json_object_get(json, "special_tokens"), json_string_value(name))
                                : NULL;
    const json_t *ids = json_object_get(special, "ids");
    char shown[80];

    if (!json_is_array(ids))
        return sy_error_set(r->err, SY_ERR_DATA, "%s.special_tokens: no array \"ids\" for %s, which \"single\" names",
                            where, name ? sy_json_show(name, shown, sizeof shown) : "nothing");
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *value = json_array_get(ids, i);
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id > SY_VOCAB_ID_MAX || !sy_vocab_has(r->vocab, (int32_t)id))
            return sy_error_set(r->err, SY_ERR_DATA, "%s.special_tokens: an id of %s is %s, not one of the vocabulary",
                                where, json_string_value(name), sy_json_show(value, shown, sizeof shown));
        if (out->len / sizeof(int32_t) >= ADDED_IDS_MAX)
            return sy_error_set(r->err, SY_ERR_DATA, "%s: more than %d ids around a text", where, ADDED_IDS_MAX);
        if (!sy_buf_append(out, &(int32_t){(int32_t)id}, sizeof(int32_t)))
            return sy_error_set(r->err, SY_ERR_SYSTEM, "%s: no memory", where);
    }
    return SY_OK;
}

static enum sy_status read_template(struct reading *r, const char *where, const json_t *json)
{
    const json_t *single = json_object_get(json, "single");
    int n_texts = 0;
    enum sy_status st = SY_OK;

    if (r->has_template)
        return sy_error_set(r->err, SY_ERR_DATA, "%s: a second TemplateProcessing is not supported", where);
    r->has_template = true;
    for (size_t i = 0; i < json_array_size(single) && !st; i++) {
        const json_t *part = json_array_get(single, i), *special = json_object_get(part, "SpecialToken");
        const char *id = json_string_value(json_object_get(json_object_get(part, "Sequence"), "id"));
        if (special)
            st = append_special(r, where, json, json_object_get(special, "id"),
                                n_texts ? &r->post->after : &r->post->before);
        else if (id && !strcmp(id, "A"))
            n_texts++;
        else
            st = sy_error_set(r->err, SY_ERR_DATA, "%s.single[%zu]: expected a SpecialToken or the Sequence A", where,
                              i);
    }
    if (!st && n_texts != 1)
        st = sy_error_set(r->err, SY_ERR_DATA,
                          "%s.single: expected an array with the Sequence A once, found it %d times", where, n_texts);
    return st;
}

static enum sy_status read_byte_level(struct reading *r, const char *where, const json_t *json)
{
    (void)r, (void)where, (void)json;
    return SY_OK;
}

static enum sy_status read_sequence(struct reading *r, const char *where, const json_t *json);

static const struct kind {
    const char *type;
    enum sy_status (*read)(struct reading *r, const char *where, const json_t *json);
} KINDS[] = {
    {"TemplateProcessing", read_template},
    {"ByteLevel", read_byte_level},
    {"Sequence", read_sequence},
};

static enum sy_status read_any(struct reading *r, const char *where, const json_t *json)
{
    const json_t *type = json_object_get(json, "type");
    char shown[80];

    for (size_t i = 0; type && json_is_string(type) && i < sizeof KINDS / sizeof *KINDS; i++) {
        if (!strcmp(json_string_value(type), KINDS[i].type))
            return KINDS[i].read(r, where, json);
    }
    return sy_error_set(r->err, SY_ERR_DATA, "%s.type is %s, supported: TemplateProcessing, ByteLevel, Sequence", where,
                        type ? sy_json_show(type, shown, sizeof shown) : "missing");
}

static enum sy_status read_sequence(struct reading *r, const char *where, const json_t *json)
{
    const json_t *list = json_object_get(json, "processors");
    enum sy_status st = SY_OK;

    if (!json_is_array(list))
        return sy_error_set(r->err, SY_ERR_DATA, "%s.processors: expected an array", where);
    for (size_t i = 0; i < json_array_size(list) && !st; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s.processors[%zu]", where, i);
        st = read_any(r, path, json_array_get(list, i));
    }
    return st;
}

enum sy_status sy_postprocessor_init(struct sy_postprocessor *post, const char *name, const json_t *json,
                                     const struct sy_vocab *vocab, struct sy_error *err)
{
    struct reading r = {.post = post, .vocab = vocab, .err = err};
    enum sy_status st = SY_OK;

    *post = (struct sy_postprocessor){SY_BUF_INIT, SY_BUF_INIT};
    if (json && !json_is_null(json))
        st = read_any(&r, "post_processor", json);
    if (st) {
        sy_error_prefix(err, "%s", name);
        sy_postprocessor_fini(post);
    }
    return st;
}

void sy_postprocessor_fini(struct sy_postprocessor *post)
{
    sy_buf_fini(&post->before);
    sy_buf_fini(&post->after);
}
