/* SPDX-License-Identifier: Apache-2.0
 * cluster_dump_node.c - node types and nodes of a cluster file
 *
 * Nodes that are alike share a node type; what tells a node's parts from those of others (addresses, UUIDs) is in its `set`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster_dump.h"
#include "model_private.h"
#include "range.h"

static const struct sy_source nowhere = {0};

static bool again(int **array, int n)
{
    *array = calloc((size_t)n + 2, sizeof **array);
    return *array;
}

/* The list of a node type that has vertices of a kind: devices, switches or NICs; 0: none. */
enum { NO_LIST, DEVICES, SWITCHES, NICS, N_LISTS };

static int list_of(int kind)
{
    switch (kind) {
    case SY_VERTEX_GPU:
    case SY_VERTEX_CPU:
        return DEVICES;
    case SY_VERTEX_NVSWITCH:
    case SY_VERTEX_PCIE:
    case SY_VERTEX_MEMORY:
        return SWITCHES;
    case SY_VERTEX_NIC:
        return NICS;
    default:
        return NO_LIST;
    }
}

/* Vertices by node and, as the file has them, by list; links by node. Otherwise in their order. */
static bool list_by_node(struct sy_dump *d)
{
    const struct sy_cluster *c = d->cluster;

    if (!again(&d->first_vertex, c->n_nodes) || !again(&d->vertices, c->n_vertices) ||
        !again(&d->first_link, c->n_nodes) || !again(&d->links, c->n_links) || !again(&d->place, c->n_vertices))
        return false;
    for (int v = 0; v < c->n_vertices; v++)
        if (c->vertices[v].node >= 0)
            d->first_vertex[c->vertices[v].node + 1]++;
    for (int l = 0; l < c->n_links; l++)
        if (!c->links[l].derived && c->vertices[c->links[l].from].node >= 0)
            d->first_link[c->vertices[c->links[l].from].node + 1]++;
    for (int i = 0; i < c->n_nodes; i++) {
        d->first_vertex[i + 1] += d->first_vertex[i];
        d->first_link[i + 1] += d->first_link[i];
    }
    for (int list = 0; list < N_LISTS; list++)
        for (int v = 0; v < c->n_vertices; v++)
            if (c->vertices[v].node >= 0 && list_of(c->vertices[v].kind) == list)
                d->vertices[d->first_vertex[c->vertices[v].node]++] = v;
    for (int l = 0; l < c->n_links; l++)
        if (!c->links[l].derived && c->vertices[c->links[l].from].node >= 0)
            d->links[d->first_link[c->vertices[c->links[l].from].node]++] = l;
    for (int i = c->n_nodes; i > 0; i--) {
        d->first_vertex[i] = d->first_vertex[i - 1];
        d->first_link[i] = d->first_link[i - 1];
    }
    d->first_vertex[0] = d->first_link[0] = 0;
    for (int i = 0; i < c->n_nodes; i++)
        for (int k = d->first_vertex[i]; k < d->first_vertex[i + 1]; k++)
            d->place[d->vertices[k]] = k - d->first_vertex[i];
    return true;
}

/* Would both be written the same, with their comments? */
static bool same_source(const struct sy_dump *d, struct sy_source a, struct sy_source b)
{
    return d->sources ? sy_source_equal(a, b) : (a.origin == SY_ORIGIN_NONE) == (b.origin == SY_ORIGIN_NONE);
}

static bool same_int(const struct sy_dump *d, struct sy_int a, struct sy_int b)
{
    return same_source(d, a.from, b.from) && (!SY_KNOWN(a) || a.value == b.value);
}

/* All but the id, the rail, and what stands in `set`. */
static bool same_kind(const struct sy_dump *d, const struct sy_vertex *a, const struct sy_vertex *b)
{
    return a->kind == b->kind && a->type == b->type && a->port == b->port && same_int(d, a->numa, b->numa) &&
           same_int(d, a->plane, b->plane) && same_source(d, a->from, b->from);
}

static bool same_vertex(const struct sy_dump *d, const struct sy_vertex *a, const struct sy_vertex *b)
{
    return a->id == b->id && same_kind(d, a, b) && same_int(d, a->rail, b->rail);
}

