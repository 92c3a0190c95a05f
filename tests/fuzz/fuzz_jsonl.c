/* SPDX-License-Identifier: Apache-2.0
 * fuzz_jsonl.c - any lines of a batch file, as run and as score read them
 *
 * What is accepted must be a request that can be tokenized and submitted as it stands; what is refused must say why, in
 * words and in a code, and its error line must be JSON whatever the line was.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "cli/batch.h"
#include "cli/chat_line.h"
#include "cli/render.h"

#define NAME "fuzz:1"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool held)
{
    if (!held)
        abort();
}

static void check_request(const struct sy_batch_line *line, const struct sy_batch_defaults *defaults)
{
    demand(!line->error_code);
    demand(!line->custom_id || strlen(line->custom_id) <= SY_BATCH_ID_BYTES_MAX);
    demand(defaults->score || !line->domain);
    if (line->chat) {
        demand(!line->text && !line->ids && json_array_size(line->chat->messages) > 0 && !line->echo);
        demand(!line->chat->messages_plain ||
               json_array_size(line->chat->messages_plain) == json_array_size(line->chat->messages));
    }
    demand(line->chat || (line->text && line->text_len && !line->n_ids) ||
           (!line->text && line->ids && line->n_ids > 0));
    demand(!line->text || sy_utf8_valid(line->text, line->text_len) == line->text_len);
    for (int i = 0; i < line->n_ids; i++)
        demand(line->ids[i] >= 0);
    demand(line->max_tokens >= 0 && line->max_tokens <= SY_BATCH_TOKENS_MAX && line->top_k >= 0);
    demand(line->n_logprobs >= -1 && line->n_logprobs <= 20);
    demand(isfinite(line->temperature) && line->temperature >= 0);
    demand(line->top_p > 0 && line->top_p <= 1);
    demand(line->n_stops >= 0 && line->n_stops <= SY_BATCH_STOPS_MAX);
    for (int i = 0; i < line->n_stops; i++)
        demand(line->stops[i].len > 0 && line->stops[i].text[line->stops[i].len] == '\0' &&
               sy_utf8_valid(line->stops[i].text, line->stops[i].len) == line->stops[i].len);
}

/* An error line as a user gets it: the message may quote any bytes of the input. */
static void check_refusal(const struct sy_batch_line *line, const struct sy_error *err)
{
    struct sy_buf out = SY_BUF_INIT;
    struct sy_error json_err = SY_ERROR_INIT;
    json_t *root = NULL;

    demand(line->error_code && !strncmp(err->text, NAME, strlen(NAME)));
    demand(sy_buf_append(&out, "[", 1) && sy_render_text(&out, line->custom_id) && sy_buf_append(&out, ",", 1) &&
           sy_render_text(&out, err->text) && sy_buf_append(&out, "]", 1));
    demand(!sy_json_parse("error line", (const char *)out.data, out.len, 2, &root, &json_err));
    demand(!line->custom_id || !strcmp(json_string_value(json_array_get(root, 0)), line->custom_id));
    json_decref(root);
    sy_buf_fini(&out);
}

static void check_line(const char *text, size_t len, const struct sy_batch_defaults *defaults)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_batch_line line;
    /* In memory of exactly its size, so that a sanitizer sees the first byte past its end. */
    char *exact = malloc(len ? len : 1);

    demand(exact != NULL);
    memcpy(exact, text, len);
    enum sy_status st = sy_batch_parse(NAME, exact, len, defaults, &line, &err);
    free(exact);
    demand(st == SY_OK || st == SY_ERR_DATA);
    if (st)
        check_refusal(&line, &err);
    else
        check_request(&line, defaults);
    sy_batch_line_fini(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sy_batch_defaults run = {
        .max_tokens = 16, .top_k = 5, .temperature = 0.5, .top_p = 0.5, .seed = -3, .stop = "stop", .ignore_eos = true};
    static const struct sy_batch_defaults score = {.score = true, .temperature = 1, .top_p = 1};

    if (!size)
        return 0;
    for (const char *at = (const char *)data, *end = at + size; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
        check_line(at, (size_t)(stop - at), &run);
        check_line(at, (size_t)(stop - at), &score);
        at = stop + 1;
    }
    return 0;
}
