/* SPDX-License-Identifier: Apache-2.0
 * cluster_read.c - a cluster file and what it includes, section by section
 *
 * Types of an included file are known to the one that includes it, which may define them anew; of the other sections its own
 * replace those of an included file, and new nodes come without the old ones' fabrics and ranks.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cluster_private.h"
#include "model_private.h"

#define INCLUDE_DEPTH_MAX 16
#define FILES_MAX         256

enum section {
    VERSION,
    NAME,
    INCLUDE,
    LINK_TYPES,
    DEVICE_TYPES,
    NODE_TYPES,
    NODES,
    FABRICS,
    RANKS,
    POLICY,
    N_SECTIONS
};

static const struct sy_key sections[N_SECTIONS] = {
    {"switchyard_cluster", SY_TAKES_TEXT, false},
    {"name", SY_TAKES_TEXT, false},
    {"include", SY_TAKES_LIST, false},
    {"link_types", SY_TAKES_MAP, false},
    {"device_types", SY_TAKES_MAP, false},
    {"node_types", SY_TAKES_MAP, false},
    {"nodes", SY_TAKES_LIST, false},
    {"fabrics", SY_TAKES_LIST, false},
    {"ranks", SY_TAKES_MAP, false},
    {"policy", SY_TAKES_MAP, false},
};

/* The files that are being read, from the first to the one that is included last. */
struct chain {
    const struct chain *above;
    const char *path; /* resolved where that is possible */
    int depth;
};

static void read_tree(struct sy_reader *r, const struct sy_yaml *root, const char *name, const struct chain *chain);

/* "dir/of/name" + "other.yaml", in new memory. */
static char *beside(const char *name, const char *other)
{
    const char *slash = strrchr(name, '/');
    char *path = NULL;

    if (*other == '/' || !slash)
        return strdup(other);
    if (asprintf(&path, "%.*s/%s", (int)(slash - name), name, other) < 0)
        return NULL;
    return path;
}

static struct sy_yaml *parse(struct sy_reader *r, const char *name, const char *text, size_t n)
{
    uint16_t file = sy_cluster_file(r->cluster, name);

    if (n && *text == '<') {
        sy_report_error(r->report, (struct sy_place){name, 1, 1},
                        "this is XML and no cluster file: see --import-hwloc and --import-nccl of switchyard topo");
        return NULL;
    }
    return sy_yaml_parse(r->memory, name, file, text, n, r->report);
}

/* at: the value that names the file, NULL for the first one. */
static void read_file(struct sy_reader *r, const char *path, const struct sy_yaml *at, const struct chain *above)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf text = SY_BUF_INIT;
    char *resolved = realpath(path, NULL);
    struct chain chain = {above, resolved ? resolved : path, above ? above->depth + 1 : 0};
    bool read = false;
    struct sy_place place = at ? sy_reader_place(r, at) : (struct sy_place){path, 0, 0};

    for (const struct chain *c = above; c; c = c->above)
        if (!strcmp(c->path, chain.path)) {
            sy_report_error(r->report, place, "%s includes itself%s", path,
                            above->above ? ", by way of this file" : "");
            goto out;
        }
    if (chain.depth > INCLUDE_DEPTH_MAX || r->n_files++ >= FILES_MAX) {
        sy_report_error(r->report, place, "too many files are included");
        goto out;
    }
    if (sy_file_read(path, SY_YAML_BYTES_MAX, &text, &err) != SY_OK) {
        sy_report_error(r->report, place, "%s", err.text);
        goto out;
    }
    const struct sy_yaml *root = parse(r, path, (const char *)text.data, text.len);
    read = root != NULL;
    if (root)
        read_tree(r, root, path, &chain);
out:
    r->files_missing |= !read;
    sy_buf_fini(&text);
    free(resolved);
}

/* A type that is there already is replaced by a later file's. */
static void take_entries(struct sy_reader *r, struct sy_entries *entries, const struct sy_yaml *map)
{
    int n_before = entries->n;

    for (int i = 0; map && i < map->n; i++) {
        struct sy_yaml *key = map->items[2 * i], *value = map->items[2 * i + 1];
        struct sy_entry *e = NULL;
        for (int k = 0; k < n_before && !e; k++)
            if (!strcmp(entries->items[k].key->text, key->text))
                e = &entries->items[k];
        if (!e && entries->n == SY_TYPES_MAX) {
            sy_reader_error(r, key, "more than %d types", SY_TYPES_MAX);
            return;
        }
        if (!e && sy_cluster_grow(r->cluster, &entries->items, entries->n, sizeof *e))
            e = &entries->items[entries->n++];
        if (e)
            *e = (struct sy_entry){.key = key, .value = value, .number = -1};
    }
}

