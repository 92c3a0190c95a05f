/* SPDX-License-Identifier: Apache-2.0
 * idset.c - a set of a million ids, each with its counts
 */
#include "cli/idset.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tap.h"

#define N_IDS 1000000

int main(void)
{
    struct sy_idset set = {0}, other = {0};
    int n_bad = 0;
    char id[32];

    struct sy_idset_entry *entry = sy_idset_get(&set, "");
    ok(entry && !entry->seen_in && !entry->answered && !entry->refused, "an id that is not there is made, with zeroes");
    is_str(entry->id, "", "the empty id is an id");
    entry->refused = 3;
    int64_t begin_ns = sy_clock_ns();
    for (int i = 0; i < N_IDS; i++) {
        snprintf(id, sizeof id, "request-%d", i);
        entry = sy_idset_get(&set, id);
        n_bad += !entry || entry->seen_in || strcmp(entry->id, id);
        entry->seen_in = (uint32_t)i + 1;
    }
    ok(!n_bad, "%d ids go in", N_IDS);
    for (int i = 0; i < N_IDS; i++) {
        snprintf(id, sizeof id, "request-%d", i);
        entry = sy_idset_get(&set, id);
        n_bad += !entry || entry->seen_in != (uint32_t)i + 1;
    }
    ok(!n_bad, "and come out with what was noted");
    diag("%.2f s", (double)(sy_clock_ns() - begin_ns) * 1e-9);
    is_int((int64_t)set.n, N_IDS + 1, "each once");
    is_int(sy_idset_get(&set, "")->refused, 3, "the first is still there");
    sy_idset_get(&other, "a");
    ok(set.seed != other.seed, "two sets order ids differently, so that no file is slow in each");
    sy_idset_fini(&other);
    sy_idset_fini(&set);
    ok(!set.n && !set.entries, "the end leaves nothing");
    done();
    return tap_exit();
}
