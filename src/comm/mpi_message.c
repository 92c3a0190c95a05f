/* SPDX-License-Identifier: Apache-2.0
 * mpi_message.c - messages of the mpi transport as they come in, and credit
 */
#include <stdio.h>
#include <string.h>

#include "comm/mpi_private.h"
#include "comm/ring.h"

enum sy_status sy_mpi_broken(struct sy_mpi_transport *t, int rank, struct sy_error *err, const char *what)
{
    t->failed = true;
    if (err)
        err->rank = rank;
    return sy_error_set(err, SY_ERR_INTERNAL, "mpi transport: rank %d (%s) %s", rank,
                        sy_group_host(t->base.group, rank), what);
}

enum sy_status sy_mpi_failed(struct sy_mpi_transport *t, int rank, struct sy_error *err, int code, const char *what)
{
    t->failed = true;
    sy_mpi_error(err, code, what);
    if (err)
        err->rank = rank;
    sy_error_prefix(err, "mpi transport: rank %d (%s)", rank, sy_group_host(t->base.group, rank));
    return SY_ERR_PEER;
}

static uint8_t *message_in(const struct sy_mpi_transport *t, const struct sy_mpi_peer *peer, int lane, size_t slot)
{
    return peer->in[lane].slots + slot * t->slot_bytes[lane] + SY_MPI_HEAD_AT;
}

enum sy_status sy_mpi_post_chunk(struct sy_mpi_transport *t, struct sy_mpi_peer *peer, int lane, uint64_t chunk,
                                 struct sy_error *err)
{
    size_t slot = chunk % (uint64_t)t->base.config.n_slots;
    struct sy_mpi_ring_in *in = &peer->in[lane];
    MPI_Request *requests = &in->requests[slot * (size_t)peer->n_pieces[lane]];
    uint8_t *message = message_in(t, peer, lane, slot);
    int rc = MPI_SUCCESS;

    for (int i = 0; i < peer->n_pieces[lane] && rc == MPI_SUCCESS; i++) {
        struct iovec piece = sy_mpi_piece_of(peer, message, t->base.config.chunk_bytes[lane], i);
        bool next = i == 0 && chunk == in->arrived;
        MPI_Request *request = next ? &t->next[t->index[peer->rank] * SY_MPI_N_NEXT + lane] : &requests[i];
        if (*request == MPI_REQUEST_NULL)
            rc = sy_group_row_irecv(t->base.group, piece.iov_base, piece.iov_len, peer->rank,
                                    sy_mpi_tag_of(peer, lane, slot, i), request);
    }
    return rc == MPI_SUCCESS ? SY_OK : sy_mpi_failed(t, peer->rank, err, rc, "posting a receive");
}

enum sy_status sy_mpi_post_credit(struct sy_mpi_transport *t, struct sy_mpi_peer *peer, struct sy_error *err)
{
    MPI_Request *request = &t->next[t->index[peer->rank] * SY_MPI_N_NEXT + SY_MPI_TAG_CREDIT];
    int rc = sy_group_row_irecv(t->base.group, &peer->credit_in, sizeof peer->credit_in, peer->rank, SY_MPI_TAG_CREDIT,
                                request);

    return rc == MPI_SUCCESS ? SY_OK : sy_mpi_failed(t, peer->rank, err, rc, "posting a receive");
}

struct sy_mpi_head sy_mpi_compose(const struct sy_mpi_transport *t, struct sy_mpi_peer *peer, uint32_t kind,
                                  uint64_t chunk)
{
    struct sy_mpi_head head = {.magic = SY_MPI_MAGIC, .kind = kind, .epoch = t->epoch, .chunk = chunk};

    for (int lane = 0; lane < SY_N_LANES; lane++)
        head.count[lane] = peer->in[lane].reported = peer->in[lane].released;
    return head;
}

void sy_mpi_consider_credit(struct sy_mpi_transport *t, struct sy_mpi_peer *peer)
{
    for (int lane = 0; lane < SY_N_LANES && !peer->credit_due; lane++) {
        const struct sy_mpi_ring_in *in = &peer->in[lane];
        if (sy_ring_credit_due(t->base.config.n_slots, in->arrived, in->released, in->reported)) {
            peer->credit_due = true;
            t->n_credits_due++;
        }
    }
}

