/* SPDX-License-Identifier: Apache-2.0
 * batch.c - lines of a batch file: what is understood, what is refused with which words, and cut or damaged lines
 */
#include "cli/batch.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "testrand.h"

static const struct sy_batch_defaults defaults = {
    .max_tokens = 7, .top_k = 3, .temperature = 0.5, .top_p = 0.25, .seed = -9, .stop = "END"};
static const struct sy_batch_defaults scoring = {.score = true, .temperature = 1, .top_p = 1};

static enum sy_status parse(const char *json, const struct sy_batch_defaults *with, struct sy_batch_line *line,
                            struct sy_error *err)
{
    *err = (struct sy_error)SY_ERROR_INIT;
    memset(line, 0xa5, sizeof *line);
    return sy_batch_parse("in:3", json, strlen(json), with, line, err);
}

static const struct refusal {
    const char *json, *code, *part;
} refusals[] = {
    {"", "invalid_json", "in:3:"},
    {"{\"prompt\":\"a\"", "invalid_json", "in:3:1:"},
    {"{\"prompt\":\"a\"} x", "invalid_json", "end of file expected"},
    {"{\"prompt\":\"a\",\"prompt\":\"b\"}", "invalid_json", "duplicate object key"},
    {"{\"prompt\":\"\xff\"}", "invalid_json", "unable to decode byte 0xff"},
    {"{\"prompt\":\"\xed\xa0\x80\"}", "invalid_json", "unable to decode byte 0xed"},
    {"{\"prompt\":\"\\ud800\"}", "invalid_json", "in:3:"},
    {"{\"prompt\":\"a\",\"seed\":99999999999999999999}", "invalid_json", "too big integer"},
    {"{\"prompt\":\"a\",\"temperature\":1e999}", "invalid_json", "real number overflow"},
    {"{\"prompt\":\"a\",\"temperature\":NaN}", "invalid_json", "in:3:"},
    {"7", "invalid_json", "in:3:1:1: not valid JSON"},
    {"[7]", "invalid_json", "the line is an array of 1, expected an object"},
    {"{}", "missing_prompt", "in:3: has no \"prompt\""},
    {"{\"prompt\":null}", "missing_prompt", "has no \"prompt\""},
    {"{\"prompt\":{}}", "invalid_value", "\"prompt\" is an object, expected a string or an array of token ids"},
    {"{\"prompt\":[1.5]}", "invalid_value", "\"prompt\"[0] is 1.5, expected a token id"},
    {"{\"prompt\":[1,2147483648]}", "invalid_value", "\"prompt\"[1] is 2147483648"},
    {"{\"prompt\":[[1,2],[3]]}", "invalid_value", "give each prompt a line of its own"},
    {"{\"prompt\":\"a\",\"text\":\"b\"}", "unsupported_field", "the field \"text\" is not supported"},
    {"{\"prompt\":\"a\",\"custom_id\":\"a\\u0000b\"}", "invalid_value", "without zero bytes"},
    {"{\"prompt\":\"a\",\"max_tokens\":16777216}", "invalid_value", "expected an integer from 0 to 16777215"},
    {"{\"prompt\":\"a\",\"max_tokens\":1.5}", "invalid_value", "\"max_tokens\" is 1.5"},
    {"{\"prompt\":\"a\",\"temperature\":101}", "invalid_value", "expected a number from 0 to 100"},
    {"{\"prompt\":\"a\",\"top_k\":-2}", "invalid_value", "expected an integer from -1 to"},
    {"{\"prompt\":\"a\",\"stop\":[\"a\",\"\"]}", "invalid_value", "expected strings that are not empty"},
    {"{\"prompt\":\"a\",\"stop\":{}}", "invalid_value", "\"stop\" has an object"},
    {"{\"prompt\":\"a\",\"min_p\":0.5}", "unsupported_value", "\"min_p\" is 0.5, which is not supported"},
    {"{\"prompt\":\"a\",\"user\":7}", "unsupported_value", "\"user\" is 7"},
    {"{\"url\":\"/v1/completions\",\"prompt\":\"a\"}", "unsupported_field", "the field \"url\" is not supported"},
    {"{\"body\":null}", "invalid_value", "\"body\" is null, expected an object"},
    {"{\"method\":\"GET\",\"body\":{}}", "invalid_value", "\"method\" is \"GET\", expected \"POST\""},
    {"{\"url\":7,\"body\":{}}", "unsupported_url", "\"url\" is 7"},
    {"{\"body\":{\"prompt\":\"a\",\"custom_id\":\"b\"}}", "unsupported_field", "\"custom_id\""},
};

