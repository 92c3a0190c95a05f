/* SPDX-License-Identifier: Apache-2.0
 * mpi_memory.c - the mpi transport's memory, and the pieces of its chunks
 */
#include <limits.h>
#include <stdlib.h>

#include "comm/mpi_private.h"

/* Open MPI sends up to 64 KiB over TCP at once, its own head included. */
#define PIECE_BYTES ((size_t)60 << 10)

void sy_mpi_free(struct sy_mpi_transport *t)
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

int sy_mpi_pieces_of(const struct sy_mpi_peer *peer, size_t payload_bytes)
{
    return (int)((sizeof(struct sy_mpi_head) + payload_bytes + peer->piece_bytes - 1) / peer->piece_bytes);
}

/* The same on both sides. */
static void choose_pieces(const struct sy_mpi_transport *t, struct sy_mpi_peer *peer)
{
    struct sy_group *group = t->base.group;
    bool near = sy_group_node_of(group, peer->rank) == sy_group_node_of(group, sy_group_rank(group));
    int n_max;

    peer->piece_bytes = near ? INT_MAX : PIECE_BYTES;
    do {
        n_max = 1;
        for (int lane = 0; lane < SY_N_LANES; lane++) {
            peer->n_pieces[lane] = sy_mpi_pieces_of(peer, t->base.config.chunk_bytes[lane]);
            n_max = peer->n_pieces[lane] > n_max ? peer->n_pieces[lane] : n_max;
        }
        peer->piece_bytes *= 2;
    } while (n_max > 1 &&
             SY_MPI_TAG_PIECES + ((int64_t)t->base.config.n_slots * n_max + 1) * SY_N_LANES > SY_TAG_DIRECT);
    peer->piece_bytes /= 2;
}

static bool peer_init(const struct sy_mpi_transport *t, struct sy_mpi_peer *peer, int rank)
{
    int n_slots = t->base.config.n_slots;

    peer->rank = rank;
    choose_pieces(t, peer);
    peer->credit_sent = peer->fin_sent = MPI_REQUEST_NULL;
    for (int lane = 0; lane < SY_N_LANES; lane++) {
        struct sy_mpi_ring_out *out = &peer->out[lane];
        struct sy_mpi_ring_in *in = &peer->in[lane];
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

bool sy_mpi_init(struct sy_mpi_transport *t, const uint8_t *peers)
{
    int size = sy_group_size(t->base.group);

    t->index = malloc((size_t)size * sizeof *t->index);
    if (!t->index)
        return false;
    for (int r = 0; r < size; r++)
        t->index[r] = peers[r] ? t->n_peers++ : -1;
    size_t n_next = (size_t)t->n_peers * SY_MPI_N_NEXT;
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

struct iovec sy_mpi_piece_of(const struct sy_mpi_peer *peer, uint8_t *message, size_t payload_bytes, int i)
{
    size_t at = (size_t)i * peer->piece_bytes, left = sizeof(struct sy_mpi_head) + payload_bytes - at;

    return (struct iovec){message + at, left < peer->piece_bytes ? left : peer->piece_bytes};
}

int sy_mpi_tag_of(const struct sy_mpi_peer *peer, int lane, size_t slot, int i)
{
    return i ? SY_MPI_TAG_PIECES + ((int)slot * peer->n_pieces[lane] + i) * SY_N_LANES + lane : lane;
}
