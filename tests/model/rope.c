/* SPDX-License-Identifier: Apache-2.0
 * rope.c - tests of the rotary table against inverse frequencies of transformers 5.17 (modeling_rope_utils.py, float32)
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/config.h"
#include "tap.h"

static const struct {
    const char *what;
    int head_dim, max_context;
    const char *config;
    double attention_factor;
    double inverse[8]; /* head_dim / 2 of them, fewer with a partial factor */
} cases[] = {
    {"default",
     8,
     256,
     "{\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":10000.0}}",
     1,
     {1, 0.100000001, 0.00999999978, 0.00100000005}},
    {"default, older keys",
     8,
     256,
     "{\"rope_theta\":10000.0,\"rope_scaling\":null}",
     1,
     {1, 0.100000001, 0.00999999978, 0.00100000005}},
    {"default, half of the head",
     16,
     256,
     "{\"rope_theta\":10000.0,\"partial_rotary_factor\":0.5}",
     1,
     {1, 0.100000001, 0.00999999978, 0.00100000005}},
    {"linear",
     8,
     256,
     "{\"rope_parameters\":{\"rope_type\":\"linear\",\"rope_theta\":10000.0,\"factor\":4.0}}",
     1,
     {0.25, 0.0250000004, 0.00249999994, 0.000250000012}},
    {"linear, older keys",
     8,
     256,
     "{\"rope_theta\":10000,\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}}",
     1,
     {0.25, 0.0250000004, 0.00249999994, 0.000250000012}},
    {"yarn",
     16,
     256,
     "{\"rope_parameters\":{\"rope_type\":\"yarn\",\"rope_theta\":1000000.0,\"factor\":4.0,"
     "\"original_max_position_embeddings\":64}}",
     1.13862944,
     {1, 0.111142464, 0.00790569466, 0.00140585331, 0.000250000012, 4.44569851e-05, 7.90569356e-06, 1.40585337e-06}},
    {"yarn, older keys, factor from the contexts",
     16,
     256,
     "{\"rope_theta\":1000000,\"original_max_position_embeddings\":64,\"rope_scaling\":{\"type\":\"yarn\","
     "\"factor\":null}}",
     1.13862944,
     {1, 0.111142464, 0.00790569466, 0.00140585331, 0.000250000012, 4.44569851e-05, 7.90569356e-06, 1.40585337e-06}},
    {"yarn, ramp not truncated",
     16,
     256,
     "{\"rope_parameters\":{\"rope_type\":\"yarn\",\"rope_theta\":150000.0,\"factor\":32.0,"
     "\"original_max_position_embeddings\":4096,"
     "\"beta_fast\":32.0,\"beta_slow\":1.0,\"truncate\":false}}",
     1.34657359,
     {1, 0.225418001, 0.0508132726, 0.00679495931, 0.000456483918, 1.8188337e-05, 4.09997847e-06, 9.24208962e-07}},
    {"yarn, mscale",
     16,
     256,
     "{\"rope_parameters\":{\"rope_type\":\"yarn\",\"rope_theta\":10000.0,\"factor\":40.0,"
     "\"original_max_position_embeddings\":4096,"
     "\"beta_fast\":32,\"beta_slow\":1,\"mscale\":0.707,\"mscale_all_dim\":1.0}}",
     0.921042355,
     {1, 0.316227764, 0.100000001, 0.0239147246, 0.00512499968, 0.000849862176, 2.49999994e-05, 7.90569447e-06}},
    {"yarn, attention_factor",
     16,
     256,
     "{\"rope_parameters\":{\"rope_type\":\"yarn\",\"rope_theta\":10000.0,\"factor\":2.0,"
     "\"original_max_position_embeddings\":128,"
     "\"attention_factor\":1.25}}",
     1.25,
     {1, 0.263523132, 0.0666666627, 0.0158113893, 0.00499999989, 0.00158113893, 0.000500000024, 0.000158113893}},
    {"yarn, betas",
     12,
     4096,
     "{\"rope_parameters\":{\"rope_type\":\"yarn\",\"rope_theta\":500.0,\"factor\":8.0,"
     "\"original_max_position_embeddings\":512,"
     "\"beta_fast\":16,\"beta_slow\":2}}",
     1.20794415,
     {1, 0.354953676, 0.0892444029, 0.0186339002, 0.0019842512, 0.000704317412}},
    /* A sequence cannot be longer than max_position_embeddings, so it never has other angles than by default. */
    {"dynamic",
     8,
     256,
     "{\"rope_parameters\":{\"rope_type\":\"dynamic\",\"rope_theta\":10000.0,\"factor\":4.0}}",
     1,
     {1, 0.100000001, 0.00999999978, 0.00100000005}},
    {"llama3",
     16,
     4096,
     "{\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":10000.0,\"factor\":8.0,\"low_freq_factor\":1.0,"
     "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":512}}",
     1,
     {1, 0.316227764, 0.100000001, 0.0184966773, 0.00124999997, 0.000395284733, 0.000125000006, 3.95284733e-05}},
};

