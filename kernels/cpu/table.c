/* SPDX-License-Identifier: Apache-2.0
 * table.c - the backend of one instruction set
 */
#include "cpu/cpu.h"

const struct sy_kernels SY_CPU_TABLE = {
    .name = SY_CPU_NAME,
    .alloc = sy_cpu_alloc,
    .free = sy_cpu_free,
    .copy = sy_cpu_copy,
    .queue_create = sy_cpu_queue_create,
    .queue_sync = sy_cpu_queue_sync,
    .queue_destroy = sy_cpu_queue_destroy,
    .panel_bytes = sy_cpu_panel_bytes,
    .pack_panel = sy_cpu_pack_panel,
    .embed = SY_CPU(embed),
    .rmsnorm = SY_CPU(rmsnorm),
    .layernorm = SY_CPU(layernorm),
    .weigh = SY_CPU(weigh),
    .scale = SY_CPU(scale),
    .gemm = SY_CPU(gemm),
    .gemm_heads = SY_CPU(gemm_heads),
    .rope = SY_CPU(rope),
    .clamp = SY_CPU(clamp),
    .kv_page_bytes = sy_cpu_kv_page_bytes,
    .kv_write = SY_CPU(kv_write),
    .attention = SY_CPU(attention),
    .router = SY_CPU(router),
    .copy_rows = SY_CPU(copy_rows),
    .expert_gate_up = SY_CPU(expert_gate_up),
    .expert_down = SY_CPU(expert_down),
    .combine = SY_CPU(combine),
    .add = SY_CPU(add),
    .scan_logits = SY_CPU(scan_logits),
    .convert = SY_CPU(convert),
    .probe = SY_CPU(probe),
};
