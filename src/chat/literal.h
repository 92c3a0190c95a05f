/* SPDX-License-Identifier: Apache-2.0
 * literal.h - numbers and strings as a template writes them
 */
#ifndef SY_CHAT_LITERAL_H
#define SY_CHAT_LITERAL_H

#include <stddef.h>

#include "chat/lexer.h"

/* Read the number or quoted string at text into token (its kind and value). Returns the bytes that it takes, or 0 with
 * what is wrong with it in *what. */
size_t sy_literal_read(const char *text, size_t len, struct sy_region *region, struct sy_token *token,
                       const char **what);

#endif
