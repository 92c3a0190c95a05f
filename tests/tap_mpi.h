/* SPDX-License-Identifier: Apache-2.0
 * tap_mpi.h - start and end of a test on several ranks
 */
#ifndef SY_TESTS_TAP_MPI_H
#define SY_TESTS_TAP_MPI_H

#include <stdint.h>

#include "comm/group.h"

/* Start MPI, and let ok_all() gather over all ranks (by MPI itself, so that a fault of what is tested does not silence the
 * test). Bails out when there is no group. */
struct sy_group *tap_mpi_begin(int *argc, char ***argv, int64_t timeout_ms);

/* End MPI; returns tap_exit(). */
int tap_mpi_end(struct sy_group *group);

#endif
