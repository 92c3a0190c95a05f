/* SPDX-License-Identifier: Apache-2.0
 * fuzz_config.c - fuzz harness of config.json, generation_config.json and the binding of tensors
 *
 * An input has up to three parts separated by "\n--\n": config.json, generation_config.json (empty: none), and a list of
 * tensors, one line each: "NAME DTYPE DIM DIM ..." (absent: a small checkpoint of each layout, by the input's length).
 * Here the list becomes a well-formed header, so that the fuzzer need not get offsets right.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/checkpoint.h"
#include "model/meta.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
    if (!kept)
        abort();
}

/* 1 layer, D 4, 2 heads of 2, 2 experts of width 3, vocabulary 5: as per-expert Qwen, per-expert Mixtral, fused. */
#define COMMON                                                                                                         \
    "model.embed_tokens.weight BF16 5 4\nmodel.norm.weight BF16 4\nlm_head.weight BF16 5 4\n"                          \
    "model.layers.0.input_layernorm.weight BF16 4\nmodel.layers.0.post_attention_layernorm.weight BF16 4\n"            \
    "model.layers.0.self_attn.q_proj.weight BF16 4 4\nmodel.layers.0.self_attn.k_proj.weight BF16 4 4\n"               \
    "model.layers.0.self_attn.v_proj.weight BF16 4 4\nmodel.layers.0.self_attn.o_proj.weight BF16 4 4\n"

