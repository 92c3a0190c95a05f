/* SPDX-License-Identifier: Apache-2.0
 * shard.h - a rank's share of the weights: what is read, where it goes, and how it is packed
 *
 * sy_shard_create() lays out two blocks, one for dense weights (shared by the ranks of a node) and one for this rank's
 * experts, and lists the jobs that fill them. It reads nothing; sizes are known before anything is allocated. Each job
 * packs one matrix or vector. sy_shard_load() runs a share of the jobs.
 *
 * Letters: D hidden, F expert width, El experts on this rank, V vocabulary, Hq, Hkv heads, dh head size.
 */
#ifndef SY_MODEL_SHARD_H
#define SY_MODEL_SHARD_H

#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/progress.h"
#include "base/status.h"
#include "kernels.h"
#include "model/checkpoint.h"
#include "model/model.h"

/* Weights of one layer. Vectors are FP32; a NULL vector is not there. */
struct sy_layer_weights {
    const float *attention_norm, *mlp_norm; /* [D] */
    const float *attention_norm_bias, *mlp_norm_bias; /* of LayerNorms */
    const float *q_norm, *k_norm;           /* [dh], or [Hq * dh] and [Hkv * dh] */
    struct sy_weight qkv, o;                /* [(Hq + 2 Hkv) dh, D], [D, Hq dh] */
    const float *sinks;                     /* [Hq] */
    /* MLA: qkv is [q_lora + kv_lora + rope, D], or [Hq (nope + rope) + kv_lora + rope, D] without q_b. k_up and v_up are
     * one matrix for each head, of head 0 here and so many bytes further on for each next one. */
    struct sy_weight q_b;        /* [Hq (nope + rope), q_lora] */
    struct sy_weight k_up, v_up; /* [kv_lora, nope], transposed as absorbed projections want it; [v, kv_lora] */
    size_t k_up_head, v_up_head;
    const float *q_a_norm, *kv_a_norm;      /* [q_lora], [kv_lora] */
    struct sy_weight router;                /* [E, D] FP32; moe layers */
    const float *correction;                /* [E] of the router's choice */
    struct sy_weight dense_gate_up, dense_down; /* dense layers, and the shared expert of moe layers */
    struct sy_weight shared_gate;           /* [1, D] FP32; n 0: the shared expert has none */
};

/* One expert: [2F, D] interleaved panels, and [D, F] panels. */
struct sy_expert_weights {
    struct sy_weight gate_up, down;
};

/* Which experts a rank holds: expert_at(ctx, layer, slot) for slots 0 .. n_slots(layer) - 1. */
struct sy_shard_experts {
    int (*n_slots)(const void *ctx, int layer);
    int (*expert_at)(const void *ctx, int layer, int slot);
    const void *ctx;
    int max_slots;
};

struct sy_shard {
    const struct sy_model *model;
    const struct sy_kernels *kernels;
    size_t dense_bytes, expert_bytes;           /* of the two blocks */
    uint64_t dense_read_bytes, expert_read_bytes; /* checkpoint bytes behind them */
    struct sy_weight embed, lm_head;
    const float *final_norm, *final_norm_bias;
    struct sy_layer_weights *layers;            /* [n_layers] */
    struct sy_expert_weights *experts;           /* [n_layers * max_slots] */
    int max_slots;
    struct sy_shard_job *jobs;
    int n_jobs, max_jobs;
};

/* Lay everything out. The block addresses are set later by sy_shard_place(), so until then the weights' data pointers are
 * offsets. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_shard_create(const struct sy_model *model, const struct sy_kernels *kernels,
                               const struct sy_shard_experts *experts, struct sy_shard **shard, struct sy_error *err);

/* Give the blocks their memory (zeroed, dense_bytes and expert_bytes long, aligned to 64). Once. */
void sy_shard_place(struct sy_shard *shard, void *dense, void *experts);

/* A piece of one of the blocks. */
struct sy_window {
    bool expert; /* of the block of experts, else of the dense one */
    size_t begin, bytes;
};

/* How blocks are filled that the host cannot write to: window by window in order of their places, those of the dense block
 * first. A window has at most `bytes`, or what one matrix needs that cannot be cut. */
struct sy_windows {
    size_t bytes;
    /* Memory to pack a window in; what it holds does not matter. */
    enum sy_status (*take)(void *ctx, const struct sy_window *window, uint8_t **memory, struct sy_error *err);
    /* It is packed; memory is NULL when it is not, because something went wrong here: then too every window is given, for
     * ranks that share a dense block may wait for each other. An error ends the loading at once. */
    enum sy_status (*give)(void *ctx, const struct sy_window *window, const uint8_t *memory, struct sy_error *err);
    void *ctx;
};

/* Bytes of the largest window of a block, when it may have `least`. */
size_t sy_shard_window_bytes(const struct sy_shard *shard, bool expert, size_t least);

/* Read and pack this rank's experts, and part `part` of n_parts of the dense weights (n_parts ranks share one dense block;
 * 0 of 1 where it is private), into the blocks' memory, or where windows is not NULL through them. Reads go through the files
 * in order, or through the files of each window; the system is told what comes next, and all threads of the pool read and
 * pack. Needs under 1 MiB for each thread (16 rows, where those are more). progress may be NULL.
 * Errors: as sy_checkpoint_fetch(), of the first tensor in that order that cannot be read; windows' own; SY_ERR_SYSTEM. */
enum sy_status sy_shard_load(struct sy_shard *shard, struct sy_checkpoint *ckpt, int part, int n_parts,
                             struct sy_pool *pool, struct sy_progress *progress, const struct sy_windows *windows,
                             struct sy_error *err);

void sy_shard_destroy(struct sy_shard *shard);

#endif
