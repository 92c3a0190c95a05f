/* SPDX-License-Identifier: Apache-2.0
 * moe.h - one rank's part of the mixture-of-experts layers: buffers and state
 *
 * Made once; every buffer is sized for the largest step and lies in one arena. layer.c runs a layer and is the page to
 * read first; router.c, plan.c, dispatch.c, experts.c and combine.c are its arrows.
 *
 * Letters: T tokens of this rank in this step, D hidden, E experts, El experts on this rank, K experts per token, F expert
 * width, R ranks, C rows of a chunk. "Wire type" is the type of a row between kernels and ranks: FP32 under compute f32,
 * BF16 under bf16; a row that stays on its rank has it too (DESIGN 3.2, rule 2).
 * Thread: the rank's main thread.
 */
#ifndef SY_MOE_MOE_H
#define SY_MOE_MOE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "arena.h"
#include "base/status.h"
#include "comm/transport.h"
#include "kernels.h"
#include "moe/plan.h"
#include "moe/residency.h"
#include "placement.h"

/* Bytes of one line of sy_moe_overdue(). */
#define SY_OVERDUE_LINE 640

struct sy_moe_config {
    const struct sy_kernels *kernels;
    struct sy_queue *queue;
    struct sy_fabric *fabric;
    const struct sy_placement *placement;
    struct sy_residency *residency;
    struct sy_router_rule rule;           /* without the correction, which is a layer's */
    struct sy_glu glu;
    int hidden, expert_width, shared_width, max_tokens; /* D, F, of the shared expert (0: none), largest T */
    int chunk_rows;                       /* C */
    enum sy_dtype wire;                   /* SY_F32 or SY_BF16 */
    bool in_turn;                         /* no overlap: takes room for all results of a layer */
    bool reverse_k;                       /* negative control of the exactness tests */
};

/* Time spent, for the summary; nanoseconds. */
struct sy_moe_times {
    int64_t router_ns, dispatch_ns, experts_ns, combine_ns, wait_ns;
};

/* Work done here, for measurements; sums over layers. */
struct sy_moe_work {
    uint64_t n_pairs;   /* rows times experts */
    uint64_t n_experts; /* experts that had rows: each counts once in each layer for each mark (sy_moe_mark()) */
};

/* A (row, expert) product that this rank owes somebody. */
struct sy_pair {
    uint32_t row;    /* in rows_in; once computed in turn, in kept */
    uint32_t index;  /* place of the result at its source */
    int32_t source;  /* rank */
    int32_t next;    /* next pair of the same slot, -1 at the end */
};

/* Pairs of one slot that are not yet computed, in the order in which they came. */
struct sy_pending {
    int head, tail, count; /* head < 0: none */
};

/* Whose tokens they are of: results for others have a way to go. */
enum sy_whose { SY_OTHERS, SY_OWN, SY_N_WHOSE };

/* Where one peer stands in this layer. */
struct sy_peer_state {
    int next_row;       /* next row of the plan to send */
    int asked, written; /* between devices: rows of the plan before these are being copied, are there */
    bool may_send;      /* it gave credit for the next one */
    bool sent_last;     /* my last dispatch chunk is on its way */
    bool received_last; /* its last dispatch chunk is here */
    int n_rows;         /* rows that it sent so far */
    int n_incoming;     /* pairs that it sent so far */
    int n_returned;     /* results staged or sent back to it */
    int n_outstanding;  /* results that I wait for */
    int n_staged;       /* results in its staging chunk */
};

struct sy_moe {
    struct sy_moe_config config;
    int rank, n_ranks;
    struct sy_rows rows;        /* the wire type's row of D elements */
    struct sy_arena arenas[SY_N_PLACES];
    void *shared_block;         /* of the fabric, while the backend's kernels may use it */
    struct sy_plan plan;
    uint32_t sequence;          /* MoE layers run so far */
    int T, layer;               /* of the layer that runs now */

    float *logits, *weights;    /* [T, E], [T, K]; on the device */
    int32_t *ids;               /* [T, K] */
    /* The fabric's window: what arrives. A peer that can write here puts rows into its own part of rows_in, and results where
     * their token wants them; of one that cannot, they are copied from its chunks. A peer writes only what is waited for: rows
     * of a layer when all results of its last one are back, so that those are read, and results once it has the rows. */
    uint8_t *rows_in;           /* [R, max_tokens] rows of the wire type; this rank's own T are its part */
    uint8_t *results;           /* [max_tokens * K] rows of the wire type */

