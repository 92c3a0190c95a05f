/* SPDX-License-Identifier: Apache-2.0
 * session.h - a loaded model that completes requests: submit, cancel, step
 *
 * This is the engine's whole surface; the batch runner and score use it, an HTTP server will. Rank 0 submits; every rank
 * calls sy_session_step() in a loop until it says that the session has ended. Token callbacks run on rank 0, inside
 * sy_session_step(), in order for each request.
 *
 * One step: rank 0 sends a header {added, cancelled, drain, stop} to all; each rank runs its own batch through the layers
 * (a rank without work still serves its experts); each rank reports its tokens to rank 0.
 */
#ifndef SY_ENGINE_SESSION_H
#define SY_ENGINE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "comm/group.h"
#include "comm/transport.h"
#include "kernels.h"
#include "model/model.h"

enum sy_compute { SY_COMPUTE_F32, SY_COMPUTE_BF16 };

#define SY_TOP_LOGPROBS_MAX 20

struct sy_request {
    uint64_t id;            /* the caller's; unique among requests in flight */
    const int32_t *prompt;  /* copied by sy_session_submit() */
    int n_prompt;           /* >= 1 */
    int max_tokens;         /* to generate; 0 scores the prompt only */
    float temperature;      /* 0: greedy */
    float top_p;            /* 1: off */
    int top_k;              /* 0: off */
    uint64_t seed;          /* token i is drawn from (seed, i) alone */
    int n_logprobs;         /* alternatives with each token's log-probability; -1: no log-probabilities */
    bool echo;              /* report prompt tokens too (with log-probabilities if asked for) */
    bool ignore_eos;        /* go on to max_tokens */
    bool keep_logits;       /* call config.on_logits and on_hidden for every position of this request */
};

enum sy_finish {
    SY_FINISH_NONE,   /* more tokens follow */
    SY_FINISH_STOP,   /* this token is an end-of-text token; it is not part of the text */
    SY_FINISH_LENGTH, /* max_tokens or the model's context is reached */
    SY_FINISH_CANCEL, /* cancelled; token is -1 */
    SY_FINISH_PROMPT, /* max_tokens was 0 and the prompt is scored; token is -1 */
};

struct sy_token_event {
    uint64_t request_id;
    int32_t token;       /* -1: none, only finish counts */
    bool is_prompt;      /* an echoed prompt token */
    int position;        /* of the token in its sequence, from 0 */
    bool has_logprob;    /* false for the first prompt token and when not asked for */
    double logprob;      /* natural logarithm of the model's probability (temperature 1, before top-k and top-p) */
    int n_top;
    const int32_t *top_ids;    /* [n_top], most likely first */
    const float *top_logprobs; /* [n_top] */
    enum sy_finish finish;
    int rank;            /* that served it */
};

typedef void (*sy_token_fn)(void *ctx, const struct sy_token_event *event);

/* Logits of one position, on the rank that serves the request. logits: [V], valid during the call. */
typedef enum sy_status (*sy_logits_fn)(void *ctx, uint64_t request_id, int position, const float *logits, int vocab,
                                       struct sy_error *err);

/* The residual stream at one position of a request with keep_logits, on the rank that serves it: layer 0 is the embedding,
 * layer l what l layers have made of it, and the last of them, l = L, comes after the final norm. hidden: [D], valid during
 * the call. Each position is shown once: a sequence that starts over goes on where it was. */
typedef enum sy_status (*sy_hidden_fn)(void *ctx, uint64_t request_id, int position, int layer, const float *hidden,
                                       int D, struct sy_error *err);

struct sy_session_config {
    enum sy_compute compute;
    const struct sy_kernels *kernels;
    int n_threads;
    const int *cpus;       /* [n_threads] to bind to, or NULL */
    int spin_us;           /* of idle compute threads */
    size_t kv_bytes_max;   /* KV cache of this rank; 0: chosen by the engine */
    int max_tokens;        /* tokens of a step on this rank */
    int max_sequences;     /* sequences in a step on this rank */
    int prefill_chunk;     /* prompt tokens of one sequence in a step */
    int chunk_rows;        /* rows of a transport chunk; 0: as suits the transport */
    int n_slots;           /* chunks in flight in each ring */
    enum sy_transport_choice transport;
    bool in_turn;          /* dispatch, experts and combine of a layer one after the other */
    sy_token_fn on_token;  /* rank 0 */
    sy_logits_fn on_logits;
    sy_hidden_fn on_hidden; /* costs nothing when it is NULL */
    void *ctx;
    bool show_progress;    /* of loading, on rank 0 */
    bool reverse_k;        /* negative control for tests: combine in the wrong order */
};

/* Filled with the defaults that the command line documents. */
void sy_session_config_init(struct sy_session_config *config);

struct sy_session;

/* What each rank will hold, computed before anything is loaded. */
struct sy_memory_need {
    size_t dense_bytes;   /* once per node */
    size_t expert_bytes;  /* this rank's experts */
    size_t kv_bytes, buffer_bytes;
};

/* Load this rank's share of the weights and set everything up. Collective; ends in an agreement. */
enum sy_status sy_session_create(struct sy_group *group, struct sy_checkpoint *ckpt, const struct sy_model *model,
                                 const struct sy_session_config *config, struct sy_session **session,
                                 struct sy_error *err);

/* Replace the callbacks and batching limits that need no reallocation (tests loop over them). Collective by convention:
 * the same values on every rank, with no request in flight. */
void sy_session_set_prefill_chunk(struct sy_session *session, int prefill_chunk);

/* Rank 0: hand a request over. SY_ERR_DATA if it can never run (longer than the model's context or than the KV cache, a
 * token id outside the vocabulary): the sentence says so and the session goes on. SY_AGAIN never. */