static const char *const standard[] = {
    COMMON "model.layers.0.mlp.gate.weight BF16 2 4\n"
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

/* One line of the list as a member of the header. Names are kept to characters that need no escape. */
static void append_tensor(struct sy_buf *header, char *line, uint64_t *at)
{
    char *save = NULL, *name = strtok_r(line, " ", &save), *dtype = strtok_r(NULL, " ", &save);
    uint64_t bytes = 0;
    int n_dims = 0;

    if (!name || !dtype)
        return;
    for (char *c = name; *c; c++)
        if (*c < 0x20 || *c == '"' || *c == '\\' || *c == 0x7f)
            *c = '_';
    for (int d = 0; d < SY_N_DTYPES; d++)
        if (!strcmp(dtype, sy_dtype_name((enum sy_dtype)d)))
            bytes = sy_dtype_bytes((enum sy_dtype)d);
    if (!bytes)
        return;
    sy_buf_printf(header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", header->len > 1 ? "," : "", name, dtype);
    for (char *dim; n_dims < SY_TENSOR_DIMS_MAX && (dim = strtok_r(NULL, " ", &save)); n_dims++) {
        uint64_t value = strtoull(dim, NULL, 10) & 0xffffff;
        sy_buf_printf(header, "%s%" PRIu64, n_dims ? "," : "", value);
        if (__builtin_mul_overflow(bytes, value, &bytes) || bytes > (uint64_t)1 << 40)
            bytes = (uint64_t)1 << 40; /* the parser refuses this one */
    }
    sy_buf_printf(header, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", *at, *at + bytes);
    *at += bytes;
}

/* Header and size of the file from a list of tensors. */
static uint64_t make_shard(const char *list, size_t n, struct sy_buf *shard)
{
    struct sy_buf header = SY_BUF_INIT;
    char *copy = strndup(list, n), *save = NULL;
    uint64_t at = 0;
    uint8_t prefix[8];

    promise(copy && sy_buf_printf(&header, "{"));
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        append_tensor(&header, line, &at);
    sy_buf_printf(&header, "}");
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)((uint64_t)header.len >> (8 * i));
    promise(sy_buf_append(shard, prefix, 8) && sy_buf_append(shard, header.data, header.len));
    free(copy);
    sy_buf_fini(&header);
    return shard->len + at;
}

/* What has been bound lies inside its tensor and has the model's shapes. */
static void check_source(const struct sy_source *s, int n, int k)
{
    const struct sy_tensor *t = s->tensor;

    promise(t && s->n == n && s->k == k && n > 0 && k > 0);
    promise(s->offset >= 0 && s->row_stride > 0 && s->k_stride > 0);
    promise(sy_source_stretch(s, 0, n, 0, k).end <= t->bytes);
    promise(!s->scales.tensor == !sy_dtype_quantised(sy_source_dtype(s)));
    if (!s->scales.tensor)
        return;
    promise(s->scales.block_k % SY_SCALE_UNIT == 0 || s->scales.block_k >= k);
    promise(s->scales.offset >= 0 && s->scales.row >= 0);
    promise(sy_scales_stretch(s, 0, n).end <= s->scales.tensor->bytes);
}

static void check_vector(const struct sy_tensor *t, int n)
{
    promise(t && t->n_dims == 1 && t->dims[0] == n);
}

static void check_layer(const struct sy_model *m, const struct sy_layer_sources *l)
{
    int q = m->n_heads * m->head_dim, kv = m->n_kv_heads * m->head_dim;

    check_vector(l->attention_norm, m->hidden);
    check_vector(l->mlp_norm, m->hidden);
    check_source(&l->q, q, m->hidden);
    check_source(&l->k, kv, m->hidden);
    check_source(&l->v, kv, m->hidden);
    check_source(&l->o, m->hidden, q);
    if (m->qk_norm != SY_QK_NORM_NONE) {
        check_vector(l->q_norm, m->qk_norm == SY_QK_NORM_HEAD ? m->head_dim : q);
        check_vector(l->k_norm, m->qk_norm == SY_QK_NORM_HEAD ? m->head_dim : kv);
    }
    promise(l->window >= 0);
    if (l->moe)
        check_source(&l->router, m->n_experts, m->hidden);
    for (int e = 0; e < (l->moe ? m->n_experts : 1); e++) {
        const struct sy_expert_sources *x = l->moe ? &l->experts[e] : &l->dense;
        int width = l->moe ? m->expert_width : m->dense_width;
        check_source(&x->gate, width, m->hidden);
        check_source(&x->up, width, m->hidden);
        check_source(&x->down, m->hidden, width);
    }
}

static void check_model(const struct sy_model *m)
{
    int64_t total, active;
    size_t n_table = sy_rope_rows(&m->rope, 4) * (size_t)m->rope.rotary_dim;
    float *table = calloc(n_table, sizeof *table);

    check_source(&m->embed, m->vocab, m->hidden);
    check_source(&m->lm_head, m->vocab, m->hidden);
    check_vector(m->final_norm, m->hidden);
    promise(m->top_k > 0 && m->top_k <= m->n_experts && m->n_eos >= 0 && m->n_eos <= SY_EOS_MAX && m->max_context > 0);
    for (int i = 0; i < m->n_layers; i++)
        check_layer(m, &m->layers[i]);
    sy_model_parameters(m, &total, &active);
    promise(active > 0 && active <= total && sy_model_kv_bytes(m, SY_F32) > 0);
    promise(table && m->rope.rotary_dim > 0 && m->rope.rotary_dim <= m->head_dim);
    sy_rope_table(&m->rope, 4, table);
    for (size_t i = 0; i < n_table; i++)
        promise(table[i] == table[i] && table[i] <= 1e6f && table[i] >= -1e6f);
    free(table);
}

static void append(struct sy_buf *meta, enum sy_meta_kind kind, const char *name, const void *bytes, size_t n,
                   uint64_t file_bytes)
{
    struct sy_meta_record record = {kind, name, strlen(name), bytes, n, file_bytes};

    promise(sy_meta_append(meta, &record));
}

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
        check_model(model);
    sy_model_destroy(model);
    sy_checkpoint_close(ckpt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sy_buf meta = SY_BUF_INIT, shard = SY_BUF_INIT;
    const char *part[3] = {(const char *)data, NULL, NULL};
    size_t n[3] = {size, 0, 0};

    for (int i = 0; i < 2; i++) {
        const char *end = part[i] ? memmem(part[i], n[i], "\n--\n", 4) : NULL;
        if (!end)
            break;
        part[i + 1] = end + 4;
        n[i + 1] = n[i] - (size_t)(end - part[i]) - 4;
        n[i] = (size_t)(end - part[i]);
    }
    if (!n[2]) {
        part[2] = standard[n[0] % 3];
        n[2] = strlen(part[2]);
    }
    uint64_t file_bytes = make_shard(part[2], n[2], &shard);
    append(&meta, SY_META_CONFIG, "config.json", data, n[0], n[0]);
    if (n[1])
        append(&meta, SY_META_GENERATION, "generation_config.json", part[1], n[1], n[1]);
    append(&meta, SY_META_SHARD, "model.safetensors", shard.data, shard.len, file_bytes);
    create(&meta);
    sy_buf_fini(&meta);
    sy_buf_fini(&shard);
    return 0;
}
