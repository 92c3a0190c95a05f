/* SPDX-License-Identifier: Apache-2.0
 * rows.c - RMSNorm, RoPE, clamp, add, convert, buffers, element types and instruction sets
 */
#include "common.h"

static const void *row_at(enum sy_dtype dtype, const void *rows, size_t stride, size_t row)
{
    return (const uint8_t *)rows + row * stride * sy_dtype_bytes(dtype);
}

/* The first `width` elements of two rows, whose strides may differ, are the same. */
static bool same_row(enum sy_dtype dtype, const void *a, size_t a_stride, const void *b, size_t b_stride, size_t width)
{
    size_t bytes = part_bytes(dtype);
    bool same = memcmp(a, b, width * bytes) == 0;

    return same && (dtype != SY_BF16X2 || memcmp((const uint8_t *)a + a_stride * bytes,
                                                 (const uint8_t *)b + b_stride * bytes, width * bytes) == 0);
}

/* Runs of some rows against double. */
static void check_rmsnorm(const float *x, size_t x_stride, const void *y, enum sy_dtype y_dtype, size_t y_stride,
                          int n_rows, int n_heads, int width, const float *weight, double *ratio)
{
    for (int t = 0; t < n_rows * n_heads; t++) {
        size_t row = (size_t)(t / n_heads), head = (size_t)(t % n_heads * width);
        const float *from = x + row * x_stride + head;
        double sum = 0.0;
        for (int k = 0; k < width; k++)
            sum += (double)from[k] * (double)from[k];
        double scale = 1.0 / sqrt(sum / width + 1e-5);
        for (int k = 0; k < width; k++) {
            double want = (double)from[k] * scale * (double)weight[k];
            double bound = (width + 8) * EPS * fabs(want) + 1e-37;
            worst(ratio, (double)sy_row_float(y_dtype, row_at(y_dtype, y, y_stride, row), y_stride, head + (size_t)k),
                  want, stored_bound(y_dtype, want, bound));
        }
    }
}

/* The first run of each row, three rows at a time, has the bits that it has in y; in place where y is SY_F32. */
static bool rmsnorm_again(const struct sy_kernels *backend, const float *x, size_t x_stride, const uint8_t *y,
                          enum sy_dtype y_dtype, size_t y_stride, int n_rows, int width, const float *weight)
{
    size_t element = sy_dtype_bytes(y_dtype), run = (size_t)width;
    float *from = new_floats(3 * run);
    uint8_t *to = y_dtype == SY_F32 ? (void *)from : new_bytes(3 * run * element);
    bool held = true;

    for (int t = 0; t + 3 <= n_rows; t += 3) {
        for (int k = 0; k < 3; k++)
            memcpy(from + k * width, x + (size_t)(t + k) * x_stride, run * sizeof *x);
        backend->rmsnorm(queues[0], from, run, 3, 1, width, weight, 1e-5f, to, y_dtype, run);
        for (size_t k = 0; k < 3; k++)
            held = held && same_row(y_dtype, to + k * run * element, run, row_at(y_dtype, y, y_stride, (size_t)t + k),
                                    y_stride, run);
    }
    if (y_dtype != SY_F32)
        free_bytes(to);
    free_bytes(from);
    return held;
}

