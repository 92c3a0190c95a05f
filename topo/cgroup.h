/* SPDX-License-Identifier: Apache-2.0
 * cgroup.h - what a container or batch system lets this process use
 *
 * Both versions of Linux control groups are read, at every level from this process's group up to the mount, since each level
 * limits the ones below. What cannot be read is no limit.
 */
#ifndef SY_TOPO_CGROUP_H
#define SY_TOPO_CGROUP_H

#include <stdint.h>

struct sy_cgroup {
    double cpu_quota;           /* cores; 0: no limit */
    uint64_t memory_bytes;      /* the lowest limit; UINT64_MAX: none */
    uint64_t memory_free_bytes; /* what the levels leave, page cache counted as free; UINT64_MAX: no limit */
};

/* root stands before every path: "" for this machine, a folder with a recorded machine in tests. */
void sy_cgroup_read(const char *root, struct sy_cgroup *out);

#endif
