/* SPDX-License-Identifier: Apache-2.0
 * nvml.c - open NVIDIA's management library and write down what it says
 */
#include "nvml.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "nvml_api.h"

/* Where the number of links is not told they are tried until the library refuses; drivers know 6 to 36. */
#define LINKS_TRIED 64

/* Ask for something, with a failure when the function is not there. */
#define CALL(api, member, ...) ((api)->member ? (api)->member(__VA_ARGS__) : -1)

static void *open_library(const char *library, struct nv_api *api)
{
    void *handle = dlopen(library ? library : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);

    memset(api, 0, sizeof *api);
    if (!handle)
        return NULL;
        /* POSIX has the address of a function fit into void *, C does not convert it. */
#define X(member, symbol, parameters) *(void **)(void *)&api->member = dlsym(handle, symbol);
    NV_FUNCTIONS(X)
#undef X
    return handle;
}

/* A field as a number; -1: not told. */
static int64_t field_of(const struct nv_api *api, nv_device device, unsigned id, unsigned scope)
{
    struct nv_field f = {.id = id, .scope = scope};

    if (CALL(api, fields, device, 1, &f) != NV_SUCCESS || f.status != NV_SUCCESS)
        return -1;
    switch (f.type) {
    case 0:
        return f.value.d >= 0 && f.value.d < 1e15 ? (int64_t)f.value.d : -1;
    case 1:
        return f.value.u32;
    case 5:
        return (int32_t)f.value.u32;
    case 6:
        return f.value.u16;
    default:
        return f.value.u64 <= INT64_MAX ? (int64_t)f.value.u64 : -1;
    }
}

/* Payload of one link in one direction, bytes/s, by nvmlNvlinkVersion_t, which counts versions and is none. */
static double bw_of_version(int64_t version)
{
    static const double gb[] = {0, 20, 25, 25, 25, 25, 25, 50};

    return version > 0 && version < (int64_t)(sizeof gb / sizeof *gb) ? gb[version] * 1e9 : 0;
}

/* The same where no version is told, by the generation of the GPU that has the link. */
static double bw_of_sm(int sm)
{
    return sm < 60 ? 0 : sm < 70 ? 20e9 : sm < 100 ? 25e9 : sm < 110 ? 50e9 : 0;
}

/* Why links are not counted. */
struct skipped {
    int down, no_peers, unreadable, slow, n_unknown_rate;
};

/* 1: up, 0: down, -1: there is no such link or it cannot be read, *last: nor any further one. */
static int link_state(const struct nv_api *api, nv_device device, int sm, unsigned link, bool *last)
{
    unsigned state = 0;
    int64_t told = sm >= 90 ? field_of(api, device, NV_FIELD_LINK_STATE, link) : -1;

    *last = false;
    if (told >= 0)
        return told == 1;
    int rc = CALL(api, link_state, device, link, &state);
    *last = rc == NV_INVALID_ARGUMENT || rc == NV_NOT_SUPPORTED || rc == -1;
    return rc == NV_SUCCESS ? state == 1 : -1;
}

static double link_bw(const struct nv_api *api, nv_device device, int sm, unsigned link, struct skipped *skipped)
{
    unsigned version = 0;
    int64_t told = CALL(api, link_version, device, link, &version) == NV_SUCCESS
                       ? (int64_t)version
                       : field_of(api, device, NV_FIELD_LINK_VERSION, link);
    double bw = told >= 0 ? bw_of_version(told) : bw_of_sm(sm);
    int64_t signalling = field_of(api, device, NV_FIELD_LINK_SPEED, link);

    skipped->n_unknown_rate += bw == 0;
    /* Signalling is up to 6.25 % above payload: a rate below payload is that of a degraded link. */
    if (bw > 0 && signalling > 0 && (double)signalling * 1e6 < 0.99 * bw) {
        skipped->slow++;
        bw = (double)signalling * 1e6;
    }
    return bw;
}

