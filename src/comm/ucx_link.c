/* SPDX-License-Identifier: Apache-2.0
 * ucx_link.c - UCX itself: worker, endpoints, memory and its keys, and the ranks' meetings
 *
 * Everything here is done before the first step or after the last one. Addresses and keys go over MPI. While a rank waits in an
 * agreement over MPI it does not move UCX, so nobody may depend on that there: ranks that need one another's help meet.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucs/debug/log_def.h>

#include "base/clock.h"
#include "base/log.h"
#include "comm/ucx_private.h"

#define MOVES_MAX 64 /* of sy_ucx_move(): a peer that never stops sending must not hold this rank here */

enum sy_status sy_ucx_fail(struct sy_ucx *ucx, int rank, ucs_status_t status, const char *what)
{
    if (ucx->failure.status)
        return ucx->failure.status;
    sy_error_set(&ucx->failure, SY_ERR_PEER, "%s%s%s", what, status ? ": " : "",
                 status ? ucs_status_string(status) : "");
    if (rank >= 0)
        return sy_transport_blame(&ucx->base, rank, SY_ERR_PEER, &ucx->failure);
    sy_error_prefix(&ucx->failure, "ucx transport");
    return SY_ERR_PEER;
}

enum sy_status sy_ucx_failed(const struct sy_ucx *ucx, struct sy_error *err)
{
    if (ucx->failure.status && err)
        *err = ucx->failure;
    return ucx->failure.status;
}

void sy_ucx_started(struct sy_ucx_peer *peer, void *request, void **keep, const char *what)
{
    *keep = NULL;
    if (UCS_PTR_IS_ERR(request))
        sy_ucx_fail(peer->ucx, peer->rank, UCS_PTR_STATUS(request), what);
    else
        *keep = request;
}

void sy_ucx_drop(void **request)
{
    if (*request)
        ucp_request_free(*request);
    *request = NULL;
}

bool sy_ucx_done(struct sy_ucx_peer *peer, void **request, const char *what)
{
    if (!*request)
        return true;
    ucs_status_t status = ucp_request_check_status(*request);
    if (status == UCS_INPROGRESS)
        return false;
    sy_ucx_drop(request);
    if (status != UCS_OK)
        sy_ucx_fail(peer->ucx, peer->rank, status, what);
    return true;
}

/* Worker */

/* UCX speaks on standard output, where completions go. */
static ucs_log_func_rc_t on_log(const char *file, unsigned line, const char *function, ucs_log_level_t level,
                                const ucs_log_component_config_t *component, const char *format, va_list arguments)
{
    char text[500];

    (void)file;
    (void)line;
    (void)function;
    (void)component;
    vsnprintf(text, sizeof text, format, arguments);
    sy_log(level <= UCS_LOG_LEVEL_ERROR  ? SY_LOG_ERROR
           : level <= UCS_LOG_LEVEL_WARN ? SY_LOG_WARN
                                         : SY_LOG_INFO,
           "UCX: %s", text);
    return UCS_LOG_FUNC_RC_STOP;
}

/* Versions before 1.16 have them as an experiment (UCX_PROTO_ENABLE), whose fences do not hold: in 1.13 a word passes a large
 * put. */
static void leave_out_new_protocols(ucp_config_t *config)
{
    unsigned major, minor, release;

    ucp_get_version(&major, &minor, &release);
    if (major == 1 && minor < 16)
        (void)ucp_config_modify(config, "PROTO_ENABLE", "n"); /* a version that does not know it has none */
}

ucs_status_t sy_ucx_context(int n_peers, ucp_context_h *context)
{
    ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_ESTIMATED_NUM_EPS |
                                         UCP_PARAM_FIELD_NAME,
                           .features = UCP_FEATURE_RMA | UCP_FEATURE_AM | UCP_FEATURE_TAG,
                           .estimated_num_eps = (size_t)n_peers,
                           .name = "switchyard"};
    static bool logs;
    ucp_config_t *config;

    if (!logs)
        ucs_log_push_handler(on_log);
    logs = true;
    ucs_status_t status = ucp_config_read(NULL, NULL, &config);
    if (status == UCS_OK) {
        leave_out_new_protocols(config);
        status = ucp_init(&params, config, context);
        ucp_config_release(config);
    }
    return status;
}

