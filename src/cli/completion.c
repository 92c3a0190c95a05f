/* SPDX-License-Identifier: Apache-2.0
 * completion.c - text of one request: detokenizing, stop strings, log-probabilities
 */
#include "cli/completion.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "cli/chat_choice.h"
#include "cli/render.h"

void sy_completion_init(struct sy_completion *c, const struct sy_tokenizer *tok, const struct sy_batch_line *line)
{
    memset(c, 0, sizeof *c);
    c->tok = tok;
    c->line = line;
    if (!tok)
        return;
    sy_detokenizer_init(&c->detok, tok, true);
    /* A completion goes on where the prompt ended, so a space at its begin is part of it. */
    if (!line->echo)
        c->detok.n_strip = 0;
}

void sy_completion_fini(struct sy_completion *c)
{
    sy_buf_fini(&c->text);
    sy_buf_fini(&c->ids);
    sy_buf_fini(&c->values);
    sy_buf_fini(&c->tokens);
    sy_buf_fini(&c->tops);
    sy_buf_fini(&c->offsets);
}

static enum sy_status no_memory(struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the text of a request");
}

/* Characters that begin in these bytes. */
static size_t count_chars(const uint8_t *bytes, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += (bytes[i] & 0xc0) != 0x80;
    return n;
}

static bool comma(struct sy_buf *out)
{
    return !out->len || sy_buf_append(out, ",", 1);
}

/* A token as a JSON string: its bytes if they are whole characters, else "bytes:\xNN...", as the API does. */
static bool render_token(const struct sy_tokenizer *tok, int32_t id, struct sy_buf *out)
{
    size_t len = 0;
    const char *bytes = tok ? sy_tokenizer_token(tok, id, &len) : NULL;

    if (!bytes)
        return sy_buf_printf(out, "\"token_id:%" PRId32 "\"", id);
    if (sy_utf8_valid(bytes, len) == len)
        return sy_render_string(out, bytes, len);
    bool good = sy_buf_append(out, "\"bytes:", 7);
    for (size_t i = 0; i < len && good; i++)
        good = sy_buf_printf(out, "\\\\x%02x", (uint8_t)bytes[i]);
    return good && sy_buf_append(out, "\"", 1);
}

/* Two ids may be written the same; a JSON object can have the name only once. */
static bool same_token(const struct sy_tokenizer *tok, int32_t a, int32_t b)
{
    size_t la = 0, lb = 0;
    const char *ta = tok ? sy_tokenizer_token(tok, a, &la) : NULL, *tb = tok ? sy_tokenizer_token(tok, b, &lb) : NULL;

    return a == b || (ta && tb && la == lb && !memcmp(ta, tb, la));
}

/* The most likely tokens of a position and the one that is there, as an object. */
static bool render_top(const struct sy_completion *c, const struct sy_token_event *event, struct sy_buf *out)
{
    bool good = sy_buf_append(out, "{", 1), there = false;

    for (int i = 0; i < event->n_top && good; i++) {
        bool seen = false;
        for (int j = 0; j < i; j++)
            seen = seen || same_token(c->tok, event->top_ids[i], event->top_ids[j]);
        if (seen)
            continue;
        there = there || same_token(c->tok, event->top_ids[i], event->token);
        good = (!i || sy_buf_append(out, ",", 1)) && render_token(c->tok, event->top_ids[i], out) &&
               sy_buf_append(out, ":", 1) && sy_render_real(out, (double)event->top_logprobs[i], 9);
    }
    if (good && !there)
        good = (!event->n_top || sy_buf_append(out, ",", 1)) && render_token(c->tok, event->token, out) &&
               sy_buf_append(out, ":", 1) && sy_render_real(out, event->logprob, 9);
    return good && sy_buf_append(out, "}", 1);
}

static bool note_logprobs(struct sy_completion *c, const struct sy_token_event *event)
{
    double value = event->has_logprob ? event->logprob : NAN;

    if (c->values_only)
        return sy_buf_append(&c->values, &value, sizeof value);
    if (c->line->chat)
        return sy_chat_choice_note(c, event);
    if (c->line->n_logprobs < 0)
        return true;
    bool good = sy_buf_append(&c->values, &value, sizeof value) && comma(&c->tokens) &&
                render_token(c->tok, event->token, &c->tokens) && comma(&c->offsets) &&
                sy_buf_printf(&c->offsets, "%zu", c->n_chars) && comma(&c->tops);
    if (good && event->has_logprob)
        return render_top(c, event, &c->tops);
    return good && sy_buf_append(&c->tops, "null", 4);
}

/* Look for stop strings in text that was not there when it had `before` bytes, cut at the first, and find out how much
 * of the text is certain. */
