/* SPDX-License-Identifier: Apache-2.0
 * ring.h - a ring of chunks between one producer and one consumer, in memory that both can reach
 *
 * The slots and the word `tail` lie with the consumer, the word `head` with the producer, so that each side polls its own
 * memory. A word is {epoch, count}: only its writer changes it, it only grows, and it is never cleared. The epoch is that
 * of the transport's open(), so that a word of anything else is told from one of this ring.
 *
 *   slot | size, number | payload, aligned to SY_ARENA_ALIGN |
 *
 * Thread: one for each side.
 */
#ifndef SY_COMM_RING_H
#define SY_COMM_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/status.h"

#define SY_RING_LINE 128 /* bytes that two writers must not share: two cache lines, since they are fetched in pairs */

/* A word alone on its lines. */
struct sy_ring_word {
    _Alignas(SY_RING_LINE) _Atomic uint64_t value;
};

struct sy_ring_shape {
    uint64_t epoch; /* its low 16 bits count, and are not all 0 */
    size_t chunk_bytes;
    int n_slots;
};

struct sy_ring_out {
    struct sy_ring_word *tail, *head;
    uint8_t *slots;
    uint64_t put, credit; /* chunks put; chunks that the consumer had released when this side looked last */
};

struct sy_ring_in {
    struct sy_ring_word *tail, *head;
    const uint8_t *slots;
    uint64_t arrived, polled, released;
};

/* Bytes of one slot and of all slots of a ring; where the slot of a chunk begins. */
size_t sy_ring_slot_bytes(const struct sy_ring_shape *shape);
size_t sy_ring_bytes(const struct sy_ring_shape *shape);
size_t sy_ring_slot_at(const struct sy_ring_shape *shape, uint64_t chunk);

/* A word that says count. Publishing stores it so that who reads it sees everything that was written before. */
uint64_t sy_ring_word_value(const struct sy_ring_shape *shape, uint64_t count);
void sy_ring_publish(const struct sy_ring_shape *shape, struct sy_ring_word *word, uint64_t count);

/* All return SY_AGAIN for "not now" and SY_ERR_INTERNAL, with a sentence that does not yet name the peer, when the other side's
 * word or slot is not what it can be. */

/* Copy n_iov pieces into the next slot and publish it. More bytes than a chunk has is SY_ERR_INTERNAL too. */
enum sy_status sy_ring_put(const struct sy_ring_shape *shape, struct sy_ring_out *ring, const struct iovec *iov,
                           int n_iov, struct sy_error *err);

/* The first half of it, for slots that are not the consumer's own: the chunk is counted as put, and *composed is what must get
 * into the consumer's slot, and be followed by its word. */
enum sy_status sy_ring_compose(const struct sy_ring_shape *shape, struct sy_ring_out *ring, const struct iovec *iov,
                               int n_iov, struct iovec *composed, struct sy_error *err);

/* Look how many chunks the consumer has released. */
enum sy_status sy_ring_look(const struct sy_ring_shape *shape, struct sy_ring_out *ring, struct sy_error *err);

/* The next chunk; it stays where it is until it is released. */
enum sy_status sy_ring_poll(const struct sy_ring_shape *shape, struct sy_ring_in *ring, const void **data,
                            size_t *bytes, struct sy_error *err);

/* Give the n oldest polled chunks back. */
enum sy_status sy_ring_release(const struct sy_ring_shape *shape, struct sy_ring_in *ring, int n, struct sy_error *err);

/* Should a producer be told what has been released, where telling takes a message? When half of the ring has been freed, or when
 * as many chunks have arrived as the credit that it has been told of allows: it may be waiting then. */
bool sy_ring_credit_due(int n_slots, uint64_t arrived, uint64_t released, uint64_t reported);

#endif
