/* SPDX-License-Identifier: Apache-2.0
 * setup.c - from arguments to a loaded session
 */
#include "cli/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/alike.h"
#include "cli/anatomy.h"
#include "cli/signals.h"
#include "gpu.h"

/* Idle compute threads spin this long where each has a core. */
#define SPIN_US 50
/* A rank that has waited in vain stays so long at most, for others to say the same. */
#define LAST_WORDS_MS 250

enum sy_status sy_setup_agree(struct sy_setup *setup, enum sy_status mine, struct sy_error *err)
{
    struct sy_error own = *err;
    enum sy_status st = sy_group_agree(setup->group, mine, err);

    /* With one node the rank's name in front adds nothing to what rank 0 found itself. */
    if (st && mine && setup->rank == 0 && sy_group_n_nodes(setup->group) == 1)
        *err = own;
    return st;
}

static void apply_log(const struct sy_setup *setup)
{
    static const char *const modes[] = {"auto", "always", "never"};
    /* Rank 0 speaks for all. */
    int rank = setup->rank ? setup->rank : -1;

    sy_log_init(sy_settings_log_level(setup->settings), rank, setup->n_ranks, sy_group_host(setup->group, setup->rank));
    for (int i = 0; i < 3; i++)
        if (setup->settings->progress && !strcmp(setup->settings->progress, modes[i]))
            sy_progress_set_mode((enum sy_progress_mode)i);
}

/* A small step leaves less room for what the user did not set. */
static void fit_defaults(struct sy_cli *cli)
{
    struct sy_settings *s = &cli->settings;

    if (cli->command == SY_COMMAND_DOCTOR || cli->command == SY_COMMAND_TOPO)
        return;
    int64_t most = s->max_tokens_per_step;
    if (sy_options_source(cli->options, "max-sequences") == SY_FROM_DEFAULT && s->max_sequences > most)
        s->max_sequences = most;
    if (sy_options_source(cli->options, "prefill-chunk") == SY_FROM_DEFAULT && s->prefill_chunk > most)
        s->prefill_chunk = most;
}

/* Rank 0's settings become everybody's: mpirun does not carry the environment to other nodes, and a config file may be
 * on rank 0's node only. */
static enum sy_status share_settings(struct sy_setup *setup, struct sy_error *err)
{
    struct sy_cli *cli = setup->cli;
    struct sy_buf text = SY_BUF_INIT;
    enum sy_status st = setup->rank ? SY_OK : cli->status, shared;

    if (setup->rank == 0) {
        *err = cli->err;
        if (!st)
            fit_defaults(cli);
        if (!st)
            st = sy_settings_write(cli->options, &text, err);
    }
    st = sy_setup_agree(setup, st, err);
    if (st)
        goto out;
    st = sy_group_bcast(setup->group, 0, &text, err);
    if (st)
        goto out;
    shared = setup->rank ? sy_settings_read(cli->command, &text, &cli->settings, &cli->options, err) : SY_OK;
    st = sy_setup_agree(setup, shared, err);
out:
    sy_buf_fini(&text);
    return st;
}

enum sy_status sy_setup_start(struct sy_setup *setup, struct sy_cli *cli, struct sy_error *err)
{
    int64_t timeout_ms = cli->status ? 30000 : sy_settings_timeout_ms(&cli->settings);

    memset(setup, 0, sizeof *setup);
    setup->cli = cli;
    setup->settings = &cli->settings;
    setup->begin_ns = sy_clock_ns();
    sy_signals_install();
    enum sy_status st = sy_group_init(cli->argc, cli->argv, timeout_ms, &setup->group, err);
    if (st)
        return st;
    setup->mpi_s = (double)(sy_clock_ns() - setup->begin_ns) * 1e-9;
    sy_signals_install();
    setup->rank = sy_group_rank(setup->group);
    setup->n_ranks = sy_group_size(setup->group);
    st = sy_alike_program(setup->group, err);
    if (!st)
        st = share_settings(setup, err);
    if (st)
        return st;
    sy_group_set_timeout(setup->group, sy_settings_timeout_ms(setup->settings));
    apply_log(setup);
    return SY_OK;
}

