/* SPDX-License-Identifier: Apache-2.0
 * imports.c - topology files of real machines, read as their publisher's facts say, and files that are wrong
 *
 * The published files are not part of the project: they are looked for in $SY_TOPOLOGIES, or in shared/reference/topologies
 * beside the source folder.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "append.h"
#include "base/file.h"
#include "hwloc_view.h"
#include "nccl_xml.h"
#include "path.h"
#include "redump.h"
#include "tap.h"

static struct sy_findings findings = SY_FINDINGS_INIT;
static struct sy_error err = SY_ERROR_INIT;

static bool found(enum sy_severity severity, const char *where, const char *part)
{
    for (int i = 0; i < findings.n; i++)
        if (findings.list[i].severity == severity && strstr(findings.list[i].where, where) &&
            strstr(findings.list[i].text, part))
            return true;
    for (int i = 0; i < findings.n; i++)
        diag("%s: %s", findings.list[i].where, findings.list[i].text);
    return false;
}

static bool published(const char *name, struct sy_buf *text)
{
    char path[4096];
    const char *folder = getenv("SY_TOPOLOGIES"), *top = getenv("SY_SRCDIR");

    if (folder)
        snprintf(path, sizeof path, "%.3000s/%s", folder, name);
    else
        snprintf(path, sizeof path, "%.3000s/../shared/reference/topologies/%s", top ? top : ".", name);
    text->len = 0;
    if (access(path, R_OK) != 0) {
        skip("%s is not here", name);
        return false;
    }
    if (sy_file_read(path, (size_t)1 << 26, text, &err))
        bail("%s", err.text);
    return true;
}

/* One machine as a finished cluster. */
static struct sy_cluster *cluster_of(const struct sy_view *view)
{
    struct sy_cluster *c = sy_cluster_create();

    if (!c || sy_view_add(view, "n", sy_source_imported(sy_cluster_file(c, "f"), 0, 0), c, &err) ||
        sy_cluster_finish(c, &err))
        bail("%s", err.text);
    return c;
}

static int count(const struct sy_cluster *c, enum sy_vertex_kind kind)
{
    int n = 0;

    for (int v = 0; v < c->n_vertices; v++)
        n += c->vertices[v].kind == kind;
    return n;
}

/* Every pair of GPUs is joined by NVLink at so many bytes/s, found as a path through the graph. */
static bool every_pair(const struct sy_cluster *c, double bw)
{
    struct sy_path *paths = calloc((size_t)c->n_vertices, sizeof *paths);
    bool held = true;

    for (int v = 0; v < c->n_vertices && held; v++) {
        if (c->vertices[v].kind != SY_VERTEX_GPU || sy_paths_from(c, v, paths, &err))
            continue;
        for (int w = 0; w < c->n_vertices; w++)
            if (w != v && c->vertices[w].kind == SY_VERTEX_GPU)
                held = held && paths[w].cls == SY_PATH_NVLINK;
    }
    for (int r = 0; r < c->n_ranks && held && bw > 0; r++)
        for (int s = 0; s < c->n_ranks && held; s++) {
            struct sy_path path;
            if (r == s || sy_path_find(c, c->ranks[r], c->ranks[s], &path, NULL, 0, &err))
                continue;
            held = SY_KNOWN(path.bw) && fabs(path.bw.value / bw - 1) < 1e-6;
            if (!held)
                diag("%d to %d: %g", r, s, path.bw.value);
        }
    free(paths);
    return held;
}

static int numa_of(const struct sy_cluster *c, const char *id)
{
    int v = sy_cluster_find(c, id);

    return v < 0 ? -2 : (int)sy_int_or(c->vertices[v].numa, -1);
}

static struct sy_nccl_xml nccl;

static enum sy_status read_nccl(const char *name, const struct sy_buf *text)
{
    sy_nccl_xml_fini(&nccl);
    sy_findings_fini(&findings);
    err.text[0] = 0;
    return sy_nccl_xml_read(name, (const char *)text->data, text->len, &nccl, &findings, &err);
}

