/* SPDX-License-Identifier: Apache-2.0
 * show.c - a cluster as a tree of text
 */
#include "show.h"

#include <stdlib.h>
#include <string.h>

const char *sy_show_rate(struct sy_real bw, int cls, char *out, size_t out_bytes)
{
    if (!SY_KNOWN(bw))
        snprintf(out, out_bytes, "unknown rate");
    else if (cls == SY_LINK_IB || cls == SY_LINK_ETHERNET)
        snprintf(out, out_bytes, "%.4g Gb/s", bw.value * 8e-9);
    else
        snprintf(out, out_bytes, "%.4g GB/s", bw.value * 1e-9);
    return out;
}

const char *sy_show_memory(struct sy_real bytes, char *out, size_t out_bytes)
{
    double gib = bytes.value / 1073741824;

    if (!SY_KNOWN(bytes))
        snprintf(out, out_bytes, "memory unknown");
    else if (gib >= 1 && gib == (double)(int64_t)gib)
        snprintf(out, out_bytes, "%.0f GiB", gib);
    else
        snprintf(out, out_bytes, "%.4g GB", bytes.value * 1e-9);
    return out;
}

static int far_end(const struct sy_link *l, int v)
{
    return l->from == v ? l->to : l->from;
}

int sy_show_switch_above(const struct sy_cluster *c, int v)
{
    for (int e = c->first_edge[v]; e < c->first_edge[v + 1]; e++) {
        const struct sy_link *l = &c->links[c->edges[e]];
        int other = far_end(l, v);
        /* Of two switches the one that the link leads to is the upper one. */
        if (c->link_types[l->type].cls == SY_LINK_PCIE && c->vertices[other].kind == SY_VERTEX_PCIE &&
            (c->vertices[v].kind != SY_VERTEX_PCIE || l->from == v))
            return other;
    }
    return -1;
}

struct sy_real sy_show_port(const struct sy_cluster *c, int v)
{
    for (int e = c->first_edge[v]; e < c->first_edge[v + 1]; e++) {
        const struct sy_link *l = &c->links[c->edges[e]];
        int kind = c->vertices[far_end(l, v)].kind;
        if (c->link_types[l->type].cls == SY_LINK_PCIE && (kind == SY_VERTEX_PCIE || kind == SY_VERTEX_NUMA) &&
            (l->from == v || c->vertices[v].kind != SY_VERTEX_PCIE))
            return sy_link_capacity(c, c->edges[e]);
    }
    return (struct sy_real){0};
}

static const char *text(const struct sy_cluster *c, struct sy_text t)
{
    return SY_KNOWN(t) ? sy_cluster_text(c, t.value) : "";
}

int sy_show_links(const struct sy_cluster *c, int v, int cls, struct sy_real *bw)
{
    bool known = true;
    int n = 0;

    *bw = (struct sy_real){0};
    for (int e = c->first_edge[v]; e < c->first_edge[v + 1]; e++) {
        const struct sy_link *l = &c->links[c->edges[e]];
        if (c->link_types[l->type].cls != cls)
            continue;
        struct sy_real one = sy_link_capacity(c, c->edges[e]);
        known = known && SY_KNOWN(one);
        bw->value += one.value;
        bw->from = one.from;
        n += (int)sy_int_or(l->count, 1);
    }
    if (!known)
        *bw = (struct sy_real){0};
    return n;
}

const char *sy_show_family(const struct sy_cluster *c, int v, int cls)
{
    for (int e = c->first_edge[v]; e < c->first_edge[v + 1]; e++) {
        const struct sy_link_type *t = &c->link_types[c->links[c->edges[e]].type];
        if (t->cls == cls && !strncmp(sy_cluster_text(c, t->name), "xgmi", 4))
            return "xGMI";
    }
    return cls == SY_LINK_NVLINK ? "NVLink" : cls == SY_LINK_C2C ? "C2C" : sy_link_class_name((enum sy_link_class)cls);
}

