/* SPDX-License-Identifier: Apache-2.0
 * attention_hopper.cu - attention of prompts by wgmma
 *
 * As attention_prompt.cu, with three warpgroups of 64 rows each. Keys and values come through a ring of STAGES blocks, which
 * all threads fill, two blocks ahead of what they compute; barriers of a stage tell when it is full and when all are done
 * with it, so that one warpgroup's softmax runs beside another's products.
 */
#include "cuda/attention_tasks.cuh"
#include "cuda/hopper.cuh"

#define GROUPS  3 /* warpgroups */
#define THREADS (GROUPS * 128)
#define ROWS    (GROUPS * 64)
#define BLOCK   64 /* keys */
#define STAGES  4
#define AHEAD   2 /* blocks */

#define D 128

/* Operands are rows of 128 bytes, 64 dims: first all rows' first 64 dims, then the next; at multiples of 1024. */
#define SHARED_BYTES (1024 + (size_t)(ROWS + STAGES * BLOCK * 2) * D * 2)

#if SY_HAVE_WGMMA

template <int N> static __device__ __forceinline__ uint8_t *at_piece(uint8_t *operand, int row, int piece)
{
    return operand + piece / 8 * (N * 128) + row * 128 + ((piece ^ row) & 7) * 16;
}

#define D4(n)  "+f"(d[n][0]), "+f"(d[n][1]), "+f"(d[n][2]), "+f"(d[n][3])
#define D16(n) D4(n), D4(n + 1), D4(n + 2), D4(n + 3)
#define R32                                                                                                     \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, " \
    "%23, %24, %25, %26, %27, %28, %29, %30, %31"
#define R64                                                                                                      \
    R32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, " \
        "%52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

/* d (+)= 16 dims of 64 queries times those of 64 keys. */
static __device__ __forceinline__ void multiply_keys(float (&d)[8][4], uint64_t queries, uint64_t keys, int add)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" R32 "}, %32, %33, p, 1, 1, 0, 0;\n}"
                 : D16(0), D16(4)
                 : "l"(queries), "l"(keys), "r"(add));
}

/* d += weights of 64 rows and 16 keys, in registers, times those keys' values of 128 dims. */
static __device__ __forceinline__ void multiply_values(float (&d)[16][4], const uint32_t (&w)[4], uint64_t values)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, 1, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" R64
                 "}, {%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}"
                 : D16(0), D16(4), D16(8), D16(12)
                 : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "l"(values));
}

