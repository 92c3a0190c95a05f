/* SPDX-License-Identifier: Apache-2.0
 * direct.c - rows carried by MPI or UCX, from memory of one device into memory of another
 *
 * Rows that a chunk tells of are a message, or two where they go round the end of the ring. It is sent when the chunk has been
 * put, and its receive is posted when the chunk has come: both sides know how long it is, and messages of a lane have the order
 * of its chunks. There is always room for it: a chunk is released once its rows are in place, and at most n_slots are not.
 *
 * What is sent is in memory before the chunk is put, and a receive is complete once the rows are there; so only what brings
 * them to their places runs on the device beside its queues. Who brings the messages is a post (carried.h).
 */
#include <limits.h>
#include <stdlib.h>

#include "base/clock.h"
#include "comm/carried_private.h"

#define N_RUNS 2

struct message {
    struct sy_post_request requests[N_RUNS];
    int n_rows;
};

/* Messages of a lane to or from a peer. */
struct flow {
    struct message *messages; /* [n_slots] */
    uint64_t begun, done, rows_begun, rows_done;
};

/* Of a rank for a peer: messages of each lane in all, from its begin to its end. */
struct total {
    uint64_t messages[SY_N_LANES];
    uint64_t failed;
};

struct direct {
    struct flow (*flows)[2][SY_N_LANES]; /* [R] out, in */
    struct message *messages;            /* of all */
    struct total *totals;                /* [R] for each peer, [R, R] of each rank for each */
    bool begun, failed;
};

static struct direct *direct_of(const struct sy_carried *c)
{
    return c->state;
}

static struct flow *flow_of(const struct sy_carried *c, int peer, bool incoming, int lane)
{
    return &direct_of(c)->flows[peer][incoming][lane];
}

static enum sy_status failed(struct sy_carried *c, int peer, const char *what, struct sy_error *err)
{
    direct_of(c)->failed = true;
    if (err)
        err->rank = peer;
    sy_error_prefix(err, "%s transport: rank %d (%s): %s", c->way.name, peer, sy_group_host(c->group, peer), what);
    return SY_ERR_PEER;
}

static enum sy_status broken(struct sy_carried *c, int peer, const char *what, struct sy_error *err)
{
    direct_of(c)->failed = true;
    return sy_carried_broken(c, peer, what, err);
}

/* Send the next n rows of a ring, or receive them there. */
static enum sy_status begin_message(struct sy_carried *c, int peer, bool incoming, enum sy_lane lane, int n,
                                    struct sy_error *err)
{
    struct flow *flow = flow_of(c, peer, incoming, lane);
    struct sy_carried_peer *of = &c->peers[peer];
    struct message *message = &flow->messages[flow->begun % (uint64_t)c->n_slots];
    struct sy_parcel runs[N_RUNS];

    if (flow->begun - flow->done == (uint64_t)c->n_slots)
        return broken(c, peer, "sent more chunks than there is room for", err);
    int n_runs = sy_carried_wrap(c, peer, incoming, lane, incoming ? of->in[lane].rows : of->out[lane].rows,
                                 flow->rows_begun, (uint64_t)n, runs);
    *message = (struct message){.n_rows = n};
    for (int i = 0; i < n_runs; i++)
        if (c->way.post->begin(c->way.post_ctx, &runs[i], (int)lane, &message->requests[i], err))
            return failed(c, peer, incoming ? "receiving rows" : "sending rows", err);
    flow->begun++;
    flow->rows_begun += (uint64_t)n;
    return SY_OK;
}

/* The oldest message of a flow, once it is through; *n: its rows. SY_AGAIN: it is not, or there is none. */
static enum sy_status end_message(struct sy_carried *c, int peer, bool incoming, int lane, int *n, struct sy_error *err)
{
    struct flow *flow = flow_of(c, peer, incoming, lane);
    struct message *message = &flow->messages[flow->done % (uint64_t)c->n_slots];

    if (flow->begun == flow->done)
        return SY_AGAIN;
    for (int i = 0; i < N_RUNS; i++) {
        struct sy_post_request *request = &message->requests[i];
        enum sy_status st = request->begun ? c->way.post->end(c->way.post_ctx, request, err) : SY_OK;
        if (st == SY_AGAIN)
            return st;
        if (st)
            return failed(c, peer, incoming ? "receiving rows" : "sending rows", err);
        if (incoming && request->came != request->bytes)
            return broken(c, peer, "sent fewer rows than its chunk tells of", err);
    }
    *n = message->n_rows;
    flow->done++;
    flow->rows_done += (uint64_t)*n;
    return SY_OK;
}

static uint64_t direct_taken(const struct sy_carried *c, int peer, enum sy_lane lane)
{
    return flow_of(c, peer, false, lane)->rows_done;
}

