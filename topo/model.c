/* SPDX-License-Identifier: Apache-2.0
 * model.c - building a cluster: texts, names, arrays that grow
 */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_private.h"

bool sy_cluster_grow(struct sy_cluster *c, void *array, int n, size_t item_bytes)
{
    void **items = array;

    if (n && (n < 8 || (n & (n - 1))))
        return true;
    size_t room = n < 8 ? 8 : 2 * (size_t)n;
    void *more = n < INT32_MAX / 2 ? realloc(*items, room * item_bytes) : NULL;
    if (!more) {
        c->out_of_memory = true;
        return false;
    }
    *items = more;
    return true;
}

/* Texts and names. */

static uint32_t hash_bytes(const char *text, size_t n)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)text[i]) * 16777619u;
    return h ^ h >> 15;
}

static uint32_t hash_name(int node, uint32_t id)
{
    uint64_t h = ((uint64_t)(uint32_t)node << 32 | id) * 0x9e3779b97f4a7c15u;

    return (uint32_t)(h >> 32);
}

/* Hash of what an entry of a table means. */
static uint32_t hash_text_entry(const struct sy_cluster *c, uint32_t entry)
{
    const char *text = sy_cluster_text(c, entry);
    return hash_bytes(text, strlen(text));
}

static uint32_t hash_name_entry(const struct sy_cluster *c, uint32_t entry)
{
    int i = (int)entry;
    return i < 0 ? hash_name(-2, c->nodes[SY_ENTRY_NODE(i)].name) : hash_name(c->vertices[i].node, c->vertices[i].id);
}

/* Room for one more entry, at most two thirds full. */
static bool table_reserve(struct sy_cluster *c, struct sy_table *table,
                          uint32_t (*hash)(const struct sy_cluster *c, uint32_t entry))
{
    if (3 * (uint64_t)(table->n_used + 1) <= 2 * (uint64_t)table->n_slots)
        return true;
    uint32_t n = table->n_slots ? 2 * table->n_slots : 64;
    uint32_t *slots = n < 1u << 31 ? calloc(n, sizeof *slots) : NULL;
    if (!slots) {
        c->out_of_memory = true;
        return false;
    }
    for (uint32_t i = 0; i < table->n_slots; i++) {
        if (!table->slots[i])
            continue;
        uint32_t at = hash(c, table->slots[i] - 1) & (n - 1);
        while (slots[at])
            at = (at + 1) & (n - 1);
        slots[at] = table->slots[i];
    }
    free(table->slots);
    table->slots = slots;
    table->n_slots = n;
    return true;
}

/* Where a text is in its table, or would be. */
static uint32_t text_slot(const struct sy_pools *p, const char *text, size_t n)
{
    uint32_t mask = p->text_table.n_slots - 1, at = hash_bytes(text, n) & mask;

    for (; p->text_table.slots[at]; at = (at + 1) & mask) {
        uint32_t found = p->text_table.slots[at] - 1;
        const char *there = (const char *)p->texts.data + found;
        if (p->texts.len - found > n && !memcmp(there, text, n) && !there[n])
            break;
    }
    return at;
}

uint32_t sy_cluster_intern_n(struct sy_cluster *c, const char *text, size_t n)
{
    struct sy_pools *p = c->pools;

    n = strnlen(text, n);
    if (!n || !table_reserve(c, &p->text_table, hash_text_entry))
        return 0;
    uint32_t at = text_slot(p, text, n);
    if (p->text_table.slots[at])
        return p->text_table.slots[at] - 1;
    size_t offset = p->texts.len;
    if (offset + n + 1 >= UINT32_MAX || !sy_buf_reserve(&p->texts, n + 1)) {
        c->out_of_memory = true;
        return 0;
    }
    sy_buf_append(&p->texts, text, n);
    sy_buf_append(&p->texts, "", 1);
    p->text_table.slots[at] = (uint32_t)offset + 1;
    p->text_table.n_used++;
    return (uint32_t)offset;
}

uint32_t sy_cluster_intern(struct sy_cluster *c, const char *text)
{
    return sy_cluster_intern_n(c, text, strlen(text));
}

const char *sy_cluster_text(const struct sy_cluster *c, uint32_t text)
{
    return (const char *)c->pools->texts.data + text;
}

struct sy_text sy_text_of(struct sy_cluster *c, const char *text, struct sy_source from)
{
    return (struct sy_text){sy_cluster_intern(c, text), from};
}

