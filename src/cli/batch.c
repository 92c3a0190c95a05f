/* SPDX-License-Identifier: Apache-2.0
 * batch.c - one line of a batch file: from hostile JSON to a request
 *
 * Every field is looked at: what is not understood is refused by name, because a request that is answered as if a field
 * were not there is worse than one that is refused.
 */
#include "cli/batch.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/chat_line.h"

/* A field that this version does not act on: only the value that changes nothing is accepted. */
struct inert_field {
    const char *name;
    enum { INERT_ANY_STRING, INERT_FALSE, INERT_TRUE, INERT_NUMBER, INERT_EMPTY } kind;
    double number;
};

static const struct inert_field inert_fields[] = {
    {"user", INERT_ANY_STRING, 0},       {"stream", INERT_FALSE, 0},
    {"n", INERT_NUMBER, 1},              {"best_of", INERT_NUMBER, 1},
    {"presence_penalty", INERT_NUMBER, 0}, {"frequency_penalty", INERT_NUMBER, 0},
    {"repetition_penalty", INERT_NUMBER, 1}, {"min_p", INERT_NUMBER, 0},
    {"min_tokens", INERT_NUMBER, 0},     {"logit_bias", INERT_EMPTY, 0},
    {"suffix", INERT_EMPTY, 0},          {"tools", INERT_EMPTY, 0},
    {"functions", INERT_EMPTY, 0},       {"stop_token_ids", INERT_EMPTY, 0},
    {"stream_options", INERT_EMPTY, 0},  {"skip_special_tokens", INERT_TRUE, 0},
    {"use_beam_search", INERT_FALSE, 0},
};

static const char *const active_fields[] = {
    "model", "prompt", "max_tokens", "temperature", "top_p", "top_k", "seed", "stop", "logprobs", "echo",
    "return_token_ids", "ignore_eos",
};

/* Those of them that a chat does not have. */
static const char *const prompt_fields[] = {"prompt", "echo"};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static enum sy_status refuse(struct sy_batch_line *line, const char *code)
{
    line->error_code = code;
    return SY_ERR_DATA;
}

static enum sy_status no_memory(struct sy_batch_line *line, const char *name, struct sy_error *err)
{
    line->error_code = "no_memory";
    return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory", name);
}

static bool is_inert(const struct inert_field *field, const json_t *value)
{
    switch (field->kind) {
    case INERT_ANY_STRING:
        return json_is_string(value);
    case INERT_FALSE:
        return json_is_false(value);
    case INERT_TRUE:
        return json_is_true(value);
    case INERT_NUMBER:
        return json_is_number(value) && json_number_value(value) == field->number;
    case INERT_EMPTY:
        return (json_is_string(value) && !json_string_length(value)) ||
               (json_is_array(value) && !json_array_size(value)) || (json_is_object(value) && !json_object_size(value));
    }
    return false;
}

static bool among(const char *key, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(key, names[i]))
            return true;
    return false;
}

/* Every field of the body is known, and those without effect have no effect. bare: custom_id may stand here too. */
static enum sy_status check_fields(const char *name, const json_t *body, const struct sy_batch_defaults *defaults,
                                   bool bare, struct sy_batch_line *line, struct sy_error *err)
{
    bool is_chat = json_object_get(body, "messages") != NULL;
    void *iter;
    char shown[80];

    for (iter = json_object_iter((json_t *)body); iter; iter = json_object_iter_next((json_t *)body, iter)) {
        const char *key = json_object_iter_key(iter);
        const json_t *value = json_object_iter_value(iter);
        bool known = (is_chat && sy_chat_line_knows(key)) ||
                     (among(key, active_fields, COUNT(active_fields)) &&
                      !(is_chat && among(key, prompt_fields, COUNT(prompt_fields)))) ||
                     (bare && !strcmp(key, "custom_id")) ||
                     (defaults->score && (!strcmp(key, "text") || !strcmp(key, "domain")));
        for (size_t i = 0; i < COUNT(inert_fields) && !known; i++)
            if (!strcmp(key, inert_fields[i].name)) {
                known = json_is_null(value) || is_inert(&inert_fields[i], value);
                if (!known) {
                    sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" is %s, which is not supported", name, key,
                                 sy_json_show(value, shown, sizeof shown));
                    return refuse(line, "unsupported_value");
                }
            }
        if (!known && !json_is_null(value)) {
            sy_error_set(err, SY_ERR_DATA, "%s: the field \"%.80s\" is not supported", name, key);
            return refuse(line, "unsupported_field");
        }
    }
    return SY_OK;
}

