/* SPDX-License-Identifier: Apache-2.0
 * hollow.c - checkpoints of published sizes without weights: config.json, index and headers; the data are holes in the files
 *
 * usage: hollow NAME DIR N_SHARDS
 *
 * Names and shapes are those of the published checkpoints, and so are the keys of config.json. A folder takes as much disk
 * as its headers, whatever its files' sizes say.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct hollow {
    const char *name, *config;
    int n_layers, n_dense, n_extra, hidden, n_heads, n_kv, head_dim, n_experts, width, dense_width, n_shared, vocab;
    bool mixtral, qk_norm, mla, fp8, mxfp4;
};

static const struct hollow models[] = {
    {.name = "olmoe-1b-7b",
     .config = "{\"architectures\":[\"OlmoeForCausalLM\"],\"model_type\":\"olmoe\",\"attention_bias\":false,"
               "\"clip_qkv\":null,\"hidden_act\":\"silu\",\"hidden_size\":2048,\"intermediate_size\":1024,"
               "\"max_position_embeddings\":4096,\"norm_topk_prob\":false,\"num_attention_heads\":16,"
               "\"num_experts\":64,\"num_experts_per_tok\":8,\"num_hidden_layers\":16,\"num_key_value_heads\":16,"
               "\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,\"tie_word_embeddings\":false,\"vocab_size\":50304}",
     .n_layers = 16,
     .hidden = 2048,
     .n_heads = 16,
     .n_kv = 16,
     .head_dim = 128,
     .n_experts = 64,
     .width = 1024,
     .vocab = 50304,
     .qk_norm = true},
    {.name = "qwen3-30b-a3b",
     .config = "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"model_type\":\"qwen3_moe\",\"attention_bias\":false,"
               "\"decoder_sparse_step\":1,\"head_dim\":128,\"hidden_act\":\"silu\",\"hidden_size\":2048,"
               "\"intermediate_size\":6144,\"max_position_embeddings\":40960,\"max_window_layers\":48,"
               "\"mlp_only_layers\":[],\"moe_intermediate_size\":768,\"norm_topk_prob\":true,"
               "\"num_attention_heads\":32,\"num_experts\":128,\"num_experts_per_tok\":8,\"num_hidden_layers\":48,"
               "\"num_key_value_heads\":4,\"rms_norm_eps\":1e-06,\"rope_scaling\":null,\"rope_theta\":1000000.0,"
               "\"sliding_window\":null,\"tie_word_embeddings\":false,\"use_sliding_window\":false,"
               "\"vocab_size\":151936}",
     .n_layers = 48,
     .hidden = 2048,
     .n_heads = 32,
     .n_kv = 4,
     .head_dim = 128,
     .n_experts = 128,
     .width = 768,
     .vocab = 151936,
     .qk_norm = true},
    {.name = "mixtral-8x7b",
     .config = "{\"architectures\":[\"MixtralForCausalLM\"],\"model_type\":\"mixtral\",\"hidden_act\":\"silu\","
               "\"hidden_size\":4096,\"intermediate_size\":14336,\"max_position_embeddings\":32768,"
               "\"num_attention_heads\":32,\"num_experts_per_tok\":2,\"num_hidden_layers\":32,"
               "\"num_key_value_heads\":8,\"num_local_experts\":8,\"rms_norm_eps\":1e-05,\"rope_theta\":1000000.0,"
               "\"sliding_window\":null,\"tie_word_embeddings\":false,\"vocab_size\":32000}",
     .n_layers = 32,
     .hidden = 4096,
     .n_heads = 32,
     .n_kv = 8,
     .head_dim = 128,
     .n_experts = 8,
     .width = 14336,
     .vocab = 32000,
     .mixtral = true},
    {.name = "gpt-oss-20b",
     .config = "{\"architectures\":[\"GptOssForCausalLM\"],\"model_type\":\"gpt_oss\",\"attention_bias\":true,"
               "\"experts_per_token\":4,\"head_dim\":64,\"hidden_act\":\"silu\",\"hidden_size\":2880,"
               "\"initial_context_length\":4096,\"intermediate_size\":2880,"
               "\"max_position_embeddings\":131072,\"num_attention_heads\":64,\"num_experts_per_tok\":4,"
               "\"num_hidden_layers\":24,\"num_key_value_heads\":8,\"num_local_experts\":32,"
               "\"quantization_config\":{\"modules_to_not_convert\":[\"lm_head\"],\"quant_method\":\"mxfp4\"},"
               "\"rms_norm_eps\":1e-05,\"rope_scaling\":{\"beta_fast\":32.0,\"beta_slow\":1.0,\"factor\":32.0,"
               "\"original_max_position_embeddings\":4096,\"rope_type\":\"yarn\",\"truncate\":false},"
               "\"rope_theta\":150000,\"sliding_window\":128,\"swiglu_limit\":7.0,\"tie_word_embeddings\":false,"
               "\"layer_types\":[%s],\"vocab_size\":201088}",
     .n_layers = 24,
     .hidden = 2880,
     .n_heads = 64,
     .n_kv = 8,
     .head_dim = 64,
     .n_experts = 32,
     .width = 2880,
     .vocab = 201088,
     .mxfp4 = true},
    {.name = "deepseek-v3",
     .config = "{\"architectures\":[\"DeepseekV3ForCausalLM\"],\"model_type\":\"deepseek_v3\","
               "\"attention_bias\":false,\"ep_size\":1,\"first_k_dense_replace\":3,\"hidden_act\":\"silu\","
               "\"hidden_size\":7168,\"intermediate_size\":18432,\"kv_lora_rank\":512,"
               "\"max_position_embeddings\":163840,\"moe_intermediate_size\":2048,\"moe_layer_freq\":1,"
               "\"n_group\":8,\"n_routed_experts\":256,\"n_shared_experts\":1,\"norm_topk_prob\":true,"
               "\"num_attention_heads\":128,\"num_experts_per_tok\":8,\"num_hidden_layers\":61,"
               "\"num_key_value_heads\":128,\"num_nextn_predict_layers\":1,\"q_lora_rank\":1536,"
               "\"qk_nope_head_dim\":128,\"qk_rope_head_dim\":64,\"quantization_config\":{"
               "\"activation_scheme\":\"dynamic\",\"fmt\":\"e4m3\",\"quant_method\":\"fp8\","
               "\"weight_block_size\":[128,128]},\"rms_norm_eps\":1e-06,\"rope_scaling\":{\"beta_fast\":32,"
               "\"beta_slow\":1,\"factor\":40,\"mscale\":1.0,\"mscale_all_dim\":1.0,"
               "\"original_max_position_embeddings\":4096,\"type\":\"yarn\"},\"rope_theta\":10000,"
               "\"routed_scaling_factor\":2.5,\"scoring_func\":\"sigmoid\",\"tie_word_embeddings\":false,"
               "\"topk_group\":4,\"topk_method\":\"noaux_tc\",\"v_head_dim\":128,\"vocab_size\":129280}",
     .n_layers = 61,
     .n_dense = 3,
     .n_extra = 1,
     .hidden = 7168,
     .n_heads = 128,
     .n_experts = 256,
     .width = 2048,
     .dense_width = 18432,
     .n_shared = 1,
     .vocab = 129280,
     .mla = true,
     .fp8 = true},
};

/* A shard under way: the header's JSON, and the bytes that it speaks of. */
struct shard {
    FILE *header;
    char *text;
    size_t text_bytes;
    uint64_t n_bytes;
    bool begun;
};

