/* SPDX-License-Identifier: Apache-2.0
 * queue.cu - the GPU of this process, its memory and its queues
 *
 * The runtime is linked statically and opens the driver's library itself, so the program starts on machines that have none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/map.cuh"

static int the_device = -1;

/* CUDA keeps the current device for each thread. */
static void enter(void)
{
    static thread_local bool entered;

    if (!entered && the_device >= 0)
        entered = cudaSetDevice(the_device) == cudaSuccess;
}

int sy_cuda_count(char *why, size_t why_bytes)
{
    int n = 0;
    cudaError_t code = cudaGetDeviceCount(&n);

    if (code == cudaSuccess && n > 0)
        return n;
    (void)cudaGetLastError();
    snprintf(why, why_bytes, "%s",
             code == cudaErrorInsufficientDriver ? "no driver, or one that is older than this build's CUDA"
             : code == cudaSuccess               ? "no GPU"
                                                 : cudaGetErrorString(code));
    return 0;
}

void *sy_cuda_driver(const char *name)
{
    cudaDriverEntryPointQueryResult found;
    void *function = NULL;

    if (cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found) != cudaSuccess) {
        (void)cudaGetLastError();
        return NULL;
    }
    return function;
}

int64_t sy_cuda_pci(int device)
{
    int domain, bus, slot;

    if (cudaDeviceGetAttribute(&domain, cudaDevAttrPciDomainId, device) != cudaSuccess ||
        cudaDeviceGetAttribute(&bus, cudaDevAttrPciBusId, device) != cudaSuccess ||
        cudaDeviceGetAttribute(&slot, cudaDevAttrPciDeviceId, device) != cudaSuccess) {
        (void)cudaGetLastError();
        return -1;
    }
    return (int64_t)domain << 16 | bus << 8 | slot;
}

static __global__ void nothing(void)
{
}

enum sy_status sy_cuda_open(int device, struct sy_cuda_device *found, struct sy_error *err)
{
    char why[128];
    int n = sy_cuda_count(why, sizeof why);
    struct cudaDeviceProp properties;
    cudaFuncAttributes attributes;

    if (!n)
        return sy_error_set(err, SY_ERR_SYSTEM, "no GPU can be used: %s", why);
    if (device < 0 || device >= n)
        return sy_error_set(err, SY_ERR_USAGE, "there is no GPU %d: this process sees %d, from 0", device, n);
    cudaError_t code = cudaSetDevice(device);
    if (code == cudaSuccess)
        code = cudaGetDeviceProperties(&properties, device);
    if (code == cudaSuccess)
        code = cudaMemGetInfo(&found->free_bytes, &found->bytes);
    if (code != cudaSuccess)
        return sy_error_set(err, SY_ERR_SYSTEM, "GPU %d cannot be used: %s", device, cudaGetErrorString(code));
    code = cudaFuncGetAttributes(&attributes, nothing);
    if (code != cudaSuccess)
        return sy_error_set(err, SY_ERR_USAGE,
                            "GPU %d (%s, compute capability %d.%d) has no code in this build: %s; configure with "
                            "--with-cuda-arch",
                            device, properties.name, properties.major, properties.minor, cudaGetErrorString(code));
    snprintf(found->name, sizeof found->name, "%s", properties.name);
    snprintf(found->pci, sizeof found->pci, "%04x:%02x:%02x.0", (unsigned)properties.pciDomainID,
             (unsigned)properties.pciBusID, (unsigned)properties.pciDeviceID);
    found->major = properties.major;
    found->minor = properties.minor;
    found->n_sms = properties.multiProcessorCount;
    the_device = device;
    return SY_OK;
}

void sy_cuda_say_free(char *text, size_t text_bytes)
{
    size_t free_bytes = 0, bytes = 0;

    enter();
    if (cudaMemGetInfo(&free_bytes, &bytes) == cudaSuccess)
        snprintf(text, text_bytes, "GPU %d has %.2f of %.2f GB free", the_device, (double)free_bytes * 1e-9,
                 (double)bytes * 1e-9);
    else
        snprintf(text, text_bytes, "GPU %d does not say how much memory it has free", the_device);
}

bool sy_cuda_check(struct sy_queue *q, cudaError_t code, const char *what)
{
    char left[80];

    if (q->error.status || code == cudaSuccess)
        return q->error.status == SY_OK;
    sy_cuda_say_free(left, sizeof left);
    sy_error_set(&q->error, SY_ERR_SYSTEM, "%s: %s (%s); %s", what, cudaGetErrorString(code), cudaGetErrorName(code),
                 left);
    return false;
}

