/* SPDX-License-Identifier: Apache-2.0
 * job_line.c - from an input line to a submitted request or an error line; opening and closing a job
 */
#include "cli/job_line.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/json.h"
#include "base/log.h"
#include "cli/chat_line.h"

/* Lines in flight for each four that a rank can run at once, so that no rank waits for rank 0 to read. */
#define LOOK_AHEAD 5
#define SLOTS_MAX 65535
/* max_tokens of a line that does not say, as in the API. */
#define LINE_TOKENS 16
/* The same of a chat, where the API has no limit: an answer of some length. */
#define CHAT_TOKENS 1024
/* An output file that is read at less than this may be taken for a dead rank. */
#define RESUME_BYTES_PER_MS 20000
static const char duplicate_code[] = "duplicate_custom_id";

static enum sy_status no_memory(struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a request");
}

/* Write the error line of input line line_no. */
static enum sy_status refuse(struct sy_job *job, const char *custom_id, size_t line_no, const char *code,
                             const char *text, struct sy_error *err)
{
    job->n_refused++;
    job->out.len = 0;
    if (!job->ops->render_error(custom_id, line_no, code, text, &job->out))
        return no_memory(err);
    return sy_job_write(job, err);
}

/* What is to be done with a line after a look at its custom_id. */
enum verdict { VERDICT_SERVE, VERDICT_SKIP, VERDICT_DUPLICATE };

static enum sy_status judge_id(struct sy_job *job, const char *custom_id, enum verdict *verdict, struct sy_error *err)
{
    struct sy_idset_entry *entry = sy_idset_get(&job->ids, custom_id);

    if (!entry)
        return no_memory(err);
    entry->seen_in++;
    *verdict = VERDICT_SERVE;
    if (entry->seen_in == 1 && entry->answered) {
        *verdict = VERDICT_SKIP;
    } else if (entry->seen_in > 1) {
        job->n_duplicates++;
        /* An earlier run may have refused it already. */
        *verdict = entry->seen_in - 1 <= entry->refused ? VERDICT_SKIP : VERDICT_DUPLICATE;
    }
    return SY_OK;
}

/* The template has put the special tokens where they belong. */
static enum sy_status make_chat(struct sy_job *job, struct sy_item *item, struct sy_error *err)
{
    const struct sy_chat_line *chat = item->line.chat;
    const struct sy_chat_request request = {.messages = chat->messages,
                                            .messages_plain = chat->messages_plain,
                                            .tools = chat->tools,
                                            .variables = chat->variables};
    struct sy_buf text = SY_BUF_INIT;

    if (!job->tok)
        return sy_error_set(err, SY_ERR_DATA, "the model has no tokenizer.json, so it takes no messages");
    enum sy_status st = sy_chat_render(job->chat, &request, time(NULL), &text, err);
    if (!st)
        st = sy_tokenizer_encode(job->tok, text.data ? (const char *)text.data : "", text.len, false, &item->prompt,
                                 err);
    sy_buf_fini(&text);
    return st;
}

static enum sy_status make_prompt(struct sy_job *job, struct sy_item *item, struct sy_error *err)
{
    struct sy_batch_line *line = &item->line;

    item->prompt.len = 0;
    if (line->chat)
        return make_chat(job, item, err);
    if (!line->text)
        return sy_buf_append(&item->prompt, line->ids, (size_t)line->n_ids * sizeof *line->ids) ? SY_OK
                                                                                              : no_memory(err);
    if (!job->tok)
        return sy_error_set(err, SY_ERR_DATA,
                            "the model has no tokenizer.json, so the prompt must be an array of token ids");
    return sy_tokenizer_encode(job->tok, line->text, line->text_len, true, &item->prompt, err);
}

/* How many tokens the tokenizer put before the text's own. */
static enum sy_status count_lead(struct sy_job *job, struct sy_item *item, struct sy_error *err)
{
    struct sy_buf plain = SY_BUF_INIT;
    enum sy_status st = SY_OK;

    if (!item->line.echo || !item->line.text || !job->tok)
        return SY_OK;
    st = sy_tokenizer_encode(job->tok, item->line.text, item->line.text_len, false, &plain, err);
    for (size_t lead = 0; !st && lead + plain.len <= item->prompt.len; lead += sizeof(int32_t))
        if (!plain.len || !memcmp(item->prompt.data + lead, plain.data, plain.len)) {
            item->completion.n_lead = (int)(lead / sizeof(int32_t));
            break;
        }
    sy_buf_fini(&plain);
    return st;
}

/* Tokenize and submit. SY_ERR_DATA: the line is refused; *code says why in short. */
static enum sy_status start(struct sy_job *job, struct sy_item *item, const char **code, struct sy_error *err)
{
    int slot = (int)(item - job->items);
    enum sy_status st = make_prompt(job, item, err);

