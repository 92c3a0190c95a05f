/* SPDX-License-Identifier: Apache-2.0
 * tokenizer_errors.c - malformed tokenizers are refused with the place and the reason
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/tokenizer.h"
#include "tap.h"

static struct sy_error err = SY_ERROR_INIT;

/* A good small file, in parts, so that a case changes one of them. */
#define BYTE_LEVEL                 "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define VOCAB                      "{\"a\":0,\"b\":1,\"ab\":2}"
#define MODEL(vocab, merges, more) "{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges more "}"
#define FILE_OF(added, model, pre, post, decoder)                                                \
    "{\"version\":\"1.0\",\"added_tokens\":" added ",\"normalizer\":null,\"pre_tokenizer\":" pre \
    ",\"post_processor\":" post ",\"decoder\":" decoder ",\"model\":" model "}"
#define GOOD_MODEL            MODEL(VOCAB, "[\"a b\"]", "")
#define WITH_MODEL(model)     FILE_OF("[]", model, BYTE_LEVEL, "null", BYTE_LEVEL)
#define WITH_ADDED(added)     FILE_OF(added, GOOD_MODEL, BYTE_LEVEL, "null", BYTE_LEVEL)
#define WITH_POST(post)       FILE_OF("[]", GOOD_MODEL, BYTE_LEVEL, post, BYTE_LEVEL)
#define WITH_DECODER(decoder) FILE_OF("[]", GOOD_MODEL, BYTE_LEVEL, "null", decoder)
#define TEMPLATE(single, special) \
    "{\"type\":\"TemplateProcessing\",\"single\":" single ",\"special_tokens\":" special "}"
#define SEQUENCE_A     "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}"
#define TOKEN_S        "{\"SpecialToken\":{\"id\":\"s\",\"type_id\":0}}"
#define DECODERS(list) "{\"type\":\"Sequence\",\"decoders\":[" list "]}"

