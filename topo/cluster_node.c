/* SPDX-License-Identifier: Apache-2.0
 * cluster_node.c - node types and nodes
 *
 * The first node of a type is made from the file; the others are copies of it. A type with a base is its base, with other types
 * of devices and links where `replace` says so, and then what it adds.
 */
#include <stdlib.h>
#include <string.h>

#include "cluster_private.h"
#include "model_private.h"

#define BASES_MAX 16

enum { BASE, REPLACE, NUMA, DEVICES, SWITCHES, NICS, LINKS, CHASSIS, N_TYPE_KEYS };
static const struct sy_key type_keys[N_TYPE_KEYS] = {
    {"base", SY_TAKES_TEXT, false},    {"replace", SY_TAKES_MAP, false},   {"numa", SY_TAKES_TEXT, false},
    {"devices", SY_TAKES_LIST, false}, {"switches", SY_TAKES_LIST, false}, {"nics", SY_TAKES_LIST, false},
    {"links", SY_TAKES_LIST, false},   {"chassis", SY_TAKES_TEXT, false},
};

/* A node type and its bases, from the one that nodes name to the last base. */
struct level {
    struct sy_entry *entry;
    struct sy_yaml *values[N_TYPE_KEYS];
};

struct levels {
    struct level items[BASES_MAX];
    int n;
};

/* What the types above a base replace in it, from the nearest to the one that nodes name. */
struct sy_replace {
    const struct levels *levels;
    int at;
};

int sy_replace_entry(struct sy_reader *r, const struct sy_replace *replace, bool device, const struct sy_yaml *node)
{
    const struct sy_entries *entries = device ? &r->device_types : &r->link_types;
    const char *name = node->text;

    for (int i = replace->at; i-- > 0;) {
        const struct sy_yaml *map = sy_yaml_get(replace->levels->items[i].values[REPLACE],
                                                device ? "device_type" : "link_type");
        const struct sy_yaml *other = map ? sy_yaml_get(map, name) : NULL;
        if (other && other->kind == SY_YAML_SCALAR)
            name = other->text;
    }
    /* A name in `replace` that is no type has been said there. */
    for (int i = 0; i < entries->n && name != node->text; i++)
        if (!strcmp(entries->items[i].key->text, name))
            return i;
    return name != node->text ? -1 : sy_reader_entry(r, entries, device ? "device type" : "link type", node, name);
}

/* Every name in `replace` is a type. */
static void check_replace(struct sy_reader *r, const struct level *level)
{
    static const struct sy_key keys[] = {{"device_type", SY_TAKES_MAP, false}, {"link_type", SY_TAKES_MAP, false}};
    struct sy_yaml *maps[2];

    if (!level->values[REPLACE])
        return;
    if (!level->values[BASE])
        sy_reader_error(r, level->values[REPLACE], "replace is about the base, and this type has none");
    sy_reader_map(r, level->values[REPLACE], "replace", keys, 2, maps);
    for (int m = 0; m < 2; m++)
        for (int i = 0; maps[m] && i < maps[m]->n; i++)
            for (int side = 0; side < 2; side++) {
                const struct sy_yaml *name = maps[m]->items[2 * i + side];
                if (name->kind != SY_YAML_SCALAR)
                    sy_reader_error(r, name, "expected the name of a type, found %s", sy_yaml_kind_name(name));
                else
                    sy_reader_entry(r, m ? &r->link_types : &r->device_types, m ? "link type" : "device type", name,
                                    name->text);
            }
}

/* The type and its bases; false after a report. */
static bool find_levels(struct sy_reader *r, struct sy_entry *type, struct levels *levels)
{
    bool held = true;

    levels->n = 0;
    for (struct sy_entry *e = type; e && held;) {
        struct level *level = &levels->items[levels->n];
        level->entry = e;
        held = sy_reader_check_name(r, e->key, e->key->text, true);
        held &= sy_reader_map(r, e->value, "a node type", type_keys, N_TYPE_KEYS, level->values);
        levels->n++;
        check_replace(r, level);
        const struct sy_yaml *base = level->values[BASE];
        if (!base)
            break;
        int next = sy_reader_entry(r, &r->node_types, "node type", base, base->text);
        if (next < 0)
            return false;
        e = &r->node_types.items[next];
        for (int i = 0; i < levels->n; i++)
            if (levels->items[i].entry == e) {
                sy_reader_error(r, base, "'%s' is its own base", base->text);
                sy_reader_note(r, e->key, "it is defined here");
                return false;
            }
        if (levels->n == BASES_MAX) {
            sy_reader_error(r, base, "more than %d bases, one of the other", BASES_MAX);
            return false;
        }
    }
    return held;
}

/* The nearest level that has a key. */
static const struct sy_yaml *nearest(const struct levels *levels, int key)
{
    for (int i = 0; i < levels->n; i++)
        if (levels->items[i].values[key])
            return levels->items[i].values[key];
    return NULL;
}

