/* SPDX-License-Identifier: Apache-2.0
 * bench_roof.c - operations and bytes of each phase
 *
 * Letters as in model.h: D hidden, E experts, K experts per token, F expert width, V vocabulary, L layers.
 */
#include "cli/bench_roof.h"

#include <string.h>

static void add(struct sy_roof *roof, double ops, double bytes)
{
    roof->ops += ops;
    roof->bytes += bytes;
}

/* Router, experts and combine of MoE layers: n_rows and n_passes are summed over layers. */
static void add_moe(const struct sy_model *m, double weight_bytes, double n_rows, double n_passes,
                    const struct sy_session_own *own, struct sy_roof roofs[SY_N_PHASES])
{
    double D = m->hidden, E = m->n_experts, F = m->expert_width;

    add(&roofs[SY_PHASE_ROUTER], n_rows * 2 * D * E, n_passes * D * E * sizeof(float));
    add(&roofs[SY_PHASE_EXPERTS], (double)own->n_expert_rows * 6 * D * F,
        (double)own->n_experts * 3 * D * F * weight_bytes);
    add(&roofs[SY_PHASE_COMBINE], n_rows * 2 * m->top_k * D, 0);
}

static void add_attention(const struct sy_model *m, double weight_bytes, double kv_bytes, double n_passes,
                          const struct sy_session_own *own, struct sy_roof *roof)
{
    double L = m->n_layers, D = m->hidden, nq = (double)m->n_heads * m->head_dim;
    double nkv = (double)m->n_kv_heads * m->head_dim, matrices = D * (nq + 2 * nkv) + nq * D;

    add(roof, L * (double)own->n_rows * 2 * matrices, L * n_passes * matrices * weight_bytes);
    /* Scores and weighted sum; every position of the cache read once, the new ones written. */
    add(roof, L * (double)own->n_keys * 4 * nq, L * (double)(own->n_cached + own->n_rows) * 2 * nkv * kv_bytes);
}

static void add_model(const struct sy_bench *bench, const struct sy_bench_rank *rank, double weight_bytes,
                      struct sy_roof roofs[SY_N_PHASES])
{
    const struct sy_model *m = bench->setup->model;
    const struct sy_session_own *own = &rank->own;
    double D = m->hidden, V = m->vocab, Fd = m->dense_width, n_rows = (double)own->n_rows, n_passes = rank->n_passes;
    double n_dense = m->n_layers - m->n_moe_layers;
    double kv_bytes = strcmp(bench->setup->settings->compute, "f32") ? sizeof(uint16_t) : sizeof(float);

    add_attention(m, weight_bytes, kv_bytes, n_passes, own, &roofs[SY_PHASE_ATTENTION]);
    add_moe(m, weight_bytes, n_rows * m->n_moe_layers, n_passes * m->n_moe_layers, own, roofs);
    add(&roofs[SY_PHASE_EXPERTS], n_dense * n_rows * 6 * D * Fd, n_dense * n_passes * 3 * D * Fd * weight_bytes);
    add(&roofs[SY_PHASE_LOGITS], (double)own->n_logit_rows * 2 * D * V,
        own->n_logit_rows ? n_passes * D * V * weight_bytes : 0);
}

void sy_bench_roofs(const struct sy_bench *bench, const struct sy_bench_cell *cell, const struct sy_bench_rank *rank,
                    const struct sy_ceilings *ceilings, struct sy_roof roofs[SY_N_PHASES])
{
    const struct sy_model *m = bench->setup->model;
    double weight_bytes = (double)sy_dtype_bytes(m->dtype), fp32 = ceilings->rate[SY_PROBE_FP32];
    double bf16 = ceilings->rate[SY_PROBE_BF16];
    bool wide = !strcmp(bench->setup->settings->compute, "f32");

    memset(roofs, 0, SY_N_PHASES * sizeof *roofs);
    if (cell->kind == SY_BENCH_LAYER)
        add_moe(m, weight_bytes, (double)rank->own.n_rows, rank->n_passes, &rank->own, roofs);
    else
        add_model(bench, rank, weight_bytes, roofs);
    for (int i = 0; i < SY_N_PHASES; i++) {
        /* Router and combine are FP32 under every compute type. Some CPUs multiply FP32 faster than BF16. */
        bool narrow = !wide && i != SY_PHASE_ROUTER && i != SY_PHASE_COMBINE;
        double compute_s = roofs[i].ops / (narrow && bf16 > fp32 ? bf16 : fp32);
        double memory_s = roofs[i].bytes / rank->read;
        roofs[i].memory_bound = memory_s > compute_s;
        roofs[i].seconds = roofs[i].memory_bound ? memory_s : compute_s;
    }
}

double sy_bench_roof_seconds(const struct sy_roof roofs[SY_N_PHASES])
{
    double sum = 0;

    for (int i = 0; i < SY_N_PHASES; i++)
        sum += roofs[i].seconds;
    return sum;
}
