/* SPDX-License-Identifier: Apache-2.0
 * batch.h - one line of a batch file: from hostile JSON to a request
 *
 * A line is {"custom_id", "method", "url", "body"} as in the OpenAI batch format, or just a body with an optional
 * custom_id beside its fields. For score a text may stand in "text" and a "domain" may be named.
 * A body with "messages" is a chat (chat_line.h).
 * Pure: no session, no tokenizer, no file. The caller owns the line (sy_batch_line_fini()).
 */
#ifndef SY_CLI_BATCH_H
#define SY_CLI_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Limits on hostile input. */
#define SY_BATCH_LINE_BYTES_MAX ((size_t)64 << 20)
#define SY_BATCH_DEPTH_MAX 32
#define SY_BATCH_ID_BYTES_MAX 1024
#define SY_BATCH_STOPS_MAX 16
#define SY_BATCH_STOP_BYTES_MAX 4096
#define SY_BATCH_TOKENS_MAX ((1 << 24) - 1)

/* What a line that does not say gets. */
struct sy_batch_defaults {
    bool score; /* "text" and "domain" are known too */
    int max_tokens, top_k;
    int chat_max_tokens; /* max_tokens of a chat */
    double temperature, top_p;
    int64_t seed;
    bool ignore_eos;
    const char *stop; /* NULL: none */
};

struct sy_batch_stop {
    char *text;
    size_t len;
};

struct sy_batch_line {
    char *custom_id; /* NULL: the line has none */
    char *model;     /* the body's, NULL: none */
    char *domain;    /* NULL: none */
    char *text;      /* prompt as text, NULL if it is ids; text_len bytes of UTF-8 */
    size_t text_len;
    struct sy_chat_line *chat; /* NULL: no chat, else there is neither text nor ids */
    int32_t *ids;    /* [n_ids] */
    int n_ids;
    int max_tokens, top_k, n_logprobs; /* n_logprobs -1: none asked for */
    float temperature, top_p;
    uint64_t seed;
    bool echo, ignore_eos, return_token_ids;
    struct sy_batch_stop stops[SY_BATCH_STOPS_MAX];
    int n_stops;
    const char *error_code; /* after SY_ERR_DATA: a short name for programs, a static string */
};

/* Parse len bytes of JSON; name ("FILE:17") stands before messages. On SY_ERR_DATA the line has what was understood before
 * the mistake (custom_id, if it could be read) and error_code; it must be freed all the same. */
enum sy_status sy_batch_parse(const char *name, const char *json, size_t len, const struct sy_batch_defaults *defaults,
                              struct sy_batch_line *line, struct sy_error *err);

void sy_batch_line_fini(struct sy_batch_line *line);

#endif
