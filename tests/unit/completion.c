/* SPDX-License-Identifier: Apache-2.0
 * completion.c - text of a request from its tokens: stop strings over token borders, text held back, log-probabilities
 */
#include "cli/completion.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "tap.h"
#include "testrand.h"

/* Bytes of a euro sign are tokens of their own: 5 to 7, as byte-level vocabularies spell them. 8 is special. */
static const char byte_level[] =
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":8,\"content\":\"</s>\",\"special\":true}],\"normalizer\":null,"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},\"post_processor\":null,"
    "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"c\":3,\"\\\"\":4,"
    "\"\xc3\xa2\":5,\"\xc4\xa4\":6,\"\xc2\xac\":7},\"merges\":[\"a b\"]}}";

static struct sy_tokenizer *tok;
static struct sy_batch_line line;
static struct sy_completion c;
static struct sy_buf out;

static void begin(const char *stop)
{
    sy_completion_fini(&c);
    line = (struct sy_batch_line){.n_logprobs = -1};
    if (stop) {
        line.n_stops = 1;
        line.stops[0] = (struct sy_batch_stop){(char *)stop, strlen(stop)};
    }
    sy_completion_init(&c, tok, &line);
}

static void push_event(const struct sy_token_event *event)
{
    struct sy_error err = SY_ERROR_INIT;

    if (sy_completion_push(&c, event, &err))
        bail("%s", err.text);
}

static void push(int32_t token, enum sy_finish finish)
{
    push_event(&(struct sy_token_event){.token = token, .finish = finish});
}

/* What is certain so far. */
static const char *sure(void)
{
    static char text[256];
    size_t len;
    const char *from = sy_completion_sure(&c, &len);

    snprintf(text, sizeof text, "%.*s", (int)len, from);
    return text;
}

