/* SPDX-License-Identifier: Apache-2.0
 * panel_amx_few.c - a few BF16 rows times BF16 panels in vectors, with the bits that AMX tiles give
 *
 * When a weight is used for a few rows only, memory is what limits, and vectors read it a little faster than tiles, which
 * also have to be configured. TDPBF16PS is, for each output and block of 32 inputs,
 *   even = chain of fused multiply-adds over the block's even inputs, odd = the same over the odd ones, from zero
 *   sum = sum + (even + odd)
 * in FP32, rounded to nearest, with subnormal numbers taken and given as zero. A row's two parts are as two rows, but for the
 * sum, to which the block of hi parts is added first. Source: Intel's Instruction Set Reference; that the bits are the same
 * is held by the tests that compare a row alone with the same row among many.
 */
#include "cpu/panel.h"

#ifdef SY_ISA_amx

#include <immintrin.h>

#define LINE     64     /* bytes of two inputs of a panel */
#define ROWS_MAX 4      /* of parts, in registers */
#define FLUSH    0x8040 /* of MXCSR: subnormal results and inputs are zero */
#define AHEAD    16     /* lines: how far ahead of its use a panel is asked for */

/* acc[m][p] += x[m] . panel p over n_lines lines of each panel, summed in blocks of block_lines. x holds floats, the parts of
 * a row one after the other. m_rows, n_parts and n are constants of the caller, so that even and odd sums live in registers. */
VEC_INLINE void tile(int m_rows, int n_parts, int n, float (*x)[PANEL_K_STEP], int n_lines, int block_lines,
                     const uint8_t *const *panels, size_t at, float *acc, size_t acc_stride)
{
    for (int first = 0; first < n_lines; first += block_lines) {
        int end = n_lines - first < block_lines ? n_lines : first + block_lines;
        vf even[ROWS_MAX][PANEL_N_MAX], odd[ROWS_MAX][PANEL_N_MAX];
        VEC_UNROLL
        for (int i = 0; i < m_rows * n_parts * n; i++)
            even[i / n][i % n] = odd[i / n][i % n] = vec_zero();
        for (int line = first; line < end; line++) {
            vf w[PANEL_N_MAX][2];
            VEC_UNROLL
            for (int p = 0; p < n; p++) {
                const uint8_t *from = panels[p] + at + (size_t)line * LINE;
                vec_load_bf16_pairs((const uint16_t *)from, &w[p][0], &w[p][1]);
                __builtin_prefetch(from + AHEAD * LINE);
            }
            VEC_UNROLL
            for (int m = 0; m < m_rows * n_parts; m++) {
                vf x0 = vec_set(x[m][2 * line]), x1 = vec_set(x[m][2 * line + 1]);
                VEC_UNROLL
                for (int p = 0; p < n; p++) {
                    even[m][p] = vec_fma(x0, w[p][0], even[m][p]);
                    odd[m][p] = vec_fma(x1, w[p][1], odd[m][p]);
                }
            }
        }
        /* A block that is cut off is filled up with zeros in tiles, whose products make 0 of -0; adding -0 does nothing. */
        vf fill = vec_set(end - first < block_lines ? 0.0f : -0.0f);
        VEC_UNROLL
        for (int i = 0; i < m_rows * n_parts * n; i++) {
            even[i / n][i % n] = vec_add(even[i / n][i % n], fill);
            odd[i / n][i % n] = vec_add(odd[i / n][i % n], fill);
        }
        VEC_UNROLL
        for (int i = 0; i < m_rows * n; i++) {
            float *at = acc + (size_t)(i / n) * acc_stride + (size_t)(i % n) * SY_PANEL;
            vf sum = vec_load(at);
            VEC_UNROLL
            for (int part = 0; part < n_parts; part++) {
                int m = i / n * n_parts + part;
                sum = vec_add(sum, vec_add(even[m][i % n], odd[m][i % n]));
            }
            vec_store(at, sum);
        }
    }
}

typedef void tile_fn(float (*x)[PANEL_K_STEP], int n_lines, int block_lines, const uint8_t *const *panels, size_t at,
                     float *acc, size_t acc_stride);

