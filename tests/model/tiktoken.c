/* SPDX-License-Identifier: Apache-2.0
 * tiktoken.c - tiktoken.model: merging by rank against its definition, the pattern, special tokens, what is refused
 *
 * Every vocabulary here has the 256 bytes first, byte b with the rank b.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/folder.h"
#include "model/tokenizer.h"
#include "tap.h"
#include "testrand.h"

#define CODE   "tokenization_kimi.TikTokenTokenizer"
#define CONFIG "{\"auto_map\":{\"AutoTokenizer\":[\"" CODE "\",null]}}"
#define ADDED(list) \
    "{\"auto_map\":{\"AutoTokenizer\":\"moonshotai/Kimi-K2--" CODE "\"},\"added_tokens_decoder\":{" list "}}"

static struct sy_error err = SY_ERROR_INIT;

/* ---- making files ---- */

static void append_line(struct sy_buf *out, const char *bytes, size_t len, int rank)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < len; i += 3) {
        uint32_t bits = (uint32_t)(uint8_t)bytes[i] << 16;
        for (size_t k = 1; k < 3 && i + k < len; k++)
            bits |= (uint32_t)(uint8_t)bytes[i + k] << (16 - 8 * k);
        sy_buf_printf(out, "%c%c%c%c", digits[bits >> 18], digits[bits >> 12 & 63],
                      i + 1 < len ? digits[bits >> 6 & 63] : '=', i + 2 < len ? digits[bits & 63] : '=');
    }
    sy_buf_printf(out, " %d\n", rank);
}

/* The bytes, then n tokens with the ranks from 256 on. */
static void make_model(struct sy_buf *out, const char *const *tokens, int n)
{
    out->len = 0;
    for (int b = 0; b < 256; b++)
        append_line(out, &(char){(char)b}, 1, b);
    for (int i = 0; i < n; i++)
        append_line(out, tokens[i], strlen(tokens[i]), 256 + i);
}

static enum sy_status parse(const char *model, const char *config, struct sy_tokenizer **tok)
{
    const struct sy_named_text m = {"M", model, strlen(model)}, c = {"C", config, strlen(config)};

    err.text[0] = 0;
    return sy_tokenizer_parse_tiktoken(&m, &c, tok, &err);
}

static struct sy_tokenizer *open_tokens(const char *const *tokens, int n, const char *config)
{
    struct sy_buf model = SY_BUF_INIT;
    struct sy_tokenizer *tok = NULL;

    make_model(&model, tokens, n);
    if (parse((const char *)model.data, config, &tok))
        bail("%s", err.text);
    sy_buf_fini(&model);
    return tok;
}

/* Ids as "1 2 3". */
static const char *ids_of(const struct sy_tokenizer *tok, const char *text)
{
    static struct sy_buf out;
    struct sy_buf ids = SY_BUF_INIT;

    if (sy_tokenizer_encode(tok, text, strlen(text), true, &ids, &err))
        bail("%s", err.text);
    out.len = 0;
    sy_buf_printf(&out, "%s", "");
    for (size_t i = 0; i < ids.len; i += sizeof(int32_t)) {
        int32_t id;
        memcpy(&id, ids.data + i, sizeof id);
        sy_buf_printf(&out, "%s%d", i ? " " : "", (int)id);
    }
    sy_buf_fini(&ids);
    return (const char *)out.data;
}

/* ---- merging ---- */

enum { N_TOKENS = 24, TOKEN_MAX = 7, WORD_MAX = 120 };

static int rank_of(char tokens[][TOKEN_MAX + 1], const char *text, size_t len)
{
    for (int i = 0; len <= TOKEN_MAX && i < N_TOKENS; i++) {
        if (strlen(tokens[i]) == len && !memcmp(tokens[i], text, len))
            return 256 + i;
    }
    return len == 1 ? (uint8_t)*text : -1;
}

