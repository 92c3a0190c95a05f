/* SPDX-License-Identifier: Apache-2.0
 * pretokenizer_read.c - "pre_tokenizer" of tokenizer.json into compiled stages
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/utf8.h"
#include "model/pattern.h"
#include "model/pretokenizer_impl.h"

#define GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* In the order of enum sy_split_behavior. */
static const char *const BEHAVIORS[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};

static enum sy_status compile(const char *where, const char *pattern, size_t len, bool literal,
                              struct sy_pretokenizer_stage *stage, struct sy_error *err)
{
    struct sy_buf text = SY_BUF_INIT;
    uint32_t options = PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_USE_OFFSET_LIMIT;
    enum sy_status st;

    if (literal) {
        options |= PCRE2_LITERAL;
        st = len > SY_PATTERN_BYTES_MAX || !sy_buf_append(&text, pattern, len)
                 ? sy_error_set(err, SY_ERR_DATA, "%s: a pattern of %zu bytes, at most %d are supported", where, len,
                                SY_PATTERN_BYTES_MAX)
                 : SY_OK;
    } else {
        options |= PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
        st = sy_pattern_translate(where, pattern, len, &text, err);
    }
    if (st)
        goto out;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    int code = PCRE2_ERROR_NOMEMORY;
    size_t at = 0;
    if (context) {
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        stage->code = pcre2_compile(text.data ? text.data : (PCRE2_SPTR) "", text.len, options, &code, &at, context);
        pcre2_compile_context_free(context);
    }
    if (!stage->code) {
        char why[160] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        st = sy_error_set(err, SY_ERR_DATA, "%s: not a regular expression that can be used: %s", where, why);
        goto out;
    }
    /* Without JIT (not built in, or memory may not be executable) the interpreter does the same, slower. */
    stage->jit = pcre2_jit_compile(stage->code, PCRE2_JIT_COMPLETE) == 0;
    snprintf(stage->where, sizeof stage->where, "%s", where);
out:
    sy_buf_fini(&text);
    return st;
}

static enum sy_status add_stage(struct sy_pretokenizer *pt, const char *where, const char *pattern, size_t len,
                                bool literal, struct sy_pretokenizer_stage **stage, struct sy_error *err)
{
    if (pt->n_stages == SY_PRETOKENIZER_STAGES_MAX)
        return sy_error_set(err, SY_ERR_DATA, "%s: more than %d pre-tokenizers in sequence", where,
                            SY_PRETOKENIZER_STAGES_MAX);
    *stage = &pt->stages[pt->n_stages];
    (*stage)->behavior = SY_SPLIT_ISOLATED;
    enum sy_status st = compile(where, pattern, len, literal, *stage, err);
    pt->n_stages += !st;
    return st;
}

static enum sy_status read_split(struct sy_pretokenizer *pt, const char *where, const json_t *json,
                                 struct sy_error *err)
{
    const json_t *pattern = json_object_get(json, "pattern"), *text = json_object_get(pattern, "Regex");
    const char *behavior = json_string_value(json_object_get(json, "behavior"));
    bool literal = !text, invert = false;
    struct sy_pretokenizer_stage *stage = NULL;
    char path[160];
    size_t which = 0;

    if (literal)
        text = json_object_get(pattern, "String");
    if (!json_is_string(text))
        return sy_error_set(err, SY_ERR_DATA, "%s.pattern: expected an object with a string \"Regex\" or \"String\"",
                            where);
    while (which < sizeof BEHAVIORS / sizeof *BEHAVIORS && (!behavior || strcmp(behavior, BEHAVIORS[which])))
        which++;
    if (which == sizeof BEHAVIORS / sizeof *BEHAVIORS)
        return sy_error_set(err, SY_ERR_DATA,
                            "%s.behavior is %.60s, supported: Removed, Isolated, MergedWithPrevious, MergedWithNext, "
                            "Contiguous",
                            where, behavior ? behavior : "not a string");
    enum sy_status st = sy_json_bool(where, json, "invert", &invert, err);
    snprintf(path, sizeof path, "%s.pattern.%s", where, literal ? "String" : "Regex");
    if (!st)
        st = add_stage(pt, path, json_string_value(text), json_string_length(text), literal, &stage, err);
    if (st)
        return st;
    stage->behavior = (enum sy_split_behavior)which;
    stage->invert = invert;
    return SY_OK;
}

static enum sy_status read_digits(struct sy_pretokenizer *pt, const char *where, const json_t *json,
                                  struct sy_error *err)
{
    bool individual = false;
    struct sy_pretokenizer_stage *stage = NULL;
    enum sy_status st = sy_json_bool(where, json, "individual_digits", &individual, err);

    if (!st)
        st = add_stage(pt, where, "\\p{N}", 5, false, &stage, err);
    if (st)
        return st;
    stage->behavior = individual ? SY_SPLIT_ISOLATED : SY_SPLIT_CONTIGUOUS;
    return SY_OK;
}

static enum sy_status read_byte_level(struct sy_pretokenizer *pt, const char *where, const json_t *json,
                                      struct sy_error *err)
{
    bool prefix_space = true, use_regex = true;
    struct sy_pretokenizer_stage *stage = NULL;
    enum sy_status st = sy_json_bool(where, json, "add_prefix_space", &prefix_space, err);

    if (!st)
        st = sy_json_bool(where, json, "use_regex", &use_regex, err);
    if (!st && use_regex)
        st = add_stage(pt, where, GPT2_PATTERN, strlen(GPT2_PATTERN), false, &stage, err);
    if (st)
        return st;
    pt->byte_level = true;
    if (use_regex)
        stage->prefix_space = prefix_space;
    else
        pt->prefix_space = prefix_space;
    return SY_OK;
}

