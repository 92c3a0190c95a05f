/* SPDX-License-Identifier: Apache-2.0
 * view.c - a machine's view becomes a node of a cluster
 */
#include "view.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct sy_view *sy_view_create(void)
{
    return calloc(1, sizeof(struct sy_view));
}

void sy_view_destroy(struct sy_view *view)
{
    if (view)
        sy_nvml_fini(&view->nvml);
    free(view);
}

/* Generations 1 and 2 send 8 bits as 10, 3 to 5 send 128 as 130, 6 and later 242 of 256 bytes. */
double sy_pcie_bw(double gt_s, int lanes)
{
    double code = gt_s <= 0 ? 0 : gt_s < 8 ? 0.8 : gt_s < 64 ? 128.0 / 130 : 242.0 / 256;

    return lanes > 0 ? gt_s * 1e9 * code / 8 * lanes : 0;
}

/* What building a node needs everywhere. */
struct build {
    const struct sy_view *view;
    struct sy_cluster *c;
    struct sy_source from;
    int node;
    int numa[SY_VIEW_NUMA_MAX], cpus[SY_VIEW_NUMA_MAX], switches[SY_VIEW_SWITCHES_MAX], gpus[SY_NVML_GPUS_MAX];
};

static struct sy_source at_line(const struct build *b, int line, int column)
{
    return line > 0 ? sy_source_imported(b->from.file, line, column) : b->from;
}

/* Words of a maker's name that tell nothing. */
static const char *skip_words(const char *at)
{
    static const char *const words[] = {"NVIDIA ", "(R)", "(TM)", "(tm)", "Tesla ", "Processor", "CPU "};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strncmp(at, words[i], strlen(words[i]))) {
            at += strlen(words[i]);
            i = (size_t)-1;
        }
    return at;
}

/* "NVIDIA H200" -> "h200", "Intel(R) Xeon(R) Platinum 8174 CPU @ 3.10GHz" -> "intel-xeon-platinum-8174": as cluster files can
 * call it. */
static uint32_t type_name(struct build *b, const char *model, const char *otherwise)
{
    char out[48];
    size_t n = 0;

    for (model = skip_words(model); *model && *model != '@' && *model != ',' && n + 1 < sizeof out;) {
        if (isalnum((unsigned char)*model))
            out[n++] = (char)tolower((unsigned char)*model);
        else if (n && out[n - 1] != '-')
            out[n++] = '-';
        model = skip_words(model + 1);
    }
    while (n && out[n - 1] == '-')
        n--;
    out[n] = 0;
    return sy_cluster_intern(b->c, n && isalpha((unsigned char)out[0]) ? out : otherwise);
}

static int link_type(struct build *b, const char *name, enum sy_link_class cls, double bw)
{
    struct sy_link_type type = {.name = sy_cluster_intern(b->c, name), .cls = cls, .from = b->from};

    if (bw > 0)
        type.bw = sy_real_of(bw, b->from);
    return sy_cluster_link_type(b->c, &type);
}

/* Types of different rates have different names: "pcie-63.0" for 63 GB/s. */
static int rated_type(struct build *b, const char *family, enum sy_link_class cls, double bw)
{
    char name[64];

    if (bw <= 0)
        return link_type(b, family, cls, 0);
    if (cls == SY_LINK_IB || cls == SY_LINK_ETHERNET)
        snprintf(name, sizeof name, "%s-%.0fg", family, bw * 8e-9);
    else
        snprintf(name, sizeof name, "%s-%.4g", family, bw * 1e-9);
    return link_type(b, name, cls, bw);
}

static int vertex(struct build *b, enum sy_vertex_kind kind, const char *id, int i, struct sy_source from)
{
    char text[32];

    snprintf(text, sizeof text, "%s%d", id, i);
    return sy_cluster_add_vertex(b->c, b->node, kind, text, from);
}

static void set_numa(struct build *b, int v, int numa, struct sy_source from)
{
    if (v >= 0 && numa >= 0)
        b->c->vertices[v].numa = sy_int_of(numa, from);
}

static void set_text(struct build *b, struct sy_text *text, const char *value, struct sy_source from)
{
    if (value[0])
        *text = sy_text_of(b->c, value, from);
}

