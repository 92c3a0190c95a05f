/* SPDX-License-Identifier: Apache-2.0
 * rows.cu - norms, and what works on one element at a time
 */
#include "cuda/launch.cuh"
#include "cuda/warp.cuh"
#include "cuda/widen.cuh"

#define THREADS 256

/* ---- norms: a warp for a narrow run, a block for a wide one, so that the order of a sum depends on the width alone ---- */

#define WIDE 1024

template <int N> static __device__ float sum_all(float mine)
{
    __shared__ float of_warp[32];

    mine = sy_warp_sum(mine);
    if (N == 32)
        return mine;
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        of_warp[threadIdx.x / 32] = mine;
    __syncthreads();
    mine = 0.0f;
    for (int i = 0; i < N / 32; i++)
        mine = __fadd_rn(mine, of_warp[i]);
    return mine;
}

struct norm {
    const float *x;
    size_t x_stride;
    int n_runs, n_heads, width;
    const float *weight, *bias; /* bias: of a layer norm, else NULL */
    float eps;
    void *y;
    enum sy_dtype y_dtype;
    size_t y_stride;
};

/* N threads for each run, each with OWN numbers of it in registers. Which thread adds which numbers in which order follows
 * from the width alone. */
template <int N, int OWN> static __global__ void norm_kernel(struct norm n)
{
    int run = (int)blockIdx.x * (THREADS / N) + (int)threadIdx.x / N, lane = (int)threadIdx.x % N;
    float weight[OWN];

#pragma unroll
    for (int i = 0; i < OWN; i++)
        weight[i] = lane + i * N < n.width ? n.weight[lane + i * N] : 0.0f;
    sy_begin();
    if (run >= n.n_runs)
        return;
    size_t row = (size_t)(run / n.n_heads), head = (size_t)(run % n.n_heads) * (size_t)n.width;
    const float *x = n.x + row * n.x_stride + head;
    float mean = 0.0f, sum = 0.0f, own[OWN];
#pragma unroll
    for (int i = 0; i < OWN; i++)
        own[i] = lane + i * N < n.width ? x[lane + i * N] : 0.0f;
    if (n.bias) {
#pragma unroll
        for (int i = 0; i < OWN; i++)
            mean = __fadd_rn(mean, own[i]);
        mean = __fdiv_rn(sum_all<N>(mean), (float)n.width);
    }
#pragma unroll
    for (int i = 0; i < OWN; i++) {
        own[i] = __fsub_rn(own[i], mean);
        if (lane + i * N < n.width)
            sum = __fmaf_rn(own[i], own[i], sum);
    }
    float scale = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(__fdiv_rn(sum_all<N>(sum), (float)n.width), n.eps)));
#pragma unroll
    for (int i = 0; i < OWN; i++) {
        int at = lane + i * N;
        if (at >= n.width)
            break;
        float f = __fmul_rn(__fmul_rn(own[i], scale), weight[i]);
        sy_store_row(n.y_dtype, n.y, n.y_stride, row, head + (size_t)at, n.bias ? __fadd_rn(f, n.bias[at]) : f);
    }
}

/* Rows wider than registers are long. */
static __global__ void wide_norm_kernel(struct norm n)
{
    int lane = (int)threadIdx.x;
    size_t row = (size_t)blockIdx.x / (size_t)n.n_heads, head = blockIdx.x % (size_t)n.n_heads * (size_t)n.width;
    const float *x = n.x + row * n.x_stride + head;
    float mean = 0.0f, sum = 0.0f;

    sy_begin();
    if (n.bias) {
        for (int i = lane; i < n.width; i += THREADS)
            mean = __fadd_rn(mean, x[i]);
        mean = __fdiv_rn(sum_all<THREADS>(mean), (float)n.width);
    }
    for (int i = lane; i < n.width; i += THREADS) {
        float f = __fsub_rn(x[i], mean);
        sum = __fmaf_rn(f, f, sum);
    }
    float scale = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(__fdiv_rn(sum_all<THREADS>(sum), (float)n.width), n.eps)));
    for (int i = lane; i < n.width; i += THREADS) {
        float f = __fmul_rn(__fmul_rn(__fsub_rn(x[i], mean), scale), n.weight[i]);
        sy_store_row(n.y_dtype, n.y, n.y_stride, row, head + (size_t)i, n.bias ? __fadd_rn(f, n.bias[i]) : f);
    }
}

static void run_norm(struct sy_queue *q, const struct norm *n)
{
    unsigned n_runs = (unsigned)n->n_runs, n_warps = (n_runs + 7) / 8;

    if (!sy_cuda_works(q) || n->n_runs < 1)
        return;
    if (n->width <= 128)
        sy_launch(q, "norm", norm_kernel<32, 4>, n_warps, THREADS, 0, *n);
    else if (n->width < WIDE)
        sy_launch(q, "norm", norm_kernel<32, WIDE / 32>, n_warps, THREADS, 0, *n);
    else if (n->width <= 8 * THREADS)
        sy_launch(q, "norm", norm_kernel<THREADS, 8>, n_runs, THREADS, 0, *n);
    else if (n->width <= 32 * THREADS)
        sy_launch(q, "norm", norm_kernel<THREADS, 32>, n_runs, THREADS, 0, *n);
    else
        sy_launch(q, "norm", wide_norm_kernel, n_runs, THREADS, 0, *n);
}

