/* SPDX-License-Identifier: Apache-2.0
 * model.h - a cluster as a graph: nodes, vertices (devices, NUMA nodes, switches, NICs), links, fabrics, ranks
 *
 * A cluster file, discovery and imports build it by the calls below, in any order, and then call sy_cluster_finish(), which makes
 * what follows from the rest: the graph of each fabric, the links by which devices hang at their NUMA nodes, neighbours, NVLink
 * domains, the device of each rank. More may be added later; it is finished again after that.
 *
 * Every value says where it comes from, and a value from nowhere is unknown, which is not zero. Texts are numbers in the
 * cluster's pool: equal texts have equal numbers, 0 is "". Types of devices and links are found by content, so that to change
 * one vertex's device is to copy its type, change the copy and intern that.
 *
 * Memory: the cluster owns everything. When there is none, a call returns -1 (text: 0), which the others accept and ignore, and
 * sy_cluster_finish() says so; a builder need not look. Pointers into the arrays live until the next add. One thread at a time.
 * Units: bytes, bytes/s, FLOP/s, seconds.
 */
#ifndef SY_TOPO_MODEL_H
#define SY_TOPO_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

/* Which source a value has; of two, the greater wins. */
enum sy_origin { SY_ORIGIN_NONE, SY_ORIGIN_DEFAULT, SY_ORIGIN_IMPORTED, SY_ORIGIN_DISCOVERED, SY_ORIGIN_FILE };

struct sy_source {
    uint8_t origin;        /* enum sy_origin */
    uint16_t file;         /* number of sy_cluster_file(); 0: none */
    uint32_t line, column; /* from 1; 0: none */
};

struct sy_real {
    double value;
    struct sy_source from;
};

struct sy_int {
    int64_t value;
    struct sy_source from;
};

struct sy_text {
    uint32_t value; /* sy_cluster_text() */
    struct sy_source from;
};

#define SY_KNOWN(x) ((x).from.origin != SY_ORIGIN_NONE)

enum sy_vertex_kind {
    SY_VERTEX_GPU,  /* a device: a rank may run on it */
    SY_VERTEX_CPU,  /* a device: the cores of a socket, or some of them */
    SY_VERTEX_NUMA, /* a NUMA node: memory and the host bridges beside it */
    SY_VERTEX_NVSWITCH,
    SY_VERTEX_PCIE, /* a PCIe switch */
    SY_VERTEX_NIC,
    SY_VERTEX_MEMORY, /* memory through which the ranks of a node exchange rows */
    SY_VERTEX_FABRIC, /* a switch of a fabric, in no node */
    SY_N_VERTEX_KINDS
};

/* What a link is. From best to worst for rows. */
enum sy_link_class {
    SY_LINK_LOCAL, /* made by sy_cluster_finish(): a vertex hangs at its NUMA node, nothing more is known */
    SY_LINK_NVLINK,
    SY_LINK_C2C,
    SY_LINK_MEMORY,
    SY_LINK_SHM,
    SY_LINK_PCIE,
    SY_LINK_SMP, /* between sockets */
    SY_LINK_IB,
    SY_LINK_ETHERNET,
    SY_N_LINK_CLASSES
};

enum sy_compute_type { SY_FLOPS_F32, SY_FLOPS_BF16, SY_FLOPS_FP8, SY_FLOPS_INT8, SY_N_COMPUTE_TYPES };

enum sy_fabric_kind { SY_FABRIC_RAIL, SY_FABRIC_FAT_TREE, SY_FABRIC_NVLINK, SY_N_FABRIC_KINDS };

/* A kind of device: GPUs and CPU devices point at one. */
struct sy_device_type {
    uint32_t name;        /* what a cluster file calls it: "h100" */
    struct sy_text model; /* what the maker calls it: "NVIDIA H100 80GB HBM3" */
    struct sy_int sm;     /* compute capability, 90 for 9.0 */
    struct sy_int cores;  /* physical cores, of a CPU device */
    struct sy_real l2, l3; /* caches of a CPU device, all of a level together */
    struct sy_real mem, mem_bw;
    struct sy_real compute[SY_N_COMPUTE_TYPES];
    struct sy_source from;
};

/* A kind of link. Rates are those of one lane in one direction, payload. */
struct sy_link_type {
    uint32_t name;
    int cls; /* enum sy_link_class */
    struct sy_real bw;
    struct sy_real efficiency; /* unknown: 1 */
    struct sy_real latency;
    struct sy_real per_message; /* what the sender pays for each message besides */
    struct sy_source from;
};

struct sy_node {
    uint32_t name;
    struct sy_text host; /* host name or glob; unknown: the name */
    struct sy_text type; /* node type of a cluster file */
    struct sy_text chassis;
    struct sy_int n_numa;
    int first_numa; /* vertex "numa0"; the others follow it */
    struct sy_source from;
};