enum sy_status sy_mpi_send_credit(struct sy_mpi_transport *t, struct sy_mpi_peer *peer, struct sy_error *err)
{
    int sent = 0;
    int rc = MPI_Test(&peer->credit_sent, &sent, MPI_STATUS_IGNORE);

    if (rc == MPI_SUCCESS && sent) {
        peer->credit_out = sy_mpi_compose(t, peer, SY_MPI_KIND_CREDIT, 0);
        rc = sy_group_row_isend(t->base.group, &peer->credit_out, sizeof peer->credit_out, peer->rank,
                                SY_MPI_TAG_CREDIT, &peer->credit_sent);
        peer->credit_due = false;
        t->n_credits_due--;
    }
    return rc == MPI_SUCCESS ? SY_OK : sy_mpi_failed(t, peer->rank, err, rc, "sending credit");
}

static enum sy_status take_counts(struct sy_mpi_transport *t, struct sy_mpi_peer *peer, const struct sy_mpi_head *head,
                                  struct sy_error *err)
{
    for (int lane = 0; lane < SY_N_LANES; lane++) {
        struct sy_mpi_ring_out *out = &peer->out[lane];
        if (head->count[lane] > out->put)
            return sy_mpi_broken(t, peer->rank, err, "gave credit for more chunks than it was sent");
        if (head->count[lane] > out->credit) /* the lanes' messages may pass each other */
            out->credit = head->count[lane];
    }
    return SY_OK;
}

static enum sy_status arrived_credit(struct sy_mpi_transport *t, struct sy_mpi_peer *peer, struct sy_error *err)
{
    const struct sy_mpi_head *head = &peer->credit_in;

    if (head->magic != SY_MPI_MAGIC || head->epoch != t->epoch ||
        (head->kind != SY_MPI_KIND_CREDIT && head->kind != SY_MPI_KIND_FIN))
        return sy_mpi_broken(t, peer->rank, err, "sent a credit message that is malformed or of another session");
    if (head->kind == SY_MPI_KIND_FIN) {
        memcpy(peer->n_fin, head->count, sizeof peer->n_fin);
        peer->fin_in = true;
        return SY_OK;
    }
    enum sy_status status = take_counts(t, peer, head, err);
    return status == SY_OK ? sy_mpi_post_credit(t, peer, err) : status;
}

/* All of the next chunk of a ring is there. */
static void complete_chunk(struct sy_mpi_transport *t, struct sy_mpi_peer *peer, int lane)
{
    struct sy_mpi_ring_in *in = &peer->in[lane];
    uint64_t n_slots = (uint64_t)t->base.config.n_slots;

    t->n_begun -= in->n_begun > 0;
    in->n_begun = 0;
    in->arrived++;
    if (in->arrived < in->released + n_slots) {
        MPI_Request *following = &in->requests[in->arrived % n_slots * (uint64_t)peer->n_pieces[lane]];
        t->next[t->index[peer->rank] * SY_MPI_N_NEXT + lane] = *following;
        *following = MPI_REQUEST_NULL;
    }
    sy_mpi_consider_credit(t, peer);
}

/* The first piece of the next chunk. */
static enum sy_status arrived_chunk(struct sy_mpi_transport *t, struct sy_mpi_peer *peer, int lane, int count,
                                    struct sy_error *err)
{
    struct sy_mpi_ring_in *in = &peer->in[lane];
    size_t slot = in->arrived % (uint64_t)t->base.config.n_slots;
    struct sy_mpi_head *head = (struct sy_mpi_head *)message_in(t, peer, lane, slot);
    bool whole = (size_t)count >= sizeof *head;

    if (!whole || head->magic != SY_MPI_MAGIC || head->epoch != t->epoch || head->kind != (uint32_t)lane ||
        head->chunk != in->arrived || head->bytes > t->base.config.chunk_bytes[lane] ||
        (size_t)count != sy_mpi_piece_of(peer, (uint8_t *)head, head->bytes, 0).iov_len) {
        char what[200];
        snprintf(what, sizeof what,
                 "sent something else than chunk %llu of lane %d (found lane %u, chunk %llu, %d bytes)",
                 (unsigned long long)in->arrived, lane, whole ? head->kind : 0,
                 whole ? (unsigned long long)head->chunk : 0ull, count);
        return sy_mpi_broken(t, peer->rank, err, what);
    }
    in->bytes[slot] = head->bytes;
    enum sy_status status = take_counts(t, peer, head, err);
    if (sy_mpi_pieces_of(peer, head->bytes) == 1) {
        complete_chunk(t, peer, lane);
    } else {
        in->n_begun = sy_mpi_pieces_of(peer, head->bytes);
        t->n_begun++;
    }
    return status;
}

