/* SPDX-License-Identifier: Apache-2.0
 * windows.c - rows in windows that are not in the host's memory, and the chunks that tell of them
 *
 * usage: mpirun -n N windows.npN.t
 */
#include "comm/transport.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "lender.h"
#include "tap.h"
#include "tap_mpi.h"

#define ROW     96 /* bytes of a row in these tests */
#define LONG_MS 60000

static int rank, size;

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
        void *there = sy_fabric_place(fabric, r, (size_t)rank * ROW, ROW);
        held = there && memcpy(there, row, ROW) && sy_fabric_put(fabric, r, SY_LANE_COMBINE, &iov, 1, &err) == SY_OK;
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
        held = st == SY_OK && memcmp((uint8_t *)sy_fabric_window(fabric) + r * ROW, row, ROW) == 0 &&
               sy_fabric_release(fabric, r, SY_LANE_COMBINE, 1, &err) == SY_OK;
    }
    return sy_group_barrier(group, &err) == SY_OK && held;
}

/* ipc, with files for the memory of GPUs. */
static void test_lent(struct sy_group *group)
{
    struct sy_transport_config config = {.chunk_bytes = {8, 8},
                                         .n_slots = 2,
                                         .window_bytes = (size_t)size * ROW,
                                         .choice = SY_TRANSPORT_IPC,
                                         .lender = &file_lender};
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
    ok_all(!sy_fabric_place(fabric, other, (size_t)(size - 1) * ROW + 1, ROW) &&
               !sy_fabric_place(fabric, other, (size_t)size * ROW + 1, 0) && !sy_fabric_place(fabric, size, 0, 1),
           "ipc: there is no place behind a window, nor of a rank that there is not");
    sy_fabric_close(fabric);
    ok_all(n_lent == 0 && n_borrowed == 0, "ipc: all that was lent is back");

    lending_fails = rank == size - 1;
    err = (struct sy_error)SY_ERROR_INIT;
    ok_all(sy_fabric_open(group, &config, &fabric, &err) == SY_ERR_SYSTEM &&
               strstr(err.text, "this test lends nothing") && n_lent == 0 && n_borrowed == 0,
           "ipc: a rank that lends nothing: %s", err.text);
    lending_fails = false;
    borrowing_fails = rank == 0;
    err = (struct sy_error)SY_ERROR_INIT;
    status = size > 1 ? sy_fabric_open(group, &config, &fabric, &err) : SY_ERR_SYSTEM;
    ok_all(status == SY_ERR_SYSTEM &&
               (size == 1 || strstr(err.text, "memory of rank 1 for rank 0: this test borrows")) && n_lent == 0 &&
               n_borrowed == 0,
           "ipc: a rank that reaches no other: %s", err.text);
    borrowing_fails = false;
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

int main(int argc, char **argv)
{
    struct sy_group *group = tap_mpi_begin(&argc, &argv, LONG_MS);

    rank = sy_group_rank(group);
    size = sy_group_size(group);
    test_lent(group);
    test_auto_lent(group);
    done();
    return tap_mpi_end(group);
}
