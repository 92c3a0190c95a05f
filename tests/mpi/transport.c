/* SPDX-License-Identifier: Apache-2.0
 * transport.c - what every transport must do, on 1 to 8 ranks and on 16
 *
 * usage: mpirun -n N transport.npN.t [SEED [ucx]]   ucx: this one alone, in both of its ways and in the one that it would choose
 *
 * A run sends chunks between all pairs of ranks on both lanes after a pattern that every rank can compute, polls in an order
 * and holds chunks for a time that are random, and verifies each byte. A payload begins with {source, lane, chunk, bytes}
 * and goes on with bytes made from them, so that one that went astray can be read.
 */
#include "comm/transport.h"

#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tap.h"
#include "tap_mpi.h"

#define ROW     96 /* bytes of a row in these tests */
#define LONG_MS 60000

static int rank, size;
static enum sy_ucx_way ucx_way;
static uint64_t random_state;

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* This rank's own dice: when to do what. */
static unsigned roll(unsigned n)
{
    random_state += 0x9e3779b97f4a7c15u;
    return (unsigned)(mix(random_state) % n);
}

enum pattern { EVERYBODY, NOBODY, ALL_TO_ONE, SOME_SILENT, UNEVEN };

struct run {
    const char *name;
    const struct sy_transport_ops *ops;
    enum pattern pattern;
    int n_slots, n_chunks;
    size_t chunk_bytes;
    bool full; /* all chunks have chunk_bytes, otherwise 0 to chunk_bytes */
    uint64_t seed;
};

/* A transport under test: the ranks that it serves are what differs. */
struct bench {
    struct sy_transport *t;
    struct sy_arena arena;
    void *block; /* of the node, that the arena lies in; NULL: it does not */
    size_t block_bytes;
    bool lent;       /* the arena is the transport's */
    uint8_t *serves; /* [size] */
};

static int n_chunks(const struct run *run, int src, int dst, int lane)
{
    switch (run->pattern) {
    case NOBODY:
        return 0;
    case ALL_TO_ONE: /* and the answers come back from one */
        return (lane == SY_LANE_DISPATCH ? dst : src) == size - 1 ? run->n_chunks : 0;
    case SOME_SILENT:
        return src % 2 ? 0 : run->n_chunks;
    case UNEVEN:
        return (int)(mix(run->seed + (uint64_t)(src * 64 + dst * 4 + lane)) % (uint64_t)(run->n_chunks + 1));
    case EVERYBODY:
        break;
    }
    return run->n_chunks;
}

static size_t chunk_length(const struct run *run, int src, int dst, int lane, int chunk)
{
    uint64_t h = mix(run->seed * 31 + (uint64_t)(((src * 8 + dst) * 2 + lane) * 100000 + chunk));

    return run->full ? run->chunk_bytes : h % (run->chunk_bytes + 1);
}

static uint8_t payload_byte(int src, int dst, int lane, int chunk, size_t at)
{
    return (uint8_t)((unsigned)src * 61 + (unsigned)dst * 17 + (unsigned)lane * 101 + (unsigned)chunk * 7 +
                     (unsigned)at * 3 + (unsigned)(at >> 8) * 5);
}

static void write_payload(const struct run *run, int dst, int lane, int chunk, uint8_t *out, size_t n)
{
    int head[4] = {rank, lane, chunk, (int)n};

    (void)run;
    for (size_t at = 0; at < n; at++)
        out[at] = payload_byte(rank, dst, lane, chunk, at);
    memcpy(out, head, n < sizeof head ? n : sizeof head);
}

static bool check_payload(const struct run *run, int src, int lane, int chunk, const uint8_t *in, size_t n)
{
    int head[4] = {src, lane, chunk, (int)n}, found[4] = {-1, -1, -1, -1};
    size_t expected = chunk_length(run, src, rank, lane, chunk), n_head = n < sizeof head ? n : sizeof head;

    memcpy(found, in, n_head);
    if (n != expected || memcmp(in, head, n_head) != 0) {
        diag(
            "rank %d: chunk %d of lane %d from rank %d with %zu bytes expected; found chunk %d of lane %d from rank %d "
            "with %zu bytes",
            rank, chunk, lane, src, expected, found[2], found[1], found[0], n);
        return false;
    }
    for (size_t at = n_head; at < n; at++) {
        if (in[at] != payload_byte(src, rank, lane, chunk, at)) {
            diag("rank %d: chunk %d of lane %d from rank %d differs at byte %zu of %zu", rank, chunk, lane, src, at, n);
            return false;
        }
    }
    return true;
}