/* Have the other pieces of a chunk that has begun come too? */
static enum sy_status look_for_pieces(struct sy_mpi_transport *t, struct sy_mpi_peer *peer, int lane, bool *moved,
                                      struct sy_error *err)
{
    struct sy_mpi_ring_in *in = &peer->in[lane];
    size_t slot = in->arrived % (uint64_t)t->base.config.n_slots;
    MPI_Request *requests = &in->requests[slot * (size_t)peer->n_pieces[lane]];

    /* In this order they come, and complete: the last one tells of those before it. */
    for (int i = in->n_begun - 1; i > 0; i--) {
        MPI_Status status;
        int done = 0, count = 0;
        if (requests[i] == MPI_REQUEST_NULL)
            continue;
        int rc = MPI_Test(&requests[i], &done, &status);
        if (rc != MPI_SUCCESS)
            return sy_mpi_failed(t, peer->rank, err, rc, "receiving");
        if (!done)
            return SY_OK;
        MPI_Get_count(&status, MPI_BYTE, &count);
        if ((size_t)count != sy_mpi_piece_of(peer, NULL, in->bytes[slot], i).iov_len)
            return sy_mpi_broken(t, peer->rank, err, "sent a piece of a chunk that is too short or too long");
    }
    complete_chunk(t, peer, lane);
    *moved = true;
    return SY_OK;
}

static enum sy_status look_for_all_pieces(struct sy_mpi_transport *t, bool *moved, struct sy_error *err)
{
    enum sy_status status = SY_OK;

    for (int p = 0; p < t->n_peers && t->n_begun && status == SY_OK; p++)
        for (int lane = 0; lane < SY_N_LANES && status == SY_OK; lane++)
            if (t->peers[p].in[lane].n_begun)
                status = look_for_pieces(t, &t->peers[p], lane, moved, err);
    return status;
}

enum sy_status sy_mpi_progress(struct sy_transport *base, struct sy_error *err)
{
    struct sy_mpi_transport *t = (struct sy_mpi_transport *)base;
    int n_done;
    bool moved;

    do {
        n_done = 0;
        moved = false;
        int rc = MPI_Testsome(t->n_peers * SY_MPI_N_NEXT, t->next, &n_done, t->done, t->statuses);
        if (n_done == MPI_UNDEFINED)
            n_done = 0;
        for (int i = 0; i < n_done; i++) {
            struct sy_mpi_peer *peer = &t->peers[t->done[i] / SY_MPI_N_NEXT];
            int what = t->done[i] % SY_MPI_N_NEXT, count = 0;
            if (rc == MPI_ERR_IN_STATUS && t->statuses[i].MPI_ERROR != MPI_SUCCESS)
                return sy_mpi_failed(t, peer->rank, err, t->statuses[i].MPI_ERROR, "receiving");
            MPI_Get_count(&t->statuses[i], MPI_BYTE, &count);
            enum sy_status status = what == SY_MPI_TAG_CREDIT ? arrived_credit(t, peer, err)
                                                              : arrived_chunk(t, peer, what, count, err);
            if (status != SY_OK)
                return status;
        }
        if (rc != MPI_SUCCESS) {
            t->failed = true;
            return sy_mpi_error(err, rc, "mpi transport: receiving");
        }
        enum sy_status status = look_for_all_pieces(t, &moved, err);
        if (status != SY_OK)
            return status;
    } while (n_done > 0 || moved);
    for (int p = 0; p < t->n_peers && t->n_credits_due && !t->closing; p++) {
        if (!t->peers[p].credit_due)
            continue;
        enum sy_status status = sy_mpi_send_credit(t, &t->peers[p], err);
        if (status != SY_OK)
            return status;
    }
    return SY_OK;
}
