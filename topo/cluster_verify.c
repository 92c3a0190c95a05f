/* SPDX-License-Identifier: Apache-2.0
 * cluster_verify.c - what a cluster file says against what was found
 *
 * Only what the file itself says is compared. Amounts and rates may differ by a tenth: a GPU of "80 GB" has 85.5, and payload is
 * counted in more ways than one.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cluster_merge.h"
#include "quantity.h"

#define NEAR 0.1

struct verify {
    const struct sy_match *m;
    struct sy_report *report;
    int v, w; /* the vertices that are compared */
};

static bool says(struct sy_source from)
{
    return from.origin == SY_ORIGIN_FILE;
}

static void differ(const struct verify *y, struct sy_source at, const char *what, const char *here, const char *found)
{
    char name[300], from[300];
    const struct sy_cluster *file = y->m->file;

    sy_report_error(y->report, sy_cluster_place(file, at), "%s of '%s' is %s here, and %s was found (%s)", what,
                    sy_cluster_show(file, y->v, name, sizeof name), here, found,
                    sy_cluster_show(y->m->found, y->w, from, sizeof from));
}

static void verify_real(const struct verify *y, const char *what, struct sy_real a, struct sy_real b,
                        enum sy_measure measure)
{
    char here[64], found[64];

    if (!says(a.from) || !SY_KNOWN(b) || fabs(a.value - b.value) <= NEAR * fmax(fabs(a.value), fabs(b.value)))
        return;
    sy_quantity_show(a.value, measure, here, sizeof here);
    sy_quantity_show(b.value, measure, found, sizeof found);
    differ(y, a.from, what, here, found);
}

static void verify_int(const struct verify *y, const char *what, struct sy_int a, struct sy_int b)
{
    char here[32], found[32];

    if (!says(a.from) || !SY_KNOWN(b) || a.value == b.value)
        return;
    snprintf(here, sizeof here, "%lld", (long long)a.value);
    snprintf(found, sizeof found, "%lld", (long long)b.value);
    differ(y, a.from, what, here, found);
}

static void verify_text(const struct verify *y, const char *what, struct sy_text a, struct sy_text b)
{
    const char *here = sy_cluster_text(y->m->file, a.value), *found = sy_cluster_text(y->m->found, b.value);

    if (says(a.from) && SY_KNOWN(b) && strcasecmp(here, found) != 0)
        differ(y, a.from, what, here, found);
}

/* Lanes of NVLink that leave a vertex, those of a fabric too; *at: where the file has the first of them. */
static int64_t lanes_of(const struct sy_cluster *c, int vertex, struct sy_source *at)
{
    int64_t n = 0;

    for (int i = c->first_edge[vertex]; i < c->first_edge[vertex + 1]; i++) {
        const struct sy_link *l = &c->links[c->edges[i]];
        if (c->link_types[l->type].cls != SY_LINK_NVLINK)
            continue;
        if (!n)
            *at = l->source;
        n += sy_int_or(l->count, 1);
    }
    return n;
}

static void verify_gpu(const struct verify *y)
{
    struct sy_source at = {0}, there;
    int64_t here = lanes_of(y->m->file, y->v, &at), found = lanes_of(y->m->found, y->w, &there);
    char a[32], b[32];

    /* A file without NVLink may leave it to discovery. */
    if (!here || here == found || !says(at))
        return;
    snprintf(a, sizeof a, "%lld", (long long)here);
    snprintf(b, sizeof b, "%lld", (long long)found);
    differ(y, at, "number of NVLinks", a, b);
}

static void verify_vertex(const struct verify *y)
{
    const struct sy_cluster *file = y->m->file, *found = y->m->found;
    const struct sy_vertex *a = &file->vertices[y->v], *b = &found->vertices[y->w];

    verify_int(y, "numa", a->numa, b->numa);
    verify_text(y, "pci", a->pci, b->pci);
    verify_text(y, "uuid", a->uuid, b->uuid);
    verify_text(y, "device", a->device, b->device);
    verify_text(y, "domain", a->domain, b->domain);
    verify_int(y, "clique", a->clique, b->clique);
    if (a->type >= 0 && b->type >= 0) {
        const struct sy_device_type *t = &file->device_types[a->type], *u = &found->device_types[b->type];
        verify_text(y, "model", t->model, u->model);
        verify_int(y, "sm", t->sm, u->sm);
        /* Devices that share a CPU have a part of it each. */
        if (!sy_match_shared(y->m, y->v, y->w)) {
            verify_int(y, "cores", t->cores, u->cores);
            verify_real(y, "l2", t->l2, u->l2, SY_BYTES);
            verify_real(y, "l3", t->l3, u->l3, SY_BYTES);
            verify_real(y, "mem", t->mem, u->mem, SY_BYTES);
            verify_real(y, "mem_bw", t->mem_bw, u->mem_bw, SY_BYTES_PER_S);
        }
    }
    if (a->port >= 0 && b->port >= 0)
        verify_real(y, "bw of the port", file->link_types[a->port].bw, found->link_types[b->port].bw, SY_BYTES_PER_S);
    if (a->kind == SY_VERTEX_GPU)
        verify_gpu(y);
}