struct writer {
    const struct hollow *model;
    const char *dir;
    struct shard *shards;
    FILE *index;
    int n_shards, n_tensors;
};

static void die(const char *what)
{
    fprintf(stderr, "hollow: %s\n", what);
    exit(2);
}

static void shard_name(const struct writer *w, int shard, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "model-%05d-of-%05d.safetensors", shard + 1, w->n_shards);
}

/* A tensor, in one shard after the other. */
__attribute__((format(printf, 6, 7))) static void tensor(struct writer *w, const char *dtype, int64_t d0, int64_t d1,
                                                         int64_t d2, const char *fmt, ...)
{
    int at = w->n_tensors++ % w->n_shards;
    struct shard *shard = &w->shards[at];
    uint64_t bytes = (uint64_t)(d0 * (d1 ? d1 : 1) * (d2 ? d2 : 1)) * (!strcmp(dtype, "F32")    ? 4
                                                                       : !strcmp(dtype, "BF16") ? 2
                                                                                                : 1);
    char name[160], file[64], dims[64];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    snprintf(dims, sizeof dims,
             d2   ? "%" PRId64 ",%" PRId64 ",%" PRId64
             : d1 ? "%" PRId64 ",%" PRId64
                  : "%" PRId64,
             d0, d1, d2);
    /* A stack of MXFP4 blocks has a fourth dim. */
    bool blocks = strstr(name, "_blocks") != NULL;
    bytes *= blocks ? 16 : 1;
    fprintf(shard->header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s%s],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
            shard->begun ? "," : "{", name, dtype, dims, blocks ? ",16" : "", shard->n_bytes, shard->n_bytes + bytes);
    shard->begun = true;
    shard->n_bytes += bytes;
    shard_name(w, at, file, sizeof file);
    fprintf(w->index, "%s\"%s\":\"%s\"", w->n_tensors > 1 ? "," : "", name, file);
}

