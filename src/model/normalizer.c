/* SPDX-License-Identifier: Apache-2.0
 * normalizer.c - steps over the whole text
 */
#include "model/normalizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/nfc.h"

#define STEPS_MAX         16
#define CONTENT_BYTES_MAX 256

/* Steps together make a text at most this many times longer: NFC triples it at worst, a metaspace for a space too. */
#define GROWTH_MAX  16
#define GROWTH_BASE 65536

enum outcome { SAME, CHANGED, NO_MEMORY, TOO_LONG };

struct step;

/* Change text into out, of at most limit bytes. SAME: nothing had to change and out is empty. */
typedef enum outcome (*step_fn)(const struct step *step, const uint8_t *text, size_t len, size_t limit,
                                struct sy_buf *out);

struct step {
    step_fn apply;
    char *find, *content; /* owned; of Replace and Prepend */
    size_t find_len, content_len;
};

struct sy_normalizer {
    struct step steps[STEPS_MAX];
    int n_steps;
};

static enum outcome apply_nfc(const struct step *step, const uint8_t *text, size_t len, size_t limit,
                              struct sy_buf *out)
{
    size_t same = sy_nfc_prefix(text, len);

    (void)step, (void)limit;
    if (same == len)
        return SAME;
    return !sy_buf_append(out, text, same) || sy_nfc_append(text + same, len - same, out) ? NO_MEMORY : CHANGED;
}

static enum outcome apply_prepend(const struct step *step, const uint8_t *text, size_t len, size_t limit,
                                  struct sy_buf *out)
{
    (void)limit;
    if (!len)
        return SAME;
    return sy_buf_append(out, step->content, step->content_len) && sy_buf_append(out, text, len) ? CHANGED : NO_MEMORY;
}

static enum outcome apply_replace(const struct step *step, const uint8_t *text, size_t len, size_t limit,
                                  struct sy_buf *out)
{
    const uint8_t *end = text + len, *hit = memmem(text, len, step->find, step->find_len);

    if (!hit)
        return SAME;
    for (; hit; hit = memmem(text, (size_t)(end - text), step->find, step->find_len)) {
        if (!sy_buf_append(out, text, (size_t)(hit - text)) || !sy_buf_append(out, step->content, step->content_len))
            return NO_MEMORY;
        if (out->len > limit)
            return TOO_LONG;
        text = hit + step->find_len;
    }
    return sy_buf_append(out, text, (size_t)(end - text)) ? CHANGED : NO_MEMORY;
}

/* ---- reading ---- */

/* Copy a string of at most CONTENT_BYTES_MAX bytes. */
static enum sy_status copy_string(const char *where, const char *key, const json_t *value, bool may_be_empty,
                                  char **out, size_t *len, struct sy_error *err)
{
    if (!json_is_string(value) || json_string_length(value) > CONTENT_BYTES_MAX ||
        (!json_string_length(value) && !may_be_empty))
        return sy_error_set(err, SY_ERR_DATA, "%s.%s: expected a string of %d to %d bytes", where, key, !may_be_empty,
                            CONTENT_BYTES_MAX);
    *len = json_string_length(value);
    *out = malloc(*len + 1);
    if (!*out)
        return sy_error_set(err, SY_ERR_SYSTEM, "%s.%s: no memory", where, key);
    memcpy(*out, json_string_value(value), *len + 1);
    return SY_OK;
}

static enum sy_status read_nfc(struct sy_normalizer *n, const char *where, const json_t *json, struct sy_error *err)
{
    (void)where, (void)json, (void)err;
    n->steps[n->n_steps++].apply = apply_nfc;
    return SY_OK;
}

static enum sy_status read_prepend(struct sy_normalizer *n, const char *where, const json_t *json, struct sy_error *err)
{
    struct step *step = &n->steps[n->n_steps++];

    step->apply = apply_prepend;
    return copy_string(where, "prepend", json_object_get(json, "prepend"), true, &step->content, &step->content_len,
                       err);
}

static enum sy_status read_replace(struct sy_normalizer *n, const char *where, const json_t *json, struct sy_error *err)
{
    struct step *step = &n->steps[n->n_steps++];
    const json_t *pattern = json_object_get(json, "pattern");

