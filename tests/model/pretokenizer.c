/* SPDX-License-Identifier: Apache-2.0
 * pretokenizer.c - pieces of every kind of pre-tokenizer; expected values are those of the reference library
 */
#include "model/pretokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tap.h"

static struct sy_error err = SY_ERROR_INIT;

static enum sy_status collect(void *arg, const uint8_t *text, size_t len, struct sy_error *e)
{
    (void)e;
    return sy_buf_printf(arg, "[%.*s]", (int)len, (const char *)text) ? SY_OK : SY_ERR_SYSTEM;
}

/* Pieces as "[a][b]"; the message of an error. */
static const char *pieces_at(const char *json, bool at_begin, const char *text, size_t len)
{
    static struct sy_buf out;
    struct sy_pretokenizer *pt = NULL;
    struct sy_pretokenizer_scratch *scratch = sy_pretokenizer_scratch_create();
    json_error_t at;
    json_t *value = json_loads(json, JSON_DECODE_ANY, &at);

    if (!value)
        bail("%s: %s", json, at.text);
    out.len = 0;
    sy_buf_printf(&out, "%s", "");
    if (sy_pretokenizer_create("T", value, &pt, &err) ||
        sy_pretokenizer_split(pt, scratch, (const uint8_t *)text, len, at_begin, collect, &out, &err)) {
        out.len = 0;
        sy_buf_printf(&out, "%s", err.text);
    }
    sy_pretokenizer_destroy(pt);
    sy_pretokenizer_scratch_destroy(scratch);
    json_decref(value);
    return (const char *)out.data;
}

static const char *pieces(const char *json, const char *text, size_t len)
{
    return pieces_at(json, true, text, len);
}

/* Copy a short text with U+2581 for each "_". */
static void with_metaspaces(const char *text, char out[64])
{
    size_t n = 0;

    for (; *text && n + 4 < 64; text++) {
        size_t k = *text == '_' ? 3 : 1;
        memcpy(out + n, *text == '_' ? "\xe2\x96\x81" : text, k);
        n += k;
    }
    out[n] = 0;
}

#define SPLIT(regex, behavior, more) \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"" behavior "\"" more "}"
#define INVERT ",\"invert\":true"

#define METASPACE(more) "{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\"" more "}"
#define FIRST           ",\"prepend_scheme\":\"first\",\"split\":false"

/* "_" stands for U+2581 in the texts and the pieces. */
static void check_metaspace(void)
{
    static const struct {
        const char *json;
        bool at_begin;
        const char *text, *pieces;
    } CASES[] = {
        {METASPACE(""), true, "a  b ", "[_a][_][_b][_]"},
        {METASPACE(",\"add_prefix_space\":true"), false, "a b_c", "[_a][_b][_c]"},
        {METASPACE(""), true, " a", "[_a]"},
        {METASPACE(""), true, "_a", "[_a]"},
        {METASPACE(""), true, "\xe2\x96", "[_\xe2\x96]"}, /* a character that begins as U+2581 does */
        {METASPACE(FIRST), true, "a b", "[_a_b]"},
        {METASPACE(FIRST), false, "a b", "[a_b]"},
        {METASPACE(",\"prepend_scheme\":\"never\",\"add_prefix_space\":false"), true, "a b", "[a][_b]"},
        {METASPACE(""), true, "", ""},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[" METASPACE("") "]}", true, "a", "[_a]"},
    };
    static const struct {
        const char *json, *message;
    } REFUSED[] = {
        {"{\"type\":\"Metaspace\"}", "T: pre_tokenizer.replacement: expected a string of one character"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"ab\"}", "T: pre_tokenizer.replacement: expected"},
        {METASPACE(",\"prepend_scheme\":\"last\""),
         "T: pre_tokenizer.prepend_scheme is \"last\", supported: always, first"},
        {METASPACE(",\"prepend_scheme\":1"), "T: pre_tokenizer.prepend_scheme is 1, supported"},
        {METASPACE(",\"add_prefix_space\":false"),
         "T: pre_tokenizer.add_prefix_space is false, but prepend_scheme is not"},
        {METASPACE(",\"split\":1"), "\"split\" is 1, expected true or false"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[" METASPACE(FIRST) "," METASPACE("") "]}",
         "T: pre_tokenizer.pretokenizers[1]: a pre-tokenizer after Metaspace"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT("a", "Removed", "") "," METASPACE("") "]}",
         "T: pre_tokenizer.pretokenizers[1]: Metaspace after another pre-tokenizer"},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char text[64], expected[64];
        with_metaspaces(CASES[i].text, text);
        with_metaspaces(CASES[i].pieces, expected);
        is_str(pieces_at(CASES[i].json, CASES[i].at_begin, text, strlen(text)), expected, "case %zu: %s", i,
               CASES[i].pieces);
    }
    for (size_t i = 0; i < sizeof REFUSED / sizeof *REFUSED; i++)
        has_str(pieces(REFUSED[i].json, "a", 1), REFUSED[i].message, "%s", REFUSED[i].message);
}

