/* SPDX-License-Identifier: Apache-2.0
 * gemm.cu - dense matrices, and one matrix for each head
 *
 * BF16 rows with BF16 weights or codes go to tensor cores (mma.cuh). All else is multiplied in FP32, one multiply-add after
 * the other in order of inputs.
 */
#include "cuda/mma.cuh"

/* A product of T rows with one matrix of each of some heads; a dense one has one head. */
struct gemm {
    struct sy_weight w; /* of head 0 */
    size_t w_head;      /* bytes */
    const void *x;
    enum sy_dtype x_dtype, y_dtype;
    size_t x_stride, x_head, y_stride, y_head; /* elements */
    int T, n_begin, n_end, head_begin, n_parts;
    bool add, aligned;
    enum sy_round round;
    void *y;
};

static __device__ __forceinline__ void store(const struct gemm &g, int head, int t, int n, float sum)
{
    size_t at = (size_t)t * g.y_stride + (size_t)head * g.y_head + (size_t)(n - g.n_begin);

    if (t >= g.T || n >= g.n_end)
        return;
    if (g.add)
        sum = __fadd_rn(((const float *)g.y)[at], sum);
    if (g.w.bias)
        sum = __fadd_rn(sum, g.w.bias[n]);
    sy_narrow(g.y_dtype, g.y, at, sy_round_to(sum, g.round));
}

template <class S, enum sy_dtype W> static __global__ void __launch_bounds__(S::THREADS) tensor_kernel(struct gemm g)
{
    extern __shared__ __align__(128) uint8_t shared[];
    int head = g.head_begin + (int)blockIdx.z, row = (int)blockIdx.y * S::BM, n = g.n_begin + (int)blockIdx.x * S::BN;
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, left = (g.n_end - n + SY_PANEL - 1) / SY_PANEL;
    struct sy_mma_operands o = {.w = g.w,
                                .first_panel = n / SY_PANEL,
                                .n_panels = left < S::BN / SY_PANEL ? left : S::BN / SY_PANEL,
                                .x = (const uint16_t *)g.x + (size_t)row * g.x_stride + (size_t)head * g.x_head,
                                .x_stride = g.x_stride,
                                .n_rows = g.T - row,
                                .n_parts = g.n_parts,
                                .aligned = g.aligned};
    float acc[S::MT][S::NT][4];

    o.w.data = (const uint8_t *)g.w.data + (size_t)head * g.w_head;
    sy_mma_tile<S, W>(o, shared, acc);
    row += warp % S::WM * S::MT * 16 + lane / 4;
    n += warp / S::WM * S::NT * 8 + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < S::MT; i++)
#pragma unroll
        for (int j = 0; j < S::NT; j++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                store(g, head, row + i * 16 + c / 2 * 8, n + j * 8 + c % 2, acc[i][j][c]);
}

template <class S, enum sy_dtype W> static void launch_tensor(struct sy_queue *q, const struct gemm *g, int n_heads)
{
    constexpr size_t bytes = sy_mma_shared<S>(W);
    static bool allowed;
    dim3 grid((unsigned)((g->n_end - g->n_begin + S::BN - 1) / S::BN), (unsigned)((g->T + S::BM - 1) / S::BM),
              (unsigned)n_heads);

    if (!allowed)
        allowed = sy_cuda_check(q,
                                cudaFuncSetAttribute(tensor_kernel<S, W>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                     (int)bytes),
                                "shared memory for gemm");
    tensor_kernel<S, W><<<grid, S::THREADS, bytes, q->stream>>>(*g);
}

/* Few rows: as many blocks as keep all of memory busy. */
typedef sy_mma_shape<16, 16, 1, 1, 4, 4> narrow_tile;
typedef sy_mma_shape<16, 64, 1, 4, 4, 2> few_tile;
typedef sy_mma_shape<64, 64, 2, 2, 4, 1> some_tile;
typedef sy_mma_shape<128, 128, 4, 2, 3, 1> many_tile;

template <enum sy_dtype W> static void launch_type(struct sy_queue *q, const struct gemm *g, int n_heads)
{
    int n_tiles = (g->n_end - g->n_begin + 63) / 64 * n_heads;

    if (g->T <= 16 && n_tiles < q->n_sms)
        launch_tensor<narrow_tile, W>(q, g, n_heads);
    else if (g->T <= 16)
        launch_tensor<few_tile, W>(q, g, n_heads);
    else if (g->T <= 64 || n_tiles / 2 * ((g->T + 127) / 128) < q->n_sms)
        launch_tensor<some_tile, W>(q, g, n_heads);
    else
        launch_tensor<many_tile, W>(q, g, n_heads);
}