/* object[key] as a string without zero bytes of at most max bytes; *out stays NULL when the key is missing or null. */
static enum sy_status take_string(const char *name, const json_t *object, const char *key, size_t max,
                                  struct sy_batch_line *line, char **out, struct sy_error *err)
{
    const json_t *value = json_object_get(object, key);
    char shown[80];

    if (!value || json_is_null(value))
        return SY_OK;
    size_t len = json_string_length(value);
    if (!json_is_string(value) || memchr(json_string_value(value), '\0', len)) {
        sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" is %s, expected a string%s", name, key,
                     sy_json_show(value, shown, sizeof shown), json_is_string(value) ? " without zero bytes" : "");
        return refuse(line, "invalid_value");
    }
    if (len > max) {
        sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" has %zu bytes, expected at most %zu", name, key, len, max);
        return refuse(line, "invalid_value");
    }
    *out = strndup(json_string_value(value), len);
    return *out ? SY_OK : no_memory(line, name, err);
}

static enum sy_status take_ids(const char *name, const char *key, const json_t *array, struct sy_batch_line *line,
                               struct sy_error *err)
{
    size_t n = json_array_size(array);
    char shown[80];

    if (n > SY_BATCH_TOKENS_MAX) {
        sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" has %zu token ids, expected at most %d", name, key, n,
                     SY_BATCH_TOKENS_MAX);
        return refuse(line, "invalid_value");
    }
    line->ids = malloc((n ? n : 1) * sizeof *line->ids);
    if (!line->ids)
        return no_memory(line, name, err);
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(array, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX) {
            sy_error_set(err, SY_ERR_DATA, "%s: \"%s\"[%zu] is %s, expected a token id%s", name, key, i,
                         sy_json_show(id, shown, sizeof shown),
                         json_is_string(id) || json_is_array(id) ? " (give each prompt a line of its own)" : "");
            return refuse(line, "invalid_value");
        }
        line->ids[i] = (int32_t)json_integer_value(id);
    }
    line->n_ids = (int)n;
    return SY_OK;
}

static enum sy_status take_prompt(const char *name, const json_t *body, const struct sy_batch_defaults *defaults,
                                  struct sy_batch_line *line, struct sy_error *err)
{
    const json_t *prompt = json_object_get(body, "prompt"), *text = json_object_get(body, "text");
    const char *key = "prompt", *both = defaults->score ? "\"prompt\" or \"text\"" : "\"prompt\"";
    char shown[80];

    /* null is as not there. */
    prompt = json_is_null(prompt) ? NULL : prompt;
    text = json_is_null(text) ? NULL : text;
    if (prompt && text) {
        sy_error_set(err, SY_ERR_DATA, "%s: has \"prompt\" and \"text\", expected one of them", name);
        return refuse(line, "invalid_value");
    }
    if (text) {
        prompt = text;
        key = "text";
    }
    if (!prompt) {
        sy_error_set(err, SY_ERR_DATA, "%s: has no %s", name, both);
        return refuse(line, "missing_prompt");
    }
    if (json_is_array(prompt)) {
        enum sy_status st = take_ids(name, key, prompt, line, err);
        if (st)
            return st;
    } else if (json_is_string(prompt)) {
        line->text_len = json_string_length(prompt);
        line->text = malloc(line->text_len + 1);
        if (!line->text)
            return no_memory(line, name, err);
        memcpy(line->text, json_string_value(prompt), line->text_len);
        line->text[line->text_len] = '\0';
    } else {
        sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" is %s, expected a string or an array of token ids", name, key,
                     sy_json_show(prompt, shown, sizeof shown));
        return refuse(line, "invalid_value");
    }
    if (line->text ? !line->text_len : !line->n_ids) {
        sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" is empty", name, key);
        return refuse(line, "empty_prompt");
    }
    return SY_OK;
}

static enum sy_status add_stop(const char *name, const json_t *value, struct sy_batch_line *line, struct sy_error *err)
{
    struct sy_batch_stop *stop = &line->stops[line->n_stops];
    char shown[80];

    if (!json_is_string(value) || !json_string_length(value)) {
        sy_error_set(err, SY_ERR_DATA, "%s: \"stop\" has %s, expected strings that are not empty", name,
                     sy_json_show(value, shown, sizeof shown));
        return refuse(line, "invalid_value");
    }
    stop->len = json_string_length(value);
    if (stop->len > SY_BATCH_STOP_BYTES_MAX) {
        sy_error_set(err, SY_ERR_DATA, "%s: a string of \"stop\" has %zu bytes, expected at most %d", name, stop->len,
                     SY_BATCH_STOP_BYTES_MAX);
        return refuse(line, "invalid_value");
    }
    stop->text = malloc(stop->len + 1);
    if (!stop->text)
        return no_memory(line, name, err);
    memcpy(stop->text, json_string_value(value), stop->len + 1);
    line->n_stops++;
    return SY_OK;
}

