/* SPDX-License-Identifier: Apache-2.0
 * tokenizer.c - whole tokenizers against reference cases, streaming, added tokens, threads
 */
#include "model/tokenizer.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "tap.h"
#include "testrand.h"

static const char *const STYLES[] = {"qwen_style", "neox_style", "o200k_style", "deepseek_style", "mixtral_style"};
#define N_STYLES (sizeof STYLES / sizeof *STYLES)

static struct sy_error err = SY_ERROR_INIT;

static const char *data_path(const char *name, char out[4096])
{
    const char *top = getenv("SY_SRCDIR");

    snprintf(out, 4096, "%s/tests/data/%s", top ? top : ".", name);
    return out;
}

static struct sy_tokenizer *open_style(const char *name)
{
    char path[4096];
    struct sy_tokenizer *tok = NULL;

    if (sy_tokenizer_open(data_path(name, path), &tok, &err) || !tok)
        bail("%s: %s", path, err.text);
    return tok;
}

static bool ids_equal(const struct sy_buf *found, const json_t *expected)
{
    const int32_t *ids = (const int32_t *)(const void *)found->data;
    bool equal = found->len == json_array_size(expected) * sizeof *ids;

    for (size_t i = 0; equal && i < json_array_size(expected); i++)
        equal = ids[i] == json_integer_value(json_array_get(expected, i));
    return equal;
}

static bool encodes_to(const struct sy_tokenizer *tok, const json_t *text, bool special, const json_t *ids)
{
    struct sy_buf out = SY_BUF_INIT;
    enum sy_status st = sy_tokenizer_encode(tok, json_string_value(text), json_string_length(text), special, &out,
                                            &err);
    bool equal = !st && ids_equal(&out, ids);

    sy_buf_fini(&out);
    return equal;
}

static bool decodes_to(const struct sy_tokenizer *tok, const json_t *ids, bool skip_special, const json_t *text)
{
    struct sy_buf in = SY_BUF_INIT, out = SY_BUF_INIT;

    for (size_t i = 0; i < json_array_size(ids); i++)
        sy_buf_append(&in, &(int32_t){(int32_t)json_integer_value(json_array_get(ids, i))}, sizeof(int32_t));
    enum sy_status st = sy_tokenizer_decode(tok, (const int32_t *)(const void *)in.data, json_array_size(ids),
                                            skip_special, &out, &err);
    bool equal = !st && out.len == json_string_length(text) &&
                 (!out.len || !memcmp(out.data, json_string_value(text), out.len));
    sy_buf_fini(&in);
    sy_buf_fini(&out);
    return equal;
}

/* Every line of cases.jsonl: text, ids, ids_no_special, decoded, decoded_all. */
static void check_cases(const char *style)
{
    char path[4096], name[64];
    struct sy_buf lines = SY_BUF_INIT;
    int n = 0, n_bad = 0;

    snprintf(name, sizeof name, "tokenizers/%s", style);
    struct sy_tokenizer *tok = open_style(name);
    snprintf(name, sizeof name, "tokenizers/%s/cases.jsonl", style);
    if (sy_file_read(data_path(name, path), 1 << 20, &lines, &err))
        bail("%s", err.text);
    for (char *line = (char *)lines.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        json_t *c = json_loadb(line, (size_t)(end - line), JSON_ALLOW_NUL, NULL);
        const json_t *text = json_object_get(c, "text"), *ids = json_object_get(c, "ids");
        bool same = encodes_to(tok, text, true, ids) &&
                    encodes_to(tok, text, false, json_object_get(c, "ids_no_special")) &&
                    decodes_to(tok, ids, true, json_object_get(c, "decoded")) &&
                    decodes_to(tok, ids, false, json_object_get(c, "decoded_all"));
        if (!same && n_bad++ < 5)
            diag("differs: %.*s", (int)(end - line), line);
        json_decref(c);
        n++;
    }
    ok(n >= 100 && !n_bad, "%s: %d cases agree with the reference in ids and text", style, n);
    sy_buf_fini(&lines);
    sy_tokenizer_close(tok);
}