static void test_rmsnorm(const struct sy_kernels *backend, enum sy_dtype y_dtype)
{
    static const int widths[] = {1, 7, 8, 16, 33, 64, 129, 1000, 2048};
    double ratio = 0.0;
    bool outside = false, exact = true, nan = true;
    char what[40];
    size_t element = sy_dtype_bytes(y_dtype);

    for (int i = 0; i < 9; i++) {
        int n_rows = i % 2 ? 19 : 64, width = widths[i], n_heads = 1 + i % 4;
        size_t full = (size_t)(n_heads * width);
        size_t x_stride = full + (size_t)i, y_stride = full + 2 * (size_t)i,
               bytes = (size_t)n_rows * y_stride * element;
        float *x = random_rows(SY_F32, n_rows, (int)full, x_stride), *weight = random_rows(SY_F32, 1, width, full);
        uint8_t *y = new_output(bytes), *clean = new_bytes(bytes);
        backend->rmsnorm(queues[i % THREADS_MAX], x, x_stride, n_rows, n_heads, width, weight, 1e-5f, y, y_dtype,
                         y_stride);
        check_rmsnorm(x, x_stride, y, y_dtype, y_stride, n_rows, n_heads, width, weight, &ratio);
        exact = exact && rmsnorm_again(backend, x, x_stride, y, y_dtype, y_stride, n_rows, width, weight);
        for (size_t t = 0; t < (size_t)n_rows; t++)
            outside = outside || !row_untouched_outside(y_dtype, y, y_stride, t, 0, full);
        outside = outside || !fences_hold(y, bytes);
        memcpy(clean, y, bytes);
        x[3 * x_stride] = NAN;
        backend->rmsnorm(queues[0], x, x_stride, n_rows, n_heads, width, weight, 1e-5f, y, y_dtype, y_stride);
        for (size_t k = 0; k < (size_t)width; k++)
            nan = nan && isnan(sy_row_float(y_dtype, row_at(y_dtype, y, y_stride, 3), y_stride, k));
        for (size_t part = 0; part < element / part_bytes(y_dtype); part++) {
            size_t at = sy_row_index(y_dtype, y_stride, 3, part * y_stride) * part_bytes(y_dtype);
            memcpy(y + at, clean + at, (size_t)width * part_bytes(y_dtype));
        }
        nan = nan && memcmp(y, clean, bytes) == 0;
        free_output(x);
        free_output(weight);
        free_output(y);
        free_bytes(clean);
    }
    snprintf(what, sizeof what, "rmsnorm to %s", sy_dtype_name(y_dtype));
    ok_worst(ratio, backend->name, what);
    ok(!outside, "%s: rmsnorm to %s writes nothing outside y", backend->name, sy_dtype_name(y_dtype));
    ok(exact, "%s: rmsnorm to %s: the same bits with any other rows, and in place", backend->name,
       sy_dtype_name(y_dtype));
    ok(nan, "%s: rmsnorm to %s: NaN stays in its run", backend->name, sy_dtype_name(y_dtype));
}

static void test_layernorm(const struct sy_kernels *backend, enum sy_dtype y_dtype)
{
    static const int widths[] = {1, 2, 15, 64, 130, 1000, 4096};
    double ratio = 0.0;
    bool fenced = true, exact = true;
    char what[40];

    for (int i = 0; i < 7; i++) {
        int width = widths[i], T = 23;
        size_t x_stride = (size_t)(width + random_int(0, 5)), y_stride = (size_t)width;
        size_t element = sy_dtype_bytes(y_dtype);
        float *x = random_floats((size_t)T * x_stride), *weight = random_floats((size_t)width);
        float *bias = random_floats((size_t)width), shift = i % 2 ? 40.0f : 0.0f;
        uint8_t *y = new_output((size_t)T * y_stride * element), *again = new_bytes((size_t)width * element);
        for (size_t j = 0; j < (size_t)T * x_stride; j++)
            x[j] += shift;
        backend->layernorm(queues[i % THREADS_MAX], x, x_stride, T, width, weight, bias, 1e-5f, y, y_dtype, y_stride);
        for (int t = 0; t < T; t++) {
            const float *row = x + (size_t)t * x_stride;
            double mean = 0.0, variance = 0.0;
            for (int j = 0; j < width; j++)
                mean += (double)row[j] / width;
            for (int j = 0; j < width; j++)
                variance += ((double)row[j] - mean) * ((double)row[j] - mean) / width;
            double scale = 1 / sqrt(variance + 1e-5);
            for (int j = 0; j < width; j++) {
                double turned = ((double)row[j] - mean) * scale * (double)weight[j], want = turned + (double)bias[j];
                /* The mean is off by some roundings of x itself, which the scale makes larger. */
                double bound = 8 * EPS * (fabs(turned) + fabs((double)bias[j])) +
                               (width + 8) * EPS * (1 + (double)shift) * scale * fabs((double)weight[j]);
                worst(&ratio,
                      (double)sy_row_float(y_dtype, row_at(y_dtype, y, y_stride, (size_t)t), y_stride, (size_t)j), want,
                      stored_bound(y_dtype, want, bound));
            }
            backend->layernorm(queues[0], row, x_stride, 1, width, weight, bias, 1e-5f, again, y_dtype, y_stride);
            exact = exact && !memcmp(again, y + (size_t)t * y_stride * element, (size_t)width * element);
        }
        fenced = fenced && fences_hold(y, (size_t)T * y_stride * element);
        free_bytes(x);
        free_bytes(weight);
        free_bytes(bias);
        free_bytes(again);
        free_output(y);
    }
    snprintf(what, sizeof what, "layernorm to %s", sy_dtype_name(y_dtype));
    ok_worst(ratio, backend->name, what);
    ok(fenced, "%s: layernorm writes nothing outside y", backend->name);
    ok(exact, "%s: layernorm: the same bits alone", backend->name);
}

