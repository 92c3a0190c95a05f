/* SPDX-License-Identifier: Apache-2.0
 * append.c - the parts of one cluster, renumbered, in another
 */
#include "append.h"

#include <stdlib.h>
#include <string.h>

struct map {
    struct sy_cluster *into;
    const struct sy_cluster *other;
    int *vertices, *device_types, *link_types; /* numbers in into of those of other */
    int first_node;
};

static uint32_t text_of(const struct map *m, uint32_t text)
{
    return sy_cluster_intern(m->into, sy_cluster_text(m->other, text));
}

static struct sy_source source_of(const struct map *m, struct sy_source from)
{
    if (from.file)
        from.file = sy_cluster_file(m->into, sy_cluster_file_name(m->other, from.file));
    return from;
}

static struct sy_real real_of(const struct map *m, struct sy_real x)
{
    x.from = source_of(m, x.from);
    return x;
}

static struct sy_int int_of(const struct map *m, struct sy_int x)
{
    x.from = source_of(m, x.from);
    return x;
}

static struct sy_text value_of(const struct map *m, struct sy_text x)
{
    x.value = text_of(m, x.value);
    x.from = source_of(m, x.from);
    return x;
}

static void copy_types(struct map *m)
{
    for (int i = 0; i < m->other->n_device_types; i++) {
        struct sy_device_type t = m->other->device_types[i];
        t.name = text_of(m, t.name);
        t.model = value_of(m, t.model);
        t.sm = int_of(m, t.sm);
        t.cores = int_of(m, t.cores);
        t.l2 = real_of(m, t.l2);
        t.l3 = real_of(m, t.l3);
        t.mem = real_of(m, t.mem);
        t.mem_bw = real_of(m, t.mem_bw);
        for (int k = 0; k < SY_N_COMPUTE_TYPES; k++)
            t.compute[k] = real_of(m, t.compute[k]);
        t.from = source_of(m, t.from);
        m->device_types[i] = sy_cluster_device_type(m->into, &t);
    }
    for (int i = 0; i < m->other->n_link_types; i++) {
        struct sy_link_type t = m->other->link_types[i];
        t.name = text_of(m, t.name);
        t.bw = real_of(m, t.bw);
        t.efficiency = real_of(m, t.efficiency);
        t.latency = real_of(m, t.latency);
        t.per_message = real_of(m, t.per_message);
        t.from = source_of(m, t.from);
        m->link_types[i] = sy_cluster_link_type(m->into, &t);
    }
}

static void copy_nodes(struct map *m)
{
    for (int i = 0; i < m->other->n_nodes; i++) {
        const struct sy_node *n = &m->other->nodes[i];
        int node = sy_cluster_add_node(m->into, sy_cluster_text(m->other, n->name), int_of(m, n->n_numa),
                                       source_of(m, n->from));
        if (node < 0)
            return;
        struct sy_node *to = &m->into->nodes[node];
        to->host = value_of(m, n->host);
        to->type = value_of(m, n->type);
        to->chassis = value_of(m, n->chassis);
        for (int k = 0; k < (int)sy_int_or(n->n_numa, 1); k++)
            m->vertices[n->first_numa + k] = to->first_numa + k;
    }
}

static void copy_vertices(struct map *m)
{
    for (int i = 0; i < m->other->n_vertices; i++) {
        const struct sy_vertex *v = &m->other->vertices[i];
        if (v->derived)
            continue;
        int to = v->kind == SY_VERTEX_NUMA
                     ? m->vertices[i]
                     : sy_cluster_add_vertex(m->into, v->node < 0 ? -1 : m->first_node + v->node,
                                             (enum sy_vertex_kind)v->kind, sy_cluster_text(m->other, v->id),
                                             source_of(m, v->from));
        m->vertices[i] = to;
        if (to < 0)
            continue;
        struct sy_vertex *w = &m->into->vertices[to];
        w->type = v->type < 0 ? -1 : m->device_types[v->type];
        w->port = v->port < 0 ? -1 : m->link_types[v->port];
        w->numa = int_of(m, v->numa);
        w->pci = value_of(m, v->pci);
        w->uuid = value_of(m, v->uuid);
        w->device = value_of(m, v->device);
        w->domain = value_of(m, v->domain);
        w->clique = int_of(m, v->clique);
        w->rail = int_of(m, v->rail);
        w->plane = int_of(m, v->plane);
        w->cpus = value_of(m, v->cpus);
    }
}

/* A fabric of into that is the same NVLink domain and clique; -1: none. */
static int same_fabric(const struct map *m, const struct sy_fabric *f)
{
    for (int i = 0; i < m->into->n_fabrics; i++) {
        const struct sy_fabric *g = &m->into->fabrics[i];
        if (f->kind == SY_FABRIC_NVLINK && g->kind == SY_FABRIC_NVLINK && SY_KNOWN(f->domain) && SY_KNOWN(g->domain) &&
            f->domain.value == g->domain.value && sy_int_or(f->clique, 0) == sy_int_or(g->clique, 0))
            return i;
    }
    return -1;
}

/* Members stand in one array, fabric after fabric: with more of them a fabric is written anew at its end. */
static void add_members(struct map *m, int fabric, const int *members, int n)
{
    struct sy_cluster *c = m->into;
    struct sy_fabric f = c->fabrics[fabric];
    int *all = malloc((size_t)(f.n_members + n) * sizeof *all);

    if (!all) {
        c->out_of_memory = true;
        return;
    }
    memcpy(all, c->members + f.first_member, (size_t)f.n_members * sizeof *all);
    memcpy(all + f.n_members, members, (size_t)n * sizeof *all);
    int made = sy_cluster_add_fabric(c, &f, all, f.n_members + n);
    if (made >= 0) {
        c->fabrics[fabric] = c->fabrics[made];
        c->n_fabrics--;
    }
    free(all);
}

