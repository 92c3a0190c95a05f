/* SPDX-License-Identifier: Apache-2.0
 * scheduler.c - batches, chunks cut at fixed places, preemption, and no page lost or held twice
 */
#include "engine/scheduler.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "testrand.h"

static struct sy_scheduler scheduler;
static struct sy_kv_cache cache;

static void add(uint64_t id, int n_prompt, int max_tokens)
{
    int32_t *prompt = calloc((size_t)n_prompt, sizeof *prompt);

    for (int i = 0; i < n_prompt; i++)
        prompt[i] = (int32_t)id;
    struct sy_request request = {.id = id, .prompt = prompt, .n_prompt = n_prompt, .max_tokens = max_tokens};
    sy_scheduler_add(&scheduler, sy_sequence_create(&request, 1 << 20));
    free(prompt);
}

/* Every page is free or in one sequence's list, once. */
static bool pages_add_up(void)
{
    char *seen = calloc((size_t)cache.n_pages, 1);
    bool right = true;

    for (int i = 0; i < cache.n_free; i++)
        right &= !seen[cache.free_pages[i]]++;
    for (int i = 0; i < scheduler.n_running; i++)
        for (int kind = 0; kind < SY_N_KV_KINDS; kind++) {
            const struct sy_kv_pages *kv = &scheduler.running[i]->kv[kind];
            for (int p = kv->begin; p < kv->end; p++)
                right &= !seen[kv->pages[p]]++;
        }
    for (const struct sy_sequence *s = scheduler.waiting; s; s = s->next)
        right &= s->kv[SY_KV_FULL].end == 0 && s->kv[SY_KV_WINDOW].end == 0;
    for (int p = 0; p < cache.n_pages; p++)
        right &= seen[p] == 1;
    free(seen);
    return right;
}

/* Positions first .. last have pages of each kind that there is, and so have those that they see; what no window reaches
 * has gone back, but for what shares a page with it. */
static bool pages_reach(const struct sy_sequence *sequence, int first, int last)
{
    bool right = true;

    for (int kind = 0; kind < SY_N_KV_KINDS; kind++) {
        const struct sy_kv_pages *kv = &sequence->kv[kind];
        int seen = kind == SY_KV_WINDOW && first >= cache.plan.window ? first - cache.plan.window + 1 : 0;
        if (cache.plan.n_layers[kind])
            right &= kv->begin == seen / SY_KV_PAGE && kv->end == last / SY_KV_PAGE + 1;
        else
            right &= kv->end == 0;
    }
    return right;
}

/* Rows of a batch are consecutive positions of known tokens, chunks do not cross a cut, and pages are there. */
static bool batch_is_right(const struct sy_batch *batch)
{
    int T = 0;

    for (int s = 0; s < batch->n_spans; s++) {
        const struct sy_span *span = &batch->spans[s];
        const struct sy_sequence *sequence = span->sequence;
        int last = span->first_position + span->n_rows - 1;
        if (span->first_row != T || span->n_rows < 1 || last >= sequence->n_tokens ||
            span->first_position != sequence->n_computed || !pages_reach(sequence, span->first_position, last) ||
            span->first_position / scheduler.prefill_chunk != last / scheduler.prefill_chunk)
            return false;
        for (int i = 0; i < span->n_rows; i++)
            for (int kind = 0; kind < SY_N_KV_KINDS; kind++)
                if (batch->rows[kind][T + i].position != span->first_position + i ||
                    batch->rows[kind][T + i].pages != sequence->kv[kind].pages ||
                    batch->rows[kind][T + i].turn !=
                        (sequence->n_tokens > scheduler.short_context ? scheduler.short_context : 0) ||
                    batch->ids[T + i] != (int32_t)sequence->request.id)
                    return false;
        T += span->n_rows;
    }
    return T == batch->T && T <= scheduler.max_tokens && batch->n_prefill + batch->n_decode == T &&
           batch->n_spans <= scheduler.max_sequences;
}

/* Play the engine: compute the batch, add a token to what is complete, end what is long enough. */
static int play(void)
{
    struct sy_sequence *over[64];
    int n_over = 0;

    for (int s = 0; s < scheduler.batch.n_spans; s++) {
        struct sy_sequence *sequence = scheduler.batch.spans[s].sequence;
        sequence->n_computed += scheduler.batch.spans[s].n_rows;
        if (sequence->n_computed < sequence->n_tokens)
            continue;
        sy_scheduler_append(&scheduler, sequence, (int32_t)sequence->request.id);
        if (sequence->n_tokens == sequence->max_tokens)
            over[n_over++] = sequence;
    }
    for (int i = 0; i < n_over; i++)
        sy_scheduler_remove(&scheduler, over[i]);
    return n_over;
}

/* 300 random requests through 24 pages; those longer than short_context turn otherwise. */
static void test_random(struct testrand *rand, const struct sy_kv_plan *plan, int short_context, const char *what)
{
    int n_added = 0, n_over = 0, n_steps = 0, wrong_batches = 0, wrong_pages = 0;
    struct sy_error err = SY_ERROR_INIT;
    size_t page = sy_kv_page_bytes(sy_kernels_ref(), plan);

    ok(!sy_kv_cache_init(&cache, sy_kernels_ref(), plan, 24 * page + 5, &err), "%s: a cache of 24 pages", what);
    is_int(cache.n_pages, 24, "%s: has 24 pages", what);
    sy_scheduler_init(&scheduler, &cache, 64, 10, 32, short_context, &err);
    while (n_over < 300 && n_steps < 100000) {
        while (n_added < 300 && testrand_next(rand) % 3) {
            int n_prompt = 1 + (int)(testrand_next(rand) % 150), n_new = 1 + (int)(testrand_next(rand) % 100);
            add((uint64_t)n_added++, n_prompt, n_new);
        }
        sy_scheduler_plan(&scheduler);
        wrong_batches += !batch_is_right(&scheduler.batch);
        wrong_pages += !pages_add_up();
        n_over += play();
        n_steps++;
    }
    is_int(n_over, 300, "%s: 300 random requests are served in %d steps", what, n_steps);
    is_int(wrong_batches, 0, "%s: every batch is well-formed", what);
    is_int(wrong_pages, 0, "%s: every page has one owner", what);
    /* Without layers that keep everything a sequence's pages have a bound, which it is admitted for. */
    ok((scheduler.n_preemptions > 0) == (plan->n_layers[SY_KV_FULL] > 0), "%s: there were %llu preemptions", what,
       (unsigned long long)scheduler.n_preemptions);
    is_int(cache.n_free, 24, "%s: all pages are free in the end", what);
}

