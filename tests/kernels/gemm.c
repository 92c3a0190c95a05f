/* SPDX-License-Identifier: Apache-2.0
 * gemm.c - packing, embedding and dense matrices of every backend, against sums in double
 */
#include "common.h"
#include "cuda/layout.h"
#include "layout.h"

static const enum sy_dtype types[] = {SY_F32, SY_F16, SY_BF16, SY_I8, SY_F8_E4M3, SY_MXFP4};

#define N_TYPES  ((int)(sizeof types / sizeof *types))
#define N_FLOATS 3 /* the first so many are no codes */
static const enum sy_dtype x_types[] = {SY_F32, SY_BF16, SY_BF16X2};

#define N_X_TYPES 2 /* without the last */

/* Where kernels.h says that input k of output n of a panel is. */
static size_t place(enum sy_dtype dtype, int n, int k)
{
    return dtype == SY_BF16 ? (size_t)((k / 2 * SY_PANEL + n) * 2 + k % 2) : (size_t)(k * SY_PANEL + n);
}

/* The same in bytes, on a CPU or a GPU, of a panel of k_all inputs. */
static size_t byte_at(const struct sy_kernels *backend, enum sy_dtype dtype, int k_all, int n, int k)
{
    if (!backend->on_device)
        return place(dtype, n, k) * sy_dtype_bytes(dtype);
    return sy_cuda_piece_at(dtype, k_all, n, k) + (size_t)(k % sy_cuda_piece(dtype)) * sy_dtype_bytes(dtype);
}

/* Inputs of a panel, missing ones included. */
static int inputs_of(const struct sy_kernels *backend, enum sy_dtype dtype, int k)
{
    if (backend->on_device)
        return (k + SY_CUDA_BLOCK - 1) / SY_CUDA_BLOCK * SY_CUDA_BLOCK;
    return dtype == SY_BF16 ? (k + 1) / 2 * 2 : k;
}

/* Every element of a packed panel is that of its row, or zero where there is none. */
static bool panel_holds(const struct sy_kernels *backend, enum sy_dtype dtype, int k, int n_rows, const uint8_t *rows,
                        size_t stride, const uint8_t *panel)
{
    static const uint8_t zero[8];
    size_t element = sy_dtype_bytes(dtype);
    int k_all = inputs_of(backend, dtype, k);

    for (int i = 0; i < k_all; i++) {
        for (int n = 0; n < SY_PANEL; n++) {
            const uint8_t *from = n < n_rows && i < k ? rows + (size_t)n * stride + (size_t)i * element : zero;
            if (memcmp(panel + byte_at(backend, dtype, k, n, i), from, element) != 0)
                return false;
        }
    }
    return true;
}

