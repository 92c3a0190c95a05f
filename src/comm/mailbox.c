/* SPDX-License-Identifier: Apache-2.0
 * mailbox.c - the layout of mailboxes
 */
#include "comm/mailbox.h"

#include <string.h>

void sy_mailbox_shapes(const struct sy_transport_config *config, bool windows, struct sy_ring_shape *shapes)
{
    for (int lane = 0; lane < SY_N_LANES; lane++) {
        bool brief = windows && config->brief_bytes[lane];
        shapes[lane] = (struct sy_ring_shape){.epoch = config->epoch % UINT16_MAX + 1,
                                              .chunk_bytes = brief ? config->brief_bytes[lane]
                                                                   : config->chunk_bytes[lane],
                                              .n_slots = config->n_slots};
    }
}

size_t sy_mailbox_bytes(const struct sy_ring_shape *shapes)
{
    size_t bytes = 0;

    for (int lane = 0; lane < SY_N_LANES; lane++)
        bytes += 2 * sizeof(struct sy_ring_word) + sy_ring_bytes(&shapes[lane]);
    /* Words stay on lines of their own in the next mailbox too. */
    return (bytes + SY_RING_LINE - 1) / SY_RING_LINE * SY_RING_LINE;
}

size_t sy_mailboxes_arena_bytes(const struct sy_ring_shape *shapes, int n)
{
    return n ? (size_t)n * sy_mailbox_bytes(shapes) + SY_RING_LINE : 0;
}

enum sy_status sy_mailboxes_take(const struct sy_ring_shape *shapes, int n, struct sy_arena *arena, uint8_t **first,
                                 struct sy_error *err)
{
    size_t bytes = sy_mailboxes_arena_bytes(shapes, n);
    uint8_t *base = sy_arena_take(arena, bytes);

    if (!base)
        return sy_error_set(err, SY_ERR_INTERNAL, "an arena of %zu bytes has no room for %d mailboxes", arena->bytes,
                            n);
    memset(base, 0, bytes);
    *first = base + (SY_RING_LINE - (uintptr_t)base % SY_RING_LINE) % SY_RING_LINE;
    return SY_OK;
}

struct sy_ring_word *sy_mailbox_word(uint8_t *mailbox, int lane, enum sy_mailbox_word which)
{
    return (struct sy_ring_word *)mailbox + lane * 2 + which;
}

uint8_t *sy_mailbox_slots(const struct sy_ring_shape *shapes, uint8_t *mailbox, int lane)
{
    mailbox += 2 * SY_N_LANES * sizeof(struct sy_ring_word);
    for (int before = 0; before < lane; before++)
        mailbox += sy_ring_bytes(&shapes[before]);
    return mailbox;
}

enum sy_status sy_transport_blame(const struct sy_transport *t, int rank, enum sy_status status, struct sy_error *err)
{
    if (status == SY_OK || status == SY_AGAIN)
        return status;
    if (err)
        err->rank = rank;
    sy_error_prefix(err, "%s transport: rank %d (%s)", t->ops->name, rank, sy_group_host(t->group, rank));
    return status;
}

enum sy_status sy_transport_not_served(const struct sy_transport *t, int rank, struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_INTERNAL, "%s transport: it does not serve rank %d", t->ops->name, rank);
}

enum sy_status sy_transport_in_order(const struct sy_transport *t, int rank, uint64_t chunk, uint64_t next,
                                     struct sy_error *err)
{
    return chunk == next
               ? SY_OK
               : sy_error_set(err, SY_ERR_INTERNAL, "%s transport: put of chunk %llu for rank %d, expected chunk %llu",
                              t->ops->name, (unsigned long long)chunk, rank, (unsigned long long)next);
}