/* The payload in up to four pieces, some of them empty. */
static int cut(uint8_t *data, size_t n, struct iovec *iov)
{
    int n_iov = n ? 1 + (int)roll(4) : (int)roll(2);
    size_t at = 0;

    for (int i = 0; i < n_iov; i++) {
        size_t piece = i == n_iov - 1 ? n - at : roll(3) ? (n - at) / 2 : 0;
        iov[i] = (struct iovec){data + at, piece};
        at += piece;
    }
    return n_iov;
}

static bool reaches(struct sy_group *group, const struct sy_transport_ops *ops, int r)
{
    if (ops == &sy_transport_self)
        return r == rank;
    return ops != &sy_transport_shm || sy_group_node_of(group, r) == sy_group_node_of(group, rank);
}

/* Arenas of shm lie in one block of the node. Here every rank's is as large as any. */
static enum sy_status make_arena(struct bench *bench, struct sy_group *group, size_t bytes, struct sy_error *err)
{
    size_t pitch = (bytes + 4095) / 4096 * 4096;
    int shared = 0;

    bench->lent = bench->t->ops->lend_arena;
    if (bench->lent)
        return bench->t->ops->lend_arena(bench->t, bytes, &bench->arena, err);
    if (bench->t->ops != &sy_transport_shm)
        return sy_arena_init(&bench->arena, bytes, err);
    bench->block_bytes = pitch * (size_t)sy_group_node_size(group);
    enum sy_status status = sy_group_share(group, bench->block_bytes, &bench->block, &shared, err);
    if (status == SY_OK && !shared)
        bail("no shared memory: %s", err->text);
    bench->arena = (struct sy_arena){
        .base = (uint8_t *)bench->block + pitch * (size_t)sy_group_node_rank(group), .bytes = bytes, .pitch = pitch};
    return status;
}

static enum sy_status bench_open(struct bench *bench, struct sy_group *group, const struct sy_transport_ops *ops,
                                 const struct sy_transport_config *config, struct sy_error *err)
{
    static uint64_t epoch;
    struct sy_transport_config numbered = *config;
    int n_served = 0;

    numbered.epoch = ++epoch;
    numbered.ucx_way = ucx_way;
    *bench = (struct bench){.serves = calloc((size_t)size, 1)};
    if (!bench->serves)
        bail("no memory");
    for (int r = 0; r < size; r++)
        n_served += bench->serves[r] = reaches(group, ops, r);
    size_t window = sy_arena_round(config->window_bytes);
    enum sy_status status = ops->open(group, &numbered, bench->serves, &bench->t, err);
    if (status == SY_OK)
        status = make_arena(bench, group, window + ops->arena_bytes(&numbered, n_served), err);
    bench->arena.used = window;
    if (status == SY_OK)
        status = ops->attach(bench->t, &bench->arena, err);
    if (status == SY_OK && bench->arena.used != bench->arena.bytes)
        status = sy_error_set(err, SY_ERR_INTERNAL, "%zu bytes of the arena were asked for, %zu taken",
                              bench->arena.bytes, bench->arena.used);
    return status;
}

static void bench_close(struct bench *bench)
{
    if (bench->t)
        bench->t->ops->close(bench->t);
    if (bench->block)
        sy_group_unshare(bench->block, bench->block_bytes);
    else if (!bench->lent)
        sy_arena_fini(&bench->arena);
    free(bench->serves);
}

struct traffic {
    int put[64][SY_N_LANES], polled[64][SY_N_LANES], held[64][SY_N_LANES];
    uint64_t others_bytes; /* put to other ranks */
    bool right;
};

/* Try to put the next chunk to one peer. Returns whether something happened. */
static bool try_put(const struct run *run, struct bench *bench, struct traffic *f, int dst, int lane, uint8_t *scratch,
                    struct sy_error *err)
{
    struct iovec iov[4];

