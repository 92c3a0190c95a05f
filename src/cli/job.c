/* SPDX-License-Identifier: Apache-2.0
 * job.c - the loop of run and score: admit lines, step, write answers
 */
#include "cli/job.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/job_line.h"
#include "cli/signals.h"

/* How long rank 0 sleeps when it has nothing to do but look for input. */
#define IDLE_MS 20
/* How long rank 0 looks at input lines between two steps: a million lines that are refused or done already must not keep
 * the other ranks waiting until their deadline. */
#define ADMIT_NS 50000000
/* How long the lines that a drain leaves are counted. */
#define COUNT_NS 1000000000
/* A slot keeps a prompt's buffer of up to this size for the next request. */
#define PROMPT_BYTES_KEPT ((size_t)256 << 10)
/* A request's number keeps its slot in the low bits. */
#define SLOT_BITS 16

uint64_t sy_job_new_id(struct sy_job *job, int slot, int n_prompt)
{
    return sy_logits_request_id(job->n_started++ << SLOT_BITS | (uint64_t)slot, n_prompt);
}

static struct sy_item *item_of(struct sy_job *job, uint64_t request_id)
{
    int slot = (int)(request_id >> 24 & ((1u << SLOT_BITS) - 1));
    struct sy_item *item = slot < job->n_slots ? &job->items[slot] : NULL;

    return item && item->live && item->id == request_id ? item : NULL;
}

void sy_job_fail(struct sy_job *job, enum sy_status st, const struct sy_error *err)
{
    if (job->st)
        return;
    job->st = st;
    job->err = *err;
}

void sy_job_release(struct sy_job *job, struct sy_item *item)
{
    sy_batch_line_fini(&item->line);
    sy_completion_fini(&item->completion);
    if (item->prompt.cap > PROMPT_BYTES_KEPT)
        sy_buf_fini(&item->prompt);
    item->prompt.len = 0;
    item->live = item->cancel = item->answered = false;
    job->n_live--;
}

enum sy_status sy_job_write(struct sy_job *job, struct sy_error *err)
{
    if (!sy_buf_append(&job->out, "\n", 1))
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for an output line");
    return sy_writer_append(job->writer, job->out.data, job->out.len, err);
}

static enum sy_status answer(struct sy_job *job, struct sy_item *item, struct sy_error *err)
{
    enum sy_status st = SY_OK;

    if (job->logits)
        st = sy_logits_name(job->logits, item->id, item->line.custom_id, err);
    job->out.len = 0;
    if (!st)
        st = job->ops->render(job, item, &job->out, err);
    if (!st)
        st = sy_job_write(job, err);
    item->answered = true;
    if (st)
        return st;
    job->n_done++;
    job->n_prompt_tokens += item->prompt.len / sizeof(int32_t);
    job->n_generated_tokens += (uint64_t)item->completion.n_generated;
    return SY_OK;
}

void sy_job_on_token(void *ctx, const struct sy_token_event *event)
{
    struct sy_job *job = ctx;
    struct sy_item *item = item_of(job, event->request_id);
    struct sy_error err = SY_ERROR_INIT;

    if (!item)
        return;
    /* A cancelled request has no answer unless a stop string ended it. */
    if (event->finish == SY_FINISH_CANCEL && !item->answered) {
        sy_job_release(job, item);
        return;
    }
    enum sy_status st = sy_completion_push(&item->completion, event, &err);
    if (!st && item->completion.done && !item->answered && !job->st)
        st = answer(job, item, &err);
    if (st)
        sy_job_fail(job, st, &err);
    if (event->finish)
        sy_job_release(job, item);
    else if (item->answered)
        item->cancel = true;
}

enum sy_status sy_job_on_logits(void *ctx, uint64_t request_id, int position, const float *logits, int vocab,
                                struct sy_error *err)
{
    struct sy_job *job = ctx;

    return sy_logits_put(job->logits, request_id, position, logits, vocab, err);
}

/* Take lines while there is room to look ahead. */
static void admit(struct sy_job *job)
{
    struct sy_error err = SY_ERROR_INIT;
    enum sy_status st = SY_OK;
    int64_t until_ns = sy_clock_ns() + ADMIT_NS;

    job->more_input = false;
    while (!job->st && job->n_live < job->n_slots && !sy_session_draining(job->setup->session)) {
        const char *line;
        size_t len, line_no;
        st = sy_reader_next(job->reader, 0, &line, &len, &line_no, &err);
        if (st)
            break;
        job->last_line = line_no;
        st = sy_job_take_line(job, line, len, line_no, &err);
        if (st)
            break;
        if (sy_clock_ns() >= until_ns) {
            job->more_input = true;
            break;
        }
    }
    if (st && st != SY_AGAIN)
        sy_job_fail(job, st, &err);
    job->input_over = sy_reader_at_end(job->reader);
}

