/* SPDX-License-Identifier: Apache-2.0
 * table.cu - the GPU as a backend
 */
#include "cuda/cuda.h"

static struct sy_kernels make_table(void)
{
    struct sy_kernels t = {};

    t.name = "cuda";
    t.on_device = true;
    t.rows_x2 = true;
    t.pages_f16 = true;
    t.alloc = sy_cuda_alloc;
    t.free = sy_cuda_free;
    t.say_free = sy_cuda_say_free;
    t.alloc_host = sy_cuda_alloc_host;
    t.free_host = sy_cuda_free_host;
    t.share_host = sy_cuda_share_host;
    t.unshare_host = sy_cuda_unshare_host;
    t.lender = sy_cuda_lender();
    t.courier = sy_cuda_courier();
    t.porter = sy_cuda_porter();
    t.copy = sy_cuda_copy;
    t.clear = sy_cuda_clear;
    t.queue_create = sy_cuda_queue_create;
    t.queue_sync = sy_cuda_queue_sync;
    t.queue_destroy = sy_cuda_queue_destroy;
    t.record = sy_cuda_record;
    t.record_end = sy_cuda_record_end;
    t.replay = sy_cuda_replay;
    t.record_free = sy_cuda_record_free;
    t.panel_bytes = sy_cuda_panel_bytes;
    t.pack_panel = sy_cuda_pack_panel;
    t.embed = sy_cuda_embed;
    t.rmsnorm = sy_cuda_rmsnorm;
    t.layernorm = sy_cuda_layernorm;
    t.weigh = sy_cuda_weigh;
    t.scale = sy_cuda_scale;
    t.clamp = sy_cuda_clamp;
    t.gemm = sy_cuda_gemm;
    t.gemm_heads = sy_cuda_gemm_heads;
    t.rope = sy_cuda_rope;
    t.kv_page_bytes = sy_cuda_kv_page_bytes;
    t.kv_write = sy_cuda_kv_write;
    t.heads = sy_cuda_heads;
    t.attention = sy_cuda_attention;
    t.router = sy_cuda_router;
    t.copy_rows = sy_cuda_copy_rows;
    t.expert_gate_up = sy_cuda_expert_gate_up;
    t.expert_down = sy_cuda_expert_down;
    t.combine = sy_cuda_combine;
    t.moe_bytes = sy_cuda_moe_bytes;
    t.moe_table_bytes = sy_cuda_moe_table_bytes;
    t.moe_table = sy_cuda_moe_table;
    t.moe_run = sy_cuda_moe_run;
    t.across_bytes = sy_cuda_across_bytes;
    t.across = sy_cuda_across;
    t.queue_done = sy_cuda_queue_done;
    t.copy_now = sy_cuda_copy_now;
    t.add = sy_cuda_add;
    t.scan_logits = sy_cuda_scan_logits;
    t.pick_logits = sy_cuda_pick_logits;
    t.convert = sy_cuda_convert;
    t.split = sy_cuda_split;
    t.probe = sy_cuda_probe;
    return t;
}

extern "C" {
extern const struct sy_kernels sy_kernels_cuda_table;
const struct sy_kernels sy_kernels_cuda_table = make_table();
}
