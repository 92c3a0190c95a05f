/* SPDX-License-Identifier: Apache-2.0
 * nvml_api.h - the part of NVIDIA's management library that discovery calls, in our own words (private to topo)
 *
 * Layouts and numbers are those of the library's documented interface, whose functions and structures never change once they are
 * published; newer versions get new names.
 */
#ifndef SY_TOPO_NVML_API_H
#define SY_TOPO_NVML_API_H

#include <stdint.h>

enum {
    NV_SUCCESS = 0,
    NV_INVALID_ARGUMENT = 2,
    NV_NOT_SUPPORTED = 3,
    NV_DRIVER_NOT_LOADED = 9,
    NV_LIBRARY_VERSION_MISMATCH = 18,
};

/* Fields, NVML_FI_DEV_... */
enum {
    NV_FIELD_LINK_COUNT = 91,
    NV_FIELD_SWITCH_LINK_COUNT = 147,
    NV_FIELD_LINK_SPEED = 164, /* MB/s of signalling */
    NV_FIELD_LINK_STATE = 165,
    NV_FIELD_LINK_VERSION = 166,
    NV_FIELD_C2C_COUNT = 170,
    NV_FIELD_C2C_STATUS = 171,
    NV_FIELD_C2C_MBPS = 172,
};

enum { NV_FAR_GPU = 0, NV_FAR_NPU = 1, NV_FAR_SWITCH = 2 };
enum { NV_P2P_READ = 0, NV_P2P_WRITE = 1, NV_P2P_NVLINK = 2 };
enum { NV_LINK_CAP_P2P = 0 };

typedef struct nv_device *nv_device;

struct nv_pci {
    char legacy[16];
    uint32_t domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
};

struct nv_memory {
    unsigned long long total, free, used;
};

struct nv_field {
    uint32_t id, scope;
    long long timestamp, latency_us;
    uint32_t type; /* of value: 1 and 5 of 32 bits, 6 of 16, 0 a double, else 64 bits */
    uint32_t status;
    union {
        double d;
        uint32_t u32;
        uint16_t u16;
        uint64_t u64;
    } value;
};

struct nv_fabric {
    uint32_t version;
    uint8_t cluster[16];
    uint32_t status, clique;
    uint8_t state;
    uint32_t health;
};

struct nv_platform {
    uint32_t version;
    uint8_t ib_guid[16];
    uint8_t chassis[16];
    uint8_t slot, tray, host, peer, module;
};

/* How the library wants the version of a structure. */
#define NV_VERSION(type, n) ((uint32_t)sizeof(type) | (uint32_t)(n) << 24)

/* X(name of the member, name of the symbol, its parameters) */
#define NV_FUNCTIONS(X)                                                                                       \
    X(init, "nvmlInit_v2", (void))                                                                            \
    X(shutdown, "nvmlShutdown", (void))                                                                       \
    X(driver, "nvmlSystemGetDriverVersion", (char *, unsigned))                                               \
    X(count, "nvmlDeviceGetCount_v2", (unsigned *))                                                           \
    X(handle, "nvmlDeviceGetHandleByIndex_v2", (unsigned, nv_device *))                                       \
    X(pci, "nvmlDeviceGetPciInfo_v3", (nv_device, struct nv_pci *))                                           \
    X(uuid, "nvmlDeviceGetUUID", (nv_device, char *, unsigned))                                               \
    X(name, "nvmlDeviceGetName", (nv_device, char *, unsigned))                                               \
    X(memory, "nvmlDeviceGetMemoryInfo", (nv_device, struct nv_memory *))                                     \
    X(capability, "nvmlDeviceGetCudaComputeCapability", (nv_device, int *, int *))                            \
    X(module, "nvmlDeviceGetModuleId", (nv_device, unsigned *))                                               \
    X(pcie_gen, "nvmlDeviceGetMaxPcieLinkGeneration", (nv_device, unsigned *))                                \
    X(pcie_width, "nvmlDeviceGetMaxPcieLinkWidth", (nv_device, unsigned *))                                   \
    X(fields, "nvmlDeviceGetFieldValues", (nv_device, int, struct nv_field *))                                \
    X(link_state, "nvmlDeviceGetNvLinkState", (nv_device, unsigned, unsigned *))                              \
    X(link_cap, "nvmlDeviceGetNvLinkCapability", (nv_device, unsigned, int, unsigned *))                      \
    X(link_far, "nvmlDeviceGetNvLinkRemoteDeviceType", (nv_device, unsigned, unsigned *))                     \
    X(link_pci, "nvmlDeviceGetNvLinkRemotePciInfo_v2", (nv_device, unsigned, struct nv_pci *))                \
    X(link_version, "nvmlDeviceGetNvLinkVersion", (nv_device, unsigned, unsigned *))                          \
    X(p2p, "nvmlDeviceGetP2PStatus", (nv_device, nv_device, int, unsigned *))                                 \
    X(ancestor, "nvmlDeviceGetTopologyCommonAncestor", (nv_device, nv_device, unsigned *))                    \
    X(fabric, "nvmlDeviceGetGpuFabricInfoV", (nv_device, struct nv_fabric *))                                 \
    X(platform, "nvmlDeviceGetPlatformInfo", (nv_device, struct nv_platform *))

struct nv_api {
#define X(member, symbol, parameters) int(*member) parameters;
    NV_FUNCTIONS(X)
#undef X
};

#endif