/* tiktoken's definition: of the neighbours whose joined text is a token, join those of the lowest rank, the leftmost. */
static void define(char tokens[][TOKEN_MAX + 1], const char *word, struct sy_buf *out)
{
    size_t begin[WORD_MAX + 1], n = strlen(word); /* of symbol i; begin[n] is the end */

    for (size_t i = 0; i <= n; i++)
        begin[i] = i;
    for (;;) {
        int best = -1;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            int rank = rank_of(tokens, word + begin[i], begin[i + 2] - begin[i]);
            if (rank >= 0 && (best < 0 || rank < best)) {
                best = rank;
                at = i;
            }
        }
        if (best < 0)
            break;
        memmove(begin + at + 1, begin + at + 2, (n - at - 1) * sizeof *begin);
        n--;
    }
    int whole = rank_of(tokens, word, strlen(word));
    out->len = 0;
    for (size_t i = 0; whole < 0 && i < n; i++)
        sy_buf_printf(out, "%s%d", i ? " " : "", rank_of(tokens, word + begin[i], begin[i + 1] - begin[i]));
    if (whole >= 0)
        sy_buf_printf(out, "%d", whole);
}

static void check_merging(struct testrand *rand)
{
    struct sy_buf expected = SY_BUF_INIT;
    int n_bad = 0;

    for (int round = 0; round < 200; round++) {
        char tokens[N_TOKENS][TOKEN_MAX + 1] = {{0}}, word[WORD_MAX + 1];
        const char *list[N_TOKENS];
        for (int i = 0; i < N_TOKENS;) {
            size_t len = 2 + testrand_next(rand) % (TOKEN_MAX - 1);
            for (size_t k = 0; k <= TOKEN_MAX; k++)
                word[k] = k < len ? (char)('a' + testrand_next(rand) % 2) : 0;
            if (rank_of(tokens, word, len) < 0)
                list[i] = memcpy(tokens[i], word, TOKEN_MAX + 1), i++;
        }
        struct sy_tokenizer *tok = open_tokens(list, N_TOKENS, CONFIG);
        for (int i = 0; i < 100; i++) {
            size_t len = 1 + testrand_next(rand) % WORD_MAX;
            for (size_t k = 0; k <= len; k++)
                word[k] = k < len ? (char)('a' + testrand_next(rand) % 2) : 0;
            define(tokens, word, &expected);
            if (strcmp(ids_of(tok, word), (const char *)expected.data) && n_bad++ < 3)
                diag("%s: %s, expected %s", word, ids_of(tok, word), (const char *)expected.data);
        }
        sy_tokenizer_close(tok);
    }
    ok(!n_bad, "random words are joined by rank, the leftmost of one rank first");
    sy_buf_fini(&expected);
}

/* ---- the pattern ---- */

/* Two Han characters. */
#define ONE "\xe4\xb8\x80"
#define TWO "\xe4\xba\x8c"

/* Each token could only come of a piece that the pattern cuts. */
static void check_pattern(void)
{
    static const char *const TOKENS[] = {"123",  "1234", ONE TWO, ONE "a", "ab", "abAB",  "ABab",  "a's",     "!!",
                                         "!!\n", "\n\n", " a",    "a ",    "  ", "a" ONE, "A" ONE, "\xc3\xa9"};
    static const struct {
        const char *text, *ids;
    } CASES[] = {
        {"1234", "256 52"},
        {ONE TWO, "258"},
        {ONE "a", "228 184 128 97"},
        {"a" ONE, "97 228 184 128"},
        {"A" ONE, "65 228 184 128"},
        {"\xc3\xa9", "272"},
        {"abAB", "260 65 66"},
        {"ABab", "262"},
        {"a's", "263"},
        {"!!\n", "265"},
        {"\n\n", "266"},
        {"a a", "97 267"},
        {"a  !", "97 32 32 33"},
        {"a  ", "97 269"},
    };
    struct sy_tokenizer *tok = open_tokens(TOKENS, sizeof TOKENS / sizeof *TOKENS, CONFIG);

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        is_str(ids_of(tok, CASES[i].text), CASES[i].ids, "pieces of case %zu, ids %s", i, CASES[i].ids);
    sy_tokenizer_close(tok);
}

