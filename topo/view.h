/* SPDX-License-Identifier: Apache-2.0
 * view.h - one machine as one source saw it: NUMA nodes, PCIe switches, NICs, GPUs
 *
 * Discovery (hwloc, sysfs, NVML) and the readers of hwloc's and NCCL's XML all fill it; a node of a cluster (model.h) and NCCL's
 * XML are made from it. It refers to its parts by number, has limits on all of them, and is large: it lives on the heap.
 * Unknown: -1 for numbers, 0 for bytes and rates, "" for texts.
 */
#ifndef SY_TOPO_VIEW_H
#define SY_TOPO_VIEW_H

#include <stdint.h>

#include "finding.h"
#include "model.h"
#include "nvml.h"

#define SY_VIEW_NUMA_MAX     256
#define SY_VIEW_SWITCHES_MAX 256
#define SY_VIEW_NICS_MAX     256

struct sy_view_numa {
    int number; /* the system's, which may have gaps */
    int n_cores;
    uint64_t bytes, l2_bytes, l3_bytes; /* memory; caches, all of a level together */
    char cpus[512];                     /* "0-15,32" */
    int line, column;
};

/* Where a PCI device hangs. */
struct sy_view_place {
    int numa;     /* index, -1: unknown */
    int upstream; /* PCIe switch, -1: none */
    int bridge;   /* number of the host bridge, -1: unknown */
    double bw;    /* of its port, one direction, bytes/s */
    int line, column;
};

struct sy_view_switch {
    char pci[20];
    struct sy_view_place at;
};

struct sy_view_nic {
    char pci[20], device[64], guid[32]; /* device: "mlx5_0", "eth0" */
    int cls;                            /* enum sy_link_class of its port; -1: unknown */
    double port_bw;                     /* one direction, bytes/s */
    int number;                         /* the source's own; -1 */
    bool rdma;
    int rail, plane; /* where they are told; -1 */
    struct sy_view_place at;
};

struct sy_view {
    char host[256], cpu_model[128], os[128];
    char arch[32], cpu_vendor[32], cpu_family[16], cpu_number[16]; /* "x86_64", "GenuineIntel", "6", "85" */
    int n_numa, n_switches, n_nics;
    struct sy_view_numa numa[SY_VIEW_NUMA_MAX];
    struct sy_view_switch switches[SY_VIEW_SWITCHES_MAX];
    struct sy_view_nic nics[SY_VIEW_NICS_MAX];
    struct sy_nvml nvml;
    struct sy_view_place gpus[SY_NVML_GPUS_MAX]; /* as nvml.gpus */
    bool xgmi;                                   /* GPUs, and the links between them, are AMD's */
};

struct sy_view *sy_view_create(void);
void sy_view_destroy(struct sy_view *view);

/* This machine. nvml_library: as sy_nvml_read(). sysfs: what stands before "/sys" ("" for this machine). *topology: hwloc's
 * view of it with the NVLinks put back as a matrix, for sy_hwloc_xml_write(); NULL: not wanted. Errors: SY_ERR_SYSTEM. */
struct hwloc_topology;
enum sy_status sy_view_discover(const char *nvml_library, const char *sysfs, struct sy_view *view,
                                struct hwloc_topology **topology, struct sy_findings *findings, struct sy_error *err);

/* Add the machine to a cluster as a node. name: of the node; NULL: made from the host. from: where values come from; for an
 * imported file its number stands there and each value gets its own line. The cluster is not finished. Errors: SY_ERR_DATA (the
 * name is taken). */
enum sy_status sy_view_add(const struct sy_view *view, const char *name, struct sy_source from,
                           struct sy_cluster *cluster, struct sy_error *err);

/* Payload of a PCIe port in one direction, before packet headers, bytes/s: gt_s per lane and lanes; 0: unknown. */
double sy_pcie_bw(double gt_s, int lanes);

#endif
