/* SPDX-License-Identifier: Apache-2.0
 * experts.c - grouped expert MLP of every backend
 */
#include "common.h"

#define EXPERTS_MAX 9

/* A random grouped call: experts of one shape, and tiles of rows with other rows between them, which are NaN where a kernel
 * reads and stay as they are where it writes. */
struct group {
    int n_tiles, D, F, n_rows; /* n_rows counts all rows of x, act and y */
    struct sy_glu glu;
    enum sy_dtype w_dtype, dtype;
    struct matrix gate[EXPERTS_MAX], up[EXPERTS_MAX], down[EXPERTS_MAX];
    struct sy_weight gate_up[EXPERTS_MAX];
    struct sy_tile tiles[EXPERTS_MAX];
    void *x, *act; /* inputs of the two halves: [n_rows, D] and [n_rows, F] of dtype */
};

/* Gate and up panels in turn, as a loader packs them. */
static struct sy_weight interleave(const struct sy_kernels *backend, const struct matrix *gate, const struct matrix *up)
{
    struct sy_weight w = gate->panels;
    size_t panel = backend->panel_bytes(w.dtype, w.k), n_panels = (size_t)(w.n + SY_PANEL - 1) / SY_PANEL;
    uint8_t *data = new_input(2 * n_panels * panel);

    for (size_t p = 0; p < n_panels; p++) {
        memcpy(data + 2 * p * panel, (const uint8_t *)gate->packed + p * panel, panel);
        memcpy(data + (2 * p + 1) * panel, (const uint8_t *)up->packed + p * panel, panel);
    }
    w.data = data;
    if (w.scales) {
        size_t scales = (size_t)((w.k - 1) / w.scale_block + 1) * SY_PANEL * (w.dtype == SY_MXFP4 ? 1 : sizeof(float));
        uint8_t *both = new_input(2 * n_panels * scales);
        for (size_t p = 0; p < n_panels; p++) {
            memcpy(both + 2 * p * scales, (const uint8_t *)gate->packed_scales + p * scales, scales);
            memcpy(both + (2 * p + 1) * scales, (const uint8_t *)up->packed_scales + p * scales, scales);
        }
        w.scales = both;
    }
    return w;
}

/* An input of width elements for the rows of tiles, the other rows NaN. */
static void *tile_rows(const struct group *g, int width)
{
    size_t row_bytes = (size_t)width * sy_dtype_bytes(g->dtype);
    uint8_t *p = new_input((size_t)g->n_rows * row_bytes);

    for (int i = 0; i < g->n_tiles; i++)
        fill_rows(g->dtype, p + (size_t)g->tiles[i].row * row_bytes, g->tiles[i].n_rows, width, (size_t)width);
    return p;
}

static void group_begin(struct group *g, const struct sy_kernels *backend, enum sy_dtype w_dtype, enum sy_dtype dtype,
                        int D, int F, const int *n_rows, int n_tiles)
{
    *g = (struct group){.n_tiles = n_tiles, .D = D, .F = F, .w_dtype = w_dtype, .dtype = dtype};
    if (random_int(0, 1))
        g->glu = (struct sy_glu){1.702f, 0.25f + fabsf(random_float())};
    for (int i = 0; i < n_tiles; i++) {
        g->gate[i] = new_matrix(backend, w_dtype, F, D);
        /* Gate and up have scales for the same inputs. */
        do
            g->up[i] = new_matrix(backend, w_dtype, F, D);
        while (g->up[i].rows.scale_block != g->gate[i].rows.scale_block && (free_matrix(&g->up[i]), true));
        g->down[i] = new_matrix(backend, w_dtype, D, F);
        g->gate_up[i] = interleave(backend, &g->gate[i], &g->up[i]);
        g->gate_up[i].bias = random_int(0, 1) ? random_rows(SY_F32, 1, 2 * F, (size_t)(2 * F)) : NULL;
        g->down[i].panels.bias = random_int(0, 1) ? random_rows(SY_F32, 1, D, (size_t)D) : NULL;
        g->n_rows += random_int(0, 2);
        g->tiles[i] = (struct sy_tile){&g->gate_up[i], &g->down[i].panels, g->n_rows, n_rows[i]};
        g->n_rows += n_rows[i];
    }
    g->x = tile_rows(g, D);
    g->act = tile_rows(g, F);
}

