/* SPDX-License-Identifier: Apache-2.0
 * tokens.c - from the logits of a step to tokens, log-probabilities and events
 */
#include <string.h>

#include "base/clock.h"
#include "base/range.h"
#include "engine/protocol.h"
#include "engine/session_private.h"

enum sy_status sy_session_emit(struct sy_session *session, const struct sy_token_event *event, uint32_t *n_events,
                               struct sy_error *err)
{
    if (!sy_put_event(&session->report, event))
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a step's tokens");
    ++*n_events;
    return SY_OK;
}

/* Does anybody want the logits of this position? */
static bool wants_logits(const struct sy_sequence *sequence, int position)
{
    const struct sy_request *request = &sequence->request;

    if (position < sequence->n_reported)
        return false;
    if (request->keep_logits)
        return true;
    if (position + 1 < request->n_prompt)
        return request->echo && request->n_logprobs >= 0;
    return position + 1 == sequence->n_tokens && request->max_tokens > 0;
}

/* What the job wants to know of its logits, before they are computed. */
static void prepare_logit_job(const struct sy_session *session, struct sy_logit_job *job, struct sy_logit_scan *scan)
{
    const struct sy_request *request = &job->sequence->request;
    int vocab = session->model->vocab;

    job->has_logprob = request->n_logprobs >= 0 && (job->draw || job->token >= 0);
    job->n_top = !job->has_logprob ? 0 : request->n_logprobs < vocab ? request->n_logprobs : vocab;
    scan->temperature = job->draw ? sy_sample_scan_temperature(request, vocab) : 0;
    scan->want_log_sum = job->has_logprob;
}

/* What the host has to see of logits that stay on a device. */
static void prepare_picks(struct sy_session *session, struct sy_logit_job *job, int i)
{
    struct sy_forward *forward = &session->forward;
    const struct sy_request *request = &job->sequence->request;

    if (job->draw) {
        struct sy_logit_pick *pick = sy_forward_pick(forward, i);
        if (sy_sample_pick(request, job->position + 1 - request->n_prompt, session->model->vocab, pick))
            job->known.draw = pick;
        else
            forward->n_picks--;
    } else if (job->has_logprob) {
        struct sy_logit_pick *pick = sy_forward_pick(forward, i);
        pick->kind = SY_PICK_TOKEN;
        pick->n = job->token;
        job->known.draw = pick;
    }
    if (job->n_top) {
        struct sy_logit_pick *pick = sy_forward_pick(forward, i);
        pick->kind = SY_PICK_TOP;
        pick->n = job->n_top;
        job->known.top = pick;
    }
}

/* One row on one thread: draw the next token if it is not known, and its log-probability if that is wanted. */
static void run_logit_job(void *arg, int item, int thread)
{
    struct sy_session *session = arg;
    struct sy_logit_job *job = &session->logit_jobs[item];
    const struct sy_request *request = &job->sequence->request;
    const struct sy_logit_scan *scan = job->known.scan;

    if (job->draw)
        job->token = sy_sample(request, job->position + 1 - request->n_prompt, &job->known, &session->scratch[thread]);
    job->missing = job->draw && job->token == SY_LOGITS_MISSING;
    if (!job->has_logprob || job->missing)
        return;
    job->logprob = (double)sy_drawn_logit(&job->known, job->token) - scan->log_sum;
    job->missing = !sy_top_tokens(&job->known, job->n_top, job->top_ids, job->top_logprobs);
    for (int i = 0; i < job->n_top && !job->missing; i++)
        job->top_logprobs[i] = (float)((double)job->top_logprobs[i] - scan->log_sum);
}

/* Is there more to do for a job than to read its scan? */
static bool is_long(const struct sy_logit_job *job)
{
    return job->n_top || (job->draw && job->sequence->request.temperature > 0);
}

static enum sy_finish finish_of(const struct sy_session *session, const struct sy_sequence *sequence, int32_t token)
{
    const struct sy_model *model = session->model;

    for (int i = 0; i < model->n_eos && !sequence->request.ignore_eos; i++)
        if (token == model->eos[i])
            return SY_FINISH_STOP;
    return sequence->n_tokens == sequence->max_tokens ? SY_FINISH_LENGTH : SY_FINISH_NONE;
}

/* Hand a job's logits and token on. Ends the sequence when this was its last token. */
static enum sy_status finish_logit_job(struct sy_session *session, struct sy_logit_job *job, const float *logits,
                                       uint32_t *n_events, struct sy_error *err)
{
    struct sy_sequence *sequence = job->sequence;
    const struct sy_request *request = &sequence->request;
    enum sy_status st = SY_OK;
    struct sy_token_event event = {
        .request_id = request->id,
        .token = job->token,
        .position = job->position + 1,
        .is_prompt = !job->draw,
        .has_logprob = job->has_logprob,
        .logprob = job->logprob,
        .n_top = job->n_top,
        .top_ids = job->top_ids,
        .top_logprobs = job->top_logprobs,
        .rank = session->rank,
    };

    if (request->keep_logits && session->config.on_logits)
        st = session->config.on_logits(session->config.ctx, request->id, job->position, logits, session->model->vocab,
                                       err);
    sequence->n_reported = job->position + 1;
    if (st || job->token < 0 || (!job->draw && !request->echo))
        return st;
    if (job->draw) {
        sy_scheduler_append(&session->scheduler, sequence, job->token);
        event.finish = finish_of(session, sequence, job->token);
    }
    st = sy_session_emit(session, &event, n_events, err);
    if (event.finish)
        sy_scheduler_remove(&session->scheduler, sequence);
    return st;
}

