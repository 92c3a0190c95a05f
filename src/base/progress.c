/* SPDX-License-Identifier: Apache-2.0
 * progress.c - one line that is redrawn in place
 */
#include "base/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/amount.h"
#include "base/clock.h"

#define FIRST_NS 2000000000LL
#define REDRAW_NS 100000000LL

static enum sy_progress_mode progress_mode = SY_PROGRESS_AUTO;

void sy_progress_set_mode(enum sy_progress_mode mode)
{
    progress_mode = mode;
}

static void draw(const char *text)
{
    /* Nothing better can be done when standard error itself fails. */
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return;
}

void sy_progress_begin(struct sy_progress *progress, const char *label, const char *unit, uint64_t total, bool enabled)
{
    bool terminal = progress_mode == SY_PROGRESS_ALWAYS || (progress_mode == SY_PROGRESS_AUTO && isatty(STDERR_FILENO));

    *progress = (struct sy_progress){
        .label = label,
        .unit = unit,
        .total = total,
        .begin_ns = sy_clock_ns(),
        .enabled = enabled && terminal,
    };
}

/* "1.23 GB" for bytes, plain numbers for the rest. */
static void amount(char *out, size_t out_bytes, double n, const char *unit)
{
    if (strcmp(unit, "B"))
        snprintf(out, out_bytes, "%.0f %s", n, unit);
    else
        sy_amount_bytes(n, out, out_bytes);
}

void sy_progress_format(const struct sy_progress *progress, uint64_t done, double seconds, char *out, size_t out_bytes)
{
    char have[64], all[64] = "", rate[64], left[48] = "";
    double per_s = seconds > 0 ? (double)done / seconds : 0;

    amount(have, sizeof have, (double)done, progress->unit);
    amount(rate, sizeof rate, per_s, progress->unit);
    if (progress->total) {
        int n = snprintf(all, sizeof all, " of ");
        amount(all + n, sizeof all - (size_t)n, (double)progress->total, progress->unit);
        if (per_s > 0 && done <= progress->total)
            snprintf(left, sizeof left, ", %.0f s left", (double)(progress->total - done) / per_s);
    }
    snprintf(out, out_bytes, "switchyard: %s: %s%s, %s/s%s", progress->label, have, all, rate, left);
}

void sy_progress_update(struct sy_progress *progress, uint64_t done)
{
    char text[320], line[340];

    if (!progress->enabled)
        return;
    int64_t now = sy_clock_ns();
    if (now - progress->begin_ns < FIRST_NS || now - progress->drawn_ns < REDRAW_NS)
        return;
    progress->drawn_ns = now;
    progress->drawn = true;
    sy_progress_format(progress, done, (double)(now - progress->begin_ns) * 1e-9, text, sizeof text);
    snprintf(line, sizeof line, "\r%s\x1b[K", text);
    draw(line);
}

void sy_progress_end(struct sy_progress *progress)
{
    if (progress->drawn)
        draw("\r\x1b[K");
    progress->drawn = false;
    progress->enabled = false;
}
