/* SPDX-License-Identifier: Apache-2.0
 * rows.c - RMSNorm, and what works on one element at a time
 */
#include <assert.h>

#include "ref/ref.h"

void sy_ref_rmsnorm(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int n_heads, int width,
                    const float *weight, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride)
{
    (void)q;
    for (int t = 0; t < n_rows; t++) {
        for (int h = 0; h < n_heads; h++) {
            const float *from = x + (size_t)t * x_stride + h * width;
            float sum = 0.0f;
            for (int i = 0; i < width; i++)
                sum += from[i] * from[i];
            float scale = 1.0f / sqrtf(sum / (float)width + eps);
            for (int i = 0; i < width; i++)
                sy_ref_store_row(y_dtype, y, y_stride, (size_t)t, (size_t)(h * width + i), from[i] * scale * weight[i]);
        }
    }
}

void sy_ref_clamp(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float limit)
{
    (void)q;
    for (int t = 0; t < T; t++, x += x_stride) {
        for (int i = 0; i < width; i++)
            x[i] = x[i] > limit ? limit : x[i] < -limit ? -limit : x[i];
    }
}

void sy_ref_add(struct sy_queue *q, float *x, const float *y, int T, int width)
{
    (void)q;
    for (size_t i = 0; i < (size_t)T * (size_t)width; i++)
        x[i] += y[i];
}

void sy_ref_convert(struct sy_queue *q, void *dst, enum sy_dtype dst_dtype, const void *src, enum sy_dtype src_dtype,
                    size_t n)
{
    (void)q;
    if (dst_dtype == src_dtype) {
        memmove(dst, src, n * sy_dtype_bytes(src_dtype));
        return;
    }
    assert((dst_dtype == SY_F32 || dst_dtype == SY_BF16) &&
           (src_dtype == SY_F32 || src_dtype == SY_BF16 || src_dtype == SY_F16));
    for (size_t i = 0; i < n; i++)
        sy_ref_store(dst_dtype, dst, i, sy_float_at(src_dtype, src, i));
}

void sy_ref_split(struct sy_queue *q, const float *x, size_t x_stride, int T, int width, void *y, size_t y_stride)
{
    (void)q;
    for (size_t t = 0; t < (size_t)T; t++, x += x_stride) {
        for (int i = 0; i < width; i++)
            sy_ref_store_row(SY_BF16X2, y, y_stride, t, (size_t)i, x[i]);
    }
}

void sy_ref_layernorm(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int width, const float *weight,
                      const float *bias, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride)
{
    (void)q;
    for (size_t t = 0; t < (size_t)n_rows; t++, x += x_stride) {
        float mean = 0.0f, variance = 0.0f;
        for (int i = 0; i < width; i++)
            mean += x[i];
        mean /= (float)width;
        for (int i = 0; i < width; i++)
            variance += (x[i] - mean) * (x[i] - mean);
        variance /= (float)width;
        for (int i = 0; i < width; i++)
            sy_ref_store_row(y_dtype, y, y_stride, t, (size_t)i,
                             (x[i] - mean) / sqrtf(variance + eps) * weight[i] + bias[i]);
    }
}

void sy_ref_weigh(struct sy_queue *q, float *x, int T, int width, const float *logits)
{
    (void)q;
    for (int t = 0; t < T; t++, x += width) {
        for (int i = 0; i < width; i++)
            x[i] *= 1.0f / (1.0f + expf(-logits[t]));
    }
}

void sy_ref_scale(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float factor)
{
    (void)q;
    for (int t = 0; t < T; t++, x += x_stride) {
        for (int i = 0; i < width; i++)
            x[i] *= factor;
    }
}
