/* SPDX-License-Identifier: Apache-2.0
 * hwloc_links.c - GPUs of an hwloc tree, and matrices of links into and out of it
 *
 * Matrices are read as they are: hwloc's own merging of switch ports and its transitive closure lose links in the versions that
 * distributions have.
 */
#include "hwloc_links.h"

#include <stdlib.h>
#include <string.h>

#define NVIDIA 0x10de
#define AMD    0x1002

static void spell(hwloc_obj_t obj, char out[20])
{
    const struct hwloc_pcidev_attr_s *a = &obj->attr->pcidev;

    snprintf(out, 20, "%04x:%02x:%02x.%01x", (unsigned)a->domain, (unsigned)a->bus, (unsigned)a->dev & 0x1f,
             (unsigned)a->func & 7);
}

static hwloc_obj_t compute_of(hwloc_obj_t pci)
{
    for (hwloc_obj_t os = pci->io_first_child; os; os = os->next_sibling)
        if (os->type == HWLOC_OBJ_OS_DEVICE &&
            (os->attr->osdev.type == HWLOC_OBJ_OSDEV_GPU || os->attr->osdev.type == HWLOC_OBJ_OSDEV_COPROC) &&
            os->name &&
            (!strncmp(os->name, "nvml", 4) || !strncmp(os->name, "cuda", 4) || !strncmp(os->name, "rsmi", 4)))
            return os;
    return NULL;
}

/* 3D controllers and accelerators; a display adapter only when a library for computing knows it. */
static bool is_gpu(hwloc_obj_t pci)
{
    unsigned cls = pci->attr->pcidev.class_id, vendor = pci->attr->pcidev.vendor_id;

    if (compute_of(pci))
        return true;
    return (vendor == NVIDIA && cls == 0x0302) || (vendor == AMD && (cls == 0x0380 || cls == 0x0302 || cls == 0x1200));
}

static void describe(hwloc_obj_t pci, struct sy_nvml_gpu *gpu)
{
    sy_nvml_gpu_init(gpu);
    spell(pci, gpu->pci);
    const char *name = hwloc_obj_get_info_by_name(pci, "PCIDevice");
    for (hwloc_obj_t os = pci->io_first_child; os; os = os->next_sibling) {
        const char *model = hwloc_obj_get_info_by_name(os, "GPUModel");
        const char *uuid = hwloc_obj_get_info_by_name(os, "NVIDIAUUID");
        const char *memory = hwloc_obj_get_info_by_name(os, "CUDAGlobalMemorySize");
        if (model)
            name = model;
        if (uuid)
            snprintf(gpu->uuid, sizeof gpu->uuid, "%s", uuid);
        if (memory)
            gpu->memory_bytes = strtoull(memory, NULL, 10) * 1024;
    }
    snprintf(gpu->name, sizeof gpu->name, "%s", name ? name : "");
}

static int by_bus(const void *a, const void *b)
{
    return strcmp(((const struct sy_nvml_gpu *)a)->pci, ((const struct sy_nvml_gpu *)b)->pci);
}

/* Payload of one link, bytes/s, of a GPU whose bundles have so many; the matrix has only the sum. */
static double one_link(const char *model, uint64_t mb)
{
    static const char *const fifth[] = {"B100", "B200", "B300"};

    for (size_t i = 0; i < sizeof fifth / sizeof *fifth; i++)
        if (strstr(model, fifth[i]))
            return mb % 50000 ? 0 : 50e9;
    return mb % 25000 == 0 ? 25e9 : mb % 20000 == 0 ? 20e9 : 0;
}

static void take_link(struct sy_nvml *nvml, hwloc_obj_t a, hwloc_obj_t b, uint64_t mb, bool nvlink)
{
    char pci[20], far_pci[20] = "";
    enum sy_far far = SY_FAR_CPU;

    if (a->type != HWLOC_OBJ_PCI_DEVICE)
        return;
    spell(a, pci);
    int i = sy_nvml_find(nvml, pci);
    if (i < 0)
        return;
    if (b->type == HWLOC_OBJ_PCI_DEVICE) {
        spell(b, far_pci);
        far = sy_nvml_find(nvml, far_pci) >= 0 ? SY_FAR_GPU : SY_FAR_SWITCH;
    }
    double bw = nvlink ? one_link(nvml->gpus[i].name, mb) : 0;
    int n = bw > 0 ? (int)((double)mb * 1e6 / bw) : 1;
    /* A number of links that no GPU has is a number of something else. */
    if (n > 72)
        n = 1;
    if (n == 1)
        bw = (double)mb * 1e6;
    if (sy_nvml_add_link(&nvml->gpus[i], far, far_pci, n, bw))
        nvml->gpus[i].n_up += n;
}

/* Objects of an AMD matrix are OS devices; what counts is the PCI device that each is of. */
static hwloc_obj_t device_of(hwloc_obj_t obj)
{
    return obj && obj->type == HWLOC_OBJ_OS_DEVICE && obj->parent ? obj->parent : obj;
}

/* In a matrix of hops only neighbours count. */
static struct hwloc_distances_s *hops_of(hwloc_topology_t topology)
{
    struct hwloc_distances_s *hops = NULL;
    unsigned n = 1;