    if (!bench->serves[dst] || f->put[dst][lane] == n_chunks(run, rank, dst, lane))
        return false;
    size_t n = chunk_length(run, rank, dst, lane, f->put[dst][lane]);
    write_payload(run, dst, lane, f->put[dst][lane], scratch, n);
    int n_iov = cut(scratch, n, iov);
    enum sy_status status = bench->t->ops->put(bench->t, dst, (enum sy_lane)lane, (uint64_t)f->put[dst][lane], iov,
                                               n_iov, err);
    memset(scratch, 0xdd, n); /* the bytes must have been copied */
    if (status != SY_OK) {
        f->right = f->right && status == SY_AGAIN;
        return false;
    }
    f->put[dst][lane]++;
    f->others_bytes += dst == rank ? 0 : n;
    return true;
}

/* Poll one peer once, and release some of what is held. */
static bool try_poll(const struct run *run, struct bench *bench, struct traffic *f, int src, int lane,
                     struct sy_error *err)
{
    const void *data = NULL;
    size_t n = 0;

    if (!bench->serves[src])
        return false;
    enum sy_status status = bench->t->ops->poll(bench->t, src, (enum sy_lane)lane, &data, &n, err);
    if (status == SY_OK) {
        f->right = f->right && check_payload(run, src, lane, f->polled[src][lane], data, n);
        f->polled[src][lane]++;
        f->held[src][lane]++;
    } else {
        f->right = f->right && status == SY_AGAIN;
    }
    int *held = &f->held[src][lane];
    bool last = f->polled[src][lane] == n_chunks(run, src, rank, lane);
    if (*held && (last || *held == run->n_slots || roll(3) == 0)) {
        int give = last ? *held : 1 + (int)roll((unsigned)*held);
        f->right = f->right && bench->t->ops->release(bench->t, src, (enum sy_lane)lane, give, err) == SY_OK;
        *held -= give;
    }
    return status == SY_OK;
}

static bool finished(const struct run *run, const struct bench *bench, const struct traffic *f)
{
    for (int r = 0; r < size; r++)
        for (int lane = 0; lane < SY_N_LANES && bench->serves[r]; lane++)
            if (f->put[r][lane] != n_chunks(run, rank, r, lane) || f->polled[r][lane] != n_chunks(run, r, rank, lane) ||
                f->held[r][lane])
                return false;
    return true;
}

static bool exchange(const struct run *run, struct bench *bench, struct traffic *f, struct sy_error *err)
{
    uint8_t *scratch = malloc(run->chunk_bytes + 1);
    struct sy_wait wait;

    if (!scratch)
        bail("no memory");
    *f = (struct traffic){.right = true};
    sy_wait_begin(&wait, 20000);
    while (f->right && !finished(run, bench, f)) {
        bool moved = false;
        int first = (int)roll((unsigned)size), side = (int)roll(2);
        for (int i = 0; i < size; i++) {
            int r = (first + i) % size;
            for (int lane = 0; lane < SY_N_LANES; lane++) {
                if (side == 0 || roll(4) == 0)
                    moved |= try_put(run, bench, f, r, lane, scratch, err);
                if (side == 1 || roll(4) == 0)
                    moved |= try_poll(run, bench, f, r, lane, err);
            }
        }
        f->right = f->right && bench->t->ops->progress(bench->t, err) == SY_OK;
        if (moved)
            sy_wait_reset(&wait);
        else if (!sy_wait_pause(&wait))
            f->right = sy_error_set(err, SY_ERR_PEER, "nothing moved for 20 s") == SY_OK;
    }
    free(scratch);
    return f->right;
}

static bool states_right(const struct run *run, const struct bench *bench)
{
    for (int r = 0; r < size; r++) {
        for (int lane = 0; lane < SY_N_LANES && bench->serves[r]; lane++) {
            struct sy_ring_state out = bench->t->ops->state(bench->t, r, (enum sy_lane)lane, 1);
            struct sy_ring_state in = bench->t->ops->state(bench->t, r, (enum sy_lane)lane, 0);
            uint64_t sent = (uint64_t)n_chunks(run, rank, r, lane), got = (uint64_t)n_chunks(run, r, rank, lane);
            if (out.head != sent || out.tail > sent || out.head - out.tail > (uint64_t)run->n_slots || in.head != got ||
                in.tail != got)
                return false;
        }
    }
    return true;
}

