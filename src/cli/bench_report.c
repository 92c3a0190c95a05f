/* SPDX-License-Identifier: Apache-2.0
 * bench_report.c - tables for people
 */
#include "cli/bench_report.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

#define FOREIGN_MAX 0.1

static const char *plural(int n)
{
    return n == 1 ? "" : "s";
}

static enum sy_status open_file(const char *path, int flags, int *fd, struct sy_error *err)
{
    *fd = -1;
    if (!strcmp(path, "-"))
        return sy_error_set(err, SY_ERR_USAGE, "--json: expected a file, found \"-\": standard output has the tables");
    *fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
    return *fd < 0 ? sy_error_errno(err, SY_ERR_IO, "--json: cannot open %s", path) : SY_OK;
}

enum sy_status sy_report_open(struct sy_bench *bench, struct sy_error *err)
{
    const struct sy_setup *setup = bench->setup;
    const char *path = setup->settings->json;
    int fd = -1;

    if (setup->rank)
        return SY_OK;
    if (path) {
        enum sy_status st = open_file(path, 0, &fd, err);
        if (st)
            return st;
        close(fd);
        bench->json = sy_json_of_job(bench);
        if (!bench->json)
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the JSON document");
    }
    printf("bench %s: %s, %d rank%s x %d thread%s%s, %s", bench->measure, setup->machine.cpu_model, setup->n_ranks,
           plural(setup->n_ranks), setup->n_threads, plural(setup->n_threads), setup->bound ? " bound to cores" : "",
           setup->kernels->on_device ? setup->gpu.name : sy_isa_name(setup->isa));
    if (sy_bench_has_shape(bench))
        printf(", compute %s\nshape %s (%s): %d layer%s, hidden %d, %d experts of width %d, top-%d, vocabulary %d",
               setup->settings->compute, bench->shape.name, bench->shape.about, bench->shape.n_layers,
               plural(bench->shape.n_layers), bench->shape.hidden, bench->shape.n_experts, bench->shape.expert_width,
               bench->shape.top_k, bench->shape.vocab);
    printf("\n");
    fflush(stdout);
    return SY_OK;
}

void sy_report_ceilings(struct sy_bench *bench, const struct sy_bench_ceilings *ceilings, int n_reps)
{
    const struct sy_setup *setup = bench->setup;
    unsigned low = sy_bench_ceilings_check(setup, ceilings);

    if (setup->rank)
        return;
    printf("\nceilings of %d rank%s x %d thread%s%s: median (lowest to highest)\n", setup->n_ranks,
           plural(setup->n_ranks), ceilings->n_threads, plural(ceilings->n_threads),
           setup->n_ranks > 1 ? ", summed over ranks" : "");
    for (int what = 0; what < SY_N_PROBES; what++) {
        const struct sy_spread *s = &ceilings->spread[what];
        double known = sy_bench_reference(ceilings->n_threads * setup->n_ranks, (enum sy_probe)what);
        printf("  %-5s %10.1f %-8s (%.1f to %.1f)", sy_probe_name((enum sy_probe)what), s->median * 1e-9,
               sy_probe_unit((enum sy_probe)what), s->min * 1e-9, s->max * 1e-9);
        if (known > 0 && !setup->kernels->on_device)
            printf("%*s%.0f %% of the reference machine", low & 1u << what ? 1 : 3, low & 1u << what ? " !" : "",
                   100 * s->median / known);
        printf("\n");
    }
    if (ceilings->spread[SY_PROBE_BF16].median < ceilings->spread[SY_PROBE_FP32].median)
        printf("  (the roof of BF16 products is the FP32 figure, which is the higher one here)\n");
    fflush(stdout);
    if (bench->json)
        json_array_append_new(json_object_get(bench->json, "ceilings"),
                              sy_json_of_ceilings(bench, ceilings, n_reps, low));
}

static void print_cell_head(const struct sy_bench *bench)
{
    const char *step = !strcmp(bench->measure, "layer") ? "ms/call" : "ms/step";

    printf("\n%-16s %9s %9s %9s %6s %10s %9s %6s %10s %15s %7s\n", "", "tokens/s", "lowest", "highest", "steps", step,
           "roof ms", "share", "read", "experts", "others");
}

static void print_cell(const struct sy_bench_cell *cell, const struct sy_bench_figures *f)
{
    char name[48];

    printf("%-16s %9.1f %9.1f %9.1f %6.0f %10.3f %9.3f %4.0f %% %5.1f GB/s %6.1f of %5.1f %5.0f %%\n",
           sy_bench_cell_name(cell, name, sizeof name), f->tokens_per_s.median, f->tokens_per_s.min,
           f->tokens_per_s.max, f->steps, f->step_s.median * 1e3, f->roof_s.median * 1e3, 100 * f->share.median,
           f->read.median * 1e-9, f->experts, f->experts_uniform, 100 * f->foreign.median);
}

