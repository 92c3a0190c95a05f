/* SPDX-License-Identifier: Apache-2.0
 * log.h - lines for people, on standard error
 *
 * One call is one line and one write(2), so lines of several ranks do not mix. Rank 0 speaks for everybody unless a
 * line is about one rank; then the prefix names it.
 */
#ifndef SY_BASE_LOG_H
#define SY_BASE_LOG_H

enum sy_log_level { SY_LOG_ERROR, SY_LOG_WARN, SY_LOG_INFO, SY_LOG_DEBUG };

/* Set once at start. rank < 0 or n_ranks < 2: no rank prefix. host may be NULL. */
void sy_log_init(enum sy_log_level level, int rank, int n_ranks, const char *host);

/* Write "switchyard: [rank r (host): ]text\n". Text is lower case and without a period; values are copyable. */
void sy_log(enum sy_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same, and each line of lines (NULL: none) as one more, all in one write. */
void sy_log_lines(enum sy_log_level level, const char *text, const char *lines);

#endif
