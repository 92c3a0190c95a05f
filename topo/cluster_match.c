/* SPDX-License-Identifier: Apache-2.0
 * cluster_match.c - which machine is which node of a cluster file, and which of its devices is which
 */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cluster_merge.h"

/* A host's name without its domain. */
static void first_label(const char *host, char out[256])
{
    snprintf(out, 256, "%.255s", host);
    out[strcspn(out, ".")] = '\0';
}

/* A pattern or name of the file says a host, with or without its domain. */
static bool is_host(const char *pattern, const char *host)
{
    char label[256];

    first_label(host, label);
    return fnmatch(pattern, host, 0) == 0 || fnmatch(pattern, label, 0) == 0;
}

bool sy_cluster_is_host(const struct sy_cluster *c, int node, const char *host)
{
    const struct sy_node *n = &c->nodes[node];

    return is_host(sy_cluster_text(c, SY_KNOWN(n->host) ? n->host.value : n->name), host);
}

/* First nodes whose name is the host's, then those with patterns, in order. */
static void match_nodes(struct sy_match *m)
{
    const struct sy_cluster *a = m->file, *b = m->found;

    for (int turn = 0; turn < 2; turn++)
        for (int i = 0; i < a->n_nodes; i++) {
            const struct sy_node *x = &a->nodes[i];
            const char *says = sy_cluster_text(a, SY_KNOWN(x->host) ? x->host.value : x->name);
            bool pattern = strpbrk(says, "*?[") != NULL;
            for (int k = 0; k < b->n_nodes && m->node[i] < 0 && pattern == (turn == 1); k++) {
                const struct sy_node *y = &b->nodes[k];
                if (m->node_back[k] >= 0 ||
                    !is_host(says, sy_cluster_text(b, SY_KNOWN(y->host) ? y->host.value : y->name)))
                    continue;
                m->node[i] = k;
                m->node_back[k] = i;
            }
        }
    /* One machine and a file of one node that calls it localhost. */
    if (a->n_nodes == 1 && b->n_nodes == 1 && m->node[0] < 0 &&
        !strcmp(sy_cluster_text(a, SY_KNOWN(a->nodes[0].host) ? a->nodes[0].host.value : a->nodes[0].name),
                "localhost"))
        m->node[0] = m->node_back[0] = 0;
}

static void pair(struct sy_match *m, int v, int w)
{
    m->vertex[v] = w;
    m->vertex_back[w] = v;
}

static bool same_text(const struct sy_match *m, struct sy_text a, struct sy_text b)
{
    return SY_KNOWN(a) && SY_KNOWN(b) &&
           !strcasecmp(sy_cluster_text(m->file, a.value), sy_cluster_text(m->found, b.value));
}

/* PCI addresses, UUIDs and the system's names say who is meant. */
static bool is_named(const struct sy_match *m, const struct sy_vertex *x, const struct sy_vertex *y)
{
    return same_text(m, x->pci, y->pci) || same_text(m, x->uuid, y->uuid) || same_text(m, x->device, y->device);
}

static bool names_one(const struct sy_vertex *x)
{
    return SY_KNOWN(x->pci) || SY_KNOWN(x->uuid) || SY_KNOWN(x->device);
}

/* The vertices of one kind of a pair of nodes. by_name: those that the file names; else the others by their order. */
static void match_kind(struct sy_match *m, const int *of_a, int n_a, const int *of_b, int n_b, bool by_name)
{
    for (int i = 0, next = 0; i < n_a; i++) {
        const struct sy_vertex *x = &m->file->vertices[of_a[i]];
        if (by_name != names_one(x))
            continue;
        for (int k = by_name ? 0 : next; k < n_b && m->vertex[of_a[i]] < 0; k++) {
            if (m->vertex_back[of_b[k]] >= 0 || (by_name && !is_named(m, x, &m->found->vertices[of_b[k]])))
                continue;
            pair(m, of_a[i], of_b[k]);
            next = k + 1;
        }
    }
}

/* Ranks may split a socket into several CPU devices: each of them is on the CPU that has its NUMA node. */
static void match_cpus(struct sy_match *m, const int *of_a, int n_a, const int *of_b, int n_b)
{
    for (int i = 0; i < n_a; i++)
        for (int k = 0; k < n_b && m->vertex[of_a[i]] < 0; k++)
            if (sy_int_or(m->file->vertices[of_a[i]].numa, 0) == sy_int_or(m->found->vertices[of_b[k]].numa, 0)) {
                m->vertex[of_a[i]] = of_b[k];
                if (m->vertex_back[of_b[k]] < 0)
                    m->vertex_back[of_b[k]] = of_a[i];
            }
}

