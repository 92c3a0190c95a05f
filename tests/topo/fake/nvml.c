/* SPDX-License-Identifier: Apache-2.0
 * nvml.c - a libnvidia-ml.so.1 that replays the machine in the file that FAKE_NVML names
 *
 * The file's lines, words between blanks ('_' in a name stands for a blank), # begins a comment:
 *     driver VERSION                            init RC: what nvmlInit_v2 returns
 *     gpu BUSID NAME SM BYTES PCIE_GEN PCIE_WIDTH    and about that GPU:
 *         present N                             field 91; without it the field is not supported
 *         link N gpu|switch|npu|other BUSID VERSION MBPS [down|nopeer]
 *                                               N links; BUSID -: the call fails, ffff: hidden by a hypervisor
 *         nolinks                               as where there is no NVLink: every call of a link is not supported
 *         switchlinks N                         field 147
 *         fabric STATE STATUS HEX CLIQUE HEALTH    platform SERIAL SLOT TRAY HOST MODULE    c2c N MBPS
 *     p2p I J nvlink|read|write STATUS          ancestor I J LEVEL (I and J may be *)
 * With BARE only the oldest functions are there.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nvml_api.h"

#define GPUS  64
#define LINKS 64

#define EXPORT __attribute__((visibility("default")))

struct fake_link {
    unsigned far, version, mbps, up, peers;
    char bus[32];
};

struct nv_device {
    char bus[32], name[96];
    int sm, pcie_gen, pcie_width, present, n_links, no_links, switch_links, module;
    unsigned long long bytes;
    struct fake_link links[LINKS];
    struct nv_fabric fabric;
    struct nv_platform platform;
    int has_fabric, has_platform, n_c2c, c2c_mbps;
};

static struct nv_device gpus[GPUS];
static unsigned n_gpus;
static int p2p[GPUS][GPUS][3], levels[GPUS][GPUS], init_rc;
static char version[80];

static unsigned far_of(const char *word)
{
    return !strcmp(word, "gpu")      ? NV_FAR_GPU
           : !strcmp(word, "npu")    ? NV_FAR_NPU
           : !strcmp(word, "switch") ? NV_FAR_SWITCH
                                     : 255;
}

static void add_links(struct nv_device *gpu, const char *rest)
{
    int n = 0;
    char kind[16], bus[32], state[16] = "up";
    unsigned v = 0, mbps = 0;

    sscanf(rest, "%d %15s %31s %u %u %15s", &n, kind, bus, &v, &mbps, state);
    for (int i = 0; i < n && gpu->n_links < LINKS; i++) {
        struct fake_link *l = &gpu->links[gpu->n_links++];
        *l = (struct fake_link){far_of(kind), v, mbps, strcmp(state, "down") != 0, strcmp(state, "nopeer") != 0, ""};
        snprintf(l->bus, sizeof l->bus, "%s", strcmp(bus, "ffff") ? bus : "FFFFFFFF:FF:FF.0");
    }
}

static void add_fabric(struct nv_device *gpu, const char *rest)
{
    char hex[40] = "";
    unsigned state = 0, byte;

    sscanf(rest, "%u %u %39s %u %x", &state, &gpu->fabric.status, hex, &gpu->fabric.clique, &gpu->fabric.health);
    for (int i = 0; i < 16 && sscanf(hex + 2 * i, "%2x", &byte) == 1; i++)
        gpu->fabric.cluster[i] = (uint8_t)byte;
    gpu->fabric.state = (uint8_t)state;
    gpu->has_fabric = 1;
}

static void add_platform(struct nv_device *gpu, const char *rest)
{
    char serial[17] = "";
    unsigned slot = 0, tray = 0, host = 0, module = 0;

    sscanf(rest, "%16s %u %u %u %u", serial, &slot, &tray, &host, &module);
    memcpy(gpu->platform.chassis, serial, sizeof gpu->platform.chassis);
    gpu->platform.slot = (uint8_t)slot;
    gpu->platform.tray = (uint8_t)tray;
    gpu->platform.host = (uint8_t)host;
    gpu->module = (int)module;
    gpu->has_platform = 1;
}

static void about_pair(const char *word, const char *rest)
{
    char a[16], b[16], what[16] = "";
    int value = 0;

    if (!strcmp(word, "ancestor"))
        sscanf(rest, "%15s %15s %d", a, b, &value);
    else
        sscanf(rest, "%15s %15s %15s %d", a, b, what, &value);
    for (int i = 0; i < GPUS; i++)
        for (int j = 0; j < GPUS; j++) {
            if ((strcmp(a, "*") && atoi(a) != i) || (strcmp(b, "*") && atoi(b) != j))
                continue;
            if (!strcmp(word, "ancestor"))
                levels[i][j] = levels[j][i] = value;
            else
                p2p[i][j][*what == 'n' ? 2 : *what == 'w'] = p2p[j][i][*what == 'n' ? 2 : *what == 'w'] = value;
        }
}

static void begin_gpu(const char *rest)
{
    struct nv_device *gpu = &gpus[n_gpus++];

    memset(gpu, 0, sizeof *gpu);
    gpu->present = gpu->switch_links = gpu->n_c2c = gpu->module = -1;
    sscanf(rest, "%31s %95s %d %llu %d %d", gpu->bus, gpu->name, &gpu->sm, &gpu->bytes, &gpu->pcie_gen,
           &gpu->pcie_width);
    for (char *c = gpu->name; *c; c++)
        if (*c == '_')
            *c = ' ';
}

static void about_gpu(struct nv_device *gpu, const char *word, const char *rest)
{
    if (!strcmp(word, "present"))
        gpu->present = atoi(rest);
    else if (!strcmp(word, "link"))
        add_links(gpu, rest);
    else if (!strcmp(word, "nolinks"))
        gpu->no_links = 1;
    else if (!strcmp(word, "switchlinks"))
        gpu->switch_links = atoi(rest);
    else if (!strcmp(word, "fabric"))
        add_fabric(gpu, rest);
    else if (!strcmp(word, "platform"))
        add_platform(gpu, rest);
    else if (!strcmp(word, "c2c"))
        sscanf(rest, "%d %d", &gpu->n_c2c, &gpu->c2c_mbps);
    else
        fprintf(stderr, "fake nvml: %s: what is that?\n", word);
}

static void take_line(char *line)
{
    char word[32];
    int at = 0;

    line[strcspn(line, "#\n")] = 0;
    if (sscanf(line, "%31s %n", word, &at) != 1)
        return;
    const char *rest = line + at;
    if (!strcmp(word, "driver"))
        snprintf(version, sizeof version, "%.79s", rest);
    else if (!strcmp(word, "init"))
        init_rc = atoi(rest);
    else if (!strcmp(word, "gpu") && n_gpus < GPUS)
        begin_gpu(rest);
    else if (!strcmp(word, "p2p") || !strcmp(word, "ancestor"))
        about_pair(word, rest);
    else if (n_gpus)
        about_gpu(&gpus[n_gpus - 1], word, rest);
}

EXPORT int nvmlInit_v2(void);
EXPORT int nvmlShutdown(void);
EXPORT int nvmlDeviceGetCount_v2(unsigned *n);
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned i, nv_device *out);
EXPORT int nvmlDeviceGetPciInfo_v3(nv_device d, struct nv_pci *out);
EXPORT int nvmlDeviceGetUUID(nv_device d, char *out, unsigned n);

int nvmlInit_v2(void)
{
    const char *path = getenv("FAKE_NVML");
    FILE *f = path ? fopen(path, "re") : NULL;
    char line[256];

    n_gpus = 0;
    init_rc = 0;
    version[0] = 0;
    for (int i = 0; i < GPUS * GPUS; i++)
        levels[i / GPUS][i % GPUS] = -1;
    memset(p2p, 0, sizeof p2p);
    if (!f)
        return NV_DRIVER_NOT_LOADED;
    while (fgets(line, sizeof line, f))
        take_line(line);
    fclose(f);
    return init_rc;
}

int nvmlShutdown(void)
{
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned *n)
{
    *n = n_gpus;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned i, nv_device *out)
{
    *out = &gpus[i];
    return i < n_gpus ? 0 : NV_INVALID_ARGUMENT;
}

static void fill_pci(const char *bus, struct nv_pci *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->bus_id, sizeof out->bus_id, "%s%.20s", strlen(bus) < 16 ? "0000" : "", bus);
    for (char *c = out->bus_id; *c; c++)
        *c = (char)(*c >= 'a' && *c <= 'f' ? *c - 32 : *c);
    sscanf(out->bus_id, "%x:%x:%x", &out->domain, &out->bus, &out->device);
}

int nvmlDeviceGetPciInfo_v3(nv_device d, struct nv_pci *out)
{
    fill_pci(d->bus, out);
    return 0;
}

int nvmlDeviceGetUUID(nv_device d, char *out, unsigned n)
{
    snprintf(out, n, "GPU-fake-%s", d->bus);
    return 0;
}

#ifndef BARE

EXPORT int nvmlSystemGetDriverVersion(char *out, unsigned n);
EXPORT int nvmlDeviceGetName(nv_device d, char *out, unsigned n);
EXPORT int nvmlDeviceGetMemoryInfo(nv_device d, struct nv_memory *out);
EXPORT int nvmlDeviceGetCudaComputeCapability(nv_device d, int *major, int *minor);
EXPORT int nvmlDeviceGetModuleId(nv_device d, unsigned *out);
EXPORT int nvmlDeviceGetMaxPcieLinkGeneration(nv_device d, unsigned *out);
EXPORT int nvmlDeviceGetMaxPcieLinkWidth(nv_device d, unsigned *out);
EXPORT int nvmlDeviceGetFieldValues(nv_device d, int n, struct nv_field *fields);
EXPORT int nvmlDeviceGetNvLinkState(nv_device d, unsigned link, unsigned *out);
EXPORT int nvmlDeviceGetNvLinkCapability(nv_device d, unsigned link, int cap, unsigned *out);
EXPORT int nvmlDeviceGetNvLinkRemoteDeviceType(nv_device d, unsigned link, unsigned *out);
EXPORT int nvmlDeviceGetNvLinkRemotePciInfo_v2(nv_device d, unsigned link, struct nv_pci *out);
EXPORT int nvmlDeviceGetNvLinkVersion(nv_device d, unsigned link, unsigned *out);
EXPORT int nvmlDeviceGetP2PStatus(nv_device a, nv_device b, int cap, unsigned *out);
EXPORT int nvmlDeviceGetTopologyCommonAncestor(nv_device a, nv_device b, unsigned *out);
EXPORT int nvmlDeviceGetGpuFabricInfoV(nv_device d, struct nv_fabric *out);
EXPORT int nvmlDeviceGetPlatformInfo(nv_device d, struct nv_platform *out);

int nvmlSystemGetDriverVersion(char *out, unsigned n)
{
    snprintf(out, n, "%s", version);
    return 0;
}

int nvmlDeviceGetName(nv_device d, char *out, unsigned n)
{
    snprintf(out, n, "%s", d->name);
    return 0;
}

int nvmlDeviceGetMemoryInfo(nv_device d, struct nv_memory *out)
{
    *out = (struct nv_memory){d->bytes, d->bytes, 0};
    return 0;
}

int nvmlDeviceGetCudaComputeCapability(nv_device d, int *major, int *minor)
{
    *major = d->sm / 10;
    *minor = d->sm % 10;
    return 0;
}

int nvmlDeviceGetModuleId(nv_device d, unsigned *out)
{
    *out = (unsigned)d->module;
    return d->module < 0 ? NV_NOT_SUPPORTED : 0;
}

int nvmlDeviceGetMaxPcieLinkGeneration(nv_device d, unsigned *out)
{
    *out = (unsigned)d->pcie_gen;
    return 0;
}

int nvmlDeviceGetMaxPcieLinkWidth(nv_device d, unsigned *out)
{
    *out = (unsigned)d->pcie_width;
    return 0;
}

/* The state of a link's number before anything of it can be asked. */
static int link_rc(nv_device d, unsigned link)
{
    if (d->no_links)
        return NV_NOT_SUPPORTED;
    return link < (unsigned)d->n_links ? 0 : NV_INVALID_ARGUMENT;
}

