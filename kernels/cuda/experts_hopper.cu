/* SPDX-License-Identifier: Apache-2.0
 * experts_hopper.cu - grouped expert matrices by wgmma: BF16 weights, BF16 rows
 *
 * Blocks of threads go through items: a tile of rows times a few panels of its expert. Warps bring weights and rows by tensor
 * copies, far ahead through a ring of stages of 64 inputs; one or two warpgroups multiply all rows of the tile.
 * Weights are the operand of 64 for any number of rows, so few rows cost little and a row's sums are the same chain of
 * instructions in every tile.
 */
#include <cuda_bf16.h>

#include "cuda/experts_hopper.cuh"

#if SY_HAVE_WGMMA || !defined(__CUDA_ARCH__)
#define PROBE_THREADS 128
#else
#define PROBE_THREADS 64
#endif

/* Its bound tells which code the driver took. */
static __global__ void __launch_bounds__(PROBE_THREADS) probe(void)
{
}

bool sy_cuda_find_wgmma(const struct sy_queue *q)
{
    cudaFuncAttributes attributes;

    return q->major == 9 && cudaFuncGetAttributes(&attributes, probe) == cudaSuccess &&
           attributes.maxThreadsPerBlock == 128 && sy_cuda_can_map();
}

#if SY_HAVE_WGMMA

/* ---- consumers ---- */

/* A warpgroup's view: which of them it is, and its thread's place. */
template <bool MANY> struct consumer {
    int group, thread, warp, lane;
    struct ring ring;
    uint8_t *stages;
    struct shared_tail<MANY> *tail;
    struct place at;
};

template <bool MANY> static __device__ __forceinline__ void release(struct consumer<MANY> *c, int stage)
{
    if (kind<MANY>::CLUSTER > 1) {
        if (c->lane < kind<MANY>::CLUSTER)
            sy_barrier_arrive_at(&c->tail->empty[stage], c->lane);
    } else if (c->lane == 0) {
        sy_barrier_arrive(&c->tail->empty[stage]);
    }
}

/* sums = the warpgroup's 64 outputs of an item, by N rows. */
template <int N, bool MANY>
static __device__ __forceinline__ void sum_up(struct consumer<MANY> *c, int n_blocks, float (&sums)[N / 2])
{
    int before = 0;

    /* The first product overwrites them, which the compiler does not know. */
#pragma unroll
    for (int i = 0; i < N / 2; i++)
        sums[i] = 0.0f;
    for (int b = 0; b < n_blocks; b++) {
        uint32_t at = sy_shared(c->stages + c->at.stage * c->ring.bytes);
        uint64_t weights = sy_operand_atoms(at + (uint32_t)c->group * 8192, 1024);
        uint64_t rows = sy_operand_swizzled(at + kind<MANY>::WEIGHTS);
        sy_barrier_wait(&c->tail->full[c->at.stage], c->at.parity);
        sy_wgmma_begin();
#pragma unroll
        for (int step = 0; step < 4; step++)
            sy_wgmma<N>::run(sums, weights + (uint64_t)(step * 16), rows + (uint64_t)(step * 2), b + step);
        sy_wgmma_commit();
        if (b) {
            sy_wgmma_wait<1>();
            release(c, before);
        }
        before = c->at.stage;
        go_on(&c->at, c->ring.n_stages);
    }
    sy_wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < N / 2; i++)
        asm volatile("" : "+f"(sums[i])::"memory");
    release(c, before);
}

/* Where the 8 outputs of piece i of a warpgroup are among those of its item; of gate and up a piece is made of both. */
template <enum sy_half HALF, bool MANY> static __device__ __forceinline__ int piece_output(int group, int i)
{
    return group * (HALF == SY_GATE_UP ? 32 : 64) + i * 8;
}

static __device__ __forceinline__ uint32_t bf16_pair(float a, float b)
{
    __nv_bfloat162 both = __floats2bfloat162_rn(a, b);

    return *(uint32_t *)&both;
}

