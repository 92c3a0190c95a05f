/* SPDX-License-Identifier: Apache-2.0
 * nccl_xml.c - read NCCL's topology: system > cpu > pci > {pci | gpu > {nvlink, xgmi, c2c} | nic > net}
 *
 * Files of vendors leave out what NCCL will find itself (a GPU is then a <pci> of class 0x03), dumps have everything. RCCL writes
 * the same as version 2, with <xgmi> where AMD's GPUs are joined. Elements and attributes that are not known are passed over:
 * newer NCCL has more of them.
 */
#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "nccl_private.h"

#define BYTES_MAX ((size_t)64 << 20)

void sy_nccl_say(struct sy_nccl_reader *r, enum sy_severity severity, int line, int column, const char *fmt, ...)
{
    char where[300], text[500];
    va_list args;

    if (line <= 0) {
        line = (int)XML_GetCurrentLineNumber(r->parser);
        column = (int)XML_GetCurrentColumnNumber(r->parser) + 1;
    }
    snprintf(where, sizeof where, "%.250s:%d:%d", r->name, line, column);
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    sy_findings_add(r->findings, severity, where, "%s", text);
    if (severity == SY_FINDING_ERROR && !r->failed) {
        r->failed = true;
        sy_error_set(r->err, SY_ERR_DATA, "%s: error: %s", where, text);
    }
}

static void stop(struct sy_nccl_reader *r)
{
    r->stopped = true;
    XML_StopParser(r->parser, XML_FALSE);
}

static const char *attribute(const char **attributes, const char *name)
{
    for (int i = 0; attributes[i]; i += 2)
        if (!strcmp(attributes[i], name))
            return attributes[i + 1];
    return NULL;
}

/* A whole number, decimal or 0x…; fallback when it is not there; an error and fallback when it is none. */
static int64_t number(struct sy_nccl_reader *r, const char **attributes, const char *name, int64_t fallback)
{
    const char *text = attribute(attributes, name);
    char *end;

    if (!text || !*text)
        return fallback;
    long long n = strtoll(text, &end, !strncmp(text, "0x", 2) || !strncmp(text, "0X", 2) ? 16 : 10);
    if (*end || end == text || n < -1 || n > INT_MAX) {
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "%s=\"%.60s\" is not a number that can be here", name, text);
        return fallback;
    }
    return n;
}

/* "00000000,0000ffff": 32 bits in each group, the last group first. */
static void read_affinity(const char *text, struct sy_view_numa *numa)
{
    size_t n_groups = 1, len = 0;
    int first = -1, last = -1;

    for (const char *c = text; *c; c++)
        n_groups += *c == ',';
    for (int cpu = 0; cpu <= (int)n_groups * 32 && n_groups <= 256; cpu++) {
        const char *group = text;
        bool set = false;
        if (cpu < (int)n_groups * 32) {
            for (size_t skip = n_groups - 1 - (size_t)cpu / 32; skip; skip--)
                group = strchr(group, ',') + 1;
            set = strtoull(group, NULL, 16) >> (cpu % 32) & 1;
        }
        if (set && first < 0)
            first = cpu;
        if (set)
            last = cpu;
        if (!set && first >= 0) {
            int n = snprintf(numa->cpus + len, sizeof numa->cpus - len, first == last ? "%s%d" : "%s%d-%d",
                             len ? "," : "", first, last);
            len += n > 0 && (size_t)n < sizeof numa->cpus - len ? (size_t)n : 0;
            numa->cpus[len] = 0;
            first = -1;
        }
    }
}

/* The view of the host with this hash, which may be new; NULL: there is no room, and reading has stopped. */
static struct sy_view *view_of(struct sy_nccl_reader *r, uint64_t host)
{
    for (int i = 0; i < r->xml->n_views; i++)
        if (r->hosts[i] == host) {
            r->view = i;
            return r->xml->views[i];
        }
    struct sy_view *view = r->xml->n_views < SY_NCCL_HOSTS_MAX ? sy_view_create() : NULL;
    if (view)
        view->nvml.gpus = calloc(SY_NVML_GPUS_MAX, sizeof *view->nvml.gpus);
    if (!view || !view->nvml.gpus) {
        sy_view_destroy(view);
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "more than %d hosts", SY_NCCL_HOSTS_MAX);
        stop(r);
        return NULL;
    }
    r->view = r->xml->n_views;
    r->hosts[r->view] = host;
    r->xml->views[r->xml->n_views++] = view;
    return view;
}

