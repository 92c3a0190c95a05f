/* SPDX-License-Identifier: Apache-2.0
 * dispatch.c - tokens to the ranks that hold their experts
 *
 * Each rank sends every other rank its rows in chunks; the last one is marked, so no counts travel ahead. Where it can write
 * into the peer's memory the rows go to their place there and the chunk only tells of them; otherwise the chunk has them
 * and the peer copies them out. Either way the chunk's slot is released at once, so credit never waits for compute. A rank's
 * own rows are in place from the start.
 */
#include <string.h>

#include "base/clock.h"
#include "base/range.h"
#include "base/stream.h"
#include "moe/batch.h"
#include "moe/moe.h"
#include "moe/wire.h"

/* So many bytes of rows for one peer stay in no cache until it reads them. With fewer the peer would wait for memory. */
#define STREAM_BYTES ((size_t)8 << 20)

/* Put a pair at the end of its slot's list. */
static void enqueue(struct sy_moe *moe, int slot, uint32_t row, uint32_t index, int source)
{
    struct sy_pending *pending = &moe->pending[slot][source == moe->rank ? SY_OWN : SY_OTHERS];
    int i = moe->n_pairs++;

    moe->pairs[i] = (struct sy_pair){.row = row, .index = index, .source = source, .next = -1};
    if (pending->head < 0)
        pending->head = i;
    else
        moe->pairs[pending->tail].next = i;
    pending->tail = i;
    pending->count++;
    moe->n_pending++;
    uint32_t *mark = &moe->slot_mark[moe->layer * moe->max_slots + slot];
    moe->work.n_experts += *mark != moe->mark;
    moe->work.n_pairs++;
    *mark = moe->mark;
}

/* Number in rows_in of a rank's first row. */
static int first_row(const struct sy_moe *moe, int source)
{
    return source * moe->config.max_tokens;
}

uint8_t *sy_dispatch_own(const struct sy_moe *moe, int token)
{
    return moe->rows_in + (size_t)(first_row(moe, moe->rank) + token) * moe->rows.row_bytes;
}

static void enqueue_own(struct sy_moe *moe)
{
    const struct sy_plan *plan = &moe->plan;
    struct sy_peer_state *self = &moe->peers[moe->rank];

    for (int row = plan->row_first[moe->rank]; row < plan->row_first[moe->rank + 1]; row++)
        for (int pair = plan->pair_first[row]; pair < plan->pair_first[row + 1]; pair++)
            enqueue(moe, (int)plan->pair_slot[pair], (uint32_t)first_row(moe, moe->rank) + plan->row_token[row],
                    plan->pair_index[pair], moe->rank);
    self->n_incoming = moe->n_pairs;
    self->sent_last = self->received_last = true;
}

/* Rows of the plan from `next` on, between devices, to where they are to be stored for peer p. */
static void copy_to(struct sy_moe *moe, int p, int next, int n)
{
    const struct sy_moe_config *config = &moe->config;
    size_t row_bytes = moe->rows.row_bytes;
    int together = n;

    for (; n; n -= together, next += together) {
        size_t place = (size_t)(first_row(moe, moe->rank) + next - moe->plan.row_first[p]) * row_bytes;
        sy_fabric_room(config->fabric, p, SY_LANE_DISPATCH, &together);
        together = n < together ? n : together;
        config->kernels->copy_rows(
            config->queue, sy_fabric_place(config->fabric, p, SY_LANE_DISPATCH, place, (size_t)together * row_bytes),
            NULL, sy_dispatch_own(moe, 0), moe->plan.row_token + next, together, row_bytes);
    }
}

/* The same for each peer whose last ones are there. Credit is for chunks; rows have their places, which are free. What there is
 * room for is whole chunks, or all. */