/* Four 8x8 matrices of BF16, transposed: lane l says where row l % 8 of matrix l / 8 goes. */
static __device__ __forceinline__ void store_transposed(uint8_t *at, const uint32_t (&m)[4])
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(sy_shared(at)),
                 "r"(m[0]), "r"(m[1]), "r"(m[2]), "r"(m[3])
                 : "memory");
}

/* Outputs n .. n + 7 of a row from shared memory, those there are. */
static __device__ __forceinline__ void store_piece(uint8_t *row, int n, int n_end, const uint8_t *from)
{
    uint8_t *to = row + (size_t)n * 2;

    if (n + 8 <= n_end && (uintptr_t)to % 16 == 0) {
        *(uint4 *)to = *(const uint4 *)from;
        return;
    }
    for (int i = 0; i < 8 && n + i < n_end; i++)
        ((uint16_t *)to)[i] = ((const uint16_t *)from)[i];
}

/* Bias of the thread's two rows of outputs: gate's and up's of one, or two outputs of down. */
struct biases {
    float low, high;
};

template <enum sy_half HALF, bool MANY>
static __device__ __forceinline__ struct biases load_biases(const struct sy_cuda_group &g,
                                                            const struct consumer<MANY> *c, const float *bias, int n)
{
    struct biases b = {0.0f, 0.0f};
    const int pieces = HALF == SY_GATE_UP ? 1 : 2;
    int low = n + piece_output<HALF, MANY>(c->group, c->warp * pieces) + c->lane / 4;
    int high = HALF == SY_GATE_UP ? g.n + low
                                  : n + piece_output<HALF, MANY>(c->group, c->warp * pieces + 1) + c->lane / 4;

    if (bias && low < g.n)
        b.low = bias[low];
    if (bias && low < g.n && (HALF == SY_GATE_UP || high < g.n))
        b.high = bias[high];
    return b;
}

/* A warp's 8 outputs of gate and up for BATCH rows, from row `first` of the tile on, as BF16: [row][8]. What is done to a
 * number does not wait for another one, so that many are on the way at once. */
template <int N, bool MANY>
static __device__ __forceinline__ void stage_gated(const struct sy_glu &glu, uint8_t *staging, int first,
                                                   float (&sums)[N / 2], struct biases bias)
{
    typedef kind<MANY> K;
    const int begin = first / 8, end = (first + K::BATCH) / 8 < N / 8 ? (first + K::BATCH) / 8 : N / 8;
    float alpha = glu.limit > 0.0f ? glu.alpha : 1.0f;

#pragma unroll
    for (int i = begin; i < end; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++)
            sums[4 * i + j] += j < 2 ? bias.low : bias.high;
    }
    if (glu.limit > 0.0f) {
#pragma unroll
        for (int i = begin; i < end; i++) {
            sy_cuda_limit(glu, &sums[4 * i], &sums[4 * i + 2]);
            sy_cuda_limit(glu, &sums[4 * i + 1], &sums[4 * i + 3]);
        }
    }
#pragma unroll
    for (int i = begin; i < end; i += 4) {
        uint32_t m[4] = {0, 0, 0, 0};
#pragma unroll
        for (int j = i; j < i + 4 && j < end; j++)
            m[j - i] = bf16_pair(sy_cuda_swish<true>(alpha, sums[4 * j], sums[4 * j + 2]),
                                 sy_cuda_swish<true>(alpha, sums[4 * j + 1], sums[4 * j + 3]));
        store_transposed(staging + (i - begin) * 128, m);
    }
}

/* Outputs n .. of gate and up for the tile's rows as BF16: a warp turns its own over in shared memory. whole: rows' addresses
 * are multiples of 16. */
template <int N, bool MANY>
static __device__ __forceinline__ void store_gated(const struct sy_cuda_group &g, const struct consumer<MANY> *c,
                                                   int n_rows, int n, int n_end, float (&sums)[N / 2],
                                                   struct biases bias, bool whole)
{
    typedef kind<MANY> K;
    uint8_t *own = c->tail->staging[c->group] + c->warp * (K::BATCH * 16) + c->lane * 16;
    uint8_t *const *y = c->tail->y[c->group] + c->lane;
    int at = n + piece_output<SY_GATE_UP, MANY>(c->group, c->warp);

