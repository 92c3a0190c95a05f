/* SPDX-License-Identifier: Apache-2.0
 * experts.cu - grouped expert MLP: the host's tiles into tables of the device, and the kernel for weights and rows
 */
#include <string.h>

#include "cuda/experts.cuh"

#define TILES_MAX 512 /* of one launch */

struct sy_cuda_expert sy_cuda_expert_of(struct sy_queue *q, const struct sy_weight *gate_up,
                                        const struct sy_weight *down)
{
    const struct sy_weight *halves[] = {gate_up, down};
    struct sy_cuda_expert e = {};

    for (int half = 0; half < SY_N_HALVES; half++) {
        if (!halves[half])
            continue;
        e.data[half] = (const uint8_t *)halves[half]->data;
        e.scales[half] = halves[half]->scales;
        e.bias[half] = halves[half]->bias;
        e.scale_block[half] = halves[half]->scale_block;
        if (halves[half]->dtype == SY_BF16 && sy_cuda_has_wgmma(q))
            sy_cuda_panel_map(q, &e.maps[half], halves[half]->data,
                              (halves[half]->n + SY_PANEL - 1) / SY_PANEL * (half == SY_GATE_UP ? 2 : 1),
                              halves[half]->k, half == SY_GATE_UP);
    }
    return e;
}

void sy_cuda_group_run(struct sy_queue *q, const struct sy_cuda_group *g)
{
    bool bf16 = g->w_dtype == SY_BF16;

    if (g->x_dtype == SY_F32 || (!bf16 && !sy_dtype_quantised(g->w_dtype)))
        sy_cuda_group_f32(q, g);
    else if (sy_cuda_group_hopper_fits(q, g))
        sy_cuda_group_hopper(q, g);
    else
        sy_cuda_group_mma(q, g);
}

/* What goes to the device for one launch. */
struct tables {
    int n_tiles, n_experts;
    struct sy_cuda_tile tiles[TILES_MAX];
    struct sy_cuda_expert experts[TILES_MAX];
};

static void launch(struct sy_queue *q, struct sy_cuda_group *g, struct tables *t)
{
    size_t experts_at = (offsetof(struct tables, tiles) + (size_t)t->n_tiles * sizeof *t->tiles + 63) / 64 * 64;
    size_t experts_bytes = (size_t)t->n_experts * sizeof *t->experts;
    int most = 0;

    if (!t->n_tiles)
        return;
    for (int i = 0; i < t->n_tiles; i++) {
        const struct sy_cuda_tile *tile = &t->tiles[i];
        most = tile->n_rows > most ? tile->n_rows : most;
        g->n_rows = tile->row + tile->n_rows > g->n_rows ? tile->row + tile->n_rows : g->n_rows;
    }
    g->tile_rows = sy_cuda_tile_rows(most);
    /* Only what is there goes: the experts move up to the last tile. */
    memmove((uint8_t *)t + experts_at, t->experts, experts_bytes);
    struct tables *on_device = (struct tables *)sy_cuda_table(q, t, experts_at + experts_bytes);
    if (!on_device)
        return;
    g->tiles = on_device->tiles;
    g->experts = (const struct sy_cuda_expert *)((uint8_t *)on_device + experts_at);
    g->n_tiles = &on_device->n_tiles;
    g->new_tables = true;
    g->n_tiles_most = t->n_tiles;
    sy_cuda_group_run(q, g);
    t->n_tiles = t->n_experts = 0;
}

/* Cut a tile evenly into those of the device; those of a launch of one expert go together. */
static void add_tile(struct sy_queue *q, struct sy_cuda_group *g, struct tables *t, const struct sy_tile *tile)
{
    int n = (tile->n_rows + SY_CUDA_TILE_ROWS - 1) / SY_CUDA_TILE_ROWS;
    int each = n ? ((tile->n_rows + n - 1) / n + 7) / 8 * 8 : 0, expert = -1, first = 0;

    for (int done = 0; done < tile->n_rows; done += each) {
        if (t->n_tiles == TILES_MAX) {
            launch(q, g, t);
            expert = -1;
        }
        if (expert < 0) {
            expert = t->n_experts++;
            t->experts[expert] = g->half == SY_GATE_UP ? sy_cuda_expert_of(q, tile->gate_up, NULL)
                                                       : sy_cuda_expert_of(q, NULL, tile->down);
        }
        if (done / each % SY_CUDA_TOGETHER == 0 || t->n_tiles == 0)
            first = t->n_tiles;
        int left = tile->n_rows - done;
        t->tiles[t->n_tiles++] = {expert, tile->row + done, left < each ? left : each, first, 0};
        for (int i = first; i < t->n_tiles; i++)
            t->tiles[i].n_together = t->n_tiles - first;
    }
}

static void run_tiles(struct sy_queue *q, struct sy_cuda_group *g, const struct sy_tile *tiles, int n_tiles)
{
    struct tables t;

    if (!sy_cuda_works(q))
        return;
    t.n_tiles = t.n_experts = 0;
    for (int i = 0; i < n_tiles; i++) {
        const struct sy_weight *w = g->half == SY_GATE_UP ? tiles[i].gate_up : tiles[i].down;
        g->w_dtype = w->dtype;
        g->n = w->n;
        g->k = w->k;
        add_tile(q, g, &t, &tiles[i]);
    }
    launch(q, g, &t);
}

void sy_cuda_expert_gate_up(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *x,
                            enum sy_dtype dtype, const struct sy_glu *glu, void *act)
{
    struct sy_cuda_group g = {};

    g.half = SY_GATE_UP;
    g.x = (const uint8_t *)x;
    g.x_dtype = g.y_dtype = dtype;
    g.glu = *glu;
    g.y = (uint8_t *)act;
    run_tiles(q, &g, tiles, n_tiles);
}

void sy_cuda_expert_down(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *act,
                         enum sy_dtype act_dtype, void *y, void *const *y_rows, enum sy_dtype y_dtype)
{
    struct sy_cuda_group g = {};

    g.half = SY_DOWN;
    g.x = (const uint8_t *)act;
    g.x_dtype = act_dtype;
    g.y = (uint8_t *)y;
    g.y_rows = y_rows;
    g.y_dtype = y_dtype;
    run_tiles(q, &g, tiles, n_tiles);
}
