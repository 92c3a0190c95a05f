/* SPDX-License-Identifier: Apache-2.0
 * quantization.c - tests that codes and scales come to lie where kernels look for them, whatever the scales are of, and of
 * what is refused
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "folder.h"
#include "half.h"
#include "layout.h"
#include "model/shard.h"
#include "tap.h"
#include "testrand.h"

/* No dimension is a multiple of a block; q, k and v end within blocks and within panels. */
enum { D = 160, DH = 12, HQ = 12, HKV = 3, E = 2, F = 72, V = 40 };

#define COMPRESSED(type, strategy)                                                                                \
    "{\"quant_method\":\"compressed-tensors\",\"format\":\"naive-quantized\",\"ignore\":[\"lm_head\"],"           \
    "\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"],\"weights\":{\"num_bits\":8,\"type\":\"" type "\"," \
    "\"symmetric\":true,\"strategy\":\"" strategy "\"},\"input_activations\":{\"num_bits\":8,\"dynamic\":true}}}}"

/* A way of publishing: the scale of row n, input k is number n / block_n * ceil(K / block_k) + k / block_k. */
static const struct kind {
    const char *what, *config, *dtype, *scale_dtype, *ending;
    int block_n, block_k; /* 0: all */
} kinds[] = {
    {"FP8 in blocks", "{\"quant_method\":\"fp8\",\"weight_block_size\":[128,128]}", "F8_E4M3", "F32", "_scale_inv", 128,
     128},
    {"FP8 in small blocks with BF16 scales",
     "{\"quant_method\":\"fp8\",\"weight_block_size\":[40,64],\"fmt\":\"e4m3\"}", "F8_E4M3", "BF16", "_scale_inv", 40,
     64},
    {"FP8 by tensors", COMPRESSED("float", "tensor"), "F8_E4M3", "F32", "_scale", 0, 0},
    {"FP8 by outputs", COMPRESSED("float", "channel"), "F8_E4M3", "F16", "_scale", 1, 0},
    {"INT8 by outputs", COMPRESSED("int", "channel"), "I8", "BF16", "_scale", 1, 0},
};

#define MXFP4 "{\"quant_method\":\"mxfp4\",\"modules_to_not_convert\":[\"lm_head\"]}"

struct subject {
    const char *dir;
    struct sy_checkpoint *ckpt;
    struct sy_model *model;
    struct sy_buf file;
    struct sy_error err;
    enum sy_status st;
};

static struct testrand rand_state;

static void add_matrix(struct tensor_list *list, const struct kind *kind, int n, int k, const char *name)
{
    int block_n = kind->block_n ? kind->block_n : n, block_k = kind->block_k ? kind->block_k : k;
    int rows = (n - 1) / block_n + 1, columns = (k - 1) / block_k + 1;

    list_add(list, kind->dtype, n, k, 0, "model.layers.0.%s.weight", name);
    list_add(list, kind->scale_dtype, rows, kind->block_n == 1 || kind->block_k ? columns : 0, 0,
             "model.layers.0.%s.weight%s", name, kind->ending);
}

static struct tensor_list *make_list(const struct kind *kind)
{
    struct tensor_list *t = calloc(1, sizeof *t);
    char name[80];

    list_add(t, "BF16", V, D, 0, "model.embed_tokens.weight");
    list_add(t, "BF16", D, 0, 0, "model.norm.weight");
    list_add(t, "BF16", V, D, 0, "lm_head.weight");
    list_add(t, "BF16", D, 0, 0, "model.layers.0.input_layernorm.weight");
    list_add(t, "BF16", D, 0, 0, "model.layers.0.post_attention_layernorm.weight");
    list_add(t, "BF16", E, D, 0, "model.layers.0.mlp.gate.weight");
    list_add(t, "F32", 1, 0, 0, "model.layers.0.self_attn.q_proj.input_scale");
    add_matrix(t, kind, HQ * DH, D, "self_attn.q_proj");
    add_matrix(t, kind, HKV * DH, D, "self_attn.k_proj");
    add_matrix(t, kind, HKV * DH, D, "self_attn.v_proj");
    add_matrix(t, kind, D, HQ * DH, "self_attn.o_proj");
    for (int e = 0; e < E; e++) {
        static const char *const names[] = {"gate", "up", "down"};
        for (int i = 0; i < 3; i++) {
            snprintf(name, sizeof name, "mlp.experts.%d.%s_proj", e, names[i]);
            add_matrix(t, kind, i < 2 ? F : D, i < 2 ? D : F, name);
        }
    }
    return t;
}

