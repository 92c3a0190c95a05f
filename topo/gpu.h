/* SPDX-License-Identifier: Apache-2.0
 * gpu.h - which rank of a node takes which GPU
 *
 * A pure function of what the ranks of one node see, the same on each of them; no MPI and no CUDA.
 */
#ifndef SY_TOPO_GPU_H
#define SY_TOPO_GPU_H

#include <stdbool.h>
#include <stdint.h>

#define SY_GPUS_MAX 32

/* The GPUs that one rank sees, in CUDA's order; other ranks may see others (CUDA_VISIBLE_DEVICES, Slurm). */
struct sy_gpu_view {
    int32_t n;
    bool near[SY_GPUS_MAX];   /* [n] it hangs at the rank's cores */
    /* [n] the same number on every rank: domain << 16 | bus << 8 | device; negative: not told. */
    int64_t pci[SY_GPUS_MAX];
};

/* chosen[n_ranks]: each rank's GPU, a number in its own view; -1 where it sees none. GPUs get equal numbers of ranks, or one
 * more, as far as the views allow it; under that rule a rank takes one that is near, of those the emptiest, then the first. Ranks
 * with the least choice are served first, whatever their number. */
void sy_gpu_choose(const struct sy_gpu_view *views, int n_ranks, int *chosen);

/* At least half of the CPUs are those that the kernel says are local to the GPU (sysfs below root, "" for this machine's); false
 * too where it does not tell. */
bool sy_gpu_is_near(const char *root, int64_t pci, const int *cpus, int n_cpus);

#endif
