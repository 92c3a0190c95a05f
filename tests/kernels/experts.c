/* SPDX-License-Identifier: Apache-2.0
 * experts.c - grouped expert MLP and combination of every backend
 */
#include "common.h"

#define EXPERTS_MAX 9

/* A random grouped call: experts of one shape, tiles of rows that are gathered, outputs with no gap. */
struct group {
    int n_experts, n_tiles, D, F, n_x, n_out;
    struct matrix gate[EXPERTS_MAX], up[EXPERTS_MAX], down[EXPERTS_MAX];
    struct sy_weight gate_up[EXPERTS_MAX];
    struct sy_tile tiles[EXPERTS_MAX];
    int expert_of[EXPERTS_MAX];
    uint32_t *rows;
    void *x; /* [n_x, D] of x_dtype */
    enum sy_dtype x_dtype;
};

/* Gate and up panels in turn, as a loader packs them. */
static struct sy_weight interleave(const struct sy_kernels *backend, const struct matrix *gate, const struct matrix *up)
{
    struct sy_weight w = gate->panels;
    size_t panel = backend->panel_bytes(w.dtype, w.k), n_panels = (size_t)(w.n + SY_PANEL - 1) / SY_PANEL;
    uint8_t *data = new_bytes(2 * n_panels * panel);

    for (size_t p = 0; p < n_panels; p++) {
        memcpy(data + 2 * p * panel, (const uint8_t *)gate->packed + p * panel, panel);
        memcpy(data + (2 * p + 1) * panel, (const uint8_t *)up->packed + p * panel, panel);
    }
    w.data = data;
    return w;
}

static void group_begin(struct group *g, const struct sy_kernels *backend, enum sy_dtype dtype, enum sy_dtype x_dtype,
                        int D, int F, const int *n_rows, int n_tiles)
{
    *g = (struct group){.n_experts = n_tiles, .n_tiles = n_tiles, .D = D, .F = F, .n_x = 50, .x_dtype = x_dtype};
    for (int i = 0; i < n_tiles; i++)
        g->n_out += n_rows[i];
    g->rows = new_bytes(sizeof *g->rows * (size_t)g->n_out);
    g->x = new_bytes((size_t)g->n_x * (size_t)D * sy_dtype_bytes(x_dtype));
    random_elements(x_dtype, g->x, (size_t)g->n_x * (size_t)D);
    for (int i = 0, out = 0; i < n_tiles; out += n_rows[i++]) {
        g->gate[i] = new_matrix(backend, dtype, F, D);
        g->up[i] = new_matrix(backend, dtype, F, D);
        g->down[i] = new_matrix(backend, dtype, D, F);
        g->gate_up[i] = interleave(backend, &g->gate[i], &g->up[i]);
        g->tiles[i] = (struct sy_tile){&g->gate_up[i], &g->down[i].panels, g->rows + out, n_rows[i], out};
        for (int r = 0; r < n_rows[i]; r++)
            g->rows[out + r] = (uint32_t)random_int(0, g->n_x - 1);
    }
}

static void group_end(struct group *g)
{
    for (int i = 0; i < g->n_experts; i++) {
        free_matrix(&g->gate[i]);
        free_matrix(&g->up[i]);
        free_matrix(&g->down[i]);
        free((void *)g->gate_up[i].data);
    }
    free(g->rows);
    free(g->x);
}

static const void *x_row(const struct group *g, uint32_t row)
{
    return (const uint8_t *)g->x + (size_t)row * (size_t)g->D * sy_dtype_bytes(g->x_dtype);
}

/* act against double. The bound carries the errors of both products through silu(gate) * up, whose slopes are at most
 * 1.1 |up| and |silu(gate)|; rounding to BF16 adds half a unit in its last place. */
static void check_gate_up(const struct group *g, const float *act, enum sy_round round, double *ratio)
{
    for (int i = 0; i < g->n_tiles; i++) {
        for (int r = 0; r < g->tiles[i].n_rows; r++) {
            const void *x = x_row(g, g->tiles[i].rows[r]);
            for (int f = 0; f < g->F; f++) {
                double gate_bound, up_bound, gate = exact_dot(&g->gate[i], f, x, g->x_dtype, &gate_bound);
                double up = exact_dot(&g->up[i], f, x, g->x_dtype, &up_bound), silu = gate / (1.0 + exp(-gate));
                double bound = 1.1 * fabs(up) * gate_bound + fabs(silu) * up_bound + 1.1 * gate_bound * up_bound +
                               12 * EPS * fabs(silu * up) + 1e-37;
                if (round == SY_ROUND_BF16)
                    bound += (fabs(silu * up) + bound) / 256;
                worst(ratio, (double)act[(size_t)(g->tiles[i].out_row + r) * (size_t)g->F + (size_t)f], silu * up,
                      bound);
            }
        }
    }
}

