/* SPDX-License-Identifier: Apache-2.0
 * gemm_hopper.cu - dense matrices by wgmma: BF16 weights, rows of one or two BF16 parts
 *
 * A tile is 64 or 128 outputs by ROWS rows. One thread brings it through a ring of stages, each of one block of inputs, by
 * tensor copies; a warpgroup for every 64 outputs multiplies. The parts of a row are columns of one instruction, so weights
 * are read once for both. Where there are enough tiles, as many blocks of threads as there is room for go through them and
 * through their slices (gemm.cuh) in order; otherwise a cluster shares a tile, a slice for each of its blocks.
 */
#include "cuda/gemm.cuh"
#include "cuda/hopper.cuh"
#include "cuda/map.cuh"

#define TOGETHER 8 /* tiles of rows that neighbouring blocks go through for the same outputs */

#define ROUND_UP(n, unit) (((n) + (unit)-1) / (unit))

struct tiles {
    int along_n, along_t;
};

#define STAGES_MAX 8

/* Behind the stages in shared memory. */
struct barriers {
    uint64_t full[STAGES_MAX], empty[STAGES_MAX];
};

/* Few rows leave room for several blocks on a multiprocessor. The first warpgroup brings, the others multiply. */
template <int OUTPUTS_, int ROWS_, int PARTS_> struct kind {
    static constexpr int OUTPUTS = OUTPUTS_, ROWS = ROWS_, PARTS = PARTS_, PANELS = OUTPUTS / SY_PANEL;
    static constexpr int N = ROWS * PARTS, WEIGHTS = OUTPUTS * 128, STAGE = WEIGHTS + N * 128;
    static constexpr int BLOCKS = OUTPUTS == 128 ? 1 : ROWS < 32 ? 3 : 2;
    static constexpr int FIT = (220 / BLOCKS) * 1024 / STAGE;
    static constexpr int STAGES = FIT < STAGES_MAX ? FIT : STAGES_MAX;
    static constexpr int CONSUMERS = OUTPUTS / 64 * 128, THREADS = 128 + CONSUMERS;
    static constexpr int BYTES = STAGES * STAGE + (int)sizeof(struct barriers);
};

#if SY_HAVE_WGMMA

/* Where a tile begins, and its head. */
struct origin {
    int t, n, head;
};

template <class K>
static __device__ __forceinline__ struct origin find_tile(const struct sy_gemm &g, const struct tiles &tiles, int i)
{
    int of_head = tiles.along_n * tiles.along_t, head = i / of_head, at = i % of_head;
    int group = at / (TOGETHER * tiles.along_n), first = group * TOGETHER, left = tiles.along_t - first;
    int high = left < TOGETHER ? left : TOGETHER, in_group = at - first * tiles.along_n;

    return {(first + in_group % high) * K::ROWS, g.n_begin + in_group / high * K::OUTPUTS, g.head_begin + head};
}

static __device__ __forceinline__ void cluster_sync(void)
{
    asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
}

static __device__ __forceinline__ int cluster_rank(void)
{
    int rank;

    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

/* A float of another block of the cluster at the address that one of this block's has. */
static __device__ __forceinline__ float load_remote(uint32_t at, int rank)
{
    uint32_t remote;
    float f;

    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(at), "r"(rank));
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(f) : "r"(remote) : "memory");
    return f;
}

/* Blocks begin .. end - 1 of the inputs. */
struct blocks {
    int begin, end;
};

static __device__ __forceinline__ struct blocks slice_blocks(int n_blocks, int slice)
{
    int length = sy_gemm_slice(n_blocks), begin = slice * length, end = begin + length;

    return {begin < n_blocks ? begin : n_blocks, end < n_blocks ? end : n_blocks};
}