/* Draw tokens. Jobs that what was picked is not enough for come again when all of their logits are here. */
static enum sy_status draw(struct sy_session *session, int n_jobs, struct sy_error *err)
{
    struct sy_forward *forward = &session->forward;
    enum sy_status st = SY_OK;
    int n_long = 0;

    for (int i = 0; i < n_jobs; i++)
        n_long += is_long(&session->logit_jobs[i]);
    if (n_long > 1)
        sy_pool_run(session->pool, n_jobs, run_logit_job, session);
    else
        for (int i = 0; i < n_jobs; i++)
            run_logit_job(session, i, 0);
    for (int i = 0; i < n_jobs && !st; i++) {
        struct sy_logit_job *job = &session->logit_jobs[i];
        if (!job->missing)
            continue;
        st = sy_forward_fetch(forward, i, err);
        job->known.scan = &forward->row_scan;
        job->known.logits = forward->logits + (size_t)i * (size_t)session->model->vocab;
        run_logit_job(session, i, 0);
    }
    return st;
}

static enum sy_status run_jobs(struct sy_session *session, int n_jobs, uint32_t *n_events, struct sy_error *err)
{
    struct sy_forward *forward = &session->forward;
    size_t V = (size_t)session->model->vocab;
    bool picks = sy_forward_picks(forward), want_logits = false;
    int rows[SY_LOGIT_ROWS] = {0};

    forward->n_picks = 0;
    for (int i = 0; i < n_jobs; i++) {
        struct sy_logit_job *job = &session->logit_jobs[i];
        rows[i] = job->row;
        job->known = (struct sy_logit_row){.vocab = session->model->vocab,
                                           .scan = &forward->scans[i],
                                           .logits = picks ? NULL : forward->logits + (size_t)i * V};
        prepare_logit_job(session, job, &forward->scans[i]);
        if (picks)
            prepare_picks(session, job, i);
        want_logits |= job->sequence->request.keep_logits || (!picks && (is_long(job) || job->has_logprob));
    }
    enum sy_status st = sy_forward_logits(forward, rows, n_jobs, want_logits, err);
    if (st)
        return st;
    int64_t begin_ns = sy_clock_ns();
    SY_RANGE("sampling");
    st = draw(session, n_jobs, err);
    for (int i = 0; i < n_jobs && !st; i++)
        st = finish_logit_job(session, &session->logit_jobs[i], forward->logits + (size_t)i * V, n_events, err);
    forward->logits_ns += sy_clock_ns() - begin_ns;
    return st;
}

/* Prompt tokens that are echoed without log-probabilities need no logits; the first one never has any. */
static enum sy_status echo_span(struct sy_session *session, const struct sy_span *span, uint32_t *n_events,
                                struct sy_error *err)
{
    struct sy_sequence *sequence = span->sequence;
    const struct sy_request *request = &sequence->request;
    bool scored = request->n_logprobs >= 0 || request->keep_logits;

    for (int i = 0; i < span->n_rows && request->echo; i++) {
        int position = span->first_position + i;
        if (position >= request->n_prompt || position < sequence->n_echoed || (scored && position > 0))
            continue;
        enum sy_status st = sy_session_emit(session,
                                            &(struct sy_token_event){.request_id = request->id,
                                                                     .token = sequence->tokens[position],
                                                                     .is_prompt = true,
                                                                     .position = position,
                                                                     .rank = session->rank},
                                            n_events, err);
        if (st)
            return st;
        sequence->n_echoed = position + 1;
    }
    return SY_OK;
}

/* A prompt that is only scored ends with its last position. */
static enum sy_status finish_prompt(struct sy_session *session, struct sy_sequence *sequence, uint32_t *n_events,
                                    struct sy_error *err)
{
    struct sy_token_event event = {.request_id = sequence->request.id,
                                   .token = -1,
                                   .position = sequence->n_tokens,
                                   .finish = SY_FINISH_PROMPT,
                                   .rank = session->rank};

    sy_scheduler_remove(&session->scheduler, sequence);
    return sy_session_emit(session, &event, n_events, err);
}

enum sy_status sy_session_make_tokens(struct sy_session *session, uint32_t *n_events, struct sy_error *err)
{
    const struct sy_batch *batch = &session->scheduler.batch;
    enum sy_status st = SY_OK;
    int n_jobs = 0;

    for (int s = 0; s < batch->n_spans && !st; s++) {
        const struct sy_span *span = &batch->spans[s];
        struct sy_sequence *sequence = span->sequence;
        sequence->n_computed += span->n_rows;
        st = echo_span(session, span, n_events, err);
        for (int i = 0; i < span->n_rows && !st; i++) {
            int position = span->first_position + i;
            if (!wants_logits(sequence, position))
                continue;
            bool last = position + 1 == sequence->n_tokens;
            session->logit_jobs[n_jobs++] = (struct sy_logit_job){.sequence = sequence,
                                                                  .row = span->first_row + i,
                                                                  .position = position,
                                                                  .draw = last && sequence->request.max_tokens > 0,
                                                                  .token = last ? -1 : sequence->tokens[position + 1]};
            if (n_jobs == SY_LOGIT_ROWS) {
                st = run_jobs(session, n_jobs, n_events, err);
                n_jobs = 0;
            }
        }
    }
    if (!st && n_jobs)
        st = run_jobs(session, n_jobs, n_events, err);
    /* Other sequences may be gone by now, those that are only scored are not. */
    for (int s = 0; s < batch->n_spans && !st; s++) {
        const struct sy_span *span = &batch->spans[s];
        if (span->score_only && span->sequence->n_computed == span->sequence->n_tokens)
            st = finish_prompt(session, span->sequence, n_events, err);
    }
    return st;
}
