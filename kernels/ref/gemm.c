/* SPDX-License-Identifier: Apache-2.0
 * gemm.c - dense matrices and the embedding table
 */
#include "ref/ref.h"

void sy_ref_embed(struct sy_queue *q, const struct sy_weight *w, const int32_t *ids, int T, float *x)
{
    (void)q;
    for (int t = 0; t < T; t++) {
        for (int k = 0; k < w->k; k++)
            x[(size_t)t * (size_t)w->k + (size_t)k] = sy_ref_weight(w, ids[t], k);
    }
}

void sy_ref_gemm(struct sy_queue *q, const struct sy_weight *w, const void *x, enum sy_dtype x_dtype, size_t x_stride,
                 int T, int n_begin, int n_end, bool add, float *y, size_t y_stride)
{
    (void)q;
    for (int t = 0; t < T; t++) {
        for (int n = n_begin; n < n_end; n++) {
            const uint8_t *row = (const uint8_t *)x + (size_t)t * x_stride * sy_dtype_bytes(x_dtype);
            float *to = &y[(size_t)t * y_stride + (size_t)(n - n_begin)],
                  sum = sy_ref_dot(w, n, row, x_dtype, x_stride);
            sum = add ? *to + sum : sum;
            *to = w->bias ? sum + w->bias[n] : sum;
        }
    }
}

void sy_ref_gemm_heads(struct sy_queue *q, const struct sy_head_gemm *g)
{
    size_t bytes = g->x_dtype == SY_F32 ? sizeof(float) : sizeof(uint16_t);

    (void)q;
    for (int h = g->head_begin; h < g->head_end; h++) {
        struct sy_weight w = *g->w;
        w.data = (const uint8_t *)g->w->data + (size_t)h * g->w_head;
        for (int t = 0; t < g->n_rows; t++) {
            const uint8_t *x = (const uint8_t *)g->x +
                               sy_row_index(g->x_dtype, g->x_stride, (size_t)t, (size_t)h * g->x_head) * bytes;
            for (int n = 0; n < w.n; n++)
                sy_ref_store_row(g->y_dtype, g->y, g->y_stride, (size_t)t, (size_t)h * g->y_head + (size_t)n,
                                 sy_round_float(sy_ref_dot(&w, n, x, g->x_dtype, g->x_stride), g->round));
        }
    }
}
