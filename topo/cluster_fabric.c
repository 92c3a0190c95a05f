/* SPDX-License-Identifier: Apache-2.0
 * cluster_fabric.c - fabrics: networks and NVLink domains over several nodes
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster_private.h"

/* "n4.nic0" to a vertex; -1 after a report that names the nearest node or id. */
static int member(struct sy_reader *r, const struct sy_yaml *at, const char *path)
{
    struct sy_cluster *c = r->cluster;
    int v = sy_cluster_find(c, path), best = -1, least = 0;
    const char *dot = strrchr(path, '.');
    char name[SY_RANGE_BYTES_MAX];

    if (v >= 0 || r->incomplete)
        return v;
    if (!dot) {
        sy_reader_error(r, at, "expected node.id such as n0.nic0, found '%.80s'", path);
        return -1;
    }
    snprintf(name, sizeof name, "%.*s", (int)(dot - path), path);
    int node = sy_cluster_find_node(c, name);
    if (node >= 0) {
        v = sy_reader_vertex(r, at, node, dot + 1);
        if (c->nodes[node].from.line)
            sy_source_note(r, c->nodes[node].from, "node '%s' is defined here", name);
        return v;
    }
    sy_reader_error(r, at, "no node '%s'", name);
    for (int i = 0; i < c->n_nodes; i++) {
        int d = sy_name_distance(name, sy_cluster_text(c, c->nodes[i].name));
        if (best < 0 || d < least) {
            best = i;
            least = d;
        }
    }
    if (best >= 0)
        sy_source_note(r, c->nodes[best].from, "the nearest is '%s', defined here",
                       sy_cluster_text(c, c->nodes[best].name));
    return -1;
}

int sy_reader_members(struct sy_reader *r, const struct sy_yaml *node, int **vertices)
{
    int n = 0, n_parts = node->kind == SY_YAML_LIST ? node->n : 1;
    bool held = true;

    *vertices = NULL;
    for (int i = 0; i < n_parts && held; i++) {
        const struct sy_yaml *part = node->kind == SY_YAML_LIST ? node->items[i] : node;
        struct sy_range range;
        held = sy_reader_range(r, part, &range) && n + (int64_t)range.n <= SY_VERTICES_MAX;
        int *more = held ? realloc(*vertices, ((size_t)n + (size_t)range.n) * sizeof *more) : NULL;
        if (more)
            *vertices = more;
        held = more;
        for (int k = 0; k < range.n && held; k++) {
            (*vertices)[n] = member(r, part, range.names[k]);
            held = (*vertices)[n++] >= 0;
        }
        sy_range_fini(&range);
    }
    return held ? n : -1;
}

enum {
    NAME,
    KIND,
    PORT,
    MEMBERS,
    RAILS,
    SPINE,
    COUNT,
    PLANES,
    DOMAIN,
    CLIQUE,
    LEAF_PORTS,
    OVERSUBSCRIPTION,
    LATENCY,
    N_KEYS
};

static const struct sy_key keys[N_KEYS] = {
    {"name", SY_TAKES_TEXT, true},        {"kind", SY_TAKES_TEXT, true},
    {"port", SY_TAKES_TEXT, true},        {"members", SY_TAKES_TEXT | SY_TAKES_LIST, true},
    {"rails", SY_TAKES_TEXT, false},      {"spine", SY_TAKES_MAP, false},
    {"count", SY_TAKES_TEXT, false},      {"planes", SY_TAKES_TEXT, false},
    {"domain", SY_TAKES_TEXT, false},     {"clique", SY_TAKES_TEXT, false},
    {"leaf_ports", SY_TAKES_TEXT, false}, {"oversubscription", SY_TAKES_TEXT, false},
    {"latency", SY_TAKES_TEXT, false},
};

/* Which keys go with a kind of fabric, besides the first four. */
static bool goes_with(int key, int kind)
{
    switch (key) {
    case RAILS:
    case SPINE:
        return kind == SY_FABRIC_RAIL;
    case COUNT:
    case PLANES:
    case DOMAIN:
    case CLIQUE:
        return kind == SY_FABRIC_NVLINK;
    case LEAF_PORTS:
    case OVERSUBSCRIPTION:
    case LATENCY:
        return kind == SY_FABRIC_FAT_TREE;
    default:
        return true;
    }
}

