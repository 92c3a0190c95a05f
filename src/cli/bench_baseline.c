/* SPDX-License-Identifier: Apache-2.0
 * bench_baseline.c - what an exchange of rows takes with MPI_Alltoallv, and its bytes with memcpy
 *
 * Packed for a rank: counts of pairs of each row, the pairs, the rows; and on the way back: places, rows.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/bench_exchange.h"
#include "moe/wire.h"

static size_t packed_to(size_t n_rows, size_t n_pairs, size_t row_bytes)
{
    return sy_dispatch_chunk_bytes(n_rows, n_pairs, row_bytes);
}

/* A row that names its rank and token. */
static void name_row(const struct sy_baseline *b, int t)
{
    size_t n = b->moe->rows.row_bytes / sizeof(uint32_t);
    uint32_t *row = (uint32_t *)(void *)b->own + (size_t)t * n;

    for (size_t i = 0; i < n; i++)
        row[i] = (uint32_t)b->moe->rank << 24 ^ (uint32_t)t << 12 ^ (uint32_t)i;
}

enum sy_status sy_baseline_init(struct sy_baseline *b, struct sy_moe *moe, struct sy_error *err)
{
    size_t R = (size_t)moe->n_ranks, T = (size_t)moe->config.max_tokens, K = (size_t)moe->config.rule.top_k;
    size_t row = moe->rows.row_bytes, pairs = T * K * R;

    /* Every rank may send all its tokens to one, which then owes that many results. */
    *b = (struct sy_baseline){.moe = moe, .bytes = packed_to(R * T, pairs, row) + sy_combine_chunk_bytes(pairs, row)};
    if (b->bytes > INT_MAX)
        return sy_error_set(
            err, SY_ERR_USAGE,
            "bench dispatch: %zu tokens of %zu bytes on %zu ranks are more than MPI_Alltoallv can count; "
            "take fewer",
            T, row, R);
    b->send = malloc(b->bytes);
    b->recv = malloc(b->bytes);
    b->rows = malloc(R * T * row);
    b->results = malloc(T * K * row);
    b->own = malloc(T * row);
    int **counts[] = {&b->send_bytes, &b->send_at, &b->recv_bytes, &b->recv_at, &b->n_pairs};
    bool enough = b->send && b->recv && b->rows && b->results && b->own;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        enough = (*counts[i] = calloc(R, sizeof(int))) && enough;
    if (!enough)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the %zu bytes of a baseline", 2 * b->bytes);
    /* Pages that were never written are all one page of zeros, which is fast to read. */
    memset(b->send, 1, b->bytes);
    memset(b->recv, 1, b->bytes);
    memset(b->rows, 1, R * T * row);
    memset(b->results, 1, T * K * row);
    for (size_t t = 0; t < T; t++)
        name_row(b, (int)t);
    moe->config.kernels->copy(moe->config.queue, sy_dispatch_own(moe, 0), b->own, T * row);
    return moe->config.kernels->queue_sync(moe->config.queue, err);
}

void sy_baseline_fini(struct sy_baseline *b)
{
    free(b->send);
    free(b->recv);
    free(b->rows);
    free(b->results);
    free(b->own);
    free(b->send_bytes);
    free(b->send_at);
    free(b->recv_bytes);
    free(b->recv_at);
    free(b->n_pairs);
}

static size_t put(uint8_t *to, size_t at, const void *data, size_t bytes)
{
    memcpy(to + at, data, bytes);
    return at + bytes;
}

static size_t pack_for(const struct sy_baseline *b, int p, uint8_t *to)
{
    const struct sy_plan *plan = &b->moe->plan;
    int first = plan->row_first[p], end = plan->row_first[p + 1];
    struct sy_chunk_header header = {.n_rows = (uint32_t)(end - first), .n_pairs = (uint32_t)sy_plan_n_pairs(plan, p)};
    size_t at = put(to, 0, &header, sizeof header);

    for (int row = first; row < end; row++) {
        uint32_t count = (uint32_t)(plan->pair_first[row + 1] - plan->pair_first[row]);
        at = put(to, at, &count, sizeof count);
    }
    for (int pair = plan->pair_first[first]; pair < plan->pair_first[end]; pair++) {
        struct sy_chunk_pair wire = {plan->pair_slot[pair], plan->pair_index[pair]};
        at = put(to, at, &wire, sizeof wire);
    }
    for (int row = first; row < end; row++)
        at = put(to, at, b->own + plan->row_token[row] * b->moe->rows.row_bytes, b->moe->rows.row_bytes);
    return at;
}

/* Set displacements from counts of bytes. */
static void lay_out(const struct sy_baseline *b, const int *bytes, int *at)
{
    for (int p = 0, sum = 0; p < b->moe->n_ranks; sum += bytes[p++])
        at[p] = sum;
}

/* How much goes to whom is not known on the other side. */
static enum sy_status exchange_counts(struct sy_baseline *b, struct sy_error *err)
{
    int n = b->moe->n_ranks, ones[n], places[n];

    for (int p = 0; p < n; p++) {
        ones[p] = sizeof(int);
        places[p] = p * (int)sizeof(int);
    }
    return sy_group_alltoallv(sy_fabric_group(b->moe->config.fabric), b->send_bytes, ones, places, b->recv_bytes, ones,
                              places, err);
}

static enum sy_status exchange(struct sy_baseline *b, struct sy_error *err)
{
    lay_out(b, b->recv_bytes, b->recv_at);
    return sy_group_alltoallv(sy_fabric_group(b->moe->config.fabric), b->send, b->send_bytes, b->send_at, b->recv,
                              b->recv_bytes, b->recv_at, err);
}

