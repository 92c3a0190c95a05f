/* SPDX-License-Identifier: Apache-2.0
 * ucx.c - the transport over UCX: rings in the peers' memory, written by puts or made from active messages
 *
 * ucx_private.h tells how. Steps neither allocate, register nor connect: the mailboxes are registered at attach(), and all ranks
 * have met there. What UCX takes for itself inside its calls hangs on what is under way, which credit bounds.
 */
#include "comm/ucx_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static struct sy_ucx_peer *peer_of(const struct sy_ucx *ucx, int rank)
{
    return rank >= 0 && rank < sy_group_size(ucx->base.group) && ucx->index[rank] >= 0 ? &ucx->peers[ucx->index[rank]]
                                                                                       : NULL;
}

/* Credit */

void sy_ucx_remember_credit(struct sy_ucx_peer *peer)
{
    peer->ucx->n_credits_due += !peer->credit_due;
    peer->credit_due = true;
}

void sy_ucx_forget_credit(struct sy_ucx_peer *peer)
{
    peer->ucx->n_credits_due -= peer->credit_due;
    peer->credit_due = false;
}

/* Not an error when the last credit is still under way: the next progress() comes back to it. */
static void send_credit(struct sy_ucx_peer *peer)
{
    if (peer->by_put) {
        sy_ucx_put_credit(peer);
        return;
    }
    if (!sy_ucx_done(peer, &peer->message_sent, "credit"))
        return;
    peer->credit = sy_ucx_compose(peer->ucx, peer, SY_UCX_CREDIT, 0);
    sy_ucx_send(peer, &peer->credit, NULL, &peer->message_sent, "credit");
    sy_ucx_forget_credit(peer);
}

static void consider_credit(struct sy_ucx_peer *peer)
{
    for (int lane = 0; lane < SY_N_LANES; lane++) {
        const struct sy_ucx_in *in = &peer->in[lane];
        if (sy_ring_credit_due(peer->ucx->base.config.n_slots, in->ring.arrived, in->ring.released, in->reported))
            sy_ucx_remember_credit(peer);
    }
    if (peer->credit_due && !peer->ucx->closing)
        send_credit(peer);
}

static void move(struct sy_ucx *ucx)
{
    sy_ucx_move(ucx);
    for (int p = 0; p < ucx->n_peers && ucx->n_credits_due && !ucx->failure.status; p++)
        if (ucx->peers[p].credit_due)
            send_credit(&ucx->peers[p]);
}

/* What a peer has to fetch, and what could not be sent at once, waits for this rank's help, wherever it waits itself. */
static enum sy_status on_move(struct sy_mover *mover, struct sy_error *err)
{
    struct sy_ucx *ucx = (struct sy_ucx *)((char *)mover - offsetof(struct sy_ucx, mover));

    move(ucx);
    return sy_ucx_failed(ucx, err);
}

/* Beginning */

static void ucx_free(struct sy_ucx *ucx)
{
    for (int p = 0; ucx->peers && p < ucx->n_peers; p++) {
        for (int lane = 0; lane < SY_N_LANES; lane++) {
            free(ucx->peers[p].out[lane].sent);
            free(ucx->peers[p].in[lane].landings);
        }
    }
    free(ucx->peers);
    free(ucx->index);
    free(ucx);
}

static bool peer_init(struct sy_ucx *ucx, struct sy_ucx_peer *peer, int rank)
{
    size_t n_slots = (size_t)ucx->base.config.n_slots;
    struct sy_group *group = ucx->base.group;

    peer->ucx = ucx;
    peer->rank = rank;
    peer->near = sy_group_node_of(group, rank) == sy_group_node_of(group, sy_group_rank(group));
    for (int lane = 0; lane < SY_N_LANES; lane++) {
        struct sy_ucx_landing *landings = calloc(n_slots, sizeof *landings);
        peer->in[lane].landings = landings;
        peer->out[lane].sent = calloc(n_slots, sizeof *peer->out[lane].sent);
        if (!landings || !peer->out[lane].sent)
            return false;
        for (size_t i = 0; i < n_slots; i++)
            landings[i] = (struct sy_ucx_landing){.peer = peer, .lane = lane};
    }
    return true;
}

