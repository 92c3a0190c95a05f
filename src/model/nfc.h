/* SPDX-License-Identifier: Apache-2.0
 * nfc.h - Unicode normalisation form C
 */
#ifndef SY_MODEL_NFC_H
#define SY_MODEL_NFC_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Length of a prefix of text (valid UTF-8) that is in form C whatever follows it; equal to len when all of it is.
 * Usually the longest such prefix. */
size_t sy_nfc_prefix(const uint8_t *text, size_t len);

/* Append the form C of text (valid UTF-8) to out, in time linear in len. Returns 0, or -1 when there is no memory. */
int sy_nfc_append(const uint8_t *text, size_t len, struct sy_buf *out);

#endif
