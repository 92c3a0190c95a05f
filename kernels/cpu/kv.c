/* SPDX-License-Identifier: Apache-2.0
 * kv.c - writing the paged KV cache
 */
#include "cpu/cpu.h"
#include "cpu/vec.h"
#include "layout.h"

struct job {
    const struct sy_kv_layer *kv;
    const struct sy_attention_row *rows;
    const float *k, *v;
    size_t kv_stride;
    int n_rows, row_step;
};

/* VEC_N dims of one key or value at a time go through `word`, in the cache's type; then each element to its place, where
 * the dims of one position lie apart. */
VEC_INLINE void write_head(enum sy_dtype dtype, const struct sy_kv_layer *kv, const float *from, bool is_v,
                           uint8_t *page, int head, int slot)
{
    int dim = is_v ? kv->v_dim : kv->k_dim;
    union {
        float f[VEC_N];
        uint16_t h[VEC_N];
    } word;

    for (int i = 0; i < dim; i += VEC_N) {
        int lanes = vec_lanes(dim, i);
        size_t at = is_v ? sy_kv_v_index(kv, head, slot, i) : sy_kv_k_index(kv, head, slot, i);
        vec_store_type_upto(dtype, &word, 0, lanes, vec_load_upto(from + i, lanes));
        for (int j = 0; j < lanes; j++) {
            /* From i on, which is a multiple of VEC_N: dims of V lie side by side, those of K a panel's group apart. */
            size_t to = dtype != SY_BF16 ? (size_t)(is_v ? j : j * SY_PANEL)
                                         : (size_t)(is_v ? 2 * j : j / 2 * 2 * SY_PANEL + j % 2);
            if (dtype == SY_F32)
                memcpy(page + (at + to) * sizeof *word.f, &word.f[j], sizeof *word.f);
            else
                memcpy(page + (at + to) * sizeof *word.h, &word.h[j], sizeof *word.h);
        }
    }
    /* The pair of an odd last dim. */
    if (!is_v && dtype == SY_BF16 && dim % 2)
        memset(page + sy_kv_k_index(kv, head, slot, dim) * sizeof *word.h, 0, sizeof *word.h);
}

/* V of all slots zero, for attention multiplies whole pages. */
static void clear_values(const struct sy_kv_layer *kv, uint8_t *page)
{
    size_t bytes = sy_dtype_bytes(kv->dtype), first = kv->v_in_k ? 0 : sy_kv_k_elements(kv);
    size_t head = sy_kv_head_elements(kv);

    for (size_t h = 0; h < (size_t)kv->n_kv_heads; h++)
        memset(page + (h * head + first) * bytes, 0, (head - first) * bytes);
}

static void write_row(const struct job *job, int t, uint8_t *page, int slot)
{
    const struct sy_kv_layer *kv = job->kv;

    for (int h = 0; h < kv->n_kv_heads; h++) {
        const float *k = job->k + (size_t)t * job->kv_stride + (size_t)h * (size_t)kv->k_dim;
        const float *v = kv->v_in_k ? NULL : job->v + (size_t)t * job->kv_stride + (size_t)h * (size_t)kv->v_dim;
        if (kv->dtype == SY_F32) {
            write_head(SY_F32, kv, k, false, page, h, slot);
            if (v)
                write_head(SY_F32, kv, v, true, page, h, slot);
        } else if (kv->dtype == SY_F16) {
            write_head(SY_F16, kv, k, false, page, h, slot);
            if (v)
                write_head(SY_F16, kv, v, true, page, h, slot);
        } else {
            write_head(SY_BF16, kv, k, false, page, h, slot);
            if (v)
                write_head(SY_BF16, kv, v, true, page, h, slot);
        }
    }
}

/* Does row t go to the page of row t - 1? */
static bool shares_page(const struct job *job, int t)
{
    return t > 0 && t < job->n_rows && job->rows[t].pages == job->rows[t - 1].pages &&
           job->rows[t].position == job->rows[t - 1].position + 1 && job->rows[t].position % SY_KV_PAGE != 0;
}

/* Rows of one page are written by one thread, the item's in which they begin: the first slot clears the page. */
static void write_item(void *arg, int item, int thread)
{
    const struct job *job = arg;
    const struct sy_kv_layer *kv = job->kv;

    (void)thread;
    for (int first = item * job->row_step; first < job->n_rows && first < (item + 1) * job->row_step; first++) {
        for (int t = first; t == first ? !shares_page(job, t) : shares_page(job, t); t++) {
            const struct sy_attention_row *row = &job->rows[t];
            uint8_t *page = kv->base + (size_t)row->pages[row->position / SY_KV_PAGE] * kv->page_stride;
            if (row->position % SY_KV_PAGE == 0)
                clear_values(kv, page);
            write_row(job, t, page, row->position % SY_KV_PAGE);
        }
    }
}

void SY_CPU(kv_write)(struct sy_queue *q, const struct sy_kv_layer *kv, const struct sy_attention_row *rows, int T,
                      const float *k, const float *v, size_t kv_stride)
{
    int width = 2 * kv->n_kv_heads * (kv->k_dim + (kv->v_in_k ? 0 : kv->v_dim)), step = sy_row_step(width);
    struct job job = {kv, rows, k, v, kv_stride, T, step};

    sy_queue_run(q, (T + step - 1) / step, (double)T * width, write_item, &job);
}