enum sy_status sy_ucx_start(struct sy_ucx *ucx, struct sy_error *err)
{
    ucp_worker_params_t single = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                  .thread_mode = UCS_THREAD_MODE_SINGLE};
    ucs_status_t status = sy_ucx_context(ucx->n_peers, &ucx->context);

    if (status == UCS_OK)
        status = ucp_worker_create(ucx->context, &single, &ucx->worker);
    if (status == UCS_OK)
        status = sy_ucx_listen(ucx);
    return status == UCS_OK ? SY_OK
                            : sy_error_set(err, SY_ERR_SYSTEM, "ucx transport: UCX %s does not start: %s",
                                           ucp_get_version_string(), ucs_status_string(status));
}

void sy_ucx_move(struct sy_ucx *ucx)
{
    for (int i = 0; i < MOVES_MAX && ucp_worker_progress(ucx->worker); i++)
        ;
    if (ucx->n_untold)
        sy_ucx_tell(ucx);
}

/* Addresses and keys */

/* All ranks' bytes, pitch apart, in *all, which the caller frees. Collective; status is how the caller got so far. */
static enum sy_status exchange(struct sy_ucx *ucx, enum sy_status status, const void *mine, size_t bytes, uint8_t **all,
                               size_t *pitch, struct sy_error *err)
{
    struct sy_team *world = sy_group_world(ucx->base.group);
    uint64_t n = bytes, ns[world->size];
    uint8_t *padded = NULL;

    *all = NULL;
    *pitch = 0;
    status = sy_team_agree(world, SY_TEAM_ALLGATHER, status, &n, sizeof n, ns, err);
    if (status)
        return status;
    for (int r = 0; r < world->size; r++)
        *pitch = ns[r] > *pitch ? (size_t)ns[r] : *pitch;
    *all = malloc((size_t)world->size * *pitch);
    padded = calloc(1, *pitch);
    if (!*all || !padded)
        status = sy_error_set(err, SY_ERR_SYSTEM, "no memory for the addresses of %d ranks", world->size);
    status = sy_group_agree(ucx->base.group, status, err);
    if (status == SY_OK) {
        memcpy(padded, mine, bytes);
        status = sy_team_agree(world, SY_TEAM_ALLGATHER, SY_OK, padded, *pitch, *all, err);
    }
    free(padded);
    return status;
}

/* A lost peer. UCX calls it for endpoints that asked for it. */
static void on_lost(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    struct sy_ucx_peer *peer = arg;

    (void)ep;
    /* Who has come to the last meeting may go. */
    if (!peer->ucx->closing || peer->n_hellos < peer->ucx->n_meetings)
        sy_ucx_fail(peer->ucx, peer->rank, status, "is lost");
}

/* UCX watches a peer for its death only when asked to, and then uses no shared memory to it (as of 1.13). A rank of this
 * node that dies is noticed by the launcher at once. */
static ucs_status_t make_endpoint(struct sy_ucx_peer *peer, const void *address)
{
    ucp_ep_params_t params = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS, .address = address};

    if (!peer->near) {
        params.field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
        params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
        params.err_handler = (ucp_err_handler_t){.cb = on_lost, .arg = peer};
    }
    return ucp_ep_create(peer->ucx->worker, &params, &peer->ep);
}

enum sy_status sy_ucx_connect(struct sy_ucx *ucx, struct sy_error *err)
{
    enum sy_status status = SY_OK;
    ucp_address_t *address = NULL;
    size_t bytes = 0, pitch;
    uint8_t *all;

    ucs_status_t ucs = ucp_worker_get_address(ucx->worker, &address, &bytes);
    if (ucs != UCS_OK)
        status = sy_error_set(err, SY_ERR_SYSTEM, "ucx transport: no address of the worker: %s",
                              ucs_status_string(ucs));
    status = exchange(ucx, status, address, bytes, &all, &pitch, err);
    if (address)
        ucp_worker_release_address(ucx->worker, address);
    for (int p = 0; p < ucx->n_peers && status == SY_OK; p++) {
        struct sy_ucx_peer *peer = &ucx->peers[p];
        ucs = make_endpoint(peer, all + (size_t)peer->rank * pitch);
        if (ucs != UCS_OK)
            status = sy_error_set(err, SY_ERR_USAGE,
                                  "ucx transport: no way to rank %d (%s): %s; UCX_TLS and UCX_NET_DEVICES, when set, "
                                  "leave UCX fewer ways",
                                  peer->rank, sy_group_host(ucx->base.group, peer->rank), ucs_status_string(ucs));
    }
    free(all);
    return sy_group_agree(ucx->base.group, status, err);
}

