/* SPDX-License-Identifier: Apache-2.0
 * arena.c - one block for a rank's buffers
 */
#include "base/arena.h"

#include <sys/mman.h>

enum sy_status sy_arena_init(struct sy_arena *arena, size_t bytes, struct sy_error *err)
{
    *arena = (struct sy_arena){.bytes = bytes};
    if (!bytes)
        return SY_OK;
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return sy_error_errno(err, SY_ERR_SYSTEM, "cannot map %zu bytes for buffers", bytes);
    /* A matrix kernel goes through many rows at once, each in another small page. */
    (void)madvise(base, bytes, MADV_HUGEPAGE);
    arena->base = base;
    return SY_OK;
}

size_t sy_arena_round(size_t n)
{
    return (n + SY_ARENA_ALIGN - 1) / SY_ARENA_ALIGN * SY_ARENA_ALIGN;
}

void *sy_arena_take(struct sy_arena *arena, size_t n)
{
    n = sy_arena_round(n);
    if (n > arena->bytes - arena->used)
        return NULL;
    void *p = arena->base + arena->used;
    arena->used += n;
    return p;
}

void sy_arena_fini(struct sy_arena *arena)
{
    if (arena->base)
        munmap(arena->base, arena->bytes);
    *arena = (struct sy_arena){0};
}
