/* SPDX-License-Identifier: Apache-2.0
 * shm.c - the transports through memory: shm between ranks of a node, self from a rank to itself
 *
 * Arenas of a node are slices of one shared block, so a producer copies straight into the slot of its mailbox with the
 * consumer, and into the consumer's window. Neither transport calls MPI once it is attached.
 */
#include <stdlib.h>
#include <string.h>

#include "comm/group_mpi.h"
#include "comm/mailbox.h"
#include "comm/transport.h"

struct peer {
    struct sy_ring_out out[SY_N_LANES];
    struct sy_ring_in in[SY_N_LANES];
};

struct shm {
    struct sy_transport base;
    struct sy_ring_shape shapes[SY_N_LANES];
    int n_peers;
    struct peer *peers; /* [n_peers] */
    int *index;         /* [ranks] in peers, -1: not served */
    uint8_t **windows;  /* [n_peers] */
    uint64_t wire_bytes;
};

static struct peer *peer_of(const struct shm *shm, int rank)
{
    return rank >= 0 && rank < sy_group_size(shm->base.group) && shm->index[rank] >= 0 ? &shm->peers[shm->index[rank]]
                                                                                       : NULL;
}

static void shm_close(struct sy_transport *t)
{
    struct shm *shm = (struct shm *)t;

    if (!shm)
        return;
    free(shm->peers);
    free(shm->windows);
    free(shm->index);
    free(shm);
}

static enum sy_status open_as(const struct sy_transport_ops *ops, struct sy_group *group,
                              const struct sy_transport_config *config, const uint8_t *peers, struct sy_transport **t,
                              struct sy_error *err)
{
    int size = sy_group_size(group);
    struct shm *shm = calloc(1, sizeof *shm);

    if (!shm || !(shm->index = malloc((size_t)size * sizeof *shm->index))) {
        free(shm);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the %s transport", ops->name);
    }
    for (int r = 0; r < size; r++)
        shm->index[r] = peers[r] ? shm->n_peers++ : -1;
    shm->peers = calloc((size_t)shm->n_peers + 1, sizeof *shm->peers);
    shm->windows = calloc((size_t)shm->n_peers + 1, sizeof *shm->windows);
    if (!shm->peers || !shm->windows) {
        shm_close(&shm->base);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %d peers of the %s transport", shm->n_peers, ops->name);
    }
    shm->base = (struct sy_transport){.ops = ops, .group = group, .config = *config};
    sy_mailbox_shapes(config, true, shm->shapes);
    *t = &shm->base;
    return SY_OK;
}

static enum sy_status shm_open_peers(struct sy_group *group, const struct sy_transport_config *config,
                                     const uint8_t *peers, struct sy_transport **t, struct sy_error *err)
{
    int rank = sy_group_rank(group);

    for (int r = 0; r < sy_group_size(group); r++)
        if (peers[r] && sy_group_node_of(group, r) != sy_group_node_of(group, rank))
            return sy_error_set(err, SY_ERR_INTERNAL,
                                "the shm transport cannot reach rank %d (%s) from rank %d (%s): they "
                                "share no memory",
                                r, sy_group_host(group, r), rank, sy_group_host(group, rank));
    return open_as(&sy_transport_shm, group, config, peers, t, err);
}

static enum sy_status self_open(struct sy_group *group, const struct sy_transport_config *config, const uint8_t *peers,
                                struct sy_transport **t, struct sy_error *err)
{
    for (int r = 0; r < sy_group_size(group); r++)
        if (peers[r] && r != sy_group_rank(group))
            return sy_error_set(err, SY_ERR_INTERNAL, "the self transport cannot reach rank %d", r);
    return open_as(&sy_transport_self, group, config, peers, t, err);
}

static size_t shm_arena_bytes(const struct sy_transport_config *config, int n_peers)
{
    struct sy_ring_shape shapes[SY_N_LANES];

    sy_mailbox_shapes(config, true, shapes);
    return sy_mailboxes_arena_bytes(shapes, n_peers);
}

