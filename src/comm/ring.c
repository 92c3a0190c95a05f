/* SPDX-License-Identifier: Apache-2.0
 * ring.c - chunks through memory that a producer and a consumer share
 */
#include "comm/ring.h"

#include <string.h>

#include "base/arena.h"

#define COUNT_BITS 48 /* enough for ten thousand years of a million chunks a second */

/* In front of a payload. */
struct slot_head {
    _Alignas(SY_ARENA_ALIGN) uint64_t bytes;
    uint64_t chunk;
};

uint64_t sy_ring_word_value(const struct sy_ring_shape *shape, uint64_t count)
{
    return (shape->epoch << COUNT_BITS) | count;
}

/* The count of a word; 0 while nobody has written it. */
static enum sy_status read_word(const struct sy_ring_shape *shape, struct sy_ring_word *from, uint64_t *count,
                                struct sy_error *err)
{
    uint64_t value = atomic_load_explicit(&from->value, memory_order_acquire);

    if (value && value >> COUNT_BITS != (uint16_t)shape->epoch)
        return sy_error_set(err, SY_ERR_INTERNAL, "a word of epoch %u in a ring of epoch %u",
                            (unsigned)(value >> COUNT_BITS), (unsigned)(uint16_t)shape->epoch);
    *count = value & (((uint64_t)1 << COUNT_BITS) - 1);
    return SY_OK;
}

size_t sy_ring_slot_bytes(const struct sy_ring_shape *shape)
{
    return sizeof(struct slot_head) + sy_arena_round(shape->chunk_bytes);
}

size_t sy_ring_slot_at(const struct sy_ring_shape *shape, uint64_t chunk)
{
    return chunk % (uint64_t)shape->n_slots * sy_ring_slot_bytes(shape);
}

size_t sy_ring_bytes(const struct sy_ring_shape *shape)
{
    return (size_t)shape->n_slots * sy_ring_slot_bytes(shape);
}

enum sy_status sy_ring_look(const struct sy_ring_shape *shape, struct sy_ring_out *ring, struct sy_error *err)
{
    uint64_t count = 0;
    enum sy_status status = read_word(shape, ring->head, &count, err);

    if (status)
        return status;
    if (count < ring->credit || count > ring->put)
        return sy_error_set(err, SY_ERR_INTERNAL, "%llu chunks released of %llu put, %llu before",
                            (unsigned long long)count, (unsigned long long)ring->put, (unsigned long long)ring->credit);
    ring->credit = count;
    return SY_OK;
}

enum sy_status sy_ring_compose(const struct sy_ring_shape *shape, struct sy_ring_out *ring, const struct iovec *iov,
                               int n_iov, struct iovec *composed, struct sy_error *err)
{
    size_t bytes = 0;

    if (ring->put - ring->credit >= (uint64_t)shape->n_slots) {
        enum sy_status status = sy_ring_look(shape, ring, err);
        if (status)
            return status;
        if (ring->put - ring->credit >= (uint64_t)shape->n_slots)
            return SY_AGAIN;
    }
    for (int i = 0; i < n_iov; i++)
        bytes += iov[i].iov_len;
    if (bytes > shape->chunk_bytes)
        return sy_error_set(err, SY_ERR_INTERNAL, "a chunk of %zu bytes, at most %zu", bytes, shape->chunk_bytes);
    uint8_t *slot = ring->slots + sy_ring_slot_at(shape, ring->put);
    *composed = (struct iovec){slot, sizeof(struct slot_head) + bytes};
    *(struct slot_head *)slot = (struct slot_head){.bytes = bytes, .chunk = ring->put};
    slot += sizeof(struct slot_head);
    for (int i = 0; i < n_iov; i++) {
        if (iov[i].iov_len)
            memcpy(slot, iov[i].iov_base, iov[i].iov_len);
        slot += iov[i].iov_len;
    }
    ring->put++;
    return SY_OK;
}

void sy_ring_publish(const struct sy_ring_shape *shape, struct sy_ring_word *word, uint64_t count)
{
    atomic_store_explicit(&word->value, sy_ring_word_value(shape, count), memory_order_release);
}

enum sy_status sy_ring_put(const struct sy_ring_shape *shape, struct sy_ring_out *ring, const struct iovec *iov,
                           int n_iov, struct sy_error *err)
{
    struct iovec composed;
    enum sy_status status = sy_ring_compose(shape, ring, iov, n_iov, &composed, err);

    if (status == SY_OK)
        sy_ring_publish(shape, ring->tail, ring->put);
    return status;
}

enum sy_status sy_ring_poll(const struct sy_ring_shape *shape, struct sy_ring_in *ring, const void **data,
                            size_t *bytes, struct sy_error *err)
{
    if (ring->polled == ring->arrived) {
        uint64_t count = 0;
        enum sy_status status = read_word(shape, ring->tail, &count, err);
        if (status)
            return status;
        if (count < ring->arrived || count > ring->released + (uint64_t)shape->n_slots)
            return sy_error_set(err, SY_ERR_INTERNAL, "%llu chunks put, %llu before and %llu released",
                                (unsigned long long)count, (unsigned long long)ring->arrived,
                                (unsigned long long)ring->released);
        ring->arrived = count;
        if (ring->polled == count)
            return SY_AGAIN;
    }
    const uint8_t *slot = ring->slots + sy_ring_slot_at(shape, ring->polled);
    const struct slot_head *head = (const struct slot_head *)slot;
    if (head->chunk != ring->polled || head->bytes > shape->chunk_bytes)
        return sy_error_set(err, SY_ERR_INTERNAL, "chunk %llu of %llu bytes in the place of chunk %llu",
                            (unsigned long long)head->chunk, (unsigned long long)head->bytes,
                            (unsigned long long)ring->polled);
    *data = slot + sizeof *head;
    *bytes = (size_t)head->bytes;
    ring->polled++;
    return SY_OK;
}

enum sy_status sy_ring_release(const struct sy_ring_shape *shape, struct sy_ring_in *ring, int n, struct sy_error *err)
{
    if (n < 0 || (uint64_t)n > ring->polled - ring->released)
        return sy_error_set(err, SY_ERR_INTERNAL, "release of %d chunks, %llu are held", n,
                            (unsigned long long)(ring->polled - ring->released));
    ring->released += (uint64_t)n;
    if (n)
        sy_ring_publish(shape, ring->head, ring->released);
    return SY_OK;
}

bool sy_ring_credit_due(int n_slots, uint64_t arrived, uint64_t released, uint64_t reported)
{
    uint64_t unreported = released - reported, half = n_slots > 1 ? (uint64_t)n_slots / 2 : 1;

    return unreported && (unreported >= half || arrived >= reported + (uint64_t)n_slots);
}