static bool pairs_of(const struct sy_nvml *nvml, int n, double bw)
{
    for (int i = 0; i < nvml->n_gpus; i++)
        for (int j = 0; j < nvml->n_gpus; j++) {
            double pair_bw = -1;
            if (i != j && (sy_nvml_links(nvml, i, j, &pair_bw) != n || pair_bw != bw))
                return false;
        }
    return true;
}

/* Written and read again it is the same machine. */
static void test_round_trip(const char *name)
{
    struct sy_buf out = SY_BUF_INIT;
    struct sy_cluster *a = cluster_of(nccl.views[0]);
    char why[500] = "";

    if (sy_nccl_xml_write(nccl.views[0], &out, &err))
        bail("%s", err.text);
    is_int(read_nccl("again", &out), SY_OK, "%s: what is written can be read", name);
    struct sy_cluster *b = cluster_of(nccl.views[0]);
    if (!ok(sy_cluster_equal(a, b, why, sizeof why), "%s: and is the same machine", name))
        diag("%s", why);
    sy_cluster_destroy(a);
    sy_cluster_destroy(b);
    sy_buf_fini(&out);
}

static void test_hgx(struct sy_buf *text)
{
    static const char *const buses[] = {"83", "8b", "93", "9b", "a3", "ab", "b3", "bb"};
    bool in_order = true;
    int n_links = 0;

    if (!published("simllm-vastai-hgx-h200-8x.nccl_topo.xml", text))
        return;
    is_int(read_nccl("hgx.xml", text), SY_OK, "HGX H200: read");
    const struct sy_view *view = nccl.views[0];
    for (int i = 0; i < 8 && view->nvml.n_gpus == 8; i++) {
        in_order = in_order && !strncmp(view->nvml.gpus[i].pci + 5, buses[i], 2) && view->gpus[i].numa == i / 4 &&
                   view->nvml.gpus[i].sm == 90 && view->nvml.gpus[i].n_up == 18 && view->gpus[i].upstream >= 0;
        n_links += view->nvml.gpus[i].n_up;
        for (int k = 0; k < view->nvml.gpus[i].n_nvlinks; k++) {
            const struct sy_nvlink *link = &view->nvml.gpus[i].nvlinks[k];
            int bus = (int)strtol(link->pci + 5, NULL, 16);
            in_order = in_order && link->count == (bus == 0xc3 || bus == 0xc6 ? 4 : bus == 0xc4 || bus == 0xc5 ? 5 : 0);
        }
    }
    ok(view->nvml.n_gpus == 8 && in_order,
       "8 GPUs of sm 90 at 83 to 9b and a3 to bb, 4 beside each CPU, 4, 5, 5 and 4 links to c3 to c6");
    is_int(n_links, 144, "144 NVLinks");
    ok(pairs_of(&view->nvml, 18, 450e9), "18 links, 450 GB/s, between any two");
    is_int(view->n_switches, 8, "a PCIe switch for each GPU");
    ok(view->n_nics == 1 && !strcmp(view->nics[0].device, "eth0") && view->nics[0].port_bw == 1.25e9,
       "eth0 of 10 Gb/s counts once");
    ok(found(SY_FINDING_NOTE, "hgx.xml:", "eth0 stands under a second <cpu>"), "and that is said");
    struct sy_cluster *c = cluster_of(view);
    is_int(count(c, SY_VERTEX_NVSWITCH), 4, "4 NVSwitches");
    redump(c, "HGX H200");
    ok(every_pair(c, 450e9), "the graph's paths have 450 GB/s");
    is_int(c->n_domains, 1, "in one NVLink domain");
    is_str(sy_cluster_text(c, c->vertices[sy_cluster_find(c, "n.cpu0")].cpus.value), "0-95", "CPUs of the first node");
    char where[64];
    is_str(sy_source_show(c, c->vertices[sy_cluster_find(c, "n.gpu0")].from, where, sizeof where), "imported f:4:7",
           "where a GPU comes from");
    sy_cluster_destroy(c);
    test_round_trip("HGX H200");
}