static void copy_fabrics(struct map *m)
{
    for (int i = 0; i < m->other->n_fabrics; i++) {
        struct sy_fabric f = m->other->fabrics[i];
        int *members = malloc((size_t)(f.n_members + 1) * sizeof *members);
        if (!members) {
            m->into->out_of_memory = true;
            return;
        }
        for (int k = 0; k < f.n_members; k++)
            members[k] = m->vertices[m->other->members[f.first_member + k]];
        f.name = text_of(m, f.name);
        f.port = f.port < 0 ? -1 : m->link_types[f.port];
        f.rails = int_of(m, f.rails);
        f.count = int_of(m, f.count);
        f.planes = int_of(m, f.planes);
        f.leaf_ports = int_of(m, f.leaf_ports);
        f.oversubscription = real_of(m, f.oversubscription);
        f.latency = real_of(m, f.latency);
        f.domain = value_of(m, f.domain);
        f.clique = int_of(m, f.clique);
        f.from = source_of(m, f.from);
        int same = same_fabric(m, &f);
        if (same >= 0)
            add_members(m, same, members, f.n_members);
        else
            sy_cluster_add_fabric(m->into, &f, members, f.n_members);
        free(members);
    }
}

static void copy_rest(struct map *m)
{
    for (int i = 0; i < m->other->n_links; i++) {
        const struct sy_link *l = &m->other->links[i];
        if (!l->derived)
            sy_cluster_add_link(m->into, m->vertices[l->from], m->vertices[l->to], m->link_types[l->type],
                                int_of(m, l->count), source_of(m, l->source));
    }
    copy_fabrics(m);
    for (int i = 0; i < m->other->n_facts; i++) {
        const struct sy_fact *f = &m->other->facts[i];
        sy_cluster_add_fact(m->into, m->first_node + f->node, sy_cluster_text(m->other, f->key), value_of(m, f->value));
    }
    for (int i = 0; i < m->other->n_map; i++)
        sy_cluster_map_rank(m->into, m->vertices[m->other->map[i]]);
}

enum sy_status sy_cluster_append(struct sy_cluster *into, const struct sy_cluster *other, struct sy_error *err)
{
    struct map m = {.into = into, .other = other, .first_node = into->n_nodes};

    for (int i = 0; i < other->n_nodes; i++)
        if (sy_cluster_find_node(into, sy_cluster_text(other, other->nodes[i].name)) >= 0)
            return sy_error_set(err, SY_ERR_DATA, "there are two nodes with the name %s",
                                sy_cluster_text(other, other->nodes[i].name));
    m.vertices = calloc((size_t)other->n_vertices + 1, sizeof *m.vertices);
    m.device_types = calloc((size_t)other->n_device_types + 1, sizeof *m.device_types);
    m.link_types = calloc((size_t)other->n_link_types + 1, sizeof *m.link_types);
    if (m.vertices && m.device_types && m.link_types) {
        copy_types(&m);
        copy_nodes(&m);
        copy_vertices(&m);
        copy_rest(&m);
    } else {
        into->out_of_memory = true;
    }
    free(m.vertices);
    free(m.device_types);
    free(m.link_types);
    return into->out_of_memory ? sy_error_set(err, SY_ERR_SYSTEM, "no memory for a cluster") : SY_OK;
}

static double port_bw(const struct sy_cluster *c, int v)
{
    return c->vertices[v].port < 0 ? 0 : sy_real_or(c->link_types[c->vertices[v].port].bw, 0);
}

/* The fastest NICs of each node into members[]; *n_each: how many each node has, -1 where they differ. */
static int list_fastest(const struct sy_cluster *c, int *members, int *n_each)
{
    int n = 0;

    *n_each = -2;
    for (int node = 0; node < c->n_nodes; node++) {
        double fastest = 0;
        int before = n;
        for (int v = 0; v < c->n_vertices; v++)
            if (c->vertices[v].node == node && c->vertices[v].kind == SY_VERTEX_NIC && port_bw(c, v) > fastest)
                fastest = port_bw(c, v);
        for (int v = 0; v < c->n_vertices; v++)
            if (c->vertices[v].node == node && c->vertices[v].kind == SY_VERTEX_NIC && port_bw(c, v) == fastest)
                members[n++] = v;
        *n_each = *n_each == -2 || *n_each == n - before ? n - before : -1;
    }
    return n;
}

void sy_cluster_add_network(struct sy_cluster *c)
{
    int n_each, *members = malloc(((size_t)c->n_vertices + 1) * sizeof *members);
    bool connected = c->n_nodes < 2;

    for (int f = 0; f < c->n_fabrics; f++)
        connected |= c->fabrics[f].kind != SY_FABRIC_NVLINK;
    if (!members) {
        c->out_of_memory = true;
        return;
    }
    int n = list_fastest(c, members, &n_each);
    if (!connected && n) {
        struct sy_source from = sy_source_of(SY_ORIGIN_DEFAULT);
        struct sy_fabric f = {.name = sy_cluster_intern(c, "net"),
                              .kind = n_each > 1 ? SY_FABRIC_RAIL : SY_FABRIC_FAT_TREE,
                              .port = c->vertices[members[0]].port,
                              .from = from};
        if (n_each > 1) {
            f.rails = sy_int_of(n_each, from);
            f.spine = true;
        }
        if (f.port < 0) {
            struct sy_link_type eth = {.name = sy_cluster_intern(c, "eth"), .cls = SY_LINK_ETHERNET, .from = from};
            f.port = sy_cluster_link_type(c, &eth);
        }
        sy_cluster_add_fabric(c, &f, members, n);
    }
    free(members);
}