/* One thread: weights do not depend on kernels before this one, so as many as there is room for go first. */
template <class K, bool SPLIT>
static __device__ __forceinline__ void bring(const struct sy_gemm &g, const struct tiles &tiles, const CUtensorMap *w,
                                             const CUtensorMap *x, uint8_t *stages, struct barriers *barriers)
{
    int n_blocks = sy_cuda_blocks(g.w.k), n_tiles = tiles.along_n * tiles.along_t * g.n_heads;
    int first = SPLIT ? (int)blockIdx.x / SY_GEMM_SLICES : (int)blockIdx.x, step = SPLIT ? n_tiles : (int)gridDim.x;
    struct blocks span = {0, n_blocks};
    if (SPLIT)
        span = slice_blocks(n_blocks, cluster_rank());
    int early = span.end - span.begin < K::STAGES ? span.end - span.begin : K::STAGES, s = 0;
    uint32_t parity = 1;

    for (int i = first; i < n_tiles; i += step) {
        struct origin o = find_tile<K>(g, tiles, i);
        for (int ahead = 0; i == first && ahead < early; ahead++) {
            sy_barrier_expect(&barriers->full[ahead], K::STAGE);
            sy_load_box(sy_shared(stages + ahead * K::STAGE), w, &barriers->full[ahead], 0, (span.begin + ahead) * 4,
                        o.n / SY_PANEL, o.head);
        }
        if (i == first)
            sy_wait_for_previous();
        for (int b = span.begin; b < span.end; b++) {
            uint8_t *stage = stages + s * K::STAGE;
            if (i != first || b - span.begin >= early) {
                sy_barrier_wait(&barriers->empty[s], parity);
                sy_barrier_expect(&barriers->full[s], K::STAGE);
                sy_load_box(sy_shared(stage), w, &barriers->full[s], 0, b * 4, o.n / SY_PANEL, o.head);
            }
#pragma unroll
            for (int part = 0; part < K::PARTS; part++)
                sy_load_box(sy_shared(stage + K::WEIGHTS + part * K::ROWS * 128), x, &barriers->full[s],
                            b * SY_CUDA_BLOCK, part, o.head, o.t);
            if (++s == K::STAGES) {
                s = 0;
                parity ^= 1;
            }
        }
    }
}

/* A warpgroup's place in the ring. */
struct consumer {
    int s;
    uint32_t parity;
};

/* total (+)= a slice's sum. */
template <class K>
static __device__ __forceinline__ void sum_slice(const struct blocks &span, const uint8_t *stages,
                                                 struct barriers *barriers, int group, struct consumer *c, bool first,
                                                 float (&total)[K::ROWS / 2])
{
    int before = 0;
    float sums[K::N / 2];

    /* The first product overwrites them, which the compiler does not know. */
#pragma unroll
    for (int i = 0; i < K::N / 2; i++)
        sums[i] = 0.0f;
    for (int b = span.begin; b < span.end; b++) {
        uint32_t at = sy_shared(stages + c->s * K::STAGE);
        uint64_t weights = sy_operand_atoms(at + (uint32_t)group * 8192, 1024);
        uint64_t rows = sy_operand_swizzled(at + K::WEIGHTS);
        sy_barrier_wait(&barriers->full[c->s], c->parity);
        sy_wgmma_begin();
#pragma unroll
        for (int step = 0; step < 4; step++)
            sy_wgmma<K::N>::run(sums, weights + (uint64_t)(step * 16), rows + (uint64_t)(step * 2),
                                b - span.begin + step);
        sy_wgmma_commit();
        if (b > span.begin) {
            sy_wgmma_wait<1>();
            if (threadIdx.x % 32 == 0)
                sy_barrier_arrive(&barriers->empty[before]);
        }
        before = c->s;
        if (++c->s == K::STAGES) {
            c->s = 0;
            c->parity ^= 1;
        }
    }
    sy_wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < K::N / 2; i++)
        asm volatile("" : "+f"(sums[i])::"memory");
    if (threadIdx.x % 32 == 0)
        sy_barrier_arrive(&barriers->empty[before]);