static void check_refusals(void)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct sy_batch_line line;
        struct sy_error err;
        is_int(parse(refusals[i].json, &defaults, &line, &err), SY_ERR_DATA, "line %zu", i);
        is_str(line.error_code, refusals[i].code, "its code");
        has_str(err.text, refusals[i].part, "its message");
        sy_batch_line_fini(&line);
    }
}

static void check_fields(void)
{
    struct sy_batch_line line;
    struct sy_error err;

    is_int(parse("{\"prompt\":\"a\\u0000b\"}", &defaults, &line, &err), SY_OK, "a body alone");
    ok(line.text_len == 3 && !memcmp(line.text, "a\0b", 4) && !line.ids, "a zero byte is part of the text");
    ok(!line.custom_id && !line.model, "nothing else is named");
    ok(line.max_tokens == 7 && line.top_k == 3 && line.temperature == 0.5f && line.top_p == 0.25f &&
           line.seed == (uint64_t)-9 && line.n_logprobs == -1 && !line.echo && !line.ignore_eos,
       "defaults fill the rest");
    ok(line.n_stops == 1 && line.stops[0].len == 3 && !strcmp(line.stops[0].text, "END"), "the stop string too");
    sy_batch_line_fini(&line);

    is_int(
        parse("{\"custom_id\":\"\xc3\xa9\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"model\":\"m\","
              "\"prompt\":[5,0,2147483647],\"max_tokens\":32.0,\"temperature\":2,\"top_p\":0,\"top_k\":-1,\"seed\":-1,"
              "\"stop\":[\"x\",\"\\u0000\"],\"logprobs\":0,\"echo\":true,\"return_token_ids\":true,"
              "\"ignore_eos\":true,\"n\":1,\"user\":\"u\",\"stream\":false,\"suffix\":\"\",\"unknown\":null}}",
              &defaults, &line, &err),
        SY_OK, "the batch format with every field");
    is_str(line.custom_id, "\xc3\xa9", "custom_id");
    is_str(line.model, "m", "model");
    ok(!line.text && line.n_ids == 3 && line.ids[0] == 5 && line.ids[2] == INT32_MAX, "ids");
    ok(line.max_tokens == 32 && line.temperature == 2 && line.top_p == FLT_MIN && line.top_k == 0 &&
           line.seed == UINT64_MAX && line.n_logprobs == 0,
       "numbers");
    ok(line.echo && line.ignore_eos && line.return_token_ids, "flags");
    ok(line.n_stops == 2 && line.stops[1].len == 1 && !line.stops[1].text[0], "stop strings replace the default");
    sy_batch_line_fini(&line);

    is_int(parse("{\"prompt\":\"a\",\"top_p\":1e-300}", &defaults, &line, &err), SY_OK, "a tiny top_p");
    ok(line.top_p > 0, "does not become none");
    sy_batch_line_fini(&line);
    is_int(parse("{\"custom_id\":\"id\",\"prompt\":7}", &defaults, &line, &err), SY_ERR_DATA, "a line that is refused");
    is_str(line.custom_id, "id", "has its custom_id, so that the answer can be matched");
    sy_batch_line_fini(&line);
}

static void check_score(void)
{
    struct sy_batch_line line;
    struct sy_error err;

    is_int(parse("{\"text\":\"a\",\"domain\":\"d\"}", &scoring, &line, &err), SY_OK, "score: text and domain");
    ok(!strcmp(line.text, "a") && !strcmp(line.domain, "d"), "are taken");
    sy_batch_line_fini(&line);
    is_int(parse("{\"text\":[1,2],\"prompt\":null}", &scoring, &line, &err), SY_OK, "score: text of ids, no prompt");
    is_int(line.n_ids, 2, "are taken");
    sy_batch_line_fini(&line);
    is_int(parse("{\"text\":\"a\",\"prompt\":\"b\"}", &scoring, &line, &err), SY_ERR_DATA, "score: both");
    has_str(err.text, "expected one of them", "is refused");
    sy_batch_line_fini(&line);
    is_int(parse("{\"text\":\"\"}", &scoring, &line, &err), SY_ERR_DATA, "score: an empty text");
    is_str(line.error_code, "empty_prompt", "is refused");
    sy_batch_line_fini(&line);
}