static void test_pack(const struct sy_kernels *backend)
{
    static const struct {
        enum sy_dtype dtype;
        int k, n_rows;
    } cases[] = {{SY_BF16, 1, 16}, {SY_BF16, 37, 5}, {SY_BF16, 64, 16},  {SY_BF16, 95, 16},
                 {SY_BF16, 2, 1},  {SY_F16, 37, 16}, {SY_F16, 40, 3},    {SY_F32, 20, 16},
                 {SY_F32, 9, 1},   {SY_I8, 33, 15},  {SY_F8_E4M3, 3, 2}, {SY_I64, 7, 3}};
    bool held = true, fenced = true, indexed = true;

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        enum sy_dtype dtype = backend->on_device && cases[c].dtype == SY_I64 ? SY_F32 : cases[c].dtype;
        int k = cases[c].k, k_all = inputs_of(backend, dtype, k);
        size_t element = sy_dtype_bytes(dtype), stride = (size_t)k * element + 3;
        size_t bytes = backend->panel_bytes(dtype, k);
        uint8_t *rows = new_bytes(stride * SY_PANEL + 1), *panel = new_output(bytes);
        for (size_t i = 0; i < stride * SY_PANEL + 1; i++)
            rows[i] = (uint8_t)random_u64() | 1;
        /* An odd address and an odd stride: published rows are where a file has them. */
        int cut = random_int(0, k / 2) * 2;
        backend->pack_panel(dtype, k, 0, cut, cases[c].n_rows, rows + 1, stride, element, panel);
        backend->pack_panel(dtype, k, cut, k, cases[c].n_rows, rows + 1 + (size_t)cut * element, stride, element,
                            panel);
        held = held && panel_holds(backend, dtype, k, cases[c].n_rows, rows + 1, stride, panel);
        fenced = fenced && bytes == (size_t)k_all * element * SY_PANEL && fences_hold(panel, bytes);
        for (int i = 0; i < SY_PANEL * k && !backend->on_device; i++) {
            size_t at = place(dtype, i % SY_PANEL, i / SY_PANEL), panel_elements = (size_t)(k_all * SY_PANEL);
            indexed = indexed && sy_panel_index(dtype, k, i % SY_PANEL, i / SY_PANEL) == at &&
                      sy_panel_index(dtype, k, i % SY_PANEL + 3 * SY_PANEL, i / SY_PANEL) == at + 3 * panel_elements;
        }
        free_bytes(rows);
        free_output(panel);
    }
    ok(held, "%s: a panel holds its rows where its layout says; what is missing is zero", backend->name);
    ok(fenced, "%s: a panel has panel_bytes and nothing outside it is written", backend->name);
    ok(indexed, "%s: sy_panel_index() says where an element is", backend->name);
}

static void test_embed(const struct sy_kernels *backend, enum sy_dtype dtype)
{
    bool held = true;

    for (int layout = 0; layout < 2; layout++) {
        int V = random_int(17, 90), D = random_int(1, 150), T = 40;
        struct matrix m = new_matrix(backend, dtype, V, D);
        int32_t *ids = new_bytes(40 * sizeof *ids);
        size_t bytes = sizeof(float) * (size_t)T * (size_t)D;
        float *x = new_output(bytes);
        for (int t = 0; t < T; t++)
            ids[t] = t == 0 ? V - 1 : random_int(0, V - 1);
        backend->embed(queues[1], layout ? &m.panels : &m.rows, ids, T, x);
        for (int t = 0; t < T; t++) {
            for (int i = 0; i < D; i++)
                held = held && (double)x[t * D + i] == m.values[ids[t] * D + i];
        }
        held = held && fences_hold(x, bytes);
        free_bytes(ids);
        free_output(x);
        free_matrix(&m);
    }
    ok(held, "%s: embedding rows of %s from both layouts", backend->name, sy_dtype_name(dtype));
}

/* Weight and input types of a test, and how to name them. */
struct pair {
    enum sy_dtype w, x;
    char name[32];
};

/* Row t of x, from element i on. */
static const void *row_at(const struct pair *pair, const void *x, size_t stride, size_t t, size_t i)
{
    return (const uint8_t *)x + sy_row_index(pair->x, stride, t, i) * part_bytes(pair->x);
}

struct errors {
    double ratio;
    bool outside;
};

/* One call with rows wider than needed, against double and against the reference. */
static void check_shape(const struct sy_kernels *backend, const struct pair *pair, int T, int N, int K,
                        struct errors *errors)
{
    struct matrix m = new_matrix(backend, pair->w, N, K);
    size_t x_stride = (size_t)(K + random_int(0, 1) * random_int(1, 9)), y_stride = (size_t)random_int(N, N + 9);
    size_t n_y = (size_t)T * y_stride;
    void *x = random_rows(pair->x, T, K, x_stride);
    float *bias = random_int(0, 1) ? random_rows(SY_F32, 1, N, (size_t)N) : NULL;
    float *y = new_output(n_y * sizeof *y), *truth = new_output(n_y * sizeof *truth);
    float *before = random_rows(SY_F32, T, N, y_stride);
    struct sy_queue *q = queues[random_int(0, THREADS_MAX - 1)];
    bool add = random_int(0, 1);