#pragma unroll
    for (int i = 0; i < K::ROWS / 2; i++) {
        float sum = K::PARTS == 2 ? __fadd_rn(sums[i], sums[(K::PARTS - 1) * (K::ROWS / 2) + i]) : sums[i];
        total[i] = first ? sum : __fadd_rn(total[i], sum);
    }
}

/* Results [8 rows][outputs] of a thread: rows t and t + 1, outputs n and n + 8. */
static __device__ __forceinline__ void store_floats(const struct sy_gemm &g, float *y, int t, int n, const float *bias,
                                                    const float *sums, int n_groups)
{
    float before[4][4] = {};

#pragma unroll
    for (int i = 0; i < 4 && g.add; i++)
#pragma unroll
        for (int c = 0; c < 4; c++)
            if (i < n_groups && t + i * 8 + c % 2 < g.T && n + c / 2 * 8 < g.n_end)
                before[i][c] = y[(size_t)(i * 8 + c % 2) * g.y_stride + c / 2 * 8];
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int c = 0; c < 4; c++) {
            if (i >= n_groups || t + i * 8 + c % 2 >= g.T || n + c / 2 * 8 >= g.n_end)
                continue;
            float f = g.add ? __fadd_rn(before[i][c], sums[i * 4 + c]) : sums[i * 4 + c];
            y[(size_t)(i * 8 + c % 2) * g.y_stride + c / 2 * 8] = g.w.bias ? __fadd_rn(f, bias[c / 2]) : f;
        }
}

/* sums: of rows t + 8 (i / 4) + i % 2 and outputs n + 8 (i % 4 / 2). What is added to is read for 32 rows at once. */
template <int N_SUMS>
static __device__ __forceinline__ void store_sums(const struct sy_gemm &g, int head, int t, int n,
                                                  const float (&sums)[N_SUMS])
{
    float bias[2] = {0.0f, 0.0f};
    float *y = (float *)g.y + (size_t)t * g.y_stride + (size_t)head * g.y_head + (size_t)(n - g.n_begin);

    if (g.y_dtype != SY_F32 || g.round != SY_ROUND_NONE) {
#pragma unroll
        for (int i = 0; i < N_SUMS; i++)
            sy_gemm_store(g, head, t + i / 4 * 8 + i % 2, n + i % 4 / 2 * 8, sums[i]);
        return;
    }
    for (int i = 0; i < 2 && g.w.bias; i++)
        bias[i] = n + i * 8 < g.n_end ? g.w.bias[n + i * 8] : 0.0f;
#pragma unroll
    for (int i = 0; i < N_SUMS; i += 16, t += 32, y += 32 * g.y_stride)
        store_floats(g, y, t, n, bias, sums + i, (N_SUMS - i) / 4);
}

/* Slices' sums of a tile from all blocks of the cluster, which store a part of it each: ROWS / 4 rows, or of 8 rows one in
 * two of all outputs. `shared`: [i][thread] floats, where stages were. */
template <class K>
static __device__ __forceinline__ void add_slices(const struct sy_gemm &g, const struct origin &o, float *shared,
                                                  const float (&total)[K::ROWS / 2])
{
    const int OF_BLOCK = K::ROWS / 2 / SY_GEMM_SLICES;
    int thread = (int)threadIdx.x - 128, rank = cluster_rank(), n_blocks = sy_cuda_blocks(g.w.k);
    int t = o.t + thread % 4 * 2, n = o.n + thread / 32 * 16 + thread % 32 / 4;
    float sums[OF_BLOCK];

    sy_sync_some(1, K::CONSUMERS); /* all stages have been read */
#pragma unroll
    for (int i = 0; i < K::ROWS / 2; i++)
        shared[i * K::CONSUMERS + thread] = total[i];
    cluster_sync();
#pragma unroll
    for (int i = 0; i < OF_BLOCK; i++)
        sums[i] = load_remote(sy_shared(shared + (rank * OF_BLOCK + i) * K::CONSUMERS + thread), 0);
    for (int s = 1; s < SY_GEMM_SLICES && slice_blocks(n_blocks, s).begin < n_blocks; s++) {
#pragma unroll
        for (int i = 0; i < OF_BLOCK; i++)
            sums[i] = __fadd_rn(sums[i],
                                load_remote(sy_shared(shared + (rank * OF_BLOCK + i) * K::CONSUMERS + thread), s));
    }
    if constexpr (OF_BLOCK % 4 == 0) {
        store_sums(g, o.head, t + rank * (K::ROWS / SY_GEMM_SLICES), n, sums);
    } else {
#pragma unroll
        for (int i = 0; i < OF_BLOCK; i++) {
            int at = rank * OF_BLOCK + i;
            sy_gemm_store(g, o.head, t + at / 4 * 8 + at % 2, n + at % 4 / 2 * 8, sums[i]);
        }
    }
    cluster_sync();
}

