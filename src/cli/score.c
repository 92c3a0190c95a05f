/* SPDX-License-Identifier: Apache-2.0
 * score.c - switchyard score: log-probabilities of given texts, perplexity, logits
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "cli/job.h"
#include "cli/render.h"
#include "cli/summary.h"

/* Sums are kept in whole units of 2^-32 nats, so that they do not depend on the order in which texts finish. */
#define UNITS_PER_NAT 4294967296.0
#define DOMAINS_MAX 1000

struct domain {
    char *name;
    uint64_t n_texts, n_scored;
    __int128 nll_units; /* 64 bits would be full after about a thousand million tokens */
};

struct score {
    struct sy_job job;
    struct domain all, domains[DOMAINS_MAX];
    int n_domains;
    uint64_t n_unlisted; /* texts of domains that have no room in the list */
};

static enum sy_status add_to(struct score *score, const char *name, double nll, uint64_t n_scored,
                             struct sy_error *err)
{
    struct domain *at = NULL;
    __int128 units = (__int128)rint(nll * UNITS_PER_NAT);

    score->all.n_texts++;
    score->all.n_scored += n_scored;
    score->all.nll_units += units;
    if (!name)
        return SY_OK;
    for (int i = 0; i < score->n_domains && !at; i++)
        if (!strcmp(score->domains[i].name, name))
            at = &score->domains[i];
    if (!at && score->n_domains < DOMAINS_MAX) {
        at = &score->domains[score->n_domains];
        at->name = strdup(name);
        if (!at->name)
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a domain");
        score->n_domains++;
    }
    score->n_unlisted += !at;
    if (at) {
        at->n_texts++;
        at->n_scored += n_scored;
        at->nll_units += units;
    }
    return SY_OK;
}

/* Whatever a line asks for, its text is scored and nothing generated. */
static enum sy_status fill(struct sy_job *job, struct sy_item *item, struct sy_request *request, struct sy_error *err)
{
    size_t keep = (size_t)job->setup->settings->truncate * sizeof(int32_t);
    char name[256];

    if (keep && item->prompt.len > keep)
        item->prompt.len = keep;
    request->max_tokens = 0;
    request->temperature = 0;
    request->echo = true;
    request->n_logprobs = 0;
    request->keep_logits = job->logits != NULL;
    return job->logits ? sy_logits_file_name(item->line.custom_id, name, sizeof name, err) : SY_OK;
}

static bool put(struct sy_buf *out, const char *text)
{
    return sy_buf_append(out, text, strlen(text));
}

static bool render_error(const char *custom_id, size_t line_no, const char *code, const char *text, struct sy_buf *out)
{
    (void)line_no;
    return put(out, "{\"custom_id\":") && sy_render_text(out, custom_id) && put(out, ",\"error\":{\"code\":") &&
           sy_render_text(out, code) && put(out, ",\"message\":") && sy_render_text(out, text) && put(out, "}}");
}

/* A broken checkpoint makes log-probabilities that are no numbers, and a sum of the others would look like a good one. */
static bool render_not_finite(const struct sy_item *item, size_t position, struct sy_buf *out)
{
    char text[160];

    snprintf(
        text, sizeof text,
        "the log-probability of token %zu is not a finite number; is the checkpoint damaged? The text is not counted",
        position);
    return render_error(item->line.custom_id, item->line_no, "not_finite", text, out);
}

static enum sy_status render(struct sy_job *job, struct sy_item *item, struct sy_buf *out, struct sy_error *err)
{
    const double *values = (const double *)item->completion.values.data;
    size_t n = item->completion.values.len / sizeof *values, n_ids = item->prompt.len / sizeof(int32_t);
    uint64_t n_scored = 0;
    double nll = 0;

    if (n != n_ids)
        return sy_error_set(err, SY_ERR_INTERNAL, "%s:%zu: %zu of %zu tokens were scored", sy_reader_name(job->reader),
                            item->line_no, n, n_ids);
    for (size_t i = 1; i < n; i++)
        if (!isfinite(values[i]))
            return render_not_finite(item, i, out) ? SY_OK
                                                   : sy_error_set(err, SY_ERR_SYSTEM, "no memory for an output line");
    bool good = put(out, "{\"custom_id\":") && sy_render_text(out, item->line.custom_id);
    if (good && item->line.domain)
        good = put(out, ",\"domain\":") && sy_render_text(out, item->line.domain);
    good = good && put(out, ",\"token_ids\":") && sy_render_ids(out, (const int32_t *)item->prompt.data, n_ids) &&
           put(out, ",\"token_logprobs\":[");
    for (size_t i = 0; i < n && good; i++) {
        good = (!i || put(out, ",")) && sy_render_real(out, values[i], 9);
        if (isnan(values[i]))
            continue;
        nll -= values[i];
        n_scored++;
    }
    good = good && put(out, "],\"nll\":") && sy_render_real(out, nll, 17) &&
           sy_buf_printf(out, ",\"scored_tokens\":%" PRIu64 "}", n_scored);
    return good ? add_to(job->ctx, item->line.domain, nll, n_scored, err)
                : sy_error_set(err, SY_ERR_SYSTEM, "no memory for an output line");
}

/* A text that an earlier run scored counts in the totals. */
static enum sy_status resumed(struct sy_job *job, const char *name, const json_t *line, struct sy_error *err)
{
    int64_t n_scored = -1;
    double nll = -1;

    if (json_object_get(line, "error"))
        return SY_OK;
    if (sy_json_int(name, line, "scored_tokens", 0, SY_BATCH_TOKENS_MAX, &n_scored, err) ||
        sy_json_real(name, line, "nll", 0, 1e15, &nll, err))
        return SY_ERR_DATA;
    if (n_scored < 0 || nll < 0)
        return sy_error_set(err, SY_ERR_DATA, "--resume: %s has no nll or scored_tokens: this is no output of score",
                            name);
    return add_to(job->ctx, json_string_value(json_object_get(line, "domain")), nll, (uint64_t)n_scored, err);
}

