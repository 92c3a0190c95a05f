/* SPDX-License-Identifier: Apache-2.0
 * combine.c - moving rows to their experts and back, and the combination of results, of every backend
 */
#include "common.h"

/* 0 .. n - 1 in random order */
static uint32_t *shuffled(int n)
{
    uint32_t *p = new_bytes(sizeof *p * (size_t)n);

    for (int i = 0; i < n; i++) {
        int j = random_int(0, i);
        p[i] = p[j];
        p[j] = (uint32_t)i;
    }
    return p;
}

/* n rows of row_bytes from one of 700 to another, with a list of either side or without. */
static bool copy_holds(const struct sy_kernels *backend, struct sy_queue *q, int n, size_t row_bytes, bool to_list,
                       bool from_list)
{
    const int n_all = 700;
    size_t bytes = (size_t)n_all * row_bytes;
    uint8_t *src = new_input(bytes), *dst = new_output(bytes), *want = new_bytes(bytes);
    uint32_t *to = shuffled(n_all), *from = new_bytes(sizeof *from * (size_t)n_all);

    for (size_t b = 0; b < bytes; b++)
        src[b] = (uint8_t)random_u64();
    memcpy(want, dst, bytes);
    for (int i = 0; i < n; i++) {
        from[i] = (uint32_t)random_int(0, n_all - 1); /* a token goes to several experts */
        memcpy(want + (to_list ? to[i] : (uint32_t)i) * row_bytes,
               src + (from_list ? from[i] : (uint32_t)i) * row_bytes, row_bytes);
    }
    backend->copy_rows(q, dst, to_list ? to : NULL, src, from_list ? from : NULL, n, row_bytes);
    bool held = memcmp(dst, want, bytes) == 0 && fences_hold(dst, bytes);
    free_output(src);
    free_output(dst);
    free_bytes(want);
    free_bytes(to);
    free_bytes(from);
    return held;
}

static void test_copy_rows(const struct sy_kernels *backend)
{
    static const size_t widths[] = {1, 2, 6, 64, 290, 4100};
    static const int n_rows[] = {0, 1, 3, 17, 64, 700};

    for (int lists = 0; lists < 4; lists++) {
        bool held = true;
        for (int i = 0; i < 6; i++) {
            for (int j = 0; j < 6; j++)
                held = held &&
                       copy_holds(backend, queues[(i + j) % THREADS_MAX], n_rows[i], widths[j], lists & 1, lists & 2);
        }
        ok(held, "%s: copy_rows, %s to %s: those rows and no others", backend->name, lists & 2 ? "listed" : "first",
           lists & 1 ? "listed" : "first");
    }
}

static double exact_combine(const void *y, enum sy_dtype dtype, const float *weights, int K, int D, size_t t, int i,
                            double *bound)
{
    double sum = 0.0;

    *bound = 0.0;
    for (int k = 0; k < K; k++) {
        size_t at = t * (size_t)K + (size_t)k;
        double term = (double)weights[at] * (double)sy_float_at(dtype, y, at * (size_t)D + (size_t)i);
        sum += term;
        *bound += fabs(term);
    }
    *bound *= (K + 3) * EPS;
    return sum;
}

static void test_combine(const struct sy_kernels *backend, enum sy_dtype dtype)
{
    int T = 37, K = 8, D = random_int(300, 400);
    size_t n = (size_t)T * (size_t)D;
    void *y = new_bytes((size_t)K * n * sy_dtype_bytes(dtype));
    float *weights = random_floats((size_t)T * (size_t)K), *shared = random_floats(n), *x0 = random_floats(n);
    float *x = new_output(n * sizeof *x), *again = new_floats(n);
    double ratio = 0.0, bound;
    bool exact = true;

    random_elements(dtype, y, (size_t)K * n);
    for (int with = 0; with < 2; with++) {
        memcpy(x, x0, n * sizeof *x);
        backend->combine(queues[with], y, dtype, weights, T, K, D, with ? shared : NULL, false, x);
        for (size_t i = 0; i < n; i++) {
            double sum = exact_combine(y, dtype, weights, K, D, i / (size_t)D, (int)(i % (size_t)D), &bound);
            double rest = (with ? (double)shared[i] : 0.0) + (double)x0[i];
            worst(&ratio, (double)x[i], sum + rest, bound + 3 * EPS * (fabs(sum) + fabs(rest) + 2));
        }
    }
    ok_worst(ratio, backend->name, dtype == SY_BF16 ? "combine BF16 rows" : "combine F32 rows");
    ok(fences_hold(x, n * sizeof *x), "%s: combine writes nothing outside x", backend->name);
    for (int t = 0, step; t < T; t += step) {
        step = random_int(1, 5);
        step = step < T - t ? step : T - t;
        size_t at = (size_t)t * (size_t)D, some = (size_t)step * (size_t)D * sizeof *x;
        memcpy(again, x0 + at, some);
        backend->combine(queues[2], (uint8_t *)y + at * (size_t)K * sy_dtype_bytes(dtype), dtype, weights + t * K, step,
                         K, D, shared + at, false, again);
        exact = exact && memcmp(again, x + at, some) == 0;
    }
    ok(exact, "%s: combine: a row's bits do not depend on the others", backend->name);
    memcpy(again, x0, n * sizeof *x);
    backend->combine(queues[0], y, dtype, weights, T, K, D, shared, true, again);
    ok(memcmp(again, x, n * sizeof *x) != 0, "%s: the reversed order gives other bits", backend->name);
    free_bytes(y);
    free_bytes(weights);
    free_bytes(shared);
    free_bytes(x0);
    free_output(x);
    free_bytes(again);
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends);

    plan_backends(n * (4 + 2 * 4));
    random_begin();
    for (int b = 0; b < n; b++) {
        queues_begin(backends[b]);
        test_copy_rows(backends[b]);
        test_combine(backends[b], SY_F32);
        test_combine(backends[b], SY_BF16);
        queues_end(backends[b]);
    }
    return tap_exit();
}