static int count(const struct sy_cluster *c, int node, int kind)
{
    int n = 0;

    for (int v = 0; v < c->n_vertices; v++)
        n += c->vertices[v].node == node && c->vertices[v].kind == kind;
    return n;
}

/* What the file has and the machine has not. */
static void report_missing(const struct sy_match *m, int v, struct sy_report *report)
{
    const struct sy_vertex *x = &m->file->vertices[v];
    int n = count(m->found, m->node[x->node], x->kind);
    char name[300];

    sy_report_error(report, sy_cluster_place(m->file, x->from), "'%s' was not found: machine '%s' has %d of kind %s%s",
                    sy_cluster_show(m->file, v, name, sizeof name),
                    sy_cluster_text(m->found, m->found->nodes[m->node[x->node]].name), n, sy_vertex_kind_name(x->kind),
                    SY_KNOWN(x->pci) || SY_KNOWN(x->uuid) ? ", none with its address" : "");
}

/* More GPUs than the file knows of. */
static void report_more(const struct sy_match *m, int w, struct sy_report *report)
{
    const struct sy_vertex *y = &m->found->vertices[w];
    int node = m->node_back[y->node];
    char name[300];

    if (count(m->file, node, y->kind))
        sy_report_error(report, sy_cluster_place(m->file, m->file->nodes[node].from),
                        "node '%s' has %d of kind %s here, and %d were found: '%s' is not in the file",
                        sy_cluster_text(m->file, m->file->nodes[node].name), count(m->file, node, y->kind),
                        sy_vertex_kind_name(y->kind), count(m->found, y->node, y->kind),
                        sy_cluster_show(m->found, w, name, sizeof name));
}

static void verify_nodes(const struct sy_match *m, struct sy_report *report)
{
    const struct sy_cluster *a = m->file, *b = m->found;

    for (int k = 0; k < b->n_nodes; k++)
        if (m->node_back[k] < 0 && a->n_nodes)
            sy_report_error(report, sy_cluster_place(a, a->nodes[0].from),
                            "machine '%s' is no node of this file: neither a name nor a host is like it",
                            sy_cluster_text(b, b->nodes[k].name));
    for (int i = 0; i < a->n_nodes; i++) {
        if (m->node[i] < 0 || !says(a->nodes[i].n_numa.from))
            continue;
        struct sy_int here = a->nodes[i].n_numa, found = b->nodes[m->node[i]].n_numa;
        if (SY_KNOWN(found) && here.value != found.value)
            sy_report_error(report, sy_cluster_place(a, here.from),
                            "node '%s' has %lld NUMA node%s here, and %lld %s found",
                            sy_cluster_text(a, a->nodes[i].name), (long long)here.value, here.value == 1 ? "" : "s",
                            (long long)found.value, found.value == 1 ? "was" : "were");
    }
}

void sy_match_verify(const struct sy_match *m, struct sy_report *report)
{
    verify_nodes(m, report);
    for (int v = 0; v < m->file->n_vertices; v++) {
        const struct sy_vertex *x = &m->file->vertices[v];
        bool real = x->kind == SY_VERTEX_GPU || x->kind == SY_VERTEX_NIC;
        if (x->node < 0 || m->node[x->node] < 0)
            continue;
        if (m->vertex[v] >= 0)
            verify_vertex(&(struct verify){m, report, v, m->vertex[v]});
        else if (real)
            report_missing(m, v, report);
    }
    for (int w = 0; w < m->found->n_vertices; w++) {
        const struct sy_vertex *y = &m->found->vertices[w];
        if (y->kind == SY_VERTEX_GPU && y->node >= 0 && m->node_back[y->node] >= 0 && m->vertex_back[w] < 0)
            report_more(m, w, report);
    }
}
