/* SPDX-License-Identifier: Apache-2.0
 * step.c - one step of a session: header, batch, report
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/range.h"
#include "engine/protocol.h"
#include "engine/session_private.h"

/* ---- rank 0: requests ---- */

/* The rank with most room: of those with a free place, the one with the fewest tokens promised. -1: none. */
static int roomiest_rank(const struct sy_session *session)
{
    int best = -1;

    for (int r = 0; r < session->n_ranks; r++)
        if (session->rank_sequences[r] < session->config.max_sequences &&
            (best < 0 || session->rank_tokens[r] < session->rank_tokens[best]))
            best = r;
    return best;
}

static int64_t promised_tokens(const struct sy_request *request)
{
    return (int64_t)request->n_prompt + request->max_tokens;
}

/* Write the header of the next step: assign what is queued as far as ranks have room. */
static bool write_header(struct sy_session *session)
{
    struct sy_step_header header = {.run = session->n_flights > 0,
                                    .stop = session->end && session->n_flights == 0,
                                    .drain = session->drain,
                                    .n_cancelled = (uint32_t)session->n_cancelled};
    struct sy_buf *buf = &session->header;

    buf->len = 0;
    bool fits = sy_buf_append(buf, &header, sizeof header) &&
                sy_buf_append(buf, session->cancelled, (size_t)session->n_cancelled * sizeof *session->cancelled);
    for (int i = 0; i < session->n_flights && session->n_queued && fits; i++) {
        struct sy_flight *flight = &session->flights[i];
        int rank = flight->rank < 0 ? roomiest_rank(session) : -1;
        if (rank < 0)
            continue;
        flight->rank = rank;
        session->rank_sequences[rank]++;
        session->rank_tokens[rank] += promised_tokens(&flight->request);
        session->n_queued--;
        header.n_added++;
        fits = sy_put_request(buf, rank, &flight->request);
    }
    session->n_cancelled = 0;
    if (fits)
        memcpy(buf->data, &header, sizeof header);
    return fits;
}

/* A request is over: forget it. Order of the others is kept, so that queued ones start in order of submission. */
static void land(struct sy_session *session, uint64_t request_id)
{
    for (int i = 0; i < session->n_flights; i++) {
        struct sy_flight *flight = &session->flights[i];
        if (flight->request.id != request_id)
            continue;
        if (flight->rank >= 0) {
            session->rank_sequences[flight->rank]--;
            session->rank_tokens[flight->rank] -= promised_tokens(&flight->request);
        } else {
            session->n_queued--;
        }
        free(flight->prompt);
        memmove(flight, flight + 1, (size_t)(session->n_flights - i - 1) * sizeof *flight);
        session->n_flights--;
        return;
    }
}

static void deliver(struct sy_session *session, const struct sy_token_event *event)
{
    if (event->finish)
        land(session, event->request_id);
    if (session->config.on_token)
        session->config.on_token(session->config.ctx, event);
}

/* Requests cancelled before any rank had them end here. */
static void cancel_queued(struct sy_session *session)
{
    for (int i = 0; i < session->n_cancelled; i++)
        for (int f = 0; f < session->n_flights; f++)
            if (session->flights[f].request.id == session->cancelled[i] && session->flights[f].rank < 0) {
                deliver(session, &(struct sy_token_event){.request_id = session->cancelled[i],
                                                          .token = -1,
                                                          .finish = SY_FINISH_CANCEL});
                break;
            }
}

/* ---- every rank ---- */

static enum sy_status broken(const char *what, struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_INTERNAL, "a step's %s does not parse", what);
}

/* Apply a header: drop what was cancelled, take over what was added for this rank. */
static enum sy_status apply_header(struct sy_session *session, struct sy_step_header *header, uint32_t *n_events,
                                   struct sy_error *err)
{
    struct sy_cursor cursor = {session->header.data, session->header.len, 0};

    if (!sy_cursor_take(&cursor, header, sizeof *header))
        return broken("header", err);
    for (uint32_t i = 0; i < header->n_cancelled; i++) {
        uint64_t id;
        if (!sy_cursor_take(&cursor, &id, sizeof id))
            return broken("header", err);
        struct sy_sequence *sequence = sy_scheduler_find(&session->scheduler, id);
        if (!sequence)
            continue;
        sy_scheduler_remove(&session->scheduler, sequence);
        enum sy_status st = sy_session_emit(
            session,
            &(struct sy_token_event){.request_id = id, .token = -1, .finish = SY_FINISH_CANCEL, .rank = session->rank},
            n_events, err);
        if (st)
            return st;
    }
    for (uint32_t i = 0; i < header->n_added; i++) {
        struct sy_request request;
        int rank;
        if (!sy_take_request(&cursor, &rank, &request))
            return broken("header", err);
        if (rank != session->rank)
            continue;
        struct sy_sequence *sequence = sy_sequence_create(&request, session->model->max_context);
        if (!sequence)
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a request of %d tokens", request.n_prompt);
        sy_scheduler_add(&session->scheduler, sequence);
    }
    return SY_OK;
}

/* What a batch is called in a timeline. */
static const char *kind_of(const struct sy_batch *batch)
{
    if (!batch->n_prefill)
        return batch->n_decode ? "decode" : "serve others";
    return batch->n_decode ? "prefill and decode" : "prefill";
}