static const struct sy_job_ops score_ops = {
    .score = true, .fill = fill, .render = render, .render_error = render_error, .resumed = resumed};

static double per_token(const struct domain *domain)
{
    return domain->n_scored ? (double)domain->nll_units / UNITS_PER_NAT / (double)domain->n_scored : 0;
}

static void print_totals(const struct score *score)
{
    if (score->n_domains)
        sy_log(SY_LOG_INFO, "%-24s %8s %12s %12s %12s", "domain", "texts", "tokens", "nats/token", "perplexity");
    for (int i = 0; i < score->n_domains; i++) {
        const struct domain *d = &score->domains[i];
        sy_log(SY_LOG_INFO, "%-24.200s %8" PRIu64 " %12" PRIu64 " %12.6f %12.4f", d->name, d->n_texts, d->n_scored,
               per_token(d), exp(per_token(d)));
    }
    if (score->n_unlisted)
        sy_log(SY_LOG_WARN, "%" PRIu64 " texts have other domains than the first %d: they count in the total only",
               score->n_unlisted, DOMAINS_MAX);
    sy_log(SY_LOG_INFO, "scored %" PRIu64 " texts, %" PRIu64 " tokens: %.6f nats a token, perplexity %.4f",
           score->all.n_texts, score->all.n_scored, per_token(&score->all), exp(per_token(&score->all)));
}

static bool render_total(const struct domain *d, struct sy_buf *out)
{
    return sy_buf_printf(out, "\"texts\":%" PRIu64 ",\"scored_tokens\":%" PRIu64 ",\"nll\":", d->n_texts,
                         d->n_scored) &&
           sy_render_real(out, (double)d->nll_units / UNITS_PER_NAT, 17) && put(out, ",\"nll_per_token\":") &&
           sy_render_real(out, per_token(d), 17) && put(out, ",\"perplexity\":") &&
           sy_render_real(out, exp(per_token(d)), 17);
}

static bool render_totals(const struct score *score, struct sy_buf *out)
{
    bool good = put(out, ",\"score\":{") && render_total(&score->all, out) && put(out, ",\"domains\":{");

    for (int i = 0; i < score->n_domains && good; i++)
        good = (!i || put(out, ",")) && sy_render_text(out, score->domains[i].name) && put(out, ":{") &&
               render_total(&score->domains[i], out) && put(out, "}");
    return good && put(out, "}}");
}

static enum sy_status check_settings(const struct sy_settings *s, struct sy_error *err)
{
    if (!s->model)
        return sy_error_set(err, SY_ERR_USAGE, "score: --model is missing: the directory of a checkpoint");
    if (!s->in)
        return sy_error_set(err, SY_ERR_USAGE, "score: --in is missing: a file of JSON lines, or - for standard input");
    if (!s->out)
        return sy_error_set(err, SY_ERR_USAGE, "score: --out is missing: a file, or - for standard output");
    return SY_OK;
}

static enum sy_status score_all(struct score *score, struct sy_setup *setup, struct sy_error *err)
{
    struct sy_job *job = &score->job;
    enum sy_status st = SY_OK;

    job->ctx = score;
    if (setup->settings->logits)
        st = sy_setup_agree(setup, sy_logits_open(setup->settings->logits, &job->logits, err), err);
    if (!st)
        st = sy_job_open(job, &score_ops, setup, err);
    if (!st)
        st = sy_setup_session(setup, sy_job_on_token, sy_job_on_logits, job, err);
    return st ? st : sy_job_run(job, err);
}

static enum sy_status summarize(const struct score *score, struct sy_setup *setup, struct sy_error *err)
{
    struct sy_summary summary = {0};
    struct sy_buf totals = SY_BUF_INIT;
    enum sy_status own = SY_OK, st;

    sy_job_count(&score->job, &summary);
    st = sy_session_stats(setup->session, &summary.stats, err);
    if (st)
        return st;
    if (setup->rank == 0) {
        sy_summary_print(&summary);
        print_totals(score);
        if (setup->settings->summary && !render_totals(score, &totals))
            own = sy_error_set(err, SY_ERR_SYSTEM, "no memory for the summary");
        else if (setup->settings->summary)
            own = sy_summary_write(&summary, setup->settings->summary, &totals, err);
        if (!own)
            own = sy_job_verdict(&score->job, err);
    }
    sy_buf_fini(&totals);
    return sy_setup_agree(setup, own, err);
}

int sy_cli_score(struct sy_cli *cli)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_setup setup;
    struct score *score = calloc(1, sizeof *score);
    enum sy_status st = sy_setup_start(&setup, cli, &err);

    if (!st)
        st = sy_setup_agree(&setup, score ? SY_OK : sy_error_set(&err, SY_ERR_SYSTEM, "no memory"), &err);
    if (!st)
        st = check_settings(&cli->settings, &err);
    if (!st)
        st = sy_setup_machine(&setup, &err);
    if (!st)
        st = sy_setup_model(&setup, &err);
    if (!st)
        st = sy_setup_agree(&setup, setup.rank ? SY_OK : sy_summary_try(cli->settings.summary, &err), &err);
    if (!st)
        st = score_all(score, &setup, &err);
    if (!st)
        st = summarize(score, &setup, &err);
    int code = sy_setup_leave(&setup, st, &err);
    if (score) {
        sy_job_close(&score->job);
        for (int i = 0; i < score->n_domains; i++)
            free(score->domains[i].name);
    }
    free(score);
    return code;
}