static const struct {
    const char *json, *message;
} CASES[] = {
    {"{", "T:1:1: not valid JSON"},
    {"[1]", "T: expected an object"},
    {"{\"model\":[]}", "T: model is not an object"},
    {"{\"a\":1,\"a\":2}", "T:1:10: not valid JSON: duplicate object key"},
    {"{\"model\":{\"type\":\"Unigram\"}}", "T: model.type is \"Unigram\", supported: BPE"},
    {"{\"model\":{}}", "T: model.type is missing, supported: BPE"},
    {WITH_MODEL("{\"type\":\"BPE\",\"merges\":[]}"), "T: model.vocab is not an object of tokens and their ids"},
    {WITH_MODEL("{\"type\":\"BPE\",\"vocab\":{}}"), "T: model.merges is not an array"},
    {WITH_MODEL(MODEL("{}", "[]", "")), "T: model.vocab is empty"},
    {WITH_MODEL(MODEL("{\"a\":0,\"b\":0}", "[]", "")),
     "T: model.vocab: the id of \"b\" is 0, which another token has too"},
    {WITH_MODEL(MODEL("{\"a\":-1}", "[]", "")), "T: model.vocab: the id of \"a\" is -1, expected an integer from 0 to"},
    {WITH_MODEL(MODEL("{\"a\":4194304}", "[]", "")),
     "the id of \"a\" is 4194304, expected an integer from 0 to 4194303"},
    {WITH_MODEL(MODEL("{\"a\":99999999999999999999}", "[]", "")), "not valid JSON: too big integer"},
    {WITH_MODEL(MODEL("{\"a\":1.5}", "[]", "")), "the id of \"a\" is 1.5"},
    {WITH_MODEL(MODEL("{\"a\\u0007b\":\"x\"}", "[]", "")), "the id of \"a?b\" is \"x\""},
    {WITH_MODEL(MODEL(VOCAB, "[\"a b\",\"a x\"]", "")), "T: model.merges[1]: \"x\" is not in model.vocab"},
    {WITH_MODEL(MODEL(VOCAB, "[[\"x\",\"a\"]]", "")), "T: model.merges[0]: \"x\" is not in model.vocab"},
    {WITH_MODEL(MODEL(VOCAB, "[\"b a\"]", "")), "T: model.merges[0]: \"ba\" is not in model.vocab"},
    {WITH_MODEL(MODEL(VOCAB, "[\"ab\"]", "")), "T: model.merges[0]: expected \"left right\" or [\"left\", \"right\"]"},
    {WITH_MODEL(MODEL(VOCAB, "[\"a b a\"]", "")), "T: model.merges[0]: expected \"left right\""},
    {WITH_MODEL(MODEL(VOCAB, "[[\"a\"]]", "")), "T: model.merges[0]: expected \"left right\""},
    {WITH_MODEL(MODEL(VOCAB, "[[\"a\",1]]", "")), "T: model.merges[0]: expected \"left right\""},
    {WITH_MODEL(MODEL(VOCAB, "[7]", "")), "T: model.merges[0]: expected \"left right\""},
    {WITH_MODEL(MODEL(VOCAB, "[[\"a\\u0000\",\"b\"]]", "")), "T: model.merges[0]: \"a?\" is not in model.vocab"},
    {WITH_MODEL(MODEL(VOCAB, "[]", ",\"dropout\":0.1")), "T: model.dropout is 0.1, supported: null"},
    {WITH_MODEL(MODEL(VOCAB, "[]", ",\"continuing_subword_prefix\":\"##\"")),
     "T: model.continuing_subword_prefix is \"##\", supported: null"},
    {WITH_MODEL(MODEL(VOCAB, "[]", ",\"end_of_word_suffix\":\"</w>\"")), "T: model.end_of_word_suffix is \"</w>\""},
    {WITH_MODEL(MODEL(VOCAB, "[]", ",\"unk_token\":3")), "T: model.unk_token is not a string"},
    {WITH_MODEL(MODEL(VOCAB, "[]", ",\"unk_token\":\"<unk>\"")), "T: model.unk_token \"<unk>\" is not in model.vocab"},
    {WITH_MODEL(MODEL(VOCAB, "[]", ",\"byte_fallback\":true")),
     "T: model.byte_fallback with ByteLevel, and only 2 of 256"},
    {WITH_MODEL(MODEL(VOCAB, "[]", ",\"ignore_merges\":1")),
     "T: model: \"ignore_merges\" is 1, expected true or false"},
    {WITH_ADDED("{}"), "T: added_tokens is not an array"},
    {WITH_ADDED("[3]"), "T: added_tokens[0].id is missing"},
    {WITH_ADDED("[{\"id\":-2,\"content\":\"x\"}]"), "T: added_tokens[0].id is -2, expected an integer from 0 to"},
    {WITH_ADDED("[{\"id\":3}]"), "T: added_tokens[0].content: expected a string of at most 1024 bytes"},
    {WITH_ADDED("[{\"id\":1,\"content\":\"x\"}]"),
     "T: added_tokens[0]: \"x\" has the id 1, which another token has too"},
    {WITH_ADDED("[{\"id\":3,\"content\":\"a\"}]"),
     "T: added_tokens[0]: \"a\" has the id 3, but another one in model.vocab"},
    {WITH_ADDED("[{\"id\":3,\"content\":\"x\"},{\"id\":3,\"content\":\"y\"}]"),
     "T: added_tokens[1]: \"y\" has the id 3, which"},
    {WITH_ADDED("[{\"id\":3,\"content\":\"x\",\"lstrip\":\"no\"}]"),
     "T: added_tokens[0]: \"lstrip\" is \"no\", expected true or"},
    {WITH_POST("{\"type\":\"BertProcessing\"}"),
     "T: post_processor.type is \"BertProcessing\", supported: TemplateProcessing"},
    {WITH_POST("{\"type\":\"Sequence\"}"), "T: post_processor.processors: expected an array"},
    {WITH_POST(TEMPLATE("[]", "{}")),
     "T: post_processor.single: expected an array with the Sequence A once, found it 0"},
    {WITH_POST(TEMPLATE("[" SEQUENCE_A "," SEQUENCE_A "]", "{}")), "with the Sequence A once, found it 2 times"},
    {WITH_POST(TEMPLATE("[{\"Sequence\":{\"id\":\"B\"}}]", "{}")),
     "T: post_processor.single[0]: expected a SpecialToken or"},
    {WITH_POST(TEMPLATE("[" TOKEN_S "," SEQUENCE_A "]", "{}")),
     "T: post_processor.special_tokens: no array \"ids\" for \"s\""},
    {WITH_POST(TEMPLATE("[{\"SpecialToken\":{}}]", "{}")), "no array \"ids\" for nothing"},
    {WITH_POST(TEMPLATE("[" TOKEN_S "," SEQUENCE_A "]", "{\"s\":{\"ids\":[77]}}")),
     "an id of s is 77, not one of the vocab"},
    {WITH_POST(TEMPLATE("[" TOKEN_S "," SEQUENCE_A "]", "{\"s\":{\"ids\":[\"x\"]}}")),
     "an id of s is \"x\", not one of"},
    {WITH_POST("{\"type\":\"Sequence\",\"processors\":[" TEMPLATE("[" SEQUENCE_A "]",
                                                                  "{}") "," TEMPLATE("[" SEQUENCE_A "]", "{}") "]}"),
     "T: post_processor.processors[1]: a second TemplateProcessing is not supported"},
    {WITH_DECODER("null"), "T: decoder.type is missing, supported: ByteLevel"},
    {WITH_DECODER("{\"type\":\"WordPiece\"}"), "T: decoder.type is \"WordPiece\", supported: ByteLevel"},
    {WITH_DECODER("{\"type\":\"Sequence\"}"), "T: decoder.decoders: expected an array"},
    {WITH_DECODER(DECODERS("{\"type\":\"Fuse\"},{\"type\":\"ByteFallback\"}")),
     "T: decoder.decoders[1]: ByteFallback in this place is not supported"},
    {WITH_DECODER(DECODERS("{\"type\":\"Fuse\"},{\"type\":\"ByteLevel\"}")),
     "T: decoder.decoders[1]: ByteLevel together with another decoder is not supported"},
    {WITH_DECODER(DECODERS("{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}")),
     "T: decoder.decoders[0]: Strip without Fuse before it is not supported"},
    {WITH_DECODER(DECODERS("{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\"x\"}")),
     "decoders[1].content: expected \" \""},
    {WITH_DECODER(DECODERS("{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"stop\":1}")),
     "\"stop\" is 1, expected an integer from 0 to 0"},
    {WITH_DECODER("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}"),
     "T: decoder.pattern.String: expected a string of 1 to 16 bytes"},
    {FILE_OF("[]", GOOD_MODEL, "{\"type\":\"Whitespace\"}", "null", BYTE_LEVEL),
     "T: pre_tokenizer.type is \"Whitespace\", supported: Split, Digits, ByteLevel, Metaspace, Sequence"},
};

