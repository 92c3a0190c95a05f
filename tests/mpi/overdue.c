/* SPDX-License-Identifier: Apache-2.0
 * overdue.c - what two ranks say when a third does not come: who waits for whom, on which lane, and where the rings stand
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "courier.h"
#include "lender.h"
#include "moe/moe.h"
#include "tap.h"
#include "tap_mpi.h"

#define SILENT   2
#define SHORT_MS 300
#define LONG_MS  60000

/* Kernels whose memory MPI and UCX take rows from as they do from that of GPUs. */
static const struct sy_kernels *direct_kernels(void)
{
    static struct sy_kernels kernels;

    kernels = *sy_kernels_ref();
    kernels.lender = &file_lender;
    kernels.courier = &test_courier;
    kernels.porter = &test_porter;
    return &kernels;
}

/* One layer of 6 experts, top-1, chunks of one row, two slots in a ring. */
static struct sy_moe *open_moe(struct sy_group *group, enum sy_transport_choice choice,
                               const struct sy_kernels *kernels, struct sy_fabric **fabric,
                               struct sy_placement **placement)
{
    struct sy_transport_config transport = {.n_slots = 2, .choice = choice};
    struct sy_error err = SY_ERROR_INIT;
    struct sy_moe *moe = NULL;

    if (sy_placement_even(1, 6, sy_group_size(group), placement, &err))
        bail("%s", err.text);
    struct sy_moe_config config = {.kernels = kernels,
                                   .placement = *placement,
                                   .rule = {.n_experts = 6, .top_k = 1},
                                   .hidden = 8,
                                   .expert_width = 1,
                                   .max_tokens = 8,
                                   .chunk_rows = 1,
                                   .wire = SY_F32};
    sy_moe_transport(&config, sy_group_size(group), &transport);
    if (sy_fabric_open(group, &transport, fabric, &err))
        bail("%s", err.text);
    config.fabric = *fabric;
    if (sy_moe_create(&config, &moe, &err))
        bail("%s", err.text);
    return moe;
}

/* Rank 0 has six tokens for the silent rank, which has room for two; rank 1 has two for itself. */
static void test_silence(struct sy_group *group, enum sy_transport_choice choice, const struct sy_kernels *kernels,
                         const char *via)
{
    static const int32_t ids[2][6] = {{4, 4, 5, 5, 4, 4}, {2, 3}};
    int rank = sy_group_rank(group);
    const char *host = sy_group_host(group, SILENT);
    struct sy_error err = SY_ERROR_INIT;
    struct sy_placement *placement;
    struct sy_fabric *fabric;
    char text[600], lines[600];
    struct sy_moe *moe = open_moe(group, choice, kernels, &fabric, &placement);
    bool right = true;

    ok_all(sy_fabric_stores(fabric) == (kernels->porter != NULL), "%s", sy_fabric_describe(fabric));
    if (rank != SILENT) {
        sy_group_set_timeout(group, SHORT_MS);
        enum sy_status st = sy_exchange_ready(moe, 0, ids[rank], rank ? 2 : 6, &err);
        if (!st)
            st = sy_exchange_dispatch(moe, ids[rank], &err);
        sy_group_set_timeout(group, LONG_MS);
        snprintf(text, sizeof text, "dispatch layer 0: no progress for 300 ms, waiting for tokens from rank 2 (%.100s)",
                 host);
        snprintf(
            lines, sizeof lines,
            "waits for rank 2 (%.100s) by %s: tokens (dispatch in, chunk 0, head 0, tail 0)%s, epoch 1\n", host, via,
            rank ? ""
                 : ", expert results (combine in, chunk 0, head 0, tail 0), credit to send (dispatch out, chunk 2, "
                   "head 2, tail 0)");
        right = st == SY_ERR_PEER && !strcmp(err.text, text) && err.lines && !strcmp(err.lines, lines);
        if (!right)
            diag("rank %d: %s\n%s", rank, err.text, err.lines ? err.lines : "");
    }
    ok_all(right, "%s: a line for the peer that is missing, with everything that it owes", via);
    sy_group_barrier(group, NULL);
    sy_moe_destroy(moe);
    sy_fabric_close(fabric);
    sy_placement_destroy(placement);
}

/* Rows of a chunk that suit a transport: many, as far as memory and tokens go, with nccl and where messages take memory of
 * devices; else few. */
static void test_chunk_rows(struct sy_group *group)
{
    const struct {
        enum sy_transport_choice choice;
        const struct sy_kernels *kernels;
        int max_tokens, hidden, rows;
    } cases[] = {
        /* 1 GiB by 2 x 2 lanes x 5 chunks x 3 ranks x 14336 is 1248 */
        {SY_TRANSPORT_NCCL, direct_kernels(), 8192, 7168, 1216},
        {SY_TRANSPORT_NCCL, direct_kernels(), 8192, 1024, 2048},
        {SY_TRANSPORT_NCCL, direct_kernels(), 8192, 1 << 20, 64},
        {SY_TRANSPORT_NCCL, direct_kernels(), 10, 7168, 128},
        {SY_TRANSPORT_MPI, direct_kernels(), 8192, 7168, 512},
        {SY_TRANSPORT_MPI, direct_kernels(), 10, 7168, 128},
        {SY_TRANSPORT_MPI, sy_kernels_ref(), 8192, 7168, 64},
#ifdef HAVE_UCX
        {SY_TRANSPORT_UCX, direct_kernels(), 8192, 7168, 1216},
        {SY_TRANSPORT_UCX, sy_kernels_ref(), 8192, 7168, 64},
#endif
        {SY_TRANSPORT_IPC, direct_kernels(), 8192, 7168, 64},
        {SY_TRANSPORT_AUTO, direct_kernels(), 8192, 7168, 64},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sy_moe_config config = {.kernels = cases[i].kernels,
                                       .rule = {.top_k = 8},
                                       .hidden = cases[i].hidden,
                                       .wire = SY_BF16,
                                       .max_tokens = cases[i].max_tokens};
        struct sy_transport_config transport = {.n_slots = 4, .choice = cases[i].choice};
        struct sy_error err = SY_ERROR_INIT;
        int rows;
        if (sy_moe_chunk_rows(&config, &transport, group, &rows, &err))
            bail("%s", err.text);
        ok_all(rows == cases[i].rows, "case %zu: chunks of %d rows: %d", i + 1, cases[i].rows, rows);
    }
}

int main(int argc, char **argv)
{
    struct sy_group *group = tap_mpi_begin(&argc, &argv, LONG_MS);

    test_chunk_rows(group);

    test_silence(group, SY_TRANSPORT_SHM, sy_kernels_ref(), "shm");
    test_silence(group, SY_TRANSPORT_MPI, sy_kernels_ref(), "mpi");
    test_silence(group, SY_TRANSPORT_MPI, direct_kernels(), "mpi");
#ifdef HAVE_UCX
    test_silence(group, SY_TRANSPORT_UCX, direct_kernels(), "ucx");
#endif
    done();
    return tap_mpi_end(group);
}
