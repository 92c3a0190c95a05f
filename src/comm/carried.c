/* SPDX-License-Identifier: Apache-2.0
 * carried.c - windows in memory of devices, to which a courier carries rows
 */
#include "comm/carried.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "comm/ring.h"

/* What one rank says to another of a round; whoever reads round + 1 sees the counts. It is written again two rounds later, which
 * its reader must have left behind by then. */
struct said {
    _Alignas(SY_RING_LINE) _Atomic uint64_t round;
    uint64_t n_rows[SY_N_LANES];
};

/* Rows of one rank that another has taken out of its rings. */
struct taken {
    _Alignas(SY_RING_LINE) _Atomic uint64_t rows[SY_N_LANES];
};

/* [R, R] from one rank to another; the second one writes taken. */
struct between {
    struct said said[2];
    struct taken taken;
};

struct held {
    const void *data;
    size_t bytes;
    uint64_t end; /* rows of the lane up to and with its own */
};

struct out {
    uint8_t *rows;   /* on the device */
    uint32_t *where; /* row of the peer's window behind each */
    uint64_t placed, covered, sent;
    uint64_t n_now; /* of this round */
};

struct in {
    uint8_t *rows;
    uint32_t *where; /* in alloc_host() */
    uint64_t parsed, asked,
        arrived; /* rows that chunks have told of, that exchanges have asked for, that are in place */
    uint64_t n_now;
    struct held *held; /* [n_slots] */
    uint64_t n_held, n_polled;
};

struct peer {
    struct out out[SY_N_LANES];
    struct in in[SY_N_LANES];
};

struct sy_carried {
    const struct sy_courier *courier;
    struct sy_courier_link *link;
    struct sy_group *group;
    struct sy_mover mover;
    struct sy_carried_chunks chunks;
    int rank, size, n_slots;
    size_t row_bytes, window_bytes, n_rows[SY_N_LANES];
    void *window;
    struct between *between; /* [R, R] */
    struct peer *peers;      /* [R] */
    struct held *held;       /* of all peers and lanes */
    uint8_t *rings;          /* of all peers, on the device */
    uint32_t *wheres;        /* of all peers */
    size_t rings_bytes, wheres_bytes;
    uint64_t round;
    bool told, asked; /* this round's counts are said; its exchange is asked for and not yet taken */
    /* Rounds whose exchanges run: [SY_COURIER_MARKS] rows of each peer and lane in place once it is done. */
    uint64_t n_marked, n_reached;
    uint64_t (*ends)[SY_N_LANES]; /* [SY_COURIER_MARKS, R] */
    struct sy_parcel *parcels;
    uint32_t trail; /* the number of rows that is being put */
};

static struct between *between(const struct sy_carried *c, int from, int to)
{
    return &c->between[from * c->size + to];
}

static size_t between_bytes(const struct sy_carried *c)
{
    return (size_t)(c->size * c->size) * sizeof(struct between);
}

size_t sy_carried_trailer_bytes(const struct sy_transport_config *config)
{
    return ((size_t)config->chunk_rows + 1) * sizeof(uint32_t);
}

void *sy_carried_window(const struct sy_carried *c)
{
    return c->window;
}

static enum sy_status broken(const struct sy_carried *c, int peer, const char *what, struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_INTERNAL, "nccl transport: rank %d (%s) %s", peer, sy_group_host(c->group, peer),
                        what);
}

/* ---- rows that go out ---- */

int sy_carried_room(const struct sy_carried *c, int peer, enum sy_lane lane, int *together)
{
    const struct out *out = &c->peers[peer].out[lane];
    uint64_t n = c->n_rows[lane], taken;

    if (peer == c->rank)
        return *together = INT_MAX;
    taken = atomic_load_explicit(&between(c, c->rank, peer)->taken.rows[lane], memory_order_acquire);
    uint64_t free_rows = n - (out->placed - taken), to_end = n - out->placed % n;
    *together = (int)(free_rows < to_end ? free_rows : to_end);
    return (int)free_rows;
}

