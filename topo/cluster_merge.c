/* SPDX-License-Identifier: Apache-2.0
 * cluster_merge.c - what was found, brought into what a file says
 *
 * A new cluster is made: the file's nodes with what they lack, value by value where both have a vertex, whole where the file has
 * none of a kind.
 */
#include "cluster_merge.h"

#include <stdlib.h>
#include <string.h>

/* One of the two clusters on its way into the new one. */
struct origin {
    const struct sy_cluster *from;
    int *vertex; /* [from->n_vertices] in the new one, -1: not there */
};

struct merge {
    struct sy_cluster *out;
    struct sy_match m;
    struct origin file, found;
};

static uint32_t carry(struct merge *g, const struct sy_cluster *from, uint32_t text)
{
    return sy_cluster_intern(g->out, sy_cluster_text(from, text));
}

static struct sy_source source(struct merge *g, const struct sy_cluster *from, struct sy_source s)
{
    if (s.file)
        s.file = sy_cluster_file(g->out, sy_cluster_file_name(from, s.file));
    return s;
}

static void take_real(struct merge *g, const struct sy_cluster *from, struct sy_real *to, struct sy_real value)
{
    if (value.from.origin > to->from.origin)
        *to = sy_real_of(value.value, source(g, from, value.from));
}

static void take_int(struct merge *g, const struct sy_cluster *from, struct sy_int *to, struct sy_int value)
{
    if (value.from.origin > to->from.origin)
        *to = sy_int_of(value.value, source(g, from, value.from));
}

static void take_text(struct merge *g, const struct sy_cluster *from, struct sy_text *to, struct sy_text value)
{
    if (value.from.origin > to->from.origin)
        *to = (struct sy_text){carry(g, from, value.value), source(g, from, value.from)};
}

/* A type of link as it is, or (name and class given already) what it knows besides. */
static void take_link_type(struct merge *g, const struct sy_cluster *from, int type, struct sy_link_type *to)
{
    const struct sy_link_type *t = &from->link_types[type];

    if (to->from.origin == SY_ORIGIN_NONE) {
        to->name = carry(g, from, t->name);
        to->cls = t->cls;
        to->from = source(g, from, t->from);
    }
    take_real(g, from, &to->bw, t->bw);
    take_real(g, from, &to->efficiency, t->efficiency);
    take_real(g, from, &to->latency, t->latency);
    take_real(g, from, &to->per_message, t->per_message);
}

static int link_type(struct merge *g, const struct sy_cluster *from, int type)
{
    struct sy_link_type t = {0};

    if (type < 0)
        return -1;
    take_link_type(g, from, type, &t);
    return sy_cluster_link_type(g->out, &t);
}

static void take_device_type(struct merge *g, const struct sy_cluster *from, int type, bool shared,
                             struct sy_device_type *to)
{
    const struct sy_device_type *t = &from->device_types[type];

    if (to->from.origin == SY_ORIGIN_NONE) {
        to->name = carry(g, from, t->name);
        to->from = source(g, from, t->from);
    }
    take_text(g, from, &to->model, t->model);
    take_int(g, from, &to->sm, t->sm);
    /* Of a CPU that several devices share each has less than all. */
    if (!shared) {
        take_int(g, from, &to->cores, t->cores);
        take_real(g, from, &to->l2, t->l2);
        take_real(g, from, &to->l3, t->l3);
        take_real(g, from, &to->mem, t->mem);
        take_real(g, from, &to->mem_bw, t->mem_bw);
        for (int i = 0; i < SY_N_COMPUTE_TYPES; i++)
            take_real(g, from, &to->compute[i], t->compute[i]);
    }
}

static void take_values(struct merge *g, const struct sy_cluster *from, const struct sy_vertex *v, bool shared,
                        struct sy_vertex *to)
{
    if (!SY_KNOWN(v->numa) || v->numa.value < sy_int_or(g->out->nodes[to->node].n_numa, 1))
        take_int(g, from, &to->numa, v->numa);
    take_text(g, from, &to->pci, v->pci);
    take_text(g, from, &to->uuid, v->uuid);
    take_text(g, from, &to->device, v->device);
    take_text(g, from, &to->domain, v->domain);
    take_int(g, from, &to->clique, v->clique);
    take_int(g, from, &to->rail, v->rail);
    take_int(g, from, &to->plane, v->plane);
    if (!shared)
        take_text(g, from, &to->cpus, v->cpus);
}

