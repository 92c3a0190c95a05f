/* SPDX-License-Identifier: Apache-2.0
 * ranges.cu - ranges for NVIDIA's profilers, by NVTX
 *
 * NVTX is headers alone. Without a profiler in the process each call looks at a pointer and returns.
 */
#include "config.h"

#ifdef SY_HAVE_NVTX
#include <nvtx3/nvToolsExt.h>
#endif

#include "cuda/cuda.h"

#ifdef SY_HAVE_NVTX
static void begin(const char *name)
{
    nvtxRangePushA(name);
}

static void end(void)
{
    nvtxRangePop();
}

static const struct sy_range_listener listener = {begin, end};

const struct sy_range_listener *sy_cuda_ranges(void)
{
    return &listener;
}
#else
const struct sy_range_listener *sy_cuda_ranges(void)
{
    return NULL;
}
#endif
