/* SPDX-License-Identifier: Apache-2.0
 * windows.c - rows in windows that are not in the host's memory, and the chunks that tell of them
 *
 * usage: mpirun -n N windows.npN.t
 *
 * On CPUs processes lend one another files and carry memory as GPUs do. With SWITCHYARD_DEVICE=cuda it is GPUs.
 */
#include "comm/transport.h"

#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "courier.h"
#include "fixture.h"
#include "lender.h"
#include "tap.h"
#include "tap_mpi.h"

#define ROW     96 /* bytes of a row in these tests */
#define LONG_MS 60000

static int rank, size;
static const struct sy_kernels *kernels;
static struct sy_queue *queue;

static bool copy(void *to, const void *from)
{
    kernels->copy(queue, to, from, ROW);
    return kernels->queue_sync(queue, NULL) == SY_OK;
}

static bool has_row(const void *there, const uint8_t row[ROW])
{
    uint8_t found[ROW];

    return copy(found, there) && memcmp(found, row, ROW) == 0;
}

/* A row from each rank to each, in the window of memory that was lent, and a chunk that tells of it; then all again. */
static bool exchange_lent(struct sy_group *group, struct sy_fabric *fabric, int round)
{
    struct sy_error err = SY_ERROR_INIT;
    uint8_t row[ROW];
    struct sy_wait wait;
    bool held = true;

    memset(row, 1 + rank + round, sizeof row);
    for (int r = 0; r < size && held; r++) {
        struct iovec iov = {&round, sizeof round};
        void *there = sy_fabric_place(fabric, r, SY_LANE_COMBINE, (size_t)rank * ROW, ROW);
        held = there && copy(there, row) && sy_fabric_put_rows(fabric, r, SY_LANE_COMBINE, &iov, 1, 1, &err) == SY_OK;
    }
    sy_wait_begin(&wait, 20000);
    for (int r = 0; r < size && held; r++) {
        const void *data;
        size_t bytes;
        enum sy_status st;
        while ((st = sy_fabric_poll(fabric, r, SY_LANE_COMBINE, &data, &bytes, &err)) == SY_AGAIN &&
               sy_wait_pause(&wait))
            (void)sy_fabric_progress(fabric, &err);
        memset(row, 1 + r + round, sizeof row);
        held = st == SY_OK && has_row((uint8_t *)sy_fabric_window(fabric) + r * ROW, row) &&
               sy_fabric_release(fabric, r, SY_LANE_COMBINE, 1, &err) == SY_OK;
    }
    return sy_group_barrier(group, &err) == SY_OK && held;
}

/* Ranks that lend nothing, or reach no other. */
static void test_lent_refusals(struct sy_group *group, const struct sy_transport_config *config)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_fabric *fabric = NULL;

    lending_fails = rank == size - 1;
    ok_all(sy_fabric_open(group, config, &fabric, &err) == SY_ERR_SYSTEM &&
               strstr(err.text, "this test lends nothing") && n_lent == 0 && n_borrowed == 0,
           "ipc: a rank that lends nothing: %s", err.text);
    lending_fails = false;
    borrowing_fails = rank == 0;
    err = (struct sy_error)SY_ERROR_INIT;
    enum sy_status status = size > 1 ? sy_fabric_open(group, config, &fabric, &err) : SY_ERR_SYSTEM;
    ok_all(status == SY_ERR_SYSTEM &&
               (size == 1 || strstr(err.text, "memory of rank 1 for rank 0: this test borrows")) && n_lent == 0 &&
               n_borrowed == 0,
           "ipc: a rank that reaches no other: %s", err.text);
    borrowing_fails = false;
}