static enum sy_status retire_sends(struct sy_carried *c, int peer, int lane, struct sy_error *err)
{
    enum sy_status st;
    int n;

    do
        st = end_message(c, peer, false, lane, &n, err);
    while (!st);
    return st == SY_AGAIN ? SY_OK : st;
}

/* Rows of the chunk that had this place have arrived, but MPI may not know that yet. */
static enum sy_status direct_may_send(struct sy_carried *c, int peer, enum sy_lane lane, struct sy_error *err)
{
    const struct flow *flow = flow_of(c, peer, false, lane);
    enum sy_status st = retire_sends(c, peer, lane, err);

    if (st)
        return st;
    return flow->begun - flow->done == (uint64_t)c->n_slots ? SY_AGAIN : SY_OK;
}

static enum sy_status direct_send(struct sy_carried *c, int peer, enum sy_lane lane, int n, struct sy_error *err)
{
    return begin_message(c, peer, false, lane, n, err);
}

static enum sy_status direct_expect(struct sy_carried *c, int peer, enum sy_lane lane, int n, struct sy_error *err)
{
    return begin_message(c, peer, true, lane, n, err);
}

/* Rows that have come go to their places. */
static enum sy_status lay_all(struct sy_carried *c, struct sy_error *err)
{
    enum sy_status st = SY_OK;
    bool any = false;

    for (int p = 0; p < c->size && !st; p++) {
        for (int lane = 0; lane < SY_N_LANES && p != c->rank && !st; lane++) {
            int n;
            while (!(st = end_message(c, p, true, lane, &n, err)) &&
                   !(st = sy_carried_lay(c, p, (enum sy_lane)lane, (uint64_t)n, err)))
                any = true;
            st = st == SY_AGAIN ? SY_OK : st;
        }
    }
    return st || !any ? st : sy_carried_mark(c, err);
}

static enum sy_status direct_progress(struct sy_carried *c, struct sy_error *err)
{
    enum sy_status st = sy_carried_reap(c, err);

    for (int p = 0; p < c->size && !st; p++) {
        for (int lane = 0; lane < SY_N_LANES && p != c->rank && !st; lane++) {
            st = retire_sends(c, p, lane, err);
            while (!st)
                st = sy_carried_take_in(c, p, (enum sy_lane)lane, err);
            st = st == SY_AGAIN ? SY_OK : st;
        }
    }
    return !st && sy_carried_may_mark(c) ? lay_all(c, err) : st;
}

/* ---- begin and end ---- */

static enum sy_status direct_open(struct sy_carried *c, struct sy_error *err)
{
    struct direct *d = c->state = calloc(1, sizeof *d);
    size_t R = (size_t)c->size, slots = (size_t)c->n_slots;
    enum sy_status st = SY_OK;

    if (d) {
        d->flows = calloc(R, sizeof *d->flows);
        d->messages = calloc(R * 2 * SY_N_LANES * slots, sizeof *d->messages);
        d->totals = calloc(R + R * R, sizeof *d->totals);
    }
    if (!d || !d->flows || !d->messages || !d->totals)
        st = sy_error_set(err, SY_ERR_SYSTEM, "no memory for the %s transport's rows", c->way.name);
    else
        for (size_t i = 0; i < R * 2 * SY_N_LANES; i++)
            (&d->flows[0][0][0])[i].messages = d->messages + i * slots;
    for (int lane = 0; lane < SY_N_LANES && !st; lane++)
        if (c->n_rows[lane] < slots * (size_t)c->chunk_rows)
            st = sy_error_set(err, SY_ERR_INTERNAL,
                              "%s transport: room for %zu rows, %zu chunks of %d can be on their way", c->way.name,
                              c->n_rows[lane], slots, c->chunk_rows);
    if (!st && (size_t)c->chunk_rows * c->row_bytes > INT_MAX)
        st = sy_error_set(err, SY_ERR_USAGE,
                          "%d rows of %zu bytes are more than the 2 GiB of a message; use fewer rows for each "
                          "transport chunk",
                          c->chunk_rows, c->row_bytes);
    return sy_group_agree(c->group, st, err);
}

static enum sy_status overdue(const struct sy_carried *c, int peer, struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_PEER, "%s transport: rank %d (%s) has not sent or taken rows within %lld ms",
                        c->way.name, peer, sy_group_host(c->group, peer), (long long)sy_group_timeout_ms(c->group));
}

/* A peer with whom a message that was begun has not ended; there is one. */
static int unended(const struct sy_carried *c)
{
    for (int i = 0; i < 2 * c->size; i++) {
        const struct flow *flow = flow_of(c, i / 2, i % 2, SY_LANE_DISPATCH);
        if (flow->done < flow->begun)
            return i / 2;
    }
    return c->rank;
}

