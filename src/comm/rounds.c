/* SPDX-License-Identifier: Apache-2.0
 * rounds.c - rows carried by a courier, in rounds of all ranks of a node
 *
 * In each round a rank says to all others, in memory that the ranks of the node share, how many rows of each lane it has for
 * them; when all have said so each asks the courier for one exchange. A rank begins a round when it has rows, and takes part when
 * another has begun it, so all exchange in one order and none waits for another in a circle.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "comm/carried_private.h"
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

/* [R] rows of this round to and from each rank. */
struct now {
    uint64_t out[SY_N_LANES], in[SY_N_LANES];
};

struct rounds {
    struct between *between; /* [R, R] */
    struct now *now;         /* [R] */
    struct sy_parcel *parcels;
    uint64_t round;
    bool told, asked; /* this round's counts are said; its exchange is asked for and not yet taken */
};

static struct rounds *rounds_of(const struct sy_carried *c)
{
    return c->state;
}

static struct between *between(const struct sy_carried *c, int from, int to)
{
    return &rounds_of(c)->between[from * c->size + to];
}

static size_t between_bytes(const struct sy_carried *c)
{
    return (size_t)(c->size * c->size) * sizeof(struct between);
}

static uint64_t rounds_taken(const struct sy_carried *c, int peer, enum sy_lane lane)
{
    return atomic_load_explicit(&between(c, c->rank, peer)->taken.rows[lane], memory_order_acquire);
}

/* Whether another has begun the round, or this rank has rows to send. While an exchange of its own runs it lets more of them come
 * together, since each takes the host and the library about as long. */
static bool round_wanted(const struct sy_carried *c)
{
    uint64_t round = rounds_of(c)->round;
    bool may_begin = c->n_marked == c->n_reached;

    for (int p = 0; p < c->size; p++) {
        if (p == c->rank)
            continue;
        for (int lane = 0; lane < SY_N_LANES && may_begin; lane++)
            if (c->peers[p].out[lane].covered > c->peers[p].out[lane].sent)
                return true;
        const struct said *said = &between(c, p, c->rank)->said[round % 2];
        if (atomic_load_explicit(&said->round, memory_order_relaxed) == round + 1)
            return true;
    }
    return false;
}

static void tell(struct sy_carried *c)
{
    struct rounds *r = rounds_of(c);

    for (int i = 1; i < c->size; i++) {
        int p = (c->rank + i) % c->size;
        struct said *said = &between(c, c->rank, p)->said[r->round % 2];
        for (int lane = 0; lane < SY_N_LANES; lane++) {
            const struct sy_carried_out *out = &c->peers[p].out[lane];
            said->n_rows[lane] = r->now[p].out[lane] = out->covered - out->sent;
        }
        atomic_store_explicit(&said->round, r->round + 1, memory_order_release);
    }
    r->told = true;
}

/* Have all others said what they send? */
static bool hear(const struct sy_carried *c)
{
    uint64_t round = rounds_of(c)->round;

    for (int p = 0; p < c->size; p++)
        if (p != c->rank &&
            atomic_load_explicit(&between(c, p, c->rank)->said[round % 2].round, memory_order_acquire) != round + 1)
            return false;
    return true;
}

/* The chunks that tell of this round's rows were put before it was said how many there are. */
static enum sy_status hear_of(struct sy_carried *c, int p, struct sy_error *err)
{
    struct rounds *r = rounds_of(c);
    const struct said *said = &between(c, p, c->rank)->said[r->round % 2];
    enum sy_status st = SY_OK;

    for (int lane = 0; lane < SY_N_LANES && !st; lane++) {
        const struct sy_carried_in *in = &c->peers[p].in[lane];
        r->now[p].in[lane] = said->n_rows[lane];
        while (!st && in->parsed < in->laid + r->now[p].in[lane])
            st = sy_carried_take_in(c, p, (enum sy_lane)lane, err);
        if (st == SY_AGAIN)
            return sy_carried_broken(c, p, "sends rows that no chunk tells of", err);
    }
    return st;
}

/* Ask for the exchange of this round; ranks that have nothing for each other do nothing. */
static enum sy_status ask(struct sy_carried *c, struct sy_error *err)
{
    struct rounds *r = rounds_of(c);
    int n = 0;

    for (int i = 1; i < c->size; i++) {
        int to = (c->rank + i) % c->size, from = (c->rank - i + c->size) % c->size;
        enum sy_status st = hear_of(c, from, err);
        if (st)
            return st;
        for (int l = 0; l < SY_N_LANES; l++) {
            enum sy_lane lane = (enum sy_lane)l;
            struct sy_carried_out *out = &c->peers[to].out[lane];
            const struct sy_carried_in *in = &c->peers[from].in[lane];
            uint64_t n_out = r->now[to].out[lane];
            n += sy_carried_wrap(c, to, false, lane, out->rows, out->sent, n_out, r->parcels + n);
            n += sy_carried_wrap(c, from, true, lane, in->rows, in->laid, r->now[from].in[lane], r->parcels + n);
            out->sent += n_out;
        }
    }
    r->asked = n > 0;
    if (!n) {
        r->round++;
        r->told = false;
    }
    return n ? c->way.courier->exchange(c->link, r->parcels, n, err) : SY_OK;
}

/* The exchange is taken: behind it rows go to their places. */
static enum sy_status finish(struct sy_carried *c, struct sy_error *err)
{
    struct rounds *r = rounds_of(c);
    enum sy_status st = c->way.courier->settle(c->link, err);