/* One link that is up. The kind of its far end comes first: a switch may have no address here at all. */
static bool read_far_end(const struct nv_api *api, nv_device device, unsigned link, double bw, struct sy_nvml_gpu *gpu)
{
    unsigned kind = 0;
    struct nv_pci pci = {.bus_id = ""};
    char far_pci[20] = "";
    enum sy_far far = SY_FAR_UNKNOWN;

    if (CALL(api, link_far, device, link, &kind) == NV_SUCCESS)
        far = kind == NV_FAR_GPU      ? SY_FAR_GPU
              : kind == NV_FAR_NPU    ? SY_FAR_CPU
              : kind == NV_FAR_SWITCH ? SY_FAR_SWITCH
                                      : SY_FAR_UNKNOWN;
    if (CALL(api, link_pci, device, link, &pci) == NV_SUCCESS) {
        pci.bus_id[sizeof pci.bus_id - 1] = 0;
        sy_pci_spell(pci.bus_id, far_pci);
    }
    if (far == SY_FAR_UNKNOWN && !far_pci[0])
        return false;
    return sy_nvml_add_link(gpu, far, far_pci, 1, bw);
}

static void read_links(const struct nv_api *api, nv_device device, struct sy_nvml_gpu *gpu, struct skipped *skipped)
{
    int64_t told = field_of(api, device, NV_FIELD_LINK_COUNT, 0);
    int n = told >= 0 && told <= LINKS_TRIED ? (int)told : LINKS_TRIED;

    gpu->n_present = told >= 0 ? n : CALL(api, link_state, device, 0, &(unsigned){0}) == -1 ? -1 : 0;
    gpu->n_up = gpu->n_present < 0 ? -1 : 0;
    for (int l = 0; l < n; l++) {
        unsigned peers = 1;
        bool last;
        int state = link_state(api, device, gpu->sm, (unsigned)l, &last);
        if (state < 0 && last && told < 0)
            break;
        if (told < 0)
            gpu->n_present = l + 1;
        if (state <= 0) {
            skipped->down += state == 0;
            skipped->unreadable += state < 0;
        } else if (CALL(api, link_cap, device, (unsigned)l, NV_LINK_CAP_P2P, &peers) == NV_SUCCESS && !peers) {
            skipped->no_peers++;
        } else if (!read_far_end(api, device, (unsigned)l, link_bw(api, device, gpu->sm, (unsigned)l, skipped), gpu)) {
            skipped->unreadable++;
        } else {
            gpu->n_up++;
        }
    }
    int64_t n_switch = field_of(api, device, NV_FIELD_SWITCH_LINK_COUNT, 0);
    gpu->n_switch_links = n_switch >= 0 && n_switch <= LINKS_TRIED ? (int)n_switch : -1;
}

static void read_fabric(const struct nv_api *api, nv_device device, struct sy_nvml_gpu *gpu)
{
    struct nv_fabric fabric = {.version = NV_VERSION(struct nv_fabric, 2)};
    struct nv_platform platform = {.version = NV_VERSION(struct nv_platform, 2)};

    if (CALL(api, fabric, device, &fabric) == NV_SUCCESS && fabric.state <= SY_NVML_FABRIC_COMPLETED) {
        gpu->fabric = (enum sy_nvml_fabric)fabric.state;
        /* A probe that ended in an error has said nothing of clusters. */
        if (gpu->fabric == SY_NVML_FABRIC_COMPLETED && fabric.status == NV_SUCCESS) {
            memcpy(gpu->cluster, fabric.cluster, sizeof gpu->cluster);
            gpu->clique = fabric.clique;
            gpu->health = fabric.health;
        } else if (gpu->fabric == SY_NVML_FABRIC_COMPLETED) {
            gpu->fabric = SY_NVML_FABRIC_NOT_STARTED;
        }
    }
    if (CALL(api, platform, device, &platform) == NV_SUCCESS) {
        for (int i = 0; i < 16 && isgraph(platform.chassis[i]); i++)
            gpu->chassis[i] = (char)platform.chassis[i];
        gpu->slot = platform.slot;
        gpu->tray = platform.tray;
        gpu->host = platform.host;
    }
}

