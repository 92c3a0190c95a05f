/* SPDX-License-Identifier: Apache-2.0
 * bench_dispatch.c - rows to their experts and results back, without a model
 *
 * Each round draws routing anew and moves its rows both ways by the engine's transports, by MPI_Alltoallv and by memcpy, in
 * turn, so that a drift of the machine meets all alike. A way has several goes in its turn, and the first does not count:
 * it would pay for what the way before left in the caches. Between two timed parts all ranks meet in a barrier; a part's
 * time is that of the slowest rank.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/bench.h"
#include "cli/bench_exchange.h"
#include "cli/bench_report.h"

#define GOES               4
#define ITERATIONS_MIN     20
#define ITERATIONS_MAX     1000
#define REPETITION_SECONDS 0.2
#define ALLOWANCE          1.2 /* of memory, for what is not counted here */

/* What one go of each way took this rank, in seconds. */
struct times {
    double of[SY_N_WAYS][SY_N_DIRECTIONS];
};

struct job {
    struct sy_pool *pool;
    struct sy_queue *queue;
    struct sy_placement *placement;
    struct sy_fabric *fabric;
    struct sy_moe *moe;
    struct sy_routing routing;
    struct sy_baseline baseline;
    int chunk_rows;      /* that suit the transport, where nobody says how many */
    int32_t *ids;        /* [max_tokens, K] */
    uint8_t *seen;       /* [max_tokens * K] rows: a copy of the moe's results, for the host to check */
    struct times *times; /* [ITERATIONS_MAX] of this rank */
    struct times *all;   /* [R * ITERATIONS_MAX] */
    double *sorted;      /* [ITERATIONS_MAX] */
    struct sy_link ours, mpi;
};

/* ---- set-up ---- */

/* What is asked of the transports, before what the layer needs. */
static struct sy_transport_config rings(const struct sy_settings *s)
{
    return (struct sy_transport_config){.n_slots = (int)s->slots, .choice = sy_transport_choice_of(s->transport)};
}

static struct sy_moe_config moe_config(const struct sy_bench *bench, const struct job *job)
{
    const struct sy_settings *s = bench->setup->settings;
    int most = 1;

    for (int i = 0; i < bench->n_cells; i++)
        most = bench->cells[i].n_tokens > most ? bench->cells[i].n_tokens : most;
    return (struct sy_moe_config){.kernels = bench->setup->kernels,
                                  .queue = job->queue,
                                  .fabric = job->fabric,
                                  .placement = job->placement,
                                  .rule = {.n_experts = (int)s->experts, .top_k = (int)s->active},
                                  .hidden = (int)s->hidden,
                                  .expert_width = 1,
                                  .max_tokens = most,
                                  .chunk_rows = s->chunk_rows ? (int)s->chunk_rows : job->chunk_rows,
                                  .wire = strcmp(s->compute, "f32") ? SY_BF16 : SY_F32};
}

/* Refuse what this node cannot hold: windows, and the four buffers of the baseline. */
static enum sy_status check_memory(const struct sy_bench *bench, const struct sy_moe_config *config,
                                   const struct sy_transport_config *transport, struct sy_error *err)
{
    const struct sy_setup *setup = bench->setup;
    double window = (double)transport->window_bytes, n_local = sy_group_node_size(setup->group);
    double row = (double)config->hidden * (double)sy_dtype_bytes(config->wire);
    double pairs = (double)config->max_tokens * config->rule.top_k * setup->n_ranks;
    double need = n_local * ALLOWANCE *
                  (2 * window + 2 * row * (pairs + config->max_tokens * setup->n_ranks) +
                   row * config->max_tokens * (config->rule.top_k + 1) +
                   (double)sy_fabric_need(setup->group, transport));

    if (need <= (double)setup->machine.memory_free_bytes)
        return SY_OK;
    return sy_error_set(err, SY_ERR_SYSTEM,
                        "bench dispatch needs %.1f GB on this node, but %.1f GB are free; take "
                        "fewer --tokens",
                        need * 1e-9, (double)setup->machine.memory_free_bytes * 1e-9);
}

