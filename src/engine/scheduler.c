/* SPDX-License-Identifier: Apache-2.0
 * scheduler.c - continuous batching with chunked prefill and preemption
 */
#include "engine/scheduler.h"

#include <stdlib.h>
#include <string.h>

/* Free pages for each running sequence before another one enters. More means fewer preemptions and smaller batches. */
#define HEADROOM_PAGES 3

enum sy_status sy_scheduler_init(struct sy_scheduler *scheduler, struct sy_kv_cache *cache, int max_tokens,
                                 int max_sequences, int prefill_chunk, int short_context, struct sy_error *err)
{
    size_t T = (size_t)max_tokens, S = (size_t)max_sequences;

    *scheduler = (struct sy_scheduler){.cache = cache,
                                       .max_tokens = max_tokens,
                                       .max_sequences = max_sequences,
                                       .prefill_chunk = prefill_chunk,
                                       .short_context = short_context};
    scheduler->running = calloc(S, sizeof *scheduler->running);
    scheduler->batch.ids = calloc(T, sizeof *scheduler->batch.ids);
    scheduler->batch.spans = calloc(S, sizeof *scheduler->batch.spans);
    bool enough = scheduler->running && scheduler->batch.ids && scheduler->batch.spans;
    for (int kind = 0; kind < SY_N_KV_KINDS; kind++) {
        scheduler->batch.rows[kind] = calloc(T, sizeof *scheduler->batch.rows[kind]);
        enough = enough && scheduler->batch.rows[kind];
    }
    if (enough)
        return SY_OK;
    sy_scheduler_fini(scheduler);
    return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the scheduler");
}

void sy_scheduler_fini(struct sy_scheduler *scheduler)
{
    for (int i = 0; i < scheduler->n_running; i++)
        sy_sequence_destroy(scheduler->running[i]);
    for (struct sy_sequence *s = scheduler->waiting, *next; s; s = next) {
        next = s->next;
        sy_sequence_destroy(s);
    }
    free(scheduler->running);
    free(scheduler->batch.ids);
    for (int kind = 0; kind < SY_N_KV_KINDS; kind++)
        free(scheduler->batch.rows[kind]);
    free(scheduler->batch.spans);
    *scheduler = (struct sy_scheduler){0};
}

/* Waiting sequences stay in order of arrival, so one that was preempted goes before younger ones. */
static void wait_in_order(struct sy_scheduler *scheduler, struct sy_sequence *sequence)
{
    struct sy_sequence **at = &scheduler->waiting;

    if (scheduler->waiting_tail && scheduler->waiting_tail->arrival < sequence->arrival)
        at = &scheduler->waiting_tail->next;
    while (*at && (*at)->arrival < sequence->arrival)
        at = &(*at)->next;
    sequence->next = *at;
    *at = sequence;
    if (!sequence->next)
        scheduler->waiting_tail = sequence;
}

void sy_scheduler_add(struct sy_scheduler *scheduler, struct sy_sequence *sequence)
{
    sequence->arrival = scheduler->n_arrivals++;
    wait_in_order(scheduler, sequence);
}

static void give_pages(struct sy_scheduler *scheduler, struct sy_sequence *sequence)
{
    for (int kind = 0; kind < SY_N_KV_KINDS; kind++) {
        struct sy_kv_pages *kv = &sequence->kv[kind];
        while (kv->end > kv->begin)
            sy_kv_cache_give(scheduler->cache, kv->pages[--kv->end]);
        kv->begin = kv->end = 0;
    }
    sequence->n_computed = 0;
}

/* Give back the pages that no position to come sees. */
static void give_passed(struct sy_scheduler *scheduler, struct sy_sequence *sequence)
{
    for (int kind = 0; kind < SY_N_KV_KINDS; kind++) {
        struct sy_kv_pages *kv = &sequence->kv[kind];
        int first = sy_kv_first_page(&scheduler->cache->plan, (enum sy_kv_kind)kind, sequence->n_computed);
        for (; kv->begin < first && kv->begin < kv->end; kv->begin++) {
            sy_kv_cache_give(scheduler->cache, kv->pages[kv->begin]);
            kv->pages[kv->begin] = -1;
        }
    }
}