static enum sy_status make(struct sy_group *group, const struct sy_transport_config *config, const uint8_t *peers,
                           struct sy_ucx **out, struct sy_error *err)
{
    int size = sy_group_size(group);
    struct sy_ucx *ucx = calloc(1, sizeof *ucx);

    if (!ucx || !(ucx->index = malloc((size_t)size * sizeof *ucx->index))) {
        free(ucx);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the ucx transport");
    }
    ucx->base = (struct sy_transport){.ops = &sy_transport_ucx, .group = group, .config = *config};
    ucx->failure = (struct sy_error)SY_ERROR_INIT;
    ucx->mover.move = on_move;
    sy_mailbox_shapes(config, false, ucx->shapes);
    for (int r = 0; r < size; r++)
        ucx->index[r] = peers[r] ? ucx->n_peers++ : -1;
    ucx->peers = calloc((size_t)ucx->n_peers + 1, sizeof *ucx->peers);
    bool made = ucx->peers;
    for (int r = 0; r < size && made; r++)
        made = ucx->index[r] < 0 || peer_init(ucx, &ucx->peers[ucx->index[r]], r);
    if (!made) {
        ucx_free(ucx);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the peers of the ucx transport");
    }
    *out = ucx;
    return SY_OK;
}

/* UCX wants all requests back. Those that are not complete, after a failure, it frees when it drops them. */
static void return_requests(struct sy_ucx *ucx)
{
    for (int p = 0; p < ucx->n_peers; p++) {
        struct sy_ucx_peer *peer = &ucx->peers[p];
        sy_ucx_drop(&peer->message_sent);
        sy_ucx_drop(&peer->flushed);
        for (int lane = 0; lane < SY_N_LANES; lane++) {
            sy_ucx_drop(&peer->in[lane].credit_sent);
            for (int i = 0; i < 2 * ucx->base.config.n_slots; i++)
                sy_ucx_drop(&peer->out[lane].sent[i / 2].requests[i % 2]);
        }
    }
}

static void ucx_close(struct sy_transport *t)
{
    struct sy_ucx *ucx = (struct sy_ucx *)t;
    struct sy_error err = SY_ERROR_INIT;

    if (!ucx)
        return;
    ucx->closing = true;
    sy_group_remove_mover(t->group, &ucx->mover);
    if (ucx->attached && !ucx->failure.status && sy_ucx_part(ucx, &err))
        sy_log(SY_LOG_WARN, "closing the ucx transport: %s", err.text);
    return_requests(ucx);
    sy_ucx_stop(ucx);
    ucx_free(ucx);
}

static enum sy_status ucx_open(struct sy_group *group, const struct sy_transport_config *config, const uint8_t *peers,
                               struct sy_transport **t, struct sy_error *err)
{
    struct sy_ucx *ucx = NULL;
    enum sy_status status = make(group, config, peers, &ucx, err);

    if (status == SY_OK)
        status = sy_ucx_start(ucx, err);
    status = sy_group_agree(group, status, err);
    if (status == SY_OK)
        status = sy_ucx_connect(ucx, err);
    if (status == SY_OK)
        status = sy_ucx_survey(ucx, err);
    if (status == SY_OK)
        *t = &ucx->base;
    else
        ucx_close(ucx ? &ucx->base : NULL);
    return status;
}

/* Memory */

static size_t ucx_arena_bytes(const struct sy_transport_config *config, int n_peers)
{
    struct sy_ring_shape shapes[SY_N_LANES];

    sy_mailbox_shapes(config, false, shapes);
    return sy_mailboxes_arena_bytes(shapes, 2 * n_peers);
}

static enum sy_status ucx_lend_arena(struct sy_transport *t, size_t bytes, struct sy_arena *arena, struct sy_error *err)
{
    struct sy_ucx *ucx = (struct sy_ucx *)t;
    void *base;
    ucs_status_t status = sy_ucx_map(ucx, NULL, bytes + SY_ARENA_ALIGN, &ucx->memory, &base);

    if (status != UCS_OK)
        return sy_error_set(err, SY_ERR_SYSTEM, "ucx transport: no memory for %zu bytes: %s", bytes,
                            ucs_status_string(status));
    uintptr_t off = (uintptr_t)base % SY_ARENA_ALIGN;
    *arena = (struct sy_arena){.base = (uint8_t *)base + (off ? SY_ARENA_ALIGN - off : 0), .bytes = bytes};
    return SY_OK;
}

