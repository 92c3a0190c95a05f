/* SPDX-License-Identifier: Apache-2.0
 * collective.c - agreement, barrier, broadcast and gather with a deadline
 *
 * Everything goes up to a root or down from it, point to point, so that whoever is missing when the deadline passes can be
 * named. Every collective has a number in its team. A message with a lower number than the present collective is the late
 * answer to one that has already failed, and is dropped; a higher number means that ranks do not call in the same order.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "comm/group.h"
#include "comm/group_mpi.h"

#define TAG_UP       1 /* messages to the root */
#define TAG_DOWN     2 /* messages from the root */
#define TAG_MORE     3 /* the payload after the first SY_MESSAGE_INLINE bytes */
#define HEAD_BYTES   offsetof(struct sy_message, payload)
#define PIECE_BYTES  ((size_t)4 << 20)
#define NAMES_MAX    4    /* ranks listed in a message */
#define GRACE_MS_MAX 2000 /* how much longer ranks wait for the root than the root waits for them */

static const char *const operation_name[SY_TEAM_N_OPERATIONS] = {
    [SY_TEAM_BARRIER] = "barrier",
    [SY_TEAM_AGREE] = "agreement",
    [SY_TEAM_BCAST] = "broadcast",
    [SY_TEAM_GATHER] = "gather",
    [SY_TEAM_ALLGATHER] = "allgather",
    [SY_TEAM_NODE_BARRIER] = "barrier of the node",
    [SY_TEAM_SHARE] = "sharing memory on the node",
};

/* Where payloads go on the receiving side. Both NULL: they stay in the message and must fit there. */
struct sink {
    struct sy_buf *bufs; /* [size] or, for what comes down, one */
    uint8_t *fixed;      /* fixed_bytes for each sender */
    size_t fixed_bytes;
};

static size_t inline_bytes(uint64_t bytes)
{
    return bytes < SY_MESSAGE_INLINE ? (size_t)bytes : SY_MESSAGE_INLINE;
}

static const char *host_of(const struct sy_team *team, int r)
{
    return sy_group_host(team->group, team->world[r]);
}

static enum sy_status wrong(const struct sy_team *team, int operation, int r, struct sy_error *err, const char *what)
{
    if (err)
        err->rank = team->world[r];
    return sy_error_set(err, SY_ERR_INTERNAL, "%s: message from rank %d (%s) %s", operation_name[operation],
                        team->world[r], host_of(team, r), what);
}

/* The deadline passed while the ranks with a pending request had not answered. */
static enum sy_status late(struct sy_team *team, int operation, struct sy_error *err)
{
    char names[NAMES_MAX * 300 + 32] = "";
    int n = 0, first = -1;

    for (int r = 0; r < team->size; r++) {
        if (team->requests[r] == MPI_REQUEST_NULL)
            continue;
        size_t at = strlen(names);
        if (n < NAMES_MAX)
            snprintf(names + at, sizeof names - at, "%srank %d (%s)", n ? ", " : "", team->world[r], host_of(team, r));
        if (first < 0)
            first = team->world[r];
        n++;
    }
    if (n > NAMES_MAX) {
        size_t at = strlen(names);
        snprintf(names + at, sizeof names - at, " and %d more", n - NAMES_MAX);
    }
    if (err)
        err->rank = first;
    return sy_error_set(err, SY_ERR_PEER, "%s: no answer within %lld ms from %s", operation_name[operation],
                        (long long)sy_group_timeout_ms(team->group), names);
}

static void drop_requests(struct sy_team *team)
{
    for (int r = 0; r < team->size; r++)
        sy_request_drop(&team->requests[r]);
}

/* One look at team->requests. Sends need no more than to be complete; each finished one is in team->done[0 .. *n_done). */
static enum sy_status look(struct sy_team *team, int operation, int *n_done, struct sy_error *err)
{
    enum sy_status status = sy_group_move(team->group, err);

