/* SPDX-License-Identifier: Apache-2.0
 * path.c - the best path: first by class, then by bandwidth, then by length
 */
#include "path.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a walk from one vertex knows of another. */
struct place {
    int rank; /* worst class of a link on the way, in the order of enum sy_link_class */
    int n_links;
    double bw;    /* INFINITY: no link has a limit */
    bool unknown; /* a link's bandwidth is */
    double latency;
    bool timed; /* some link tells its latency */
    int by;     /* the last link; -1 */
    int via;    /* the vertex before; -1 */
    bool done;
};

struct heap {
    bool by_class; /* of two places the better class is better, whatever the bandwidth */
    int *items;    /* vertices; one that improved is in it again */
    int n, room;
};

static bool better(const struct heap *h, const struct place *a, const struct place *b)
{
    if (h->by_class && a->rank != b->rank)
        return a->rank < b->rank;
    if (a->unknown != b->unknown)
        return b->unknown;
    if (a->bw != b->bw)
        return a->bw > b->bw;
    return a->n_links < b->n_links;
}

static bool push(struct heap *h, const struct place *places, int v)
{
    if (h->n == h->room) {
        int room = h->room ? 2 * h->room : 256;
        int *more = realloc(h->items, (size_t)room * sizeof *more);
        if (!more)
            return false;
        h->items = more;
        h->room = room;
    }
    int at = h->n++;
    while (at && better(h, &places[v], &places[h->items[(at - 1) / 2]])) {
        h->items[at] = h->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    h->items[at] = v;
    return true;
}

static int pop(struct heap *h, const struct place *places)
{
    int top = h->items[0], last = h->items[--h->n], at = 0;

    for (;;) {
        int child = 2 * at + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && better(h, &places[h->items[child + 1]], &places[h->items[child]]))
            child++;
        if (!better(h, &places[h->items[child]], &places[last]))
            break;
        h->items[at] = h->items[child];
        at = child;
    }
    h->items[at] = last;
    return top;
}

/* Rows do not pass through a GPU to another link, and not through a NIC from one network to another. */
static bool passes(const struct sy_cluster *c, int v, int in, int out)
{
    int kind = c->vertices[v].kind, a = c->link_types[c->links[in].type].cls, b = c->link_types[c->links[out].type].cls;

    if (kind == SY_VERTEX_NIC)
        return (a >= SY_LINK_IB) != (b >= SY_LINK_IB);
    return kind != SY_VERTEX_GPU;
}

static struct place step(const struct sy_cluster *c, const struct place *from, int vertex, int link)
{
    const struct sy_link_type *type = &c->link_types[c->links[link].type];
    struct sy_real bw = sy_link_capacity(c, link);
    struct place next = *from;

    next.rank = type->cls > from->rank ? type->cls : from->rank;
    next.n_links++;
    if (type->cls != SY_LINK_LOCAL) {
        next.unknown |= !SY_KNOWN(bw);
        if (SY_KNOWN(bw) && bw.value < next.bw)
            next.bw = bw.value;
    }
    next.latency += sy_real_or(type->latency, 0);
    next.timed |= SY_KNOWN(type->latency);
    next.by = link;
    next.via = vertex;
    next.done = false;
    return next;
}

/* Best places by class, or the widest over links up to max_class. Neither gets better along a path, so the best place of all is
 * final when it leaves the heap. */
static bool walk(const struct sy_cluster *c, int from, int max_class, bool by_class, struct place *places)
{
    struct heap heap = {.by_class = by_class};

    for (int v = 0; v < c->n_vertices; v++)
        places[v] = (struct place){.rank = INT_MAX, .n_links = INT_MAX, .bw = -1, .unknown = true, .by = -1, .via = -1};
    places[from] = (struct place){.bw = INFINITY, .by = -1, .via = -1};
    bool held = push(&heap, places, from);
    while (heap.n && held) {
        int v = pop(&heap, places);
        if (places[v].done)
            continue;
        places[v].done = true;
        for (int i = c->first_edge[v]; i < c->first_edge[v + 1] && held; i++) {
            int l = c->edges[i], w = c->links[l].from == v ? c->links[l].to : c->links[l].from;
            if ((int)c->link_types[c->links[l].type].cls > max_class || places[w].done ||
                (places[v].by >= 0 && !passes(c, v, places[v].by, l)))
                continue;
            struct place next = step(c, &places[v], v, l);
            if (better(&heap, &next, &places[w])) {
                places[w] = next;
                held = push(&heap, places, w);
            }
        }
    }
    free(heap.items);
    return held;
}

/* The class of the path that ends here, by what it goes through. */
static enum sy_path_class classify(const struct sy_cluster *c, const struct place *places, int to)
{
    int worst = places[to].rank, n_pcie = 0, n_numa = 0;
    bool io = false;