    for (int t = 0; add && t < T; t++) {
        memcpy(y + (size_t)t * y_stride, before + (size_t)t * y_stride, (size_t)N * sizeof *y);
        memcpy(truth + (size_t)t * y_stride, before + (size_t)t * y_stride, (size_t)N * sizeof *y);
    }

    m.panels.bias = m.rows.bias = bias;
    backend->gemm(q, &m.panels, x, pair->x, x_stride, T, 0, N, add, y, y_stride);
    sy_kernels_ref()->gemm(q, &m.rows, x, pair->x, x_stride, T, 0, N, add, truth, y_stride);
    for (int t = 0; t < T; t++) {
        for (int n = 0; n < N; n++) {
            size_t at = (size_t)t * y_stride + (size_t)n;
            double bound, sum = exact_dot(&m, n, row_at(pair, x, x_stride, (size_t)t, 0), pair->x, x_stride, &bound);
            if (add) { /* y is one more term of the sum */
                sum += (double)before[at];
                bound += (K + 1) * EPS * (fabs((double)before[at]) + bound) + EPS * fabs(sum);
            }
            if (bias) {
                sum += (double)bias[n];
                bound += EPS * (fabs(sum) + bound);
            }
            worst(&errors->ratio, (double)y[at], sum, bound);
            worst(&errors->ratio, (double)y[at], (double)truth[at], 2 * bound);
        }
        if (!is_untouched(y + (size_t)t * y_stride + N, 0, (y_stride - (size_t)N) * sizeof *y))
            errors->outside = true;
    }
    if (!fences_hold(y, n_y * sizeof *y))
        errors->outside = true;
    free_output(x);
    free_output(bias);
    free_output(y);
    free_output(truth);
    free_output(before);
    free_matrix(&m);
}

static void test_shapes(const struct sy_kernels *backend, const struct pair *pair)
{
    static const int n_rows[] = {0, 1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 49, 64, 100, 129, 193, 260};
    static const int n_inputs[] = {1, 2, 3, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 255, 256, 257, 288, 290, 513, 544};
    const int n = sizeof n_rows / sizeof *n_rows, n_k = sizeof n_inputs / sizeof *n_inputs;
    struct errors errors = {0};
    char what[80];

    for (int i = 0; i < n; i++)
        check_shape(backend, pair, n_rows[i], random_int(1, n_rows[i] < 64 ? 90 : 20), random_int(1, 70), &errors);
    for (int i = 0; i < n_k; i++) {
        check_shape(backend, pair, random_int(1, 4), random_int(1, 90), n_inputs[i], &errors);
        check_shape(backend, pair, random_int(16, 40), random_int(1, 40), n_inputs[i], &errors);
    }
    check_shape(backend, pair, 1, 1, 1, &errors);
    check_shape(backend, pair, 4, 64, 256, &errors);
    check_shape(backend, pair, 193, 16, 257, &errors);
    snprintf(what, sizeof what, "%s give x w^T + bias", pair->name);
    ok_worst(errors.ratio, backend->name, what);
    ok(!errors.outside, "%s: %s: nothing is written outside y", backend->name, pair->name);
}

/* A random product for a test of bits. */
struct product {
    struct pair pair;
    int T, N, K;
    bool add;
    struct matrix m;
    size_t stride;
    void *x;
    float *before, *whole, *y; /* [T][N]: what is added to, the result of all at once, and of a part */
};

/* Every element times 2^low .. 2^high; of SY_BF16X2 every part. */
static void scale_elements(enum sy_dtype dtype, void *data, size_t n, int low, int high)
{
    for (size_t i = 0; i < n; i++) {
        float f = ldexpf(sy_float_at(dtype == SY_F32 ? SY_F32 : SY_BF16, data, i), random_int(low, high));
        if (dtype == SY_F32)
            ((float *)data)[i] = f;
        else
            ((uint16_t *)data)[i] = sy_bf16_round(f);
    }
}

