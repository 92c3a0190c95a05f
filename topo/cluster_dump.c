/* SPDX-License-Identifier: Apache-2.0
 * cluster_dump.c - a cluster as a cluster file
 */
#include "cluster_dump.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantity.h"
#include "range.h"

void sy_dump_line(struct sy_dump *d, int indent, struct sy_source from, const char *fmt, ...)
{
    char text[4096], where[600];
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n >= (int)sizeof text)
        d->held = false;
    bool comment = d->sources && from.origin != SY_ORIGIN_NONE;
    d->held = d->held && sy_buf_printf(d->out, "%*s%s%s%s\n", indent, "", text, comment ? "  # " : "",
                                       comment ? sy_source_show(d->cluster, from, where, sizeof where) : "");
}

static bool is_plain(const char *text)
{
    size_t n = strlen(text);
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";

    return n && strspn(text, letters) &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-") == n;
}

const char *sy_dump_quote(const char *text)
{
    static _Thread_local char texts[8][1200];
    static _Thread_local int turn;
    char *out = texts[turn = (turn + 1) % 8];
    size_t at = 0;

    if (is_plain(text) && strlen(text) < sizeof texts[0])
        return text;
    out[at++] = '"';
    for (const char *c = text; *c && at < sizeof texts[0] - 4; c++) {
        if (*c == '"' || *c == '\\')
            out[at++] = '\\';
        /* What the reader refuses is not written. */
        out[at++] = (unsigned char)*c < ' ' || *c == 0x7f ? '?' : *c;
    }
    out[at++] = '"';
    out[at] = '\0';
    return out;
}

void sy_dump_int(struct sy_dump *d, int indent, const char *key, struct sy_int value)
{
    if (SY_KNOWN(value))
        sy_dump_line(d, indent, value.from, "%s: %lld", key, (long long)value.value);
}

void sy_dump_text(struct sy_dump *d, int indent, const char *key, struct sy_text value)
{
    if (SY_KNOWN(value))
        sy_dump_line(d, indent, value.from, "%s: %s", key, sy_dump_quote(sy_cluster_text(d->cluster, value.value)));
}

static void dump_quantity(struct sy_dump *d, int indent, const char *key, struct sy_real value, enum sy_measure measure)
{
    char text[64];

    if (SY_KNOWN(value))
        sy_dump_line(d, indent, value.from, "%s: %s", key, sy_quantity_show(value.value, measure, text, sizeof text));
}

static void dump_number(struct sy_dump *d, int indent, const char *key, struct sy_real value)
{
    char text[64];

    if (SY_KNOWN(value))
        sy_dump_line(d, indent, value.from, "%s: %s", key, sy_number_show(value.value, text, sizeof text));
}

/* A list of texts that grows. */
struct list {
    char **items;
    int n;
};

static bool keep(void *arg, const char *text)
{
    struct list *list = arg;

    if (list->n % 64 == 0) {
        char **more = realloc(list->items, ((size_t)list->n + 64) * sizeof *more);
        if (!more)
            return false;
        list->items = more;
    }
    list->items[list->n] = strdup(text);
    return list->items[list->n++] != NULL;
}

static void free_list(struct list *list)
{
    for (int i = 0; i < list->n; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct list){0};
}

void sy_dump_names(struct sy_dump *d, int indent, const char *key, const char *const *names, int n,
                   struct sy_source from)
{
    struct list once = {0}, twice = {0};

    /* First the ids of each node, then nodes that have the same. */
    d->held = d->held && sy_range_fold(names, n, keep, &once) &&
              sy_range_fold((const char *const *)once.items, once.n, keep, &twice);
    if (d->held && twice.n == 1)
        sy_dump_line(d, indent, from, "%s: %s", key, sy_dump_quote(twice.items[0]));
    if (d->held && twice.n > 1) {
        sy_dump_line(d, indent, from, "%s:", key);
        for (int i = 0; i < twice.n; i++)
            sy_dump_line(d, indent + 2, (struct sy_source){0}, "- %s", sy_dump_quote(twice.items[i]));
    }
    free_list(&once);
    free_list(&twice);
}

/* A name that no other of names[n] has, made from what the type is called. */
static uint32_t new_name(struct sy_dump *d, const uint32_t *names, int n, const char *called, const char *otherwise)
{
    char name[96], numbered[112];
    size_t at = 0;

    for (const char *c = *called ? called : otherwise; *c && at < sizeof name - 1; c++)
        name[at++] = (unsigned char)*c <= ' ' || *c == 0x7f || strchr(",[]*?\"'", *c) ? '-' : *c;
    name[at] = '\0';
    for (int i = 1;; i++) {
        snprintf(numbered, sizeof numbered, i == 1 ? "%s" : "%s-%d", name, i);
        uint32_t text = sy_cluster_intern(d->spare, numbered);
        bool taken = false;
        for (int k = 0; k < n && !taken; k++)
            taken = names[k] == text;
        if (!taken)
            return text;
    }
}