static void test_lent(struct sy_group *group, const struct sy_lender *lender)
{
    struct sy_transport_config config = {.chunk_bytes = {8, 8},
                                         .n_slots = 2,
                                         .window_bytes = (size_t)size * ROW,
                                         .choice = SY_TRANSPORT_IPC,
                                         .lender = lender};
    struct sy_error err = SY_ERROR_INIT;
    struct sy_fabric *fabric = NULL;
    enum sy_status status = sy_fabric_open(group, &config, &fabric, &err);
    int other = (rank + 1) % size;
    bool held = true;
    size_t block = 1;

    if (sy_group_n_nodes(group) > 1) {
        ok_all(status == SY_ERR_USAGE && strstr(err.text, "--transport ipc cannot reach rank") &&
                   strstr(err.text, "it is on another node"),
               "ipc alone is refused on several nodes: %s", err.text);
        return;
    }
    if (status != SY_OK)
        bail("rank %d: %s", rank, err.text);
    ok_all(sy_fabric_on_device(fabric) && !sy_fabric_block(fabric, &block) && !block &&
               !strcmp(sy_fabric_name(fabric, other), size > 1 ? "ipc" : "self"),
           "ipc: windows are lent: %s", sy_fabric_describe(fabric));
    for (int round = 0; round < 9 && held; round++)
        held = exchange_lent(group, fabric, round);
    ok_all(held, "ipc: rows are in windows with the chunks that tell of them");
    ok_all(sy_fabric_wire_bytes(fabric) == (uint64_t)(9 * (size - 1)) * (ROW + sizeof(int)),
           "ipc: bytes to other ranks");
    ok_all(!sy_fabric_place(fabric, other, SY_LANE_COMBINE, (size_t)(size - 1) * ROW + 1, ROW) &&
               !sy_fabric_place(fabric, other, SY_LANE_COMBINE, (size_t)size * ROW + 1, 0) &&
               !sy_fabric_place(fabric, size, SY_LANE_COMBINE, 0, 1),
           "ipc: there is no place behind a window, nor of a rank that there is not");
    sy_fabric_close(fabric);
    ok_all(n_lent == 0 && n_borrowed == 0, "ipc: all that was lent is back");

    if (lender == &file_lender)
        test_lent_refusals(group, &config);
}

/* Whose memory is on a device that no other rank has. */
static void test_apart(struct sy_group *group)
{
    struct sy_transport_config config = {
        .chunk_bytes = {8, 8}, .n_slots = 2, .window_bytes = ROW, .choice = SY_TRANSPORT_IPC, .lender = &file_lender};
    const struct {
        const char *of;
        int64_t device;
        bool apart;
    } cases[] = {{"a device each", rank, true},
                 {"one device", 7, size == 1},
                 {"one device but rank 0's", rank ? 7 : 1, !rank || size == 2},
                 {"devices, rank 0's unknown", rank ? rank : -1, false}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sy_error err = SY_ERROR_INIT;
        struct sy_fabric *fabric = NULL;
        lent_device = cases[i].device;
        if (sy_fabric_open(group, &config, &fabric, &err) != SY_OK)
            bail("rank %d: %s", rank, err.text);
        ok_all(sy_fabric_apart(fabric) == cases[i].apart, "ipc: who has a device alone, of %s", cases[i].of);
        sy_fabric_close(fabric);
    }
    lent_device = -1;
}

/* What auto makes of memory that can be lent, and of a rank that cannot reach another's. */
static void test_auto_lent(struct sy_group *group)
{
    struct sy_transport_config config = {.chunk_bytes = {8, 8},
                                         .n_slots = 2,
                                         .window_bytes = (size_t)size * ROW,
                                         .choice = SY_TRANSPORT_AUTO,
                                         .lender = &file_lender};
    bool near = sy_group_n_nodes(group) == 1;

    for (int can = 1; can >= 0; can--) {
        struct sy_error err = SY_ERROR_INIT;
        struct sy_fabric *fabric = NULL;
        bool held = true, lent = near && can && size > 1;
        borrowing_fails = !can && rank == 0;
        if (sy_fabric_open(group, &config, &fabric, &err) != SY_OK)
            bail("rank %d: %s", rank, err.text);
        borrowing_fails = false;
        const char *said = sy_fabric_describe(fabric);
        if (sy_group_node_size(group) > 1)
            held = strstr(said, lent   ? ", ipc for "
                                : near ? "(they share memory; not ipc: rank 0"
                                       : "(they share memory; not ipc: other ranks are on other nodes)");
        for (int round = 0; round < 3 && held && near; round++)
            held = exchange_lent(group, fabric, round);
        ok_all(held && sy_fabric_on_device(fabric) == lent, "auto, memory that %s: %s",
               can ? "can be lent" : "rank 0 cannot reach", said);
        sy_fabric_close(fabric);
        ok_all(n_lent == 0 && n_borrowed == 0, "auto: all that was lent is back");
    }
}

