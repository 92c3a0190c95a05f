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

#define FACTOR_MAX 1e6

/* Types as config.json names them, and what they are here. A context past max_position_embeddings, for which "dynamic" has
 * other angles, is refused anyway. "su" is what LongRoPE was called first. */
static const struct {
    const char *name;
    enum sy_rope_kind kind;
    unsigned takes; /* which of rope_keys */
} types[] = {
    {"default", SY_ROPE_DEFAULT, 1 | 2}, {"linear", SY_ROPE_LINEAR, 1 | 2}, {"yarn", SY_ROPE_YARN, 1 | 2},
    {"dynamic", SY_ROPE_DEFAULT, 1},     {"llama3", SY_ROPE_LLAMA3, 1 | 4}, {"longrope", SY_ROPE_LONG, 1 | 8},
    {"su", SY_ROPE_LONG, 1 | 8},
};

#define N_TYPES (sizeof types / sizeof types[0])

/* Every key of a rope dictionary that is known; another one may change the angles and is refused. */
static const struct {
    const char *name;
    unsigned takers;
} rope_keys[] = {
    {"rope_type", 1},       {"type", 1},
    {"rope_theta", 1},      {"partial_rotary_factor", 1},
    {"factor", 1},          {"original_max_position_embeddings", 2 | 4 | 8},
    {"beta_fast", 2},       {"beta_slow", 2},
    {"mscale", 2},          {"mscale_all_dim", 2},
    {"truncate", 2},        {"attention_factor", 2 | 8},
    {"low_freq_factor", 4}, {"high_freq_factor", 4},
    {"short_factor", 8},    {"long_factor", 8},
    {"short_mscale", 8},    {"long_mscale", 8},
    {"mrope_section", 1},   {"mrope_interleaved", 1}, /* of pictures; text has one position in all */
};

/* The first of a kind's names is its own. */
const char *sy_rope_kind_name(enum sy_rope_kind kind)
{
    size_t i = 0;

    while (types[i].kind != kind)
        i++;
    return types[i].name;
}

static enum sy_status check_keys(const struct sy_config *c, const char *where, json_t *dict, unsigned takes,
                                 struct sy_error *err)
{
    const char *key;
    json_t *value;
    char shown[80];

    json_object_foreach (dict, key, value) {
        bool known = false;
        for (size_t i = 0; i < sizeof rope_keys / sizeof rope_keys[0]; i++)
            known = known || (!strcmp(key, rope_keys[i].name) && rope_keys[i].takers & takes);
        if (!known && !json_is_null(value))
            return sy_error_set(err, SY_ERR_DATA, "%s: %s.%.60s is %s, which is not supported for this rope type",
                                c->path, where, key, sy_json_show(value, shown, sizeof shown));
    }
    return SY_OK;
}

static enum sy_status read_kind(const struct sy_config *c, const char *where, json_t *dict, enum sy_rope_kind *kind,
                                struct sy_error *err)
{
    const json_t *type = sy_json_get(dict, "rope_type");
    char shown[80], known[100] = "";
    size_t i = 0;

    if (!type || json_is_null(type))
        type = sy_json_get(dict, "type");
    for (; type && !json_is_null(type) && i < N_TYPES; i++) {
        if (json_is_string(type) && !strcmp(json_string_value(type), types[i].name))
            break;
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", types[i].name);
    }
    if (i == N_TYPES)
        return sy_error_set(err, SY_ERR_DATA, "%s: rope type %s (key %s.rope_type) is not supported, supported: %s",
                            c->path, sy_json_show(type, shown, sizeof shown), where, known);
    *kind = types[i].kind;
    return check_keys(c, where, dict, types[i].takes, err);
}

/* The growth of attention temperature with the context: 0.1 m ln(factor) + 1. */
static double mscale(double factor, double m)
{
    return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1;
}

/* At the top level the key goes before the one in the dictionary, as transformers has it. */
static enum sy_status read_original(const struct sy_config *c, const json_t *dict, struct sy_rope *rope,
                                    struct sy_error *err)
{
    static const char key[] = "original_max_position_embeddings";
    enum sy_status st;

    rope->original_context = c->max_context;
    st = sy_json_real(c->path, dict, key, 1, 1e9, &rope->original_context, err);
    return st ? st : sy_json_real(c->path, c->json, key, 1, 1e9, &rope->original_context, err);
}

static enum sy_status read_yarn(const struct sy_config *c, const json_t *dict, struct sy_rope *rope,
                                struct sy_error *err)
{
    double m = 0, m_all = 0;
    enum sy_status st;

