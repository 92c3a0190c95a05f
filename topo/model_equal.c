/* SPDX-License-Identifier: Apache-2.0
 * model_equal.c - do two clusters say the same?
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "model_private.h"

struct pair {
    const struct sy_cluster *a, *b;
    char *why;
    size_t why_bytes;
    char where[600]; /* what is compared: "n0.gpu3" */
    int *b_of;       /* [a->n_vertices] the vertex of b with the same node and id, -1: none */
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
           same_int(p, "cores", x->cores, y->cores) && same_real(p, "l2", x->l2, y->l2) &&
           same_real(p, "l3", x->l3, y->l3) && same_real(p, "mem", x->mem, y->mem) &&
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
           same_text(p, "chassis", x->chassis, y->chassis) &&
           same_number(p, "numa", (double)sy_int_or(x->n_numa, 1), (double)sy_int_or(y->n_numa, 1));
}

static bool same_vertex(struct pair *p, int i)
{
    const struct sy_vertex *x = &p->a->vertices[i];

    sy_cluster_show(p->a, i, p->where, sizeof p->where);
    p->b_of[i] = sy_cluster_find_vertex(p->b, x->node, sy_cluster_text(p->a, x->id));
    if (p->b_of[i] < 0)
        return differ(p, "vertex", "there", "not there");
    const struct sy_vertex *y = &p->b->vertices[p->b_of[i]];
    return same_number(p, "kind", x->kind, y->kind) && same_number(p, "fabric", x->fabric, y->fabric) &&
           same_device_types(p, x->type, y->type) && same_link_types(p, x->port, y->port) &&
           same_int(p, "numa", x->numa, y->numa) && same_text(p, "pci", x->pci, y->pci) &&
           same_text(p, "uuid", x->uuid, y->uuid) && same_text(p, "device", x->device, y->device) &&
           same_text(p, "domain", x->domain, y->domain) && same_int(p, "clique", x->clique, y->clique) &&
           same_int(p, "rail", x->rail, y->rail) && same_int(p, "plane", x->plane, y->plane) &&
           same_text(p, "cpus", x->cpus, y->cpus);
}

/* A link by its ends, as numbers in b, the lower one first. */
struct ends {
    int low, high, cls, count, link;
};

static int by_ends(const void *x, const void *y)
{
    const struct ends *a = x, *b = y;

    if (a->low != b->low)
        return a->low < b->low ? -1 : 1;
    if (a->high != b->high)
        return a->high < b->high ? -1 : 1;
    if (a->cls != b->cls)
        return a->cls < b->cls ? -1 : 1;
    return a->count < b->count ? -1 : a->count > b->count;
}

/* b_of NULL: the links of b itself. */
static void sort_links(const struct sy_cluster *c, const int *b_of, struct ends *list)
{
    for (int i = 0; i < c->n_links; i++) {
        const struct sy_link *l = &c->links[i];
        int from = b_of ? b_of[l->from] : l->from, to = b_of ? b_of[l->to] : l->to;
        list[i] = (struct ends){from < to ? from : to, from < to ? to : from, c->link_types[l->type].cls,
                                (int)sy_int_or(l->count, 1), i};
    }
    qsort(list, (size_t)c->n_links, sizeof *list, by_ends);
}

static bool same_links(struct pair *p)
{
    int n = p->a->n_links;
    struct ends *a = malloc(((size_t)n + 1) * sizeof *a), *b = malloc(((size_t)n + 1) * sizeof *b);
    bool same = a && b;
    char from[256], to[256];

    if (same) {
        sort_links(p->a, p->b_of, a);
        sort_links(p->b, NULL, b);
    }
    for (int i = 0; i < n && same; i++) {
        const struct sy_link *x = &p->a->links[a[i].link], *y = &p->b->links[b[i].link];
        snprintf(p->where, sizeof p->where, "link %s to %s", sy_cluster_show(p->a, x->from, from, sizeof from),
                 sy_cluster_show(p->a, x->to, to, sizeof to));
        if (a[i].low != b[i].low || a[i].high != b[i].high)
            same = differ(p, "link", "there", "not there");
        same = same && same_number(p, "count", a[i].count, b[i].count) && same_link_types(p, x->type, y->type);
    }
    free(a);
    free(b);
    return same;
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
        if (!same_number(p, "member", p->b_of[p->a->members[x->first_member + m]], p->b->members[y->first_member + m]))
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

    p.b_of = same ? calloc((size_t)a->n_vertices + 1, sizeof *p.b_of) : NULL;
    same = same && p.b_of;
    for (int i = 0; i < a->n_nodes && same; i++)
        same = same_node(&p, i);
    for (int i = 0; i < a->n_vertices && same; i++)
        same = same_vertex(&p, i);
    same = same && same_links(&p);
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
        same = same_number(&p, "device of a rank", p.b_of[a->ranks[r]], b->ranks[r]);
    free(p.b_of);
    return same;
}
