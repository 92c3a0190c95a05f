/* SPDX-License-Identifier: Apache-2.0
 * bench_probe.h - the machine's ceilings: what its threads read and compute at most
 */
#ifndef SY_CLI_BENCH_PROBE_H
#define SY_CLI_BENCH_PROBE_H

#include "cli/setup.h"

/* A number's median, lowest and highest value. */
struct sy_spread {
    double median, min, max;
};

/* Sorts values. n >= 1. */
struct sy_spread sy_spread_of(double *values, int n);

/* Probes on one queue. */
struct sy_bench_probe {
    const struct sy_kernels *kernels;
    struct sy_queue *queue;
    void *buffer;
    size_t bytes;
    double round_s[SY_N_PROBES]; /* seconds of a round, found last; says how many to do in the time wanted */
};

/* Allocate the buffer to read and write it once. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_bench_probe_init(struct sy_bench_probe *probe, const struct sy_kernels *kernels,
                                   struct sy_queue *queue, size_t bytes, struct sy_error *err);
void sy_bench_probe_fini(struct sy_bench_probe *probe);

/* Bytes or operations a second, over about `seconds`. */
double sy_bench_probe_rate(struct sy_bench_probe *probe, enum sy_probe what, double seconds);

/* What a rank can do at most; a second. */
struct sy_ceilings {
    double rate[SY_N_PROBES];
};

struct sy_bench_ceilings {
    int n_threads;                        /* of each rank */
    struct sy_spread spread[SY_N_PROBES]; /* sums over ranks */
    struct sy_ceilings *ranks;            /* [R] medians */
    double *samples;                      /* [SY_N_PROBES][n_reps] sums over ranks */
};

/* Measure n_reps times, all ranks together; every rank gets all figures. Collective. */
enum sy_status sy_bench_ceilings_measure(const struct sy_setup *setup, struct sy_bench_probe *probe, int n_threads,
                                         int n_reps, struct sy_bench_ceilings *out, struct sy_error *err);
void sy_bench_ceilings_fini(struct sy_bench_ceilings *ceilings);

/* "read", "FP32", ...; "GB/s", "GFLOP/s", "GOP/s" */
const char *sy_probe_name(enum sy_probe what);
const char *sy_probe_unit(enum sy_probe what);

/* The same figure of the machine that the project's own figures come from; 0 when there is none for this many threads. */
double sy_bench_reference(int n_threads, enum sy_probe what);

/* Warn when a ceiling is below 90 % of the reference. Returns a bit for each such probe. */
unsigned sy_bench_ceilings_check(const struct sy_setup *setup, const struct sy_bench_ceilings *ceilings);

#endif
