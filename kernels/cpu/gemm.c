/* SPDX-License-Identifier: Apache-2.0
 * gemm.c - dense matrices
 */
#include "cpu/panel.h"

struct job {
    const struct sy_weight *w;
    const uint8_t *x;
    enum sy_dtype x_dtype;
    size_t x_bytes, x_part, y_stride;
    int n_begin, n_end, n_threads;
    bool add;
    float *y;
    struct panel_cut cut;
};

/* y += bias for outputs n .. end - 1 of one row */
static void add_bias(const struct job *job, int n, int end, float *y)
{
    for (int at = n; at < end; at += VEC_N) {
        int lanes = vec_lanes(end, at);
        vf sum = vec_add(vec_load_upto(y + at - n, lanes), vec_load_upto(job->w->bias + at, lanes));
        vec_store_upto(y + at - n, lanes, sum);
    }
}

/* Sums are made in y itself, but those of a last panel that is not full go there from acc. */
static void gemm_item(void *arg, int i, int thread)
{
    const struct job *job = arg;
    struct panel_item item = panel_item(&job->cut, i);
    float acc[PANEL_ROWS_MAX * PANEL_N_MAX * SY_PANEL];
    int n = job->n_begin + item.column * SY_PANEL, end = n + item.n_columns * SY_PANEL, following = i + job->n_threads;
    float *y = job->y + (size_t)item.row * job->y_stride + item.column * SY_PANEL;
    struct panel_dot dot = {.x_dtype = job->x_dtype,
                            .x = job->x + (size_t)item.row * job->x_bytes,
                            .x_bytes = job->x_bytes,
                            .x_part = job->x_part,
                            .n_rows = item.n_rows,
                            .add = job->add};
    bool in_place = end <= job->n_end;

    (void)thread;
    end = in_place ? end : job->n_end;
    /* Threads take items in turn. */
    if (following < job->cut.n_items)
        dot.next = panel_of(job->w, job->n_begin / SY_PANEL + panel_item(&job->cut, following).column);
    panel_dot_weights(&dot, job->w, n / SY_PANEL, item.n_columns);
    if (in_place)
        dot.acc_stride = job->y_stride;
    dot.acc = in_place ? y : acc;
    for (int r = 0; !in_place && job->add && r < item.n_rows; r++)
        memcpy(acc + (size_t)r * dot.acc_stride, y + (size_t)r * job->y_stride, (size_t)(end - n) * sizeof *y);
    SY_CPU(panel_dot)(&dot);
    panel_release();
    for (int r = 0; r < item.n_rows; r++, y += job->y_stride) {
        if (!in_place)
            memcpy(y, acc + (size_t)r * dot.acc_stride, (size_t)(end - n) * sizeof *y);
        if (job->w->bias)
            add_bias(job, n, end, y);
    }
}

void SY_CPU(gemm)(struct sy_queue *q, const struct sy_weight *w, const void *x, enum sy_dtype x_dtype, size_t x_stride,
                  int T, int n_begin, int n_end, bool add, float *y, size_t y_stride)
{
    struct job job = {.w = w,
                      .x = x,
                      .x_dtype = x_dtype,
                      .x_bytes = x_stride * sy_dtype_bytes(x_dtype),
                      .x_part = x_stride * panel_part_bytes(x_dtype),
                      .y_stride = y_stride,
                      .n_begin = n_begin,
                      .n_end = n_end,
                      .n_threads = sy_pool_n_threads(q->pool),
                      .add = add,
                      .y = y};
    int n_panels = (n_end - n_begin + SY_PANEL - 1) / SY_PANEL;
    int column_step = PANEL_N_MAX;

    if (T <= 0 || n_end <= n_begin)
        return;
    job.cut = SY_CPU(panel_cut)(T, w->k * panel_n_parts(x_dtype), n_panels, column_step);
    /* A narrow matrix is cut finer, so that all threads have a part. */
    while (column_step > 1 && job.cut.n_items < 2 * job.n_threads) {
        column_step /= 2;
        job.cut = SY_CPU(panel_cut)(T, w->k * panel_n_parts(x_dtype), n_panels, column_step);
    }
    sy_queue_run(q, job.cut.n_items, (double)T * (n_end - n_begin) * w->k, gemm_item, &job);
}