static bool same_link(const struct sy_dump *d, const struct sy_link *a, const struct sy_link *b)
{
    return d->place[a->from] == d->place[b->from] && d->place[a->to] == d->place[b->to] && a->type == b->type &&
           same_int(d, a->count, b->count) && same_source(d, a->source, b->source);
}

static bool alike(const struct sy_dump *d, int a, int b)
{
    const struct sy_cluster *c = d->cluster;
    int va = d->first_vertex[a], vb = d->first_vertex[b], n = d->first_vertex[a + 1] - va;
    int la = d->first_link[a], lb = d->first_link[b], m = d->first_link[a + 1] - la;
    bool same = d->first_vertex[b + 1] - vb == n && d->first_link[b + 1] - lb == m &&
                c->nodes[a].type.value == c->nodes[b].type.value && same_int(d, c->nodes[a].n_numa, c->nodes[b].n_numa);

    for (int i = 0; i < n && same; i++)
        same = same_vertex(d, &c->vertices[d->vertices[va + i]], &c->vertices[d->vertices[vb + i]]);
    for (int i = 0; i < m && same; i++)
        same = same_link(d, &c->links[d->links[la + i]], &c->links[d->links[lb + i]]);
    return same;
}

/* A name for the type of a first node that no other has. */
static uint32_t type_name(struct sy_dump *d, int node)
{
    const struct sy_cluster *c = d->cluster;
    const char *called = sy_cluster_text(c, c->nodes[node].type.value);
    char name[200];

    for (int i = 1;; i++) {
        snprintf(name, sizeof name, i == 1 ? "%.120s" : "%.120s-%d", *called ? called : "node", i);
        uint32_t text = sy_cluster_intern(d->spare, name);
        bool taken = false;
        for (int k = 0; k < node && !taken; k++)
            taken = d->group[k] == k && d->node_names[k] == text;
        if (!taken)
            return text;
    }
}

bool sy_dump_find_nodes(struct sy_dump *d)
{
    int n = d->cluster->n_nodes;

    d->node_names = calloc((size_t)n + 1, sizeof *d->node_names);
    if (!list_by_node(d) || !again(&d->group, n) || !d->node_names)
        return false;
    for (int i = 0; i < n; i++) {
        d->group[i] = i;
        for (int k = 0; k < i && d->group[i] == i; k++)
            if (d->group[k] == k && alike(d, k, i))
                d->group[i] = k;
        if (d->group[i] == i)
            d->node_names[i] = type_name(d, i);
    }
    return !d->spare->out_of_memory;
}

static void dump_vertex(struct sy_dump *d, const char *ids, const struct sy_vertex *v)
{
    const struct sy_cluster *c = d->cluster;
    bool single = sy_int_or(c->nodes[v->node].n_numa, 1) == 1;

    sy_dump_line(d, 6, v->from, "- id: %s", sy_dump_quote(ids));
    if (v->type >= 0)
        sy_dump_line(d, 8, nowhere, "type: %s",
                     sy_dump_quote(sy_cluster_text(d->spare, d->device_names.names[v->type])));
    else if (v->kind != SY_VERTEX_NIC)
        sy_dump_line(d, 8, nowhere, "kind: %s", sy_vertex_kind_name(v->kind));
    if (v->port >= 0)
        sy_dump_line(d, 8, nowhere, "port: %s", sy_dump_quote(sy_cluster_text(d->spare, d->link_names.names[v->port])));
    sy_dump_int(d, 8, "numa", v->numa);
    /* Left out it would be the only one there is, or asked for. */
    bool asked = sy_vertex_is_device(v) || (single && (v->kind == SY_VERTEX_PCIE || v->kind == SY_VERTEX_NIC));
    if (!SY_KNOWN(v->numa) && asked)
        sy_dump_line(d, 8, nowhere, "numa: unknown");
    sy_dump_int(d, 8, "rail", v->rail);
    sy_dump_int(d, 8, "plane", v->plane);
}

/* What a run of ids is written for. */
struct run {
    struct sy_dump *d;
    const struct sy_vertex *vertex;
    const struct sy_link *link;
};

static bool write_vertices(void *arg, const char *ids)
{
    struct run *run = arg;

    dump_vertex(run->d, ids, run->vertex);
    return run->d->held;
}