static void test_perlmutter(struct sy_buf *text)
{
    if (!published("simllm-perlmutter-a100-4x.nccl_topo.xml", text))
        return;
    is_int(read_nccl("p.xml", text), SY_OK, "Perlmutter: read");
    const struct sy_view *view = nccl.views[0];
    ok(view->nvml.n_gpus == 4 && pairs_of(&view->nvml, 4, 100e9), "4 GPUs, 4 links and 100 GB/s a pair");
    struct sy_cluster *c = cluster_of(view);
    is_int(count(c, SY_VERTEX_NVSWITCH), 0, "no switch");
    redump(c, "Perlmutter");
    ok(every_pair(c, 100e9), "the graph's paths too");
    bool reversed = true, rated = true;
    for (int i = 0; i < 4; i++) {
        char id[32];
        snprintf(id, sizeof id, "n.gpu%d", i);
        reversed = reversed && numa_of(c, id) == 3 - i;
        for (int k = 0; k < 4; k++)
            if (view->nics[i].device[3] == '0' + k)
                reversed = reversed && view->nics[i].at.numa == k;
        rated = rated && view->nics[i].port_bw == 25e9;
    }
    ok(view->n_nics == 4 && reversed, "GPUs 0 to 3 and NICs cxi3 to cxi0 are beside NUMA nodes 3 to 0");
    ok(rated, "NICs of 200 Gb/s");
    sy_cluster_destroy(c);
    test_round_trip("Perlmutter");
}

static void test_static(struct sy_buf *text)
{
    bool placed = true;

    if (published("azure-ndv4-topo.xml", text)) {
        is_int(read_nccl("nd.xml", text), SY_OK, "Azure ND A100 v4: read");
        const struct sy_view *view = nccl.views[0];
        ok(view->nvml.n_gpus == 8 && view->n_nics == 8 && view->n_numa == 4 && view->n_switches == 4,
           "8 GPUs, 8 NICs, 4 NUMA nodes, 4 switches");
        for (int i = 0; i < 8; i++) {
            int pci = (int)strtol(view->nvml.gpus[i].pci, NULL, 16);
            placed = placed &&
                     view->gpus[i].numa == (pci == 3 || pci == 4 ? 0
                                            : pci < 3            ? 1
                                            : pci >= 0xd         ? 2
                                                                 : 3) &&
                     view->nvml.gpus[i].n_up == -1 && view->nvml.gpus[i].sm == -1;
        }
        ok(placed, "each at its NUMA node; NVLinks and compute capability unknown, not none");
        ok(found(SY_FINDING_NOTE, "nd.xml:", "whether NVLinks join them is unknown"), "and that is said");
        for (int s = 0; s < 4; s++) {
            int n = 0, m = 0;
            for (int i = 0; i < 8; i++) {
                n += view->gpus[i].upstream == s;
                m += view->nics[i].at.upstream == s;
            }
            placed = placed && n == 2 && m == 2;
        }
        ok(placed, "2 GPUs and 2 NICs at each switch");
        ok(view->gpus[0].bw > 31e9 && view->gpus[0].bw < 32e9, "ports of 16 GT/s x16");
        struct sy_cluster *c = cluster_of(view);
        redump(c, "Azure ND A100 v4");
        sy_cluster_destroy(c);
        test_round_trip("Azure ND A100 v4");
    }
    if (published("aws-p4d-24xl-topo.xml", text)) {
        is_int(read_nccl("p4d.xml", text), SY_OK, "AWS p4d: read");
        const struct sy_view *view = nccl.views[0];
        ok(view->nvml.n_gpus == 8 && view->n_nics == 4 && view->n_numa == 2 && view->n_switches == 4,
           "8 GPUs, 4 NICs, 2 NUMA nodes, 4 switches");
        ok(view->gpus[0].bw > 15.7e9 && view->gpus[0].bw < 15.8e9, "\"8 GT/s\" without the word PCIe");
        for (int s = 0; s < 4; s++) {
            int n = 0, m = 0;
            for (int i = 0; i < 8; i++)
                n += view->gpus[i].upstream == s;
            for (int i = 0; i < 4; i++)
                m += view->nics[i].at.upstream == s;
            placed = placed && n == 2 && m == 1;
        }
        ok(placed, "2 GPUs and a NIC at each switch");
    }
    if (published("azure-ncv4-topo.xml", text)) {
        is_int(read_nccl("nc.xml", text), SY_ERR_DATA,
               "Azure NC A100 v4, whose NVLinks lead to themselves, is refused");
        has_str(err.text, "nc.xml:5:9: error: the 12 NVLinks of GPU 0001:00:00.0 lead to itself", "with the place");
        is_int(sy_findings_count(&findings, SY_FINDING_ERROR), 4, "all four of them");
        ok(pairs_of(&nccl.views[0]->nvml, 0, 0), "and no link is left");
    }
    if (published("azure-ncv4-graph.xml", text)) {
        is_int(read_nccl("graph.xml", text), SY_ERR_DATA, "a file of graphs is refused");
        has_str(err.text, "graph.xml:1:1: error: <graphs> is not a topology", "and it is said what it is");
    }
}

