/* SPDX-License-Identifier: Apache-2.0
 * model_pack.c - a cluster as bytes for another process
 *
 * The arrays as they are in memory: sender and receiver are the same program. The receiver trusts no number that is an index.
 */
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "model_private.h"

#define MAGIC 0x5379436c75737431u

struct head {
    uint64_t magic, text_bytes;
    uint32_t name;
    int32_t n_nodes, n_vertices, n_links, n_device_types, n_link_types, n_fabrics, n_facts, n_members, n_map, n_files;
    struct sy_policy policy;
};

/* The arrays in the order of the bytes, and how many of each are sent: without what sy_cluster_finish() made. */
struct array {
    void **items;
    int *n;
    int count;
    size_t item_bytes;
};

#define N_ARRAYS 10

static void list_arrays(struct sy_cluster *c, const struct head *h, struct array arrays[N_ARRAYS])
{
    struct array list[N_ARRAYS] = {
        {(void **)&c->nodes, &c->n_nodes, h->n_nodes, sizeof *c->nodes},
        {(void **)&c->vertices, &c->n_vertices, h->n_vertices, sizeof *c->vertices},
        {(void **)&c->links, &c->n_links, h->n_links, sizeof *c->links},
        {(void **)&c->device_types, &c->n_device_types, h->n_device_types, sizeof *c->device_types},
        {(void **)&c->link_types, &c->n_link_types, h->n_link_types, sizeof *c->link_types},
        {(void **)&c->fabrics, &c->n_fabrics, h->n_fabrics, sizeof *c->fabrics},
        {(void **)&c->facts, &c->n_facts, h->n_facts, sizeof *c->facts},
        {(void **)&c->members, &c->n_members, h->n_members, sizeof *c->members},
        {(void **)&c->map, &c->n_map, h->n_map, sizeof *c->map},
        {(void **)&c->pools->files, &c->pools->n_files, h->n_files, sizeof *c->pools->files},
    };
    memcpy(arrays, list, sizeof list);
}

enum sy_status sy_cluster_pack(const struct sy_cluster *c, struct sy_buf *out, struct sy_error *err)
{
    const struct sy_pools *p = c->pools;
    bool finished = p->n_made_vertices >= 0;
    struct head h;
    struct array arrays[N_ARRAYS];

    /* The bytes between fields are sent too. */
    memset(&h, 0, sizeof h);
    h.magic = MAGIC;
    h.text_bytes = p->texts.len;
    h.name = c->name;
    h.n_nodes = c->n_nodes;
    h.n_vertices = finished ? p->n_made_vertices : c->n_vertices;
    h.n_links = finished ? p->n_made_links : c->n_links;
    h.n_device_types = c->n_device_types;
    h.n_link_types = c->n_link_types;
    h.n_fabrics = c->n_fabrics;
    h.n_facts = c->n_facts;
    h.n_members = c->n_members;
    h.n_map = c->n_map;
    h.n_files = p->n_files;
    h.policy = c->policy;
    bool held = sy_buf_append(out, &h, sizeof h) && sy_buf_append(out, p->texts.data, p->texts.len);
    /* Only read: the list serves both ways. */
    list_arrays((struct sy_cluster *)(uintptr_t)c, &h, arrays);
    for (int i = 0; i < N_ARRAYS && held; i++)
        held = !arrays[i].count || sy_buf_append(out, *arrays[i].items, (size_t)arrays[i].count * arrays[i].item_bytes);
    if (!held)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory to send a cluster of %d nodes", c->n_nodes);
    return SY_OK;
}

/* An index below n, or none. */
static bool in(int64_t i, int n)
{
    return i >= -1 && i < n;
}

static bool texts_hold(const struct sy_cluster *c, const uint32_t *texts, int n)
{
    for (int i = 0; i < n; i++)
        if (texts[i] >= c->pools->texts.len)
            return false;
    return true;
}

static bool vertices_hold(const struct sy_cluster *c)
{
    for (int i = 0; i < c->n_nodes; i++) {
        const struct sy_node *n = &c->nodes[i];
        int64_t n_numa = sy_int_or(n->n_numa, 1);
        if (!texts_hold(c, (uint32_t[]){n->name, n->host.value, n->type.value, n->chassis.value}, 4) || n_numa < 0 ||
            n_numa > c->n_vertices || n->first_numa < 0 || n->first_numa > c->n_vertices - n_numa)
            return false;
    }
    for (int i = 0; i < c->n_vertices; i++) {
        const struct sy_vertex *v = &c->vertices[i];
        bool device = sy_vertex_is_device(v);
        uint32_t texts[] = {v->id, v->pci.value, v->uuid.value, v->device.value, v->domain.value, v->cpus.value};
        if (!texts_hold(c, texts, 6) || !in(v->node, c->n_nodes) || !in(v->type, c->n_device_types) ||
            !in(v->port, c->n_link_types) || v->kind >= SY_N_VERTEX_KINDS || (device && (v->type < 0 || v->node < 0)))
            return false;
    }
    return true;
}

