/* SPDX-License-Identifier: Apache-2.0
 * matrix.c - GPUs and NICs of one machine against each other, as nvidia-smi topo -m shows them
 */
#include <stdlib.h>
#include <string.h>

#include "path.h"
#include "show.h"

#define DEVICES_MAX   (SY_NVML_GPUS_MAX + SY_VIEW_NICS_MAX)
#define SWITCHES_DEEP 16

/* A row and column. */
struct device {
    char label[16];
    const char *name;                  /* a NIC's */
    int gpu;                           /* number among GPUs, -1 for a NIC */
    int numa;                          /* -1: unknown */
    int bridge;                        /* host bridge, -1: unknown */
    int above[SWITCHES_DEEP], n_above; /* PCIe switches from the device upward */
    const char *cpus, *pci;
};

struct table {
    struct device *devices;
    int n, n_left_out;
    const struct sy_view *view;
    const struct sy_cluster *cluster;
    struct sy_path **paths; /* [n] of each GPU; for a cluster */
    int *vertices;          /* [n]; for a cluster */
};

/* NVLinks between two GPUs, -1: not known. */
static int nvlinks(const struct table *t, int i, int j)
{
    if (t->view)
        return sy_nvml_links(&t->view->nvml, t->devices[i].gpu, t->devices[j].gpu, NULL);
    const struct sy_path *path = t->paths[i] ? &t->paths[i][t->vertices[j]] : NULL;
    return path && path->cls == SY_PATH_NVLINK ? path->n_lanes : 0;
}

/* What the driver says of two GPUs goes before what their places tell. */
static const char *told(const struct table *t, int i, int j)
{
    static const char *const words[] = {"PIX", "PIX", "PXB", "PHB", "NODE", "SYS"};

    if (!t->view || !t->view->nvml.pairs)
        return NULL;
    int a = t->devices[i].gpu, b = t->devices[j].gpu;
    const struct sy_nvml_pair *pair =
        &t->view->nvml.pairs[a < b ? a * t->view->nvml.n_gpus + b : b * t->view->nvml.n_gpus + a];
    return pair->ancestor >= 0 && pair->ancestor <= 50 ? words[pair->ancestor / 10] : NULL;
}

static void word_of(const struct table *t, int i, int j, char out[16])
{
    const struct device *a = &t->devices[i], *b = &t->devices[j];

    if (a->gpu >= 0 && b->gpu >= 0) {
        int n = nvlinks(t, i, j);
        if (n > 0) {
            snprintf(out, 16, "NV%d", n);
            return;
        }
        if (told(t, i, j)) {
            snprintf(out, 16, "%s", told(t, i, j));
            return;
        }
    }
    /* Functions of one card. */
    size_t bus = strcspn(a->pci, ".");
    if (bus && !strncmp(a->pci, b->pci, bus) && b->pci[bus] == '.') {
        snprintf(out, 16, "PIX");
        return;
    }
    for (int k = 0; k < a->n_above; k++)
        for (int m = 0; m < b->n_above; m++)
            if (a->above[k] == b->above[m]) {
                snprintf(out, 16, "%s", k || m ? "PXB" : "PIX");
                return;
            }
    snprintf(out, 16, "%s",
             a->numa < 0 || b->numa < 0                 ? "?"
             : a->numa != b->numa                       ? "SYS"
             : a->bridge >= 0 && a->bridge == b->bridge ? "PHB"
                                                        : "NODE");
}

static void put_cell(struct sy_buf *out, const char *text, int width)
{
    sy_buf_printf(out, "%-*s", width, text);
}

static bool put_table(const struct table *t, struct sy_buf *out)
{
    char text[32];
    int affinity = 14;

    for (int i = 0; i < t->n; i++)
        if (t->devices[i].gpu >= 0 && (int)strlen(t->devices[i].cpus) + 2 > affinity)
            affinity = (int)strlen(t->devices[i].cpus) + 2;
    put_cell(out, "", 7);
    for (int i = 0; i < t->n; i++)
        put_cell(out, t->devices[i].label, 7);
    put_cell(out, "CPU Affinity", affinity);
    sy_buf_printf(out, "NUMA Affinity\n");
    for (int i = 0; i < t->n; i++) {
        put_cell(out, t->devices[i].label, 7);
        for (int j = 0; j < t->n; j++) {
            if (i == j)
                snprintf(text, sizeof text, " X");
            else
                word_of(t, i, j, text);
            put_cell(out, text, i < t->n - 1 || j < t->n - 1 || t->devices[i].gpu >= 0 ? 7 : 0);
        }
        if (t->devices[i].gpu >= 0) {
            put_cell(out, t->devices[i].cpus, affinity);
            if (t->devices[i].numa >= 0)
                sy_buf_printf(out, "%d", t->devices[i].numa);
        }
        while (out->len && out->data[out->len - 1] == ' ')
            out->len--;
        sy_buf_printf(out, "\n");
    }
    sy_buf_printf(
        out, "\n  NV#   so many NVLinks, bonded       PIX   one PCIe switch      PXB   several PCIe switches\n"
             "  PHB   one PCIe host bridge          NODE  one NUMA node        SYS   from NUMA node to NUMA node\n");
    for (int i = 0; i < t->n; i++)
        if (t->devices[i].gpu < 0)
            sy_buf_printf(out, "  %-5s %s\n", t->devices[i].label, t->devices[i].name);
    if (t->n_left_out)
        sy_buf_printf(out, "  NICs without RDMA are left out: %d\n", t->n_left_out);
    return sy_buf_printf(out, "%s", "");
}