/* The vertex `id` of a node, or with node -2 the node of that name as SY_NODE_ENTRY; -1: none. */
static int find_name(const struct sy_cluster *c, int node, uint32_t id)
{
    const struct sy_table *t = &c->pools->name_table;

    if (!t->n_slots)
        return -1;
    for (uint32_t at = hash_name(node, id) & (t->n_slots - 1); t->slots[at]; at = (at + 1) & (t->n_slots - 1)) {
        int i = (int)(t->slots[at] - 1);
        bool same = i < 0 ? node == -2 && c->nodes[SY_ENTRY_NODE(i)].name == id
                          : c->vertices[i].node == node && c->vertices[i].id == id;
        if (same)
            return i;
    }
    return -1;
}

bool sy_cluster_index(struct sy_cluster *c, int entry)
{
    struct sy_table *t = &c->pools->name_table;
    int node = entry < 0 ? -2 : c->vertices[entry].node;
    uint32_t id = entry < 0 ? c->nodes[SY_ENTRY_NODE(entry)].name : c->vertices[entry].id;

    if (find_name(c, node, id) != -1 || !table_reserve(c, t, hash_name_entry))
        return false;
    uint32_t at = hash_name(node, id) & (t->n_slots - 1);
    while (t->slots[at])
        at = (at + 1) & (t->n_slots - 1);
    t->slots[at] = (uint32_t)entry + 1;
    t->n_used++;
    return true;
}

void sy_cluster_reindex(struct sy_cluster *c)
{
    struct sy_table *t = &c->pools->name_table;

    if (t->n_slots)
        memset(t->slots, 0, t->n_slots * sizeof *t->slots);
    t->n_used = 0;
    for (int i = 0; i < c->n_nodes; i++)
        sy_cluster_index(c, SY_NODE_ENTRY(i));
    for (int v = 0; v < c->n_vertices; v++)
        sy_cluster_index(c, v);
}

/* The number of a text that is in the pool already; 0: it is not. */
static uint32_t find_text(const struct sy_cluster *c, const char *text, size_t n)
{
    const struct sy_table *t = &c->pools->text_table;
    uint32_t entry = t->n_slots ? t->slots[text_slot(c->pools, text, n)] : 0;

    return entry ? entry - 1 : 0;
}

static int node_named(const struct sy_cluster *c, const char *name, size_t n)
{
    uint32_t text = find_text(c, name, n);
    int i = text ? find_name(c, -2, text) : -1;

    return i == -1 ? -1 : SY_ENTRY_NODE(i);
}

int sy_cluster_find_node(const struct sy_cluster *c, const char *name)
{
    return node_named(c, name, strlen(name));
}

int sy_cluster_find_vertex(const struct sy_cluster *c, int node, const char *id)
{
    uint32_t text = find_text(c, id, strlen(id));
    int i = text ? find_name(c, node, text) : -1;

    return i < 0 ? -1 : i;
}

/* A node's name may have dots ("n0.cluster.org"), a vertex's id has none. */
int sy_cluster_find(const struct sy_cluster *c, const char *path)
{
    const char *dot = strrchr(path, '.');
    int node = dot ? node_named(c, path, (size_t)(dot - path)) : -1;

    if (node < 0)
        return sy_cluster_find_vertex(c, -1, path);
    return sy_cluster_find_vertex(c, node, dot + 1);
}

const char *sy_cluster_show(const struct sy_cluster *c, int vertex, char *out, size_t out_bytes)
{
    const struct sy_vertex *v = &c->vertices[vertex];

    if (v->node < 0)
        snprintf(out, out_bytes, "%s", sy_cluster_text(c, v->id));
    else
        snprintf(out, out_bytes, "%s.%s", sy_cluster_text(c, c->nodes[v->node].name), sy_cluster_text(c, v->id));
    return out;
}

/* Adding. */

int sy_cluster_add_vertex(struct sy_cluster *c, int node, enum sy_vertex_kind kind, const char *id,
                          struct sy_source from)
{
    uint32_t name = sy_cluster_intern(c, id);

    sy_cluster_unfinish(c);
    if (node < -1 || node >= c->n_nodes || c->out_of_memory ||
        !sy_cluster_grow(c, &c->vertices, c->n_vertices, sizeof *c->vertices))
        return -1;
    c->vertices[c->n_vertices] = (struct sy_vertex){
        .kind = (uint8_t)kind, .node = node, .id = name, .type = -1, .port = -1, .fabric = -1, .from = from};
    return sy_cluster_index(c, c->n_vertices) ? c->n_vertices++ : -1;
}