/* A row from each to each, because devices are connected when memory of theirs first goes between them. */
static enum sy_status greet(struct sy_carried *c, struct sy_error *err)
{
    enum sy_status st = SY_OK;
    struct sy_wait wait;
    int n, left = 0;

    for (int i = 1; i < c->size && !st; i++) {
        int to = (c->rank + i) % c->size, from = (c->rank - i + c->size) % c->size;
        st = begin_message(c, from, true, SY_LANE_DISPATCH, 1, err);
        if (!st)
            st = begin_message(c, to, false, SY_LANE_DISPATCH, 1, err);
        left += 2;
    }
    sy_wait_begin(&wait, sy_group_timeout_ms(c->group));
    while (!st && left) {
        c->way.post->move(c->way.post_ctx);
        for (int i = 0; i < 2 * c->size && !st; i++) {
            st = end_message(c, i / 2, i % 2, SY_LANE_DISPATCH, &n, err);
            left -= !st;
            st = st == SY_AGAIN ? SY_OK : st;
        }
        if (!st && left && !sy_wait_pause(&wait))
            st = overdue(c, unended(c), err);
    }
    for (int i = 0; i < 2 * c->size; i++) {
        struct flow *flow = flow_of(c, i / 2, i % 2, SY_LANE_DISPATCH);
        flow->rows_begun = flow->rows_done = 0;
    }
    return st;
}

static enum sy_status direct_begin(struct sy_carried *c, struct sy_error *err)
{
    const struct sy_courier *courier = c->way.courier;
    enum sy_status st = courier->open(NULL, c->rank, c->size, &c->link, err);

    direct_of(c)->begun = true;
    if (!st && c->way.post->attach)
        st = c->way.post->attach(c->way.post_ctx, c->rings, c->rings_bytes, courier->memory, err);
    st = sy_group_agree(c->group, st, err);
    return st ? st : sy_group_agree(c->group, greet(c, err), err);
}

/* A peer to whom something that this rank sent is not gone, or from whom something is not here; -1: there is none. */
static int unquiet(const struct sy_carried *c)
{
    const struct total *theirs = direct_of(c)->totals + c->size;

    for (int p = 0; p < c->size; p++)
        for (int lane = 0; lane < SY_N_LANES; lane++)
            if (flow_of(c, p, false, lane)->done < flow_of(c, p, false, lane)->begun ||
                flow_of(c, p, true, lane)->done < theirs[p * c->size + c->rank].messages[lane])
                return p;
    return -1;
}

/* Each says how many messages it has sent to whom, and waits until as many have come. After that none is on its way. */
static enum sy_status direct_drain(struct sy_carried *c, struct sy_error *err)
{
    struct direct *d = direct_of(c);
    struct total *all = d->totals + c->size;
    size_t R = (size_t)c->size;
    struct sy_wait wait;
    bool lost = false;

    for (int p = 0; p < c->size; p++) {
        d->totals[p].failed = d->failed;
        for (int lane = 0; lane < SY_N_LANES; lane++)
            d->totals[p].messages[lane] = flow_of(c, p, false, lane)->begun;
    }
    enum sy_status st = sy_group_allgather(c->group, d->totals, R * sizeof *all, all, err);
    for (size_t i = 0; i < R * R && !st; i++)
        lost = lost || all[i].failed;
    sy_wait_begin(&wait, sy_group_timeout_ms(c->group));
    while (!st && !lost && unquiet(c) >= 0) {
        st = c->way.move(c->way.ctx, err);
        if (!st && !sy_wait_pause(&wait))
            st = overdue(c, unquiet(c), err);
    }
    return st;
}

static void direct_close(struct sy_carried *c)
{
    struct direct *d = direct_of(c);

    if (!d)
        return;
    for (size_t i = 0; d->begun && i < (size_t)c->size * 2 * SY_N_LANES * (size_t)c->n_slots; i++)
        for (int run = 0; run < N_RUNS; run++)
            if (d->messages[i].requests[run].begun)
                c->way.post->drop(c->way.post_ctx, &d->messages[i].requests[run]);
    if (d->begun && c->way.post->detach)
        c->way.post->detach(c->way.post_ctx);
    free(d->flows);
    free(d->messages);
    free(d->totals);
    free(d);
}

const struct sy_carrier sy_carrier_direct = {
    .open = direct_open,
    .begin = direct_begin,
    .close = direct_close,
    .taken = direct_taken,
    .may_send = direct_may_send,
    .send = direct_send,
    .expect = direct_expect,
    .progress = direct_progress,
    .drain = direct_drain,
};
