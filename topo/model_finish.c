/* SPDX-License-Identifier: Apache-2.0
 * model_finish.c - what follows from a cluster's own values: graphs of fabrics, links to NUMA nodes, neighbours, domains, ranks
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "model_private.h"

void sy_cluster_unfinish(struct sy_cluster *c)
{
    struct sy_pools *p = c->pools;

    if (p->n_made_vertices < 0)
        return;
    c->n_links = p->n_made_links;
    if (c->n_vertices != p->n_made_vertices) {
        c->n_vertices = p->n_made_vertices;
        sy_cluster_reindex(c);
    }
    p->n_made_vertices = p->n_made_links = -1;
}

static void link_made(struct sy_cluster *c, int from, int to, int type, struct sy_int count, struct sy_source source)
{
    int l = sy_cluster_add_link(c, from, to, type, count, source);

    if (l >= 0)
        c->links[l].derived = true;
}

/* A switch "<fabric>.<what><i>" of a fabric; i < 0: without number. */
static int add_switch(struct sy_cluster *c, int fabric, const char *what, int i)
{
    char id[512];
    int n = snprintf(id, sizeof id, "%s.%s", sy_cluster_text(c, c->fabrics[fabric].name), what);

    if (i >= 0 && n > 0 && n < (int)sizeof id)
        snprintf(id + n, sizeof id - (size_t)n, "%d", i);
    int v = sy_cluster_add_vertex(c, -1, SY_VERTEX_FABRIC, id, c->fabrics[fabric].from);
    if (v >= 0) {
        c->vertices[v].derived = true;
        c->vertices[v].fabric = fabric;
    }
    return v;
}

/* The link from a leaf switch with n members up to the core: their rate, divided by the oversubscription. */
static void link_up(struct sy_cluster *c, int fabric, int leaf, int core, int n)
{
    const struct sy_fabric *f = &c->fabrics[fabric];
    struct sy_link_type up = c->link_types[f->port];

    if (SY_KNOWN(up.bw))
        up.bw.value /= sy_real_or(f->oversubscription, 1);
    up.latency = f->latency;
    up.per_message = (struct sy_real){0};
    link_made(c, leaf, core, sy_cluster_link_type(c, &up), sy_int_of(n, f->from), f->from);
}

/* By which type of link a member leaves: its own, unless its fabric's comes from a better source. */
static int port_of(const struct sy_cluster *c, const struct sy_vertex *v, const struct sy_fabric *f)
{
    if (v->kind != SY_VERTEX_NIC || v->port < 0)
        return f->port;
    return c->link_types[v->port].from.origin < c->link_types[f->port].from.origin ? f->port : v->port;
}

/* One switch for each rail, NICs by their rail number, where they have none by their place among their node's members. */
static void make_rails(struct sy_cluster *c, int fabric)
{
    struct sy_fabric f = c->fabrics[fabric];
    int n_rails = (int)sy_int_or(f.rails, 1), node = -2, place = 0;
    int *leaves = calloc((size_t)n_rails, sizeof *leaves), *n_ports = calloc((size_t)n_rails, sizeof *n_ports);

    if (!leaves || !n_ports)
        c->out_of_memory = true;
    for (int r = 0; r < n_rails && !c->out_of_memory; r++)
        leaves[r] = add_switch(c, fabric, "rail", r);
    for (int i = 0; i < f.n_members && !c->out_of_memory; i++) {
        int m = c->members[f.first_member + i];
        struct sy_vertex *v = &c->vertices[m];
        place = v->node == node ? place + 1 : 0;
        node = v->node;
        int64_t rail = sy_int_or(v->rail, place % n_rails);
        if (rail < 0 || rail >= n_rails)
            continue;
        v->fabric = fabric;
        n_ports[rail]++;
        link_made(c, m, leaves[rail], port_of(c, v, &f), sy_int_of(1, f.from), f.from);
    }
    int spine = f.spine && !c->out_of_memory ? add_switch(c, fabric, "spine", -1) : -1;
    for (int r = 0; r < n_rails && spine >= 0; r++)
        if (n_ports[r])
            link_up(c, fabric, leaves[r], spine, n_ports[r]);
    free(leaves);
    free(n_ports);
}

