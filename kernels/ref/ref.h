/* SPDX-License-Identifier: Apache-2.0
 * ref.h - the readable truth: every kernel as plain loops in FP32
 *
 * Each file is one family of kernels; kernels.h says what they do. They run on the calling thread, take weights in
 * either layout and share the CPU backends' buffers, queues and panels, so that the table is a whole, slow backend.
 */
#ifndef SY_KERNELS_REF_REF_H
#define SY_KERNELS_REF_REF_H

#include "half.h"
#include "kernels.h"
#include "layout.h"

/* The scale of w[n][k]. */
static inline float sy_ref_scale_at(const struct sy_weight *w, int n, int k)
{
    size_t at = sy_scale_index(w, n, k);

    return w->dtype == SY_MXFP4 ? sy_e8m0_widen(((const uint8_t *)w->scales)[at]) : ((const float *)w->scales)[at];
}

/* w[n][k], widened. */
static inline float sy_ref_weight(const struct sy_weight *w, int n, int k)
{
    /* A row of SY_MXFP4 is whole bytes. */
    size_t row = w->dtype == SY_MXFP4 ? (size_t)(w->k + 1) / 2 * 2 : (size_t)w->k;
    size_t at = w->layout == SY_LAYOUT_ROWS ? (size_t)n * row + (size_t)k : sy_panel_index(w->dtype, w->k, n, k);
    float f = sy_float_at(w->dtype, w->data, at);

    return sy_dtype_quantised(w->dtype) ? f * sy_ref_scale_at(w, n, k) : f;
}

/* x . w[n], x a row of x_dtype and its stride */
static inline float sy_ref_dot(const struct sy_weight *w, int n, const void *x, enum sy_dtype x_dtype, size_t x_stride)
{
    float sum = 0.0f;

    for (int k = 0; k < w->k; k++)
        sum += sy_row_float(x_dtype, x, x_stride, (size_t)k) * sy_ref_weight(w, n, k);
    return sum;
}

/* Store f as SY_F32, SY_BF16 or SY_F16. */
static inline void sy_ref_store(enum sy_dtype dtype, void *data, size_t i, float f)
{
    if (dtype == SY_F32)
        ((float *)data)[i] = f;
    else
        ((uint16_t *)data)[i] = dtype == SY_F16 ? sy_f16_round(f) : sy_bf16_round(f);
}

/* Store f as element i of a row of SY_F32, SY_BF16 or SY_BF16X2. */
static inline void sy_ref_store_row(enum sy_dtype dtype, void *rows, size_t stride, size_t row, size_t i, float f)
{
    size_t at = sy_row_index(dtype, stride, row, i);

    sy_ref_store(dtype == SY_BF16X2 ? SY_BF16 : dtype, rows, at, f);
    if (dtype == SY_BF16X2)
        sy_ref_store(SY_BF16, rows, at + stride, f - sy_round_float(f, SY_ROUND_BF16));
}

void sy_ref_embed(struct sy_queue *q, const struct sy_weight *w, const int32_t *ids, int T, float *x);
void sy_ref_rmsnorm(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int n_heads, int width,
                    const float *weight, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride);
void sy_ref_gemm(struct sy_queue *q, const struct sy_weight *w, const void *x, enum sy_dtype x_dtype, size_t x_stride,
                 int T, int n_begin, int n_end, bool add, float *y, size_t y_stride);
void sy_ref_gemm_heads(struct sy_queue *q, const struct sy_head_gemm *g);
void sy_ref_rope(struct sy_queue *q, const struct sy_rotation *r);
void sy_ref_layernorm(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int width, const float *weight,
                      const float *bias, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride);
void sy_ref_weigh(struct sy_queue *q, float *x, int T, int width, const float *logits);
void sy_ref_scale(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float factor);
void sy_ref_clamp(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float limit);
void sy_ref_kv_write(struct sy_queue *q, const struct sy_kv_layer *kv, const struct sy_attention_row *rows, int T,
                     const float *k, const float *v, size_t kv_stride);
void sy_ref_attention(struct sy_queue *q, const struct sy_attention *a);
void sy_ref_router(struct sy_queue *q, const struct sy_router_rule *rule, const struct sy_weight *w, const float *x,
                   int T, float *logits, int32_t *ids, float *weights);
void sy_ref_copy_rows(struct sy_queue *q, void *dst, const uint32_t *dst_rows, const void *src,
                      const uint32_t *src_rows, int n, size_t row_bytes);
void sy_ref_expert_gate_up(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *x,
                           enum sy_dtype dtype, const struct sy_glu *glu, void *act);
void sy_ref_expert_down(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *act,
                        enum sy_dtype act_dtype, void *y, void *const *y_rows, enum sy_dtype y_dtype);
void sy_ref_combine(struct sy_queue *q, const void *y, enum sy_dtype y_dtype, const float *weights, int T, int K, int D,
                    const float *shared, bool reverse_k, float *x);
void sy_ref_add(struct sy_queue *q, float *x, const float *y, int T, int width);
void sy_ref_scan_logits(struct sy_queue *q, const float *logits, int T, int V, struct sy_logit_scan *scans);
void sy_ref_pick_logits(struct sy_queue *q, const float *logits, int V, const struct sy_logit_scan *scans,
                        struct sy_logit_pick *picks, int n_picks);
void sy_ref_split(struct sy_queue *q, const float *x, size_t x_stride, int T, int width, void *y, size_t y_stride);
void sy_ref_convert(struct sy_queue *q, void *dst, enum sy_dtype dst_dtype, const void *src, enum sy_dtype src_dtype,
                    size_t n);

#endif
