/* SPDX-License-Identifier: Apache-2.0
 * cluster_link.c - links inside of a node
 */
#include <stdlib.h>
#include <string.h>

#include "cluster_private.h"
#include "model_private.h"

/* NVLinks of a GPU by compute capability, as the makers' data sheets have them. */
static int most_lanes(int64_t sm)
{
    if (sm >= 90)
        return 18;
    if (sm == 86 || sm == 60)
        return 4;
    return sm >= 80 ? 12 : sm >= 70 ? 6 : 0;
}

/* One entry of a list of links, read. */
struct entry {
    const struct sy_yaml *at, *from, *to; /* where it stands; from and to: what names the ends */
    int type;
    struct sy_int count;
};

static bool add(struct sy_reader *r, const struct entry *e, int node, const char *from, const char *to)
{
    int a = sy_reader_vertex(r, e->from, node, from), b = a < 0 ? -1 : sy_reader_vertex(r, e->to, node, to);

    if (a < 0 || b < 0)
        return false;
    if (a == b) {
        sy_reader_error(r, e->to, "a link from '%s' to itself", from);
        return false;
    }
    if (r->cluster->n_links >= SY_LINKS_MAX) {
        sy_reader_error(r, e->at, "more than %d links", SY_LINKS_MAX);
        return false;
    }
    return sy_cluster_add_link(r->cluster, a, b, e->type, e->count, sy_reader_source(e->at)) >= 0;
}

/* Every one of `from` with every one of `to`. */
static void add_product(struct sy_reader *r, const struct entry *e, int node)
{
    struct sy_range from, to = {0};
    bool held = sy_reader_range(r, e->from, &from);

    held &= sy_reader_range(r, e->to, &to);
    for (int i = 0; i < from.n && held; i++)
        for (int k = 0; k < to.n && held; k++)
            held = add(r, e, node, from.names[i], to.names[k]);
    sy_range_fini(&from);
    sy_range_fini(&to);
}

/* The first of one list with the first of the other, and so on. */
static void add_pairs(struct sy_reader *r, struct entry *e, int node, const struct sy_yaml *zip)
{
    struct sy_range from, to = {0};

    if (zip->n != 2) {
        sy_reader_error(r, zip, "zip has two ranges, found %d", zip->n);
        return;
    }
    e->from = zip->items[0];
    e->to = zip->items[1];
    bool held = sy_reader_range(r, e->from, &from);
    held &= sy_reader_range(r, e->to, &to);
    if (held && from.n != to.n) {
        sy_reader_error(r, e->to, "zip of %d with %d: '%s' and '%s' have not the same number of names", from.n, to.n,
                        e->from->text, e->to->text);
        sy_reader_note(r, e->from, "%d names here", from.n);
        held = false;
    }
    for (int i = 0; i < from.n && held; i++)
        held = add(r, e, node, from.names[i], to.names[i]);
    sy_range_fini(&from);
    sy_range_fini(&to);
}

/* Every pair of a list. */
static void add_mesh(struct sy_reader *r, struct entry *e, int node, const struct sy_yaml *mesh)
{
    struct sy_range names;

    e->from = e->to = mesh;
    bool held = sy_reader_range(r, mesh, &names);
    for (int i = 0; i < names.n && held; i++)
        for (int k = i + 1; k < names.n && held; k++)
            held = add(r, e, node, names.names[i], names.names[k]);
    sy_range_fini(&names);
}

static void read_entry(struct sy_reader *r, const struct sy_yaml *item, int node, const struct sy_replace *replace)
{
    enum { FROM, TO, ZIP, MESH, TYPE, COUNT, N };
    static const struct sy_key keys[N] = {{"from", SY_TAKES_TEXT, false}, {"to", SY_TAKES_TEXT, false},
                                          {"zip", SY_TAKES_LIST, false},  {"mesh", SY_TAKES_TEXT, false},
                                          {"type", SY_TAKES_TEXT, true},  {"count", SY_TAKES_TEXT, false}};
    struct sy_yaml *v[N];
    struct entry e = {.at = item};
    bool held = sy_reader_map(r, item, "a link", keys, N, v);

    if (v[TYPE]) {
        int type = sy_replace_entry(r, replace, false, v[TYPE]);
        e.type = type < 0 ? -1 : r->link_types.items[type].number;
    }
    held &= sy_reader_int(r, v[COUNT], 1, 4096, &e.count);
    if (!held || !v[TYPE] || e.type < 0) {
        r->links_missing = true;
        return;
    }
    int n_ways = (v[FROM] || v[TO]) + (v[ZIP] != NULL) + (v[MESH] != NULL);
    if (n_ways != 1 || !v[FROM] != !v[TO]) {
        sy_reader_error(r, item, "a link has either 'from' and 'to', or 'zip', or 'mesh'");
        r->links_missing = true;
        return;
    }
    if (v[ZIP]) {
        add_pairs(r, &e, node, v[ZIP]);
    } else if (v[MESH]) {
        add_mesh(r, &e, node, v[MESH]);
    } else {
        e.from = v[FROM];
        e.to = v[TO];
        add_product(r, &e, node);
    }
}