static void place(const struct sy_view *view, const struct sy_view_place *at, struct device *d)
{
    d->numa = at->numa >= 0 ? view->numa[at->numa].number : -1;
    d->cpus = at->numa >= 0 ? view->numa[at->numa].cpus : "";
    d->bridge = at->bridge;
    for (int s = at->upstream; s >= 0 && d->n_above < SWITCHES_DEEP; s = view->switches[s].at.upstream)
        d->above[d->n_above++] = s;
}

bool sy_show_matrix(const struct sy_view *view, struct sy_buf *out)
{
    struct table t = {.view = view, .devices = calloc(DEVICES_MAX, sizeof *t.devices)};

    for (int i = 0; t.devices && i < view->nvml.n_gpus; i++) {
        struct device *d = &t.devices[t.n++];
        snprintf(d->label, sizeof d->label, "GPU%d", i);
        d->gpu = i;
        d->pci = view->nvml.gpus[i].pci;
        place(view, &view->gpus[i], d);
    }
    for (int i = 0; t.devices && t.n && i < view->n_nics; i++) {
        if (!view->nics[i].rdma) {
            t.n_left_out++;
            continue;
        }
        struct device *d = &t.devices[t.n];
        snprintf(d->label, sizeof d->label, "NIC%d", t.n - view->nvml.n_gpus);
        d->gpu = -1;
        d->name = view->nics[i].device[0] ? view->nics[i].device : view->nics[i].pci;
        d->pci = view->nics[i].pci;
        place(view, &view->nics[i].at, d);
        t.n++;
    }
    bool good = t.devices && (!t.n || put_table(&t, out));
    free(t.devices);
    return good;
}

static void take_vertex(struct table *t, int v, struct device *d)
{
    const struct sy_cluster *c = t->cluster;
    const struct sy_vertex *x = &c->vertices[v];
    int node = x->node, numa = (int)sy_int_or(x->numa, -1);

    t->vertices[t->n] = v;
    d->pci = SY_KNOWN(x->pci) ? sy_cluster_text(c, x->pci.value) : "";
    d->bridge = -1;
    for (int s = sy_show_switch_above(c, v); s >= 0 && d->n_above < SWITCHES_DEEP; s = sy_show_switch_above(c, s)) {
        d->above[d->n_above++] = s;
        if (numa < 0)
            numa = (int)sy_int_or(c->vertices[s].numa, -1);
    }
    d->numa = numa;
    d->cpus = "";
    if (numa >= 0 && numa < sy_int_or(c->nodes[node].n_numa, 1)) {
        struct sy_text cpus = c->vertices[c->nodes[node].first_numa + numa].cpus;
        d->cpus = SY_KNOWN(cpus) ? sy_cluster_text(c, cpus.value) : "";
    }
}

bool sy_show_node_matrix(const struct sy_cluster *c, int node, struct sy_buf *out)
{
    struct table t = {.cluster = c,
                      .devices = calloc(DEVICES_MAX, sizeof *t.devices),
                      .paths = calloc(DEVICES_MAX, sizeof *t.paths),
                      .vertices = calloc(DEVICES_MAX, sizeof *t.vertices)};
    bool good = t.devices && t.paths && t.vertices;
    int n_gpus = 0;

    for (int kind = SY_VERTEX_GPU; good; kind = SY_VERTEX_NIC) {
        for (int v = 0; v < c->n_vertices && t.n < DEVICES_MAX; v++) {
            struct device *d = &t.devices[t.n];
            if (c->vertices[v].node != node || c->vertices[v].kind != kind)
                continue;
            snprintf(d->label, sizeof d->label, kind == SY_VERTEX_GPU ? "GPU%d" : "NIC%d", t.n - n_gpus);
            d->gpu = kind == SY_VERTEX_GPU ? t.n : -1;
            d->name = sy_cluster_text(c, SY_KNOWN(c->vertices[v].device) ? c->vertices[v].device.value
                                                                         : c->vertices[v].id);
            take_vertex(&t, v, d);
            if (kind == SY_VERTEX_GPU) {
                struct sy_error err = SY_ERROR_INIT;
                t.paths[t.n] = calloc((size_t)c->n_vertices, sizeof **t.paths);
                good = t.paths[t.n] && !sy_paths_from(c, v, t.paths[t.n], &err);
            }
            t.n++;
        }
        if (kind == SY_VERTEX_NIC)
            break;
        n_gpus = t.n;
    }
    if (good && n_gpus)
        good = put_table(&t, out);
    for (int i = 0; t.paths && i < t.n; i++)
        free(t.paths[i]);
    free(t.devices);
    free(t.paths);
    free(t.vertices);
    return good;
}
