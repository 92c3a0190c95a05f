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
