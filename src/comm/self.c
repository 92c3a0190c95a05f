/* SPDX-License-Identifier: Apache-2.0
 * self.c - the transport from a rank to itself: a ring in the arena for each lane
 */
#include <stdlib.h>
#include <string.h>

#include "comm/transport.h"

struct self_ring {
    uint64_t put, polled, released; /* chunks */
    uint8_t *slots;                 /* [n_slots] of slot_bytes */
    size_t *bytes;                  /* [n_slots] */
};

struct self {
    struct sy_transport base;
    struct self_ring rings[SY_N_LANES];
};

static size_t slot_bytes(const struct sy_transport *t, enum sy_lane lane)
{
    return sy_arena_round(t->config.chunk_bytes[lane]);
}

static void self_close(struct sy_transport *t)
{
    struct self *self = (struct self *)t;

    if (!self)
        return;
    for (int lane = 0; lane < SY_N_LANES; lane++)
        free(self->rings[lane].bytes);
    free(self);
}

static enum sy_status self_open(struct sy_group *group, const struct sy_transport_config *config, const uint8_t *peers,
                                struct sy_transport **t, struct sy_error *err)
{
    for (int r = 0; r < sy_group_size(group); r++)
        if (peers[r] && r != sy_group_rank(group))
            return sy_error_set(err, SY_ERR_INTERNAL, "the self transport cannot reach rank %d", r);
    struct self *self = calloc(1, sizeof *self);
    if (!self)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the self transport");
    self->base = (struct sy_transport){.ops = &sy_transport_self, .group = group, .config = *config};
    for (int lane = 0; lane < SY_N_LANES; lane++) {
        self->rings[lane].bytes = calloc((size_t)config->n_slots, sizeof(size_t));
        if (!self->rings[lane].bytes) {
            self_close(&self->base);
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a ring of %d chunks", config->n_slots);
        }
    }
    *t = &self->base;
    return SY_OK;
}

static size_t self_arena_bytes(const struct sy_transport *t)
{
    size_t bytes = 0;

    for (int lane = 0; lane < SY_N_LANES; lane++)
        bytes += (size_t)t->config.n_slots * slot_bytes(t, lane);
    return bytes;
}

static enum sy_status self_attach(struct sy_transport *t, struct sy_arena *arena, struct sy_error *err)
{
    struct self *self = (struct self *)t;

    for (int lane = 0; lane < SY_N_LANES; lane++) {
        self->rings[lane].slots = sy_arena_take(arena, (size_t)t->config.n_slots * slot_bytes(t, lane));
        if (!self->rings[lane].slots)
            return sy_error_set(err, SY_ERR_INTERNAL, "the arena is too small for the self transport");
    }
    return SY_OK;
}

static enum sy_status self_put(struct sy_transport *t, int peer, enum sy_lane lane, uint64_t chunk,
                               const struct iovec *iov, int n_iov, struct sy_error *err)
{
    struct self_ring *ring = &((struct self *)t)->rings[lane];
    size_t bytes = 0;

    if (peer != sy_group_rank(t->group) || chunk != ring->put)
        return sy_error_set(err, SY_ERR_INTERNAL, "self transport: put of chunk %llu for rank %d, expected chunk %llu",
                            (unsigned long long)chunk, peer, (unsigned long long)ring->put);
    if (ring->put - ring->released >= (uint64_t)t->config.n_slots)
        return SY_AGAIN;
    for (int i = 0; i < n_iov; i++)
        bytes += iov[i].iov_len;
    if (bytes > t->config.chunk_bytes[lane])
        return sy_error_set(err, SY_ERR_INTERNAL, "self transport: a chunk of %zu bytes, at most %zu", bytes,
                            t->config.chunk_bytes[lane]);
    size_t slot = ring->put % (uint64_t)t->config.n_slots;
    uint8_t *at = ring->slots + slot * slot_bytes(t, lane);
    for (int i = 0; i < n_iov; i++) {
        if (iov[i].iov_len)
            memcpy(at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    ring->bytes[slot] = bytes;
    ring->put++;
    return SY_OK;
}

static enum sy_status self_poll(struct sy_transport *t, int peer, enum sy_lane lane, const void **data, size_t *bytes,
                                struct sy_error *err)
{
    struct self_ring *ring = &((struct self *)t)->rings[lane];

    (void)peer;
    (void)err;
    if (ring->polled == ring->put)
        return SY_AGAIN;
    size_t slot = ring->polled % (uint64_t)t->config.n_slots;
    *data = ring->slots + slot * slot_bytes(t, lane);
    *bytes = ring->bytes[slot];
    ring->polled++;
    return SY_OK;
}

static enum sy_status self_release(struct sy_transport *t, int peer, enum sy_lane lane, int n, struct sy_error *err)
{
    struct self_ring *ring = &((struct self *)t)->rings[lane];

    if (n < 0 || (uint64_t)n > ring->polled - ring->released)
        return sy_error_set(err, SY_ERR_INTERNAL, "self transport: release of %d chunks from rank %d, %llu are held", n,
                            peer, (unsigned long long)(ring->polled - ring->released));
    ring->released += (uint64_t)n;
    return SY_OK;
}

static enum sy_status self_progress(struct sy_transport *t, struct sy_error *err)
{
    (void)t;
    (void)err;
    return SY_OK; /* put() has moved the bytes already */
}

static struct sy_ring_state self_state(const struct sy_transport *t, int peer, enum sy_lane lane, int outgoing)
{
    const struct self_ring *ring = &((const struct self *)t)->rings[lane];

    (void)peer;
    return (struct sy_ring_state){.head = outgoing ? ring->put : ring->polled, .tail = ring->released};
}

static uint64_t self_wire_bytes(const struct sy_transport *t)
{
    (void)t;
    return 0;
}

const struct sy_transport_ops sy_transport_self = {
    .name = "self",
    .open = self_open,
    .close = self_close,
    .arena_bytes = self_arena_bytes,
    .attach = self_attach,
    .put = self_put,
    .poll = self_poll,
    .release = self_release,
    .progress = self_progress,
    .state = self_state,
    .wire_bytes = self_wire_bytes,
};
