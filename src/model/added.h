/* SPDX-License-Identifier: Apache-2.0
 * added.h - tokens that are found in the text as they are, before anything else happens to it
 *
 * A tokenizer has two sets: tokens looked for in the text as given, and those ("normalized") looked for in what the
 * normalizer made of it. Of tokens that begin at one place the longest is taken. Read-only once made.
 */
#ifndef SY_MODEL_ADDED_H
#define SY_MODEL_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Bounds the time that looking takes at a byte of text. */
#define SY_ADDED_BYTES_MAX 1024

struct sy_added_token {
    uint8_t *text; /* owned */
    size_t len;
    int32_t id;
    bool lstrip, rstrip; /* takes the white space before or after it too */
    bool single_word;    /* not inside a word */
    uint32_t order;      /* set by sy_added_add() */
};

struct sy_added {
    struct sy_added_token *tokens; /* after sealing: sorted by bytes */
    size_t n_tokens, cap;
    uint32_t first[257]; /* tokens that begin with byte b: first[b] to first[b + 1] - 1 */
    bool one_first;      /* all tokens begin with the same byte, as they mostly do */
};

/* Add a copy of a token of 1 to SY_ADDED_BYTES_MAX bytes. Of two with the same text the first counts. */
enum sy_status sy_added_add(struct sy_added *added, const struct sy_added_token *token, struct sy_error *err);

/* After the last token, before the first look. */
void sy_added_seal(struct sy_added *added);
void sy_added_fini(struct sy_added *added);

/* A walk over one text. */
struct sy_added_walk {
    const uint8_t *text;
    size_t len;
    size_t searched;   /* the search goes on from here */
    size_t done;       /* text before this has been handed out */
    int32_t id;        /* a token found but not handed out yet, -1: none */
    size_t begin, end; /* of it */
};

void sy_added_begin(struct sy_added_walk *walk, const uint8_t *text, size_t len);

/* The next part of the text (valid UTF-8): a token with its id, or text between tokens with *id -1. False at the end. */
bool sy_added_next(const struct sy_added *added, struct sy_added_walk *walk, size_t *begin, size_t *end, int32_t *id);

#endif
