/* SPDX-License-Identifier: Apache-2.0
 * chat_line.c - messages and tools of a line: what is understood, in the form that chat templates expect
 */
#include "cli/chat_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/utf8.h"

static enum sy_status refuse(struct sy_batch_line *line, enum sy_status st)
{
    line->error_code = st == SY_ERR_SYSTEM ? "no_memory" : "invalid_value";
    return st;
}

static enum sy_status no_memory(const char *name, struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory", name);
}

bool sy_chat_line_knows(const char *key)
{
    static const char *const keys[] = {"messages",    "tools",       "chat_template_kwargs", "max_completion_tokens",
                                       "tool_choice", "top_logprobs"};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(key, keys[i]))
            return true;
    return false;
}

/* [{"type": "text", "text": ...}] as one string. */
static enum sy_status join_parts(const char *name, size_t at, json_t *message, const json_t *parts,
                                 struct sy_error *err)
{
    struct sy_buf text = SY_BUF_INIT;
    enum sy_status st = SY_OK;

    for (size_t i = 0; i < json_array_size(parts) && !st; i++) {
        const json_t *part = json_array_get(parts, i), *bytes = json_object_get(part, "text");
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!type || strcmp(type, "text") || !json_is_string(bytes))
            st = sy_error_set(
                err, SY_ERR_DATA,
                "%s: \"messages\"[%zu].content[%zu] is no text part ({\"type\": \"text\", \"text\": ...})", name, at,
                i);
        else if ((i && !sy_buf_append(&text, "\n", 1)) ||
                 !sy_buf_append(&text, json_string_value(bytes), json_string_length(bytes)))
            st = no_memory(name, err);
    }
    if (!st &&
        json_object_set_new(message, "content", json_stringn(text.data ? (const char *)text.data : "", text.len)))
        st = no_memory(name, err);
    sy_buf_fini(&text);
    return st;
}

/* One call of a tool: arguments that are a string with JSON become what it says. */
static enum sy_status take_call(const char *name, size_t at, json_t *call, bool *has_strings, struct sy_error *err)
{
    json_t *function = json_object_get(call, "function"), *parsed = NULL;
    const json_t *arguments = json_object_get(function, "arguments");
    char place[400];

    snprintf(place, sizeof place, "%.200s: \"messages\"[%zu].tool_calls", name, at);
    if (!json_is_string(json_object_get(function, "name")))
        return sy_error_set(err, SY_ERR_DATA, "%s: a call without function.name", place);
    if (!json_is_string(arguments))
        return SY_OK;
    *has_strings = true;
    /* A call without arguments is often written as an empty string. */
    bool is_empty = !json_string_length(arguments);
    enum sy_status st = sy_json_parse(place, is_empty ? "{}" : json_string_value(arguments),
                                      is_empty ? 2 : json_string_length(arguments), SY_BATCH_DEPTH_MAX, &parsed, err);
    if (!st && !json_is_object(parsed))
        st = sy_error_set(err, SY_ERR_DATA, "%s: function.arguments is not an object in JSON", place);
    if (st) {
        json_decref(parsed);
        return st;
    }
    return json_object_set_new(function, "arguments", parsed) ? no_memory(name, err) : SY_OK;
}

static enum sy_status take_message(const char *name, size_t at, json_t *message, bool *has_strings,
                                   struct sy_error *err)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool", "developer"};
    const json_t *content = json_object_get(message, "content");
    json_t *calls = json_object_get(message, "tool_calls");
    const char *role = json_string_value(json_object_get(message, "role"));
    enum sy_status st = SY_OK;
    bool known = false;
    char shown[80];

    for (int i = 0; i < 5 && role; i++)
        known = known || !strcmp(role, roles[i]);
    if (!known)
        return sy_error_set(
            err, SY_ERR_DATA, "%s: \"messages\"[%zu].role is %s, expected system, user, assistant, tool or developer",
            name, at, role ? sy_json_show(json_object_get(message, "role"), shown, sizeof shown) : "missing");
    if (json_is_array(content))
        st = join_parts(name, at, message, content, err);
    else if (content && !json_is_string(content) && !json_is_null(content))
        st = sy_error_set(err, SY_ERR_DATA, "%s: \"messages\"[%zu].content is %s, expected a string or text parts",
                          name, at, sy_json_show(content, shown, sizeof shown));
    /* Parts have been replaced by now. */
    content = json_object_get(message, "content");
    if (!st && (!content || json_is_null(content)) && strcmp(role, "assistant"))
        st = sy_error_set(err, SY_ERR_DATA, "%s: \"messages\"[%zu] has no content", name, at);
    if (!st && calls && !json_is_null(calls) && !json_is_array(calls))
        st = sy_error_set(err, SY_ERR_DATA, "%s: \"messages\"[%zu].tool_calls is %s, expected an array", name, at,
                          sy_json_show(calls, shown, sizeof shown));
    for (size_t i = 0; i < json_array_size(calls) && !st; i++)
        st = take_call(name, at, json_array_get(calls, i), has_strings, err);
    return st;
}