static void join(struct build *b, int from, int to, int type, int count, struct sy_source source)
{
    if (from >= 0 && to >= 0 && type >= 0)
        sy_cluster_add_link(b->c, from, to, type, count > 0 ? sy_int_of(count, source) : (struct sy_int){0}, source);
}

/* NUMA nodes, and a CPU device for each that has cores. */
static void add_cpus(struct build *b)
{
    int n_cpus = 0;

    for (int i = 0; i < b->view->n_numa; i++) {
        const struct sy_view_numa *numa = &b->view->numa[i];
        struct sy_source from = at_line(b, numa->line, numa->column);
        b->numa[i] = b->c->nodes[b->node].first_numa + i;
        b->cpus[i] = -1;
        set_text(b, &b->c->vertices[b->numa[i]].cpus, numa->cpus, from);
        if (!numa->n_cores && !numa->cpus[0])
            continue;
        struct sy_device_type type = {.name = type_name(b, b->view->cpu_model, "cpu"), .from = from};
        set_text(b, &type.model, b->view->cpu_model, b->from);
        if (numa->n_cores)
            type.cores = sy_int_of(numa->n_cores, from);
        if (numa->l2_bytes)
            type.l2 = sy_real_of((double)numa->l2_bytes, from);
        if (numa->l3_bytes)
            type.l3 = sy_real_of((double)numa->l3_bytes, from);
        if (numa->bytes)
            type.mem = sy_real_of((double)numa->bytes, from);
        int v = b->cpus[i] = vertex(b, SY_VERTEX_CPU, "cpu", n_cpus++, from);
        if (v < 0)
            continue;
        b->c->vertices[v].type = sy_cluster_device_type(b->c, &type);
        set_numa(b, v, i, from);
        set_text(b, &b->c->vertices[v].cpus, numa->cpus, from);
    }
    /* Sockets reach one another; how fast nobody tells. Very large machines are joined at their first NUMA node. */
    int smp = b->view->n_numa > 1 ? link_type(b, "smp", SY_LINK_SMP, 0) : -1;
    for (int i = 0; i < b->view->n_numa; i++)
        for (int j = i + 1; j < b->view->n_numa && (i == 0 || b->view->n_numa <= 16); j++)
            join(b, b->numa[i], b->numa[j], smp, 0, b->from);
}

/* A device's port: to the switch above it, else to the host bridge of its NUMA node. */
static void hang(struct build *b, int v, const struct sy_view_place *at)
{
    struct sy_source from = at_line(b, at->line, at->column);

    set_numa(b, v, at->numa, from);
    if (at->upstream >= 0)
        join(b, v, b->switches[at->upstream], rated_type(b, "pcie", SY_LINK_PCIE, at->bw), 0, from);
    else if (at->bw > 0 && at->numa >= 0)
        join(b, v, b->numa[at->numa], rated_type(b, "pcie", SY_LINK_PCIE, at->bw), 0, from);
}

static void add_switches(struct build *b)
{
    for (int i = 0; i < b->view->n_switches; i++) {
        const struct sy_view_switch *s = &b->view->switches[i];
        struct sy_source from = at_line(b, s->at.line, s->at.column);
        int v = b->switches[i] = vertex(b, SY_VERTEX_PCIE, "pcie", i, from);
        if (v >= 0)
            set_text(b, &b->c->vertices[v].pci, s->pci, from);
    }
    for (int i = 0; i < b->view->n_switches; i++)
        hang(b, b->switches[i], &b->view->switches[i].at);
}

/* One of the fastest ports. What has no place in the machine is virtual. */
static bool is_rail(const struct sy_view_nic *nic, double fastest)
{
    return fastest > 0 && nic->port_bw == fastest && nic->pci[0];
}