/* {"prompt":"a","KEY":<a value made of n times unit>} */
static enum sy_status parse_long(const char *before, const char *unit, size_t n, const char *after,
                                 struct sy_batch_line *line, struct sy_error *err)
{
    size_t lb = strlen(before), lu = strlen(unit), la = strlen(after), len = lb + n * lu + la;
    char *json = malloc(len + 1);

    if (!json)
        bail("no memory");
    memcpy(json, before, lb);
    for (size_t i = 0; i < n; i++)
        memcpy(json + lb + i * lu, unit, lu);
    memcpy(json + lb + n * lu, after, la + 1);
    *err = (struct sy_error)SY_ERROR_INIT;
    enum sy_status st = sy_batch_parse("in:3", json, len, &defaults, line, err);
    free(json);
    return st;
}

static void check_limits(void)
{
    struct sy_batch_line line;
    struct sy_error err;

    is_int(parse_long("{\"prompt\":\"", "a", SY_BATCH_LINE_BYTES_MAX, "\"}", &line, &err), SY_ERR_DATA, "a huge line");
    is_str(line.error_code, "line_too_long", "its code");
    has_str(err.text, "expected at most 67108864", "its message");
    sy_batch_line_fini(&line);
    is_int(parse_long("{\"prompt\":", "[", 1000000, "", &line, &err), SY_ERR_DATA, "a deep line");
    has_str(err.text, "nested deeper than 32 levels", "its message");
    sy_batch_line_fini(&line);
    is_int(parse_long("{\"prompt\":\"a\",\"custom_id\":\"", "i", SY_BATCH_ID_BYTES_MAX, "\"}", &line, &err), SY_OK,
           "a custom_id of the longest kind");
    sy_batch_line_fini(&line);
    is_int(parse_long("{\"prompt\":\"a\",\"custom_id\":\"", "i", SY_BATCH_ID_BYTES_MAX + 1, "\"}", &line, &err),
           SY_ERR_DATA, "one byte more");
    has_str(err.text, "\"custom_id\" has 1025 bytes, expected at most 1024", "its message");
    sy_batch_line_fini(&line);
    is_int(parse_long("{\"prompt\":\"a\",\"stop\":[\"0\"", ",\"a\"", SY_BATCH_STOPS_MAX, "]}", &line, &err),
           SY_ERR_DATA, "too many stop strings");
    has_str(err.text, "\"stop\" has 17 strings, expected at most 16", "its message");
    sy_batch_line_fini(&line);
    is_int(parse_long("{\"prompt\":\"a\",\"stop\":\"", "s", SY_BATCH_STOP_BYTES_MAX + 1, "\"}", &line, &err),
           SY_ERR_DATA, "a stop string that is too long");
    has_str(err.text, "has 4097 bytes, expected at most 4096", "its message");
    sy_batch_line_fini(&line);
    is_int(parse_long("{\"", "k", 5000, "\":1,\"prompt\":\"a\"}", &line, &err), SY_ERR_DATA, "a long unknown name");
    ok(strlen(err.text) < 200, "is cut in the message");
    sy_batch_line_fini(&line);
}

/* Cut anywhere or with a few bytes changed a line is understood or refused with a code and a sentence. */
static void check_damage(struct testrand *numbers)
{
    static const char whole[] =
        "{\"custom_id\":\"a\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":[1,2],\"stop\":[\"x\"],"
        "\"logprobs\":3,\"temperature\":0.5,\"tools\":[],\"echo\":false}}";
    struct sy_batch_line line;
    int n_bad = 0, n_good = 0;

    for (int round = 0; round < 20000; round++) {
        char json[sizeof whole];
        struct sy_error err = SY_ERROR_INIT;
        size_t len = sizeof whole - 1;
        memcpy(json, whole, sizeof whole);
        for (uint64_t i = testrand_next(numbers) % 3; i > 0; i--)
            json[testrand_next(numbers) % len] = whole[testrand_next(numbers) % len];
        if (round % 4 == 0)
            len = testrand_next(numbers) % len;
        enum sy_status st = sy_batch_parse("in", json, len, round % 2 ? &defaults : &scoring, &line, &err);
        n_bad += st ? st != SY_ERR_DATA || !line.error_code || !err.text[0] : line.error_code != NULL;
        n_good += !st;
        sy_batch_line_fini(&line);
    }
    ok(!n_bad, "damaged lines are understood or refused with a code and a sentence");
    ok(n_good > 1000, "some of them are understood (%d)", n_good);
}

int main(void)
{
    struct testrand numbers = testrand_begin();

    check_refusals();
    check_fields();
    check_score();
    check_limits();
    check_damage(&numbers);
    done();
    return tap_exit();
}