/* "prepend_scheme", which old files do not have, and "add_prefix_space", which must not contradict it. */
static enum sy_status read_prepend_scheme(const char *where, const json_t *json, enum sy_prepend *out,
                                          struct sy_error *err)
{
    static const char *const SCHEMES[] = {"always", "first", "never"};
    const json_t *scheme = json_object_get(json, "prepend_scheme");
    bool prefix_space = true;
    char shown[80];
    size_t which = 0;

    while (scheme && which < 3 && (!json_is_string(scheme) || strcmp(json_string_value(scheme), SCHEMES[which])))
        which++;
    if (which == 3)
        return sy_error_set(err, SY_ERR_DATA, "%s.prepend_scheme is %s, supported: always, first, never", where,
                            sy_json_show(scheme, shown, sizeof shown));
    *out = (enum sy_prepend)which;
    enum sy_status st = sy_json_bool(where, json, "add_prefix_space", &prefix_space, err);
    if (!st && !prefix_space && *out != SY_PREPEND_NEVER)
        st = sy_error_set(err, SY_ERR_DATA, "%s.add_prefix_space is false, but prepend_scheme is not \"never\"", where);
    return st;
}

static enum sy_status read_metaspace(struct sy_pretokenizer *pt, const char *where, const json_t *json,
                                     struct sy_error *err)
{
    const json_t *replacement = json_object_get(json, "replacement");
    const char *text = json_string_value(replacement);
    size_t len = text ? json_string_length(replacement) : 0;
    struct sy_pretokenizer_stage *stage = NULL;
    bool split = true;
    uint32_t c;

    if (pt->n_stages)
        return sy_error_set(err, SY_ERR_DATA, "%s: Metaspace after another pre-tokenizer is not supported", where);
    if (!len || !text[0] || (size_t)sy_utf8_get((const uint8_t *)text, &c) != len)
        return sy_error_set(err, SY_ERR_DATA, "%s.replacement: expected a string of one character", where);
    enum sy_status st = read_prepend_scheme(where, json, &pt->prepend, err);
    if (!st)
        st = sy_json_bool(where, json, "split", &split, err);
    if (!st && split)
        st = add_stage(pt, where, text, len, true, &stage, err);
    if (stage)
        stage->behavior = SY_SPLIT_MERGED_WITH_NEXT;
    memcpy(pt->metaspace, text, len);
    return st;
}

static enum sy_status read_sequence(struct sy_pretokenizer *pt, const char *where, const json_t *json,
                                    struct sy_error *err);

static const struct kind {
    const char *type;
    enum sy_status (*read)(struct sy_pretokenizer *pt, const char *where, const json_t *json, struct sy_error *err);
} KINDS[] = {
    {"Split", read_split},         {"Digits", read_digits},     {"ByteLevel", read_byte_level},
    {"Metaspace", read_metaspace}, {"Sequence", read_sequence},
};

static enum sy_status read_any(struct sy_pretokenizer *pt, const char *where, const json_t *json, struct sy_error *err)
{
    const json_t *type = json_object_get(json, "type");
    char shown[80];

    if (pt->byte_level || pt->metaspace[0])
        return sy_error_set(err, SY_ERR_DATA, "%s: a pre-tokenizer after %s is not supported", where,
                            pt->byte_level ? "ByteLevel" : "Metaspace");
    for (size_t i = 0; type && json_is_string(type) && i < sizeof KINDS / sizeof *KINDS; i++) {
        if (!strcmp(json_string_value(type), KINDS[i].type))
            return KINDS[i].read(pt, where, json, err);
    }
    return sy_error_set(err, SY_ERR_DATA, "%s.type is %s, supported: Split, Digits, ByteLevel, Metaspace, Sequence",
                        where, type ? sy_json_show(type, shown, sizeof shown) : "missing");
}

static enum sy_status read_sequence(struct sy_pretokenizer *pt, const char *where, const json_t *json,
                                    struct sy_error *err)
{
    const json_t *list = json_object_get(json, "pretokenizers");
    enum sy_status st = SY_OK;

    if (!json_is_array(list))
        return sy_error_set(err, SY_ERR_DATA, "%s.pretokenizers: expected an array", where);
    for (size_t i = 0; i < json_array_size(list) && !st; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s.pretokenizers[%zu]", where, i);
        st = read_any(pt, path, json_array_get(list, i), err);
    }
    return st;
}

enum sy_status sy_pretokenizer_create(const char *name, const json_t *json, struct sy_pretokenizer **pt,
                                      struct sy_error *err)
{
    enum sy_status st = SY_OK;

    *pt = calloc(1, sizeof **pt);
    if (!*pt)
        return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory for the pre-tokenizer", name);
    if (json && !json_is_null(json))
        st = read_any(*pt, "pre_tokenizer", json, err);
    if (st) {
        sy_error_prefix(err, "%s", name);
        sy_pretokenizer_destroy(*pt);
        *pt = NULL;
    }
    return st;
}

void sy_pretokenizer_destroy(struct sy_pretokenizer *pt)
{
    if (!pt)
        return;
    for (int i = 0; i < SY_PRETOKENIZER_STAGES_MAX; i++)
        pcre2_code_free(pt->stages[i].code);
    free(pt);
}

bool sy_pretokenizer_is_byte_level(const struct sy_pretokenizer *pt)
{
    return pt->byte_level;
}
