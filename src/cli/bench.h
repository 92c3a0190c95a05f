/* SPDX-License-Identifier: Apache-2.0
 * bench.h - what the measurements of switchyard bench share (private to the bench files)
 *
 *   bench.c        the subcommand: settings, the shape, the report's file
 *   bench_cells    what is measured, from lists such as 512,2x256
 *   bench_probe    the machine's ceilings
 *   bench_roof     operations and bytes of a phase, and the least time they take
 *   bench_replay   bench_layer's layers as a GPU's kernels alone take
 *   bench_overlap  bench_layer's layers with overlap, in turn, and their parts alone
 *   bench_ceilings, bench_layer, bench_model, bench_tokenizer, bench_dispatch   the measurements
 *   bench_exchange.h   bench_dispatch with its routing, baselines, link and report
 *   bench_cpu      how busy other processes keep the machine
 *   bench_figures  medians and shares from the repetitions
 *   bench_report   a table for people; bench_json   a document for programs
 */
#ifndef SY_CLI_BENCH_H
#define SY_CLI_BENCH_H

#include <jansson.h>
#include <stdint.h>

#include "base/progress.h"
#include "cli/bench_probe.h"
#include "cli/setup.h"
#include "model/shapes.h"

#define SY_BENCH_CELLS_MAX 64

enum sy_bench_kind { SY_BENCH_PREFILL, SY_BENCH_DECODE, SY_BENCH_LAYER, SY_BENCH_DISPATCH };

/* One thing to measure. */
struct sy_bench_cell {
    enum sy_bench_kind kind;
    int n_sequences; /* prefill, decode */
    int n_tokens;    /* of each prompt; decode: before it decodes; layer: through it at once; dispatch: of each rank */
};

/* CPU time of this process, of everything on the machine, and time that passed. */
struct sy_bench_cpu {
    double own_s, machine_s, wall_s;
};

/* One rank's part of a repetition. */
struct sy_bench_rank {
    struct sy_bench_cpu cpu;   /* of the repetition, uncounted steps included */
    double read;               /* bytes a second of its probes right before and after */
    double seconds;            /* layer: by its own clock */
    int n_passes;              /* how often its dense weights were needed */
    struct sy_session_own own; /* what it did in the counted time */
};

struct sy_bench_sample {
    double seconds;              /* of the counted steps, by rank 0's clock; layer: on the slowest rank */
    int n_steps;                 /* or calls of a layer */
    int64_t n_tokens;            /* through the model or layer in that time */
    struct sy_bench_rank *ranks; /* [R] */
};

struct sy_bench {
    struct sy_setup *setup;
    const char *measure;
    struct sy_shape shape; /* cut as asked */
    struct sy_bench_cell cells[SY_BENCH_CELLS_MAX];
    int n_cells, n_reps;
    struct sy_bench_probe probe;
    struct sy_bench_ceilings ceilings;
    struct sy_bench_sample *samples; /* [n_cells * n_reps] */
    struct sy_bench_rank *ranks;     /* behind the samples */
    void *ctx;                       /* of the measurement that runs */
    struct sy_progress progress;
    json_t *json; /* the document, on rank 0 */
};

/* ---- bench_cells.c ---- */

/* Append cells of a kind from a list ("512,2x256"; "none" is empty). option stands in messages. Errors: SY_ERR_USAGE. */
enum sy_status sy_bench_cells_read(struct sy_bench *bench, enum sy_bench_kind kind, const char *option,
                                   const char *list, struct sy_error *err);
/* "prefill 2 x 256", "decode 8", "layer 32" */
const char *sy_bench_cell_name(const struct sy_bench_cell *cell, char *out, size_t out_bytes);

/* ---- bench_cpu.c ---- */

void sy_bench_cpu_now(struct sy_bench_cpu *now);
/* Turn what was then into what has gone by since. */
void sy_bench_cpu_since(struct sy_bench_cpu *before);
/* Share of the CPUs of rank 0's node that others had during a repetition, or the hypervisor. */
double sy_bench_foreign(const struct sy_bench *bench, const struct sy_bench_sample *sample);

/* ---- bench.c ---- */

/* Whether what is measured is of a named shape: layer and model. */
bool sy_bench_has_shape(const struct sy_bench *bench);

/* The shape's checkpoint, model and session, after a look at whether they fit into memory; then the probes on its threads.
 * Collective; ends in an agreement. */
enum sy_status sy_bench_open(struct sy_bench *bench, sy_token_fn on_token, void *ctx, struct sy_error *err);

/* Room for the samples of all cells. Collective. */
enum sy_status sy_bench_alloc_samples(struct sy_bench *bench, struct sy_error *err);
struct sy_bench_sample *sy_bench_sample(const struct sy_bench *bench, int cell, int rep);

/* One repetition of every cell in turn, so that a drift of the machine meets all alike; each between two probes of read
 * bandwidth. run fills seconds, n_steps and n_tokens of the sample and its own rank's record (mine); warm says that nothing
 * will be counted. Collective. */
typedef enum sy_status (*sy_bench_run_fn)(struct sy_bench *bench, int cell, bool warm, struct sy_bench_sample *sample,
                                          struct sy_bench_rank *mine, struct sy_error *err);
enum sy_status sy_bench_repeat(struct sy_bench *bench, sy_bench_run_fn run, struct sy_error *err);

/* Add what this rank did between two looks. */
void sy_bench_add_own(struct sy_bench_rank *mine, const struct sy_session_own *before,
                      const struct sy_session_own *after);

/* A number from a seed and four counters, any of which changes it beyond recognition. */
uint64_t sy_bench_random(uint64_t seed, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

/* ---- bench_overlap.c ---- */

/* One round of calls of a cell's layers; seconds: of this rank. */
typedef enum sy_status (*sy_bench_round_fn)(struct sy_bench *bench, int cell, double *seconds, struct sy_error *err);
/* How much of the exchange of a layer hides behind its computing, and print it. Collective. */
enum sy_status sy_bench_overlap(struct sy_bench *bench, int cell, int n_rounds, sy_bench_round_fn round,
                                struct sy_error *err);

/* ---- bench_replay.c ---- */

/* Rows of a layer where kernels read them, and the residual stream: [T, D]. */
struct sy_bench_rows {
    int T;
    const float *h;
    float *sums;
};

/* Whether this rank's layers can be recorded: on a GPU, where it has all experts. */
bool sy_bench_can_replay(const struct sy_bench *bench);

/* Time a cell's layers without the host, from hidden states, from logits and from chosen experts, hold their results against
 * FP32, and print both. */
enum sy_status sy_bench_replay(struct sy_bench *bench, int cell, const struct sy_bench_rows *rows,
                               struct sy_error *err);

/* ---- the measurements ---- */
enum sy_status sy_bench_run_ceilings(struct sy_bench *bench, struct sy_error *err);
enum sy_status sy_bench_run_layer(struct sy_bench *bench, struct sy_error *err);
enum sy_status sy_bench_run_model(struct sy_bench *bench, struct sy_error *err);
enum sy_status sy_bench_run_dispatch(struct sy_bench *bench, struct sy_error *err);
enum sy_status sy_bench_run_tokenizer(struct sy_bench *bench, struct sy_error *err);

#endif
