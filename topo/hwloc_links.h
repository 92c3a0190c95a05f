/* SPDX-License-Identifier: Apache-2.0
 * hwloc_links.h - GPUs of an hwloc tree and its matrices of links (private to topo)
 */
#ifndef SY_TOPO_HWLOC_LINKS_H
#define SY_TOPO_HWLOC_LINKS_H

#include "hwloc_view.h"

/* Make view->nvml from the tree. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_hwloc_gpus(hwloc_topology_t topology, struct sy_view *view, struct sy_findings *findings,
                             struct sy_error *err);

#endif