static void group_end(struct group *g)
{
    for (int i = 0; i < g->n_tiles; i++) {
        free_output((void *)g->gate_up[i].bias);
        free_output((void *)g->down[i].panels.bias);
        free_matrix(&g->gate[i]);
        free_matrix(&g->up[i]);
        free_matrix(&g->down[i]);
        free_output((void *)g->gate_up[i].data);
        free_output((void *)g->gate_up[i].scales);
    }
    free_output(g->x);
    free_output(g->act);
}

static const void *input_row(const struct group *g, const void *rows, int row, int width)
{
    return (const uint8_t *)rows + (size_t)(row * width) * sy_dtype_bytes(g->dtype);
}

static double with_bias(double sum, const float *bias, int i, double *bound)
{
    if (!bias)
        return sum;
    *bound += EPS * fabs(sum + (double)bias[i]);
    return sum + (double)bias[i];
}

/* act against double. The bound carries the errors of both products through turn(gate) * up, whose slopes are at most
 * 1.1 |up| and |turn(gate)|; turn is silu, or what gpt-oss has. */
static void check_gate_up(const struct group *g, const void *act, double *ratio)
{
    for (int i = 0; i < g->n_tiles; i++) {
        for (int row = g->tiles[i].row; row < g->tiles[i].row + g->tiles[i].n_rows; row++) {
            const void *x = input_row(g, g->x, row, g->D);
            size_t D = (size_t)g->D, F = (size_t)g->F;
            for (int f = 0; f < g->F; f++) {
                double gate_bound, up_bound, gate = exact_dot(&g->gate[i], f, x, g->dtype, D, &gate_bound);
                double up = exact_dot(&g->up[i], f, x, g->dtype, D, &up_bound), limit = (double)g->glu.limit;
                gate = with_bias(gate, g->gate_up[i].bias, f, &gate_bound);
                up = with_bias(up, g->gate_up[i].bias, g->F + f, &up_bound);
                if (limit > 0) {
                    gate = fmin(gate, limit);
                    up = fmax(-limit, fmin(up, limit)) + 1;
                    up_bound += EPS * fabs(up);
                }
                double silu = gate / (1.0 + exp(-gate * (limit > 0 ? (double)g->glu.alpha : 1)));
                double bound = 1.1 * fabs(up) * gate_bound + fabs(silu) * up_bound + 1.1 * gate_bound * up_bound +
                               12 * EPS * fabs(silu * up) + 2 * (double)FLT_MIN;
                worst(ratio, (double)sy_row_float(g->dtype, input_row(g, act, row, g->F), F, (size_t)f), silu * up,
                      stored_bound(g->dtype, silu * up, bound));
            }
        }
    }
}

/* y of g->act against double. */
static void check_down(const struct group *g, const void *y, enum sy_dtype y_dtype, double *ratio)
{
    for (int i = 0; i < g->n_tiles; i++) {
        for (int row = g->tiles[i].row; row < g->tiles[i].row + g->tiles[i].n_rows; row++) {
            for (int n = 0; n < g->D; n++) {
                double bound,
                    sum = exact_dot(&g->down[i], n, input_row(g, g->act, row, g->F), g->dtype, (size_t)g->F, &bound);
                sum = with_bias(sum, g->down[i].panels.bias, n, &bound);
                worst(ratio, (double)sy_float_at(y_dtype, y, (size_t)(row * g->D + n)), sum,
                      stored_bound(y_dtype, sum, bound));
            }
        }
    }
}

/* Nothing was written outside an output, nor to its rows that are in no tile. */
static bool outside_holds(const struct group *g, const void *output, size_t row_bytes)
{
    bool held = fences_hold(output, (size_t)g->n_rows * row_bytes);
    size_t row = 0;

    for (int i = 0; i < g->n_tiles; i++) {
        held = held && is_untouched(output, row * row_bytes, (size_t)g->tiles[i].row * row_bytes);
        row = (size_t)(g->tiles[i].row + g->tiles[i].n_rows);
    }
    return held;
}

/* Weights and rows of a test, in words. */
static const char *describe(enum sy_dtype w_dtype, enum sy_dtype dtype)
{
    static char text[40];

    snprintf(text, sizeof text, "%s rows, %s weights", sy_dtype_name(dtype), sy_dtype_name(w_dtype));
    return text;
}

