/* SPDX-License-Identifier: Apache-2.0
 * json.h - reading JSON that somebody else wrote: limits, and errors with a position
 *
 * jansson does the parsing. A depth and size limit is put on everything; duplicate keys are refused.
 */
#ifndef SY_BASE_JSON_H
#define SY_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Parse len bytes of text. name stands before every message ("config.json", "requests.jsonl:17"). max_depth bounds the
 * nesting and is checked before anything is built. The caller owns *root (json_decref).
 * Errors: SY_ERR_DATA "name:line:column: ..." */
enum sy_status sy_json_parse(const char *name, const char *text, size_t len, int max_depth, json_t **root,
                             struct sy_error *err);

/* object[key], NULL when there is none (or no object). */
json_t *sy_json_get(const json_t *object, const char *key);

/* Which keys a program reads, as opposed to those that are there. Until sy_json_watch(NULL), this thread notes in asked, an
 * empty object of the caller's, every key that sy_json_get(), _int(), _real() and _bool() find, and the object it is in. */
void sy_json_watch(json_t *asked);

/* Whether a key of an object was noted. */
bool sy_json_asked(const json_t *asked, const json_t *object, const char *key);

/* object[key] as an integer in [min, max]. A missing or null key leaves *out as it is (the default). A wrong type or
 * value is SY_ERR_DATA "name: key is X, expected an integer from min to max". */
enum sy_status sy_json_int(const char *name, const json_t *object, const char *key, int64_t min, int64_t max,
                           int64_t *out, struct sy_error *err);

/* The same for a finite number in [min, max]. */
enum sy_status sy_json_real(const char *name, const json_t *object, const char *key, double min, double max,
                            double *out, struct sy_error *err);

/* The same for true and false. */
enum sy_status sy_json_bool(const char *name, const json_t *object, const char *key, bool *out, struct sy_error *err);

/* A short rendering of a value for messages ("\"abc\"", "12", "an array"), in a buffer of the caller; returns it. */
const char *sy_json_show(const json_t *value, char *out, size_t out_bytes);

#endif
