/* SPDX-License-Identifier: Apache-2.0
 * status.h - what went wrong, as a code for the program and one sentence for the reader
 *
 * Every function that can fail returns enum sy_status and takes a struct sy_error. Whoever first knows what went wrong
 * writes the sentence with sy_error_set(); everybody above passes it on unchanged. Only cli prints it and exits.
 */
#ifndef SY_BASE_STATUS_H
#define SY_BASE_STATUS_H

#include <stdbool.h>

enum sy_status {
    SY_OK = 0,
    SY_AGAIN = 1,         /* not an error: nothing is ready yet, ask again */
    SY_ERR_USAGE = -1,    /* a wrong option, argument or combination; exit 64 */
    SY_ERR_DATA = -2,     /* a malformed checkpoint, tokenizer, request or cluster file; exit 65 */
    SY_ERR_PEER = -3,     /* the fabric failed, or a peer is dead or past its deadline; exit 69 */
    SY_ERR_INTERNAL = -4, /* a broken promise of our own; exit 70 */
    SY_ERR_SYSTEM = -5,   /* memory, threads or another limit of the system; exit 71 */
    SY_ERR_IO = -6,       /* a file cannot be opened, read or written; exit 74 */
};

#define SY_ERROR_TEXT_MAX 1024

struct sy_error {
    enum sy_status status;
    int rank; /* the rank that failed, -1 while it is not known to the others */
    char text[SY_ERROR_TEXT_MAX];
    /* More for the reader, one thing on each line; NULL: nothing. It belongs to whoever wrote the text, and lives as long. */
    const char *lines;
};

#define SY_ERROR_INIT {.status = SY_OK, .rank = -1, .text = "", .lines = NULL}

/* Write a sentence into err (cut at SY_ERROR_TEXT_MAX) and return status, so that "return sy_error_set(...)" is one
 * line. Text is lower case, without a closing period, and says what was expected, what was found and what to do.
 * err may be NULL. */
enum sy_status sy_error_set(struct sy_error *err, enum sy_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with ": <text of errno>" appended. */
enum sy_status sy_error_errno(struct sy_error *err, enum sy_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "prefix: " before the text that is there, for a caller who knows where it happened (a file, a line). */
enum sy_status sy_error_prefix(struct sy_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Process exit code of a status: 0, 64, 65, 69, 70, 71 or 74 (sysexits.h). */
int sy_status_exit_code(enum sy_status status);

#endif
