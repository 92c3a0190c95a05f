/* SPDX-License-Identifier: Apache-2.0
 * ucx_private.h - the parts of the ucx transport
 *
 *   ucx.c          the table of functions: rings and credit
 *   ucx_put.c      puts
 *   ucx_message.c  active messages, sent and received
 *   ucx_post.c     rows of devices, as messages
 *   ucx_lane.c     what UCX uses between two ranks, and whether a put there needs the other side
 *   ucx_link.c     UCX itself: worker, endpoints, memory and its keys, and the ranks' meetings
 *
 * Beside its mailbox for a peer a rank keeps the image of the peer's mailbox for it. What sy_ring does in the image is then
 * brought to the same place of the mailbox itself, a slot first and its word after it, in one of two ways:
 *
 *   put              a put of the slot, a fence, and a put of the word, where the lane does a put without the other side's help;
 *   active messages  one message with the slot, of which the receiver makes slot and word, elsewhere. Messages of a ring may
 *                    arrive in any order, since a large one is fetched by its receiver: the word tells of a chunk once all
 *                    before it have landed.
 *
 * A sender chooses its way; a receiver takes either.
 */
#ifndef SY_COMM_UCX_PRIVATE_H
#define SY_COMM_UCX_PRIVATE_H

#include <stdbool.h>
#include <ucp/api/ucp.h>

#include "comm/group_mpi.h"
#include "comm/mailbox.h"

#define SY_UCX_MAGIC 0x58575953u /* "SYWX" */

enum sy_ucx_kind { SY_UCX_CREDIT = SY_N_LANES, SY_UCX_HELLO }; /* lower: a chunk of that lane */

/* Header of every active message. */
struct sy_ucx_message {
    uint32_t magic, kind;
    int32_t rank; /* who sent it */
    uint32_t unused;
    uint64_t epoch;                /* of the transport's open() */
    uint64_t chunk;                /* its number in its ring */
    uint64_t released[SY_N_LANES]; /* chunks that the sender has released; they only grow */
};

/* What must stay until UCX is done with the chunk of a slot. */
struct sy_ucx_sent {
    void *requests[2]; /* slot, word; NULL: done */
    struct sy_ucx_message message;
    uint64_t word;
};

struct sy_ucx_out {
    struct sy_ring_out ring;  /* slots: in the image; head: in this rank's mailbox */
    struct sy_ucx_sent *sent; /* [n_slots] */
    uint64_t told;            /* chunks that the peer has said it has released */
    uint64_t told_of;         /* by put: chunks that the peer has been told of */
};

struct sy_ucx_peer;

struct sy_ucx_landing {
    struct sy_ucx_peer *peer;
    int lane;
    bool coming, there; /* this slot's chunk */
};

struct sy_ucx_in {
    struct sy_ring_in ring;          /* slots and tail: in this rank's mailbox; head: in the image */
    uint64_t reported;               /* as ring.released, but told to the producer */
    uint64_t landed;                 /* chunks that have come by message, with all before them */
    struct sy_ucx_landing *landings; /* [n_slots] */
    void *credit_sent;               /* request, when credit goes by put */
};

struct sy_ucx_peer {
    struct sy_ucx *ucx;
    int rank;
    bool near;      /* on this node */
    bool by_put;    /* how this rank writes there */
    bool one_sided; /* a put there does not need the peer's help */
    bool in_line;   /* all that goes there waits behind what went before */
    char lane[24];  /* UCX's name of what small messages use */
    ucp_ep_h ep;
    ucp_rkey_h rkey;
    uint8_t *image;
    uint64_t remote; /* address of the peer's mailbox for this rank, there */
    struct sy_ucx_out out[SY_N_LANES];
    struct sy_ucx_in in[SY_N_LANES];
    struct sy_ucx_message credit, hello;
    void *message_sent; /* request of the last one of these two */
    void *flushed;      /* request */
    bool credit_due;
    uint64_t n_hellos;
};