struct sy_vertex {
    uint8_t kind;       /* enum sy_vertex_kind */
    bool derived;       /* made by sy_cluster_finish() */
    int node;           /* -1: in none */
    uint32_t id;        /* "gpu0", unique in its node */
    int type;           /* device type of a GPU or CPU device, else -1 */
    int port;           /* link type by which a NIC leaves the node, -1: unknown */
    int fabric;         /* whose switch this is; for a NIC or GPU, whose member, set by sy_cluster_finish(); -1: none */
    struct sy_int numa; /* number of a NUMA node */
    struct sy_text pci; /* "0000:19:00.0", lower case */
    struct sy_text uuid;   /* "GPU-…"; a NIC's GUID */
    struct sy_text device; /* the system's name for it: "mlx5_0" */
    struct sy_text domain; /* NVLink fabric: uuid of the cluster, */
    struct sy_int clique;  /* and the clique in it */
    struct sy_int rail, plane;
    struct sy_text cpus; /* cores of a CPU device or NUMA node as Linux lists them: "0-15,32" */
    struct sy_source from;
};

struct sy_link {
    int from, to; /* vertices of one node, or a fabric's; rates hold for both directions */
    int type;
    struct sy_int count; /* lanes; unknown: 1 */
    bool derived;
    struct sy_source source;
};

#define SY_FABRIC_SWITCHES_MAX 4096 /* rails of a fabric, or planes */

struct sy_fabric {
    uint32_t name;
    int kind; /* enum sy_fabric_kind */
    int port; /* link type from a member to its switch */
    struct sy_int rails;
    struct sy_int count, planes;     /* nvlink_domain: links of a member in all, and over how many switches */
    struct sy_int leaf_ports;        /* fat_tree: members of a leaf switch */
    struct sy_real oversubscription; /* of a rail's spine or a tree's core; unknown: 1 */
    struct sy_real latency;          /* of the spine or core, one way */
    bool spine;                      /* rail: rails are connected with one another */
    struct sy_text domain;           /* nvlink_domain: what its members get where they say nothing */
    struct sy_int clique;
    int first_member, n_members; /* in members[]; set by sy_cluster_add_fabric() */
    struct sy_source from;
};

/* Something about a node that is for people: "kernel", "driver". */
struct sy_fact {
    int node;
    uint32_t key;
    struct sy_text value;
};

enum sy_discover_policy { SY_DISCOVER_FILL, SY_DISCOVER_VERIFY, SY_DISCOVER_OFF };
enum sy_rank_order { SY_RANKS_BY_NODE, SY_RANKS_ROUND_ROBIN };

struct sy_policy {
    struct sy_int discover;   /* enum sy_discover_policy; unknown: fill */
    struct sy_int via_nvlink; /* 1: rows to another rail first go to the GPU beside that rail's NIC */
    struct sy_int order;      /* enum sy_rank_order; unknown: by node */
};

struct sy_cluster {
    uint32_t name;
    struct sy_policy policy;
    struct sy_node *nodes;
    struct sy_vertex *vertices;
    struct sy_link *links;
    struct sy_device_type *device_types;
    struct sy_link_type *link_types;
    struct sy_fabric *fabrics;
    struct sy_fact *facts;
    int *members; /* vertices of fabrics */
    int *map;     /* [n_map] the file's own choice: vertex of each rank */
    int n_nodes, n_vertices, n_links, n_device_types, n_link_types, n_fabrics, n_facts, n_members, n_map;
    /* Made by sy_cluster_finish(). */
    int *ranks; /* [n_ranks] vertex of each rank: the map's, or each GPU, or where there is none each CPU device */
    int n_ranks;
    int *first_edge; /* [n_vertices + 1] vertex v's links are edges[first_edge[v]] and on */
    int *edges;      /* [2 * n_links] link numbers */
    int *domain_of;  /* [n_vertices] number of the NVLink domain of a GPU, from 0; -1: not a GPU */
    int n_domains;
    struct sy_pools *pools; /* texts, files, the index of names */
    bool out_of_memory;
};

/* An empty cluster; NULL when there is no memory. Destroying NULL is fine. */
struct sy_cluster *sy_cluster_create(void);
void sy_cluster_destroy(struct sy_cluster *cluster);

/* Texts. The number of a text; its characters (they live as long as the cluster). */
uint32_t sy_cluster_intern(struct sy_cluster *cluster, const char *text);
uint32_t sy_cluster_intern_n(struct sy_cluster *cluster, const char *text, size_t n);
const char *sy_cluster_text(const struct sy_cluster *cluster, uint32_t text);

