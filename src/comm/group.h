/* SPDX-License-Identifier: Apache-2.0
 * group.h - the ranks of a job: who they are, agreement, and small collectives with a deadline
 *
 * The only file that names an MPI communicator is group.c. Collectives are non-blocking underneath and polled, so a dead
 * or stopped peer ends in SY_ERR_PEER naming it when the deadline passes, never in a hang.
 * Thread: the rank's main thread only (MPI_THREAD_FUNNELED).
 */
#ifndef SY_COMM_GROUP_H
#define SY_COMM_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

struct sy_group;

/* Start MPI (once in a process) and find nodes: ranks that share memory. timeout_ms is the deadline of every wait. */
enum sy_status sy_group_init(int *argc, char ***argv, int64_t timeout_ms, struct sy_group **group,
                             struct sy_error *err);

/* From here on ranks of a node that give different parts are on nodes of their own, numbered anew. Collective, before
 * anything is shared on nodes. Errors: SY_ERR_PEER; SY_ERR_SYSTEM. */
enum sy_status sy_group_part(struct sy_group *group, int part, struct sy_error *err);

/* End MPI. NULL is fine. */
void sy_group_fini(struct sy_group *group);

/* Said once, before a rank says why it ends the job: from here on another rank's end may take this one with it at any moment,
 * and a launcher that waits for a node that does not answer must be ended all the same (launcher.c). NULL is fine. */
void sy_group_give_up(struct sy_group *group);

/* End all ranks of the job now with this exit code, given up or not. Does not return. */
void sy_group_abort(struct sy_group *group, int exit_code) __attribute__((noreturn));

void sy_group_set_timeout(struct sy_group *group, int64_t timeout_ms);
int64_t sy_group_timeout_ms(const struct sy_group *group);

int sy_group_rank(const struct sy_group *group);
int sy_group_size(const struct sy_group *group);
int sy_group_n_nodes(const struct sy_group *group);
int sy_group_node_rank(const struct sy_group *group); /* this rank's number on its node */
int sy_group_node_size(const struct sy_group *group);
int sy_group_node_of(const struct sy_group *group, int rank);
const char *sy_group_host(const struct sy_group *group, int rank);
/* "Open MPI 4.1.4": library and version. */
const char *sy_group_mpi_version(void);

/* End of a set-up stage. Every rank gives its own status; if any is not SY_OK, every rank gets the lowest failing rank's
 * status, text and rank in err ("rank 3 (node07): ..." in front when there are several ranks), and returns it. A rank
 * that failed must still call this. */
enum sy_status sy_group_agree(struct sy_group *group, enum sy_status mine, struct sy_error *err);

enum sy_status sy_group_barrier(struct sy_group *group, struct sy_error *err);

/* Root's buf replaces every other rank's. Length first, then the bytes in pieces. */
enum sy_status sy_group_bcast(struct sy_group *group, int root, struct sy_buf *buf, struct sy_error *err);

/* Every rank gives n bytes (the same n); out gets size * n bytes in order of rank. */
enum sy_status sy_group_allgather(struct sy_group *group, const void *mine, size_t n, void *out, struct sy_error *err);

/* Every rank sends its buf (lengths differ) to root; root's in[r] (size of them, NULL elsewhere) are replaced. Meant for
 * once a step: in[] keep their capacity, and nothing is allocated once they have grown. */
enum sy_status sy_group_gather(struct sy_group *group, int root, const struct sy_buf *mine, struct sy_buf *in,
                               struct sy_error *err);

/* Between these two a process that waits inside MPI for longer than the deadline ends with the exit code of SY_ERR_PEER and a
 * line that begins with what. */
void sy_group_guard(struct sy_group *group, const char *what);
void sy_group_unguard(void);

/* MPI_Alltoallv of bytes, for comparison only: it waits inside MPI. */
enum sy_status sy_group_alltoallv(struct sy_group *group, const void *send, const int *send_bytes, const int *send_at,
                                  void *recv, const int *recv_bytes, const int *recv_at, struct sy_error *err);

/* n messages of MPI from rank a to rank b, four at a time; with answer one at a time, every second one from b to a.
 * buffer: [bytes]. *seconds on these two ranks; the others return at once. */
enum sy_status sy_group_link(struct sy_group *group, int a, int b, void *buffer, size_t bytes, int n, bool answer,
                             double *seconds, struct sy_error *err);

/* A block of bytes that all ranks of a node share. Every rank of the job calls it with the same bytes; the node's first
 * rank makes it (memfd: not bounded by /dev/shm), the others map it. Where it cannot be shared each rank gets a private
 * block, *shared is false and err holds the reason although SY_OK is returned (the caller then fills the block all itself and
 * warns). Zeroed. */
enum sy_status sy_group_share(struct sy_group *group, size_t bytes, void **base, int *shared, struct sy_error *err);
void sy_group_unshare(void *base, size_t bytes);

/* Wait for the other ranks of this node. */
enum sy_status sy_group_node_barrier(struct sy_group *group, struct sy_error *err);

#endif