    *n_done = 0;
    if (status)
        return status;
    int rc = MPI_Testsome(team->size, team->requests, n_done, team->done, team->statuses);

    if (rc == MPI_SUCCESS)
        return SY_OK;
    for (int i = 0; rc == MPI_ERR_IN_STATUS && *n_done != MPI_UNDEFINED && i < *n_done; i++) {
        if (team->statuses[i].MPI_ERROR == MPI_SUCCESS || team->statuses[i].MPI_ERROR == MPI_ERR_PENDING)
            continue;
        char what[400];
        int r = team->done[i];
        snprintf(what, sizeof what, "%s: rank %d (%s)", operation_name[operation], team->world[r], host_of(team, r));
        if (err)
            err->rank = team->world[r];
        return sy_mpi_error(err, team->statuses[i].MPI_ERROR, what);
    }
    return sy_mpi_error(err, rc, operation_name[operation]);
}

/* Wait until all of team->requests, which are sends, are complete. */
static enum sy_status wait_sent(struct sy_team *team, int operation, struct sy_wait *wait, struct sy_error *err)
{
    for (;;) {
        int n_done = 0;
        enum sy_status status = look(team, operation, &n_done, err);
        if (status == SY_OK && n_done == MPI_UNDEFINED)
            return SY_OK;
        if (status == SY_OK && n_done == 0 && !sy_wait_pause(wait))
            status = late(team, operation, err);
        if (status != SY_OK) {
            drop_requests(team);
            return status;
        }
    }
}

static void wait_for_root(struct sy_team *team, struct sy_wait *wait)
{
    int64_t timeout_ms = sy_group_timeout_ms(team->group), grace_ms = timeout_ms / 4;

    if (grace_ms > GRACE_MS_MAX)
        grace_ms = GRACE_MS_MAX;
    sy_wait_begin(wait, timeout_ms > 0 ? timeout_ms + grace_ms : timeout_ms);
}

static void compose(struct sy_team *team, int operation, enum sy_status status, const void *data, size_t bytes,
                    const struct sy_error *err)
{
    struct sy_message *out = &team->out;

    memset(out, 0, HEAD_BYTES);
    out->operation = (uint32_t)operation;
    out->status = status;
    out->sequence = team->sequence;
    out->rank = team->world[team->rank];
    out->bytes = bytes;
    if (status != SY_OK) {
        const char *text = err && err->text[0] ? err->text : "failed without saying why";
        if (err && err->rank >= 0)
            out->rank = err->rank;
        out->bytes = strnlen(text, SY_ERROR_TEXT_MAX - 1);
        data = text;
    }
    if (out->bytes)
        memcpy(out->payload, data, inline_bytes(out->bytes));
}

/* Send team->out, and the rest of data when it is longer, to `to`, or to everybody else when `to` is -1. */
static enum sy_status send_out(struct sy_team *team, int to, int tag, const uint8_t *data, struct sy_wait *wait,
                               struct sy_error *err)
{
    const struct sy_message *out = &team->out;
    size_t at = inline_bytes(out->bytes);
    int operation = (int)out->operation;

    for (bool head = true; head || at < out->bytes; head = false) {
        size_t n = out->bytes - at < PIECE_BYTES ? out->bytes - at : PIECE_BYTES;
        for (int r = 0; r < team->size; r++) {
            if (r == team->rank || (to >= 0 && r != to))
                continue;
            int rc = head ? sy_team_isend(team, out, HEAD_BYTES + at, r, tag, &team->requests[r])
                          : sy_team_isend(team, data + at, n, r, TAG_MORE, &team->requests[r]);
            if (rc != MPI_SUCCESS) {
                drop_requests(team);
                return sy_mpi_error(err, rc, operation_name[operation]);
            }
        }
        enum sy_status status = wait_sent(team, operation, wait, err);
        if (status != SY_OK)
            return status;
        if (!head) {
            at += n;
            sy_wait_reset(wait);
        }
    }
    return SY_OK;
}

