/* SPDX-License-Identifier: Apache-2.0
 * progress.h - a progress line on a terminal for work of more than two seconds
 */
#ifndef SY_BASE_PROGRESS_H
#define SY_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sy_progress {
    const char *label; /* "loading" */
    const char *unit;  /* "B" for bytes, "tokens", "requests" */
    uint64_t total;    /* 0: unknown */
    int64_t begin_ns, drawn_ns;
    bool enabled, drawn;
};

/* mpirun gives its ranks a pipe for standard error even when that ends in a terminal, so the user may say which it is.
 * Set once at start. */
enum sy_progress_mode { SY_PROGRESS_AUTO, SY_PROGRESS_ALWAYS, SY_PROGRESS_NEVER };
void sy_progress_set_mode(enum sy_progress_mode mode);

/* Writes only if enabled and standard error is a terminal (or is said to be one). */
void sy_progress_begin(struct sy_progress *progress, const char *label, const char *unit, uint64_t total, bool enabled);

/* Redraws at most ten times a second, first after two seconds. */
void sy_progress_update(struct sy_progress *progress, uint64_t done);

/* The line's text: what is done, of how much, how fast and for how long still. */
void sy_progress_format(const struct sy_progress *progress, uint64_t done, double seconds, char *out, size_t out_bytes);

/* Wipes the line. */
void sy_progress_end(struct sy_progress *progress);

#endif