/* Values as the operand whose rows are not inputs but outputs: 8 keys to 1024 bytes, 64 dims to `next` bytes. */
static __device__ __forceinline__ uint64_t operand_values(uint32_t at, uint32_t next)
{
    return (uint64_t)(at >> 4) | (uint64_t)(next >> 4) << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

struct ring {
    uint64_t *full, *empty; /* [STAGES] */
    uint8_t *stages;
    int n; /* blocks so far */
};

/* Block number n of all, keys from position block * BLOCK on, into its stage. */
static __device__ __forceinline__ void load_block(const struct sy_attention &a, const struct sy_run &run,
                                                  const struct ring &ring, int n, int block)
{
    constexpr int PIECES = D / 8, COUNT = BLOCK * PIECES;
    uint8_t *keys = ring.stages + n % STAGES * (BLOCK * D * 4), *values = keys + BLOCK * D * 2;
    int last = run.position + run.n - 1, first = sy_first_key(a, run.position);
    size_t key = sy_cuda_kv_key(&a.kv, run.kv_head, 0), value = sy_cuda_kv_value(&a.kv, run.kv_head, 0);
    size_t k_row = sy_cuda_kv_row(SY_BF16, a.kv.k_dim),
           v_row = a.kv.v_in_k ? k_row : sy_cuda_kv_row(SY_BF16, a.kv.v_dim);

    const uint8_t *pages[(COUNT + THREADS - 1) / THREADS];
    /* All page numbers are on their way before any is needed. */
#pragma unroll
    for (int i = 0; i < (COUNT + THREADS - 1) / THREADS; i++) {
        int at = block * BLOCK + ((int)threadIdx.x + i * THREADS) / PIECES;
        pages[i] = a.kv.base;
        if (at >= first && at <= last)
            pages[i] += (size_t)run.pages[at / SY_KV_PAGE] * a.kv.page_stride;
    }
    if (n >= STAGES)
        sy_barrier_wait(&ring.empty[n % STAGES], (uint32_t)(n / STAGES - 1) & 1);
#pragma unroll
    for (int i = 0; i < (COUNT + THREADS - 1) / THREADS; i++) {
        int row = ((int)threadIdx.x + i * THREADS) / PIECES, piece = ((int)threadIdx.x + i * THREADS) % PIECES;
        int at = block * BLOCK + row, left = at >= first && at <= last ? -piece * 8 : -D;
        int n_keys = min(max(a.kv.k_dim + left, 0), 8), n_values = min(max(a.kv.v_dim + left, 0), 8);
        const uint16_t *page = (const uint16_t *)pages[i], *from = page + (size_t)(piece * 8);
        if (row >= BLOCK)
            break;
        sy_copy_piece(at_piece<BLOCK>(keys, row, piece), n_keys ? from + key + (size_t)(at % SY_KV_PAGE) * k_row : page,
                      n_keys * 2);
        sy_copy_piece(at_piece<BLOCK>(values, row, piece),
                      n_values ? from + value + (size_t)(at % SY_KV_PAGE) * v_row : page, n_values * 2);
    }
    sy_barrier_arrive_copies(&ring.full[n % STAGES]);
}

static __device__ __forceinline__ void load_queries(const struct sy_attention &a, const struct sy_run &run,
                                                    uint8_t *queries)
{
    for (int i = (int)threadIdx.x; i < ROWS * (D / 8); i += THREADS) {
        int row = i / (D / 8), piece = i % (D / 8), r = row / run.n_heads, h = run.head + row % run.n_heads;
        uint4 narrow = make_uint4(0, 0, 0, 0);
        if (r < run.n)
            narrow = sy_query_piece(a.q + (size_t)(run.first + r) * a.q_stride + (size_t)(h * a.kv.k_dim), piece,
                                    a.kv.k_dim);
        *(uint4 *)at_piece<ROWS>(queries, row, piece) = narrow;
    }
    sy_fence_proxy();
}

/* Scores of two rows of the thread become weights; false where their largest score so far has not changed in any lane. */
static __device__ __forceinline__ bool make_weights(float (&score)[BLOCK / 8][4], float scale, float (&largest)[2],
                                                    float (&sum)[2], float (&keep)[2])
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float most = fmaxf(score[0][2 * i], score[0][2 * i + 1]), total = 0.0f;
#pragma unroll
        for (int n = 1; n < BLOCK / 8; n++)
            most = fmaxf(most, fmaxf(score[n][2 * i], score[n][2 * i + 1]));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
        most = fmaxf(__fmul_rn(most, scale), largest[i]);
        float from = most == -CUDART_INF_F ? 0.0f : most;
        keep[i] = sy_exp2(__fsub_rn(largest[i], from));
        largest[i] = most;
#pragma unroll
        for (int n = 0; n < BLOCK / 8; n++)
#pragma unroll
            for (int j = 2 * i; j < 2 * i + 2; j++) {
                score[n][j] = sy_exp2(__fmaf_rn(score[n][j], scale, -from));
                total = __fadd_rn(total, score[n][j]);
            }
        sum[i] = __fmaf_rn(sum[i], keep[i], total);
    }
    return __any_sync(0xffffffffu, keep[0] != 1.0f || keep[1] != 1.0f);
}

static __device__ void attend(const struct sy_attention &a, const struct sy_run &run, uint8_t *queries,
                              struct ring *ring)
{
    int group = (int)threadIdx.x / 128, lane = (int)threadIdx.x % 32, tile = (int)threadIdx.x / 32 * 16;
    int last = run.position + run.n - 1, begin = sy_first_key(a, run.position) / BLOCK, end = last / BLOCK + 1;
    /* Of the warpgroup. */
    int first_row = group * 64 / run.n_heads, last_row = (group * 64 + 63) / run.n_heads;
    int group_last = run.position + min(last_row, run.n - 1), group_first = run.position + first_row, position[1][2];
    uint32_t queries_at = sy_shared(queries) + (uint32_t)(group * 8192);
    float scale = __fmul_rn(a.scale, SY_LOG2E), largest[2] = {-CUDART_INF_F, -CUDART_INF_F}, sum[2] = {0.0f, 0.0f};
    float out[D / 8][4] = {};

