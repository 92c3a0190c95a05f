/* SPDX-License-Identifier: Apache-2.0
 * mpi.c - the transport that works everywhere: rings emulated with non-blocking messages
 *
 * A chunk is one message inside a node. Between nodes it is cut into pieces that MPI sends without asking: it asks before a
 * large message, and the question and its answer would wait in both directions behind the bytes of other chunks.
 *
 * The consumer keeps receives posted for every free slot of a ring, those of first pieces in the order of the chunks, and MPI
 * does not let messages of one tag overtake each other, so chunk n always lands in slot n % n_slots. Every other piece of a
 * slot has a tag of its own, since a short chunk leaves receives of its slot for the next one there. The producer copies a
 * chunk into a slot of its own and sends from there; it never has more chunks on the way than the consumer has receives
 * posted, so no message is ever unexpected.
 *
 * In front of every payload stands a head with the chunk's number, for checking, and the credit of the other direction.
 * Credit has a message of its own only when no chunk is there to carry it and the producer may be running out.
 *
 *   slot   | gap | head | payload, aligned to SY_ARENA_ALIGN |
 *                 ^ the message begins here
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "comm/mpi_private.h"

static struct sy_mpi_peer *peer_of(struct sy_mpi_transport *t, int rank)
{
    return rank >= 0 && rank < sy_group_size(t->base.group) && t->index[rank] >= 0 ? &t->peers[t->index[rank]] : NULL;
}

static size_t slot_bytes(const struct sy_transport_config *config, int lane)
{
    return sy_arena_round(SY_MPI_PAYLOAD_AT + config->chunk_bytes[lane]);
}

static enum sy_status mpi_open(struct sy_group *group, const struct sy_transport_config *config, const uint8_t *peers,
                               struct sy_transport **out, struct sy_error *err)
{
    for (int lane = 0; lane < SY_N_LANES; lane++)
        if (config->chunk_bytes[lane] > INT_MAX - 2 * SY_MPI_PAYLOAD_AT)
            return sy_error_set(err, SY_ERR_USAGE,
                                "a transport chunk of %zu bytes is more than the 2 GiB of an MPI "
                                "message; use fewer rows for each chunk",
                                config->chunk_bytes[lane]);
    struct sy_mpi_transport *t = calloc(1, sizeof *t);
    if (!t)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the mpi transport");
    t->base = (struct sy_transport){.ops = &sy_transport_mpi, .group = group, .config = *config};
    t->epoch = config->epoch;
    for (int lane = 0; lane < SY_N_LANES; lane++)
        t->slot_bytes[lane] = slot_bytes(config, lane);
    if (!sy_mpi_init(t, peers)) {
        sy_mpi_free(t);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the mpi transport's requests");
    }
    *out = &t->base;
    return SY_OK;
}

static size_t mpi_arena_bytes(const struct sy_transport_config *config, int n_peers)
{
    size_t bytes = 0;

    for (int lane = 0; lane < SY_N_LANES; lane++)
        bytes += (size_t)n_peers * 2 * (size_t)config->n_slots * slot_bytes(config, lane);
    return bytes;
}

static enum sy_status attach_peer(struct sy_mpi_transport *t, struct sy_mpi_peer *peer, struct sy_arena *arena,
                                  struct sy_error *err)
{
    int n_slots = t->base.config.n_slots;
    enum sy_status status = SY_OK;

    for (int lane = 0; lane < SY_N_LANES; lane++) {
        struct sy_mpi_ring_in *in = &peer->in[lane];
        in->slots = sy_arena_take(arena, (size_t)n_slots * t->slot_bytes[lane]);
        peer->out[lane].slots = sy_arena_take(arena, (size_t)n_slots * t->slot_bytes[lane]);
        if (!in->slots || !peer->out[lane].slots)
            return sy_error_set(err, SY_ERR_INTERNAL, "the arena is too small for the mpi transport");
        for (int i = 0; i < n_slots && status == SY_OK; i++)
            status = sy_mpi_post_chunk(t, peer, lane, (uint64_t)i, err);
    }
    return status == SY_OK ? sy_mpi_post_credit(t, peer, err) : status;
}

/* Ends in an agreement: nobody sends before everybody's receives are posted. */
static enum sy_status mpi_attach(struct sy_transport *base, struct sy_arena *arena, struct sy_error *err)
{
    struct sy_mpi_transport *t = (struct sy_mpi_transport *)base;
    enum sy_status status = SY_OK;

