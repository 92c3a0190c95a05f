/* SPDX-License-Identifier: Apache-2.0
 * protocol.h - what ranks tell each other around a step (private to the engine)
 *
 * Header, rank 0 to all, before a step: what was added and cancelled, and what to do. Report, each rank to rank 0, after
 * it: tokens, and where the rank stands. Plain bytes in host order; a message that does not parse is SY_ERR_INTERNAL.
 */
#ifndef SY_ENGINE_PROTOCOL_H
#define SY_ENGINE_PROTOCOL_H

#include "base/buf.h"
#include "engine/session.h"

struct sy_step_header {
    uint32_t run;   /* somebody has work: run the layers */
    uint32_t stop;  /* the session is over */
    uint32_t drain; /* no new requests will come */
    uint32_t n_cancelled, n_added;
};

struct sy_step_report {
    uint32_t n_events, n_prefill, n_decode, drain;
    uint64_t n_preemptions;
};

/* Header: sy_step_header, n_cancelled u64 request ids, n_added times {rank, request, prompt}. */
bool sy_put_request(struct sy_buf *buf, int rank, const struct sy_request *request);
/* The prompt points into the cursor's bytes. */
bool sy_take_request(struct sy_cursor *cursor, int *rank, struct sy_request *request);

/* Report: sy_step_report, n_events events. Bytes of the longest with so many. */
size_t sy_report_bytes(int n_events);
bool sy_put_event(struct sy_buf *buf, const struct sy_token_event *event);
/* top_ids and top_logprobs point to the arrays given ([SY_TOP_LOGPROBS_MAX] each). */
bool sy_take_event(struct sy_cursor *cursor, struct sy_token_event *event, int32_t *top_ids, float *top_logprobs);

#endif
