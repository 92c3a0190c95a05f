/* SPDX-License-Identifier: Apache-2.0
 * discover.h - what this machine is: cores that we may use, NUMA nodes, memory (hwloc)
 */
#ifndef SY_TOPO_DISCOVER_H
#define SY_TOPO_DISCOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SY_CPUS_MAX 4096

struct sy_machine {
    char host[256];
    char cpu_model[128];
    int n_cores;          /* physical cores with at least one CPU that this process may use */
    int n_cpus;           /* logical CPUs that this process may use */
    int n_numa;
    int cpus[SY_CPUS_MAX];  /* [n_cores] one logical CPU of each core, neighbours first */
    size_t memory_bytes;      /* of the machine, or of the cgroup where that is less */
    size_t memory_free_bytes; /* available now, by the same rule */
    double cpu_quota;     /* cores that a cgroup limit leaves, 0: no limit */
    uint64_t cpus_key;    /* equal for processes of this machine that may use the same CPUs */
};

/* Look. Errors: SY_ERR_SYSTEM when hwloc cannot load the topology. */
enum sy_status sy_machine_discover(struct sy_machine *machine, struct sy_error *err);

/* Threads for one of n_local ranks that may use the same CPUs (as cpus_key tells: all ranks of the machine, or one where the
 * launcher has bound each to cores of its own): cores over ranks, at least 1, at most what the quota keeps busy. */
int sy_machine_threads(const struct sy_machine *machine, int n_local);

/* CPUs for the threads of local rank `local` of n_local, each thread one core: returns 1 and fills cpus[n_threads], or 0 when
 * there are fewer cores than threads in all or a quota shares the cores with others (then nothing should be bound). */
int sy_machine_bind(const struct sy_machine *machine, int local, int n_local, int n_threads, int *cpus);

/* Leave only the cores of a list of CPUs, "0-15,32". False when that is no list or leaves no core: then nothing changes. */
bool sy_machine_narrow(struct sy_machine *machine, const char *cpus);

#endif
