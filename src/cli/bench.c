/* SPDX-License-Identifier: Apache-2.0
 * bench.c - switchyard bench: how fast, and how fast it could be
 */
#include "cli/bench.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/bench_report.h"
#include "model/synthetic.h"

#define LAYERS_OF_LAYER 4   /* of bench layer, when --layers does not say */
#define READ_SECONDS    0.1 /* a probe of read bandwidth beside a repetition */
#define CEILING_REPS    3   /* before a measurement; bench ceilings does --reps */
#define LAYER_TOKENS    "1,8,32,128,512"
#define DISPATCH_TOKENS "1,8,64,128,1024"
#define PROBE_BYTES_MIN ((uint64_t)1 << 20)

/* Options that only some measurements have. */
static const struct {
    const char *option, *measures;
} options[] = {
    {"shape", "layer model"},
    {"layers", "layer model"},
    {"compute", "layer model dispatch"},
    {"vocab", "model"},
    {"prefill", "model"},
    {"decode", "model"},
    {"generate", "model"},
    {"context", "model"},
    {"prefill-chunk", "model"},
    {"tokens", "layer dispatch"},
    {"hidden", "dispatch"},
    {"experts", "dispatch"},
    {"active", "dispatch"},
    {"routing", "dispatch"},
    {"max-tokens-per-step", "model"},
    {"seed", "layer model dispatch"},
    {"chunk-rows", "layer model dispatch"},
    {"slots", "layer model dispatch"},
    {"overlap", "layer model"},
    {"transport", "layer model dispatch"},
    {"probe-bytes", "ceilings layer model"},
    {"model", "tokenizer"},
    {"in", "tokenizer"},
    /* It runs on one core, whatever else the machine has. */
    {"threads", "ceilings layer model dispatch"},
    {"bind", "ceilings layer model dispatch"},
    {"device", "ceilings layer model dispatch"},
    {"isa", "ceilings layer model dispatch"},
    {"cluster", "ceilings layer model dispatch"},
};

/* ---- settings ---- */

bool sy_bench_has_shape(const struct sy_bench *bench)
{
    return !strcmp(bench->measure, "layer") || !strcmp(bench->measure, "model");
}

/* Rank 0 alone knows which options were flags; the environment may be meant for several commands. */
static enum sy_status check_flags(const struct sy_bench *bench, struct sy_error *err)
{
    const struct sy_options *given = bench->setup->cli->options;

    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (sy_options_source(given, options[i].option) == SY_FROM_FLAG && !strstr(options[i].measures, bench->measure))
            return sy_error_set(err, SY_ERR_USAGE, "bench %s has no --%s", bench->measure, options[i].option);
    return SY_OK;
}

static enum sy_status choose_shape(struct sy_bench *bench, struct sy_error *err)
{
    const struct sy_settings *s = bench->setup->settings;
    const struct sy_shape *shape = sy_shape_find(s->shape);
    bool layer = !strcmp(bench->measure, "layer");
    size_t n_shapes;

    if (!shape) {
        const struct sy_shape *all = sy_shapes(&n_shapes);
        const char *names[32];
        for (size_t i = 0; i < n_shapes && i < 32; i++)
            names[i] = all[i].name;
        const char *near = sy_options_nearest(s->shape, names, (int)n_shapes);
        return sy_error_set(err, SY_ERR_USAGE, "--shape %.100s: no such shape; %s%s%s", s->shape,
                            near ? "did you mean " : "see switchyard bench --help", near ? near : "", near ? "?" : "");
    }
    bench->shape = *shape;
    int64_t layers = s->layers || !layer ? s->layers : LAYERS_OF_LAYER;
    if (s->layers > shape->n_layers)
        return sy_error_set(err, SY_ERR_USAGE, "--layers %" PRId64 ": shape %s has %d", s->layers, shape->name,
                            shape->n_layers);
    if (s->vocab > shape->vocab)
        return sy_error_set(err, SY_ERR_USAGE, "--vocab %" PRId64 ": shape %s has %d", s->vocab, shape->name,
                            shape->vocab);
    if (layers && layers < shape->n_layers)
        bench->shape.n_layers = (int)layers;
    if (s->vocab)
        bench->shape.vocab = (int)s->vocab;
    /* The layer's session has no use for one. */
    if (layer)
        bench->shape.vocab = SY_PANEL;
    return SY_OK;
}

static enum sy_status read_settings(struct sy_bench *bench, struct sy_error *err)
{
    const struct sy_settings *s = bench->setup->settings;
    enum sy_status st = SY_OK;

