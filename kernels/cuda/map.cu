/* SPDX-License-Identifier: Apache-2.0
 * map.cu - tensor maps, by the driver's encoder
 */
#include <cudaTypedefs.h>
#include <stdlib.h>

#include "cuda/map.cuh"

static PFN_cuTensorMapEncodeTiled_v12000 find_encoder(void)
{
    static PFN_cuTensorMapEncodeTiled_v12000 encode;

    if (!encode)
        encode = (PFN_cuTensorMapEncodeTiled_v12000)sy_cuda_driver("cuTensorMapEncodeTiled");
    return encode;
}

bool sy_cuda_can_map(void)
{
    return find_encoder() != NULL;
}

bool sy_cuda_make_map(struct sy_queue *q, CUtensorMap *map, const void *data, const struct sy_cuda_tensor *t)
{
    const uint32_t ones[5] = {1, 1, 1, 1, 1};
    CUtensorMapDataType type = t->words ? CU_TENSOR_MAP_DATA_TYPE_UINT32 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    CUresult code = find_encoder()(map, type, (uint32_t)t->n_dims, (void *)data, t->sizes, t->strides, t->box, ones,
                                   CU_TENSOR_MAP_INTERLEAVE_NONE,
                                   t->swizzled ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
                                   CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);

    return sy_cuda_check(q, code == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue, "describing a matrix");
}

/* ---- maps of experts: a hash table by address, since matrices stay where they are ---- */

struct entry {
    const void *data; /* NULL: free */
    int n_panels, k;
    bool alternate;
    CUtensorMap map;
};

struct sy_cuda_maps {
    size_t n, size; /* size: a power of two */
    struct entry *entries;
};

static struct entry *find(struct sy_cuda_maps *maps, const void *data)
{
    size_t at = (size_t)(((uintptr_t)data >> 6) * 0x9e3779b97f4a7c15ull >> 20);

    while (maps->entries[at & (maps->size - 1)].data && maps->entries[at & (maps->size - 1)].data != data)
        at++;
    return &maps->entries[at & (maps->size - 1)];
}

/* Room for one more. Without memory a table stays as it is, and NULL says that nothing can be kept. */
static struct sy_cuda_maps *make_room(struct sy_queue *q)
{
    struct sy_cuda_maps *old = q->maps, larger = {.n = 0, .size = 256, .entries = NULL};

    if (old && old->n * 2 < old->size)
        return old;
    if (!old) {
        old = q->maps = (struct sy_cuda_maps *)calloc(1, sizeof *old);
        if (!old)
            return NULL;
    }
    larger.size = old->size ? old->size * 2 : larger.size;
    larger.n = old->n;
    larger.entries = (struct entry *)calloc(larger.size, sizeof *larger.entries);
    if (!larger.entries)
        return NULL;
    for (size_t i = 0; i < old->size; i++) {
        if (old->entries[i].data)
            *find(&larger, old->entries[i].data) = old->entries[i];
    }
    free(old->entries);
    *old = larger;
    return old;
}

bool sy_cuda_panel_map(struct sy_queue *q, CUtensorMap *map, const void *data, int n_panels, int k, bool alternate)
{
    struct sy_cuda_maps *maps = make_room(q);
    struct entry *entry = maps ? find(maps, data) : NULL;

    if (entry && entry->data && entry->n_panels == n_panels && entry->k == k && entry->alternate == alternate) {
        *map = entry->map;
        return true;
    }
    uint64_t panel = sy_cuda_panel_size(SY_BF16, k);
    struct sy_cuda_tensor tensor = {
        .n_dims = 4,
        .sizes = {256, alternate ? (uint64_t)n_panels : 2, alternate ? 2 : (uint64_t)n_panels,
                  (uint64_t)sy_cuda_blocks(k)},
        .strides = {alternate ? panel : 1024, alternate ? 1024 : panel, 2048},
        .box = {256, 2, 2, 1},
        .words = true,
    };
    if (!sy_cuda_make_map(q, map, data, &tensor))
        return false;
    if (entry) {
        maps->n += !entry->data;
        *entry = {data, n_panels, k, alternate, *map};
    }
    return true;
}

void sy_cuda_maps_free(struct sy_queue *q)
{
    if (q->maps)
        free(q->maps->entries);
    free(q->maps);
    q->maps = NULL;
}