/* If tiny, most products and sums are near FLT_MIN, on both sides of it: an instruction set that takes smaller numbers as
 * zero must do so always in the same places. F16 and codes have no such numbers, so x has them all. */
static void product_begin(struct product *p, const struct sy_kernels *backend, const struct pair *pair, int K, bool add,
                          bool tiny)
{
    /* More rows than a work item takes. */
    *p = (struct product){.pair = *pair,
                          .T = backend == sy_kernels_ref() ? 40 : 140,
                          .N = 100,
                          .K = K,
                          .add = add,
                          .stride = (size_t)(K + random_int(0, 3))};
    p->m = new_matrix(backend, pair->w, p->N, K);
    p->x = random_rows(pair->x, p->T, K, p->stride);
    p->before = random_rows(SY_F32, p->T, p->N, (size_t)p->N);
    if (tiny && !sy_dtype_quantised(pair->w) && pair->w != SY_F16) {
        scale_elements(pair->w, p->m.published, (size_t)(p->N * K), -64, -60);
        matrix_pack_again(backend, &p->m);
    }
    if (tiny) {
        int low = pair->w == SY_F16 || sy_dtype_quantised(pair->w) ? -126 : -66;
        scale_elements(pair->x, p->x, sy_row_index(pair->x, p->stride, (size_t)p->T, 0), low, low + 6);
        for (int i = 0; i < p->T * p->N; i++)
            p->before[i] = ldexpf(1.0f + random_float() / 2, -random_int(120, 126));
    }
    p->whole = new_floats((size_t)(p->T * p->N));
    p->y = new_floats((size_t)(p->T * p->N));
}

static void product_end(struct product *p)
{
    free_matrix(&p->m);
    free_output(p->x);
    free_output(p->before);
    free_bytes(p->whole);
    free_bytes(p->y);
}

/* Rows t .. t + n - 1, outputs begin .. end - 1, to y without gaps. */
static void product_run(const struct sy_kernels *backend, struct sy_queue *q, const struct product *p, int t, int n,
                        int begin, int end, float *y)
{
    int width = end - begin;

    poison(y, (size_t)(n * width) * sizeof *y);
    for (int r = 0; p->add && r < n; r++)
        memcpy(y + r * width, p->before + (t + r) * p->N + begin, (size_t)width * sizeof *y);
    backend->gemm(q, &p->m.panels, row_at(&p->pair, p->x, p->stride, (size_t)t, 0), p->pair.x, p->stride, n, begin, end,
                  p->add, y, (size_t)width);
}

/* And whether they have the bits that they have in whole. */
static bool product_same(const struct sy_kernels *backend, struct sy_queue *q, const struct product *p, int t, int n,
                         int begin, int end)
{
    bool same = true;

    product_run(backend, q, p, t, n, begin, end, p->y);
    for (int r = 0; r < n; r++)
        same = same && memcmp(p->y + r * (end - begin), p->whole + (t + r) * p->N + begin,
                              (size_t)(end - begin) * sizeof *p->y) == 0;
    return same;
}