void *sy_carried_place(struct sy_carried *c, int peer, enum sy_lane lane, size_t offset, size_t bytes)
{
    size_t n = bytes / c->row_bytes;
    int together;

    if (peer < 0 || peer >= c->size || offset > c->window_bytes || bytes > c->window_bytes - offset ||
        offset % c->row_bytes || bytes % c->row_bytes)
        return NULL;
    if (peer == c->rank)
        return (uint8_t *)c->window + offset;
    struct out *out = &c->peers[peer].out[lane];
    size_t at = (size_t)(out->placed % c->n_rows[lane]);
    if (sy_carried_room(c, peer, lane, &together) < 1 || n > (size_t)together)
        return NULL;
    for (size_t i = 0; i < n; i++)
        out->where[at + i] = (uint32_t)(offset / c->row_bytes + i);
    out->placed += n;
    return out->rows + at * c->row_bytes;
}

enum sy_status sy_carried_trail(struct sy_carried *c, int peer, enum sy_lane lane, int n,
                                struct iovec iov[SY_CARRIED_IOV], struct sy_error *err)
{
    const struct out *out = &c->peers[peer].out[lane];
    size_t at = (size_t)(out->covered % c->n_rows[lane]), rows = (size_t)n, first = c->n_rows[lane] - at;

    if (n < 0 || rows > out->placed - out->covered)
        return sy_error_set(err, SY_ERR_INTERNAL,
                            "nccl transport: a chunk tells of %d rows for rank %d, %llu are there", n, peer,
                            (unsigned long long)(out->placed - out->covered));
    first = rows < first ? rows : first;
    c->trail = (uint32_t)n;
    iov[0] = (struct iovec){out->where + at, first * sizeof(uint32_t)};
    iov[1] = (struct iovec){out->where, (rows - first) * sizeof(uint32_t)};
    iov[2] = (struct iovec){&c->trail, sizeof c->trail};
    return SY_OK;
}

void sy_carried_put(struct sy_carried *c, int peer, enum sy_lane lane, int n)
{
    c->peers[peer].out[lane].covered += (uint64_t)n;
}

/* ---- chunks that come in ---- */

/* Take the next chunk of a lane in, which the transport goes on to hold. SY_AGAIN: there is none. */
static enum sy_status take_in(struct sy_carried *c, int p, enum sy_lane lane, struct sy_error *err)
{
    struct in *in = &c->peers[p].in[lane];
    uint32_t n, row;
    const void *data;
    size_t bytes;
    enum sy_status st = c->chunks.poll(c->chunks.ctx, p, lane, &data, &bytes, err);

    if (st)
        return st;
    if (bytes < sizeof n)
        return broken(c, p, "sent a chunk without its number of rows", err);
    const uint8_t *end = (const uint8_t *)data + bytes - sizeof n;
    memcpy(&n, end, sizeof n);
    if ((bytes - sizeof n) / sizeof row < n || n > c->n_rows[lane] - (in->parsed - in->arrived))
        return broken(c, p, "sent a chunk of more rows than there can be", err);
    end -= n * sizeof row;
    for (uint32_t i = 0; i < n; i++) {
        memcpy(&row, end + i * sizeof row, sizeof row);
        if (row >= c->window_bytes / c->row_bytes)
            return broken(c, p, "sent a row for a place behind the window", err);
        in->where[(in->parsed + i) % c->n_rows[lane]] = row;
    }
    in->parsed += n;
    in->held[in->n_held++ % (uint64_t)c->n_slots] = (struct held){data, (size_t)(end - (const uint8_t *)data),
                                                                  in->parsed};
    return SY_OK;
}

enum sy_status sy_carried_poll(struct sy_carried *c, int p, enum sy_lane lane, const void **data, size_t *bytes,
                               struct sy_error *err)
{
    struct in *in = &c->peers[p].in[lane];
    enum sy_status st = SY_OK;

