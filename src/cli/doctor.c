/* SPDX-License-Identifier: Apache-2.0
 * doctor.c - switchyard doctor: every rank looks at its machine, one table, one verdict
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "base/amount.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/anatomy.h"
#include "cli/setup.h"
#include "cli/version.h"
#include "comm/transport.h"
#include "engine/holding.h"
#include "model/tokenizer.h"

#define BARRIERS 100
/* Files that MPI and the program keep open beside the checkpoint's. */
#define FILES_SPARE 64
/* Of a window and a chunk, to see which transports can be opened. */
#define TRIAL_BYTES ((size_t)64 << 10)

/* What a rank tells of itself; the same layout of bytes on all, since sy_setup_start() has seen that all run the same program. */
struct rank_report {
    char cpu_model[128];
    int32_t isa, n_cores, n_cpus, n_numa, n_threads, bound;
    uint64_t memory_bytes, free_bytes, shm_bytes, n_files;
    uint64_t cpus_key;
    double cpu_quota;
    char cpus[96]; /* that its threads run on, as 0-3,8 */
    char gpu[256]; /* that it takes, or why it takes none */
};

/* "0-3,8", and "0-3,8,..." where the text has no room for all. */
static void show_cpus(const int *cpus, int n, char *text, size_t bytes)
{
    size_t len = 0;

    text[0] = '\0';
    for (int i = 0, next; i < n; i = next) {
        char range[32];
        for (next = i + 1; next < n && cpus[next] == cpus[next - 1] + 1; next++)
            ;
        int more = next - i > 1 ? snprintf(range, sizeof range, "%s%d-%d", i ? "," : "", cpus[i], cpus[next - 1])
                                : snprintf(range, sizeof range, "%s%d", i ? "," : "", cpus[i]);
        if (len + (size_t)more + sizeof ",..." > bytes) {
            snprintf(text + len, bytes - len, ",...");
            return;
        }
        len += (size_t)snprintf(text + len, bytes - len, "%s", range);
    }
}

static void look_around(const struct sy_setup *setup, struct rank_report *report)
{
    const struct sy_machine *m = &setup->machine;
    struct rlimit files = {0};
    struct statvfs shm = {0};
    char gpu[256];

    *report = (struct rank_report){.isa = (int32_t)sy_isa_best(),
                                   .n_cores = m->n_cores,
                                   .n_cpus = m->n_cpus,
                                   .n_numa = m->n_numa,
                                   .n_threads = setup->n_threads,
                                   .bound = setup->bound,
                                   .memory_bytes = m->memory_bytes,
                                   .free_bytes = m->memory_free_bytes,
                                   .cpus_key = m->cpus_key,
                                   .cpu_quota = m->cpu_quota};
    if (setup->bound)
        show_cpus(setup->cpus, setup->n_threads, report->cpus, sizeof report->cpus);
    else
        show_cpus(m->cpus, m->n_cores, report->cpus, sizeof report->cpus);
    snprintf(report->cpu_model, sizeof report->cpu_model, "%s", m->cpu_model);
    if (setup->kernels->on_device) {
        sy_setup_show_gpu(setup, gpu, sizeof gpu);
        snprintf(report->gpu, sizeof report->gpu, "%.200s, %s", gpu, setup->gpu_why);
    } else if (sy_cuda_count(report->gpu, sizeof report->gpu)) {
        snprintf(report->gpu, sizeof report->gpu, "not used: --device, or a rank that has none, holds all at CPUs");
    }
    if (!getrlimit(RLIMIT_NOFILE, &files))
        report->n_files = files.rlim_cur;
    if (!statvfs("/dev/shm", &shm))
        report->shm_bytes = (uint64_t)shm.f_bavail * shm.f_frsize;
}

static void print_versions(void)
{
    char text[64];

    printf("switchyard %s", sy_version);
    for (int i = 0; i < SY_N_LIBRARIES; i++) {
        sy_version_library((enum sy_library)i, text, sizeof text);
        /* MPI's version says its name. */
        printf(", %s%s%s", i == SY_LIBRARY_MPI ? "" : sy_version_library_name((enum sy_library)i),
               i == SY_LIBRARY_MPI ? "" : " ", text);
    }
    printf("\n\n");
}

static void print_table(const struct sy_setup *setup, const struct rank_report *all)
{
    printf("%5s  %-20s %-9s %6s %6s %5s %8s %6s %9s %9s %9s %8s\n", "rank", "node", "isa", "cores", "cpus", "numa",
           "threads", "bound", "memory", "free", "/dev/shm", "files");
    for (int r = 0; r < setup->n_ranks; r++) {
        const struct rank_report *a = &all[r];
        printf("%5d  %-20.60s %-9s %6d %6d %5d %8d %6s %6.1f GB %6.1f GB %6.1f GB %8" PRIu64 "\n", r,
               sy_group_host(setup->group, r), sy_isa_name((enum sy_isa)a->isa), (int)a->n_cores, (int)a->n_cpus,
               (int)a->n_numa, (int)a->n_threads, a->bound ? "yes" : "no", (double)a->memory_bytes * 1e-9,
               (double)a->free_bytes * 1e-9, (double)a->shm_bytes * 1e-9, a->n_files);
    }
    printf("\n");
}

