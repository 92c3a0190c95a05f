/* SPDX-License-Identifier: Apache-2.0
 * template.c - parsing a template once, and rendering it with variables
 */
#include "chat/template.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/render.h"

#define TREE_BYTES_MAX ((size_t)256 << 20)

const struct sy_template_limits sy_template_limits = {
    .steps = 500000000,
    .memory_bytes = (size_t)512 << 20,
    .out_bytes = (size_t)256 << 20,
};

struct sy_template {
    char *name;
    struct sy_region region;
    struct sy_node *root;
};

enum sy_status sy_template_parse(const char *name, const char *text, size_t len, struct sy_template **tmpl,
                                 struct sy_error *err)
{
    struct sy_template *t = calloc(1, sizeof *t);
    struct sy_tokens tokens = {0};

    *tmpl = NULL;
    if (t)
        t->name = strdup(name);
    if (!t || !t->name) {
        free(t);
        return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory for the template", name);
    }
    t->region.bytes_max = TREE_BYTES_MAX;
    enum sy_status st = SY_OK;
    if (len > SY_TEMPLATE_BYTES_MAX)
        st = sy_error_set(err, SY_ERR_DATA, "%s: the template has %zu bytes, expected at most %zu", name, len,
                          SY_TEMPLATE_BYTES_MAX);
    if (!st)
        st = sy_lex(name, text, len, &t->region, &tokens, err);
    if (!st)
        st = sy_tree_parse(name, &tokens, &t->region, &t->root, err);
    free(tokens.at);
    if (st)
        sy_template_destroy(t);
    else
        *tmpl = t;
    return st;
}

void sy_template_destroy(struct sy_template *tmpl)
{
    if (!tmpl)
        return;
    sy_region_fini(&tmpl->region);
    free(tmpl->name);
    free(tmpl);
}

/* ---- what the files that compute share ---- */

bool sy_fail(struct sy_render *r, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    if (r->st)
        return false;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    r->st = r->at ? sy_error_set(r->err, SY_ERR_DATA, "%s:%d:%d: %s", r->name, r->at->line, r->at->column, text)
                  : sy_error_set(r->err, SY_ERR_DATA, "%s: %s", r->name, text);
    return false;
}

bool sy_charge(struct sy_render *r, size_t n)
{
    /* Bytes that are only looked at or moved are cheap. */
    uint64_t steps = 1 + n / 8;

    if (steps > r->steps_left)
        return sy_fail(r, "the template takes too many steps");
    r->steps_left -= steps;
    return true;
}

void *sy_take(struct sy_render *r, size_t n)
{
    void *memory = sy_region_take(&r->region, n);

    if (!memory)
        sy_fail(r, "the template takes too much memory");
    return memory;
}

bool sy_enter(struct sy_render *r)
{
    return ++r->value_depth <= SY_VALUE_DEPTH_MAX || sy_fail(r, "a value is nested too deep");
}

void sy_leave(struct sy_render *r)
{
    r->value_depth--;
}

/* ---- variables ---- */

static bool from_json(struct sy_render *r, const json_t *json, struct sy_value *out);

static bool from_text(struct sy_render *r, const char *bytes, size_t len, struct sy_value *out)
{
    struct sy_text *text = sy_take(r, sizeof *text);

    if (!text)
        return false;
    /* The caller's JSON outlives the rendering. */
    *text = (struct sy_text){.bytes = bytes, .len = len};
    *out = (struct sy_value){.kind = SY_VALUE_TEXT, .as.text = text};
    return true;
}

static bool from_array(struct sy_render *r, const json_t *json, struct sy_value *out)
{
    struct sy_list *list;

    if (!sy_list_new(r, SY_LIST_LIST, json_array_size(json), &list, out))
        return false;
    for (size_t i = 0; i < list->n; i++)
        if (!from_json(r, json_array_get(json, i), &list->at[i]))
            return false;
    return true;
}

static bool from_object(struct sy_render *r, const json_t *json, struct sy_value *out)
{
    if (!sy_dict_new(r, SY_VALUE_DICT, json_object_size(json), out))
        return false;
    struct sy_dict *dict = out->as.dict;
    for (void *iter = json_object_iter((json_t *)(uintptr_t)json); iter;
         iter = json_object_iter_next((json_t *)(uintptr_t)json, iter)) {
        struct sy_pair *pair = &dict->at[dict->n++];
        const char *key = json_object_iter_key(iter);
        if (!from_text(r, key, strlen(key), &pair->key) || !from_json(r, json_object_iter_value(iter), &pair->value))
            return false;
    }
    return true;
}

static bool from_json(struct sy_render *r, const json_t *json, struct sy_value *out)
{
    bool good = sy_charge(r, 1) && sy_enter(r);

    *out = sy_value_none();
    if (!good)
        return false;
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        good = from_object(r, json, out);
        break;
    case JSON_ARRAY:
        good = from_array(r, json, out);
        break;
    case JSON_STRING:
        good = from_text(r, json_string_value(json), json_string_length(json), out);
        break;
    case JSON_INTEGER:
        *out = sy_value_int(json_integer_value(json));
        break;
    case JSON_REAL:
        *out = sy_value_real(json_real_value(json));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = sy_value_bool(json_is_true(json));
        break;
    case JSON_NULL:
        break;
    }
    sy_leave(r);
    return good;
}

enum sy_status sy_template_render(const struct sy_template *tmpl, const json_t *variables,
                                  const struct sy_template_limits *limits, time_t now, struct sy_buf *out,
                                  struct sy_error *err)
{
    struct sy_render r = {.name = tmpl->name,
                          .region = {.bytes_max = limits->memory_bytes},
                          .out = out,
                          .steps_left = limits->steps,
                          .bytes_left = limits->out_bytes,
                          .now = now,
                          .err = err};
    size_t before = out->len;
    struct sy_value root;

    if (from_json(&r, variables, &root)) {
        r.variables = root.as.dict;
        r.scope = sy_scope_new(&r, NULL);
        if (r.scope)
            sy_run(&r, tmpl->root);
    }
    sy_region_fini(&r.region);
    if (r.st)
        out->len = before;
    return r.st;
}
