/* SPDX-License-Identifier: Apache-2.0
 * rope.c - rotary position embedding (Su et al. 2021), with the two halves of a head as the pairs, as GPT-NeoX has them
 */
#include "ref/ref.h"

void sy_ref_rope(struct sy_queue *q, float *x, size_t x_stride, int T, int n_heads, int head_dim, int rotary_dim,
                 const struct sy_attention_row *rows, const float *cos_sin, enum sy_round round)
{
    int half = rotary_dim / 2;

    (void)q;
    for (int t = 0; t < T; t++) {
        const float *cosine = cos_sin + (size_t)rows[t].position * (size_t)rotary_dim, *sine = cosine + half;
        for (int h = 0; h < n_heads; h++) {
            float *head = x + (size_t)t * x_stride + (size_t)h * (size_t)head_dim;
            for (int i = 0; i < half; i++) {
                float a = head[i], b = head[half + i];
                head[i] = a * cosine[i] - b * sine[i];
                head[half + i] = b * cosine[i] + a * sine[i];
            }
            /* The whole head, since the consumer's type holds for the dims that do not turn as well. */
            for (int i = 0; i < head_dim; i++)
                head[i] = sy_round_float(head[i], round);
        }
    }
}
