/* SPDX-License-Identifier: Apache-2.0
 * table.cu - the GPU as a backend
 */
#include "cuda/cuda.h"

static struct sy_kernels make_table(void)
{
    struct sy_kernels t = {};

    t.name = "cuda";
    t.on_device = true;
    t.alloc = sy_cuda_alloc;
    t.free = sy_cuda_free;
    t.alloc_host = sy_cuda_alloc_host;
    t.free_host = sy_cuda_free_host;
    t.share_host = sy_cuda_share_host;
    t.unshare_host = sy_cuda_unshare_host;
    t.copy = sy_cuda_copy;
    t.clear = sy_cuda_clear;
    t.queue_create = sy_cuda_queue_create;
    t.queue_sync = sy_cuda_queue_sync;
    t.queue_destroy = sy_cuda_queue_destroy;
    t.panel_bytes = sy_cuda_panel_bytes;
    t.pack_panel = sy_cuda_pack_panel;
    return t;
}

extern "C" {
extern const struct sy_kernels sy_kernels_cuda_table;
const struct sy_kernels sy_kernels_cuda_table = make_table();
}
