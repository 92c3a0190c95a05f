/* SPDX-License-Identifier: Apache-2.0
 * kv.cu - keys and values of new rows into the paged cache
 */
#include "cuda/widen.cuh"

#define THREADS 128

size_t sy_cuda_kv_page_bytes(const struct sy_kv_layer *kv)
{
    return (size_t)kv->n_kv_heads * sy_cuda_kv_head(kv) * sy_dtype_bytes(kv->dtype);
}

/* A block for each row. */
static __global__ void write_kernel(struct sy_kv_layer kv, const struct sy_attention_row *rows, const float *k,
                                    const float *v, size_t kv_stride)
{
    size_t t = blockIdx.x;
    const struct sy_attention_row *row = &rows[t];
    uint8_t *page = kv.base + (size_t)row->pages[row->position / SY_KV_PAGE] * kv.page_stride;
    int slot = row->position % SY_KV_PAGE, n_keys = kv.n_kv_heads * kv.k_dim;
    int n = n_keys + (kv.v_in_k ? 0 : kv.n_kv_heads * kv.v_dim);

    for (int i = (int)threadIdx.x; i < n; i += THREADS) {
        if (i < n_keys)
            sy_narrow(kv.dtype, page, sy_cuda_kv_key(&kv, i / kv.k_dim, slot) + (size_t)(i % kv.k_dim),
                      k[t * kv_stride + (size_t)i]);
        else
            sy_narrow(kv.dtype, page,
                      sy_cuda_kv_value(&kv, (i - n_keys) / kv.v_dim, slot) + (size_t)((i - n_keys) % kv.v_dim),
                      v[t * kv_stride + (size_t)(i - n_keys)]);
    }
}

void sy_cuda_kv_write(struct sy_queue *q, const struct sy_kv_layer *kv, const struct sy_attention_row *rows, int T,
                      const float *k, const float *v, size_t kv_stride)
{
    if (!sy_cuda_works(q) || T < 1)
        return;
    write_kernel<<<(unsigned)T, THREADS, 0, q->stream>>>(*kv, rows, k, v, kv_stride);
    sy_cuda_launched(q, "kv_write");
}
