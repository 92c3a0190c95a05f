/* SPDX-License-Identifier: Apache-2.0
 * rope.c - rotary position embedding (Su et al. 2021); the pairs are dims side by side, as there, or the two halves of
 * a head, as GPT-NeoX has them
 */
#include "ref/ref.h"

static void turn(const struct sy_rotation *r, const float *x, const float *cosine, float *y)
{
    int half = r->rotary_dim / 2;
    const float *sine = cosine + half;

    for (int i = 0; i < half; i++) {
        int first = r->interleaved ? 2 * i : i, second = r->interleaved ? 2 * i + 1 : half + i;
        float a = x[first], b = x[second];
        y[first] = a * cosine[i] - b * sine[i];
        y[second] = b * cosine[i] + a * sine[i];
    }
    for (int i = 2 * half; i < r->width; i++)
        y[i] = x[i];
    /* All of it, since the consumer's type holds for the dims that do not turn as well. */
    for (int i = 0; i < r->width; i++)
        y[i] = sy_round_float(y[i], r->round);
}

void sy_ref_rope(struct sy_queue *q, const struct sy_rotation *r)
{
    (void)q;
    for (int t = 0; t < r->n_rows; t++) {
        const float *table = r->cos_sin + (size_t)(r->rows[t].turn + r->rows[t].position) * (size_t)r->rotary_dim;
        for (int h = 0; h < r->n_heads; h++)
            turn(r, r->x + (size_t)t * r->x_stride + (size_t)h * r->x_head, table,
                 r->y + (size_t)t * r->y_stride + (size_t)h * r->y_head);
    }
}
