/* SPDX-License-Identifier: Apache-2.0
 * summary.h - what a job did, at its end: lines for people and a JSON file for programs
 */
#ifndef SY_CLI_SUMMARY_H
#define SY_CLI_SUMMARY_H

#include "base/buf.h"
#include "engine/session.h"

/* Requests and tokens as the command counts them; the session counts what ran through the layers. */
struct sy_summary {
    uint64_t n_requests, n_refused, n_skipped;
    uint64_t prompt_tokens, generated_tokens;
    double wall_s; /* from the first step to the last */
    int n_ranks;
    struct sy_session_stats stats;
};

/* Log it at level info. */
void sy_summary_print(const struct sy_summary *summary);

/* Whether it can be written to path, which is made if it is not there: to be known before hours of work, not after.
 * path NULL: none is wanted. Errors: SY_ERR_IO, SY_ERR_USAGE. */
enum sy_status sy_summary_try(const char *path, struct sy_error *err);

/* Write it to path as one JSON object; more is text to put in behind the other members (",\"name\":..."), or NULL. */
enum sy_status sy_summary_write(const struct sy_summary *summary, const char *path, const struct sy_buf *more,
                                struct sy_error *err);

#endif