struct sy_ucx {
    struct sy_transport base;
    struct sy_ring_shape shapes[SY_N_LANES];
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_mem_h memory; /* mailboxes and images */
    ucp_mem_h rows;   /* that messages of rows are of (ucx_post.c); NULL: there are none */
    ucs_memory_type_t rows_type;
    int n_peers, n_credits_due;
    struct sy_ucx_peer *peers; /* [n_peers] */
    int *index;                /* [ranks] in peers, -1: not served */
    uint64_t wire_bytes, n_meetings;
    uint64_t n_untold; /* chunks put whose words are not on their way */
    bool attached, closing, one_sided;
    struct sy_mover mover;
    struct sy_error failure; /* what went wrong first; nothing works after it */
    char description[160];
};

/* ucx_link.c */

/* Remember the first failure of a peer (rank -1: of no one of them). Returns its status. */
enum sy_status sy_ucx_fail(struct sy_ucx *ucx, int rank, ucs_status_t status, const char *what);
/* What was remembered; SY_OK when all is well. */
enum sy_status sy_ucx_failed(const struct sy_ucx *ucx, struct sy_error *err);

/* Keep the request of an operation that was just started, or remember that it failed. */
void sy_ucx_started(struct sy_ucx_peer *peer, void *request, void **keep, const char *what);
/* Whether it is done; then *request is NULL. */
bool sy_ucx_done(struct sy_ucx_peer *peer, void **request, const char *what);
void sy_ucx_drop(void **request);

/* UCX with all that the transport and its messages of rows need, for so many peers. */
ucs_status_t sy_ucx_context(int n_peers, ucp_context_h *context);
/* Context and worker of this rank. */
enum sy_status sy_ucx_start(struct sy_ucx *ucx, struct sy_error *err);
/* Endpoints to all peers. Collective. */
enum sy_status sy_ucx_connect(struct sy_ucx *ucx, struct sy_error *err);
/* Memory that peers may write into: at base, or UCX's own when base is NULL. */
ucs_status_t sy_ucx_map(struct sy_ucx *ucx, void *base, size_t bytes, ucp_mem_h *memory, void **mapped);
/* Give every peer p the key of memory and mine[p], and get its own: peers' rkey and remote. Collective; status is how the
 * caller got so far. */
enum sy_status sy_ucx_exchange_keys(struct sy_ucx *ucx, enum sy_status status, ucp_mem_h memory, const uint64_t *mine,
                                    struct sy_error *err);

/* Let UCX move, in a bounded loop. */
void sy_ucx_move(struct sy_ucx *ucx);

/* Wait until everything that this rank has started is complete, here and there, and all peers say the same of theirs. The first
 * meeting makes the connections. */
enum sy_status sy_ucx_meet(struct sy_ucx *ucx, struct sy_error *err);

/* The last meeting: nothing is on the way to anybody's memory any more, and all ranks know it. Collective. */
enum sy_status sy_ucx_part(struct sy_ucx *ucx, struct sy_error *err);

/* Ends endpoints, memory and worker. */
void sy_ucx_stop(struct sy_ucx *ucx);

/* ucx.c: credit is due to peer, and is on its way. */
void sy_ucx_remember_credit(struct sy_ucx_peer *peer);
void sy_ucx_forget_credit(struct sy_ucx_peer *peer);

/* ucx_put.c */

void sy_ucx_put_slot(struct sy_ucx_peer *peer, int lane, const struct iovec *slot, struct sy_ucx_sent *sent);
/* Not an error when the last credit is still under way: the next progress() comes back to it. */
void sy_ucx_put_credit(struct sy_ucx_peer *peer);
/* Tell peers of slots that have become complete. */
void sy_ucx_tell(struct sy_ucx *ucx);

/* ucx_message.c */

ucs_status_t sy_ucx_listen(struct sy_ucx *ucx);
struct sy_ucx_message sy_ucx_compose(const struct sy_ucx *ucx, struct sy_ucx_peer *peer, uint32_t kind, uint64_t chunk);
void sy_ucx_send(struct sy_ucx_peer *peer, const struct sy_ucx_message *message, const struct iovec *slot,
                 void **request, const char *what);

/* ucx_lane.c */

/* Learn what UCX uses to each peer, and decide how to write there. Collective. */
enum sy_status sy_ucx_survey(struct sy_ucx *ucx, struct sy_error *err);

#endif
