/* SPDX-License-Identifier: Apache-2.0
 * job.h - a file of lines through a session: what run and score have in common
 *
 *   reader ─> parse ─> duplicates, resume ─> tokenize ─> submit ─> events ─> completion ─> render ─> writer
 *
 * Rank 0 reads a bounded number of lines ahead between steps and writes a line when a request has ended; the other ranks
 * only step. A line that cannot be served gets an error line and the job goes on. What run and score do differently is in
 * struct sy_job_ops.
 */
#ifndef SY_CLI_JOB_H
#define SY_CLI_JOB_H

#include "base/progress.h"
#include "chat/chat.h"
#include "cli/batch.h"
#include "cli/completion.h"
#include "cli/idset.h"
#include "cli/logits.h"
#include "cli/reader.h"
#include "cli/setup.h"
#include "cli/summary.h"
#include "cli/writer.h"

struct sy_job;

/* A request in flight. */
struct sy_item {
    uint64_t id;
    size_t line_no;
    bool live, cancel; /* cancel: tell the session after this step */
    bool answered;     /* its line is written */
    struct sy_batch_line line;
    struct sy_buf prompt; /* int32_t ids */
    struct sy_completion completion;
};

struct sy_job_ops {
    bool score;
    /* Rank 0: change the request that a parsed line asks for; the prompt is there. SY_ERR_DATA refuses the line. May be
     * NULL. */
    enum sy_status (*fill)(struct sy_job *job, struct sy_item *item, struct sy_request *request, struct sy_error *err);
    /* Append the output line (without newline) of an item whose completion is done. */
    enum sy_status (*render)(struct sy_job *job, struct sy_item *item, struct sy_buf *out, struct sy_error *err);
    /* Append the output line of a line that is refused. */
    bool (*render_error)(const char *custom_id, size_t line_no, const char *code, const char *text, struct sy_buf *out);
    /* A line that was in the output already, parsed. May be NULL. */
    enum sy_status (*resumed)(struct sy_job *job, const char *name, const json_t *line, struct sy_error *err);
};

struct sy_job {
    const struct sy_job_ops *ops;
    struct sy_setup *setup;
    void *ctx;                  /* of the ops */
    struct sy_logits *logits;   /* NULL without; on every rank */
    /* Rank 0 only */
    struct sy_tokenizer *tok;   /* NULL: the model has none */
    struct sy_chat *chat;     /* the model's template */
    struct sy_batch_defaults defaults;
    struct sy_reader *reader;
    struct sy_writer *writer;
    struct sy_idset ids;
    struct sy_item *items;      /* [n_slots] */
    int n_slots, n_live, next_slot;
    uint64_t n_started;
    struct sy_buf out;
    struct sy_progress progress;
    bool input_over, ending, given_up;
    bool more_input;            /* lines are left to look at before the next step's */
    enum sy_status st;          /* first failure; the job ends */
    struct sy_error err;
    /* Figures for the summary */
    uint64_t n_done, n_refused, n_duplicates, n_skipped;
    uint64_t n_prompt_tokens, n_generated_tokens;
    size_t last_line; /* taken from the input */
    double wall_s;
};

/* Rank 0 opens tokenizer, input and output; all agree. */
enum sy_status sy_job_open(struct sy_job *job, const struct sy_job_ops *ops, struct sy_setup *setup,
                           struct sy_error *err);

/* Callbacks for sy_setup_session(), with the job as ctx. */
void sy_job_on_token(void *ctx, const struct sy_token_event *event);
enum sy_status sy_job_on_logits(void *ctx, uint64_t request_id, int position, const float *logits, int vocab,
                                struct sy_error *err);

/* Step until all lines are answered, or a drain or failure ended the job early; then all agree. */
enum sy_status sy_job_run(struct sy_job *job, struct sy_error *err);

/* Rank 0's figures. */
void sy_job_count(const struct sy_job *job, struct sy_summary *summary);

/* After a whole job: SY_ERR_DATA when custom_ids were used twice, since the answers cannot be told apart then. */
enum sy_status sy_job_verdict(const struct sy_job *job, struct sy_error *err);

void sy_job_close(struct sy_job *job);

#endif
