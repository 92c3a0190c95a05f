/* SPDX-License-Identifier: Apache-2.0
 * transport.h - moves chunks of rows between ranks
 *
 * Between each ordered pair of ranks there is one ring for each lane. The producer puts chunk 0, 1, 2, ... and may be at
 * most n_slots chunks ahead of what the consumer has released (its credit); the consumer polls chunks in order and releases
 * them. Beside the rings every rank has a window: peers whose transport can write there put rows to places of their own in
 * it, and tell of them with a chunk. Counters only grow. Nothing is allocated, registered or connected after attach(),
 * nobody waits inside a transport: every call returns at once, SY_AGAIN meaning "not now".
 *
 * Failures are SY_ERR_PEER (or SY_ERR_INTERNAL) with a sentence that names the rank; only cli aborts.
 * Thread: the rank's main thread.
 */
#ifndef SY_COMM_TRANSPORT_H
#define SY_COMM_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/arena.h"
#include "base/courier.h"
#include "base/lender.h"
#include "base/status.h"
#include "comm/group.h"

enum sy_lane {
    SY_LANE_DISPATCH, /* tokens to their experts */
    SY_LANE_COMBINE,  /* expert outputs back */
    SY_N_LANES,
};

/* How chunks go to other ranks: by the best transport for each pair, or by this one alone. */
enum sy_transport_choice {
    SY_TRANSPORT_AUTO,
    SY_TRANSPORT_SHM,
    SY_TRANSPORT_IPC,  /* shm with windows in memory of the devices */
    SY_TRANSPORT_NCCL, /* the same, with rows carried there by the devices' courier */
    SY_TRANSPORT_UCX,
    SY_TRANSPORT_MPI,
    SY_N_TRANSPORT_CHOICES
};

/* From its name on the command line; SY_TRANSPORT_AUTO for one that there is not. */
enum sy_transport_choice sy_transport_choice_of(const char *name);

/* How the ucx transport writes: as is best for a lane, or in one way everywhere, which is for tests. */
enum sy_ucx_way { SY_UCX_BEST, SY_UCX_PUT, SY_UCX_MESSAGES };

struct sy_transport_config {
    size_t chunk_bytes[SY_N_LANES]; /* largest chunk of a lane */
    size_t brief_bytes[SY_N_LANES]; /* the same for a peer whose window can be written; 0: as chunk_bytes */
    size_t window_bytes;            /* of each rank's window, the same on all */
    int n_slots;                    /* chunks in flight in each ring, >= 1 */
    enum sy_transport_choice choice;
    enum sy_ucx_way ucx_way;
    const struct sy_lender *lender; /* of the devices' memory; NULL: windows are in the host's */
    /* Between devices; NULL: there is none. It carries rows of row_bytes, which the window is made of. For each lane, rows that a
     * rank may have stored for a peer and that are not in place there; and the most that a chunk tells of. */
    const struct sy_courier *courier;
    /* The same for rows that MPI brings from memory of a device to memory of another, where it takes that; NULL: no devices. */
    const struct sy_courier *porter;
    size_t row_bytes, ahead_rows[SY_N_LANES];
    int chunk_rows;
    uint64_t epoch; /* the same on all ranks and new for each open(); sy_fabric_open() sets it */
};

/* A transport's state; each implementation embeds it first in its own struct. */
struct sy_transport {
    const struct sy_transport_ops *ops;
    struct sy_group *group;
    struct sy_transport_config config;
};

/* Where a ring stands, for the message of a passed deadline. */
struct sy_ring_state {
    /* Producer: chunks put, chunks released by the peer. Consumer: chunks polled, chunks released. */
    uint64_t head, tail;
};

struct sy_transport_ops {
    const char *name;

    /* peers[r] tells which ranks this transport serves. Collective over the group. */
    enum sy_status (*open)(struct sy_group *group, const struct sy_transport_config *config, const uint8_t *peers,
                           struct sy_transport **t, struct sy_error *err);
    void (*close)(struct sy_transport *t);

    /* Bytes of the arena that attach() takes for n_peers peers; then give it the arena, which begins with the window.
     * attach() is collective over the ranks that have opened the transport. */
    size_t (*arena_bytes)(const struct sy_transport_config *config, int n_peers);
    enum sy_status (*attach)(struct sy_transport *t, struct sy_arena *arena, struct sy_error *err);

    /* Send chunk number `chunk` (0, 1, 2, ... for each peer and lane) made of n_iov pieces; the bytes are copied before the
     * call returns. SY_AGAIN: no credit, call progress() and poll() and try again. */
    enum sy_status (*put)(struct sy_transport *t, int peer, enum sy_lane lane, uint64_t chunk, const struct iovec *iov,
                          int n_iov, struct sy_error *err);

    /* Where bytes at an offset of peer's window are to be stored, as they are next; they count as sent. The peer sees them
     * once it polls a chunk that was put later. Returns NULL for what is not in a window. A transport that cannot write
     * there has no such function. */
    void *(*place)(struct sy_transport *t, int peer, size_t offset, size_t bytes);

    /* The next chunk from peer, in order; valid until released. Polling again without release gives the one after it. */
    enum sy_status (*poll)(struct sy_transport *t, int peer, enum sy_lane lane, const void **data, size_t *bytes,
                           struct sy_error *err);

