/* SPDX-License-Identifier: Apache-2.0
 * amount.h - counts and bytes as people read and write them
 */
#ifndef SY_BASE_AMOUNT_H
#define SY_BASE_AMOUNT_H

#include <stddef.h>

/* "12 B", "1.23 kB", "61.07 GB": steps of 1000. In a buffer of the caller (32 bytes are enough); returns it. */
const char *sy_amount_bytes(double bytes, char *out, size_t out_bytes);

/* "320", "1.28 K", "30.53 B": thousand, million, billion, as parameters are counted. */
const char *sy_amount_count(double count, char *out, size_t out_bytes);

/* A number from 1 to max at the start of a text such as "8,16": returns where it ends, NULL when there is none. */
const char *sy_amount_read(const char *text, int max, int *out);

#endif