    whole = whole && at + 8 <= n_end;
    n_rows = at < n_end ? n_rows - c->lane : 0;
#pragma unroll
    for (int first = 0; first < N; first += K::BATCH) {
        stage_gated<N, MANY>(g.glu, own, first, sums, bias);
        __syncwarp();
        if (whole) {
#pragma unroll
            for (int i = 0; i < K::BATCH && first + i < N; i += 32)
                if (first + i < n_rows)
                    *(uint4 *)(y[first + i] + (size_t)at * 2) = *(const uint4 *)(own + i * 16);
        } else {
#pragma unroll 1
            for (int i = 0; i < K::BATCH && first + i < n_rows; i += 32)
                store_piece(y[first + i], at, n_end, own + i * 16);
        }
        __syncwarp();
    }
}

/* Down's outputs n .. of the tile's rows as BF16: a warpgroup's 64 outputs meet in shared memory, so that a row gets 128 bytes
 * at once, which matters most where it is another GPU's. whole: rows' addresses are multiples of 16. */
template <int N, bool MANY>
static __device__ __forceinline__ void store_bf16(const struct sy_cuda_group &g, const struct consumer<MANY> *c,
                                                  int n_rows, int n, int n_end, const float (&sums)[N / 2],
                                                  struct biases bias, bool whole)
{
    typedef kind<MANY> K;
    const int at = n + piece_output<SY_DOWN, MANY>(c->group, 0);
    uint8_t *const *y = c->tail->y[c->group];
    int to = (c->lane / 16 * 8 + c->lane % 8) * STAGING_PITCH + c->warp * 32 + c->lane / 8 % 2 * 16;

    whole = whole && at + 64 <= n_end;
#pragma unroll
    for (int first = 0; first < N; first += STAGING_ROWS) {
        uint8_t *buffer = c->tail->staging[c->group] + first / STAGING_ROWS % K::STAGINGS * STAGING_BYTES;
#pragma unroll
        for (int i = first / 8; i < first / 8 + 4 && i < N / 8; i += 2) {
            uint32_t m[4] = {0, 0, 0, 0};
#pragma unroll
            for (int j = 0; j < 4; j++) {
                int from = 4 * (i + j / 2) + j % 2 * 2;
                float b = j % 2 ? bias.high : bias.low;
                if (from < N / 2)
                    m[j] = bf16_pair(sums[from] + b, sums[from + 1] + b);
            }
            store_transposed(buffer + (i - first / 8) * 8 * STAGING_PITCH + to, m);
        }
        sy_sync_some(1 + c->group, 128);
        if (whole) {
#pragma unroll
            for (int i = 0; i < STAGING_ROWS; i += 16) {
                int row = c->thread / 8 + i, piece = c->thread % 8 * 16;
                const uint4 *from = (const uint4 *)(buffer + row * STAGING_PITCH + piece);
                if (first + row < n_rows)
                    *(uint4 *)(y[first + row] + (size_t)at * 2 + piece) = *from;
            }
        } else {
#pragma unroll 1
            for (int i = c->thread; i < STAGING_ROWS * 8; i += 128)
                if (first + i / 8 < n_rows && at + i % 8 * 8 < n_end)
                    store_piece(y[first + i / 8], at + i % 8 * 8, n_end, buffer + i / 8 * STAGING_PITCH + i % 8 * 16);
        }
        __syncwarp();
    }
}

/* Outputs n .. of the tile's rows as floats (down alone). */
template <int N, bool MANY>
static __device__ __forceinline__ void store_f32(const struct sy_cuda_group &g, const struct consumer<MANY> *c,
                                                 int n_rows, int n, int n_end, const float (&sums)[N / 2],
                                                 struct biases bias)
{
    int low = n + piece_output<SY_DOWN, MANY>(c->group, c->warp * 2) + c->lane / 4;
    int high = n + piece_output<SY_DOWN, MANY>(c->group, c->warp * 2 + 1) + c->lane / 4;

#pragma unroll
    for (int i = 0; i < N / 2; i++) {
        int row = i / 4 * 8 + c->lane % 4 * 2 + i % 2, output = i % 4 / 2 ? high : low;
        if (row < n_rows && output < n_end)
            ((float *)c->tail->y[c->group][row])[output] = sums[i] + (i % 4 / 2 ? bias.high : bias.low);
    }
}