/* A row's bits must not depend on which rows go with it, on threads, or on how outputs are cut. */
static void test_exact(const struct sy_kernels *backend, const struct pair *pair)
{
    bool rows = true, threads = true, cuts = true;

    for (int c = 0; c < 8; c += fewer(1, 3)) {
        static const int n_inputs[] = {257, 300, 1, 16, 17, 32, 34, 65};
        struct product p;
        product_begin(&p, backend, pair, c ? n_inputs[c] : random_int(257, 300), c & 1, c & 2);
        product_run(backend, queues[0], &p, 0, p.T, 0, p.N, p.whole);
        for (int i = 0; i < 48; i += fewer(1, 5)) {
            int n = i < 34 ? i + 1 : random_int(1, p.T);
            rows = rows && product_same(backend, queues[i % THREADS_MAX], &p, random_int(0, p.T - n), n, 0, p.N);
        }
        for (int i = 1; i < THREADS_MAX; i++)
            threads = threads && product_same(backend, queues[i], &p, 0, p.T, 0, p.N);
        for (int i = 0; i < 16; i += fewer(1, 5)) {
            int begin = random_int(0, (p.N - 1) / SY_PANEL) * SY_PANEL, n = i % 4 ? random_int(1, 40) : p.T;
            cuts = cuts && product_same(backend, queues[1], &p, 0, n, begin, random_int(begin + 1, p.N));
        }
        product_end(&p);
    }
    ok(rows, "%s: %s: a row's bits are the same with any other rows", backend->name, pair->name);
    ok(threads, "%s: %s: the same bits with 1, 2 and 3 threads", backend->name, pair->name);
    ok(cuts, "%s: %s: the same bits for any range of outputs", backend->name, pair->name);
}

/* y[t][n] is NaN in row `row` and for outputs begin .. end - 1, and has the bits it had everywhere else. */
static bool nan_stays(const float *y, const float *clean, int T, int N, int row, int begin, int end)
{
    for (int t = 0; t < T; t++) {
        for (int n = 0; n < N; n++, y++, clean++) {
            bool nan = t == row || (n >= begin && n < end);
            if (nan ? *y == *y : memcmp(y, clean, sizeof *y) != 0)
                return false;
        }
    }
    return true;
}

/* NaN in a panel's weights, then in one output's, comes out there alone. */
static bool nan_in_outputs(const struct sy_kernels *backend, const struct pair *pair, struct matrix *m, const void *x,
                           int T, const float *clean, float *y)
{
    int N = m->rows.n, K = m->rows.k;
    size_t w_row = sy_dtype_array_bytes(pair->w, (size_t)K);

    memset((uint8_t *)m->published + 32 * w_row, 0xff, 16 * w_row);
    matrix_pack_again(backend, m);
    backend->gemm(queues[2], &m->panels, x, pair->x, (size_t)K, T, 0, N, false, y, (size_t)N);
    bool held = nan_stays(y, clean, T, N, -1, 32, 48);
    memset((uint8_t *)m->published + 50 * w_row, 0xff, w_row);
    matrix_pack_again(backend, m);
    backend->gemm(queues[2], &m->panels, x, pair->x, (size_t)K, T, 48, N, false, y, (size_t)N);
    for (int t = 0; t < T; t++)
        held = held && nan_stays(y + t * N, clean + t * N + 48, 1, N - 48, -1, 2, 3);
    return held;
}

/* NaN, one or everywhere, in a row or in a panel's outputs. An odd K ends in the middle of a pair of BF16 inputs, and what
 * follows is NaN. */