static void read_c2c(const struct nv_api *api, nv_device device, struct sy_nvml_gpu *gpu)
{
    int64_t n = field_of(api, device, NV_FIELD_C2C_COUNT, 0);

    gpu->n_c2c = n >= 0 && n <= LINKS_TRIED ? 0 : -1;
    for (int l = 0; l < n && gpu->n_c2c >= 0; l++) {
        int64_t mb = field_of(api, device, NV_FIELD_C2C_MBPS, (unsigned)l);
        if (field_of(api, device, NV_FIELD_C2C_STATUS, (unsigned)l) != 1)
            continue;
        gpu->n_c2c++;
        if (mb > 0)
            gpu->c2c_bw = (double)mb * 1e6;
    }
}

static void read_gpu(const struct nv_api *api, nv_device device, struct sy_nvml_gpu *gpu, struct skipped *skipped)
{
    struct nv_pci pci = {.bus_id = ""};
    struct nv_memory memory = {0};
    int major, minor;
    unsigned n;

    sy_nvml_gpu_init(gpu);
    if (CALL(api, pci, device, &pci) == NV_SUCCESS) {
        pci.bus_id[sizeof pci.bus_id - 1] = 0;
        sy_pci_spell(pci.bus_id, gpu->pci);
    }
    if (CALL(api, uuid, device, gpu->uuid, sizeof gpu->uuid) != NV_SUCCESS)
        gpu->uuid[0] = 0;
    if (CALL(api, name, device, gpu->name, sizeof gpu->name) != NV_SUCCESS)
        gpu->name[0] = 0;
    gpu->uuid[sizeof gpu->uuid - 1] = gpu->name[sizeof gpu->name - 1] = 0;
    if (CALL(api, memory, device, &memory) == NV_SUCCESS)
        gpu->memory_bytes = memory.total;
    if (CALL(api, capability, device, &major, &minor) == NV_SUCCESS)
        gpu->sm = major * 10 + minor;
    if (CALL(api, module, device, &n) == NV_SUCCESS && n <= INT32_MAX)
        gpu->module = (int32_t)n;
    /* The most that both ends can: the present rate falls while a GPU is idle. */
    if (CALL(api, pcie_gen, device, &n) == NV_SUCCESS && n <= 16)
        gpu->pcie_gen = (int32_t)n;
    if (CALL(api, pcie_width, device, &n) == NV_SUCCESS && n <= 64)
        gpu->pcie_width = (int32_t)n;
    read_links(api, device, gpu, skipped);
    read_fabric(api, device, gpu);
    read_c2c(api, device, gpu);
}

static void report_skipped(const struct sy_nvml_gpu *gpu, const struct skipped *s, struct sy_findings *findings)
{
    if (s->down)
        sy_findings_add(findings, SY_FINDING_WARNING, gpu->pci, "%d of %d NVLinks are down", s->down,
                        (int)gpu->n_present);
    if (s->no_peers)
        sy_findings_add(findings, SY_FINDING_WARNING, gpu->pci, "%d NVLinks that are up do not carry peer access",
                        s->no_peers);
    if (s->unreadable)
        sy_findings_add(findings, SY_FINDING_WARNING, gpu->pci,
                        "%d NVLinks are left out: the driver tells neither kind nor address of their far ends",
                        s->unreadable);
    if (s->slow)
        sy_findings_add(findings, SY_FINDING_WARNING, gpu->pci,
                        "%d NVLinks run at a lower rate than their version has: they are degraded", s->slow);
    if (s->n_unknown_rate)
        sy_findings_add(findings, SY_FINDING_NOTE, gpu->pci,
                        "%d NVLinks are of a version that this program does not know: their rate is unknown",
                        s->n_unknown_rate);
}

static enum sy_told told_of(int rc, unsigned status)
{
    return rc != NV_SUCCESS ? SY_NOT_TOLD : status == 0 ? SY_TOLD_YES : SY_TOLD_NO;
}

