/* SPDX-License-Identifier: Apache-2.0
 * merge.c - a cluster file and the machines that were found: what wins, what is completed, what differs
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "path.h"
#include "tap.h"

/* Machines as discovery may find them. */
static const char machines[] =
    "switchyard_cluster: 1\n"
    "link_types: {nvl: {class: nvlink, bw: 25 GB/s}, p: {class: pcie, bw: 63 GB/s}, i: {class: ib, bw: 400 Gb/s}}\n"
    "device_types: {g: {kind: gpu, model: NVIDIA H100, sm: 90, mem: 85.5 GB}, c: {kind: cpu, cores: 48, mem: 1 TB}}\n"
    "node_types:\n"
    "  t:\n"
    "    numa: 2\n"
    "    devices: [{id: \"cpu[0-1]\", type: c, numa: \"[0-1]\"}, {id: \"gpu[0-3]\", type: g, numa: [0,0,1,1]}]\n"
    "    switches: [{id: nvs0, kind: nvswitch}, {id: \"plx[0-1]\", kind: pcie, numa: \"[0-1]\"}]\n"
    "    nics: [{id: \"nic[0-1]\", port: i}]\n"
    "    links: [{from: \"gpu[0-3]\", to: nvs0, type: nvl, count: 18}, {zip: [\"gpu[0-3]\", \"plx[0,0,1,1]\"], type: "
    "p},\n"
    "      {zip: [\"nic[0-1]\", \"plx[0-1]\"], type: p}]\n"
    "nodes:\n"
    "  - {name: n0.site.org, type: t, set: {gpu0: {pci: \"0000:19:00.0\", uuid: GPU-a}, gpu1: {pci: "
    "\"0000:3b:00.0\"},\n"
    "      gpu2: {pci: \"0000:9b:00.0\"}, gpu3: {pci: \"0000:bb:00.0\"}, nic0: {device: mlx5_0}, nic1: {device: "
    "mlx5_3}},\n"
    "      facts: {kernel: \"6.1\"}}\n"
    "  - {name: n1.site.org, type: t}\n"
    "fabrics: [{name: found, kind: rail, port: i, members: \"n[0-1].site.org.nic[0-1]\"}]\n";

static void discovered(struct sy_source *from)
{
    if (from->origin == SY_ORIGIN_FILE)
        *from = sy_source_of(SY_ORIGIN_DISCOVERED);
}

/* The same values from another source. */
static void make_discovered(struct sy_cluster *c)
{
    for (int i = 0; i < c->n_device_types; i++) {
        struct sy_device_type *t = &c->device_types[i];
        discovered(&t->from), discovered(&t->model.from), discovered(&t->sm.from), discovered(&t->cores.from);
        discovered(&t->mem.from), discovered(&t->mem_bw.from);
    }
    for (int i = 0; i < c->n_link_types; i++)
        discovered(&c->link_types[i].from), discovered(&c->link_types[i].bw.from);
    for (int i = 0; i < c->n_nodes; i++)
        discovered(&c->nodes[i].from), discovered(&c->nodes[i].n_numa.from), discovered(&c->nodes[i].type.from);
    for (int i = 0; i < c->n_vertices; i++) {
        struct sy_vertex *v = &c->vertices[i];
        discovered(&v->from), discovered(&v->numa.from), discovered(&v->pci.from), discovered(&v->uuid.from);
        discovered(&v->device.from);
    }
    for (int i = 0; i < c->n_links; i++)
        discovered(&c->links[i].source), discovered(&c->links[i].count.from);
    for (int i = 0; i < c->n_fabrics; i++)
        discovered(&c->fabrics[i].from);
    for (int i = 0; i < c->n_facts; i++)
        discovered(&c->facts[i].value.from);
}

static struct sy_cluster *read(const char *text, struct sy_report *report)
{
    struct sy_cluster *c = sy_cluster_read_text("c", text, strlen(text), report);
    struct sy_buf lines = SY_BUF_INIT;

    if (!c) {
        sy_report_print(report, &lines);
        bail("%s", (char *)lines.data);
    }
    return c;
}

/* What is said of a file when it meets machines; the merged cluster. */
static char *merge_with(const char *there, const char *text, enum sy_discover_policy policy, struct sy_cluster **merged)
{
    struct sy_report *report = sy_report_create();
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf said = SY_BUF_INIT;
    struct sy_cluster *found = read(there, report), *c = read(text, report);

    make_discovered(found);
    if (sy_cluster_finish(found, &err) != SY_OK || sy_cluster_merge(c, found, policy, report, &err) != SY_OK)
        bail("%s", err.text);
    sy_buf_printf(&said, "%s", "");
    sy_report_print(report, &said);
    sy_report_destroy(report);
    sy_cluster_destroy(found);
    if (merged)
        *merged = c;
    else
        sy_cluster_destroy(c);
    return (char *)said.data;
}

