/* SPDX-License-Identifier: Apache-2.0
 * prompt.h - run --prompt: one completion, streamed to standard output
 */
#ifndef SY_CLI_PROMPT_H
#define SY_CLI_PROMPT_H

#include "cli/setup.h"
#include "cli/summary.h"

/* Load, complete, end the session. Collective; ends in an agreement. Text goes out as soon as it is certain: whole
 * characters, and nothing that may turn out to be a stop string. */
enum sy_status sy_prompt_run(struct sy_setup *setup, struct sy_summary *summary, struct sy_error *err);

#endif
