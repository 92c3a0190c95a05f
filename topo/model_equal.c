/* SPDX-License-Identifier: Apache-2.0
 * model_equal.c - do two clusters say the same?
 */
#include <stdio.h>
#include <string.h>

#include "model.h"
#include "model_private.h"

struct pair {
    const struct sy_cluster *a, *b;
    char *why;
    size_t why_bytes;
    char where[600]; /* what is compared: "n0.gpu3" */
};

static bool differ(const struct pair *p, const char *what, const char *a, const char *b)
{
    if (p->why_bytes)
        snprintf(p->why, p->why_bytes, "%s%s%s: %s and %s", p->where, *p->where ? ": " : "", what, a, b);
    return false;
}

static bool same_number(const struct pair *p, const char *what, double a, double b)
{
    char x[40], y[40];

    if (a == b)
        return true;
    snprintf(x, sizeof x, "%.17g", a);
    snprintf(y, sizeof y, "%.17g", b);
    return differ(p, what, x, y);
}

static bool same_known(const struct pair *p, const char *what, struct sy_source a, struct sy_source b)
{
    bool known = a.origin != SY_ORIGIN_NONE, too = b.origin != SY_ORIGIN_NONE;

    return known == too || differ(p, what, known ? "known" : "unknown", too ? "known" : "unknown");
}

static bool same_real(const struct pair *p, const char *what, struct sy_real a, struct sy_real b)
{
    return same_known(p, what, a.from, b.from) && (!SY_KNOWN(a) || same_number(p, what, a.value, b.value));
}

static bool same_int(const struct pair *p, const char *what, struct sy_int a, struct sy_int b)
{
    return same_known(p, what, a.from, b.from) &&
           (!SY_KNOWN(a) || same_number(p, what, (double)a.value, (double)b.value));
}

static bool same_name(const struct pair *p, const char *what, uint32_t a, uint32_t b)
{
    const char *x = sy_cluster_text(p->a, a), *y = sy_cluster_text(p->b, b);

    return !strcmp(x, y) || differ(p, what, x, y);
}

static bool same_text(const struct pair *p, const char *what, struct sy_text a, struct sy_text b)
{
    return same_known(p, what, a.from, b.from) && (!SY_KNOWN(a) || same_name(p, what, a.value, b.value));
}

static bool same_device_types(const struct pair *p, int a, int b)
{
    if (a < 0 || b < 0)
        return same_number(p, "device type", a < 0, b < 0);
    const struct sy_device_type *x = &p->a->device_types[a], *y = &p->b->device_types[b];
    for (int i = 0; i < SY_N_COMPUTE_TYPES; i++)
        if (!same_real(p, sy_compute_type_name(i), x->compute[i], y->compute[i]))
            return false;
    return same_text(p, "model", x->model, y->model) && same_int(p, "sm", x->sm, y->sm) &&
           same_int(p, "cores", x->cores, y->cores) && same_real(p, "mem", x->mem, y->mem) &&
           same_real(p, "mem_bw", x->mem_bw, y->mem_bw);
}

static bool same_link_types(const struct pair *p, int a, int b)
{
    if (a < 0 || b < 0)
        return same_number(p, "link type", a < 0, b < 0);
    const struct sy_link_type *x = &p->a->link_types[a], *y = &p->b->link_types[b];
    return same_number(p, "class", x->cls, y->cls) && same_real(p, "bw", x->bw, y->bw) &&
           same_real(p, "efficiency", x->efficiency, y->efficiency) &&
           same_real(p, "latency", x->latency, y->latency) &&
           same_real(p, "per_message", x->per_message, y->per_message);
}

static bool same_node(struct pair *p, int i)
{
    const struct sy_node *x = &p->a->nodes[i], *y = &p->b->nodes[i];

    snprintf(p->where, sizeof p->where, "node %s", sy_cluster_text(p->a, x->name));
    return same_name(p, "name", x->name, y->name) && same_text(p, "host", x->host, y->host) &&
           same_text(p, "type", x->type, y->type) && same_text(p, "chassis", x->chassis, y->chassis) &&
           same_number(p, "numa", (double)sy_int_or(x->n_numa, 1), (double)sy_int_or(y->n_numa, 1));
}