static void take_version(struct sy_reader *r, const struct sy_yaml *node)
{
    struct sy_int version = {0};

    if (!node || !sy_reader_int(r, node, 1, INT_MAX, &version) || version.value <= SY_CLUSTER_VERSION)
        return;
    sy_reader_error(r, node, "this is version %lld of the format, and this program reads up to version %d",
                    (long long)version.value, SY_CLUSTER_VERSION);
}

static void take_includes(struct sy_reader *r, const struct sy_yaml *list, const char *name, const struct chain *chain)
{
    for (int i = 0; list && i < list->n; i++) {
        const struct sy_yaml *item = list->items[i];
        if (item->kind != SY_YAML_SCALAR || !item->n) {
            sy_reader_error(r, item, "expected the name of a file, found %s", sy_yaml_kind_name(item));
            continue;
        }
        char *path = beside(name, item->text);
        if (path)
            read_file(r, path, item, chain);
        free(path);
    }
}

static void read_tree(struct sy_reader *r, const struct sy_yaml *root, const char *name, const struct chain *chain)
{
    struct sy_yaml *values[N_SECTIONS];

    sy_reader_map(r, root, "a cluster file", sections, N_SECTIONS, values);
    take_version(r, values[VERSION]);
    take_includes(r, values[INCLUDE], name, chain);
    take_entries(r, &r->link_types, values[LINK_TYPES]);
    take_entries(r, &r->device_types, values[DEVICE_TYPES]);
    take_entries(r, &r->node_types, values[NODE_TYPES]);
    if (values[NODES]) {
        r->nodes = values[NODES];
        r->fabrics = r->ranks = NULL;
    }
    if (values[VERSION])
        r->version = values[VERSION];
    if (values[NAME])
        r->name = values[NAME];
    if (values[FABRICS])
        r->fabrics = values[FABRICS];
    if (values[RANKS])
        r->ranks = values[RANKS];
    if (values[POLICY])
        r->policy = values[POLICY];
}

static void build(struct sy_reader *r, const char *name)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_text text = {0};

    if (sy_reader_text(r, r->name, &text) && SY_KNOWN(text))
        r->cluster->name = text.value;
    sy_reader_types(r);
    sy_reader_policy(r);
    sy_reader_nodes(r);
    sy_reader_fabrics(r);
    sy_reader_unused_types(r);
    /* What ranks take by default is known once the cluster is finished. */
    if (sy_cluster_finish(r->cluster, &err) != SY_OK)
        sy_report_error(r->report, (struct sy_place){name, 0, 0}, "%s", err.text);
    else
        sy_reader_ranks(r);
    if (sy_cluster_finish(r->cluster, &err) != SY_OK)
        sy_report_error(r->report, (struct sy_place){name, 0, 0}, "%s", err.text);
    else if (!sy_report_n_errors(r->report) &&
             sy_int_or(r->cluster->policy.discover, SY_DISCOVER_FILL) == SY_DISCOVER_OFF)
        sy_cluster_check(r->cluster, r->report);
}

/* text NULL: read the file. */
static struct sy_cluster *read_cluster(const char *name, const char *text, size_t n, struct sy_report *report)
{
    struct sy_reader r = {.report = report, .cluster = sy_cluster_create(), .memory = sy_yaml_memory_create()};

    if (!r.cluster || !r.memory || !report) {
        sy_report_error(report, (struct sy_place){name, 0, 0}, "no memory to read it");
    } else if (text) {
        const struct sy_yaml *root = parse(&r, name, text, n);
        if (root)
            read_tree(&r, root, name, &(struct chain){NULL, name, 0});
    } else {
        read_file(&r, name, NULL, NULL);
    }
    if (r.cluster && r.memory && !r.version && !sy_report_n_errors(report))
        sy_report_error(report, (struct sy_place){name, 1, 1}, "a cluster file needs '%s: %d'", sections[VERSION].name,
                        SY_CLUSTER_VERSION);
    if (r.cluster && r.memory && (r.nodes || r.node_types.n || !sy_report_n_errors(report)))
        build(&r, name);
    free(r.link_types.items);
    free(r.device_types.items);
    free(r.node_types.items);
    sy_yaml_memory_destroy(r.memory);
    if (!report || sy_report_n_errors(report)) {
        sy_cluster_destroy(r.cluster);
        return NULL;
    }
    return r.cluster;
}

struct sy_cluster *sy_cluster_read(const char *path, struct sy_report *report)
{
    return read_cluster(path, NULL, 0, report);
}

struct sy_cluster *sy_cluster_read_text(const char *name, const char *text, size_t n, struct sy_report *report)
{
    return read_cluster(name, text, n, report);
}