static enum sy_status parse(const char *json, struct sy_tokenizer **tok)
{
    err.text[0] = 0;
    return sy_tokenizer_parse("T", json, strlen(json), tok, &err);
}

/* Deep nesting, a token and a template over their limits: made, not written out. */
static void check_limits(void)
{
    struct sy_buf json = SY_BUF_INIT;
    struct sy_tokenizer *tok = NULL;

    for (int i = 0; i < 100000; i++)
        sy_buf_append(&json, "[", 1);
    is_int(parse((char *)json.data, &tok), SY_ERR_DATA, "deep nesting is refused");
    is_str(err.text, "T: nested deeper than 64 levels", "with the limit");

    json.len = 0;
    sy_buf_printf(&json,
                  "{\"model\":" GOOD_MODEL ",\"decoder\":" BYTE_LEVEL ",\"added_tokens\":[{\"id\":3,\"content\":"
                  "\"%01025d\"}]}",
                  0);
    parse((char *)json.data, &tok);
    has_str(err.text, "T: added_tokens[0].content: expected a string of at most 1024 bytes", "a long added token");

    json.len = 0;
    sy_buf_printf(&json,
                  "{\"model\":" GOOD_MODEL ",\"decoder\":" BYTE_LEVEL
                  ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"special_tokens\":{\"s\":{\"ids\":[0]}},"
                  "\"single\":[" SEQUENCE_A);
    for (int i = 0; i < 1025; i++)
        sy_buf_printf(&json, "," TOKEN_S);
    sy_buf_printf(&json, "]}}");
    parse((char *)json.data, &tok);
    has_str(err.text, "T: post_processor: more than 1024 ids around a text", "a long template");
    sy_buf_fini(&json);
}

/* What is unusual and still meant. */
static void check_accepted(void)
{
    static const char *const GOOD[] = {
        WITH_MODEL(GOOD_MODEL),
        WITH_MODEL("{\"vocab\":" VOCAB ",\"merges\":[]}"),
        WITH_MODEL(MODEL(VOCAB, "[\"#version: 0.2\",\"a b\"]", ",\"dropout\":null,\"end_of_word_suffix\":\"\"")),
        WITH_MODEL(MODEL("{\"a\":0,\"b\":4000000,\"ab\":7}", "[[\"a\",\"b\"],[\"a\",\"b\"]]", "")),
        WITH_MODEL(MODEL("{\"\":5,\"a\":0}", "[[\"\",\"a\"]]", "")),
        WITH_ADDED("null"),
        WITH_ADDED("[{\"id\":9,\"content\":\"\"},{\"id\":0,\"content\":\"a\",\"special\":true}]"),
        WITH_DECODER(DECODERS("{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"},{\"type\":"
                              "\"ByteFallback\"},{\"type\":\"Fuse\"}")),
    };

    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        struct sy_tokenizer *tok = NULL;
        struct sy_buf out = SY_BUF_INIT;
        enum sy_status st = parse(GOOD[i], &tok);
        if (!st)
            st = sy_tokenizer_encode(tok, "a?b ab", 6, true, &out, &err);
        ok(!st && out.len, "accepted: %.90s", strstr(GOOD[i], "added_tokens"));
        if (st)
            diag("%s", err.text);
        sy_buf_fini(&out);
        sy_tokenizer_close(tok);
    }
}

int main(void)
{
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct sy_tokenizer *tok = (void *)&err;
        enum sy_status st = parse(CASES[i].json, &tok);
        has_str(err.text, CASES[i].message, "%s", CASES[i].message);
        if (st != SY_ERR_DATA || tok)
            ok(false, "it is a data error without a tokenizer");
    }
    check_limits();
    check_accepted();
    done();
    return tap_exit();
}