    if (hwloc_distances_get_by_name(topology, "XGMIHops", &n, &hops, 0) != 0 || n != 1)
        return NULL;
    return hops;
}

static bool read_matrix(hwloc_topology_t topology, const char *name, struct sy_view *view)
{
    struct hwloc_distances_s *d = NULL, *hops = NULL;
    bool nvlink = !strcmp(name, "NVLinkBandwidth");
    unsigned n = 1;

    if (hwloc_distances_get_by_name(topology, name, &n, &d, 0) != 0 || n < 1 || !d)
        return false;
    if (!nvlink)
        hops = hops_of(topology);
    for (int i = 0; i < view->nvml.n_gpus; i++)
        view->nvml.gpus[i].n_up = 0;
    for (unsigned i = 0; i < d->nbobjs; i++)
        for (unsigned j = 0; j < d->nbobjs; j++) {
            hwloc_obj_t a = device_of(d->objs[i]), b = device_of(d->objs[j]);
            /* The diagonal is made up. */
            if (i == j || !a || !b || a == b || !d->values[i * d->nbobjs + j])
                continue;
            if (hops && hops->nbobjs == d->nbobjs && hops->values[i * d->nbobjs + j] != 1)
                continue;
            take_link(&view->nvml, a, b, d->values[i * d->nbobjs + j], nvlink);
        }
    view->xgmi = !nvlink;
    if (hops)
        hwloc_distances_release(topology, hops);
    hwloc_distances_release(topology, d);
    return true;
}

enum sy_status sy_hwloc_gpus(hwloc_topology_t topology, struct sy_view *view, struct sy_findings *findings,
                             struct sy_error *err)
{
    struct sy_nvml *nvml = &view->nvml;
    hwloc_obj_t obj = NULL;
    bool nvidia = false;

    nvml->gpus = calloc(SY_NVML_GPUS_MAX, sizeof *nvml->gpus);
    if (!nvml->gpus)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for GPUs");
    while ((obj = hwloc_get_next_pcidev(topology, obj))) {
        if (!is_gpu(obj))
            continue;
        if (nvml->n_gpus == SY_NVML_GPUS_MAX) {
            sy_findings_add(findings, SY_FINDING_WARNING, NULL, "GPUs after the first %d are left out",
                            SY_NVML_GPUS_MAX);
            break;
        }
        describe(obj, &nvml->gpus[nvml->n_gpus++]);
        nvidia |= obj->attr->pcidev.vendor_id == NVIDIA;
    }
    qsort(nvml->gpus, (size_t)nvml->n_gpus, sizeof *nvml->gpus, by_bus);
    if (!nvml->n_gpus)
        return SY_OK;
    view->xgmi = !nvidia;
    if (!read_matrix(topology, "NVLinkBandwidth", view) && !read_matrix(topology, "XGMIBandwidth", view))
        sy_findings_add(findings, SY_FINDING_NOTE, NULL, "there is no matrix %s",
                        nvidia ? "NVLinkBandwidth: whether NVLinks join the GPUs is unknown (hwloc makes one from 2.12 "
                                 "on, with its NVML plugin)"
                               : "XGMIBandwidth: whether xGMI joins the GPUs is unknown (hwloc makes one with its "
                                 "RSMI plugin)");
    return SY_OK;
}

void sy_hwloc_put_nvlinks(hwloc_topology_t topology, const struct sy_nvml *nvml)
{
    hwloc_obj_t objs[SY_NVML_GPUS_MAX];
    int number[SY_NVML_GPUS_MAX], n = 0;
    bool any = false;

    for (int i = 0; i < nvml->n_gpus; i++) {
        hwloc_obj_t obj = hwloc_get_pcidev_by_busidstring(topology, nvml->gpus[i].pci);
        if (!obj)
            continue;
        objs[n] = obj;
        number[n++] = i;
    }
    hwloc_uint64_t *values = n > 1 ? calloc((size_t)n * (size_t)n, sizeof *values) : NULL;
    for (int i = 0; values && i < n; i++)
        for (int j = 0; j < n; j++) {
            double bw = 0;
            if (i != j)
                sy_nvml_links(nvml, number[i], number[j], &bw);
            /* What hwloc itself writes on the diagonal. */
            values[i * n + j] = i == j ? 1000000 : (hwloc_uint64_t)(bw * 1e-6);
            any |= bw > 0;
        }
    /* hwloc's own matrix, where its code made one, is of the same links. */
    if (any)
        hwloc_distances_remove_by_depth(topology, HWLOC_TYPE_DEPTH_PCI_DEVICE);
    hwloc_distances_add_handle_t add =
        any ? hwloc_distances_add_create(topology, "NVLinkBandwidth",
                                         HWLOC_DISTANCES_KIND_FROM_USER | HWLOC_DISTANCES_KIND_MEANS_BANDWIDTH, 0)
            : NULL;
    if (add && hwloc_distances_add_values(topology, add, (unsigned)n, objs, values, 0) == 0)
        hwloc_distances_add_commit(topology, add, 0);
    free(values);
}
