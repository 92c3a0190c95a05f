/* SPDX-License-Identifier: Apache-2.0
 * gpu.c - GPUs to ranks: evenly, and near where that can be
 */
#include "gpu.h"

#include <hwloc.h>
#include <limits.h>
#include <stdio.h>

/* Ranks that have taken a GPU so far. */
static int load_of(const struct sy_gpu_view *views, int n_ranks, const int *chosen, int64_t pci)
{
    int n = 0;

    for (int r = 0; r < n_ranks; r++)
        n += chosen[r] >= 0 && views[r].pci[chosen[r]] == pci;
    return n;
}

/* GPUs that any rank sees, and of the ranks those that see one. */
static void count(const struct sy_gpu_view *views, int n_ranks, int *n_gpus, int *n_seats)
{
    *n_gpus = *n_seats = 0;
    for (int r = 0; r < n_ranks; r++) {
        *n_seats += views[r].n > 0;
        for (int g = 0; g < views[r].n; g++) {
            bool seen = false;
            for (int s = 0; s < r && !seen; s++)
                for (int h = 0; h < views[s].n && !seen; h++)
                    seen = views[s].pci[h] == views[r].pci[g];
            *n_gpus += !seen;
        }
    }
}

/* The rank without a GPU that has the least choice; -1: all are served. */
static int next_rank(const struct sy_gpu_view *views, int n_ranks, const int *chosen)
{
    int best = -1, least = INT_MAX;

    for (int r = 0; r < n_ranks; r++) {
        int n_near = 0;
        for (int g = 0; g < views[r].n; g++)
            n_near += views[r].near[g];
        /* To whom none is near, any will do. */
        int choice = views[r].n * (SY_GPUS_MAX + 2) + (n_near ? n_near : SY_GPUS_MAX + 1);
        if (chosen[r] < 0 && views[r].n && choice < least) {
            best = r;
            least = choice;
        }
    }
    return best;
}

void sy_gpu_choose(const struct sy_gpu_view *views, int n_ranks, int *chosen)
{
    int n_gpus, n_seats, r;

    count(views, n_ranks, &n_gpus, &n_seats);
    for (r = 0; r < n_ranks; r++)
        chosen[r] = -1;
    if (!n_gpus)
        return;
    /* Each GPU has room for `even` ranks, and n_more of them for one more. */
    int even = n_seats / n_gpus, n_more = n_seats % n_gpus;
    while ((r = next_rank(views, n_ranks, chosen)) >= 0) {
        int best = 0, best_load = 0, least = INT_MAX;
        for (int g = 0; g < views[r].n; g++) {
            int load = load_of(views, n_ranks, chosen, views[r].pci[g]);
            bool room = load < even || (load == even && n_more > 0);
            int cost = (room ? !views[r].near[g] : 2) * (n_ranks + 1) + load;
            if (cost < least) {
                least = cost;
                best = g;
                best_load = load;
            }
        }
        chosen[r] = best;
        n_more -= best_load == even;
    }
}

bool sy_gpu_is_near(const char *root, int64_t pci, const int *cpus, int n_cpus)
{
    char path[4096], list[4096];
    int n_local = 0;

    snprintf(path, sizeof path, "%s/sys/bus/pci/devices/%04x:%02x:%02x.0/local_cpulist", root, (unsigned)(pci >> 16),
             (unsigned)(pci >> 8 & 0xff), (unsigned)(pci & 0xff));
    FILE *f = fopen(path, "re");
    bool told = f && fgets(list, sizeof list, f);
    if (f)
        fclose(f);
    hwloc_bitmap_t local = told ? hwloc_bitmap_alloc() : NULL;
    if (local && hwloc_bitmap_list_sscanf(local, list) == 0)
        for (int i = 0; i < n_cpus; i++)
            n_local += hwloc_bitmap_isset(local, (unsigned)cpus[i]) != 0;
    hwloc_bitmap_free(local);
    return n_local > 0 && 2 * n_local >= n_cpus;
}