static char *merge(const char *text, enum sy_discover_policy policy, struct sy_cluster **merged)
{
    return merge_with(machines, text, policy, merged);
}

/* A file that names two nodes and nothing else. */
static void check_empty_nodes(void)
{
    struct sy_cluster *c, *found;
    struct sy_report *report = sy_report_create();
    struct sy_error err = SY_ERROR_INIT;
    struct sy_path path;
    char text[100];

    free(merge("switchyard_cluster: 1\nnode_types: {t: {}}\nnodes: [{name: \"n[0-1]\", type: t}]\n", SY_DISCOVER_FILL,
               &c));
    found = read(machines, report);
    ok(c->n_nodes == 2 && c->n_ranks == 8 && c->n_vertices == found->n_vertices && c->n_links == found->n_links,
       "%d ranks, %d vertices, %d links are taken over", c->n_ranks, c->n_vertices, c->n_links);
    int gpu = sy_cluster_find(c, "n0.gpu0"), far = sy_cluster_find(c, "n1.gpu1");
    ok(gpu >= 0 && far >= 0, "under the file's names");
    is_str(sy_cluster_text(c, c->vertices[gpu].uuid.value), "GPU-a", "with addresses");
    is_str(sy_source_show(c, c->vertices[gpu].uuid.from, text, sizeof text), "discovered", "which were discovered");
    sy_path_find(c, gpu, far, &path, NULL, 0, &err);
    ok(path.cls == SY_PATH_NETWORK && path.bw.value == 50e9, "and the network: %s %g", sy_path_class_name(path.cls),
       path.bw.value);
    ok(c->n_facts == 1 && c->facts[0].node == 0, "facts too");
    sy_cluster_destroy(found);
    sy_cluster_destroy(c);
    sy_report_destroy(report);
}

/* Line numbers stand in what is expected below. */
static const char file[] =
    "switchyard_cluster: 1\n"
    "device_types: {h: {kind: gpu, sm: 90, mem: 80 GB}}\n"                                                   /* 2 */
    "link_types: {nvl: {class: nvlink, efficiency: 0.8}, ndr: {class: ib, bw: 200 Gb/s}}\n"                  /* 3 */
    "node_types:\n"                                                                                          /* 4 */
    "  t:\n"                                                                                                 /* 5 */
    "    numa: 2\n"                                                                                          /* 6 */
    "    devices: [{id: \"gpu[0-3]\", type: h, numa: [0,0,1,1], pci: [\"0000:BB:00.0\", \"0000:9b:00.0\",\n" /* 7 */
    "      \"0000:3b:00.0\", \"0000:19:00.0\"]}]\n"                                                          /* 8 */
    "    nics: [{id: nic1, port: ndr, device: mlx5_3}, {id: nic2}, {id: nic3, numa: 0}]\n"                   /* 9 */
    "    links: [{mesh: \"gpu[0-3]\", type: nvl, count: 4}]\n"                                               /* 10 */
    "nodes: [{name: a, type: t, host: \"*.site.org\"}]\n";                                                   /* 11 */

static void check_fill(void)
{
    struct sy_cluster *c;
    char *said = merge(file, SY_DISCOVER_FILL, &c), text[100];

    is_str(said, "", "fill says nothing");
    const struct sy_vertex *v = &c->vertices[sy_cluster_find(c, "a.gpu3")];
    const struct sy_device_type *t = &c->device_types[v->type];
    is_str(sy_cluster_text(c, v->uuid.value), "GPU-a", "a GPU by its address");
    ok(t->mem.value == 80e9 && t->mem.from.origin == SY_ORIGIN_FILE, "the file's memory wins");
    is_str(sy_cluster_text(c, t->model.value), "NVIDIA H100", "what it does not say is found");
    is_int(v->numa.value, 1, "the file's NUMA node wins");
    v = &c->vertices[sy_cluster_find(c, "a.nic1")];
    is_str(sy_source_show(c, c->link_types[v->port].bw.from, text, sizeof text), "file c:3:74", "the file's port wins");
    v = &c->vertices[sy_cluster_find(c, "a.nic2")];
    is_str(sy_cluster_text(c, v->device.value), "mlx5_0", "the other NIC is the other one");
    ok(v->port >= 0 && c->link_types[v->port].bw.value == 50e9, "with its port");
    ok(sy_cluster_find(c, "a.plx1") >= 0 && sy_cluster_find(c, "a.nvs0") >= 0, "switches are added");
    bool own = true;
    for (int i = 0; i < c->n_links; i++)
        own = own && (c->links[i].derived || c->links[i].source.origin == SY_ORIGIN_FILE);
    ok(own, "links are the file's");
    free(said);
    sy_cluster_destroy(c);
}