static enum sy_status open_local(struct sy_bench *bench, struct job *job, struct sy_error *err)
{
    const struct sy_setup *setup = bench->setup;
    const struct sy_settings *s = setup->settings;
    enum sy_status st;

    if (s->active > s->experts)
        return sy_error_set(err, SY_ERR_USAGE,
                            "--active %lld of --experts %lld: a token cannot choose more than there "
                            "are",
                            (long long)s->active, (long long)s->experts);
    if ((st = sy_pool_create(1, NULL, 0, &job->pool, err)) ||
        (st = setup->kernels->queue_create(job->pool, &job->queue, err)) ||
        (st = sy_placement_even(1, (int)s->experts, setup->n_ranks, &job->placement, err)))
        return st;
    return sy_routing_init(&job->routing, s->routing, (int)s->experts, (int)s->active, (uint64_t)s->seed, err);
}

static enum sy_status open_buffers(struct sy_bench *bench, struct job *job, struct sy_error *err)
{
    struct sy_moe_config config = moe_config(bench, job);
    size_t n = ITERATIONS_MAX, R = (size_t)bench->setup->n_ranks;
    enum sy_status st = sy_moe_create(&config, &job->moe, err);

    if (!st)
        st = sy_baseline_init(&job->baseline, job->moe, err);
    if (st)
        return st;
    job->ids = malloc((size_t)config.max_tokens * (size_t)config.rule.top_k * sizeof *job->ids);
    job->seen = malloc((size_t)config.max_tokens * (size_t)config.rule.top_k * job->moe->rows.row_bytes);
    job->times = malloc(n * sizeof *job->times);
    job->all = malloc(R * n * sizeof *job->all);
    job->sorted = malloc(n * sizeof *job->sorted);
    if (!job->ids || !job->seen || !job->times || !job->all || !job->sorted)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for bench dispatch");
    return SY_OK;
}

static enum sy_status open_job(struct sy_bench *bench, struct job *job, struct sy_error *err)
{
    struct sy_setup *setup = bench->setup;
    struct sy_transport_config transport = rings(setup->settings);
    enum sy_status st = sy_setup_agree(setup, open_local(bench, job, err), err);

    if (st)
        return st;
    struct sy_moe_config config = moe_config(bench, job);
    if (!config.chunk_rows && (st = sy_moe_chunk_rows(&config, &transport, setup->group, &job->chunk_rows, err)))
        return st;
    config = moe_config(bench, job);
    sy_moe_transport(&config, setup->n_ranks, &transport);
    st = sy_setup_agree(setup, check_memory(bench, &config, &transport, err), err);
    if (!st)
        st = sy_fabric_open(setup->group, &transport, &job->fabric, err);
    return st ? st : sy_setup_agree(setup, open_buffers(bench, job, err), err);
}

static void close_job(struct sy_bench *bench, struct job *job)
{
    sy_baseline_fini(&job->baseline);
    sy_moe_destroy(job->moe);
    sy_fabric_close(job->fabric);
    sy_routing_fini(&job->routing);
    sy_placement_destroy(job->placement);
    if (job->queue)
        bench->setup->kernels->queue_destroy(job->queue);
    sy_pool_destroy(job->pool);
    free(job->ids);
    free(job->seen);
    free(job->times);
    free(job->all);
    free(job->sorted);
}

/* ---- measuring ---- */

/* Every result of others is the row that went out, since these experts return what they get. */
static bool results_right(const struct job *job)
{
    const struct sy_moe *moe = job->moe;
    const struct sy_plan *plan = &moe->plan;
    size_t row_bytes = moe->rows.row_bytes;

    for (int row = 0; row < plan->n_rows; row++) {
        bool own = row >= plan->row_first[moe->rank] && row < plan->row_first[moe->rank + 1];
        for (int pair = plan->pair_first[row]; pair < plan->pair_first[row + 1] && !own; pair++)
            if (memcmp(job->seen + plan->pair_index[pair] * row_bytes,
                       job->baseline.own + plan->row_token[row] * row_bytes, row_bytes) != 0)
                return false;
    }
    return true;
}

