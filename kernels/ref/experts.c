/* SPDX-License-Identifier: Apache-2.0
 * experts.c - grouped expert MLP, and the combination of its results
 */
#include "ref/ref.h"

/* Row of the fused matrix that holds gate output f (up = 0) or up output f (up = 1): alternating panels, or, unpacked,
 * all gate rows before all up rows. */
static int fused_row(const struct sy_weight *w, int f, int up)
{
    if (w->layout == SY_LAYOUT_ROWS)
        return f + up * w->n;
    return (f / SY_PANEL * 2 + up) * SY_PANEL + f % SY_PANEL;
}

void sy_ref_copy_rows(struct sy_queue *q, void *dst, const uint32_t *dst_rows, const void *src,
                      const uint32_t *src_rows, int n, size_t row_bytes)
{
    (void)q;
    for (size_t i = 0; i < (size_t)n; i++)
        memcpy((uint8_t *)dst + (dst_rows ? dst_rows[i] : i) * row_bytes,
               (const uint8_t *)src + (src_rows ? src_rows[i] : i) * row_bytes, row_bytes);
}

static float gated(const struct sy_glu *glu, float gate, float up)
{
    if (!glu->limit)
        return gate / (1.0f + expf(-gate)) * up;
    gate = gate > glu->limit ? glu->limit : gate;
    up = up > glu->limit ? glu->limit : up < -glu->limit ? -glu->limit : up;
    return gate / (1.0f + expf(-glu->alpha * gate)) * (up + 1.0f);
}

void sy_ref_expert_gate_up(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *x,
                           enum sy_dtype dtype, const struct sy_glu *glu, void *act)
{
    (void)q;
    for (const struct sy_tile *tile = tiles; tile < tiles + n_tiles; tile++) {
        const struct sy_weight *w = tile->gate_up;
        size_t row_bytes = (size_t)w->k * sy_dtype_bytes(dtype);
        for (size_t row = (size_t)tile->row; row < (size_t)(tile->row + tile->n_rows); row++) {
            for (int f = 0; f < w->n; f++) {
                float gate = sy_ref_dot(w, fused_row(w, f, 0), (const uint8_t *)x + row * row_bytes, dtype,
                                        (size_t)w->k);
                float up = sy_ref_dot(w, fused_row(w, f, 1), (const uint8_t *)x + row * row_bytes, dtype, (size_t)w->k);
                if (w->bias) {
                    gate += w->bias[f];
                    up += w->bias[w->n + f];
                }
                sy_ref_store_row(dtype, act, (size_t)w->n, row, (size_t)f, gated(glu, gate, up));
            }
        }
    }
}

void sy_ref_expert_down(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *act,
                        enum sy_dtype act_dtype, void *y, void *const *y_rows, enum sy_dtype y_dtype)
{
    (void)q;
    for (const struct sy_tile *tile = tiles; tile < tiles + n_tiles; tile++) {
        const struct sy_weight *w = tile->down;
        size_t row_bytes = (size_t)w->k * sy_dtype_bytes(act_dtype);
        for (size_t row = (size_t)tile->row; row < (size_t)(tile->row + tile->n_rows); row++) {
            for (int n = 0; n < w->n; n++) {
                float sum = sy_ref_dot(w, n, (const uint8_t *)act + row * row_bytes, act_dtype, (size_t)w->k);
                sy_ref_store(y_dtype, y_rows ? y_rows[row] : y, (y_rows ? 0 : row * (size_t)w->n) + (size_t)n,
                             w->bias ? sum + w->bias[n] : sum);
            }
        }
    }
}

void sy_ref_combine(struct sy_queue *q, const void *y, enum sy_dtype y_dtype, const float *weights, int T, int K, int D,
                    const float *shared, bool reverse_k, float *x)
{
    (void)q;
    for (int t = 0; t < T; t++) {
        for (int i = 0; i < D; i++) {
            size_t at = (size_t)t * (size_t)D + (size_t)i;
            float sum = 0.0f;
            for (int j = 0; j < K; j++) {
                size_t k = (size_t)t * (size_t)K + (size_t)(reverse_k ? K - 1 - j : j);
                sum += weights[k] * sy_float_at(y_dtype, y, k * (size_t)D + (size_t)i);
            }
            if (shared)
                sum += shared[at];
            x[at] += sum;
        }
    }
}
