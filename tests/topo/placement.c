/* SPDX-License-Identifier: Apache-2.0
 * placement.c - even blocks for every number of ranks, replicas, refusals
 */
#include "placement.h"

#include <string.h>

#include "tap.h"

/* All the promises of sy_placement_even() for one case. */
static bool even_holds(int n_layers, int n_experts, int n_ranks)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_placement *p = NULL;

    if (sy_placement_even(n_layers, n_experts, n_ranks, &p, &err) != SY_OK) {
        diag("%s", err.text);
        return false;
    }
    bool held = p->n_layers == n_layers && p->n_experts == n_experts && p->n_ranks == n_ranks &&
                p->first[n_layers * n_experts] == n_layers * n_experts;
    for (int l = 0; l < n_layers && held; l++) {
        int total = 0;
        for (int e = 0; e < n_experts && held; e++) {
            int i = p->first[l * n_experts + e];
            struct sy_home home = p->homes[i], chosen = sy_placement_choose(p, l, e, e % n_ranks);
            held = i == l * n_experts + e && p->first[l * n_experts + e + 1] == i + 1 &&
                   home.rank == e * n_ranks / n_experts && chosen.rank == home.rank && chosen.slot == home.slot &&
                   sy_placement_expert_at(p, l, home.rank, home.slot) == e;
        }
        for (int r = 0; r < n_ranks && held; r++) {
            int n = sy_placement_n_local(p, l, r);
            /* Slots 0 .. n - 1 hold consecutive experts, and there is nothing after them. */
            held = n >= n_experts / n_ranks && n <= (n_experts + n_ranks - 1) / n_ranks &&
                   sy_placement_expert_at(p, l, r, n) == -1 && sy_placement_expert_at(p, l, r, -1) == -1;
            for (int s = 0; s < n && held; s++)
                held = sy_placement_expert_at(p, l, r, s) == total + s;
            total += n;
        }
        held = held && total == n_experts;
    }
    if (!held)
        diag("%d layers, %d experts, %d ranks", n_layers, n_experts, n_ranks);
    sy_placement_destroy(p);
    return held;
}

static void test_even(void)
{
    static const int n_experts[] = {1, 2, 3, 7, 8, 13, 60, 64, 128};

    for (size_t i = 0; i < sizeof n_experts / sizeof *n_experts; i++) {
        bool held = true;
        for (int n_ranks = 1; n_ranks <= n_experts[i] && held; n_ranks++)
            held = even_holds(i % 3 == 0 ? 3 : 1, n_experts[i], n_ranks);
        ok(held, "%d experts on every number of ranks", n_experts[i]);
    }
    ok(even_holds(0, 4, 2), "a model without MoE layers has an empty placement");
}

static void test_refused(void)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_placement *p = NULL;

    is_int(sy_placement_even(2, 8, 9, &p, &err), SY_ERR_USAGE, "more ranks than experts are refused");
    is_str(err.text,
           "9 ranks cannot share 8 experts, since a rank without experts would do nothing; start at most 8 ranks",
           "in words");
    is_int(sy_placement_even(1, 0, 1, &p, &err), SY_ERR_USAGE, "no experts");
    is_int(sy_placement_even(-1, 8, 1, &p, &err), SY_ERR_USAGE, "a negative number of layers");
    is_int(sy_placement_even(1, 8, 0, &p, &err), SY_ERR_USAGE, "no ranks");
    is_int(sy_placement_even(1 << 20, 1 << 20, 2, &p, &err), SY_ERR_USAGE, "more than can be counted");
    ok(!p, "and nothing is made");
    sy_placement_destroy(NULL);
}

/* Two layers of three experts on two ranks; the table is data, not a formula: expert 1 of layer 0 has two homes, the
 * experts of layer 1 lie the other way round, and rank 1 holds a different number in each. */
static void test_replicas(void)
{
    int first[] = {0, 1, 3, 4, 5, 6, 7};
    struct sy_home homes[] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}, {1, 0}, {0, 1}, {0, 0}};
    struct sy_placement p = {.n_layers = 2, .n_experts = 3, .n_ranks = 2, .first = first, .homes = homes};

    is_int(sy_placement_n_local(&p, 0, 0), 2, "a replica counts on its rank");
    is_int(sy_placement_n_local(&p, 0, 1), 2, "and on the other");
    is_int(sy_placement_n_local(&p, 1, 1), 1, "layers differ");
    is_int(sy_placement_expert_at(&p, 0, 1, 0), 1, "the replica's slot");
    is_int(sy_placement_expert_at(&p, 1, 0, 0), 2, "slots need not be in the order of experts");
    is_int(sy_placement_choose(&p, 0, 1, 0).rank, 0, "a source takes the replica on itself");
    is_int(sy_placement_choose(&p, 0, 1, 1).rank, 1, "so does the other");
    is_int(sy_placement_choose(&p, 0, 1, 1).slot, 0, "in the slot it has there");
    is_int(sy_placement_choose(&p, 0, 2, 0).rank, 1, "a single home is taken by all");
    p.n_ranks = 4;
    ok(sy_placement_choose(&p, 0, 1, 2).rank == 0 && sy_placement_choose(&p, 0, 1, 3).rank == 1,
       "ranks without a replica share them");
}

int main(void)
{
    test_even();
    test_refused();
    test_replicas();
    done();
    return tap_exit();
}