#endif

template <class K, bool SPLIT>
static __global__ void __launch_bounds__(K::THREADS, K::BLOCKS)
    tile_kernel(const __grid_constant__ struct sy_gemm g, const __grid_constant__ CUtensorMap w,
                const __grid_constant__ CUtensorMap x, const struct tiles tiles)
{
#if SY_HAVE_WGMMA
    extern __shared__ __align__(1024) uint8_t stages[];
    struct barriers *barriers = (struct barriers *)(stages + K::STAGES * K::STAGE);
    int n_blocks = sy_cuda_blocks(g.w.k), n_tiles = tiles.along_n * tiles.along_t * g.n_heads;

    if (threadIdx.x == 0) {
        for (int i = 0; i < K::STAGES; i++) {
            sy_barrier_init(&barriers->full[i], 1);
            sy_barrier_init(&barriers->empty[i], K::CONSUMERS / 32);
        }
        sy_fence_proxy();
    }
    __syncthreads();
    sy_let_next_start();
    if (threadIdx.x < 128) {
        if (K::BLOCKS == 1)
            asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (threadIdx.x == 0)
            bring<K, SPLIT>(g, tiles, &w, &x, stages, barriers);
        __syncwarp();
        for (int i = 0; SPLIT && i < 2; i++) /* as add_slices() does */
            cluster_sync();
    } else {
        if (K::BLOCKS == 1)
            asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        struct consumer c = {0, 0};
        int group = (int)threadIdx.x / 128 - 1, thread = (int)threadIdx.x - 128;
        float total[K::ROWS / 2];
        if constexpr (SPLIT) {
            struct blocks span = slice_blocks(n_blocks, cluster_rank());
            if (span.begin < span.end)
                sum_slice<K>(span, stages, barriers, group, &c, true, total);
            sy_wait_for_previous();
            add_slices<K>(g, find_tile<K>(g, tiles, (int)blockIdx.x / SY_GEMM_SLICES), (float *)stages, total);
        } else {
            sy_wait_for_previous();
            for (int i = (int)blockIdx.x; i < n_tiles; i += (int)gridDim.x) {
                for (int s = 0; s < SY_GEMM_SLICES && slice_blocks(n_blocks, s).begin < n_blocks; s++)
                    sum_slice<K>(slice_blocks(n_blocks, s), stages, barriers, group, &c, s == 0, total);
                struct origin o = find_tile<K>(g, tiles, i);
                store_sums(g, o.head, o.t + thread % 4 * 2, o.n + thread / 32 * 16 + thread % 32 / 4, total);
            }
        }
    }
#endif
}

/* ---- launches ---- */

/* Strides of dimensions of size 1 count for nothing, but must not be 0. */
static uint64_t stride_of(size_t bytes)
{
    return bytes ? bytes : 16;
}

