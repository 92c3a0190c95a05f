/* SPDX-License-Identifier: Apache-2.0
 * ucx_post.c - messages of rows by UCX, as tagged messages beside the transport's own traffic
 *
 * A tag is who sent a message and its lane; messages of one tag keep their order. The memory is registered, and each message says
 * so.
 */
#include <ucs/config/global_opts.h>

#include "comm/carried.h"
#include "comm/ucx_private.h"

#define LANE_BITS 8

static const ucs_memory_type_t memory_types[] = {
    [SY_MEMORY_HOST] = UCS_MEMORY_TYPE_HOST, [SY_MEMORY_CUDA] = UCS_MEMORY_TYPE_CUDA};

/* Of a context of its own, because chunks have another size then before the transport has one. */
static bool ucx_takes(enum sy_memory memory, const char **why)
{
    ucp_context_attr_t attr = {.field_mask = UCP_ATTR_FIELD_MEMORY_TYPES};
    ucp_context_h context;
    bool takes = false;

    *why = "this UCX says that it does not take memory of GPUs";
    if (memory == SY_MEMORY_HOST)
        return true;
    /* UCX notes what is allocated as it sees it, and takes the rest for the host's. In a program that the CUDA runtime is linked
     * into it does not see all: it is to ask the driver. */
    (void)ucs_global_opts_set_value("MEMTYPE_CACHE", "n");
    if (sy_ucx_context(1, &context) != UCS_OK) {
        *why = "UCX does not start";
        return false;
    }
    if (ucp_context_query(context, &attr) == UCS_OK)
        takes = attr.memory_types >> memory_types[memory] & 1;
    ucp_cleanup(context);
    return takes;
}

static enum sy_status ucx_attach(void *ctx, void *memory, size_t bytes, enum sy_memory kind, struct sy_error *err)
{
    struct sy_ucx *ucx = ctx;
    ucp_mem_map_params_t params = {.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH |
                                                 UCP_MEM_MAP_PARAM_FIELD_MEMORY_TYPE,
                                   .address = memory,
                                   .length = bytes,
                                   .memory_type = memory_types[kind]};
    ucs_status_t status = ucp_mem_map(ucx->context, &params, &ucx->rows);

    ucx->rows_type = memory_types[kind];
    return status == UCS_OK ? SY_OK
                            : sy_error_set(err, SY_ERR_SYSTEM, "ucx transport: cannot register %zu bytes for rows: %s",
                                           bytes, ucs_status_string(status));
}

static void ucx_detach(void *ctx)
{
    struct sy_ucx *ucx = ctx;

    if (ucx->rows)
        ucp_mem_unmap(ucx->context, ucx->rows);
    ucx->rows = NULL;
}

static uint64_t tag_of(int sender, int lane)
{
    return (uint64_t)sender << LANE_BITS | (uint64_t)lane;
}

static enum sy_status failed(ucs_status_t status, struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_PEER, "UCX: %s", ucs_status_string(status));
}

static enum sy_status ucx_begin(void *ctx, const struct sy_parcel *parcel, int lane, struct sy_post_request *request,
                                struct sy_error *err)
{
    struct sy_ucx *ucx = ctx;
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_MEMORY_TYPE | UCP_OP_ATTR_FIELD_MEMH,
                                 .memory_type = ucx->rows_type,
                                 .memh = ucx->rows};
    ucs_status_ptr_t started;

    if (parcel->incoming) {
        /* Of one that is complete at once, version 1.13 does not say how long it was. */
        param.op_attr_mask |= UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
        started = ucp_tag_recv_nbx(ucx->worker, parcel->memory, parcel->bytes, tag_of(parcel->peer, lane), UINT64_MAX,
                                   &param);
    } else {
        started = ucp_tag_send_nbx(ucx->peers[ucx->index[parcel->peer]].ep, parcel->memory, parcel->bytes,
                                   tag_of(sy_group_rank(ucx->base.group), lane), &param);
    }
    if (UCS_PTR_IS_ERR(started))
        return failed(UCS_PTR_STATUS(started), err);
    *request = (struct sy_post_request){
        .ucx = started, .bytes = parcel->bytes, .begun = true, .incoming = parcel->incoming};
    return SY_OK;
}

/* A send without a request of UCX's was done at once. */
static enum sy_status ucx_end(void *ctx, struct sy_post_request *request, struct sy_error *err)
{
    ucp_tag_recv_info_t info = {0};
    ucs_status_t status = UCS_OK;

    (void)ctx;
    if (request->ucx && request->incoming)
        status = ucp_tag_recv_request_test(request->ucx, &info);
    else if (request->ucx)
        status = ucp_request_check_status(request->ucx);
    if (status == UCS_INPROGRESS)
        return SY_AGAIN;
    request->came = info.length;
    sy_ucx_drop(&request->ucx);
    request->begun = false;
    return status == UCS_OK ? SY_OK : failed(status, err);
}

static void ucx_drop(void *ctx, struct sy_post_request *request)
{
    struct sy_ucx *ucx = ctx;

    if (request->ucx)
        ucp_request_cancel(ucx->worker, request->ucx);
    sy_ucx_drop(&request->ucx);
    request->begun = false;
}

static void ucx_move(void *ctx)
{
    sy_ucx_move(ctx);
}

const struct sy_post sy_post_ucx = {.takes = ucx_takes,
                                    .attach = ucx_attach,
                                    .detach = ucx_detach,
                                    .begin = ucx_begin,
                                    .end = ucx_end,
                                    .drop = ucx_drop,
                                    .move = ucx_move};
