/* SPDX-License-Identifier: Apache-2.0
 * cluster_vertex.c - devices, switches and NICs of a node type, for a node
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cluster_private.h"

bool sy_reader_room(struct sy_reader *r, const struct sy_yaml *at, int64_t n)
{
    if (r->cluster->n_vertices + n <= SY_VERTICES_MAX)
        return true;
    sy_reader_error(r, at, "more than %d devices, switches and NICs", SY_VERTICES_MAX);
    return false;
}

/* Vertices of these ids; their numbers follow each other. -1 after a report. */
static int add_ids(struct sy_reader *r, int node, const struct sy_yaml *ids, enum sy_vertex_kind kind, int *n)
{
    struct sy_range range;
    int first = -1;

    *n = 0;
    if (!ids || !sy_reader_range(r, ids, &range)) {
        r->incomplete = true;
        return -1;
    }
    bool held = sy_reader_room(r, ids, range.n);
    for (int i = 0; i < range.n && held; i++) {
        held = sy_reader_check_name(r, ids, range.names[i], false);
        int v = held ? sy_cluster_add_vertex(r->cluster, node, kind, range.names[i], sy_reader_source(ids)) : -1;
        if (held && v < 0) {
            int there = sy_cluster_find_vertex(r->cluster, node, range.names[i]);
            sy_reader_error(r, ids, "a second '%s' in the node", range.names[i]);
            if (there >= 0)
                sy_source_note(r, r->cluster->vertices[there].from, "the first one is here");
            held = false;
        }
        first = first < 0 ? v : first;
        *n += held;
    }
    r->incomplete |= !held;
    sy_range_fini(&range);
    return held ? first : -1;
}

/* Set a field of n vertices (an offset in struct sy_vertex) from a value, which may be NULL. */
static void set_ints(struct sy_reader *r, const struct sy_yaml *value, int first, int n, int64_t max, size_t field)
{
    struct sy_int *list = value ? calloc((size_t)n, sizeof *list) : NULL;

    if (list && sy_reader_ints(r, value, n, 0, max, list))
        for (int i = 0; i < n; i++)
            memcpy((char *)&r->cluster->vertices[first + i] + field, &list[i], sizeof *list);
    free(list);
}

static void set_texts(struct sy_reader *r, const struct sy_yaml *value, int first, int n, size_t field)
{
    struct sy_text *list = value ? calloc((size_t)n, sizeof *list) : NULL;

    if (list && sy_reader_texts(r, value, n, list))
        for (int i = 0; i < n; i++)
            memcpy((char *)&r->cluster->vertices[first + i] + field, &list[i], sizeof *list);
    free(list);
}

#define FIELD(name) offsetof(struct sy_vertex, name)

/* Which NUMA nodes vertices have: as the value says, or the only one. Virtual machines may not tell, which is "unknown" then. */
static void set_numa(struct sy_reader *r, int node, const struct sy_yaml *value, int first, int n)
{
    if (value && value->kind == SY_YAML_SCALAR && !strcmp(value->text, "unknown"))
        return;
    const struct sy_node *of = &r->cluster->nodes[node];
    int64_t n_numa = sy_int_or(of->n_numa, 1);
    struct sy_int *list = calloc((size_t)n, sizeof *list);
    bool held = list && sy_reader_ints(r, value, n, 0, SY_NUMA_MAX - 1, list);

    for (int i = 0; i < n && held; i++) {
        if (!value && n_numa == 1) {
            list[i] = sy_int_of(0, sy_source_of(SY_ORIGIN_DEFAULT));
        } else if (value && list[i].value >= n_numa) {
            sy_report_error(r->report, sy_cluster_place(r->cluster, list[i].from),
                            "no NUMA node %lld: the node has %lld", (long long)list[i].value, (long long)n_numa);
            if (of->n_numa.from.line)
                sy_source_note(r, of->n_numa.from, "as it says here");
            held = false;
        }
        r->cluster->vertices[first + i].numa = list[i];
    }
    free(list);
}

void sy_reader_devices(struct sy_reader *r, int node, const struct sy_yaml *list, const struct sy_replace *replace)
{
    enum { ID, TYPE, DEVICE_NUMA, PCI, UUID, DOMAIN, CLIQUE, CPUS, N };
    static const struct sy_key keys[N] = {{"id", SY_TAKES_TEXT, true},
                                          {"type", SY_TAKES_TEXT, true},
                                          {"numa", SY_TAKES_TEXT | SY_TAKES_LIST, false},
                                          {"pci", SY_TAKES_TEXT | SY_TAKES_LIST, false},
                                          {"uuid", SY_TAKES_TEXT | SY_TAKES_LIST, false},
                                          {"domain", SY_TAKES_TEXT, false},
                                          {"clique", SY_TAKES_TEXT, false},
                                          {"cpus", SY_TAKES_TEXT | SY_TAKES_LIST, false}};

    for (int i = 0; list && i < list->n; i++) {
        struct sy_yaml *v[N];
        int n;
        sy_reader_map(r, list->items[i], "a device", keys, N, v);
        int type = v[TYPE] ? sy_replace_entry(r, replace, true, v[TYPE]) : -1;
        int kind = type < 0 ? SY_VERTEX_GPU : r->device_types.items[type].kind;
        int first = add_ids(r, node, v[ID], kind, &n);
        /* Without type the ids are there for links to name, and the cluster is not used. */
        for (int k = 0; k < n && first >= 0; k++)
            r->cluster->vertices[first + k].type = type < 0 ? -1 : r->device_types.items[type].number;
        if (first < 0)
            continue;
        set_numa(r, node, v[DEVICE_NUMA], first, n);
        if (!v[DEVICE_NUMA] && sy_int_or(r->cluster->nodes[node].n_numa, 1) > 1) {
            sy_reader_error(r, list->items[i], "a device needs 'numa' in a node with several NUMA nodes");
            sy_source_note(r, r->cluster->nodes[node].n_numa.from, "their number is said here");
        }
        set_texts(r, v[PCI], first, n, FIELD(pci));
        set_texts(r, v[UUID], first, n, FIELD(uuid));
        set_texts(r, v[DOMAIN], first, n, FIELD(domain));
        set_ints(r, v[CLIQUE], first, n, UINT32_MAX, FIELD(clique));
        set_texts(r, v[CPUS], first, n, FIELD(cpus));
    }
}

