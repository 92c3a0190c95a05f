/* SPDX-License-Identifier: Apache-2.0
 * job_line.h - what job.c and job_line.c share
 */
#ifndef SY_CLI_JOB_LINE_H
#define SY_CLI_JOB_LINE_H

#include "cli/job.h"

/* Parse a line and submit it, or write its error line, or pass over it. Errors end the job: SY_ERR_IO, SY_ERR_SYSTEM. */
enum sy_status sy_job_take_line(struct sy_job *job, const char *text, size_t len, size_t line_no, struct sy_error *err);

/* A session id for the request in this slot. */
uint64_t sy_job_new_id(struct sy_job *job, int slot, int n_prompt);

/* End job->out with a newline and write it. */
enum sy_status sy_job_write(struct sy_job *job, struct sy_error *err);

/* The first failure is kept, and ends the job. */
void sy_job_fail(struct sy_job *job, enum sy_status st, const struct sy_error *err);

/* Free a slot. */
void sy_job_release(struct sy_job *job, struct sy_item *item);

#endif