/* A cluster's vertices of each node and kind, in their order. */
struct lists {
    int *first, *items; /* [n_nodes * SY_N_VERTEX_KINDS + 1], [n_vertices] */
};

static bool list(const struct sy_cluster *c, struct lists *l)
{
    size_t n = (size_t)c->n_nodes * SY_N_VERTEX_KINDS;

    l->first = calloc(n + 1, sizeof *l->first);
    l->items = calloc((size_t)c->n_vertices + 1, sizeof *l->items);
    if (!l->first || !l->items)
        return false;
    for (int v = 0; v < c->n_vertices; v++)
        if (c->vertices[v].node >= 0)
            l->first[c->vertices[v].node * SY_N_VERTEX_KINDS + c->vertices[v].kind + 1]++;
    for (size_t i = 1; i <= n; i++)
        l->first[i] += l->first[i - 1];
    /* Filling moves each list's begin to its end, which is the next one's begin. */
    for (int v = 0; v < c->n_vertices; v++)
        if (c->vertices[v].node >= 0)
            l->items[l->first[c->vertices[v].node * SY_N_VERTEX_KINDS + c->vertices[v].kind]++] = v;
    for (size_t i = n; i > 0; i--)
        l->first[i] = l->first[i - 1];
    l->first[0] = 0;
    return true;
}

static void match_vertices(struct sy_match *m, const struct lists *a, const struct lists *b)
{
    for (int i = 0; i < m->file->n_nodes; i++) {
        if (m->node[i] < 0)
            continue;
        for (int kind = 0; kind < SY_VERTEX_FABRIC; kind++) {
            const int *in_a = a->first + i * SY_N_VERTEX_KINDS + kind;
            const int *in_b = b->first + m->node[i] * SY_N_VERTEX_KINDS + kind;
            const int *of_a = a->items + in_a[0], *of_b = b->items + in_b[0];
            int n_a = in_a[1] - in_a[0], n_b = in_b[1] - in_b[0];
            if (kind == SY_VERTEX_CPU) {
                match_cpus(m, of_a, n_a, of_b, n_b);
                continue;
            }
            match_kind(m, of_a, n_a, of_b, n_b, true);
            match_kind(m, of_a, n_a, of_b, n_b, false);
        }
    }
}

static int *nobody(int n)
{
    int *list = malloc(((size_t)n + 1) * sizeof *list);

    for (int i = 0; i < n && list; i++)
        list[i] = -1;
    return list;
}

enum sy_status sy_match_init(struct sy_match *m, const struct sy_cluster *file, const struct sy_cluster *found,
                             struct sy_error *err)
{
    struct lists a = {NULL, NULL}, b = {NULL, NULL};

    *m = (struct sy_match){.file = file,
                           .found = found,
                           .node = nobody(file->n_nodes),
                           .node_back = nobody(found->n_nodes),
                           .vertex = nobody(file->n_vertices),
                           .vertex_back = nobody(found->n_vertices)};
    bool held = m->node && m->node_back && m->vertex && m->vertex_back && list(file, &a) && list(found, &b);
    if (held) {
        match_nodes(m);
        match_vertices(m, &a, &b);
    }
    free(a.first);
    free(a.items);
    free(b.first);
    free(b.items);
    if (held)
        return SY_OK;
    sy_match_fini(m);
    return sy_error_set(err, SY_ERR_SYSTEM, "no memory to compare %d nodes with %d", file->n_nodes, found->n_nodes);
}

void sy_match_fini(struct sy_match *m)
{
    free(m->node);
    free(m->node_back);
    free(m->vertex);
    free(m->vertex_back);
    *m = (struct sy_match){0};
}

bool sy_match_shared(const struct sy_match *m, int v, int w)
{
    if (m->vertex_back[w] != v)
        return true;
    for (int k = v + 1; k < m->file->n_vertices && m->file->vertices[k].node == m->file->vertices[v].node; k++)
        if (m->vertex[k] == w)
            return true;
    return false;
}