/* Names for the types that are in use: 1 in used[]. */
static bool name_types(struct sy_dump *d)
{
    const struct sy_cluster *c = d->cluster;
    uint32_t *devices = calloc((size_t)c->n_device_types + 1, sizeof *devices);
    uint32_t *links = calloc((size_t)c->n_link_types + 1, sizeof *links);

    d->device_names.names = devices;
    d->link_names.names = links;
    if (!devices || !links)
        return false;
    for (int v = 0; v < c->n_vertices; v++) {
        if (c->vertices[v].type >= 0)
            devices[c->vertices[v].type] = 1;
        if (c->vertices[v].port >= 0)
            links[c->vertices[v].port] = 1;
    }
    for (int l = 0; l < c->n_links; l++)
        if (!c->links[l].derived)
            links[c->links[l].type] = 1;
    for (int f = 0; f < c->n_fabrics; f++)
        links[c->fabrics[f].port] = 1;
    for (int i = 0; i < c->n_device_types; i++)
        if (devices[i])
            devices[i] = new_name(d, devices, i, sy_cluster_text(c, c->device_types[i].name), "device");
    for (int i = 0; i < c->n_link_types; i++)
        if (links[i])
            links[i] = new_name(d, links, i, sy_cluster_text(c, c->link_types[i].name),
                                sy_link_class_name(c->link_types[i].cls));
    return !d->spare->out_of_memory;
}

static void dump_link_types(struct sy_dump *d)
{
    const struct sy_cluster *c = d->cluster;
    bool begun = false;

    for (int i = 0; i < c->n_link_types; i++) {
        const struct sy_link_type *t = &c->link_types[i];
        if (!d->link_names.names[i])
            continue;
        if (!begun)
            sy_dump_line(d, 0, (struct sy_source){0}, "link_types:");
        begun = true;
        sy_dump_line(d, 2, t->from, "%s:", sy_dump_quote(sy_cluster_text(d->spare, d->link_names.names[i])));
        sy_dump_line(d, 4, (struct sy_source){0}, "class: %s", sy_link_class_name(t->cls));
        dump_quantity(d, 4, "bw", t->bw, SY_BYTES_PER_S);
        dump_number(d, 4, "efficiency", t->efficiency);
        dump_quantity(d, 4, "latency", t->latency, SY_SECONDS);
        dump_quantity(d, 4, "per_message", t->per_message, SY_SECONDS);
    }
}

static void dump_device_types(struct sy_dump *d)
{
    const struct sy_cluster *c = d->cluster;
    bool begun = false;

    for (int i = 0; i < c->n_device_types; i++) {
        const struct sy_device_type *t = &c->device_types[i];
        bool compute = false;
        int kind = SY_VERTEX_GPU;
        if (!d->device_names.names[i])
            continue;
        for (int v = 0; v < c->n_vertices; v++)
            if (c->vertices[v].type == i)
                kind = c->vertices[v].kind;
        if (!begun)
            sy_dump_line(d, 0, (struct sy_source){0}, "device_types:");
        begun = true;
        sy_dump_line(d, 2, t->from, "%s:", sy_dump_quote(sy_cluster_text(d->spare, d->device_names.names[i])));
        sy_dump_line(d, 4, (struct sy_source){0}, "kind: %s", sy_vertex_kind_name(kind));
        sy_dump_text(d, 4, "model", t->model);
        sy_dump_int(d, 4, "sm", t->sm);
        sy_dump_int(d, 4, "cores", t->cores);
        dump_quantity(d, 4, "l2", t->l2, SY_BYTES);
        dump_quantity(d, 4, "l3", t->l3, SY_BYTES);
        dump_quantity(d, 4, "mem", t->mem, SY_BYTES);
        dump_quantity(d, 4, "mem_bw", t->mem_bw, SY_BYTES_PER_S);
        for (int k = 0; k < SY_N_COMPUTE_TYPES; k++) {
            if (SY_KNOWN(t->compute[k]) && !compute)
                sy_dump_line(d, 4, (struct sy_source){0}, "compute:");
            compute |= SY_KNOWN(t->compute[k]);
            dump_quantity(d, 6, sy_compute_type_name(k), t->compute[k], SY_FLOP_PER_S);
        }
    }
}

