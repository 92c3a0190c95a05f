/* SPDX-License-Identifier: Apache-2.0
 * experts_mma.cu - grouped expert matrices by mma.sync: BF16 rows, weights of BF16 or codes, on every GPU
 */
#include "cuda/experts.cuh"
#include "cuda/mma.cuh"

/* The parts of a warp are multiples of 32 outputs, so that gate and up of an output are sums of one thread. */
typedef sy_mma_shape<16, 64, 1, 2, 4, 2> few_tile;
typedef sy_mma_shape<64, 64, 2, 2, 4, 1> some_tile;
typedef sy_mma_shape<128, 128, 4, 2, 3, 1> many_tile;

/* Part of a tile of rows, and panels of its expert. */
struct item {
    struct sy_cuda_tile tile;
    int first, panel;
};

/* Two sums of outputs n and n + 1 of a row; with up, of gate and up. */
static __device__ __forceinline__ void store_pair(const struct sy_cuda_group &g, const float *bias, int row, int n,
                                                  const float *sums, const float *up)
{
    uint8_t *y = sy_cuda_group_row(g, row);

    for (int i = 0; i < 2 && n + i < g.n; i++) {
        float f = bias ? __fadd_rn(sums[i], bias[n + i]) : sums[i];
        if (up)
            f = sy_cuda_gated<true>(g.glu, f, bias ? __fadd_rn(up[i], bias[g.n + n + i]) : up[i]);
        sy_cuda_group_store(g, y, n + i, f);
    }
}

template <enum sy_half HALF, class S, enum sy_dtype W>
static __device__ __forceinline__ void run_item(const struct sy_cuda_group &g, const struct item &item, uint8_t *shared)
{
    const struct sy_cuda_expert e = g.experts[item.tile.expert];
    int left = sy_cuda_group_panels(&g) - item.panel, row = item.tile.row + item.first;
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    struct sy_mma_operands o = {};
    size_t width = (size_t)g.k * (g.x_dtype == SY_BF16X2 ? 2 : 1);
    float acc[S::MT][S::NT][4];

    o.w = {W, SY_LAYOUT_PANELS, g.n, g.k, e.scale_block[HALF], e.data[HALF], e.scales[HALF], NULL};
    o.first_panel = item.panel;
    o.n_panels = left < S::BN / SY_PANEL ? left : S::BN / SY_PANEL;
    o.x = (const uint16_t *)g.x + (g.x_rows ? 0 : (size_t)row * width);
    o.rows = g.x_rows ? g.x_rows + row : NULL;
    o.x_stride = width;
    o.part_stride = (size_t)g.k;
    o.n_rows = item.tile.n_rows - item.first;
    o.n_parts = g.x_dtype == SY_BF16X2 ? 2 : 1;
    o.aligned = g.k % 8 == 0 && (uintptr_t)g.x % 16 == 0;
    sy_mma_tile<S, W>(o, shared, acc);
    int panel = item.panel + warp / S::WM * (S::NT / 2), first = warp % S::WM * S::MT * 16 + lane / 4;
#pragma unroll
    for (int m = 0; m < S::MT * 2; m++) {
        int r = first + m / 2 * 16 + m % 2 * 8;
        if (r >= o.n_rows)
            continue;
#pragma unroll
        for (int n = 0; n < S::NT; n++) {
            int at = n % 2 * 8 + lane % 4 * 2, p = panel + n / 2;
            if (HALF == SY_DOWN)
                store_pair(g, e.bias[HALF], row + r, p * SY_PANEL + at, &acc[m / 2][n][m % 2 * 2], NULL);
            else if (n % 4 < 2)
                store_pair(g, e.bias[HALF], row + r, p / 2 * SY_PANEL + at, &acc[m / 2][n][m % 2 * 2],
                           &acc[m / 2][n + 2][m % 2 * 2]);
        }
    }
}

/* Tiles that go together take one part of the panels after the other. */
template <enum sy_half HALF, class S, enum sy_dtype W>
static __global__ void __launch_bounds__(S::THREADS) mma_kernel(const __grid_constant__ struct sy_cuda_group g)
{
    extern __shared__ __align__(128) uint8_t shared[];
    int n_chunks = (sy_cuda_group_panels(&g) * SY_PANEL + S::BN - 1) / S::BN,
        n_parts = (g.tile_rows + S::BM - 1) / S::BM;
    int n_items = *g.n_tiles * n_chunks * n_parts;

    for (int i = (int)blockIdx.x; i < n_items; i += (int)gridDim.x) {
        struct sy_cuda_tile some = g.tiles[i / (n_chunks * n_parts)];
        int local = i - some.first * n_chunks * n_parts, chunk = local / (some.n_together * n_parts);
        local %= some.n_together * n_parts;
        struct item item = {g.tiles[some.first + local / n_parts], local % n_parts * S::BM, chunk * (S::BN / SY_PANEL)};
        if (item.first < item.tile.n_rows)
            run_item<HALF, S, W>(g, item, shared);
        __syncthreads();
    }
}

template <enum sy_half HALF, class S, enum sy_dtype W>
static void launch(struct sy_queue *q, const struct sy_cuda_group *g)
{
    size_t bytes = sy_mma_shared<S>(W);
    int n_items = g->n_tiles_most * ((sy_cuda_group_panels(g) * SY_PANEL + S::BN - 1) / S::BN) *
                  ((g->tile_rows + S::BM - 1) / S::BM);
    int most = 8 * q->n_sms;

    if (!sy_cuda_check(
            q, cudaFuncSetAttribute(mma_kernel<HALF, S, W>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
            "preparing experts"))
        return;
    mma_kernel<HALF, S, W><<<(unsigned)(n_items < most ? n_items : most), S::THREADS, bytes, q->stream>>>(*g);
    sy_cuda_launched(q, "expert matrices");
}

template <enum sy_half HALF, enum sy_dtype W> static void launch_rows(struct sy_queue *q, const struct sy_cuda_group *g)
{
    if (g->tile_rows <= 16)
        launch<HALF, few_tile, W>(q, g);
    else if (g->tile_rows <= 64)
        launch<HALF, some_tile, W>(q, g);
    else
        launch<HALF, many_tile, W>(q, g);
}

template <enum sy_half HALF> static void launch_type(struct sy_queue *q, const struct sy_cuda_group *g)
{
    if (g->w_dtype == SY_BF16)
        launch_rows<HALF, SY_BF16>(q, g);
    else if (g->w_dtype == SY_I8)
        launch_rows<HALF, SY_I8>(q, g);
    else if (g->w_dtype == SY_F8_E4M3)
        launch_rows<HALF, SY_F8_E4M3>(q, g);
    else
        launch_rows<HALF, SY_MXFP4>(q, g);
}

void sy_cuda_group_mma(struct sy_queue *q, const struct sy_cuda_group *g)
{
    if (g->half == SY_GATE_UP)
        launch_type<SY_GATE_UP>(q, g);
    else
        launch_type<SY_DOWN>(q, g);
}
