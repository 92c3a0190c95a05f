/* SPDX-License-Identifier: Apache-2.0
 * replay.c - recordings by the size of their step
 */
#include "engine/replay.h"

#define KEYS_MIN 1024

int sy_replay_keys(int n)
{
    int keys = KEYS_MIN;

    while (keys < n && keys < 1 << 30)
        keys *= 2;
    return keys;
}

struct sy_replay_step *sy_replay_find(struct sy_replay *replay, int T, int n_keys)
{
    for (int i = 0; i < replay->n_steps; i++) {
        struct sy_replay_step *step = &replay->steps[i];
        if (step->T != T || step->n_keys != n_keys)
            continue;
        step->used = ++replay->n_used;
        return step;
    }
    return NULL;
}

struct sy_replay_step *sy_replay_add(struct sy_replay *replay, const struct sy_kernels *kernels, int T, int n_keys,
                                     struct sy_recording *recording)
{
    struct sy_replay_step *step = &replay->steps[0];

    if (replay->n_steps < SY_REPLAYS_MAX) {
        step = &replay->steps[replay->n_steps++];
    } else {
        for (int i = 1; i < SY_REPLAYS_MAX; i++)
            if (replay->steps[i].used < step->used)
                step = &replay->steps[i];
        kernels->record_free(step->recording);
    }
    *step = (struct sy_replay_step){.T = T, .n_keys = n_keys, .used = ++replay->n_used, .recording = recording};
    return step;
}

void sy_replay_fini(struct sy_replay *replay, const struct sy_kernels *kernels)
{
    for (int i = 0; i < replay->n_steps; i++)
        kernels->record_free(replay->steps[i].recording);
    *replay = (struct sy_replay){.n_steps = 0};
}