static void test_run(struct sy_group *group, const struct run *run)
{
    struct sy_transport_config config = {.n_slots = run->n_slots};
    struct sy_error err = SY_ERROR_INIT;
    struct traffic *f = calloc(1, sizeof *f);
    struct bench bench;
    bool held;

    if (!f)
        bail("no memory");
    for (int lane = 0; lane < SY_N_LANES; lane++)
        config.chunk_bytes[lane] = run->chunk_bytes;
    held = bench_open(&bench, group, run->ops, &config, &err) == SY_OK;
    held = held && exchange(run, &bench, f, &err);
    if (!held)
        diag("rank %d: %s", rank, err.text);
    ok_all(held, "%s: %s, %d slots, chunks of up to %zu bytes", run->ops->name, run->name, run->n_slots,
           run->chunk_bytes);
    held = held && run->ops->wire_bytes(bench.t) == f->others_bytes && states_right(run, &bench);
    ok_all(held, "%s: bytes to other ranks and the states of the rings add up", run->ops->name);
    bench_close(&bench);
    free(f);
}

static void test_runs(struct sy_group *group, const struct sy_transport_ops *ops, uint64_t seed)
{
    static const struct run runs[] = {
        {"no chunks", NULL, NOBODY, 2, 0, ROW, false, 0},
        {"one chunk each", NULL, EVERYBODY, 1, 1, 7 * ROW, false, 0},
        {"one byte chunks", NULL, EVERYBODY, 1, 40, 1, true, 0},
        {"many chunks", NULL, EVERYBODY, 1, 30, 7 * ROW, false, 0},
        {"many chunks", NULL, EVERYBODY, 2, 50, 7 * ROW, false, 0},
        {"many chunks", NULL, EVERYBODY, 8, 100, 7 * ROW, false, 0},
        {"all to one and back", NULL, ALL_TO_ONE, 2, 40, 7 * ROW, false, 0},
        {"half of the ranks silent", NULL, SOME_SILENT, 2, 40, 64 * ROW, false, 0},
        {"uneven", NULL, UNEVEN, 8, 60, 64 * ROW, false, 0},
        {"uneven", NULL, UNEVEN, 3, 60, 5000, false, 0},
        {"large chunks", NULL, EVERYBODY, 2, 5, 300000, true, 0},
        {"large and small chunks", NULL, UNEVEN, 4, 9, 300000, false, 0},
        {"very large chunks to one", NULL, ALL_TO_ONE, 2, 3, 1 << 20, true, 0},
    };

    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct run run = runs[i];
        run.ops = ops;
        run.seed = seed + i;
        test_run(group, &run);
    }
}

static bool settle(const struct sy_transport_ops *ops, struct sy_transport *t, struct sy_error *err)
{
    for (int i = 0; i < 200; i++)
        if (ops->progress(t, err) != SY_OK)
            return false;
    return true;
}

/* The next rank up or down that the transport reaches. */
static int neighbour(struct sy_group *group, const struct sy_transport_ops *ops, int step)
{
    int r = rank;

    do
        r = (r + step + size) % size;
    while (!reaches(group, ops, r));
    return r;
}

