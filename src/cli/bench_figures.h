/* SPDX-License-Identifier: Apache-2.0
 * bench_figures.h - from repetitions to medians, and shares of roofs
 */
#ifndef SY_CLI_BENCH_FIGURES_H
#define SY_CLI_BENCH_FIGURES_H

#include "cli/bench_roof.h"

/* The phases, and what a step takes beyond them: embedding, bookkeeping, and what no clock covers. */
#define SY_BENCH_OTHER    SY_N_PHASES
#define SY_BENCH_N_PHASES (SY_N_PHASES + 1)

/* A phase in one step (of a prefill: in all its steps together); means over ranks, medians over repetitions. */
struct sy_bench_phase {
    double seconds, part; /* part of the step */
    double roof_s, share; /* 0 without a roof */
    double ops, bytes;    /* per second */
    bool memory_bound;
};

struct sy_bench_figures {
    struct sy_spread tokens_per_s, step_s; /* step of a prefill: all its steps together */
    struct sy_spread roof_s, share;        /* of the rank whose roof is largest */
    struct sy_spread read;                 /* sum over ranks, beside the repetitions */
    struct sy_spread foreign;              /* share of the CPUs that others had */
    double steps;                          /* median */
    double experts, experts_uniform;       /* with rows, of a layer in a step, all ranks; and were routing uniform */
    struct sy_bench_phase phases[SY_BENCH_N_PHASES];
};

const char *sy_bench_phase_name(int phase);

/* How many units a sample has by which times are divided: steps, or 1 for a prefill. */
double sy_bench_units(const struct sy_bench_cell *cell, const struct sy_bench_sample *sample);

/* The roof of a repetition: that of the rank where it is largest. */
double sy_bench_sample_roof(const struct sy_bench *bench, const struct sy_bench_cell *cell,
                            const struct sy_bench_sample *sample);

/* scratch: [n_reps] */
void sy_bench_figures(const struct sy_bench *bench, int cell, double *scratch, struct sy_bench_figures *out);

#endif