/* ---- special tokens ---- */

static void check_special(void)
{
    static const char *const TOKENS[] = {"ab"};
    struct sy_tokenizer *tok = open_tokens(
        TOKENS, 1,
        ADDED("\"257\":{\"content\":\"[BOS]\",\"special\":true},"
              "\"512\":{\"content\":\"<|tool|>\",\"special\":false,\"lstrip\":false}"));
    struct sy_buf out = SY_BUF_INIT;
    static const int32_t IDS[] = {257, 256, 0xe4, 0xb8, 0x80, 0xff, 512, 258};

    is_int(sy_tokenizer_n_ids(tok), 513, "256 ids come after the ranks");
    is_str(ids_of(tok, "[BOS]ab<|tool|> <|reserved_token_300|><|reserved_token_257|>"),
           "257 256 512 32 300 60 124 114 101 115 101 114 118 101 100 95 116 111 107 101 110 95 50 53 55 124 62",
           "special tokens are found in text, by their name or as reserved ones; nothing is put in front");
    ok(sy_tokenizer_is_special(tok, 257) && !sy_tokenizer_is_special(tok, 512) && !sy_tokenizer_is_special(tok, 300),
       "special is what the file calls so");
    if (sy_tokenizer_decode(tok, IDS, sizeof IDS / sizeof *IDS, false, &out, &err))
        bail("%s", err.text);
    is_str((const char *)out.data, "[BOS]ab\xe4\xb8\x80\xef\xbf\xbd<|tool|><|reserved_token_258|>",
           "ids become the bytes of their tokens");
    out.len = 0;
    if (sy_tokenizer_decode(tok, IDS, 2, true, &out, &err))
        bail("%s", err.text);
    is_str((const char *)out.data, "ab", "without special tokens");
    sy_buf_fini(&out);
    sy_tokenizer_close(tok);
}

/* ---- what is refused ---- */

static void check_configs(void)
{
    static const struct {
        const char *config, *message;
    } CASES[] = {
        {"{", "C:1:1: not valid JSON"},
        {"{}", "C: auto_map.AutoTokenizer is missing, supported beside tiktoken.model: " CODE},
        {"{\"auto_map\":{\"AutoTokenizer\":[\"x.TikTokenTokenizer\"]}}", "C: auto_map.AutoTokenizer is \"x.TikTok"},
        {"{\"auto_map\":{\"AutoTokenizer\":7}}", "C: auto_map.AutoTokenizer is 7, supported"},
        {"{\"auto_map\":{\"AutoTokenizer\":[\"" CODE "\"]},\"added_tokens_decoder\":[]}",
         "C: added_tokens_decoder is not an object of ids"},
        {ADDED("\"255\":{\"content\":\"x\"}"), "C: added_tokens_decoder has ids outside 256 to 511"},
        {ADDED("\"0256\":{\"content\":\"x\"}"), "C: added_tokens_decoder has ids outside 256 to 511"},
        {ADDED("\"256\":{\"content\":\"\"}"), "C: added_tokens_decoder.256.content: expected a string of 1 to 1024"},
        {ADDED("\"256\":7"), "C: added_tokens_decoder.256.content: expected"},
        {ADDED("\"256\":{\"content\":\"x\",\"special\":1}"), "C: added_tokens_decoder.256: \"special\" is 1"},
        {ADDED("\"300\":{\"content\":\"x\",\"lstrip\":true}"),
         "C: added_tokens_decoder.300.lstrip is true, supported: fa"},
        {ADDED("\"257\":{\"content\":\"x\"},\"300\":{\"content\":\"x\"}"),
         "C: added_tokens_decoder.300.content is that of the token 257 too"},
    };
    struct sy_buf model = SY_BUF_INIT;

    make_model(&model, NULL, 0);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct sy_tokenizer *tok = (void *)&err;
        enum sy_status st = parse((const char *)model.data, CASES[i].config, &tok);
        has_str(err.text, CASES[i].message, "%s", CASES[i].message);
        if (st != SY_ERR_DATA || tok)
            ok(false, "it is a data error without a tokenizer");
    }
    sy_buf_fini(&model);
}

