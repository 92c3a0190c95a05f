/* SPDX-License-Identifier: Apache-2.0
 * combine.c - the K expert rows of a token into one
 */
#include "cpu/cpu.h"
#include "cpu/vec.h"

struct job {
    const void *y;
    enum sy_dtype y_dtype;
    const float *weights, *shared;
    int n_rows, n_k, width, row_step;
    bool reverse_k;
    float *x;
};

VEC_INLINE void combine_row(const struct job *job, enum sy_dtype dtype, size_t t)
{
    size_t width = (size_t)job->width, first = t * (size_t)job->n_k;
    float *x = job->x + t * width;

    for (int i = 0; i < job->width; i += VEC_N) {
        int lanes = vec_lanes(job->width, i);
        vf sum = vec_zero();
        for (int j = 0; j < job->n_k; j++) {
            size_t k = first + (size_t)(job->reverse_k ? job->n_k - 1 - j : j);
            vf y = vec_load_type_upto(dtype, job->y, k * width + (size_t)i, lanes);
            sum = vec_fma(vec_set(job->weights[k]), y, sum);
        }
        if (job->shared)
            sum = vec_add(sum, vec_load_upto(job->shared + t * width + i, lanes));
        vec_store_upto(x + i, lanes, vec_add(vec_load_upto(x + i, lanes), sum));
    }
}

static void combine_item(void *arg, int item, int thread)
{
    const struct job *job = arg;

    (void)thread;
    for (int t = item * job->row_step; t < job->n_rows && t < (item + 1) * job->row_step; t++) {
        if (job->y_dtype == SY_BF16)
            combine_row(job, SY_BF16, (size_t)t);
        else
            combine_row(job, SY_F32, (size_t)t);
    }
}

void SY_CPU(combine)(struct sy_queue *q, const void *y, enum sy_dtype y_dtype, const float *weights, int T, int K,
                     int D, const float *shared, bool reverse_k, float *x)
{
    int step = sy_row_step(K * D);
    struct job job = {y, y_dtype, weights, shared, T, K, D, step, reverse_k, x};

    sy_queue_run(q, (T + step - 1) / step, (double)T * K * D, combine_item, &job);
}