static int held(const struct sy_sequence *sequence)
{
    int n = 0;

    for (int kind = 0; kind < SY_N_KV_KINDS; kind++)
        n += sequence->kv[kind].end - sequence->kv[kind].begin;
    return n;
}

static void stop_running(struct sy_scheduler *scheduler, int i)
{
    memmove(scheduler->running + i, scheduler->running + i + 1,
            (size_t)(scheduler->n_running - i - 1) * sizeof *scheduler->running);
    scheduler->n_running--;
}

/* A kind of which a sequence has fewer than n_pages pages, those given back included; NULL: none. */
static struct sy_kv_pages *lacking(const struct sy_scheduler *scheduler, struct sy_sequence *sequence, int n_pages)
{
    for (int kind = 0; kind < SY_N_KV_KINDS; kind++)
        if (scheduler->cache->plan.n_layers[kind] && sequence->kv[kind].end < n_pages)
            return &sequence->kv[kind];
    return NULL;
}

/* Pages for positions up to n - 1 of a sequence. Takes them from younger running sequences when none are free; false when
 * only older ones are left. Sequences already in the batch of this step are older, so they keep theirs. */
static bool ensure_pages(struct sy_scheduler *scheduler, struct sy_sequence *sequence, int n)
{
    struct sy_kv_pages *kv;

    while ((kv = lacking(scheduler, sequence, sy_kv_pages(n)))) {
        int32_t page = sy_kv_cache_take(scheduler->cache);
        if (page >= 0) {
            kv->pages[kv->end++] = page;
            continue;
        }
        struct sy_sequence *youngest = scheduler->running[scheduler->n_running - 1];
        if (youngest == sequence)
            return false;
        stop_running(scheduler, scheduler->n_running - 1);
        give_pages(scheduler, youngest);
        wait_in_order(scheduler, youngest);
        scheduler->n_preemptions++;
    }
    return true;
}

static void add_span(struct sy_scheduler *scheduler, struct sy_sequence *sequence, int n)
{
    struct sy_batch *batch = &scheduler->batch;
    int turn = sequence->n_tokens > scheduler->short_context ? scheduler->short_context : 0;

    batch->spans[batch->n_spans++] = (struct sy_span){
        sequence, batch->T, n, sequence->n_computed, sequence->request.max_tokens == 0};
    for (int i = 0; i < n; i++) {
        int position = sequence->n_computed + i;
        batch->ids[batch->T + i] = sequence->tokens[position];
        for (int kind = 0; kind < SY_N_KV_KINDS; kind++)
            batch->rows[kind][batch->T + i] = (struct sy_attention_row){sequence->kv[kind].pages, position, turn};
    }
    batch->T += n;
    if (n == 1 && sequence->n_computed >= sequence->request.n_prompt)
        batch->n_decode++;
    else
        batch->n_prefill += n;
}

/* Tokens that a sequence wants next: one, or a chunk up to the next multiple of prefill_chunk. */
static int next_tokens(const struct sy_scheduler *scheduler, const struct sy_sequence *sequence)
{
    int left = sequence->n_tokens - sequence->n_computed;
    int to_cut = scheduler->prefill_chunk - sequence->n_computed % scheduler->prefill_chunk;

    return left < to_cut ? left : to_cut;
}

/* The youngest running sequence could not get pages: it waits. */
static void preempt_last(struct sy_scheduler *scheduler)
{
    struct sy_sequence *sequence = scheduler->running[--scheduler->n_running];

    give_pages(scheduler, sequence);
    wait_in_order(scheduler, sequence);
    scheduler->n_preemptions++;
}

/* Pages that a sequence may want before long: for all the tokens that it knows, and some to grow. Sequences that enter a
 * cache without room for those that run are soon thrown out again, and what was computed for them is computed twice. */
static int wanted_pages(const struct sy_scheduler *scheduler, const struct sy_sequence *sequence)
{
    int left = sequence->max_tokens - sequence->n_tokens, more = HEADROOM_PAGES * SY_KV_PAGE;

    return sy_kv_held_all(&scheduler->cache->plan, sequence->n_tokens + (left < more ? left : more),
                          scheduler->prefill_chunk);
}