/* Replace the arguments of calls in messages by those of the request, which are strings. */
static bool restore_arguments(json_t *messages, const json_t *given)
{
    bool good = true;

    for (size_t i = 0; i < json_array_size(messages) && good; i++) {
        const json_t *calls = json_object_get(json_array_get(messages, i), "tool_calls");
        const json_t *from = json_object_get(json_array_get(given, i), "tool_calls");
        for (size_t k = 0; k < json_array_size(calls) && good; k++) {
            json_t *arguments = json_object_get(json_object_get(json_array_get(from, k), "function"), "arguments");
            good = !arguments ||
                   !json_object_set(json_object_get(json_array_get(calls, k), "function"), "arguments", arguments);
        }
    }
    return good;
}

static enum sy_status take_messages(const char *name, const json_t *given, struct sy_chat_line *chat,
                                    struct sy_error *err)
{
    bool has_strings = false;
    enum sy_status st = SY_OK;
    char shown[80];

    if (!json_is_array(given) || !json_array_size(given))
        return sy_error_set(err, SY_ERR_DATA, "%s: \"messages\" is %s, expected an array of messages", name,
                            given ? sy_json_show(given, shown, sizeof shown) : "missing");
    chat->messages = json_deep_copy(given);
    if (!chat->messages)
        return no_memory(name, err);
    for (size_t i = 0; i < json_array_size(given) && !st; i++)
        st = take_message(name, i, json_array_get(chat->messages, i), &has_strings, err);
    if (st || !has_strings)
        return st;
    chat->messages_plain = json_deep_copy(chat->messages);
    return chat->messages_plain && restore_arguments(chat->messages_plain, given) ? SY_OK : no_memory(name, err);
}

static enum sy_status take_tools(const char *name, const json_t *body, struct sy_chat_line *chat, struct sy_error *err)
{
    json_t *tools = json_object_get(body, "tools"), *choice = json_object_get(body, "tool_choice");
    char shown[80];

    if (choice && !json_is_null(choice) && (!json_is_string(choice) || strcmp(json_string_value(choice), "auto")))
        return sy_error_set(err, SY_ERR_DATA, "%s: \"tool_choice\" is %s, expected \"auto\"", name,
                            sy_json_show(choice, shown, sizeof shown));
    if (!tools || json_is_null(tools))
        return SY_OK;
    if (!json_is_array(tools))
        return sy_error_set(err, SY_ERR_DATA, "%s: \"tools\" is %s, expected an array", name,
                            sy_json_show(tools, shown, sizeof shown));
    for (size_t i = 0; i < json_array_size(tools); i++)
        if (!json_is_object(json_array_get(tools, i)))
            return sy_error_set(err, SY_ERR_DATA, "%s: \"tools\"[%zu] is %s, expected an object", name, i,
                                sy_json_show(json_array_get(tools, i), shown, sizeof shown));
    /* No tools are as none given: templates look whether there is a list. */
    chat->tools = json_array_size(tools) ? json_incref(tools) : NULL;
    return SY_OK;
}

static enum sy_status take_variables(const char *name, const json_t *body, struct sy_chat_line *chat,
                                     struct sy_error *err)
{
    static const char *const taken[] = {"messages", "tools", "add_generation_prompt"};
    json_t *variables = json_object_get(body, "chat_template_kwargs");
    char shown[80];

    if (!variables || json_is_null(variables))
        return SY_OK;
    if (!json_is_object(variables))
        return sy_error_set(err, SY_ERR_DATA, "%s: \"chat_template_kwargs\" is %s, expected an object", name,
                            sy_json_show(variables, shown, sizeof shown));
    for (int i = 0; i < 3; i++)
        if (json_object_get(variables, taken[i]))
            return sy_error_set(err, SY_ERR_DATA, "%s: \"chat_template_kwargs\" cannot set \"%s\"", name, taken[i]);
    chat->variables = json_incref(variables);
    return SY_OK;
}

enum sy_status sy_chat_line_take(const char *name, const json_t *body, struct sy_batch_line *line, struct sy_error *err)
{
    struct sy_chat_line *chat = line->chat = calloc(1, sizeof *chat);

    if (!chat)
        return refuse(line, no_memory(name, err));
    enum sy_status st = take_messages(name, json_object_get(body, "messages"), chat, err);
    if (!st)
        st = take_tools(name, body, chat, err);
    if (!st)
        st = take_variables(name, body, chat, err);
    return st ? refuse(line, st) : SY_OK;
}

enum sy_status sy_chat_line_from_text(const char *text, struct sy_batch_line *line, struct sy_error *err)
{
    size_t len = strlen(text), valid = sy_utf8_valid(text, len);

    if (valid < len)
        return sy_error_set(err, SY_ERR_DATA, "the text is not valid UTF-8 at byte %zu", valid);
    line->chat = calloc(1, sizeof *line->chat);
    if (line->chat)
        line->chat->messages = json_pack("[{s:s, s:s}]", "role", "user", "content", text);
    return line->chat && line->chat->messages ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for the prompt");
}

void sy_chat_line_destroy(struct sy_chat_line *chat)
{
    if (!chat)
        return;
    json_decref(chat->messages);
    json_decref(chat->messages_plain);
    json_decref(chat->tools);
    json_decref(chat->variables);
    free(chat);
}
