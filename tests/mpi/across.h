/* SPDX-License-Identifier: Apache-2.0
 * across.h - layers over ranks whose devices write to each other's memory, by CPUs: what src/moe/across.c asks a backend for
 *
 * Windows are memory that processes lend one another (lender.h). A queue of a CPU has done what it was asked for when it
 * returns, so that to wait for other ranks is to look at a word until it is there.
 */
#ifndef TESTS_MPI_ACROSS_H
#define TESTS_MPI_ACROSS_H

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "lender.h"
#include "tap.h"

static const struct sy_kernels *across_cpu; /* that multiplies */
static int n_across[SY_ACROSS_FINISH + 1];  /* parts asked for */
static bool across_many;                    /* of many tokens, once or more */

/* Results that are apart, until they are sent back. */
static struct {
    uint16_t *results;
    void **to;
    int n;
} across_kept;

static size_t across_table_bytes(int n_experts)
{
    return (size_t)n_experts * sizeof(struct sy_expert);
}

static void across_table(struct sy_queue *q, const struct sy_expert *experts, int n_experts, void *table)
{
    (void)q;
    memcpy(table, experts, across_table_bytes(n_experts));
}

static size_t across_workspace_bytes(const struct sy_moe_across *across)
{
    return (size_t)across->most * sizeof(uint32_t); /* nothing is kept there, but without any layers do not go so */
}

static void *across_new(size_t bytes)
{
    void *p = calloc(bytes + 1, 1);

    if (!p)
        bail("no memory");
    return p;
}

/* Words of piece `piece` in a rank's window. */
static uint32_t *across_words(const struct sy_moe_across *a, const struct sy_moe_window *window, enum sy_moe_news news,
                              int piece)
{
    return window->arrived + ((int)news * a->pieces_most + piece) * a->n_ranks;
}

static void across_tell(const struct sy_moe_across *a, enum sy_moe_news news)
{
    for (int p = 0; p < a->n_ranks; p++)
        __atomic_store_n(across_words(a, &a->windows[p], news, a->piece) + a->rank, 1, __ATOMIC_RELEASE);
}

static void across_wait(const struct sy_moe_across *a, enum sy_moe_news news, int piece)
{
    uint32_t *words = across_words(a, &a->own, news, piece);

    for (int p = 0; p < a->n_ranks; p++) {
        while (!__atomic_load_n(words + p, __ATOMIC_ACQUIRE))
            sched_yield();
        words[p] = 0;
    }
}

static size_t across_row(const struct sy_moe_across *a, int t)
{
    return (size_t)(a->rank * a->rows_each + a->first + t);
}

static void across_store(struct sy_queue *q, const struct sy_moe_across *a, int t, int p)
{
    size_t D = (size_t)a->run.shape.D;
    uint16_t *to = (uint16_t *)a->windows[p].rows + across_row(a, t) * D;

    if (a->rows)
        memcpy(to, (const uint16_t *)a->rows + (size_t)t * D, D * sizeof *to);
    else
        across_cpu->convert(q, to, SY_BF16, a->run.h + (size_t)t * D, SY_F32, D);
}

static void across_ahead(struct sy_queue *q, const struct sy_moe_across *a)
{
    for (int t = 0; t < a->run.shape.T; t++)
        for (int p = 0; p < a->n_ranks; p++)
            across_store(q, a, t, p);
    across_tell(a, SY_NEWS_ROWS);
}

static void across_send(struct sy_queue *q, const struct sy_moe_across *a)
{
    size_t K = (size_t)a->run.shape.K;
    uint64_t *counts = a->run.n_active;

    for (int t = 0; t < a->run.shape.T; t++) {
        size_t row = across_row(a, t);
        for (int p = 0; p < a->n_ranks; p++) {
            bool wanted = false;
            for (size_t k = 0; k < K; k++) {
                const int32_t *home = a->homes + 2 * a->run.ids[(size_t)t * K + k];
                a->windows[p].slots[row * K + k] = home[0] == p ? home[1] : -1;
                wanted = wanted || home[0] == p;
                counts[3] += home[0] == p && p != a->rank;
            }
            if (wanted && !a->ahead)
                across_store(q, a, t, p);
            counts[2] += (wanted || a->ahead) && p != a->rank;
        }
    }
    for (int p = 0; p < a->n_ranks; p++)
        a->windows[p].n_tokens[a->piece * a->n_ranks + a->rank] = a->run.shape.T;
    across_tell(a, a->ahead ? SY_NEWS_CHOICES : SY_NEWS_ROWS);
}