/* After a drain: what nobody has looked at. A pipe may go on for ever, so there it is not counted. */
static void report_drain(struct sy_job *job)
{
    struct sy_error err = SY_ERROR_INIT;
    uint64_t n_left = 0;
    const char *line;
    size_t len, line_no;
    int64_t until_ns = sy_clock_ns() + COUNT_NS;

    while (sy_reader_is_file(job->reader) && sy_clock_ns() < until_ns &&
           !sy_reader_next(job->reader, 0, &line, &len, &line_no, &err))
        n_left++;
    if (sy_reader_is_file(job->reader))
        sy_log(SY_LOG_WARN,
               "drained: %s%" PRIu64 " lines of %s were not started; run again with --resume to finish them",
               sy_reader_at_end(job->reader) ? "" : "at least ", n_left, sy_reader_name(job->reader));
    else
        sy_log(SY_LOG_WARN, "drained: input after line %zu of %s was not started", job->last_line,
               sy_reader_name(job->reader));
}

static void cancel_all(struct sy_job *job)
{
    for (int i = 0; i < job->n_slots; i++)
        if (job->items[i].live)
            job->items[i].cancel = true;
}

static void send_cancels(struct sy_job *job)
{
    for (int i = 0; i < job->n_slots; i++)
        if (job->items[i].live && job->items[i].cancel) {
            sy_session_cancel(job->setup->session, job->items[i].id);
            job->items[i].cancel = false;
        }
}

/* Rank 0 before a step. */
static void feed(struct sy_job *job)
{
    struct sy_session *session = job->setup->session;

    if (!job->ending)
        admit(job);
    if (!job->ending && (job->st || job->input_over || sy_session_draining(session))) {
        job->ending = true;
        sy_session_end(session);
    }
    if (job->st && !job->given_up) {
        job->given_up = true;
        cancel_all(job);
    }
    send_cancels(job);
    sy_progress_update(&job->progress, job->n_done + job->n_refused);
}

enum sy_status sy_job_run(struct sy_job *job, struct sy_error *err)
{
    struct sy_setup *setup = job->setup;
    bool ended = false, drain_told = false;
    int64_t begin_ns = sy_clock_ns();

    sy_progress_begin(&job->progress, job->ops->score ? "scoring" : "completing", "lines", 0, setup->rank == 0);
    while (!ended) {
        if (sy_signals_drain() && !drain_told) {
            sy_session_drain(setup->session);
            drain_told = true;
        }
        if (setup->rank == 0)
            feed(job);
        enum sy_status st = sy_session_step(setup->session, job->more_input ? 0 : IDLE_MS, &ended, err);
        if (st) {
            sy_progress_end(&job->progress);
            sy_setup_die(setup, err);
        }
    }
    sy_progress_end(&job->progress);
    job->wall_s = (double)(sy_clock_ns() - begin_ns) * 1e-9;
    if (setup->rank == 0) {
        if (!job->st && !job->input_over)
            report_drain(job);
        struct sy_error close_err = SY_ERROR_INIT;
        enum sy_status st = sy_writer_close(job->writer, &close_err);
        job->writer = NULL;
        if (st)
            sy_job_fail(job, st, &close_err);
        *err = job->err;
    }
    return sy_setup_agree(setup, job->st, err);
}

void sy_job_count(const struct sy_job *job, struct sy_summary *summary)
{
    summary->n_requests = job->n_done;
    summary->n_refused = job->n_refused;
    summary->n_skipped = job->n_skipped;
    summary->prompt_tokens = job->n_prompt_tokens;
    summary->generated_tokens = job->n_generated_tokens;
    summary->wall_s = job->wall_s;
    summary->n_ranks = job->setup->n_ranks;
}

enum sy_status sy_job_verdict(const struct sy_job *job, struct sy_error *err)
{
    if (!job->n_duplicates)
        return SY_OK;
    return sy_error_set(err, SY_ERR_DATA,
                        "%s: %" PRIu64 " line%s had a custom_id that an earlier line had used; %s refused, and all "
                        "other lines are done",
                        sy_reader_name(job->reader), job->n_duplicates, job->n_duplicates == 1 ? "" : "s",
                        job->n_duplicates == 1 ? "it was" : "they were");
}