/* Results may lie where only kernels read. */
static enum sy_status check_results(struct job *job, int T, struct sy_error *err)
{
    const struct sy_moe *moe = job->moe;
    const struct sy_kernels *kernels = moe->config.kernels;

    kernels->copy(job->queue, job->seen, moe->results, (size_t)(T * moe->plan.top_k) * moe->rows.row_bytes);
    enum sy_status st = kernels->queue_sync(job->queue, err);
    if (!st && !results_right(job))
        st = sy_error_set(err, SY_ERR_INTERNAL, "bench dispatch: results are not the rows that were sent");
    return st;
}

static enum sy_status run_part(struct job *job, enum sy_way way, enum sy_direction direction, double *seconds,
                               struct sy_error *err)
{
    struct sy_group *group = sy_fabric_group(job->fabric);
    enum sy_status st = sy_group_barrier(group, err);
    int64_t begin_ns = sy_clock_ns();

    if (st)
        return st;
    if (way == SY_WAY_OURS) {
        st = direction == SY_TO_EXPERTS ? sy_exchange_dispatch(job->moe, job->ids, err)
                                        : sy_exchange_combine(job->moe, err);
        *seconds = (double)(sy_clock_ns() - begin_ns) * 1e-9;
        return st;
    }
    sy_group_guard(group, "MPI_Alltoallv");
    st = sy_baseline_run(&job->baseline, way, direction, seconds, err);
    sy_group_unguard();
    return st;
}

/* times: [GOES]. The baselines follow the plan of this round's dispatch. */
static enum sy_status run_round(struct job *job, int T, bool verify, struct times *times, struct sy_error *err)
{
    struct sy_moe *moe = job->moe;
    enum sy_status st = SY_OK;

    sy_routing_draw(&job->routing, moe->rank, T, job->ids);
    if (verify)
        moe->config.kernels->clear(job->queue, moe->results, (size_t)(T * moe->plan.top_k) * moe->rows.row_bytes);
    if (verify)
        st = moe->config.kernels->queue_sync(job->queue, err);
    if (!st)
        st = sy_exchange_ready(moe, 0, job->ids, T, err);
    for (int way = 0; way < SY_N_WAYS; way++)
        for (int go = -1; go < GOES; go++)
            for (int direction = 0; direction < SY_N_DIRECTIONS && !st; direction++)
                st = run_part(job, (enum sy_way)way, (enum sy_direction)direction,
                              &times[go < 0 ? 0 : go].of[way][direction], err);
    if (!st && verify)
        st = check_results(job, T, err);
    if (!st && verify && !sy_baseline_right(&job->baseline))
        st = sy_error_set(err, SY_ERR_INTERNAL, "bench dispatch: MPI_Alltoallv brought other rows than were sent");
    return st;
}

/* How many goes, from one that has just run on all ranks. */
static enum sy_status choose_iterations(struct sy_bench *bench, const struct times *one, int *n, struct sy_error *err)
{
    double mine = 0, all[bench->setup->n_ranks], slowest = 0;

    for (int way = 0; way < SY_N_WAYS; way++)
        for (int direction = 0; direction < SY_N_DIRECTIONS; direction++)
            mine += one->of[way][direction];
    enum sy_status st = sy_group_allgather(bench->setup->group, &mine, sizeof mine, all, err);
    for (int r = 0; r < bench->setup->n_ranks && !st; r++)
        slowest = fmax(slowest, all[r]);
    double want = bench->n_reps * REPETITION_SECONDS / fmax(slowest, 1e-9);
    *n = (want < ITERATIONS_MIN ? ITERATIONS_MIN : want > ITERATIONS_MAX ? ITERATIONS_MAX : (int)want) / GOES * GOES;
    return st;
}