static void ask_for_copies(struct sy_moe *moe)
{
    const struct sy_moe_config *config = &moe->config;

    for (int i = 0; i < moe->n_ranks - 1; i++) {
        int p = moe->order[i];
        struct sy_peer_state *peer = &moe->peers[p];
        int n = moe->plan.row_first[p + 1] - peer->asked, most, together;
        if (!n || peer->asked > peer->written)
            continue;
        most = sy_fabric_room(config->fabric, p, SY_LANE_DISPATCH, &together);
        most = most < sy_ahead_rows(config) ? most : sy_ahead_rows(config);
        n = n <= most ? n : most / config->chunk_rows * config->chunk_rows;
        copy_to(moe, p, peer->asked, n);
        peer->asked += n;
    }
}

void sy_dispatch_start(struct sy_moe *moe)
{
    int64_t begin_ns = sy_clock_ns();

    moe->n_pairs = moe->n_pending = moe->n_out = moe->n_out_used = 0;
    moe->arrival_ns = begin_ns;
    moe->n_slots = sy_placement_n_local(moe->config.placement, moe->layer, moe->rank);
    for (int slot = 0; slot < moe->n_slots; slot++)
        for (int whose = 0; whose < SY_N_WHOSE; whose++)
            moe->pending[slot][whose] = (struct sy_pending){.head = -1};
    for (int p = 0; p < moe->n_ranks; p++)
        moe->peers[p] = (struct sy_peer_state){
            .next_row = moe->plan.row_first[p],
            .asked = moe->plan.row_first[p],
            .written = moe->plan.row_first[p],
            .n_outstanding = sy_plan_n_pairs(&moe->plan, p),
        };
    if (sy_fabric_on_device(moe->config.fabric))
        ask_for_copies(moe);
    enqueue_own(moe);
    moe->times.dispatch_ns += sy_clock_ns() - begin_ns;
}

void sy_dispatch_round(struct sy_moe *moe, const float *h)
{
    const struct sy_moe_config *config = &moe->config;
    int64_t begin_ns = sy_clock_ns();

    SY_RANGE("dispatch");
    config->kernels->convert(config->queue, sy_dispatch_own(moe, 0), config->wire, h, SY_F32,
                             (size_t)moe->T * (size_t)config->hidden);
    moe->times.dispatch_ns += sy_clock_ns() - begin_ns;
}

/* Write n rows of this rank from the plan's next one on to their place in peer p's memory. */
static void write_rows(struct sy_moe *moe, int p, int n)
{
    const struct sy_plan *plan = &moe->plan;
    int first = plan->row_first[p], next = moe->peers[p].next_row;
    size_t row_bytes = moe->rows.row_bytes, place = (size_t)(first_row(moe, moe->rank) + next - first) * row_bytes;
    bool stream = (size_t)(plan->row_first[p + 1] - first) * row_bytes >= STREAM_BYTES;

    for (int i = 0; i < n; i++, place += row_bytes) {
        void *to = sy_fabric_place(moe->config.fabric, p, SY_LANE_DISPATCH, place, row_bytes);
        const void *from = sy_dispatch_own(moe, (int)plan->row_token[next + i]);
        if (stream)
            sy_stream_copy(to, from, row_bytes);
        else
            memcpy(to, from, row_bytes);
    }
    if (stream)
        sy_stream_fence();
}

/* Rows of the next chunk for peer p. */
static int next_rows(const struct sy_moe *moe, int p)
{
    int left = moe->plan.row_first[p + 1] - moe->peers[p].next_row;

    return left < moe->config.chunk_rows ? left : moe->config.chunk_rows;
}

/* Between devices: rows must be where they are to be stored before chunks tell of them. While those of one go are told of, the
 * next ones are copied; the host waits only when it has told of all that is there. */
static enum sy_status write_on_device(struct sy_moe *moe, struct sy_error *err)
{
    enum sy_status st = SY_OK;
    bool wait = false;

    ask_for_copies(moe);
    for (int p = 0; p < moe->n_ranks; p++) {
        const struct sy_peer_state *peer = &moe->peers[p];
        wait = wait || (peer->may_send && peer->next_row == peer->written && peer->asked > peer->written);
    }
    if (!wait)
        return SY_OK;
    st = moe->config.kernels->queue_sync(moe->config.queue, err);
    for (int p = 0; p < moe->n_ranks; p++)
        moe->peers[p].written = moe->peers[p].asked;
    ask_for_copies(moe);
    return st;
}

