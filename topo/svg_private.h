/* SPDX-License-Identifier: Apache-2.0
 * svg_private.h - places of a picture's boxes (private to topo)
 */
#ifndef SY_TOPO_SVG_PRIVATE_H
#define SY_TOPO_SVG_PRIVATE_H

#include "svg.h"

enum {
    SVG_COLUMN = 156, /* width of a device */
    SVG_GAP = 14,
    SVG_PAD = 14,
    SVG_GROUP_GAP = 44, /* between NUMA nodes: the links between sockets */
    SVG_TITLE = 26,
    SVG_CPU = 52,
    SVG_BAR = 8, /* host bridges of a NUMA node */
    SVG_SWITCH = 36,
    SVG_NIC = 50,
    SVG_GPU = 80,
    SVG_HUB = 36, /* NVSwitches, memories */
    SVG_ROW_GAP = 22,
    SVG_HUB_GAP = 96, /* room for NVLinks */
    SVG_PILL = 24,
};

struct svg_box {
    double x, y, w, h;
};

/* A NUMA node; of those that no source places the last group has the devices. */
struct svg_group {
    int numa; /* -1: unknown */
    struct svg_box box;
};

#define SVG_GROUPS_MAX 258

/* One node, its corner at 0, 0. */
struct svg_plan {
    const struct sy_cluster *c;
    int node, n_groups, depth; /* rows of PCIe switches */
    bool has_cpus, has_nics, has_gpus, has_hubs;
    double w, h;
    double y_cpu, y_bar, y_switch, y_nic, y_gpu, y_hub, y_pill;
    struct svg_group *groups; /* [SVG_GROUPS_MAX] */
    struct svg_box *boxes;    /* [n_vertices]; w 0: not drawn */
};

/* Place everything of a node. False: no memory, and nothing to free. */
bool sy_svg_plan(const struct sy_cluster *cluster, int node, struct svg_plan *plan);
void sy_svg_unplan(struct svg_plan *plan);

#endif
