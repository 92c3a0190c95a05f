/* SPDX-License-Identifier: Apache-2.0
 * gemm.cu - dense matrices, and one matrix for each head
 *
 * BF16 rows with BF16 weights or codes go to tensor cores (gemm_mma.cu, gemm_hopper.cu). All else is multiplied and added
 * in FP32, here.
 */
#include "cuda/gemm.cuh"

/* ---- FP32 ----
 * A warp takes FP32_T rows and FP32_N outputs. A lane adds up the products of inputs 4 * lane .. + 3 of each 128 in order,
 * and the lanes' sums are added as a tree: the order hangs on the number of inputs alone. */

#define FP32_T     4
#define FP32_N     4
#define FP32_WARPS 8 /* of a block: along rows, so that they share weights */

/* Four inputs of a row from k on, those behind the last zero; VECTOR: 16 bytes at once. */
template <bool VECTOR> static __device__ __forceinline__ float4 load_x(const struct sy_gemm &g, size_t row, int k)
{
    if constexpr (VECTOR) {
        return *(const float4 *)((const float *)g.x + row + (size_t)k);
    } else {
        float f[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            bool in = k + i < g.w.k;
            f[i] = in ? sy_widen(g.x_dtype, g.x, row + (size_t)(k + i)) : 0.0f;
            if (in && g.n_parts == 2)
                f[i] = __fadd_rn(f[i], sy_widen(g.x_dtype, g.x, row + g.x_stride + (size_t)(k + i)));
        }
        return make_float4(f[0], f[1], f[2], f[3]);
    }
}

template <bool VECTOR> static __device__ __forceinline__ float4 load_w(const struct sy_weight &w, int n, int k)
{
    if constexpr (VECTOR) {
        /* A piece of a panel. */
        return *(const float4 *)((const uint8_t *)w.data + sy_cuda_piece_at(SY_F32, w.k, n, k));
    } else {
        float f[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            f[i] = k + i < w.k ? sy_weight_at(w, n, k + i) : 0.0f;
        return make_float4(f[0], f[1], f[2], f[3]);
    }
}

template <bool VECTOR>
static __global__ void __launch_bounds__(FP32_WARPS * 32) fp32_kernel(const struct sy_gemm g)
{
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, head = g.head_begin + (int)blockIdx.z;
    int t = ((int)blockIdx.y * FP32_WARPS + warp) * FP32_T, n = g.n_begin + (int)blockIdx.x * FP32_N;
    size_t pitch = g.x_stride * (size_t)g.n_parts;
    struct sy_weight w = g.w;
    float sums[FP32_T][FP32_N] = {};

    if (t >= g.T)
        return;
    w.data = (const uint8_t *)g.w.data + (size_t)head * g.w_head;
#pragma unroll 2
    for (int k = lane * 4; k < w.k; k += 128) {
        float4 x[FP32_T], m[FP32_N];
#pragma unroll
        for (int i = 0; i < FP32_T; i++)
            x[i] = load_x<VECTOR>(g, (size_t)(t + i < g.T ? t + i : t) * pitch + (size_t)head * g.x_head, k);
#pragma unroll
        for (int j = 0; j < FP32_N; j++)
            m[j] = load_w<VECTOR>(w, n + j < g.n_end ? n + j : n, k);
#pragma unroll
        for (int i = 0; i < FP32_T; i++)
#pragma unroll
            for (int j = 0; j < FP32_N; j++) {
                sums[i][j] = __fmaf_rn(x[i].x, m[j].x, sums[i][j]);
                sums[i][j] = __fmaf_rn(x[i].y, m[j].y, sums[i][j]);
                sums[i][j] = __fmaf_rn(x[i].z, m[j].z, sums[i][j]);
                sums[i][j] = __fmaf_rn(x[i].w, m[j].w, sums[i][j]);
            }
    }
#pragma unroll
    for (int i = 0; i < FP32_T; i++)
#pragma unroll
        for (int j = 0; j < FP32_N; j++) {
            for (int step = 16; step; step /= 2)
                sums[i][j] = __fadd_rn(sums[i][j], __shfl_xor_sync(0xffffffffu, sums[i][j], step));
            if (lane == i * FP32_N + j)
                sy_gemm_store(g, head, t + i, n + j, sums[i][j]);
        }
}

static void launch_fp32(struct sy_queue *q, const struct sy_gemm *g)
{
    dim3 grid((unsigned)((g->n_end - g->n_begin + FP32_N - 1) / FP32_N),
              (unsigned)((g->T + FP32_T * FP32_WARPS - 1) / (FP32_T * FP32_WARPS)), (unsigned)g->n_heads);

    bool pieces = g->w.dtype == SY_F32 && g->w.layout == SY_LAYOUT_PANELS && g->w.k % 4 == 0;

    if (pieces && g->aligned && g->x_dtype == SY_F32)
        fp32_kernel<true><<<grid, FP32_WARPS * 32, 0, q->stream>>>(*g);
    else
        fp32_kernel<false><<<grid, FP32_WARPS * 32, 0, q->stream>>>(*g);
}

static void run(struct sy_queue *q, struct sy_gemm *g)
{
    /* From here on the type is that of a part. */
    g->n_parts = g->x_dtype == SY_BF16X2 ? 2 : 1;
    g->x_dtype = g->n_parts == 2 ? SY_BF16 : g->x_dtype;
    size_t element = sy_dtype_bytes(g->x_dtype);
    bool tensor = g->x_dtype == SY_BF16 && (g->w.dtype == SY_BF16 || sy_dtype_quantised(g->w.dtype)) &&
                  g->w.layout == SY_LAYOUT_PANELS;

    if (!sy_cuda_works(q) || g->T < 1 || g->n_end <= g->n_begin || g->n_heads < 1)
        return;
    g->aligned = ((uintptr_t)g->x | g->x_stride * element | g->x_head * element) % 16 == 0;
    if (!tensor)
        launch_fp32(q, g);
    else if (sy_cuda_gemm_hopper_fits(q, g))
        sy_cuda_gemm_hopper(q, g);
    else
        sy_cuda_gemm_mma(q, g);
    sy_cuda_launched(q, "gemm");
}

void sy_cuda_gemm(struct sy_queue *q, const struct sy_weight *w, const void *x, enum sy_dtype x_dtype, size_t x_stride,
                  int T, int n_begin, int n_end, bool add, float *y, size_t y_stride)
{
    struct sy_gemm g = {.w = *w,
                     .x = x,
                     .x_dtype = x_dtype,
                     .y_dtype = SY_F32,
                     .x_stride = x_stride,
                     .y_stride = y_stride,
                     .T = T,
                     .n_begin = n_begin,
                     .n_end = n_end,
                     .n_heads = 1,
                     .add = add,
                     .y = y};

    run(q, &g);
}

void sy_cuda_gemm_heads(struct sy_queue *q, const struct sy_head_gemm *h)
{
    struct sy_gemm g = {.w = *h->w,
                     .w_head = h->w_head,
                     .x = h->x,
                     .x_dtype = h->x_dtype,
                     .y_dtype = h->y_dtype,
                     .x_stride = h->x_stride,
                     .x_head = h->x_head,
                     .y_stride = h->y_stride,
                     .y_head = h->y_head,
                     .T = h->n_rows,
                     .n_end = h->w->n,
                     .head_begin = h->head_begin,
                     .n_heads = h->head_end - h->head_begin,
                     .round = h->round,
                     .y = h->y};

    run(q, &g);
}
