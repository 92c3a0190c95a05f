/* SPDX-License-Identifier: Apache-2.0
 * bind.c - tests that the checkpoints among the test data become the right models
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "model/model.h"
#include "tap.h"

/* What each folder's config.json and tensors say, by hand. */
static const struct {
    const char *dir, *architecture;
    int n_layers, hidden, n_heads, n_kv_heads, head_dim, vocab, n_experts, top_k, expert_width, n_shards;
    enum sy_qk_norm qk_norm;
    bool normalise, tied;
    double theta;
    int64_t parameters;
    const char *up; /* the up matrix of layer 1, expert 3 */
} models[] = {
    {"tests/data/goldens/mixtral", "MixtralForCausalLM", 2, 64, 4, 2, 16, 320, 8, 2, 96, 1, SY_QK_NORM_NONE, true,
     false, 1e6, 361792, "model.layers.1.block_sparse_moe.experts.3.w3.weight"},
    {"tests/data/goldens/qwen3_moe", "Qwen3MoeForCausalLM", 2, 64, 4, 2, 32, 320, 16, 4, 48, 1, SY_QK_NORM_HEAD, true,
     false, 1e6, 387520, "model.layers.1.mlp.experts.3.up_proj.weight"},
    {"tests/data/goldens/olmoe", "OlmoeForCausalLM", 2, 64, 4, 4, 16, 320, 16, 4, 32, 1, SY_QK_NORM_FULL, false, false,
     1e4, 272960, "model.layers.1.mlp.experts.3.up_proj.weight"},
    {"tests/data/demo", "Qwen3MoeForCausalLM", 6, 256, 4, 2, 64, 4096, 32, 4, 64, 2, SY_QK_NORM_HEAD, true, true, 1e4,
     11718656, "model.layers.1.mlp.experts.3.up_proj.weight"},
};

#define N_MODELS (sizeof models / sizeof models[0])
#define CHECKS   6

static void test_model(size_t i, const char *dir)
{
    struct sy_checkpoint *ckpt;
    struct sy_model *m = NULL;
    struct sy_error err = SY_ERROR_INIT;
    int64_t total = 0, active = 0;
    uint64_t all = 0, matrix_bytes = 0;
    size_t n;

    if (folder_open(dir, &ckpt, &err) || sy_model_create(ckpt, &m, &err))
        bail("%s", err.text);
    ok(!strcmp(m->architecture, models[i].architecture) && m->n_layers == models[i].n_layers &&
           m->hidden == models[i].hidden && m->n_heads == models[i].n_heads && m->n_kv_heads == models[i].n_kv_heads &&
           m->head_dim == models[i].head_dim && m->vocab == models[i].vocab &&
           sy_checkpoint_n_shards(ckpt) == models[i].n_shards,
       "%s: decoder", models[i].dir);
    ok(m->n_experts == models[i].n_experts && m->top_k == models[i].top_k &&
           m->expert_width == models[i].expert_width && m->n_moe_layers == m->n_layers &&
           m->router.normalise == models[i].normalise && m->router.scale == 1,
       "%s: experts", models[i].dir);
    ok(m->qk_norm == models[i].qk_norm && m->tied == models[i].tied && m->rope.theta == models[i].theta &&
           m->dtype == SY_BF16 && m->n_eos == 1,
       "%s: variants", models[i].dir);
    is_str(m->layers[1].experts[3].up.tensor->name, models[i].up, "%s: up matrix", models[i].dir);
    sy_model_parameters(m, &total, &active);
    is_int(total, models[i].parameters, "%s: parameters", models[i].dir);
    const struct sy_tensor *tensors = sy_checkpoint_tensors(ckpt, &n);
    for (size_t t = 0; t < n; t++) {
        all += tensors[t].bytes;
        matrix_bytes += tensors[t].n_dims == 2 ? tensors[t].bytes : 0;
    }
    ok(all == (uint64_t)total * 2 && matrix_bytes < all && active < total,
       "%s: every tensor of the checkpoint is in them", models[i].dir);
    sy_model_destroy(m);
    sy_checkpoint_close(ckpt);
}

int main(void)
{
    const char *top = getenv("SY_SRCDIR");
    char dir[4096], config[4200];

    plan((int)N_MODELS * CHECKS);
    for (size_t i = 0; i < N_MODELS; i++) {
        snprintf(dir, sizeof dir, "%s/%s", top ? top : ".", models[i].dir);
        snprintf(config, sizeof config, "%s/config.json", dir);
        FILE *there = fopen(config, "r");
        if (there) {
            fclose(there);
            test_model(i, dir);
        }
        for (int c = 0; !there && c < CHECKS; c++)
            skip("%s is not there", models[i].dir);
    }
    return tap_exit();
}
