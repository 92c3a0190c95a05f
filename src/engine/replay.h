/* SPDX-License-Identifier: Apache-2.0
 * replay.h - steps that only decode, recorded once and then replayed in one call
 *
 * On a GPU the calls of a step cost about as much time as its kernels. All that changes from one step of as many sequences
 * to the next is in buffers, so the calls can be recorded (kernels.h, record).
 */
#ifndef SY_ENGINE_REPLAY_H
#define SY_ENGINE_REPLAY_H

#include "engine/inputs.h"
#include "kernels.h"

#define SY_REPLAY_ROWS_MAX 256 /* larger steps gain nothing */
#define SY_REPLAYS_MAX     64

/* A recorded step. */
struct sy_replay_step {
    int T, n_keys; /* rows; keys of the longest at most */
    uint64_t n_pairs, used;
    struct sy_recording *recording;
};

struct sy_replay {
    struct sy_replay_step steps[SY_REPLAYS_MAX];
    int n_steps;
    uint64_t n_used;
};

/* Keys that a recording is made for, when the longest sequence has n: few recordings serve all lengths. */
int sy_replay_keys(int n);

/* The recording of such a step, NULL when there is none. */
struct sy_replay_step *sy_replay_find(struct sy_replay *replay, int T, int n_keys);

/* Room for another one, which takes the place of the one that was used longest ago. The queue is idle. */
struct sy_replay_step *sy_replay_add(struct sy_replay *replay, const struct sy_kernels *kernels, int T, int n_keys,
                                     struct sy_recording *recording);

void sy_replay_fini(struct sy_replay *replay, const struct sy_kernels *kernels);

#endif
