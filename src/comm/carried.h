/* SPDX-License-Identifier: Apache-2.0
 * carried.h - private to src/comm: windows in memory of devices, to which rows are carried
 *
 * Rows for a peer's window are stored in a ring on this rank's device; a chunk says how many of the oldest ones it tells of,
 * and where they belong. A carrier brings them to the same place of a ring on the peer's device, from where they go to their
 * places in its window. A chunk is given out when its rows are in place.
 *
 * Counts of rows only grow; row n of a ring of N lies at n % N.
 */
#ifndef SY_COMM_CARRIED_H
#define SY_COMM_CARRIED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/courier.h"
#include "comm/group_mpi.h"
#include "comm/transport.h"

struct sy_carried;

/* How rows go, in carried_private.h: */
struct sy_carrier;
extern const struct sy_carrier sy_carrier_rounds; /* by a courier, between ranks of one node */
extern const struct sy_carrier sy_carrier_direct; /* by a post, which must take the memory */

/* A message of rows. Zero is one that was never begun. */
struct sy_post_request {
    union {
        MPI_Request mpi;
        void *ucx;
    };
    size_t bytes, came; /* the latter once it has ended, of one that comes in */
    bool begun, incoming;
};

/* Who brings messages between memory of devices. Messages of a lane between two ranks have the order in which they were sent, and
 * a receive is for the oldest that no other one is for. */
struct sy_post {
    /* Whether this rank's takes such memory; else why not goes to why. */
    bool (*takes)(enum sy_memory memory, const char **why);
    /* Make known all memory that parcels will be of, and at the end forget it. NULL: nothing is to be done. Errors:
     * SY_ERR_SYSTEM. */
    enum sy_status (*attach)(void *ctx, void *memory, size_t bytes, enum sy_memory kind, struct sy_error *err);
    void (*detach)(void *ctx);
    /* Send a parcel, or receive one where it is to lie. Errors: SY_ERR_PEER. */
    enum sy_status (*begin)(void *ctx, const struct sy_parcel *parcel, int lane, struct sy_post_request *request,
                            struct sy_error *err);
    /* SY_AGAIN: it is on its way. Errors: SY_ERR_PEER. */
    enum sy_status (*end)(void *ctx, struct sy_post_request *request, struct sy_error *err);
    /* Forget one that has begun and need not end. */
    void (*drop)(void *ctx, struct sy_post_request *request);
    void (*move)(void *ctx);
};

extern const struct sy_post sy_post_mpi; /* ctx: the group */
extern const struct sy_post sy_post_ucx; /* ctx: the ucx transport */

struct sy_carried_way {
    const char *name; /* of the transport */
    const struct sy_carrier *carrier;
    const struct sy_courier *courier;
    const struct sy_post *post; /* of sy_carrier_direct */
    void *post_ctx;
    /* The next chunk of a lane from a peer, as the transport that chunks go by has it. */
    enum sy_status (*poll)(void *ctx, int peer, enum sy_lane lane, const void **data, size_t *bytes,
                           struct sy_error *err);
    /* Let all of it move: while this rank waits for others inside a collective they may need it. */
    enum sy_status (*move)(void *ctx, struct sy_error *err);
    void *ctx;
};

/* Collective; what fails on one rank fails on all. Errors: SY_ERR_USAGE when there is no library, or ranks share a device that
 * may not; SY_ERR_SYSTEM for memory; SY_ERR_PEER. */
enum sy_status sy_carried_open(struct sy_group *group, const struct sy_transport_config *config,
                               const struct sy_carried_way *way, struct sy_carried **carried, struct sy_error *err);
/* Collective, as sy_lent_close(). NULL is taken, on all ranks. */
void sy_carried_close(struct sy_carried *carried);

void *sy_carried_window(const struct sy_carried *carried);

/* Bytes that chunks of a lane are longer by. */
size_t sy_carried_trailer_bytes(const struct sy_transport_config *config);

/* As sy_fabric_room(); and where rows at an offset of peer's window are to be stored, NULL where there is no room together. */
int sy_carried_room(const struct sy_carried *carried, int peer, enum sy_lane lane, int *together);
void *sy_carried_place(struct sy_carried *carried, int peer, enum sy_lane lane, size_t offset, size_t bytes);

#define SY_CARRIED_IOV 3

/* What is to follow the bytes of a chunk that tells of the n oldest rows; and then that it was put. Errors: SY_ERR_INTERNAL
 * for more than were stored. SY_AGAIN: not now. */
enum sy_status sy_carried_trail(struct sy_carried *carried, int peer, enum sy_lane lane, int n,
                                struct iovec iov[SY_CARRIED_IOV], struct sy_error *err);
enum sy_status sy_carried_put(struct sy_carried *carried, int peer, enum sy_lane lane, int n, struct sy_error *err);

enum sy_status sy_carried_poll(struct sy_carried *carried, int peer, enum sy_lane lane, const void **data,
                               size_t *bytes, struct sy_error *err);
/* Chunks given out so far. */
uint64_t sy_carried_polled(const struct sy_carried *carried, int peer, enum sy_lane lane);
enum sy_status sy_carried_progress(struct sy_carried *carried, struct sy_error *err);

#endif
