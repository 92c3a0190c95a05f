/* SPDX-License-Identifier: Apache-2.0
 * idset.c - a hash table of strings
 */
#include "cli/idset.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Source: FNV-1a, 64 bits, with an xor-shift at the end because the low bits choose the place. */
static uint64_t hash(const char *id, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325u ^ seed;

    for (; *id; id++)
        h = (h ^ (uint8_t)*id) * 0x100000001b3u;
    return h ^ h >> 32;
}

static struct sy_idset_entry *place(struct sy_idset_entry *entries, size_t cap, uint64_t seed, const char *id)
{
    size_t at = hash(id, seed) & (cap - 1);

    while (entries[at].id && strcmp(entries[at].id, id))
        at = (at + 1) & (cap - 1);
    return &entries[at];
}

struct sy_idset_entry *sy_idset_get(struct sy_idset *set, const char *id)
{
    if (set->n * 2 >= set->cap) {
        size_t cap = set->cap ? set->cap * 2 : 64;
        struct sy_idset_entry *entries = calloc(cap, sizeof *entries);
        if (!entries)
            return NULL;
        /* A system without random numbers gets a set that is right and can be made slow. */
        if (!set->cap && getrandom(&set->seed, sizeof set->seed, GRND_NONBLOCK) < 0)
            set->seed = 0;
        for (size_t i = 0; i < set->cap; i++)
            if (set->entries[i].id)
                *place(entries, cap, set->seed, set->entries[i].id) = set->entries[i];
        free(set->entries);
        set->entries = entries;
        set->cap = cap;
    }
    struct sy_idset_entry *entry = place(set->entries, set->cap, set->seed, id);
    if (!entry->id) {
        entry->id = strdup(id);
        if (!entry->id)
            return NULL;
        set->n++;
    }
    return entry;
}

void sy_idset_fini(struct sy_idset *set)
{
    for (size_t i = 0; i < set->cap; i++)
        free(set->entries[i].id);
    free(set->entries);
    *set = (struct sy_idset){0};
}