static void test_nan(const struct sy_kernels *backend, const struct pair *pair)
{
    static const int n_inputs[] = {1, 7, 16, 31, 33, 64, 290};
    bool rows = true, outputs = true;

    for (size_t i = 0; i < sizeof n_inputs / sizeof *n_inputs; i++) {
        int K = n_inputs[i], T = i % 2 ? 40 : 7, N = 90, row = random_int(0, T - 1);
        struct matrix m = new_matrix(backend, pair->w, N, K);
        size_t n_y = (size_t)T * (size_t)N, element = sy_dtype_bytes(pair->x);
        uint8_t *x = random_rows(pair->x, T, K, (size_t)K), *x_row = x + (size_t)(row * K) * element;
        float *clean = new_floats(n_y), *y = new_floats(n_y);
        void *kept = new_bytes((size_t)K * element);
        backend->gemm(queues[0], &m.panels, x, pair->x, (size_t)K, T, 0, N, false, clean, (size_t)N);
        memcpy(kept, x_row, (size_t)K * element);
        for (int whole = 0; whole < 2; whole++) {
            size_t bytes = whole ? (size_t)K * element : part_bytes(pair->x);
            poison(whole ? x_row : x_row + (size_t)random_int(0, K * (int)(element / bytes) - 1) * bytes, bytes);
            backend->gemm(queues[2], &m.panels, x, pair->x, (size_t)K, T, 0, N, false, y, (size_t)N);
            rows = rows && nan_stays(y, clean, T, N, row, 0, 0);
        }
        memcpy(x_row, kept, (size_t)K * element);
        /* The other codes have no NaN. */
        if (!sy_dtype_quantised(pair->w) || pair->w == SY_F8_E4M3)
            outputs = outputs && nan_in_outputs(backend, pair, &m, x, T, clean, y);
        free_output(x);
        free_bytes(kept);
        free_bytes(clean);
        free_bytes(y);
        free_matrix(&m);
    }
    ok(rows, "%s: %s: NaN stays in its row", backend->name, pair->name);
    ok(outputs, "%s: %s: NaN stays in its output", backend->name, pair->name);
}

static const void *row_of(const struct sy_head_gemm *g, int t)
{
    return (const uint8_t *)g->y + sy_row_index(g->y_dtype, g->y_stride, (size_t)t, 0) * part_bytes(g->y_dtype);
}

static bool element_untouched(const struct sy_head_gemm *g, int t, size_t i)
{
    const uint8_t *row = row_of(g, t);
    size_t bytes = part_bytes(g->y_dtype), lo = g->y_dtype == SY_BF16X2 ? g->y_stride : 0;
    size_t begin = (size_t)(row - (const uint8_t *)g->y);

    return is_untouched(g->y, begin + i * bytes, begin + (i + 1) * bytes) &&
           is_untouched(g->y, begin + (i + lo) * bytes, begin + (i + lo + 1) * bytes);
}

/* f as an output has it that is rounded to BF16, stored in two parts, or neither. */
static double stored_value(enum sy_dtype dtype, float f)
{
    uint16_t parts[2];

    if (dtype == SY_BF16X2)
        store_parts(parts, 0, 1, f);
    return (double)(dtype == SY_BF16X2 ? sy_row_float(SY_BF16X2, parts, 1, 0)
                                       : sy_round_float(f, dtype == SY_BF16 ? SY_ROUND_BF16 : SY_ROUND_NONE));
}

