/* SPDX-License-Identifier: Apache-2.0
 * carried.c - windows in memory of devices, to which rows are carried
 */
#include "comm/carried_private.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

size_t sy_carried_trailer_bytes(const struct sy_transport_config *config)
{
    return ((size_t)config->chunk_rows + 1) * sizeof(uint32_t);
}

void *sy_carried_window(const struct sy_carried *c)
{
    return c->window;
}

enum sy_status sy_carried_broken(const struct sy_carried *c, int peer, const char *what, struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_INTERNAL, "%s transport: rank %d (%s) %s", c->way.name, peer,
                        sy_group_host(c->group, peer), what);
}

/* ---- rows that go out ---- */

int sy_carried_room(const struct sy_carried *c, int peer, enum sy_lane lane, int *together)
{
    const struct sy_carried_out *out = &c->peers[peer].out[lane];
    uint64_t n = c->n_rows[lane], taken;

    if (peer == c->rank)
        return *together = INT_MAX;
    taken = c->way.carrier->taken(c, peer, lane);
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
    struct sy_carried_out *out = &c->peers[peer].out[lane];
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
    const struct sy_carried_out *out = &c->peers[peer].out[lane];
    size_t at = (size_t)(out->covered % c->n_rows[lane]), rows = (size_t)n, first = c->n_rows[lane] - at;

    if (n < 0 || rows > out->placed - out->covered)
        return sy_error_set(err, SY_ERR_INTERNAL, "%s transport: a chunk tells of %d rows for rank %d, %llu are there",
                            c->way.name, n, peer, (unsigned long long)(out->placed - out->covered));
    if (n && c->way.carrier->may_send) {
        enum sy_status st = c->way.carrier->may_send(c, peer, lane, err);
        if (st)
            return st;
    }
    first = rows < first ? rows : first;
    c->trail = (uint32_t)n;
    iov[0] = (struct iovec){out->where + at, first * sizeof(uint32_t)};
    iov[1] = (struct iovec){out->where, (rows - first) * sizeof(uint32_t)};
    iov[2] = (struct iovec){&c->trail, sizeof c->trail};
    return SY_OK;
}

enum sy_status sy_carried_put(struct sy_carried *c, int peer, enum sy_lane lane, int n, struct sy_error *err)
{
    c->peers[peer].out[lane].covered += (uint64_t)n;
    return n && c->way.carrier->send ? c->way.carrier->send(c, peer, lane, n, err) : SY_OK;
}

/* ---- chunks that come in ---- */

enum sy_status sy_carried_take_in(struct sy_carried *c, int p, enum sy_lane lane, struct sy_error *err)
{
    struct sy_carried_in *in = &c->peers[p].in[lane];
    uint32_t n, row;
    const void *data;
    size_t bytes;
    enum sy_status st = c->way.poll(c->way.ctx, p, lane, &data, &bytes, err);

    if (st)
        return st;
    if (bytes < sizeof n)
        return sy_carried_broken(c, p, "sent a chunk without its number of rows", err);
    const uint8_t *end = (const uint8_t *)data + bytes - sizeof n;
    memcpy(&n, end, sizeof n);
    if ((bytes - sizeof n) / sizeof row < n || n > c->n_rows[lane] - (in->parsed - in->arrived))
        return sy_carried_broken(c, p, "sent a chunk of more rows than there can be", err);
    end -= n * sizeof row;
    for (uint32_t i = 0; i < n; i++) {
        memcpy(&row, end + i * sizeof row, sizeof row);
        if (row >= c->window_bytes / c->row_bytes)
            return sy_carried_broken(c, p, "sent a row for a place behind the window", err);
        in->where[(in->parsed + i) % c->n_rows[lane]] = row;
    }
    st = n && c->way.carrier->expect ? c->way.carrier->expect(c, p, lane, (int)n, err) : SY_OK;
    in->parsed += n;
    in->held[in->n_held++ % (uint64_t)c->n_slots] = (struct sy_carried_held){
        data, (size_t)(end - (const uint8_t *)data), in->parsed};
    return st;
}

