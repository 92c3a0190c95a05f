/* SPDX-License-Identifier: Apache-2.0
 * anatomy.h - tell a person what a checkpoint is (private to src/cli)
 */
#ifndef SY_CLI_ANATOMY_H
#define SY_CLI_ANATOMY_H

#include "cli/setup.h"

/* doctor, rank 0: shapes, parameters and bytes by part, KV cache, and what each rank would hold for the numbers of ranks in
 * list ("1,2,4"; NULL: as many as there are), on standard output. Errors: SY_ERR_USAGE (the list), SY_ERR_SYSTEM. */
enum sy_status sy_anatomy_print(const struct sy_setup *setup, const char *list, struct sy_error *err);

/* A job's start, rank 0: the model in a line, and a line for what of the checkpoint is not used. */
void sy_anatomy_say(const struct sy_setup *setup);

#endif