/* Sources. The number of a file's name, at most 65535 of them; the name. */
uint16_t sy_cluster_file(struct sy_cluster *cluster, const char *name);
const char *sy_cluster_file_name(const struct sy_cluster *cluster, uint16_t file);
static inline struct sy_source sy_source_of(enum sy_origin origin)
{
    return (struct sy_source){.origin = (uint8_t)origin};
}
struct sy_source sy_source_at(uint16_t file, int line, int column);       /* a place in a cluster file */
struct sy_source sy_source_imported(uint16_t file, int line, int column); /* a place in an imported file */
/* "file n.yaml:12:3", "discovered", "imported topo.xml:7:1", "default", "unknown", in a buffer of the caller; returns it. */
const char *sy_source_show(const struct sy_cluster *cluster, struct sy_source from, char *out, size_t out_bytes);

/* Values. */
static inline struct sy_real sy_real_of(double value, struct sy_source from)
{
    return (struct sy_real){value, from};
}
static inline struct sy_int sy_int_of(int64_t value, struct sy_source from)
{
    return (struct sy_int){value, from};
}
struct sy_text sy_text_of(struct sy_cluster *cluster, const char *text, struct sy_source from);
static inline double sy_real_or(struct sy_real x, double unknown)
{
    return SY_KNOWN(x) ? x.value : unknown;
}
static inline int64_t sy_int_or(struct sy_int x, int64_t unknown)
{
    return SY_KNOWN(x) ? x.value : unknown;
}

/* Building. All return the number of what they added. */

/* A node, with vertices numa0 to numa<n_numa - 1>; unknown n_numa makes one. The name is not taken yet (else -1). */
int sy_cluster_add_node(struct sy_cluster *cluster, const char *name, struct sy_int n_numa, struct sy_source from);
/* A vertex with this id, which is new in the node (else -1); every other value is unknown and set through the pointer
 * &cluster->vertices[number]. Devices need a type. */
int sy_cluster_add_vertex(struct sy_cluster *cluster, int node, enum sy_vertex_kind kind, const char *id,
                          struct sy_source from);
int sy_cluster_add_link(struct sy_cluster *cluster, int from, int to, int type, struct sy_int count,
                        struct sy_source source);
/* An equal type (name, values and sources) is found again instead. */
int sy_cluster_device_type(struct sy_cluster *cluster, const struct sy_device_type *type);
int sy_cluster_link_type(struct sy_cluster *cluster, const struct sy_link_type *type);
/* The fabric's first_member and n_members are set from members[n_members], vertices. */
int sy_cluster_add_fabric(struct sy_cluster *cluster, const struct sy_fabric *fabric, const int *members,
                          int n_members);
int sy_cluster_add_fact(struct sy_cluster *cluster, int node, const char *key, struct sy_text value);
/* Put rank number n_map on a device. */
int sy_cluster_map_rank(struct sy_cluster *cluster, int vertex);

/* Make what follows from the rest; calling it again makes it anew. Errors: SY_ERR_SYSTEM when there is no memory, or was none
 * before. */
enum sy_status sy_cluster_finish(struct sy_cluster *cluster, struct sy_error *err);

/* Looking up: -1 when there is none. A vertex by node and id, or by "node.id". */
int sy_cluster_find_node(const struct sy_cluster *cluster, const char *name);
int sy_cluster_find_vertex(const struct sy_cluster *cluster, int node, const char *id);
int sy_cluster_find(const struct sy_cluster *cluster, const char *path);
/* "n0.gpu3" or, for a fabric's switch, its id; in a buffer of the caller, which is returned. */
const char *sy_cluster_show(const struct sy_cluster *cluster, int vertex, char *out, size_t out_bytes);
static inline bool sy_vertex_is_device(const struct sy_vertex *vertex)
{
    return vertex->kind == SY_VERTEX_GPU || vertex->kind == SY_VERTEX_CPU;
}

/* Bytes/s of a link in one direction: bw x count x efficiency. Unknown where bw is; SY_LINK_LOCAL has no limit of its own and
 * is unknown too. */
struct sy_real sy_link_capacity(const struct sy_cluster *cluster, int link);

/* Names of the enums, as cluster files spell them: "gpu", "nvlink", "bf16", "fat_tree". */
const char *sy_vertex_kind_name(enum sy_vertex_kind kind);
const char *sy_link_class_name(enum sy_link_class cls);
const char *sy_compute_type_name(enum sy_compute_type type);
const char *sy_fabric_kind_name(enum sy_fabric_kind kind);

/* Equal in everything but sources, the names of types, and the order of vertices and links. Where not, why says the first
 * difference. */
bool sy_cluster_equal(const struct sy_cluster *a, const struct sy_cluster *b, char *why, size_t why_bytes);

/* The whole as bytes for another process of the same build, sources included, appended to out; and back (finished).
 * Errors: SY_ERR_SYSTEM; SY_ERR_DATA when the bytes are not such. */
enum sy_status sy_cluster_pack(const struct sy_cluster *cluster, struct sy_buf *out, struct sy_error *err);
enum sy_status sy_cluster_unpack(struct sy_cursor *in, struct sy_cluster **cluster, struct sy_error *err);

#endif
