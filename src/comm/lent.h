/* SPDX-License-Identifier: Apache-2.0
 * lent.h - private to src/comm: windows in memory of devices, which the ranks of a node lend to one another
 */
#ifndef SY_COMM_LENT_H
#define SY_COMM_LENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/lender.h"
#include "comm/group_mpi.h"

struct sy_lent {
    const struct sy_lender *lender;
    struct sy_team *team;
    size_t bytes;
    bool apart;      /* nobody else's window is on this rank's device */
    void *windows[]; /* [team->size] as this rank sees them; its own it has lent */
};

/* A window of this rank, and those of all others of its team. Collective; what fails on one rank fails on all. Errors:
 * SY_ERR_SYSTEM when there is not enough memory, or a rank cannot reach another's. */
enum sy_status sy_lent_open(struct sy_team *team, const struct sy_lender *lender, size_t bytes, struct sy_lent **lent,
                            struct sy_error *err);

/* Collective: waits, up to the group's deadline, until nobody uses this rank's window. NULL is taken, on all ranks. */
void sy_lent_close(struct sy_lent *lent);

#endif
