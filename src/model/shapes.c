/* SPDX-License-Identifier: Apache-2.0
 * shapes.c - the table of named shapes
 */
#include "model/shapes.h"

#include <string.h>

/* Sources: the published config.json of each model. "small", "slice" and DeepSeek-V3's are ours: the first runs on
 * anything, the second is a sixth of Qwen3-30B-A3B that fits where the whole does not, with the share of its output projection,
 * and the last are for layers of experts alone. "gpt-oss-20b" has neither biases nor sinks nor windows, nor its own SwiGLU. */
static const struct sy_shape shapes[] = {
    {"small", "8 layers of 32 experts, 0.5 B parameters", "MixtralForCausalLM", 8, 1024, 16, 16, 64, 32, 4, 512, 32000,
     32768, SY_QK_NORM_NONE, true, 1e-5, 1e6},
    {"olmoe", "OLMoE-1B-7B", "OlmoeForCausalLM", 16, 2048, 16, 16, 128, 64, 8, 1024, 50304, 4096, SY_QK_NORM_FULL,
     false, 1e-5, 1e4},
    {"slice", "8 of 48 layers and a sixth of the vocabulary of Qwen3-30B-A3B", "Qwen3MoeForCausalLM", 8, 2048, 32, 4,
     128, 128, 8, 768, 25344, 40960, SY_QK_NORM_HEAD, true, 1e-6, 1e6},
    {"qwen3-30b-a3b", "Qwen3-30B-A3B", "Qwen3MoeForCausalLM", 48, 2048, 32, 4, 128, 128, 8, 768, 151936, 40960,
     SY_QK_NORM_HEAD, true, 1e-6, 1e6},
    {"qwen3-235b-a22b", "Qwen3-235B-A22B", "Qwen3MoeForCausalLM", 94, 4096, 64, 4, 128, 128, 8, 1536, 151936, 40960,
     SY_QK_NORM_HEAD, true, 1e-6, 1e6},
    {"qwen3-coder-480b-a35b", "Qwen3-Coder-480B-A35B", "Qwen3MoeForCausalLM", 62, 6144, 96, 8, 128, 160, 8, 2560,
     151936, 262144, SY_QK_NORM_HEAD, true, 1e-6, 1e7},
    {"mixtral-8x7b", "Mixtral-8x7B", "MixtralForCausalLM", 32, 4096, 32, 8, 128, 8, 2, 14336, 32000, 32768,
     SY_QK_NORM_NONE, true, 1e-5, 1e6},
    {"mixtral-8x22b", "Mixtral-8x22B", "MixtralForCausalLM", 56, 6144, 48, 8, 128, 8, 2, 16384, 32000, 65536,
     SY_QK_NORM_NONE, true, 1e-5, 1e6},
    {"gpt-oss-20b", "sizes of gpt-oss-20b with Mixtral's arithmetic", "MixtralForCausalLM", 24, 2880, 64, 8, 64, 32, 4,
     2880, 201088, 131072, SY_QK_NORM_NONE, true, 1e-5, 150000},
    {"deepseek-v3-experts", "4 layers of DeepSeek-V3's routed experts with Mixtral's router and attention",
     "MixtralForCausalLM", 4, 7168, 56, 8, 128, 256, 8, 2048, 32000, 32768, SY_QK_NORM_NONE, true, 1e-6, 1e4},
    {"deepseek-v3-ep8", "4 layers of 32 of DeepSeek-V3's routed experts, one to a token, as each of 8 ranks has",
     "MixtralForCausalLM", 4, 7168, 56, 8, 128, 32, 1, 2048, 32000, 32768, SY_QK_NORM_NONE, true, 1e-6, 1e4},
};

#define N_SHAPES (sizeof shapes / sizeof shapes[0])

const struct sy_shape *sy_shapes(size_t *n_shapes)
{
    *n_shapes = N_SHAPES;
    return shapes;
}

const struct sy_shape *sy_shape_find(const char *name)
{
    for (size_t i = 0; i < N_SHAPES; i++)
        if (!strcmp(shapes[i].name, name))
            return &shapes[i];
    return NULL;
}