    if (worst == INT_MAX)
        return SY_PATH_NONE;
    if (places[to].by < 0)
        return SY_PATH_SELF;
    for (int v = to; v >= 0; v = places[v].via) {
        n_pcie += c->vertices[v].kind == SY_VERTEX_PCIE;
        n_numa += c->vertices[v].kind == SY_VERTEX_NUMA;
        io |= c->vertices[v].kind == SY_VERTEX_GPU || c->vertices[v].kind == SY_VERTEX_NIC;
    }
    if (worst >= SY_LINK_IB)
        return SY_PATH_NETWORK;
    if (worst == SY_LINK_SMP)
        return SY_PATH_SOCKETS;
    if (worst == SY_LINK_PCIE && !n_numa)
        return n_pcie > 1 ? SY_PATH_PXB : SY_PATH_PIX;
    if (worst == SY_LINK_PCIE || (n_numa && io))
        return SY_PATH_HOST;
    if (worst == SY_LINK_NVLINK)
        return SY_PATH_NVLINK;
    if (worst == SY_LINK_C2C)
        return SY_PATH_C2C;
    return SY_PATH_SHM;
}

static struct sy_path describe(const struct sy_cluster *c, const struct place *places, int to)
{
    const struct place *p = &places[to];
    struct sy_path path = {.cls = classify(c, places, to)};

    if (path.cls == SY_PATH_NONE)
        return path;
    path.n_links = p->n_links;
    if (!p->unknown && isfinite(p->bw))
        path.bw = sy_real_of(p->bw, sy_source_of(SY_ORIGIN_DEFAULT));
    if (p->timed)
        path.latency = sy_real_of(p->latency, sy_source_of(SY_ORIGIN_DEFAULT));
    return path;
}

static bool is_nvlink(const struct sy_cluster *c, int link)
{
    return c->link_types[c->links[link].type].cls == SY_LINK_NVLINK;
}

static int other_end(const struct sy_cluster *c, int link, int vertex)
{
    return c->links[link].from == vertex ? c->links[link].to : c->links[link].from;
}

/* Bandwidth and lanes that one way of NVLink adds to a path; a link of unknown rate makes all of it unknown. */
static void widen(struct sy_path *path, double bw, bool unknown, int64_t lanes, double latency, bool timed)
{
    bool first = path->cls != SY_PATH_NVLINK;

    if (first)
        *path = (struct sy_path){.cls = SY_PATH_NVLINK};
    if (unknown)
        path->bw = (struct sy_real){0};
    else if (first || SY_KNOWN(path->bw))
        path->bw = sy_real_of((first ? 0 : path->bw.value) + bw, sy_source_of(SY_ORIGIN_DEFAULT));
    path->n_lanes += (int)lanes;
    if (timed && (!SY_KNOWN(path->latency) || latency < path->latency.value))
        path->latency = sy_real_of(latency, sy_source_of(SY_ORIGIN_DEFAULT));
}

/* GPUs reach each other over all their links and all switches at once, which are one to NCCL too. */
static void add_nvlink(const struct sy_cluster *c, int from, struct sy_path *paths)
{
    for (int i = c->first_edge[from]; i < c->first_edge[from + 1]; i++) {
        int l = c->edges[i], s = other_end(c, l, from);
        struct sy_real here = sy_link_capacity(c, l);
        const struct sy_link_type *type = &c->link_types[c->links[l].type];
        int64_t lanes = sy_int_or(c->links[l].count, 1);
        if (!is_nvlink(c, l))
            continue;
        if (c->vertices[s].kind != SY_VERTEX_NVSWITCH && c->vertices[s].kind != SY_VERTEX_FABRIC) {
            widen(&paths[s], here.value, !SY_KNOWN(here), lanes, type->latency.value, SY_KNOWN(type->latency));
            paths[s].n_links = 1;
            continue;
        }
        for (int j = c->first_edge[s]; j < c->first_edge[s + 1]; j++) {
            int m = c->edges[j], to = other_end(c, m, s);
            struct sy_real there = sy_link_capacity(c, m);
            const struct sy_link_type *last = &c->link_types[c->links[m].type];
            if (!is_nvlink(c, m) || to == from || c->vertices[to].kind != SY_VERTEX_GPU)
                continue;
            int64_t lanes_there = sy_int_or(c->links[m].count, 1);
            widen(&paths[to], here.value < there.value ? here.value : there.value, !SY_KNOWN(here) || !SY_KNOWN(there),
                  lanes < lanes_there ? lanes : lanes_there,
                  sy_real_or(type->latency, 0) + sy_real_or(last->latency, 0),
                  SY_KNOWN(type->latency) || SY_KNOWN(last->latency));
            paths[to].n_links = 2;
        }
    }
}

