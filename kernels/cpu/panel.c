/* SPDX-License-Identifier: Apache-2.0
 * panel.c - rows times packed panels
 */
#include "cpu/panel.h"

/* How far ahead of its use a panel is asked for when few rows use it, so that memory is what limits. */
#define PREFETCH_BYTES 1024

/* One panel's weights of one input, in the accumulators' order. */
VEC_INLINE void load_weights(enum sy_dtype dtype, const uint8_t *w, vf *a, vf *b)
{
    if (dtype == SY_BF16) {
        vec_load_bf16_pairs((const uint16_t *)w, a, b);
    } else {
        *a = vec_load_type(dtype, w, 0);
        *b = vec_load_type(dtype, w, VEC_N);
    }
}

/* acc[m][p] += sum over k of x[m][k] * panel p[k]. m_rows, n_panels and dtype are constants of the caller, so that all
 * sums live in registers. Rows of acc are acc_stride floats apart, panels panel_bytes. */
VEC_INLINE void tile(int m_rows, int n_panels, enum sy_dtype dtype, const float *const *x, int k_count,
                     const uint8_t *panels, size_t panel_bytes, float *acc, size_t acc_stride)
{
    const size_t step = SY_PANEL * (dtype == SY_F32 ? 4 : 2);
    vf sum[6][4][2];

    VEC_UNROLL
    for (int m = 0; m < m_rows; m++) {
        VEC_UNROLL
        for (int p = 0; p < n_panels; p++) {
            sum[m][p][0] = vec_load(acc + m * acc_stride + p * SY_PANEL);
            sum[m][p][1] = vec_load(acc + m * acc_stride + p * SY_PANEL + VEC_N);
        }
    }
    for (int k = 0; k < k_count; k++) {
        vf w[4][2];
        VEC_UNROLL
        for (int p = 0; p < n_panels; p++) {
            const uint8_t *at = panels + p * panel_bytes + k * step;
            load_weights(dtype, at, &w[p][0], &w[p][1]);
            __builtin_prefetch(at + PREFETCH_BYTES);
        }
        VEC_UNROLL
        for (int m = 0; m < m_rows; m++) {
            vf xm = vec_set(x[m][k]);
            VEC_UNROLL
            for (int p = 0; p < n_panels; p++) {
                sum[m][p][0] = vec_fma(xm, w[p][0], sum[m][p][0]);
                sum[m][p][1] = vec_fma(xm, w[p][1], sum[m][p][1]);
            }
        }
    }
    VEC_UNROLL
    for (int m = 0; m < m_rows; m++) {
        VEC_UNROLL
        for (int p = 0; p < n_panels; p++) {
            vec_store(acc + m * acc_stride + p * SY_PANEL, sum[m][p][0]);
            vec_store(acc + m * acc_stride + p * SY_PANEL + VEC_N, sum[m][p][1]);
        }
    }
}

/* One tile shape for the three weight types. */
#define TILE(m, p)                                                                                             \
    static void tile_##m##x##p(enum sy_dtype dtype, const float *const *x, int k_count, const uint8_t *panels, \
                               size_t panel_bytes, float *acc, size_t acc_stride)                              \
    {                                                                                                          \
        if (dtype == SY_BF16)                                                                                  \
            tile(m, p, SY_BF16, x, k_count, panels, panel_bytes, acc, acc_stride);                             \
        else if (dtype == SY_F16)                                                                              \
            tile(m, p, SY_F16, x, k_count, panels, panel_bytes, acc, acc_stride);                              \
        else                                                                                                   \
            tile(m, p, SY_F32, x, k_count, panels, panel_bytes, acc, acc_stride);                              \
    }

typedef void tile_fn(enum sy_dtype dtype, const float *const *x, int k_count, const uint8_t *panels, size_t panel_bytes,
                     float *acc, size_t acc_stride);

TILE(1, 1)
TILE(1, 2)
TILE(1, 4)
TILE(2, 1)
TILE(2, 2)
TILE(3, 1)
TILE(3, 2)
TILE(4, 1)
TILE(5, 1)
TILE(6, 1)