/* Random rows of any strides, a NaN among them, in two parts. */
static void test_split(const struct sy_kernels *backend)
{
    bool held = true, outside = false;

    for (int i = 0; i < 8; i++) {
        int T = random_int(0, 40), width = i % 2 ? random_int(1, 40) : random_int(500, 3000);
        size_t x_stride = (size_t)(width + random_int(0, 5)), y_stride = (size_t)(width + random_int(0, 5));
        size_t bytes = (size_t)T * y_stride * sy_dtype_bytes(SY_BF16X2);
        float *x = random_rows(SY_F32, T, width, x_stride);
        void *y = new_output(bytes);
        if (T)
            x[(size_t)random_int(0, T - 1) * x_stride] = NAN;
        backend->split(queues[i % THREADS_MAX], x, x_stride, T, width, y, y_stride);
        for (size_t t = 0; t < (size_t)T; t++) {
            for (size_t k = 0; k < (size_t)width; k++) {
                float f = x[t * x_stride + k];
                uint16_t parts[2], *found = (uint16_t *)y + sy_row_index(SY_BF16X2, y_stride, t, k);
                store_parts(parts, 0, 1, f);
                held = held && (f != f ? isnan(sy_row_float(SY_BF16X2, found, y_stride, 0)) != 0
                                       : found[0] == parts[0] && found[y_stride] == parts[1]);
            }
            outside = outside || !row_untouched_outside(SY_BF16X2, y, y_stride, t, 0, (size_t)width);
        }
        outside = outside || !fences_hold(y, bytes);
        free_output(x);
        free_output(y);
    }
    ok(held, "%s: split makes the nearest BF16 and the nearest of what is left", backend->name);
    ok(!outside, "%s: split writes nothing outside y", backend->name);
}