    int *order;                  /* [R - 1] of other ranks, in which they are served (sy_plan_peers()) */
    struct sy_peer_state *peers; /* [R] */
    int *incoming;              /* [R] pairs that each peer sent, for the plan's formula */
    struct sy_pair *pairs;      /* [R * max_tokens * min(K, El)] */
    int n_pairs, max_pairs;
    struct sy_pending (*pending)[SY_N_WHOSE]; /* [El max] of each slot */
    uint32_t *slot_mark;        /* [layers, El max] the mark with which an expert was counted last */
    uint32_t mark;
    int n_slots, max_slots;     /* El of this layer, and the largest of all */
    int n_pending;              /* pairs not yet computed */

    struct sy_tile *tiles;      /* one batch of expert tiles */
    uint32_t *batch_rows;       /* [waiting rows] the row of rows_in behind each */
    uint8_t *batch_in;          /* [batch rows] the same rows in order of their experts; on the device */
    uint8_t *act;               /* [batch rows, F] of the wire type; on the device */
    uint8_t *out;               /* [batch rows] rows of the wire type */
    void **out_at;              /* [waiting rows] where each result is: its place in results or a peer's window, or in
                                 * `out`. The first n_out are not yet on their way back; a batch comes behind them */
    int *out_pair;              /* [waiting rows] the pair behind each */
    int n_out, n_out_used;      /* the latter: rows of `out` that hold results, counted until all are on their way */
    int64_t arrival_ns;         /* when a row or result last moved in this layer */

    bool in_turn;               /* layers run in turn; only with config.in_turn */
    /* Before and after each exchange of a layer in turn, for measurements of its parts alone; NULL: nothing. */
    enum sy_status (*between)(void *ctx, struct sy_error *err);
    void *between_ctx;
    uint8_t *kept;              /* [R * max_tokens * min(K, El)] rows of the wire type: all of a layer in turn */

    uint32_t *staged_index;     /* [R, C] */
    const uint8_t **staged_from; /* [R, C] where the row is: in `out`, in staged_rows, or (NULL) where it belongs */
    uint8_t *staged_rows;       /* [R, C] rows kept over a batch */
    /* [R * max_tokens * min(K, El)] results of a layer in turn, in order of their sources: the row of each, and its place
     * there. Only with a backend whose memory can be lent. */
    uint32_t *back_from, *back_to;
    struct iovec *iov;          /* [C + 2] */
    uint32_t *meta;             /* [C + 2 C K] counts and pairs of one outgoing chunk */

    char *overdue;              /* [R * SY_OVERDUE_LINE + 1] what a passed deadline says of each peer */
    bool computing;             /* a batch of tiles runs */
    enum sy_status nudged;      /* what sy_moe_nudge() met, and the sentence */
    struct sy_error nudged_err;

    /* On the device */
    uint8_t *shared_act;        /* [T, shared width] of the wire type */
    float *shared, *shared_gate; /* [T, D] what the shared expert made, [T] the logit of its weight */

    /* Where a layer is one call (whole.h); NULL elsewhere. On the device */
    struct {
        enum sy_moe_from from;
        void *workspace;
        uint8_t *tables; /* of each layer's experts */
        uint8_t *own;    /* [T, D] own rows of the wire type, for the shared expert */
        uint64_t *n_active, *n_active_seen; /* experts that had rows, since the start; and the host's copy */
    } whole;

    /* Where layers go from device to device (across.h); workspace is NULL elsewhere. On the device */
    struct {
        int way, n_pieces, piece;      /* SY_ACROSS_OFF or how the layers of this step do, and tokens of a piece */
        bool ahead;                    /* whether rows do not wait for the router */
        struct sy_moe_window own, *windows, *peers; /* [R], and the same on the host */
        void *workspace;
        uint8_t *tables;               /* of each layer's experts here */
        int32_t *homes;                /* [layers][E][2] */
        int32_t *ids;                  /* [tokens, K] */
        uint8_t *own_rows;             /* [tokens, D] of the wire type, for the shared expert */
        uint64_t *counts, counted[4];  /* of work, since the start; and up to when work was brought up to date */
    } across;
    uint64_t stored_bytes;             /* rows and results that the device stored at other ranks */