static struct sy_view *view;

static enum sy_status read_hwloc(const char *name, const struct sy_buf *text)
{
    sy_view_destroy(view);
    sy_findings_fini(&findings);
    err.text[0] = 0;
    view = sy_view_create();
    return sy_hwloc_xml_read(name, (const char *)text->data, text->len, view, &findings, &err);
}

static void test_dgx2(struct sy_buf *text)
{
    if (published("hwloc-3.0a1-nvidiaDGX2.xml", text)) {
        is_int(read_hwloc("v3.xml", text), SY_ERR_DATA, "version 3 of hwloc's XML is refused");
        has_str(err.text, "v3.xml:3:1: error: version 3 of hwloc's XML, this program reads 1 and 2",
                "with its place and a way out");
    }
    if (!published("hwloc-2.12.2-nvidiaDGX2.xml", text))
        return;
    is_int(read_hwloc("dgx2.xml", text), SY_OK, "DGX-2: read");
    bool halves = view->nvml.n_gpus == 16;
    for (int i = 0; i < 16 && halves; i++)
        halves = view->gpus[i].numa == i / 8 && view->nvml.gpus[i].n_up == 6 && strstr(view->nvml.gpus[i].name, "V100");
    ok(halves, "16 V100, 8 beside each CPU, 6 links each");
    struct sy_cluster *c = cluster_of(view);
    is_int(count(c, SY_VERTEX_NVSWITCH), 12, "12 NVSwitches, the one without a readable id too");
    ok(pairs_of(&view->nvml, 6, 150e9), "6 links and 150 GB/s between any two, on both boards");
    redump(c, "DGX-2");
    is_int(c->n_domains, 1, "one NVLink domain");
    ok(found(SY_FINDING_NOTE, "dgx2.xml", "reach different switches"),
       "what the boards have between them is said to be unknown");
    sy_cluster_destroy(c);
}

static void test_power(struct sy_buf *text)
{
    double bw;

    if (published("hwloc-2.9.0-power8gpudistances.xml", text)) {
        is_int(read_hwloc("p8.xml", text), SY_OK, "POWER8: read");
        is_int(view->nvml.n_gpus, 4, "4 GPUs");
        ok(sy_nvml_links(&view->nvml, 0, 1, &bw) == 2 && bw == 40e9 && sy_nvml_links(&view->nvml, 2, 3, &bw) == 2 &&
               bw == 40e9,
           "40 GB/s in each pair");
        is_int(sy_nvml_links(&view->nvml, 0, 2, &bw), 0, "none between pairs");
        struct sy_cluster *c = cluster_of(view);
        redump(c, "POWER8");
        is_int(count(c, SY_VERTEX_NVSWITCH), 0, "no switch");
        is_int(c->n_domains >= 1 ? c->domain_of[sy_cluster_find(c, "n.gpu0")] : -1, 0, "a domain");
        int gpu = sy_cluster_find(c, "n.gpu0"), cpu = sy_cluster_find(c, "n.cpu0");
        double to_cpu = 0;
        for (int l = 0; l < c->n_links; l++)
            if (c->links[l].from == gpu && c->links[l].to == cpu)
                to_cpu += sy_link_capacity(c, l).value;
        ok(to_cpu == 40e9, "40 GB/s of NVLink from a GPU to its CPU");
        sy_cluster_destroy(c);
    }
    if (published("mpibind-coral-lassen.xml", text)) {
        is_int(read_hwloc("lassen.xml", text), SY_OK, "Lassen: read");
        int n[2] = {0, 0}, m[2] = {0, 0};
        for (int i = 0; i < view->nvml.n_gpus; i++)
            n[view->gpus[i].numa == 1]++;
        for (int i = 0; i < view->n_nics; i++)
            if (!strncmp(view->nics[i].device, "mlx5", 4))
                m[view->nics[i].at.numa == 1]++;
        ok(n[0] == 2 && n[1] == 2 && m[0] == 2 && m[1] == 2, "2 V100 and 2 mlx5 beside each CPU");
        struct sy_cluster *c = cluster_of(view);
        redump(c, "Lassen");
        sy_cluster_destroy(c);
        ok(view->nvml.gpus[0].n_up == -1 && sy_nvml_links(&view->nvml, 0, 1, NULL) == -1, "NVLinks are unknown");
        ok(found(SY_FINDING_NOTE, "lassen.xml", "no matrix NVLinkBandwidth"), "and that is said");
    }
}

