/* SPDX-License-Identifier: Apache-2.0
 * gather.c - every node's first rank looks around, rank 0 puts the nodes together
 *
 * What is sent: the number of findings, the findings, the packed cluster of one node.
 */
#include "cli/gather.h"

#include <hwloc.h>
#include <stdlib.h>
#include <string.h>

#include "append.h"

static void name_of(struct sy_group *group, int rank, char *out, size_t out_bytes)
{
    const char *host = sy_group_host(group, rank);
    int node = sy_group_node_of(group, rank), len = (int)strcspn(host, ".");

    snprintf(out, out_bytes, "%.*s", len ? len : (int)strlen(host), host);
    for (int r = 0; r < sy_group_size(group); r++) {
        const char *other = sy_group_host(group, r);
        if (sy_group_node_of(group, r) < node && !strncmp(other, host, (size_t)len) &&
            strcspn(other, ".") == (size_t)len) {
            snprintf(out, out_bytes, "%.*s-%d", len, host, node);
            return;
        }
    }
}

static enum sy_status look(struct sy_group *group, struct sy_view *view, struct hwloc_topology **topology,
                           struct sy_buf *out, struct sy_error *err)
{
    struct sy_findings found = SY_FINDINGS_INIT;
    struct sy_cluster *cluster = sy_cluster_create();
    char name[256];
    enum sy_status st = sy_view_discover(NULL, "", view, topology, &found, err);

    if (!st && !cluster)
        st = sy_error_set(err, SY_ERR_SYSTEM, "no memory for a cluster");
    name_of(group, sy_group_rank(group), name, sizeof name);
    if (!st)
        st = sy_view_add(view, name, sy_source_of(SY_ORIGIN_DISCOVERED), cluster, err);
    int32_t n = found.n;
    if (!st &&
        !(sy_buf_append(out, &n, sizeof n) && (!n || sy_buf_append(out, found.list, (size_t)n * sizeof *found.list))))
        st = sy_error_set(err, SY_ERR_SYSTEM, "no memory for a cluster");
    if (!st)
        st = sy_cluster_pack(cluster, out, err);
    sy_cluster_destroy(cluster);
    sy_findings_fini(&found);
    return st;
}

/* One node's bytes. Where there are several nodes its findings say which it is. */
static enum sy_status take(struct sy_group *group, int rank, const struct sy_buf *in, struct sy_cluster *all,
                           struct sy_findings *findings, struct sy_error *err)
{
    struct sy_cursor cursor = {in->data, in->len, 0};
    struct sy_cluster *one = NULL;
    struct sy_finding f;
    int32_t n = 0;

    if (!sy_cursor_take(&cursor, &n, sizeof n))
        return sy_error_set(err, SY_ERR_INTERNAL, "rank %d sent %zu bytes for a node", rank, in->len);
    for (int i = 0; i < n && sy_cursor_take(&cursor, &f, sizeof f); i++) {
        char where[400];
        bool several = sy_group_n_nodes(group) > 1;
        snprintf(where, sizeof where, "%s%s%s", several ? sy_group_host(group, rank) : "",
                 several && f.where[0] ? " " : "", f.where);
        sy_findings_add(findings, f.severity, where, "%s", f.text);
    }
    enum sy_status st = sy_cluster_unpack(&cursor, &one, err);
    if (!st)
        st = sy_cluster_append(all, one, err);
    sy_cluster_destroy(one);
    return st;
}

static enum sy_status put_together(struct sy_group *group, const struct sy_buf *in, struct sy_cluster **cluster,
                                   struct sy_findings *findings, struct sy_error *err)
{
    struct sy_cluster *all = sy_cluster_create();
    enum sy_status st = all ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for a cluster");

    for (int r = 0; r < sy_group_size(group) && !st; r++)
        if (in[r].len)
            st = take(group, r, &in[r], all, findings, err);
    if (!st) {
        sy_cluster_add_network(all);
        st = sy_cluster_finish(all, err);
    }
    if (st)
        sy_cluster_destroy(all);
    else
        *cluster = all;
    return st;
}

enum sy_status sy_gather_cluster(struct sy_group *group, struct sy_cluster **cluster, struct sy_view **view,
                                 struct hwloc_topology **topology, struct sy_findings *findings, struct sy_error *err)
{
    bool root = sy_group_rank(group) == 0;
    struct sy_buf mine = SY_BUF_INIT, *in = calloc((size_t)sy_group_size(group), sizeof *in);
    struct sy_view *seen = sy_view_create();
    struct hwloc_topology *loaded = NULL;
    enum sy_status st = in && seen ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for a cluster");

    *cluster = NULL;
    if (!st && sy_group_node_rank(group) == 0)
        st = look(group, seen, root && topology ? &loaded : NULL, &mine, err);
    st = sy_group_agree(group, st, err);
    if (!st)
        st = sy_group_gather(group, 0, &mine, root ? in : NULL, err);
    if (!st)
        st = sy_group_agree(group, root ? put_together(group, in, cluster, findings, err) : SY_OK, err);
    for (int r = 0; in && r < sy_group_size(group); r++)
        sy_buf_fini(&in[r]);
    free(in);
    sy_buf_fini(&mine);
    if (!st && root && view)
        *view = seen;
    else
        sy_view_destroy(seen);
    if (!st && loaded)
        *topology = loaded;
    else if (loaded)
        hwloc_topology_destroy(loaded);
    return st;
}