enum sy_status sy_carried_poll(struct sy_carried *c, int p, enum sy_lane lane, const void **data, size_t *bytes,
                               struct sy_error *err)
{
    struct sy_carried_in *in = &c->peers[p].in[lane];
    enum sy_status st = SY_OK;

    while (!st)
        st = sy_carried_take_in(c, p, lane, err);
    if (st != SY_AGAIN)
        return st;
    const struct sy_carried_held *held = &in->held[in->n_polled % (uint64_t)c->n_slots];
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

/* ---- from the rings to the window ---- */

int sy_carried_wrap(const struct sy_carried *c, int p, bool incoming, enum sy_lane lane, uint8_t *rows, uint64_t first,
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

enum sy_status sy_carried_lay(struct sy_carried *c, int p, enum sy_lane lane, uint64_t n_rows, struct sy_error *err)
{
    struct sy_carried_in *in = &c->peers[p].in[lane];
    struct sy_parcel runs[2];
    int n = sy_carried_wrap(c, p, true, lane, in->rows, in->laid, n_rows, runs);
    enum sy_status st = SY_OK;

    for (int i = 0; i < n && !st; i++)
        st = c->way.courier->lay(c->link, c->window,
                                 in->where + ((uint8_t *)runs[i].memory - in->rows) / (ptrdiff_t)c->row_bytes,
                                 runs[i].memory, (int)(runs[i].bytes / c->row_bytes), c->row_bytes, err);
    in->laid += n_rows;
    return st;
}

bool sy_carried_may_mark(const struct sy_carried *c)
{
    return c->n_marked - c->n_reached < SY_COURIER_MARKS;
}

enum sy_status sy_carried_mark(struct sy_carried *c, struct sy_error *err)
{
    int mark = (int)(c->n_marked % SY_COURIER_MARKS);
    enum sy_status st = c->way.courier->mark(c->link, mark, err);

    for (int p = 0; p < c->size; p++)
        for (int lane = 0; lane < SY_N_LANES; lane++)
            c->ends[mark * c->size + p][lane] = c->peers[p].in[lane].laid;
    c->n_marked += !st;
    return st;
}

enum sy_status sy_carried_reap(struct sy_carried *c, struct sy_error *err)
{
    while (c->n_reached < c->n_marked) {
        int mark = (int)(c->n_reached % SY_COURIER_MARKS);
        enum sy_status st = c->way.courier->reached(c->link, mark, err);
        if (st)
            return st == SY_AGAIN ? SY_OK : st;
        for (int p = 0; p < c->size; p++)
            for (int lane = 0; lane < SY_N_LANES; lane++)
                c->peers[p].in[lane].arrived = c->ends[mark * c->size + p][lane];
        c->n_reached++;
    }
    return SY_OK;
}

enum sy_status sy_carried_progress(struct sy_carried *c, struct sy_error *err)
{
    return c->way.carrier->progress(c, err);
}

static struct sy_carried *of_mover(struct sy_mover *mover)
{
    return (struct sy_carried *)((char *)mover - offsetof(struct sy_carried, mover));
}

static enum sy_status on_move(struct sy_mover *mover, struct sy_error *err)
{
    struct sy_carried *c = of_mover(mover);

    return c->way.move(c->way.ctx, err);
}

/* The job ends while peers are lost: what waits for them on the device ends too. */
static void on_end(struct sy_mover *mover)
{
    struct sy_carried *c = of_mover(mover);

    c->way.courier->close(c->link);
    c->link = NULL;
}

/* ---- begin and end ---- */

/* Rings of all peers and lanes: [R, 2] first those out, then those in. */
static enum sy_status open_memory(struct sy_carried *c, struct sy_error *err)
{
    const struct sy_courier *courier = c->way.courier;
    size_t rows = 0, R = (size_t)c->size, slots = (size_t)c->n_slots;

    for (int lane = 0; lane < SY_N_LANES; lane++)
        rows += c->n_rows[lane];
    c->rings_bytes = 2 * R * rows * c->row_bytes;
    c->wheres_bytes = 2 * R * rows * sizeof(uint32_t);
    c->peers = calloc(R, sizeof *c->peers);
    c->ends = calloc(R * SY_COURIER_MARKS, sizeof *c->ends);
    c->held = calloc(R * SY_N_LANES * slots, sizeof *c->held);
    if (!c->peers || !c->ends || !c->held)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the %s transport", c->way.name);
    c->window = courier->alloc(c->window_bytes);
    c->rings = courier->alloc(c->rings_bytes);
    c->wheres = courier->alloc_host(c->wheres_bytes);
    uint8_t *ring = c->rings;
    uint32_t *where = c->wheres;
    struct sy_carried_held *held = c->held;
    for (size_t i = 0; i < 2 * R; i++) {
        struct sy_carried_peer *peer = &c->peers[i / 2];
        for (int lane = 0; lane < SY_N_LANES && c->rings && c->wheres; lane++) {
            if (i % 2)
                peer->in[lane] = (struct sy_carried_in){.rows = ring, .where = where, .held = held};
            else
                peer->out[lane] = (struct sy_carried_out){.rows = ring, .where = where};
            held += i % 2 ? slots : 0;
            ring += c->n_rows[lane] * c->row_bytes;
            where += c->n_rows[lane];
        }
    }
    if (c->window && c->rings && c->wheres)
        return SY_OK;
    return sy_error_set(err, SY_ERR_SYSTEM, "--transport %s: the GPU has no %.1f MB free for windows and rings",
                        c->way.name, (double)(c->window_bytes + c->rings_bytes) * 1e-6);
}

static void carried_free(struct sy_carried *c)
{
    sy_group_remove_mover(c->group, &c->mover);
    c->way.carrier->close(c);
    c->way.courier->close(c->link);
    c->way.courier->free_host(c->wheres, c->wheres_bytes);
    c->way.courier->free(c->rings, c->rings_bytes);
    c->way.courier->free(c->window, c->window_bytes);
    free(c->held);
    free(c->peers);
    free(c->ends);
    free(c);
}

enum sy_status sy_carried_open(struct sy_group *group, const struct sy_transport_config *config,
                               const struct sy_carried_way *way, struct sy_carried **out, struct sy_error *err)
{
    struct sy_carried *c = calloc(1, sizeof *c);
    enum sy_status st = c ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for rows to be carried");

    st = sy_group_agree(group, st, err);
    if (st) {
        free(c);
        return st;
    }
    *c = (struct sy_carried){.way = *way,
                             .group = group,
                             .mover = {.move = on_move, .end = on_end},
                             .rank = sy_group_rank(group),
                             .size = sy_group_size(group),
                             .n_slots = config->n_slots,
                             .chunk_rows = config->chunk_rows,
                             .row_bytes = config->row_bytes,
                             .window_bytes = config->window_bytes};
    memcpy(c->n_rows, config->ahead_rows, sizeof c->n_rows);
    st = way->carrier->open(c, err);
    if (!st)
        st = sy_group_agree(group, open_memory(c, err), err);
    if (!st)
        st = way->carrier->begin(c, err);
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
    struct sy_error err = SY_ERROR_INIT;
    enum sy_status st;

    if (!c)
        return;
    st = c->way.carrier->drain ? c->way.carrier->drain(c, &err) : SY_OK;
    if (st)
        sy_log(SY_LOG_WARN, "closing the %s transport: %s", c->way.name, err.text);
    /* While it waits what others need goes on. Where somebody is lost what still runs ends with the link. */
    (void)sy_group_barrier(c->group, NULL);
    carried_free(c);
}
