/* SPDX-License-Identifier: Apache-2.0
 * mpi_private.h - what the parts of the mpi transport share (mpi.c says how it works)
 *
 * mpi.c is the transport's table; mpi_memory.c its memory, and how chunks are cut; mpi_message.c takes in messages and sends
 * credit; mpi_close.c ends the traffic.
 */
#ifndef SY_COMM_MPI_PRIVATE_H
#define SY_COMM_MPI_PRIVATE_H

#include "comm/group_mpi.h"
#include "comm/transport.h"

#define SY_MPI_MAGIC      0x52575953u /* "SYWR" */
#define SY_MPI_TAG_CREDIT SY_N_LANES  /* first pieces have the number of their lane as tag */
#define SY_MPI_TAG_PIECES (SY_MPI_TAG_CREDIT + 1)

enum { SY_MPI_KIND_CREDIT = SY_N_LANES, SY_MPI_KIND_FIN }; /* lower: a chunk of that lane */

struct sy_mpi_head {
    uint32_t magic, kind;
    uint64_t epoch;             /* of the transport's open() */
    uint64_t chunk;             /* its number in its ring */
    uint64_t bytes;             /* payload */
    uint64_t count[SY_N_LANES]; /* chunks that the sender has released; in a fin: that it has put. They only grow. */
};

#define SY_MPI_PAYLOAD_AT SY_ARENA_ALIGN
#define SY_MPI_HEAD_AT    (SY_MPI_PAYLOAD_AT - sizeof(struct sy_mpi_head))
_Static_assert(sizeof(struct sy_mpi_head) <= SY_MPI_PAYLOAD_AT, "the head must fit before the payload");

struct sy_mpi_ring_out {
    uint64_t put, credit;  /* chunks put; chunks that the consumer has released */
    uint8_t *slots;        /* [n_slots] */
    MPI_Request *requests; /* [n_slots][n_pieces] sends */
};

struct sy_mpi_ring_in {
    uint64_t arrived, polled, released, reported; /* reported: as released, but told to the producer */
    uint8_t *slots;                               /* [n_slots] */
    MPI_Request *requests; /* [n_slots][n_pieces] posted receives, but for the one that is in t->next */
    size_t *bytes;         /* [n_slots] payload */
    int n_begun;           /* pieces of the next chunk, of which the first one has arrived; 0: it has not */
};

struct sy_mpi_peer {
    int rank;
    size_t piece_bytes;
    int n_pieces[SY_N_LANES]; /* of the longest chunk */
    struct sy_mpi_ring_out out[SY_N_LANES];
    struct sy_mpi_ring_in in[SY_N_LANES];
    struct sy_mpi_head credit_in, credit_out, fin_out;
    MPI_Request credit_sent, fin_sent;
    bool credit_due, fin_in;
    uint64_t n_fin[SY_N_LANES]; /* chunks that the peer has put in all, once fin_in */
};

struct sy_mpi_transport {
    struct sy_transport base;
    uint64_t epoch, wire_bytes;
    int n_peers, n_credits_due, n_begun;
    struct sy_mpi_peer *peers; /* [n_peers] */
    int *index;                /* [ranks] in peers, -1: not served */
    size_t slot_bytes[SY_N_LANES];
    /* For peer p, from next[p * SY_MPI_N_NEXT] on: [lane] the next chunk of a ring, [SY_MPI_TAG_CREDIT] the next credit. Only
     * these are looked at; what comes after them in a ring cannot be used before them. */
    MPI_Request *next;
    MPI_Status *statuses;
    int *done;
    bool attached, failed, closing;
};

#define SY_MPI_N_NEXT (SY_N_LANES + 1)

/* Errors that end the transport: of what a rank sent, and of MPI's code. Return SY_ERR_INTERNAL, SY_ERR_PEER. */
enum sy_status sy_mpi_broken(struct sy_mpi_transport *t, int rank, struct sy_error *err, const char *what);
enum sy_status sy_mpi_failed(struct sy_mpi_transport *t, int rank, struct sy_error *err, int code, const char *what);

/* Memory of all but the slots, for the ranks that peers [ranks] has. False: there is not enough; free() takes what there is. */
bool sy_mpi_init(struct sy_mpi_transport *t, const uint8_t *peers);
void sy_mpi_free(struct sy_mpi_transport *t);

/* In how many pieces a payload of so many bytes goes to a peer. */
int sy_mpi_pieces_of(const struct sy_mpi_peer *peer, size_t payload_bytes);

/* Where piece i of the chunk that begins at message is, how much there is of it when the payload has so many bytes, its tag. */
struct iovec sy_mpi_piece_of(const struct sy_mpi_peer *peer, uint8_t *message, size_t payload_bytes, int i);
int sy_mpi_tag_of(const struct sy_mpi_peer *peer, int lane, size_t slot, int i);

/* Post the receives of a free slot that are not posted yet, and of the next credit. Errors: SY_ERR_PEER. */
enum sy_status sy_mpi_post_chunk(struct sy_mpi_transport *t, struct sy_mpi_peer *peer, int lane, uint64_t chunk,
                                 struct sy_error *err);
enum sy_status sy_mpi_post_credit(struct sy_mpi_transport *t, struct sy_mpi_peer *peer, struct sy_error *err);

/* The head of a message, which tells what this rank has released: that counts as reported then. */
struct sy_mpi_head sy_mpi_compose(const struct sy_mpi_transport *t, struct sy_mpi_peer *peer, uint32_t kind,
                                  uint64_t chunk);

/* Note whether a credit message is due. */
void sy_mpi_consider_credit(struct sy_mpi_transport *t, struct sy_mpi_peer *peer);

/* Not an error when the last credit message is still under way: the next progress() comes back to it. */
enum sy_status sy_mpi_send_credit(struct sy_mpi_transport *t, struct sy_mpi_peer *peer, struct sy_error *err);

/* Take in what has come, and send what credit is due. Errors: SY_ERR_PEER; SY_ERR_INTERNAL for a malformed message. */
enum sy_status sy_mpi_progress(struct sy_transport *base, struct sy_error *err);

/* Tell every peer how many chunks it was sent, and wait until as many have come from it and all sends are complete. After
 * that no message is on the way, and the posted receives can be cancelled. */
enum sy_status sy_mpi_drain(struct sy_mpi_transport *t, struct sy_error *err);

/* Cancel all posted receives. */
void sy_mpi_drop_receives(struct sy_mpi_transport *t);

#endif