static void test_tioga(struct sy_buf *text)
{
    int n[4] = {0};

    if (!published("mpibind-eas-tioga.xml", text))
        return;
    is_int(read_hwloc("tioga.xml", text), SY_OK, "Tioga: read");
    for (int i = 0; i < view->nvml.n_gpus; i++)
        if (view->gpus[i].numa >= 0 && view->gpus[i].numa < 4)
            n[view->gpus[i].numa]++;
    ok(view->n_numa == 4 && view->nvml.n_gpus == 8 && n[0] == 2 && n[1] == 2 && n[2] == 2 && n[3] == 2,
       "8 AMD GPUs, 2 beside each of 4 NUMA nodes");
    int n_hsi = 0;
    for (int i = 0; i < view->n_nics; i++)
        n_hsi += !strncmp(view->nics[i].device, "hsi", 3);
    is_int(n_hsi, 4, "4 NICs of the Slingshot network");
    struct sy_cluster *c = cluster_of(view);
    redump(c, "Tioga");
    sy_cluster_destroy(c);
    ok(view->xgmi && view->nvml.gpus[0].n_up > 0, "joined by xGMI");
}

/* Files that are wrong: the message and its place. */
static void test_wrong(void)
{
#define CPU "<system version=\"1\">\n<cpu numaid=\"0\">\n"
#define GPU(bus) \
    "<pci busid=\"" bus "\" class=\"0x030200\" link_speed=\"16 GT/s\" link_width=\"16\"><gpu dev=\"0\" sm=\"80\">"
#define END "</gpu></pci>\n"
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"<topology version=\"2.0\"/>", "w:1:1: error: expected <system>, found <topology>: this is a file of hwloc"},
        {"<a/>", "w:1:1: error: expected <system>, found <a>"},
        {"<system version=\"3\"/>", "w:1:1: error: version 3 of NCCL's topology"},
        {"<system version=\"1\"></system>", "there is no <cpu> in it"},
        {"<system version=\"1\">\n<cpu numaid=\"0\">\n", "w:3:1: error: no element found"},
        {"", "w:1:1: error: no element found"},
        {CPU "<pci class=\"0x030200\"/></cpu></system>", "w:3:1: error: <pci> without busid"},
        {CPU " <pci busid=\"zz\" class=\"0x030200\"/></cpu></system>", "w:3:2: error: busid=\"zz\", expected one like"},
        {CPU "<gpu dev=\"0\"/></cpu></system>", "w:3:1: error: <gpu> outside a <pci>"},
        {CPU "<nvlink target=\"0000:01:00.0\" count=\"1\"/></cpu></system>", "w:3:1: error: <nvlink> outside a <gpu>"},
        {CPU GPU("0000:01:00.0") "\n<nvlink count=\"x\" target=\"0000:02:00.0\"/>" END "</cpu></system>",
         "w:4:1: error: count=\"x\" is not a number"},
        {CPU GPU("0000:01:00.0") "\n<nvlink count=\"0\" target=\"0000:02:00.0\"/>" END "</cpu></system>",
         "w:4:1: error: count is not a number of links"},
        {CPU GPU("0000:01:00.0") END GPU("0000:01:00.0") END "</cpu></system>",
         "w:4:1: error: a second GPU at 0000:01:00.0 (the first is in line 3)"},
        {CPU "</cpu>\n<cpu numaid=\"0\"/></system>",
         "w:4:1: error: a second <cpu> with numaid 0 (the first is in line 2)"},
        {CPU GPU("0000:01:00.0") "<nvlink count=\"4\" target=\"0000:02:00.0\" tclass=\"0x030200\"/>" END GPU(
             "0000:02:00.0") "\n <nvlink count=\"2\" target=\"0000:01:00.0\" tclass=\"0x030200\"/>" END
                             "</cpu></system>",
         "w:3:102: error: GPU 0000:01:00.0 has 4 NVLinks to GPU 0000:02:00.0, which has 2 back"},
        {"<!DOCTYPE system [<!ENTITY a \"b\">]><system version=\"1\"/>", "error: entities are not read"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sy_buf text = {(uint8_t *)(uintptr_t)cases[i].text, strlen(cases[i].text), 0};
        enum sy_status st = read_nccl("w", &text);
        if (!ok(st == SY_ERR_DATA && strstr(err.text, cases[i].message), "%s", cases[i].message))
            diag("%d \"%s\"", st, err.text);
    }
    /* What is only odd is read, and said. */
    static const char odd[] = CPU GPU("0000:01:00.0") "\n<nvlink count=\"2\" target=\"0000:02:00.0\"/>" END GPU(
        "0000:02:00.0") "\n<nvlink count=\"2\" target=\"0000:01:00.0\"/>\n<nvlink count=\"1\" "
                        "target=\"0000:c1:00.0\"/>" END "<pci busid=\"0000:03:00.0\" class=\"0x020000\" "
                        "link_speed=\"2.5 GT/s\" link_width=\"1\"><nic><net name=\"e\" "
                        "speed=\"-1\"/></nic></pci></cpu></system>";
    struct sy_buf text = {(uint8_t *)(uintptr_t)odd, strlen(odd), 0};
    is_int(read_nccl("odd", &text), SY_OK, "a file that is only odd is read");
    ok(found(SY_FINDING_WARNING, "odd:7:1", "without tclass to 0000:c1:00.0"), "a far end that nobody knows");
    is_int(sy_nvml_links(&nccl.views[0]->nvml, 0, 1, NULL), 2,
           "without tclass a GPU of the file is known by its address");
    ok(found(SY_FINDING_WARNING, "odd:8:1", "2.5 GT/s x1") && nccl.views[0]->nics[0].at.bw == 0,
       "an emulated port has no rate");
    ok(nccl.views[0]->nics[0].port_bw == 0, "a speed of -1 is not known");
    ok(found(SY_FINDING_WARNING, "odd:3:1", "has 2 NVLinks where equal GPUs have 3"), "unequal GPUs");
}