    *code = item->line.chat ? "invalid_messages" : "invalid_prompt";
    if (st)
        return st;
    struct sy_request request = {.max_tokens = item->line.max_tokens,
                                 .temperature = item->line.temperature,
                                 .top_p = item->line.top_p,
                                 .top_k = item->line.top_k,
                                 .seed = item->line.seed,
                                 .n_logprobs = item->line.n_logprobs,
                                 .echo = item->line.echo,
                                 .ignore_eos = item->line.ignore_eos};
    if (job->ops->fill)
        st = job->ops->fill(job, item, &request, err);
    if (st)
        return st;
    size_t n_prompt = item->prompt.len / sizeof(int32_t);
    if (n_prompt > SY_BATCH_TOKENS_MAX)
        return sy_error_set(err, SY_ERR_DATA, "the prompt has %zu tokens, expected at most %d", n_prompt,
                            SY_BATCH_TOKENS_MAX);
    request.prompt = (const int32_t *)item->prompt.data;
    request.n_prompt = (int)n_prompt;
    request.id = item->id = sy_job_new_id(job, slot, request.n_prompt);
    sy_completion_init(&item->completion, job->tok, &item->line);
    item->completion.values_only = job->ops->score;
    st = count_lead(job, item, err);
    *code = "request_does_not_fit";
    return st ? st : sy_session_submit(job->setup->session, &request, err);
}

static struct sy_item *free_slot(struct sy_job *job)
{
    /* The caller has looked that there is one. */
    while (job->items[job->next_slot].live)
        job->next_slot = (job->next_slot + 1) % job->n_slots;
    return &job->items[job->next_slot];
}

enum sy_status sy_job_take_line(struct sy_job *job, const char *text, size_t len, size_t line_no, struct sy_error *err)
{
    struct sy_item *item = free_slot(job);
    enum verdict verdict = VERDICT_SERVE;
    const char *code = NULL;
    char name[300];

    snprintf(name, sizeof name, "%.200s:%zu", sy_reader_name(job->reader), line_no);
    enum sy_status st = sy_batch_parse(name, text, len, &job->defaults, &item->line, err), own;
    item->live = true;
    item->line_no = line_no;
    job->n_live++;
    code = item->line.error_code;
    if (!item->line.custom_id && asprintf(&item->line.custom_id, "%zu", line_no) < 0) {
        item->line.custom_id = NULL;
        st = no_memory(err);
    }
    if (!st || st == SY_ERR_DATA) {
        struct sy_error id_err = SY_ERROR_INIT;
        own = judge_id(job, item->line.custom_id, &verdict, &id_err);
        if (own) {
            st = own;
            *err = id_err;
        } else if (verdict == VERDICT_DUPLICATE) {
            st = sy_error_set(err, SY_ERR_DATA, "%s: the custom_id \"%.100s\" has been used by an earlier line", name,
                              item->line.custom_id);
            code = duplicate_code;
        }
    }
    if (verdict == VERDICT_SKIP) {
        job->n_skipped++;
        sy_job_release(job, item);
        return SY_OK;
    }
    if (!st) {
        st = start(job, item, &code, err);
        if (!st)
            return SY_OK;
        sy_error_prefix(err, "%s", name);
    }
    if (st == SY_ERR_DATA)
        st = refuse(job, item->line.custom_id, line_no, code, err->text, err);
    sy_job_release(job, item);
    return st;
}

/* A line that an earlier run wrote. */
static enum sy_status on_old_line(void *ctx, const char *text, size_t len, size_t line_no, struct sy_error *err)
{
    struct sy_job *job = ctx;
    json_t *root = NULL;
    char name[300];

    snprintf(name, sizeof name, "%.200s:%zu", job->setup->settings->out, line_no);
    enum sy_status st = sy_json_parse(name, text, len, SY_BATCH_DEPTH_MAX, &root, err);
    if (st)
        return sy_error_prefix(err, "--resume: this is no output of this program");
    const char *custom_id = json_string_value(json_object_get(root, "custom_id"));
    const char *code = json_string_value(json_object_get(json_object_get(root, "error"), "code"));
    struct sy_idset_entry *entry = custom_id ? sy_idset_get(&job->ids, custom_id) : NULL;
    if (!custom_id)
        st = sy_error_set(err, SY_ERR_DATA, "--resume: %s has no custom_id: this is no output of this program", name);
    else if (!entry)
        st = no_memory(err);
    else if (code && !strcmp(code, duplicate_code))
        entry->refused++;
    else
        entry->answered = 1;
    if (!st && job->ops->resumed)
        st = job->ops->resumed(job, name, root, err);
    json_decref(root);
    return st;
}

static bool same_file(const char *a, const struct stat *b)
{
    struct stat info;

    return !stat(a, &info) && S_ISREG(info.st_mode) && info.st_dev == b->st_dev && info.st_ino == b->st_ino;
}