    bench->measure = s->measure;
    if (!s->measure)
        return sy_error_set(err, SY_ERR_USAGE, "bench: say what to measure: ceilings, layer, model, dispatch or "
                            "tokenizer");
    if (s->probe_bytes < PROBE_BYTES_MIN)
        return sy_error_set(err, SY_ERR_USAGE, "--probe-bytes: at least %" PRIu64 " bytes", PROBE_BYTES_MIN);
    bench->n_reps = (int)s->reps;
    if (!bench->setup->rank)
        st = check_flags(bench, err);
    if (!st && sy_bench_has_shape(bench))
        st = choose_shape(bench, err);
    if (!st && !strcmp(s->measure, "model"))
        st = sy_bench_cells_read(bench, SY_BENCH_PREFILL, "prefill", s->prefill, err);
    if (!st && !strcmp(s->measure, "model"))
        st = sy_bench_cells_read(bench, SY_BENCH_DECODE, "decode", s->decode, err);
    if (!st && !strcmp(s->measure, "layer"))
        st = sy_bench_cells_read(bench, SY_BENCH_LAYER, "tokens", s->tokens ? s->tokens : LAYER_TOKENS, err);
    bool dispatch = !strcmp(s->measure, "dispatch");
    if (!st && dispatch)
        st = sy_bench_cells_read(bench, SY_BENCH_DISPATCH, "tokens", s->tokens ? s->tokens : DISPATCH_TOKENS, err);
    if (!st && (sy_bench_has_shape(bench) || dispatch) && !bench->n_cells)
        st = sy_error_set(err, SY_ERR_USAGE, "bench %s: nothing is left to measure", s->measure);
    return st;
}

/* ---- the session ---- */

/* Refuse what this node cannot hold, before anything of its size is allocated. */
static enum sy_status check_memory(struct sy_bench *bench, struct sy_error *err)
{
    const struct sy_setup *setup = bench->setup;
    int n_local = sy_group_node_size(setup->group);
    struct sy_session_config config;
    struct sy_memory_need need;

    sy_setup_config(setup, &config);
    enum sy_status st = sy_session_need(setup->group, setup->model, &config, &need, err);
    if (st)
        return st;
    double free_bytes = (double)setup->machine.memory_free_bytes, L = setup->model->n_layers;
    double ends = 2.0 * setup->model->vocab * setup->model->hidden * (double)sy_dtype_bytes(setup->model->dtype);
    double layers = (double)need.dense_bytes - ends + n_local * (double)(need.expert_bytes + need.kv_bytes);
    double rest = ends + n_local * ((double)need.buffer_bytes + (double)setup->settings->probe_bytes);
    if (layers + rest <= free_bytes)
        return SY_OK;
    double fit = floor((free_bytes - rest) / (layers / L));
    char hint[64] = "take a smaller shape";
    if (fit >= 1)
        snprintf(hint, sizeof hint, "--layers %.0f would fit", fit);
    return sy_error_set(
        err, SY_ERR_SYSTEM, "shape %s needs %.1f GB on this node (weights %.1f GB), but %.1f GB are free; %s",
        bench->shape.name, (layers + rest) * 1e-9,
        ((double)need.dense_bytes + n_local * (double)need.expert_bytes) * 1e-9, free_bytes * 1e-9, hint);
}

enum sy_status sy_bench_open(struct sy_bench *bench, sy_token_fn on_token, void *ctx, struct sy_error *err)
{
    struct sy_setup *setup = bench->setup;
    uint64_t seed = (uint64_t)setup->settings->seed;
    enum sy_status st = sy_checkpoint_synthetic(&bench->shape, seed, &setup->ckpt, err);

    if (!st)
        st = sy_model_create(setup->ckpt, &setup->model, err);
    st = sy_setup_agree(setup, st, err);
    if (!st)
        st = sy_setup_agree(setup, check_memory(bench, err), err);
    if (!st)
        st = sy_setup_session(setup, on_token, NULL, ctx, err);
    if (st)
        return st;
    if (bench->json)
        json_object_set_new(bench->json, "chunk_rows", json_integer(sy_session_chunk_rows(setup->session)));
    st = sy_bench_probe_init(&bench->probe, setup->kernels, sy_session_queue(setup->session),
                             (size_t)setup->settings->probe_bytes, err);
    st = sy_setup_agree(setup, st, err);
    if (!st)
        st = sy_bench_ceilings_measure(setup, &bench->probe, setup->n_threads, CEILING_REPS, &bench->ceilings, err);
    if (!st)
        sy_report_ceilings(bench, &bench->ceilings, CEILING_REPS);
    return st;
}

/* ---- repetitions ---- */

enum sy_status sy_bench_alloc_samples(struct sy_bench *bench, struct sy_error *err)
{
    size_t n = (size_t)bench->n_cells * (size_t)bench->n_reps, n_ranks = (size_t)bench->setup->n_ranks;
    enum sy_status st = SY_OK;

    bench->samples = calloc(n, sizeof *bench->samples);
    bench->ranks = calloc(n * n_ranks, sizeof *bench->ranks);
    if (!bench->samples || !bench->ranks)
        st = sy_error_set(err, SY_ERR_SYSTEM, "no memory for %zu repetitions", n);
    for (size_t i = 0; i < n && !st; i++)
        bench->samples[i].ranks = bench->ranks + i * n_ranks;
    return sy_setup_agree(bench->setup, st, err);
}