/* ---- rows by a courier ---- */

#define CHUNK_ROWS 5
#define N_SLOTS    2
#define N_CHUNKS   60
#define SPAN       64 /* rows of a window for each rank and lane, in turn: more than can be on their way */

static uint64_t random_state;

static unsigned roll(unsigned n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % n;
}

/* One direction of a lane with a peer. */
struct stream {
    uint64_t n_placed, n_told; /* rows stored, rows that chunks told of */
    int n_chunks;
};

struct telling {
    uint64_t first;
    int chunk, n_rows;
};

static size_t place_of(int from, int lane, uint64_t row)
{
    /* Not in order. */
    return ((size_t)(from * SY_N_LANES + lane) * SPAN + (size_t)(row * 29 % SPAN)) * ROW;
}

static void name_row(int from, int to, int lane, uint64_t number, uint8_t row[ROW])
{
    for (int i = 0; i < ROW; i++)
        row[i] = (uint8_t)((unsigned)from * 61 + (unsigned)to * 17 + (unsigned)lane * 101 + (unsigned)number * 7 +
                           (unsigned)(number >> 8) * 13 + (unsigned)i * 3);
}

/* Store up to as many rows as a chunk can tell of, and sometimes put the chunk. Returns whether all went well. */
static bool send_some(struct sy_fabric *fabric, int to, int lane, struct stream *s, struct sy_error *err)
{
    uint8_t row[ROW];
    int together, most = s->n_chunks == N_CHUNKS ? 0 : (int)roll(CHUNK_ROWS + 1);

    while (s->n_placed - s->n_told < (uint64_t)most && sy_fabric_room(fabric, to, (enum sy_lane)lane, &together) > 0) {
        void *there = sy_fabric_place(fabric, to, (enum sy_lane)lane, place_of(rank, lane, s->n_placed), ROW);
        if (!there)
            return false;
        name_row(rank, to, lane, s->n_placed++, row);
        if (!copy(there, row))
            return false;
    }
    if (s->n_chunks == N_CHUNKS || roll(2))
        return true;
    int waiting = (int)(s->n_placed - s->n_told), n = s->n_chunks == N_CHUNKS - 1 ? waiting : waiting - (int)roll(2);
    struct telling telling = {s->n_told, s->n_chunks, n < 0 ? 0 : n};
    struct iovec iov[2] = {{&telling, 3}, {(uint8_t *)&telling + 3, sizeof telling - 3}};
    enum sy_status st = sy_fabric_put_rows(fabric, to, (enum sy_lane)lane, iov, 2, telling.n_rows, err);
    if (st)
        return st == SY_AGAIN;
    s->n_told += (uint64_t)telling.n_rows;
    s->n_chunks++;
    return true;
}

static bool take_some(struct sy_fabric *fabric, int from, int lane, struct stream *s, struct sy_error *err)
{
    struct telling telling;
    const void *data;
    size_t bytes;
    enum sy_status st = sy_fabric_poll(fabric, from, (enum sy_lane)lane, &data, &bytes, err);

    if (st)
        return st == SY_AGAIN;
    if (bytes != sizeof telling)
        return false;
    memcpy(&telling, data, sizeof telling);
    bool held = telling.chunk == s->n_chunks && telling.first == s->n_told && telling.n_rows <= CHUNK_ROWS;
    for (int i = 0; i < telling.n_rows && held; i++) {
        uint8_t row[ROW];
        name_row(from, rank, lane, s->n_told + (uint64_t)i, row);
        held = has_row((uint8_t *)sy_fabric_window(fabric) + place_of(from, lane, s->n_told + (uint64_t)i), row);
    }
    s->n_told += (uint64_t)telling.n_rows;
    s->n_chunks++;
    return held && sy_fabric_release(fabric, from, (enum sy_lane)lane, 1, err) == SY_OK;
}