/* Rows of the experts here one behind the other, and where their results go. Returns how many. */
static int across_sort(const struct sy_moe_across *a, struct sy_tile *tiles, uint16_t *rows, void **to)
{
    const struct sy_expert *experts = a->run.table;
    size_t D = (size_t)a->run.shape.D, K = (size_t)a->run.shape.K;
    int n = 0;

    for (int slot = 0; slot < a->n_slots; slot++) {
        tiles[slot] = (struct sy_tile){experts[slot].gate_up, experts[slot].down, n, 0};
        for (int r = 0; r < a->n_ranks; r++) {
            for (int t = 0; t < a->own.n_tokens[a->piece * a->n_ranks + r]; t++) {
                size_t row = (size_t)(r * a->rows_each + a->first + t), token = (size_t)(a->first + t);
                for (size_t k = 0; k < K; k++) {
                    if (a->own.slots[row * K + k] != slot)
                        continue;
                    memcpy(rows + (size_t)n * D, (const uint16_t *)a->own.rows + row * D, D * sizeof *rows);
                    to[n++] = (uint16_t *)a->windows[r].results + (token * K + k) * D;
                    tiles[slot].n_rows++;
                }
            }
        }
        a->run.n_active[0] += tiles[slot].n_rows > 0;
    }
    a->run.n_active[1] += (uint64_t)n;
    return n;
}

static void across_experts(struct sy_queue *q, const struct sy_moe_across *a)
{
    size_t most = (size_t)a->n_ranks * (size_t)a->most * (size_t)a->run.shape.K, D = (size_t)a->run.shape.D;
    struct sy_tile *tiles = across_new((size_t)a->n_slots * sizeof *tiles);
    uint16_t *rows = across_new(most * D * sizeof *rows);
    uint16_t *act = across_new(most * (size_t)a->run.shape.F * sizeof *act);
    void **to = across_new(most * sizeof *to);
    if (a->ahead)
        across_wait(a, SY_NEWS_ROWS, a->piece);
    int n = across_sort(a, tiles, rows, to);

    if (n)
        across_cpu->expert_gate_up(q, tiles, a->n_slots, rows, SY_BF16, &a->run.glu, act);
    if (n)
        across_cpu->expert_down(q, tiles, a->n_slots, act, SY_BF16, a->apart ? rows : NULL, a->apart ? NULL : to,
                                SY_BF16);
    free(tiles);
    free(act);
    if (a->apart) {
        across_kept.results = rows;
        across_kept.to = to;
        across_kept.n = n;
        return;
    }
    free(rows);
    free(to);
    across_tell(a, SY_NEWS_RESULTS);
}

static void across_return(const struct sy_moe_across *a)
{
    size_t D = (size_t)a->run.shape.D;

    for (int i = 0; i < across_kept.n; i++)
        memcpy(across_kept.to[i], across_kept.results + (size_t)i * D, D * sizeof *across_kept.results);
    free(across_kept.results);
    free(across_kept.to);
    across_tell(a, SY_NEWS_RESULTS);
}

static void across_finish(struct sy_queue *q, const struct sy_moe_across *a)
{
    const struct sy_moe_run *run = &a->run;

    for (int i = 0; i < a->n_pieces; i++)
        across_wait(a, SY_NEWS_RESULTS, i);
    if (run->shape.T)
        across_cpu->combine(q, a->own.results, SY_BF16, run->weights, run->shape.T, run->shape.K, run->shape.D,
                            run->shared, false, run->x);
}

static void across_by_cpu(struct sy_queue *q, const struct sy_moe_across *across, enum sy_across_part part)
{
    n_across[part]++;
    across_many = across_many || across->many;
    switch (part) {
    case SY_ACROSS_AHEAD:
        across_ahead(q, across);
        break;
    case SY_ACROSS_SEND:
        across_send(q, across);
        break;
    case SY_ACROSS_RECEIVE:
        across_wait(across, across->ahead ? SY_NEWS_CHOICES : SY_NEWS_ROWS, across->piece);
        break;
    case SY_ACROSS_SORT:
        break;
    case SY_ACROSS_EXPERTS:
        across_experts(q, across);
        break;
    case SY_ACROSS_RETURN:
        across_return(across);
        break;
    case SY_ACROSS_FINISH:
        across_finish(q, across);
        break;
    }
}

static bool across_done(struct sy_queue *q)
{
    (void)q;
    return true;
}

static enum sy_status across_copy_now(void *dst, const void *src, size_t bytes, struct sy_error *err)
{
    (void)err;
    memcpy(dst, src, bytes);
    return SY_OK;
}

/* Whether every part was asked for, of few tokens and of many. */
static inline bool across_all(void)
{
    bool all = across_many;

    for (size_t i = 0; i < sizeof n_across / sizeof *n_across; i++)
        all = all && n_across[i];
    return all;
}

/* Have kernels of a CPU exchange rows as those of a GPU do. */
static inline void across_add(struct sy_kernels *kernels, const struct sy_kernels *cpu)
{
    across_cpu = cpu;
    kernels->lender = &file_lender;
    kernels->moe_table_bytes = across_table_bytes;
    kernels->moe_table = across_table;
    kernels->across_bytes = across_workspace_bytes;
    kernels->across = across_by_cpu;
    kernels->queue_done = across_done;
    kernels->copy_now = across_copy_now;
}

#endif
