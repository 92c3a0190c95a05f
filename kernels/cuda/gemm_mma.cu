/* SPDX-License-Identifier: Apache-2.0
 * gemm_mma.cu - dense matrices by mma.sync: rows of BF16 parts, weights of BF16 or codes, on every GPU
 *
 * A block of threads computes a tile of rows by outputs, from rows and weights that cp.async brings to shared memory through
 * a ring of stages. Few rows are bound by memory, and their chains of instructions by latency: there a tile's slices
 * (gemm.cuh) are summed up side by side by warps of their own. With many rows every warp goes through all slices.
 */
#include "cuda/gemm.cuh"
#include "cuda/mma.cuh"

/* BN outputs and up to BA rows; SP slices at once, each by WM by WN warps. */
template <int BA_, int BN_, int SP_, int WM_, int WN_, int STAGES_> struct tile_shape {
    static constexpr int BA = BA_, BN = BN_, SP = SP_, WM = WM_, WN = WN_, STAGES = STAGES_;
    static constexpr int BM = BA < 16 ? 16 : BA; /* rows that instructions multiply */
    static constexpr int WARPS = WM * WN, THREADS = SP * WARPS * 32;
    static constexpr int MT = BM / WM / 16, NT = BN / WN / 8; /* instructions of a warp along rows and outputs */
    static_assert(SP == 1 || SP == SY_GEMM_SLICES, "one slice, or all");
    static_assert(NT == 1 || NT % 2 == 0, "operands are loaded for 8 or for 16 outputs");
};

/* A tile, and where in a stage things are: rows [slice][part][8 rows][piece][8][16 bytes], then weights [slice][panel]. */
struct tile {
    struct sy_weight w;
    int first_panel, n_panels, n_rows, n_blocks, length; /* length: blocks of a slice */
    const uint16_t *x;
    size_t x_pitch;
    int x_bytes, bytes; /* of a stage: rows, all */
};

template <class S>
static __device__ __forceinline__ void stage_rows(const struct sy_gemm &g, const struct tile &t, int step, uint8_t *to)
{
    int rows = t.n_rows < S::BA ? t.n_rows : S::BA, n = rows * 8, second = g.n_parts - 1;

    for (int i = (int)threadIdx.x; i < (S::SP * n) << second; i += S::THREADS) {
        /* Neighbours take pieces of one row, which are together in memory. */
        int piece = i % 8, row = i / 8 % rows, run = i / n, part = run & second, slice = run >> second;
        int block = slice * t.length + step, k = block * SY_CUDA_BLOCK + piece * 8, left = t.w.k - k;
        uint8_t *at = to + run * (S::BA * 128) + (row / 8 * 8 + piece) * 128 + row % 8 * 16;
        const uint16_t *from = t.x + (size_t)row * t.x_pitch + (size_t)part * g.x_stride + (size_t)k;
        if (block >= t.n_blocks)
            continue;
        left = left < 0 ? 0 : left > 8 ? 8 : left;
        if (g.aligned) {
            sy_copy_piece(at, left ? from : t.x, left * 2);
            continue;
        }
        for (int e = 0; e < 8; e++)
            ((uint16_t *)at)[e] = e < left ? from[e] : 0;
    }
}

template <class S, enum sy_dtype W>
static __device__ __forceinline__ void stage_weights(const struct tile &t, int step, uint8_t *to)
{
    /* A block of a panel: 16 outputs of 64 inputs, one run of memory. */
    constexpr int RUN = (int)sy_mma_raw_bytes(W) * SY_PANEL, PANELS = S::BN / SY_PANEL;

    for (int i = (int)threadIdx.x; i < S::SP * PANELS * (RUN / 16); i += S::THREADS) {
        int at = i % (RUN / 16), p = i / (RUN / 16) % PANELS, slice = i / (RUN / 16) / PANELS;
        int block = slice * t.length + step;
        if (p < t.n_panels && block < t.n_blocks)
            sy_copy_piece(to + t.x_bytes + (slice * PANELS + p) * RUN + at * 16,
                          (const uint8_t *)t.w.data + (size_t)(t.first_panel + p) * sy_cuda_panel_size(W, t.w.k) +
                              (size_t)block * RUN + (size_t)at * 16,
                          16);
    }
}

