/* SPDX-License-Identifier: Apache-2.0
 * experts_hopper.cu - grouped expert matrices by wgmma: BF16 weights, BF16 rows
 *
 * One block for each multiprocessor goes through items: a tile of rows times a few panels of its expert. Four warps
 * bring weights by bulk copies and gather rows, far ahead through a ring of stages of 64 or 128 inputs; two warpgroups
 * multiply all rows of the tile, one by the first 8 outputs of each panel, one by the last. Weights are the operand of 64
 * for any number of rows, so few rows cost little and a row's sums are the same chain of instructions in every tile.
 */
#include <cuda_bf16.h>

#include "cuda/experts_hopper.cuh"

/* Two blocks to a stage where few rows leave weights to be most of what is brought. */
static struct ring make_ring(int tile_rows, int bytes)
{
    int n_blocks = tile_rows <= 64 ? 2 : 1, each = n_blocks * (WEIGHT_BYTES + tile_rows * 128);
    int n_stages = bytes / each < STAGES_MAX ? bytes / each : STAGES_MAX;

    return {n_stages, n_blocks, each};
}

#if SY_HAVE_WGMMA || !defined(__CUDA_ARCH__)
#define PROBE_THREADS 128
#else
#define PROBE_THREADS 64
#endif

/* Its bound tells which code the driver took. */
static __global__ void __launch_bounds__(PROBE_THREADS) probe(void)
{
}

bool sy_cuda_has_wgmma(const struct sy_queue *q)
{
    cudaFuncAttributes attributes;

    return q->major == 9 && cudaFuncGetAttributes(&attributes, probe) == cudaSuccess &&
           attributes.maxThreadsPerBlock == 128;
}

#if SY_HAVE_WGMMA

/* ---- consumers ---- */

/* A warpgroup's view: which of the two it is, and its thread's place. */
struct consumer {
    int group, thread, warp, lane;
    struct ring ring;
    uint8_t *stages;
    struct shared_tail *tail;
    struct place at;
};

static __device__ __forceinline__ void release(struct consumer *c, int stage)
{
    if (c->lane == 0)
        sy_barrier_arrive(&c->tail->empty[stage]);
}

