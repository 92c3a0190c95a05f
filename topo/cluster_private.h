/* SPDX-License-Identifier: Apache-2.0
 * cluster_private.h - what the parts of the reader of cluster files share
 *
 * cluster_read.c puts the sections of a file and its includes together; cluster_types.c, _node.c, _link.c, _fabric.c and _rank.c
 * each turn one into a part of the model; cluster_value.c reads single values.
 */
#ifndef SY_TOPO_CLUSTER_PRIVATE_H
#define SY_TOPO_CLUSTER_PRIVATE_H

#include "cluster.h"
#include "quantity.h"
#include "range.h"
#include "yamltree.h"

#define SY_TYPES_MAX    4096 /* link types, device types, node types: each */
#define SY_VERTICES_MAX (2 << 20)
#define SY_LINKS_MAX    (8 << 20)
#define SY_NUMA_MAX     1024
#define SY_NAME_MAX     128

/* An entry of link_types, device_types or node_types. */
struct sy_entry {
    struct sy_yaml *key, *value;
    int number; /* link and device types: in the cluster; node types: the first node of the type, -1: none yet */
    int kind;   /* device types: of their vertices */
    int n_vertices, first_link, n_links; /* node types: of that node */
    bool broken;                         /* it has an error */
    bool open;                           /* node types: its base is being looked for */
};

struct sy_entries {
    struct sy_entry *items;
    int n;
};

struct sy_reader {
    struct sy_cluster *cluster;
    struct sy_report *report;
    struct sy_yaml_memory *memory;
    struct sy_entries link_types, device_types, node_types;
    /* The values of the file itself, or else of a file that it includes; NULL: none. */
    struct sy_yaml *name, *version, *nodes, *fabrics, *ranks, *policy;
    int n_files;
    /* Some name was not understood: what uses it is not asked why it does not exist. */
    bool incomplete;
    bool files_missing; /* nor of an included file's types */
    bool links_missing; /* nor a switch, why it has no links */
};

/* Which kinds of value a key may have. */
enum { SY_TAKES_TEXT = 1 << SY_YAML_SCALAR, SY_TAKES_LIST = 1 << SY_YAML_LIST, SY_TAKES_MAP = 1 << SY_YAML_MAP };

struct sy_key {
    const char *name;
    int takes;
    bool required;
};

/* cluster_value.c */

struct sy_source sy_reader_source(const struct sy_yaml *node);
struct sy_place sy_reader_place(const struct sy_reader *r, const struct sy_yaml *node);
#define sy_reader_error(r, node, ...)   sy_report_error((r)->report, sy_reader_place(r, node), __VA_ARGS__)
#define sy_reader_warning(r, node, ...) sy_report_warning((r)->report, sy_reader_place(r, node), __VA_ARGS__)
#define sy_reader_note(r, node, ...)    sy_report_note((r)->report, sy_reader_place(r, node), __VA_ARGS__)
#define sy_source_note(r, source, ...)  sy_report_note((r)->report, sy_cluster_place((r)->cluster, source), __VA_ARGS__)

/* The values of a map's keys, in the order of keys[n]; NULL where there is none or it is of a wrong kind. what: "a link type".
 * Reports values of wrong kinds, unknown keys, and missing ones; false when there was anything to report. */
bool sy_reader_map(struct sy_reader *r, const struct sy_yaml *node, const char *what, const struct sy_key *keys, int n,
                   struct sy_yaml **values);

/* A value; NULL leaves *out as it is. False after a report. */
bool sy_reader_quantity(struct sy_reader *r, const struct sy_yaml *node, enum sy_measure measure, struct sy_real *out);
bool sy_reader_number(struct sy_reader *r, const struct sy_yaml *node, double min, double max, struct sy_real *out);
bool sy_reader_int(struct sy_reader *r, const struct sy_yaml *node, int64_t min, int64_t max, struct sy_int *out);
bool sy_reader_text(struct sy_reader *r, const struct sy_yaml *node, struct sy_text *out);
/* One of names[n]; *out is its number. what: "class". */
bool sy_reader_choice(struct sy_reader *r, const struct sy_yaml *node, const char *what, const char *const *names,
                      int n, int *out);
/* A name that may stand in a range and in a path; dots: it may have dots. */
bool sy_reader_check_name(struct sy_reader *r, const struct sy_yaml *node, const char *name, bool dots);
/* A range, or a list of ranges, to names; fini by the caller, also after false. */
bool sy_reader_range(struct sy_reader *r, const struct sy_yaml *node, struct sy_range *out);
/* "0", "[0-3]" or a list: one number for each of n, or one for all. */
bool sy_reader_ints(struct sy_reader *r, const struct sy_yaml *node, int n, int64_t min, int64_t max,
                    struct sy_int *out);
/* The same for texts. */
bool sy_reader_texts(struct sy_reader *r, const struct sy_yaml *node, int n, struct sy_text *out);

/* How unlike two names are: letters that are changed, missing, too many, or exchanged with their neighbour. */
int sy_name_distance(const char *a, const char *b);

/* cluster_types.c */
void sy_reader_types(struct sy_reader *r);
/* The number of the entry that a value names; -1 after a report. what: "link type". */
int sy_reader_entry(struct sy_reader *r, const struct sy_entries *entries, const char *what, const struct sy_yaml *node,
                    const char *name);

/* cluster_node.c */
void sy_reader_nodes(struct sy_reader *r);
/* Node types that no node has are looked at as if one had. */
void sy_reader_unused_types(struct sy_reader *r);
/* What the types above a base put in the place of its device types and link types. */
struct sy_replace;
/* The number of the device type or link type that a value names, or that is in its place; -1 after a report. */
int sy_replace_entry(struct sy_reader *r, const struct sy_replace *replace, bool device, const struct sy_yaml *node);

/* cluster_vertex.c: the lists of a node type, for a node. */
void sy_reader_devices(struct sy_reader *r, int node, const struct sy_yaml *list, const struct sy_replace *replace);
void sy_reader_switches(struct sy_reader *r, int node, const struct sy_yaml *list);
void sy_reader_nics(struct sy_reader *r, int node, const struct sy_yaml *list, const struct sy_replace *replace);
/* Is there room for n more vertices? False after a report. */
bool sy_reader_room(struct sy_reader *r, const struct sy_yaml *at, int64_t n);
/* A vertex of a node by its id; -1 after a report. */
int sy_reader_vertex(struct sy_reader *r, const struct sy_yaml *at, int node, const char *id);

/* cluster_link.c: the same for links. */
void sy_reader_links(struct sy_reader *r, const struct sy_yaml *list, int node, const struct sy_replace *replace);
/* What can be said of a node's links when all are there. */
void sy_reader_node_links(struct sy_reader *r, int node, int first_link);

/* cluster_fabric.c, cluster_rank.c */
void sy_reader_fabrics(struct sy_reader *r);
void sy_reader_policy(struct sy_reader *r);
void sy_reader_ranks(struct sy_reader *r);
/* Names such as "n[0-3].nic[0-7]" to vertices, malloc'd; -1 after a report, else how many. what: "fabric". */
int sy_reader_members(struct sy_reader *r, const struct sy_yaml *node, int **vertices);

#endif
