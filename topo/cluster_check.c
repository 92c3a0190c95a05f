/* SPDX-License-Identifier: Apache-2.0
 * cluster_check.c - do a cluster's ranks reach one another, over links of known bandwidth?
 */
#include <stdlib.h>

#include "cluster.h"

static int root(int *parent, int v)
{
    while (parent[v] != v)
        v = parent[v] = parent[parent[v]];
    return v;
}

static bool is_local(const struct sy_cluster *c, int link)
{
    return c->link_types[c->links[link].type].cls == SY_LINK_LOCAL;
}

/* Join what links connect; unknown: those too of which the bandwidth is unknown. */
static void join(const struct sy_cluster *c, bool unknown, int *parent)
{
    for (int v = 0; v < c->n_vertices; v++)
        parent[v] = v;
    for (int l = 0; l < c->n_links; l++)
        if (unknown || is_local(c, l) || SY_KNOWN(sy_link_capacity(c, l)))
            parent[root(parent, c->links[l].from)] = root(parent, c->links[l].to);
}

/* A link of unknown bandwidth with one end on each side of what known links do not connect. */
static int missing_link(const struct sy_cluster *c, int *parent, int a)
{
    for (int l = 0; l < c->n_links; l++)
        if (!SY_KNOWN(sy_link_capacity(c, l)) && !is_local(c, l) &&
            (root(parent, c->links[l].from) == a) != (root(parent, c->links[l].to) == a))
            return l;
    return -1;
}

/* What a machine may still add is not missing for sure. */
typedef void say_fn(struct sy_report *report, struct sy_place place, const char *fmt, ...);

static say_fn *severity(const struct sy_cluster *c)
{
    return sy_int_or(c->policy.discover, SY_DISCOVER_FILL) == SY_DISCOVER_OFF ? sy_report_error : sy_report_warning;
}

static void report_unknown(const struct sy_cluster *c, int *parent, int rank, struct sy_report *report)
{
    char a[300], b[300];
    int l = missing_link(c, parent, root(parent, c->ranks[rank]));

    if (l < 0)
        l = missing_link(c, parent, root(parent, c->ranks[0]));
    if (l < 0)
        return;
    const struct sy_link_type *type = &c->link_types[c->links[l].type];
    severity(c)(report, sy_cluster_place(c, type->from),
                "the path from '%s' to '%s' needs the bandwidth of '%s', which is unknown",
                sy_cluster_show(c, c->ranks[0], a, sizeof a), sy_cluster_show(c, c->ranks[rank], b, sizeof b),
                sy_cluster_text(c, type->name));
    sy_report_note(report, sy_cluster_place(c, c->links[l].source), "such a link is here");
}

/* Where a rank's device has its first link. */
static void note_link(const struct sy_cluster *c, int vertex, struct sy_report *report)
{
    char text[300];

    for (int i = c->first_edge[vertex]; i < c->first_edge[vertex + 1]; i++) {
        const struct sy_link *l = &c->links[c->edges[i]];
        if (!l->derived && l->source.line) {
            sy_report_note(report, sy_cluster_place(c, l->source), "'%s' has a link here",
                           sy_cluster_show(c, vertex, text, sizeof text));
            return;
        }
    }
}

static void report_apart(const struct sy_cluster *c, int rank, struct sy_report *report)
{
    int vertex = c->ranks[rank], first = c->ranks[0];
    const struct sy_vertex *v = &c->vertices[vertex];
    char a[300], b[300];

    severity(c)(report, sy_cluster_place(c, v->from), "rank %d (%s) and rank 0 (%s) cannot reach each other", rank,
                sy_cluster_show(c, vertex, a, sizeof a), sy_cluster_show(c, first, b, sizeof b));
    if (v->node != c->vertices[first].node) {
        if (c->nodes[v->node].from.line)
            sy_report_note(report, sy_cluster_place(c, c->nodes[v->node].from),
                           "this node needs a fabric with the other");
        for (int f = 0; f < c->n_fabrics && f < 2; f++)
            if (c->fabrics[f].from.line)
                sy_report_note(report, sy_cluster_place(c, c->fabrics[f].from), "fabric '%s' does not connect them",
                               sy_cluster_text(c, c->fabrics[f].name));
    }
    note_link(c, vertex, report);
    note_link(c, first, report);
}

void sy_cluster_check(const struct sy_cluster *c, struct sy_report *report)
{
    int *parent = malloc(((size_t)c->n_vertices + 1) * sizeof *parent);

    if (!parent) {
        sy_report_error(report, (struct sy_place){sy_cluster_file_name(c, 1), 0, 0}, "no memory to check it");
        return;
    }
    join(c, true, parent);
    bool reached = true;
    for (int i = 1; i < c->n_ranks && reached; i++) {
        reached = root(parent, c->ranks[i]) == root(parent, c->ranks[0]);
        if (!reached)
            report_apart(c, i, report);
    }
    if (reached) {
        join(c, false, parent);
        for (int i = 1; i < c->n_ranks; i++)
            if (root(parent, c->ranks[i]) != root(parent, c->ranks[0])) {
                report_unknown(c, parent, i, report);
                break;
            }
    }
    free(parent);
}