static void make_tree(struct sy_cluster *c, int fabric)
{
    struct sy_fabric f = c->fabrics[fabric];
    int64_t per_leaf = sy_int_or(f.leaf_ports, f.n_members);
    int core = per_leaf > 0 && f.n_members > per_leaf ? add_switch(c, fabric, "core", -1) : -1, leaf = -1;

    for (int i = 0; i < f.n_members && per_leaf > 0 && !c->out_of_memory; i++) {
        int m = c->members[f.first_member + i];
        if (i % per_leaf == 0) {
            leaf = add_switch(c, fabric, "leaf", (int)(i / per_leaf));
            if (core >= 0)
                link_up(c, fabric, leaf, core, (int)(f.n_members - i < per_leaf ? f.n_members - i : per_leaf));
        }
        struct sy_vertex *v = &c->vertices[m];
        v->fabric = fabric;
        link_made(c, m, leaf, port_of(c, v, &f), sy_int_of(1, f.from), f.from);
    }
}

/* Each member has count links, spread evenly over the planes. */
static void make_nvlink(struct sy_cluster *c, int fabric)
{
    struct sy_fabric f = c->fabrics[fabric];
    int n_planes = (int)sy_int_or(f.planes, 1);
    int64_t count = sy_int_or(f.count, 1);

    for (int p = 0; p < n_planes && !c->out_of_memory; p++) {
        int plane = add_switch(c, fabric, "plane", p);
        int64_t lanes = count / n_planes + (p < count % n_planes);
        for (int i = 0; i < f.n_members && lanes; i++) {
            c->vertices[c->members[f.first_member + i]].fabric = fabric;
            link_made(c, c->members[f.first_member + i], plane, f.port, sy_int_of(lanes, f.from), f.from);
        }
    }
}

/* By which links of its own a vertex already hangs at the host. */
static void mark_hung(const struct sy_cluster *c, bool *hung)
{
    for (int l = 0; l < c->n_links; l++) {
        int cls = c->link_types[c->links[l].type].cls;
        int above = c->vertices[c->links[l].to].kind;
        bool inside = cls == SY_LINK_MEMORY || cls == SY_LINK_SHM;
        for (int end = 0; end < 2; end++) {
            int v = end ? c->links[l].to : c->links[l].from;
            int kind = c->vertices[v].kind;
            /* The upper end of a switch's own link is a host bridge or another switch. */
            if (end == 0 && kind == SY_VERTEX_PCIE && cls == SY_LINK_PCIE)
                hung[v] |= above == SY_VERTEX_NUMA || above == SY_VERTEX_PCIE;
            hung[v] |= inside || ((kind == SY_VERTEX_GPU || kind == SY_VERTEX_NIC) &&
                                  (cls == SY_LINK_PCIE || cls == SY_LINK_C2C || cls == SY_LINK_SMP));
        }
    }
}

/* Whatever has a NUMA node, and does not say otherwise how it hangs there. */
static void make_local_links(struct sy_cluster *c)
{
    bool *hung = calloc((size_t)c->n_vertices + 1, sizeof *hung);
    struct sy_link_type local = {.name = sy_cluster_intern(c, "local"), .cls = SY_LINK_LOCAL};

    if (!hung) {
        c->out_of_memory = true;
        return;
    }
    mark_hung(c, hung);
    int n = c->n_vertices, type = -1;
    for (int i = 0; i < n && !c->out_of_memory; i++) {
        struct sy_vertex *v = &c->vertices[i];
        if (v->node < 0 || v->kind == SY_VERTEX_NUMA || hung[i] || !SY_KNOWN(v->numa))
            continue;
        if (v->kind == SY_VERTEX_NVSWITCH || v->numa.value < 0 ||
            v->numa.value >= sy_int_or(c->nodes[v->node].n_numa, 1))
            continue;
        if (type < 0)
            type = sy_cluster_link_type(c, &local);
        link_made(c, i, c->nodes[v->node].first_numa + (int)v->numa.value, type, (struct sy_int){0}, v->numa.from);
    }
    free(hung);
}

