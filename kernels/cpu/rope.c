/* SPDX-License-Identifier: Apache-2.0
 * rope.c - rotary position embedding
 */
#include "cpu/cpu.h"
#include "cpu/vec.h"

struct job {
    float *x;
    size_t x_stride;
    int n_rows, n_heads, head_dim, rotary_dim, row_step;
    const struct sy_attention_row *rows;
    const float *cos_sin;
    enum sy_round round;
};

/* Dims i and i + half turn together; both come from the old values. Dims behind them are only rounded: a consumer that
 * wants BF16 wants all of the head so. */
static void turn_head(const struct job *job, const float *table, float *head)
{
    int half = job->rotary_dim / 2;

    for (int i = 0; i < half; i += VEC_N) {
        int lanes = vec_lanes(half, i);
        vf a = vec_load_upto(head + i, lanes), b = vec_load_upto(head + half + i, lanes);
        vf c = vec_load_upto(table + i, lanes), s = vec_load_upto(table + half + i, lanes);
        vf turned_a = vec_sub(vec_mul(a, c), vec_mul(b, s)), turned_b = vec_add(vec_mul(b, c), vec_mul(a, s));
        vec_store_upto(head + i, lanes, vec_round(turned_a, job->round));
        vec_store_upto(head + half + i, lanes, vec_round(turned_b, job->round));
    }
    for (int i = 2 * half; job->round != SY_ROUND_NONE && i < job->head_dim; i += VEC_N) {
        int lanes = vec_lanes(job->head_dim, i);
        vec_store_upto(head + i, lanes, vec_round(vec_load_upto(head + i, lanes), job->round));
    }
}

static void rope_item(void *arg, int item, int thread)
{
    const struct job *job = arg;

    (void)thread;
    for (int t = item * job->row_step; t < job->n_rows && t < (item + 1) * job->row_step; t++) {
        const float *table = job->cos_sin + (size_t)job->rows[t].position * (size_t)job->rotary_dim;
        for (int h = 0; h < job->n_heads; h++)
            turn_head(job, table, job->x + (size_t)t * job->x_stride + (size_t)h * (size_t)job->head_dim);
    }
}

void SY_CPU(rope)(struct sy_queue *q, float *x, size_t x_stride, int T, int n_heads, int head_dim, int rotary_dim,
                  const struct sy_attention_row *rows, const float *cos_sin, enum sy_round round)
{
    int step = sy_row_step(n_heads * head_dim);
    struct job job = {x, x_stride, T, n_heads, head_dim, rotary_dim, step, rows, cos_sin, round};

    sy_queue_run(q, (T + step - 1) / step, (double)T * n_heads * head_dim, rope_item, &job);
}