static enum sy_status take_stops(const char *name, const json_t *body, const struct sy_batch_defaults *defaults,
                                 struct sy_batch_line *line, struct sy_error *err)
{
    json_t *value = json_object_get(body, "stop");
    enum sy_status st = SY_OK;

    if (!value || json_is_null(value)) {
        if (!defaults->stop || !*defaults->stop)
            return SY_OK;
        line->stops[0].len = strlen(defaults->stop);
        line->stops[0].text = strdup(defaults->stop);
        line->n_stops = line->stops[0].text != NULL;
        return line->n_stops ? SY_OK : no_memory(line, name, err);
    }
    if (!json_is_array(value))
        return add_stop(name, value, line, err);
    if (json_array_size(value) > SY_BATCH_STOPS_MAX) {
        sy_error_set(err, SY_ERR_DATA, "%s: \"stop\" has %zu strings, expected at most %d", name,
                     json_array_size(value), SY_BATCH_STOPS_MAX);
        return refuse(line, "invalid_value");
    }
    for (size_t i = 0; i < json_array_size(value) && !st; i++)
        st = add_stop(name, json_array_get(value, i), line, err);
    return st;
}

/* How many of the most likely tokens are reported: in a chat "logprobs" is a boolean beside "top_logprobs". */
static enum sy_status take_logprobs(const char *name, const json_t *body, bool is_chat, int64_t *n,
                                    struct sy_error *err)
{
    int64_t n_top = -1;
    bool wanted = false;

    if (!is_chat)
        return sy_json_int(name, body, "logprobs", 0, 20, n, err);
    if (sy_json_bool(name, body, "logprobs", &wanted, err) ||
        sy_json_int(name, body, "top_logprobs", 0, 20, &n_top, err))
        return SY_ERR_DATA;
    if (n_top >= 0 && !wanted)
        return sy_error_set(err, SY_ERR_DATA, "%s: \"top_logprobs\" needs \"logprobs\": true", name);
    if (wanted)
        *n = n_top < 0 ? 0 : n_top;
    return SY_OK;
}

static enum sy_status take_sampling(const char *name, const json_t *body, const struct sy_batch_defaults *defaults,
                                    struct sy_batch_line *line, struct sy_error *err)
{
    int64_t max_tokens = line->chat ? defaults->chat_max_tokens : defaults->max_tokens, top_k = defaults->top_k,
            seed = defaults->seed, logprobs = -1;
    double temperature = defaults->temperature, top_p = defaults->top_p;

    line->ignore_eos = defaults->ignore_eos;
    if (sy_json_int(name, body, "max_tokens", 0, SY_BATCH_TOKENS_MAX, &max_tokens, err) ||
        sy_json_real(name, body, "temperature", 0, 100, &temperature, err) ||
        sy_json_real(name, body, "top_p", 0, 1, &top_p, err) ||
        sy_json_int(name, body, "top_k", -1, INT32_MAX, &top_k, err) ||
        sy_json_int(name, body, "seed", INT64_MIN, INT64_MAX, &seed, err) ||
        take_logprobs(name, body, line->chat, &logprobs, err) ||
        (line->chat && sy_json_int(name, body, "max_completion_tokens", 0, SY_BATCH_TOKENS_MAX, &max_tokens, err)) ||
        sy_json_bool(name, body, "echo", &line->echo, err) ||
        sy_json_bool(name, body, "ignore_eos", &line->ignore_eos, err) ||
        sy_json_bool(name, body, "return_token_ids", &line->return_token_ids, err))
        return refuse(line, "invalid_value");
    line->max_tokens = (int)max_tokens;
    line->temperature = (float)temperature;
    /* The most likely token is always kept, so 0 means that token alone, as in the API. */
    line->top_p = top_p > (double)FLT_MIN ? (float)top_p : FLT_MIN;
    line->top_k = top_k < 0 ? 0 : (int)top_k;
    line->seed = (uint64_t)seed;
    line->n_logprobs = (int)logprobs;
    return SY_OK;
}

/* The envelope around a body. */
static enum sy_status check_envelope(const char *name, const json_t *root, struct sy_batch_line *line,
                                     struct sy_error *err)
{
    static const char *const keys[] = {"custom_id", "method", "url", "body"};
    const json_t *method = json_object_get(root, "method"), *url = json_object_get(root, "url");
    const char *target = json_string_value(url);
    char shown[80];

