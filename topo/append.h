/* SPDX-License-Identifier: Apache-2.0
 * append.h - clusters of one node each become one cluster
 */
#ifndef SY_TOPO_APPEND_H
#define SY_TOPO_APPEND_H

#include "model.h"

/* Add all of other's own parts (not what sy_cluster_finish() made) to into. NVLink fabrics of the same domain and clique become
 * one. Sources keep their places. Errors: SY_ERR_DATA when both have a node of one name; then into is as it was. */
enum sy_status sy_cluster_append(struct sy_cluster *into, const struct sy_cluster *other, struct sy_error *err);

/* Connect nodes of a cluster that has several and no network: their fastest NICs, as rails where all nodes have equally many,
 * else by one switch. Nobody has told of that network, and its source says so (SY_ORIGIN_DEFAULT). */
void sy_cluster_add_network(struct sy_cluster *cluster);

#endif
