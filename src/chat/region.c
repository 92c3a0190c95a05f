/* SPDX-License-Identifier: Apache-2.0
 * region.c - memory that is freed as a whole
 */
#include "chat/region.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)16 << 10)

struct sy_region_block {
    struct sy_region_block *next;
    size_t used, size;
    alignas(max_align_t) uint8_t data[];
};

void *sy_region_take(struct sy_region *region, size_t n)
{
    struct sy_region_block *block = region->blocks;

    if (n > region->bytes_max - region->bytes)
        return NULL;
    n = (n + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    if (n > region->bytes_max - region->bytes)
        return NULL;
    if (!block || n > block->size - block->used) {
        size_t size = n > BLOCK_BYTES ? n : BLOCK_BYTES;
        block = malloc(sizeof *block + size);
        if (!block)
            return NULL;
        block->used = 0;
        block->size = size;
        /* A block for one large piece goes behind the newest, which may have room left. */
        if (n > BLOCK_BYTES && region->blocks) {
            block->next = region->blocks->next;
            region->blocks->next = block;
        } else {
            block->next = region->blocks;
            region->blocks = block;
        }
    }
    void *piece = block->data + block->used;
    block->used += n;
    region->bytes += n;
    memset(piece, 0, n);
    return piece;
}

void sy_region_fini(struct sy_region *region)
{
    for (struct sy_region_block *block = region->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    region->blocks = NULL;
    region->bytes = 0;
}