static enum sy_status read_text(const char *name, const char *text)
{
    return read_nccl(name, &(struct sy_buf){(uint8_t *)(uintptr_t)text, strlen(text), 0});
}

/* What is legal and seldom: orders of attributes, comments, lines of other systems, what is left out, what is repeated. */
static void test_seldom(void)
{
    is_int(
        read_text(
            "v",
            "<?xml version=\"1.0\"?>\r\n<!-- a -->\r\n<system version='1'>\r\n<cpu vendor=\"x\" numaid=\"-1\">"
            "<!-- b -->\r\n<pci class=\"0x060400\" busid=\"0000:01:00.0\">\r\n"
            "<pci link_width=\"16\" class=\"0x030000\" link_speed=\"32 GT/s\" busid=\"0000:02:00.0\">"
            "<gpu sm=\"90\" new=\"1\" dev=\"0\"><nvlink tclass=\"0x068000\" count=\"18\" target=\"fffffff:ff:ff.0\"/>"
            "<newer><nvlink/></newer></gpu></pci></pci></cpu></system>"),
        SY_OK, "attributes in any order, comments, CR LF");
    const struct sy_view *v = nccl.views[0];
    ok(v->nvml.n_gpus == 1 && v->nvml.gpus[0].n_up == 18 && v->gpus[0].upstream == 0 && v->gpus[0].bw > 63e9 &&
           !v->nvml.gpus[0].nvlinks[0].pci[0],
       "18 links to a switch whose address is hidden");
    ok(v->numa[0].number == 0 && !sy_findings_count(&findings, SY_FINDING_WARNING),
       "one <cpu> whose NUMA node is not told is the first");
    is_int(
        read_text(
            "v",
            CPU GPU(
                "0000:01:00.0") "<nvlink target=\"0000:02:00.0\" count=\"2\"/></gpu>"
                                "<gpu dev=\"0\" sm=\"80\" rank=\"1\"><nvlink target=\"0000:02:00.0\" count=\"2\"/>" END
                                    GPU("0000:02:00.0") "<nvlink target=\"0000:01:00.0\" count=\"2\"/>" END
                                                        "</cpu></system>"),
        SY_OK, "two ranks on a GPU");
    is_int(nccl.views[0]->nvml.gpus[0].n_up, 2, "its links count once");
    ok(found(SY_FINDING_NOTE, "v:3:", "0000:01:00.0 is here again"), "and that is said");
    is_int(read_text("v", CPU "<pci busid=\"0000:01:00.0\"><pci busid=\"0000:02:00.0\"/><pci busid=\"0000:03:00.0\">"
                              "<gpu dev=\"0\"/></pci></pci>\n<pci busid=\"0000:04:00.0\"/></cpu></system>"),
           SY_OK, "classes that are missing");
    v = nccl.views[0];
    ok(v->n_switches == 1 && v->nvml.n_gpus == 1 && v->gpus[0].upstream == 0 && v->n_nics == 0,
       "what has devices below it is a switch, what has a <gpu> is one");
    ok(found(SY_FINDING_NOTE, "v:3:27", "2 <pci> without class"), "and of others nothing is known, which is said");
    is_int(read_text("v", CPU "<pci busid=\"0000:01:00.0\" class=\"0x030200\"/></cpu></system>"), SY_OK,
           "a GPU without <gpu>");
    ok(found(SY_FINDING_NOTE, "v:3:1", "whether NVLinks join it to others is unknown"), "its links are unknown");
}

