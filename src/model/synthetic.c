/* SPDX-License-Identifier: Apache-2.0
 * synthetic.c - config, header and weights from a shape and a seed
 */
#include "model/synthetic.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "model/meta.h"
#include "model/safetensors.h"

/* Four BF16 values at once: how far each exponent is moved, and the bits that are random. */
#define LANES         UINT64_C(0x0001000100010001)
#define MATRIX_BITS   (LANES * 0x81ff) /* sign, two bits of the exponent, seven of the fraction */
#define NORM_BITS     (LANES * 0x001f)
#define BF16_ONE      0x3f80
#define EXPONENT_BIAS 127
#define FRACTION_BITS 7

/* Root mean square of +-m 2^j for m in [1, 2) and j in 0 .. 3, all equally likely: sqrt(7/3 * 85/4). */
#define SPREAD 7.04

/* ---- data ---- */

/* Source: the mixing function of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
static inline uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Words [first, first + n) of a tensor; out needs no alignment. */
static void fill(uint64_t key, uint64_t bits, uint64_t base, uint64_t first, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t word = (mix(key + (first + i) * UINT64_C(0x9e3779b97f4a7c15)) & bits) + base;
        memcpy(out + i * sizeof word, &word, sizeof word);
    }
}

/* Each lane's lowest value, as BF16 bits, for a matrix whose elements shall be about `deviation`. */
static uint64_t matrix_base(double deviation)
{
    return LANES * ((uint64_t)(EXPONENT_BIAS + lround(log2(deviation / SPREAD))) << FRACTION_BITS);
}

static void fetch(uint64_t seed, const struct sy_tensor *tensor, uint64_t begin, size_t n, void *out)
{
    bool norm = tensor->n_dims == 1, embedding = !strcmp(tensor->name, "model.embed_tokens.weight");
    double inputs = embedding ? 1 : (double)tensor->dims[tensor->n_dims - 1];
    uint64_t bits = norm ? NORM_BITS : MATRIX_BITS;
    uint64_t base = norm ? LANES * BF16_ONE : matrix_base(1 / sqrt(inputs));
    uint64_t key = mix(mix(seed) + tensor->offset), end = begin + n, word = begin / 8;
    uint8_t *to = out, piece[8];

    /* A first and a last word of which only a part is wanted. */
    if (begin % 8 && n) {
        size_t skip = begin % 8, some = n < 8 - skip ? n : 8 - skip;
        fill(key, bits, base, word++, 1, piece);
        memcpy(to, piece + skip, some);
        to += some;
        n -= some;
    }
    fill(key, bits, base, word, n / 8, to);
    if (n % 8) {
        fill(key, bits, base, end / 8, 1, piece);
        memcpy(to + n / 8 * 8, piece, n % 8);
    }
}

/* ---- metadata ---- */

static bool put_config(const struct sy_shape *s, struct sy_buf *out)
{
    return sy_buf_printf(out,
                         "{\"architectures\": [\"%s\"], \"torch_dtype\": \"bfloat16\", \"hidden_act\": \"silu\", "
                         "\"num_hidden_layers\": %d, \"hidden_size\": %d, \"num_attention_heads\": %d, "
                         "\"num_key_value_heads\": %d, \"head_dim\": %d, \"num_experts\": %d, "
                         "\"num_experts_per_tok\": %d, \"moe_intermediate_size\": %d, \"vocab_size\": %d, "
                         "\"max_position_embeddings\": %d, \"norm_topk_prob\": %s, \"rms_norm_eps\": %g, "
                         "\"rope_theta\": %g, \"tie_word_embeddings\": false, \"eos_token_id\": null}",
                         s->architecture, s->n_layers, s->hidden, s->n_heads, s->n_kv_heads, s->head_dim, s->n_experts,
                         s->top_k, s->expert_width, s->vocab, s->max_context, s->normalise ? "true" : "false",
                         s->norm_eps, s->rope_theta);
}

/* A safetensors header in the making. */
struct header {
    struct sy_buf text;
    uint64_t offset; /* where the next tensor's data begins */
    bool good;
};

