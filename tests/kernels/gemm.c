/* SPDX-License-Identifier: Apache-2.0
 * gemm.c - packing, embedding and dense matrices of every backend, against sums in double
 */
#include "common.h"

static const enum sy_dtype types[] = {SY_F32, SY_F16, SY_BF16};

static void test_pack(const struct sy_kernels *backend)
{
    static const struct {
        enum sy_dtype dtype;
        int k, n_rows;
    } cases[] = {{SY_BF16, 1, 16}, {SY_BF16, 37, 5}, {SY_F32, 20, 16}, {SY_F32, 9, 1}, {SY_I8, 33, 15}, {SY_I64, 7, 3}};
    bool held = true, fenced = true;

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        size_t element = sy_dtype_bytes(cases[c].dtype), k = (size_t)cases[c].k, stride = k * element + 3;
        size_t bytes = backend->panel_bytes(cases[c].dtype, cases[c].k);
        uint8_t *rows = new_bytes(stride * SY_PANEL + 1), *panel = new_output(bytes);
        for (size_t i = 0; i < stride * SY_PANEL + 1; i++)
            rows[i] = (uint8_t)random_u64() | 1;
        /* An odd address and an odd stride: published rows are where a file has them. */
        backend->pack_panel(cases[c].dtype, cases[c].k, cases[c].n_rows, rows + 1, stride, panel);
        for (size_t i = 0; i < k; i++) {
            for (int n = 0; n < SY_PANEL; n++) {
                const uint8_t *to = panel + (i * SY_PANEL + (size_t)n) * element, zero[8] = {0};
                const uint8_t *from = n < cases[c].n_rows ? rows + 1 + (size_t)n * stride + i * element : zero;
                held = held && memcmp(to, from, element) == 0;
            }
        }
        fenced = fenced && bytes == k * element * SY_PANEL && fences_hold(panel, bytes);
        free(rows);
        free_output(panel);
    }
    ok(held, "%s: a panel is its rows transposed, missing rows are zero", backend->name);
    ok(fenced, "%s: a panel has panel_bytes and nothing outside it is written", backend->name);
}

static void test_embed(const struct sy_kernels *backend, enum sy_dtype dtype)
{
    bool held = true;

    for (int layout = 0; layout < 2; layout++) {
        int V = random_int(17, 90), D = random_int(1, 150), T = 40;
        struct matrix m = new_matrix(backend, dtype, V, D);
        int32_t ids[40];
        size_t bytes = sizeof(float) * (size_t)T * (size_t)D;
        float *x = new_output(bytes);
        for (int t = 0; t < T; t++)
            ids[t] = t == 0 ? V - 1 : random_int(0, V - 1);
        backend->embed(queues[1], layout ? &m.panels : &m.rows, ids, T, x);
        for (int t = 0; t < T; t++) {
            for (int i = 0; i < D; i++)
                held = held && (double)x[t * D + i] == matrix_at(&m, ids[t], i);
        }
        held = held && fences_hold(x, bytes);
        free_output(x);
        free_matrix(&m);
    }
    ok(held, "%s: embedding rows of %s from both layouts", backend->name, sy_dtype_name(dtype));
}

/* One call with rows wider than needed, against double and against the reference. */
static void check_shape(const struct sy_kernels *backend, enum sy_dtype dtype, int T, int N, int K, double *ratio,
                        bool *outside)
{
    struct matrix m = new_matrix(backend, dtype, N, K);
    size_t x_stride = (size_t)random_int(K, K + 9), y_stride = (size_t)random_int(N, N + 9);
    size_t n_y = (size_t)T * y_stride;
    float *x = random_floats((size_t)T * x_stride), *bias = random_int(0, 1) ? random_floats((size_t)N) : NULL;
    float *y = new_output(n_y * sizeof *y), *truth = new_output(n_y * sizeof *truth);
    struct sy_queue *q = queues[random_int(0, THREADS_MAX - 1)];

    backend->gemm(q, &m.panels, x, x_stride, T, 0, N, bias, y, y_stride);
    sy_kernels_ref()->gemm(q, &m.rows, x, x_stride, T, 0, N, bias, truth, y_stride);
    for (int t = 0; t < T; t++) {
        for (int n = 0; n < N; n++) {
            size_t at = (size_t)t * y_stride + (size_t)n;
            double bound, sum = exact_dot(&m, n, x + (size_t)t * x_stride, SY_F32, &bound);
            sum += bias ? (double)bias[n] : 0.0;
            bound += EPS * fabs(sum);
            worst(ratio, (double)y[at], sum, bound);
            worst(ratio, (double)y[at], (double)truth[at], 2 * bound);
        }
        if (!is_poisoned(y + (size_t)t * y_stride + N, (y_stride - (size_t)N) * sizeof *y))
            *outside = true;
    }
    if (!fences_hold(y, n_y * sizeof *y))
        *outside = true;
    free(x);
    free(bias);
    free_output(y);
    free_output(truth);
    free_matrix(&m);
}