/* A dump of RCCL: two of AMD's GPUs. */
static void test_rccl(void)
{
#define AMD(bus, dev, far)                                                                                        \
    "<pci busid=\"" bus "\" class=\"0x120000\" vendor=\"0x1002\"><gpu dev=\"" dev "\" sm=\"304\" gcn=\"gfx942\">" \
    "<xgmi target=\"" far "\" count=\"1\" tclass=\"0x120000\"/></gpu></pci>"
    is_int(read_text("r", "<system version=\"2\"><cpu numaid=\"0\">" AMD("0000:01:00.0", "0", "0000:02:00.0")
                              AMD("0000:02:00.0", "1", "0000:01:00.0") "</cpu></system>"),
           SY_OK, "a dump of RCCL");
    const struct sy_view *v = nccl.views[0];
    ok(v->xgmi && v->nvml.n_gpus == 2 && v->nvml.gpus[0].sm == -1 && !strcmp(v->nvml.gpus[0].name, "gfx942"),
       "its GPUs have an architecture of AMD's, and so many units that are no compute capability");
    double bw = -1;
    ok(sy_nvml_links(&v->nvml, 0, 1, &bw) == 1 && bw == 0, "a link of xGMI, whose rate is not told");
    test_round_trip("RCCL");
}

/* NCCL has several machines in one file when NVLink joins them. */
static void test_hosts(void)
{
#define TRAY(hash)                                                                              \
    "<cpu host_hash=\"" hash                                                                    \
    "\" numaid=\"0\"><pci busid=\"0008:06:00.0\" class=\"0x030200\"><gpu dev=\"0\" sm=\"103\">" \
    "<nvlink target=\"fffffff:ff:ff.0\" count=\"18\" tclass=\"0x068000\"/></gpu></pci></cpu>"
    struct sy_cluster *all = sy_cluster_create();

    is_int(read_text("h", "<system version=\"1\">" TRAY("0x1") TRAY("0x2") "</system>"), SY_OK,
           "a dump of two machines");
    is_int(nccl.n_views, 2, "they are two");
    for (int i = 0; i < nccl.n_views; i++) {
        struct sy_cluster *one = sy_cluster_create();
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        if (sy_view_add(nccl.views[i], name, sy_source_of(SY_ORIGIN_DISCOVERED), one, &err) ||
            sy_cluster_append(all, one, &err))
            bail("%s", err.text);
        sy_cluster_destroy(one);
    }
    if (sy_cluster_finish(all, &err))
        bail("%s", err.text);
    is_int(all->n_domains, 1, "in one NVLink domain");
    ok(every_pair(all, 900e9), "with 900 GB/s between their GPUs");
    redump(all, "two machines");
    sy_cluster_destroy(all);
}

