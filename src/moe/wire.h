/* SPDX-License-Identifier: Apache-2.0
 * wire.h - what a chunk looks like
 *
 * Dispatch: header, n_rows counts of pairs (u32), n_pairs pairs, n_rows rows. Combine: header, n_rows result places (u32),
 * n_rows rows. Rows are struct sy_rows of the compute type.
 */
#ifndef SY_MOE_WIRE_H
#define SY_MOE_WIRE_H

#include <stddef.h>
#include <stdint.h>

struct sy_chunk_header {
    uint32_t sequence; /* counts MoE layers since start; the same on all ranks */
    uint32_t n_rows, n_pairs;
    uint32_t last; /* dispatch: 1 when no more rows of this layer follow from this rank */
};

struct sy_chunk_pair {
    uint32_t slot;  /* of the expert on the receiver */
    uint32_t index; /* t * K + k on the sender: where the result goes */
};

static inline size_t sy_dispatch_chunk_bytes(size_t n_rows, size_t n_pairs, size_t row_bytes)
{
    return sizeof(struct sy_chunk_header) + n_rows * (sizeof(uint32_t) + row_bytes) +
           n_pairs * sizeof(struct sy_chunk_pair);
}

static inline size_t sy_combine_chunk_bytes(size_t n_rows, size_t row_bytes)
{
    return sizeof(struct sy_chunk_header) + n_rows * (sizeof(uint32_t) + row_bytes);
}

#endif