/* The lowest instruction set that all ranks have, or the one that was asked for if all have it. */
static enum sy_status choose_isa(struct sy_setup *setup, struct sy_error *err)
{
    const char *asked = setup->settings->isa;
    int32_t mine = (int32_t)sy_isa_best(), *all = malloc((size_t)setup->n_ranks * sizeof *all);
    enum sy_status st = all ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory");

    if (!st && strcmp(asked, "auto")) {
        for (mine = 0; mine < SY_N_ISAS && strcmp(sy_isa_name((enum sy_isa)mine), asked); mine++)
            ;
        if (mine == SY_N_ISAS || !sy_kernels_cpu((enum sy_isa)mine))
            st = sy_error_set(err, SY_ERR_USAGE,
                              "--isa %s: not available on this machine (%s), which has %s; take --isa auto or %s",
                              asked, setup->machine.cpu_model, sy_isa_name(sy_isa_best()), sy_isa_name(sy_isa_best()));
    }
    st = sy_setup_agree(setup, st, err);
    if (!st)
        st = sy_group_allgather(setup->group, &mine, sizeof mine, all, err);
    for (int r = 0; r < setup->n_ranks && !st; r++)
        if (all[r] < mine)
            mine = all[r];
    free(all);
    if (st)
        return st;
    setup->isa = (enum sy_isa)mine;
    setup->kernels = sy_kernels_cpu(setup->isa);
    return setup->kernels ? SY_OK : sy_error_set(err, SY_ERR_INTERNAL, "no kernels for %s", sy_isa_name(setup->isa));
}

/* The number in "cuda:N"; -1: none is named. */
static enum sy_status read_device(const char *asked, int *number, struct sy_error *err)
{
    char *end;

    *number = -1;
    if (!strcmp(asked, "auto") || !strcmp(asked, "cpu") || !strcmp(asked, "cuda"))
        return SY_OK;
    long n = strncmp(asked, "cuda:", 5) ? -1 : strtol(asked + 5, &end, 10);
    if (n < 0 || n > 1023 || end == asked + 5 || *end)
        return sy_error_set(err, SY_ERR_USAGE, "--device %s: expected auto, cpu, cuda or cuda:N with a GPU's number",
                            asked);
    *number = (int)n;
    return SY_OK;
}

/* What this rank tells the others of its GPUs. It will compute on its share of the cores, as sy_machine_bind() deals them. */
static void look_at_gpus(const struct sy_setup *setup, int n, struct sy_gpu_view *view)
{
    const struct sy_machine *m = &setup->machine;
    int first = (int)((int64_t)setup->share * m->n_cores / setup->n_sharers), n_mine = m->n_cores / setup->n_sharers;

    memset(view, 0, sizeof *view);
    view->n = n < SY_GPUS_MAX ? n : SY_GPUS_MAX;
    for (int g = 0; g < view->n; g++) {
        view->pci[g] = sy_cuda_pci(g);
        /* What CUDA does not place is still a GPU of its own. */
        if (view->pci[g] < 0)
            view->pci[g] = -1 - g;
        view->near[g] = sy_gpu_is_near("", view->pci[g], m->cpus + first, n_mine ? n_mine : 1);
    }
}

/* This rank's GPU among those that it sees; views: [n_ranks]. */
static enum sy_status take_turn(struct sy_setup *setup, struct sy_gpu_view *views, int *gpu, struct sy_error *err)
{
    int n = 0, me = 0, node = sy_group_node_of(setup->group, setup->rank);
    int *chosen = malloc((size_t)setup->n_ranks * sizeof *chosen);

