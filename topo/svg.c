/* SPDX-License-Identifier: Apache-2.0
 * svg.c - boxes, lines and legend of a picture
 */
#include "svg.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "show.h"
#include "svg_private.h"

#define KINDS_MAX 12
#define LEFT      30
#define TRUNK_GAP 14

/* By enum sy_link_class. */
static const char *const colours[SY_N_LINK_CLASSES] = {"#b0b0b0", "#5c9900", "#a3158e", "#777777", "#777777",
                                                       "#3b6ea8", "#d96c0b", "#b03030", "#8a5a00"};

struct picture {
    const struct sy_cluster *c;
    struct sy_buf *out;
    double x, y; /* corner of the node that is drawn */
    double width;
    bool *used; /* [n_link_types]: in the legend */
};

static void text(struct picture *p, double x, double y, double w, const char *style, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

/* A line of text that is cut to w (0: not), in 11 pixels unless the style says otherwise. */
static void text(struct picture *p, double x, double y, double w, const char *style, const char *fmt, ...)
{
    char line[400];
    va_list args;
    size_t most = w > 0 ? (size_t)(w / (strstr(style, "bold") ? 7.6 : 6.7)) : sizeof line;

    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (strlen(line) > most)
        snprintf(line + (most > 2 ? most - 2 : 0), 4, "..");
    sy_buf_printf(p->out, "<text x=\"%.1f\" y=\"%.1f\"%s>", x, y, style);
    for (const char *c = line; *c; c++) {
        if (*c == '&' || *c == '<')
            sy_buf_printf(p->out, "%s", *c == '&' ? "&amp;" : "&lt;");
        else if ((unsigned char)*c >= ' ')
            sy_buf_append(p->out, c, 1);
    }
    sy_buf_printf(p->out, "</text>\n");
}

static void rect(struct picture *p, double x, double y, double w, double h, const char *fill, const char *stroke,
                 double radius)
{
    sy_buf_printf(
        p->out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"%.0f\" fill=\"%s\" stroke=\"%s\"/>\n",
        x, y, w, h, radius, fill, stroke);
}

static void line(struct picture *p, double x1, double y1, double x2, double y2, int cls, double width)
{
    sy_buf_printf(p->out, "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"%s\" stroke-width=\"%.1f\"/>\n", x1, y1, x2, y2,
                  colours[cls], width);
}

/* A curve below a row from one box to another. */
static void curve(struct picture *p, double x1, double x2, double y, double depth, int cls)
{
    sy_buf_printf(p->out, "<path d=\"M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f\" stroke=\"%s\" stroke-width=\"1.6\"/>\n",
                  x1, y, x1, y + depth, x2, y + depth, x2, y, colours[cls]);
}

static double middle(const struct svg_box *b)
{
    return b->x + b->w / 2;
}

/* The place of a NUMA node's bar of host bridges. */
static const struct svg_box *group_of(const struct svg_plan *plan, int numa)
{
    for (int i = 0; i < plan->n_groups; i++)
        if (plan->groups[i].numa == numa)
            return &plan->groups[i].box;
    return NULL;
}

/* A link of a device up to its switch, or to the host bridges of its NUMA node. A GPU's passes its NIC on the left. */
static void draw_up(struct picture *p, const struct svg_plan *plan, int v, int cls)
{
    const struct svg_box *b = &plan->boxes[v];
    int above = sy_show_switch_above(p->c, v);
    double y = above >= 0 ? plan->boxes[above].y + SVG_SWITCH : plan->y_bar + SVG_BAR;
    double x = p->c->vertices[v].kind == SY_VERTEX_GPU ? b->x + 7 : b->x + b->w / 2;

    line(p, p->x + x, p->y + b->y, p->x + x, p->y + y, cls, 2);
}

/* A link to the CPU itself passes the NIC on the right. */
static void draw_to_cpu(struct picture *p, const struct svg_plan *plan, int gpu, int cpu, int cls)
{
    const struct svg_box *b = &plan->boxes[gpu], *c = &plan->boxes[cpu];
    double x = b->x + b->w - 7, y = plan->y_bar + SVG_BAR + 9;

    line(p, p->x + x, p->y + b->y, p->x + x, p->y + y, cls, 2.5);
    double to = x > c->x && x < c->x + c->w ? x : c->x + c->w - 12;
    line(p, p->x + x, p->y + y, p->x + to, p->y + y, cls, 2.5);
    line(p, p->x + to, p->y + y, p->x + to, p->y + c->y + c->h, cls, 2.5);
}

static void draw_smp(struct picture *p, const struct svg_plan *plan, const struct sy_link *l)
{
    int a = (int)sy_int_or(p->c->vertices[l->from].numa, -1), b = (int)sy_int_or(p->c->vertices[l->to].numa, -1);
    const struct svg_box *ga = group_of(plan, a), *gb = group_of(plan, b);

    /* Of a full mesh the links between neighbours are drawn. */
    if (ga && gb && (a - b == 1 || b - a == 1)) {
        const struct svg_box *left = ga->x < gb->x ? ga : gb, *right = ga->x < gb->x ? gb : ga;
        double y = p->y + plan->y_bar + SVG_BAR / 2.0;
        line(p, p->x + left->x + left->w, y, p->x + right->x, y, SY_LINK_SMP, 4);
    }
}

static bool is_hub(int kind)
{
    return kind == SY_VERTEX_NVSWITCH || kind == SY_VERTEX_MEMORY;
}

/* Links that go down to the row of hubs, or along a row. */
static void draw_across(struct picture *p, const struct svg_plan *plan, const struct sy_link *l, int cls)
{
    int a = l->from, b = l->to, kind_a = p->c->vertices[a].kind, kind_b = p->c->vertices[b].kind;

    if (is_hub(kind_a) && !is_hub(kind_b)) {
        a = l->to;
        b = l->from;
    }
    const struct svg_box *from = &plan->boxes[a], *to = &plan->boxes[b];
    double distance = middle(to) > middle(from) ? middle(to) - middle(from) : middle(from) - middle(to);
    if (is_hub(kind_a) && is_hub(kind_b))
        curve(p, p->x + middle(from), p->x + middle(to), p->y + from->y + from->h, 14, cls);
    else if (is_hub(kind_a) || is_hub(kind_b))
        line(p, p->x + middle(from), p->y + from->y + from->h, p->x + middle(to), p->y + to->y, cls, 1.4);
    else if (kind_a == SY_VERTEX_GPU && kind_b == SY_VERTEX_GPU)
        curve(p, p->x + middle(from), p->x + middle(to), p->y + from->y + from->h,
              24 + distance * 0.12 < 110 ? 24 + distance * 0.12 : 110, cls);
    else
        line(p, p->x + middle(from), p->y + from->y + from->h / 2, p->x + middle(to), p->y + to->y + to->h / 2, cls, 2);
}

static void draw_link(struct picture *p, const struct svg_plan *plan, int l)
{
    const struct sy_link *k = &p->c->links[l];
    int cls = p->c->link_types[k->type].cls, kind_a = p->c->vertices[k->from].kind, kind_b = p->c->vertices[k->to].kind;
    bool drawn_a = plan->boxes[k->from].w > 0, drawn_b = plan->boxes[k->to].w > 0;

    p->used[k->type] |= cls != SY_LINK_LOCAL && (drawn_a || drawn_b);
    if (kind_a == SY_VERTEX_NUMA && kind_b == SY_VERTEX_NUMA) {
        p->used[k->type] |= cls == SY_LINK_SMP;
        draw_smp(p, plan, k);
    } else if (drawn_a && kind_b == SY_VERTEX_CPU && kind_a == SY_VERTEX_GPU) {
        draw_to_cpu(p, plan, k->from, k->to, cls);
    } else if (drawn_b && kind_a == SY_VERTEX_CPU && kind_b == SY_VERTEX_GPU) {
        draw_to_cpu(p, plan, k->to, k->from, cls);
    } else if (drawn_a && (kind_b == SY_VERTEX_NUMA || (drawn_b && kind_b == SY_VERTEX_PCIE)) && !is_hub(kind_a)) {
        if (kind_a != SY_VERTEX_CPU)
            draw_up(p, plan, k->from, cls);
    } else if (drawn_b && (kind_a == SY_VERTEX_NUMA || (drawn_a && kind_a == SY_VERTEX_PCIE)) && !is_hub(kind_b)) {
        if (kind_b != SY_VERTEX_CPU)
            draw_up(p, plan, k->to, cls);
    } else if (drawn_a && drawn_b) {
        draw_across(p, plan, k, cls);
    }
}

static const char *value(const struct sy_cluster *c, struct sy_text t)
{
    return SY_KNOWN(t) ? sy_cluster_text(c, t.value) : "";
}

static void draw_gpu(struct picture *p, int v, const struct svg_box *b)
{
    const struct sy_vertex *x = &p->c->vertices[v];
    const struct sy_device_type *t = x->type >= 0 ? &p->c->device_types[x->type] : NULL;
    char rate[32], memory[32];
    struct sy_real bw, port = sy_show_port(p->c, v);
    double left = p->x + b->x + 8, top = p->y + b->y, w = b->w - 12;
    int n = sy_show_links(p->c, v, SY_LINK_NVLINK, &bw), n_c2c;

    rect(p, p->x + b->x, top, b->w, b->h, "#eaf4d9", "#5c9900", 4);
    text(p, left, top + 15, w, " font-weight=\"bold\"", "%s %s", sy_cluster_text(p->c, x->id),
         t ? sy_cluster_text(p->c, t->name) : "");
    sy_show_memory(t ? t->mem : (struct sy_real){0}, memory, sizeof memory);
    if (t && SY_KNOWN(t->sm))
        text(p, left, top + 29, w, "", "%s, sm %d", memory, (int)t->sm.value);
    else
        text(p, left, top + 29, w, "", "%s", memory);
    if (n)
        text(p, left, top + 43, w, "", SY_KNOWN(bw) ? "%s %d, %s" : "%s %d", sy_show_family(p->c, v, SY_LINK_NVLINK), n,
             sy_show_rate(bw, SY_LINK_NVLINK, rate, sizeof rate));
    n_c2c = sy_show_links(p->c, v, SY_LINK_C2C, &bw);
    if (n_c2c)
        text(p, left, top + 57, w, "", "C2C %s", sy_show_rate(bw, SY_LINK_C2C, rate, sizeof rate));
    else if (SY_KNOWN(port))
        text(p, left, top + 57, w, "", "PCIe %s", sy_show_rate(port, SY_LINK_PCIE, rate, sizeof rate));
    text(p, left, top + 71, w, "", "%s", value(p->c, x->pci));
}

static void draw_nic(struct picture *p, int v, const struct svg_box *b)
{
    const struct sy_vertex *x = &p->c->vertices[v];
    char rate[32];
    struct sy_real port = sy_show_port(p->c, v);
    double left = p->x + b->x + 7, top = p->y + b->y, w = b->w - 10;

    rect(p, p->x + b->x, top, b->w, b->h, "#f9e4e1", "#b03030", 4);
    if (SY_KNOWN(x->rail) && !SY_KNOWN(x->device))
        text(p, left, top + 14, w, " font-weight=\"bold\"", "%s rail %d", sy_cluster_text(p->c, x->id),
             (int)x->rail.value);
    else
        text(p, left, top + 14, w, " font-weight=\"bold\"", "%s %s", sy_cluster_text(p->c, x->id),
             value(p->c, x->device));
    if (x->port >= 0) {
        const struct sy_link_type *t = &p->c->link_types[x->port];
        sy_show_rate(t->bw, t->cls, rate, sizeof rate);
        if (SY_KNOWN(x->rail) && SY_KNOWN(x->device))
            text(p, left, top + 28, w, "", SY_KNOWN(t->bw) ? "rail %d, %s" : "rail %d", (int)x->rail.value, rate);
        else
            text(p, left, top + 28, w, "", "%s %s",
                 t->cls == SY_LINK_ETHERNET ? "eth" : sy_link_class_name((enum sy_link_class)t->cls), rate);
    }
    if (SY_KNOWN(port))
        text(p, left, top + 42, w, "", "PCIe %s", sy_show_rate(port, SY_LINK_PCIE, rate, sizeof rate));
}

static void draw_cpu(struct picture *p, int v, const struct svg_box *b)
{
    const struct sy_vertex *x = &p->c->vertices[v];
    const struct sy_device_type *t = x->type >= 0 ? &p->c->device_types[x->type] : NULL;
    char memory[32];
    double left = p->x + b->x + 8, top = p->y + b->y, w = b->w - 12;

    rect(p, p->x + b->x, top, b->w, b->h, "#fdf3d8", "#b08a1e", 4);
    text(p, left, top + 15, w, " font-weight=\"bold\"", "%s %s", sy_cluster_text(p->c, x->id),
         t ? sy_cluster_text(p->c, t->name) : "");
    sy_show_memory(t ? t->mem : (struct sy_real){0}, memory, sizeof memory);
    if (t && SY_KNOWN(t->cores))
        text(p, left, top + 29, w, "", "%d cores, %s", (int)t->cores.value, memory);
    else
        text(p, left, top + 29, w, "", "%s", memory);
    if (SY_KNOWN(x->cpus))
        text(p, left, top + 43, w, "", "CPUs %s", value(p->c, x->cpus));
}

static void draw_switch(struct picture *p, int v, const struct svg_box *b, const char *fill, const char *stroke)
{
    const struct sy_vertex *x = &p->c->vertices[v];
    char rate[32];
    struct sy_real port = sy_show_port(p->c, v);
    double left = p->x + b->x + 8, top = p->y + b->y, w = b->w - 12;

    rect(p, p->x + b->x, top, b->w, b->h, fill, stroke, 4);
    text(p, left, top + 15, w, " font-weight=\"bold\"", "%s", sy_cluster_text(p->c, x->id));
    if (SY_KNOWN(port))
        text(p, left, top + 29, w, "", "PCIe %s", sy_show_rate(port, SY_LINK_PCIE, rate, sizeof rate));
    else
        text(p, left, top + 29, w, "", "%s",
             SY_KNOWN(x->pci)            ? value(p->c, x->pci)
             : x->kind == SY_VERTEX_PCIE ? "PCIe switch"
                                         : "");
}

static void draw_box(struct picture *p, const struct svg_plan *plan, int v)
{
    const struct svg_box *b = &plan->boxes[v];

    switch (b->w > 0 ? (int)p->c->vertices[v].kind : -1) {
    case SY_VERTEX_GPU:
        draw_gpu(p, v, b);
        break;
    case SY_VERTEX_NIC:
        draw_nic(p, v, b);
        break;
    case SY_VERTEX_CPU:
        draw_cpu(p, v, b);
        break;
    case SY_VERTEX_PCIE:
        draw_switch(p, v, b, "#e1ebf6", "#3b6ea8");
        break;
    case SY_VERTEX_NVSWITCH:
        draw_switch(p, v, b, "#d5ebb0", "#5c9900");
        break;
    case SY_VERTEX_MEMORY:
        draw_switch(p, v, b, "#ececec", "#777777");
        break;
    default:
        break;
    }
}

/* Ports of a node in a network; 0: none. */
static int ports_of(const struct sy_cluster *c, int node, int fabric)
{
    int n = 0;

    for (int i = 0; i < c->fabrics[fabric].n_members; i++)
        n += c->vertices[c->members[c->fabrics[fabric].first_member + i]].node == node;
    return n;
}

static double trunk_x(int fabric)
{
    return LEFT + fabric * TRUNK_GAP;
}

/* The node's ports at its foot, and from there a line to the network's trunk on the left. */
static double draw_pills(struct picture *p, const struct svg_plan *plan, double *trunk_top)
{
    double x = p->x + SVG_PAD, y = p->y + plan->y_pill;
    int n_drawn = 0;

    for (int f = 0; f < p->c->n_fabrics; f++) {
        int n = ports_of(p->c, plan->node, f), type = p->c->fabrics[f].port,
            cls = type >= 0 ? p->c->link_types[type].cls : SY_LINK_LOCAL;
        char rate[32];
        if (!n)
            continue;
        double w = 200, low = y + SVG_PILL + 8 + 6 * f;
        sy_buf_printf(p->out, "<path d=\"M%.1f %.1fV%.1fH%.1f\" stroke=\"%s\" stroke-width=\"2\"/>\n", x + w / 2,
                      y + SVG_PILL, low, trunk_x(f), colours[cls]);
        rect(p, x, y, w, SVG_PILL, "#ffffff", colours[cls], 12);
        char lanes[24] = "";
        if (SY_KNOWN(p->c->fabrics[f].count))
            snprintf(lanes, sizeof lanes, "%d x ", (int)p->c->fabrics[f].count.value);
        text(p, x + 12, y + 16, w - 20, "", "%s: %d x %s%s", sy_cluster_text(p->c, p->c->fabrics[f].name), n, lanes,
             sy_show_rate(type >= 0 ? p->c->link_types[type].bw : (struct sy_real){0}, cls, rate, sizeof rate));
        if (trunk_top[f] <= 0)
            trunk_top[f] = low;
        x += w + SVG_GAP;
        n_drawn++;
    }
    return n_drawn ? SVG_PILL + 14 + 6 * p->c->n_fabrics : 0;
}

static double pills_height(const struct sy_cluster *c, int node)
{
    for (int f = 0; f < c->n_fabrics; f++)
        if (ports_of(c, node, f))
            return SVG_PILL + 14 + 6 * c->n_fabrics;
    return 0;
}

static void draw_node(struct picture *p, const struct svg_plan *plan, const char *names, int n, double *trunk_top)
{
    rect(p, p->x, p->y, plan->w, plan->h + pills_height(p->c, plan->node), "#fbfbfb", "#444444", 8);
    if (n == 1)
        text(p, p->x + SVG_PAD, p->y + 22, 0, " font-size=\"15\" font-weight=\"bold\"", "%s", names);
    else
        text(p, p->x + SVG_PAD, p->y + 22, 0, " font-size=\"15\" font-weight=\"bold\"", "%s: %d nodes", names, n);
    for (int i = 0; i < plan->n_groups; i++) {
        const struct svg_group *g = &plan->groups[i];
        rect(p, p->x + g->box.x, p->y + g->box.y, g->box.w, g->box.h, "#f3f3f0", "#c8c8c0", 6);
        if (g->numa >= 0)
            text(p, p->x + g->box.x + SVG_PAD, p->y + g->box.y + 17, 0, " fill=\"#555555\"", "numa%d", g->numa);
        else
            text(p, p->x + g->box.x + SVG_PAD, p->y + g->box.y + 17, 0, " fill=\"#555555\"", "NUMA node unknown");
        if (g->numa >= 0)
            rect(p, p->x + g->box.x, p->y + plan->y_bar, g->box.w, SVG_BAR, "#c8c8c0", "none", 0);
    }
    for (int l = 0; l < p->c->n_links; l++) {
        int a = p->c->vertices[p->c->links[l].from].node, b = p->c->vertices[p->c->links[l].to].node;
        if (a == plan->node || b == plan->node)
            draw_link(p, plan, l);
    }
    for (int v = 0; v < p->c->n_vertices; v++)
        draw_box(p, plan, v);
    draw_pills(p, plan, trunk_top);
}

static double draw_fabrics(struct picture *p, double x, double y, const double *trunk_top)
{
    for (int f = 0; f < p->c->n_fabrics; f++) {
        const struct sy_fabric *k = &p->c->fabrics[f];
        int cls = k->port >= 0 ? p->c->link_types[k->port].cls : SY_LINK_LOCAL;
        char rate[32], more[200] = "";
        if (SY_KNOWN(k->rails))
            snprintf(more, sizeof more, ", %d rails", (int)k->rails.value);
        if (SY_KNOWN(k->count))
            snprintf(more, sizeof more, ", %d links each", (int)k->count.value);
        if (SY_KNOWN(k->oversubscription))
            snprintf(more + strlen(more), sizeof more - strlen(more), ", oversubscription %.3g",
                     k->oversubscription.value);
        if (k->from.origin == SY_ORIGIN_DEFAULT)
            snprintf(more + strlen(more), sizeof more - strlen(more), ", assumed");
        if (trunk_top[f] > 0)
            sy_buf_printf(p->out, "<path d=\"M%.1f %.1fV%.1fH%.1f\" stroke=\"%s\" stroke-width=\"2\"/>\n", trunk_x(f),
                          trunk_top[f], y + 15, x, colours[cls]);
        rect(p, x, y, 520, 30, "#ffffff", colours[cls], 4);
        text(p, x + 12, y + 20, 500, " font-size=\"12\"", "%s: %s, %d ports of %s%s", sy_cluster_text(p->c, k->name),
             sy_fabric_kind_name((enum sy_fabric_kind)k->kind), k->n_members,
             sy_show_rate(k->port >= 0 ? p->c->link_types[k->port].bw : (struct sy_real){0}, cls, rate, sizeof rate),
             more);
        if (k->port >= 0)
            p->used[k->port] = true;
        y += 42;
    }
    return y;
}

static double draw_legend(struct picture *p, double x, double y)
{
    for (int t = 0; t < p->c->n_link_types; t++) {
        const struct sy_link_type *k = &p->c->link_types[t];
        char rate[32], more[64] = "";
        if (!p->used[t])
            continue;
        if (SY_KNOWN(k->efficiency))
            snprintf(more, sizeof more, ", efficiency %.3g", k->efficiency.value);
        line(p, x, y - 4, x + 36, y - 4, k->cls, 3);
        text(p, x + 46, y, 0, " font-size=\"12\"", "%s: %s, %s a lane and direction%s", sy_cluster_text(p->c, k->name),
             sy_link_class_name((enum sy_link_class)k->cls), sy_show_rate(k->bw, k->cls, rate, sizeof rate), more);
        y += 20;
    }
    return y;
}

/* Draw everything into p->out; *height: of the picture. */
static bool draw(struct picture *p, const int *of, int n_kinds, double *trunk_top, double *height)
{
    double left = LEFT + p->c->n_fabrics * TRUNK_GAP + 10;

    p->x = left;
    p->y = 56;
    for (int k = 0; k < n_kinds && k < KINDS_MAX; k++) {
        struct svg_plan plan;
        char names[160];
        int n = 0, first = -1;
        for (int i = 0; i < p->c->n_nodes; i++)
            if (of[i] == k) {
                first = first < 0 ? i : first;
                n++;
            }
        if (!sy_svg_plan(p->c, first, &plan))
            return false;
        sy_show_names(p->c, of, k, names, sizeof names);
        draw_node(p, &plan, names, n, trunk_top);
        p->y += plan.h + pills_height(p->c, first) + 24;
        p->width = left + plan.w + LEFT > p->width ? left + plan.w + LEFT : p->width;
        sy_svg_unplan(&plan);
    }
    if (n_kinds > KINDS_MAX) {
        text(p, left, p->y + 6, 0, " font-size=\"13\"", "and %d more kinds of nodes", n_kinds - KINDS_MAX);
        p->y += 30;
    }
    p->y = draw_fabrics(p, left, p->y, trunk_top);
    *height = draw_legend(p, left, p->y + 18) + 10;
    return true;
}

enum sy_status sy_svg_write(const struct sy_cluster *c, struct sy_buf *out, struct sy_error *err)
{
    struct sy_buf body = SY_BUF_INIT;
    struct picture p = {.c = c, .out = &body, .width = 640};
    int *of = calloc((size_t)c->n_nodes + 1, sizeof *of), n_gpus = 0;
    double *trunk_top = calloc((size_t)c->n_fabrics + 1, sizeof *trunk_top), height = 0;

    p.used = calloc((size_t)c->n_link_types + 1, sizeof *p.used);
    int n_kinds = of && trunk_top && p.used ? sy_show_kinds(c, of) : -1;
    for (int v = 0; v < c->n_vertices; v++)
        n_gpus += c->vertices[v].kind == SY_VERTEX_GPU;
    text(&p, LEFT, 34, 0, " font-size=\"19\" font-weight=\"bold\"", "%s%s%d node%s, %d GPU%s, %d rank%s",
         sy_cluster_text(c, c->name), c->name ? ": " : "", c->n_nodes, c->n_nodes == 1 ? "" : "s", n_gpus,
         n_gpus == 1 ? "" : "s", c->n_ranks, c->n_ranks == 1 ? "" : "s");
    bool good = n_kinds >= 0 && draw(&p, of, n_kinds, trunk_top, &height);
    if (good)
        good = sy_buf_printf(
                   out,
                   "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
                   "font-family=\"DejaVu Sans, Verdana, sans-serif\" font-size=\"11\">\n"
                   "<style>path { fill: none }</style>\n"
                   "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
                   p.width, height, p.width, height) &&
               sy_buf_append(out, body.data, body.len) && sy_buf_printf(out, "</svg>\n");
    sy_buf_fini(&body);
    free(of);
    free(trunk_top);
    free(p.used);
    return good ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for a picture");
}
