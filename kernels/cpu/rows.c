/* SPDX-License-Identifier: Apache-2.0
 * rows.c - norms, and what works on one element at a time
 */
#include <assert.h>
#include <math.h>

#include "cpu/cpu.h"
#include "cpu/vec.h"
#include "layout.h"

/* Elements of one item of convert. */
#define CONVERT_STEP 16384

struct job {
    const float *x, *weight, *bias;
    float *y;
    size_t x_stride, y_stride;
    int n_rows, n_heads, width, row_step; /* n_rows counts runs for rmsnorm */
    float eps, limit, factor;
    enum sy_dtype y_dtype;
};

static int n_items(const struct job *job)
{
    return (job->n_rows + job->row_step - 1) / job->row_step;
}

static int rows_end(const struct job *job, int item)
{
    int end = (item + 1) * job->row_step;
    return end < job->n_rows ? end : job->n_rows;
}

/* Four partial sums, element i in sum i / VEC_N % 4, lane i % VEC_N. */
static float sum_of_squares(const float *x, int width)
{
    vf sum[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};

    for (int i = 0, j = 0; i < width; i += VEC_N, j = (j + 1) % 4) {
        vf v = vec_load_upto(x + i, vec_lanes(width, i));
        sum[j] = vec_fma(v, v, sum[j]);
    }
    return vec_sum(vec_add(vec_add(sum[0], sum[1]), vec_add(sum[2], sum[3])));
}

static void rmsnorm_item(void *arg, int item, int thread)
{
    const struct job *job = arg;

    (void)thread;
    for (int t = item * job->row_step; t < rows_end(job, item); t++) {
        size_t row = (size_t)(t / job->n_heads), head = (size_t)(t % job->n_heads) * (size_t)job->width;
        const float *x = job->x + row * job->x_stride + head;
        size_t to = sy_row_index(job->y_dtype, job->y_stride, row, head);
        vf scale = vec_set(1.0f / sqrtf(sum_of_squares(x, job->width) / (float)job->width + job->eps));
        for (int i = 0; i < job->width; i += VEC_N) {
            int lanes = vec_lanes(job->width, i);
            vf v = vec_mul(vec_mul(vec_load_upto(x + i, lanes), scale), vec_load_upto(job->weight + i, lanes));
            vec_store_row_upto(job->y_dtype, job->y, to + (size_t)i, job->y_stride, lanes, v);
        }
    }
}

void SY_CPU(rmsnorm)(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int n_heads, int width,
                     const float *weight, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride)
{
    struct job job = {.x = x,
                      .weight = weight,
                      .y = y,
                      .x_stride = x_stride,
                      .y_stride = y_stride,
                      .n_rows = n_rows * n_heads,
                      .n_heads = n_heads,
                      .width = width,
                      .row_step = sy_row_step(width),
                      .eps = eps,
                      .y_dtype = y_dtype};

    sy_queue_run(q, n_items(&job), 2.0 * n_rows * n_heads * width, rmsnorm_item, &job);
}

/* Four partial sums as in sum_of_squares(), of x and then of the squares of what x is above its mean. */
static float sum_above(const float *x, int width, float mean, bool squares)
{
    vf sum[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()}, middle = vec_set(mean);

    for (int i = 0, j = 0; i < width; i += VEC_N, j = (j + 1) % 4) {
        int lanes = vec_lanes(width, i);
        vf v = vec_select_range(vec_sub(vec_load_upto(x + i, lanes), middle), vec_zero(), 0, lanes);
        sum[j] = squares ? vec_fma(v, v, sum[j]) : vec_add(sum[j], v);
    }
    return vec_sum(vec_add(vec_add(sum[0], sum[1]), vec_add(sum[2], sum[3])));
}