/* The types of a vertex: the first cluster's, with what the second (w >= 0) knows besides. */
static void take_types(struct merge *g, const struct sy_cluster *from, int v, int w, bool shared, struct sy_vertex *to)
{
    const struct sy_vertex *x = &from->vertices[v], *y = w >= 0 ? &g->m.found->vertices[w] : NULL;
    struct sy_device_type device = {0};
    struct sy_link_type port = {0};

    if (x->type >= 0) {
        take_device_type(g, from, x->type, false, &device);
        if (y && y->type >= 0)
            take_device_type(g, g->m.found, y->type, shared, &device);
        to->type = sy_cluster_device_type(g->out, &device);
    }
    if (x->port >= 0)
        take_link_type(g, from, x->port, &port);
    if (y && y->port >= 0)
        take_link_type(g, g->m.found, y->port, &port);
    if (port.from.origin != SY_ORIGIN_NONE)
        to->port = sy_cluster_link_type(g->out, &port);
}

/* A vertex of one of the clusters in a node of the new one. */
static void add_vertex(struct merge *g, struct origin *o, int v, int node, int w)
{
    const struct sy_vertex *x = &o->from->vertices[v];
    bool shared = w >= 0 && x->kind == SY_VERTEX_CPU && sy_match_shared(&g->m, v, w);
    int copy;

    if (x->kind == SY_VERTEX_NUMA) {
        copy = sy_cluster_find_vertex(g->out, node, sy_cluster_text(o->from, x->id));
        if (copy >= 0)
            g->out->vertices[copy].from = source(g, o->from, x->from);
    } else {
        copy = sy_cluster_add_vertex(g->out, node, x->kind, sy_cluster_text(o->from, x->id),
                                     source(g, o->from, x->from));
    }
    if (copy < 0)
        return;
    o->vertex[v] = copy;
    struct sy_vertex *to = &g->out->vertices[copy];
    take_values(g, o->from, x, false, to);
    if (w >= 0)
        take_values(g, g->m.found, &g->m.found->vertices[w], shared, to);
    take_types(g, o->from, v, w, shared, to);
    if (w >= 0)
        g->found.vertex[w] = copy;
}

#define KIND(kind) (1u << SY_VERTEX_##kind)

/* What of a machine a node of the file does not speak of: all devices, all NICs, all switches. */
static void add_found(struct merge *g, int node, unsigned has)
{
    const struct sy_cluster *found = g->m.found;
    const unsigned devices = KIND(GPU) | KIND(CPU), switches = KIND(NVSWITCH) | KIND(PCIE) | KIND(MEMORY);
    unsigned wanted = 0;

    wanted |= has & devices ? 0 : devices;
    wanted |= has & KIND(NIC) ? 0 : KIND(NIC);
    wanted |= has & switches ? 0 : switches;
    for (int w = 0; w < found->n_vertices && wanted; w++)
        if (found->vertices[w].node == g->m.node[node] && !found->vertices[w].derived &&
            (wanted >> found->vertices[w].kind & 1))
            add_vertex(g, &g->found, w, node, -1);
}

static void add_nodes(struct merge *g)
{
    const struct sy_cluster *file = g->m.file, *found = g->m.found;

    for (int i = 0; i < file->n_nodes && !g->out->out_of_memory; i++) {
        const struct sy_node *n = &file->nodes[i], *f = g->m.node[i] >= 0 ? &found->nodes[g->m.node[i]] : NULL;
        struct sy_int n_numa = {0};
        take_int(g, file, &n_numa, n->n_numa);
        if (f)
            take_int(g, found, &n_numa, f->n_numa);
        sy_cluster_add_node(g->out, sy_cluster_text(file, n->name), n_numa, source(g, file, n->from));
        struct sy_node *to = &g->out->nodes[i];
        take_text(g, file, &to->host, n->host);
        take_text(g, file, &to->type, n->type);
        take_text(g, file, &to->chassis, n->chassis);
        if (f)
            take_text(g, found, &to->chassis, f->chassis);
        unsigned has = 0;
        for (int v = n->first_numa; v < file->n_vertices && file->vertices[v].node == i; v++) {
            add_vertex(g, &g->file, v, i, g->m.vertex[v]);
            has |= 1u << file->vertices[v].kind;
        }
        if (f)
            add_found(g, i, has);
    }
}

/* Links between vertices that are both there. */
static void add_links(struct merge *g, const struct origin *o, const bool *skip)
{
    const struct sy_cluster *c = o->from;

    for (int l = 0; l < c->n_links; l++) {
        const struct sy_link *x = &c->links[l];
        int from = o->vertex[x->from], to = o->vertex[x->to];
        if (x->derived || from < 0 || to < 0 || (skip && skip[g->out->vertices[from].node]))
            continue;
        struct sy_int count = {0};
        take_int(g, c, &count, x->count);
        sy_cluster_add_link(g->out, from, to, link_type(g, c, x->type), count, source(g, c, x->source));
    }
}

/* Nodes of which the file says links keep to those. */
static bool add_all_links(struct merge *g)
{
    bool *says = calloc((size_t)g->out->n_nodes + 1, sizeof *says);

    if (!says)
        return false;
    add_links(g, &g->file, NULL);
    for (int l = 0; l < g->out->n_links; l++)
        says[g->out->vertices[g->out->links[l].from].node] = true;
    add_links(g, &g->found, says);
    free(says);
    return true;
}

