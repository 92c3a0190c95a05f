/* SPDX-License-Identifier: Apache-2.0
 * safetensors.c - tests of one shard's header: what is read, and what is refused with which words
 */
#include "model/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "folder.h"
#include "tap.h"

#define T(shape, begin, end) "{\"dtype\":\"BF16\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

/* header, bytes of data behind it, and a part of the message; NULL: it is read. */
static const struct {
    const char *what, *header;
    size_t n_data;
    const char *part;
} cases[] = {
    {"empty object", "{}", 0, NULL},
    {"one tensor", "{\"a\":" T("[2,3]", "0", "12") "}", 12, NULL},
    {"a convolution of a vision tower", "{\"a\":" T("[1,1,2,1,1]", "0", "4") "}", 4, NULL},
    {"a type that nothing is computed with", "{\"a\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3, NULL},
    {"white space and order of keys", " {\n\"a\" : {\"data_offsets\":[ 0 , 2 ],\"shape\":[ 1],\"dtype\":\"BF16\"} }  ",
     2, NULL},
    {"scalar", "{\"a\":" T("[]", "0", "2") "}", 2, NULL},
    {"zero elements", "{\"a\":" T("[0,5]", "0", "0") ",\"b\":" T("[1]", "0", "2") "}", 2, NULL},
    {"data out of order", "{\"b\":" T("[1]", "2", "4") ",\"a\":" T("[1]", "0", "2") "}", 4, NULL},
    {"escapes in a name", "{\"a\\u00e9\\ud83d\\ude00\\/\":" T("[1]", "0", "2") "}", 2, NULL},
    {"metadata", "{\"__metadata__\":{\"x\":\"y\",\"z\":\"w\"},\"a\":" T("[1]", "0", "2") "}", 2, NULL},

    {"not an object", "[]", 0, "expected an object, found '['"},
    {"text ends", "{\"a\":", 0, "expected an object, but the text ends"},
    {"nothing", "", 0, "expected an object, but the text ends"},
    {"trailing text", "{} x", 0, "expected the end of the text, found 'x'"},
    {"no comma", "{\"a\":" T("[1]", "0", "2") " \"b\":" T("[1]", "2", "4") "}", 4, "expected ',' or '}', found '\"'"},
    {"no colon", "{\"a\" 1}", 0, "expected ':', found '1'"},
    {"open string", "{\"a", 0, "a string does not end"},
    {"bad escape", "{\"\\q\":1}", 0, "bad escape"},
    {"half a surrogate", "{\"\\ud800x\":1}", 0, "bad escape"},
    {"a surrogate with a wrong mate", "{\"\\ud800\\u0041\":1}", 0, "bad escape"},
    {"bad hex", "{\"\\u12g4\":1}", 0, "bad escape"},
    {"control character", "{\"a\\u001b[31m\":1}", 0, "control character U+001B"},
    {"invalid UTF-8", "{\"a\xff\":1}", 0, "not UTF-8"},
    {"nested where a string belongs", "{\"__metadata__\":{\"a\":{\"b\":{}}}}", 0, "expected a string, found '{'"},
    {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "\"__metadata__\" is there twice"},
    {"tensor is no object", "{\"a\":3}", 0, "expected an object, found '3'"},
    {"dtype is no string", "{\"a\":{\"dtype\":1}}", 0, "expected a string, found '1'"},
    {"unknown dtype", "{\"a\":{\"dtype\":\"F4\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
     "tensor a: dtype \"F4\" is not supported, supported: F32, F16, BF16"},
    {"unknown key", "{\"a\":{\"dtype\":\"BF16\",\"strides\":[1]}}", 0, "tensor a: unknown key \"strides\""},
    {"key twice", "{\"a\":{\"dtype\":\"BF16\",\"dtype\":\"F32\"}}", 0, "tensor a: key \"dtype\" is there twice"},
    {"no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,2]}}", 2, "tensor a: \"dtype\" is missing"},
    {"no shape", "{\"a\":{\"dtype\":\"BF16\",\"data_offsets\":[0,2]}}", 2, "tensor a: \"shape\" is missing"},
    {"no offsets", "{\"a\":{\"dtype\":\"BF16\",\"shape\":[1]}}", 2, "tensor a: \"data_offsets\" is missing"},
    {"nine dims", "{\"a\":" T("[1,1,1,1,1,1,1,1,1]", "0", "2") "}", 2, "tensor a: shape has more than 8 dimensions"},
    {"negative dim", "{\"a\":" T("[2,-3]", "0", "2") "}", 2, "tensor a: shape has the negative dimension -3"},
    {"fraction", "{\"a\":" T("[2.5]", "0", "2") "}", 2, "expected an integer, found a number with a fraction"},
    {"leading zero", "{\"a\":" T("[02]", "0", "2") "}", 2, "a number begins with 0"},
    {"dim over 64 bits", "{\"a\":" T("[9223372036854775808]", "0", "2") "}", 2, "the integer is too large"},
    {"dim far over 64 bits", "{\"a\":" T("[92233720368547758070]", "0", "2") "}", 2, "the integer is too large"},
    {"product overflows", "{\"a\":" T("[4294967296,4294967296]", "0", "2") "}", 2,
     "tensor a: shape [4294967296, 4294967296] has more bytes than 64 bits can count"},
    {"product overflows to a small number", "{\"a\":" T("[9223372036854775807,2,1]", "0", "2") "}", 2,
     "has more bytes than 64 bits can count"},
    {"one offset", "{\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0]}}", 2, "data_offsets has 1 numbers"},
    {"three offsets", "{\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2,4]}}", 2,
     "data_offsets has more than two numbers"},
    {"negative offset", "{\"a\":" T("[1]", "-2", "0") "}", 2, "data_offsets are [-2, 0], expected 0 <= begin <= end"},
    {"end before begin", "{\"a\":" T("[1]", "4", "2") "}", 4, "data_offsets are [4, 2]"},
    {"bytes and shape differ", "{\"a\":" T("[2,3]", "0", "10") "}", 10,
     "tensor a: shape [2, 3] of BF16 is 12 bytes, but data_offsets span 10"},
    {"offsets outside the file", "{\"a\":" T("[2]", "0", "4") "}", 2, "but the file has"},
    {"offsets far outside the file", "{\"a\":" T("[1]", "9223372036854775000", "9223372036854775002") "}", 2,
     "is it truncated?"},
    {"overlap", "{\"a\":" T("[2]", "0", "4") ",\"b\":" T("[2]", "2", "6") "}", 6, "tensor b: data begins at byte"},
    {"hole", "{\"a\":" T("[1]", "0", "2") ",\"b\":" T("[1]", "4", "6") "}", 6, "belong to no tensor"},
    {"bytes behind the last tensor", "{\"a\":" T("[1]", "0", "2") "}", 3, "but the data of its tensors ends at byte"},
};

static enum sy_status parse(const char *header, size_t n_data, struct sy_safetensors *out, struct sy_error *err)
{
    size_t n = strlen(header);
    uint8_t *head = calloc(1, n + 8);

    for (int i = 0; i < 8; i++)
        head[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memcpy(head + 8, header, n);
    enum sy_status st = sy_safetensors_parse("x.safetensors", head, n + 8, n + 8 + n_data, 3, out, err);
    free(head);
    return st;
}

static void test_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sy_safetensors st;
        struct sy_error err = SY_ERROR_INIT;
        enum sy_status found = parse(cases[i].header, cases[i].n_data, &st, &err);
        if (cases[i].part) {
            bool held = found == SY_ERR_DATA && strstr(err.text, cases[i].part) &&
                        !strncmp(err.text, "x.safetensors: ", 15);
            if (!ok(held, "refused: %s", cases[i].what))
                diag("status %d, text \"%s\", expected \"%s\"", found, err.text, cases[i].part);
        } else if (!ok(found == SY_OK, "read: %s", cases[i].what)) {
            diag("%s", err.text);
        }
        if (!found)
            sy_safetensors_fini(&st);
    }
}

