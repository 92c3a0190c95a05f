/* SPDX-License-Identifier: Apache-2.0
 * log.c - one line, one write
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum sy_log_level log_level = SY_LOG_INFO;
static char log_prefix[160] = "switchyard: ";

void sy_log_init(enum sy_log_level level, int rank, int n_ranks, const char *host)
{
    log_level = level;
    if (rank < 0 || n_ranks < 2)
        snprintf(log_prefix, sizeof log_prefix, "switchyard: ");
    else
        snprintf(log_prefix, sizeof log_prefix, "switchyard: rank %d (%s): ", rank, host ? host : "?");
}

void sy_log(enum sy_log_level level, const char *fmt, ...)
{
    char line[2048];
    va_list ap;

    if (level > log_level)
        return;
    int n = snprintf(line, sizeof line, "%s%s", log_prefix, level == SY_LOG_WARN ? "warning: " : "");
    va_start(ap, fmt);
    vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    va_end(ap);
    size_t len = strlen(line);
    /* Names come from files of other people: a line stays one line, and the terminal gets no commands. */
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[len++] = '\n';
    /* Nothing better can be done when standard error itself fails. */
    if (write(STDERR_FILENO, line, len) < 0)
        return;
}
