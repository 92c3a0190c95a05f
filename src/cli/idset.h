/* SPDX-License-Identifier: Apache-2.0
 * idset.h - strings seen so far, with a small number for each
 */
#ifndef SY_CLI_IDSET_H
#define SY_CLI_IDSET_H

#include <stddef.h>
#include <stdint.h>

struct sy_idset_entry {
    char *id; /* NULL: free */
    uint32_t seen_in;  /* input lines with this id */
    uint32_t answered; /* 1 when the output has an answer for it */
    uint32_t refused;  /* lines in the output that refuse it as a duplicate */
};

struct sy_idset {
    struct sy_idset_entry *entries; /* open addressing, a power of two */
    size_t n, cap;
    uint64_t seed; /* so that a file cannot be made to put all its ids into one place */
};

/* The entry of id, made when it is not there; valid until the next call. NULL when there is no memory. A set of zeroes is
 * empty. */
struct sy_idset_entry *sy_idset_get(struct sy_idset *set, const char *id);

void sy_idset_fini(struct sy_idset *set);

#endif