static void check_demo(void)
{
    char path[4096];
    struct sy_tokenizer *tok = open_style("demo");
    json_t *root = json_load_file(data_path("demo/reference.json", path), 0, NULL);
    const json_t *greedy = json_object_get(root, "greedy");
    size_t i, n_same = 0;
    json_t *g;

    json_array_foreach ((json_t *)(uintptr_t)greedy, i, g)
        n_same += encodes_to(tok, json_object_get(g, "prompt"), false, json_object_get(g, "prompt_ids"));
    ok(n_same == 10 && json_array_size(greedy) == 10, "the demo model's ten prompts have the reference's ids");
    json_decref(root);
    is_int(sy_tokenizer_n_ids(tok), 4094, "the demo model's largest id is 4093");
    size_t len;
    const char *bytes = sy_tokenizer_token(tok, 4091, &len);
    ok(bytes && len == 13 && !memcmp(bytes, "<|endoftext|>", 13) && sy_tokenizer_is_special(tok, 4091),
       "end of text is a special token");
    ok(!sy_tokenizer_token(tok, -1, &len) && !sy_tokenizer_token(tok, 4094, &len) && !sy_tokenizer_is_special(tok, 0) &&
           !sy_tokenizer_is_special(tok, 9999),
       "ids out of range have no bytes and are not special");
    sy_tokenizer_close(tok);
}

/* ---- streaming ---- */

/* One round: random ids, pushed one by one. Holds when every output is whole characters, and all of it is what decode
 * gives. */
static bool streams(const struct sy_tokenizer *tok, struct testrand *rand, bool skip_special)
{
    int32_t ids[24];
    size_t n = testrand_next(rand) % 24;
    bool bytes_only = testrand_next(rand) % 2; /* the single bytes come first in these vocabularies */
    struct sy_buf whole = SY_BUF_INIT, parts = SY_BUF_INIT;
    struct sy_detokenizer d;
    bool held = true;

    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)(testrand_next(rand) % (bytes_only ? 262 : (size_t)sy_tokenizer_n_ids(tok) + 3)) - 1;
    if (sy_tokenizer_decode(tok, ids, n, skip_special, &whole, &err))
        bail("%s", err.text);
    sy_buf_reserve(&parts, 64);
    sy_detokenizer_init(&d, tok, skip_special);
    for (size_t i = 0; i <= n; i++) {
        size_t before = parts.len;
        if (i < n ? sy_detokenizer_push(&d, ids[i], &parts, &err) : sy_detokenizer_finish(&d, &parts, &err))
            bail("%s", err.text);
        held &= sy_utf8_valid(parts.data + before, parts.len - before) == parts.len - before;
    }
    held &= parts.len == whole.len && (!whole.len || !memcmp(parts.data, whole.data, whole.len));
    sy_buf_fini(&whole);
    sy_buf_fini(&parts);
    return held;
}

static void check_streaming(struct testrand *rand)
{
    for (size_t s = 0; s < N_STYLES; s++) {
        char name[64];
        int n_bad = 0;
        snprintf(name, sizeof name, "tokenizers/%s", STYLES[s]);
        struct sy_tokenizer *tok = open_style(name);
        for (int i = 0; i < 4000; i++)
            n_bad += !streams(tok, rand, i % 2);
        ok(!n_bad, "%s: pushed ids give whole characters, together the decoded text", STYLES[s]);
        sy_tokenizer_close(tok);
    }
}

/* A byte-level tokenizer of the 256 bytes and a few joined ones, with a space as added token's neighbour. */
static const char BYTES_JSON[] = "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":"
                                 "false},\"decoder\":{\"type\":\"ByteLevel\"},\"added_tokens\":[%s],\"post_processor\":"
                                 "%s,\"normalizer\":%s,\"model\":{\"type\":\"BPE\",\"vocab\":{%s},\"merges\":[]}}";

static struct sy_tokenizer *byte_tokenizer(const char *added, const char *post, const char *normalizer)
{
    struct sy_buf vocab = SY_BUF_INIT, json = SY_BUF_INIT;
    struct sy_tokenizer *tok = NULL;

    /* Byte b has the id b. */
    for (int b = 0, next = 0x100; b < 256; b++) {
        uint8_t text[4];
        bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b != 0xad);
        int n = sy_utf8_put(printable ? (uint32_t)b : (uint32_t)next++, text);
        sy_buf_printf(&vocab, "%s\"%s%.*s\":%d", b ? "," : "", b == '"' || b == '\\' ? "\\" : "", n, (char *)text, b);
    }
    sy_buf_printf(&json, BYTES_JSON, added, post, normalizer, (char *)vocab.data);
    if (sy_tokenizer_parse("test", (char *)json.data, json.len, &tok, &err))
        bail("%s", err.text);
    sy_buf_fini(&vocab);
    sy_buf_fini(&json);
    return tok;
}