/* Random codes that are numbers, and scales between 1/2 and 2; of scale `spoiled` the first is bad. */
static void fill(const struct tensor_list *list, uint8_t *data, const char *spoiled)
{
    for (int i = 0; i < list->n; i++) {
        const struct tensor_spec *t = &list->items[i];
        size_t n = 1;
        for (int d = 0; d < t->n_dims; d++)
            n *= (size_t)t->dims[d];
        size_t element = !strcmp(t->dtype, "F32") || !strcmp(t->dtype, "I32") ? 4 : strstr(t->dtype, "16") ? 2 : 1;
        for (size_t at = 0; at < n; at++, data += element) {
            float f = ldexpf(1.0f + (float)(testrand_next(&rand_state) % 128) / 128,
                             (int)(testrand_next(&rand_state) % 2) - 1);
            bool bad = spoiled && at == 0 && !strcmp(t->name, spoiled);
            if (element == 4) {
                f = bad ? NAN : f;
                memcpy(data, &f, 4);
            } else if (element == 2) {
                uint16_t half = t->dtype[0] == 'B' ? sy_bf16_round(f)
                                                   : (uint16_t)(0x3800 + testrand_next(&rand_state) % 1024);
                memcpy(data, &half, 2);
            } else {
                *data = (uint8_t)(testrand_next(&rand_state) & (strstr(t->name, "_scales") ? 0x7f : 0xf7));
                *data = bad ? 0xff : *data;
            }
        }
    }
}

static struct subject make(struct tensor_list *list, const char *quantization, const char *spoiled)
{
    struct subject s = {.dir = folder_make(), .file = SY_BUF_INIT, .err = SY_ERROR_INIT};
    struct sy_buf text = SY_BUF_INIT, header = SY_BUF_INIT;
    size_t n_data = list_header(list, &header);
    uint64_t n = header.len;

    sy_buf_printf(&text,
                  "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"hidden_size\":%d,\"num_hidden_layers\":1,"
                  "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"head_dim\":%d,\"vocab_size\":%d,"
                  "\"num_experts\":%d,\"num_experts_per_tok\":1,"
                  "\"tie_word_embeddings\":false,\"quantization_config\":%s}",
                  D, HQ, HKV, DH, V, E, quantization);
    folder_text(s.dir, "config.json", (const char *)text.data);
    if (!sy_buf_append(&s.file, &n, sizeof n) || !sy_buf_append(&s.file, header.data, header.len) ||
        !sy_buf_reserve(&s.file, n_data))
        bail("no memory");
    fill(list, s.file.data + s.file.len, spoiled);
    folder_write(s.dir, "model.safetensors", s.file.data, s.file.len + n_data);
    s.st = folder_open(s.dir, &s.ckpt, &s.err);
    if (s.st)
        bail("the test's own checkpoint: %s", s.err.text);
    s.st = sy_model_create(s.ckpt, &s.model, &s.err);
    sy_buf_fini(&text);
    sy_buf_fini(&header);
    return s;
}

static void unmake(struct subject *s)
{
    sy_buf_fini(&s->file);
    sy_model_destroy(s->model);
    sy_checkpoint_close(s->ckpt);
    folder_remove(s->dir);
}

static int all_slots(const void *ctx, int layer)
{
    (void)ctx;
    (void)layer;
    return E;
}

static int own_expert(const void *ctx, int layer, int slot)
{
    (void)ctx;
    (void)layer;
    return slot;
}

struct loaded {
    const struct sy_kernels *kernels;
    struct sy_shard *shard;
    void *dense, *experts;
    uint64_t n_read;
};

