/* SPDX-License-Identifier: Apache-2.0
 * hwloc_view.c - NUMA nodes, PCIe switches, NICs and GPUs of an hwloc topology
 */
#include "hwloc_view.h"

#include <stdlib.h>
#include <string.h>

#include "hwloc_links.h"

static void pci_of(hwloc_obj_t obj, char out[20])
{
    const struct hwloc_pcidev_attr_s *a = obj->type == HWLOC_OBJ_BRIDGE ? &obj->attr->bridge.upstream.pci
                                                                        : &obj->attr->pcidev;

    snprintf(out, 20, "%04x:%02x:%02x.%01x", (unsigned)a->domain & 0xffffffffu, (unsigned)a->bus,
             (unsigned)a->dev & 0x1f, (unsigned)a->func & 7);
}

/* Bytes of the caches of a level that lie all inside a set of CPUs. */
static uint64_t caches_in(hwloc_topology_t topology, hwloc_const_cpuset_t cpus, hwloc_obj_type_t type)
{
    uint64_t bytes = 0;
    hwloc_obj_t obj = NULL;

    while (cpus && (obj = hwloc_get_next_obj_by_type(topology, type, obj)))
        if (obj->cpuset && !hwloc_bitmap_iszero(obj->cpuset) && hwloc_bitmap_isincluded(obj->cpuset, cpus))
            bytes += obj->attr->cache.size;
    return bytes;
}

static void read_numa(hwloc_topology_t topology, struct sy_view *view, struct sy_findings *findings)
{
    hwloc_obj_t obj = NULL;
    int core_depth = hwloc_get_type_depth(topology, HWLOC_OBJ_CORE);

    /* hwloc's own function that would do this relies on there being PUs, which not every file has. */
    if (core_depth < 0)
        core_depth = hwloc_get_type_depth(topology, HWLOC_OBJ_PU);

    while ((obj = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, obj))) {
        if (view->n_numa == SY_VIEW_NUMA_MAX) {
            sy_findings_add(findings, SY_FINDING_WARNING, NULL, "NUMA nodes after the first %d are left out",
                            SY_VIEW_NUMA_MAX);
            return;
        }
        struct sy_view_numa *numa = &view->numa[view->n_numa++];
        numa->number = (int)obj->os_index;
        numa->bytes = obj->attr->numanode.local_memory;
        hwloc_bitmap_list_snprintf(numa->cpus, sizeof numa->cpus, obj->cpuset);
        int n = core_depth < 0 ? 0 : hwloc_get_nbobjs_inside_cpuset_by_depth(topology, obj->cpuset, core_depth);
        numa->n_cores = n > 0 ? n : 0;
        numa->l2_bytes = caches_in(topology, obj->cpuset, HWLOC_OBJ_L2CACHE);
        numa->l3_bytes = caches_in(topology, obj->cpuset, HWLOC_OBJ_L3CACHE);
    }
}

/* The NUMA node beside which an I/O object is; -1 where it may be at any of several. */
static int numa_of(hwloc_topology_t topology, const struct sy_view *view, hwloc_obj_t obj)
{
    hwloc_obj_t at = hwloc_get_non_io_ancestor_obj(topology, obj);
    int found = -1;

    for (int i = 0; at && at->nodeset && i < view->n_numa; i++) {
        if (!hwloc_bitmap_isset(at->nodeset, (unsigned)view->numa[i].number))
            continue;
        if (found >= 0)
            return -1;
        found = i;
    }
    return found;
}

static bool is_port(hwloc_obj_t obj)
{
    return obj && obj->type == HWLOC_OBJ_BRIDGE && obj->attr->bridge.upstream_type == HWLOC_OBJ_BRIDGE_PCI;
}

/* Ports from the root downward: a root port is 0, the upstream port of a switch 1, its downstream ports 2. */
static int port_level(hwloc_obj_t obj)
{
    int level = 0;

    while (is_port(obj->parent)) {
        obj = obj->parent;
        level++;
    }
    return level;
}

static bool is_switch(hwloc_obj_t obj)
{
    if (!is_port(obj) || port_level(obj) % 2 == 0)
        return false;
    for (hwloc_obj_t child = obj->io_first_child; child; child = child->next_sibling)
        if (is_port(child))
            return true;
    return false;
}

/* The number of the switch above an object, which is added when it is new, with those above it. */
static int upstream_of(hwloc_topology_t topology, struct sy_view *view, hwloc_obj_t obj)
{
    char pci[20];

    do {
        obj = obj->parent;
    } while (obj && !is_switch(obj) && is_port(obj));
    if (!obj || !is_switch(obj))
        return -1;
    pci_of(obj, pci);
    for (int i = 0; i < view->n_switches; i++)
        if (!strcmp(view->switches[i].pci, pci))
            return i;
    if (view->n_switches == SY_VIEW_SWITCHES_MAX)
        return -1;
    int numa = numa_of(topology, view, obj), above = upstream_of(topology, view, obj);
    if (view->n_switches == SY_VIEW_SWITCHES_MAX)
        return -1;
    struct sy_view_switch *s = &view->switches[view->n_switches];
    snprintf(s->pci, sizeof s->pci, "%s", pci);
    s->at = (struct sy_view_place){
        .numa = numa, .upstream = above, .bridge = -1, .bw = obj->attr->bridge.upstream.pci.linkspeed * 1e9};
    return view->n_switches++;
}

