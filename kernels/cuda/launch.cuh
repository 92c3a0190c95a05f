/* SPDX-License-Identifier: Apache-2.0
 * launch.cuh - kernels that come close behind one another
 *
 * A step of one token is a few hundred kernels of microseconds each. One that is launched here may begin before the kernel
 * before it has ended: it calls sy_begin() before it touches anything that a kernel writes, in every block, and may read
 * weights before that.
 */
#ifndef SY_KERNELS_CUDA_LAUNCH_CUH
#define SY_KERNELS_CUDA_LAUNCH_CUH

#include "cuda/cuda.h"

/* Let the next kernel come, and wait until the one before is done. */
static __device__ __forceinline__ void sy_begin(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* Whether this block is the last of n to come here; what the others wrote before they came may be read then. The counter is zero
 * before and after. There is one fence, in the atomic operation: while rows are on their way to other GPUs one takes
 * microseconds. */
static __device__ __forceinline__ bool sy_comes_last(uint32_t *counter, uint32_t n)
{
    __shared__ bool last;

    __syncthreads();
    if (threadIdx.x == 0) {
        uint32_t before;
        asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;" : "=r"(before) : "l"(counter) : "memory");
        last = before == n - 1;
        if (last)
            *counter = 0;
    }
    __syncthreads();
    return last;
}

template <class... Given, class... Arguments>
static void sy_launch(struct sy_queue *q, const char *what, void (*kernel)(Given...), dim3 grid, unsigned n_threads,
                      size_t shared, Arguments... arguments)
{
    cudaLaunchAttribute early = {};
    cudaLaunchConfig_t config = {};

    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    config.gridDim = grid;
    config.blockDim = dim3(n_threads);
    config.dynamicSmemBytes = shared;
    config.stream = q->stream;
    config.attrs = &early;
    config.numAttrs = q->early;
    sy_cuda_check(q, cudaLaunchKernelEx(&config, kernel, static_cast<Given>(arguments)...), what);
}

#endif