static bool exchange_carried(struct sy_fabric *fabric, uint64_t *others_bytes, struct sy_error *err)
{
    struct stream out[64][SY_N_LANES] = {0}, in[64][SY_N_LANES] = {0};
    int left = 2 * size * SY_N_LANES * N_CHUNKS;
    struct sy_wait wait;
    bool held = true;

    sy_wait_begin(&wait, 30000);
    while (held && left && sy_wait_pause(&wait)) {
        left = 0;
        for (int i = 0; i < size && held; i++) {
            int r = (rank + i) % size;
            for (int lane = 0; lane < SY_N_LANES && held; lane++) {
                held = send_some(fabric, r, lane, &out[r][lane], err) && take_some(fabric, r, lane, &in[r][lane], err);
                left += 2 * N_CHUNKS - out[r][lane].n_chunks - in[r][lane].n_chunks;
            }
        }
        held = held && sy_fabric_progress(fabric, err) == SY_OK;
    }
    *others_bytes = 0;
    for (int r = 0; r < size; r++)
        for (int lane = 0; lane < SY_N_LANES && r != rank; lane++)
            *others_bytes += out[r][lane].n_placed * (ROW + sizeof(uint32_t));
    return held && !left;
}

static struct sy_transport_config carried_config(const struct sy_courier *courier)
{
    return (struct sy_transport_config){.chunk_bytes = {sizeof(struct telling), sizeof(struct telling)},
                                        .n_slots = N_SLOTS,
                                        .window_bytes = (size_t)size * SY_N_LANES * SPAN * ROW,
                                        .choice = SY_TRANSPORT_NCCL,
                                        .lender = &file_lender,
                                        .courier = courier,
                                        .row_bytes = ROW,
                                        .ahead_rows = {17, 23},
                                        .chunk_rows = CHUNK_ROWS};
}

/* Many chunks of few rows between all pairs, and what is refused; then the end. */
static void test_rows(struct sy_fabric *fabric, const char *name)
{
    const struct sy_transport_config *config = sy_fabric_config(fabric);
    struct sy_error err = SY_ERROR_INIT;
    int other = (rank + 1) % size, together;
    uint64_t bytes;

    ok_all(sy_fabric_on_device(fabric) && sy_fabric_stores(fabric) && sy_fabric_writes(fabric, other) &&
               !strcmp(sy_fabric_name(fabric, other), size > 1 ? name : "self"),
           "%s: %s", name, sy_fabric_describe(fabric));
    ok_all(size == 1 || (sy_fabric_room(fabric, other, SY_LANE_COMBINE, &together) == 23 && together == 23 &&
                         !sy_fabric_place(fabric, other, SY_LANE_COMBINE, 0, 24 * ROW) &&
                         !sy_fabric_place(fabric, other, SY_LANE_COMBINE, 1, ROW) &&
                         !sy_fabric_place(fabric, other, SY_LANE_COMBINE, config->window_bytes, ROW) &&
                         sy_fabric_put_rows(fabric, other, SY_LANE_COMBINE, NULL, 0, 1, &err) == SY_ERR_INTERNAL),
           "%s: more rows than there is room for, rows at other places, and chunks of rows that are not there", name);
    bool held = exchange_carried(fabric, &bytes, &err);
    if (!held)
        diag("rank %d: %s", rank, err.text);
    ok_all(held, "%s: rows are in windows with the chunks that tell of them", name);
    bytes += (uint64_t)(size - 1) * SY_N_LANES * N_CHUNKS * (sizeof(struct telling) + sizeof(uint32_t));
    ok_all(sy_fabric_wire_bytes(fabric) == bytes, "%s: bytes to other ranks, with the places of rows", name);
    sy_fabric_close(fabric);
    ok_all(n_links == 0 && n_courier_blocks == 0, "%s: links and memory are given back", name);
}

static void test_carried(struct sy_group *group, const struct sy_courier *courier)
{
    struct sy_transport_config config = carried_config(courier);
    struct sy_error err = SY_ERROR_INIT;
    struct sy_fabric *fabric = NULL;
    enum sy_status status = sy_fabric_open(group, &config, &fabric, &err);

    if (sy_group_n_nodes(group) > 1) {
        ok_all(status == SY_ERR_USAGE && strstr(err.text, "--transport nccl cannot reach rank"),
               "nccl is refused on several nodes: %s", err.text);
        return;
    }
    if (status == SY_ERR_USAGE && kernels->on_device) {
        skip("nccl: rows are in windows with the chunks that tell of them: %s", err.text);
        return;
    }
    if (status != SY_OK)
        bail("rank %d: %s", rank, err.text);
    test_rows(fabric, "nccl");
}