enum sy_status sy_session_submit(struct sy_session *session, const struct sy_request *request, struct sy_error *err);

/* Rank 0: end a request early; a SY_FINISH_CANCEL event follows unless it ends by itself first. */
void sy_session_cancel(struct sy_session *session, uint64_t request_id);

/* Rank 0: requests submitted and not yet finished. */
int sy_session_n_pending(const struct sy_session *session);

/* Rank 0: after what is in flight, end the session (every rank's step then returns with *ended true). */
void sy_session_end(struct sy_session *session);

/* Rank 0, and any rank (it tells rank 0): take no new requests. sy_session_draining() says on rank 0 that some rank asked. */
void sy_session_drain(struct sy_session *session);
bool sy_session_draining(const struct sy_session *session);

/* One step; collective. With nothing to do it returns after at most idle_ms, so that rank 0 can look for new requests.
 * Other ranks sleep while they wait. *ended: the session is over. */
enum sy_status sy_session_step(struct sy_session *session, int idle_ms, bool *ended, struct sy_error *err);

enum sy_phase {
    SY_PHASE_ATTENTION, /* norms, projections, rope, attention */
    SY_PHASE_ROUTER,
    SY_PHASE_DISPATCH,  /* plan, sending and receiving rows */
    SY_PHASE_EXPERTS,   /* expert and dense MLPs */
    SY_PHASE_COMBINE,
    SY_PHASE_LOGITS,    /* final norm, output projection, sampling */
    SY_PHASE_WAIT,      /* waiting for other ranks */
    SY_N_PHASES,
};

const char *sy_phase_name(enum sy_phase phase);

/* Sums over all ranks (times: over ranks too, so that shares can be made). */
struct sy_session_stats {
    uint64_t n_steps;
    uint64_t prefill_tokens, decode_tokens;  /* run through the layers; a preempted sequence counts again */
    uint64_t n_preemptions;
    double prefill_s, decode_s;              /* time of steps, split by their tokens; of rank 0's clock */
    bool phases_known; /* not on a GPU, whose calls return before they are done */
    double phase_s[SY_N_PHASES];
    uint64_t wire_bytes, wire_bytes_planned; /* moved between ranks; what the plan's formula says */
    uint64_t load_bytes_min, load_bytes_max; /* checkpoint bytes that a rank read */
    double load_s;
};

/* Collective. out is filled on rank 0. */
enum sy_status sy_session_stats(struct sy_session *session, struct sy_session_stats *out, struct sy_error *err);

struct sy_group *sy_session_group(const struct sy_session *session);

/* ---- for measurements ---- */

/* What this rank alone has done so far. An expert's row is a row times an expert; sums over layers where "in every layer" does
 * not stand. */
struct sy_session_own {
    double phase_s[SY_N_PHASES];
    uint64_t n_rows;        /* through the layers */
    uint64_t n_keys;        /* keys up to each row's own, summed over rows; in every layer, windows left aside */
    uint64_t n_cached;      /* positions up to the last one, once for each sequence of a step; in every layer */
    uint64_t n_logit_rows;  /* through the output projection */
    uint64_t n_expert_rows; /* computed here, whoever's rows they are */
    uint64_t n_experts;     /* that had rows: each counts once in each layer for each mark */
};

/* Not collective. */
void sy_session_own(const struct sy_session *session, struct sy_session_own *own);

/* From here on experts that were counted before count again in n_experts. */
void sy_session_mark(struct sy_session *session);

/* What sy_session_create() would need on this rank; allocates nothing of that size. Collective.
 * Errors: as for the first stage of sy_session_create(). */
enum sy_status sy_session_need(struct sy_group *group, const struct sy_model *model,
                               const struct sy_session_config *config, struct sy_memory_need *need,
                               struct sy_error *err);

/* Rows of a transport chunk, as given or chosen. */
int sy_session_chunk_rows(const struct sy_session *session);

/* The queue on which its kernels run, for use between steps. */
struct sy_queue *sy_session_queue(const struct sy_session *session);

/* Before MoE layers on rows of the caller's, T <= max_tokens, and after them, when all that they ask for is done. Collective,
 * between steps. Errors: as sy_moe_layer(). */
enum sy_status sy_session_moe_begin(struct sy_session *session, int T, struct sy_error *err);
enum sy_status sy_session_moe_end(struct sy_session *session, struct sy_error *err);

/* One of them: x[t] += experts of h[t], both [T, D]. */
enum sy_status sy_session_moe_layer(struct sy_session *session, int layer, const float *h, int T, float *x,
                                    struct sy_error *err);

/* Whether the caller may record layers (kernels.h), for which there must be no other rank, and what they begin with from here
 * on, SY_MOE_FROM_HIDDEN unless said otherwise; the others take what a layer before left. */
bool sy_session_moe_records(const struct sy_session *session);
void sy_session_moe_from(struct sy_session *session, enum sy_moe_from from);

/* What one MoE layer adds for token t, in FP32, with the experts and weights that the last layer that ran chose: y is the
 * caller's [D], h as above. Where layers can be recorded. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_session_moe_truth(struct sy_session *session, int layer, const float *h, int t, float *y,
                                    struct sy_error *err);

/* Layers from here on with overlap or in turn, the latter only where config.in_turn took the memory; between is called before
 * and after both exchanges of each layer in turn, four times, unless it is NULL. The same on every rank. */
typedef enum sy_status (*sy_between_fn)(void *ctx, struct sy_error *err);
void sy_session_take_turns(struct sy_session *session, bool in_turn, sy_between_fn between, void *ctx);

void sy_session_destroy(struct sy_session *session);

#endif
