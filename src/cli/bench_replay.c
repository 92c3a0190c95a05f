/* SPDX-License-Identifier: Apache-2.0
 * bench_replay.c - a layer of experts as the kernels' own time: many calls recorded and replayed as one
 *
 * Layers take turns in a recording, so that each finds its experts in memory. A layer begins with hidden states, with the
 * router's logits or with chosen experts; the latter two are those of a layer before, so that experts are as spread. Results
 * are held against the same in FP32.
 */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/bench.h"
#include "cli/bench_roof.h"

#define CALLS   24 /* of a layer in a recording, at least */
#define CHECKED 8  /* tokens of which results are held against FP32 */
#define N_FROM  (SY_MOE_FROM_CHOSEN + 1)

static const char *const from_names[N_FROM] = {"hidden", "logits", "chosen"};

/* What was found for one beginning. */
struct replay {
    struct sy_spread seconds; /* of a layer */
    double share;             /* of its roof */
};

/* The recording of n_passes over all layers; NULL with SY_OK where that cannot be. */
static enum sy_status record(struct sy_bench *bench, const struct sy_bench_rows *rows, int n_passes,
                             struct sy_recording **out, struct sy_error *err)
{
    struct sy_setup *setup = bench->setup;
    struct sy_queue *queue = sy_session_queue(setup->session);
    enum sy_status st = SY_OK;

    *out = NULL;
    if (!setup->kernels->record(queue))
        return SY_OK;
    for (int i = 0; i < n_passes * setup->model->n_layers && !st; i++)
        st = sy_session_moe_layer(setup->session, i % setup->model->n_layers, rows->h, rows->T, rows->sums, err);
    *out = setup->kernels->record_end(queue);
    return st;
}

/* What a replay must do at least, from the experts that had rows in it. */
static double roof_seconds(const struct sy_bench *bench, int cell, enum sy_moe_from from, uint64_t n_experts, int T,
                           int n_calls)
{
    struct sy_bench_rank rank = {.read = bench->ceilings.ranks[0].rate[SY_PROBE_READ], .n_passes = n_calls};
    struct sy_roof roofs[SY_N_PHASES];

    rank.own.n_rows = (uint64_t)T * (uint64_t)n_calls;
    rank.own.n_expert_rows = rank.own.n_rows * (uint64_t)bench->setup->model->top_k;
    rank.own.n_experts = n_experts;
    sy_bench_roofs(bench, &bench->cells[cell], &rank, &bench->ceilings.ranks[0], roofs);
    return roofs[SY_PHASE_EXPERTS].seconds + (from == SY_MOE_FROM_HIDDEN ? roofs[SY_PHASE_ROUTER].seconds : 0);
}

static enum sy_status measure(struct sy_bench *bench, int cell, const struct sy_bench_rows *rows, enum sy_moe_from from,
                              double *seconds, struct replay *out, struct sy_error *err)
{
    struct sy_setup *setup = bench->setup;
    const struct sy_kernels *k = setup->kernels;
    struct sy_queue *queue = sy_session_queue(setup->session);
    int L = setup->model->n_layers, n_passes = (CALLS + L - 1) / L, n_calls = n_passes * L;
    struct sy_session_own before, after;
    struct sy_recording *recording;

    sy_session_moe_from(setup->session, from);
    enum sy_status st = record(bench, rows, n_passes, &recording, err);
    if (!st && !recording)
        st = sy_error_set(err, SY_ERR_SYSTEM, "a layer cannot be recorded");
    for (int i = -1; i < bench->n_reps && !st; i++) {
        st = k->queue_sync(queue, err);
        sy_session_own(setup->session, &before);
        int64_t begin_ns = sy_clock_ns();
        k->replay(queue, recording);
        if (!st)
            st = k->queue_sync(queue, err);
        if (i >= 0)
            seconds[i] = (double)(sy_clock_ns() - begin_ns) * 1e-9 / n_calls;
        sy_session_own(setup->session, &after);
    }
    k->record_free(recording);
    if (st)
        return st;
    double roof = roof_seconds(bench, cell, from, after.n_experts - before.n_experts, rows->T, n_calls);
    out->seconds = sy_spread_of(seconds, bench->n_reps);
    out->share = roof / n_calls / out->seconds.median;
    return SY_OK;
}

