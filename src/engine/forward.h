/* SPDX-License-Identifier: Apache-2.0
 * forward.h - one step of this rank's batch through all layers
 *
 *   embed ─> [norm ─> qkv ─> rope ─> attention ─> o ─> + ─> norm ─> MoE or dense ─> +] x layers ─> norm ─> logits
 *
 * Every rank runs it together with the others, because every MoE layer is an exchange; T may be 0.
 * The residual stream is FP32 under every compute type.
 */
#ifndef SY_ENGINE_FORWARD_H
#define SY_ENGINE_FORWARD_H

#include <stdint.h>

#include "arena.h"
#include "engine/inputs.h"
#include "engine/kvcache.h"
#include "engine/replay.h"
#include "engine/scheduler.h"
#include "kernels.h"
#include "model/model.h"
#include "model/shard.h"
#include "moe/moe.h"

/* Rows whose logits are computed at a time; tokens of one that a device tells of, unless it tells of all. */
#define SY_LOGIT_ROWS 32
#define SY_PICK_ROOM  4096

struct sy_forward_config {
    const struct sy_model *model;
    const struct sy_shard *shard;
    const struct sy_kernels *kernels;
    struct sy_queue *queue;
    struct sy_kv_cache *cache;
    struct sy_moe *moe;
    enum sy_dtype rows;    /* of activations before the products of attention and of a dense MLP: SY_F32, or under
                            * compute bf16 SY_BF16X2 (SY_BF16 where the backend has no such rows) */
    enum sy_dtype logit_rows; /* and before the output projection: SY_F32 or SY_BF16 */
    int max_tokens, max_sequences; /* of a step */
    int n_positions;       /* that a sequence can reach */
    sy_hidden_fn on_hidden; /* of session.h, or NULL */
    void *ctx;
};

/* Rows run so far, for measurements. */
struct sy_forward_work {
    uint64_t n_rows;       /* through the layers */
    uint64_t n_keys;       /* keys up to each row's own, summed over rows; in every layer */
    uint64_t n_cached;     /* positions up to the last one, once for each sequence of a step; in every layer */
    uint64_t n_logit_rows; /* through the output projection */
};

/* Of multi-head latent attention, empty without. Queries are taken a few rows at a time, for in the latent's dims they are
 * much larger than they were. */
#define SY_MLA_ROWS 64

struct sy_mla_buffers {
    void *q_a;       /* [T, q_lora] normalised, of config.rows */
    float *q;        /* [T, Hq (nope + rope)] */
    void *q_rows;    /* [SY_MLA_ROWS, a row of q or, without q_lora, of qkv], of config.rows */
    float *q_latent; /* [SY_MLA_ROWS, Hq, kv_lora + rope] */
    void *latent;    /* [SY_MLA_ROWS, Hq, kv_lora] attention's output, of config.rows */
};

struct sy_forward {
    struct sy_forward_config config;
    struct sy_arena arenas[SY_N_PLACES];
    struct sy_inputs inputs;
    struct sy_replay replay;
    /* On the device */
    float *x, *h;          /* [T, D] residual stream, and normalised rows for the MLP: the router wants FP32 */
    void *h_rows;          /* [T, D] normalised rows in the type of config.rows */
    float *qkv;            /* [T, (Hq + 2 Hkv) dh]; with MLA as weights.qkv */
    void *context;         /* [T, Hq dh], [T, Hq v] with MLA, of config.rows */
    struct sy_mla_buffers mla;
    float *delta;          /* [T, D] what is scaled before it is added, or the output of a dense MLP */
    void *act;             /* [T, dense width] of config.rows */
    float *cos_sin;        /* [sy_rope_rows(), rotary dim] */
    float *logit_rows;     /* [SY_LOGIT_ROWS, D] */
    void *logit_h;         /* the same normalised, of config.logit_rows */
    float *device_logits;  /* [SY_LOGIT_ROWS, V] */
    /* Of the host too */
    float *logits;         /* the same, or a copy */
    float *shown;          /* [T, D] a copy of rows that are looked into; NULL where they are at hand */
    uint32_t *logit_index; /* [SY_LOGIT_ROWS] rows of x */
    struct sy_logit_scan *scans; /* [SY_LOGIT_ROWS] */
    float *block_max;      /* [SY_LOGIT_ROWS, blocks of V], for the scans; on the device where logits are picked */
    double *block_sums;    /* [SY_LOGIT_ROWS, 2, blocks of V] */
    struct sy_logit_pick *picks; /* [2 SY_LOGIT_ROWS], of which n_picks are asked for */
    int n_picks;
    int32_t *pick_ids;     /* [2 SY_LOGIT_ROWS, SY_PICK_ROOM], for the picks */
    float *pick_logits;
    struct sy_logit_scan row_scan; /* of the row that was fetched last */
    float *row_max;        /* [blocks of V] */
    double *row_sums;
    int64_t attention_ns, dense_ns, logits_ns;
    struct sy_forward_work work;
};

/* Bytes of buffers. */
size_t sy_forward_bytes(const struct sy_forward_config *config);
enum sy_status sy_forward_init(struct sy_forward *forward, const struct sy_forward_config *config,
                               struct sy_error *err);
void sy_forward_fini(struct sy_forward *forward);

/* y = norm(x), n_rows rows, y of y_dtype */
void sy_forward_norm(const struct sy_forward *forward, const float *x, int n_rows, const float *weight,
                     const float *bias, void *y, enum sy_dtype y_dtype);

/* x += residual_scale * delta, T rows. */
void sy_forward_add_scaled(struct sy_forward *forward, int T);

/* Run the batch through all layers; its final residual stream stays in forward->x. Collective. */
enum sy_status sy_forward_run(struct sy_forward *forward, const struct sy_batch *batch, struct sy_error *err);

/* Do logits stay on the device, and tokens of them are picked? */
bool sy_forward_picks(const struct sy_forward *forward);

/* Ask for one more pick of row i. At most two for a row; n_picks is the caller's to clear. */
struct sy_logit_pick *sy_forward_pick(struct sy_forward *forward, int i);

/* Logits of n_rows <= SY_LOGIT_ROWS rows of the last batch, and their scans: the caller says before in forward->scans[i]
 * what it wants of row i, and in forward->picks. The results, forward->scans, forward->picks and, if want_logits says so,
 * forward->logits [n_rows, V], last until the next call. Not collective. Errors: as the backend's queue_sync(). */
enum sy_status sy_forward_logits(struct sy_forward *forward, const int *rows, int n_rows, bool want_logits,
                                 struct sy_error *err);

/* Where they stay on the device, bring all logits of row i to their place in forward->logits, and its scan to
 * forward->row_scan. Errors: as the backend's queue_sync(). */
enum sy_status sy_forward_fetch(struct sy_forward *forward, int i, struct sy_error *err);

#endif