static void test_values(void)
{
    struct sy_safetensors st;
    struct sy_error err = SY_ERROR_INIT;
    const char *header = "{\"b\\u00e9\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[2,26]},\"a\":" T(
        "[1]", "0", "2") "}";

    if (!ok(!parse(header, 26, &st, &err) && st.n_tensors == 2, "two tensors"))
        bail("%s", err.text);
    is_str(st.tensors[0].name, "a", "tensors are in the order of their data");
    is_str(st.tensors[1].name, "b\xc3\xa9", "a name is decoded");
    ok(st.tensors[1].dtype == SY_F32 && st.tensors[1].n_dims == 2 && st.tensors[1].dims[0] == 2 &&
           st.tensors[1].dims[1] == 3,
       "dtype and dims");
    ok(st.tensors[1].bytes == 24 && st.tensors[1].offset == 8 + strlen(header) + 2, "bytes and offset in the file");
    is_int(st.tensors[1].shard, 3, "the shard's number is passed on");
    sy_safetensors_fini(&st);
}

static void test_length(void)
{
    static const struct {
        const char *what;
        uint8_t prefix[8];
        size_t n_prefix;
        uint64_t file_bytes;
        const char *part;
    } lengths[] = {
        {"an empty file", {0}, 0, 0, "the file has 0 bytes, too short for a safetensors header"},
        {"seven bytes", {1}, 7, 7, "the file has 7 bytes, too short"},
        {"length over the file",
         {200},
         8,
         100,
         "header length is 200 bytes, but the file has only 100 bytes; is it truncated?"},
        {"length over the limit",
         {0, 0, 0, 0, 1},
         8,
         1ull << 40,
         "header length is 4294967296 bytes, the limit is 104857600"},
        {"length of all ones",
         {255, 255, 255, 255, 255, 255, 255, 255},
         8,
         100,
         "header length is 18446744073709551615 bytes"},
    };

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct sy_error err = SY_ERROR_INIT;
        size_t n = 0;
        enum sy_status st = sy_safetensors_head_bytes("x.safetensors", lengths[i].prefix, lengths[i].n_prefix,
                                                      lengths[i].file_bytes, &n, &err);
        ok(st == SY_ERR_DATA && strstr(err.text, lengths[i].part), "refused: %s (%s)", lengths[i].what, err.text);
    }
    struct sy_safetensors out;
    struct sy_error err = SY_ERROR_INIT;
    uint8_t head[12] = {100};
    ok(sy_safetensors_parse("x.safetensors", head, sizeof head, 1000, 0, &out, &err) == SY_ERR_DATA &&
           strstr(err.text, "header is 108 bytes, but 12 bytes of it are here"),
       "a head that is not all there");
}

