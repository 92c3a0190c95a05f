/* SPDX-License-Identifier: Apache-2.0
 * setup.h - from arguments to a loaded session, in stages that all ranks leave together
 *
 *   start (MPI, rank 0's settings) ─> machine (cores, instruction set, GPU) ─> model (metadata, shapes) ─> session (weights)
 *
 * Each stage ends in an agreement: when one rank fails, every rank's call returns the same error, and sy_setup_leave() has
 * rank 0 alone print it.
 */
#ifndef SY_CLI_SETUP_H
#define SY_CLI_SETUP_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"
#include "cli/site.h"
#include "comm/group.h"
#include "discover.h"
#include "engine/session.h"
#include "kernels.h"
#include "model/checkpoint.h"
#include "model/model.h"

struct sy_setup {
    struct sy_cli *cli;
    struct sy_settings *settings; /* &cli->settings: rank 0's, on every rank */
    struct sy_group *group;
    int rank, n_ranks;
    int64_t begin_ns; /* sy_clock_ns() at the start */
    double mpi_s;     /* until MPI was there */
    struct sy_site site;
    struct sy_machine machine;
    int n_sharers, share; /* ranks of this node that may use the same CPUs, and this rank's place among them */
    enum sy_isa isa;
    const struct sy_kernels *kernels;
    struct sy_cuda_device gpu; /* where kernels->on_device */
    const char *gpu_why;       /* why this one: a few words */
    int n_threads;
    bool bound;
    int cpus[SY_CPUS_MAX]; /* [n_threads] when bound */
    struct sy_checkpoint *ckpt;
    struct sy_model *model;
    struct sy_session *session;
};

enum sy_status sy_setup_start(struct sy_setup *setup, struct sy_cli *cli, struct sy_error *err);
enum sy_status sy_setup_machine(struct sy_setup *setup, struct sy_error *err);
enum sy_status sy_setup_model(struct sy_setup *setup, struct sy_error *err);

/* "NVIDIA H200 at 0000:19:00.0 (compute capability 9.0, 149.6 of 150.1 GB free)" */
void sy_setup_show_gpu(const struct sy_setup *setup, char *text, size_t bytes);

/* What the settings make of a session; its callbacks are NULL. */
void sy_setup_config(const struct sy_setup *setup, struct sy_session_config *config);

/* The callbacks may be NULL; ctx must live as long as the session. */
enum sy_status sy_setup_session(struct sy_setup *setup, sy_token_fn on_token, sy_logits_fn on_logits, void *ctx,
                                struct sy_error *err);

/* As sy_group_agree(). */
enum sy_status sy_setup_agree(struct sy_setup *setup, enum sy_status mine, struct sy_error *err);

/* The step loop's way out on one rank: print the line, end the job on all ranks. Does not return. */
void sy_setup_die(struct sy_setup *setup, const struct sy_error *err) __attribute__((noreturn));

/* Free everything and end MPI; for an error that all ranks agree on rank 0 prints it. Returns the exit code. */
int sy_setup_leave(struct sy_setup *setup, enum sy_status st, const struct sy_error *err);

#endif