static void check_down(const struct group *g, const float *act, const void *y, enum sy_dtype y_dtype, double *ratio)
{
    for (int i = 0; i < g->n_tiles; i++) {
        for (int r = 0; r < g->tiles[i].n_rows; r++) {
            size_t row = (size_t)(g->tiles[i].out_row + r);
            for (int n = 0; n < g->D; n++) {
                double bound, sum = exact_dot(&g->down[i], n, act + row * (size_t)g->F, SY_F32, &bound);
                if (y_dtype == SY_BF16)
                    bound += (fabs(sum) + bound) / 256;
                worst(ratio, (double)sy_float_at(y_dtype, y, row * (size_t)g->D + (size_t)n), sum, bound);
            }
        }
    }
}

static void test_values(const struct sy_kernels *backend, enum sy_dtype dtype, enum sy_dtype x_dtype)
{
    const int n_rows[] = {0, 1, 3, 17, 64, 2, 0};
    double up_ratio = 0.0, down_ratio = 0.0;
    bool fenced = true, rounded = true;

    for (int i = 0; i < 4; i++) {
        enum sy_round round = i % 2 ? SY_ROUND_BF16 : SY_ROUND_NONE;
        enum sy_dtype y_dtype = i % 2 ? SY_BF16 : SY_F32;
        struct group g;
        group_begin(&g, backend, dtype, x_dtype, random_int(1, 70), random_int(1, 50), n_rows, 7);
        size_t n_act = (size_t)g.n_out * (size_t)g.F, y_bytes = (size_t)g.n_out * (size_t)g.D * sy_dtype_bytes(y_dtype);
        float *act = new_output(n_act * sizeof *act);
        void *y = new_output(y_bytes);
        backend->expert_gate_up(queues[i % THREADS_MAX], g.tiles, g.n_tiles, g.x, x_dtype, round, act);
        backend->expert_down(queues[i % THREADS_MAX], g.tiles, g.n_tiles, act, y, y_dtype);
        check_gate_up(&g, act, round, &up_ratio);
        check_down(&g, act, y, y_dtype, &down_ratio);
        fenced = fenced && fences_hold(act, n_act * sizeof *act) && fences_hold(y, y_bytes);
        for (size_t a = 0; round == SY_ROUND_BF16 && a < n_act; a++)
            rounded = rounded && act[a] == sy_bf16_widen(sy_bf16_round(act[a]));
        free_output(act);
        free_output(y);
        group_end(&g);
    }
    char what[80];
    snprintf(what, sizeof what, "silu(gate) * up, %s weights, %s rows", sy_dtype_name(dtype), sy_dtype_name(x_dtype));
    ok_worst(up_ratio, backend->name, what);
    snprintf(what, sizeof what, "down, %s weights", sy_dtype_name(dtype));
    ok_worst(down_ratio, backend->name, what);
    ok(fenced, "%s: %s, %s: nothing is written outside", backend->name, sy_dtype_name(dtype), sy_dtype_name(x_dtype));
    ok(rounded, "%s: %s, %s: activations are BF16 values", backend->name, sy_dtype_name(dtype), sy_dtype_name(x_dtype));
}

/* Both halves of tiles into fresh outputs. */
static void run_both(const struct sy_kernels *backend, struct sy_queue *q, const struct group *g,
                     const struct sy_tile *tiles, int n_tiles, float *act, float *y)
{
    poison(act, (size_t)g->n_out * (size_t)g->F * sizeof *act);
    poison(y, (size_t)g->n_out * (size_t)g->D * sizeof *y);
    backend->expert_gate_up(q, tiles, n_tiles, g->x, g->x_dtype, SY_ROUND_NONE, act);
    backend->expert_down(q, tiles, n_tiles, act, y, SY_F32);
}

/* A row's bits must be the same however rows are cut into tiles, in which order tiles come, and with any threads. */
static void test_exact(const struct sy_kernels *backend, enum sy_dtype dtype, enum sy_dtype x_dtype)
{
    const int n_rows[] = {1, 103, 20, 8};
    struct group g;
    group_begin(&g, backend, dtype, x_dtype, 290, random_int(33, 60), n_rows, 4);
    size_t n_act = (size_t)g.n_out * (size_t)g.F, n_y = (size_t)g.n_out * (size_t)g.D;
    float *act[2] = {new_floats(n_act), new_floats(n_act)}, *y[2] = {new_floats(n_y), new_floats(n_y)};
    struct sy_tile *cut = new_bytes(sizeof *cut * (size_t)g.n_out);
    bool threads = true, cuts = true;

    run_both(backend, queues[0], &g, g.tiles, g.n_tiles, act[0], y[0]);
    for (int i = 1; i < THREADS_MAX; i++) {
        run_both(backend, queues[i], &g, g.tiles, g.n_tiles, act[1], y[1]);
        threads = threads && !memcmp(act[0], act[1], n_act * sizeof **act) && !memcmp(y[0], y[1], n_y * sizeof **y);
    }
    for (int step = 1; step <= 9; step += 2) {
        int n = 0;
        for (int i = g.n_tiles - 1; i >= 0; i--) {
            for (int r = 0, left; r < g.tiles[i].n_rows; r += step, n++) {
                cut[n] = g.tiles[i];
                left = g.tiles[i].n_rows - r;
                cut[n].rows += r;
                cut[n].out_row += r;
                cut[n].n_rows = left < step ? left : step;
            }
        }
        run_both(backend, queues[step % THREADS_MAX], &g, cut, n, act[1], y[1]);
        cuts = cuts && !memcmp(act[0], act[1], n_act * sizeof **act) && !memcmp(y[0], y[1], n_y * sizeof **y);
    }
    ok(threads, "%s: %s, %s: the same bits with 1, 2 and 3 threads", backend->name, sy_dtype_name(dtype),
       sy_dtype_name(x_dtype));
    ok(cuts, "%s: %s, %s: the same bits for any tiles", backend->name, sy_dtype_name(dtype), sy_dtype_name(x_dtype));
    for (int i = 0; i < 2; i++) {
        free(act[i]);
        free(y[i]);
    }
    free(cut);
    group_end(&g);
}

