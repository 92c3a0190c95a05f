/* SPDX-License-Identifier: Apache-2.0
 * keys.c - tests of which keys of a config count as not known
 */
#include "model/keys.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "tap.h"

static json_t *parse(const char *text)
{
    struct sy_error err = SY_ERROR_INIT;
    json_t *json = NULL;

    if (sy_json_parse("test", text, strlen(text), 32, &json, &err))
        bail("the test's own JSON: %s", err.text);
    return json;
}

static void test_watch(void)
{
    json_t *json = parse("{\"a\":{\"x\":1,\"y\":2},\"b\":{\"x\":1},\"c\":true,\"d\":1.5,\"e\":7}"),
           *asked = json_object();
    struct sy_error err = SY_ERROR_INIT;
    int64_t i = 0;
    double real = 0;
    bool yes = false;

    sy_json_get(json, "c");
    sy_json_watch(asked);
    const json_t *a = sy_json_get(json, "a");
    sy_json_get(a, "x");
    sy_json_get(json, "missing");
    ok(!sy_json_get(NULL, "a"), "nothing has no keys");
    sy_json_real("test", json, "d", 0, 9, &real, &err);
    sy_json_bool("test", json, "c", &yes, &err);
    sy_json_watch(NULL);
    sy_json_int("test", json, "e", 0, 9, &i, &err);
    ok(sy_json_asked(asked, json, "a") && sy_json_asked(asked, a, "x"), "keys that were asked for, here and below");
    ok(sy_json_asked(asked, json, "c") && sy_json_asked(asked, json, "d"), "also as bool and number");
    ok(!sy_json_asked(asked, json, "b") && !sy_json_asked(asked, a, "y"), "keys that were not");
    ok(!sy_json_asked(asked, json_object_get(json, "b"), "x"), "a key of that name in another object was not");
    ok(!sy_json_asked(asked, json, "e"), "nor was one after the watch");
    ok(yes && real == 1.5 && i == 7, "values are read all the same");
    json_decref(asked);
    json_decref(json);
}

/* What is said when the keys of `asked`, separated by spaces and with dots before nested ones, were read. */
static int ignored(const char *config, const char *asked, struct sy_buf *names)
{
    json_t *json = parse(config), *notes = json_object();
    char text[200], *rest, *path, *below;

    snprintf(text, sizeof text, "%s", asked);
    sy_json_watch(notes);
    for (path = strtok_r(text, " ", &rest); path; path = strtok_r(NULL, " ", &rest)) {
        const json_t *at = json;
        for (char *key = strtok_r(path, ".", &below); key; key = strtok_r(NULL, ".", &below))
            at = sy_json_get(at, key);
    }
    sy_json_watch(NULL);
    names->len = 0;
    int n = sy_keys_ignored(json, notes, names);
    json_decref(notes);
    json_decref(json);
    return n;
}

static const struct {
    const char *config, *asked, *names;
    int n;
    const char *what;
} cases[] = {
    {"{\"a\":1,\"b\":2}", "a b", "", 0, "all keys were read"},
    {"{\"a\":1,\"b\":2,\"c\":{\"d\":1}}", "a", "b, c", 2, "two were not, of an object the name alone is given"},
    {"{\"a\":1,\"b\":null}", "a", "", 0, "null is no key"},
    {"{\"a\":1,\"b\":false}", "a", "b", 1, "false is one"},
    {"{\"dtype\":\"bfloat16\",\"use_cache\":true,\"attention_dropout\":0.0}", "", "", 0, "keys without effect"},
    {"{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"turns\":1},\"turns\":2}", "rope_scaling.factor",
     "rope_scaling.turns, turns", 2, "below a key, with its path"},
    {"{\"rope_scaling\":{\"use_cache\":1}}", "rope_scaling", "rope_scaling.use_cache", 1,
     "what has no effect elsewhere is not known there"},
    {"{\"quantization_config\":{\"quant_method\":\"x\",\"ignore\":[],\"desc_act\":true,\"config_groups\":{\"g\":{"
     "\"weights\":{\"num_bits\":8,\"observer\":\"m\",\"zero\":1},\"targets\":[]}}},\"ignore\":1}",
     "quantization_config.quant_method quantization_config.config_groups.g.weights.num_bits",
     "quantization_config.desc_act, quantization_config.config_groups.g.weights.zero, ignore", 3,
     "far below quantization_config"},
    {"{\"text_config\":{\"hidden_size\":8,\"use_cache\":true,\"twist\":1},\"vision_config\":{\"x\":1}}",
     "text_config.hidden_size", "text_config.twist, vision_config", 2, "below text_config, as at the top"},
    {"{\"a\\u001b[31m\":1,\"\\u00e9\":1}", "", "a?[31m, ??", 2, "names are safe to print"},
};

static void test_ignored(void)
{
    struct sy_buf names = SY_BUF_INIT;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int n = ignored(cases[i].config, cases[i].asked, &names);
        const char *found = names.len ? (const char *)names.data : "";
        is_str(found, cases[i].names, "%s", cases[i].what);
        is_int(n, cases[i].n, "and how many");
    }
    sy_buf_fini(&names);
}

static void test_many(void)
{
    struct sy_buf config = SY_BUF_INIT, names = SY_BUF_INIT;

    sy_buf_printf(&config, "{\"%0*d\":1", 5000, 0);
    for (int i = 1; i < 10000; i++)
        sy_buf_printf(&config, ",\"key%d\":1", i);
    sy_buf_printf(&config, "}");
    is_int(ignored((const char *)config.data, "", &names), 10000, "ten thousand keys are counted");
    ok(names.len < 1000 && strstr((const char *)names.data, ", key39, ..."), "the first 40 are named, shortened");
    ok(!strstr((const char *)names.data, "key40"), "and no more");
    sy_buf_fini(&config);
    sy_buf_fini(&names);
}

int main(void)
{
    test_watch();
    test_ignored();
    test_many();
    done();
    return tap_exit();
}