/* ---- rows by MPI or UCX from memory of one device to memory of another ---- */

static const struct {
    enum sy_transport_choice choice;
    const char *name;
} direct_ways[] = {
    {SY_TRANSPORT_MPI, "mpi"},
#ifdef HAVE_UCX
    {SY_TRANSPORT_UCX, "ucx"},
#endif
};

static struct sy_transport_config direct_config(enum sy_transport_choice choice, const struct sy_courier *porter)
{
    struct sy_transport_config config = carried_config(NULL);

    config.choice = choice;
    config.porter = porter;
    return config;
}

/* Chunks and rows that nobody has taken when the fabric is closed do not come up in the next one. */
static void test_direct_left(struct sy_group *group, const struct sy_transport_config *config, const char *name)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_fabric *fabric = NULL;
    bool held = true;

    if (sy_fabric_open(group, config, &fabric, &err) != SY_OK)
        bail("rank %d: %s", rank, err.text);
    for (int r = 0; r < size && held; r++) {
        struct telling telling = {0, 0, r == rank ? 0 : CHUNK_ROWS};
        struct iovec iov = {&telling, sizeof telling};
        for (int i = 0; i < telling.n_rows && held; i++)
            held = sy_fabric_place(fabric, r, SY_LANE_DISPATCH, (size_t)i * ROW, ROW) != NULL;
        held = held && !sy_fabric_put_rows(fabric, r, SY_LANE_DISPATCH, &iov, 1, telling.n_rows, &err);
    }
    sy_fabric_close(fabric);
    ok_all(held, "%s, direct: closed with rows on their way", name);
}

static void test_direct(struct sy_group *group, enum sy_transport_choice choice, const char *name,
                        const struct sy_courier *porter)
{
    struct sy_transport_config config = direct_config(choice, porter);
    struct sy_error err = SY_ERROR_INIT;
    struct sy_fabric *fabric = NULL;

    if (size == 1)
        return;
    if (sy_fabric_open(group, &config, &fabric, &err) != SY_OK)
        bail("rank %d: %s", rank, err.text);
    if (!sy_fabric_on_device(fabric)) {
        ok_all(kernels->on_device && strstr(sy_fabric_describe(fabric), "through the host's memory: "), "%s: %s", name,
               sy_fabric_describe(fabric));
        skip("%s: rows from GPU to GPU: %s", name, sy_fabric_describe(fabric));
        sy_fabric_close(fabric);
        return;
    }
    ok_all(strstr(sy_fabric_describe(fabric), ", from GPU to GPU) for "), "%s: rows go directly", name);
    sy_fabric_close(fabric);
    test_direct_left(group, &config, name);
    if (sy_fabric_open(group, &config, &fabric, &err) != SY_OK)
        bail("rank %d: %s", rank, err.text);
    test_rows(fabric, name);
}

/* A library that does not take the devices' memory, as this one will on machines without GPUs. */
static void test_not_direct(struct sy_group *group, enum sy_transport_choice choice, const char *name)
{
    struct sy_courier of_gpu = test_porter;
    struct sy_transport_config config = direct_config(choice, &of_gpu);
    struct sy_error err = SY_ERROR_INIT;
    struct sy_fabric *fabric = NULL;

    if (size == 1)
        return;
    of_gpu.memory = rank == size - 1 ? SY_MEMORY_CUDA : SY_MEMORY_HOST;
    if (sy_fabric_open(group, &config, &fabric, &err) != SY_OK)
        bail("rank %d: %s", rank, err.text);
    if (sy_fabric_on_device(fabric)) {
        skip("%s that does not take memory of GPUs: this one says that it does", name);
        sy_fabric_close(fabric);
        return;
    }
    const char *why = rank == size - 1 ? ": this " : "another rank's does not take memory of GPUs";
    ok_all(!sy_fabric_on_device(fabric) && !sy_fabric_writes(fabric, (rank + 1) % size) &&
               strstr(sy_fabric_describe(fabric), ", through the host's memory: ") &&
               strstr(sy_fabric_describe(fabric), why),
           "%s: one rank's does not take memory of GPUs: %s", name, sy_fabric_describe(fabric));
    sy_fabric_close(fabric);
}

