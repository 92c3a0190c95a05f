/* SPDX-License-Identifier: Apache-2.0
 * svg_plan.c - where the parts of a node go in a picture
 *
 * Rows are common to the whole node. A device has a column; NICs stand above the GPUs of the same switch; a switch is as wide as
 * what hangs at it.
 */
#include <stdlib.h>
#include <string.h>

#include "show.h"
#include "svg_private.h"

static bool is_in(const struct svg_plan *p, int v, int kind, int above, int numa)
{
    const struct sy_vertex *x = &p->c->vertices[v];

    return x->node == p->node && x->kind == kind && sy_show_switch_above(p->c, v) == above &&
           (above >= 0 || sy_int_or(x->numa, -1) == numa);
}

static void put(struct svg_plan *p, int v, double x, double y, double w, double h)
{
    p->boxes[v] = (struct svg_box){x, y, w, h};
}

/* Devices of a kind side by side from x on; returns how many. */
static int put_row(struct svg_plan *p, int kind, int above, int numa, double x, double y, double h)
{
    double inset = kind == SY_VERTEX_NIC ? 14 : 0;
    int n = 0;

    for (int v = 0; v < p->c->n_vertices; v++)
        if (is_in(p, v, kind, above, numa)) {
            put(p, v, x + n * (SVG_COLUMN + SVG_GAP) + inset, y, SVG_COLUMN - 2 * inset, h);
            n++;
        }
    return n;
}

static double put_below(struct svg_plan *p, int above, int numa, double x, int depth);

/* A switch with all that hangs at it; returns its width. */
static double put_switch(struct svg_plan *p, int v, double x, int depth)
{
    double w = put_below(p, v, -1, x, depth + 1);

    w = w < SVG_COLUMN ? SVG_COLUMN : w;
    put(p, v, x, p->y_switch + depth * (SVG_SWITCH + SVG_ROW_GAP), w, SVG_SWITCH);
    return w;
}

/* Returns the width of everything below a switch, or at a NUMA node; 0: nothing. */
static double put_below(struct svg_plan *p, int above, int numa, double x, int depth)
{
    double begin = x;

    for (int v = 0; v < p->c->n_vertices && depth < p->depth; v++)
        if (is_in(p, v, SY_VERTEX_PCIE, above, numa) && v != above)
            x += put_switch(p, v, x, depth) + SVG_GAP;
    int n_nics = put_row(p, SY_VERTEX_NIC, above, numa, x, p->y_nic, SVG_NIC);
    int n_gpus = put_row(p, SY_VERTEX_GPU, above, numa, x, p->y_gpu, SVG_GPU);
    x += (n_nics > n_gpus ? n_nics : n_gpus) * (SVG_COLUMN + SVG_GAP);
    return x > begin ? x - begin - SVG_GAP : 0;
}

/* A NUMA node whose left edge is at x; its width, 0 when there is nothing in it. */
static double put_group(struct svg_plan *p, int numa, double x)
{
    double inner = x + SVG_PAD;
    int n_cpus = put_row(p, SY_VERTEX_CPU, -1, numa, inner, p->y_cpu, SVG_CPU);
    double w = put_below(p, -1, numa, inner, 0), cpus = n_cpus * (SVG_COLUMN + SVG_GAP) - SVG_GAP;

    if (numa < 0 && !n_cpus && w <= 0)
        return 0;
    w = w > cpus ? w : cpus;
    w = (w > SVG_COLUMN ? w : SVG_COLUMN) + 2 * SVG_PAD;
    p->groups[p->n_groups++] = (struct svg_group){numa, {x, SVG_TITLE + SVG_PAD, w, 0}};
    return w;
}

static int depth_of(const struct sy_cluster *c, int v)
{
    int depth = 1;

    for (int s = sy_show_switch_above(c, v); s >= 0 && depth < 8; s = sy_show_switch_above(c, s))
        depth++;
    return depth;
}