/* mine: this rank's mailbox for the peer; theirs: the peer's for this rank. */
static void connect(const struct shm *shm, struct peer *peer, uint8_t *mine, uint8_t *theirs)
{
    for (int lane = 0; lane < SY_N_LANES; lane++) {
        peer->out[lane] = (struct sy_ring_out){.tail = sy_mailbox_word(theirs, lane, SY_MAILBOX_TAIL),
                                               .head = sy_mailbox_word(mine, lane, SY_MAILBOX_HEAD),
                                               .slots = sy_mailbox_slots(shm->shapes, theirs, lane)};
        peer->in[lane] = (struct sy_ring_in){.tail = sy_mailbox_word(mine, lane, SY_MAILBOX_TAIL),
                                             .head = sy_mailbox_word(theirs, lane, SY_MAILBOX_HEAD),
                                             .slots = sy_mailbox_slots(shm->shapes, mine, lane)};
    }
}

static enum sy_status self_attach(struct sy_transport *t, struct sy_arena *arena, struct sy_error *err)
{
    struct shm *shm = (struct shm *)t;
    uint8_t *mailbox;
    enum sy_status status = shm->n_peers ? sy_mailboxes_take(shm->shapes, shm->n_peers, arena, &mailbox, err) : SY_OK;

    if (status == SY_OK && shm->n_peers) {
        connect(shm, &shm->peers[0], mailbox, mailbox);
        shm->windows[0] = arena->base;
    }
    return status;
}

/* Where the mailboxes of a rank lie in its arena, for each rank of the node; 0: it serves that one not. */
static void offsets_of(const struct shm *shm, const struct sy_team *node, const uint8_t *base, const uint8_t *first,
                       uint64_t *offsets)
{
    for (int i = 0; i < node->size; i++) {
        int index = shm->index[node->world[i]];
        offsets[i] = index < 0 ? 0 : (uint64_t)(first - base) + (uint64_t)index * sy_mailbox_bytes(shm->shapes) + 1;
    }
}

static enum sy_status shm_attach(struct sy_transport *t, struct sy_arena *arena, struct sy_error *err)
{
    struct shm *shm = (struct shm *)t;
    struct sy_team *node = sy_group_node(t->group);
    size_t n = (size_t)node->size;
    uint64_t *offsets = calloc(n * (n + 1), sizeof *offsets), *all = offsets + n;
    uint8_t *first = NULL;
    enum sy_status status = SY_OK;

    if (!offsets)
        status = sy_error_set(err, SY_ERR_SYSTEM, "no memory for the offsets of %d ranks", node->size);
    else if (shm->n_peers && !arena->pitch && node->size > 1)
        status = sy_error_set(err, SY_ERR_INTERNAL, "the shm transport was given an arena that is not shared");
    else if (shm->n_peers)
        status = sy_mailboxes_take(shm->shapes, shm->n_peers, arena, &first, err);
    if (status == SY_OK && first)
        offsets_of(shm, node, arena->base, first, offsets);
    status = sy_team_agree(node, SY_TEAM_SHARE, status, offsets, n * sizeof *offsets, all, err);
    for (int i = 0; i < node->size && status == SY_OK; i++) {
        struct peer *peer = peer_of(shm, node->world[i]);
        uint64_t theirs = all[(size_t)i * n + (size_t)node->rank];
        uint8_t *base = arena->base + (ptrdiff_t)arena->pitch * (i - node->rank);
        if (!peer)
            continue;
        shm->windows[peer - shm->peers] = base;
        if (!theirs || theirs > arena->bytes)
            status = sy_error_set(err, SY_ERR_INTERNAL, "shm transport: rank %d has no mailbox for this rank",
                                  node->world[i]);
        else
            connect(shm, peer, arena->base + offsets[i] - 1, base + theirs - 1);
    }
    free(offsets);
    return status;
}