static void test_values(const struct sy_kernels *backend, enum sy_dtype w_dtype, enum sy_dtype dtype)
{
    static const int shapes[][2] = {{1, 1},   {16, 33},  {31, 64},  {33, 16}, {64, 31}, {32, 2},
                                    {290, 9}, {15, 290}, {70, 257}, {0, 0},   {130, 33}};
    static const int n_rows[] = {0, 1, 3, 17, 64, 2, 0}, many[] = {33, 0, 131}, ends[] = {0, 1, 7, 63, 65, 1000};
    double up_ratio = 0.0, down_ratio = 0.0;
    bool fenced = true;
    char what[80];

    for (int i = 0; i < (int)(sizeof shapes / sizeof *shapes); i++) {
        enum sy_dtype y_dtype = random_int(0, 1) ? SY_BF16 : SY_F32;
        int D = shapes[i][0] ? shapes[i][0] : random_int(1, 70), F = shapes[i][1] ? shapes[i][1] : random_int(1, 50);
        struct sy_queue *q = queues[i % THREADS_MAX];
        struct group g;
        if (D == 130)
            group_begin(&g, backend, w_dtype, dtype, D, F, ends, 6);
        else if (i % 3)
            group_begin(&g, backend, w_dtype, dtype, D, F, n_rows, 7);
        else
            group_begin(&g, backend, w_dtype, dtype, D, F, many, 3);
        size_t act_row = (size_t)F * sy_dtype_bytes(dtype), y_row = (size_t)D * sy_dtype_bytes(y_dtype);
        void *act = new_output((size_t)g.n_rows * act_row), *y = new_output((size_t)g.n_rows * y_row);
        backend->expert_gate_up(q, g.tiles, g.n_tiles, g.x, dtype, &g.glu, act);
        backend->expert_down(q, g.tiles, g.n_tiles, g.act, dtype, y, NULL, y_dtype);
        check_gate_up(&g, act, &up_ratio);
        check_down(&g, y, y_dtype, &down_ratio);
        fenced = fenced && outside_holds(&g, act, act_row) && outside_holds(&g, y, y_row);
        free_output(act);
        free_output(y);
        group_end(&g);
    }
    snprintf(what, sizeof what, "gate and up, %s", describe(w_dtype, dtype));
    ok_worst(up_ratio, backend->name, what);
    snprintf(what, sizeof what, "down, %s", describe(w_dtype, dtype));
    ok_worst(down_ratio, backend->name, what);
    ok(fenced, "%s: %s: nothing is written outside the tiles' rows", backend->name, describe(w_dtype, dtype));
}

/* Both halves, one after the other. */
struct outputs {
    size_t act_bytes, y_bytes;
    void *act, *y; /* of the group's type, y of two parts as floats */
};

static enum sy_dtype y_type(const struct group *g)
{
    return g->dtype == SY_BF16X2 ? SY_F32 : g->dtype;
}

static struct outputs new_outputs(const struct group *g)
{
    size_t element = sy_dtype_bytes(g->dtype);
    struct outputs o = {(size_t)(g->n_rows * g->F) * element, (size_t)(g->n_rows * g->D) * element, NULL, NULL};

    o.act = new_output(o.act_bytes);
    o.y = new_output(o.y_bytes);
    return o;
}

static void free_outputs(struct outputs *o)
{
    free_output(o->act);
    free_output(o->y);
}

static void run_both(const struct sy_kernels *backend, struct sy_queue *q, const struct group *g,
                     const struct sy_tile *tiles, int n_tiles, const struct outputs *o)
{
    poison(o->act, o->act_bytes);
    poison(o->y, o->y_bytes);
    backend->expert_gate_up(q, tiles, n_tiles, g->x, g->dtype, &g->glu, o->act);
    backend->expert_down(q, tiles, n_tiles, o->act, g->dtype, o->y, NULL, y_type(g));
}

/* Rows that a list sends to places of their own: last row first. */
static bool places_hold(const struct sy_kernels *backend, const struct group *g, const struct outputs *whole,
                        const struct outputs *again)
{
    size_t row = (size_t)g->D * sy_dtype_bytes(g->dtype);
    void **y_rows = new_bytes(sizeof *y_rows * (size_t)g->n_rows);
    bool held = true;

    for (int i = 0; i < g->n_rows; i++)
        y_rows[i] = (uint8_t *)again->y + (size_t)(g->n_rows - 1 - i) * row;
    poison(again->y, again->y_bytes);
    backend->expert_down(queues[1], g->tiles, g->n_tiles, whole->act, g->dtype, NULL, y_rows, y_type(g));
    for (int i = 0; i < g->n_rows; i++)
        held = held && !memcmp(y_rows[i], (uint8_t *)whole->y + (size_t)i * row, row);
    held = held && fences_hold(again->y, again->y_bytes);
    free_bytes(y_rows);
    return held;
}