static void check_kinds(void)
{
    static const struct {
        const char *json, *text, *pieces;
    } CASES[] = {
        {"null", "a b", "[a b]"},
        {SPLIT("-", "Isolated", ""), "a-b--c-", "[a][-][b][-][-][c][-]"},
        {SPLIT("-", "Removed", ""), "a-b--c-", "[a][b][c]"},
        {SPLIT("-", "MergedWithPrevious", ""), "-a-b--c", "[-][a-][b-][-][c]"},
        {SPLIT("-", "MergedWithNext", ""), "-a-b--c-", "[-a][-b][-][-c][-]"},
        {SPLIT("-", "Contiguous", ""), "-a-b--c", "[-][a][-][b][--][c]"},
        {SPLIT("[a-z]+", "Removed", INVERT), "1ab2c3", "[ab][c]"},
        {SPLIT("[a-z]+", "MergedWithPrevious", INVERT), "1ab2c3", "[1][ab2][c3]"},
        {SPLIT("(?=[A-Z])", "Isolated", ""), "oneTwoThree", "[one][Two][Three]"},
        {SPLIT("x*", "Isolated", ""), "axxb", "[a][xx][b]"},
        {SPLIT("$", "Isolated", ""), "a\nb", "[a][\nb]"},
        {"{\"type\":\"Split\",\"pattern\":{\"String\":\". \"},\"behavior\":\"MergedWithPrevious\",\"invert\":false}",
         "a. b.c. ", "[a. ][b.c. ]"},
        {"{\"type\":\"Digits\",\"individual_digits\":true}", "a123", "[a][1][2][3]"},
        {"{\"type\":\"Digits\",\"individual_digits\":false}", "a123b4", "[a][123][b][4]"},
        {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false}", "it's  12 o!\n", "[it]['s][ ][ 12][ o][!][\n]"},
        {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", "ab c", "[ ab][ c]"},
        {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", " ab", "[ ab]"},
        {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":false}", "ab c", "[ ab c]"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT("-", "Removed",
                                                            "") ",{\"type\":\"ByteLevel\",\"add_prefix_space\":true}]}",
         "ab- c-d", "[ ab][ c][ d]"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT("\\\\p{N}{1,3}", "Isolated", "") "," SPLIT(
             "[\xe4\xb8\x80-\xe9\xbe\xa5]+", "Isolated", "") "," SPLIT("\\\\s+", "MergedWithNext", "") "]}",
         "a 1234\xe4\xbd\xa0 \xe4\xbd\xa0", "[a][ ][123][4][\xe4\xbd\xa0][ ][\xe4\xbd\xa0]"},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        is_str(pieces(CASES[i].json, CASES[i].text, strlen(CASES[i].text)), CASES[i].pieces, "%.100s", CASES[i].json);
}

static const struct {
    const char *pattern, *part;
} REFUSED_PATTERNS[] = {
    {"[a[b]]", "a character set inside a character set at byte 2 of the pattern is not supported"},
    {"[a&&b]", "an intersection of character sets at byte 2"},
    {"[]", "an empty character set"},
    {"x[ab", "a character set without its end at byte 1"},
    {"(*UTF)a", "this kind of group at byte 0"},
    {"a(?R)", "this kind of group at byte 1"},
    {"a(?i)b|c", "an option in the middle of a pattern at byte 1"},
    {"(?z:a)", "this kind of group"},
    {"a{1,2}+", "a second quantifier after an interval"},
    {"\\\\Kab", "\\K in this place"},
    {"[\\\\W]", "\\W in this place"},
    {"a\\\\x", "\\x without hexadecimal digits at byte 1"},
    {"\\\\xg", "\\x without hexadecimal digits"},
    {"\\\\Ga", "\\G in this place"},
    {"(?i:aSs)", "two letters that are one character where case does not count at byte 6"},
    {"(?i)a|fi", "two letters that are one character where case does not count at byte 7"},
    {"(?i:(a)sT)", "two letters that are one character"},
    {"(?i:\xc3\x9f)", "a character outside ASCII where case does not count at byte 4"},
    {"(?i)[a\xc3\x9f]", "a character outside ASCII where case does not count"},
    {"(?i:[\\\\p{L}])", "this escape where case does not count at byte 5"},
    {"(?i)\\\\w", "this escape where case does not count"},
    {"\\\\u12", "\\u without four hexadecimal digits"},
    {"\\\\p{L", "a brace without its end"},
    {"a\\\\", "a backslash with nothing after it"},
    {"(a", "not a regular expression that can be used: missing closing parenthesis"},
    {"\\\\p{Nothing}", "not a regular expression that can be used"},
    {"((a{1,100}){1,100}){1,100}", "not a regular expression that can be used: regular expression is too large"},
};

/* Where the reference's engine and PCRE2 read a pattern differently. Matches are removed. */
static void check_patterns(void)
{
    static const struct {
        const char *json, *text, *pieces;
    } CASES[] = {
        {SPLIT("\\\\s", "Removed", ""),
         "a\xe1\xa0\x8e"
         "b\xc2\x85"
         "c\xe3\x80\x80"
         "d",
         "[a\xe1\xa0\x8e"
         "b][c][d]"},
        {SPLIT("[^\\\\S\\\\n]", "Removed", ""), "a \nb\tc", "[a][\nb][c]"},
        {SPLIT("\\\\w+", "Removed", ""), "e\xcc\x81!_1-", "[!][-]"},
        {SPLIT("\\\\w+", "Removed", ""), "x\xc2\xb2\xe2\x81\xb4", "[\xe2\x81\xb4]"},
        {SPLIT("[\\\\w]+", "Removed", ""), "x\xc2\xb2", "[\xc2\xb2]"},
        {SPLIT("\\\\b", "Isolated", ""), "ab e\xcc\x81!", "[ab][ ][e\xcc\x81][!]"},
        {SPLIT("\\\\h+", "Removed", ""), "xfFg9", "[x][g]"},
        {SPLIT("\\\\u0041", "Removed", ""), "xAy", "[x][y]"},
        {SPLIT("a.b", "Removed", ""), "a\nb", "[a\nb]"},
        {SPLIT("(?m:a.b)", "Removed", ""), "xa\nb", "[x]"},
        {SPLIT("^b", "Removed", ""), "a\nbc", "[a\n][c]"},
        {SPLIT("xa{,2}y", "Removed", ""), "xy.xaay.xaaay", "[.][.xaaay]"},
        {SPLIT("a{x", "Removed", ""), "ba{xb", "[b][b]"},
        {SPLIT("\\\\p{Han}", "Removed", ""), "\xe3\x80\x82\xe4\xbd\xa0", "[\xe3\x80\x82]"},
        {SPLIT("\\\\p{^L}", "Removed", ""), "a1b", "[a][b]"},
        {SPLIT("(?i:'s|'LL)", "Removed", ""), "x'Sy'll'\xc5\xbf", "[x][y]"},
        {SPLIT("(?i)b|c", "Removed", ""), "aBdCe", "[a][d][e]"},
        {SPLIT("(?i:s t)", "Removed", ""), "aS tb", "[a][b]"},
        {SPLIT("(?i:[st]\\\\s)ss|(?:\xc3\x9f)", "Removed", ""), "aT ssb\xc3\x9f", "[a][b]"},
        {SPLIT("(?<n>a)\\\\k<n>", "Removed", ""), "baab", "[b][b]"},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        is_str(pieces(CASES[i].json, CASES[i].text, strlen(CASES[i].text)), CASES[i].pieces, "%.60s", CASES[i].json);
    for (size_t i = 0; i < sizeof REFUSED_PATTERNS / sizeof *REFUSED_PATTERNS; i++) {
        char json[256];
        snprintf(json, sizeof json, SPLIT("%s", "Isolated", ""), REFUSED_PATTERNS[i].pattern);
        const char *message = pieces(json, "a", 1);
        has_str(message, REFUSED_PATTERNS[i].part, "pattern %s", REFUSED_PATTERNS[i].pattern);
        if (strncmp(message, "T: pre_tokenizer.pattern.Regex: ", 32))
            ok(false, "the message begins with the JSON path: %s", message);
    }
}

static void check_refused(void)
{
    static const struct {
        const char *json, *part;
    } CASES[] = {
        {"{\"type\":\"Whitespace\"}",
         "T: pre_tokenizer.type is \"Whitespace\", supported: Split, Digits, ByteLevel, Metaspace, Seq"},
        {"[]", "T: pre_tokenizer.type is missing"},
        {"{\"type\":7}", "T: pre_tokenizer.type is 7"},
        {"{\"type\":\"Split\"}", "T: pre_tokenizer.pattern: expected an object"},
        {SPLIT("a", "Sideways", ""), "T: pre_tokenizer.behavior is Sideways, supported: Removed, Isolated"},
        {SPLIT("a", "Removed", ",\"invert\":1"), "\"invert\" is 1, expected true or false"},
        {"{\"type\":\"Sequence\"}", "T: pre_tokenizer.pretokenizers: expected an array"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":\"Digits\"}]}",
         "T: pre_tokenizer.pretokenizers[1]: a pre-tokenizer after ByteLevel is not supported"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"X\"}]}]}",
         "T: pre_tokenizer.pretokenizers[0].pretokenizers[0].type is \"X\""},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        has_str(pieces(CASES[i].json, "a", 1), CASES[i].part, "refused: %.70s", CASES[i].json);

    struct sy_buf many = SY_BUF_INIT;
    sy_buf_printf(&many, "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"}");
    for (int i = 0; i < 16; i++)
        sy_buf_printf(&many, ",{\"type\":\"Digits\"}");
    sy_buf_printf(&many, "]}");
    has_str(pieces((char *)many.data, "a", 1), "more than 16 pre-tokenizers", "17 stages are refused");
    sy_buf_fini(&many);
}

/* A match is found wherever it is: the places it may begin at are looked at some hundred at a time. */
static void check_places(void)
{
    static const char *const LETTERS[] = {"a", "\xc3\xa9", "\xf0\x9f\x98\x80"};
    char text[4200], expected[4220];
    int n_bad = 0;

    for (size_t i = 0; i < 3; i++) {
        size_t k = strlen(LETTERS[i]);
        for (size_t n = 0; n + k <= 1030 * k; n += k) {
            memcpy(text + n, LETTERS[i], k);
            memcpy(text + n + k, "-b", 2);
            snprintf(expected, sizeof expected, "[%.*s][-][b]", (int)(n + k), text);
            n_bad += strcmp(pieces(SPLIT("-", "Isolated", ""), text, n + k + 2), expected) != 0;
        }
    }
    ok(!n_bad, "a match after 1 to 1030 characters is found");
}

/* Patterns that backtrack without end get a sentence, soon. */
static void check_hostile(void)
{
    enum { LEN = 40000 };
    char *text = malloc(LEN);

    if (!text)
        bail("no memory");
    memset(text, 'a', LEN);
    has_str(pieces(SPLIT("^(([a-z])+.)+[A-Z]([a-z])+$", "Isolated", ""), text, LEN),
            "pre_tokenizer.pattern.Regex: the pattern fails on a text of 40000 bytes", "exponential backtracking");
    has_str(pieces(SPLIT("(.*)(.*)(.*)(.*)(.*)[^\\\\s\\\\S]", "Isolated", ""), text, LEN), "the pattern fails",
            "backtracking to the fifth power");
    /* An honest one on a long run of one class. */
    memset(text, ' ', LEN);
    const char *found = pieces(SPLIT("\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+", "Isolated", ""), text, LEN);
    ok(strlen(found) == LEN + 2 && found[LEN + 1] == ']', "a run of 40000 spaces is one piece");
    free(text);
}

int main(void)
{
    check_kinds();
    check_metaspace();
    check_patterns();
    check_refused();
    check_places();
    check_hostile();
    done();
    return tap_exit();
}