/* Codes of a stage to BF16. */
template <class S, enum sy_dtype W>
static __device__ __forceinline__ void decode(const struct tile &t, int step, const uint8_t *raw, uint8_t *to)
{
    constexpr int PIECES = SY_CUDA_BLOCK / sy_mma_codes(W), PANELS = S::BN / SY_PANEL;

    for (int i = (int)threadIdx.x; i < S::SP * S::BN * PIECES; i += S::THREADS) {
        int row = i % 8, piece = i / 8 % PIECES, atom = i / 8 / PIECES, p = atom / 2 % PANELS;
        int block = atom / 2 / PANELS * t.length + step, k = block * SY_CUDA_BLOCK + piece * sy_mma_codes(W);
        sy_mma_decode_piece<W>(t.w, t.first_panel + p, atom % 2 * 8 + row, k, p < t.n_panels && k < t.w.k,
                               raw + (atom * PIECES + piece) * 128 + row * 16, to + atom * 1024);
    }
}

/* Sums of a warp: of first parts and of second ones. */
template <class S> struct sums {
    float part[2][S::MT][S::NT][4];
};

/* acc += a block's 64 inputs: rows [part][..] of one slice, `weights` of one. */
template <class S>
static __device__ __forceinline__ void multiply(const uint8_t *rows, const uint8_t *weights, int n_parts, int wm,
                                                int wn, struct sums<S> *acc)
{
    int lane = (int)threadIdx.x % 32, half = S::BA < 16 ? 0 : lane / 8 % 2;

#pragma unroll
    for (int k = 0; k < 4; k++) {
        uint32_t b[S::NT][2], four[4];
        if constexpr (S::NT == 1) {
            /* 8 outputs: two steps of 16 inputs at once. */
            if (k % 2 == 0)
                sy_load_matrices(four, weights + (wn * 8 + k * 2 + lane / 8) * 128 + lane % 8 * 16);
            b[0][0] = four[k % 2 * 2];
            b[0][1] = four[k % 2 * 2 + 1];
        } else {
#pragma unroll
            for (int n = 0; n < S::NT; n += 2) {
                int group = wn * S::NT + n + lane / 16;
                sy_load_matrices(four, weights + (group * 8 + k * 2 + lane / 8 % 2) * 128 + lane % 8 * 16);
                b[n][0] = four[0];
                b[n][1] = four[1];
                b[n + 1][0] = four[2];
                b[n + 1][1] = four[3];
            }
        }
#pragma unroll
        for (int part = 0; part < 2; part++) {
            if (part == n_parts)
                break;
#pragma unroll
            for (int m = 0; m < S::MT; m++) {
                uint32_t a[4];
                int group = (wm * S::MT + m) * 2 + half;
                sy_load_matrices(a,
                                 rows + part * (S::BA * 128) + (group * 8 + k * 2 + lane / 16) * 128 + lane % 8 * 16);
#pragma unroll
                for (int n = 0; n < S::NT; n++)
                    sy_mma(acc->part[part][m][n], a, b[n][0], b[n][1]);
            }
        }
    }
}

/* A slice's sum, and zeros for the next. */
static __device__ __forceinline__ float take(int n_parts, float *first, float *second)
{
    float sum = n_parts == 2 ? __fadd_rn(*first, *second) : *first;

    *first = *second = 0.0f;
    return sum;
}

template <class S> static __device__ __forceinline__ void clear(float (&f)[S::MT][S::NT][4])
{
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int n = 0; n < S::NT; n++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                f[m][n][c] = 0.0f;
}

/* All of a warp's slice, or with one slice at a time all slices into acc->part[0]. */
template <class S, enum sy_dtype W>
static __device__ __forceinline__ void sum_up(const struct sy_gemm &g, const struct tile &t, uint8_t *shared,
                                              struct sums<S> *acc)
{
    int warp = (int)threadIdx.x / 32, slice = warp / S::WARPS, wm = warp % S::WM, wn = warp / S::WM % S::WN;
    int n_steps = S::SP == 1 ? t.n_blocks : t.length, slice_bytes = (S::BA * 128) * g.n_parts;
    uint8_t *decoded = shared + S::STAGES * t.bytes;
    float total[S::MT][S::NT][4];

