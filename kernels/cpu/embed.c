/* SPDX-License-Identifier: Apache-2.0
 * embed.c - rows of the embedding table
 */
#include "cpu/cpu.h"
#include "cpu/vec.h"
#include "half.h"
#include "layout.h"

struct job {
    const struct sy_weight *w;
    const int32_t *ids;
    int n_rows, row_step;
    float *x;
};

static void embed_row(const struct sy_weight *w, size_t id, float *x)
{
    if (w->layout == SY_LAYOUT_ROWS) {
        for (int i = 0; i < w->k; i += VEC_N) {
            int lanes = vec_lanes(w->k, i);
            vec_store_upto(x + i, lanes, vec_load_type_upto(w->dtype, w->data, id * (size_t)w->k + (size_t)i, lanes));
        }
        return;
    }
    /* A table that is the output matrix too lies in panels: an element or two of each SY_PANEL. */
    for (int i = 0; i < w->k; i++)
        x[i] = sy_float_at(w->dtype, w->data, sy_panel_index(w->dtype, w->k, (int)id, i));
}

static void embed_item(void *arg, int item, int thread)
{
    const struct job *job = arg;

    (void)thread;
    for (int t = item * job->row_step; t < job->n_rows && t < (item + 1) * job->row_step; t++)
        embed_row(job->w, (size_t)job->ids[t], job->x + (size_t)t * (size_t)job->w->k);
}

void SY_CPU(embed)(struct sy_queue *q, const struct sy_weight *w, const int32_t *ids, int T, float *x)
{
    int step = sy_row_step(w->k);
    struct job job = {w, ids, T, step, x};

    sy_queue_run(q, (T + step - 1) / step, (double)T * w->k, embed_item, &job);
}
