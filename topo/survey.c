/* SPDX-License-Identifier: Apache-2.0
 * survey.c - a view of this machine: hwloc's tree, NVIDIA's library, and what sysfs says of ports
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hwloc_view.h"

/* The first line of a file below /sys; false when there is none. */
static bool read_line(const char *sysfs, const char *path, char *out, size_t out_bytes)
{
    char full[1024];

    snprintf(full, sizeof full, "%s/sys/%s", sysfs, path);
    FILE *f = fopen(full, "re");
    bool told = f && fgets(out, (int)out_bytes, f);
    if (f)
        fclose(f);
    if (told)
        out[strcspn(out, "\n")] = 0;
    return told;
}

/* "32.0 GT/s PCIe" and "16": the most that the port of a device can; 0: not told, or as a virtual machine makes it up. */
static double port_bw(const char *sysfs, const char *pci)
{
    char path[256], speed[64], width[64];

    snprintf(path, sizeof path, "bus/pci/devices/%s/max_link_speed", pci);
    if (!read_line(sysfs, path, speed, sizeof speed))
        return 0;
    snprintf(path, sizeof path, "bus/pci/devices/%s/max_link_width", pci);
    if (!read_line(sysfs, path, width, sizeof width))
        return 0;
    double gt_s = strtod(speed, NULL);
    int lanes = atoi(width);
    if (lanes > 32 || (lanes <= 1 && gt_s <= 2.5))
        return 0;
    return sy_pcie_bw(gt_s, lanes);
}

/* "400 Gb/sec (4X NDR)" and "InfiniBand" or "Ethernet", of an RDMA device. */
static bool read_rdma(const char *sysfs, struct sy_view_nic *nic)
{
    char path[256], text[128];

    snprintf(path, sizeof path, "class/infiniband/%s/ports/1/rate", nic->device);
    if (!read_line(sysfs, path, text, sizeof text))
        return false;
    nic->port_bw = strtod(text, NULL) * 1e9 / 8;
    snprintf(path, sizeof path, "class/infiniband/%s/ports/1/link_layer", nic->device);
    nic->cls = read_line(sysfs, path, text, sizeof text) && !strcmp(text, "Ethernet") ? SY_LINK_ETHERNET : SY_LINK_IB;
    return true;
}

/* Mb/s of a network interface; -1 where the link is down, or virtual. */
static void read_port(const char *sysfs, struct sy_view_nic *nic)
{
    char path[256], text[64];

    if (read_rdma(sysfs, nic))
        return;
    if (nic->cls < 0)
        nic->cls = SY_LINK_ETHERNET;
    snprintf(path, sizeof path, "class/net/%s/speed", nic->device);
    if (read_line(sysfs, path, text, sizeof text) && atof(text) > 0)
        nic->port_bw = atof(text) * 1e6 / 8;
}

static void read_ports(const char *sysfs, struct sy_view *view)
{
    static const double gt_s[] = {0, 2.5, 5, 8, 16, 32, 64};

    for (int i = 0; i < view->n_nics; i++) {
        view->nics[i].at.bw = port_bw(sysfs, view->nics[i].pci);
        read_port(sysfs, &view->nics[i]);
    }
    for (int i = 0; i < view->n_switches; i++)
        view->switches[i].at.bw = port_bw(sysfs, view->switches[i].pci);
    for (int i = 0; i < view->nvml.n_gpus; i++) {
        const struct sy_nvml_gpu *gpu = &view->nvml.gpus[i];
        /* What NVML says is the most that both ends can; hwloc's figure is the present one, which falls while a GPU is idle. */
        if (gpu->pcie_gen > 0 && gpu->pcie_gen <= 6 && gpu->pcie_width > 0 &&
            (gpu->pcie_gen > 1 || gpu->pcie_width > 1))
            view->gpus[i].bw = sy_pcie_bw(gt_s[gpu->pcie_gen], gpu->pcie_width);
        else
            view->gpus[i].bw = gpu->pcie_gen ? 0 : port_bw(sysfs, gpu->pci);
    }
}

static enum sy_status load(hwloc_topology_t *topology, struct sy_error *err)
{
    if (hwloc_topology_init(topology) != 0)
        return sy_error_errno(err, SY_ERR_SYSTEM, "hwloc cannot begin to look at this machine");
    /* Linux tells caches too; asking each CPU itself takes longer and moves this process about. */
    hwloc_topology_set_components(*topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "x86");
    hwloc_topology_set_io_types_filter(*topology, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    if (hwloc_topology_load(*topology) == 0)
        return SY_OK;
    hwloc_topology_destroy(*topology);
    return sy_error_errno(err, SY_ERR_SYSTEM, "hwloc cannot load the topology of this machine");
}

enum sy_status sy_view_discover(const char *nvml_library, const char *sysfs, struct sy_view *view,
                                struct hwloc_topology **topology, struct sy_findings *findings, struct sy_error *err)
{
    hwloc_topology_t loaded;
    enum sy_status st = sy_nvml_read(nvml_library, &view->nvml, findings, err);

    if (st)
        return st;
    sy_nvml_check(&view->nvml, NULL, findings);
    st = load(&loaded, err);
    if (st)
        return st;
    if (gethostname(view->host, sizeof view->host - 1) != 0)
        snprintf(view->host, sizeof view->host, "unknown");
    st = sy_hwloc_view(loaded, SY_GPUS_GIVEN, view, findings, err);
    /* Where memory was added while the system ran, the NUMA node does not know of it. */
    uint64_t installed = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (!st && view->n_numa == 1 && hwloc_topology_is_thissystem(loaded) && view->numa[0].bytes < installed)
        view->numa[0].bytes = installed;
    if (!st) {
        read_ports(sysfs, view);
        sy_hwloc_put_nvlinks(loaded, &view->nvml);
    }
    if (!st && topology)
        *topology = loaded;
    else
        hwloc_topology_destroy(loaded);
    return st;
}