static void look(struct svg_plan *p)
{
    for (int v = 0; v < p->c->n_vertices; v++) {
        int kind = p->c->vertices[v].node == p->node ? p->c->vertices[v].kind : -1;
        p->has_cpus |= kind == SY_VERTEX_CPU;
        p->has_nics |= kind == SY_VERTEX_NIC;
        p->has_gpus |= kind == SY_VERTEX_GPU;
        p->has_hubs |= kind == SY_VERTEX_NVSWITCH || kind == SY_VERTEX_MEMORY;
        if (kind == SY_VERTEX_PCIE && depth_of(p->c, v) > p->depth)
            p->depth = depth_of(p->c, v);
    }
}

/* Direct NVLinks hang below the GPUs as well. */
static bool has_direct(const struct svg_plan *p)
{
    for (int l = 0; l < p->c->n_links; l++) {
        const struct sy_link *k = &p->c->links[l];
        if (p->c->vertices[k->from].node == p->node && p->c->vertices[k->from].kind == SY_VERTEX_GPU &&
            p->c->vertices[k->to].kind == SY_VERTEX_GPU)
            return true;
    }
    return false;
}

static double rows(struct svg_plan *p)
{
    double y = SVG_TITLE + SVG_PAD + SVG_TITLE;

    p->y_cpu = y;
    y += p->has_cpus ? SVG_CPU + 12 : 0;
    p->y_bar = y;
    y += SVG_BAR + SVG_ROW_GAP;
    p->y_switch = y;
    y += p->depth * (SVG_SWITCH + SVG_ROW_GAP);
    p->y_nic = y;
    y += p->has_nics ? SVG_NIC + SVG_ROW_GAP : 0;
    p->y_gpu = y;
    y += p->has_gpus ? SVG_GPU + SVG_PAD : 0;
    return p->has_gpus || p->has_nics || p->depth ? y : y - SVG_ROW_GAP + SVG_PAD;
}

static void put_hubs(struct svg_plan *p)
{
    int n = 0, i = 0;

    for (int v = 0; v < p->c->n_vertices; v++)
        n += p->c->vertices[v].node == p->node &&
             (p->c->vertices[v].kind == SY_VERTEX_NVSWITCH || p->c->vertices[v].kind == SY_VERTEX_MEMORY);
    /* A column each where there is room, evenly over the node. */
    double share = n ? (p->w - 2 * SVG_PAD) / n : 0, w = share - SVG_GAP < SVG_COLUMN ? share - SVG_GAP : SVG_COLUMN;
    for (int v = 0; v < p->c->n_vertices; v++)
        if (p->c->vertices[v].node == p->node &&
            (p->c->vertices[v].kind == SY_VERTEX_NVSWITCH || p->c->vertices[v].kind == SY_VERTEX_MEMORY))
            put(p, v, SVG_PAD + share * i++ + (share - w) / 2, p->y_hub, w, SVG_HUB);
}

bool sy_svg_plan(const struct sy_cluster *c, int node, struct svg_plan *p)
{
    int n_numa = (int)sy_int_or(c->nodes[node].n_numa, 1);

    *p = (struct svg_plan){.c = c, .node = node};
    p->groups = calloc(SVG_GROUPS_MAX, sizeof *p->groups);
    p->boxes = calloc((size_t)c->n_vertices + 1, sizeof *p->boxes);
    if (!p->groups || !p->boxes) {
        sy_svg_unplan(p);
        return false;
    }
    look(p);
    double bottom = rows(p), x = SVG_PAD;
    for (int i = 0; i <= n_numa && i < SVG_GROUPS_MAX; i++) {
        double w = put_group(p, i < n_numa ? i : -1, x);
        x += w > 0 ? w + SVG_GROUP_GAP : 0;
    }
    p->w = x - SVG_GROUP_GAP + SVG_PAD;
    for (int i = 0; i < p->n_groups; i++)
        p->groups[i].box.h = bottom - p->groups[i].box.y;
    p->y_hub = bottom + (p->has_hubs ? SVG_HUB_GAP : has_direct(p) ? SVG_HUB_GAP : 0);
    put_hubs(p);
    p->y_pill = p->y_hub + (p->has_hubs ? SVG_HUB + SVG_PAD : 0) + SVG_PAD;
    p->h = p->y_pill;
    return true;
}

void sy_svg_unplan(struct svg_plan *p)
{
    free(p->groups);
    free(p->boxes);
    p->groups = NULL;
    p->boxes = NULL;
}