void sy_cuda_rmsnorm(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int n_heads, int width,
                     const float *weight, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride)
{
    struct norm n = {x, x_stride, n_rows * n_heads, n_heads, width, weight, NULL, eps, y, y_dtype, y_stride};

    run_norm(q, &n);
}

void sy_cuda_layernorm(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int width, const float *weight,
                       const float *bias, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride)
{
    struct norm n = {x, x_stride, n_rows, 1, width, weight, bias, eps, y, y_dtype, y_stride};

    run_norm(q, &n);
}

/* ---- one element at a time ---- */

/* Blocks for n elements; a kernel's threads take every so many-th. */
static unsigned blocks_for(const struct sy_queue *q, size_t n)
{
    size_t blocks = (n + THREADS - 1) / THREADS, most = (size_t)q->n_sms * 16;

    return (unsigned)(blocks < most ? blocks : most);
}

#define EACH(i, n) \
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < (n); i += (size_t)gridDim.x * THREADS)

static __global__ void weigh_kernel(float *x, size_t n, int width, const float *logits)
{
    EACH(i, n)
    x[i] = __fmul_rn(x[i], __fdiv_rn(1.0f, __fadd_rn(1.0f, expf(-logits[i / (size_t)width]))));
}

void sy_cuda_weigh(struct sy_queue *q, float *x, int T, int width, const float *logits)
{
    size_t n = (size_t)T * (size_t)width;

    if (!sy_cuda_works(q) || !n)
        return;
    weigh_kernel<<<blocks_for(q, n), THREADS, 0, q->stream>>>(x, n, width, logits);
    sy_cuda_launched(q, "weigh");
}

static __global__ void scale_kernel(float *x, size_t x_stride, size_t n, int width, float factor)
{
    EACH(i, n)
    {
        float *at = x + i / (size_t)width * x_stride + i % (size_t)width;
        *at = __fmul_rn(*at, factor);
    }
}

void sy_cuda_scale(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float factor)
{
    size_t n = (size_t)T * (size_t)width;

    if (!sy_cuda_works(q) || !n)
        return;
    scale_kernel<<<blocks_for(q, n), THREADS, 0, q->stream>>>(x, x_stride, n, width, factor);
    sy_cuda_launched(q, "scale");
}

static __global__ void clamp_kernel(float *x, size_t x_stride, size_t n, int width, float limit)
{
    EACH(i, n)
    {
        float *at = x + i / (size_t)width * x_stride + i % (size_t)width, f = *at;
        *at = f > limit ? limit : f < -limit ? -limit : f;
    }
}

void sy_cuda_clamp(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float limit)
{
    size_t n = (size_t)T * (size_t)width;

    if (!sy_cuda_works(q) || !n)
        return;
    clamp_kernel<<<blocks_for(q, n), THREADS, 0, q->stream>>>(x, x_stride, n, width, limit);
    sy_cuda_launched(q, "clamp");
}

static __global__ void add_kernel(float *x, const float *y, size_t n)
{
    EACH(i, n)
    x[i] = __fadd_rn(x[i], y[i]);
}

void sy_cuda_add(struct sy_queue *q, float *x, const float *y, int T, int width)
{
    size_t n = (size_t)T * (size_t)width;

    if (!sy_cuda_works(q) || !n)
        return;
    add_kernel<<<blocks_for(q, n), THREADS, 0, q->stream>>>(x, y, n);
    sy_cuda_launched(q, "add");
}

static __global__ void convert_kernel(void *dst, enum sy_dtype dst_dtype, const void *src, enum sy_dtype src_dtype,
                                      size_t n)
{
    EACH(i, n)
    sy_narrow(dst_dtype, dst, i, sy_widen(src_dtype, src, i));
}

void sy_cuda_convert(struct sy_queue *q, void *dst, enum sy_dtype dst_dtype, const void *src, enum sy_dtype src_dtype,
                     size_t n)
{
    if (!q) {
        sy_kernels_cpu(sy_isa_best())->convert(NULL, dst, dst_dtype, src, src_dtype, n);
        return;
    }
    if (!sy_cuda_works(q) || !n)
        return;
    if (dst_dtype == src_dtype) {
        sy_cuda_copy(q, dst, src, n * sy_dtype_bytes(src_dtype));
        return;
    }
    convert_kernel<<<blocks_for(q, n), THREADS, 0, q->stream>>>(dst, dst_dtype, src, src_dtype, n);
    sy_cuda_launched(q, "convert");
}