/* A line after the 256 bytes, which it makes bad. */
static void check_lines(void)
{
    static const struct {
        const char *line, *message;
    } CASES[] = {
        {"YWI= 257", "M:257: expected each rank from 0 to the number of tokens less one, once"},
        {"YWI= 7", "M:257: expected each rank"},
        {"YWI= 99999999999999999999999",
         "M:257: expected a token of at most 1024 bytes in base64, a space and its rank"},
        {"YWI= -1", "M:257: expected a token of at most"},
        {"YWI= ", "M:257: expected a token of at most"},
        {"YWI=", "M:257: expected a token of at most"},
        {"YWI= 256 ", "M:257: expected a token of at most"},
        {"YWI 256", "M:257: expected a token of 1 to 1024 bytes in base64"},
        {"YW*= 256", "M:257: expected a token of 1 to"},
        {"==== 256", "M:257: expected a token of 1 to"},
        {" 256", "M:257: expected a token of 1 to"},
        {"YQ== 256", "M:257: the token was there already"},
    };
    struct sy_buf model = SY_BUF_INIT;
    struct sy_tokenizer *tok = NULL;

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        make_model(&model, NULL, 0);
        sy_buf_printf(&model, "%s", CASES[i].line);
        is_int(parse((const char *)model.data, CONFIG, &tok), SY_ERR_DATA, "refused: \"%s\"", CASES[i].line);
        has_str(err.text, CASES[i].message, "%s", CASES[i].message);
    }
    make_model(&model, NULL, 0);
    sy_buf_printf(&model, "\n%01370d 256", 0);
    parse((const char *)model.data, CONFIG, &tok);
    has_str(err.text, "M:258: expected a token of at most 1024 bytes", "a token that is too long");
    parse("", CONFIG, &tok);
    has_str(err.text, "M: 0 tokens, expected 256 to", "no tokens");
    parse("AA== 0\n\nYQ== 1\n", CONFIG, &tok);
    has_str(err.text, "M: the byte 0x01 has no token", "bytes without tokens");
    sy_buf_fini(&model);
}

/* ---- files ---- */

static void check_files(void)
{
    const char *dir = folder_make();
    struct sy_buf model = SY_BUF_INIT;
    struct sy_tokenizer *tok = NULL;

    make_model(&model, NULL, 0);
    folder_write(dir, "tiktoken.model", model.data, model.len);
    is_int(sy_tokenizer_open(dir, &tok, &err), SY_ERR_DATA, "ranks alone do not say what the pattern is");
    has_str(err.text, "tiktoken.model: expected tokenizer_config.json beside it", "so it is asked for");
    folder_text(dir, "tokenizer_config.json", CONFIG);
    ok(!sy_tokenizer_open(dir, &tok, &err) && tok && sy_tokenizer_n_ids(tok) == 512, "with it the tokenizer opens");
    sy_tokenizer_close(tok);
    folder_text(dir, "tokenizer.json", "{}");
    is_int(sy_tokenizer_open(dir, &tok, &err), SY_ERR_DATA, "tokenizer.json goes first");
    has_str(err.text, "tokenizer.json: model is not an object", "and is read");
    folder_remove(dir);
    sy_buf_fini(&model);
}

int main(void)
{
    struct testrand rand = testrand_begin();

    check_merging(&rand);
    check_pattern();
    check_special();
    check_configs();
    check_lines();
    check_files();
    done();
    return tap_exit();
}
