/* SPDX-License-Identifier: Apache-2.0
 * bench_ceilings.c - the ceilings of 1, 2, 4, ... threads of each rank
 */
#include "cli/bench.h"
#include "cli/bench_report.h"

/* Idle threads spin this long: the probes of a set follow one another. */
#define SPIN_US 50

static enum sy_status run(struct sy_bench *bench, int n_threads, struct sy_error *err)
{
    struct sy_setup *setup = bench->setup;
    struct sy_pool *pool = NULL;
    struct sy_queue *queue = NULL;
    enum sy_status st = sy_pool_create(n_threads, setup->bound ? setup->cpus : NULL, SPIN_US, &pool, err);

    if (!st)
        st = setup->kernels->queue_create(pool, &queue, err);
    if (!st)
        st = sy_bench_probe_init(&bench->probe, setup->kernels, queue, (size_t)setup->settings->probe_bytes, err);
    st = sy_setup_agree(setup, st, err);
    if (!st)
        st = sy_bench_ceilings_measure(setup, &bench->probe, n_threads, bench->n_reps, &bench->ceilings, err);
    if (!st)
        sy_report_ceilings(bench, &bench->ceilings, bench->n_reps);
    sy_bench_ceilings_fini(&bench->ceilings);
    sy_bench_probe_fini(&bench->probe);
    if (queue)
        setup->kernels->queue_destroy(queue);
    sy_pool_destroy(pool);
    return st;
}

enum sy_status sy_bench_run_ceilings(struct sy_bench *bench, struct sy_error *err)
{
    int most = bench->setup->n_threads;
    enum sy_status st = SY_OK;

    /* A GPU asks nothing of the threads. */
    for (int n = 1; n < most && !st && !bench->setup->kernels->on_device; n *= 2)
        st = run(bench, n, err);
    return st ? st : run(bench, most, err);
}