/* The first node of a type. */
static int make_node(struct sy_reader *r, struct sy_entry *type, const char *name, struct sy_source from)
{
    struct sy_cluster *c = r->cluster;
    struct levels levels;
    struct sy_int n_numa = {0};

    if (!find_levels(r, type, &levels)) {
        type->broken = r->incomplete = true;
        if (!levels.n)
            return -1;
    }
    if (!sy_reader_int(r, nearest(&levels, NUMA), 1, SY_NUMA_MAX, &n_numa))
        n_numa = sy_int_of(1, sy_source_of(SY_ORIGIN_DEFAULT));
    int node = sy_cluster_add_node(c, name, n_numa, from);
    if (node < 0)
        return -1;
    type->first_link = c->n_links;
    c->nodes[node].type = sy_text_of(c, type->key->text, sy_reader_source(type->key));
    const struct sy_yaml *chassis = nearest(&levels, CHASSIS);
    sy_reader_text(r, chassis, &c->nodes[node].chassis);
    for (int i = levels.n; i-- > 0;) {
        struct sy_replace replace = {&levels, i};
        struct sy_yaml **values = levels.items[i].values;
        sy_reader_devices(r, node, values[DEVICES], &replace);
        sy_reader_switches(r, node, values[SWITCHES]);
        sy_reader_nics(r, node, values[NICS], &replace);
    }
    for (int i = levels.n; i-- > 0;)
        sy_reader_links(r, levels.items[i].values[LINKS], node, &(struct sy_replace){&levels, i});
    sy_reader_node_links(r, node, type->first_link);
    type->number = node;
    type->n_links = c->n_links - type->first_link;
    type->n_vertices = c->n_vertices - c->nodes[node].first_numa;
    return node;
}

/* Another node of a type. */
static int copy_node(struct sy_reader *r, const struct sy_entry *type, const char *name, const struct sy_yaml *at)
{
    struct sy_cluster *c = r->cluster;
    int n_numa = (int)sy_int_or(c->nodes[type->number].n_numa, 1), old = c->nodes[type->number].first_numa;

    if (!sy_reader_room(r, at, type->n_vertices))
        return -1;
    if (c->n_links + (int64_t)type->n_links > SY_LINKS_MAX) {
        sy_reader_error(r, at, "more than %d links", SY_LINKS_MAX);
        return -1;
    }
    int node = sy_cluster_add_node(c, name, c->nodes[type->number].n_numa, sy_reader_source(at));
    if (node < 0)
        return -1;
    int first = c->nodes[node].first_numa;
    c->nodes[node].type = c->nodes[type->number].type;
    c->nodes[node].chassis = c->nodes[type->number].chassis;
    for (int i = n_numa; i < type->n_vertices; i++) {
        struct sy_vertex v = c->vertices[old + i];
        int copy = sy_cluster_add_vertex(c, node, v.kind, sy_cluster_text(c, v.id), v.from);
        if (copy < 0)
            return -1;
        v.node = node;
        c->vertices[copy] = v;
    }
    for (int l = 0; l < type->n_links; l++) {
        struct sy_link link = c->links[type->first_link + l];
        sy_cluster_add_link(c, link.from - old + first, link.to - old + first, link.type, link.count, link.source);
    }
    return node;
}

/* `set`: what only this node's devices and NICs have. */
static void set_vertices(struct sy_reader *r, int node, const struct sy_yaml *map)
{
    enum { PCI, UUID, DEVICE, DOMAIN, CLIQUE, CPUS, N };
    static const struct sy_key keys[N] = {{"pci", SY_TAKES_TEXT, false},    {"uuid", SY_TAKES_TEXT, false},
                                          {"device", SY_TAKES_TEXT, false}, {"domain", SY_TAKES_TEXT, false},
                                          {"clique", SY_TAKES_TEXT, false}, {"cpus", SY_TAKES_TEXT, false}};

    for (int i = 0; map && i < map->n; i++) {
        struct sy_yaml *values[N];
        int v = sy_reader_vertex(r, map->items[2 * i], node, map->items[2 * i]->text);
        if (!sy_reader_map(r, map->items[2 * i + 1], "what is set", keys, N, values) || v < 0)
            continue;
        struct sy_vertex *vertex = &r->cluster->vertices[v];
        sy_reader_text(r, values[PCI], &vertex->pci);
        sy_reader_text(r, values[UUID], &vertex->uuid);
        sy_reader_text(r, values[DEVICE], &vertex->device);
        sy_reader_text(r, values[DOMAIN], &vertex->domain);
        sy_reader_int(r, values[CLIQUE], 0, UINT32_MAX, &vertex->clique);
        sy_reader_text(r, values[CPUS], &vertex->cpus);
    }
}

static void add_facts(struct sy_reader *r, int node, const struct sy_yaml *map)
{
    for (int i = 0; map && i < map->n; i++) {
        struct sy_text value = {0};
        if (map->items[2 * i + 1]->kind != SY_YAML_SCALAR)
            sy_reader_error(r, map->items[2 * i + 1], "expected text for a fact, found %s",
                            sy_yaml_kind_name(map->items[2 * i + 1]));
        else if (sy_reader_text(r, map->items[2 * i + 1], &value))
            sy_cluster_add_fact(r->cluster, node, map->items[2 * i]->text, value);
    }
}