static bool again(struct sy_cluster *c, int **array, size_t n)
{
    free(*array);
    *array = calloc(n + 1, sizeof **array);
    if (!*array)
        c->out_of_memory = true;
    return *array;
}

static void make_edges(struct sy_cluster *c)
{
    if (!again(c, &c->first_edge, (size_t)c->n_vertices + 1) || !again(c, &c->edges, 2 * (size_t)c->n_links))
        return;
    for (int l = 0; l < c->n_links; l++) {
        c->first_edge[c->links[l].from + 1]++;
        c->first_edge[c->links[l].to + 1]++;
    }
    for (int v = 0; v < c->n_vertices; v++)
        c->first_edge[v + 1] += c->first_edge[v];
    /* Filling moves each vertex's begin to its end, which is the next one's begin. */
    for (int l = 0; l < c->n_links; l++) {
        c->edges[c->first_edge[c->links[l].from]++] = l;
        c->edges[c->first_edge[c->links[l].to]++] = l;
    }
    for (int v = c->n_vertices; v > 0; v--)
        c->first_edge[v] = c->first_edge[v - 1];
    c->first_edge[0] = 0;
}

static int root(int *parent, int v)
{
    while (parent[v] != v)
        v = parent[v] = parent[parent[v]];
    return v;
}

/* GPUs of one NVLink fabric by its uuid and clique, on whatever node they are. */
struct clique {
    uint32_t domain;
    int64_t clique;
    int vertex;
};

static int by_clique(const void *x, const void *y)
{
    const struct clique *a = x, *b = y;

    if (a->domain != b->domain)
        return a->domain < b->domain ? -1 : 1;
    if (a->clique != b->clique)
        return a->clique < b->clique ? -1 : 1;
    return a->vertex < b->vertex ? -1 : a->vertex > b->vertex;
}

static void join_cliques(struct sy_cluster *c, int *parent)
{
    struct clique *list = calloc((size_t)c->n_vertices + 1, sizeof *list);
    int n = 0;

    if (!list) {
        c->out_of_memory = true;
        return;
    }
    for (int v = 0; v < c->n_vertices; v++)
        if (c->vertices[v].kind == SY_VERTEX_GPU && SY_KNOWN(c->vertices[v].domain) && c->vertices[v].domain.value)
            list[n++] = (struct clique){c->vertices[v].domain.value, sy_int_or(c->vertices[v].clique, 0), v};
    qsort(list, (size_t)n, sizeof *list, by_clique);
    for (int i = 1; i < n; i++)
        if (list[i].domain == list[i - 1].domain && list[i].clique == list[i - 1].clique)
            parent[root(parent, list[i].vertex)] = root(parent, list[i - 1].vertex);
    free(list);
}

/* What NVLink connects, directly or through switches, and the members of one fabric. Numbers go up with the vertices'. */
static void make_domains(struct sy_cluster *c)
{
    int *parent = NULL, *number = NULL;

    if (again(c, &c->domain_of, (size_t)c->n_vertices) && again(c, &parent, (size_t)c->n_vertices) &&
        again(c, &number, (size_t)c->n_vertices)) {
        for (int v = 0; v < c->n_vertices; v++) {
            parent[v] = v;
            number[v] = -1;
        }
        for (int l = 0; l < c->n_links; l++)
            if (c->link_types[c->links[l].type].cls == SY_LINK_NVLINK)
                parent[root(parent, c->links[l].from)] = root(parent, c->links[l].to);
        join_cliques(c, parent);
        c->n_domains = 0;
        for (int v = 0; v < c->n_vertices; v++) {
            c->domain_of[v] = -1;
            if (c->vertices[v].kind != SY_VERTEX_GPU)
                continue;
            int *n = &number[root(parent, v)];
            if (*n < 0)
                *n = c->n_domains++;
            c->domain_of[v] = *n;
        }
    }
    free(parent);
    free(number);
}