/* Every rank puts to its right neighbour only, and everybody goes through the same stages with barriers in between. */
static void test_credit(struct sy_group *group, const struct sy_transport_ops *ops, int n_slots)
{
    struct sy_transport_config config = {.chunk_bytes = {64, 64}, .n_slots = n_slots};
    struct sy_error err = SY_ERROR_INIT;
    struct bench bench;
    int right = neighbour(group, ops, 1), left = neighbour(group, ops, -1);
    uint64_t n = 0, value;
    struct iovec iov = {&n, sizeof n};
    const void *data;
    size_t bytes;
    const enum sy_lane lane = SY_LANE_COMBINE;
    enum sy_status status;

    bool held = bench_open(&bench, group, ops, &config, &err) == SY_OK;
    if (!held)
        bail("rank %d: %s", rank, err.text);
    while ((status = ops->put(bench.t, right, lane, n, &iov, 1, &err)) == SY_OK && n <= (uint64_t)n_slots)
        n++;
    ok_all(status == SY_AGAIN && n == (uint64_t)n_slots, "%s: a producer is let %d chunks ahead, not more", ops->name,
           n_slots);
    /* The consumer polls everything and gives nothing back. */
    held = true;
    struct sy_wait wait;
    sy_wait_begin(&wait, 20000);
    for (uint64_t i = 0; i < (uint64_t)n_slots && held;) {
        held = ops->progress(bench.t, &err) == SY_OK;
        status = ops->poll(bench.t, left, lane, &data, &bytes, &err);
        if (status == SY_OK) {
            memcpy(&value, data, sizeof value);
            held = held && bytes == sizeof value && value == i;
            i++;
        } else {
            held = held && status == SY_AGAIN && sy_wait_pause(&wait);
        }
    }
    ok_all(held && ops->poll(bench.t, left, lane, &data, &bytes, &err) == SY_AGAIN,
           "%s: all of them can be polled before any is released", ops->name);
    held = sy_group_barrier(group, &err) == SY_OK && settle(ops, bench.t, &err);
    struct sy_ring_state in = ops->state(bench.t, left, lane, 0), out = ops->state(bench.t, right, lane, 1);
    ok_all(held && ops->put(bench.t, right, lane, n, &iov, 1, &err) == SY_AGAIN && in.head == (uint64_t)n_slots &&
               in.tail == 0 && out.head == (uint64_t)n_slots && out.tail == 0,
           "%s: chunks that are held give no credit", ops->name);
    held = sy_group_barrier(group, &err) == SY_OK;
    held = held && ops->release(bench.t, left, lane, 1, &err) == SY_OK;
    sy_wait_begin(&wait, 20000);
    do {
        held = held && ops->progress(bench.t, &err) == SY_OK;
        status = ops->put(bench.t, right, lane, n, &iov, 1, &err);
    } while (held && status == SY_AGAIN && sy_wait_pause(&wait));
    n++;
    held = held && status == SY_OK && sy_group_barrier(group, &err) == SY_OK && settle(ops, bench.t, &err);
    ok_all(held && ops->put(bench.t, right, lane, n, &iov, 1, &err) == SY_AGAIN,
           "%s: one chunk released lets one more through", ops->name);
    held = ops->release(bench.t, left, lane, n_slots, &err) == SY_ERR_INTERNAL;
    ok_all(held, "%s: what is not held cannot be released", ops->name);
    /* The rest stays unpolled and unreleased: close() has to cope. */
    sy_group_barrier(group, NULL);
    bench_close(&bench);
}

/* Credit comes in messages of its own and with chunks, and they may be seen in either order. Every rank frees two chunks, which
 * is half of the ring and has a message of its own, then one more, and then puts a chunk, which tells of all three. */
static void test_credit_order(struct sy_group *group, const struct sy_transport_ops *ops)
{
    struct sy_transport_config config = {.chunk_bytes = {64, 64}, .n_slots = 4};
    struct sy_error err = SY_ERROR_INIT;
    struct bench bench;
    int right = neighbour(group, ops, 1), left = neighbour(group, ops, -1);
    struct iovec iov = {&config, 8};
    const void *data;
    size_t bytes;
    struct sy_wait wait;

    if (bench_open(&bench, group, ops, &config, &err) != SY_OK)
        bail("rank %d: %s", rank, err.text);
    bool held = true;
    for (uint64_t n = 0; n < 4; n++)
        held = held && ops->put(bench.t, right, SY_LANE_COMBINE, n, &iov, 1, &err) == SY_OK;
    sy_wait_begin(&wait, 20000);
    for (int n = 0; n < 4 && held; held = sy_wait_pause(&wait) && ops->progress(bench.t, &err) == SY_OK)
        n += ops->poll(bench.t, left, SY_LANE_COMBINE, &data, &bytes, &err) == SY_OK;
    held = held && sy_group_barrier(group, &err) == SY_OK;
    held = held && ops->release(bench.t, left, SY_LANE_COMBINE, 2, &err) == SY_OK;
    held = held && ops->release(bench.t, left, SY_LANE_COMBINE, 1, &err) == SY_OK;
    held = held && ops->put(bench.t, left, SY_LANE_DISPATCH, 0, &iov, 1, &err) == SY_OK;
    held = held && sy_group_barrier(group, &err) == SY_OK && settle(ops, bench.t, &err);
    struct sy_ring_state out = ops->state(bench.t, right, SY_LANE_COMBINE, 1);
    /* Where it takes an answer of the other side, it takes a while. */
    sy_wait_begin(&wait, 5000);
    while (held && out.tail < 3 && sy_wait_pause(&wait)) {
        held = ops->progress(bench.t, &err) == SY_OK;
        out = ops->state(bench.t, right, SY_LANE_COMBINE, 1);
    }
    ok_all(held && out.head == 4 && out.tail == 3, "%s: credit never goes back (%llu of 3 chunks)", ops->name,
           (unsigned long long)out.tail);
    sy_group_barrier(group, NULL);
    bench_close(&bench);
}