/* Vertices as "node.id" ranges. */
static void dump_vertices(struct sy_dump *d, int indent, const char *key, const int *vertices, int n)
{
    struct list names = {0};
    char text[600];

    for (int i = 0; i < n && d->held; i++)
        d->held = keep(&names, sy_cluster_show(d->cluster, vertices[i], text, sizeof text));
    if (d->held)
        sy_dump_names(d, indent, key, (const char *const *)names.items, names.n, (struct sy_source){0});
    free_list(&names);
}

static void dump_fabrics(struct sy_dump *d)
{
    const struct sy_cluster *c = d->cluster;

    for (int i = 0; i < c->n_fabrics; i++) {
        const struct sy_fabric *f = &c->fabrics[i];
        if (!i)
            sy_dump_line(d, 0, (struct sy_source){0}, "fabrics:");
        sy_dump_line(d, 2, f->from, "- name: %s", sy_dump_quote(sy_cluster_text(c, f->name)));
        sy_dump_line(d, 4, (struct sy_source){0}, "kind: %s", sy_fabric_kind_name(f->kind));
        sy_dump_line(d, 4, (struct sy_source){0}, "port: %s",
                     sy_dump_quote(sy_cluster_text(d->spare, d->link_names.names[f->port])));
        dump_vertices(d, 4, "members", c->members + f->first_member, f->n_members);
        sy_dump_int(d, 4, "rails", f->rails);
        sy_dump_int(d, 4, "count", f->count);
        sy_dump_int(d, 4, "planes", f->planes);
        sy_dump_text(d, 4, "domain", f->domain);
        sy_dump_int(d, 4, "clique", f->clique);
        sy_dump_int(d, 4, "leaf_ports", f->leaf_ports);
        bool known = SY_KNOWN(f->oversubscription) || SY_KNOWN(f->latency);
        if (f->kind == SY_FABRIC_RAIL && f->spine)
            sy_dump_line(d, 4, (struct sy_source){0}, known ? "spine:" : "spine: {}");
        int indent = f->kind == SY_FABRIC_RAIL ? 6 : 4;
        if (f->kind == SY_FABRIC_FAT_TREE || (f->kind == SY_FABRIC_RAIL && f->spine)) {
            dump_number(d, indent, "oversubscription", f->oversubscription);
            dump_quantity(d, indent, "latency", f->latency, SY_SECONDS);
        }
    }
}

static void dump_rules(struct sy_dump *d)
{
    static const char *const discover[] = {"fill", "verify", "off"};
    const struct sy_cluster *c = d->cluster;
    const struct sy_policy *p = &c->policy;

    if (SY_KNOWN(p->order) || c->n_map) {
        sy_dump_line(d, 0, (struct sy_source){0}, "ranks:");
        if (SY_KNOWN(p->order))
            sy_dump_line(d, 2, p->order.from, "order: %s",
                         p->order.value == SY_RANKS_ROUND_ROBIN ? "round_robin" : "node");
        if (c->n_map)
            dump_vertices(d, 2, "map", c->map, c->n_map);
    }
    if (SY_KNOWN(p->discover) || SY_KNOWN(p->via_nvlink)) {
        sy_dump_line(d, 0, (struct sy_source){0}, "policy:");
        if (SY_KNOWN(p->discover))
            sy_dump_line(d, 2, p->discover.from, "discover: %s", discover[p->discover.value]);
        if (SY_KNOWN(p->via_nvlink))
            sy_dump_line(d, 2, p->via_nvlink.from, "cross_rail: %s", p->via_nvlink.value ? "via_nvlink" : "direct");
    }
}

enum sy_status sy_cluster_dump(const struct sy_cluster *c, bool sources, struct sy_buf *out, struct sy_error *err)
{
    struct sy_dump d = {.cluster = c, .out = out, .sources = sources, .spare = sy_cluster_create()};

    d.held = d.spare && name_types(&d) && sy_dump_find_nodes(&d);
    if (d.held) {
        sy_dump_line(&d, 0, (struct sy_source){0}, "switchyard_cluster: %d", SY_CLUSTER_VERSION);
        if (c->name)
            sy_dump_line(&d, 0, (struct sy_source){0}, "name: %s", sy_dump_quote(sy_cluster_text(c, c->name)));
        dump_link_types(&d);
        dump_device_types(&d);
        sy_dump_nodes(&d);
        dump_fabrics(&d);
        dump_rules(&d);
    }
    bool held = d.held;
    sy_cluster_destroy(d.spare);
    free(d.device_names.names);
    free(d.link_names.names);
    free(d.first_vertex);
    free(d.vertices);
    free(d.first_link);
    free(d.links);
    free(d.place);
    free(d.group);
    free(d.node_names);
    if (!held)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory to write a cluster of %d nodes", c->n_nodes);
    return SY_OK;
}