static struct sy_view_place place_of(hwloc_topology_t topology, struct sy_view *view, hwloc_obj_t obj)
{
    struct sy_view_place at = {
        .numa = numa_of(topology, view, obj), .bridge = -1, .bw = obj->attr->pcidev.linkspeed * 1e9};

    at.upstream = upstream_of(topology, view, obj);
    while (obj->parent && (obj->parent->type == HWLOC_OBJ_BRIDGE || obj->parent->type == HWLOC_OBJ_PCI_DEVICE))
        obj = obj->parent;
    at.bridge = obj->type == HWLOC_OBJ_BRIDGE ? (int)obj->logical_index : -1;
    return at;
}

/* The system's names of a NIC: that of its RDMA device goes before that of its network interface. */
static void name_nic(hwloc_obj_t pci, struct sy_view_nic *nic)
{
    for (hwloc_obj_t os = pci->io_first_child; os; os = os->next_sibling) {
        if (os->type != HWLOC_OBJ_OS_DEVICE || !os->name)
            continue;
        const char *guid = hwloc_obj_get_info_by_name(os, "NodeGUID");
        bool rdma = os->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS;
        if (!rdma && (os->attr->osdev.type != HWLOC_OBJ_OSDEV_NETWORK || nic->device[0]))
            continue;
        snprintf(nic->device, sizeof nic->device, "%s", os->name);
        if (rdma && nic->cls < 0)
            nic->cls = SY_LINK_IB;
        nic->rdma |= rdma;
        if (guid)
            snprintf(nic->guid, sizeof nic->guid, "%s", guid);
        if (rdma)
            break;
    }
}

static void read_nics(hwloc_topology_t topology, struct sy_view *view, struct sy_findings *findings)
{
    hwloc_obj_t obj = NULL;

    while ((obj = hwloc_get_next_pcidev(topology, obj))) {
        struct sy_view_nic nic = {.cls = -1, .number = -1, .rail = -1, .plane = -1};
        name_nic(obj, &nic);
        if (!nic.device[0])
            continue;
        if (view->n_nics == SY_VIEW_NICS_MAX) {
            sy_findings_add(findings, SY_FINDING_WARNING, NULL, "NICs after the first %d are left out",
                            SY_VIEW_NICS_MAX);
            return;
        }
        pci_of(obj, nic.pci);
        nic.at = place_of(topology, view, obj);
        view->nics[view->n_nics++] = nic;
    }
}

static void place_gpus(hwloc_topology_t topology, struct sy_view *view)
{
    for (int i = 0; i < view->nvml.n_gpus; i++) {
        hwloc_obj_t obj = hwloc_get_pcidev_by_busidstring(topology, view->nvml.gpus[i].pci);
        view->gpus[i] = obj ? place_of(topology, view, obj)
                            : (struct sy_view_place){.numa = -1, .upstream = -1, .bridge = -1};
        /* On a machine with one NUMA node there is no doubt. */
        if (view->gpus[i].numa < 0 && view->n_numa == 1)
            view->gpus[i].numa = 0;
    }
}

static void take_info(hwloc_obj_t obj, const char *name, char *out, size_t out_bytes)
{
    const char *value = hwloc_obj_get_info_by_name(obj, name);

    snprintf(out, out_bytes, "%s", value ? value : "");
}

enum sy_status sy_hwloc_view(hwloc_topology_t topology, enum sy_gpus_from gpus, struct sy_view *view,
                             struct sy_findings *findings, struct sy_error *err)
{
    hwloc_obj_t root = hwloc_get_root_obj(topology), package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
    const char *model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;
    const char *host = hwloc_obj_get_info_by_name(root, "HostName");
    enum sy_status st = SY_OK;

    if (!model)
        model = hwloc_obj_get_info_by_name(root, "CPUModel");
    /* Some processors end their names in blanks. */
    int len = (int)strlen(model ? model : "");
    while (len && model[len - 1] == ' ')
        len--;
    snprintf(view->cpu_model, sizeof view->cpu_model, "%.*s", len, model ? model : "");
    take_info(root, "Architecture", view->arch, sizeof view->arch);
    if (package) {
        take_info(package, "CPUVendor", view->cpu_vendor, sizeof view->cpu_vendor);
        take_info(package, "CPUFamilyNumber", view->cpu_family, sizeof view->cpu_family);
        take_info(package, "CPUModelNumber", view->cpu_number, sizeof view->cpu_number);
    }
    if (!view->host[0] && host)
        snprintf(view->host, sizeof view->host, "%s", host);
    const char *name = hwloc_obj_get_info_by_name(root, "OSName"),
               *release = hwloc_obj_get_info_by_name(root, "OSRelease");
    if (name && release)
        snprintf(view->os, sizeof view->os, "%.60s %.60s", name, release);
    read_numa(topology, view, findings);
    if (gpus == SY_GPUS_IN_TREE)
        st = sy_hwloc_gpus(topology, view, findings, err);
    if (st)
        return st;
    place_gpus(topology, view);
    read_nics(topology, view, findings);
    return SY_OK;
}
