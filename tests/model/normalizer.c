/* SPDX-License-Identifier: Apache-2.0
 * normalizer.c - form C against utf8proc as a whole, and the other steps
 */
#include "model/normalizer.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "model/nfc.h"
#include "tap.h"
#include "testrand.h"

static struct sy_error err = SY_ERROR_INIT;

/* Characters that compose, reorder or exclude each other, and some that do nothing. Not U+11A7: after a Hangul syllable
 * some versions of utf8proc drop it. */
static uint32_t random_char(struct testrand *rand)
{
    static const uint32_t RANGES[][2] = {
        {'a', 'z'},       {0xc0, 0x17f},      {0x300, 0x345},     {0x5b0, 0x5c2},     {0x915, 0x94d},
        {0x9be, 0x9d7},   {0x1100, 0x1112},   {0x1161, 0x1175},   {0x11a8, 0x11c2},   {0xac00, 0xd7a3},
        {0x1e00, 0x1eff}, {0x2126, 0x212b},   {0x3041, 0x309a},   {0xf900, 0xfa6a},   {0xfb1d, 0xfb4e},
        {0x4e00, 0x9fff}, {0x11099, 0x110ba}, {0x1d15e, 0x1d172}, {0x2f800, 0x2fa1d}, {0x10fff0, 0x10ffff},
    };
    const uint32_t *range = RANGES[testrand_next(rand) % (sizeof RANGES / sizeof *RANGES)];

    return range[0] + (uint32_t)(testrand_next(rand) % (range[1] - range[0] + 1));
}

static bool same_as_utf8proc(const uint8_t *text, size_t len)
{
    struct sy_buf out = SY_BUF_INIT;
    utf8proc_uint8_t *expected = NULL;
    utf8proc_ssize_t n = utf8proc_map(text, (utf8proc_ssize_t)len, &expected, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    size_t prefix = sy_nfc_prefix(text, len);
    bool same = n >= 0 && !sy_nfc_append(text, len, &out) && out.len == (size_t)n &&
                (!n || !memcmp(out.data, expected, (size_t)n));

    /* The prefix must be left as it is; a whole text of form C must not be called something else by its own result. */
    same = same && prefix <= (size_t)n && !memcmp(text, expected, prefix) && (prefix < len || (size_t)n == len);
    free(expected);
    sy_buf_fini(&out);
    return same;
}

static void check_nfc(struct testrand *rand)
{
    uint8_t text[200];
    int n_bad = 0;

    for (uint32_t c = 1; c < 0x110000; c++) {
        if (c >= 0xd800 && c < 0xe000)
            continue;
        /* Between letters, since some compose with what is before or after. */
        size_t len = 0;
        text[len++] = 'e';
        len += (size_t)sy_utf8_put(c, text + len);
        text[len++] = 'a';
        n_bad += !same_as_utf8proc(text, len);
    }
    ok(!n_bad, "every code point alone is normalised as utf8proc does");
    n_bad = 0;
    for (int i = 0; i < 30000; i++) {
        size_t len = 0, chars = testrand_next(rand) % 40;
        while (chars-- > 0) {
            uint32_t c = testrand_next(rand) % 3 ? random_char(rand) : 0x300 + (uint32_t)(testrand_next(rand) % 0x46);
            len += (size_t)sy_utf8_put(c, text + len);
        }
        n_bad += !same_as_utf8proc(text, len);
    }
    ok(!n_bad, "so are 30000 random texts");
    static const char PLAIN[] =
        "plain text of more than a word, \xc3\xa9t\xc3\xa9, \xed\x95\x9c\xea\xb5\xad\xec\x96\xb4";
    struct sy_buf kept = SY_BUF_INIT;
    ok(!sy_nfc_append((const uint8_t *)"\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa7", 9, &kept) && kept.len == 6 &&
           !memcmp(kept.data, "\xea\xb0\x80\xe1\x86\xa7", 6),
       "U+11A7 after a syllable stays");
    sy_buf_fini(&kept);
    is_int((int64_t)sy_nfc_prefix((const uint8_t *)PLAIN, strlen(PLAIN)), (int64_t)strlen(PLAIN),
           "text that is in form C is known to be without normalising it");
}

static void check_marks(void)
{
    enum { N = 1 << 18 };
    static const uint16_t MARKS[] = {0x315, 0x316, 0x334, 0x327};
    uint8_t *text = malloc(1 + 2 * N);
    struct sy_buf out = SY_BUF_INIT;

    if (!text)
        bail("no memory");
    text[0] = 'q';
    for (size_t i = 0; i < N; i++)
        sy_utf8_put(MARKS[i % 4], text + 1 + 2 * i);
    int64_t begin = sy_clock_ns();
    int rc = sy_nfc_append(text, 1 + 2 * N, &out);
    double seconds = (double)(sy_clock_ns() - begin) / 1e9;
    uint32_t first, last;
    sy_utf8_get(out.data + 1, &first);
    sy_utf8_get(out.data + out.len - 2, &last);
    ok(!rc && out.len == 1 + 2 * N && first == 0x334 && last == 0x315, "a run of 2^18 marks is ordered by class");
    diag("in %.2f s", seconds);
    ok(seconds < 30, "and not in quadratic time");
    sy_buf_fini(&out);
    free(text);
}

/* The result, or the message. */
static const char *normalised(const char *json, const char *text)
{
    static char result[1024];
    struct sy_buf scratch[2] = {SY_BUF_INIT, SY_BUF_INIT};
    struct sy_normalizer *n = NULL;
    const uint8_t *at = (const uint8_t *)text;
    size_t len = strlen(text);
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);

    if (!value)
        bail("not JSON: %s", json);
    if (sy_normalizer_create("N", value, &n, &err) || sy_normalizer_apply(n, scratch, &at, &len, &err))
        snprintf(result, sizeof result, "%s", err.text);
    else
        snprintf(result, sizeof result, "%.*s", (int)len, (const char *)at);
    sy_normalizer_destroy(n);
    sy_buf_fini(&scratch[0]);
    sy_buf_fini(&scratch[1]);
    json_decref(value);
    return result;
}

