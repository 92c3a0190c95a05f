/* SPDX-License-Identifier: Apache-2.0
 * progress.c - the text of a progress line, and when it is drawn
 */
#include "base/progress.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tap.h"

static const char *format(const char *unit, uint64_t total, uint64_t done_so_far, double seconds)
{
    static char text[320];
    struct sy_progress progress = {.label = "loading", .unit = unit, .total = total};

    sy_progress_format(&progress, done_so_far, seconds, text, sizeof text);
    return text;
}

/* What an update writes to standard error with the clock set back by `age_ns`. */
static const char *drawn(enum sy_progress_mode mode, bool enabled, int64_t age_ns)
{
    static char text[1024];
    struct sy_progress progress;
    int ends[2], kept = dup(STDERR_FILENO);

    if (kept < 0 || pipe(ends) || dup2(ends[1], STDERR_FILENO) < 0)
        bail("cannot make a pipe");
    close(ends[1]);
    sy_progress_set_mode(mode);
    sy_progress_begin(&progress, "loading", "B", 2000, enabled);
    progress.begin_ns -= age_ns;
    for (int i = 0; i < 5; i++)
        sy_progress_update(&progress, 1000);
    sy_progress_end(&progress);
    sy_progress_update(&progress, 2000);
    dup2(kept, STDERR_FILENO);
    close(kept);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    return text;
}

int main(void)
{
    is_str(format("tokens", 0, 0, 0), "switchyard: loading: 0 tokens, 0 tokens/s", "nothing yet");
    is_str(format("tokens", 0, 50, 10), "switchyard: loading: 50 tokens, 5 tokens/s", "of an unknown number");
    is_str(format("lines", 100, 50, 10), "switchyard: loading: 50 lines of 100 lines, 5 lines/s, 10 s left",
           "of a number");
    is_str(format("B", 3000000000, 1500000, 1), "switchyard: loading: 1.50 MB of 3.00 GB, 1.50 MB/s, 1999 s left",
           "bytes, in steps of 1000");
    is_str(format("B", 1000, 999, 1), "switchyard: loading: 999 B of 1.00 kB, 999 B/s, 0 s left", "few bytes");
    is_str(format("B", 10, 20, 1), "switchyard: loading: 20 B of 10 B, 20 B/s", "more than there was to be");
    has_str(format("B", UINT64_MAX, UINT64_MAX / 2, 1e-3), "9223.37 PB of 18446.74 PB", "far too many");

    has_str(drawn(SY_PROGRESS_ALWAYS, true, 10000000000), "\rswitchyard: loading: 1.00 kB of 2.00 kB",
            "a line is drawn");
    const char *text = drawn(SY_PROGRESS_ALWAYS, true, 10000000000);
    ok(strchr(text, 's') && !strstr(strchr(text, 's'), "\rswitchyard"), "once for updates in quick succession");
    ok(strlen(text) > 4 && !strcmp(text + strlen(text) - 4, "\r\x1b[K"), "and wiped at the end");
    is_str(drawn(SY_PROGRESS_ALWAYS, true, 0), "", "work of less than two seconds has none");
    is_str(drawn(SY_PROGRESS_AUTO, true, 10000000000), "", "nor has standard error that is no terminal");
    is_str(drawn(SY_PROGRESS_NEVER, true, 10000000000), "", "nor one that shall have none");
    is_str(drawn(SY_PROGRESS_ALWAYS, false, 10000000000), "", "nor has another rank");
    done();
    return tap_exit();
}