static void print_job(const struct sy_setup *setup, const struct rank_report *all, double barrier_us)
{
    int n_nodes = sy_group_n_nodes(setup->group);

    printf("%d rank%s on %d node%s; CPU %s", setup->n_ranks, setup->n_ranks == 1 ? "" : "s", n_nodes,
           n_nodes == 1 ? "" : "s", all[0].cpu_model);
    if (all[0].cpu_quota > 0)
        printf(", limited to %.2f cores", all[0].cpu_quota);
    printf("\ninstruction set of all ranks: %s\n", sy_isa_name(setup->isa));
    for (int r = 0; r < setup->n_ranks && setup->site.cluster; r++) {
        char place[400];
        printf("place of rank %d: %s\n", r, sy_site_show(&setup->site, r, place, sizeof place));
    }
    for (int r = 0; r < setup->n_ranks; r++)
        printf("CPUs of rank %d: %s%s\n", r, all[r].bound ? "" : "any of ", all[r].cpus);
    for (int r = 0; r < setup->n_ranks; r++)
        printf("GPU of rank %d: %s\n", r, all[r].gpu);
    printf("a barrier of all ranks takes %.1f us\n", barrier_us);
}

static bool share_cpus(const struct sy_setup *setup, const struct rank_report *all, int r, int other)
{
    /* A machine may stand for several nodes of a cluster file. */
    return !strcmp(sy_group_host(setup->group, r), sy_group_host(setup->group, other)) &&
           all[r].cpus_key == all[other].cpus_key;
}

/* Notes do not change the verdict. */
static void print_notes(const struct sy_setup *setup, const struct rank_report *all)
{
    for (int r = 0; r < setup->n_ranks; r++) {
        int n_threads = 0;
        bool first = true;
        for (int other = 0; other < setup->n_ranks; other++)
            if (share_cpus(setup, all, r, other)) {
                first = first && other >= r;
                n_threads += all[other].n_threads;
            }
        if (first && n_threads > all[r].n_cores)
            printf("note: node %s has %d threads on %d cores: ranks will wait for one another\n",
                   sy_group_host(setup->group, r), n_threads, (int)all[r].n_cores);
        if (all[r].isa != (int32_t)setup->isa)
            printf("note: rank %d could use %s; another rank or --isa holds all at %s\n", r,
                   sy_isa_name((enum sy_isa)all[r].isa), sy_isa_name(setup->isa));
    }
}

/* Mean time of a barrier. Collective. */
static enum sy_status time_barriers(struct sy_setup *setup, double *us, struct sy_error *err)
{
    enum sy_status st = sy_group_barrier(setup->group, err);
    int64_t begin_ns = sy_clock_ns();

    for (int i = 0; i < BARRIERS && !st; i++)
        st = sy_group_barrier(setup->group, err);
    *us = (double)(sy_clock_ns() - begin_ns) * 1e-3 / BARRIERS;
    return st;
}

/* Rank 0: what the checkpoint is, before anybody judges whether it fits here. */
static enum sy_status describe(const struct sy_setup *setup, struct sy_error *err)
{
    int n_shards = sy_checkpoint_n_shards(setup->ckpt);
    struct sy_tokenizer *tok = NULL;
    double bytes = 0;
    char shown[32];
    size_t n_tensors;
    const struct sy_tensor *tensors = sy_checkpoint_tensors(setup->ckpt, &n_tensors);
    enum sy_status st = sy_tokenizer_open(setup->settings->model, &tok, err);

    if (st)
        return st;
    for (size_t i = 0; i < n_tensors; i++)
        bytes += (double)tensors[i].bytes;
    printf("checkpoint: %s, %zu tensors in %d file%s, %s, headers the same on all ranks; tokenizer: %s\n",
           setup->model->architecture, n_tensors, n_shards, n_shards == 1 ? "" : "s",
           sy_amount_bytes(bytes, shown, sizeof shown), tok ? "found" : "none (token ids only)");
    sy_tokenizer_close(tok);
    return sy_anatomy_print(setup, setup->settings->ranks, err);
}