    clear<S>(total);
    clear<S>(acc->part[0]);
    clear<S>(acc->part[1]);
    for (int s = 0; s < S::STAGES - 1 && s < n_steps; s++)
        stage_weights<S, W>(t, s, shared + s * t.bytes);
    for (int s = 0; s < S::STAGES - 1; s++) {
        if (s < n_steps)
            stage_rows<S>(g, t, s, shared + s * t.bytes);
        sy_copy_commit();
    }
    for (int step = 0; step < n_steps; step++) {
        const uint8_t *stage = shared + step % S::STAGES * t.bytes, *weights = stage + t.x_bytes;
        int next = step + S::STAGES - 1;
        sy_copy_wait<S::STAGES - 2>();
        __syncthreads();
        if (next < n_steps) {
            stage_weights<S, W>(t, next, shared + next % S::STAGES * t.bytes);
            stage_rows<S>(g, t, next, shared + next % S::STAGES * t.bytes);
        }
        sy_copy_commit();
        if (W != SY_BF16) {
            decode<S, W>(t, step, weights, decoded);
            weights = decoded;
            __syncthreads();
        }
        if (slice * t.length + step < t.n_blocks)
            multiply<S>(stage + slice * slice_bytes, weights + slice * (S::BN * 128), g.n_parts, wm, wn, acc);
        if (S::SP == 1 && ((step + 1) % t.length == 0 || step + 1 == n_steps)) {
#pragma unroll
            for (int m = 0; m < S::MT; m++)
#pragma unroll
                for (int n = 0; n < S::NT; n++)
#pragma unroll
                    for (int c = 0; c < 4; c++) {
                        float sum = take(g.n_parts, &acc->part[0][m][n][c], &acc->part[1][m][n][c]);
                        total[m][n][c] = step < t.length ? sum : __fadd_rn(total[m][n][c], sum);
                    }
        }
        /* Decoded weights are overwritten next. */
        if (W != SY_BF16)
            __syncthreads();
    }
    sy_copy_wait<0>();
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int n = 0; n < S::NT; n++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                acc->part[0][m][n][c] = S::SP == 1 ? total[m][n][c]
                                                   : take(g.n_parts, &acc->part[0][m][n][c], &acc->part[1][m][n][c]);
}

/* Slices' sums through shared memory, [slice][m][n][c][thread of the slice]: the threads of slice s end with all of c == s. */
template <class S>
static __device__ __forceinline__ void add_slices(const struct tile &t, float *shared, struct sums<S> *acc)
{
    int slice = (int)threadIdx.x / 32 / S::WARPS, at = (int)threadIdx.x % (S::WARPS * 32);

    __syncthreads();
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int n = 0; n < S::NT; n++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                shared[(((slice * S::MT + m) * S::NT + n) * 4 + c) * (S::WARPS * 32) + at] = acc->part[0][m][n][c];
    __syncthreads();
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int n = 0; n < S::NT; n++) {
            float sum = 0.0f;
#pragma unroll
            for (int s = 0; s < S::SP; s++) {
                float f = shared[(((s * S::MT + m) * S::NT + n) * 4 + slice) * (S::WARPS * 32) + at];
                if (s * t.length < t.n_blocks)
                    sum = s ? __fadd_rn(sum, f) : f;
            }
            acc->part[0][m][n][0] = sum;
        }
}

