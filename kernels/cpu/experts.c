/* SPDX-License-Identifier: Apache-2.0
 * experts.c - grouped expert MLP: every tile's work items in one loop over all threads
 *
 * An item is one tile's rows (at most PANEL_ROWS_MAX of them) times a few panels of its expert. Which thread takes it
 * changes nothing, and a tile with many rows does not hold up the others.
 */
#include "cpu/panel.h"

struct job {
    const struct sy_tile *tiles;
    int n_tiles, n_threads, rows_most, n_column_steps;
    bool is_down;
    const struct sy_glu *glu; /* NULL for down */
    const uint8_t *x;
    enum sy_dtype x_dtype, y_dtype;
    void *y;
    void *const *y_rows; /* or NULL */
};

static const struct sy_weight *weight_of(const struct job *job, const struct sy_tile *tile)
{
    return job->is_down ? tile->down : tile->gate_up;
}

/* Columns are panels of down, or pairs of panels of gate_up. */
static struct panel_cut cut_tile(const struct job *job, const struct sy_tile *tile)
{
    const struct sy_weight *w = weight_of(job, tile);
    int n_columns = (w->n + SY_PANEL - 1) / SY_PANEL;

    return SY_CPU(panel_cut)(tile->n_rows, w->k * panel_n_parts(job->x_dtype), n_columns,
                             job->is_down ? PANEL_N_MAX : PANEL_N_MAX / 2);
}

VEC_INLINE vf with_bias(const struct sy_weight *w, int at, int lanes, vf sum)
{
    return w->bias ? vec_add(sum, vec_load_upto(w->bias + at, lanes)) : sum;
}

VEC_INLINE vf gated(const struct sy_glu *glu, vf gate, vf up)
{
    if (glu->limit <= 0)
        return vec_mul(vec_silu(gate), up);
    vf most = vec_set(glu->limit), least = vec_set(-glu->limit);
    gate = vec_min(most, gate);
    up = vec_max(least, vec_min(most, up));
    vf turned = vec_mul(gate, vec_sigmoid(vec_mul(vec_set(glu->alpha), gate)));
    return vec_mul(turned, vec_add(up, vec_set(1.0f)));
}

/* Outputs n .. of one row from n_columns columns of sums, bias added: as they are, or gated. */
static void store_row(const struct job *job, const struct sy_weight *w, const float *sums, size_t row, int n,
                      int n_columns)
{
    void *y = job->y_rows ? job->y_rows[row] : job->y;
    size_t first = job->y_rows ? 0 : sy_row_index(job->y_dtype, (size_t)w->n, row, 0);
    int end = n + n_columns * SY_PANEL < w->n ? n + n_columns * SY_PANEL : w->n;

    for (int at = n; at < end; at += VEC_N) {
        int lanes = vec_lanes(end, at);
        vf v;
        if (job->is_down) {
            v = with_bias(w, at, lanes, vec_load(sums + at - n));
        } else {
            /* The up panel follows its gate panel, and the biases of up those of gate. */
            const float *gate = sums + (at - n) / SY_PANEL * 2 * SY_PANEL + (at - n) % SY_PANEL;
            v = gated(job->glu, with_bias(w, at, lanes, vec_load(gate)),
                      with_bias(w, w->n + at, lanes, vec_load(gate + SY_PANEL)));
        }
        vec_store_row_upto(job->y_dtype, y, first + (size_t)at, (size_t)w->n, lanes, v);
    }
}

/* Items are numbered tile after tile. NULL: there is no such item. Of hundreds of tiles most are passed over, so nothing
 * but their rows is looked at. */
static const struct sy_tile *find_item(const struct job *job, int i, struct panel_item *item)
{
    int step = i / job->n_column_steps;

    for (const struct sy_tile *tile = job->tiles; tile < job->tiles + job->n_tiles; tile++) {
        int n_steps = tile->n_rows <= job->rows_most ? tile->n_rows > 0
                                                     : (tile->n_rows + job->rows_most - 1) / job->rows_most;
        if (step < n_steps) {
            struct panel_cut cut = cut_tile(job, tile);
            *item = panel_item(&cut, step * job->n_column_steps + i % job->n_column_steps);
            return tile;
        }
        step -= n_steps;
    }
    return NULL;
}

