/* SPDX-License-Identifier: Apache-2.0
 * summary.c - what a job did
 */
#include "cli/summary.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/amount.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/render.h"

static double rate(uint64_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0;
}

static double phases_s(const struct sy_session_stats *stats)
{
    double sum = 0;

    for (int i = 0; i < SY_N_PHASES; i++)
        sum += stats->phase_s[i];
    return sum;
}

void sy_summary_print(const struct sy_summary *s)
{
    const struct sy_session_stats *stats = &s->stats;
    char text[512] = "", moved[32], planned[32], low[32], high[32];
    double all = phases_s(stats);
    size_t at = 0;

    sy_log(SY_LOG_INFO,
           "done: %" PRIu64 " request%s, %" PRIu64 " prompt tokens, %" PRIu64
           " generated tokens in %.2f s (loading %.2f s)",
           s->n_requests, s->n_requests == 1 ? "" : "s", s->prompt_tokens, s->generated_tokens, s->wall_s,
           stats->load_s);
    if (s->n_refused || s->n_skipped)
        sy_log(SY_LOG_INFO, "lines: %" PRIu64 " refused with an error line, %" PRIu64 " skipped because they were done",
               s->n_refused, s->n_skipped);
    sy_log(SY_LOG_INFO, "prefill: %" PRIu64 " tokens, %.1f tokens/s", stats->prefill_tokens,
           rate(stats->prefill_tokens, stats->prefill_s));
    sy_log(SY_LOG_INFO, "decode: %" PRIu64 " tokens, %.1f tokens/s", stats->decode_tokens,
           rate(stats->decode_tokens, stats->decode_s));
    sy_log(SY_LOG_INFO, "moved between ranks: %s (planned %s) in %" PRIu64 " steps; %" PRIu64 " preemptions",
           sy_amount_bytes((double)stats->wire_bytes, moved, sizeof moved),
           sy_amount_bytes((double)stats->wire_bytes_planned, planned, sizeof planned), stats->n_steps,
           stats->n_preemptions);
    if (s->n_ranks > 1)
        sy_log(SY_LOG_INFO, "read from the checkpoint: %s to %s a rank",
               sy_amount_bytes((double)stats->load_bytes_min, low, sizeof low),
               sy_amount_bytes((double)stats->load_bytes_max, high, sizeof high));
    if (!stats->phases_known)
        return;
    for (int i = 0; i < SY_N_PHASES && at < sizeof text; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s %.1f %%", i ? ", " : "",
                               sy_phase_name((enum sy_phase)i), all > 0 ? 100 * stats->phase_s[i] / all : 0);
    sy_log(SY_LOG_INFO, "time: %s", text);
}

static bool member(struct sy_buf *out, const char *name, double value)
{
    return sy_buf_printf(out, ",\"%s\":", name) && sy_render_real(out, value, 9);
}

static bool render(const struct sy_summary *s, const struct sy_buf *more, struct sy_buf *out)
{
    const struct sy_session_stats *stats = &s->stats;
    bool good = sy_buf_printf(out,
                              "{\"ranks\":%d,\"requests\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"skipped\":%" PRIu64
                              ",\"prompt_tokens\":%" PRIu64 ",\"generated_tokens\":%" PRIu64 ",\"steps\":%" PRIu64
                              ",\"prefill_tokens\":%" PRIu64 ",\"decode_tokens\":%" PRIu64 ",\"preemptions\":%" PRIu64
                              ",\"wire_bytes\":%" PRIu64 ",\"wire_bytes_planned\":%" PRIu64
                              ",\"load_bytes_min\":%" PRIu64 ",\"load_bytes_max\":%" PRIu64,
                              s->n_ranks, s->n_requests, s->n_refused, s->n_skipped, s->prompt_tokens,
                              s->generated_tokens, stats->n_steps, stats->prefill_tokens, stats->decode_tokens,
                              stats->n_preemptions, stats->wire_bytes, stats->wire_bytes_planned, stats->load_bytes_min,
                              stats->load_bytes_max) &&
                member(out, "wall_s", s->wall_s) && member(out, "load_s", stats->load_s) &&
                member(out, "prefill_s", stats->prefill_s) && member(out, "decode_s", stats->decode_s) &&
                member(out, "prefill_tokens_per_s", rate(stats->prefill_tokens, stats->prefill_s)) &&
                member(out, "decode_tokens_per_s", rate(stats->decode_tokens, stats->decode_s)) &&
                sy_buf_printf(out, ",\"phase_s\":{");

    for (int i = 0; i < SY_N_PHASES && good; i++)
        good = sy_buf_printf(out, "%s\"%s\":", i ? "," : "", sy_phase_name((enum sy_phase)i)) &&
               sy_render_real(out, stats->phase_s[i], 9);
    good = good && sy_buf_printf(out, "}");
    if (good && more && more->len)
        good = sy_buf_append(out, more->data, more->len);
    return good && sy_buf_printf(out, "}\n");
}

static enum sy_status open_file(const char *path, int flags, int *fd, struct sy_error *err)
{
    *fd = -1;
    if (!strcmp(path, "-"))
        return sy_error_set(err, SY_ERR_USAGE,
                            "--summary: expected a file, found \"-\": standard output has the results");
    *fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
    return *fd < 0 ? sy_error_errno(err, SY_ERR_IO, "--summary: cannot open %s", path) : SY_OK;
}

enum sy_status sy_summary_try(const char *path, struct sy_error *err)
{
    int fd;
    enum sy_status st = path ? open_file(path, 0, &fd, err) : SY_OK;

    if (path && !st)
        close(fd);
    return st;
}

enum sy_status sy_summary_write(const struct sy_summary *summary, const char *path, const struct sy_buf *more,
                                struct sy_error *err)
{
    struct sy_buf out = SY_BUF_INIT;
    int fd;

    if (!render(summary, more, &out)) {
        sy_buf_fini(&out);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the summary");
    }
    enum sy_status st = open_file(path, O_TRUNC, &fd, err);
    if (!st)
        st = sy_file_write(fd, path, out.data, out.len, err);
    if (fd >= 0 && close(fd) && !st)
        st = sy_error_errno(err, SY_ERR_IO, "--summary: cannot write %s", path);
    sy_buf_fini(&out);
    return st;
}