/* One factor for all, and each row's own sigmoid. */
static void test_factors(const struct sy_kernels *backend)
{
    double ratio = 0.0;
    bool exact = true, fenced = true;

    for (int i = 0; i < 6; i++) {
        int width = random_int(1, 70) * (i % 2 ? 40 : 1), T = random_int(0, 40);
        size_t stride = (size_t)(width + 3), n = (size_t)T * stride, dense = (size_t)(T * width);
        float *before = random_floats(n), *x = new_output(n * sizeof *x), *y = new_output(dense * sizeof *y);
        float *logits = random_floats((size_t)T), factor = random_float();
        for (int t = 0; t < T; t++) {
            memcpy(x + (size_t)t * stride, before + (size_t)t * stride, (size_t)width * sizeof *x);
            memcpy(y + t * width, before + (size_t)t * stride, (size_t)width * sizeof *x);
        }
        backend->scale(queues[i % THREADS_MAX], x, stride, T, width, factor);
        backend->weigh(queues[i % THREADS_MAX], y, T, width, logits);
        for (int t = 0; t < T; t++) {
            double weight = 1 / (1 + exp(-(double)logits[t]));
            for (int j = 0; j < width; j++) {
                float from = before[(size_t)t * stride + (size_t)j];
                exact = exact && x[(size_t)t * stride + (size_t)j] == from * factor;
                worst(&ratio, (double)y[t * width + j], (double)from * weight, 4e-7 * fabs((double)from));
            }
            fenced = fenced && is_untouched(x + (size_t)t * stride + (size_t)width, 0, 3 * sizeof *x);
        }
        fenced = fenced && fences_hold(x, n * sizeof *x) && fences_hold(y, dense * sizeof *y);
        free_bytes(before);
        free_bytes(logits);
        free_output(x);
        free_output(y);
    }
    ok(exact, "%s: scale", backend->name);
    ok_worst(ratio, backend->name, "weigh");
    ok(fenced, "%s: scale and weigh write nothing outside", backend->name);
}

/* x in double, turned by the table's entries. */
static void exact_rope(const struct sy_rotation *r, const float *x, const float *table, int i, double *want,
                       double *bound)
{
    int half = r->rotary_dim / 2, pair = r->interleaved ? i / 2 : i % (half ? half : 1);
    bool second = r->interleaved ? i % 2 : i >= half;

    *want = (double)x[i];
    *bound = 0.0;
    if (i < 2 * half) {
        double a = (double)x[r->interleaved ? 2 * pair : pair];
        double b = (double)x[r->interleaved ? 2 * pair + 1 : pair + half];
        double c = (double)table[pair], s = (double)table[half + pair];
        *want = second ? b * c + a * s : a * c - b * s;
        *bound = 3 * EPS * (fabs(a) + fabs(b));
    }
}

struct rope_errors {
    double ratio;
    bool outside, exact, rounded;
};

/* Heads of x_head dims of which `width` from `offset` on turn or are rounded; to the same place or into heads of another
 * size. What lies around them in y stays. */
static void check_rope(const struct sy_kernels *backend, struct sy_rotation r, int x_head, int offset, bool in_place,
                       struct rope_errors *e)
{
    enum { T = 41, N_POSITIONS = 50, N_TURNS = 30 };
    int y_head = in_place ? x_head : r.width + random_int(0, 9);
    size_t x_stride = (size_t)(r.n_heads * x_head + 3),
           y_stride = in_place ? x_stride : (size_t)(r.n_heads * y_head + 5);
    size_t y_at = in_place ? (size_t)offset : 0, y_bytes = T * y_stride * sizeof(float);
    float *x = random_floats(T * x_stride), *y = new_output(y_bytes), *before = new_floats(T * y_stride);
    float *table = random_floats((N_POSITIONS + N_TURNS) * (size_t)(r.rotary_dim + 1)), *alone = new_floats(y_stride);
    struct sy_attention_row *rows = new_bytes(T * sizeof *rows);