    while (!st)
        st = take_in(c, p, lane, err);
    if (st != SY_AGAIN)
        return st;
    const struct held *held = &in->held[in->n_polled % (uint64_t)c->n_slots];
    if (in->n_polled == in->n_held || held->end > in->arrived)
        return SY_AGAIN;
    *data = held->data;
    *bytes = held->bytes;
    in->n_polled++;
    return SY_OK;
}

uint64_t sy_carried_polled(const struct sy_carried *c, int p, enum sy_lane lane)
{
    return c->peers[p].in[lane].n_polled;
}

/* ---- rounds ---- */

/* Whether another has begun the round, or this rank has rows to send. While an exchange of its own runs it lets more of them come
 * together, since each takes the host and the library about as long. */
static bool round_wanted(const struct sy_carried *c)
{
    bool may_begin = c->n_marked == c->n_reached;

    for (int p = 0; p < c->size; p++) {
        if (p == c->rank)
            continue;
        for (int lane = 0; lane < SY_N_LANES && may_begin; lane++)
            if (c->peers[p].out[lane].covered > c->peers[p].out[lane].sent)
                return true;
        const struct said *said = &between(c, p, c->rank)->said[c->round % 2];
        if (atomic_load_explicit(&said->round, memory_order_relaxed) == c->round + 1)
            return true;
    }
    return false;
}

static void tell(struct sy_carried *c)
{
    for (int i = 1; i < c->size; i++) {
        int p = (c->rank + i) % c->size;
        struct said *said = &between(c, c->rank, p)->said[c->round % 2];
        for (int lane = 0; lane < SY_N_LANES; lane++) {
            struct out *out = &c->peers[p].out[lane];
            said->n_rows[lane] = out->n_now = out->covered - out->sent;
        }
        atomic_store_explicit(&said->round, c->round + 1, memory_order_release);
    }
    c->told = true;
}

/* Have all others said what they send? */
static bool hear(struct sy_carried *c)
{
    for (int p = 0; p < c->size; p++)
        if (p != c->rank && atomic_load_explicit(&between(c, p, c->rank)->said[c->round % 2].round,
                                                 memory_order_acquire) != c->round + 1)
            return false;
    return true;
}

/* n rows of a ring from `first` on are two parcels where they go round its end. Returns how many. */
static int wrap(const struct sy_carried *c, int p, bool incoming, enum sy_lane lane, uint8_t *rows, uint64_t first,
                uint64_t n, struct sy_parcel *parcels)
{
    uint64_t at = first % c->n_rows[lane], before = c->n_rows[lane] - at;
    int n_parcels = 0;

    before = n < before ? n : before;
    if (before)
        parcels[n_parcels++] = (struct sy_parcel){p, incoming, rows + at * c->row_bytes, before * c->row_bytes};
    if (n > before)
        parcels[n_parcels++] = (struct sy_parcel){p, incoming, rows, (n - before) * c->row_bytes};
    return n_parcels;
}

/* The chunks that tell of this round's rows were put before it was said how many there are. */
static enum sy_status hear_of(struct sy_carried *c, int p, struct sy_error *err)
{
    const struct said *said = &between(c, p, c->rank)->said[c->round % 2];
    enum sy_status st = SY_OK;

    for (int lane = 0; lane < SY_N_LANES && !st; lane++) {
        struct in *in = &c->peers[p].in[lane];
        in->n_now = said->n_rows[lane];
        while (!st && in->parsed < in->asked + in->n_now)
            st = take_in(c, p, (enum sy_lane)lane, err);
        if (st == SY_AGAIN)
            return broken(c, p, "sends rows that no chunk tells of", err);
    }
    return st;
}

/* Ask for the exchange of this round; ranks that have nothing for each other do nothing. */
static enum sy_status ask(struct sy_carried *c, struct sy_error *err)
{
    int n = 0;