/* A header of the size that the largest published models have. */
static void test_large(void)
{
    struct sy_buf text = SY_BUF_INIT;
    struct sy_safetensors st;
    struct sy_error err = SY_ERROR_INIT;
    int n = 90000;

    sy_buf_printf(&text, "{");
    for (int i = 0; i < n; i++) {
        int at = (int)(((int64_t)i * 7919) % n); /* not in order */
        sy_buf_printf(&text,
                      "%s\"model.layers.%d.mlp.experts.%d.gate_proj.weight\":{\"dtype\":\"BF16\",\"shape\":[2,2],"
                      "\"data_offsets\":[%d,%d]}",
                      i ? "," : "", at % 61, at, at * 8, at * 8 + 8);
    }
    sy_buf_printf(&text, "}");
    int64_t begin_ns = sy_clock_ns();
    enum sy_status found = parse((const char *)text.data, (size_t)n * 8, &st, &err);
    double seconds = (double)(sy_clock_ns() - begin_ns) * 1e-9;
    ok(!found && st.n_tensors == (size_t)n, "a header of %d tensors is read", n);
    diag("%.3f s for %zu bytes", seconds, text.len);
    ok(seconds < (getenv("SY_VALGRIND") ? 200 : 10), "in a moment, not in quadratic time");
    if (!found)
        sy_safetensors_fini(&st);
    sy_buf_fini(&text);
}

int main(void)
{
    test_cases();
    test_values();
    test_length();
    test_large();
    done();
    return tap_exit();
}
