/* SPDX-License-Identifier: Apache-2.0
 * gather.h - what the first rank of each node discovers, brought together as one cluster
 */
#ifndef SY_CLI_GATHER_H
#define SY_CLI_GATHER_H

#include "comm/group.h"
#include "finding.h"
#include "model.h"
#include "view.h"

/* Collective. *cluster: on rank 0 the finished cluster, NULL elsewhere; nodes are called as their hosts up to the first dot, and
 * a second one of a name gets its number behind it. view, topology (either may be NULL): rank 0's own machine, which the caller
 * destroys. findings: on rank 0 those of all nodes. Errors, the same on all ranks: SY_ERR_SYSTEM, SY_ERR_PEER. */
enum sy_status sy_gather_cluster(struct sy_group *group, struct sy_cluster **cluster, struct sy_view **view,
                                 struct hwloc_topology **topology, struct sy_findings *findings, struct sy_error *err);

#endif
