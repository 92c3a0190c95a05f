/* SPDX-License-Identifier: Apache-2.0
 * tap_mpi.c - start and end of a test on several ranks
 */
#include "tap_mpi.h"

#include <mpi.h>
#include <sched.h>

#include "comm/group_mpi.h"
#include "tap.h"

static struct sy_group *world;

/* Other ranks may need this one's transports to go on before they come. */
static void gather(int mine, int *all)
{
    MPI_Request request;
    int done = 0;

    MPI_Iallgather(&mine, 1, MPI_INT, all, 1, MPI_INT, MPI_COMM_WORLD, &request);
    while (MPI_Test(&request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && !done) {
        (void)sy_group_move(world, NULL);
        sched_yield();
    }
}

struct sy_group *tap_mpi_begin(int *argc, char ***argv, int64_t timeout_ms)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_group *group = NULL;

    if (sy_group_init(argc, argv, timeout_ms, &group, &err) != SY_OK)
        bail("no group of ranks: %s", err.text);
    world = group;
    tap_ranks(sy_group_rank(group), sy_group_size(group), gather);
    return group;
}

int tap_mpi_end(struct sy_group *group)
{
    sy_group_fini(group);
    return tap_exit();
}
