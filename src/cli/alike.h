/* SPDX-License-Identifier: Apache-2.0
 * alike.h - whether all ranks run the same program on the same model
 *
 * Both are collective, and come before anything that relies on it.
 */
#ifndef SY_CLI_ALIKE_H
#define SY_CLI_ALIKE_H

#include "comm/group.h"
#include "model/checkpoint.h"

/* The same version of the program and of MPI. SY_ERR_SYSTEM, on every rank, with the first that differs from rank 0. */
enum sy_status sy_alike_program(struct sy_group *group, struct sy_error *err);

/* The data of the checkpoint is the same on all nodes, as far as headers and samples tell; with one node nothing is read.
 * Returns this rank's own finding, for an agreement. */
enum sy_status sy_alike_checkpoint(struct sy_group *group, struct sy_checkpoint *ckpt, struct sy_error *err);

#endif