void sy_reader_switches(struct sy_reader *r, int node, const struct sy_yaml *list)
{
    enum { ID, KIND, SWITCH_NUMA, PCI, N };
    static const struct sy_key keys[N] = {{"id", SY_TAKES_TEXT, true},
                                          {"kind", SY_TAKES_TEXT, true},
                                          {"numa", SY_TAKES_TEXT | SY_TAKES_LIST, false},
                                          {"pci", SY_TAKES_TEXT | SY_TAKES_LIST, false}};
    static const char *const kinds[] = {"nvswitch", "pcie", "memory"};
    static const enum sy_vertex_kind of[] = {SY_VERTEX_NVSWITCH, SY_VERTEX_PCIE, SY_VERTEX_MEMORY};

    for (int i = 0; list && i < list->n; i++) {
        struct sy_yaml *v[N];
        int kind = 0, n;
        sy_reader_map(r, list->items[i], "a switch", keys, N, v);
        sy_reader_choice(r, v[KIND], "kind of switch", kinds, 3, &kind);
        int first = add_ids(r, node, v[ID], of[kind], &n);
        if (first < 0)
            continue;
        if (v[SWITCH_NUMA] || of[kind] == SY_VERTEX_PCIE)
            set_numa(r, node, v[SWITCH_NUMA], first, n);
        set_texts(r, v[PCI], first, n, FIELD(pci));
    }
}

/* A NIC's port is of a network. */
static int port_type(struct sy_reader *r, const struct sy_yaml *port, const struct sy_replace *replace)
{
    int entry = port ? sy_replace_entry(r, replace, false, port) : -1;

    if (entry < 0)
        return -1;
    int type = r->link_types.items[entry].number;
    if (type >= 0 && !r->link_types.items[entry].broken && r->cluster->link_types[type].cls < SY_LINK_IB) {
        sy_reader_error(r, port, "the port of a NIC is of class ib or ethernet, and '%s' is of class %s", port->text,
                        sy_link_class_name(r->cluster->link_types[type].cls));
        sy_reader_note(r, r->link_types.items[entry].key, "it is defined here");
    }
    return type;
}

void sy_reader_nics(struct sy_reader *r, int node, const struct sy_yaml *list, const struct sy_replace *replace)
{
    enum { ID, RAIL, PLANE, PORT, NIC_NUMA, PCI, UUID, DEVICE, N };
    static const struct sy_key keys[N] = {{"id", SY_TAKES_TEXT, true},
                                          {"rail", SY_TAKES_TEXT | SY_TAKES_LIST, false},
                                          {"plane", SY_TAKES_TEXT | SY_TAKES_LIST, false},
                                          {"port", SY_TAKES_TEXT, false},
                                          {"numa", SY_TAKES_TEXT | SY_TAKES_LIST, false},
                                          {"pci", SY_TAKES_TEXT | SY_TAKES_LIST, false},
                                          {"uuid", SY_TAKES_TEXT | SY_TAKES_LIST, false},
                                          {"device", SY_TAKES_TEXT | SY_TAKES_LIST, false}};

    for (int i = 0; list && i < list->n; i++) {
        struct sy_yaml *v[N];
        int n;
        sy_reader_map(r, list->items[i], "a NIC", keys, N, v);
        int port = port_type(r, v[PORT], replace);
        int first = add_ids(r, node, v[ID], SY_VERTEX_NIC, &n);
        if (first < 0)
            continue;
        for (int k = 0; k < n; k++)
            r->cluster->vertices[first + k].port = port;
        if (v[NIC_NUMA] || sy_int_or(r->cluster->nodes[node].n_numa, 1) == 1)
            set_numa(r, node, v[NIC_NUMA], first, n);
        set_ints(r, v[RAIL], first, n, SY_FABRIC_SWITCHES_MAX - 1, FIELD(rail));
        set_ints(r, v[PLANE], first, n, SY_FABRIC_SWITCHES_MAX - 1, FIELD(plane));
        set_texts(r, v[PCI], first, n, FIELD(pci));
        set_texts(r, v[UUID], first, n, FIELD(uuid));
        set_texts(r, v[DEVICE], first, n, FIELD(device));
    }
}

int sy_reader_vertex(struct sy_reader *r, const struct sy_yaml *at, int node, const char *id)
{
    struct sy_cluster *c = r->cluster;
    int v = sy_cluster_find_vertex(c, node, id), best = -1, least = 0;

    if (v >= 0 || r->incomplete)
        return v;
    sy_reader_error(r, at, "no device, switch or NIC '%.60s' in the node", id);
    for (v = c->nodes[node].first_numa; v < c->n_vertices && c->vertices[v].node == node; v++) {
        int d = sy_name_distance(id, sy_cluster_text(c, c->vertices[v].id));
        if (c->vertices[v].from.line && (best < 0 || d < least)) {
            best = v;
            least = d;
        }
    }
    if (best >= 0)
        sy_source_note(r, c->vertices[best].from, "the nearest is '%s', defined here",
                       sy_cluster_text(c, c->vertices[best].id));
    return -1;
}