static void connect_rings(struct sy_ucx *ucx, struct sy_ucx_peer *peer, uint8_t *mailbox, uint8_t *image)
{
    peer->image = image;
    for (int lane = 0; lane < SY_N_LANES; lane++) {
        peer->out[lane].ring = (struct sy_ring_out){.head = sy_mailbox_word(mailbox, lane, SY_MAILBOX_HEAD),
                                                    .slots = sy_mailbox_slots(ucx->shapes, image, lane)};
        peer->in[lane].ring = (struct sy_ring_in){.tail = sy_mailbox_word(mailbox, lane, SY_MAILBOX_TAIL),
                                                  .head = sy_mailbox_word(image, lane, SY_MAILBOX_HEAD),
                                                  .slots = sy_mailbox_slots(ucx->shapes, mailbox, lane)};
    }
}

/* The arena's part of this transport, registered unless it is UCX's own; the rings in it, and where the mailboxes are. */
static enum sy_status take_memory(struct sy_ucx *ucx, struct sy_arena *arena, uint64_t *mine, struct sy_error *err)
{
    uint8_t *first;
    void *mapped;
    size_t bytes = sy_mailbox_bytes(ucx->shapes);
    enum sy_status status = sy_mailboxes_take(ucx->shapes, 2 * ucx->n_peers, arena, &first, err);

    if (status)
        return status;
    for (int p = 0; p < ucx->n_peers; p++) {
        uint8_t *mailbox = first + 2 * (size_t)p * bytes;
        mine[p] = (uintptr_t)mailbox;
        connect_rings(ucx, &ucx->peers[p], mailbox, mailbox + bytes);
    }
    if (ucx->memory)
        return SY_OK;
    ucs_status_t ucs = sy_ucx_map(ucx, first, 2 * (size_t)ucx->n_peers * bytes, &ucx->memory, &mapped);
    return ucs == UCS_OK ? SY_OK
                         : sy_error_set(err, SY_ERR_SYSTEM, "ucx transport: cannot register %zu bytes: %s",
                                        2 * (size_t)ucx->n_peers * bytes, ucs_status_string(ucs));
}

static enum sy_status ucx_attach(struct sy_transport *t, struct sy_arena *arena, struct sy_error *err)
{
    struct sy_ucx *ucx = (struct sy_ucx *)t;
    uint64_t *mine = calloc((size_t)ucx->n_peers + 1, sizeof *mine);
    enum sy_status status = mine ? take_memory(ucx, arena, mine, err)
                                 : sy_error_set(err, SY_ERR_SYSTEM, "no memory for the ucx transport");

    status = sy_ucx_exchange_keys(ucx, status, ucx->memory, mine, err);
    free(mine);
    if (status == SY_OK)
        status = sy_group_agree(t->group, sy_ucx_meet(ucx, err), err);
    ucx->attached = status == SY_OK;
    if (ucx->attached)
        sy_group_add_mover(t->group, &ucx->mover);
    return status;
}

/* Traffic */

static void send_slot(struct sy_ucx_peer *peer, enum sy_lane lane, uint64_t chunk, const struct iovec *slot,
                      struct sy_ucx_sent *sent)
{
    sent->message = sy_ucx_compose(peer->ucx, peer, lane, chunk);
    sy_ucx_forget_credit(peer); /* the chunk carries it */
    sy_ucx_send(peer, &sent->message, slot, &sent->requests[0], "a message with a chunk");
}

