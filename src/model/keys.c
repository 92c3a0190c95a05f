/* SPDX-License-Identifier: Apache-2.0
 * keys.c - keys of config.json that were not asked for
 */
#include "model/keys.h"

#include <stdbool.h>
#include <string.h>

#include "base/json.h"

/* Bytes of a name that are shown. */
#define NAME_SHOWN 80

/* Keys that are sometimes or never asked for and do not change what is computed. Source: the configuration classes of
 * transformers 4 and 5, the compressed-tensors format, config.json of published checkpoints. */
static const char *const harmless[] = {
    /* Who made it, with what. */
    "_name_or_path",
    "architectures",
    "auto_map",
    "custom_pipelines",
    "dtype",
    "finetuning_task",
    "model_type",
    "problem_type",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "transformers_version",
    /* Training. */
    "attention_dropout",
    "aux_loss_alpha",
    "embd_pdrop",
    "hidden_dropout",
    "initializer_range",
    "input_jitter_noise",
    "output_router_logits",
    "resid_pdrop",
    "router_aux_loss_coef",
    "router_z_loss_coef",
    "seq_aux",
    /* How another program runs it. */
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_experts_implementation",
    "attn_implementation",
    "chunk_size_feed_forward",
    "ep_size",
    "output_attentions",
    "output_hidden_states",
    "pretraining_tp",
    "return_dict",
    "tf_legacy_loss",
    "torchscript",
    "use_bfloat16",
    "use_cache",
    /* Of classes that are no decoders, or of heads that are not there. */
    "add_cross_attention",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "id2label",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "num_mtp_layers",
    "num_nextn_predict_layers",
    "prefix",
    "pruned_heads",
    "tie_encoder_decoder",
    /* Tensors say it: a bias is used where it is there, and refused where it has no place. */
    "mlp_bias",
    "qkv_bias",
    /* Said twice: by other keys, or by generation_config.json. */
    "bos_token_id",
    "eos_token_id",
    "experts_per_token",
    "initial_context_length",
    "pad_token_id",
    "qk_head_dim",
    "sep_token_id",
    /* Of a window that is switched off (config.c). */
    "max_window_layers",
    "sliding_window",
    /* Requests say it. */
    "bad_words_ids",
    "begin_suppress_tokens",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    NULL,
};

/* The older name of rope_type. */
static const char *const harmless_rope[] = {"type", NULL};

/* Which matrices hold codes their types say; activations and KV caches are not quantised; how codes were found is past. */
static const char *const harmless_quantization[] = {
    "activation_scheme",
    "dequantize",
    "dynamic",
    "format",
    "global_compression_ratio",
    "ignore",
    "input_activations",
    "kv_cache_scheme",
    "modules_to_not_convert",
    "observer",
    "observer_kwargs",
    "output_activations",
    "quantization_status",
    "registry_requires_subclass",
    "scale_fmt",
    "sparsity_structure",
    "targets",
    "transform_config",
    "version",
    NULL,
};

struct walk {
    const json_t *asked;
    struct sy_buf *names;
    int n;
    bool full; /* no memory */
};

static bool is_listed(const char *key, const char *const *list)
{
    while (*list && strcmp(*list, key))
        list++;
    return *list != NULL;
}

/* The list for what is below a key; the same as before for any other object. */
static const char *const *list_below(const char *key, const char *const *list)
{
    if (!strcmp(key, "quantization_config"))
        return harmless_quantization;
    return !strcmp(key, "rope_scaling") || !strcmp(key, "rope_parameters") ? harmless_rope : list;
}

/* Names come from a file that may be hostile, and go to a terminal. */
static void append_name(struct walk *w, const char *path, const char *key)
{
    size_t begin = w->names->len + (w->n > 1 ? 2 : 0);

    if (w->n > SY_KEYS_SHOWN || w->full)
        return;
    w->full = !sy_buf_printf(w->names, "%s%s%.*s", w->n > 1 ? ", " : "", path, NAME_SHOWN, key);
    for (size_t i = begin; !w->full && i < w->names->len; i++)
        if (w->names->data[i] < 0x20 || w->names->data[i] >= 0x7f)
            w->names->data[i] = '?';
}

static void walk_object(struct walk *w, const json_t *object, const char *path, const char *const *list)
{
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)object, key, value) {
        bool asked = sy_json_asked(w->asked, object, key);
        if (asked && json_is_object(value)) {
            char below[3 * NAME_SHOWN];
            snprintf(below, sizeof below, "%s%.*s.", path, NAME_SHOWN, key);
            walk_object(w, value, below, list_below(key, list));
        } else if (!asked && !json_is_null(value) && !is_listed(key, list)) {
            w->n++;
            append_name(w, path, key);
        }
    }
}

int sy_keys_ignored(const json_t *config, const json_t *asked, struct sy_buf *names)
{
    struct walk w = {.asked = asked, .names = names};

    walk_object(&w, config, "", harmless);
    if (w.n > SY_KEYS_SHOWN && !w.full)
        w.full = !sy_buf_printf(names, ", ...");
    return w.full ? -1 : w.n;
}