/* Whether this rank may open the files, and its node has room for what its ranks will hold. */
static enum sy_status check_room(const struct sy_setup *setup, struct sy_error *err)
{
    int n_local = sy_group_node_size(setup->group), n_shards = sy_checkpoint_n_shards(setup->ckpt);
    struct sy_holding holding;
    struct rlimit files;

    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < (rlim_t)n_shards + FILES_SPARE)
        return sy_error_set(err, SY_ERR_SYSTEM,
                            "the checkpoint has %d files, but this process may open only %llu; raise it with ulimit -n",
                            n_shards, (unsigned long long)files.rlim_cur);
    enum sy_status st = sy_holding_count(setup->model, setup->kernels, setup->n_ranks, &holding, err);
    if (st)
        return st;
    uint64_t need = holding.dense_bytes + (uint64_t)n_local * holding.expert_bytes_most;
    if (setup->kernels->on_device) {
        need = holding.dense_bytes + holding.expert_bytes_most;
        return need <= setup->gpu.free_bytes
                   ? SY_OK
                   : sy_error_set(err, SY_ERR_SYSTEM,
                                  "a rank needs %.1f GB for weights, but its GPU has %.1f GB free; use more GPUs",
                                  (double)need * 1e-9, (double)setup->gpu.free_bytes * 1e-9);
    }
    if (need > setup->machine.memory_free_bytes)
        return sy_error_set(err, SY_ERR_SYSTEM,
                            "the %d rank%s of this node need%s %.1f GB for weights, but %.1f GB are free; use more "
                            "nodes",
                            n_local, n_local == 1 ? "" : "s", n_local == 1 ? "s" : "", (double)need * 1e-9,
                            (double)setup->machine.memory_free_bytes * 1e-9);
    return SY_OK;
}

static enum sy_status check_checkpoint(struct sy_setup *setup, struct sy_error *err)
{
    enum sy_status st = sy_setup_model(setup, err);

    if (!st)
        st = sy_setup_agree(setup, sy_checkpoint_verify_headers(setup->ckpt, err), err);
    if (!st)
        st = sy_setup_agree(setup, setup->rank ? SY_OK : describe(setup, err), err);
    return st ? st : sy_setup_agree(setup, check_room(setup, err), err);
}

/* How rows would go. Collective. */
static enum sy_status try_transports(struct sy_setup *setup, struct sy_error *err)
{
    struct sy_transport_config config = {.chunk_bytes = {TRIAL_BYTES, TRIAL_BYTES},
                                         .n_slots = 1,
                                         .window_bytes = TRIAL_BYTES,
                                         .choice = sy_transport_choice_of(setup->settings->transport),
                                         .lender = setup->kernels->lender,
                                         .courier = setup->kernels->courier,
                                         .porter = setup->kernels->porter,
                                         .row_bytes = TRIAL_BYTES,
                                         .ahead_rows = {1, 1},
                                         .chunk_rows = 1};
    struct sy_fabric *fabric = NULL;
    enum sy_status st = sy_fabric_open(setup->group, &config, &fabric, err);

    if (!st && setup->rank == 0)
        printf("transports of rank 0: %s\n", sy_fabric_describe(fabric));
    sy_fabric_close(fabric);
    return st;
}

static enum sy_status examine(struct sy_setup *setup, struct rank_report *all, struct sy_error *err)
{
    struct rank_report mine;
    double barrier_us = 0;

    look_around(setup, &mine);
    enum sy_status st = sy_group_allgather(setup->group, &mine, sizeof mine, all, err);
    if (!st)
        st = time_barriers(setup, &barrier_us, err);
    if (st)
        return st;
    if (setup->rank == 0) {
        print_versions();
        print_table(setup, all);
        print_job(setup, all, barrier_us);
        print_notes(setup, all);
    }
    st = try_transports(setup, err);
    if (!st && setup->settings->model)
        st = check_checkpoint(setup, err);
    if (setup->rank == 0) {
        if (st)
            printf("verdict: not ready: %s\n", err->text);
        else
            printf("verdict: ready%s\n",
                   setup->settings->model ? "" : " (no checkpoint was checked: give --model DIR)");
    }
    return st;
}

static enum sy_status check_settings(const struct sy_settings *s, struct sy_error *err)
{
    if (s->ranks && !s->model)
        return sy_error_set(err, SY_ERR_USAGE,
                            "doctor: --ranks goes with --model: it says what ranks would hold of it");
    return SY_OK;
}

int sy_cli_doctor(struct sy_cli *cli)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_setup setup;
    enum sy_status st = sy_setup_start(&setup, cli, &err);
    struct rank_report *all = NULL;

    if (!st)
        st = check_settings(&cli->settings, &err);
    if (!st)
        st = sy_setup_machine(&setup, &err);
    if (!st) {
        all = calloc((size_t)setup.n_ranks, sizeof *all);
        st = sy_setup_agree(&setup, all ? SY_OK : sy_error_set(&err, SY_ERR_SYSTEM, "no memory"), &err);
    }
    if (!st)
        st = examine(&setup, all, &err);
    if (setup.rank == 0 && fflush(stdout) && !st)
        st = sy_error_errno(&err, SY_ERR_IO, "standard output: cannot write");
    free(all);
    return sy_setup_leave(&setup, st, &err);
}
