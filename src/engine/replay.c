/* SPDX-License-Identifier: Apache-2.0
 * replay.c - recordings by the size of their step, and by part
 */
#include "engine/replay.h"

#include <stdlib.h>

#define KEYS_MIN 1024

int sy_replay_keys(int n)
{
    int keys = KEYS_MIN;

    while (keys < n && keys < 1 << 30)
        keys *= 2;
    return keys;
}

/* The steps of this size, NULL when there are none. */
static struct sy_replay_step *find(struct sy_replay *replay, int T, int n_keys, int way)
{
    for (int i = 0; i < replay->n_steps; i++)
        if (replay->steps[i].T == T && replay->steps[i].n_keys == n_keys && replay->steps[i].way == way)
            return &replay->steps[i];
    return NULL;
}

static void forget(const struct sy_replay *replay, const struct sy_kernels *kernels, struct sy_replay_step *step)
{
    for (int i = 0; i < replay->n_parts; i++) {
        kernels->record_free(step->parts[i].recording);
        step->parts[i] = (struct sy_replay_part){.recording = NULL};
    }
}

enum sy_status sy_replay_init(struct sy_replay *replay, int n_parts, struct sy_error *err)
{
    *replay = (struct sy_replay){.n_parts = n_parts};
    replay->parts = calloc((size_t)SY_REPLAYS_MAX * (size_t)n_parts, sizeof *replay->parts);
    if (!replay->parts)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for recordings of %d parts", n_parts);
    for (int i = 0; i < SY_REPLAYS_MAX; i++)
        replay->steps[i].parts = replay->parts + (size_t)i * (size_t)n_parts;
    return SY_OK;
}

struct sy_replay_step *sy_replay_step(struct sy_replay *replay, const struct sy_kernels *kernels, int T, int n_keys,
                                      int way)
{
    struct sy_replay_step *step = find(replay, T, n_keys, way);

    if (!step && replay->n_steps < SY_REPLAYS_MAX) {
        step = &replay->steps[replay->n_steps++];
    } else if (!step) {
        step = &replay->steps[0];
        for (int i = 1; i < SY_REPLAYS_MAX; i++)
            if (replay->steps[i].used < step->used)
                step = &replay->steps[i];
        forget(replay, kernels, step);
    }
    step->T = T;
    step->n_keys = n_keys;
    step->way = way;
    step->used = ++replay->n_used;
    return step;
}

void sy_replay_fini(struct sy_replay *replay, const struct sy_kernels *kernels)
{
    for (int i = 0; i < replay->n_steps; i++)
        forget(replay, kernels, &replay->steps[i]);
    free(replay->parts);
    *replay = (struct sy_replay){.n_steps = 0};
}