template <class S, enum sy_dtype W>
static __global__ void __launch_bounds__(S::THREADS) tile_kernel(const __grid_constant__ struct sy_gemm g)
{
    extern __shared__ __align__(128) uint8_t shared[];
    int head = g.head_begin + (int)blockIdx.z, row = (int)blockIdx.y * S::BA, n = g.n_begin + (int)blockIdx.x * S::BN;
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, left = (g.n_end - n + SY_PANEL - 1) / SY_PANEL;
    int x_bytes = S::SP * g.n_parts * (S::BA * 128), n_blocks = sy_cuda_blocks(g.w.k);
    size_t pitch = g.x_stride * (size_t)g.n_parts;
    struct tile t = {.w = g.w,
                     .first_panel = n / SY_PANEL,
                     .n_panels = left < S::BN / SY_PANEL ? left : S::BN / SY_PANEL,
                     .n_rows = g.T - row,
                     .n_blocks = n_blocks,
                     .length = sy_gemm_slice(n_blocks),
                     .x = (const uint16_t *)g.x + (size_t)row * pitch + (size_t)head * g.x_head,
                     .x_pitch = pitch,
                     .x_bytes = x_bytes,
                     .bytes = x_bytes + S::SP * S::BN * (int)sy_mma_raw_bytes(W)};
    struct sums<S> acc;

    t.w.data = (const uint8_t *)g.w.data + (size_t)head * g.w_head;
    sum_up<S, W>(g, t, shared, &acc);
    if (S::SP > 1)
        add_slices<S>(t, (float *)shared, &acc);
    row += warp % S::WM * S::MT * 16 + lane / 4;
    n += warp / S::WM % S::WN * S::NT * 8 + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < S::MT; i++)
#pragma unroll
        for (int j = 0; j < S::NT; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) {
                int at = S::SP > 1 ? warp / S::WARPS : c;
                if ((S::SP == 1 || c == 0) && (S::BA >= 16 || at < 2))
                    sy_gemm_store(g, head, row + i * 16 + at / 2 * 8, n + j * 8 + at % 2, acc.part[0][i][j][c]);
            }
}

template <class S, enum sy_dtype W> static size_t shared_bytes(const struct sy_gemm *g)
{
    size_t stage = (size_t)(S::SP * S::BA * 128 * g->n_parts) + (size_t)(S::SP * S::BN) * sy_mma_raw_bytes(W);

    return S::STAGES * stage + (W == SY_BF16 ? 0 : (size_t)(S::SP * S::BN) * 128);
}

/* False: this GPU has too little shared memory. */
template <class S, enum sy_dtype W> static bool launch(struct sy_queue *q, const struct sy_gemm *g)
{
    size_t bytes = shared_bytes<S, W>(g);
    dim3 grid((unsigned)((g->n_end - g->n_begin + S::BN - 1) / S::BN), (unsigned)((g->T + S::BA - 1) / S::BA),
              (unsigned)g->n_heads);

    if (bytes > q->shared_bytes)
        return false;
    if (sy_cuda_check(q,
                      cudaFuncSetAttribute(tile_kernel<S, W>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                      "shared memory for gemm"))
        tile_kernel<S, W><<<grid, S::THREADS, bytes, q->stream>>>(*g);
    return true;
}

typedef tile_shape<8, 16, 4, 1, 2, 8> lone_tile; /* few panels: much of each at once */
typedef tile_shape<8, 16, 4, 1, 2, 4> narrow_tile;
typedef tile_shape<16, 32, 4, 1, 4, 3> low_tile;
typedef tile_shape<32, 32, 4, 1, 4, 3> short_tile;
typedef tile_shape<32, 128, 1, 1, 8, 5> wide_tile;
typedef tile_shape<64, 128, 1, 2, 4, 3> large_tile;

template <enum sy_dtype W> static void launch_type(struct sy_queue *q, const struct sy_gemm *g)
{
    int panels = (g->n_end - g->n_begin + SY_PANEL - 1) / SY_PANEL * g->n_heads;

    if ((g->T <= 8 && panels <= q->n_sms && launch<lone_tile, W>(q, g)) ||
        (g->T <= 8 && launch<narrow_tile, W>(q, g)) || (g->T <= 16 && launch<low_tile, W>(q, g)) ||
        (g->T <= 32 && panels < 16 * q->n_sms && launch<short_tile, W>(q, g)) ||
        (g->T <= 32 && launch<wide_tile, W>(q, g)))
        return;
    launch<large_tile, W>(q, g);
}

void sy_cuda_gemm_mma(struct sy_queue *q, const struct sy_gemm *g)
{
    if (g->w.dtype == SY_BF16)
        launch_type<SY_BF16>(q, g);
    else if (g->w.dtype == SY_F8_E4M3)
        launch_type<SY_F8_E4M3>(q, g);
    else if (g->w.dtype == SY_I8)
        launch_type<SY_I8>(q, g);
    else
        launch_type<SY_MXFP4>(q, g);
}
