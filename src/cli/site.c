/* SPDX-License-Identifier: Apache-2.0
 * site.c - a cluster file in a job
 */
#include "cli/site.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/gather.h"
#include "cluster.h"

/* Errors, warnings and notes as they are; err says how many. */
static enum sy_status say(struct sy_report *report, const char *path, struct sy_error *err)
{
    struct sy_buf lines = SY_BUF_INIT;
    int n = sy_report_n_errors(report);

    if (sy_report_print(report, &lines) && lines.len)
        fwrite(lines.data, 1, lines.len, stderr);
    sy_buf_fini(&lines);
    if (!n)
        return SY_OK;
    return sy_error_set(err, SY_ERR_DATA, "%s is not accepted: %d error%s", path, n, n == 1 ? "" : "s");
}

/* Opening a pipe to see would take what it holds. errno says why not. */
static bool can_read(const char *path)
{
    struct stat info;

    if (access(path, R_OK) || stat(path, &info))
        return false;
    if (!S_ISDIR(info.st_mode))
        return true;
    errno = EISDIR;
    return false;
}

enum sy_status sy_site_read(const char *path, bool alone, struct sy_cluster **cluster, struct sy_error *err)
{
    *cluster = NULL;
    if (!can_read(path))
        return sy_error_errno(err, SY_ERR_IO, "%s: cannot open", path);
    struct sy_report *report = sy_report_create();
    *cluster = sy_cluster_read(path, report);
    if (*cluster && alone)
        sy_cluster_check(*cluster, report);
    enum sy_status st = say(report, path, err);
    sy_report_destroy(report);
    return st || *cluster ? st : sy_error_set(err, SY_ERR_SYSTEM, "no memory for %s", path);
}

enum sy_status sy_site_check(const char *path, const struct sy_cluster *found, struct sy_error *err)
{
    struct sy_cluster *cluster = NULL;
    struct sy_report *report = sy_report_create();
    enum sy_status st = sy_site_read(path, false, &cluster, err);

    if (!st)
        st = sy_cluster_merge(cluster, found, SY_DISCOVER_VERIFY, report, err);
    if (!st)
        sy_cluster_check(cluster, report);
    if (!st)
        st = say(report, path, err);
    sy_report_destroy(report);
    sy_cluster_destroy(cluster);
    return st;
}

/* Rank 0's policy, on every rank. */
static enum sy_status share_policy(struct sy_group *group, const struct sy_cluster *cluster, int *policy,
                                   struct sy_error *err)
{
    struct sy_buf bytes = SY_BUF_INIT;

    if (cluster)
        *policy = (int)sy_int_or(cluster->policy.discover, SY_DISCOVER_FILL);
    enum sy_status st = sy_buf_append(&bytes, policy, sizeof *policy) ? SY_OK
                                                                      : sy_error_set(err, SY_ERR_SYSTEM, "no memory");
    st = sy_group_agree(group, st, err);
    if (!st)
        st = sy_group_bcast(group, 0, &bytes, err);
    if (!st)
        memcpy(policy, bytes.data, sizeof *policy);
    sy_buf_fini(&bytes);
    return st;
}

/* What the machines say, for rank 0's cluster. */
static enum sy_status merge(struct sy_group *group, const char *path, int policy, struct sy_cluster *cluster,
                            struct sy_error *err)
{
    struct sy_findings findings = SY_FINDINGS_INIT;
    struct sy_cluster *found = NULL;
    enum sy_status st = sy_gather_cluster(group, &found, NULL, NULL, &findings, err);

    if (!st && cluster) {
        struct sy_report *report = sy_report_create();
        st = sy_cluster_merge(cluster, found, (enum sy_discover_policy)policy, report, err);
        if (!st)
            st = say(report, path, err);
        sy_report_destroy(report);
    }
    sy_cluster_destroy(found);
    sy_findings_fini(&findings);
    return sy_group_agree(group, st, err);
}

static enum sy_status share(struct sy_group *group, struct sy_cluster **cluster, struct sy_error *err)
{
    struct sy_buf bytes = SY_BUF_INIT;
    enum sy_status st = sy_group_agree(group, *cluster ? sy_cluster_pack(*cluster, &bytes, err) : SY_OK, err);

    if (!st)
        st = sy_group_bcast(group, 0, &bytes, err);
    if (!st && !*cluster) {
        struct sy_cursor in = {bytes.data, bytes.len, 0};
        st = sy_cluster_unpack(&in, cluster, err);
    }
    sy_buf_fini(&bytes);
    return sy_group_agree(group, st, err);
}

static const char *host_of(const struct sy_cluster *c, int node)
{
    return sy_cluster_text(c, SY_KNOWN(c->nodes[node].host) ? c->nodes[node].host.value : c->nodes[node].name);
}

/* Where the file has this rank, which must be where it runs. */
static enum sy_status find_place(struct sy_group *group, const char *path, struct sy_site *site, struct sy_error *err)
{
    const struct sy_cluster *c = site->cluster;
    int rank = sy_group_rank(group), n = sy_group_size(group);

