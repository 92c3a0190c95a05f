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

/* VEC_N dims of one key and value at a time go through `word`, in the cache's type; then each element to its place, where
 * the dims of one position lie apart. */
VEC_INLINE void write_head(enum sy_dtype dtype, int head_dim, const float *from, bool is_v, uint8_t *page, int head,
                           int slot)
{
    union {
        float f[VEC_N];
        uint16_t h[VEC_N];
    } word;

    for (int i = 0; i < head_dim; i += VEC_N) {
        int lanes = vec_lanes(head_dim, i);
        size_t at = is_v ? sy_kv_v_index(dtype, head_dim, head, slot, i)
                         : sy_kv_k_index(dtype, head_dim, head, slot, i);
        vec_store_type_upto(dtype, &word, 0, lanes, vec_load_upto(from + i, lanes));
        for (int j = 0; j < lanes; j++) {
            /* From i on, which is a multiple of VEC_N: dims of V lie side by side, those of K a panel's group apart. */
            size_t to = dtype == SY_F32 ? (size_t)(is_v ? j : j * SY_PANEL)
                                        : (size_t)(is_v ? 2 * j : j / 2 * 2 * SY_PANEL + j % 2);
            if (dtype == SY_F32)
                memcpy(page + (at + to) * sizeof *word.f, &word.f[j], sizeof *word.f);
            else
                memcpy(page + (at + to) * sizeof *word.h, &word.h[j], sizeof *word.h);
        }
    }
    /* The pair of an odd last dim. */
    if (!is_v && dtype == SY_BF16 && head_dim % 2)
        memset(page + sy_kv_k_index(dtype, head_dim, head, slot, head_dim) * sizeof *word.h, 0, sizeof *word.h);
}

/* V of all slots zero, for attention multiplies whole pages. */
static void clear_values(const struct sy_kv_layer *kv, uint8_t *page)
{
    size_t bytes = sy_dtype_bytes(kv->dtype), k = sy_kv_k_elements(kv->dtype, kv->head_dim);
    size_t head = sy_kv_head_elements(kv->dtype, kv->head_dim);

    for (size_t h = 0; h < (size_t)kv->n_kv_heads; h++)
        memset(page + (h * head + k) * bytes, 0, (head - k) * bytes);
}

static void write_row(const struct job *job, int t, uint8_t *page, int slot)
{
    const struct sy_kv_layer *kv = job->kv;

    for (int h = 0; h < kv->n_kv_heads; h++) {
        size_t from = (size_t)t * job->kv_stride + (size_t)h * (size_t)kv->head_dim;
        if (kv->dtype == SY_F32) {
            write_head(SY_F32, kv->head_dim, job->k + from, false, page, h, slot);
            write_head(SY_F32, kv->head_dim, job->v + from, true, page, h, slot);
        } else {
            write_head(SY_BF16, kv->head_dim, job->k + from, false, page, h, slot);
            write_head(SY_BF16, kv->head_dim, job->v + from, true, page, h, slot);
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
    int width = 4 * kv->n_kv_heads * kv->head_dim, step = sy_row_step(width);
    struct job job = {kv, rows, k, v, kv_stride, T, step};

    sy_queue_run(q, (T + step - 1) / step, (double)T * width, write_item, &job);
}
