/* SPDX-License-Identifier: Apache-2.0
 * bench_json.c - everything that was measured, for programs
 *
 * Seconds, bytes, operations and their rates are plain numbers in base units. A failed allocation of jansson's gives NULL,
 * which its functions pass on, so that it is looked for once, at the end.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "cli/bench_report.h"
#include "cli/version.h"

static json_t *spread(const struct sy_spread *s)
{
    return json_pack("{s:f,s:f,s:f}", "median", s->median, "min", s->min, "max", s->max);
}

static json_t *shape(const struct sy_bench *bench)
{
    const struct sy_shape *s = &bench->shape;

    return json_pack("{s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "name", s->name, "about", s->about,
                     "architecture", s->architecture, "layers", s->n_layers, "hidden", s->hidden, "heads", s->n_heads,
                     "kv_heads", s->n_kv_heads, "head_dim", s->head_dim, "experts", s->n_experts, "top_k", s->top_k,
                     "expert_width", s->expert_width, "vocabulary", s->vocab);
}

json_t *sy_json_of_job(const struct sy_bench *bench)
{
    const struct sy_setup *setup = bench->setup;
    const struct sy_settings *s = setup->settings;
    time_t now = time(NULL);
    struct tm tm;
    char stamp[32];

    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    json_t *root = json_pack(
        "{s:s,s:s,s:s,s:{s:s,s:s,s:i,s:i,s:I},s:i,s:i,s:i,s:b,s:s,s:i,s:I,s:I}", "switchyard", sy_version, "measure",
        bench->measure, "time", stamp, "machine", "host", setup->machine.host, "cpu", setup->machine.cpu_model, "cores",
        setup->machine.n_cores, "numa_nodes", setup->machine.n_numa, "memory_bytes",
        (json_int_t)setup->machine.memory_bytes, "ranks", setup->n_ranks, "nodes", sy_group_n_nodes(setup->group),
        "threads", setup->n_threads, "bound", setup->bound, "isa", sy_isa_name(setup->isa), "repetitions",
        bench->n_reps, "probe_bytes", (json_int_t)s->probe_bytes, "seed", (json_int_t)s->seed);
    json_object_set_new(root, "ceilings", json_array());
    if (!sy_bench_has_shape(bench))
        return root;
    json_object_set_new(root, "compute", json_string(s->compute));
    json_object_set_new(root, "shape", shape(bench));
    json_object_set_new(root, "slots", json_integer(s->slots));
    if (!strcmp(bench->measure, "model")) {
        json_object_set_new(root, "generate", json_integer(s->generate));
        json_object_set_new(root, "context", json_integer(s->context));
        json_object_set_new(root, "prefill_chunk", json_integer(s->prefill_chunk));
        json_object_set_new(root, "max_tokens_per_step", json_integer(s->max_tokens_per_step));
    }
    json_object_set_new(root, "cells", json_array());
    return root;
}

json_t *sy_json_of_ceilings(const struct sy_bench *bench, const struct sy_bench_ceilings *ceilings, int n_reps,
                            unsigned low)
{
    json_t *out = json_pack("{s:i}", "threads", ceilings->n_threads);

    for (int what = 0; what < SY_N_PROBES; what++) {
        json_t *one = spread(&ceilings->spread[what]), *samples = json_array(), *ranks = json_array();
        double known = sy_bench_reference(ceilings->n_threads * bench->setup->n_ranks, (enum sy_probe)what);
        for (int i = 0; i < n_reps; i++)
            json_array_append_new(samples, json_real(ceilings->samples[what * n_reps + i]));
        for (int r = 0; r < bench->setup->n_ranks; r++)
            json_array_append_new(ranks, json_real(ceilings->ranks[r].rate[what]));
        json_object_set_new(one, "samples", samples);
        json_object_set_new(one, "ranks", ranks);
        json_object_set_new(one, "reference", known > 0 ? json_real(known) : json_null());
        json_object_set_new(one, "low", json_boolean(low & 1u << what));
        json_object_set_new(out, sy_probe_name((enum sy_probe)what), one);
    }
    return out;
}

static json_t *phases(const struct sy_bench_figures *f)
{
    json_t *out = json_object();

    for (int i = 0; i < SY_BENCH_N_PHASES; i++) {
        const struct sy_bench_phase *p = &f->phases[i];
        json_t *one = json_pack("{s:f,s:f}", "seconds", p->seconds, "of_step", p->part);
        if (p->roof_s > 0)
            json_object_update_new(one, json_pack("{s:f,s:f,s:f,s:f,s:s}", "roof_s", p->roof_s, "share", p->share,
                                                  "ops_per_s", p->ops, "bytes_per_s", p->bytes, "bound",
                                                  p->memory_bound ? "memory" : "compute"));
        json_object_set_new(out, sy_bench_phase_name(i), one);
    }
    return out;
}

static json_t *rank(const struct sy_bench *bench, const struct sy_bench_cell *cell, const struct sy_bench_rank *rank,
                    const struct sy_ceilings *ceilings)
{
    const struct sy_session_own *own = &rank->own;
    struct sy_roof roofs[SY_N_PHASES];
    json_t *seconds = json_object(), *roof = json_object();

    sy_bench_roofs(bench, cell, rank, ceilings, roofs);
    for (int i = 0; i < SY_N_PHASES; i++) {
        json_object_set_new(seconds, sy_bench_phase_name(i), json_real(own->phase_s[i]));
        json_object_set_new(
            roof, sy_bench_phase_name(i),
            json_pack("{s:f,s:f,s:f}", "ops", roofs[i].ops, "bytes", roofs[i].bytes, "seconds", roofs[i].seconds));
    }
    return json_pack("{s:f,s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "read", rank->read, "passes", rank->n_passes, "rows",
                     (json_int_t)own->n_rows, "keys", (json_int_t)own->n_keys, "cached", (json_int_t)own->n_cached,
                     "logit_rows", (json_int_t)own->n_logit_rows, "expert_rows", (json_int_t)own->n_expert_rows,
                     "experts", (json_int_t)own->n_experts, "phase_s", seconds, "roof", roof);
}

static json_t *repetition(const struct sy_bench *bench, const struct sy_bench_cell *cell,
                          const struct sy_bench_sample *sample)
{
    json_t *ranks = json_array();

    for (int r = 0; r < bench->setup->n_ranks; r++)
        json_array_append_new(ranks, rank(bench, cell, &sample->ranks[r], &bench->ceilings.ranks[r]));
    return json_pack("{s:f,s:i,s:I,s:f,s:f,s:o}", "seconds", sample->seconds, "steps", sample->n_steps, "tokens",
                     (json_int_t)sample->n_tokens, "roof_s", sy_bench_sample_roof(bench, cell, sample), "foreign",
                     sy_bench_foreign(bench, sample), "ranks", ranks);
}

json_t *sy_json_of_cell(const struct sy_bench *bench, int number, const struct sy_bench_figures *f)
{
    static const char *const kinds[] = {"prefill", "decode", "layer"};
    const struct sy_bench_cell *cell = &bench->cells[number];
    json_t *repetitions = json_array();
    char name[48];

    for (int rep = 0; rep < bench->n_reps; rep++)
        json_array_append_new(repetitions, repetition(bench, cell, sy_bench_sample(bench, number, rep)));
    return json_pack("{s:s,s:s,s:i,s:i,s:f,s:o,s:o,s:o,s:o,s:o,s:o,s:f,s:f,s:o,s:o}", "name",
                     sy_bench_cell_name(cell, name, sizeof name), "kind", kinds[cell->kind], "sequences",
                     cell->n_sequences, "tokens", cell->n_tokens, "steps", f->steps, "tokens_per_s",
                     spread(&f->tokens_per_s), "step_s", spread(&f->step_s), "roof_s", spread(&f->roof_s), "share",
                     spread(&f->share), "read", spread(&f->read), "foreign", spread(&f->foreign), "experts", f->experts,
                     "experts_uniform", f->experts_uniform, "phases", phases(f), "repetitions", repetitions);
}