static void take(const char **attributes, const char *name, char *out, size_t out_bytes)
{
    const char *value = attribute(attributes, name);

    if (value)
        snprintf(out, out_bytes, "%s", value);
}

static void begin_cpu(struct sy_nccl_reader *r, const char **attributes, struct sy_nccl_open *open)
{
    const char *hash = attribute(attributes, "host_hash"), *affinity = attribute(attributes, "affinity");
    struct sy_view *view = view_of(r, hash ? strtoull(hash, NULL, 16) : 0);
    int64_t numaid = number(r, attributes, "numaid", -1);

    if (!view)
        return;
    for (int i = 0; i < view->n_numa; i++)
        if (view->numa[i].number == (int)numaid) {
            sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "a second <cpu> with numaid %d (the first is in line %d)",
                        (int)numaid, view->numa[i].line);
            open->numa = i;
            return;
        }
    if (view->n_numa == SY_VIEW_NUMA_MAX) {
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "more than %d NUMA nodes", SY_VIEW_NUMA_MAX);
        stop(r);
        return;
    }
    open->numa = view->n_numa++;
    struct sy_view_numa *numa = &view->numa[open->numa];
    *numa = (struct sy_view_numa){.number = (int)numaid, .line = open->line, .column = open->column};
    if (affinity)
        read_affinity(affinity, numa);
    take(attributes, "arch", view->arch, sizeof view->arch);
    take(attributes, "vendor", view->cpu_vendor, sizeof view->cpu_vendor);
    take(attributes, "familyid", view->cpu_family, sizeof view->cpu_family);
    take(attributes, "modelid", view->cpu_number, sizeof view->cpu_number);
}

/* "32.0 GT/s PCIe", "8 GT/s" or nothing; and lanes. A port that a virtual machine makes up says nothing. */
static void read_port(struct sy_nccl_reader *r, const char **attributes, struct sy_nccl_open *open)
{
    const char *speed = attribute(attributes, "link_speed");
    double gt_s = speed ? strtod(speed, NULL) : 0;
    int64_t width = number(r, attributes, "link_width", 0);

    if (!(gt_s > 0 && gt_s <= 1024) || width <= 0 || width > 64)
        return;
    open->gen = gt_s < 4 ? 1 : gt_s < 7 ? 2 : gt_s < 12 ? 3 : gt_s < 24 ? 4 : gt_s < 48 ? 5 : 6;
    open->width = (int)width;
    if (open->gen == 1 && width == 1)
        sy_nccl_say(r, SY_FINDING_WARNING, 0, 0,
                    "a port of 2.5 GT/s x1, as virtual machines emulate it: its rate is not known");
    else
        open->bw = sy_pcie_bw(gt_s, (int)width);
}

static int add_gpu(struct sy_nccl_reader *r, struct sy_nccl_open *open)
{
    struct sy_view *view = r->xml->views[r->view];
    int same = sy_nvml_find(&view->nvml, open->pci);

    if (open->gpu >= 0)
        return open->gpu;
    if (same >= 0) {
        sy_nccl_say(r, SY_FINDING_ERROR, open->line, open->column, "a second GPU at %s (the first is in line %d)",
                    open->pci, view->gpus[same].line);
        return -1;
    }
    if (view->nvml.n_gpus == SY_NVML_GPUS_MAX) {
        sy_nccl_say(r, SY_FINDING_ERROR, open->line, open->column, "more than %d GPUs", SY_NVML_GPUS_MAX);
        stop(r);
        return -1;
    }
    open->gpu = view->nvml.n_gpus++;
    struct sy_nvml_gpu *gpu = &view->nvml.gpus[open->gpu];
    sy_nvml_gpu_init(gpu);
    snprintf(gpu->pci, sizeof gpu->pci, "%s", open->pci);
    gpu->pcie_gen = open->gen;
    gpu->pcie_width = open->width;
    r->dev[r->view][open->gpu] = -1;
    view->gpus[open->gpu] = (struct sy_view_place){.numa = open->numa,
                                                   .upstream = open->upstream,
                                                   .bridge = -1,
                                                   .bw = open->bw,
                                                   .line = open->line,
                                                   .column = open->column};
    return open->gpu;
}