/* Links of one class: how many, how fast together, and the names of their far ends. */
static void put_links(const struct sy_cluster *c, int v, int cls, struct sy_buf *out)
{
    char ends[160] = "", rate[32];
    size_t len = 0;
    struct sy_real sum;
    int n = sy_show_links(c, v, cls, &sum);

    for (int e = c->first_edge[v]; e < c->first_edge[v + 1]; e++) {
        const struct sy_link *l = &c->links[c->edges[e]];
        const char *id = sy_cluster_text(c, c->vertices[far_end(l, v)].id);
        if (c->link_types[l->type].cls != cls)
            continue;
        if (len + strlen(id) + 8 < sizeof ends)
            len += (size_t)snprintf(ends + len, sizeof ends - len, " %s", id);
        else if (len + 5 < sizeof ends && ends[len - 1] != '.')
            len += (size_t)snprintf(ends + len, sizeof ends - len, " ...");
    }
    const char *family = sy_show_family(c, v, cls);
    if (n)
        sy_buf_printf(out, ", %d %s%s%s %s to%s", n, family, strcmp(family, "NVLink") ? " link" : "", n == 1 ? "" : "s",
                      sy_show_rate(sum, cls, rate, sizeof rate), ends);
}

static void put_device(const struct sy_cluster *c, int v, struct sy_buf *out)
{
    const struct sy_vertex *x = &c->vertices[v];
    const struct sy_device_type *t = x->type >= 0 ? &c->device_types[x->type] : NULL;
    char memory[32];

    if (t && SY_KNOWN(t->model))
        sy_buf_printf(out, " %s", text(c, t->model));
    else if (t && strcmp(sy_cluster_text(c, t->name), sy_vertex_kind_name((enum sy_vertex_kind)x->kind)) != 0)
        sy_buf_printf(out, " %s", sy_cluster_text(c, t->name));
    if (t && SY_KNOWN(t->sm))
        sy_buf_printf(out, ", sm %d", (int)t->sm.value);
    if (t && SY_KNOWN(t->cores))
        sy_buf_printf(out, ", %d core%s", (int)t->cores.value, t->cores.value == 1 ? "" : "s");
    if (SY_KNOWN(x->cpus))
        sy_buf_printf(out, ", CPUs %s", text(c, x->cpus));
    if (t && SY_KNOWN(t->l2))
        sy_buf_printf(out, ", L2 %.4g MiB", t->l2.value / 1048576);
    if (t && SY_KNOWN(t->l3))
        sy_buf_printf(out, ", L3 %.4g MiB", t->l3.value / 1048576);
    if (t && SY_KNOWN(t->mem))
        sy_buf_printf(out, ", %s", sy_show_memory(t->mem, memory, sizeof memory));
}

static void put_vertex(const struct sy_cluster *c, int v, int depth, struct sy_buf *out)
{
    const struct sy_vertex *x = &c->vertices[v];
    char rate[32];

    sy_buf_printf(out, "%*s%s", 2 * depth, "", sy_cluster_text(c, x->id));
    if (SY_KNOWN(x->pci))
        sy_buf_printf(out, " at %s", text(c, x->pci));
    if (sy_vertex_is_device(x))
        put_device(c, v, out);
    if (SY_KNOWN(x->device))
        sy_buf_printf(out, " %s", text(c, x->device));
    if (x->kind == SY_VERTEX_NIC && x->port >= 0) {
        const struct sy_link_type *port = &c->link_types[x->port];
        sy_buf_printf(out, ", %s %s", sy_link_class_name((enum sy_link_class)port->cls),
                      sy_show_rate(port->bw, port->cls, rate, sizeof rate));
    }
    if (x->kind == SY_VERTEX_NIC && SY_KNOWN(x->rail))
        sy_buf_printf(out, ", rail %d", (int)x->rail.value);
    struct sy_real bw = sy_show_port(c, v);
    if (SY_KNOWN(bw))
        sy_buf_printf(out, ", PCIe %s", sy_show_rate(bw, SY_LINK_PCIE, rate, sizeof rate));
    if (x->kind == SY_VERTEX_PCIE)
        sy_buf_printf(out, " (PCIe switch)");
    if (sy_vertex_is_device(x))
        put_links(c, v, SY_LINK_SHM, out);
    if (x->kind == SY_VERTEX_GPU) {
        put_links(c, v, SY_LINK_NVLINK, out);
        put_links(c, v, SY_LINK_C2C, out);
    }
    if (SY_KNOWN(x->clique))
        sy_buf_printf(out, ", clique %d of %.8s", (int)x->clique.value, text(c, x->domain));
    sy_buf_printf(out, "\n");
}

