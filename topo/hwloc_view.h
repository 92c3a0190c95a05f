/* SPDX-License-Identifier: Apache-2.0
 * hwloc_view.h - machines as hwloc tells them: its topology of this machine, and its XML files
 */
#ifndef SY_TOPO_HWLOC_VIEW_H
#define SY_TOPO_HWLOC_VIEW_H

#include <hwloc.h>

#include "base/buf.h"
#include "view.h"

/* Which PCI devices count as GPUs. */
enum sy_gpus_from {
    SY_GPUS_GIVEN,  /* those in view->nvml, which is filled already */
    SY_GPUS_IN_TREE /* those that the tree shows; view->nvml is made from it and from its matrices of links */
};

/* Fill view from a loaded topology. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_hwloc_view(hwloc_topology_t topology, enum sy_gpus_from gpus, struct sy_view *view,
                             struct sy_findings *findings, struct sy_error *err);

/* Write down NVLinks between GPUs as hwloc's own matrix NVLinkBandwidth (MB/s in one direction), which its own code does
 * not make for GPUs of 2020 and later before version 2.12. */
void sy_hwloc_put_nvlinks(hwloc_topology_t topology, const struct sy_nvml *nvml);

/* A file of lstopo's, version 1 or 2 of the format. name: for messages, which begin "NAME:LINE:COLUMN: ".
 * Errors: SY_ERR_DATA; SY_ERR_SYSTEM. */
enum sy_status sy_hwloc_xml_read(const char *name, const char *text, size_t len, struct sy_view *view,
                                 struct sy_findings *findings, struct sy_error *err);

/* The topology as XML of version 2. Errors: SY_ERR_IO, SY_ERR_SYSTEM. */
enum sy_status sy_hwloc_xml_write(hwloc_topology_t topology, const char *path, struct sy_error *err);

#endif