static bool read_spine(struct sy_reader *r, const struct sy_yaml *spine, struct sy_fabric *f)
{
    static const struct sy_key spine_keys[] = {{"oversubscription", SY_TAKES_TEXT, false},
                                               {"latency", SY_TAKES_TEXT, false}};
    struct sy_yaml *v[2];

    if (!spine)
        return true;
    f->spine = true;
    bool held = sy_reader_map(r, spine, "a spine", spine_keys, 2, v);
    held &= sy_reader_number(r, v[0], 0, 1e6, &f->oversubscription);
    held &= sy_reader_quantity(r, v[1], SY_SECONDS, &f->latency);
    return held;
}

static bool read_port(struct sy_reader *r, const struct sy_yaml *port, struct sy_fabric *f)
{
    int entry = port ? sy_reader_entry(r, &r->link_types, "link type", port, port->text) : -1;

    if (entry < 0)
        return false;
    f->port = r->link_types.items[entry].number;
    if (f->port < 0 || r->link_types.items[entry].broken)
        return false;
    int cls = r->cluster->link_types[f->port].cls;
    bool nvlink = f->kind == SY_FABRIC_NVLINK;
    if (nvlink ? cls == SY_LINK_NVLINK : cls >= SY_LINK_IB)
        return true;
    sy_reader_error(r, port, "the port of a %s is of class %s, and '%s' is of class %s", sy_fabric_kind_name(f->kind),
                    nvlink ? "nvlink" : "ib or ethernet", port->text, sy_link_class_name(cls));
    sy_reader_note(r, r->link_types.items[entry].key, "it is defined here");
    return false;
}

/* All but the members; false after a report. */
static bool read_fabric(struct sy_reader *r, const struct sy_yaml *item, struct sy_yaml **v, struct sy_fabric *f)
{
    const char *kinds[SY_N_FABRIC_KINDS];
    struct sy_text name = {0};

    for (int i = 0; i < SY_N_FABRIC_KINDS; i++)
        kinds[i] = sy_fabric_kind_name(i);
    bool held = sy_reader_map(r, item, "a fabric", keys, N_KEYS, v);
    held &= v[NAME] && sy_reader_check_name(r, v[NAME], v[NAME]->text, false) && sy_reader_text(r, v[NAME], &name);
    held &= v[KIND] && sy_reader_choice(r, v[KIND], "kind of fabric", kinds, SY_N_FABRIC_KINDS, &f->kind);
    if (!held)
        return false;
    f->name = name.value;
    f->from = sy_reader_source(v[NAME]);
    for (int k = 0; k < N_KEYS; k++)
        if (v[k] && !goes_with(k, f->kind)) {
            sy_reader_error(r, v[k], "'%s' does not go with a fabric of kind %s", keys[k].name, kinds[f->kind]);
            held = false;
        }
    held &= read_port(r, v[PORT], f);
    held &= sy_reader_int(r, v[RAILS], 1, SY_FABRIC_SWITCHES_MAX, &f->rails);
    held &= read_spine(r, v[SPINE], f);
    held &= sy_reader_int(r, v[COUNT], 1, SY_FABRIC_SWITCHES_MAX, &f->count);
    held &= sy_reader_int(r, v[PLANES], 1, SY_FABRIC_SWITCHES_MAX, &f->planes);
    held &= sy_reader_text(r, v[DOMAIN], &f->domain);
    /* auto: one clique, whatever number it has. */
    if (v[CLIQUE] && strcmp(v[CLIQUE]->text, "auto") != 0)
        held &= sy_reader_int(r, v[CLIQUE], 0, UINT32_MAX, &f->clique);
    held &= sy_reader_int(r, v[LEAF_PORTS], 1, 1 << 20, &f->leaf_ports);
    if (f->kind == SY_FABRIC_FAT_TREE) {
        held &= sy_reader_number(r, v[OVERSUBSCRIPTION], 0, 1e6, &f->oversubscription);
        held &= sy_reader_quantity(r, v[LATENCY], SY_SECONDS, &f->latency);
    }
    return held;
}