static void check_verify(void)
{
    char *said = merge(file, SY_DISCOVER_VERIFY, NULL);

    is_str(said,
           "c:3:74: error: bw of the port of 'a.nic1' is 25 GB/s here, and 50 GB/s was found (n0.site.org.nic1)\n"
           "c:7:48: error: numa of 'a.gpu0' is 0 here, and 1 was found (n0.site.org.gpu3)\n"
           "c:7:50: error: numa of 'a.gpu1' is 0 here, and 1 was found (n0.site.org.gpu2)\n"
           "c:7:52: error: numa of 'a.gpu2' is 1 here, and 0 was found (n0.site.org.gpu1)\n"
           "c:7:54: error: numa of 'a.gpu3' is 1 here, and 0 was found (n0.site.org.gpu0)\n"
           "c:9:68: error: 'a.nic3' was not found: machine 'n0.site.org' has 2 of kind nic\n"
           "c:10:13: error: number of NVLinks of 'a.gpu0' is 12 here, and 18 was found (n0.site.org.gpu3)\n"
           "c:10:13: error: number of NVLinks of 'a.gpu1' is 12 here, and 18 was found (n0.site.org.gpu2)\n"
           "c:10:13: error: number of NVLinks of 'a.gpu2' is 12 here, and 18 was found (n0.site.org.gpu1)\n"
           "c:10:13: error: number of NVLinks of 'a.gpu3' is 12 here, and 18 was found (n0.site.org.gpu0)\n"
           "c:11:16: error: machine 'n1.site.org' is no node of this file: neither a name nor a host is like it\n",
           "every difference, with its place");
    free(said);
    said = merge(
        "switchyard_cluster: 1\ndevice_types: {h: {kind: gpu, sm: 80, mem: 40 GB, model: nvidia h100}}\n"
        "node_types: {t: {numa: 1, devices: [{id: gpu0, type: h, uuid: GPU-b}, {id: \"gpu[1-2]\", type: h}]}}\n"
        "nodes: [{name: \"n[0-1]\", type: t}]\n",
        SY_DISCOVER_VERIFY, NULL);
    has_str(said, "c:2:35: error: sm of 'n0.gpu1' is 80 here, and 90 was found (n0.site.org.gpu0)\n", "a capability");
    has_str(said, "c:2:44: error: mem of 'n0.gpu1' is 40 GB here, and 85.5 GB was found (n0.site.org.gpu0)\n",
            "memory");
    has_str(said, "c:3:24: error: node 'n0' has 1 NUMA node here, and 2 were found\n", "NUMA nodes");
    has_str(said,
            "c:3:42: error: 'n0.gpu0' was not found: machine 'n0.site.org' has 4 of kind gpu, none with its address\n",
            "an address that is not there");
    has_str(
        said,
        "c:4:16: error: node 'n0' has 3 of kind gpu here, and 4 were found: 'n0.site.org.gpu2' is not in the file\n",
        "a GPU too many");
    free(said);
}

/* A CPU device that stands for a whole CPU is held against it; those that share one have a part each. */
static void check_cpus(void)
{
    static const char format[] = "switchyard_cluster: 1\ndevice_types: {c: {kind: cpu, cores: %d, l3: %d MB}}\n"
                                 "node_types: {t: {devices: [{id: \"%s\", type: c, numa: 0}]}}\n"
                                 "nodes: [{name: a, type: t}]\n";
    char there[300], whole[300], parts[300];

    snprintf(there, sizeof there, format, 8, 32, "cpu0");
    snprintf(whole, sizeof whole, format, 16, 33, "cpu0");
    snprintf(parts, sizeof parts, format, 4, 16, "cpu[0-1]");
    char *said = merge_with(there, whole, SY_DISCOVER_VERIFY, NULL);
    is_str(said, "c:2:38: error: cores of 'a.cpu0' is 16 here, and 8 was found (a.cpu0)\n", "cores that are not there");
    free(said);
    said = merge_with(there, parts, SY_DISCOVER_VERIFY, NULL);
    is_str(said, "", "parts of a CPU");
    free(said);
}

/* A file that says what was found: nothing to say, and off is off. */
static void check_same(void)
{
    struct sy_report *report = sy_report_create();
    struct sy_cluster *c, *file_itself = read(machines, report);
    char why[200] = "", *said = merge(machines, SY_DISCOVER_VERIFY, &c);

    is_str(said, "", "no difference to itself");
    ok(sy_cluster_equal(file_itself, c, why, sizeof why), "and nothing to complete %s", why);
    free(said);
    sy_cluster_destroy(c);
    sy_cluster_destroy(file_itself);
    file_itself = read(file, report);
    said = merge(file, SY_DISCOVER_OFF, &c);
    ok(!*said && sy_cluster_equal(file_itself, c, why, sizeof why), "off is off %s", why);
    free(said);
    sy_cluster_destroy(c);
    sy_cluster_destroy(file_itself);
    sy_report_destroy(report);
}

int main(void)
{
    check_empty_nodes();
    check_fill();
    check_verify();
    check_cpus();
    check_same();
    done();
    return tap_exit();
}
