/* SPDX-License-Identifier: Apache-2.0
 * protocol.c - requests and events as bytes
 */
#include "engine/protocol.h"

bool sy_put_request(struct sy_buf *buf, int rank, const struct sy_request *request)
{
    int32_t to = rank;

    /* Both ends are the same program: the struct goes as it is, its pointer is set anew by the receiver. */
    return sy_buf_append(buf, &to, sizeof to) && sy_buf_append(buf, request, sizeof *request) &&
           sy_buf_append(buf, request->prompt, (size_t)request->n_prompt * sizeof *request->prompt);
}

bool sy_take_request(struct sy_cursor *cursor, int *rank, struct sy_request *request)
{
    int32_t to;

    if (!sy_cursor_take(cursor, &to, sizeof to) || !sy_cursor_take(cursor, request, sizeof *request))
        return false;
    size_t bytes = (size_t)request->n_prompt * sizeof *request->prompt;
    if (request->n_prompt < 1 || bytes > cursor->len - cursor->at)
        return false;
    request->prompt = (const int32_t *)(const void *)(cursor->data + cursor->at);
    cursor->at += bytes;
    *rank = to;
    return true;
}

size_t sy_report_bytes(int n_events)
{
    size_t top = SY_TOP_LOGPROBS_MAX * (sizeof(int32_t) + sizeof(float));

    return sizeof(struct sy_step_report) + (size_t)n_events * (sizeof(struct sy_token_event) + top);
}

bool sy_put_event(struct sy_buf *buf, const struct sy_token_event *event)
{
    size_t n = (size_t)event->n_top;

    return sy_buf_append(buf, event, sizeof *event) && sy_buf_append(buf, event->top_ids, n * sizeof *event->top_ids) &&
           sy_buf_append(buf, event->top_logprobs, n * sizeof *event->top_logprobs);
}

bool sy_take_event(struct sy_cursor *cursor, struct sy_token_event *event, int32_t *top_ids, float *top_logprobs)
{
    if (!sy_cursor_take(cursor, event, sizeof *event) || event->n_top < 0 || event->n_top > SY_TOP_LOGPROBS_MAX ||
        !sy_cursor_take(cursor, top_ids, (size_t)event->n_top * sizeof *top_ids) ||
        !sy_cursor_take(cursor, top_logprobs, (size_t)event->n_top * sizeof *top_logprobs))
        return false;
    event->top_ids = top_ids;
    event->top_logprobs = top_logprobs;
    return true;
}
