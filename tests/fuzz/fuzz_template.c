/* SPDX-License-Identifier: Apache-2.0
 * fuzz_template.c - any chat template, rendered with any variables
 *
 * The input is the template, a NUL byte and the variables as JSON; without them, or where they are no object, a conversation
 * with tools is taken. After a NUL byte at the start comes a tokenizer_config.json with the template in it instead. What is
 * rendered must be UTF-8 within the limits; what is refused must say why.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/utf8.h"
#include "chat/chat.h"
#include "chat/template.h"

static const struct sy_template_limits limits = {.steps = 300000, .memory_bytes = 8 << 20, .out_bytes = 1 << 20};

static const char conversation[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"  h\xc3\xa9llo "
    "\\n\"},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
    "\"arguments\":{\"a\":1,\"b\":[true,2.5,\"\xf0\x9f\x98\x80\"]}}}]},{\"role\":\"tool\",\"content\":\"<b>&'\\\"\"}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":"
    "{}}}}],"
    "\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"documents\":null,\"s\":\"Hello, "
    "W\xc3\xb6rld\",\"l\":[3,1,2]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool held)
{
    if (!held)
        abort();
}

static json_t *variables_of(const char *text, size_t len)
{
    struct sy_error err = SY_ERROR_INIT;
    json_t *root = NULL;

    if (len && !sy_json_parse("variables", text, len, 32, &root, &err) && json_is_object(root))
        return root;
    json_decref(root);
    demand(!sy_json_parse("variables", conversation, strlen(conversation), 32, &root, &err));
    return root;
}

/* A folder of this process, removed when it ends; the parser of tokenizer_config.json reads a file. */
static char folder[PATH_MAX - 64], config_path[PATH_MAX];

static void remove_folder(void)
{
    unlink(config_path);
    rmdir(folder);
}

static void make_folder(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(folder, sizeof folder, "%s/fuzz-template-XXXXXX", tmp ? tmp : "/tmp");
    demand(mkdtemp(folder) != NULL);
    snprintf(config_path, sizeof config_path, "%s/tokenizer_config.json", folder);
    demand(!atexit(remove_folder));
}

/* A whole chat from a tokenizer_config.json. */
static void open_chat(const uint8_t *config, size_t n)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf out = SY_BUF_INIT;
    struct sy_chat *chat;
    json_t *all = variables_of("", 0);

    if (!folder[0])
        make_folder();
    FILE *file = fopen(config_path, "w");
    demand(file && fwrite(config, 1, n, file) == n && !fclose(file) && !sy_chat_open(folder, &chat, &err));
    for (int tools = 0; tools < 2; tools++) {
        struct sy_chat_request request = {.messages = json_object_get(all, "messages"),
                                          .messages_plain = json_object_get(all, "messages"),
                                          .tools = tools ? json_object_get(all, "tools") : NULL};
        out.len = 0;
        enum sy_status st = sy_chat_render(chat, &request, 1720170181, &out, &err);
        demand(st == SY_OK || (st == SY_ERR_DATA && err.text[0] && !out.len));
        demand(sy_utf8_valid(out.data, out.len) == out.len);
    }
    sy_chat_close(chat);
    sy_buf_fini(&out);
    json_decref(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size && !data[0]) {
        open_chat(data + 1, size - 1);
        return 0;
    }
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t len = end ? (size_t)(end - data) : size;
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf out = SY_BUF_INIT;
    struct sy_template *tmpl;
    /* In memory of exactly its size, so that a sanitizer sees the first byte past its end. */
    char *exact = calloc(1, len ? len : 1);

    demand(exact != NULL);
    if (len)
        memcpy(exact, data, len);
    enum sy_status st = sy_template_parse("fuzz", exact, len, &tmpl, &err);
    free(exact);
    if (st) {
        demand(st == SY_ERR_DATA && !tmpl && !strncmp(err.text, "fuzz:", 5));
        return 0;
    }
    json_t *variables = variables_of(end ? (const char *)end + 1 : "", end ? size - len - 1 : 0);
    st = sy_template_render(tmpl, variables, &limits, 1720170181, &out, &err);
    demand(st == SY_OK || (st == SY_ERR_DATA && !strncmp(err.text, "fuzz", 4) && !out.len));
    demand(out.len <= limits.out_bytes && sy_utf8_valid(out.data, out.len) == out.len);
    json_decref(variables);
    sy_buf_fini(&out);
    sy_template_destroy(tmpl);
    return 0;
}