    if (n > c->n_ranks)
        return sy_error_set(err, SY_ERR_USAGE, "more ranks than devices: the job has %d, %s %d", n, path, c->n_ranks);
    site->vertex = c->ranks[rank];
    site->on_gpus = true;
    for (int r = 0; r < n; r++)
        site->on_gpus = site->on_gpus && c->vertices[c->ranks[r]].kind == SY_VERTEX_GPU;
    int node = c->vertices[site->vertex].node;
    const char *host = sy_group_host(group, rank);
    bool local = sy_group_n_nodes(group) == 1 && !strcmp(host_of(c, node), "localhost");
    if (local || sy_cluster_is_host(c, node, host))
        return SY_OK;
    return sy_error_set(err, SY_ERR_USAGE,
                        "%s has this rank on node '%s' (host %s), and it runs on %s: start the job with switchyard-run "
                        "--cluster, or change nodes, ranks or host in the file",
                        path, sy_cluster_text(c, c->nodes[node].name), host_of(c, node), host);
}

enum sy_status sy_site_open(struct sy_group *group, const char *path, struct sy_site *site, struct sy_error *err)
{
    int policy = SY_DISCOVER_OFF;

    *site = (struct sy_site){.cluster = NULL, .vertex = -1};
    if (!path)
        return SY_OK;
    bool root = sy_group_rank(group) == 0;
    enum sy_status st = sy_group_agree(group, root ? sy_site_read(path, false, &site->cluster, err) : SY_OK, err);
    if (!st)
        st = share_policy(group, site->cluster, &policy, err);
    if (!st && policy != SY_DISCOVER_OFF)
        st = merge(group, path, policy, site->cluster, err);
    if (!st)
        st = share(group, &site->cluster, err);
    if (!st)
        st = sy_group_agree(group, find_place(group, path, site, err), err);
    if (st)
        sy_site_close(site);
    return st;
}

enum sy_status sy_site_part(const struct sy_site *site, struct sy_group *group, struct sy_error *err)
{
    const struct sy_cluster *c = site->cluster;
    int n = sy_group_size(group), first[sy_group_n_nodes(group)];
    bool parted = false;

    if (!c)
        return SY_OK;
    for (int r = n - 1; r >= 0; r--)
        first[sy_group_node_of(group, r)] = c->vertices[c->ranks[r]].node;
    for (int r = 0; r < n; r++)
        parted = parted || c->vertices[c->ranks[r]].node != first[sy_group_node_of(group, r)];
    return parted ? sy_group_part(group, c->vertices[site->vertex].node, err) : SY_OK;
}

void sy_site_close(struct sy_site *site)
{
    sy_cluster_destroy(site->cluster);
    site->cluster = NULL;
}

/* A device's NUMA node, -1: unknown. */
static int numa_vertex(const struct sy_cluster *c, const struct sy_vertex *v)
{
    const struct sy_node *node = &c->nodes[v->node];

    if (!SY_KNOWN(v->numa) || v->numa.value < 0 || v->numa.value >= sy_int_or(node->n_numa, 1))
        return -1;
    return node->first_numa + (int)v->numa.value;
}

bool sy_site_narrow(const struct sy_site *site, struct sy_machine *machine)
{
    const struct sy_cluster *c = site->cluster;
    const struct sy_vertex *v = &c->vertices[site->vertex];
    int numa = numa_vertex(c, v);

    /* A CPU device without CPUs of its own shares those of its NUMA node with the others there, as GPUs do. */
    if (!SY_KNOWN(v->cpus) && numa >= 0)
        v = &c->vertices[numa];
    return !SY_KNOWN(v->cpus) || sy_machine_narrow(machine, sy_cluster_text(c, v->cpus.value));
}

/* As struct sy_gpu_view numbers PCI devices; -1: not told. */
static int64_t pci_number(const struct sy_cluster *c, const struct sy_vertex *v)
{
    unsigned domain, bus, device;

    if (!SY_KNOWN(v->pci) || sscanf(sy_cluster_text(c, v->pci.value), "%x:%x:%x", &domain, &bus, &device) != 3)
        return -1;
    return (int64_t)domain << 16 | bus << 8 | device;
}

int sy_site_gpu(const struct sy_site *site, const int64_t *pci, int n)
{
    const struct sy_cluster *c = site->cluster;
    const struct sy_vertex *mine = &c->vertices[site->vertex];
    int64_t number = pci_number(c, mine);
    int turn = 0;

    for (int g = 0; g < n && number >= 0; g++)
        if (pci[g] == number)
            return g;
    if (number >= 0)
        return -1;
    /* Without addresses GPUs are in CUDA's order. */
    for (int v = 0; v < site->vertex; v++)
        turn += c->vertices[v].node == mine->node && c->vertices[v].kind == SY_VERTEX_GPU;
    return turn < n ? turn : -1;
}

const char *sy_site_show(const struct sy_site *site, int rank, char *out, size_t out_bytes)
{
    const struct sy_cluster *c = site->cluster;
    const struct sy_vertex *v = &c->vertices[c->ranks[rank]];
    char name[300];

    sy_cluster_show(c, c->ranks[rank], name, sizeof name);
    if (SY_KNOWN(v->numa))
        snprintf(out, out_bytes, "%s at NUMA node %d", name, (int)v->numa.value);
    else
        snprintf(out, out_bytes, "%s", name);
    return out;
}