static int by_value(const void *left, const void *right)
{
    const double *a = left, *b = right;

    return (*a > *b) - (*a < *b);
}

/* Each go's slowest rank, and of these the median, the 99th percentile and the largest. */
static struct sy_exchange_spread spread_of(const struct job *job, int n_ranks, int n, int way, int direction)
{
    for (int i = 0; i < n; i++) {
        job->sorted[i] = 0;
        for (int r = 0; r < n_ranks; r++)
            job->sorted[i] = fmax(job->sorted[i], job->all[(size_t)r * (size_t)n + (size_t)i].of[way][direction]);
    }
    qsort(job->sorted, (size_t)n, sizeof *job->sorted, by_value);
    return (struct sy_exchange_spread){job->sorted[n / 2], job->sorted[(n * 99 + 99) / 100 - 1], job->sorted[n - 1]};
}

static enum sy_status run_cell(struct sy_bench *bench, struct job *job, int cell, struct sy_error *err)
{
    int T = bench->cells[cell].n_tokens, n = 0, n_ranks = bench->setup->n_ranks;
    struct sy_exchange_cell out = {.n_tokens = T};
    double bytes[SY_N_DIRECTIONS] = {0}, all[SY_N_DIRECTIONS * n_ranks];
    enum sy_status st = SY_OK;

    for (int i = 0; i < 3 && !st; i++)
        st = run_round(job, T, true, &job->times[0], err);
    if (!st)
        st = choose_iterations(bench, &job->times[0], &n, err);
    for (int i = 0; i < n && !st; i += GOES) {
        st = run_round(job, T, false, &job->times[i], err);
        for (int p = 0; p < n_ranks; p++) {
            bytes[SY_TO_EXPERTS] += p == job->moe->rank ? 0 : GOES * sy_plan_n_rows(&job->moe->plan, p);
            bytes[SY_BACK] += p == job->moe->rank ? 0 : GOES * sy_plan_n_pairs(&job->moe->plan, p);
        }
    }
    if (!st)
        st = sy_group_allgather(bench->setup->group, job->times, (size_t)n * sizeof *job->times, job->all, err);
    if (!st)
        st = sy_group_allgather(bench->setup->group, bytes, sizeof bytes, all, err);
    if (st)
        return st;
    out.n_iterations = n;
    out.by_devices = job->moe->across.way != 0;
    for (int direction = 0; direction < SY_N_DIRECTIONS; direction++) {
        for (int r = 0; r < n_ranks; r++)
            out.row_bytes[direction] = fmax(out.row_bytes[direction], all[r * SY_N_DIRECTIONS + direction] / n *
                                                                          (double)job->moe->rows.row_bytes);
        for (int way = 0; way < SY_N_WAYS; way++)
            out.spread[way][direction] = spread_of(job, n_ranks, n, way, direction);
    }
    sy_report_exchange(bench, &out);
    return SY_OK;
}

enum sy_status sy_bench_run_dispatch(struct sy_bench *bench, struct sy_error *err)
{
    struct job job = {0};
    enum sy_status st = open_job(bench, &job, err);

    if (!st)
        st = sy_link_measure(job.moe, &job.ours, &job.mpi, err);
    if (!st)
        sy_report_exchange_open(bench, sy_fabric_describe(job.fabric), job.moe->config.chunk_rows, &job.ours, &job.mpi);
    sy_progress_begin(&bench->progress, "measuring", "sizes", (uint64_t)bench->n_cells, bench->setup->rank == 0);
    for (int cell = 0; cell < bench->n_cells && !st; cell++) {
        st = run_cell(bench, &job, cell, err);
        sy_progress_update(&bench->progress, (uint64_t)cell + 1);
    }
    sy_progress_end(&bench->progress);
    /* Who waited in vain ends at once, with lines that are kept in the job; nobody would come to what closing waits for. */
    if (st != SY_ERR_PEER)
        close_job(bench, &job);
    return st;
}