/* Threads take items in turn, so this thread's next one is most likely as many on as there are threads. */
static const uint8_t *panels_after(const struct job *job, int i)
{
    struct panel_item item;
    const struct sy_tile *tile = find_item(job, i + job->n_threads, &item);

    return tile ? panel_of(weight_of(job, tile), item.column * (job->is_down ? 1 : 2)) : NULL;
}

static void experts_item(void *arg, int i, int thread)
{
    const struct job *job = arg;
    struct panel_item item;
    const struct sy_tile *tile = find_item(job, i, &item);
    const struct sy_weight *w = weight_of(job, tile);
    float acc[PANEL_ROWS_MAX * PANEL_N_MAX * SY_PANEL];
    int panels_each = job->is_down ? 1 : 2, row = tile->row + item.row;
    size_t x_bytes = (size_t)w->k * sy_dtype_bytes(job->x_dtype);
    struct panel_dot dot = {.x_dtype = job->x_dtype,
                            .x = job->x + (size_t)row * x_bytes,
                            .x_bytes = x_bytes,
                            .x_part = x_bytes / (size_t)panel_n_parts(job->x_dtype),
                            .n_rows = item.n_rows,
                            .acc = acc,
                            .next = panels_after(job, i)};

    (void)thread;
    panel_dot_weights(&dot, w, item.column * panels_each, item.n_columns * panels_each);
    SY_CPU(panel_dot)(&dot);
    panel_release();
    for (int r = 0; r < item.n_rows; r++)
        store_row(job, w, acc + (size_t)r * dot.acc_stride, (size_t)(row + r), item.column * SY_PANEL, item.n_columns);
}

static void run(struct sy_queue *q, struct job *job)
{
    int n_items = 0;
    double cost = 0.0;

    if (!job->n_tiles)
        return;
    const struct sy_weight *w = weight_of(job, &job->tiles[0]);
    job->n_threads = sy_pool_n_threads(q->pool);
    job->rows_most = SY_CPU(panel_rows_most)(w->k * panel_n_parts(job->x_dtype));
    job->n_column_steps = cut_tile(job, &job->tiles[0]).n_column_steps;
    for (int i = 0; i < job->n_tiles; i++) {
        n_items += cut_tile(job, &job->tiles[i]).n_items;
        cost += (double)job->tiles[i].n_rows * w->n * w->k;
    }
    sy_queue_run(q, n_items, cost, experts_item, job);
}

void SY_CPU(expert_gate_up)(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *x,
                            enum sy_dtype dtype, const struct sy_glu *glu, void *act)
{
    run(q, &(struct job){
               .tiles = tiles, .n_tiles = n_tiles, .glu = glu, .x = x, .x_dtype = dtype, .y = act, .y_dtype = dtype});
}

void SY_CPU(expert_down)(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *act,
                         enum sy_dtype act_dtype, void *y, void *const *y_rows, enum sy_dtype y_dtype)
{
    run(q, &(struct job){.tiles = tiles,
                         .n_tiles = n_tiles,
                         .is_down = true,
                         .x = act,
                         .x_dtype = act_dtype,
                         .y = y,
                         .y_rows = y_rows,
                         .y_dtype = y_dtype});
}

struct copy_job {
    uint8_t *dst;
    const uint8_t *src;
    const uint32_t *dst_rows, *src_rows;
    int n, step;
    size_t row_bytes;
};

static void copy_item(void *arg, int item, int thread)
{
    const struct copy_job *job = arg;

    (void)thread;
    for (int i = item * job->step; i < job->n && i < (item + 1) * job->step; i++) {
        size_t to = job->dst_rows ? job->dst_rows[i] : (size_t)i, from = job->src_rows ? job->src_rows[i] : (size_t)i;
        memcpy(job->dst + to * job->row_bytes, job->src + from * job->row_bytes, job->row_bytes);
    }
}

void SY_CPU(copy_rows)(struct sy_queue *q, void *dst, const uint32_t *dst_rows, const void *src,
                       const uint32_t *src_rows, int n, size_t row_bytes)
{
    int step = sy_row_step((int)(row_bytes / 8));
    struct copy_job job = {dst, src, dst_rows, src_rows, n, step, row_bytes};

    sy_queue_run(q, (n + step - 1) / step, (double)n * (double)row_bytes / 8, copy_item, &job);
}