/* Members are of the right kind, and each is in one fabric. */
static bool check_members(struct sy_reader *r, const struct sy_yaml *at, const struct sy_fabric *f, const int *members,
                          int n, int *fabric_of)
{
    struct sy_cluster *c = r->cluster;
    char text[300];

    for (int i = 0; i < n; i++) {
        const struct sy_vertex *v = &c->vertices[members[i]];
        bool right = f->kind == SY_FABRIC_NVLINK ? v->kind == SY_VERTEX_GPU : v->kind == SY_VERTEX_NIC;
        sy_cluster_show(c, members[i], text, sizeof text);
        if (!right) {
            sy_reader_error(r, at, "a member of a %s is a %s, and '%s' is of kind %s", sy_fabric_kind_name(f->kind),
                            f->kind == SY_FABRIC_NVLINK ? "GPU" : "NIC", text, sy_vertex_kind_name(v->kind));
            sy_source_note(r, v->from, "it is defined here");
            return false;
        }
        if (fabric_of[members[i]]) {
            int other = fabric_of[members[i]] - 1;
            sy_reader_error(r, at, "'%s' is in %s", text, other == c->n_fabrics ? "this fabric twice" : "two fabrics");
            if (other != c->n_fabrics)
                sy_source_note(r, c->fabrics[other].from, "it is in '%s' already",
                               sy_cluster_text(c, c->fabrics[other].name));
            return false;
        }
        fabric_of[members[i]] = c->n_fabrics + 1;
    }
    return true;
}

/* Each node has a NIC for each rail. */
static bool check_rails(struct sy_reader *r, const struct sy_yaml *at, struct sy_fabric *f, const int *members, int n)
{
    struct sy_cluster *c = r->cluster;
    int64_t rails = sy_int_or(f->rails, 0);

    for (int i = 0; i < n;) {
        int node = c->vertices[members[i]].node, k = i;
        while (k < n && c->vertices[members[k]].node == node)
            k++;
        if (!rails)
            rails = k - i;
        if (k - i != rails) {
            sy_reader_error(r, at, "%lld rails, and node '%s' has %d NIC%s in this fabric", (long long)rails,
                            sy_cluster_text(c, c->nodes[node].name), k - i, k - i == 1 ? "" : "s");
            sy_source_note(r, c->vertices[members[i]].from, "its NICs are defined here");
            return false;
        }
        for (; i < k; i++) {
            const struct sy_vertex *v = &c->vertices[members[i]];
            if (SY_KNOWN(v->rail) && v->rail.value >= rails) {
                sy_report_error(r->report, sy_cluster_place(c, v->rail.from), "no rail %lld: '%s' has %lld, from 0",
                                (long long)v->rail.value, sy_cluster_text(c, f->name), (long long)rails);
                sy_reader_note(r, at, "the fabric is here");
                return false;
            }
        }
    }
    if (!SY_KNOWN(f->rails))
        f->rails = sy_int_of(rails ? rails : 1, sy_source_of(SY_ORIGIN_DEFAULT));
    return true;
}

void sy_reader_fabrics(struct sy_reader *r)
{
    struct sy_cluster *c = r->cluster;
    int *fabric_of = calloc((size_t)c->n_vertices + 1, sizeof *fabric_of);

    for (int i = 0; r->fabrics && i < r->fabrics->n && fabric_of; i++) {
        struct sy_yaml *v[N_KEYS];
        struct sy_fabric f = {0};
        int *members = NULL;
        bool held = read_fabric(r, r->fabrics->items[i], v, &f);
        int n = v[MEMBERS] && c->n_nodes ? sy_reader_members(r, v[MEMBERS], &members) : -1;
        for (int k = 0; k < c->n_fabrics && held; k++)
            if (c->fabrics[k].name == f.name) {
                sy_reader_error(r, v[NAME], "a second fabric '%s'", v[NAME]->text);
                sy_source_note(r, c->fabrics[k].from, "the first one is here");
                held = false;
            }
        held = held && n >= 0 && check_members(r, v[MEMBERS], &f, members, n, fabric_of);
        if (held && f.kind == SY_FABRIC_RAIL)
            held = check_rails(r, v[RAILS] ? v[RAILS] : v[MEMBERS], &f, members, n);
        if (held)
            sy_cluster_add_fabric(c, &f, members, n);
        free(members);
    }
    free(fabric_of);
}