void sy_reader_links(struct sy_reader *r, const struct sy_yaml *list, int node, const struct sy_replace *replace)
{
    for (int i = 0; list && i < list->n; i++)
        read_entry(r, list->items[i], node, replace);
}

/* A link as what makes it the same as another: its ends, in whatever order, and its class. */
struct ends {
    int low, high, cls, link;
};

static int by_ends(const void *x, const void *y)
{
    const struct ends *a = x, *b = y;

    if (a->low != b->low)
        return a->low < b->low ? -1 : 1;
    if (a->high != b->high)
        return a->high < b->high ? -1 : 1;
    if (a->cls != b->cls)
        return a->cls < b->cls ? -1 : 1;
    return a->link < b->link ? -1 : 1;
}

static void find_twice(struct sy_reader *r, int first_link)
{
    const struct sy_cluster *c = r->cluster;
    int n = c->n_links - first_link;
    struct ends *list = calloc((size_t)n + 1, sizeof *list);
    struct sy_source said[2] = {{0}, {0}};
    char a[300], b[300];

    for (int i = 0; i < n && list; i++) {
        const struct sy_link *l = &c->links[first_link + i];
        bool turned = l->from > l->to;
        list[i] = (struct ends){turned ? l->to : l->from, turned ? l->from : l->to, c->link_types[l->type].cls,
                                first_link + i};
    }
    if (list)
        qsort(list, (size_t)n, sizeof *list, by_ends);
    for (int i = 1; i < n && list; i++) {
        if (list[i].low != list[i - 1].low || list[i].high != list[i - 1].high || list[i].cls != list[i - 1].cls)
            continue;
        const struct sy_link *one = &c->links[list[i - 1].link], *two = &c->links[list[i].link];
        /* Two entries that have a hundred pairs in common are one mistake. */
        if (sy_source_equal(one->source, said[0]) && sy_source_equal(two->source, said[1]))
            continue;
        said[0] = one->source;
        said[1] = two->source;
        bool same = one->type == two->type && sy_int_or(one->count, 1) == sy_int_or(two->count, 1);
        sy_report_error(r->report, sy_cluster_place(c, two->source),
                        "a second link of class %s between '%s' and '%s'%s", sy_link_class_name(list[i].cls),
                        sy_cluster_text(c, c->vertices[list[i].low].id),
                        sy_cluster_text(c, c->vertices[list[i].high].id),
                        same ? "; more lanes are said by 'count'" : ", with other values");
        sy_source_note(r, one->source, "%s to %s is here already", sy_cluster_show(c, list[i].low, a, sizeof a),
                       sy_cluster_show(c, list[i].high, b, sizeof b));
    }
    free(list);
}

/* Lanes of NVLink of each GPU, and whether each switch has links. */
static void check_ends(struct sy_reader *r, int node, int first_link)
{
    const struct sy_cluster *c = r->cluster;
    int first = c->nodes[node].first_numa, n = c->n_vertices - first;
    int64_t *lanes = calloc((size_t)n + 1, sizeof *lanes);
    bool *linked = calloc((size_t)n + 1, sizeof *linked);
    struct sy_source said = {0};

    for (int l = first_link; l < c->n_links && lanes && linked; l++)
        for (int end = 0; end < 2; end++) {
            int v = (end ? c->links[l].to : c->links[l].from) - first;
            linked[v] = true;
            if (c->link_types[c->links[l].type].cls == SY_LINK_NVLINK)
                lanes[v] += sy_int_or(c->links[l].count, 1);
        }
    for (int i = 0; i < n && lanes && linked; i++) {
        const struct sy_vertex *v = &c->vertices[first + i];
        bool is_switch = v->kind == SY_VERTEX_NVSWITCH || v->kind == SY_VERTEX_PCIE || v->kind == SY_VERTEX_MEMORY;
        if (is_switch && !linked[i] && !sy_source_equal(v->from, said) && !r->incomplete && !r->links_missing)
            sy_report_error(r->report, sy_cluster_place(c, v->from), "switch '%s' has no links",
                            sy_cluster_text(c, v->id));
        if (is_switch && !linked[i])
            said = v->from;
        int64_t sm = v->type >= 0 ? sy_int_or(c->device_types[v->type].sm, 0) : 0;
        if (v->kind == SY_VERTEX_GPU && sm && lanes[i] > most_lanes(sm) && !sy_source_equal(v->from, said)) {
            said = v->from;
            sy_report_warning(r->report, sy_cluster_place(c, v->from),
                              "'%s' has %lld lanes of NVLink, and a GPU with sm %lld has at most %d",
                              sy_cluster_text(c, v->id), (long long)lanes[i], (long long)sm, most_lanes(sm));
            for (int l = first_link; l < c->n_links; l++)
                if ((c->links[l].from == first + i || c->links[l].to == first + i) &&
                    c->link_types[c->links[l].type].cls == SY_LINK_NVLINK) {
                    sy_source_note(r, c->links[l].source, "the first of them are here");
                    break;
                }
        }
    }
    free(lanes);
    free(linked);
}

void sy_reader_node_links(struct sy_reader *r, int node, int first_link)
{
    find_twice(r, first_link);
    check_ends(r, node, first_link);
}