template <enum sy_half HALF, int N, bool MANY>
static __device__ __forceinline__ void multiply(const struct sy_cuda_group &g, struct consumer<MANY> *c,
                                                const struct item &item)
{
    const int of_panel = HALF == SY_GATE_UP ? SY_PANEL / 2 : SY_PANEL, EACH = (N + 127) / 128;
    int n = item.panel * of_panel, n_end = (item.panel + item.n_panels) * of_panel;
    float sums[N / 2];
    struct biases bias = load_biases<HALF, MANY>(g, c, g.experts[item.expert].bias[HALF], n);
    uint8_t *y[EACH];
    bool whole = n % 8 == 0;

    n_end = n_end < g.n ? n_end : g.n;
    /* Where the rows go is known by the time that the sums are. */
#pragma unroll
    for (int i = 0; i < EACH; i++)
        y[i] = c->thread + i * 128 < item.n_rows ? sy_cuda_group_row(g, item.row + c->thread + i * 128) : NULL;
    sum_up<N, MANY>(c, sy_cuda_blocks(g.k), sums);
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        if (c->thread + i * 128 < item.n_rows) {
            c->tail->y[c->group][c->thread + i * 128] = y[i];
            whole = whole && (uintptr_t)y[i] % 16 == 0;
        }
    }
    if (HALF == SY_DOWN && g.y_dtype == SY_F32) {
        sy_sync_some(1 + c->group, 128);
        store_f32<N, MANY>(g, c, item.n_rows, n, n_end, sums, bias);
    } else {
        whole = sy_sync_all(1 + c->group, 128, whole);
        if constexpr (HALF == SY_GATE_UP)
            store_gated<N, MANY>(g, c, item.n_rows, n, n_end, sums, bias, whole);
        else
            store_bf16<N, MANY>(g, c, item.n_rows, n, n_end, sums, bias, whole);
    }
    sy_sync_some(1 + c->group, 128);
}

/* By the least N that has place for the item's rows. */
template <enum sy_half HALF, int N, bool MANY>
static __device__ __forceinline__ void multiply_rows(const struct sy_cuda_group &g, struct consumer<MANY> *c,
                                                     const struct item &item)
{
    if constexpr (N < kind<MANY>::ROWS_MAX) {
        if (item.n_rows > N) {
            multiply_rows<HALF, MANY ? N + 16 : N * 2, MANY>(g, c, item);
            return;
        }
    }
    multiply<HALF, N, MANY>(g, c, item);
}

#endif

template <enum sy_half HALF, bool MANY>
static __global__ void __launch_bounds__(kind<MANY>::THREADS, kind<MANY>::BLOCKS)
    group_kernel(const __grid_constant__ struct sy_cuda_group g, const __grid_constant__ CUtensorMap x,
                 const struct ring ring)
{
#if SY_HAVE_WGMMA
    typedef kind<MANY> K;
    extern __shared__ __align__(1024) uint8_t stages[];
    struct shared_tail<MANY> *tail = (struct shared_tail<MANY> *)(stages + ring.n_stages * ring.bytes);

    if (threadIdx.x == 0) {
        for (int i = 0; i < ring.n_stages; i++) {
            sy_barrier_init(&tail->full[i], K::BRINGERS);
            sy_barrier_init(&tail->empty[i], K::GROUPS * 4 * K::CLUSTER);
        }
        sy_fence_barriers();
        sy_fence_proxy();
    }
    __syncthreads();
    if (K::CLUSTER > 1)
        sy_cluster_sync();
    int thread = (int)threadIdx.x;
    if (thread >= K::GROUPS * 128) {
        if (MANY)
            asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        int warp = thread / 32 - K::GROUPS * 4;
        if constexpr (!MANY)
            bring_few(g, ring, &x, stages, tail);
        else if (warp == 0)
            bring_weights(g, ring, stages, tail);
        else if (warp == 1)
            bring_rows(g, ring, &x, stages, tail);
    } else {
        if (MANY)
            asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        /* A kernel that comes early may read what was made before this one. */
        sy_wait_for_previous();
        sy_let_next_start();
        struct place begin = {0, 0};
        struct consumer<MANY> c = {
            thread / 128, thread % 128, thread % 128 / 32, thread % 32, ring, stages, tail, begin
        };
        struct plan plan = load_plan<MANY>(g);
        for (int i = (int)blockIdx.x / K::CLUSTER; i < plan.n_items; i += (int)gridDim.x / K::CLUSTER) {
            sy_barrier_wait(&tail->full[c.at.stage], c.at.parity);
            struct item item = tail->items[c.at.stage]; /* the next one may come there before this is done */
            multiply_rows<HALF, MANY ? 16 : 8, MANY>(g, &c, item);
        }
    }
    if (K::CLUSTER > 1)
        sy_cluster_sync();
#endif
}

