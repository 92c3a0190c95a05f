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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "comm/group_mpi.h"
#include "comm/ring.h"
#include "comm/transport.h"

#define MAGIC      0x52575953u /* "SYWR" */
#define TAG_CREDIT SY_N_LANES  /* first pieces have the number of their lane as tag */
#define TAG_PIECES (TAG_CREDIT + 1)

/* Open MPI sends up to 64 KiB over TCP at once, its own head included. */
#define PIECE_BYTES ((size_t)60 << 10)

enum kind { KIND_CREDIT = SY_N_LANES, KIND_FIN }; /* lower: a chunk of that lane */

struct head {
    uint32_t magic, kind;
    uint64_t epoch;             /* of the transport's open() */
    uint64_t chunk;             /* its number in its ring */
    uint64_t bytes;             /* payload */
    uint64_t count[SY_N_LANES]; /* chunks that the sender has released; in a fin: that it has put. They only grow. */
};

#define PAYLOAD_AT SY_ARENA_ALIGN
#define HEAD_AT    (PAYLOAD_AT - sizeof(struct head))
_Static_assert(sizeof(struct head) <= PAYLOAD_AT, "the head must fit before the payload");

struct ring_out {
    uint64_t put, credit;  /* chunks put; chunks that the consumer has released */
    uint8_t *slots;        /* [n_slots] */
    MPI_Request *requests; /* [n_slots][n_pieces] sends */
};

struct ring_in {
    uint64_t arrived, polled, released, reported; /* reported: as released, but told to the producer */
    uint8_t *slots;                               /* [n_slots] */
    MPI_Request *requests; /* [n_slots][n_pieces] posted receives, but for the one that is in t->next */
    size_t *bytes;         /* [n_slots] payload */
    int n_begun;           /* pieces of the next chunk, of which the first one has arrived; 0: it has not */
};

struct peer {
    int rank;
    size_t piece_bytes;
    int n_pieces[SY_N_LANES]; /* of the longest chunk */
    struct ring_out out[SY_N_LANES];
    struct ring_in in[SY_N_LANES];
    struct head credit_in, credit_out, fin_out;
    MPI_Request credit_sent, fin_sent;
    bool credit_due, fin_in;
    uint64_t n_fin[SY_N_LANES]; /* chunks that the peer has put in all, once fin_in */
};

struct transport {
    struct sy_transport base;
    uint64_t epoch, wire_bytes;
    int n_peers, n_credits_due, n_begun;
    struct peer *peers; /* [n_peers] */
    int *index;         /* [ranks] in peers, -1: not served */
    size_t slot_bytes[SY_N_LANES];
    /* For peer p: next[p * N_NEXT + lane] the next chunk of a ring, next[p * N_NEXT + TAG_CREDIT] the next credit. Only these
     * are looked at; what comes after them in a ring cannot be used before them. */
    MPI_Request *next;
    MPI_Status *statuses;
    int *done;
    bool attached, failed, closing;
};

#define N_NEXT (SY_N_LANES + 1)

static enum sy_status broken(struct transport *t, int rank, struct sy_error *err, const char *what)
{
    t->failed = true;
    if (err)
        err->rank = rank;
    return sy_error_set(err, SY_ERR_INTERNAL, "mpi transport: rank %d (%s) %s", rank,
                        sy_group_host(t->base.group, rank), what);
}

static enum sy_status failed(struct transport *t, int rank, struct sy_error *err, int code, const char *what)
{
    t->failed = true;
    sy_mpi_error(err, code, what);
    if (err)
        err->rank = rank;
    sy_error_prefix(err, "mpi transport: rank %d (%s)", rank, sy_group_host(t->base.group, rank));
    return SY_ERR_PEER;
}

static struct peer *peer_of(struct transport *t, int rank)
{
    return rank >= 0 && rank < sy_group_size(t->base.group) && t->index[rank] >= 0 ? &t->peers[t->index[rank]] : NULL;
}

/* Memory */

