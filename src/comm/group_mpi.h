/* SPDX-License-Identifier: Apache-2.0
 * group_mpi.h - private to src/comm: teams of ranks, and their messages
 *
 * A team is a set of ranks that act together: the whole job, or the ranks of one node. group.c keeps the communicators to
 * itself; the other files of this folder send and receive through the functions here. All of them start a non-blocking
 * operation and return an MPI error code; nobody waits inside MPI.
 */
#ifndef SY_COMM_GROUP_MPI_H
#define SY_COMM_GROUP_MPI_H

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "comm/group.h"

/* A control message: what it is about, and the first bytes of what it carries, so that a step header or an error text is
 * one message. The whole of it stays under the eager limit of shared memory in Open MPI (4096). */
#define SY_MESSAGE_INLINE 3840

struct sy_message {
    uint32_t operation;
    int32_t status; /* not SY_OK: the payload is the text of an error */
    int32_t rank;   /* that failed */
    uint32_t unused;
    uint64_t sequence; /* of the collective in its team: tells a late answer from a present one */
    uint64_t bytes;    /* of the payload in all */
    uint8_t payload[SY_MESSAGE_INLINE];
};

struct sy_team {
    struct sy_group *group;
    int channel; /* which communicator of group.c */
    int rank, size;
    int *world;        /* [size] rank in the job */
    uint64_t sequence; /* collectives begun */
    /* Room for one collective at a time, so that none allocates. */
    struct sy_message *in; /* [size] */
    struct sy_message out;
    MPI_Request *requests; /* [size] */
    MPI_Status *statuses;  /* [size] */
    int *done;             /* [size] */
    uint64_t *received;    /* [size] payload bytes */
};

struct sy_team *sy_group_world(struct sy_group *group);
struct sy_team *sy_group_node(struct sy_group *group);

int sy_team_isend(const struct sy_team *team, const void *data, size_t bytes, int to, int tag, MPI_Request *request);
int sy_team_irecv(const struct sy_team *team, void *data, size_t bytes, int from, int tag, MPI_Request *request);

/* Tags of rows: the highest that any MPI has is link.c's, those from SY_TAG_DIRECT on are direct.c's, lower ones the mpi
 * transport's. */
#define SY_TAG_LINK   32767
#define SY_TAG_DIRECT 32760

/* Messages of a transport, on a communicator of their own: to and from ranks of the job. */
int sy_group_row_isend(const struct sy_group *group, const void *data, size_t bytes, int to, int tag,
                       MPI_Request *request);
int sy_group_row_irecv(const struct sy_group *group, void *data, size_t bytes, int from, int tag, MPI_Request *request);

/* Something that must go on while this rank waits for others inside a collective, since others may need it before they come.
 * The collective ends with its error. */
struct sy_mover {
    enum sy_status (*move)(struct sy_mover *mover, struct sy_error *err);
    void (*end)(struct sy_mover *mover); /* NULL: nothing is to be done before the job is ended in the middle */
    struct sy_mover *next;
};

void sy_group_add_mover(struct sy_group *group, struct sy_mover *mover);
void sy_group_remove_mover(struct sy_group *group, struct sy_mover *mover);
enum sy_status sy_group_move(struct sy_group *group, struct sy_error *err);

/* A number that grows; the same on all ranks when every rank asks in the same order. */
uint64_t sy_group_next_epoch(struct sy_group *group);

/* If the process that started this rank is a launcher of this job and is still there in so many seconds, end it. */
void sy_launcher_outlive(int seconds);

/* Forget a receive that nobody waits for any more. */
void sy_request_drop(MPI_Request *request);

/* SY_ERR_PEER "what: <text of the MPI error>". */
enum sy_status sy_mpi_error(struct sy_error *err, int code, const char *what);

/* Every rank of the team gives a status and, when it is SY_OK, n bytes; out (NULL when n is 0) gets size * n bytes. Any failure:
 * the lowest failing rank's, on every rank, as sy_group_agree() says. operation is for messages. */
enum sy_status sy_team_agree(struct sy_team *team, int operation, enum sy_status mine_status, const void *mine,
                             size_t n, void *out, struct sy_error *err);

enum sy_team_operation {
    SY_TEAM_BARRIER,
    SY_TEAM_AGREE,
    SY_TEAM_BCAST,
    SY_TEAM_GATHER,
    SY_TEAM_ALLGATHER,
    SY_TEAM_NODE_BARRIER,
    SY_TEAM_SHARE,
    SY_TEAM_N_OPERATIONS,
};

#endif