    rope->beta_fast = 32;
    rope->beta_slow = 1;
    rope->truncate = true;
    if ((st = read_original(c, dict, rope, err)) ||
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

static enum sy_status read_llama3(const struct sy_config *c, const char *where, const json_t *dict,
                                  struct sy_rope *rope, struct sy_error *err)
{
    enum sy_status st;

    if ((st = read_original(c, dict, rope, err)) ||
        (st = sy_json_real(c->path, dict, "low_freq_factor", 1e-6, FACTOR_MAX, &rope->low_freq_factor, err)) ||
        (st = sy_json_real(c->path, dict, "high_freq_factor", 1e-6, FACTOR_MAX, &rope->high_freq_factor, err)))
        return st;
    if (rope->factor > 0 && rope->low_freq_factor > 0 && rope->high_freq_factor > rope->low_freq_factor)
        return SY_OK;
    return sy_error_set(err, SY_ERR_DATA,
                        "%s: \"%s\" of type llama3 has factor %g, low_freq_factor %g and high_freq_factor %g; all are "
                        "needed, the last the largest",
                        c->path, where, rope->factor, rope->low_freq_factor, rope->high_freq_factor);
}

/* An array of one factor for each pair of dims. */
static enum sy_status read_factors(const struct sy_config *c, const char *where, const json_t *dict, const char *key,
                                   const struct sy_rope *rope, const json_t **out, struct sy_error *err)
{
    size_t n = (size_t)rope->rotary_dim / 2;
    char shown[80];

    *out = sy_json_get(dict, key);
    if (!json_is_array(*out) || json_array_size(*out) != n)
        return sy_error_set(err, SY_ERR_DATA, "%s: %s.%s is %s, expected an array of %zu numbers", c->path, where, key,
                            *out ? sy_json_show(*out, shown, sizeof shown) : "missing", n);
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(*out, i);
        if (!(json_number_value(value) >= 1e-6 && json_number_value(value) <= 1e9))
            return sy_error_set(err, SY_ERR_DATA, "%s: %s.%s[%zu] is %s, expected a number from 1e-6 to 1e9", c->path,
                                where, key, i, sy_json_show(value, shown, sizeof shown));
    }
    return SY_OK;
}

/* LongRoPE, arXiv 2402.13753. What cosines and sines are multiplied by: short_mscale and long_mscale (Phi-3.5-MoE), or else
 * one attention_factor, by default sqrt(1 + ln(factor) / ln(original context)). The keys are those of transformers; its
 * version 5 turns Phi-3.5-MoE by short_factor at every length, which the model's own code and version 4 do not. */
static enum sy_status read_long(const struct sy_config *c, const char *where, const json_t *dict, struct sy_rope *rope,
                                struct sy_error *err)
{
    double short_mscale = 0, long_mscale = 0;
    enum sy_status st;

    if ((st = read_original(c, dict, rope, err)) ||
        (st = read_factors(c, where, dict, "short_factor", rope, &rope->short_factor, err)) ||
        (st = read_factors(c, where, dict, "long_factor", rope, &rope->long_factor, err)))
        return st;
    if (rope->factor == 0)
        rope->factor = c->max_context / rope->original_context;
    if (rope->factor > 1 && rope->original_context > 1)
        rope->attention_factor = sqrt(1 + log(rope->factor) / log(rope->original_context));
    if ((st = sy_json_real(c->path, dict, "attention_factor", 1e-6, FACTOR_MAX, &rope->attention_factor, err)) ||
        (st = sy_json_real(c->path, dict, "short_mscale", 1e-6, FACTOR_MAX, &short_mscale, err)) ||
        (st = sy_json_real(c->path, dict, "long_mscale", 1e-6, FACTOR_MAX, &long_mscale, err)))
        return st;
    if ((short_mscale > 0) != (long_mscale > 0))
        return sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" has only one of short_mscale and long_mscale", c->path,
                            where);
    rope->long_attention_factor = long_mscale > 0 ? long_mscale : rope->attention_factor;
    rope->attention_factor = short_mscale > 0 ? short_mscale : rope->attention_factor;
    return SY_OK;
}

static enum sy_status read_scaling(const struct sy_config *c, const char *where, const json_t *dict,
                                   struct sy_rope *rope, struct sy_error *err)
{
    switch (rope->kind) {
    case SY_ROPE_LINEAR:
        if (rope->factor == 0)
            return sy_error_set(err, SY_ERR_DATA, "%s: \"factor\" is missing in \"%s\" of type linear", c->path, where);
        return SY_OK;
    case SY_ROPE_YARN:
        return read_yarn(c, dict, rope, err);
    case SY_ROPE_LLAMA3:
        return read_llama3(c, where, dict, rope, err);
    case SY_ROPE_LONG:
        return read_long(c, where, dict, rope, err);
    case SY_ROPE_DEFAULT:
        break;
    }
    return SY_OK;
}

enum sy_status sy_rope_read(const struct sy_config *c, struct sy_rope *rope, struct sy_error *err)
{
    const char *where = "rope_scaling";
    json_t *dict = sy_json_get(c->json, where);
    double partial = c->family->partial > 0 ? c->family->partial : 1;
    char shown[80];
    enum sy_status st;

