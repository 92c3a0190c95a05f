/* SPDX-License-Identifier: Apache-2.0
 * view.c - this machine with the GPUs of others: discovery, hwloc's matrix, and several machines as one cluster
 */
#include "view.h"

#include <hwloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "append.h"
#include "fixture.h"
#include "hwloc_view.h"
#include "path.h"
#include "redump.h"
#include "tap.h"

static struct sy_error err = SY_ERROR_INIT;

/* This machine, as if it had the GPUs of a recorded one. */
static struct sy_view *discover(const char *machine, const char *sysfs, hwloc_topology_t *topology)
{
    char lib[4096], data[4096], name[128];
    const char *build = getenv("SY_BUILDDIR");
    struct sy_view *view = sy_view_create();

    snprintf(lib, sizeof lib, "%.4000s/tests/topo/fake/libnvidia-ml.so.1", build ? build : ".");
    snprintf(name, sizeof name, "tests/data/nvml/%.80s", machine);
    setenv("FAKE_NVML", fixture_path(name, data, sizeof data), 1);
    if (!view || sy_view_discover(lib, sysfs, view, topology, NULL, &err))
        bail("%s: %s", machine, err.text);
    return view;
}

static struct sy_cluster *cluster_of(const struct sy_view *view, const char *name)
{
    struct sy_cluster *c = sy_cluster_create();

    if (!c || sy_view_add(view, name, sy_source_of(SY_ORIGIN_DISCOVERED), c, &err))
        bail("%s", err.text);
    return c;
}

static void finish(struct sy_cluster *c)
{
    if (sy_cluster_finish(c, &err))
        bail("%s", err.text);
}

static void test_here(void)
{
    struct sy_view *view = discover("none", "", NULL);
    struct sy_cluster *c = cluster_of(view, NULL);
    char host[256] = "";
    int n_cores = 0;

    gethostname(host, sizeof host - 1);
    finish(c);
    is_str(view->host, host, "the view has this machine's name");
    for (int i = 0; i < view->n_numa; i++)
        n_cores += view->numa[i].n_cores;
    ok(view->n_numa >= 1 && n_cores >= 1 && view->numa[0].bytes > 0 && view->numa[0].cpus[0], "cores, memory and CPUs");
    is_int(view->nvml.n_gpus, 0, "no GPU");
    ok(c->n_nodes == 1 && c->n_ranks >= 1 && c->vertices[c->ranks[0]].kind == SY_VERTEX_CPU, "ranks would run on CPUs");
    int cpu = sy_cluster_find_vertex(c, 0, "cpu0");
    ok(cpu >= 0 && SY_KNOWN(c->device_types[c->vertices[cpu].type].cores) &&
           c->vertices[cpu].cpus.from.origin == SY_ORIGIN_DISCOVERED,
       "what was discovered says so");
    redump(c, "this machine");
    sy_cluster_destroy(c);
    sy_view_destroy(view);
}

/* Cores and caches, each at its NUMA node; one cache over both nodes is nobody's. */
static void test_caches(void)
{
    static const char *const machines[] = {"pack:2 [numa] l3:1(size=32MB) l2:4(size=1MB) core:1 pu:2",
                                           "l3:1(size=32MB) pack:2 [numa] l2:2(size=1MB) core:2 pu:1"};

    for (int i = 0; i < 2; i++) {
        struct sy_view *view = sy_view_create();
        hwloc_topology_t topology;
        struct sy_findings findings = SY_FINDINGS_INIT;
        if (!view || hwloc_topology_init(&topology) || hwloc_topology_set_synthetic(topology, machines[i]) ||
            hwloc_topology_load(topology) || sy_hwloc_view(topology, SY_GPUS_IN_TREE, view, &findings, &err))
            bail("%s", machines[i]);
        const struct sy_view_numa *numa = &view->numa[1];
        ok(view->n_numa == 2 && numa->n_cores == 4 && numa->l2_bytes == (i ? 2u : 4u) * 1000000u &&
               numa->l3_bytes == (i ? 0 : 32u) * 1000000u,
           "%s: cores and caches", machines[i]);
        struct sy_cluster *c = cluster_of(view, "n");
        finish(c);
        const struct sy_device_type *type = &c->device_types[c->vertices[sy_cluster_find(c, "n.cpu1")].type];
        ok(sy_real_or(type->l2, 0) == numa->l2_bytes && SY_KNOWN(type->l3) == !i, "%s: in the model too", machines[i]);
        redump(c, machines[i]);
        sy_cluster_destroy(c);
        hwloc_topology_destroy(topology);
        sy_findings_fini(&findings);
        sy_view_destroy(view);
    }
}