/* One gate and one up weight of 1 make act = silu(x) * x, which shows the exponential's accuracy and its ends. */
static void test_silu(const struct sy_kernels *backend)
{
    static const float ends[] = {INFINITY, -200.0f, -100.0f, -88.9f, -88.0f, 0.0f, -0.0f, 1e-30f, 88.0f, 104.0f, 1e15f};
    const int n = 3000, n_ends = sizeof ends / sizeof *ends;
    float one = 1.0f, *x = new_floats((size_t)n), *act = new_floats((size_t)n);
    uint32_t *rows = new_bytes(sizeof *rows * (size_t)n);
    struct matrix m = new_matrix(backend, SY_F32, 1, 1);
    double ratio = 0.0;

    memcpy(m.published, &one, sizeof one);
    free_output(m.packed);
    matrix_pack(backend, &m);
    struct sy_weight w = interleave(backend, &m, &m);
    for (int i = 0; i < n; i++) {
        rows[i] = (uint32_t)i;
        x[i] = i < n_ends ? ends[i] : i == n_ends ? NAN : random_float() * (i % 3 ? 5.0f : 87.0f);
    }
    struct sy_tile tile = {&w, NULL, rows, n, 0};
    backend->expert_gate_up(queues[0], &tile, 1, x, SY_F32, SY_ROUND_NONE, act);
    /* Exponential 2e-7, three roundings; below -88.7 e^-x is infinite and the result 0 instead of up to 2.3e-35. */
    for (int i = 1; i < n; i++) {
        double exact = (double)x[i] / (1.0 + exp(-(double)x[i])) * (double)x[i];
        if (i != n_ends)
            worst(&ratio, (double)act[i], exact, (2e-7 + 4 * EPS) * fabs(exact) + 3e-35);
    }
    ok_worst(ratio, backend->name, "silu over its whole range");
    ok(act[0] == INFINITY && act[n_ends] != act[n_ends], "%s: silu of infinity and NaN", backend->name);
    free(x);
    free(act);
    free(rows);
    free((void *)w.data);
    free_matrix(&m);
}

/* NaN in a row of activations comes out as NaN in that row alone, also as BF16. */
static void test_nan(const struct sy_kernels *backend)
{
    const int n_rows[] = {6};
    const uint32_t odd_nan = 0x7fffffff; /* rounded up as a number it would become -0 */
    struct group g;
    group_begin(&g, backend, SY_BF16, SY_F32, 40, 20, n_rows, 1);
    float *act = random_floats(6 * 20);
    uint16_t *y = new_bytes(sizeof *y * 6 * 40);
    bool held = true;

    memcpy(act + 2 * 20 + 3, &odd_nan, sizeof odd_nan);
    backend->expert_down(queues[0], g.tiles, 1, act, y, SY_BF16);
    for (int i = 0; i < 6 * 40; i++)
        held = held && (i / 40 == 2) == (isnan(sy_bf16_widen(y[i])) != 0);
    ok(held, "%s: NaN stays NaN, and in its row", backend->name);
    free(act);
    free(y);
    group_end(&g);
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
    free(y);
    free(weights);
    free(shared);
    free(x0);
    free_output(x);
    free(again);
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends);

    plan(n * (3 * 2 * 6 + 3 + 2 * 4));
    random_begin();
    for (int b = 0; b < n; b++) {
        static const enum sy_dtype types[] = {SY_F32, SY_F16, SY_BF16};
        queues_begin(backends[b]);
        for (int i = 0; i < 6; i++) {
            test_values(backends[b], types[i / 2], i % 2 ? SY_BF16 : SY_F32);
            test_exact(backends[b], types[i / 2], i % 2 ? SY_BF16 : SY_F32);
        }
        test_silu(backends[b]);
        test_nan(backends[b]);
        test_combine(backends[b], SY_F32);
        test_combine(backends[b], SY_BF16);
        queues_end(backends[b]);
    }
    return tap_exit();
}
