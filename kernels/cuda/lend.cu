/* SPDX-License-Identifier: Apache-2.0
 * lend.cu - memory of a GPU that other processes write to
 *
 * CUDA IPC, between processes on one GPU or on GPUs that can reach each other.
 */
#include <string.h>

#include "cuda/cuda.h"

/* CUDA lends whole blocks of so many bytes: memory that has none to itself would be lent together with somebody else's. */
#define BLOCK_BYTES ((size_t)2 << 20)

/* -1 also where the driver ends kernels that run for seconds, as those that wait for another rank may. */
static int64_t own_device(void)
{
    int device = 0, limited = 1;

    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&limited, cudaDevAttrKernelExecTimeout, device) != cudaSuccess) {
        (void)cudaGetLastError();
        return -1;
    }
    return limited ? -1 : sy_cuda_pci(device);
}

static enum sy_status lend(size_t bytes, void **memory, struct sy_handle *handle, struct sy_error *err)
{
    cudaIpcMemHandle_t ipc;

    static_assert(sizeof ipc == sizeof handle->bytes, "a handle has room for CUDA's");
    bytes = (bytes / BLOCK_BYTES + 1) * BLOCK_BYTES;
    *memory = sy_cuda_alloc(bytes);
    if (!*memory)
        return sy_error_set(err, SY_ERR_SYSTEM, "no %.1f MB of the GPU's memory are free", (double)bytes * 1e-6);
    cudaError_t code = cudaIpcGetMemHandle(&ipc, *memory);
    if (code != cudaSuccess) {
        (void)cudaGetLastError();
        sy_cuda_free(*memory, bytes);
        *memory = NULL;
        return sy_error_set(err, SY_ERR_SYSTEM, "the GPU's memory cannot be lent: %s", cudaGetErrorString(code));
    }
    memcpy(handle->bytes, &ipc, sizeof ipc);
    handle->device = own_device();
    return SY_OK;
}

static enum sy_status borrow(const struct sy_handle *handle, void **memory, struct sy_error *err)
{
    cudaIpcMemHandle_t ipc;

    memcpy(&ipc, handle->bytes, sizeof ipc);
    cudaError_t code = cudaIpcOpenMemHandle(memory, ipc, cudaIpcMemLazyEnablePeerAccess);
    if (code == cudaSuccess)
        return SY_OK;
    (void)cudaGetLastError();
    *memory = NULL;
    return sy_error_set(err, SY_ERR_SYSTEM, "the GPU cannot reach another process's memory: %s",
                        cudaGetErrorString(code));
}

static void give_back(void *memory)
{
    if (cudaIpcCloseMemHandle(memory) != cudaSuccess)
        (void)cudaGetLastError();
}

const struct sy_lender *sy_cuda_lender(void)
{
    static const struct sy_lender lender = {lend, sy_cuda_free, borrow, give_back};

    return &lender;
}
