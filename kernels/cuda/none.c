/* SPDX-License-Identifier: Apache-2.0
 * none.c - what a build without CUDA says of GPUs
 */
#include <stdio.h>

#include "kernels.h"

int sy_cuda_count(char *why, size_t why_bytes)
{
    snprintf(why, why_bytes, "this build has no CUDA");
    return 0;
}

int64_t sy_cuda_pci(int device)
{
    (void)device;
    return -1;
}

enum sy_status sy_cuda_open(int device, struct sy_cuda_device *found, struct sy_error *err)
{
    (void)found;
    return sy_error_set(err, SY_ERR_USAGE,
                        "GPU %d was asked for, but this build has no CUDA: configure it where nvcc is",
                        device);
}

const struct sy_kernels *sy_kernels_cuda(void)
{
    return NULL;
}

const struct sy_range_listener *sy_cuda_ranges(void)
{
    return NULL;
}