/* Run this rank's batch with all others. */
static enum sy_status run_batch(struct sy_session *session, struct sy_step_report *report, struct sy_error *err)
{
    const struct sy_batch *batch = &session->scheduler.batch;

    sy_scheduler_plan(&session->scheduler);
    report->n_prefill = (uint32_t)batch->n_prefill;
    report->n_decode = (uint32_t)batch->n_decode;
    SY_RANGE(kind_of(batch));
    enum sy_status st = sy_forward_run(&session->forward, batch, err);
    if (!st)
        st = sy_session_make_tokens(session, &report->n_events, err);
    return st;
}

/* ---- rank 0: reports ---- */

/* Split the step's time between prompts and generated tokens. A mixed step is charged to decoding as far as a step that only
 * decodes would have taken, and to the prompts for the rest. */
static void account(struct sy_session *session, uint64_t n_prefill, uint64_t n_decode, double seconds)
{
    struct sy_session_stats *stats = &session->stats;
    double decode = 0;

    if (n_decode && !n_prefill) {
        decode = seconds;
        session->decode_step_s = session->decode_step_s > 0 ? 0.9 * session->decode_step_s + 0.1 * seconds : seconds;
    } else if (n_decode) {
        decode = session->decode_step_s > 0 ? session->decode_step_s
                                            : seconds * (double)n_decode / (double)(n_decode + n_prefill);
        decode = decode < seconds ? decode : seconds;
    }
    stats->n_steps += n_prefill + n_decode > 0;
    stats->prefill_tokens += n_prefill;
    stats->decode_tokens += n_decode;
    stats->decode_s += decode;
    stats->prefill_s += n_prefill ? seconds - decode : 0;
}

static enum sy_status read_reports(struct sy_session *session, int64_t begin_ns, struct sy_error *err)
{
    uint64_t n_prefill = 0, n_decode = 0;
    int32_t top_ids[SY_TOP_LOGPROBS_MAX];
    float top_logprobs[SY_TOP_LOGPROBS_MAX];

    session->stats.n_preemptions = 0;
    for (int r = 0; r < session->n_ranks; r++) {
        struct sy_cursor cursor = {session->reports[r].data, session->reports[r].len, 0};
        struct sy_step_report report;
        if (!sy_cursor_take(&cursor, &report, sizeof report))
            return broken("report", err);
        n_prefill += report.n_prefill;
        n_decode += report.n_decode;
        session->stats.n_preemptions += report.n_preemptions;
        session->drain_seen |= report.drain != 0;
        for (uint32_t i = 0; i < report.n_events; i++) {
            struct sy_token_event event;
            if (!sy_take_event(&cursor, &event, top_ids, top_logprobs))
                return broken("report", err);
            deliver(session, &event);
        }
    }
    account(session, n_prefill, n_decode, (double)(sy_clock_ns() - begin_ns) * 1e-9);
    return SY_OK;
}

/* Rank 0 with nothing to say sleeps, but speaks up often enough that the others' deadline never passes. */
static bool may_sleep(const struct sy_session *session)
{
    int64_t timeout_ns = sy_group_timeout_ms(session->group) * 1000000;

    if (session->n_flights || session->n_cancelled || session->end || session->drain != session->drain_told)
        return false;
    return timeout_ns <= 0 || sy_clock_ns() - session->header_ns < timeout_ns / 4;
}

enum sy_status sy_session_step(struct sy_session *session, int idle_ms, bool *ended, struct sy_error *err)
{
    struct sy_step_header header;
    struct sy_step_report report = {0};
    int64_t begin_ns = sy_clock_ns();

    *ended = session->ended;
    if (session->ended)
        return SY_OK;
    if (session->rank == 0) {
        cancel_queued(session);
        if (may_sleep(session)) {
            nanosleep(&(struct timespec){.tv_sec = idle_ms / 1000, .tv_nsec = idle_ms % 1000 * 1000000L}, NULL);
            return SY_OK;
        }
        if (!write_header(session))
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a step's header");
        session->header_ns = begin_ns;
        session->drain_told = session->drain;
    }
    enum sy_status st = sy_group_bcast(session->group, 0, &session->header, err);
    if (session->rank)
        session->control_wait_ns += sy_clock_ns() - begin_ns;
    session->report.len = 0;
    if (!st && !sy_buf_append(&session->report, &report, sizeof report))
        st = sy_error_set(err, SY_ERR_SYSTEM, "no memory for a step's report");
    if (!st)
        st = apply_header(session, &header, &report.n_events, err);
    if (!st && header.run)
        st = run_batch(session, &report, err);
    if (st)
        return st;
    report.drain = session->drain;
    report.n_preemptions = session->scheduler.n_preemptions;
    memcpy(session->report.data, &report, sizeof report);
    int64_t report_ns = sy_clock_ns();
    st = sy_group_gather(session->group, 0, &session->report, session->reports, err);
    session->control_wait_ns += sy_clock_ns() - report_ns;
    if (!st && session->rank == 0)
        st = read_reports(session, begin_ns, err);
    session->ended = *ended = header.stop != 0;
    return st;
}
