/* SPDX-License-Identifier: Apache-2.0
 * cluster.h - cluster files: YAML to the model of a cluster, and back
 *
 * What such a file may say is in README.md, "Cluster files"; topo/clusters/ has examples. Everything wrong with one is reported
 * with its place, in one run.
 */
#ifndef SY_TOPO_CLUSTER_H
#define SY_TOPO_CLUSTER_H

#include "model.h"
#include "report.h"

#define SY_CLUSTER_VERSION 1

/* Read a file and those it includes: a finished cluster, or NULL where the report has an error. */
struct sy_cluster *sy_cluster_read(const char *path, struct sy_report *report);

/* The same from memory; name stands for it in messages, and included files are looked for beside it. */
struct sy_cluster *sy_cluster_read_text(const char *name, const char *text, size_t n, struct sy_report *report);

/* What a job needs of a cluster: its ranks reach one another, over links whose bandwidth is known. Where not, that is an error of
 * a cluster that no machine will complete (policy discover: off), which is looked at in this way when it is read, and of others a
 * warning. */
void sy_cluster_check(const struct sy_cluster *cluster, struct sy_report *report);

/* Write a cluster as such a file, appended to out; with sources each value has a comment that says where it is from. Read again
 * it is equal, and written again the same text, comments aside. Errors: SY_ERR_SYSTEM (memory). */
enum sy_status sy_cluster_dump(const struct sy_cluster *cluster, bool sources, struct sy_buf *out,
                               struct sy_error *err);

/* Bring what was found (discovered or imported) into a cluster that a file described. Nodes are the machines whose host name they
 * have or match, GPUs and NICs those with their PCI address, UUID or device name where the file gives one, else by their order.
 * fill: what the file does not say is taken over value by value; devices, NICs, switches and links of a node, and fabrics, where
 * the file has none. verify: each difference is an error in the report, and then the same; off: nothing happens. The cluster is
 * finished anew, vertices may have other numbers. Both are finished before. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_cluster_merge(struct sy_cluster *cluster, const struct sy_cluster *found,
                                enum sy_discover_policy policy, struct sy_report *report, struct sy_error *err);

/* Is a node of the cluster this host, by its name or pattern, with or without its domain? */
bool sy_cluster_is_host(const struct sy_cluster *cluster, int node, const char *host);

/* Where a value stands, for a report; without a file it is "discovered" or the like. */
struct sy_place sy_cluster_place(const struct sy_cluster *cluster, struct sy_source from);

#endif
