/* SPDX-License-Identifier: Apache-2.0
 * heads.c - a matrix for each head: one loop over all threads for all heads
 */
#include "cpu/panel.h"

struct job {
    const struct sy_head_gemm *g;
    int n_threads;
    struct panel_cut cut; /* of one head */
};

static struct sy_weight weight_of(const struct job *job, int head)
{
    struct sy_weight w = *job->g->w;

    w.data = (const uint8_t *)w.data + (size_t)head * job->g->w_head;
    return w;
}

static void store_row(const struct sy_head_gemm *g, const float *sums, size_t to, int n, int end)
{
    for (int at = n; at < end; at += VEC_N)
        vec_store_row_upto(g->y_dtype, g->y, to + (size_t)at, g->y_stride, vec_lanes(end, at),
                           vec_round(vec_load(sums + at - n), g->round));
}

static void heads_item(void *arg, int i, int thread)
{
    const struct job *job = arg;
    const struct sy_head_gemm *g = job->g;
    struct panel_item item = panel_item(&job->cut, i % job->cut.n_items);
    int head = g->head_begin + i / job->cut.n_items, following = i + job->n_threads;
    int n = item.column * SY_PANEL,
        end = n + item.n_columns * SY_PANEL < g->w->n ? n + item.n_columns * SY_PANEL : g->w->n;
    struct sy_weight w = weight_of(job, head);
    float acc[PANEL_ROWS_MAX * PANEL_N_MAX * SY_PANEL];
    size_t first = sy_row_index(g->x_dtype, g->x_stride, (size_t)item.row, (size_t)head * g->x_head);
    struct panel_dot dot = {.x_dtype = g->x_dtype,
                            .x = (const uint8_t *)g->x + first * panel_part_bytes(g->x_dtype),
                            .x_bytes = g->x_stride * sy_dtype_bytes(g->x_dtype),
                            .x_part = g->x_stride * panel_part_bytes(g->x_dtype),
                            .n_rows = item.n_rows,
                            .acc = acc};

    (void)thread;
    /* Threads take items in turn. */
    if (following < job->cut.n_items * (g->head_end - g->head_begin)) {
        struct sy_weight next = weight_of(job, g->head_begin + following / job->cut.n_items);
        dot.next = panel_of(&next, panel_item(&job->cut, following % job->cut.n_items).column);
    }
    panel_dot_weights(&dot, &w, item.column, item.n_columns);
    SY_CPU(panel_dot)(&dot);
    panel_release();
    for (int r = 0; r < item.n_rows; r++)
        store_row(g, acc + (size_t)r * dot.acc_stride,
                  sy_row_index(g->y_dtype, g->y_stride, (size_t)(item.row + r), (size_t)head * g->y_head), n, end);
}

void SY_CPU(gemm_heads)(struct sy_queue *q, const struct sy_head_gemm *g)
{
    int n_panels = (g->w->n + SY_PANEL - 1) / SY_PANEL, n_heads = g->head_end - g->head_begin;
    struct job job = {.g = g, .n_threads = sy_pool_n_threads(q->pool)};

    if (g->n_rows <= 0 || n_heads <= 0)
        return;
    job.cut = SY_CPU(panel_cut)(g->n_rows, g->w->k * panel_n_parts(g->x_dtype), n_panels, PANEL_N_MAX);
    sy_queue_run(q, n_heads * job.cut.n_items, (double)n_heads * g->n_rows * g->w->n * g->w->k, heads_item, &job);
}