/* A matrix, in FP8 with its scales where the model has that. */
__attribute__((format(printf, 4, 5))) static void matrix(struct writer *w, int64_t n, int64_t k, const char *fmt, ...)
{
    char name[140];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    tensor(w, w->model->fp8 ? "F8_E4M3" : "BF16", n, k, 0, "%s.weight", name);
    if (w->model->fp8)
        tensor(w, "F32", (n + 127) / 128, (k + 127) / 128, 0, "%s.weight_scale_inv", name);
}

static void attention(struct writer *w, int l)
{
    const struct hollow *m = w->model;
    int64_t q = (int64_t)m->n_heads * m->head_dim, kv = (int64_t)m->n_kv * m->head_dim;
    bool full = !strcmp(m->name, "olmoe-1b-7b");

    if (m->mla) {
        matrix(w, 1536, m->hidden, "model.layers.%d.self_attn.q_a_proj", l);
        tensor(w, "BF16", 1536, 0, 0, "model.layers.%d.self_attn.q_a_layernorm.weight", l);
        matrix(w, 192 * m->n_heads, 1536, "model.layers.%d.self_attn.q_b_proj", l);
        matrix(w, 576, m->hidden, "model.layers.%d.self_attn.kv_a_proj_with_mqa", l);
        tensor(w, "BF16", 512, 0, 0, "model.layers.%d.self_attn.kv_a_layernorm.weight", l);
        matrix(w, 256 * m->n_heads, 512, "model.layers.%d.self_attn.kv_b_proj", l);
        matrix(w, m->hidden, 128 * m->n_heads, "model.layers.%d.self_attn.o_proj", l);
        return;
    }
    matrix(w, q, m->hidden, "model.layers.%d.self_attn.q_proj", l);
    matrix(w, kv, m->hidden, "model.layers.%d.self_attn.k_proj", l);
    matrix(w, kv, m->hidden, "model.layers.%d.self_attn.v_proj", l);
    matrix(w, m->hidden, q, "model.layers.%d.self_attn.o_proj", l);
    if (m->qk_norm) {
        tensor(w, "BF16", full ? q : m->head_dim, 0, 0, "model.layers.%d.self_attn.q_norm.weight", l);
        tensor(w, "BF16", full ? kv : m->head_dim, 0, 0, "model.layers.%d.self_attn.k_norm.weight", l);
    }
    if (m->mxfp4) {
        tensor(w, "BF16", q, 0, 0, "model.layers.%d.self_attn.q_proj.bias", l);
        tensor(w, "BF16", kv, 0, 0, "model.layers.%d.self_attn.k_proj.bias", l);
        tensor(w, "BF16", kv, 0, 0, "model.layers.%d.self_attn.v_proj.bias", l);
        tensor(w, "BF16", m->hidden, 0, 0, "model.layers.%d.self_attn.o_proj.bias", l);
        tensor(w, "BF16", m->n_heads, 0, 0, "model.layers.%d.self_attn.sinks", l);
    }
}

static void gated(struct writer *w, int64_t width, const char *module, const char *const *names)
{
    matrix(w, width, w->model->hidden, "%s.%s", module, names[0]);
    matrix(w, width, w->model->hidden, "%s.%s", module, names[1]);
    matrix(w, w->model->hidden, width, "%s.%s", module, names[2]);
}

static void mxfp4_experts(struct writer *w, int l)
{
    const struct hollow *m = w->model;
    int64_t E = m->n_experts, D = m->hidden, F = m->width;

    tensor(w, "BF16", E, D, 0, "model.layers.%d.mlp.router.weight", l);
    tensor(w, "BF16", E, 0, 0, "model.layers.%d.mlp.router.bias", l);
    tensor(w, "U8", E, 2 * F, D / 32, "model.layers.%d.mlp.experts.gate_up_proj_blocks", l);
    tensor(w, "U8", E, 2 * F, D / 32, "model.layers.%d.mlp.experts.gate_up_proj_scales", l);
    tensor(w, "BF16", E, 2 * F, 0, "model.layers.%d.mlp.experts.gate_up_proj_bias", l);
    tensor(w, "U8", E, D, F / 32, "model.layers.%d.mlp.experts.down_proj_blocks", l);
    tensor(w, "U8", E, D, F / 32, "model.layers.%d.mlp.experts.down_proj_scales", l);
    tensor(w, "BF16", E, D, 0, "model.layers.%d.mlp.experts.down_proj_bias", l);
}

