/* SPDX-License-Identifier: Apache-2.0
 * table.c - the reference as a backend
 */
#include "cpu/queue.h"
#include "ref/ref.h"

static const struct sy_kernels table = {
    .name = "ref",
    .rows_x2 = true,
    .pages_f16 = true,
    .alloc = sy_cpu_alloc,
    .free = sy_cpu_free,
    .alloc_host = sy_cpu_alloc,
    .free_host = sy_cpu_free,
    .share_host = sy_cpu_share_host,
    .unshare_host = sy_cpu_unshare_host,
    .copy = sy_cpu_copy,
    .clear = sy_cpu_clear,
    .queue_create = sy_cpu_queue_create,
    .queue_sync = sy_cpu_queue_sync,
    .queue_destroy = sy_cpu_queue_destroy,
    .panel_bytes = sy_cpu_panel_bytes,
    .pack_panel = sy_cpu_pack_panel,
    .embed = sy_ref_embed,
    .rmsnorm = sy_ref_rmsnorm,
    .layernorm = sy_ref_layernorm,
    .weigh = sy_ref_weigh,
    .scale = sy_ref_scale,
    .gemm = sy_ref_gemm,
    .gemm_heads = sy_ref_gemm_heads,
    .rope = sy_ref_rope,
    .clamp = sy_ref_clamp,
    .kv_page_bytes = sy_cpu_kv_page_bytes,
    .kv_write = sy_ref_kv_write,
    .attention = sy_ref_attention,
    .router = sy_ref_router,
    .copy_rows = sy_ref_copy_rows,
    .expert_gate_up = sy_ref_expert_gate_up,
    .expert_down = sy_ref_expert_down,
    .combine = sy_ref_combine,
    .add = sy_ref_add,
    .scan_logits = sy_ref_scan_logits,
    .pick_logits = sy_ref_pick_logits,
    .convert = sy_ref_convert,
    .split = sy_ref_split,
};

const struct sy_kernels *sy_kernels_ref(void)
{
    return &table;
}