ucs_status_t sy_ucx_map(struct sy_ucx *ucx, void *base, size_t bytes, ucp_mem_h *memory, void **mapped)
{
    ucp_mem_map_params_t params = {.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH |
                                                 UCP_MEM_MAP_PARAM_FIELD_FLAGS,
                                   .address = base,
                                   .length = bytes,
                                   .flags = base ? 0 : UCP_MEM_MAP_ALLOCATE};
    ucp_mem_attr_t attr = {.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS};
    ucs_status_t status = ucp_mem_map(ucx->context, &params, memory);

    if (status != UCS_OK)
        return status;
    status = ucp_mem_query(*memory, &attr);
    if (status == UCS_OK) {
        *mapped = attr.address;
        return UCS_OK;
    }
    ucp_mem_unmap(ucx->context, *memory);
    *memory = NULL;
    return status;
}

/* addresses for each rank, then the key */
static void *compose_keys(const struct sy_ucx *ucx, ucp_mem_h memory, const uint64_t *mine, size_t *bytes,
                          struct sy_error *err)
{
    size_t n = (size_t)sy_group_size(ucx->base.group) * sizeof *mine, key_bytes;
    void *key;
    uint8_t *keys = NULL;
    ucs_status_t status = ucp_rkey_pack(ucx->context, memory, &key, &key_bytes);

    if (status != UCS_OK) {
        sy_error_set(err, SY_ERR_SYSTEM, "ucx transport: no key of this rank's memory: %s", ucs_status_string(status));
        return NULL;
    }
    *bytes = n + key_bytes;
    keys = calloc(1, *bytes);
    if (keys) {
        for (int p = 0; p < ucx->n_peers; p++)
            memcpy(keys + (size_t)ucx->peers[p].rank * sizeof *mine, &mine[p], sizeof *mine);
        memcpy(keys + n, key, key_bytes);
    } else {
        sy_error_set(err, SY_ERR_SYSTEM, "no memory for the keys of the ucx transport");
    }
    ucp_rkey_buffer_release(key);
    return keys;
}

enum sy_status sy_ucx_exchange_keys(struct sy_ucx *ucx, enum sy_status status, ucp_mem_h memory, const uint64_t *mine,
                                    struct sy_error *err)
{
    struct sy_group *group = ucx->base.group;
    size_t n = (size_t)sy_group_size(group) * sizeof *mine, bytes = 0, pitch;
    uint8_t *keys = NULL, *all;

    if (status == SY_OK && !(keys = compose_keys(ucx, memory, mine, &bytes, err)))
        status = SY_ERR_SYSTEM;
    status = exchange(ucx, status, keys, bytes, &all, &pitch, err);
    free(keys);
    for (int p = 0; p < ucx->n_peers && status == SY_OK; p++) {
        struct sy_ucx_peer *peer = &ucx->peers[p];
        const uint8_t *theirs = all + (size_t)peer->rank * pitch;
        memcpy(&peer->remote, theirs + (size_t)sy_group_rank(group) * sizeof *mine, sizeof *mine);
        ucs_status_t ucs = ucp_ep_rkey_unpack(peer->ep, theirs + n, &peer->rkey);
        if (ucs != UCS_OK)
            sy_ucx_fail(ucx, peer->rank, ucs, "the key of its memory is of no use here");
        else if (!peer->remote)
            sy_ucx_fail(ucx, peer->rank, UCS_OK, "has no mailbox for this rank");
        status = sy_ucx_failed(ucx, err);
    }
    free(all);
    return sy_group_agree(group, status, err);
}

/* Meetings */

static bool is_flushed(struct sy_ucx_peer *peer)
{
    return !peer->ucx->n_untold && sy_ucx_done(peer, &peer->flushed, "what was sent there") &&
           sy_ucx_done(peer, &peer->message_sent, "a message there");
}

static bool has_met(struct sy_ucx_peer *peer)
{
    return sy_ucx_done(peer, &peer->message_sent, "a message there") && peer->n_hellos >= peer->ucx->n_meetings;
}