static enum sy_status ucx_put(struct sy_transport *t, int rank, enum sy_lane lane, uint64_t chunk,
                              const struct iovec *iov, int n_iov, struct sy_error *err)
{
    struct sy_ucx *ucx = (struct sy_ucx *)t;
    struct sy_ucx_peer *peer = peer_of(ucx, rank);
    struct iovec slot;

    if (!peer)
        return sy_transport_not_served(t, rank, err);
    struct sy_ucx_out *out = &peer->out[lane];
    enum sy_status status = sy_transport_in_order(t, rank, chunk, out->ring.put, err);
    if (status)
        return status;
    struct sy_ucx_sent *sent = &out->sent[chunk % (uint64_t)t->config.n_slots];
    /* Its chunk may have arrived while UCX does not know that yet. */
    if (!sy_ucx_done(peer, &sent->requests[0], "a chunk") || !sy_ucx_done(peer, &sent->requests[1], "a chunk"))
        return SY_AGAIN;
    if (ucx->failure.status)
        return sy_ucx_failed(ucx, err);
    status = sy_ring_compose(&ucx->shapes[lane], &out->ring, iov, n_iov, &slot, err);
    if (status)
        return sy_transport_blame(t, rank, status, err);
    if (peer->by_put)
        sy_ucx_put_slot(peer, lane, &slot, sent);
    else
        send_slot(peer, lane, chunk, &slot, sent);
    for (int i = 0; i < n_iov && rank != sy_group_rank(t->group); i++)
        ucx->wire_bytes += iov[i].iov_len;
    return sy_ucx_failed(ucx, err);
}

static enum sy_status ucx_poll(struct sy_transport *t, int rank, enum sy_lane lane, const void **data, size_t *bytes,
                               struct sy_error *err)
{
    struct sy_ucx *ucx = (struct sy_ucx *)t;
    struct sy_ucx_peer *peer = peer_of(ucx, rank);

    if (!peer)
        return sy_transport_not_served(t, rank, err);
    struct sy_ring_in *ring = &peer->in[lane].ring;
    uint64_t arrived = ring->arrived;
    enum sy_status status = sy_ring_poll(&ucx->shapes[lane], ring, data, bytes, err);
    if (ring->arrived != arrived)
        consider_credit(peer);
    return sy_transport_blame(t, rank, status, err);
}

static enum sy_status ucx_release(struct sy_transport *t, int rank, enum sy_lane lane, int n, struct sy_error *err)
{
    struct sy_ucx *ucx = (struct sy_ucx *)t;
    struct sy_ucx_peer *peer = peer_of(ucx, rank);

    if (!peer)
        return sy_transport_not_served(t, rank, err);
    enum sy_status status = sy_ring_release(&ucx->shapes[lane], &peer->in[lane].ring, n, err);
    if (status)
        return sy_transport_blame(t, rank, status, err);
    consider_credit(peer);
    return sy_ucx_failed(ucx, err);
}

static enum sy_status ucx_progress(struct sy_transport *t, struct sy_error *err)
{
    struct sy_ucx *ucx = (struct sy_ucx *)t;

    move(ucx);
    return sy_ucx_failed(ucx, err);
}

static struct sy_ring_state ucx_state(const struct sy_transport *t, int rank, enum sy_lane lane, int outgoing)
{
    const struct sy_ucx *ucx = (const struct sy_ucx *)t;
    struct sy_ucx_peer *peer = peer_of(ucx, rank);

    if (!peer)
        return (struct sy_ring_state){0};
    struct sy_ring_out *out = &peer->out[lane].ring;
    const struct sy_ring_in *in = &peer->in[lane].ring;
    /* What put() finds wrong with the word, it reports. */
    (void)(outgoing && sy_ring_look(&ucx->shapes[lane], out, NULL));
    return outgoing ? (struct sy_ring_state){out->put, out->credit} : (struct sy_ring_state){in->polled, in->released};
}

static uint64_t ucx_wire_bytes(const struct sy_transport *t)
{
    return ((const struct sy_ucx *)t)->wire_bytes;
}

static const char *ucx_describe(const struct sy_transport *t)
{
    return ((const struct sy_ucx *)t)->description;
}

static bool ucx_one_sided(const struct sy_transport *t)
{
    return ((const struct sy_ucx *)t)->one_sided;
}

const struct sy_transport_ops sy_transport_ucx = {
    .name = "ucx",
    .open = ucx_open,
    .close = ucx_close,
    .arena_bytes = ucx_arena_bytes,
    .lend_arena = ucx_lend_arena,
    .attach = ucx_attach,
    .put = ucx_put,
    .poll = ucx_poll,
    .release = ucx_release,
    .progress = ucx_progress,
    .state = ucx_state,
    .wire_bytes = ucx_wire_bytes,
    .describe = ucx_describe,
    .one_sided = ucx_one_sided,
};
