/* SPDX-License-Identifier: Apache-2.0
 * fuzz_config.c - fuzz harness of config.json, generation_config.json and the binding of tensors
 *
 * An input has up to three parts separated by "\n--\n": config.json, generation_config.json (empty: none), and a list of
 * tensors as shards.h has it (absent: a small checkpoint of each layout, by the input's length).
 */
#include <string.h>

#include "bound.h"
#include "model/checkpoint.h"
#include "shards.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 1 layer, D 4, 2 heads of 2, 2 experts of width 3, vocabulary 5: as per-expert Qwen, per-expert Mixtral, fused. */
#define COMMON                                                                                              \
    "model.embed_tokens.weight BF16 5 4\nmodel.norm.weight BF16 4\nlm_head.weight BF16 5 4\n"               \
    "model.layers.0.input_layernorm.weight BF16 4\nmodel.layers.0.post_attention_layernorm.weight BF16 4\n" \
    "model.layers.0.self_attn.q_proj.weight BF16 4 4\nmodel.layers.0.self_attn.k_proj.weight BF16 4 4\n"    \
    "model.layers.0.self_attn.v_proj.weight BF16 4 4\nmodel.layers.0.self_attn.o_proj.weight BF16 4 4\n"

static const char *const standard[] = {
    COMMON
    "model.layers.0.mlp.gate.weight BF16 2 4\n"
    "model.layers.0.mlp.experts.0.gate_proj.weight BF16 3 4\nmodel.layers.0.mlp.experts.1.gate_proj.weight BF16 3 4\n"
    "model.layers.0.mlp.experts.0.up_proj.weight BF16 3 4\nmodel.layers.0.mlp.experts.1.up_proj.weight BF16 3 4\n"
    "model.layers.0.mlp.experts.0.down_proj.weight BF16 4 3\nmodel.layers.0.mlp.experts.1.down_proj.weight BF16 4 3\n",
    COMMON "model.layers.0.block_sparse_moe.gate.weight BF16 2 4\n"
           "model.layers.0.block_sparse_moe.experts.0.w1.weight BF16 3 4\n"
           "model.layers.0.block_sparse_moe.experts.1.w1.weight BF16 3 4\n"
           "model.layers.0.block_sparse_moe.experts.0.w3.weight BF16 3 4\n"
           "model.layers.0.block_sparse_moe.experts.1.w3.weight BF16 3 4\n"
           "model.layers.0.block_sparse_moe.experts.0.w2.weight BF16 4 3\n"
           "model.layers.0.block_sparse_moe.experts.1.w2.weight BF16 4 3\n",
    COMMON "model.layers.0.mlp.gate.weight BF16 2 4\n"
           "model.layers.0.mlp.experts.gate_up_proj BF16 2 6 4\nmodel.layers.0.mlp.experts.down_proj BF16 2 4 3\n",
};

static void create(const struct sy_buf *meta)
{
    struct sy_checkpoint *ckpt;
    struct sy_model *model = NULL;
    struct sy_error err = SY_ERROR_INIT;
    enum sy_status st = sy_checkpoint_parse("d", meta->data, meta->len, &ckpt, &err);

    if (!st)
        st = sy_model_create(ckpt, &model, &err);
    if (st)
        promise(st == SY_ERR_DATA && err.text[0] && !model);
    else
        bound_check(model);
    sy_model_destroy(model);
    sy_checkpoint_close(ckpt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sy_buf meta = SY_BUF_INIT, head = SY_BUF_INIT;
    const char *part[3];
    size_t n[3], at = 0;

    for (int i = 0; i < 3; i++) {
        part[i] = (const char *)data + at;
        n[i] = i < 2 ? shards_part(data, size, &at) : size - at;
    }
    if (!n[2]) {
        part[2] = standard[n[0] % 3];
        n[2] = strlen(part[2]);
    }
    uint64_t file_bytes = shards_head(part[2], n[2], &head);
    shards_append(&meta, SY_META_CONFIG, "config.json", data, n[0], n[0]);
    if (n[1])
        shards_append(&meta, SY_META_GENERATION, "generation_config.json", part[1], n[1], n[1]);
    shards_append(&meta, SY_META_SHARD, "model.safetensors", head.data, head.len, file_bytes);
    create(&meta);
    sy_buf_fini(&meta);
    sy_buf_fini(&head);
    return 0;
}
