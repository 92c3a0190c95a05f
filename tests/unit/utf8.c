/* SPDX-License-Identifier: Apache-2.0
 * utf8.c - UTF-8 against the table of the Unicode Standard
 */
#include "base/utf8.h"

#include <string.h>

#include "model/bytelevel.h"
#include "tap.h"

static void check_round_trip(void)
{
    int n_bad = 0;

    for (uint32_t c = 0; c < 0x110000; c++) {
        uint8_t bytes[4];
        uint32_t back;
        int n = sy_utf8_put(c, bytes);
        bool surrogate = c >= 0xd800 && c < 0xe000;
        n_bad += sy_utf8_valid(bytes, (size_t)n) != (surrogate ? 0 : (size_t)n);
        if (surrogate)
            continue;
        n_bad += sy_utf8_get(bytes, &back) != n || back != c || sy_utf8_step(bytes, (size_t)n) != n;
        for (int cut = 1; cut < n; cut++)
            n_bad += sy_utf8_step(bytes, (size_t)cut) != 0;
    }
    ok(!n_bad, "every code point but the surrogates is written and read back, and a part of it is not enough");
}

/* Every sequence of two bytes, and of three with a few thirds: valid exactly if some code point is written so. */
static void check_all_pairs(void)
{
    static uint8_t known[0x10000];
    int n_bad = 0;

    for (uint32_t c = 0x80; c < 0x800; c++) {
        uint8_t bytes[4];
        sy_utf8_put(c, bytes);
        known[bytes[0] << 8 | bytes[1]] = 1;
    }
    for (uint32_t pair = 0x8000; pair < 0x10000; pair++) {
        const uint8_t bytes[] = {(uint8_t)(pair >> 8), (uint8_t)pair};
        n_bad += (sy_utf8_step(bytes, 2) == 2) != known[pair];
    }
    ok(!n_bad, "of all pairs of bytes exactly the written ones are characters");
}

static void check_steps(void)
{
    static const struct {
        const char *bytes;
        int step;
    } CASES[] = {
        {"\x80", -1},
        {"\xc0\x80", -1},
        {"\xc1\xbf", -1},
        {"\xff", -1},
        {"\xe0\x9f\xbf", -1},
        {"\xe0\xa0", 0},
        {"\xe0\xa0!", -2},
        {"\xed\x9f\xbf", 3},
        {"\xed\xa0\x80", -1},
        {"\xef\xbf\xbf", 3},
        {"\xf0\x8f\xbf\xbf", -1},
        {"\xf0\x90\x80", 0},
        {"\xf0\x90!", -2},
        {"\xf0\x90\x80!", -3},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xf4\x90\x80\x80", -1},
        {"\xf5\x80", -1},
        {"\xc3", 0},
        {"\xc3(", -1},
        {"a\xff", 1},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        is_int(sy_utf8_step((const uint8_t *)CASES[i].bytes, strlen(CASES[i].bytes)), CASES[i].step, "case %zu", i);
}

static void check_prefix(void)
{
    char text[64];
    int n_bad = 0;

    for (size_t at = 0; at < sizeof text; at++) {
        memset(text, 'a', sizeof text);
        text[at] = (char)0x80;
        n_bad += sy_utf8_valid(text, sizeof text) != at;
    }
    ok(!n_bad, "the first bad byte is found wherever it is");
    is_int((int64_t)sy_utf8_valid("ab\xe4\xbd", 4), 2, "a character that is cut off at the end is bad");
    is_int((int64_t)sy_utf8_valid("", 0), 0, "no text is valid");
}

static void check_byte_level(void)
{
    bool seen[0x144] = {false};
    int n_bad = 0;
    uint8_t out[8];
    size_t n;

    for (int b = 0; b < 256; b++) {
        uint32_t c = sy_bytelevel_char((uint8_t)b);
        n_bad += c >= 0x144 || seen[c] || sy_bytelevel_byte(c) != b;
        if (c < 0x144)
            seen[c] = true;
    }
    ok(!n_bad, "each byte has a character of its own");
    ok(sy_bytelevel_char(' ') == 0x120 && sy_bytelevel_char('\n') == 0x10a && sy_bytelevel_char(0x7f) == 0x121 &&
           sy_bytelevel_char(0xad) == 0x143 && sy_bytelevel_char('a') == 'a',
       "the characters are GPT-2's");
    ok(sy_bytelevel_byte(' ') < 0 && sy_bytelevel_byte(0xad) < 0 && sy_bytelevel_byte(0x144) < 0, "others are none");
    ok(sy_bytelevel_decode("\xc4\xa0"
                           "a\xc3\xa9",
                           5, out, &n) &&
           n == 3 && !memcmp(out, " a\xe9", 3),
       "a token is decoded into its bytes");
    ok(!sy_bytelevel_decode("a b", 3, out, &n), "one that is not in the alphabet is not");
}

int main(void)
{
    check_round_trip();
    check_all_pairs();
    check_steps();
    check_prefix();
    check_byte_level();
    done();
    return tap_exit();
}