struct sy_bench_sample *sy_bench_sample(const struct sy_bench *bench, int cell, int rep)
{
    return &bench->samples[cell * bench->n_reps + rep];
}

/* Read bandwidth now, all ranks at the same time. */
static enum sy_status probe_read(struct sy_bench *bench, double *rate, struct sy_error *err)
{
    enum sy_status st = sy_group_barrier(bench->setup->group, err);

    if (!st)
        *rate = sy_bench_probe_rate(&bench->probe, SY_PROBE_READ, READ_SECONDS);
    return st;
}

enum sy_status sy_bench_repeat(struct sy_bench *bench, sy_bench_run_fn run, struct sy_error *err)
{
    struct sy_bench_sample unused = {0};
    struct sy_bench_rank mine = {0};
    double before = 0, after = 0;
    enum sy_status st = SY_OK;

    sy_progress_begin(&bench->progress, "measuring", "repetitions", (uint64_t)(bench->n_cells * (bench->n_reps + 1)),
                      bench->setup->rank == 0);
    for (int cell = 0; cell < bench->n_cells && !st; cell++) {
        st = run(bench, cell, true, &unused, &mine, err);
        sy_progress_update(&bench->progress, (uint64_t)cell + 1);
    }
    if (!st)
        st = probe_read(bench, &before, err);
    for (int i = 0; i < bench->n_cells * bench->n_reps && !st; i++) {
        struct sy_bench_sample *sample = sy_bench_sample(bench, i % bench->n_cells, i / bench->n_cells);
        mine = (struct sy_bench_rank){0};
        sy_bench_cpu_now(&mine.cpu);
        st = run(bench, i % bench->n_cells, false, sample, &mine, err);
        sy_bench_cpu_since(&mine.cpu);
        if (!st)
            st = probe_read(bench, &after, err);
        mine.read = (before + after) / 2;
        before = after;
        if (!st)
            st = sy_group_allgather(bench->setup->group, &mine, sizeof mine, sample->ranks, err);
        for (int r = 0; r < bench->setup->n_ranks; r++)
            if (sample->ranks[r].seconds > sample->seconds)
                sample->seconds = sample->ranks[r].seconds;
        sy_progress_update(&bench->progress, (uint64_t)(bench->n_cells + i + 1));
    }
    sy_progress_end(&bench->progress);
    return st;
}

void sy_bench_add_own(struct sy_bench_rank *mine, const struct sy_session_own *before,
                      const struct sy_session_own *after)
{
    struct sy_session_own *own = &mine->own;

    for (int i = 0; i < SY_N_PHASES; i++)
        own->phase_s[i] += after->phase_s[i] - before->phase_s[i];
    own->n_rows += after->n_rows - before->n_rows;
    own->n_keys += after->n_keys - before->n_keys;
    own->n_cached += after->n_cached - before->n_cached;
    own->n_logit_rows += after->n_logit_rows - before->n_logit_rows;
    own->n_expert_rows += after->n_expert_rows - before->n_expert_rows;
    own->n_experts += after->n_experts - before->n_experts;
}

uint64_t sy_bench_random(uint64_t seed, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    uint64_t words[] = {seed, a, b, c, d}, z = 0;

    /* The steps of SplitMix64 between one word and the next. */
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        z = (z ^ words[i]) + UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
    }
    return z;
}

/* ---- the command ---- */

static enum sy_status measure(struct sy_bench *bench, struct sy_error *err)
{
    struct sy_setup *setup = bench->setup;
    enum sy_status st = sy_setup_agree(setup, read_settings(bench, err), err);

    if (!st)
        st = sy_setup_machine(setup, err);
    if (!st)
        st = sy_setup_agree(setup, sy_report_open(bench, err), err);
    if (st)
        return st;
    if (!strcmp(bench->measure, "ceilings"))
        st = sy_bench_run_ceilings(bench, err);
    else if (!strcmp(bench->measure, "layer"))
        st = sy_bench_run_layer(bench, err);
    else if (!strcmp(bench->measure, "dispatch"))
        st = sy_bench_run_dispatch(bench, err);
    else if (!strcmp(bench->measure, "tokenizer"))
        st = sy_bench_run_tokenizer(bench, err);
    else
        st = sy_bench_run_model(bench, err);
    return st ? st : sy_setup_agree(setup, sy_report_close(bench, err), err);
}

int sy_cli_bench(struct sy_cli *cli)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_setup setup;
    struct sy_bench bench = {.setup = &setup};
    enum sy_status st = sy_setup_start(&setup, cli, &err);

    if (!st)
        st = measure(&bench, &err);
    sy_bench_probe_fini(&bench.probe);
    sy_bench_ceilings_fini(&bench.ceilings);
    free(bench.samples);
    free(bench.ranks);
    json_decref(bench.json);
    return sy_setup_leave(&setup, st, &err);
}