/* Send the next chunk to peer p. */
static enum sy_status push_chunk(struct sy_moe *moe, int p, struct sy_error *err)
{
    struct sy_fabric *fabric = moe->config.fabric;
    bool write = sy_fabric_writes(fabric, p), on_device = sy_fabric_on_device(fabric);
    const struct sy_plan *plan = &moe->plan;
    struct sy_peer_state *peer = &moe->peers[p];
    int n_rows = next_rows(moe, p);
    int first_pair = plan->pair_first[peer->next_row];
    int n_pairs = plan->pair_first[peer->next_row + n_rows] - first_pair;
    struct sy_chunk_header header = {.sequence = moe->sequence,
                                     .n_rows = (uint32_t)n_rows,
                                     .n_pairs = (uint32_t)n_pairs,
                                     .last = peer->next_row + n_rows == plan->row_first[p + 1]};
    struct sy_chunk_pair *pairs = (struct sy_chunk_pair *)(moe->meta + n_rows);

    if (write && !on_device)
        write_rows(moe, p, n_rows);
    for (int i = 0; i < n_rows; i++) {
        int row = peer->next_row + i;
        moe->meta[i] = (uint32_t)(plan->pair_first[row + 1] - plan->pair_first[row]);
        if (!write)
            moe->iov[2 + i] = (struct iovec){sy_dispatch_own(moe, (int)plan->row_token[row]), moe->rows.row_bytes};
    }
    for (int i = 0; i < n_pairs; i++)
        pairs[i] = (struct sy_chunk_pair){plan->pair_slot[first_pair + i], plan->pair_index[first_pair + i]};
    moe->iov[0] = (struct iovec){&header, sizeof header};
    moe->iov[1] = (struct iovec){moe->meta, (size_t)n_rows * sizeof(uint32_t) + (size_t)n_pairs * sizeof *pairs};
    enum sy_status st = sy_fabric_put_rows(fabric, p, SY_LANE_DISPATCH, moe->iov, 2 + (write ? 0 : n_rows), n_rows,
                                           err);
    if (st)
        return st;
    peer->next_row += n_rows;
    peer->sent_last = header.last;
    return SY_OK;
}

/* Whether the rows of the next chunk for peer p are where they are to be stored, if that is before it is put. */
static bool stored(const struct sy_moe *moe, int p)
{
    return !sy_fabric_on_device(moe->config.fabric) || !next_rows(moe, p) ||
           moe->peers[p].next_row < moe->peers[p].written;
}

/* A chunk to each peer that has one to get and gives credit. */
static enum sy_status push(struct sy_moe *moe, bool *pushed, struct sy_error *err)
{
    int n_slots = sy_fabric_config(moe->config.fabric)->n_slots;
    int64_t begin_ns = sy_clock_ns();
    enum sy_status st = SY_OK;

    for (int p = 0; p < moe->n_ranks; p++) {
        struct sy_ring_state ring = sy_fabric_state(moe->config.fabric, p, SY_LANE_DISPATCH, 1);
        moe->peers[p].may_send = !moe->peers[p].sent_last && ring.head - ring.tail < (uint64_t)n_slots;
    }
    if (sy_fabric_on_device(moe->config.fabric) && (st = write_on_device(moe, err)))
        return st;
    for (int i = 0; i < moe->n_ranks - 1; i++) {
        int p = moe->order[i];
        if (!moe->peers[p].may_send || !stored(moe, p))
            continue;
        st = push_chunk(moe, p, err);
        if (st && st != SY_AGAIN)
            return st;
        *pushed = *pushed || !st;
    }
    moe->times.dispatch_ns += sy_clock_ns() - begin_ns;
    return SY_OK;
}

static enum sy_status malformed(const struct sy_moe *moe, int p, const char *what, struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_INTERNAL, "dispatch layer %d: malformed chunk from rank %d: %s", moe->layer, p,
                        what);
}

/* Queue a chunk's pairs, and copy its rows out where they are not in place. What a peer sends is checked before it is used
 * as an index. */