/* The summary is written over what is there, which must be neither the requests nor the answers. */
static enum sy_status check_summary(const struct sy_job *job, struct sy_error *err)
{
    const struct sy_settings *s = job->setup->settings;
    struct stat in;

    if (!s->summary || stat(s->summary, &in))
        return SY_OK;
    if (same_file(s->out, &in))
        return sy_error_set(err, SY_ERR_USAGE, "--out and --summary are the same file");
    if (!fstat(sy_reader_fd(job->reader), &in) && same_file(s->summary, &in))
        return sy_error_set(err, SY_ERR_USAGE, "--in and --summary are the same file");
    return SY_OK;
}

static enum sy_status open_files(struct sy_job *job, struct sy_error *err)
{
    const struct sy_settings *s = job->setup->settings;
    enum sy_status st = sy_tokenizer_open(s->model, &job->tok, err);

    if (!st)
        st = sy_chat_open(s->model, &job->chat, err);
    if (!st)
        st = sy_reader_open(s->in, SY_BATCH_LINE_BYTES_MAX, &job->reader, err);
    if (!st)
        st = sy_writer_open(s->out, s->resume, on_old_line, job, &job->writer, err);
    if (!st && sy_writer_is_same(job->writer, sy_reader_fd(job->reader)))
        st = sy_error_set(err, SY_ERR_USAGE, "--in and --out are the same file");
    if (!st)
        st = check_summary(job, err);
    if (st)
        return st;
    int64_t n_slots = (LOOK_AHEAD * s->max_sequences + 3) / 4 * job->setup->n_ranks + 1;
    job->n_slots = (int)(n_slots < SLOTS_MAX ? n_slots : SLOTS_MAX);
    job->items = calloc((size_t)job->n_slots, sizeof *job->items);
    return job->items ? SY_OK : no_memory(err);
}

/* While rank 0 reads what an earlier run wrote, the others wait: the deadline grows with it. Collective. */
static enum sy_status open_patiently(struct sy_job *job, struct sy_error *err)
{
    struct sy_setup *setup = job->setup;
    int64_t timeout_ms = sy_group_timeout_ms(setup->group), patience_ms = timeout_ms;
    struct sy_buf buf = SY_BUF_INIT;
    struct stat info;

    if (timeout_ms > 0 && setup->settings->resume && !stat(setup->settings->out, &info))
        patience_ms += info.st_size / RESUME_BYTES_PER_MS;
    enum sy_status st = sy_buf_append(&buf, &patience_ms, sizeof patience_ms) ? SY_OK : no_memory(err);
    st = sy_setup_agree(setup, st, err);
    if (!st)
        st = sy_group_bcast(setup->group, 0, &buf, err);
    if (!st) {
        memcpy(&patience_ms, buf.data, sizeof patience_ms);
        sy_group_set_timeout(setup->group, patience_ms);
        st = sy_setup_agree(setup, setup->rank ? SY_OK : open_files(job, err), err);
        sy_group_set_timeout(setup->group, timeout_ms);
    }
    sy_buf_fini(&buf);
    return st;
}

enum sy_status sy_job_open(struct sy_job *job, const struct sy_job_ops *ops, struct sy_setup *setup,
                           struct sy_error *err)
{
    const struct sy_settings *s = setup->settings;
    bool said = sy_options_source(setup->cli->options, "max-tokens") != SY_FROM_DEFAULT;

    job->ops = ops;
    job->setup = setup;
    job->defaults = (struct sy_batch_defaults){.score = ops->score,
                                               .max_tokens = said ? (int)s->max_tokens : LINE_TOKENS,
                                               .chat_max_tokens = said ? (int)s->max_tokens : CHAT_TOKENS,
                                               .top_k = (int)s->top_k,
                                               .temperature = s->temperature,
                                               .top_p = s->top_p,
                                               .seed = s->seed,
                                               .ignore_eos = s->ignore_eos,
                                               .stop = s->stop};
    /* Score takes its sampling fields from nowhere: they are read, so that run's lines pass, and not used. */
    if (ops->score)
        job->defaults = (struct sy_batch_defaults){.score = true, .temperature = 1, .top_p = 1};
    return open_patiently(job, err);
}

void sy_job_close(struct sy_job *job)
{
    for (int i = 0; i < job->n_slots; i++) {
        if (job->items[i].live)
            sy_job_release(job, &job->items[i]);
        sy_buf_fini(&job->items[i].prompt);
    }
    free(job->items);
    sy_idset_fini(&job->ids);
    sy_buf_fini(&job->out);
    sy_reader_close(job->reader);
    sy_writer_close(job->writer, NULL);
    sy_tokenizer_close(job->tok);
    sy_chat_close(job->chat);
    sy_logits_close(job->logits);
}
