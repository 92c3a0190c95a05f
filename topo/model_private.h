/* SPDX-License-Identifier: Apache-2.0
 * model_private.h - what the files of the cluster's model share
 */
#ifndef SY_TOPO_MODEL_PRIVATE_H
#define SY_TOPO_MODEL_PRIVATE_H

#include "model.h"

/* Open addressing; an entry is 1 + what it means, 0 is free. */
struct sy_table {
    uint32_t *slots;
    uint32_t n_slots, n_used;
};

struct sy_pools {
    struct sy_buf texts;        /* NUL after each; starts with "" */
    struct sy_table text_table; /* offset of a text */
    struct sy_table name_table; /* number of a vertex, or SY_NODE_ENTRY */
    uint32_t *files;            /* [n_files] texts; files[0] is "" */
    int n_files;
    int n_made_vertices, n_made_links; /* what was there before sy_cluster_finish() added to it; -1: not finished */
};

/* Room for one more in *array of n; false and out_of_memory when there is none. Arrays grow at powers of two. */
bool sy_cluster_grow(struct sy_cluster *cluster, void *array, int n, size_t item_bytes);

/* A node among vertices in the index of names. */
#define SY_NODE_ENTRY(node)  (INT32_MIN + (node))
#define SY_ENTRY_NODE(entry) ((entry)-INT32_MIN)

/* Put a vertex or node (as SY_NODE_ENTRY) that is in its array into the index of names; false: the name is taken. */
bool sy_cluster_index(struct sy_cluster *cluster, int entry);
/* A new index of all nodes and vertices. */
void sy_cluster_reindex(struct sy_cluster *cluster);

/* Drop what sy_cluster_finish() made: the graphs of fabrics and the links to NUMA nodes. */
void sy_cluster_unfinish(struct sy_cluster *cluster);

bool sy_source_equal(struct sy_source a, struct sy_source b);

#endif