    if (!chosen)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory");
    /* Those of this node come first. */
    for (int r = 0; r < setup->n_ranks; r++) {
        if (sy_group_node_of(setup->group, r) != node)
            continue;
        me = r == setup->rank ? n : me;
        views[n++] = views[r];
    }
    sy_gpu_choose(views, n, chosen);
    *gpu = chosen[me];
    setup->gpu_why = views[me].near[*gpu] ? "near its cores" : "none near its cores is left or known";
    free(chosen);
    return SY_OK;
}

/* The GPU that the cluster file gives this rank. */
static enum sy_status take_place(struct sy_setup *setup, const struct sy_gpu_view *view, int *gpu, struct sy_error *err)
{
    char place[400];

    setup->gpu_why = "as the cluster file says";
    *gpu = sy_site_gpu(&setup->site, view->pci, view->n);
    if (*gpu >= 0)
        return SY_OK;
    return sy_error_set(err, SY_ERR_USAGE, "--cluster: %s is not among the %d GPU%s that this rank sees",
                        sy_site_show(&setup->site, setup->rank, place, sizeof place), (int)view->n,
                        view->n == 1 ? "" : "s");
}

/* What --device says; where it leaves that open, what the cluster file does. */
static const char *device_of(const struct sy_setup *setup)
{
    const char *asked = setup->settings->device;

    if (!setup->site.cluster || strcmp(asked, "auto") != 0)
        return asked;
    return setup->site.on_gpus ? "cuda" : "cpu";
}

/* GPUs when they are asked for, or when every rank has one: ranks of different kinds would not get the same answer. */
static enum sy_status choose_device(struct sy_setup *setup, struct sy_error *err)
{
    const char *asked = device_of(setup);
    char why[128] = "";
    int number = -1, n_mine = strcmp(asked, "cpu") ? sy_cuda_count(why, sizeof why) : 0;
    struct sy_gpu_view mine, *all = malloc((size_t)setup->n_ranks * sizeof *all);
    bool has = true;
    enum sy_status st = all ? read_device(asked, &number, err) : sy_error_set(err, SY_ERR_SYSTEM, "no memory");

    look_at_gpus(setup, n_mine, &mine);
    st = sy_setup_agree(setup, st, err);
    if (!st)
        st = sy_group_allgather(setup->group, &mine, sizeof mine, all, err);
    for (int r = 0; r < setup->n_ranks && !st; r++)
        has = has && all[r].n;
    if (st || !strcmp(asked, "cpu") || (!strcmp(asked, "auto") && !has)) {
        free(all);
        return st;
    }
    setup->gpu_why = "named by --device";
    if (!n_mine)
        st = sy_error_set(err, SY_ERR_USAGE, "--device %s: no GPU can be used here: %s", asked, why);
    else if (number < 0 && setup->site.cluster)
        st = take_place(setup, &mine, &number, err);
    else if (number < 0)
        st = take_turn(setup, all, &number, err);
    free(all);
    if (!st)
        st = sy_cuda_open(number, &setup->gpu, err);
    st = sy_setup_agree(setup, st, err);
    if (!st)
        setup->kernels = sy_kernels_cuda();
    return st;
}

/* All ranks of the node, or fewer where the launcher has bound them to cores: a rank bound alone has all of its own. */
static enum sy_status count_sharers(struct sy_setup *setup, struct sy_error *err)
{
    int node = sy_group_node_of(setup->group, setup->rank);
    uint64_t mine = setup->machine.cpus_key, *all = malloc((size_t)setup->n_ranks * sizeof *all);
    enum sy_status st = sy_setup_agree(setup, all ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory"), err);

    if (!st)
        st = sy_group_allgather(setup->group, &mine, sizeof mine, all, err);
    setup->n_sharers = setup->share = 0;
    for (int r = 0; r < setup->n_ranks && !st; r++) {
        if (sy_group_node_of(setup->group, r) != node || all[r] != mine)
            continue;
        setup->share += r < setup->rank;
        setup->n_sharers++;
    }
    free(all);
    return st;
}

enum sy_status sy_setup_machine(struct sy_setup *setup, struct sy_error *err)
{
    enum sy_status st = sy_setup_agree(setup, sy_machine_discover(&setup->machine, err), err);

