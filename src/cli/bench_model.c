/* SPDX-License-Identifier: Apache-2.0
 * bench_model.c - prefill and decode of a whole model
 *
 * A repetition goes through the engine as a job does: requests of random tokens are submitted, steps are run. Rank 0 times
 * each step and decides afterwards whether it counts: of a prefill all do, of a decode those in which every sequence was
 * decoding. It tells the others, so that each adds up the same steps.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/bench.h"
#include "cli/bench_report.h"
#include "engine/kvcache.h"

#define WARM_STEPS  3 /* decode steps that warm up */
#define IDLE_MS     1
#define SPARE_PAGES 4 /* of each sequence, so that the scheduler admits all at once */

/* What rank 0 says after each step. */
struct verdict {
    uint8_t counts, more;
};

struct job {
    struct sy_bench *bench;
    struct sy_buf verdict;
    int32_t *prompt; /* room for the longest */
    uint64_t next_id;
    int n_prompt;         /* of the repetition that runs */
    int n_first, n_later; /* tokens of this step: the first of a sequence, and others */
};

static void on_token(void *ctx, const struct sy_token_event *event)
{
    struct job *job = ctx;

    if (event->token < 0)
        return;
    job->n_first += event->position == job->n_prompt;
    job->n_later += event->position > job->n_prompt;
}

static int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

/* Tokens that each sequence may make. Sequences start decoding as soon as their prompt is done, so the first ones must last
 * until the last one decodes too. */
static int max_tokens(const struct sy_bench *bench, const struct sy_bench_cell *cell)
{
    const struct sy_settings *s = bench->setup->settings;
    int per_rank = ceil_div(cell->n_sequences, bench->setup->n_ranks), step = (int)s->max_tokens_per_step;
    int room = step > per_rank ? step - per_rank : 1;

    if (cell->kind == SY_BENCH_PREFILL)
        return 1;
    int64_t steps = 2 * ((int64_t)per_rank * cell->n_tokens / room + 1) + cell->n_tokens / s->prefill_chunk + 2;
    return (int)(s->generate + 1 + steps);
}

/* What the session must hold for all cells. */
static void size_session(struct sy_bench *bench)
{
    const struct sy_shape *shape = &bench->shape;
    struct sy_settings *s = bench->setup->settings;
    enum sy_dtype kv = strcmp(s->compute, "f32") ? SY_BF16 : SY_F32;
    const struct sy_kv_plan plan = {
        .shape = {.dtype = kv, .n_kv_heads = shape->n_kv_heads, .k_dim = shape->head_dim, .v_dim = shape->head_dim},
        .n_layers = {shape->n_layers}};
    size_t n_pages = 1, page = sy_kv_page_bytes(bench->setup->kernels, &plan);

    s->max_sequences = 1;
    for (int i = 0; i < bench->n_cells; i++) {
        const struct sy_bench_cell *cell = &bench->cells[i];
        int per_rank = ceil_div(cell->n_sequences, bench->setup->n_ranks);
        int each = sy_kv_pages(cell->n_tokens + max_tokens(bench, cell)) + SPARE_PAGES;
        if ((size_t)per_rank * (size_t)each > n_pages)
            n_pages = (size_t)per_rank * (size_t)each;
        if (per_rank > s->max_sequences)
            s->max_sequences = per_rank;
    }
    s->kv_bytes = n_pages * page;
}

/* Rank 0: every sequence with random tokens of its own. */
static enum sy_status submit(struct job *job, const struct sy_bench_cell *cell, struct sy_error *err)
{
    struct sy_setup *setup = job->bench->setup;
    struct sy_request request = {.prompt = job->prompt,
                                 .n_prompt = cell->n_tokens,
                                 .max_tokens = max_tokens(job->bench, cell),
                                 .top_p = 1,
                                 .n_logprobs = -1,
                                 .ignore_eos = true};
    enum sy_status st = SY_OK;

    job->n_prompt = cell->n_tokens;
    for (int i = 0; i < cell->n_sequences && !st; i++) {
        request.id = job->next_id++;
        for (int t = 0; t < cell->n_tokens; t++)
            job->prompt[t] = (int32_t)(sy_bench_random((uint64_t)setup->settings->seed, 1, request.id, (uint64_t)t, 0) %
                                       (uint64_t)setup->model->vocab);
        st = sy_session_submit(setup->session, &request, err);
    }
    return st;
}

/* Does the step that has just run count? */
static bool counts(const struct job *job, const struct sy_bench_cell *cell)
{
    return cell->kind == SY_BENCH_PREFILL || (job->n_later == cell->n_sequences && !job->n_first);
}