template <enum sy_half HALF, bool MANY> static void launch(struct sy_queue *q, const struct sy_cuda_group *g)
{
    typedef kind<MANY> K;
    const int rows = (g->tile_rows + K::BOX_ROWS - 1) / K::BOX_ROWS * K::BOX_ROWS,
              tail = (int)sizeof(struct shared_tail<MANY>);
    const void *kernel = (const void *)group_kernel<HALF, MANY>;
    struct ring ring = {0, (K::WEIGHTS + rows * 128 + 1023) / 1024 * 1024};
    struct sy_cuda_tensor of_x = {.n_dims = 2,
                                  .sizes = {(uint64_t)g->k, (uint64_t)g->n_rows},
                                  .strides = {(uint64_t)g->k * 2},
                                  .box = {SY_CUDA_BLOCK, g->x_rows ? 1u : K::BOX_ROWS},
                                  .swizzled = true};
    CUtensorMap x;

    ring.n_stages = (K::BYTES - tail) / ring.bytes;
    ring.n_stages = ring.n_stages < STAGES_MAX ? ring.n_stages : STAGES_MAX;
    if (!sy_cuda_make_map(q, &x, g->x, &of_x) ||
        !sy_cuda_check(q, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, K::BYTES),
                       "preparing experts"))
        return;
    cudaLaunchAttribute attributes[2] = {};
    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = 1;
    attributes[1].id = cudaLaunchAttributeClusterDimension;
    attributes[1].val.clusterDim = {K::CLUSTER, 1, 1};
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)(q->n_sms * K::BLOCKS / K::CLUSTER * K::CLUSTER));
    config.blockDim = dim3(K::THREADS);
    config.dynamicSmemBytes = (size_t)(ring.n_stages * ring.bytes + tail);
    config.stream = q->stream;
    config.attrs = attributes;
    config.numAttrs = K::CLUSTER > 1 ? 2 : 1;
    void *arguments[] = {(void *)g, &x, &ring};
    sy_cuda_check(q, cudaLaunchKernelExC(&config, kernel, arguments), "expert matrices");
}

bool sy_cuda_group_hopper_fits(const struct sy_queue *q, const struct sy_cuda_group *g)
{
    return g->w_dtype == SY_BF16 && g->x_dtype == SY_BF16 && g->k % 8 == 0 && (uintptr_t)g->x % 16 == 0 &&
           sy_cuda_has_wgmma(q) && !(g->x_rows && g->tile_rows > SY_CUDA_FEW_ROWS);
}

void sy_cuda_group_hopper(struct sy_queue *q, const struct sy_cuda_group *g)
{
    bool many = g->tile_rows > SY_CUDA_FEW_ROWS;

    if (g->half == SY_GATE_UP && many)
        launch<SY_GATE_UP, true>(q, g);
    else if (g->half == SY_GATE_UP)
        launch<SY_GATE_UP, false>(q, g);
    else if (many)
        launch<SY_DOWN, true>(q, g);
    else
        launch<SY_DOWN, false>(q, g);
}