    for (int t = 0; t < T; t++)
        rows[t] = (struct sy_attention_row){NULL, random_int(0, N_POSITIONS - 1), random_int(0, N_TURNS)};
    if (in_place)
        memcpy(y, x, y_bytes);
    memcpy(before, y, y_bytes);
    r.n_rows = T;
    r.rows = rows;
    r.cos_sin = table;
    r.x = (in_place ? y : x) + offset;
    r.y = y + y_at;
    r.x_stride = x_stride;
    r.x_head = (size_t)x_head;
    r.y_stride = y_stride;
    r.y_head = (size_t)y_head;
    backend->rope(queues[random_int(0, THREADS_MAX - 1)], &r);
    for (int t = 0; t < T; t++) {
        const float *found = y + (size_t)t * y_stride;
        for (size_t k = 0; k < y_stride; k++) {
            int h = (int)((k - y_at) / (size_t)y_head), i = (int)((k - y_at) % (size_t)y_head);
            double want, bound;
            if (k < y_at || h >= r.n_heads || i >= r.width) {
                e->outside = e->outside || memcmp(&found[k], &before[(size_t)t * y_stride + k], sizeof *found) != 0;
                continue;
            }
            exact_rope(&r, x + (size_t)t * x_stride + h * x_head + offset,
                       table + (rows[t].turn + rows[t].position) * r.rotary_dim, i, &want, &bound);
            worst(&e->ratio, (double)found[k], want,
                  bound + (r.round == SY_ROUND_BF16 ? fabs(want) / 255 : 0.0) + 1e-37);
            e->rounded = e->rounded && (r.round == SY_ROUND_NONE || found[k] == sy_round_float(found[k], r.round));
        }
        /* The row alone, from x to another place. */
        struct sy_rotation one = r;
        memcpy(alone, before + (size_t)t * y_stride, y_stride * sizeof *alone);
        one.n_rows = 1;
        one.rows = &rows[t];
        one.x = x + (size_t)t * x_stride + offset;
        one.y = alone + y_at;
        backend->rope(queues[0], &one);
        e->exact = e->exact && memcmp(alone, found, y_stride * sizeof *alone) == 0;
    }
    e->outside = e->outside || !fences_hold(y, y_bytes);
    free_bytes(rows);
    free_bytes(x);
    free_output(y);
    free_bytes(before);
    free_bytes(table);
    free_bytes(alone);
}

static void test_rope(const struct sy_kernels *backend)
{
    /* Width, how many of it turn, dims before it and behind it in a head. */
    static const int dims[][4] = {{64, 64, 0, 0}, {128, 128, 0, 0}, {20, 20, 0, 0},   {64, 16, 0, 0}, {37, 10, 0, 0},
                                  {2, 2, 0, 0},   {8, 0, 0, 0},     {64, 64, 128, 0}, {18, 18, 5, 3}, {40, 34, 7, 0}};
    struct rope_errors e = {0.0, false, true, true};

    for (int i = 0; i < 80; i++) {
        const int *d = dims[i / 8];
        check_rope(backend,
                   (struct sy_rotation){.n_heads = random_int(1, 5),
                                        .width = d[0],
                                        .rotary_dim = d[1],
                                        .interleaved = i % 2,
                                        .round = i / 2 % 2 ? SY_ROUND_BF16 : SY_ROUND_NONE},
                   d[2] + d[0] + d[3], d[2], i / 4 % 2, &e);
    }
    ok_worst(e.ratio, backend->name, "rope turns pairs side by side or of halves, other dims stay");
    ok(e.rounded, "%s: rope rounds the whole width", backend->name);
    ok(!e.outside, "%s: rope writes nothing outside its part of the heads", backend->name);
    ok(e.exact, "%s: rope: a row alone, in place or not, has the same bits", backend->name);
}

static void test_elementwise(const struct sy_kernels *backend)
{
    int T = 67, width = random_int(900, 1100);
    size_t stride = (size_t)width + 7, n = (size_t)T * stride;
    float *before = random_floats(n), *x = new_output(n * sizeof *x), limit = 0.3f;
    float *y = random_floats((size_t)(T * width)), *sum = new_output((size_t)(T * width) * sizeof *sum);
    bool clamped = true, added = true;

    before[3] = NAN;
    before[4] = INFINITY;
    before[5] = -INFINITY;
    for (int t = 0; t < T; t++)
        memcpy(x + (size_t)t * stride, before + (size_t)t * stride, (size_t)width * sizeof *x);
    backend->clamp(queues[1], x, stride, T, width, limit);
    for (int t = 0; t < T; t++) {
        for (int i = 0; i < width; i++) {
            float a = before[(size_t)t * stride + (size_t)i], b = x[(size_t)t * stride + (size_t)i];
            clamped = clamped && (a != a ? b != b : b == fmaxf(-limit, fminf(limit, a)));
        }
        clamped = clamped && is_untouched(x + (size_t)t * stride + width, 0, 7 * sizeof *x);
    }
    ok(clamped && fences_hold(x, n * sizeof *x), "%s: clamp, and NaN stays", backend->name);
    memcpy(sum, before, (size_t)(T * width) * sizeof *sum);
    backend->add(queues[2], sum, y, T, width);
    for (int i = 0; i < T * width; i++)
        added = added && (sum[i] == before[i] + y[i] || before[i] != before[i]);
    ok(added && fences_hold(sum, (size_t)(T * width) * sizeof *sum), "%s: add", backend->name);
    free_bytes(before);
    free_output(x);
    free_bytes(y);
    free_output(sum);
}

