/* SPDX-License-Identifier: Apache-2.0
 * draws.c - tokens and log-probabilities are the same whether the host sees all logits or the few that are picked
 *
 * Without a GPU the kernels of the CPU pass for a device's, with the picks of the reference.
 */
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tap.h"
#include "tap_mpi.h"

#define N_REQUESTS 24
#define EVENTS_MAX 4096

/* What a session said, in order of request and position. */
struct events {
    struct {
        uint64_t id;
        int position;
        int32_t token, top_ids[SY_TOP_LOGPROBS_MAX];
        double logprob;
        int n_top;
        float top_logprobs[SY_TOP_LOGPROBS_MAX];
    } items[EVENTS_MAX];
    int n;
};

static struct sy_kernels seen, picked, cramped;
static struct events all, few, fewer;
static int n_picks, n_copied; /* picks that were asked for; bytes of logits that came to the host, in rows */
static size_t row_bytes;

static void pick_logits(struct sy_queue *q, const float *logits, int V, const struct sy_logit_scan *scans,
                        struct sy_logit_pick *picks, int n)
{
    picked.pick_logits(q, logits, V, scans, picks, n);
    n_picks += n;
}

/* Room for hardly anything. */
static void pick_few(struct sy_queue *q, const float *logits, int V, const struct sy_logit_scan *scans,
                     struct sy_logit_pick *picks, int n)
{
    for (int i = 0; i < n; i++)
        picks[i].room = 5;
    picked.pick_logits(q, logits, V, scans, picks, n);
}

static void copy(struct sy_queue *q, void *dst, const void *src, size_t bytes)
{
    n_copied += bytes == row_bytes;
    seen.copy(q, dst, src, bytes);
}

static void on_token(void *ctx, const struct sy_token_event *event)
{
    struct events *events = ctx;

    if (events->n == EVENTS_MAX)
        bail("more than %d events", EVENTS_MAX);
    if (event->token < 0)
        return;
    events->items[events->n].id = event->request_id;
    events->items[events->n].position = event->position;
    events->items[events->n].token = event->token;
    events->items[events->n].logprob = event->has_logprob ? event->logprob : 0;
    events->items[events->n].n_top = event->n_top;
    for (int i = 0; i < event->n_top; i++) {
        events->items[events->n].top_ids[i] = event->top_ids[i];
        events->items[events->n].top_logprobs[i] = event->top_logprobs[i];
    }
    events->n++;
}

/* Greedy, drawn in every way, with and without log-probabilities, and prompts that are scored. */
static enum sy_status submit(struct sy_session *session, int vocab, struct sy_error *err)
{
    static const float temperatures[] = {0, 1, 0.7f, 1.5f}, top_p[] = {1, 0.9f, 1, 0.99f, 0.5f};
    static const int top_k[] = {0, 0, 0, 5, 100};
    int32_t prompt[40];
    enum sy_status st = SY_OK;

    for (int i = 0; i < 40; i++)
        prompt[i] = (i * 7919 + 13) % vocab;
    for (int i = 0; i < N_REQUESTS && !st; i++)
        st = sy_session_submit(session,
                               &(struct sy_request){.id = (uint64_t)i,
                                                    .prompt = prompt + i % 7,
                                                    .n_prompt = 5 + i,
                                                    .max_tokens = i % 11 == 3 ? 0 : 12,
                                                    .temperature = temperatures[i % 4],
                                                    .top_p = top_p[i % 5],
                                                    .top_k = top_k[i * 3 % 5],
                                                    .seed = (uint64_t)i * 77,
                                                    .n_logprobs = i % 3 ? i % 3 == 1 ? 0 : 7 : -1,
                                                    .echo = i % 2 == 1,
                                                    .ignore_eos = true},
                               err);
    return st;
}

static int by_place(const void *a, const void *b)
{
    const struct events *x = a, *y = b; /* the first item's place is the struct's */

    if (x->items[0].id != y->items[0].id)
        return x->items[0].id < y->items[0].id ? -1 : 1;
    return x->items[0].position - y->items[0].position;
}

static void run(struct sy_group *group, struct fixture *fixture, const struct sy_kernels *kernels, struct events *to)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_session_config config;
    struct sy_session *session;

    sy_session_config_init(&config);
    config.kernels = kernels;
    config.n_threads = 2;
    config.kv_bytes_max = 16u << 20;
    config.on_token = on_token;
    config.ctx = to;
    enum sy_status st = sy_session_create(group, fixture->ckpt, fixture->model, &config, &session, &err);
    if (!st)
        st = submit(session, fixture->model->vocab, &err);
    n_picks = n_copied = 0;
    if (!st)
        st = fixture_run(session, &err);
    int copied = n_copied;
    if (!st)
        st = fixture_end(session, &err);
    if (st)
        bail("%s", err.text);
    n_copied = copied;
    sy_session_destroy(session);
    qsort(to->items, (size_t)to->n, sizeof to->items[0], by_place);
}

static bool same(const struct events *a, const struct events *b)
{
    bool equal = a->n == b->n;

    for (int i = 0; i < a->n && equal; i++)
        equal = !memcmp(&a->items[i], &b->items[i], sizeof a->items[i]);
    return equal;
}

int main(int argc, char **argv)
{
    struct sy_group *group = tap_mpi_begin(&argc, &argv, 60000);
    struct fixture fixture;

    plan(7);
    if (!fixture_open(&fixture, "tests/data/demo"))
        bail("the demo does not open");
    row_bytes = (size_t)fixture.model->vocab * sizeof(float);
    seen = picked = *fixture_kernels();
    seen.pick_logits = NULL;
    if (!picked.on_device) {
        picked.on_device = true;
        picked.pick_logits = sy_kernels_ref()->pick_logits;
    }
    cramped = picked;
    cramped.pick_logits = pick_few;
    cramped.copy = copy;
    struct sy_kernels watched = picked;
    watched.pick_logits = pick_logits;
    watched.copy = copy;
    run(group, &fixture, &seen, &all);
    ok(all.n > 200, "%d tokens", all.n);
    run(group, &fixture, &watched, &few);
    ok(same(&all, &few), "the same tokens and log-probabilities from picks");
    ok(n_picks > 150, "which were %d", n_picks);
    is_int(n_copied, 0, "and no row of logits came to the host");
    run(group, &fixture, &cramped, &fewer);
    ok(same(&all, &fewer), "the same where picks have no room");
    ok(n_copied > 50, "and %d rows came to the host", n_copied);
    int n_other = 0;
    for (int i = 0; i < all.n; i++)
        n_other += all.items[i].id % 4 && all.items[i].token != all.items[i ? i - 1 : 0].token;
    ok(n_other > 100, "tokens differ");
    fixture_close(&fixture);
    return tap_mpi_end(group);
}
