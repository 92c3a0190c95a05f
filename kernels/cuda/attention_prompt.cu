/* SPDX-License-Identifier: Apache-2.0
 * attention_prompt.cu - attention of prompts on tensor cores
 *
 * A block of threads keeps the queries of a run in shared memory and takes BLOCK keys and values at a time, while the next
 * ones are on their way. A warp has MT * 16 rows of the tile with all dims.
 */
#include "cuda/attention_tasks.cuh"

#define WARPS  4
#define MT     2 /* tiles of 16 rows of a warp */
#define ROWS   (WARPS * MT * 16)
#define BLOCK  64 /* keys */
#define STAGES 2

template <int D> static constexpr __host__ __device__ size_t shared_bytes(void)
{
    return (size_t)(ROWS + STAGES * BLOCK * 2) * D * 2;
}

/* Keys and values of positions from block * BLOCK on; those that no row of the run sees become zeros. */
template <int D>
static __device__ __forceinline__ void load_block(const struct sy_attention &a, const struct sy_run &run, int block,
                                                  uint8_t *to)
{
    constexpr int PIECES = D / 8, STEP = WARPS * 32 / PIECES;
    int piece = (int)threadIdx.x % PIECES, last = run.position + run.n - 1, first = sy_first_key(a, run.position);
    size_t key = sy_cuda_kv_key(&a.kv, run.kv_head, 0), value = sy_cuda_kv_value(&a.kv, run.kv_head, 0);
    size_t k_row = sy_cuda_kv_row(SY_BF16, a.kv.k_dim),
           v_row = a.kv.v_in_k ? k_row : sy_cuda_kv_row(SY_BF16, a.kv.v_dim);

    const uint8_t *pages[BLOCK / STEP];
    /* All page numbers are on their way before any is needed. */
#pragma unroll
    for (int i = 0; i < BLOCK / STEP; i++) {
        int at = block * BLOCK + (int)threadIdx.x / PIECES + i * STEP;
        pages[i] = a.kv.base;
        if (at >= first && at <= last)
            pages[i] += (size_t)run.pages[at / SY_KV_PAGE] * a.kv.page_stride;
    }
#pragma unroll
    for (int i = 0; i < BLOCK / STEP; i++) {
        int row = (int)threadIdx.x / PIECES + i * STEP, at = block * BLOCK + row;
        bool there = at >= first && at <= last;
        const uint16_t *page = (const uint16_t *)pages[i];
        sy_load_piece<D>(to, row, piece, page + key + (size_t)(at % SY_KV_PAGE) * k_row, a.kv.k_dim, there);
        sy_load_piece<D>(to + BLOCK * D * 2, row, piece, page + value + (size_t)(at % SY_KV_PAGE) * v_row, a.kv.v_dim,
                         there);
    }
    sy_copy_commit();
}

template <int D> static __device__ void attend(const struct sy_attention &a, const struct sy_run &run, uint8_t *shared)
{
    uint8_t *queries = shared, *stages = shared + ROWS * D * 2;
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, tile = warp * MT * 16;
    int last = run.position + run.n - 1, begin = sy_first_key(a, run.position) / BLOCK, end = last / BLOCK + 1;
    /* Of the warp. */
    int last_row = (tile + MT * 16 - 1) / run.n_heads, first_row = tile / run.n_heads;
    int warp_last = first_row < run.n ? run.position + (last_row < run.n ? last_row : run.n - 1) : -1;
    int warp_first = run.position + first_row, position[MT][2];
    float scale = __fmul_rn(a.scale, SY_LOG2E);
    struct sy_softmax<MT, D> s;

    /* The run before this one is done with shared memory. */
    __syncthreads();
    load_block<D>(a, run, begin, stages);
    sy_load_queries<D, ROWS, WARPS * 32>(a, run, queries);
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int r = (tile + m * 16 + i * 8 + lane / 4) / run.n_heads;
            position[m][i] = r < run.n ? run.position + r : -1;
        }
    sy_softmax_begin(&s);
    for (int block = begin; block < end; block++) {
        uint8_t *keys = stages + (block - begin) % STAGES * (BLOCK * D * 4);
        sy_copy_wait<0>();
        __syncthreads();
        if (block + 1 < end)
            load_block<D>(a, run, block + 1, stages + (block + 1 - begin) % STAGES * (BLOCK * D * 4));
        if (block * BLOCK > warp_last)
            continue;
        float score[MT][BLOCK / 8][4] = {};
#pragma unroll
        for (int k = 0; k < D / 16; k++) {
            uint32_t x[MT][4];
#pragma unroll
            for (int m = 0; m < MT; m++)
                sy_load_matrices(x[m], sy_row_piece<D>(queries, tile + m * 16 + lane % 16, k * 2 + lane / 16));
            sy_score_step<MT, D, BLOCK / 8>(score, x, keys, k);
        }
        if (block * BLOCK + BLOCK - 1 > warp_first || block * BLOCK < sy_first_key(a, warp_last))
            sy_hide(a, position, 0, last, block * BLOCK + lane % 4 * 2, score);
        sy_softmax_weights<MT, D, BLOCK / 8>(&s, score, scale);
        sy_value_steps<MT, D, BLOCK / 8>(&s, score, keys + BLOCK * D * 2);
    }
    sy_softmax_sum(&s);
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int i = 0; i < 2; i++)
            sy_store_rows<D / 8>(a, run, tile + m * 16, 0, s.out[m], i, s.largest[m][i], s.sum[m][i]);
}

/* Blocks with the longest rows, the last ones of a prompt, begin first. */
template <int D>
static __global__ void __launch_bounds__(WARPS * 32, 2) prompt_kernel(struct sy_attention a, int n_rows)
{
    extern __shared__ __align__(128) uint8_t shared[];
    int n_heads = sy_head_blocks(a, ROWS), tile = (int)((gridDim.x - 1 - blockIdx.x) / (unsigned)n_heads) * n_rows;
    struct sy_run run;

    if (!sy_find_heads(a, ROWS, (int)blockIdx.x % n_heads, &run))
        return;
    for (int first = tile; first < min(tile + n_rows, a.n_rows); first += run.n) {
        sy_find_run(a, first, min(tile + n_rows, a.n_rows), &run);
        attend<D>(a, run, shared);
    }
}

template <int D> static void launch(struct sy_queue *q, const struct sy_attention *a)
{
    static bool allowed;
    int n_rows = sy_tile_rows(a, ROWS), n_tiles = (a->n_rows + n_rows - 1) / n_rows;

    allowed = allowed || sy_allow_shared(q, prompt_kernel<D>, shared_bytes<D>());
    prompt_kernel<D>
        <<<(unsigned)(sy_head_blocks(*a, ROWS) * n_tiles), WARPS * 32, shared_bytes<D>(), q->stream>>>(*a, n_rows);
    sy_cuda_launched(q, "attention of a prompt");
}

bool sy_cuda_attention_prompt(struct sy_queue *q, const struct sy_attention *a)
{
    if (a->kv.k_dim > 128 || a->kv.v_dim > 128)
        return false;
    if (a->kv.k_dim <= 64 && a->kv.v_dim <= 64)
        launch<64>(q, a);
    else
        launch<128>(q, a);
    return true;
}