static enum sy_status receive_head(struct sy_team *team, int operation, int r, int tag, struct sy_error *err)
{
    int rc = sy_team_irecv(team, &team->in[r], sizeof team->in[r], r, tag, &team->requests[r]);

    team->received[r] = 0;
    return rc == MPI_SUCCESS ? SY_OK : sy_mpi_error(err, rc, operation_name[operation]);
}

/* Room for the payload of r; NULL when it stays in its message. */
static enum sy_status place(const struct sink *sink, int r, uint64_t bytes, uint8_t **at, struct sy_error *err)
{
    *at = NULL;
    if (sink->fixed) {
        *at = sink->fixed + (size_t)r * sink->fixed_bytes;
        return SY_OK;
    }
    if (!sink->bufs)
        return SY_OK;
    sink->bufs[r].len = 0;
    if (!sy_buf_reserve(&sink->bufs[r], bytes))
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a message of %llu bytes", (unsigned long long)bytes);
    *at = sink->bufs[r].data;
    return SY_OK;
}

/* A message's head is there: check it, and copy what came with it. *stale: it answers an earlier collective. */
static enum sy_status take_head(struct sy_team *team, int operation, int r, const struct sink *sink, int place_of,
                                int count, bool *stale, struct sy_error *err)
{
    const struct sy_message *in = &team->in[r];
    uint8_t *at;

    *stale = false;
    if ((size_t)count < HEAD_BYTES || (size_t)count != HEAD_BYTES + inline_bytes(in->bytes) ||
        in->operation >= SY_TEAM_N_OPERATIONS)
        return wrong(team, operation, r, err, "is malformed; do all ranks run the same program?");
    if (in->sequence < team->sequence && in->bytes <= SY_MESSAGE_INLINE) {
        *stale = true;
        return SY_OK;
    }
    if (in->sequence != team->sequence || in->operation != (uint32_t)operation) {
        char what[160];
        snprintf(what, sizeof what, "belongs to collective %llu (%s), but this rank is at %llu",
                 (unsigned long long)in->sequence, operation_name[in->operation], (unsigned long long)team->sequence);
        return wrong(team, operation, r, err, what);
    }
    if (in->status != SY_OK) {
        team->received[r] = in->bytes;
        return in->bytes < SY_ERROR_TEXT_MAX ? SY_OK : wrong(team, operation, r, err, "has too long an error text");
    }
    if (sink->fixed ? in->bytes != sink->fixed_bytes : !sink->bufs && in->bytes > SY_MESSAGE_INLINE)
        return wrong(team, operation, r, err, "has an unexpected length; do all ranks give the same number of bytes?");
    enum sy_status status = place(sink, place_of, in->bytes, &at, err);
    if (status != SY_OK)
        return status;
    team->received[r] = inline_bytes(in->bytes);
    if (at && team->received[r])
        memcpy(at, in->payload, team->received[r]);
    return SY_OK;
}

/* Start receiving the next piece from r, or finish its payload. */
static enum sy_status take_more(struct sy_team *team, int operation, int r, const struct sink *sink, int place_of,
                                struct sy_error *err)
{
    const struct sy_message *in = &team->in[r];
    size_t left = in->bytes - team->received[r];

    if (left) {
        uint8_t *to = sink->fixed ? sink->fixed + (size_t)place_of * sink->fixed_bytes : sink->bufs[place_of].data;
        size_t n = left < PIECE_BYTES ? left : PIECE_BYTES;
        int rc = sy_team_irecv(team, to + team->received[r], n, r, TAG_MORE, &team->requests[r]);
        team->received[r] += n;
        return rc == MPI_SUCCESS ? SY_OK : sy_mpi_error(err, rc, operation_name[operation]);
    }
    if (sink->bufs && in->status == SY_OK) {
        sink->bufs[place_of].len = in->bytes;
        sink->bufs[place_of].data[in->bytes] = 0;
    }
    return SY_OK;
}