static enum sy_status load(struct subject *s, struct loaded *to)
{
    struct sy_shard_experts experts = {all_slots, own_expert, NULL, E};
    struct sy_pool *pool;
    uint64_t before = sy_checkpoint_bytes_read(s->ckpt);

    *to = (struct loaded){.kernels = sy_kernels_cpu(sy_isa_best())};
    if (sy_shard_create(s->model, to->kernels, &experts, &to->shard, &s->err) ||
        sy_pool_create(2, NULL, 0, &pool, &s->err))
        bail("%s", s->err.text);
    to->dense = to->kernels->alloc(to->shard->dense_bytes);
    to->experts = to->kernels->alloc(to->shard->expert_bytes);
    sy_shard_place(to->shard, to->dense, to->experts);
    enum sy_status st = sy_shard_load(to->shard, s->ckpt, 0, 1, pool, NULL, NULL, &s->err);
    to->n_read = sy_checkpoint_bytes_read(s->ckpt) - before;
    sy_pool_destroy(pool);
    return st;
}

static void unload(struct loaded *loaded)
{
    loaded->kernels->free(loaded->dense, loaded->shard->dense_bytes);
    loaded->kernels->free(loaded->experts, loaded->shard->expert_bytes);
    sy_shard_destroy(loaded->shard);
}

/* What a packed matrix has for row `row` of one of its streams. */
static float packed(const struct sy_weight *w, int n_streams, int stream, int row, int k)
{
    int n = (row / SY_PANEL * n_streams + stream) * SY_PANEL + row % SY_PANEL;
    size_t at = sy_scale_index(w, n, k);
    float scale = w->dtype == SY_MXFP4 ? sy_e8m0_widen(((const uint8_t *)w->scales)[at])
                                       : ((const float *)w->scales)[at];

    return sy_float_at(w->dtype, w->data, sy_panel_index(w->dtype, w->k, n, k)) * scale;
}

static const uint8_t *data_of(const struct subject *s, const struct sy_tensor *t)
{
    return s->file.data + t->offset;
}

/* A tensor against rows first .. of a packed stream. */
static bool same(const struct subject *s, const struct kind *kind, const char *name, const struct sy_weight *w,
                 int n_streams, int stream, int first)
{
    char full[120], scales[140];

    snprintf(full, sizeof full, "model.layers.0.%s.weight", name);
    snprintf(scales, sizeof scales, "%s%s", full, kind->ending);
    const struct sy_tensor *t = sy_checkpoint_find(s->ckpt, full), *scale = sy_checkpoint_find(s->ckpt, scales);
    int N = (int)t->dims[0], K = (int)t->dims[1];
    int block_n = kind->block_n ? kind->block_n : N, block_k = kind->block_k ? kind->block_k : K;
    for (int n = 0; n < N; n++) {
        for (int k = 0; k < K; k++) {
            size_t at = (size_t)(n / block_n * ((K - 1) / block_k + 1) + k / block_k);
            float expected = sy_float_at(t->dtype, data_of(s, t), (size_t)(n * K + k)) *
                             sy_float_at(scale->dtype, data_of(s, scale), at);
            if (packed(w, n_streams, stream, first + n, k) != expected)
                return false;
        }
    }
    return true;
}