static bool add_fabrics(struct merge *g, const struct origin *o)
{
    const struct sy_cluster *c = o->from;
    int *members = malloc(((size_t)c->n_members + 1) * sizeof *members);

    for (int i = 0; i < c->n_fabrics && members; i++) {
        struct sy_fabric f = {.kind = c->fabrics[i].kind, .spine = c->fabrics[i].spine};
        const struct sy_fabric *x = &c->fabrics[i];
        int n = 0;
        for (int k = 0; k < x->n_members; k++) {
            members[n] = o->vertex[c->members[x->first_member + k]];
            n += members[n] >= 0;
        }
        f.name = carry(g, c, x->name);
        f.from = source(g, c, x->from);
        f.port = link_type(g, c, x->port);
        take_int(g, c, &f.rails, x->rails);
        take_int(g, c, &f.count, x->count);
        take_int(g, c, &f.planes, x->planes);
        take_int(g, c, &f.leaf_ports, x->leaf_ports);
        take_real(g, c, &f.oversubscription, x->oversubscription);
        take_real(g, c, &f.latency, x->latency);
        take_text(g, c, &f.domain, x->domain);
        take_int(g, c, &f.clique, x->clique);
        if (n)
            sy_cluster_add_fabric(g->out, &f, members, n);
    }
    free(members);
    return members != NULL;
}

static void add_facts(struct merge *g)
{
    const struct sy_cluster *file = g->m.file, *found = g->m.found;

    for (int i = 0; i < file->n_facts; i++) {
        struct sy_text value = {0};
        take_text(g, file, &value, file->facts[i].value);
        sy_cluster_add_fact(g->out, file->facts[i].node, sy_cluster_text(file, file->facts[i].key), value);
    }
    for (int i = 0; i < found->n_facts; i++) {
        int node = g->m.node_back[found->facts[i].node];
        uint32_t key = carry(g, found, found->facts[i].key);
        struct sy_text value = {0};
        bool there = node < 0;
        for (int k = 0; k < g->out->n_facts && !there; k++)
            there = g->out->facts[k].node == node && g->out->facts[k].key == key;
        take_text(g, found, &value, found->facts[i].value);
        if (!there)
            sy_cluster_add_fact(g->out, node, sy_cluster_text(g->out, key), value);
    }
}

static void add_rules(struct merge *g)
{
    const struct sy_cluster *file = g->m.file;

    g->out->name = carry(g, file, file->name);
    take_int(g, file, &g->out->policy.discover, file->policy.discover);
    take_int(g, file, &g->out->policy.via_nvlink, file->policy.via_nvlink);
    take_int(g, file, &g->out->policy.order, file->policy.order);
    for (int i = 0; i < file->n_map; i++)
        sy_cluster_map_rank(g->out, g->file.vertex[file->map[i]]);
}

static bool none_of(int n, int **list)
{
    *list = malloc(((size_t)n + 1) * sizeof **list);
    for (int i = 0; i < n && *list; i++)
        (*list)[i] = -1;
    return *list;
}

static enum sy_status fill(struct merge *g, struct sy_cluster *cluster, struct sy_error *err)
{
    bool held = none_of(cluster->n_vertices, &g->file.vertex) && none_of(g->m.found->n_vertices, &g->found.vertex);

    if (held) {
        add_nodes(g);
        held = add_all_links(g) && add_fabrics(g, &g->file);
        /* A network that nobody described is the found one's, or nobody's. */
        held = held && (cluster->n_fabrics || add_fabrics(g, &g->found));
        add_facts(g);
        add_rules(g);
    }
    if (!held)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory to complete a cluster of %d nodes", cluster->n_nodes);
    enum sy_status st = sy_cluster_finish(g->out, err);
    if (st == SY_OK) {
        struct sy_cluster old = *cluster;
        *cluster = *g->out;
        *g->out = old;
    }
    return st;
}

enum sy_status sy_cluster_merge(struct sy_cluster *cluster, const struct sy_cluster *found,
                                enum sy_discover_policy policy, struct sy_report *report, struct sy_error *err)
{
    struct merge g = {.out = NULL, .file = {.from = cluster}, .found = {.from = found}};

    if (policy == SY_DISCOVER_OFF)
        return SY_OK;
    enum sy_status st = sy_match_init(&g.m, cluster, found, err);
    if (st != SY_OK)
        return st;
    if (policy == SY_DISCOVER_VERIFY)
        sy_match_verify(&g.m, report);
    g.out = sy_cluster_create();
    st = g.out ? fill(&g, cluster, err) : sy_error_set(err, SY_ERR_SYSTEM, "no memory for a cluster");
    sy_cluster_destroy(g.out);
    free(g.file.vertex);
    free(g.found.vertex);
    sy_match_fini(&g.m);
    return st;
}