static void add_switch(struct sy_nccl_reader *r, struct sy_nccl_open *open)
{
    struct sy_view *view = r->xml->views[r->view];

    if (view->n_switches == SY_VIEW_SWITCHES_MAX) {
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "more than %d PCIe switches", SY_VIEW_SWITCHES_MAX);
        stop(r);
        return;
    }
    struct sy_view_switch *s = &view->switches[view->n_switches];
    snprintf(s->pci, sizeof s->pci, "%s", open->pci);
    s->at = (struct sy_view_place){open->numa, open->upstream, -1, open->bw, open->line, open->column};
    open->upstream = view->n_switches++;
}

/* A NIC, which may stand under several CPUs when it has no place of its own. Returns its number, -1: none. */
static int add_nic(struct sy_nccl_reader *r, const struct sy_nccl_open *open, const char *device)
{
    struct sy_view *view = r->xml->views[r->view];

    for (int i = 0; i < view->n_nics; i++) {
        struct sy_view_nic *nic = &view->nics[i];
        bool named = device[0] && !strcmp(nic->device, device), same = open->pci[0] && !strcmp(nic->pci, open->pci);
        if (!named && !same)
            continue;
        if (nic->at.numa != open->numa) {
            sy_nccl_say(r, SY_FINDING_NOTE, 0, 0,
                        "%.60s stands under a second <cpu> (the first time in line %d): it counts once",
                        named ? device : open->pci, nic->at.line);
            /* What has an address has one place, the first. */
            if (!nic->pci[0])
                nic->at.numa = -1;
        }
        if (named || !nic->device[0] || !device[0])
            return i;
    }
    if (view->n_nics == SY_VIEW_NICS_MAX) {
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "more than %d NICs", SY_VIEW_NICS_MAX);
        stop(r);
        return -1;
    }
    struct sy_view_nic *nic = &view->nics[view->n_nics];
    *nic = (struct sy_view_nic){.cls = -1, .number = -1, .rail = -1, .plane = -1};
    snprintf(nic->pci, sizeof nic->pci, "%s", open->pci);
    nic->at = (struct sy_view_place){open->numa, open->upstream, -1, open->bw, open->line, open->column};
    nic->rdma = open->pci[0] != 0;
    if (open->cls)
        nic->cls = open->cls >> 8 == 0x0207 ? SY_LINK_IB : SY_LINK_ETHERNET;
    return view->n_nics++;
}

static bool is_amd(const char *vendor)
{
    return vendor && strtoul(vendor, NULL, 16) == 0x1002;
}

/* Display and 3D controllers, and AMD's accelerators. */
static bool is_gpu(uint32_t cls, const char *vendor)
{
    return cls >> 16 == 0x03 || (cls >> 16 == 0x12 && is_amd(vendor));
}

static void begin_pci(struct sy_nccl_reader *r, const char **attributes, struct sy_nccl_open *open)
{
    const char *busid = attribute(attributes, "busid"), *cls = attribute(attributes, "class");
    struct sy_nccl_open *above = &r->open[r->depth - 1];

    /* What other devices hang at is a switch, whether it says so or not. */
    if (above->kind == NCCL_PCI && !above->told) {
        add_switch(r, above);
        above->told = true;
        open->upstream = above->upstream;
    }
    open->bw = 0;
    open->gen = open->width = 0;
    sy_pci_spell(busid ? busid : "", open->pci);
    if (!open->pci[0])
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "%s%.40s%s, expected one like busid=\"0000:1b:00.0\"",
                    busid ? "busid=\"" : "<pci>", busid ? busid : " without busid", busid ? "\"" : "");
    open->cls = cls ? (uint32_t)strtoul(cls, NULL, 16) : 0;
    open->told = open->cls;
    read_port(r, attributes, open);
    if (is_gpu(open->cls, attribute(attributes, "vendor"))) {
        r->xml->views[r->view]->xgmi |= is_amd(attribute(attributes, "vendor"));
        add_gpu(r, open);
    } else if (open->cls >> 8 == 0x0604) {
        add_switch(r, open);
    } else if (open->cls >> 16 == 0x02) {
        add_nic(r, open, "");
    }
}