    for (int p = 0; p < t->n_peers && status == SY_OK; p++)
        status = attach_peer(t, &t->peers[p], arena, err);
    status = sy_group_agree(base->group, status, err);
    t->attached = status == SY_OK;
    if (status != SY_OK)
        sy_mpi_drop_receives(t);
    return status;
}

static enum sy_status mpi_put(struct sy_transport *base, int rank, enum sy_lane lane, uint64_t chunk,
                              const struct iovec *iov, int n_iov, struct sy_error *err)
{
    struct sy_mpi_transport *t = (struct sy_mpi_transport *)base;
    struct sy_mpi_peer *peer = peer_of(t, rank);
    uint64_t n_slots = (uint64_t)base->config.n_slots;
    size_t bytes = 0;
    int free_now = 0;

    if (!peer || chunk != peer->out[lane].put)
        return sy_error_set(err, SY_ERR_INTERNAL, "mpi transport: put of chunk %llu for rank %d, expected chunk %llu",
                            (unsigned long long)chunk, rank, peer ? (unsigned long long)peer->out[lane].put : 0ull);
    struct sy_mpi_ring_out *out = &peer->out[lane];
    if (out->put >= out->credit + n_slots)
        return SY_AGAIN;
    for (int i = 0; i < n_iov; i++)
        bytes += iov[i].iov_len;
    if (bytes > base->config.chunk_bytes[lane])
        return sy_error_set(err, SY_ERR_INTERNAL, "mpi transport: a chunk of %zu bytes, at most %zu", bytes,
                            base->config.chunk_bytes[lane]);
    size_t slot = chunk % n_slots;
    MPI_Request *requests = &out->requests[slot * (size_t)peer->n_pieces[lane]];
    int rc = MPI_Testall(peer->n_pieces[lane], requests, &free_now, MPI_STATUSES_IGNORE);
    if (rc != MPI_SUCCESS)
        return sy_mpi_failed(t, rank, err, rc, "sending");
    if (!free_now) /* its chunk has arrived, but MPI does not know that yet */
        return SY_AGAIN;
    uint8_t *message = out->slots + slot * t->slot_bytes[lane] + SY_MPI_HEAD_AT,
            *at = message + sizeof(struct sy_mpi_head);
    struct sy_mpi_head head = sy_mpi_compose(t, peer, lane, chunk);
    head.bytes = bytes;
    memcpy(message, &head, sizeof head);
    for (int i = 0; i < n_iov; i++) {
        if (iov[i].iov_len)
            memcpy(at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    for (int i = 0; i < sy_mpi_pieces_of(peer, bytes) && rc == MPI_SUCCESS; i++) {
        struct iovec piece = sy_mpi_piece_of(peer, message, bytes, i);
        rc = sy_group_row_isend(base->group, piece.iov_base, piece.iov_len, rank, sy_mpi_tag_of(peer, lane, slot, i),
                                &requests[i]);
    }
    if (rc != MPI_SUCCESS)
        return sy_mpi_failed(t, rank, err, rc, "sending");
    out->put++;
    if (peer->credit_due) { /* the chunk carries it */
        peer->credit_due = false;
        t->n_credits_due--;
    }
    if (rank != sy_group_rank(base->group))
        t->wire_bytes += bytes;
    return SY_OK;
}

static enum sy_status mpi_poll(struct sy_transport *base, int rank, enum sy_lane lane, const void **data, size_t *bytes,
                               struct sy_error *err)
{
    struct sy_mpi_transport *t = (struct sy_mpi_transport *)base;
    struct sy_mpi_peer *peer = peer_of(t, rank);

    if (!peer)
        return sy_error_set(err, SY_ERR_INTERNAL, "mpi transport: poll of rank %d, which it does not serve", rank);
    struct sy_mpi_ring_in *in = &peer->in[lane];
    if (in->polled == in->arrived)
        return SY_AGAIN;
    size_t slot = in->polled % (uint64_t)base->config.n_slots;
    *data = in->slots + slot * t->slot_bytes[lane] + SY_MPI_PAYLOAD_AT;
    *bytes = in->bytes[slot];
    in->polled++;
    return SY_OK;
}

static enum sy_status mpi_release(struct sy_transport *base, int rank, enum sy_lane lane, int n, struct sy_error *err)
{
    struct sy_mpi_transport *t = (struct sy_mpi_transport *)base;
    struct sy_mpi_peer *peer = peer_of(t, rank);
    uint64_t n_slots = (uint64_t)base->config.n_slots;

    if (!peer || n < 0 || (uint64_t)n > peer->in[lane].polled - peer->in[lane].released)
        return sy_error_set(err, SY_ERR_INTERNAL, "mpi transport: release of %d chunks from rank %d, %llu are held", n,
                            rank, peer ? (unsigned long long)(peer->in[lane].polled - peer->in[lane].released) : 0ull);
    struct sy_mpi_ring_in *in = &peer->in[lane];
    for (int i = 0; i < n; i++) {
        /* The freed slot is for this one. */
        enum sy_status status = sy_mpi_post_chunk(t, peer, lane, in->released + n_slots, err);
        if (status != SY_OK)
            return status;
        in->released++;
    }
    sy_mpi_consider_credit(t, peer);
    return peer->credit_due && !t->closing ? sy_mpi_send_credit(t, peer, err) : SY_OK;
}

static struct sy_ring_state mpi_state(const struct sy_transport *base, int rank, enum sy_lane lane, int outgoing)
{
    const struct sy_mpi_transport *t = (const struct sy_mpi_transport *)base;

    if (t->index[rank] < 0)
        return (struct sy_ring_state){0};
    const struct sy_mpi_peer *peer = &t->peers[t->index[rank]];
    if (outgoing)
        return (struct sy_ring_state){.head = peer->out[lane].put, .tail = peer->out[lane].credit};
    return (struct sy_ring_state){.head = peer->in[lane].polled, .tail = peer->in[lane].released};
}

static uint64_t mpi_wire_bytes(const struct sy_transport *base)
{
    return ((const struct sy_mpi_transport *)base)->wire_bytes;
}

static void mpi_close(struct sy_transport *base)
{
    struct sy_mpi_transport *t = (struct sy_mpi_transport *)base;
    struct sy_error err = SY_ERROR_INIT;

    if (!t)
        return;
    if (t->attached && !t->failed && sy_mpi_drain(t, &err) != SY_OK)
        sy_log(SY_LOG_WARN, "closing the mpi transport: %s", err.text);
    sy_mpi_drop_receives(t);
    for (int p = 0; p < t->n_peers; p++) {
        sy_request_drop(&t->peers[p].credit_sent);
        sy_request_drop(&t->peers[p].fin_sent);
        for (int lane = 0; lane < SY_N_LANES; lane++)
            for (int i = 0; i < base->config.n_slots * t->peers[p].n_pieces[lane]; i++)
                sy_request_drop(&t->peers[p].out[lane].requests[i]);
    }
    sy_mpi_free(t);
}

const struct sy_transport_ops sy_transport_mpi = {
    .name = "mpi",
    .open = mpi_open,
    .close = mpi_close,
    .arena_bytes = mpi_arena_bytes,
    .attach = mpi_attach,
    .put = mpi_put,
    .poll = mpi_poll,
    .release = mpi_release,
    .progress = sy_mpi_progress,
    .state = mpi_state,
    .wire_bytes = mpi_wire_bytes,
};
