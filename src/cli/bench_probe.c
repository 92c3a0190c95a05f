/* SPDX-License-Identifier: Apache-2.0
 * bench_probe.c - measuring ceilings, and comparing them with those of a known machine
 */
#include "cli/bench_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define PROBE_SECONDS  0.1
#define ROUNDS_MAX     1000000
#define REFERENCE_PART 0.9

static const struct {
    const char *name, *unit;
} kinds[SY_N_PROBES] = {
    [SY_PROBE_READ] = {"read", "GB/s"},
    [SY_PROBE_FP32] = {"FP32", "GFLOP/s"},
    [SY_PROBE_BF16] = {"BF16", "GFLOP/s"},
    [SY_PROBE_INT8] = {"INT8", "GOP/s"},
};

/* Two virtual cores of an AMD Zen 5 at 4.0 GHz with AVX-512, DDR5, in 1e9 a second; the lower of two readings. The project
 * compares itself with other engines on that machine. */
static const struct {
    int n_threads;
    double rate[SY_N_PROBES];
} reference[] = {
    {1, {38, 252, 502, 1010}},
    {2, {44, 480, 958, 1975}},
};

const char *sy_probe_name(enum sy_probe what)
{
    return kinds[what].name;
}

const char *sy_probe_unit(enum sy_probe what)
{
    return kinds[what].unit;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

struct sy_spread sy_spread_of(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, by_value);
    return (struct sy_spread){(values[n / 2] + values[(n - 1) / 2]) / 2, values[0], values[n - 1]};
}

enum sy_status sy_bench_probe_init(struct sy_bench_probe *probe, const struct sy_kernels *kernels,
                                   struct sy_queue *queue, size_t bytes, struct sy_error *err)
{
    enum { WIDTH = 1 << 14 };

    *probe = (struct sy_bench_probe){.kernels = kernels, .queue = queue, .bytes = bytes};
    probe->buffer = kernels->alloc(bytes);
    if (!probe->buffer)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the %.1f MB that --probe-bytes asks for",
                            (double)bytes * 1e-6);
    /* Memory that was never written is one page of zeros over and over. Its threads write it, each near itself. */
    kernels->add(queue, probe->buffer, probe->buffer, (int)(bytes / sizeof(float) / WIDTH), WIDTH);
    return SY_OK;
}

void sy_bench_probe_fini(struct sy_bench_probe *probe)
{
    if (probe->buffer)
        probe->kernels->free(probe->buffer, probe->bytes);
    probe->buffer = NULL;
}

/* Some rounds; returns their rate. */
static double run(struct sy_bench_probe *probe, enum sy_probe what, int rounds)
{
    int64_t begin_ns = sy_clock_ns();
    double done = probe->kernels->probe(probe->queue, what, probe->buffer, probe->bytes, rounds);
    double seconds = (double)(sy_clock_ns() - begin_ns) * 1e-9;

    probe->round_s[what] = seconds / rounds;
    return done / seconds;
}

double sy_bench_probe_rate(struct sy_bench_probe *probe, enum sy_probe what, double seconds)
{
    /* The first time: more and more until it takes a while, which also wakes the machine up. */
    if (!probe->round_s[what])
        for (int rounds = 1; rounds < ROUNDS_MAX; rounds *= 2) {
            run(probe, what, rounds);
            if (probe->round_s[what] * rounds > seconds / 4)
                break;
        }
    double wanted = seconds / probe->round_s[what];
    return run(probe, what, wanted < 1 ? 1 : wanted > ROUNDS_MAX ? ROUNDS_MAX : (int)(wanted + 0.5));
}

/* samples[what * n_reps + rep]: sums over ranks; ranks[r]: its medians. all: [R][SY_N_PROBES][n_reps] */
static void summarize(struct sy_bench_ceilings *out, const double *all, int n_ranks, int n_reps, double *scratch)
{
    size_t n = (size_t)n_reps;

    for (int what = 0; what < SY_N_PROBES; what++) {
        for (int r = 0; r < n_ranks; r++) {
            const double *own = all + ((size_t)r * SY_N_PROBES + (size_t)what) * n;
            for (size_t i = 0; i < n; i++)
                out->samples[(size_t)what * n + i] += own[i];
            memcpy(scratch, own, n * sizeof *own);
            out->ranks[r].rate[what] = sy_spread_of(scratch, n_reps).median;
        }
        memcpy(scratch, out->samples + (size_t)what * n, n * sizeof *scratch);
        out->spread[what] = sy_spread_of(scratch, n_reps);
    }
}

enum sy_status sy_bench_ceilings_measure(const struct sy_setup *setup, struct sy_bench_probe *probe, int n_threads,
                                         int n_reps, struct sy_bench_ceilings *out, struct sy_error *err)
{
    size_t n = (size_t)n_reps * SY_N_PROBES;
    double *own = calloc(n, sizeof *own), *all = calloc(n * (size_t)setup->n_ranks, sizeof *all);

    *out = (struct sy_bench_ceilings){.n_threads = n_threads};
    out->ranks = calloc((size_t)setup->n_ranks, sizeof *out->ranks);
    out->samples = calloc(n, sizeof *out->samples);
    enum sy_status st = own && all && out->ranks && out->samples
                            ? SY_OK
                            : sy_error_set(err, SY_ERR_SYSTEM, "no memory for the ceilings");
    st = sy_group_agree(setup->group, st, err);
    for (int rep = 0; rep < n_reps && !st; rep++)
        for (int what = 0; what < SY_N_PROBES && !st; what++) {
            st = sy_group_barrier(setup->group, err);
            own[what * n_reps + rep] = sy_bench_probe_rate(probe, (enum sy_probe)what, PROBE_SECONDS);
        }
    if (!st)
        st = sy_group_allgather(setup->group, own, n * sizeof *own, all, err);
    if (!st)
        summarize(out, all, setup->n_ranks, n_reps, own);
    free(own);
    free(all);
    return st;
}

void sy_bench_ceilings_fini(struct sy_bench_ceilings *ceilings)
{
    free(ceilings->ranks);
    free(ceilings->samples);
    *ceilings = (struct sy_bench_ceilings){0};
}

double sy_bench_reference(int n_threads, enum sy_probe what)
{
    for (size_t i = 0; i < sizeof reference / sizeof reference[0]; i++)
        if (reference[i].n_threads == n_threads)
            return reference[i].rate[what] * 1e9;
    return 0;
}

unsigned sy_bench_ceilings_check(const struct sy_setup *setup, const struct sy_bench_ceilings *ceilings)
{
    int n_threads = ceilings->n_threads * setup->n_ranks;
    unsigned low = 0;
    char text[256] = "";

    if (setup->kernels->on_device)
        return 0;
    for (int what = 0; what < SY_N_PROBES; what++) {
        double known = sy_bench_reference(n_threads, (enum sy_probe)what), found = ceilings->spread[what].median;
        size_t at = strlen(text);
        if (found >= REFERENCE_PART * known)
            continue;
        low |= 1u << what;
        snprintf(text + at, sizeof text - at, "%s%s %.0f of %.0f %s", at ? ", " : "", kinds[what].name, found * 1e-9,
                 known * 1e-9, kinds[what].unit);
    }
    if (low && setup->rank == 0)
        sy_log(
            SY_LOG_WARN,
            "with %d thread%s this machine reaches less than 90 %% of the reference machine (two virtual cores of an "
            "AMD Zen 5 with AVX-512): %s. It is another machine or a busy one: compare its figures only with figures "
            "of the same run",
            n_threads, n_threads == 1 ? "" : "s", text);
    return low;
}