/* What String::from_utf8_lossy of Rust, which the reference uses, makes of these bytes. */
static void check_lossy(void)
{
    static const struct {
        const char *bytes, *text;
    } CASES[] = {
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xe4\xbd\xa0", "\xe4\xbd\xa0"},
        {"\xe4\xbd", "\xef\xbf\xbd"},
        {"\xe4\xbd!", "\xef\xbf\xbd!"},
        {"\xe4\xe4\xbd\xa0", "\xef\xbf\xbd\xe4\xbd\xa0"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe0\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf0\x9f\x99", "\xef\xbf\xbd"},
        {"\xf0\x9f\x99\xf0\x9f\x99\x82", "\xef\xbf\xbd\xf0\x9f\x99\x82"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc0\xaf\xf5", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\x80\xc3", "\xef\xbf\xbd\xef\xbf\xbd"},
    };
    struct sy_tokenizer *tok = byte_tokenizer("", "null", "null");
    int n_bad = 0;

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        int32_t ids[16];
        size_t n = strlen(CASES[i].bytes);
        struct sy_buf out = SY_BUF_INIT;
        for (size_t k = 0; k < n; k++)
            ids[k] = (uint8_t)CASES[i].bytes[k];
        if (sy_tokenizer_decode(tok, ids, n, false, &out, &err) || strcmp((char *)out.data, CASES[i].text)) {
            diag("case %zu: \"%s\"", i, (char *)out.data);
            n_bad++;
        }
        sy_buf_fini(&out);
    }
    ok(!n_bad, "bytes that are no UTF-8 become U+FFFD by the rule of maximal subparts");
    sy_tokenizer_close(tok);
}

/* ---- added tokens and templates ---- */

/* Ids as text; bytes stand for themselves: "a<300>b". */
static const char *show_ids(const struct sy_tokenizer *tok, const char *text, bool special, char out[256])
{
    struct sy_buf ids = SY_BUF_INIT;
    size_t at = 0;

    if (sy_tokenizer_encode(tok, text, strlen(text), special, &ids, &err))
        bail("%s", err.text);
    out[0] = 0;
    for (size_t i = 0; i < ids.len / sizeof(int32_t) && at < 240; i++) {
        int32_t id = ((const int32_t *)(const void *)ids.data)[i];
        at += (size_t)snprintf(out + at, 256 - at, id < 256 ? "%c" : "<%d>", (int)id);
    }
    sy_buf_fini(&ids);
    return out;
}

static void check_added(void)
{
    static const struct {
        const char *flags, *text, *ids, *what;
    } CASES[] = {
        {"", "a<x>b<x>", "a<300>b<300>", "found anywhere"},
        {"", "<x<x>", "<x<300>", "found after a false start"},
        {"\"lstrip\":true", "a \t<x> b", "a<300> b", "lstrip takes the white space before"},
        {"\"rstrip\":true", "a <x>\xe3\x80\x80 b", "a <300>b", "rstrip takes the white space after, U+3000 too"},
        {"\"lstrip\":true,\"rstrip\":true", "<x>  <x>", "<300><300>", "white space goes to the first of two"},
        {"\"single_word\":true", "a<x> <x> \xc3\xa9<x>", "a<x> <300> \xc3\xa9<x>", "single_word is not inside a word"},
        {"\"single_word\":true", "!<x>! <x>", "!<300>! <300>", "single_word is beside a sign"},
        {"\"special\":true,\"normalized\":false", "<x>", "<300>", "a special token in the text is recognised"},
    };
    char json[256], out[256];

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        snprintf(json, sizeof json, "{\"id\":300,\"content\":\"<x>\"%s%s}", *CASES[i].flags ? "," : "", CASES[i].flags);
        struct sy_tokenizer *tok = byte_tokenizer(json, "null", "null");
        is_str(show_ids(tok, CASES[i].text, true, out), CASES[i].ids, "added token: %s", CASES[i].what);
        sy_tokenizer_close(tok);
    }
    /* "<x>\u00e9" decomposed: only the normalised text has it. */
    struct sy_tokenizer *tok = byte_tokenizer("{\"id\":300,\"content\":\"e\xcc\x81\",\"normalized\":true},"
                                              "{\"id\":301,\"content\":\"<y>\",\"normalized\":false,\"special\":true},"
                                              "{\"id\":302,\"content\":\"<y><y>z\",\"normalized\":false}",
                                              "null", "{\"type\":\"NFC\"}");
    is_str(show_ids(tok, "ae\xcc\x81_\xc3\xa9", true, out), "a<300>_<300>",
           "a normalized token is found in both forms");
    is_str(show_ids(tok, "<y><y><y>z", true, out), "<301><302>", "the longest token at a place is taken");
    sy_tokenizer_close(tok);
    tok = byte_tokenizer("{\"id\":300,\"content\":\"<x>\"},{\"id\":301,\"content\":\"#y\"}", "null", "null");
    is_str(show_ids(tok, "a#y<x>#b#y", true, out), "a<301><300>#b<301>", "tokens of different first bytes are found");
    sy_tokenizer_close(tok);
}