    if (!st)
        st = sy_site_open(setup->group, setup->settings->cluster, &setup->site, err);
    if (!st && setup->site.cluster && strcmp(setup->settings->bind, "none") != 0 &&
        !sy_site_narrow(&setup->site, &setup->machine))
        sy_log(SY_LOG_WARN,
               "rank %d may use none of the CPUs that %s gives it: it is bound to others, or they are not there",
               setup->rank, setup->settings->cluster);
    if (!st)
        st = count_sharers(setup, err);
    if (!st)
        st = choose_isa(setup, err);
    if (!st)
        st = choose_device(setup, err);
    if (st)
        return st;
    setup->n_threads = setup->settings->threads ? (int)setup->settings->threads
                                                : sy_machine_threads(&setup->machine, setup->n_sharers);
    if (setup->n_threads <= SY_CPUS_MAX && !strcmp(setup->settings->bind, "auto"))
        setup->bound = sy_machine_bind(&setup->machine, setup->share, setup->n_sharers, setup->n_threads, setup->cpus);
    return sy_site_part(&setup->site, setup->group, err);
}

/* Rank 0 alone touches the metadata; the others parse its copy and check that their node has the same files. */
static enum sy_status read_checkpoint(struct sy_setup *setup, struct sy_error *err)
{
    const char *dir = setup->settings->model;
    struct sy_buf meta = SY_BUF_INIT;
    enum sy_status st = setup->rank ? SY_OK : sy_checkpoint_read(dir, &meta, err);

    st = sy_setup_agree(setup, st, err);
    if (!st)
        st = sy_group_bcast(setup->group, 0, &meta, err);
    if (!st) {
        enum sy_status mine = sy_checkpoint_parse(dir, meta.data, meta.len, &setup->ckpt, err);
        if (!mine)
            mine = sy_checkpoint_verify(setup->ckpt, err);
        st = sy_setup_agree(setup, mine, err);
    }
    if (!st)
        st = sy_setup_agree(setup, sy_alike_checkpoint(setup->group, setup->ckpt, err), err);
    sy_buf_fini(&meta);
    return st;
}

enum sy_status sy_setup_model(struct sy_setup *setup, struct sy_error *err)
{
    if (!setup->settings->model)
        return sy_error_set(err, SY_ERR_USAGE, "--model is missing: the directory of a checkpoint");
    enum sy_status st = read_checkpoint(setup, err);
    if (st)
        return st;
    return sy_setup_agree(setup, sy_model_create(setup->ckpt, &setup->model, err), err);
}

void sy_setup_show_gpu(const struct sy_setup *setup, char *text, size_t bytes)
{
    const struct sy_cuda_device *gpu = &setup->gpu;

    snprintf(text, bytes, "%s at %s (compute capability %d.%d, %.1f of %.1f GB free)", gpu->name, gpu->pci, gpu->major,
             gpu->minor, (double)gpu->free_bytes * 1e-9, (double)gpu->bytes * 1e-9);
}

static void announce(const struct sy_setup *setup)
{
    char gpu[256], with[300];

    if (setup->rank)
        return;
    sy_anatomy_say(setup);
    int n_nodes = sy_group_n_nodes(setup->group);
    if (setup->kernels->on_device) {
        sy_setup_show_gpu(setup, gpu, sizeof gpu);
        snprintf(with, sizeof with, "rank 0 on GPU %s", gpu);
    } else {
        snprintf(with, sizeof with, "instruction set %s", sy_isa_name(setup->isa));
    }
    sy_log(SY_LOG_INFO, "%d rank%s on %d node%s, %d thread%s each%s, %s, compute %s", setup->n_ranks,
           setup->n_ranks == 1 ? "" : "s", n_nodes, n_nodes == 1 ? "" : "s", setup->n_threads,
           setup->n_threads == 1 ? "" : "s", setup->bound ? " (bound to cores)" : "", with, setup->settings->compute);
}

void sy_setup_config(const struct sy_setup *setup, struct sy_session_config *config)
{
    const struct sy_settings *s = setup->settings;

    sy_session_config_init(config);
    config->compute = strcmp(s->compute, "f32") ? SY_COMPUTE_BF16 : SY_COMPUTE_F32;
    config->kernels = setup->kernels;
    config->n_threads = setup->n_threads;
    config->cpus = setup->bound ? setup->cpus : NULL;
    /* More threads than cores on this node: a spinning thread would hold a core that another needs. */
    config->spin_us = setup->n_threads * sy_group_node_size(setup->group) <= setup->machine.n_cores ? SPIN_US : 0;
    config->kv_bytes_max = s->kv_bytes;
    config->max_tokens = (int)s->max_tokens_per_step;
    config->max_sequences = (int)s->max_sequences;
    config->prefill_chunk = (int)s->prefill_chunk;
    config->chunk_rows = (int)s->chunk_rows;
    config->n_slots = (int)s->slots;
    config->in_turn = !s->overlap;
    config->transport = sy_transport_choice_of(s->transport);
    config->show_progress = true;
}

enum sy_status sy_setup_session(struct sy_setup *setup, sy_token_fn on_token, sy_logits_fn on_logits, void *ctx,
                                struct sy_error *err)
{
    struct sy_session_config config;

