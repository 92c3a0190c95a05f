/* SPDX-License-Identifier: Apache-2.0
 * path.h - how rows get from one device of a cluster to another
 *
 * Of all paths the one with the best class wins, then the one with most bandwidth, then the one with fewest links (NCCL's rule,
 * graph/paths.cc). A path does not pass through a GPU, except one on the way from NVLink to NVLink.
 */
#ifndef SY_TOPO_PATH_H
#define SY_TOPO_PATH_H

#include "model.h"

/* From best to worst; nvidia-smi's words are NV#, PIX, PXB, PHB, SYS. */
enum sy_path_class {
    SY_PATH_SELF,
    SY_PATH_NVLINK,
    SY_PATH_RELAY, /* NVLink through one more GPU */
    SY_PATH_C2C,
    SY_PATH_SHM,     /* memory of the node */
    SY_PATH_PIX,     /* one PCIe switch */
    SY_PATH_PXB,     /* several PCIe switches */
    SY_PATH_HOST,    /* a NUMA node's host bridges */
    SY_PATH_SOCKETS, /* from NUMA node to NUMA node */
    SY_PATH_NETWORK,
    SY_PATH_NONE, /* there is no path */
    SY_N_PATH_CLASSES
};

struct sy_path {
    int cls;                /* enum sy_path_class */
    int n_links;            /* 0 for SELF and NONE */
    int n_lanes;            /* NVLINK: lanes between GPUs, those over all switches together */
    struct sy_real bw;      /* of the narrowest link; unknown when a link's is, or none has a limit */
    struct sy_real latency; /* sum over the links that tell; unknown when none does */
};

/* Paths from one vertex to each: paths[n_vertices]. The cluster is finished. Errors: SY_ERR_SYSTEM (memory). */
enum sy_status sy_paths_from(const struct sy_cluster *cluster, int from, struct sy_path *paths, struct sy_error *err);

/* One path with its links: links[0] leaves from, the last one arrives; those past links_max are left out. Between GPUs over
 * several switches these are the links over one of them. links may be NULL. */
enum sy_status sy_path_find(const struct sy_cluster *cluster, int from, int to, struct sy_path *path, int *links,
                            int links_max, struct sy_error *err);

/* "NVL", "PIX", "NET" ... */
const char *sy_path_class_name(enum sy_path_class cls);

#endif
