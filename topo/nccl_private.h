/* SPDX-License-Identifier: Apache-2.0
 * nccl_private.h - what the reader of NCCL's XML remembers while it reads (private to topo)
 */
#ifndef SY_TOPO_NCCL_PRIVATE_H
#define SY_TOPO_NCCL_PRIVATE_H

#include <expat.h>

#include "nccl_xml.h"

#define SY_NCCL_DEPTH_MAX 64
#define SY_NCCL_LINKS_MAX 8192

enum sy_nccl_element {
    NCCL_OTHER,
    NCCL_SYSTEM,
    NCCL_CPU,
    NCCL_PCI,
    NCCL_GPU,
    NCCL_NVLINK,
    NCCL_C2C,
    NCCL_NIC,
    NCCL_NET
};

/* An element that is open. */
struct sy_nccl_open {
    enum sy_nccl_element kind;
    int numa, upstream; /* of what is inside */
    int gpu;            /* of this <pci> or <gpu>; -1 */
    char pci[20];
    uint32_t cls;  /* PCI class; 0: not told */
    bool told;     /* by its class or by what is inside: what a <pci> is */
    bool repeated; /* a <gpu> of one more rank, or what is inside */
    double bw;
    int gen, width, line, column;
};

/* An <nvlink> and where it stands. */
struct sy_nccl_link {
    int view, gpu, count, line, column;
    enum sy_far far;
    char target[20];
};

struct sy_nccl_reader {
    const char *name;
    XML_Parser parser;
    struct sy_nccl_xml *xml;
    struct sy_findings *findings;
    struct sy_error *err;
    uint64_t hosts[SY_NCCL_HOSTS_MAX];
    int view; /* number of the present machine */
    int depth;
    bool stopped, failed;
    int n_untold, untold_line, untold_column; /* <pci> of which nothing says what it is; the first */
    struct sy_nccl_open open[SY_NCCL_DEPTH_MAX];
    struct sy_nccl_link *links;
    int n_links, dev[SY_NCCL_HOSTS_MAX][SY_NVML_GPUS_MAX];
};

/* A finding at the present element, or at a place; an error makes the reader fail in the end. */
void sy_nccl_say(struct sy_nccl_reader *r, enum sy_severity severity, int line, int column, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* After the last element: NUMA nodes in order, far ends of links, both ends of each. */
void sy_nccl_settle(struct sy_nccl_reader *r);

#endif