static void transport_free(struct transport *t)
{
    for (int p = 0; t->peers && p < t->n_peers; p++) {
        for (int lane = 0; lane < SY_N_LANES; lane++) {
            free(t->peers[p].out[lane].requests);
            free(t->peers[p].in[lane].requests);
            free(t->peers[p].in[lane].bytes);
        }
    }
    free(t->peers);
    free(t->index);
    free(t->next);
    free(t->statuses);
    free(t->done);
    free(t);
}

static int pieces_of(const struct peer *peer, size_t payload_bytes)
{
    return (int)((sizeof(struct head) + payload_bytes + peer->piece_bytes - 1) / peer->piece_bytes);
}

/* The same on both sides. */
static void choose_pieces(const struct transport *t, struct peer *peer)
{
    struct sy_group *group = t->base.group;
    bool near = sy_group_node_of(group, peer->rank) == sy_group_node_of(group, sy_group_rank(group));
    int n_max;

    peer->piece_bytes = near ? INT_MAX : PIECE_BYTES;
    do {
        n_max = 1;
        for (int lane = 0; lane < SY_N_LANES; lane++) {
            peer->n_pieces[lane] = pieces_of(peer, t->base.config.chunk_bytes[lane]);
            n_max = peer->n_pieces[lane] > n_max ? peer->n_pieces[lane] : n_max;
        }
        peer->piece_bytes *= 2;
    } while (n_max > 1 && TAG_PIECES + ((int64_t)t->base.config.n_slots * n_max + 1) * SY_N_LANES > SY_TAG_DIRECT);
    peer->piece_bytes /= 2;
}

static bool peer_init(const struct transport *t, struct peer *peer, int rank)
{
    int n_slots = t->base.config.n_slots;

    peer->rank = rank;
    choose_pieces(t, peer);
    peer->credit_sent = peer->fin_sent = MPI_REQUEST_NULL;
    for (int lane = 0; lane < SY_N_LANES; lane++) {
        struct ring_out *out = &peer->out[lane];
        struct ring_in *in = &peer->in[lane];
        int n = n_slots * peer->n_pieces[lane];
        out->requests = malloc((size_t)n * sizeof(MPI_Request));
        in->requests = malloc((size_t)n * sizeof(MPI_Request));
        in->bytes = calloc((size_t)n_slots, sizeof *in->bytes);
        if (!out->requests || !in->requests || !in->bytes)
            return false;
        for (int i = 0; i < n; i++)
            out->requests[i] = in->requests[i] = MPI_REQUEST_NULL;
    }
    return true;
}

static bool transport_init(struct transport *t, const uint8_t *peers)
{
    int size = sy_group_size(t->base.group);

    t->index = malloc((size_t)size * sizeof *t->index);
    if (!t->index)
        return false;
    for (int r = 0; r < size; r++)
        t->index[r] = peers[r] ? t->n_peers++ : -1;
    size_t n_next = (size_t)t->n_peers * N_NEXT;
    t->peers = calloc((size_t)t->n_peers + 1, sizeof *t->peers);
    t->next = malloc((n_next + 1) * sizeof(MPI_Request));
    t->statuses = calloc(n_next + 1, sizeof *t->statuses);
    t->done = calloc(n_next + 1, sizeof *t->done);
    if (!t->peers || !t->next || !t->statuses || !t->done)
        return false;
    for (size_t i = 0; i < n_next; i++)
        t->next[i] = MPI_REQUEST_NULL;
    for (int r = 0; r < size; r++)
        if (t->index[r] >= 0 && !peer_init(t, &t->peers[t->index[r]], r))
            return false;
    return true;
}

static size_t slot_bytes(const struct sy_transport_config *config, int lane)
{
    return sy_arena_round(PAYLOAD_AT + config->chunk_bytes[lane]);
}

