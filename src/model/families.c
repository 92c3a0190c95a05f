/* SPDX-License-Identifier: Apache-2.0
 * families.c - the table of architectures
 */
#include "model/families.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

/* Source: the configuration classes of transformers 5 (configuration_*.py), checked against published config.json files.
 * Mixtral divides by the sum without having a key for it. OLMoE has no window, whatever sliding_window says. */
static const struct sy_family families[] = {
    {
        .architecture = "Qwen3MoeForCausalLM",
        .model_type = "qwen3_moe",
        .router = SY_ROUTER_SOFTMAX,
        .normalise = false,
        .windowed = false,
        .window = 4096,
        .top_k = 8,
        .max_context = 32768,
        .norm_eps = 1e-6,
        .rope_theta = 1e4,
        .eos = -1,
        .bos = -1,
    },
    {
        .architecture = "MixtralForCausalLM",
        .model_type = "mixtral",
        .router = SY_ROUTER_SOFTMAX,
        .normalise = true,
        .windowed = true,
        .top_k = 2,
        .max_context = 131072,
        .norm_eps = 1e-5,
        .rope_theta = 1e6,
        .eos = 2,
        .bos = 1,
    },
    {
        .architecture = "OlmoeForCausalLM",
        .model_type = "olmoe",
        .router = SY_ROUTER_SOFTMAX,
        .normalise = false,
        .windowed = false,
        .top_k = 8,
        .max_context = 4096,
        .norm_eps = 1e-5,
        .rope_theta = 1e4,
        .eos = 50279,
        .bos = -1,
    },
    {
        .architecture = "Qwen2MoeForCausalLM",
        .model_type = "qwen2_moe",
        .router = SY_ROUTER_SOFTMAX,
        .normalise = false,
        .windowed = false,
        .alternating = 28,
        .window = 4096,
        .top_k = 4,
        .max_context = 32768,
        .norm_eps = 1e-6,
        .rope_theta = 1e4,
        .eos = -1,
        .bos = -1,
    },
    {
        .architecture = "DeepseekV2ForCausalLM",
        .model_type = "deepseek_v2",
        .router = SY_ROUTER_SOFTMAX,
        .normalise = false,
        .windowed = false,
        .scale_or_normalise = true,
        .group_best = 1,
        .top_k = 6,
        .max_context = 2048,
        .norm_eps = 1e-6,
        .rope_theta = 1e4,
        .eos = 1,
        .bos = 0,
    },
    {
        .architecture = "DeepseekV3ForCausalLM",
        .model_type = "deepseek_v3",
        .other_type = "kimi_k2",
        .router = SY_ROUTER_SIGMOID,
        .normalise = true,
        .windowed = false,
        .group_best = 2,
        .top_k = 8,
        .max_context = 4096,
        .norm_eps = 1e-6,
        .rope_theta = 1e4,
        .eos = 1,
        .bos = 0,
    },
    {
        .architecture = "GptOssForCausalLM",
        .model_type = "gpt_oss",
        .router = SY_ROUTER_SOFTMAX_CHOSEN,
        .normalise = false,
        .windowed = true,
        .glu = {.alpha = 1.702f, .limit = 7},
        .alternating = INT_MAX,
        .window = 128,
        .rope_needed = true,
        .top_k = 4,
        .max_context = 131072,
        .norm_eps = 1e-5,
        .rope_theta = 150000,
        .eos = -1,
        .bos = -1,
    },
    {
        .architecture = "GraniteMoeForCausalLM",
        .model_type = "granitemoe",
        .router = SY_ROUTER_SOFTMAX_CHOSEN,
        .normalise = false,
        .windowed = false,
        .attention_scale = 1,
        .top_k = 2,
        .max_context = 2048,
        .norm_eps = 1e-6,
        .rope_theta = 1e4,
        .eos = 2,
        .bos = 1,
    },
    {
        .architecture = "GraniteMoeSharedForCausalLM",
        .model_type = "granitemoeshared",
        .router = SY_ROUTER_SOFTMAX_CHOSEN,
        .normalise = false,
        .windowed = false,
        .attention_scale = 1,
        .top_k = 2,
        .max_context = 2048,
        .norm_eps = 1e-6,
        .rope_theta = 1e4,
        .eos = 2,
        .bos = 1,
    },
    {
        .architecture = "Glm4MoeForCausalLM",
        .model_type = "glm4_moe",
        .other_type = "glm4v_moe_text",
        .partial = 0.5,
        .router = SY_ROUTER_SIGMOID,
        .normalise = true,
        .windowed = false,
        .group_best = 2,
        .top_k = 8,
        .max_context = 131072,
        .norm_eps = 1e-5,
        .rope_theta = 1e4,
        .eos = -1,
        .bos = -1,
    },
    {
        .architecture = "Glm4MoeLiteForCausalLM",
        .model_type = "glm4_moe_lite",
        .router = SY_ROUTER_SIGMOID,
        .normalise = true,
        .windowed = false,
        .group_best = 2,
        .top_k = 4,
        .max_context = 202752,
        .norm_eps = 1e-5,
        .rope_theta = 1e4,
        .eos = 1,
        .bos = 0,
    },
    {
        .architecture = "Qwen3VLMoeForConditionalGeneration",
        .model_type = "qwen3_vl_moe_text",
        .router = SY_ROUTER_SOFTMAX,
        .normalise = true,
        .windowed = false,
        .top_k = 4,
        .max_context = 128000,
        .norm_eps = 1e-6,
        .rope_theta = 5e5,
        .eos = -1,
        .bos = -1,
    },
    {
        .architecture = "PhimoeForCausalLM",
        .model_type = "phimoe",
        .router = SY_ROUTER_SPARSEMIXER,
        .normalise = false,
        .windowed = true,
        .top_k = 2,
        .max_context = 131072,
        .norm_eps = 1e-5,
        .rope_theta = 1e6,
        .eos = 2,
        .bos = 1,
    },
};

#define N_FAMILIES (sizeof families / sizeof families[0])

static enum sy_status unsupported(const char *path, const char *key, const char *found, struct sy_error *err)
{
    char known[1024] = "";

    for (size_t i = 0; i < N_FAMILIES; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s (%s)", i ? ", " : "",
                 families[i].architecture, families[i].model_type);
    return sy_error_set(err, SY_ERR_DATA, "%s: architecture %s (key %s) is not supported, supported: %s", path, found,
                        key, known);
}

enum sy_status sy_family_find(const char *path, const json_t *config, const struct sy_family **family,
                              struct sy_error *err)
{
    const json_t *list = sy_json_get(config, "architectures");
    const json_t *first = json_is_array(list) ? json_array_get(list, 0) : NULL;
    const json_t *type = sy_json_get(config, "model_type");
    const json_t *value = first ? first : type;
    const char *key = first ? "architectures[0]" : "model_type";
    char shown[80];

    if (!value)
        return sy_error_set(err, SY_ERR_DATA, "%s: neither \"architectures\" nor \"model_type\" names the architecture",
                            path);
    for (size_t i = 0; json_is_string(value) && i < N_FAMILIES; i++) {
        const char *text = json_string_value(value), *other = families[i].other_type;
        if (!strcmp(text, first ? families[i].architecture : families[i].model_type) ||
            (!first && other && !strcmp(text, other))) {
            *family = &families[i];
            return SY_OK;
        }
    }
    return unsupported(path, key, sy_json_show(value, shown, sizeof shown), err);
}