/* ---- FP32 ---- */

#define FP32_ROWS 8  /* rows of a block */
#define FP32_N    32 /* outputs */

/* A thread for each element; the block's rows and weights pass through shared memory, 32 inputs at a time. */
static __global__ void __launch_bounds__(FP32_ROWS *FP32_N) fp32_kernel(struct gemm g)
{
    __shared__ float xs[FP32_ROWS][32 + 1], ws[FP32_N][32 + 1];
    int head = g.head_begin + (int)blockIdx.z, i = (int)threadIdx.x % FP32_N, j = (int)threadIdx.x / FP32_N;
    int t = (int)blockIdx.y * FP32_ROWS + j, n = g.n_begin + (int)blockIdx.x * FP32_N;
    struct sy_weight w = g.w;
    size_t row = (size_t)t * g.x_stride + (size_t)head * g.x_head;
    float sum = 0.0f;

    w.data = (const uint8_t *)g.w.data + (size_t)head * g.w_head;
    for (int k = 0; k < w.k; k += 32) {
        bool in = t < g.T && k + i < w.k;
        xs[j][i] = in ? sy_widen(g.x_dtype, g.x, row + (size_t)(k + i)) : 0.0f;
        if (in && g.n_parts == 2)
            xs[j][i] = __fadd_rn(xs[j][i], sy_widen(g.x_dtype, g.x, row + (size_t)(w.k + k + i)));
        for (int at = j; at < FP32_N; at += FP32_ROWS)
            ws[at][i] = n + at < g.n_end && k + i < w.k ? sy_weight_at(w, n + at, k + i) : 0.0f;
        __syncthreads();
        for (int e = 0; e < 32 && k + e < w.k; e++)
            sum = __fmaf_rn(xs[j][e], ws[i][e], sum);
        __syncthreads();
    }
    store(g, head, t, n + i, sum);
}

static void run(struct sy_queue *q, struct gemm *g, int n_heads)
{
    size_t element = sy_dtype_bytes(g->x_dtype);
    bool tensor = g->x_dtype == SY_BF16 && (g->w.dtype == SY_BF16 || sy_dtype_quantised(g->w.dtype)) &&
                  g->w.layout == SY_LAYOUT_PANELS;

    if (!sy_cuda_works(q) || g->T < 1 || g->n_end <= g->n_begin || n_heads < 1)
        return;
    g->aligned = ((uintptr_t)g->x | g->x_stride * element | g->x_head * element |
                  (g->n_parts == 2 ? (size_t)g->w.k * element : 0)) %
                     16 ==
                 0;
    if (!tensor)
        fp32_kernel<<<dim3((unsigned)((g->n_end - g->n_begin + FP32_N - 1) / FP32_N),
                           (unsigned)((g->T + FP32_ROWS - 1) / FP32_ROWS), (unsigned)n_heads),
                      FP32_ROWS * FP32_N, 0, q->stream>>>(*g);
    else if (g->w.dtype == SY_BF16)
        launch_type<SY_BF16>(q, g, n_heads);
    else if (g->w.dtype == SY_F8_E4M3)
        launch_type<SY_F8_E4M3>(q, g, n_heads);
    else if (g->w.dtype == SY_I8)
        launch_type<SY_I8>(q, g, n_heads);
    else
        launch_type<SY_MXFP4>(q, g, n_heads);
    sy_cuda_launched(q, "gemm");
}

void sy_cuda_gemm(struct sy_queue *q, const struct sy_weight *w, const void *x, enum sy_dtype x_dtype, size_t x_stride,
                  int T, int n_begin, int n_end, bool add, float *y, size_t y_stride)
{
    struct gemm g = {.w = *w,
                     .x = x,
                     .x_dtype = x_dtype,
                     .y_dtype = SY_F32,
                     .x_stride = x_stride,
                     .y_stride = y_stride,
                     .T = T,
                     .n_begin = n_begin,
                     .n_end = n_end,
                     .n_parts = 1,
                     .add = add,
                     .y = y};

    run(q, &g, 1);
}

void sy_cuda_gemm_heads(struct sy_queue *q, const struct sy_head_gemm *h)
{
    struct gemm g = {.w = *h->w,
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
                     .n_parts = 1,
                     .round = h->round,
                     .y = h->y};

    run(q, &g, h->head_end - h->head_begin);
}