/* Devices of the kind that ranks take, node after node; or the first of each node, then the second. */
static void deal_ranks(struct sy_cluster *c, int kind)
{
    int *place = NULL, most = 0;

    if (!again(c, &place, (size_t)c->n_nodes))
        return;
    for (int v = 0; v < c->n_vertices; v++)
        if (c->vertices[v].kind == kind && c->vertices[v].node >= 0) {
            place[c->vertices[v].node]++;
            c->n_ranks++;
        }
    if (!again(c, &c->ranks, (size_t)c->n_ranks)) {
        free(place);
        return;
    }
    /* place becomes where a node's first rank is, by node; or how many it has had so far. */
    bool round = sy_int_or(c->policy.order, SY_RANKS_BY_NODE) == SY_RANKS_ROUND_ROBIN;
    for (int i = 0, sum = 0; i < c->n_nodes; i++) {
        int n = place[i];
        most = n > most ? n : most;
        place[i] = round ? 0 : sum;
        sum += n;
    }
    int *begin = NULL;
    if (round && again(c, &begin, (size_t)most + 1)) {
        for (int v = 0; v < c->n_vertices; v++)
            if (c->vertices[v].kind == kind && c->vertices[v].node >= 0)
                begin[place[c->vertices[v].node]++ + 1]++;
        for (int i = 0; i < most; i++)
            begin[i + 1] += begin[i];
        memset(place, 0, (size_t)c->n_nodes * sizeof *place);
    }
    for (int v = 0; v < c->n_vertices && !c->out_of_memory; v++)
        if (c->vertices[v].kind == kind && c->vertices[v].node >= 0) {
            int *next = &place[c->vertices[v].node];
            c->ranks[round ? begin[(*next)++]++ : (*next)++] = v;
        }
    free(begin);
    free(place);
}

static void make_ranks(struct sy_cluster *c)
{
    int kind = SY_VERTEX_CPU;

    c->n_ranks = 0;
    if (c->n_map) {
        if (again(c, &c->ranks, (size_t)c->n_map))
            memcpy(c->ranks, c->map, (size_t)c->n_map * sizeof *c->ranks);
        c->n_ranks = c->n_map;
        return;
    }
    for (int v = 0; v < c->n_vertices; v++)
        if (c->vertices[v].kind == SY_VERTEX_GPU)
            kind = SY_VERTEX_GPU;
    deal_ranks(c, kind);
}

enum sy_status sy_cluster_finish(struct sy_cluster *c, struct sy_error *err)
{
    sy_cluster_unfinish(c);
    for (int v = 0; v < c->n_vertices; v++)
        c->vertices[v].fabric = -1;
    int n_vertices = c->n_vertices, n_links = c->n_links;
    for (int f = 0; f < c->n_fabrics && !c->out_of_memory; f++) {
        switch (c->fabrics[f].kind) {
        case SY_FABRIC_RAIL:
            make_rails(c, f);
            break;
        case SY_FABRIC_FAT_TREE:
            make_tree(c, f);
            break;
        case SY_FABRIC_NVLINK:
            make_nvlink(c, f);
            break;
        }
    }
    if (!c->out_of_memory)
        make_local_links(c);
    c->pools->n_made_vertices = n_vertices;
    c->pools->n_made_links = n_links;
    if (!c->out_of_memory)
        make_edges(c);
    if (!c->out_of_memory)
        make_domains(c);
    if (!c->out_of_memory)
        make_ranks(c);
    if (c->out_of_memory)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a cluster of %d nodes", c->n_nodes);
    return SY_OK;
}