/* Receive from every rank with a posted head in team->requests. one_place: all payloads go to place 0 of the sink. */
static enum sy_status receive(struct sy_team *team, int operation, int tag, const struct sink *sink, bool one_place,
                              struct sy_wait *wait, struct sy_error *err)
{
    enum sy_status status;

    for (;;) {
        int n_done = 0;
        status = look(team, operation, &n_done, err);
        if (status != SY_OK || n_done == MPI_UNDEFINED)
            break;
        if (n_done == 0 && !sy_wait_pause(wait)) {
            status = late(team, operation, err);
            break;
        }
        for (int i = 0; i < n_done && status == SY_OK; i++) {
            int r = team->done[i], count = 0, place_of = one_place ? 0 : r;
            bool stale = false;
            if (team->statuses[i].MPI_TAG == tag) {
                MPI_Get_count(&team->statuses[i], MPI_BYTE, &count);
                status = take_head(team, operation, r, sink, place_of, count, &stale, err);
            } else {
                sy_wait_reset(wait); /* a long payload has the deadline for each piece */
            }
            if (status == SY_OK)
                status = stale ? receive_head(team, operation, r, tag, err)
                               : take_more(team, operation, r, sink, place_of, err);
        }
        if (status != SY_OK)
            break;
    }
    if (status != SY_OK)
        drop_requests(team);
    return status;
}

/* The root's half of everything that goes up. */
static enum sy_status collect(struct sy_team *team, int operation, const struct sink *sink, struct sy_error *err)
{
    struct sy_wait wait;
    enum sy_status status = SY_OK;

    sy_wait_begin(&wait, sy_group_timeout_ms(team->group));
    for (int r = 0; r < team->size && status == SY_OK; r++) {
        team->in[r].status = SY_OK;
        if (r != team->rank)
            status = receive_head(team, operation, r, TAG_UP, err);
    }
    if (status != SY_OK) {
        drop_requests(team);
        return status;
    }
    return receive(team, operation, TAG_UP, sink, false, &wait, err);
}

/* The other ranks' half of everything that comes down: the root's payload, or its error. */
static enum sy_status hear(struct sy_team *team, int operation, int root, const struct sink *sink, struct sy_error *err)
{
    struct sy_wait wait;

    wait_for_root(team, &wait);
    enum sy_status status = receive_head(team, operation, root, TAG_DOWN, err);
    if (status == SY_OK)
        status = receive(team, operation, TAG_DOWN, sink, true, &wait, err);
    const struct sy_message *in = &team->in[root];
    if (status != SY_OK || in->status == SY_OK)
        return status;
    status = sy_error_set(err, in->status, "%.*s", (int)in->bytes, (const char *)in->payload);
    if (err)
        err->rank = in->rank;
    return status;
}

/* The root has heard from everybody, or has waited long enough (status): what everybody will be told. */
static enum sy_status verdict(struct sy_team *team, enum sy_status status, enum sy_status mine, struct sy_error *err)
{
    struct sy_error own = SY_ERROR_INIT;

    for (int r = 0; r < team->size; r++) {
        const struct sy_message *in = &team->in[r];
        enum sy_status theirs = r == team->rank ? mine : (enum sy_status)in->status;
        if (theirs == SY_OK)
            continue;
        int rank = team->world[r];
        if (r != team->rank)
            sy_error_set(&own, theirs, "%.*s", (int)in->bytes, (const char *)in->payload);
        else
            sy_error_set(&own, theirs, "%s", err && err->text[0] ? err->text : "failed without saying why");
        if (team->size > 1)
            sy_error_prefix(&own, "rank %d (%s)", rank, host_of(team, r));
        own.rank = rank;
        if (err)
            *err = own;
        return theirs;
    }
    return status;
}

