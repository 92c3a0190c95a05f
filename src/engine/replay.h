/* SPDX-License-Identifier: Apache-2.0
 * replay.h - steps that only decode, recorded once and then replayed
 *
 * On a GPU the calls of a step cost about as much time as its kernels. All that changes from one step of as many sequences
 * to the next is in buffers, so the calls can be recorded (kernels.h, record). One rank's step is one recording. With
 * several, ranks look at what the router chose, and exchange rows: what lies between two exchanges is one.
 */
#ifndef SY_ENGINE_REPLAY_H
#define SY_ENGINE_REPLAY_H

#include "engine/inputs.h"
#include "kernels.h"

#define SY_REPLAY_ROWS_MAX 256 /* larger steps gain nothing */
#define SY_REPLAYS_MAX     64

/* What is replayed in one call: a step or, with several ranks, what lies between two of its exchanges. */
struct sy_replay_part {
    struct sy_recording *recording; /* NULL: not yet */
    uint64_t n_pairs;               /* sy_moe_work's */
};

/* Steps of one size. */
struct sy_replay_step {
    int T, n_keys; /* rows; keys of the longest at most */
    int way;       /* sy_moe_records(): if not 0, the first part is all */
    uint64_t used;
    struct sy_replay_part *parts; /* [n_parts] */
};

struct sy_replay {
    struct sy_replay_step steps[SY_REPLAYS_MAX];
    int n_steps, n_parts;
    uint64_t n_used;
    struct sy_replay_part *parts; /* [SY_REPLAYS_MAX, n_parts] */
};

/* Room for steps of at most n_parts parts. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_replay_init(struct sy_replay *replay, int n_parts, struct sy_error *err);

/* Keys that a recording is made for, when the longest sequence has n: few recordings serve all lengths. */
int sy_replay_keys(int n);

/* Steps of this size; new ones, without recordings, take the place of those that were used longest ago. None of those is
 * being replayed. */
struct sy_replay_step *sy_replay_step(struct sy_replay *replay, const struct sy_kernels *kernels, int T, int n_keys,
                                      int way);

void sy_replay_fini(struct sy_replay *replay, const struct sy_kernels *kernels);

#endif