/* Where a node's vertices are: others may be among them. */
struct span {
    int node, first, end;
};

static struct span span_of(const struct sy_cluster *c, int node)
{
    struct span span = {node, c->n_vertices, 0};

    for (int v = 0; v < c->n_vertices; v++)
        if (c->vertices[v].node == node) {
            span.first = v < span.first ? v : span.first;
            span.end = v + 1;
        }
    return span;
}

/* Everything of a node that hangs at a PCIe switch, or at a NUMA node itself; switches first. */
static void put_below(const struct sy_cluster *c, const struct span *node, int above, int numa, int depth,
                      struct sy_buf *out)
{
    static const int order[] = {SY_VERTEX_CPU, SY_VERTEX_PCIE, SY_VERTEX_GPU, SY_VERTEX_NIC};

    for (int k = 0; k < 4 && depth < 20; k++)
        for (int v = node->first; v < node->end; v++) {
            const struct sy_vertex *x = &c->vertices[v];
            if (x->node != node->node || x->kind != order[k] || sy_show_switch_above(c, v) != above)
                continue;
            if (above < 0 && sy_int_or(x->numa, -1) != numa)
                continue;
            put_vertex(c, v, depth, out);
            if (x->kind == SY_VERTEX_PCIE && v != above)
                put_below(c, node, v, numa, depth + 1, out);
        }
}

bool sy_show_node(const struct sy_cluster *c, int node, struct sy_buf *out)
{
    int n_numa = (int)sy_int_or(c->nodes[node].n_numa, 1);
    struct sy_buf loose = SY_BUF_INIT;
    struct span span = span_of(c, node);

    for (int i = 0; i < n_numa; i++) {
        sy_buf_printf(out, "  numa%d\n", i);
        put_below(c, &span, -1, i, 2, out);
    }
    put_below(c, &span, -1, -1, 2, &loose);
    if (loose.len)
        sy_buf_printf(out, "  NUMA node unknown\n%s", (const char *)loose.data);
    sy_buf_fini(&loose);
    for (int v = span.first; v < span.end; v++)
        if (c->vertices[v].node == node &&
            (c->vertices[v].kind == SY_VERTEX_NVSWITCH || c->vertices[v].kind == SY_VERTEX_MEMORY))
            put_vertex(c, v, 1, out);
    for (int l = 0; l < c->n_links; l++) {
        const struct sy_link *k = &c->links[l];
        char rate[32];
        if (c->link_types[k->type].cls == SY_LINK_SMP && c->vertices[k->from].node == node &&
            SY_KNOWN(c->link_types[k->type].bw))
            sy_buf_printf(out, "  %s to %s: %s\n", sy_cluster_text(c, c->vertices[k->from].id),
                          sy_cluster_text(c, c->vertices[k->to].id),
                          sy_show_rate(sy_link_capacity(c, l), SY_LINK_SMP, rate, sizeof rate));
    }
    return sy_buf_printf(out, "%s", "");
}

/* FNV-1a of a node's text, for quick comparison. */
static uint64_t hash_of(const struct sy_buf *text)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < text->len; i++)
        h = (h ^ text->data[i]) * 0x100000001b3u;
    return h;
}

int sy_show_kinds(const struct sy_cluster *c, int *of)
{
    uint64_t *hashes = calloc((size_t)c->n_nodes + 1, sizeof *hashes);
    struct sy_buf text = SY_BUF_INIT;
    int n = 0;

    for (int i = 0; i < c->n_nodes && hashes; i++) {
        text.len = 0;
        if (!sy_show_node(c, i, &text)) {
            n = -1;
            break;
        }
        uint64_t hash = hash_of(&text);
        int k = 0;
        while (k < n && hashes[k] != hash)
            k++;
        hashes[k] = hash;
        of[i] = k;
        n += k == n;
    }
    sy_buf_fini(&text);
    free(hashes);
    return hashes ? n : -1;
}