static void add_nics(struct build *b)
{
    double fastest = 0;
    int rail = 0, n_fastest = 0;

    for (int i = 0; i < b->view->n_nics; i++)
        fastest = b->view->nics[i].port_bw > fastest ? b->view->nics[i].port_bw : fastest;
    for (int i = 0; i < b->view->n_nics; i++)
        n_fastest += is_rail(&b->view->nics[i], fastest);
    for (int i = 0; i < b->view->n_nics; i++) {
        const struct sy_view_nic *nic = &b->view->nics[i];
        struct sy_source from = at_line(b, nic->at.line, nic->at.column);
        int v = vertex(b, SY_VERTEX_NIC, "nic", i, from);
        if (v < 0)
            continue;
        set_text(b, &b->c->vertices[v].pci, nic->pci, from);
        set_text(b, &b->c->vertices[v].device, nic->device, from);
        set_text(b, &b->c->vertices[v].uuid, nic->guid, from);
        if (nic->cls >= 0)
            b->c->vertices[v].port = rated_type(b, nic->cls == SY_LINK_IB ? "ib" : "eth", (enum sy_link_class)nic->cls,
                                                nic->port_bw);
        if (nic->plane >= 0)
            b->c->vertices[v].plane = sy_int_of(nic->plane, from);
        /* Equal fast ports are taken for rails, in their order; one alone is none. */
        if (nic->rail >= 0)
            b->c->vertices[v].rail = sy_int_of(nic->rail, from);
        else if (n_fastest > 1 && is_rail(nic, fastest))
            b->c->vertices[v].rail = sy_int_of(rail++, from);
        hang(b, v, &nic->at);
    }
}

static void add_gpu(struct build *b, int i)
{
    const struct sy_nvml_gpu *gpu = &b->view->nvml.gpus[i];
    struct sy_source from = at_line(b, b->view->gpus[i].line, b->view->gpus[i].column);
    struct sy_device_type type = {.name = type_name(b, gpu->name, "gpu"), .from = b->from};
    int v = b->gpus[i] = vertex(b, SY_VERTEX_GPU, "gpu", i, from);

    set_text(b, &type.model, gpu->name, b->from);
    if (gpu->sm > 0)
        type.sm = sy_int_of(gpu->sm, b->from);
    if (gpu->memory_bytes)
        type.mem = sy_real_of((double)gpu->memory_bytes, b->from);
    if (v < 0)
        return;
    b->c->vertices[v].type = sy_cluster_device_type(b->c, &type);
    set_text(b, &b->c->vertices[v].pci, gpu->pci, from);
    set_text(b, &b->c->vertices[v].uuid, gpu->uuid, from);
    hang(b, v, &b->view->gpus[i]);
    int numa = b->view->gpus[i].numa, cpu = numa < 0 ? -1 : b->cpus[numa] < 0 ? b->numa[numa] : b->cpus[numa];
    if (gpu->n_c2c > 0)
        join(b, v, cpu, rated_type(b, "c2c", SY_LINK_C2C, gpu->c2c_bw), gpu->n_c2c, from);
    for (int k = 0; k < gpu->n_nvlinks; k++)
        if (gpu->nvlinks[k].far == SY_FAR_CPU)
            join(b, v, cpu, rated_type(b, "nvlink", SY_LINK_NVLINK, gpu->nvlinks[k].bw), gpu->nvlinks[k].count, from);
}

/* Whether a fabric that goes on beyond this machine has the GPU's links. */
static bool in_fabric(const struct sy_nvml_gpu *gpu)
{
    static const uint8_t alone[16];

    return gpu->fabric == SY_NVML_FABRIC_COMPLETED && memcmp(gpu->cluster, alone, sizeof alone) != 0;
}

#define NVSWITCHES_MAX 64

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Addresses of this machine's NVSwitches, in order, each once; all that have none are one, "". */
static int list_nvswitches(const struct sy_nvml *nvml, char known[NVSWITCHES_MAX][20])
{
    int n = 0;

    for (int i = 0; i < nvml->n_gpus; i++)
        for (int k = 0; k < nvml->gpus[i].n_nvlinks && !in_fabric(&nvml->gpus[i]); k++) {
            const struct sy_nvlink *link = &nvml->gpus[i].nvlinks[k];
            int s = 0;
            while (s < n && strcmp(known[s], link->pci))
                s++;
            if (link->far == SY_FAR_SWITCH && s == n && n < NVSWITCHES_MAX)
                snprintf(known[n++], 20, "%s", link->pci);
        }
    qsort(known, (size_t)n, sizeof *known, by_text);
    return n;
}

