/* SPDX-License-Identifier: Apache-2.0
 * panel.h - rows times packed panels: the inner loop of every matrix kernel
 *
 * Exactness: an output's bits depend on its row and its panel alone, whichever tile shape computes it. In the FP32 path it
 * is one chain acc = x[k] * w[k][n] + acc for k = 0, 1, .. K-1; with BF16 dot products one chain over pairs of inputs; in
 * AMX tiles a chain over blocks of 32 inputs. Chains are cut at PANEL_K_STEP and go on from memory, which changes no bit.
 * Rows of two parts are widened to their sums in the FP32 path; in AMX tiles the lo parts of a block follow its hi parts.
 */
#ifndef SY_KERNELS_CPU_PANEL_H
#define SY_KERNELS_CPU_PANEL_H

#include "cpu/cpu.h"
#include "cpu/vec.h"
#include "layout.h"

/* Rows of a work item; their inputs stay in the L2 cache. Tiles are so fast that panels must serve many rows. */
#ifdef SY_ISA_amx
#define PANEL_ROWS_MAX 256
#else
#define PANEL_ROWS_MAX 128
#endif
#define PANEL_N_MAX  4   /* panels of a work item */
#define PANEL_K_STEP 256 /* panels' parts of so many inputs stay in the L1 cache */

#define PANEL_VECS (SY_PANEL / VEC_N)

/* acc = (add ? acc : 0) + rows times panels, for 1 <= n_rows <= PANEL_ROWS_MAX rows of k inputs and 1 <= n_panels <=
 * PANEL_N_MAX panels. x_dtype is SY_F32, SY_BF16 or SY_BF16X2. Where both types are BF16 and the instruction set multiplies
 * BF16, the products are made of BF16 directly; otherwise both sides are widened. Quantised panels are decoded a step of
 * inputs at a time, for all rows together, to BF16 or FP32 panels. */
struct panel_dot {
    enum sy_dtype w_dtype, x_dtype;
    int scale_block;
    const uint8_t *panels[PANEL_N_MAX], *scales[PANEL_N_MAX];
    const uint8_t *x;
    size_t x_bytes; /* from one row to the next */
    size_t x_part;  /* from a row's hi parts to its lo parts, of SY_BF16X2 */
    int n_panels, n_rows, k;
    bool add;
    float *acc; /* row r, panel p at acc + r * acc_stride + p * SY_PANEL */
    size_t acc_stride;
    const uint8_t *next; /* panels that this thread will need next, most likely; NULL: not known */
};

void SY_CPU(panel_dot)(const struct panel_dot *dot);

/* BF16 parts of a number, and bytes of a part; a float is one part. */
VEC_INLINE int panel_n_parts(enum sy_dtype x_dtype)
{
    return x_dtype == SY_BF16X2 ? 2 : 1;
}

VEC_INLINE size_t panel_part_bytes(enum sy_dtype x_dtype)
{
    return x_dtype == SY_F32 ? sizeof(float) : sizeof(uint16_t);
}

/* Whether products are made of BF16, with panels of BF16. Of two parts they are in tiles only: two dot products of vectors
 * take longer than one product in FP32 on Xeons, and as long on EPYCs (RESULTS.md, step 11). */
VEC_INLINE bool panel_multiplies_bf16(enum sy_dtype x_dtype)
{
#ifdef SY_ISA_amx
    return x_dtype != SY_F32;
#else
    return VEC_HAS_DOT && x_dtype == SY_BF16;
#endif
}

VEC_INLINE const uint8_t *panel_of(const struct sy_weight *w, int panel)
{
    return (const uint8_t *)w->data + (size_t)panel * sy_cpu_panel_bytes(w->dtype, w->k);
}

/* Bytes of one scale. */
VEC_INLINE size_t panel_scale_bytes(enum sy_dtype dtype)
{
    return dtype == SY_MXFP4 ? 1 : sizeof(float);
}

/* Panels first .. first + n - 1 of a matrix become the dot's. */
VEC_INLINE void panel_dot_weights(struct panel_dot *dot, const struct sy_weight *w, int first, int n)
{
    for (int p = 0; p < n; p++)
        dot->panels[p] = panel_of(w, first + p);
    for (int p = 0; p < n && w->scale_block; p++) {
        size_t panel_scales = (size_t)(sy_scale_blocks(w->k, w->scale_block) * SY_PANEL);
        dot->scales[p] = (const uint8_t *)w->scales + (size_t)(first + p) * panel_scales * panel_scale_bytes(w->dtype);
    }
    dot->scale_block = w->scale_block;
    dot->w_dtype = w->dtype;
    dot->n_panels = n;
    dot->k = w->k;
    dot->acc_stride = (size_t)n * SY_PANEL;
}

/* decode.c: inputs k .. k + n - 1 of the dot's panel number `panel`, whose type is quantised, as a panel of SY_F32 or SY_BF16
 * (where the instruction set multiplies it). k is a multiple of SY_SCALE_UNIT. out has room for an even number of inputs. */
void SY_CPU(panel_decode)(const struct panel_dot *dot, int panel, int k, int n, enum sy_dtype dtype, void *out);

/* How a matrix of n_rows rows of k inputs and n_columns panels (or pairs of panels) is cut into work items of at most
 * column_step columns. Columns run fastest: the rows of a step stay in the cache until all panels have gone by. */
struct panel_cut {
    int n_rows, n_columns, row_step, column_step, n_column_steps, n_items;
};

/* The largest row_step for k inputs. A cut has as many steps of rows as that takes. */
int SY_CPU(panel_rows_most)(int k);
struct panel_cut SY_CPU(panel_cut)(int n_rows, int k, int n_columns, int column_step);

/* What item i of a cut covers. */
struct panel_item {
    int row, n_rows, column, n_columns;
};

VEC_INLINE struct panel_item panel_item(const struct panel_cut *cut, int i)
{
    struct panel_item item = {.row = i / cut->n_column_steps * cut->row_step,
                              .column = i % cut->n_column_steps * cut->column_step};

    item.n_rows = cut->n_rows - item.row < cut->row_step ? cut->n_rows - item.row : cut->row_step;
    item.n_columns = cut->n_columns - item.column < cut->column_step ? cut->n_columns - item.column : cut->column_step;
    return item;
}

#ifdef SY_ISA_amx
#define PANEL_FEW_ROWS 4

/* panel_dot for rows of BF16 or BF16X2 and panels of BF16, in tiles (panel_amx.c) or, for up to PANEL_FEW_ROWS rows, with the
 * same bits in vectors (panel_amx_few.c). */
void SY_CPU(panel_amx)(const struct panel_dot *dot);
void SY_CPU(panel_amx_release)(void);
void SY_CPU(panel_amx_few)(const struct panel_dot *dot);
#endif

/* Ends a work item that made panel_dot calls: tiles in use cost the kernel time when it switches threads, and the core
 * power. */
VEC_INLINE void panel_release(void)
{
#ifdef SY_ISA_amx
    SY_CPU(panel_amx_release)();
#endif
}

#endif