static void layernorm_item(void *arg, int item, int thread)
{
    const struct job *job = arg;

    (void)thread;
    for (int t = item * job->row_step; t < rows_end(job, item); t++) {
        const float *x = job->x + (size_t)t * job->x_stride;
        size_t to = sy_row_index(job->y_dtype, job->y_stride, (size_t)t, 0);
        float mean = sum_above(x, job->width, 0.0f, false) / (float)job->width;
        float variance = sum_above(x, job->width, mean, true) / (float)job->width;
        vf middle = vec_set(mean), scale = vec_set(1.0f / sqrtf(variance + job->eps));
        for (int i = 0; i < job->width; i += VEC_N) {
            int lanes = vec_lanes(job->width, i);
            vf v = vec_mul(vec_sub(vec_load_upto(x + i, lanes), middle), scale);
            v = vec_fma(v, vec_load_upto(job->weight + i, lanes), vec_load_upto(job->bias + i, lanes));
            vec_store_row_upto(job->y_dtype, job->y, to + (size_t)i, job->y_stride, lanes, v);
        }
    }
}

void SY_CPU(layernorm)(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int width, const float *weight,
                       const float *bias, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride)
{
    struct job job = {.x = x,
                      .weight = weight,
                      .bias = bias,
                      .y = y,
                      .x_stride = x_stride,
                      .y_stride = y_stride,
                      .n_rows = n_rows,
                      .width = width,
                      .row_step = sy_row_step(width),
                      .eps = eps,
                      .y_dtype = y_dtype};

    sy_queue_run(q, n_items(&job), 3.0 * n_rows * width, layernorm_item, &job);
}

static void multiply(float *y, int width, vf factor)
{
    for (int i = 0; i < width; i += VEC_N) {
        int lanes = vec_lanes(width, i);
        vec_store_upto(y + i, lanes, vec_mul(vec_load_upto(y + i, lanes), factor));
    }
}

static void scale_item(void *arg, int item, int thread)
{
    const struct job *job = arg;

    (void)thread;
    for (int t = item * job->row_step; t < rows_end(job, item); t++)
        multiply(job->y + (size_t)t * job->y_stride, job->width, vec_set(job->factor));
}

void SY_CPU(scale)(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float factor)
{
    struct job job = {
        .y = x, .y_stride = x_stride, .n_rows = T, .width = width, .row_step = sy_row_step(width), .factor = factor};

    sy_queue_run(q, n_items(&job), (double)T * width, scale_item, &job);
}

static void weigh_item(void *arg, int item, int thread)
{
    const struct job *job = arg;

    (void)thread;
    for (int t = item * job->row_step; t < rows_end(job, item); t++)
        multiply(job->y + (size_t)t * job->y_stride, job->width, vec_sigmoid(vec_set(job->x[t])));
}

void SY_CPU(weigh)(struct sy_queue *q, float *x, int T, int width, const float *logits)
{
    struct job job = {
        .x = logits, .y = x, .y_stride = (size_t)width, .n_rows = T, .width = width, .row_step = sy_row_step(width)};

    sy_queue_run(q, n_items(&job), (double)T * width, weigh_item, &job);
}

static void clamp_item(void *arg, int item, int thread)
{
    const struct job *job = arg;
    vf most = vec_set(job->limit), least = vec_set(-job->limit);

    (void)thread;
    for (int t = item * job->row_step; t < rows_end(job, item); t++) {
        float *y = job->y + (size_t)t * job->y_stride;
        for (int i = 0; i < job->width; i += VEC_N) {
            int lanes = vec_lanes(job->width, i);
            vec_store_upto(y + i, lanes, vec_max(least, vec_min(most, vec_load_upto(y + i, lanes))));
        }
    }
}

void SY_CPU(clamp)(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float limit)
{
    struct job job = {
        .y = x, .y_stride = x_stride, .n_rows = T, .width = width, .row_step = sy_row_step(width), .limit = limit};

    sy_queue_run(q, n_items(&job), (double)T * width, clamp_item, &job);
}

static void add_item(void *arg, int item, int thread)
{
    const struct job *job = arg;

    (void)thread;
    for (int t = item * job->row_step; t < rows_end(job, item); t++) {
        const float *x = job->x + (size_t)t * job->x_stride;
        float *y = job->y + (size_t)t * job->y_stride;
        for (int i = 0; i < job->width; i += VEC_N) {
            int lanes = vec_lanes(job->width, i);
            vec_store_upto(y + i, lanes, vec_add(vec_load_upto(y + i, lanes), vec_load_upto(x + i, lanes)));
        }
    }
}

