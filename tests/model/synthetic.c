/* SPDX-License-Identifier: Apache-2.0
 * synthetic.c - named shapes have the sizes of the models they stand for; their weights are a function of seed and place
 */
#include "model/synthetic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "model/model.h"
#include "tap.h"

/* Parameters in all and for one token, in billions, as the publishers give them (small, slice: counted by hand). */
static const struct {
    const char *name;
    double total, active;
} sizes[] = {
    {"small", 0.502, 0.150},
    {"olmoe", 6.92, 1.28},
    {"slice", 5.09, 0.555},
    {"qwen3-30b-a3b", 30.5, 3.35},
    {"qwen3-235b-a22b", 235.1, 22.2},
    {"qwen3-coder-480b-a35b", 480.2, 35.5},
    {"mixtral-8x7b", 46.7, 12.9},
    {"mixtral-8x22b", 140.6, 39.2},
    {"gpt-oss-20b", 20.9, 4.19},
    {"deepseek-v3-experts", 46.0, 2.34},
    {"deepseek-v3-ep8", 6.56, 1.10},
};

#define N_SIZES (sizeof sizes / sizeof sizes[0])

static struct sy_checkpoint *open_shape(const char *name, uint64_t seed)
{
    const struct sy_shape *shape = sy_shape_find(name);
    struct sy_checkpoint *ckpt = NULL;
    struct sy_error err = SY_ERROR_INIT;

    if (!shape || sy_checkpoint_synthetic(shape, seed, &ckpt, &err))
        bail("%s: %s", name, err.text);
    return ckpt;
}

static void check_sizes(void)
{
    size_t n_shapes;

    sy_shapes(&n_shapes);
    is_int((int64_t)n_shapes, (int64_t)N_SIZES, "the sizes of every shape are checked");
    ok(!sy_shape_find("smal"), "an unknown shape is not found");
    for (size_t i = 0; i < N_SIZES; i++) {
        struct sy_checkpoint *ckpt = open_shape(sizes[i].name, 1);
        struct sy_error err = SY_ERROR_INIT;
        struct sy_model *model = NULL;
        int64_t total = 0, active = 0;
        if (!ok(!sy_model_create(ckpt, &model, &err), "%s is a model", sizes[i].name))
            diag("%s", err.text);
        if (model)
            sy_model_parameters(model, &total, &active);
        is_close((double)total * 1e-9, sizes[i].total, 0, 0.005, "%s: parameters", sizes[i].name);
        is_close((double)active * 1e-9, sizes[i].active, 0, 0.015, "%s: parameters of a token", sizes[i].name);
        sy_model_destroy(model);
        sy_checkpoint_close(ckpt);
    }
}

static uint16_t *fetch(struct sy_checkpoint *ckpt, const char *name, uint64_t begin, size_t n)
{
    const struct sy_tensor *tensor = sy_checkpoint_find(ckpt, name);
    struct sy_error err = SY_ERROR_INIT;
    uint8_t *data = malloc(n + 1);

    if (!tensor || !data)
        bail("%s: not there", name);
    data[n] = 0xa5;
    if (sy_checkpoint_fetch(ckpt, tensor, begin, n, data, &err))
        bail("%s", err.text);
    if (data[n] != 0xa5)
        bail("%s: written past the end", name);
    return (uint16_t *)(void *)data;
}

/* Mean and root mean square of n elements. */
static void moments(const uint16_t *data, size_t n, double *mean, double *rms)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++) {
        double x = (double)sy_bf16_widen(data[i]);
        sum += x;
        squares += x * x;
    }
    *mean = sum / (double)n;
    *rms = sqrt(squares / (double)n);
}

static void check_moments(struct sy_checkpoint *ckpt)
{
    static const struct {
        const char *name;
        size_t n;
        double rms;
    } cases[] = {
        {"model.embed_tokens.weight", 1 << 20, 1},
        {"model.layers.0.self_attn.q_proj.weight", 1 << 20, 1.0 / 32},
        {"model.layers.3.mlp.experts.5.down_proj.weight", 1 << 19, 1 / 22.627},
        {"model.layers.7.mlp.gate.weight", 1 << 15, 1.0 / 32},
        {"lm_head.weight", 1 << 20, 1.0 / 32},
    };
    double mean, rms;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint16_t *data = fetch(ckpt, cases[i].name, 0, cases[i].n * 2);
        moments(data, cases[i].n, &mean, &rms);
        is_close(mean / rms, 0, 5 / sqrt((double)cases[i].n), 0, "%s: symmetric", cases[i].name);
        ok(rms > cases[i].rms / 1.45 && rms < cases[i].rms * 1.45, "%s: deviation %g is about %g", cases[i].name, rms,
           cases[i].rms);
        free(data);
    }
    uint16_t *norm = fetch(ckpt, "model.layers.2.input_layernorm.weight", 0, 2048);
    bool near = true;
    for (int i = 0; i < 1024; i++)
        near = near && sy_bf16_widen(norm[i]) >= 1 && sy_bf16_widen(norm[i]) <= 1.25f;
    ok(near, "weights of norms are about 1");
    free(norm);
}

/* Whatever is fetched, however it is cut and by whom, a byte is the same. */
static void check_places(struct sy_checkpoint *ckpt)
{
    static const char name[] = "model.layers.1.mlp.experts.31.up_proj.weight";
    enum { N = 4096 };
    struct sy_checkpoint *twin = open_shape("small", 7), *other = open_shape("small", 8);
    uint16_t *whole = fetch(ckpt, name, 0, N), *again = fetch(twin, name, 0, N), *seeded = fetch(other, name, 0, N);
    uint16_t *neighbour = fetch(ckpt, "model.layers.1.mlp.experts.30.up_proj.weight", 0, N);
    bool same = true;

    ok(!memcmp(whole, again, N), "another rank's checkpoint has the same weights");
    ok(memcmp(whole, seeded, N) != 0, "another seed gives others");
    ok(memcmp(whole, neighbour, N) != 0, "so does another tensor");
    for (size_t begin = 0; begin < 24; begin++)
        for (size_t n = 0; n < 40; n++) {
            uint16_t *piece = fetch(ckpt, name, begin, n);
            same = same && !memcmp(piece, (uint8_t *)whole + begin, n);
            free(piece);
        }
    ok(same, "pieces of any place and length are those of the whole");
    free(whole);
    free(again);
    free(seeded);
    free(neighbour);
    sy_checkpoint_close(twin);
    sy_checkpoint_close(other);
}

int main(void)
{
    struct sy_checkpoint *ckpt = open_shape("small", 7);

    check_sizes();
    check_moments(ckpt);
    check_places(ckpt);
    sy_checkpoint_close(ckpt);
    done();
    return tap_exit();
}
