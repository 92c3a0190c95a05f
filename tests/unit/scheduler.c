/* SPDX-License-Identifier: Apache-2.0
 * scheduler.c - batches, chunks cut at fixed places, preemption, and no page lost or held twice
 */
#include "engine/scheduler.h"

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
        for (int p = 0; p < scheduler.running[i]->n_pages; p++)
            right &= !seen[scheduler.running[i]->pages[p]]++;
    for (const struct sy_sequence *s = scheduler.waiting; s; s = s->next)
        right &= s->n_pages == 0;
    for (int p = 0; p < cache.n_pages; p++)
        right &= seen[p] == 1;
    free(seen);
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
            span->first_position != sequence->n_computed || sequence->n_pages < last / SY_KV_PAGE + 1 ||
            span->first_position / scheduler.prefill_chunk != last / scheduler.prefill_chunk)
            return false;
        for (int i = 0; i < span->n_rows; i++)
            if (batch->rows[T + i].position != span->first_position + i ||
                batch->rows[T + i].pages != sequence->pages || batch->ids[T + i] != (int32_t)sequence->request.id)
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
        sequence->tokens[sequence->n_tokens++] = (int32_t)sequence->request.id;
        if (sequence->n_tokens == sequence->max_tokens)
            over[n_over++] = sequence;
    }
    for (int i = 0; i < n_over; i++)
        sy_scheduler_remove(&scheduler, over[i]);
    return n_over;
}

int main(void)
{
    struct testrand rand = testrand_begin();
    const struct sy_kv_layer shape = {.dtype = SY_F32, .n_kv_heads = 1, .k_dim = 16, .v_dim = 16};
    struct sy_error err = SY_ERROR_INIT;
    int n_added = 0, n_over = 0, n_steps = 0, wrong_batches = 0, wrong_pages = 0;

    ok(sy_kv_cache_init(&cache, sy_kernels_ref(), 2, &shape, 100, &err) == SY_ERR_USAGE,
       "a cache without a page is refused");
    has_str(err.text, "one page of 16 tokens needs 4096 bytes", "and the sentence says what a page needs");
    ok(!sy_kv_cache_init(&cache, sy_kernels_ref(), 2, &shape, 24 * 4096 + 5, &err), "a cache of 24 pages");
    is_int(cache.n_pages, 24, "has 24 pages");
    sy_scheduler_init(&scheduler, &cache, 64, 10, 32, &err);
    while (n_over < 300 && n_steps < 100000) {
        while (n_added < 300 && testrand_next(&rand) % 3) {
            int n_prompt = 1 + (int)(testrand_next(&rand) % 150);
            add((uint64_t)n_added++, n_prompt, 1 + (int)(testrand_next(&rand) % 100));
        }
        sy_scheduler_plan(&scheduler);
        wrong_batches += !batch_is_right(&scheduler.batch);
        wrong_pages += !pages_add_up();
        n_over += play();
        n_steps++;
    }
    is_int(n_over, 300, "300 random requests are served in %d steps", n_steps);
    is_int(wrong_batches, 0, "every batch is well-formed");
    is_int(wrong_pages, 0, "every page has one owner");
    ok(scheduler.n_preemptions > 0, "there were %llu preemptions", (unsigned long long)scheduler.n_preemptions);
    is_int(cache.n_free, 24, "all pages are free in the end");

    add(7, 40, 5);
    ok(sy_scheduler_find(&scheduler, 7) && !sy_scheduler_find(&scheduler, 8), "a waiting sequence is found by its id");
    sy_scheduler_plan(&scheduler);
    is_int(scheduler.batch.T, 32, "a prompt of 40 starts with a chunk of 32");
    sy_scheduler_remove(&scheduler, sy_scheduler_find(&scheduler, 7));
    is_int(cache.n_free, 24, "removing a running sequence frees its pages");
    sy_scheduler_fini(&scheduler);
    sy_kv_cache_fini(&cache);
    done();
    return tap_exit();
}
