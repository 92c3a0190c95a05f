/* SPDX-License-Identifier: Apache-2.0
 * cluster_merge.h - what the parts of the merge of a cluster file with what was found share
 */
#ifndef SY_TOPO_CLUSTER_MERGE_H
#define SY_TOPO_CLUSTER_MERGE_H

#include "cluster.h"

/* Who is who; -1: nobody. */
struct sy_match {
    const struct sy_cluster *file, *found;
    int *node;        /* [file->n_nodes] of found */
    int *node_back;   /* [found->n_nodes] of file */
    int *vertex;      /* [file->n_vertices] of found */
    int *vertex_back; /* [found->n_vertices] of file */
};

/* cluster_match.c: Errors: SY_ERR_SYSTEM. */
enum sy_status sy_match_init(struct sy_match *match, const struct sy_cluster *file, const struct sy_cluster *found,
                             struct sy_error *err);
void sy_match_fini(struct sy_match *match);
/* Several devices of the file, v among them, stand for w that was found. */
bool sy_match_shared(const struct sy_match *match, int v, int w);

/* cluster_verify.c */
void sy_match_verify(const struct sy_match *match, struct sy_report *report);

#endif