    for (int p = 0; p < c->size && !st; p++)
        for (int lane = 0; lane < SY_N_LANES && p != c->rank && !st; lane++)
            st = sy_carried_lay(c, p, (enum sy_lane)lane, r->now[p].in[lane], err);
    if (!st)
        st = sy_carried_mark(c, err);
    if (st)
        return st;
    r->round++;
    r->told = r->asked = false;
    return SY_OK;
}

/* Room in the rings of rows that are in place is free. */
static enum sy_status reap(struct sy_carried *c, struct sy_error *err)
{
    uint64_t before = c->n_reached;
    enum sy_status st = sy_carried_reap(c, err);

    for (int p = 0; p < c->size && c->n_reached > before; p++)
        for (int lane = 0; lane < SY_N_LANES && p != c->rank; lane++)
            atomic_store_explicit(&between(c, p, c->rank)->taken.rows[lane], c->peers[p].in[lane].arrived,
                                  memory_order_release);
    return st;
}

static enum sy_status rounds_progress(struct sy_carried *c, struct sy_error *err)
{
    struct rounds *r = rounds_of(c);
    enum sy_status st = reap(c, err);

    while (st == SY_OK) {
        if (r->asked) {
            st = finish(c, err);
            if (st)
                break;
        }
        if (!sy_carried_may_mark(c))
            break;
        if (!r->told && round_wanted(c))
            tell(c);
        if (!r->told || !hear(c))
            break;
        st = ask(c, err);
    }
    return st == SY_AGAIN ? SY_OK : st;
}

/* Ranks that share a device, which the library refuses in words of its own. */
static enum sy_status check_devices(struct sy_carried *c, struct sy_error *err)
{
    int64_t mine = c->way.courier->device(), all[c->size];
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
    enum sy_status st = c->rank ? SY_OK : c->way.courier->name(&mine, err);

    st = sy_group_agree(c->group, st, err);
    if (!st)
        st = sy_group_allgather(c->group, &mine, sizeof mine, all, err);
    if (!st)
        st = sy_group_agree(c->group, c->way.courier->open(&all[0], c->rank, c->size, &c->link, err), err);
    if (st)
        return st;
    sy_wait_begin(&wait, sy_group_timeout_ms(c->group));
    while ((st = c->way.courier->settle(c->link, err)) == SY_AGAIN)
        if (!sy_wait_pause(&wait))
            return sy_error_set(err, SY_ERR_PEER, "nccl transport: the ranks did not find each other within %lld ms",
                                (long long)sy_group_timeout_ms(c->group));
    return st;
}

/* A row from each to each and back, because the library connects two ranks when they first exchange anything. */
static enum sy_status greet(struct sy_carried *c, struct sy_error *err)
{
    struct sy_wait wait;
    enum sy_status st;
    int n = 0;

    for (int i = 1; i < c->size; i++) {
        int to = (c->rank + i) % c->size, from = (c->rank - i + c->size) % c->size;
        rounds_of(c)->parcels[n++] = (struct sy_parcel){to, false, c->peers[to].out[0].rows, c->row_bytes};
        rounds_of(c)->parcels[n++] = (struct sy_parcel){from, true, c->peers[from].in[0].rows, c->row_bytes};
    }
    st = n ? c->way.courier->exchange(c->link, rounds_of(c)->parcels, n, err) : SY_OK;
    sy_wait_begin(&wait, sy_group_timeout_ms(c->group));
    while (!st && (st = c->way.courier->settle(c->link, err)) == SY_AGAIN && sy_wait_pause(&wait))
        st = SY_OK;
    if (!st)
        st = c->way.courier->mark(c->link, 0, err);
    while (!st && (st = c->way.courier->reached(c->link, 0, err)) == SY_AGAIN && sy_wait_pause(&wait))
        st = SY_OK;
    return st == SY_AGAIN ? sy_error_set(err, SY_ERR_PEER, "nccl transport: no row from a peer within %lld ms",
                                         (long long)sy_group_timeout_ms(c->group))
                          : st;
}

static enum sy_status share_counts(struct sy_carried *c, struct sy_error *err)
{
    int shared = 0;
    void *block;
    enum sy_status st = sy_group_share(c->group, between_bytes(c), &block, &shared, err);

    rounds_of(c)->between = block;
    return st || shared ? st : sy_error_prefix(err, "--transport nccl");
}

static enum sy_status rounds_open(struct sy_carried *c, struct sy_error *err)
{
    struct rounds *r = c->state = calloc(1, sizeof *r);
    size_t R = (size_t)c->size;

    if (r) {
        r->now = calloc(R, sizeof *r->now);
        r->parcels = calloc(4 * R * SY_N_LANES, sizeof *r->parcels);
    }
    bool enough = r && r->now && r->parcels;
    enum sy_status st = enough ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for the nccl transport");

    st = sy_group_agree(c->group, st, err);
    if (!st)
        st = check_devices(c, err);
    return st ? st : share_counts(c, err);
}

static enum sy_status rounds_begin(struct sy_carried *c, struct sy_error *err)
{
    enum sy_status st = open_link(c, err);

    return st ? st : sy_group_agree(c->group, greet(c, err), err);
}

static void rounds_close(struct sy_carried *c)
{
    struct rounds *r = rounds_of(c);

    if (!r)
        return;
    if (r->between)
        sy_group_unshare(r->between, between_bytes(c));
    free(r->parcels);
    free(r->now);
    free(r);
}

const struct sy_carrier sy_carrier_rounds = {
    .open = rounds_open,
    .begin = rounds_begin,
    .close = rounds_close,
    .taken = rounds_taken,
    .progress = rounds_progress,
};
