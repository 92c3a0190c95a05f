/* SPDX-License-Identifier: Apache-2.0
 * kv.cu - keys and values of new rows into the paged cache
 */
#include "cuda/launch.cuh"
#include "cuda/widen.cuh"

#define THREADS 128

size_t sy_cuda_kv_page_bytes(const struct sy_kv_layer *kv)
{
    return (size_t)kv->n_kv_heads * sy_cuda_kv_head(kv) * sy_dtype_bytes(kv->dtype);
}

/* A block for each row and head, of keys first, then of values. */
static __global__ void write_kernel(struct sy_kv_layer kv, const struct sy_attention_row *rows, const float *k,
                                    const float *v, size_t kv_stride)
{
    size_t t = blockIdx.x;
    const struct sy_attention_row *row = &rows[t];

    sy_begin();
    uint8_t *page = kv.base + (size_t)row->pages[row->position / SY_KV_PAGE] * kv.page_stride;
    int slot = row->position % SY_KV_PAGE, head = (int)blockIdx.y % kv.n_kv_heads;
    bool values = (int)blockIdx.y >= kv.n_kv_heads;
    int dim = values ? kv.v_dim : kv.k_dim;
    size_t at = values ? sy_cuda_kv_value(&kv, head, slot) : sy_cuda_kv_key(&kv, head, slot);
    const float *from = (values ? v : k) + t * kv_stride + (size_t)(head * dim);

    for (int i = (int)threadIdx.x; i < dim; i += THREADS)
        sy_narrow(kv.dtype, page, at + (size_t)i, from[i]);
}

void sy_cuda_kv_write(struct sy_queue *q, const struct sy_kv_layer *kv, const struct sy_attention_row *rows, int T,
                      const float *k, const float *v, size_t kv_stride)
{
    if (!sy_cuda_works(q) || T < 1)
        return;
    unsigned n_blocks = (unsigned)(kv->v_in_k ? kv->n_kv_heads : 2 * kv->n_kv_heads);
    sy_launch(q, "kv_write", write_kernel, dim3((unsigned)T, n_blocks), THREADS, 0, *kv, rows, k, v, kv_stride);
}