static bool write_links(void *arg, const char *ids)
{
    struct run *run = arg;
    struct sy_dump *d = run->d;
    const struct sy_link *l = run->link;
    char count[40] = "";

    if (SY_KNOWN(l->count))
        snprintf(count, sizeof count, ", count: %lld", (long long)l->count.value);
    sy_dump_line(d, 6, l->source, "- {from: %s, to: %s, type: %s%s}",
                 sy_dump_quote(sy_cluster_text(d->cluster, d->cluster->vertices[l->from].id)), sy_dump_quote(ids),
                 sy_dump_quote(sy_cluster_text(d->spare, d->link_names.names[l->type])), count);
    return d->held;
}

/* The entries of a list: one for each run of vertices that are alike and whose ids make one range. */
static void dump_list(struct sy_dump *d, int node, const char *key, int list)
{
    const struct sy_cluster *c = d->cluster;
    const int *all = d->vertices + d->first_vertex[node];
    int n = d->first_vertex[node + 1] - d->first_vertex[node];
    const char **ids = calloc((size_t)n + 1, sizeof *ids);
    bool begun = false;

    d->held = d->held && ids;
    for (int i = 0, k; i < n && d->held; i = k) {
        const struct sy_vertex *v = &c->vertices[all[i]];
        struct run run = {.d = d, .vertex = v};
        for (k = i; k < n && same_kind(d, v, &c->vertices[all[k]]) && same_int(d, v->rail, c->vertices[all[k]].rail);
             k++)
            ids[k - i] = sy_cluster_text(c, c->vertices[all[k]].id);
        if (list_of(v->kind) != list)
            continue;
        if (!begun)
            sy_dump_line(d, 4, nowhere, "%s:", key);
        begun = true;
        d->held = d->held && sy_range_fold(ids, k - i, write_vertices, &run);
    }
    free(ids);
}

/* One entry for each run of links of a vertex that differ only in where they go. */
static void dump_links(struct sy_dump *d, int node)
{
    const struct sy_cluster *c = d->cluster;
    const int *all = d->links + d->first_link[node];
    int n = d->first_link[node + 1] - d->first_link[node];
    const char **ids = calloc((size_t)n + 1, sizeof *ids);

    d->held = d->held && ids;
    if (n)
        sy_dump_line(d, 4, nowhere, "links:");
    for (int i = 0, k; i < n && d->held; i = k) {
        const struct sy_link *l = &c->links[all[i]], *other = l;
        struct run run = {.d = d, .link = l};
        for (k = i; k < n; k++) {
            other = &c->links[all[k]];
            if (other->from != l->from || other->type != l->type || !same_int(d, other->count, l->count) ||
                !same_source(d, other->source, l->source))
                break;
            ids[k - i] = sy_cluster_text(c, c->vertices[other->to].id);
        }
        d->held = sy_range_fold(ids, k - i, write_links, &run);
    }
    free(ids);
}

static void dump_type(struct sy_dump *d, int node)
{
    const struct sy_node *n = &d->cluster->nodes[node];

    sy_dump_line(d, 2, nowhere, "%s:", sy_dump_quote(sy_cluster_text(d->spare, d->node_names[node])));
    /* A type without anything is a map too. */
    if (!SY_KNOWN(n->n_numa) && d->first_vertex[node + 1] - d->first_vertex[node] == 1)
        sy_dump_line(d, 4, nowhere, "devices: []");
    sy_dump_int(d, 4, "numa", n->n_numa);
    dump_list(d, node, "devices", DEVICES);
    dump_list(d, node, "switches", SWITCHES);
    dump_list(d, node, "nics", NICS);
    dump_links(d, node);
}

static bool has_own(const struct sy_vertex *v)
{
    return SY_KNOWN(v->pci) || SY_KNOWN(v->uuid) || SY_KNOWN(v->device) || SY_KNOWN(v->domain) || SY_KNOWN(v->clique) ||
           SY_KNOWN(v->cpus);
}

static bool has_set(const struct sy_dump *d, int node)
{
    for (int i = d->first_vertex[node]; i < d->first_vertex[node + 1]; i++)
        if (has_own(&d->cluster->vertices[d->vertices[i]]))
            return true;
    return false;
}

