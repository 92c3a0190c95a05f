/* SPDX-License-Identifier: Apache-2.0
 * anatomy.c - tests of what a checkpoint is said to consist of, and of what ranks are said to hold of it
 */
#include "model/anatomy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/holding.h"
#include "fixture.h"
#include "folder.h"
#include "tap.h"

/* Parameters and buffers of the model that transformers 5 makes of the config (sums of numel() over model.parameters() and
 * the correction bias), and those without the experts that a token does not go to. */
static const struct {
    const char *dir;
    int64_t total, active;
} goldens[] = {
    {"deepseek_v2", 353824, 206368},
    {"deepseek_v3", 344784, 197328},
    {"deepseek_v3_fp8", 4382736, 1728528},
    {"deepseek_v3_yarn", 344784, 197328},
    {"glm4_moe", 357792, 210336},
    {"gpt_oss", 291800, 191960},
    {"gpt_oss_yarn", 291800, 191960},
    {"granitemoe", 193856, 120128},
    {"mixtral", 361792, 140608},
    {"olmoe", 272960, 125504},
    {"phimoe", 362816, 141632},
    {"qwen2_moe", 254272, 155968},
    {"qwen3_moe", 387520, 166336},
    {"qwen3_moe_fp8", 3908992, 1254784},
    {"qwen3_moe_yarn", 387520, 166336},
};

static int64_t elements(const struct sy_part_count *count)
{
    int64_t n = 2 * (int64_t)count->bytes[SY_MXFP4];

    for (int type = 0; type < SY_N_DTYPES; type++)
        if (sy_dtype_bytes((enum sy_dtype)type))
            n += (int64_t)(count->bytes[type] / sy_dtype_bytes((enum sy_dtype)type));
    return n;
}

/* Parts make the whole, and bytes tell the same number of elements as shapes do. */
static void check_sums(const struct fixture *f, const struct sy_anatomy *a)
{
    size_t n_tensors;
    const struct sy_tensor *tensors = sy_checkpoint_tensors(f->ckpt, &n_tensors);
    uint64_t bytes = 0, scales = 0, aside = 0;
    int64_t n = 0, active = 0;
    bool same = true;

    for (int part = 0; part < SY_N_PARTS; part++) {
        const struct sy_part_count *count = &a->parts[part];
        same = same && elements(count) == count->parameters;
        n += count->parameters;
        active += count->active;
        scales += count->scale_bytes;
    }
    for (size_t i = 0; i < n_tensors; i++)
        bytes += tensors[i].bytes;
    for (int i = 0; i < a->n_aside; i++)
        aside += a->aside[i].bytes;
    ok(same && elements(&a->all) == a->all.parameters, "bytes by type are those of so many parameters, in each part");
    ok(n == a->all.parameters && active == a->all.active && scales == a->all.scale_bytes, "the parts make the whole");
    ok(a->bytes + aside == bytes, "every byte of the files is counted once");
}

/* The ranks of a placement hold what one process says that they would. */
static void check_holding(const struct fixture *f, int n_ranks)
{
    const struct sy_kernels *kernels = fixture_kernels();
    struct sy_error err = SY_ERROR_INIT;
    struct sy_holding holding;
    struct sy_placement *placement;
    size_t most = 0, least = SIZE_MAX, dense = 0;
    uint64_t read = 0;

    if (sy_placement_even(f->model->n_layers, f->model->n_experts, n_ranks, &placement, &err) ||
        sy_holding_count(f->model, kernels, n_ranks, &holding, &err))
        bail("%s", err.text);
    for (int rank = 0; rank < n_ranks; rank++) {
        struct sy_shard *shard;
        if (sy_holding_shard(f->model, kernels, placement, rank, &shard, &err))
            bail("%s", err.text);
        dense = shard->dense_bytes;
        most = shard->expert_bytes > most ? shard->expert_bytes : most;
        least = shard->expert_bytes < least ? shard->expert_bytes : least;
        read += shard->expert_read_bytes;
        sy_shard_destroy(shard);
    }
    sy_placement_destroy(placement);
    ok(holding.n_ranks == n_ranks && holding.dense_bytes == dense && holding.expert_bytes_most == most &&
           holding.expert_bytes_least == least,
       "%d ranks would hold %zu to %zu bytes of experts and %zu of all else", n_ranks, least, most, dense);
    is_int(holding.experts_most, (f->model->n_experts + n_ranks - 1) / n_ranks, "and at most so many experts");
    is_int(holding.experts_least, f->model->n_experts / n_ranks, "and at least so many");
    struct sy_anatomy a;
    if (sy_anatomy_count(f->model, f->ckpt, &a, &err))
        bail("%s", err.text);
    const struct sy_part_count *experts = &a.parts[SY_PART_EXPERTS];
    uint64_t bytes = experts->scale_bytes;
    for (int type = 0; type < SY_N_DTYPES; type++)
        bytes += experts->bytes[type];
    /* Of interleaved biases a rank reads gate's and up's for each. */
    ok(read >= bytes && (double)read < 1.04 * (double)bytes, "together they read each byte of the experts once");
}