static void find_stops(struct sy_completion *c, size_t before)
{
    const char *text = (const char *)c->text.data;
    size_t cut = c->text.len, held = 0;
    bool found = false;

    for (int s = 0; s < c->line->n_stops; s++) {
        const struct sy_batch_stop *stop = &c->line->stops[s];
        size_t from = before > stop->len - 1 ? before - (stop->len - 1) : 0;
        if (from < c->prompt_bytes)
            from = c->prompt_bytes;
        const char *at = from < c->text.len ? memmem(text + from, c->text.len - from, stop->text, stop->len) : NULL;
        if (at && (!found || (size_t)(at - text) < cut)) {
            cut = (size_t)(at - text);
            found = true;
        }
        size_t limit = c->text.len - c->prompt_bytes, n = stop->len - 1 < limit ? stop->len - 1 : limit;
        while (n > held && memcmp(text + c->text.len - n, stop->text, n))
            n--;
        if (n > held)
            held = n;
    }
    if (found) {
        c->text.len = cut;
        c->sure_bytes = cut;
        c->done = c->stopped_by_text = true;
        c->finish = SY_FINISH_STOP;
    } else {
        c->sure_bytes = c->text.len - held;
    }
}

static enum sy_status add_text(struct sy_completion *c, const struct sy_token_event *event, struct sy_error *err)
{
    size_t before = c->text.len;

    if (!c->tok)
        return SY_OK;
    /* Special tokens that the user wrote are part of an echoed prompt, those that the tokenizer added are not. */
    c->detok.skip_special = !event->is_prompt || c->n_prompt_seen <= c->n_lead;
    enum sy_status st = sy_detokenizer_push(&c->detok, event->token, &c->text, err);
    if (st)
        return st;
    if (c->text.len > before)
        c->n_chars += count_chars(c->text.data + before, c->text.len - before);
    if (event->is_prompt)
        c->prompt_bytes = c->sure_bytes = c->text.len;
    else if (c->text.len > before)
        find_stops(c, before);
    return SY_OK;
}

static enum sy_status finish(struct sy_completion *c, enum sy_finish reason, struct sy_error *err)
{
    size_t before = c->text.len;

    c->done = true;
    c->finish = reason;
    if (!c->tok || c->values_only)
        return SY_OK;
    enum sy_status st = sy_detokenizer_finish(&c->detok, &c->text, err);
    if (st)
        return st;
    if (c->text.len > before)
        find_stops(c, before);
    c->sure_bytes = c->text.len;
    return SY_OK;
}

enum sy_status sy_completion_push(struct sy_completion *c, const struct sy_token_event *event, struct sy_error *err)
{
    enum sy_status st = SY_OK;

    if (c->done)
        return SY_OK;
    if (event->token >= 0) {
        if (!note_logprobs(c, event) ||
            (!event->is_prompt && !sy_buf_append(&c->ids, &event->token, sizeof event->token)))
            return no_memory(err);
        c->n_prompt_seen += event->is_prompt;
        c->n_generated += !event->is_prompt;
        if (event->finish != SY_FINISH_STOP && !c->values_only)
            st = add_text(c, event, err);
    }
    if (!st && !c->done && event->finish != SY_FINISH_NONE)
        st = finish(c, event->finish, err);
    return st;
}

const char *sy_completion_sure(const struct sy_completion *c, size_t *len)
{
    *len = c->sure_bytes;
    return c->text.data ? (const char *)c->text.data : "";
}

static bool put(struct sy_buf *out, const char *text)
{
    return sy_buf_append(out, text, strlen(text));
}

static bool put_list(struct sy_buf *out, const char *name, const struct sy_buf *elements)
{
    return put(out, name) && (!elements->len || sy_buf_append(out, elements->data, elements->len)) && put(out, "]");
}

static bool render_logprobs(const struct sy_completion *c, struct sy_buf *out)
{
    const double *values = (const double *)c->values.data;
    size_t n = c->values.len / sizeof *values;

    if (c->line->n_logprobs < 0)
        return put(out, ",\"logprobs\":null");
    bool good = put_list(out, ",\"logprobs\":{\"tokens\":[", &c->tokens) && put(out, ",\"token_logprobs\":[");
    for (size_t i = 0; i < n && good; i++)
        good = (!i || put(out, ",")) && sy_render_real(out, values[i], 9);
    return good && put(out, "]") && put_list(out, ",\"top_logprobs\":[", &c->tops) &&
           put_list(out, ",\"text_offset\":[", &c->offsets) && put(out, "}");
}

static bool render_choice(const struct sy_completion *c, struct sy_buf *out)
{
    return put(out, "{\"index\":0,\"text\":") &&
                sy_render_string(out, c->text.data ? (const char *)c->text.data : "", c->text.len) &&
                render_logprobs(c, out) && put(out, ",\"finish_reason\":") &&
                put(out, c->finish == SY_FINISH_STOP ? "\"stop\"" : "\"length\"");
}

enum sy_status sy_completion_render(const struct sy_completion *c, const int32_t *prompt_ids, int n_prompt,
                                    struct sy_buf *out, struct sy_error *err)
{
    bool good = c->line->chat ? sy_chat_choice_render(c, out) : render_choice(c, out);

    if (good && (c->line->return_token_ids || !c->tok))
        good = put(out, ",\"token_ids\":") &&
               sy_render_ids(out, (const int32_t *)c->ids.data, c->ids.len / sizeof(int32_t)) &&
               put(out, ",\"prompt_token_ids\":") && sy_render_ids(out, prompt_ids, (size_t)n_prompt);
    return good && put(out, "}") ? SY_OK : no_memory(err);
}
