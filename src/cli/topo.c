/* SPDX-License-Identifier: Apache-2.0
 * topo.c - switchyard topo: what this machine or cluster is, shown, written to files, or read from other programs' files
 */
#include <fcntl.h>
#include <hwloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "append.h"
#include "base/file.h"
#include "cli/gather.h"
#include "cli/setup.h"
#include "cluster.h"
#include "hwloc_view.h"
#include "nccl_xml.h"
#include "places.h"
#include "show.h"
#include "svg.h"

#define FILE_BYTES_MAX ((size_t)64 << 20)

/* What is shown: where it came from tells which of these are there. */
struct topo {
    const struct sy_settings *settings;
    struct sy_cluster *cluster;
    struct sy_view *view;      /* of the one machine, or of rank 0's; NULL for a cluster file */
    int n_views;               /* machines in an imported file */
    hwloc_topology_t topology; /* of this machine */
    struct sy_findings findings;
};

static enum sy_status write_file(const char *path, const struct sy_buf *text, struct sy_error *err)
{
    bool to_stdout = !strcmp(path, "-");
    int fd = to_stdout ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    if (fd < 0)
        return sy_error_errno(err, SY_ERR_IO, "%s: cannot write", path);
    fflush(stdout);
    enum sy_status st = sy_file_write(fd, to_stdout ? "standard output" : path, text->data, text->len, err);
    if (!to_stdout && close(fd) && !st)
        st = sy_error_errno(err, SY_ERR_IO, "%s: cannot write", path);
    return st;
}

/* A machine of an imported file, as a node. */
static enum sy_status add_machine(struct topo *t, const struct sy_view *view, const char *path, int number,
                                  struct sy_error *err)
{
    struct sy_cluster *one = sy_cluster_create();
    char name[32];

    if (!one)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %s", path);
    snprintf(name, sizeof name, "node%d", number);
    struct sy_source from = sy_source_imported(sy_cluster_file(one, path), 0, 0);
    enum sy_status st = sy_view_add(view, view->host[0] ? NULL : name, from, one, err);
    if (!st)
        st = sy_cluster_append(t->cluster, one, err);
    sy_cluster_destroy(one);
    return st;
}

/* All that was found has been said above; one line remains. */
static enum sy_status refuse(struct topo *t, const char *path, enum sy_status st, struct sy_error *err)
{
    int n = sy_findings_count(&t->findings, SY_FINDING_ERROR);

    if (n)
        return sy_error_set(err, st, "%s is not read: %d error%s", path, n, n == 1 ? "" : "s");
    return st;
}

static enum sy_status import_nccl(struct topo *t, const char *path, const struct sy_buf *text, struct sy_error *err)
{
    struct sy_nccl_xml xml;
    enum sy_status st = sy_nccl_xml_read(path, (const char *)text->data, text->len, &xml, &t->findings, err);

    t->n_views = xml.n_views;
    for (int i = 0; i < xml.n_views && !st; i++)
        st = add_machine(t, xml.views[i], path, i, err);
    if (!st) {
        t->view = xml.views[0];
        xml.views[0] = NULL;
    }
    sy_nccl_xml_fini(&xml);
    return st ? refuse(t, path, st, err) : SY_OK;
}

static enum sy_status import_hwloc(struct topo *t, const char *path, const struct sy_buf *text, struct sy_error *err)
{
    t->view = sy_view_create();
    t->n_views = 1;
    if (!t->view)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %s", path);
    enum sy_status st = sy_hwloc_xml_read(path, (const char *)text->data, text->len, t->view, &t->findings, err);
    return st ? st : add_machine(t, t->view, path, 0, err);
}

/* Rank 0 alone. */
static enum sy_status import_file(struct topo *t, struct sy_error *err)
{
    const char *path = t->settings->import_nccl ? t->settings->import_nccl : t->settings->import_hwloc;
    struct sy_buf text = SY_BUF_INIT;
    enum sy_status st = sy_file_read(path, FILE_BYTES_MAX, &text, err);

    t->cluster = sy_cluster_create();
    if (!st && !t->cluster)
        st = sy_error_set(err, SY_ERR_SYSTEM, "no memory for %s", path);
    if (!st)
        st = t->settings->import_nccl ? import_nccl(t, path, &text, err) : import_hwloc(t, path, &text, err);
    if (!st)
        sy_cluster_add_network(t->cluster);
    if (!st)
        st = sy_cluster_finish(t->cluster, err);
    sy_buf_fini(&text);
    return st;
}

static bool is_stdout(const char *path)
{
    return path && !strcmp(path, "-");
}

/* One file each: two of them in one would be neither. What is checked must not be written over before it is read. */
static enum sy_status check_outputs(const struct sy_settings *s, struct sy_error *err)
{
    const struct {
        const char *name, *path;
    } all[] = {{"hwloc-xml", s->hwloc_xml},        {"nccl-xml", s->nccl_xml}, {"yaml", s->yaml}, {"svg", s->svg},
               {"places", s->places ? "-" : NULL}, {"check", s->check}};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (size_t j = i + 1; j < sizeof all / sizeof *all; j++)
            if (all[i].path && all[j].path && !strcmp(all[i].path, all[j].path))
                return sy_error_set(err, SY_ERR_USAGE, "--%s and --%s: %s takes only one of them", all[i].name,
                                    all[j].name, is_stdout(all[i].path) ? "standard output" : all[i].path);
    return SY_OK;
}