static enum sy_status wait_for_all(struct sy_ucx *ucx, bool (*ready)(struct sy_ucx_peer *peer), struct sy_error *err)
{
    struct sy_wait wait;
    char late[80];

    sy_wait_begin(&wait, sy_group_timeout_ms(ucx->base.group));
    for (int p = 0; p < ucx->n_peers && !ucx->failure.status;) {
        if (ready(&ucx->peers[p])) {
            p++;
            continue;
        }
        sy_ucx_move(ucx);
        if (!ready(&ucx->peers[p]) && !sy_wait_pause(&wait)) {
            snprintf(late, sizeof late, "no answer over %s within %lld ms", ucx->peers[p].lane,
                     (long long)sy_group_timeout_ms(ucx->base.group));
            sy_ucx_fail(ucx, ucx->peers[p].rank, UCS_OK, late);
        }
    }
    return sy_ucx_failed(ucx, err);
}

enum sy_status sy_ucx_meet(struct sy_ucx *ucx, struct sy_error *err)
{
    enum sy_status status = wait_for_all(ucx, is_flushed, err); /* what the survey left, and words */

    ucx->n_meetings++;
    for (int p = 0; p < ucx->n_peers && status == SY_OK; p++) {
        ucp_request_param_t none = {0};
        sy_ucx_started(&ucx->peers[p], ucp_ep_flush_nbx(ucx->peers[p].ep, &none), &ucx->peers[p].flushed, "a flush");
    }
    if (status == SY_OK)
        status = wait_for_all(ucx, is_flushed, err);
    for (int p = 0; p < ucx->n_peers && status == SY_OK; p++) {
        struct sy_ucx_peer *peer = &ucx->peers[p];
        peer->hello = sy_ucx_compose(ucx, peer, SY_UCX_HELLO, 0);
        sy_ucx_send(peer, &peer->hello, NULL, &peer->message_sent, "a message there");
    }
    return status ? status : wait_for_all(ucx, has_met, err);
}

/* End */

/* A peer that goes while this rank still waits in the meeting would break the connection, of which UCX warns. Who has waited
 * there in vain has no reason to wait once more. */
enum sy_status sy_ucx_part(struct sy_ucx *ucx, struct sy_error *err)
{
    enum sy_status status = sy_ucx_meet(ucx, err);

    return status ? status : sy_group_agree(ucx->base.group, SY_OK, err);
}

/* Whatever becomes of it: the peer may have gone already. */
static bool is_closed(struct sy_ucx_peer *peer)
{
    if (peer->flushed && ucp_request_check_status(peer->flushed) == UCS_INPROGRESS)
        return false;
    sy_ucx_drop(&peer->flushed);
    return true;
}

/* Endpoints after a meeting have nothing left to say. Others are dropped: at once where UCX has been asked to watch the peer,
 * with their worker elsewhere. */
static void end_endpoints(struct sy_ucx *ucx)
{
    bool in_peace = ucx->attached && !ucx->failure.status;
    ucp_request_param_t how = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                               .flags = in_peace ? 0 : UCP_EP_CLOSE_FLAG_FORCE};
    struct sy_wait wait;

    for (int p = 0; p < ucx->n_peers; p++) {
        struct sy_ucx_peer *peer = &ucx->peers[p];
        if (peer->rkey)
            ucp_rkey_destroy(peer->rkey);
        if (peer->ep && (in_peace || !peer->near))
            sy_ucx_started(peer, ucp_ep_close_nbx(peer->ep, &how), &peer->flushed, "the end of a connection");
    }
    sy_wait_begin(&wait, sy_group_timeout_ms(ucx->base.group));
    for (int p = 0; p < ucx->n_peers && in_peace;) {
        sy_ucx_move(ucx);
        if (is_closed(&ucx->peers[p]))
            p++;
        else if (!sy_wait_pause(&wait))
            break;
    }
}

void sy_ucx_stop(struct sy_ucx *ucx)
{
    if (ucx->worker)
        end_endpoints(ucx);
    if (ucx->memory)
        ucp_mem_unmap(ucx->context, ucx->memory);
    if (ucx->worker)
        ucp_worker_destroy(ucx->worker);
    if (ucx->context)
        ucp_cleanup(ucx->context);
}
