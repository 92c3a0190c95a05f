/* SPDX-License-Identifier: Apache-2.0
 * keys.h - the keys of config.json that nothing here knows
 *
 * A key that was read had its say, or was refused. Of the others most have no effect on what a trained model computes
 * (dropout, versions, losses), and a list in keys.c names them. What is left may matter, so the user is told of it.
 */
#ifndef SY_MODEL_KEYS_H
#define SY_MODEL_KEYS_H

#include <jansson.h>

#include "base/buf.h"

/* Append the names of config's keys that are neither in asked (sy_json_watch()) nor known to have no effect, as
 * "a, rope_scaling.b", in the order of the file, NUL-terminated and safe to print; nothing when there are none. A null is no
 * key, and of an object that was never asked for the name alone is given. After the first SY_KEYS_SHOWN comes "...".
 * Returns how many there are in all; -1 without memory. */
#define SY_KEYS_SHOWN 40
int sy_keys_ignored(const json_t *config, const json_t *asked, struct sy_buf *names);

#endif