static enum sy_status mpi_open(struct sy_group *group, const struct sy_transport_config *config, const uint8_t *peers,
                               struct sy_transport **out, struct sy_error *err)
{
    for (int lane = 0; lane < SY_N_LANES; lane++)
        if (config->chunk_bytes[lane] > INT_MAX - 2 * PAYLOAD_AT)
            return sy_error_set(err, SY_ERR_USAGE,
                                "a transport chunk of %zu bytes is more than the 2 GiB of an MPI "
                                "message; use fewer rows for each chunk",
                                config->chunk_bytes[lane]);
    struct transport *t = calloc(1, sizeof *t);
    if (!t)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the mpi transport");
    t->base = (struct sy_transport){.ops = &sy_transport_mpi, .group = group, .config = *config};
    t->epoch = config->epoch;
    for (int lane = 0; lane < SY_N_LANES; lane++)
        t->slot_bytes[lane] = slot_bytes(config, lane);
    if (!transport_init(t, peers)) {
        transport_free(t);
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

/* Receiving */

/* Where piece i of the chunk that begins at message is, how much there is of it when the payload has so many bytes, its tag. */
static struct iovec piece_of(const struct peer *peer, uint8_t *message, size_t payload_bytes, int i)
{
    size_t at = (size_t)i * peer->piece_bytes, left = sizeof(struct head) + payload_bytes - at;

    return (struct iovec){message + at, left < peer->piece_bytes ? left : peer->piece_bytes};
}

static int tag_of(const struct peer *peer, int lane, size_t slot, int i)
{
    return i ? TAG_PIECES + ((int)slot * peer->n_pieces[lane] + i) * SY_N_LANES + lane : lane;
}

static uint8_t *message_in(const struct transport *t, const struct peer *peer, int lane, size_t slot)
{
    return peer->in[lane].slots + slot * t->slot_bytes[lane] + HEAD_AT;
}

/* The receives of a free slot that are not posted yet. */
static enum sy_status post_chunk(struct transport *t, struct peer *peer, int lane, uint64_t chunk, struct sy_error *err)
{
    size_t slot = chunk % (uint64_t)t->base.config.n_slots;
    struct ring_in *in = &peer->in[lane];
    MPI_Request *requests = &in->requests[slot * (size_t)peer->n_pieces[lane]];
    uint8_t *message = message_in(t, peer, lane, slot);
    int rc = MPI_SUCCESS;

    for (int i = 0; i < peer->n_pieces[lane] && rc == MPI_SUCCESS; i++) {
        struct iovec piece = piece_of(peer, message, t->base.config.chunk_bytes[lane], i);
        bool next = i == 0 && chunk == in->arrived;
        MPI_Request *request = next ? &t->next[t->index[peer->rank] * N_NEXT + lane] : &requests[i];
        if (*request == MPI_REQUEST_NULL)
            rc = sy_group_row_irecv(t->base.group, piece.iov_base, piece.iov_len, peer->rank,
                                    tag_of(peer, lane, slot, i), request);
    }
    return rc == MPI_SUCCESS ? SY_OK : failed(t, peer->rank, err, rc, "posting a receive");
}

static enum sy_status post_credit(struct transport *t, struct peer *peer, struct sy_error *err)
{
    MPI_Request *request = &t->next[t->index[peer->rank] * N_NEXT + TAG_CREDIT];
    int rc = sy_group_row_irecv(t->base.group, &peer->credit_in, sizeof peer->credit_in, peer->rank, TAG_CREDIT,
                                request);

    return rc == MPI_SUCCESS ? SY_OK : failed(t, peer->rank, err, rc, "posting a receive");
}

static struct head compose(const struct transport *t, struct peer *peer, uint32_t kind, uint64_t chunk)
{
    struct head head = {.magic = MAGIC, .kind = kind, .epoch = t->epoch, .chunk = chunk};

    for (int lane = 0; lane < SY_N_LANES; lane++)
        head.count[lane] = peer->in[lane].reported = peer->in[lane].released;
    return head;
}

static void consider_credit(struct transport *t, struct peer *peer)
{
    for (int lane = 0; lane < SY_N_LANES && !peer->credit_due; lane++) {
        const struct ring_in *in = &peer->in[lane];
        if (sy_ring_credit_due(t->base.config.n_slots, in->arrived, in->released, in->reported)) {
            peer->credit_due = true;
            t->n_credits_due++;
        }
    }
}

/* Not an error when the last credit message is still under way: the next progress() comes back to it. */
static enum sy_status send_credit(struct transport *t, struct peer *peer, struct sy_error *err)
{
    int sent = 0;
    int rc = MPI_Test(&peer->credit_sent, &sent, MPI_STATUS_IGNORE);

    if (rc == MPI_SUCCESS && sent) {
        peer->credit_out = compose(t, peer, KIND_CREDIT, 0);
        rc = sy_group_row_isend(t->base.group, &peer->credit_out, sizeof peer->credit_out, peer->rank, TAG_CREDIT,
                                &peer->credit_sent);
        peer->credit_due = false;
        t->n_credits_due--;
    }
    return rc == MPI_SUCCESS ? SY_OK : failed(t, peer->rank, err, rc, "sending credit");
}

static enum sy_status take_counts(struct transport *t, struct peer *peer, const struct head *head, struct sy_error *err)
{
    for (int lane = 0; lane < SY_N_LANES; lane++) {
        struct ring_out *out = &peer->out[lane];
        if (head->count[lane] > out->put)
            return broken(t, peer->rank, err, "gave credit for more chunks than it was sent");
        if (head->count[lane] > out->credit) /* the lanes' messages may pass each other */
            out->credit = head->count[lane];
    }
    return SY_OK;
}

static enum sy_status arrived_credit(struct transport *t, struct peer *peer, struct sy_error *err)
{
    const struct head *head = &peer->credit_in;

    if (head->magic != MAGIC || head->epoch != t->epoch || (head->kind != KIND_CREDIT && head->kind != KIND_FIN))
        return broken(t, peer->rank, err, "sent a credit message that is malformed or of another session");
    if (head->kind == KIND_FIN) {
        memcpy(peer->n_fin, head->count, sizeof peer->n_fin);
        peer->fin_in = true;
        return SY_OK;
    }
    enum sy_status status = take_counts(t, peer, head, err);
    return status == SY_OK ? post_credit(t, peer, err) : status;
}

/* All of the next chunk of a ring is there. */
static void complete_chunk(struct transport *t, struct peer *peer, int lane)
{
    struct ring_in *in = &peer->in[lane];
    uint64_t n_slots = (uint64_t)t->base.config.n_slots;

    t->n_begun -= in->n_begun > 0;
    in->n_begun = 0;
    in->arrived++;
    if (in->arrived < in->released + n_slots) {
        MPI_Request *following = &in->requests[in->arrived % n_slots * (uint64_t)peer->n_pieces[lane]];
        t->next[t->index[peer->rank] * N_NEXT + lane] = *following;
        *following = MPI_REQUEST_NULL;
    }
    consider_credit(t, peer);
}

/* The first piece of the next chunk. */
static enum sy_status arrived_chunk(struct transport *t, struct peer *peer, int lane, int count, struct sy_error *err)
{
    struct ring_in *in = &peer->in[lane];
    size_t slot = in->arrived % (uint64_t)t->base.config.n_slots;
    struct head *head = (struct head *)message_in(t, peer, lane, slot);
    bool whole = (size_t)count >= sizeof *head;

    if (!whole || head->magic != MAGIC || head->epoch != t->epoch || head->kind != (uint32_t)lane ||
        head->chunk != in->arrived || head->bytes > t->base.config.chunk_bytes[lane] ||
        (size_t)count != piece_of(peer, (uint8_t *)head, head->bytes, 0).iov_len) {
        char what[200];
        snprintf(what, sizeof what,
                 "sent something else than chunk %llu of lane %d (found lane %u, chunk %llu, %d bytes)",
                 (unsigned long long)in->arrived, lane, whole ? head->kind : 0,
                 whole ? (unsigned long long)head->chunk : 0ull, count);
        return broken(t, peer->rank, err, what);
    }
    in->bytes[slot] = head->bytes;
    enum sy_status status = take_counts(t, peer, head, err);
    if (pieces_of(peer, head->bytes) == 1) {
        complete_chunk(t, peer, lane);
    } else {
        in->n_begun = pieces_of(peer, head->bytes);
        t->n_begun++;
    }
    return status;
}

/* Have the other pieces of a chunk that has begun come too? */
static enum sy_status look_for_pieces(struct transport *t, struct peer *peer, int lane, bool *moved,
                                      struct sy_error *err)
{
    struct ring_in *in = &peer->in[lane];
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
            return failed(t, peer->rank, err, rc, "receiving");
        if (!done)
            return SY_OK;
        MPI_Get_count(&status, MPI_BYTE, &count);
        if ((size_t)count != piece_of(peer, NULL, in->bytes[slot], i).iov_len)
            return broken(t, peer->rank, err, "sent a piece of a chunk that is too short or too long");
    }
    complete_chunk(t, peer, lane);
    *moved = true;
    return SY_OK;
}

static enum sy_status look_for_all_pieces(struct transport *t, bool *moved, struct sy_error *err)
{
    enum sy_status status = SY_OK;