static void test_kind(const struct kind *kind)
{
    struct tensor_list *list = make_list(kind);
    struct subject s = make(list, kind->config, NULL);
    struct loaded loaded;
    char name[80];

    if (!ok(!s.st, "%s: is understood", kind->what))
        bail("%s", s.err.text);
    ok(!load(&s, &loaded), "%s: loads (%s)", kind->what, s.err.text);
    const struct sy_layer_weights *l = loaded.shard->layers;
    ok(same(&s, kind, "self_attn.q_proj", &l->qkv, 1, 0, 0) &&
           same(&s, kind, "self_attn.k_proj", &l->qkv, 1, 0, HQ * DH) &&
           same(&s, kind, "self_attn.v_proj", &l->qkv, 1, 0, (HQ + HKV) * DH) &&
           same(&s, kind, "self_attn.o_proj", &l->o, 1, 0, 0),
       "%s: attention", kind->what);
    bool held = true;
    for (int e = 0; e < E; e++) {
        static const char *const names[] = {"gate", "up", "down"};
        for (int i = 0; i < 3; i++) {
            const struct sy_expert_weights *x = &loaded.shard->experts[e];
            snprintf(name, sizeof name, "mlp.experts.%d.%s_proj", e, names[i]);
            held = held && same(&s, kind, name, i < 2 ? &x->gate_up : &x->down, i < 2 ? 2 : 1, i == 1, 0);
        }
    }
    ok(held, "%s: experts", kind->what);
    ok(loaded.n_read == loaded.shard->dense_read_bytes + loaded.shard->expert_read_bytes, "%s: each byte is read once",
       kind->what);
    ok(loaded.shard->expert_bytes < (size_t)(E * 3 * 80 * D) * 13 / 10, "%s: experts take about a byte a weight: %zu",
       kind->what, loaded.shard->expert_bytes);
    unload(&loaded);
    unmake(&s);
    free(list);
}

/* ---- MXFP4 ---- */

enum { MX_F = 64 };

static void list_blocks(struct tensor_list *list, int rows, int k, const char *name)
{
    list_add(list, "U8", E, rows, k / 32, "model.layers.0.mlp.experts.%s_blocks", name);
    list->items[list->n - 1].n_dims = 4;
    list->items[list->n - 1].dims[3] = 16;
    list_add(list, "U8", E, rows, k / 32, "model.layers.0.mlp.experts.%s_scales", name);
}

static struct tensor_list *make_mxfp4(void)
{
    static const struct kind plain = {"BF16", "", "BF16", "", "_none", 0, 0};
    struct tensor_list *list = make_list(&plain);

    /* What is left are BF16 matrices without scales and without experts. */
    for (int i = list->n - 1; i >= 0; i--)
        if (!list->items[i].dtype[0] || strstr(list->items[i].name, ".experts."))
            list_drop(list, list->items[i].name);
    list_blocks(list, 2 * MX_F, D, "gate_up_proj");
    list_blocks(list, D, MX_F, "down_proj");
    return list;
}

static float mxfp4_at(const struct subject *s, const char *name, int e, int n, int k)
{
    char blocks[120], scales[120];

    snprintf(blocks, sizeof blocks, "model.layers.0.mlp.experts.%s_blocks", name);
    snprintf(scales, sizeof scales, "model.layers.0.mlp.experts.%s_scales", name);
    const struct sy_tensor *t = sy_checkpoint_find(s->ckpt, blocks), *scale = sy_checkpoint_find(s->ckpt, scales);
    size_t block = (size_t)((e * t->dims[1] + n) * t->dims[2] + k / 32);
    uint8_t code = data_of(s, t)[block * 16 + (size_t)(k % 32 / 2)];
    return sy_e2m1_widen(k % 2 ? code >> 4 : code) * ldexpf(1, data_of(s, scale)[block] - 127);
}

static void test_mxfp4(void)
{
    struct tensor_list *list = make_mxfp4();
    struct subject s = make(list, MXFP4, NULL);
    struct loaded loaded;
    bool held = true;

    if (!ok(!s.st, "MXFP4 experts are understood"))
        bail("%s", s.err.text);
    ok(!load(&s, &loaded), "and load (%s)", s.err.text);
    for (int e = 0; e < E; e++) {
        const struct sy_expert_weights *x = &loaded.shard->experts[e];
        for (int n = 0; n < MX_F; n++)
            for (int k = 0; k < D; k++)
                held = held && packed(&x->gate_up, 2, 0, n, k) == mxfp4_at(&s, "gate_up_proj", e, 2 * n, k) &&
                       packed(&x->gate_up, 2, 1, n, k) == mxfp4_at(&s, "gate_up_proj", e, 2 * n + 1, k);
        for (int n = 0; n < D; n++)
            for (int k = 0; k < MX_F; k++)
                held = held && packed(&x->down, 1, 0, n, k) == mxfp4_at(&s, "down_proj", e, n, k);
    }
    ok(held, "gate and up rows in turn, and down");
    ok(loaded.shard->expert_bytes < (size_t)(E * 3 * MX_F * D) * 55 / 100, "they take about half a byte a weight: %zu",
       loaded.shard->expert_bytes);
    unload(&loaded);
    unmake(&s);
    free(list);
}