    for (void *iter = json_object_iter((json_t *)root); iter; iter = json_object_iter_next((json_t *)root, iter))
        if (!among(json_object_iter_key(iter), keys, COUNT(keys))) {
            sy_error_set(err, SY_ERR_DATA, "%s: the field \"%.80s\" beside \"body\" is not supported", name,
                         json_object_iter_key(iter));
            return refuse(line, "unsupported_field");
        }
    if (method && (!json_is_string(method) || strcmp(json_string_value(method), "POST"))) {
        sy_error_set(err, SY_ERR_DATA, "%s: \"method\" is %s, expected \"POST\"", name,
                     sy_json_show(method, shown, sizeof shown));
        return refuse(line, "invalid_value");
    }
    bool is_chat = target && !strcmp(target, "/v1/chat/completions");
    if (url && !is_chat && (!target || strcmp(target, "/v1/completions"))) {
        sy_error_set(err, SY_ERR_DATA, "%s: \"url\" is %s, expected \"/v1/completions\" or \"/v1/chat/completions\"",
                     name, sy_json_show(url, shown, sizeof shown));
        return refuse(line, "unsupported_url");
    }
    if (!json_is_object(json_object_get(root, "body"))) {
        sy_error_set(err, SY_ERR_DATA, "%s: \"body\" is %s, expected an object", name,
                     sy_json_show(json_object_get(root, "body"), shown, sizeof shown));
        return refuse(line, "invalid_value");
    }
    if (url && is_chat != (json_object_get(json_object_get(root, "body"), "messages") != NULL)) {
        sy_error_set(err, SY_ERR_DATA, "%s: \"messages\" go to /v1/chat/completions, and nothing else does", name);
        return refuse(line, is_chat ? "missing_prompt" : "unsupported_field");
    }
    return SY_OK;
}

static enum sy_status parse_root(const char *name, const json_t *root, const struct sy_batch_defaults *defaults,
                                 struct sy_batch_line *line, struct sy_error *err)
{
    const json_t *body = json_object_get(root, "body");
    enum sy_status st = take_string(name, root, "custom_id", SY_BATCH_ID_BYTES_MAX, line, &line->custom_id, err);

    if (st)
        return st;
    bool bare = !body;
    if (bare)
        body = root;
    else
        st = check_envelope(name, root, line, err);
    bool is_chat = json_object_get(body, "messages") != NULL;
    if (!st && is_chat && defaults->score) {
        sy_error_set(err, SY_ERR_DATA, "%s: \"messages\" is a chat, which score does not take; send text as \"prompt\"",
                     name);
        st = refuse(line, "unsupported_field");
    }
    if (!st)
        st = check_fields(name, body, defaults, bare, line, err);
    if (!st)
        st = take_string(name, body, "model", SY_BATCH_ID_BYTES_MAX, line, &line->model, err);
    if (!st && defaults->score)
        st = take_string(name, body, "domain", SY_BATCH_ID_BYTES_MAX, line, &line->domain, err);
    if (!st)
        st = is_chat ? sy_chat_line_take(name, body, line, err) : take_prompt(name, body, defaults, line, err);
    if (!st)
        st = take_sampling(name, body, defaults, line, err);
    if (!st)
        st = take_stops(name, body, defaults, line, err);
    return st;
}

enum sy_status sy_batch_parse(const char *name, const char *json, size_t len, const struct sy_batch_defaults *defaults,
                              struct sy_batch_line *line, struct sy_error *err)
{
    json_t *root = NULL;
    char shown[80];

    *line = (struct sy_batch_line){.n_logprobs = -1};
    if (len > SY_BATCH_LINE_BYTES_MAX) {
        sy_error_set(err, SY_ERR_DATA, "%s: the line has %zu bytes, expected at most %zu", name, len,
                     SY_BATCH_LINE_BYTES_MAX);
        return refuse(line, "line_too_long");
    }
    if (sy_json_parse(name, json, len, SY_BATCH_DEPTH_MAX, &root, err))
        return refuse(line, "invalid_json");
    enum sy_status st;
    if (!json_is_object(root)) {
        sy_error_set(err, SY_ERR_DATA, "%s: the line is %s, expected an object", name,
                     sy_json_show(root, shown, sizeof shown));
        st = refuse(line, "invalid_json");
    } else {
        st = parse_root(name, root, defaults, line, err);
    }
    json_decref(root);
    return st;
}

void sy_batch_line_fini(struct sy_batch_line *line)
{
    free(line->custom_id);
    free(line->model);
    free(line->domain);
    free(line->text);
    free(line->ids);
    sy_chat_line_destroy(line->chat);
    for (int i = 0; i < line->n_stops; i++)
        free(line->stops[i].text);
    memset(line, 0, sizeof *line);
}
