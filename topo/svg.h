/* SPDX-License-Identifier: Apache-2.0
 * svg.h - a cluster as a picture
 *
 * Each kind of node is drawn once, with its NUMA nodes side by side: CPUs, PCIe switches, NICs and GPUs from top to bottom,
 * NVSwitches and memories below. Networks are bars at the foot, and the legend has the rate of each type of link.
 */
#ifndef SY_TOPO_SVG_H
#define SY_TOPO_SVG_H

#include "model.h"

/* The cluster is finished. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_svg_write(const struct sy_cluster *cluster, struct sy_buf *out, struct sy_error *err);

#endif