/* The same machine in both versions of hwloc's XML: version 1 is converted. */
static void test_versions(void)
{
    static const unsigned long flags[] = {0, HWLOC_TOPOLOGY_EXPORT_XML_FLAG_V1};
    struct sy_cluster *c[2];
    hwloc_topology_t topology;
    char why[500] = "";

    if (hwloc_topology_init(&topology) ||
        hwloc_topology_set_synthetic(topology,
                                     "pack:2 [numa(memory=4GB)] l3:1(size=32MB) l2:4(size=1MB) core:1 pu:2") ||
        hwloc_topology_load(topology))
        bail("no synthetic machine");
    for (int i = 0; i < 2; i++) {
        char *xml;
        int n;
        if (hwloc_topology_export_xmlbuffer(topology, &xml, &n, flags[i]))
            bail("no XML");
        ok(!strstr(xml, "version=\"2") == (i == 1), "XML of version %d", 2 - i);
        struct sy_buf text = {(uint8_t *)xml, strlen(xml), 0};
        is_int(read_hwloc("v", &text), SY_OK, "version %d is read", 2 - i);
        ok(view->n_numa == 2 && view->numa[1].n_cores == 4 && !strcmp(view->numa[1].cpus, "8-15") &&
               view->numa[1].bytes > 3e9 && view->numa[1].l3_bytes > 30e6,
           "version %d: NUMA nodes, cores, caches and memory", 2 - i);
        c[i] = cluster_of(view);
        hwloc_free_xmlbuffer(topology, xml);
    }
    ok(sy_cluster_equal(c[0], c[1], why, sizeof why), "both are one machine %s", why);
    sy_cluster_destroy(c[0]);
    sy_cluster_destroy(c[1]);
    hwloc_topology_destroy(topology);
}

static void test_wrong_hwloc(void)
{
    static const char *const cases[][2] = {
        {"<system version=\"1\"/>", "w:1:1: error: expected <topology>, found <system>: this is a topology of NCCL"},
        {"<topology version=\"3.0\"/>", "w:1:1: error: version 3 of hwloc's XML"},
        {"<topology version=\"2.0\">\n<object", "w:2:1: error: unclosed token"},
        {"<topology version=\"2.0\"></topology>", "w: error: hwloc does not read it as a topology"},
        {"<!DOCTYPE t [<!ENTITY a \"b\">]><topology version=\"2.0\"/>", "error: entities are not read"},
        {"", "w:1:1: error: no element found"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sy_buf text = {(uint8_t *)(uintptr_t)cases[i][0], strlen(cases[i][0]), 0};
        enum sy_status st = read_hwloc("w", &text);
        if (!ok(st == SY_ERR_DATA && strstr(err.text, cases[i][1]), "%s", cases[i][1]))
            diag("%d \"%s\"", st, err.text);
    }
}

int main(void)
{
    struct sy_buf text = SY_BUF_INIT;

    test_hgx(&text);
    test_perlmutter(&text);
    test_static(&text);
    test_dgx2(&text);
    test_power(&text);
    test_tioga(&text);
    test_wrong();
    test_seldom();
    test_rccl();
    test_hosts();
    test_versions();
    test_wrong_hwloc();
    sy_nccl_xml_fini(&nccl);
    sy_view_destroy(view);
    sy_findings_fini(&findings);
    sy_buf_fini(&text);
    done();
    return tap_exit();
}
