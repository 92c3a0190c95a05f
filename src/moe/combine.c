/* SPDX-License-Identifier: Apache-2.0
 * combine.c - expert results back to their tokens, and the exact weighted sum
 */
#include <string.h>

#include "base/clock.h"
#include "base/range.h"
#include "moe/moe.h"
#include "moe/wire.h"

uint8_t *sy_combine_place(const struct sy_moe *moe, const struct sy_pair *pair)
{
    size_t offset = pair->index * moe->rows.row_bytes;

    if (pair->source == moe->rank)
        return moe->results + offset;
    if (!sy_fabric_writes(moe->config.fabric, pair->source))
        return NULL;
    return sy_fabric_place(moe->config.fabric, pair->source, SY_LANE_COMBINE,
                           (size_t)(moe->results - moe->rows_in) + offset, moe->rows.row_bytes);
}

enum sy_status sy_combine_return(struct sy_moe *moe, const struct sy_pair *pair, const uint8_t *row)
{
    struct sy_peer_state *peer = &moe->peers[pair->source];
    size_t place = (size_t)pair->source * (size_t)moe->config.chunk_rows + (size_t)peer->n_staged;

    if (pair->source == moe->rank) {
        peer->n_outstanding--;
        peer->n_returned++;
        return SY_OK;
    }
    if (peer->n_staged == moe->config.chunk_rows)
        return SY_AGAIN;
    moe->staged_index[place] = pair->index;
    moe->staged_from[place] = sy_fabric_writes(moe->config.fabric, pair->source) ? NULL : row;
    peer->n_staged++;
    peer->n_returned++;
    return SY_OK;
}

void sy_combine_keep(struct sy_moe *moe)
{
    size_t row_bytes = moe->rows.row_bytes;

    for (int p = 0; p < moe->n_ranks; p++) {
        size_t place = (size_t)p * (size_t)moe->config.chunk_rows;
        for (int i = 0; i < moe->peers[p].n_staged; i++, place++) {
            uint8_t *kept = moe->staged_rows + place * row_bytes;
            if (!moe->staged_from[place] || moe->staged_from[place] == kept)
                continue;
            memcpy(kept, moe->staged_from[place], row_bytes);
            moe->staged_from[place] = kept;
        }
    }
}

static enum sy_status push_chunk(struct sy_moe *moe, int p, struct sy_error *err)
{
    struct sy_peer_state *peer = &moe->peers[p];
    size_t place = (size_t)p * (size_t)moe->config.chunk_rows, n = (size_t)peer->n_staged;
    struct sy_chunk_header header = {.sequence = moe->sequence, .n_rows = (uint32_t)n};
    size_t n_rows = sy_fabric_writes(moe->config.fabric, p) ? 0 : n; /* in the chunk */

    moe->iov[0] = (struct iovec){&header, sizeof header};
    moe->iov[1] = (struct iovec){moe->staged_index + place, n * sizeof(uint32_t)};
    for (size_t i = 0; i < n_rows; i++)
        moe->iov[2 + i] = (struct iovec){(void *)moe->staged_from[place + i], moe->rows.row_bytes};
    enum sy_status st = sy_fabric_put_rows(moe->config.fabric, p, SY_LANE_COMBINE, moe->iov, 2 + (int)n_rows, (int)n,
                                           err);
    if (!st)
        peer->n_staged = 0;
    return st;
}

enum sy_status sy_combine_push(struct sy_moe *moe, bool *moved, struct sy_error *err)
{
    int64_t begin_ns = sy_clock_ns();

    for (int i = 0; i < moe->n_ranks - 1; i++) {
        int p = moe->order[i];
        const struct sy_peer_state *peer = &moe->peers[p];
        bool final = peer->received_last && peer->n_returned == peer->n_incoming;
        /* Only full and final chunks travel, so that their number follows from the plan alone. */
        if (!peer->n_staged || (peer->n_staged < moe->config.chunk_rows && !final))
            continue;
        enum sy_status st = push_chunk(moe, p, err);
        if (st == SY_AGAIN)
            continue;
        if (st)
            return st;
        *moved = true;
    }
    moe->times.combine_ns += sy_clock_ns() - begin_ns;
    return SY_OK;
}