static void test_gpus(void)
{
    struct sy_view *view = discover("hgx-h200", "", NULL);
    struct sy_cluster *c = cluster_of(view, "n");
    struct sy_path path;

    finish(c);
    is_int(c->n_ranks, 8, "with 8 GPUs there are 8 ranks");
    int gpu = sy_cluster_find(c, "n.gpu5");
    ok(gpu >= 0 && !strcmp(sy_cluster_text(c, c->device_types[c->vertices[gpu].type].name), "h200") &&
           c->device_types[c->vertices[gpu].type].mem.value == 150754820096.0,
       "a GPU's type is called h200");
    ok(!sy_path_find(c, gpu, sy_cluster_find(c, "n.gpu0"), &path, NULL, 0, &err) && path.cls == SY_PATH_NVLINK &&
           path.n_lanes == 18 && path.bw.value == 450e9,
       "18 links and 450 GB/s to another");
    redump(c, "HGX H200");
    ok(view->gpus[5].bw > 63e9 && view->gpus[5].bw < 63.1e9, "its port has 63 GB/s");
    sy_cluster_destroy(c);
    sy_view_destroy(view);

    view = discover("vm-x1", "", NULL);
    ok(view->gpus[0].bw == 0, "the rate of an emulated port is unknown");
    sy_view_destroy(view);
    view = discover("b200-8", "", NULL);
    c = cluster_of(view, "n");
    finish(c);
    ok(sy_cluster_find(c, "n.nvs0") >= 0 && sy_cluster_find(c, "n.nvs1") < 0 && c->n_domains == 1,
       "hidden switches are one");
    redump(c, "8 B200");
    sy_cluster_destroy(c);
    sy_view_destroy(view);
}

/* Four trays: each node's cluster goes through bytes, as from other ranks. */
static void test_rack(void)
{
    struct sy_cluster *rack = sy_cluster_create();
    struct sy_path path;

    for (int tray = 0; tray < 4; tray++) {
        char machine[32], name[32];
        struct sy_buf bytes = SY_BUF_INIT;
        struct sy_cluster *there = NULL;
        snprintf(machine, sizeof machine, "gb200-%d", tray);
        snprintf(name, sizeof name, "tray%d", tray);
        struct sy_view *view = discover(machine, "", NULL);
        struct sy_cluster *c = cluster_of(view, name);
        finish(c);
        enum sy_status st = sy_cluster_pack(c, &bytes, &err);
        struct sy_cursor cursor = {bytes.data, bytes.len, 0};
        if (!st)
            st = sy_cluster_unpack(&cursor, &there, &err);
        if (!st)
            st = sy_cluster_append(rack, there, &err);
        if (st)
            bail("%s", err.text);
        if (tray == 3) {
            is_int(sy_cluster_append(rack, there, &err), SY_ERR_DATA, "the same node twice is refused");
            has_str(err.text, "tray3", "with its name");
        }
        sy_cluster_destroy(there);
        sy_cluster_destroy(c);
        sy_view_destroy(view);
        sy_buf_fini(&bytes);
    }
    sy_cluster_add_network(rack);
    finish(rack);
    ok(rack->n_nodes == 4 && rack->n_ranks == 16, "4 trays have 16 GPUs");
    is_int(rack->n_domains, 1, "in one NVLink domain");
    ok(!sy_path_find(rack, sy_cluster_find(rack, "tray0.gpu1"), sy_cluster_find(rack, "tray3.gpu2"), &path, NULL, 0,
                     &err) &&
           path.cls == SY_PATH_NVLINK && path.bw.value == 900e9,
       "900 GB/s from one tray to another");
    is_str(sy_cluster_text(rack, rack->nodes[2].chassis.value), "1820725190042", "the chassis of a tray");
    bool c2c = false;
    for (int l = 0; l < rack->n_links; l++)
        c2c |= rack->link_types[rack->links[l].type].cls == SY_LINK_C2C &&
               sy_link_capacity(rack, l).value == 5 * 44.712e9;
    redump(rack, "four trays");
    ok(c2c, "223.56 GB/s from a GPU to its CPU");
    sy_cluster_destroy(rack);
}

