/* SPDX-License-Identifier: Apache-2.0
 * carried_private.h - what carried.c shares with the ways in which rows go: rounds.c by a courier, direct.c by messages
 *
 * carried.c keeps rings, windows and chunks; a way, the carrier, brings rows from a ring on one device to the same place of a
 * ring on another.
 */
#ifndef SY_COMM_CARRIED_PRIVATE_H
#define SY_COMM_CARRIED_PRIVATE_H

#include "comm/carried.h"

struct sy_carried_held {
    const void *data;
    size_t bytes;
    uint64_t end; /* rows of the lane up to and with its own */
};

/* Rows that are stored for a peer, of which chunks have told, and that are given to the carrier. */
struct sy_carried_out {
    uint8_t *rows;   /* on the device */
    uint32_t *where; /* row of the peer's window behind each */
    uint64_t placed, covered, sent;
};

/* Rows that chunks have told of, that are asked to go from the ring to their places, and that are there. */
struct sy_carried_in {
    uint8_t *rows;
    uint32_t *where; /* in alloc_host() */
    uint64_t parsed, laid, arrived;
    struct sy_carried_held *held; /* [n_slots] */
    uint64_t n_held, n_polled;
};

struct sy_carried_peer {
    struct sy_carried_out out[SY_N_LANES];
    struct sy_carried_in in[SY_N_LANES];
};

struct sy_carried {
    struct sy_carried_way way;
    struct sy_courier_link *link;
    struct sy_group *group;
    struct sy_mover mover;
    int rank, size, n_slots, chunk_rows;
    size_t row_bytes, window_bytes, n_rows[SY_N_LANES];
    void *window;
    struct sy_carried_peer *peers; /* [R] */
    struct sy_carried_held *held;  /* of all peers and lanes */
    uint8_t *rings;                /* of all peers, on the device */
    uint32_t *wheres;              /* of all peers */
    size_t rings_bytes, wheres_bytes;
    /* Marks behind rows that go to their places: [SY_COURIER_MARKS] rows of each peer and lane that are there at each. */
    uint64_t n_marked, n_reached;
    uint64_t (*ends)[SY_N_LANES]; /* [SY_COURIER_MARKS, R] */
    uint32_t trail;               /* the number of rows that is being put */
    void *state;                  /* of the carrier */
};

/* What is behind c->state is the carrier's, from open() to close(), which is also called after an open() that failed. */
struct sy_carrier {
    /* Before there is memory, and once there is. Collective; what fails on one rank fails on all. */
    enum sy_status (*open)(struct sy_carried *c, struct sy_error *err);
    enum sy_status (*begin)(struct sy_carried *c, struct sy_error *err);
    void (*close)(struct sy_carried *c);
    /* Rows of the ring for a peer whose memory is free again. */
    uint64_t (*taken)(const struct sy_carried *c, int peer, enum sy_lane lane);
    /* NULL: always. Whether a chunk may be put that tells of rows; SY_AGAIN: not now. */
    enum sy_status (*may_send)(struct sy_carried *c, int peer, enum sy_lane lane, struct sy_error *err);
    /* NULL: nothing is done then. A chunk has been put that tells of n more rows; one has come that tells of n more. */
    enum sy_status (*send)(struct sy_carried *c, int peer, enum sy_lane lane, int n, struct sy_error *err);
    enum sy_status (*expect)(struct sy_carried *c, int peer, enum sy_lane lane, int n, struct sy_error *err);
    enum sy_status (*progress)(struct sy_carried *c, struct sy_error *err);
    /* NULL: nothing is to be done. Before the end: wait for all that was sent. Collective; what fails is this rank's alone. */
    enum sy_status (*drain)(struct sy_carried *c, struct sy_error *err);
};

/* "NAME transport: rank 3 (node07) what". */
enum sy_status sy_carried_broken(const struct sy_carried *c, int peer, const char *what, struct sy_error *err);

/* Take the next chunk of a lane in, which the transport goes on to hold. SY_AGAIN: there is none. */
enum sy_status sy_carried_take_in(struct sy_carried *c, int p, enum sy_lane lane, struct sy_error *err);

/* n rows of a ring from `first` on are two pieces where they go round its end. Returns how many. */
int sy_carried_wrap(const struct sy_carried *c, int p, bool incoming, enum sy_lane lane, uint8_t *rows, uint64_t first,
                    uint64_t n, struct sy_parcel *parcels);

/* Ask for the next n rows of a ring, which are there, to go to their places; and then, where sy_carried_may_mark() says that
 * there is a mark to be had, for a mark behind all of these. */
enum sy_status sy_carried_lay(struct sy_carried *c, int p, enum sy_lane lane, uint64_t n, struct sy_error *err);
bool sy_carried_may_mark(const struct sy_carried *c);
enum sy_status sy_carried_mark(struct sy_carried *c, struct sy_error *err);
/* Rows behind marks that are reached are in place. */
enum sy_status sy_carried_reap(struct sy_carried *c, struct sy_error *err);

#endif