static enum sy_status take_chunk(struct sy_moe *moe, int p, const uint8_t *data, size_t bytes, struct sy_error *err)
{
    struct sy_chunk_header header;
    size_t row_bytes = sy_fabric_writes(moe->config.fabric, p) ? 0 : moe->rows.row_bytes;

    if (bytes >= sizeof header)
        memcpy(&header, data, sizeof header);
    if (bytes < sizeof header || header.sequence != moe->sequence ||
        header.n_rows > (uint32_t)moe->peers[p].n_outstanding ||
        bytes != sy_combine_chunk_bytes(header.n_rows, row_bytes))
        return sy_error_set(err, SY_ERR_INTERNAL, "combine layer %d: malformed chunk from rank %d (%zu bytes)",
                            moe->layer, p, bytes);
    const uint32_t *index = (const uint32_t *)(data + sizeof header);
    const uint8_t *rows = (const uint8_t *)(index + header.n_rows);
    for (uint32_t i = 0; i < header.n_rows; i++) {
        if (index[i] >= (uint32_t)(moe->T * moe->plan.top_k))
            return sy_error_set(err, SY_ERR_INTERNAL, "combine layer %d: rank %d returned a result for token %u of %d",
                                moe->layer, p, index[i] / (uint32_t)moe->plan.top_k, moe->T);
        memcpy(moe->results + index[i] * moe->rows.row_bytes, rows + i * row_bytes, row_bytes);
    }
    moe->peers[p].n_outstanding -= (int)header.n_rows;
    return SY_OK;
}

enum sy_status sy_combine_drain(struct sy_moe *moe, bool *moved, struct sy_error *err)
{
    int64_t begin_ns = sy_clock_ns();
    enum sy_status st = SY_OK;

    for (int p = 0; p < moe->n_ranks; p++) {
        while (p != moe->rank && moe->peers[p].n_outstanding) {
            const void *data;
            size_t bytes;
            st = sy_fabric_poll(moe->config.fabric, p, SY_LANE_COMBINE, &data, &bytes, err);
            if (!st)
                st = take_chunk(moe, p, data, bytes, err);
            if (!st)
                st = sy_fabric_release(moe->config.fabric, p, SY_LANE_COMBINE, 1, err);
            if (st)
                break;
            *moved = true;
        }
        if (st && st != SY_AGAIN)
            return st;
    }
    moe->times.combine_ns += sy_clock_ns() - begin_ns;
    return SY_OK;
}

bool sy_combine_done(const struct sy_moe *moe)
{
    if (moe->n_pending || moe->n_out)
        return false;
    for (int p = 0; p < moe->n_ranks; p++) {
        const struct sy_peer_state *peer = &moe->peers[p];
        if (!peer->sent_last || !peer->received_last || peer->n_outstanding || peer->n_staged)
            return false;
    }
    return true;
}

void sy_combine_finish(struct sy_moe *moe, float *x)
{
    const struct sy_moe_config *config = &moe->config;
    int64_t begin_ns = sy_clock_ns();

    SY_RANGE("combine");
    config->kernels->combine(config->queue, moe->results, config->wire, moe->weights, moe->T, moe->plan.top_k,
                             config->hidden, config->shared_width ? moe->shared : NULL, config->reverse_k, x);
    for (int p = 0; p < moe->n_ranks; p++)
        moe->incoming[p] = moe->peers[p].n_incoming;
    moe->wire_bytes_planned += sy_plan_wire_bytes(&moe->plan, moe->rank, config->chunk_rows, moe->rows.row_bytes,
                                                  moe->incoming);
    moe->times.combine_ns += sy_clock_ns() - begin_ns;
}