/* Relative error (L2) of the first layer's results for some tokens, which begin at once and end with the last. */
static enum sy_status check(struct sy_bench *bench, const struct sy_bench_rows *rows, double *error,
                            struct sy_error *err)
{
    struct sy_setup *setup = bench->setup;
    const struct sy_kernels *k = setup->kernels;
    struct sy_queue *queue = sy_session_queue(setup->session);
    size_t D = (size_t)setup->model->hidden, bytes = (size_t)rows->T * D * sizeof(float);
    int n = rows->T < CHECKED ? rows->T : CHECKED;
    float *ours = malloc(D * sizeof *ours), *truth = malloc(D * sizeof *truth);
    enum sy_status st = ours && truth ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for results");
    double difference = 0, size = 0;

    sy_session_moe_from(setup->session, SY_MOE_FROM_HIDDEN);
    k->clear(queue, rows->sums, bytes);
    if (!st)
        st = sy_session_moe_layer(setup->session, 0, rows->h, rows->T, rows->sums, err);
    for (int i = 0; i < n && !st; i++) {
        int t = n > 1 ? (int)((int64_t)i * (rows->T - 1) / (n - 1)) : 0;
        k->copy(queue, ours, rows->sums + (size_t)t * D, D * sizeof *ours);
        st = sy_session_moe_truth(setup->session, 0, rows->h, t, truth, err);
        for (size_t d = 0; d < D && !st; d++) {
            difference += pow((double)ours[d] - (double)truth[d], 2);
            size += pow((double)truth[d], 2);
        }
    }
    *error = sqrt(difference / size);
    free(ours);
    free(truth);
    return st;
}

static void report(struct sy_bench *bench, int cell, const struct replay found[N_FROM], double error)
{
    char name[48];

    printf("%-16s", sy_bench_cell_name(&bench->cells[cell], name, sizeof name));
    for (int from = 0; from < N_FROM; from++)
        printf(" %10.1f %4.0f %%", found[from].seconds.median * 1e6, found[from].share * 100);
    printf(" %10.1e\n", error);
    fflush(stdout);
    if (!bench->json)
        return;
    json_t *out = json_pack("{s:f}", "relative_error", error);
    for (int from = 0; from < N_FROM; from++)
        json_object_set_new(out, from_names[from],
                            json_pack("{s:f,s:f,s:f,s:f}", "median_s", found[from].seconds.median, "min_s",
                                      found[from].seconds.min, "max_s", found[from].seconds.max, "share",
                                      found[from].share));
    json_object_set_new(json_array_get(json_object_get(bench->json, "cells"), (size_t)cell), "replay", out);
}

bool sy_bench_can_replay(const struct sy_bench *bench)
{
    return bench->setup->kernels->record && sy_session_moe_records(bench->setup->session);
}

enum sy_status sy_bench_replay(struct sy_bench *bench, int cell, const struct sy_bench_rows *rows, struct sy_error *err)
{
    double *seconds = malloc((size_t)bench->n_reps * sizeof *seconds), error = 0;
    struct replay found[N_FROM];
    enum sy_status st = seconds ? check(bench, rows, &error, err) : sy_error_set(err, SY_ERR_SYSTEM, "no memory");

    if (cell == 0 && !st)
        printf("\nreplayed, microseconds and share of the roof of the experts\n%-16s %17s %17s %17s %10s\n", "",
               "from hidden", "from logits", "from chosen", "error");
    for (int from = 0; from < N_FROM && !st; from++)
        st = measure(bench, cell, rows, (enum sy_moe_from)from, seconds, &found[from], err);
    sy_session_moe_from(bench->setup->session, SY_MOE_FROM_HIDDEN);
    if (!st)
        report(bench, cell, found, error);
    free(seconds);
    return st;
}
