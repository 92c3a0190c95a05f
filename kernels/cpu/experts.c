/* SPDX-License-Identifier: Apache-2.0
 * experts.c - grouped expert MLP: every tile's work items in one loop over all threads
 *
 * An item is one tile's rows (at most PANEL_ROWS_MAX of them) times a few panels of its expert. Which thread takes it
 * changes nothing, and a tile with many rows does not hold up the others.
 */
#include "cpu/panel.h"

struct job {
    const struct sy_tile *tiles;
    int n_tiles;
    bool is_down;
    const void *x;
    enum sy_dtype x_dtype, y_dtype;
    enum sy_round round;
    void *y;
};

static const struct sy_weight *weight_of(const struct job *job, const struct sy_tile *tile)
{
    return job->is_down ? tile->down : tile->gate_up;
}

/* Columns are panels of down, or pairs of panels of gate_up. */
static struct panel_cut cut_tile(const struct job *job, const struct sy_tile *tile)
{
    int n_columns = (weight_of(job, tile)->n + SY_PANEL - 1) / SY_PANEL;
    return SY_CPU(panel_cut)(tile->n_rows, n_columns, job->is_down ? PANEL_N_MAX : PANEL_N_MAX / 2);
}

/* act = silu(gate) * up, for outputs n .. of one row */
static void store_act(const struct job *job, const struct sy_weight *w, const float *acc, size_t out_row, int n)
{
    float *act = (float *)job->y + out_row * (size_t)w->n;
    vf gate[2], up[2];

    panel_sums(w->dtype, acc, &gate[0], &gate[1]);
    panel_sums(w->dtype, acc + SY_PANEL, &up[0], &up[1]);
    for (int h = 0; h < 2 && n + h * VEC_N < w->n; h++) {
        vf v = vec_mul(vec_silu(gate[h]), up[h]);
        vec_store_upto(act + n + h * VEC_N, vec_lanes(w->n, n + h * VEC_N), vec_round(v, job->round));
    }
}

static void store_down(const struct job *job, const struct sy_weight *w, const float *acc, size_t out_row, int n)
{
    vf sum[2];

    panel_sums(w->dtype, acc, &sum[0], &sum[1]);
    for (int h = 0; h < 2 && n + h * VEC_N < w->n; h++) {
        int at = n + h * VEC_N;
        vec_store_type_upto(job->y_dtype, job->y, out_row * (size_t)w->n + (size_t)at, vec_lanes(w->n, at), sum[h]);
    }
}

static void tile_item(const struct job *job, const struct sy_tile *tile, const struct panel_cut *cut, int item)
{
    const struct sy_weight *w = weight_of(job, tile);
    float acc[PANEL_ROWS_MAX * PANEL_N_MAX * SY_PANEL];
    const void *rows[PANEL_ROWS_MAX] = {NULL};
    int row = item / cut->n_column_steps * cut->row_step, column = item % cut->n_column_steps * cut->column_step;
    int n_rows = cut->n_rows - row < cut->row_step ? cut->n_rows - row : cut->row_step;
    int n_columns = cut->n_columns - column < cut->column_step ? cut->n_columns - column : cut->column_step;
    int panels_each = job->is_down ? 1 : 2, n_panels = n_columns * panels_each;
    size_t row_bytes = (size_t)w->k * sy_dtype_bytes(job->x_dtype);

    for (int r = 0; r < n_rows; r++) {
        size_t from = job->is_down ? (size_t)(tile->out_row + row + r) : tile->rows[row + r];
        rows[r] = (const uint8_t *)job->x + from * row_bytes;
    }
    SY_CPU(panel_dot)(w, column * panels_each, n_panels, rows, job->x_dtype, n_rows, acc);
    for (int r = 0; r < n_rows; r++) {
        size_t out_row = (size_t)(tile->out_row + row + r);
        for (int c = 0; c < n_columns; c++) {
            const float *sums = acc + (r * n_panels + c * panels_each) * SY_PANEL;
            if (job->is_down)
                store_down(job, w, sums, out_row, (column + c) * SY_PANEL);
            else
                store_act(job, w, sums, out_row, (column + c) * SY_PANEL);
        }
    }
}

/* Items are numbered tile after tile. */
static void experts_item(void *arg, int item, int thread)
{
    const struct job *job = arg;

    (void)thread;
    for (int i = 0; i < job->n_tiles; i++) {
        struct panel_cut cut = cut_tile(job, &job->tiles[i]);
        if (item < cut.n_items) {
            tile_item(job, &job->tiles[i], &cut, item);
            return;
        }
        item -= cut.n_items;
    }
}

static void run(struct sy_queue *q, struct job *job)
{
    int n_items = 0;
    double cost = 0.0;

    for (int i = 0; i < job->n_tiles; i++) {
        const struct sy_weight *w = weight_of(job, &job->tiles[i]);
        n_items += cut_tile(job, &job->tiles[i]).n_items;
        cost += (double)job->tiles[i].n_rows * w->n * w->k;
    }
    sy_queue_run(q, n_items, cost, experts_item, job);
}

void SY_CPU(expert_gate_up)(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *x,
                            enum sy_dtype x_dtype, enum sy_round round, float *act)
{
    run(q, &(struct job){.tiles = tiles, .n_tiles = n_tiles, .x = x, .x_dtype = x_dtype, .round = round, .y = act});
}

void SY_CPU(expert_down)(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const float *act, void *y,
                         enum sy_dtype y_dtype)
{
    run(q, &(struct job){.tiles = tiles,
                         .n_tiles = n_tiles,
                         .is_down = true,
                         .x = act,
                         .x_dtype = SY_F32,
                         .y = y,
                         .y_dtype = y_dtype});
}