static void mlp(struct writer *w, int l)
{
    static const char *const proj[] = {"gate_proj", "up_proj", "down_proj"}, *const numbered[] = {"w1", "w3", "w2"};
    const struct hollow *m = w->model;
    const char *module = m->mixtral ? "block_sparse_moe" : "mlp";
    char name[100];

    if (l < m->n_dense) {
        snprintf(name, sizeof name, "model.layers.%d.mlp", l);
        gated(w, m->dense_width, name, proj);
        return;
    }
    tensor(w, "BF16", m->n_experts, m->hidden, 0, "model.layers.%d.%s.gate.weight", l, module);
    if (m->n_shared) {
        tensor(w, "F32", m->n_experts, 0, 0, "model.layers.%d.mlp.gate.e_score_correction_bias", l);
        snprintf(name, sizeof name, "model.layers.%d.mlp.shared_experts", l);
        gated(w, (int64_t)m->width * m->n_shared, name, proj);
    }
    for (int e = 0; e < m->n_experts; e++) {
        snprintf(name, sizeof name, "model.layers.%d.%s.experts.%d", l, module, e);
        gated(w, m->width, name, m->mixtral ? numbered : proj);
    }
}

static void all_tensors(struct writer *w)
{
    const struct hollow *m = w->model;

    tensor(w, "BF16", m->vocab, m->hidden, 0, "model.embed_tokens.weight");
    tensor(w, "BF16", m->hidden, 0, 0, "model.norm.weight");
    tensor(w, "BF16", m->vocab, m->hidden, 0, "lm_head.weight");
    for (int l = 0; l < m->n_layers + m->n_extra; l++) {
        tensor(w, "BF16", m->hidden, 0, 0, "model.layers.%d.input_layernorm.weight", l);
        tensor(w, "BF16", m->hidden, 0, 0, "model.layers.%d.post_attention_layernorm.weight", l);
        attention(w, l);
        if (m->mxfp4)
            mxfp4_experts(w, l);
        else
            mlp(w, l);
    }
    for (int l = m->n_layers; l < m->n_layers + m->n_extra; l++) {
        tensor(w, "BF16", m->vocab, m->hidden, 0, "model.layers.%d.embed_tokens.weight", l);
        tensor(w, "BF16", m->hidden, 2 * m->hidden, 0, "model.layers.%d.eh_proj.weight", l);
        tensor(w, "BF16", m->hidden, 0, 0, "model.layers.%d.enorm.weight", l);
        tensor(w, "BF16", m->hidden, 0, 0, "model.layers.%d.hnorm.weight", l);
        tensor(w, "BF16", m->vocab, m->hidden, 0, "model.layers.%d.shared_head.head.weight", l);
        tensor(w, "BF16", m->hidden, 0, 0, "model.layers.%d.shared_head.norm.weight", l);
    }
}

static FILE *create(const char *dir, const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    if (!file)
        die(path);
    return file;
}

static void finish_shard(const struct writer *w, int at)
{
    struct shard *shard = &w->shards[at];
    uint8_t prefix[8];
    char name[64];

    fprintf(shard->header, "}");
    if (fclose(shard->header))
        die("no memory for a header");
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)((uint64_t)shard->text_bytes >> (8 * i));
    shard_name(w, at, name, sizeof name);
    FILE *file = create(w->dir, name);
    fwrite(prefix, 1, sizeof prefix, file);
    fwrite(shard->text, 1, shard->text_bytes, file);
    if (fflush(file) || ftruncate(fileno(file), (off_t)(sizeof prefix + shard->text_bytes + shard->n_bytes)))
        die("cannot make a file of that size");
    fclose(file);
    free(shard->text);
}

static void write_config(const struct writer *w)
{
    FILE *file = create(w->dir, "config.json");
    const char *rest = strstr(w->model->config, "%s");
    int before = rest ? (int)(rest - w->model->config) : (int)strlen(w->model->config);

    /* gpt-oss: layers with a window and without take turns. */
    fprintf(file, "%.*s", before, w->model->config);
    for (int l = 0; rest && l < w->model->n_layers; l++)
        fprintf(file, "%s\"%s_attention\"", l ? "," : "", l % 2 ? "full" : "sliding");
    fprintf(file, "%s\n", rest ? rest + 2 : "");
    fclose(file);
}

int main(int argc, char **argv)
{
    struct writer w = {.n_shards = argc == 4 ? atoi(argv[3]) : 0};

    for (size_t i = 0; argc == 4 && i < sizeof models / sizeof *models; i++)
        if (!strcmp(argv[1], models[i].name))
            w.model = &models[i];
    if (!w.model || w.n_shards < 1)
        die("usage: hollow NAME DIR N_SHARDS");
    w.dir = argv[2];
    w.shards = calloc((size_t)w.n_shards, sizeof *w.shards);
    for (int i = 0; w.shards && i < w.n_shards; i++)
        w.shards[i].header = open_memstream(&w.shards[i].text, &w.shards[i].text_bytes);
    w.index = create(w.dir, "model.safetensors.index.json");
    fprintf(w.index, "{\"metadata\":{},\"weight_map\":{");
    all_tensors(&w);
    fprintf(w.index, "}}\n");
    fclose(w.index);
    for (int i = 0; i < w.n_shards; i++)
        finish_shard(&w, i);
    write_config(&w);
    free(w.shards);
    return 0;
}
