/* SPDX-License-Identifier: Apache-2.0
 * panel.c - rows times packed panels
 */
#include "cpu/panel.h"

#define INPUTS_MAX (1 << 19) /* of a work item's rows together: half of an L2 cache of 2 MB in BF16 */
#define ROW_UNIT   32        /* rows that tiles take at once */

/* Of a step of a quantised panel, once it is decoded: 256 inputs of BF16, 128 of FP32. */
#define DECODED_BYTES 8192

/* How far ahead of its use a panel is asked for when few rows use it, so that memory is what limits. */
#define PREFETCH_BYTES 1024

/* How panels are multiplied: widened from their type, or BF16 pairs by dot products. */
enum product { FROM_F32, FROM_F16, FROM_BF16, DOT_BF16, N_PRODUCTS };

#define ROWS_MAX 6 /* of a register tile */

/* Weights of one group of inputs (a pair for BF16) of one panel: w[i][v] is input i of outputs v * VEC_N on. */
VEC_INLINE void load_group(enum product product, const uint8_t *at, vf w[2][PANEL_VECS])
{
    VEC_UNROLL
    for (int v = 0; v < PANEL_VECS; v++) {
        if (product == FROM_BF16)
            vec_load_bf16_pairs((const uint16_t *)at + 2 * v * VEC_N, &w[0][v], &w[1][v]);
        else
            w[0][v] = vec_load_type(product == FROM_F16 ? SY_F16 : SY_F32, at, (size_t)(v * VEC_N));
    }
}

/* 32 bits of a row: a float, or a pair of BF16 inputs. Rows need no alignment. */
VEC_INLINE float load_word(const uint8_t *row, int i)
{
    float f;

    memcpy(&f, row + (size_t)i * sizeof f, sizeof f);
    return f;
}

VEC_INLINE vf multiply_add(enum product product, vf x, vf w, vf sum)
{
#if VEC_HAS_DOT
    if (product == DOT_BF16)
        return vec_dot_bf16(x, w, sum);
#endif
    (void)product;
    return vec_fma(x, w, sum);
}

/* acc[m][p] += x[m] . panel p over n_groups groups of inputs, which begin at byte `at` of a panel. m_rows, n_panels and
 * product are constants of the caller, so that all sums live in registers. */
VEC_INLINE void tile(int m_rows, int n_panels, enum product product, const uint8_t *const *x, int n_groups,
                     const uint8_t *const *panels, size_t at, float *acc, size_t acc_stride)
{
    const int group = product == FROM_BF16 ? 2 : 1;
    const size_t step = SY_PANEL * (product == FROM_F16 ? 2 : 4);
    const uint8_t *from[PANEL_N_MAX];
    vf sum[ROWS_MAX][PANEL_N_MAX][PANEL_VECS];

    VEC_UNROLL
    for (int p = 0; p < n_panels; p++)
        from[p] = panels[p] + at;
    VEC_UNROLL
    for (int m = 0; m < m_rows; m++) {
        VEC_UNROLL
        for (int i = 0; i < n_panels * PANEL_VECS; i++)
            sum[m][i / PANEL_VECS][i % PANEL_VECS] = vec_load(acc + m * acc_stride + i * VEC_N);
    }
    for (int g = 0; g < n_groups; g++) {
        vf w[PANEL_N_MAX][2][PANEL_VECS];
        VEC_UNROLL
        for (int p = 0; p < n_panels; p++) {
            load_group(product, from[p] + g * step, w[p]);
            __builtin_prefetch(from[p] + g * step + PREFETCH_BYTES);
        }
        VEC_UNROLL
        for (int i = 0; i < group; i++) {
            VEC_UNROLL
            for (int m = 0; m < m_rows; m++) {
                vf xm = vec_set(load_word(x[m], g * group + i));
                VEC_UNROLL
                for (int j = 0; j < n_panels * PANEL_VECS; j++) {
                    vf *s = &sum[m][j / PANEL_VECS][j % PANEL_VECS], wj = w[j / PANEL_VECS][i][j % PANEL_VECS];
                    *s = multiply_add(product, xm, wj, *s);
                }
            }
        }
    }
    VEC_UNROLL
    for (int m = 0; m < m_rows; m++) {
        VEC_UNROLL
        for (int i = 0; i < n_panels * PANEL_VECS; i++)
            vec_store(acc + m * acc_stride + i * VEC_N, sum[m][i / PANEL_VECS][i % PANEL_VECS]);
    }
}

typedef void tile_fn(const uint8_t *const *x, int n_groups, const uint8_t *const *panels, size_t at, float *acc,
                     size_t acc_stride);

/* One tile shape for each product. */
#define TILE(m, p, product)                                                                                         \
    static void tile_##m##x##p##_##product(const uint8_t *const *x, int n_groups, const uint8_t *const *panels,     \
                                           size_t at, float *acc, size_t acc_stride)                                \
    {                                                                                                               \
        tile(m, p, product, x, n_groups, panels, at, acc, acc_stride);                                              \
    }
