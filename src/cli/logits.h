/* SPDX-License-Identifier: Apache-2.0
 * logits.h - dump of every position's logits, one safetensors file for each text
 *
 * The rank that serves a text gets its positions in order and writes them into a hidden file; after the last one the file
 * is whole and closed, and rank 0 then gives it its name. So a file under its own name is complete. A request's id tells
 * the serving rank how many positions there will be: sy_logits_request_id().
 */
#ifndef SY_CLI_LOGITS_H
#define SY_CLI_LOGITS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct sy_logits;

/* Low 24 bits: positions; the rest: a number that the caller keeps unique. */
uint64_t sy_logits_request_id(uint64_t number, int n_positions);

/* Use directory dir, which is made when it is missing. */
enum sy_status sy_logits_open(const char *dir, struct sy_logits **logits, struct sy_error *err);

/* As sy_logits_fn; ctx-free. */
enum sy_status sy_logits_put(struct sy_logits *logits, uint64_t request_id, int position, const float *row, int vocab,
                             struct sy_error *err);

/* Rank 0, once the request has ended: name the file after custom_id. */
enum sy_status sy_logits_name(struct sy_logits *logits, uint64_t request_id, const char *custom_id,
                              struct sy_error *err);

/* The file name of a custom_id, without folder: letters, digits, '-', '_' and inner '.' stand for themselves, other bytes
 * are %XX. SY_ERR_DATA when it is longer than a file name may be. */
enum sy_status sy_logits_file_name(const char *custom_id, char *out, size_t out_bytes, struct sy_error *err);

/* Close; files of texts that were not finished are removed. NULL is fine. */
void sy_logits_close(struct sy_logits *logits);

#endif