/* Rows that are written to a place in the right neighbour's window are there when a chunk that was put later is polled. */
static void test_window(struct sy_group *group, const struct sy_transport_ops *ops)
{
    struct sy_transport_config config = {.chunk_bytes = {8, 8}, .n_slots = 2, .window_bytes = 64 * ROW};
    struct sy_error err = SY_ERROR_INIT;
    struct bench bench;
    int right = neighbour(group, ops, 1), left = neighbour(group, ops, -1), n_put = 0, n_got = 0;
    uint8_t row[ROW], expected[ROW];
    const void *data;
    size_t bytes;
    struct sy_wait wait;

    if (bench_open(&bench, group, ops, &config, &err) != SY_OK)
        bail("rank %d: %s", rank, err.text);
    bool held = true;
    sy_wait_begin(&wait, 20000);
    while (held && (n_put < 50 || n_got < 50)) {
        int place = n_put * 5 % 64;
        struct iovec iov = {&place, sizeof place};
        memset(row, 1 + rank + n_put, sizeof row);
        if (n_put < 50 && bench.t->ops->state(bench.t, right, SY_LANE_DISPATCH, 1).tail + 2 > (uint64_t)n_put) {
            void *there = ops->place(bench.t, right, (size_t)place * ROW, sizeof row);
            held = there && memcpy(there, row, sizeof row) &&
                   ops->put(bench.t, right, SY_LANE_DISPATCH, (uint64_t)n_put, &iov, 1, &err) == SY_OK;
            n_put++;
        }
        if (n_got < 50 && ops->poll(bench.t, left, SY_LANE_DISPATCH, &data, &bytes, &err) == SY_OK) {
            memcpy(&place, data, sizeof place);
            memset(expected, 1 + left + n_got, sizeof expected);
            held = held && place == n_got * 5 % 64 &&
                   memcmp(bench.arena.base + (size_t)place * ROW, expected, ROW) == 0 &&
                   ops->release(bench.t, left, SY_LANE_DISPATCH, 1, &err) == SY_OK;
            n_got++;
        }
        held = held && ops->progress(bench.t, &err) == SY_OK && sy_wait_pause(&wait);
    }
    ok_all(held, "%s: rows that were written to a window are there with the chunk that tells of them", ops->name);
    ok_all(!ops->place(bench.t, right, 63 * ROW + 1, sizeof row), "%s: there is no place behind a window", ops->name);
    sy_group_barrier(group, NULL);
    bench_close(&bench);
}

static void test_misuse(struct sy_group *group, const struct sy_transport_ops *ops)
{
    struct sy_transport_config config = {.chunk_bytes = {10, 20}, .n_slots = 2};
    struct sy_error err = SY_ERROR_INIT;
    struct bench bench;
    uint8_t bytes[32] = {0};
    struct iovec iov = {bytes, 11};

    if (bench_open(&bench, group, ops, &config, &err) != SY_OK)
        bail("rank %d: %s", rank, err.text);
    ok_all(ops->put(bench.t, rank, SY_LANE_DISPATCH, 0, &iov, 1, &err) == SY_ERR_INTERNAL, "%s: too large a chunk: %s",
           ops->name, err.text);
    iov.iov_len = 5;
    ok_all(ops->put(bench.t, rank, SY_LANE_DISPATCH, 1, &iov, 1, &err) == SY_ERR_INTERNAL, "%s: a chunk left out: %s",
           ops->name, err.text);
    ok_all(ops->put(bench.t, size, SY_LANE_DISPATCH, 0, &iov, 1, &err) == SY_ERR_INTERNAL, "%s: no such rank: %s",
           ops->name, err.text);
    bench_close(&bench);
}

