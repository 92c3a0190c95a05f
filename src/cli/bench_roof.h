/* SPDX-License-Identifier: Apache-2.0
 * bench_roof.h - how fast a phase could run at most on this machine
 *
 * A phase takes at least max(operations / peak, bytes / read bandwidth). Operations are multiplications and additions of
 * matrices and attention. Bytes are those of weights and KV cache, which are read from memory; activations are small and
 * just made, so they may be in a cache and count as nothing. Hence dispatch and waiting have no roof at all: their time is
 * all loss.
 */
#ifndef SY_CLI_BENCH_ROOF_H
#define SY_CLI_BENCH_ROOF_H

#include "cli/bench.h"

struct sy_roof {
    double ops, bytes, seconds;
    bool memory_bound;
};

/* The roofs of what one rank did, given its ceilings and the read bandwidth found beside it. */
void sy_bench_roofs(const struct sy_bench *bench, const struct sy_bench_cell *cell, const struct sy_bench_rank *rank,
                    const struct sy_ceilings *ceilings, struct sy_roof roofs[SY_N_PHASES]);

/* Their sum: phases run one after another. */
double sy_bench_roof_seconds(const struct sy_roof roofs[SY_N_PHASES]);

#endif
