/* SPDX-License-Identifier: Apache-2.0
 * tap.h - Test Anything Protocol for tests in C, alone or on many ranks
 *
 * A test calls plan() first (or done() last), then ok() and friends. In a multi-rank test every rank calls tap_ranks() first
 * and then the same ok_all() lines: each rank checks, rank 0 speaks and names the ranks that failed. main returns tap_exit().
 */
#ifndef SY_TESTS_TAP_H
#define SY_TESTS_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many checks will follow. */
void plan(int n);

/* Say at the end how many there were, when plan() could not know. */
void done(void);

/* No check can run here. Does not return; the exit code is 0. */
void skip_all(const char *why, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* One visible skip in place of a check. */
void skip(const char *why, ...) __attribute__((format(printf, 1, 2)));

/* Checks; each prints one line and returns whether it held. */
bool ok(bool condition, const char *name, ...) __attribute__((format(printf, 2, 3)));
bool is_int(int64_t found, int64_t expected, const char *name, ...) __attribute__((format(printf, 3, 4)));
bool is_str(const char *found, const char *expected, const char *name, ...) __attribute__((format(printf, 3, 4)));
/* found contains the text `part`. */
bool has_str(const char *found, const char *part, const char *name, ...) __attribute__((format(printf, 3, 4)));
/* |found - expected| <= atol + rtol * |expected|; NaN never holds. */
bool is_close(double found, double expected, double atol, double rtol, const char *name, ...)
    __attribute__((format(printf, 5, 6)));

/* A comment line. */
void diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Stop everything. */
void bail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Exit code: 0 if every check held. */
int tap_exit(void);

/* Multi-rank tests. gather must put every rank's int, in order, into all[] on each rank (the test gives it, so that this
 * file needs no MPI). Prints of ranks other than 0 go to standard error from here on. */
void tap_ranks(int rank, int n_ranks, void (*gather)(int mine, int *all));
bool ok_all(bool condition, const char *name, ...) __attribute__((format(printf, 2, 3)));

#endif