static bool types_hold(const struct sy_cluster *c)
{
    for (int i = 0; i < c->n_device_types; i++)
        if (!texts_hold(c, (uint32_t[]){c->device_types[i].name, c->device_types[i].model.value}, 2))
            return false;
    for (int i = 0; i < c->n_link_types; i++)
        if (!texts_hold(c, &c->link_types[i].name, 1) || c->link_types[i].cls < 0 ||
            c->link_types[i].cls >= SY_N_LINK_CLASSES)
            return false;
    for (int i = 0; i < c->n_facts; i++)
        if (!texts_hold(c, (uint32_t[]){c->facts[i].key, c->facts[i].value.value}, 2) || c->facts[i].node < 0 ||
            c->facts[i].node >= c->n_nodes)
            return false;
    return texts_hold(c, &c->name, 1) && texts_hold(c, c->pools->files, c->pools->n_files);
}

static bool links_hold(const struct sy_cluster *c)
{
    for (int i = 0; i < c->n_links; i++) {
        const struct sy_link *l = &c->links[i];
        if (l->from < 0 || l->to < 0 || l->type < 0 || l->from >= c->n_vertices || l->to >= c->n_vertices ||
            l->type >= c->n_link_types)
            return false;
    }
    for (int i = 0; i < c->n_fabrics; i++) {
        const struct sy_fabric *f = &c->fabrics[i];
        if (!texts_hold(c, (uint32_t[]){f->name, f->domain.value}, 2) || f->kind < 0 || f->kind >= SY_N_FABRIC_KINDS ||
            f->port < 0 || f->port >= c->n_link_types || f->first_member < 0 || f->n_members < 0 ||
            f->first_member > c->n_members - f->n_members || sy_int_or(f->rails, 1) > SY_FABRIC_SWITCHES_MAX ||
            sy_int_or(f->planes, 1) > SY_FABRIC_SWITCHES_MAX || sy_int_or(f->planes, 1) < 1)
            return false;
    }
    for (int i = 0; i < c->n_members; i++)
        if (c->members[i] < 0 || c->members[i] >= c->n_vertices)
            return false;
    for (int i = 0; i < c->n_map; i++)
        if (c->map[i] < 0 || c->map[i] >= c->n_vertices)
            return false;
    return true;
}

/* The texts, and each of them in the table. */
static bool take_texts(struct sy_cluster *c, struct sy_cursor *in, size_t n)
{
    struct sy_buf bytes = SY_BUF_INIT;
    bool held = n && in->len - in->at >= n && sy_buf_reserve(&bytes, n);

    if (held) {
        bytes.len = n;
        held = sy_cursor_take(in, bytes.data, n) && !bytes.data[0] && !bytes.data[n - 1];
    }
    /* Interned in the same order they get the same numbers. */
    for (size_t at = 1; at < n && held; at += strlen((char *)bytes.data + at) + 1)
        held = sy_cluster_intern(c, (char *)bytes.data + at) == at;
    sy_buf_fini(&bytes);
    return held;
}

static bool take_arrays(struct sy_cluster *c, struct sy_cursor *in, const struct head *h)
{
    struct array arrays[N_ARRAYS];

    list_arrays(c, h, arrays);
    for (int i = 0; i < N_ARRAYS; i++) {
        size_t n = (size_t)arrays[i].count, bytes = n * arrays[i].item_bytes, room = 8;
        if (arrays[i].count < 0 || n > (in->len - in->at) / arrays[i].item_bytes)
            return false;
        /* Arrays grow at powers of two: that much is there now. */
        while (room < n)
            room *= 2;
        void *items = realloc(*arrays[i].items, room * arrays[i].item_bytes);
        if (!items)
            return false;
        *arrays[i].items = items;
        if (n && !sy_cursor_take(in, items, bytes))
            return false;
        *arrays[i].n = arrays[i].count;
    }
    return true;
}

enum sy_status sy_cluster_unpack(struct sy_cursor *in, struct sy_cluster **cluster, struct sy_error *err)
{
    struct sy_cluster *c = sy_cluster_create();
    struct head h;

    if (!c)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a cluster");
    bool held = sy_cursor_take(in, &h, sizeof h) && h.magic == MAGIC && take_texts(c, in, h.text_bytes) &&
                take_arrays(c, in, &h);
    if (held) {
        c->name = h.name;
        c->policy = h.policy;
        held = vertices_hold(c) && types_hold(c) && links_hold(c);
    }
    if (!held) {
        bool memory = c->out_of_memory;
        sy_cluster_destroy(c);
        return memory ? sy_error_set(err, SY_ERR_SYSTEM, "no memory for a cluster")
                      : sy_error_set(err, SY_ERR_DATA, "these bytes are no cluster of this version");
    }
    sy_cluster_reindex(c);
    enum sy_status st = sy_cluster_finish(c, err);
    if (st != SY_OK)
        sy_cluster_destroy(c);
    else
        *cluster = c;
    return st;
}
