/* SPDX-License-Identifier: Apache-2.0
 * ucx_put.c - puts into the peer's mailbox: slots, words behind them, and credit
 *
 * ucp_worker_fence() orders what UCX has handed to the network. A large put may still be with UCX, in pieces, when
 * ucp_put_nbx() returns a request for it. So a word tells of the slots whose puts are complete here: at once, where the
 * put did not need a request, else when progress finds it done.
 */
#include "comm/ucx_private.h"

static uint64_t remote_of(const struct sy_ucx_peer *peer, const void *in_image)
{
    return peer->remote + (uint64_t)((const uint8_t *)in_image - peer->image);
}

static void put_word(struct sy_ucx_peer *peer, const void *word, const void *in_image, void **request)
{
    ucp_request_param_t none = {0};

    sy_ucx_started(peer, ucp_put_nbx(peer->ep, word, sizeof(uint64_t), remote_of(peer, in_image), peer->rkey, &none),
                   request, "a put");
}

/* Tell of all slots that are complete. The word is one of the last slot's own: the image's would tell of later ones when
 * UCX reads it late. */
static void put_tail(struct sy_ucx_peer *peer, int lane)
{
    struct sy_ucx *ucx = peer->ucx;
    struct sy_ucx_out *out = &peer->out[lane];
    uint64_t n_slots = (uint64_t)ucx->base.config.n_slots, told_of = out->told_of;

    while (told_of < out->ring.put && sy_ucx_done(peer, &out->sent[told_of % n_slots].requests[0], "a put"))
        told_of++;
    if (told_of == out->told_of || ucx->failure.status)
        return;
    ucx->n_untold -= told_of - out->told_of;
    out->told_of = told_of;
    struct sy_ucx_sent *last = &out->sent[(told_of - 1) % n_slots];
    last->word = sy_ring_word_value(&ucx->shapes[lane], told_of);
    ucs_status_t fenced = ucp_worker_fence(ucx->worker);
    if (fenced != UCS_OK)
        sy_ucx_fail(ucx, peer->rank, fenced, "a fence");
    put_word(peer, &last->word, sy_mailbox_word(peer->image, lane, SY_MAILBOX_TAIL), &last->requests[1]);
}

void sy_ucx_put_credit(struct sy_ucx_peer *peer)
{
    for (int lane = 0; lane < SY_N_LANES; lane++) {
        struct sy_ucx_in *in = &peer->in[lane];
        if (in->reported == in->ring.released)
            continue;
        if (!sy_ucx_done(peer, &in->credit_sent, "credit")) {
            sy_ucx_remember_credit(peer);
            return;
        }
        in->reported = in->ring.released;
        /* Read late, the image's word gives more credit, which is as true. */
        put_word(peer, in->ring.head, in->ring.head, &in->credit_sent);
    }
    sy_ucx_forget_credit(peer);
}

void sy_ucx_put_slot(struct sy_ucx_peer *peer, int lane, const struct iovec *slot, struct sy_ucx_sent *sent)
{
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_MEMH, .memh = peer->ucx->memory};

    sy_ucx_started(
        peer, ucp_put_nbx(peer->ep, slot->iov_base, slot->iov_len, remote_of(peer, slot->iov_base), peer->rkey, &param),
        &sent->requests[0], "a put");
    peer->ucx->n_untold++;
    put_tail(peer, lane);
    sy_ucx_put_credit(peer); /* on the same way to the network card */
}

void sy_ucx_tell(struct sy_ucx *ucx)
{
    for (int p = 0; p < ucx->n_peers && ucx->n_untold; p++)
        for (int lane = 0; lane < SY_N_LANES && ucx->peers[p].by_put; lane++)
            put_tail(&ucx->peers[p], lane);
}