/* Few rows take several panels at once, because a multiply-add waits for the one before it in its chain and eight or
 * more chains hide that. [rows - 1][panels at once: 1, 2, 4] */
static tile_fn *const tiles[6][3] = {
    {tile_1x1, tile_1x2, tile_1x4}, {tile_2x1, tile_2x2}, {tile_3x1, tile_3x2}, {tile_4x1}, {tile_5x1}, {tile_6x1},
};

static void row_group(enum sy_dtype dtype, const float *const *x, int n_rows, int k_count, const uint8_t *panels,
                      size_t panel_bytes, int n_panels, float *acc, size_t acc_stride)
{
    int wide = 2;

    for (int p = 0; p < n_panels;) {
        while (1 << wide > n_panels - p || n_rows << wide > VEC_TILE_ROWS)
            wide--;
        tiles[n_rows - 1][wide](dtype, x, k_count, panels + (size_t)p * panel_bytes, panel_bytes, acc + p * SY_PANEL,
                                acc_stride);
        p += 1 << wide;
    }
}

void SY_CPU(panel_dot)(const struct sy_weight *w, int first, int n_panels, const void *const *rows,
                       enum sy_dtype x_dtype, int n_rows, float *acc)
{
    float widened[PANEL_ROWS_MAX][PANEL_K_STEP];
    const float *x[PANEL_ROWS_MAX];
    size_t panel_bytes = sy_cpu_panel_bytes(w->dtype, w->k), acc_stride = (size_t)n_panels * SY_PANEL;
    const uint8_t *panels = (const uint8_t *)w->data + (size_t)first * panel_bytes;
    int n_groups = (n_rows + VEC_TILE_ROWS - 1) / VEC_TILE_ROWS;

    memset(acc, 0, (size_t)n_rows * acc_stride * sizeof *acc);
    for (int k = 0; k < w->k; k += PANEL_K_STEP) {
        int k_count = w->k - k < PANEL_K_STEP ? w->k - k : PANEL_K_STEP;
        for (int r = 0; r < n_rows; r++) {
            x[r] = x_dtype == SY_F32 ? (const float *)rows[r] + k : widened[r];
            for (int i = 0; x_dtype == SY_BF16 && i < k_count; i += VEC_N)
                vec_store(widened[r] + i, vec_load_type_upto(SY_BF16, rows[r], (size_t)(k + i), vec_lanes(k_count, i)));
        }
        const uint8_t *from = panels + (size_t)k * SY_PANEL * sy_dtype_bytes(w->dtype);
        /* Groups of nearly equal size: 8 rows are 4 and 4, since 6 and 2 would leave the 2 with few chains. Panels are
         * the outer loop when there are many groups, so that a panel's part is read from memory once. */
        int p_step = n_groups > 1 ? 1 : n_panels;
        for (int p = 0; p < n_panels; p += p_step) {
            for (int g = 0; g < n_groups; g++) {
                int r0 = (int)((long)n_rows * g / n_groups), r1 = (int)((long)n_rows * (g + 1) / n_groups);
                row_group(w->dtype, x + r0, r1 - r0, k_count, from + (size_t)p * panel_bytes, panel_bytes, p_step,
                          acc + (size_t)r0 * acc_stride + p * SY_PANEL, acc_stride);
            }
        }
    }
}

struct panel_cut SY_CPU(panel_cut)(int n_rows, int n_columns, int column_step)
{
    struct panel_cut cut = {.n_rows = n_rows, .n_columns = n_columns, .column_step = column_step};
    int n_row_steps = (n_rows + PANEL_ROWS_MAX - 1) / PANEL_ROWS_MAX;

    cut.row_step = n_row_steps ? (n_rows + n_row_steps - 1) / n_row_steps : 1;
    cut.n_column_steps = (n_columns + column_step - 1) / column_step;
    cut.n_items = n_row_steps * cut.n_column_steps;
    return cut;
}