static void expect_description(struct sy_group *group, enum sy_transport_choice choice, char *out, size_t room)
{
    bool shm = choice == SY_TRANSPORT_AUTO || choice == SY_TRANSPORT_SHM;
    int n_near = shm ? sy_group_node_size(group) - 1 : 0, n_far = size - 1 - n_near;

    snprintf(out, room, "self for this rank%s", size > 1 ? "" : ", which is the only one");
    if (n_near)
        snprintf(out + strlen(out), room - strlen(out), ", shm for %d peer%s on this node (%s)", n_near,
                 n_near == 1 ? "" : "s", choice == SY_TRANSPORT_SHM ? "--transport" : "they share memory");
    if (n_far && choice == SY_TRANSPORT_UCX)
        snprintf(out + strlen(out), room - strlen(out), ", ucx (LANES) for %d peer%s (--transport)", n_far,
                 n_far == 1 ? "" : "s");
    else if (n_far)
        snprintf(out + strlen(out), room - strlen(out), ", mpi (%s, point to point) for %d peer%s (%s)",
                 sy_group_mpi_version(), n_far, n_far == 1 ? "" : "s",
                 choice == SY_TRANSPORT_MPI ? "--transport" : "on other nodes");
}

/* What UCX takes, or would, is not known here: "(tcp, active messages)" becomes "(LANES)", and "; ucx would be tcp, active
 * messages)" goes. */
static bool is_described(const char *found, const char *expected)
{
    const char *lanes = strstr(expected, "(LANES)"), *open = strstr(found, "ucx ("), *close = strchr(found, ')');
    const char *would = strstr(found, "; ucx would be ");

    if (would)
        return strncmp(found, expected, (size_t)(would - found)) == 0 && strstr(would, ", active messages)");
    if (!lanes || !open || !close)
        return strcmp(found, expected) == 0;
    return strncmp(found, expected, (size_t)(lanes - expected)) == 0 && strcmp(close, lanes + 6) == 0 &&
           (strstr(open, ", put)") || strstr(open, ", active messages)"));
}

/* The same through the fabric, which keeps the chunk numbers. */
static void test_fabric(struct sy_group *group, enum sy_transport_choice choice)
{
    struct sy_transport_config config = {.chunk_bytes = {256, 512}, .n_slots = 3, .choice = choice};
    struct sy_error err = SY_ERROR_INIT;
    struct sy_fabric *fabric = NULL;
    const int n = 20;
    int put[64] = {0}, got[64] = {0}, left = 2 * n * size;
    char expected[400];
    struct sy_wait wait;

    enum sy_status status = sy_fabric_open(group, &config, &fabric, &err);
    if (choice == SY_TRANSPORT_SHM && sy_group_n_nodes(group) > 1) {
        ok_all(status == SY_ERR_USAGE && strstr(err.text, "--transport shm cannot reach rank") &&
                   strstr(err.text, "it is on another node"),
               "fabric: shm alone is refused on several nodes: %s", err.text);
        return;
    }
#ifndef HAVE_UCX
    if (choice == SY_TRANSPORT_UCX) {
        ok_all(status == SY_ERR_USAGE && strstr(err.text, "--transport ucx: this program was built without UCX"),
               "fabric: ucx is refused where it is not built in: %s", err.text);
        return;
    }
#endif
    if (choice == SY_TRANSPORT_IPC || choice == SY_TRANSPORT_NCCL) {
        ok_all(status == SY_ERR_USAGE && strstr(err.text, "goes between ranks on GPUs"),
               "fabric: what goes between GPUs is refused where rows are in the host's memory: %s", err.text);
        return;
    }
    if (status != SY_OK)
        bail("rank %d: %s", rank, err.text);
    bool held = true;
    expect_description(group, choice, expected, sizeof expected);
    ok_all(is_described(sy_fabric_describe(fabric), expected), "fabric: %s", sy_fabric_describe(fabric));
    sy_wait_begin(&wait, 20000);
    while (held && left && sy_wait_pause(&wait)) {
        for (int r = 0; r < size && held; r++) {
            int word[2] = {rank, put[r]};
            struct iovec iov[2] = {{word, sizeof word}, {expected, (size_t)rank}};
            const void *data;
            size_t bytes;
            if (put[r] < n && sy_fabric_put(fabric, r, SY_LANE_DISPATCH, iov, 2, &err) == SY_OK) {
                put[r]++;
                left--;
            }
            if (sy_fabric_poll(fabric, r, SY_LANE_DISPATCH, &data, &bytes, &err) == SY_OK) {
                memcpy(word, data, sizeof word);
                held = bytes == sizeof word + (size_t)r && word[0] == r && word[1] == got[r] &&
                       sy_fabric_release(fabric, r, SY_LANE_DISPATCH, 1, &err) == SY_OK;
                got[r]++;
                left--;
            }
        }
        held = held && sy_fabric_progress(fabric, &err) == SY_OK;
    }
    ok_all(held && !left, "fabric: %d chunks between all pairs, the own rank included", n);
    ok_all(sy_fabric_wire_bytes(fabric) == (uint64_t)(n * (size - 1)) * (8 + (uint64_t)rank) &&
               sy_fabric_state(fabric, rank, SY_LANE_DISPATCH, 1).head == (uint64_t)n &&
               sy_fabric_need(group, &config) >= 3 * (256 + 512) && sy_fabric_group(fabric) == group &&
               sy_fabric_config(fabric)->n_slots == 3,
           "fabric: bytes to other ranks, states and sizes");
    sy_fabric_close(fabric);

    config.n_slots = rank == size - 1 ? 0 : 3;
    err = (struct sy_error)SY_ERROR_INIT;
    status = sy_fabric_open(group, &config, &fabric, &err);
    ok_all(status == SY_ERR_USAGE && strstr(err.text, "at least 1"), "fabric: what fails on one rank fails on all: %s",
           err.text);
}