static enum sy_status to_experts(struct sy_baseline *b, struct sy_error *err)
{
    const struct sy_moe *moe = b->moe;
    size_t at = 0, row_bytes = moe->rows.row_bytes;

    for (int p = 0; p < moe->n_ranks; p++) {
        b->send_at[p] = (int)at;
        at += p == moe->rank ? 0 : pack_for(b, p, b->send + at);
        b->send_bytes[p] = (int)at - b->send_at[p];
    }
    enum sy_status st = exchange_counts(b, err);
    if (!st)
        st = exchange(b, err);
    for (int p = 0; p < moe->n_ranks && !st; p++) {
        struct sy_chunk_header header;
        b->n_pairs[p] = 0;
        if (p == moe->rank)
            continue;
        memcpy(&header, b->recv + b->recv_at[p], sizeof header);
        b->n_pairs[p] = (int)header.n_pairs;
        memcpy(b->rows + (size_t)p * (size_t)moe->config.max_tokens * row_bytes,
               b->recv + b->recv_at[p] + sy_dispatch_chunk_bytes(header.n_rows, header.n_pairs, 0),
               header.n_rows * row_bytes);
    }
    return st;
}

/* A source's pairs, as they came, one after the other; each goes back with the row that it is of. */
static size_t pack_results(const struct sy_baseline *b, int p, uint8_t *to)
{
    const struct sy_moe *moe = b->moe;
    size_t row_bytes = moe->rows.row_bytes, at = 0;
    const uint8_t *rows = b->rows + (size_t)p * (size_t)moe->config.max_tokens * row_bytes;
    const uint8_t *packed = b->recv + b->recv_at[p];
    struct sy_chunk_header header;
    struct sy_chunk_pair pair;
    uint32_t count;

    memcpy(&header, packed, sizeof header);
    const uint8_t *counts = packed + sizeof header, *pairs = counts + header.n_rows * sizeof count;
    for (uint32_t i = 0; i < header.n_pairs; i++) {
        memcpy(&pair, pairs + i * sizeof pair, sizeof pair);
        at = put(to, at, &pair.index, sizeof pair.index);
    }
    for (uint32_t row = 0; row < header.n_rows; row++) {
        memcpy(&count, counts + row * sizeof count, sizeof count);
        for (uint32_t i = 0; i < count; i++)
            at = put(to, at, rows + row * row_bytes, row_bytes);
    }
    return at;
}

static enum sy_status back(struct sy_baseline *b, struct sy_error *err)
{
    const struct sy_moe *moe = b->moe;
    size_t at = 0, row_bytes = moe->rows.row_bytes;

    for (int p = 0; p < moe->n_ranks; p++) {
        b->send_at[p] = (int)at;
        at += p == moe->rank ? 0 : pack_results(b, p, b->send + at);
        b->send_bytes[p] = (int)at - b->send_at[p];
    }
    for (int p = 0; p < moe->n_ranks; p++)
        b->recv_bytes[p] = p == moe->rank ? 0 : sy_plan_n_pairs(&moe->plan, p) * (int)(sizeof(uint32_t) + row_bytes);
    enum sy_status st = exchange(b, err);
    for (int p = 0; p < moe->n_ranks && !st; p++) {
        size_t n = p == moe->rank ? 0 : (size_t)sy_plan_n_pairs(&moe->plan, p);
        const uint8_t *packed = b->recv + b->recv_at[p];
        for (size_t i = 0; i < n; i++) {
            uint32_t index;
            memcpy(&index, packed + i * sizeof index, sizeof index);
            memcpy(b->results + index * row_bytes, packed + n * sizeof index + i * row_bytes, row_bytes);
        }
    }
    return st;
}

/* As many rows as this rank moves in a direction, each copied once. */
static void copy_rows(struct sy_baseline *b, enum sy_direction direction)
{
    const struct sy_moe *moe = b->moe;
    const struct sy_plan *plan = &moe->plan;
    size_t row_bytes = moe->rows.row_bytes, at = 0;

    for (int p = 0; p < moe->n_ranks; p++) {
        int n_pairs = direction == SY_BACK ? b->n_pairs[p] : 0;
        if (p == moe->rank)
            continue;
        for (int row = plan->row_first[p]; direction == SY_TO_EXPERTS && row < plan->row_first[p + 1]; row++)
            at = put(b->recv, at, b->own + plan->row_token[row] * row_bytes, row_bytes);
        for (int i = 0; i < n_pairs; i++)
            at = put(b->recv, at, b->rows + (size_t)(i % moe->config.max_tokens) * row_bytes, row_bytes);
    }
}

enum sy_status sy_baseline_run(struct sy_baseline *b, enum sy_way way, enum sy_direction direction, double *seconds,
                               struct sy_error *err)
{
    int64_t begin_ns = sy_clock_ns();
    enum sy_status st = SY_OK;

    if (way == SY_WAY_MEMCPY)
        copy_rows(b, direction);
    else
        st = direction == SY_TO_EXPERTS ? to_experts(b, err) : back(b, err);
    *seconds = (double)(sy_clock_ns() - begin_ns) * 1e-9;
    return st;
}

bool sy_baseline_right(const struct sy_baseline *b)
{
    const struct sy_moe *moe = b->moe;
    const struct sy_plan *plan = &moe->plan;
    size_t row_bytes = moe->rows.row_bytes;

    for (int i = 0; i < moe->T * plan->top_k; i++)
        if (plan->homes[i].rank != moe->rank &&
            memcmp(b->results + (size_t)i * row_bytes, b->own + (size_t)(i / plan->top_k) * row_bytes, row_bytes) != 0)
            return false;
    return true;
}
