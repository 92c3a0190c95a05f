/* SPDX-License-Identifier: Apache-2.0
 * rope.c - rotary position embedding: its keys in config.json, and its table
 *
 * Sources: transformers 5 modeling_rope_utils.py for the keys and their precedence; YaRN: arXiv 2309.00071, section 3.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "model/config.h"

/* Every key of a rope dictionary that is known; another one may change the angles and is refused. */
static const char *const rope_keys[] = {
    "rope_type", "type", "rope_theta", "partial_rotary_factor",            /* every type */
    "factor", "original_max_position_embeddings",                          /* linear, YaRN */
    "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "attention_factor", "truncate",
};

static enum sy_status check_keys(const struct sy_config *c, const char *where, json_t *dict, struct sy_error *err)
{
    const char *key;
    json_t *value;
    char shown[80];

    json_object_foreach (dict, key, value) {
        bool known = false;
        for (size_t i = 0; i < sizeof rope_keys / sizeof rope_keys[0]; i++)
            known = known || !strcmp(key, rope_keys[i]);
        if (!known && !json_is_null(value))
            return sy_error_set(err, SY_ERR_DATA, "%s: %s.%.60s is %s, which is not supported for this rope type",
                                c->path, where, key, sy_json_show(value, shown, sizeof shown));
    }
    return SY_OK;
}

static enum sy_status read_kind(const struct sy_config *c, const char *where, const json_t *dict,
                                enum sy_rope_kind *kind, struct sy_error *err)
{
    static const char *const names[] = {"default", "linear", "yarn"};
    const json_t *type = json_object_get(dict, "rope_type");
    char shown[80];

    if (!type || json_is_null(type))
        type = json_object_get(dict, "type");
    *kind = SY_ROPE_DEFAULT;
    if (!type || json_is_null(type))
        return SY_OK;
    for (int i = 0; i < 3; i++) {
        if (json_is_string(type) && !strcmp(json_string_value(type), names[i])) {
            *kind = (enum sy_rope_kind)i;
            return SY_OK;
        }
    }
    return sy_error_set(err, SY_ERR_DATA,
                        "%s: rope type %s (key %s.rope_type) is not supported, supported: default, linear, "
                        "yarn",
                        c->path, sy_json_show(type, shown, sizeof shown), where);
}

/* The growth of attention temperature with the context: 0.1 m ln(factor) + 1. */
static double mscale(double factor, double m)
{
    return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1;
}

static enum sy_status read_yarn(const struct sy_config *c, const json_t *dict, struct sy_rope *rope,
                                struct sy_error *err)
{
    double m = 0, m_all = 0;
    enum sy_status st;

    rope->original_context = c->max_context;
    rope->beta_fast = 32;
    rope->beta_slow = 1;
    rope->truncate = true;
    /* At the top level the key goes before the one in the dictionary, as transformers has it. */
    if ((st = sy_json_real(c->path, dict, "original_max_position_embeddings", 1, 1e9, &rope->original_context, err)) ||
        (st = sy_json_real(c->path, c->json, "original_max_position_embeddings", 1, 1e9, &rope->original_context,
                           err)) ||
        (st = sy_json_real(c->path, dict, "beta_fast", 0, 1e6, &rope->beta_fast, err)) ||
        (st = sy_json_real(c->path, dict, "beta_slow", 0, 1e6, &rope->beta_slow, err)) ||
        (st = sy_json_real(c->path, dict, "mscale", -1e6, 1e6, &m, err)) ||
        (st = sy_json_real(c->path, dict, "mscale_all_dim", -1e6, 1e6, &m_all, err)) ||
        (st = sy_json_bool(c->path, dict, "truncate", &rope->truncate, err)))
        return st;
    if (rope->beta_fast == 0)
        rope->beta_fast = 32;
    if (rope->beta_slow == 0)
        rope->beta_slow = 1;
    if (rope->factor == 0)
        rope->factor = fmax(1, c->max_context / rope->original_context);
    rope->attention_factor = m != 0 && m_all != 0 ? mscale(rope->factor, m) / mscale(rope->factor, m_all)
                                                  : mscale(rope->factor, 1);
    /* DeepSeek's attention sharpens its scores by mscale_all_dim as well. */
    if (c->mla.kv_lora_rank && m_all != 0)
        rope->score_factor = mscale(rope->factor, m_all) * mscale(rope->factor, m_all);
    st = sy_json_real(c->path, dict, "attention_factor", 0, 1e6, &rope->attention_factor, err);
    if (!st && !(rope->attention_factor > 0 && rope->attention_factor < 1e6))
        st = sy_error_set(err, SY_ERR_DATA,
                          "%s: the attention factor of YaRN is %g, expected a number over 0 (mscale %g, "
                          "mscale_all_dim %g)",
                          c->path, rope->attention_factor, m, m_all);
    return st;
}