static void check_template(void)
{
    static const char POST[] =
        "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":\"TemplateProcessing\",\"single\":["
        "{\"SpecialToken\":{\"id\":\"s\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
        "{\"SpecialToken\":{\"id\":\"e\",\"type_id\":0}}],\"special_tokens\":{\"s\":{\"ids\":[300,300]},"
        "\"e\":{\"ids\":[301]}}}]}";
    struct sy_tokenizer *tok = byte_tokenizer("{\"id\":300,\"content\":\"<s>\",\"special\":true},"
                                              "{\"id\":301,\"content\":\"</s>\",\"special\":true}",
                                              POST, "null");
    char out[256];

    is_str(show_ids(tok, "ab", true, out), "<300><300>ab<301>", "a template puts its ids around the text");
    is_str(show_ids(tok, "", true, out), "<300><300><301>", "and around an empty text");
    is_str(show_ids(tok, "ab", false, out), "ab", "and leaves them out when told");
    sy_tokenizer_close(tok);
}

/* ---- the rest of the interface ---- */

static void check_bad_text(void)
{
    struct sy_tokenizer *tok = byte_tokenizer("", "null", "null");
    struct sy_buf out = SY_BUF_INIT;

    sy_buf_append(&out, "keep", 4);
    is_int(sy_tokenizer_encode(tok, "abc\xff", 4, true, &out, &err), SY_ERR_DATA, "invalid UTF-8 is refused");
    is_str(err.text, "the text is not valid UTF-8 at byte 3", "with its place");
    ok(out.len == 4, "and nothing is appended");
    sy_buf_fini(&out);
    sy_tokenizer_close(tok);
    ok(!sy_tokenizer_open("/nowhere/at/all", &tok, &err) && !tok, "no tokenizer.json: no tokenizer and no error");
}

struct job {
    const struct sy_tokenizer *tok;
    const struct sy_buf *text;
    const struct sy_buf *expected;
    bool same;
};

static void *encode_often(void *arg)
{
    struct job *job = arg;
    struct sy_buf out = SY_BUF_INIT;

    job->same = true;
    for (int i = 0; i < 20; i++) {
        out.len = 0;
        job->same &= !sy_tokenizer_encode(job->tok, (const char *)job->text->data, job->text->len, false, &out, NULL) &&
                     out.len == job->expected->len && !memcmp(out.data, job->expected->data, out.len);
    }
    sy_buf_fini(&out);
    return NULL;
}

static void check_threads(void)
{
    struct sy_buf text = SY_BUF_INIT, expected = SY_BUF_INIT;
    struct sy_tokenizer *tok = open_style("tokenizers/deepseek_style");
    struct job jobs[4];
    pthread_t threads[4];
    char path[4096];
    bool same = true;

    if (sy_file_read(data_path("tokenizers/deepseek_style/cases.jsonl", path), 1 << 20, &text, &err) ||
        sy_tokenizer_encode(tok, (char *)text.data, text.len, false, &expected, &err))
        bail("%s", err.text);
    for (int i = 0; i < 4; i++) {
        jobs[i] = (struct job){.tok = tok, .text = &text, .expected = &expected};
        if (pthread_create(&threads[i], NULL, encode_often, &jobs[i]))
            bail("no thread");
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        same &= jobs[i].same;
    }
    ok(same && expected.len > 100000, "four threads encode at once and get the same ids");
    sy_buf_fini(&text);
    sy_buf_fini(&expected);
    sy_tokenizer_close(tok);
}

int main(void)
{
    struct testrand rand = testrand_begin();

    for (size_t s = 0; s < N_STYLES; s++)
        check_cases(STYLES[s]);
    check_demo();
    check_streaming(&rand);
    check_lossy();
    check_added();
    check_template();
    check_bad_text();
    check_threads();
    done();
    return tap_exit();
}