static int root_of(const int *parent, int s)
{
    while (parent[s] != s)
        s = parent[s];
    return s;
}

/* Boards of switches that no GPU joins are joined by links that no GPU sees: there are some, how fast they are nobody tells. */
static void join_boards(struct build *b, char known[NVSWITCHES_MAX][20], int n, const int *vertices)
{
    const struct sy_nvml *nvml = &b->view->nvml;
    int parent[NVSWITCHES_MAX];

    for (int s = 0; s < n; s++)
        parent[s] = s;
    for (int i = 0; i < nvml->n_gpus; i++)
        for (int k = 0, last = -1; k < nvml->gpus[i].n_nvlinks && !in_fabric(&nvml->gpus[i]); k++)
            for (int s = 0; s < n; s++)
                if (nvml->gpus[i].nvlinks[k].far == SY_FAR_SWITCH && !strcmp(nvml->gpus[i].nvlinks[k].pci, known[s])) {
                    if (last >= 0)
                        parent[root_of(parent, s)] = root_of(parent, last);
                    last = s;
                }
    int type = -1;
    for (int s = 1; s < n; s++)
        if (root_of(parent, s) != root_of(parent, 0)) {
            type = type < 0 ? link_type(b, "nvlink", SY_LINK_NVLINK, 0) : type;
            join(b, vertices[0], vertices[s], type, 0, b->from);
            parent[root_of(parent, s)] = root_of(parent, 0);
        }
}

static void add_nvswitches(struct build *b)
{
    const struct sy_nvml *nvml = &b->view->nvml;
    char known[NVSWITCHES_MAX][20];
    int n = list_nvswitches(nvml, known), vertices[NVSWITCHES_MAX];

    for (int s = 0; s < n; s++) {
        int v = vertices[s] = vertex(b, SY_VERTEX_NVSWITCH, "nvs", s, b->from);
        if (v >= 0)
            set_text(b, &b->c->vertices[v].pci, known[s], b->from);
        for (int i = 0; i < nvml->n_gpus; i++)
            for (int k = 0; k < nvml->gpus[i].n_nvlinks && !in_fabric(&nvml->gpus[i]); k++) {
                const struct sy_nvlink *link = &nvml->gpus[i].nvlinks[k];
                if (link->far == SY_FAR_SWITCH && !strcmp(link->pci, known[s]))
                    join(b, b->gpus[i], v, rated_type(b, "nvlink", SY_LINK_NVLINK, link->bw), link->count,
                         at_line(b, b->view->gpus[i].line, b->view->gpus[i].column));
            }
    }
    join_boards(b, known, n, vertices);
}

/* Links from GPU to GPU, each once, as many as both ends tell. */
static void add_direct(struct build *b)
{
    const struct sy_nvml *nvml = &b->view->nvml;

    for (int i = 0; i < nvml->n_gpus; i++)
        for (int k = 0; k < nvml->gpus[i].n_nvlinks; k++) {
            const struct sy_nvlink *link = &nvml->gpus[i].nvlinks[k];
            int j = link->pci[0] ? sy_nvml_find(nvml, link->pci) : -1, n_back = 0;
            if (j <= i || link->far == SY_FAR_SWITCH || link->far == SY_FAR_CPU)
                continue;
            for (int m = 0; m < nvml->gpus[j].n_nvlinks; m++)
                if (!strcmp(nvml->gpus[j].nvlinks[m].pci, nvml->gpus[i].pci) && nvml->gpus[j].nvlinks[m].bw == link->bw)
                    n_back += nvml->gpus[j].nvlinks[m].count;
            if (n_back)
                join(b, b->gpus[i], b->gpus[j],
                     rated_type(b, b->view->xgmi ? "xgmi" : "nvlink", SY_LINK_NVLINK, link->bw),
                     link->count < n_back ? link->count : n_back,
                     at_line(b, b->view->gpus[i].line, b->view->gpus[i].column));
        }
}