    step->apply = apply_replace;
    if (json_object_get(pattern, "Regex"))
        return sy_error_set(err, SY_ERR_DATA, "%s.pattern is a Regex, supported: String", where);
    enum sy_status st = copy_string(where, "pattern.String", json_object_get(pattern, "String"), false, &step->find,
                                    &step->find_len, err);
    if (!st)
        st = copy_string(where, "content", json_object_get(json, "content"), true, &step->content, &step->content_len,
                         err);
    return st;
}

static enum sy_status read_sequence(struct sy_normalizer *n, const char *where, const json_t *json,
                                    struct sy_error *err);

static const struct kind {
    const char *type;
    enum sy_status (*read)(struct sy_normalizer *n, const char *where, const json_t *json, struct sy_error *err);
} KINDS[] = {
    {"NFC", read_nfc},
    {"Prepend", read_prepend},
    {"Replace", read_replace},
    {"Sequence", read_sequence},
};

static enum sy_status read_any(struct sy_normalizer *n, const char *where, const json_t *json, struct sy_error *err)
{
    const json_t *type = json_object_get(json, "type");
    char shown[80];

    if (n->n_steps == STEPS_MAX)
        return sy_error_set(err, SY_ERR_DATA, "%s: more than %d normalizers in sequence", where, STEPS_MAX);
    for (size_t i = 0; type && json_is_string(type) && i < sizeof KINDS / sizeof *KINDS; i++) {
        if (!strcmp(json_string_value(type), KINDS[i].type))
            return KINDS[i].read(n, where, json, err);
    }
    return sy_error_set(err, SY_ERR_DATA, "%s.type is %s, supported: NFC, Prepend, Replace, Sequence", where,
                        type ? sy_json_show(type, shown, sizeof shown) : "missing");
}

static enum sy_status read_sequence(struct sy_normalizer *n, const char *where, const json_t *json,
                                    struct sy_error *err)
{
    const json_t *list = json_object_get(json, "normalizers");
    enum sy_status st = SY_OK;

    if (!json_is_array(list))
        return sy_error_set(err, SY_ERR_DATA, "%s.normalizers: expected an array", where);
    for (size_t i = 0; i < json_array_size(list) && !st; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s.normalizers[%zu]", where, i);
        st = read_any(n, path, json_array_get(list, i), err);
    }
    return st;
}

enum sy_status sy_normalizer_create(const char *name, const json_t *json, struct sy_normalizer **normalizer,
                                    struct sy_error *err)
{
    enum sy_status st = SY_OK;

    *normalizer = calloc(1, sizeof **normalizer);
    if (!*normalizer)
        return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory for the normalizer", name);
    if (json && !json_is_null(json))
        st = read_any(*normalizer, "normalizer", json, err);
    if (st) {
        sy_error_prefix(err, "%s", name);
        sy_normalizer_destroy(*normalizer);
        *normalizer = NULL;
    }
    return st;
}

void sy_normalizer_destroy(struct sy_normalizer *normalizer)
{
    if (!normalizer)
        return;
    for (int i = 0; i < STEPS_MAX; i++) {
        free(normalizer->steps[i].find);
        free(normalizer->steps[i].content);
    }
    free(normalizer);
}

enum sy_status sy_normalizer_apply(const struct sy_normalizer *normalizer, struct sy_buf scratch[2],
                                   const uint8_t **text, size_t *len, struct sy_error *err)
{
    size_t limit = GROWTH_BASE + GROWTH_MAX * *len;
    int which = 0;

    for (int i = 0; i < normalizer->n_steps; i++) {
        const struct step *step = &normalizer->steps[i];
        scratch[which].len = 0;
        enum outcome outcome = step->apply(step, *text, *len, limit, &scratch[which]);
        if (outcome == NO_MEMORY)
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory to normalise a text of %zu bytes", *len);
        if (outcome == TOO_LONG || scratch[which].len > limit)
            return sy_error_set(err, SY_ERR_DATA, "the tokenizer's normalizer makes a text more than %d times longer",
                                GROWTH_MAX);
        if (outcome == CHANGED) {
            *text = scratch[which].data;
            *len = scratch[which].len;
            which ^= 1;
        }
    }
    return SY_OK;
}
