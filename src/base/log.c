/* SPDX-License-Identifier: Apache-2.0
 * log.c - one line, one write
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES  2048
#define LINES_MAX_BYTES (32 << 10)

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

/* Names come from files of other people: a line stays one line, and the terminal gets no commands. */
static size_t make_line(char *out, size_t room, const char *mark, const char *text, size_t len)
{
    size_t n = (size_t)snprintf(out, room, "%s%s%.*s", log_prefix, mark, (int)len, text);

    if (n > room - 2)
        n = room - 2;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
            out[i] = '?';
    out[n] = '\n';
    return n + 1;
}

static void put(const char *out, size_t n)
{
    /* Nothing better can be done when standard error itself fails. */
    if (write(STDERR_FILENO, out, n) < 0)
        return;
}

void sy_log(enum sy_log_level level, const char *fmt, ...)
{
    char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES];
    va_list ap;

    if (level > log_level)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    put(line, make_line(line, sizeof line, level == SY_LOG_WARN ? "warning: " : "", text, strlen(text)));
}

void sy_log_lines(enum sy_log_level level, const char *text, const char *lines)
{
    char out[LINES_MAX_BYTES];

    if (level > log_level)
        return;
    size_t n = make_line(out, LINE_MAX_BYTES, "", text, strlen(text));
    while (lines && *lines && n + LINE_MAX_BYTES <= sizeof out) {
        size_t len = strcspn(lines, "\n");
        n += make_line(out + n, LINE_MAX_BYTES, "", lines, len);
        lines += len + (lines[len] == '\n');
    }
    put(out, n);
}