/* Where the picture comes from: at most one of the three files, else the machines themselves. */
static enum sy_status check_settings(const struct sy_settings *s, struct sy_error *err)
{
    if (!!s->cluster + !!s->import_hwloc + !!s->import_nccl > 1)
        return sy_error_set(err, SY_ERR_USAGE, "of --cluster, --import-hwloc and --import-nccl only one can be given");
    if (s->check && s->cluster)
        return sy_error_set(err, SY_ERR_USAGE, "--check holds a cluster file against machines, not another file");
    bool imported = s->cluster || s->import_hwloc || s->import_nccl;
    if (s->hwloc_xml && imported)
        return sy_error_set(err, SY_ERR_USAGE, "--hwloc-xml writes what was discovered here, not what a file says");
    if (s->nccl_xml && s->cluster)
        return sy_error_set(err, SY_ERR_USAGE,
                            "--nccl-xml writes a machine that was discovered or imported, not a cluster file");
    return check_outputs(s, err);
}

static enum sy_status write_nccl(const struct topo *t, const char *path, struct sy_error *err)
{
    struct sy_buf text = SY_BUF_INIT;

    if (t->n_views > 1)
        return sy_error_set(err, SY_ERR_USAGE, "--nccl-xml: NCCL reads files of one machine, this one has %d",
                            t->n_views);
    enum sy_status st = sy_nccl_xml_write(t->view, &text, err);
    if (!st)
        st = write_file(path, &text, err);
    sy_buf_fini(&text);
    return st;
}

static enum sy_status write_model(const struct topo *t, const char *path, bool yaml, struct sy_error *err)
{
    struct sy_buf text = SY_BUF_INIT;
    enum sy_status st = yaml ? sy_cluster_dump(t->cluster, true, &text, err) : sy_svg_write(t->cluster, &text, err);

    if (!st)
        st = write_file(path, &text, err);
    sy_buf_fini(&text);
    return st;
}

/* For switchyard-run. */
static enum sy_status write_places(const struct topo *t, struct sy_error *err)
{
    struct sy_buf text = SY_BUF_INIT;
    enum sy_status st = sy_places_write(t->cluster, &text) ? write_file("-", &text, err)
                                                           : sy_error_set(err, SY_ERR_SYSTEM, "no memory for the text");

    sy_buf_fini(&text);
    return st;
}

static enum sy_status write_text(const struct topo *t, struct sy_error *err)
{
    struct sy_buf text = SY_BUF_INIT;
    bool good = sy_show_cluster(t->cluster, &text) && sy_buf_printf(&text, "\n");

    /* The first machine's; of others a matrix would say the same or fill screens. */
    if (good)
        good = t->view && t->n_views < 2 ? sy_show_matrix(t->view, &text) : sy_show_node_matrix(t->cluster, 0, &text);
    while (text.len > 1 && text.data[text.len - 1] == '\n' && text.data[text.len - 2] == '\n')
        text.len--;
    enum sy_status st = good ? write_file("-", &text, err) : sy_error_set(err, SY_ERR_SYSTEM, "no memory for the text");
    sy_buf_fini(&text);
    return st;
}

/* Rank 0 alone. What goes to standard output takes the place of the text. */
static enum sy_status put_out(const struct topo *t, struct sy_error *err)
{
    const struct sy_settings *s = t->settings;
    enum sy_status st = SY_OK;

    if (s->hwloc_xml)
        st = sy_hwloc_xml_write(t->topology, s->hwloc_xml, err);
    if (!st && s->nccl_xml)
        st = write_nccl(t, s->nccl_xml, err);
    if (!st && s->yaml)
        st = write_model(t, s->yaml, true, err);
    if (!st && s->svg)
        st = write_model(t, s->svg, false, err);
    if (!st && !is_stdout(s->hwloc_xml) && !is_stdout(s->nccl_xml) && !is_stdout(s->yaml) && !is_stdout(s->svg))
        st = s->places ? write_places(t, err) : write_text(t, err);
    return st;
}

static enum sy_status look(struct topo *t, struct sy_setup *setup, struct sy_error *err)
{
    const struct sy_settings *s = t->settings;
    enum sy_status st = sy_setup_agree(setup, setup->rank ? SY_OK : check_settings(s, err), err);

    if (st)
        return st;
    if (!s->cluster && !s->import_hwloc && !s->import_nccl)
        st = sy_gather_cluster(setup->group, &t->cluster, &t->view, &t->topology, &t->findings, err);
    else if (setup->rank == 0)
        st = s->cluster ? sy_site_read(s->cluster, true, &t->cluster, err) : import_file(t, err);
    sy_findings_print(&t->findings, stderr);
    if (!st && setup->rank == 0)
        st = put_out(t, err);
    if (!st && s->check && setup->rank == 0) {
        st = sy_site_check(s->check, t->cluster, err);
        if (!st)
            fprintf(stderr, "%s says of these machines what was found\n", s->check);
    }
    return sy_setup_agree(setup, st, err);
}

int sy_cli_topo(struct sy_cli *cli)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_setup setup;
    struct topo t = {.settings = &cli->settings, .findings = SY_FINDINGS_INIT};
    enum sy_status st = sy_setup_start(&setup, cli, &err);

    if (!st)
        st = look(&t, &setup, &err);
    sy_cluster_destroy(t.cluster);
    sy_view_destroy(t.view);
    if (t.topology)
        hwloc_topology_destroy(t.topology);
    sy_findings_fini(&t.findings);
    return sy_setup_leave(&setup, st, &err);
}