static void begin_gpu(struct sy_nccl_reader *r, const char **attributes, struct sy_nccl_open *open)
{
    struct sy_nccl_open *pci = &r->open[r->depth - 1];
    if (pci->cls >> 16 == 0x02) {
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "%s is a NIC and cannot be a GPU", pci->pci);
        return;
    }
    pci->told = true;
    open->gpu = pci->gpu = add_gpu(r, pci);
    if (open->gpu < 0)
        return;
    struct sy_nvml_gpu *gpu = &r->xml->views[r->view]->nvml.gpus[open->gpu];
    int64_t sm = number(r, attributes, "sm", -1), dev = number(r, attributes, "dev", -1);
    const char *gcn = attribute(attributes, "gcn");
    if (gpu->n_up >= 0) {
        sy_nccl_say(r, SY_FINDING_NOTE, 0, 0, "GPU %s is here again, for another rank: it counts once", gpu->pci);
        open->repeated = true;
        return;
    }
    /* Of AMD's GPUs sm is the number of compute units. */
    gpu->sm = !gcn && sm > 0 && sm < 1000 ? (int32_t)sm : -1;
    r->xml->views[r->view]->xgmi |= gcn != NULL;
    if (gcn)
        snprintf(gpu->name, sizeof gpu->name, "%s%.60s", isdigit((unsigned char)*gcn) ? "gfx" : "", gcn);
    /* A dump has all links of a GPU that it has looked at. */
    gpu->n_up = gpu->n_present = 0;
    r->dev[r->view][open->gpu] = (int)dev;
}

static void begin_nvlink(struct sy_nccl_reader *r, const char **attributes, const struct sy_nccl_open *open)
{
    const char *target = attribute(attributes, "target"), *tclass = attribute(attributes, "tclass");
    int64_t count = number(r, attributes, "count", 1);
    unsigned long cls = tclass ? strtoul(tclass, NULL, 16) : 0;

    if (open->gpu < 0 || open->repeated)
        return;
    if (!target || count < 1 || count > 64) {
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, target ? "count is not a number of links" : "<nvlink> without target");
        return;
    }
    if (r->n_links == SY_NCCL_LINKS_MAX) {
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "more than %d times <nvlink>", SY_NCCL_LINKS_MAX);
        stop(r);
        return;
    }
    struct sy_nccl_link *link = &r->links[r->n_links];
    *link = (struct sy_nccl_link){.view = r->view,
                                  .gpu = open->gpu,
                                  .count = (int)count,
                                  .line = (int)XML_GetCurrentLineNumber(r->parser),
                                  .column = (int)XML_GetCurrentColumnNumber(r->parser) + 1};
    link->far = cls == 0x068001      ? SY_FAR_CPU
                : cls >> 8 == 0x0680 ? SY_FAR_SWITCH
                : cls >> 16 == 0x03  ? SY_FAR_GPU
                : cls >> 16 == 0x12  ? SY_FAR_GPU
                                     : SY_FAR_UNKNOWN;
    sy_pci_spell(target, link->target);
    if (!strcmp(link->target, r->xml->views[r->view]->nvml.gpus[open->gpu].pci)) {
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "the %d NVLinks of GPU %s lead to itself: they are not counted",
                    (int)count, link->target);
        return;
    }
    r->n_links++;
}

static void begin_net(struct sy_nccl_reader *r, const char **attributes, const struct sy_nccl_open *open)
{
    const char *guid = attribute(attributes, "guid");
    char name[sizeof((struct sy_view_nic *)NULL)->device] = "";
    int64_t speed = number(r, attributes, "speed", 0);

    for (int d = r->depth - 1; d > 0 && r->open[d].kind != NCCL_CPU; d--)
        r->open[d].told = true;
    if (open->gpu >= 0) {
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "%s is a GPU and cannot be a NIC", open->pci);
        return;
    }
    take(attributes, "name", name, sizeof name);
    int i = add_nic(r, open, name);
    if (i < 0)
        return;
    struct sy_view_nic *nic = &r->xml->views[r->view]->nics[i];
    /* One without a name is another port of a NIC that may have one. */
    if (*name)
        memcpy(nic->device, name, sizeof nic->device);
    if (guid && strtoull(guid, NULL, 16))
        snprintf(nic->guid, sizeof nic->guid, "%s", guid);
    /* Mb/s; what is not told is not zero. */
    if (speed > 0)
        nic->port_bw = (double)speed * 1e6 / 8;
    if (nic->cls < 0)
        nic->cls = SY_LINK_ETHERNET;
    nic->number = (int)number(r, attributes, "dev", -1);
    nic->rail = (int)number(r, attributes, "rail", -1);
    nic->plane = (int)number(r, attributes, "plane", -1);
}