static bool same_vertex(struct pair *p, int i)
{
    const struct sy_vertex *x = &p->a->vertices[i], *y = &p->b->vertices[i];

    sy_cluster_show(p->a, i, p->where, sizeof p->where);
    return same_name(p, "id", x->id, y->id) && same_number(p, "node", x->node, y->node) &&
           same_number(p, "kind", x->kind, y->kind) && same_number(p, "fabric", x->fabric, y->fabric) &&
           same_device_types(p, x->type, y->type) && same_link_types(p, x->port, y->port) &&
           same_int(p, "numa", x->numa, y->numa) && same_text(p, "pci", x->pci, y->pci) &&
           same_text(p, "uuid", x->uuid, y->uuid) && same_text(p, "device", x->device, y->device) &&
           same_text(p, "domain", x->domain, y->domain) && same_int(p, "clique", x->clique, y->clique) &&
           same_int(p, "rail", x->rail, y->rail) && same_int(p, "plane", x->plane, y->plane) &&
           same_text(p, "cpus", x->cpus, y->cpus);
}

static bool same_link(struct pair *p, int i)
{
    const struct sy_link *x = &p->a->links[i], *y = &p->b->links[i];
    char from[256], to[256];

    snprintf(p->where, sizeof p->where, "link %s to %s", sy_cluster_show(p->a, x->from, from, sizeof from),
             sy_cluster_show(p->a, x->to, to, sizeof to));
    return same_number(p, "from", x->from, y->from) && same_number(p, "to", x->to, y->to) &&
           same_number(p, "count", (double)sy_int_or(x->count, 1), (double)sy_int_or(y->count, 1)) &&
           same_link_types(p, x->type, y->type);
}

static bool same_fabric(struct pair *p, int i)
{
    const struct sy_fabric *x = &p->a->fabrics[i], *y = &p->b->fabrics[i];

    snprintf(p->where, sizeof p->where, "fabric %s", sy_cluster_text(p->a, x->name));
    if (!same_name(p, "name", x->name, y->name) || !same_number(p, "kind", x->kind, y->kind) ||
        !same_link_types(p, x->port, y->port) || !same_int(p, "rails", x->rails, y->rails) ||
        !same_int(p, "count", x->count, y->count) || !same_int(p, "planes", x->planes, y->planes) ||
        !same_int(p, "leaf_ports", x->leaf_ports, y->leaf_ports) || !same_number(p, "spine", x->spine, y->spine) ||
        !same_real(p, "oversubscription", x->oversubscription, y->oversubscription) ||
        !same_real(p, "latency", x->latency, y->latency) || !same_text(p, "domain", x->domain, y->domain) ||
        !same_int(p, "clique", x->clique, y->clique) || !same_number(p, "members", x->n_members, y->n_members))
        return false;
    for (int m = 0; m < x->n_members; m++)
        if (!same_number(p, "member", p->a->members[x->first_member + m], p->b->members[y->first_member + m]))
            return false;
    return true;
}

static bool same_counts(struct pair *p)
{
    const struct sy_cluster *a = p->a, *b = p->b;

    return same_name(p, "name", a->name, b->name) && same_number(p, "nodes", a->n_nodes, b->n_nodes) &&
           same_number(p, "vertices", a->n_vertices, b->n_vertices) &&
           same_number(p, "links", a->n_links, b->n_links) && same_number(p, "fabrics", a->n_fabrics, b->n_fabrics) &&
           same_number(p, "facts", a->n_facts, b->n_facts) && same_number(p, "ranks", a->n_ranks, b->n_ranks) &&
           same_number(p, "map", a->n_map, b->n_map) &&
           same_int(p, "discover", a->policy.discover, b->policy.discover) &&
           same_int(p, "cross_rail", a->policy.via_nvlink, b->policy.via_nvlink) &&
           same_int(p, "order", a->policy.order, b->policy.order);
}

bool sy_cluster_equal(const struct sy_cluster *a, const struct sy_cluster *b, char *why, size_t why_bytes)
{
    struct pair p = {.a = a, .b = b, .why = why, .why_bytes = why_bytes};
    bool same = same_counts(&p);

    for (int i = 0; i < a->n_nodes && same; i++)
        same = same_node(&p, i);
    for (int i = 0; i < a->n_vertices && same; i++)
        same = same_vertex(&p, i);
    for (int i = 0; i < a->n_links && same; i++)
        same = same_link(&p, i);
    for (int i = 0; i < a->n_fabrics && same; i++)
        same = same_fabric(&p, i);
    for (int i = 0; i < a->n_facts && same; i++) {
        snprintf(p.where, sizeof p.where, "fact %d", i);
        same = same_number(&p, "node", a->facts[i].node, b->facts[i].node) &&
               same_name(&p, "key", a->facts[i].key, b->facts[i].key) &&
               same_text(&p, "value", a->facts[i].value, b->facts[i].value);
    }
    p.where[0] = '\0';
    for (int r = 0; r < a->n_ranks && same; r++)
        same = same_number(&p, "device of a rank", a->ranks[r], b->ranks[r]);
    return same;
}
