/* SPDX-License-Identifier: Apache-2.0
 * bench_overlap.c - how much of a layer's exchange hides behind its computing
 *
 * Beside the layer with overlap and the layer in turn, a layer in turn whose ranks meet in a barrier before and after each
 * exchange gives the times of its parts alone. Then (exchange + compute - layer) / min(exchange, compute) is 1 where the
 * shorter part is hidden whole, and 0 where the layer takes as long as both parts one after the other.
 */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/bench.h"

enum mode { OVERLAPPED, IN_TURN, PARTS, N_MODES };

/* Seconds of a layer, on the slowest rank. */
struct overlap {
    double exchange, compute, layer[PARTS], efficiency[PARTS];
};

#define N_FIGURES (sizeof(struct overlap) / sizeof(double))

struct parts {
    struct sy_group *group;
    int n_calls;
    int64_t resumed_ns;
    double exchange, barriers; /* seconds */
};

static enum sy_status meet(void *ctx, struct sy_error *err)
{
    struct parts *parts = ctx;
    int64_t now_ns = sy_clock_ns();

    /* Every second call comes after an exchange. */
    if (parts->n_calls++ % 2)
        parts->exchange += (double)(now_ns - parts->resumed_ns) * 1e-9;
    enum sy_status st = sy_group_barrier(parts->group, err);
    parts->resumed_ns = sy_clock_ns();
    parts->barriers += (double)(parts->resumed_ns - now_ns) * 1e-9;
    return st;
}

static enum sy_status repetition(struct sy_bench *bench, int cell, int n_rounds, sy_bench_round_fn round,
                                 struct overlap *out, struct sy_error *err)
{
    struct sy_group *group = bench->setup->group;
    int n_ranks = bench->setup->n_ranks;
    struct parts parts = {.group = group};
    double mine[N_MODES + 1] = {0}, all[n_ranks][N_MODES + 1], most[N_MODES + 1] = {0}, seconds;
    enum sy_status st = SY_OK;

    for (int i = 0; i < n_rounds; i++) {
        for (int mode = 0; mode < N_MODES && !st; mode++) {
            sy_session_take_turns(bench->setup->session, mode != OVERLAPPED, mode == PARTS ? meet : NULL, &parts);
            st = round(bench, cell, &seconds, err);
            mine[mode] += seconds;
        }
    }
    mine[PARTS] -= parts.exchange + parts.barriers;
    mine[N_MODES] = parts.exchange;
    if (!st)
        st = sy_group_allgather(group, mine, sizeof mine, all, err);
    if (st)
        return st;
    for (int r = 0; r < n_ranks; r++)
        for (int i = 0; i <= N_MODES; i++)
            most[i] = fmax(most[i], all[r][i] / (n_rounds * bench->setup->model->n_layers));
    *out = (struct overlap){most[N_MODES], most[PARTS], {most[OVERLAPPED], most[IN_TURN]}, {0}};
    for (int mode = 0; mode < PARTS; mode++)
        out->efficiency[mode] = (out->exchange + out->compute - out->layer[mode]) / fmin(out->exchange, out->compute);
    return SY_OK;
}

static void report(struct sy_bench *bench, int cell, const struct sy_spread figures[N_FIGURES])
{
    char name[48];
    static const char *const names[N_FIGURES] = {"exchange_s",       "compute_s", "layer_s", "in_turn_s", "efficiency",
                                                 "efficiency_in_turn"};

    if (bench->setup->rank)
        return;
    printf("\n%-16s exchange alone %.3f ms, compute alone %.3f ms; with overlap %.3f ms: efficiency %.2f (%.2f to "
           "%.2f); in turn %.3f ms: %.2f (%.2f to %.2f)\n",
           sy_bench_cell_name(&bench->cells[cell], name, sizeof name), figures[0].median * 1e3,
           figures[1].median * 1e3, figures[2].median * 1e3, figures[4].median, figures[4].min, figures[4].max,
           figures[3].median * 1e3, figures[5].median, figures[5].min, figures[5].max);
    fflush(stdout);
    if (!bench->json)
        return;
    json_t *out = json_object();
    for (size_t i = 0; i < N_FIGURES; i++)
        json_object_set_new(out, names[i], json_real(figures[i].median));
    json_object_set_new(json_array_get(json_object_get(bench->json, "cells"), (size_t)cell), "overlap", out);
}

enum sy_status sy_bench_overlap(struct sy_bench *bench, int cell, int n_rounds, sy_bench_round_fn round,
                                struct sy_error *err)
{
    int n = bench->n_reps;
    struct overlap *reps = calloc((size_t)n, sizeof *reps);
    double *scratch = calloc((size_t)n, sizeof *scratch);
    struct sy_spread figures[N_FIGURES];
    enum sy_status st = reps && scratch ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for %d repetitions", n);

    st = sy_setup_agree(bench->setup, st, err);
    for (int i = 0; i < n && !st; i++)
        st = repetition(bench, cell, n_rounds, round, &reps[i], err);
    for (size_t f = 0; f < N_FIGURES && !st; f++) {
        for (int i = 0; i < n; i++)
            scratch[i] = ((const double *)&reps[i])[f];
        figures[f] = sy_spread_of(scratch, n);
    }
    if (!st)
        report(bench, cell, figures);
    free(reps);
    free(scratch);
    return st;
}