static bool same(const struct outputs *a, const struct outputs *b)
{
    return !memcmp(a->act, b->act, a->act_bytes) && !memcmp(a->y, b->y, a->y_bytes);
}

/* A row's bits must be the same however rows are cut into tiles, in which order tiles come, and with any threads. */
static void test_exact(const struct sy_kernels *backend, enum sy_dtype w_dtype, enum sy_dtype dtype)
{
    const int n_rows[] = {1, 140, 20, 8}, steps[] = {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100, 129};
    struct group g;
    group_begin(&g, backend, w_dtype, dtype, 290, random_int(33, 60), n_rows, 4);
    struct outputs whole = new_outputs(&g), again = new_outputs(&g);
    struct sy_tile *cut = new_bytes(sizeof *cut * (size_t)g.n_rows);
    bool threads = true, cuts = true;

    run_both(backend, queues[0], &g, g.tiles, g.n_tiles, &whole);
    for (int i = 1; i < THREADS_MAX; i++) {
        run_both(backend, queues[i], &g, g.tiles, g.n_tiles, &again);
        threads = threads && same(&whole, &again);
    }
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        int n = 0;
        for (int i = g.n_tiles - 1; i >= 0; i--) {
            for (int r = 0, left; r < g.tiles[i].n_rows; r += steps[s], n++) {
                cut[n] = g.tiles[i];
                left = g.tiles[i].n_rows - r;
                cut[n].row += r;
                cut[n].n_rows = left < steps[s] ? left : steps[s];
            }
        }
        run_both(backend, queues[s % THREADS_MAX], &g, cut, n, &again);
        cuts = cuts && same(&whole, &again);
    }
    ok(threads, "%s: %s: the same bits with 1, 2 and 3 threads", backend->name, describe(w_dtype, dtype));
    ok(cuts, "%s: %s: the same bits for any tiles", backend->name, describe(w_dtype, dtype));
    ok(places_hold(backend, &g, &whole, &again), "%s: %s: the same rows at places of their own", backend->name,
       describe(w_dtype, dtype));
    free_outputs(&whole);
    free_outputs(&again);
    free_bytes(cut);
    group_end(&g);
}

/* Experts with few rows beside one with many, each long at work: those of a launch wait for each other only as they must. */
static void test_uneven(const struct sy_kernels *backend)
{
    const int n_rows[] = {60, 9, 31, 32, 17, 30, 25, 32};
    struct group g;
    group_begin(&g, backend, SY_BF16, SY_BF16, fewer(512, 64), fewer(2048, 100), n_rows, 8);
    struct outputs whole = new_outputs(&g), again = new_outputs(&g);

    run_both(backend, queues[0], &g, g.tiles, g.n_tiles, &whole);
    poison(again.act, again.act_bytes);
    poison(again.y, again.y_bytes);
    for (int i = 0; i < g.n_tiles; i++) {
        backend->expert_gate_up(queues[1], &g.tiles[i], 1, g.x, g.dtype, &g.glu, again.act);
        backend->expert_down(queues[1], &g.tiles[i], 1, again.act, g.dtype, again.y, NULL, y_type(&g));
    }
    ok(same(&whole, &again), "%s: experts with 9 to 60 rows: the same bits together and one by one", backend->name);
    free_outputs(&whole);
    free_outputs(&again);
    group_end(&g);
}

/* One gate and one up weight of 1 make act = silu(x) * x, which shows the exponential's accuracy and its ends. */
static void test_silu(const struct sy_kernels *backend)
{
    static const float ends[] = {INFINITY, -200.0f, -100.0f, -88.9f, -88.0f, 0.0f, -0.0f, 1e-30f, 88.0f, 104.0f, 1e15f};
    const int n = 3000, n_ends = sizeof ends / sizeof *ends;
    float one = 1.0f, *x = new_floats((size_t)n), *act = new_floats((size_t)n);
    struct matrix m = new_matrix(backend, SY_F32, 1, 1);
    double ratio = 0.0;

    memcpy(m.published, &one, sizeof one);
    matrix_pack_again(backend, &m);
    struct sy_weight w = interleave(backend, &m, &m);
    for (int i = 0; i < n; i++) {
        x[i] = i < n_ends ? ends[i] : i == n_ends ? NAN : random_float() * (i % 3 ? 5.0f : 87.0f);
    }
    struct sy_tile tile = {&w, NULL, 0, n};
    backend->expert_gate_up(queues[0], &tile, 1, x, SY_F32, &(struct sy_glu){0}, act);
    /* Exponential 2e-7, three roundings; below -88.7 e^-x is infinite and the result 0 instead of up to 2.3e-35. */
    for (int i = 1; i < n; i++) {
        double exact = (double)x[i] / (1.0 + exp(-(double)x[i])) * (double)x[i];
        if (i != n_ends)
            worst(&ratio, (double)act[i], exact, (2e-7 + 4 * EPS) * fabs(exact) + 3e-35);
    }
    ok_worst(ratio, backend->name, "silu over its whole range");
    ok(act[0] == INFINITY && act[n_ends] != act[n_ends], "%s: silu of infinity and NaN", backend->name);
    free_bytes(x);
    free_bytes(act);
    free_output((void *)w.data);
    free_matrix(&m);
}

