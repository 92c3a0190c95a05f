/* SPDX-License-Identifier: Apache-2.0
 * cluster_dump.h - what the two halves of the writer of cluster files share
 */
#ifndef SY_TOPO_CLUSTER_DUMP_H
#define SY_TOPO_CLUSTER_DUMP_H

#include "cluster.h"

/* Texts to write for types, so that each has one of its own. */
struct sy_names {
    uint32_t *names; /* [n] texts in spare, 0: not used */
};

struct sy_dump {
    const struct sy_cluster *cluster;
    struct sy_buf *out;
    bool sources, held;       /* held: there was memory so far */
    struct sy_cluster *spare; /* only its texts: the names */
    struct sy_names device_names, link_names;
    int *first_vertex, *vertices; /* [n_nodes + 1], [n_vertices] vertices by node, fabrics' left out */
    int *first_link, *links;      /* [n_nodes + 1], [n_links] links by node, derived ones left out */
    int *place;                   /* [n_vertices] among its node's */
    int *group;                   /* [n_nodes] the first node that is like this one */
    uint32_t *node_names;         /* [n_nodes] the name of the node type of a first node, in spare */
};

/* A line: indented, "text", and where a value is from. */
void sy_dump_line(struct sy_dump *d, int indent, struct sy_source from, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Text as YAML takes it: in quotes where that is needed; valid until the next 7 calls. */
const char *sy_dump_quote(const char *text);
void sy_dump_int(struct sy_dump *d, int indent, const char *key, struct sy_int value);
void sy_dump_text(struct sy_dump *d, int indent, const char *key, struct sy_text value);
/* Names as ranges: the value of a key, a list where there are several. */
void sy_dump_names(struct sy_dump *d, int indent, const char *key, const char *const *names, int n,
                   struct sy_source from);

/* cluster_dump_node.c: node_types and nodes. */
bool sy_dump_find_nodes(struct sy_dump *d);
void sy_dump_nodes(struct sy_dump *d);

#endif