enum sy_status sy_team_agree(struct sy_team *team, int operation, enum sy_status mine_status, const void *mine,
                             size_t n, void *out, struct sy_error *err)
{
    struct sy_error unheard = SY_ERROR_INIT;
    struct sink up = {.fixed = n ? out : NULL, .fixed_bytes = n};
    struct sink down = {.fixed = n ? out : NULL, .fixed_bytes = n * (size_t)team->size};
    struct sy_wait wait;

    if (!err) /* the text goes to the other ranks even if this one does not want it */
        err = &unheard;
    team->sequence++;
    if (team->rank != 0) {
        sy_wait_begin(&wait, sy_group_timeout_ms(team->group));
        compose(team, operation, mine_status, mine, n, err);
        enum sy_status status = send_out(team, 0, TAG_UP, mine, &wait, err);
        return status == SY_OK ? hear(team, operation, 0, &down, err) : status;
    }
    /* A failure of the root itself is kept aside while it listens. */
    struct sy_error heard = SY_ERROR_INIT;
    enum sy_status status = collect(team, operation, &up, &heard);
    if (mine_status == SY_OK)
        *err = heard;
    status = verdict(team, status, mine_status, err);
    if (status == SY_OK && n)
        memcpy(out, mine, n);
    wait_for_root(team, &wait);
    compose(team, operation, status, out, n * (size_t)team->size, err);
    enum sy_status sent = send_out(team, -1, TAG_DOWN, out, &wait, status == SY_OK ? err : NULL);
    return status == SY_OK ? sent : status;
}

enum sy_status sy_group_agree(struct sy_group *group, enum sy_status mine, struct sy_error *err)
{
    return sy_team_agree(sy_group_world(group), SY_TEAM_AGREE, mine, NULL, 0, NULL, err);
}

enum sy_status sy_group_barrier(struct sy_group *group, struct sy_error *err)
{
    return sy_team_agree(sy_group_world(group), SY_TEAM_BARRIER, SY_OK, NULL, 0, NULL, err);
}

enum sy_status sy_group_node_barrier(struct sy_group *group, struct sy_error *err)
{
    return sy_team_agree(sy_group_node(group), SY_TEAM_NODE_BARRIER, SY_OK, NULL, 0, NULL, err);
}

enum sy_status sy_group_allgather(struct sy_group *group, const void *mine, size_t n, void *out, struct sy_error *err)
{
    return sy_team_agree(sy_group_world(group), SY_TEAM_ALLGATHER, SY_OK, mine, n, out, err);
}

enum sy_status sy_group_bcast(struct sy_group *group, int root, struct sy_buf *buf, struct sy_error *err)
{
    struct sy_team *team = sy_group_world(group);
    struct sy_wait wait;

    team->sequence++;
    if (team->rank != root)
        return hear(team, SY_TEAM_BCAST, root, &(struct sink){.bufs = buf}, err);
    sy_wait_begin(&wait, sy_group_timeout_ms(group));
    compose(team, SY_TEAM_BCAST, SY_OK, buf->data, buf->len, NULL);
    return send_out(team, -1, TAG_DOWN, buf->data, &wait, err);
}

enum sy_status sy_group_gather(struct sy_group *group, int root, const struct sy_buf *mine, struct sy_buf *in,
                               struct sy_error *err)
{
    struct sy_team *team = sy_group_world(group);
    struct sy_wait wait;

    team->sequence++;
    if (team->rank != root) {
        sy_wait_begin(&wait, sy_group_timeout_ms(group));
        compose(team, SY_TEAM_GATHER, SY_OK, mine->data, mine->len, NULL);
        return send_out(team, root, TAG_UP, mine->data, &wait, err);
    }
    in[root].len = 0;
    if (!sy_buf_append(&in[root], mine->data, mine->len))
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a message of %zu bytes", mine->len);
    return collect(team, SY_TEAM_GATHER, &(struct sink){.bufs = in}, err);
}