int sy_cluster_add_node(struct sy_cluster *c, const char *name, struct sy_int n_numa, struct sy_source from)
{
    sy_cluster_unfinish(c);
    if (!sy_cluster_grow(c, &c->nodes, c->n_nodes, sizeof *c->nodes))
        return -1;
    int node = c->n_nodes;
    c->nodes[node] = (struct sy_node){
        .name = sy_cluster_intern(c, name), .n_numa = n_numa, .first_numa = c->n_vertices, .from = from};
    if (!sy_cluster_index(c, SY_NODE_ENTRY(node)))
        return -1;
    c->n_nodes++;
    int64_t n = sy_int_or(n_numa, 1);
    for (int64_t i = 0; i < n && !c->out_of_memory; i++) {
        char id[32];
        snprintf(id, sizeof id, "numa%lld", (long long)i);
        int v = sy_cluster_add_vertex(c, node, SY_VERTEX_NUMA, id, n_numa.from);
        if (v >= 0)
            c->vertices[v].numa = sy_int_of(i, n_numa.from);
    }
    return node;
}

int sy_cluster_add_link(struct sy_cluster *c, int from, int to, int type, struct sy_int count, struct sy_source source)
{
    sy_cluster_unfinish(c);
    if (from < 0 || to < 0 || type < 0 || from >= c->n_vertices || to >= c->n_vertices || type >= c->n_link_types ||
        !sy_cluster_grow(c, &c->links, c->n_links, sizeof *c->links))
        return -1;
    c->links[c->n_links] = (struct sy_link){.from = from, .to = to, .type = type, .count = count, .source = source};
    return c->n_links++;
}

int sy_cluster_add_fabric(struct sy_cluster *c, const struct sy_fabric *fabric, const int *members, int n_members)
{
    sy_cluster_unfinish(c);
    if (!sy_cluster_grow(c, &c->fabrics, c->n_fabrics, sizeof *c->fabrics))
        return -1;
    struct sy_fabric *f = &c->fabrics[c->n_fabrics];
    *f = *fabric;
    f->first_member = c->n_members;
    f->n_members = 0;
    for (int i = 0; i < n_members; i++) {
        if (members[i] < 0 || members[i] >= c->n_vertices)
            continue;
        if (!sy_cluster_grow(c, &c->members, c->n_members, sizeof *c->members))
            return -1;
        c->members[c->n_members++] = members[i];
        f->n_members++;
    }
    return c->n_fabrics++;
}

int sy_cluster_add_fact(struct sy_cluster *c, int node, const char *key, struct sy_text value)
{
    if (node < 0 || node >= c->n_nodes || !sy_cluster_grow(c, &c->facts, c->n_facts, sizeof *c->facts))
        return -1;
    c->facts[c->n_facts] = (struct sy_fact){.node = node, .key = sy_cluster_intern(c, key), .value = value};
    return c->n_facts++;
}

int sy_cluster_map_rank(struct sy_cluster *c, int vertex)
{
    if (vertex < 0 || vertex >= c->n_vertices || !sy_cluster_grow(c, &c->map, c->n_map, sizeof *c->map))
        return -1;
    c->map[c->n_map] = vertex;
    return c->n_map++;
}

/* Life. */

struct sy_cluster *sy_cluster_create(void)
{
    struct sy_cluster *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->pools = calloc(1, sizeof *c->pools);
    if (!c->pools || !sy_buf_append(&c->pools->texts, "", 1) || sy_cluster_file(c, "") != 0 || c->out_of_memory) {
        sy_cluster_destroy(c);
        return NULL;
    }
    c->pools->n_made_vertices = c->pools->n_made_links = -1;
    return c;
}

void sy_cluster_destroy(struct sy_cluster *c)
{
    if (!c)
        return;
    if (c->pools) {
        sy_buf_fini(&c->pools->texts);
        free(c->pools->text_table.slots);
        free(c->pools->name_table.slots);
        free(c->pools->files);
        free(c->pools);
    }
    free(c->nodes);
    free(c->vertices);
    free(c->links);
    free(c->device_types);
    free(c->link_types);
    free(c->fabrics);
    free(c->facts);
    free(c->members);
    free(c->map);
    free(c->ranks);
    free(c->first_edge);
    free(c->edges);
    free(c->domain_of);
    free(c);
}