#define TILE(m, parts, n)                                                                                        \
    static void tile_##m##x##parts##x##n(float(*x)[PANEL_K_STEP], int n_lines, int block_lines,                  \
                                         const uint8_t *const *panels, size_t at, float *acc, size_t acc_stride) \
    {                                                                                                            \
        tile(m, parts, n, x, n_lines, block_lines, panels, at, acc, acc_stride);                                 \
    }

TILE(1, 1, 1)
TILE(1, 1, 2)
TILE(1, 1, 4)
TILE(2, 1, 1)
TILE(2, 1, 2)
TILE(3, 1, 1)
TILE(3, 1, 2)
TILE(4, 1, 1)
TILE(4, 1, 2)
TILE(1, 2, 1)
TILE(1, 2, 2)
TILE(1, 2, 4)
TILE(2, 2, 1)
TILE(2, 2, 2)

/* [parts - 1][rows - 1][panels at once: 1, 2, 4] */
static tile_fn *const tiles[2][ROWS_MAX][3] = {
    {
        {tile_1x1x1, tile_1x1x2, tile_1x1x4},
        {tile_2x1x1, tile_2x1x2},
        {tile_3x1x1, tile_3x1x2},
        {tile_4x1x1, tile_4x1x2},
    },
    {
        {tile_1x2x1, tile_1x2x2, tile_1x2x4},
        {tile_2x2x1, tile_2x2x2},
    },
};

/* Inputs k .. k + n - 1 of the rows as floats, part by part, and a zero behind an odd last one. */
static void widen(const struct panel_dot *dot, int n_parts, int k, int n, float (*x)[PANEL_K_STEP])
{
    for (int m = 0; m < dot->n_rows * n_parts; m++) {
        const uint8_t *row = dot->x + (size_t)(m / n_parts) * dot->x_bytes + (size_t)(m % n_parts) * dot->x_part;
        if (n % 2)
            x[m][n] = 0.0f;
        for (int i = 0; i < n; i += VEC_N)
            vec_store_upto(x[m] + i, vec_lanes(n, i),
                           vec_load_type_upto(SY_BF16, row, (size_t)(k + i), vec_lanes(n, i)));
    }
}

/* Rows row .. row + n_rows - 1 times all panels, one step along K of n inputs from k on. */
static void step(const struct panel_dot *dot, int row, int n_rows, int n_parts, int k, int n, float (*x)[PANEL_K_STEP])
{
    int block_lines = dot->k > 16 ? 16 : 8, wide = n_rows > 1 ? 1 : 2;
    float *acc = dot->acc + (size_t)row * dot->acc_stride;

    for (int p = 0; p < dot->n_panels; p += 1 << wide) {
        while (1 << wide > dot->n_panels - p)
            wide--;
        tiles[n_parts - 1][n_rows - 1][wide](x + row * n_parts, (n + 1) / 2, block_lines, dot->panels + p,
                                             (size_t)(k / 2) * LINE, acc + p * SY_PANEL, dot->acc_stride);
    }
}

void SY_CPU(panel_amx_few)(const struct panel_dot *dot)
{
    float x[2 * PANEL_FEW_ROWS][PANEL_K_STEP];
    unsigned mode = _mm_getcsr();
    int n_parts = panel_n_parts(dot->x_dtype), row_step = ROWS_MAX / n_parts;

    _mm_setcsr(mode | FLUSH);
    for (int m = 0; !dot->add && m < dot->n_rows; m++)
        memset(dot->acc + (size_t)m * dot->acc_stride, 0, (size_t)dot->n_panels * SY_PANEL * sizeof *dot->acc);
    for (int k = 0; k < dot->k; k += PANEL_K_STEP) {
        int n = dot->k - k < PANEL_K_STEP ? dot->k - k : PANEL_K_STEP;
        widen(dot, n_parts, k, n, x);
        for (int row = 0; row < dot->n_rows; row += row_step)
            step(dot, row, dot->n_rows - row < row_step ? dot->n_rows - row : row_step, n_parts, k, n, x);
    }
    _mm_setcsr(mode);
}

#endif