/* Phases of a cell; what took no time and has no roof is left out. */
static void print_phases(const struct sy_bench_cell *cell, const struct sy_bench_figures *f)
{
    char name[48];

    printf("\n%-16s %10s %9s %9s %9s %9s %9s  %s\n", sy_bench_cell_name(cell, name, sizeof name), "ms", "of step",
           "roof ms", "share", "GFLOP/s", "GB/s", "roof is");
    for (int i = 0; i < SY_BENCH_N_PHASES; i++) {
        const struct sy_bench_phase *p = &f->phases[i];
        if (p->seconds <= 0 && p->roof_s <= 0)
            continue;
        printf("  %-14s %10.3f %7.1f %%", sy_bench_phase_name(i), p->seconds * 1e3, 100 * p->part);
        if (p->roof_s > 0)
            printf(" %9.3f %7.1f %% %9.1f %9.2f  %s", p->roof_s * 1e3, 100 * p->share, p->ops * 1e-9, p->bytes * 1e-9,
                   p->memory_bound ? "memory" : "compute");
        printf("\n");
    }
}

/* What makes the figures doubtful. */
static void warn(const struct sy_bench *bench, const struct sy_bench_figures *figures)
{
    double foreign = 0, weights = 0, cache = (double)sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t n_tensors;
    const struct sy_tensor *tensors = sy_checkpoint_tensors(bench->setup->ckpt, &n_tensors);

    for (int i = 0; i < bench->n_cells; i++)
        foreign = figures[i].foreign.median > foreign ? figures[i].foreign.median : foreign;
    for (size_t i = 0; i < n_tensors; i++)
        weights += (double)tensors[i].bytes;
    if (foreign > FOREIGN_MAX)
        sy_log(SY_LOG_WARN, "others had up to %.0f %% of this node's CPUs: these figures are too low", 100 * foreign);
    if (strcmp(bench->measure, "layer") && weights < cache)
        sy_log(SY_LOG_WARN,
               "weights of %.0f MB may stay in the last cache of %.0f MB: roofs by read bandwidth can be passed",
               weights * 1e-6, cache * 1e-6);
    if ((double)bench->probe.bytes < 2 * cache)
        sy_log(SY_LOG_WARN,
               "--probe-bytes of %.0f MB are not well above the last cache of %.0f MB: read bandwidth may be too high",
               (double)bench->probe.bytes * 1e-6, cache * 1e-6);
}

void sy_report_cells(struct sy_bench *bench)
{
    int n = bench->n_cells;

    if (bench->setup->rank)
        return;
    double *scratch = malloc((size_t)bench->n_reps * sizeof *scratch);
    struct sy_bench_figures *figures = malloc((size_t)n * sizeof *figures);
    for (int i = 0; i < n && scratch && figures; i++)
        sy_bench_figures(bench, i, scratch, &figures[i]);
    if (scratch && figures)
        print_cell_head(bench);
    for (int i = 0; i < n && scratch && figures; i++)
        print_cell(&bench->cells[i], &figures[i]);
    for (int i = 0; i < n && scratch && figures; i++) {
        /* Where calls return at once the host does not know how long a phase took. */
        if (!bench->setup->kernels->on_device)
            print_phases(&bench->cells[i], &figures[i]);
        if (bench->json)
            json_array_append_new(json_object_get(bench->json, "cells"), sy_json_of_cell(bench, i, &figures[i]));
    }
    if (figures)
        warn(bench, figures);
    free(scratch);
    free(figures);
}

enum sy_status sy_report_close(struct sy_bench *bench, struct sy_error *err)
{
    const char *path = bench->setup->settings->json;
    int fd = -1;

    if (bench->setup->rank)
        return SY_OK;
    if (fflush(stdout))
        return sy_error_errno(err, SY_ERR_IO, "standard output: cannot write");
    if (!bench->json)
        return SY_OK;
    char *text = json_dumps(bench->json, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (!text)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the JSON document");
    enum sy_status st = open_file(path, O_TRUNC, &fd, err);
    if (!st)
        st = sy_file_write(fd, path, text, strlen(text), err);
    if (!st)
        st = sy_file_write(fd, path, "\n", 1, err);
    if (fd >= 0 && close(fd) && !st)
        st = sy_error_errno(err, SY_ERR_IO, "--json: cannot write %s", path);
    free(text);
    return st;
}