static enum sy_status shm_put(struct sy_transport *t, int rank, enum sy_lane lane, uint64_t chunk,
                              const struct iovec *iov, int n_iov, struct sy_error *err)
{
    struct shm *shm = (struct shm *)t;
    struct peer *peer = peer_of(shm, rank);

    if (!peer)
        return sy_transport_not_served(t, rank, err);
    struct sy_ring_out *out = &peer->out[lane];
    enum sy_status status = sy_transport_in_order(t, rank, chunk, out->put, err);
    if (status)
        return status;
    status = sy_ring_put(&shm->shapes[lane], out, iov, n_iov, err);
    for (int i = 0; i < n_iov && status == SY_OK && rank != sy_group_rank(t->group); i++)
        shm->wire_bytes += iov[i].iov_len;
    return sy_transport_blame(t, rank, status, err);
}

static void *shm_place(struct sy_transport *t, int rank, size_t offset, size_t bytes)
{
    struct shm *shm = (struct shm *)t;
    struct peer *peer = peer_of(shm, rank);

    if (!peer || offset > t->config.window_bytes || bytes > t->config.window_bytes - offset)
        return NULL;
    if (rank != sy_group_rank(t->group))
        shm->wire_bytes += bytes;
    return shm->windows[peer - shm->peers] + offset;
}

static enum sy_status shm_poll(struct sy_transport *t, int rank, enum sy_lane lane, const void **data, size_t *bytes,
                               struct sy_error *err)
{
    struct shm *shm = (struct shm *)t;
    struct peer *peer = peer_of(shm, rank);

    return peer ? sy_transport_blame(t, rank, sy_ring_poll(&shm->shapes[lane], &peer->in[lane], data, bytes, err), err)
                : sy_transport_not_served(t, rank, err);
}

static enum sy_status shm_release(struct sy_transport *t, int rank, enum sy_lane lane, int n, struct sy_error *err)
{
    struct shm *shm = (struct shm *)t;
    struct peer *peer = peer_of(shm, rank);

    return peer ? sy_transport_blame(t, rank, sy_ring_release(&shm->shapes[lane], &peer->in[lane], n, err), err)
                : sy_transport_not_served(t, rank, err);
}

/* put() has moved the bytes already. */
static enum sy_status shm_progress(struct sy_transport *t, struct sy_error *err)
{
    (void)t;
    (void)err;
    return SY_OK;
}

static struct sy_ring_state shm_state(const struct sy_transport *t, int rank, enum sy_lane lane, int outgoing)
{
    const struct shm *shm = (const struct shm *)t;
    struct peer *peer = peer_of(shm, rank);

    if (!peer)
        return (struct sy_ring_state){0};
    /* What put() finds wrong with the word, it reports. */
    (void)(outgoing && sy_ring_look(&shm->shapes[lane], &peer->out[lane], NULL));
    return outgoing ? (struct sy_ring_state){peer->out[lane].put, peer->out[lane].credit}
                    : (struct sy_ring_state){peer->in[lane].polled, peer->in[lane].released};
}

static uint64_t shm_wire_bytes(const struct sy_transport *t)
{
    return ((const struct shm *)t)->wire_bytes;
}

const struct sy_transport_ops sy_transport_shm = {
    .name = "shm",
    .open = shm_open_peers,
    .close = shm_close,
    .arena_bytes = shm_arena_bytes,
    .attach = shm_attach,
    .put = shm_put,
    .place = shm_place,
    .poll = shm_poll,
    .release = shm_release,
    .progress = shm_progress,
    .state = shm_state,
    .wire_bytes = shm_wire_bytes,
};

const struct sy_transport_ops sy_transport_self = {
    .name = "self",
    .open = self_open,
    .close = shm_close,
    .arena_bytes = shm_arena_bytes,
    .attach = self_attach,
    .put = shm_put,
    .place = shm_place,
    .poll = shm_poll,
    .release = shm_release,
    .progress = shm_progress,
    .state = shm_state,
    .wire_bytes = shm_wire_bytes,
};
