/* SPDX-License-Identifier: Apache-2.0
 * chat_choice.c - an answer in the form of /v1/chat/completions
 *
 * Source: the chat completion object of the OpenAI API.
 */
#include "cli/chat_choice.h"

#include <inttypes.h>
#include <string.h>

#include "cli/render.h"

static bool put(struct sy_buf *out, const char *text)
{
    return sy_buf_append(out, text, strlen(text));
}

/* A token as text, its log-probability, and its bytes, which may be no text alone; the object stays open. */
static bool begin_token(const struct sy_tokenizer *tok, int32_t id, double logprob, struct sy_buf *out)
{
    size_t len = 0;
    const char *bytes = sy_tokenizer_token(tok, id, &len);
    bool good = put(out, "{\"token\":") && sy_render_string(out, bytes ? bytes : "", len) &&
                put(out, ",\"logprob\":") && sy_render_real(out, logprob, 9) && put(out, ",\"bytes\":[");

    for (size_t i = 0; i < len && good; i++)
        good = sy_buf_printf(out, "%s%d", i ? "," : "", (uint8_t)bytes[i]);
    return good && put(out, "]");
}

bool sy_chat_choice_note(struct sy_completion *c, const struct sy_token_event *event)
{
    struct sy_buf *out = &c->tokens;

    if (c->line->n_logprobs < 0 || event->is_prompt)
        return true;
    bool good = (!out->len || put(out, ",")) && begin_token(c->tok, event->token, event->logprob, out) &&
                put(out, ",\"top_logprobs\":[");
    for (int i = 0; i < event->n_top && good; i++)
        good = (!i || put(out, ",")) && begin_token(c->tok, event->top_ids[i], (double)event->top_logprobs[i], out) &&
               put(out, "}");
    return good && put(out, "]}");
}

bool sy_chat_choice_render(const struct sy_completion *c, struct sy_buf *out)
{
    bool good = put(out, "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":") &&
                sy_render_string(out, c->text.data ? (const char *)c->text.data : "", c->text.len) &&
                put(out, "},\"logprobs\":");

    if (c->line->n_logprobs < 0)
        good = good && put(out, "null");
    else
        good = good && put(out, "{\"content\":[") &&
               (!c->tokens.len || sy_buf_append(out, c->tokens.data, c->tokens.len)) && put(out, "]}");
    return good && put(out, ",\"finish_reason\":") && put(out, c->finish == SY_FINISH_STOP ? "\"stop\"" : "\"length\"");
}