static void end(void)
{
    sy_scheduler_fini(&scheduler);
    sy_kv_cache_fini(&cache);
}

/* A long sequence through few pages. */
static void test_long(const struct sy_kv_plan *plan)
{
    struct sy_error err = SY_ERROR_INIT;
    int n_held = sy_kv_held(plan, SY_KV_WINDOW, 1000, 32), n_steps = 0, most = 0;

    is_int(n_held, 5, "a window of 20 and chunks of 32 are on 5 pages at most");
    sy_kv_cache_init(&cache, sy_kernels_ref(), plan, (size_t)n_held * sy_kv_page_bytes(sy_kernels_ref(), plan), &err);
    sy_scheduler_init(&scheduler, &cache, 64, 10, 32, INT_MAX, &err);
    add(1, 700, 300);
    do {
        sy_scheduler_plan(&scheduler);
        most = most > cache.n_pages - cache.n_free ? most : cache.n_pages - cache.n_free;
        n_steps++;
    } while (!play() && n_steps < 2000);
    ok(n_steps < 2000 && most <= n_held, "1000 tokens go through %d pages (%d used)", n_held, most);
    is_int((int)scheduler.n_preemptions, 0, "without preemption");
    end();
}

/* A sequence that grows past the short context is computed again from its start, by the other angles, and only once. */
static void test_switch(const struct sy_kv_plan *plan)
{
    struct sy_error err = SY_ERROR_INIT;
    int n_rows = 0, n_turned = 0, over;

    sy_kv_cache_init(&cache, sy_kernels_ref(), plan, 24 * sy_kv_page_bytes(sy_kernels_ref(), plan), &err);
    sy_scheduler_init(&scheduler, &cache, 64, 10, 32, 40, &err);
    add(1, 37, 10);
    do {
        sy_scheduler_plan(&scheduler);
        const struct sy_batch *batch = &scheduler.batch;
        for (int i = 0; i < batch->T; i++)
            n_turned += batch->rows[SY_KV_FULL][i].turn == 40;
        n_rows += batch->T;
        over = play();
    } while (!over && n_rows < 1000);
    /* 37 of the prompt and tokens 38 to 40; then all 41, and tokens 42 to 46. */
    is_int(n_rows, 40 + 46, "a sequence of 47 tokens past a short context of 40 is computed twice up to there");
    is_int(n_turned, 46, "the second time by the other angles");
    is_int((int)scheduler.n_preemptions, 0, "which is no preemption");
    end();
}

int main(void)
{
    struct testrand rand = testrand_begin();
    const struct sy_kv_layer shape = {.dtype = SY_F32, .n_kv_heads = 1, .k_dim = 16, .v_dim = 16};
    const struct sy_kv_plan full = {.shape = shape, .n_layers = {2, 0}};
    const struct sy_kv_plan windowed = {.shape = shape, .n_layers = {0, 3}, .window = 20};
    const struct sy_kv_plan mixed = {.shape = shape, .n_layers = {2, 3}, .window = 33};
    struct sy_error err = SY_ERROR_INIT;

    ok(sy_kv_cache_init(&cache, sy_kernels_ref(), &full, 100, &err) == SY_ERR_USAGE,
       "a cache without a page is refused");
    has_str(err.text, "one page of 16 tokens needs 4096 bytes", "and the sentence says what a page needs");
    is_int((int)sy_kv_page_bytes(sy_kernels_ref(), &mixed), 3 * 2048, "a page has room for the kind with more layers");
    is_int((int)sy_kv_token_bytes(sy_kernels_ref(), &mixed, SY_KV_FULL), 2 * 128, "bytes of a token where all stay");
    is_int((int)sy_kv_token_bytes(sy_kernels_ref(), &mixed, SY_KV_WINDOW), 3 * 128, "and in layers with a window");
    ok(sy_kv_reach(&full, 3) == 48 && sy_kv_reach(&mixed, 3) == 48 && sy_kv_reach(&windowed, 3) > 1000000,
       "only windows alone have no end");
    test_random(&rand, &windowed, INT_MAX, "windows");
    end();
    test_random(&rand, &mixed, INT_MAX, "some windows");
    end();
    test_random(&rand, &mixed, 90, "angles of two kinds");
    end();
    test_switch(&full);
    test_long(&windowed);
    test_random(&rand, &full, INT_MAX, "no windows");

    add(7, 40, 5);
    ok(sy_scheduler_find(&scheduler, 7) && !sy_scheduler_find(&scheduler, 8), "a waiting sequence is found by its id");
    sy_scheduler_plan(&scheduler);
    is_int(scheduler.batch.T, 32, "a prompt of 40 starts with a chunk of 32");
    sy_scheduler_remove(&scheduler, sy_scheduler_find(&scheduler, 7));
    is_int(cache.n_free, 24, "removing a running sequence frees its pages");
    end();
    done();
    return tap_exit();
}