/* sums = the item's first or last 8 outputs of each panel, by N rows. */
template <int N>
static __device__ __forceinline__ void sum_up(struct consumer *c, int n_blocks, int tile_rows, float (&sums)[N / 2])
{
    int before = 0;

#pragma unroll
    for (int i = 0; i < N / 2; i++)
        sums[i] = 0.0f;
    for (int b = 0; b < n_blocks; b += c->ring.n_blocks) {
        uint32_t at = sy_shared(c->stages + c->at.stage * c->ring.bytes);
        uint64_t weights = sy_operand_atoms(at + (uint32_t)c->group * 1024, (uint32_t)c->ring.n_blocks * 2048);
        uint64_t rows = sy_operand_swizzled(at + (uint32_t)c->ring.n_blocks * WEIGHT_BYTES);
        sy_barrier_wait(&c->tail->full[c->at.stage], c->at.parity);
        sy_fence_proxy(); /* rows came by cp.async */
        sy_wgmma_begin();
#pragma unroll
        for (int j = 0; j < 2; j++) {
            if (j == 1 && (c->ring.n_blocks == 1 || b + 1 == n_blocks))
                break;
#pragma unroll
            for (int step = 0; step < 4; step++)
                sy_wgmma<N>::run(sums, weights + (uint64_t)(j * 128 + step * 16),
                                 rows + (uint64_t)(j * tile_rows * 8 + step * 2), b + j + step);
        }
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

template <enum sy_half HALF>
static __device__ __forceinline__ struct biases load_biases(const struct sy_cuda_group &g, const struct consumer *c,
                                                            const float *bias, int n)
{
    struct biases b = {0.0f, 0.0f};
    int low = n + c->warp * (HALF == SY_GATE_UP ? 16 : 32) + c->lane / 4,
        high = HALF == SY_GATE_UP ? g.n + low : low + 16;

    if (bias && low < g.n)
        b.low = bias[low];
    if (bias && low < g.n && (HALF == SY_GATE_UP || high < g.n))
        b.high = bias[high];
    return b;
}

/* 32 rows' results, from row `first` of the tile on, as BF16 to shared memory: [row][output]. */
template <enum sy_half HALF, int N>
static __device__ __forceinline__ void stage_rows(const struct sy_cuda_group &g, const struct consumer *c, int first,
                                                  const float (&sums)[N / 2], struct biases bias)
{
    uint8_t *staging = c->tail->staging[c->group];

#pragma unroll
    for (int part = 0; part < (HALF == SY_GATE_UP ? 1 : 2); part++) {
        uint32_t m[4] = {0, 0, 0, 0};
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int i = first / 8 + (HALF == SY_GATE_UP ? j : part * 2 + j / 2), high = HALF == SY_DOWN && j % 2 ? 2 : 0;
            if (i * 8 >= N)
                continue;
            float a = sums[4 * i + high], b = sums[4 * i + high + 1];
            if (HALF == SY_GATE_UP) {
                a = sy_cuda_gated<true>(g.glu, a + bias.low, sums[4 * i + 2] + bias.high);
                b = sy_cuda_gated<true>(g.glu, b + bias.low, sums[4 * i + 3] + bias.high);
            } else {
                a += high ? bias.high : bias.low;
                b += high ? bias.high : bias.low;
            }
            m[j] = bf16_pair(a, b);
        }
        int row = HALF == SY_GATE_UP ? c->lane : part * 16 + c->lane / 16 * 8 + c->lane % 8;
        int at = HALF == SY_GATE_UP ? c->warp * 16 : c->warp * 32 + c->lane / 8 % 2 * 16;
        store_transposed(staging + row * STAGING_PITCH + at, m);
    }
}

/* Outputs n .. of the tile's rows as BF16, 32 rows at a time through shared memory. */
template <enum sy_half HALF, int N>
static __device__ __forceinline__ void store_bf16(const struct sy_cuda_group &g, const struct consumer *c, int n_rows,
                                                  int n, int n_end, const float (&sums)[N / 2], struct biases bias)
{
    const int n_pieces = HALF == SY_GATE_UP ? 4 : 8;

#pragma unroll
    for (int first = 0; first < N; first += STAGING_ROWS) {
        if (first)
            sy_sync_some(1 + c->group, 128);
        stage_rows<HALF, N>(g, c, first, sums, bias);
        sy_sync_some(1 + c->group, 128);
#pragma unroll
        for (int i = c->thread; i < STAGING_ROWS * n_pieces; i += 128) {
            int row = i / n_pieces, piece = i % n_pieces;
            if (first + row < n_rows && n + piece * 16 < n_end)
                store_piece(c->tail->y[c->group][first + row], n + piece * 16, n_end,
                            c->tail->staging[c->group] + row * STAGING_PITCH + piece * 16);
        }
    }
}

/* Outputs n .. of the tile's rows as floats (down alone). */
template <int N>
static __device__ __forceinline__ void store_f32(const struct sy_cuda_group &g, const struct consumer *c, int n_rows,
                                                 int n, int n_end, const float (&sums)[N / 2], struct biases bias)
{
    int low = n + c->warp * 32 + c->lane / 4;

#pragma unroll
    for (int i = 0; i < N / 2; i++) {
        int row = i / 4 * 8 + c->lane % 4 * 2 + i % 2, output = low + i % 4 / 2 * 16;
        if (row < n_rows && output < n_end)
            ((float *)c->tail->y[c->group][row])[output] = sums[i] + (i % 4 / 2 ? bias.high : bias.low);
    }
}

template <enum sy_half HALF, int N>
static __device__ __forceinline__ void multiply(const struct sy_cuda_group &g, struct consumer *c,
                                                const struct item &item)
{
    const int of_panel = HALF == SY_GATE_UP ? SY_PANEL / 2 : SY_PANEL;
    int n = item.panel * of_panel + c->group * 8, n_end = (item.panel + item.n_panels) * of_panel;
    float sums[N / 2];
    struct biases bias = load_biases<HALF>(g, c, g.experts[item.expert].bias[HALF], n);
    uint8_t *y[2] = {NULL, NULL};

    /* Of an item with few panels the rest of the sums is of what was in the stages before. */
    n_end = n_end < g.n ? n_end : g.n;
    /* Where the rows go is known by the time that the sums are. */
    for (int i = 0; i < 2; i++) {
        if (c->thread + i * 128 < item.n_rows)
            y[i] = sy_cuda_group_row(g, item.row + c->thread + i * 128);
    }
    sum_up<N>(c, sy_cuda_blocks(g.k), g.tile_rows, sums);
    for (int i = 0; i < 2; i++) {
        if (c->thread + i * 128 < item.n_rows)
            c->tail->y[c->group][c->thread + i * 128] = y[i];
    }
    if (HALF == SY_DOWN && g.y_dtype == SY_F32) {
        sy_sync_some(1 + c->group, 128);
        store_f32<N>(g, c, item.n_rows, n, n_end, sums, bias);
    } else {
        store_bf16<HALF, N>(g, c, item.n_rows, n, n_end, sums, bias);
    }
    sy_sync_some(1 + c->group, 128);
}

template <enum sy_half HALF> static __device__ void consume(const struct sy_cuda_group &g, struct consumer *c)
{
    struct schedule s = load_schedule(g);

    for (int i = (int)blockIdx.x; i < s.n_items; i += (int)gridDim.x) {
        sy_barrier_wait(&c->tail->full[c->at.stage], c->at.parity);
        struct item item = c->tail->items[c->at.stage];
        if (item.n_rows <= 8)
            multiply<HALF, 8>(g, c, item);
        else if (item.n_rows <= 16)
            multiply<HALF, 16>(g, c, item);
        else if (item.n_rows <= 32)
            multiply<HALF, 32>(g, c, item);
        else if (item.n_rows <= 64)
            multiply<HALF, 64>(g, c, item);
        else if (item.n_rows <= 96)
            multiply<HALF, 96>(g, c, item);
        else if (item.n_rows <= 128)
            multiply<HALF, 128>(g, c, item);
        else if (item.n_rows <= 160)
            multiply<HALF, 160>(g, c, item);
        else if (item.n_rows <= 192)
            multiply<HALF, 192>(g, c, item);
        else if (item.n_rows <= 224)
            multiply<HALF, 224>(g, c, item);
        else
            multiply<HALF, 256>(g, c, item);
    }
}

#endif

template <enum sy_half HALF>
static __global__ void __launch_bounds__(THREADS, 1)
    group_kernel(const __grid_constant__ struct sy_cuda_group g, const struct ring ring)
{
#if SY_HAVE_WGMMA
    extern __shared__ __align__(1024) uint8_t stages[];
    int role = (int)threadIdx.x / 128;
    struct shared_tail *tail = (struct shared_tail *)(stages + ring.n_stages * ring.bytes);

    if (threadIdx.x == 0) {
        for (int i = 0; i < ring.n_stages; i++) {
            sy_barrier_init(&tail->full[i], COPY_WARPS + COPY_WARPS * 32);
            sy_barrier_init(&tail->empty[i], 8);
        }
        sy_fence_proxy();
    }
    __syncthreads();
    sy_wait_for_previous();
    sy_let_next_start();
    if (role == 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 104;");
        bring(g, ring, stages, tail);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 200;");
        int thread = (int)threadIdx.x % 128;
        struct consumer c = {role - 1, thread, thread / 32, thread % 32, ring, stages, tail, {0, 0}};
        consume<HALF>(g, &c);
    }
#endif
}

void sy_cuda_group_hopper(struct sy_queue *q, const struct sy_cuda_group *g)
{
    const int most = 227 * 1024, tail = (int)sizeof(struct shared_tail);
    struct ring ring = make_ring(g->tile_rows, most - tail);
    const void *kernel = g->half == SY_GATE_UP ? (const void *)group_kernel<SY_GATE_UP>
                                               : (const void *)group_kernel<SY_DOWN>;

    if (!sy_cuda_check(q, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most),
                       "preparing experts"))
        return;
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)q->n_sms);
    config.blockDim = dim3(THREADS);
    config.dynamicSmemBytes = (size_t)(ring.n_stages * ring.bytes + tail);
    config.stream = q->stream;
    config.attrs = &early;
    config.numAttrs = 1;
    void *arguments[] = {(void *)g, &ring};
    sy_cuda_check(q, cudaLaunchKernelExC(&config, kernel, arguments), "expert matrices");
}