enum { NAME, TYPE, HOST, NODE_CHASSIS, SET, FACTS, N_NODE_KEYS };
static const struct sy_key node_keys[N_NODE_KEYS] = {
    {"name", SY_TAKES_TEXT, true},     {"type", SY_TAKES_TEXT, true}, {"host", SY_TAKES_TEXT | SY_TAKES_LIST, false},
    {"chassis", SY_TAKES_TEXT, false}, {"set", SY_TAKES_MAP, false},  {"facts", SY_TAKES_MAP, false},
};

/* One node of an entry; host: what the entry says of it. */
static void add_node(struct sy_reader *r, struct sy_yaml **v, struct sy_entry *type, const char *name,
                     const struct sy_text *host)
{
    struct sy_cluster *c = r->cluster;
    int there = sy_cluster_find_node(c, name);

    if (there >= 0) {
        sy_reader_error(r, v[NAME], "a second node '%s'", name);
        sy_source_note(r, c->nodes[there].from, "the first one is here");
        return;
    }
    int node = type->number < 0 ? make_node(r, type, name, sy_reader_source(v[NAME]))
                                : copy_node(r, type, name, v[NAME]);
    if (node < 0)
        return;
    c->nodes[node].host = *host;
}

/* What an entry's nodes have of their own. Only when all nodes are there, since each is a copy of the first of its type. */
static void set_nodes(struct sy_reader *r, const struct sy_yaml *item)
{
    const struct sy_yaml *name = sy_yaml_get(item, "name"), *chassis = sy_yaml_get(item, "chassis");
    const struct sy_yaml *set = sy_yaml_get(item, "set"), *facts = sy_yaml_get(item, "facts");
    struct sy_range names = {0};
    char why[8];

    if (!name || name->kind != SY_YAML_SCALAR || !sy_range_expand(name->text, &names, why, sizeof why, NULL))
        return;
    for (int i = 0; i < names.n; i++) {
        int node = sy_cluster_find_node(r->cluster, names.names[i]);
        if (node < 0)
            continue;
        if (chassis && chassis->kind == SY_YAML_SCALAR)
            sy_reader_text(r, chassis, &r->cluster->nodes[node].chassis);
        if (set && set->kind == SY_YAML_MAP)
            set_vertices(r, node, set);
        if (facts && facts->kind == SY_YAML_MAP)
            add_facts(r, node, facts);
    }
    sy_range_fini(&names);
}

static void read_nodes(struct sy_reader *r, const struct sy_yaml *item)
{
    struct sy_yaml *v[N_NODE_KEYS];
    struct sy_range names = {0};

    sy_reader_map(r, item, "a node", node_keys, N_NODE_KEYS, v);
    int entry = v[TYPE] ? sy_reader_entry(r, &r->node_types, "node type", v[TYPE], v[TYPE]->text) : -1;
    if (entry < 0 || !v[NAME] || !sy_reader_range(r, v[NAME], &names)) {
        r->incomplete = true;
        return;
    }
    struct sy_text *hosts = calloc((size_t)names.n, sizeof *hosts);
    bool held = hosts && sy_reader_texts(r, v[HOST], names.n, hosts);
    for (int i = 0; i < names.n && held && !r->cluster->out_of_memory; i++)
        if ((held = sy_reader_check_name(r, v[NAME], names.names[i], true)))
            add_node(r, v, &r->node_types.items[entry], names.names[i], &hosts[i]);
    r->incomplete |= !held;
    free(hosts);
    sy_range_fini(&names);
}

void sy_reader_nodes(struct sy_reader *r)
{
    for (int i = 0; r->nodes && i < r->nodes->n; i++)
        read_nodes(r, r->nodes->items[i]);
    for (int i = 0; r->nodes && i < r->nodes->n; i++)
        set_nodes(r, r->nodes->items[i]);
    if (!r->cluster->n_nodes && !sy_report_n_errors(r->report))
        sy_report_error(r->report, r->nodes ? sy_reader_place(r, r->nodes) : sy_reader_place(r, r->version),
                        "a cluster needs 'nodes'");
}

void sy_reader_unused_types(struct sy_reader *r)
{
    struct sy_cluster *used = r->cluster;
    bool read_again = false;

    for (int i = 0; i < r->node_types.n; i++) {
        if (r->node_types.items[i].number >= 0)
            continue;
        /* In a cluster of its own; reports of its types are the same again, and said once. */
        r->cluster = sy_cluster_create();
        if (!r->cluster)
            break;
        for (int f = 1; f < used->pools->n_files; f++)
            sy_cluster_file(r->cluster, sy_cluster_file_name(used, (uint16_t)f));
        sy_reader_types(r);
        read_again = true;
        make_node(r, &r->node_types.items[i], "x", sy_reader_source(r->node_types.items[i].key));
        sy_cluster_destroy(r->cluster);
    }
    r->cluster = used;
    /* Their numbers in that cluster again. */
    if (read_again)
        sy_reader_types(r);
}