/* Rings that hold fewer rows than chunks on their way tell of. */
static void test_direct_refusals(struct sy_group *group)
{
    struct sy_transport_config config = direct_config(SY_TRANSPORT_MPI, &test_porter);
    struct sy_error err = SY_ERROR_INIT;
    struct sy_fabric *fabric = NULL;

    if (size == 1)
        return;
    config.ahead_rows[SY_LANE_COMBINE] = N_SLOTS * CHUNK_ROWS - 1;
    ok_all(sy_fabric_open(group, &config, &fabric, &err) == SY_ERR_INTERNAL && strstr(err.text, "room for 9 rows") &&
               !n_links && !n_courier_blocks,
           "mpi, direct: fewer rows than chunks can tell of: %s", err.text);
}

static bool is_refused(struct sy_group *group, const struct sy_transport_config *config, enum sy_status status,
                       const char *text, struct sy_error *err)
{
    struct sy_fabric *fabric = NULL;

    *err = (struct sy_error)SY_ERROR_INIT;
    return sy_fabric_open(group, config, &fabric, err) == status && strstr(err->text, text) && !n_links &&
           !n_courier_blocks;
}

static void test_carried_refusals(struct sy_group *group)
{
    struct sy_transport_config config = carried_config(&test_courier);
    struct sy_error err;

    courier_is_missing = true;
    ok_all(is_refused(group, &config, SY_ERR_USAGE, "this test has no courier", &err), "nccl, not installed: %s",
           err.text);
    courier_is_missing = false;
    courier_device = 7;
    ok_all(size == 1 || is_refused(group, &config, SY_ERR_USAGE, "ranks 0 and 1 share a GPU", &err),
           "nccl, one GPU for several ranks: %s", size == 1 ? "" : err.text);
    courier_device = -1;
    config.courier = NULL;
    ok_all(is_refused(group, &config, SY_ERR_USAGE, "was built without NCCL", &err), "nccl, left out: %s", err.text);
    config.lender = NULL;
    ok_all(is_refused(group, &config, SY_ERR_USAGE, "--transport nccl goes between ranks on GPUs", &err),
           "nccl, rows in the host's memory: %s", err.text);
    config = carried_config(&test_courier);
    courier_is_stuck = size > 1 && rank == 1;
    sy_group_set_timeout(group, 500);
    ok_all(size == 1 ||
               is_refused(group, &config, SY_ERR_PEER, "nccl transport: no row from a peer within 500 ms", &err),
           "nccl, a rank that exchanges nothing: %s", size == 1 ? "" : err.text);
    sy_group_set_timeout(group, LONG_MS);
    courier_is_stuck = false;
}

int main(int argc, char **argv)
{
    struct sy_group *group = tap_mpi_begin(&argc, &argv, LONG_MS);
    struct sy_error err = SY_ERROR_INIT;
    struct sy_pool *pool;

    rank = sy_group_rank(group);
    size = sy_group_size(group);
    kernels = fixture_kernels();
    if (sy_pool_create(1, NULL, 0, &pool, &err) || kernels->queue_create(pool, &queue, &err))
        bail("rank %d: %s", rank, err.text);
    random_state = (uint64_t)rank * 977 + 5;
    test_lent(group, kernels->on_device ? kernels->lender : &file_lender);
    test_carried(group, kernels->on_device ? kernels->courier : &test_courier);
    for (size_t i = 0; i < sizeof direct_ways / sizeof *direct_ways; i++)
        test_direct(group, direct_ways[i].choice, direct_ways[i].name,
                    kernels->on_device ? kernels->porter : &test_porter);
    if (!kernels->on_device) {
        if (sy_group_n_nodes(group) == 1)
            test_apart(group);
        test_auto_lent(group);
        for (size_t i = 0; i < sizeof direct_ways / sizeof *direct_ways; i++)
            test_not_direct(group, direct_ways[i].choice, direct_ways[i].name);
        test_direct_refusals(group);
        if (sy_group_n_nodes(group) == 1)
            test_carried_refusals(group);
        skip("ipc, nccl, mpi and ucx between GPUs: SWITCHYARD_DEVICE=cuda asks for them");
    }
    kernels->queue_destroy(queue);
    sy_pool_destroy(pool);
    done();
    return tap_mpi_end(group);
}