    for (int i = 0; i < AHEAD && begin + i < end; i++)
        load_block(a, run, *ring, ring->n + i, begin + i);
    load_queries(a, run, queries);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int r = (tile + i * 8 + lane / 4) / run.n_heads;
        position[0][i] = r < run.n ? run.position + r : -1;
    }
    for (int block = begin; block < end; block++, ring->n++) {
        int stage = ring->n % STAGES;
        uint32_t keys = sy_shared(ring->stages + stage * (BLOCK * D * 4)), values = keys + BLOCK * D * 2;
        float score[1][BLOCK / 8][4], keep[2];
        if (block + AHEAD < end)
            load_block(a, run, *ring, ring->n + AHEAD, block + AHEAD);
        sy_barrier_wait(&ring->full[stage], (uint32_t)(ring->n / STAGES) & 1);
        sy_fence_proxy();
        sy_wgmma_begin();
#pragma unroll
        for (int k = 0; k < D / 16; k++)
            multiply_keys(score[0], sy_operand_swizzled(queries_at + (uint32_t)(k / 4 * (ROWS * 128) + k % 4 * 32)),
                          sy_operand_swizzled(keys + (uint32_t)(k / 4 * (BLOCK * 128) + k % 4 * 32)), k > 0);
        sy_wgmma_commit();
        sy_wgmma_wait<0>();
        if (block * BLOCK + BLOCK - 1 > group_first || block * BLOCK < sy_first_key(a, group_last))
            sy_hide(a, position, 0, last, block * BLOCK + lane % 4 * 2, score);
        if (make_weights(score[0], scale, largest, sum, keep)) {
#pragma unroll
            for (int n = 0; n < D / 8; n++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    out[n][j] = __fmul_rn(out[n][j], keep[j / 2]);
        }
        uint32_t w[BLOCK / 16][4];
#pragma unroll
        for (int k = 0; k < BLOCK / 16; k++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                w[k][i] = sy_pack_bf16(score[0][2 * k + i / 2][i % 2 * 2], score[0][2 * k + i / 2][i % 2 * 2 + 1]);
        sy_wgmma_begin();
#pragma unroll
        for (int k = 0; k < BLOCK / 16; k++)
            multiply_values(out, w[k], operand_values(values + (uint32_t)(k * 2048), BLOCK * 128));
        sy_wgmma_commit();
        sy_wgmma_wait<0>();
        if (lane == 0)
            sy_barrier_arrive(&ring->empty[stage]);
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        sum[i] = __fadd_rn(sum[i], __shfl_xor_sync(0xffffffffu, sum[i], 1));
        sum[i] = __fadd_rn(sum[i], __shfl_xor_sync(0xffffffffu, sum[i], 2));
        sy_store_rows<D / 8>(a, run, tile, 0, out, i, largest[i], sum[i]);
    }
    /* Queries of the next run come to the same place. */
    __syncthreads();
}

#endif

static __global__ void __launch_bounds__(THREADS, 1) hopper_kernel(struct sy_attention a, int n_rows)
{
#if SY_HAVE_WGMMA
    extern __shared__ uint8_t bytes[];
    __shared__ uint64_t barriers[2 * STAGES];
    uint8_t *queries = bytes + (1024 - sy_shared(bytes) % 1024) % 1024;
    int n_heads = sy_head_blocks(a, ROWS), tile = (int)((gridDim.x - 1 - blockIdx.x) / (unsigned)n_heads) * n_rows;
    struct ring ring = {barriers, barriers + STAGES, queries + ROWS * D * 2, 0};
    struct sy_run run;

    if (!sy_find_heads(a, ROWS, (int)blockIdx.x % n_heads, &run))
        return;
    if (threadIdx.x == 0)
        for (int i = 0; i < STAGES; i++) {
            sy_barrier_init(&ring.full[i], THREADS);
            sy_barrier_init(&ring.empty[i], THREADS / 32);
        }
    sy_fence_proxy();
    __syncthreads();
    for (int first = tile; first < min(tile + n_rows, a.n_rows); first += run.n) {
        sy_find_run(a, first, min(tile + n_rows, a.n_rows), &run);
        attend(a, run, queries, &ring);
    }
#else
    (void)a;
    (void)n_rows;
#endif
}

bool sy_cuda_attention_hopper(struct sy_queue *q, const struct sy_attention *a)
{
    static bool allowed;

    /* Narrower heads are as fast without. */
    if (!sy_cuda_has_wgmma(q) || a->kv.k_dim > D || a->kv.v_dim > D || (a->kv.k_dim <= 64 && a->kv.v_dim <= 64))
        return false;
    int n_rows = sy_tile_rows(a, ROWS), n_tiles = (a->n_rows + n_rows - 1) / n_rows;
    allowed = allowed || sy_allow_shared(q, hopper_kernel, SHARED_BYTES);
    hopper_kernel<<<(unsigned)(sy_head_blocks(*a, ROWS) * n_tiles), THREADS, SHARED_BYTES, q->stream>>>(*a, n_rows);
    sy_cuda_launched(q, "attention of a prompt");
    return true;
}