static int field(nv_device d, struct nv_field *f)
{
    const struct fake_link *l = f->scope < LINKS ? &d->links[f->scope] : NULL;
    int64_t value = -1;

    if (f->id == NV_FIELD_LINK_COUNT)
        value = d->present;
    else if (f->id == NV_FIELD_SWITCH_LINK_COUNT)
        value = d->switch_links;
    else if (f->id == NV_FIELD_C2C_COUNT)
        value = d->n_c2c;
    else if (f->id == NV_FIELD_C2C_STATUS && d->n_c2c > (int)f->scope)
        value = 1;
    else if (f->id == NV_FIELD_C2C_MBPS && d->n_c2c > (int)f->scope)
        value = d->c2c_mbps;
    else if (f->id == NV_FIELD_LINK_STATE && l && !link_rc(d, f->scope) && d->sm >= 90)
        value = l->up;
    else if (f->id == NV_FIELD_LINK_SPEED && l && !link_rc(d, f->scope) && l->mbps)
        value = l->mbps;
    f->type = 1;
    f->value.u64 = 0xdeadbeef00000000u;
    f->value.u32 = (uint32_t)value;
    return value < 0 ? NV_NOT_SUPPORTED : 0;
}

int nvmlDeviceGetFieldValues(nv_device d, int n, struct nv_field *fields)
{
    for (int i = 0; i < n; i++)
        fields[i].status = (uint32_t)field(d, &fields[i]);
    return 0;
}

