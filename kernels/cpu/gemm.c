/* SPDX-License-Identifier: Apache-2.0
 * gemm.c - dense matrices
 */
#include "cpu/panel.h"

struct job {
    const struct sy_weight *w;
    const float *x, *bias;
    size_t x_stride, y_stride;
    int n_begin, n_end;
    float *y;
    struct panel_cut cut;
};

static void store_panel(const struct job *job, const float *acc, int n, float *y)
{
    vf sum[2];

    panel_sums(job->w->dtype, acc, &sum[0], &sum[1]);
    for (int h = 0; h < 2 && n + h * VEC_N < job->n_end; h++) {
        int at = n + h * VEC_N, lanes = vec_lanes(job->n_end, at);
        if (job->bias)
            sum[h] = vec_add(sum[h], vec_load_upto(job->bias + at, lanes));
        vec_store_upto(y + at - job->n_begin, lanes, sum[h]);
    }
}

static void gemm_item(void *arg, int item, int thread)
{
    const struct job *job = arg;
    const struct panel_cut *cut = &job->cut;
    float acc[PANEL_ROWS_MAX * PANEL_N_MAX * SY_PANEL];
    const void *rows[PANEL_ROWS_MAX] = {NULL};
    int row = item / cut->n_column_steps * cut->row_step, column = item % cut->n_column_steps * cut->column_step;
    int n_rows = cut->n_rows - row < cut->row_step ? cut->n_rows - row : cut->row_step;
    int n_panels = cut->n_columns - column < cut->column_step ? cut->n_columns - column : cut->column_step;

    (void)thread;
    for (int r = 0; r < n_rows; r++)
        rows[r] = job->x + (size_t)(row + r) * job->x_stride;
    SY_CPU(panel_dot)(job->w, job->n_begin / SY_PANEL + column, n_panels, rows, SY_F32, n_rows, acc);
    for (int r = 0; r < n_rows; r++) {
        for (int p = 0; p < n_panels; p++)
            store_panel(job, acc + (r * n_panels + p) * SY_PANEL, job->n_begin + (column + p) * SY_PANEL,
                        job->y + (size_t)(row + r) * job->y_stride);
    }
}

void SY_CPU(gemm)(struct sy_queue *q, const struct sy_weight *w, const float *x, size_t x_stride, int T, int n_begin,
                  int n_end, const float *bias, float *y, size_t y_stride)
{
    struct job job = {w, x, bias, x_stride, y_stride, n_begin, n_end, y, {0}};
    int n_panels = (n_end - n_begin + SY_PANEL - 1) / SY_PANEL;
    int column_step = PANEL_N_MAX;

    if (T <= 0 || n_end <= n_begin)
        return;
    job.cut = SY_CPU(panel_cut)(T, n_panels, column_step);
    /* A narrow matrix is cut finer, so that all threads have a part. */
    while (column_step > 1 && job.cut.n_items < 2 * sy_pool_n_threads(q->pool)) {
        column_step /= 2;
        job.cut = SY_CPU(panel_cut)(T, n_panels, column_step);
    }
    sy_queue_run(q, job.cut.n_items, (double)T * (n_end - n_begin) * w->k, gemm_item, &job);
}
