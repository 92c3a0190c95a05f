/* SPDX-License-Identifier: Apache-2.0
 * experts_f32.cu - grouped expert matrices for FP32 rows, with weights of any type
 *
 * A thread sums one output, or a gate and its up, of ROWS rows: one multiply-add after the other in order of inputs. Rows go
 * through shared memory, weights from where they lie, 16 bytes at a time.
 */
#include "cuda/experts.cuh"

#define THREADS 128 /* outputs of an item */
#define ROWS    8

/* What a thread multiplies with: the panel and output within it, and how its codes are scaled. */
struct source {
    struct sy_weight w; /* data, scales: of the whole matrix */
    int output;         /* counted in panels as they lie */
};

template <enum sy_dtype W>
static __device__ __forceinline__ void add_piece(const struct source &s, int k, const float (*rows)[SY_CUDA_BLOCK],
                                                 float (&sums)[ROWS])
{
    const int inputs = W == SY_F32 ? 4 : W == SY_MXFP4 ? 32 : W == SY_BF16 || W == SY_F16 ? 8 : 16;
    uint4 piece = *(const uint4 *)((const uint8_t *)s.w.data + sy_cuda_piece_at(W, s.w.k, s.output, k));
    bool scaled = s.w.scale_block != 0;
    float scale = scaled ? sy_weight_scale(s.w, s.output, k) : 1.0f;

#pragma unroll
    for (int i = 0; i < inputs; i++) {
        float f = sy_widen(W, &piece, (size_t)i);
        if (k + i >= s.w.k)
            break;
        if (scaled)
            f = __fmul_rn(f, scale);
        for (int r = 0; r < ROWS; r++)
            sums[r] = __fmaf_rn(rows[r][k % SY_CUDA_BLOCK + i], f, sums[r]);
    }
}

struct item {
    struct sy_cuda_tile tile;
    int first, n_rows, output; /* rows of the tile, and this thread's output */
};

static __device__ void load_rows(const struct sy_cuda_group &g, const struct item &item, int k_begin,
                                 float (*rows)[SY_CUDA_BLOCK])
{
    __syncthreads();
    for (int i = (int)threadIdx.x; i < ROWS * SY_CUDA_BLOCK; i += THREADS) {
        int r = i / SY_CUDA_BLOCK, k = k_begin + i % SY_CUDA_BLOCK, row = item.tile.row + item.first + r;
        float f = 0.0f;
        if (r < item.n_rows && k < g.k) {
            size_t from = g.x_rows ? g.x_rows[row] : (size_t)row, width = (size_t)g.k;
            f = g.x_dtype == SY_BF16X2 ? __fadd_rn(sy_widen(SY_BF16, g.x, 2 * from * width + (size_t)k),
                                                   sy_widen(SY_BF16, g.x, (2 * from + 1) * width + (size_t)k))
                                       : sy_widen(g.x_dtype, g.x, from * width + (size_t)k);
        }
        rows[r][i % SY_CUDA_BLOCK] = f;
    }
    __syncthreads();
}

static __device__ void store(const struct sy_cuda_group &g, const struct item &item, const float *bias,
                             const float (&low)[ROWS], const float (&high)[ROWS])
{
    for (int r = 0; r < item.n_rows; r++) {
        float f = bias ? __fadd_rn(low[r], bias[item.output]) : low[r];
        if (g.half == SY_GATE_UP)
            f = sy_cuda_gated<false>(g.glu, f, bias ? __fadd_rn(high[r], bias[g.n + item.output]) : high[r]);
        sy_cuda_group_store(g, sy_cuda_group_row(g, item.tile.row + item.first + r), item.output, f);
    }
}

template <enum sy_half HALF, enum sy_dtype W>
static __device__ void run_item(const struct sy_cuda_group &g, const struct item &item, float (*rows)[SY_CUDA_BLOCK])
{
    const struct sy_cuda_expert e = g.experts[item.tile.expert];
    float low[ROWS] = {}, high[ROWS] = {};
    int output = item.output < g.n ? item.output : g.n - 1;
    struct sy_weight w = {W, SY_LAYOUT_PANELS, g.n, g.k, e.scale_block[HALF], e.data[HALF], e.scales[HALF], NULL};
    struct source gate = {w, HALF == SY_GATE_UP ? output / SY_PANEL * 2 * SY_PANEL + output % SY_PANEL : output};
    struct source up = {w, gate.output + SY_PANEL};

    for (int block = 0; block < g.k; block += SY_CUDA_BLOCK) {
        load_rows(g, item, block, rows);
        int end = block + SY_CUDA_BLOCK < g.k ? block + SY_CUDA_BLOCK : g.k;
        for (int k = block; k < end; k += sy_cuda_piece(W)) {
            add_piece<W>(gate, k, rows, low);
            if (HALF == SY_GATE_UP)
                add_piece<W>(up, k, rows, high);
        }
    }
    if (item.output < g.n)
        store(g, item, e.bias[HALF], low, high);
}

template <enum sy_half HALF, enum sy_dtype W>
static __global__ void __launch_bounds__(THREADS) f32_kernel(const __grid_constant__ struct sy_cuda_group g)
{
    __shared__ float rows[ROWS][SY_CUDA_BLOCK];
    int n_chunks = (g.n + THREADS - 1) / THREADS, n_parts = (g.tile_rows + ROWS - 1) / ROWS;
    int n_items = *g.n_tiles * n_chunks * n_parts;

    for (int i = (int)blockIdx.x; i < n_items; i += (int)gridDim.x) {
        struct item item = {g.tiles[i / (n_chunks * n_parts)], i % n_parts * ROWS, 0,
                            i / n_parts % n_chunks * THREADS + (int)threadIdx.x};
        item.n_rows = item.tile.n_rows - item.first < ROWS ? item.tile.n_rows - item.first : ROWS;
        if (item.n_rows > 0)
            run_item<HALF, W>(g, item, rows);
    }
}

template <enum sy_half HALF> static void launch(struct sy_queue *q, const struct sy_cuda_group *g)
{
    int n_items = g->n_tiles_most * ((g->n + THREADS - 1) / THREADS) * ((g->tile_rows + ROWS - 1) / ROWS);
    dim3 grid((unsigned)(n_items < 16 * q->n_sms ? n_items : 16 * q->n_sms));

    switch (g->w_dtype) {
    case SY_F32:
        f32_kernel<HALF, SY_F32><<<grid, THREADS, 0, q->stream>>>(*g);
        break;
    case SY_F16:
        f32_kernel<HALF, SY_F16><<<grid, THREADS, 0, q->stream>>>(*g);
        break;
    case SY_BF16:
        f32_kernel<HALF, SY_BF16><<<grid, THREADS, 0, q->stream>>>(*g);
        break;
    case SY_I8:
        f32_kernel<HALF, SY_I8><<<grid, THREADS, 0, q->stream>>>(*g);
        break;
    case SY_F8_E4M3:
        f32_kernel<HALF, SY_F8_E4M3><<<grid, THREADS, 0, q->stream>>>(*g);
        break;
    default:
        f32_kernel<HALF, SY_MXFP4><<<grid, THREADS, 0, q->stream>>>(*g);
        break;
    }
    sy_cuda_launched(q, "expert matrices of FP32 rows");
}

void sy_cuda_group_f32(struct sy_queue *q, const struct sy_cuda_group *g)
{
    if (g->half == SY_GATE_UP)
        launch<SY_GATE_UP>(q, g);
    else
        launch<SY_DOWN>(q, g);
}