static void test_checkpoint(const char *dir, int64_t total, int64_t active)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_anatomy a;
    struct fixture f;
    int64_t n, n_active;

    if (!ok(fixture_open(&f, dir), "%s opens", dir))
        return;
    if (sy_anatomy_count(f.model, f.ckpt, &a, &err))
        bail("%s", err.text);
    if (total) {
        is_int(a.all.parameters, total, "parameters, as transformers has them");
        is_int(a.all.active, active, "active ones");
    }
    sy_model_parameters(f.model, &n, &n_active);
    ok(n == a.all.parameters && n_active == a.all.active, "the model says the same without its checkpoint");
    is_int(f.model->n_ignored, 0, "no key of its config is unknown");
    check_sums(&f, &a);
    check_holding(&f, 1);
    check_holding(&f, 3);
    check_holding(&f, f.model->n_experts);
    ok(sy_holding_count(f.model, fixture_kernels(), f.model->n_experts + 1, &(struct sy_holding){0}, &err) ==
           SY_ERR_USAGE,
       "more ranks than experts hold nothing: %s", err.text);
    fixture_close(&f);
}

static void test_parts(void)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_anatomy a;
    struct fixture f;

    if (!fixture_open(&f, "tests/data/goldens/gpt_oss_yarn") || sy_anatomy_count(f.model, f.ckpt, &a, &err))
        bail("gpt_oss_yarn: %s", err.text);
    const struct sy_part_count *x = &a.parts[SY_PART_EXPERTS];
    /* Two layers of eight experts: 3 x 64 x 64 codes, two in a byte, with a byte of scale for 32, and three biases of 64. */
    is_int(x->parameters, 2 * 8 * (3 * 64 * 64 + 3 * 64), "MXFP4: each code is a parameter");
    is_int(x->active, x->parameters / 2, "of which top-4 of 8 experts use half");
    is_int((int64_t)x->bytes[SY_MXFP4], 2 * 8 * 3 * 64 * 64 / 2, "bytes of codes");
    is_int((int64_t)x->scale_bytes, 2 * 8 * 3 * 64 * 64 / 32, "bytes of scales");
    is_int((int64_t)x->bytes[SY_BF16], (int64_t)2 * 8 * 3 * 64 * 2, "bytes of biases");
    is_int((int64_t)x->bytes[SY_U8], 0, "nothing is called U8");
    is_int(a.parts[SY_PART_ROUTER].parameters, 2 * (8 * 64 + 8), "routers and their biases");
    is_int(a.parts[SY_PART_ATTENTION].parameters, 2 * (2 * 64 * 128 + 2 * 64 * 64 + 128 + 2 * 64 + 64 + 4),
           "attention with biases and sinks");
    fixture_close(&f);
    if (!fixture_open(&f, "tests/data/goldens/deepseek_v3") || sy_anatomy_count(f.model, f.ckpt, &a, &err))
        bail("deepseek_v3: %s", err.text);
    is_int(a.parts[SY_PART_SHARED].parameters, 2 * 3 * 32 * 64, "shared experts");
    is_int(a.parts[SY_PART_SHARED].active, 2 * 3 * 32 * 64, "all of which every token uses");
    is_int(a.parts[SY_PART_DENSE].parameters, 3 * 160 * 64, "the dense layer");
    is_int(a.parts[SY_PART_NORMS].parameters, 3 * (2 * 64 + 48 + 32) + 64, "norms, those of latent attention too");
    is_int(a.parts[SY_PART_EMBEDDING].parameters, 320 * 64, "embedding");
    is_int(a.parts[SY_PART_LM_HEAD].parameters, 320 * 64, "output projection");
    fixture_close(&f);
    if (!fixture_open(&f, "tests/data/goldens/granitemoe") || sy_anatomy_count(f.model, f.ckpt, &a, &err))
        bail("granitemoe: %s", err.text);
    is_int(a.parts[SY_PART_LM_HEAD].parameters, 0, "an output projection that is the embedding counts once");
    fixture_close(&f);
}

/* ---- tensors that are left out ---- */

enum { D = 12, H = 8, E = 3, F = 7, V = 20 };

static struct tensor_list *make_list(void)
{
    struct tensor_list *t = calloc(1, sizeof *t);

