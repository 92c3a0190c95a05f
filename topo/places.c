/* SPDX-License-Identifier: Apache-2.0
 * places.c - where a cluster's ranks run, for a launcher: one line for each rank
 */
#include "places.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The CPUs that a device's rank should take, by the system's numbers; NULL: nothing says them. */
static const char *cpus_of(const struct sy_cluster *c, const struct sy_vertex *v)
{
    const struct sy_node *node = &c->nodes[v->node];

    if (v->kind == SY_VERTEX_GPU && SY_KNOWN(v->numa) && v->numa.value >= 0 &&
        v->numa.value < sy_int_or(node->n_numa, 1))
        v = &c->vertices[node->first_numa + v->numa.value];
    return SY_KNOWN(v->cpus) ? sy_cluster_text(c, v->cpus.value) : NULL;
}

/* first[v]: the number of a CPU device's first core in its node, -1 where that or its size is not told. */
static void count_cores(const struct sy_cluster *c, int64_t *next, int64_t *first)
{
    for (int n = 0; n < c->n_nodes; n++)
        next[n] = 0;
    for (int i = 0; i < c->n_vertices; i++) {
        const struct sy_vertex *v = &c->vertices[i];
        first[i] = -1;
        if (v->kind != SY_VERTEX_CPU || v->node < 0 || next[v->node] < 0)
            continue;
        const struct sy_device_type *type = v->type < 0 ? NULL : &c->device_types[v->type];
        if (!type || !SY_KNOWN(type->cores)) {
            next[v->node] = -1;
            continue;
        }
        first[i] = next[v->node];
        next[v->node] += type->cores.value;
    }
}

static const char *host_of(const struct sy_cluster *c, const struct sy_node *node)
{
    const char *host = SY_KNOWN(node->host) ? sy_cluster_text(c, node->host.value) : "";

    return *host && !strpbrk(host, "*?[") ? host : sy_cluster_text(c, node->name);
}

bool sy_places_write(const struct sy_cluster *c, struct sy_buf *out)
{
    int64_t *next = malloc(((size_t)c->n_nodes + 1) * sizeof *next);
    int64_t *first = malloc(((size_t)c->n_vertices + 1) * sizeof *first);
    bool all_cpus = true, all_cores = true, good = next && first;

    if (good)
        count_cores(c, next, first);
    for (int r = 0; r < c->n_ranks && good; r++) {
        all_cpus = all_cpus && cpus_of(c, &c->vertices[c->ranks[r]]);
        all_cores = all_cores && first[c->ranks[r]] >= 0;
    }
    for (int r = 0; r < c->n_ranks && good; r++) {
        const struct sy_vertex *v = &c->vertices[c->ranks[r]];
        good = sy_buf_printf(out, "%s ", host_of(c, &c->nodes[v->node]));
        if (!good)
            break;
        int64_t core = first[c->ranks[r]];
        if (all_cpus)
            good = sy_buf_printf(out, "cpus=%s\n", cpus_of(c, v));
        else if (all_cores)
            good = sy_buf_printf(out, "cores=%" PRId64 "-%" PRId64 "\n", core,
                                 core + c->device_types[v->type].cores.value - 1);
        else
            good = sy_buf_printf(out, "-\n");
    }
    free(next);
    free(first);
    return good;
}