/* ---- what is refused ---- */

static const struct {
    const char *config, *part;
} configs[] = {
    {"{}", "\"quantization_config\" has quant_method not given; supported: \"fp8\", \"compressed-tensors\", \"mxfp4\""},
    {"{\"quant_method\":\"gptq\"}", "quant_method \"gptq\""},
    {"{\"quant_method\":3}", "quant_method 3"},
    {"3", "quant_method not given"},
    {"null", "q_proj.weight is F8_E4M3, of which \"quantization_config\" says nothing"},
    {"{\"quant_method\":\"mxfp4\"}", "q_proj.weight is F8_E4M3, of which \"quantization_config\" says nothing"},
    {"{\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"}", "fmt \"e5m2\""},
    {"{\"quant_method\":\"fp8\",\"weight_block_size\":[128]}", "weight_block_size an array of 1"},
    {"{\"quant_method\":\"fp8\",\"weight_block_size\":[128,100]}", "weight_block_size an array of 2"},
    {"{\"quant_method\":\"fp8\",\"weight_block_size\":[0,128]}", "weight_block_size an array of 2"},
    {"{\"quant_method\":\"fp8\",\"weight_block_size\":128}", "weight_block_size 128"},
    {"{\"quant_method\":\"fp8\",\"weight_block_size\":[64,128]}",
     "q_proj.weight_scale_inv has shape [2, 2], expected one scale, one for each of the 144 outputs, or one for each "
     "block"},
    {"{\"quant_method\":\"fp8\"}", "q_proj.weight_scale_inv has shape [2, 2], expected one scale"},
    {"{\"quant_method\":\"compressed-tensors\"}", "config_groups not given"},
    {"{\"quant_method\":\"compressed-tensors\",\"config_groups\":{}}", "config_groups an object"},
    {"{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\",\"config_groups\":{}}",
     "format \"pack-quantized\""},
    {"{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"a\":{\"weights\":{\"num_bits\":4}}}}",
     "num_bits 4"},
    {"{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"a\":{\"weights\":{\"num_bits\":8,\"type\":\"x\"}}}"
     "}",
     "type \"x\""},
    {"{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"a\":{\"weights\":{\"num_bits\":8,\"type\":\"int\","
     "\"strategy\":\"group\"}}}}",
     "strategy \"group\""},
    {"{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"a\":{\"weights\":{\"num_bits\":8,\"type\":\"int\","
     "\"strategy\":\"channel\",\"symmetric\":false}}}}",
     "symmetric false"},
    {"{\"quant_method\":\"compressed-tensors\",\"sparsity_config\":{\"format\":\"sparse-bitmask\"},\"config_groups\":{}"
     "}",
     "sparsity_config.format \"sparse-bitmask\""},
    {"{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"a\":{\"weights\":{\"num_bits\":8,\"type\":"
     "\"float\","
     "\"strategy\":\"block\",\"block_structure\":[128,128]}},\"b\":{\"weights\":{\"num_bits\":8,\"type\":\"float\","
     "\"strategy\":\"block\",\"block_structure\":[64,64]}}}}",
     "has blocks of 128 x 128 and of 64 x 64"},
};