/* Move waiting sequences to the running ones while there is room for all the tokens that they know and one more, beside
 * what the running ones may want. Then there is something left for those that run already. */
static void admit(struct sy_scheduler *scheduler)
{
    int promised = 0; /* pages that running sequences may want and do not have */

    for (int i = 0; i < scheduler->n_running; i++)
        promised += wanted_pages(scheduler, scheduler->running[i]) - held(scheduler->running[i]);
    while (scheduler->waiting && scheduler->n_running < scheduler->max_sequences) {
        struct sy_sequence *sequence = scheduler->waiting;
        int n_pages = sy_kv_held_all(&scheduler->cache->plan,
                                     sequence->n_tokens + (sequence->n_tokens < sequence->max_tokens),
                                     scheduler->prefill_chunk);
        if (promised + n_pages > scheduler->cache->n_free)
            return;
        promised += wanted_pages(scheduler, sequence);
        scheduler->waiting = sequence->next;
        if (!scheduler->waiting)
            scheduler->waiting_tail = NULL;
        sequence->next = NULL;
        /* Running sequences stand in order of arrival too: a preempted one may be older than some. */
        int at = scheduler->n_running++;
        for (; at && scheduler->running[at - 1]->arrival > sequence->arrival; at--)
            scheduler->running[at] = scheduler->running[at - 1];
        scheduler->running[at] = sequence;
    }
}

void sy_scheduler_plan(struct sy_scheduler *scheduler)
{
    struct sy_batch *batch = &scheduler->batch;
    int reserved = 0; /* decode tokens of running sequences, which go before prompts */

    batch->T = batch->n_spans = batch->n_prefill = batch->n_decode = 0;
    for (int i = 0; i < scheduler->n_running; i++)
        give_passed(scheduler, scheduler->running[i]);
    admit(scheduler);
    for (int i = 0; i < scheduler->n_running; i++)
        reserved += next_tokens(scheduler, scheduler->running[i]) == 1;
    /* Oldest first, so that pages move from the young to the old. */
    for (int i = 0; i < scheduler->n_running; i++) {
        struct sy_sequence *sequence = scheduler->running[i];
        int n = next_tokens(scheduler, sequence);
        if (n == 1 ? reserved-- < 1 : batch->T + n + reserved > scheduler->max_tokens)
            continue;
        if (!ensure_pages(scheduler, sequence, sequence->n_computed + n)) {
            preempt_last(scheduler);
            return;
        }
        add_span(scheduler, sequence, n);
    }
}

void sy_scheduler_append(struct sy_scheduler *scheduler, struct sy_sequence *sequence, int32_t token)
{
    bool crosses = sequence->n_tokens == scheduler->short_context;

    sequence->tokens[sequence->n_tokens++] = token;
    if (crosses)
        give_pages(scheduler, sequence);
}

struct sy_sequence *sy_scheduler_find(const struct sy_scheduler *scheduler, uint64_t request_id)
{
    for (int i = 0; i < scheduler->n_running; i++)
        if (scheduler->running[i]->request.id == request_id)
            return scheduler->running[i];
    for (struct sy_sequence *s = scheduler->waiting; s; s = s->next)
        if (s->request.id == request_id)
            return s;
    return NULL;
}

void sy_scheduler_remove(struct sy_scheduler *scheduler, struct sy_sequence *sequence)
{
    for (int i = 0; i < scheduler->n_running; i++)
        if (scheduler->running[i] == sequence) {
            stop_running(scheduler, i);
            break;
        }
    struct sy_sequence *before = NULL;
    for (struct sy_sequence *s = scheduler->waiting; s; before = s, s = s->next)
        if (s == sequence) {
            *(before ? &before->next : &scheduler->waiting) = s->next;
            if (scheduler->waiting_tail == s)
                scheduler->waiting_tail = before;
            break;
        }
    give_pages(scheduler, sequence);
    sy_sequence_destroy(sequence);
}
