/* SPDX-License-Identifier: Apache-2.0
 * bench_layer.c - one layer of experts: router, dispatch, experts, combine
 *
 * The layers of the session take turns, and before each round of turns every rank reads its probe buffer, which is larger
 * than the caches: so each call finds its experts in memory, as a layer of a large model does.
 */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/bench.h"
#include "cli/bench_report.h"
#include "engine/kvcache.h"

#define REPETITION_SECONDS 0.2
#define ROUNDS_MAX         64

struct job {
    float *h;                       /* [T, D] rows as they are made */
    float *rows, *sums;             /* [T, D] the same where kernels read them, and the residual stream */
    bool overlap;                   /* as asked, of the measured layers */
    uint64_t n_random;              /* rows made so far */
    int rounds[SY_BENCH_CELLS_MAX]; /* of a repetition */
};

/* This rank's part of n tokens. */
static int own_tokens(const struct sy_setup *setup, int n)
{
    return n / setup->n_ranks + (setup->rank < n % setup->n_ranks);
}

/* Rows with a root mean square of 1, like those behind a norm. */
static void make_rows(const struct sy_bench *bench, struct job *job, int T)
{
    const struct sy_setup *setup = bench->setup;
    struct sy_queue *queue = sy_session_queue(setup->session);
    size_t D = (size_t)setup->model->hidden;

    for (int t = 0; t < T; t++) {
        uint64_t row = job->n_random++;
        for (size_t d = 0; d < D; d++) {
            uint64_t bits = sy_bench_random((uint64_t)setup->settings->seed, 2, (uint64_t)setup->rank, row, d);
            job->h[(size_t)t * D + d] = (float)(((double)(bits >> 11) * 0x1p-52 - 1) * sqrt(3));
        }
    }
    setup->kernels->copy(queue, job->rows, job->h, (size_t)T * D * sizeof *job->h);
    setup->kernels->clear(queue, job->sums, (size_t)T * D * sizeof *job->sums);
}

/* Every layer once. */
static enum sy_status round_of_layers(struct sy_bench *bench, int T, struct sy_bench_rank *mine, struct sy_error *err)
{
    struct sy_setup *setup = bench->setup;
    struct job *job = bench->ctx;
    struct sy_session_own before, after;
    int L = setup->model->n_layers;

    setup->kernels->probe(sy_session_queue(setup->session), SY_PROBE_READ, bench->probe.buffer, bench->probe.bytes, 1);
    enum sy_status st = setup->kernels->queue_sync(sy_session_queue(setup->session), err);
    if (!st)
        st = sy_session_moe_begin(setup->session, T, err);
    if (!st)
        st = sy_group_barrier(setup->group, err);
    sy_session_mark(setup->session);
    sy_session_own(setup->session, &before);
    int64_t begin_ns = sy_clock_ns();
    for (int layer = 0; layer < L && !st; layer++)
        st = sy_session_moe_layer(setup->session, layer, job->rows, T, job->sums, err);
    if (!st)
        st = sy_session_moe_end(setup->session, err);
    mine->seconds += (double)(sy_clock_ns() - begin_ns) * 1e-9;
    sy_session_own(setup->session, &after);
    sy_bench_add_own(mine, &before, &after);
    mine->own.n_rows += (uint64_t)T * (uint64_t)L;
    mine->n_passes += T ? L : 0;
    return st;
}

/* How many rounds make a repetition, from one that has just run on all ranks. */
static enum sy_status choose_rounds(struct sy_bench *bench, const struct sy_bench_rank *mine, int *rounds,
                                    struct sy_error *err)
{
    int n_ranks = bench->setup->n_ranks;
    double *all = malloc((size_t)n_ranks * sizeof *all), slowest = 0;
    enum sy_status st = all ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory");

    st = sy_setup_agree(bench->setup, st, err);
    if (!st)
        st = sy_group_allgather(bench->setup->group, &mine->seconds, sizeof *all, all, err);
    for (int r = 0; r < n_ranks && !st; r++)
        slowest = all[r] > slowest ? all[r] : slowest;
    free(all);
    double n = ceil(REPETITION_SECONDS / (slowest > 0 ? slowest : 1));
    *rounds = n < ROUNDS_MAX ? (int)n : ROUNDS_MAX;
    return st;
}