/* All BF16 values there and back, and floats around every rounding border. */
static void test_convert(const struct sy_kernels *backend)
{
    static const uint32_t offsets[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    size_t n = 65536 * 6 + 5;
    uint16_t *half = new_output(n * 2), *all = new_bytes(65536 * 2);
    float *wide = new_bytes(n * 4), *widened = new_output(65536 * 4);
    bool narrow = true, widen = true, f16 = true;

    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)(i / 6 % 65536) << 16 | offsets[i % 6];
        memcpy(&wide[i], &bits, 4);
    }
    for (int i = 0; i < 65536; i++)
        all[i] = (uint16_t)i;
    backend->convert(queues[1], half, SY_BF16, wide, SY_F32, n);
    backend->convert(queues[2], widened, SY_F32, all, SY_BF16, 65535);
    for (size_t i = 0; i < n; i++)
        narrow = narrow && half[i] == sy_bf16_round(wide[i]) && isnan(wide[i]) == isnan(sy_bf16_widen(half[i]));
    for (int i = 0; i < 65535; i++) {
        uint32_t bits;
        memcpy(&bits, &widened[i], 4);
        widen = widen && bits == (uint32_t)i << 16;
    }
    ok(narrow && fences_hold(half, n * 2), "%s: F32 to BF16, ties to even, NaN kept", backend->name);
    ok(widen && is_untouched(widened, 65535 * 4, 65536 * 4), "%s: BF16 to F32, exactly n elements", backend->name);
    backend->convert(queues[0], widened, SY_F32, all, SY_F16, 65536);
    for (int i = 0; i < 65536; i++) {
        float want = sy_f16_widen((uint16_t)i);
        f16 = f16 && (want != want ? widened[i] != widened[i] : memcmp(&want, &widened[i], 4) == 0);
    }
    /* A loader converts on its own thread. */
    backend->convert(NULL, half, SY_F32, wide, SY_F32, 70000);
    ok(f16, "%s: every F16 value to F32", backend->name);
    ok(memcmp(half, wide, 70000 * 4) == 0, "%s: to the same type, every bit", backend->name);
    free_output(half);
    free_output(widened);
    free_bytes(all);
    free_bytes(wide);
}

static void test_buffers(const struct sy_kernels *backend)
{
    static const size_t sizes[] = {0, 1, 4096, 100001, (size_t)5 << 20};
    bool held = true, copied = true;

    for (int i = 0; i < 5; i++) {
        uint8_t *p = backend->alloc(sizes[i]), *shared = backend->alloc_host(sizes[i]), *seen = new_bytes(sizes[i]);
        held = held && p && shared && (uintptr_t)p % (backend->on_device ? 256 : 4096) == 0;
        for (size_t b = 0; held && b < sizes[i]; b++)
            held = shared[b] == 0;
        if (held && sizes[i]) {
            memset(seen, 0x5a, sizes[i]);
            backend->copy(queues[0], seen, p, sizes[i]);
            backend->queue_sync(queues[0], NULL);
            for (size_t b = 0; held && b < sizes[i]; b++)
                held = seen[b] == 0;
            memset(shared, 0x5a, sizes[i]);
            backend->copy(queues[0], p, shared, sizes[i]);
            backend->clear(queues[0], p + sizes[i] / 2, sizes[i] - sizes[i] / 2);
            backend->copy(queues[0], seen, p, sizes[i]);
            copied = copied && backend->queue_sync(queues[0], NULL) == SY_OK;
            for (size_t b = 0; copied && b < sizes[i]; b++)
                copied = seen[b] == (b < sizes[i] / 2 ? 0x5a : 0);
        }
        backend->free(p, sizes[i]);
        backend->free_host(shared, sizes[i]);
        free_bytes(seen);
    }
    backend->free(NULL, 4096);
    backend->free_host(NULL, 4096);
    ok(held, "%s: buffers are zeroed, and aligned", backend->name);
    ok(copied, "%s: copies and clearing, in order", backend->name);
    ok(backend->alloc(SIZE_MAX) == NULL && backend->alloc((size_t)1 << 60) == NULL, "%s: too large a buffer is NULL",
       backend->name);
}