    for (int i = 1; i < c->size; i++) {
        int to = (c->rank + i) % c->size, from = (c->rank - i + c->size) % c->size;
        enum sy_status st = hear_of(c, from, err);
        if (st)
            return st;
        for (int lane = 0; lane < SY_N_LANES; lane++) {
            struct out *out = &c->peers[to].out[lane];
            struct in *in = &c->peers[from].in[lane];
            n += wrap(c, to, false, (enum sy_lane)lane, out->rows, out->sent, out->n_now, c->parcels + n);
            n += wrap(c, from, true, (enum sy_lane)lane, in->rows, in->asked, in->n_now, c->parcels + n);
            out->sent += out->n_now;
        }
    }
    c->asked = n > 0;
    if (!n) {
        c->round++;
        c->told = false;
    }
    return n ? c->courier->exchange(c->link, c->parcels, n, err) : SY_OK;
}

/* The exchange is taken: behind it rows go to their places. */
static enum sy_status finish(struct sy_carried *c, struct sy_error *err)
{
    enum sy_status st = c->courier->settle(c->link, err);
    int mark = (int)(c->n_marked % SY_COURIER_MARKS);
    struct sy_parcel runs[2];

    for (int p = 0; p < c->size && !st; p++) {
        for (int lane = 0; lane < SY_N_LANES && !st; lane++) {
            struct in *in = &c->peers[p].in[lane];
            int n = p == c->rank ? 0 : wrap(c, p, true, (enum sy_lane)lane, in->rows, in->asked, in->n_now, runs);
            for (int i = 0; i < n && !st; i++)
                st = c->courier->lay(c->link, c->window,
                                     in->where + ((uint8_t *)runs[i].memory - in->rows) / (ptrdiff_t)c->row_bytes,
                                     runs[i].memory, (int)(runs[i].bytes / c->row_bytes), c->row_bytes, err);
            in->asked += p == c->rank ? 0 : in->n_now;
            c->ends[mark * c->size + p][lane] = in->asked;
        }
    }
    if (!st)
        st = c->courier->mark(c->link, mark, err);
    if (st)
        return st;
    c->n_marked++;
    c->round++;
    c->told = c->asked = false;
    return SY_OK;
}

/* Rows of exchanges that are done are in place, and their rings' room is free. */
static enum sy_status reap(struct sy_carried *c, struct sy_error *err)
{
    while (c->n_reached < c->n_marked) {
        int mark = (int)(c->n_reached % SY_COURIER_MARKS);
        enum sy_status st = c->courier->reached(c->link, mark, err);
        if (st)
            return st;
        for (int p = 0; p < c->size; p++) {
            for (int lane = 0; lane < SY_N_LANES && p != c->rank; lane++) {
                struct in *in = &c->peers[p].in[lane];
                in->arrived = c->ends[mark * c->size + p][lane];
                atomic_store_explicit(&between(c, p, c->rank)->taken.rows[lane], in->arrived, memory_order_release);
            }
        }
        c->n_reached++;
    }
    return SY_OK;
}

enum sy_status sy_carried_progress(struct sy_carried *c, struct sy_error *err)
{
    enum sy_status st = reap(c, err);

    while (st == SY_OK || st == SY_AGAIN) {
        if (c->asked) {
            st = finish(c, err);
            if (st)
                break;
        }
        if (c->n_marked - c->n_reached == SY_COURIER_MARKS)
            break;
        if (!c->told && round_wanted(c))
            tell(c);
        if (!c->told || !hear(c))
            break;
        st = ask(c, err);
    }
    return st == SY_AGAIN ? SY_OK : st;
}

static enum sy_status on_move(struct sy_mover *mover, struct sy_error *err)
{
    return sy_carried_progress((struct sy_carried *)((char *)mover - offsetof(struct sy_carried, mover)), err);
}