static void test_shapes(const struct sy_kernels *backend, enum sy_dtype dtype)
{
    static const int n_rows[] = {0, 1, 2, 3, 5, 8, 17, 64, 100};
    double ratio = 0.0;
    bool outside = false;

    for (size_t i = 0; i < sizeof n_rows / sizeof *n_rows; i++) {
        check_shape(backend, dtype, n_rows[i], random_int(1, 90), random_int(1, 90), &ratio, &outside);
        check_shape(backend, dtype, n_rows[i], random_int(17, 40), random_int(200, 600), &ratio, &outside);
    }
    check_shape(backend, dtype, 1, 1, 1, &ratio, &outside);
    check_shape(backend, dtype, 4, 64, 256, &ratio, &outside);
    check_shape(backend, dtype, 193, 16, 257, &ratio, &outside);
    char what[80];
    snprintf(what, sizeof what, "%s weights give x w^T + bias", sy_dtype_name(dtype));
    ok_worst(ratio, backend->name, what);
    ok(!outside, "%s: %s: nothing is written outside y", backend->name, sy_dtype_name(dtype));
}

/* A row's bits must not depend on which rows go with it, on threads, or on how outputs are cut. */
static void test_exact(const struct sy_kernels *backend, enum sy_dtype dtype)
{
    int T = 110, N = 150, K = random_int(257, 300);
    struct matrix m = new_matrix(backend, dtype, N, K);
    size_t n_y = (size_t)T * (size_t)N;
    float *x = random_floats((size_t)T * (size_t)K), *whole = new_floats(n_y), *y = new_floats(n_y);
    bool rows = true, threads = true, cuts = true, nan = true;

    backend->gemm(queues[0], &m.panels, x, (size_t)K, T, 0, N, NULL, whole, (size_t)N);
    for (int i = 0; i < 24; i++) {
        int n = i < 10 ? i + 1 : random_int(1, T), t = random_int(0, T - n);
        size_t at = (size_t)t * (size_t)N;
        backend->gemm(queues[i % THREADS_MAX], &m.panels, x + (size_t)t * (size_t)K, (size_t)K, n, 0, N, NULL, y,
                      (size_t)N);
        rows = rows && memcmp(y, whole + at, (size_t)n * (size_t)N * sizeof *y) == 0;
    }
    for (int i = 1; i < THREADS_MAX; i++) {
        poison(y, n_y * sizeof *y);
        backend->gemm(queues[i], &m.panels, x, (size_t)K, T, 0, N, NULL, y, (size_t)N);
        threads = threads && memcmp(y, whole, n_y * sizeof *y) == 0;
    }
    for (int i = 0; i < 12; i++) {
        int begin = random_int(0, (N - 1) / SY_PANEL) * SY_PANEL, end = random_int(begin + 1, N), width = end - begin;
        int n_rows = i % 3 ? 3 : T;
        backend->gemm(queues[1], &m.panels, x, (size_t)K, n_rows, begin, end, NULL, y, (size_t)width);
        for (int t = 0; t < n_rows; t++)
            cuts = cuts && memcmp(y + t * width, whole + t * N + begin, (size_t)width * sizeof *y) == 0;
    }
    x[(size_t)5 * (size_t)K + 7] = NAN;
    backend->gemm(queues[2], &m.panels, x, (size_t)K, T, 0, N, NULL, y, (size_t)N);
    for (int t = 0; t < T; t++) {
        for (int n = 0; n < N; n++)
            nan = nan && (t == 5 ? y[t * N + n] != y[t * N + n] : y[t * N + n] == whole[t * N + n]);
    }
    ok(rows, "%s: %s: a row's bits are the same with any other rows", backend->name, sy_dtype_name(dtype));
    ok(threads, "%s: %s: the same bits with 1, 2 and 3 threads", backend->name, sy_dtype_name(dtype));
    ok(cuts, "%s: %s: the same bits for any range of outputs", backend->name, sy_dtype_name(dtype));
    ok(nan, "%s: %s: NaN stays in its row", backend->name, sy_dtype_name(dtype));
    free(x);
    free(y);
    free(whole);
    free_matrix(&m);
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends);

    plan(n * (2 + 3 * 7));
    random_begin();
    for (int b = 0; b < n; b++) {
        queues_begin(backends[b]);
        test_pack(backends[b]);
        for (int i = 0; i < 3; i++) {
            test_embed(backends[b], types[i]);
            test_shapes(backends[b], types[i]);
            test_exact(backends[b], types[i]);
        }
        queues_end(backends[b]);
    }
    return tap_exit();
}