    struct sy_moe_times times;
    struct sy_moe_work work;
    uint64_t wire_bytes_planned;
};

/* Rows of a chunk that suit a transport, whose choice and slots are set; config's own do not count. Collective, the same on all
 * ranks. */
enum sy_status sy_moe_chunk_rows(const struct sy_moe_config *config, const struct sy_transport_config *transport,
                                 struct sy_group *group, int *rows, struct sy_error *err);

/* What the transports need to know, beside their slots, which are set: the largest chunks, and the window. */
void sy_moe_transport(const struct sy_moe_config *config, int n_ranks, struct sy_transport_config *transport);

/* Bytes of buffers that sy_moe_create() will take beside the window. */
size_t sy_moe_bytes(const struct sy_moe_config *config, int rank, int n_ranks);

enum sy_status sy_moe_create(const struct sy_moe_config *config, struct sy_moe **moe, struct sy_error *err);
void sy_moe_destroy(struct sy_moe *moe);

/* Before a step of T tokens. Collective over the ranks. Errors: as sy_group_allgather(). */
enum sy_status sy_moe_begin_step(struct sy_moe *moe, int T, struct sy_error *err);

/* Where the device waits for other ranks, wait until all that was asked of the queue is done: at the end of a step, and before
 * anything else in it that would wait without a deadline. Errors: SY_ERR_PEER. */
enum sy_status sy_moe_wait(struct sy_moe *moe, struct sy_error *err);

/* Whether layers of this step need nothing of the host while they run, so that their calls can be recorded: not 0, and the same
 * for calls that are the same. */
int sy_moe_records(const struct sy_moe *moe);

/* Bring work up to date where the backend counts. Errors: as its queue_sync(). */
enum sy_status sy_moe_count(struct sy_moe *moe, struct sy_error *err);

/* From here on experts that were counted before count again in work.n_experts. */
void sy_moe_mark(struct sy_moe *moe);

/* ---- layer.c: the whole layer ---- */

/* x[t] += sum over the K experts of token t of weight * expert(h[t]). Collective over the ranks: every rank calls it for
 * every MoE layer, T may be 0.
 *   layer   number of the layer, for placement and messages
 *   weights router [E, D] FP32 panels, and the shared expert if there is one
 *   h       [T, D] normalised hidden states, FP32, not rounded
 *   x       [T, D] residual stream
 * Errors: SY_ERR_PEER when a peer sends nothing for the group's timeout; SY_ERR_INTERNAL for a malformed chunk. */
enum sy_status sy_moe_layer(struct sy_moe *moe, int layer, const struct sy_layer_weights *weights, const float *h,
                            int T, float *x, struct sy_error *err);

/* The same in two: what needs neither the host nor other ranks, so that it can be recorded, and the rest. Both together take
 * sy_moe_layer()'s arguments; in between, nothing else is asked of moe. */
void sy_moe_ask(struct sy_moe *moe, const struct sy_layer_weights *weights, const float *h, int T);
enum sy_status sy_moe_answer(struct sy_moe *moe, int layer, const struct sy_layer_weights *weights, const float *h,
                             int T, float *x, struct sy_error *err);

/* Let the network move while kernels run, and chunks too while those are the experts': a peer can take a chunk only while
 * its sender lets the network work, and may need it, or the room for its own, before it can compute itself. An error is
 * returned by the layer. For sy_pool_poll(). */
void sy_moe_nudge(void *moe);

/* ---- overdue.c ---- */
/* The deadline has passed: who is being waited for, with a line for each peer that says what it owes, on which lane, and where
 * the ring stands. Returns SY_ERR_PEER. */
enum sy_status sy_moe_overdue(struct sy_moe *moe, struct sy_error *err);

/* ---- exchange.c: dispatch and combine without anything in between. Collective, errors as sy_moe_layer() ---- */
/* After sy_dispatch_start(): send all rows, and wait for all of others. */
enum sy_status sy_exchange_rows(struct sy_moe *moe, struct sy_error *err);
/* Every pair's result to its source, and all of this rank's tokens here; rows holds them as the pairs say, but for those of
 * this rank's own tokens, which are in results already. */