void *sy_cuda_alloc(size_t bytes)
{
    void *buffer = NULL;

    enter();
    bytes += !bytes;
    /* Queues do not wait for the stream that clears. */
    if (cudaMalloc(&buffer, bytes) != cudaSuccess || cudaMemset(buffer, 0, bytes) != cudaSuccess ||
        cudaStreamSynchronize(cudaStreamLegacy) != cudaSuccess) {
        (void)cudaGetLastError();
        cudaFree(buffer);
        return NULL;
    }
    return buffer;
}

void sy_cuda_free(void *buffer, size_t bytes)
{
    (void)bytes;
    enter();
    cudaFree(buffer);
}

void *sy_cuda_alloc_host(size_t bytes)
{
    void *buffer = NULL;

    enter();
    if (cudaHostAlloc(&buffer, bytes ? bytes : 1, cudaHostAllocPortable | cudaHostAllocMapped) != cudaSuccess) {
        (void)cudaGetLastError();
        return NULL;
    }
    memset(buffer, 0, bytes);
    return buffer;
}

void sy_cuda_free_host(void *buffer, size_t bytes)
{
    (void)bytes;
    enter();
    cudaFreeHost(buffer);
}

/* Kernels use the host's own address: what the backend promises, and every machine with unified addressing has. */
enum sy_status sy_cuda_share_host(void *memory, size_t bytes, struct sy_error *err)
{
    void *seen = NULL;

    enter();
    cudaError_t code = cudaHostRegister(memory, bytes, cudaHostRegisterPortable | cudaHostRegisterMapped);
    if (code == cudaSuccess)
        code = cudaHostGetDevicePointer(&seen, memory, 0);
    if (code != cudaSuccess || seen != memory) {
        (void)cudaGetLastError();
        return sy_error_set(err, SY_ERR_SYSTEM, "GPU %d cannot use %zu bytes of the host's memory: %s", the_device,
                            bytes, code == cudaSuccess ? "it sees them at another address" : cudaGetErrorString(code));
    }
    return SY_OK;
}

void sy_cuda_unshare_host(void *memory)
{
    enter();
    cudaHostUnregister(memory);
}

void sy_cuda_copy(struct sy_queue *q, void *dst, const void *src, size_t bytes)
{
    if (bytes && sy_cuda_works(q))
        sy_cuda_check(q, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, q->stream), "copying");
}

void sy_cuda_clear(struct sy_queue *q, void *dst, size_t bytes)
{
    if (bytes && sy_cuda_works(q))
        sy_cuda_check(q, cudaMemsetAsync(dst, 0, bytes, q->stream), "clearing memory");
}

void *sy_cuda_table(struct sy_queue *q, const void *table, size_t bytes)
{
    size_t rounded = (bytes + 255) / 256 * 256;

    if (!sy_cuda_works(q))
        return NULL;
    if (q->recording)
        return sy_cuda_record_table(q, table, bytes);
    if (rounded > SY_CUDA_TABLE_BYTES) {
        sy_error_set(&q->error, SY_ERR_INTERNAL, "GPU %d: a table of %zu bytes does not fit into %zu", q->device, bytes,
                     SY_CUDA_TABLE_BYTES);
        return NULL;
    }
    if (q->table_used + rounded > SY_CUDA_TABLE_BYTES) {
        if (!sy_cuda_check(q, cudaStreamSynchronize(q->stream), "waiting"))
            return NULL;
        q->table_used = 0;
    }
    uint8_t *host = q->table_host + q->table_used, *device = q->table_device + q->table_used;
    memcpy(host, table, bytes);
    q->table_used += rounded;
    return sy_cuda_check(q, cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, q->stream), "copying a table")
               ? device
               : NULL;
}

/* The stream beside takes places that become free before a kernel with many blocks, for others wait for what it brings. */
static bool make_streams(struct sy_queue *q)
{
    int least = 0, most = 0;

    return sy_cuda_check(q, cudaDeviceGetStreamPriorityRange(&least, &most), "making a stream") &&
           sy_cuda_check(q, cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking), "making a stream") &&
           sy_cuda_check(q, cudaStreamCreateWithPriority(&q->beside, cudaStreamNonBlocking, most), "making a stream") &&
           sy_cuda_check(q, cudaEventCreateWithFlags(&q->fork, cudaEventDisableTiming), "making an event") &&
           sy_cuda_check(q, cudaEventCreateWithFlags(&q->join, cudaEventDisableTiming), "making an event");
}