/* An output is NaN in the whole of one row, and as it was in the others. */
static bool nan_in_row(const void *found, const void *clean, enum sy_dtype dtype, int n_rows, int width, int row)
{
    size_t row_bytes = (size_t)width * sy_dtype_bytes(dtype);

    for (int r = 0; r < n_rows; r++) {
        const uint8_t *f = (const uint8_t *)found + (size_t)r * row_bytes;
        if (r != row && memcmp(f, (const uint8_t *)clean + (size_t)r * row_bytes, row_bytes) != 0)
            return false;
        for (int i = 0; r == row && i < width; i++) {
            if (!isnan(sy_row_float(dtype, f, (size_t)width, (size_t)i)))
                return false;
        }
    }
    return true;
}

/* NaN in a row comes out as NaN, through both halves, in that row alone. */
static void test_nan(const struct sy_kernels *backend, enum sy_dtype w_dtype, enum sy_dtype dtype)
{
    /* Rounded up as numbers, the first would become -0; cut off, the second would become infinity. */
    static const uint32_t words[] = {0x7fffffff, 0xff800001};
    static const uint16_t halves[] = {0x7fff, 0xff81};
    static const int inputs[] = {1, 2, 33, 64, 95};
    bool held = true;

    for (int i = 0; i < 10; i++) {
        const int n_rows[] = {i % 2 ? 40 : 6};
        struct group g;
        group_begin(&g, backend, w_dtype, dtype, inputs[i / 2], inputs[(i + 3) % 5], n_rows, 1);
        struct outputs clean = new_outputs(&g), o = new_outputs(&g);
        size_t bytes = part_bytes(dtype), row = (size_t)(g.tiles[0].row + random_int(0, n_rows[0] - 1));
        size_t at = sy_row_index(dtype, (size_t)g.D, row, (size_t)random_int(0, g.D - 1));
        run_both(backend, queues[0], &g, g.tiles, 1, &clean);
        memcpy((uint8_t *)g.x + at * bytes,
               dtype != SY_F32 ? (const void *)&halves[i % 2] : (const void *)&words[i % 2], bytes);
        run_both(backend, queues[1], &g, g.tiles, 1, &o);
        held = held && nan_in_row(o.act, clean.act, dtype, g.n_rows, g.F, (int)row) &&
               nan_in_row(o.y, clean.y, y_type(&g), g.n_rows, g.D, (int)row);
        free_outputs(&clean);
        free_outputs(&o);
        group_end(&g);
    }
    ok(held, "%s: %s: NaN stays NaN, and in its row", backend->name, describe(w_dtype, dtype));
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends);

    plan_backends(count_tests(backends, n, 6 * 2 * 7 + 3, 2 * 7, 0));
    random_begin();
    for (int b = 0; b < n; b++) {
        static const enum sy_dtype types[] = {SY_F32, SY_F16, SY_BF16, SY_I8, SY_F8_E4M3, SY_MXFP4};
        queues_begin(backends[b]);
        int n_pairs = takes_x2(backends[b]) ? 14 : 12;
        for (int i = 0; i < n_pairs; i++) {
            enum sy_dtype w_dtype = i < 12 ? types[i / 2] : i == 12 ? SY_BF16 : SY_F8_E4M3;
            enum sy_dtype dtype = i >= 12 ? SY_BF16X2 : i % 2 ? SY_BF16 : SY_F32;
            test_values(backends[b], w_dtype, dtype);
            test_exact(backends[b], w_dtype, dtype);
            test_nan(backends[b], w_dtype, dtype);
        }
        test_uneven(backends[b]);
        test_silu(backends[b]);
        queues_end(backends[b]);
    }
    return tap_exit();
}
