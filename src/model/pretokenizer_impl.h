/* SPDX-License-Identifier: Apache-2.0
 * pretokenizer_impl.h - the stages of a pre-tokenizer, for pretokenizer*.c only
 */
#ifndef SY_MODEL_PRETOKENIZER_IMPL_H
#define SY_MODEL_PRETOKENIZER_IMPL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "model/pretokenizer.h"

#define SY_PRETOKENIZER_STAGES_MAX 16

/* What becomes of a match: dropped, its own piece, or joined to a neighbour. */
enum sy_split_behavior {
    SY_SPLIT_REMOVED,
    SY_SPLIT_ISOLATED,
    SY_SPLIT_MERGED_WITH_PREVIOUS,
    SY_SPLIT_MERGED_WITH_NEXT,
    SY_SPLIT_CONTIGUOUS,
};

struct sy_pretokenizer_stage {
    pcre2_code *code; /* compiled for a limit of the offset */
    bool jit;
    enum sy_split_behavior behavior;
    bool invert;       /* the text between matches is what counts as a match */
    bool prefix_space; /* put a space before a piece that does not begin with one */
    char where[128];   /* JSON path */
};

/* Where Metaspace puts its character before a text that does not begin with it. */
enum sy_prepend { SY_PREPEND_ALWAYS, SY_PREPEND_FIRST, SY_PREPEND_NEVER };

struct sy_pretokenizer {
    struct sy_pretokenizer_stage stages[SY_PRETOKENIZER_STAGES_MAX];
    int n_stages;
    bool byte_level;
    bool prefix_space; /* of a ByteLevel without a pattern: before the last cut is handed on */
    char metaspace[5]; /* the character that Metaspace writes for a space; empty: there is no Metaspace */
    enum sy_prepend prepend;
};

#endif