static void read_pair(const struct nv_api *api, nv_device a, nv_device b, struct sy_nvml_pair *pair)
{
    unsigned n = 0;
    int rc = CALL(api, p2p, a, b, NV_P2P_NVLINK, &n);

    pair->nvlink = told_of(rc, n);
    rc = CALL(api, p2p, a, b, NV_P2P_READ, &n);
    pair->read = told_of(rc, n);
    rc = CALL(api, p2p, a, b, NV_P2P_WRITE, &n);
    pair->write = told_of(rc, n);
    pair->ancestor = CALL(api, ancestor, a, b, &n) == NV_SUCCESS && n <= 50 ? (int32_t)n : -1;
}

struct entry {
    struct sy_nvml_gpu gpu;
    nv_device device;
};

/* Indices of the library may differ from boot to boot; bus ids do not. */
static int by_bus(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->gpu.pci, ((const struct entry *)b)->gpu.pci);
}

static enum sy_status read_all(const struct nv_api *api, int n, struct sy_nvml *nvml, struct sy_findings *findings,
                               struct sy_error *err)
{
    struct entry *all = calloc((size_t)n, sizeof *all);
    enum sy_status st = SY_OK;

    nvml->gpus = calloc((size_t)n, sizeof *nvml->gpus);
    nvml->pairs = calloc((size_t)n * (size_t)n, sizeof *nvml->pairs);
    if (!all || !nvml->gpus || !nvml->pairs) {
        st = sy_error_set(err, SY_ERR_SYSTEM, "no memory for %d GPUs", n);
        goto out;
    }
    for (int i = 0; i < n; i++) {
        struct skipped skipped = {0};
        struct entry *e = &all[nvml->n_gpus];
        if (CALL(api, handle, (unsigned)i, &e->device) != NV_SUCCESS) {
            sy_findings_add(findings, SY_FINDING_WARNING, NULL, "GPU %d does not answer (lost, or not ours to use)", i);
            continue;
        }
        read_gpu(api, e->device, &e->gpu, &skipped);
        report_skipped(&e->gpu, &skipped, findings);
        nvml->n_gpus++;
    }
    qsort(all, (size_t)nvml->n_gpus, sizeof *all, by_bus);
    for (int i = 0; i < nvml->n_gpus; i++) {
        nvml->gpus[i] = all[i].gpu;
        for (int j = i + 1; j < nvml->n_gpus; j++)
            read_pair(api, all[i].device, all[j].device, &nvml->pairs[i * nvml->n_gpus + j]);
    }
    if (!nvml->n_gpus)
        snprintf(nvml->why, sizeof nvml->why, "none of %d GPUs answers", n);
out:
    free(all);
    return st;
}

enum sy_status sy_nvml_read(const char *library, struct sy_nvml *nvml, struct sy_findings *findings,
                            struct sy_error *err)
{
    struct nv_api api;
    unsigned n = 0;
    enum sy_status st = SY_OK;

    memset(nvml, 0, sizeof *nvml);
    void *handle = open_library(library, &api);
    if (!handle) {
        snprintf(nvml->why, sizeof nvml->why, "no NVIDIA driver: %.150s", library ? library : "no libnvidia-ml.so.1");
        return SY_OK;
    }
    int rc = CALL(&api, init);
    if (rc != NV_SUCCESS) {
        snprintf(nvml->why, sizeof nvml->why, "NVIDIA's management library does not start (%s %d)",
                 rc == NV_DRIVER_NOT_LOADED          ? "the driver is not loaded:"
                 : rc == NV_LIBRARY_VERSION_MISMATCH ? "library and driver have different versions:"
                                                     : "error",
                 rc);
        dlclose(handle);
        return SY_OK;
    }
    if (CALL(&api, driver, nvml->driver, sizeof nvml->driver) != NV_SUCCESS)
        nvml->driver[0] = 0;
    if (CALL(&api, count, &n) != NV_SUCCESS || !n)
        snprintf(nvml->why, sizeof nvml->why, "the NVIDIA driver shows no GPU");
    else
        st = read_all(&api, n < SY_NVML_GPUS_MAX ? (int)n : SY_NVML_GPUS_MAX, nvml, findings, err);
    CALL(&api, shutdown);
    dlclose(handle);
    return st;
}

void sy_nvml_fini(struct sy_nvml *nvml)
{
    free(nvml->gpus);
    free(nvml->pairs);
    memset(nvml, 0, sizeof *nvml);
}