int nvmlDeviceGetNvLinkState(nv_device d, unsigned link, unsigned *out)
{
    int rc = link_rc(d, link);

    if (!rc)
        *out = d->links[link].up;
    return rc;
}

int nvmlDeviceGetNvLinkCapability(nv_device d, unsigned link, int cap, unsigned *out)
{
    int rc = link_rc(d, link);

    if (!rc)
        *out = cap == NV_LINK_CAP_P2P && d->links[link].peers;
    return rc;
}

int nvmlDeviceGetNvLinkRemoteDeviceType(nv_device d, unsigned link, unsigned *out)
{
    int rc = link_rc(d, link);

    if (!rc)
        *out = d->links[link].far;
    return rc;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(nv_device d, unsigned link, struct nv_pci *out)
{
    int rc = link_rc(d, link);

    if (rc || !strcmp(d->links[link].bus, "-"))
        return rc ? rc : NV_NOT_SUPPORTED;
    fill_pci(d->links[link].bus, out);
    return 0;
}

int nvmlDeviceGetNvLinkVersion(nv_device d, unsigned link, unsigned *out)
{
    int rc = link_rc(d, link);

    if (!rc)
        *out = d->links[link].version;
    return rc;
}

int nvmlDeviceGetP2PStatus(nv_device a, nv_device b, int cap, unsigned *out)
{
    if (cap < 0 || cap > 2)
        return NV_INVALID_ARGUMENT;
    *out = (unsigned)p2p[a - gpus][b - gpus][cap];
    return 0;
}

int nvmlDeviceGetTopologyCommonAncestor(nv_device a, nv_device b, unsigned *out)
{
    int level = levels[a - gpus][b - gpus];

    *out = (unsigned)level;
    return level < 0 ? NV_NOT_SUPPORTED : 0;
}

int nvmlDeviceGetGpuFabricInfoV(nv_device d, struct nv_fabric *out)
{
    /* As the real one, it refuses a caller who does not say which layout it has. */
    if (out->version != NV_VERSION(struct nv_fabric, 2))
        return 25;
    if (!d->has_fabric)
        return NV_NOT_SUPPORTED;
    *out = d->fabric;
    return 0;
}

int nvmlDeviceGetPlatformInfo(nv_device d, struct nv_platform *out)
{
    if (out->version != NV_VERSION(struct nv_platform, 2))
        return 25;
    if (!d->has_platform)
        return NV_NOT_SUPPORTED;
    *out = d->platform;
    return 0;
}

#endif