/* The job ends while peers are lost: what waits for them on the device ends too. */
static void on_end(struct sy_mover *mover)
{
    struct sy_carried *c = (struct sy_carried *)((char *)mover - offsetof(struct sy_carried, mover));

    c->courier->close(c->link);
    c->link = NULL;
}

/* ---- begin and end ---- */

/* Ranks that share a device, which the library refuses in words of its own. */
static enum sy_status check_devices(struct sy_carried *c, struct sy_error *err)
{
    int64_t mine = c->courier->device(), all[c->size];
    enum sy_status st = sy_group_allgather(c->group, &mine, sizeof mine, all, err);

    for (int r = 0; r < c->size && !st; r++)
        for (int other = 0; other < r && !st; other++)
            if (all[r] == all[other])
                st = sy_error_set(
                    err, SY_ERR_USAGE,
                    "--transport nccl: ranks %d and %d share a GPU, and NCCL takes one rank of each; take "
                    "--transport ipc, or as many ranks as there are GPUs",
                    other, r);
    return st;
}

static enum sy_status open_link(struct sy_carried *c, struct sy_error *err)
{
    struct sy_courier_name mine = {{0}}, all[c->size];
    struct sy_wait wait;
    enum sy_status st = c->rank ? SY_OK : c->courier->name(&mine, err);

    st = sy_group_agree(c->group, st, err);
    if (!st)
        st = sy_group_allgather(c->group, &mine, sizeof mine, all, err);
    if (!st)
        st = sy_group_agree(c->group, c->courier->open(&all[0], c->rank, c->size, &c->link, err), err);
    if (st)
        return st;
    sy_wait_begin(&wait, sy_group_timeout_ms(c->group));
    while ((st = c->courier->settle(c->link, err)) == SY_AGAIN)
        if (!sy_wait_pause(&wait))
            return sy_error_set(err, SY_ERR_PEER, "nccl transport: the ranks did not find each other within %lld ms",
                                (long long)sy_group_timeout_ms(c->group));
    return st;
}

/* Rings of all peers and lanes: [R, 2] first those out, then those in. */
static enum sy_status open_memory(struct sy_carried *c, struct sy_error *err)
{
    const struct sy_courier *courier = c->courier;
    size_t rows = 0, R = (size_t)c->size, slots = (size_t)c->n_slots;

    for (int lane = 0; lane < SY_N_LANES; lane++)
        rows += c->n_rows[lane];
    c->rings_bytes = 2 * R * rows * c->row_bytes;
    c->wheres_bytes = 2 * R * rows * sizeof(uint32_t);
    c->peers = calloc(R, sizeof *c->peers);
    c->ends = calloc(R * SY_COURIER_MARKS, sizeof *c->ends);
    c->parcels = calloc(4 * R * SY_N_LANES, sizeof *c->parcels);
    c->held = calloc(R * SY_N_LANES * slots, sizeof *c->held);
    if (!c->peers || !c->ends || !c->parcels || !c->held)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the nccl transport");
    c->window = courier->alloc(c->window_bytes);
    c->rings = courier->alloc(c->rings_bytes);
    c->wheres = courier->alloc_host(c->wheres_bytes);
    uint8_t *ring = c->rings;
    uint32_t *where = c->wheres;
    struct held *held = c->held;
    for (size_t i = 0; i < 2 * R; i++) {
        struct peer *peer = &c->peers[i / 2];
        for (int lane = 0; lane < SY_N_LANES && c->rings && c->wheres; lane++) {
            if (i % 2)
                peer->in[lane] = (struct in){.rows = ring, .where = where, .held = held};
            else
                peer->out[lane] = (struct out){.rows = ring, .where = where};
            held += i % 2 ? slots : 0;
            ring += c->n_rows[lane] * c->row_bytes;
            where += c->n_rows[lane];
        }
    }
    if (c->window && c->rings && c->wheres)
        return SY_OK;
    return sy_error_set(err, SY_ERR_SYSTEM, "--transport nccl: the GPU has no %.1f MB free for windows and rings",
                        (double)(c->window_bytes + c->rings_bytes) * 1e-6);
}