#define TILES(product)                                                                                            \
    TILE(1, 1, product) TILE(2, 1, product) TILE(3, 1, product) TILE(4, 1, product) TILE(5, 1, product)           \
    TILE(6, 1, product) TILE(1, 2, product) TILE(2, 2, product) TILE(3, 2, product) TILE(1, 4, product)           \
    TILES_WIDE(product)

/* Few rows take several panels at once, because a multiply-add waits for the one before it in its chain and eight or
 * more chains hide that. With 32 registers several rows do, too. */
#if VEC_TILE_CELLS >= 24
#define TILES_WIDE(product)                                                                              \
    TILE(4, 2, product) TILE(5, 2, product) TILE(6, 2, product) TILE(2, 4, product) TILE(3, 4, product) \
    TILE(4, 4, product) TILE(5, 4, product) TILE(6, 4, product)
#define WIDE(m, p, product) tile_##m##x##p##_##product
#else
#define TILES_WIDE(product)
#define WIDE(m, p, product) NULL
#endif

/* [rows - 1][panels at once: 1, 2, 4] */
#define SHAPES(product)                                                      \
    {                                                                        \
        {tile_1x1_##product, tile_1x2_##product, tile_1x4_##product},        \
        {tile_2x1_##product, tile_2x2_##product, WIDE(2, 4, product)},       \
        {tile_3x1_##product, tile_3x2_##product, WIDE(3, 4, product)},       \
        {tile_4x1_##product, WIDE(4, 2, product), WIDE(4, 4, product)},      \
        {tile_5x1_##product, WIDE(5, 2, product), WIDE(5, 4, product)},      \
        {tile_6x1_##product, WIDE(6, 2, product), WIDE(6, 4, product)},      \
    }

TILES(FROM_F32)
TILES(FROM_F16)
TILES(FROM_BF16)
#if VEC_HAS_DOT
TILES(DOT_BF16)
#endif

static tile_fn *const tiles[N_PRODUCTS][ROWS_MAX][3] = {
    [FROM_F32] = SHAPES(FROM_F32),
    [FROM_F16] = SHAPES(FROM_F16),
    [FROM_BF16] = SHAPES(FROM_BF16),
#if VEC_HAS_DOT
    [DOT_BF16] = SHAPES(DOT_BF16),
#endif
};

static enum product product_of(const struct panel_dot *dot)
{
    if (dot->w_dtype == SY_F32)
        return FROM_F32;
    if (dot->w_dtype == SY_F16)
        return FROM_F16;
    return panel_multiplies_bf16(dot->x_dtype) ? DOT_BF16 : FROM_BF16;
}

/* VEC_N floats or fewer of a row, from its parts. */
VEC_INLINE vf load_row(const struct panel_dot *dot, const uint8_t *row, int i, int lanes)
{
    if (dot->x_dtype != SY_BF16X2)
        return vec_load_type_upto(dot->x_dtype, row, (size_t)i, lanes);
    return vec_add(vec_load_type_upto(SY_BF16, row, (size_t)i, lanes),
                   vec_load_type_upto(SY_BF16, row + dot->x_part, (size_t)i, lanes));
}

/* Inputs k .. k + k_count - 1 of every row where the product wants them: in place, or widened or filled up to whole groups
 * in scratch. */
static void prepare_rows(const struct panel_dot *dot, enum product product, int k, int k_count,
                         float scratch[][PANEL_K_STEP], const uint8_t **x)
{
    size_t at = (size_t)k * panel_part_bytes(dot->x_dtype);
    bool in_place = (product == DOT_BF16 || dot->x_dtype == SY_F32) &&
                    (product == FROM_F32 || product == FROM_F16 || k_count % 2 == 0);

    for (int r = 0; r < dot->n_rows; r++) {
        const uint8_t *row = dot->x + (size_t)r * dot->x_bytes + at;
        x[r] = in_place ? row : (const uint8_t *)scratch[r];
        if (in_place)
            continue;
        if (product == DOT_BF16) {
            scratch[r][k_count / 2] = 0.0f;
            memcpy(scratch[r], row, (size_t)k_count * 2);
            continue;
        }
        if (k_count % 2)
            scratch[r][k_count] = 0.0f;
        for (int i = 0; i < k_count; i += VEC_N) {
            int lanes = vec_lanes(k_count, i);
            vec_store_upto(scratch[r] + i, lanes, load_row(dot, row, i, lanes));
        }
    }
}

static void row_group(enum product product, const uint8_t *const *x, int n_rows, int n_groups,
                      const uint8_t *const *panels, size_t at, int n_panels, float *acc, size_t acc_stride)
{
    int wide = 2;

    for (int p = 0; p < n_panels;) {
        while (1 << wide > n_panels - p || (wide && n_rows << wide > VEC_TILE_CELLS))
            wide--;
        tiles[product][n_rows - 1][wide](x, n_groups, panels + p, at, acc + p * SY_PANEL, acc_stride);
        p += 1 << wide;
    }
}

/* One step along K: all rows times all panels. */
static void k_step(const struct panel_dot *dot, enum product product, const uint8_t *const *x, int n_groups, size_t at)
{
    int n_groups_of_rows = (dot->n_rows + VEC_TILE_ROWS - 1) / VEC_TILE_ROWS;
    /* Panels are the outer loop when there are many rows and a tile is one panel wide, so that a panel's part stays in the
     * L1 cache. */
    int p_step = n_groups_of_rows > 1 && VEC_TILE_CELLS < 24 ? 1 : dot->n_panels;

    for (int p = 0; p < dot->n_panels; p += p_step) {
        /* Groups of nearly equal size: 8 rows are 4 and 4, since 6 and 2 would leave the 2 with few chains. */
        for (int g = 0; g < n_groups_of_rows; g++) {
            int r0 = (int)((long)dot->n_rows * g / n_groups_of_rows);
            int r1 = (int)((long)dot->n_rows * (g + 1) / n_groups_of_rows);
            row_group(product, x + r0, r1 - r0, n_groups, dot->panels + p, at, p_step,
                      dot->acc + (size_t)r0 * dot->acc_stride + p * SY_PANEL, dot->acc_stride);
        }
    }
}

/* Not inlined, so that its scratch is not on the stack twice. */
static void __attribute__((noinline)) dot_floats(const struct panel_dot *dot)
{
    float scratch[PANEL_ROWS_MAX][PANEL_K_STEP];
    const uint8_t *x[PANEL_ROWS_MAX];
    enum product product = product_of(dot);
    int group = sy_panel_group(dot->w_dtype);
    size_t group_bytes = SY_PANEL * (size_t)group * sy_dtype_bytes(dot->w_dtype);

#ifdef SY_ISA_amx
    if (product == DOT_BF16) {
        if (dot->n_rows <= PANEL_FEW_ROWS)
            SY_CPU(panel_amx_few)(dot);
        else
            SY_CPU(panel_amx)(dot);
        return;
    }
#endif
    for (int r = 0; !dot->add && r < dot->n_rows; r++)
        memset(dot->acc + (size_t)r * dot->acc_stride, 0, (size_t)dot->n_panels * SY_PANEL * sizeof *dot->acc);
    for (int k = 0; k < dot->k; k += PANEL_K_STEP) {
        int k_count = dot->k - k < PANEL_K_STEP ? dot->k - k : PANEL_K_STEP;
        prepare_rows(dot, product, k, k_count, scratch, x);
        k_step(dot, product, x, (k_count + group - 1) / group, (size_t)(k / group) * group_bytes);
    }
}

/* A step's decoded panels stay in the L1 cache. Where steps are cut depends on the types alone, so a row's bits do not depend
 * on the others. */
static void dot_quantised(const struct panel_dot *dot)
{
    _Alignas(64) uint8_t scratch[PANEL_N_MAX][DECODED_BYTES];
    struct panel_dot step = *dot;
    int k_step;

    step.w_dtype = panel_multiplies_bf16(dot->x_dtype) ? SY_BF16 : SY_F32;
    step.next = NULL;
    k_step = DECODED_BYTES / (int)(SY_PANEL * sy_dtype_bytes(step.w_dtype));
    for (int k = 0; k < dot->k; k += k_step) {
        step.k = dot->k - k < k_step ? dot->k - k : k_step;
        for (int p = 0; p < dot->n_panels; p++) {
            SY_CPU(panel_decode)(dot, p, k, step.k, step.w_dtype, scratch[p]);
            step.panels[p] = scratch[p];
        }
        dot_floats(&step);
        step.x += (size_t)k_step * panel_part_bytes(dot->x_dtype);
        step.add = true;
    }
}

void SY_CPU(panel_dot)(const struct panel_dot *dot)
{
    if (sy_dtype_quantised(dot->w_dtype))
        dot_quantised(dot);
    else
        dot_floats(dot);
}

int SY_CPU(panel_rows_most)(int k)
{
    int most = INPUTS_MAX / (k > 0 ? k : 1) / ROW_UNIT * ROW_UNIT;

    return most > PANEL_ROWS_MAX ? PANEL_ROWS_MAX : most < PANEL_ROWS_MAX / 4 ? PANEL_ROWS_MAX / 4 : most;
}

struct panel_cut SY_CPU(panel_cut)(int n_rows, int k, int n_columns, int column_step)
{
    struct panel_cut cut = {.n_rows = n_rows, .n_columns = n_columns, .column_step = column_step};
    int most = SY_CPU(panel_rows_most)(k), n_row_steps = (n_rows + most - 1) / most;

    /* Steps of nearly the same height, in whole tiles. */
    cut.row_step = n_rows;
    if (n_row_steps > 1)
        cut.row_step = ((n_rows + n_row_steps - 1) / n_row_steps + ROW_UNIT - 1) / ROW_UNIT * ROW_UNIT;
    cut.n_column_steps = (n_columns + column_step - 1) / column_step;
    cut.n_items = n_row_steps * cut.n_column_steps;
    return cut;
}