/* LongRoPE: the factors of both kinds of sequences, and the frequencies that transformers makes of them. */
#define LONG_FACTORS \
    "\"short_factor\":[1.0,1.02,1.05,1.1,1.25,1.5,2.0,2.25],\"long_factor\":[1.0,1.5,2.25,4.0,8.5,16.25,31,40]"

static const double long_inverse[2][8] = {
    {1, 0.310027212, 0.095238097, 0.0287479796, 0.00800000038, 0.00210818532, 0.000500000024, 0.000140545671},
    {1, 0.210818499, 0.0444444455, 0.00790569466, 0.00117647054, 0.0001946017, 3.22580636e-05, 7.90569447e-06},
};

static const struct {
    const char *what, *config;
    double factors[2]; /* of cosines and sines */
} long_cases[] = {
    {"longrope",
     "{\"rope_parameters\":{\"rope_type\":\"longrope\",\"rope_theta\":10000.0,"
     "\"original_max_position_embeddings\":64," LONG_FACTORS "}}",
     {1.29099445, 1.29099445}},
    {"longrope, older keys",
     "{\"rope_theta\":10000,\"original_max_position_embeddings\":64,\"rope_scaling\":{\"type\":"
     "\"su\"," LONG_FACTORS "}}",
     {1.29099445, 1.29099445}},
    {"longrope, factor",
     "{\"rope_theta\":10000,\"rope_scaling\":{\"type\":\"longrope\",\"factor\":8,"
     "\"original_max_position_embeddings\":64," LONG_FACTORS "}}",
     {1.22474487, 1.22474487}},
    {"longrope, attention_factor",
     "{\"rope_theta\":10000,\"rope_scaling\":{\"type\":\"longrope\",\"attention_factor\":1.5,"
     "\"original_max_position_embeddings\":64," LONG_FACTORS "}}",
     {1.5, 1.5}},
    {"longrope of Phi-3.5-MoE",
     "{\"rope_theta\":10000,\"rope_scaling\":{\"type\":\"longrope\",\"short_mscale\":1.1,"
     "\"long_mscale\":1.3,\"original_max_position_embeddings\":64," LONG_FACTORS "}}",
     {1.1, 1.3}},
};

enum { N = 200 };

/* The table for sequences of up to N positions. */
static float *make_table(const struct sy_rope *rope)
{
    size_t n = sy_rope_rows(rope, N) * (size_t)rope->rotary_dim;
    float *table = malloc(n * sizeof *table);

    for (size_t i = 0; i < n; i++)
        table[i] = NAN;
    sy_rope_table(rope, N, table);
    return table;
}

/* The largest difference of n rows of a table from cosines and sines of the given frequencies. */
static double rows_difference(const struct sy_rope *rope, const float *table, int n, const double *inverse,
                              double factor)
{
    int half = rope->rotary_dim / 2;
    double worst = 0;

    for (int p = 0; p < n; p++) {
        for (int i = 0; i < half; i++) {
            double c = fabs(table[p * rope->rotary_dim + i] - factor * cos(p * inverse[i]));
            double s = fabs(table[p * rope->rotary_dim + half + i] - factor * sin(p * inverse[i]));
            /* Written so that a NaN counts as a difference. */
            if (!(c <= worst))
                worst = c;
            if (!(s <= worst))
                worst = s;
        }
    }
    return worst;
}

static double difference(const struct sy_rope *rope, const double *inverse, double factor)
{
    float *table = make_table(rope);
    double worst = rows_difference(rope, table, N, inverse, factor);

    free(table);
    return worst;
}