enum sy_status sy_rope_read(const struct sy_config *c, struct sy_rope *rope, struct sy_error *err)
{
    const char *where = "rope_scaling";
    json_t *dict = json_object_get(c->json, where);
    double partial = 1;
    char shown[80];
    enum sy_status st;

    if (!dict || json_is_null(dict) || (json_is_object(dict) && !json_object_size(dict))) {
        where = "rope_parameters";
        dict = json_object_get(c->json, where);
    }
    if (dict && !json_is_null(dict) && !json_is_object(dict))
        return sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" is %s, expected an object", c->path, where,
                            sy_json_show(dict, shown, sizeof shown));
    *rope = (struct sy_rope){.kind = SY_ROPE_DEFAULT,
                             .theta = c->family->rope_theta,
                             .attention_factor = 1,
                             .score_factor = 1,
                             .interleaved = c->mla.kv_lora_rank > 0};
    if ((st = read_kind(c, where, dict, &rope->kind, err)) || (st = check_keys(c, where, dict, err)) ||
        (st = sy_json_real(c->path, c->json, "rope_theta", 1.001, 1e18, &rope->theta, err)) ||
        (st = sy_json_real(c->path, dict, "rope_theta", 1.001, 1e18, &rope->theta, err)) ||
        (st = sy_json_real(c->path, c->json, "partial_rotary_factor", 0, 1, &partial, err)) ||
        (st = sy_json_real(c->path, dict, "partial_rotary_factor", 0, 1, &partial, err)) ||
        (st = sy_json_bool(c->path, c->json, "rope_interleave", &rope->interleaved, err)) ||
        (rope->kind != SY_ROPE_DEFAULT && (st = sy_json_real(c->path, dict, "factor", 1e-6, 1e6, &rope->factor, err))))
        return st;
    rope->rotary_dim = (int)(c->head_dim * partial);
    if (rope->rotary_dim < 2 || rope->rotary_dim % 2)
        return sy_error_set(err, SY_ERR_DATA, "%s: %d of the %d dims of a head turn, expected an even number from 2",
                            c->path, rope->rotary_dim, c->head_dim);
    if (rope->kind == SY_ROPE_LINEAR && rope->factor == 0)
        return sy_error_set(err, SY_ERR_DATA, "%s: \"factor\" is missing in \"%s\" of type linear", c->path, where);
    return rope->kind == SY_ROPE_YARN ? read_yarn(c, dict, rope, err) : SY_OK;
}

/* The dim that turns `turns` times over the original context. */
static double yarn_dim(const struct sy_rope *rope, double turns)
{
    return rope->rotary_dim * log(rope->original_context / (turns * 2 * M_PI)) / (2 * log(rope->theta));
}

static double inverse_frequency(const struct sy_rope *rope, int i)
{
    double frequency = pow(rope->theta, -2.0 * i / rope->rotary_dim);

    if (rope->kind == SY_ROPE_LINEAR)
        return frequency / rope->factor;
    if (rope->kind != SY_ROPE_YARN)
        return frequency;
    double low = yarn_dim(rope, rope->beta_fast), high = yarn_dim(rope, rope->beta_slow);
    if (rope->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, rope->rotary_dim - 1);
    if (low == high)
        high += 0.001;
    /* Slow dims (ramp 1) are stretched over the longer context, fast ones (ramp 0) stay. */
    double ramp = fmin(fmax((i - low) / (high - low), 0), 1);
    return ramp * frequency / rope->factor + (1 - ramp) * frequency;
}

void sy_rope_table(const struct sy_rope *rope, int n_positions, float *cos_sin)
{
    int half = rope->rotary_dim / 2;

    for (int i = 0; i < half; i++) {
        double frequency = inverse_frequency(rope, i);
        for (int64_t p = 0; p < n_positions; p++) {
            float *row = cos_sin + p * rope->rotary_dim;
            row[i] = (float)(cos((double)p * frequency) * rope->attention_factor);
            row[half + i] = (float)(sin((double)p * frequency) * rope->attention_factor);
        }
    }
}
