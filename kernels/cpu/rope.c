/* SPDX-License-Identifier: Apache-2.0
 * rope.c - rotary position embedding
 */
#include "cpu/cpu.h"
#include "cpu/vec.h"

struct job {
    const struct sy_rotation *r;
    int row_step;
};

struct pair {
    vf a, b;
};

VEC_INLINE struct pair turned(struct pair x, const float *cosine, const float *sine, int lanes, enum sy_round round)
{
    vf c = vec_load_upto(cosine, lanes), s = vec_load_upto(sine, lanes);

    return (struct pair){vec_round(vec_sub(vec_mul(x.a, c), vec_mul(x.b, s)), round),
                         vec_round(vec_add(vec_mul(x.b, c), vec_mul(x.a, s)), round)};
}

/* Dims i and i + half turn together; both come from the old values. */
static void turn_halves(const struct sy_rotation *r, const float *table, const float *x, float *y)
{
    int half = r->rotary_dim / 2;

    for (int i = 0; i < half; i += VEC_N) {
        int lanes = vec_lanes(half, i);
        struct pair old = {vec_load_upto(x + i, lanes), vec_load_upto(x + half + i, lanes)};
        struct pair new = turned(old, table + i, table + half + i, lanes, r->round);
        vec_store_upto(y + i, lanes, new.a);
        vec_store_upto(y + half + i, lanes, new.b);
    }
}

/* Dims 2i and 2i + 1 turn together: they are taken apart and put together again, with the same arithmetic. */
static void turn_pairs(const struct sy_rotation *r, const float *table, const float *x, float *y)
{
    float a[VEC_N] = {0}, b[VEC_N] = {0};
    int half = r->rotary_dim / 2;

    for (int i = 0; i < half; i += VEC_N) {
        int lanes = vec_lanes(half, i);
        for (int j = 0; j < lanes; j++) {
            a[j] = x[2 * (i + j)];
            b[j] = x[2 * (i + j) + 1];
        }
        struct pair new = turned((struct pair){vec_load(a), vec_load(b)}, table + i, table + half + i, lanes, r->round);
        vec_store(a, new.a);
        vec_store(b, new.b);
        for (int j = 0; j < lanes; j++) {
            y[2 * (i + j)] = a[j];
            y[2 * (i + j) + 1] = b[j];
        }
    }
}

/* Dims that do not turn are rounded all the same: a consumer that wants BF16 wants all of the head so. */
static void turn_head(const struct sy_rotation *r, const float *table, const float *x, float *y)
{
    if (r->interleaved)
        turn_pairs(r, table, x, y);
    else
        turn_halves(r, table, x, y);
    for (int i = r->rotary_dim / 2 * 2; (x != y || r->round != SY_ROUND_NONE) && i < r->width; i += VEC_N) {
        int lanes = vec_lanes(r->width, i);
        vec_store_upto(y + i, lanes, vec_round(vec_load_upto(x + i, lanes), r->round));
    }
}

static void rope_item(void *arg, int item, int thread)
{
    const struct job *job = arg;
    const struct sy_rotation *r = job->r;

    (void)thread;
    for (int t = item * job->row_step; t < r->n_rows && t < (item + 1) * job->row_step; t++) {
        const float *table = r->cos_sin + (size_t)(r->rows[t].turn + r->rows[t].position) * (size_t)r->rotary_dim;
        for (int h = 0; h < r->n_heads; h++)
            turn_head(r, table, r->x + (size_t)t * r->x_stride + (size_t)h * r->x_head,
                      r->y + (size_t)t * r->y_stride + (size_t)h * r->y_head);
    }
}

void SY_CPU(rope)(struct sy_queue *q, const struct sy_rotation *r)
{
    int step = sy_row_step(r->n_heads * r->width);
    struct job job = {r, step};

    sy_queue_run(q, (r->n_rows + step - 1) / step, (double)r->n_rows * r->n_heads * r->width, rope_item, &job);
}
