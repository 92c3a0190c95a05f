/* SPDX-License-Identifier: Apache-2.0
 * session_private.h - the inside of a session (private to session.c, step.c and tokens.c)
 */
#ifndef SY_ENGINE_SESSION_PRIVATE_H
#define SY_ENGINE_SESSION_PRIVATE_H

#include "engine/blocks.h"
#include "engine/forward.h"
#include "engine/kvcache.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/session.h"

/* Rank 0's copy of a request in flight: small, so that it could be replayed elsewhere. */
struct sy_flight {
    struct sy_request request;
    int32_t *prompt;
    int rank; /* that serves it, -1 while it is queued here */
};

/* What a position's logits are wanted for, and what came of them. */
struct sy_logit_job {
    struct sy_sequence *sequence;
    int row, position;
    struct sy_logit_row known;
    bool missing;         /* more of the logits has to be known */
    bool draw;            /* the next token is not known yet */
    int32_t token;        /* the next token */
    bool has_logprob;
    double logprob;
    int n_top;
    int32_t top_ids[SY_TOP_LOGPROBS_MAX];
    float top_logprobs[SY_TOP_LOGPROBS_MAX];
};

struct sy_session {
    struct sy_group *group;
    struct sy_checkpoint *ckpt;
    const struct sy_model *model;
    struct sy_session_config config;
    int rank, n_ranks;

    struct sy_pool *pool;
    struct sy_queue *queue;
    struct sy_placement *placement;
    struct sy_shard *shard;
    struct sy_blocks blocks;
    struct sy_residency residency;
    struct sy_kv_cache cache;
    struct sy_fabric *fabric;
    struct sy_moe *moe;
    struct sy_forward forward;
    struct sy_scheduler scheduler;
    struct sy_sampler_scratch *scratch; /* [n_threads] */
    struct sy_logit_job *logit_jobs;    /* [SY_LOGIT_ROWS] */
    struct sy_memory_need need;
    int n_pages; /* smallest of all ranks */

    struct sy_buf header, report;
    struct sy_buf *reports; /* [R] on rank 0 */
    bool drain, ended;

    /* Rank 0 */
    struct sy_flight *flights;
    int n_flights, max_flights, n_queued;
    uint64_t *cancelled;
    int n_cancelled, max_cancelled;
    bool end, drain_seen, drain_told;
    int *rank_sequences;      /* [R] in flight on each rank */
    int64_t *rank_tokens;     /* [R] tokens promised to each rank */
    int64_t header_ns;        /* when the last header went out */

    struct sy_session_stats stats;
    double decode_step_s;     /* running mean of steps that only decode */
    int64_t control_wait_ns;  /* waiting for headers and reports */
};

/* tokens.c: after sy_forward_run(), turn logits into tokens and write the report's events. */
enum sy_status sy_session_make_tokens(struct sy_session *session, uint32_t *n_events, struct sy_error *err);

/* tokens.c: one event into the report. */
enum sy_status sy_session_emit(struct sy_session *session, const struct sy_token_event *event, uint32_t *n_events,
                               struct sy_error *err);

#endif