void sy_show_names(const struct sy_cluster *c, const int *of, int kind, char *out, size_t out_bytes)
{
    size_t len = 0;
    int last = -1, n = 0, put = 0;

    out[0] = 0;
    for (int i = 0; i < c->n_nodes; i++)
        if (of[i] == kind) {
            last = i;
            n++;
        }
    /* Of many the first three and the last tell enough. */
    for (int i = 0; i < c->n_nodes; i++) {
        if (of[i] != kind || (n > 5 && put >= 3 && i != last))
            continue;
        int more = snprintf(out + len, out_bytes - len, "%s%s%.60s", put ? ", " : "", n > 5 && i == last ? "..., " : "",
                            sy_cluster_text(c, c->nodes[i].name));
        if (more < 0 || (size_t)more >= out_bytes - len) {
            out[len] = 0;
            return;
        }
        len += (size_t)more;
        put++;
    }
}

static void put_fabric(const struct sy_cluster *c, const struct sy_fabric *f, struct sy_buf *out)
{
    char rate[32];

    sy_buf_printf(out, "network %s: %s, %d ports", sy_cluster_text(c, f->name),
                  sy_fabric_kind_name((enum sy_fabric_kind)f->kind), f->n_members);
    if (f->port >= 0)
        sy_buf_printf(out, " of %s",
                      sy_show_rate(c->link_types[f->port].bw, c->link_types[f->port].cls, rate, sizeof rate));
    if (SY_KNOWN(f->count))
        sy_buf_printf(out, " times %d", (int)f->count.value);
    if (SY_KNOWN(f->rails))
        sy_buf_printf(out, ", %d rails", (int)f->rails.value);
    if (SY_KNOWN(f->oversubscription))
        sy_buf_printf(out, ", oversubscription %.3g", f->oversubscription.value);
    if (f->from.origin == SY_ORIGIN_DEFAULT)
        sy_buf_printf(out, " (assumed: nobody tells what is between the nodes)");
    sy_buf_printf(out, "\n");
}

bool sy_show_cluster(const struct sy_cluster *c, struct sy_buf *out)
{
    int *of = calloc((size_t)c->n_nodes + 1, sizeof *of), n_gpus = 0, n_nvlinks = 0;
    int n_kinds = of ? sy_show_kinds(c, of) : -1;
    char names[200];

    for (int v = 0; v < c->n_vertices; v++)
        n_gpus += c->vertices[v].kind == SY_VERTEX_GPU;
    if (c->name)
        sy_buf_printf(out, "cluster %s: ", sy_cluster_text(c, c->name));
    sy_buf_printf(out, "%d node%s, %d GPU%s", c->n_nodes, c->n_nodes == 1 ? "" : "s", n_gpus, n_gpus == 1 ? "" : "s");
    for (int l = 0; l < c->n_links; l++)
        n_nvlinks += c->link_types[c->links[l].type].cls == SY_LINK_NVLINK;
    if (n_gpus && n_nvlinks)
        sy_buf_printf(out, " in %d NVLink domain%s", c->n_domains, c->n_domains == 1 ? "" : "s");
    sy_buf_printf(out, ", %d rank%s\n", c->n_ranks, c->n_ranks == 1 ? "" : "s");
    for (int k = 0; k < n_kinds; k++) {
        int n = 0, first = -1;
        for (int i = 0; i < c->n_nodes; i++)
            if (of[i] == k) {
                first = first < 0 ? i : first;
                n++;
            }
        sy_show_names(c, of, k, names, sizeof names);
        sy_buf_printf(out, n == 1 ? "node %s\n" : "nodes %s (%d, alike)\n", names, n);
        sy_show_node(c, first, out);
    }
    for (int f = 0; f < c->n_fabrics; f++)
        put_fabric(c, &c->fabrics[f], out);
    free(of);
    return n_kinds >= 0 && sy_buf_printf(out, "%s", "");
}
