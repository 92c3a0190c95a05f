/* SPDX-License-Identifier: Apache-2.0
 * bench_figures.c - medians over repetitions
 */
#include "cli/bench_figures.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

const char *sy_bench_phase_name(int phase)
{
    return phase < SY_N_PHASES ? sy_phase_name((enum sy_phase)phase) : "other";
}

double sy_bench_units(const struct sy_bench_cell *cell, const struct sy_bench_sample *sample)
{
    return cell->kind == SY_BENCH_PREFILL || !sample->n_steps ? 1 : sample->n_steps;
}

double sy_bench_sample_roof(const struct sy_bench *bench, const struct sy_bench_cell *cell,
                            const struct sy_bench_sample *sample)
{
    struct sy_roof roofs[SY_N_PHASES];
    double largest = 0;

    for (int r = 0; r < bench->setup->n_ranks; r++) {
        sy_bench_roofs(bench, cell, &sample->ranks[r], &bench->ceilings.ranks[r], roofs);
        double seconds = sy_bench_roof_seconds(roofs);
        largest = seconds > largest ? seconds : largest;
    }
    return largest;
}

/* Means over ranks of one phase in one repetition. */
static void phase_of_sample(const struct sy_bench *bench, const struct sy_bench_cell *cell,
                            const struct sy_bench_sample *sample, int phase, struct sy_bench_phase *out)
{
    struct sy_roof roofs[SY_N_PHASES];
    int n_ranks = bench->setup->n_ranks;
    double memory_s = 0;

    memset(out, 0, sizeof *out);
    for (int r = 0; r < n_ranks; r++) {
        const struct sy_bench_rank *rank = &sample->ranks[r];
        if (phase == SY_BENCH_OTHER) {
            out->seconds += sample->seconds;
            for (int i = 0; i < SY_N_PHASES; i++)
                out->seconds -= rank->own.phase_s[i];
            continue;
        }
        sy_bench_roofs(bench, cell, rank, &bench->ceilings.ranks[r], roofs);
        out->seconds += rank->own.phase_s[phase];
        out->roof_s += roofs[phase].seconds;
        out->ops += roofs[phase].ops;
        out->bytes += roofs[phase].bytes;
        memory_s += roofs[phase].memory_bound ? roofs[phase].seconds : 0;
    }
    out->memory_bound = memory_s * 2 > out->roof_s;
    if (out->seconds > 0) {
        double seconds = out->seconds / n_ranks;
        out->share = out->roof_s / out->seconds;
        out->ops /= seconds;
        out->bytes /= seconds;
    }
    double units = sy_bench_units(cell, sample) * n_ranks;
    out->seconds /= units;
    out->roof_s /= units;
}

/* The median of a field of the phase over all repetitions. */
static double phase_median(const struct sy_bench *bench, int cell, int phase, size_t field, double *scratch)
{
    struct sy_bench_phase one;

    for (int rep = 0; rep < bench->n_reps; rep++) {
        phase_of_sample(bench, &bench->cells[cell], sy_bench_sample(bench, cell, rep), phase, &one);
        memcpy(&scratch[rep], (const char *)&one + field, sizeof *scratch);
    }
    return sy_spread_of(scratch, bench->n_reps).median;
}

static void phases(const struct sy_bench *bench, int cell, double *scratch, struct sy_bench_figures *out)
{
    static const size_t fields[] = {offsetof(struct sy_bench_phase, seconds), offsetof(struct sy_bench_phase, roof_s),
                                    offsetof(struct sy_bench_phase, share), offsetof(struct sy_bench_phase, ops),
                                    offsetof(struct sy_bench_phase, bytes)};

    for (int i = 0; i < SY_BENCH_N_PHASES; i++) {
        struct sy_bench_phase *phase = &out->phases[i];
        phase_of_sample(bench, &bench->cells[cell], sy_bench_sample(bench, cell, 0), i, phase);
        for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
            double median = phase_median(bench, cell, i, fields[f], scratch);
            memcpy((char *)phase + fields[f], &median, sizeof median);
        }
        phase->part = out->step_s.median > 0 ? phase->seconds / out->step_s.median : 0;
    }
}

/* Experts with rows, in a layer and step, on all ranks; a prefill is one step here. */
static double experts(const struct sy_bench *bench, const struct sy_bench_cell *cell,
                      const struct sy_bench_sample *sample)
{
    double sum = 0, layers = cell->kind == SY_BENCH_LAYER ? 1 : bench->setup->model->n_moe_layers;

    for (int r = 0; r < bench->setup->n_ranks; r++)
        sum += (double)sample->ranks[r].own.n_experts;
    return sum / layers / sy_bench_units(cell, sample);
}

/* Of E experts, those that at least one of n tokens picks when each picks K at random. */
static double experts_uniform(const struct sy_bench *bench, const struct sy_bench_cell *cell)
{
    double E = bench->shape.n_experts, K = bench->shape.top_k, n = cell->n_tokens;

    if (cell->kind != SY_BENCH_LAYER)
        n = cell->kind == SY_BENCH_PREFILL ? n * cell->n_sequences : cell->n_sequences;
    return E * (1 - pow(1 - K / E, n));
}

static double sample_read(const struct sy_bench *bench, const struct sy_bench_sample *sample)
{
    double sum = 0;

    for (int r = 0; r < bench->setup->n_ranks; r++)
        sum += sample->ranks[r].read;
    return sum;
}

#define SPREAD(field, expression)                                                       \
    do {                                                                                \
        for (int rep = 0; rep < bench->n_reps; rep++) {                                 \
            const struct sy_bench_sample *sample = sy_bench_sample(bench, number, rep); \
            scratch[rep] = (expression);                                                \
        }                                                                               \
        (field) = sy_spread_of(scratch, bench->n_reps);                                 \
    } while (0)

void sy_bench_figures(const struct sy_bench *bench, int number, double *scratch, struct sy_bench_figures *out)
{
    const struct sy_bench_cell *cell = &bench->cells[number];
    struct sy_spread spread;

    memset(out, 0, sizeof *out);
    SPREAD(out->tokens_per_s, (double)sample->n_tokens / sample->seconds);
    SPREAD(out->step_s, sample->seconds / sy_bench_units(cell, sample));
    SPREAD(out->roof_s, sy_bench_sample_roof(bench, cell, sample) / sy_bench_units(cell, sample));
    SPREAD(out->share, sy_bench_sample_roof(bench, cell, sample) / sample->seconds);
    SPREAD(spread, sample->n_steps);
    out->steps = spread.median;
    SPREAD(spread, experts(bench, cell, sample));
    out->experts = spread.median;
    out->experts_uniform = experts_uniform(bench, cell);
    SPREAD(out->foreign, sy_bench_foreign(bench, sample));
    SPREAD(out->read, sample_read(bench, sample));
    phases(bench, number, scratch, out);
}
