/* SPDX-License-Identifier: Apache-2.0
 * replay.c - recordings are found by the size of their step, and freed once
 */
#include "engine/replay.h"

#include "tap.h"

#define N_PARTS 3

/* Recordings are addresses in here. */
static char made[2 * SY_REPLAYS_MAX * N_PARTS];
static int n_made, freed[sizeof made];

static void record_free(struct sy_recording *recording)
{
    if (recording)
        freed[(char *)recording - made]++;
}

static const struct sy_kernels kernels = {.record_free = record_free};

/* Record all parts of a step but the second, which could not be. */
static void record(struct sy_replay_step *step)
{
    for (int i = 0; i < N_PARTS; i += 2) {
        step->parts[i].recording = (struct sy_recording *)&made[n_made++];
        step->parts[i].n_pairs = 7;
    }
}

static bool is_new(const struct sy_replay_step *step, int T, int n_keys)
{
    bool empty = step->T == T && step->n_keys == n_keys;

    for (int i = 0; i < N_PARTS; i++)
        empty = empty && !step->parts[i].recording && !step->parts[i].n_pairs;
    return empty;
}

static int n_freed(void)
{
    int n = 0;

    for (int i = 0; i < n_made; i++)
        n += freed[i];
    return n;
}

int main(void)
{
    struct sy_replay replay;
    struct sy_error err = SY_ERROR_INIT;
    int n_bad = 0;

    is_int(sy_replay_keys(1), 1024, "keys: at least 1024");
    is_int(sy_replay_keys(1024), 1024, "keys: as many as there are");
    is_int(sy_replay_keys(1025), 2048, "keys: the next power of two");

    ok(!sy_replay_init(&replay, N_PARTS, &err), "room is made");
    for (int T = 1; T <= SY_REPLAYS_MAX; T++) {
        struct sy_replay_step *step = sy_replay_step(&replay, &kernels, T, 1024, 0);
        n_bad += !is_new(step, T, 1024);
        record(step);
    }
    ok(!n_bad, "%d sizes begin without recordings", SY_REPLAYS_MAX);
    for (int T = 1; T <= SY_REPLAYS_MAX; T++) {
        char *first = &made[(T - 1) * (N_PARTS + 1) / 2];
        const struct sy_replay_step *step = sy_replay_step(&replay, &kernels, T, 1024, 0);
        n_bad += (char *)step->parts[0].recording != first || step->parts[1].recording ||
                 (char *)step->parts[2].recording != first + 1 || step->parts[2].n_pairs != 7;
    }
    ok(!n_bad, "each is found again, with its own parts");
    is_int(n_freed(), 0, "and nothing is freed");

    /* The first is used, so that the second was longest ago. */
    sy_replay_step(&replay, &kernels, 1, 1024, 0);
    struct sy_replay_step *step = sy_replay_step(&replay, &kernels, 1, 2048, 0);
    ok(is_new(step, 1, 2048), "as many rows with more keys are another size");
    ok(freed[2] == 1 && freed[3] == 1 && n_freed() == 2, "which takes the place of that used longest ago");
    record(step);
    ok(sy_replay_step(&replay, &kernels, 1, 1024, 0)->parts[0].recording == (struct sy_recording *)&made[0],
       "one that was used since is still there");
    ok(is_new(sy_replay_step(&replay, &kernels, 2, 1024, 0), 2, 1024), "the one that went begins anew");

    sy_replay_fini(&replay, &kernels);
    for (int i = 0; i < n_made; i++)
        n_bad += freed[i] != 1;
    ok(!n_bad, "at the end each recording was freed once");
    sy_replay_fini(&replay, &kernels);
    is_int(n_freed(), n_made, "and a second end frees nothing");
    done();
    return tap_exit();
}