static const struct {
    const char *name, *dtype; /* NULL: the tensor goes away */
    int rows;                 /* 0: as it is */
    const char *part;
} tensors[] = {
    {"model.layers.0.self_attn.k_proj.weight_scale_inv", NULL, 0, "k_proj.weight is F8_E4M3, but it has no scales"},
    {"model.layers.0.self_attn.k_proj.weight_scale_inv", "I32", 0, "k_proj.weight_scale_inv is I32, expected F32"},
    {"model.layers.0.self_attn.k_proj.weight_scale_inv", "F32", 3,
     "k_proj.weight_scale_inv has shape [3, 2], expected"},
    {"model.layers.0.self_attn.k_proj.weight", "BF16", 0,
     "q_proj.weight is F8_E4M3 and tensor model.layers.0.self_attn.k_pro"},
    {"model.layers.0.self_attn.k_proj.weight", "I8", 0,
     "k_proj.weight is I8, of which \"quantization_config\" says nothing"},
    {"model.layers.0.self_attn.k_proj.weight", "U8", 0, "k_proj.weight is U8, expected F32, F16, BF16, F8_E4M3 or I8"},
    {"model.layers.0.mlp.gate.weight", "F8_E4M3", 0, "mlp.gate.weight is F8_E4M3, expected F32, F16 or BF16"},
    {"model.embed_tokens.weight", "F8_E4M3", 0, "embed_tokens.weight is F8_E4M3, expected F32, F16 or BF16"},
};

static void is_refused(struct tensor_list *list, const char *config, const char *part, const char *what)
{
    struct subject s = make(list, config, NULL);

    if (!ok(s.st == SY_ERR_DATA && strstr(s.err.text, part), "refused: %s", what))
        diag("status %d, text \"%s\"", s.st, s.err.text);
    unmake(&s);
    free(list);
}

static void test_refused(void)
{
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
        is_refused(make_list(&kinds[0]), configs[i].config, configs[i].part, configs[i].config);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        struct tensor_list *list = make_list(&kinds[0]);
        if (tensors[i].dtype) {
            list_find(list, tensors[i].name)->dtype = tensors[i].dtype;
            if (tensors[i].rows)
                list_find(list, tensors[i].name)->dims[0] = tensors[i].rows;
        } else {
            list_drop(list, tensors[i].name);
        }
        is_refused(list, kinds[0].config, tensors[i].part, tensors[i].part);
    }
    struct tensor_list *list = make_mxfp4();
    list_drop(list, "model.layers.0.mlp.experts.down_proj_scales");
    is_refused(list, MXFP4, "down_proj_blocks is there, but model.layers.0.mlp.experts.down_proj_scales is missing",
               "MXFP4 blocks without scales");
    list = make_mxfp4();
    list_find(list, "model.layers.0.mlp.experts.gate_up_proj_scales")->dims[2] = 4;
    is_refused(list, MXFP4, "gate_up_proj_scales is U8 [2, 128, 4], expected U8 [2, 128, 5]",
               "MXFP4 scales of too few blocks");
    list = make_mxfp4();
    list_find(list, "model.layers.0.mlp.experts.gate_up_proj_blocks")->dims[0] = 1;
    list_find(list, "model.layers.0.mlp.experts.gate_up_proj_scales")->dims[0] = 1;
    is_refused(list, MXFP4, "gate_up_proj_blocks is U8 [1, 128, 5, 16], expected U8 [2, 127, 160 / 32, 16]",
               "MXFP4 blocks of too few experts");
    is_refused(make_mxfp4(), "null", "but \"quantization_config\" is not of mxfp4",
               "MXFP4 that the config does not speak of");
}

static void test_bad_scales(void)
{
    static const char name[] = "model.layers.0.self_attn.v_proj.weight_scale_inv";
    static const char mx[] = "model.layers.0.mlp.experts.down_proj_scales";

    for (int i = 0; i < 2; i++) {
        struct tensor_list *list = i ? make_mxfp4() : make_list(&kinds[0]);
        struct subject s = make(list, i ? MXFP4 : kinds[0].config, i ? mx : name);
        struct loaded loaded;
        if (s.st)
            bail("%s", s.err.text);
        enum sy_status st = load(&s, &loaded);
        ok(st == SY_ERR_DATA && strstr(s.err.text, i ? mx : name) &&
               strstr(s.err.text, "has a scale that is not a number"),
           "refused while loading: a scale that is not a number (%s)", s.err.text);
        unload(&loaded);
        unmake(&s);
        free(list);
    }
}

int main(void)
{
    rand_state = testrand_begin();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        test_kind(&kinds[i]);
    test_mxfp4();
    test_refused();
    test_bad_scales();
    done();
    return tap_exit();
}
