/* SPDX-License-Identifier: Apache-2.0
 * mailbox.h - what transports that write into a peer's memory have in common: where a peer's rings lie in an arena
 *
 * Each rank keeps a mailbox for every peer: the rings into which that peer puts chunks, and the words with which that peer
 * gives credit. All ranks have the same shapes, so a place in a mailbox is the same distance from its begin everywhere.
 *
 *   mailbox | tail and head of each lane, written by the peer | slots of each lane |
 */
#ifndef SY_COMM_MAILBOX_H
#define SY_COMM_MAILBOX_H

#include "comm/ring.h"
#include "comm/transport.h"

enum sy_mailbox_word { SY_MAILBOX_TAIL, SY_MAILBOX_HEAD };

/* One shape for each lane. windows: the transport writes to windows, so that its chunks are brief. */
void sy_mailbox_shapes(const struct sy_transport_config *config, bool windows, struct sy_ring_shape *shapes);

size_t sy_mailbox_bytes(const struct sy_ring_shape *shapes);

/* Bytes of the arena for n mailboxes; take them, zeroed. *first is the first one, the others follow it. Taking touches the
 * memory: it then is of this rank's NUMA node, and there is enough of it. SY_ERR_INTERNAL: the arena is too small. */
size_t sy_mailboxes_arena_bytes(const struct sy_ring_shape *shapes, int n);
enum sy_status sy_mailboxes_take(const struct sy_ring_shape *shapes, int n, struct sy_arena *arena, uint8_t **first,
                                 struct sy_error *err);

struct sy_ring_word *sy_mailbox_word(uint8_t *mailbox, int lane, enum sy_mailbox_word which);
uint8_t *sy_mailbox_slots(const struct sy_ring_shape *shapes, uint8_t *mailbox, int lane);

/* Put the transport and the peer in front of a sentence about a ring; SY_OK and SY_AGAIN pass. */
enum sy_status sy_transport_blame(const struct sy_transport *t, int rank, enum sy_status status, struct sy_error *err);
enum sy_status sy_transport_not_served(const struct sy_transport *t, int rank, struct sy_error *err);
/* SY_ERR_INTERNAL unless a put is of the chunk that comes next. */
enum sy_status sy_transport_in_order(const struct sy_transport *t, int rank, uint64_t chunk, uint64_t next,
                                     struct sy_error *err);

#endif