    /* Give n polled chunks (the oldest ones) back to the producer. */
    enum sy_status (*release)(struct sy_transport *t, int peer, enum sy_lane lane, int n, struct sy_error *err);

    /* Let the fabric move. Call it often; costs little. */
    enum sy_status (*progress)(struct sy_transport *t, struct sy_error *err);

    /* State of the ring to (outgoing != 0) or from peer. */
    struct sy_ring_state (*state)(const struct sy_transport *t, int peer, enum sy_lane lane, int outgoing);

    /* Payload bytes put and written to other ranks since open. */
    uint64_t (*wire_bytes)(const struct sy_transport *t);

    /* NULL where any memory will do: an arena in memory that serves this transport best. It is gone with close(). */
    enum sy_status (*lend_arena)(struct sy_transport *t, size_t bytes, struct sy_arena *arena, struct sy_error *err);

    /* What it goes over: "rc_mlx5, put". */
    const char *(*describe)(const struct sy_transport *t);

    /* NULL: no. Whether every rank's puts reach every peer's memory without the peer's help; the same on all ranks. */
    bool (*one_sided)(const struct sy_transport *t);
};

extern const struct sy_transport_ops sy_transport_self;
extern const struct sy_transport_ops sy_transport_shm;
extern const struct sy_transport_ops sy_transport_ucx; /* there when configure found UCX: HAVE_UCX in config.h */
extern const struct sy_transport_ops sy_transport_mpi;

/* All ranks' rings behind one face: which transport serves which peer is chosen here, once, at start. */
struct sy_fabric;

/* Whether the messages of config->choice would bring rows from memory of devices to memory of devices: all ranks' MPI or UCX
 * takes that of config->porter. Nothing else of config counts. Collective, with the same answer on all ranks. */
enum sy_status sy_fabric_ask_direct(struct sy_group *group, const struct sy_transport_config *config, bool *direct,
                                    struct sy_error *err);

/* Open transports for every pair of ranks and give them an arena. Collective. Errors: SY_ERR_USAGE when the transport of
 * config->choice cannot reach a rank, with the reason. */
enum sy_status sy_fabric_open(struct sy_group *group, const struct sy_transport_config *config,
                              struct sy_fabric **fabric, struct sy_error *err);
void sy_fabric_close(struct sy_fabric *fabric);

struct sy_group *sy_fabric_group(const struct sy_fabric *fabric);
const struct sy_transport_config *sy_fabric_config(const struct sy_fabric *fabric);
/* The name of the transport that serves a peer. */
const char *sy_fabric_name(const struct sy_fabric *fabric, int peer);
/* One line: which transport serves which peers of this rank, and why. */
const char *sy_fabric_describe(const struct sy_fabric *fabric);
uint64_t sy_fabric_wire_bytes(const struct sy_fabric *fabric);

/* Bytes of the arena that a rank of this group will need, before anything is opened. */
size_t sy_fabric_need(const struct sy_group *group, const struct sy_transport_config *config);

/* This rank's window, and whether it and peer can write to each other's. */
void *sy_fabric_window(const struct sy_fabric *fabric);
/* Whether windows are in memory of devices: what is stored there must be there before the chunk that tells of it is put. */
bool sy_fabric_on_device(const struct sy_fabric *fabric);
/* Whether all of them are, and no other rank's is on this rank's device. */
bool sy_fabric_apart(const struct sy_fabric *fabric);
/* The block of the host's memory that holds this rank's window and those of the ranks that it writes to through memory; NULL
 * where they are in memory of devices. */
void *sy_fabric_block(const struct sy_fabric *fabric, size_t *bytes);
bool sy_fabric_writes(const struct sy_fabric *fabric, int peer);

/* Rows that may be stored for peer now before a chunk of the lane tells of them, and how many of these are one behind the other
 * where they are stored; as many as one likes (INT_MAX) where they go to the peer's memory at once. */
int sy_fabric_room(const struct sy_fabric *fabric, int peer, enum sy_lane lane, int *together);
/* Whether rows are stored here first: they are together in the order in which their places were asked for. */
bool sy_fabric_stores(const struct sy_fabric *fabric);

/* As the functions of the table; the chunk numbers are kept here. A chunk that is put with n_rows tells of the oldest n_rows that
 * were stored in places of its lane. */
void *sy_fabric_place(struct sy_fabric *fabric, int peer, enum sy_lane lane, size_t offset, size_t bytes);
enum sy_status sy_fabric_put_rows(struct sy_fabric *fabric, int peer, enum sy_lane lane, const struct iovec *iov,
                                  int n_iov, int n_rows, struct sy_error *err);
/* Of no rows. */
enum sy_status sy_fabric_put(struct sy_fabric *fabric, int peer, enum sy_lane lane, const struct iovec *iov, int n_iov,
                             struct sy_error *err);
enum sy_status sy_fabric_poll(struct sy_fabric *fabric, int peer, enum sy_lane lane, const void **data, size_t *bytes,
                              struct sy_error *err);
enum sy_status sy_fabric_release(struct sy_fabric *fabric, int peer, enum sy_lane lane, int n, struct sy_error *err);
enum sy_status sy_fabric_progress(struct sy_fabric *fabric, struct sy_error *err);
struct sy_ring_state sy_fabric_state(const struct sy_fabric *fabric, int peer, enum sy_lane lane, int outgoing);

#endif