#define REPLACE(find, content) \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" find "\"},\"content\":\"" content "\"}"
#define SEQUENCE(list) "{\"type\":\"Sequence\",\"normalizers\":[" list "]}"
#define GROW           REPLACE("a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")

static void check_steps(void)
{
    static const struct {
        const char *json, *text, *result;
    } CASES[] = {
        {"null", "e\xcc\x81", "e\xcc\x81"},
        {"{\"type\":\"NFC\"}", "cafe\xcc\x81!", "caf\xc3\xa9!"},
        {"{\"type\":\"Prepend\",\"prepend\":\"_\"}", "ab", "_ab"},
        {"{\"type\":\"Prepend\",\"prepend\":\"_\"}", "", ""},
        {REPLACE(" ", "_"), " a  b ", "_a__b_"},
        {REPLACE("ab", ""), "xabyab", "xy"},
        {REPLACE("aa", "b"), "aaaaa", "bba"},
        {SEQUENCE("{\"type\":\"Prepend\",\"prepend\":\"_\"}," REPLACE(" ", "_")), "a b", "_a_b"},
        {SEQUENCE(REPLACE("_", "e\xcc\x81") ",{\"type\":\"NFC\"}"), "_", "\xc3\xa9"},
        {SEQUENCE(""), "a", "a"},
        {"{\"type\":\"Lowercase\"}", "a",
         "N: normalizer.type is \"Lowercase\", supported: NFC, Prepend, Replace, Sequence"},
        {SEQUENCE("{\"type\":\"NFC\"},{}"), "a",
         "N: normalizer.normalizers[1].type is missing, supported: NFC, Prepend, Replace, Sequence"},
        {"{\"type\":\"Sequence\"}", "a", "N: normalizer.normalizers: expected an array"},
        {"{\"type\":\"Prepend\"}", "a", "N: normalizer.prepend: expected a string of 0 to 256 bytes"},
        {REPLACE("", "x"), "a", "N: normalizer.pattern.String: expected a string of 1 to 256 bytes"},
        {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}", "a",
         "N: normalizer.pattern is a Regex, supported: String"},
        {SEQUENCE(GROW "," GROW "," GROW), "a", "the tokenizer's normalizer makes a text more than 16 times longer"},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        is_str(normalised(CASES[i].json, CASES[i].text), CASES[i].result, "%.90s of \"%s\"", CASES[i].json,
               CASES[i].text);

    struct sy_buf many = SY_BUF_INIT;
    sy_buf_printf(&many, "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}");
    for (int i = 0; i < 16; i++)
        sy_buf_printf(&many, ",{\"type\":\"NFC\"}");
    sy_buf_printf(&many, "]}");
    has_str(normalised((char *)many.data, "a"), "more than 16 normalizers", "17 steps are refused");
    sy_buf_fini(&many);
}

int main(void)
{
    struct testrand rand = testrand_begin();

    check_nfc(&rand);
    check_marks();
    check_steps();
    done();
    return tap_exit();
}
