/* SPDX-License-Identifier: Apache-2.0
 * nvml.h - the GPUs of a machine and what joins them, as NVIDIA's management library tells
 *
 * The library is opened at run time and every one of its functions may be missing; no header of NVIDIA is needed. What comes out
 * is a plain record without pointers between its parts, which other sources of the same facts (NCCL's XML) fill too.
 * Unknown is never zero: a number that was not told is negative (of links, of a level) or 0 where 0 cannot be (bytes, rates).
 */
#ifndef SY_TOPO_NVML_H
#define SY_TOPO_NVML_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "finding.h"

#define SY_NVML_GPUS_MAX 64
/* Different far ends of one GPU's links. */
#define SY_NVLINKS_MAX 64

/* What is at the other end of an NVLink. */
enum sy_far { SY_FAR_UNKNOWN, SY_FAR_GPU, SY_FAR_SWITCH, SY_FAR_CPU };

/* Links of one GPU to one far end that can be used. */
struct sy_nvlink {
    enum sy_far far;
    int32_t count;
    double bw;    /* payload of one link in one direction, bytes/s; 0: unknown */
    char pci[20]; /* of the far end; "": not told (a switch behind a hypervisor or in another tray) */
};

/* States of a fabric that a fabric manager configures (NVSwitch of Hopper and later). */
enum sy_nvml_fabric {
    SY_NVML_FABRIC_NONE,
    SY_NVML_FABRIC_NOT_STARTED,
    SY_NVML_FABRIC_IN_PROGRESS,
    SY_NVML_FABRIC_COMPLETED
};

struct sy_nvml_gpu {
    char pci[20]; /* "0000:1b:00.0": lower case, four digits of domain */
    char uuid[80], name[96];
    int32_t sm; /* 90 for compute capability 9.0; -1: unknown */
    uint64_t memory_bytes;
    int32_t module;               /* place on the board, -1: unknown */
    int32_t pcie_gen, pcie_width; /* the most that GPU and slot can; 0: unknown */
    int32_t n_present;            /* links that the GPU has, up or not; -1: unknown */
    int32_t n_up;                 /* links that can be used, -1: unknown */
    int32_t n_switch_links;       /* as the driver counts them, -1: unknown */
    int32_t n_nvlinks;            /* far ends in nvlinks[] */
    struct sy_nvlink nvlinks[SY_NVLINKS_MAX];
    enum sy_nvml_fabric fabric;
    uint8_t cluster[16]; /* of a completed fabric; all zero: one machine alone */
    uint32_t clique, health;
    char chassis[20];         /* serial number, "": unknown */
    int32_t slot, tray, host; /* -1: unknown */
    int32_t n_c2c;            /* links to its own CPU, -1: unknown */
    double c2c_bw;            /* of one, bytes/s; 0: unknown */
};

/* A yes or no that may not have been told. */
enum sy_told { SY_NOT_TOLD, SY_TOLD_NO, SY_TOLD_YES };

/* Two GPUs; symmetric, and about i < j only. */
struct sy_nvml_pair {
    enum sy_told nvlink, read, write; /* peer access through NVLink; at all */
    int32_t ancestor;                 /* 0 same board, 10 PIX, 20 PXB, 30 PHB, 40 NODE, 50 SYS; -1: unknown */
};

struct sy_nvml {
    char driver[80]; /* version */
    char why[200];   /* why there is no GPU, where there is none */
    int32_t n_gpus;
    struct sy_nvml_gpu *gpus;   /* [n_gpus], in the order of their PCI bus ids */
    struct sy_nvml_pair *pairs; /* [n_gpus * n_gpus], at i * n_gpus + j for i < j; NULL: nothing was told */
};

/* Read all there is. library: file of the library, NULL for the system's own. No driver and no GPU are no errors: n_gpus is 0 and
 * why says it. Errors: SY_ERR_SYSTEM (memory). The caller calls sy_nvml_fini(), also after an error. */
enum sy_status sy_nvml_read(const char *library, struct sy_nvml *nvml, struct sy_findings *findings,
                            struct sy_error *err);

/* What does not fit together: links of equal GPUs, both ends of a link, self links, peers, ports, fabrics. Self links are taken
 * out. where: stands before each finding ("" or NULL: nothing). */
void sy_nvml_check(struct sy_nvml *nvml, const char *where, struct sy_findings *findings);

/* Links between GPUs a and b: direct ones, or, through switches, the least that either has to any switch; 0: none;
 * -1: not known. *bw (may be NULL): payload of all of them in one direction, bytes/s, 0 when unknown. */
int sy_nvml_links(const struct sy_nvml *nvml, int a, int b, double *bw);

/* The GPU at this bus id; -1: none. */
int sy_nvml_find(const struct sy_nvml *nvml, const char *pci);

/* Whether all links of a GPU, and there are some, lead to switches whose address is hidden. */
bool sy_nvml_at_hidden_switch(const struct sy_nvml_gpu *gpu);

/* Add n links to a far end of a GPU, to those that are there already. False when there is no room. */
bool sy_nvml_add_link(struct sy_nvml_gpu *gpu, enum sy_far far, const char *pci, int n, double bw);

/* A GPU of which nothing is known. */
void sy_nvml_gpu_init(struct sy_nvml_gpu *gpu);

/* The common spelling of a bus id: "00000000:1B:00.0" -> "0000:1b:00.0"; "" for FFFFFFFF:FF:FF.0 and what is none. */
void sy_pci_spell(const char *text, char out[20]);

void sy_nvml_fini(struct sy_nvml *nvml);

#endif