static enum sy_status take_chunk(struct sy_moe *moe, int p, const uint8_t *data, size_t bytes, struct sy_error *err)
{
    struct sy_peer_state *peer = &moe->peers[p];
    size_t row_bytes = sy_fabric_writes(moe->config.fabric, p) ? 0 : moe->rows.row_bytes;
    struct sy_chunk_header header;

    if (bytes < sizeof header)
        return malformed(moe, p, "shorter than its header", err);
    memcpy(&header, data, sizeof header);
    if (header.sequence != moe->sequence)
        return malformed(moe, p, "it belongs to another step", err);
    if (header.n_rows > (uint32_t)moe->config.chunk_rows ||
        header.n_pairs > header.n_rows * (uint32_t)moe->plan.top_k ||
        bytes != sy_dispatch_chunk_bytes(header.n_rows, header.n_pairs, row_bytes))
        return malformed(moe, p, "its size is not what its counts say", err);
    if (peer->n_rows + (int)header.n_rows > moe->config.max_tokens ||
        moe->n_pairs + (int)header.n_pairs > moe->max_pairs)
        return malformed(moe, p, "more rows than a step can have", err);
    const uint32_t *counts = (const uint32_t *)(data + sizeof header);
    const struct sy_chunk_pair *pairs = (const struct sy_chunk_pair *)(counts + header.n_rows);
    uint32_t used = 0, first = (uint32_t)(first_row(moe, p) + peer->n_rows);
    for (uint32_t i = 0; i < header.n_rows; i++) {
        if (counts[i] > header.n_pairs - used)
            return malformed(moe, p, "rows claim more pairs than there are", err);
        for (uint32_t j = 0; j < counts[i]; j++, used++) {
            if (pairs[used].slot >= (uint32_t)moe->n_slots)
                return malformed(moe, p, "an expert slot that is not here", err);
            if (pairs[used].index >= (uint32_t)(moe->config.max_tokens * moe->plan.top_k))
                return malformed(moe, p, "a result's place that no token has", err);
            enqueue(moe, (int)pairs[used].slot, first + i, pairs[used].index, p);
        }
    }
    memcpy(moe->rows_in + first * moe->rows.row_bytes, pairs + header.n_pairs, header.n_rows * row_bytes);
    peer->n_rows += (int)header.n_rows;
    peer->n_incoming += (int)header.n_pairs;
    peer->received_last = header.last != 0;
    return SY_OK;
}

static enum sy_status drain(struct sy_moe *moe, bool *moved, struct sy_error *err)
{
    int64_t begin_ns = sy_clock_ns();
    struct sy_fabric *fabric = moe->config.fabric;
    enum sy_status st = sy_fabric_progress(fabric, err);

    for (int p = 0; p < moe->n_ranks && !st; p++) {
        while (!moe->peers[p].received_last) {
            const void *data;
            size_t bytes;
            st = sy_fabric_poll(fabric, p, SY_LANE_DISPATCH, &data, &bytes, err);
            if (!st)
                st = take_chunk(moe, p, data, bytes, err);
            if (!st)
                st = sy_fabric_release(fabric, p, SY_LANE_DISPATCH, 1, err);
            if (st)
                break;
            *moved = true;
        }
        if (st == SY_AGAIN)
            st = SY_OK;
    }
    moe->times.dispatch_ns += sy_clock_ns() - begin_ns;
    return st;
}

enum sy_status sy_dispatch_move(struct sy_moe *moe, bool *moved, struct sy_error *err)
{
    bool pushed;

    /* A peer gets credit while this rank copies its next chunks; two that each used up the other's first would take turns. */
    do {
        pushed = false;
        enum sy_status st = push(moe, &pushed, err);
        if (!st)
            st = drain(moe, moved, err);
        if (st)
            return st;
        if (pushed)
            *moved = true;
    } while (pushed);
    return SY_OK;
}

bool sy_dispatch_arrived(const struct sy_moe *moe)
{
    for (int p = 0; p < moe->n_ranks; p++)
        if (!moe->peers[p].received_last)
            return false;
    return true;
}
