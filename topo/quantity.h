/* SPDX-License-Identifier: Apache-2.0
 * quantity.h - numbers with their units, as people write them and as they are written for people
 */
#ifndef SY_TOPO_QUANTITY_H
#define SY_TOPO_QUANTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a number measures; all in bytes, seconds, FLOP. */
enum sy_measure { SY_BYTES, SY_BYTES_PER_S, SY_SECONDS, SY_FLOP_PER_S, SY_N_MEASURES };

/* "25 GB/s", "400 Gb/s", "80 GiB", "0.6 us", "989 TFLOP/s", blank or none before the unit. False: why says what was expected and
 * what was found. Zero is allowed for seconds only. in_bits, if not NULL, is set for bits per second. */
bool sy_quantity_read(const char *text, enum sy_measure measure, double *value, bool *in_bits, char *why,
                      size_t why_bytes);

/* The shortest text that reads back as exactly this value, in the unit that suits it; in a buffer of the caller (48 bytes are
 * enough), which is returned. */
const char *sy_quantity_show(double value, enum sy_measure measure, char *out, size_t out_bytes);

/* A plain number without unit, such as an efficiency: finite. */
bool sy_number_read(const char *text, double *value);
/* A whole number, digits only. */
bool sy_whole_read(const char *text, int64_t *value);
/* The shortest text that reads back as this number. */
const char *sy_number_show(double value, char *out, size_t out_bytes);

#endif