static enum sy_nccl_element kind_of(const char *name)
{
    static const char *const names[] = {"", "system", "cpu", "pci", "gpu", "nvlink", "c2c", "nic", "net"};

    for (int i = 1; i < (int)(sizeof names / sizeof *names); i++)
        if (!strcmp(name, names[i]))
            return (enum sy_nccl_element)i;
    return strcmp(name, "xgmi") ? NCCL_OTHER : NCCL_NVLINK;
}

static void begin_root(struct sy_nccl_reader *r, const char *name, const char **attributes)
{
    if (!strcmp(name, "graphs"))
        sy_nccl_say(
            r, SY_FINDING_ERROR, 0, 0,
            "<graphs> is not a topology but what NCCL has made of one (NCCL_GRAPH_DUMP_FILE); NCCL_TOPO_DUMP_FILE "
            "writes <system>");
    else if (!strcmp(name, "topology"))
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0,
                    "expected <system>, found <topology>: this is a file of hwloc (--import-hwloc)");
    else if (strcmp(name, "system") != 0)
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "expected <system>, found <%.60s>", name);
    else if (number(r, attributes, "version", 1) != 1 && number(r, attributes, "version", 1) != 2)
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "version %.20s of NCCL's topology, this program reads 1, and 2 of RCCL",
                    attribute(attributes, "version"));
    if (r->failed)
        stop(r);
}

static void begin_c2c(struct sy_nccl_reader *r, const char **attributes, const struct sy_nccl_open *open)
{
    int64_t count = number(r, attributes, "count", 1), mb = number(r, attributes, "bw", 0);

    if (open->gpu < 0 || open->repeated || count < 0 || count > 64)
        return;
    r->xml->views[r->view]->nvml.gpus[open->gpu].n_c2c = (int)count;
    r->xml->views[r->view]->nvml.gpus[open->gpu].c2c_bw = mb > 0 ? (double)mb * 1e6 : 0;
}

/* Each element has its place: what a <cpu> says holds for all inside it. */
static bool is_in_place(struct sy_nccl_reader *r, enum sy_nccl_element kind, enum sy_nccl_element parent)
{
    static const struct {
        unsigned parents;
        const char *text;
    } places[] = {[NCCL_SYSTEM] = {0, "<system> inside another element"},
                  [NCCL_CPU] = {1u << NCCL_SYSTEM, "<cpu> outside <system>"},
                  [NCCL_PCI] = {1u << NCCL_CPU | 1u << NCCL_PCI, "<pci> outside a <cpu>"},
                  [NCCL_GPU] = {1u << NCCL_PCI, "<gpu> outside a <pci>"},
                  [NCCL_NVLINK] = {1u << NCCL_GPU, "<nvlink> outside a <gpu>"},
                  [NCCL_C2C] = {1u << NCCL_GPU, "<c2c> outside a <gpu>"},
                  [NCCL_NIC] = {1u << NCCL_CPU | 1u << NCCL_PCI, "<nic> outside a <cpu>"},
                  [NCCL_NET] = {1u << NCCL_NIC, "<net> outside a <nic>"}};

    if (places[kind].parents >> parent & 1)
        return true;
    sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "%s", places[kind].text);
    return false;
}

/* One element, of which *open is what is known so far: what its parent knew. */
static enum sy_nccl_element begin_inside(struct sy_nccl_reader *r, const char *name, const char **attributes,
                                         struct sy_nccl_open *open)
{
    enum sy_nccl_element kind = kind_of(name);

    if (kind == NCCL_OTHER || !is_in_place(r, kind, open->kind))
        return NCCL_OTHER;
    switch (kind) {
    case NCCL_CPU:
        begin_cpu(r, attributes, open);
        break;
    case NCCL_PCI:
        open->gpu = -1;
        begin_pci(r, attributes, open);
        break;
    case NCCL_GPU:
        begin_gpu(r, attributes, open);
        break;
    case NCCL_NVLINK:
        r->xml->views[r->view]->xgmi |= !strcmp(name, "xgmi");
        begin_nvlink(r, attributes, open);
        break;
    case NCCL_C2C:
        begin_c2c(r, attributes, open);
        break;
    case NCCL_NET:
        begin_net(r, attributes, open);
        break;
    case NCCL_SYSTEM:
    case NCCL_NIC:
    case NCCL_OTHER:
        break;
    }
    return kind;
}

