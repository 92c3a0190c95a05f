/* SPDX-License-Identifier: Apache-2.0
 * prompt.c - run --prompt: one completion, streamed to standard output
 */
#include "cli/prompt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "chat/chat.h"
#include "cli/chat_line.h"
#include "cli/completion.h"
#include "cli/signals.h"

#define PROMPT_TOKENS 128

struct prompt {
    struct sy_setup *setup;
    struct sy_tokenizer *tok;
    struct sy_batch_line line;
    struct sy_buf ids;
    struct sy_completion completion;
    size_t n_sent; /* bytes of the text that are out */
    bool cancelled;
    enum sy_status st;
    struct sy_error err;
};

static enum sy_status send_text(const void *text, size_t len, struct sy_error *err)
{
    return len ? sy_file_write(STDOUT_FILENO, "standard output", text, len, err) : SY_OK;
}

/* What has become certain since the last call. */
static enum sy_status send_news(struct prompt *p, const struct sy_token_event *event, struct sy_error *err)
{
    size_t len;
    const char *text = sy_completion_sure(&p->completion, &len);
    char number[16];

    if (!p->tok && event->token >= 0) {
        int n = snprintf(number, sizeof number, "%s%d", p->completion.n_generated > 1 ? " " : "", (int)event->token);
        return send_text(number, (size_t)n, err);
    }
    enum sy_status st = send_text(text + p->n_sent, len - p->n_sent, err);
    p->n_sent = len;
    return st;
}

static void on_token(void *ctx, const struct sy_token_event *event)
{
    struct prompt *p = ctx;
    struct sy_error err = SY_ERROR_INIT;

    if (p->st)
        return;
    bool was_done = p->completion.done;
    enum sy_status st = sy_completion_push(&p->completion, event, &err);
    if (!st && !was_done)
        st = send_news(p, event, &err);
    if (st) {
        p->st = st;
        p->err = err;
    }
}

/* Ids for a model without tokenizer: integers with blanks or commas between them, brackets allowed around. */
static enum sy_status parse_ids(const char *text, struct sy_buf *ids, struct sy_error *err)
{
    static const char between[] = " ,[]\t\n";

    for (text += strspn(text, between); *text; text += strspn(text, between)) {
        char *end;
        errno = 0;
        long id = strtol(text, &end, 10);
        if (end == text || errno || id < 0 || id > INT32_MAX)
            return sy_error_set(err, SY_ERR_DATA,
                                "--prompt: the model has no tokenizer.json, so token ids are expected, found \"%.40s\"",
                                text);
        int32_t id32 = (int32_t)id;
        if (!sy_buf_append(ids, &id32, sizeof id32))
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the prompt");
        text = end;
    }
    return SY_OK;
}

/* --chat: the prompt is a message of the user. */
static enum sy_status tokenize_chat(struct prompt *p, struct sy_error *err)
{
    const struct sy_settings *s = p->setup->settings;
    struct sy_buf text = SY_BUF_INIT;
    struct sy_chat *chat = NULL;

    if (!p->tok)
        return sy_error_set(err, SY_ERR_DATA, "--chat: the model has no tokenizer.json, so it takes no messages");
    enum sy_status st = sy_chat_open(s->model, &chat, err);
    if (!st)
        st = sy_chat_line_from_text(s->prompt, &p->line, err);
    if (!st)
        st = sy_chat_render(chat, &(struct sy_chat_request){.messages = p->line.chat->messages}, time(NULL), &text,
                            err);
    if (!st)
        st = sy_tokenizer_encode(p->tok, text.data ? (const char *)text.data : "", text.len, false, &p->ids, err);
    sy_chat_close(chat);
    sy_buf_fini(&text);
    return st == SY_ERR_DATA ? sy_error_prefix(err, "--chat") : st;
}

static enum sy_status tokenize(struct prompt *p, struct sy_error *err)
{
    const char *text = p->setup->settings->prompt;
    enum sy_status st = sy_tokenizer_open(p->setup->settings->model, &p->tok, err);

