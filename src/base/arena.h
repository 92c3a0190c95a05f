/* SPDX-License-Identifier: Apache-2.0
 * arena.h - one large, zeroed, page-aligned block, given out front to back and freed as a whole
 *
 * A rank sizes it once at start; nothing in a step allocates.
 */
#ifndef SY_BASE_ARENA_H
#define SY_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SY_ARENA_ALIGN 64

struct sy_arena {
    uint8_t *base;
    size_t bytes, used;
    /* From here to the same byte of the next rank's arena, where those of a node lie in one shared block; else 0. */
    size_t pitch;
};

/* Map bytes of zeroed memory. Returns SY_ERR_SYSTEM when there is not enough. */
enum sy_status sy_arena_init(struct sy_arena *arena, size_t bytes, struct sy_error *err);

/* The next n bytes, aligned to SY_ARENA_ALIGN; NULL when the arena is used up (a sizing error of the caller). */
void *sy_arena_take(struct sy_arena *arena, size_t n);

/* What sy_arena_take(n) uses up, for sizing. */
size_t sy_arena_round(size_t n);

void sy_arena_fini(struct sy_arena *arena);

#endif