static void XMLCALL begin(void *data, const char *name, const char **attributes)
{
    struct sy_nccl_reader *r = data;

    if (r->stopped)
        return;
    if (!r->depth) {
        begin_root(r, name, attributes);
        r->open[0] = (struct sy_nccl_open){.kind = NCCL_SYSTEM, .numa = -1, .upstream = -1, .gpu = -1};
        r->depth = 1;
        return;
    }
    if (r->depth == SY_NCCL_DEPTH_MAX) {
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "nested deeper than %d elements", SY_NCCL_DEPTH_MAX);
        stop(r);
        return;
    }
    struct sy_nccl_open *open = &r->open[r->depth];
    *open = r->open[r->depth - 1];
    enum sy_nccl_element kind = kind_of(name);
    /* A GPU and a NIC have their place from the <pci> around them. */
    if (open->kind == NCCL_CPU || (kind != NCCL_GPU && kind != NCCL_NIC && kind != NCCL_NET)) {
        open->line = (int)XML_GetCurrentLineNumber(r->parser);
        open->column = (int)XML_GetCurrentColumnNumber(r->parser) + 1;
    }
    /* What stands inside something unknown, or in a wrong place, is not looked at. */
    if (open->kind != NCCL_OTHER)
        kind = begin_inside(r, name, attributes, open);
    else
        kind = NCCL_OTHER;
    open->kind = kind;
    r->depth++;
}

static void XMLCALL end(void *data, const char *name)
{
    struct sy_nccl_reader *r = data;

    (void)name;
    if (r->stopped)
        return;
    const struct sy_nccl_open *open = &r->open[--r->depth];
    if (open->kind == NCCL_PCI && !open->told && !r->n_untold++) {
        r->untold_line = open->line;
        r->untold_column = open->column;
    }
}

static void XMLCALL entity(void *data, const char *name, int is_parameter, const char *value, int n, const char *base,
                           const char *system, const char *public, const char *notation)
{
    (void)name, (void)is_parameter, (void)value, (void)n, (void)base, (void)system, (void)public, (void)notation;
    sy_nccl_say(data, SY_FINDING_ERROR, 0, 0, "entities are not read");
    stop(data);
}

static void parse(struct sy_nccl_reader *r, const char *text, size_t len)
{
    XML_SetUserData(r->parser, r);
    XML_SetElementHandler(r->parser, begin, end);
    XML_SetEntityDeclHandler(r->parser, entity);
    if (XML_Parse(r->parser, text, (int)len, XML_TRUE) != XML_STATUS_OK && !r->stopped) {
        /* expat's place is where it noticed. */
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "%s", XML_ErrorString(XML_GetErrorCode(r->parser)));
        r->stopped = true;
    }
    if (!r->failed && !r->xml->n_views)
        sy_nccl_say(r, SY_FINDING_ERROR, 0, 0, "there is no <cpu> in it");
    sy_nccl_settle(r);
}

enum sy_status sy_nccl_xml_read(const char *name, const char *text, size_t len, struct sy_nccl_xml *xml,
                                struct sy_findings *findings, struct sy_error *err)
{
    struct sy_nccl_reader *r = calloc(1, sizeof *r);
    enum sy_status st = SY_OK;

    memset(xml, 0, sizeof *xml);
    if (r) {
        *r = (struct sy_nccl_reader){.name = name, .xml = xml, .findings = findings, .err = err};
        r->parser = XML_ParserCreate(NULL);
        r->links = calloc(SY_NCCL_LINKS_MAX, sizeof *r->links);
    }
    if (!r || !r->parser || !r->links)
        st = sy_error_set(err, SY_ERR_SYSTEM, "no memory for %s", name);
    else if (len > BYTES_MAX)
        st = sy_error_set(err, SY_ERR_DATA, "%s: larger than %zu MiB", name, BYTES_MAX >> 20);
    else
        parse(r, text, len);
    if (!st && r->failed)
        st = SY_ERR_DATA;
    if (r) {
        if (r->parser)
            XML_ParserFree(r->parser);
        free(r->links);
    }
    free(r);
    return st;
}

void sy_nccl_xml_fini(struct sy_nccl_xml *xml)
{
    for (int i = 0; i < xml->n_views; i++)
        sy_view_destroy(xml->views[i]);
    memset(xml, 0, sizeof *xml);
}