enum sy_status sy_exchange_results(struct sy_moe *moe, const uint8_t *rows, struct sy_error *err);
/* For measurements of the exchange alone, by the way that layers of so few tokens take: */
/* What comes next is of T tokens, whose experts are ids [T, K]. */
enum sy_status sy_exchange_ready(struct sy_moe *moe, int layer, const int32_t *ids, int T, struct sy_error *err);
/* The rows of sy_dispatch_own() go to the experts of the same ids; returns when all rows for this rank's experts are here. */
enum sy_status sy_exchange_dispatch(struct sy_moe *moe, const int32_t *ids, struct sy_error *err);
/* Every expert returns the rows that it got; results [T * K] hold those of other ranks' experts when this returns. */
enum sy_status sy_exchange_combine(struct sy_moe *moe, struct sy_error *err);

/* ---- router.c ---- */
void sy_router_ask(struct sy_moe *moe, const struct sy_layer_weights *weights, const float *h);
/* The ids are here, which the plan is made of, and all else that was asked of the queue is done. Errors: as the backend's
 * queue_sync(). */
enum sy_status sy_router_wait(struct sy_moe *moe, struct sy_error *err);

/* ---- shared.c ---- */
/* The expert that every token of this rank goes to: rows [T, D] of the wire type, as sy_dispatch_round() leaves them at
 * sy_dispatch_own(moe, 0); once chunks are on their way, because it needs nobody. */
void sy_shared_run(struct sy_moe *moe, const struct sy_layer_weights *weights, const float *h, const uint8_t *rows);

/* ---- dispatch.c ---- */
/* Where the wire row of a token of this rank is. */
uint8_t *sy_dispatch_own(const struct sy_moe *moe, int token);
/* Ask the queue to round h to this rank's own rows. */
void sy_dispatch_round(struct sy_moe *moe, const float *h);
/* Start with the rows that are there. */
void sy_dispatch_start(struct sy_moe *moe);
/* Send what credit allows, take in what has come in between, and let the network move. *moved is set when anything
 * happened. */
enum sy_status sy_dispatch_move(struct sy_moe *moe, bool *moved, struct sy_error *err);
/* All rows for this rank's experts are here. */
bool sy_dispatch_arrived(const struct sy_moe *moe);

/* ---- experts.c ---- */
/* Hand back what was computed, as far as peers have room, and compute one batch of tiles: of experts with many rows of this
 * rank's own or else of others while more are on their way, though only when nothing has moved for a while (batch.h); then
 * of experts that others wait for, then of the rest. */
enum sy_status sy_experts_run_ready(struct sy_moe *moe, bool *moved, struct sy_error *err);
/* Compute all that is pending: own results in place, others into kept, where the pairs' rows then are. */
enum sy_status sy_experts_run_all(struct sy_moe *moe, struct sy_error *err);

/* ---- combine.c ---- */
/* Where a pair's result is to be stored: this rank's results, or the window of its source. NULL if that cannot be written,
 * so that the row must travel in a chunk. */
uint8_t *sy_combine_place(const struct sy_moe *moe, const struct sy_pair *pair);
/* Return a pair's result, which is at its place if it has one; a row that has none stays where it is until
 * sy_combine_keep(). SY_AGAIN when the peer's staging chunk is full. */
enum sy_status sy_combine_return(struct sy_moe *moe, const struct sy_pair *pair, const uint8_t *row);
/* Copy what is staged, before the next batch writes over it. */
void sy_combine_keep(struct sy_moe *moe);
/* Send staged chunks that are full or final; take in results of others. */
enum sy_status sy_combine_push(struct sy_moe *moe, bool *moved, struct sy_error *err);
enum sy_status sy_combine_drain(struct sy_moe *moe, bool *moved, struct sy_error *err);
/* Every result is where it belongs: mine here, the peers' on their way. */
bool sy_combine_done(const struct sy_moe *moe);
/* The exact combine: weights in FP32, k order, then the residual. */
void sy_combine_finish(struct sy_moe *moe, float *x);

#endif
