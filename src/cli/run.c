/* SPDX-License-Identifier: Apache-2.0
 * run.c - switchyard run: completions of one prompt or of a batch file
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "cli/job.h"
#include "cli/prompt.h"
#include "cli/render.h"
#include "cli/summary.h"

struct run {
    struct sy_job job;
    const char *model_name; /* last part of --model */
    int64_t created;        /* Unix time */
};

static bool put(struct sy_buf *out, const char *text)
{
    return sy_buf_append(out, text, strlen(text));
}

/* Source: the batch output format of the OpenAI API, with the object of /v1/completions or /v1/chat/completions as body. */
static enum sy_status render(struct sy_job *job, struct sy_item *item, struct sy_buf *out, struct sy_error *err)
{
    const struct run *run = job->ctx;
    const char *model = item->line.model ? item->line.model : run->model_name;
    int n_prompt = (int)(item->prompt.len / sizeof(int32_t)), n_new = item->completion.n_generated;
    bool is_chat = item->line.chat != NULL;
    bool good = sy_buf_printf(out, "{\"id\":\"batch_req_%zu\",\"custom_id\":", item->line_no) &&
                sy_render_text(out, item->line.custom_id) &&
                sy_buf_printf(out,
                              ",\"response\":{\"status_code\":200,\"request_id\":\"req_%zu\",\"body\":{"
                              "\"id\":\"%s-%zu\",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":",
                              item->line_no, is_chat ? "chatcmpl" : "cmpl", item->line_no,
                              is_chat ? "chat.completion" : "text_completion", run->created) &&
                sy_render_text(out, model) && put(out, ",\"choices\":[");

    if (good) {
        const int32_t *prompt = (const int32_t *)item->prompt.data;
        enum sy_status st = sy_completion_render(&item->completion, prompt, n_prompt, out, err);
        if (st)
            return st;
        good = sy_buf_printf(out,
                             "],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d}}},"
                             "\"error\":null}",
                             n_prompt, n_new, n_prompt + n_new);
    }
    return good ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for an output line");
}

static bool render_error(const char *custom_id, size_t line_no, const char *code, const char *text, struct sy_buf *out)
{
    return sy_buf_printf(out, "{\"id\":\"batch_req_%zu\",\"custom_id\":", line_no) && sy_render_text(out, custom_id) &&
           sy_buf_printf(out,
                         ",\"response\":{\"status_code\":400,\"request_id\":\"req_%zu\",\"body\":{\"error\":{"
                         "\"message\":",
                         line_no) &&
           sy_render_text(out, text) && put(out, ",\"type\":\"invalid_request_error\",\"param\":null,\"code\":") &&
           sy_render_text(out, code) && put(out, "}}},\"error\":{\"code\":") && sy_render_text(out, code) &&
           put(out, ",\"message\":") && sy_render_text(out, text) && put(out, "}}");
}

static const struct sy_job_ops run_ops = {.render = render, .render_error = render_error};

static enum sy_status check_settings(const struct sy_setup *setup, struct sy_error *err)
{
    const struct sy_settings *s = setup->settings;

    if (!s->model)
        return sy_error_set(err, SY_ERR_USAGE, "run: --model is missing: the directory of a checkpoint");
    if (!s->prompt && !s->in)
        return sy_error_set(err, SY_ERR_USAGE, "run: give --prompt TEXT, or --in FILE and --out FILE");
    if (s->prompt && (s->in || s->out || s->resume))
        return sy_error_set(err, SY_ERR_USAGE, "run: --prompt goes without --in, --out and --resume");
    if (s->chat && !s->prompt)
        return sy_error_set(err, SY_ERR_USAGE, "run: --chat goes with --prompt; in a file, send \"messages\"");
    if (s->in && !s->out)
        return sy_error_set(err, SY_ERR_USAGE, "run: --in needs --out FILE, or --out - for standard output");
    return SY_OK;
}

static enum sy_status run_batch(struct sy_setup *setup, struct run *run, struct sy_summary *summary,
                                struct sy_error *err)
{
    struct sy_job *job = &run->job;
    const char *slash = strrchr(setup->settings->model, '/');

    run->created = (int64_t)time(NULL);
    run->model_name = slash && slash[1] ? slash + 1 : setup->settings->model;
    job->ctx = run;
    enum sy_status st = sy_job_open(job, &run_ops, setup, err);
    if (!st)
        st = sy_setup_session(setup, sy_job_on_token, NULL, job, err);
    if (!st)
        st = sy_job_run(job, err);
    sy_job_count(job, summary);
    return st;
}

static enum sy_status summarize(struct sy_setup *setup, struct sy_summary *summary, struct sy_error *err)
{
    enum sy_status st = sy_session_stats(setup->session, &summary->stats, err), own = SY_OK;

    if (st)
        return st;
    if (setup->rank == 0) {
        sy_summary_print(summary);
        if (setup->settings->summary)
            own = sy_summary_write(summary, setup->settings->summary, NULL, err);
    }
    return sy_setup_agree(setup, own, err);
}

int sy_cli_run(struct sy_cli *cli)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_summary summary = {0};
    struct sy_setup setup;
    struct run run = {0};
    enum sy_status st = sy_setup_start(&setup, cli, &err);

    if (!st)
        st = check_settings(&setup, &err);
    if (!st)
        st = sy_setup_machine(&setup, &err);
    if (!st)
        st = sy_setup_model(&setup, &err);
    if (!st)
        st = sy_setup_agree(&setup, setup.rank ? SY_OK : sy_summary_try(cli->settings.summary, &err), &err);
    if (!st)
        st = cli->settings.prompt ? sy_prompt_run(&setup, &summary, &err) : run_batch(&setup, &run, &summary, &err);
    if (!st)
        st = summarize(&setup, &summary, &err);
    if (!st)
        st = sy_setup_agree(&setup, sy_job_verdict(&run.job, &err), &err);
    int code = sy_setup_leave(&setup, st, &err);
    sy_job_close(&run.job);
    return code;
}
