/* SPDX-License-Identifier: Apache-2.0
 * experts.cuh - grouped expert matrices on the GPU: experts and tiles of rows in tables of the device's memory
 *
 * A launch multiplies one half, gate and up or down, of many experts with the rows of their tiles. The tables may come from
 * the host (expert_gate_up, expert_down) or be made by a kernel just before (moe_run), so the number of tiles is read on
 * the device.
 */
#ifndef SY_KERNELS_CUDA_EXPERTS_CUH
#define SY_KERNELS_CUDA_EXPERTS_CUH

#include "cuda/map.cuh"
#include "cuda/widen.cuh"

enum sy_half { SY_GATE_UP, SY_DOWN, SY_N_HALVES };

struct sy_cuda_expert {
    const uint8_t *data[SY_N_HALVES];
    const void *scales[SY_N_HALVES];
    const float *bias[SY_N_HALVES]; /* or NULL */
    int scale_block[SY_N_HALVES];
    CUtensorMap maps[SY_N_HALVES]; /* of BF16 matrices, where there is wgmma */
};

/* Rows row .. row + n_rows - 1 for one expert, 1 .. SY_CUDA_TILE_ROWS of them. Tiles of one expert stand together; `first`
 * and `n_together` say which of them are multiplied at about the same time, so that they share the weights in the L2. */
#define SY_CUDA_TILE_ROWS 256
#define SY_CUDA_FEW_ROWS  32 /* tiles of so many are bound by memory */
#define SY_CUDA_TOGETHER  16

struct sy_cuda_tile {
    int expert, row, n_rows, first, n_together;
};

/* What a launch works on. */
struct sy_cuda_group {
    enum sy_half half;
    const struct sy_cuda_expert *experts;
    const struct sy_cuda_tile *tiles;
    const int *n_tiles; /* on the device */
    bool new_tables;    /* made for this launch */
    int n_tiles_most;   /* what the host knows of their number */
    int tile_rows;      /* no tile has more; of sy_cuda_tile_rows() */
    int n_rows;         /* of x */
    enum sy_dtype w_dtype, x_dtype, y_dtype;
    int n, k;                /* outputs (F or D) and inputs */
    const uint8_t *x;        /* [..][k] */
    const uint32_t *x_rows;  /* row r of the tiles is row x_rows[r] of x; NULL: row r */
    uint8_t *y;              /* [..][n] */
    const uint32_t *y_index; /* row r goes to row y_index[r] of y; NULL: to row r */
    void *const *y_rows;     /* or to y_rows[r]; NULL: into y */
    struct sy_glu glu;
};

/* Outputs of a panel, rounded up; panels of gate and of up alternate. */
__host__ __device__ static inline int sy_cuda_group_panels(const struct sy_cuda_group *g)
{
    return (g->n + SY_PANEL - 1) / SY_PANEL * (g->half == SY_GATE_UP ? 2 : 1);
}

/* The address of row r's results. */
__device__ static inline uint8_t *sy_cuda_group_row(const struct sy_cuda_group &g, int r)
{
    size_t row_bytes = (size_t)g.n * (g.y_dtype == SY_BF16 ? 2 : 4);

    if (g.y_rows)
        return (uint8_t *)g.y_rows[r];
    return g.y + (g.y_index ? g.y_index[r] : (size_t)r) * row_bytes;
}

/* Output n of a row that begins at y. */
__device__ static __forceinline__ void sy_cuda_group_store(const struct sy_cuda_group &g, uint8_t *y, int n, float f)
{
    if (g.y_dtype != SY_BF16X2) {
        sy_narrow(g.y_dtype, y, (size_t)n, f);
        return;
    }
    uint16_t high = sy_narrow_bf16(f);
    ((uint16_t *)y)[n] = high;
    ((uint16_t *)y)[g.n + n] = sy_narrow_bf16(__fsub_rn(f, sy_widen_bf16(high)));
}

/* struct sy_glu's limits, where it has them. */
__device__ static __forceinline__ void sy_cuda_limit(const struct sy_glu &glu, float *gate, float *up)
{
    *gate = *gate > glu.limit ? glu.limit : *gate;
    *up = *up > glu.limit ? glu.limit : *up < -glu.limit ? -glu.limit : *up;
    *up = __fadd_rn(*up, 1.0f);
}

/* FAST divides with an error of two units in the last place, for results that are rounded to BF16. */
template <bool FAST> __device__ static __forceinline__ float sy_cuda_swish(float alpha, float gate, float up)
{
    float below = __fadd_rn(1.0f, expf(__fmul_rn(-alpha, gate)));

    return __fmul_rn(FAST ? __fdividef(gate, below) : __fdiv_rn(gate, below), up);
}

/* struct sy_glu */
template <bool FAST> __device__ static inline float sy_cuda_gated(const struct sy_glu &glu, float gate, float up)
{
    if (glu.limit > 0.0f)
        sy_cuda_limit(glu, &gate, &up);
    return sy_cuda_swish<FAST>(glu.limit > 0.0f ? glu.alpha : 1.0f, gate, up);
}

/* Either matrix may be NULL. */
struct sy_cuda_expert sy_cuda_expert_of(struct sy_queue *q, const struct sy_weight *gate_up,
                                        const struct sy_weight *down);

/* The least size of tiles that kernels know of at least n rows, at most SY_CUDA_TILE_ROWS. */
static inline int sy_cuda_tile_rows(int n)
{
    static const int sizes[] = {8, 16, 32, 64, 96, 128, 192};

    for (int i = 0; i < (int)(sizeof sizes / sizeof *sizes); i++) {
        if (n <= sizes[i])
            return sizes[i];
    }
    return SY_CUDA_TILE_ROWS;
}

/* Launch what suits the types. */
void sy_cuda_group_run(struct sy_queue *q, const struct sy_cuda_group *g);

/* The launches: BF16 weights and rows by wgmma, where that fits: tiles of more than SY_CUDA_FEW_ROWS rows stand one after
 * the other in x; those or codes by mma.sync; and all by multiply-adds in FP32. The first two give the same bits. */
bool sy_cuda_group_hopper_fits(const struct sy_queue *q, const struct sy_cuda_group *g);
void sy_cuda_group_hopper(struct sy_queue *q, const struct sy_cuda_group *g);
void sy_cuda_group_mma(struct sy_queue *q, const struct sy_cuda_group *g);
void sy_cuda_group_f32(struct sy_queue *q, const struct sy_cuda_group *g);

/* What a launch of both halves counts in the device's memory, zero before it. */
struct sy_cuda_both_counts {
    uint32_t *next; /* items taken */
    uint32_t *done; /* [n_tiles_most] blocks that have stored their part of gate and up of a tile */
};

/* Gate and up of a tile, and down as soon as those are done, in one launch; the same bits as by two. Both have the same tiles,
 * and down's y may be what gate and up have as x. Returns false, and does nothing, where sy_cuda_group_hopper() does not fit
 * or tiles are of few rows. */
bool sy_cuda_group_both(struct sy_queue *q, const struct sy_cuda_group halves[SY_N_HALVES],
                        const struct sy_cuda_both_counts *counts);

#endif
