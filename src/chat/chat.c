/* SPDX-License-Identifier: Apache-2.0
 * chat.c - a checkpoint's own chat template
 *
 * Source: transformers/tokenization_utils_base.py (which files, which template, which variables).
 */
#include "chat/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "chat/template.h"

#define CONFIG_BYTES_MAX ((size_t)16 << 20)
#define CONFIG_DEPTH_MAX 64

struct sy_chat {
    struct sy_template *plain, *tool_use; /* tool_use NULL: plain does it */
    json_t *special;                      /* names of special tokens to their text */
    struct sy_error err;                  /* why there is no template; status SY_OK: there is */
};

static const char config_name[] = "tokenizer_config.json";

/* A template in a file of its own; *tmpl stays NULL when there is none. */
static enum sy_status read_template(const char *dir, const char *name, struct sy_template **tmpl, struct sy_error *err)
{
    struct sy_buf text = SY_BUF_INIT;
    char path[4096];

    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return sy_error_set(err, SY_ERR_DATA, "%s: the name is too long", dir);
    if (!sy_file_exists(path))
        return SY_OK;
    enum sy_status st = sy_file_read(path, SY_TEMPLATE_BYTES_MAX, &text, err);
    if (!st)
        st = sy_template_parse(name, text.data ? (const char *)text.data : "", text.len, tmpl, err);
    sy_buf_fini(&text);
    return st;
}

static enum sy_status read_config(const char *dir, json_t **config, struct sy_error *err)
{
    struct sy_buf text = SY_BUF_INIT;
    char path[4096];

    if (snprintf(path, sizeof path, "%s/%s", dir, config_name) >= (int)sizeof path)
        return sy_error_set(err, SY_ERR_DATA, "%s: the name is too long", dir);
    if (!sy_file_exists(path))
        return SY_OK;
    enum sy_status st = sy_file_read(path, CONFIG_BYTES_MAX, &text, err);
    if (!st)
        st = sy_json_parse(config_name, text.data ? (const char *)text.data : "", text.len, CONFIG_DEPTH_MAX, config,
                           err);
    sy_buf_fini(&text);
    return st;
}

static enum sy_status parse_string(const char *name, const json_t *text, struct sy_template **tmpl,
                                   struct sy_error *err)
{
    if (!json_is_string(text))
        return sy_error_set(err, SY_ERR_DATA, "%s: a chat_template that is not a string", config_name);
    return sy_template_parse(name, json_string_value(text), json_string_length(text), tmpl, err);
}

/* "chat_template": a string, or a list of {"name", "template"}. */
static enum sy_status templates_of(struct sy_chat *chat, const json_t *config, struct sy_error *err)
{
    const json_t *value = json_object_get(config, "chat_template");
    enum sy_status st = SY_OK;

    if (!value || json_is_null(value))
        return SY_OK;
    if (!json_is_array(value))
        return parse_string("chat_template", value, &chat->plain, err);
    for (size_t i = 0; i < json_array_size(value) && !st; i++) {
        const json_t *item = json_array_get(value, i), *text = json_object_get(item, "template");
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && !strcmp(name, "default") && !chat->plain)
            st = parse_string("chat_template default", text, &chat->plain, err);
        else if (name && !strcmp(name, "tool_use") && !chat->tool_use)
            st = parse_string("chat_template tool_use", text, &chat->tool_use, err);
    }
    return st;
}

/* A special token is a string, or an object with its "content". */
static json_t *token_text(json_t *value)
{
    json_t *text = json_is_object(value) ? json_object_get(value, "content") : value;

    return json_is_string(text) ? text : NULL;
}

static bool note_special(struct sy_chat *chat, const json_t *config)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    const json_t *more = json_object_get(config, "additional_special_tokens");
    bool good = true;

    chat->special = json_object();
    if (!chat->special)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names && good; i++) {
        json_t *text = token_text(json_object_get(config, names[i]));
        good = !text || !json_object_set(chat->special, names[i], text);
    }
    if (!json_array_size(more))
        return good;
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(more) && good; i++) {
        json_t *text = token_text(json_array_get(more, i));
        good = !text || !json_array_append(list, text);
    }
    return !json_object_set_new(chat->special, "additional_special_tokens", list) && good;
}

static enum sy_status read_all(struct sy_chat *chat, const char *dir, struct sy_error *err)
{
    json_t *config = NULL;
    enum sy_status st = read_config(dir, &config, err);

    if (!st && !note_special(chat, config))
        st = sy_error_set(err, SY_ERR_SYSTEM, "no memory for a chat template");
    if (!st)
        st = read_template(dir, "chat_template.jinja", &chat->plain, err);
    if (!st && chat->plain)
        st = read_template(dir, "additional_chat_templates/tool_use.jinja", &chat->tool_use, err);
    else if (!st)
        st = templates_of(chat, config, err);
    json_decref(config);
    if (!st && !chat->plain)
        st = sy_error_set(err, SY_ERR_DATA,
                          "the model has no chat template (chat_template.jinja, or chat_template in %s); render the "
                          "conversation yourself and send it as \"prompt\" to /v1/completions",
                          config_name);
    return st;
}

enum sy_status sy_chat_open(const char *dir, struct sy_chat **chat, struct sy_error *err)
{
    struct sy_chat *c = *chat = calloc(1, sizeof *c);

    if (!c)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a chat template");
    if (read_all(c, dir, &c->err) != SY_ERR_SYSTEM)
        return SY_OK;
    *err = c->err;
    sy_chat_close(c);
    *chat = NULL;
    return SY_ERR_SYSTEM;
}

/* set that takes NULL for null. */
static bool set(json_t *object, const char *key, const json_t *value)
{
    return !json_object_set_new(object, key, value ? json_incref((json_t *)(uintptr_t)value) : json_null());
}

enum sy_status sy_chat_render(const struct sy_chat *chat, const struct sy_chat_request *request, time_t now,
                              struct sy_buf *out, struct sy_error *err)
{
    const struct sy_template *tmpl = request->tools && chat->tool_use ? chat->tool_use : chat->plain;
    struct sy_error second = SY_ERROR_INIT;

    if (chat->err.status) {
        *err = chat->err;
        return SY_ERR_DATA;
    }
    /* What the request says comes last, so that no variable hides it. */
    json_t *variables = json_copy(chat->special);
    bool good = variables &&
                (!request->variables || !json_object_update(variables, (json_t *)(uintptr_t)request->variables)) &&
                set(variables, "messages", request->messages) && set(variables, "tools", request->tools) &&
                (json_object_get(variables, "documents") || set(variables, "documents", NULL)) &&
                set(variables, "add_generation_prompt", json_true());
    enum sy_status st = good ? sy_template_render(tmpl, variables, &sy_template_limits, now, out, err)
                             : sy_error_set(err, SY_ERR_SYSTEM, "no memory for a chat");
    /* Some templates show the arguments of a call as JSON, others add them to text, and only one of two forms will do. */
    if (st == SY_ERR_DATA && request->messages_plain && set(variables, "messages", request->messages_plain) &&
        !sy_template_render(tmpl, variables, &sy_template_limits, now, out, &second))
        st = SY_OK;
    json_decref(variables);
    return st;
}

void sy_chat_close(struct sy_chat *chat)
{
    if (!chat)
        return;
    sy_template_destroy(chat->plain);
    sy_template_destroy(chat->tool_use);
    json_decref(chat->special);
    free(chat);
}
