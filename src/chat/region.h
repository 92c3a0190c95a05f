/* SPDX-License-Identifier: Apache-2.0
 * region.h - memory that is given out piece by piece and freed as a whole, with a limit
 *
 * A template's tree and the values of one rendering each live in one: nothing in it is freed alone, so a hostile
 * template can neither leak nor use memory after it was freed, and the limit bounds what it can take.
 */
#ifndef SY_CHAT_REGION_H
#define SY_CHAT_REGION_H

#include <stddef.h>

struct sy_region_block;

struct sy_region {
    struct sy_region_block *blocks; /* newest first */
    size_t bytes, bytes_max;        /* taken so far; never more than bytes_max */
};

/* n zeroed bytes, aligned for any type; NULL when the limit is reached or memory is short. */
void *sy_region_take(struct sy_region *region, size_t n);

/* Free everything; the region may be used again. */
void sy_region_fini(struct sy_region *region);

#endif