/* Nodes that differ only in name: their fast NICs become a network that says it was assumed. */
static void test_network(void)
{
    struct sy_view *view = discover("none", "", NULL);
    struct sy_cluster *all = sy_cluster_create();
    struct sy_path path;

    view->n_nics = 3;
    for (int i = 0; i < 3; i++) {
        view->nics[i] = (struct sy_view_nic){.cls = i < 2 ? SY_LINK_IB : SY_LINK_ETHERNET,
                                             .port_bw = i < 2 ? 50e9 : 1e9,
                                             .number = -1,
                                             .rail = -1,
                                             .plane = -1,
                                             .at = {.numa = 0, .upstream = -1}};
        snprintf(view->nics[i].device, sizeof view->nics[i].device, "dev%d", i);
    }
    for (int i = 0; i < 2; i++) {
        struct sy_cluster *c = cluster_of(view, i ? "b" : "a");
        if (sy_cluster_append(all, c, &err))
            bail("%s", err.text);
        sy_cluster_destroy(c);
    }
    sy_cluster_add_network(all);
    finish(all);
    is_int(all->n_fabrics, 1, "two nodes have a network");
    ok(all->fabrics[0].kind == SY_FABRIC_RAIL && all->fabrics[0].n_members == 4 &&
           all->fabrics[0].from.origin == SY_ORIGIN_DEFAULT,
       "of two rails, of the fastest NICs, which nobody has told of");
    ok(!sy_path_find(all, sy_cluster_find(all, "a.cpu0"), sy_cluster_find(all, "b.cpu0"), &path, NULL, 0, &err) &&
           path.cls == SY_PATH_NETWORK,
       "and a path goes through it");
    redump(all, "two nodes");
    sy_cluster_add_network(all);
    is_int(all->n_fabrics, 1, "asked again it stays one");
    sy_cluster_destroy(all);
    sy_view_destroy(view);
}

/* The first two PCI devices of this machine are taken for GPUs. */
static void test_matrix(void)
{
    hwloc_topology_t topology;
    struct hwloc_distances_s *d = NULL;
    struct sy_nvml nvml = {.n_gpus = 2, .gpus = calloc(2, sizeof *nvml.gpus)};
    unsigned n = 1;

    hwloc_topology_init(&topology);
    hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_ALL);
    hwloc_topology_load(topology);
    hwloc_obj_t obj = NULL;
    for (int i = 0; i < 2; i++) {
        sy_nvml_gpu_init(&nvml.gpus[i]);
        obj = hwloc_get_next_pcidev(topology, obj);
        if (!obj) {
            skip("this machine shows fewer than two PCI devices");
            goto out;
        }
        snprintf(nvml.gpus[i].pci, sizeof nvml.gpus[i].pci, "%04x:%02x:%02x.%x", (unsigned)obj->attr->pcidev.domain,
                 obj->attr->pcidev.bus, obj->attr->pcidev.dev, obj->attr->pcidev.func);
        nvml.gpus[i].n_up = 12;
    }
    for (int i = 0; i < 2; i++)
        sy_nvml_add_link(&nvml.gpus[i], SY_FAR_GPU, nvml.gpus[1 - i].pci, 12, 25e9);
    sy_hwloc_put_nvlinks(topology, &nvml);
    char path[] = "/tmp/sy-view-XXXXXX";
    int fd = mkstemp(path);
    ok(fd >= 0 && !sy_hwloc_xml_write(topology, path, &err), "the topology is written as XML");
    hwloc_topology_destroy(topology);
    hwloc_topology_init(&topology);
    hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_ALL);
    ok(!hwloc_topology_set_xml(topology, path) && !hwloc_topology_load(topology), "which hwloc reads");
    ok(!hwloc_distances_get_by_name(topology, "NVLinkBandwidth", &n, &d, 0) && n == 1 && d->nbobjs == 2 &&
           d->values[1] == 300000 && d->values[2] == 300000 && d->objs[0]->type == HWLOC_OBJ_PCI_DEVICE,
       "with 300000 MB/s between the two in its matrix NVLinkBandwidth");
    if (d)
        hwloc_distances_release(topology, d);
    close(fd);
    unlink(path);
out:
    hwloc_topology_destroy(topology);
    sy_nvml_fini(&nvml);
}

static void test_pcie(void)
{
    is_close(sy_pcie_bw(8, 16), 15.754e9, 0, 1e-3, "PCIe 3 x16");
    is_close(sy_pcie_bw(32, 16), 63.015e9, 0, 1e-3, "PCIe 5 x16");
    is_close(sy_pcie_bw(2.5, 4), 1e9, 0, 1e-9, "PCIe 1 x4");
    ok(sy_pcie_bw(0, 16) == 0 && sy_pcie_bw(16, 0) == 0, "unknown rates and widths give nothing");
}

int main(void)
{
    test_pcie();
    test_here();
    test_caches();
    test_gpus();
    test_rack();
    test_network();
    test_matrix();
    done();
    return tap_exit();
}