/* A matrix for each head, a range of heads, parts of rows that lie anywhere: against double, and the bits of gemm. */
static void test_heads(const struct sy_kernels *backend, const struct pair *pair)
{
    static const int n_rows[] = {0, 1, 2, 5, 16, 33, 130, 270, 7};
    bool outside = false, same = true;
    double ratio = 0.0;

    for (int i = 0; i < 16; i++) {
        int H = random_int(1, 5), N = random_int(1, 90), K = random_int(1, 140), T = n_rows[i % 9],
            from = random_int(0, H - 1);
        int N_all = (N + SY_PANEL - 1) / SY_PANEL * SY_PANEL;
        enum sy_dtype y_dtype = i % 4 == 2 ? SY_BF16 : i % 4 == 3 ? SY_BF16X2 : SY_F32;
        enum sy_round round = i % 4 == 1 ? SY_ROUND_BF16 : SY_ROUND_NONE;
        struct matrix m = new_matrix(backend, pair->w, H * N_all, K);
        /* Rows of a head behind its last one are zero, as a packed panel has them. */
        for (int n = 0; n < H * N_all; n++)
            if (n % N_all >= N)
                memset((uint8_t *)m.published + (size_t)(n * K) * sy_dtype_bytes(pair->w), 0,
                       (size_t)K * sy_dtype_bytes(pair->w));
        matrix_pack_again(backend, &m);
        struct sy_weight w = m.panels;
        w.n = N;
        struct sy_head_gemm g = {.w = &w,
                                 .w_head = (size_t)(N_all / SY_PANEL) * backend->panel_bytes(pair->w, K),
                                 .n_rows = T,
                                 .head_begin = from,
                                 .head_end = random_int(from, H),
                                 .x_dtype = pair->x,
                                 .y_dtype = y_dtype,
                                 .round = round,
                                 .x_head = (size_t)(K + random_int(0, 5)),
                                 .y_head = (size_t)(N + random_int(0, 5))};
        g.x_stride = (size_t)H * g.x_head + 2;
        g.y_stride = (size_t)H * g.y_head + 3;
        size_t n_y = (size_t)T * g.y_stride, element = sy_dtype_bytes(y_dtype);
        g.x = random_rows(pair->x, T, (int)g.x_stride, g.x_stride);
        g.y = new_output(n_y * element);
        backend->gemm_heads(queues[i % THREADS_MAX], &g);
        float *alone = new_floats((size_t)N_all);
        for (size_t at = 0; at < n_y; at++) {
            int t = (int)(at / g.y_stride), h = (int)(at % g.y_stride / g.y_head),
                n = (int)(at % g.y_stride % g.y_head);
            if (h < g.head_begin || h >= g.head_end || n >= N) {
                outside = outside || !element_untouched(&g, t, at % g.y_stride);
                continue;
            }
            const void *row = row_at(pair, g.x, g.x_stride, (size_t)t, (size_t)h * g.x_head);
            double bound, want = exact_dot(&m, h * N_all + n, row, pair->x, g.x_stride, &bound);
            double found = (double)sy_row_float(y_dtype, row_of(&g, t), g.y_stride, at % g.y_stride);
            enum sy_dtype stored = round == SY_ROUND_BF16 ? SY_BF16 : y_dtype;
            worst(&ratio, found, want, stored_bound(stored, want, bound));
            if (n == 0)
                backend->gemm(queues[0], &m.panels, row, pair->x, g.x_stride, 1, h * N_all, (h + 1) * N_all, false,
                              alone, (size_t)N_all);
            same = same && found == stored_value(stored, alone[n]);
        }
        outside = outside || !fences_hold(g.y, n_y * element);
        free_bytes(alone);
        free_output((void *)g.x);
        free_output(g.y);
        free_matrix(&m);
    }
    char what[80];
    snprintf(what, sizeof what, "%s: a matrix for each head", pair->name);
    ok_worst(ratio, backend->name, what);
    ok(!outside, "%s: %s: other heads' outputs stay as they are", backend->name, pair->name);
    ok(same, "%s: %s: each head has the bits of its matrix alone", backend->name, pair->name);
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends);

    int n_products = N_TYPES * 7 + N_FLOATS * 3; /* of one type of rows */
    plan_backends(count_tests(backends, n, 3 + N_FLOATS + N_X_TYPES * n_products, n_products, 0));
    random_begin();
    for (int b = 0; b < n; b++) {
        queues_begin(backends[b]);
        test_pack(backends[b]);
        for (int i = 0; i < N_FLOATS; i++)
            test_embed(backends[b], types[i]);
        int n_pairs = (N_X_TYPES + takes_x2(backends[b])) * N_TYPES;
        for (int i = 0; i < n_pairs; i++) {
            struct pair pair = {types[i % N_TYPES], x_types[i / N_TYPES], ""};
            snprintf(pair.name, sizeof pair.name, "%s rows, %s weights", sy_dtype_name(pair.x), sy_dtype_name(pair.w));
            test_shapes(backends[b], &pair);
            test_exact(backends[b], &pair);
            test_nan(backends[b], &pair);
            if (!sy_dtype_quantised(pair.w))
                test_heads(backends[b], &pair);
        }
        queues_end(backends[b]);
    }
    return tap_exit();
}
