/* SPDX-License-Identifier: Apache-2.0
 * ucx_message.c - active messages: a chunk for a slot, credit, and the hello of a meeting
 *
 * UCX hands a small message over in its own memory and announces a large one, whose bytes it then brings into the slot itself.
 * Over tcp all go without announcement: it and its answer would wait in both directions behind the bytes of other chunks.
 */
#include <stdio.h>
#include <string.h>

#include "comm/ucx_private.h"

#define MESSAGE_ID 0

struct sy_ucx_message sy_ucx_compose(const struct sy_ucx *ucx, struct sy_ucx_peer *peer, uint32_t kind, uint64_t chunk)
{
    struct sy_ucx_message message = {.magic = SY_UCX_MAGIC,
                                     .kind = kind,
                                     .rank = sy_group_rank(ucx->base.group),
                                     .epoch = ucx->base.config.epoch,
                                     .chunk = chunk};

    for (int lane = 0; lane < SY_N_LANES; lane++)
        message.released[lane] = peer->by_put ? 0 : (peer->in[lane].reported = peer->in[lane].ring.released);
    return message;
}

void sy_ucx_send(struct sy_ucx_peer *peer, const struct sy_ucx_message *message, const struct iovec *slot,
                 void **request, const char *what)
{
    ucp_request_param_t param = {0};

    if (slot && peer->ucx->memory) {
        param.op_attr_mask = UCP_OP_ATTR_FIELD_MEMH;
        param.memh = peer->ucx->memory;
    }
    if (peer->in_line) {
        param.op_attr_mask |= UCP_OP_ATTR_FIELD_FLAGS;
        param.flags = UCP_AM_SEND_FLAG_EAGER;
    }
    void *sent = ucp_am_send_nbx(peer->ep, MESSAGE_ID, message, sizeof *message, slot ? slot->iov_base : NULL,
                                 slot ? slot->iov_len : 0, &param);
    sy_ucx_started(peer, sent, request, what);
}

/* The chunk of a slot is there: publish it, and those behind it that came earlier. */
static void land(struct sy_ucx_landing *landing)
{
    const struct sy_ucx *ucx = landing->peer->ucx;
    struct sy_ucx_in *in = &landing->peer->in[landing->lane];
    uint64_t n_slots = (uint64_t)ucx->base.config.n_slots, before = in->landed;

    landing->there = true;
    while (in->landings[in->landed % n_slots].there) {
        in->landings[in->landed % n_slots].coming = in->landings[in->landed % n_slots].there = false;
        in->landed++;
    }
    if (in->landed > before)
        sy_ring_publish(&ucx->shapes[landing->lane], in->ring.tail, in->landed);
}

static void on_fetched(void *request, ucs_status_t status, size_t length, void *arg)
{
    struct sy_ucx_landing *landing = arg;

    (void)length;
    if (status == UCS_OK)
        land(landing);
    else
        sy_ucx_fail(landing->peer->ucx, landing->peer->rank, status, "fetching a chunk from it");
    ucp_request_free(request);
}

static ucs_status_t fetch(struct sy_ucx_landing *landing, void *announced, uint8_t *slot, size_t length)
{
    struct sy_ucx *ucx = landing->peer->ucx;
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
                                                 UCP_OP_ATTR_FIELD_MEMH,
                                 .cb.recv_am = on_fetched,
                                 .user_data = landing,
                                 .memh = ucx->memory};
    void *request = ucp_am_recv_data_nbx(ucx->worker, announced, slot, length, &param);

    if (UCS_PTR_IS_ERR(request))
        sy_ucx_fail(ucx, landing->peer->rank, UCS_PTR_STATUS(request), "fetching a chunk from it");
    else if (!request)
        land(landing);
    return UCS_INPROGRESS;
}

static ucs_status_t take_chunk(struct sy_ucx_peer *peer, const struct sy_ucx_message *message, void *data,
                               size_t length, bool announced)
{
    struct sy_ucx *ucx = peer->ucx;
    int lane = (int)message->kind;
    struct sy_ucx_in *in = &peer->in[lane];
    uint64_t n_slots = (uint64_t)ucx->base.config.n_slots;
    struct sy_ucx_landing *landing = &in->landings[message->chunk % n_slots];
    char what[160];

    if (!in->ring.slots || message->chunk < in->landed || message->chunk >= in->ring.released + n_slots ||
        landing->coming || length > sy_ring_slot_bytes(&ucx->shapes[lane])) {
        snprintf(what, sizeof what, "sent chunk %llu of lane %d with %zu bytes, where %llu to %llu are awaited",
                 (unsigned long long)message->chunk, lane, length, (unsigned long long)in->landed,
                 (unsigned long long)(in->ring.released + n_slots) - 1);
        sy_ucx_fail(ucx, peer->rank, UCS_OK, what);
        return UCS_OK;
    }
    uint8_t *slot = (uint8_t *)in->ring.slots + sy_ring_slot_at(&ucx->shapes[lane], message->chunk);
    landing->coming = true;
    if (announced)
        return fetch(landing, data, slot, length);
    memcpy(slot, data, length);
    land(landing);
    return UCS_OK;
}

static ucs_status_t on_message(void *arg, const void *header, size_t header_length, void *data, size_t length,
                               const ucp_am_recv_param_t *param)
{
    struct sy_ucx *ucx = arg;
    struct sy_ucx_message message;
    int size = sy_group_size(ucx->base.group);

    if (header_length == sizeof message)
        memcpy(&message, header, sizeof message);
    if (header_length != sizeof message || message.magic != SY_UCX_MAGIC || message.epoch != ucx->base.config.epoch ||
        message.rank < 0 || message.rank >= size || ucx->index[message.rank] < 0 || message.kind > SY_UCX_HELLO) {
        sy_ucx_fail(ucx, -1, UCS_OK, "a message came that is malformed or of another session");
        return UCS_OK;
    }
    struct sy_ucx_peer *peer = &ucx->peers[ucx->index[message.rank]];
    for (int lane = 0; lane < SY_N_LANES; lane++) {
        struct sy_ucx_out *out = &peer->out[lane];
        if (message.released[lane] <= out->told) /* messages may pass each other */
            continue;
        out->told = message.released[lane];
        if (out->ring.head)
            sy_ring_publish(&ucx->shapes[lane], out->ring.head, out->told);
    }
    if (message.kind < SY_N_LANES)
        return take_chunk(peer, &message, data, length, param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV);
    peer->n_hellos += message.kind == SY_UCX_HELLO;
    return UCS_OK;
}

ucs_status_t sy_ucx_listen(struct sy_ucx *ucx)
{
    ucp_am_handler_param_t param = {.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                                                  UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG,
                                    .id = MESSAGE_ID,
                                    .flags = UCP_AM_FLAG_WHOLE_MSG,
                                    .cb = on_message,
                                    .arg = ucx};

    return ucp_worker_set_am_recv_handler(ucx->worker, &param);
}