static const char *choice(const int32_t *prompt, int n_prompt)
{
    struct sy_error err = SY_ERROR_INIT;

    out.len = 0;
    if (sy_completion_render(&c, prompt, n_prompt, &out, &err))
        bail("%s", err.text);
    json_t *root = json_loadb((char *)out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
    if (!root)
        diag("not JSON: %s", (char *)out.data);
    bool good = root != NULL;
    json_decref(root);
    return good ? (const char *)out.data : "not JSON";
}

static void check_stops(void)
{
    begin("bc");
    push(0, SY_FINISH_NONE);
    is_str(sure(), "a", "a token that begins no stop string is certain");
    push(1, SY_FINISH_NONE);
    is_str(sure(), "a", "one that may is held back");
    push(0, SY_FINISH_NONE);
    is_str(sure(), "aba", "until it cannot be any more");
    push(2, SY_FINISH_NONE);
    is_str(sure(), "abaa", "a token may be held back in part");
    push(3, SY_FINISH_NONE);
    ok(c.done && c.stopped_by_text && c.finish == SY_FINISH_STOP, "a stop string over two tokens ends it");
    is_str(sure(), "abaa", "and is no part of the text");
    is_int(c.n_generated, 5, "its tokens count");
    push(0, SY_FINISH_NONE);
    push(-1, SY_FINISH_CANCEL);
    is_str(sure(), "abaa", "what comes later does not");
    ok(c.n_generated == 5 && c.finish == SY_FINISH_STOP, "nor does a later reason to end");
    is_str(choice(NULL, 0), "{\"index\":0,\"text\":\"abaa\",\"logprobs\":null,\"finish_reason\":\"stop\"}",
           "its choice");

    begin("bc");
    push(2, SY_FINISH_LENGTH);
    is_str(sure(), "ab", "at the end nothing is held back");
    has_str(choice(NULL, 0), "\"finish_reason\":\"length\"", "finish_reason length");

    begin("aab");
    for (int i = 0; i < 5; i++)
        push(0, SY_FINISH_NONE);
    is_str(sure(), "aaa", "a stop string that repeats itself: as much is held back as may belong to it");
    push(1, SY_FINISH_NONE);
    is_str(sure(), "aaa", "it is found where it begins");
    ok(c.stopped_by_text, "and ends it");

    begin("b");
    line.n_stops = 3;
    line.stops[1] = (struct sy_batch_stop){(char[]){"a"}, 1};
    line.stops[2] = (struct sy_batch_stop){(char[]){"ab"}, 2};
    push(3, SY_FINISH_NONE);
    push(2, SY_FINISH_NONE);
    is_str(sure(), "c", "of several the first in the text counts");

    begin("b");
    push_event(&(struct sy_token_event){.token = 2, .is_prompt = true});
    push(0, SY_FINISH_NONE);
    ok(!c.done, "a stop string in the echoed prompt ends nothing");
    begin("bc");
    push_event(&(struct sy_token_event){.token = 1, .is_prompt = true});
    push(3, SY_FINISH_NONE);
    ok(!c.done && !strcmp(sure(), "bc"), "nor does one that begins in it");
    push(-1, SY_FINISH_STOP);
    ok(c.done && !c.stopped_by_text && !strcmp(sure(), "bc"), "the end without a token");
}

static void check_characters(void)
{
    begin(NULL);
    push(0, SY_FINISH_NONE);
    push(5, SY_FINISH_NONE);
    push(6, SY_FINISH_NONE);
    is_str(sure(), "a", "half a character is held back");
    push(7, SY_FINISH_NONE);
    is_str(sure(), "a\xe2\x82\xac", "until it is whole");
    push(5, SY_FINISH_LENGTH);
    is_str(sure(), "a\xe2\x82\xac\xef\xbf\xbd", "at the end it is U+FFFD");
    begin("\xe2\x82\xac");
    push(5, SY_FINISH_NONE);
    push(6, SY_FINISH_NONE);
    push(7, SY_FINISH_NONE);
    ok(c.stopped_by_text && !*sure(), "a stop string of bytes that are three tokens");
    begin("\xef\xbf\xbd");
    push(0, SY_FINISH_NONE);
    push(5, SY_FINISH_LENGTH);
    ok(c.stopped_by_text && !strcmp(sure(), "a"), "one that only the end makes");
    begin(NULL);
    push(0, SY_FINISH_NONE);
    push(8, SY_FINISH_NONE);
    push(1, SY_FINISH_NONE);
    is_str(sure(), "ab", "special tokens have no text");
    push(0, SY_FINISH_STOP);
    is_str(sure(), "ab", "nor has the token that ends the text");
    is_int(c.n_generated, 4, "but it counts");
}

static void check_logprobs(void)
{
    static const int32_t ids[] = {3, 0};
    static const float logprobs[] = {-0.5f, -1.5f};
    struct sy_token_event event = {.token = 0, .is_prompt = true};

    begin(NULL);
    line.n_logprobs = 2;
    line.echo = line.return_token_ids = true;
    sy_completion_init(&c, tok, &line);
    push_event(&event);
    event = (struct sy_token_event){.token = 4, .is_prompt = true, .has_logprob = true, .logprob = -2, .n_top = 2,
                                    .top_ids = ids, .top_logprobs = logprobs};
    push_event(&event);
    event.is_prompt = false;
    event.token = 0;
    event.logprob = -1.5;
    push_event(&event);
    for (event.token = 5; event.token <= 7; event.token++)
        push_event(&event);
    event.token = 3;
    event.logprob = -INFINITY;
    event.finish = SY_FINISH_LENGTH;
    push_event(&event);
    is_str(choice((const int32_t[]){0, 4}, 2),
           "{\"index\":0,\"text\":\"a\\\"a\xe2\x82\xac" "c\",\"logprobs\":{"
           "\"tokens\":[\"a\",\"\\\"\",\"a\",\"bytes:\\\\xe2\",\"bytes:\\\\x82\",\"bytes:\\\\xac\",\"c\"],"
           "\"token_logprobs\":[null,-2,-1.5,-1.5,-1.5,-1.5,null],"
           "\"top_logprobs\":[null,{\"c\":-0.5,\"a\":-1.5,\"\\\"\":-2},{\"c\":-0.5,\"a\":-1.5},"
           "{\"c\":-0.5,\"a\":-1.5,\"bytes:\\\\xe2\":-1.5},{\"c\":-0.5,\"a\":-1.5,\"bytes:\\\\x82\":-1.5},"
           "{\"c\":-0.5,\"a\":-1.5,\"bytes:\\\\xac\":-1.5},{\"c\":-0.5,\"a\":-1.5}],"
           "\"text_offset\":[0,1,2,3,3,3,4]},\"finish_reason\":\"length\","
           "\"token_ids\":[0,5,6,7,3],\"prompt_token_ids\":[0,4]}",
           "log-probabilities: tokens, the most likely, offsets in characters, what is no number is null");
}

static void check_ids_only(void)
{
    struct sy_tokenizer *kept = tok;

    tok = NULL;
    begin("bc");
    line.n_logprobs = 0;
    push_event(&(struct sy_token_event){.token = 7, .has_logprob = true, .logprob = -1, .finish = SY_FINISH_LENGTH});
    is_str(choice((const int32_t[]){9}, 1),
           "{\"index\":0,\"text\":\"\",\"logprobs\":{\"tokens\":[\"token_id:7\"],\"token_logprobs\":[-1],"
           "\"top_logprobs\":[{\"token_id:7\":-1}],\"text_offset\":[0]},\"finish_reason\":\"length\","
           "\"token_ids\":[7],\"prompt_token_ids\":[9]}",
           "a model without tokenizer gives ids");
    tok = kept;
    begin(NULL);
    c.values_only = true;
    push_event(&(struct sy_token_event){.token = 0, .is_prompt = true});
    push_event(&(struct sy_token_event){.token = 1, .is_prompt = true, .has_logprob = true, .logprob = -3});
    push_event(&(struct sy_token_event){.token = -1, .finish = SY_FINISH_PROMPT});
    const double *values = (const double *)c.values.data;
    ok(c.done && c.values.len == 2 * sizeof *values && isnan(values[0]) && values[1] == -3 && !c.text.len,
       "score keeps numbers only");
}

/* Random tokens and stop strings: the text is that of all tokens up to the first stop string, and what was certain was
 * always its beginning. */
static void check_random(void)
{
    static const char *const texts[] = {"a", "b", "ab", "c"};
    struct testrand numbers = testrand_begin();
    int n_bad = 0, n_stopped = 0;

    for (int round = 0; round < 5000; round++) {
        char whole[64] = "", stops[2][8] = {"", ""}, seen[64] = "";
        begin(NULL);
        line.n_stops = 2;
        for (int s = 0; s < 2; s++) {
            for (uint64_t n = 1 + testrand_next(&numbers) % 5; n > 0; n--)
                strcat(stops[s], texts[testrand_next(&numbers) % 2]);
            line.stops[s] = (struct sy_batch_stop){stops[s], strlen(stops[s])};
        }
        for (int i = 0; i < 12 && !c.done; i++) {
            int32_t token = (int32_t)(testrand_next(&numbers) % 4);
            strcat(whole, texts[token]);
            push(token, i == 11 ? SY_FINISH_LENGTH : SY_FINISH_NONE);
            n_bad += strncmp(sure(), seen, strlen(seen)) != 0;
            strcpy(seen, sure());
        }
        char *one = strstr(whole, stops[0]), *two = strstr(whole, stops[1]),
             *first = !one || (two && two < one) ? two : one;
        n_bad += (first != NULL) != c.stopped_by_text;
        if (first)
            *first = '\0';
        n_stopped += first != NULL;
        n_bad += strcmp(seen, whole) != 0;
    }
    ok(!n_bad, "random tokens: the text up to the first stop string, and what was certain never changes");
    ok(n_stopped > 1000 && n_stopped < 4900, "in %d of 5000 rounds there was one", n_stopped);
}

/* A decoder that strips a space from the begin of a text must leave it at the begin of a completion. */
static void check_space(void)
{
    static const char metaspace[] =
        "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
        "{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
        "\"content\":\"\xe2\x96\x81\"}]},\"pre_tokenizer\":null,\"post_processor\":null,\"decoder\":{\"type\":\"Sequence\","
        "\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xe2\x96\x81\"},\"content\":\" \"},"
        "{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"\xe2\x96\x81\":1,\"\xe2\x96\x81" "a\":2},"
        "\"merges\":[\"\xe2\x96\x81 a\"]}}";
    struct sy_tokenizer *kept = tok;
    struct sy_error err = SY_ERROR_INIT;

    if (sy_tokenizer_parse("T", metaspace, sizeof metaspace - 1, &tok, &err))
        bail("%s", err.text);
    begin(NULL);
    push(2, SY_FINISH_LENGTH);
    is_str(sure(), " a", "the space between prompt and completion is part of the completion");
    begin(NULL);
    line.echo = true;
    sy_completion_init(&c, tok, &line);
    push_event(&(struct sy_token_event){.token = 2, .is_prompt = true});
    push(2, SY_FINISH_LENGTH);
    is_str(sure(), "a a", "the one that the tokenizer put before an echoed prompt is not");
    sy_completion_fini(&c);
    sy_tokenizer_close(tok);
    tok = kept;
}

int main(void)
{
    struct sy_error err = SY_ERROR_INIT;

    if (sy_tokenizer_parse("T", byte_level, sizeof byte_level - 1, &tok, &err))
        bail("%s", err.text);
    check_stops();
    check_characters();
    check_logprobs();
    check_ids_only();
    check_random();
    check_space();
    sy_completion_fini(&c);
    sy_buf_fini(&out);
    sy_tokenizer_close(tok);
    done();
    return tap_exit();
}
