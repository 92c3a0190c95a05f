/* SPDX-License-Identifier: Apache-2.0
 * render.c - JSON text is valid whatever bytes and numbers go in
 */
#include "cli/render.h"

#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "testrand.h"

static struct testrand numbers;

static size_t below(size_t n)
{
    return testrand_next(&numbers) % n;
}

static const char *string(struct sy_buf *out, const char *bytes, size_t len)
{
    out->len = 0;
    return sy_render_string(out, bytes, len) ? (const char *)out->data : "no memory";
}

static const char *real(struct sy_buf *out, double number, int digits)
{
    out->len = 0;
    return sy_render_real(out, number, digits) ? (const char *)out->data : "no memory";
}

/* Bytes of all kinds: what comes out is JSON, and valid text comes back as it was. */
static void check_random_bytes(struct sy_buf *out)
{
    static const char alphabet[] = "a\"\\/\n\x01\x1f\x7f\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82\xff\xc0\xed\xa0";
    int n_bad = 0;

    for (int round = 0; round < 2000; round++) {
        char bytes[24];
        size_t len = below(sizeof bytes);
        for (size_t i = 0; i < len; i++)
            bytes[i] = round % 2 ? alphabet[below(sizeof alphabet - 1)] : (char)below(256);
        string(out, bytes, len);
        json_t *back = json_loadb((const char *)out->data, out->len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        json_t *plain = json_stringn(bytes, len); /* NULL when it is not UTF-8 */
        n_bad += !back || (plain && !json_equal(back, plain));
        json_decref(back);
        json_decref(plain);
    }
    ok(!n_bad, "strings of random bytes are JSON, and those that are UTF-8 come back");
}

int main(void)
{
    struct sy_buf out = SY_BUF_INIT;
    float single = 0;
    int n_bad = 0;

    numbers = testrand_begin();
    is_str(string(&out, "plain", 5), "\"plain\"", "a string");
    is_str(string(&out, "", 0), "\"\"", "an empty string");
    is_str(string(&out, "a\"b\\c/", 6), "\"a\\\"b\\\\c/\"", "quotes and backslashes are escaped");
    is_str(string(&out, "\n\t\r\b\f\x01\x1f", 7), "\"\\n\\t\\r\\b\\f\\u0001\\u001f\"",
           "control characters are escaped");
    is_str(string(&out, "a\0b", 3), "\"a\\u0000b\"", "a zero byte is one of them");
    is_str(string(&out, "\xc3\xa9\xf0\x9f\x99\x82", 6), "\"\xc3\xa9\xf0\x9f\x99\x82\"", "UTF-8 stays");
    is_str(string(&out, "a\xff\xc3(", 4), "\"a\xef\xbf\xbd\xef\xbf\xbd(\"", "bytes that are none become U+FFFD");
    is_str(string(&out, "a\xf0\x9f\x99", 4), "\"a\xef\xbf\xbd\"", "so does a character that is cut off");
    check_random_bytes(&out);
    out.len = 0;
    ok(sy_render_text(&out, NULL) && !strcmp((char *)out.data, "null"), "no text is null");

    is_str(real(&out, NAN, 9), "null", "NaN is null");
    is_str(real(&out, INFINITY, 9), "null", "infinity is null");
    is_str(real(&out, -INFINITY, 17), "null", "so is the negative one");
    is_str(real(&out, -0.5, 9), "-0.5", "a number");
    is_str(real(&out, 0, 9), "0", "zero");
    for (int i = 0; i < 2000; i++) {
        uint32_t bits = (uint32_t)testrand_next(&numbers);
        memcpy(&single, &bits, sizeof single);
        if (isfinite(single))
            n_bad += strtof(real(&out, (double)single, 9), NULL) != single;
    }
    ok(!n_bad, "9 digits bring each float back");
    ok(strtod(real(&out, DBL_MAX, 17), NULL) == DBL_MAX, "17 digits the largest double");

    out.len = 0;
    ok(sy_render_ids(&out, (const int32_t[]){1, -2, INT32_MAX}, 3) && !strcmp((char *)out.data, "[1,-2,2147483647]"),
       "ids");
    out.len = 0;
    ok(sy_render_ids(&out, NULL, 0) && !strcmp((char *)out.data, "[]"), "no ids");
    sy_buf_fini(&out);
    done();
    return tap_exit();
}