void SY_CPU(add)(struct sy_queue *q, float *x, const float *y, int T, int width)
{
    struct job job = {.x = y,
                      .y = x,
                      .x_stride = (size_t)width,
                      .y_stride = (size_t)width,
                      .n_rows = T,
                      .width = width,
                      .row_step = sy_row_step(width)};

    sy_queue_run(q, n_items(&job), (double)T * width, add_item, &job);
}

static void split_item(void *arg, int item, int thread)
{
    const struct job *job = arg;

    (void)thread;
    for (int t = item * job->row_step; t < rows_end(job, item); t++) {
        const float *x = job->x + (size_t)t * job->x_stride;
        size_t to = sy_row_index(SY_BF16X2, job->y_stride, (size_t)t, 0);
        for (int i = 0; i < job->width; i += VEC_N) {
            int lanes = vec_lanes(job->width, i);
            vec_store_row_upto(SY_BF16X2, job->y, to + (size_t)i, job->y_stride, lanes, vec_load_upto(x + i, lanes));
        }
    }
}

void SY_CPU(split)(struct sy_queue *q, const float *x, size_t x_stride, int T, int width, void *y, size_t y_stride)
{
    struct job job = {.x = x,
                      .y = y,
                      .x_stride = x_stride,
                      .y_stride = y_stride,
                      .n_rows = T,
                      .width = width,
                      .row_step = sy_row_step(width)};

    sy_queue_run(q, n_items(&job), (double)T * width, split_item, &job);
}

struct convert_job {
    void *dst;
    const void *src;
    enum sy_dtype dst_dtype, src_dtype;
    size_t n;
};

VEC_INLINE void convert_span(void *dst, enum sy_dtype dst_dtype, const void *src, enum sy_dtype src_dtype, size_t begin,
                             int n)
{
    for (int i = 0; i < n; i += VEC_N) {
        int lanes = vec_lanes(n, i);
        vf v = vec_load_type_upto(src_dtype, src, begin + (size_t)i, lanes);
        vec_store_type_upto(dst_dtype, dst, begin + (size_t)i, lanes, v);
    }
}

static void convert_item(void *arg, int item, int thread)
{
    const struct convert_job *job = arg;
    size_t begin = (size_t)item * CONVERT_STEP;
    int n = job->n - begin < CONVERT_STEP ? (int)(job->n - begin) : CONVERT_STEP;

    (void)thread;
    if (job->dst_dtype == job->src_dtype) {
        size_t bytes = sy_dtype_bytes(job->src_dtype);
        memmove((char *)job->dst + begin * bytes, (const char *)job->src + begin * bytes, (size_t)n * bytes);
    } else if (job->dst_dtype == SY_BF16 && job->src_dtype == SY_F32) {
        convert_span(job->dst, SY_BF16, job->src, SY_F32, begin, n);
    } else if (job->dst_dtype == SY_BF16) {
        convert_span(job->dst, SY_BF16, job->src, SY_F16, begin, n);
    } else if (job->src_dtype == SY_BF16) {
        convert_span(job->dst, SY_F32, job->src, SY_BF16, begin, n);
    } else {
        convert_span(job->dst, SY_F32, job->src, SY_F16, begin, n);
    }
}

void SY_CPU(convert)(struct sy_queue *q, void *dst, enum sy_dtype dst_dtype, const void *src, enum sy_dtype src_dtype,
                     size_t n)
{
    struct convert_job job = {dst, src, dst_dtype, src_dtype, n};

    assert(dst_dtype == src_dtype || ((dst_dtype == SY_F32 || dst_dtype == SY_BF16) &&
                                      (src_dtype == SY_F32 || src_dtype == SY_BF16 || src_dtype == SY_F16)));
    sy_queue_run(q, (int)((n + CONVERT_STEP - 1) / CONVERT_STEP), (double)n, convert_item, &job);
}