    for (int p = 0; p < t->n_peers && t->n_begun && status == SY_OK; p++)
        for (int lane = 0; lane < SY_N_LANES && status == SY_OK; lane++)
            if (t->peers[p].in[lane].n_begun)
                status = look_for_pieces(t, &t->peers[p], lane, moved, err);
    return status;
}

static enum sy_status mpi_progress(struct sy_transport *base, struct sy_error *err)
{
    struct transport *t = (struct transport *)base;
    int n_done;
    bool moved;

    do {
        n_done = 0;
        moved = false;
        int rc = MPI_Testsome(t->n_peers * N_NEXT, t->next, &n_done, t->done, t->statuses);
        if (n_done == MPI_UNDEFINED)
            n_done = 0;
        for (int i = 0; i < n_done; i++) {
            struct peer *peer = &t->peers[t->done[i] / N_NEXT];
            int what = t->done[i] % N_NEXT, count = 0;
            if (rc == MPI_ERR_IN_STATUS && t->statuses[i].MPI_ERROR != MPI_SUCCESS)
                return failed(t, peer->rank, err, t->statuses[i].MPI_ERROR, "receiving");
            MPI_Get_count(&t->statuses[i], MPI_BYTE, &count);
            enum sy_status status = what == TAG_CREDIT ? arrived_credit(t, peer, err)
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
        enum sy_status status = send_credit(t, &t->peers[p], err);
        if (status != SY_OK)
            return status;
    }
    return SY_OK;
}

/* The table */

static enum sy_status mpi_put(struct sy_transport *base, int rank, enum sy_lane lane, uint64_t chunk,
                              const struct iovec *iov, int n_iov, struct sy_error *err)
{
    struct transport *t = (struct transport *)base;
    struct peer *peer = peer_of(t, rank);
    uint64_t n_slots = (uint64_t)base->config.n_slots;
    size_t bytes = 0;
    int free_now = 0;

    if (!peer || chunk != peer->out[lane].put)
        return sy_error_set(err, SY_ERR_INTERNAL, "mpi transport: put of chunk %llu for rank %d, expected chunk %llu",
                            (unsigned long long)chunk, rank, peer ? (unsigned long long)peer->out[lane].put : 0ull);
    struct ring_out *out = &peer->out[lane];
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
        return failed(t, rank, err, rc, "sending");
    if (!free_now) /* its chunk has arrived, but MPI does not know that yet */
        return SY_AGAIN;
    uint8_t *message = out->slots + slot * t->slot_bytes[lane] + HEAD_AT, *at = message + sizeof(struct head);
    struct head head = compose(t, peer, lane, chunk);
    head.bytes = bytes;
    memcpy(message, &head, sizeof head);
    for (int i = 0; i < n_iov; i++) {
        if (iov[i].iov_len)
            memcpy(at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    for (int i = 0; i < pieces_of(peer, bytes) && rc == MPI_SUCCESS; i++) {
        struct iovec piece = piece_of(peer, message, bytes, i);
        rc = sy_group_row_isend(base->group, piece.iov_base, piece.iov_len, rank, tag_of(peer, lane, slot, i),
                                &requests[i]);
    }
    if (rc != MPI_SUCCESS)
        return failed(t, rank, err, rc, "sending");
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
    struct transport *t = (struct transport *)base;
    struct peer *peer = peer_of(t, rank);

    if (!peer)
        return sy_error_set(err, SY_ERR_INTERNAL, "mpi transport: poll of rank %d, which it does not serve", rank);
    struct ring_in *in = &peer->in[lane];
    if (in->polled == in->arrived)
        return SY_AGAIN;
    size_t slot = in->polled % (uint64_t)base->config.n_slots;
    *data = in->slots + slot * t->slot_bytes[lane] + PAYLOAD_AT;
    *bytes = in->bytes[slot];
    in->polled++;
    return SY_OK;
}

static enum sy_status mpi_release(struct sy_transport *base, int rank, enum sy_lane lane, int n, struct sy_error *err)
{
    struct transport *t = (struct transport *)base;
    struct peer *peer = peer_of(t, rank);
    uint64_t n_slots = (uint64_t)base->config.n_slots;

    if (!peer || n < 0 || (uint64_t)n > peer->in[lane].polled - peer->in[lane].released)
        return sy_error_set(err, SY_ERR_INTERNAL, "mpi transport: release of %d chunks from rank %d, %llu are held", n,
                            rank, peer ? (unsigned long long)(peer->in[lane].polled - peer->in[lane].released) : 0ull);
    struct ring_in *in = &peer->in[lane];
    for (int i = 0; i < n; i++) {
        /* The freed slot is for this one. */
        enum sy_status status = post_chunk(t, peer, lane, in->released + n_slots, err);
        if (status != SY_OK)
            return status;
        in->released++;
    }
    consider_credit(t, peer);
    return peer->credit_due && !t->closing ? send_credit(t, peer, err) : SY_OK;
}

static struct sy_ring_state mpi_state(const struct sy_transport *base, int rank, enum sy_lane lane, int outgoing)
{
    const struct transport *t = (const struct transport *)base;

    if (t->index[rank] < 0)
        return (struct sy_ring_state){0};
    const struct peer *peer = &t->peers[t->index[rank]];
    if (outgoing)
        return (struct sy_ring_state){.head = peer->out[lane].put, .tail = peer->out[lane].credit};
    return (struct sy_ring_state){.head = peer->in[lane].polled, .tail = peer->in[lane].released};
}

static uint64_t mpi_wire_bytes(const struct sy_transport *base)
{
    return ((const struct transport *)base)->wire_bytes;
}

/* Beginning and end of traffic */

static void drop_receives(struct transport *t)
{
    for (int p = 0; p < t->n_peers; p++) {
        for (int i = 0; i < N_NEXT; i++)
            sy_request_drop(&t->next[p * N_NEXT + i]);
        for (int lane = 0; lane < SY_N_LANES; lane++)
            for (int i = 0; i < t->base.config.n_slots * t->peers[p].n_pieces[lane]; i++)
                sy_request_drop(&t->peers[p].in[lane].requests[i]);
    }
}

static enum sy_status attach_peer(struct transport *t, struct peer *peer, struct sy_arena *arena, struct sy_error *err)
{
    int n_slots = t->base.config.n_slots;
    enum sy_status status = SY_OK;

    for (int lane = 0; lane < SY_N_LANES; lane++) {
        struct ring_in *in = &peer->in[lane];
        in->slots = sy_arena_take(arena, (size_t)n_slots * t->slot_bytes[lane]);
        peer->out[lane].slots = sy_arena_take(arena, (size_t)n_slots * t->slot_bytes[lane]);
        if (!in->slots || !peer->out[lane].slots)
            return sy_error_set(err, SY_ERR_INTERNAL, "the arena is too small for the mpi transport");
        for (int i = 0; i < n_slots && status == SY_OK; i++)
            status = post_chunk(t, peer, lane, (uint64_t)i, err);
    }
    return status == SY_OK ? post_credit(t, peer, err) : status;
}

/* Ends in an agreement: nobody sends before everybody's receives are posted. */
static enum sy_status mpi_attach(struct sy_transport *base, struct sy_arena *arena, struct sy_error *err)
{
    struct transport *t = (struct transport *)base;
    enum sy_status status = SY_OK;

    for (int p = 0; p < t->n_peers && status == SY_OK; p++)
        status = attach_peer(t, &t->peers[p], arena, err);
    status = sy_group_agree(base->group, status, err);
    t->attached = status == SY_OK;
    if (status != SY_OK)
        drop_receives(t);
    return status;
}

static bool all_quiet(struct transport *t)
{
    int complete = 1;

    for (int p = 0; p < t->n_peers && complete; p++) {
        struct peer *peer = &t->peers[p];
        MPI_Test(&peer->fin_sent, &complete, MPI_STATUS_IGNORE);
        if (complete)
            MPI_Test(&peer->credit_sent, &complete, MPI_STATUS_IGNORE);
        if (!complete || !peer->fin_in)
            return false;
        for (int lane = 0; lane < SY_N_LANES && complete; lane++) {
            if (peer->in[lane].arrived != peer->n_fin[lane])
                return false;
            MPI_Testall(t->base.config.n_slots * peer->n_pieces[lane], peer->out[lane].requests, &complete,
                        MPI_STATUSES_IGNORE);
        }
    }
    return complete;
}

/* Tell every peer how many chunks it was sent, and wait until as many have come from it and all sends are complete. After
 * that no message is on the way, and the posted receives can be cancelled. */
static enum sy_status drain(struct transport *t, struct sy_error *err)
{
    struct sy_wait wait;

    t->closing = true;
    for (int p = 0; p < t->n_peers; p++) {
        struct peer *peer = &t->peers[p];
        peer->fin_out = compose(t, peer, KIND_FIN, 0);
        for (int lane = 0; lane < SY_N_LANES; lane++)
            peer->fin_out.count[lane] = peer->out[lane].put;
        int rc = sy_group_row_isend(t->base.group, &peer->fin_out, sizeof peer->fin_out, peer->rank, TAG_CREDIT,
                                    &peer->fin_sent);
        if (rc != MPI_SUCCESS)
            return failed(t, peer->rank, err, rc, "sending the end of traffic");
    }
    sy_wait_begin(&wait, sy_group_timeout_ms(t->base.group));
    while (!all_quiet(t)) {
        enum sy_status status = mpi_progress(&t->base, err);
        if (status != SY_OK)
            return status;
        if (sy_wait_pause(&wait))
            continue;
        for (int p = 0; p < t->n_peers; p++)
            if (!t->peers[p].fin_in)
                return sy_error_set(err, SY_ERR_PEER, "end of traffic: no answer within %lld ms from rank %d (%s)",
                                    (long long)sy_group_timeout_ms(t->base.group), t->peers[p].rank,
                                    sy_group_host(t->base.group, t->peers[p].rank));
        return sy_error_set(err, SY_ERR_PEER, "end of traffic: sends were not complete within %lld ms",
                            (long long)sy_group_timeout_ms(t->base.group));
    }
    return SY_OK;
}

static void mpi_close(struct sy_transport *base)
{
    struct transport *t = (struct transport *)base;
    struct sy_error err = SY_ERROR_INIT;

    if (!t)
        return;
    if (t->attached && !t->failed && drain(t, &err) != SY_OK)
        sy_log(SY_LOG_WARN, "closing the mpi transport: %s", err.text);
    drop_receives(t);
    for (int p = 0; p < t->n_peers; p++) {
        sy_request_drop(&t->peers[p].credit_sent);
        sy_request_drop(&t->peers[p].fin_sent);
        for (int lane = 0; lane < SY_N_LANES; lane++)
            for (int i = 0; i < base->config.n_slots * t->peers[p].n_pieces[lane]; i++)
                sy_request_drop(&t->peers[p].out[lane].requests[i]);
    }
    transport_free(t);
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
    .progress = mpi_progress,
    .state = mpi_state,
    .wire_bytes = mpi_wire_bytes,
};