/* One fabric for each clique of a cluster of machines; sy_cluster_append() makes those of several machines one. */
static void add_fabrics(struct build *b)
{
    const struct sy_nvml *nvml = &b->view->nvml;

    for (int i = 0; i < nvml->n_gpus; i++) {
        const struct sy_nvml_gpu *gpu = &nvml->gpus[i];
        int members[SY_NVML_GPUS_MAX], n = 0, count = 0;
        char uuid[33];
        double bw = 0;
        if (!in_fabric(gpu))
            continue;
        for (int k = 0; k < 16; k++)
            snprintf(uuid + 2 * k, 3, "%02x", gpu->cluster[k]);
        b->c->vertices[b->gpus[i]].domain = sy_text_of(b->c, uuid, b->from);
        b->c->vertices[b->gpus[i]].clique = sy_int_of(gpu->clique, b->from);
        for (int j = 0; j < nvml->n_gpus; j++) {
            const struct sy_nvml_gpu *other = &nvml->gpus[j];
            if (in_fabric(other) && other->clique == gpu->clique && !memcmp(other->cluster, gpu->cluster, 16))
                members[n++] = j;
        }
        if (members[0] != i)
            continue;
        for (int k = 0; k < n; k++)
            members[k] = b->gpus[members[k]];
        for (int k = 0; k < gpu->n_nvlinks; k++)
            if (gpu->nvlinks[k].far == SY_FAR_SWITCH) {
                count += gpu->nvlinks[k].count;
                bw = gpu->nvlinks[k].bw;
            }
        char name[64];
        snprintf(name, sizeof name, "nvlink-%.8s-%u", uuid, (unsigned)gpu->clique);
        struct sy_fabric fabric = {.name = sy_cluster_intern(b->c, name),
                                   .kind = SY_FABRIC_NVLINK,
                                   .port = rated_type(b, "nvlink", SY_LINK_NVLINK, bw),
                                   .count = {count, b->from},
                                   .domain = sy_text_of(b->c, uuid, b->from),
                                   .clique = {gpu->clique, b->from},
                                   .from = b->from};
        sy_cluster_add_fabric(b->c, &fabric, members, n);
    }
}

static void add_facts(struct build *b)
{
    if (b->view->os[0])
        sy_cluster_add_fact(b->c, b->node, "os", sy_text_of(b->c, b->view->os, b->from));
    if (b->view->nvml.driver[0])
        sy_cluster_add_fact(b->c, b->node, "nvidia-driver", sy_text_of(b->c, b->view->nvml.driver, b->from));
    for (int i = 0; i < b->view->nvml.n_gpus; i++)
        if (b->view->nvml.gpus[i].chassis[0]) {
            b->c->nodes[b->node].chassis = sy_text_of(b->c, b->view->nvml.gpus[i].chassis, b->from);
            break;
        }
}

enum sy_status sy_view_add(const struct sy_view *view, const char *name, struct sy_source from,
                           struct sy_cluster *cluster, struct sy_error *err)
{
    char made[256];

    if (!name) {
        snprintf(made, sizeof made, "%.*s", (int)strcspn(view->host, "."), view->host);
        name = made[0] ? made : "node0";
    }
    if (sy_cluster_find_node(cluster, name) >= 0)
        return sy_error_set(err, SY_ERR_DATA, "there are two nodes with the name %s", name);
    struct build *b = calloc(1, sizeof *b);
    if (!b)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for node %s", name);
    *b = (struct build){.view = view, .c = cluster, .from = from};
    struct sy_int n_numa = view->n_numa ? sy_int_of(view->n_numa, from) : (struct sy_int){0};
    b->node = sy_cluster_add_node(cluster, name, n_numa, from);
    if (b->node >= 0) {
        if (view->host[0] && strcmp(view->host, name))
            cluster->nodes[b->node].host = sy_text_of(cluster, view->host, from);
        add_cpus(b);
        add_switches(b);
        for (int i = 0; i < view->nvml.n_gpus; i++)
            add_gpu(b, i);
        add_nvswitches(b);
        add_direct(b);
        add_nics(b);
        add_fabrics(b);
        add_facts(b);
    }
    free(b);
    return cluster->out_of_memory ? sy_error_set(err, SY_ERR_SYSTEM, "no memory for node %s", name) : SY_OK;
}
