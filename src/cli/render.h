/* SPDX-License-Identifier: Apache-2.0
 * render.h - JSON text, written straight into a buffer
 *
 * All functions return false when there is no memory. Output is always valid JSON and valid UTF-8, and does not depend on
 * the locale.
 */
#ifndef SY_CLI_RENDER_H
#define SY_CLI_RENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* A string in quotes; bytes that are not UTF-8 become U+FFFD. */
bool sy_render_string(struct sy_buf *out, const char *bytes, size_t len);

/* The same for a C string; NULL is null. */
bool sy_render_text(struct sy_buf *out, const char *text);

/* A number with this many significant digits (9 bring a float back, 17 a double); NaN and infinity are null. */
bool sy_render_real(struct sy_buf *out, double number, int digits);

/* [1,2,3] */
bool sy_render_ids(struct sy_buf *out, const int32_t *ids, size_t n);

#endif
