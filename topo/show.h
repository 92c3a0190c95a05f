/* SPDX-License-Identifier: Apache-2.0
 * show.h - a cluster as text for a terminal: a tree of each kind of node, networks, and a matrix of GPUs and NICs
 */
#ifndef SY_TOPO_SHOW_H
#define SY_TOPO_SHOW_H

#include "model.h"
#include "view.h"

/* Nodes that look the same are shown once. of[n_nodes]: number of the kind of each node; returns how many kinds there are, -1
 * when there is no memory. Kinds are numbered in the order of their first nodes. */
int sy_show_kinds(const struct sy_cluster *cluster, int *of);

/* The names of the nodes of one kind, "a, b, c", cut with "..." when there are many. */
void sy_show_names(const struct sy_cluster *cluster, const int *of, int kind, char *out, size_t out_bytes);

/* What is inside a node, a line for each part, indented by two blanks. */
bool sy_show_node(const struct sy_cluster *cluster, int node, struct sy_buf *out);

/* The whole cluster, which is finished. */
bool sy_show_cluster(const struct sy_cluster *cluster, struct sy_buf *out);

/* How GPUs and NICs of a node reach each other, in the words of nvidia-smi topo -m (X, NV#, PIX, PXB, PHB, NODE, SYS), and the
 * CPUs and NUMA node beside each GPU. NICs without RDMA are left out, as there. Nothing where there is no GPU. */
bool sy_show_matrix(const struct sy_view *view, struct sy_buf *out);
bool sy_show_node_matrix(const struct sy_cluster *cluster, int node, struct sy_buf *out);

/* "80 GB", "16 GiB" where it is a whole number of them; "memory unknown". */
const char *sy_show_memory(struct sy_real bytes, char *out, size_t out_bytes);
/* What a vertex's links of a class are called: "NVLink", "xGMI", "C2C". */
const char *sy_show_family(const struct sy_cluster *cluster, int vertex, int cls);
/* "25 GB/s", for a network "200 Gb/s"; "unknown rate". */
const char *sy_show_rate(struct sy_real bw, int cls, char *out, size_t out_bytes);

/* The rate of the port by which a device or switch hangs at a PCIe switch or NUMA node; how many links of a class leave a vertex,
 * and *bw what they carry together, unknown when one's is. */
struct sy_real sy_show_port(const struct sy_cluster *cluster, int vertex);
int sy_show_links(const struct sy_cluster *cluster, int vertex, int cls, struct sy_real *bw);

/* The PCIe switch that a vertex hangs at, -1: none. */
int sy_show_switch_above(const struct sy_cluster *cluster, int vertex);

#endif