/* GPUs that only a third one connects by NVLink. */
static void add_relays(const struct sy_cluster *c, int from, struct sy_path *paths)
{
    for (int i = c->first_edge[from]; i < c->first_edge[from + 1]; i++) {
        int l = c->edges[i], relay = other_end(c, l, from);
        if (!is_nvlink(c, l) || c->vertices[relay].kind != SY_VERTEX_GPU)
            continue;
        for (int j = c->first_edge[relay]; j < c->first_edge[relay + 1]; j++) {
            int m = c->edges[j], to = other_end(c, m, relay);
            if (!is_nvlink(c, m) || to == from || c->vertices[to].kind != SY_VERTEX_GPU ||
                paths[to].cls < SY_PATH_RELAY)
                continue;
            struct sy_real a = sy_link_capacity(c, l), b = sy_link_capacity(c, m);
            double bw = a.value < b.value ? a.value : b.value;
            bool known = SY_KNOWN(a) && SY_KNOWN(b);
            if (paths[to].cls == SY_PATH_RELAY && (!known || (SY_KNOWN(paths[to].bw) && paths[to].bw.value >= bw)))
                continue;
            paths[to] = (struct sy_path){.cls = SY_PATH_RELAY, .n_links = 2};
            if (known)
                paths[to].bw = sy_real_of(bw, sy_source_of(SY_ORIGIN_DEFAULT));
        }
    }
}

static enum sy_status no_memory(const struct sy_cluster *c, struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the paths between %d vertices", c->n_vertices);
}

/* The walk by class tells how good a class each vertex can have; the widest path of that class is found by a walk over links of
 * at most that class. */
static enum sy_status find_paths(const struct sy_cluster *c, int from, struct sy_path *paths, struct sy_error *err)
{
    struct place *places = malloc(2 * ((size_t)c->n_vertices + 1) * sizeof *places), *wide = places + c->n_vertices;
    bool held = places && walk(c, from, SY_N_LINK_CLASSES, true, places);

    for (int v = 0; v < c->n_vertices && held; v++)
        paths[v] = (struct sy_path){.cls = SY_PATH_NONE};
    for (int cls = 0; cls < SY_N_LINK_CLASSES && held; cls++) {
        bool walked = false;
        for (int v = 0; v < c->n_vertices && held; v++) {
            if (places[v].rank != cls)
                continue;
            held = walked || walk(c, from, cls, false, wide);
            walked = true;
            if (held)
                paths[v] = describe(c, wide, v);
        }
    }
    free(places);
    return held ? SY_OK : no_memory(c, err);
}

enum sy_status sy_paths_from(const struct sy_cluster *c, int from, struct sy_path *paths, struct sy_error *err)
{
    enum sy_status st = find_paths(c, from, paths, err);

    if (st != SY_OK || c->vertices[from].kind != SY_VERTEX_GPU)
        return st;
    /* Of paths between GPUs over NVLink more is said than a walk can find. */
    for (int v = 0; v < c->n_vertices; v++)
        if (v != from && paths[v].cls == SY_PATH_NVLINK && c->vertices[v].kind == SY_VERTEX_GPU)
            paths[v].cls = SY_PATH_NONE;
    add_nvlink(c, from, paths);
    add_relays(c, from, paths);
    return SY_OK;
}

enum sy_status sy_path_find(const struct sy_cluster *c, int from, int to, struct sy_path *path, int *links,
                            int links_max, struct sy_error *err)
{
    struct sy_path *paths = malloc(((size_t)c->n_vertices + 1) * sizeof *paths);
    struct place *places = malloc(((size_t)c->n_vertices + 1) * sizeof *places);
    enum sy_status st = SY_OK;

    if (!paths || !places || !walk(c, from, SY_N_LINK_CLASSES, true, places) ||
        (places[to].rank != INT_MAX && !walk(c, from, places[to].rank, false, places)))
        st = no_memory(c, err);
    else
        st = sy_paths_from(c, from, paths, err);
    if (st == SY_OK) {
        *path = paths[to];
        int at = places[to].by < 0 ? 0 : places[to].n_links;
        for (int v = to; v >= 0 && places[v].by >= 0; v = places[v].via)
            if (--at < links_max && links)
                links[at] = places[v].by;
    }
    free(paths);
    free(places);
    return st;
}

const char *sy_path_class_name(enum sy_path_class cls)
{
    static const char *const names[SY_N_PATH_CLASSES] = {"X",   "NVL", "NVB", "C2C", "SHM", "PIX",
                                                         "PXB", "PHB", "SYS", "NET", "-"};
    return names[cls];
}