static enum sy_status run(struct sy_bench *bench, int cell, bool warm, struct sy_bench_sample *sample,
                          struct sy_bench_rank *mine, struct sy_error *err)
{
    struct job *job = bench->ctx;
    int n_tokens = bench->cells[cell].n_tokens, T = own_tokens(bench->setup, n_tokens);
    int rounds = warm ? 2 : job->rounds[cell];
    enum sy_status st = SY_OK;

    make_rows(bench, job, T);
    for (int i = 0; i < rounds && !st; i++) {
        if (warm)
            *mine = (struct sy_bench_rank){0};
        st = round_of_layers(bench, T, mine, err);
    }
    if (warm)
        return st ? st : choose_rounds(bench, mine, &job->rounds[cell], err);
    sample->n_steps = rounds * bench->setup->model->n_layers;
    sample->n_tokens = (int64_t)n_tokens * sample->n_steps;
    return st;
}

static enum sy_status round_for_overlap(struct sy_bench *bench, int cell, double *seconds, struct sy_error *err)
{
    struct sy_bench_rank mine = {0};
    enum sy_status st = round_of_layers(bench, own_tokens(bench->setup, bench->cells[cell].n_tokens), &mine, err);

    *seconds = mine.seconds;
    return st;
}

/* A session that serves no sequence needs only room for a step of the layer. */
static int size_session(struct sy_bench *bench)
{
    struct sy_settings *s = bench->setup->settings;
    const struct sy_kv_plan plan = {.shape = {.dtype = SY_F32,
                                              .n_kv_heads = bench->shape.n_kv_heads,
                                              .k_dim = bench->shape.head_dim,
                                              .v_dim = bench->shape.head_dim},
                                    .n_layers = {bench->shape.n_layers}};
    int most = 1;

    for (int i = 0; i < bench->n_cells; i++) {
        int each = (bench->cells[i].n_tokens + bench->setup->n_ranks - 1) / bench->setup->n_ranks;
        most = each > most ? each : most;
    }
    s->max_tokens_per_step = most;
    /* Layers in turn are measured beside the others. */
    s->overlap = s->overlap && bench->setup->n_ranks == 1;
    s->max_sequences = s->prefill_chunk = 1;
    s->kv_bytes = sy_kv_page_bytes(bench->setup->kernels, &plan);
    return most;
}

enum sy_status sy_bench_run_layer(struct sy_bench *bench, struct sy_error *err)
{
    struct job job = {.overlap = bench->setup->settings->overlap};
    size_t n = (size_t)size_session(bench) * (size_t)bench->shape.hidden;

    const struct sy_kernels *kernels = bench->setup->kernels;
    job.h = malloc(n * sizeof *job.h);
    job.rows = kernels->alloc(n * sizeof *job.rows);
    job.sums = kernels->alloc(n * sizeof *job.sums);
    bench->ctx = &job;
    enum sy_status st = job.h && job.rows && job.sums
                            ? SY_OK
                            : sy_error_set(err, SY_ERR_SYSTEM, "no memory for a layer's rows");
    st = sy_setup_agree(bench->setup, st, err);
    if (!st)
        st = sy_bench_open(bench, NULL, NULL, err);
    if (!st)
        st = sy_bench_alloc_samples(bench, err);
    if (!st) {
        sy_session_take_turns(bench->setup->session, !job.overlap, NULL, NULL);
        st = sy_bench_repeat(bench, run, err);
    }
    if (!st)
        sy_report_cells(bench);
    for (int cell = 0; cell < bench->n_cells && bench->setup->n_ranks > 1 && !st; cell++) {
        make_rows(bench, &job, own_tokens(bench->setup, bench->cells[cell].n_tokens));
        st = sy_bench_overlap(bench, cell, job.rounds[cell], round_for_overlap, err);
    }
    for (int cell = 0; cell < bench->n_cells && !st && sy_bench_can_replay(bench); cell++) {
        struct sy_bench_rows rows = {bench->cells[cell].n_tokens, job.rows, job.sums};
        make_rows(bench, &job, rows.T);
        st = sy_bench_replay(bench, cell, &rows, err);
    }
    free(job.h);
    kernels->free(job.rows, n * sizeof *job.rows);
    kernels->free(job.sums, n * sizeof *job.sums);
    return st;
}