/* One step, and whether it counts and another one follows. */
static enum sy_status step(struct job *job, const struct sy_bench_cell *cell, int n_wanted,
                           struct sy_bench_sample *sample, struct sy_bench_rank *mine, bool *more, struct sy_error *err)
{
    struct sy_session *session = job->bench->setup->session;
    struct sy_session_own before, after;
    struct verdict verdict = {0};
    bool ended, decode = cell->kind == SY_BENCH_DECODE;

    /* The tokens of a prefill are all known at its beginning: its experts are needed once. Those of a decode are not. */
    if (decode || !sample->n_steps)
        sy_session_mark(session);
    job->n_first = job->n_later = 0;
    sy_session_own(session, &before);
    int64_t begin_ns = sy_clock_ns();
    enum sy_status st = sy_session_step(session, IDLE_MS, &ended, err);
    double seconds = (double)(sy_clock_ns() - begin_ns) * 1e-9;
    sy_session_own(session, &after);
    if (st)
        return st;
    if (job->bench->setup->rank == 0) {
        verdict.counts = counts(job, cell) && (!decode || sample->n_steps < n_wanted);
        verdict.more = sy_session_n_pending(session) > 0;
        job->verdict.len = 0;
        if (!sy_buf_append(&job->verdict, &verdict, sizeof verdict))
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a step's verdict");
    }
    if ((st = sy_group_bcast(job->bench->setup->group, 0, &job->verdict, err)))
        return st;
    if (job->verdict.len != sizeof verdict)
        return sy_error_set(err, SY_ERR_INTERNAL, "a step's verdict has %zu bytes", job->verdict.len);
    memcpy(&verdict, job->verdict.data, sizeof verdict);
    *more = verdict.more;
    if (!verdict.counts)
        return SY_OK;
    sample->seconds += seconds;
    sample->n_steps++;
    sy_bench_add_own(mine, &before, &after);
    bool rows = after.n_rows > before.n_rows;
    mine->n_passes = decode ? mine->n_passes + rows : mine->n_passes || rows;
    return SY_OK;
}

static enum sy_status run(struct sy_bench *bench, int cell_number, bool warm, struct sy_bench_sample *sample,
                          struct sy_bench_rank *mine, struct sy_error *err)
{
    const struct sy_bench_cell *cell = &bench->cells[cell_number];
    struct job *job = bench->ctx;
    struct sy_setup *setup = bench->setup;
    int n_wanted = warm ? WARM_STEPS : (int)setup->settings->generate;
    bool more = true, cancelled = cell->kind == SY_BENCH_PREFILL;
    struct sy_bench_rank *ranks = sample->ranks;
    enum sy_status st = sy_setup_agree(setup, setup->rank ? SY_OK : submit(job, cell, err), err);

    *sample = (struct sy_bench_sample){.ranks = ranks};
    while (more && !st) {
        st = step(job, cell, n_wanted, sample, mine, &more, err);
        if (st || setup->rank || cancelled || sample->n_steps < n_wanted)
            continue;
        /* Enough: what is left over of the sequences need not run. */
        for (int i = 1; i <= cell->n_sequences; i++)
            sy_session_cancel(setup->session, job->next_id - (uint64_t)i);
        cancelled = true;
    }
    if (!st && !sample->n_steps)
        st = sy_error_set(
            err, SY_ERR_USAGE,
            "decode %d: there was no step in which all sequences decoded; give --max-tokens-per-step more",
            cell->n_sequences);
    sample->n_tokens = (int64_t)cell->n_sequences * (cell->kind == SY_BENCH_PREFILL ? cell->n_tokens : sample->n_steps);
    return st;
}

enum sy_status sy_bench_run_model(struct sy_bench *bench, struct sy_error *err)
{
    struct job job = {.bench = bench, .verdict = SY_BUF_INIT};
    int longest = 1;

    for (int i = 0; i < bench->n_cells; i++)
        if (bench->cells[i].n_tokens > longest)
            longest = bench->cells[i].n_tokens;
    size_session(bench);
    bench->ctx = &job;
    job.prompt = malloc((size_t)longest * sizeof *job.prompt);
    enum sy_status st = job.prompt ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for a prompt");
    st = sy_setup_agree(bench->setup, st, err);
    if (!st)
        st = sy_bench_open(bench, on_token, &job, err);
    if (!st)
        st = sy_bench_alloc_samples(bench, err);
    if (!st)
        st = sy_bench_repeat(bench, run, err);
    if (!st)
        sy_report_cells(bench);
    sy_buf_fini(&job.verdict);
    free(job.prompt);
    return st;
}