/* One tensor of n rows of k, or a vector of k when n is 0. layer and expert are -1 where the name has none. */
static void put(struct header *h, int layer, int expert, const char *module, int n, int k)
{
    uint64_t bytes = (uint64_t)(n ? n : 1) * (uint64_t)k * 2;
    char name[96], shape[48];

    if (expert >= 0)
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%d.%s.weight", layer, expert, module);
    else if (layer >= 0)
        snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, module);
    else
        snprintf(name, sizeof name, "%s.weight", module);
    if (n)
        snprintf(shape, sizeof shape, "%d,%d", n, k);
    else
        snprintf(shape, sizeof shape, "%d", k);
    h->good = h->good &&
              sy_buf_printf(
                  &h->text, "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%s],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                  h->text.len > SY_SHARD_PREFIX_BYTES + 1 ? "," : "", name, shape, h->offset, h->offset + bytes);
    h->offset += bytes;
}

static void put_layer(struct header *h, const struct sy_shape *s, int layer)
{
    int q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;

    put(h, layer, -1, "input_layernorm", 0, s->hidden);
    put(h, layer, -1, "self_attn.q_proj", q, s->hidden);
    put(h, layer, -1, "self_attn.k_proj", kv, s->hidden);
    put(h, layer, -1, "self_attn.v_proj", kv, s->hidden);
    put(h, layer, -1, "self_attn.o_proj", s->hidden, q);
    if (s->qk_norm != SY_QK_NORM_NONE) {
        bool full = s->qk_norm == SY_QK_NORM_FULL;
        put(h, layer, -1, "self_attn.q_norm", 0, full ? q : s->head_dim);
        put(h, layer, -1, "self_attn.k_norm", 0, full ? kv : s->head_dim);
    }
    put(h, layer, -1, "post_attention_layernorm", 0, s->hidden);
    put(h, layer, -1, "mlp.gate", s->n_experts, s->hidden);
    for (int e = 0; e < s->n_experts; e++) {
        put(h, layer, e, "gate_proj", s->expert_width, s->hidden);
        put(h, layer, e, "up_proj", s->expert_width, s->hidden);
        put(h, layer, e, "down_proj", s->hidden, s->expert_width);
    }
}

/* Length and JSON, padded so that data begins at a multiple of eight bytes, as writers do. */
static bool put_header(const struct sy_shape *s, struct header *h)
{
    uint64_t length = 0;

    h->good = sy_buf_append(&h->text, &length, sizeof length) && sy_buf_append(&h->text, "{", 1);
    put(h, -1, -1, "model.embed_tokens", s->vocab, s->hidden);
    for (int layer = 0; layer < s->n_layers; layer++)
        put_layer(h, s, layer);
    put(h, -1, -1, "model.norm", 0, s->hidden);
    put(h, -1, -1, "lm_head", s->vocab, s->hidden);
    h->good = h->good && sy_buf_append(&h->text, "}", 1);
    while (h->good && h->text.len % 8)
        h->good = sy_buf_append(&h->text, " ", 1);
    if (!h->good)
        return false;
    length = h->text.len - SY_SHARD_PREFIX_BYTES;
    for (int i = 0; i < SY_SHARD_PREFIX_BYTES; i++)
        h->text.data[i] = (uint8_t)(length >> 8 * i);
    return true;
}

enum sy_status sy_checkpoint_synthetic(const struct sy_shape *shape, uint64_t seed, struct sy_checkpoint **ckpt,
                                       struct sy_error *err)
{
    static const char config_name[] = "config.json", shard_name[] = "model.safetensors";
    struct sy_buf config = SY_BUF_INIT, meta = SY_BUF_INIT;
    struct header header = {.text = SY_BUF_INIT};
    char dir[128];

    *ckpt = NULL;
    snprintf(dir, sizeof dir, "shape %s (random weights)", shape->name);
    bool good = put_config(shape, &config) && put_header(shape, &header) &&
                sy_meta_append(&meta, &(struct sy_meta_record){SY_META_CONFIG, config_name, sizeof config_name - 1,
                                                               config.data, config.len, config.len}) &&
                sy_meta_append(&meta, &(struct sy_meta_record){SY_META_SHARD, shard_name, sizeof shard_name - 1,
                                                               header.text.data, header.text.len,
                                                               header.text.len + header.offset});
    enum sy_status st = good ? sy_checkpoint_parse(dir, meta.data, meta.len, ckpt, err)
                             : sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory for its table of tensors", dir);
    if (!st)
        sy_checkpoint_set_source(*ckpt, fetch, seed);
    sy_buf_fini(&config);
    sy_buf_fini(&header.text);
    sy_buf_fini(&meta);
    return st;
}
