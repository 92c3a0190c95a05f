/* SPDX-License-Identifier: Apache-2.0
 * bench_link.c - the link between the first and the last rank: how fast one small thing comes, and many large ones
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/bench_exchange.h"
#include "moe/wire.h"

#define TRIPS         1000
#define MESSAGE_BYTES ((size_t)1 << 20)
#define STREAM_BYTES  ((size_t)64 << 20) /* well over the burst that a shaped link lets pass */

/* Put a chunk as soon as there is credit for it. */
static enum sy_status put(struct sy_moe *moe, int peer, const struct iovec *iov, int n_iov, int n_rows,
                          struct sy_error *err)
{
    struct sy_fabric *fabric = moe->config.fabric;
    struct sy_wait wait;
    enum sy_status st;

    sy_wait_begin(&wait, sy_group_timeout_ms(sy_fabric_group(fabric)));
    while ((st = sy_fabric_put_rows(fabric, peer, SY_LANE_COMBINE, iov, n_iov, n_rows, err)) == SY_AGAIN) {
        if ((st = sy_fabric_progress(fabric, err)))
            return st;
        if (!sy_wait_pause(&wait))
            return sy_error_set(err, SY_ERR_PEER, "measuring a link: rank %d (%s) takes nothing", peer,
                                sy_group_host(sy_fabric_group(fabric), peer));
    }
    return st ? st : sy_fabric_progress(fabric, err);
}

static enum sy_status take(struct sy_moe *moe, int peer, struct sy_error *err)
{
    struct sy_fabric *fabric = moe->config.fabric;
    struct sy_wait wait;
    const void *data;
    size_t bytes;
    enum sy_status st;

    sy_wait_begin(&wait, sy_group_timeout_ms(sy_fabric_group(fabric)));
    while ((st = sy_fabric_poll(fabric, peer, SY_LANE_COMBINE, &data, &bytes, err)) == SY_AGAIN) {
        if ((st = sy_fabric_progress(fabric, err)))
            return st;
        if (!sy_wait_pause(&wait))
            return sy_error_set(err, SY_ERR_PEER, "measuring a link: nothing comes from rank %d (%s)", peer,
                                sy_group_host(sy_fabric_group(fabric), peer));
    }
    return st ? st : sy_fabric_release(fabric, peer, SY_LANE_COMBINE, 1, err);
}

static enum sy_status ping_pong(struct sy_moe *moe, int peer, bool first, double *half_trip_s, struct sy_error *err)
{
    uint64_t word = 0;
    struct iovec iov = {&word, sizeof word};
    int64_t begin_ns = sy_clock_ns();
    enum sy_status st = SY_OK;

    for (int i = 0; i < TRIPS && !st; i++) {
        st = first ? put(moe, peer, &iov, 1, 0, err) : take(moe, peer, err);
        if (!st)
            st = first ? take(moe, peer, err) : put(moe, peer, &iov, 1, 0, err);
    }
    *half_trip_s = (double)(sy_clock_ns() - begin_ns) * 1e-9 / (2 * TRIPS);
    return st;
}

/* Chunks of rows, from the first rank to the last, which answers once. */
static enum sy_status stream(struct sy_moe *moe, int peer, bool first, double *rate, struct sy_error *err)
{
    const struct sy_kernels *kernels = moe->config.kernels;
    size_t row_bytes = moe->rows.row_bytes, n_rows = (size_t)moe->config.chunk_rows, n_window;
    size_t n_chunks = STREAM_BYTES / (n_rows * row_bytes) + 1;
    bool write = sy_fabric_writes(moe->config.fabric, peer);
    struct iovec *iov = calloc(n_rows + 1, sizeof *iov);
    uint64_t word = 0;
    enum sy_status st = iov ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory");
    int64_t begin_ns = sy_clock_ns();

    n_window = (size_t)moe->config.max_tokens;
    for (size_t i = 0; i < n_rows && !st; i++)
        iov[1 + i] = (struct iovec){sy_dispatch_own(moe, (int)(i % n_window)), row_bytes};
    for (size_t chunk = 0; chunk < n_chunks && !st; chunk++) {
        for (size_t i = 0; i < n_rows && write && first; i++)
            kernels->copy(moe->config.queue,
                          sy_fabric_place(moe->config.fabric, peer, SY_LANE_COMBINE,
                                          ((size_t)moe->rank * n_window + (chunk * n_rows + i) % n_window) * row_bytes,
                                          row_bytes),
                          iov[1 + i].iov_base, row_bytes);
        if (write && first)
            st = kernels->queue_sync(moe->config.queue, err);
        iov[0] = (struct iovec){&word, sizeof word};
        if (!st)
            st = first ? put(moe, peer, iov, write ? 1 : 1 + (int)n_rows, (int)n_rows, err) : take(moe, peer, err);
    }
    if (!st)
        st = first ? take(moe, peer, err) : put(moe, peer, iov, 1, 0, err);
    *rate = (double)(n_chunks * n_rows * row_bytes) / ((double)(sy_clock_ns() - begin_ns) * 1e-9);
    free(iov);
    return st;
}

static enum sy_status mpi_link(struct sy_group *group, int last, struct sy_link *mpi, struct sy_error *err)
{
    int n = (int)(STREAM_BYTES / MESSAGE_BYTES);
    void *buffer = calloc(1, MESSAGE_BYTES);
    double seconds = 0, back = 0;
    enum sy_status st = buffer ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory");

    st = sy_group_agree(group, st, err);
    if (!st)
        st = sy_group_link(group, 0, last, buffer, sizeof(uint64_t), 2 * TRIPS, true, &seconds, err);
    mpi->half_trip_s = seconds / (2 * TRIPS);
    if (!st)
        st = sy_group_link(group, 0, last, buffer, MESSAGE_BYTES, n, false, &seconds, err);
    /* A sender is done before its last bytes are there: let one come back. */
    if (!st)
        st = sy_group_link(group, 0, last, buffer, sizeof(uint64_t), 2, true, &back, err);
    mpi->rate = seconds > 0 ? (double)n * (double)MESSAGE_BYTES / (seconds + back) : 0;
    free(buffer);
    return st;
}

enum sy_status sy_link_measure(struct sy_moe *moe, struct sy_link *ours, struct sy_link *mpi, struct sy_error *err)
{
    struct sy_group *group = sy_fabric_group(moe->config.fabric);
    int last = moe->n_ranks - 1, peer = moe->rank ? 0 : last;
    bool first = moe->rank == 0;
    enum sy_status st = SY_OK;

    *ours = *mpi = (struct sy_link){0};
    if (!last)
        return SY_OK;
    if (first || moe->rank == last)
        st = ping_pong(moe, peer, first, &ours->half_trip_s, err);
    if (!st && (first || moe->rank == last))
        st = stream(moe, peer, first, &ours->rate, err);
    if (!st)
        st = sy_group_barrier(group, err);
    if (!st)
        st = mpi_link(group, last, mpi, err);
    return st ? st : sy_group_barrier(group, err);
}