/* A row from each to each and back, because the library connects two ranks when they first exchange anything. */
static enum sy_status greet(struct sy_carried *c, struct sy_error *err)
{
    struct sy_wait wait;
    enum sy_status st;
    int n = 0;

    for (int i = 1; i < c->size; i++) {
        int to = (c->rank + i) % c->size, from = (c->rank - i + c->size) % c->size;
        c->parcels[n++] = (struct sy_parcel){to, false, c->peers[to].out[0].rows, c->row_bytes};
        c->parcels[n++] = (struct sy_parcel){from, true, c->peers[from].in[0].rows, c->row_bytes};
    }
    st = n ? c->courier->exchange(c->link, c->parcels, n, err) : SY_OK;
    sy_wait_begin(&wait, sy_group_timeout_ms(c->group));
    while (!st && (st = c->courier->settle(c->link, err)) == SY_AGAIN && sy_wait_pause(&wait))
        st = SY_OK;
    if (!st)
        st = c->courier->mark(c->link, 0, err);
    while (!st && (st = c->courier->reached(c->link, 0, err)) == SY_AGAIN && sy_wait_pause(&wait))
        st = SY_OK;
    return st == SY_AGAIN ? sy_error_set(err, SY_ERR_PEER, "nccl transport: no row from a peer within %lld ms",
                                         (long long)sy_group_timeout_ms(c->group))
                          : st;
}

static void carried_free(struct sy_carried *c)
{
    sy_group_remove_mover(c->group, &c->mover);
    c->courier->close(c->link);
    if (c->between)
        sy_group_unshare(c->between, between_bytes(c));
    c->courier->free_host(c->wheres, c->wheres_bytes);
    c->courier->free(c->rings, c->rings_bytes);
    c->courier->free(c->window, c->window_bytes);
    free(c->held);
    free(c->peers);
    free(c->ends);
    free(c->parcels);
    free(c);
}

static enum sy_status share_counts(struct sy_carried *c, struct sy_error *err)
{
    int shared = 0;
    void *block;
    enum sy_status st = sy_group_share(c->group, between_bytes(c), &block, &shared, err);

    c->between = block;
    return st || shared ? st : sy_error_prefix(err, "--transport nccl");
}

enum sy_status sy_carried_open(struct sy_group *group, const struct sy_transport_config *config,
                               const struct sy_carried_chunks *chunks, struct sy_carried **out, struct sy_error *err)
{
    struct sy_carried *c = calloc(1, sizeof *c);
    enum sy_status st = c ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for the nccl transport");

    st = sy_group_agree(group, st, err);
    if (st) {
        free(c);
        return st;
    }
    *c = (struct sy_carried){.courier = config->courier,
                             .group = group,
                             .mover = {.move = on_move, .end = on_end},
                             .chunks = *chunks,
                             .rank = sy_group_rank(group),
                             .size = sy_group_size(group),
                             .n_slots = config->n_slots,
                             .row_bytes = config->row_bytes,
                             .window_bytes = config->window_bytes};
    memcpy(c->n_rows, config->ahead_rows, sizeof c->n_rows);
    st = check_devices(c, err);
    if (!st)
        st = share_counts(c, err);
    if (!st)
        st = sy_group_agree(group, open_memory(c, err), err);
    if (!st)
        st = open_link(c, err);
    if (!st)
        st = sy_group_agree(group, greet(c, err), err);
    if (st) {
        carried_free(c);
        return st;
    }
    sy_group_add_mover(group, &c->mover);
    *out = c;
    return SY_OK;
}

void sy_carried_close(struct sy_carried *c)
{
    if (!c)
        return;
    /* While it waits rounds that others have begun go on. Where somebody is lost what still runs ends with the link. */
    (void)sy_group_barrier(c->group, NULL);
    carried_free(c);
}
