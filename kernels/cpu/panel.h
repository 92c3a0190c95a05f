/* SPDX-License-Identifier: Apache-2.0
 * panel.h - rows times packed panels: the inner loop of every matrix kernel
 *
 * Exactness: an output is one chain acc = x[k] * w[k][n] + acc for k = 0, 1, .. K-1, starting at zero, whichever tile
 * shape computes it. Chains are cut at PANEL_K_STEP and go on from memory, which changes no bit.
 *
 * Accumulators are [n_rows][n_panels][SY_PANEL] floats, in an order inside a panel that suits the weight type:
 * panel_sums() gives the natural one.
 */
#ifndef SY_KERNELS_CPU_PANEL_H
#define SY_KERNELS_CPU_PANEL_H

#include "cpu/cpu.h"
#include "cpu/vec.h"

#define PANEL_ROWS_MAX 96  /* rows of a work item; its inputs of PANEL_K_STEP columns stay in the L2 cache */
#define PANEL_N_MAX    4   /* panels of a work item */
#define PANEL_K_STEP   256 /* a panel's part of so many inputs stays in the L1 cache */

/* acc = rows times panels first .. first + n_panels - 1 of w. rows[i] is input row i: w->k elements of x_dtype, SY_F32
 * or SY_BF16. 1 <= n_rows <= PANEL_ROWS_MAX, 1 <= n_panels <= PANEL_N_MAX. */
void SY_CPU(panel_dot)(const struct sy_weight *w, int first, int n_panels, const void *const *rows,
                       enum sy_dtype x_dtype, int n_rows, float *acc);

/* The sums of one row and panel in order of outputs. */
VEC_INLINE void panel_sums(enum sy_dtype w_dtype, const float *acc, vf *first, vf *second)
{
    vf a = vec_load(acc), b = vec_load(acc + VEC_N);

    if (w_dtype == SY_BF16) {
        vec_interleave(a, b, first, second);
    } else {
        *first = a;
        *second = b;
    }
}

/* How a matrix of n_rows rows and n_columns panels (or pairs of panels) is cut into work items of at most column_step
 * columns: item i is rows row .. and columns column .. */
struct panel_cut {
    int n_rows, n_columns, row_step, column_step, n_column_steps, n_items;
};

struct panel_cut SY_CPU(panel_cut)(int n_rows, int n_columns, int column_step);

#endif