static __global__ void split_kernel(const float *x, size_t x_stride, size_t n, int width, void *y, size_t y_stride)
{
    EACH(i, n)
    sy_store_row(SY_BF16X2, y, y_stride, i / (size_t)width, i % (size_t)width,
                 x[i / (size_t)width * x_stride + i % (size_t)width]);
}

void sy_cuda_split(struct sy_queue *q, const float *x, size_t x_stride, int T, int width, void *y, size_t y_stride)
{
    size_t n = (size_t)T * (size_t)width;

    if (!sy_cuda_works(q) || !n)
        return;
    split_kernel<<<blocks_for(q, n), THREADS, 0, q->stream>>>(x, x_stride, n, width, y, y_stride);
    sy_cuda_launched(q, "split");
}

/* ---- rows ---- */

#define PIECE 8 /* units of a row that a thread has on the way at a time */

/* A warp takes a piece of a row: it reads the row's numbers, which may be in the host's memory, once for all of it. */
template <class U>
static __global__ void copy_rows_kernel(U *dst, const uint32_t *dst_rows, const U *src, const uint32_t *src_rows,
                                        size_t n, size_t units, size_t n_pieces)
{
    size_t warp = ((size_t)blockIdx.x * THREADS + threadIdx.x) / 32, lane = threadIdx.x % 32;

    for (; warp < n * n_pieces; warp += (size_t)gridDim.x * (THREADS / 32)) {
        size_t row = warp / n_pieces, at = warp % n_pieces * (32 * PIECE) + lane;
        const U *from = src + (src_rows ? src_rows[row] : row) * units;
        U *to = dst + (dst_rows ? dst_rows[row] : row) * units, held[PIECE];
#pragma unroll
        for (int i = 0; i < PIECE; i++)
            if (at + 32 * i < units)
                held[i] = from[at + 32 * i];
#pragma unroll
        for (int i = 0; i < PIECE; i++)
            if (at + 32 * i < units)
                to[at + 32 * i] = held[i];
    }
}

template <class U>
static void copy_units(struct sy_queue *q, void *dst, const uint32_t *dst_rows, const void *src,
                       const uint32_t *src_rows, int n, size_t row_bytes)
{
    size_t units = row_bytes / sizeof(U), n_pieces = (units + 32 * PIECE - 1) / (32 * PIECE);

    copy_rows_kernel<U><<<blocks_for(q, (size_t)n * n_pieces * 32), THREADS, 0, q->stream>>>(
        (U *)dst, dst_rows, (const U *)src, src_rows, (size_t)n, units, n_pieces);
}

void sy_cuda_copy_rows(struct sy_queue *q, void *dst, const uint32_t *dst_rows, const void *src,
                       const uint32_t *src_rows, int n, size_t row_bytes)
{
    size_t together = (size_t)(uintptr_t)dst | (size_t)(uintptr_t)src | row_bytes;

    if (!sy_cuda_works(q) || n < 1 || !row_bytes)
        return;
    if (together % 16 == 0)
        copy_units<uint4>(q, dst, dst_rows, src, src_rows, n, row_bytes);
    else if (together % 4 == 0)
        copy_units<uint32_t>(q, dst, dst_rows, src, src_rows, n, row_bytes);
    else
        copy_units<uint8_t>(q, dst, dst_rows, src, src_rows, n, row_bytes);
    sy_cuda_launched(q, "copy_rows");
}

struct combination {
    const void *y;
    enum sy_dtype y_dtype;
    const float *weights, *shared;
    size_t n;
    int n_k, width;
    bool reverse_k;
    float *x;
};

static __global__ void combine_kernel(struct combination c)
{
    EACH(i, c.n)
    {
        size_t first = i / (size_t)c.width * (size_t)c.n_k, at = i % (size_t)c.width;
        float sum = 0.0f;
        for (int j = 0; j < c.n_k; j++) {
            size_t k = first + (size_t)(c.reverse_k ? c.n_k - 1 - j : j);
            sum = __fmaf_rn(c.weights[k], sy_widen(c.y_dtype, c.y, k * (size_t)c.width + at), sum);
        }
        if (c.shared)
            sum = __fadd_rn(sum, c.shared[i]);
        c.x[i] = __fadd_rn(c.x[i], sum);
    }
}

void sy_cuda_combine(struct sy_queue *q, const void *y, enum sy_dtype y_dtype, const float *weights, int T, int K,
                     int D, const float *shared, bool reverse_k, float *x)
{
    struct combination c = {y, y_dtype, weights, shared, (size_t)T * (size_t)D, K, D, reverse_k, x};

    if (!sy_cuda_works(q) || !c.n)
        return;
    combine_kernel<<<blocks_for(q, c.n), THREADS, 0, q->stream>>>(c);
    sy_cuda_launched(q, "combine");
}
