/* SPDX-License-Identifier: Apache-2.0
 * alike.c - whether all ranks run the same program on the same model
 */
#include "cli/alike.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/version.h"

/* The first thing that ranks tell each other. Its size stays the same in all versions. */
struct release {
    char program[64], mpi[128];
};

enum sy_status sy_alike_program(struct sy_group *group, struct sy_error *err)
{
    int n_ranks = sy_group_size(group);
    struct release mine = {0}, *all = calloc((size_t)n_ranks, sizeof *all);
    enum sy_status st = sy_group_agree(group, all ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory"), err);

    snprintf(mine.program, sizeof mine.program, "%s", sy_version);
    snprintf(mine.mpi, sizeof mine.mpi, "%s", sy_group_mpi_version());
    if (!st)
        st = sy_group_allgather(group, &mine, sizeof mine, all, err);
    for (int r = 1; r < n_ranks && !st; r++) {
        if (strncmp(all[r].program, all[0].program, sizeof mine.program))
            st = sy_error_set(
                err, SY_ERR_SYSTEM,
                "rank %d (%s) runs switchyard %.63s, rank 0 (%s) runs %.63s; install the same on all nodes", r,
                sy_group_host(group, r), all[r].program, sy_group_host(group, 0), all[0].program);
        else if (strncmp(all[r].mpi, all[0].mpi, sizeof mine.mpi))
            st = sy_error_set(err, SY_ERR_SYSTEM, "rank %d (%s) runs with %.127s, rank 0 (%s) with %.127s", r,
                              sy_group_host(group, r), all[r].mpi, sy_group_host(group, 0), all[0].mpi);
    }
    free(all);
    return st;
}

/* One rank of each node looks: the others see the same files. */
enum sy_status sy_alike_checkpoint(struct sy_group *group, struct sy_checkpoint *ckpt, struct sy_error *err)
{
    struct sy_buf sample = SY_BUF_INIT;
    enum sy_status st = SY_OK;

    if (sy_group_n_nodes(group) == 1)
        return SY_OK;
    if (sy_group_rank(group) == 0)
        st = sy_checkpoint_sample(ckpt, &sample, err);
    st = sy_group_agree(group, st, err);
    if (!st)
        st = sy_group_bcast(group, 0, &sample, err);
    if (!st && sy_group_rank(group) && sy_group_node_rank(group) == 0) {
        st = sy_checkpoint_verify_headers(ckpt, err);
        if (!st)
            st = sy_checkpoint_compare(ckpt, &sample, err);
    }
    sy_buf_fini(&sample);
    return st;
}
