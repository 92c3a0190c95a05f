/* SPDX-License-Identifier: Apache-2.0
 * places.h - where a cluster's ranks run, for a launcher: one line for each rank
 */
#ifndef SY_TOPO_PLACES_H
#define SY_TOPO_PLACES_H

#include "base/buf.h"
#include "model.h"

/* Append "HOST CORES\n" for each rank of a finished cluster, in their order. HOST is the node's host name, or its own name where
 * that is a glob or unknown. CORES is "cpus=0-3,8", CPUs by the system's numbers, where all ranks' devices (for a GPU: its NUMA
 * node) say their CPUs; else "cores=4-7", cores of the node counted from 0 in the order of its CPU devices, where all ranks have
 * CPU devices that say how many; else "-" for all, as launchers bind all ranks of a job or none. False: there is no memory. */
bool sy_places_write(const struct sy_cluster *cluster, struct sy_buf *out);

#endif
