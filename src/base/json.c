/* SPDX-License-Identifier: Apache-2.0
 * json.c - jansson with limits
 */
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* jansson recurses per level, so depth is bounded before it sees the text. */
static bool depth_within(const char *text, size_t len, int max_depth)
{
    int depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > max_depth)
                return false;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return true;
}

enum sy_status sy_json_parse(const char *name, const char *text, size_t len, int max_depth, json_t **root,
                             struct sy_error *err)
{
    json_error_t at;

    if (!depth_within(text, len, max_depth))
        return sy_error_set(err, SY_ERR_DATA, "%s: nested deeper than %d levels", name, max_depth);
    *root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &at);
    if (!*root)
        return sy_error_set(err, SY_ERR_DATA, "%s:%d:%d: not valid JSON: %s", name, at.line, at.column, at.text);
    return SY_OK;
}

/* {address of an object: {key: true}} */
static _Thread_local json_t *watching;

static const char *address(const json_t *object, char out[32])
{
    snprintf(out, 32, "%p", (const void *)object);
    return out;
}

void sy_json_watch(json_t *asked)
{
    watching = asked;
}

bool sy_json_asked(const json_t *asked, const json_t *object, const char *key)
{
    char text[32];

    return json_object_get(json_object_get(asked, address(object, text)), key) != NULL;
}

json_t *sy_json_get(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key), *keys;
    char text[32];

    if (!value || !watching)
        return value;
    keys = json_object_get(watching, address(object, text));
    if (!keys && !json_object_set_new(watching, text, json_object()))
        keys = json_object_get(watching, text);
    /* Without memory for the note the key counts as one that nobody asked for. */
    json_object_set_new(keys, key, json_true());
    return value;
}

const char *sy_json_show(const json_t *value, char *out, size_t out_bytes)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        snprintf(out, out_bytes, "an object");
        break;
    case JSON_ARRAY:
        snprintf(out, out_bytes, "an array of %zu", json_array_size(value));
        break;
    case JSON_STRING:
        snprintf(out, out_bytes, "\"%.60s\"", json_string_value(value));
        break;
    case JSON_INTEGER:
        snprintf(out, out_bytes, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        snprintf(out, out_bytes, "%g", json_real_value(value));
        break;
    case JSON_TRUE:
        snprintf(out, out_bytes, "true");
        break;
    case JSON_FALSE:
        snprintf(out, out_bytes, "false");
        break;
    case JSON_NULL:
        snprintf(out, out_bytes, "null");
        break;
    }
    return out;
}

enum sy_status sy_json_int(const char *name, const json_t *object, const char *key, int64_t min, int64_t max,
                           int64_t *out, struct sy_error *err)
{
    const json_t *value = sy_json_get(object, key);
    char shown[80];

    if (!value || json_is_null(value))
        return SY_OK;
    /* Some writers print integers as 32.0. */
    if (json_is_real(value) && json_real_value(value) == floor(json_real_value(value)) &&
        fabs(json_real_value(value)) < 9e15 && json_real_value(value) >= (double)min &&
        json_real_value(value) <= (double)max) {
        *out = (int64_t)json_real_value(value);
        return SY_OK;
    }
    if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max)
        return sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" is %s, expected an integer from %" PRId64 " to %" PRId64,
                            name, key, sy_json_show(value, shown, sizeof shown), min, max);
    *out = json_integer_value(value);
    return SY_OK;
}

enum sy_status sy_json_real(const char *name, const json_t *object, const char *key, double min, double max,
                            double *out, struct sy_error *err)
{
    const json_t *value = sy_json_get(object, key);
    char shown[80];

    if (!value || json_is_null(value))
        return SY_OK;
    double number = json_number_value(value);
    if (!json_is_number(value) || !isfinite(number) || number < min || number > max)
        return sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" is %s, expected a number from %g to %g", name, key,
                            sy_json_show(value, shown, sizeof shown), min, max);
    *out = number;
    return SY_OK;
}

enum sy_status sy_json_bool(const char *name, const json_t *object, const char *key, bool *out, struct sy_error *err)
{
    const json_t *value = sy_json_get(object, key);
    char shown[80];

    if (!value || json_is_null(value))
        return SY_OK;
    if (!json_is_boolean(value))
        return sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" is %s, expected true or false", name, key,
                            sy_json_show(value, shown, sizeof shown));
    *out = json_is_true(value);
    return SY_OK;
}