static void test_long(void)
{
    for (size_t i = 0; i < sizeof long_cases / sizeof long_cases[0]; i++) {
        struct sy_config c = {.head_dim = 16, .max_context = 1024, .path = "config.json"};
        struct sy_error err = SY_ERROR_INIT;
        struct sy_family family = {.architecture = "x", .rope_theta = 3};
        struct sy_rope rope;
        json_t *json;
        if (sy_json_parse("case", long_cases[i].config, strlen(long_cases[i].config), 8, &json, &err))
            bail("%s", err.text);
        c.json = json;
        c.family = &family;
        if (!ok(!sy_rope_read(&c, &rope, &err), "%s is read", long_cases[i].what))
            bail("%s", err.text);
        ok(sy_rope_short_context(&rope) == 64 && sy_rope_rows(&rope, 64) == 64 && sy_rope_rows(&rope, 65) == 64 + 65,
           "%s: long sequences have rows of their own", long_cases[i].what);
        float *table = make_table(&rope);
        double of_short = rows_difference(&rope, table, 64, long_inverse[0], long_cases[i].factors[0]);
        double of_long = rows_difference(&rope, table + (ptrdiff_t)64 * rope.rotary_dim, N, long_inverse[1],
                                         long_cases[i].factors[1]);
        ok(of_short < 2e-5 && of_long < 2e-5, "%s: both parts of the table (off by %.1e and %.1e)", long_cases[i].what,
           of_short, of_long);
        free(table);
        json_decref(json);
    }
}

/* What latent attention makes of mscale_all_dim: m^2 of the note in DeepSeek-V2's and V3's own code, 1.59 and 1.87. */
static void test_scores(void)
{
    static const struct {
        int kv_lora_rank;
        const char *config;
        double score_factor;
    } scores[] = {
        {512, "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40,\"mscale\":0.707,\"mscale_all_dim\":0.707}}",
         1.5896262},
        {512, "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40,\"mscale\":1.0,\"mscale_all_dim\":1.0}}", 1.8738542},
        {512, "{\"rope_interleave\":false,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40}}", 1},
        {0, "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40,\"mscale\":1.0,\"mscale_all_dim\":1.0}}", 1},
    };

    for (size_t i = 0; i < sizeof scores / sizeof scores[0]; i++) {
        struct sy_config c = {
            .head_dim = 64, .max_context = 4096, .path = "config.json", .mla.kv_lora_rank = scores[i].kv_lora_rank};
        struct sy_error err = SY_ERROR_INIT;
        struct sy_family family = {.architecture = "x", .rope_theta = 1e4};
        struct sy_rope rope;
        json_t *json;
        if (sy_json_parse("case", scores[i].config, strlen(scores[i].config), 8, &json, &err))
            bail("%s", err.text);
        c.json = json;
        c.family = &family;
        enum sy_status st = sy_rope_read(&c, &rope, &err);
        ok(!st && fabs(rope.score_factor - scores[i].score_factor) < 1e-6 && rope.interleaved == (i < 2),
           "scores of latent attention times %g, pairs side by side unless said otherwise (%g)", scores[i].score_factor,
           rope.score_factor);
        json_decref(json);
    }
}

int main(void)
{
    size_t n = sizeof cases / sizeof cases[0];

    plan((int)n * 3 + (int)(sizeof long_cases / sizeof long_cases[0]) * 3 + 5);
    for (size_t i = 0; i < n; i++) {
        struct sy_config c = {
            .head_dim = cases[i].head_dim, .max_context = cases[i].max_context, .path = "config.json"};
        struct sy_error err = SY_ERROR_INIT;
        struct sy_family family = {.architecture = "x", .rope_theta = 3};
        struct sy_rope rope;
        json_t *json;
        if (sy_json_parse("case", cases[i].config, strlen(cases[i].config), 8, &json, &err))
            bail("%s", err.text);
        c.json = json;
        c.family = &family;
        if (!ok(!sy_rope_read(&c, &rope, &err), "%s is read", cases[i].what))
            bail("%s", err.text);
        is_close(rope.attention_factor, cases[i].attention_factor, 0, 1e-7, "%s: attention factor", cases[i].what);
        /* The reference frequencies are float32: 200 positions times 6e-8. */
        double worst = difference(&rope, cases[i].inverse, cases[i].attention_factor);
        ok(worst < 2e-5, "%s: table of 200 positions (off by %.1e)", cases[i].what, worst);
        json_decref(json);
    }
    test_scores();
    test_long();
    struct sy_rope rope = {.kind = SY_ROPE_DEFAULT, .theta = 1e4, .attention_factor = 1, .rotary_dim = 8};
    double wrong[4] = {1, 0.1, 0.01, 0.0011};
    ok(difference(&rope, wrong, 1) > 1e-3, "a wrong frequency is noticed");
    return tap_exit();
}