    sy_setup_config(setup, &config);
    config.on_token = on_token;
    config.on_logits = on_logits;
    config.ctx = ctx;
    announce(setup);
    enum sy_status st = sy_session_create(setup->group, setup->ckpt, setup->model, &config, &setup->session, err);
    if (!st && setup->rank == 0)
        sy_log(SY_LOG_INFO, "ready in %.2f s, of which MPI took %.2f s to start",
               (double)(sy_clock_ns() - setup->begin_ns) * 1e-9, setup->mpi_s);
    return st;
}

/* The end of a rank takes those on its node with it. Other ranks' deadlines pass at about the same time, and the one that
 * names the culprit may be the second: whoever waits for a rank that waits itself sees no further than that. */
static void let_others_speak(const struct sy_setup *setup)
{
    int64_t ms = sy_group_timeout_ms(setup->group) / 8;

    if (ms <= 0 || ms > LAST_WORDS_MS)
        ms = LAST_WORDS_MS;
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

void sy_setup_die(struct sy_setup *setup, const struct sy_error *err)
{
    sy_group_give_up(setup->group);
    /* From here on rank 0 speaks for itself only. */
    sy_log_init(SY_LOG_ERROR, setup->rank, setup->n_ranks, sy_group_host(setup->group, setup->rank));
    sy_log_lines(SY_LOG_ERROR, err->text, err->lines);
    if (err->status == SY_ERR_PEER)
        let_others_speak(setup);
    sy_group_abort(setup->group, sy_status_exit_code(err->status));
}

int sy_setup_leave(struct sy_setup *setup, enum sy_status st, const struct sy_error *err)
{
    /* Whoever waited in vain says so itself, and does not wait for MPI's end, which is as collective as the rest. */
    if (st == SY_ERR_PEER && setup->group && setup->n_ranks > 1)
        sy_setup_die(setup, err);
    if (st && setup->rank == 0)
        sy_log(SY_LOG_ERROR, "%s", err->text);
    sy_session_destroy(setup->session);
    sy_site_close(&setup->site);
    sy_model_destroy(setup->model);
    sy_checkpoint_close(setup->ckpt);
    sy_group_fini(setup->group);
    sy_options_destroy(setup->cli->options);
    setup->cli->options = NULL;
    return sy_status_exit_code(st);
}