enum sy_status sy_cuda_queue_create(struct sy_pool *pool, struct sy_queue **out, struct sy_error *err)
{
    struct sy_queue *q = (struct sy_queue *)calloc(1, sizeof *q);

    (void)pool;
    if (!q)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a kernel queue");
    enter();
    q->device = the_device;
    q->error.rank = -1;
    cudaDeviceGetAttribute(&q->n_sms, cudaDevAttrMultiProcessorCount, q->device);
    cudaDeviceGetAttribute(&q->major, cudaDevAttrComputeCapabilityMajor, q->device);
    cudaDeviceGetAttribute(&q->minor, cudaDevAttrComputeCapabilityMinor, q->device);
    int shared_bytes = 0;
    cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, q->device);
    q->shared_bytes = (size_t)shared_bytes;
    q->wgmma = sy_cuda_find_wgmma(q);
    /* PTX for an older GPU has no such instruction, whatever the driver makes of it. */
    cudaFuncAttributes attributes = {};
    q->early = cudaFuncGetAttributes(&attributes, nothing) == cudaSuccess && attributes.ptxVersion >= 90;
    q->table_host = (uint8_t *)sy_cuda_alloc_host(SY_CUDA_TABLE_BYTES);
    q->table_device = (uint8_t *)sy_cuda_alloc(SY_CUDA_TABLE_BYTES);
    q->scratch = sy_cuda_alloc(SY_CUDA_SCRATCH_BYTES);
    q->counters = (uint32_t *)sy_cuda_alloc(SY_CUDA_COUNTERS * sizeof(uint32_t));
    bool enough = q->table_host && q->table_device && q->scratch && q->counters;
    if (!enough || !make_streams(q)) {
        enum sy_status st = enough ? sy_error_set(err, SY_ERR_SYSTEM, "%s", q->error.text)
                                   : sy_error_set(err, SY_ERR_SYSTEM, "GPU %d: no memory for a queue", q->device);
        sy_cuda_queue_destroy(q);
        return st;
    }
    *out = q;
    return SY_OK;
}

enum sy_status sy_cuda_queue_sync(struct sy_queue *q, struct sy_error *err)
{
    bool works = sy_cuda_works(q) && sy_cuda_check(q, cudaStreamSynchronize(q->stream), "a kernel or copy");

    if (!works && err)
        *err = q->error;
    return q->error.status;
}

bool sy_cuda_queue_done(struct sy_queue *q)
{
    return !sy_cuda_works(q) ||
           (cudaStreamQuery(q->stream) != cudaErrorNotReady && cudaStreamQuery(q->beside) != cudaErrorNotReady);
}

/* By a stream that waits for no other. */
enum sy_status sy_cuda_copy_now(void *dst, const void *src, size_t bytes, struct sy_error *err)
{
    cudaStream_t stream = NULL;
    cudaError_t code = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);

    if (code == cudaSuccess)
        code = cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, stream);
    if (code == cudaSuccess)
        code = cudaStreamSynchronize(stream);
    if (stream)
        cudaStreamDestroy(stream);
    return code == cudaSuccess
               ? SY_OK
               : sy_error_set(err, SY_ERR_SYSTEM, "copying to or from a GPU at once: %s", cudaGetErrorString(code));
}

void sy_cuda_queue_destroy(struct sy_queue *q)
{
    if (!q)
        return;
    if (q->fork)
        cudaEventDestroy(q->fork);
    if (q->join)
        cudaEventDestroy(q->join);
    if (q->beside)
        cudaStreamDestroy(q->beside);
    if (q->stream)
        cudaStreamDestroy(q->stream);
    sy_cuda_free_host(q->table_host, SY_CUDA_TABLE_BYTES);
    sy_cuda_free(q->table_device, SY_CUDA_TABLE_BYTES);
    sy_cuda_free(q->scratch, SY_CUDA_SCRATCH_BYTES);
    sy_cuda_free(q->counters, SY_CUDA_COUNTERS * sizeof(uint32_t));
    sy_cuda_maps_free(q);
    free(q);
}

extern "C" const struct sy_kernels sy_kernels_cuda_table;

const struct sy_kernels *sy_kernels_cuda(void)
{
    return the_device < 0 ? NULL : &sy_kernels_cuda_table;
}