static void test_transport(struct sy_group *group, const struct sy_transport_ops *ops, uint64_t seed)
{
    test_runs(group, ops, seed);
    for (int n_slots = 1; n_slots <= 8; n_slots = n_slots == 1 ? 2 : n_slots * 4)
        test_credit(group, ops, n_slots);
    test_credit_order(group, ops);
    test_misuse(group, ops);
    if (ops->place)
        test_window(group, ops);
}

static void test_ucx(struct sy_group *group, uint64_t seed)
{
#ifdef HAVE_UCX
    static const char *const ways[] = {"the way that the lanes ask for", "puts", "active messages"};

    for (int way = SY_UCX_BEST; way <= SY_UCX_MESSAGES; way++) {
        if (rank == 0)
            diag("ucx, %s", ways[way]);
        ucx_way = (enum sy_ucx_way)way;
        if (way == SY_UCX_BEST)
            test_credit(group, &sy_transport_ucx, 2);
        else
            test_transport(group, &sy_transport_ucx, seed);
    }
#else
    (void)group;
    (void)seed;
    skip("built without UCX");
#endif
}

int main(int argc, char **argv)
{
    struct sy_group *group = tap_mpi_begin(&argc, &argv, LONG_MS);
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);

    rank = sy_group_rank(group);
    size = sy_group_size(group);
    /* The pattern must be the same everywhere, the dice must not. */
    struct sy_buf word = SY_BUF_INIT;
    sy_buf_append(&word, &seed, sizeof seed);
    if (sy_group_bcast(group, 0, &word, NULL) != SY_OK || word.len != sizeof seed)
        bail("no seed");
    memcpy(&seed, word.data, sizeof seed);
    sy_buf_fini(&word);
    random_state = mix(seed + (uint64_t)rank * 1000003);
    if (rank == 0)
        diag("seed %llu", (unsigned long long)seed);
    const struct sy_transport_ops *all[] = {&sy_transport_self, &sy_transport_shm, &sy_transport_mpi};
    if (argc > 2)
        test_ucx(group, seed);
    for (size_t i = 0; i < sizeof all / sizeof *all && argc <= 2; i++)
        test_transport(group, all[i], seed);
    for (int choice = 0; choice < SY_N_TRANSPORT_CHOICES; choice++)
        test_fabric(group, (enum sy_transport_choice)choice);
    done();
    return tap_mpi_end(group);
}