template <class K, bool SPLIT> static void launch(struct sy_queue *q, const struct sy_gemm *g)
{
    const uint64_t panel = sy_cuda_panel_size(SY_BF16, g->w.k), blocks = (uint64_t)sy_cuda_blocks(g->w.k);
    const uint64_t heads = (uint64_t)(g->head_begin + g->n_heads), pitch = g->x_stride * K::PARTS * 2;
    struct tiles tiles = {ROUND_UP(g->n_end - g->n_begin, K::OUTPUTS), ROUND_UP(g->T, K::ROWS)};
    int n_tiles = tiles.along_n * tiles.along_t * g->n_heads, room = q->n_sms * K::BLOCKS;
    const void *kernel = (const void *)tile_kernel<K, SPLIT>;
    struct sy_cuda_tensor of_w = {.n_dims = 4,
                                  .sizes = {256, 4 * blocks, (uint64_t)ROUND_UP(g->w.n, SY_PANEL), heads},
                                  .strides = {512, panel, stride_of(g->w_head)},
                                  .box = {256, 4, K::PANELS, 1}};
    struct sy_cuda_tensor of_x = {.n_dims = 4,
                                  .sizes = {(uint64_t)g->w.k, K::PARTS, heads, (uint64_t)g->T},
                                  .strides = {g->x_stride * 2, stride_of(g->x_head * 2), pitch},
                                  .box = {SY_CUDA_BLOCK, 1, 1, K::ROWS},
                                  .swizzled = true};
    CUtensorMap w, x;

    if (!sy_cuda_make_map(q, &w, g->w.data, &of_w) || !sy_cuda_make_map(q, &x, g->x, &of_x) ||
        !sy_cuda_check(q, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, K::BYTES),
                       "shared memory for gemm"))
        return;
    cudaLaunchAttribute attributes[2] = {};
    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = 1;
    attributes[1].id = cudaLaunchAttributeClusterDimension;
    attributes[1].val.clusterDim.x = SPLIT ? SY_GEMM_SLICES : 1;
    attributes[1].val.clusterDim.y = attributes[1].val.clusterDim.z = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)(SPLIT ? n_tiles * SY_GEMM_SLICES : n_tiles < room ? n_tiles : room));
    config.blockDim = dim3(K::THREADS);
    config.dynamicSmemBytes = (size_t)K::BYTES;
    config.stream = q->stream;
    config.attrs = attributes;
    config.numAttrs = 2;
    void *arguments[] = {(void *)g, &w, &x, &tiles};
    sy_cuda_check(q, cudaLaunchKernelExC(&config, kernel, arguments), "gemm");
}

template <class K> static void launch_rows(struct sy_queue *q, const struct sy_gemm *g)
{
    int n_tiles = ROUND_UP(g->n_end - g->n_begin, K::OUTPUTS) * ROUND_UP(g->T, K::ROWS) * g->n_heads;

    if (n_tiles * 2 < q->n_sms * K::BLOCKS && sy_cuda_blocks(g->w.k) > SY_GEMM_SLICES)
        launch<K, true>(q, g);
    else
        launch<K, false>(q, g);
}

bool sy_cuda_gemm_hopper_fits(const struct sy_queue *q, const struct sy_gemm *g)
{
    return g->w.dtype == SY_BF16 && g->aligned && sy_cuda_has_wgmma(q);
}

void sy_cuda_gemm_hopper(struct sy_queue *q, const struct sy_gemm *g)
{
    if (g->n_parts == 1 && g->T <= 32)
        launch_rows<kind<64, 32, 1>>(q, g);
    else if (g->n_parts == 1)
        launch_rows<kind<128, 128, 1>>(q, g);
    else if (g->T <= 8)
        launch_rows<kind<64, 8, 2>>(q, g);
    else if (g->T <= 16)
        launch_rows<kind<64, 16, 2>>(q, g);
    else if (g->T <= 32)
        launch_rows<kind<64, 32, 2>>(q, g);
    else if (g->T <= 64)
        launch_rows<kind<128, 64, 2>>(q, g);
    else
        launch_rows<kind<128, 128, 2>>(q, g);
}