static void test_types(void)
{
    is_int((int64_t)sy_dtype_bytes(SY_BF16), 2, "bytes of BF16");
    is_int((int64_t)sy_dtype_bytes(SY_I64), 8, "bytes of I64");
    is_int((int64_t)sy_dtype_bytes(SY_BF16X2), 4, "bytes of two parts");
    is_int((int64_t)sy_dtype_bytes((enum sy_dtype)99), 0, "an unknown type has no bytes");
    ok(sy_dtype_array_bytes(SY_MXFP4, 33) == 17 && sy_dtype_array_bytes(SY_BF16, 33) == 66,
       "bytes of several elements");
    is_str(sy_dtype_name(SY_F8_E4M3), "F8_E4M3", "names are those of safetensors");
}

static void test_isas(void)
{
    static const char *const names[] = {"portable", "avx2", "avx512", "amx"};
    bool named = sizeof names / sizeof *names == SY_N_ISAS, ordered = true, own = true, best = true;

    for (int isa = 0; isa < SY_N_ISAS; isa++) {
        const struct sy_kernels *table = sy_kernels_cpu((enum sy_isa)isa);
        named = named && !strcmp(sy_isa_name((enum sy_isa)isa), names[isa]);
        own = own && (!table || !strcmp(table->name, names[isa]));
        ordered = ordered && (!table || isa == 0 || sy_kernels_cpu((enum sy_isa)(isa - 1)));
        best = best && (table != NULL) == (isa <= (int)sy_isa_best());
    }
    ok(named, "instruction sets have the names that --isa takes");
    ok(own, "a table has its instruction set's name");
    ok(sy_kernels_cpu(SY_ISA_PORTABLE) != NULL, "portable kernels are always there");
    ok(ordered, "who has an instruction set has the lower ones");
    ok(best, "the best instruction set is the highest that has kernels");
    ok(sy_kernels_cpu((enum sy_isa)SY_N_ISAS) == NULL && sy_kernels_cpu((enum sy_isa) - 1) == NULL,
       "no table for an unknown instruction set");
    is_str(sy_isa_name((enum sy_isa)SY_N_ISAS), "?", "an unknown instruction set has no name");
    is_str(sy_kernels_ref()->name, "ref", "the reference has a name of its own");
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends);

    plan_backends(14 + count_tests(backends, n, 30, 9, 0));
    random_begin();
    test_types();
    test_isas();
    for (int b = 0; b < n; b++) {
        queues_begin(backends[b]);
        test_rmsnorm(backends[b], SY_F32);
        test_rmsnorm(backends[b], SY_BF16);
        test_layernorm(backends[b], SY_F32);
        test_layernorm(backends[b], SY_BF16);
        if (takes_x2(backends[b])) {
            test_rmsnorm(backends[b], SY_BF16X2);
            test_layernorm(backends[b], SY_BF16X2);
            test_split(backends[b]);
        }
        test_factors(backends[b]);
        test_rope(backends[b]);
        test_elementwise(backends[b]);
        test_convert(backends[b]);
        test_buffers(backends[b]);
        queues_end(backends[b]);
    }
    return tap_exit();
}
