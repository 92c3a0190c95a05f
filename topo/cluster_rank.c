/* SPDX-License-Identifier: Apache-2.0
 * cluster_rank.c - policy, and which rank runs where
 */
#include <stdlib.h>
#include <string.h>

#include "cluster_private.h"

void sy_reader_policy(struct sy_reader *r)
{
    enum { CROSS_RAIL, DISCOVER, N };
    static const struct sy_key keys[N] = {{"cross_rail", SY_TAKES_TEXT, false}, {"discover", SY_TAKES_TEXT, false}};
    static const char *const rails[] = {"direct", "via_nvlink"}, *const discover[] = {"fill", "verify", "off"};
    struct sy_policy *policy = &r->cluster->policy;
    struct sy_yaml *v[N];
    int choice;

    if (!r->policy)
        return;
    sy_reader_map(r, r->policy, "policy", keys, N, v);
    if (v[CROSS_RAIL] && sy_reader_choice(r, v[CROSS_RAIL], "way across rails", rails, 2, &choice))
        policy->via_nvlink = sy_int_of(choice, sy_reader_source(v[CROSS_RAIL]));
    if (v[DISCOVER] && sy_reader_choice(r, v[DISCOVER], "policy", discover, 3, &choice))
        policy->discover = sy_int_of(choice, sy_reader_source(v[DISCOVER]));
}

/* The file's own list: every device once. */
static void read_map(struct sy_reader *r, const struct sy_yaml *map)
{
    struct sy_cluster *c = r->cluster;
    int *vertices = NULL, n = sy_reader_members(r, map, &vertices);
    int *rank_of = calloc((size_t)c->n_vertices + 1, sizeof *rank_of);
    char text[300];

    for (int i = 0; i < n && rank_of; i++) {
        const struct sy_vertex *v = &c->vertices[vertices[i]];
        sy_cluster_show(c, vertices[i], text, sizeof text);
        if (!sy_vertex_is_device(v)) {
            sy_reader_error(r, map, "a rank runs on a GPU or CPU device, and '%s' is of kind %s", text,
                            sy_vertex_kind_name(v->kind));
            sy_source_note(r, v->from, "it is defined here");
            break;
        }
        if (rank_of[vertices[i]]) {
            sy_reader_error(r, map, "more ranks than devices: rank %d has '%s' already, rank %d cannot have it too",
                            rank_of[vertices[i]] - 1, text, i);
            break;
        }
        rank_of[vertices[i]] = i + 1;
        sy_cluster_map_rank(c, vertices[i]);
    }
    free(rank_of);
    free(vertices);
}

void sy_reader_ranks(struct sy_reader *r)
{
    enum { ORDER, MAP, COUNT, N };
    static const struct sy_key keys[N] = {{"order", SY_TAKES_TEXT, false},
                                          {"map", SY_TAKES_TEXT | SY_TAKES_LIST, false},
                                          {"count", SY_TAKES_TEXT, false}};
    static const char *const orders[] = {"node", "round_robin"};
    struct sy_cluster *c = r->cluster;
    struct sy_error err = SY_ERROR_INIT;
    struct sy_yaml *v[N];
    struct sy_int count = {0};
    int order;

    if (!r->ranks)
        return;
    sy_reader_map(r, r->ranks, "ranks", keys, N, v);
    if (v[ORDER] && sy_reader_choice(r, v[ORDER], "order", orders, 2, &order))
        c->policy.order = sy_int_of(order, sy_reader_source(v[ORDER]));
    if (v[MAP])
        read_map(r, v[MAP]);
    if (!v[COUNT] || !sy_reader_int(r, v[COUNT], 1, SY_VERTICES_MAX, &count) || sy_cluster_finish(c, &err) != SY_OK)
        return;
    if (count.value > c->n_ranks) {
        sy_reader_error(r, v[COUNT], "more ranks than devices: %lld ranks, %d device%s", (long long)count.value,
                        c->n_ranks, c->n_ranks == 1 ? "" : "s");
        for (int i = 0; i < c->n_ranks && i < 1; i++)
            sy_source_note(r, c->vertices[c->ranks[i]].from, "the first one is defined here");
        return;
    }
    c->n_map = 0;
    for (int i = 0; i < count.value; i++)
        sy_cluster_map_rank(c, c->ranks[i]);
}