static void dump_set(struct sy_dump *d, int node)
{
    const struct sy_cluster *c = d->cluster;

    sy_dump_line(d, 4, nowhere, "set:");
    for (int i = d->first_vertex[node]; i < d->first_vertex[node + 1]; i++) {
        const struct sy_vertex *v = &c->vertices[d->vertices[i]];
        if (!has_own(v))
            continue;
        sy_dump_line(d, 6, nowhere, "%s:", sy_dump_quote(sy_cluster_text(c, v->id)));
        sy_dump_text(d, 8, "pci", v->pci);
        sy_dump_text(d, 8, "uuid", v->uuid);
        sy_dump_text(d, 8, "device", v->device);
        sy_dump_text(d, 8, "domain", v->domain);
        sy_dump_int(d, 8, "clique", v->clique);
        sy_dump_text(d, 8, "cpus", v->cpus);
    }
}

static bool same_text(const struct sy_dump *d, struct sy_text a, struct sy_text b)
{
    return same_source(d, a.from, b.from) && (!SY_KNOWN(a) || a.value == b.value);
}

/* The first fact of a node at or after number at, -1: none. */
static int next_fact(const struct sy_cluster *c, int node, int at)
{
    while (at < c->n_facts && c->facts[at].node != node)
        at++;
    return at < c->n_facts ? at : -1;
}

/* Can both be in one entry? */
static bool one_entry(const struct sy_dump *d, int a, int b, const bool *own)
{
    const struct sy_node *x = &d->cluster->nodes[a], *y = &d->cluster->nodes[b];

    return !own[a] && !own[b] && d->group[a] == d->group[b] && same_text(d, x->host, y->host) &&
           same_text(d, x->chassis, y->chassis) && same_source(d, x->from, y->from);
}

static void dump_entry(struct sy_dump *d, int node, const char *names)
{
    const struct sy_cluster *c = d->cluster;
    const struct sy_node *of = &c->nodes[node];

    sy_dump_line(d, 2, of->from, "- name: %s", sy_dump_quote(names));
    sy_dump_line(d, 4, nowhere, "type: %s", sy_dump_quote(sy_cluster_text(d->spare, d->node_names[d->group[node]])));
    sy_dump_text(d, 4, "host", of->host);
    sy_dump_text(d, 4, "chassis", of->chassis);
    if (has_set(d, node))
        dump_set(d, node);
    for (int f = next_fact(c, node, 0), first = f; f >= 0; f = next_fact(c, node, f + 1)) {
        if (f == first)
            sy_dump_line(d, 4, nowhere, "facts:");
        sy_dump_text(d, 6, sy_dump_quote(sy_cluster_text(c, c->facts[f].key)), c->facts[f].value);
    }
}

/* What one entry of the list of nodes is written for. */
struct entry {
    struct sy_dump *d;
    int node;
};

static bool write_nodes(void *arg, const char *names)
{
    struct entry *e = arg;

    dump_entry(e->d, e->node, names);
    return e->d->held;
}

void sy_dump_nodes(struct sy_dump *d)
{
    const struct sy_cluster *c = d->cluster;
    const char **names = calloc((size_t)c->n_nodes + 1, sizeof *names);
    bool *own = calloc((size_t)c->n_nodes + 1, sizeof *own);

    d->held = d->held && names && own;
    if (c->n_nodes && d->held)
        sy_dump_line(d, 0, nowhere, "node_types:");
    for (int i = 0; i < c->n_nodes && d->held; i++)
        if (d->group[i] == i)
            dump_type(d, i);
    for (int i = 0; i < c->n_nodes && d->held; i++)
        own[i] = has_set(d, i);
    for (int f = 0; f < c->n_facts && d->held; f++)
        own[c->facts[f].node] = true;
    if (c->n_nodes && d->held)
        sy_dump_line(d, 0, nowhere, "nodes:");
    for (int i = 0, k; i < c->n_nodes && d->held; i = k) {
        struct entry e = {d, i};
        names[0] = sy_cluster_text(c, c->nodes[i].name);
        for (k = i + 1; k < c->n_nodes && one_entry(d, i, k, own); k++)
            names[k - i] = sy_cluster_text(c, c->nodes[k].name);
        d->held = sy_range_fold(names, k - i, write_nodes, &e);
    }
    free(names);
    free(own);
}