    if (!st && p->setup->settings->chat)
        st = tokenize_chat(p, err);
    else if (!st && p->tok)
        st = sy_tokenizer_encode(p->tok, text, strlen(text), true, &p->ids, err);
    else if (!st)
        st = parse_ids(text, &p->ids, err);
    if (st)
        return st;
    return p->ids.len ? SY_OK : sy_error_set(err, SY_ERR_DATA, "--prompt: the prompt is empty");
}

static enum sy_status submit(struct prompt *p, struct sy_error *err)
{
    const struct sy_settings *s = p->setup->settings;
    bool said = sy_options_source(p->setup->cli->options, "max-tokens") != SY_FROM_DEFAULT;
    struct sy_request request = {.id = 1,
                                 .prompt = (const int32_t *)p->ids.data,
                                 .n_prompt = (int)(p->ids.len / sizeof(int32_t)),
                                 .max_tokens = said ? (int)s->max_tokens : PROMPT_TOKENS,
                                 .temperature = (float)s->temperature,
                                 .top_p = (float)s->top_p,
                                 .top_k = (int)s->top_k,
                                 .seed = (uint64_t)s->seed,
                                 .n_logprobs = -1,
                                 .ignore_eos = s->ignore_eos};

    p->line.n_logprobs = -1;
    if (s->stop && *s->stop) {
        p->line.stops[0] = (struct sy_batch_stop){strdup(s->stop), strlen(s->stop)};
        p->line.n_stops = 1;
    }
    if (p->line.n_stops && !p->line.stops[0].text)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the prompt");
    sy_completion_init(&p->completion, p->tok, &p->line);
    enum sy_status st = sy_session_submit(p->setup->session, &request, err);
    return st == SY_ERR_DATA ? sy_error_prefix(err, "--prompt") : st;
}

static enum sy_status loop(struct prompt *p, struct sy_error *err)
{
    struct sy_setup *setup = p->setup;
    bool ended = false;

    if (setup->rank == 0)
        sy_session_end(setup->session);
    while (!ended) {
        /* A drain lets the one request finish, so there is nothing more to do about it. */
        if (sy_signals_drain())
            sy_session_drain(setup->session);
        enum sy_status st = sy_session_step(setup->session, 0, &ended, err);
        if (st)
            sy_setup_die(setup, err);
        if ((p->st || p->completion.stopped_by_text) && !p->cancelled) {
            sy_session_cancel(setup->session, 1);
            p->cancelled = true;
        }
    }
    if (setup->rank == 0 && !p->st)
        p->st = send_text("\n", 1, &p->err);
    *err = p->err;
    return sy_setup_agree(setup, p->st, err);
}

enum sy_status sy_prompt_run(struct sy_setup *setup, struct sy_summary *summary, struct sy_error *err)
{
    struct prompt p = {.setup = setup, .err = SY_ERROR_INIT};
    enum sy_status st = sy_setup_agree(setup, setup->rank ? SY_OK : tokenize(&p, err), err);

    if (!st)
        st = sy_setup_session(setup, on_token, NULL, &p, err);
    if (!st)
        st = sy_setup_agree(setup, setup->rank ? SY_OK : submit(&p, err), err);
    int64_t begin_ns = sy_clock_ns();
    if (!st)
        st = loop(&p, err);
    summary->n_requests = 1;
    summary->prompt_tokens = p.ids.len / sizeof(int32_t);
    summary->generated_tokens = (uint64_t)p.completion.n_generated;
    summary->wall_s = (double)(sy_clock_ns() - begin_ns) * 1e-9;
    summary->n_ranks = setup->n_ranks;
    sy_completion_fini(&p.completion);
    sy_batch_line_fini(&p.line);
    sy_buf_fini(&p.ids);
    sy_tokenizer_close(p.tok);
    return st;
}