    list_add(t, "BF16", V, D, 0, "model.embed_tokens.weight");
    list_add(t, "BF16", D, 0, 0, "model.norm.weight");
    for (int l = 0; l < 11; l++) {
        list_add(t, "BF16", D, 0, 0, "model.layers.%d.input_layernorm.weight", l);
        list_add(t, "BF16", D, 0, 0, "model.layers.%d.post_attention_layernorm.weight", l);
        list_add(t, "BF16", H, D, 0, "model.layers.%d.self_attn.q_proj.weight", l);
        list_add(t, "BF16", H, D, 0, "model.layers.%d.self_attn.k_proj.weight", l);
        list_add(t, "BF16", H, D, 0, "model.layers.%d.self_attn.v_proj.weight", l);
        list_add(t, "BF16", D, H, 0, "model.layers.%d.self_attn.o_proj.weight", l);
        list_add(t, "F32", 2, 0, 0, "model.layers.%d.self_attn.rotary_emb.inv_freq", l);
        list_add(t, "BF16", E, D, 0, "model.layers.%d.mlp.gate.weight", l);
        list_add(t, "BF16", E, 2 * F, D, "model.layers.%d.mlp.experts.gate_up_proj", l);
        list_add(t, "BF16", E, D, F, "model.layers.%d.mlp.experts.down_proj", l);
    }
    return t;
}

static void count_list(const struct tensor_list *list, struct sy_anatomy *a)
{
    static const char config[] =
        "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"hidden_size\":12,\"num_hidden_layers\":11,"
        "\"num_attention_heads\":2,\"num_key_value_heads\":2,\"head_dim\":4,\"vocab_size\":20,\"num_experts\":3,"
        "\"num_experts_per_tok\":2,\"moe_intermediate_size\":7,\"tie_word_embeddings\":true}";
    const char *dir = folder_make();
    struct sy_error err = SY_ERROR_INIT;
    struct sy_checkpoint *ckpt;
    struct sy_model *model;

    folder_text(dir, "config.json", config);
    list_write(list, dir, "model.safetensors");
    if (folder_open(dir, &ckpt, &err) || sy_model_create(ckpt, &model, &err) || sy_anatomy_count(model, ckpt, a, &err))
        bail("the test's own checkpoint: %s", err.text);
    sy_model_destroy(model);
    sy_checkpoint_close(ckpt);
    folder_remove(dir);
}

static void is_aside(const struct sy_anatomy *a, const char *name, const char *why, int n_tensors, uint64_t bytes)
{
    for (int i = 0; i < a->n_aside; i++) {
        const struct sy_aside *x = &a->aside[i];
        if (strcmp(x->name, name))
            continue;
        ok(strstr(x->why, why) && x->n_tensors == n_tensors && x->bytes == bytes, "%s: %d tensors, %llu bytes, %s",
           name, x->n_tensors, (unsigned long long)x->bytes, x->why);
        return;
    }
    ok(false, "%s is named", name);
}

static void test_aside(void)
{
    struct tensor_list *list = make_list();
    struct sy_anatomy a;

    count_list(list, &a);
    is_int(a.n_aside, 1, "one kind of tensor is left out");
    is_aside(&a, "model.layers.*.self_attn.rotary_emb.inv_freq", "made here", 11, 88);
    list_add(list, "BF16", D, 0, 0, "model.layers.11.enorm.weight");
    list_add(list, "BF16", D, D, 0, "model.layers.11.eh_proj.weight");
    list_add(list, "BF16", D, 0, 0, "model.layers.110.enorm.weight");
    list_add(list, "BF16", V, D, 0, "lm_head.weight");
    list_add(list, "F32", 9, 0, 0, "vision_tower.blocks.0.norm.weight");
    list_add(list, "F32", 9, 0, 0, "vision_tower.blocks.1.norm.weight");
    list_add(list, "I8", 5, 0, 0, "model.visual.patch_embed.weight");
    count_list(list, &a);
    is_int(a.n_aside, 6, "six kinds");
    is_aside(&a, "model.layers.11", "multi-token prediction", 2, 2 * (D + D * D));
    is_aside(&a, "model.layers.110", "multi-token prediction", 1, (uint64_t)2 * D);
    is_aside(&a, "lm_head", "the embedding is used", 1, (uint64_t)2 * V * D);
    is_aside(&a, "vision_tower", "not of the text decoder", 2, 72);
    is_aside(&a, "model.visual", "not of the text decoder", 1, 5);
    for (int i = 0; i < 10; i++)
        list_add(list, "I8", 1 + i, 0, 0, "z\u00e9%d.weight", i);
    count_list(list, &a);
    is_int(a.n_aside, SY_ASIDE_MAX, "only so many are named");
    is_aside(&a, "others", "of several kinds", 9, 55 - 1);
    is_aside(&a, "z??0", "not of the text decoder", 1, 1);
    free(list);
}

int main(void)
{
    char dir[200];

    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        snprintf(dir, sizeof dir, "tests/data/goldens/%s", goldens[i].dir);
        test_checkpoint(dir, goldens[i].total, goldens[i].active);
    }
    test_checkpoint("tests/data/demo", 0, 0);
    test_checkpoint("tests/data/odd/hybrid_mla", 0, 0);
    test_checkpoint("tests/data/odd/hybrid_olmoe", 0, 0);
    test_checkpoint("tests/data/odd/granite_shared_untied", 0, 0);
    test_checkpoint("tests/data/odd/qwen2_windows_unlisted", 0, 0);
    test_parts();
    test_aside();
    done();
    return tap_exit();
}