    if (!dict || json_is_null(dict) || (json_is_object(dict) && !json_object_size(dict))) {
        where = "rope_parameters";
        dict = sy_json_get(c->json, where);
    }
    if (!dict && c->family->rope_needed && !sy_json_get(c->json, "rope_scaling"))
        return sy_error_set(err, SY_ERR_DATA,
                            "%s: \"rope_parameters\" is missing, and so is \"rope_scaling\"; %s needs "
                            "one",
                            c->path, c->family->architecture);
    if (dict && !json_is_null(dict) && !json_is_object(dict))
        return sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" is %s, expected an object", c->path, where,
                            sy_json_show(dict, shown, sizeof shown));
    *rope = (struct sy_rope){.kind = SY_ROPE_DEFAULT,
                             .theta = c->family->rope_theta,
                             .attention_factor = 1,
                             .score_factor = 1,
                             .interleaved = c->mla.kv_lora_rank > 0};
    if ((st = read_kind(c, where, dict, &rope->kind, err)) ||
        (st = sy_json_real(c->path, c->json, "rope_theta", 1.001, 1e18, &rope->theta, err)) ||
        (st = sy_json_real(c->path, dict, "rope_theta", 1.001, 1e18, &rope->theta, err)) ||
        (st = sy_json_real(c->path, c->json, "partial_rotary_factor", 0, 1, &partial, err)) ||
        (st = sy_json_real(c->path, dict, "partial_rotary_factor", 0, 1, &partial, err)) ||
        (st = sy_json_bool(c->path, c->json, "rope_interleave", &rope->interleaved, err)) ||
        (rope->kind != SY_ROPE_DEFAULT &&
         (st = sy_json_real(c->path, dict, "factor", 1e-6, FACTOR_MAX, &rope->factor, err))))
        return st;
    rope->rotary_dim = (int)(c->head_dim * partial);
    if (rope->rotary_dim < 2 || rope->rotary_dim % 2)
        return sy_error_set(err, SY_ERR_DATA, "%s: %d of the %d dims of a head turn, expected an even number from 2",
                            c->path, rope->rotary_dim, c->head_dim);
    return read_scaling(c, where, dict, rope, err);
}

/* The dim that turns `turns` times over the original context. */
static double yarn_dim(const struct sy_rope *rope, double turns)
{
    return rope->rotary_dim * log(rope->original_context / (turns * 2 * M_PI)) / (2 * log(rope->theta));
}

static double yarn_frequency(const struct sy_rope *rope, int i, double frequency)
{
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

/* Dims of fewer turns over the original context than low_freq_factor are stretched, those of more than high_freq_factor stay. */
static double llama3_frequency(const struct sy_rope *rope, double frequency)
{
    double turns = rope->original_context * frequency / (2 * M_PI);
    double keep = (turns - rope->low_freq_factor) / (rope->high_freq_factor - rope->low_freq_factor);

    keep = fmin(fmax(keep, 0), 1);
    return (1 - keep) * frequency / rope->factor + keep * frequency;
}

static double inverse_frequency(const struct sy_rope *rope, int i, bool longer)
{
    double frequency = pow(rope->theta, -2.0 * i / rope->rotary_dim);

    switch (rope->kind) {
    case SY_ROPE_LINEAR:
        return frequency / rope->factor;
    case SY_ROPE_YARN:
        return yarn_frequency(rope, i, frequency);
    case SY_ROPE_LLAMA3:
        return llama3_frequency(rope, frequency);
    case SY_ROPE_LONG:
        return frequency /
               json_number_value(json_array_get(longer ? rope->long_factor : rope->short_factor, (size_t)i));
    case SY_ROPE_DEFAULT:
        break;
    }
    return frequency;
}

int sy_rope_short_context(const struct sy_rope *rope)
{
    return rope->kind == SY_ROPE_LONG ? (int)rope->original_context : INT_MAX;
}

size_t sy_rope_rows(const struct sy_rope *rope, int n_positions)
{
    int n_short = sy_rope_short_context(rope);

    return n_positions <= n_short ? (size_t)n_positions : (size_t)n_short + (size_t)n_positions;
}

static void fill(const struct sy_rope *rope, bool longer, int n_positions, float *cos_sin)
{
    double scale = longer ? rope->long_attention_factor : rope->attention_factor;
    int half = rope->rotary_dim / 2;

    for (int i = 0; i < half; i++) {
        double frequency = inverse_frequency(rope, i, longer);
        for (int64_t p = 0; p < n_positions; p++) {
            float *row = cos_sin + p * rope->rotary_dim;
            row[i] = (float)(cos((double)p * frequency) * scale);
            row[half + i] = (float)(sin((double)p * frequency) * scale);
        }
    }
}

void sy_rope_table(const struct sy_rope *rope, int n_positions, float *cos_sin)
{
    int n_short = sy_rope_short_context(rope);

    fill(rope, false, n_positions < n_short ? n_positions : n_short, cos_sin);
    if (n_positions > n_short)
        fill(rope, true, n_positions, cos_sin + (size_t)n_short * (size_t)rope->rotary_dim);
}
